"""Effects: what an edit did to the voxels, as runs of changed values that can be applied, reversed and stored."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.box import Box
from mitonb.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NOWHERE", "Edit", "Part", "Volume", "apply", "changed", "decode", "encode", "part_of"]

Volume = npt.NDArray[np.uint32]
Runs = npt.NDArray[np.uint32]
Index = npt.NDArray[np.int64]

NOWHERE = Box((0, 0, 0), (0, 0, 0))
"""Where an edit is that changes no voxel."""

_HEAD = struct.Struct("<I")
_PART = struct.Struct("<6iI")


@dataclass(frozen=True, eq=False)
class Part:
    """Changes inside one box.

    Attributes
    ----------
    box : Box
        Where the changes are; every index below counts inside it.
    runs : (n, 4) uint32 array
        Rows of (start, length, before, after): `length` voxels from `start` on the flat (z, y, x) index of the
        box had the id `before` and get the id `after`. Rows are in ascending order of `start`.
    """

    box: Box
    runs: Runs

    @property
    def voxels(self) -> int:
        """Number of voxels that change."""
        return int(self.runs[:, 1].sum(dtype=np.int64))


@dataclass(frozen=True, eq=False)
class Edit:
    """One reversible change of a label volume, not yet applied.

    Attributes
    ----------
    kind : str
        The verb: "paint", "erase", "fill", "merge", "delete", "put_plane", "adopt_plane", "adopt", "set_voxel_size".
    box : Box
        Smallest box that holds all parts; empty when nothing changes.
    parts : tuple of Part
        The effect on the voxels.
    intent : mapping
        What was asked for, in values that JSON can hold.
    """

    kind: str
    box: Box
    parts: tuple[Part, ...] = ()
    intent: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, kind: str, parts: list[Part], intent: Mapping[str, Any]) -> Edit:
        """Make an edit of the parts that change anything."""
        kept = tuple(p for p in parts if len(p.runs))
        return cls(kind, around(kept), kept, intent)

    @property
    def voxels(self) -> int:
        """Number of voxels that change."""
        return sum(p.voxels for p in self.parts)

    @property
    def empty(self) -> bool:
        """True when no voxel changes."""
        return not self.parts


def around(parts: tuple[Part, ...]) -> Box:
    """Return the smallest box that holds all parts; an empty box for none."""
    if not parts:
        return NOWHERE
    box = parts[0].box
    for part in parts[1:]:
        box = box.union(part.box)
    return box


def part_of(labels: Volume, box: Box, index: Index, after: Volume | int, *, only: int | None = None) -> Part:
    """Describe the change that writes `after` at some voxels of a box.

    Parameters
    ----------
    labels : (z, y, x) uint32 array
        The volume as it is now; not changed.
    box : Box
        Inside the volume.
    index : (n,) int array
        Flat (z, y, x) index inside the box, ascending, without repeats.
    after : int, or uint32 array of the box's shape
        New ids.
    only : int, optional
        Change only voxels that have this id now.
    """
    before = _gather(labels[box.slices], index)
    new = np.full(len(index), after, np.uint32) if isinstance(after, int) else _gather(after, index)
    keep = before != new
    if only is not None:
        keep &= before == only
    if not keep.all():
        index, before, new = index[keep], before[keep], new[keep]
    return Part(box, _runs(index, before, new))


def _runs(index: Index, before: Volume, after: Volume) -> Runs:
    """Join neighbouring voxels with the same change."""
    if not len(index):
        return np.zeros((0, 4), np.uint32)
    new = np.ones(len(index), bool)
    new[1:] = (np.diff(index) != 1) | (before[1:] != before[:-1]) | (after[1:] != after[:-1])
    first = np.flatnonzero(new)
    lengths = np.diff(first, append=len(index))
    return np.stack([index[first], lengths, before[first], after[first]], axis=1).astype(np.uint32)


def changed(part: Part) -> npt.NDArray[np.bool_]:
    """Return a mask of the box's shape, true where the part changes voxels."""
    mask = np.zeros(part.box.size, bool)
    mask[_index(part.runs)] = True
    return mask.reshape(part.box.shape)


