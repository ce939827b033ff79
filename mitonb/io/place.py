"""Put a file in its place: write beside it, sync, check, then rename, so that nothing is ever half-written."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from mitonb.errors import InputError, MitonbError
from mitonb.io.bounds import is_zarr
from mitonb.replacing import remove, temporary_beside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["disk_reason", "placing", "put", "saying", "target_path"]


def target_path(path: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Return the path to save to, after the checks that need no writing.

    Raises
    ------
    InputError
        If its folder is missing or read-only, or if something is there and `overwrite` is not set, or if it is a
        folder of anything else than one zarr.
    """
    try:
        text = os.fsdecode(path)
    except TypeError:
        raise InputError(f"A path names a file, got {path!r}.") from None
    if not text.strip() or "\0" in text:
        raise InputError(f"A path names a file, got {text!r}.")
    target = Path(text).expanduser()
    if len(os.fsencode(target.name)) > 255:
        raise InputError(f"The name {target.name[:40]}... is too long: a name has at most 255 bytes.")
    try:
        there = target.parent.is_dir()
    except OSError as error:
        raise InputError(f"{str(target)[:80]}... cannot be saved to: {error.strerror}.") from error
    if not there:
        raise InputError(f"The folder {target.parent} does not exist. Create it first, or save elsewhere.")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise InputError(f"The folder {target.parent} is read-only. Save elsewhere.")
    if not target.name:
        raise InputError(f"{text!r} is a folder. Name the file in it that is to be saved.")
    if target.is_symlink():
        with contextlib.suppress(RuntimeError):  # what Python before 3.13 makes of links that lead to each other
            target = target.resolve()
        if target.is_symlink():
            raise InputError(f"{target} is a link that leads to itself. Take it away, or choose another name.")
    if target.exists() and not overwrite:
        raise InputError(f"{target.name} already exists. Pass overwrite=True to replace it, or choose another name.")
    if target.is_dir() and not is_zarr(target) and any(target.iterdir()):
        raise InputError(
            f"{target.name} is a folder with other things in it, which would be lost. Choose another name, or take the "
            "folder away yourself."
        )
    return target


def put(target: Path, write: Callable[[Path], None], check: Callable[[Path], None]) -> Path:
    """Write under a temporary name, sync, read back, and rename.

    Parameters
    ----------
    target : path
        Final name of a file or folder.
    write, check : callable
        Write to, and read back from, the temporary path; `check` raises if what it reads differs.

    Raises
    ------
    InputError
        If the disk is full or refuses; the target is untouched and nothing is left behind.
    """
    with saying(target), placing(target, check) as temporary:
        write(temporary)
    return target


@contextlib.contextmanager
def placing(target: Path, check: Callable[[Path], None]) -> Iterator[Path]:
    """Give a temporary path to write to; at the end sync it, read it back, and rename it to the target.

    The block may take hours, and stand in a generator that is closed in between: what it has written goes then.
    """
    # The ending stays, because writers choose their format by it; the dot hides it from folder listings.
    suffix = "".join(target.suffixes[-2:])[-32:]
    with temporary_beside(target, suffix) as temporary:
        yield temporary
        with saying(target):
            _sync(temporary)
            check(temporary)
            _rename(temporary, target)
            _sync_folder(target.parent)


@contextlib.contextmanager
def saying(target: Path) -> Iterator[None]:
    """Turn what a disk says about a file that is written into one clear error.

    Raises
    ------
    InputError
        If the disk is full or refuses.
    """
    try:
        yield
    except MitonbError:
        raise
    except (OSError, ValueError) as error:
        reason = disk_reason(error, target.parent)
        raise InputError(f"{target.name} was not saved: {reason}. What was there before is unchanged.") from error


def disk_reason(error: Exception, folder: Path) -> str:
    """Say why nothing could be written to a folder, and what to do."""
    code = getattr(error, "errno", None)
    free = ""
    with contextlib.suppress(OSError):
        free = f" ({shutil.disk_usage(folder).free / 2**20:.0f} MB free)"
    text = str(error)
    if code in (errno.ENOSPC, errno.EDQUOT) or "No space left" in text or "RESOURCE_EXHAUSTED" in text:
        return f"the disk is full{free}. Free some space"
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "the folder is read-only. Save elsewhere"
    if code == errno.ENAMETOOLONG:
        return "the name is too long. Choose a shorter one"
    return f"the disk refused ({' '.join(text.split())[:160]}). Save elsewhere"


def _sync(path: Path) -> None:
    """Make sure that a file, or every file of a folder, is on the disk."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    for file in files:
        with open(file, "rb+") as handle:
            os.fsync(handle.fileno())


def _sync_folder(folder: Path) -> None:
    """Make sure that a rename is on the disk, where folders can be synced."""
    with contextlib.suppress(OSError, AttributeError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _rename(temporary: Path, target: Path) -> None:
    """Replace the target; a folder is moved aside first, because no system replaces a full folder at once."""
    if not (target.is_dir() and not target.is_symlink()):
        if temporary.is_dir() and target.exists():
            target.unlink()
        os.replace(temporary, target)
        return
    # Beside the temporary name, whose lock tells the next save that both may go.
    aside = temporary.with_name(f"{temporary.name}.old")
    os.replace(target, aside)
    try:
        os.replace(temporary, target)
    except OSError:
        os.replace(aside, target)
        raise
    remove(aside)
