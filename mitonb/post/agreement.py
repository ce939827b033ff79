"""Agreement: which atoms of a consensus are one object; an atom is a set of voxels with the same ids everywhere."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.post import published
from mitonb.post.ballot import elect
from mitonb.post.compiled import jit
from mitonb.post.profiles import root

if TYPE_CHECKING:
    from mitonb.recipe import Recipe

__all__ = ["agree"]

_CROWD = 64
"""Up to here all atoms that share ids are compared with each other; in a larger crowd, with its largest ones."""
_LEADERS = 8


def agree(atoms: npt.NDArray[np.uint32], sizes: npt.NDArray[np.int64], recipe: Recipe) -> npt.NDArray[np.uint32]:
    """Say which object each atom belongs to.

    Parameters
    ----------
    atoms : (n, directions) uint32 array
        Ids of each atom, 0 for none, in the order of their first voxels; row 0 is the background.
    sizes : (n,) int64 array
        Voxels of each atom.
    recipe : Recipe
        `votes`, `consensus_iou` and `lone_objects` are read.

    Returns
    -------
    objects : (n,) uint32 array
        1.. in the order of their first atoms; 0 where too few directions agree.
    """
    if recipe.rules == "published":
        return published.agree(atoms, sizes, recipe)
    atoms, directions = np.ascontiguousarray(atoms), atoms.shape[1]
    found = np.count_nonzero(atoms, axis=1)
    accepted = found >= min(recipe.votes, directions)
    accepted[0] = False
    surely = _surely_one(atoms, sizes, accepted, recipe.consensus_iou)
    owner, known = elect(atoms, sizes, surely, _couples(atoms, sizes, accepted))
    owner[~accepted] = 0
    if not recipe.lone_objects:
        owner[np.count_nonzero(known[owner], axis=1) < 2] = 0
    else:
        _add_lone(atoms, found, owner)
    return _in_order(owner)


def _surely_one(
    atoms: npt.NDArray[np.uint32], sizes: npt.NDArray[np.int64], accepted: npt.NDArray[np.bool_], least: float
) -> npt.NDArray[np.int64]:
    """Return, for each atom that holds two ids of one cluster, the first such atom; for the others themselves.

    A cluster is chained by ids of two directions with such an IoU.
    """
    directions = atoms.shape[1]
    offset, nodes, volume = 0, np.zeros(atoms.shape, np.int64), []
    for i in range(directions):
        ids, nodes[:, i] = np.unique(atoms[:, i], return_inverse=True)
        volume.append(np.bincount(nodes[:, i], weights=sizes))
        nodes[:, i] += offset
        offset += len(ids)
    volumes = np.concatenate(volume)
    parent = np.arange(offset)
    for i, j in itertools.combinations(range(directions), 2):
        both = np.flatnonzero((atoms[:, i] > 0) & (atoms[:, j] > 0))
        keys, at = np.unique(nodes[both, i] * offset + nodes[both, j], return_inverse=True)
        overlap = np.bincount(at, weights=sizes[both])
        p, q = keys // offset, keys % offset
        close = overlap > least * (volumes[p] + volumes[q] - overlap)
        _unite(parent, p[close], q[close])
    surely: npt.NDArray[np.int64] = _first_of_cluster(atoms, parent[nodes], accepted)
    return surely


@jit
def _unite(parent: Any, p: Any, q: Any) -> None:
    for k in range(len(p)):
        a, b = root(parent, p[k]), root(parent, q[k])
        parent[max(a, b)] = min(a, b)
    for k in range(len(parent)):
        parent[k] = root(parent, k)


@jit
def _first_of_cluster(atoms: Any, cluster: Any, accepted: Any) -> Any:
    n, directions = atoms.shape
    first = np.full(cluster.max() + 1, -1)
    result = np.arange(n)
    for k in range(n):
        if accepted[k]:
            for i in range(directions):
                for j in range(i + 1, directions):
                    c = cluster[k, i]
                    if atoms[k, i] != 0 and atoms[k, j] != 0 and c == cluster[k, j]:
                        if first[c] < 0:
                            first[c] = k
                        result[k] = first[c]
    return result


def _couples(
    atoms: npt.NDArray[np.uint32], sizes: npt.NDArray[np.int64], accepted: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """Return the pairs of atoms with a vote above 0: two ids in common, or one where all else is open."""
    directions = range(atoms.shape[1])
    parts = []
    for i, j in itertools.combinations(directions, 2):
        there = np.flatnonzero(accepted & (atoms[:, i] > 0) & (atoms[:, j] > 0))
        keys = atoms[there, i].astype(np.uint64) << np.uint64(32) | atoms[there, j]
        order = np.argsort(keys, kind="stable")
        parts.append(_of_crowds(atoms, sizes, there[order], keys[order], False))
    for i in directions:
        there = np.flatnonzero(accepted & (atoms[:, i] > 0))
        keys = atoms[there, i].astype(np.uint64)
        order = np.argsort(keys, kind="stable")
        parts.append(_of_crowds(atoms, sizes, there[order], keys[order], True))
    both = np.unique(np.concatenate(parts))
    return np.stack([both // len(atoms), both % len(atoms)], axis=1)


@jit
def _of_crowds(atoms: Any, sizes: Any, members: Any, keys: Any, single: Any) -> Any:
    """Return the couples of each crowd, atoms with one key; where these share a single id, of those that may be one.

    A couple (p, q), p < q, is one number, p * atoms + q.
    """
    couples = np.empty(1024, np.int64)
    count = 0
    directions = atoms.shape[1]
    begin = 0
    while begin < len(members):
        end = begin + 1
        while end < len(members) and keys[end] == keys[begin]:
            end += 1
        crowd = members[begin:end]
        begin = end
        full = crowd[:0]
        alone = crowd[:0]
        if single:
            held = np.zeros(len(crowd), np.int64)
            for k in range(len(crowd)):
                for d in range(directions):
                    held[k] += atoms[crowd[k], d] != 0
            full, alone, crowd = crowd[held == directions], crowd[held == 1], crowd[held < directions]
        leaders = crowd if len(crowd) <= _CROWD else _largest(crowd, sizes)
        for pairs in range(2):
            for p in leaders if pairs == 0 else alone:
                for q in crowd if pairs == 0 else full:
                    if p == q or (single and _differ(atoms, p, q)):
                        continue
                    if count == len(couples):
                        couples = np.concatenate((couples, np.empty_like(couples)))
                    couples[count] = min(p, q) * len(atoms) + max(p, q)
                    count += 1
    return couples[:count].copy()


@jit
def _differ(atoms: Any, p: Any, q: Any) -> Any:
    """Return whether a direction has two different objects there."""
    for d in range(atoms.shape[1]):
        if atoms[p, d] != 0 and atoms[q, d] != 0 and atoms[p, d] != atoms[q, d]:
            return True
    return False


@jit
def _largest(crowd: Any, sizes: Any) -> Any:
    """Return the largest atoms of a crowd, of equals the first ones."""
    largest = np.empty(_LEADERS, np.int64)
    gone = np.zeros(len(crowd), np.bool_)
    for n in range(_LEADERS):
        best = -1
        for k in range(len(crowd)):
            if not gone[k] and (best < 0 or sizes[crowd[k]] > sizes[crowd[best]]):
                best = k
        gone[best] = True
        largest[n] = crowd[best]
    return largest


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
