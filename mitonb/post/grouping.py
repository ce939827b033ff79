"""Grouping: the pixels that point at each center."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.post.coarse import group_coarse
from mitonb.post.compiled import jit
from mitonb.post.halves import widened
from mitonb.post.nearest import is_nearest, nearest, sorted_spots, spot
from mitonb.post.rows import add_run, new_runs, next_stretch, packed, with_room
from mitonb.post.runs import Runs, paint, runs_of

if TYPE_CHECKING:
    from mitonb.maps import Points

__all__ = ["group", "group_fine", "group_runs"]


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
    bits = packed(mask)
    tables = group_fine(mask, bits, field, spots) if step == 1 else group_coarse(mask, bits, field, spots, step)
    return Runs((1, *mask.shape), *tables)


@jit
def group_fine(mask: Any, bits: Any, field: Any, spots: Any) -> Any:
    """Return the tables of runs where the offset map has a pixel for each one of the plane; compiled."""
    h, w = mask.shape
    grid = sorted_spots(spots, h, w)
    clear = grid[1]
    first, start, stop, ids = new_runs(h)
    above = np.zeros(w, np.int64)  # center of each pixel in the rows before: mostly that of this row, too
    count, last = np.int64(0), np.int64(0)
    for y in range(h):
        start, stop, ids = with_room(w, count, start, stop, ids)
        x, end = next_stretch(bits, y, 0, w)
        while x < w:
            spot_y, spot_x = spot(y, x, field, 1)
            if not is_nearest(spot_y, spot_x, last, spots, clear):
                last = above[x]
                if not is_nearest(spot_y, spot_x, last, spots, clear):
                    last = above[(x + end) >> 1]  # where an object widens, its first pixel has none of its own above
                    if not is_nearest(spot_y, spot_x, last, spots, clear):
                        last = nearest(spot_y, spot_x, last, grid)
            u = x + 1
            # Many pixels at a step, most of which point at one center: no way out of the inner loop, so vector code.
            while u + 8 <= end:
                all_ = True
                for k in range(8):
                    at = field[0, y, u + k] + np.float32(y), field[1, y, u + k] + np.float32(u + k)
                    all_ &= is_nearest(at[0], at[1], last, spots, clear)
                if not all_:
                    break
                u += 8
            while u < end:
                spot_y, spot_x = spot(y, u, field, 1)
                if not is_nearest(spot_y, spot_x, last, spots, clear):
                    break
                u += 1
            above[x:u] = last
            count = add_run(x, u, last + 1, first[y], count, start, stop, ids)
            x = u
            if x == end:
                x, end = next_stretch(bits, y, end, w)
        first[y + 1] = count
    return first, start[:count].copy(), stop[:count].copy(), ids[:count].copy()
