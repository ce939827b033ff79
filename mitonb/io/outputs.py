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
from mitonb.io.place import saying, target_path

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from mitonb.job import Progress

__all__ = ["check_output", "require_apart", "rescued", "rescuing"]

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
    with saying(Path(str(path))):
        target = target_path(path, overwrite=overwrite)
    if endings and not target.name.lower().endswith(tuple(endings)):
        raise UnsupportedFormatError(f"{target.name!r} must end in {', '.join(endings)}. Choose another name.")
    for other in apart_from:
        require_apart(target, other)
    with saying(target):
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
        with saying(target):
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
