"""Single PNG and JPEG pictures: headers read by hand (a few bytes), pixels decoded when asked for."""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import imagecodecs
import numpy as np

from mitonb.errors import CorruptFileError, UnsupportedFormatError
from mitonb.io.axes import Source
from mitonb.io.bounds import check_chunk, check_declared, check_stored, guarded
from mitonb.io.lazy import Array, Paged

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Header", "decode", "header", "jpeg_header", "read_picture"]

LARGEST_METADATA = 2**26
PNG_SAMPLES = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}


@dataclass(frozen=True)
class Header:
    """What the first bytes of a picture say.

    Page shape (h, w) or (h, w, samples), dtype, pixel size in nm or None, and what one step of a stored value is after
    decoding: greys of 1, 2 and 4 bits are spread over 0..255, places in a colour table become its colours (0).
    """

    shape: tuple[int, ...]
    dtype: str
    pixel: tuple[float, float] | None = None
    step: int = 1


def read_picture(path: Path) -> Source:
    """Open one PNG or JPEG as a plane."""
    head = header(path)
    bytes_total = math.prod(head.shape) * np.dtype(head.dtype).itemsize
    data = Paged((), head.shape, head.dtype, read=lambda k: decode(path, head))
    spacing = {} if head.pixel is None else {"y": head.pixel[0], "x": head.pixel[1]}
    ids = None if head.step == 1 else Paged((), head.shape[:2], "uint8", read=lambda k: decode(path, head, ids=True))
    return Source(data, "yxs"[: len(head.shape)], spacing, kind="picture", chunk_bytes=bytes_total, ids=ids)


def header(path: Path) -> Header:
    """Read the header of a PNG or JPEG, and refuse sizes that its bytes cannot hold.

    Raises
    ------
    CorruptFileError, UnsafeFileError, TooLargeError
        If the header is damaged or declares more than the file holds or the memory takes.
    """
    with guarded(path.name), open(path, "rb") as file:
        start = file.read(8)
        file.seek(0)
        head = _png(file, path.name) if start[:4] == b"\x89PNG" else jpeg_header(file, path.name)
    if 0 in head.shape:
        raise CorruptFileError(f"{path.name} declares a picture of {head.shape[1]} x {head.shape[0]} pixels.")
    total, stored = math.prod(head.shape) * np.dtype(head.dtype).itemsize, path.stat().st_size
    check_declared(total, stored, what=path.name, compressed=True)
    check_chunk(total, stored, what=path.name)
    return head


def decode(path: Path, head: Header, *, ids: bool = False) -> Array:
    """Decode a picture and check it against its header; as ids, values are those in the file."""
    total = math.prod(head.shape) * np.dtype(head.dtype).itemsize
    with guarded(path.name):
        with open(path, "rb") as file:
            png = file.read(1) == b"\x89"
            file.seek(0)
            data = _pixels(file, total, path.name, ids=ids) if png else file.read(2 * total + LARGEST_METADATA)
        if not png and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):  # its decoder paints the rest grey
            raise CorruptFileError(f"{path.name} is truncated: its pixels do not end. Copy it again.")
        try:
            image = imagecodecs.png_decode(data) if data[:4] == b"\x89PNG" else imagecodecs.jpeg_decode(data)
        except (imagecodecs.PngError, imagecodecs.JpegError) as error:
            raise CorruptFileError(f"{path.name} is damaged or truncated ({error}). Copy it again.") from error
    if ids and head.step != 1:
        return np.asarray(image // (255 // (2 ** min(data[24], 8) - 1)), dtype=np.uint8)
    if image.shape != head.shape:
        raise CorruptFileError(f"{path.name} changed, or is damaged: {image.shape} pixels instead of {head.shape}.")
    return np.asarray(image, dtype=head.dtype)


def _pixels(file: BinaryIO, total: int, what: str, *, ids: bool) -> bytes:
    """Return a PNG with what its pixels need only, whatever else lies in the file or behind its end.

    As ids, a picture with a colour table becomes one of greys: what is decoded is the place in the table.
    """
    parts = [file.read(8)]
    stored = 0
    while parts[-1][4:8] != b"IEND":
        head = file.read(8)
        if len(head) < 8:
            raise CorruptFileError(f"{what} is damaged or truncated. Copy it again.")
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IDAT":
            stored += length + 12
            check_stored(stored, total, what=what)
        indexed = ids and len(parts) > 1 and parts[1][17] == 3
        if kind not in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND") or (indexed and kind in (b"PLTE", b"tRNS")):
            file.seek(length + 4, 1)
            continue
        if kind != b"IDAT" and length > 1024:
            raise CorruptFileError(f"{what} is damaged: its {kind.decode()} has {length} bytes. Copy it again.")
        parts.append(head + file.read(length + 4))
    if ids and parts[1][17] == 3:
        grey = parts[1][4:17] + b"\0" + parts[1][18:21]
        parts[1] = parts[1][:4] + grey + struct.pack(">I", zlib.crc32(grey))
    return b"".join(parts)


def _png(file: BinaryIO, what: str) -> Header:
    """Read the chunks of a PNG up to its pixels."""
    if file.read(8) != b"\x89PNG\r\n\x1a\n":
        raise CorruptFileError(
            f"{what} starts like a PNG, but was changed on its way (text-mode copy?). Copy it again."
        )
    shape: tuple[int, ...] = ()
    dtype, pixel, samples, step = "uint8", None, 1, 1
    for _ in range(1000):
        length, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"IDAT":
            break
        body = file.read(length) if length <= 64 else b""
        file.seek(max(0, length - len(body)) + 4, 1)
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
            shape, dtype, samples = (height, width), "uint16" if depth == 16 else "uint8", PNG_SAMPLES[colour]
            step = 0 if colour == 3 else 255 // (2**depth - 1) if colour == 0 and depth < 8 else 1
        elif kind == b"tRNS" and samples in (1, 3):
            samples += 1
        elif kind == b"pHYs":
            pixel = _physical(body)
    if not shape:
        raise CorruptFileError(f"{what} has no PNG header.")
    return Header(shape if samples == 1 else (*shape, samples), dtype, pixel, step)


def _physical(body: bytes) -> tuple[float, float] | None:
    """Return the (y, x) pixel size in nm from pixels per metre; 72 dpi of a paint program is none."""
    x, y, unit = struct.unpack(">IIB", body[:9])
    if unit != 1 or not x or not y or 1e9 / x > 2000 or 1e9 / y > 2000:
        return None
    return 1e9 / y, 1e9 / x


def jpeg_header(file: BinaryIO, what: str) -> Header:
    """Find the frame header of a JPEG."""
    if file.read(2) != b"\xff\xd8":
        raise UnsupportedFormatError(f"{what} is neither PNG nor JPEG.")
    for _ in range(1000):
        marker = file.read(2)
        if len(marker) < 2 or marker[0] != 0xFF:
            break
        code = marker[1]
        if code == 0xFF:
            file.seek(-1, 1)
            continue
        (length,) = struct.unpack(">H", file.read(2))
        if 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC):
            precision, height, width, samples = struct.unpack(">BHHB", file.read(6))
            if samples not in (1, 3) or precision != 8:
                raise UnsupportedFormatError(
                    f"{what} is a JPEG with {samples} channels of {precision} bits. Save it as PNG or TIFF."
                )
            return Header((height, width) if samples == 1 else (height, width, samples), "uint8")
        file.seek(length - 2, 1)
    raise CorruptFileError(f"{what} is damaged or truncated: it has no JPEG frame.")
