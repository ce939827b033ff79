"""Centers by the published rules: a window of any side, ties that stay, and whole cells of the map grouped at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.post.compiled import jit
from mitonb.post.nearest import nearest, sorted_spots, spot

if TYPE_CHECKING:
    from mitonb.maps import Image, Points

__all__ = ["enlarged", "group", "peaks"]


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
    heat = np.ascontiguousarray(center, dtype=np.float32)
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
    mask = np.ascontiguousarray(foreground, dtype=np.bool_)
    if len(points) == 0:
        return np.zeros(mask.shape, np.uint32)
    field = np.ascontiguousarray(offsets, dtype=np.float32)
    spots = np.ascontiguousarray(points, dtype=np.float32) * np.float32(step)
    groups: npt.NDArray[np.uint32] = _group(mask, field, spots, step)
    return groups


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
    count = 0
    for y in range(h):
        for x in range(w):
            if not heat[y, x] > threshold or not _highest(heat, y, x, back, ahead):
                continue
            if count == len(found):
                found = np.concatenate((found, np.empty_like(found)))
            found[count, 0], found[count, 1] = y, x
            count += 1
    return found[:count]


@jit
def _highest(heat: Any, y: Any, x: Any, back: Any, ahead: Any) -> Any:
    """Return whether nothing in the window is higher."""
    h, w = heat.shape
    value = heat[y, x]
    # On a slope a neighbour in the row is higher: most pixels end here.
    if (back > 0 and x > 0 and heat[y, x - 1] > value) or (ahead > 0 and x + 1 < w and heat[y, x + 1] > value):
        return False
    for v in range(max(0, y - back), min(h, y + ahead + 1)):
        for u in range(max(0, x - back), min(w, x + ahead + 1)):
            if heat[v, u] > value:
                return False
    return True


@jit
def _group(mask: Any, field: Any, spots: Any, step: Any) -> Any:
    h, w = mask.shape
    grid = sorted_spots(spots, h, w)
    groups = np.zeros((h, w), np.uint32)
    known = np.zeros(field.shape[2], np.uint32)  # number of each map pixel in this row of the map, once asked for
    last = np.int64(0)
    for y in range(h):
        i = y // step
        if y % step == 0:
            known[:] = 0
        for j in range(len(known)):
            for x in range(j * step, min(w, j * step + step)):
                if not mask[y, x]:
                    continue
                if known[j] == 0:
                    spot_y, spot_x = spot(i, j, field, step)
                    last = nearest(spot_y, spot_x, last, grid)
                    known[j] = last + 1
                groups[y, x] = known[j]
    return groups
