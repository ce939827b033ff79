"""MRC volumes, where mrcfile is installed: mapped into memory, voxel size from Angstrom."""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Literal

import numpy as np

from mitonb.errors import CorruptFileError, UnsupportedFormatError
from mitonb.io.axes import Source
from mitonb.io.bounds import check_declared, guarded

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_mrc"]


def read_mrc(path: Path) -> Source:
    """Map an MRC file into memory.

    Raises
    ------
    UnsupportedFormatError
        If mrcfile is not installed.
    """
    try:
        mrcfile = importlib.import_module("mrcfile")
    except ImportError:
        raise UnsupportedFormatError(f"{path.name} is MRC, which needs mrcfile: pip install mrcfile.") from None
    _check_header(path)
    with guarded(path.name), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        file = mrcfile.mmap(path, mode="r")
        data, size = file.data, file.voxel_size
        if data is None:
            raise CorruptFileError(f"{path.name} holds no voxels.")
        spacing = {axis: float(size[axis]) / 10 for axis in "zyx" if np.isfinite(size[axis]) and size[axis] > 0}
    axes = {2: "yx", 3: "zyx", 4: "?zyx"}.get(data.ndim)
    notes = tuple(dict.fromkeys(f"The reader says: {' '.join(str(w.message).split())[:200]}." for w in caught))
    # Tools that do not know the pixel size write 1 Angstrom, which no EM volume of a cell has.
    if spacing and all(abs(v - 0.1) < 1e-9 for v in spacing.values()):
        spacing, notes = {}, (*notes, "The header gives 1 Angstrom, the default: taken as unknown.")
    return Source(np.asarray(data), axes, spacing, notes[:5], "MRC")


def _check_header(path: Path) -> None:
    """Refuse an extended header that is longer than the file: mrcfile would make room for all of it."""
    with open(path, "rb") as file:
        head = file.read(1024)
    order: Literal["little", "big"] = "big" if head[212:213] == b"\x11" else "little"
    extended = int.from_bytes(head[92:96], order, signed=True)
    check_declared(max(extended, 0), path.stat().st_size - 1024, what=path.name, compressed=False)
