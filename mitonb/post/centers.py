"""Centers: the peaks of a heatmap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mitonb.post.compiled import jit
from mitonb.post.halves import widened

if TYPE_CHECKING:
    from mitonb.maps import Image, Points

__all__ = ["highest", "mark_tops", "new_tops", "next_top", "peaks"]


def peaks(center: Image, threshold: float, radius: int) -> Points:
    """Find local maxima of a center heatmap.

    A peak is above the threshold and nothing within `radius` is higher. A plateau has one peak, its pixel nearest to
    its middle; of equal peaks within `radius` of each other the first in reading order stands.

    Parameters
    ----------
    center : (h, w) float array
        Heatmap; NaN is never a peak.
    threshold : float
        Peaks are strictly above it.
    radius : int
        Chebyshev distance in pixels of the map.

    Returns
    -------
    points : (n, 2) int64 array
        (y, x) of each peak in pixels of the map, in reading order.
    """
    heat = widened(center)
    points: Points = _peaks(heat, np.float32(threshold), max(1, int(radius)))
    return points


@jit
def _peaks(heat: Any, threshold: Any, radius: Any) -> Any:
    h, w = heat.shape
    state = np.zeros((h, w), np.uint8)  # 1: plateau that is done, 2: peak
    stack = np.empty((64, 2), np.int64)
    found = np.empty((1024, 2), np.int64)
    tops = new_tops(w)
    count = 0
    for y in range(h):
        mark_tops(heat, y, threshold, 1, 1, tops)
        x = next_top(tops, -1, w)
        while x < w:
            top, x = x, next_top(tops, x, w)
            if state[y, top] != 0:
                continue
            higher, equal = _around(heat, y, top)
            if higher:
                continue
            py, px = y, top
            if equal:
                py, px, stack = _plateau(heat, state, y, top, stack)
                if py < 0:
                    continue
            if highest(heat, py, px, radius, radius):
                if count == len(found):
                    found = np.concatenate((found, np.empty_like(found)))
                found[count, 0], found[count, 1] = py, px
                count += 1
    return _apart(heat, state, found[:count], radius)


@jit
def new_tops(w: Any) -> Any:
    """Return room for the marks of a row of w pixels, in whole words; compiled."""
    return np.zeros(-(-w // 8) * 8, np.uint8)


@jit
def mark_tops(heat: Any, y: Any, threshold: Any, back: Any, ahead: Any, tops: Any) -> None:
    """Mark the pixels of a row above a threshold that no neighbour in row or column exceeds; compiled.

    Most pixels lie low or on a slope and need no closer look. Neighbours back or ahead do not count where that is 0.
    """
    h, w = heat.shape
    row, above, below = heat[y], heat[max(0, y - min(1, back))], heat[min(h - 1, y + min(1, ahead))]
    # Simple loops, which become vector code.
    for x in range(w):
        tops[x] = (row[x] > threshold) & (not above[x] > row[x]) & (not below[x] > row[x])
    if back > 0:
        for x in range(1, w):
            tops[x] &= not row[x - 1] > row[x]
    if ahead > 0:
        for x in range(w - 1):
            tops[x] &= not row[x + 1] > row[x]


@jit
def next_top(tops: Any, x: Any, w: Any) -> Any:
    """Return the first marked pixel of a row behind x, w if there is none; compiled."""
    words = tops.view(np.uint64)
    x += 1
    while x < w:
        if x % 8 == 0 and words[x >> 3] == 0:
            x += 8
        elif tops[x]:
            return x
        else:
            x += 1
    return w


@jit
def _around(heat: Any, y: Any, x: Any) -> Any:
    """Return whether one of the 8 neighbours is higher, and whether one is equal."""
    h, w = heat.shape
    value = heat[y, x]
    equal = False
    for v in range(max(0, y - 1), min(h, y + 2)):
        for u in range(max(0, x - 1), min(w, x + 2)):
            if heat[v, u] > value:
                return True, equal
            if heat[v, u] == value and (v != y or u != x):
                equal = True
    return False, equal


@jit
def _plateau(heat: Any, state: Any, y: Any, x: Any, stack: Any) -> Any:
    """Mark the plateau at (y, x); return its middle pixel, or (-1, -1) if something beside it is higher."""
    h, w = heat.shape
    value = heat[y, x]
    stack[0, 0], stack[0, 1] = y, x
    state[y, x] = 1
    done, size = 0, 1
    summit = True
    sum_y, sum_x = 0.0, 0.0
    while done < size:
        cy, cx = stack[done, 0], stack[done, 1]
        done += 1
        sum_y += cy
        sum_x += cx
        for v in range(max(0, cy - 1), min(h, cy + 2)):
            for u in range(max(0, cx - 1), min(w, cx + 2)):
                if heat[v, u] > value:
                    summit = False
                elif heat[v, u] == value and state[v, u] == 0:
                    if size == len(stack):
                        stack = np.concatenate((stack, np.empty_like(stack)))
                    state[v, u] = 1
                    stack[size, 0], stack[size, 1] = v, u
                    size += 1
    if not summit:
        return np.int64(-1), np.int64(-1), stack
    best, best_y, best_x = np.inf, np.int64(-1), np.int64(-1)
    for k in range(size):
        d = (stack[k, 0] - sum_y / size) ** 2 + (stack[k, 1] - sum_x / size) ** 2
        if d < best:
            best, best_y, best_x = d, stack[k, 0], stack[k, 1]
    return best_y, best_x, stack


@jit
def highest(heat: Any, y: Any, x: Any, back: Any, ahead: Any) -> Any:
    """Return whether nothing in the window, so many pixels back and ahead on both axes, is higher."""
    h, w = heat.shape
    value = heat[y, x]
    for v in range(max(0, y - back), min(h, y + ahead + 1)):
        for u in range(max(0, x - back), min(w, x + ahead + 1)):
            if heat[v, u] > value:
                return False
    return True


@jit
def _apart(heat: Any, state: Any, found: Any, radius: Any) -> Any:
    """Drop each peak that has an equal one within the radius before it."""
    h, w = heat.shape
    state[:] = 0
    place = found[:, 0] * w + found[:, 1]
    order = np.arange(len(found))
    if not (place[:-1] < place[1:]).all():  # the middle of a plateau may lie before a peak that was found earlier
        order = np.argsort(place)
    points = np.empty((len(found), 2), np.int64)
    count = 0
    for k in order:
        y, x = found[k, 0], found[k, 1]
        free = True
        for v in range(max(0, y - radius), min(h, y + radius + 1)):
            for u in range(max(0, x - radius), min(w, x + radius + 1)):
                if state[v, u] == 2 and heat[v, u] == heat[y, x]:
                    free = False
        if free:
            state[y, x] = 2
            points[count, 0], points[count, 1] = y, x
            count += 1
    return points[:count]
