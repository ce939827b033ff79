"""Between map pixels: the centers of the pixels of a cell whose corners point at different ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from mitonb.post.compiled import jit
from mitonb.post.nearest import before, spot

__all__ = ["divide", "new_work"]


@jit
def new_work(step: Any) -> Any:
    """Return what `divide` needs for cells of step x step pixels; compiled.

    Weights (4, n) that the corners have in each pixel; room for the places of the corners (4, 2), for a number of each
    of them (4,), and for sums and spots of all pixels (n,).
    """
    n = step * step
    weights = np.empty((4, n), np.float32)
    for k in range(4):
        for p in range(n):
            row, column = p // step / step, p % step / step
            # A trace of weight for all: a pixel may lie on a side whose corners are background.
            weights[k, p] = (row if k >= 2 else 1 - row) * (column if k % 2 == 1 else 1 - column) + 1e-6
    return (
        weights,
        np.empty((4, 2), np.float32),
        np.empty(4, np.float32),
        np.empty(n, np.float32),
        np.empty(n, np.int32),
    )


@jit
def divide(i: Any, j: Any, corners: Any, field: Any, step: Any, grid: Any, work: Any, pixels: Any) -> None:
    """Find the nearest spot of each pixel of a cell, given those of its corners (-1: has no say); compiled.

    A pixel points at the weighted mean of the places that the corners point at. For whatever spot, the mean of its
    squared distances from these places is that from the pixel's place and something that is the same for all spots. So
    four distances and the weights are enough to compare spots in all pixels of the cell.
    """
    mh, mw = field.shape[1:]
    places, sums, found = work[1], work[3], work[4]
    for k in range(4):
        if corners[k] >= 0:
            # From the first pixel of the cell, so that rounding does not depend on where in the plane the cell is.
            places[k, 0], places[k, 1] = spot(min(i + k // 2, mh - 1), min(j + k % 2, mw - 1), field, step, i, j)
    likely = np.int32(max(max(corners[0], corners[1]), max(corners[2], corners[3])))
    for p in range(len(sums)):
        sums[p], found[p] = np.float32(np.inf), likely
    for k in range(4):
        if corners[k] >= 0 and not _among(corners[k], corners, k):
            _offer(corners[k], i * step, j * step, corners, grid[0], work)
    if _others_may_win(i * step, j * step, corners, grid, work):
        _offer_others(i * step, j * step, corners, grid, work)
    for v in range(np.uint64(step)):
        for u in range(np.uint64(step)):
            pixels[v, np.uint64(j * step) + u] = found[v * np.uint64(step) + u]


@jit
def _offer(spot: Any, top: Any, left: Any, corners: Any, spots: Any, work: Any) -> None:
    """Give a spot the pixels that it is nearer to than the one found; of equals the first in reading order."""
    weights, places, squared, sums, found = work
    y, x, number = np.float32(spots[spot, 0] - top), np.float32(spots[spot, 1] - left), np.int32(spot)
    for k in range(4):
        squared[k] = (places[k, 0] - y) ** 2 + (places[k, 1] - x) ** 2 if corners[k] >= 0 else np.float32(0)
    a, b, c, d = squared[0], squared[1], squared[2], squared[3]
    for p in range(len(sums)):
        here = weights[0, p] * a + weights[1, p] * b + weights[2, p] * c + weights[3, p] * d
        if here < sums[p] or (here == sums[p] and before(spots, number, found[p])):
            sums[p], found[p] = here, number


@jit
def _others_may_win(top: Any, left: Any, corners: Any, grid: Any, work: Any) -> Any:
    """Return whether a spot that is nearest to no corner may still be nearest to a pixel.

    It is at least so far from a corner as the corner's own spot is from its neighbour, less the way between the two.
    """
    spots, clear = grid[0], grid[1]
    weights, places, squared, sums, _ = work
    for k in range(4):
        squared[k] = 0
        if corners[k] >= 0:
            y, x = spots[corners[k], 0] - top, spots[corners[k], 1] - left
            away = np.sqrt((places[k, 0] - y) ** 2 + (places[k, 1] - x) ** 2)
            # A hundredth of a pixel is more than rounding does.
            squared[k] = max(0.0, 2 * np.sqrt(clear[corners[k]]) - away - 0.01) ** 2
    a, b, c, d = squared[0], squared[1], squared[2], squared[3]
    sure = True
    for p in range(len(sums)):
        sure &= sums[p] < weights[0, p] * a + weights[1, p] * b + weights[2, p] * c + weights[3, p] * d
    return not sure


@jit
def _offer_others(top: Any, left: Any, corners: Any, grid: Any, work: Any) -> None:
    """Offer all spots that may be nearer to a pixel than those of the corners."""
    spots, _, side, rows, columns, first, order = grid
    low_y, low_x, high_y, high_x = _box(top, left, corners, spots, work[1])
    begin, end = _bucket(low_x, side, columns), _bucket(high_x, side, columns) + 1
    for row in range(_bucket(low_y, side, rows), _bucket(high_y, side, rows) + 1):
        for m in range(first[row * columns + begin], first[row * columns + end]):
            k = order[m]
            y, x = spots[k, 0], spots[k, 1]
            if not ((y < low_y) | (y > high_y) | (x < low_x) | (x > high_x) | _among(k, corners, 4)):
                _offer(k, top, left, corners, spots, work)


@jit
def _box(top: Any, left: Any, corners: Any, spots: Any, places: Any) -> Any:
    """Return the box (y, x, y, x) around the places of the corners that is as wide as some spot is far from them."""
    low_y = low_x = reach = np.inf
    high_y = high_x = -np.inf
    for n in range(4):
        if corners[n] >= 0:
            low_y, high_y = min(low_y, places[n, 0]), max(high_y, places[n, 0])
            low_x, high_x = min(low_x, places[n, 1]), max(high_x, places[n, 1])
            far = 0.0
            for k in range(4):
                if corners[k] >= 0:
                    y, x = spots[corners[n], 0] - top, spots[corners[n], 1] - left
                    far = max(far, (places[k, 0] - y) ** 2 + (places[k, 1] - x) ** 2)
            reach = min(reach, far)
    reach = np.sqrt(reach) + 0.01
    return top + low_y - reach, left + low_x - reach, top + high_y + reach, left + high_x + reach


@jit
def _among(spot: Any, spots: Any, count: Any) -> Any:
    """Return whether a spot is among the first ones of these."""
    found = False
    for k in range(count):
        found |= spots[k] == spot
    return found


@jit
def _bucket(place: Any, side: Any, count: Any) -> Any:
    """Return the row or column of buckets that a place lies in, or is nearest to."""
    return np.int64(min(max(place / side, 0.0), count - 1.0))
