"""Folders and lists of planes: PNG, TIFF or JPEG files in natural order become one volume."""

from __future__ import annotations

import itertools
import math
import os
import re
import stat
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mitonb.errors import AxesError, InputError, UnsafeFileError, UnsupportedFormatError
from mitonb.io.axes import Source
from mitonb.io.lazy import Array, Paged
from mitonb.io.pictures import decode, header
from mitonb.io.tiff import read_tiff
from mitonb.io.watched import stamp_of, watched

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["natural", "read_folder", "read_planes"]

KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}


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
    try:
        names = sorted((e.name for e in os.scandir(folder) if not e.name.startswith(".")), key=natural)
    except OSError as error:
        raise InputError(f"The folder {folder.name} cannot be read: {error.strerror}.") from error
    if not names:
        raise InputError(f"The folder {folder.name} is empty. Give a folder with one PNG, TIFF or JPEG for each plane.")
    planes = [n for n in names if Path(n).suffix.lower() in KINDS]
    if not planes:
        raise InputError(
            f"The folder {folder.name} holds no PNG, TIFF or JPEG, but {len(names)} others such as {names[0]!r}. "
            "Give the folder that the planes lie in, or one file."
        )
    kinds = Counter(KINDS[Path(n).suffix.lower()] for n in planes)
    if len(kinds) > 1:
        counts = " and ".join(f"{n} {kind}" for kind, n in kinds.items())
        raise InputError(
            f"The folder {folder.name} holds {counts} files: which are the planes? "
            "Give a list: mn.open(sorted(folder.glob('*.png')))."
        )
    if len(planes) == 1 and kinds["TIFF"]:
        return _inside(folder / planes[0], folder)
    return read_planes([_inside(folder / name, folder) for name in planes], folder.name)


def _inside(path: Path, root: Path) -> Path:
    """Refuse what is not a regular file below the folder that the user named."""
    real = path.resolve()
    if not real.is_relative_to(root.resolve()):
        raise UnsafeFileError(
            f"{path.name} is a link to a file outside the folder {root.name}. Copy it there, or give a list of files."
        )
    if not real.exists() or not stat.S_ISREG(real.stat().st_mode):
        raise UnsafeFileError(f"{path.name} in the folder {root.name} is not a regular file. Take it out.")
    return path


def read_planes(paths: Sequence[Path], what: str) -> Source:
    """Open files of one plane each as a volume, in the order given.

    Raises
    ------
    InputError
        If their shapes or dtypes differ.
    """
    if not paths:
        raise InputError(f"{what} names no files. Give one for each plane.")
    planes = [_Plane(path) for path in paths]
    first = planes[0]
    odd = [p for p in planes if (p.shape, p.dtype) != (first.shape, first.dtype)]
    if odd:
        raise InputError(
            f"The planes of {what} differ: {first.path.name} is {_size(first)}, "
            f"but {odd[0].path.name} is {_size(odd[0])}"
            + (f", and {len(odd) - 1} others differ too. " if len(odd) > 1 else ". ")
            + "Remove what does not belong, or bring all to one size."
        )
    turned = [p.path.name for p in planes if p.black is not None]
    if turned and len(turned) < len(planes):
        raise InputError(
            f"The planes of {what} differ: {len(turned)} of {len(planes)}, such as {turned[0]}, say that 0 is white, "
            "the others do not. Save all of them in one way."
        )
    files = [(plane.path, plane.stamp) for plane in planes]
    data = watched(Paged((len(planes),), first.shape, first.dtype, read=lambda k: planes[k].read()), files)
    notes = _jumps([p.name for p in paths])
    spacing = first.spacing
    other = next((plane for plane in planes if plane.spacing and plane.spacing != spacing), None)
    if spacing and other is not None:
        sizes = (f"{p.path.name} of {p.spacing.get('y', 0):g} x {p.spacing.get('x', 0):g} nm" for p in (first, other))
        notes += (f"The planes have pixels of different sizes, {' and '.join(sizes)}: the voxel size stays unknown.",)
        spacing = {}
    size = math.prod(first.shape) * np.dtype(first.dtype).itemsize
    ids = None
    if any(plane.indexed for plane in planes):
        ids = watched(
            Paged((len(planes),), first.shape[:2], first.dtype, read=lambda k: planes[k].read(ids=True)), files
        )
    return Source(data, "z" + "yxs"[: len(first.shape)], spacing, notes, "folder", size, ids=ids, black=first.black)


