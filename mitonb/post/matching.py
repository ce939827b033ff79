"""Matching: which profiles of a plane continue which objects; everything is decided on tables."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from mitonb.post.compiled import jit
from mitonb.post.profiles import root

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mitonb.recipe import Recipe

__all__ = ["Side", "chain", "match"]

Table = npt.NDArray[np.int64]
Chosen = npt.NDArray[np.bool_]

_SURE = 0.57
"""Above this IoU a pair is in every best assignment: the two pairs that would replace it cannot weigh as much."""


def chain(
    first: Sequence[int],
    areas: npt.NDArray[np.int64],
    tables: Sequence[Sequence[Table]],
    recipe: Recipe,
    *,
    backward: bool = True,
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

    def step(t: int, direction: int, units: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the label of each unit of plane t from the planes behind it (0: none)."""
        given = np.zeros(len(units), np.int64)
        seen = np.zeros(0, np.int64)
        for d in range(recipe.gap + 1):
            other = t - direction * (d + 1)
            if not 0 <= other < planes or given.all():
                break
            # Rows of one layout, for which the code below is compiled.
            table = tables[t][d] if direction > 0 else np.ascontiguousarray(tables[other][d][:, [1, 0, 2]])
            there = labels[spans[other]]
            if d > 0:
                # Objects that go on in a nearer plane, or have just been found in this one, are not looked for again.
                usable = ~np.isin(labels[table[:, 0]], seen) & (given[table[:, 1] - first[t]] == 0)
                table = table[usable]
            found = match(
                Side(there, areas[spans[other]], first[other]), Side(units, areas[spans[t]], first[t]), table, recipe
            )
            given = np.where(given == 0, found, given)
            if d < recipe.gap:
                seen = np.union1d(seen, np.union1d(there, given[given > 0]))
        return given

    fresh = 1
    for t in range(planes):
        units = np.arange(first[t], first[t + 1])
        given = step(t, 1, units)
        missing = given == 0
        given[missing] = fresh + np.arange(int(missing.sum()))
        fresh += int(missing.sum())
        labels[spans[t]] = given
    for t in range(planes - 2, -1, -1) if backward else ():
        units = labels[spans[t]].copy()
        given = step(t, -1, units)
        labels[spans[t]] = np.where(given > 0, given, units)
    return _by_first(labels)


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

    labels: npt.NDArray[np.int64]
    areas: npt.NDArray[np.int64]
    first: int


def match(targets: Side, units: Side, table: Table, recipe: Recipe) -> npt.NDArray[np.int64]:
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
    pairs, taken, blocks, highest = _paired(*targets, *units, table)
    for number in range(1, highest + 1):
        inside = np.flatnonzero(blocks == number)
        taken[inside] = _best(*(part[inside] for part in pairs[:3]))
    given: npt.NDArray[np.int64] = _given(pairs, taken, float(recipe.track_iou), float(recipe.track_ioa))
    return given


def _best(a: npt.NDArray[np.int64], b: npt.NDArray[np.int64], weight: npt.NDArray[np.float64]) -> Chosen:
    """Return which pairs are in the assignment of the largest total weight."""
    p, q = np.unique(a, return_inverse=True), np.unique(b, return_inverse=True)
    cost = np.zeros((len(p[0]), len(q[0])))
    cost[p[1], q[1]] = weight
    chosen = np.zeros(cost.shape, bool)
    chosen[linear_sum_assignment(cost, maximize=True)] = True
    return chosen[p[1], q[1]]


@jit
def _paired(
    targets: Any, target_areas: Any, target_first: Any, units: Any, unit_areas: Any, unit_first: Any, table: Any
) -> Any:
    """Return all pairs, which are surely in the best assignment, and the blocks of those that may be, with the last."""
    objects, at_target, target_sizes = _gathered(targets, target_areas)
    names, at_unit, unit_sizes = _gathered(units, unit_areas)
    target, unit, overlap = _summed(at_target, target_first, at_unit, unit_first, table, len(names))
    iou, part = np.empty(len(target)), np.empty(len(target))
    for k in range(len(target)):
        iou[k] = overlap[k] / (target_sizes[target[k]] + unit_sizes[unit[k]] - overlap[k])
        part[k] = overlap[k] / unit_sizes[unit[k]]
    taken, blocks, highest = _assigned(target, unit, iou, len(objects), len(names))
    return (target, unit, iou, overlap, part, objects, at_unit), taken, blocks, highest


