"""Cleaning: holes filled and specks dropped, object by object, without touching a neighbour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.post.compiled import jit
from mitonb.post.profiles import root
from mitonb.post.tables import in_reading_order, relabel
from mitonb.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mitonb.maps import Ids

__all__ = ["Statistics", "clean", "cleaning", "fill_holes"]


def clean(labels: Ids, recipe: Recipe | None = None, *, connected: bool = False) -> npt.NDArray[np.uint32]:
    """Fill holes, drop small and flat objects, and number what is left 1.. by first voxels.

    Parameters
    ----------
    labels : (z, y, x) array of unsigned int
        Instance ids; not changed.
    recipe : Recipe, optional
        `fill_holes`, `min_size` (voxels) and `min_span` (shortest side of the box, voxels) are read. A side counts only
        where the volume is that deep: nothing in a stack of one plane can span two. There `min_area`, where it is less,
        stands for `min_size`. `drop_border` drops what touches the border of the volume.
    connected : bool
        Make each connected piece (26 neighbours) an object of its own first.
    """
    if connected:
        import cc3d

        labels = cc3d.connected_components(labels, connectivity=26)
    result, _ = in_reading_order(labels)
    for _ in cleaning(result, recipe or Recipe()):
        pass
    return result


def cleaning(labels: npt.NDArray[np.uint32], recipe: Recipe) -> Iterator[int]:
    """Clean a volume of ids 1..n in place; yield after each plane or pass."""
    if recipe.fill_holes:
        for z, plane in enumerate(labels):
            fill_holes(plane)
            yield z
    statistics = Statistics(labels.shape, int(labels.max(initial=0)))
    statistics.add(labels)
    yield len(labels)
    table, _ = statistics.decide(recipe)
    for plane in labels:
        relabel(plane, table)
        yield len(labels)


class Statistics:
    """Size and box of each object of a volume, collected slab by slab; from them which objects stay.

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

    def add(self, slab: npt.NDArray[np.uint32]) -> None:
        """Take the next slab (planes, y, x) of ids, in the order of z."""
        self._found = _statistics(slab, self._depth, self._sizes, self._low, self._high, self._order, self._found)
        self._depth += len(slab)

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
        least = np.minimum(recipe.min_span, np.array(self.shape))
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


def fill_holes(plane: npt.NDArray[np.uint32]) -> None:
    """Fill, in place, each background region of a plane that one object alone surrounds.

    A region that touches the border of the plane or a second object is no hole, so no object can lose a pixel and no
    gap between two objects can close.
    """
    if plane.any():
        _fill(plane)


@jit
def _statistics(labels: Any, top: Any, sizes: Any, low: Any, high: Any, order: Any, found: Any) -> Any:
    """Add to size, box (first and last voxel on each axis), and the ids in the order of their first voxels."""
    depth, h, w = labels.shape
    for z in range(depth):
        for y in range(h):
            x = 0
            while x < w:
                k = labels[z, y, x]
                start = x
                x += 1
                while x < w and labels[z, y, x] == k:
                    x += 1
                if k == 0:
                    continue
                if sizes[k] == 0:
                    order[found] = k
                    found += 1
                sizes[k] += x - start
                low[k, 0], high[k, 0] = min(low[k, 0], top + z), top + z
                low[k, 1], high[k, 1] = min(low[k, 1], y), max(high[k, 1], y)
                low[k, 2], high[k, 2] = min(low[k, 2], start), max(high[k, 2], x - 1)
    return found


@jit
def _fill(plane: Any) -> None:
    """Find background regions (4 neighbours) by runs, with the object around each; 0: unknown yet, -1: no hole."""
    h, w = plane.shape
    capacity = 0
    for y in range(h):
        for x in range(w):
            if plane[y, x] == 0 and (x == 0 or plane[y, x - 1] != 0):
                capacity += 1
    start = np.empty(capacity, np.int64)
    stop = np.empty(capacity, np.int64)
    row = np.empty(capacity, np.int64)
    parent = np.arange(capacity)
    around = np.zeros(capacity, np.int64)
    runs = 0
    before = 0  # first run of the row above
    for y in range(h):
        here = runs
        x = 0
        above = before
        while x < w:
            if plane[y, x] != 0:
                x += 1
                continue
            a = x
            while x < w and plane[y, x] == 0:
                x += 1
            start[runs], stop[runs], row[runs] = a, x, y
            owner = np.int64(-1) if (y == 0 or y == h - 1 or a == 0 or x == w) else np.int64(0)
            if owner == 0:
                owner = _same(np.int64(plane[y, a - 1]), np.int64(plane[y, x]))
            for v in (y - 1, y + 1):
                if 0 <= v < h and owner >= 0:
                    for u in range(a, x):
                        if plane[v, u] != 0:
                            owner = _same(owner, np.int64(plane[v, u]))
            around[runs] = owner
            while above < here and stop[above] <= a:
                above += 1
            k = above
            while k < here and start[k] < x:
                p, q = root(parent, k), root(parent, runs)
                if p != q:
                    parent[max(p, q)] = min(p, q)
                    around[min(p, q)] = _same(around[p], around[q])
                k += 1
            runs += 1
        before = here
    for k in range(runs):
        owner = around[root(parent, k)]
        if owner > 0:
            for x in range(start[k], stop[k]):
                plane[row[k], x] = owner


@jit
def _same(a: Any, b: Any) -> Any:
    """Join what two parts of a region have around them."""
    if a == 0:
        return b
    if b == 0 or a == b:
        return a
    return np.int64(-1)
