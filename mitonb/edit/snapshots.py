"""Snapshots: labels written into a store block by block, so that opening it need not replay the whole journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mitonb.edit.blocks import pack, unpack
from mitonb.errors import TooLargeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mitonb.edit.blocks import Grid
    from mitonb.edit.effects import Part, Volume
    from mitonb.edit.store import Store

__all__ = ["Snapshots", "restored"]

# A snapshot after this many edits or bytes of effects keeps opening fast; it costs one slower edit in so many.
_EDITS = 2000
_BYTES = 32 << 20


class Snapshots:
    """What of some labels the last snapshot in their store does not know yet.

    Parameters
    ----------
    labels : (z, y, x) uint32 array
        The labels as of the last edit.
    grid : Grid
        Their blocks in the store.
    """

    def __init__(self, labels: Volume, grid: Grid) -> None:
        self._labels, self._grid = labels, grid
        self.forget()

    def follow(self, parts: tuple[Part, ...], size: int) -> None:
        """Remember that an effect, packed in so many bytes, was applied to the labels."""
        self._changed |= self._grid.touched(parts)
        if parts:
            self._edits += 1
            self._bytes += size

    def forget(self) -> None:
        """Begin again: the store has all labels."""
        self._changed: set[int] = set()
        self._edits = self._bytes = 0

    @property
    def needed(self) -> bool:
        """True when the store lacks anything."""
        return bool(self._changed)

    @property
    def due(self) -> bool:
        """True when replaying what the store lacks would make opening slow."""
        return self._edits >= _EDITS or self._bytes >= _BYTES

    def take(self, store: Store) -> None:
        """Write the blocks that changed.

        Raises
        ------
        StoreError
            If they cannot be written; the store is then as before.
        """
        if store.path:
            store.snapshot({n: pack(self._labels[self._grid.box(n).slices]) for n in sorted(self._changed)})
        self.forget()

    def blocks(self) -> Iterator[bytes]:
        """Pack all labels, block by block."""
        return (pack(self._labels[box.slices]) for _, box in self._grid.boxes())


def restored(store: Store, grid: Grid, memory: int | None) -> Volume:
    """Return the labels of the last snapshot.

    Raises
    ------
    TooLargeError
        If they need more than so many bytes of memory.
    StoreError
        If a block is damaged or missing.
    """
    store.block(len(grid) - 1)  # a shape that was tampered with shows here, before memory is taken for it
    need = 4 * grid.shape[0] * grid.shape[1] * grid.shape[2]
    if memory is not None and need > memory:
        raise TooLargeError(
            f"The labels {grid.shape} of {store.path} need {need / 2**30:.1f} GiB of memory, {memory / 2**30:.1f} GiB "
            "may be used. Close other notebooks, or open the project on a larger machine."
        )
    labels = np.empty(grid.shape, np.uint32)
    for number, box in grid.boxes():
        labels[box.slices] = unpack(store.block(number), box.shape)
    return labels
