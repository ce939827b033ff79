"""Save labels, images and tables: written beside the target, read back, compared, then put in its place."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mitonb.errors import CorruptFileError, InputError, UnsupportedFormatError
from mitonb.files import atomic_write, explain_write
from mitonb.io.lazy import Array, native
from mitonb.io.outputs import target_path
from mitonb.io.record import VOXEL_SIZE, record_path
from mitonb.labels import Labels, settled
from mitonb.memory import require, require_room
from mitonb.stack import LazyArray, Stack, in_order

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["VOLUMES", "Saving", "save"]

VOLUMES = (".ome.tif", ".ome.tiff", ".ome.zarr", ".tif", ".tiff", ".zarr", ".npy", ".npz")
ENDINGS = (*VOLUMES, ".csv")


@dataclass(frozen=True)
class Saving:
    """A volume on its way to a file.

    Attributes
    ----------
    data : LazyArray
        (z, y, x), native byte order; read plane by plane.
    voxel_size : tuple of float or None
        (z, y, x) in nm.
    name : str
        Written where the format has room for it.
    labels : bool
        Whether the voxels are ids: never scaled, never averaged.
    record : mapping or None
        Run record.
    """

    data: LazyArray
    voxel_size: tuple[float, float, float] | None
    name: str
    labels: bool
    record: Mapping[str, Any] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) in voxels."""
        z, y, x = (int(n) for n in self.data.shape)
        return z, y, x

    def plane(self, z: int) -> Array:
        """Return plane z, contiguous."""
        return np.ascontiguousarray(self.data[z])


def save(
    what: Any, path: str | os.PathLike[str], *, overwrite: bool = False, version: Literal["0.4", "0.5"] = "0.4"
) -> Path:
    """Save labels, an image or a table; the ending of the path chooses the format.

    Parameters
    ----------
    what : Labels, Stack, array or DataFrame
        Arrays are (z, y, x) or (y, x); a DataFrame goes to .csv.
    path : path
        Ends in .tif, .ome.tif, .ome.zarr, .npy, .npz or .csv.
    overwrite : bool
        Replace what is there.
    version : {"0.4", "0.5"}
        Version of OME-Zarr: 0.4 (zarr 2) is read by nearly everything, 0.5 (zarr 3) by newer programs.

    Returns
    -------
    Path
        Where it was saved.

    Raises
    ------
    InputError
        If the folder is missing or read-only, the disk is full, or something is there and `overwrite` is not set.
    UnsupportedFormatError
        If the ending is unknown, or cannot hold what is to be saved.
    TooLargeError
        If what is written at once of a volume on disk would not fit into memory.

    Notes
    -----
    Labels in .tif are uint16 where all ids fit, else uint32. Fiji opens the first as they are; it shows 32-bit
    files as floats, in which ids are exact up to 2**24, so uint32 files are plain TIFF without ImageJ's header.
    The run record of labels goes into the OME-Zarr attributes or the .npz, else to `<name>.record.json`.
    """
    target = target_path(path, overwrite=overwrite)
    ending = next((e for e in ENDINGS if target.name.lower().endswith(e)), None)
    if ending is None:
        raise UnsupportedFormatError(
            f"{target.name!r} has an ending that mitonb does not know. Use {', '.join(ENDINGS)}."
        )
    if hasattr(what, "to_csv"):
        return _save_table(what, target, ending)
    if ending == ".csv":
        raise UnsupportedFormatError(".csv holds tables; save mn.measure(labels), or choose .tif, .npy or .ome.zarr.")
    saving = _saving(what)
    _require_room(saving, ending)
    _json(saving.record or {})  # what cannot be written should fail before anything is
    write, check = _format(ending, saving, version)
    _put(target, write, check)
    if ending in (".tif", ".tiff", ".ome.tif", ".ome.tiff", ".npy"):
        _save_record(saving, target)
    return target


def _saving(what: Any) -> Saving:
    """Bring what is to be saved into one form."""
    if isinstance(what, Labels):
        return Saving(_original(what), what.voxel_size, what.name, True, _own(what.record))
    if isinstance(what, Stack):
        return Saving(what.data, what.voxel_size, what.name, False)
    what = in_order(what)
    array = what if hasattr(what, "shape") and hasattr(what, "dtype") else np.asarray(what)
    if isinstance(array, np.ndarray):
        array = settled(array)
    if len(array.shape) == 2:
        array = array[None]
    data = Stack(array, intensity=(0.0, 1.0)).data  # raises what is wrong with it
    ids = np.dtype(data.dtype).kind in "ui" and np.dtype(data.dtype).itemsize >= 4
    return Saving(data, None, "array", ids)


class _Original:
    """Labels with the ids of the file that they came from."""

    def __init__(self, data: Array, table: Array) -> None:
        self._data, self._table = data, table
        self.shape, self.dtype = data.shape, table.dtype

    def __getitem__(self, key: Any, /) -> Array:
        return np.asarray(self._table[self._data[key]])


def _original(labels: Labels) -> LazyArray:
    """Return what is written of labels: their voxels, with the ids of their file where they were renumbered."""
    data, table = settled(labels.data), labels.original_ids
    return data if table is None else _Original(data, table)


