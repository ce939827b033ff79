"""Votes on joined regions, and the matching of profiles, give what a plain and slow reading of their rules gives."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import fastremap
import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from mitonb.post import tables
from mitonb.post.consensus import Groups, agglomerate
from mitonb.post.tables import overlaps
from mitonb.post.tracking import Side, match
from mitonb.recipe import Recipe

if TYPE_CHECKING:
    import pytest

Regions = npt.NDArray[np.uint32]
Sizes = npt.NDArray[np.int64]


def drawn(rng: np.random.Generator, directions: int) -> tuple[Regions, Sizes]:
    """Draw up to 26 distinct regions, some of them large, no two sums of which are alike."""
    triples = rng.integers(0, rng.integers(2, 5), (rng.integers(1, 27), directions))
    triples = rng.permutation(np.unique(triples[triples.any(axis=1)], axis=0))
    regions = np.concatenate([np.zeros((1, directions)), triples]).astype(np.uint32)
    sizes = 1000 * rng.choice([1, 2, 3, 40, 1000], len(triples)) + rng.integers(1, 1000, len(triples))
    return regions, np.concatenate([[0], sizes])


def voxels(group: set[int], regions: Regions, sizes: Sizes, direction: int) -> dict[int, int]:
    """Return the voxels of each id of a direction in a group."""
    counts: dict[int, int] = {}
    for k in sorted(group):
        if regions[k, direction]:
            counts[int(regions[k, direction])] = counts.get(int(regions[k, direction]), 0) + int(sizes[k])
    return counts


def mean_vote(p: set[int], q: set[int], regions: Regions, sizes: Sizes) -> float:
    """Ask all pairs of voxels of two groups, in all directions: 1 the same object, -1 different ones."""
    total = 0
    for d in range(regions.shape[1]):
        for (a, n), (b, m) in itertools.product(*(voxels(g, regions, sizes, d).items() for g in (p, q))):
            total += n * m if a == b else -n * m
    return total / (sum(int(sizes[k]) for k in p) * sum(int(sizes[k]) for k in q))


def plainly(regions: Regions, sizes: Sizes) -> list[int]:
    """Join the clearest pair of groups by their mean votes, again and again; of equal ones the first in the volume."""
    groups = {k: {k} for k in range(1, len(regions))}
    while True:
        pairs = itertools.combinations(sorted(groups), 2)
        cases = [(-mean_vote(groups[p], groups[q], regions, sizes), p, q) for p, q in pairs]
        if not cases or min(cases)[0] >= 0:
            owner = {k: p for p, members in groups.items() for k in members}
            return [owner[k] for k in range(1, len(regions))]
        _, p, q = min(cases)
        groups[p] |= groups.pop(q)


@given(st.integers(0, 2**32 - 1), st.integers(2, 3))
@settings(max_examples=80, deadline=None)
def test_the_clearest_groups_are_joined_first(seed: int, directions: int) -> None:
    regions, sizes = drawn(np.random.default_rng(seed), directions)
    groups = Groups(regions[1:], sizes[1:], np.arange(len(regions) - 1))
    groups.join(groups.mean_vote, groups.agreeing())
    assert (1 + groups.owners(lone=True)).tolist() == plainly(regions, sizes)


def test_what_too_few_directions_know_is_no_object() -> None:
    regions = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0], [3, 3, 0]], np.uint32)
    sizes = np.array([0, 50, 50, 50])
    assert agglomerate(regions, sizes, Recipe(votes=2)).tolist() == [0, 0, 0, 1]
    assert agglomerate(regions, sizes, Recipe(votes=3)).tolist() == [0, 0, 0, 0]
    assert agglomerate(regions, sizes, Recipe(votes=2, lone_objects=True)).tolist() == [0, 1, 2, 3]


def renumbered(ids: npt.NDArray[np.uint32]) -> tuple[npt.NDArray[np.uint32], int]:
    numbers, names = fastremap.renumber(ids, in_place=False)
    return numbers.astype(np.uint32), len(set(names) - {0})


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_matched_profiles_have_the_best_total_overlap(seed: int) -> None:
    rng = np.random.default_rng(seed)
    side = int(rng.integers(4, 20))
    few = int(rng.integers(2, 12))
    before, after = (np.repeat(rng.integers(0, few, (side, 3)), 8, axis=1).astype(np.uint32) for _ in range(2))
    after = np.roll(after, int(rng.integers(0, 8)), axis=1)
    after, count = renumbered(after)
    for k in range(1, count + 1):  # No profile is covered wholly, so that nothing is joined but pairs.
        before.flat[np.flatnonzero(after == k)[0]] = 0
    before, there = renumbered(before)
    table = overlaps(before, after)
    if not len(table):
        return
    areas = [np.bincount(ids.ravel(), minlength=n + 1)[1:] for ids, n in ((before, there), (after, count))]
    iou = np.zeros((there, count))
    for a, b, pixels in table.tolist():
        iou[a - 1, b - 1] = pixels / (areas[0][a - 1] + areas[1][b - 1] - pixels)
    sides = [Side(np.arange(1, len(n) + 1), n, 1) for n in areas]
    found = match(sides[0], sides[1], table, Recipe(track_iou=0.0, track_ioa=1.0))
    pairs = np.flatnonzero(found)
    assert len(np.unique(found[pairs])) == len(pairs)
    assert np.isclose(iou[found[pairs] - 1, pairs].sum(), iou[linear_sum_assignment(iou, maximize=True)].sum())


def test_pairs_do_not_depend_on_the_pieces_in_which_they_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, n, (20, 15, 15)).astype(np.uint32) for n in (5, 4))
    mask = rng.random(a.shape) < 0.5
    mask[:4] = True  # a piece in which nothing counts
    whole = tables.pairs(a, b, mask)
    monkeypatch.setattr(tables, "_CHUNK", 500)
    assert all(np.array_equal(one, other) for one, other in zip(whole, tables.pairs(a, b, mask), strict=True))
    assert whole[2].sum() == (~mask).sum()
