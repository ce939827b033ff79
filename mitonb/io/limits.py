"""What files may ask for: one guard at each door, sizes that memory holds, paths and links that lead nowhere else."""

from __future__ import annotations

import contextlib
import difflib
import functools
import json
import math
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from mitonb.errors import CorruptFileError, InputError, MitonbError, TooLargeError, UnsafeFileError
from mitonb.memory import memory_budget

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Callable, Iterator

__all__ = ["check_block", "check_sizes", "checked_path", "door", "guarded", "inside", "read_json", "size_text"]

P = ParamSpec("P")
T = TypeVar("T")
LARGEST_JSON = 2**24
LARGEST_CHUNK = 256 * 2**20
LARGEST_RATIO = 1000


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


def size_text(count: int) -> str:
    """Return a number of bytes in words.

    Examples
    --------
    >>> size_text(3 * 2**30)
    '3.0 GiB'
    """
    step = min(5, int(math.log2(max(count, 1)) // 10))
    return f"{count / 1024**step:.{min(step, 1)}f} {('B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB')[step]}"


def check_sizes(what: str, voxels: int, stored: int, *, packed: bool = True, block: tuple[int, int] = (0, 0)) -> None:
    """Refuse a file whose header declares more voxels than its bytes can hold, or a block that would not fit.

    Parameters
    ----------
    what : str
        Name of the file.
    voxels, stored : int
        Bytes of all voxels, and of the file.
    packed : bool
        Whether the voxels are compressed.
    block : tuple of int
        Bytes of a block that is decoded at once, and of what it is decoded from.

    Raises
    ------
    CorruptFileError
        If voxels that are not compressed take more than there is.
    TooLargeError
        If a block is larger than the memory that may be used.
    UnsafeFileError
        If all would unpack to more than 1000 times its size and 4 GiB, or a block to more than 200 times and 256 MiB.
    """
    if not packed and voxels > stored:
        text = f"it declares {size_text(voxels)} of voxels, but holds {size_text(stored)}"
        raise CorruptFileError(f"{what} is truncated: {text}. Copy or export it again.")
    told, held = block
    budget = memory_budget() if told else None
    if budget and told > budget.bytes:
        raise TooLargeError(
            f"{what} must be decoded in blocks of {size_text(told)}, but {size_text(budget.bytes)} may be used "
            f"(half of the limit of {budget.source}, less what is in use). Save it in tiles, or use a larger machine."
        )
    for declared, there, least, ratio in ((voxels, stored, 4 * 2**30, LARGEST_RATIO), (told, held, LARGEST_CHUNK, 200)):
        if packed and declared > least and declared > ratio * max(there, 1):
            raise UnsafeFileError(
                f"{what} declares {size_text(declared)} of voxels, but holds {size_text(there)}: over {ratio} to 1. "
                "It is damaged or made to exhaust the memory."
            )


def check_block(what: str, stored: int, decoded: int) -> None:
    """Refuse a block that takes far more bytes in the file than its voxels: all of it would be read or unpacked.

    Raises
    ------
    UnsafeFileError
        If it is stored in more than twice the bytes of its voxels.
    """
    if stored > 2 * decoded + 2**16:
        text = f"a block of {size_text(decoded)} is stored in {size_text(stored)}"
        raise UnsafeFileError(f"{what}: {text}. It is damaged or made to exhaust the memory.")


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
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise InputError(f"A path names a file or a folder, got {text!r}.")
    if "://" in text:
        raise InputError(f"{text[:200]!r} is an address, and this version opens files on disk. Download it first.")
    found = Path(text).expanduser()
    short = "".join(c if c.isprintable() else "?" for c in str(found))
    short = short if len(short) <= 200 else f"{short[:90]}...{short[-90:]}"
    try:
        mode = found.stat().st_mode
    except FileNotFoundError:
        raise InputError(f"There is no {short}{_what_is_near(found)}") from None
    except OSError as error:
        raise InputError(f"{short} cannot be looked at: {error.strerror}.") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UnsafeFileError(f"{short} is a pipe or a device, not a file. Give a file or a folder of images.")
    return found


def _what_is_near(path: Path) -> str:
    """Say where a path stops existing, and which names are near."""
    try:
        names = sorted(entry.name for entry in os.scandir(path.parent))[:10_000]
    except OSError:
        return ": its folder does not exist or cannot be read."
    near = difflib.get_close_matches(path.name, names, 3)
    where = "" if path.is_absolute() else f" (looked in {Path.cwd()})"
    return where + (f". Near it: {', '.join(near)}." if near else f". The folder has {len(names)} other names.")


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
        raise UnsafeFileError(f"{path.name} is a link to a file that lies outside of {what}. Copy it there first.")
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
