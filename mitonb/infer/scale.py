"""Scale: bring a picture to the pixel size that a net knows, and lengths of a recipe to the pixels of the picture.

And what a run tells when its image is unlike those that the model was trained on, or its shape does not suit.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mitonb.errors import InputError
from mitonb.infer.kept import plane_shape
from mitonb.maps import Maps
from mitonb.recipe import Recipe
from mitonb.stack import AXES, Axis, Plane, Stack, VoxelSize

_NEAR = 1.1
"""A pixel size that is off by less is as good as the one that is wanted: no picture gets better by being resampled."""
_FAR = 1.5
"""Pixels finer or coarser than those of the training by more than this are told; a net bears a little."""
_MOST = 4
"""Coarse pixels are divided into so many on a side at most: more would only be blur."""
INVERTED = "The image looks inverted to the network"
"""How that note begins."""

_LEAST_SIDE = 16
"""Pixels on the short side of what the net sees, below which objects are hardly found."""
_SIDE = 512
"""Pixels on a side of what the net looks at once more, turned round."""
_LIKELY, _SURE = 128, 230
"""Of 255: what counts as a mitochondrion at all, and as a sure one."""
_SURE_SHARE, _GAIN = 0.55, 1.3
_FILLED, _FLOODED = (0.01, 0.225), 0.4
"""Share of a plane that mitochondria fill, and one that they do not. These five numbers were chosen so that none of 102
planes of real and drawn EM of usual contrast is told of, and of their inverses as many as then can be."""


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
    def of(cls, voxel_size: VoxelSize | None, recipe: Recipe, spec: Any) -> "Scale":
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
            raise InputError(f"pixel_size is {wish}, and the voxel size of this image is unknown. Say voxel_size=.")
        if wish == "as is" or voxel_size is None or known is None:
            return cls(voxel_size=voxel_size)
        z, y, x = (_factor(v, *known) for v in voxel_size)
        whole = cls((z, y, x), voxel_size, by_size=True)
        return whole if getattr(spec, "dimension", 2) == 3 else whole.seen_along(recipe.planes)

    def seen_along(self, axes: Sequence[Axis]) -> "Scale":
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


def inverted_note(
    plane: Plane, maps: Maps, recipe: Recipe, say: Callable[[Plane], Maps], middle: tuple[int, int] | None = None
) -> str:
    """Say that an image looks inverted to the net, or nothing.

    The net looks at a square of the plane once more with its grey values turned round. It is told only where the net is
    then sure of most of what it takes for mitochondria, clearly surer than before, and where that is not too much; or
    where it took most of the plane for mitochondria before, and does not then.

    Parameters
    ----------
    plane : Plane
        A plane with the contrast of its stack.
    maps : Maps
        What the net said about it, with this recipe.
    recipe : Recipe
        Its invert is read.
    say : callable
        Runs the net on a plane.
    middle : tuple of int, optional
        (y, x) of the middle of the square; by default that of the plane.
    """
    side = _SIDE * max(1, maps.output_stride // 4)
    starts = [
        max(0, min((n // 2 if middle is None else middle[i]) - side // 2, n - side)) for i, n in enumerate(plane.shape)
    ]
    square = tuple(slice(start, start + side) for start in starts)
    before, flooded = _found(maps.semantic[(slice(None), *square)])
    image = plane.image[square]
    if before * _GAIN > 1 or image.min() == image.max():
        return ""  # nothing could be clearly surer, or there is no picture
    after, filled = _found(say(replace(plane, image=image).inverted()).semantic)
    surer = after >= max(_SURE_SHARE, before * _GAIN) and _FILLED[0] <= filled <= _FILLED[1]
    if not surer and not (flooded >= _FLOODED and filled <= _FILLED[1]):
        return ""
    option = "--no-invert" if recipe.invert else "--invert"
    return (
        f"{INVERTED}: on {plane.axis} plane {plane.index} it takes {flooded:.0%} of the pixels for mitochondria and is "
        f"sure of {before:.0%} of these; with grey values turned round {filled:.0%}, and {after:.0%}. It knows dark "
        f"mitochondria on a brighter ground: if yours are bright, set invert={not recipe.invert} in the recipe "
        f"({option})."
    )


def _found(semantic: Any) -> tuple[float, float]:
    """Return how much of what is taken for mitochondria is sure, and how much of the plane it fills, 0..1."""
    best = np.asarray(semantic).max(axis=0)
    likely, sure = (int(np.count_nonzero(best >= limit)) for limit in (_LIKELY, _SURE))
    return (sure / likely if likely else 0.0), likely / max(1, best.size)


def shape_notes(stack: Stack, recipe: Recipe, scale: Scale) -> tuple[str, ...]:
    """Say what the user should know about this choice of directions."""
    notes = []
    for axis in recipe.planes:
        sides, factors = plane_shape(stack.shape, axis), scale.along(axis)
        seen = min(-(-n // f) for n, f in zip(sides, factors, strict=True))
        if seen < _LEAST_SIDE:
            notes.append(
                f"The network sees {axis} planes of {sides[0]} x {sides[1]} pixels, {seen:g} on the short side; it "
                "needs a few dozen to recognise an object."
                + (" For a thin stack, xy planes alone may do better." if len(recipe.planes) > 1 else "")
            )
        if len(recipe.planes) > 1 and stack.voxel_size is not None:
            row, column = (v * f for v, f in zip(np.delete(stack.voxel_size, AXES[axis]), factors, strict=True))
            if (ratio := max(row / column, column / row)) > 2:
                notes.append(
                    f"Pixels of the {axis} planes are {ratio:.1f} times longer than wide to the net, which knows "
                    "square ones. Directions help on nearly isotropic stacks; here xy alone may do better."
                )
    thin = min(stack.shape)
    if recipe.rules == "published" and stack.shape[0] > 1 and thin < recipe.min_span:
        notes.append(
            f"The stack is only {thin} voxels thin, and by the published rules objects whose shortest side is below "
            f"min_span={recipe.min_span} are dropped: none can be left. Take min_span={thin} or less."
        )
    return tuple(notes)
