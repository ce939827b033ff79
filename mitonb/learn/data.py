"""What to learn from: labelled volumes, cut into patches that are disturbed as microscopes do."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch.nn import functional

from mitonb.errors import InputError
from mitonb.stack import AXES, Axis, VoxelSize

Array = npt.NDArray[Any]
Size = int | tuple[int, int, int]

IGNORED = -1
"""Stands, in the ids of a patch, where nothing is known."""

SHEATHED = 0.3
"""Part of the augmented squares through which a drawn band of myelin runs."""
SHIFTED = 0.1
"""Part of the augmented blocks in which sections are not aligned."""


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
        Positions along z that are never trained on but watched while training; all of them, if it is only for that.
    weight : float
        How often to draw from it, relative to the others.
    zoom : float
        Factor that brings its pixels to the size at which it shall be seen most often.
    ignore : int, optional
        Id, in `labels`, of voxels of which nothing is known: neither mitochondrion nor background.
    voxel_size : tuple of float, optional
        (z, y, x) in nm, as the image came; None where nobody knows.
    """

    name: str
    image: Array
    labels: Array
    contrast: tuple[float, float]
    axes: tuple[Axis, ...] = ("xy",)
    held: tuple[int, ...] = ()
    weight: float = 1.0
    zoom: float = 1.0
    ignore: int | None = None
    voxel_size: VoxelSize | None = None
    used: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        if self.image.shape != self.labels.shape or self.image.ndim != 3:
            raise InputError(f"{self.name}: image {self.image.shape} and labels {self.labels.shape} differ in shape.")
        _require_plain(self)
        free = [z for z in range(len(self.image)) if z not in self.held]
        if free and free != list(range(free[0], free[-1] + 1)):
            raise InputError(f"{self.name}: held planes {self.held} must leave one unbroken block to train on.")
        object.__setattr__(self, "used", (free[0], free[-1] + 1) if free else (0, 0))

    @property
    def hidden(self) -> npt.NDArray[np.bool_]:
        """Where nothing is known."""
        return np.asarray(self.labels == self.ignore)

    @property
    def truth(self) -> Array:
        """Ids, without those of what is not known."""
        return np.where(self.hidden, 0, self.labels)

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
    name, depth, weight, zoom, (low, high) = source.name, len(source.image), source.weight, source.zoom, source.contrast
    if outside := [z for z in source.held if not 0 <= z < depth]:
        raise InputError(f"{name}: held planes are some of its planes 0 to {depth - 1}, got {outside[0]}.")
    if source.image.dtype.kind not in "buif" or source.labels.dtype.kind not in "bui" or not source.image.size:
        raise InputError(f"{name} needs real pixels and whole ids, got {source.image.dtype} and {source.labels.dtype}.")
    if not source.axes or not set(source.axes) <= set(AXES):
        raise InputError(f"{name}: axes are some of {', '.join(AXES)}, got {source.axes}.")
    if not (-np.inf < low < high < np.inf):
        raise InputError(f"{name}: white must be above black, got {low:g} and {high:g}. Is the image all one grey?")
    if not 0 < weight < np.inf or not 0.01 <= zoom <= 100:
        raise InputError(f"{name}: a weight is above 0 and a zoom is from 0.01 to 100, got {weight} and {zoom}.")


def draw(source: Source, rng: np.random.Generator, size: Size, *, augment: bool = True) -> tuple[Array, Array]:
    """Cut one random square, or block, out of a source.

    Parameters
    ----------
    source : Source
        What to cut from; of the planes that are held, nothing is.
    rng : Generator
        Source of all randomness.
    size : int or tuple of int
        Side of a square, or (z, y, x) of a block.
    augment : bool
        Turn, shear and zoom squares, and zoom blocks a little; else they are only flipped and turned by quarters in
        their planes.

    Returns
    -------
    image : float32 array
        Grey values with the source's black and white at 0 and 1.
    ids : int64 array
        Instance ids as in the source; `IGNORED` where nothing is known.
    """
    if isinstance(size, int):
        image, ids = _cut_square(source, rng, size, augment)
    else:
        image, ids = _cut_block(source, rng, size, augment)
    low, high = source.contrast
    return (image - low) / (high - low), ids if source.ignore is None else np.where(ids == source.ignore, IGNORED, ids)


