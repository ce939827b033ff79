"""TIFF files: multi-page, tiled, ImageJ and OME, read page by page."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import re
import threading
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import tifffile

from mitonb.errors import AxesError, CorruptFileError, InputError, UnsupportedFormatError
from mitonb.io.axes import Source
from mitonb.io.bounds import check_chunk, check_declared, check_stored, guarded
from mitonb.io.lazy import Array, Paged, native
from mitonb.io.pictures import jpeg_header
from mitonb.io.units import nanometres
from mitonb.io.watched import Raw

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["read_tiff"]


class _Listener(logging.Handler):
    """Collects what tifffile logs while this thread opens one file."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.thread = threading.get_ident()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.thread:
            self.records.append(record)


@contextlib.contextmanager
def _listening() -> Iterator[_Listener]:
    """Listen to the reader's log instead of letting it reach the screen."""
    logger, listener = logging.getLogger("tifffile"), _Listener()
    propagate = logger.propagate
    logger.addHandler(listener)
    logger.propagate = False
    try:
        yield listener
    finally:
        logger.removeHandler(listener)
        logger.propagate = propagate


def read_tiff(path: Path, series: int | None = None) -> Source:
    """Open a TIFF file; read its headers only.

    Raises
    ------
    CorruptFileError
        If the file is damaged or truncated.
    AxesError
        If it holds several images of different shapes and `series` does not choose one.
    """
    what = path.name
    with guarded(what), _listening() as heard:
        file = tifffile.TiffFile(path, _multifile=False)
        try:
            image = _chosen(file, series, what)
            source = _source(file, image, path)
        except BaseException:
            file.close()
            raise
    broken = [r for r in heard.records if r.levelno >= logging.ERROR]
    if broken:
        file.close()
        raise CorruptFileError(f"{what} is damaged or truncated: {_said(broken[0])}. Copy or export it again.")
    notes = tuple(dict.fromkeys(f"The reader says: {_said(r)}." for r in heard.records))
    return replace(source, notes=source.notes + notes[:5])


def _said(record: logging.LogRecord) -> str:
    """Return the reader's message without its object names."""
    text = record.getMessage()
    return text.split("> ", 1)[-1].strip().rstrip(".")[:200]


def _chosen(file: tifffile.TiffFile, series: int | None, what: str) -> Any:
    """Return the image that the caller chose, or the only one."""
    images = [s for s in file.series if s.kind != "thumbnail"]
    if not images:
        raise CorruptFileError(f"{what} holds no image.")
    if series is not None:
        if not isinstance(series, int) or not 0 <= series < len(images):
            raise InputError(f"{what} holds images 0 to {len(images) - 1}, got series={series!r}.")
        return images[series]
    if len(images) > 1:
        listed = "; ".join(f"series={i}: {s.axes} {s.shape}" for i, s in enumerate(images[:8]))
        raise AxesError(f"{what} holds {len(images)} images of different kinds. Choose one: {listed}.")
    return images[0]


def _source(file: tifffile.TiffFile, image: Any, path: Path) -> Source:
    """Describe one image of a TIFF file."""
    what, page, stored = path.name, image.keyframe, path.stat().st_size
    if image.dtype is None or page.dtype is None:
        raise UnsupportedFormatError(
            f"{what} has {page.bitspersample}-bit samples of a kind that cannot be read. Export it as 8 or 16 bit."
        )
    shape = tuple(int(n) for n in image.shape)
    declared = math.prod([int(n) for n in shape]) * image.dtype.itemsize
    # Pages of a bilevel image take an eighth of the bytes that they are read to.
    check_declared(declared, stored, what=what, compressed=page.compression != 1 or page.bitspersample < 8)
    notes: list[str] = []
    data: Any
    if image.dataoffset is not None:
        check_declared(image.dataoffset + declared, stored, what=what, compressed=False)
        data = Raw(path, image.dtype.newbyteorder(file.byteorder), shape, int(image.dataoffset))
    else:
        data = _paged(file, image, what, stored)
    if page.photometric == 3:
        notes.append("The values are places in a colour table, as labels have them, and no greys.")
    if file.is_ome and image.kind != "ome":
        notes.append("This OME-TIFF is one of several files; only the planes in this file are shown.")
    spacing, kind = _spacing(file, image, page, notes)
    if image.dataoffset is not None:
        file.close()
    axes = "".join("i" if c in "QI" else c.lower() for c in image.axes)
    black = _black(page) if page.photometric == 0 else None
    return Source(data, axes, spacing, tuple(notes), kind, _chunk_bytes(page), black=black)


def _black(page: Any) -> float:
    """Return the value of black where 0 is white: for whole numbers from 0 on the largest that the bits can hold."""
    kind = page.dtype.kind
    return 2 ** int(page.bitspersample) - 1 if kind in "ub" else -1 if kind == "i" else 0


def _chunk_bytes(page: Any) -> int:
    """Return the bytes that one strip or tile decodes to."""
    return math.prod([int(n) for n in page.chunks]) * int(page.dtype.itemsize)


