"""Smoothing: the maps of one plane after another, their semantic map after the median over neighbouring planes."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from mitonb.infer.kept import median_planes
from mitonb.stack import AXES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from mitonb.infer.kept import KeptMaps
    from mitonb.maps import Maps
    from mitonb.recipe import Recipe
    from mitonb.stack import Axis

__all__ = ["smoothed_planes"]


def smoothed_planes(kept: KeptMaps, axis: Axis, recipe: Recipe) -> Iterator[Maps]:
    """Yield the maps of each plane of an axis, in order, as they are decoded.

    Parameters
    ----------
    kept : KeptMaps
        Plane `index` is read when it is asked for, and of those after it as many as the median reaches.
    axis : {"xy", "xz", "yz"}
        Direction that the planes are cut along.
    recipe : Recipe
        `median` and `rules` are read. The published rules put each median back into the window of the next ones, and
        leave the planes as they are where the window does not fit into the stack.
    """
    count = kept.shape[AXES[axis]]
    if recipe.rules != "published":
        for index in range(count):
            yield kept.plane(axis, index, recipe.median)
        return
    reach = recipe.median // 2
    before: deque[npt.NDArray[np.uint8]] = deque(maxlen=max(1, reach))
    for index in range(count):
        maps = kept.get(axis, index)
        if reach and reach <= index < count - reach:
            after = [kept.get(axis, i).semantic for i in range(index, index + reach + 1)]
            maps = maps.replace(semantic=median_planes([*before, *after]))
        before.append(maps.semantic)
        yield maps
