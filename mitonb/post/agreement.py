"""Agreement: which atoms of a consensus are one object; an atom is a set of voxels with the same ids everywhere."""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.post.published import agreement as published

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mitonb.recipe import Recipe

__all__ = ["agree"]

Counts = list[dict[int, int]]
"""Voxels of each id in a group, for each direction."""
Vote = Callable[[Counts, Counts, int, int], float]

_BRIDGE = 0.5
"""An object bridges two groups where it holds more than this part of the smaller one, in both."""
_CROWD = 64
"""Up to here all atoms that share ids are compared with each other; in a larger crowd, with its largest ones."""


def agree(atoms: npt.NDArray[np.uint32], sizes: npt.NDArray[np.int64], recipe: Recipe) -> npt.NDArray[np.uint32]:
    """Say which object each atom belongs to.

    Parameters
    ----------
    atoms : (n, directions) uint32 array
        Ids of each atom, 0 for none, in the order of their first voxels; row 0 is the background.
    sizes : (n,) int64 array
        Voxels of each atom.
    recipe : Recipe
        `votes`, `cluster_iou` and `lone_objects` are read.

    Returns
    -------
    objects : (n,) uint32 array
        1.. in the order of their first atoms; 0 where too few directions agree.
    """
    if recipe.rules == "published":
        return published.agree(atoms, sizes, recipe)
    directions = atoms.shape[1]
    found = np.count_nonzero(atoms, axis=1)
    accepted = found >= min(recipe.votes, directions)
    accepted[0] = False
    ballot = _Ballot(atoms, sizes, np.flatnonzero(accepted))
    for atoms_of_one in _surely_one(atoms, sizes, accepted, recipe.cluster_iou):
        ballot.join(atoms_of_one)
    ballot.run(_pairs_of_voxels)
    ballot.run(_bridges)
    owner = np.zeros(len(atoms), np.int64)
    for root, members in ballot.members.items():
        if recipe.lone_objects or np.count_nonzero(atoms[members].any(axis=0)) > 1:
            owner[members] = root
    if recipe.lone_objects:
        _add_lone(atoms, found, owner)
    return _in_order(owner)


class _Ballot:
    """Groups of atoms, joined while the mean vote over their pairs of voxels is above 0."""

    def __init__(self, atoms: npt.NDArray[np.uint32], sizes: npt.NDArray[np.int64], accepted: Iterable[int]) -> None:
        self.members: dict[int, list[int]] = {}
        self._atoms = atoms
        self._counts: dict[int, Counts] = {}
        self._sizes: dict[int, int] = {}
        self._near: dict[int, set[int]] = defaultdict(set)
        for k in map(int, accepted):
            self.members[k] = [k]
            self._sizes[k] = int(sizes[k])
            self._counts[k] = [{int(i): int(sizes[k])} if i else {} for i in atoms[k]]
        self._root = {k: k for k in self.members}
        for p, q in _candidates(atoms, sizes, list(self.members)):
            self._near[p].add(q)
            self._near[q].add(p)

    def join(self, atoms: list[int]) -> None:
        """Join atoms without a vote."""
        for k in atoms[1:]:
            p, q = self._find(atoms[0]), self._find(k)
            if p != q:
                self._merge(min(p, q), max(p, q))

    def run(self, vote: Vote) -> None:
        """Join groups, the clearest case first; of equal cases the one that comes first in the volume."""

        def case(p: int, q: int) -> tuple[float, int, int, int, int]:
            p_size, q_size = self._sizes[p], self._sizes[q]
            clear = -vote(self._counts[p], self._counts[q], p_size, q_size)
            # The sizes tell later whether the two are still what was voted on.
            return clear, p, q, p_size, q_size

        heap = [case(p, q) for p in self.members for q in self._near[p] if p < q]
        heap = [c for c in heap if c[0] < 0]
        heapq.heapify(heap)
        while heap:
            _, p, q, p_size, q_size = heapq.heappop(heap)
            if self._sizes.get(p) != p_size or self._sizes.get(q) != q_size:
                continue
            self._merge(p, q)
            for other in self._near[p]:
                new = case(min(p, other), max(p, other))
                if new[0] < 0:
                    heapq.heappush(heap, new)

    def _merge(self, p: int, q: int) -> None:
        """Put group q into group p, which comes first."""
        for mine, gone in zip(self._counts[p], self._counts.pop(q), strict=True):
            for i, n in gone.items():
                mine[i] = mine.get(i, 0) + n
        self._sizes[p] += self._sizes.pop(q)
        for k in self.members[q]:
            self._root[k] = p
        self.members[p] += self.members.pop(q)
        near = self._near.pop(q, set())
        for other in near:
            self._near[other].discard(q)
            if other != p:
                self._near[other].add(p)
        self._near[p] |= near - {p}

    def _find(self, k: int) -> int:
        return self._root[k]


def _pairs_of_voxels(p: Counts, q: Counts, p_size: int, q_size: int) -> float:
    """Return the mean vote over all pairs of voxels of two groups."""
    total = 0
    for a, b in zip(p, q, strict=True):
        small, large = (a, b) if len(a) <= len(b) else (b, a)
        same = sum(n * large.get(i, 0) for i, n in small.items())
        total += 2 * same - sum(a.values()) * sum(b.values())
    return total / (p_size * q_size)


