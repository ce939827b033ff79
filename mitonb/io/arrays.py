"""Arrays that stay in their files: cut lazily, within memory, and watched for changes."""

import functools
import itertools
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mitonb.errors import ChangedFileError, CorruptFileError, TooLargeError, guarded
from mitonb.memory import require_room
from mitonb.stack import LazyArray

Array = npt.NDArray[Any]
Slices = tuple[slice, ...]
"""One slice for each axis, with start, stop and a step above 0, none of them empty."""
Stamp = tuple[int, int, int]
"""Size, time of the last change and number of a file on its disk."""
CACHE_BYTES = 160 * 2**20
"""Room for decoded pages of one open file: small enough for a 2 GB machine, large enough for a xz scroll."""
MOST_BLOCKS = 2**20


@dataclass(frozen=True)
class Source:
    """What a format reader found in a file, before the axes are chosen.

    Attributes
    ----------
    data : array-like
        Lazy array of any number of axes.
    axes : str or None
        One letter per axis out of t, c, z, y, x, s (colour samples), i (pages in a row), or another letter for
        something else; None when the file does not say.
    spacing : mapping
        Size in nm by axis letter, for those that the file states.
    notes : tuple of str
        Sentences for the user.
    kind : str
        Name of the format, for messages.
    record : mapping or None
        Run record, where labels carry one.
    ids : array-like or None
        The same pixels as labels mean them, where that differs: places in a colour table, greys of 1, 2 or 4 bits.
    black : float or None
        The value of black in a file that says 0 is white; None in all others.
    origin : mapping
        Where the middle of the first voxel lies, in nm by axis letter, for those that the file states.
    levels : tuple of Lower
        Lower resolutions of the same image, the finest of them first.
    """

    data: LazyArray
    axes: str | None = None
    spacing: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    kind: str = "array"
    record: Mapping[str, Any] | None = None
    ids: LazyArray | None = None
    black: float | None = None
    origin: Mapping[str, float] = field(default_factory=dict)
    levels: tuple["Lower", ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every axis."""
        return tuple(int(n) for n in self.data.shape)

    @property
    def place(self) -> tuple[float, float, float]:
        """(z, y, x) in nm: the middle of the first voxel; 0 where the file does not say."""
        z, y, x = (float(self.origin.get(axis, 0.0)) for axis in "zyx")
        return z, y, x


class Lower(NamedTuple):
    """A lower resolution in a file, by axis of the finest: as `mitonb.stack.Level`, and how it is opened."""

    factors: tuple[float, ...]
    offset: tuple[float, ...]
    load: Callable[[], Source]


@dataclass(frozen=True)
class Saving:
    """A volume on its way to a file.

    Attributes
    ----------
    data : LazyArray
        (z, y, x), native byte order; read plane by plane.
    voxel_size : tuple of float or None
        (z, y, x) in nm.
    name : str
        Written where the format has room for it.
    labels : bool
        Whether the voxels are ids: never scaled, never averaged.
    record : mapping or None
        Run record.
    origin : tuple of float
        (z, y, x) in nm, as `Stack.origin`; written where the format has room for it.
    """

    data: LazyArray
    voxel_size: tuple[float, float, float] | None
    name: str
    labels: bool
    record: Mapping[str, Any] | None = None
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) in voxels."""
        z, y, x = (int(n) for n in self.data.shape)
        return z, y, x

    def plane(self, z: int) -> Array:
        """Return plane z, contiguous."""
        return np.ascontiguousarray(self.data[z])


def native(dtype: Any) -> np.dtype[Any]:
    """Return the dtype in the byte order of this machine; extended floats become float64."""
    found: np.dtype[Any] = np.dtype(dtype)
    return np.dtype(np.float64) if found.kind == "f" and found.itemsize > 8 else found.newbyteorder("=")


class Lazy:
    """An array that is read when it is cut, part by part.

    Parameters
    ----------
    shape : tuple of int
        Length of every axis.
    dtype : dtype
        Of what is read; it is handed out in native byte order.
    read : callable
        Takes one forward slice for each axis and returns that part.
    what : str
        Name of the file, for errors.
    blocks : tuple of int or None
        Sides of the blocks that the file is read by, where it has blocks.

    Attributes
    ----------
    files : list of (Path, Stamp)
        One file, or one for each index of the first axis, and how it was before its header was read: each read makes
        sure that it still is.
    """

    def __init__(
        self, shape: Sequence[int], dtype: Any, read: Callable[[Slices], Any], what: str = "This array",
        blocks: tuple[int, ...] | None = None,
    ) -> None:  # fmt: skip
        self.shape, self.dtype, self.blocks = tuple(int(n) for n in shape), native(dtype), blocks
        self.files: Sequence[tuple[Path, Stamp | None]] = ()
        self._read, self._what = read, what

    def __getitem__(self, key: Any, /) -> Array:
        box = box_of(key, self.shape)
        lengths = [len(part) for part in box if isinstance(part, range)]
        require_room(lengths, self.dtype)
        if 0 in lengths:
            return np.empty(lengths, self.dtype)
        spans = [part if isinstance(part, range) else range(part, part + 1) for part in box]
        forward = tuple(slice(min(r), max(r) + 1, abs(r.step)) for r in spans)
        with guarded(self._what):
            self._unchanged(spans)
            try:
                found = np.asarray(self._read(forward)).astype(self.dtype, copy=False)
            finally:
                # A change in the middle spoils what was read, and is the reason where the reader failed.
                self._unchanged(spans)
        back = (0 if isinstance(part, int) else slice(None, None, 1 if part.step > 0 else -1) for part in box)
        return found[tuple(back)]

    def _unchanged(self, spans: Sequence[range]) -> None:
        for path, stamp in self.files if len(self.files) < 2 else map(self.files.__getitem__, spans[0]):
            if stamp_of(path) != stamp:
                raise changed(path.name)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(self[...], dtype=dtype)


def box_of(key: Any, shape: Sequence[int]) -> list[range | int]:
    """Return, for each axis, the index or the range of indices that an index expression asks for.

    Raises
    ------
    IndexError
        If there are too many indices, one is out of range, or one is neither integer, slice nor Ellipsis.
    """
    parts = list(key) if isinstance(key, tuple) else [key]
    dots = [i for i, part in enumerate(parts) if part is Ellipsis]
    missing = len(shape) - len(parts) + len(dots)
    if len(dots) > 1 or missing < 0:
        raise IndexError(f"This array has {len(shape)} axes, got {len(parts)} indices.")
    at = dots[0] if dots else len(parts)
    parts[at : at + len(dots)] = [slice(None)] * missing
    return [_along(part, n) for part, n in zip(parts, shape, strict=True)]


def _along(part: Any, n: int) -> range | int:
    """Return what one part of an index expression asks for along an axis of length n."""
    if isinstance(part, slice):
        return range(n)[part]
    try:
        return range(n)[operator.index(part)]
    except TypeError:
        kind = type(part).__name__
        raise IndexError(f"A lazy array is cut with integers and slices, got {kind}. Read it first.") from None


def blocks_of(key: Slices, sides: Sequence[int], what: str) -> Iterator[tuple[int, ...]]:
    """Return the places, counted in blocks, of the blocks that a part of an array lies in.

    Raises
    ------
    TooLargeError
        If there are so many that nobody would see the end of it.
    """
    spans = [range(part.start // side, (part.stop - 1) // side + 1) for part, side in zip(key, sides, strict=True)]
    if math.prod(map(len, spans)) > MOST_BLOCKS:
        raise TooLargeError(
            f"{what} is cut into blocks of {' x '.join(map(str, sides))} voxels: this part of it lies in more than "
            f"{MOST_BLOCKS} of them. Read a smaller part, or save it in larger blocks."
        )
    return itertools.product(*spans)


def paged(
    lead: tuple[int, ...], page: tuple[int, ...], dtype: Any, read: Callable[[int], Array], what: str,
    part: Callable[[int, slice, slice], Array] | None = None,
) -> Lazy:  # fmt: skip
    """Return an array whose last axes are pages, which are decoded one by one and kept while there is room.

    Parameters
    ----------
    lead, page : tuple of int
        Lengths of the axes that count pages, slowest first, and the shape of a page.
    dtype : dtype
        Of a decoded page.
    read : callable
        `read(k)` returns page k, counted in C order over `lead`.
    what : str
        Name of the file, for errors.
    part : callable, optional
        `part(k, rows, columns)` decodes less than all of page k; used for pages above a quarter of the room.
    """
    size = math.prod(page) * np.dtype(dtype).itemsize
    kept = functools.lru_cache(CACHE_BYTES // max(size, 1))(read)
    large = part is not None and size > CACHE_BYTES // 4

    def cut(key: Slices) -> Array:
        outer, inner = key[: len(lead)], key[len(lead) :]
        small = large and math.prod(s.stop - s.start for s in inner[:2]) * 4 < math.prod(page[:2])
        out = np.empty(_lengths(key), native(dtype))
        for place, k in _pages(outer, lead):
            if small and part is not None:
                rows, columns, *rest = inner
                image = part(k, slice(rows.start, rows.stop), slice(columns.start, columns.stop))
                out[place] = image[(slice(None, None, rows.step), slice(None, None, columns.step), *rest)]
            else:
                require_room(page, dtype)
                out[place] = kept(k)[inner]
        return out

    return Lazy((*lead, *page), dtype, cut, what)


def raw_voxels(path: Path, dtype: Any, shape: tuple[int, ...], offset: int = 0, *, fortran: bool = False) -> Lazy:
    """Return an array over uncompressed voxels that lie in one piece from an offset on.

    Whole rows are read, page by page. The file is not mapped into memory: where another program makes it shorter, a
    mapped read ends the process.
    """
    sides = (1,) * (2 - len(shape)) + (shape[::-1] if fortran else shape)
    width, dtype = sides[-1], np.dtype(dtype)

    def cut(key: Slices) -> Array:
        whole = (slice(0, 1, 1),) * (2 - len(key)) + (key[::-1] if fortran else key)
        *outer, rows, columns = whole
        out = np.empty(_lengths(whole), dtype)
        with open(path, "rb", buffering=0) as file:
            for place, page in _pages(outer, sides[:-2]):
                file.seek(offset + (page * sides[-2] + rows.start) * width * dtype.itemsize)
                part = read_items(file, (rows.stop - rows.start) * width, dtype, path.name)
                out[place] = part.reshape(-1, width)[:: rows.step, columns]
        return out.T if fortran else out.reshape(_lengths(key))

    return Lazy(shape, dtype, cut, path.name)


def read_items(file: Any, count: int, dtype: np.dtype[Any], what: str) -> Array:
    """Return so many numbers that come next in a file."""
    found: Array = np.fromfile(file, dtype, count)
    if found.size < count:
        raise CorruptFileError(f"{what} is truncated. Copy or export it again.")
    return found


def _lengths(key: Sequence[slice]) -> list[int]:
    return [len(range(part.start, part.stop, part.step)) for part in key]


def _pages(outer: Sequence[slice], lead: Sequence[int]) -> Iterator[tuple[tuple[int, ...], int]]:
    """Yield, for each page of a part, its place in the result and its number in the file."""
    spans = [range(part.start, part.stop, part.step) for part in outer]
    for place, index in zip(np.ndindex(*map(len, spans)), itertools.product(*spans), strict=True):
        yield place, int(np.ravel_multi_index(index, tuple(lead))) if index else 0


def stamp_of(path: Path) -> Stamp | None:
    """Return what tells a file from what another program makes of it; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


def changed(name: str) -> ChangedFileError:
    """Return the error that says that a file is not what was opened."""
    return ChangedFileError(
        f"{name} has changed since it was opened: another program wrote, replaced or removed it, and its voxels may be "
        "others now. Open it again when that program is done. Labels and corrections are kept; save them as usual."
    )
