"""Centre lines: how an object goes from end to end and where it forks, by thinning, in nm, whatever the voxels."""

import threading
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from mitonb.shapes import Mask, Surface, Vectors

_LOADING = threading.Lock()  # two threads that load skimage at once get halves of it
_SAMPLES = 1 << 22  # samples of a box that is thinned; larger ones are sampled more coarsely
_STICKS_OUT = 2.0  # a branch reaches at least so many radii of the body from the middle of the fork


class Line(NamedTuple):
    """A piece of a centre line, from end to end or fork to fork.

    Attributes
    ----------
    points : (n, 3) array
        Where it goes, in nm; of a ring, the first point comes again at the end.
    radii : (n,) array
        Mean distance of the surface around, in nm; NaN where the line meets the surface.
    """

    points: Vectors
    radii: Vectors

    @property
    def length(self) -> float:
        """Length in nm."""
        return float(np.linalg.norm(np.diff(self.points, axis=0), axis=1).sum())


def centre_lines(inside: Mask, unit: Vectors, surface: Surface) -> tuple[list[Line], int]:
    """Return the centre line of an object, in pieces, and the number of its branch points.

    The object is sampled at cubes and thinned (Lee, Kashyap and Chu 1994), which keeps rings and branches; a branch
    that reaches less than two radii of the body from the middle of its fork is taken away, the shortest of a fork
    first. What is left is moved to the middle of the surface around it, smoothed over half a radius, and goes on at its
    ends up to the surface. Its radius is the mean distance of the surface around it, not that of the largest ball:
    steps of thick sections would make balls too small.

    Parameters
    ----------
    inside : (z, y, x) bool array
    unit : (3,) array
    surface : Surface
        Of the object.
    """
    points, step = _thinned(inside, unit, surface)
    radii, _ = cKDTree(surface.points).query(points)
    chains, forks = _chains(points, step)
    while short := _short(points, radii, chains, forks):
        points, radii = np.delete(points, short, axis=0), np.delete(radii, short)
        chains, forks = _chains(points, step)
    middles = np.array([points[fork].mean(axis=0) for fork in forks])
    ways = [_Way(points[members], ends, middles) for members, ends in chains]
    branches = _join(ways, len(forks))
    return _centred(ways, surface, max(1.0, float(np.median(radii)) / step / 2)), branches


class _Way:
    """Points of a piece in order, up to the middle of its forks, and what its two ends are: see `_Chains`."""

    def __init__(self, points: Vectors, ends: tuple[int, int], middles: Vectors) -> None:
        before, after = (middles[[end]] if end >= 0 else points[:0] for end in ends)
        self.points, self.ends = np.concatenate([before, points, after]), list(ends)

    def turn(self) -> None:
        self.points, self.ends = self.points[::-1], self.ends[::-1]


def _thinned(inside: Mask, unit: Vectors, surface: Surface) -> tuple[Vectors, float]:
    """Return the voxels of the thinned object as points in nm, (n, 3), and how far apart samples are."""
    with _LOADING:
        from skimage.morphology import skeletonize  # takes half a second to load

        thin: Any = skeletonize
    step = float(unit.min() * max(1.0, (inside.size * unit.prod() / unit.min() ** 3 / _SAMPLES) ** (1 / 3)))
    fine = inside
    if not np.allclose(unit, step):
        # Between sections the outline moves as the distance to it does (Herman, Zheng and Bucholtz 1992).
        depth = ndimage.distance_transform_edt(inside, unit) - ndimage.distance_transform_edt(~inside, unit)
        shape = [int((n - 1) * u / step) + 1 for n, u in zip(inside.shape, unit, strict=True)]
        fine = ndimage.affine_transform(depth.astype(np.float32), step / unit, output_shape=shape, order=1) > 0
    pieces, count = ndimage.label(fine, np.ones((3,) * fine.ndim))
    found = [np.argwhere(thin(fine))]
    for number in sorted(set(range(1, count + 1)) - set(pieces[tuple(found[0].T)].tolist())):
        # Nothing is left of what is an even number of samples wide, as if it were a ball: then one less is taken.
        piece = pieces == number
        line = np.argwhere(thin(piece & np.roll(piece, (1,) * fine.ndim, tuple(range(fine.ndim)))))
        found.append(line if len(line) else _deepest(piece, np.full(fine.ndim, step), surface))
    points = np.concatenate(found).astype(np.float64) * step
    return points if len(points) else _deepest(inside, unit, surface) * unit, step


