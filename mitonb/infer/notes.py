"""Notes: what a run tells when its image is unlike those that the model was trained on, or its shape does not suit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mitonb.infer.kept import plane_shape
from mitonb.stack import AXES

if TYPE_CHECKING:
    from collections.abc import Callable

    from mitonb.infer.scale import Scale
    from mitonb.maps import Maps
    from mitonb.recipe import Recipe
    from mitonb.stack import Plane, Stack

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
