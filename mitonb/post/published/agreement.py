"""Agreement by the published rules: objects of several directions are clustered, clusters merged, voxels voted.

All is decided on atoms (voxels with the same ids in all directions) instead of lists of runs; the outcome is the same.
Where the order of objects matters it is that of directions, then ids.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mitonb.recipe import Recipe

__all__ = ["agree"]

Node = tuple[int, int]
"""Direction and id of an object."""
Pair = tuple[float, int]
"""IoU and common voxels of two objects."""

_LEAST_IOU = 0.01
_LEAST_VOXELS = 100
"""Clusters, and voted objects, that share more than either of these are joined."""


def agree(atoms: npt.NDArray[np.uint32], sizes: npt.NDArray[np.int64], recipe: Recipe) -> npt.NDArray[np.uint32]:
    """Say which object each atom belongs to, by the published rules.

    Objects of different directions that overlap are linked; above an IoU of `recipe.consensus_iou` they are clustered;
    clusters that overlap are merged, the one with the most neighbours first; a voxel stays where `recipe.votes` members
    of its cluster hold it; voted objects that still overlap are joined.

    Parameters
    ----------
    atoms : (n, directions) uint32 array
        Ids of each atom, 0 for none; row 0 is the background.
    sizes : (n,) int64 array
        Voxels of each atom.
    recipe : Recipe
        `votes`, `consensus_iou` and `lone_objects` are read.

    Returns
    -------
    objects : (n,) uint32 array
        1.. ; 0 where too few members agree.
    """
    least = 1 if recipe.lone_objects else atoms.shape[1] // 2 + 1
    # Fewer votes than members: the published software then merges whatever overlaps at all.
    surely = 0.0 if recipe.votes < least else recipe.consensus_iou
    held = _held(atoms)
    pairs = _pairs(atoms, sizes)
    objects = np.zeros(len(atoms), np.uint32)
    count = 0
    for component in _components(sorted(held), pairs):
        if len(component) < least:
            continue
        links = [(pair, pairs[pair]) for pair in itertools.combinations(component, 2) if pair in pairs]
        clusters = _components(component, (pair for pair, (iou, _) in links if iou > surely))
        members = _merged([set(c) for c in clusters], _touching(clusters, links))
        voted = [_voted(m, held, recipe.votes) for m in members if len(m) >= least]
        for together in _joined(voted, sizes):
            count += 1
            objects[sorted(together)] = count  # where objects overlap, the last one stands
    return objects


def _held(atoms: npt.NDArray[np.uint32]) -> dict[Node, list[int]]:
    """Return the atoms of each object."""
    held: dict[Node, list[int]] = defaultdict(list)
    for direction in range(atoms.shape[1]):
        for k in np.flatnonzero(atoms[:, direction]).tolist():
            held[direction, int(atoms[k, direction])].append(k)
    return held


def _pairs(atoms: npt.NDArray[np.uint32], sizes: npt.NDArray[np.int64]) -> dict[tuple[Node, Node], Pair]:
    """Return IoU and overlap of all objects of different directions that overlap."""
    directions = range(atoms.shape[1])
    volume: dict[Node, int] = defaultdict(int)
    shared: dict[tuple[Node, Node], int] = defaultdict(int)
    for ids, size in zip(atoms.tolist(), sizes.tolist(), strict=True):
        nodes = [(i, ids[i]) for i in directions if ids[i]]
        for node in nodes:
            volume[node] += size
        for pair in itertools.combinations(nodes, 2):
            shared[pair] += size
    return {(a, b): (n / (volume[a] + volume[b] - n), n) for (a, b), n in shared.items()}


def _components(nodes: Sequence[Node], pairs: Iterable[tuple[Node, Node]]) -> list[list[Node]]:
    """Return groups of linked nodes, in the order of their first members; members are sorted."""
    parent: dict[Node, Node] = {node: node for node in nodes}

    def find(node: Node) -> Node:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for a, b in pairs:
        p, q = find(a), find(b)
        parent[max(p, q)] = min(p, q)
    groups: dict[Node, list[Node]] = defaultdict(list)
    for node in nodes:
        groups[find(node)].append(node)
    return list(groups.values())


def _touching(clusters: list[list[Node]], links: list[tuple[tuple[Node, Node], Pair]]) -> list[set[int]]:
    """Return the neighbours of each cluster: those with which, in the mean over all pairs of members, it overlaps."""
    of = {node: k for k, cluster in enumerate(clusters) for node in cluster}
    total: dict[tuple[int, int], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for (a, b), (iou, voxels) in links:
        p, q = sorted((of[a], of[b]))
        if p != q:
            total[p, q][0] += iou
            total[p, q][1] += voxels
    near: list[set[int]] = [set() for _ in clusters]
    for (p, q), (iou_sum, voxel_sum) in total.items():
        n = len(clusters[p]) * len(clusters[q])
        if iou_sum / n > _LEAST_IOU or voxel_sum / n > _LEAST_VOXELS:
            near[p].add(q)
            near[q].add(p)
    return near


def _merged(members: list[set[Node]], near: list[set[int]]) -> list[set[Node]]:
    """Merge neighbouring clusters, the one with the most neighbours first, until none has any.

    A cluster that has a larger neighbour is dealt out to all its neighbours; another one takes all its neighbours in.
    Neighbours of those that were taken in are not linked to the winner: a chain of five becomes three and two.
    """
    left = dict.fromkeys(range(len(members)))

    def remove(k: int) -> None:
        for other in near[k]:
            near[other].discard(k)
        near[k] = set()
        del left[k]

    while left:
        k = max(left, key=lambda k: len(near[k]))  # the first of equals
        if not near[k]:
            break
        if max(len(members[other]) for other in near[k]) > len(members[k]):
            for other in near[k]:
                members[other] |= members[k]
            remove(k)
        else:
            for other in sorted(near[k]):
                members[k] |= members[other]
                remove(other)
    return [members[k] for k in left]


def _voted(members: set[Node], held: dict[Node, list[int]], votes: int) -> set[int]:
    """Return the atoms that enough members hold."""
    count: dict[int, int] = defaultdict(int)
    for node in members:
        for k in held[node]:
            count[k] += 1
    return {k for k, n in count.items() if n >= votes}


def _joined(voted: list[set[int]], sizes: npt.NDArray[np.int64]) -> Iterator[set[int]]:
    """Yield voted objects, joined where they overlap too much."""
    volume = [int(sizes[sorted(atoms)].sum()) for atoms in voted]
    linked: list[tuple[Node, Node]] = []
    for p, q in itertools.combinations(range(len(voted)), 2):
        shared = int(sizes[sorted(voted[p] & voted[q])].sum())
        if shared and (shared > _LEAST_VOXELS or shared > _LEAST_IOU * (volume[p] + volume[q] - shared)):
            linked.append(((0, p), (0, q)))
    for group in _components([(0, k) for k in range(len(voted))], linked):
        yield set().union(*(voted[k] for _, k in group))
