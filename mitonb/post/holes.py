"""Holes: background that one object alone surrounds in a plane, found on runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from mitonb.post.compiled import jit
from mitonb.post.profiles import root
from mitonb.post.runs import Runs

__all__ = ["filled"]


def filled(runs: Runs) -> Runs:
    """Fill each background region of a plane that one object alone surrounds.

    A region (4 neighbours) that touches the border of the plane or a second object is no hole, so no object can lose a
    pixel and no gap between two objects can close.

    Parameters
    ----------
    runs : Runs
        Planes of ids.

    Returns
    -------
    runs : Runs
        The same objects, with their holes.
    """
    n, h, w = runs.shape
    return Runs(runs.shape, *_filled(runs.first, runs.start, runs.stop, runs.ids, n, h, w))


@jit
def _filled(first: Any, start: Any, stop: Any, ids: Any, n: Any, h: Any, w: Any) -> Any:
    new_first = np.empty_like(first)
    new_start, new_stop, new_ids = np.empty_like(start), np.empty_like(stop), np.empty_like(ids)
    count = 0
    for z in range(n):
        rows = first[z * h : (z + 1) * h + 1]
        around, parent = _around(rows, start, stop, ids, h)
        for y in range(h):
            new_first[z * h + y] = count
            for k in range(rows[y], rows[y + 1]):
                # What is left and right of a hole is the object around it: both become one run.
                if k > rows[y] and len(around) and around[root(parent, k - rows[0] + y)] > 0:
                    new_stop[count - 1] = stop[k]
                else:
                    new_start[count], new_stop[count], new_ids[count] = start[k], stop[k], ids[k]
                    count += 1
    new_first[n * h] = count
    return new_first, new_start[:count].copy(), new_stop[:count].copy(), new_ids[:count].copy()


@jit
def _around(first: Any, start: Any, stop: Any, ids: Any, h: Any) -> Any:
    """Return the object around each gap of a plane at its root, and the roots; nothing if no row has an inner gap.

    Gap k + y is before run k (counted in the plane) of row y, and one more is behind the last run of each row. Around
    is 0 as long as nothing is known, -1 where it is no hole.
    """
    inner = False
    for y in range(1, h - 1):
        for k in range(first[y] + 1, first[y + 1]):
            inner |= start[k] > stop[k - 1]
    if not inner:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    gaps = first[h] - first[0] + h
    parent = np.arange(gaps)
    around = np.full(gaps, np.int64(-1))
    for y in range(1, h - 1):
        for k in range(first[y] + 1, first[y + 1]):
            if start[k] > stop[k - 1]:
                around[k - first[0] + y] = _same(np.int64(ids[k - 1]), np.int64(ids[k]))
    for y in range(1, h - 1):
        for v in (y - 1, y + 1):
            u, end = first[v], first[v + 1]
            for k in range(first[y] + 1, first[y + 1]):
                a, x = stop[k - 1], start[k]
                if a == x:
                    continue
                gap = k - first[0] + y
                while u < end and stop[u] <= a:
                    u += 1
                if u == end or start[u] > a:
                    _meet(around, parent, gap, u, first, v, y)
                j = u
                while j < end and start[j] < x:
                    here = root(parent, gap)
                    around[here] = _same(around[here], np.int64(ids[j]))
                    if stop[j] < x and (j + 1 == end or start[j + 1] > stop[j]):
                        _meet(around, parent, gap, j + 1, first, v, y)
                    j += 1
    return around, parent


@jit
def _meet(around: Any, parent: Any, gap: Any, run: Any, first: Any, v: Any, y: Any) -> None:
    """Take note that a gap of row y touches the one before a run in the row above or below."""
    here = root(parent, gap)
    if run == first[v] or run == first[v + 1] or v == 0 or v == len(first) - 2:
        around[here] = -1
    elif v < y:
        # The row below will meet this one.
        there = root(parent, run - first[0] + v)
        if here != there:
            low, high = min(here, there), max(here, there)
            parent[high] = low
            around[low] = _same(around[here], around[there])


@jit
def _same(a: Any, b: Any) -> Any:
    """Join what two parts of a region have around them."""
    if a == 0:
        return b
    if b == 0 or a == b:
        return a
    return np.int64(-1)
