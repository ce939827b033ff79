"""Scratch: the planes of ids of one direction, kept as runs until slabs of the volume are cut out of them."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mitonb.infer.kept import plane_shape
from mitonb.post.coding import Runs, draw, encode
from mitonb.stack import AXES, Axis

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["WRITE_PLANES", "Scratch", "slabs"]

WRITE_PLANES = 16
"""Planes that are drawn together: a cache line holds 16 ids, and yz planes touch one per pixel."""

Volume = npt.NDArray[np.uint32]


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
        self._width = plane_shape(shape, axis)[1]
        self._file = file
        # An xy plane lies in one slab, the others pass through all of them.
        self._group = thickness if axis == "xy" else WRITE_PLANES
        self._waiting: list[list[Runs]] = []
        self._parts: list[list[_Part]] = []

    def add(self, plane: Volume) -> None:
        """Take the next (h, w) plane."""
        runs = encode(plane)
        if self.axis == "xy":
            self._waiting.append([runs])
        else:
            tops = np.array([s.start * self._width for s in self._slabs[1:]], np.uint32)
            # Copies, so that what is written does not keep the whole table of a plane alive.
            self._waiting.append([p.copy() for p in np.split(runs, np.searchsorted(runs[:, 0], tops))])
        if len(self._waiting) == self._group:
            self.flush()

    def put(self, where: slice, block: Volume) -> None:
        """Take the next slab (planes, y, x), of a scratch of xy planes."""
        for plane in block:
            self.add(plane)
        if where.stop == self.shape[0]:
            self.flush()

    def close(self) -> None:
        """Forget everything; the file goes."""
        self._parts.clear()
        if self._file is not None:
            self._file.close()

    def flush(self) -> None:
        """Write what waits for its group to be full; call it after the last plane."""
        if self._waiting:
            self._parts.append([_Part(pieces, self._file) for pieces in zip(*self._waiting, strict=True)])
            self._waiting = []

    def read(self, slab: int, table: npt.NDArray[np.uint32] | None = None) -> Volume:
        """Return one slab, (planes, y, x) uint32, each id replaced by what a table holds for it."""
        where = self._slabs[slab]
        out = np.zeros((where.stop - where.start, *self.shape[1:]), np.uint32)
        turned = np.moveaxis(out, AXES[self.axis], 0)
        if self.axis == "xy":
            self._parts[slab][0].draw(turned, 0, table)
            return out
        for k, parts in enumerate(self._parts):
            parts[slab].draw(turned[k * WRITE_PLANES : (k + 1) * WRITE_PLANES], where.start, table)
        return out


class _Part:
    """The runs of some planes in one slab, in memory or in a file."""

    def __init__(self, pieces: tuple[Runs, ...], file: IO[bytes] | None) -> None:
        self._ends = np.cumsum([len(p) for p in pieces])
        self._file = file
        self._runs: Runs | None = None
        self._place = 0
        runs = np.concatenate(pieces)
        if file is None:
            self._runs = runs
        else:
            self._place = file.seek(0, 2)
            file.write(runs.tobytes())

    def draw(self, out: Volume, top: int, table: npt.NDArray[np.uint32] | None) -> None:
        if self._ends[-1]:
            draw(self._read(), self._ends, out, top=top, table=table)

    def _read(self) -> Runs:
        if self._file is None:
            assert self._runs is not None
            return self._runs
        self._file.seek(self._place)
        return np.frombuffer(self._file.read(12 * int(self._ends[-1])), np.uint32).reshape(-1, 3)
