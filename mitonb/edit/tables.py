"""The tables of a project file: every row is written with its checksum, and none is believed without."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from mitonb.edit.database import digest, translated
from mitonb.errors import StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["Head", "Row", "Tables"]

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


class Tables:
    """What a project file says, to be read by anyone. Writing rows is for the transactions of `Store`.

    Parameters
    ----------
    path : path or None
        Name of the file, for errors; None in memory.
    db : sqlite3.Connection
        The file.

    Attributes
    ----------
    head : Head
        Where the journal ended when it was last read or written.
    """

    def __init__(self, path: Path | None, db: sqlite3.Connection) -> None:
        self.path = path
        self.head = Head()
        self._db = db

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

    def offered(self) -> set[int]:
        """Return the ids that were promised to somebody, whether or not a voxel has them."""
        with translated(self.path):
            keys = self._db.execute("SELECT key FROM meta WHERE key GLOB 'offered *'").fetchall()
        for (key,) in keys:
            self.meta(key)  # sees that it is not damaged
        return {int(key.split()[1]) for (key,) in keys}

    def notes(self) -> list[str]:
        """Return the remarks, oldest first."""
        return [note for _, note in self._texts("notes", "number", "note")]

    def damaged(self, what: str) -> StoreError:
        """Return the error that names what is damaged."""
        return StoreError(
            f"{self.path or 'The project in memory'} is damaged: {what} is missing or does not match its checksum. "
            "Nothing was changed; go on with a copy from a backup."
        )

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

    def _add_edit(
        self, kind: str, intent: Mapping[str, Any], effect: bytes, *, next_id: int, undo_of: int | None,
        client: tuple[str, int] | None,
    ) -> tuple[Row, Head]:  # fmt: skip
        """Add a record to the end of the journal; return it, and where the journal ends then."""
        name, number = client or (None, None)
        text = json.dumps(intent, separators=(",", ":"))
        content = [self.head.seq + 1, name, number, time.time(), kind, text, effect, undo_of]
        checksum = digest(*content)
        chain = digest(self.head.chain, checksum)
        head = Head(self.head.seq + 1, chain.hex(), next_id)
        self._db.execute("INSERT INTO edits VALUES (?,?,?,?,?,?,?,?,?,?)", (*content, checksum, chain))
        self._put("head", astuple(head))
        return _row(content), head

    def _add_record(self, seq: int, record: Mapping[str, Any]) -> None:
        text = json.dumps(dict(record), default=str)
        self._db.execute("INSERT INTO records VALUES (?,?,?)", (seq, text, digest(seq, text)))

    def _add_note(self, note: str) -> None:
        number = self._db.execute("SELECT COALESCE(MAX(number), 0) + 1 FROM notes").fetchone()[0]
        self._db.execute("INSERT INTO notes VALUES (?,?,?)", (number, note, digest(number, note)))


def _row(content: list[Any]) -> Row:
    seq, client, client_seq, when, kind, intent, _, undo_of = content
    return Row(seq, when, kind, json.loads(intent), undo_of, client, client_seq)
