"""Cleaning: holes filled and specks dropped, object by object, without touching a neighbour."""

from collections.abc import Sequence

import cc3d
import numpy as np
import numpy.typing as npt

from mitonb.post.tables import stretches
from mitonb.recipe import Recipe

Volume = npt.NDArray[np.uint32]
Numbers = npt.NDArray[np.int64]


def fill_holes(planes: Volume) -> None:
    """Fill, in place, each background region of a plane that one object alone surrounds.

    A region (4 neighbours) that touches the border of the plane or a second object is no hole, so no object can lose a
    pixel and no gap between two objects can close.

    Parameters
    ----------
    planes : (n, h, w) or (h, w) uint32 array
        Ids.
    """
    for plane in planes.reshape(-1, *planes.shape[-2:]):
        regions, count = cc3d.connected_components(plane == 0, connectivity=4, return_N=True)
        inner = np.ones(count + 1, np.bool_)
        inner[[0, *np.unique(regions[[0, -1]]), *np.unique(regions[:, [0, -1]])]] = False
        if not inner.any():
            continue
        y, x = np.nonzero(inner[regions])
        region = regions[y, x]
        least, most = np.full(count + 1, 2**32), np.zeros(count + 1, np.int64)  # of the ids around each region
        for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            ids = plane[y + down, x + right].astype(np.int64)
            np.minimum.at(least, region[ids > 0], ids[ids > 0])
            np.maximum.at(most, region[ids > 0], ids[ids > 0])
        hole = (least == most)[region]
        plane[y[hole], x[hole]] = most[region[hole]]


def measured(slab: Volume, start: Sequence[int]) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Measure the objects in a part of a volume, which begins at a voxel (z, y, x).

    Returns
    -------
    ids, sizes : (n,) int64 array
        In the order of first voxels, and their voxels.
    low, high : (n, 3) int64 array
        First and last voxel of each one along (z, y, x).
    """
    runs = [stretches(plane) for plane in slab]  # of a whole slab they take half of its memory again
    first = np.concatenate([start + k * slab[0].size for k, (start, _) in enumerate(runs)])
    length = np.concatenate([size for _, size in runs])
    ids, at, back = np.unique(slab.reshape(-1)[first], return_index=True, return_inverse=True)
    low, high = np.full((len(ids), 3), np.int64(1) << 40), np.full((len(ids), 3), np.int64(-1))
    z, y, x = (p + q for p, q in zip(np.unravel_index(first, slab.shape), start, strict=True))
    for k, (least, most) in enumerate(((z, z), (y, y), (x, x + length - 1))):
        np.minimum.at(low[:, k], back, least)
        np.maximum.at(high[:, k], back, most)
    order = np.argsort(at)
    order = order[ids[order] > 0]
    sizes = np.bincount(back, length).astype(np.int64)
    return ids[order].astype(np.int64), sizes[order], low[order], high[order]


class ObjectTable:
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
        self._low, self._high = np.full((highest + 1, 3), np.int64(1) << 40), np.full((highest + 1, 3), -1)
        self._order: list[npt.NDArray[np.int64]] = []

    def add(self, slab: Volume) -> None:
        """Take the next slab of planes, in the order of z."""
        self.merge(*measured(slab, (self._depth, 0, 0)))
        self._depth += len(slab)

    def merge(self, ids: Numbers, sizes: Numbers, low: Numbers, high: Numbers) -> None:
        """Take what was `measured` in the next slab."""
        self._order.append(ids[self._sizes[ids] == 0])
        self._sizes[ids] += sizes
        self._low[ids] = np.minimum(self._low[ids], low)
        self._high[ids] = np.maximum(self._high[ids], high)

    def decide(self, recipe: Recipe, first: Sequence[int] = (1,), *, renumber: bool = True) -> tuple[Volume, list[int]]:
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
        low, high = self._low, self._high
        spans = high - low + 1
        flat = recipe.rules == "published" and self.shape[0] > 1  # then thin stacks lose what is as thin as they are
        least = recipe.min_span if flat else np.minimum(recipe.min_span, np.array(self.shape))
        # `min_size` speaks of volumes: one section of a good object has fewer pixels, and `min_area` has judged it.
        smallest = recipe.min_size if self.shape[0] > 1 else min(recipe.min_size, recipe.min_area)
        keep = (self._sizes >= max(1, smallest)) & (spans >= least).all(axis=1)
        if recipe.drop_border:
            last = np.array(self.shape) - 1
            # An axis of one plane has no inside.
            keep &= ~(((low == 0) | (high == last)) & (last > 0)).any(axis=1)
        order = np.concatenate([np.zeros(0, np.int64), *self._order])
        stay = order[keep[order]]
        kind = np.searchsorted(np.asarray(first), stay, side="right") - 1
        stay = stay[np.argsort(kind, kind="stable")]
        table = np.zeros(len(keep), np.uint32)
        table[stay] = np.arange(1, len(stay) + 1) if renumber else stay
        return table, np.bincount(kind, minlength=len(first)).tolist()
