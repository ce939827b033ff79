"""Phantoms: drawn volumes that look like serial electron microscopy, with exact instance truth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage as ndi

from mitonb.box import Box
from mitonb.errors import InputError
from mitonb.labels import Labels
from mitonb.phantom_shapes import FAR, Field, Grid, Tube, Vectors, random_line, settle, unit
from mitonb.stack import Stack

__all__ = ["Cristae", "Phantom", "phantom"]

Cristae = Literal["mixed", "dark", "light"]


class Phantom(NamedTuple):
    """A drawn volume and its truth: `stack, labels = phantom()`."""

    stack: Stack
    labels: Labels


@dataclass(frozen=True)
class _Plan:
    """The options of a phantom, checked."""

    objects: int
    touching: float
    branching: float
    diameter: tuple[float, float]
    cristae: Cristae
    distractors: float
    noise: float
    drift: float
    flicker: float
    contrast: float


def phantom(
    shape: tuple[int, int, int] = (64, 256, 256),
    seed: int = 0,
    *,
    voxel_size: tuple[float, float, float] = (8.0, 8.0, 8.0),
    objects: int | None = None,
    touching: float = 0.4,
    branching: float = 0.2,
    diameter: tuple[float, float] = (200.0, 420.0),
    cristae: Cristae = "mixed",
    distractors: float = 1.0,
    noise: float = 1.0,
    drift: float = 0.6,
    flicker: float = 1.0,
    contrast: float = 1.0,
) -> Phantom:
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

    Examples
    --------
    >>> stack, labels = phantom((8, 64, 64), seed=3)
    >>> stack.shape == labels.shape
    True
    """
    _check(shape, voxel_size, touching=touching, branching=branching)
    if objects is None:
        objects = max(1, round(float(np.prod(shape) * np.prod(voxel_size)) / 1.5e8))
    plan = _Plan(
        objects, touching, branching, diameter, cristae, distractors, noise, drift, flicker, contrast
    )
    rng = np.random.default_rng(seed)
    jumps = _drift(rng, shape[0], drift)
    reach = np.abs(jumps).max(axis=0)
    grid = Grid((shape[0], shape[1] + 2 * int(reach[0]), shape[2] + 2 * int(reach[1])), voxel_size)
    image, ids = _Scene(grid, plan, rng).draw()
    image = _section(image, jumps, shape)
    ids = _whole(_section(ids, jumps, shape))
    grey = _expose(image, plan, rng)
    name = f"phantom {seed}"
    stack = Stack(grey, voxel_size, name=name, source=None, notes=("Drawn, not measured.",))
    return Phantom(stack, Labels(ids, voxel_size, name=f"{name} truth"))


def _check(shape: tuple[int, ...], voxel_size: tuple[float, ...], **shares: float) -> None:
    """Refuse what cannot be drawn."""
    if len(shape) != 3 or min(shape) < 1:
        raise InputError(f"A phantom needs a shape (z, y, x) of at least one voxel each, got {shape}.")
    if len(voxel_size) != 3 or not all(np.isfinite(v) and 1 <= v <= 200 for v in voxel_size):
        raise InputError(f"A phantom needs voxel sizes (z, y, x) of 1 to 200 nm, got {voxel_size}.")
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise InputError(f"{name} is a share from 0 to 1, got {share}.")


