"""Turning: planes of runs that were cut along one direction, as planes along another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mitonb.post.compiled import jit
from mitonb.post.runs import Runs, longer

if TYPE_CHECKING:
    from mitonb.stack import Axis

__all__ = ["turned"]


def turned(runs: Runs, axis: Axis) -> Runs:
    """Return planes that were cut along a direction as planes along z, so that runs lie along x.

    Parameters
    ----------
    runs : Runs
        Planes along `axis`: `"xy"` (z, y, x), `"xz"` (y, z, x), `"yz"` (x, z, y).
    axis : str
        The direction.

    Returns
    -------
    runs : Runs
        Of shape (z, y, x).
    """
    n, h, w = runs.shape
    if axis == "xy":
        return runs
    tables = runs.first, runs.start, runs.stop, runs.ids
    if axis == "xz":
        return Runs((h, n, w), *_swapped(*tables, n, h))
    return Runs((h, w, n), *_flipped(*tables, n, h, w))


@jit
def _swapped(first: Any, start: Any, stop: Any, ids: Any, n: Any, h: Any) -> Any:
    """Turn rows (n, h) into rows (h, n)."""
    new_first = np.empty_like(first)
    new_start, new_stop, new_ids = np.empty_like(start), np.empty_like(stop), np.empty_like(ids)
    count = 0
    for y in range(h):
        for k in range(n):
            new_first[y * n + k] = count
            for run in range(first[k * h + y], first[k * h + y + 1]):
                new_start[count], new_stop[count], new_ids[count] = start[run], stop[run], ids[run]
                count += 1
    new_first[n * h] = count
    return new_first, new_start, new_stop, new_ids


@jit
def _flipped(first: Any, start: Any, stop: Any, ids: Any, n: Any, h: Any, w: Any) -> Any:
    """Turn planes (n, h, w) into (h, w, n): runs along w become runs along n.

    Goes through the planes with one open run per column, which ends where the next plane has another id there; nothing
    is painted.
    """
    new_start = np.empty(1024, np.int32)
    new_stop = np.empty(1024, np.int32)
    new_ids = np.empty(1024, np.uint32)
    new_first = np.zeros(h * w + 1, np.int64)
    count = 0
    open_ids = np.zeros(w, np.uint32)
    open_start = np.zeros(w, np.int32)
    open_stop = np.full(w, -1, np.int32)
    row_of = np.empty(1024, np.int32)
    begin = np.empty(1024, np.int32)
    end = np.empty(1024, np.int32)
    what = np.empty(1024, np.uint32)
    for y in range(h):
        done = 0
        for k in range(n):
            for run in range(first[k * h + y], first[k * h + y + 1]):
                here = ids[run]
                while done + stop[run] - start[run] + w > len(row_of):
                    row_of, begin, end, what = longer(row_of), longer(begin), longer(end), longer(what)
                for x in range(start[run], stop[run]):
                    if open_stop[x] == k and open_ids[x] == here:
                        open_stop[x] = k + 1
                        continue
                    if open_stop[x] > 0:
                        row_of[done], begin[done], end[done], what[done] = x, open_start[x], open_stop[x], open_ids[x]
                        done += 1
                    open_ids[x], open_start[x], open_stop[x] = here, k, k + 1
        for x in range(w):
            if open_stop[x] > 0:
                row_of[done], begin[done], end[done], what[done] = x, open_start[x], open_stop[x], open_ids[x]
                done += 1
                open_stop[x] = -1
        # Runs of a column ended in order; sorted by column, they are the rows of the new plane.
        where = new_first[y * w : y * w + w + 1]
        for j in range(done):
            where[row_of[j] + 1] += 1
        where[0] = count
        for x in range(w):
            where[x + 1] += where[x]
        while count + done > len(new_start):
            new_start, new_stop, new_ids = longer(new_start), longer(new_stop), longer(new_ids)
        place = where[:w].copy()
        for j in range(done):
            at = place[row_of[j]]
            place[row_of[j]] += 1
            new_start[at], new_stop[at], new_ids[at] = begin[j], end[j], what[j]
        count += done
    return new_first, new_start[:count].copy(), new_stop[:count].copy(), new_ids[:count].copy()
