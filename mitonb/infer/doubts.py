"""Doubts: what a run tells when its image is unlike those that the model was trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mitonb.stack import AXES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mitonb.maps import Maps
    from mitonb.recipe import Recipe
    from mitonb.stack import Axis, Plane, VoxelSize

__all__ = ["INVERTED", "inverted_note", "pixel_notes"]

INVERTED = "The image looks inverted to the network"
"""How that note begins."""

_FAR = 1.5
"""Pixels finer or coarser than those of the training by more than this are told; a net bears a little."""
_SIDE = 512
"""Pixels on a side of what the net looks at once more, turned round."""
_LIKELY, _SURE = 128, 230
"""Of 255: what counts as a mitochondrion at all, and as a sure one."""
_SURE_SHARE, _GAIN = 0.55, 1.3
_FILLED, _FLOODED = (0.01, 0.225), 0.4
"""Share of a plane that mitochondria fill, and one that they do not. These five numbers were chosen so that none of 102
planes of real and drawn EM of usual contrast is told of, and of their inverses as many as then can be."""


def pixel_notes(voxel_size: VoxelSize | None, recipe: Recipe, spec: Any, axes: Sequence[Axis]) -> tuple[str, ...]:
    """Say where pixels are far from those that a model was trained on, and what to do.

    Parameters
    ----------
    voxel_size : tuple of float or None
        (z, y, x) in nm; where it is unknown nothing can be said.
    recipe : Recipe
        Its downsampling is read.
    spec : ModelSpec
        Its `pixel_sizes` say what is near.
    axes : sequence of str
        Directions that planes are cut along.
    """
    trained = getattr(spec, "pixel_sizes", None)
    if voxel_size is None or trained is None:
        return ()
    notes: dict[str, str] = {}  # by the advice, which several directions may share
    finest, coarsest = trained
    for axis in axes:
        row, column = (v for i, v in enumerate(voxel_size) if i != AXES[axis])
        own = float(np.sqrt(row * column))
        seen = own * recipe.downsampling
        if finest / _FAR <= seen <= coarsest * _FAR:
            continue
        wanted = next((2**k for k in range(7) if own * 2**k >= finest), 64)
        shrunk = f", {seen:.3g} nm after downsampling" if recipe.downsampling > 1 else ""
        what = (
            f"Pixels of the {axis} planes are {row:g} x {column:g} nm{shrunk}; {spec.name} was trained on "
            f"{finest:g} to {coarsest:g} nm"
        )
        if seen < finest:
            advice = f"Set downsampling={wanted}, which shows it pixels of {own * wanted:.3g} nm."
            notes.setdefault(advice, f"{what}, and on finer ones it misses what is large. {advice}")
        elif own <= coarsest:
            advice = f"Set downsampling={max(k for k in (1, 2, 4, 8, 16, 32, 64) if own * k <= coarsest)}."
            notes.setdefault(advice, f"{what}, and on coarser ones it misses what is small. {advice}")
        else:
            advice = (
                "These are too coarse for it: open a higher resolution of the image (series=), or choose or train a "
                "model for such pixels. If the voxel size is wrong, give the right one (voxel_size=)."
            )
            notes.setdefault(advice, f"{what}, and on coarser ones it misses what is small. {advice}")
    return tuple(notes.values())


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
        Its downsampling and invert are read.
    say : callable
        Runs the net on a plane.
    middle : tuple of int, optional
        (y, x) of the middle of the square; by default that of the plane.
    """
    side = _SIDE * recipe.downsampling
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
