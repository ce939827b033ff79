"""Limits of reading: how much memory may be used, and files that declare far more than they hold."""

from __future__ import annotations

import contextlib
import difflib
import functools
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from mitonb.errors import CorruptFileError, InputError, MitonbError, TooLargeError, UnsafeFileError
from mitonb.memory import memory_budget

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Callable, Iterator

__all__ = [
    "check_chunk", "check_declared", "check_stored", "checked_path", "door", "guarded", "inside", "is_zarr",
    "read_json", "size_text",
]  # fmt: skip

P = ParamSpec("P")
T = TypeVar("T")
LARGEST_JSON = 2**24
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


def is_zarr(folder: Path | zipfile.Path) -> bool:
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


def check_stored(stored: int, decoded: int, *, what: str) -> None:
    """Refuse a block that takes far more bytes in the file than its voxels: all of it would be read or unpacked.

    Raises
    ------
    UnsafeFileError
        If it is stored in more than twice the bytes of its voxels.
    """
    if stored > 2 * decoded + 2**16:
        raise UnsafeFileError(
            f"{what}: a block of {size_text(decoded)} is stored in {size_text(stored)}. "
            "It is damaged or made to exhaust the memory."
        )


def inside(path: Path | zipfile.Path, root: Path | zipfile.Path, what: str) -> bool:
    """Return whether there is a file, which must be a regular one below the folder that the user named.

    Raises
    ------
    UnsafeFileError
        If a link leads out of the folder, or if it is a pipe or a device.
    """
    if not isinstance(path, Path) or not isinstance(root, Path):  # a zip file, whose links were refused as a whole
        return path.is_file()
    if not os.path.lexists(path):
        return False
    real = path.resolve()
    if not real.is_relative_to(root.resolve()):
        raise UnsafeFileError(
            f"{path.name} is a link to a file that lies outside of {what}. Copy it there, and open it again."
        )
    if not real.is_file():
        raise UnsafeFileError(f"{path.name} in {what} is a pipe, a device or a folder, not a file. Take it out.")
    return True


def read_json(path: Path | zipfile.Path, what: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    CorruptFileError, UnsafeFileError
        If it is none, is damaged or nested without end, or larger than metadata ever is.
    """
    with guarded(f"{what}, {path.name}"):
        with path.open("rb") as file:
            text = file.read(LARGEST_JSON + 1)
        if len(text) > LARGEST_JSON:
            raise UnsafeFileError(f"{what}: {path.name} has more than {size_text(LARGEST_JSON)}; metadata never has.")
        found = json.loads(text.decode("utf-8"))
    if not isinstance(found, dict):
        raise CorruptFileError(f"{what}: {path.name} is no JSON object.")
    return found


@contextlib.contextmanager
def guarded(what: str) -> Iterator[None]:
    """Turn whatever damaged files make libraries and readers raise into one clear error.

    What only a fault of ours raises, a name or a module that is not there, stays as it is.
    """
    try:
        yield
    except (MitonbError, NameError, ImportError):
        raise
    except MemoryError as error:
        raise TooLargeError(f"{what} needs more memory than there is. Cut out a part of it first.") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise CorruptFileError(f"{what} cannot be read: it is damaged, truncated or unusual ({reason}).") from error


def door(read: Callable[P, T]) -> Callable[P, T]:
    """Guard a function whose first argument is what the user wants to open."""

    @functools.wraps(read)
    def guard(*args: P.args, **named: P.kwargs) -> T:
        source = args[0] if args else None
        name = os.path.basename(os.fspath(source)) if isinstance(source, str | os.PathLike) else "This array"
        with guarded(str(name)[:200] or "This file"):
            return read(*args, **named)

    return guard
