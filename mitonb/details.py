"""Details of objects, one object at a time: shapes, centre lines, contacts; the labels may stay in their file."""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.spatial import cKDTree

from mitonb.centre_lines import centre_lines
from mitonb.errors import InputError
from mitonb.shapes import MARGIN, Surface, Vectors, surface_of, widths
from mitonb.stack import LazyArray, read_part

Counts = npt.NDArray[np.int64]
Ids = npt.NDArray[np.uint64]
_PLANES = 16  # read at a time
_READING = threading.Lock()  # not every file can be read by several threads
_LARGEST = 1 << 24  # voxels of a box that is looked at; of a larger one every second voxel, or third, is


class Found(NamedTuple):
    """Labels whose objects are known: the ids, the first voxel and the one beyond the last of each, (n, 3), in order.

    `size` is that of a voxel in nm, (3,).
    """

    data: LazyArray
    ids: Ids
    start: Counts
    stop: Counts
    size: Vectors


def details(
    found: Found, groups: Sequence[str], others: LazyArray | None = None, mask: LazyArray | None = None, *,
    within: float = 0,
) -> dict[str, npt.NDArray[Any]]:  # fmt: skip
    """Return the columns of some groups, as (n,) arrays by name; see `measurements.COLUMNS` for what they are.

    Raises
    ------
    InputError
        If the distance `within` is below 0.
    """
    if not within >= 0:
        raise InputError(f"Surfaces are 0 nm or more apart, got within_nm={within!r}.")
    regions = {"others": others, "mask": mask}
    trees = {name: _tree(region, found.size) for name, region in regions.items() if region is not None}

    def measured(number: int) -> dict[str, float]:
        one, id, row = outlined(found, number, within), found.ids[number], dict[str, float]()
        if "shape" in groups:
            longest, narrow = widths(one.surface.points)
            row |= {"surface": float(one.surface.areas.sum()), "feret": longest, "narrow": narrow}
        if "skeleton" in groups:
            row |= _line_row(one)
        for names, region in ((("neighbours", "contact"), found.data), (("others", "touch"), others)):
            if names[0] in groups and region is not None:
                same = names[0] == "neighbours"
                row |= zip(names, touching(one, id, region, same=same, within=within), strict=True)
        for name, tree in trees.items():
            row[f"{name}_distance"] = float(tree.query(one.faces)[0].min()) if tree and len(one.faces) else np.nan
        if mask is not None:
            row["in_mask"] = float((one.place.read(mask)[one.place.read(found.data) == id] > 0).mean())
            if row["in_mask"]:  # a region that fills the volume has no surface
                row["mask_distance"] = 0.0
        return row

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        table = pd.DataFrame(pool.map(measured, range(len(found.ids) if groups else 0)))
    return {name: table[name].to_numpy() for name in table}


def _tree(region: LazyArray, size: Vectors) -> cKDTree | None:
    """Return the faces of a region, read some planes at a time; None where it is empty."""
    flat, faces = int(region.shape[0] == 1), []
    for z in range(0, max(1, region.shape[0] - 1), _PLANES):
        part = read_part(region, (slice(z, z + _PLANES + 1), slice(None), slice(None))) > 0
        points, _ = faces_between(part[0] if flat else part, size[flat:], np.array([z * size[0], 0, 0])[flat:])
        faces.append(points)
    points = np.concatenate(faces)
    return cKDTree(points) if len(points) else None


class Place(NamedTuple):
    """A part of a volume around an object: where it begins and ends, and that every n-th voxel of it is looked at."""

    start: Counts
    stop: Counts
    every: int

    def read(self, data: LazyArray) -> npt.NDArray[Any]:
        """Return the voxels, plane by plane where some are left out, so that never all are in memory."""
        n, rows, columns = self.every, slice(self.start[1], self.stop[1]), slice(self.start[2], self.stop[2])
        depth = int(self.stop[0] - self.start[0]) if n == 1 else 1
        with _READING:
            parts = [read_part(data, (slice(z, z + depth), rows, columns))[:, ::n, ::n]
                     for z in range(int(self.start[0]), int(self.stop[0]), n * depth)]  # fmt: skip
        return np.concatenate(parts)


