"""Boxes of volumes that are large or far away: what they cost, and how they come to this machine, whole or resumed."""

import json
import math
import os
import re
import shutil
import time
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np

from mitonb.box import Box
from mitonb.errors import CorruptFileError, InputError, TooLargeError
from mitonb.files import atomic_write, explain_write
from mitonb.io.arrays import Lazy, Saving, native
from mitonb.io.limits import size_text
from mitonb.io.opening import open as open_stack
from mitonb.io.opening import read_back
from mitonb.io.openorganelle import credit
from mitonb.io.saving import check_output
from mitonb.io.zarr import scratch_array, writing_zarr
from mitonb.job import Progress, drain
from mitonb.stack import Stack

_AT_ONCE = 8
"""Blocks that are asked for at the same time: a store that is far away answers them together."""
_LISTED = 1000
"""Blocks that are listed at a time, of the millions that there may be."""
_SIDE = 64
"""Of the blocks of what has none, in voxels."""


@dataclass(frozen=True)
class Cost:
    """What it takes to fetch a box.

    Attributes
    ----------
    shape : tuple of int
        (z, y, x) of the box, in voxels of its level.
    bytes : int
        Of its voxels.
    moved : int
        Bytes of all blocks that it lies in, unpacked; what travels is packed, and less.
    blocks : int
        How many.
    seconds : float or None
        As the first of them took; None if none was asked for.
    """

    shape: tuple[int, int, int]
    bytes: int
    moved: int
    blocks: int
    seconds: float | None = None

    def __str__(self) -> str:
        size = f"{' x '.join(map(str, self.shape))} voxels, {size_text(self.bytes)}"
        took = "" if self.seconds is None else f", about {max(1, round(self.seconds))} s"
        count = f"{self.blocks:,} block{'s'[: self.blocks != 1]}"
        return f"{size}; {count} of the store, {size_text(self.moved)} unpacked{took}"