class _Scene:
    """What lies where: lays out cells and mitochondria, then draws them into one volume."""

    def __init__(self, grid: Grid, plan: _Plan, rng: np.random.Generator) -> None:
        self.grid, self.plan, self.rng = grid, plan, rng
        straight = grid.nodes()
        self.warped = [n + 7 * grid.noise(rng, 130) for n in straight]
        self.folded = [n + 45 * grid.noise(rng, 420) + 14 * grid.noise(rng, 170) for n in straight]
        self.mitos = _lay_mitochondria(rng, grid, plan)
        self.bodies = _lay_bodies(rng, grid, plan, self.mitos)

    def draw(self) -> tuple[Field, npt.NDArray[np.uint32]]:
        """Return the clean picture, 0 (black) to 1 (white), and the ids."""
        cells, depth = self._cells()
        inside, which, between = self._objects()
        picture = self._cytoplasm(cells, depth)
        self._organelles(picture, depth, inside)
        self._membranes(picture, depth)
        self._fill_objects(picture, inside, which, between)
        count = len(self.mitos)
        ids = np.where((inside < 0) & (which < count), which + 1, 0).astype(np.uint32)
        return picture, ids

    # ---- geometry

    def _cells(self) -> tuple[npt.NDArray[np.int16], Field]:
        """Return the cell of each voxel and its distance to the membrane in nm."""
        grid, rng = self.grid, self.rng
        fields = _cell_fields(rng, grid, self.folded)
        nearest = np.argmin(np.stack(fields), axis=0)
        self._give_cells(nearest)
        wall = np.full(grid.counts, FAR, np.float32)
        owner = np.full(grid.counts, -1, np.int16)
        for tube in [*self.mitos, *self.bodies]:
            nodes = grid.support(grid.around(*tube.corners(200))).slices
            distance = tube.distance([n[nodes] for n in self.warped]) - np.float32(tube.margin)
            closer = distance < wall[nodes]
            wall[nodes] = np.where(closer, distance, wall[nodes])
            owner[nodes] = np.where(closer, tube.cell, owner[nodes])
        # An object never crosses the membrane of its cell: the cell takes the room around it, all others give way.
        for c, f in enumerate(fields):
            fields[c] = np.where(owner == c, np.minimum(f, wall), np.maximum(f, -wall))
        lowest = np.min(np.stack(fields), axis=0)
        first = np.full(grid.shape, FAR, np.float32)
        second = np.full(grid.shape, FAR, np.float32)
        index = np.zeros(grid.shape, np.int16)
        for c, f in enumerate(fields):
            box = _bounds(f - lowest < 200)
            if box is None:
                continue
            fine = grid.covered(box)
            if fine.size == 0:
                continue
            values = grid.refine(f[grid.support(fine).slices], fine)
            at = fine.slices
            np.copyto(index[at], c, where=values < first[at])
            second[at] = np.minimum(second[at], np.maximum(first[at], values))
            first[at] = np.minimum(first[at], values)
        second -= first
        second *= 0.5
        return index, second

    def _give_cells(self, nearest: npt.NDArray[np.int64]) -> None:
        """Put each object into the cell that most of its line runs through; partners share theirs."""
        grid = self.grid
        for k, tube in enumerate([*self.mitos, *self.bodies]):
            at = np.rint(tube.points / grid.steps + 1).astype(int)
            at = np.clip(at, 0, np.array(grid.counts) - 1)
            tube.cell = int(np.bincount(nearest[tuple(at.T)]).argmax())
            if k < len(self.mitos) and tube.partner >= 0:
                tube.cell = self.mitos[tube.partner].cell

    def _objects(self) -> tuple[Field, npt.NDArray[np.int16], Field]:
        """Return the signed distance to the nearest object, which it is, and the distance to the next one."""
        grid = self.grid
        first = np.full(grid.shape, FAR, np.float32)
        second = np.full(grid.shape, FAR, np.float32)
        index = np.zeros(grid.shape, np.int16)
        for k, tube in enumerate([*self.mitos, *self.bodies]):
            box = grid.around(*tube.corners(60))
            if box.size == 0:
                continue
            nodes = [n[grid.support(box).slices] for n in self.warped]
            values = grid.refine(tube.distance(nodes), box)
            at = box.slices
            np.copyto(index[at], k, where=values < first[at])
            second[at] = np.minimum(second[at], np.maximum(first[at], values))
            first[at] = np.minimum(first[at], values)
        return first, index, second

    # ---- grey

    def _cytoplasm(self, cells: npt.NDArray[np.int16], depth: Field) -> Field:
        """Return base grey per cell, with grain and ribosomes."""
        rng, grid = self.rng, self.grid
        count = int(cells.max()) + 1
        base = np.clip(0.74 + 0.07 * rng.standard_normal(count), 0.5, 0.86).astype(np.float32)
        rough = (0.5 + 1.0 * rng.random(count)).astype(np.float32)
        picture = base[cells]
        fine = _grain(rng, grid, 9.0)
        coarse = _grain(rng, grid, 26.0)
        fine *= 0.055
        fine += 0.045 * coarse
        spots = _grain(rng, grid, 8.0)
        spots -= 1.6
        np.maximum(spots, 0, out=spots)
        fine -= 0.2 * spots
        fine *= rough[cells]
        picture += fine
        self.rough = rough
        self.layers = _myelin(rng, count, self.plan, [t.cell for t in [*self.mitos, *self.bodies]])[cells]
        return picture

    def _organelles(self, picture: Field, depth: Field, inside: Field) -> None:
        """Draw vesicles and tubules: a dark rim around a pale inside."""
        rng, grid = self.rng, self.grid
        surface = np.full(grid.shape, FAR, np.float32)
        room = float(np.prod(grid.extent))
        for _ in range(round(room / 1.6e7)):
            _tubule(rng, grid, surface)
        for _ in range(round(room / 1.1e8)):
            _vesicles(rng, grid, surface, depth)
        free = (depth > 16) & (inside > 12)
        near = np.flatnonzero((surface < 9) & free)
        d = surface.ravel()[near]
        rim = np.clip(1 - np.abs(d) / 8, 0, 1)
        flat = picture.reshape(-1)
        flat[near] = flat[near] * (1 - 0.62 * rim) + 0.05 * (d < -5)

    def _membranes(self, picture: Field, depth: Field) -> None:
        """Darken cell membranes, myelin and synapses."""
        rng, grid = self.rng, self.grid
        lines = np.clip((17 - depth) / 9, 0, 1)
        lines -= 0.25 * np.clip((3.5 - depth) / 3.5, 0, 1)
        thick = self.layers > 0
        if thick.any():
            d, t = depth[thick], self.layers[thick]
            band = np.clip((t - d) / 6, 0, 1) * (0.78 + 0.22 * np.cos(d * np.float32(2 * np.pi / 24)))
            lines[thick] = np.maximum(lines[thick], band)
        for _ in range(round(float(np.prod(grid.extent)) / 2.2e8)):
            _synapse(rng, grid, lines, depth)
        picture *= 1 - 0.72 * np.minimum(lines, 1.25)

    def _fill_objects(self, picture: Field, inside: Field, which: npt.NDArray[np.int16], between: Field) -> None:
        """Draw double membranes, matrix and cristae of mitochondria, and the dark bodies."""
        rng, grid = self.rng, self.grid
        count = len(self.mitos)
        style = _Style(rng, self.plan)
        for k, tube in enumerate([*self.mitos, *self.bodies]):
            box = grid.around(*tube.corners(20))
            if box.size == 0:
                continue
            at = box.slices
            mine = (which[at] == k) & (inside[at] < 8)
            depth = -inside[at][mine]
            np.minimum(depth, (between[at] - inside[at])[mine] / 2, out=depth)
            before = picture[at][mine]
            if k < count:
                phase = grid.refine(style.phase(tube, grid, self.warped, box), box)[mine]
                gaps = grid.refine(grid.noise(rng, 160)[grid.support(box).slices], box)[mine]
                value = style.mitochondrion(depth, phase, gaps)
            else:
                value = style.body(depth, grid.refine(grid.noise(rng, 70)[grid.support(box).slices], box)[mine])
            blend = np.clip((depth + 5) / 5, 0, 1)
            picture[at][mine] = before + blend * (value - before)


