"""The writer of a session: one edit at a time into its project, acknowledged, and everybody told of it."""

from __future__ import annotations

import atexit
import logging
import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from psygnal import EmitLoopError, SignalInstance

from mitonb.edit import ops
from mitonb.edit.edits import NOWHERE, Edit
from mitonb.edit.marks import ids_in
from mitonb.errors import InputError, ReadOnlyStoreError, StaleWriterError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mitonb.box import Box
    from mitonb.edit.project import Client, Project
    from mitonb.edit.store import Row

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_LONG = 1 << 20  # voxels of an edit that takes long enough to say so


@dataclass(frozen=True)
class Change:
    """What a verb did, acknowledged.

    Attributes
    ----------
    seq : int
        Number of the edit in the journal; the session's version from then on.
    box : Box
        Where voxels may differ from before; of size 0 when nothing changed.
    what : str
        The verb; "nothing" when nothing changed.
    id : int
        The label that was painted or filled with, or that an object got; else 0.
    kept : int
        Corrected and locked objects that a run left as they were.
    erased : int
        Objects of a run that were left out because the user had erased or deleted them.
    new : tuple of int
        The objects that a split has made, beside the largest part, which keeps its id.
    renamed : tuple of int
        The id that an object had, and the one that it has now; empty where none got another.
    """

    seq: int
    box: Box
    what: str
    id: int = 0
    kept: int = 0
    erased: int = 0
    new: tuple[int, ...] = ()
    renamed: tuple[int, ...] = ()

    @classmethod
    def of(cls, row: Row, box: Box, edit: Row) -> Change:
        """Return what a record of the journal did; `edit` is the one that it undid or did again, or itself."""
        renamed = ops.renamed(edit.kind, edit.intent)[:: -1 if row.kind == "undo" else 1]
        id, kept, erased = (row.intent.get(name, 0) for name in ("id", "kept", "erased"))
        id = renamed[-1] if renamed else id
        return cls(row.seq, box, row.kind, id, kept, erased, tuple(ids_in(row.intent.get("new"))), renamed)

    def about_corrections(self) -> str:
        """Return in a sentence what a run did about corrections; "" when there were none in its way."""
        said = []
        if self.kept:
            said.append(f"{self.kept} corrected object{'s' * (self.kept > 1)} kept")
        if self.erased:
            said.append(f"{self.erased} that you had erased left out")
        return f"{', '.join(said)}." if said else ""


@dataclass(frozen=True)
class SaveState:
    """Whether the work is safe, in a word and in a sentence.

    Attributes
    ----------
    kind : {"memory", "saved", "saving", "unsaved"}
        For colours and decisions.
    text : str
        For people: "in memory only", "saved", "saving 1", "not saved: why".
    """

    kind: Literal["memory", "saved", "saving", "unsaved"]
    text: str

    def __str__(self) -> str:
        return self.text


def emit(signal: SignalInstance, value: object) -> None:
    """Emit; a listener that fails must not look like an edit that failed."""
    try:
        signal.emit(value)
    except EmitLoopError:
        _log.exception("A listener of this session failed; the session itself is as it should be.")


