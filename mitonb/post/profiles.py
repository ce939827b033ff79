"""Profiles: the connected pieces of one plane, found on runs of equal pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.post.compiled import jit
from mitonb.post.tables import as_ids

if TYPE_CHECKING:
    from mitonb.maps import Ids

__all__ = ["profiles", "root"]


def profiles(groups: Ids, min_area: int = 0) -> tuple[npt.NDArray[np.uint32], int]:
    """Split the ids of a plane into connected pieces (8 neighbours) and number them in reading order.

    Parameters
    ----------
    groups : (h, w) array of unsigned int
        Pixels with the same id may be one object; 0 is background.
    min_area : int
        Pieces with fewer pixels become background.

    Returns
    -------
    ids : (h, w) uint32 array
        1..count in the order of each piece's first pixel.
    count : int
        Number of pieces.
    """
    ids, count = _profiles(as_ids(groups), int(min_area))
    return ids, int(count)


@jit
def root(parent: Any, run: Any) -> Any:
    """Follow parents to the first run of a region, halving the path on the way; compiled."""
    while parent[run] != run:
        parent[run] = parent[parent[run]]
        run = parent[run]
    return run


@jit
def _join(parent: Any, a: Any, b: Any) -> None:
    """Make two runs one piece; its root is the earlier run, so that pieces are numbered by their first pixel."""
    p, q = root(parent, a), root(parent, b)
    parent[max(p, q)] = min(p, q)


@jit
def _runs(groups: Any) -> Any:
    """Return start, stop (exclusive), and for each row the number of its first run."""
    h, w = groups.shape
    count = 0
    for y in range(h):
        last = np.uint32(0)
        for x in range(w):
            here = groups[y, x]
            if here != last:
                if here != 0:
                    count += 1
                last = here
    start = np.empty(count, np.int32)
    stop = np.empty(count, np.int32)
    first = np.empty(h + 1, np.int64)
    k = 0
    for y in range(h):
        first[y] = k
        last = np.uint32(0)
        for x in range(w):
            here = groups[y, x]
            if here != last:
                if last != 0:
                    stop[k - 1] = x
                if here != 0:
                    start[k] = x
                    k += 1
                last = here
        if last != 0:
            stop[k - 1] = w
    first[h] = k
    return start, stop, first


@jit
def _profiles(groups: Any, min_area: Any) -> Any:
    h, w = groups.shape
    start, stop, first = _runs(groups)
    runs = first[h]
    parent = np.arange(runs)
    for y in range(1, h):
        a, a_end = first[y - 1], first[y]
        b, b_end = first[y], first[y + 1]
        while a < a_end and b < b_end:
            # Runs touch, corners included, when neither ends before the other starts.
            if start[a] <= stop[b] and start[b] <= stop[a] and groups[y - 1, start[a]] == groups[y, start[b]]:
                _join(parent, a, b)
            if stop[a] < stop[b]:
                a += 1
            elif stop[b] < stop[a]:
                b += 1
            else:
                # Both end here: the next run of either row may still touch the other at a corner.
                if b + 1 < b_end and start[b + 1] <= stop[a] and groups[y - 1, start[a]] == groups[y, start[b + 1]]:
                    _join(parent, a, b + 1)
                a += 1
    area = np.zeros(runs, np.int64)
    for run in range(runs):
        parent[run] = root(parent, run)
        area[parent[run]] += stop[run] - start[run]
    number = np.zeros(runs, np.uint32)
    count = 0
    for run in range(runs):
        if parent[run] == run and area[run] >= min_area:
            count += 1
            number[run] = count
    ids = np.zeros((h, w), np.uint32)
    for y in range(h):
        for run in range(first[y], first[y + 1]):
            here = number[parent[run]]
            if here != 0:
                for x in range(start[run], stop[run]):
                    ids[y, x] = here
    return ids, count
