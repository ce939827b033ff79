"""The ballot of a consensus: groups of atoms are joined while the votes for it prevail, the clearest case first."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
import numpy.typing as npt

from mitonb.post.compiled import jit
from mitonb.post.profiles import root

__all__ = ["elect"]

_BRIDGE = 0.5
"""An object bridges two groups where it holds more than this part of the smaller one, in both."""


def elect(
    atoms: npt.NDArray[np.uint32],
    sizes: npt.NDArray[np.int64],
    surely: npt.NDArray[np.int64],
    couples: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Join atoms to groups.

    First those that are surely one. Then pairs of groups while the mean vote over their pairs of voxels is above 0.
    Then pairs of groups that most directions bridge with one object: long objects that each direction tears at another
    place are joined so, whose far ends are "different" to most directions.

    Parameters
    ----------
    atoms : (n, directions) uint32 array
        Ids of each atom, 0 for none.
    sizes : (n,) int64 array
        Voxels of each atom.
    surely : (n,) int64 array
        For each atom the first of those that are surely one with it, itself if there is none.
    couples : (m, 2) int64 array
        Pairs of atoms on which there is a vote.

    Returns
    -------
    owner : (n,) int64 array
        First atom of each atom's group.
    known : (n, directions) int64 array
        Voxels of each group that lie in an object of each direction; rows of first atoms count.
    """
    parent, known = _elected(atoms, sizes, surely, couples)
    return parent, known


