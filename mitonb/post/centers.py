"""Centers: peaks of a heatmap, and the pixels that point at each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.post.compiled import jit
from mitonb.post.halves import widened
from mitonb.post.nearest import is_nearest, nearest, sorted_spots, spot
from mitonb.post.rows import add_run, new_runs, next_stretch, with_room
from mitonb.post.runs import Runs, paint, runs_of

if TYPE_CHECKING:
    from mitonb.maps import Image, Points

__all__ = ["group", "group_fine", "group_runs", "peaks"]

_UNKNOWN = -2
_MIXED = -1


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
    groups: npt.NDArray[np.uint32] = paint(group_runs(foreground, offsets, points, step=step))[0]
    return groups


def group_runs(
    foreground: npt.NDArray[np.bool_], offsets: npt.NDArray[np.floating[Any]], points: Points, *, step: int = 1
) -> Runs:
    """Return what `group` returns as runs of one plane."""
    mask = np.ascontiguousarray(foreground, dtype=np.bool_)
    if len(points) == 0:
        return runs_of(mask.view(np.uint8))
    field = widened(offsets)
    spots = np.ascontiguousarray(points, dtype=np.float32) * np.float32(step)
    tables = group_fine(mask, field, spots) if step == 1 else _group_coarse(mask, field, spots, step)
    return Runs((1, *mask.shape), *tables)


@jit
def _peaks(heat: Any, threshold: Any, radius: Any) -> Any:
    h, w = heat.shape
    state = np.zeros((h, w), np.uint8)  # 1: plateau that is done, 2: peak
    stack = np.empty((64, 2), np.int64)
    found = np.empty((64, 2), np.int64)
    count = 0
    for y in range(h):
        left, value = -np.float32(np.inf), heat[y, 0] if w > 0 else np.float32(0)
        for x in range(w):
            right = heat[y, x + 1] if x + 1 < w else -np.float32(np.inf)
            before, here = left, value
            left, value = value, right
            # On a slope a neighbour in the row is higher: most pixels end here.
            if not here > threshold or before > here or right > here or state[y, x] != 0:
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
def group_fine(mask: Any, field: Any, spots: Any) -> Any:
    """Return the tables of runs where the offset map has a pixel for each one of the plane; compiled."""
    h, w = mask.shape
    grid = sorted_spots(spots, h, w)
    clear = grid[1]
    first, start, stop, ids = new_runs(h)
    above = np.zeros(w, np.int64)  # center of each pixel in the rows before: mostly that of this row, too
    count, last = np.int64(0), np.int64(0)
    for y in range(h):
        start, stop, ids = with_room(w, count, start, stop, ids)
        x, end = next_stretch(mask[y], 0)
        while x < w:
            spot_y, spot_x = spot(y, x, field, 1)
            if not is_nearest(spot_y, spot_x, last, spots, clear):
                last = above[x]
                if not is_nearest(spot_y, spot_x, last, spots, clear):
                    last = nearest(spot_y, spot_x, last, grid)
            u = x + 1
            while u < end:
                spot_y, spot_x = spot(y, u, field, 1)
                if not is_nearest(spot_y, spot_x, last, spots, clear):
                    break
                u += 1
            above[x:u] = last
            count = add_run(x, u, last + 1, first[y], count, start, stop, ids)
            x = u
            if x == end:
                x, end = next_stretch(mask[y], end)
        first[y + 1] = count
    return first, start[:count].copy(), stop[:count].copy(), ids[:count].copy()


@jit
def _group_coarse(mask: Any, field: Any, spots: Any, step: Any) -> Any:
    h, w = mask.shape
    mh, mw = field.shape[1:]
    grid = sorted_spots(spots, h, w)
    clear = grid[1]
    first, start, stop, ids = new_runs(h)
    known = np.full((mh, mw), np.int32(-1))  # nearest center of each map pixel, once asked for
    cells = np.empty(mw, np.int64)  # what the corners of each cell of this row agree on, once asked for
    corners, found = np.empty((4, 3)), np.empty(step, np.int64)
    count, last = np.int64(0), np.int64(0)
    for y in range(h):
        i = y // step
        if y % step == 0:
            cells[:] = _UNKNOWN
        start, stop, ids = with_room(w, count, start, stop, ids)
        x, end = next_stretch(mask[y], 0)
        j = x // step
        while x < w:
            if cells[j] == _UNKNOWN:
                cells[j] = _cell(i, j, mask, field, step, known, last, spots, clear, grid)
            u = min(end, j * step + step)
            if cells[j] >= 0:
                last = cells[j]
                count = add_run(x, u, last + 1, first[y], count, start, stop, ids)
            else:
                _between(y, x, u, mask, field, step, last, spots, clear, grid, corners, found)
                for k in range(u - x):
                    last = found[k]
                    count = add_run(x + k, x + k + 1, last + 1, first[y], count, start, stop, ids)
            x = u
            j += 1
            if x == end:
                x, end = next_stretch(mask[y], end)
                j = x // step
        first[y + 1] = count
    return first, start[:count].copy(), stop[:count].copy(), ids[:count].copy()


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
def _cell(
    i: Any, j: Any, mask: Any, field: Any, step: Any, known: Any, last: Any, spots: Any, clear: Any, grid: Any
) -> Any:
    """Return the center that all corners of a cell between map pixels agree on, or `_MIXED`.

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
            here = known[a, b]
            if here < 0:
                y, x = spot(a, b, field, step)
                here = last
                if not is_nearest(y, x, here, spots, clear):
                    if a > 0 and known[a - 1, b] >= 0:
                        here = np.int64(known[a - 1, b])
                    if not is_nearest(y, x, here, spots, clear):
                        here = nearest(y, x, here, grid)
                known[a, b] = here
            if agreed >= 0 and here != agreed:
                return np.int64(_MIXED)
            agreed = here
            last = here
    return agreed


@jit
def _between(
    y: Any, x: Any, end: Any, mask: Any, field: Any, step: Any, last: Any, spots: Any, clear: Any, grid: Any,
    corners: Any, found: Any,
) -> None:  # fmt: skip
    """Find the centers of pixels x to end of a row, between map pixels that do not agree."""
    mh, mw = field.shape[1:]
    i, j = y // step, x // step
    lower, right = min(i + 1, mh - 1), min(j + 1, mw - 1)
    fy = np.float32(y - i * step) / np.float32(step)
    trusted = _trusted(i, j, lower, right, mask, step)
    count = 0
    for r in range(2):
        for c in range(2):
            a, b = (lower if r else i), (right if c else j)
            if not trusted or mask[a * step, b * step]:
                corners[count, 0], corners[count, 1] = spot(a, b, field, step)
                corners[count, 2] = 2 * r + c
                count += 1
    for u in range(x, end):
        fx = np.float32(u - j * step) / np.float32(step)
        spot_y, spot_x, total = 0.0, 0.0, 0.0
        for k in range(count):
            r, c = corners[k, 2] >= 2, corners[k, 2] % 2 == 1
            # A trace of weight for all: a pixel may lie on a side whose corners are background.
            weight: Any = (fy if r else 1 - fy) * (fx if c else 1 - fx) + np.float32(1e-6)
            spot_y += weight * corners[k, 0]
            spot_x += weight * corners[k, 1]
            total += weight
        if not is_nearest(spot_y / total, spot_x / total, last, spots, clear):
            last = nearest(spot_y / total, spot_x / total, last, grid)
        found[u - x] = last
