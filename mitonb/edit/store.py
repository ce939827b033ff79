"""The store: one SQLite file that holds a project's labels and the journal of every edit."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from mitonb.edit.owner import Owner
from mitonb.errors import ReadOnlyStoreError, StaleWriterError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = ["FORMAT", "Head", "Row", "Store"]

FORMAT = 1
_APPLICATION = 0x6D746E62  # "mtnb": tells file(1) and us whose SQLite file this is
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, checksum BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE edits (seq INTEGER PRIMARY KEY, client TEXT, client_seq INTEGER, time REAL NOT NULL, kind TEXT NOT NULL,
    intent TEXT NOT NULL, effect BLOB NOT NULL, undo_of INTEGER, checksum BLOB NOT NULL, chain BLOB NOT NULL);
CREATE TABLE blocks (number INTEGER PRIMARY KEY, data BLOB NOT NULL, checksum BLOB NOT NULL);
CREATE TABLE records (seq INTEGER PRIMARY KEY, record TEXT NOT NULL, checksum BLOB NOT NULL);
CREATE TABLE notes (number INTEGER PRIMARY KEY, note TEXT NOT NULL, checksum BLOB NOT NULL);
"""
_CONTENT = "seq, client, client_seq, time, kind, intent, effect, undo_of"
_WAIT = 10.0  # seconds to wait for another program that is writing


@dataclass(frozen=True)
class Head:
    """Where the journal ends: its last edit, the checksum of the chain up to there, and the next unused id."""

    seq: int = 0
    chain: str = ""
    next_id: int = 1


@dataclass(frozen=True)
class Row:
    """One record of the journal, without its effect.

    Attributes
    ----------
    seq : int
        Position, from 1, without gaps.
    time : float
        Seconds since 1970, for people; order comes from `seq`.
    kind : str
        The verb, or "undo" / "redo", or "nothing" for a request that changed nothing.
    intent : mapping
        What was asked for.
    undo_of : int or None
        The edit that an undo or redo is about.
    client, client_seq : str and int, or None
        Who asked, and the number of the request there.
    """

    seq: int
    time: float
    kind: str
    intent: Mapping[str, Any]
    undo_of: int | None = None
    client: str | None = None
    client_seq: int | None = None


