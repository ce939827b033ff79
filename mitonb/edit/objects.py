"""The table of objects: how many voxels each id has and a box around them, kept up to date edit by edit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fastremap
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mitonb.box import Box
from mitonb.edit.ops import pieces

if TYPE_CHECKING:
    from mitonb.edit.effects import Part, Volume

__all__ = ["ObjectTable"]


class ObjectTable:
    """Voxel counts and boxes of all objects.

    Counts are exact. A box always holds its object; erasing does not shrink it.

    Parameters
    ----------
    labels : (z, y, x) uint32 array
        Read once.
    """

    def __init__(self, labels: Volume) -> None:
        self.counts: dict[int, int] = {}
        self.boxes: dict[int, Box] = {}
        z, y, x = labels.shape
        for piece in pieces(Box((0, 0, 0), (z, y, x))):
            self._add(labels[piece.slices], piece)

    def update(self, parts: tuple[Part, ...], *, backwards: bool = False) -> None:
        """Follow an effect that was applied to the labels."""
        old, new = (3, 2) if backwards else (2, 3)
        for part in parts:
            lengths = part.runs[:, 1].astype(np.int64)
            starts, stops = _bounds(part)
            for column, sign in ((new, 1), (old, -1)):
                ids, where = np.unique(part.runs[:, column], return_inverse=True)
                order = np.argsort(where.ravel(), kind="stable")
                first = np.searchsorted(where.ravel()[order], np.arange(len(ids)))
                counts, low, high = (
                    reduce.reduceat(values[order], first)
                    for reduce, values in ((np.add, lengths), (np.minimum, starts), (np.maximum, stops))
                )
                for i, n, start, stop in zip(*(a.tolist() for a in (ids, counts, low, high)), strict=True):
                    self._change(i, sign * n, Box(tuple(start), tuple(stop)))

    def _change(self, id: int, voxels: int, box: Box) -> None:
        if id == 0:
            return
        count = self.counts.get(id, 0) + voxels
        if voxels > 0:
            self.boxes[id] = self.boxes[id].union(box) if id in self.boxes else box
        if count:
            self.counts[id] = count
        else:
            self.counts.pop(id, None)
            self.boxes.pop(id, None)

    def _add(self, block: Volume, place: Box) -> None:
        """Add the objects of a piece of the volume."""
        if not block.any():
            return
        # Small consecutive numbers first: the table of boxes is as long as the largest number.
        small, names = fastremap.renumber(block, preserve_zero=True, in_place=False)
        counts = np.bincount(small.ravel())
        found = ndimage.find_objects(small)
        for name, number in names.items():
            if name:
                slices = found[number - 1]
                start, stop = (tuple(o + getattr(s, e) for o, s in zip(place.start, slices, strict=True))
                               for e in ("start", "stop"))  # fmt: skip
                self._change(int(name), int(counts[int(number)]), Box(start, stop))


def _bounds(part: Part) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return first voxel and end (exclusive) of the box around each run of a part, both (n, 3), in the volume."""
    runs = part.runs[:, :2].astype(np.int64)
    first = np.stack(np.unravel_index(runs[:, 0], part.box.shape), 1)
    last = np.stack(np.unravel_index(runs.sum(1) - 1, part.box.shape), 1)
    # A run that goes on in the next row, or in the next plane, may fill rows or planes from end to end.
    for axis in (0, 1):
        goes_on = first[:, axis] != last[:, axis]
        first[goes_on, axis + 1 :] = 0
        last[goes_on, axis + 1 :] = np.array(part.box.shape[axis + 1 :]) - 1
    return first + part.box.start, last + 1 + np.array(part.box.start)
