"""Arrays of Python and NumPy files: .npy and .npz."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mitonb.errors import CorruptFileError, InputError, UnsafeFileError
from mitonb.io.axes import Source, name_axes
from mitonb.io.bounds import check_chunk, check_declared, guarded
from mitonb.io.conventions import axes_of, spacing_along, spacing_of
from mitonb.io.watched import Raw

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_array", "read_npy", "read_npz"]


def read_array(source: Any) -> Source:
    """Wrap an array: numpy, masked, dask, or anything with a shape, a dtype and slicing."""
    if hasattr(source, "data_vars"):
        raise InputError(
            f"This xarray.Dataset holds {', '.join(map(str, source.data_vars))[:80] or 'nothing'}. Pass one of them, "
            "dataset['name']."
        )
    shape, dtype = getattr(source, "shape", None), getattr(source, "dtype", None)
    if isinstance(source, np.ndarray):
        return Source(source)
    try:
        lazy = isinstance(shape, tuple) and hasattr(source, "__getitem__") and np.dtype(dtype).kind in "buifc"
    except TypeError:  # a dtype of another library, such as torch.uint8
        lazy = False
    if lazy:
        return _named(source, source)
    if shape is None and not isinstance(source, list | tuple) and not hasattr(source, "__array__"):
        raise InputError(f"open() takes a path or an array, got {type(source).__name__}.")
    with guarded("This array"):
        array = np.asarray(source)
    if array.dtype.kind not in "buifc":
        raise InputError(f"open() takes a path or an array of numbers, got {type(source).__name__} of {array.dtype}.")
    return _named(source, array)


def _named(source: Any, data: Any) -> Source:
    """Wrap an array; of xarray, h5py, zarr and tensorstore the names of axes and the attributes count."""
    rank = len(data.shape)
    attributes = getattr(source, "attrs", None)
    attributes = dict(attributes) if isinstance(attributes, Mapping) else {}
    domain, metadata = getattr(source, "domain", None), getattr(source, "metadata", None)
    named = (getattr(source, "dims", None), getattr(metadata, "dimension_names", None), getattr(domain, "labels", None))
    names = next((n for n in named if isinstance(n, tuple) and len(n) == rank and any(n)), None)
    letters, notes = name_axes(names) if names else axes_of(attributes, rank)
    spacing, more = spacing_of(attributes, letters or "zyx"[-rank:])
    found = getattr(source, "coords", {})
    points = {letter: found[name] for name, letter in zip(names or (), letters or (), strict=False) if name in found}
    along, loose = spacing_along(
        {letter: (point, point.attrs.get("units", point.attrs.get("unit"))) for letter, point in points.items()}
    )
    return Source(data, letters, {**spacing, **along}, (*notes, *more, *loose))


def read_npy(path: Path) -> Source:
    """Open a .npy file lazily.

    Raises
    ------
    UnsafeFileError
        If it holds Python objects, which could run code.
    """
    with guarded(path.name), open(path, "rb") as file:
        shape, fortran, dtype = _header(file)
        start = file.tell()
        _checked_dtype(dtype, path.name)
        declared = math.prod(shape) * dtype.itemsize if shape else dtype.itemsize
        check_declared(declared, os.path.getsize(path) - start, what=path.name, compressed=False)
    if declared == 0:
        raise InputError(f"{path.name} is empty: its shape is {shape}. It needs at least one voxel on each axis.")
    fortran = fortran and len(shape) > 1
    notes = ("Stored in Fortran order: planes along x are read fastest.",) if fortran else ()
    return Source(Raw(path, dtype, shape, start, fortran=fortran), kind="npy", notes=notes)


def read_npz(path: Path, series: str | None = None) -> Source:
    """Read one array of a .npz file into memory; a record and voxel size that mitonb saved are taken along.

    Raises
    ------
    InputError
        If it holds several arrays and `series` does not name one.
    """
    with guarded(path.name), zipfile.ZipFile(path) as archive:
        members = {m.filename.removesuffix(".npy"): m for m in archive.infolist() if m.filename.endswith(".npy")}
        names = [n for n in members if n not in ("voxel_size", "record", "axes")]
        name = _member(names, series, path.name)
        spacing = _small(archive, members, "voxel_size")
        record = _small(archive, members, "record")
        data = _unpack(archive, members[name], path.name)
    known = spacing is not None and spacing.shape == (3,) and spacing.dtype.kind in "uif"
    sizes = dict(zip("zyx", map(float, spacing), strict=True)) if known and spacing is not None else {}
    return Source(data, kind="npz", spacing=sizes, record=_record(record), chunk_bytes=data.nbytes)


def _member(names: list[str], series: object, what: str) -> str:
    """Return the name of the array to read."""
    if series is not None:
        if series not in names:
            raise InputError(f"{what} has no array {series!r}; it holds {', '.join(sorted(names)[:10])}.")
        return str(series)
    if len(names) != 1:
        if not names:
            raise InputError(
                f"{what} is a zip file without a NumPy array, zarr or N5. Unpack it, and open what is inside."
            )
        held = f"{len(names)} arrays ({', '.join(sorted(names)[:10])})"
        raise InputError(f"{what} holds {held}. Choose one with series='name'.")
    return names[0]


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, what: str) -> Any:
    """Read one member, never more than its header declares."""
    with archive.open(member) as stream:
        shape, fortran, dtype = _header(stream)
        _checked_dtype(dtype, what)
        declared = math.prod(shape) * dtype.itemsize
        check_declared(declared, member.file_size, what=what, compressed=False)
        check_declared(declared, member.compress_size, what=what, compressed=True)
        check_chunk(declared, member.compress_size, what=what)
        data = np.empty(declared, np.uint8)
        filled = 0
        while filled < declared:
            part = stream.read(min(2**24, declared - filled))
            if not part:
                raise CorruptFileError(f"{what} is truncated: {member.filename} has {filled} of {declared} bytes.")
            data[filled : filled + len(part)] = np.frombuffer(part, np.uint8)
            filled += len(part)
        stream.read(1)  # reaches the end, where zipfile checks the checksum
    return data.view(dtype).reshape(shape, order="F" if fortran else "C")


def _small(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], name: str) -> Any:
    """Read a small side array, or None."""
    if name not in members or members[name].file_size > 2**20:
        return None
    return _unpack(archive, members[name], name)


def _record(array: Any) -> dict[str, Any] | None:
    """Return the run record kept as JSON bytes."""
    import json

    if array is None or array.dtype != np.uint8:
        return None
    found = json.loads(array.tobytes())
    return found if isinstance(found, dict) else None


def _header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of a .npy stream: shape, whether it is in Fortran order, dtype."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(stream)
    raise CorruptFileError(f"This .npy has version {version}, which is not known. Save it again with numpy.save.")


def _checked_dtype(dtype: np.dtype[Any], what: str) -> None:
    """Refuse Python objects before anything unpickles them."""
    if dtype.hasobject:
        raise UnsafeFileError(f"{what} holds Python objects, which could run code. Save plain numbers instead.")
