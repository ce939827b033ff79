"""Sessions: the headless owner of a stack, its labels and their history; what the mouse does, a script does too."""

from __future__ import annotations

import atexit
import bisect
import logging
import threading
import weakref
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
from psygnal import EmitLoopError, Signal, SignalInstance

from mitonb.edit import opening, ops
from mitonb.edit.effects import Edit
from mitonb.edit.history import Entry, entries
from mitonb.edit.news import MEMORY, NOWHERE, SAVED, SAVING, Change, SaveState
from mitonb.edit.project import Client, Project, digest
from mitonb.errors import InputError, ReadOnlyStoreError, StaleWriterError, StoreError
from mitonb.labels import Labels
from mitonb.memory import memory_budget
from mitonb.stack import Axis, Stack, VoxelSize, voxel_size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mitonb.box import Box
    from mitonb.edit.store import Row

__all__ = ["Change", "Entry", "SaveState", "Session"]

_T = TypeVar("_T")
_log = logging.getLogger(__name__)
_LONG = 1 << 20  # voxels of an edit that takes long enough to say so


class Session:
    """A stack, its labels, and every correction, with unlimited undo.

    All verbs go through one journal. With `path`, each is on disk before it returns and survives a crash; without,
    everything is kept in memory only. All methods may be called from any thread. Signals are emitted while the
    session is locked: handlers should be short, and never wait for another thread.

    Parameters
    ----------
    stack : Stack or (z, y, x) array, optional
        The image; may be left out when there are labels.
    labels : Labels or (z, y, x) integer array, optional
        First labels; copied. None starts empty.
    path : path, optional
        The project file, for example "cell.mitonb". When it exists, its labels and history are brought back.

    Raises
    ------
    InputError
        If neither stack nor labels are given, or they do not fit each other or the project at `path`.
    StoreError
        If the project cannot be read, or nothing can be written at `path`; always before any work could be lost.

    Examples
    --------
    >>> session = Session(labels=np.array([[[1, 1, 0, 2]]]))
    >>> session.merge(1, 2).what, session.labels.data.tolist()
    ('merge', [[[1, 1, 0, 1]]])
    >>> _ = session.undo()
    >>> session.labels.data.tolist()
    [[[1, 1, 0, 2]]]
    """

    edited = Signal(Change)
    selected = Signal(tuple)
    moved = Signal(tuple)
    state_changed = Signal(SaveState)

    def __init__(
        self,
        stack: Stack | npt.NDArray[Any] | None = None,
        labels: Labels | npt.NDArray[Any] | None = None,
        path: str | Path | None = None,
    ) -> None:
        image = stack if isinstance(stack, Stack) or stack is None else Stack(stack)
        given = labels if isinstance(labels, Labels) or labels is None else Labels(np.asarray(labels))
        place = None if path is None else Path(path).expanduser()
        if place is not None and place.exists():
            project, reason = opening.reopen(place, image, given, _fingerprint, memory=_memory())
        else:
            project, reason = opening.create(place, image, given, _fingerprint), ""
        self._start(project, image, reason)

    @classmethod
    def open(
        cls, path: str | Path, *, stack: Stack | None = None, take_over: bool = False, read_only: bool = False
    ) -> Session:
        """Open a project file, and the stack that it was made with where that is still there.

        Parameters
        ----------
        path : path
            The project file.
        stack : Stack, optional
            The image, when it has moved or lies at a remote address; None looks where it was.
        take_over : bool
            Write even though a session of another process has the project open; that one can then no longer write.
            Within a process the newest session always writes.
        read_only : bool
            Look only.

        Raises
        ------
        StoreError
            If there is no project, or it is damaged.
        InputError
            If the stack is another one than the project was made with.
        """
        self = cls.__new__(cls)
        place = Path(path).expanduser()
        project, reason = opening.reopen(
            place, stack, None, _fingerprint, take_over=take_over, read_only=read_only, memory=_memory()
        )
        notes: list[str] = []
        if stack is None:
            stack, notes = opening.find_stack(project.store.meta("stack"), place, _fingerprint, _read)
            stack = stack and replace(stack, voxel_size=project.voxel_size)
        self._start(project, stack, reason, notes)
        return self

    def _start(self, project: Project, stack: Stack | None, reason: str, notes: Sequence[str] = ()) -> None:
        self._lock = threading.RLock()
        self._project = project
        self._stack = stack
        self._reason = reason
        self._open = True
        self._view = project.labels.view()
        self._view.flags.writeable = False
        self._position = tuple(n // 2 for n in project.labels.shape)
        self._selection: tuple[int, ...] = ()
        self.notes: tuple[str, ...] = tuple(notes)
        self._state = MEMORY if project.store.path is None else SAVED
        if reason:
            self._state = SaveState("unsaved", f"not saved: {reason}.")
        elif self.path is not None:
            _retire(self)
        size = stack.voxel_size if stack is not None else None
        if size and not reason and size not in (project.voxel_size, project.first_voxel_size):
            # The stack was opened with another size than when the project began: the newest word counts, visibly.
            self.set_voxel_size(*size)

    @property
    def stack(self) -> Stack | None:
        """The image, with the session's voxel size."""
        with self._lock:
            if self._stack is not None and self._stack.voxel_size != self.voxel_size:
                self._stack = replace(self._stack, voxel_size=self.voxel_size)
            return self._stack

    @property
    def labels(self) -> Labels:
        """The labels; `labels.data` is a read-only array that follows every edit."""
        # Without the lock: looking must not wait for a long edit.
        name = "labels" if self._stack is None else f"{self._stack.name} labels"
        return Labels(self._view, self.voxel_size, name, self._project.record)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) in voxels."""
        z, y, x = self._view.shape
        return z, y, x

    @property
    def voxel_size(self) -> VoxelSize | None:
        """(z, y, x) in nm, or None when nobody has said."""
        return self._project.voxel_size

    @property
    def path(self) -> Path | None:
        """The project file, or None in memory."""
        return self._project.store.path

    @property
    def version(self) -> int:
        """Number of the last edit."""
        return self._project.version

    @property
    def read_only(self) -> bool:
        """True when this session may only look."""
        return bool(self._reason)

    @property
    def save_state(self) -> SaveState:
        """Whether the work is safe."""
        return self._state

    @property
    def can_undo(self) -> bool:
        """True when there is an edit to take back."""
        return bool(self._project.undoable)

    @property
    def can_redo(self) -> bool:
        """True when there is an undone edit."""
        return bool(self._project.redoable)

    @property
    def position(self) -> tuple[int, int, int]:
        """Where the user looks, (z, y, x)."""
        z, y, x = self._position
        return z, y, x

    @property
    def selection(self) -> tuple[int, ...]:
        """The selected ids."""
        return self._selection

    def paint(
        self, points: npt.ArrayLike, *, id: int, radius: float, axis: Axis = "xy", preserve: bool = False,
        client: Client | None = None,
    ) -> Change:  # fmt: skip
        """Draw a round brush along a polyline; see `mitonb.edit.ops.paint`.

        Every verb takes `client`, a name and a request number: a request that comes again changes nothing and gets
        the same answer.
        """
        return self._do(
            lambda p: ops.paint(p.labels, points, id=id, radius=radius, axis=axis, preserve=preserve), client
        )

    def erase(
        self, points: npt.ArrayLike, *, radius: float, axis: Axis = "xy", only: int | None = None,
        client: Client | None = None,
    ) -> Change:  # fmt: skip
        """Set to background along a polyline; see `mitonb.edit.ops.erase`."""
        return self._do(lambda p: ops.erase(p.labels, points, radius=radius, axis=axis, only=only), client)

    def fill(self, point: Sequence[float], id: int, axis: Axis = "xy", *, client: Client | None = None) -> Change:
        """Give an id to the patch of equal ids around (z, y, x) in its plane."""
        return self._do(lambda p: ops.fill(p.labels, point, id, axis), client)

    def merge(self, keep: int, *gone: int, client: Client | None = None) -> Change:
        """Give the voxels of other objects to `keep`."""
        return self._do(lambda p: ops.merge(p.labels, keep, gone, p.table.boxes), client)

    def delete(self, *ids: int, client: Client | None = None) -> Change:
        """Set whole objects to background."""
        return self._do(lambda p: ops.delete(p.labels, ids, p.table.boxes), client)

    def put_plane(
        self, ids: npt.NDArray[Any], axis: Axis, index: int, *, fresh: bool = False, client: Client | None = None
    ) -> Change:
        """Replace one plane.

        Parameters
        ----------
        ids : (h, w) integer array
            New ids.
        axis : {"xy", "xz", "yz"}
            Direction of the plane.
        index : int
            Position along that direction.
        fresh : bool
            Give every object of the plane an id that was never used, instead of the ids in the array.
        client : tuple of str and int, optional
            See `paint`.
        """
        plane = Labels(np.asarray(ids)[None]).data[0]

        def edit(p: Project) -> Edit:
            return ops.put_plane(p.labels, p.renamed(plane) if fresh else plane, axis, index)

        return self._do(edit, client)

    def adopt(self, labels: Labels | npt.NDArray[Any], *, client: Client | None = None) -> Change:
        """Replace all labels by the result of a run; one edit, with the run record, that undo takes back."""
        new = labels if isinstance(labels, Labels) else Labels(np.asarray(labels))

        opening.check_fit(self.shape, self.voxel_size, new.shape, new.voxel_size)

        def edit(p: Project) -> Edit:
            made = ops.adopt(p.labels, new.data)
            return replace(made, intent={**made.intent, "name": new.name, "digest": digest(new.data)})

        # Where a run gives the labels that are there already, the project should still know of it.
        said = new.record is not None and new.record != self._project.record
        return self._do(edit, client, record=new.record, bare=said)

    def set_voxel_size(self, *nm: float, client: Client | None = None) -> Change:
        """Set the voxel size: one number, or (z, y, x), in nm."""
        size = list(voxel_size_of(nm[0] if len(nm) == 1 else nm))
        same = self.voxel_size == tuple(size)
        return self._do(
            lambda p: Edit("set_voxel_size", NOWHERE, (), {"before": p.voxel_size, "after": size}),
            client,
            bare=not same,
        )

    def undo(self, *, client: Client | None = None) -> Change:
        """Take the last edit back.

        Raises
        ------
        InputError
            If there is none.
        """
        return self._step(client, redo=False)

    def redo(self, *, client: Client | None = None) -> Change:
        """Do the edit again that was undone last.

        Raises
        ------
        InputError
            If there is none.
        """
        return self._step(client, redo=True)

    def new_id(self) -> int:
        """Return an id that no object ever had."""
        with self._lock:
            return self._project.take_id()

    def pick(self, z: float, y: float, x: float) -> int:
        """Return the id at a voxel; 0 is background."""
        return int(self._view[ops.inside(self.shape, (z, y, x))])

    def ids(self) -> list[int]:
        """Return the ids of all objects, sorted."""
        with self._lock:
            return sorted(self._project.table.counts)

    def voxels(self, id: int) -> int:
        """Return how many voxels an object has; 0 for an unknown id."""
        with self._lock:
            return self._project.table.counts.get(id, 0)

    def box(self, id: int) -> Box | None:
        """Return a box that holds an object (it may be larger after erasing), or None for an unknown id."""
        with self._lock:
            return self._project.table.boxes.get(id)

    def select(self, *ids: int) -> None:
        """Select objects; without arguments, none."""
        with self._lock:
            chosen = tuple(dict.fromkeys(ops.checked_id(i) for i in ids))
            if chosen != self._selection:
                self._selection = chosen
                self._emit(self.selected, chosen)

    def move_to(self, z: float, y: float, x: float) -> None:
        """Look at a voxel; positions outside the volume are moved to its edge."""
        with self._lock:
            try:
                # The nearest voxel, by the same rule as `pick` and the brush.
                near = [np.floor(float(v) + 0.5) for v in (z, y, x)]
            except (TypeError, ValueError):
                near = [np.nan]
            if not np.isfinite(near).all():
                raise InputError(f"A position is (z, y, x) in voxels, got {(z, y, x)}.")
            at = tuple(int(min(max(v, 0), n - 1)) for v, n in zip(near, self.shape, strict=True))
            if at != self._position:
                self._position = at
                self._emit(self.moved, at)

    def go_to(self, id: int) -> None:
        """Select an object and look at its middle: the voxel of it that is nearest to its centroid.

        Raises
        ------
        InputError
            If there is no such object.
        """
        with self._lock:
            box = self.box(ops.checked_id(id))
            points = np.zeros((0, 3)) if box is None else np.argwhere(self._view[box.slices] == id)
            if box is None or not len(points):
                raise InputError(f"There is no object {id}. Objects: session.ids().")
            nearest = points[((points - points.mean(0)) ** 2).sum(1).argmin()]
            z, y, x = (a + b for a, b in zip(nearest.tolist(), box.start, strict=True))
            self.select(id)
            if (z, y, x) == self._position:
                self._emit(self.moved, self._position)  # a viewer may have turned away since
            self.move_to(z, y, x)

    def step_object(self, by: int) -> int:
        """Go to the object after the selected one in the order of the ids, or before it, and around at the ends.

        Parameters
        ----------
        by : int
            1 is the next, -1 the one before.

        Returns
        -------
        id : int
            Where it went; 0 when there are no objects.
        """
        with self._lock:
            ids = self.ids()
            if not ids:
                return 0
            here = self._selection[-1] if self._selection else 0
            place = bisect.bisect_right(ids, here) - 1 if by > 0 else bisect.bisect_left(ids, here)
            found = ids[(place + by) % len(ids)]
            self.go_to(found)
            return found

    def history(self) -> list[Entry]:
        """Return what was done, oldest first, each with the line of Python that does the same."""
        with self._lock:
            return entries(self._project.rows, self._project.undoable)

    def save_copy(self, path: str | Path) -> Path:
        """Write the project with its whole history to a new file; work goes on where it was.

        Raises
        ------
        StoreError
            If something stands there already, or nothing can be written there.
        """
        with self._lock:
            self._still_open()
            place = Path(path).expanduser()
            self._project.copy_to(place, opening.describe(self.stack, place, _fingerprint))
            return place

    def save_as(self, path: str | Path) -> Path:
        """Write the project to a new file and go on there; errors as in `save_copy`."""
        with self._lock:
            self._still_open()
            place = Path(path).expanduser()
            self._project.move_to(place, opening.describe(self.stack, place, _fingerprint))
            self._reason = ""
            _retire(self)
            self._tell(SAVED)
            return place

    def refresh(self) -> None:
        """In a session that only looks: follow what the writing session has done since."""
        with self._lock:
            self._still_open()
            for row, box in self._project.refresh():
                self._emit(self.edited, Change(row.seq, box, row.kind))

    def close(self) -> None:
        """Let go of the project file; looking goes on, verbs are refused."""
        with self._lock:
            if self._open:
                self._open = False
                self._project.close()
                _writers.discard(self)
                self._reason = self._reason or "this session was closed"

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        where = self.path or "in memory"
        return f"Session({' x '.join(map(str, self.shape))}, version {self.version}, {where}, {self.save_state})"

    def _do(
        self, make: Callable[[Project], Edit], client: Client | None, *, record: Any = None, bare: bool = False
    ) -> Change:
        """Compute an edit, record it, apply it, tell everybody."""
        with self._lock:
            project = self._writable(client)
            if done := project.acknowledged(client):
                return Change(done.seq, project.box_of(done), done.kind)
            edit = make(project)
            if not edit.empty or bare:
                if self.path is not None and edit.voxels > _LONG:
                    self._tell(SAVING)
                row = self._acknowledged(lambda: project.commit(edit, client=client, record=record))
                return self._changed(row, edit.box)
            if client:
                row = self._acknowledged(lambda: project.decline(client))
                return Change(row.seq, NOWHERE, "nothing")
            return Change(self.version, NOWHERE, "nothing")

    def _step(self, client: Client | None, *, redo: bool) -> Change:
        with self._lock:
            project = self._writable(client)
            if done := project.acknowledged(client):
                return Change(done.seq, project.box_of(done), done.kind)
            row, box = self._acknowledged(lambda: project.undo(redo=redo, client=client))
            return self._changed(row, box)

    def _still_open(self) -> None:
        if not self._open:
            again = f"Session.open({str(self.path)!r})" if self.path else "Session(stack, session.labels)"
            raise StoreError(f"This session was closed. Go on with {again}.")

    def _writable(self, client: Client | None) -> Project:
        if client is not None:
            name, number = client
            if not (isinstance(name, str) and name.isprintable() and len(name) <= 200 and type(number) is int):
                raise InputError(f"A client is a printable name and a whole number, got {client!r}.")
            if not 0 <= number < 2**63:
                raise InputError(f"A request number is from 0 to {2**63 - 1}, got {number}.")
        if self._reason:
            raise ReadOnlyStoreError(f"This session can only be looked at: {self._reason}. Nothing was changed.")
        return self._project

    def _acknowledged(self, write: Callable[[], _T]) -> _T:
        """Write, and let the save state say how it went."""
        try:
            result = write()
        except StoreError as error:
            if isinstance(error, StaleWriterError):
                self._reason = "another session has taken over the project"
            self._tell(SaveState("unsaved", f"not saved: {error}"))
            raise
        self._tell(MEMORY if self.path is None else SAVED)
        return result

    def _changed(self, row: Row, box: Box) -> Change:
        change = Change(row.seq, box, row.kind)
        self._emit(self.edited, change)
        return change

    def _tell(self, state: SaveState) -> None:
        if state != self._state:
            self._state = state
            self._emit(self.state_changed, state)

    def _emit(self, signal: SignalInstance, value: object) -> None:
        """Emit; a listener that fails must not look like an edit that failed."""
        try:
            signal.emit(value)
        except EmitLoopError:
            _log.exception("A listener of this session failed; the session itself is as it should be.")

    def _retired(self, reason: str) -> None:
        with self._lock:
            self._reason = reason
            self._tell(SaveState("unsaved", f"not saved: {reason}."))


def _fingerprint(stack: Stack) -> str:
    from mitonb.io.record import fingerprint

    return fingerprint(stack)


def _read(path: Path) -> Stack:
    from mitonb.io import reading  # readers take time to import; looking at an array needs none

    return reading.open(path)


def _memory() -> int:
    """Return how many bytes of labels are brought back without a question."""
    # Labels below a GiB are always tried: a budget that is nearly used up must not lock anybody out of his work.
    return max(memory_budget().bytes, 1 << 30)


_writers: weakref.WeakSet[Session] = weakref.WeakSet()


def _retire(newest: Session) -> None:
    """In this process the newest session of a project writes: running a cell again must just work."""
    for other in list(_writers):
        if other is not newest and other.path and newest.path and other.path.resolve() == newest.path.resolve():
            other._retired("the project was opened again in this notebook; use the newer session")
            _writers.discard(other)
    _writers.add(newest)


@atexit.register
def _close_all() -> None:
    for session in list(_writers):
        session.close()
