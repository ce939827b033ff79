"""Replace a file whole or not at all, and clear away what killed processes left half-written."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import uuid
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["remove", "replacing", "temporary_beside"]


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path beside another to write a file to; at the end sync it and rename it to the other.

    A block that fails, or a process that ends in it, leaves the other as it was.

    Parameters
    ----------
    path : path
        The file; its folder exists.

    Raises
    ------
    OSError
        If the disk refuses.

    Examples
    --------
    >>> from pathlib import Path
    >>> with replacing(Path("note.txt")) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> Path("note.txt").read_text()
    'whole'
    """
    with temporary_beside(path, ".tmp") as temporary:
        yield temporary
        # Else a machine that loses its power after the rename may have a name without content.
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)


@contextlib.contextmanager
def temporary_beside(target: Path, suffix: str) -> Iterator[Path]:
    """Give a hidden name beside a file or folder that is to be written; at the end, what still has it is removed.

    What processes that were killed left there on their way to the same target is removed first. A lock, which goes
    with its process, tells them from those that are still writing.

    Parameters
    ----------
    target : path
        What is written in the end; its folder exists.
    suffix : str
        How the temporary name ends.
    """
    # A name of its own: two processes may write the same file, and the last one wins.
    key = hashlib.sha256(target.name.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    stem = f".mitonb-{key}-"
    _clear(target, stem)
    own = f"{stem}{uuid.uuid4().hex[:12]}"
    temporary, lock = target.with_name(own + suffix), target.with_name(own + ".lock")
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):  # who cannot write here is told so where the file is written
            held.callback(remove, lock)
            _locked(held.enter_context(lock.open("w+b")))
        held.callback(remove, temporary)
        yield temporary


def remove(path: Path) -> None:
    """Remove a file or a folder, and never fail because of it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _clear(target: Path, stem: str) -> None:
    """Remove what killed processes left on their way to a target; names of it begin with a stem."""
    with contextlib.suppress(OSError):
        names = [e.name for e in os.scandir(target.parent) if e.name.startswith(stem)]
        for lock in (target.with_name(name) for name in names if name.endswith(".lock")):
            with lock.open("r+b") as file:
                gone = _locked(file)
            left = [target.with_name(name) for name in names if name.startswith(lock.stem)]
            # Killed between two renames: what was there before has only this hidden name.
            only_copy = not target.exists() and any(path.suffix == ".old" for path in left)
            if gone and not only_copy:
                for path in left:
                    remove(path)


def _locked(file: IO[bytes]) -> bool:
    """Take a lock, and return whether that went well: also False where the disk knows no locks."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