@dataclass(frozen=True)
class _Job:
    """A box of a level: where it lies in the level, and the blocks that it is cut into."""

    stack: Stack  # the level
    opened: Mapping[str, Any] | None  # by which its source gives the same again; None where nothing does
    level: int
    box: Box  # in voxels of the level
    sides: tuple[int, int, int]

    @property
    def first(self) -> tuple[int, ...]:
        """The block that the box begins in."""
        return tuple(a // n for a, n in zip(self.box.start, self.sides, strict=True))

    @property
    def counts(self) -> tuple[int, ...]:
        """How many blocks the box lies in, along each axis: of large boxes there are millions."""
        return tuple(-(-b // n) - a for a, b, n in zip(self.first, self.box.stop, self.sides, strict=True))

    def read(self, block: tuple[int, ...]) -> Any:
        """Read a block of the level, counted from the first."""
        starts = [(a + k) * n for a, k, n in zip(self.first, block, self.sides, strict=True)]
        key = tuple(slice(a, min(a + n, m)) for a, n, m in zip(starts, self.sides, self.stack.shape, strict=True))
        return np.ascontiguousarray(self.stack.data[key])

    def place(self, block: tuple[int, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
        """Return where a block of a shape lies among the blocks of the box."""
        return tuple(slice(k * n, k * n + m) for k, n, m in zip(block, self.sides, shape, strict=True))

    @property
    def cost(self) -> Cost:
        """What it takes, unmeasured."""
        count, size = math.prod(self.counts), self.stack.dtype.itemsize
        return Cost(self.box.shape, self.box.size * size, count * math.prod(self.sides) * size, count)


def box_nm(stack: Stack, start: tuple[float, float, float], stop: tuple[float, float, float]) -> Box:
    """Return the box of the voxels of a stack whose middles lie between two places in nm.

    Parameters
    ----------
    stack : Stack
        With a voxel size; its `origin` counts.
    start, stop : (z, y, x) of float
        In nm, as the file counts them.

    Raises
    ------
    InputError
        If the voxel size is unknown, a place is not three numbers, or no voxel of the stack lies there.

    Examples
    --------
    >>> stack = Stack(np.zeros((9, 9, 9), np.uint8), (10, 10, 10), origin=(100, 0, 0))
    >>> box_nm(stack, (100, 0, 0), (150, 20, 30))
    Box(start=(0, 0, 0), stop=(5, 2, 3))
    """
    if stack.voxel_size is None:
        raise InputError(f"The voxel size of {stack.name} is unknown: give it first (stack.with_voxel_size).")
    size, ends = np.array(stack.voxel_size), []
    for place in (start, stop):
        if np.shape(place) != (3,) or not np.isfinite(np.array(place, float)).all():
            raise InputError(f"A place in nm is three numbers (z, y, x), got {place!r:.80}.")
        # A hair's breadth: what was written with six digits shall not lose a voxel.
        voxel = np.ceil((np.array(place, float) - stack.origin) / size - 1e-6)
        ends.append(np.clip(voxel, 0, stack.shape).astype(int).tolist())
    box = Box(tuple(ends[0]), tuple(ends[1]))
    if not box.size:
        last = np.add(stack.origin, size * (np.array(stack.shape) - 1)).tolist()
        raise InputError(
            f"No voxel lies there: {stack.name} reaches from {stack.origin} to {tuple(last)} nm (z, y, x)."
        )
    return box


def fetch_cost(source: Any, box: Box | None = None, *, level: int = 0, like: Stack | None = None) -> Cost:
    """Return what it takes to fetch a box; two of its blocks are read to know how long.

    Parameters are those of `fetch`.
    """
    job = _job(source, box, level, like)
    cost, began = job.cost, time.monotonic()
    tried = [*islice(product(*(range(n // 2, n) for n in job.counts)), 2)]
    for block in tried:
        job.read(block)
    seconds = (time.monotonic() - began) / len(tried) * cost.blocks / min(_AT_ONCE, cost.blocks)
    return replace(cost, seconds=seconds)


def fetch(
    source: Any, box: Box | None = None, path: Any = None, *, level: int = 0, like: Stack | None = None,
    labels: bool | None = None, overwrite: bool = False, show: bool = True,
) -> Path:  # fmt: skip
    """Bring a box of a volume to this machine, as an OME-Zarr with lower resolutions at its place in nm.

    What was fetched when it broke off, or was stopped, is kept beside the target; the same call goes on with it, and
    the result is the same. A stack that was not opened from a path or an address, or was changed since (inverted), is
    fetched from the beginning.

    Parameters
    ----------
    source : Stack, path or address
        What `mn.open` takes, such as "openorganelle:jrc_mus-kidney".
    box : Box, optional
        In voxels of the finest level; `box_nm` makes one from places in nm.
    path : path
        Ends in .ome.zarr.
    level : int
        Which resolution to fetch; 0 is the finest.
    like : Stack, optional
        Instead of box and level: the box that this stack takes up, at the level with its voxel size. So labels are
        fetched that belong to an image.
    labels : bool, optional
        Whether the voxels are ids, which are never averaged; by default whole numbers are where they have 32 bits or
        more, or lie in the folder "labels" of a store (.zarr, .n5).
    overwrite : bool
        Replace what is there.
    show : bool
        Whether to show progress.

    Returns
    -------
    path
        Open it with `mn.open` or `mn.open_labels`. It says where it came from and when, with licence and DOI where
        they are known.

    Raises
    ------
    InputError
        If the box is not inside of the volume, or no level has the voxel size of `like`. UnreachableError, if the
        store does not answer.
    TooLargeError
        If the disk has no room for it.
    """
    return drain(fetching(source, box, path, level=level, like=like, labels=labels, overwrite=overwrite), show=show)


def fetching(
    source: Any, box: Box | None = None, path: Any = None, *, level: int = 0, like: Stack | None = None,
    labels: bool | None = None, overwrite: bool = False,
) -> Generator[Progress, None, Path]:  # fmt: skip
    """Fetch a box as `fetch`, as a generator that yields its progress in bytes."""
    if path is None or not str(path).lower().endswith(".zarr"):
        raise InputError(f"A box is fetched into an OME-Zarr: give a path that ends in .ome.zarr, got {path!r:.80}.")
    target = check_output(path, overwrite=overwrite)
    job = _job(source, box, level, like)
    cost = job.cost
    free, needed = shutil.disk_usage(target.parent).free, 3 * cost.bytes + cost.moved
    if needed > free:
        raise TooLargeError(f"Fetching {cost} needs about {size_text(needed)} of disk; {size_text(free)} are free.")
    facts = _facts(job)
    part = target.with_name(f".{target.name}.fetching")
    with explain_write(target):
        store = _partial(part, facts, job)
    total = cost.moved + 2 * cost.bytes
    yield from _fetch_blocks(job, part, store, total)
    shift = [a - first * n for a, first, n in zip(job.box.start, job.first, job.sides, strict=True)]

    def cut(key: tuple[slice, ...]) -> Any:
        whole = tuple(slice(a + s.start, a + s.stop, s.step) for a, s in zip(shift, key, strict=True))
        return store[whole].read().result()

    data = Lazy(job.box.shape, job.stack.dtype, cut, target.name)
    size = job.stack.voxel_size
    place = np.add(job.stack.origin, np.multiply(job.box.start, size or (1.0, 1.0, 1.0))).tolist()
    record = {"fetched": {**facts, "date": time.strftime("%Y-%m-%d")}}
    ids = _holds_ids(job.stack) if labels is None else labels
    saving = Saving(data, size, job.stack.name, ids, record, tuple(place))
    depth = job.box.shape[0]
    with explain_write(target), atomic_write(target) as temporary:
        done = 0
        for z in writing_zarr(temporary, saving, "0.4"):
            done = max(done, z)  # coarser levels, which come last, have fewer planes
            yield Progress("writing", cost.moved + cost.bytes * done // depth, total)
        found = read_back(temporary)
        for z in range(depth):
            if not np.array_equal(found[z], data[z], equal_nan=True):
                raise CorruptFileError("Saving failed: what was read back is not what was fetched. Check the disk.")
            yield Progress("checking", cost.moved + cost.bytes + cost.bytes * (z + 1) // depth, total)
    shutil.rmtree(part, ignore_errors=True)
    return target


def _holds_ids(stack: Stack) -> bool:
    """Return whether voxels are ids, by their dtype and by where they lie inside of a store."""
    inside = re.search(r"\.(zarr|n5)/(.*/)?labels/", (stack.source or "").replace("\\", "/"), re.IGNORECASE)
    return stack.dtype.kind in "ui" and (stack.dtype.itemsize >= 4 or inside is not None)


def _facts(job: _Job) -> dict[str, Any]:
    """Return what tells one fetch from another, and belongs into its record, as JSON has it."""
    stack, opened = job.stack, job.opened
    facts = {
        "source": stack.source or stack.name, "start": job.box.start, "stop": job.box.stop, "dtype": stack.dtype.name,
        "sides": job.sides, "shape": stack.shape, "origin": stack.origin, "voxel_size": stack.voxel_size,
        # Of a stack that is a level of another one, nobody knows which.
        **({} if opened is None else {"level": job.level, "opened": dict(opened)}), **credit(stack.source or ""),
    }  # fmt: skip
    known: dict[str, Any] = json.loads(json.dumps(facts, default=str))
    return known


def _fetch_blocks(job: _Job, part: Path, store: Any, total: int) -> Iterator[Progress]:
    """Fetch the blocks that are not here yet, several at once; each is whole or not there."""

    def bring(block: tuple[int, ...]) -> None:
        if not (part / "data" / ".".join(map(str, block))).exists():
            voxels = job.read(block)
            store[job.place(block, voxels.shape)].write(voxels).result()

    todo, done, cost = product(*map(range, job.counts)), 0, job.cost
    readers = ThreadPoolExecutor(_AT_ONCE, "mitonb-fetch")
    try:
        while some := [*islice(todo, _LISTED)]:
            for _ in readers.map(bring, some):
                done += 1
                yield Progress("fetching", cost.moved * done // cost.blocks, total)
    finally:
        readers.shutdown(wait=True, cancel_futures=True)


def _partial(part: Path, facts: dict[str, Any], job: _Job) -> Any:
    """Return the array that blocks are kept in until all are here; one of something else is thrown away."""
    told, text = part / "fetch.json", json.dumps(facts)
    shape = [k * n for k, n in zip(job.counts, job.sides, strict=True)]

    def array() -> Any:
        return scratch_array(part / "data", shape, native(job.stack.dtype).str, job.sides, zeros=True)

    same = told.is_file() and told.read_text("utf-8") == text
    if not same or "opened" not in facts or not _still_there(part / "data", array(), job):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        told.write_text(text, "utf-8")
    return array()


def _still_there(folder: Path, store: Any, job: _Job) -> bool:
    """Return whether one of the blocks that were fetched is in the volume as it was; so a changed one is noticed."""
    with os.scandir(folder) as files:
        name = next((one.name for one in files if one.name.replace(".", "").isdigit()), None)
    if name is None:
        return True
    block = tuple(map(int, name.split(".")))
    voxels = job.read(block)
    return np.array_equal(store[job.place(block, voxels.shape)].read().result(), voxels, equal_nan=True)


def _job(source: Any, box: Box | None, level: int, like: Stack | None) -> _Job:
    """Return what is to be fetched, in voxels of its level."""
    stack = source if isinstance(source, Stack) else open_stack(source)
    if like is not None:
        level = _level_like(stack, like)
    chosen, one = stack.at_level(level), stack.levels[level]
    if like is not None:
        start = np.rint(np.subtract(like.origin, chosen.origin) / np.array(chosen.voxel_size)).astype(int)
        found = Box(tuple(start.tolist()), tuple((start + like.shape).tolist()))
        if not found.clip(chosen.shape) == found:
            raise InputError(f"{chosen.name} lies elsewhere than {like.name}, or does not cover all of it.")
    elif box is None:
        raise InputError("Say which part is to be fetched: box=mn.box_nm(stack, start, stop), or like= another stack.")
    elif not box.size or box.clip(stack.shape) != box:
        raise InputError(f"The box {box.start} to {box.stop} is empty, or not inside of {stack.name}, {stack.shape}.")
    else:
        # Those voxels of the level whose middles lie in the box, and at least one.
        edges, offset = [np.array(end) - 0.5 for end in (box.start, box.stop)], np.array(one.offset)
        low = np.ceil((edges[0] - offset) / one.factors - 1e-9).astype(int)
        low = np.minimum(low, np.array(chosen.shape) - 1)
        high = np.maximum(np.floor((edges[1] - offset) / one.factors + 1e-9).astype(int), low) + 1
        found = Box(tuple(low.tolist()), tuple(high.tolist())).clip(chosen.shape)
    blocks = getattr(chosen.data, "blocks", None) or (_SIDE,) * 3
    z, y, x = (min(int(n), m) for n, m in zip(blocks, chosen.shape, strict=True))
    return _Job(chosen, stack.opened if stack.source else None, level, found, (z, y, x))


def _level_like(stack: Stack, like: Stack) -> int:
    """Return the level of a stack with the voxel size of another one."""
    if stack.voxel_size is None or like.voxel_size is None:
        lacks = [one.name for one in (stack, like) if one.voxel_size is None]
        raise InputError(
            f"To fetch the same box, both voxel sizes must be known; {' and '.join(lacks)} does not say its own. Give "
            "the box instead."
        )
    sizes = [np.multiply(stack.voxel_size, one.factors) for one in stack.levels]
    for k, size in enumerate(sizes):
        if np.allclose(size, like.voxel_size, rtol=1e-3):
            return k
    listed = ", ".join(" x ".join(f"{v:g}" for v in size) for size in sizes)
    raise InputError(f"{stack.name} has levels of {listed} nm; none has the {like.voxel_size} nm of {like.name}.")
