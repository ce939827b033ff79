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
    number, count = _profiles(groups.first, groups.start, groups.stop, groups.ids, int(min_area))
    pieces = Runs(groups.shape, groups.first, groups.start, groups.stop, number)
    if not number.all():
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
def _join(parent: Any, a: Any, b: Any) -> None:
    """Make two runs one piece; its root is the earlier run, so that pieces are numbered by their first pixel."""
    p, q = root(parent, a), root(parent, b)
    parent[max(p, q)] = min(p, q)


@jit
def _profiles(first: Any, start: Any, stop: Any, ids: Any, min_area: Any) -> Any:
    runs = len(ids)
    parent = np.arange(runs)
    for y in range(1, len(first) - 1):
        a, a_end = first[y - 1], first[y]
        b, b_end = first[y], first[y + 1]
        while a < a_end and b < b_end:
            # Runs touch, corners included, when neither ends before the other starts.
            if start[a] <= stop[b] and start[b] <= stop[a] and ids[a] == ids[b]:
                _join(parent, a, b)
            if stop[a] < stop[b]:
                a += 1
            elif stop[b] < stop[a]:
                b += 1
            else:
                # Both end here: the next run of either row may still touch the other at a corner.
                if b + 1 < b_end and start[b + 1] <= stop[a] and ids[a] == ids[b + 1]:
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
    for run in range(runs):
        number[run] = number[parent[run]]
    return number, count
