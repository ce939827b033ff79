"""Open image volumes: files, folders and arrays become a lazy Stack."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from mitonb.errors import InputError, UnsupportedFormatError
from mitonb.io.arrays import read_array, read_npy, read_npz
from mitonb.io.axes import Channel, Source, arrange
from mitonb.io.bounds import checked_path
from mitonb.io.tiff import read_tiff
from mitonb.io.units import spacing_to_voxel_size, voxel_size_of
from mitonb.labels import Labels
from mitonb.stack import Stack

__all__ = ["open", "open_labels"]

_open = open
VoxelSize = float | tuple[float, float, float]


def open(  # noqa: A001  the front door calls it mn.open
    source: Any,
    *,
    voxel_size: VoxelSize | None = None,
    channel: Channel | None = None,
    time: int | None = None,
    axes: str | None = None,
    series: int | str | None = None,
    name: str | None = None,
) -> Stack:
    """Open an image volume as a lazy Stack; planes are read when they are asked for.

    Parameters
    ----------
    source : path, array or Stack
        A TIFF (multi-page, tiled, ImageJ, OME), .npy, .npz, .ome.zarr, MRC or HDF5 file, one PNG or JPG, a folder
        or list of PNG, TIFF or JPG planes in natural order, or any array with shape, dtype and slicing.
    voxel_size : float or (z, y, x), optional
        Voxel size in nm; replaces what the file says.
    channel : int or "mean", optional
        Channel of a file with channels or colour; "mean" averages red, green and blue.
    time : int, optional
        Moment of a time series.
    axes : str, optional
        Names each axis of the source, such as "tczyx"; replaces what the file says.
    series : int or str, optional
        Which image of a file with several: number (TIFF), resolution level or path (OME-Zarr), name (npz, HDF5).
    name : str, optional
        Shown to the user; the file name by default.

    Returns
    -------
    Stack
        (z, y, x); `voxel_size` is None where neither file nor caller says, and `notes` says what was decided.

    Raises
    ------
    InputError
        Or one of its kinds: AxesError, CorruptFileError, UnsupportedFormatError, UnsafeFileError, TooLargeError.
    """
    found, title, where = _find(source, series)
    if isinstance(source, Stack):
        voxel_size = voxel_size or source.voxel_size
        title, where = source.name, source.source
    data, notes, letters = arrange(found, channel=channel, time=time, axes=axes, what=title)
    if voxel_size is not None:
        size: tuple[float, float, float] | None = voxel_size_of(voxel_size)
        remark = None
    else:
        size, remark = spacing_to_voxel_size(_spacing(found, letters), data.shape[0])
        if size is None and remark is None and where is not None:
            remark = "The voxel size is unknown: the file does not say. Give it with voxel_size=(z, y, x) in nm."
    notes = (*found.notes, *notes, *([remark] if remark else []))
    return Stack(data, size, name=name or title, source=where, notes=notes)


def open_labels(source: Any, *, axes: str | None = None, series: int | str | None = None, name: str | None = None) -> Labels:
    """Open instance labels, with the voxel size and the run record that were saved with them.

    Parameters
    ----------
    source : path or array
        Anything that `open` takes; ids must be whole numbers from 0 to 2**32 - 1.
    axes, series, name
        As for `open`.

    Returns
    -------
    Labels
        The ids in memory.
    """
    from mitonb.io.record import read_record

    found, title, where = _find(source, series)
    data, _, letters = arrange(found, axes=axes, what=title)
    size, _ = spacing_to_voxel_size(_spacing(found, letters), data.shape[0])
    record = found.record or (read_record(Path(where)) if where else None)
    return Labels(data[:, :, :], size, name or title, record)


def _spacing(found: Source, letters: str) -> dict[str, float]:
    """Return the spacing by the letters that the axes were read as (time that is really z keeps no spacing)."""
    stated = found.axes or letters
    pairs = zip(stated, letters, strict=True)
    moved = {new: found.spacing[old] for old, new in pairs if old in found.spacing and new in "zyx"}
    return {axis: size for axis, size in found.spacing.items() if axis not in stated} | moved


def _find(source: Any, series: int | str | None) -> tuple[Source, str, str | None]:
    """Return what the source holds, its title, and its address."""
    if isinstance(source, Stack):
        return replace(read_array(source.data), axes="zyx"), source.name, source.source
    if isinstance(source, str | os.PathLike):
        path = checked_path(source)
        return _read(path, series), path.name or str(path), str(path.resolve())
    return read_array(source), "array", None


def _read(path: Path, series: int | str | None) -> Source:
    """Read a path by what is inside, not by its name."""
    with _open(path, "rb") as file:
        magic = file.read(512)
    if magic[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return read_tiff(path, series)  # type: ignore[arg-type]
    if magic[:6] == b"\x93NUMPY":
        return read_npy(path)
    if magic[:4] == b"PK\3\4":
        return read_npz(path, series)  # type: ignore[arg-type]
    if not magic:
        raise InputError(f"{path.name} is an empty file.")
    raise UnsupportedFormatError(f"{path.name} is of no known format.")


def read_back(path: Path) -> Any:
    """Return the (z, y, x) data of a file that was just written."""
    data, _, _ = arrange(_read(path, None), what=path.name)
    return data
