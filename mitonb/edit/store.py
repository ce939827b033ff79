"""The store: one SQLite file of labels and the journal of all edits, checksummed, and who may write it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from mitonb.errors import ReadOnlyStoreError, StaleWriterError, StoreError, guarded
from mitonb.files import LockHolder, atomic_write

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
# table -> the columns that its checksums are over, the key first; and what errors call a row
_COLUMNS = {
    "meta": ("key, value", "the entry {!r}"),
    "edits": ("seq, client, client_seq, time, kind, intent, effect, undo_of", "edit {} of the journal"),
    "blocks": ("number, data", "block {} of the labels"),
    "records": ("seq, record", "entry {} of the records"),
    "notes": ("number, note", "entry {} of the notes"),
}
_DAMAGED = "The file is damaged: go on with a copy from a backup"
# what SQLite says -> what to do
_ADVICE = {
    "readonly": "Copy it to a folder of yours to edit it",
    "full": "The disk is full: free some space, then repeat the last step",
    "locked": "Another program is using the file: close it there, then repeat the last step",
    "decode": _DAMAGED,
    "not a database": "It is not a mitonb project",
}
_WAIT = 10.0  # seconds to wait for another program that is writing


@dataclass(frozen=True)
class Head:
    """Where the journal ends: its last edit, the checksum of the chain up to there, and the next unused id."""

    seq: int
    chain: str
    next_id: int


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

    @classmethod
    def of(cls, content: list[Any]) -> Row:
        """Read a row of the table."""
        seq, client, client_seq, when, kind, intent, _, undo_of = content
        return cls(seq, when, kind, json.loads(intent), undo_of, client, client_seq)


class Store:
    """A project file, or the same thing in memory: its tables, and who may write into them.

    Every row is written with its checksum, and none is believed without. Every write is one immediate transaction
    that first checks that this store is still the writer; it has happened when the call returns. Not thread-safe: its
    owner locks. Use `Store.create` and `Store.open`.

    Parameters
    ----------
    path : path or None
        The file; None is memory.
    read_only : bool
        Look only.
    new : bool
        Nobody else knows the file yet, and who made it puts it on the disk.

    Attributes
    ----------
    head : Head
        Where the journal ended when it was last read or written.
    """

    def __init__(self, path: Path | None, *, read_only: bool = False, new: bool = False) -> None:
        self.path, self.read_only = path, read_only
        self.head = Head(0, "", 1)
        self.epoch = 0
        self._failed = False
        self._pid = os.getpid()
        self._stat = path.stat() if path else None
        self._copy = _mended_copy(path) if path and read_only else None
        if self._copy:
            self._db = _connect(Path(self._copy.name, "copy.mitonb"))
            self._db.execute("PRAGMA query_only=ON")
        else:
            self._db = _connect(path, read_only=read_only, new=new)

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
        with _new_file(path) as temporary, contextlib.closing(cls(temporary, new=True)) as store:
            store._fill(meta, blocks, head, record)
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
            with _translated(path):
                _check(store._db, path)
                store._db.execute("BEGIN" if reason else "BEGIN IMMEDIATE")
                if not reason:
                    reason = store._become_writer(take_over)
                    store.read_only = bool(reason)
                store.head = Head(*store.meta("head"))
        except BaseException:
            store._let_go()
            raise
        return store, reason

    def confirm(self) -> None:
        """End the transaction of `open`: from here on this store is the writer, if it may write."""
        with _translated(self.path):
            self._db.execute("ROLLBACK" if self.read_only else "COMMIT")

    # --- reading; whatever is damaged or missing is a StoreError that names it --------------------------------------

    def meta(self, key: str) -> Any:
        """Return a value of the project."""
        return json.loads(self._read("meta", key)[0][1])

    def rows(self, after: int = 0) -> list[Row]:
        """Return the journal after an edit, each record and the whole chain checked."""
        found: list[Row] = []
        chain = ""
        # The head comes first: what another session adds behind it meanwhile is looked at the next time.
        head = Head(*self.meta("head"))
        asked = f"SELECT {_COLUMNS['edits'][0]}, checksum, chain FROM edits WHERE seq <= ? ORDER BY seq"
        with _translated(self.path):
            for *content, own, link in self._db.execute(asked, (head.seq,)):
                chain = checksum(chain, own).hex()
                if content[0] != len(found) + 1 or own != checksum(*content) or link != bytes.fromhex(chain):
                    raise self.damaged(f"edit {len(found) + 1} of the journal")
                found.append(Row.of(content))
        if (len(found), chain) != (head.seq, head.chain):
            raise self.damaged(f"the end of the journal (edit {head.seq})")
        self.head = head
        return found[after:]

    def effect(self, seq: int) -> bytes:
        """Return the packed effect of an edit."""
        return bytes(self._read("edits", seq)[0][6])

    def block(self, number: int) -> bytes:
        """Return a packed block of labels, as of the last snapshot."""
        return bytes(self._read("blocks", number)[0][1])

    def records(self) -> dict[int, Mapping[str, Any]]:
        """Return the run records by the edit that brought each; 0 is the first labels'."""
        return {seq: json.loads(text) for seq, text in self._read("records")}

    def offered(self) -> set[int]:
        """Return the ids that were promised to somebody, whether or not a voxel has them."""
        return {int(key.split()[1]) for key, _ in self._read("meta") if key.startswith("offered ")}

    def damaged(self, what: str) -> StoreError:
        """Return the error that names what is damaged."""
        name = self.path or "The project in memory"
        return StoreError(f"{name} is damaged: {what} is missing or wrong. Go on with a copy from a backup.")

    # --- writing ----------------------------------------------------------------------------------------------------

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
        seq, (name, number) = self.head.seq + 1, client or (None, None)
        text = json.dumps(intent, separators=(",", ":"))
        content = [seq, name, number, time.time(), kind, text, effect, undo_of]
        own = checksum(*content)
        link = checksum(self.head.chain, own)
        head = Head(seq, link.hex(), next_id)
        with self._writing():
            self._db.execute("INSERT INTO edits VALUES (?,?,?,?,?,?,?,?,?,?)", (*content, own, link))
            self._put_meta("head", astuple(head))
            if record is not None:
                self._put_record(seq, record)
        self.head = head
        return Row.of(content)

    def offer(self, id: int) -> None:
        """Remember that an id is promised to somebody, and given to nothing else; errors as in `append`."""
        with self._writing():
            self._put_meta(f"offered {id}", None)

    def snapshot(self, blocks: Mapping[int, bytes]) -> None:
        """Replace blocks, so that opening need not replay the edits up to now."""
        with self._writing():
            for number, data in blocks.items():
                self._put("blocks", number, data)
            self._put_meta("snapshot", self.head.seq)

    def compact(self, pack: Callable[[bytes], bytes]) -> None:
        """Pack effects anew, each as `pack` says, and give back what the file does not need; no record is lost.

        Raises
        ------
        StoreError
            If it cannot be written; then the file is as before, or no less than that.
        """
        with self._writing():
            self.rows()  # nothing is sealed with new checksums that was damaged
            chain = ""
            columns, changed = _COLUMNS["edits"][0], False
            for seq in range(1, self.head.seq + 1):
                row = self._db.execute(f"SELECT {columns} FROM edits WHERE seq = ?", (seq,)).fetchone()
                packed = pack(row[6])
                changed = changed or packed != row[6]
                content = [*row[:6], packed, *row[7:]]
                own = checksum(*content)
                link = checksum(chain, own)
                chain = link.hex()
                if changed:  # of those that follow, the chain
                    new = (packed, own, link, seq)
                    self._db.execute("UPDATE edits SET effect = ?, checksum = ?, chain = ? WHERE seq = ?", new)
            head = replace(self.head, chain=chain)
            self._put_meta("head", astuple(head))
        self.head = head
        with _translated(self.path):
            self._db.execute("VACUUM")  # all or nothing, too

    def copy_to(self, path: Path, blocks: Iterable[bytes], meta: Mapping[str, Any]) -> None:
        """Write the project up to `head`, with all blocks as of then and new facts, to a new file that nobody owns.

        Edits that another session has added behind `head` stay out: this one's labels know nothing of them.

        Raises
        ------
        StoreError
            If something stands there already, or nothing can be written there.
        """
        with _new_file(path) as file, contextlib.closing(Store(file, new=True)) as copy, _translated(path):
            self._db.backup(copy._db)
            copy._db.execute("BEGIN IMMEDIATE")
            for table in ("edits", "records"):
                copy._db.execute(f"DELETE FROM {table} WHERE seq > ?", (self.head.seq,))
            copy._put_all({**meta, "owner": None, "head": astuple(self.head), "snapshot": self.head.seq}, blocks)

    def close(self) -> None:
        """Let go of the file, so that another session can write."""
        try:
            if self.path is not None and not self.read_only and not self._db.in_transaction:
                with self._writing():
                    self._put_meta("owner", None)
                # Takes the empty side file of the TRUNCATE mode away: a closed project is one file.
                self._db.execute("PRAGMA journal_mode=DELETE")
        except (StoreError, sqlite3.Error):
            pass  # the owner stays written; a later session sees that this process is gone
        finally:
            self._let_go()

    def _let_go(self) -> None:
        self._db.close()
        if self._copy:
            self._copy.cleanup()

    def __del__(self) -> None:
        if hasattr(self, "_db"):
            self._let_go()

    def _read(self, table: str, key: str | int | None = None) -> list[Any]:
        """Return the rows of a table, or the one of a key, once their checksums agree."""
        columns, called = _COLUMNS[table]
        name = columns.partition(",")[0]
        only, keys = ("", ()) if key is None else (f" WHERE {name} = ?", (key,))
        with _translated(self.path):
            found = self._db.execute(f"SELECT {columns}, checksum FROM {table}{only} ORDER BY {name}", keys).fetchall()
        for *content, own in found:
            if own != checksum(*content):
                raise self.damaged(called.format(content[0]))
        if key is not None and not found:
            raise self.damaged(called.format(key))
        return [row[:-1] for row in found]

    def _put(self, table: str, key: str | int, value: Any) -> None:
        self._db.execute(f"INSERT OR REPLACE INTO {table} VALUES (?,?,?)", (key, value, checksum(key, value)))

    def _put_meta(self, key: str, value: Any) -> None:
        self._put("meta", key, json.dumps(value))

    def _put_record(self, seq: int, record: Mapping[str, Any]) -> None:
        self._put("records", seq, json.dumps(dict(record), default=str))

    def _put_all(self, meta: Mapping[str, Any], blocks: Iterable[bytes]) -> None:
        """Write the facts and the labels, and commit."""
        for key, value in meta.items():
            self._put_meta(key, value)
        for number, data in enumerate(blocks):
            self._put("blocks", number, data)
        self._db.execute("COMMIT")

    def _fill(
        self, meta: Mapping[str, Any], blocks: Iterable[bytes], head: Head, record: Mapping[str, Any] | None
    ) -> None:
        """Make an empty file a project."""
        with _translated(self.path):
            self._db.execute(f"PRAGMA application_id={_APPLICATION}")
            self._db.execute(f"PRAGMA user_version={FORMAT}")
            self._db.execute("BEGIN IMMEDIATE")
            for table in _TABLES:
                self._db.execute(table)
            if record is not None:
                self._put_record(0, record)
            self._put_all({**meta, "epoch": 0, "owner": None, "snapshot": 0, "head": astuple(head)}, blocks)
        self.head = head

    def _become_writer(self, take_over: bool) -> str:
        """Raise the epoch, or return why not."""
        me, text = LockHolder.me(), self.meta("owner")
        other = LockHolder.from_json(text) if text else None
        if other and not other.is_me and other.may_live and not take_over:
            return f"{other} is writing into it. Close it there, or open with take_over=True if it is gone"
        # The epoch is raised before anything is read: an edit of the old writer is either seen or refused.
        self.epoch = int(self.meta("epoch")) + 1
        self._put_meta("epoch", self.epoch)
        self._put_meta("owner", me.to_json())
        if other and not other.is_me:
            self._put("notes", len(self._read("notes")) + 1, f"{me} took over from {other}.")
        return ""

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """One immediate transaction of the rightful writer."""
        if self.read_only:
            raise ReadOnlyStoreError(f"{self.path} is open read-only; nothing was changed.")
        if os.getpid() != self._pid:
            raise StoreError("This project was opened in another process. Open it again in this one.")
        self._check_file()
        with _translated(self.path):
            if self._failed:
                # The old connection stays until the new one works: it may hold the last copy of the journal.
                old, self._db = self._db, _connect(self.path)
                old.close()
                self._failed = False
            try:
                self._db.execute("BEGIN IMMEDIATE")
                if self.path is not None:
                    self._require_still_ours()
                yield
                self._db.execute("COMMIT")
            except BaseException:
                self._failed = self.path is not None
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    def _require_still_ours(self) -> None:
        if self.meta("epoch") != self.epoch:
            raise StaleWriterError(f"Another session has taken over {self.path}. Open it again to go on.")
        if Head(*self.meta("head")) != self.head:  # also where a write that failed had reached the disk after all
            raise StoreError(f"{self.path} holds edits that are not in these labels. Open it again to go on.")

    def _check_file(self) -> None:
        # SQLite would go on writing into a file that has no name any more.
        if self.path and self._stat and not (self.path.exists() and os.path.samestat(self.path.stat(), self._stat)):
            raise StoreError(
                f"{self.path} was deleted, moved or replaced while it was open. Put it back, or save to a new file "
                "with session.save_as(path). Nothing was changed."
            )


