"""Needs: how much memory a run will take at its peak, before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mitonb.infer.kept import IN_MEMORY, plane_shape
from mitonb.infer.reading import reading_bytes
from mitonb.infer.run import thickness
from mitonb.recipe import Recipe

if TYPE_CHECKING:
    from mitonb.stack import Stack

__all__ = ["decoding_bytes", "estimate"]

_NET_BYTES_PER_PIXEL = 200
"""Activations of the bundled net at their peak: 192 to 199 measured at 512 and 1024 pixels."""
_KEPT_BYTES_PER_VOXEL = 1.4
"""uint8 semantic map, float16 center and offsets at a quarter of the resolution."""
_RUN_BYTES_PER_VOXEL = 0.25
"""Runs of one direction, where a fifth of the voxels are foreground: more than stacks have, less than noise."""
_PLANE_BYTES_PER_PIXEL = 40
"""Maps, ids and masks of the plane at work."""


def estimate(stack: Stack, recipe: Recipe | None = None, *, keep: bool = False, stored: bool = False) -> int:
    """Return the memory in bytes that segmenting a stack takes at its peak, beyond what is in use before.

    Parameters
    ----------
    stack : Stack
        What is segmented.
    recipe : Recipe, optional
        How.
    keep : bool
        Count the maps that stay in memory for decoding again.
    stored : bool
        The labels go to a store on disk.
    """
    recipe = Recipe.of(recipe)
    seen = max(_areas(stack.shape, recipe)) // recipe.downsampling**2
    side = recipe.tile
    pixels = min(seen, recipe.batch * side * side) if side else seen
    net = _NET_BYTES_PER_PIXEL * pixels
    voxels = int(np.prod(stack.shape, dtype=np.int64))
    kept = int(_KEPT_BYTES_PER_VOXEL * voxels)
    maps = len(recipe.planes) * (kept if kept <= IN_MEMORY else 0) if keep else 0
    return net + reading_bytes(stack, recipe, stored=stored) + decoding_bytes(stack.shape, recipe, stored=stored) + maps


def decoding_bytes(shape: tuple[int, int, int], recipe: Recipe, *, stored: bool = False) -> int:
    """Return the memory in bytes that making labels of maps takes at its peak."""
    voxels = int(np.prod(shape, dtype=np.int64))
    area = max(_areas(shape, recipe))
    held = 4 * (recipe.lookahead + recipe.gap + 2) if recipe.instances != "none" else 4
    planes = area * (_PLANE_BYTES_PER_PIXEL + 3 * (recipe.median + 1) + held)
    runs = 0 if stored else int(_RUN_BYTES_PER_VOXEL * voxels * len(recipe.planes))
    slab = 4 * thickness(shape) * shape[1] * shape[2]
    work = slab * (len(recipe.planes) + 1)
    return (0 if stored else 4 * voxels) + runs + max(planes, work)


def _areas(shape: tuple[int, int, int], recipe: Recipe) -> list[int]:
    return [int(np.prod(plane_shape(shape, axis), dtype=np.int64)) for axis in recipe.planes]