def _bridges(p: Counts, q: Counts, p_size: int, q_size: int) -> float:
    """Return the vote on whether objects reach from one group well into the other.

    Long objects that each direction tears at another place are joined so: far ends are "different" to most
    directions, yet at each tear most directions have an object that goes on.
    """
    total = 0.0
    for a, b in zip(p, q, strict=True):
        small, large = (a, b) if len(a) <= len(b) else (b, a)
        n_a, n_b = sum(a.values()), sum(b.values())
        if n_a and n_b:
            shared = sum(min(n, large.get(i, 0)) for i, n in small.items())
            says = min(1.0, shared / (_BRIDGE * min(n_a, n_b)) - 1)
            total += says * (n_a / p_size) * (n_b / q_size)
    return total


def _candidates(
    atoms: npt.NDArray[np.uint32], sizes: npt.NDArray[np.int64], accepted: list[int]
) -> Iterator[tuple[int, int]]:
    """Yield the pairs of atoms with a vote above 0: two ids in common, or one where all else is open."""
    directions = range(atoms.shape[1])
    pairs: dict[tuple[int, ...], list[int]] = defaultdict(list)
    singles: dict[tuple[int, int], list[int]] = defaultdict(list)
    for k in accepted:
        ids = [int(i) for i in atoms[k]]
        for i, j in itertools.combinations(directions, 2):
            if ids[i] and ids[j]:
                pairs[i, ids[i], j, ids[j]].append(k)
        for i in directions:
            if ids[i]:
                singles[i, ids[i]].append(k)
    for crowd in pairs.values():
        yield from _couples(crowd, sizes)
    for (i, _), crowd in singles.items():
        others = atoms[crowd][:, [j for j in directions if j != i]] > 0
        closed = others.sum(axis=1)
        open_ = [k for k, n in zip(crowd, closed, strict=True) if n < len(directions) - 1]
        full = [k for k, n in zip(crowd, closed, strict=True) if n == len(directions) - 1]
        alone = [k for k, n in zip(crowd, closed, strict=True) if n == 0]
        for p, q in itertools.chain(_couples(open_, sizes), itertools.product(alone, full)):
            if not ((atoms[p] > 0) & (atoms[q] > 0) & (atoms[p] != atoms[q])).any():
                yield min(p, q), max(p, q)


def _couples(crowd: list[int], sizes: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    if len(crowd) <= _CROWD:
        yield from itertools.combinations(crowd, 2)
        return
    largest = sorted(crowd, key=lambda k: (-int(sizes[k]), k))[:8]
    yield from ((min(p, q), max(p, q)) for p in largest for q in crowd if p != q)


def _surely_one(
    atoms: npt.NDArray[np.uint32], sizes: npt.NDArray[np.int64], accepted: npt.NDArray[np.bool_], least: float
) -> Iterator[list[int]]:
    """Yield atoms that hold two ids of one cluster; a cluster is chained by ids of two directions with such an IoU."""
    directions = atoms.shape[1]
    parent: dict[tuple[int, int], tuple[int, int]] = {}

    def find(node: tuple[int, int]) -> tuple[int, int]:
        while parent.setdefault(node, node) != node:
            node = parent[node]
        return node

    volume = [_totals(atoms[:, i], sizes) for i in range(directions)]
    for i, j in itertools.combinations(range(directions), 2):
        keys = atoms[:, i].astype(np.uint64) << np.uint64(32) | atoms[:, j].astype(np.uint64)
        for key, shared in _totals(keys, sizes).items():
            a, b = key >> 32, key & 0xFFFFFFFF
            if a and b and shared > least * (volume[i][a] + volume[j][b] - shared):
                p, q = find((i, a)), find((j, b))
                parent[max(p, q)] = min(p, q)
    held: dict[tuple[int, int], list[int]] = defaultdict(list)
    for k in map(int, np.flatnonzero(accepted)):
        clusters = [find((i, int(a))) for i, a in enumerate(atoms[k]) if a and (i, int(a)) in parent]
        for cluster in sorted({c for c in clusters if clusters.count(c) > 1}):
            held[cluster].append(k)
    yield from held.values()


def _totals(keys: npt.NDArray[np.unsignedinteger[Any]], sizes: npt.NDArray[np.int64]) -> dict[int, int]:
    """Return the voxels of each key."""
    unique, at = np.unique(keys, return_inverse=True)
    totals = np.zeros(len(unique), np.int64)
    np.add.at(totals, at, sizes)
    return dict(zip(unique.tolist(), totals.tolist(), strict=True))


def _add_lone(atoms: npt.NDArray[np.uint32], found: npt.NDArray[np.intp], owner: npt.NDArray[np.int64]) -> None:
    """Make each id that only its own direction knows an object."""
    for i in range(atoms.shape[1]):
        met = np.unique(atoms[found > 1, i])
        alone = np.flatnonzero((atoms[:, i] > 0) & (found == 1) & ~np.isin(atoms[:, i], met) & (owner == 0))
        owner[alone] = alone  # an id that nothing else overlaps has exactly one atom


def _in_order(owner: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
    """Number owners 1.. by their first atoms; 0 stays 0."""
    unique, at, back = np.unique(owner, return_index=True, return_inverse=True)
    rank = np.zeros(len(unique), np.uint32)
    real = np.flatnonzero(unique > 0)
    rank[real[np.argsort(at[real])]] = np.arange(1, len(real) + 1)
    return rank[back]
