"""Nearest centers: spots in a grid of buckets, so that a pixel looks at those around the place it points at."""

from __future__ import annotations

from typing import Any

import numpy as np

from mitonb.post.compiled import jit

__all__ = ["is_nearest", "nearest", "sorted_spots", "spot"]


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
                        if d < distance or (d == distance and _before(spots, j, best)):
                            best, distance = j, d
                c += 1 if whole or ring == 0 else 2 * ring
        ring += 1
    return best


@jit
def spot(i: Any, j: Any, field: Any, step: Any) -> Any:
    """Return the place that a map pixel points at; offsets that are no numbers count as 0; compiled."""
    row, column = np.uint64(i), np.uint64(j)
    dy, dx = field[0, row, column], field[1, row, column]
    if not (np.isfinite(dy) and np.isfinite(dx)):
        dy, dx = np.float32(0), np.float32(0)
    return np.float32(i * step) + dy, np.float32(j * step) + dx


@jit
def _before(spots: Any, j: Any, k: Any) -> Any:
    """Return whether spot j comes before spot k in reading order."""
    return spots[j, 0] < spots[k, 0] or (spots[j, 0] == spots[k, 0] and spots[j, 1] < spots[k, 1])


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