class Store:
    """A project file, or the same thing in memory.

    Every write is one immediate transaction that first checks that this store is still the writer; it has
    happened when the call returns. Not thread-safe: its owner locks.

    Use `Store.create` and `Store.open`.
    """

    def __init__(self, path: Path | None, *, read_only: bool = False, epoch: int = 0) -> None:
        self.path = path
        self.read_only = read_only
        self.epoch = epoch
        self.head = Head()
        self.owner: Owner | None = None
        self._pid = os.getpid()
        self._db = _connect(path, read_only)
        self._file = _identity(path)

    @classmethod
    def create(cls, path: Path | None, meta: Mapping[str, Any], blocks: Iterable[bytes], head: Head,
               record: Mapping[str, Any] | None = None) -> Store:  # fmt: skip
        """Make a new project with its first labels; `path` None keeps it in memory.

        Raises
        ------
        StoreError
            If something stands there already, or nothing can be written there.
        """
        if path is None:
            store = cls(None)
            store._fill(meta, blocks, head, record)
            return store
        with _new_file(path) as part, contextlib.closing(cls(part)) as store:
            store._fill(meta, blocks, head, record)
            store._db.execute("PRAGMA journal_mode=DELETE")
        return cls.open(path)[0]

    @classmethod
    def open(cls, path: Path, *, take_over: bool = False, read_only: bool = False) -> tuple[Store, str]:
        """Open a project, for writing where that is possible.

        Returns
        -------
        store : Store
            With `read_only` set when this process may only look.
        reason : str
            Why it may only look, as a sentence; else empty.

        Raises
        ------
        StoreError
            If there is no project, or it is damaged or of another version.
        """
        if not path.is_file():
            raise StoreError(f"There is no project file {path}. Check the path; Session(stack, path=...) makes one.")
        reason = ""
        if read_only:
            reason = "it was opened for looking only"
        elif not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
            reason = f"the folder {path.parent} or the file is read-only. Copy the file to a folder of yours to edit"
        store = cls(path, read_only=bool(reason))
        try:
            store._check_format()
            if not reason:
                reason = store._become_writer(take_over)
            if reason:
                store.read_only = True
                store.head = store._read_head()
        except BaseException:
            store._db.close()
            raise
        return store, reason

    def meta(self, key: str) -> Any:
        """Return a value of the project, or None."""
        with _translated(self.path):
            row = self._db.execute("SELECT value, checksum FROM meta WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        if row[1] != _digest(key, row[0]):
            raise self._damaged(f"the entry {key!r}")
        return json.loads(row[0])

    def rows(self, after: int = 0) -> list[Row]:
        """Return the journal after an edit, each record and the whole chain checked.

        Raises
        ------
        StoreError
            If a record is damaged or missing.
        """
        found: list[Row] = []
        chain = ""
        with _translated(self.path):
            for values in self._db.execute(f"SELECT {_CONTENT}, checksum, chain FROM edits ORDER BY seq"):
                *content, checksum, link = values
                seq = len(found) + 1
                chain = _digest(chain, checksum).hex()
                if content[0] != seq or checksum != _digest(*content) or link != bytes.fromhex(chain):
                    raise self._damaged(f"edit {seq} of the journal")
                found.append(_row(content))
        head = self._read_head()
        if (len(found), chain) != (head.seq, head.chain):
            raise self._damaged(f"the end of the journal (edit {head.seq})")
        self.head = head
        return found[after:]

    def effect(self, seq: int) -> bytes:
        """Return the packed effect of an edit.

        Raises
        ------
        StoreError
            If it is damaged or missing.
        """
        with _translated(self.path):
            row = self._db.execute(f"SELECT {_CONTENT}, checksum FROM edits WHERE seq = ?", (seq,)).fetchone()
        if row is None or row[-1] != _digest(*row[:-1]):
            raise self._damaged(f"edit {seq} of the journal")
        blob: bytes = row[6]
        return blob

    def block(self, number: int) -> bytes:
        """Return a packed block of labels, as of the last snapshot.

        Raises
        ------
        StoreError
            If it is damaged or missing.
        """
        with _translated(self.path):
            row = self._db.execute("SELECT data, checksum FROM blocks WHERE number = ?", (number,)).fetchone()
        if row is None or row[1] != _digest(number, row[0]):
            raise self._damaged(f"block {number} of the labels")
        blob: bytes = row[0]
        return blob

    def records(self) -> dict[int, Mapping[str, Any]]:
        """Return the run records by the edit that brought each; 0 is the first labels'."""
        with _translated(self.path):
            rows = self._db.execute("SELECT seq, record, checksum FROM records ORDER BY seq").fetchall()
        for seq, text, checksum in rows:
            if checksum != _digest(seq, text):
                raise self._damaged(f"the run record of edit {seq}")
        return {seq: json.loads(text) for seq, text, _ in rows}

    def append(
        self, kind: str, intent: Mapping[str, Any], effect: bytes = b"", *, next_id: int, undo_of: int | None = None,
        client: tuple[str, int] | None = None, record: Mapping[str, Any] | None = None,
    ) -> Row:  # fmt: skip
        """Add an edit to the journal; it is on disk when this returns.

        Raises
        ------
        ReadOnlyStoreError
            If this store may only look.
        StaleWriterError
            If another session has taken over.
        StoreError
            If it cannot be written, for example on a full disk. The journal is then as before.
        """
        seq = self.head.seq + 1
        name, number = client or (None, None)
        content = [seq, name, number, time.time(), kind, json.dumps(intent, separators=(",", ":")), effect, undo_of]
        checksum = _digest(*content)
        chain = _digest(self.head.chain, checksum)
        head = Head(seq, chain.hex(), next_id)
        with self._writing():
            self._db.execute("INSERT INTO edits VALUES (?,?,?,?,?,?,?,?,?,?)", (*content, checksum, chain))
            self._put("head", _head_values(head))
            if record is not None:
                self._add_record(seq, record)
        self.head = head
        return _row(content)

    def snapshot(self, blocks: Mapping[int, bytes]) -> None:
        """Replace blocks, so that opening need not replay the edits up to now."""
        with self._writing():
            for number, data in blocks.items():
                self._put_block(number, data)
            self._put("snapshot", self.head.seq)

    def add_note(self, note: str) -> None:
        """Keep a remark with the project."""
        with self._writing():
            self._add_note(note)

    def notes(self) -> list[str]:
        """Return the remarks, oldest first."""
        with _translated(self.path):
            rows = self._db.execute("SELECT number, note, checksum FROM notes ORDER BY number").fetchall()
        for number, note, checksum in rows:
            if checksum != _digest(number, note):
                raise self._damaged(f"note {number}")
        return [note for _, note, _ in rows]

    def reconnect(self) -> None:
        """Open the file anew after a failed write; SQLite then rolls half a transaction back."""
        if self.path is not None:
            self._db.close()
            self._db = _connect(self.path, self.read_only)
            self._file = _identity(self.path)
            self._check_format()

    def copy_to(self, path: Path, blocks: Iterable[bytes]) -> None:
        """Write the whole project, with all blocks as of now, to a new file that nobody owns.

        Raises
        ------
        StoreError
            If something stands there already, or nothing can be written there.
        """
        with _new_file(path) as part, contextlib.closing(Store(part)) as copy, _translated(path):
            self._db.backup(copy._db)
            copy._db.execute("PRAGMA journal_mode=TRUNCATE")
            copy._db.execute("BEGIN IMMEDIATE")
            copy._db.execute("DELETE FROM meta WHERE key = 'owner'")
            for number, data in enumerate(blocks):
                copy._put_block(number, data)
            copy._put("snapshot", self.head.seq)
            copy._db.execute("COMMIT")
            copy._db.execute("PRAGMA journal_mode=DELETE")

    def close(self) -> None:
        """Let go of the file, so that another session can write."""
        try:
            if self.path is not None and not self.read_only and self.owner is not None:
                with contextlib.suppress(StoreError):
                    with self._writing():
                        self._db.execute("DELETE FROM meta WHERE key = 'owner'")
                    # Takes the empty side file of the TRUNCATE mode away: a closed project is one file.
                    self._db.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.Error:
            pass  # the owner stays written; a later session sees that this process is gone
        finally:
            self._db.close()

    def _fill(self, meta: Mapping[str, Any], blocks: Iterable[bytes], head: Head,
              record: Mapping[str, Any] | None) -> None:  # fmt: skip
        with _translated(self.path):
            self._db.execute(f"PRAGMA application_id={_APPLICATION}")
            self._db.execute(f"PRAGMA user_version={FORMAT}")
            self._db.execute("BEGIN IMMEDIATE")
            for statement in _TABLES.split(";"):
                self._db.execute(statement)
            for key, value in {**meta, "epoch": 0, "snapshot": 0, "head": _head_values(head)}.items():
                self._put(key, value)
            for number, data in enumerate(blocks):
                self._put_block(number, data)
            if record is not None:
                self._add_record(0, record)
            self._db.execute("COMMIT")
        self.head = head

    def _become_writer(self, take_over: bool) -> str:
        """Raise the epoch, or return why not."""
        me = Owner.me()
        with _translated(self.path):
            self._db.execute("BEGIN IMMEDIATE")
        try:
            text = self.meta("owner")
            other = Owner.from_json(text) if text else None
            if other and not other.is_me and other.may_live and not take_over:
                self._db.execute("ROLLBACK")
                return f"{other} is writing into it. Close it there, or open with take_over=True if it is gone"
            # The epoch is raised before anything is read: an edit of the old writer is either seen or refused.
            self.epoch = int(self.meta("epoch") or 0) + 1
            self._put("epoch", self.epoch)
            self._put("owner", me.to_json())
            if other and not other.is_me:
                self._add_note(f"{me} took over from {other}.")
            self.head = self._read_head()
            with _translated(self.path):
                self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise
        self.owner = me
        return ""

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """One immediate transaction of the rightful writer."""
        if self.read_only:
            raise ReadOnlyStoreError(f"{self.path} is open for looking only; nothing was changed.")
        if os.getpid() != self._pid:
            raise StoreError("This project was opened in another process. Open it again in this one.")
        if self.path is not None and _identity(self.path) != self._file:
            # SQLite would go on writing into a file that has no name any more.
            raise StoreError(
                f"{self.path} was deleted, moved or replaced while it was open. Put it back, or write the project to "
                "a new file with session.save_as(path). Nothing was changed."
            )
        with _translated(self.path):
            try:
                self._db.execute("BEGIN IMMEDIATE")
                if self.path is not None and (now := self.meta("epoch")) != self.epoch:
                    raise StaleWriterError(
                        f"Another session has taken over {self.path} (opening {now}, this one is {self.epoch}): "
                        f"{self.meta('owner') or 'closed since'}. Nothing was changed; open the project again to go on."
                    )
                yield
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    def _check_format(self) -> None:
        with _translated(self.path):
            application = self._db.execute("PRAGMA application_id").fetchone()[0]
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if application != _APPLICATION:
            raise StoreError(f"{self.path} is a database, but no mitonb project.")
        if version != FORMAT:
            advice = "Update mitonb to open it" if version > FORMAT else "Open it with the mitonb that made it"
            raise StoreError(f"{self.path} has format {version}, this mitonb reads format {FORMAT}. {advice}.")

    def _read_head(self) -> Head:
        values = self.meta("head")
        if values is None:
            raise self._damaged("the head of the journal")
        return Head(*values)

    def _put(self, key: str, value: Any) -> None:
        text = json.dumps(value)
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?,?,?)", (key, text, _digest(key, text)))

    def _put_block(self, number: int, data: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO blocks VALUES (?,?,?)", (number, data, _digest(number, data)))

    def _add_record(self, seq: int, record: Mapping[str, Any]) -> None:
        text = json.dumps(dict(record), default=str)
        self._db.execute("INSERT INTO records VALUES (?,?,?)", (seq, text, _digest(seq, text)))

    def _add_note(self, note: str) -> None:
        number = self._db.execute("SELECT COALESCE(MAX(number), 0) + 1 FROM notes").fetchone()[0]
        self._db.execute("INSERT INTO notes VALUES (?,?,?)", (number, note, _digest(number, note)))

    def _damaged(self, what: str) -> StoreError:
        return StoreError(
            f"{self.path or 'The project in memory'} is damaged: {what} is missing or does not match its checksum. "
            "Nothing was changed; go on with a copy from a backup."
        )


def _connect(path: Path | None, read_only: bool) -> sqlite3.Connection:
    with _translated(path):
        if path is None:
            return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        mode = "ro" if read_only else "rw"
        db = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode={mode}", uri=True, timeout=_WAIT, isolation_level=None,
            check_same_thread=False,
        )  # fmt: skip
        # EXTRA also syncs the folder, so that a power cut cannot bring the rollback journal back to life.
        db.execute("PRAGMA synchronous=EXTRA")
        # A project may come by mail: its schema may not call functions with side effects.
        db.execute("PRAGMA trusted_schema=OFF")
        if not read_only:
            db.execute("PRAGMA journal_mode=TRUNCATE")
        return db


