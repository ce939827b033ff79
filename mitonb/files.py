"""Files and folders that are replaced whole or not at all, and who holds one: locks that go with their process."""

import contextlib
import errno
import hashlib
import json
import os
import platform
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from mitonb.errors import InputError, MitonbError


@contextlib.contextmanager
def atomic_write(target: Path, check: Callable[[Path], object] | None = None) -> Iterator[Path]:
    """Give a hidden path beside a file or folder to write it to; at the end sync it, check it, and rename it.

    A block that fails, or a process that ends in it, leaves the target as it was. What killed processes left on
    their way to the same target goes with the next that writes it. The block may take hours, and stand in a
    generator that is closed in between.

    Parameters
    ----------
    target : path
        A file or a folder; its parent exists.
    check : callable, optional
        Reads the temporary path back, and raises if it is not what it should be.

    Raises
    ------
    OSError
        If the disk refuses; `explain_write` says it in words, and is there already at the end of what is checked.

    Examples
    --------
    >>> with atomic_write(Path("note.txt")) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> Path("note.txt").read_text()
    'whole'
    """
    with _beside(target) as temporary:
        yield temporary
        with explain_write(target) if check else contextlib.nullcontext():
            _sync(temporary)
            if check:
                check(temporary)
            _rename(temporary, target)


@contextlib.contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """Give a hidden folder in another for the length of the block; what killed processes left of theirs goes first."""
    with _beside(parent / "scratch") as folder:
        folder.mkdir()
        yield folder


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Give a hidden path beside a target; at the end, what still has it is removed."""
    # A name of its own: two processes may write the same target, and the last one wins.
    key = hashlib.sha256(target.name.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    stem = f".mitonb-{key}-"
    _clear(target, stem)
    own = f"{stem}{uuid.uuid4().hex[:12]}"
    temporary, lock = target.with_name(f"{own}.tmp"), target.with_name(f"{own}.lock")
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):  # who cannot write here is told so where the target is written
            held.callback(remove, lock)
            _lock(held.enter_context(lock.open("w+b")))
        held.callback(remove, temporary)
        yield temporary


def remove(path: Path) -> None:
    """Remove a file or a folder, and never fail because of it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def explain_write(target: Path) -> AbstractContextManager[None]:
    """Say in words why a file or folder could not be written; what was there before is as it was.

    Raises
    ------
    InputError
        If the disk is full, read-only, or refuses otherwise. Errors of mitonb pass as they are.
    """
    return explain_disk(f"{target.name} was not saved", target.parent, "What was there before is unchanged.")


@contextlib.contextmanager
def explain_disk(what: str, folder: Path, advice: str) -> Iterator[None]:
    """Raise what a disk refuses as an InputError: what did not go, why, and what to do."""
    try:
        yield
    except MitonbError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{what}: {disk_reason(error, folder)}. {advice}") from error


def disk_reason(error: Exception, folder: Path) -> str:
    """Say why nothing could be written to a folder, and what to do."""
    code, text, free = getattr(error, "errno", None), str(error), ""
    with contextlib.suppress(OSError):
        free = f" ({shutil.disk_usage(folder).free / 2**20:.0f} MB free)"
    if code in (errno.ENOSPC, errno.EDQUOT) or "No space left" in text or "RESOURCE_EXHAUSTED" in text:
        return f"the disk is full{free}. Free some space"
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "the folder is read-only. Save elsewhere"
    if code == errno.ENAMETOOLONG:
        return "the name is too long. Choose a shorter one"
    return f"the disk refused ({' '.join(text.split())[:160]}). Save elsewhere"


