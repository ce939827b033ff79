"""Blocks: a label volume cut into pieces that are compressed and checked one by one; checksums of volumes."""

from __future__ import annotations

import itertools
import json
import struct
import zlib
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from mitonb.box import Box
from mitonb.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mitonb.edit.effects import Part, Volume

__all__ = ["Grid", "digest", "pack", "unpack"]

Shape = tuple[int, int, int]
_HEAD = struct.Struct("<I")


class Grid:
    """The blocks of a volume, numbered in (z, y, x) order.

    Parameters
    ----------
    shape : tuple of int
        (z, y, x) of the volume.
    block : tuple of int
        (z, y, x) of a whole block; those at the far faces are smaller.
    """

    def __init__(self, shape: Shape, block: Shape = (16, 256, 256)) -> None:
        self.shape, self.block = shape, block
        z, y, x = (-(-n // b) for n, b in zip(shape, block, strict=True))
        self.counts = (z, y, x)

    def __len__(self) -> int:
        return self.counts[0] * self.counts[1] * self.counts[2]

    def box(self, number: int) -> Box:
        """Return where a block is."""
        at = np.unravel_index(number, self.counts)
        z, y, x = (int(i) * b for i, b in zip(at, self.block, strict=True))
        dz, dy, dx = self.block
        return Box((z, y, x), (z + dz, y + dy, x + dx)).clip(self.shape)

    def boxes(self) -> Iterator[tuple[int, Box]]:
        """Iterate over the numbers and places of all blocks."""
        return ((i, self.box(i)) for i in range(len(self)))

    def touched(self, parts: Iterable[Part]) -> set[int]:
        """Return the numbers of the blocks that an effect may have changed."""
        numbers: set[int] = set()
        for part in parts:
            ranges = (
                range(a // b, -(-e // b)) for a, e, b in zip(part.box.start, part.box.stop, self.block, strict=True)
            )
            numbers.update(int(np.ravel_multi_index(at, self.counts)) for at in itertools.product(*ranges))
        return numbers


def pack(block: Volume) -> bytes:
    """Compress a block: runs of equal ids, then zlib."""
    flat = block.ravel()
    first = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(first, append=len(flat)).astype("<u4")
    raw = _HEAD.pack(len(first)) + lengths.tobytes() + flat[first].astype("<u4").tobytes()
    return zlib.compress(raw, 1)


def unpack(blob: bytes, shape: Shape) -> Volume:
    """Return the block that was packed.

    Raises
    ------
    StoreError
        If the bytes are no block of this shape.
    """
    size = shape[0] * shape[1] * shape[2]
    try:
        stream = zlib.decompressobj()
        raw = stream.decompress(blob, 8 * size + _HEAD.size)
        (n,) = _HEAD.unpack_from(raw)
        if not stream.eof or len(raw) != _HEAD.size + 8 * n:
            raise StoreError(f"A block of labels has {len(raw)} bytes, not what its header says.")
        lengths = np.frombuffer(raw, "<u4", n, _HEAD.size)
        values = np.frombuffer(raw, "<u4", n, _HEAD.size + 4 * n)
    except (zlib.error, struct.error, ValueError) as error:
        raise StoreError(f"A block of labels cannot be unpacked ({error}).") from error
    if int(lengths.sum(dtype=np.int64)) != size:
        raise StoreError(f"A block of labels has another size than its place {shape}.")
    return np.repeat(values.astype(np.uint32), lengths).reshape(shape)


def digest(labels: Volume) -> str:
    """Return a checksum of labels: equal arrays have equal ones."""
    state = blake2b(json.dumps(labels.shape).encode(), digest_size=16)
    for plane in labels:
        state.update(np.ascontiguousarray(plane, "<u4").data)
    return state.hexdigest()
