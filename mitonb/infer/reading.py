"""Reading ahead: planes of a file come out of slabs, so that crossing planes do not read blocks again and again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.io.arrays import CACHE_BYTES
from mitonb.stack import AXES, Axis, LazyArray, Plane, Stack

if TYPE_CHECKING:
    from mitonb.recipe import Recipe

__all__ = ["Planes", "near", "reading_bytes"]

_READ_ALL = 1 << 30  # bytes
_SLAB_BYTES = 64 << 20
_TURNED_BYTES = 8 << 20
_LINE = 64  # bytes that a processor fetches at once


def near(stack: Stack, recipe: Recipe, *, stored: bool = False) -> Stack:
    """Return the same stack, nearer: whole in memory where that saves reading it again and again, else by slabs.

    With `stored` it is never read as a whole.
    """
    if isinstance(stack.data, np.ndarray):
        return stack
    data = stack.read() if _reads_all(stack, recipe, stored) else _Slabs(stack.data)
    read = Stack(data, stack.voxel_size, stack.name, stack.source, stack.intensity, stack.notes)
    read.__dict__["contrast"] = stack.contrast  # a cached property; the same voxels, read once
    return read


class Planes:
    """Planes of a stack, one after another.

    In memory, voxels of a yz plane lie a row apart: each costs as much as the line of memory around it. So some of
    these planes are turned at once, and each line is fetched a single time.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._range = range(0)
        self._block: npt.NDArray[Any] = np.zeros(0, stack.dtype)

    def plane(self, index: int, axis: Axis) -> Plane:
        """Return what `Stack.plane` returns."""
        plane, data = self._stack.plane(index, axis), self._stack.data
        if axis != "yz" or not isinstance(data, np.ndarray):
            return plane
        if index not in self._range:
            most = max(1, _TURNED_BYTES // max(1, plane.image.nbytes))
            count = max(1, min(_LINE // data.itemsize, most))
            start = index // count * count
            self._range = range(start, min(start + count, data.shape[2]))
            self._block = np.zeros(0, data.dtype)  # the old one goes before the new one comes
            self._block = np.ascontiguousarray(np.moveaxis(data[:, :, start : self._range.stop], 2, 0))
        return replace(plane, image=self._block[index - self._range.start])


def reading_bytes(stack: Stack, recipe: Recipe, *, stored: bool = False) -> tuple[int, int]:
    """Return the memory that the reader of a file keeps, and that of what is read at once until planes are done."""
    if isinstance(stack.data, np.ndarray):
        return 0, min(_TURNED_BYTES, _LINE * stack.shape[0] * stack.shape[1]) if "yz" in recipe.planes else 0
    size = _size(stack)
    slab = max(_thickness(stack.data, AXES[a]) * size // stack.shape[AXES[a]] for a in recipe.planes)
    return min(CACHE_BYTES, size), (size if _reads_all(stack, recipe, stored) else slab)


def _size(stack: Stack) -> int:
    return int(np.prod(stack.shape, dtype=np.int64)) * stack.dtype.itemsize


def _reads_all(stack: Stack, recipe: Recipe, stored: bool) -> bool:
    return not stored and recipe.planes != ("xy",) and _size(stack) <= _READ_ALL


def _thickness(data: LazyArray, axis: int) -> int:
    """Return how many planes to read at once: 64 MB, or one row of blocks where the file has blocks."""
    plane = int(np.prod(data.shape, dtype=np.int64)) // data.shape[axis] * np.dtype(data.dtype).itemsize
    planes = max(1, _SLAB_BYTES // plane)
    blocks = getattr(data, "blocks", None)
    if blocks is not None:
        block = int(blocks[axis])
        planes = max(planes // block, 1) * block if block * plane <= 4 * _SLAB_BYTES else planes
    return min(planes, data.shape[axis])


class _Slabs:
    """A lazy array that hands out planes of the slab that it read last."""

    def __init__(self, data: LazyArray) -> None:
        self._data = data
        self.shape = tuple(int(n) for n in data.shape)
        self.dtype = np.dtype(data.dtype)
        self._axis, self._range = -1, range(0)
        self._slab: npt.NDArray[Any] = np.zeros(0, self.dtype)

    def __getitem__(self, key: Any, /) -> npt.NDArray[Any]:
        place = _plane_of(key)
        if place is None:
            return np.asarray(self._data[key])
        axis, index = place
        if axis != self._axis or index not in self._range:
            thick = _thickness(self._data, axis)
            start = index // thick * thick
            self._axis, self._range = axis, range(start, min(start + thick, self.shape[axis]))
            cut = [slice(None)] * 3
            cut[axis] = slice(start, self._range.stop)
            self._slab = np.zeros(0, self.dtype)  # the old one goes before the new one comes
            self._slab = np.asarray(self._data[tuple(cut)])
        return np.ascontiguousarray(self._slab.take(index - self._range.start, axis))


def _plane_of(key: Any) -> tuple[int, int] | None:
    """Return axis and index where a key asks for one plane as `Stack.plane` does."""
    if not isinstance(key, tuple) or len(key) != 3:
        return None
    found = [(i, k) for i, k in enumerate(key) if not isinstance(k, slice)]
    whole = all(k == slice(None) for k in key if isinstance(k, slice))
    return found[0] if whole and len(found) == 1 and isinstance(found[0][1], int) else None
