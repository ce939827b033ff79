"""TIFF both ways: multi-page, tiled, ImageJ, OME and those of microscopes, read page by page, with tifffile."""

import contextlib
import io
import itertools
import logging
import math
import re
import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from PIL.JpegImagePlugin import JpegImageFile

from mitonb.errors import AxesError, CorruptFileError, InputError, UnsupportedFormatError
from mitonb.io.arrays import Array, Lazy, Saving, Source, native, paged, raw_voxels
from mitonb.io.axes import nanometres
from mitonb.io.limits import check_block, check_held

TESCAN = re.compile(rb"PixelSize([XY])\s*=\s*([0-9.eE+-]+)")
BIG = 2**32 - 2**25
"""Bytes of voxels above which a file needs 64-bit offsets."""


# --- Reading


def read_tiff(path: Path, series: int | None = None) -> Source:
    """Open a TIFF file; read its headers only.

    Raises
    ------
    CorruptFileError
        If the file is damaged or truncated.
    AxesError
        If it holds several images of different shapes and `series` does not choose one.
    """
    with _listening() as heard, contextlib.ExitStack() as kept:
        file = kept.enter_context(tifffile.TiffFile(path, _multifile=False))
        image = _chosen(file, series, path.name)
        source = _source(file, image, path)
        broken = [r for r in heard if r.levelno >= logging.ERROR]
        if broken:
            raise CorruptFileError(f"{path.name} is damaged or truncated: {_said(broken[0])}. Copy or export it again.")
        if image.dataoffset is None:  # its pages are decoded when they are asked for
            kept.pop_all()
    notes = tuple(dict.fromkeys(f"The reader says: {_said(r)}." for r in heard))
    return replace(source, notes=source.notes + notes[:5])


@contextlib.contextmanager
def _listening() -> Iterator[list[logging.LogRecord]]:
    """Collect what tifffile logs in this thread, instead of letting it reach the screen."""
    heard: list[logging.LogRecord] = []
    me, logger = threading.get_ident(), logging.getLogger("tifffile")

    def keep(record: logging.LogRecord) -> bool:
        if record.thread == me and record.levelno >= logging.WARNING:
            heard.append(record)
        return record.thread != me

    logger.addFilter(keep)
    try:
        yield heard
    finally:
        logger.removeFilter(keep)


def _said(record: logging.LogRecord) -> str:
    """Return the reader's message without its object names."""
    return record.getMessage().split("> ", 1)[-1].strip().rstrip(".")[:200]


def _chosen(file: tifffile.TiffFile, series: int | None, what: str) -> Any:
    """Return the image that the caller chose, or the only one."""
    images = [s for s in file.series if s.kind != "thumbnail"]
    if not images:
        raise CorruptFileError(f"{what} holds no image.")
    if not 0 <= (series or 0) < len(images):
        raise InputError(f"{what} holds images 0 to {len(images) - 1}, got series={series!r}.")
    if series is None and len(images) > 1:
        listed = "; ".join(f"series={i}: {s.axes} {s.shape}" for i, s in enumerate(images[:8]))
        raise AxesError(f"{what} holds {len(images)} images of different kinds. Choose one: {listed}.")
    return images[series or 0]


def _source(file: tifffile.TiffFile, image: Any, path: Path) -> Source:
    """Describe one image of a TIFF file."""
    what, page, stored = path.name, image.keyframe, path.stat().st_size
    if image.dtype is None or page.dtype is None:
        bits = page.bitspersample
        raise UnsupportedFormatError(f"{what} has {bits}-bit samples that cannot be read. Export it as 8 or 16 bit.")
    shape = tuple(int(n) for n in image.shape)
    declared = math.prod(shape) * image.dtype.itemsize
    if image.dataoffset is not None:
        check_held(what, image.dataoffset + declared, stored)
        data = raw_voxels(path, image.dtype.newbyteorder(file.byteorder), shape, int(image.dataoffset))
    else:
        check_block(what, _chunk_bytes(page), max(page.databytecounts, default=0))
        data = _Pages(file, image, path).lazy(shape)
    notes: list[str] = []
    if page.photometric == 3:
        notes.append("The values are places in a colour table, as labels have them, and no greys.")
    if file.is_ome and image.kind != "ome":
        notes.append("This OME-TIFF is one of several files; only the planes in this file are shown.")
    spacing, kind = _spacing(file, image, page, notes)
    axes = "".join("i" if c in "QI" else c.lower() for c in image.axes)
    black = _black(page) if page.photometric == 0 else None
    return Source(data, axes, spacing, tuple(notes), kind, black=black)


