"""Files of microscopes (CZI, LIF, ND2): bioio and its readers know them, one for each maker."""

from __future__ import annotations

import importlib.util
import math
import warnings
from pathlib import Path
from typing import Any

from mitonb.errors import AxesError, CorruptFileError, InputError, UnsupportedFormatError
from mitonb.io.arrays import Lazy, Source
from mitonb.io.others import extra


def read_microscope(path: Path, series: int | None = None) -> Source:
    """Open one image of a file of a microscope lazily, plane by plane; voxel size from micrometres.

    Raises
    ------
    UnsupportedFormatError
        If bioio, or its reader for this kind of file, is not installed.
    AxesError
        If it holds several images and `series` does not choose one.
    """
    bioio, needed = extra("bioio", path), extra("bioio_base.exceptions", path, "bioio")
    what, kind = path.name, path.suffix[1:].lower()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about pixel types and dates, none of which is used
        try:
            image = _planes(bioio.BioImage, path)
        except needed.UnsupportedFileFormatError:
            if importlib.util.find_spec(f"bioio_{kind}"):
                raise CorruptFileError(f"{what} is damaged: bioio-{kind} cannot read it. Export it again.") from None
            raise UnsupportedFormatError(
                f"{what} needs the reader of its maker's format: pip install bioio-{kind}. Or export it as OME-TIFF."
            ) from None
        names = image.scenes
        if not 0 <= (series or 0) < len(names):
            raise InputError(f"{what} holds images 0 to {len(names) - 1}, got series={series}.")
        if series is None and len(names) > 1:
            listed = "; ".join(f"series={i}: {name}" for i, name in enumerate(names[:8]))
            raise AxesError(f"{what} holds {len(names)} images. Choose one: {listed}.")
        image.set_scene(series or 0)
        voxels, size = image.xarray_dask_data, image.physical_pixel_sizes
    spacing = {axis: 1000.0 * um for axis, um in zip("zyx", size, strict=True) if um and 0 < um < math.inf}
    data = Lazy(voxels.shape, voxels.dtype, lambda part: voxels.data[part].compute(scheduler="synchronous"), what)
    return Source(data, "".join(map(str, voxels.dims)).lower(), spacing, (), kind.upper())


def _planes(reader: Any, path: Path) -> Any:
    """Open a file so that one plane is read without the others, where its reader can."""
    try:
        return reader(path, chunk_dims=["Y", "X"])
    except TypeError:  # the reader of ND2 always does
        return reader(path)
