"""Intensity: grey values as the nets want them."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError
from mitonb.post.compiled import jit

__all__ = ["normalised"]


def normalised(image: npt.NDArray[Any], low: float, high: float, *, mean: float, std: float) -> npt.NDArray[np.float32]:
    """Bring black to 0 and white to 1, cut off half as much again on both sides, then subtract mean, divide by std.

    Parameters
    ----------
    image : (h, w) array
        Grey values of any dtype; what is no number becomes 0 at the end.
    low, high : float
        Black and white, in grey values.
    mean, std : float
        What the net was trained with, where black is 0 and white is 1.

    Returns
    -------
    (h, w) float32 array

    Raises
    ------
    InputError
        If white is not above black.
    """
    if not (np.isfinite(low) and np.isfinite(high) and high > low):
        raise InputError(f"White must be above black, got black {low} and white {high}. Set the stack's intensity.")
    if image.dtype.itemsize == 1 and image.ndim == 2:
        looked_up: npt.NDArray[np.float32] = _looked_up(image.view(np.uint8), _table(image.dtype, low, high, mean, std))
        return looked_up
    return _computed(image, low, high, mean, std)


@functools.lru_cache(maxsize=16, typed=True)
def _table(kind: np.dtype[Any], low: float, high: float, mean: float, std: float) -> npt.NDArray[np.float32]:
    """Return what becomes of each of the 256 values of a kind that takes one byte."""
    return _computed(np.arange(256, dtype=np.uint8).view(kind), low, high, mean, std)


def _computed(image: npt.NDArray[Any], low: float, high: float, mean: float, std: float) -> npt.NDArray[np.float32]:
    # float64 first: (v - low) of a 16-bit or large integer plane must not lose the digits that matter
    wide: npt.NDArray[np.floating[Any]] = image.astype(np.float32 if image.dtype.itemsize <= 2 else np.float64)
    y = (np.clip((wide - low) / (high - low), -0.5, 1.5) - mean) / std
    return np.asarray(np.nan_to_num(y, nan=0.0) if image.dtype.kind == "f" else y, np.float32)


@jit
def _looked_up(image: Any, table: Any) -> Any:
    h, w = image.shape
    result = np.empty((h, w), np.float32)
    for y in range(h):
        for x in range(w):
            result[y, x] = table[image[y, x]]
    return result