def _black(page: Any) -> float:
    """Return the value of black where 0 is white: for whole numbers from 0 on the largest that the bits can hold."""
    kind = page.dtype.kind
    return 2 ** int(page.bitspersample) - 1 if kind in "ub" else -1 if kind == "i" else 0


def _chunk_bytes(page: Any) -> int:
    """Return the bytes that one strip or tile decodes to."""
    return math.prod([int(n) for n in page.chunks]) * int(page.dtype.itemsize)


class _Pages:
    """Decodes pages of an open TIFF file; safe to share between threads."""

    def __init__(self, file: tifffile.TiffFile, image: Any, path: Path) -> None:
        self._file, self._image, self._what, self._stored = file, image, path.name, path.stat().st_size
        self._lock = threading.RLock()
        # A stack may be dropped at any time; its file must not wait for the garbage collector's mood.
        weakref.finalize(self, file.close)

    def lazy(self, shape: tuple[int, ...]) -> Lazy:
        """Return the array over all pages."""
        page, count = self._image.keyframe, len(self._image.pages)
        inner = tuple(int(n) for n in page.shape)
        lead = shape[: len(shape) - len(inner)]
        if shape[len(lead) :] != inner or math.prod(lead) != count:
            held = f"it declares planes {shape}, but holds {count} of {inner}"
            raise CorruptFileError(f"{self._what} is damaged or truncated: {held}.")
        self._checked(count - 1)  # a copy that was cut off lacks the last page first
        flat = page.imagedepth == 1 and len(page.dataoffsets) > 1
        apart = len(inner) > 1 and page.planarconfig == 2 and page.samplesperpixel > 1
        part = self.part if flat and not apart else None
        return paged(lead, inner, self._image.dtype, self.page, self._what, part)

    def _checked(self, k: int) -> Any:
        """Return page k after a check that its data lies inside the file."""
        page, first = self._image.pages[k], self._image.keyframe
        if page is None:
            raise CorruptFileError(f"{self._what} lacks plane {k}: its data is not in this file.")
        if (page.shape, page.dtype) != (first.shape, first.dtype):
            raise CorruptFileError(f"{self._what}: plane {k} is {page.shape} {page.dtype}, unlike the first.")
        decoded = _chunk_bytes(page)
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            check_block(self._what, decoded, count)
            if offset + count > self._stored:
                said = f"plane {k} needs byte {offset + count}, but the file has {self._stored}"
                raise CorruptFileError(f"{self._what} is truncated: {said}. Copy it again.")
            if page.compression == 7 and count:  # a JPEG says its own size, and its decoder believes it
                tile = JpegImageFile(io.BytesIO(self._bytes(offset, min(count, 2**16))))
                check_block(self._what, decoded, math.prod(tile.size) * tile.layers)
        return page

    def _bytes(self, offset: int, count: int) -> bytes:
        with self._lock:
            self._file.filehandle.seek(offset)
            return self._file.filehandle.read(count)

    def page(self, k: int) -> Array:
        """Decode page k."""
        with self._lock, _listening() as heard:
            image = np.asarray(self._checked(k).asarray(maxworkers=1))
        if any(r.levelno >= logging.ERROR for r in heard):
            raise CorruptFileError(f"{self._what}, plane {k}: {_said(heard[0])}.")
        return np.ascontiguousarray(image, dtype=native(image.dtype))

    def part(self, k: int, rows: slice, columns: slice) -> Array:
        """Decode the strips or tiles of page k that hold some rows and columns."""
        with self._lock:
            page = self._checked(k)
        key = page.keyframe
        height, width = (key.tilelength, key.tilewidth) if key.is_tiled else (key.rowsperstrip, key.imagewidth)
        across = -(-key.imagewidth // width)
        h, w = rows.stop - rows.start, columns.stop - columns.start
        out: Array = np.zeros((h, w, *key.shape[2:]), native(key.dtype))
        down = range(rows.start // height, -(-rows.stop // height))
        for i, j in itertools.product(down, range(columns.start // width, -(-columns.stop // width))):
            index = i * across + j
            data = self._bytes(page.dataoffsets[index], page.databytecounts[index])
            block = key.decode(data, index, jpegtables=key.jpegtables)[0] if data else None
            if block is not None:
                block = block[0] if len(key.shape) > 2 else block[0, ..., 0]
                y, x = i * height - rows.start, j * width - columns.start
                to = slice(max(y, 0), min(y + block.shape[0], h)), slice(max(x, 0), min(x + block.shape[1], w))
                out[to] = block[to[0].start - y : to[0].stop - y, to[1].start - x : to[1].stop - x]
        return out


# --- Voxel sizes


def _spacing(file: tifffile.TiffFile, image: Any, page: Any, notes: list[str]) -> tuple[dict[str, float], str]:
    """Return the voxel size that the metadata states, by axis letter in nm, and the name of the flavour."""
    if file.is_ome and file.ome_metadata:
        return _ome_spacing(file.ome_metadata, list(file.series).index(image)), "OME-TIFF"
    if file.is_imagej and file.imagej_metadata is not None:
        return _imagej_spacing(file.imagej_metadata, page, notes), "ImageJ TIFF"
    spacing = _microscope_spacing(file, page)
    if spacing:
        return spacing, "TIFF of an electron microscope"
    described = file.shaped_metadata[0] if file.is_shaped and file.shaped_metadata else {}
    unit = {2: "inch", 3: "cm", 4: "mm", 5: "um"}.get(int(page.tags.valueof(296, default=2)))
    # Camera and paint programs write 72 or 300 dpi into everything: a pixel of an EM image is below 2 um.
    small = {axis: size for axis, size in _known(page, unit, unit).items() if size < 2000}
    depth = nanometres(described.get("spacing"), described.get("unit"))
    return small | ({"z": depth} if depth else {}), "TIFF"


def _known(page: Any, y_unit: Any, x_unit: Any) -> dict[str, float]:
    """Return the pixel size in the resolution tags, which hold pixels per unit."""
    found = {}
    for axis, code, unit in (("y", 283, y_unit), ("x", 282, x_unit)):
        value = page.tags.valueof(code, default=None)
        good = isinstance(value, tuple) and len(value) == 2 and value[0]
        found[axis] = nanometres(float(value[1]) / float(value[0]) if good else 0, unit)
    return {axis: size for axis, size in found.items() if size is not None}


def _microscope_spacing(file: tifffile.TiffFile, page: Any) -> dict[str, float]:
    """Return the voxel size in the tags of a microscope: FEI (Thermo Fisher), Zeiss, Olympus, TVIPS, TESCAN, Gatan."""
    fei, zeiss = file.fei_metadata or {}, file.sem_metadata or {}
    olympus, tvips = file.sis_metadata or {}, file.tvips_metadata or {}
    scans = [scan for scan in map(fei.get, ("Scan", "EScan", "IScan")) if isinstance(scan, dict)]
    found: list[tuple[Any, Any, Any]] = [(scan.get("PixelHeight"), scan.get("PixelWidth"), "m") for scan in scans]
    sizes = [size for size in map(zeiss.get, ("ap_image_pixel_size", "ap_pixel_size")) if isinstance(size, tuple)]
    found += [(size[1], size[1], size[2]) for size in sizes if len(size) == 3]
    raw = zeiss.get("", ())
    if len(raw) > 3 and isinstance(raw[3], float):  # of a screen of 1024 pixels
        found.append((raw[3] * 1024 / page.imagewidth, raw[3] * 1024 / page.imagewidth, "m"))
    found.append((olympus.get("pixelsizey"), olympus.get("pixelsizex"), "m"))
    found.append((tvips.get("PixelSizeY"), tvips.get("PixelSizeX"), "nm"))
    text = page.tags.valueof(50431, default=b"")
    tescan = dict(TESCAN.findall(text[: 2**20]) if isinstance(text, bytes) else ())
    found.append((tescan.get(b"Y"), tescan.get(b"X"), "m"))
    for y, x in ((nanometres(height, unit), nanometres(width, unit)) for height, width, unit in found):
        if y is not None and x is not None:
            return {"y": y, "x": x}
    gatan = {}  # Digital Micrograph: 3View, and cameras of transmission microscopes
    for k, axis in enumerate("xyz"):
        word = page.tags.valueof(65003 + k, default="")
        word = word.decode("latin-1") if isinstance(word, bytes) else str(word)
        gatan[axis] = nanometres(page.tags.valueof(65009 + k, default=None), word.strip("\0"))
    return {axis: size for axis, size in gatan.items() if size is not None}


def _imagej_spacing(metadata: dict[str, Any], page: Any, notes: list[str]) -> dict[str, float]:
    """Return the voxel size of an ImageJ file; ImageJ leaves the spacing out when it is 1 unit."""
    unit = str(metadata.get("unit", ""))
    spacing = _known(page, str(metadata.get("yunit", unit)), unit)
    depth = nanometres(metadata.get("spacing", 0.0), str(metadata.get("zunit", unit)))
    spacing |= {} if depth is None else {"z": depth}
    if unit and not spacing and unit not in ("pixel", "pixels"):
        notes.append(f"The unit {unit[:20]!r} is not known: the voxel size stays unknown.")
    return spacing


def _ome_spacing(text: str, index: int) -> dict[str, float]:
    """Return the PhysicalSize of an image of an OME-XML text, in nm by axis letter."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise CorruptFileError("The OME-XML of this file defines entities, which image metadata never needs.")
    images = [e.attrib for e in ElementTree.fromstring(text).iter() if e.tag.rsplit("}", 1)[-1] == "Pixels"]
    pixels = images[min(index, len(images) - 1)] if images else {}
    sizes = {
        axis: nanometres(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "\u00b5m"))
        for axis in "ZYX"
    }
    return {axis.lower(): size for axis, size in sizes.items() if size is not None}


# --- Writing


def write_tiff(path: Path, saving: Saving, *, ome: bool = False) -> None:
    """Write a volume as TIFF that other programs open as it is: ImageJ, OME or plain.

    Labels take uint16 where all ids fit, else uint32; bool becomes uint8. uint8, uint16 and float32 become ImageJ
    files; other dtypes become plain TIFF, because ImageJ's header cannot hold them. Everything is compressed
    losslessly except ImageJ files, which ImageJ reads by offset.

    Raises
    ------
    UnsupportedFormatError
        If OME-TIFF has no such dtype (float16, 64-bit integers), or planes are one pixel wide (but not in OME-TIFF).
    """
    if saving.shape[2] == 1 and not ome:
        # Without OME's axes a column of pixels cannot be told from a row of single samples.
        raise UnsupportedFormatError("TIFF cannot hold planes of one column. Save as .ome.tif, .ome.zarr or .npy.")
    dtype = _stored_dtype(saving)
    size = saving.voxel_size
    total = math.prod(saving.shape) * dtype.itemsize
    options: dict[str, Any] = {"bigtiff": total > BIG, "compression": "zlib"}
    metadata: dict[str, Any] = {"axes": "ZYX"}
    if ome:
        if dtype.name in ("float16", "int64", "uint64"):
            raise UnsupportedFormatError(f"OME-TIFF has no {dtype.name}. Save as .ome.zarr or .npy, or convert first.")
        options["ome"] = True
        metadata["Name"] = saving.name
        for axis, length in zip("ZYX", size or (), strict=False):
            metadata |= {f"PhysicalSize{axis}": length, f"PhysicalSize{axis}Unit": "nm"}
    else:
        imagej = dtype.name in ("uint8", "uint16", "float32") and total < BIG
        if imagej:
            options = {"imagej": True}
        if size is not None:
            metadata |= {"spacing": size[0], "unit": "nm"}
            per = 1.0 if imagej else 1e7  # pixels per nm for ImageJ, per cm for plain TIFF
            options |= {"resolution": (per / size[2], per / size[1])}
            options |= {"resolutionunit": "NONE" if imagej else "CENTIMETER"}
    tifffile.imwrite(
        path, (saving.plane(z).astype(dtype, copy=False) for z in range(saving.shape[0])), shape=saving.shape,
        dtype=dtype, photometric="minisblack", metadata=metadata, **options,
    )  # fmt: skip


def write_planes(path: Path, saving: Saving) -> None:
    """Write a folder with one TIFF for each xy plane, all of one dtype; errors as in `write_tiff`."""
    path.mkdir()
    dtype = _stored_dtype(saving)
    for z, name in enumerate(plane_names(saving.shape[0])):
        plane = saving.plane(z)[None].astype(dtype, copy=False)
        write_tiff(path / name, replace(saving, data=plane, labels=False))


def plane_names(count: int) -> list[str]:
    """Return the names of the files of a folder of planes, in their order."""
    digits = max(4, len(str(count - 1)))
    return [f"z{z:0{digits}}.tif" for z in range(count)]


def _stored_dtype(saving: Saving) -> np.dtype[np.generic]:
    """Return the dtype in the file."""
    dtype = native(saving.data.dtype)
    if saving.labels and dtype == np.uint32:
        highest = max(int(saving.plane(z).max()) for z in range(saving.shape[0]))
        return np.dtype(np.uint16) if highest < 2**16 else dtype
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype
