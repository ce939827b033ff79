"""Nearest centers: spots in a grid of buckets, so that a pixel looks at those around the place it points at."""

from __future__ import annotations

from typing import Any

import numpy as np

from mitonb.post.compiled import jit

__all__ = ["before", "is_nearest", "nearest", "sorted_spots", "spot", "sure_cell", "sure_cells"]


@jit
def sorted_spots(spots: Any, h: Any, w: Any) -> Any:
    """Return (n, 2) float32 spots of a plane of h x w pixels in the form that `nearest` searches; compiled."""
    side, rows, columns, first, order = _buckets(spots, h, w)
    clear = _clear(spots, side, rows, columns, first, order)
    return spots, clear, side, rows, columns, first, order


@jit
def is_nearest(y: Any, x: Any, guess: Any, spots: Any, clear: Any) -> Any:
    """Return whether this spot is known to be nearest to (y, x), without a search; compiled.

    Neighbouring pixels mostly point at the same center: this is asked for all of them, and the search is for the rest.
    It gets arrays and not the whole grid, because to unpack the grid costs more than the answer.
    """
    k = np.uint64(guess)
    return (spots[k, 0] - y) ** 2 + (spots[k, 1] - x) ** 2 < clear[k]


@jit
def nearest(y: Any, x: Any, guess: Any, grid: Any) -> Any:
    """Return the spot nearest to (y, x); `guess` is any spot that may be it; compiled.

    Of equals the first in reading order, whatever the order of the spots.
    """
    spots, _, side, rows, columns, first, order = grid
    best = guess
    distance = (spots[best, 0] - y) ** 2 + (spots[best, 1] - x) ** 2
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
                        if d < distance or (d == distance and before(spots, j, best)):
                            best, distance = j, d
                c += 1 if whole or ring == 0 else 2 * ring
        ring += 1
    return best


@jit
def sure_cells(grid: Any, rows: Any, columns: Any, side: Any) -> Any:
    """Cut a plane into square cells; return which spot is nearest to all of a cell, -1 where none is known; compiled.

    With a frame of one cell for what lies outside, so that `sure_cell` need not ask.
    """
    spots, clear = grid[0], grid[1]
    sure = np.full((rows + 2, columns + 2), np.int32(-1))
    for k in range(len(spots)):
        # The square in the circle of `is_nearest`; a hundredth of a pixel is more than rounding moves a place.
        half = np.sqrt(clear[k] / 2) - 0.01
        top, bottom = _cells_within(spots[k, 0], half, side, rows)
        left, right = _cells_within(spots[k, 1], half, side, columns)
        for row in range(top, bottom):
            for column in range(left, right):
                sure[row + 1, column + 1] = k
    return sure


@jit
def sure_cell(y: Any, x: Any, sure: Any, side: Any) -> Any:
    """Return the spot that is known to be nearest to (y, x) from the cell that it lies in, or -1; compiled."""
    part = np.float32(1) / np.float32(side)
    row, column = y * part + np.float32(1), x * part + np.float32(1)
    row = min(max(row, np.float32(0)), np.float32(sure.shape[0] - 1))
    column = min(max(column, np.float32(0)), np.float32(sure.shape[1] - 1))
    return sure[np.uint32(row), np.uint32(column)]


@jit
def spot(i: Any, j: Any, field: Any, step: Any, top: Any = 0, left: Any = 0) -> Any:
    """Return the place that a map pixel points at, counted from (top, left); compiled.

    Offsets that are no numbers count as 0.
    """
    row, column = np.uint64(i), np.uint64(j)
    dy, dx = field[0, row, column], field[1, row, column]
    if not (np.isfinite(dy) and np.isfinite(dx)):
        dy, dx = np.float32(0), np.float32(0)
    return np.float32((i - top) * step) + dy, np.float32((j - left) * step) + dx


@jit
def before(spots: Any, j: Any, k: Any) -> Any:
    """Return whether spot j comes before spot k in reading order; compiled."""
    return spots[j, 0] < spots[k, 0] or (spots[j, 0] == spots[k, 0] and spots[j, 1] < spots[k, 1])


@jit
def _cells_within(place: Any, half: Any, side: Any, count: Any) -> Any:
    """Return first and last + 1 of the cells that lie between place - half and place + half."""
    return max(0, np.int64(np.ceil((place - half) / side))), min(count, np.int64(np.floor((place + half) / side)))


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
            begin, end = r * columns + max(0, column - 1), r * columns + min(columns, column + 2)
            for m in range(first[begin], first[end]):
                j = order[m]
                if j != k:
                    best = min(best, (spots[j, 0] - spots[k, 0]) ** 2 + (spots[j, 1] - spots[k, 1]) ** 2)
        clear[k] = best / 4
    return clear
