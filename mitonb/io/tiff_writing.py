"""Write TIFF files that other programs open as they are: ImageJ, OME or plain."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from mitonb.errors import UnsupportedFormatError
from mitonb.io.lazy import Array, native

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mitonb.io.writing import Saving

__all__ = ["stored_dtype", "write"]

_BIG = 2**32 - 2**25


def stored_dtype(saving: Saving) -> np.dtype[np.generic]:
    """Return the dtype in the file: labels take uint16 where all ids fit, else uint32; bool becomes uint8."""
    dtype = native(saving.data.dtype)
    if saving.labels and dtype.kind == "u" and dtype.itemsize == 4:
        highest = max(int(saving.plane(z).max()) for z in range(saving.shape[0]))
        return np.dtype(np.uint16) if highest < 2**16 else np.dtype(np.uint32)
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    return dtype


def write(path: Path, saving: Saving, *, ome: bool = False) -> None:
    """Write a volume as TIFF.

    uint8, uint16 and float32 become ImageJ files; other dtypes become plain TIFF, because ImageJ's header
    cannot hold them. Everything is compressed losslessly except ImageJ files, which ImageJ reads by offset.

    Raises
    ------
    UnsupportedFormatError
        If OME-TIFF has no such dtype (float16, 64-bit integers), or planes are one pixel wide (but not in OME-TIFF).
    """
    if saving.shape[2] == 1 and not ome:
        # Without OME's axes a column of pixels cannot be told from a row of single samples.
        raise UnsupportedFormatError("TIFF cannot hold planes of one column. Save as .ome.tif, .ome.zarr or .npy.")
    dtype = stored_dtype(saving)
    total = math.prod(saving.shape) * dtype.itemsize
    pages = _pages(saving, dtype)
    if ome:
        if dtype.name in ("float16", "int64", "uint64"):
            raise UnsupportedFormatError(f"OME-TIFF has no {dtype.name}. Save as .ome.zarr or .npy, or convert first.")
        tifffile.imwrite(
            path, pages, shape=saving.shape, dtype=dtype, ome=True, bigtiff=total > _BIG, photometric="minisblack",
            compression="zlib", metadata=_ome_metadata(saving),
        )  # fmt: skip
    elif dtype.name in ("uint8", "uint16", "float32") and total < _BIG:
        tifffile.imwrite(
            path, pages, shape=saving.shape, dtype=dtype, imagej=True, photometric="minisblack",
            metadata=_imagej_metadata(saving), **_resolution(saving),
        )  # fmt: skip
    else:
        metadata: dict[str, Any] = {"axes": "ZYX"}
        if saving.voxel_size is not None:
            metadata |= {"spacing": saving.voxel_size[0], "unit": "nm"}
        tifffile.imwrite(
            path, pages, shape=saving.shape, dtype=dtype, bigtiff=total > _BIG, photometric="minisblack",
            compression="zlib", metadata=metadata, **_resolution(saving, centimetre=True),
        )  # fmt: skip


def _pages(saving: Saving, dtype: np.dtype[np.generic]) -> Iterator[Array]:
    """Yield the planes in the stored dtype."""
    for z in range(saving.shape[0]):
        yield saving.plane(z).astype(dtype, copy=False)


def _imagej_metadata(saving: Saving) -> dict[str, Any]:
    """Return what ImageJ needs to know: axes, unit and spacing."""
    metadata: dict[str, Any] = {"axes": "ZYX"}
    if saving.voxel_size is not None:
        metadata |= {"unit": "nm", "spacing": saving.voxel_size[0]}
    return metadata


def _resolution(saving: Saving, *, centimetre: bool = False) -> dict[str, Any]:
    """Return the resolution tags: pixels per nm for ImageJ, per cm for plain TIFF."""
    if saving.voxel_size is None:
        return {}
    _, y, x = saving.voxel_size
    if centimetre:
        return {"resolution": (1e7 / x, 1e7 / y), "resolutionunit": "CENTIMETER"}
    return {"resolution": (1.0 / x, 1.0 / y), "resolutionunit": "NONE"}


def _ome_metadata(saving: Saving) -> dict[str, Any]:
    """Return the OME-XML fields: axes, name and physical sizes."""
    metadata: dict[str, Any] = {"axes": "ZYX", "Name": saving.name}
    if saving.voxel_size is not None:
        for axis, size in zip("ZYX", saving.voxel_size, strict=True):
            metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "nm"}
    return metadata
