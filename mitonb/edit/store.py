"""The store: one SQLite file that holds a project's labels and the journal of every edit."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from mitonb.edit import database
from mitonb.edit.database import FORMAT, digest, translated
from mitonb.edit.owner import Owner
from mitonb.errors import ReadOnlyStoreError, StaleWriterError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = ["FORMAT", "Head", "Row", "Store"]

_CONTENT = "seq, client, client_seq, time, kind, intent, effect, undo_of"


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
    happened when the call returns. Not thread-safe: its owner locks. Use `Store.create` and `Store.open`.
    """

    def __init__(self, path: Path | None, *, read_only: bool = False) -> None:
        self.path = path
        self.read_only = read_only
        self.epoch = 0
        self.head = Head()
        self._pid = os.getpid()
        self._db = database.connect(path, read_only)
        self._file = database.identity(path)

    @classmethod
    def create(
        cls, path: Path | None, meta: Mapping[str, Any], blocks: Iterable[bytes], head: Head,
        record: Mapping[str, Any] | None = None,
    ) -> Store:  # fmt: skip
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
        with database.new_file(path) as part, contextlib.closing(cls(part)) as store:
            store._fill(meta, blocks, head, record)
            store._db.execute("PRAGMA journal_mode=DELETE")
        store, _ = cls.open(path)
        store.confirm()
        return store

    @classmethod
    def open(cls, path: Path, *, take_over: bool = False, read_only: bool = False) -> tuple[Store, str]:
        """Open a project, for writing where that is possible, inside a transaction.

        What is read up to `confirm` is one state of the file, and nobody else writes meanwhile; `close` instead of
        `confirm` leaves the file as it was.

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
            database.check(store._db, path)
            with translated(path):
                store._db.execute("BEGIN" if reason else "BEGIN IMMEDIATE")
            if not reason:
                reason = store._become_writer(take_over)
                store.read_only = bool(reason)
            store.head = store._read_head()
        except BaseException:
            store._db.close()
            raise
        return store, reason

    def confirm(self) -> None:
        """End the transaction of `open`: from here on this store is the writer, if it may write."""
        with translated(self.path):
            self._db.execute("ROLLBACK" if self.read_only else "COMMIT")

    def meta(self, key: str) -> Any:
        """Return a value of the project.

        Raises
        ------
        StoreError
            If it is damaged or missing.
        """
        with translated(self.path):
            row = self._db.execute("SELECT value, checksum FROM meta WHERE key = ?", (key,)).fetchone()
        if row is None or row[1] != digest(key, row[0]):
            raise self.damaged(f"the entry {key!r}")
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
        with self._reading():
            for values in self._db.execute(f"SELECT {_CONTENT}, checksum, chain FROM edits ORDER BY seq"):
                *content, checksum, link = values
                seq = len(found) + 1
                chain = digest(chain, checksum).hex()
                if content[0] != seq or checksum != digest(*content) or link != bytes.fromhex(chain):
                    raise self.damaged(f"edit {seq} of the journal")
                found.append(_row(content))
            head = self._read_head()
        if (len(found), chain) != (head.seq, head.chain):
            raise self.damaged(f"the end of the journal (edit {head.seq})")
        self.head = head
        return found[after:]

    def effect(self, seq: int) -> bytes:
        """Return the packed effect of an edit.

        Raises
        ------
        StoreError
            If it is damaged or missing.
        """
        with translated(self.path):
            row = self._db.execute(f"SELECT {_CONTENT}, checksum FROM edits WHERE seq = ?", (seq,)).fetchone()
        if row is None or row[-1] != digest(*row[:-1]):
            raise self.damaged(f"edit {seq} of the journal")
        blob: bytes = row[6]
        return blob

    def block(self, number: int) -> bytes:
        """Return a packed block of labels, as of the last snapshot.

        Raises
        ------
        StoreError
            If it is damaged or missing.
        """
        with translated(self.path):
            row = self._db.execute("SELECT data, checksum FROM blocks WHERE number = ?", (number,)).fetchone()
        if row is None or row[1] != digest(number, row[0]):
            raise self.damaged(f"block {number} of the labels")
        blob: bytes = row[0]
        return blob

    def records(self) -> dict[int, Mapping[str, Any]]:
        """Return the run records by the edit that brought each; 0 is the first labels'."""
        return {seq: json.loads(text) for seq, text in self._texts("records", "seq", "record")}

    def notes(self) -> list[str]:
        """Return the remarks, oldest first."""
        return [note for _, note in self._texts("notes", "number", "note")]

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
        checksum = digest(*content)
        chain = digest(self.head.chain, checksum)
        head = Head(seq, chain.hex(), next_id)
        with self._writing():
            self._db.execute("INSERT INTO edits VALUES (?,?,?,?,?,?,?,?,?,?)", (*content, checksum, chain))
            self._put("head", astuple(head))
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

    def reconnect(self) -> None:
        """Open the file anew after a failed write; SQLite then rolls half a transaction back."""
        if self.path is not None:
            self._check_file()
            # The old connection stays until the new one works: it may hold the last copy of the journal.
            fresh = database.connect(self.path, self.read_only)
            try:
                database.check(fresh, self.path)
            except BaseException:
                fresh.close()
                raise
            self._db.close()
            self._db = fresh

    def copy_to(self, path: Path, blocks: Iterable[bytes], meta: Mapping[str, Any]) -> None:
        """Write the project up to `head`, with all blocks as of then and new facts, to a new file that nobody owns.

        Edits that another session has added behind `head` stay out: this one's labels know nothing of them.

        Raises
        ------
        StoreError
            If something stands there already, or nothing can be written there.
        """
        with database.new_file(path) as part, contextlib.closing(Store(part)) as copy, translated(path):
            self._db.backup(copy._db)
            copy._db.execute("PRAGMA journal_mode=TRUNCATE")
            copy._db.execute("BEGIN IMMEDIATE")
            for table in ("edits", "records"):
                copy._db.execute(f"DELETE FROM {table} WHERE seq > ?", (self.head.seq,))
            for key, value in {**meta, "owner": None, "head": astuple(self.head)}.items():
                copy._put(key, value)
            for number, data in enumerate(blocks):
                copy._put_block(number, data)
            copy._put("snapshot", self.head.seq)
            copy._db.execute("COMMIT")
            copy._db.execute("PRAGMA journal_mode=DELETE")

    def close(self) -> None:
        """Let go of the file, so that another session can write."""
        try:
            if self.path is not None and not self.read_only and not self._db.in_transaction:
                with self._writing():
                    self._put("owner", None)
                # Takes the empty side file of the TRUNCATE mode away: a closed project is one file.
                self._db.execute("PRAGMA journal_mode=DELETE")
        except (StoreError, sqlite3.Error):
            pass  # the owner stays written; a later session sees that this process is gone
        finally:
            self._db.close()

    def __del__(self) -> None:
        db = getattr(self, "_db", None)
        if db is not None:
            db.close()

    def damaged(self, what: str) -> StoreError:
        """Return the error that names what is damaged."""
        return StoreError(
            f"{self.path or 'The project in memory'} is damaged: {what} is missing or does not match its checksum. "
            "Nothing was changed; go on with a copy from a backup."
        )

    def _fill(
        self, meta: Mapping[str, Any], blocks: Iterable[bytes], head: Head, record: Mapping[str, Any] | None
    ) -> None:
        with translated(self.path):
            database.fill(self._db)
            for key, value in {**meta, "epoch": 0, "owner": None, "snapshot": 0, "head": astuple(head)}.items():
                self._put(key, value)
            for number, data in enumerate(blocks):
                self._put_block(number, data)
            if record is not None:
                self._add_record(0, record)
            self._db.execute("COMMIT")
        self.head = head

    def _become_writer(self, take_over: bool) -> str:
        """Raise the epoch, or return why not."""
        me, text = Owner.me(), self.meta("owner")
        other = Owner.from_json(text) if text else None
        if other and not other.is_me and other.may_live and not take_over:
            return f"{other} is writing into it. Close it there, or open with take_over=True if it is gone"
        # The epoch is raised before anything is read: an edit of the old writer is either seen or refused.
        self.epoch = int(self.meta("epoch")) + 1
        with translated(self.path):
            self._put("epoch", self.epoch)
            self._put("owner", me.to_json())
            if other and not other.is_me:
                number = self._db.execute("SELECT COALESCE(MAX(number), 0) + 1 FROM notes").fetchone()[0]
                note = f"{me} took over from {other}."
                self._db.execute("INSERT INTO notes VALUES (?,?,?)", (number, note, digest(number, note)))
        return ""

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """One immediate transaction of the rightful writer."""
        if self.read_only:
            raise ReadOnlyStoreError(f"{self.path} is open for looking only; nothing was changed.")
        if os.getpid() != self._pid:
            raise StoreError("This project was opened in another process. Open it again in this one.")
        self._check_file()
        with translated(self.path):
            try:
                self._db.execute("BEGIN IMMEDIATE")
                if self.path is not None and self.meta("epoch") != self.epoch:
                    text = self.meta("owner")
                    raise StaleWriterError(
                        f"Another session has taken over {self.path} ({Owner.from_json(text) if text else 'closed'}). "
                        "Nothing was changed; open the project again to go on."
                    )
                yield
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """See one state of the file, whatever another session writes meanwhile."""
        with translated(self.path):
            if self._db.in_transaction:
                yield
                return
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                self._db.execute("ROLLBACK")

    def _check_file(self) -> None:
        if self.path is not None and database.identity(self.path) != self._file:
            # SQLite would go on writing into a file that has no name any more.
            raise StoreError(
                f"{self.path} was deleted, moved or replaced while it was open. Put it back, or write the project to "
                "a new file with session.save_as(path). Nothing was changed."
            )

    def _texts(self, table: str, key: str, value: str) -> list[tuple[int, str]]:
        with translated(self.path):
            rows = self._db.execute(f"SELECT {key}, {value}, checksum FROM {table} ORDER BY {key}").fetchall()
        for number, text, checksum in rows:
            if checksum != digest(number, text):
                raise self.damaged(f"entry {number} of the {table}")
        return [(number, text) for number, text, _ in rows]

    def _read_head(self) -> Head:
        return Head(*self.meta("head"))

    def _put(self, key: str, value: Any) -> None:
        text = json.dumps(value)
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?,?,?)", (key, text, digest(key, text)))

    def _put_block(self, number: int, data: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO blocks VALUES (?,?,?)", (number, data, digest(number, data)))

    def _add_record(self, seq: int, record: Mapping[str, Any]) -> None:
        text = json.dumps(dict(record), default=str)
        self._db.execute("INSERT INTO records VALUES (?,?,?)", (seq, text, digest(seq, text)))


def _row(content: list[Any]) -> Row:
    seq, client, client_seq, when, kind, intent, _, undo_of = content
    return Row(seq, when, kind, json.loads(intent), undo_of, client, client_seq)
