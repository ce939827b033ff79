"""Boxes of volumes that are large or far away: what they cost, and how they come to this machine, whole or resumed."""

import json
import math
import shutil
import time
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import product
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
from mitonb.io.saving import target_path
from mitonb.io.zarr import scratch_array, write_zarr
from mitonb.job import Progress, drain
from mitonb.stack import Stack

_AT_ONCE = 8
"""Blocks that are asked for at the same time: a store that is far away answers them together."""
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
        return f"{size}; {self.blocks:,} blocks of the store, {size_text(self.moved)} unpacked{took}"


@dataclass(frozen=True)
class _Job:
    """A box of a level: where it lies in the level, and the blocks that it is cut into."""

    stack: Stack  # the level
    level: int
    box: Box  # in voxels of the level
    sides: tuple[int, int, int]

    @property
    def first(self) -> tuple[int, ...]:
        """The block that the box begins in."""
        return tuple(a // n for a, n in zip(self.box.start, self.sides, strict=True))

    def blocks(self) -> list[tuple[int, ...]]:
        """Return the blocks that the box lies in, counted from the first."""
        ends = (-(-b // n) - a for a, b, n in zip(self.first, self.box.stop, self.sides, strict=True))
        return list(product(*map(range, ends)))

    def read(self, block: tuple[int, ...]) -> Any:
        """Read a block of the level."""
        starts = [(a + k) * n for a, k, n in zip(self.first, block, self.sides, strict=True)]
        key = tuple(slice(a, min(a + n, m)) for a, n, m in zip(starts, self.sides, self.stack.shape, strict=True))
        return np.ascontiguousarray(self.stack.data[key])

    @property
    def cost(self) -> Cost:
        """What it takes, unmeasured."""
        count, size = len(self.blocks()), self.stack.dtype.itemsize
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
        If the voxel size is unknown, or no voxel of the stack lies there.

    Examples
    --------
    >>> stack = Stack(np.zeros((9, 9, 9), np.uint8), (10, 10, 10), origin=(100, 0, 0))
    >>> box_nm(stack, (100, 0, 0), (150, 20, 30))
    Box(start=(0, 0, 0), stop=(5, 2, 3))
    """
    if stack.voxel_size is None:
        raise InputError(f"The voxel size of {stack.name} is unknown: give it first (stack.with_voxel_size).")
    size = np.array(stack.voxel_size)
    # A hair's breadth: what was written with six digits shall not lose a voxel.
    ends = [np.ceil((np.array(end, float) - stack.origin) / size - 1e-6).astype(int).tolist() for end in (start, stop)]
    box = Box(tuple(ends[0]), tuple(ends[1])).clip(stack.shape)
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
    blocks, cost = job.blocks(), job.cost
    began = time.monotonic()
    tried = blocks[len(blocks) // 2 :][:2]
    for block in tried:
        job.read(block)
    seconds = (time.monotonic() - began) / len(tried) * len(blocks) / min(_AT_ONCE, len(blocks))
    return Cost(cost.shape, cost.bytes, cost.moved, cost.blocks, seconds)


def fetch(
    source: Any, box: Box | None = None, path: Any = None, *, level: int = 0, like: Stack | None = None,
    labels: bool | None = None, overwrite: bool = False, show: bool = True,
) -> Path:  # fmt: skip
    """Bring a box of a volume to this machine, as an OME-Zarr with lower resolutions at its place in nm.

    What was fetched when it broke off, or was stopped, is kept beside the target; the same call goes on with it, and
    the result is the same.

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
        Whether the voxels are ids, which are never averaged; by default they are where the address says labels, or
        where they are whole numbers of 32 bits or more.
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
    target = target_path(path, overwrite=overwrite)
    job = _job(source, box, level, like)
    cost = job.cost
    free, needed = shutil.disk_usage(target.parent).free, 3 * cost.bytes + cost.moved
    if needed > free:
        raise TooLargeError(f"Fetching {cost} needs about {size_text(needed)} of disk; {size_text(free)} are free.")
    address = job.stack.source or ""
    whole = job.stack.dtype.kind in "ui" and job.stack.dtype.itemsize >= 4
    ids = (whole or "/labels/" in address) if labels is None else labels
    facts = {
        "source": address or job.stack.name, "level": job.level, "start": job.box.start, "stop": job.box.stop,
        "dtype": job.stack.dtype.name, "sides": job.sides, **credit(address),
    }  # fmt: skip
    part = target.with_name(f".{target.name}.fetching")
    with explain_write(target):
        store = _partial(part, facts, job)
    yield from _fetch_blocks(job, part, store)
    yield Progress("writing", cost.moved, cost.moved)
    shift = [a - first * n for a, first, n in zip(job.box.start, job.first, job.sides, strict=True)]
    inner = Box(tuple(shift), tuple(a + n for a, n in zip(shift, job.box.shape, strict=True)))  # type: ignore[arg-type]

    def cut(key: tuple[slice, ...]) -> Any:
        whole = tuple(slice(a + s.start, a + s.stop, s.step) for a, s in zip(inner.start, key, strict=True))
        return store[whole].read().result()

    data = Lazy(job.box.shape, job.stack.dtype, cut, target.name)
    size = job.stack.voxel_size
    place = np.add(job.stack.origin, np.multiply(job.box.start, size or (1.0, 1.0, 1.0))).tolist()
    record = {"fetched": {**json.loads(json.dumps(facts)), "date": time.strftime("%Y-%m-%d")}}
    saving = Saving(data, size, job.stack.name, ids, record, tuple(place))

    def check(written: Path) -> None:
        found = read_back(written)
        if any(not np.array_equal(found[z], data[z]) for z in range(job.box.shape[0])):
            raise CorruptFileError("Saving failed: what was read back is not what was fetched. Check the disk.")

    with explain_write(target), atomic_write(target, check) as temporary:
        write_zarr(temporary, saving, "0.4")
    shutil.rmtree(part, ignore_errors=True)
    return target


def _fetch_blocks(job: _Job, part: Path, store: Any) -> Iterator[Progress]:
    """Fetch the blocks that are not here yet, several at once; each is whole or not there."""
    todo = [block for block in job.blocks() if not (part / "data" / ".".join(map(str, block))).exists()]
    count, total = len(job.blocks()), job.cost.moved
    todo.reverse()
    readers = ThreadPoolExecutor(_AT_ONCE, "mitonb-fetch")
    flying: dict[Future[Any], tuple[int, ...]] = {}
    try:
        while todo or flying:
            while todo and len(flying) < _AT_ONCE:
                block = todo.pop()
                flying[readers.submit(job.read, block)] = block
            for future in wait(flying, return_when=FIRST_COMPLETED).done:
                block, voxels = flying.pop(future), future.result()
                key = tuple(slice(k * n, k * n + m) for k, n, m in zip(block, job.sides, voxels.shape, strict=True))
                store[key].write(voxels).result()
                done = count - len(todo) - len(flying)
                yield Progress("fetching", total * done // count, total)
    finally:
        readers.shutdown(wait=True, cancel_futures=True)


def _partial(part: Path, facts: dict[str, Any], job: _Job) -> Any:
    """Return the array that blocks are kept in until all are here; one of another box is thrown away."""
    told, text = part / "fetch.json", json.dumps(facts)
    if not told.is_file() or told.read_text("utf-8") != text:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        told.write_text(text, "utf-8")
    last = job.blocks()[-1]
    shape = [(k + 1) * n for k, n in zip(last, job.sides, strict=True)]
    return scratch_array(part / "data", shape, native(job.stack.dtype).str, job.sides, zeros=True)


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
    return _Job(chosen, level, found, (z, y, x))


def _level_like(stack: Stack, like: Stack) -> int:
    """Return the level of a stack with the voxel size of another one."""
    if stack.voxel_size is None or like.voxel_size is None:
        raise InputError("To fetch the same box, both voxel sizes must be known.")
    sizes = [np.multiply(stack.voxel_size, one.factors) for one in stack.levels]
    for k, size in enumerate(sizes):
        if np.allclose(size, like.voxel_size, rtol=1e-3):
            return k
    listed = ", ".join(" x ".join(f"{v:g}" for v in size) for size in sizes)
    raise InputError(f"{stack.name} has levels of {listed} nm; none has the {like.voxel_size} nm of {like.name}.")
