"""Tables: pairs of ids numbered and counted in one pass over two arrays; the one hash loop of the house."""

from __future__ import annotations

from typing import Any

import fastremap
import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError
from mitonb.post.compiled import jit

_NOTHING = np.zeros(0, np.uint32)
_CHUNK = 1 << 24  # voxels compared at a time: bounds the memory beside the two arrays


class PairTable:
    """Each pair (id, other id) at one place of two arrays, with its number and its count; grows piece by piece.

    Numbers are 1.. in the order of first places, so that they do not depend on where pieces begin and end; that of the
    pair (0, 0) is 0, whether it occurs or not. What ids are called has no effect on speed or memory.

    Examples
    --------
    >>> table = PairTable()
    >>> table.number(np.array([5, 5, 0, 5], np.uint32), np.array([0, 2, 0, 0], np.uint32)).tolist()
    [1, 2, 0, 1]
    >>> [column.tolist() for column in table.columns()]
    [[0, 5, 5], [0, 0, 2], [1, 2, 1]]
    """

    def __init__(self) -> None:
        slots = np.zeros(512, np.int64)
        slots[0] = 1  # the place of (0, 0)
        self._state: Any = slots, np.zeros(256, np.uint64), np.zeros(256, np.uint64), np.zeros(256, np.int64), 1

    def count(self, a: npt.NDArray[Any], b: npt.NDArray[Any]) -> None:
        """Count the pairs of the next piece: two arrays of unsigned int of one shape."""
        self._add(a, b, _NOTHING)

    def number(self, a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[np.uint32]:
        """Count the pairs of the next piece, and return the number of the pair at each place."""
        numbers = np.empty(a.shape, np.uint32)
        self._add(a, b, numbers.reshape(-1))
        if self._state[-1] >= 2**32:
            raise InputError("More than four billion pairs of ids: cut out a part of the volume.")
        return numbers

    def columns(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
        """Return id, other id and count of each pair, (k,) each, in the order of their numbers."""
        _, first, second, counts, used = self._state
        return first[:used].copy(), second[:used].copy(), counts[:used].copy()

    def _add(self, a: npt.NDArray[Any], b: npt.NDArray[Any], numbers: npt.NDArray[np.uint32]) -> None:
        # One compiled version for 32 bits, one for 64: narrower ids are widened.
        common = np.promote_types(np.promote_types(a.dtype, b.dtype), np.uint32)
        a, b = (np.ascontiguousarray(x, dtype=common).reshape(-1) for x in (a, b))
        self._state = _count(a, b, numbers, *self._state)


def overlaps(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Count the pixels that each pair of ids shares.

    Parameters
    ----------
    a, b : arrays of unsigned int of one shape
        Ids; 0 is background and makes no pair.

    Returns
    -------
    table : (n, 3) int64 array
        (id in a, id in b, pixels), sorted.
    """
    rows = np.stack(pairs(as_ids(a), as_ids(b)), axis=1).astype(np.int64)
    return rows[(rows[:, :2] > 0).all(axis=1)]


def pairs(
    a: npt.NDArray[Any], b: npt.NDArray[Any], mask: npt.NDArray[np.bool_] | None = None
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
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
    if a.ndim > 1 and all(x.flags.f_contiguous for x in (a, b)):
        # The order of the voxels is all one to a table: read them as they lie in memory.
        a, b, mask = a.T, b.T, None if mask is None else mask.T
    table = PairTable()
    a, b = (x.view(f"u{x.dtype.itemsize}") if x.dtype.kind == "i" else x for x in (a, b))
    rows = max(1, _CHUNK // max(1, a[0].size)) if a.ndim and len(a) else 1
    for k in range(0, len(a) if a.ndim else 0, rows):
        part = slice(k, k + rows)
        counted = () if mask is None else ~mask[part]
        table.count(a[part][counted], b[part][counted])
    first, second, counts = table.columns()
    order = np.lexsort((second, first))
    order = order[counts[order] > 0]
    return first[order], second[order], counts[order]


def replaced(
    ids: npt.NDArray[np.uint32], table: npt.NDArray[np.uint32], *, in_place: bool = False
) -> npt.NDArray[np.uint32]:
    """Return `table[ids]`, several times faster than numpy; in place, the ids themselves are overwritten."""
    flat: Any = ids.reshape(-1)
    found: Any = fastremap.remap_from_array(flat, table, in_place=in_place)  # type: ignore[arg-type]
    return np.asarray(found.reshape(ids.shape))


def as_ids(ids: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.uint32]:
    """Return ids as a contiguous uint32 array, of the same values.

    Raises
    ------
    InputError
        If an id is below 0 or above 2**32 - 1: cut off to 32 bits it would become another object, or background.
    """
    if ids.dtype.kind not in "bui" or (
        not np.can_cast(ids.dtype, np.uint32) and ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < 2**32
    ):
        raise InputError(f"Ids are whole numbers from 0 to {2**32 - 1}, got {ids.dtype}. Renumber them first.")
    return np.ascontiguousarray(ids, dtype=np.uint32)


@jit
def _count(a: Any, b: Any, numbers: Any, slots: Any, first: Any, second: Any, counts: Any, used: Any) -> Any:
    """Add the pairs of two flat arrays to the columns; write their numbers, unless `numbers` is empty.

    A slot holds 1 + the number of a pair, 0 where it is free; there are twice as many slots as rows, or more.
    """
    k, one = np.uint64(0), np.uint64(1)
    end = np.uint64(len(a))
    while k < end:
        p, q, start = a[k], b[k], k
        k += one
        while k < end and a[k] == p and b[k] == q:  # neighbours mostly repeat: one look-up for all of them
            k += one
        at = _slot(slots, first, second, p, q)
        if slots[at] == 0:
            if used == len(first):
                first, second = np.concatenate((first, first)), np.concatenate((second, second))
                counts = np.concatenate((counts, np.zeros_like(counts)))
                slots = np.zeros(2 * len(slots), np.int64)
                for n in range(used):
                    slots[_slot(slots, first, second, first[n], second[n])] = n + 1
                at = _slot(slots, first, second, p, q)
            first[used], second[used] = p, q
            used += 1
            slots[at] = used
        number = slots[at] - 1
        counts[number] += np.int64(k - start)
        if len(numbers):
            numbers[start:k] = number
    return slots, first, second, counts, used


@jit
def _slot(slots: Any, first: Any, second: Any, p: Any, q: Any) -> Any:
    """Return the slot of a pair, or the free one where it belongs."""
    p, q, mask = np.uint64(p), np.uint64(q), np.uint64(len(slots) - 1)
    mixed = p * np.uint64(0x9E3779B97F4A7C15) ^ q * np.uint64(0xC2B2AE3D27D4EB4F)
    at = (mixed ^ (mixed >> np.uint64(29))) & mask
    while slots[at] != 0 and (first[slots[at] - 1] != p or second[slots[at] - 1] != q):
        at = (at + np.uint64(1)) & mask
    return at
