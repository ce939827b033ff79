"""The SQLite file under a project: connecting, checking that it is ours, errors as sentences, new files."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from mitonb.errors import MitonbError, ReadOnlyStoreError, StoreError, TooLargeError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "FORMAT", "check", "check_place", "connect", "digest", "fill", "identity", "new_file", "reading", "translated",
]  # fmt: skip

FORMAT = 1
_APPLICATION = 0x6D746E62  # "mtnb": tells file(1) and us whose SQLite file this is
_TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, checksum BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE edits (seq INTEGER PRIMARY KEY, client TEXT, client_seq INTEGER, time REAL NOT NULL,"
    " kind TEXT NOT NULL, intent TEXT NOT NULL, effect BLOB NOT NULL, undo_of INTEGER, checksum BLOB NOT NULL,"
    " chain BLOB NOT NULL)",
    "CREATE TABLE blocks (number INTEGER PRIMARY KEY, data BLOB NOT NULL, checksum BLOB NOT NULL)",
    "CREATE TABLE records (seq INTEGER PRIMARY KEY, record TEXT NOT NULL, checksum BLOB NOT NULL)",
    "CREATE TABLE notes (number INTEGER PRIMARY KEY, note TEXT NOT NULL, checksum BLOB NOT NULL)",
)
_WAIT = 10.0  # seconds to wait for another program that is writing


def connect(path: Path | None, read_only: bool) -> sqlite3.Connection:
    """Open an SQLite file (None: memory) so that what is committed survives a power cut.

    Raises
    ------
    StoreError
        If it cannot be opened.
    """
    with translated(path):
        if path is None:
            return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        db = _opened(path, "ro" if read_only else "rw")
        try:
            if read_only and _is_hot(db, path):
                db.close()
                db = _copied(path)
            # EXTRA also syncs the folder, so that a power cut cannot bring the rollback journal back to life.
            db.execute("PRAGMA synchronous=EXTRA")
            # A project may come by mail: its schema may not call functions with side effects.
            db.execute("PRAGMA trusted_schema=OFF")
            if not read_only:
                db.execute("PRAGMA journal_mode=TRUNCATE")
        except BaseException:
            db.close()
            raise
        return db


def _opened(path: Path, mode: str, kind: type[sqlite3.Connection] = sqlite3.Connection) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.resolve().as_uri()}?mode={mode}", uri=True, timeout=_WAIT, isolation_level=None,
        check_same_thread=False, factory=kind,
    )  # fmt: skip


class _Copy(sqlite3.Connection):
    """A connection to a private copy of a project, which goes with it."""

    folder: tempfile.TemporaryDirectory[str]

    def close(self) -> None:
        super().close()
        self.folder.cleanup()


def _journal(path: Path) -> Path:
    return path.with_name(path.name + "-journal")


def _is_hot(db: sqlite3.Connection, path: Path) -> bool:
    """Return whether a program died in the middle of a write, which only who may write can take back."""
    try:
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        with contextlib.suppress(OSError):
            return _journal(path.resolve()).stat().st_size > 0
    return False


def _copied(path: Path) -> sqlite3.Connection:
    """Open a private copy of a project and its journal, in which the half write is taken back."""
    folder = tempfile.TemporaryDirectory(prefix="mitonb-project-", ignore_cleanup_errors=True)
    try:
        source, copy = path.resolve(), Path(folder.name) / "copy.mitonb"
        for _ in range(5):
            before = [_stamp(file) for file in (source, _journal(source))]
            shutil.copyfile(source, copy)
            shutil.copyfile(_journal(source), _journal(copy))
            if before == [_stamp(file) for file in (source, _journal(source))]:
                break
        db = _opened(copy, "rw", _Copy)
    except OSError as error:
        folder.cleanup()
        raise StoreError(
            f"The program that wrote {path} last ended in the middle of a step, and a private copy, in which that step "
            f"is taken back, could not be made ({error.strerror or error}). Free some space for temporary files, or "
            "open the project where it may be written."
        ) from error
    db.folder = folder  # type: ignore[attr-defined]
    try:
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        db.execute("PRAGMA query_only=ON")
    except BaseException:
        db.close()
        raise
    return db


def _stamp(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns


def fill(db: sqlite3.Connection) -> None:
    """Begin a transaction that makes an empty file a project."""
    db.execute(f"PRAGMA application_id={_APPLICATION}")
    db.execute(f"PRAGMA user_version={FORMAT}")
    db.execute("BEGIN IMMEDIATE")
    for table in _TABLES:
        db.execute(table)


def check(db: sqlite3.Connection, path: Path) -> None:
    """Refuse a file that is no project, of another version, cut off, or with more in it than tables of ours.

    Raises
    ------
    StoreError
        Saying which.
    """
    with translated(path):
        application, version, pages, size = (
            db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version", "page_count", "page_size")
        )
        schema = [row[0] for row in db.execute("SELECT sql FROM sqlite_master ORDER BY rowid")]
        # Of the file that is read: this one, or a private copy of it.
        there = Path(db.execute("PRAGMA database_list").fetchone()[2]).stat().st_size
    if application != _APPLICATION:
        raise StoreError(f"{path} is a database, but not a mitonb project.")
    if version != FORMAT:
        advice = "Update mitonb to open it" if version > FORMAT else "Open it with the mitonb that made it"
        raise StoreError(f"{path} has format {version}, this mitonb reads format {FORMAT}. {advice}.")
    if there < pages * size:
        raise StoreError(f"{path} is truncated: {there} bytes of {pages * size}. Use a backup copy.")
    if schema != list(_TABLES):
        # A trigger in a project that came by mail could change labels while they are being saved.
        raise StoreError(f"{path} has tables or triggers that are not ours. Nothing was changed.")


@contextlib.contextmanager
def translated(path: Path | None) -> Iterator[None]:
    """Turn SQLite's errors into sentences."""
    try:
        yield
    except sqlite3.Error as error:
        name, text = path or "The project in memory", str(error)
        damaged = "The file is damaged: go on with a copy from a backup"
        if "readonly" in text or "read-only" in text:
            raise ReadOnlyStoreError(f"{name} cannot be written ({text}). Nothing was changed.") from error
        if "full" in text:
            advice = "The disk is full: free some space, then repeat the last step"
        elif "locked" in text:
            advice = "Another program is using the file: close it there, then repeat the last step"
        elif "decode" in text:
            advice = damaged
        elif isinstance(error, sqlite3.OperationalError):
            advice = "Check that the disk is there and has space, then repeat the last step"
        elif "not a database" in text:
            advice = "It is not a mitonb project"
        else:
            advice = damaged
        raise StoreError(f"{name} cannot be read or written ({text}). {advice}. Nothing was changed.") from error


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """The one door of project files: whatever a damaged one makes Python or SQLite raise is a sentence.

    What only a fault of ours raises, a name or a module that is not there, stays as it is.

    Raises
    ------
    StoreError
        If the file is damaged.
    TooLargeError
        If what it says it holds does not fit into memory.
    """
    try:
        with translated(path):
            yield
    except (MitonbError, NameError, ImportError):
        raise
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror or error}). Check that the disk is there.") from error
    except MemoryError as error:
        raise TooLargeError(
            f"{path} needs more memory than there is. Close other notebooks, or open it on a larger machine."
        ) from error
    except Exception as error:
        # Where checksums agree and yet the values make no sense, no mitonb wrote this.
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise StoreError(
            f"{path} is damaged: it holds values that no mitonb writes ({reason}). Nothing was changed; go on with a "
            "copy from a backup."
        ) from error


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Give a name to write under until the file is whole: half a project never has the project's name.

    Raises
    ------
    StoreError
        If something stands at `path`, or nothing can be written there.
    """
    check_place(path)
    part = path.with_name(path.name + ".part")
    leftovers = (_journal(part), part)
    try:
        # Of a process that was killed here: its journal first, or SQLite would play it into the new file.
        for leftover in leftovers:
            leftover.unlink(missing_ok=True)
        part.touch()
        yield part
        if path.exists():
            raise StoreError(f"{path} was made by another program meanwhile. Choose another name.")
        part.rename(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        for leftover in leftovers:
            with contextlib.suppress(OSError):
                leftover.unlink(missing_ok=True)


def check_place(path: Path) -> None:
    """Refuse a place where no new file can be made, before any work is done for it.

    Raises
    ------
    StoreError
        Saying why not.
    """
    try:
        if path.exists():
            raise StoreError(f"{path} exists already. Open it with Session.open, or choose another name.")
        if not path.parent.is_dir():
            raise StoreError(f"There is no folder {path.parent}. Create it first, or choose another.")
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from error
    if not os.access(path.parent, os.W_OK):
        raise _unwritable(path, "no permission")


def identity(path: Path | None) -> tuple[int, int] | None:
    """Return what tells a file from another one of the same name."""
    try:
        facts = path.stat() if path else None
    except OSError:
        return None
    return (facts.st_dev, facts.st_ino) if facts else None


def digest(*values: object) -> bytes:
    """Return a checksum of values that SQLite can hold, each with its type and length."""
    state = blake2b(digest_size=16)
    for value in values:
        data = value if isinstance(value, bytes) else repr(value).encode("utf-8", "surrogatepass")
        state.update(f"{type(value).__name__}{len(data)}:".encode())
        state.update(data)
    return state.digest()


def _unwritable(path: Path, why: object) -> ReadOnlyStoreError:
    return ReadOnlyStoreError(
        f"The project {path} cannot be written ({why}). Choose a folder that you may write to, or leave path out "
        "to work in memory only."
    )


def _sync_folder(folder: Path) -> None:
    """Make a new name survive a power cut; systems that cannot open a folder need not."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
