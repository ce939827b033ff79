"""Patches for training: square cuts out of labelled stacks, at random places, angles and zooms."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from mitonb.errors import InputError
from mitonb.stack import AXES, Axis

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Source", "draw", "draw_batch"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Source:
    """A labelled volume to learn from.

    Attributes
    ----------
    name : str
        Shown in progress and in the model card.
    image, labels : (z, y, x) array
        Pixels and instance ids.
    contrast : tuple of float
        Grey values that stand for black and white, as `Stack.contrast`.
    axes : tuple of {"xy", "xz", "yz"}
        Directions to cut planes along: all three only for (nearly) isotropic voxels.
    held : tuple of int
        Positions along z that are never trained on but watched while training.
    weight : float
        How often to draw from it, relative to the others.
    zoom : float
        Factor that brings its pixels to the size at which it shall be seen most often.
    """

    name: str
    image: Array
    labels: Array
    contrast: tuple[float, float]
    axes: tuple[Axis, ...] = ("xy",)
    held: tuple[int, ...] = ()
    weight: float = 1.0
    zoom: float = 1.0
    used: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        if self.image.shape != self.labels.shape or self.image.ndim != 3:
            raise InputError(
                f"{self.name}: image {self.image.shape} and labels {self.labels.shape} must be one (z, y, x) shape."
            )
        _require_plain(self)
        free = [z for z in range(len(self.image)) if z not in self.held]
        if not free or free != list(range(free[0], free[-1] + 1)):
            raise InputError(f"{self.name}: held planes {self.held} must leave one unbroken block to train on.")
        object.__setattr__(self, "used", (free[0], free[-1] + 1))

    def plane(self, axis: Axis, index: int) -> tuple[Array, Array]:
        """Return the image and labels of one plane of the part that is trained on."""
        a, b = self.used
        key: list[Any] = [slice(a, b), slice(None), slice(None)]
        key[AXES[axis]] = index + a if axis == "xy" else index
        return self.image[tuple(key)], self.labels[tuple(key)]

    def count(self, axis: Axis) -> int:
        """Return the number of planes to train on along an axis."""
        return self.used[1] - self.used[0] if axis == "xy" else int(self.image.shape[AXES[axis]])


def _require_plain(source: Source) -> None:
    """Refuse what would only be found in the middle of a run."""
    name, depth, (low, high) = source.name, len(source.image), source.contrast
    outside = [z for z in source.held if not 0 <= z < depth]
    if outside:
        raise InputError(f"{name}: held planes are some of its planes 0 to {depth - 1}, got {outside[0]}.")
    if source.image.dtype.kind not in "buif" or source.labels.dtype.kind not in "bui" or not source.image.size:
        raise InputError(f"{name} needs real pixels and whole ids, got {source.image.dtype} and {source.labels.dtype}.")
    if not source.axes or not set(source.axes) <= set(AXES):
        raise InputError(f"{name}: axes are some of {', '.join(AXES)}, got {source.axes}.")
    if not (-np.inf < low < high < np.inf):
        raise InputError(f"{name}: white must be above black, got {low:g} and {high:g}. Is the image all one grey?")
    if not 0 < source.weight < np.inf or not 0.01 <= source.zoom <= 100:
        raise InputError(
            f"{name}: a weight is above 0 and a zoom is from 0.01 to 100, got {source.weight} and {source.zoom}."
        )


def draw(source: Source, rng: np.random.Generator, size: int) -> tuple[Array, Array]:
    """Cut one random square out of a source.

    Returns
    -------
    image : (size, size) float32 array
        Grey values with the source's black and white at 0 and 1.
    ids : (size, size) uint32 array
        Instance ids as in the source.
    """
    axis = source.axes[int(rng.integers(len(source.axes)))]
    image, labels = source.plane(axis, int(rng.integers(source.count(axis))))
    near = rng.random() < 0.5
    zoom = source.zoom * 2.0 ** (rng.normal(0.0, 0.2) if near else rng.uniform(-1.0, 0.9))
    grid = _grid(image.shape, _place(labels, rng), zoom, rng, size)
    pixels = torch.from_numpy(np.ascontiguousarray(image, np.float32))[None, None]
    ids = torch.from_numpy(np.ascontiguousarray(labels, np.float32))[None, None]
    fine = functional.interpolate(grid.permute(0, 3, 1, 2), scale_factor=2.0, mode="bilinear").permute(0, 2, 3, 1)
    cut = _sample(pixels, fine if zoom < 0.8 else grid, "bilinear")
    if zoom < 0.8:  # the net must not learn from aliasing that a shrunken image does not have
        cut = functional.avg_pool2d(cut, 2)
    low, high = source.contrast
    return (cut[0, 0].numpy() - low) / (high - low), _sample(ids, grid, "nearest")[0, 0].numpy().astype(np.uint32)


def draw_batch(sources: Sequence[Source], rng: np.random.Generator, size: int, count: int) -> tuple[Array, Array]:
    """Cut `count` squares, each from a source drawn by weight; return (count, size, size) images and ids."""
    weights = np.array([s.weight for s in sources], np.float64)
    chosen = rng.choice(len(sources), count, p=weights / weights.sum())
    pairs = [draw(sources[int(i)], rng, size) for i in chosen]
    return np.stack([p[0] for p in pairs]), np.stack([p[1] for p in pairs])


def _place(labels: Array, rng: np.random.Generator) -> tuple[float, float]:
    """Choose where the middle of a patch lies: half of the time near an object, for they are rare, else anywhere."""
    h, w = labels.shape
    if rng.random() < 0.5:
        found = np.flatnonzero(labels[::4, ::4])
        if found.size:
            y, x = divmod(int(found[rng.integers(found.size)]), -(-w // 4))
            return y * 4 + rng.normal(0, 50), x * 4 + rng.normal(0, 50)
    return rng.uniform(0, h), rng.uniform(0, w)


def _grid(
    shape: tuple[int, ...], middle: tuple[float, float], zoom: float, rng: np.random.Generator, size: int
) -> torch.Tensor:
    """Return where in the plane each patch pixel comes from, in the units of `grid_sample`."""
    angle = rng.uniform(0, 2 * np.pi) if rng.random() < 0.5 else np.pi / 2 * rng.integers(4)
    stretch = np.exp(rng.normal(0, 0.06))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    shear = rng.normal(0, 0.05)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[stretch, shear], [0, flip / stretch]]) / zoom
    h, w = shape
    reach = [min(n / 2, size / 2 / zoom) for n in (h, w)]  # keep the patch inside where it fits
    y, x = (float(np.clip(m, r, n - r)) for m, r, n in zip(middle, reach, (h, w), strict=True))
    theta = np.array(
        [[matrix[1, 1] * size / w, matrix[1, 0] * size / w, 2 * x / w - 1],
         [matrix[0, 1] * size / h, matrix[0, 0] * size / h, 2 * y / h - 1]], np.float32,
    )  # fmt: skip
    return functional.affine_grid(torch.from_numpy(theta)[None], [1, 1, size, size], align_corners=False)


def _sample(plane: torch.Tensor, grid: torch.Tensor, mode: str) -> torch.Tensor:
    return functional.grid_sample(plane, grid, mode=mode, padding_mode="reflection", align_corners=False)