class _Style:
    """Greys of the insides of one volume, with a variant drawn for each object."""

    def __init__(self, rng: np.random.Generator, plan: _Plan) -> None:
        self.rng, self.plan = rng, plan
        self.matrix = 0.36 + 0.16 * rng.random()
        self.pale = {"mixed": rng.random() < 0.5, "dark": False, "light": True}[plan.cristae]
        self.period = 46 + 34 * rng.random()
        self.lengthwise = rng.random()

    def phase(self, tube: Tube, grid: Grid, nodes: list[Field], box: Box) -> Field:
        """Return a phase on the coarse nodes whose every 2 pi is one fold."""
        rng = self.rng
        points = tube.lines[0][0]
        axis = points[-1] - points[0]
        axis = axis / max(float(np.sqrt((axis**2).sum())), 1e-6)
        normal = unit(rng)
        if rng.random() < self.lengthwise:
            normal = normal - axis * float(normal @ axis)
        else:
            normal = axis + 0.35 * normal
        normal = normal / np.sqrt((normal**2).sum())
        support = grid.support(box).slices
        wave = 2 * np.pi / (self.period * (0.85 + 0.3 * rng.random()))
        out = sum(n[support] * np.float32(a * wave) for n, a in zip(nodes, normal, strict=True))
        return np.asarray(out + np.float32(1.7) * grid.noise(rng, 260)[support], dtype=np.float32)

    def mitochondrion(self, depth: Field, phase: Field, gaps: Field) -> Field:
        """Grey at some depth (nm) below the outer membrane."""
        rng = self.rng
        matrix = np.float32(self.matrix + 0.035 * rng.standard_normal())
        strength = 0.7 + 0.3 * rng.random()
        fold = np.clip((np.cos(phase) - 0.25) / 0.6, 0, 1) * np.clip((gaps + 0.7) / 0.5, 0, 1)
        fold *= np.clip((depth - 15) / 8, 0, 1)
        change = 0.22 if self.pale else -0.17
        value = matrix + np.float32(change * strength) * fold
        outer = np.clip(1 - np.abs(depth - 3) / 6, 0, 1)
        inner = np.clip(1 - np.abs(depth - 18) / 7, 0, 1)
        cleft = np.clip(1 - np.abs(depth - 11) / 6, 0, 1)
        value = value * (1 - 0.62 * outer) * (1 - 0.35 * inner) + np.float32(0.1) * cleft
        return np.asarray(value, dtype=np.float32)

    def body(self, depth: Field, lumps: Field) -> Field:
        """Grey of a lysosome or lipid droplet."""
        rng = self.rng
        value = np.float32(0.1 + 0.22 * rng.random()) + np.float32(0.07) * lumps
        value -= np.float32(0.1) * np.clip(1 - np.abs(depth - 3) / 6, 0, 1)
        return np.asarray(np.clip(value, 0.04, 1), dtype=np.float32)


