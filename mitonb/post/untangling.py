"""Untangling: profiles that run two objects together for a few planes are cut in two again, before tracking.

Where mitochondria touch, a net sees one profile in some planes and two in those before and after. Tracked as it is,
such a profile makes one object of both. What comes before and after says where it has to be cut.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mitonb.post.compiled import jit
from mitonb.post.run_tables import Numbered, numbered, shared
from mitonb.post.runs import Runs, joined, paint, runs_of

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
        self._before: Numbered | None = None
        self._waiting: deque[Numbered] = deque()

    def add(self, ids: Ids) -> Iterator[Plane]:
        """Take the next plane; yield those that are done, with ids 1.. in the order of their first pixels."""
        return map(_painted, self.add_runs(runs_of(ids)))

    def rest(self) -> Iterator[Plane]:
        """Yield the planes that are still held; no plane comes after them."""
        return map(_painted, self.rest_runs())

    def add_runs(self, plane: Runs) -> Iterator[Numbered]:
        """Take the next plane as runs; yield those that are done, and what was counted in them."""
        self._waiting.append(Numbered(*numbered(plane)))
        while len(self._waiting) > self.reach:
            yield self._next()

    def rest_runs(self) -> Iterator[Numbered]:
        """Yield, as runs, the planes that are still held."""
        while self._waiting:
            yield self._next()

    def _next(self) -> Numbered:
        plane = self._waiting.popleft()
        if self._before is not None and self._waiting:
            plane = _cut(self._before, plane, self._waiting)
        self._before = plane
        return plane


def _painted(plane: Numbered) -> Plane:
    pixels: Plane = paint(plane.runs)[0]
    return pixels


def _cut(before: Numbered, plane: Numbered, after: deque[Numbered]) -> Numbered:
    """Return the plane with its entangled profiles cut."""
    table = shared(before.runs, plane.runs)
    plane = replace(plane, shared=table)
    holders = _holders(table, before.areas, len(plane.areas))
    if len(holders) == 0:
        return plane
    inner = table[table[:, 2] >= _WITHIN * before.areas[table[:, 0] - 1], :2]
    ahead = _tables(joined([p.runs for p in after]))
    areas, first = np.concatenate([p.areas for p in after]), np.cumsum([0, *(len(p.areas) for p in after)])
    cut, highest = plane.runs, len(plane.areas)
    for holder in holders:
        held = np.zeros(len(before.areas) + 1, np.bool_)
        held[inner[inner[:, 1] == holder, 0]] = True
        box = _box(*_tables(plane.runs), holder)
        owners = _owners(_tables(before.runs), _tables(plane.runs), ahead, areas, first, holder, held, box)
        if len(owners) > 1:
            near = _nearest(_seeds(_tables(before.runs), _tables(plane.runs), holder, owners, box))
            new = np.zeros(len(held), np.uint32)
            new[owners] = [holder, *range(highest + 1, highest + len(owners))]
            highest += len(owners) - 1
            cut = Runs(cut.shape, *_parted(*_tables(cut), holder, new[near], box))
    return plane if cut is plane.runs else Numbered(*numbered(cut))


def _tables(runs: Runs) -> tuple[Any, Any, Any, Any]:
    return runs.first, runs.start, runs.stop, runs.ids


def _nearest(seeds: Plane) -> Plane:
    """Return, for each pixel, the seed that is nearest to it."""
    rows, columns = ndimage.distance_transform_edt(seeds == 0, return_distances=False, return_indices=True)
    near: Plane = seeds[rows, columns]
    return near


@jit
def _holders(table: Any, areas: Any, profiles: Any) -> Any:
    """Return the profiles in which two or more of those before lie, by the table of pixels that they share."""
    inside = np.zeros(profiles + 1, np.int64)
    for k in range(len(table)):
        if table[k, 2] >= _WITHIN * areas[table[k, 0] - 1]:
            inside[table[k, 1]] += 1
    return np.flatnonzero(inside > 1)


@jit
def _box(first: Any, start: Any, stop: Any, ids: Any, holder: Any) -> Any:
    """Return first and last row (exclusive) and column (exclusive) of a profile."""
    low, high = np.array([len(first), 1 << 40]), np.array([0, 0])
    for y in range(len(first) - 1):
        for k in range(first[y], first[y + 1]):
            if ids[k] == holder:
                low[0], high[0] = min(low[0], y), y + 1
                low[1], high[1] = min(low[1], start[k]), max(high[1], stop[k])
    return low[0], high[0], low[1], high[1]


@jit
def _owners(before: Any, plane: Any, ahead: Any, areas: Any, first_area: Any, holder: Any, held: Any, box: Any) -> Any:
    """Return which of the held profiles go on, each for itself, in the first later plane that shows two of them."""
    h = len(plane[0]) - 1
    for t in range(len(first_area) - 1):
        begin, count = first_area[t], first_area[t + 1] - first_area[t]
        inside = _within(plane, ahead, t * h, holder, box, count)
        if not inside.any():
            break
        later = np.zeros(count + 1, np.bool_)
        number = 0
        for k in range(1, count + 1):
            if inside[k] > 0 and inside[k] >= _WITHIN * areas[begin + k - 1]:
                later[k] = True
                number += 1
        if number < 2:
            continue
        table = _beside(before, ahead, t * h, held, later, box)
        owns = np.zeros(len(held), np.bool_)
        owners = 0
        for new in range(1, count + 1):
            best = 0
            for old in range(1, len(held)):
                # Of equals the later one.
                if table[new, old] > 0 and (best == 0 or table[new, old] >= table[new, best]):
                    best = old
            if best and not owns[best]:
                owns[best] = True
                owners += 1
        if owners > 1:
            return np.flatnonzero(owns)
    return np.zeros(0, np.int64)


@jit
def _within(plane: Any, ahead: Any, row: Any, holder: Any, box: Any, count: Any) -> Any:
    """Return the pixels that each later profile shares with the holder."""
    first, start, stop, ids = plane
    later_first, later_start, later_stop, later_ids = ahead
    pixels = np.zeros(count + 1, np.int64)
    for y in range(box[0], box[1]):
        i, i_end = first[y], first[y + 1]
        j, j_end = later_first[row + y], later_first[row + y + 1]
        while i < i_end and j < j_end:
            if ids[i] == holder:
                common = min(stop[i], later_stop[j]) - max(start[i], later_start[j])
                if common > 0:
                    pixels[later_ids[j]] += common
            if stop[i] < later_stop[j]:
                i += 1
            else:
                j += 1
    return pixels


@jit
def _beside(before: Any, ahead: Any, row: Any, held: Any, later: Any, box: Any) -> Any:
    """Return the pixels that later and held profiles share in the box of the holder."""
    first, start, stop, ids = before
    later_first, later_start, later_stop, later_ids = ahead
    pixels = np.zeros((len(later), len(held)), np.int64)
    for y in range(box[0], box[1]):
        i, i_end = first[y], first[y + 1]
        j, j_end = later_first[row + y], later_first[row + y + 1]
        while i < i_end and j < j_end:
            if held[ids[i]] and later[later_ids[j]]:
                common = min(stop[i], later_stop[j], box[3]) - max(start[i], later_start[j], box[2])
                if common > 0:
                    pixels[later_ids[j], ids[i]] += common
            if stop[i] < later_stop[j]:
                i += 1
            else:
                j += 1
    return pixels


@jit
def _seeds(before: Any, plane: Any, holder: Any, owners: Any, box: Any) -> Any:
    """Return the box of the holder with the owners where they lie within it."""
    first, start, stop, ids = plane
    old_first, old_start, old_stop, old_ids = before
    seeds = np.zeros((box[1] - box[0], box[3] - box[2]), np.uint32)
    for y in range(box[0], box[1]):
        for i in range(first[y], first[y + 1]):
            if ids[i] == holder:
                for j in range(old_first[y], old_first[y + 1]):
                    for owner in owners:
                        if old_ids[j] == owner:
                            for x in range(max(start[i], old_start[j]), min(stop[i], old_stop[j])):
                                seeds[y - box[0], x - box[2]] = owner
    return seeds


@jit
def _parted(first: Any, start: Any, stop: Any, ids: Any, holder: Any, new: Any, box: Any) -> Any:
    """Return the runs of a plane with those of the holder under their new ids, which are given for its box."""
    more = 0
    for y in range(box[0], box[1]):
        for k in range(first[y], first[y + 1]):
            if ids[k] == holder:
                for x in range(start[k] + 1, stop[k]):
                    more += new[y - box[0], x - box[2]] != new[y - box[0], x - 1 - box[2]]
    n = len(ids) + more
    new_first = np.empty_like(first)
    new_start, new_stop, new_ids = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.uint32)
    count = 0
    for y in range(len(first) - 1):
        new_first[y] = count
        for k in range(first[y], first[y + 1]):
            new_start[count], new_stop[count], new_ids[count] = start[k], stop[k], ids[k]
            if ids[k] == holder:
                row = new[y - box[0]]
                new_ids[count] = row[start[k] - box[2]]
                for x in range(start[k] + 1, stop[k]):
                    if row[x - box[2]] != new_ids[count]:
                        new_stop[count] = x
                        count += 1
                        new_start[count], new_stop[count], new_ids[count] = x, stop[k], row[x - box[2]]
            count += 1
    new_first[len(first) - 1] = count
    return new_first, new_start, new_stop, new_ids
