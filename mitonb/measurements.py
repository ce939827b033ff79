"""Measurements: one table with size, place, length and brightness of every object."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import fastremap
import numpy as np
import numpy.typing as npt
import pandas as pd

from mitonb.errors import AxesError, InputError
from mitonb.labels import Labels, scale_note
from mitonb.overlaps import AnyLabels, dense, integers
from mitonb.stack import LazyArray, Stack, in_order, read_part, voxel_size_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["measure"]

Vectors = npt.NDArray[np.float64]
_CHUNK = 1 << 24  # voxels looked at in one go: bounds the memory beside the labels
_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def measure(
    labels: AnyLabels | Stack,
    *,
    stack: Stack | npt.NDArray[np.generic] | None = None,
    voxel_size: float | tuple[float, float, float] | None = None,
) -> pd.DataFrame:
    """Measure every object; one row per id, in the order of the ids.

    The volume is read in pieces of bounded size, however many objects there are: labels in a file that are larger than
    memory are measured as `measure(mn.open(path))`.

    Parameters
    ----------
    labels : Labels, (z, y, x) integer array, or Stack of whole numbers
        0 is background.
    stack : Stack or (z, y, x) array, optional
        Image of the same shape; adds the mean intensity. It is read piece by piece.
    voxel_size : float or tuple of float, optional
        One number or (z, y, x), in nm; by default that of the stack, else that of the labels. Where the two differ, a
        warning says so.

    Returns
    -------
    pandas.DataFrame
        Columns:

        ``id``
            Id of the object.
        ``voxels``
            Number of voxels.
        ``volume_um3``
            Volume in cubic micrometres; only when the voxel size is known.
        ``z, y, x``
            Centroid in voxels (it may lie outside a bent object).
        ``z0, y0, x0, z1, y1, x1``
            Box: first voxel inside and first voxel beyond.
        ``length_nm`` (``length_voxels`` when the voxel size is unknown)
            How far the object reaches from outer face to outer face: along its longest principal axis, or along z, y
            or x where it reaches further. It is a straight line: a bent object is longer along its own line.
        ``truncated``
            Whether the box touches the border of the volume on an axis of more than one voxel, so that size and
            length are those of a part.
        ``mean_intensity``
            Mean of the finite image values inside; only with a stack.

        ``attrs["voxel_size"]`` is what was used, None when unknown.

    Raises
    ------
    AxesError
        If the labels are not a volume, or the image has another shape.
    InputError
        If the labels are no whole numbers or a voxel size is not positive.

    Examples
    --------
    >>> table = measure(np.array([[[0, 4, 4, 4]]]), voxel_size=(10, 10, 10))
    >>> int(table.voxels[0]), float(table.length_nm[0]), float(table.volume_um3[0])
    (3, 30.0, 3e-06)
    """
    data = _whole_numbers(labels.data) if isinstance(labels, Stack) else integers(labels, "labels")
    if len(data.shape) != 3:
        raise AxesError(f"Labels need 3 axes (z, y, x), got shape {data.shape}. For one plane pass ids[None].")
    if stack is not None and tuple(_pixels(stack).shape) != data.shape:
        raise AxesError(f"The image needs the shape of the labels, {data.shape}, got {tuple(_pixels(stack).shape)}.")
    size = _voxel_size(labels, stack, voxel_size)
    unit = np.array(size if size is not None else (1.0, 1.0, 1.0))
    ids = _ids(data)
    sums = _sums(data, ids, None if stack is None else _pixels(stack))
    axes = _principal(sums, unit)
    low, high = _reach(data, ids, axes * unit)
    truncated = (((sums.start == 0) | (sums.stop == data.shape)) & (np.array(data.shape) > 1)).any(axis=1)
    table = pd.DataFrame({"id": ids if ids.max(initial=0) >= 2**63 else ids.astype(np.int64), "voxels": sums.count})
    if size is not None:
        table["volume_um3"] = sums.count * (unit.prod() / 1e9)
    for k, name in enumerate("zyx"):
        table[name] = sums.first[:, k] / np.maximum(sums.count, 1)
    for name, corner in (("0", sums.start), ("1", sums.stop)):
        for k, letter in enumerate("zyx"):
            table[letter + name] = corner[:, k]
    # Centres of voxels were projected; half a voxel more on both sides reaches the outer faces.
    length = high - low + (np.abs(axes) * unit).sum(axis=1)
    sides = (sums.stop - sums.start) * unit
    table["length_nm" if size is not None else "length_voxels"] = np.maximum(length, sides.max(axis=1, initial=0))
    table["truncated"] = truncated
    if stack is not None:
        with np.errstate(invalid="ignore"):
            table["mean_intensity"] = sums.light / np.where(sums.lit > 0, sums.lit, np.nan)
    table.attrs["voxel_size"] = size
    return table


@dataclass
class _Sums:
    """Sums over the voxels of each object; n objects."""

    count: npt.NDArray[np.int64]  # (n,)
    first: Vectors  # (n, 3) of z, y, x
    second: Vectors  # (n, 6) of products, in the order of _PAIRS, about `origin`
    origin: Vectors  # (n, 3)
    start: npt.NDArray[np.int64]  # (n, 3)
    stop: npt.NDArray[np.int64]  # (n, 3)
    light: Vectors  # (n,) of the image
    lit: Vectors  # (n,) number of finite image values


def _pixels(stack: Stack | npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    return stack.data if isinstance(stack, Stack) else np.asarray(in_order(stack))  # type: ignore[return-value]


def _whole_numbers(data: LazyArray) -> LazyArray:
    """Return the pixels of a stack, still in their file, if they can be ids."""
    if data.dtype.kind not in "bui":
        raise InputError(f"Labels are whole numbers, got dtype {data.dtype}. Open the labels, not the image.")
    return data


def _ids(data: LazyArray) -> npt.NDArray[np.uint64]:
    """Return the sorted ids of the objects."""
    found = [fastremap.unique(part) for _, part in _parts(data)]
    ids = np.unique(np.concatenate(found)) if found else np.zeros(0, np.uint64)
    if ids.dtype.kind == "i" and ids.min(initial=0) < 0:
        raise InputError(f"Labels start at 0, got {ids.min()}.")
    return ids[ids > 0].astype(np.uint64)


def _voxel_size(
    labels: AnyLabels | Stack,
    stack: Stack | npt.NDArray[np.generic] | None,
    given: float | tuple[float, float, float] | None,
) -> tuple[float, float, float] | None:
    """Take the voxel size that was given, else that of the stack, else that of the labels."""
    if given is not None:
        return voxel_size_of(given)
    own, image = (x.voxel_size if isinstance(x, Labels | Stack) else None for x in (labels, stack))
    if said := scale_note(image, own):
        warnings.warn(f"{said} Or give measure a voxel_size.", stacklevel=3)
    return image or own


def _parts(data: LazyArray) -> Iterator[tuple[int, npt.NDArray[np.generic]]]:
    """Yield some planes at a time: the first of them, and their ids as one block of memory."""
    planes = max(1, _CHUNK // max(1, data.shape[1] * data.shape[2]))
    for z in range(0, data.shape[0], planes):
        part = np.ascontiguousarray(_read(data, z, z + planes))
        yield z, part.view(np.uint8) if part.dtype.kind == "b" else part


def _read(data: LazyArray, start: int, stop: int) -> npt.NDArray[np.generic]:
    return read_part(data, (slice(start, stop), slice(None), slice(None)))


def _slabs(
    data: LazyArray, ids: npt.NDArray[np.uint64]
) -> Iterator[tuple[slice, npt.NDArray[np.int64], list[npt.NDArray[np.int64]], npt.NDArray[np.int64]]]:
    """Yield for some planes at a time: which, index into `ids`, [z, y, x] and flat place of each object voxel."""
    for z, part in _parts(data):
        place = np.flatnonzero(part)
        if len(place) == 0:
            continue
        numbers, back = dense(part.ravel()[place])
        index = np.searchsorted(ids, back)[numbers]
        where = list(np.unravel_index(place, part.shape))
        where[0] = where[0] + z
        yield slice(z, z + len(part)), index, where, place


def _sums(data: LazyArray, ids: npt.NDArray[np.uint64], image: npt.NDArray[np.generic] | None) -> _Sums:
    """Add up positions, their products and intensities of every object."""
    n = len(ids)
    out = _Sums(
        np.zeros(n, np.int64), np.zeros((n, 3)), np.zeros((n, 6)), np.zeros((n, 3)),
        np.full((n, 3), np.iinfo(np.int64).max), np.zeros((n, 3), np.int64), np.zeros(n), np.zeros(n),
    )  # fmt: skip
    for planes, index, where, place in _slabs(data, ids):
        new = out.count == 0
        count = np.bincount(index, minlength=n)
        out.count += count
        order, cuts, present = _grouped(index)
        for k in range(3):
            sorted_k = where[k][order]
            out.start[present, k] = np.minimum(out.start[present, k], np.minimum.reduceat(sorted_k, cuts))
            out.stop[present, k] = np.maximum(out.stop[present, k], np.maximum.reduceat(sorted_k, cuts) + 1)
            out.first[:, k] += np.bincount(index, where[k], minlength=n)
        # Products about a voxel of the object itself: squares of far-off positions would eat the digits.
        out.origin[new] = np.where(count[new, None] > 0, out.start[new], 0)
        away = [w - out.origin[index, k] for k, w in enumerate(where)]
        for j, (a, b) in enumerate(_PAIRS):
            out.second[:, j] += np.bincount(index, away[a] * away[b], minlength=n)
        if image is not None:
            values = _read(image, planes.start, planes.stop).ravel()[place].astype(np.float64)
            good = np.isfinite(values)
            out.light += np.bincount(index[good], values[good], minlength=n)
            out.lit += np.bincount(index[good], minlength=n)
    return out


def _grouped(
    index: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return an order that puts equal numbers together, where each run starts, and which number it is."""
    order = np.argsort(index, kind="stable")
    ordered = index[order]
    cuts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    return order, cuts, ordered[cuts]


