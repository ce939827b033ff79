"""What a file holds, from its headers alone: no voxel is read, however large it is."""

import math
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mitonb.errors import AxesError, InputError, guarded
from mitonb.io.arrays import Lower, Source, native
from mitonb.io.axes import stated_axes
from mitonb.io.limits import checked_path, door, size_text
from mitonb.io.opening import find_source, voxel_size_of
from mitonb.io.openorganelle import is_dataset
from mitonb.io.others import members_of
from mitonb.io.remote import is_address
from mitonb.io.zarr import is_store, members_of_store, store_in_zip
from mitonb.stack import VoxelSize


@dataclass(frozen=True)
class Member:
    """One of several images in a file: `open(source, series=member.series)` opens it."""

    series: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Resolution:
    """A lower resolution: (z, y, x) voxels, voxel size in nm, and the middle of its first voxel in nm."""

    shape: tuple[int, int, int]
    voxel_size: VoxelSize | None
    origin: tuple[float, float, float]


@dataclass(frozen=True)
class Info:
    """What the headers of a file say.

    Attributes
    ----------
    name, kind : str
        Of the file, and of its format; kind is empty where the file holds several images and none was chosen.
    axes : str
        A letter for each axis of the file, slowest first: t, c, z, y, x, s (colour); "?" where nobody says.
    shape : tuple of int
        Length of each of them.
    dtype : dtype or None
        In native byte order.
    voxel_size : tuple of float or None
        (z, y, x) in nm.
    origin : tuple of float
        (z, y, x) in nm: the middle of the first voxel.
    blocks : tuple of int or None
        What is read and decoded at once, along each axis, where the file has blocks.
    levels : tuple of Resolution
        Lower resolutions, the finest of them first.
    members : tuple of Member
        What `series` can be, where the file holds several images.
    notes : tuple of str
        What is missing or unusual.
    """

    name: str
    kind: str = ""
    axes: str = ""
    shape: tuple[int, ...] = ()
    dtype: np.dtype[Any] | None = None
    voxel_size: VoxelSize | None = None
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    blocks: tuple[int, ...] | None = None
    levels: tuple[Resolution, ...] = ()
    members: tuple[Member, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def bytes(self) -> int:
        """Of all voxels, decoded."""
        return math.prod(self.shape) * self.dtype.itemsize if self.dtype is not None else 0

    @property
    def block_bytes(self) -> int:
        """Of the largest part that is decoded at once, as far as the format has such parts; else 0."""
        return math.prod(self.blocks) * self.dtype.itemsize if self.blocks and self.dtype is not None else 0

    def __str__(self) -> str:
        lines = [self.name]
        if self.kind:
            lines += [f"  format      {self.kind}", f"  shape       {_times(self.shape)} ({', '.join(self.axes)})"]
            lines += [f"  dtype       {self.dtype}", f"  size        {size_text(self.bytes)} as voxels"]
            lines += [f"  voxel size  {_nm(self.voxel_size)}"]
        if any(self.origin):
            lines.append(f"  origin      {_nm(self.origin)}")
        if self.blocks:
            lines.append(f"  blocks      {_times(self.blocks)}, each {size_text(self.block_bytes)} when decoded")
        for k, one in enumerate(self.levels, 1):
            lines.append(f"  level {k:<5} {_times(one.shape)}, {_nm(one.voxel_size)}, begins at {_nm(one.origin)}")
        for member in self.members[:40]:
            lines.append(f"  holds       series={member.series!r}: {_times(member.shape)} {member.dtype}")
        if len(self.members) > 40:
            lines.append(f"  holds       and {len(self.members) - 40} more")
        return "\n".join([*lines, *(f"  note        {note}" for note in self.notes)])


def _times(sides: Sequence[int]) -> str:
    return " x ".join(map(str, sides))


def _nm(size: Sequence[float] | None) -> str:
    return "unknown" if size is None else "{:g} x {:g} x {:g} nm (z, y, x)".format(*size)


@door
def info(source: Any, *, series: int | str | None = None, axes: str | None = None) -> Info:
    """Say what a file, a store or an array holds, from its headers; no voxel is read.

    Parameters
    ----------
    source : path, address, array or Stack
        What `open` takes.
    series, axes
        As for `open`.

    Returns
    -------
    Info
        Printed as a short list.

    Raises
    ------
    InputError
        As `open`. A file with several images is no error: `members` says which there are.
    """
    members = tuple(_members(source)) if series is None else ()
    try:
        found, title, where = find_source(source, series)
    except InputError as error:
        if not members:
            raise
        return Info(Path(source).name, members=members, notes=(str(error),))
    notes = found.notes
    try:
        letters = axes or stated_axes(found, title)
    except AxesError as error:
        letters, notes = "?" * len(found.shape), (*notes, str(error))
    size, remark = voxel_size_of(None, found, letters, _zyx(found.shape, letters)[0], where)
    if size is None and remark is None:
        remark = "The voxel size is unknown: the file does not say."
    blocks = getattr(found.data, "blocks", None)
    levels = []
    for k, one in enumerate(found.levels, 1):
        try:
            with guarded(title):
                levels.append(_resolution(one, letters, found, size))
        except InputError as error:
            notes = (*notes, f"Level {k} cannot be read: {error}")
    return Info(
        title, found.kind, letters, found.shape, native(found.data.dtype), size, found.place, blocks, tuple(levels),
        members if len(members) > 1 + len(levels) else (), tuple(filter(None, (*notes, remark))),
    )  # fmt: skip


def _zyx(shape: Sequence[int], letters: str) -> tuple[int, int, int]:
    z, y, x = (shape[letters.index(axis)] if axis in letters else 1 for axis in "zyx")
    return z, y, x


def _resolution(one: Lower, letters: str, finest: Source, size: VoxelSize | None) -> Resolution:
    """Return a lower resolution with its place: of the finest, moved by so many of its voxels."""
    at = [letters.find(axis) for axis in "zyx"]
    steps = [(one.factors[k], one.offset[k]) if k >= 0 else (1.0, 0.0) for k in at]
    own = [side * factor for side, (factor, _) in zip(size or (0.0,) * 3, steps, strict=True)]
    moved = [o + side * m for o, side, (_, m) in zip(finest.place, size or (0.0,) * 3, steps, strict=True)]
    shape = _zyx(one.load().shape, letters)
    return Resolution(shape, (own[0], own[1], own[2]) if size else None, (moved[0], moved[1], moved[2]))


def _members(source: Any) -> Iterator[Member]:
    """Yield the images in a file that can hold several, as far as they have names."""
    if not isinstance(source, str | Path) or is_address(source) or is_dataset(source):
        return
    path = checked_path(source)
    store = store_in_zip(path) if path.is_file() and zipfile.is_zipfile(path) else path if path.is_dir() else None
    rows: Iterable[tuple[str, Sequence[int], Any]] = ()
    if store is None:
        rows = members_of(path)
    elif is_store(store):
        rows = members_of_store(store)
    for series, shape, dtype in rows:
        yield Member(series, tuple(int(n) for n in shape), str(dtype))
