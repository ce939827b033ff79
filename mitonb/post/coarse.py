"""Coarse grouping: one pixel of the offset map stands for many of the plane, and what agrees is grouped at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from mitonb.post.between import divide, new_work
from mitonb.post.centers import new_tops, next_top
from mitonb.post.compiled import jit
from mitonb.post.nearest import is_nearest, nearest, sorted_spots, spot, sure_cell, sure_cells
from mitonb.post.rows import edges, new_runs, with_room

__all__ = ["add_rows", "any_row", "cells", "group_coarse", "reaches"]

_UNASKED = -1
_MIXED = -2
_DIVIDED = -3


@jit
def group_coarse(mask: Any, bits: Any, field: Any, spots: Any, step: Any) -> Any:
    """Return the tables of runs, places between map pixels by interpolation; `bits` is the mask, packed; compiled."""
    h, w = mask.shape
    mh, mw = field.shape[1:]
    grid = sorted_spots(spots, h, w)
    sure, todo = sure_cells(grid, mh, mw, step), new_tops(mw)
    first, start, stop, ids = new_runs(h)
    # Nearest center of each map pixel in the rows above and below a row of cells, the last one twice; -1: background.
    upper, lower = np.full(mw + 1, np.int32(_UNASKED)), np.full(mw + 1, np.int32(_UNASKED))
    cell, owners, reach = cells(w, step), np.empty(mw, np.int64), np.empty(mw, np.int64)
    pixels, ends, work = np.empty((step, mw * step), np.int64), np.empty(w + 1, np.int64), new_work(step)
    count = np.int64(0)
    _ask(0, mask, field, step, sure, todo, lower, upper, grid)
    for top in range(0, h, step):
        i = top // step
        if top + step < h:
            _ask(i + 1, mask, field, step, sure, todo, upper, lower, grid)
        else:
            lower[:] = upper
        _agree(upper, lower, owners)
        reaches(owners, step, reach)
        _settle(i, any_row(bits, top, step), cell, owners, reach, upper, lower, field, step, grid, ends, work, pixels)
        count, start, stop, ids = add_rows(
            bits, top, cell, step, owners, reach, pixels, ends, first, count, start, stop, ids
        )
        upper, lower = lower, upper
    return first, start[:count].copy(), stop[:count].copy(), ids[:count].copy()


@jit
def cells(w: Any, step: Any) -> Any:
    """Return the cell of each column, since to divide costs as much as all else that a run needs; compiled."""
    result = np.empty(w, np.int64)
    for x in range(w):
        result[x] = x // step
    return result


@jit
def any_row(bits: Any, top: Any, step: Any) -> Any:
    """Return one row of the bits that are set in any of `step` rows; compiled."""
    result = bits[top : top + 1].copy()
    for y in range(top + 1, min(len(bits), top + step)):
        for k in range(bits.shape[1]):
            result[0, k] |= bits[y, k]
    return result


@jit
def reaches(owners: Any, step: Any, reach: Any) -> None:
    """Say for each cell of a row up to which column its owner goes on; compiled."""
    # What is carried from cell to cell stays in registers, and nothing is guessed: this loop is a chain.
    ahead, end = np.int64(_UNASKED), np.int64(0)
    for j in range(len(owners) - 1, -1, -1):
        end = end if (owners[j] == ahead) & (ahead >= 0) else (j + 1) * step
        ahead = owners[j]
        reach[j] = end


@jit
def add_rows(
    bits: Any, top: Any, cell: Any, step: Any, owners: Any, reach: Any, pixels: Any, ends: Any, first: Any, count: Any,
    start: Any, stop: Any, ids: Any,
) -> Any:  # fmt: skip
    """Add the runs of `step` rows; those of cells without an owner from `pixels`; `ends` is for use here; compiled."""
    w = len(cell)
    start, stop, ids = with_room(step * w, count, start, stop, ids)
    n = np.uint64(count)
    for y in range(top, min(len(bits), top + step)):
        for e in range(np.uint64(0), np.uint64(edges(bits, y, ends)), np.uint64(2)):
            x, end = ends[e], ends[e + np.uint64(1)]
            last = np.int64(-1)
            while x < end:
                j = np.uint64(cell[np.uint64(x)])
                here, u = owners[j], reach[j]
                if here < 0:
                    here, u = pixels[np.uint64(y - top), np.uint64(x)], x + 1
                if here != last:
                    start[n], ids[n] = x, here + 1
                    n += np.uint64(1)
                    last = here
                x = min(u, end)
                stop[n - np.uint64(1)] = x
        first[y + 1] = n
    return np.int64(n), start, stop, ids


@jit
def _ask(i: Any, mask: Any, field: Any, step: Any, sure: Any, todo: Any, above: Any, known: Any, grid: Any) -> None:
    """Find the nearest center of each foreground pixel in a row of the map, mostly by a look at a table."""
    spots, clear = grid[0], grid[1]
    mw = field.shape[2]
    row = np.uint64(i * step)
    for j in range(mw):
        y, x = spot(i, j, field, step)
        here, inside = sure_cell(y, x, sure, step), mask[row, np.uint64(j * step)]
        known[j] = here if inside else np.int32(_UNASKED)
        todo[j] = inside & (here < 0)
    last = np.int64(0)
    j = next_top(todo, -1, mw)
    while j < mw:
        y, x = spot(i, j, field, step)
        if j > 0 and known[j - 1] >= 0:
            last = np.int64(known[j - 1])
        if not is_nearest(y, x, last, spots, clear):
            last = np.int64(max(above[j], np.int32(0)))
            if not is_nearest(y, x, last, spots, clear):
                last = nearest(y, x, last, grid)
        known[j] = last
        j = next_top(todo, j, mw)
    known[mw] = known[mw - 1]


@jit
def _agree(upper: Any, lower: Any, owners: Any) -> None:
    """Say which center all corners of a cell between map pixels agree on; background has no say.

    The places nearest to one center form a convex region: a mean of spots inside it stays inside. So where the corners
    agree, every pixel of the cell does.
    """
    for j in range(len(owners)):
        a, b, c, d = upper[j], upper[j + 1], lower[j], lower[j + 1]
        most = max(max(a, b), max(c, d))
        apart = (a != most) & (a >= 0) | (b != most) & (b >= 0) | (c != most) & (c >= 0) | (d != most) & (d >= 0)
        owners[j] = np.int32(_MIXED) if apart else most


@jit
def _settle(
    i: Any, touched: Any, cell: Any, owners: Any, reach: Any, upper: Any, lower: Any, field: Any, step: Any, grid: Any,
    ends: Any, work: Any, pixels: Any,
) -> None:  # fmt: skip
    """Find the centers of the cells that foreground touches and that have no owner yet, pixel by pixel if need be."""
    corners = np.empty(4, np.int64)
    for e in range(np.uint64(0), np.uint64(edges(touched, 0, ends)), np.uint64(2)):
        begin, end = cell[np.uint64(ends[e])], ends[e + np.uint64(1)]
        if reach[np.uint64(begin)] >= end and owners[np.uint64(begin)] >= 0:
            continue  # nearly always
        for j in range(begin, cell[end - 1] + 1):
            if owners[j] < 0:
                _corners(i, j, upper, lower, field, step, grid, corners)
                owners[j] = _common(corners)
                if owners[j] == _MIXED:
                    divide(i, j, corners, field, step, grid, work, pixels)
                    owners[j] = _DIVIDED


@jit
def _corners(i: Any, j: Any, upper: Any, lower: Any, field: Any, step: Any, grid: Any, corners: Any) -> None:
    """Write the centers of the corners of a cell: -1 for background, which has a say only where all are background."""
    mh, mw = field.shape[1:]
    corners[0], corners[1], corners[2], corners[3] = upper[j], upper[j + 1], lower[j], lower[j + 1]
    if max(max(corners[0], corners[1]), max(corners[2], corners[3])) < 0:
        for k in range(4):
            y, x = spot(min(i + k // 2, mh - 1), min(j + k % 2, mw - 1), field, step)
            corners[k] = nearest(y, x, np.int64(0), grid)


@jit
def _common(corners: Any) -> Any:
    """Return the center that the corners of a cell agree on, or `_MIXED`."""
    owner = max(max(corners[0], corners[1]), max(corners[2], corners[3]))
    for k in range(4):
        if corners[k] >= 0 and corners[k] != owner:
            return np.int64(_MIXED)
    return owner
