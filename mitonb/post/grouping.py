"""Grouping: the pixels that point at each center."""

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
    from mitonb.maps import Points

__all__ = ["group", "group_fine", "group_runs"]

_UNKNOWN = -2
_MIXED = -1


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
        row = mask[y]
        x, end = next_stretch(row, 0)
        while x < w:
            spot_y, spot_x = spot(y, x, field, 1)
            if not is_nearest(spot_y, spot_x, last, spots, clear):
                last = above[x]
                if not is_nearest(spot_y, spot_x, last, spots, clear):
                    last = above[(x + end) >> 1]  # where an object widens, its first pixel has none of its own above
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
                x, end = next_stretch(row, end)
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
        row = mask[y]
        x, end = next_stretch(row, 0)
        j = x // step
        while x < w:
            if cells[j] == _UNKNOWN:
                # Where an object widens, its first pixel has none of its own above; the middle of the stretch has.
                hint = known[max(0, i - 1), ((x + end) >> 1) // step]
                cells[j] = _cell(i, j, mask, field, step, known, last, hint, spots, clear, grid)
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
                x, end = next_stretch(row, end)
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
    i: Any, j: Any, mask: Any, field: Any, step: Any, known: Any, last: Any, hint: Any, spots: Any, clear: Any,
    grid: Any,
) -> Any:  # fmt: skip
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
                        here = max(np.int64(hint), np.int64(0))
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
