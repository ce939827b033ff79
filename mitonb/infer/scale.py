"""Scale: bring a picture to the pixel size that a net knows, and lengths of a recipe to the pixels of the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mitonb.errors import InputError
from mitonb.stack import AXES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mitonb.recipe import Recipe
    from mitonb.stack import Axis, VoxelSize

_NEAR = 1.1
"""A pixel size that is off by less is as good as the one that is wanted: no picture gets better by being resampled."""
_FAR = 1.5
"""Pixels finer or coarser than those of the training by more than this are told; a net bears a little."""
_MOST = 4
"""Coarse pixels are divided into so many on a side at most: more would only be blur."""


@dataclass(frozen=True)
class Scale:
    """How a picture is brought to the net.

    Attributes
    ----------
    factors : tuple of float
        Voxels of the stack, along (z, y, x), per pixel of what the net sees; 1 is as it is, below 1 is enlarged.
    voxel_size : tuple of float or None
        (z, y, x) in nm.
    by_size : bool
        The factors come from the pixel size; then lengths of the recipe are pixels that the net sees.
    """

    factors: tuple[float, float, float] = (1.0, 1.0, 1.0)
    voxel_size: VoxelSize | None = None
    by_size: bool = False

    @classmethod
    def of(cls, voxel_size: VoxelSize | None, recipe: Recipe, spec: Any) -> Scale:
        """Return the scale of a run: by the recipe, and with "auto" by the model's card.

        Raises
        ------
        InputError
            If the recipe wants a pixel size and the voxel size is unknown.
        """
        if recipe.downsampling > 1:
            s = float(recipe.downsampling)
            return cls((s, s, s), voxel_size)
        wish = recipe.pixel_size
        known = (float(wish.split()[0]),) * 2 if wish.endswith("nm") else getattr(spec, "pixel_sizes", None)
        if wish.endswith("nm") and voxel_size is None:
            raise InputError(
                f"pixel_size is {wish}, and the voxel size of this image is unknown. Say it (voxel_size=), or choose "
                "downsampling instead."
            )
        if wish == "as is" or voxel_size is None or known is None:
            return cls(voxel_size=voxel_size)
        z, y, x = (_factor(v, *known) for v in voxel_size)
        whole = cls((z, y, x), voxel_size, by_size=True)
        return whole if getattr(spec, "dimension", 2) == 3 else whole.seen_along(recipe.planes)

    def seen_along(self, axes: Sequence[Axis]) -> Scale:
        """Return the scale of planes of some directions: a side that none of them shows stays as it is."""
        seen = {i for axis in axes for i in _sides(axis)}
        z, y, x = (f if i in seen or not self.by_size else 1.0 for i, f in enumerate(self.factors))
        return replace(self, factors=(z, y, x))

    def along(self, axis: Axis) -> tuple[float, float]:
        """Return the factors of (rows, columns) of the planes of a direction."""
        row, column = (self.factors[i] for i in _sides(axis))
        return row, column

    def in_pixels(self, recipe: Recipe) -> Recipe:
        """Return the recipe with all lengths in pixels of the stack."""
        return recipe.in_pixels(self.voxel_size, self.factors if self.by_size else (1.0, 1.0, 1.0))

    def notes(self, recipe: Recipe, spec: Any, axes: Sequence[Axis]) -> tuple[str, ...]:
        """Say what was resampled, and where pixels still are far from those that a model was trained on."""
        done = []
        if self.voxel_size is not None and self.by_size and self.factors != (1.0, 1.0, 1.0):
            before = " x ".join(f"{v:g}" for v in self.voxel_size)
            after = " x ".join(f"{v * f:.3g}" for v, f in zip(self.voxel_size, self.factors, strict=True))
            done.append(
                f"Voxels of {before} nm were resampled to {after} nm for the network, and labels brought back; "
                "lengths of the recipe in pixels are those of the resampled image. Pixel size 'as is' (pixel_size) "
                "leaves the voxels."
            )
        return (*done, *pixel_notes(self, recipe, spec, axes))


def _sides(axis: Axis) -> list[int]:
    return [i for i in range(3) if i != AXES[axis]]


def _factor(size: float, finest: float, coarsest: float) -> float:
    """Return by how much a pixel is to grow to lie in a range."""
    factor = max(min(max(size, finest), coarsest) / size, 1 / _MOST)
    return 1.0 if 1 / _NEAR < factor < _NEAR else factor


def pixel_notes(scale: Scale, recipe: Recipe, spec: Any, axes: Sequence[Axis]) -> tuple[str, ...]:
    """Say where pixels that the net sees are far from those that a model was trained on, and what to do."""
    trained = getattr(spec, "pixel_sizes", None)
    if scale.voxel_size is None or trained is None or recipe.pixel_size.endswith("nm"):
        return ()
    finest, coarsest = trained
    for axis in axes:
        row, column = (scale.voxel_size[i] for i in _sides(axis))
        own, seen = math.sqrt(row * column), math.sqrt(row * column * math.prod(scale.along(axis)))
        if seen >= finest / _FAR and max(own, seen) <= coarsest * _FAR:
            continue
        advice = "Leave downsampling at 1 and pixel_size at auto, which brings them to the nearest size that it knows."
        if own > coarsest:
            advice = (
                "These are too coarse for it: open a higher resolution of the image (series=), or choose or train a "
                "model for such pixels. If the voxel size is wrong, give the right one (voxel_size=)."
            )
        return (
            f"Pixels of the {axis} planes are {row:g} x {column:g} nm, {seen:.3g} nm as the network sees them; "
            f"{spec.name} was trained on {finest:g} to {coarsest:g} nm. On finer ones it misses what is large, and on "
            f"coarser ones what is small. {advice}",
        )
    return ()
