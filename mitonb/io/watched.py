"""Files that stay on disk while their voxels are read: each read makes sure that they are what was opened."""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from mitonb.errors import ChangedFileError, CorruptFileError
from mitonb.io.bounds import guarded
from mitonb.io.lazy import Array, Indexable, as_slice, box_of, places

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Raw", "Stamp", "Watched", "changed", "stamp_of", "watched"]

Stamp = tuple[int, int, int]
"""Size, time of the last change and number of a file on its disk."""


def stamp_of(path: Path | os.stat_result | None) -> Stamp | None:
    """Return what tells a file from what another program makes of it; None where there is none."""
    try:
        found = os.stat(path) if isinstance(path, Path) else path
    except OSError:
        return None
    return None if found is None else (found.st_size, found.st_mtime_ns, found.st_ino)


def changed(name: str) -> ChangedFileError:
    """Return the error that says that a file is not what was opened."""
    return ChangedFileError(
        f"{name} has changed since it was opened: another program wrote, replaced or removed it, and its voxels may be "
        "others now. Open it again when that program is done. Labels and corrections are kept; save them as usual."
    )


class Watched:
    """A lazy array whose files must not change between opening and reading.

    Parameters
    ----------
    data : lazy array
        What reads them.
    files : sequence of (Path, Stamp)
        One file, or one for each index of the first axis, and how they were before their headers were read.
    """

    def __init__(self, data: Indexable, files: Sequence[tuple[Path, Stamp | None]]) -> None:
        self.shape = tuple(int(n) for n in data.shape)
        self.dtype = np.dtype(data.dtype)
        self.blocks = getattr(data, "blocks", None)
        self._data, self._files = data, files

    def __getitem__(self, key: Any, /) -> Any:
        self._check(key)
        try:
            return self._data[key]
        finally:
            # A change in the middle spoils what was read, and is the reason where the reader failed.
            self._check(key)

    def _check(self, key: Any) -> None:
        along = box_of(key, self.shape)[0] if len(self._files) > 1 else 0
        for k in along if isinstance(along, range) else (along,):
            path, stamp = self._files[k]
            if stamp_of(path) != stamp:
                raise changed(path.name)


def watched(data: Any, files: Sequence[tuple[Path, Stamp | None]]) -> Any:
    """Watch the files of a lazy array; what is in memory already needs none of it."""
    return data if data is None or isinstance(data, np.ndarray) else Watched(data, files)


class Raw:
    """Uncompressed voxels in one piece of a file, read part by part.

    The file is not mapped into memory: where another program makes it shorter, a mapped read ends the process.

    Parameters
    ----------
    path : Path
        The file.
    dtype : dtype
        As it is in the file.
    shape : tuple of int
        Length of every axis.
    offset : int
        Bytes before the first voxel.
    fortran : bool
        Whether the first axis is the fastest.
    """

    def __init__(self, path: Path, dtype: Any, shape: Sequence[int], offset: int = 0, *, fortran: bool = False) -> None:
        self.shape = tuple(int(n) for n in shape)
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self._path, self._offset, self._fortran = path, offset, fortran

    def __getitem__(self, key: Any, /) -> Array:
        box = box_of(key, self.shape)
        with guarded(self._path.name):
            return self._read(box[::-1], self.shape[::-1]).T if self._fortran else self._read(box, self.shape)

    def _read(self, box: list[range | int], shape: tuple[int, ...]) -> Array:
        """Read whole rows, page by page: a row of a page is the least that is read of a disk anyway."""
        out = np.empty([len(part) for part in box if isinstance(part, range)], self.dtype)
        if out.size == 0:
            return out
        sides = (1,) * (2 - len(shape)) + shape
        whole: list[range | int] = [*[0] * (2 - len(shape)), *box]
        outer, rows, columns = whole[:-2], whole[-2], whole[-1]
        first, last = (rows, rows) if isinstance(rows, int) else sorted((rows[0], rows[-1]))
        part = np.empty((last - first + 1, sides[-1]), self.dtype)
        down = 0 if isinstance(rows, int) else as_slice(range(rows.start - first, rows.stop - first, rows.step))
        across = columns if isinstance(columns, int) else as_slice(columns)
        counted = [p if isinstance(p, range) else (p,) for p in outer]
        with open(self._path, "rb", buffering=0) as file:
            for place, indices in zip(places(outer), product(*counted), strict=True):
                page = int(np.ravel_multi_index(indices, sides[:-2])) if outer else 0
                file.seek(self._offset + (page * sides[-2] + first) * sides[-1] * self.dtype.itemsize)
                filled(file, part, self._path.name)
                out[place] = part[down, across]
        return out


def filled(file: IO[bytes], part: Array, what: str) -> None:
    """Fill an array with what comes next in a file."""
    view = part.reshape(-1).view(np.uint8).data
    done = 0
    while done < len(view):
        count = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise CorruptFileError(f"{what} is truncated. Copy or export it again.")
        done += count
