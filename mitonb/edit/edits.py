"""An Edit: what a correction does to the voxels, as runs of changed values that can be applied, reversed and packed."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from mitonb.box import Box
from mitonb.errors import StoreError

Volume = npt.NDArray[np.uint32]
Mask = npt.NDArray[np.bool_]
Shape = tuple[int, int, int]

NOWHERE = Box((0, 0, 0), (0, 0, 0))
"""Where an edit is that changes no voxel."""

_COUNT = struct.Struct("<I")
_PART = struct.Struct("<6iI")
_SHORT = 256  # bytes of an effect that no other compression makes shorter


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
    runs: Volume

    @property
    def voxels(self) -> int:
        """Number of voxels that change."""
        return int(self.runs[:, 1].sum(dtype=np.int64))

    @property
    def index(self) -> npt.NDArray[np.int64]:
        """Flat index of every voxel that changes."""
        start, length = self.runs[:, 0].astype(np.int64), self.runs[:, 1].astype(np.int64)
        return np.arange(length.sum()) + np.repeat(start - np.cumsum(length) + length, length)

    @property
    def mask(self) -> Mask:
        """Array of the box's shape, true where voxels change."""
        mask = np.zeros(self.box.size, bool)
        mask[self.index] = True
        return mask.reshape(self.box.shape)


@dataclass(frozen=True, eq=False)
class Edit:
    """One reversible change of a label volume, not yet applied.

    Attributes
    ----------
    kind : str
        The verb; see `mitonb.edit.verbs`.
    parts : tuple of Part
        What it does to the voxels; none when nothing changes.
    intent : mapping
        What was asked for, in values that JSON can hold.
    """

    kind: str
    parts: tuple[Part, ...] = ()
    intent: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, kind: str, parts: Iterable[Part], intent: Mapping[str, Any]) -> Edit:
        """Make an edit of the parts that change anything."""
        return cls(kind, tuple(p for p in parts if len(p.runs)), intent)

    @property
    def box(self) -> Box:
        """Smallest box that holds all parts."""
        return around(self.parts)

    @property
    def voxels(self) -> int:
        """Number of voxels that change."""
        return sum(p.voxels for p in self.parts)


def around(parts: tuple[Part, ...]) -> Box:
    """Return the smallest box that holds all parts; an empty box for none."""
    return reduce(Box.union, (p.box for p in parts)) if parts else NOWHERE


def part_of(
    labels: Volume, box: Box, after: Volume | int, *, where: Mask | None = None, only: int | None = None
) -> Part:
    """Describe the change that writes ids into a box.

    Parameters
    ----------
    labels : (z, y, x) uint32 array
        The volume as it is now; not changed.
    box : Box
        Inside the volume.
    after : int, or uint32 array of the box's shape
        New ids.
    where : bool array of the box's shape, optional
        Change only these voxels.
    only : int, optional
        Change only voxels that have this id now.
    """
    view = labels[box.slices]
    mask = view != after
    if where is not None:
        mask &= where
    if only is not None:
        mask &= view == only
    index, before = np.flatnonzero(mask), view[mask]
    new = np.full(len(index), after, np.uint32) if isinstance(after, int) else after[mask]
    first = np.ones(len(index), bool)
    first[1:] = (np.diff(index) != 1) | (before[1:] != before[:-1]) | (new[1:] != new[:-1])
    starts = np.flatnonzero(first)
    columns = (index[starts], np.diff(starts, append=len(index)), before[starts], new[starts])
    return Part(box, np.stack(columns, axis=1).astype(np.uint32))


def apply(labels: Volume, parts: tuple[Part, ...], *, backwards: bool = False) -> None:
    """Write an effect into a volume, in place.

    Raises
    ------
    StoreError
        If the volume does not hold what the effect says was there; then nothing is written.
    """
    old, new = (3, 2) if backwards else (2, 3)
    places = []
    for part in parts:
        view, index = labels[part.box.slices], part.index
        flat: Any = view.reshape(-1) if view.flags.c_contiguous else view.flat
        if not np.array_equal(flat[index], np.repeat(part.runs[:, old], part.runs[:, 1])):
            raise StoreError(
                "This edit does not fit the labels: other ids stand where it was made. The project is damaged, or "
                "edits were left out. Open an earlier copy of the file; nothing was changed."
            )
        places.append((flat, index))
    for part, (flat, index) in zip(parts, places, strict=True):
        flat[index] = np.repeat(part.runs[:, new], part.runs[:, 1])