def _size(plane: _Plane) -> str:
    """Return the size and dtype of a plane in words."""
    h, w, *samples = plane.shape
    return f"{w} x {h}" + (f" in {samples[0]} colours" if samples else "") + f", {plane.dtype}"


class _Plane:
    """One file of a folder: its header, and its pixels when they are asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stamp = stamp_of(path)
        try:
            with open(path, "rb") as file:
                magic = file.read(4)
        except OSError as error:
            raise InputError(f"{path.name} cannot be read: {error.strerror}.") from error
        self._tiff = magic[:2] in (b"II", b"MM")
        self.indexed = False
        self.black: float | None = None
        if self._tiff:
            self.shape, self.dtype, self.spacing = self._open_tiff()
        elif magic[:4] == b"\x89PNG" or magic[:2] == b"\xff\xd8":
            self._head = header(path)
            self.shape, self.dtype = self._head.shape, self._head.dtype
            self.indexed = self._head.step != 1
            pixel = self._head.pixel
            self.spacing = {} if pixel is None else {"y": pixel[0], "x": pixel[1]}
        else:
            raise UnsupportedFormatError(f"{path.name} is not a PNG, TIFF or JPEG, whatever its name says.")

    def _open_tiff(self) -> tuple[tuple[int, ...], str, dict[str, float]]:
        """Read the header of a TIFF of one plane, and close it again: folders may hold thousands."""
        source = read_tiff(self.path)
        self.black = source.black
        axes = source.axes or ""
        pages = [n for n, c in zip(source.shape, axes, strict=True) if c not in "yxs"]
        if any(n > 1 for n in pages):
            raise AxesError(
                f"{self.path.name} holds {source.shape} voxels, but each file of a folder is one plane. "
                "Open it by its own path."
            )
        self._lead = len(pages)
        shape = tuple(source.shape[self._lead :])
        return shape, np.dtype(source.data.dtype).newbyteorder("=").name, dict(source.spacing)

    def read(self, *, ids: bool = False) -> Array:
        """Decode the plane."""
        if not self._tiff:
            return decode(self.path, self._head, ids=ids)
        source = read_tiff(self.path)
        page = source.data[(0,) * self._lead + (slice(None),) * len(self.shape)]
        return np.array(page, dtype=self.dtype)


def _jumps(names: Sequence[str]) -> tuple[str, ...]:
    """Say which numbers are missing in a numbered series."""
    numbers = [[int(n) for n in re.findall(r"[0-9]+", name)] for name in names]
    if len(names) < 3 or len({len(n) for n in numbers}) != 1 or not numbers[0]:
        return ()
    varying = [k for k in range(len(numbers[0])) if len({n[k] for n in numbers}) > 1]
    if len(varying) != 1:
        return ()
    seen = [n[varying[0]] for n in numbers]
    steps = Counter(b - a for a, b in itertools.pairwise(seen))
    step = steps.most_common(1)[0][0]
    gaps = [a + step for a, b in itertools.pairwise(seen) if b - a != step]
    if not gaps or step <= 0 or len(gaps) * 2 > len(seen):
        return ()
    listed = ", ".join(map(str, gaps[:5])) + (" and more" if len(gaps) > 5 else "")
    return (f"The numbers in the file names jump: {listed} missing. The planes are treated as neighbours.",)
