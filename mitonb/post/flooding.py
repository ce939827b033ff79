"""Flooding: seeds grow through a landscape of 256 levels, highest first, inside the foreground only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mitonb.post.compiled import jit

if TYPE_CHECKING:
    from mitonb.maps import Ids

__all__ = ["flood", "statistics"]

Numbers: TypeAlias = npt.NDArray[np.int64]


def flood(height: npt.NDArray[np.uint8], labels: Ids) -> None:
    """Let labels grow, in place, over all voxels that they can reach.

    The next voxel to pass its label on to its 6 neighbours is always one of the highest level; among equals the one
    that got its label first; seeds in reading order. So what a region becomes depends on nothing outside of it.

    Parameters
    ----------
    height : contiguous (z + 2, y + 2, x + 2) uint8 array
        Level of each voxel; 0 is outside of the foreground, where no label goes, and so is a margin of one voxel.
    labels : contiguous (z, y, x) uint32 array
        Seeds; changed in place. Seeds outside of the foreground are taken away.
    """
    _flood(height, labels)


def statistics(labels: Ids, highest: int) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Return size and box of each id, and the ids in the order of their first voxels.

    Parameters
    ----------
    labels : (z, y, x) uint32 array
        Ids up to `highest`.

    Returns
    -------
    sizes : (highest + 1,) int64 array
        Voxels; 0 for ids that do not occur, and for the background.
    low, high : (highest + 1, 3) int64 array
        First voxel inside and first voxel beyond.
    order : (n,) int64 array
        The ids that occur.
    """
    sizes, low, high, order = _statistics(labels, highest)
    return sizes, low, high, order


@jit
def _flood(height: Any, labels: Any) -> None:
    depth, h, w = labels.shape
    levels, ids = height.reshape(-1), labels.reshape(-1)
    row, sheet = w + 2, (h + 2) * (w + 2)
    # The margin stops every label, so no voxel need know where it is: it has one place in each array.
    beside = np.array([-sheet, -row, -1, 1, row, sheet])
    around = np.array([-h * w, -w, -1, 1, w, h * w])
    # One queue per level, as chains through a pool of nodes (place in both arrays, next node) that are used again.
    first = np.full(256, -1, np.int64)
    last = np.full(256, -1, np.int64)
    pool = np.empty((1024, 3), np.int64)
    pool[:, 2] = np.arange(1, 1025)
    free: Any = 0
    top: Any = -1
    at: Any = -1
    for z in range(depth):
        for y in range(h):
            up = (z + 1) * sheet + (y + 1) * row
            for _ in range(w):
                at += 1
                up += 1
                if ids[at] == 0:
                    continue
                level = levels[up]
                if level == 0:
                    ids[at] = 0
                    continue
                frontier = False
                for i in range(6):
                    frontier |= levels[up + beside[i]] != 0 and ids[at + around[i]] == 0
                # A seed voxel among its own kind has nothing to pass on.
                if frontier:
                    if free == len(pool):
                        pool = _larger(pool)
                    free = _append(level, at, up, free, first, last, pool)
                    if level > top:
                        top = np.int64(level)
    while top >= 0:
        node = first[top]
        if node < 0:
            top -= 1
            continue
        at, up, following = pool[node]
        first[top] = following if node != last[top] else -1
        pool[node, 2], free = free, node
        for i in range(6):
            level = levels[up + beside[i]]
            if level != 0 and ids[at + around[i]] == 0:
                ids[at + around[i]] = ids[at]
                if free == len(pool):
                    pool = _larger(pool)
                free = _append(level, at + around[i], up + beside[i], free, first, last, pool)
                if level > top:
                    top = np.int64(level)


@jit
def _append(level: Any, at: Any, up: Any, free: Any, first: Any, last: Any, pool: Any) -> Any:
    """Put a voxel at the end of the queue of its level; return the next free node."""
    following = pool[free, 2]
    pool[free, 0], pool[free, 1] = at, up
    if first[level] < 0:
        first[level] = free
    else:
        pool[last[level], 2] = free
    last[level] = free
    return following


@jit
def _larger(pool: Any) -> Any:
    """Return the pool at twice its size; the new nodes are free, one after the other."""
    n = len(pool)
    larger = np.empty((2 * n, 3), np.int64)
    larger[:n] = pool
    larger[n:, 2] = np.arange(n + 1, 2 * n + 1)
    return larger


@jit
def _statistics(labels: Any, highest: Any) -> Any:
    depth, h, w = labels.shape
    sizes = np.zeros(highest + 1, np.int64)
    low = np.full((highest + 1, 3), np.int64(1) << 40)
    high = np.zeros((highest + 1, 3), np.int64)
    order = np.empty(highest + 1, np.int64)
    found = 0
    for z in range(depth):
        for y in range(h):
            x = 0
            while x < w:
                k = labels[z, y, x]
                start = x
                x += 1
                while x < w and labels[z, y, x] == k:
                    x += 1
                if k != 0:
                    if sizes[k] == 0:
                        order[found] = k
                        found += 1
                    sizes[k] += x - start
                    low[k, 0], high[k, 0] = min(low[k, 0], z), z + 1
                    low[k, 1], high[k, 1] = min(low[k, 1], y), max(high[k, 1], y + 1)
                    low[k, 2], high[k, 2] = min(low[k, 2], start), max(high[k, 2], x)
    return sizes, low, high, order[:found]
