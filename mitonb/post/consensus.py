"""Consensus: objects of several cutting directions become one set, by the votes of the directions on each voxel.

Voxels with the same ids in all directions are one *joined region*; whatever is decided, is decided on these.
"""

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse

from mitonb.post import published
from mitonb.post.tables import PairTable
from mitonb.recipe import Recipe

Volume = npt.NDArray[np.uint32]
Numbers = npt.NDArray[np.int64]
Vote = Callable[[int, int], float]
Case = tuple[float, int, int]

_ROWS = 4096
"""Groups that are compared with all others at a time."""
_CROWD = 64
"""Larger groups with which one is compared."""
_BRIDGE = 0.5
"""An object bridges two groups where it holds more than this part of the smaller one, in both."""


class JoinedRegions:
    """Numbers the joined regions of a volume, slab after slab: voxels with the same ids in all directions are one.

    Numbers follow the first voxels, so they do not depend on where slabs begin and end.

    Parameters
    ----------
    directions : int
        Two or three.

    Examples
    --------
    >>> joined = JoinedRegions(2)
    >>> joined.number([np.array([5, 5, 0, 5], np.uint32), np.array([0, 2, 2, 0], np.uint32)]).tolist()
    [1, 2, 3, 1]
    >>> joined.found()[0].tolist(), joined.found()[1].tolist()
    ([[0, 0], [5, 0], [5, 2], [0, 2]], [0, 2, 1, 1])
    """

    def __init__(self, directions: int) -> None:
        self._tables = [PairTable() for _ in range(directions - 1)]

    def number(self, parts: Sequence[Volume]) -> Volume:
        """Return the region of each voxel of the next slab, from its ids in each direction."""
        numbers = parts[0]
        for table, part in zip(self._tables, parts[1:], strict=True):
            numbers = table.number(numbers, part)
        return numbers

    def found(self) -> tuple[Volume, Numbers]:
        """Return the ids (n, directions) and the voxels (n,) of each region; row 0 is the background."""
        row, last, sizes = self._tables[-1].columns()
        columns = [last]
        for table in reversed(self._tables[:-1]):
            before, second, _ = table.columns()
            columns.append(second[row])
            row = before[row]
        sizes[0] = 0
        return np.stack([row, *reversed(columns)], axis=1).astype(np.uint32), sizes


def first_places(numbers: Volume) -> Numbers:
    """Return the flat places of the first voxels of the regions 1.. that `JoinedRegions` numbered in one piece."""
    return np.flatnonzero(np.diff(np.maximum.accumulate(numbers.reshape(-1)), prepend=np.uint32(0)))


def merge_regions(regions: Volume, sizes: Numbers, places: Numbers) -> tuple[Volume, Numbers, Numbers]:
    """Join the tables of regions that were numbered part by part.

    Parameters
    ----------
    regions : (m, directions) uint32 array
        Ids of each region of each part.
    sizes, places : (m,) int64 array
        Its voxels, and where in the volume the first of them is.

    Returns
    -------
    regions, sizes
        As `JoinedRegions.found` gives them for the whole, in the order of first voxels.
    numbers : (m,) int64 array
        Which of them each one is.
    """
    order = np.lexsort((places, *regions.T))
    rows = regions[order]
    first = np.flatnonzero(np.append(True, (rows[1:] != rows[:-1]).any(axis=1))[: len(rows)])
    by_place = np.argsort(places[order][first])
    rank = np.empty(len(first), np.int64)
    rank[by_place] = np.arange(1, len(first) + 1)
    numbers = np.empty(len(rows), np.int64)
    numbers[order] = np.repeat(rank, np.diff(first, append=len(rows)))
    total = np.add.reduceat(sizes[order], first)[by_place] if len(rows) else sizes
    whole = np.concatenate([np.zeros((1, regions.shape[1]), np.uint32), rows[first][by_place]])
    return whole, np.append(0, total).astype(np.int64), numbers


