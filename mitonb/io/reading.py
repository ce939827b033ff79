"""Open image volumes: files, folders and arrays become a lazy Stack."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError
from mitonb.io.arrays import read_array
from mitonb.io.axes import Channel, Source, arrange
from mitonb.io.bounds import checked_path, door
from mitonb.io.folders import read_planes
from mitonb.io.formats import read_path, stated_voxel_size
from mitonb.io.probing import VolumeInfo, probe
from mitonb.io.record import read_record
from mitonb.labels import Labels, renumbered, with_original_ids
from mitonb.memory import require
from mitonb.stack import Inverted, Stack, voxel_size_of

__all__ = ["VolumeInfo", "open", "open_ids", "open_labels", "probe"]

VoxelSize = float | tuple[float, float, float]


@door
def open(
    source: Any,
    *,
    voxel_size: VoxelSize | None = None,
    channel: Channel | None = None,
    time: int | None = None,
    axes: str | None = None,
    series: int | str | None = None,
    name: str | None = None,
    invert: bool | None = None,
) -> Stack:
    """Open an image volume as a lazy Stack; planes are read when they are asked for.

    Parameters
    ----------
    source : path, array or Stack
        A TIFF (multi-page, tiled, ImageJ, OME), .npy, .npz, MRC or HDF5 file, an OME-Zarr or N5 (also zipped), one PNG
        or JPG, a folder or list of PNG, TIFF or JPG planes in natural order, or any array with shape, dtype and
        slicing; axes that are named by its `dims` (xarray) are followed.
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
    invert : bool, optional
        Whether grey values are turned round, so that what is dark becomes bright. By default they are where the file
        says that 0 is white, so that the image looks as in other viewers; False keeps them as they are stored.

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
    if isinstance(source, Stack) and voxel_size is None:
        voxel_size = source.voxel_size
    data, notes, letters = arrange(found, channel=channel, time=time, axes=axes, what=title)
    if voxel_size is not None:
        size: tuple[float, float, float] | None = voxel_size_of(voxel_size)
        remark = None
    else:
        size, remark = stated_voxel_size(found, letters, data.shape[0], where)
        if size is None and remark is None and where is not None:
            remark = "The voxel size is unknown: the file does not say. Give it with voxel_size=(z, y, x) in nm."
    notes = (*found.notes, *notes, *_turning(found.black, invert), *([remark] if remark else []))
    if invert or (invert is None and found.black is not None):
        # Of what is turned round the black and white point is taken once.
        return Stack(Inverted(data, found.black), size, name=name or title, source=where, notes=notes)
    return Stack(data, size, name=name or title, source=where, notes=notes)


def _turning(black: float | None, invert: bool | None) -> tuple[str, ...]:
    """Say whether grey values are turned round, and why."""
    if invert is not None and not isinstance(invert, bool):
        raise InputError(f"invert is True, False or None, got {invert!r}.")
    if black is None:
        return (
            ("Grey values are turned round (invert=True): what is dark in the file is bright here.",) if invert else ()
        )
    if invert is False:
        return ("The file says that 0 is white, and values are kept as they are stored (invert=False).",)
    return (
        "The file says that 0 is white: grey values are turned round, so that the image looks as it does in other "
        "viewers. mn.open(..., invert=False) keeps them as they are stored.",
    )