@jit
def _gathered(labels: Any, areas: Any) -> Any:
    """Return the labels in order, the place of each profile's label among them, and the pixels of each label."""
    order = np.argsort(labels)
    unique = np.empty(len(labels), np.int64)
    at = np.empty(len(labels), np.int64)
    sizes = np.zeros(len(labels), np.int64)
    count = 0
    for k in order:
        if count == 0 or unique[count - 1] != labels[k]:
            unique[count] = labels[k]
            count += 1
        at[k] = count - 1
        sizes[count - 1] += areas[k]
    return unique[:count], at, sizes[:count]


@jit
def _summed(at_target: Any, target_first: Any, at_unit: Any, unit_first: Any, table: Any, units: Any) -> Any:
    """Return each pair of object and unit once, in order, with the pixels that they share."""
    m = len(table)
    keys = np.empty(m, np.int64)
    for k in range(m):
        keys[k] = at_target[table[k, 0] - target_first] * units + at_unit[table[k, 1] - unit_first]
    target, unit, overlap = np.empty(m, np.int64), np.empty(m, np.int64), np.zeros(m, np.int64)
    count = 0
    last = np.int64(-1)
    for k in np.argsort(keys):
        if keys[k] != last:
            last = keys[k]
            target[count], unit[count] = last // units, last % units
            count += 1
        overlap[count - 1] += table[k, 2]
    return target[:count], unit[:count], overlap[:count]


@jit
def _assigned(target: Any, unit: Any, weight: Any, targets: Any, units: Any) -> Any:
    """Return which pairs are surely in the assignment of the largest total weight; others that may be, by block.

    Pairs of different blocks have neither object nor unit in common.
    """
    taken = weight > _SURE
    used = np.zeros(targets + units, np.bool_)
    for k in range(len(target)):
        if taken[k]:
            used[target[k]] = used[targets + unit[k]] = True
    parent = np.arange(targets + units)
    pairs = np.zeros(targets + units, np.int64)  # of each block, at its root
    blocks = np.zeros(len(target), np.int64)
    open_ = np.empty(len(target), np.int64)
    count = 0
    for k in range(len(target)):
        a, b = target[k], targets + unit[k]
        if not used[a] and not used[b]:
            open_[count] = k
            count += 1
            p, q = root(parent, a), root(parent, b)
            parent[max(p, q)] = min(p, q)
    for k in open_[:count]:
        pairs[root(parent, target[k])] += 1
    number = np.zeros(targets + units, np.int64)
    found = 0
    for k in open_[:count]:
        block = root(parent, target[k])
        if pairs[block] == 1:
            taken[k] = True
            continue
        if number[block] == 0:
            found += 1
            number[block] = found
        blocks[k] = number[block]
    return taken, blocks, found


@jit
def _given(pairs: Any, taken: Any, track_iou: Any, track_ioa: Any) -> Any:
    """Return the label for each profile: that of its unit's pair, or else of the object that covers the unit most."""
    target, unit, iou, overlap, part, objects, at_unit = pairs
    n = at_unit.max() + 1
    given = np.zeros(n, np.int64)
    best = np.zeros(n, np.int64)
    for k in range(len(target)):
        if taken[k] and iou[k] >= track_iou:
            given[unit[k]] = objects[target[k]]
    matched = given > 0
    for k in range(len(target)):
        # Pairs are sorted by object: of equals the first.
        if part[k] >= track_ioa and not matched[unit[k]] and overlap[k] > best[unit[k]]:
            best[unit[k]], given[unit[k]] = overlap[k], objects[target[k]]
    return given[at_unit]


def _by_first(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
    """Number labels 1.. by their first entries; entry 0 of the array stays 0."""
    unique, at, back = np.unique(labels[1:], return_index=True, return_inverse=True)
    rank = np.empty(len(unique), np.uint32)
    rank[np.argsort(at)] = np.arange(1, len(unique) + 1)
    result = np.zeros(len(labels), np.uint32)
    result[1:] = rank[back]
    return result
