"""Know a format by how a file starts, and read it with the module that knows it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mitonb.errors import CorruptFileError, InputError, UnsupportedFormatError
from mitonb.io.arrays import read_npy, read_npz
from mitonb.io.axes import Source, arrange
from mitonb.io.bounds import is_zarr
from mitonb.io.folders import read_folder
from mitonb.io.hdf5 import read_hdf5
from mitonb.io.mrc import read_mrc
from mitonb.io.ome_zarr import is_n5, labels_inside, read_zarr, store_in_zip
from mitonb.io.pictures import read_picture
from mitonb.io.record import recorded_voxel_size
from mitonb.io.tiff import read_tiff
from mitonb.io.units import spacing_to_voxel_size
from mitonb.io.watched import stamp_of, watched

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Callable

__all__ = ["read_back", "read_path", "stated_voxel_size"]


def read_path(path: Path, series: int | str | None, *, strict: bool = False) -> Source:
    """Read a path by what is inside, not by its name."""
    if path.is_dir():
        return _read_directory(path, series, strict=strict)
    files = [(path, stamp_of(path))]
    found = _read_file(path, series, strict=strict)
    return replace(found, data=watched(found.data, files), ids=watched(found.ids, files))


def _read_file(path: Path, series: int | str | None, *, strict: bool) -> Source:
    """Read a file with the reader that knows how it starts."""
    try:
        with open(path, "rb") as file:
            magic = file.read(512)
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror}.") from error
    store = store_in_zip(path) if magic[:4] == b"PK\3\4" else None
    if store is not None:
        return _read_store(store, series, strict=strict)
    read = _reader(magic)
    if read is None:
        raise _unknown(path, magic)
    _check_series(read, series, path)
    found: Source = read(path) if series is None else read(path, series)
    expected = _ENDINGS.get(path.suffix.lower())
    if expected not in (None, read):
        found = replace(found, notes=(*found.notes, f"The name ends in {path.suffix}, but the file is {found.kind}."))
    return found


def _read_directory(path: Path, series: int | str | None, *, strict: bool) -> Source:
    """Read a folder: zarr, or planes."""
    if is_zarr(path) or is_n5(path):
        return _read_store(path, series, strict=strict)
    if series is not None:
        raise InputError(f"{path.name} is a folder of planes, which has no series; leave series= out.")
    found = read_folder(path)
    return read_path(found, None) if isinstance(found, Path) else found


def _read_store(path: Path | zipfile.Path, series: int | str | None, *, strict: bool) -> Source:
    """Read zarr or N5, of which labels may lie inside of an image."""
    within = labels_inside(path) if strict and series is None else []
    if len(within) > 1:
        raise InputError(f"{path.name} holds the labels {', '.join(within)}. Choose one with series='{within[0]}'.")
    return read_zarr(path, within[0] if within else series, strict=strict)


def _reader(magic: bytes) -> Callable[..., Source] | None:
    """Return the reader that knows how a file starts."""
    if magic[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return read_tiff
    if magic[:6] == b"\x93NUMPY":
        return read_npy
    if magic[:4] == b"PK\3\4":
        return read_npz
    if magic[:4] == b"\x89PNG" or magic[:3] == b"\xff\xd8\xff":
        return read_picture
    if magic[:8] == b"\x89HDF\r\n\x1a\n":
        return read_hdf5
    if magic[208:212] == b"MAP ":
        return read_mrc
    return None


_ENDINGS: dict[str, Callable[..., Source]] = {
    ".tif": read_tiff, ".tiff": read_tiff, ".npy": read_npy, ".npz": read_npz, ".png": read_picture,
    ".jpg": read_picture, ".jpeg": read_picture, ".h5": read_hdf5, ".hdf5": read_hdf5, ".mrc": read_mrc,
}  # fmt: skip


def _check_series(read: Callable[..., Source], series: object, path: Path) -> None:
    """Refuse a choice of series where the format has none, or has another kind of names."""
    kind = {read_tiff: int, read_npz: str, read_hdf5: str}.get(read)
    if series is None or (kind is not None and isinstance(series, kind) and not isinstance(series, bool)):
        return
    if kind is None:
        raise InputError(f"{path.name} holds one image; leave series= out.")
    named = "a number, such as series=0" if kind is int else "a name, such as series='image'"
    raise InputError(f"{path.name} names its images by {named}; got {series!r}.")


def _unknown(path: Path, magic: bytes) -> InputError:
    """Say what a file seems to be instead of an image."""
    text = magic.lstrip().lower()
    if not magic:
        return CorruptFileError(f"{path.name} is an empty file. Copy or download it again.")
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return CorruptFileError(
            f"{path.name} is a web page, not an image: the download brought an error or log-in page. Download it again."
        )
    if not magic.strip(b"\0"):
        return CorruptFileError(f"{path.name} starts with zeros only: the copy did not finish. Copy it again.")
    known = "TIFF, PNG, JPEG, .npy, .npz, OME-Zarr, MRC or HDF5"
    kind = "text" if all(b in b"\t\n\r\f" or 32 <= b < 127 for b in magic) else "of a kind that is not known"
    if path.suffix.lower() in _ENDINGS:
        return CorruptFileError(f"{path.name} is damaged, or {kind}: it does not start like {path.suffix}.")
    return UnsupportedFormatError(f"{path.name} is {kind}. mitonb opens {known}; convert it, for example with Fiji.")


def stated_voxel_size(
    found: Source, letters: str, planes: int, where: str | Path | None
) -> tuple[tuple[float, float, float] | None, str | None]:
    """Return the voxel size that a file states, or that was saved beside it, and a sentence where part is missing."""
    size, remark = spacing_to_voxel_size(_spacing(found, letters), planes)
    beside = recorded_voxel_size(Path(where)) if size is None and where is not None else None
    return (beside, None) if beside is not None else (size, remark)


def _spacing(found: Source, letters: str) -> dict[str, float]:
    """Return the spacing by the letters that the axes were read as (time that is really z keeps no spacing)."""
    stated = found.axes or letters
    pairs = zip(stated, letters, strict=True)
    moved = {new: found.spacing[old] for old, new in pairs if old in found.spacing and new in "zyx"}
    return {axis: size for axis, size in found.spacing.items() if axis not in stated} | moved


def read_back(path: Path) -> Any:
    """Return the (z, y, x) data of a file that was just written."""
    found = read_path(path, None)
    data, _, _ = arrange(found, axes=None if found.axes else "zyx", what=path.name)
    return data