def _lay_mitochondria(rng: np.random.Generator, grid: Grid, plan: _Plan) -> list[Tube]:
    """Lay mitochondria at random, some against others, none through another."""
    placed: list[Tube] = []
    low, high = plan.diameter
    for _ in range(plan.objects * 6):
        if len(placed) == plan.objects:
            break
        joined = sum(t.partner >= 0 for t in placed)
        attach = placed and 2 * joined < plan.touching * len(placed) + 0.5
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
            points, radii = tube.lines[0]
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


def _lay_bodies(rng: np.random.Generator, grid: Grid, plan: _Plan, mitos: list[Tube]) -> list[Tube]:
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


def _cell_fields(rng: np.random.Generator, grid: Grid, nodes: list[Field]) -> list[Field]:
    """Return for each cell its distance to a curved line less its weight, on the coarse nodes."""
    room = float(np.prod(grid.extent + 400))
    fields = []
    for _ in range(max(3, round(room / 7.5e7))):
        middle = (grid.extent + 400) * rng.random(3) - 200
        weight = 40 + 260 * rng.random() ** 3
        length = 150 + 1400 * rng.random()
        points, radii = random_line(rng, length, weight, middle=middle, heading=unit(rng), bend=0.2)
        thin = np.unique(np.linspace(0, len(points) - 1, 5).astype(int))
        fields.append(Tube([(points[thin], radii[thin])]).distance(nodes))
    return fields


def _myelin(rng: np.random.Generator, count: int, plan: _Plan, used: list[int]) -> Field:
    """Return the thickness of the myelin of each cell in nm, 0 for nearly all; cells with objects have none."""
    thick = np.zeros(count, np.float32)
    wrapped = rng.random(count) < 0.05 * plan.distractors
    thick[wrapped] = 50 + 70 * rng.random(count)[wrapped]
    thick[[c for c in used if 0 <= c < count]] = 0
    return thick


def _stamp(grid: Grid, surface: Field, centre: Vectors, radius: float) -> None:
    """Take the distance to a small sphere into a distance field, in place."""
    reach = radius + 12
    box = grid.around(centre - reach, centre + reach)
    if box.size == 0:
        return
    squares = [
        (np.arange(a, b, dtype=np.float32) * np.float32(v) - np.float32(c)) ** 2
        for a, b, v, c in zip(box.start, box.stop, grid.voxel_size, centre, strict=True)
    ]
    distance = np.sqrt(squares[0][:, None, None] + squares[1][:, None] + squares[2]) - np.float32(radius)
    at = box.slices
    np.minimum(surface[at], distance, out=surface[at])


def _tubule(rng: np.random.Generator, grid: Grid, surface: Field) -> None:
    """Draw a thin winding tubule of the endoplasmic reticulum."""
    radius = 9 + 16 * rng.random() ** 2
    points, _ = random_line(
        rng, 80 + 400 * rng.random(), radius, middle=grid.extent * rng.random(3), heading=unit(rng), bend=0.35
    )
    length = float(np.sqrt((np.diff(points, axis=0) ** 2).sum(axis=1)).sum())
    at = np.linspace(0, len(points) - 1, int(length / 8) + 2)
    for t in at:
        centre = np.array([np.interp(t, np.arange(len(points)), points[:, k]) for k in range(3)])
        _stamp(grid, surface, centre, radius)


def _vesicles(rng: np.random.Generator, grid: Grid, surface: Field, depth: Field) -> None:
    """Draw a cloud of round vesicles."""
    middle = grid.extent * rng.random(3)
    for _ in range(int(rng.integers(4, 28))):
        _stamp(grid, surface, middle + 95 * rng.standard_normal(3), 17 + 5 * rng.random())


