"""A run: from kept maps, plane by plane, to labels; how the maps come is somebody else's business."""

import contextlib
import functools
import itertools
import math
import os
import shutil
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mitonb.errors import CorruptFileError, guarded
from mitonb.files import explain_disk, remove, scratch_folder
from mitonb.infer.kept import VOLUME, KeptMaps, median_planes
from mitonb.io.saving import rescuing
from mitonb.io.zarr import LabelStore, scratch_array
from mitonb.job import Progress
from mitonb.labels import Labels, StoredLabels
from mitonb.maps import Ids, Maps
from mitonb.memory import give_back
from mitonb.post.cleaning import ObjectTable, fill_holes, measured
from mitonb.post.consensus import JoinedRegions, agglomerate, first_places, merge_regions
from mitonb.post.decoding import decode
from mitonb.post.tables import as_ids, replaced
from mitonb.post.tracking import Tracker
from mitonb.recipe import Recipe
from mitonb.stack import AXES, Axis, Stack, voxel_size_of

Volume = npt.NDArray[np.uint32]
Fill = Callable[[Any, int], Iterable[object]]

SLAB_BYTES = 32 << 20
"""Ids of one box, of one direction."""
CHUNK = 16, 256, 1024
GROUP, _LARGE = 8, 1 << 21
"""Voxels of a chunk of a spill along each axis; along the direction of its planes, which are written together,
or half as many where a plane has more pixels than that."""
EXTENT = "ids", "sizes", "low", "high"
"""What is `measured`."""
_READ = 4
"""Tables of tasks that are kept in memory once they are read."""

Result = dict[str, npt.NDArray[Any]]
Where = tuple[slice, slice]
"""A box of whole rows: (z, y)."""


