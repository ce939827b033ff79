"""Counts of pairs: on how many voxels each id of one array meets each id of another, background included."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mitonb.post.compiled import jit

__all__ = ["PairCounts"]

_ANY = np.zeros(0, np.uint8)  # stands for "no mask" where the compiled code wants an array


class PairCounts:
    """An open table of (id, other id) -> voxels that grows as arrays are added piece by piece."""

    def __init__(self) -> None:
        self._state: Any = (np.zeros(256, np.uint64), np.zeros(256, np.uint64), np.zeros(256, np.int64), 0)

    def add(self, a: npt.NDArray[Any], b: npt.NDArray[Any], skip: npt.NDArray[np.bool_] | None = None) -> None:
        """Count the voxels of one piece.

        Parameters
        ----------
        a, b : contiguous arrays of unsigned int
            The same shape; what their ids are called and how large they are has no effect on speed or memory.
        skip : bool array, optional
            Voxels that are left out.
        """
        # One compiled version per width: the narrower ids are widened.
        common = np.promote_types(np.promote_types(a.dtype, b.dtype), np.uint16)
        masked = skip is not None
        mask = np.ascontiguousarray(skip).reshape(-1).view(np.uint8) if skip is not None else _ANY
        flat_a, flat_b = (np.ascontiguousarray(x, dtype=common).reshape(-1) for x in (a, b))
        # The same memory again in words of 64 bits, which hold several ids.
        each = 8 // common.itemsize
        words_a, words_b = (x[: len(x) // each * each].view(np.uint64) for x in (flat_a, flat_b))
        self._state = _add(flat_a, flat_b, words_a, words_b, each, mask, masked, *self._state)

    def pairs(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
        """Return the ids, the other ids and the counts of the pairs that occur, (k,) each, sorted."""
        first, second, counts, _ = self._state
        there = np.flatnonzero(counts)
        order = there[np.lexsort((second[there], first[there]))]
        return first[order], second[order], counts[order]


@jit
def _slot(first: Any, second: Any, counts: Any, p: Any, q: Any) -> Any:
    """Return the place of a pair, or the free place (count 0) where it belongs."""
    mask = np.uint64(len(counts) - 1)
    mixed = p * np.uint64(0x9E3779B97F4A7C15) ^ q * np.uint64(0xC2B2AE3D27D4EB4F)
    at = (mixed ^ (mixed >> np.uint64(29))) & mask
    while counts[at] != 0 and (first[at] != p or second[at] != q):
        at = (at + np.uint64(1)) & mask
    return np.int64(at)


@jit
def _grown(first: Any, second: Any, counts: Any) -> Any:
    """Return a table of twice the size with the same content."""
    n = 2 * len(counts)
    bigger_first, bigger_second = np.zeros(n, np.uint64), np.zeros(n, np.uint64)
    bigger_counts = np.zeros(n, np.int64)
    for k in range(len(counts)):
        if counts[k] != 0:
            at = _slot(bigger_first, bigger_second, bigger_counts, first[k], second[k])
            bigger_first[at], bigger_second[at], bigger_counts[at] = first[k], second[k], counts[k]
    return bigger_first, bigger_second, bigger_counts


@jit
def _add(
    a: Any, b: Any, words_a: Any, words_b: Any, each: Any, skip: Any, masked: Any,
    first: Any, second: Any, counts: Any, used: Any,
) -> Any:  # fmt: skip
    n = len(a)
    copies = np.uint64(1)  # times an id: a word full of it
    if each == 2:
        copies = np.uint64(0x0000000100000001)
    elif each == 4:
        copies = np.uint64(0x0001000100010001)
    k = 0
    while k < n:
        p, q = a[k], b[k]
        start = k
        k += 1
        # Neighbours mostly repeat: one look-up for a whole run, and its end is sought 8 words at a time.
        while k < n and k % each != 0 and a[k] == p and b[k] == q:
            k += 1
        if k % each == 0:
            full_p, full_q = np.uint64(p) * copies, np.uint64(q) * copies
            j = k // each
            while j + 8 <= len(words_a):
                differ = np.uint64(0)
                for i in range(8):
                    differ |= (words_a[j + i] ^ full_p) | (words_b[j + i] ^ full_q)
                if differ != 0:
                    break
                j += 8
            k = j * each
        while k < n and a[k] == p and b[k] == q:
            k += 1
        length = k - start
        if masked:
            for i in range(start, k):
                length -= skip[i]
            if length == 0:
                continue
        at = _slot(first, second, counts, np.uint64(p), np.uint64(q))
        if counts[at] == 0:
            if 2 * used >= len(counts):
                first, second, counts = _grown(first, second, counts)
                at = _slot(first, second, counts, np.uint64(p), np.uint64(q))
            first[at], second[at] = p, q
            used += 1
        counts[at] += length
    return first, second, counts, used