def checksum(*values: object) -> bytes:
    """Return a checksum of values that SQLite can hold, each with its type and length."""
    state = blake2b(digest_size=16)
    for value in values:
        data = value if isinstance(value, bytes) else repr(value).encode("utf-8", "surrogatepass")
        state.update(f"{type(value).__name__}{len(data)}:".encode())
        state.update(data)
    return state.digest()


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """The one door of project files: whatever a damaged one makes Python or SQLite raise is a StoreError."""
    # Where checksums agree and yet the values make no sense, no mitonb wrote this.
    with guarded(path, StoreError, "Go on with a copy from a backup."), _translated(path):
        yield


@contextlib.contextmanager
def _translated(path: Path | None) -> Iterator[None]:
    """Turn SQLite's errors into sentences."""
    try:
        yield
    except sqlite3.Error as error:
        text, operational = str(error), isinstance(error, sqlite3.OperationalError)
        other = "Check that the disk is there and has space, then repeat the last step" if operational else _DAMAGED
        advice = next((say for word, say in _ADVICE.items() if word in text), other)
        kind = ReadOnlyStoreError if advice == _ADVICE["readonly"] else StoreError
        name = path or "The project in memory"
        raise kind(f"{name} cannot be read or written ({text}). {advice}. Nothing was changed.") from error


