"""Tracking: profiles of neighbouring planes become objects, by tables of their overlaps."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError
from mitonb.post.matching import chain
from mitonb.post.run_tables import Numbered, numbered, shared
from mitonb.post.runs import Runs, joined, paint, relabelled, runs_of
from mitonb.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mitonb.maps import Ids

__all__ = ["Tracker", "track"]


def track(planes: Ids, recipe: Recipe | None = None) -> npt.NDArray[np.uint32]:
    """Give the same id to the same object on successive planes.

    A forward pass matches the profiles of each plane with the objects of the plane before: pairs of the best total IoU,
    where that reaches `recipe.track_iou`; what is left over but covered by `recipe.track_ioa` joins the object that
    covers it most. A backward pass does the same against the planes behind, so that parts that met late are one from
    their beginnings. The result does not depend on what the profiles are called.

    Parameters
    ----------
    planes : (n, h, w) array of unsigned int
        Ids of each plane; the same id in two planes means nothing.
    recipe : Recipe, optional
        `track_iou`, `track_ioa` and `gap` (planes that an object may miss) are read.

    Returns
    -------
    objects : (n, h, w) uint32 array
        1.. in the order of their first voxels.

    Raises
    ------
    InputError
        If there are not three axes.

    Examples
    --------
    >>> planes = np.zeros((2, 4, 4), np.uint32)
    >>> planes[0, :2], planes[1, :2] = 7, 3
    >>> track(planes)[:, 0, 0].tolist()
    [1, 1]
    """
    if planes.ndim != 3:
        raise InputError(f"Tracking needs planes of ids (n, h, w), got shape {planes.shape}.")
    tracker = Tracker(recipe or Recipe())
    numbers = [tracker.add_runs(runs_of(plane)) for plane in _contiguous(planes)]
    if not numbers:
        return np.zeros(planes.shape, np.uint32)
    return paint(relabelled(joined(numbers), tracker.objects()))


class Tracker:
    """Collects the planes of one axis one by one and then says which of their profiles are one object.

    Only the last `gap + 1` planes are held; what is remembered of the others are tables.

    Parameters
    ----------
    recipe : Recipe
        `track_iou`, `track_ioa` and `gap` are read.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._recent: deque[Runs] = deque(maxlen=recipe.gap + 1)
        self._first = [1]  # number of the first profile of each plane, and of the plane to come
        self._areas: list[npt.NDArray[np.int64]] = [np.zeros(1, np.int64)]
        self._tables: list[list[npt.NDArray[np.int64]]] = []

    def add(self, ids: Ids) -> npt.NDArray[np.uint32]:
        """Take the next plane; return it with every profile under a number of its own in the whole stack."""
        plane: npt.NDArray[np.uint32] = paint(self.add_runs(runs_of(ids)))[0]
        return plane

    def add_runs(self, plane: Runs) -> Runs:
        """Take the next plane as runs; return it with every profile under a number of its own in the whole stack."""
        return self.add_numbered(Numbered(*numbered(plane)))

    def add_numbered(self, plane: Numbered) -> Runs:
        """Take the next plane with what was counted in it; return what `add_runs` returns."""
        first, areas = self._first[-1], plane.areas
        if first + len(areas) >= 2**32:
            raise InputError("More than four billion profiles: raise min_area or the thresholds.")
        runs = replace(plane.runs, ids=plane.runs.ids + np.uint32(first - 1))
        tables: list[npt.NDArray[np.int64]] = []
        if plane.shared is not None:  # with the plane before; the numbers go on from plane to plane here
            tables.append(plane.shared + np.array([self._first[-2] - 1, first - 1, 0]))
        tables += [shared(before, runs) for before in list(reversed(self._recent))[len(tables) :]]
        self._tables.append(tables)
        self._areas.append(areas)
        self._recent.append(runs)
        self._first.append(first + len(areas))
        return runs

    def objects(self) -> npt.NDArray[np.uint32]:
        """Return the object of each profile number; objects are 1.. in the order of their first profiles."""
        areas = np.concatenate(self._areas)
        return chain(self._first, areas, self._tables, self.recipe)


def _contiguous(planes: Ids) -> Iterator[npt.NDArray[np.integer[Any]]]:
    """Yield the planes; of a turned volume some are copied at once, since neighbours share cache lines."""
    if planes.flags.c_contiguous:
        yield from planes
        return
    for k in range(0, len(planes), 16):
        yield from np.ascontiguousarray(planes[k : k + 16])
