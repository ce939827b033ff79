"""The ballot of atoms, and the matching of profiles, give what a plain and slow reading of their rules gives."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from mitonb.post.agreement import agree
from mitonb.post.matching import Side, match
from mitonb.post.run_tables import numbered
from mitonb.post.runs import paint, runs_of
from mitonb.post.tables import overlaps
from mitonb.recipe import Recipe

Atoms = npt.NDArray[np.uint32]
Sizes = npt.NDArray[np.int64]


def drawn(rng: np.random.Generator, directions: int) -> tuple[Atoms, Sizes]:
    """Draw up to 26 distinct atoms, some of them large."""
    triples = rng.integers(0, rng.integers(2, 5), (rng.integers(1, 27), directions))
    triples = rng.permutation(np.unique(triples[triples.any(axis=1)], axis=0))
    atoms = np.concatenate([np.zeros((1, directions)), triples]).astype(np.uint32)
    return atoms, np.concatenate([[0], rng.choice([1, 2, 3, 40, 1000], len(triples))])


def voxels(group: set[int], atoms: Atoms, sizes: Sizes, direction: int) -> dict[int, int]:
    """Return the voxels of each id of a direction in a group."""
    counts: dict[int, int] = {}
    for k in sorted(group):
        if atoms[k, direction]:
            counts[int(atoms[k, direction])] = counts.get(int(atoms[k, direction]), 0) + int(sizes[k])
    return counts


def mean_vote(p: set[int], q: set[int], atoms: Atoms, sizes: Sizes) -> float:
    """Ask all pairs of voxels of two groups, in all directions: 1 the same object, -1 different ones."""
    total = 0
    for d in range(atoms.shape[1]):
        for (a, n), (b, m) in itertools.product(*(voxels(g, atoms, sizes, d).items() for g in (p, q))):
            total += n * m if a == b else -n * m
    return total / (sum(int(sizes[k]) for k in p) * sum(int(sizes[k]) for k in q))


def bridged(p: set[int], q: set[int], atoms: Atoms, sizes: Sizes) -> float:
    """Ask each direction whether its objects reach from one group well into the other."""
    total = 0.0
    for d in range(atoms.shape[1]):
        a, b = (voxels(g, atoms, sizes, d) for g in (p, q))
        if a and b:
            n, m = sum(a.values()), sum(b.values())
            says = min(1.0, sum(min(a[i], b.get(i, 0)) for i in a) / (0.5 * min(n, m)) - 1)
            total += says * (n / sum(int(sizes[k]) for k in p)) * (m / sum(int(sizes[k]) for k in q))
    return total


def candidates(p: int, q: int, atoms: Atoms) -> bool:
    """Return whether two atoms have two ids in common, or one where one of them knows no more or both have gaps."""
    both = (atoms[p] > 0) & (atoms[q] > 0)
    common = int((both & (atoms[p] == atoms[q])).sum())
    known = sorted(int((atoms[k] > 0).sum()) for k in (p, q))
    directions = atoms.shape[1]
    open_ = common == 1 and not (both & (atoms[p] != atoms[q])).any() and (known[0] == 1 or known[1] < directions)
    return common >= 2 or open_


def plainly(atoms: Atoms, sizes: Sizes, votes: int) -> npt.NDArray[np.uint32]:
    """Join the clearest pair of groups, again and again; of equal ones the first in the volume."""
    groups = {k: {k} for k in range(1, len(atoms)) if (atoms[k] > 0).sum() >= min(votes, atoms.shape[1])}
    couples = [(p, q) for p, q in itertools.combinations(sorted(groups), 2) if candidates(p, q, atoms)]
    for vote in (mean_vote, bridged):
        while True:
            owner = {k: p for p, members in groups.items() for k in members}
            near = {(min(owner[p], owner[q]), max(owner[p], owner[q])) for p, q in couples} - {(p, p) for p in groups}
            cases = [(-vote(groups[p], groups[q], atoms, sizes), p, q) for p, q in near]
            if not cases or min(cases)[0] >= 0:
                break
            _, p, q = min(cases)
            groups[p] |= groups.pop(q)
    result = np.zeros(len(atoms), np.uint32)
    kept = [g for _, g in sorted(groups.items()) if (atoms[sorted(g)] > 0).any(axis=0).sum() > 1]
    for number, group in enumerate(kept, 1):
        result[sorted(group)] = number
    return result


@given(st.integers(0, 2**32 - 1), st.integers(2, 3), st.integers(1, 3))
@settings(max_examples=80, deadline=None)
def test_the_ballot_joins_the_clearest_groups_first(seed: int, directions: int, votes: int) -> None:
    atoms, sizes = drawn(np.random.default_rng(seed), directions)
    # No two objects have an IoU above 1, so that all is put to the vote.
    assert agree(atoms, sizes, Recipe(votes=votes, consensus_iou=1.0)).tolist() == plainly(atoms, sizes, votes).tolist()


def renumbered(ids: npt.NDArray[np.uint32]) -> tuple[npt.NDArray[np.uint32], int]:
    runs, areas = numbered(runs_of(ids))
    return paint(runs)[0], len(areas)


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