def agglomerate(regions: Volume, sizes: Numbers, recipe: Recipe) -> Volume:
    """Say which object each joined region belongs to.

    First, regions that hold two ids of one cluster are one; a cluster is chained by ids of two directions with an IoU
    above `recipe.consensus_iou`. Then two groups of regions are joined while the mean vote over their pairs of voxels
    ("the same object": 1, "different ones": -1, no object: 0) is above 0, the clearest case first. Then groups that
    most directions bridge with one object: long objects that each direction tears at another place are joined so, whose
    far ends are "different" to most directions.

    Parameters
    ----------
    regions : (n, directions) uint32 array
        Ids of each region, 0 for none, in the order of their first voxels; row 0 is the background.
    sizes : (n,) int64 array
        Voxels of each region.
    recipe : Recipe
        `votes`, `consensus_iou`, `lone_objects` and `rules` are read.

    Returns
    -------
    objects : (n,) uint32 array
        1.. in the order of their first regions; 0 where too few directions agree.
    """
    if recipe.rules == "published":
        return published.agglomerate(regions, sizes, recipe)
    found = np.count_nonzero(regions, axis=1)
    accepted = np.flatnonzero(found >= min(recipe.votes, regions.shape[1]))
    accepted = accepted[accepted > 0]
    cluster = _clusters(regions, sizes, recipe.consensus_iou)[accepted]
    first, group = np.unique(cluster, return_index=True, return_inverse=True)[1:]
    order = np.argsort(first)  # groups in the order of their first regions
    groups = Groups(regions[accepted], sizes[accepted], np.argsort(order)[group])
    groups.join(groups.mean_vote, groups.agreeing())
    groups.join(groups.bridge_vote, groups.bridged())
    owner = np.zeros(len(regions), np.int64)
    owner[accepted] = 1 + groups.owners(lone=recipe.lone_objects)
    if recipe.lone_objects:
        for ids in regions.T:  # each id that only its own direction knows is an object; it has exactly one region
            alone = (ids > 0) & (found == 1) & ~np.isin(ids, ids[found > 1]) & (owner == 0)
            owner[alone] = len(regions) + np.flatnonzero(alone)
    return in_order(owner)


def in_order(owner: Numbers) -> Volume:
    """Number owners 1.. by their first entries; 0 stays 0."""
    unique, at, back = np.unique(owner, return_index=True, return_inverse=True)
    rank = np.zeros(len(unique), np.uint32)
    real = np.flatnonzero(unique > 0)
    rank[real[np.argsort(at[real])]] = np.arange(1, len(real) + 1)
    return rank[back]


def _clusters(regions: Volume, sizes: Numbers, least: float) -> Numbers:
    """Return the cluster of each region that holds two ids of one; for the others a number of their own."""
    nodes, offset = np.zeros(regions.shape, np.int64), 0
    for k, ids in enumerate(regions.T):
        nodes[:, k] = offset + np.unique(ids, return_inverse=True)[1]
        offset = nodes[:, k].max() + 1
    volume = np.bincount(nodes.reshape(-1), np.repeat(sizes, regions.shape[1]))
    pairs = list(itertools.combinations(range(regions.shape[1]), 2))
    graph = sparse.coo_array((offset, offset))
    for i, j in pairs:
        both = (regions[:, i] > 0) & (regions[:, j] > 0)
        shared = sparse.csr_array((sizes[both], (nodes[both, i], nodes[both, j])), (offset, offset)).tocoo()
        p, q = shared.coords
        shared.data = (shared.data > least * (volume[p] + volume[q] - shared.data)).astype(np.int64)
        graph = graph + shared
    graph.eliminate_zeros()
    cluster = sparse.csgraph.connected_components(graph, directed=False)[1][nodes]
    result = offset + np.arange(len(regions))
    for i, j in pairs:
        inside = (regions[:, i] > 0) & (regions[:, j] > 0) & (cluster[:, i] == cluster[:, j])
        result[inside] = cluster[inside, i]
    return result