@dataclass(frozen=True)
class LockHolder:
    """The process that writes into a project: enough to tell a live writer from one that died.

    Attributes
    ----------
    host : str
        Name of the machine.
    pid : int
        Number of the process there.
    born : str
        When that process began, as its system counts; empty where the system does not say.
    since : str
        When it opened the project, local time, for people.
    """

    host: str
    pid: int
    born: str
    since: str

    @classmethod
    def me(cls) -> "LockHolder":
        """Return this process."""
        return cls(platform.node(), os.getpid(), _born(os.getpid()), time.strftime("%Y-%m-%d %H:%M"))

    @classmethod
    def from_json(cls, text: str) -> "LockHolder":
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))

    def to_json(self) -> str:
        """Return the holder as JSON text."""
        return json.dumps(asdict(self))

    @property
    def is_me(self) -> bool:
        """True in the process that this holder names."""
        return (self.host, self.pid, self.born) == (platform.node(), os.getpid(), _born(os.getpid()))

    @property
    def may_live(self) -> bool:
        """False when the process is surely gone; on another machine nobody can tell."""
        import psutil

        if self.host != platform.node():
            return True
        if not psutil.pid_exists(self.pid):
            return False
        # The system gives numbers of dead processes to new ones.
        return not self.born or _born(self.pid) == self.born

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


@contextlib.contextmanager
def hold(note: Path, what: str) -> Iterator[None]:
    """Hold a file, which says who does, for the length of a block; whoever else tries is told.

    Raises
    ------
    InputError
        If somebody holds it, in this process or another one.
    OSError
        If it cannot be written.
    """
    with note.open("a+", encoding="utf-8") as file:
        locked, holder = _lock(file), None
        with contextlib.suppress(OSError, ValueError, TypeError):  # Windows does not even read a file that is locked
            file.seek(0)
            holder = LockHolder.from_json(file.read())
        # Where the disk knows no locks, the note has to do: of another machine it can say nothing.
        alive = holder is not None and holder.host == platform.node() and holder.may_live
        if locked is False or (locked is None and alive):
            own = holder is not None and holder.is_me
            where = "this notebook or script" if own else holder or "another process"
            raise InputError(f"{what} is at work in {where}. Wait for it, or {'cancel' if own else 'end'} it first.")
        file.truncate(0)
        file.write(LockHolder.me().to_json())
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _born(pid: int) -> str:
    """Return the start of a process; from /proc where there is one, because psutil's moves with the clock there."""
    import psutil

    try:
        ticks = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()[19]
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {ticks}"
    except (OSError, IndexError):
        pass
    try:
        return "" if Path("/proc/self").exists() else f"{psutil.Process(pid).create_time():.2f}"
    except psutil.Error:
        return ""


def _lock(file: IO[Any]) -> bool | None:
    """Take a lock; False where another process has it, None where the disk knows no locks."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK) else None
    return True


def _clear(target: Path, stem: str) -> None:
    """Remove what killed processes left on their way to a target; names of it begin with a stem."""
    with contextlib.suppress(OSError):
        names = [e.name for e in os.scandir(target.parent) if e.name.startswith(stem)]
        for lock in (target.with_name(name) for name in names if name.endswith(".lock")):
            with lock.open("r+b") as file:
                gone = _lock(file)
            left = [target.with_name(name) for name in names if name.startswith(lock.stem)]
            # Killed between two renames: what was there before has only this hidden name.
            only_copy = not target.exists() and any(path.suffix == ".old" for path in left)
            if gone and not only_copy:
                for path in left:
                    remove(path)


def _sync(path: Path) -> None:
    """Put a file, or all of a folder, on the disk: else a power cut after the rename leaves a name alone."""
    for inner in [*(path.rglob("*") if path.is_dir() else ()), path]:
        if inner.is_dir():
            _sync_names(inner)
        elif inner.is_file():
            with open(inner, "rb+") as handle:
                os.fsync(handle.fileno())


def _sync_names(folder: Path) -> None:
    """Put the names in a folder on the disk, where folders can be synced."""
    with contextlib.suppress(OSError, AttributeError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _rename(temporary: Path, target: Path) -> None:
    """Replace the target; what a folder replaces is moved aside first: no system puts a folder over anything."""
    # Beside the temporary name, whose lock tells the next that writes here that both may go.
    aside = temporary.with_name(f"{temporary.name}.old")
    if target.is_dir() and not temporary.is_dir():  # a folder may be full of other things: no file takes its place
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if temporary.is_dir() and os.path.lexists(target):
        os.replace(target, aside)
    try:
        os.replace(temporary, target)
    except OSError:
        if os.path.lexists(aside):
            os.replace(aside, target)
        raise
    remove(aside)
    _sync_names(target.parent)
