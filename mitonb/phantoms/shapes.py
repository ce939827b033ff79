"""The geometry behind phantoms: a coarse grid in nm, tubes along curved lines, and how they are laid out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi
from scipy.sparse import csr_matrix

from mitonb.box import Box

__all__ = [
    "FAR",
    "Cristae",
    "Field",
    "Grid",
    "Plan",
    "Tube",
    "cell_count",
    "Vectors",
    "cell_fields",
    "lay_bodies",
    "lay_mitochondria",
    "random_line",
    "unit",
]

Field = npt.NDArray[np.float32]
Vectors = npt.NDArray[np.float64]
FAR = 1e4  # nm; "no surface near", small enough that float32 differences of it stay exact to 0.001 nm


Cristae = Literal["mixed", "dark", "light"]


@dataclass(frozen=True)
class Plan:
    """The options of a phantom that say what is drawn; `mitonb.phantoms.phantom` explains them."""

    objects: int
    touching: float
    branching: float
    diameter: tuple[float, float]
    cristae: Cristae
    distractors: float


@dataclass
class Grid:
    """A fine voxel grid and the coarse grid of smooth fields that it is interpolated from.

    Distances are computed on the coarse nodes (about 24 nm apart) and brought to the voxels by cubic
    interpolation: a smooth distance field loses nothing by it, and a volume costs 1/27 of the work.

    Attributes
    ----------
    shape : tuple of int
        (z, y, x) of the fine grid in voxels.
    voxel_size : tuple of float
        (z, y, x) in nm.
    """

    shape: tuple[int, int, int]
    voxel_size: tuple[float, float, float]
    steps: tuple[float, float, float] = field(init=False)
    counts: tuple[int, int, int] = field(init=False)
    weights: list[csr_matrix] = field(init=False)

    def __post_init__(self) -> None:
        fine = min(self.voxel_size)
        self.steps = tuple(max(v, min(3 * fine, 24.0)) for v in self.voxel_size)  # type: ignore[assignment]
        spans = [(n - 1) * v / s for n, v, s in zip(self.shape, self.voxel_size, self.steps, strict=True)]
        self.counts = tuple(int(np.ceil(s)) + 4 for s in spans)  # type: ignore[assignment]
        self.weights = [
            _cubic_weights(np.arange(n, dtype=np.float64) * v / s + 1, c)
            for n, v, s, c in zip(self.shape, self.voxel_size, self.steps, self.counts, strict=True)
        ]

    @property
    def extent(self) -> Vectors:
        """Side lengths in nm, (z, y, x)."""
        return np.multiply(self.shape, self.voxel_size)

    def nodes(self) -> list[Field]:
        """Return the (z, y, x) positions of the coarse nodes in nm, each of the full coarse shape."""
        sides = zip(self.counts, self.steps, strict=True)
        axes = [(np.arange(c, dtype=np.float32) - 1) * np.float32(s) for c, s in sides]
        return [np.ascontiguousarray(a) for a in np.meshgrid(*axes, indexing="ij")]

    def noise(self, rng: np.random.Generator, wavelength: float) -> Field:
        """Return a smooth random field on the coarse nodes: mean 0, deviation 1, features of `wavelength` nm."""
        sigma = [wavelength / 4 / s for s in self.steps]
        smooth = ndi.gaussian_filter(rng.standard_normal(self.counts, dtype=np.float32), sigma, mode="wrap", truncate=3)
        smooth -= smooth.mean()
        return np.asarray(smooth / max(float(smooth.std()), 1e-6), dtype=np.float32)

    def around(self, low: Vectors, high: Vectors) -> Box:
        """Return the box of voxels between two corners in nm."""
        start = np.floor(low / self.voxel_size).astype(int)
        stop = np.ceil(high / self.voxel_size).astype(int) + 1
        return Box(_three(start), _three(stop)).clip(self.shape)

    def support(self, box: Box) -> Box:
        """Return the coarse nodes that the voxels of a box are interpolated from."""
        scale = np.divide(self.voxel_size, self.steps)
        start = np.floor(np.multiply(box.start, scale)).astype(int)
        stop = np.floor(np.subtract(box.stop, 1) * scale).astype(int) + 4
        return Box(_three(start), _three(stop)).clip(self.counts)

    def covered(self, nodes: Box) -> Box:
        """Return the voxels that lie between the first and the last node of a coarse box."""
        low = (np.array(nodes.start) - 1) * self.steps
        high = (np.array(nodes.stop) - 2) * self.steps
        return self.around(low, high)

    def refine(self, values: Field, box: Box) -> Field:
        """Interpolate coarse values, given on `support(box)`, to the voxels of the box."""
        support = self.support(box)
        out = values
        # Sparse products, one axis after the other: dense ones would wake as many BLAS threads as there are cores.
        for axis in range(3):
            weights = self.weights[axis][box.slices[axis], support.slices[axis]]
            first = np.moveaxis(out, axis, 0)
            done = weights @ first.reshape(first.shape[0], -1)
            out = np.moveaxis(done.reshape(-1, *first.shape[1:]), 0, axis)
        return np.ascontiguousarray(out, dtype=np.float32)


def _three(values: npt.NDArray[np.int64]) -> tuple[int, int, int]:
    z, y, x = (int(v) for v in values)
    return z, y, x


def _cubic_weights(positions: Vectors, count: int) -> csr_matrix:
    """Return (n, count) Catmull-Rom weights that interpolate `count` nodes at positions in node units."""
    first = np.floor(positions).astype(int)
    t = positions - first
    taps = (
        0.5 * (-t + 2 * t**2 - t**3),
        0.5 * (2 - 5 * t**2 + 3 * t**3),
        0.5 * (t + 4 * t**2 - 3 * t**3),
        0.5 * (-(t**2) + t**3),
    )
    weights = np.zeros((len(positions), count))
    for k, tap in enumerate(taps):
        weights[np.arange(len(positions)), np.clip(first - 1 + k, 0, count - 1)] += tap
    return csr_matrix(weights.astype(np.float32))


@dataclass
class Tube:
    """A body around one or more curved lines; the lines are (n, 3) points in nm with a radius each.

    Attributes
    ----------
    lines : list of ((n, 3) array, (n,) array)
        Points (z, y, x) and radii in nm.
    margin : float
        How far off the cell membrane runs around it, in nm.
    cell : int
        The cell that it lies in; -1 before that is decided.
    partner : int
        Index of the tube that it was laid against; -1 for none.
    """

    lines: list[tuple[Vectors, Vectors]]
    margin: float = 30.0
    cell: int = -1
    partner: int = -1

    @property
    def points(self) -> Vectors:
        """All points of all lines, (n, 3) nm."""
        return np.concatenate([p for p, _ in self.lines])

    @property
    def radii(self) -> Vectors:
        """The radius at each of `points`, nm."""
        return np.concatenate([r for _, r in self.lines])

    def shift(self, by: Vectors) -> None:
        """Move the tube by a (z, y, x) vector in nm."""
        self.lines = [(p + by, r) for p, r in self.lines]

    def corners(self, margin: float) -> tuple[Vectors, Vectors]:
        """Return the two corners of the box around the tube, with a margin in nm."""
        reach = self.radii[:, None] + margin
        return (self.points - reach).min(axis=0), (self.points + reach).max(axis=0)

    def distance(self, nodes: list[Field]) -> Field:
        """Return the signed distance in nm from each node to the surface, negative inside."""
        out = np.full(nodes[0].shape, FAR, np.float32)
        for points, radii in self.lines:
            for i in range(len(points) - 1):
                np.minimum(out, _cone(nodes, points[i : i + 2], radii[i : i + 2]), out=out)
        return out


def _cone(nodes: list[Field], ends: Vectors, radii: Vectors) -> Field:
    """Signed distance to a segment whose radius goes linearly from one end to the other."""
    along = ends[1] - ends[0]
    square = float(along @ along) or 1.0
    away = [n - np.float32(e) for n, e in zip(nodes, ends[0], strict=True)]
    t = away[0] * np.float32(along[0] / square)
    t += away[1] * np.float32(along[1] / square)
    t += away[2] * np.float32(along[2] / square)
    np.clip(t, 0, 1, out=t)
    total = np.zeros_like(t)
    for offset, a in zip(away, along, strict=True):
        offset -= t * np.float32(a)
        total += offset * offset
    np.sqrt(total, out=total)
    total -= np.float32(radii[0]) + t * np.float32(radii[1] - radii[0])
    return total


def unit(rng: np.random.Generator) -> Vectors:
    """Return a random direction, (3,)."""
    v = rng.standard_normal(3)
    return np.asarray(v / np.sqrt((v**2).sum()))


def random_line(
    rng: np.random.Generator, length: float, radius: float, *, middle: Vectors, heading: Vectors, bend: float
) -> tuple[Vectors, Vectors]:
    """Walk a curved line of some length (nm) through `middle`; radius varies by a quarter along it."""
    count = max(3, int(length / 90) + 2)
    turn = unit(rng)
    steps = np.empty((count - 1, 3))
    for i in range(count - 1):
        turn = 0.7 * turn + 0.7 * unit(rng)
        heading = heading + bend * turn
        heading = heading / np.sqrt((heading**2).sum())
        steps[i] = heading * length / (count - 1)
    points = np.concatenate([np.zeros((1, 3)), np.cumsum(steps, axis=0)])
    points += middle - points[count // 2]
    radii = radius * np.clip(1 + 0.13 * rng.standard_normal(count), 0.75, 1.25)
    return points, radii


def gap(a: Tube, b: Tube) -> tuple[float, Vectors]:
    """Return the free distance between two tubes in nm (negative: overlap) and the direction from a to b."""
    (pa, ra), (pb, rb) = (_samples(t) for t in (a, b))
    delta = pb[None] - pa[:, None]
    distance = np.sqrt((delta**2).sum(axis=2))
    free = distance - ra[:, None] - rb[None]
    i, j = np.unravel_index(int(free.argmin()), free.shape)
    return float(free[i, j]), delta[i, j] / max(distance[i, j], 1e-6)


def _samples(tube: Tube) -> tuple[Vectors, Vectors]:
    """Points and radii along a tube, three per segment."""
    points, radii = [], []
    for p, r in tube.lines:
        at = np.linspace(0, len(p) - 1, 3 * (len(p) - 1) + 1)
        points.append(np.stack([np.interp(at, np.arange(len(p)), p[:, k]) for k in range(3)], axis=1))
        radii.append(np.interp(at, np.arange(len(p)), r))
    return np.concatenate(points), np.concatenate(radii)


def settle(tube: Tube, others: list[Tube], *, free: float, overlap: float) -> bool:
    """Move a tube against its partner, if it has one; say whether it keeps `free` nm from all the others."""
    if tube.partner >= 0:
        for _ in range(6):
            distance, direction = gap(others[tube.partner], tube)
            tube.shift(-direction * (distance + overlap))
    rest = [t for i, t in enumerate(others) if i != tube.partner]
    return all(gap(t, tube)[0] > free for t in rest)


def lay_mitochondria(rng: np.random.Generator, grid: Grid, plan: Plan) -> list[Tube]:
    """Lay mitochondria at random, some against others, none through another."""
    placed: list[Tube] = []
    low, high = plan.diameter
    for _ in range(plan.objects * 6):
        if len(placed) == plan.objects:
            break
        joined = sum(t.partner >= 0 for t in placed)
        attach = placed and plan.touching > 0 and 2 * joined < plan.touching * len(placed) + 0.5
        radius = (low + (high - low) * rng.random() * rng.random() ** 0.5) / 2
        length = min(150 + 900 * rng.random() ** 1.5, 2.0 * float(grid.extent.max()))
        middle = grid.extent * rng.random(3)
        partner = int(rng.integers(len(placed))) if attach else -1
        heading = unit(rng)
        if attach:
            near = placed[partner].points
            inner = near[((near > 0) & (near < grid.extent)).all(axis=1)]
            at = (inner if len(inner) else near)[int(rng.integers(len(inner) or len(near)))]
            middle = at + unit(rng) * radius
        tube = Tube([random_line(rng, length, radius, middle=middle, heading=heading, bend=0.25)])
        if rng.random() < plan.branching:
            points, _ = tube.lines[0]
            fork = int(rng.integers(1, len(points) - 1))
            side = random_line(rng, 0.8 * length, 0.85 * radius, middle=points[fork], heading=unit(rng), bend=0.2)
            half = len(side[0]) // 2
            tube.lines.append((side[0][half:], side[1][half:]))
        tube.partner = partner
        tube.margin = 14 + 60 * rng.random() ** 2
        fits = settle(tube, placed, free=45.0, overlap=0.2 * radius + 12)
        centre = tube.points[len(tube.points) // 2]
        if fits and ((centre >= 0) & (centre <= grid.extent)).all():
            placed.append(tube)
    return placed


def lay_bodies(rng: np.random.Generator, grid: Grid, plan: Plan, mitos: list[Tube]) -> list[Tube]:
    """Lay dark round bodies where no mitochondrion is."""
    placed: list[Tube] = []
    for _ in range(round(plan.distractors * float(np.prod(grid.extent)) / 4e8)):
        middle = grid.extent * rng.random(3)
        radius = 40 + 90 * rng.random() ** 2
        line = random_line(rng, 60 + radius * rng.random(), radius, middle=middle, heading=unit(rng), bend=0.3)
        tube = Tube([line], margin=20 + 30 * rng.random())
        if settle(tube, [*mitos, *placed], free=50.0, overlap=0.0):
            placed.append(tube)
    return placed


def cell_count(grid: Grid) -> int:
    """Return how many cells neuropil has in a volume and a little around it."""
    return max(3, round(float(np.prod(grid.extent + 400)) / 7.5e7))


def cell_fields(rng: np.random.Generator, grid: Grid, nodes: list[Field]) -> list[Field]:
    """Return for each cell its distance to a curved line less its weight, on the coarse nodes."""
    fields = []
    for _ in range(cell_count(grid)):
        middle = (grid.extent + 400) * rng.random(3) - 200
        weight = 40 + 260 * rng.random() ** 3
        length = 150 + 1400 * rng.random()
        points, radii = random_line(rng, length, weight, middle=middle, heading=unit(rng), bend=0.2)
        thin = np.unique(np.linspace(0, len(points) - 1, 5).astype(int))
        fields.append(Tube([(points[thin], radii[thin])]).distance(nodes))
    return fields
