"""Drawing: what is asked for becomes a scene, its picture, and what a microscope would show of it."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from mitonb.errors import InputError
from mitonb.labels import Labels
from mitonb.memory import require
from mitonb.phantoms.greys import paint
from mitonb.phantoms.scene import Scene
from mitonb.phantoms.shapes import Cristae, Field, Grid, Plan, cell_count
from mitonb.stack import Stack

__all__ = ["Cristae", "Phantom", "phantom"]

Number = TypeVar("Number", bound=np.generic)
_CRUMB = 50  # voxels; a smaller piece is no object of its own


class Phantom(NamedTuple):
    """A drawn volume and its truth: `stack, labels = phantom()`."""

    stack: Stack
    labels: Labels


def phantom(
    shape: tuple[int, int, int] = (64, 256, 256),
    seed: int = 0,
    *,
    voxel_size: tuple[float, float, float] = (8.0, 8.0, 8.0),
    objects: int | None = None,
    touching: float = 0.4,
    branching: float = 0.2,
    diameter: tuple[float, float] = (200.0, 420.0),
    cristae: Cristae = "mixed",
    distractors: float = 1.0,
    noise: float = 1.0,
    drift: float = 0.5,
    flicker: float = 1.0,
    contrast: float = 1.0,
) -> Phantom:
    """Draw a volume of neuropil as an electron microscope might show it, with exact instance truth.

    Cells with membranes and granular cytoplasm, vesicles, synapses, tubules, myelin and dark bodies around
    mitochondria that bend, branch and touch. Every instance is one piece (its voxels hang together by faces)
    and touching mitochondria keep their own ids. The same arguments give the same volume.

    Parameters
    ----------
    shape : tuple of int
        (z, y, x) in voxels.
    seed : int
        Another seed draws another volume.
    voxel_size : tuple of float
        (z, y, x) in nm. Everything is drawn in nm: smaller voxels show the same things larger, and
        z steps above 30 nm give the smeared membranes of thick sections.
    objects : int, optional
        How many mitochondria to lay; by default as many as neuropil has in this volume. Fewer are laid
        where no room is left.
    touching : float
        Share of the mitochondria that are laid against another one, 0..1.
    branching : float
        Share of the mitochondria that branch, 0..1.
    diameter : tuple of float
        Range of the diameters in nm.
    cristae : {"mixed", "dark", "light"}
        Whether the folds inside are darker or lighter than what lies between them; "mixed" draws both kinds.
    distractors : float
        Amount of myelin and dark bodies, 0 for none.
    noise : float
        Strength of the grain; 1 is a usual microscope.
    drift : float
        How far sections jump against each other, in pixels (deviation).
    flicker : float
        How much brightness and contrast change from section to section; 1 is usual.
    contrast : float
        1 uses most of 0..255; 0.4 is a flat picture; negative values swap dark and light.

    Returns
    -------
    Phantom
        (stack, labels): uint8 `Stack` and uint32 `Labels` with ids 1..n.

    Raises
    ------
    InputError
        If an option is outside its range.
    TooLargeError
        If drawing it would not fit into memory: about 50 bytes per voxel, more for flat and wide volumes.

    Examples
    --------
    >>> stack, labels = phantom((8, 64, 64), seed=3)
    >>> stack.shape == labels.shape
    True
    """
    _check(shape, voxel_size, touching=touching, branching=branching)
    if objects is None:
        objects = max(1, round(float(np.prod(shape) * np.prod(voxel_size)) / 1.7e8))
    plan = Plan(objects, touching, branching, diameter, cristae, distractors)
    rng = np.random.default_rng(seed)
    jumps = _jumps(rng, shape[0], drift)
    reach = np.abs(jumps).max(axis=0)
    # A thick section shows the mean of what lies in it, and is labelled by its middle.
    layers = max(1, min(4, round(voxel_size[0] / 15))) if voxel_size[0] > 2.5 * min(voxel_size) else 1
    size = shape[0] * layers, shape[1] + 2 * int(reach[0]), shape[2] + 2 * int(reach[1])
    grid = Grid(size, (voxel_size[0] / layers, *voxel_size[1:]))
    _fits(grid)
    picture, ids = paint(Scene(grid, plan, rng))
    picture = picture.reshape(shape[0], layers, *size[1:]).mean(axis=1) if layers > 1 else picture
    picture, ids = (_displaced(v, jumps, shape) for v in (picture, ids[layers // 2 :: layers]))
    grey = _exposed(picture, rng, noise=noise, flicker=flicker, contrast=contrast)
    name = f"phantom {seed}"
    stack = Stack(grey, voxel_size, name=name, notes=("Drawn, not measured.",))
    return Phantom(stack, Labels(_pieces(ids), voxel_size, name=f"{name} truth"))


def _check(shape: tuple[int, ...], voxel_size: tuple[float, ...], **shares: float) -> None:
    """Refuse what cannot be drawn."""
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(f"A phantom needs a shape (z, y, x) of at least one voxel each, got {shape}.")
    if len(voxel_size) != 3 or not all(np.isfinite(v) and 1 <= v <= 200 for v in voxel_size):
        raise InputError(f"A phantom needs voxel sizes (z, y, x) of 1 to 200 nm, got {voxel_size}.")
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise InputError(f"{name} is a share from 0 to 1, got {share}.")


def _fits(grid: Grid) -> None:
    """Refuse a volume that memory would not hold while it is drawn."""
    # Fields of the voxels, and one coarse field for each cell: measured, and rounded up.
    needed = 46 * int(np.prod(grid.shape)) + 4 * cell_count(grid) * int(np.prod(grid.counts))
    shape = " x ".join(map(str, grid.shape))
    require(
        needed, f"Drawing {shape} voxels", "Draw a smaller volume, or the same place in larger voxels (voxel_size)."
    )


def _jumps(rng: np.random.Generator, count: int, amount: float) -> npt.NDArray[np.int64]:
    """Return whole-pixel (y, x) jumps of each section, (count, 2): a walk that is pulled back to 0."""
    steps = amount * rng.standard_normal((count, 2))
    out = np.zeros((count, 2))
    for i in range(1, count):
        out[i] = 0.75 * out[i - 1] + steps[i]
    return np.rint(out).astype(np.int64)


def _displaced(
    volume: npt.NDArray[Number], jumps: npt.NDArray[np.int64], shape: tuple[int, int, int]
) -> npt.NDArray[Number]:
    """Cut the sections out of a larger volume, each displaced by its jump."""
    reach = np.abs(jumps).max(axis=0)
    out = np.empty(shape, volume.dtype)
    for z, (y, x) in enumerate(reach + jumps):
        out[z] = volume[z, y : y + shape[1], x : x + shape[2]]
    return out


def _pieces(ids: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Number 1..n the pieces whose voxels hang together by faces; drop crumbs that the jumps cut off."""
    out = np.zeros_like(ids)
    count = 0
    for k, at in enumerate(ndi.find_objects(ids.astype(np.int32)), start=1):
        if at is None:
            continue
        pieces, found = ndi.label(ids[at] == k)
        sizes = np.bincount(pieces.ravel())[1:]
        for n in range(found):
            if sizes[n] >= _CRUMB or found == 1:
                count += 1
                out[at][pieces == n + 1] = count
    return out


