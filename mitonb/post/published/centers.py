"""Centers by the published rules: a window of any side, ties that stay, and whole cells of the map grouped at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.post.centers import highest, mark_tops, new_tops, next_top
from mitonb.post.coarse import add_rows, any_row, cells, reaches
from mitonb.post.compiled import jit
from mitonb.post.grouping import group_fine
from mitonb.post.halves import widened
from mitonb.post.nearest import is_nearest, nearest, sorted_spots, spot
from mitonb.post.rows import new_runs, next_stretch, packed
from mitonb.post.runs import Runs, paint, runs_of

if TYPE_CHECKING:
    from mitonb.maps import Image, Points

__all__ = ["enlarged", "group", "group_runs", "peaks"]


def peaks(center: Image, threshold: float, window: int) -> Points:
    """Find each pixel that is the highest of its window and above a threshold.

    All pixels of a plateau are peaks. The window of an even side reaches one pixel farther back than ahead.

    Parameters
    ----------
    center : (h, w) float array
        Heatmap.
    threshold : float
        Peaks are strictly above it.
    window : int
        Side of the square window in pixels of the map.

    Returns
    -------
    points : (n, 2) int64 array
        (y, x) in pixels of the map, in reading order.
    """
    heat = widened(center)
    points: Points = _peaks(heat, np.float32(threshold), window // 2, (window - 1) // 2)
    return points


def group(
    foreground: npt.NDArray[np.bool_], offsets: npt.NDArray[np.floating[Any]], points: Points, *, step: int = 1
) -> npt.NDArray[np.uint32]:
    """Give each foreground pixel the number of the center that its pixel of the map points at.

    Parameters
    ----------
    foreground : (h, w) bool array
        Pixels to group.
    offsets : (2, h', w') float array
        (dy, dx) in pixels of the plane; h' = ceil(h / step).
    points : (n, 2) int64 array
        Centers (y, x) in pixels of the offset map, in reading order.
    step : int
        Pixels of the plane per pixel of the offset map; all pixels of such a square get the same number.

    Returns
    -------
    groups : (h, w) uint32 array
        1 + index of the nearest center (the first of equals); 0 is background, and everything is if there are no
        centers.
    """
    groups: npt.NDArray[np.uint32] = paint(group_runs(foreground, offsets, points, step=step))[0]
    return groups


def group_runs(
    foreground: npt.NDArray[np.bool_], offsets: npt.NDArray[np.floating[Any]], points: Points, *, step: int = 1
) -> Runs:
    """Return what `group` returns as runs of one plane."""
    mask = np.ascontiguousarray(foreground, dtype=np.bool_)
    if len(points) == 0:
        return runs_of(np.zeros(mask.shape, np.uint32))
    spots = np.ascontiguousarray(points, dtype=np.float32) * np.float32(step)
    field = widened(offsets)
    bits, w = packed(mask), mask.shape[1]
    tables = group_fine(mask, bits, field, spots) if step == 1 else _group_coarse(bits, w, field, spots, step)
    return Runs((1, *mask.shape), *tables)


def enlarged(values: npt.NDArray[np.floating[Any]], factor: int, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Enlarge maps bilinearly, corner pixels onto corner pixels, and cut them to a shape.

    Parameters
    ----------
    values : (..., h, w) float array
        Maps; what they hold is not scaled.
    factor : int
        Pixels per pixel.
    shape : (int, int)
        Height and width of the result, at most factor * (h, w).

    Returns
    -------
    maps : (..., height, width) float32 array
    """
    result = values.astype(np.float32)
    for axis, size in ((-2, shape[0]), (-1, shape[1])):
        n = result.shape[axis]
        at = np.arange(size) * ((n - 1) / max(1, factor * n - 1))
        low = np.minimum(at.astype(np.int64), max(0, n - 2))
        weight = (at - low).astype(np.float32)
        weight = weight[:, None] if axis == -2 else weight
        before, after = result.take(low, axis), result.take(np.minimum(low + 1, n - 1), axis)
        result = before * (1 - weight) + after * weight
    return result


@jit
def _peaks(heat: Any, threshold: Any, back: Any, ahead: Any) -> Any:
    h, w = heat.shape
    found = np.empty((64, 2), np.int64)
    tops = new_tops(w)
    count = 0
    for y in range(h):
        mark_tops(heat, y, threshold, back, ahead, tops)
        x = next_top(tops, -1, w)
        while x < w:
            if highest(heat, y, x, back, ahead):
                if count == len(found):
                    found = np.concatenate((found, np.empty_like(found)))
                found[count, 0], found[count, 1] = y, x
                count += 1
            x = next_top(tops, x, w)
    return found[:count]


@jit
def _group_coarse(bits: Any, w: Any, field: Any, spots: Any, step: Any) -> Any:
    h, mw = len(bits), field.shape[2]
    grid = sorted_spots(spots, h, w)
    clear = grid[1]
    first, start, stop, ids = new_runs(h)
    cell, owners, reach = cells(w, step), np.empty(mw, np.int64), np.empty(mw, np.int64)
    above = np.zeros(mw, np.int64)  # center in the rows before: mostly that of this row, too
    pixels, ends = np.empty((0, 0), np.int64), np.empty(w + 1, np.int64)
    count, last = np.int64(0), np.int64(0)
    for top in range(0, h, step):
        owners[:] = -1
        touched = any_row(bits, top, step)
        x, end = next_stretch(touched, 0, 0, w)
        while x < w:
            for j in range(cell[x], cell[end - 1] + 1):
                if owners[j] < 0:
                    spot_y, spot_x = spot(top // step, j, field, step)
                    if not is_nearest(spot_y, spot_x, last, spots, clear):
                        last = above[j]
                        if not is_nearest(spot_y, spot_x, last, spots, clear):
                            last = nearest(spot_y, spot_x, last, grid)
                    owners[j] = above[j] = last
            x, end = next_stretch(touched, 0, end, w)
        reaches(owners, step, reach)
        count, start, stop, ids = add_rows(
            bits, top, cell, step, owners, reach, pixels, ends, first, count, start, stop, ids
        )
    return first, start[:count].copy(), stop[:count].copy(), ids[:count].copy()