def _paged(file: tifffile.TiffFile, image: Any, what: str, stored: int) -> Paged:
    """Return the lazy array over the pages of an image."""
    page = image.keyframe
    shape, inner = tuple(int(n) for n in image.shape), tuple(int(n) for n in page.shape)
    lead = shape[: len(shape) - len(inner)]
    if shape[len(lead) :] != inner or math.prod(lead) != len(image.pages):
        raise CorruptFileError(
            f"{what} is damaged or truncated: it declares planes {shape}, but holds {len(image.pages)} of {inner}."
        )
    check_chunk(_chunk_bytes(page), max(page.databytecounts, default=0), what=what)
    reader = _PageReader(file, image, what, stored)
    part = reader.part if page.imagedepth == 1 and len(page.dataoffsets) > 1 else None
    if len(inner) > 1 and (page.planarconfig == 2 and page.samplesperpixel > 1):
        part = None
    reader.check_ends(len(image.pages))
    return Paged(lead, inner, native(image.dtype), read=reader.page, part=part)


class _PageReader:
    """Decodes pages of an open TIFF file; safe to share between threads."""

    def __init__(self, file: tifffile.TiffFile, image: Any, what: str, stored: int) -> None:
        self._file, self._image, self._what, self._stored = file, image, what, stored
        self._lock = threading.RLock()
        self._dtype = native(image.dtype)
        # A stack may be dropped at any time; its file must not wait for the garbage collector's mood.
        weakref.finalize(self, file.close)

    def check_ends(self, count: int) -> None:
        """Check the last page: a copy that was cut off lacks it first."""
        self._segments(count - 1)

    def _segments(self, k: int) -> Any:
        """Return page k after a check that its data lies inside the file."""
        page = self._image.pages[k]
        if page is None:
            raise CorruptFileError(f"{self._what} lacks plane {k}: its data is not in this file.")
        if page.shape != self._image.keyframe.shape or page.dtype != self._image.keyframe.dtype:
            raise CorruptFileError(f"{self._what}: plane {k} is {page.shape} {page.dtype}, unlike the first.")
        decoded = _chunk_bytes(page)
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            check_stored(count, decoded, what=self._what)
            if offset + count > self._stored:
                raise CorruptFileError(
                    f"{self._what} is truncated: plane {k} needs byte {offset + count}, but the file has "
                    f"{self._stored}. Copy it again."
                )
            if page.compression == 7 and count:  # a JPEG says its own size, and its decoder believes it
                self._file.filehandle.seek(offset)
                inner = jpeg_header(io.BytesIO(self._file.filehandle.read(min(count, 2**16))), self._what)
                check_stored(math.prod(inner.shape), decoded, what=self._what)
        return page

    def page(self, k: int) -> Array:
        """Decode page k."""
        with guarded(f"{self._what}, plane {k}"):
            with self._lock, _listening() as heard:
                image = np.asarray(self._segments(k).asarray(maxworkers=1))
            if any(r.levelno >= logging.ERROR for r in heard.records):
                raise CorruptFileError(f"{self._what}, plane {k}: {_said(heard.records[0])}.")
            return np.ascontiguousarray(image, dtype=self._dtype)

    def part(self, k: int, rows: slice, columns: slice) -> Array:
        """Decode the strips or tiles of page k that hold some rows and columns."""
        with guarded(f"{self._what}, plane {k}"):
            with self._lock:
                page = self._segments(k)
            key = page.keyframe
            height, width = (key.tilelength, key.tilewidth) if key.is_tiled else (key.rowsperstrip, key.imagewidth)
            across = -(-key.imagewidth // width)
            tail = key.shape[2:]
            out = np.zeros((rows.stop - rows.start, columns.stop - columns.start, *tail), self._dtype)
            for i in range(rows.start // height, -(-rows.stop // height)):
                for j in range(columns.start // width, -(-columns.stop // width)):
                    self._place(page, i * across + j, (i * height, j * width), rows, columns, out)
            return out

    def _place(self, page: Any, index: int, corner: tuple[int, int], rows: slice, columns: slice, out: Array) -> None:
        """Decode one strip or tile and copy what is asked for."""
        key = page.keyframe
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        if count == 0:
            return
        with self._lock:
            self._file.filehandle.seek(offset)
            data = self._file.filehandle.read(count)
        tables = {"jpegtables": key.jpegtables} if key.jpegtables is not None else {}
        decoded, _, _ = key.decode(data, index, **tables)
        if decoded is None:
            return
        block = decoded[0] if len(key.shape) > 2 else decoded[0, ..., 0]
        top, left = corner
        y0, y1 = max(top, rows.start), min(top + block.shape[0], rows.stop, key.imagelength)
        x0, x1 = max(left, columns.start), min(left + block.shape[1], columns.stop, key.imagewidth)
        out[y0 - rows.start : y1 - rows.start, x0 - columns.start : x1 - columns.start] = block[
            y0 - top : y1 - top, x0 - left : x1 - left
        ]


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
    if "spacing" in described and isinstance(described.get("unit"), str):
        size = nanometres(described["spacing"], described["unit"])
        spacing |= {} if size is None else {"z": size}
    unit = {2: "inch", 3: "cm", 4: "mm", 5: "um"}.get(int(page.tags.valueof(296, default=2)))
    for axis, code in (("y", 283), ("x", 282)):
        size = nanometres(_per_pixel(page, code), unit)
        # Camera and paint programs write 72 or 300 dpi into everything: a pixel of an EM image is below 2 um.
        if size is not None and size < 2000:
            spacing[axis] = size
    return spacing, "TIFF"


def _microscope_spacing(file: tifffile.TiffFile, page: Any) -> dict[str, float]:
    """Return the voxel size in the tags of a microscope: FEI (Thermo Fisher), Zeiss, Olympus, TVIPS, TESCAN, Gatan."""
    found: list[tuple[Any, Any, str]] = []
    fei = file.fei_metadata or {}
    for part in ("Scan", "EScan", "IScan"):
        scan = fei.get(part)
        if isinstance(scan, dict):
            found.append((scan.get("PixelHeight"), scan.get("PixelWidth"), "m"))
    for key in ("ap_image_pixel_size", "ap_pixel_size"):
        value = (file.sem_metadata or {}).get(key)
        if isinstance(value, tuple) and len(value) == 3:
            found.append((value[1], value[1], str(value[2])))
    raw = (file.sem_metadata or {}).get("", ())
    if len(raw) > 3 and isinstance(raw[3], float):  # of a screen of 1024 pixels
        found.append((raw[3] * 1024 / page.imagewidth,) * 2 + ("m",))
    olympus, tvips = file.sis_metadata or {}, file.tvips_metadata or {}
    found.append((olympus.get("pixelsizey"), olympus.get("pixelsizex"), "m"))
    found.append((tvips.get("PixelSizeY"), tvips.get("PixelSizeX"), "nm"))
    tescan = page.tags.valueof(50431, default=b"")
    if isinstance(tescan, bytes):
        sizes = [re.search(rb"PixelSize%c\s*=\s*([0-9.eE+-]+)" % axis, tescan[: 2**20]) for axis in b"YX"]
        found.append((*(size and size[1].decode() for size in sizes), "m"))  # type: ignore[arg-type]
    for height, width, unit in found:
        y, x = nanometres(height, unit), nanometres(width, unit)
        if y is not None and x is not None:
            return {"y": y, "x": x}
    # Digital Micrograph: 3View, and cameras of transmission microscopes.
    gatan = {c: _gatan(page, 65009 + k, 65003 + k) for k, c in enumerate("xyz")}
    return {c: size for c, size in gatan.items() if size is not None}


def _gatan(page: Any, size: int, unit: int) -> float | None:
    """Return a size in nm from one tag and its unit from another."""
    word = page.tags.valueof(unit, default="")
    word = word.decode("latin-1") if isinstance(word, bytes) else word
    return nanometres(page.tags.valueof(size, default=None), word.strip("\0") if isinstance(word, str) else None)


def _per_pixel(page: Any, code: int) -> float:
    """Return units per pixel from a resolution tag, or 0."""
    value = page.tags.valueof(code, default=None)
    if not isinstance(value, tuple) or len(value) != 2 or not value[0]:
        return 0.0
    return float(value[1]) / float(value[0])


def _imagej_spacing(metadata: dict[str, Any], page: Any, notes: list[str]) -> dict[str, float]:
    """Return the voxel size of an ImageJ file; ImageJ leaves the spacing out when it is 1 unit."""
    unit = str(metadata.get("unit", ""))
    spacing: dict[str, float] = {}
    for axis, code, name in (("y", 283, "yunit"), ("x", 282, "unit")):
        size = nanometres(_per_pixel(page, code), str(metadata.get(name, unit)))
        if size is not None:
            spacing[axis] = size
    depth = nanometres(metadata.get("spacing", 0.0), str(metadata.get("zunit", unit)))
    if depth is not None:
        spacing["z"] = depth
    if unit and not spacing and unit not in ("pixel", "pixels"):
        notes.append(f"The unit {unit[:20]!r} is not known: the voxel size stays unknown.")
    return spacing


def _ome_spacing(text: str, index: int) -> dict[str, float]:
    """Return the PhysicalSize of an image of an OME-XML text, in nm by axis letter."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise CorruptFileError("The OME-XML of this file defines entities, which image metadata never needs.")
    images = [e for e in ElementTree.fromstring(text).iter() if e.tag.rsplit("}", 1)[-1] == "Pixels"]
    if not images:
        return {}
    pixels = images[min(index, len(images) - 1)].attrib
    spacing = {}
    for axis in "ZYX":
        if f"PhysicalSize{axis}" in pixels:
            size = nanometres(pixels[f"PhysicalSize{axis}"], pixels.get(f"PhysicalSize{axis}Unit", "\u00b5m"))
            if size is not None:
                spacing[axis.lower()] = size
    return spacing