def _exposed(
    picture: Field, rng: np.random.Generator, *, noise: float, flicker: float, contrast: float
) -> npt.NDArray[np.uint8]:
    """Turn the clean picture into what a detector writes: blur, uneven sections, grain, 8 bits."""
    count, h, w = picture.shape
    sharp = 0.55 + 0.5 * rng.random()
    scale = 250 * contrast * (0.85 + 0.25 * rng.random())
    grainy = 8 * noise * (0.6 + 0.6 * rng.random()) * min(abs(contrast), 1)
    middle = 128 + 10 * rng.standard_normal()
    blurred = ndi.gaussian_filter(picture, (0, sharp, sharp), truncate=3)
    gain = 1 + 0.03 * flicker * rng.standard_normal((count, 1, 1))
    bias = 3.5 * flicker * rng.standard_normal((count, 1, 1))
    tilt = 6 * flicker * rng.standard_normal(2)
    slope = np.linspace(-1, 1, h)[:, None] * tilt[0] + np.linspace(-1, 1, w) * tilt[1]
    out = np.empty(picture.shape, np.uint8)
    for z in range(count):
        grain = rng.standard_normal((h, w), dtype=np.float32)
        grain = 0.6 * grain + 0.9 * ndi.gaussian_filter(grain, 0.6, mode="wrap")
        grey = middle + (blurred[z] - 0.6) * (scale * gain[z]) + bias[z] + slope + grainy * grain
        out[z] = np.clip(np.rint(grey), 0, 255)
    return out