class Results:
    """What tasks have found: small arrays of each, in memory, or in a file each, whose being there says "done"."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder, self._known = folder, dict[str, Result]()
        self._read = functools.lru_cache(_READ)(self._load)
        if folder is not None:
            folder.mkdir(exist_ok=True)

    def __contains__(self, task: str) -> bool:
        return task in self._known if self._folder is None else (self._folder / f"{task}.npz").is_file()

    def put(self, task: str, result: Result) -> None:
        """Note that a task is done, and what it found."""
        if self._folder is None:
            self._known[task] = result
            return
        temporary = self._folder / f".{uuid.uuid4().hex}"  # two workers may do one task
        try:
            with explain_disk(f"What {task} found was not written", self._folder, "Run again."):
                with open(temporary, "wb") as file:
                    np.savez(file, **result)  # type: ignore[arg-type]
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, self._folder / f"{task}.npz")
        finally:
            remove(temporary)

    def get(self, task: str, name: str) -> npt.NDArray[Any]:
        """Return one array that a task has found."""
        return self._known[task][name] if self._folder is None else self._read(task, name)

    def drop(self, task: str) -> None:
        """Forget that a task is done."""
        assert self._folder is not None
        (self._folder / f"{task}.npz").unlink(missing_ok=True)
        self._read.cache_clear()

    def drop_damaged(self) -> None:
        """Forget tasks of which what they found cannot be read."""
        for path in self._folder.glob("*.npz") if self._folder else ():
            try:
                with guarded(path, CorruptFileError), np.load(path) as found:
                    for name in found:
                        found[name]
            except CorruptFileError:
                self.drop(path.stem)

    def _load(self, task: str, name: str) -> npt.NDArray[Any]:
        assert self._folder is not None
        path = self._folder / f"{task}.npz"
        with guarded(path, CorruptFileError), np.load(path) as found:
            return np.asarray(found[name])


_NOTHING = np.empty((0, 0, 0), np.uint32)


class Spill:
    """Ids of a volume, compressed, in memory or in a folder: planes of one direction go in, boxes come out.

    Parameters
    ----------
    shape : tuple of int
        (z, y, x) of the volume in voxels.
    axis : {"xy", "xz", "yz"}
        Direction of the planes.
    folder : path, optional
        Where to keep them; in memory without.
    start : int
        The first plane that comes.
    planes : bool
        Planes come out, too: they are what a run of hours is for, so that each block waits for the disk.
    """

    def __init__(
        self, shape: tuple[int, int, int], axis: Axis, folder: Path | None = None, *,
        start: int = 0, planes: bool = False,
    ) -> None:  # fmt: skip
        self._axis = AXES[axis]
        self._place = start
        self._block, self._waiting = _NOTHING, 0
        sides = (CHUNK[2],) * 3 if planes else CHUNK
        self._group = group_of(shape, axis)
        chunk = [min(self._group if k == self._axis else sides[k], n) for k, n in enumerate(shape)]
        self._folder = folder
        what = "The temporary files of this run cannot be written beside the labels that it makes"
        advice = "Free some space, or write the labels elsewhere, and run again."
        self._explaining = functools.partial(explain_disk, what, folder or Path(), advice)
        compressor, whole = {"id": "zstd", "level": 1}, folder is not None
        with self._explaining():
            self._store = scratch_array(folder, shape, "<u4", chunk, compressor, whole=whole, sync=planes and whole)

    def add(self, plane: Volume) -> None:
        """Take the next plane."""
        if not self._waiting:
            sides = list(self._store.shape)
            sides[self._axis] = min(self._group, sides[self._axis] - self._place)
            self._block = np.empty(sides, np.uint32)
        np.moveaxis(self._block, self._axis, 0)[self._waiting] = plane
        self._waiting += 1
        if self._waiting == self._group:
            self.flush()
            if self._folder is not None:
                give_back()

    def flush(self) -> None:
        """Write the planes that wait for others; call it after the last one."""
        if self._waiting:
            end = self._place + self._waiting
            self[self._cut(self._place, end)] = self._block[self._cut(0, self._waiting)]
            self._place, self._waiting, self._block = end, 0, _NOTHING

    def planes(self, span: range | None = None) -> Iterator[Volume]:
        """Yield all planes, or those of a span of whole groups, in their order."""
        span = span or range(self._store.shape[self._axis])
        for start in range(span.start, span.stop, self._group):
            yield from np.moveaxis(self[self._cut(start, min(start + self._group, span.stop))], self._axis, 0)

    def _cut(self, start: int, stop: int) -> tuple[slice, ...]:
        return (*(slice(None),) * self._axis, slice(start, stop))

    def __setitem__(self, where: Any, block: Volume) -> None:
        with self._explaining():
            self._store[where].write(block).result()

    def __getitem__(self, where: Any) -> Volume:
        try:
            return self._store[where].read().result()
        except ValueError as error:
            reason = " ".join(str(error).split())[:160]
            raise CorruptFileError(
                f"The temporary files of this run in {self._folder} are damaged ({reason}). Run it again."
            ) from error

    def close(self) -> None:
        """Forget everything; the files go."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def group_of(shape: tuple[int, int, int], axis: Axis) -> int:
    """Return how many planes of a direction are written together: fewer of large ones, which wait in memory."""
    return GROUP if math.prod(shape) // shape[AXES[axis]] <= _LARGE else GROUP // 2


