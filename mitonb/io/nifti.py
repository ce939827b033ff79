"""NIfTI both ways, versions 1 and 2, in one file: x is stored fastest, so voxels lie as (z, y, x) in C order."""

from __future__ import annotations

import contextlib
import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np

from mitonb.errors import UnsupportedFormatError
from mitonb.io.arrays import Lazy, Saving, Source, native, raw_voxels
from mitonb.io.axes import nanometres
from mitonb.io.limits import check_held
from mitonb.io.others import LARGEST_DEFLATED, extra, unpacked

LONGEST = 2**15 - 1
"""Voxels along an axis that version 1 can count."""
STARTS = ((344, b"n+1\0", "Nifti1Header"), (4, b"n+2\0", "Nifti2Header"))


def read_nifti(path: Path) -> Source:
    """Open a .nii lazily; a .nii.gz is unpacked into memory.

    Raises
    ------
    UnsupportedFormatError
        If nibabel is not installed, or the voxels are complex or colours.
    """
    nibabel, what = extra("nibabel", path), path.name
    with _opened(path) as file:
        start = file.read(540)
        named = next((name for at, magic, name in STARTS if start[at:].startswith(magic)), None)
        if named is None:
            raise UnsupportedFormatError(f"{what} is no NIfTI in one file. Save it as .nii or .nii.gz, or unpack it.")
        file.seek(0)
        header = getattr(nibabel, named).from_fileobj(file)
    shape, dtype = tuple(map(int, header.get_data_shape()[::-1])), header.get_data_dtype()
    offset = header.get_data_offset()
    if dtype.kind not in "iuf":
        raise UnsupportedFormatError(f"{what} holds voxels of the kind {dtype}. Save it in grey.")
    size, stored = math.prod(shape) * dtype.itemsize, path.stat().st_size
    data: Any
    if _is_packed(path):
        check_held(what, size, stored * LARGEST_DEFLATED)
        with _opened(path) as file:
            data = unpacked(file, dtype, shape, offset, what, "Unpack it to .nii, which is read plane by plane.")
    else:
        check_held(what, size, stored - offset)
        data = raw_voxels(path, dtype, shape, offset)
    slope, shift = header.get_slope_inter()
    if (slope or 1.0, shift or 0.0) != (1.0, 0.0):
        raw = data
        data = Lazy(shape, np.float64, lambda key: raw[key] * (slope or 1.0) + (shift or 0.0), what)
    unit = header.get_xyzt_units()[0]
    sizes = {axis: nanometres(value, unit) for axis, value in zip("xyz", header.get_zooms()[:3], strict=False)}
    # They are stored with 7 digits: 8 nm would be 8.00000038.
    spacing = {axis: float(f"{value:.6g}") for axis, value in sizes.items() if value}
    turned = header.get_best_affine()[:3, :3]
    note = "The file turns or mirrors its axes: voxels are taken in the order in which they are stored."
    notes = () if np.array_equal(turned, np.diag(np.abs(np.diag(turned)))) else (note,)
    return Source(data, ("?" * (len(shape) - 4) + "tzyx")[-len(shape) :], spacing, notes, "NIfTI")


def write_nifti(path: Path, saving: Saving, *, packed: bool) -> None:
    """Write a volume plane by plane; bool becomes uint8, and axes longer than 32,767 voxels take version 2.

    Raises
    ------
    UnsupportedFormatError
        If nibabel is not installed, or NIfTI has no such dtype (float16).
    """
    nibabel, dtype = extra("nibabel", path), native(saving.data.dtype)
    if dtype == np.float16:
        raise UnsupportedFormatError("NIfTI has no float16. Save as .ome.zarr or .npy, or convert first.")
    dtype = np.dtype(np.uint8) if dtype.kind == "b" else dtype
    header = nibabel.Nifti2Header() if max(saving.shape) > LONGEST else nibabel.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(saving.shape[::-1])
    header.set_data_offset(header.sizeof_hdr + 4)
    if saving.labels:
        header.set_intent("label")
    if saving.voxel_size is not None:
        microns = [size / 1000 for size in saving.voxel_size[::-1]]
        header.set_zooms(microns)
        header.set_xyzt_units("micron")
        header.set_sform(np.diag([*microns, 1.0]), code=1)
    with contextlib.ExitStack() as files:
        file: Any = files.enter_context(open(path, "wb"))
        if packed:
            file = files.enter_context(gzip.GzipFile("", "wb", 5, file, mtime=0))
        header.write_to(file)  # with the four bytes that say that no extension follows
        for z in range(saving.shape[0]):
            file.write(saving.plane(z).astype(dtype, copy=False).tobytes())


def _is_packed(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _opened(path: Path) -> Any:
    return gzip.open(path, "rb") if _is_packed(path) else open(path, "rb")
