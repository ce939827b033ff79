"""The greys of phantoms: cytoplasm and what floats in it, membranes, and mitochondria with their folds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from mitonb.phantoms.shapes import FAR, Field, Grid, Plan, Tube, Vectors, random_line, unit

if TYPE_CHECKING:
    from mitonb.box import Box
    from mitonb.phantoms.scene import Cells, Scene

__all__ = ["paint"]


def paint(scene: Scene) -> tuple[Field, npt.NDArray[np.uint32]]:
    """Return the clean picture, 0 (black) to 1 (white), and the ids, both (z, y, x)."""
    cells, depth = scene.lay_cells()
    inside, which, between = scene.objects()
    picture, grain = _cytoplasm(scene, cells)
    _organelles(scene, picture, cells, depth, inside)
    _membranes(scene, picture, cells, depth)
    _fill(scene, picture, grain, inside, which, between)
    ids = np.where((inside < 0) & (which < len(scene.mitos)), which + 1, 0).astype(np.uint32)
    return picture, ids


def _cytoplasm(scene: Scene, cells: Cells) -> tuple[Field, Field]:
    """Return base grey with grain and ribosomes by cell, and the grain alone."""
    rng, grid = scene.rng, scene.grid
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


def _organelles(scene: Scene, picture: Field, cells: Cells, depth: Field, inside: Field) -> None:
    """Draw vesicles, tubules (a dark rim around a pale inside) and bundles of microtubules."""
    rng, grid = scene.rng, scene.grid
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


def _membranes(scene: Scene, picture: Field, cells: Cells, depth: Field) -> None:
    """Darken cell membranes, myelin and synapses."""
    rng, grid = scene.rng, scene.grid
    lines: Field = np.clip((14.5 - depth) / 8, 0, 1, dtype=np.float32)
    lines -= 0.3 * np.clip((3.5 - depth) / 3.5, 0, 1)
    layers = _myelin(rng, int(cells.max()) + 1, scene.plan, {t.cell for t in scene.tubes})[cells]
    thick = layers > 0
    if thick.any():
        d = depth[thick]
        band = np.clip((layers[thick] - d) / 6, 0, 1) * (0.8 + 0.2 * np.cos(d * np.float32(2 * np.pi / 24)))
        lines[thick] = np.maximum(lines[thick], band)
    for _ in range(round(float(np.prod(grid.extent)) / 3e8)):
        _synapse(rng, grid, lines, depth)
    picture *= 1 - np.float32(0.72) * np.minimum(lines, 1.2)


def _fill(scene: Scene, picture: Field, grain: Field, inside: Field, which: Cells, between: Field) -> None:
    """Draw double membranes, matrix and folds of mitochondria, and the dark bodies."""
    rng, grid = scene.rng, scene.grid
    look = _Look(rng, scene.plan)
    for k, tube in enumerate(scene.tubes):
        box = grid.around(*tube.corners(20))
        if box.size == 0:
            continue
        at = box.slices
        mine = (which[at] == k) & (inside[at] < 8)
        # Where two objects touch, both have their membrane on their side of the seam.
        depth = np.minimum(-inside[at], (between[at] - inside[at]) / 2)[mine]
        lumps = grid.refine(grid.noise(rng, 160 if k < len(scene.mitos) else 70)[grid.support(box).slices], box)
        if k < len(scene.mitos):
            phase = grid.refine(look.phase(tube, grid, scene.warped, box), box)
            value = look.mitochondrion(depth, phase[mine], lumps[mine])
        else:
            value = look.body(depth, lumps[mine])
        value += np.float32(0.75) * grain[at][mine]
        before = picture[at][mine]
        picture[at][mine] = before + np.clip((depth + 5) / 5, 0, 1) * (value - before)


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