def _principal(sums: _Sums, unit: Vectors) -> Vectors:
    """Return the direction of largest spread of each object in physical space, (n, 3) of length 1."""
    n = np.maximum(sums.count, 1)[:, None]
    middle = sums.first / n - sums.origin
    spread = np.zeros((len(n), 3, 3))
    for j, (a, b) in enumerate(_PAIRS):
        value = (sums.second[:, j] / n[:, 0] - middle[:, a] * middle[:, b]) * unit[a] * unit[b]
        # Voxels are boxes, not points: an object of one section is as thick as the section.
        spread[:, a, b] = spread[:, b, a] = value + (unit[a] ** 2 / 12 if a == b else 0)
    _, vectors = np.linalg.eigh(spread)
    return np.asarray(vectors[:, :, -1])


def _reach(data: LazyArray, ids: npt.NDArray[np.uint64], axes: Vectors) -> tuple[Vectors, Vectors]:
    """Return the lowest and highest projection of the voxel centres of each object on its axis."""
    low, high = np.full(len(ids), np.inf), np.full(len(ids), -np.inf)
    for _, index, where, _place in _slabs(data, ids):
        along = sum(w * axes[index, k] for k, w in enumerate(where))
        order, cuts, present = _grouped(index)
        ordered = np.asarray(along)[order]
        low[present] = np.minimum(low[present], np.minimum.reduceat(ordered, cuts))
        high[present] = np.maximum(high[present], np.maximum.reduceat(ordered, cuts))
    return low, high
