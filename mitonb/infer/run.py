"""A run: from kept maps, plane by plane, to labels; how the maps come is somebody else's business."""

import contextlib
import functools
import shutil
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mitonb.files import explain_disk, scratch_folder
from mitonb.infer.kept import VOLUME, KeptMaps, median_planes
from mitonb.io.saving import rescuing
from mitonb.io.zarr import LabelStore, scratch_array
from mitonb.job import Progress
from mitonb.labels import Labels, StoredLabels
from mitonb.maps import Ids, Maps
from mitonb.post.cleaning import ObjectTable, fill_holes
from mitonb.post.consensus import JoinedRegions, agglomerate
from mitonb.post.decoding import decode
from mitonb.post.tables import as_ids, replaced
from mitonb.post.tracking import Tracker
from mitonb.recipe import Recipe
from mitonb.stack import AXES, Axis, Stack, voxel_size_of

Volume = npt.NDArray[np.uint32]
Fill = Callable[[Any, int], Iterable[object]]

SLAB_BYTES = 32 << 20
"""Ids of one slab, of one direction."""
CHUNK = 32, 128, 512
GROUP = 8
"""Voxels of a chunk of a spill along each axis; along the direction of its planes, which are written together."""


class Spill:
    """Ids of a volume, compressed, in memory or in a folder: planes of one direction go in, slabs along z come out.

    Parameters
    ----------
    shape : tuple of int
        (z, y, x) of the volume in voxels.
    axis : {"xy", "xz", "yz"}
        Direction of the planes.
    folder : path, optional
        Where to keep them; in memory without.
    """

    def __init__(self, shape: tuple[int, int, int], axis: Axis, folder: Path | None = None) -> None:
        self._axis = AXES[axis]
        self._place = 0
        self._waiting: list[Volume] = []
        chunk = [min(GROUP if k == self._axis else CHUNK[k], n) for k, n in enumerate(shape)]
        self._folder = folder
        what = "The temporary files of this run cannot be written beside the labels that it makes"
        advice = "Free some space, or write the labels elsewhere, and run again."
        self._explaining = functools.partial(explain_disk, what, folder or Path(), advice)
        with self._explaining():
            self._store = scratch_array(folder, shape, "<u4", chunk, {"id": "zstd", "level": 1})

    def add(self, plane: Volume) -> None:
        """Take the next plane."""
        self._waiting.append(plane)
        if len(self._waiting) == GROUP:
            self.flush()

    def flush(self) -> None:
        """Write the planes that wait for others; call it after the last one."""
        if self._waiting:
            end = self._place + len(self._waiting)
            self[(slice(None),) * self._axis + (slice(self._place, end),)] = np.stack(self._waiting, self._axis)
            self._place, self._waiting = end, []

    def __setitem__(self, where: Any, block: Volume) -> None:
        with self._explaining():
            self._store[where].write(block).result()

    def __getitem__(self, where: Any) -> Volume:
        return self._store[where].read().result()

    def close(self) -> None:
        """Forget everything; the files go."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def slab_thickness(shape: tuple[int, int, int]) -> int:
    """Return how many planes make a slab: about 32 MB of ids, in whole chunks where possible."""
    planes = max(1, SLAB_BYTES // (4 * shape[1] * shape[2]))
    return min(shape[0], planes if planes < CHUNK[0] else planes // CHUNK[0] * CHUNK[0])


class Run:
    """One way through the planes of all directions to labels, which never holds more than slabs of ids.

    Each plane is decoded, tracked by tables and spilled. Then slab after slab is read back from all directions: once to
    number joined regions for the consensus, once to fill holes and measure objects, once to write what stays. Decisions
    are made on tables in between, so that the labels do not depend on how thick the slabs are.

    Parameters
    ----------
    shape : tuple of int
        (z, y, x) of the stack in voxels.
    recipe : Recipe
        What decoding, tracking, consensus and cleaning read.
    folder : path, optional
        Keep ids in a temporary folder there; in memory, compressed, without.
    slab : int, optional
        Planes of a slab.
    blocks : bool
        The maps are those of a 3-D net: the volume is decoded as a whole, and nothing is tracked.

    Attributes
    ----------
    stuff : tuple of int
        Classes whose objects are not told apart, whatever the recipe says; set it before the planes.
    counts : list of int
        Objects of each class, at the end.
    """

    def __init__(
        self, shape: tuple[int, int, int], recipe: Recipe, *,
        folder: Path | None = None, slab: int | None = None, blocks: bool = False,
    ) -> None:  # fmt: skip
        self.shape = shape
        # A profile of a plane is what `min_area` is about.
        self.recipe = recipe.replace(min_area=0) if blocks else recipe
        self.done = 0
        self.total = 3 if blocks else sum(shape[AXES[axis]] for axis in recipe.planes) + len(recipe.planes) + 2
        self.counts: list[int] = []
        self.stuff: tuple[int, ...] = ()
        step = slab or slab_thickness(shape)
        self._slabs = [slice(top, min(top + step, shape[0])) for top in range(0, shape[0], step)]
        self._temporary = contextlib.ExitStack()
        self._folder = folder and self._temporary.enter_context(scratch_folder(folder))
        self._spilled = 0
        self._directions: dict[tuple[int, Axis], tuple[Spill, Tracker | None]] = {}
        self._kinds = 1
        self._blocks = blocks
        self._volumes: list[_Objects] = []
        self._whole: Volume | Spill
        self._names: Volume

    def progress(self, stage: str) -> Progress:
        return Progress(stage, self.done, self.total)

    def close(self) -> None:
        """Take the temporary files away."""
        self._temporary.close()

    def planes(self, kept: KeptMaps, fill: Fill, *, rolling: bool) -> Generator[Progress, None, None]:
        """Decode all planes, or the whole volume; `fill` puts the maps of a plane where they are missing."""
        if self._blocks:
            yield from self._volume(kept, fill, rolling=rolling)
            return
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
                parts = self.decode(next(smoothed))
                if kept.region is not None:
                    parts = tuple(kept.region.cut(part, axis, index) for part in parts)
                for kind, part in enumerate(parts):
                    self.add(axis, part, kind=kind)
                if rolling and index >= reach:
                    kept.drop(axis, index - reach)
                self.done += 1
                yield self.progress(f"{axis} planes")
            self.end(axis)
            if rolling:
                kept.clear()

    def _volume(self, kept: KeptMaps, fill: Fill, *, rolling: bool) -> Generator[Progress, None, None]:
        for _ in fill(VOLUME, 0):
            yield self.progress("predict blocks")
        maps = kept.get(VOLUME, 0)
        if rolling:
            kept.clear()
        yield self.progress("decode")
        for ids in self.decode(maps):
            if kept.region is not None:
                for z, plane in enumerate(ids):
                    plane[...] = kept.region.cut(plane, "xy", z)
            self._volumes.append(_Objects(self._spill("xy"), np.arange(ids.max(initial=0) + 1, dtype=np.uint32)))
            self._volumes[-1].spill[:] = ids

    def decode(self, maps: Maps) -> tuple[Volume, ...]:
        """Return the ids of each class of the maps of a plane or a volume."""
        self._kinds = len(maps.semantic) if "semantic" in maps else 1
        return tuple(decode(maps, self._recipe(k), kind=k, stuff=self.stuff) for k in range(self._kinds))

    def add(self, axis: Axis, plane: Ids, *, kind: int = 0) -> None:
        """Take the decoded ids of the next plane of a direction; directions may come in different threads."""
        if (kind, axis) not in self._directions:
            recipe = self._recipe(kind)
            # Where nothing is told apart, there is nothing to follow from plane to plane.
            self._directions[kind, axis] = self._spill(axis), None if recipe.instances == "none" else Tracker(recipe)
        spill, tracker = self._directions[kind, axis]
        for numbers in [as_ids(plane)] if tracker is None else tracker.add(plane):
            spill.add(numbers)

    def end(self, axis: Axis) -> None:
        """Take note that a direction has no more planes."""
        for kind in range(self._kinds):
            spill, tracker = self._directions[kind, axis]
            for numbers in () if tracker is None else tracker.rest():
                spill.add(numbers)
            spill.flush()

    def objects(self, sink: LabelStore | None = None) -> Generator[Progress, None, Volume | None]:
        """Do what `assemble` and `write` do."""
        yield from self.assemble()
        return (yield from self.write(sink))

    def assemble(self) -> Generator[Progress, None, None]:
        """Track, vote and clean; `counts` then says how many objects each class has."""
        parts = self._volumes.copy()
        for kind in range(len(parts), self._kinds):
            parts.append((yield from self._voted(kind)))
        first = _firsts([part.count for part in parts])
        self.done = self.total - 1
        objects = ObjectTable(self.shape, sum(part.count for part in parts))
        self._whole = np.empty(self.shape, np.uint32) if self._folder is None else self._spill("xy")
        for where in self._slabs:
            slab = _overlaid([part.read(where) for part in parts], first)
            if self.recipe.fill_holes:
                fill_holes(slab)
            objects.add(slab)
            self._whole[where] = slab
            yield self.progress("clean")
        for part in parts:
            part.spill.close()
        # Where no class has objects, ids are the numbers of the classes, there or not.
        whole_kinds = all(self._recipe(k).instances == "none" for k in range(self._kinds))
        self._names, found = objects.decide(self.recipe, first, renumber=not whole_kinds)
        self.counts = [1] * len(found) if whole_kinds else found

    def drop_false(self, stack: Stack, maps: Callable[[int], Maps | None]) -> tuple[int, int]:
        """Drop what the verdicts of the recipe call false; return how many objects went, and of how many.

        Parameters
        ----------
        stack : Stack
            The image.
        maps : callable
            Returns the maps of an xy plane, or None.
        """
        from mitonb.post.verdicts import describe_objects, false_ids  # pandas loads here

        assert self.recipe.verdicts is not None
        told_apart = [self._recipe(k).instances != "none" for k in range(self._kinds)]
        ranges = [range(first, first + n) for first, n in zip(_firsts(self.counts), self.counts, strict=True)]
        ids = [id for ids, apart in zip(ranges, told_apart, strict=True) if apart for id in ids]
        if not ids:
            return 0, 0
        labels = Stack(_Assembled(self), intensity=(0.0, 1.0))
        gone = false_ids(self.recipe.verdicts, describe_objects(labels, stack, maps=maps, ids=ids))
        stay = np.ones(sum(self.counts) + 1, np.uint32)
        stay[[0, *gone]] = 0
        self.counts = [int(stay[ids.start : ids.stop].sum()) for ids in ranges]
        self._names = (np.cumsum(stay, dtype=np.uint32) * stay)[self._names]
        return len(gone), len(ids)

    def write(self, sink: LabelStore | None = None) -> Generator[Progress, None, Volume | None]:
        """Return the labels that were assembled, or write them to the sink, which may be done again."""
        self.done = self.total - 1
        labels = None
        if sink is None:  # in place, where they are in memory
            labels = self._whole if isinstance(self._whole, np.ndarray) else np.empty(self.shape, np.uint32)
        for where in self._slabs:
            slab = replaced(self._whole[where], self._names)
            if labels is not None:
                labels[where] = slab
            if sink is not None:
                sink.write(where.start, slab)
            yield self.progress("write" if sink else "clean")
        self.done += 1
        yield self.progress("done")
        return labels

    def _voted(self, kind: int) -> "Generator[Progress, None, _Objects]":
        """Return the objects of one class, as the directions agree on them."""
        parts = []
        for axis in self.recipe.planes:
            yield self.progress(f"track {axis}")
            spill, tracker = self._directions[kind, axis]
            parts.append(_Objects(spill, np.arange(2, dtype=np.uint32) if tracker is None else tracker.objects()))
            self.done = min(self.done + 1, self.total - 2)
        if len(parts) == 1:
            return parts[0]
        told_apart = self._recipe(kind).instances != "none"
        if self.recipe.rules == "published" and told_apart:
            parts = [self._sifted(part) for part in parts]
        joined, spill = JoinedRegions(len(parts)), self._spill("xy")
        for where in self._slabs:
            spill[where] = joined.number([part.read(where) for part in parts])
            yield self.progress("consensus")
        for part in parts:
            part.spill.close()
        regions, sizes = joined.found()
        if told_apart:
            return _Objects(spill, agglomerate(regions, sizes, self.recipe))
        enough = np.count_nonzero(regions, axis=1) >= min(self.recipe.votes, len(parts))
        return _Objects(spill, enough.astype(np.uint32))

    def _sifted(self, part: "_Objects") -> "_Objects":
        """Return the objects of a direction without those that are too small or too thin in it alone."""
        objects = ObjectTable(self.shape, part.count)
        for where in self._slabs:
            objects.add(part.read(where))
        return _Objects(part.spill, objects.decide(self.recipe, renumber=False)[0][part.table])

    def _recipe(self, kind: int) -> Recipe:
        """Return the recipe for one class."""
        return self.recipe.replace(instances="none") if kind in self.stuff else self.recipe

    def _spill(self, axis: Axis) -> Spill:
        self._spilled += 1
        return Spill(self.shape, axis, self._folder and self._folder / str(self._spilled))


class _Assembled:
    """The labels of a run before they are written, as a volume that is read part by part."""

    dtype = np.dtype(np.uint32)

    def __init__(self, run: Run) -> None:
        self._run, self.shape, self.ndim = run, run.shape, 3

    def __getitem__(self, where: Any) -> Volume:
        return replaced(np.ascontiguousarray(self._run._whole[where]), self._run._names)


@dataclass(frozen=True)
class _Objects:
    """What was spilled, and the object that each number in it belongs to."""

    spill: Spill
    table: Volume

    @property
    def count(self) -> int:
        return int(self.table.max(initial=0))

    def read(self, where: slice) -> Volume:
        return replaced(self.spill[where], self.table, in_place=True)


def _firsts(counts: list[int]) -> list[int]:
    """Return the first id of each class, of the objects that each has."""
    return [1 + sum(counts[:k]) for k in range(len(counts))]


def _overlaid(slabs: Sequence[Volume], first: list[int]) -> Volume:
    """Put the objects of all classes into one slab; where two claim a voxel, the class that comes first has it."""
    whole = slabs[0]
    for slab, start in zip(slabs[1:], first[1:], strict=True):
        whole = np.where((whole == 0) & (slab > 0), slab + np.uint32(start - 1), whole)
    return whole


def smoothed_planes(kept: KeptMaps, axis: Axis, recipe: Recipe) -> Iterator[Maps]:
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
    """
    count = kept.shape[AXES[axis]]
    reach = recipe.median // 2
    before: deque[npt.NDArray[np.uint8]] = deque(maxlen=max(1, reach))
    for index in range(count):
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
        gone, of = run.drop_false(stack, kept.sections())
        record = {**record, "notes": [*record.get("notes", ()), f"By verdicts {gone} of {of} objects were dropped."]}
    record = _with_classes(record, kept.about.get("classes", ()), run.counts)
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


def _with_classes(record: dict[str, Any], classes: Sequence[str], counts: list[int]) -> dict[str, Any]:
    """Return the record with the ids of each class, where there are several."""
    if len(counts) < 2:
        return record
    names = [*classes, *(f"class {k + 1}" for k in range(len(classes), len(counts)))]
    rows = zip(names, counts, _firsts(counts), strict=False)
    return {**record, "classes": [{"name": name, "first": first, "last": first + n - 1} for name, n, first in rows]}
