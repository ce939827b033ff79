"""Overlaps: which id of one array meets which id of another, and on how many voxels."""

from __future__ import annotations

from typing import Any, TypeAlias

import cc3d
import fastremap
import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError
from mitonb.labels import Labels, settled

__all__ = ["AnyLabels", "Counts", "Pairs", "dense", "integers", "pairs", "profiles"]

AnyLabels: TypeAlias = Labels | npt.NDArray[Any]
Counts: TypeAlias = npt.NDArray[np.int64]
Pairs: TypeAlias = tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], Counts]

_CHUNK = 1 << 24  # voxels compared at a time: bounds the memory beside the two arrays


def profiles(ids: npt.NDArray[Any], axis: int) -> npt.NDArray[np.uint32]:
    """Number the connected pieces of each id in each plane.

    Parameters
    ----------
    ids : (z, y, x) integer array
    axis : int
        The axis that the planes are cut along.

    Returns
    -------
    (z, y, x) uint32 array
        1..n over all planes, 8-connected within a plane; 0 is background.
    """
    planes = np.moveaxis(ids, axis, 0)
    out = np.zeros(planes.shape, np.uint32)
    total = 0
    for plane, target in zip(planes, out, strict=True):
        numbers, _ = fastremap.renumber(np.ascontiguousarray(plane), in_place=False)
        pieces, count = cc3d.connected_components(numbers, connectivity=8, return_N=True)
        target[...] = np.where(pieces > 0, pieces + np.uint32(total), 0)
        total += int(count)
    return np.moveaxis(out, 0, axis)


def integers(labels: AnyLabels, name: str) -> npt.NDArray[Any]:
    """Return labels as an array of whole numbers at or above 0; `name` is what the errors call them.

    Raises
    ------
    InputError
        If they are anything else.
    """
    array = settled(labels.data if isinstance(labels, Labels) else np.asarray(labels))
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind not in "ui":
        raise InputError(
            f"{name.capitalize()} are whole numbers, got dtype {array.dtype}. Threshold or round it first."
        )
    if array.dtype.kind == "i" and array.size and array.min() < 0:
        raise InputError(f"{name.capitalize()} start at 0, got {array.min()}.")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def pairs(a: npt.NDArray[Any], b: npt.NDArray[Any], mask: npt.NDArray[np.bool_] | None) -> Pairs:
    """Count the voxels on which each id of one array meets each id of another, background included.

    Parameters
    ----------
    a, b : integer array
        The same shape.
    mask : bool array or None
        Voxels that are left out.

    Returns
    -------
    ids, others, counts : (k,) array
        A pair may come several times: arrays are counted in pieces of bounded size.
    """
    parts = []
    rows = max(1, _CHUNK // max(1, a[0].size)) if a.ndim and len(a) else 1
    for k in range(0, len(a), rows):
        part = np.ascontiguousarray(a[k : k + rows]).ravel(), np.ascontiguousarray(b[k : k + rows]).ravel()
        if mask is not None:
            keep = ~mask[k : k + rows].ravel()
            part = part[0][keep], part[1][keep]
        parts.append(_count(*part))
    if not parts:
        return np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.int64)
    first, second, count = (np.concatenate(column) for column in zip(*parts, strict=True))
    return first, second, count


def _count(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> Pairs:
    """Count the pairs of two flat arrays."""
    (from_a, ids), (from_b, truths) = dense(a), dense(b)
    key = from_a.astype(np.int64)
    key *= len(truths)
    key += from_b
    if len(ids) * len(truths) <= max(4 * key.size, 1 << 16):
        table = np.bincount(key, minlength=0)
        found = np.flatnonzero(table)
        count = table[found]
    else:
        found, count = np.unique(key, return_counts=True)
    return ids[found // len(truths)], truths[found % len(truths)], count.astype(np.int64)


def dense(values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint64]]:
    """Renumber flat values 0..n-1, 0 staying 0; also return the value of each number, (n,) uint64."""
    if values.size == 0:
        return values.astype(np.uint8), np.zeros(1, np.uint64)
    numbers, mapping = fastremap.renumber(values, start=1, preserve_zero=True, in_place=False)
    number = np.fromiter(mapping.values(), np.int64, len(mapping))
    back = np.zeros(int(number.max()) + 1, np.uint64)
    back[number] = np.fromiter(mapping.keys(), np.uint64, len(mapping))
    return numbers, back
