"""The store: one SQLite file that holds a project's labels and the journal of every edit, and who may write it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from mitonb.edit import database
from mitonb.edit.database import FORMAT, translated
from mitonb.edit.tables import Head, Row, Tables
from mitonb.errors import ReadOnlyStoreError, StaleWriterError, StoreError
from mitonb.files import LockHolder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = ["FORMAT", "Head", "Row", "Store"]


class Store(Tables):
    """A project file, or the same thing in memory: its tables, and who may write into them.

    Every write is one immediate transaction that first checks that this store is still the writer; it has
    happened when the call returns. Not thread-safe: its owner locks. Use `Store.create` and `Store.open`.
    """

    def __init__(self, path: Path | None, *, read_only: bool = False) -> None:
        super().__init__(path, database.connect(path, read_only))
        self.read_only = read_only
        self.epoch = 0
        self._pid = os.getpid()
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
            reason = "it was opened read-only"
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
        with self._writing():
            row, head = self._add_edit(kind, intent, effect, next_id=next_id, undo_of=undo_of, client=client)
            if record is not None:
                self._add_record(row.seq, record)
        self.head = head
        return row

    def offer(self, ids: Iterable[int]) -> None:
        """Remember that ids are promised to somebody, and given to nothing else; errors as in `append`."""
        with self._writing():
            for id in ids:
                self._put(f"offered {id}", None)

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
        me, text = LockHolder.me(), self.meta("owner")
        other = LockHolder.from_json(text) if text else None
        if other and not other.is_me and other.may_live and not take_over:
            return f"{other} is writing into it. Close it there, or open with take_over=True if it is gone"
        # The epoch is raised before anything is read: an edit of the old writer is either seen or refused.
        self.epoch = int(self.meta("epoch")) + 1
        with translated(self.path):
            self._put("epoch", self.epoch)
            self._put("owner", me.to_json())
            if other and not other.is_me:
                self._add_note(f"{me} took over from {other}.")
        return ""

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """One immediate transaction of the rightful writer."""
        if self.read_only:
            raise ReadOnlyStoreError(f"{self.path} is open read-only; nothing was changed.")
        if os.getpid() != self._pid:
            raise StoreError("This project was opened in another process. Open it again in this one.")
        self._check_file()
        with translated(self.path):
            try:
                self._db.execute("BEGIN IMMEDIATE")
                if self.path is not None and self.meta("epoch") != self.epoch:
                    text = self.meta("owner")
                    by = LockHolder.from_json(text) if text else "closed"
                    raise StaleWriterError(
                        f"Another session has taken over {self.path} ({by}). "
                        "Nothing was changed; open the project again to go on."
                    )
                yield
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    def _check_file(self) -> None:
        if self.path is not None and database.identity(self.path) != self._file:
            # SQLite would go on writing into a file that has no name any more.
            raise StoreError(
                f"{self.path} was deleted, moved or replaced while it was open. Put it back, or write the project to "
                "a new file with session.save_as(path). Nothing was changed."
            )