@door
def open_labels(
    source: Any,
    *,
    voxel_size: VoxelSize | None = None,
    axes: str | None = None,
    series: int | str | None = None,
    name: str | None = None,
    channel: Channel | None = None,
    time: int | None = None,
    empty_blocks: bool = False,
    renumber: bool | None = None,
) -> Labels:
    """Open instance labels, with the voxel size and the run record that were saved with them.

    Parameters
    ----------
    source : path or array
        Anything that `open` takes; ids are whole numbers from 0 on. Of an OME-Zarr image with one label image inside,
        that one is opened. Of pictures with a colour table the place in the table is the id.
    voxel_size : float or (z, y, x), optional
        Voxel size in nm; replaces what the file says. Beside an image that has another one, that of the image counts.
    axes, series, name, channel, time
        As for `open`.
    empty_blocks : bool
        Whether a missing block of an OME-Zarr is background, as for programs that leave empty blocks out;
        otherwise it is an error, because a lost file would silently erase labels.
    renumber : bool, optional
        Whether the objects are numbered 1, 2, ... in the order of their ids. By default that is done only where an id
        is above 2**32 - 1, as supervoxels have them. The ids of the file are kept (`Labels.original_ids`), also in
        projects, and `mn.save` writes them back; False keeps ids as they are, or refuses.

    Returns
    -------
    Labels
        The ids, in memory.

    Raises
    ------
    InputError
        As `open`, and if the voxels are no ids. TooLargeError, if they would not fit into memory.
    """
    data, found, title, where, letters = _voxels(source, axes, series, channel, time, empty_blocks=empty_blocks)
    size = None if voxel_size is None else voxel_size_of(voxel_size)
    if size is None:
        size, _ = stated_voxel_size(found, letters, data.shape[0], where)
    record = found.record or (read_record(Path(where)) if where else None)
    record = {k: v for k, v in record.items() if k != "original_ids"} if record and "recipe" in record else None
    ids, originals = (data, None) if renumber is False else renumbered(data, always=bool(renumber))
    return Labels(ids, size, name or title, with_original_ids(record, originals))


@door
def open_ids(
    source: Any,
    *,
    axes: str | None = None,
    series: int | str | None = None,
    channel: Channel | None = None,
    time: int | None = None,
    empty_blocks: bool = False,
) -> npt.NDArray[Any]:
    """Open ids as `mitonb.score` takes them: what `open_labels` opens, but also negative marks and ids above 32 bits.

    Parameters
    ----------
    source, axes, series, channel, time, empty_blocks
        As for `open_labels`.

    Returns
    -------
    (z, y, x) array of int or uint
        In the type of the file.

    Raises
    ------
    InputError
        As `open`, and if the voxels are no whole numbers. TooLargeError, if they would not fit into memory.
    """
    data = _voxels(source, axes, series, channel, time, empty_blocks=empty_blocks)[0]
    return data if data.dtype.kind in "iu" else Labels(data).data


def _voxels(
    source: Any,
    axes: str | None,
    series: int | str | None,
    channel: Channel | None,
    time: int | None,
    *,
    empty_blocks: bool,
) -> tuple[npt.NDArray[Any], Source, str, str | None, str]:
    """Return ids as they are in a file, what the file holds, its title and address, and the names of its axes."""
    found, title, where = _find(source, series, strict=not empty_blocks)
    found = found if found.ids is None else replace(found, data=found.ids, axes=(found.axes or "").rstrip("s"))
    data, _, letters = arrange(found, channel=channel, time=time, axes=axes, what=title, ids=True)
    # The ids as they are in the file and, where those are no uint32, once more as such.
    bytes_of_one = np.dtype(data.dtype).itemsize + 4 * (np.dtype(data.dtype) != np.uint32)
    require(bytes_of_one * math.prod(data.shape), f"Opening the labels {title}", "Cut out a part of them first.")
    return np.asarray(data[:, :, :]), found, title, where, letters


def _find(source: Any, series: int | str | None, *, strict: bool = False) -> tuple[Source, str, str | None]:
    """Return what the source holds, its title, and its address."""
    if isinstance(source, Stack):
        return replace(read_array(source.data), axes="zyx"), source.name, source.source
    if isinstance(source, str | os.PathLike):
        path = checked_path(source)
        return read_path(path, series, strict=strict), path.name or str(path.resolve()), str(path.resolve())
    if isinstance(source, list | tuple) and source and all(isinstance(p, str | os.PathLike) for p in source):
        paths = [checked_path(p) for p in source]
        return read_planes(paths, "the list"), paths[0].name, None
    if isinstance(source, list | tuple) and not source:
        raise InputError("An empty list names no planes. Give one file for each, or a folder.")
    return read_array(source), "array", None
