"""Changes of brightness, sharpness and noise, and section defects: what microscopes do to the same tissue."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

__all__ = ["disturb"]

Image = npt.NDArray[Any]


def disturb(image: Image, rng: np.random.Generator) -> Image:
    """Return a patch as another microscope, stain or section might have shown it.

    Parameters
    ----------
    image : (h, w) float array
        Grey values, black at 0 and white at 1.
    rng : Generator
        Source of all randomness.

    Returns
    -------
    (h, w) float32 array
    """
    y = image.astype(np.float32)
    if rng.random() < 0.3:
        y = ndimage.gaussian_filter(y, rng.uniform(0.3, 1.6))
    elif rng.random() < 0.2:
        y = y + rng.uniform(0.3, 1.2) * (y - ndimage.gaussian_filter(y, 1.5))
    if rng.random() < 0.5:
        y = np.clip(y, 0, 1.2) ** np.float32(2.0 ** rng.normal(0, 0.5))
    if rng.random() < 0.8:
        y = (y - 0.5) * np.float32(2.0 ** rng.normal(0, 0.35)) + 0.5 + np.float32(rng.normal(0, 0.12))
    if rng.random() < 0.25:
        y = y + _shade(y.shape, rng)
    if rng.random() < 0.5:
        grain = rng.standard_normal(y.shape, dtype=np.float32)
        if rng.random() < 0.4:
            grain = ndimage.gaussian_filter(grain, 0.8) * 2.5
        y = y + grain * np.float32(rng.uniform(0.01, 0.15))
    if rng.random() < 0.06:
        y = _defect(y, rng)
    return y.astype(np.float32)


def _shade(shape: tuple[int, ...], rng: np.random.Generator) -> Image:
    """Return a slow change of brightness across the patch."""
    v, u = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij")
    a, b, c = rng.normal(0, 0.12, 3)
    return np.asarray(a * u + b * v + c * u * v, np.float32)


def _defect(y: Image, rng: np.random.Generator) -> Image:
    """Draw a dark fold, a lost stripe or a speck of dirt across the patch."""
    h, w = y.shape
    v, u = np.mgrid[:h, :w].astype(np.float32)
    angle, wide = rng.uniform(0, np.pi), rng.uniform(2, 12)
    along = (v - rng.uniform(0, h)) * np.cos(angle) + (u - rng.uniform(0, w)) * np.sin(angle)
    if rng.random() < 0.3:
        along = np.hypot(v - rng.uniform(0, h), u - rng.uniform(0, w)) - wide
    mask = np.exp(-((along / wide) ** 2))
    return np.asarray(y * (1 - mask) + mask * rng.choice([0.0, 0.1, 0.9, 1.0]), np.float32)
