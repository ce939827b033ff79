"""Tables: pairs of ids numbered and counted, by the stretches of rows on which neither changes."""

import functools
from typing import Any

import fastremap
import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError

Counts = npt.NDArray[np.int64]
_CHUNK = 1 << 24  # voxels compared at a time: bounds the memory beside the two arrays


def stretches(*volumes: npt.NDArray[Any]) -> tuple[Counts, Counts]:
    """Return the flat start and the length of each part of a row in which no volume changes: neighbours mostly repeat.

    Examples
    --------
    >>> [column.tolist() for column in stretches(np.array([[5, 5, 0], [0, 0, 7]]))]
    [[0, 2, 3, 5], [2, 1, 2, 1]]
    """
    fresh = np.ones(volumes[0].shape, np.bool_)
    fresh[..., 1:] = functools.reduce(np.logical_or, [v[..., 1:] != v[..., :-1] for v in volumes])
    start = np.flatnonzero(fresh)
    return start, np.diff(start, append=fresh.size)


class PairTable:
    """Each pair (id, other id) at one place of two arrays, with its number and its count; grows piece by piece.

    Numbers are 1.. in the order of first places, so that they do not depend on where pieces begin and end; that of the
    pair (0, 0) is 0, whether it occurs or not.

    Examples
    --------
    >>> table = PairTable()
    >>> table.number(np.array([5, 5, 0, 5], np.uint32), np.array([0, 2, 0, 0], np.uint32)).tolist()
    [1, 2, 0, 1]
    >>> [column.tolist() for column in table.columns()]
    [[0, 5, 5], [0, 0, 2], [1, 2, 1]]
    """

    def __init__(self) -> None:
        self._numbers, self._counts = {0: 0}, np.zeros(1, np.int64)

    def number(self, a: npt.NDArray[np.uint32], b: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
        """Count the pairs of the next piece (arrays of one shape), and return the number of the pair at each place."""
        start, length = stretches(a, b)
        both = a.reshape(-1)[start].astype(np.uint64) << np.uint64(32) | b.reshape(-1)[start]
        keys, first, back = np.unique(both, return_index=True, return_inverse=True)
        names = np.zeros(len(keys), np.uint32)
        for k in np.argsort(first):
            names[k] = self._numbers.setdefault(int(keys[k]), len(self._numbers))
        numbers = names[back]
        counts = np.bincount(numbers, length, len(self._numbers)).astype(np.int64)
        counts[: len(self._counts)] += self._counts
        self._counts = counts
        return np.repeat(numbers, length).reshape(a.shape)

    def columns(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], Counts]:
        """Return id, other id and count of each pair, (k,) each, in the order of their numbers."""
        keys = np.array(list(self._numbers), np.uint64)
        return keys >> np.uint64(32), keys & np.uint64(2**32 - 1), self._counts.copy()


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
    a, b = np.atleast_1d(a), np.atleast_1d(b)
    found = []
    rows = max(1, _CHUNK // max(1, a[:1].size))
    for k in range(0, max(1, len(a)), rows):
        counted = () if mask is None else ~mask[k : k + rows]
        p, q = a[k : k + rows][counted], b[k : k + rows][counted]
        start, length = stretches(p, q)
        found.append(_summed(p.reshape(-1)[start].astype(np.uint64), q.reshape(-1)[start].astype(np.uint64), length))
    return _summed(*(np.concatenate(column) for column in zip(*found, strict=True)))


def _summed(
    ids: npt.NDArray[np.uint64], others: npt.NDArray[np.uint64], counts: Counts
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], Counts]:
    """Return each pair once, sorted, with the sum of its counts."""
    order = np.lexsort((others, ids))
    ids, others = ids[order], others[order]
    first = np.flatnonzero((np.diff(ids, prepend=~ids[:1]) != 0) | (np.diff(others, prepend=others[:1]) != 0))
    return ids[first], others[first], np.add.reduceat(counts[order], first)


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