class Outlined(NamedTuple):
    """An object, its surface and where they are.

    Attributes
    ----------
    inside : (z, y, x) or, of a single section, (y, x) bool array
        With `MARGIN` voxels around it.
    unit : array
        Size of its voxels in nm.
    surface : Surface
        In nm from the middle of the first of these voxels.
    faces, areas : (n, d) and (n,) array
        Those of the surface, without the border of the volume, in nm from the middle of its first voxel.
    place : Place
        Where others are looked for.
    """

    inside: npt.NDArray[np.bool_]
    unit: Vectors
    surface: Surface
    faces: Vectors
    areas: Vectors
    place: Place


def outlined(found: Found, number: int, within: float = 0) -> Outlined:
    """Return an object with its surface; its place reaches `within` nm and more around its box."""
    size, shape, flat = found.size, np.array(found.data.shape), int(found.data.shape[0] == 1)
    start, stop = found.start[number], found.stop[number]
    margin = np.maximum(MARGIN, np.ceil(within / size).astype(int) + 1)
    every = int(np.ceil((np.prod((stop - start + 2 * margin) / _LARGEST ** (1 / 3))) ** (1 / 3)))
    cut = np.stack([start == 0, stop == shape], axis=1)[flat:]
    if every > 1:  # what is thin may lie between the voxels that are looked at: one of its own is among them
        first = Place(start, np.array([start[0] + 1, *stop[1:]]), 1).read(found.data)[0] == found.ids[number]
        start = start + np.insert(np.argwhere(first)[0] % every, 0, 0)
    own, place = (
        Place(np.maximum(start - far * every, start % every), np.minimum(stop + far * every, shape), every)
        for far in (MARGIN, margin)
    )
    missing = np.stack([MARGIN - (start - own.start) // every, MARGIN - (own.stop - stop) // every], axis=1)[flat:]
    part = own.read(found.data) == found.ids[number]
    inside, unit = np.pad(part[0] if flat else part, missing), (size * every)[flat:]
    origin = (own.start * size)[flat:] - missing[:, 0] * unit
    surface = surface_of(inside, unit, cut=cut)
    index = surface.faces / unit
    seen = ((index >= missing[:, 0]) & (index <= np.array(inside.shape) - 1 - missing[:, 1])).all(axis=1)
    return Outlined(inside, unit, surface, (surface.faces + origin)[seen], surface.areas[seen], place)


def _line_row(one: Outlined) -> dict[str, float]:
    """Return what the centre line tells."""
    lines, branches = centre_lines(one.inside, one.unit, one.surface)
    thick = 2 * np.concatenate([line.radii for line in lines])
    thick = thick[np.isfinite(thick)]
    ends = sum(np.isnan(line.radii[[0, -1]]).sum() for line in lines)
    return {
        "line": sum(line.length for line in lines), "branches": branches, "ends": int(ends),
        "thick": float(thick.mean()), "thinnest": float(thick.min()), "thickest": float(thick.max()),
    }  # fmt: skip


def faces_between(ids: npt.NDArray[Any], unit: Vectors, origin: Vectors) -> tuple[Vectors, npt.NDArray[Any]]:
    """Return the middle of each face between different ids, in nm, once for each of both that is no background."""
    points, owners = [np.zeros((0, ids.ndim))], [np.zeros(0, ids.dtype)]
    for axis in range(ids.ndim):
        before, after = (ids.take(range(k, ids.shape[axis] - 1 + k), axis) for k in (0, 1))
        where = np.nonzero(before != after)
        face = np.stack(where, axis=1).astype(np.float64)
        face[:, axis] += 0.5
        for side in (before[where], after[where]):
            points.append((face * unit + origin)[side > 0])
            owners.append(side[side > 0])
    return np.concatenate(points), np.concatenate(owners)


def touching(one: Outlined, id: int, others: LazyArray, *, same: bool, within: float) -> tuple[int, float]:
    """Return how many other objects the surface of one comes near to, and how much of it does, in nm².

    `same` says that the others are of the same labels; `within` is the distance in nm, 0 for faces that are shared.
    """
    near = one.place.read(others)
    near = np.where(near == id, 0, near) if same else near
    flat = 3 - one.unit.size
    size = one.unit / one.place.every
    faces, owners = faces_between(near[0] if flat else near, one.unit, one.place.start[flat:] * size)
    if not len(faces) or not len(one.faces):
        return 0, 0.0
    most = within + 1e-3 * float(size.min())
    hit = np.isfinite(cKDTree(faces).query(one.faces, distance_upper_bound=most)[0])
    # The nearest of a face may be one object, and others not too far either.
    near_me = np.isfinite(cKDTree(one.faces).query(faces, distance_upper_bound=most)[0])
    return len(np.unique(owners[near_me])), float(one.areas[hit].sum())
