"""Limits of reading: how much memory may be used, and files that declare far more than they hold."""

from __future__ import annotations

import contextlib
import difflib
import os
import stat
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from mitonb.errors import CorruptFileError, InputError, MitonbError, TooLargeError, UnsafeFileError
from mitonb.memory import memory_budget

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["check_chunk", "check_declared", "checked_path", "guarded", "is_zarr", "size_text"]

_FAULTS = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError, RuntimeError, NotImplementedError,
    ZeroDivisionError, OverflowError, EOFError, OSError, struct.error,
    zipfile.BadZipFile, zlib.error, tokenize.TokenError, SyntaxError,  # the last two: headers of .npy, and XML
)  # fmt: skip
"""What readers raise on damaged files (measured by fuzzing); MemoryError is left alone."""

LARGEST_CHUNK = 256 * 2**20
LARGEST_RATIO = 1000


def size_text(count: int) -> str:
    """Return a number of bytes in words.

    Examples
    --------
    >>> size_text(3 * 2**30)
    '3.0 GiB'
    """
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if value < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.3g} EiB"


def checked_path(path: str | os.PathLike[str]) -> Path:
    """Return an existing regular file or directory.

    Raises
    ------
    InputError
        If there is nothing there; names that are near are listed.
    UnsafeFileError
        If it is a pipe, a device or a socket.
    """
    text = os.fspath(path)
    if not isinstance(text, str):
        raise InputError(f"A path is a text, got {text!r}.")
    if not text.strip() or "\0" in text:
        raise InputError(f"A path names a file or a folder, got {text!r}.")
    if "://" in text:
        raise InputError(f"{text[:200]!r} is an address, and this version opens files on disk. Download it first.")
    found = Path(text).expanduser()
    try:
        mode = found.stat().st_mode
    except FileNotFoundError:
        raise InputError(_missing(found)) from None
    except OSError as error:
        raise InputError(f"{_short(found)} cannot be looked at: {error.strerror}.") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UnsafeFileError(f"{_short(found)} is a pipe or a device, not a file. Give a file or a folder of images.")
    return found


def is_zarr(folder: Path) -> bool:
    """Return whether a folder is a zarr group or array."""
    return any((folder / name).is_file() for name in (".zattrs", ".zgroup", ".zarray", "zarr.json"))


def _missing(path: Path) -> str:
    """Say that a path is missing, where it stops existing, and which names are near."""
    folder = path.parent
    try:
        names = sorted(entry.name for entry in os.scandir(folder))[:10_000]
    except OSError:
        return f"There is no {_short(path)}: the folder {_short(folder)} does not exist or cannot be read."
    near = difflib.get_close_matches(path.name, names, 3)
    hint = f" Near it: {', '.join(near)}." if near else f" The folder has {len(names)} other names."
    where = "" if path.is_absolute() else f" (looked in {Path.cwd()})"
    return f"There is no {_short(path)}{where}.{hint}"


def _short(path: Path) -> str:
    """Return a path for a message, without control characters and not endless."""
    text = "".join(c if c.isprintable() else "?" for c in str(path))
    return text if len(text) <= 200 else f"{text[:90]}...{text[-90:]}"


def check_declared(declared: int, stored: int, *, what: str, compressed: bool) -> None:
    """Refuse a file whose header declares more voxels than its bytes can hold.

    Raises
    ------
    CorruptFileError
        If uncompressed data is shorter than declared.
    UnsafeFileError
        If compressed data would have to unpack to more than 1000 times its size and more than 4 GiB.
    """
    if not compressed and declared > stored:
        raise CorruptFileError(
            f"{what} is truncated: it declares {size_text(declared)} of voxels, but holds {size_text(stored)}. "
            "Copy or export it again."
        )
    if compressed and declared > LARGEST_RATIO * max(stored, 1) and declared > 4 * 2**30:
        raise UnsafeFileError(
            f"{what} declares {size_text(declared)} of voxels, but holds {size_text(stored)}: "
            f"more than {LARGEST_RATIO} to 1. It is damaged or made to exhaust the memory."
        )


def check_chunk(decoded: int, stored: int, *, what: str) -> None:
    """Refuse a block that must be decoded at once and does not fit, or that unpacks suspiciously far.

    Raises
    ------
    TooLargeError
        If the block is larger than the memory that may be used.
    UnsafeFileError
        If it is above 256 MiB and unpacks to more than 200 times its stored size.
    """
    budget = memory_budget()
    if decoded > budget.bytes:
        raise TooLargeError(
            f"{what} must be decoded in blocks of {size_text(decoded)}, but {size_text(budget.bytes)} of memory may be "
            f"used (half of the limit of {budget.source}, less what is in use). "
            "Save it in tiles, or use a machine with more memory."
        )
    if decoded > LARGEST_CHUNK and decoded > 200 * max(stored, 1):
        raise UnsafeFileError(
            f"{what} unpacks a block of {size_text(stored)} to {size_text(decoded)}. "
            "It is damaged or made to exhaust the memory."
        )


@contextlib.contextmanager
def guarded(what: str) -> Iterator[None]:
    """Turn whatever a format library raises on a damaged file into one clear error."""
    try:
        yield
    except MitonbError:
        raise
    except _FAULTS as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise CorruptFileError(f"{what} cannot be read: it is damaged, truncated or unusual ({reason}).") from error