def slab_thickness(shape: tuple[int, int, int]) -> int:
    """Return how many planes make a slab: about 32 MB of ids, but whole chunks."""
    planes = SLAB_BYTES // (4 * shape[1] * shape[2])
    return min(shape[0], max(CHUNK[0], planes // CHUNK[0] * CHUNK[0]))


def band_height(shape: tuple[int, int, int]) -> int:
    """Return how many rows of a slab make a box: about 32 MB of ids, but whole chunks."""
    rows = SLAB_BYTES // (4 * slab_thickness(shape) * shape[2])
    return min(shape[1], max(CHUNK[1], rows // CHUNK[1] * CHUNK[1]))


class Run:
    """One way through the planes of all directions to labels, which never holds more than a slab of ids.

    Planes are decoded, tracked by tables and spilled. What follows are tasks: each reads what those of the stages
    before it have spilled and found, so that those of one stage may run in any order and anywhere. Slabs of all
    directions are read box by box, to number joined regions; fills holes and measures objects; writes what stays.
    Decisions are made on tables in between, so that the labels do not depend on how anything was cut.

    Parameters
    ----------
    shape : tuple of int
        (z, y, x) of the stack in voxels.
    recipe : Recipe
        What decoding, tracking, consensus and cleaning read.
    folder : path, optional
        Keep ids in a temporary folder there; in memory, compressed, without.
    slab, rows : int, optional
        Planes of a slab, and rows of a box of it.
    blocks : bool
        The maps are those of a 3-D net: the volume is decoded as a whole, and nothing is tracked.
    job : path, optional
        Keep ids and what was found there instead, and go on from what is there.
    stuff : tuple of int
        Classes whose objects are not told apart, whatever the recipe says.
    kinds : int
        Classes; found out where planes are decoded.
    """

    def __init__(
        self, shape: tuple[int, int, int], recipe: Recipe, *, folder: Path | None = None, slab: int | None = None,
        rows: int | None = None, blocks: bool = False, job: Path | None = None, stuff: tuple[int, ...] = (),
        kinds: int = 1,
    ) -> None:  # fmt: skip
        self.shape = shape
        # A profile of a plane is what `min_area` is about.
        self.recipe = recipe.replace(min_area=0) if blocks else recipe
        self.axes: tuple[Axis, ...] = ("xy",) if blocks else recipe.planes
        self.blocks, self.stuff, self.kinds = blocks, stuff, kinds
        step, rows = slab or slab_thickness(shape), rows or band_height(shape)
        self.slabs = [slice(top, min(top + step, shape[0])) for top in range(0, shape[0], step)]
        self._bands = [slice(top, min(top + rows, shape[1])) for top in range(0, shape[1], rows)]
        self.done, self.total = 0, sum(weight for _, weight in self.work())
        self._temporary = contextlib.ExitStack()
        self._folder = job or (folder and self._temporary.enter_context(scratch_folder(folder)))
        self.results = Results(job and job / "done")
        self._spills: dict[str, Spill] = {}
        self._trackers: dict[tuple[int, Axis], Tracker | None] = {}
        self._labels: Volume | None = None

    @property
    def counts(self) -> list[int]:
        """Objects of each class, at the end."""
        return [int(n) for n in self._decided("counts")]

    def progress(self, stage: str, preview: tuple[Axis, int, Ids] | None = None) -> Progress:
        return Progress(stage, self.done, self.total, preview)

    def close(self) -> None:
        """Take the temporary files away."""
        self._temporary.close()

    def work(self) -> Iterator[tuple[str, int]]:
        """Yield what is to be done, with how much it counts for progress; planes come first."""
        yield from [("blocks", 1)] if self.blocks else [(axis, self.shape[AXES[axis]]) for axis in self.axes]
        yield from ((task, 1) for stage in self.stages() for task in stage)
        yield from (("write", 1) for _ in self.slabs)

    def stages(self) -> list[list[str]]:
        """Return the tasks that follow planes and tracking, stage by stage."""
        slabs = range(len(self.slabs))
        joined = [[f"join-{k}" for k in slabs]] if len(self.axes) > 1 else []
        return [*joined, ["vote"], [f"clean-{k}" for k in slabs], ["decide"]]

    def do(self, task: str) -> None:
        """Do a task of a stage, whatever was done of it before."""
        name, _, rest = task.partition("-")
        does: Callable[..., Result] = getattr(self, f"_{name}")
        self.results.put(task, does(int(rest) if rest.isdigit() else rest) if rest else does())

    def planes(self, kept: KeptMaps, fill: Fill, *, rolling: bool) -> Generator[Progress, None, None]:
        """Decode all planes, or the whole volume; `fill` puts the maps of a plane where they are missing."""
        if self.blocks:
            self.results.put("track-xy", (yield from self.volume(kept, fill, rolling=rolling)))
            return
        for axis in self.axes:
            span = range(self.shape[AXES[axis]])
            for kind, ids in self._decoded(kept, fill, axis, span, rolling=rolling):
                if isinstance(ids, Progress):
                    yield ids
                else:
                    self.add(axis, ids, kind=kind)
            self.end(axis)
            if rolling:
                kept.clear()

    def piece(self, kept: KeptMaps, fill: Fill, axis: Axis, span: range, *, rolling: bool) -> Generator[Progress]:
        """Decode some planes of a direction, for `track` to take them up when all are there."""
        reach = self.recipe.median // 2
        for other in AXES if rolling else ():  # what another piece has left
            near = range(span.start - reach, span.stop + reach) if other == axis else ()
            for index in (i for i in range(self.shape[AXES[other]]) if i not in near):
                kept.drop(other, index)
        spills: dict[int, Spill] = {}
        for kind, ids in self._decoded(kept, fill, axis, span, rolling=rolling):
            if isinstance(ids, Progress):
                yield ids
                continue
            if kind not in spills:
                spills[kind] = Spill(self.shape, axis, self._place(f"ids-{kind}-{axis}"), start=span.start, planes=True)
            spills[kind].add(ids)
        for spill in spills.values():
            spill.flush()

    def _decoded(
        self, kept: KeptMaps, fill: Fill, axis: Axis, span: range, *, rolling: bool
    ) -> Iterator[tuple[int, Volume | Progress]]:
        """Yield (class, ids) of each class of each plane of a span, and how far it is in between."""
        count, reach = self.shape[AXES[axis]], self.recipe.median // 2
        smoothed, ready = smoothed_planes(kept, axis, self.recipe, span), max(0, span.start - reach)
        for index in span:
            while ready < min(count, index + reach + 1):
                for _ in fill(axis, ready):
                    yield 0, self.progress(f"predict {axis}")
                ready += 1
            found = self.decode(next(smoothed))
            if kept.region is not None:
                found = tuple(kept.region.cut(ids, axis, index) for ids in found)
            yield from enumerate(found)
            if rolling and index >= reach:
                kept.drop(axis, index - reach)
            self.done += 1
            shown = functools.reduce(lambda ids, more: np.where(ids, ids, more), found)
            yield 0, self.progress(f"{axis} planes", (axis, index, shown))

    def preview(self, axis: Axis, index: int) -> tuple[Axis, int, Ids]:
        """Return a plane that a piece has decoded, of the first class, as `Progress` has it."""
        spill = Spill(self.shape, axis, self._place(f"ids-0-{axis}"), planes=True)
        return axis, index, next(spill.planes(range(index, index + 1)))

    def volume(self, kept: KeptMaps, fill: Fill, *, rolling: bool) -> Generator[Progress, None, Result]:
        """Decode the maps of a 3-D net; return what tracking returns of planes."""
        for _ in fill(VOLUME, 0):
            yield self.progress("predict blocks")
        maps = kept.get(VOLUME, 0)
        if rolling:
            kept.clear()
        yield self.progress("decode")
        tables: Result = {}
        for kind, ids in enumerate(self.decode(maps)):
            if kept.region is not None:
                for z, plane in enumerate(ids):
                    plane[...] = kept.region.cut(plane, "xy", z)
            self._spill(f"tracked-{kind}-xy")[:] = ids
            tables[str(kind)] = np.arange(ids.max(initial=0) + 1, dtype=np.uint32)
        self.done += 1
        return tables

    def decode(self, maps: Maps) -> tuple[Volume, ...]:
        """Return the ids of each class of the maps of a plane or a volume."""
        self.kinds = len(maps.semantic) if "semantic" in maps else 1
        return tuple(decode(maps, self._recipe(k), kind=k, stuff=self.stuff) for k in range(self.kinds))

    def add(self, axis: Axis, plane: Ids, *, kind: int = 0) -> None:
        """Take the decoded ids of the next plane of a direction; directions may come in different threads."""
        if (kind, axis) not in self._trackers:
            recipe = self._recipe(kind)
            # Where nothing is told apart, there is nothing to follow from plane to plane.
            self._trackers[kind, axis] = None if recipe.instances == "none" else Tracker(recipe)
            self._spills.pop(f"tracked-{kind}-{axis}", None)
        tracker, spill = self._trackers[kind, axis], self._spill(f"tracked-{kind}-{axis}", axis)
        for numbers in [as_ids(plane)] if tracker is None else tracker.add(plane):
            spill.add(numbers)

    def end(self, axis: Axis) -> None:
        """Take note that a direction has no more planes."""
        self.results.put(f"track-{axis}", self._ended(axis))

    def _ended(self, axis: Axis) -> Result:
        tables: Result = {}
        for kind in range(self.kinds):
            spill, tracker = self._spill(f"tracked-{kind}-{axis}", axis), self._trackers.pop((kind, axis))
            for numbers in () if tracker is None else tracker.rest():
                spill.add(numbers)
            spill.flush()
            table = np.arange(2, dtype=np.uint32) if tracker is None else tracker.objects()
            sift = self.recipe.rules == "published" and tracker is not None and len(self.axes) > 1
            tables[str(kind)] = self._sifted(spill, table) if sift else table
        return tables

    def _track(self, axis: Axis) -> Result:
        """Follow the profiles of all planes of a direction that pieces have decoded."""
        for kind in range(self.kinds):
            self._trackers.pop((kind, axis), None)
            for plane in Spill(self.shape, axis, self._place(f"ids-{kind}-{axis}"), planes=True).planes():
                self.add(axis, plane, kind=kind)
        return self._ended(axis)

    def _sifted(self, spill: Spill, table: Volume) -> Volume:
        """Return the table without objects that are too small or too thin in this direction alone."""
        objects = ObjectTable(self.shape, int(table.max(initial=0)))
        for z, y in itertools.product(self.slabs, self._bands):
            objects.merge(*measured(replaced(spill[z, y], table, in_place=True), (z.start, y.start, 0)))
        return objects.decide(self.recipe, renumber=False)[0][table]

    def objects(self, sink: LabelStore | None = None) -> Generator[Progress, None, Volume | None]:
        """Do what `assemble` and `write` do."""
        yield from self.assemble()
        return (yield from self.write(sink))

    def assemble(self) -> Generator[Progress, None, None]:
        """Vote and clean; `counts` then says how many objects each class has."""
        for axis in self.axes:
            yield self.progress(f"track {axis}")
        for stage in self.stages():
            for task in stage:
                yield self.progress(stage_of(task))
                self.do(task)
                self.done += 1
            self.forget(stage)

    def forget(self, stage: Sequence[str]) -> None:
        """Take away what nothing needs any more after a stage."""
        before = {"track": "ids", "vote": "tracked" if len(self.axes) > 1 else "", "decide": "joined tracked"}
        for kind in before.get(stage[0].partition("-")[0], "").split():
            for name in [name for name in self._spills if name.startswith(f"{kind}-")]:
                del self._spills[name]
            for folder in self._folder.glob(f"{kind}-*") if self._folder else ():
                shutil.rmtree(folder, ignore_errors=True)

    def check(self, task: str, span: range) -> None:
        """Read what a task has written, which planes of a span are.

        Raises
        ------
        CorruptFileError
            If it is damaged, or not there any more.
        """
        name, place = task.split("-")[:2]
        if name == "planes" and not self.blocks:
            for kind in range(self.kinds):
                spill = Spill(self.shape, place, self._place(f"ids-{kind}-{place}"), planes=True)  # type: ignore[arg-type]
                deque(spill.planes(span), maxlen=0)
            return
        axis, slabs = ("xy", [int(place)]) if place.isdigit() else (place, [*range(len(self.slabs))])
        if name in ("planes", "track"):
            axis = "xy" if self.blocks else axis
            names = [f"tracked-{kind}-{axis}" for kind in range(self.kinds)]
        else:
            names = ["whole"] if name == "clean" else [f"joined-{kind}" for kind in range(self.kinds)]
        for one, slab in itertools.product(names, slabs):
            for box in self._boxes(slab):
                self._spill(one, axis)[box]  # type: ignore[arg-type]

    def _join(self, number: int) -> Result:
        """Number the joined regions of a slab, box by box."""
        found: Result = {}
        for kind in range(self.kinds):
            for band, box in enumerate(self._boxes(number)):
                joined = JoinedRegions(len(self.axes))
                numbers = joined.number([self._tracked(kind, axis, box) for axis in self.axes])
                self._spill(f"joined-{kind}")[box] = numbers
                regions, sizes = joined.found()
                z, y, x = np.unravel_index(first_places(numbers), numbers.shape)
                places = np.ravel_multi_index((z + box[0].start, y + box[1].start, x), self.shape)
                for name, column in (("regions", regions[1:]), ("sizes", sizes[1:]), ("places", places)):
                    found[f"{name}-{kind}-{band}"] = column
        return found

    def _vote(self) -> Result:
        """Say which object each joined region belongs to, as the directions agree on them."""
        result: Result = {}
        counts = []
        for kind in range(self.kinds):
            if len(self.axes) == 1:
                counts.append(self.results.get(f"track-{self.axes[0]}", str(kind)).max(initial=0))
                continue
            parts = list(itertools.product(range(len(self.slabs)), range(len(self._bands))))
            columns = (
                [self.results.get(f"join-{k}", f"{name}-{kind}-{band}") for k, band in parts]
                for name in ("regions", "sizes", "places")
            )
            rows, *others = map(list, columns)
            regions, sizes, numbers = merge_regions(np.concatenate(rows), *map(np.concatenate, others))
            if self._recipe(kind).instances != "none":
                owner = agglomerate(regions, sizes, self.recipe)
            else:
                owner = (np.count_nonzero(regions, axis=1) >= min(self.recipe.votes, len(self.axes))).astype(np.uint32)
            counts.append(owner.max(initial=0))
            cuts = np.cumsum([len(part) for part in rows])[:-1]
            for (k, band), part in zip(parts, np.split(owner[numbers], cuts), strict=True):
                result[f"{kind}-{k}-{band}"] = np.append(np.uint32(0), part)
        return {**result, "counts": np.array(counts, np.int64)}

    def _clean(self, number: int) -> Result:
        """Bring the classes of a slab together, fill holes and measure objects."""
        slab = self.slabs[number]
        ids = np.empty((slab.stop - slab.start, *self.shape[1:]), np.uint32)
        first = _firsts(self.results.get("vote", "counts"))
        for band, box in enumerate(self._boxes(number)):
            ids[:, box[1]] = _overlaid([self._voted(kind, number, band) for kind in range(self.kinds)], first)
        if self.recipe.fill_holes:
            fill_holes(ids)
        if self._folder is None:
            self._labels = np.empty(self.shape, np.uint32) if self._labels is None else self._labels
            self._labels[slab] = ids
        else:
            self._spill("whole")[slab] = ids
        return dict(zip(EXTENT, measured(ids, (slab.start, 0, 0)), strict=True))

    def _decide(self) -> Result:
        """Say which objects stay, and what they are called."""
        counts = self.results.get("vote", "counts")
        objects = ObjectTable(self.shape, int(counts.sum()))
        for k in range(len(self.slabs)):
            objects.merge(*(self.results.get(f"clean-{k}", name) for name in EXTENT))
        # Where no class has objects, ids are the numbers of the classes, there or not.
        whole_kinds = all(self._recipe(k).instances == "none" for k in range(self.kinds))
        names, found = objects.decide(self.recipe, _firsts(counts), renumber=not whole_kinds)
        return {"names": names, "counts": np.array([1] * len(found) if whole_kinds else found)}

    def drop_false(self, stack: Stack, maps: Callable[[int], Maps | None]) -> None:
        """Drop what the verdicts of the recipe call false.

        Parameters
        ----------
        stack : Stack
            The image.
        maps : callable
            Returns the maps of an xy plane, or None.
        """
        from mitonb.post.verdicts import describe_objects, false_ids  # pandas loads here

        assert self.recipe.verdicts is not None
        counts, names = (self.results.get("decide", name) for name in ("counts", "names"))
        told_apart = [self._recipe(k).instances != "none" for k in range(self.kinds)]
        ranges = [range(first, first + n) for first, n in zip(_firsts(counts), counts.tolist(), strict=True)]
        ids = [id for ids, apart in zip(ranges, told_apart, strict=True) if apart for id in ids]
        gone = []
        if ids:
            labels = Stack(_Assembled(self), intensity=(0.0, 1.0))
            gone = list(false_ids(self.recipe.verdicts, describe_objects(labels, stack, maps=maps, ids=ids)))
        stay = np.ones(int(counts.sum()) + 1, np.uint32)
        stay[[0, *gone]] = 0
        left = np.array([int(stay[ids.start : ids.stop].sum()) for ids in ranges])
        names = (np.cumsum(stay, dtype=np.uint32) * stay)[names]
        self.results.put("judge", {"names": names, "counts": left, "gone": np.array([len(gone), len(ids)])})

    def write(self, sink: LabelStore | None = None) -> Generator[Progress, None, Volume | None]:
        """Return the labels that were assembled, or write them to the sink, which may be done again."""
        self.done = self.total - len(self.slabs)
        # In place, where they are in memory.
        labels = None if sink is not None else np.empty(self.shape, np.uint32) if self._labels is None else self._labels
        for slab in self.slabs:
            ids = self.named(slab)
            if labels is not None:
                labels[slab] = ids
            if sink is not None:
                sink.write(slab.start, ids)
            self.done += 1
            yield self.progress("write" if sink else "clean")
        yield self.progress("done")
        return labels

    def named(self, where: Any) -> Volume:
        """Return the labels of a part of the volume, once they are decided."""
        if self._labels is None:
            return replaced(self._spill("whole")[where], self._decided("names"), in_place=True)
        return replaced(np.ascontiguousarray(self._labels[where]), self._decided("names"))

    def _decided(self, name: str) -> npt.NDArray[Any]:
        return self.results.get("judge" if "judge" in self.results else "decide", name)

    def _boxes(self, number: int) -> list[Where]:
        return [(self.slabs[number], band) for band in self._bands]

    def _tracked(self, kind: int, axis: Axis, box: Where) -> Volume:
        """Return the objects of one class and direction in a box."""
        table = self.results.get(f"track-{axis}", str(kind))
        return replaced(self._spill(f"tracked-{kind}-{axis}", axis)[box], table, in_place=True)

    def _voted(self, kind: int, number: int, band: int) -> Volume:
        """Return the objects of one class in a box of a slab, as the directions agree on them."""
        box = self._boxes(number)[band]
        if len(self.axes) == 1:
            return self._tracked(kind, self.axes[0], box)
        table = self.results.get("vote", f"{kind}-{number}-{band}")
        return replaced(self._spill(f"joined-{kind}")[box], table, in_place=True)

    def _recipe(self, kind: int) -> Recipe:
        """Return the recipe for one class."""
        return self.recipe.replace(instances="none") if kind in self.stuff else self.recipe

    def _place(self, name: str) -> Path | None:
        return self._folder and self._folder / name

    def _spill(self, name: str, axis: Axis = "xy") -> Spill:
        if name not in self._spills:
            self._spills[name] = Spill(self.shape, axis, self._place(name))
        return self._spills[name]


class _Assembled:
    """The labels of a run before they are written, as a volume that is read part by part."""

    dtype = np.dtype(np.uint32)

    def __init__(self, run: Run) -> None:
        self._run, self.shape, self.ndim = run, run.shape, 3

    def __getitem__(self, where: Any) -> Volume:
        return self._run.named(where)


def stage_of(task: str) -> str:
    """Return what a task does, for people."""
    name, _, rest = task.partition("-")
    axis = rest.partition("-")[0]
    known = {"track": f"track {rest}", "join": "consensus", "vote": "consensus", "decide": "clean"}
    known["planes"] = "blocks" if axis == VOLUME else f"{axis} planes"
    return known.get(name, name)


def _firsts(counts: Iterable[int]) -> list[int]:
    """Return the first id of each class, of the objects that each has."""
    return [*itertools.accumulate((int(n) for n in counts), initial=1)][:-1]


def _overlaid(slabs: Sequence[Volume], first: list[int]) -> Volume:
    """Put the objects of all classes into one slab; where two claim a voxel, the class that comes first has it."""
    whole = slabs[0]
    for slab, start in zip(slabs[1:], first[1:], strict=True):
        whole = np.where((whole == 0) & (slab > 0), slab + np.uint32(start - 1), whole)
    return whole


def smoothed_planes(kept: KeptMaps, axis: Axis, recipe: Recipe, span: range | None = None) -> Iterator[Maps]:
    """Yield the maps of each plane of an axis, in order, their semantic map after the median over neighbouring planes.

    Parameters
    ----------
    kept : KeptMaps
        Plane `index` is read when it is asked for, and of those after it as many as the median reaches.
    axis : {"xy", "xz", "yz"}
        Direction that the planes are cut along.
    recipe : Recipe
        `median` and `rules` are read. The published rules put each median back into the window of the next ones, and
        leave the planes as they are where the window does not fit into the stack.
    span : range, optional
        Only these planes; by the published rules, it begins with the first one.
    """
    count = kept.shape[AXES[axis]]
    reach = recipe.median // 2
    before: deque[npt.NDArray[np.uint8]] = deque(maxlen=max(1, reach))
    for index in span or range(count):
        if recipe.rules != "published":
            yield kept.plane(axis, index, recipe.median)
            continue
        maps = kept.get(axis, index)
        if reach and reach <= index < count - reach:
            after = [kept.get(axis, i).semantic for i in range(index, index + reach + 1)]
            maps = maps.replace(semantic=median_planes([*before, *after]))
        before.append(maps.semantic)
        yield maps


def assemble(
    run: Run, kept: KeptMaps, record: dict[str, Any], target: Path | None, stack: Stack | None
) -> Generator[Progress, None, Labels | StoredLabels]:
    """Make labels of the planes that a run has decoded, in memory or in a store; verdicts look at the image, too.

    Raises
    ------
    InputError
        If the store could not be written; the error says where the labels are kept instead.
    """
    given = kept.about.get("voxel_size")
    size, name = None if given is None else voxel_size_of(given), f"{kept.about.get('name', 'stack')} labels"
    yield from run.assemble()
    if run.recipe.verdicts is not None and stack is not None:
        yield run.progress("verdicts")
        run.drop_false(stack, kept.sections())
    record = completed(record, kept.about.get("classes", ()), run)
    if target is None:
        ids = yield from run.write()
        assert ids is not None
        return Labels(ids, size, name, record or None)

    def store_at(path: Path) -> Generator[Progress, None, None]:
        with LabelStore.at(path, run.shape, size, name) as store:
            yield from run.write(store)
            for _ in store.finish(record or None):
                yield run.progress("write")

    yield from rescuing(store_at, target)
    return StoredLabels(target, run.shape, sum(run.counts), size, name, record or None)


def stuff_of(spec: Any) -> tuple[int, ...]:
    """Return the numbers of the classes whose objects a model does not tell apart."""
    things = getattr(spec, "things", None)
    return () if things is None else tuple(k for k, name in enumerate(spec.classes) if name not in things)


def stuff_notes(spec: Any) -> tuple[str, ...]:
    """Say which classes of a model become one id each."""
    names = ", ".join(spec.classes[k] for k in stuff_of(spec))
    return (f"This model does not tell objects of {names} apart: they are one id.",) if names else ()


def completed(record: dict[str, Any], classes: Sequence[str], run: Run) -> dict[str, Any]:
    """Return the record with what verdicts dropped, and the ids of each class where there are several."""
    if "judge" in run.results:
        gone, of = run.results.get("judge", "gone")
        record = {**record, "notes": [*record.get("notes", ()), f"By verdicts {gone} of {of} objects were dropped."]}
    if len(run.counts) < 2:
        return record
    names = [*classes, *(f"class {k + 1}" for k in range(len(classes), len(run.counts)))]
    rows = zip(names, run.counts, _firsts(run.counts), strict=False)
    return {**record, "classes": [{"name": name, "first": first, "last": first + n - 1} for name, n, first in rows]}