@jit
def _elected(atoms: Any, sizes: Any, surely: Any, couples: Any) -> Any:
    n, directions = atoms.shape
    parent = np.arange(n)
    weight = sizes.copy()
    # Voxels of each id in a group, for each direction: sorted stretches of one pool. Stretch: place, length, room.
    stretch = np.zeros((n, directions, 3), np.int64)
    known = np.zeros((n, directions), np.int64)
    pool_ids = np.zeros(2 * n * directions, np.uint32)
    pool_counts = np.zeros(2 * n * directions, np.int64)
    used = 0
    for k in range(n):
        for d in range(directions):
            stretch[k, d] = used, 0, 1
            if atoms[k, d] != 0:
                stretch[k, d, 1] = 1
                pool_ids[used], pool_counts[used] = atoms[k, d], sizes[k]
                known[k, d] = sizes[k]
            used += 1
    # Neighbours of a group: a chain of atoms, which stand for the groups that they are in by now.
    head, tail = np.full(n, -1), np.full(n, -1)
    link = np.full(2 * len(couples), -1)
    for k in range(2 * len(couples)):
        a = couples[k // 2, k % 2]
        if head[a] < 0:
            head[a] = k
        else:
            link[tail[a]] = k
        tail[a] = k
    marks = np.full(n, -1)
    for k in range(n):
        if surely[k] != k:
            pool_ids, pool_counts, used = _join(
                surely[k], k, parent, weight, stretch, known, pool_ids, pool_counts, used, head, tail, link
            )
    for bridges in (False, True):
        # The sizes tell later whether the two are still what was voted on.
        heap = [(0.0, 0, 0, 0, 0)]
        heap.clear()
        for p in range(n):
            if parent[p] == p:
                for q in _near(p, parent, head, tail, link, couples, marks):
                    if p < q:
                        vote = _vote(p, q, bridges, weight, stretch, known, pool_ids, pool_counts)
                        if vote > 0:
                            heap.append((-vote, p, q, weight[p], weight[q]))
        heapq.heapify(heap)
        while len(heap) > 0:
            _, p, q, p_size, q_size = heapq.heappop(heap)
            if weight[p] != p_size or weight[q] != q_size:
                continue
            pool_ids, pool_counts, used = _join(
                p, q, parent, weight, stretch, known, pool_ids, pool_counts, used, head, tail, link
            )
            for other in _near(p, parent, head, tail, link, couples, marks):
                a, b = min(p, other), max(p, other)
                vote = _vote(a, b, bridges, weight, stretch, known, pool_ids, pool_counts)
                if vote > 0:
                    heapq.heappush(heap, (-vote, a, b, weight[a], weight[b]))
    for k in range(n):
        parent[k] = root(parent, k)
    return parent, known


@jit
def _near(p: Any, parent: Any, head: Any, tail: Any, link: Any, couples: Any, marks: Any) -> Any:
    """Return the neighbours of a group, each once; what is in its chain twice, or has become part of it, is let go."""
    found = np.empty(16, np.int64)
    count = 0
    before = -1
    k = head[p]
    while k >= 0:
        other = root(parent, couples[k // 2, 1 - k % 2])
        if other != p and marks[other] != p:
            marks[other] = p
            if count == len(found):
                found = np.concatenate((found, np.empty_like(found)))
            found[count] = other
            count += 1
            before = k
        elif before < 0:
            head[p] = link[k]
        else:
            link[before] = link[k]
        k = link[k]
    tail[p] = before
    for k in range(count):
        marks[found[k]] = -1
    return found[:count]


@jit
def _join(
    p: Any, q: Any, parent: Any, weight: Any, stretch: Any, known: Any, ids: Any, counts: Any, used: Any,
    head: Any, tail: Any, link: Any,
) -> Any:  # fmt: skip
    """Put group q into group p, which comes first; return the pool, which may have grown."""
    parent[q] = p
    weight[p] += weight[q]
    weight[q] = -1
    if head[q] >= 0:
        if head[p] < 0:
            head[p] = head[q]
        else:
            link[tail[p]] = head[q]
        tail[p] = tail[q]
    for d in range(stretch.shape[1]):
        known[p, d] += known[q, d]
        # The shorter list goes into the longer one, so that no entry is moved often.
        large, small = (p, q) if stretch[p, d, 1] >= stretch[q, d, 1] else (q, p)
        a, length, room = stretch[large, d]
        b, more = stretch[small, d, 0], stretch[small, d, 1]
        new = 0
        for j in range(b, b + more):
            new += _find(ids, a, length, ids[j]) < 0
        if length + new > room:
            room = 2 * (length + new)
            while used + room > len(ids):
                ids, counts = np.concatenate((ids, np.zeros_like(ids))), np.concatenate((counts, np.zeros_like(counts)))
            for i in range(length):
                ids[used + i], counts[used + i] = ids[a + i], counts[a + i]
            a, used = used, used + room
        i, j, k = a + length - 1, b + more - 1, a + length + new - 1
        while j >= b:
            if i >= a and ids[i] == ids[j]:
                ids[k], counts[k] = ids[i], counts[i] + counts[j]
                i, j = i - 1, j - 1
            elif i >= a and ids[i] > ids[j]:
                ids[k], counts[k] = ids[i], counts[i]
                i -= 1
            else:
                ids[k], counts[k] = ids[j], counts[j]
                j -= 1
            k -= 1
        stretch[p, d] = a, length + new, room
    return ids, counts, used


@jit
def _find(ids: Any, a: Any, length: Any, wanted: Any) -> Any:
    """Return the place of an id in a sorted stretch, -1 if it is not there."""
    low, high = a, a + length
    while low < high:
        middle = (low + high) // 2
        if ids[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low if low < a + length and ids[low] == wanted else -1


@jit
def _vote(p: Any, q: Any, bridges: Any, weight: Any, stretch: Any, known: Any, ids: Any, counts: Any) -> Any:
    """Return the mean vote over all pairs of voxels of two groups; or that on objects which reach well into both.

    Counts are multiplied as floating-point numbers, which whole ones of this size are exact in and cannot overflow.
    """
    total = 0.0
    for d in range(stretch.shape[1]):
        n_p, n_q = known[p, d], known[q, d]
        if n_p == 0 or n_q == 0:
            continue
        small, large = (p, q) if stretch[p, d, 1] <= stretch[q, d, 1] else (q, p)
        same = 0.0
        b = stretch[small, d, 0]
        for j in range(b, b + stretch[small, d, 1]):
            i = _find(ids, stretch[large, d, 0], stretch[large, d, 1], ids[j])
            if i >= 0:
                same += min(counts[i], counts[j]) if bridges else float(counts[i]) * float(counts[j])
        if bridges:
            says = min(1.0, same / (_BRIDGE * min(n_p, n_q)) - 1)
            total += says * (n_p / weight[p]) * (n_q / weight[q])
        else:
            total += 2 * same - float(n_p) * float(n_q)
    return total if bridges else total / (float(weight[p]) * float(weight[q]))
