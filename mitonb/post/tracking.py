"""Tracking: profiles of neighbouring planes become objects; all is decided on tables of their overlaps."""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import fastremap
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from mitonb.errors import InputError
from mitonb.maps import Ids
from mitonb.post.tables import as_ids, overlaps, replaced
from mitonb.recipe import Recipe

Plane = npt.NDArray[np.uint32]
Table = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int64]

_SURE = 0.57
"""Above this IoU a pair is in every best assignment: the two pairs that would replace it cannot weigh as much."""
_WITHIN = 0.5
"""A profile lies within another one, of the plane before or after, from this part of its pixels on."""


class Tracker:
    """Takes the planes of one direction one by one and then says which of their profiles are one object.

    Only the last planes and those that look-ahead waits for are held; what is remembered of the others are tables.

    Parameters
    ----------
    recipe : Recipe
        `track_iou`, `track_ioa`, `lookahead` and `gap` are read.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._waiting: deque[Profiles] = deque()
        self._recent: deque[Plane] = deque(maxlen=recipe.gap + 1)  # the newest one first
        self._first = [1]  # number of the first profile of each plane, and of the plane to come
        self._areas = [np.zeros(1, np.int64)]
        self._tables: list[list[Table]] = []

    def add(self, ids: Ids) -> Iterator[Plane]:
        """Take the next plane; yield those that are done, with a number for every profile of the whole stack.

        The ids of a plane are 1.. in the order of their first pixels; some may be missing.
        """
        plane, areas = Profiles.of(as_ids(ids))
        # Many planes wait: of 4 million pixels each, whose ids mostly fit into a byte or two.
        self._waiting.append(Profiles(plane.astype(np.min_scalar_type(len(areas) - 1)), areas))
        while len(self._waiting) > self.recipe.lookahead:
            yield self._next()

    def rest(self) -> Iterator[Plane]:
        """Yield the planes that are still held; no plane comes after them."""
        while self._waiting:
            yield self._next()

    def objects(self) -> npt.NDArray[np.uint32]:
        """Return the object of each profile number; objects are 1.. in the order of their first profiles."""
        return link_profiles(self._first, np.concatenate(self._areas), self._tables, self.recipe)

    def _next(self) -> Plane:
        packed, areas = self._waiting.popleft()
        plane = as_ids(packed)
        tables = [overlaps(before, plane) for before in self._recent]
        if self._recent and self._waiting:
            before = Profiles(self._recent[0], np.append(0, self._areas[-1]))
            cut = split_merged_profiles(before, plane, self._waiting, tables[0])
            if cut is not plane:
                plane, areas = Profiles.of(cut)
                tables = [overlaps(before, plane) for before in self._recent]
        areas = areas[1:]
        first = self._first[-1]
        if first + len(areas) >= 2**32:
            raise InputError("More than four billion profiles: raise min_area or the thresholds.")
        offsets = [np.array([self._first[-2 - d] - 1, first - 1, 0]) for d in range(len(tables))]
        self._tables.append([table + offset for table, offset in zip(tables, offsets, strict=True)])
        self._recent.appendleft(plane)
        self._areas.append(areas)
        self._first.append(first + len(areas))
        return replaced(plane, np.append(0, np.arange(first, first + len(areas))).astype(np.uint32))


class Profiles(NamedTuple):
    """The profiles of a plane.

    Attributes
    ----------
    ids : (h, w) array of unsigned int
        1.. ; some may be missing.
    areas : (n + 1,) int64 array
        Pixels of each id, and in entry 0 of the background.
    """

    ids: npt.NDArray[Any]
    areas: Numbers

    @classmethod
    def of(cls, ids: Plane) -> "Profiles":
        """Count the pixels of a plane."""
        return cls(ids, np.bincount(ids.reshape(-1), minlength=1))


def split_merged_profiles(
    before: Profiles, plane: Plane, after: Iterable[Profiles], table: Table | None = None
) -> Plane:
    """Cut profiles that run two objects together.

    Where mitochondria touch, a net sees one profile in some planes and two in those before and after. Tracked as it is,
    such a profile makes one object of both. It is cut where two or more profiles of the plane before lie within it, and
    so do, in one of the next planes, profiles that go on from at least two of these. Each of its pixels then goes to
    the nearest of those before. A profile that stays one, as where branches of a mitochondrion meet, is left alone.

    Parameters
    ----------
    before : Profiles
        The plane before, after it was cut itself.
    plane : (h, w) uint32 array
        Ids 1.. of this one.
    after : iterable of Profiles
        The next planes.
    table : array, optional
        Overlaps of both planes, where they are known.

    Returns
    -------
    ids : (h, w) uint32 array
        1.. in the order of their first pixels.

    Examples
    --------
    >>> apart, merged = np.array([[1, 1, 0, 2, 2]], np.uint32), np.array([[1, 1, 1, 1, 1]], np.uint32)
    >>> split_merged_profiles(Profiles.of(apart), merged, [Profiles.of(apart)]).tolist()
    [[1, 1, 1, 2, 2]]
    """
    table = overlaps(before.ids, plane) if table is None else table
    inner = table[table[:, 2] >= _WITHIN * before.areas[table[:, 0]]]
    holders, held = np.unique(inner[:, 1], return_counts=True)
    boxes = ndimage.find_objects(plane) if (held > 1).any() else []
    cut, highest = plane, len(boxes)
    for holder in holders[held > 1]:
        box = boxes[holder - 1]
        inside = plane[box] == holder
        old = np.where(np.isin(before.ids[box], inner[inner[:, 1] == holder, 0]), before.ids[box], 0)
        owners = _going_on(old, inside, box, after)
        if len(owners) > 1:
            cut = plane.copy() if cut is plane else cut
            seeds = np.where(inside & np.isin(old, owners), old, 0)
            rows, columns = ndimage.distance_transform_edt(seeds == 0, return_distances=False, return_indices=True)
            cut[box][inside] = highest + np.searchsorted(owners, seeds[rows, columns][inside]) + 1
            highest += len(owners)
    return plane if cut is plane else as_ids(fastremap.renumber(cut, in_place=False)[0])


def _going_on(old: Plane, inside: npt.NDArray[np.bool_], box: tuple[slice, ...], after: Iterable[Profiles]) -> Numbers:
    """Return which old profiles go on, each for itself, in the first later plane that shows two of them."""
    for ids, areas in after:
        later = ids[box]
        pixels = np.bincount(later[inside])
        there = np.flatnonzero(pixels[1:]) + 1
        if not len(there):
            break
        there = there[pixels[there] >= _WITHIN * areas[there]]
        if len(there) < 2:
            continue
        table = overlaps(np.where(np.isin(later, there), later, 0), old)
        # The one that each later profile shares most with: of equals the last.
        table = table[np.lexsort((table[:, 1], table[:, 2], table[:, 0]))]
        owners = np.unique(table[np.flatnonzero(np.diff(table[:, 0], append=-1)), 1])
        if len(owners) > 1:
            return owners
    return np.zeros(0, np.int64)


class Side(NamedTuple):
    """The profiles of a plane that are matched with those of another one.

    Attributes
    ----------
    labels : (n,) int64 array
        What each profile belongs to: profiles of one label are matched as one.
    areas : (n,) int64 array
        Pixels of each profile.
    first : int
        Number of the first profile in the table of overlaps.
    """

    labels: Numbers
    areas: Numbers
    first: int


def link_profiles(
    first: Sequence[int], areas: Numbers, tables: Sequence[Sequence[Table]], recipe: Recipe, *, backward: bool = True
) -> npt.NDArray[np.uint32]:
    """Join the profiles of a stack to objects, forward and then backward.

    Parameters
    ----------
    first : sequence of int
        Number of the first profile of each plane, then one beyond the last.
    areas : (profiles + 1,) int64 array
        Pixels of each profile; entry 0 is unused.
    tables : for each plane, sequence of (m, 3) int64 arrays
        `tables[t][d]` has (profile of plane t - d - 1, profile of plane t, pixels).
    recipe : Recipe
        `track_iou`, `track_ioa` and `gap` are read.
    backward : bool
        Go back after the forward pass.

    Returns
    -------
    objects : (profiles + 1,) uint32 array
        Object of each profile, in the order of their first profiles.
    """
    planes = len(first) - 1
    spans = [slice(a, b) for a, b in itertools.pairwise(first)]
    labels = np.zeros(first[-1], np.int64)

    def step(t: int, direction: int, units: Numbers) -> Numbers:
        """Return the label of each unit of plane t from the planes behind it (0: none)."""
        given = np.zeros(len(units), np.int64)
        seen = np.zeros(0, np.int64)
        for d in range(recipe.gap + 1):
            other = t - direction * (d + 1)
            if not 0 <= other < planes or given.all():
                break
            table = tables[t][d] if direction > 0 else tables[other][d][:, [1, 0, 2]]
            there = labels[spans[other]]
            if d > 0:
                # Objects that go on in a nearer plane, or have just been found in this one, are not looked for again.
                table = table[~np.isin(labels[table[:, 0]], seen) & (given[table[:, 1] - first[t]] == 0)]
            sides = Side(there, areas[spans[other]], first[other]), Side(units, areas[spans[t]], first[t])
            given = np.where(given == 0, match(*sides, table, recipe), given)
            if d < recipe.gap:
                seen = np.union1d(seen, np.union1d(there, given[given > 0]))
        return given

    fresh = 1
    for t in range(planes):
        given = step(t, 1, np.arange(first[t], first[t + 1]))
        missing = given == 0
        given[missing] = fresh + np.arange(np.count_nonzero(missing))
        fresh += int(np.count_nonzero(missing))
        labels[spans[t]] = given
    for t in range(planes - 2, -1, -1) if backward else ():
        units = labels[spans[t]].copy()
        given = step(t, -1, units)
        labels[spans[t]] = np.where(given > 0, given, units)
    return np.concatenate([np.zeros(1, np.uint32), fastremap.renumber(labels[1:])[0].astype(np.uint32)])


def match(targets: Side, units: Side, table: Table, recipe: Recipe) -> Numbers:
    """Match the objects of one plane with the units of another.

    Parameters
    ----------
    targets, units : Side
        Objects that go on, and what may continue them.
    table : (m, 3) int64 array
        Each row: a profile of the first side, one of the second, and the pixels that they share.
    recipe : Recipe
        `track_iou` and `track_ioa` are read.

    Returns
    -------
    (n,) int64 array
        Label of the object that each profile of `units` continues, 0 for none.
    """
    if len(table) == 0:
        return np.zeros(len(units.labels), np.int64)
    objects, at_object = np.unique(targets.labels, return_inverse=True)
    names, at_unit = np.unique(units.labels, return_inverse=True)
    keys = at_object[table[:, 0] - targets.first] * len(names) + at_unit[table[:, 1] - units.first]
    keys, at = np.unique(keys, return_inverse=True)
    shared = np.bincount(at, table[:, 2])
    p, q = keys // len(names), keys % len(names)
    object_sizes, unit_sizes = np.bincount(at_object, targets.areas), np.bincount(at_unit, units.areas)
    iou = shared / (object_sizes[p] + unit_sizes[q] - shared)
    given = np.zeros(len(names), np.int64)
    paired = _assigned(p, q, iou, recipe.track_iou) & (iou >= recipe.track_iou)
    given[q[paired]] = objects[p[paired]]
    covered = np.flatnonzero((shared >= recipe.track_ioa * unit_sizes[q]) & (given[q] == 0))
    covered = covered[np.lexsort((-p[covered], shared[covered]))]  # what covers most, of equals the first, comes last
    given[q[covered]] = objects[p[covered]]
    return given[at_unit]


def _assigned(p: Numbers, q: Numbers, weight: npt.NDArray[np.float64], least: float) -> npt.NDArray[np.bool_]:
    """Return which pairs are in the assignment of the largest total weight; lighter ones than `least` do not matter."""
    chosen = weight > _SURE
    rest = np.flatnonzero(~np.isin(p, p[chosen]) & ~np.isin(q, q[chosen]))
    if (weight[rest] >= least).any():
        rows, columns = np.unique(p[rest], return_inverse=True)[1], np.unique(q[rest], return_inverse=True)[1]
        weights = np.zeros((rows.max() + 1, columns.max() + 1))
        weights[rows, columns] = weight[rest]
        best = np.zeros(weights.shape, np.bool_)
        best[linear_sum_assignment(weights, maximize=True)] = True
        chosen[rest] = best[rows, columns]
    return chosen
