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
    height : contiguous (z, y, x) uint8 array
        Level of each voxel; 0 is outside of the foreground, where no label goes.
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
    depth, h, w = height.shape
    area = h * w
    levels, ids = height.reshape(-1), labels.reshape(-1)
    # One queue per level, as chains through a pool of nodes whose places are used again.
    first = np.full(256, -1, np.int64)
    last = np.full(256, -1, np.int64)
    voxel = np.empty(1024, np.int64)
    after = np.arange(1, 1025)
    free: Any = 0
    top: Any = -1
    around = np.array([-area, -w, -1, 1, w, area])
    inside = np.empty(6, np.bool_)
    at = -1
    for start in range(len(ids)):
        if ids[start] == 0:
            continue
        if levels[start] == 0:
            ids[start] = 0
            continue
        _sides(start, depth, h, w, inside)
        frontier = False
        for i in range(6):
            if inside[i]:
                at = start + around[i]
                frontier |= levels[at] != 0 and ids[at] == 0
        # A seed voxel among its own kind has nothing to pass on.
        if frontier:
            if free == len(voxel):
                voxel, after = _larger(voxel, after)
            free = _append(levels[start], start, free, first, last, voxel, after)
            if levels[start] > top:
                top = np.int64(levels[start])
    while top >= 0:
        node = first[top]
        if node < 0:
            top -= 1
            continue
        here = voxel[node]
        first[top] = after[node] if node != last[top] else -1
        after[node], free = free, node
        _sides(here, depth, h, w, inside)
        for i in range(6):
            at = here + around[i]
            if inside[i] and levels[at] != 0 and ids[at] == 0:
                ids[at] = ids[here]
                if free == len(voxel):
                    voxel, after = _larger(voxel, after)
                free = _append(levels[at], at, free, first, last, voxel, after)
                if levels[at] > top:
                    top = np.int64(levels[at])


@jit
def _sides(at: Any, depth: Any, h: Any, w: Any, inside: Any) -> None:
    """Say which of the 6 neighbours of a voxel are inside the volume."""
    z, rest = at // (h * w), at % (h * w)
    y, x = rest // w, rest % w
    inside[0], inside[1], inside[2] = z > 0, y > 0, x > 0
    inside[3], inside[4], inside[5] = x < w - 1, y < h - 1, z < depth - 1


@jit
def _append(level: Any, at: Any, free: Any, first: Any, last: Any, voxel: Any, after: Any) -> Any:
    """Put a voxel at the end of the queue of its level; return the next free node."""
    following = after[free]
    voxel[free] = at
    if first[level] < 0:
        first[level] = free
    else:
        after[last[level]] = free
    last[level] = free
    return following


@jit
def _larger(voxel: Any, after: Any) -> Any:
    """Return the pool at twice its size; the new nodes are free, one after the other."""
    n = len(voxel)
    more_voxel = np.empty(2 * n, np.int64)
    more_after = np.arange(1, 2 * n + 1)
    more_voxel[:n] = voxel
    more_after[:n] = after
    return more_voxel, more_after


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
