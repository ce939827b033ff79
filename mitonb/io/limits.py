"""What files may ask for: one guard at each door, sizes that memory holds, paths and links that lead nowhere else."""

import difflib
import functools
import json
import math
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from mitonb.errors import CorruptFileError, InputError, UnsafeFileError, guarded
from mitonb.memory import require

P = ParamSpec("P")
T = TypeVar("T")
LARGEST_JSON = 2**24
LARGEST_BLOCK = 256 * 2**20


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


def check_held(what: str, voxels: int, stored: int) -> None:
    """Refuse a file that declares more bytes of voxels, which are not compressed, than it holds.

    Raises
    ------
    CorruptFileError
        With both numbers.
    """
    if voxels > stored:
        text = f"it declares {size_text(voxels)} of voxels, but holds {size_text(stored)}"
        raise CorruptFileError(f"{what} is truncated: {text}. Copy or export it again.")


def check_block(what: str, decoded: int, stored: int) -> None:
    """Refuse a block of a file that is not what it says, or would not fit: it is read and decoded at once.

    Parameters
    ----------
    what : str
        Name of the file.
    decoded, stored : int
        Bytes of its voxels, and of what they are decoded from.

    Raises
    ------
    TooLargeError
        If it is larger than the memory that may be used.
    UnsafeFileError
        If it is stored in more than twice the bytes of its voxels, or would unpack to more than 200 times what is
        stored and 256 MiB.
    """
    said = ""
    if stored > 2 * decoded + 2**16:
        said = f"a block of {size_text(decoded)} is stored in {size_text(stored)}"
    elif decoded > LARGEST_BLOCK:
        require(decoded, f"{what} must be decoded in blocks, each of which", "Save it in tiles.")
        if decoded > 200 * max(stored, 1):
            said = f"it declares {size_text(decoded)} of voxels, but holds {size_text(stored)}: over 200 to 1"
    if said:
        raise UnsafeFileError(f"{what}: {said}. It is damaged or made to exhaust the memory.")


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
        raise InputError(f"{text[:200]!r} is an address, and a file on disk is needed here.")
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


def inside(path: Any, root: Any, what: str) -> bool:
    """Return whether there is a file, which must be a regular one below the folder that the user named.

    Where that is no folder on disk, nothing can lead out: a zip file, whose links were refused as a whole, or a server.

    Raises
    ------
    UnsafeFileError
        If a link leads out of the folder, or if it is a pipe or a device.
    """
    if not isinstance(path, Path) or not isinstance(root, Path):
        return bool(path.is_file())
    if not os.path.lexists(path):
        return False
    real = path.resolve()
    if not real.is_relative_to(root.resolve()):
        raise UnsafeFileError(f"{path.name} is a link to a file that lies outside of {what}. Copy it there first.")
    if not real.is_file():
        raise UnsafeFileError(f"{path.name} in {what} is a pipe, a device or a folder, not a file. Take it out.")
    return True


def read_json(path: Any, what: str) -> dict[str, Any]:
    """Read a JSON object from a file on disk, in a zip file or on the network.

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
