"""What lies where in a phantom: cells, and within them mitochondria and dark bodies, as distances on the voxels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mitonb.box import Box
from mitonb.phantoms.shapes import FAR, Field, Grid, Plan, cell_fields, lay_bodies, lay_mitochondria

__all__ = ["Cells", "Scene"]

Cells = npt.NDArray[np.int16]


class Scene:
    """A layout of cells and mitochondria.

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

    def lay_cells(self) -> tuple[Cells, Field]:
        """Draw cells around the objects; return the cell of each voxel and its distance to the membrane in nm."""
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

    def objects(self) -> tuple[Field, Cells, Field]:
        """Return the signed distance to the nearest object, which it is, and the distance to the next one."""
        near = _Nearest(self.grid)
        for k, tube in enumerate(self.tubes):
            box = self.grid.around(*tube.corners(60))
            if box.size:
                nodes = [n[self.grid.support(box).slices] for n in self.warped]
                near.add(k, self.grid.refine(tube.distance(nodes), box), box)
        return near.first, near.index, near.second


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


def _bounds(mask: npt.NDArray[np.bool_]) -> Box | None:
    """Box of the nodes that are set, with one node around it."""
    hits = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    if len(hits[0]) == 0:
        return None
    (z0, z1), (y0, y1), (x0, x1) = ((int(h[0]) - 1, int(h[-1]) + 2) for h in hits)
    z, y, x = mask.shape
    return Box((z0, y0, x0), (z1, y1, x1)).clip((z, y, x))
