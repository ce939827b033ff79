"""Scratch: the planes of ids of one direction, kept as runs until slabs of the volume are cut out of them."""

from __future__ import annotations

import contextlib
from typing import IO, TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError
from mitonb.post.runs import Runs, joined, relabelled
from mitonb.post.turning import turned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mitonb.stack import Axis

Number = TypeVar("Number", bound=np.generic)

__all__ = ["WRITE_PLANES", "Scratch", "slabs"]

WRITE_PLANES = 16
"""Planes of xz and yz that are kept together, cut at the borders of slabs."""


def slabs(depth: int, thickness: int) -> Iterator[slice]:
    """Yield the slabs of a volume, in the order of z."""
    for start in range(0, depth, thickness):
        yield slice(start, min(start + thickness, depth))


class Scratch:
    """Takes planes of one direction in their order; gives back slabs of the volume, whatever the direction.

    Runs are a small part of the voxels where objects are, and nothing where there are none. So neither the ids of a
    volume nor a turned copy of it are ever in memory.

    Parameters
    ----------
    shape : tuple of int
        (z, y, x) of the volume in voxels.
    axis : {"xy", "xz", "yz"}
        Direction of the planes.
    thickness : int
        Planes (along z) of a slab.
    file : binary file, optional
        Keeps the runs; without one they stay in memory.
    """

    def __init__(self, shape: tuple[int, int, int], axis: Axis, thickness: int, file: IO[bytes] | None = None) -> None:
        self.shape = shape
        self.axis = axis
        self._slabs = list(slabs(shape[0], thickness))
        self._file = file
        # An xy plane lies in one slab, the others pass through all of them.
        self._group = thickness if axis == "xy" else WRITE_PLANES
        self._waiting: list[Runs] = []
        self._parts: list[list[_Part]] = []

    def add(self, plane: Runs) -> None:
        """Take the next plane, of shape (1, h, w)."""
        self._waiting.append(plane)
        if len(self._waiting) == self._group:
            self.flush()

    def put(self, slab: Runs) -> None:
        """Take the next slab (planes, y, x), of a scratch of xy planes."""
        self._parts.append([_Part(slab, self._file)])

    def close(self) -> None:
        """Forget everything; the file goes."""
        self._parts.clear()
        if self._file is not None:
            self._file.close()

    def flush(self) -> None:
        """Write what waits for its group to be full; call it after the last plane."""
        if not self._waiting:
            return
        if self.axis == "xy":
            self.put(joined(self._waiting))
        else:
            self._parts.append([_Part(joined([_rows(p, s) for p in self._waiting]), self._file) for s in self._slabs])
        self._waiting = []

    def read(self, slab: int, table: npt.NDArray[np.uint32] | None = None) -> Runs:
        """Return one slab, turned to (z, y, x), each id replaced by what a table holds for it."""
        if self.axis == "xy":
            runs = self._parts[slab][0].read()
        else:
            runs = joined([parts[slab].read() for parts in self._parts])
        return turned(runs if table is None else relabelled(runs, table), self.axis)


def _rows(plane: Runs, rows: slice) -> Runs:
    """Return some rows of a plane."""
    _, h, w = plane.shape
    part = Runs((h, 1, w), plane.first, plane.start, plane.stop, plane.ids).block(rows.start, rows.stop)
    return Runs((1, rows.stop - rows.start, w), part.first, part.start, part.stop, part.ids)


@contextlib.contextmanager
def _saying() -> Iterator[None]:
    """Turn what a disk says about a temporary file into one clear error."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"The temporary file of this run, which lies beside the labels that it makes, cannot be written "
            f"({error.strerror}). Free some space, or write the labels elsewhere, and run again."
        ) from error


class _Part:
    """The runs of some planes in one slab, in memory or in a file."""

    def __init__(self, runs: Runs, file: IO[bytes] | None) -> None:
        self._shape, self._count, self._file = runs.shape, len(runs), file
        self._runs: Runs | None = None
        self._place = 0
        if file is None:
            self._runs = runs
        else:
            with _saying():
                self._place = file.seek(0, 2)
                for table in (runs.first, runs.start, runs.stop, runs.ids):
                    file.write(table.tobytes())
                file.flush()

    def read(self) -> Runs:
        if self._file is None:
            assert self._runs is not None
            return self._runs
        self._file.seek(self._place)
        rows = self._shape[0] * self._shape[1] + 1
        return Runs(
            self._shape, self._read(rows, np.int64), self._read(self._count, np.int32),
            self._read(self._count, np.int32), self._read(self._count, np.uint32),
        )  # fmt: skip

    def _read(self, count: int, kind: type[Number]) -> npt.NDArray[Number]:
        assert self._file is not None
        return np.frombuffer(self._file.read(count * np.dtype(kind).itemsize), kind)