def _deepest(inside: Mask, unit: Vectors, surface: Surface) -> npt.NDArray[np.int64]:
    """Return the voxel that is farthest from the surface, (1, 3): all that is left of a ball, or of what is thin."""
    voxels = np.argwhere(inside)
    return voxels[[np.argmax(cKDTree(surface.points).query(voxels * unit)[0])]]


_OPEN, _RING = -1, -2
_Chains = list[tuple[list[int], tuple[int, int]]]
"""Points in order, and what the two ends are: the number of a fork, an open end or part of a ring."""


def _chains(points: Vectors, step: float) -> tuple[_Chains, list[list[int]]]:
    """Return the points of each chain in order, with what its ends are, and the points of each fork."""
    around = cKDTree(points).query_ball_point(points, 1.8 * step)
    near = [set(some) - {k} for k, some in enumerate(around)]
    busy = [k for k, some in enumerate(near) if len(some) > 2]
    fork_of, forks = dict[int, int](), list[list[int]]()
    for seed in busy:
        if seed not in fork_of:
            forks.append(_flood(seed, near, set(busy)))
            fork_of |= dict.fromkeys(forks[-1], len(forks) - 1)
    free = set(range(len(points))) - set(busy)
    chains: _Chains = []
    for seed in sorted(free, key=lambda k: len(near[k] & free) > 1):  # from the ends; then rings
        if seed in free:
            chain = [seed]
            free.discard(seed)
            while ahead := near[chain[-1]] & free:
                chain.append(min(ahead))
                free.discard(chain[-1])
            meets = [[fork_of[k] for k in sorted(near[end]) if k in fork_of] for end in (chain[0], chain[-1])]
            if len(chain) == 1:
                meets = [meets[0][:1], meets[0][1:]]
            ends = [one[0] if one else _OPEN for one in meets]
            if len(chain) == 1 and ends[0] == ends[1] >= 0:
                continue  # a corner beside a fork, no ring
            if len(chain) > 2 and ends == [_OPEN, _OPEN] and chain[-1] in near[chain[0]]:
                chain, ends = [*chain, chain[0]], [_RING, _RING]
            chains.append((chain, (ends[0], ends[1])))
    # Where all is one knot, it is a point.
    return chains or [(forks[0][:1], (_OPEN, _OPEN))], forks


def _flood(seed: int, near: list[set[int]], among: set[int]) -> list[int]:
    """Return what is connected with a point."""
    found, todo = {seed}, [seed]
    while todo:
        fresh = (near[todo.pop()] & among) - found
        found |= fresh
        todo += fresh
    return sorted(found)


def _short(points: Vectors, radii: Vectors, chains: _Chains, forks: list[list[int]]) -> list[int]:
    """Return the points of the shortest branch of each fork of three or more, where it does not stick out."""
    meeting = [end for _, ends in chains for end in ends]
    tips = dict[int, tuple[float, list[int]]]()
    for chain, ends in chains:
        fork = max(ends)
        if fork >= 0 and min(ends) == _OPEN and meeting.count(fork) > 2:
            way = chain if ends[0] == fork else chain[::-1]
            line = np.concatenate([[points[forks[fork]].mean(axis=0)], points[way]])
            reach = float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum() + radii[way[-1]])
            if reach < _STICKS_OUT * radii[forks[fork]].max() and reach < tips.get(fork, (np.inf,))[0]:
                tips[fork] = reach, chain
    return [k for _, chain in tips.values() for k in chain]


def _join(ways: list[_Way], forks: int) -> int:
    """Join what meets at a fork of two; return the number of the other forks."""
    branches = 0
    for fork in range(forks):
        here = [way for way in ways for end in way.ends if end == fork]
        if len(here) != 2:
            branches += len(here) > 2
        elif here[0] is here[1]:
            here[0].ends = [_RING, _RING]
        else:
            first, second = here
            if first.ends[1] != fork:
                first.turn()
            if second.ends[0] != fork:
                second.turn()
            first.points = np.concatenate([first.points, second.points[1:]])
            first.ends[1] = second.ends[1]
            ways.remove(second)
    return branches


