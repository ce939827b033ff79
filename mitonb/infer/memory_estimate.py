"""Needs: how much memory a run will take at its peak, said or refused before it starts."""

from __future__ import annotations

import importlib.util
import math
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mitonb.infer.kept import IN_MEMORY, plane_shape
from mitonb.infer.run import thickness
from mitonb.infer.scale import Scale
from mitonb.io.arrays import CACHE_BYTES
from mitonb.memory import require
from mitonb.recipe import Recipe
from mitonb.stack import Stack

__all__ = ["READ_ALL", "SLAB", "estimate", "require_for_decoding", "require_for_segmenting"]

READ_ALL, SLAB = 1 << 30, 64 << 20
"""Bytes of a file that are read at once, where planes cross it, and of a slab of one that is larger."""

_NETS: dict[str, tuple[int, int]] = {
    "panoptic_unet": (215, 0),
    "panoptic_bifpn": (480, 110 << 20),
    "panoptic_deeplab": (500, 220 << 20),
    "contour_deeplab": (500, 220 << 20),
}
"""Of each architecture: bytes per pixel that its activations take at their peak (measured at 512), and its weights."""
_REUSED = {"torch": 0.92, "openvino": 0.86}
"""Share of these bytes that an engine takes: OpenVINO knows beforehand which buffers it can use again, and blocks by
Winograd's method need few."""
_LARGEST_NET = _NETS["panoptic_deeplab"]
_SMALL_FILE = 50 << 20
_LIBRARIES = {"torch": 350_000_000, "openvino": 480_000_000}
"""What loading torch, numba and the compiled loops takes, in a process that has not done so; and OpenVINO, where it is
installed."""
_RUN = {"torch": 32_000_000, "openvino": 44_000_000}
"""What any run takes: its model, its buffers, and what the allocator does not give back."""
_KEPT_BYTES = 1, 6
"""uint8 semantic map of a class at full resolution, float16 center and offsets at that of the net's head."""
_HEAD_STEP = 4
_RUN_BYTES_PER_VOXEL = 0.15
"""Runs of one direction, where a fifth of the voxels are foreground: more than stacks have, less than noise."""
_BLOCK_BYTES, _BYTES_PER_VOXEL = 1_500_000_000, 48
"""Of a 3-D net: a block in it; and picture, sums of blocks, maps, ids and what decoding takes of the whole volume."""
_PLANE_BYTES_PER_PIXEL = 50
"""Maps, ids and masks of the plane at work."""
_MEDIAN_BYTES_PER_PIXEL = 10
"""Maps of each further plane that a median looks at, and what sorting them takes."""


def estimate(
    stack: Stack | npt.NDArray[Any],
    recipe: Recipe | None = None,
    *,
    model: Any = None,
    keep: bool = False,
    stored: bool = False,
) -> int:
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
    per_pixel, weights = _net(model, recipe)
    factor = _factor(stack, recipe, model)
    seen = int(max(_areas(stack.shape, recipe, _padding(model, recipe))) / factor**2)
    side = recipe.tile
    engine = "torch" if importlib.util.find_spec("openvino") is None else "openvino"
    net = weights + int(_REUSED[engine] * per_pixel) * (min(seen, recipe.batch * side * side) if side else seen)
    spec = getattr(model, "spec", None)
    classes = len(getattr(spec, "classes", "1"))  # of a model that is not loaded: one
    if getattr(spec, "dimension", 2) == 3:
        return _LIBRARIES[engine] + _RUN[engine] + weights + _BLOCK_BYTES + _BYTES_PER_VOXEL * _voxels(stack.shape)
    per_voxel = classes * _KEPT_BYTES[0] + _KEPT_BYTES[1] / (_HEAD_STEP * factor) ** 2
    kept = int(per_voxel * _voxels(stack.shape))
    maps = len(recipe.planes) * (kept if kept <= IN_MEMORY else 0) if keep else 0
    file, ahead = _reading(stack, recipe, stored)
    planes, objects = _stages(stack.shape, recipe, stored)
    libraries = 0 if "torch" in sys.modules else _LIBRARIES[engine]
    return libraries + _RUN[engine] + file + maps + max(net + ahead + planes, weights + objects)


