"""Overlaps: which id of one array meets which id of another, and on how many voxels."""

from __future__ import annotations

from typing import Any, TypeAlias

import cc3d
import fastremap
import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError
from mitonb.labels import Labels, settled
from mitonb.memory import require_room
from mitonb.stack import Stack, in_order

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
    if isinstance(labels, str | bytes | Stack) or hasattr(labels, "__fspath__"):
        raise InputError(f"{name.capitalize()} are voxels, got {str(labels)[:80]!r}. Open a file with mn.open_labels.")
    if not isinstance(labels, Labels | np.ndarray) and hasattr(labels, "shape") and hasattr(labels, "dtype"):
        require_room(labels.shape, labels.dtype)  # such as an array of a store
    array = settled(labels.data if isinstance(labels, Labels) else np.asarray(in_order(labels)))
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind not in "ui":
        raise InputError(
            f"{name.capitalize()} are whole numbers, got dtype {array.dtype}. Threshold or round it first."
        )
    if array.dtype.kind == "i" and array.size and array.min() < 0:
        raise InputError(f"{name.capitalize()} start at 0, got {array.min()}.")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def pairs(a: npt.NDArray[Any], b: npt.NDArray[Any], mask: npt.NDArray[np.bool_] | None = None) -> Pairs:
    """Count the voxels on which each id of one array meets each id of another, background included.

    Parameters
    ----------
    a, b : integer array
        The same shape; ids at or above 0, up to 2**64 - 1.
    mask : bool array, optional
        Voxels that are left out.

    Returns
    -------
    ids, others : (k,) uint64 array
    counts : (k,) int64 array
        Each pair that occurs, once, sorted.
    """
    # numba takes half a second to load: whoever only looks at labels need not wait for it.
    from mitonb.post.pair_counts import PairCounts

    if a.ndim > 1 and all(x.flags.f_contiguous for x in (a, b)):
        # The order of the voxels is all one to a table: read them as they lie in memory.
        a, b, mask = a.T, b.T, None if mask is None else mask.T
    table = PairCounts()
    a, b = (x.view(f"u{x.dtype.itemsize}") if x.dtype.kind == "i" else x for x in (a, b))
    rows = max(1, _CHUNK // max(1, a[0].size)) if a.ndim and len(a) else 1
    for k in range(0, len(a) if a.ndim else 0, rows):
        part = slice(k, k + rows)
        table.add(a[part], b[part], None if mask is None else mask[part])
    return table.pairs()


def dense(values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint64]]:
    """Renumber flat values 0..n-1, 0 staying 0; also return the value of each number, (n,) uint64."""
    if values.size == 0:
        return values.astype(np.uint8), np.zeros(1, np.uint64)
    numbers, mapping = fastremap.renumber(values, start=1, preserve_zero=True, in_place=False)
    number = np.fromiter(mapping.values(), np.int64, len(mapping))
    back = np.zeros(int(number.max()) + 1, np.uint64)
    back[number] = np.fromiter(mapping.keys(), np.uint64, len(mapping))
    return numbers, back
