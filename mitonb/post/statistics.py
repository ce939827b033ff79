"""Statistics: size and box of each object of a volume, collected block by block; from them which objects stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.post.compiled import jit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mitonb.post.runs import Runs
    from mitonb.recipe import Recipe

__all__ = ["Statistics"]


class Statistics:
    """Size and box of each object of a volume, collected block by block; from them which objects stay.

    Parameters
    ----------
    shape : tuple of int
        (z, y, x) of the whole volume in voxels.
    highest : int
        Largest id.
    """

    def __init__(self, shape: tuple[int, ...], highest: int) -> None:
        self.shape = shape
        self._depth = 0
        self._sizes = np.zeros(highest + 1, np.int64)
        self._low = np.full((highest + 1, 3), np.int64(1) << 40)
        self._high = np.full((highest + 1, 3), np.int64(-1))
        self._order = np.empty(highest + 1, np.int64)
        self._found = 0

    def add(self, block: Runs) -> None:
        """Take the next block of planes, in the order of z."""
        n, h, _ = block.shape
        self._found = _statistics(
            block.first, block.start, block.stop, block.ids, h, self._depth,
            self._sizes, self._low, self._high, self._order, self._found,
        )  # fmt: skip
        self._depth += n

    def decide(
        self, recipe: Recipe, first: Sequence[int] = (1,), *, renumber: bool = True
    ) -> tuple[npt.NDArray[np.uint32], list[int]]:
        """Say which objects stay, and what they are called.

        Parameters
        ----------
        recipe : Recipe
            `min_size`, `min_span`, `min_area` and `drop_border` are read.
        first : sequence of int
            First id of each class, ascending.
        renumber : bool
            Number what stays 1.., class after class, within a class in the order of first voxels.

        Returns
        -------
        table : (highest + 1,) uint32 array
            New id of each one; 0 for those that go.
        counts : list of int
            Objects of each class that stay.
        """
        spans = self._high - self._low + 1
        flat = recipe.rules == "published" and self.shape[0] > 1  # then thin stacks lose what is as thin as they are
        least = recipe.min_span if flat else np.minimum(recipe.min_span, np.array(self.shape))
        # `min_size` speaks of volumes: one section of a good object has fewer pixels, and `min_area` has judged it.
        smallest = recipe.min_size if self.shape[0] > 1 else min(recipe.min_size, recipe.min_area)
        keep = (self._sizes >= max(1, smallest)) & (spans >= least).all(axis=1)
        if recipe.drop_border:
            last = np.array(self.shape) - 1
            # An axis of one plane has no inside.
            keep &= ~(((self._low == 0) | (self._high == last)) & (last > 0)).any(axis=1)
        keep[0] = False
        order = self._order[: self._found]
        stay = order[keep[order]]
        kind = np.searchsorted(np.asarray(first), stay, side="right") - 1
        counts = np.bincount(kind, minlength=len(first)).tolist()
        stay = stay[np.argsort(kind, kind="stable")]
        table = np.zeros(len(keep), np.uint32)
        table[stay] = np.arange(1, len(stay) + 1) if renumber else stay
        return table, counts


@jit
def _statistics(
    first: Any, start: Any, stop: Any, ids: Any, h: Any, top: Any, sizes: Any, low: Any, high: Any, order: Any,
    found: Any,
) -> Any:  # fmt: skip
    """Add to size, box (first and last voxel on each axis), and the ids in the order of their first voxels."""
    for r in range(len(first) - 1):
        z, y = top + r // h, r % h
        for run in range(first[r], first[r + 1]):
            k = ids[run]
            if sizes[k] == 0:
                order[found] = k
                found += 1
                low[k, 0] = z
            sizes[k] += stop[run] - start[run]
            high[k, 0] = z
            low[k, 1], high[k, 1] = min(low[k, 1], y), max(high[k, 1], y)
            low[k, 2], high[k, 2] = min(low[k, 2], start[run]), max(high[k, 2], stop[run] - 1)
    return found
