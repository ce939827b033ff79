"""Phantoms: drawn volumes that look like serial electron microscopy, with exact instance truth.

What is asked for becomes a scene (cells, mitochondria, dark bodies: distances in nm), its clean picture, and what a
microscope would show of it. Distances are computed on coarse nodes about 24 nm apart and brought to the voxels by cubic
interpolation: a smooth distance field loses nothing by it, and a volume costs 1/27 of the work.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi
from scipy.sparse import csr_matrix

from mitonb.box import Box
from mitonb.errors import InputError
from mitonb.labels import Labels
from mitonb.memory import require
from mitonb.stack import Stack

Field = npt.NDArray[np.float32]
Vectors = npt.NDArray[np.float64]
Cells = npt.NDArray[np.int16]
Random = np.random.Generator
Number = TypeVar("Number", bound=np.generic)
Cristae = Literal["mixed", "dark", "light"]

_FAR = 1e4  # nm; "no surface near", small enough that float32 differences of it stay exact to 0.001 nm
_CRUMB = 50  # voxels; a smaller piece is no object of its own


class Phantom(NamedTuple):
    """A drawn volume and its truth: `stack, labels = phantom()`."""

    stack: Stack
    labels: Labels


def phantom(
    shape: tuple[int, int, int] = (64, 256, 256), seed: int = 0, *,
    voxel_size: tuple[float, float, float] = (8.0, 8.0, 8.0), objects: int | None = None, touching: float = 0.4,
    branching: float = 0.2, diameter: tuple[float, float] = (200.0, 420.0), cristae: Cristae = "mixed",
    distractors: float = 1.0, noise: float = 1.0, drift: float = 0.5, flicker: float = 1.0, contrast: float = 1.0,
) -> Phantom:  # fmt: skip
    """Draw a volume of neuropil as an electron microscope might show it, with exact instance truth.

    Cells with membranes and granular cytoplasm, vesicles, synapses, tubules, myelin and dark bodies around
    mitochondria that bend, branch and touch. Every instance is one piece (its voxels hang together by faces)
    and touching mitochondria keep their own ids. The same arguments give the same volume.

    Parameters
    ----------
    shape : tuple of int
        (z, y, x) in voxels.
    seed : int
        Another seed draws another volume.
    voxel_size : tuple of float
        (z, y, x) in nm. Everything is drawn in nm: smaller voxels show the same things larger, and
        z steps above 30 nm give the smeared membranes of thick sections.
    objects : int, optional
        How many mitochondria to lay; by default as many as neuropil has in this volume. Fewer are laid
        where no room is left.
    touching : float
        Share of the mitochondria that are laid against another one, 0..1.
    branching : float
        Share of the mitochondria that branch, 0..1.
    diameter : tuple of float
        Range of the diameters in nm.
    cristae : {"mixed", "dark", "light"}
        Whether the folds inside are darker or lighter than what lies between them; "mixed" draws both kinds.
    distractors : float
        Amount of myelin and dark bodies, 0 for none.
    noise : float
        Strength of the grain; 1 is a usual microscope.
    drift : float
        How far sections jump against each other, in pixels (deviation).
    flicker : float
        How much brightness and contrast change from section to section; 1 is usual.
    contrast : float
        1 uses most of 0..255; 0.4 is a flat picture; negative values swap dark and light.

    Returns
    -------
    Phantom
        (stack, labels): uint8 `Stack` and uint32 `Labels` with ids 1..n.

    Raises
    ------
    InputError
        If an option is outside its range.
    TooLargeError
        If drawing it would not fit into memory: about 50 bytes per voxel, more for flat and wide volumes.

    Examples
    --------
    >>> stack, labels = phantom((8, 64, 64), seed=3)
    >>> stack.shape == labels.shape
    True
    """
    _check(shape, voxel_size, touching=touching, branching=branching)
    if objects is None:
        objects = max(1, round(float(np.prod(shape) * np.prod(voxel_size)) / 1.7e8))
    rng = np.random.default_rng(seed)
    jumps = _jumps(rng, shape[0], drift)
    reach = np.abs(jumps).max(axis=0)
    # A thick section shows the mean of what lies in it, and is labelled by its middle.
    layers = max(1, min(4, round(voxel_size[0] / 15))) if voxel_size[0] > 2.5 * min(voxel_size) else 1
    size = shape[0] * layers, shape[1] + 2 * int(reach[0]), shape[2] + 2 * int(reach[1])
    grid = Grid(size, (voxel_size[0] / layers, *voxel_size[1:]))
    # Fields of the voxels, and one coarse field for each cell: measured, and rounded up.
    needed = 46 * int(np.prod(grid.shape)) + 4 * _cell_count(grid) * int(np.prod(grid.counts))
    advice = "Draw a smaller volume, or the same place in larger voxels (voxel_size)."
    require(needed, f"Drawing {' x '.join(map(str, grid.shape))} voxels", advice)
    scene = _Scene(grid, rng, distractors)
    scene.lay_mitochondria(objects, touching, branching, diameter)
    scene.lay_bodies()
    picture, ids = _paint(scene, cristae)
    picture = picture.reshape(shape[0], layers, *size[1:]).mean(axis=1) if layers > 1 else picture
    picture, ids = (_displaced(v, jumps, shape) for v in (picture, ids[layers // 2 :: layers]))
    grey = _exposed(picture, rng, noise=noise, flicker=flicker, contrast=contrast)
    name = f"phantom {seed}"
    stack = Stack(grey, voxel_size, name=name, notes=("Drawn, not measured.",))
    return Phantom(stack, Labels(_pieces(ids), voxel_size, name=f"{name} truth"))


def _check(shape: tuple[int, ...], voxel_size: tuple[float, ...], **shares: float) -> None:
    """Refuse what cannot be drawn."""
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(f"A phantom needs a shape (z, y, x) of at least one voxel each, got {shape}.")
    if len(voxel_size) != 3 or not all(np.isfinite(v) and 1 <= v <= 200 for v in voxel_size):
        raise InputError(f"A phantom needs voxel sizes (z, y, x) of 1 to 200 nm, got {voxel_size}.")
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise InputError(f"{name} is a share from 0 to 1, got {share}.")


# -------------------------------------------------------------------------------------------------- the geometry


class Grid:
    """A fine voxel grid and the coarse grid of smooth fields that it is interpolated from.

    Attributes
    ----------
    shape : tuple of int
        (z, y, x) of the fine grid in voxels.
    voxel_size : tuple of float
        (z, y, x) in nm.
    extent : (3,) array
        Side lengths in nm.
    steps : (3,) array
        Distances of the coarse nodes in nm; the first of them lies one step before the first voxel.
    counts : tuple of int
        (z, y, x) of the coarse nodes.
    """

    def __init__(self, shape: tuple[int, int, int], voxel_size: tuple[float, float, float]) -> None:
        self.shape, self.voxel_size = shape, voxel_size
        self.extent = np.multiply(shape, voxel_size)
        self.steps = np.maximum(voxel_size, min(3 * min(voxel_size), 24.0))
        ends = [(n - 1) * v / s for n, v, s in zip(shape, voxel_size, self.steps, strict=True)]
        self.counts = _three(np.ceil(ends) + 4)
        self._weights = [
            _cubic_weights(np.arange(n, dtype=np.float64) * v / s + 1, c)
            for n, v, s, c in zip(shape, voxel_size, self.steps, self.counts, strict=True)
        ]

    def nodes(self) -> list[Field]:
        """Return the (z, y, x) positions of the coarse nodes in nm, each of the full coarse shape."""
        sides = zip(self.counts, self.steps, strict=True)
        axes = [(np.arange(c, dtype=np.float32) - 1) * np.float32(s) for c, s in sides]
        return [np.ascontiguousarray(a) for a in np.meshgrid(*axes, indexing="ij")]

    def noise(self, rng: Random, wavelength: float) -> Field:
        """Return a smooth random field on the coarse nodes: mean 0, deviation 1, features of `wavelength` nm."""
        sigma = [wavelength / 4 / s for s in self.steps]
        smooth = ndi.gaussian_filter(rng.standard_normal(self.counts, dtype=np.float32), sigma, mode="wrap", truncate=3)
        smooth -= smooth.mean()
        return np.asarray(smooth / max(float(smooth.std()), 1e-6), dtype=np.float32)

    def fine_noise(self, rng: Random, *size: float) -> Field:
        """Return noise with features of `size` (z, y, x) nm on the voxels, deviation 1."""
        white = rng.standard_normal(self.shape, dtype=np.float32)
        sigma = [s / v for s, v in zip(size, self.voxel_size, strict=True)]
        out = ndi.gaussian_filter(white, sigma, mode="wrap", truncate=2.5)
        return np.asarray(out / max(float(out[::3, ::3, ::3].std()), 1e-6), dtype=np.float32)

    def around(self, low: Vectors, high: Vectors) -> Box:
        """Return the box of voxels between two corners in nm."""
        start, stop = np.floor(low / self.voxel_size), np.ceil(high / self.voxel_size) + 1
        return Box(_three(start), _three(stop)).clip(self.shape)

    def support(self, box: Box) -> Box:
        """Return the coarse nodes that the voxels of a box are interpolated from."""
        scale = np.divide(self.voxel_size, self.steps)
        start, stop = np.floor(np.multiply(box.start, scale)), np.floor(np.subtract(box.stop, 1) * scale) + 4
        return Box(_three(start), _three(stop)).clip(self.counts)

    def refine(self, values: Field, box: Box) -> Field:
        """Interpolate coarse values, given on `support(box)`, to the voxels of the box."""
        support = self.support(box)
        # Sparse products, one axis after the other: dense ones would wake as many BLAS threads as there are cores.
        for axis in range(3):
            weights = self._weights[axis][box.slices[axis], support.slices[axis]]
            first = np.moveaxis(values, axis, 0)
            done = weights @ first.reshape(first.shape[0], -1)
            values = np.moveaxis(done.reshape(-1, *first.shape[1:]), 0, axis)
        return np.ascontiguousarray(values, dtype=np.float32)

    def voxel(self, point: Vectors) -> tuple[int, int, int]:
        """Return the voxel at a point in nm, or the nearest one inside."""
        return _three(np.clip(np.rint(point / self.voxel_size), 0, np.subtract(self.shape, 1)))


def _three(values: npt.NDArray[np.generic]) -> tuple[int, int, int]:
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


def _unit(vector: Vectors) -> Vectors:
    """Return a vector of the same direction and length 1."""
    return np.asarray(vector / max(float(np.sqrt((vector**2).sum())), 1e-6))


def _direction(rng: Random) -> Vectors:
    """Return a random direction, (3,)."""
    return _unit(rng.standard_normal(3))


def _between(line: Vectors, at: Vectors) -> Vectors:
    """Return points of a line at places along it, counted in its points."""
    return np.stack([np.interp(at, np.arange(len(line)), column) for column in line.T], axis=1)


def _line(rng: Random, length: float, radius: float, *, middle: Vectors, heading: Vectors, bend: float) -> Vectors:
    """Walk a curved line of some length (nm) through `middle`; return (n, 4) points and radii, which vary a little."""
    count = max(3, int(length / 90) + 2)
    turn = _direction(rng)
    steps = np.empty((count - 1, 3))
    for i in range(count - 1):
        turn = 0.7 * turn + 0.7 * _direction(rng)
        heading = _unit(heading + bend * turn)
        steps[i] = heading * length / (count - 1)
    points = np.concatenate([np.zeros((1, 3)), np.cumsum(steps, axis=0)])
    points += middle - points[count // 2]
    return np.column_stack([points, radius * np.clip(1 + 0.13 * rng.standard_normal(count), 0.75, 1.25)])


@dataclass
class _Tube:
    """A body around one or more curved lines.

    Attributes
    ----------
    lines : list of (n, 4) array
        Points (z, y, x) and radii in nm.
    margin : float
        How far off the cell membrane runs around it, in nm.
    partner : int
        Index of the tube that it was laid against; -1 for none.
    cell : int
        The cell that it lies in; -1 before that is decided.
    """

    lines: list[Vectors]
    margin: float = 30.0
    partner: int = -1
    cell: int = -1

    @property
    def points(self) -> Vectors:
        """All points of all lines, (n, 3) nm."""
        return np.concatenate(self.lines)[:, :3]

    def corners(self, margin: float) -> tuple[Vectors, Vectors]:
        """Return the two corners of the box around the tube, with a margin in nm."""
        reach = np.concatenate(self.lines)[:, 3:] + margin
        return (self.points - reach).min(axis=0), (self.points + reach).max(axis=0)

    def distance(self, nodes: list[Field]) -> Field:
        """Return the signed distance in nm from each node to the surface, negative inside."""
        out = np.full(nodes[0].shape, _FAR, np.float32)
        for line in self.lines:
            for start, stop in pairwise(line):
                np.minimum(out, _cone(nodes, start, stop), out=out)
        return out

    def gap(self, other: "_Tube") -> tuple[float, Vectors]:
        """Return the free distance to another tube in nm (negative: overlap) and the direction towards it."""
        a, b = self._samples(), other._samples()
        delta = b[None, :, :3] - a[:, None, :3]
        distance = np.sqrt((delta**2).sum(axis=2))
        free = distance - a[:, None, 3] - b[None, :, 3]
        i, j = np.unravel_index(int(free.argmin()), free.shape)
        return float(free[i, j]), delta[i, j] / max(distance[i, j], 1e-6)

    def settle(self, others: "list[_Tube]", *, free: float, overlap: float = 0.0) -> bool:
        """Move against the partner, if there is one; say whether `free` nm are kept from all the others."""
        for _ in range(6 if self.partner >= 0 else 0):
            distance, direction = others[self.partner].gap(self)
            self.lines = [line - np.append(direction * (distance + overlap), 0) for line in self.lines]
        return all(t.gap(self)[0] > free for i, t in enumerate(others) if i != self.partner)

    def _samples(self) -> Vectors:
        """Points and radii along the tube, three per segment, (n, 4)."""
        ends = [(line, len(line) - 1) for line in self.lines]
        return np.concatenate([_between(line, np.linspace(0, end, 3 * end + 1)) for line, end in ends])


def _cone(nodes: list[Field], start: Vectors, stop: Vectors) -> Field:
    """Signed distance to a segment whose radius goes linearly from one end to the other."""
    *along, wider = stop - start
    square = float(np.dot(along, along)) or 1.0
    away = [n - np.float32(e) for n, e in zip(nodes, start[:3], strict=True)]
    t = np.clip(sum(d * np.float32(a / square) for d, a in zip(away, along, strict=True)), 0, 1)
    total = np.sqrt(sum((d - t * np.float32(a)) ** 2 for d, a in zip(away, along, strict=True)))
    return np.asarray(total - (np.float32(start[3]) + t * np.float32(wider)))


class _Nearest:
    """The lowest and second lowest of many distance fields, and whose the lowest is (the first of equals)."""

    def __init__(self, shape: tuple[int, int, int], far: float = np.inf) -> None:
        self.first, self.second = np.full(shape, far, np.float32), np.full(shape, far, np.float32)
        self.index = np.zeros(shape, np.int16)

    def add(self, number: int, values: Field, box: Box | None = None) -> None:
        """Take one more field into account, all of it or given within a box."""
        at = (...,) if box is None else box.slices
        np.copyto(self.index[at], number, where=values < self.first[at])
        self.second[at] = np.minimum(self.second[at], np.maximum(self.first[at], values))
        self.first[at] = np.minimum(self.first[at], values)


# ----------------------------------------------------------------------------------------------------- the scene


class _Scene:
    """What lies where: cells, and within them mitochondria and dark bodies (`tubes`, the `mitos` of them first)."""

    def __init__(self, grid: Grid, rng: Random, distractors: float) -> None:
        self.grid, self.rng, self.distractors = grid, rng, distractors
        straight = grid.nodes()
        self.warped = [n + 7 * grid.noise(rng, 130) for n in straight]
        self.folded = [n + 45 * grid.noise(rng, 420) + 14 * grid.noise(rng, 170) for n in straight]
        self.room = float(np.prod(grid.extent))
        self.tubes: list[_Tube] = []
        self.mitos = 0

    def lay_mitochondria(self, count: int, touching: float, branching: float, diameter: tuple[float, float]) -> None:
        """Lay mitochondria at random, some against others, none through another."""
        rng, extent, placed = self.rng, self.grid.extent, self.tubes
        low, high = diameter
        for _ in range(count * 6):
            if len(placed) == count:
                break
            joined = sum(t.partner >= 0 for t in placed)
            attach = len(placed) > 0 and touching > 0 and 2 * joined < touching * len(placed) + 0.5
            radius = (low + (high - low) * rng.random() * rng.random() ** 0.5) / 2
            length = min(150 + 900 * rng.random() ** 1.5, 2.0 * float(extent.max()))
            middle = extent * rng.random(3)
            partner = int(rng.integers(len(placed))) if attach else -1
            heading = _direction(rng)
            if attach:
                near = placed[partner].points
                inner = near[((near > 0) & (near < extent)).all(axis=1)]
                at = (inner if len(inner) else near)[int(rng.integers(len(inner) or len(near)))]
                middle = at + _direction(rng) * radius
            lines = [_line(rng, length, radius, middle=middle, heading=heading, bend=0.25)]
            if rng.random() < branching:
                fork = lines[0][int(rng.integers(1, len(lines[0]) - 1)), :3]
                side = _line(rng, 0.8 * length, 0.85 * radius, middle=fork, heading=_direction(rng), bend=0.2)
                lines.append(side[len(side) // 2 :])
            tube = _Tube(lines, margin=14 + 60 * rng.random() ** 2, partner=partner)
            fits = tube.settle(placed, free=45.0, overlap=0.2 * radius + 12)
            centre = tube.points[len(tube.points) // 2]
            if fits and ((centre >= 0) & (centre <= extent)).all():
                placed.append(tube)
        self.mitos = len(placed)

    def lay_bodies(self) -> None:
        """Lay dark round bodies where no mitochondrion is."""
        rng = self.rng
        for _ in range(round(self.distractors * self.room / 4e8)):
            middle = self.grid.extent * rng.random(3)
            radius = 40 + 90 * rng.random() ** 2
            length = 60 + radius * rng.random()
            line = _line(rng, length, radius, middle=middle, heading=_direction(rng), bend=0.3)
            tube = _Tube([line], margin=20 + 30 * rng.random())
            if tube.settle(self.tubes, free=50.0):
                self.tubes.append(tube)

    def lay_cells(self) -> tuple[Cells, Field]:
        """Draw cells around the objects; return the cell of each voxel and its distance to the membrane in nm."""
        grid = self.grid
        fields = self._cell_fields()
        lowest = _Nearest(grid.counts)
        for c, f in enumerate(fields):
            lowest.add(c, f)
        walls = self._walls(lowest.index)
        # An object never crosses the membrane of its cell: its cell takes the room around it, all others give way.
        taken = _Nearest(grid.counts)
        for c, wall in walls.items():
            taken.add(c, wall)
        lowest = _Nearest(grid.counts)
        for c, f in enumerate(fields):
            np.minimum(f, walls.pop(c, np.inf), out=f)
            np.maximum(f, -np.where(taken.index == c, taken.second, taken.first), out=f)
            lowest.add(c, f)
        near = _Nearest(grid.shape, _FAR)
        for c, f in enumerate(fields):
            nodes = np.argwhere(f - lowest.first < 200)
            if len(nodes) == 0:
                continue
            box = grid.around((nodes.min(axis=0) - 2) * grid.steps, nodes.max(axis=0) * grid.steps)
            if box.size:
                near.add(c, grid.refine(f[grid.support(box).slices], box), box)
        near.second -= near.first
        near.second *= 0.5
        return near.index, near.second

    def _cell_fields(self) -> list[Field]:
        """Return for each cell its distance to a curved line less its weight, on the coarse nodes."""
        rng, fields = self.rng, []
        for _ in range(_cell_count(self.grid)):
            middle = (self.grid.extent + 400) * rng.random(3) - 200
            weight = 40 + 260 * rng.random() ** 3
            length = 150 + 1400 * rng.random()
            line = _line(rng, length, weight, middle=middle, heading=_direction(rng), bend=0.2)
            thin = np.unique(np.linspace(0, len(line) - 1, 5).astype(int))
            fields.append(_Tube([line[thin]]).distance(self.folded))
        return fields

    def _walls(self, cells: Cells) -> dict[int, Field]:
        """Put each object into a cell; return for each such cell the distance to the room that its objects need.

        It is the cell that most of its line runs through; partners share theirs.
        """
        grid = self.grid
        walls: dict[int, Field] = {}
        for tube in self.tubes:
            at = np.clip(np.rint(tube.points / grid.steps + 1).astype(int), 0, np.subtract(grid.counts, 1))
            tube.cell = int(np.bincount(cells[tuple(at.T)]).argmax())
            if tube.partner >= 0:
                tube.cell = self.tubes[tube.partner].cell
            wall = walls.setdefault(tube.cell, np.full(grid.counts, _FAR, np.float32))
            part = grid.support(grid.around(*tube.corners(200))).slices
            room = tube.distance([n[part] for n in self.warped]) - np.float32(tube.margin)
            np.minimum(wall[part], room, out=wall[part])
        return walls

    def objects(self) -> _Nearest:
        """Return the signed distance to the nearest object, which it is, and the distance to the next one."""
        near = _Nearest(self.grid.shape, _FAR)
        for k, tube in enumerate(self.tubes):
            box = self.grid.around(*tube.corners(60))
            if box.size:
                nodes = [n[self.grid.support(box).slices] for n in self.warped]
                near.add(k, self.grid.refine(tube.distance(nodes), box), box)
        return near


def _cell_count(grid: Grid) -> int:
    """Return how many cells neuropil has in a volume and a little around it."""
    return max(3, round(float(np.prod(grid.extent + 400)) / 7.5e7))


# ----------------------------------------------------------------------------------------------------- the greys


def _paint(scene: _Scene, cristae: Cristae) -> tuple[Field, npt.NDArray[np.uint32]]:
    """Return the clean picture, 0 (black) to 1 (white), and the ids, both (z, y, x)."""
    cells, depth = scene.lay_cells()
    objects = scene.objects()
    picture, grain = _cytoplasm(scene, cells)
    _draw_organelles(scene, picture, cells, depth, objects.first)
    _draw_membranes(scene, picture, cells, depth)
    _draw_objects(scene, picture, grain, objects, cristae)
    inside = (objects.first < 0) & (objects.index < scene.mitos)
    return picture, np.where(inside, objects.index + 1, 0).astype(np.uint32)


def _cytoplasm(scene: _Scene, cells: Cells) -> tuple[Field, Field]:
    """Return base grey with grain and ribosomes by cell, and the grain alone."""
    rng, noise = scene.rng, scene.grid.fine_noise
    count = int(cells.max()) + 1
    base = np.clip(0.75 + 0.06 * rng.standard_normal(count), 0.52, 0.86).astype(np.float32)
    rough = (0.6 + 1.1 * rng.random(count) ** 1.5).astype(np.float32)
    grain = 0.05 * noise(rng, 8.0, 8.0, 8.0)
    grain += 0.055 * noise(rng, 22.0, 22.0, 22.0)
    long = int(rng.integers(3))
    threads = noise(rng, *(26.0 if k == long else 7.5 for k in range(3)))
    dots = noise(rng, 8.5, 8.5, 8.5)
    dark = 0.2 * np.maximum(threads - 1.2, 0) + 0.24 * np.maximum(dots - 1.2, 0)
    return base[cells] + (grain - dark) * rough[cells], grain


def _draw_organelles(scene: _Scene, picture: Field, cells: Cells, depth: Field, inside: Field) -> None:
    """Draw winding tubules (a dark rim around a pale inside), clouds of vesicles and bundles of microtubules."""
    rng, grid = scene.rng, scene.grid
    surface = np.full(grid.shape, _FAR, np.float32)
    for _ in range(round(scene.room / 1.5e7)):
        radius = 9 + 16 * rng.random() ** 2
        middle, length = grid.extent * rng.random(3), 80 + 350 * rng.random()
        line = _line(rng, length, radius, middle=middle, heading=_direction(rng), bend=0.35)
        _draw_thread(grid, surface, line, radius)
    for _ in range(round(scene.room / 7e7)):
        middle, spread = grid.extent * rng.random(3), 60 + 70 * rng.random()
        home = cells[grid.voxel(middle)]
        for _ in range(int(rng.integers(6, 60))):
            centre = middle + spread * rng.standard_normal(3)
            radius = 17 + 6 * rng.random()
            at = grid.voxel(centre)
            if cells[at] == home and depth[at] > radius + 14:
                _draw_sphere(grid, surface, centre, radius)
    for _ in range(round(scene.room / 2.5e8)):
        middle, heading = grid.extent * rng.random(3), _direction(rng)
        for _ in range(int(rng.integers(3, 9))):
            start = middle + 70 * rng.standard_normal(3)
            line = _line(rng, 500, 7, middle=start, heading=heading, bend=0.03)
            _draw_thread(grid, surface, line, 6)
    near = np.flatnonzero((surface < 9) & (depth > 14) & (inside > 12))
    d = surface.ravel()[near]
    rim = np.clip(1 - np.abs(d) / 8.5, 0, 1)
    flat = picture.reshape(-1)
    flat[near] = flat[near] * (1 - 0.7 * rim) + 0.05 * (d < -6)


def _squares(grid: Grid, centre: Vectors, reach: float) -> tuple[Box, Field]:
    """Return the box around a point and the squared distances in it, nm."""
    box = grid.around(centre - reach, centre + reach)
    z, y, x = (
        (np.arange(a, b, dtype=np.float32) * np.float32(v) - np.float32(c)) ** 2
        for a, b, v, c in zip(box.start, box.stop, grid.voxel_size, centre, strict=True)
    )
    return box, z[:, None, None] + y[:, None] + x


def _draw_sphere(grid: Grid, surface: Field, centre: Vectors, radius: float) -> None:
    """Take the distance to a small sphere into a distance field, in place."""
    box, squares = _squares(grid, centre, radius + 12)
    if box.size:
        part = surface[box.slices]
        np.minimum(part, np.sqrt(squares) - np.float32(radius), out=part)


def _draw_thread(grid: Grid, surface: Field, line: Vectors, radius: float) -> None:
    """Take a thin tube along a line into a distance field, in place."""
    points = line[:, :3]
    length = float(np.sqrt((np.diff(points, axis=0) ** 2).sum(axis=1)).sum())
    for centre in _between(points, np.linspace(0, len(points) - 1, int(length / 8) + 2)):
        _draw_sphere(grid, surface, centre, radius)


def _draw_membranes(scene: _Scene, picture: Field, cells: Cells, depth: Field) -> None:
    """Darken cell membranes, myelin and synapses."""
    rng, grid = scene.rng, scene.grid
    lines: Field = np.clip((14.5 - depth) / 8, 0, 1, dtype=np.float32)
    lines -= 0.3 * np.clip((3.5 - depth) / 3.5, 0, 1)
    count = int(cells.max()) + 1
    wrapped = rng.random(count) < 0.05 * scene.distractors
    layers = np.where(wrapped, 50 + 70 * rng.random(count), 0).astype(np.float32)
    layers[[t.cell for t in scene.tubes if t.cell < count]] = 0  # a cell with objects has no myelin
    around = layers[cells]
    thick = around > 0
    if thick.any():
        d = depth[thick]
        band = np.clip((around[thick] - d) / 6, 0, 1) * (0.8 + 0.2 * np.cos(d * np.float32(2 * np.pi / 24)))
        lines[thick] = np.maximum(lines[thick], band)
    for _ in range(round(scene.room / 3e8)):
        size = 90 + 90 * rng.random()
        box, squares = _squares(grid, grid.extent * rng.random(3), size)
        if box.size:
            part = lines[box.slices]
            near = np.clip(1.6 - 1.6 * squares / np.float32(size * size), 0, 1)
            np.maximum(part, near * np.clip((32 - depth[box.slices]) / 14, 0, 1) * np.float32(1.1), out=part)
    picture *= 1 - np.float32(0.72) * np.minimum(lines, 1.2)


def _draw_objects(scene: _Scene, picture: Field, grain: Field, objects: _Nearest, cristae: Cristae) -> None:
    """Draw double membranes, matrix and folds of mitochondria, and the dark bodies."""
    rng, grid = scene.rng, scene.grid
    look = _Look(rng, cristae)
    for k, tube in enumerate(scene.tubes):
        box = grid.around(*tube.corners(20))
        if box.size == 0:
            continue
        at, nodes = box.slices, grid.support(box).slices
        inside = objects.first[at]
        mine = (objects.index[at] == k) & (inside < 8)
        # Where two objects touch, both have their membrane on their side of the seam.
        depth = np.minimum(-inside, (objects.second[at] - inside) / 2)[mine]
        lumps = grid.refine(grid.noise(rng, 160 if k < scene.mitos else 70)[nodes], box)[mine]
        if k < scene.mitos:
            phase = grid.refine(look.phase(tube, grid, [n[nodes] for n in scene.warped], nodes), box)
            value = look.mitochondrion(depth, phase[mine], lumps)
        else:
            value = look.body(depth, lumps)
        value += np.float32(0.75) * grain[at][mine]
        before = picture[at][mine]
        picture[at][mine] = before + np.clip((depth + 5) / 5, 0, 1) * (value - before)


class _Look:
    """Greys of the insides of one volume, with a variant drawn for each object."""

    def __init__(self, rng: Random, cristae: Cristae) -> None:
        self.rng = rng
        self.matrix = 0.36 + 0.14 * rng.random()
        self.pale = {"mixed": 0.5, "dark": 0.0, "light": 1.0}[cristae]
        self.period = 46 + 30 * rng.random()
        self.lengthwise = rng.random()

    def phase(self, tube: _Tube, grid: Grid, points: list[Field], nodes: tuple[slice, ...]) -> Field:
        """Return a phase on some coarse nodes, at their points; every 2 pi of it is one fold."""
        rng = self.rng
        line = tube.lines[0][:, :3]
        axis, normal = _unit(line[-1] - line[0]), _direction(rng)
        along = rng.random() < self.lengthwise
        normal = _unit(normal - axis * float(normal @ axis) if along else axis + 0.35 * normal)
        wave = 2 * np.pi / (self.period * (0.85 + 0.3 * rng.random()))
        out = (0.8 + 1.6 * rng.random()) * grid.noise(rng, 240)[nodes]
        for n, a in zip(points, normal, strict=True):
            out += n * a * wave
        return np.asarray(out, dtype=np.float32)

    def mitochondrion(self, depth: Field, phase: Field, gaps: Field) -> Field:
        """Grey at some depth (nm) below the outer membrane; folds end where `gaps` is low."""
        rng = self.rng
        matrix = self.matrix + 0.035 * rng.standard_normal()
        change = (0.24 if rng.random() < self.pale else -0.19) * (0.45 + 0.55 * rng.random())
        fold = np.clip((np.cos(phase) - 0.25) / 0.6, 0, 1) * np.clip((gaps + 0.8) / 0.5, 0, 1)
        fold *= np.clip((depth - 14) / 8, 0, 1)
        outer, cleft, inner = (np.clip(1 - np.abs(depth - at) / w, 0, 1) for at, w in ((3, 6), (11, 6), (18, 7)))
        value = (matrix + change * fold) * (1 - 0.62 * outer) * (1 - 0.35 * inner) + 0.1 * cleft
        return np.asarray(value, dtype=np.float32)

    def body(self, depth: Field, lumps: Field) -> Field:
        """Grey of a lysosome or a droplet at some depth (nm)."""
        value = 0.1 + 0.2 * self.rng.random() + 0.07 * lumps - 0.1 * np.clip(1 - np.abs(depth - 3) / 6, 0, 1)
        return np.asarray(np.clip(value, 0.04, 1), dtype=np.float32)


# ------------------------------------------------------------------------------------------------ the microscope


def _jumps(rng: Random, count: int, amount: float) -> npt.NDArray[np.int64]:
    """Return whole-pixel (y, x) jumps of each section, (count, 2): a walk that is pulled back to 0."""
    steps = amount * rng.standard_normal((count, 2))
    out = np.zeros((count, 2))
    for i in range(1, count):
        out[i] = 0.75 * out[i - 1] + steps[i]
    return np.rint(out).astype(np.int64)


def _displaced(
    volume: npt.NDArray[Number], jumps: npt.NDArray[np.int64], shape: tuple[int, int, int]
) -> npt.NDArray[Number]:
    """Cut the sections out of a larger volume, each displaced by its jump."""
    places = np.abs(jumps).max(axis=0) + jumps
    return np.stack([p[y : y + shape[1], x : x + shape[2]] for p, (y, x) in zip(volume, places, strict=True)])


def _exposed(picture: Field, rng: Random, *, noise: float, flicker: float, contrast: float) -> npt.NDArray[np.uint8]:
    """Turn the clean picture into what a detector writes: blur, uneven sections, grain, 8 bits."""
    count, h, w = picture.shape
    sharp = 0.55 + 0.5 * rng.random()
    scale = 250 * contrast * (0.85 + 0.25 * rng.random())
    grainy = 8 * noise * (0.6 + 0.6 * rng.random()) * min(abs(contrast), 1)
    middle = 128 + 10 * rng.standard_normal()
    blurred = ndi.gaussian_filter(picture, (0, sharp, sharp), truncate=3)
    gain = 1 + 0.03 * flicker * rng.standard_normal((count, 1, 1))
    bias = 3.5 * flicker * rng.standard_normal((count, 1, 1))
    tilt = 6 * flicker * rng.standard_normal(2)
    slope = np.linspace(-1, 1, h)[:, None] * tilt[0] + np.linspace(-1, 1, w) * tilt[1]
    out = np.empty(picture.shape, np.uint8)
    for z in range(count):
        grain = rng.standard_normal((h, w), dtype=np.float32)
        grain = 0.6 * grain + 0.9 * ndi.gaussian_filter(grain, 0.6, mode="wrap")
        grey = middle + (blurred[z] - 0.6) * (scale * gain[z]) + bias[z] + slope + grainy * grain
        out[z] = np.clip(np.rint(grey), 0, 255)
    return out


def _pieces(ids: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Number 1..n the pieces whose voxels hang together by faces; drop crumbs that the jumps cut off."""
    out = np.zeros_like(ids)
    count = 0
    for k, at in enumerate(ndi.find_objects(ids.astype(np.int32)), start=1):
        pieces, found = ndi.label(ids[at] == k) if at is not None else (ids, 0)
        sizes = np.bincount(pieces.ravel())
        for n in range(1, found + 1):
            if sizes[n] >= _CRUMB or found == 1:
                count += 1
                out[at][pieces == n] = count
    return out