def _require_room(saving: Saving, ending: str) -> None:
    """Refuse what would not fit while it is written, of what is not in memory yet."""
    if isinstance(saving.data, np.ndarray):
        return
    z, y, x = saving.shape
    if ending == ".npz":
        require(
            z * y * x * np.dtype(saving.data.dtype).itemsize, f"Saving {z} x {y} x {x} voxels in one piece",
            "Save as .ome.zarr, .npy or .tif, which are written plane by plane.",
        )  # fmt: skip
    planes = min(z, 32) if ending.endswith("zarr") else 1  # two rows of blocks become one of the next level
    require_room((planes, y, x), saving.data.dtype)


def _own(record: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return a record without the ids that go into the voxels."""
    return {k: v for k, v in record.items() if k != "original_ids"} or None if record else record


def _format(ending: str, saving: Saving, version: str) -> tuple[Callable[[Path], None], Callable[[Path], None]]:
    """Return the functions that write a file and check it."""
    if ending == ".zarr":
        ending = ".ome.zarr"
    if ending == ".ome.zarr":
        from mitonb.io import ome_zarr_writing

        return (lambda path: ome_zarr_writing.write(path, saving, version)), (lambda path: _compare(path, saving))
    if ending == ".npy":
        return (lambda path: _write_npy(path, saving)), (lambda path: _compare(path, saving))
    if ending == ".npz":
        return (lambda path: _write_npz(path, saving)), (lambda path: _compare(path, saving))
    from mitonb.io import tiff_writing

    ome = ending.startswith(".ome")
    return (lambda path: tiff_writing.write(path, saving, ome=ome)), (lambda path: _compare(path, saving))


def _compare(path: Path, saving: Saving) -> None:
    """Read a file back, plane by plane, and compare it with what was to be saved."""
    from mitonb.io.formats import read_back

    found = read_back(path)
    if tuple(found.shape) != saving.shape:
        raise CorruptFileError(f"Saving failed: the file holds shape {tuple(found.shape)} instead of {saving.shape}.")
    for z in range(saving.shape[0]):
        want, got = saving.plane(z), np.asarray(found[z])
        if want.dtype.kind != got.dtype.kind and not (want.dtype.kind == "b" and got.dtype.kind == "u"):
            raise CorruptFileError(f"Saving failed: the file holds {got.dtype} instead of {want.dtype}.")
        if not np.array_equal(want, got, equal_nan=want.dtype.kind == "f"):
            raise CorruptFileError(f"Saving failed: plane {z} was read back changed. Check the disk.")


def _write_npy(path: Path, saving: Saving) -> None:
    """Write a .npy plane by plane."""
    with open(path, "wb") as file:
        dtype = native(saving.data.dtype)
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": saving.shape}
        np.lib.format.write_array_header_1_0(file, header)
        for z in range(saving.shape[0]):
            file.write(saving.plane(z).astype(dtype, copy=False).tobytes())


def _write_npz(path: Path, saving: Saving) -> None:
    """Write a compressed .npz: the array, and the voxel size and record where they are known."""
    extra: dict[str, Array] = {}
    if saving.voxel_size is not None:
        extra["voxel_size"] = np.array(saving.voxel_size, np.float64)
    if saving.record is not None:
        extra["record"] = np.frombuffer(_json(saving.record).encode(), np.uint8)
    name = "labels" if saving.labels else "image"
    with open(path, "wb") as file:
        np.savez_compressed(file, **{name: np.asarray(saving.data[:, :, :])}, **extra)  # type: ignore[arg-type]


def _json(record: Mapping[str, Any]) -> str:
    """Return a record as JSON text."""
    try:
        return json.dumps(dict(record), indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"The run record cannot be written as JSON: {error}.") from error


def _save_record(saving: Saving, target: Path) -> None:
    """Put the run record beside a file, and take away that of a file it replaced."""
    beside = record_path(target)
    sidecar = dict(saving.record or {})
    if saving.voxel_size is not None and target.suffix == ".npy":
        sidecar[VOXEL_SIZE] = list(saving.voxel_size)
    if not sidecar:
        beside.unlink(missing_ok=True)
        return
    text = _json(sidecar)
    _put(beside, lambda path: _write_text(path, text))


def _put(target: Path, write: Callable[[Path], None], check: Callable[[Path], object] | None = None) -> None:
    """Write under a temporary name, sync, read back, and rename."""
    with explain_write(target), atomic_write(target, check) as temporary:
        write(temporary)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, "utf-8", newline="")


def _save_table(table: Any, target: Path, ending: str) -> Path:
    """Save a DataFrame; cells that a spreadsheet would run as formulas are made text."""
    if ending != ".csv":
        raise UnsupportedFormatError(f"A table goes to .csv, got {target.name!r}.")
    safe = table.copy()
    for column in safe.columns:
        if safe[column].dtype.kind not in "biufcmM":
            safe[column] = safe[column].map(_inert)
    safe.columns = [_inert(column) for column in safe.columns]
    text = safe.to_csv(index=table.index.name is not None, lineterminator="\n")

    def check(path: Path) -> None:
        if path.read_text("utf-8") != text:
            raise CorruptFileError("Saving failed: the table was read back changed. Check the disk.")

    _put(target, lambda path: _write_text(path, text), check)
    return target


def _inert(cell: Any) -> Any:
    """Prefix a text that a spreadsheet would take for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
