"""Untangling: profiles that run two objects together for a few planes are cut in two again, before tracking.

Where mitochondria touch, a net sees one profile in some planes and two in those before and after. Tracked as it is,
such a profile makes one object of both. What comes before and after says where it has to be cut.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mitonb.post.tables import in_reading_order, overlaps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mitonb.maps import Ids

__all__ = ["Untangler"]

Plane = npt.NDArray[np.uint32]

_WITHIN = 0.5
"""A profile lies within another one, of the plane before or after, from this part of its pixels on."""


class Untangler:
    """Takes planes of ids one by one and gives them back, some planes later, with entangled profiles cut.

    A profile is cut where two or more profiles of the plane before lie within it, and so do, in one of the next planes,
    profiles that go on from at least two of these. Each of its pixels then goes to the nearest of those before. A
    profile that stays one, as where branches of a mitochondrion meet, is left alone.

    Parameters
    ----------
    reach : int
        For how many planes two objects may run together; 0 changes nothing.

    Examples
    --------
    >>> apart, together = np.array([[1, 1, 0, 2, 2]]), np.array([[1, 1, 1, 1, 1]])
    >>> untangler = Untangler(3)
    >>> planes = [p for plane in (apart, together, apart) for p in untangler.add(plane)]
    >>> [p.tolist() for p in (*planes, *untangler.rest())]
    [[[1, 1, 0, 2, 2]], [[1, 1, 1, 2, 2]], [[1, 1, 0, 2, 2]]]
    """

    def __init__(self, reach: int) -> None:
        self.reach = reach
        self._before: Plane | None = None
        self._waiting: deque[Plane] = deque()

    def add(self, ids: Ids) -> Iterator[Plane]:
        """Take the next plane; yield those that are done, with ids 1.. in the order of their first pixels."""
        self._waiting.append(in_reading_order(ids)[0])
        while len(self._waiting) > self.reach:
            yield self._next()

    def rest(self) -> Iterator[Plane]:
        """Yield the planes that are still held; no plane comes after them."""
        while self._waiting:
            yield self._next()

    def _next(self) -> Plane:
        plane = self._waiting.popleft()
        if self._before is not None and self._waiting:
            plane = _cut(self._before, plane, self._waiting)
        self._before = plane
        return plane


def _cut(before: Plane, plane: Plane, after: deque[Plane]) -> Plane:
    """Return the plane with its entangled profiles cut."""
    inner = _within(before, plane)
    holders, counts = np.unique(inner[:, 1], return_counts=True)
    highest = int(plane.max())
    cut = False
    for holder in holders[counts > 1]:
        rows, columns = np.nonzero(plane == holder)
        box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        inside = plane[box] == holder
        owners = _owners(before[box], inner[inner[:, 1] == holder, 0], inside, [p[box] for p in after], after)
        if len(owners) < 2:
            continue
        if not cut:
            plane, cut = plane.copy(), True
        near = _nearest(np.where(inside & np.isin(before[box], owners), before[box], 0))
        for owner in owners[1:]:
            highest += 1
            plane[box][inside & (near == owner)] = highest
    return in_reading_order(plane)[0] if cut else plane


def _within(ids: Plane, holder: Plane) -> npt.NDArray[np.int64]:
    """Return pairs (profile, holder) where most of the profile lies within the holder."""
    table = overlaps(ids, holder)
    area = np.bincount(ids.ravel())
    return table[table[:, 2] >= _WITHIN * area[table[:, 0]], :2]


def _owners(
    before: Plane, held: npt.NDArray[np.int64], inside: npt.NDArray[np.bool_], after: list[Plane], whole: deque[Plane]
) -> npt.NDArray[np.int64]:
    """Return which of the held profiles go on, each for itself, in the first later plane that shows two of them.

    All but `whole` are cut to the box of the holder.
    """
    mask = inside.astype(np.uint32)
    for part, plane in zip(after, whole, strict=True):
        shared = overlaps(part, mask)
        if not len(shared):
            break
        sizes = np.array([int((plane == k).sum()) for k in shared[:, 0]])
        later = shared[shared[:, 2] >= _WITHIN * sizes, 0]
        if len(later) < 2:
            continue
        table = overlaps(np.where(np.isin(part, later), part, 0), np.where(np.isin(before, held), before, 0))
        best: dict[int, tuple[int, int]] = {}
        for new, old, pixels in table.tolist():
            best[new] = max(best.get(new, (0, 0)), (pixels, old))
        owners = np.unique([old for _, old in best.values()])
        if len(owners) > 1:
            return owners.astype(np.int64)
    return np.zeros(0, np.int64)


def _nearest(seeds: Plane) -> Plane:
    """Return, for each pixel, the seed that is nearest to it."""
    rows, columns = ndimage.distance_transform_edt(seeds == 0, return_distances=False, return_indices=True)
    near: Plane = seeds[rows, columns]
    return near
