"""Coarse grouping: one pixel of the offset map stands for many of the plane, and what agrees is grouped at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from mitonb.post.compiled import jit
from mitonb.post.nearest import is_nearest, nearest, sorted_spots, spot
from mitonb.post.rows import new_runs, next_stretch, with_room

__all__ = ["add_rows", "any_row", "cells", "group_coarse", "reaches"]

_UNASKED = -1
_MIXED = -2
_DIVIDED = -3


@jit
def group_coarse(mask: Any, bits: Any, field: Any, spots: Any, step: Any) -> Any:
    """Return the tables of runs, places between map pixels by interpolation; `bits` is the mask, packed; compiled."""
    h, w = mask.shape
    mw = field.shape[2]
    grid = sorted_spots(spots, h, w)
    first, start, stop, ids = new_runs(h)
    # Nearest center of each map pixel in the rows above and below a row of cells, the last one twice; -1: background.
    upper, lower = np.full(mw + 1, np.int32(_UNASKED)), np.full(mw + 1, np.int32(_UNASKED))
    cell, owners, reach = cells(w, step), np.empty(mw, np.int64), np.empty(mw, np.int64)
    corners, pixels = np.empty((4, 3)), np.empty((step, mw * step), np.int64)
    count, last = np.int64(0), np.int64(0)
    last = _ask(0, mask, field, step, lower, upper, last, grid)
    for top in range(0, h, step):
        i = top // step
        if top + step < h:
            last = _ask(i + 1, mask, field, step, upper, lower, last, grid)
        else:
            lower[:] = upper
        _agree(upper, lower, owners)
        touched = any_row(bits, top, step)
        x, end = next_stretch(touched, 0, 0, w)
        while x < w:
            for j in range(cell[x], cell[end - 1] + 1):
                trusted = owners[j] != _UNASKED
                if not trusted:  # no corner is foreground, so all have a say
                    beside = max(owners[max(0, j - 1)], owners[min(j + 1, mw - 1)])
                    owners[j] = _common(i, j, field, step, beside if beside >= 0 else last, grid)
                if owners[j] == _MIXED:
                    _divide(i, j, mask, field, step, last, grid, trusted, corners, pixels)
                    owners[j] = _DIVIDED
            x, end = next_stretch(touched, 0, end, w)
        reaches(owners, step, reach)
        count, start, stop, ids = add_rows(bits, top, cell, step, owners, reach, pixels, first, count, start, stop, ids)
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
    for j in range(len(owners) - 1, -1, -1):
        goes_on = j + 1 < len(owners) and owners[j + 1] == owners[j] and owners[j] >= 0
        reach[j] = reach[j + 1] if goes_on else (j + 1) * step


@jit
def add_rows(
    bits: Any, top: Any, cell: Any, step: Any, owners: Any, reach: Any, pixels: Any, first: Any, count: Any, start: Any,
    stop: Any, ids: Any,
) -> Any:  # fmt: skip
    """Add the runs of `step` rows; those of cells without an owner from `pixels`; compiled."""
    w = len(cell)
    start, stop, ids = with_room(step * w, count, start, stop, ids)
    n = np.uint64(count)
    for y in range(top, min(len(bits), top + step)):
        x, end = next_stretch(bits, y, 0, w)
        while x < w:
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
            x, end = next_stretch(bits, y, end, w)
        first[y + 1] = n
    return np.int64(n), start, stop, ids


@jit
def _ask(i: Any, mask: Any, field: Any, step: Any, above: Any, known: Any, last: Any, grid: Any) -> Any:
    """Find the nearest center of each foreground pixel in a row of the map; return the last one."""
    spots, clear = grid[0], grid[1]
    mw = field.shape[2]
    for j in range(mw):
        known[j] = _UNASKED
        if mask[i * step, j * step]:
            y, x = spot(i, j, field, step)
            if not is_nearest(y, x, last, spots, clear):
                last = np.int64(max(above[j], above[j + 1], np.int32(0)))
                if not is_nearest(y, x, last, spots, clear):
                    last = nearest(y, x, last, grid)
            known[j] = last
    known[mw] = known[mw - 1]
    return last


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
def _common(i: Any, j: Any, field: Any, step: Any, guess: Any, grid: Any) -> Any:
    """Return the center that all corners of a cell agree on, foreground or not, or `_MIXED`."""
    spots, clear = grid[0], grid[1]
    mh, mw = field.shape[1:]
    owner = np.int64(guess)
    for k in range(4):
        y, x = spot(min(i + k // 2, mh - 1), min(j + k % 2, mw - 1), field, step)
        if not is_nearest(y, x, owner, spots, clear):
            here = nearest(y, x, owner, grid)
            if k > 0 and here != owner:
                return np.int64(_MIXED)
            owner = here
    return owner


@jit
def _divide(
    i: Any, j: Any, mask: Any, field: Any, step: Any, last: Any, grid: Any, trusted: Any, corners: Any, pixels: Any
) -> None:  # fmt: skip
    """Find the centers of all pixels of a cell whose corners do not agree; where trusted, the foreground ones alone."""
    mh, mw = field.shape[1:]
    h, w = mask.shape
    count = 0
    for k in range(4):
        a, b = min(i + k // 2, mh - 1), min(j + k % 2, mw - 1)
        if not trusted or mask[a * step, b * step]:
            corners[count, 0], corners[count, 1] = spot(a, b, field, step)
            corners[count, 2] = k
            count += 1
    for v in range(min(step, h - i * step)):
        fy = np.float32(v) / np.float32(step)
        for u in range(min(step, w - j * step)):
            last = _between(fy, np.float32(u) / np.float32(step), corners, count, last, grid)
            pixels[v, j * step + u] = last


@jit
def _between(fy: Any, fx: Any, corners: Any, count: Any, last: Any, grid: Any) -> Any:
    """Return the center of a pixel that lies so far between the corners of its cell."""
    spot_y, spot_x, total = 0.0, 0.0, 0.0
    for k in range(count):
        r, c = corners[k, 2] >= 2, corners[k, 2] % 2 == 1
        # A trace of weight for all: a pixel may lie on a side whose corners are background.
        weight: Any = (fy if r else 1 - fy) * (fx if c else 1 - fx) + np.float32(1e-6)
        spot_y += weight * corners[k, 0]
        spot_x += weight * corners[k, 1]
        total += weight
    y, x = spot_y / total, spot_x / total
    return last if is_nearest(y, x, last, grid[0], grid[1]) else nearest(y, x, last, grid)
