"""Lazy arrays: pages read when they are asked for and kept while there is room, and volumes arranged out of them."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from itertools import product
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from mitonb.errors import TooLargeError
from mitonb.memory import require_room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = [
    "Array", "Arranged", "Indexable", "Key", "PageCache", "Paged", "as_slice", "blocks_of", "box_of", "native",
    "places",
]  # fmt: skip

Array = npt.NDArray[Any]
Key = tuple[int | slice, ...]

CACHE_BYTES = 256 * 2**20
"""Room for decoded pages of one open file: small enough for a 2 GB machine, large enough for a xz scroll."""


MOST_BLOCKS = 2**20


class Indexable(Protocol):
    """An array of any number of axes that is cut by a tuple of integers and slices."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def __getitem__(self, key: Any, /) -> Any: ...


def native(dtype: Any) -> np.dtype[Any]:
    """Return the dtype in the byte order of this machine; extended floats become float64."""
    found: np.dtype[Any] = np.dtype(dtype)
    if found.kind == "f" and found.itemsize > 8:
        return np.dtype(np.float64)
    return found.newbyteorder("=")


def box_of(key: Any, shape: Sequence[int]) -> list[range | int]:
    """Return, for each axis, the index or the range of indices that an index expression asks for.

    Raises
    ------
    IndexError
        If there are too many indices, one is out of range, or one is neither integer, slice nor Ellipsis.
    """
    parts = list(key) if isinstance(key, tuple) else [key]
    dots = [i for i, part in enumerate(parts) if part is Ellipsis]
    if len(dots) > 1:
        raise IndexError("An index has at most one '...'.")
    at = dots[0] if dots else len(parts)
    missing = len(shape) - len(parts) + len(dots)
    if missing < 0:
        raise IndexError(f"This array has {len(shape)} axes, got {len(parts) - len(dots)} indices.")
    parts[at : at + len(dots)] = [slice(None)] * missing
    return [_along(part, n) for part, n in zip(parts, shape, strict=True)]


