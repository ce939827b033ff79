"""A run: from kept maps, plane by plane, to objects; how the maps come is somebody else's business."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from mitonb.infer.scratch import Scratch, slabs
from mitonb.infer.smoothing import smoothed_planes
from mitonb.job import Progress
from mitonb.post.agreement import agree
from mitonb.post.atoms import Atoms
from mitonb.post.decoding import decode
from mitonb.post.holes import filled
from mitonb.post.run_tables import numbered
from mitonb.post.runs import Runs, paint, runs_of
from mitonb.post.statistics import Statistics
from mitonb.post.tracking import Tracker
from mitonb.post.untangling import Untangler
from mitonb.stack import AXES, Axis

if TYPE_CHECKING:
    from pathlib import Path

    from mitonb.infer.kept import KeptMaps
    from mitonb.infer.region import Region
    from mitonb.maps import Maps
    from mitonb.recipe import Recipe

__all__ = ["PlaneIds", "Run", "Sink", "thickness"]

Volume = npt.NDArray[np.uint32]
Fill = Callable[[Axis, int], Generator[None, None, None]]

SLAB_BYTES = 64 << 20
"""Ids of one slab, of one direction."""


@dataclass(frozen=True)
class PlaneIds:
    """Preview of a run: the ids of a plane, before tracking.

    Attributes
    ----------
    axis, index
        Which plane.
    parts : tuple of Runs
        Profiles 1..n of each class.
    """

    axis: Axis
    index: int
    parts: tuple[Runs, ...]

    @property
    def ids(self) -> Volume:
        """(h, w) array; profiles 1..n, those of all classes under different ids."""
        shown: Volume = paint(self.parts[0])[0]
        for part in self.parts[1:]:
            ids = paint(part)[0]
            shown = np.where(ids > 0, ids + shown.max(), shown)
        return shown


class Sink(Protocol):
    """What takes the labels of a run that are not to stay in memory."""

    def write(self, top: int, slab: Volume) -> None:
        """Take the planes from `top` on, in the order of z."""


def thickness(shape: tuple[int, int, int]) -> int:
    """Return how many planes make a slab: about 64 MB of ids, in whole blocks of a label file where possible."""
    planes = max(1, SLAB_BYTES // (4 * shape[1] * shape[2]))
    return min(shape[0], planes if planes < 16 else planes // 16 * 16)


class Run:
    """One way through the planes of all directions to labels, which never holds more than slabs of ids.

    Each plane is decoded, tracked by tables and kept as runs. Then slab after slab is cut out of the runs of all
    directions: once to number the atoms for the consensus, once to fill holes and measure objects, once to write what
    stays. Decisions are made on tables in between, so that the labels do not depend on how thick the slabs are.

    Parameters
    ----------
    shape : tuple of int
        (z, y, x) of the stack in voxels.
    recipe : Recipe
        What decoding, tracking, consensus and cleaning read.
    folder : path, optional
        Keep runs in a temporary file there; in memory without.
    slab : int, optional
        Planes of a slab.

    Attributes
    ----------
    stuff : tuple of int
        Classes whose objects are not told apart, whatever the recipe says; set it before the planes.
    counts : list of int
        Objects of each class, at the end.
    """

    def __init__(
        self, shape: tuple[int, int, int], recipe: Recipe, *, folder: Path | None = None, slab: int | None = None
    ) -> None:
        self.shape = shape
        self.recipe = recipe
        self.done = 0
        self.total = sum(shape[AXES[axis]] for axis in recipe.planes) + len(recipe.planes) + 2
        self.counts: list[int] = []
        self.stuff: tuple[int, ...] = ()
        self._slab = slab or thickness(shape)
        self._folder = folder
        self._lines: dict[tuple[int, Axis], _Line] = {}
        self._kinds = 1
        self._scratches: list[Scratch] = []
        self._result: tuple[Scratch, Volume]

    def progress(self, stage: str, preview: Any = None) -> Progress:
        return Progress(stage, self.done, self.total, preview)

    def close(self) -> None:
        """Take the temporary files away."""
        for scratch in self._scratches:
            scratch.close()

    def planes(self, kept: KeptMaps, fill: Fill, *, rolling: bool) -> Generator[Progress, None, None]:
        """Decode all planes; `fill` puts the maps of a plane where they are missing."""
        reach = self.recipe.median // 2
        for axis in self.recipe.planes:
            count = self.shape[AXES[axis]]
            smoothed = smoothed_planes(kept, axis, self.recipe)
            ready = 0
            for index in range(count):
                while ready < min(count, index + reach + 1):
                    for _ in fill(axis, ready):
                        yield self.progress(f"predict {axis}")
                    ready += 1
                parts = self._decode(axis, index, next(smoothed), kept.region)
                if rolling and index >= reach:
                    kept.drop(axis, index - reach)
                self.done += 1
                yield self.progress(f"{axis} planes", PlaneIds(axis, index, parts))
            self.end(axis)
            if rolling:
                kept.clear()

    def _decode(self, axis: Axis, index: int, maps: Maps, region: Region | None) -> tuple[Runs, ...]:
        """Decode a plane, class by class; return the profiles of each."""
        self._kinds = len(maps.semantic)
        parts = []
        for kind in range(self._kinds):
            plane = runs_of(decode(maps, self._recipe(kind), kind=kind, stuff=self.stuff))
            if region is not None:
                plane, _ = numbered(runs_of(region.cut(paint(plane)[0], axis, index)))
            self.add(axis, plane, kind=kind)
            parts.append(plane)
        return tuple(parts)

    def add(self, axis: Axis, plane: Runs, *, kind: int = 0) -> None:
        """Take the decoded ids of the next plane of a direction; directions may come in different threads."""
        if (kind, axis) not in self._lines:
            self._lines[kind, axis] = _Line(self._scratch(axis), self._recipe(kind))
        self._lines[kind, axis].add(plane)

    def end(self, axis: Axis) -> None:
        """Take note that a direction has no more planes."""
        for kind in range(self._kinds):
            self._lines[kind, axis].end()

    def objects(self, sink: Sink | None = None) -> Generator[Progress, None, Volume | None]:
        """Do what `assemble` and `write` do."""
        yield from self.assemble()
        return (yield from self.write(sink))

    def assemble(self) -> Generator[Progress, None, None]:
        """Track, vote and clean; `counts` then says how many objects each class has."""
        parts, counts = [], []
        for kind in range(self._kinds):
            part, count = yield from self._agreed(kind)
            parts.append(part)
            counts.append(count)
        first = [1, *(1 + np.cumsum(counts)[:-1]).tolist()]
        self.done = self.total - 1
        statistics = Statistics(self.shape, sum(counts))
        whole = self._scratch("xy")
        for k, _ in enumerate(self._slabs()):
            block = _joined([part.read(k) for part in parts], first)
            if self.recipe.fill_holes:
                block = filled(block)
            statistics.add(block)
            whole.put(block)
            yield self.progress("clean")
        for part in parts:
            part.close()
        # Where no class has objects, ids are the numbers of the classes, there or not.
        whole_kinds = all(self._recipe(k).instances == "none" for k in range(self._kinds))
        table, found = statistics.decide(self.recipe, first, renumber=not whole_kinds)
        self.counts = [1] * len(found) if whole_kinds else found
        self._result = whole, table

    def write(self, sink: Sink | None = None) -> Generator[Progress, None, Volume | None]:
        """Return the labels that were assembled, or write them to the sink; may be done again."""
        whole, table = self._result
        self.done = self.total - 1
        labels = np.zeros(self.shape, np.uint32) if sink is None else None
        for k, where in enumerate(self._slabs()):
            if labels is not None:
                paint(whole.read(k), labels[where], table=table, clear=False)
            if sink is not None:
                sink.write(where.start, paint(whole.read(k), table=table))
            yield self.progress("write" if sink else "clean")
        self.done += 1
        yield self.progress("done")
        return labels

    def _agreed(self, kind: int) -> Generator[Progress, None, tuple[_Renamed, int]]:
        """Return the objects of one class, 1.. in the order of their first voxels, and their number."""
        lines, tables = [], []
        for axis in self.recipe.planes:
            yield self.progress(f"track {axis}")
            lines.append(self._lines[kind, axis].scratch)
            tables.append(self._lines[kind, axis].objects())
            self.done = min(self.done + 1, self.total - 2)
        if len(lines) == 1:
            return _Renamed(lines[0], tables[0]), int(tables[0].max(initial=0))
        if self.recipe.rules == "published" and self._recipe(kind).instances != "none":
            tables = [self._sifted(line, table) for line, table in zip(lines, tables, strict=True)]
        atoms = Atoms(len(lines))
        part = self._scratch("xy")
        for k, _ in enumerate(self._slabs()):
            part.put(atoms.number([line.read(k, table) for line, table in zip(lines, tables, strict=True)]))
            yield self.progress("consensus")
        for line in lines:
            line.close()
        if self._recipe(kind).instances == "none":
            return _Renamed(part, _voted(atoms.found()[0], self.recipe.votes)), 1
        table = agree(*atoms.found(), self.recipe)
        return _Renamed(part, table), int(table.max(initial=0))

    def _recipe(self, kind: int) -> Recipe:
        """Return the recipe for one class."""
        return self.recipe.replace(instances="none") if kind in self.stuff else self.recipe

    def _sifted(self, line: Scratch, table: Volume) -> Volume:
        """Return the table of a direction without the objects that are too small or too thin in it alone."""
        statistics = Statistics(self.shape, int(table.max(initial=0)))
        for k, _ in enumerate(self._slabs()):
            statistics.add(line.read(k, table))
        stay, _ = statistics.decide(self.recipe, renumber=False)
        return stay[table]

    def _slabs(self) -> Iterator[slice]:
        return slabs(self.shape[0], self._slab)

    def _scratch(self, axis: Axis) -> Scratch:
        folder = self._folder
        file = None if folder is None else tempfile.TemporaryFile(dir=folder, prefix=".mitonb-")
        self._scratches.append(Scratch(self.shape, axis, self._slab, file))
        return self._scratches[-1]


class _Line:
    """The planes of one class and direction on their way to objects."""

    def __init__(self, scratch: Scratch, recipe: Recipe) -> None:
        self.scratch = scratch
        # Where nothing is told apart, there is nothing to follow from plane to plane.
        self._tracker = Tracker(recipe) if recipe.instances != "none" else None
        self._untangler = Untangler(recipe.lookahead)

    def add(self, plane: Runs) -> None:
        """Take the decoded ids of the next plane."""
        if self._tracker is None:
            self.scratch.add(plane)
            return
        for done in self._untangler.add_runs(plane):
            self.scratch.add(self._tracker.add_numbered(done))

    def end(self) -> None:
        """Take what is still held; no plane comes after it."""
        if self._tracker is not None:
            for plane in self._untangler.rest_runs():
                self.scratch.add(self._tracker.add_numbered(plane))
        self.scratch.flush()

    def objects(self) -> Volume:
        """Return the object of each number that the scratch holds."""
        return np.array([0, 1], np.uint32) if self._tracker is None else self._tracker.objects()


class _Renamed:
    """Slabs under other names."""

    def __init__(self, part: Scratch, table: Volume) -> None:
        self._part, self._table = part, table

    def read(self, slab: int) -> Runs:
        return self._part.read(slab, self._table)

    def close(self) -> None:
        self._part.close()


def _joined(blocks: list[Runs], first: list[int]) -> Runs:
    """Put the objects of all classes into one block; where two claim a voxel, the class that comes first has it."""
    if len(blocks) == 1:
        return blocks[0]
    whole = paint(blocks[0])
    for block, start in zip(map(paint, blocks[1:]), first[1:], strict=True):
        free = (whole == 0) & (block > 0)
        whole[free] = block[free] + np.uint32(start - 1)
    return runs_of(whole)


def _voted(atoms: Volume, votes: int) -> Volume:
    """Say which atoms are there at all: those that enough directions have."""
    enough = np.count_nonzero(atoms, axis=1) >= min(votes, atoms.shape[1])
    enough[0] = False
    table: Volume = enough.astype(np.uint32)
    return table
