"""Files of kept maps: one of equal records for each direction, a table of which are there, and a header."""

from __future__ import annotations

import json
import math
import os
import threading
import weakref
import zlib
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.errors import CorruptFileError, InputError
from mitonb.files import atomic_write
from mitonb.maps import Maps
from mitonb.stack import AXES, Axis

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["AxisFile", "read_header", "write_header"]

FORMAT = "mitonb-kept-maps"
HEADER = "maps.json"


def read_header(folder: Path) -> dict[str, Any] | None:
    """Return the header of a folder of kept maps; None where there are none yet.

    Raises
    ------
    InputError
        If it is a folder of something else.
    CorruptFileError
        If the header is damaged, or of a later version.
    """
    path = folder / HEADER
    if not path.exists():
        if folder.is_dir() and any(folder.iterdir()):
            raise InputError(f"{folder} holds other things than kept maps. Give a new or an empty folder.")
        return None
    try:
        found = json.loads(path.read_text("utf-8"))
        z, y, x = found["shape"]
        good = (
            found["format"] == FORMAT and found["version"] == 1 and min(z, y, x) > 0 and set(found["axes"]) <= set(AXES)
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptFileError(f"{path} is damaged ({error}). Delete the folder and segment again.") from error
    if not good:
        raise CorruptFileError(f"{path} is not a header of kept maps of this version. Choose another folder.")
    return dict(found)


def write_header(folder: Path, values: Mapping[str, Any]) -> None:
    """Write the header at once or not at all."""
    with atomic_write(folder / HEADER) as temporary:
        temporary.write_text(json.dumps({"format": FORMAT, "version": 1, **values}, indent=1), "utf-8")


class AxisFile:
    """Maps of all planes of one direction, read and written one by one.

    The files are not mapped into memory: pages of a mapped file count as memory of the process. What was cut off in
    the middle of a plane has no entry in the table, and each plane is checked against its sums when it is read.

    Parameters
    ----------
    folder : path
        Where the files are.
    axis : {"xy", "xz", "yz"}
        Which direction.
    planes : int
        How many planes there are.
    form : mapping
        `step`, `lead`, and the shapes of `semantic` and `center`; see `form_of`.
    """

    def __init__(self, folder: Path, axis: Axis, planes: int, form: Mapping[str, Any]) -> None:
        self.form = dict(form)
        semantic, center = (tuple(int(n) for n in form[name]) for name in ("semantic", "center"))
        self._shapes = (semantic, center, (2, *center))
        self._kinds = (np.uint8, np.float16, np.float16)
        sizes = [math.prod(s) * width for s, width in zip(self._shapes, (1, 2, 2), strict=True)]
        self._starts = [0, sizes[0], sizes[0] + sizes[1], sum(sizes)]
        self._lock = threading.Lock()
        self._maps = _opened(folder / f"{axis}.maps")
        self._table = _opened(folder / f"{axis}.planes")
        self._pixels = _opened(folder / f"{axis}.pixels")
        for file in (self._maps, self._table, self._pixels):
            weakref.finalize(self, file.close)
        self._name = f"{axis} plane {{}} of the maps in {folder}"
        # there (0 or 1), checksum of the semantic map, checksum of the rest
        self._there = np.zeros((planes, 3), "<u4")
        # of the pixels that the maps are of; zeros where an earlier version did not keep any
        self._digests = np.zeros((planes, 32), np.uint8)
        for file, table in ((self._table, self._there), (self._pixels, self._digests)):
            stored = file.read(table.nbytes)
            table.reshape(-1).view(np.uint8)[: len(stored)] = np.frombuffer(stored, np.uint8)

    @staticmethod
    def form_of(maps: Maps) -> dict[str, Any]:
        """Return the form of maps in their kept form."""
        return {
            "step": maps.output_stride,
            "lead": maps.pixel_offset,
            "semantic": list(maps.semantic.shape),
            "center": list(maps.center.shape),
        }

    def has(self, index: int) -> bool:
        """Return whether the maps of a plane are there."""
        return bool(self._there[index, 0])

    def digest(self, index: int) -> bytes:
        """Return what identifies the pixels that the maps of a plane are of; empty where that is not known."""
        return self._digests[index].tobytes() if self._digests[index].any() else b""

    def put(self, index: int, maps: Maps, digest: bytes = b"") -> None:
        """Write the maps of a plane, which are in their kept form; until all is written, none are there."""
        parts = [np.ascontiguousarray(a) for a in (maps.semantic, maps.center, maps.offsets)]
        sums = zlib.crc32(parts[0].data), zlib.crc32(parts[2].data, zlib.crc32(parts[1].data))
        with self._lock:
            if self.has(index):
                self._mark(index, (0, 0, 0))
            for k, part in enumerate(parts):
                _write(self._maps, index * self._starts[-1] + self._starts[k], part)
            self._digests[index] = np.frombuffer(digest.ljust(32, b"\0"), np.uint8)
            _write(self._pixels, 32 * index, self._digests[index])
            self._mark(index, (1, *sums))

    def drop(self, index: int) -> None:
        """Forget a plane."""
        with self._lock:
            self._mark(index, (0, 0, 0))

    def semantic(self, index: int) -> Any:
        """Return the semantic map of a plane alone."""
        return self._read(index, 0)

    def get(self, index: int) -> Maps:
        """Return the maps of a plane."""
        semantic = self._read(index, 0)
        center, offsets = (self._read(index, k) for k in (1, 2))
        if zlib.crc32(offsets.data, zlib.crc32(center.data)) != self._there[index, 2]:
            raise self._damaged(index)
        step = int(self.form["step"])
        rows, columns = (n - -(-m // step) for n, m in zip(center.shape, semantic.shape[1:], strict=True))
        return Maps(
            {"semantic": semantic, "center": center, "offsets": offsets},
            step,
            float(self.form.get("lead", 0.0)),
            (rows, columns),
        )

    def sync(self) -> None:
        """Make sure that all is on the disk."""
        for file in (self._maps, self._table, self._pixels):
            os.fsync(file.fileno())

    def close(self) -> None:
        """Close the files; they stay."""
        for file in (self._maps, self._table, self._pixels):
            file.close()

    @property
    def nbytes(self) -> int:
        """Bytes on disk of the planes that are there."""
        return int(self._starts[-1] * self._there[:, 0].sum(dtype=np.int64))

    def _mark(self, index: int, entry: tuple[int, int, int]) -> None:
        _write(self._table, 12 * index, np.array(entry, "<u4"))
        self._there[index] = entry

    def _read(self, index: int, part: int) -> Any:
        array = np.empty(self._shapes[part], self._kinds[part])
        with self._lock:
            self._maps.seek(index * self._starts[-1] + self._starts[part])
            count = self._maps.readinto(array.reshape(-1).view(np.uint8).data)  # type: ignore[attr-defined]
        if count != array.nbytes or (part == 0 and zlib.crc32(array.data) != self._there[index, 1]):
            raise self._damaged(index)
        return array

    def _damaged(self, index: int) -> CorruptFileError:
        return CorruptFileError(
            f"{self._name.format(index).capitalize()} was read back changed. Check the disk, delete the folder and "
            "segment again."
        )


def _write(file: IO[bytes], start: int, part: npt.NDArray[Any]) -> None:
    """Write all of an array: a nearly full disk takes a part of it without an error."""
    file.seek(start)
    rest = part.reshape(-1).view(np.uint8).data
    while len(rest):
        rest = rest[file.write(rest) :]


def _opened(path: Path) -> IO[bytes]:
    path.touch()
    return open(path, "r+b", buffering=0)
