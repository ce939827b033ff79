"""MRC volumes, where mrcfile is installed; voxel size from Angstrom."""

from __future__ import annotations

import importlib
import math
import warnings
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mitonb.errors import CorruptFileError, UnsupportedFormatError
from mitonb.io.axes import Source
from mitonb.io.bounds import check_declared, guarded
from mitonb.io.watched import Raw

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_mrc"]

IMOD_STAMP = 1146047817


def read_mrc(path: Path) -> Source:
    """Open an MRC file lazily.

    Raises
    ------
    UnsupportedFormatError
        If mrcfile is not installed.
    """
    try:
        mrcfile, utils = importlib.import_module("mrcfile"), importlib.import_module("mrcfile.utils")
    except ImportError:
        raise UnsupportedFormatError(f"{path.name} is MRC, which needs mrcfile: pip install mrcfile.") from None
    _check_header(path)
    with guarded(path.name), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with mrcfile.open(path, mode="r", header_only=True) as file:
            size, header = file.voxel_size, file.header
        dtype, shape = utils.data_dtype_from_header(header), utils.data_shape_from_header(header)
        if 0 in shape:
            raise CorruptFileError(f"{path.name} holds no voxels.")
        start = 1024 + int(header.nsymbt)
        declared = math.prod(shape) * dtype.itemsize
        check_declared(declared, path.stat().st_size - start, what=path.name, compressed=False)
        spacing = {axis: float(size[axis]) / 10 for axis in "zyx" if np.isfinite(size[axis]) and size[axis] > 0}
    axes, notes = _axes(header, len(shape))
    if dtype == np.int8 and _unsigned(header):
        dtype = np.dtype(np.uint8)
        notes += ("Bytes are unsigned, as the header says in IMOD's way.",)
    starts = [int(header[name]) for name in ("nxstart", "nystart", "nzstart")]
    if any(starts):
        notes += (f"The header starts at column, row, section {starts}: positions here count from the first voxel.",)
    notes += tuple(dict.fromkeys(f"The reader says: {' '.join(str(w.message).split())[:200]}." for w in caught))
    # Tools that do not know the pixel size write 1 Angstrom, which no EM volume of a cell has.
    if spacing and all(abs(v - 0.1) < 1e-9 for v in spacing.values()):
        spacing, notes = {}, (*notes, "The header gives 1 Angstrom, the default: taken as unknown.")
    return Source(Raw(path, dtype, shape, start), axes, spacing, notes[:5], "MRC")


def _axes(header: Any, rank: int) -> tuple[str | None, tuple[str, ...]]:
    """Return the axis letters: the header says which of x, y and z columns, rows and sections run along."""
    order = [int(header[name]) for name in ("maps", "mapr", "mapc")]
    if order[-rank:] == [3, 2, 1][-rank:] or sorted(order) != [1, 2, 3]:
        said = order != [3, 2, 1] and any(order) and sorted(order) != [1, 2, 3]
        note = (
            (f"The order of axes in the header ({order}) is none: columns are taken as x, rows as y.",) if said else ()
        )
        return {2: "yx", 3: "zyx", 4: "?zyx"}.get(rank), note
    letters = "".join(" xyz"[k] for k in order)
    if rank == 2:  # one section: its rows and columns have names of their own
        letters = letters[1:]
        return (letters, ()) if set(letters) == {"x", "y"} else ("yx", (f"The plane is cut along {letters}.",))
    return "?" * (rank - 3) + letters, (f"Sections, rows and columns are {', '.join(letters)}, as the header says.",)


def _unsigned(header: Any) -> bool:
    """Return whether bytes are unsigned: by IMOD's flag, else where the greatest value says so."""
    order: Literal["little", "big"] = "big" if header["machst"][0] == 0x11 else "little"
    extra = header["extra2"].tobytes()  # bytes 112 to 195
    if int.from_bytes(extra[40:44], order) == IMOD_STAMP:
        return not int.from_bytes(extra[44:48], order) & 1
    return float(header["dmin"]) >= 0 and 127 < float(header["dmax"]) < 256


def _check_header(path: Path) -> None:
    """Refuse an extended header that is longer than the file: mrcfile would make room for all of it."""
    with open(path, "rb") as file:
        head = file.read(1024)
    order: Literal["little", "big"] = "big" if head[212:213] == b"\x11" else "little"
    extended = int.from_bytes(head[92:96], order, signed=True)
    check_declared(max(extended, 0), path.stat().st_size - 1024, what=path.name, compressed=False)
