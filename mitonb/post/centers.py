"""Centers: peaks of a heatmap, and the pixels that point at each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.post.compiled import jit

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
        1 + index of the nearest center (the first of equals); 0 is background; all foreground is 1 if there are no
        centers.
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
def _buckets(spots: Any, h: Any, w: Any) -> Any:
    """Sort spots into square cells; return cell side, grid shape, first index of each cell, spots in cell order."""
    side = max(8.0, np.sqrt(h * w / len(spots)))
    rows, columns = int(h / side) + 1, int(w / side) + 1
    cell = np.empty(len(spots), np.int64)
    first = np.zeros(rows * columns + 1, np.int64)
    for k in range(len(spots)):
        cell[k] = min(rows - 1, int(spots[k, 0] / side)) * columns + min(columns - 1, int(spots[k, 1] / side))
        first[cell[k] + 1] += 1
    for c in range(rows * columns):
        first[c + 1] += first[c]
    place = first.copy()
    order = np.empty(len(spots), np.int64)
    for k in range(len(spots)):
        order[place[cell[k]]] = k
        place[cell[k]] += 1
    return side, rows, columns, first, order


@jit
def _clear(spots: Any, side: Any, rows: Any, columns: Any, first: Any, order: Any) -> Any:
    """Return a squared distance for each spot: whatever lies closer, half way to its neighbour, is nearest to it."""
    clear = np.empty(len(spots), np.float32)
    for k in range(len(spots)):
        row, column = min(rows - 1, int(spots[k, 0] / side)), min(columns - 1, int(spots[k, 1] / side))
        # Whatever lies beyond the cells around is farther than one side.
        best = np.float32(side * side)
        for r in range(max(0, row - 1), min(rows, row + 2)):
            for c in range(max(0, column - 1), min(columns, column + 2)):
                for m in range(first[r * columns + c], first[r * columns + c + 1]):
                    j = order[m]
                    if j != k:
                        best = min(best, (spots[j, 0] - spots[k, 0]) ** 2 + (spots[j, 1] - spots[k, 1]) ** 2)
        clear[k] = best / 4
    return clear


@jit
def _nearest(y: Any, x: Any, guess: Any, grid: Any) -> Any:
    """Return the spot nearest to (y, x), the first of equals; `guess` is any spot that may be it."""
    spots, clear, side, rows, columns, first, order = grid
    best = guess
    distance = (spots[best, 0] - y) ** 2 + (spots[best, 1] - x) ** 2
    if distance < clear[best]:
        return best
    # Distances from outside the grid are bounded by those from the nearest place inside.
    cy = min(max(y, np.float32(0)), np.float32(rows * side))
    cx = min(max(x, np.float32(0)), np.float32(columns * side))
    row, column = min(rows - 1, int(cy / side)), min(columns - 1, int(cx / side))
    ring = 0
    while ring <= max(rows, columns):
        reach = min(
            min(cy - (row - ring + 1) * side, (row + ring) * side - cy),
            min(cx - (column - ring + 1) * side, (column + ring) * side - cx),
        )
        if ring > 0 and reach > 0 and reach * reach > distance:
            break
        for r in range(max(0, row - ring), min(rows, row + ring + 1)):
            whole = r == row - ring or r == row + ring
            c = column - ring
            while c <= column + ring:
                if 0 <= c < columns:
                    for k in range(first[r * columns + c], first[r * columns + c + 1]):
                        j = order[k]
                        d = (spots[j, 0] - y) ** 2 + (spots[j, 1] - x) ** 2
                        if d < distance or (d == distance and j < best):
                            best, distance = j, d
                c += 1 if whole or ring == 0 else 2 * ring
        ring += 1
    return best


@jit
def _group(mask: Any, field: Any, spots: Any, step: Any) -> Any:
    h, w = mask.shape
    mh, mw = field.shape[1:]
    side, rows, columns, first, order = _buckets(spots, h, w)
    clear = _clear(spots, side, rows, columns, first, order)
    grid = (spots, clear, side, rows, columns, first, order)
    groups = np.zeros((h, w), np.uint32)
    last = np.int64(0)
    if step == 1:
        for y in range(h):
            for x in range(w):
                if mask[y, x]:
                    spot_y, spot_x = _spot(y, x, field, step)
                    last = _nearest(spot_y, spot_x, last, grid)
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
def _spot(i: Any, j: Any, field: Any, step: Any) -> Any:
    """Return the place that a map pixel points at."""
    dy, dx = field[0, i, j], field[1, i, j]
    if not (np.isfinite(dy) and np.isfinite(dx)):
        dy, dx = np.float32(0), np.float32(0)
    return np.float32(i * step) + dy, np.float32(j * step) + dx


@jit
def _known(i: Any, j: Any, field: Any, step: Any, known: Any, guess: Any, grid: Any) -> Any:
    """Return the center of a map pixel, searching for it at most once."""
    if known[i, j] < 0:
        y, x = _spot(i, j, field, step)
        known[i, j] = _nearest(y, x, guess, grid)
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
            ty, tx = _spot(a, b, field, step)
            spot_y += weight * ty
            spot_x += weight * tx
            total += weight
    return _nearest(spot_y / total, spot_x / total, max(known[i, j], np.int64(0)), grid)