def _factor(stack: Stack, recipe: Recipe, model: Any) -> float:
    """Return by how much planes are shrunk before the net sees them, at least."""
    from mitonb.models.spec import specs

    spec = getattr(model, "spec", None) or specs().get(recipe.model)
    scale = Scale.of(stack.voxel_size, recipe, spec)
    return min(math.sqrt(math.prod(scale.along(axis))) for axis in recipe.planes)


def _reading(stack: Stack, recipe: Recipe, stored: bool) -> tuple[int, int]:
    """Return the memory that the reader of a file keeps, and that of what is read at once until planes are done."""
    if isinstance(stack.data, np.ndarray):
        return 0, 0
    size = _voxels(stack.shape) * stack.dtype.itemsize
    if recipe.planes == ("xy",):
        return min(CACHE_BYTES, size), size // stack.shape[0]
    return min(CACHE_BYTES, size), size if size <= READ_ALL and not stored else min(size, 2 * SLAB)


def require_for_segmenting(stack: Stack, recipe: Recipe, *, model: Any, keep: bool, stored: bool) -> None:
    """Refuse a run that would not fit into memory; see `estimate`.

    Raises
    ------
    TooLargeError
        Saying what it needs, what there is, and what to do.
    """
    shape = " x ".join(map(str, stack.shape))
    what = f"Segmenting {stack.name} ({shape} voxels, {len(recipe.planes)} directions)"
    _require(estimate(stack, recipe, model=model, keep=keep, stored=stored), what, stored)


def require_for_decoding(shape: tuple[int, int, int], recipe: Recipe, *, stored: bool) -> None:
    """Refuse to make labels of maps where that would not fit into memory.

    Raises
    ------
    TooLargeError
        Saying what it needs, what there is, and what to do.
    """
    _require(max(_stages(shape, recipe, stored)), "Decoding kept maps", stored)


def _require(needed: int, what: str, stored: bool) -> None:
    if stored:
        require(needed, what, "Take a smaller tile or batch, or cut out a part of the stack.")
    else:
        require(
            needed, what,
            "Write the labels to a store (out='labels.ome.zarr'), cut out a part of the stack, or take a smaller tile.",
        )  # fmt: skip


def _stages(shape: tuple[int, int, int], recipe: Recipe, stored: bool) -> tuple[int, int]:
    """Return the peaks of decoding planes, and of making objects and writing labels."""
    voxels = _voxels(shape)
    runs = 0 if stored else int(_RUN_BYTES_PER_VOXEL * voxels * len(recipe.planes))
    planes = max(_areas(shape, recipe)) * (_PLANE_BYTES_PER_PIXEL + _MEDIAN_BYTES_PER_PIXEL * (recipe.median - 1))
    slab = 4 * thickness(shape) * shape[1] * shape[2]
    return planes + runs, 2 * runs + (3 * slab if stored else 4 * voxels)


def _net(model: Any, recipe: Recipe) -> tuple[int, int]:
    """Return bytes per pixel and of the weights of a model that need not be loaded."""
    from mitonb.models.spec import specs

    name = os.fspath(model) if isinstance(model, str | os.PathLike) else recipe.model
    spec = getattr(model, "spec", None) or specs().get(name)
    if spec is None and os.path.isfile(name):  # of a file only the size is looked at
        size = Path(name).stat().st_size
        return (_NETS["panoptic_unet"][0] if size < _SMALL_FILE else _LARGEST_NET[0]), 2 * size
    return _NETS.get(getattr(spec, "architecture", ""), _LARGEST_NET)


def _padding(model: Any, recipe: Recipe) -> int:
    """Return the multiple of plane pixels that the published rules pad to, where the model is known."""
    spec = getattr(model, "spec", None)
    return spec.makers_multiple * recipe.downsampling if spec is not None and recipe.rules == "published" else 1


def _areas(shape: tuple[int, int, int], recipe: Recipe, multiple: int = 1) -> list[int]:
    return [math.prod(-(-n // multiple) * multiple for n in plane_shape(shape, axis)) for axis in recipe.planes]


def _voxels(shape: tuple[int, int, int]) -> int:
    return int(np.prod(shape, dtype=np.int64))