def apply(labels: Volume, parts: tuple[Part, ...], *, backwards: bool = False) -> None:
    """Write an effect into a volume, in place.

    Raises
    ------
    StoreError
        If the volume does not hold what the effect says was there; then nothing is written.
    """
    old, new = (3, 2) if backwards else (2, 3)
    places = [(labels[part.box.slices], _index(part.runs)) for part in parts]
    for part, (view, index) in zip(parts, places, strict=True):
        if not np.array_equal(_gather(view, index), np.repeat(part.runs[:, old], part.runs[:, 1])):
            raise StoreError(
                "This edit does not fit the labels: other ids stand where it was made. The project is damaged, or "
                "edits were left out. Open an earlier copy of the file; nothing was changed."
            )
    for part, (view, index) in zip(parts, places, strict=True):
        _scatter(view, index, np.repeat(part.runs[:, new], part.runs[:, 1]))


def _index(runs: Runs) -> Index:
    """Return the flat index of every voxel of the runs."""
    start, length = runs[:, 0].astype(np.int64), runs[:, 1].astype(np.int64)
    ends = np.cumsum(length)
    index: Index = np.arange(length.sum()) + np.repeat(start - (ends - length), length)
    return index


def _gather(view: Volume, index: Index) -> Volume:
    """Return the values at a flat index of a view."""
    if view.flags.c_contiguous or _dense(view, index):
        return view.reshape(-1)[index]
    return view[np.unravel_index(index, view.shape)]


def _scatter(view: Volume, index: Index, values: Volume) -> None:
    """Write values at a flat index of a view."""
    if view.flags.c_contiguous:
        view.reshape(-1)[index] = values
    elif _dense(view, index):
        flat = view.ravel()
        flat[index] = values
        view[...] = flat.reshape(view.shape)
    else:
        view[np.unravel_index(index, view.shape)] = values


def _dense(view: Volume, index: Index) -> bool:
    """Tell whether copying the whole view is cheaper than three indices per voxel."""
    return len(index) * 8 > view.size


def encode(parts: tuple[Part, ...]) -> bytes:
    """Pack an effect into compressed bytes."""
    chunks = [_HEAD.pack(len(parts))]
    for part in parts:
        chunks.append(_PART.pack(*part.box.start, *part.box.stop, len(part.runs)))
        columns = part.runs.T.astype("<u4")
        # Differences of the starts repeat from row to row of a stroke, the starts themselves never do.
        columns[0, 1:] = np.diff(part.runs[:, 0])
        chunks.append(columns.tobytes())
    raw = b"".join(chunks)
    return zlib.compress(raw, 6 if len(raw) < 1 << 20 else 1)


def decode(blob: bytes, shape: tuple[int, int, int]) -> tuple[Part, ...]:
    """Unpack an effect for a volume of this shape.

    Raises
    ------
    StoreError
        If the bytes are no effect, or reach outside the volume.
    """
    # An edit changes a voxel once, and at the worst each is a part with a run of its own (a thousand specks deleted).
    limit = (16 + _PART.size) * int(np.prod(shape, dtype=object)) + (1 << 20)
    try:
        stream = zlib.decompressobj()
        raw = stream.decompress(blob, limit)
        if not stream.eof:
            raise StoreError(f"An effect unpacks to more than {limit} bytes, more than the volume can change.")
        parts, at = [], _HEAD.size
        for _ in range(_HEAD.unpack_from(raw)[0]):
            *corners, n = _PART.unpack_from(raw, at)
            at += _PART.size
            columns = np.frombuffer(raw, "<u4", 4 * n, at).reshape(4, n).astype(np.uint32)
            at += 16 * n
            parts.append(_checked(Part(Box(tuple(corners[:3]), tuple(corners[3:])), columns.T), shape))
    except (zlib.error, struct.error, ValueError) as error:
        raise StoreError(f"An effect cannot be unpacked ({error}).") from error
    if at != len(raw):
        raise StoreError("An effect has bytes left over.")
    return tuple(parts)


def _checked(part: Part, shape: tuple[int, int, int]) -> Part:
    """Return the part with absolute starts, or refuse runs that leave the box or the volume."""
    if part.box.clip(shape) != part.box or part.box.size == 0:
        raise StoreError(f"An effect reaches outside the volume {shape}: {part.box}.")
    start = np.cumsum(part.runs[:, 0].astype(np.int64))
    length = part.runs[:, 1].astype(np.int64)
    ends = start + length
    if len(start) and ((length < 1).any() or (start[1:] < ends[:-1]).any() or ends[-1] > part.box.size):
        raise StoreError("An effect has runs that overlap or leave their box.")
    runs = part.runs.copy()
    runs[:, 0] = start
    return Part(part.box, runs)
