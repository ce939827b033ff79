"""Memory estimate: how much a run will take at its peak, said or refused before it starts."""

import importlib.util
import math
import os
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from mitonb.infer.kept import IN_MEMORY, plane_shape
from mitonb.infer.run import band_height, group_of, slab_thickness
from mitonb.infer.scale import Scale
from mitonb.io.arrays import CACHE_BYTES
from mitonb.memory import require
from mitonb.recipe import Recipe
from mitonb.stack import Stack

READ_ALL, SLAB = 1 << 30, 64 << 20
"""Bytes of a file that are read at once, where planes cross it, and of a slab of one that is larger."""

_NETS = {"unet": (215, 0), "panoptic_unet": (215, 0), "panoptic_bifpn": (480, 110 << 20)}
_LARGEST_NET, _SMALL_FILE = (500, 220 << 20), 50 << 20
"""Of architectures: bytes per pixel that activations take at their peak (measured at 512), and the weights. Of a file
that is not loaded, only the size says which it may be; what is unknown may be the largest."""
_ENGINES = {"torch": (0.92, 350_000_000, 32_000_000), "openvino": (0.86, 480_000_000, 44_000_000)}
"""Share of these bytes that an engine takes, which uses buffers again; what loading it, numba and the compiled loops
takes in a process that has not done so; and what any run takes for its buffers and what the allocator holds back."""
_COARSE_BYTES, _HEAD_STRIDE = 6, 4
"""float16 center and offsets, at the resolution of most heads."""
_SPILL_BYTES_PER_VOXEL = 0.15
"""Compressed ids of one direction, where a fifth of the voxels are foreground: more than most stacks have."""
_BLOCK_BYTES, _BYTES_PER_VOXEL = 1_500_000_000, 48
"""Of a 3-D net: a block in it; and picture, sums of blocks, maps, ids and what decoding takes of the whole volume."""
_PLANE_BYTES, _MEDIAN_BYTES = 50, 10
"""Per pixel: maps, ids and masks of the plane at work; and maps of each further plane that a median looks at."""

_STORED_SHARE = 0.9
"""Of the limit of memory, what a run into a store may take."""
_BOXES = 4
"""Boxes of a slab that numbering takes beside those of the directions."""


def estimate(
    stack: Stack | npt.NDArray[Any], recipe: Recipe | None = None, *, model: Any = None, keep: bool = False,
    stored: bool = False,
) -> int:  # fmt: skip
    """Return the memory in bytes that segmenting a stack takes at its peak, beyond what is in use before.

    Parameters
    ----------
    stack : Stack or (z, y, x) array
        What is segmented.
    recipe : Recipe, optional
        How.
    model : str, path or Model, optional
        With what; by default `recipe.model`.
    keep : bool
        Count the maps that stay in memory for decoding again.
    stored : bool
        The labels go to a store on disk.
    """
    recipe = Recipe.of(recipe)
    stack = stack if isinstance(stack, Stack) else Stack(stack)
    spec, per_pixel, weights = _net(model, recipe)
    share, libraries, buffers = _ENGINES["openvino" if importlib.util.find_spec("openvino") else "torch"]
    known = buffers + weights + (0 if "torch" in sys.modules else libraries)
    if getattr(spec, "dimension", 2) == 3:
        return known + _BLOCK_BYTES + _BYTES_PER_VOXEL * math.prod(stack.shape)
    scale = Scale.of(stack.voxel_size, recipe, spec)
    factor = min(math.sqrt(math.prod(scale.along(axis))) for axis in recipe.planes)
    multiple = spec.makers_multiple * recipe.downsampling if spec is not None and recipe.rules == "published" else 1
    padded = max(math.prod(-(-n // multiple) * multiple for n in plane) for plane in _planes(stack.shape, recipe))
    tiles = recipe.batch * recipe.tile**2 if recipe.tile else math.inf
    net = int(share * per_pixel * min(padded / factor**2, tiles))
    classes = len(spec.classes) if spec is not None else 1
    kept = int((classes + _COARSE_BYTES / (_HEAD_STRIDE * factor) ** 2) * math.prod(stack.shape))
    maps = len(recipe.planes) * kept if keep and kept <= IN_MEMORY else 0
    file, ahead = _reading(stack, recipe, stored)
    planes, objects = stages(stack.shape, recipe, stored)
    return known + file + maps + max(net + ahead + planes, objects)


def require_for(what: str, needed: int, *, stored: bool) -> None:
    """Refuse what would not fit into memory.

    Raises
    ------
    TooLargeError
        Saying what it needs, what there is, and what to do.
    """
    store = "" if stored else "write the labels to a store (out='labels.ome.zarr'), "
    advice = f"{store}cut out a part of the stack, or take a smaller tile or batch."
    # Should memory run out after all, a run into a store goes on where it was.
    require(needed, what, advice[0].upper() + advice[1:], share=_STORED_SHARE if stored else 0.5)


def _net(model: Any, recipe: Recipe) -> tuple[Any, int, int]:
    """Return the card, bytes per pixel and weights of a model, which need not be loaded."""
    from mitonb.models.spec import specs

    name = os.fspath(model) if isinstance(model, str | os.PathLike) else recipe.model
    spec = getattr(model, "spec", None) or specs().get(name)
    if spec is None and os.path.isfile(name):
        size = os.path.getsize(name)
        return None, (_NETS["panoptic_unet"] if size < _SMALL_FILE else _LARGEST_NET)[0], 2 * size
    return spec, *_NETS.get(getattr(spec, "architecture", ""), _LARGEST_NET)


def _reading(stack: Stack, recipe: Recipe, stored: bool) -> tuple[int, int]:
    """Return the memory that the reader of a file keeps, and that of what is read at once until planes are done."""
    if isinstance(stack.data, np.ndarray):
        return 0, 0
    size = math.prod(stack.shape) * stack.dtype.itemsize
    if recipe.planes == ("xy",):
        return min(CACHE_BYTES, size), size // stack.shape[0]
    return min(CACHE_BYTES, size), size if size <= READ_ALL and not stored else min(size, 2 * SLAB)


def stages(shape: tuple[int, int, int], recipe: Recipe, stored: bool) -> tuple[int, int]:
    """Return the peaks of decoding planes, and of making objects and writing labels."""
    voxels, directions = math.prod(shape), len(recipe.planes)
    spilled = 0 if stored else int(_SPILL_BYTES_PER_VOXEL * voxels * directions)
    group = max(group_of(shape, axis) for axis in recipe.planes)
    tracking = 4 * recipe.lookahead + 4 * recipe.gap
    pixel = _PLANE_BYTES + _MEDIAN_BYTES * (recipe.median - 1) + 4 * group + (0 if stored else tracking)
    thick, plane = slab_thickness(shape), max(map(math.prod, _planes(shape, recipe)))
    slab, box = (4 * thick * rows * shape[2] for rows in (shape[1], band_height(shape)))
    # A slab of a store is read whole, named and written; planes of a job are tracked when all are there.
    later = max(2 * slab, plane * (tracking + 12 * group)) if stored else 0
    objects = max((directions + _BOXES) * box, slab + (directions + 1) * box, later)
    return plane * pixel + spilled, spilled + objects + (0 if stored else 4 * voxels)


def _planes(shape: tuple[int, int, int], recipe: Recipe) -> list[tuple[int, int]]:
    return [plane_shape(shape, axis) for axis in recipe.planes]