# --- bytes --------------------------------------------------------------------------------------------------------


def encode(parts: tuple[Part, ...]) -> bytes:
    """Pack an effect into compressed bytes."""
    chunks = [_COUNT.pack(len(parts))]
    for part in parts:
        chunks.append(_PART.pack(*part.box.start, *part.box.stop, len(part.runs)))
        columns = part.runs.T.astype("<u4")
        # Differences of the starts repeat from row to row of a stroke, the starts themselves never do.
        columns[0, 1:] = np.diff(part.runs[:, 0])
        chunks.append(columns.tobytes())
    raw = b"".join(chunks)
    packer = zlib.compressobj(6 if len(raw) < 1 << 20 else 1, strategy=zlib.Z_FILTERED)  # small numbers: 3 % less
    return packer.compress(raw) + packer.flush()


def repack(blob: bytes) -> bytes:
    """Return a packed effect or block in as few bytes as it can have; it is of our own making."""
    return min(blob, zlib.compress(zlib.decompress(blob), 9), key=len) if len(blob) > _SHORT else blob


def decode(blob: bytes, shape: Shape) -> tuple[Part, ...]:
    """Unpack an effect for a volume of this shape.

    Raises
    ------
    StoreError
        If the bytes are no effect, or reach outside the volume.
    """
    try:
        # An edit changes a voxel once, and at the worst each is a part with a run of its own (a thousand specks).
        raw = _inflate(blob, (16 + _PART.size) * int(np.prod(shape, dtype=object)) + (1 << 20))
        parts, at = [], _COUNT.size
        for _ in range(_COUNT.unpack_from(raw)[0]):
            *corners, n = _PART.unpack_from(raw, at)
            columns = np.frombuffer(raw, "<u4", 4 * n, at + _PART.size).reshape(4, n).astype(np.int64)
            at += _PART.size + 16 * n
            columns[0] = np.cumsum(columns[0])
            box, start, ends = Box(tuple(corners[:3]), tuple(corners[3:])), columns[0], columns[0] + columns[1]
            if box.clip(shape) != box or not box.size or (n and ends[-1] > box.size):
                raise ValueError(f"it reaches outside the volume {shape}: {box}")
            if not columns[1].all() or (start[1:] < ends[:-1]).any():
                raise ValueError("its runs overlap")
            parts.append(Part(box, columns.T.astype(np.uint32)))
        if at != len(raw):
            raise ValueError("it has bytes left over")
    except (zlib.error, struct.error, ValueError) as error:
        raise StoreError(f"An effect cannot be unpacked ({error}).") from error
    return tuple(parts)


def pack(block: Volume) -> bytes:
    """Compress a block of labels: runs of equal ids, then zlib."""
    flat = block.ravel()
    first = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(first, append=len(flat)).astype("<u4")
    return zlib.compress(_COUNT.pack(len(first)) + lengths.tobytes() + flat[first].astype("<u4").tobytes(), 1)


def unpack(blob: bytes, shape: Shape) -> Volume:
    """Return the block that was packed.

    Raises
    ------
    StoreError
        If the bytes are no block of this shape.
    """
    size = shape[0] * shape[1] * shape[2]
    try:
        raw = _inflate(blob, 8 * size + _COUNT.size)
        lengths, values = np.frombuffer(raw, "<u4", offset=_COUNT.size).reshape(2, _COUNT.unpack_from(raw)[0])
        if int(lengths.sum(dtype=np.int64)) != size:
            raise ValueError(f"it has another size than its place {shape}")
    except (zlib.error, struct.error, ValueError) as error:
        raise StoreError(f"A block of labels cannot be unpacked ({error}).") from error
    return np.repeat(values.astype(np.uint32), lengths).reshape(shape)


def _inflate(blob: bytes, limit: int) -> bytes:
    """Decompress bytes that may not be more than a limit, whatever they claim."""
    stream = zlib.decompressobj()
    raw = stream.decompress(blob, limit)
    if not stream.eof:
        raise ValueError(f"it is cut off, or unpacks to more than {limit} bytes")
    return raw


def digest(labels: Volume) -> str:
    """Return a checksum of labels: equal arrays have equal ones."""
    state = blake2b(str(list(labels.shape)).encode(), digest_size=16)
    for plane in labels:
        state.update(np.ascontiguousarray(plane, "<u4").data)
    return state.hexdigest()
