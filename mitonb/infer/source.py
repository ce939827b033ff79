"""The source of maps: planes of a stack through the net, into kept maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mitonb.errors import InputError
from mitonb.infer.kept import IN_MEMORY, KeptMaps, plane_shape
from mitonb.infer.run import WRITE_PLANES
from mitonb.io.record import fingerprint
from mitonb.maps import Maps
from mitonb.recipe import Recipe
from mitonb.stack import AXES, Axis, Stack

if TYPE_CHECKING:
    from collections.abc import Generator

    from mitonb.infer.plane import Predictor

__all__ = ["NET_FIELDS", "Source", "estimate", "near", "shape_notes"]

NET_FIELDS = ("downsampling", "tile", "halo", "flips", "device", "precision")
"""Fields of a recipe that change what the net says."""
_NET_BYTES_PER_PIXEL = 200
"""Activations of the bundled net at their peak: 192 to 199 measured at 512 and 1024 pixels."""
_KEPT_BYTES_PER_VOXEL = 1.4
"""uint8 semantic map, float16 center and offsets at a quarter of the resolution."""
_READ_ALL = 1 << 30  # bytes


def estimate(stack: Stack, recipe: Recipe | None = None, *, keep: bool = False) -> int:
    """Return the memory in bytes that segmenting a stack takes at its peak, beyond what is in use before.

    With `keep`, the maps that stay in memory for decoding again are counted too.
    """
    recipe = recipe or Recipe()
    voxels = int(np.prod(stack.shape, dtype=np.int64))
    volumes = 4 * voxels * len(recipe.planes)
    image = voxels * stack.dtype.itemsize if _reads_all(stack, recipe) else 0
    areas = [int(np.prod(plane_shape(stack.shape, axis), dtype=np.int64)) for axis in recipe.planes]
    seen = max(areas) // recipe.downsampling**2
    side = recipe.tile
    pixels = min(seen, recipe.batch * side * side) if side else seen
    planes = max(areas) * (40 + 3 * (recipe.median + 1) + 4 * WRITE_PLANES)
    kept = len(recipe.planes) * min(IN_MEMORY, int(_KEPT_BYTES_PER_VOXEL * voxels)) if keep else 0
    return volumes + image + _NET_BYTES_PER_PIXEL * pixels + planes + kept


class Source:
    """Fills kept maps from a stack, plane by plane."""

    def __init__(self, stack: Stack, predictor: Predictor, kept: KeptMaps | None) -> None:
        self.stack = stack
        self.predictor = predictor
        self.kept = kept if kept is not None else KeptMaps(stack.shape, "memory")
        self.kept.claim(stack.shape, _key(stack, predictor))
        self._empty: list[str] = []
        self._seen = 0

    def fill(self, axis: Axis, index: int) -> Generator[None, None, None]:
        self._seen += 1
        if self.kept.has(axis, index):
            return
        plane = self.stack.plane(index, axis)
        if plane.image.dtype.kind == "f" and not np.isfinite(plane.image).any():
            # A missing section must not end a run of hours: it has no objects, and the record says so.
            self._empty.append(f"{axis} {index}")
            self.kept.put(axis, index, _empty_maps(plane.shape, self.predictor))
            return
        steps = self.predictor.steps(plane)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                self.kept.put(axis, index, end.value)
                return
            yield

    def require_some(self) -> None:
        """Refuse a stack in which no plane holds a number."""
        if self._empty and len(self._empty) == self._seen:
            voxels = int(np.prod(self.stack.shape, dtype=np.int64))
            raise InputError(
                f"All {voxels} voxels of {self.stack.name} are NaN or infinite: there is no picture to segment. Check "
                "how the file was written."
            )

    @property
    def notes(self) -> tuple[str, ...]:
        if not self._empty:
            return ()
        some = ", ".join(self._empty[:5]) + (" and others" if len(self._empty) > 5 else "")
        return (f"{len(self._empty)} planes hold no number at all (NaN) and were left empty: {some}.",)


def _empty_maps(shape: tuple[int, int], predictor: Predictor) -> Maps:
    step = predictor.step
    h, w = (-(-n // step) for n in shape)
    semantic = np.zeros((len(predictor.model.spec.classes), *shape), np.uint8)
    return Maps(semantic, np.zeros((h, w), np.float16), np.zeros((2, h, w), np.float16), step)


def _key(stack: Stack, predictor: Predictor) -> tuple[Any, ...]:
    """Return what maps depend on."""
    recipe = predictor.recipe
    net = (predictor.model.spec.name, predictor.model.spec.sha256, *(getattr(recipe, f) for f in NET_FIELDS))
    # By its voxels: arrays in memory all have one name and no source.
    return (*net, fingerprint(stack), stack.intensity, stack.contrast)


def _reads_all(stack: Stack, recipe: Recipe) -> bool:
    """Whether to read the stack once: crossing planes touch every chunk of a file again and again."""
    size = int(np.prod(stack.shape, dtype=np.int64)) * stack.dtype.itemsize
    return not isinstance(stack.data, np.ndarray) and recipe.planes != ("xy",) and size <= _READ_ALL


def near(stack: Stack, recipe: Recipe) -> Stack:
    """Return the stack, in memory where that saves reading it again and again."""
    if not _reads_all(stack, recipe):
        return stack
    read = Stack(stack.read(), stack.voxel_size, stack.name, stack.source, stack.intensity, stack.notes)
    read.__dict__["contrast"] = stack.contrast  # a cached property; the same voxels, read once
    return read


def shape_notes(stack: Stack, recipe: Recipe) -> tuple[str, ...]:
    """Say what the user should know about this choice of directions."""
    if recipe.planes == ("xy",) or stack.voxel_size is None:
        return ()
    notes = []
    for axis in recipe.planes:
        row, column = (v for i, v in enumerate(stack.voxel_size) if i != AXES[axis])
        ratio = max(row, column) / min(row, column)
        if ratio > 2:
            notes.append(
                f"Pixels of the {axis} planes are {row:g} x {column:g} nm, {ratio:.1f} times longer than wide; the net "
                "knows square ones. Directions help on nearly isotropic stacks; here xy alone may do better."
            )
    return tuple(notes)
