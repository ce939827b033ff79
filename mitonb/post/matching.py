"""Matching: which profiles of a plane continue which objects; everything is decided on tables."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mitonb.recipe import Recipe

__all__ = ["chain", "match"]

Table = npt.NDArray[np.int64]

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
        `merge_iou`, `merge_ioa` and `gap` are read.
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
            table = tables[t][d] if direction > 0 else tables[other][d][:, [1, 0, 2]]
            old, new = table[:, 0], table[:, 1]
            there = labels[spans[other]]
            # Objects that go on in a nearer plane, or have just been found in this one, are not looked for farther off.
            usable = ~np.isin(labels[old], seen) & (given[new - first[t]] == 0)
            found = match(
                labels[old][usable], units[new - first[t]][usable], table[usable, 2],
                _sums(there, areas[spans[other]]), _sums(units, areas[spans[t]]), recipe,
            )  # fmt: skip
            given = np.where(given == 0, found(units), given)
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


def match(
    targets: npt.NDArray[np.int64], units: npt.NDArray[np.int64], shared: npt.NDArray[np.int64],
    target_sizes: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]],
    unit_sizes: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]],
    recipe: Recipe,
) -> Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]:  # fmt: skip
    """Match the objects of one plane with the units of another.

    Parameters
    ----------
    targets, units, shared : (m,) int64 arrays
        Each row: an object, a unit, and the pixels that they share; a pair may come in several rows.
    target_sizes, unit_sizes : callable
        Return the pixels of objects and units.
    recipe : Recipe
        `merge_iou` and `merge_ioa` are read.

    Returns
    -------
    callable
        Returns the object of each unit, 0 for none.
    """
    if len(targets) == 0:
        return _lookup(np.zeros(0, np.int64), np.zeros(0, np.int64))
    keys, at = np.unique((targets.astype(np.uint64) << np.uint64(32)) | units.astype(np.uint64), return_inverse=True)
    overlap = np.bincount(at, weights=shared).astype(np.int64)
    target, unit = (keys >> np.uint64(32)).astype(np.int64), (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
    sizes = unit_sizes(unit)
    iou = overlap / (target_sizes(target) + sizes - overlap)
    taken = _assigned(target, unit, iou) & (iou >= recipe.merge_iou)
    left = ~np.isin(unit, unit[taken]) & (overlap / sizes >= recipe.merge_ioa)
    # The object that covers a unit most; of equals the first: rows are sorted by object, and the sort is stable.
    order = np.lexsort((-overlap[left], unit[left]))
    covered, best = np.unique(unit[left][order], return_index=True)
    return _lookup(np.concatenate([unit[taken], covered]), np.concatenate([target[taken], target[left][order][best]]))


def _assigned(a: Table, b: Table, weight: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return which pairs are in the assignment of the largest total weight."""
    taken = weight > _SURE
    open_ = np.flatnonzero(~np.isin(a, a[taken]) & ~np.isin(b, b[taken]))
    if len(open_) == 0:
        return taken
    rows, i = np.unique(a[open_], return_inverse=True)
    columns, j = np.unique(b[open_], return_inverse=True)
    if len(open_) == len(rows) == len(columns):
        taken[open_] = True
        return taken
    n = len(rows) + len(columns)
    _, block = connected_components(coo_array((np.ones(len(open_)), (i, len(rows) + j)), shape=(n, n)), directed=False)
    for number in np.unique(block[i]):
        inside = np.flatnonzero(block[i] == number)
        p, q = np.unique(i[inside], return_inverse=True), np.unique(j[inside], return_inverse=True)
        cost = np.zeros((len(p[0]), len(q[0])))
        cost[p[1], q[1]] = weight[open_[inside]]
        chosen = np.zeros(cost.shape, bool)
        chosen[linear_sum_assignment(cost, maximize=True)] = True
        taken[open_[inside]] = chosen[p[1], q[1]]
    return taken


def _sums(
    keys: npt.NDArray[np.int64], values: npt.NDArray[np.int64]
) -> Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]:
    """Return a function that gives the summed value of each key."""
    unique, at = np.unique(keys, return_inverse=True)
    totals = np.bincount(at, weights=values, minlength=len(unique)).astype(np.int64)
    return lambda wanted: totals[np.searchsorted(unique, wanted)]


def _lookup(
    keys: npt.NDArray[np.int64], values: npt.NDArray[np.int64]
) -> Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int64]]:
    """Return a function that gives the value of each key, 0 for unknown ones."""
    if len(keys) == 0:
        return lambda wanted: np.zeros(len(wanted), np.int64)
    order = np.argsort(keys)
    keys, values = keys[order], values[order]

    def find(wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[at] == wanted, values[at], 0)

    return find


def _by_first(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
    """Number labels 1.. by their first entries; entry 0 of the array stays 0."""
    unique, at, back = np.unique(labels[1:], return_index=True, return_inverse=True)
    rank = np.empty(len(unique), np.uint32)
    rank[np.argsort(at)] = np.arange(1, len(unique) + 1)
    result = np.zeros(len(labels), np.uint32)
    result[1:] = rank[back]
    return result
