"""PNG and JPEG pictures, and folders or lists of planes: their pixels are read when they are asked for."""

import itertools
import math
import os
import re
import struct
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import imagecodecs
import numpy as np
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from mitonb.errors import AxesError, CorruptFileError, InputError, UnsupportedFormatError
from mitonb.io.arrays import Array, Source, paged, stamp_of
from mitonb.io.axes import nanometres
from mitonb.io.limits import check_block, inside
from mitonb.io.tiff import read_tiff

LARGEST_METADATA = 2**26
KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}
SAMPLES = {"1": 1, "L": 1, "I;16": 1, "P": 3, "LA": 2, "RGB": 3, "RGBA": 4}
STEPS = {"1": 255, "L;2": 85, "L;4": 17}
"""What one step of greys of 1, 2 and 4 bits is after decoding: they are spread over 0..255."""
DEEP = {"RGB;16B": 3, "LA;16B": 2, "RGBA;16B": 4}
"""Colours of 16 bits, by their number of samples, which Pillow would cut down to 8 bits."""


def read_picture(path: Path) -> Source:
    """Open one PNG or JPEG as a plane.

    Raises
    ------
    CorruptFileError, UnsafeFileError, TooLargeError
        If the header is damaged or declares more than the file holds or the memory takes.
    """
    with _picture(path) as picture:
        (w, h), mode, info, coding = picture.size, picture.mode, picture.info, str(picture.tile[0][3])
    if mode not in SAMPLES:
        raise UnsupportedFormatError(f"{path.name} has pixels of the kind {mode}. Save it as TIFF, in grey.")
    samples = DEEP.get(coding) or SAMPLES[mode] + (mode == "P" and "transparency" in info)
    shape = (h, w) if samples == 1 else (h, w, samples)
    dtype = np.dtype(np.uint16 if coding in DEEP or mode == "I;16" else np.uint8)
    total, stored = math.prod(shape) * dtype.itemsize, path.stat().st_size
    check_block(path.name, total, min(stored, total))
    _check_chunks(path, total)
    data = paged((), shape, dtype, lambda k: _decode(path), path.name)
    ids = None
    if mode == "P" or coding in STEPS:
        ids = paged((), shape[:2], dtype, lambda k: _decode(path, ids=True), path.name)
    # Pixels per metre of a microscope; 72 dpi of a paint program are none.
    sizes = {axis: nanometres(25.4e6 / dpi, "nm") for axis, dpi in zip("xy", info.get("dpi", ()), strict=False) if dpi}
    spacing = {axis: size for axis, size in sizes.items() if size and size < 2000}
    return Source(data, "yxs"[: len(shape)], spacing, kind="picture", ids=ids)


def _picture(path: Path) -> PngImageFile | JpegImageFile:
    """Open a picture by its kind: `PIL.Image.open` would try others, and has a limit of pixels of its own."""
    with open(path, "rb") as file:
        magic = file.read(8)
    if magic[:4] != b"\x89PNG":
        return JpegImageFile(path)
    if magic != b"\x89PNG\r\n\x1a\n":
        raise CorruptFileError(f"{path.name} is a PNG that was changed on its way (text-mode copy?). Copy it again.")
    return PngImageFile(path)


def _check_chunks(path: Path, decoded: int) -> None:
    """Refuse a PNG that takes far more bytes than its pixels: Pillow makes room for a whole chunk of it."""
    stored = -LARGEST_METADATA
    with open(path, "rb") as file:
        png, kind = file.read(8)[1:4] == b"PNG", b""
        while png and kind != b"IEND" and len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            stored += length
            check_block(path.name, decoded, stored)
            file.seek(length + 4, 1)


def _decode(path: Path, *, ids: bool = False) -> Array:
    """Decode a picture; as ids, values are those in the file: places in a colour table, greys as they are."""
    with _picture(path) as picture:
        coding, mode = str(picture.tile[0][3]), picture.mode
        if coding in DEEP:
            with open(path, "rb") as file:
                pixels = math.prod(picture.size) * 2 * DEEP[coding]
                return np.asarray(imagecodecs.png_decode(file.read(2 * pixels + LARGEST_METADATA)))
        if mode == "1" or (mode == "P" and not ids):
            to = "L" if mode == "1" else "RGBA" if "transparency" in picture.info else "RGB"
            return np.asarray(picture.convert(to)) // (STEPS[mode] if ids else 1)
        return np.asarray(np.asarray(picture) // (STEPS.get(coding, 1) if ids else 1))


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
        others = f"{names[0]!r}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
        raise InputError(f"{what} holds no PNG, TIFF or JPEG, but {others}. Give the folder of the planes, or a file.")
    kinds = Counter(KINDS[Path(n).suffix.lower()] for n in planes)
    if len(kinds) > 1:
        counts = " and ".join(f"{n} {kind}" for kind, n in kinds.items())
        raise InputError(f"{what} holds {counts} files: which are the planes? Give a list of their paths.")
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
    if odd := [p for p in planes if p.size != first.size]:
        raise InputError(
            f"The planes of {what} differ: {first.path.name} is {first.size}, but {odd[0].path.name} is {odd[0].size}"
            + (f", and {len(odd) - 1} others differ too. " if len(odd) > 1 else ". ")
            + "Remove what does not belong, or save all of them in one way."
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
    return Source(data, "z" + "yxs"[: len(first.shape)], spacing, notes, "folder", ids=ids, black=first.black)


class _Plane:
    """What the header of one file of a folder says; it is opened again for its pixels, as there may be thousands."""

    def __init__(self, path: Path) -> None:
        source = self._open(path)
        pages = [n for n, c in zip(source.shape, source.axes or "", strict=True) if c not in "yxs"]
        if any(n > 1 for n in pages):
            shape = " x ".join(map(str, source.shape))
            raise AxesError(f"{path.name} holds {shape} voxels, but each file of a folder is one plane. Open it alone.")
        self.path, self.spacing, self.black = path, dict(source.spacing), source.black
        self.shape, self.dtype = source.shape[len(pages) :], np.dtype(source.data.dtype)
        self.indexed = source.ids is not None
        h, w, *samples = self.shape
        colours, white = (f" in {samples[0]} colours" if samples else ""), ", 0 is white" * (source.black is not None)
        self.size = f"{w} x {h}{colours}, {self.dtype}{white}"

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
