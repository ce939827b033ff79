"""Volumes of ids larger than memory: in a file that only this process sees, with a bounded part of it in memory."""

from __future__ import annotations

import errno
import math
import mmap
import os
import tempfile
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mitonb.errors import TooLargeError

Volume: TypeAlias = npt.NDArray[np.uint32]
LARGEST = 1 << 30
"""Bytes of ids that are kept in memory; what is larger goes into a file."""
KEPT = 128 << 20
"""Bytes that may be touched before the system may take them out of memory again."""
_AROUND = 1 << 21  # bytes around a voxel that Linux may bring in with it


class MappedArray(np.ndarray[Any, Any]):
    """An array whose voxels lie in a file, and of which at most about `KEPT` bytes stay in memory.

    To everybody it is an array: what is cut out by slices is a view. When enough was cut, the pages that are in memory
    are let go, which changes no view and no voxel: what is needed again comes from the file. Of a read-only one, cuts
    through many pages, such as planes across the rows, come as a copy that was gathered piece by piece.
    """

    _map: mmap.mmap | None = None
    _beside: Path | None = None
    _used = 0

    @classmethod
    def zeros(cls, shape: tuple[int, ...], beside: Path | None = None) -> MappedArray:
        """Return uint32 zeros in a new file, which goes with the array.

        Parameters
        ----------
        shape : tuple of int
            In voxels, such as (z, y, x).
        beside : path, optional
            A file in whose folder it shall lie; by default, and where nothing can be written, that of temporary files.

        Raises
        ------
        TooLargeError
            If the disk has no room for it.
        """
        size, refused = 4 * math.prod(shape), list[str]()
        for folder in (beside and beside.absolute().parent, Path(tempfile.gettempdir())):
            if folder is None:
                continue
            try:
                with tempfile.TemporaryFile(dir=folder, prefix=".mitonb-") as file:
                    _take_room(file, size)
                    found = mmap.mmap(file.fileno(), size)
            except OSError as error:
                refused.append(f"{error.strerror or error} in {folder}")
                continue
            array = np.ndarray.__new__(cls, shape, np.uint32, buffer=found)
            array._map, array._beside = found, beside
            return array
        raise TooLargeError(
            f"Labels of {' x '.join(map(str, shape))} voxels need a file of {size / 2**30:.1f} GiB, for which there is "
            f"no room: {'; '.join(refused)}. Free some space there, or open a part of the stack."
        )

    def __array_finalize__(self, source: npt.NDArray[Any] | None) -> None:
        self._map, self._beside = getattr(source, "_map", None), getattr(source, "_beside", None)

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else np.asarray(array)  # what is computed lies in memory

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        if self._map is None or not isinstance(found, MappedArray):
            return found
        if not np.may_share_memory(found, self):  # not cut by slices: a copy
            return np.asarray(found)
        touched = _touched(found)
        if touched > KEPT and found.nbytes < KEPT // 2 and not found.flags.writeable:
            out = np.empty(found.shape, found.dtype)
            along = int(np.argmax(np.abs(found.strides)))
            step = max(1, found.shape[along] * KEPT // touched)
            whole, parts = np.moveaxis(found.view(np.ndarray), along, 0), np.moveaxis(out, along, 0)
            for k in range(0, len(whole), step):
                parts[k : k + step] = whole[k : k + step]
                self.forget()
            return out
        root = self if self.base is None or not isinstance(self.base, MappedArray) else self.base
        root._used += touched
        if root._used > KEPT:
            root._used = touched
            self.forget()
        return found

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        if self._map is not None and isinstance(key, tuple | slice):
            self[key]  # counts

    def forget(self) -> None:
        """Let go of the pages that are in memory."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


def room_for(shape: tuple[int, ...], beside: Path | None = None) -> Volume:
    """Return uint32 zeros, in memory where they are small enough for it; errors as in `MappedArray.zeros`."""
    small = 4 * math.prod(shape) <= LARGEST
    return np.zeros(shape, np.uint32) if small else MappedArray.zeros(shape, beside)


def live_base(array: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """Return the array that can be written to and that a read-only one looks at, or None where there is none."""
    base: Any = array
    while isinstance(base, np.ndarray) and not base.flags.writeable:
        base = base.base
    return base if base is not array and type(base) in (np.ndarray, MappedArray) else None


def copy_labels(labels: Volume) -> Volume:
    """Return a copy of labels: in memory, or in a file beside the one that they lie in."""
    base = labels if isinstance(labels, MappedArray) else live_base(labels)
    if not isinstance(base, MappedArray):
        return np.array(labels)
    out = room_for(labels.shape, base._beside)
    for part, plane in zip(out, labels, strict=True):
        part[...] = plane
        if not isinstance(labels, MappedArray):  # else the cuts are counted
            base.forget()
    return out


def find_highest(labels: Volume) -> int:
    """Return the highest id of a volume; 0 for an empty one."""
    return max((int(plane.max(initial=0)) for plane in labels), default=0)


def _take_room(file: IO[bytes], size: int) -> None:
    """Make a file that long now: a full disk would end the process in the middle of an edit."""
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except (AttributeError, OSError) as error:  # not every system and not every disk can do that
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        for at in range(0, size, 1 << 20):
            file.write(bytes(min(1 << 20, size - at)))
        file.flush()


def _touched(cut: npt.NDArray[Any]) -> int:
    """Return how many bytes come into memory when a cut is read, at most."""
    axes = sorted(zip(map(abs, cut.strides), cut.shape, strict=True))
    bytes_of, span = cut.itemsize, cut.itemsize
    for stride, count in axes:
        span += stride * (count - 1)
        bytes_of = min(span + _AROUND, bytes_of * count if stride == bytes_of else max(bytes_of, _AROUND) * count)
    return int(bytes_of)