def blocks_of(key: Any, shape: Sequence[int], sides: Sequence[int], what: str) -> Iterator[tuple[int, ...]]:
    """Return the places, counted in blocks, of the blocks that an index expression touches.

    Raises
    ------
    TooLargeError
        If there are so many that nobody would see the end of it.
    """
    spans = [
        range(min(part) // side, max(part) // side + 1) if part else range(0)
        for part, side in zip(
            (range(p, p + 1) if isinstance(p, int) else p for p in box_of(key, shape)), sides, strict=True
        )
    ]
    count = math.prod(map(len, spans))
    if count > MOST_BLOCKS:
        raise TooLargeError(
            f"{what} is cut into blocks of {' x '.join(map(str, sides))} voxels, so that this part of it lies in "
            f"{count:.3g} of them. Read a smaller part, or save it in larger blocks."
        )
    return product(*spans)


def _along(part: Any, n: int) -> range | int:
    """Return what one part of an index expression asks for along an axis of length n."""
    if isinstance(part, slice):
        return range(*part.indices(n))
    try:
        k = part.__index__()
    except (AttributeError, TypeError):
        raise IndexError(
            f"A lazy array is cut with integers and slices, got {type(part).__name__}. Read it first with stack.read()."
        ) from None
    if not -n <= k < n:
        raise IndexError(f"Index {k} is outside an axis of length {n}.")
    return int(k) % n


def _forward(indices: range) -> tuple[slice, slice]:
    """Split a range into a forward slice to read and a slice that restores its order."""
    if not indices:
        return slice(0, 0), slice(None)
    if indices.step > 0:
        return slice(indices.start, indices.stop, indices.step), slice(None)
    return slice(indices[-1], indices[0] + 1, -indices.step), slice(None, None, -1)


class PageCache:
    """Decoded pages, the most recently used ones, up to a number of bytes; safe to share between threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pages: OrderedDict[int, Array] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, index: int, read: Callable[[int], Array]) -> Array:
        """Return a page, reading it only if it is not kept."""
        with self._lock:
            if index in self._pages:
                self._pages.move_to_end(index)
                return self._pages[index]
        page = read(index)
        page.flags.writeable = False
        with self._lock:
            if index not in self._pages and page.nbytes <= self._limit:
                self._pages[index] = page
                self._bytes += page.nbytes
                while self._bytes > self._limit:
                    self._bytes -= self._pages.popitem(last=False)[1].nbytes
        return page


class Paged:
    """An array whose last axes are pages that are decoded one by one.

    Parameters
    ----------
    lead : tuple of int
        Lengths of the axes that count pages, slowest first.
    page : tuple of int
        Shape of a page.
    dtype : dtype
        Dtype of the decoded pages, in native byte order.
    read : callable
        `read(k)` returns page k, counted in C order over `lead`.
    part : callable or None
        `part(k, rows, columns)` returns a part of page k without decoding all of it; used for pages above a
        quarter of the cache.
    """

    def __init__(
        self,
        lead: tuple[int, ...],
        page: tuple[int, ...],
        dtype: Any,
        *,
        read: Callable[[int], Array],
        part: Callable[[int, slice, slice], Array] | None = None,
    ) -> None:
        self.shape = (*lead, *page)
        self.dtype = native(dtype)
        self._lead, self._page = lead, page
        self._read, self._part = read, part
        self._cache = PageCache(CACHE_BYTES)
        self._large = math.prod(page) * self.dtype.itemsize > CACHE_BYTES // 4

    def __getitem__(self, key: Any, /) -> Array:
        box = box_of(key, self.shape)
        n = len(self._lead)
        outer, inner = box[:n], box[n:]
        shape = [len(part) for part in box if isinstance(part, range)]
        out = np.empty(shape, self.dtype)
        counted = [part if isinstance(part, range) else (part,) for part in outer]
        for place, indices in zip(places(outer), product(*counted), strict=True):
            k = int(np.ravel_multi_index(indices, self._lead)) if n else 0
            out[place] = self._cut(k, inner)
        return out

    def _cut(self, k: int, inner: list[range | int]) -> Array:
        """Return the asked part of page k."""
        if self._large and self._part is not None:
            rows, columns = (p if isinstance(p, range) else range(p, p + 1) for p in inner[:2])
            if len(rows) * len(columns) * 4 < self._page[0] * self._page[1] and rows and columns:
                return self._cut_large(k, inner, rows, columns)
        require_room(self._page, self.dtype)
        page = self._cache.get(k, self._read)
        return page[tuple(p if isinstance(p, int) else as_slice(p) for p in inner)]

    def _cut_large(self, k: int, inner: list[range | int], rows: range, columns: range) -> Array:
        """Decode only the rows and columns that are asked for."""
        assert self._part is not None
        spans = [slice(min(r[0], r[-1]), max(r[0], r[-1]) + 1) for r in (rows, columns)]
        page = self._part(k, spans[0], spans[1])
        key: list[int | slice] = []
        for p, span in zip(inner[:2], spans, strict=True):
            key.append(0 if isinstance(p, int) else as_slice(range(p.start - span.start, p.stop - span.start, p.step)))
        return page[(*key, *(p if isinstance(p, int) else as_slice(p) for p in inner[2:]))]


def as_slice(indices: range) -> slice:
    """Return the slice that a range came from (a range that runs down to 0 stops at -1, which no slice can say)."""
    stop: int | None = indices.stop
    if indices.stop < 0:
        stop = None
    return slice(indices.start, stop, indices.step)


def places(outer: list[range | int]) -> Iterator[tuple[int, ...]]:
    """Yield the place in the result of each combination of the outer indices."""
    return product(*(range(len(part)) for part in outer if isinstance(part, range)))


class Arranged:
    """A (z, y, x) view of an array with other axes, in native byte order.

    Parameters
    ----------
    source : array-like
        Any array that is cut by integers and slices.
    where : tuple of (int or None)
        For z, y and x: the axis of `source`, or None for an axis of length 1 that `source` does not have.
    fixed : dict
        Index on every other axis of `source`; the value "mean" averages the first three samples (colour to grey).
    """

    def __init__(
        self, source: Indexable, where: tuple[int | None, int | None, int | None], fixed: dict[int, int | str]
    ) -> None:
        self.source = source
        self.dtype = native(source.dtype)
        self.shape = tuple(1 if axis is None else int(source.shape[axis]) for axis in where)
        self._where, self._fixed = where, fixed

    @property
    def blocks(self) -> tuple[int, int, int] | None:
        """Sides (z, y, x) of the blocks that the file is read by, where it has blocks."""
        sides = getattr(self.source, "blocks", None)
        if sides is None:
            return None
        z, y, x = (1 if axis is None else int(sides[axis]) for axis in self._where)
        return z, y, x

    def __getitem__(self, key: Any, /) -> Array:
        box = box_of(key, self.shape)
        require_room([len(part) for part in box if isinstance(part, range)], self.dtype)
        restore: list[int | slice] = []
        asked: dict[int, slice] = {}
        for part, axis in zip(box, self._where, strict=True):
            read, back = _forward(part) if isinstance(part, range) else (slice(part, part + 1), slice(None))
            restore.append(back if isinstance(part, range) else 0)
            if axis is not None:
                asked[axis] = read
            elif isinstance(part, range) and len(part) == 0:
                restore[-1] = slice(0, 0)
        return self._read(asked)[tuple(restore)]

    def _read(self, asked: dict[int, slice]) -> Array:
        """Read a box and bring its axes into (z, y, x) order."""
        averaged = [axis for axis, index in self._fixed.items() if index == "mean"]
        key = tuple(
            asked[axis] if axis in asked else slice(0, 3) if axis in averaged else self._fixed[axis]
            for axis in range(len(self.source.shape))
        )
        data = self.source[key]
        data = _plain(data, self.dtype)
        kept = [axis for axis in range(len(self.source.shape)) if axis in asked or axis in averaged]
        for axis in averaged:
            data = _grey(data, kept.index(axis), self.dtype)
            kept.remove(axis)
        order = [kept.index(axis) for axis in self._where if axis is not None]
        data = np.transpose(data, order)
        for i, place in enumerate(self._where):
            if place is None:
                data = np.expand_dims(data, i)
        return data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(self[:, :, :], dtype=dtype)


def _plain(data: Any, dtype: np.dtype[Any]) -> Array:
    """Return a plain native array; masked voxels become NaN in floats and 0 elsewhere."""
    if isinstance(data, np.ma.MaskedArray):
        data = data.filled(np.nan if dtype.kind == "f" else 0)
    return np.asarray(data).astype(dtype, copy=False)


def _grey(data: Array, axis: int, dtype: np.dtype[Any]) -> Array:
    """Average the samples of a colour image and keep its dtype."""
    if dtype.kind == "b":
        return np.asarray(data.any(axis=axis))
    mean = np.asarray(data.mean(axis=axis, dtype=np.float64))
    return np.asarray(np.rint(mean) if dtype.kind in "ui" else mean, dtype=dtype)