class Groups:
    """Groups of regions that are joined step by step, and what they hold.

    Parameters
    ----------
    regions, sizes
        As for `agglomerate`.
    group : (n,) int64 array
        Group of each region, 0.. in the order of their first regions.
    """

    def __init__(self, regions: Volume, sizes: Numbers, group: Numbers) -> None:
        self._group, count = group, int(group.max(initial=-1)) + 1
        self._parent = list(range(count))
        region, direction = np.nonzero(regions)
        ids = regions[region, direction].astype(np.int64) * regions.shape[1] + direction
        objects, column = np.unique(ids, return_inverse=True)
        self._direction = (objects % regions.shape[1]).tolist()
        voxels = sizes[region].astype(np.float64), (group[region], column)
        self._table = sparse.coo_array(voxels, (count, len(objects))).tocsr()
        """Voxels of each object in each group, as it was at first."""
        self.sizes = np.bincount(group, sizes, count).tolist()
        self.known = np.stack([np.bincount(group, sizes * (ids > 0), count) for ids in regions.T], axis=1).tolist()
        """Voxels of each group that lie in an object of each direction."""
        entries = zip(self._table.indices.tolist(), self._table.data.tolist(), strict=True)
        self.held = [dict(itertools.islice(entries, n)) for n in np.diff(self._table.indptr).tolist()]

    def owners(self, *, lone: bool) -> Numbers:
        """Return the group of each region; -1 where only one direction knows it, unless lone ones are wanted."""
        roots = np.array([self._root(p) for p in range(len(self._parent))], np.int64)
        if not lone:
            alone = np.array([np.count_nonzero(known) < 2 for known in self.known], np.bool_)
            roots[alone[roots]] = -1
        return roots[self._group]

    def join(self, vote: Vote, cases: Iterable[Case]) -> None:
        """Join the two groups with the highest vote, again and again, while that is above 0; of equals the first.

        A mean over two groups that became one is never above both of theirs. So what a pair was voted to be is an upper
        bound for what becomes of it, and is looked at again only when it comes to the top.
        """
        heap = [(-score, (p, q, self.sizes[p], self.sizes[q])) for score, p, q in cases if score > 0]
        heapq.heapify(heap)
        asked = {case for _, case in heap}
        while heap:
            _, case = heapq.heappop(heap)
            a, b = sorted((self._root(case[0]), self._root(case[1])))
            now = a, b, self.sizes[a], self.sizes[b]
            if case == now and a != b:
                self._merge(a, b)
            elif a != b and now not in asked:
                asked.add(now)
                if (score := vote(a, b)) > 0:
                    heapq.heappush(heap, (-score, now))

    def agreeing(self) -> Iterator[Case]:
        """Yield mean votes above 0 and their pairs of groups, as they were at first; for each group with larger ones.

        Of a group that could be one with a crowd of others, the best pairs are enough.
        """
        known, sizes = np.array(self.known, np.float64), np.array(self.sizes)
        for start in range(0, len(known), _ROWS):
            same = (self._table[start : start + _ROWS] @ self._table.T).tocoo()
            p, q = same.coords[0] + start, same.coords[1]
            votes = (2 * same.data - (known[p] * known[q]).sum(axis=1)) / (sizes[p] * sizes[q])
            there = np.flatnonzero((votes > 0) & ((sizes[p] < sizes[q]) | ((sizes[p] == sizes[q]) & (p > q))))
            there = there[np.lexsort((q[there], -sizes[q[there]], -votes[there], p[there]))]
            first = np.searchsorted(p[there], p[there])
            there = there[np.arange(len(there)) - first < _CROWD]
            pairs = np.sort(np.stack([p[there], q[there]]), axis=0).tolist()
            yield from zip(votes[there].tolist(), *pairs, strict=True)

    def bridged(self) -> Iterator[Case]:
        """Yield the bridge votes of all pairs of groups that hold voxels of one object."""
        holders: dict[int, list[int]] = {}
        for p, held in enumerate(self.held):
            for column in held:
                holders.setdefault(column, []).append(p)
        for p, q in {pair for group in holders.values() for pair in itertools.combinations(group, 2)}:
            yield self.bridge_vote(p, q), p, q

    def mean_vote(self, p: int, q: int) -> float:
        """Return the mean vote over all pairs of voxels of two groups."""
        a, b = sorted((self.held[p], self.held[q]), key=len)
        same = sum([size * b[column] for column, size in a.items() if column in b])
        known = sum([n * m for n, m in zip(self.known[p], self.known[q], strict=True)])
        return float((2 * same - known) / (self.sizes[p] * self.sizes[q]))

    def bridge_vote(self, p: int, q: int) -> float:
        """Return the vote of the objects that reach well into both groups."""
        a, b = sorted((self.held[p], self.held[q]), key=len)
        same = [0.0] * len(self.known[p])
        for column, size in a.items():
            if column in b:
                same[self._direction[column]] += min(size, b[column])
        total = 0.0
        for common, n, m in zip(same, self.known[p], self.known[q], strict=True):
            if n and m:
                says = min(1.0, common / (_BRIDGE * min(n, m)) - 1)
                total += says * (n / self.sizes[p]) * (m / self.sizes[q])
        return total

    def _root(self, p: int) -> int:
        while self._parent[p] != p:
            self._parent[p] = p = self._parent[self._parent[p]]
        return p

    def _merge(self, p: int, q: int) -> None:
        """Put group q into group p, which comes first."""
        small, large = sorted((self.held[p], self.held[q]), key=len)
        for column, size in small.items():
            large[column] = large.get(column, 0) + size
        self.held[p], self.held[q] = large, {}
        self.known[p] = [n + m for n, m in zip(self.known[p], self.known[q], strict=True)]
        self.sizes[p] += self.sizes[q]
        self._parent[q] = p