def draw_batch(
    sources: Sequence[Source], rng: np.random.Generator, size: Size, count: int, *, augment: float = 1.0,
    share: slice = slice(None),
) -> tuple[Array, Array]:  # fmt: skip
    """Cut `count` squares or blocks, each from a source drawn by weight; return the images and ids of all.

    The part `augment` (0..1) of them is augmented: sheared, zoomed and disturbed. With `share` only these are cut.
    """
    weights = np.array([s.weight * (s.used[1] > s.used[0]) for s in sources], np.float64)
    images, ids = [], []
    # Evenly along the list: in each batch those that lie side by side have their share, and not by luck.
    places = (rng.random() + np.arange(count)) / count * weights.sum()
    chosen = np.searchsorted(weights.cumsum(), places, side="right").clip(max=len(sources) - 1)
    for i, own in list(zip(chosen, rng.spawn(count), strict=True))[share]:
        augmented = bool(own.random() < augment)
        image, truth = draw(sources[i], own, size, augment=augmented)
        if augmented and image.ndim == 2 and own.random() < SHEATHED:
            image, truth = add_sheaths(image, truth, own)
        if augmented and image.ndim == 3 and len(image) > 1 and own.random() < SHIFTED:
            image, truth = shift_sections(image, truth, own)
        images.append(disturb(image, own) if augmented else image)
        ids.append(truth)
    return np.stack(images), np.stack(ids)


def _cut_square(source: Source, rng: np.random.Generator, size: int, augment: bool) -> tuple[Array, Array]:
    axis = source.axes[int(rng.integers(len(source.axes)))]
    image, labels = source.plane(axis, int(rng.integers(source.count(axis))))
    near = rng.random() < 0.5
    zoom = source.zoom * 2.0 ** (augment * (rng.normal(0.0, 0.2) if near else rng.uniform(-1.0, 0.9)))
    theta = _transform(image.shape, _place(source, labels, rng, size / 5), zoom, rng, size, augment)
    pixels = torch.from_numpy(np.ascontiguousarray(image, np.float32))[None, None]
    ids = torch.from_numpy(np.ascontiguousarray(labels, np.float64))[None, None]  # no id is rounded to another one
    if zoom < 0.8:  # the net must not learn from aliasing that a shrunken image does not have
        cut = functional.avg_pool2d(_sample(pixels, theta, 2 * size, "bilinear"), 2)
    else:
        cut = _sample(pixels, theta, size, "bilinear")
    return cut[0, 0].numpy(), _sample(ids, theta.double(), size, "nearest")[0, 0].numpy().astype(np.int64)


def _cut_block(source: Source, rng: np.random.Generator, shape: tuple[int, ...], augment: bool) -> tuple[Array, Array]:
    both = [volume[slice(*source.used)] for volume in (source.image, source.labels)]
    zoom = source.zoom * 2.0 ** (augment * rng.normal(0.0, 0.2))
    middle = _place(source, both[1], rng, max(shape) / 5)
    box, grow = [], []
    for n, at, there in zip(shape, middle, both[1].shape, strict=True):
        length = max(1, round(n / zoom))
        first = int(np.clip(at - length / 2, 0, max(0, there - length)))
        box.append(slice(first, first + length))
        grow.append((0, max(0, length - there)))
    both = [np.pad(volume[tuple(box)], grow, mode="symmetric") for volume in both]
    flips = tuple(axis for axis in range(3) if rng.random() < 0.5)
    quarters = int(rng.integers(4)) if shape[1] == shape[2] else 0
    image, ids = (np.rot90(np.flip(v, flips), quarters, (1, 2)).astype(np.float64)[None, None] for v in both)
    mode = "area" if zoom < 0.8 else "trilinear"  # the mean of what becomes one voxel: no aliasing
    cut = functional.interpolate(torch.from_numpy(image), shape, mode=mode)
    near = functional.interpolate(torch.from_numpy(ids), shape, mode="nearest-exact")
    return cut[0, 0].numpy().astype(np.float32), near[0, 0].numpy().astype(np.int64)