def _centred(ways: list[_Way], surface: Surface, sigma: float) -> list[Line]:
    """Move the pieces to the middle of the surface around them, smooth, and go on at open ends up to the surface."""
    weight = surface.areas + 1e-9 * (surface.areas.max() or 1.0)  # all may be cut
    nearest = cKDTree(np.concatenate([way.points for way in ways])).query(surface.points)[1]
    lines, start = [], 0
    spread = (surface.points - np.average(surface.points, axis=0, weights=weight)) * np.sqrt(weight)[:, None]
    long = np.linalg.svd(spread, full_matrices=False)[2][0]
    for way in ways:
        n, ring = len(way.points), way.ends[0] == _RING
        own = (nearest >= start) & (nearest < start + n)
        index, around, area = nearest[own] - start, surface.points[own], weight[own]
        start += n
        line = _smooth(way.points, sigma, ring)
        if np.linalg.norm(np.diff(line, axis=0), axis=1).sum() > np.linalg.norm(around - line[index], axis=1).mean():
            # What lies ahead of an open end tells nothing of the middle.
            sides = np.isin(index, [k for k, end in ((0, way.ends[0]), (n - 1, way.ends[1])) if end == _OPEN])
            kept = area * ~sides
            line = line + _across(_local_mean(around - way.points[index], index, kept, n, sigma, ring), line)
            line = _smooth(line, sigma, ring)
            off = np.linalg.norm(_across(around - line[index], line, index), axis=1)
            radii = _local_mean(off[:, None], index, kept, n, sigma, ring)[:, 0]
            radii = np.where(radii > 0, radii, radii.max() or off.mean())  # where no surface is near
        else:
            radii = np.full(n, np.average(np.linalg.norm(around - line[index], axis=1), weights=area))
        first, last = (end == _OPEN for end in way.ends)
        before, skip = _last_part(line, radii, around, index, long) if first else ([], 0)
        after, drop = _last_part(line[::-1], radii, around, n - 1 - index, -long) if last else ([], 0)
        kept, nothing = slice(skip, n - drop), [np.nan]
        line = np.array([*before, *line[kept], *after])
        radii = np.array([*nothing * len(before), *radii[kept], *nothing * len(after)])
        lines.append(Line(line, radii))
    return lines


def _last_part(line: Vectors, radii: Vectors, around: Vectors, index: Any, long: Vectors) -> tuple[list[Vectors], int]:
    """Return where a line should begin on the surface, and from which of its points: thinning strays near an end.

    From a radius before its first point it goes straight on; what is shorter than thick, in the direction of the whole
    object, `long`.
    """
    thick = float(np.median(radii))
    first = int(np.argmax(np.linalg.norm(line - line[0], axis=1) >= thick))
    far = np.flatnonzero(np.linalg.norm(line - line[first], axis=1)[first:] >= max(2 * thick, 1e-9))
    if len(far):
        back = line[first + far[0]] - line[first]
    else:
        first, back = 0, long if (line[-1] - line[0]) @ long >= 0 else -long
    ahead = -back / np.linalg.norm(back)
    cap = around[index <= first] - line[first]
    along = cap @ ahead
    # The farthest of all points would always be the tip of a step of voxels: take what the line meets.
    met = along[(along > 0) & (np.linalg.norm(cap - along[:, None] * ahead, axis=1) < 0.3 * thick)]
    return [line[first] + ahead * (np.quantile(met, 0.75) if len(met) else along.max(initial=0))], first


def _smooth(values: Vectors, sigma: float, ring: bool) -> Vectors:
    """Smooth along a line; the ends stay where they are."""
    if ring:
        body = ndimage.gaussian_filter1d(values[:-1], sigma, axis=0, mode="wrap")
        return np.concatenate([body, body[:1]])
    pad = int(4 * sigma) + 1
    longer = np.pad(values, ((pad, pad), (0, 0)), mode="reflect", reflect_type="odd")
    return np.asarray(ndimage.gaussian_filter1d(longer, sigma, axis=0)[pad:-pad])


def _local_mean(values: Vectors, index: npt.NDArray[Any], area: Vectors, n: int, sigma: float, ring: bool) -> Vectors:
    """Return the mean of values (m, d) of surface points, by area, along a line of n points."""
    sums = [np.bincount(index, area * column, n) for column in (*values.T, np.ones(len(area)))]
    ends = "wrap" if ring else "constant"
    *parts, whole = (ndimage.gaussian_filter1d(column, sigma, mode=ends) for column in sums)
    return np.stack(parts, axis=1) / np.maximum(whole, 1e-12)[:, None]


def _across(vectors: Vectors, line: Vectors, index: Any = slice(None)) -> Vectors:
    """Return the part of vectors that is across a line, each at its point of the line."""
    slope = np.gradient(line, axis=0)
    along = (slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-12))[index]
    return np.asarray(vectors - (vectors * along).sum(axis=1, keepdims=True) * along)
