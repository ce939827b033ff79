"""Look at a file without reading its voxels: what `mitonb info` prints."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mitonb.errors import AxesError
from mitonb.io.axes import stated_axes
from mitonb.io.bounds import checked_path, door, size_text
from mitonb.io.formats import read_path, stated_voxel_size

if TYPE_CHECKING:
    import os

__all__ = ["VolumeInfo", "probe"]


@dataclass(frozen=True)
class VolumeInfo:
    """What the headers of an image say.

    Attributes
    ----------
    name, kind : str
        File name and format.
    shape : tuple of int
        Length of every axis in the file.
    axes : str
        One letter per axis (t, c, z, y, x, s for colour; "?" where only the user can say).
    dtype, order : str
        Kind of number, and "little", "big" or "none" (single bytes, or converted by the reader).
    voxel_size : tuple of float or None
        (z, y, x) in nm; None is unknown.
    bytes_total, chunk_bytes : int
        Size of all voxels in memory, and of the block that is decoded to read one (0: any part alone).
    notes : tuple of str
        Sentences for the user.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    axes: str
    dtype: str
    order: str
    voxel_size: tuple[float, float, float] | None
    bytes_total: int
    chunk_bytes: int
    notes: tuple[str, ...]

    def __str__(self) -> str:
        lengths = ", ".join(f"{c} {n}" for c, n in zip(self.axes, self.shape, strict=True))
        size = "unknown" if self.voxel_size is None else "{:g} x {:g} x {:g} nm (z, y, x)".format(*self.voxel_size)
        block = "any part alone" if not self.chunk_bytes else f"blocks of {size_text(self.chunk_bytes)}"
        lines = [
            f"{self.name}: {self.kind}",
            f"  shape       {lengths}",
            f"  dtype       {self.dtype}",
            f"  voxel size  {size}",
            f"  memory      {size_text(self.bytes_total)}, read in {block}",
        ]
        return "\n".join([*lines, *(f"  note        {note}" for note in self.notes)])


@door
def probe(path: str | os.PathLike[str], *, series: int | str | None = None) -> VolumeInfo:
    """Read the headers of a file or folder.

    Parameters
    ----------
    path : path
        Anything on disk that `open` takes.
    series : int or str, optional
        As for `open`.

    Raises
    ------
    InputError
        If it is no image or damaged. Axes that only the user can name are no error here: they show as "?".
    """
    where = checked_path(path)
    found = read_path(where, series)
    notes = found.notes if found.black is None else (*found.notes, "The file says that 0 is white.")
    try:
        axes = stated_axes(found, where.name)
    except AxesError as error:
        axes, notes = found.axes or "?" * len(found.shape), (*notes, str(error))
    planes = found.shape[axes.index("z")] if "z" in axes else 1
    size, remark = stated_voxel_size(found, axes, planes, where)
    dtype = np.dtype(found.data.dtype)
    return VolumeInfo(
        name=where.name,
        kind=found.kind,
        shape=found.shape,
        axes=axes,
        dtype=dtype.newbyteorder("=").name,
        order={">": "big", "|": "none", "<": "little"}.get(np.dtype(dtype).str[0], "none"),
        voxel_size=size,
        bytes_total=math.prod(found.shape) * dtype.itemsize,
        chunk_bytes=found.chunk_bytes if found.kind != "npy" else 0,
        notes=(*notes, remark) if remark else notes,
    )
