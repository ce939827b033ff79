"""Shapes: the surface and the widths of one object, in nm, whatever the shape of the voxels."""

import contextlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist

Mask = npt.NDArray[np.bool_]
Vectors = npt.NDArray[np.float64]

MARGIN = 2  # voxels around an object: what is farther out tells nothing of its normals
_NORMAL_BLUR, _PLACE_BLUR = 1.75, 0.7  # voxels: normals need a wide blur, places a narrow one
_DIRECTIONS, _NEAR = 300, 0.95  # 18 degrees: directions are at most half as far from each other


class Surface(NamedTuple):
    """The faces between the voxels of an object and those around it.

    Attributes
    ----------
    faces : (n, d) array
        Middle of each face in nm; the centre of the first voxel of the box is the origin.
    points : (n, d) array
        The same, moved across the face to where the surface of the object is most likely.
    areas : (n,) array
        What each face adds to the surface, in nm to the power of d - 1; 0 where the volume cuts the object off.
    """

    faces: Vectors
    points: Vectors
    areas: Vectors


def surface_of(inside: Mask, unit: Vectors, *, cut: npt.NDArray[np.bool_] | None = None) -> Surface:
    """Return the surface of an object; in 2-D, its outline.

    Each face of a voxel counts by its area times the part of the normal that is across it, the normal being that of the
    blurred object: the sum approaches the true surface as voxels get smaller, for any shape of the voxels
    (Coeurjolly, Flin, Teytaud and Tougne 2003).

    Parameters
    ----------
    inside : bool array, 2-D or 3-D
        The object, with `MARGIN` voxels of nothing around it.
    unit : (d,) array
        Size of a voxel in nm.
    cut : (d, 2) bool array, optional
        Where the border of the volume cuts the object off, before and after: the cut is no surface.
    """
    goes_on = inside.astype(np.float32)
    for axis, after in np.argwhere(np.zeros((inside.ndim, 2)) if cut is None else cut):
        planes = np.moveaxis(goes_on, axis, 0)[:: -1 if after else 1]
        planes[:MARGIN] = planes[MARGIN]
    slope = ndimage.gaussian_filter(goes_on, _NORMAL_BLUR, mode="nearest", truncate=3)
    sharp = ndimage.gaussian_filter(inside.astype(np.float32), _PLACE_BLUR, mode="nearest", truncate=3)
    slopes = np.stack(np.gradient(slope, *unit))
    faces, points, areas = list[Vectors](), list[Vectors](), list[Vectors]()
    for axis in range(inside.ndim):
        before, after = (inside.take(range(k, inside.shape[axis] - 1 + k), axis) for k in (0, 1))
        first = np.nonzero(before != after)
        second = tuple(where + (k == axis) for k, where in enumerate(first))
        normal = np.array([part[first] + part[second] for part in slopes])
        size = np.sqrt((normal**2).sum(axis=0))
        part = np.abs(normal[axis]) / np.where(size > 0, size, 1)
        counts = size > 1e-6 / unit.max()
        if cut is not None:  # also at the rim of the cut, where the normal is that of a slanting side
            at = first[axis]
            counts &= ~(cut[axis, 0] & (at == MARGIN - 1)) & ~(cut[axis, 1] & (at == inside.shape[axis] - MARGIN - 1))
        areas.append(np.where(counts, part, 0) * unit.prod() / unit[axis])
        a, b = sharp[first].astype(np.float64), sharp[second].astype(np.float64)
        # Of what is one voxel thin nothing is left above a half: its surface stays on the face.
        across = np.where(np.maximum(a, b) > 0.6, np.clip((a - 0.5) / np.where(a == b, 1, a - b), 0, 1), 0.5)
        for places, shift in ((faces, 0.5), (points, across)):
            place = np.stack(first, axis=1).astype(np.float64)
            place[:, axis] += shift
            places.append(place * unit)
    return Surface(np.concatenate(faces), np.concatenate(points), np.concatenate(areas))


def widths(points: Vectors) -> tuple[float, float]:
    """Return the largest and the smallest distance of two parallel planes (lines) that touch all points (n, d).

    The largest is Feret's diameter; the smallest is looked for in 300 directions, and across the faces of the convex
    hull that are near to the best of these.
    """
    normals: Vectors = np.zeros((0, points.shape[1]))
    with contextlib.suppress(QhullError):  # of points in one plane all are taken
        hull = ConvexHull(points)
        points, normals = np.asarray(points[hull.vertices]), hull.equations[:, :-1]
    k: Vectors = np.arange(_DIRECTIONS, dtype=np.float64) + 0.5
    if points.shape[1] == 2:
        turn = np.pi * k / _DIRECTIONS
        directions: Vectors = np.stack([np.sin(turn), np.cos(turn)])
    else:  # a spiral over half of a sphere
        height: Vectors = k / _DIRECTIONS
        turn = np.pi * (1 + 5**0.5) * k
        flat = np.sqrt(1 - height**2)
        directions = np.array([height, flat * np.sin(turn), flat * np.cos(turn)], np.float64)
    spans = np.ptp(points @ directions, axis=0)
    near = normals[np.abs(normals @ directions[:, spans.argmin()]) > _NEAR]
    return float(pdist(points).max(initial=0)), float(np.ptp(points @ near.T, axis=0).min(initial=spans.min()))
