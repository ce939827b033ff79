"""Target maps by the published rules: one blurred sum of centers, in which crowded ones dim each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mitonb.maps import Maps

__all__ = ["published_targets"]


def published_targets(labels: npt.NDArray[np.integer[Any]], *, step: int = 1, sigma: float = 6.0) -> Maps:
    """Draw target maps as the published software does.

    One pixel per id is set, blurred with a Gaussian of 4 sigma to each side, and the whole map is divided by its
    highest value: where centers are crowded they add up, and all others become dim. All pixels of an id share one
    center, even where it lies in pieces.

    Parameters
    ----------
    labels : (h, w) array of int
        Instance ids; 0 is background.
    step : int
        Every so many pixels of the center and offset maps are kept.
    sigma : float
        Width of a center in pixels.

    Returns
    -------
    maps : Maps
        float32; one class. Offsets are 0 outside of objects.
    """
    h, w = labels.shape
    _, numbers = np.unique(labels, return_inverse=True)
    numbers = numbers.reshape(labels.shape)
    inside = labels != 0
    y, x = np.nonzero(inside)
    number = numbers[y, x]
    count = np.maximum(np.bincount(number), 1)
    middle = np.stack([np.bincount(number, weights=y) / count, np.bincount(number, weights=x) / count])
    offsets = np.zeros((2, h, w), np.float32)
    offsets[:, y, x] = middle[:, number] - np.stack([y, x])
    heat = np.zeros((h, w), np.float32)
    there = np.unique(number)
    heat[middle[0, there].astype(np.int64), middle[1, there].astype(np.int64)] = 1
    reach = int(round(8 * sigma + 1) | 1) // 2
    kernel = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    for axis in (0, 1):
        heat = ndimage.correlate1d(heat, kernel / kernel.sum(), axis, mode="constant")
    if len(there):
        heat /= heat.max()
    return Maps(
        {
            "semantic": inside.astype(np.float32)[None],
            "center": heat[::step, ::step],
            "offsets": offsets[:, ::step, ::step],
        },
        step,
    )
