"""The greys of phantoms: cells, membranes, what floats in the cytoplasm, and mitochondria with their folds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from mitonb.box import Box
from mitonb.phantom_shapes import (
    FAR,
    Field,
    Grid,
    Plan,
    Tube,
    Vectors,
    cell_fields,
    lay_bodies,
    lay_mitochondria,
    random_line,
    unit,
)

__all__ = ["Scene"]

Cells = npt.NDArray[np.int16]


class Scene:
    """What lies where: lays out cells and mitochondria, then draws them into one volume.

    Parameters
    ----------
    grid : Grid
        Size and voxel size of the volume.
    plan : Plan
        What to draw.
    rng : numpy.random.Generator
        The only source of chance.
    """

    def __init__(self, grid: Grid, plan: Plan, rng: np.random.Generator) -> None:
        self.grid, self.plan, self.rng = grid, plan, rng
        straight = grid.nodes()
        self.warped = [n + 7 * grid.noise(rng, 130) for n in straight]
        self.folded = [n + 45 * grid.noise(rng, 420) + 14 * grid.noise(rng, 170) for n in straight]
        self.mitos = lay_mitochondria(rng, grid, plan)
        self.tubes = [*self.mitos, *lay_bodies(rng, grid, plan, self.mitos)]

    def draw(self) -> tuple[Field, npt.NDArray[np.uint32]]:
        """Return the clean picture, 0 (black) to 1 (white), and the ids, both (z, y, x)."""
        cells, depth = self._cells()
        inside, which, between = self._objects()
        picture, grain = self._cytoplasm(cells)
        self._organelles(picture, cells, depth, inside)
        self._membranes(picture, cells, depth)
        self._fill(picture, grain, inside, which, between)
        ids = np.where((inside < 0) & (which < len(self.mitos)), which + 1, 0).astype(np.uint32)
        return picture, ids

    # ---- where things are

    def _cells(self) -> tuple[Cells, Field]:
        """Return the cell of each voxel and its distance to the membrane in nm."""
        grid = self.grid
        fields = cell_fields(self.rng, grid, self.folded)
        self._give_cells(_lowest(fields)[1])
        # An object never crosses the membrane of its cell: its cell takes the room around it, all others give way.
        walls = self._walls()
        nearest, owner, next_one = _two_lowest(walls, grid.counts)
        for c, f in enumerate(fields):
            own = walls.pop(c, None)
            foreign = np.where(owner == c, next_one, nearest)
            np.maximum(f if own is None else np.minimum(f, own), -foreign, out=f)
        lowest = _lowest(fields)[0]
        near = _Nearest(grid)
        for c, f in enumerate(fields):
            box = _bounds(f - lowest < 200)
            fine = None if box is None else grid.covered(box)
            if fine is not None and fine.size:
                near.add(c, grid.refine(f[grid.support(fine).slices], fine), fine)
        near.second -= near.first
        near.second *= 0.5
        return near.index, near.second

    def _give_cells(self, nearest: npt.NDArray[np.int64]) -> None:
        """Put each object into the cell that most of its line runs through; partners share theirs."""
        for tube in self.tubes:
            at = np.rint(tube.points / self.grid.steps + 1).astype(int)
            at = np.clip(at, 0, np.array(self.grid.counts) - 1)
            tube.cell = int(np.bincount(nearest[tuple(at.T)]).argmax())
            if tube.partner >= 0:
                tube.cell = self.mitos[tube.partner].cell

    def _walls(self) -> dict[int, Field]:
        """Return for each cell with objects the distance to the room that they need, on the coarse nodes."""
        grid = self.grid
        walls: dict[int, Field] = {}
        for tube in self.tubes:
            wall = walls.setdefault(tube.cell, np.full(grid.counts, FAR, np.float32))
            at = grid.support(grid.around(*tube.corners(200))).slices
            np.minimum(wall[at], tube.distance([n[at] for n in self.warped]) - np.float32(tube.margin), out=wall[at])
        return walls

    def _objects(self) -> tuple[Field, Cells, Field]:
        """Return the signed distance to the nearest object, which it is, and the distance to the next one."""
        near = _Nearest(self.grid)
        for k, tube in enumerate(self.tubes):
            box = self.grid.around(*tube.corners(60))
            if box.size:
                nodes = [n[self.grid.support(box).slices] for n in self.warped]
                near.add(k, self.grid.refine(tube.distance(nodes), box), box)
        return near.first, near.index, near.second

    # ---- how dark they are

    def _cytoplasm(self, cells: Cells) -> tuple[Field, Field]:
        """Return base grey with grain and ribosomes by cell, and the grain alone."""
        rng, grid = self.rng, self.grid
        count = int(cells.max()) + 1
        base = np.clip(0.75 + 0.06 * rng.standard_normal(count), 0.52, 0.86).astype(np.float32)
        rough = (0.6 + 1.1 * rng.random(count) ** 1.5).astype(np.float32)
        grain = 0.05 * _noise(rng, grid, (8.0, 8.0, 8.0))
        grain += 0.055 * _noise(rng, grid, (22.0, 22.0, 22.0))
        long = int(rng.integers(3))
        threads = _noise(rng, grid, tuple(26.0 if k == long else 7.5 for k in range(3)))
        dots = _noise(rng, grid, (8.5, 8.5, 8.5))
        dark = 0.2 * np.maximum(threads - 1.2, 0) + 0.24 * np.maximum(dots - 1.2, 0)
        picture = base[cells]
        picture += (grain - dark) * rough[cells]
        return picture, grain

    def _organelles(self, picture: Field, cells: Cells, depth: Field, inside: Field) -> None:
        """Draw vesicles, tubules (a dark rim around a pale inside) and bundles of microtubules."""
        rng, grid = self.rng, self.grid
        room = float(np.prod(grid.extent))
        surface = np.full(grid.shape, FAR, np.float32)
        for _ in range(round(room / 1.5e7)):
            _tubule(rng, grid, surface)
        for _ in range(round(room / 7e7)):
            _vesicles(rng, grid, surface, cells, depth)
        for _ in range(round(room / 2.5e8)):
            _microtubules(rng, grid, surface)
        near = np.flatnonzero((surface < 9) & (depth > 14) & (inside > 12))
        d = surface.ravel()[near]
        rim = np.clip(1 - np.abs(d) / 8.5, 0, 1)
        flat = picture.reshape(-1)
        flat[near] = flat[near] * (1 - 0.7 * rim) + 0.05 * (d < -6)

    def _membranes(self, picture: Field, cells: Cells, depth: Field) -> None:
        """Darken cell membranes, myelin and synapses."""
        rng, grid = self.rng, self.grid
        lines: Field = np.clip((14.5 - depth) / 8, 0, 1, dtype=np.float32)
        lines -= 0.3 * np.clip((3.5 - depth) / 3.5, 0, 1)
        layers = _myelin(rng, int(cells.max()) + 1, self.plan, {t.cell for t in self.tubes})[cells]
        thick = layers > 0
        if thick.any():
            d = depth[thick]
            band = np.clip((layers[thick] - d) / 6, 0, 1) * (0.8 + 0.2 * np.cos(d * np.float32(2 * np.pi / 24)))
            lines[thick] = np.maximum(lines[thick], band)
        for _ in range(round(float(np.prod(grid.extent)) / 3e8)):
            _synapse(rng, grid, lines, depth)
        picture *= 1 - np.float32(0.72) * np.minimum(lines, 1.2)

    def _fill(self, picture: Field, grain: Field, inside: Field, which: Cells, between: Field) -> None:
        """Draw double membranes, matrix and folds of mitochondria, and the dark bodies."""
        rng, grid = self.rng, self.grid
        look = _Look(rng, self.plan)
        for k, tube in enumerate(self.tubes):
            box = grid.around(*tube.corners(20))
            if box.size == 0:
                continue
            at = box.slices
            mine = (which[at] == k) & (inside[at] < 8)
            # Where two objects touch, both have their membrane on their side of the seam.
            depth = np.minimum(-inside[at], (between[at] - inside[at]) / 2)[mine]
            lumps = grid.refine(grid.noise(rng, 160 if k < len(self.mitos) else 70)[grid.support(box).slices], box)
            if k < len(self.mitos):
                phase = grid.refine(look.phase(tube, grid, self.warped, box), box)
                value = look.mitochondrion(depth, phase[mine], lumps[mine])
            else:
                value = look.body(depth, lumps[mine])
            value += np.float32(0.75) * grain[at][mine]
            before = picture[at][mine]
            picture[at][mine] = before + np.clip((depth + 5) / 5, 0, 1) * (value - before)


def _lowest(fields: list[Field]) -> tuple[Field, npt.NDArray[np.int64]]:
    """Return the lowest value of many fields at each place, and in which of them it is (the first of equals)."""
    lowest, index = fields[0].copy(), np.zeros(fields[0].shape, np.int64)
    # One by one: a stack of them would hold the volume once more for each cell.
    for k, field in enumerate(fields[1:], 1):
        index[field < lowest] = k
        np.minimum(lowest, field, out=lowest)
    return lowest, index


def _two_lowest(fields: dict[int, Field], shape: tuple[int, ...]) -> tuple[Field, npt.NDArray[np.int64], Field]:
    """Return the lowest value of many fields at each place, the key of its field, and the lowest of the others.

    It is infinite where there is no field.
    """
    first, second = (np.full(shape, np.inf, np.float32) for _ in range(2))
    owner = np.full(shape, -1, np.int64)
    for key, field in fields.items():
        np.minimum(second, np.maximum(first, field), out=second)
        owner[field < first] = key
        np.minimum(first, field, out=first)
    return first, owner, second


class _Nearest:
    """The lowest and second lowest of many distance fields, and whose the lowest is."""

    def __init__(self, grid: Grid) -> None:
        self.first = np.full(grid.shape, FAR, np.float32)
        self.second = np.full(grid.shape, FAR, np.float32)
        self.index = np.zeros(grid.shape, np.int16)

    def add(self, number: int, values: Field, box: Box) -> None:
        """Take one more field into account, given within a box."""
        at = box.slices
        np.copyto(self.index[at], number, where=values < self.first[at])
        self.second[at] = np.minimum(self.second[at], np.maximum(self.first[at], values))
        self.first[at] = np.minimum(self.first[at], values)


class _Look:
    """Greys of the insides of one volume, with a variant drawn for each object."""

    def __init__(self, rng: np.random.Generator, plan: Plan) -> None:
        self.rng = rng
        self.matrix = 0.36 + 0.14 * rng.random()
        self.pale = {"mixed": 0.5, "dark": 0.0, "light": 1.0}[plan.cristae]
        self.period = 46 + 30 * rng.random()
        self.lengthwise = rng.random()

    def phase(self, tube: Tube, grid: Grid, nodes: list[Field], box: Box) -> Field:
        """Return a phase on the coarse nodes of a box; every 2 pi of it is one fold."""
        rng = self.rng
        points = tube.lines[0][0]
        axis = points[-1] - points[0]
        axis = axis / max(float(np.sqrt((axis**2).sum())), 1e-6)
        normal = unit(rng)
        normal = normal - axis * float(normal @ axis) if rng.random() < self.lengthwise else axis + 0.35 * normal
        normal = normal / np.sqrt((normal**2).sum())
        at = grid.support(box).slices
        wave = 2 * np.pi / (self.period * (0.85 + 0.3 * rng.random()))
        out = (0.8 + 1.6 * rng.random()) * grid.noise(rng, 240)[at]
        for n, a in zip(nodes, normal, strict=True):
            out += n[at] * a * wave
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


def _myelin(rng: np.random.Generator, count: int, plan: Plan, used: set[int]) -> Field:
    """Return the thickness of the myelin of each cell in nm: 0 for nearly all, and for those with objects."""
    wrapped = rng.random(count) < 0.05 * plan.distractors
    thick = np.where(wrapped, 50 + 70 * rng.random(count), 0).astype(np.float32)
    thick[[c for c in used if c < count]] = 0
    return thick


def _squares(grid: Grid, centre: Vectors, reach: float) -> tuple[Box, Field]:
    """Return the box around a point and the squared distances in it, nm."""
    box = grid.around(centre - reach, centre + reach)
    z, y, x = (
        (np.arange(a, b, dtype=np.float32) * np.float32(v) - np.float32(c)) ** 2
        for a, b, v, c in zip(box.start, box.stop, grid.voxel_size, centre, strict=True)
    )
    return box, z[:, None, None] + y[:, None] + x


def _stamp(grid: Grid, surface: Field, centre: Vectors, radius: float) -> None:
    """Take the distance to a small sphere into a distance field, in place."""
    box, squares = _squares(grid, centre, radius + 12)
    if box.size:
        at = box.slices
        np.minimum(surface[at], np.sqrt(squares) - np.float32(radius), out=surface[at])


def _thread(grid: Grid, surface: Field, points: Vectors, radius: float) -> None:
    """Take a thin tube along a line into a distance field, in place."""
    length = float(np.sqrt((np.diff(points, axis=0) ** 2).sum(axis=1)).sum())
    at = np.linspace(0, len(points) - 1, int(length / 8) + 2)
    for centre in np.stack([np.interp(at, np.arange(len(points)), points[:, k]) for k in range(3)], axis=1):
        _stamp(grid, surface, centre, radius)


def _tubule(rng: np.random.Generator, grid: Grid, surface: Field) -> None:
    """Draw a winding tubule of the endoplasmic reticulum."""
    radius = 9 + 16 * rng.random() ** 2
    middle, length = grid.extent * rng.random(3), 80 + 350 * rng.random()
    points, _ = random_line(rng, length, radius, middle=middle, heading=unit(rng), bend=0.35)
    _thread(grid, surface, points, radius)


def _microtubules(rng: np.random.Generator, grid: Grid, surface: Field) -> None:
    """Draw a few parallel microtubules."""
    middle, heading = grid.extent * rng.random(3), unit(rng)
    for _ in range(int(rng.integers(3, 9))):
        start = middle + 70 * rng.standard_normal(3)
        points, _radii = random_line(rng, 500, 7, middle=start, heading=heading, bend=0.03)
        _thread(grid, surface, points, 6)


def _vesicles(rng: np.random.Generator, grid: Grid, surface: Field, cells: Cells, depth: Field) -> None:
    """Draw a cloud of round vesicles within one cell."""
    middle = grid.extent * rng.random(3)
    spread = 60 + 70 * rng.random()
    home = cells[_voxel(grid, middle)]
    for _ in range(int(rng.integers(6, 60))):
        centre = middle + spread * rng.standard_normal(3)
        radius = 17 + 6 * rng.random()
        at = _voxel(grid, centre)
        if cells[at] == home and depth[at] > radius + 14:
            _stamp(grid, surface, centre, radius)


def _voxel(grid: Grid, point: Vectors) -> tuple[int, int, int]:
    """Return the voxel at a point in nm, or the nearest one inside."""
    z, y, x = (
        min(max(round(float(p / v)), 0), n - 1) for p, v, n in zip(point, grid.voxel_size, grid.shape, strict=True)
    )
    return z, y, x


def _synapse(rng: np.random.Generator, grid: Grid, lines: Field, depth: Field) -> None:
    """Thicken a patch of membrane."""
    size = 90 + 90 * rng.random()
    box, squares = _squares(grid, grid.extent * rng.random(3), size)
    if box.size:
        at = box.slices
        near = np.clip(1.6 - 1.6 * squares / np.float32(size * size), 0, 1)
        np.maximum(lines[at], near * np.clip((32 - depth[at]) / 14, 0, 1) * np.float32(1.1), out=lines[at])


def _noise(rng: np.random.Generator, grid: Grid, size: tuple[float, ...]) -> Field:
    """Return noise with features of `size` (z, y, x) nm on the voxels, deviation 1."""
    white = rng.standard_normal(grid.shape, dtype=np.float32)
    out = ndi.gaussian_filter(
        white, [s / v for s, v in zip(size, grid.voxel_size, strict=True)], mode="wrap", truncate=2.5
    )
    return np.asarray(out / max(float(out[::3, ::3, ::3].std()), 1e-6), dtype=np.float32)


def _bounds(mask: npt.NDArray[np.bool_]) -> Box | None:
    """Box of the nodes that are set, with one node around it."""
    hits = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    if len(hits[0]) == 0:
        return None
    (z0, z1), (y0, y1), (x0, x1) = ((int(h[0]) - 1, int(h[-1]) + 2) for h in hits)
    z, y, x = mask.shape
    return Box((z0, y0, x0), (z1, y1, x1)).clip((z, y, x))