def _place(source: Source, labels: Array, rng: np.random.Generator, spread: float) -> Array:
    """Choose where the middle of a patch lies: half of the time near an object, for they are rare, else anywhere."""
    if rng.random() < 0.5:
        few = labels[(slice(None, None, 4),) * labels.ndim]
        found = np.flatnonzero((few != 0) & (few != source.ignore))
        if found.size:
            place = np.unravel_index(int(found[rng.integers(found.size)]), few.shape)
            return np.multiply(place, 4) + rng.normal(0, spread, labels.ndim)
    return rng.uniform(0, labels.shape)


def _transform(
    shape: tuple[int, ...], middle: Array, zoom: float, rng: np.random.Generator, size: int, augment: bool
) -> torch.Tensor:
    """Return where in the plane a patch comes from, as `affine_grid` takes it."""
    angle = rng.uniform(0, 2 * np.pi) if augment and rng.random() < 0.5 else np.pi / 2 * rng.integers(4)
    stretch = np.exp(augment * rng.normal(0, 0.06))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    shear = augment * rng.normal(0, 0.05)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[stretch, shear], [0, flip / stretch]]) / zoom
    h, w = shape
    reach = [min(n / 2, size / 2 / zoom) for n in (h, w)]  # keep the patch inside where it fits
    y, x = (float(np.clip(m, r, n - r)) for m, r, n in zip(middle, reach, (h, w), strict=True))
    theta = np.array(
        [[matrix[1, 1] * size / w, matrix[1, 0] * size / w, 2 * x / w - 1],
         [matrix[0, 1] * size / h, matrix[0, 0] * size / h, 2 * y / h - 1]], np.float32,
    )  # fmt: skip
    return torch.from_numpy(theta)[None]


def _sample(plane: torch.Tensor, theta: torch.Tensor, size: int, mode: str) -> torch.Tensor:
    grid = functional.affine_grid(theta, [1, 1, size, size], align_corners=False)
    return functional.grid_sample(plane, grid, mode=mode, padding_mode="reflection", align_corners=False)


def shared(sources: Sequence[Source], phantoms: Sequence[Source], share: float) -> list[Source]:
    """Return both kinds in one list, weighted so that this share (0..1) of the patches comes from phantoms."""
    if not phantoms or not sources:
        return [*sources, *phantoms]
    if not 0 < share < 1:
        raise InputError(f"The share of phantoms lies between 0 and 1, got {share}.")
    each = sum(s.weight for s in sources if s.used[1] > s.used[0]) * share / (1 - share) / len(phantoms)
    return [*sources, *(dataclasses.replace(p, weight=each) for p in phantoms)]


# --------------------------------------------------------------------------------------------------------- disturbances


def disturb(image: Array, rng: np.random.Generator) -> Array:
    """Return a patch as another microscope, stain or section might have shown it.

    Parameters
    ----------
    image : ([d,] h, w) float array
        Grey values of a square or a block, black at 0 and white at 1.
    rng : Generator
        Source of all randomness.

    Returns
    -------
    float32 array of the same shape
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
        y = y + _shade(y.shape[-2:], rng)
    if rng.random() < 0.5:
        grain = rng.standard_normal(y.shape, dtype=np.float32)
        if rng.random() < 0.4:
            grain = ndimage.gaussian_filter(grain, 0.8) * 2.5
        y = y + grain * np.float32(rng.uniform(0.01, 0.15))
    if rng.random() < 0.1:
        section = y if y.ndim == 2 else y[rng.integers(len(y))]
        lost = y.ndim == 3 and rng.random() < 0.25
        section[...] = rng.uniform(0, 1) if lost else _defect(section, rng)
    return y.astype(np.float32)


def shift_sections(image: Array, ids: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Move one section of a block, or all from one on, sideways with what is on it, as where a stack is not aligned.

    Parameters
    ----------
    image : (d, h, w) float array
    ids : (d, h, w) int array
        Instance ids.
    rng : Generator
        Source of all randomness.

    Returns
    -------
    image, ids
        Of the same shapes; ids are `IGNORED` where nothing is left.
    """
    z, by = int(rng.integers(1, len(image))), (0, *rng.integers(-8, 9, 2))
    moved = slice(z, z + 1 if rng.random() < 0.5 else None)
    image, ids = image.copy(), ids.copy()
    image[moved] = ndimage.shift(image[moved], by, order=0, mode="nearest")
    ids[moved] = ndimage.shift(ids[moved], by, order=0, cval=IGNORED)
    return image, ids


