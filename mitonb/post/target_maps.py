"""Target maps: what a perfect network would say about known ids; the inverse of decoding."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError
from mitonb.maps import Maps
from mitonb.post.compiled import jit
from mitonb.post.profiles import profiles
from mitonb.post.published.target_maps import published_targets

__all__ = ["targets"]


def targets(labels: npt.NDArray[np.integer[Any]], *, step: int = 1, sigma: float = 6.0, legacy: bool = False) -> Maps:
    """Draw the maps from which decoding finds these ids again.

    Each connected profile has a center of its own, its centroid, even where one id has several profiles in the plane:
    no net could see that they meet elsewhere. The heatmap is 1 at each centroid whatever lies beside it (the highest
    of the Gaussians, not their sum).

    Parameters
    ----------
    labels : (h, w) array of int
        Instance ids; 0 is background.
    step : int
        Pixels of the plane per pixel of the center and offset maps.
    sigma : float
        Width of a center in pixels of the plane.
    legacy : bool
        Draw them as the published software does: crowded centers dim all others, and all pieces of an id share one
        center.

    Returns
    -------
    maps : Maps
        float32; one class, 1 inside objects. Offsets are 0 outside of objects, except, when `step` > 1, at map pixels
        less than a step away from one: those help to place its border.

    Raises
    ------
    InputError
        If the labels are not a plane of ids from 0 to 2**32 - 1.
    """
    if step < 1 or not sigma > 0:
        raise InputError(f"Targets need a step of at least 1 and a sigma above 0 pixels, got {step} and {sigma}.")
    plane = np.asarray(labels)
    if plane.ndim != 2 or plane.dtype.kind not in "bui":
        raise InputError(f"Targets are drawn for one plane (h, w) of integer ids, got {plane.dtype} {plane.shape}.")
    if legacy:
        return published_targets(plane, step=step, sigma=sigma)
    pieces, count = profiles(plane)
    center, offsets = _draw(pieces, count, step, np.float32(sigma))
    return Maps({"semantic": (pieces > 0).astype(np.float32)[None], "center": center, "offsets": offsets}, step)


@jit
def _draw(pieces: Any, count: Any, step: Any, sigma: Any) -> Any:
    h, w = pieces.shape
    mh, mw = -(-h // step), -(-w // step)
    middle = _centroids(pieces, count)
    center = np.zeros((mh, mw), np.float32)
    offsets = np.zeros((2, mh, mw), np.float32)
    for k in range(1, count + 1):
        _add_peak(center, middle[k, 0], middle[k, 1], step, sigma)
    for i in range(mh):
        for j in range(mw):
            k = pieces[i * step, j * step]
            if k == 0 and step > 1:
                k = _close_piece(pieces, i * step, j * step, step - 1)
            if k != 0:
                offsets[0, i, j] = middle[k, 0] - i * step
                offsets[1, i, j] = middle[k, 1] - j * step
    return center, offsets


@jit
def _centroids(pieces: Any, count: Any) -> Any:
    """Return the (y, x) centroid of each piece; row 0 is unused."""
    h, w = pieces.shape
    total = np.zeros((count + 1, 3))
    for y in range(h):
        x = 0
        while x < w:
            k = pieces[y, x]
            start = x
            while x < w and pieces[y, x] == k:
                x += 1
            if k != 0:
                n = x - start
                total[k, 0] += n
                total[k, 1] += n * y
                total[k, 2] += n * (start + x - 1) / 2
    middle = np.zeros((count + 1, 2))
    for k in range(1, count + 1):
        middle[k, 0], middle[k, 1] = total[k, 1] / total[k, 0], total[k, 2] / total[k, 0]
    return middle


@jit
def _add_peak(center: Any, y: Any, x: Any, step: Any, sigma: Any) -> None:
    """Draw one Gaussian, as far as 4 sigma."""
    mh, mw = center.shape
    reach = 4 * sigma
    i0, i1 = max(0, int((y - reach) / step)), min(mh, int((y + reach) / step) + 2)
    j0, j1 = max(0, int((x - reach) / step)), min(mw, int((x + reach) / step) + 2)
    across = np.empty(max(0, j1 - j0), np.float32)
    for j in range(j0, j1):
        across[j - j0] = np.exp(-((j * step - x) ** 2) / (2 * sigma * sigma))
    for i in range(i0, i1):
        down = np.float32(np.exp(-((i * step - y) ** 2) / (2 * sigma * sigma)))
        for j in range(j0, j1):
            center[i, j] = max(center[i, j], down * across[j - j0])


@jit
def _close_piece(pieces: Any, y: Any, x: Any, reach: Any) -> Any:
    """Return the piece nearest to (y, x) within a square, or 0."""
    h, w = pieces.shape
    found, best = np.uint32(0), 2 * reach * reach + 1
    for v in range(max(0, y - reach), min(h, y + reach + 1)):
        for u in range(max(0, x - reach), min(w, x + reach + 1)):
            d = (v - y) ** 2 + (u - x) ** 2
            if pieces[v, u] != 0 and d < best:
                found, best = pieces[v, u], d
    return found
