"""Tables taken from runs: numbers in reading order, areas, and what the ids of two volumes share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mitonb.post.compiled import jit
from mitonb.post.runs import Runs
from mitonb.post.tables import grown, slot

__all__ = ["Numbered", "numbered", "shared"]


@dataclass(frozen=True)
class Numbered:
    """A plane with what was counted in it on the way, so that nobody counts it again.

    Attributes
    ----------
    runs : Runs
        Ids 1.. in the order of their first pixels.
    areas : (count,) int64 array
        Pixels of each.
    shared : (n, 3) int64 array or None
        What `shared` returns of the plane before and this one, where it is known.
    """

    runs: Runs
    areas: npt.NDArray[np.int64]
    shared: npt.NDArray[np.int64] | None = None


def numbered(runs: Runs, begin: int = 1) -> tuple[Runs, npt.NDArray[np.int64]]:
    """Number ids by their first pixels. What ids were called has no effect.

    Parameters
    ----------
    runs : Runs
        Any ids.
    begin : int
        Number of the first one.

    Returns
    -------
    runs : Runs
        With ids begin, begin + 1, ...
    areas : (count,) int64 array
        Pixels of each.
    """
    ids, areas = _numbered(runs.start, runs.stop, runs.ids, np.uint32(begin))
    return Runs(runs.shape, runs.first, runs.start, runs.stop, ids), areas


def shared(a: Runs, b: Runs) -> npt.NDArray[np.int64]:
    """Count the pixels that each pair of ids shares.

    Parameters
    ----------
    a, b : Runs
        Of one shape.

    Returns
    -------
    table : (n, 3) int64 array
        (id in a, id in b, pixels), sorted.
    """
    table: npt.NDArray[np.int64] = _shared(a.first, a.start, a.stop, a.ids, b.first, b.start, b.stop, b.ids)
    return table


@jit
def _numbered(start: Any, stop: Any, ids: Any, begin: Any) -> Any:
    keys = np.zeros(256, np.uint64)
    numbers = np.zeros(256, np.int64)
    areas = np.zeros(128, np.int64)
    result = np.empty(len(ids), np.uint32)
    count = 0
    last, number = np.uint32(0), 0
    for k in range(len(ids)):
        here = ids[k]
        if here != last:
            key = np.uint64(here)
            at = slot(keys, key)
            if keys[at] == 0:
                if count == len(areas):
                    keys, numbers = grown(keys, numbers)
                    areas = np.concatenate((areas, np.zeros_like(areas)))
                    at = slot(keys, key)
                keys[at] = key
                numbers[at] = count
                count += 1
            last, number = here, numbers[at]
        areas[number] += stop[k] - start[k]
        result[k] = begin + number
    return result, areas[:count].copy()


@jit
def _shared(
    a_first: Any, a_start: Any, a_stop: Any, a_ids: Any, b_first: Any, b_start: Any, b_stop: Any, b_ids: Any
) -> Any:
    keys = np.zeros(256, np.uint64)
    counts = np.zeros(256, np.int64)
    used = 0
    last, at = np.uint64(0), np.int64(0)
    for r in range(len(a_first) - 1):
        i, i_end = np.uint64(a_first[r]), np.uint64(a_first[r + 1])
        j, j_end = np.uint64(b_first[r]), np.uint64(b_first[r + 1])
        while i < i_end and j < j_end:
            pixels = min(a_stop[i], b_stop[j]) - max(a_start[i], b_start[j])
            if pixels > 0:
                key = (np.uint64(a_ids[i]) << np.uint64(32)) | np.uint64(b_ids[j])
                if key != last:
                    at = slot(keys, key)
                    if keys[at] == 0:
                        if 2 * used >= len(keys):
                            keys, counts = grown(keys, counts)
                            at = slot(keys, key)
                        keys[at] = key
                        used += 1
                    last = key
                counts[at] += pixels
            if a_stop[i] < b_stop[j]:
                i += np.uint64(1)
            else:
                j += np.uint64(1)
    there = np.flatnonzero(keys)
    table = np.empty((len(there), 3), np.int64)
    row = 0
    for k in there[np.argsort(keys[there])]:
        table[row, 0], table[row, 1], table[row, 2] = (
            keys[k] >> np.uint64(32),
            keys[k] & np.uint64(0xFFFFFFFF),
            counts[k],
        )
        row += 1
    return table