def add_sheaths(image: Array, ids: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Lay a drawn band of myelin, dark and in layers, across a square; nothing in it is a mitochondrion.

    Parameters
    ----------
    image : (h, w) float array
        Grey values, black at 0 and white at 1.
    ids : (h, w) int array
        Instance ids.
    rng : Generator
        Source of all randomness.

    Returns
    -------
    image, ids
        Of the same shapes.
    """
    h, w = image.shape
    bend = rng.uniform(40, 200)
    coarse = rng.standard_normal((int(h / bend) + 4, int(w / bend) + 4))
    smooth = functional.interpolate(torch.from_numpy(coarse)[None, None], scale_factor=bend, mode="bicubic")
    field = smooth[0, 0].numpy()[int(bend) :, int(bend) :][:h, :w]
    steep = np.hypot(*np.gradient(field))
    distance = (field - rng.normal(0, 0.4)) / np.maximum(steep, 0.4 * np.median(steep))  # in pixels, nearly
    half, layer = 3 * 20 ** rng.random(), rng.uniform(2.5, 8)
    inside = np.clip(half + 0.5 - np.abs(distance), 0, 1)
    dark, deep = rng.uniform(0.02, 0.35), rng.uniform(0, 0.15)
    lamellae = dark + deep * np.sin(2 * np.pi * distance / layer) + rng.normal(0, 0.03, (h, w))
    return (image * (1 - inside) + inside * lamellae).astype(np.float32), np.where(inside > 0.5, 0, ids)


def _shade(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Return a slow change of brightness across the patch."""
    v, u = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij")
    a, b, c = rng.normal(0, 0.12, 3)
    return np.asarray(a * u + b * v + c * u * v, np.float32)


def _defect(y: Array, rng: np.random.Generator) -> Array:
    """Draw a dark fold, a lost stripe, a speck of dirt, marks of the knife or charging across a section."""
    h, w = y.shape
    v, u = np.mgrid[:h, :w].astype(np.float32)
    angle, wide = rng.uniform(0, np.pi), rng.uniform(2, 12)
    along = (v - rng.uniform(0, h)) * np.cos(angle) + (u - rng.uniform(0, w)) * np.sin(angle)
    kind = rng.random()
    if kind < 0.25:  # a knife with notches scratches in one direction
        places, thin = rng.uniform(along.min(), along.max(), 6), rng.uniform(0.7, 2, 6)
        scratches = np.exp(-(((along[..., None] - places) / thin) ** 2)).max(-1)
        return np.asarray(y + rng.choice([-0.4, 0.4]) * scratches, np.float32)
    if kind < 0.5:  # what charges glows, and rows that the beam scans there are too bright or too dark
        glow = np.exp(-np.hypot(v - rng.uniform(0, h), u - rng.uniform(0, w)) / rng.uniform(10, 60))
        rows = ndimage.gaussian_filter1d(rng.standard_normal((h, 1)), rng.uniform(0.5, 3), axis=0)
        return np.asarray(y + rng.uniform(0.1, 0.5) * (glow + rows), np.float32)
    if kind < 0.65:
        along = np.hypot(v - rng.uniform(0, h), u - rng.uniform(0, w)) - wide
    mask = np.exp(-((along / wide) ** 2))
    return np.asarray(y * (1 - mask) + mask * rng.choice([0.0, 0.1, 0.9, 1.0]), np.float32)
