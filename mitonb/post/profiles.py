"""Profiles: the connected pieces of one plane, found on runs of equal pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.post.compiled import jit
from mitonb.post.runs import Runs, paint, relabelled, runs_of

if TYPE_CHECKING:
    from mitonb.maps import Ids

__all__ = ["profile_runs", "profiles", "root"]


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
    runs, count = profile_runs(runs_of(groups), min_area)
    return paint(runs)[0], count


def profile_runs(groups: Runs, min_area: int = 0) -> tuple[Runs, int]:
    """Split the ids of one plane into connected pieces; `profiles` for runs.

    Parameters
    ----------
    groups : Runs
        One plane.
    min_area : int
        Pieces with fewer pixels become background.

    Returns
    -------
    runs : Runs
        Pieces are 1..count in the order of their first pixels.
    count : int
        Number of pieces.
    """
    number, count, dropped = _profiles(groups.first, groups.start, groups.stop, groups.ids, int(min_area))
    pieces = Runs(groups.shape, groups.first, groups.start, groups.stop, number)
    if dropped:
        pieces = relabelled(pieces, np.arange(count + 1, dtype=np.uint32))
    return pieces, int(count)


@jit
def root(parent: Any, run: Any) -> Any:
    """Follow parents to the first run of a region, halving the path on the way; compiled."""
    while parent[run] != run:
        parent[run] = parent[parent[run]]
        run = parent[run]
    return run


@jit
def _profiles(first: Any, start: Any, stop: Any, ids: Any, min_area: Any) -> Any:
    runs = len(ids)
    # The piece of each run. Of pieces that meet later the earlier one, which has the first pixel, is the parent.
    piece, parent, area = np.empty(runs, np.uint32), np.empty(runs, np.uint32), np.empty(runs, np.int64)
    pieces, none = np.uint32(0), np.uint32(runs)
    for y in range(len(first) - 1):
        a, a_end = np.uint64(first[max(0, y - 1)]), np.uint64(first[y])
        for b in range(np.uint64(first[y]), np.uint64(first[y + 1])):
            # Runs touch, corners included, when neither ends before the other starts.
            while a < a_end and stop[a] < start[b]:
                a += np.uint64(1)
            here, k = none, a
            while k < a_end and start[k] <= stop[b]:
                if ids[k] == ids[b]:
                    there = piece[k]
                    while parent[there] != there:
                        parent[there] = parent[parent[there]]
                        there = parent[there]
                    if here != none and here < there:
                        parent[there] = here
                    else:
                        if here != none:
                            parent[here] = there
                        here = there
                k += np.uint64(1)
            if here == none:
                here = pieces
                parent[here], area[here] = here, 0
                pieces += np.uint32(1)
            piece[b] = here
            area[here] += stop[b] - start[b]
    for n in range(pieces - 1, 0, -1):
        if parent[n] != n:
            area[parent[n]] += area[n]
    number = np.zeros(pieces, np.uint32)
    count, dropped = 0, False
    for n in range(pieces):
        if parent[n] != n:
            number[n] = number[parent[n]]
        elif area[n] >= min_area:
            count += 1
            number[n] = count
        else:
            dropped = True
    result = np.empty(runs, np.uint32)
    for run in range(runs):
        result[run] = number[piece[run]]
    return result, count, dropped
