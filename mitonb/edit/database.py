"""The SQLite file under a project: connecting, checking that it is ours, errors as sentences, new files."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from hashlib import blake2b
from typing import TYPE_CHECKING

from mitonb.errors import ReadOnlyStoreError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["FORMAT", "check", "check_place", "connect", "digest", "fill", "identity", "new_file", "translated"]

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
        mode = "ro" if read_only else "rw"
        db = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode={mode}", uri=True, timeout=_WAIT, isolation_level=None,
            check_same_thread=False,
        )  # fmt: skip
        try:
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
    if application != _APPLICATION:
        raise StoreError(f"{path} is a database, but not a mitonb project.")
    if version != FORMAT:
        advice = "Update mitonb to open it" if version > FORMAT else "Open it with the mitonb that made it"
        raise StoreError(f"{path} has format {version}, this mitonb reads format {FORMAT}. {advice}.")
    if path.stat().st_size < pages * size:
        raise StoreError(f"{path} is truncated: {path.stat().st_size} bytes of {pages * size}. Use a backup copy.")
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
        if "readonly" in text or "read-only" in text:
            raise ReadOnlyStoreError(f"{name} cannot be written ({text}). Nothing was changed.") from error
        if "full" in text:
            advice = "The disk is full: free some space, then repeat the last step"
        elif "locked" in text:
            advice = "Another program is using the file: close it there, then repeat the last step"
        elif isinstance(error, sqlite3.OperationalError):
            advice = "Check that the disk is there and has space, then repeat the last step"
        elif "not a database" in text:
            advice = "It is not a mitonb project"
        else:
            advice = "The file is damaged: go on with a copy from a backup"
        raise StoreError(f"{name} cannot be read or written ({text}). {advice}. Nothing was changed.") from error


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
    try:
        part.unlink(missing_ok=True)
        part.touch()
        yield part
        if path.exists():
            raise StoreError(f"{path} was made by another program meanwhile. Choose another name.")
        part.rename(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        for leftover in (part, part.with_name(part.name + "-journal")):
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
