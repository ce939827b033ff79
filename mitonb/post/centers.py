"""Centers: peaks of a heatmap, and the pixels that point at each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.post.compiled import jit
from mitonb.post.nearest import nearest, sorted_spots, spot

if TYPE_CHECKING:
    from mitonb.maps import Image, Points

__all__ = ["group", "peaks"]


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
    heat = np.ascontiguousarray(center, dtype=np.float32)
    points: Points = _peaks(heat, np.float32(threshold), max(1, int(radius)))
    return points


def group(
    foreground: npt.NDArray[np.bool_], offsets: npt.NDArray[np.floating[Any]], points: Points, *, step: int = 1
) -> npt.NDArray[np.uint32]:
    """Give each foreground pixel the number of the center that it points at.

    Each map pixel points at the spot (its place + its offset). Between map pixels the spot is the mean of those around,
    weighted bilinearly, with foreground neighbours alone where there are some: what the net says about the background
    must not bend the border of an object.

    Parameters
    ----------
    foreground : (h, w) bool array
        Pixels to group.
    offsets : (2, h', w') float array
        (dy, dx) in pixels; h' = ceil(h / step). Values that are not finite count as 0.
    points : (n, 2) int64 array
        Centers (y, x) in pixels of the offset map.
    step : int
        Pixels of the plane per pixel of the offset map.

    Returns
    -------
    groups : (h, w) uint32 array
        1 + index of the nearest center (of equals the first in reading order); 0 is background; all foreground is 1 if
        there are no centers.
    """
    mask = np.ascontiguousarray(foreground, dtype=np.bool_)
    if len(points) == 0:
        return mask.astype(np.uint32)
    field = np.ascontiguousarray(offsets, dtype=np.float32)
    spots = np.ascontiguousarray(points, dtype=np.float32) * np.float32(step)
    groups: npt.NDArray[np.uint32] = _group(mask, field, spots, step)
    return groups


@jit
def _peaks(heat: Any, threshold: Any, radius: Any) -> Any:
    h, w = heat.shape
    state = np.zeros((h, w), np.uint8)  # 1: plateau that is done, 2: peak
    stack = np.empty((64, 2), np.int64)
    found = np.empty((64, 2), np.int64)
    count = 0
    for y in range(h):
        for x in range(w):
            value = heat[y, x]
            if not value > threshold or state[y, x] != 0:
                continue
            higher, equal = _around(heat, y, x)
            if higher:
                continue
            py, px = y, x
            if equal:
                py, px, stack = _plateau(heat, state, y, x, stack)
                if py < 0:
                    continue
            if _highest(heat, py, px, radius):
                if count == len(found):
                    found = np.concatenate((found, np.empty_like(found)))
                found[count, 0], found[count, 1] = py, px
                count += 1
    return _apart(heat, state, found[:count], radius)


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
def _highest(heat: Any, y: Any, x: Any, radius: Any) -> Any:
    """Return whether nothing within the radius is higher."""
    h, w = heat.shape
    value = heat[y, x]
    for v in range(max(0, y - radius), min(h, y + radius + 1)):
        for u in range(max(0, x - radius), min(w, x + radius + 1)):
            if heat[v, u] > value:
                return False
    return True


@jit
def _apart(heat: Any, state: Any, found: Any, radius: Any) -> Any:
    """Drop each peak that has an equal one within the radius before it."""
    h, w = heat.shape
    state[:] = 0
    # The middle of a plateau may lie before a peak that was found earlier: sort by place in the map.
    order = np.argsort(found[:, 0] * w + found[:, 1])
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


@jit
def _group(mask: Any, field: Any, spots: Any, step: Any) -> Any:
    h, w = mask.shape
    mh, mw = field.shape[1:]
    grid = sorted_spots(spots, h, w)
    groups = np.zeros((h, w), np.uint32)
    last = np.int64(0)
    if step == 1:
        for y in range(h):
            for x in range(w):
                if mask[y, x]:
                    spot_y, spot_x = spot(y, x, field, step)
                    last = nearest(spot_y, spot_x, last, grid)
                    groups[y, x] = last + 1
        return groups
    known = np.full((mh, mw), np.int64(-1))  # nearest center of each map pixel, once asked for
    for i in range(mh):
        for j in range(mw):
            if not mask[i * step : i * step + step, j * step : j * step + step].any():
                continue
            last = _cell(i, j, mask, field, step, known, last, grid)
            for y in range(i * step, min(h, i * step + step)):
                for x in range(j * step, min(w, j * step + step)):
                    if mask[y, x]:
                        here = last if last >= 0 else _between(y, x, mask, field, step, known, grid)
                        groups[y, x] = here + 1
            last = max(last, np.int64(0))
    return groups


@jit
def _known(i: Any, j: Any, field: Any, step: Any, known: Any, guess: Any, grid: Any) -> Any:
    """Return the center of a map pixel, searching for it at most once."""
    if known[i, j] < 0:
        y, x = spot(i, j, field, step)
        known[i, j] = nearest(y, x, guess, grid)
    return known[i, j]


@jit
def _trusted(i: Any, j: Any, lower: Any, right: Any, mask: Any, step: Any) -> Any:
    """Return whether any corner of a cell is foreground; if none is, all of them are asked."""
    return (
        mask[i * step, j * step]
        or mask[i * step, right * step]
        or mask[lower * step, j * step]
        or mask[lower * step, right * step]
    )


@jit
def _cell(i: Any, j: Any, mask: Any, field: Any, step: Any, known: Any, guess: Any, grid: Any) -> Any:
    """Return the center that all corners of a cell between map pixels agree on, or -1.

    The places nearest to one center form a convex region: a mean of spots inside it stays inside. So where the corners
    agree, every pixel of the cell does.
    """
    mh, mw = known.shape
    lower, right = min(i + 1, mh - 1), min(j + 1, mw - 1)
    trusted = _trusted(i, j, lower, right, mask, step)
    agreed = np.int64(-1)
    for a in (i, lower):
        for b in (j, right):
            if trusted and not mask[a * step, b * step]:
                continue
            here = _known(a, b, field, step, known, max(guess, np.int64(0)), grid)
            if agreed >= 0 and here != agreed:
                return np.int64(-1)
            agreed = here
    return agreed


@jit
def _between(y: Any, x: Any, mask: Any, field: Any, step: Any, known: Any, grid: Any) -> Any:
    """Return the center of a pixel between map pixels that do not agree."""
    mh, mw = known.shape
    i, j = y // step, x // step
    lower, right = min(i + 1, mh - 1), min(j + 1, mw - 1)
    fy, fx = np.float32(y - i * step) / np.float32(step), np.float32(x - j * step) / np.float32(step)
    trusted = _trusted(i, j, lower, right, mask, step)
    spot_y, spot_x, total = np.float32(0), np.float32(0), np.float32(0)
    for r in range(2):
        for c in range(2):
            a, b = (lower if r else i), (right if c else j)
            if trusted and not mask[a * step, b * step]:
                continue
            # A trace of weight for all: a pixel may lie on a side whose corners are background.
            weight = (fy if r else 1 - fy) * (fx if c else 1 - fx) + np.float32(1e-6)
            ty, tx = spot(a, b, field, step)
            spot_y += weight * ty
            spot_x += weight * tx
            total += weight
    return nearest(spot_y / total, spot_x / total, max(known[i, j], np.int64(0)), grid)