@contextlib.contextmanager
def _translated(path: Path | None) -> Iterator[None]:
    """Turn SQLite's errors into sentences."""
    try:
        yield
    except sqlite3.Error as error:
        name = path or "The project in memory"
        text = str(error)
        if "full" in text:
            advice = "The disk is full: free some space, then repeat the last step"
        elif "locked" in text:
            advice = "Another program is using the file: close it there, then repeat the last step"
        elif "readonly" in text or "read-only" in text:
            raise ReadOnlyStoreError(f"{name} cannot be written ({text}). Nothing was changed.") from error
        elif isinstance(error, sqlite3.OperationalError):
            advice = "Check that the disk is there and has space, then repeat the last step"
        else:
            advice = "The file is damaged or no mitonb project: go on with a copy from a backup"
        raise StoreError(f"{name} cannot be read or written ({text}). {advice}. Nothing was changed.") from error


def _identity(path: Path | None) -> tuple[int, int] | None:
    """Return what tells a file from another one of the same name."""
    try:
        facts = path.stat() if path else None
    except OSError:
        return None
    return (facts.st_dev, facts.st_ino) if facts else None


def _check_place(path: Path) -> None:
    """Refuse a place where no new file can be made, before any work is done for it."""
    if path.exists():
        raise StoreError(f"{path} exists already. Open it with Session.open, or choose another name.")
    if not path.parent.is_dir():
        raise StoreError(f"There is no folder {path.parent}. Make it first, or choose another.")
    if not os.access(path.parent, os.W_OK):
        raise _unwritable(path, "no permission")


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """Give a name to write under until the file is whole: half a project never has the project's name."""
    _check_place(path)
    part = path.with_name(path.name + ".part")
    try:
        part.unlink(missing_ok=True)
        part.touch()
        yield part
        if path.exists():
            raise StoreError(f"{path} was made by another program meanwhile. Choose another name.")
        part.rename(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _unwritable(path: Path, why: object) -> ReadOnlyStoreError:
    return ReadOnlyStoreError(
        f"The project {path} cannot be written ({why}). Choose a folder that you may write to, or leave path out "
        "to work in memory only."
    )


def _digest(*values: object) -> bytes:
    """Return a checksum of values that SQLite can hold, each with its type and length."""
    state = blake2b(digest_size=16)
    for value in values:
        data = value if isinstance(value, bytes) else repr(value).encode("utf-8", "surrogatepass")
        state.update(f"{type(value).__name__}{len(data)}:".encode())
        state.update(data)
    return state.digest()


def _row(content: list[Any]) -> Row:
    seq, client, client_seq, when, kind, intent, _, undo_of = content
    return Row(seq, when, kind, json.loads(intent), undo_of, client, client_seq)


def _head_values(head: Head) -> list[Any]:
    return [head.seq, head.chain, head.next_id]