def _connect(path: Path | None, *, read_only: bool = False, new: bool = False) -> sqlite3.Connection:
    """Open an SQLite file (None: memory) so that what is committed survives a power cut."""
    with _translated(path):
        name = ":memory:" if path is None else f"{path.resolve().as_uri()}?mode={'ro' if read_only else 'rw'}"
        db = sqlite3.connect(name, uri=True, timeout=_WAIT, isolation_level=None, check_same_thread=False)
        try:
            # A project may come by mail: its schema may not call functions with side effects.
            db.execute("PRAGMA trusted_schema=OFF")
            # EXTRA also syncs the folder, so that a power cut cannot bring the rollback journal back to life.
            db.execute(f"PRAGMA synchronous={'OFF' if new else 'EXTRA'}")
            if path and not read_only:
                db.execute(f"PRAGMA journal_mode={'MEMORY' if new else 'TRUNCATE'}")
        except BaseException:
            db.close()
            raise
        return db


def _mended_copy(path: Path) -> tempfile.TemporaryDirectory[str] | None:
    """Copy a project whose writer died in the middle of a step: who may not write can take it back in a copy only."""
    source = path.resolve()
    journal = source.with_name(f"{source.name}-journal")
    if not (journal.is_file() and journal.stat().st_size):
        return None
    # The journal may be that of a living writer: then the file itself can be read.
    with contextlib.suppress(StoreError), contextlib.closing(_connect(path, read_only=True)) as db, _translated(path):
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return None
    folder = tempfile.TemporaryDirectory(prefix="mitonb-project-", ignore_cleanup_errors=True)
    try:
        for file, name in ((source, "copy.mitonb"), (journal, "copy.mitonb-journal")):
            shutil.copyfile(file, Path(folder.name, name))
    except OSError as error:
        folder.cleanup()
        raise StoreError(
            f"The program that wrote {path} ended in the middle of a step, and no copy could be made in which that is "
            f"taken back ({error.strerror or error}). Free some space for temporary files."
        ) from error
    return folder


def _check(db: sqlite3.Connection, path: Path) -> None:
    """Refuse a file that is no project, of another version, cut off, or with more in it than tables of ours."""
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
def _new_file(path: Path) -> Iterator[Path]:
    """Give a name to write under until the file is whole: half a project never has the project's name."""
    try:
        if path.exists():
            raise StoreError(f"{path} exists already. Open it with Session.open, or choose another name.")
        if not path.parent.is_dir():
            raise StoreError(f"There is no folder {path.parent}. Create it first, or choose another.")
        if not os.access(path.parent, os.W_OK):
            raise OSError("no permission")
        with atomic_write(path) as temporary:
            temporary.touch()
            yield temporary
            if path.exists():
                raise StoreError(f"{path} was made by another program meanwhile. Choose another name.")
    except OSError as error:
        raise ReadOnlyStoreError(
            f"{path} cannot be written ({error}). Choose a folder that you may write to."
        ) from error
