"""The table of objects: how many voxels each id has and a box around them, kept up to date edit by edit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fastremap
import numpy as np
from scipy import ndimage

from mitonb.box import Box
from mitonb.edit.ops import pieces

if TYPE_CHECKING:
    from mitonb.edit.effects import Part, Volume

__all__ = ["ObjectTable"]


class ObjectTable:
    """Voxel counts and boxes of all objects.

    Counts are exact. A box always holds its object and is exact right after the table was built; erasing does
    not shrink it.

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
            for column, sign in ((new, 1), (old, -1)):
                ids, where = np.unique(part.runs[:, column], return_inverse=True)
                for i, n in zip(ids.tolist(), np.bincount(where.ravel(), lengths).tolist(), strict=True):
                    self._change(i, sign * int(n), part.box)

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