class Writer:
    """The right of a session to write into its project, for as long as it has it.

    In this process the newest writer of a project file writes: running a cell again must just work.

    Parameters
    ----------
    project : Project
        What is written into.
    reason : str
        Why this session may only look; empty if it may write.
    edited, state_changed : SignalInstance
        Emitted with each `Change` and each new `SaveState`, while the lock is held.
    renamed : callable
        Told which id an object had, and which it has now.

    Attributes
    ----------
    lock : RLock
        Held for the whole of a verb.
    reason : str
        As above; it may come later, when another session takes over.
    state : SaveState
        Whether the work is safe.
    """

    def __init__(
        self, project: Project, reason: str, *, edited: SignalInstance, state_changed: SignalInstance,
        renamed: Callable[[int, int], None],
    ) -> None:  # fmt: skip
        self.lock = threading.RLock()
        self.reason = reason
        self._project = project
        self._edited, self._state_changed, self._renamed = edited, state_changed, renamed
        self._open = True
        self.state = _unsaved(reason) if reason else self._safe
        if not reason:
            self._retire_others()

    def write(
        self, make: Callable[[Project], Edit], client: Client | None, *, record: Any = None, bare: bool = False
    ) -> Change:
        """Compute an edit, record it, apply it, tell everybody; `bare` records one that changes no voxel as well."""

        def do(project: Project) -> Change:
            edit = make(project)
            if edit.parts or bare:
                if project.store.path is not None and edit.voxels > _LONG:
                    self._tell(SaveState("saving", "saving 1"))
                return self._changed(*self.acknowledge(lambda: project.commit(edit, client=client, record=record)))
            if client:
                self.acknowledge(lambda: project.decline(client))
            kept, erased = (edit.intent.get(name, 0) for name in ("kept", "erased"))
            return Change(project.version, NOWHERE, "nothing", kept=kept, erased=erased)

        return self._once(client, do)

    def step(self, client: Client | None, *, redo: bool, of: int | None = None) -> Change:
        """Undo or redo, and tell everybody; with `of`, undo that edit or none."""

        def do(project: Project) -> Change:
            if of is not None and project.undoable[-1:] != [of]:
                raise InputError(f"Other edits came after edit {of}, or it is undone: go back step by step (Ctrl-Z).")
            return self._changed(*self.acknowledge(lambda: project.undo(redo=redo, client=client)))

        return self._once(client, do)

    def offer(self) -> int:
        """Promise a free id, which nothing else gets from here on, whatever comes between."""
        with self.lock:
            self.require_writable()
            return self.acknowledge(self._project.offer)

    def follow(self) -> None:
        """Tell of the edits that another session has recorded since."""
        with self.lock:
            for row, box in self._project.refresh():
                self._changed(row, box)

    def begin_anew(self) -> None:
        """Write again, whatever the reason was not to: the project has a new file of its own."""
        with self.lock:
            self.reason = ""
            self._retire_others()
            self._tell(self._safe)

    def still_open(self) -> None:
        """Refuse what a closed session cannot do.

        Raises
        ------
        StoreError
            If the session was closed.
        """
        if not self._open:
            path = self._project.store.path
            again = f"Session.open({str(path)!r})" if path else "Session(stack, session.labels)"
            raise StoreError(f"This session was closed. Go on with {again}.")

    def close(self) -> None:
        """Let go of the project file; verbs are refused from here on."""
        with self.lock:
            if self._open:
                self._open = False
                self._project.close()
                _writers.discard(self)
                self.reason = self.reason or "this session was closed"

    @property
    def _safe(self) -> SaveState:
        in_memory = self._project.store.path is None
        return SaveState("memory", "in memory only") if in_memory else SaveState("saved", "saved")

    def _retire_others(self) -> None:
        """Let every older writer of the same file only look from here on."""
        path = self._project.store.path
        if path is None:
            return
        for other in list(_writers - {self}):
            theirs = other._project.store.path
            if theirs and theirs.resolve() == path.resolve():
                _writers.discard(other)
                other.reason = "the project was opened again in this notebook; use the newer session"
                other._tell(_unsaved(other.reason))
        _writers.add(self)

    def _once(self, client: Client | None, do: Callable[[Project], Change]) -> Change:
        """Do what was asked for, unless it was done before: then the answer is the same."""
        with self.lock:
            if client is not None:
                name, number = client if isinstance(client, tuple) and len(client) == 2 else (None, None)
                if not (isinstance(name, str) and name.isprintable() and len(name) <= 200 and type(number) is int):
                    raise InputError(f"A client is a printable name and a whole number, got {client!r}.")
                if not 0 <= number < 2**63:
                    raise InputError(f"A request number is from 0 to {2**63 - 1}, got {number}.")
            self.require_writable()
            done = self._project.acknowledged(client)
            return self._change(done, self._project.box_of(done)) if done else do(self._project)

    def require_writable(self) -> None:
        """Raise ReadOnlyStoreError if this session may only look."""
        if self.reason:
            raise ReadOnlyStoreError(f"This session is read-only: {self.reason}. Nothing was changed.")

    def acknowledge(self, write: Callable[[], _T]) -> _T:
        """Write, and let the save state say how it went."""
        try:
            result = write()
        except StoreError as error:
            if isinstance(error, StaleWriterError):
                self.reason = "another session has taken over the project"
            self._tell(SaveState("unsaved", f"not saved: {error}"))
            raise
        self._tell(self._safe)
        return result

    def _changed(self, row: Row, box: Box) -> Change:
        change = self._change(row, box)
        emit(self._edited, change)
        if change.renamed:  # after who listens has heard of it: what is selected then is known to them
            self._renamed(*change.renamed)
        return change

    def _change(self, row: Row, box: Box) -> Change:
        return Change.of(row, box, self._project.rows[(row.undo_of or row.seq) - 1])

    def _tell(self, state: SaveState) -> None:
        if state != self.state:
            self.state = state
            emit(self._state_changed, state)


def _unsaved(reason: str) -> SaveState:
    return SaveState("unsaved", f"not saved: {reason}.")


_writers: weakref.WeakSet[Writer] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for writer in list(_writers):
        writer.close()