def _synapse(rng: np.random.Generator, grid: Grid, lines: Field, depth: Field) -> None:
    """Thicken a patch of membrane."""
    centre = grid.extent * rng.random(3)
    size = 90 + 90 * rng.random()
    box = grid.around(centre - size, centre + size)
    if box.size == 0:
        return
    squares = [
        ((np.arange(a, b, dtype=np.float32) * np.float32(v) - np.float32(c)) / np.float32(size)) ** 2
        for a, b, v, c in zip(box.start, box.stop, grid.voxel_size, centre, strict=True)
    ]
    near = np.clip(1.6 - 1.6 * (squares[0][:, None, None] + squares[1][:, None] + squares[2]), 0, 1)
    at = box.slices
    dense = near * np.clip((38 - depth[at]) / 16, 0, 1) * 1.1
    np.maximum(lines[at], dense, out=lines[at])


def _grain(rng: np.random.Generator, grid: Grid, size: float) -> Field:
    """Return noise with features of `size` nm on the voxels, deviation 1."""
    white = rng.standard_normal(grid.shape, dtype=np.float32)
    out = ndi.gaussian_filter(white, [size / v for v in grid.voxel_size], mode="wrap", truncate=2.5)
    return np.asarray(out / max(float(out[::3, ::3, ::3].std()), 1e-6), dtype=np.float32)


def _bounds(mask: npt.NDArray[np.bool_]) -> Box | None:
    """Box of the nodes that are set, with one node around it."""
    spans = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if len(hit) == 0:
            return None
        spans.append((int(hit[0]) - 1, int(hit[-1]) + 2))
    (z0, z1), (y0, y1), (x0, x1) = spans
    shape = (mask.shape[0], mask.shape[1], mask.shape[2])
    return Box((z0, y0, x0), (z1, y1, x1)).clip(shape)


def _drift(rng: np.random.Generator, count: int, amount: float) -> npt.NDArray[np.int64]:
    """Return whole-pixel (y, x) jumps of each section: a walk that is pulled back to 0."""
    steps = amount * rng.standard_normal((count, 2))
    out = np.zeros((count, 2))
    for i in range(1, count):
        out[i] = 0.9 * out[i - 1] + steps[i]
    return np.rint(out).astype(np.int64)


def _section(volume: npt.NDArray[np.generic], jumps: npt.NDArray[np.int64], shape: tuple[int, int, int]):
    """Cut the sections out of a larger volume, each displaced by its jump."""
    reach = np.abs(jumps).max(axis=0)
    out = np.empty(shape, volume.dtype)
    for z, (dy, dx) in enumerate(jumps):
        y, x = int(reach[0] + dy), int(reach[1] + dx)
        out[z] = volume[z, y : y + shape[1], x : x + shape[2]]
    return out


def _whole(ids: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Keep the largest piece of every object and number the objects 1..n."""
    out = np.zeros_like(ids)
    count = 0
    for k, at in enumerate(ndi.find_objects(ids.astype(np.int32)), start=1):
        if at is None:
            continue
        pieces, n = ndi.label(ids[at] == k)
        if n > 1:
            pieces = pieces == 1 + np.bincount(pieces.ravel())[1:].argmax()
        count += 1
        out[at][pieces > 0] = count
    return out


def _expose(picture: Field, plan: _Plan, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Turn the clean picture into what a detector writes: blur, uneven sections, grain, 8 bits."""
    count, h, w = picture.shape
    blurred = ndi.gaussian_filter(picture, (0, 0.7, 0.7), truncate=3)
    gain = 1 + 0.03 * plan.flicker * rng.standard_normal(count)
    bias = 5 * plan.flicker * rng.standard_normal(count)
    tilt = 6 * plan.flicker * rng.standard_normal(2)
    slope = np.linspace(-1, 1, h)[:, None] * tilt[0] + np.linspace(-1, 1, w) * tilt[1]
    out = np.empty(picture.shape, np.uint8)
    for z in range(count):
        grey = 128 + (blurred[z] - 0.56) * (250 * plan.contrast * gain[z]) + bias[z] + slope
        grain = rng.standard_normal((h, w), dtype=np.float32)
        grain = 0.6 * grain + 0.9 * ndi.gaussian_filter(grain, 0.6, mode="wrap")
        out[z] = np.clip(np.rint(grey + 8 * plan.noise * abs(plan.contrast) * grain), 0, 255)
    return out
