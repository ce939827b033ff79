"""Outputs: checked before the work that they are of, and kept somewhere when they cannot be saved after it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from mitonb.errors import InputError, MitonbError, UnsupportedFormatError
from mitonb.files import explain_write
from mitonb.io.bounds import is_zarr

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from mitonb.job import Progress

__all__ = ["check_output", "require_apart", "rescued", "rescuing", "target_path"]

T = TypeVar("T")


def check_output(
    path: str | os.PathLike[str],
    endings: Sequence[str] = (),
    *,
    overwrite: bool = False,
    apart_from: Sequence[str | os.PathLike[str]] = (),
) -> Path:
    """Refuse an output that could not be saved at the end; nothing is written but an empty file, for a moment.

    Parameters
    ----------
    path : path
        Where it shall go.
    endings : sequence of str
        What its name may end in, such as ".csv"; anything if there are none.
    overwrite : bool
        Whether it may replace what is there.
    apart_from : sequence of path
        Inputs and other outputs of the same work: none of them may be the same file, or lie inside one another.

    Raises
    ------
    UnsupportedFormatError
        If the ending is another one.
    InputError
        If its folder is missing or cannot be written to, something is there, or it would replace an input.
    """
    with explain_write(Path(str(path))):
        target = target_path(path, overwrite=overwrite)
    if endings and not target.name.lower().endswith(tuple(endings)):
        raise UnsupportedFormatError(f"{target.name!r} must end in {', '.join(endings)}. Choose another name.")
    for other in apart_from:
        require_apart(target, other)
    with explain_write(target):
        if not target.exists():
            with contextlib.suppress(FileNotFoundError):
                os.lstat(target)  # says if the name is too long
        trial = target.with_name(f".mitonb-{uuid.uuid4().hex[:12]}.tmp")
        try:
            trial.touch()
        finally:
            with contextlib.suppress(OSError):
                trial.unlink()
    return target


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


def require_apart(target: Path, other: str | os.PathLike[str]) -> None:
    """Refuse a target that is an input or another output, or lies inside of one, or the other way round.

    Raises
    ------
    InputError
        Naming both.
    """
    own, others = target.resolve(), Path(other).expanduser().resolve()
    same = own == others
    with contextlib.suppress(OSError):
        same = same or own.samefile(others)  # two names of one file
    if same or own in others.parents or (others in own.parents and not others.is_file()):
        where = "is also" if same else "lies in the same place as"
        raise InputError(f"{target} {where} {other}, which would be damaged. Choose another name or folder.")


def rescuing(write: Callable[[Path], Generator[Progress, None, T]], target: Path) -> Generator[Progress, None, T]:
    """Write to a target; where that fails, write to another folder, and raise an error that names it.

    Parameters
    ----------
    write : callable
        A generator function that writes to a path; it may be called more than once.
    target : path
        Where the result should be.

    Raises
    ------
    InputError
        If it had to be kept elsewhere.
    """
    try:
        with explain_write(target):
            return (yield from write(target))
    except MitonbError as error:
        first = error
    for spare in _spares(target):
        try:
            yield from write(spare)
        except (OSError, MitonbError):
            shutil.rmtree(spare.parent, ignore_errors=True)
            continue
        raise InputError(f"{first} What was computed is kept in {spare}. Move it from there.") from first
    raise first


def rescued(write: Callable[[Path], T], target: Path) -> T:
    """Do what `rescuing` does with a plain function that writes."""

    def steps(path: Path) -> Generator[Progress, None, T]:
        return write(path)
        yield

    run = rescuing(steps, target)
    while True:
        try:
            next(run)
        except StopIteration as end:
            result: T = end.value
            return result


def _spares(target: Path) -> Iterator[Path]:
    """Yield paths in new folders: beside temporary files, in the user's own folder, in the present one."""
    for folder in dict.fromkeys((tempfile.gettempdir(), os.path.expanduser("~"), os.getcwd())):
        with contextlib.suppress(OSError):
            yield Path(tempfile.mkdtemp(prefix="mitonb-rescued-", dir=folder)) / target.name
