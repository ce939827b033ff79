"""PNG and JPEG pictures, and folders or lists of planes: headers are read by hand, pixels when they are asked for."""

from __future__ import annotations

import itertools
import math
import os
import re
import struct
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import imagecodecs
import numpy as np

from mitonb.errors import AxesError, CorruptFileError, InputError, UnsupportedFormatError
from mitonb.io.arrays import Array, Source, paged, stamp_of
from mitonb.io.limits import check_block, check_sizes, inside
from mitonb.io.tiff import jpeg_shape, read_tiff

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["natural", "read_folder", "read_picture", "read_planes"]

LARGEST_METADATA = 2**26
PNG_SAMPLES = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}


@dataclass(frozen=True)
class Header:
    """What the first bytes of a picture say.

    Page shape (h, w) or (h, w, samples), dtype, pixel size in nm, and what one step of a stored value is after
    decoding: greys of 1, 2 and 4 bits are spread over 0..255, places in a colour table become its colours (0).
    """

    shape: tuple[int, ...]
    dtype: str = "uint8"
    pixel: tuple[float, float] | None = None
    step: int = 1

    @property
    def bytes(self) -> int:
        """Size of the decoded picture."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def read_picture(path: Path) -> Source:
    """Open one PNG or JPEG as a plane.

    Raises
    ------
    CorruptFileError, UnsafeFileError, TooLargeError
        If the header is damaged or declares more than the file holds or the memory takes.
    """
    with open(path, "rb") as file:
        png = file.read(4) == b"\x89PNG"
        file.seek(0)
        head = _png_header(file, path.name) if png else Header(jpeg_shape(file, path.name))
    if 0 in head.shape:
        raise CorruptFileError(f"{path.name} declares a picture of {head.shape[1]} x {head.shape[0]} pixels.")
    stored = path.stat().st_size
    check_sizes(path.name, head.bytes, stored, block=(head.bytes, stored))
    data = paged((), head.shape, head.dtype, lambda k: _decode(path, head), path.name)
    ids = None
    if head.step != 1:
        ids = paged((), head.shape[:2], "uint8", lambda k: _decode(path, head, ids=True), path.name)
    spacing = dict(zip("yx", head.pixel or (), strict=False))
    return Source(data, "yxs"[: len(head.shape)], spacing, kind="picture", chunk_bytes=head.bytes, ids=ids)


def _decode(path: Path, head: Header, *, ids: bool = False) -> Array:
    """Decode a picture and check it against its header; as ids, values are those in the file."""
    with open(path, "rb") as file:
        png = file.read(1) == b"\x89"
        file.seek(0)
        data = _png_pixels(file, head, path.name, ids=ids) if png else file.read(2 * head.bytes + LARGEST_METADATA)
    if not png and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):  # its decoder paints the rest grey
        raise CorruptFileError(f"{path.name} is truncated: its pixels do not end. Copy it again.")
    image: Array = imagecodecs.png_decode(data) if png else imagecodecs.jpeg_decode(data)
    if ids:
        return np.asarray(image // (255 // (2 ** min(data[24], 8) - 1)), dtype=np.uint8)
    if image.shape != head.shape:
        raise CorruptFileError(f"{path.name} changed, or is damaged: {image.shape} pixels instead of {head.shape}.")
    return image.astype(head.dtype, copy=False)


def _png_pixels(file: BinaryIO, head: Header, what: str, *, ids: bool) -> bytes:
    """Return a PNG with what its pixels need only, whatever else lies in the file or behind its end.

    As ids, a picture with a colour table becomes one of greys: what is decoded is the place in the table.
    """
    parts, stored = [file.read(8)], 0
    while parts[-1][4:8] != b"IEND":
        length, kind = struct.unpack(">I4s", file.read(8))
        stored += length + 12 if kind == b"IDAT" else 0
        check_block(what, stored, head.bytes)
        wanted = (b"IHDR", b"IDAT", b"IEND") if ids else (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
        if kind not in wanted:
            file.seek(length + 4, 1)
            continue
        if kind != b"IDAT" and length > 1024:
            raise CorruptFileError(f"{what} is damaged: its {kind.decode()} has {length} bytes. Copy it again.")
        parts.append(struct.pack(">I4s", length, kind) + file.read(length + 4))
    if ids and parts[1][17] == 3:
        grey = parts[1][4:17] + b"\0" + parts[1][18:21]
        parts[1] = parts[1][:4] + grey + struct.pack(">I", zlib.crc32(grey))
    return b"".join(parts)


def _png_header(file: BinaryIO, what: str) -> Header:
    """Read the chunks of a PNG up to its pixels."""
    if file.read(8) != b"\x89PNG\r\n\x1a\n":
        raise CorruptFileError(
            f"{what} starts like a PNG, but was changed on its way (text-mode copy?). Copy it again."
        )
    head, samples = Header(()), 1
    for _ in range(1000):
        length, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"IDAT":
            break
        body = file.read(length) if length <= 64 else b""
        file.seek(max(0, length - len(body)) + 4, 1)
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
            step = 0 if colour == 3 else 255 // (2**depth - 1) if colour == 0 and depth < 8 else 1
            head = Header((height, width), "uint16" if depth == 16 else "uint8", None, step)
            samples = PNG_SAMPLES[colour]
        elif kind == b"tRNS" and samples in (1, 3):
            samples += 1
        elif kind == b"pHYs":  # pixels per metre; 72 dpi of a paint program is none
            x, y, unit = struct.unpack(">IIB", body[:9])
            if unit == 1 and min(x, y) >= 1e9 / 2000:
                head = Header(head.shape, head.dtype, (1e9 / y, 1e9 / x), head.step)
    if not head.shape:
        raise CorruptFileError(f"{what} has no PNG header.")
    return head if samples == 1 else Header((*head.shape, samples), head.dtype, head.pixel, head.step)


# --- Folders and lists of planes


def natural(name: str) -> list[tuple[int, int, str]]:
    """Return a sorting key by which plane 2 comes before plane 10.

    Examples
    --------
    >>> sorted(["p10.png", "p2.png"], key=natural)
    ['p2.png', 'p10.png']
    """
    parts = re.split(r"([0-9]+)", name.casefold())
    return [(0, int(p), p) if p.isdecimal() else (1, 0, p) for p in parts if p]


def read_folder(folder: Path) -> Source | Path:
    """Open the planes of a folder, or return its only multi-page file.

    Raises
    ------
    InputError
        If it holds no planes, or planes of several kinds.
    UnsafeFileError
        If a plane is a link to a file outside the folder.
    """
    what = f"The folder {folder.name}"
    names = sorted((e.name for e in os.scandir(folder) if not e.name.startswith(".")), key=natural)
    if not names:
        raise InputError(f"{what} is empty. Give a folder with one PNG, TIFF or JPEG for each plane.")
    planes = [n for n in names if Path(n).suffix.lower() in KINDS]
    if not planes:
        raise InputError(
            f"{what} holds no PNG, TIFF or JPEG, but {len(names)} others such as {names[0]!r}. "
            "Give the folder that the planes lie in, or one file."
        )
    kinds = Counter(KINDS[Path(n).suffix.lower()] for n in planes)
    if len(kinds) > 1:
        counts = " and ".join(f"{n} {kind}" for kind, n in kinds.items())
        raise InputError(
            f"{what} holds {counts} files: which are the planes? Give a list: mn.open(sorted(folder.glob('*.png')))."
        )
    paths = [folder / name for name in planes]
    for path in paths:
        inside(path, folder, f"the folder {folder.name}")
    return paths[0] if len(planes) == 1 and kinds["TIFF"] else read_planes(paths, folder.name)


def read_planes(paths: Sequence[Path], what: str) -> Source:
    """Open files of one plane each as a volume, in the order given.

    Raises
    ------
    InputError
        If their shapes or dtypes differ.
    """
    stamps = [stamp_of(path) for path in paths]
    planes = [_Plane(path) for path in paths]
    first = planes[0]
    odd = [p for p in planes if p.size != first.size]
    if odd:
        raise InputError(
            f"The planes of {what} differ: {first.path.name} is {first.size}, but {odd[0].path.name} is {odd[0].size}"
            + (f", and {len(odd) - 1} others differ too. " if len(odd) > 1 else ". ")
            + "Remove what does not belong, or bring all to one size."
        )
    turned = [p.path.name for p in planes if p.black is not None]
    if 0 < len(turned) < len(planes):
        raise InputError(
            f"The planes of {what} differ: {len(turned)} of {len(planes)}, such as {turned[0]}, say that 0 is white, "
            "the others do not. Save all of them in one way."
        )
    notes, spacing = _jumps([p.name for p in paths]), first.spacing
    other = next((p for p in planes if spacing and p.spacing and p.spacing != spacing), None)
    if other is not None:
        sizes = (f"{p.path.name} of {p.spacing.get('y', 0):g} x {p.spacing.get('x', 0):g} nm" for p in (first, other))
        notes += (f"The planes have pixels of different sizes, {' and '.join(sizes)}: the voxel size stays unknown.",)
        spacing = {}
    data = paged((len(planes),), first.shape, first.dtype, lambda k: planes[k].read(), what)
    ids = None
    if any(p.indexed for p in planes):
        ids = paged((len(planes),), first.shape[:2], first.dtype, lambda k: planes[k].read(ids=True), what)
    for lazy in (data, ids):
        if lazy is not None:
            lazy.files = list(zip(paths, stamps, strict=True))
    size = math.prod(first.shape) * first.dtype.itemsize
    return Source(data, "z" + "yxs"[: len(first.shape)], spacing, notes, "folder", size, ids=ids, black=first.black)


class _Plane:
    """What the header of one file of a folder says; it is opened again for its pixels, as there may be thousands."""

    def __init__(self, path: Path) -> None:
        source = self._open(path)
        pages = [n for n, c in zip(source.shape, source.axes or "", strict=True) if c not in "yxs"]
        if any(n > 1 for n in pages):
            raise AxesError(
                f"{path.name} holds {source.shape} voxels, but each file of a folder is one plane. "
                "Open it by its own path."
            )
        self.path, self.spacing, self.black = path, dict(source.spacing), source.black
        self.shape, self.dtype = source.shape[len(pages) :], np.dtype(source.data.dtype)
        self.indexed = source.ids is not None
        h, w, *samples = self.shape
        self.size = f"{w} x {h}" + (f" in {samples[0]} colours" if samples else "") + f", {self.dtype}"

    @staticmethod
    def _open(path: Path) -> Source:
        with open(path, "rb") as file:
            magic = file.read(4)
        if magic[:2] in (b"II", b"MM"):
            return read_tiff(path)
        if magic == b"\x89PNG" or magic[:2] == b"\xff\xd8":
            return read_picture(path)
        raise UnsupportedFormatError(f"{path.name} is not a PNG, TIFF or JPEG, whatever its name says.")

    def read(self, *, ids: bool = False) -> Array:
        """Decode the plane."""
        source = self._open(self.path)
        page = np.asarray((ids and source.ids) or source.data)
        return page.reshape(self.shape[:2] if ids else self.shape)


def _jumps(names: Sequence[str]) -> tuple[str, ...]:
    """Say which numbers are missing in a numbered series."""
    numbers = [[int(n) for n in re.findall(r"[0-9]+", name)] for name in names]
    if len(names) < 3 or len({len(n) for n in numbers}) != 1:
        return ()
    varying = [column for column in zip(*numbers, strict=True) if len(set(column)) > 1]
    if len(varying) != 1:
        return ()
    steps = [b - a for a, b in itertools.pairwise(varying[0])]
    step = Counter(steps).most_common(1)[0][0]
    gaps = [a + step for a, n in zip(varying[0], steps, strict=False) if n != step]
    if not gaps or step <= 0 or len(gaps) * 2 > len(names):
        return ()
    listed = ", ".join(map(str, gaps[:5])) + (" and more" if len(gaps) > 5 else "")
    return (f"The numbers in the file names jump: {listed} missing. The planes are treated as neighbours.",)
