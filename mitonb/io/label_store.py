"""Labels written slab by slab into an OME-Zarr, for volumes that never are in memory as a whole."""

from __future__ import annotations

import contextlib
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.errors import CorruptFileError, InputError
from mitonb.files import atomic_write, explain_write
from mitonb.io import ome_zarr_writing
from mitonb.io.formats import read_back
from mitonb.io.outputs import check_output
from mitonb.io.writing import Saving

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mitonb.stack import VoxelSize

__all__ = ["LabelStore", "store_path"]

ENDINGS = (".ome.zarr", ".zarr")


def store_path(path: str | os.PathLike[str], *, overwrite: bool = False, source: str | None = None) -> Path:
    """Return the path of a store for labels, after the checks that need no writing.

    Raises
    ------
    InputError
        If the path does not end in .ome.zarr, is the image itself, is there already, or cannot be written.
    """
    target = check_output(path, overwrite=overwrite, apart_from=() if source is None else (source,))
    if not target.name.lower().endswith(ENDINGS):
        raise InputError(
            f"Labels are streamed into OME-Zarr, got {target.name!r}. Let the name end in .ome.zarr, or segment into "
            "memory (without out=) and save the labels."
        )
    return target


class LabelStore:
    """An OME-Zarr that takes labels slab by slab; it gets its name only when it is whole.

    Use `with LabelStore.at(...) as store`, write all slabs in the order of z, then drain `store.finish(...)`. If the
    block ends early, nothing is left.

    Parameters
    ----------
    folder : path
        Where to write; must not exist.
    target : path
        What it becomes.
    shape : tuple of int
        (z, y, x) in voxels.
    voxel_size : tuple of float or None
        (z, y, x) in nm.
    name : str
        Shown to the user.
    """

    def __init__(
        self,
        folder: Path,
        target: Path,
        shape: tuple[int, int, int],
        voxel_size: VoxelSize | None,
        name: str,
    ) -> None:
        self.folder = folder
        self.target = target
        folder.mkdir()
        self._store = ome_zarr_writing.create(folder / "0", shape, np.dtype(np.uint32), "0.4")
        self._saving = Saving(self._store, voxel_size, name, True)
        self.sums: list[tuple[slice, int]] = []
        """Each slab that was written, with its checksum."""

    @classmethod
    @contextlib.contextmanager
    def at(
        cls, target: Path, shape: tuple[int, int, int], voxel_size: VoxelSize | None, name: str
    ) -> Iterator[LabelStore]:
        """Open a store that becomes `target` at the end of the block, after it was read back."""
        made: list[LabelStore] = []
        with atomic_write(target, lambda path: _check(path, made[0].sums)) as folder:
            with explain_write(target):
                made.append(cls(folder, target, shape, voxel_size, name))
            yield made[0]

    def write(self, top: int, slab: npt.NDArray[np.uint32]) -> None:
        """Write the planes from `top` on."""
        where = slice(top, top + len(slab))
        with explain_write(self.target):
            self._store[where].write(np.ascontiguousarray(slab)).result()
        self.sums.append((where, zlib.crc32(np.ascontiguousarray(slab).data)))

    def finish(self, record: Mapping[str, Any] | None) -> Iterator[int]:
        """Write the lower resolutions and the metadata; yield after each part."""
        with explain_write(self.target):
            yield from ome_zarr_writing.finishing(self.folder, self._store, self._saving, record)


def _check(path: Path, sums: list[tuple[slice, int]]) -> None:
    """Read a store back, and compare it with what was written."""
    read_back(path)  # as any reader would open it
    found = ome_zarr_writing.reopened(path)
    for where, want in sums:
        if zlib.crc32(np.ascontiguousarray(found[where].read().result()).data) != want:
            raise CorruptFileError(
                f"Saving failed: planes {where.start} to {where.stop - 1} were read back changed. Check the disk."
            )
