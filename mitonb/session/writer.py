"""The writer of a session: one edit at a time into its project, acknowledged, and the save state told to everybody."""

from __future__ import annotations

import atexit
import threading
import weakref
from typing import TYPE_CHECKING, Any, TypeVar

from mitonb.edit.effects import NOWHERE
from mitonb.errors import InputError, ReadOnlyStoreError, StaleWriterError, StoreError
from mitonb.session.news import MEMORY, SAVED, SAVING, Change, SaveState, emit

if TYPE_CHECKING:
    from collections.abc import Callable

    from psygnal import SignalInstance

    from mitonb.box import Box
    from mitonb.edit.effects import Edit
    from mitonb.edit.project import Client, Project
    from mitonb.edit.store import Row

__all__ = ["Writer"]

_T = TypeVar("_T")
_LONG = 1 << 20  # voxels of an edit that takes long enough to say so


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

    Attributes
    ----------
    lock : RLock
        Held for the whole of a verb.
    reason : str
        As above; it may come later, when another session takes over.
    state : SaveState
        Whether the work is safe.
    """

    def __init__(self, project: Project, reason: str, *, edited: SignalInstance, state_changed: SignalInstance) -> None:
        self.lock = threading.RLock()
        self.reason = reason
        self._project = project
        self._edited, self._state_changed = edited, state_changed
        self._open = True
        self.state = MEMORY if project.store.path is None else SAVED
        if reason:
            self.state = _unsaved(reason)
        elif project.store.path is not None:
            _retire_others(self)

    def write(
        self, make: Callable[[Project], Edit], client: Client | None, *, record: Any = None, bare: bool = False
    ) -> Change:
        """Compute an edit, record it, apply it, tell everybody; `bare` records one that changes no voxel as well."""
        with self.lock:
            project = self._writable(client)
            if done := project.acknowledged(client):
                return Change.of(done, project.box_of(done))
            edit = make(project)
            if not edit.empty or bare:
                if project.store.path is not None and edit.voxels > _LONG:
                    self._tell(SAVING)
                row = self._acknowledged(lambda: project.commit(edit, client=client, record=record))
                return self._changed(row, edit.box)
            if client:
                self._acknowledged(lambda: project.decline(client))
            kept, erased = (edit.intent.get(name, 0) for name in ("kept", "erased"))
            return Change(project.version, NOWHERE, "nothing", kept=kept, erased=erased)

    def step(self, client: Client | None, *, redo: bool, of: int | None = None) -> Change:
        """Undo or redo, and tell everybody; with `of`, undo that edit or none."""
        with self.lock:
            project = self._writable(client)
            if done := project.acknowledged(client):
                return Change.of(done, project.box_of(done))
            if of is not None and project.undoable[-1:] != [of]:
                raise InputError(
                    f"Other edits came after edit {of}, or it is undone already: go back step by step (Ctrl-Z)."
                )
            row, box = self._acknowledged(lambda: project.undo(redo=redo, client=client))
            return self._changed(row, box)

    def offer(self) -> int:
        """Promise a free id, which nothing else gets from here on, whatever comes between."""
        with self.lock:
            project = self._writable(None)
            return self._acknowledged(project.offer)

    def follow(self) -> None:
        """Tell of the edits that another session has recorded since."""
        with self.lock:
            for row, box in self._project.refresh():
                self._changed(row, box)

    def begin_anew(self) -> None:
        """Write again, whatever the reason was not to: the project has a new file of its own."""
        with self.lock:
            self.reason = ""
            _retire_others(self)
            self._tell(SAVED)

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

    def retire(self, reason: str) -> None:
        """Only look from here on."""
        with self.lock:
            self.reason = reason
            self._tell(_unsaved(reason))

    def writes_into_the_file_of(self, other: Writer) -> bool:
        """Return whether two writers have the same project file."""
        mine, others = self._project.store.path, other._project.store.path
        return bool(mine and others and mine.resolve() == others.resolve())

    def _writable(self, client: Client | None) -> Project:
        if client is not None:
            name, number = client if isinstance(client, tuple) and len(client) == 2 else (None, None)
            if not (isinstance(name, str) and name.isprintable() and len(name) <= 200 and type(number) is int):
                raise InputError(f"A client is a printable name and a whole number, got {client!r}.")
            if not 0 <= number < 2**63:
                raise InputError(f"A request number is from 0 to {2**63 - 1}, got {number}.")
        if self.reason:
            raise ReadOnlyStoreError(f"This session is read-only: {self.reason}. Nothing was changed.")
        return self._project

    def _acknowledged(self, write: Callable[[], _T]) -> _T:
        """Write, and let the save state say how it went."""
        try:
            result = write()
        except StoreError as error:
            if isinstance(error, StaleWriterError):
                self.reason = "another session has taken over the project"
            self._tell(SaveState("unsaved", f"not saved: {error}"))
            raise
        self._tell(MEMORY if self._project.store.path is None else SAVED)
        return result

    def _changed(self, row: Row, box: Box) -> Change:
        change = Change.of(row, box)
        emit(self._edited, change)
        return change

    def _tell(self, state: SaveState) -> None:
        if state != self.state:
            self.state = state
            emit(self._state_changed, state)


def _unsaved(reason: str) -> SaveState:
    return SaveState("unsaved", f"not saved: {reason}.")


_writers: weakref.WeakSet[Writer] = weakref.WeakSet()


def _retire_others(newest: Writer) -> None:
    for other in list(_writers):
        if other is not newest and other.writes_into_the_file_of(newest):
            other.retire("the project was opened again in this notebook; use the newer session")
            _writers.discard(other)
    _writers.add(newest)


@atexit.register
def _close_all() -> None:
    for writer in list(_writers):
        writer.close()
