"""Planes of huge stacks, in parts and at lower resolutions: what can be shown without reading all of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.stack import AXES, Axis, Level, Stack, read_part

if TYPE_CHECKING:
    from collections.abc import Sequence

AT_ONCE = 1 << 28
"""Bytes of blocks that may be read to show a part of a plane."""


def window(
    stack: Stack, axis: Axis, index: int, rows: slice, columns: slice, step: int = 1
) -> npt.NDArray[Any]:  # fmt: skip
    """Read a part of a plane, one value for each block of step x step pixels, from the coarsest level that has as many.

    Parameters
    ----------
    stack : Stack
        With its levels.
    axis, index
        The plane, of the finest level.
    rows, columns : slice
        The part, in pixels of the finest level: from one number to another.
    step : int
        Pixels on a side that one value stands for: that which is nearest to the middle of them.

    Returns
    -------
    image : (ceil(h / step), ceil(w / step)) array
        In the dtype of the stack.

    Raises
    ------
    TooLargeError
        If it would not fit into memory.
    """
    along, level = AXES[axis], level_for(stack, axis, step)
    spans = [np.arange(part.start, part.stop, step) + (step - 1) / 2 for part in (rows, columns)]
    spans.insert(along, np.array([float(index)]))
    places = [
        np.clip(np.rint((span - offset) / factor).astype(np.int64), 0, n - 1)
        for span, offset, factor, n in zip(spans, level.offset, level.factors, level.data.shape, strict=True)
    ]
    # Where factors are no whole numbers, steps differ by one: a little more is read and left out again.
    steps = [max(1, int(np.diff(place).min(initial=1 << 40))) if len(place) > 1 else 1 for place in places]
    key = tuple(slice(int(p[0]), int(p[-1]) + 1, s) for p, s in zip(places, steps, strict=True))
    if any(((p - p[0]) % s).any() for p, s in zip(places, steps, strict=True)):
        steps = [1, 1, 1]
        key = tuple(slice(int(p[0]), int(p[-1]) + 1) for p in places)
    found = read_part(level.data, key)
    taken = [(p - p[0]) // s for p, s in zip(places, steps, strict=True)]
    if any((np.diff(t) != 1).any() for t in taken):  # else all of it, and the copy would cost more than the reading
        found = found[np.ix_(*taken)]
    return np.moveaxis(found, along, 0)[0]


def level_for(stack: Stack, axis: Axis, step: float) -> Level:
    """Return the coarsest level that has a voxel for each block of step x step pixels of a plane."""
    sides = [k for k in range(3) if k != AXES[axis]]
    fine = (one for one in stack.coarser[::-1] if all(one.factors[k] <= step for k in sides))
    return next(fine, stack.levels[0])


def widest(stack: Stack, axis: Axis) -> int:
    """Return how many pixels of a plane, along a side, can be shown at once; 0 where that is all of it.

    It is less where a file has no lower resolutions, or too few: then all blocks of a plane would have to be read.
    """
    level = stack.levels[-1]
    if isinstance(level.data, np.ndarray):
        return 0
    along = AXES[axis]
    sides = [k for k in range(3) if k != along]
    deep = _depth(level.data, along)
    pixels = AT_ONCE / (deep * np.dtype(level.data.dtype).itemsize)
    if math.prod(level.data.shape[k] for k in sides) <= pixels:
        return 0
    return int(math.sqrt(pixels) * min(level.factors[k] for k in sides))


def _depth(data: Any, along: int) -> int:
    """Return how many planes are read for one of them."""
    blocks: Sequence[int] | None = getattr(data, "blocks", None)
    return 1 if blocks is None else max(1, int(blocks[along]))
