"""The session: a short method for each thing that the mouse can do."""

from __future__ import annotations

import bisect
import contextlib
import math
import os
import threading
import time
from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from psygnal import Signal

from mitonb.box import Box
from mitonb.colors import Coloring
from mitonb.edit import marks, ops, project
from mitonb.edit.verbs import VERBS, Entry, Verb, as_cell, entries
from mitonb.errors import InputError
from mitonb.labels import Labels, StoredLabels, ignore_note, scale_note, settled
from mitonb.mapped import find_highest
from mitonb.recipe import Verdicts
from mitonb.session import opening
from mitonb.session.writer import Change, SaveState, Writer, emit
from mitonb.stack import Axis, Stack, VoxelSize, given_voxel_size, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mitonb.edit.edits import Edit
    from mitonb.edit.marks import Note, Stroke
    from mitonb.edit.project import Client, Project
    from mitonb.session.doubts import Doubt


_MOST_IDS = 1 << 24
_MOST_SELECTED = 10_000  # more make the pages slow
_MOST_LINES, _LONG_CODE = 10_000, 600  # of the history beside what is exported: no reader takes more than 16 MB


class Session:
    """A stack, its labels, and every correction, with unlimited undo.

    All verbs go through one journal. With `path`, each is on disk before it returns and survives a crash; without,
    everything is kept in memory only. All methods may be called from any thread. Signals are emitted while the
    session is locked: handlers should be short, and never wait for another thread.

    Parameters
    ----------
    stack : Stack or (z, y, x) array, optional
        The image; may be left out when there are labels.
    labels : Labels, StoredLabels, Stack or (z, y, x) integer array, optional
        First labels; copied. None starts empty. Those in a file, from `mn.segment(..., out=...)` or `mn.open`, are
        copied plane by plane; above 1 GiB labels are never in memory as a whole.
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
    reviewing = Signal(object)

    def __init__(
        self,
        stack: Stack | npt.NDArray[Any] | None = None,
        labels: Labels | StoredLabels | Stack | npt.NDArray[Any] | None = None,
        path: str | Path | None = None,
    ) -> None:
        image = stack if isinstance(stack, Stack) or stack is None else Stack(stack)
        record = getattr(labels, "record", None)
        if isinstance(labels, StoredLabels):
            from mitonb.io.opening import open as open_stack

            labels = open_stack(labels)
        given = labels if isinstance(labels, Labels | Stack) or labels is None else Labels(labels)
        place = None if path is None else opening.place_of(path)
        if place is not None and place.exists():
            project, reason = opening.reopen(place, image, given)
        elif given is None and (found := opening.only_look(place, image)):
            project, reason = found
        else:
            project, reason = opening.create(place, image, given, record), ""
        with _let_go_if_failed(project):
            disagree = scale_note(image.voxel_size, given.voxel_size) if image is not None and given is not None else ""
            self._start(project, image, reason, [disagree])

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
        place = opening.place_of(path)
        project, reason = opening.reopen(place, stack, None, take_over=take_over, read_only=read_only)
        notes: list[str] = []
        with _let_go_if_failed(project):
            if stack is None:
                stack, notes = opening.find_stack(project.stack_facts, place)
                stack = stack and replace(stack, voxel_size=project.voxel_size)
            self._start(project, stack, reason, notes)
        return self

    def _start(self, project: Project, stack: Stack | None, reason: str, notes: Sequence[str] = ()) -> None:
        self._project = project
        self._stack = stack
        self._view = project.labels.view()
        self._view.flags.writeable = False
        self._coloring: Coloring | None = None
        if stack is not None and stack.shape != self._view.shape:  # only looked at: background that takes no memory
            self._view, self._coloring = np.broadcast_to(np.uint32(0), stack.shape), Coloring()
        self._writer = Writer(
            project, reason, edited=self.edited, state_changed=self.state_changed, renamed=self._follow_name
        )
        self._lock = self._writer.lock
        self._uncolored: Box | None = None
        self._coloring_lock = threading.Lock()
        self.edited.connect(self._to_color)
        z, y, x = (stack and stack.focus) or (n // 2 for n in self._view.shape)
        self._position, self._selection = (z, y, x), tuple[int, ...]()
        self._queue: tuple[Doubt, ...] = ()
        self._at, self._again = -1, False  # in the queue, and what is wanted of it
        # The highest id is looked for only where one of that kind may be.
        top = find_highest(project.labels) if ignore_note(project.next_id - 1) else 0
        self.notes: tuple[str, ...] = tuple(
            filter(None, [*notes, *opening.image_notes(stack, project.stack_facts), ignore_note(top)])
        )
        size = stack.voxel_size if stack is not None else None
        if size and not reason and size not in (project.voxel_size, project.first_voxel_size):
            # The stack was opened with another size than when the project began: the newest word counts, visibly.
            self.set_voxel_size(*size)

    # --- what there is ----------------------------------------------------------------------------------------------

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
    def colors(self) -> Coloring:
        """The colours of the objects, the same in every view; two neighbours never have the same."""
        # With a lock of its own: looking must not wait for a long edit.
        with self._coloring_lock:
            # Taken first: what is edited meanwhile is looked at next time.
            box, self._uncolored = self._uncolored, None
            if self._coloring is None:
                self._coloring = Coloring.of(self._view)
            elif box is not None:
                self._coloring.follow(self._view, box)
            return self._coloring

    def _to_color(self, change: Change) -> None:
        if change.box.size:
            self._uncolored = change.box if self._uncolored is None else self._uncolored.union(change.box)

    def _follow_name(self, was: int, to: int) -> None:
        """Keep an object that has another id selected, and what waits about it in the queue."""
        self._queue = tuple(one.renamed(was, to) for one in self._queue)
        self.select(*(to if id == was else id for id in self._selection))

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
    def key(self) -> str:
        """What tells this project from every other, also in a later kernel: its name and file; "" in memory."""
        return f"{self._project.store.meta('uuid')} {self.path.resolve()}" if self.path else ""

    @property
    def version(self) -> int:
        """Number of the last edit."""
        return self._project.version

    @property
    def read_only(self) -> bool:
        """True when this session may only look."""
        return bool(self._writer.reason)

    @property
    def only_looks(self) -> bool:
        """True where labels of the whole volume would be too large: a box of it can be fetched and worked on."""
        return self._project.labels.shape != self._view.shape

    @property
    def save_state(self) -> SaveState:
        """Whether the work is safe."""
        return self._writer.state

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
        return self._position

    @property
    def selection(self) -> tuple[int, ...]:
        """The selected ids."""
        return self._selection

    @property
    def marks(self) -> dict[int, bool]:
        """Which objects are marked: True for right, False for false."""
        with self._lock:
            return marks.marks(self._project)

    @property
    def locked(self) -> list[int]:
        """The objects that nothing changes; see `lock`."""
        with self._lock:
            return sorted(project.locked(self._project))

    @property
    def doubted(self) -> dict[int, str]:
        """Which objects a reviewer called "fix" (to be mended) or "unsure", and did not correct since."""
        with self._lock:
            said = {id: one.last for id, one in marks.seen(self._project).items() if id in self._project.table.counts}
            return {id: word for id, word in said.items() if word in ("fix", "unsure")}

    @property
    def noted(self) -> list[Note]:
        """What was noted about objects and places; see `note`."""
        with self._lock:
            return marks.notes(self._project)

    @property
    def reviewed(self) -> list[Box]:
        """Boxes of which the user says that every mitochondrion is outlined, and nothing else; see `mark_reviewed`.

        To learn from them: `mn.Pair(session.stack, session.labels, known=session.reviewed)`.
        """
        with self._lock:
            return project.reviewed(self._project)

    @property
    def verdicts(self) -> Verdicts | None:
        """What was learned from marks when false objects were dropped last; undo takes that back, too.

        For a recipe: `recipe.replace(verdicts=session.verdicts)`.
        """
        with self._lock:
            return marks.verdicts(self._project)

    @property
    def strokes(self) -> list[Stroke]:
        """What `teach_mito` and `teach_not` said of pixels."""
        with self._lock:
            return marks.strokes(self._project)

    @property
    def taught(self) -> tuple[str, str] | None:
        """The model that was taught by strokes, and the one that it stands for; undo takes that back, too."""
        with self._lock:
            return marks.taught(self._project)

    # --- corrections: each goes through the writer, as one acknowledged transaction ---------------------------------

    def paint(
        self, points: npt.ArrayLike, *, id: int | None, radius: float, axis: Axis = "xy", preserve: bool = False,
        ball: bool = False, within: npt.NDArray[np.bool_] | None = None, client: Client | None = None,
    ) -> Change:  # fmt: skip
        """Draw a round brush, or a ball, along a polyline; see `mitonb.edit.ops.paint`.

        With `id=None` it paints a new object; the answer says its id.

        Every verb takes `client`, a name and a request number: a request that comes again changes nothing and gets
        the same answer.
        """
        return self._do("paint", client, points, id=id, radius=radius, axis=axis, preserve=preserve, ball=ball,
                        within=within)  # fmt: skip

    def erase(
        self, points: npt.ArrayLike, *, radius: float, axis: Axis = "xy", only: int | None = None, ball: bool = False,
        client: Client | None = None,
    ) -> Change:  # fmt: skip
        """Set to background along a polyline; see `mitonb.edit.ops.erase`."""
        return self._do("erase", client, points, radius=radius, axis=axis, only=only, ball=ball)

    def lasso(
        self, points: npt.ArrayLike, *, id: int | None, axis: Axis = "xy", preserve: bool = False,
        subtract: bool = False, client: Client | None = None,
    ) -> Change:  # fmt: skip
        """Give an id (None: a new one) to what a closed line encloses on a plane; see `mitonb.edit.ops.lasso`."""
        return self._do("lasso", client, points, id=id, axis=axis, preserve=preserve, subtract=subtract)

    def fill(
        self, point: Sequence[float], id: int | None, axis: Axis = "xy", *, within: npt.NDArray[np.bool_] | None = None,
        client: Client | None = None,
    ) -> Change:  # fmt: skip
        """Give an id (None: a new one, see `paint`) to the patch of equal ids around (z, y, x) in its plane."""
        return self._do("fill", client, point, id, axis, within=within)

    def merge(self, keep: int, *gone: int, client: Client | None = None) -> Change:
        """Give the voxels of other objects to `keep`."""
        return self._do("merge", client, keep, *gone)

    def split(self, id: int, *seeds: Any, new: Sequence[int] | None = None, client: Client | None = None) -> Change:
        """Split an object into one part for each seed; they meet where it is narrow.

        Parameters
        ----------
        id : int
            The object. Its largest part keeps the id; `Change.new` has the ids of the others.
        *seeds : sequence
            Two or more points (z, y, x) in voxels, scribbles (lists of points), or lists of scribbles.
        new : sequence of int, optional
            Ids of the others, in this order; None takes ids that were never used.
        client : tuple of str and int, optional
            See `paint`.

        Examples
        --------
        >>> session = Session(labels=np.array([[[1, 1, 1, 1, 1, 1]]]))
        >>> session.split(1, (0, 0, 0), (0, 0, 4)).new, session.labels.data.tolist()
        ((2,), [[[1, 1, 1, 2, 2, 2]]])
        """
        return self._do("split", client, id, *seeds, new=new)

    def cut(
        self, id: int, line: npt.ArrayLike, *, axis: Axis = "xy", through: bool = True,
        new: Sequence[int] | None = None, client: Client | None = None,
    ) -> Change:  # fmt: skip
        """Cut an object along a line on a plane, on all its planes or this one; see `mitonb.edit.splitting.cut`."""
        return self._do("cut", client, id, line, axis=axis, through=through, new=new)

    def split_at_necks(
        self, id: int, parts: int | None = None, *, new: Sequence[int] | None = None, client: Client | None = None
    ) -> Change:
        """Split an object where it is narrow; see `mitonb.edit.splitting.split_at_necks`."""
        return self._do("split_at_necks", client, id, parts, new=new)

    def delete(self, *ids: int, client: Client | None = None) -> Change:
        """Set whole objects to background."""
        return self._do("delete", client, *ids)

    def grow(self, *ids: int, by: float = 1.0, client: Client | None = None) -> Change:
        """Grow objects onto background by so many voxels; see `mitonb.edit.shaping` for this and the next ones."""
        return self._do("grow", client, *ids, by=by)

    def shrink(self, *ids: int, by: float = 1.0, client: Client | None = None) -> Change:
        """Shrink objects by so many voxels."""
        return self._do("shrink", client, *ids, by=by)

    def smooth(self, *ids: int, by: float = 2.0, client: Client | None = None) -> Change:
        """Smooth objects: what is finer than so many voxels goes."""
        return self._do("smooth", client, *ids, by=by)

    def fill_holes(self, *ids: int, client: Client | None = None) -> Change:
        """Fill holes of objects, xy plane by xy plane."""
        return self._do("fill_holes", client, *ids)

    def interpolate(self, *ids: int, axis: Axis = "xy", client: Client | None = None) -> Change:
        """Fill the planes of objects between those where they are."""
        return self._do("interpolate", client, *ids, axis=axis)

    def extrude(self, *ids: int, axis: Axis, index: int, by: int = 1, client: Client | None = None) -> Change:
        """Copy the outlines of objects on a plane to so many planes after it, or before it where `by` is negative."""
        return self._do("extrude", client, *ids, axis=axis, index=index, by=by)

    def keep_largest(self, *ids: int, client: Client | None = None) -> Change:
        """Drop all pieces of objects but the largest."""
        return self._do("keep_largest", client, *ids)

    def split_pieces(self, *ids: int, new: Sequence[int] | None = None, client: Client | None = None) -> Change:
        """Make each piece of objects an object of its own; `Change.new` has the ids of the new ones."""
        return self._do("split_pieces", client, *ids, new=new)

    def merge_on_plane(self, *ids: int, axis: Axis, index: int, client: Client | None = None) -> Change:
        """Give what other objects have on one plane to the first."""
        return self._do("merge_on_plane", client, *ids, axis=axis, index=index)

    def delete_on_plane(self, *ids: int, axis: Axis, index: int, client: Client | None = None) -> Change:
        """Set objects to background on one plane."""
        return self._do("delete_on_plane", client, *ids, axis=axis, index=index)

    def relabel(self, id: int, to: int | None = None, *, client: Client | None = None) -> Change:
        """Give an object another id, which none has (None: a free one).

        Marks, notes, the selection, and whether it was corrected go with it.

        Examples
        --------
        >>> session = Session(labels=np.array([[[1, 1, 0, 2]]]))
        >>> session.relabel(1, 12).renamed, session.labels.data.tolist()
        ((1, 12), [[[12, 12, 0, 2]]])
        """
        return self._do("relabel", client, id, to)

    def mark_right(self, *ids: int, client: Client | None = None) -> Change:
        """Mark objects as right; marks of both kinds teach which others are false, see `mitonb.learn_verdicts`."""
        return self._do("mark_right", client, *ids, bare=self._news(ids, True))

    def mark_false(self, *ids: int, client: Client | None = None) -> Change:
        """Mark objects as false; they stay until `drop_false` or `delete`."""
        return self._do("mark_false", client, *ids, bare=self._news(ids, False))

    def unmark(self, *ids: int, client: Client | None = None) -> Change:
        """Take the mark off objects."""
        return self._do("unmark", client, *ids, bare=self._news(ids, None))

    def lock(self, *ids: int, client: Client | None = None) -> Change:
        """Lock objects: no tool, verb or run changes them until they are unlocked, or this is undone.

        Brushes go around them, runs too, whatever they replace; a verb that is about one of them is refused.
        """
        return self._do("lock", client, *ids, bare=not {*map(ops.checked_id, ids)} <= {*self.locked})

    def unlock(self, *ids: int, client: Client | None = None) -> Change:
        """Let objects be changed again."""
        return self._do("unlock", client, *ids, bare=not {*map(ops.checked_id, ids)}.isdisjoint(self.locked))

    def note(self, text: str, *ids: int, point: Sequence[float] | None = None, client: Client | None = None) -> Change:
        """Keep a text about objects, or about a voxel (z, y, x); the last one counts, and "" takes it away."""
        return self._do("note", client, text, *ids, point=point, bare=True)

    def mark_fix(self, *ids: int, client: Client | None = None) -> Change:
        """Note in a review that objects are to be mended; see `review`."""
        return self._do("mark_fix", client, *ids, bare=True)

    def mark_unsure(self, *ids: int, client: Client | None = None) -> Change:
        """Note in a review that nobody can say whether objects are right."""
        return self._do("mark_unsure", client, *ids, bare=True)

    def dismiss(self, point: Sequence[float], *, client: Client | None = None) -> Change:
        """Note in a review that nothing is missing at (z, y, x)."""
        return self._do("dismiss", client, point, bare=True)

    def mark_reviewed(
        self, start: Sequence[int], stop: Sequence[int], *, reviewed: bool = True, client: Client | None = None
    ) -> Change:
        """Say of a box that every mitochondrion in it is outlined, and nothing else; a training learns from such boxes.

        Parameters
        ----------
        start, stop : (z, y, x)
            First voxel of the box, and the one beyond its last.
        reviewed : bool
            False takes that back, of all reviewed boxes inside of this one.
        client : tuple of str and int, optional
            See `paint`.

        Raises
        ------
        InputError
            If the box is empty or reaches out of the volume.
        """
        with self._lock:
            box = ops.box_in(self.shape, start, stop)
            inside = [one for one in self.reviewed if one.union(box) == (one if reviewed else box)]
            return self._do("mark_reviewed", client, start, stop, reviewed=reviewed, bare=bool(inside) != reviewed)

    def _news(self, ids: Sequence[int], right: bool | None) -> bool:
        """Return whether a mark is another one than an object has."""
        known = self.marks
        return any(known.get(id) is not right for id in map(ops.checked_id, ids))

    def teach_mito(
        self, points: npt.ArrayLike, *, radius: float, axis: Axis = "xy", client: Client | None = None
    ) -> Change:
        """Say that the pixels along a polyline are mitochondrion: see `mitonb.teach_strokes`; no label changes."""
        return self._do("teach_mito", client, points, radius=radius, axis=axis, bare=True)

    def teach_not(
        self, points: npt.ArrayLike, *, radius: float, axis: Axis = "xy", client: Client | None = None
    ) -> Change:
        """Say that the pixels along a polyline are no mitochondrion."""
        return self._do("teach_not", client, points, radius=radius, axis=axis, bare=True)

    def use_model(self, model: str, *, instead: str, strokes: int, client: Client | None = None) -> Change:
        """Note which model strokes have taught, and from which: `taught` tells it for as long as this edit stands."""
        return self._do("use_model", client, model, instead=instead, strokes=strokes, bare=True)

    def drop_false(self, *ids: int, verdicts: Verdicts | None = None, client: Client | None = None) -> Change:
        """Set objects to background that are false by verdicts, which are kept with the edit; see `verdicts`."""
        return self._do("drop_false", client, *ids, verdicts=Verdicts.of(verdicts))

    def put_object(
        self, start: Sequence[int], mask: npt.NDArray[np.bool_], id: int | None = None, *, client: Client | None = None
    ) -> Change:
        """Make an object (None: a new one) of the background in a mask that begins at (z, y, x)."""
        return self._do("put_object", client, start, mask, id)

    def put_plane(
        self, ids: npt.NDArray[Any], axis: Axis, index: int, *, fresh: bool = False, client: Client | None = None
    ) -> Change:
        """Replace one plane by hand; what a run says of a plane goes through `adopt_plane`.

        Parameters
        ----------
        ids : (h, w) integer array
            New ids, taken as they are.
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
        ops.checked_index(self._view, axis, index)
        return self._do("put_plane", client, plane, axis, index, fresh=fresh)

    def adopt_plane(
        self, ids: npt.NDArray[Any], axis: Axis, index: int, *, iou: float = 0.25, replace_corrected: bool = False,
        client: Client | None = None,
    ) -> Change:  # fmt: skip
        """Replace one plane by what a run found there; corrections are kept as in `adopt`.

        A profile that covers an object which is there already, on this plane or else on a neighbouring one, takes its
        id: an object keeps its name and its colour. The others get ids that were never used.

        Parameters
        ----------
        ids : (h, w) integer array
            Profiles; their numbers mean nothing.
        axis : {"xy", "xz", "yz"}
            Direction of the plane.
        index : int
            Position along that direction.
        iou : float
            Least overlap (intersection over union) of a profile with an object whose id it takes.
        replace_corrected : bool
            See `adopt`.
        client : tuple of str and int, optional
            See `paint`.
        """
        plane = Labels(np.asarray(ids)[None]).data[0]
        index = ops.checked_index(self._view, axis, index)
        if isinstance(iou, bool) or not isinstance(iou, Real) or not 0 <= iou <= 1:
            raise InputError(f"The least overlap is an IoU from 0 to 1, got {iou!r}.")
        # Told to replace corrections, it ends them, also where it gives the same labels.
        return self._do("adopt_plane", client, plane, axis, index, iou=iou, replace_corrected=replace_corrected,
                        bare=replace_corrected)  # fmt: skip

    def plane_with(
        self, ids: npt.NDArray[Any], axis: Axis, index: int, *, iou: float = 0.25, replace_corrected: bool = False
    ) -> npt.NDArray[np.uint32]:
        """Return the plane that `adopt_plane` would put, (h, w); nothing is changed, and no id is spent."""
        plane = Labels(np.asarray(ids)[None]).data[0]
        with self._lock:
            put, _ = project.plane_with(self._project, plane, axis, index, iou=iou, replace_corrected=replace_corrected)
            return put

    def adopt(
        self, labels: Labels | npt.NDArray[Any], *, replace_corrected: bool = False, client: Client | None = None
    ) -> Change:
        """Replace all labels by the result of a run; one edit, with the run record, that undo takes back.

        What the user has corrected is kept: every object of which an edit by hand that still stands (paint, erase,
        fill, merge, delete, put_plane) has changed a voxel stays as it is, and what was erased or deleted stays
        background. An object of the run that lies at least half in such voxels is left out, of every other the voxels
        that are free are put.

        An object of the run that covers at least half of an object that is there takes its id, the greatest overlaps
        first: an object keeps its name and its colour. The others keep the ids in `labels`, so that into empty labels
        all are put as they are, but where an id is or was that of another object, or is in somebody's hand, from
        `new_id` or painted with: those get ids that were never used.

        Parameters
        ----------
        labels : Labels or (z, y, x) integer array
            All labels.
        replace_corrected : bool
            Replace what was corrected, too; it counts as corrected no more. Locked objects stay.
        client : tuple of str and int, optional
            See `paint`.

        Returns
        -------
        change : Change
            `kept` and `erased` say how many corrected objects were kept, and how many of the run were left out
            because the user had erased or deleted them.
        """
        new = labels if isinstance(labels, Labels) else Labels(labels)

        opening.check_shape(self.shape, new.shape)
        if disagree := scale_note(self.voxel_size, new.voxel_size, what="session"):
            self.notes = tuple(dict.fromkeys([*self.notes, disagree]))

        # Where a run gives the labels that are there already, the project should still know of it.
        said = new.record is not None and new.record != self._project.record
        change = self._do("adopt", client, new, replace_corrected=replace_corrected, record=new.record,
                          bare=said or replace_corrected)  # fmt: skip
        if change.what == "adopt":
            self.select()  # what was selected may be gone
        return change

    def set_voxel_size(self, *nm: float, client: Client | None = None) -> Change:
        """Set the voxel size: one number, or (z, y, x), in nm."""
        size = given_voxel_size(nm[0] if len(nm) == 1 else nm)
        return self._do("set_voxel_size", client, *size, bare=self.voxel_size != size)

    def undo(self, *, of: int | None = None, client: Client | None = None) -> Change:
        """Take the last edit back.

        Parameters
        ----------
        of : int, optional
            Number of the edit that is meant (`Change.seq`): where others came after it, nothing is changed.
        client : tuple of str and int, optional
            See `paint`.

        Raises
        ------
        InputError
            If there is none, or another one than is meant.
        """
        return self._writer.step(client, redo=False, of=of)

    def redo(self, *, client: Client | None = None) -> Change:
        """Do the edit again that was undone last.

        Raises
        ------
        InputError
            If there is none.
        """
        return self._writer.step(client, redo=True)

    def undo_to(self, seq: int) -> int:
        """Go back in the history until an edit is the last that stands, or forth again to one that was undone.

        Parameters
        ----------
        seq : int
            Number of the edit (`Entry.seq`, `Change.seq`), one of `reachable`; 0 takes all back.

        Returns
        -------
        steps : int
            How many edits were undone, or done again; each can be taken back as ever.

        Raises
        ------
        InputError
            If there is no such edit, or it was undone and others came since.
        """
        with self._lock:
            project, steps = self._project, 0
            if whole_number(seq) is None or (seq and seq not in self.reachable):
                raise InputError(
                    f"There is no way to edit {seq!r:.60}: it is none, or was undone before others came. Its labels: "
                    "session.labels_before(n)."
                )
            while (project.undoable[-1] if project.undoable else 0) != seq:
                self._writer.step(None, redo=seq in project.redoable)
                steps += 1
            return steps

    @property
    def reachable(self) -> list[int]:
        """Edits that `undo_to` goes to: those that stand, and those that redo does again."""
        with self._lock:
            return [*self._project.undoable, *self._project.redoable[::-1]]

    def new_id(self) -> int:
        """Return an id that no object ever had, and that nothing else gets, whatever comes: it is kept in the project.

        Raises
        ------
        StoreError
            If this session may only look, or the promise cannot be recorded.
        """
        return self._writer.offer()

    def free_ids(self, count: int) -> list[int]:
        """Return ids that new objects would get now; they are not promised to anybody, and none is spent."""
        number = whole_number(count)
        if number is None or not 0 <= number <= _MOST_IDS:
            raise InputError(f"The number of ids is from 0 to {_MOST_IDS}, got {count!r}.")
        with self._lock:
            return self._project.free_ids(number)

    def is_free(self, id: int) -> bool:
        """Return whether no object ever had an id, and nobody was promised it."""
        with self._lock:
            return self._project.is_free(ops.checked_id(id))

    def in_hand(self, id: int) -> bool:
        """Return whether an id was given by `new_id` or painted with, so that no run gives it to another object."""
        with self._lock:
            return ops.checked_id(id) in self._project.in_hands()

    def do(self, verb: str, *, client: Client | None = None, **given: Any) -> Change:
        """Do a verb by its name, with its arguments by theirs; see `mitonb.edit.verbs`.

        Raises
        ------
        InputError
            If there is no such verb.
        """
        listed, named = _row(verb).split(given)
        return getattr(self, verb)(*listed, **named, client=client)

    def preview(self, verb: str, **given: Any) -> Edit:
        """Return what a verb would change, with its arguments by their names; nothing is changed, and no id is spent.

        Raises
        ------
        InputError
            If there is no such verb, or it cannot be done so.
        """
        row = _row(verb)
        listed, named = row.split(given)
        with self._lock:
            return row.edit(self._project, *listed, **named)

    def _do(
        self, verb: str, client: Client | None, *listed: Any, record: Any = None, bare: bool = False, **named: Any
    ) -> Change:
        """Write the edit of a verb of the table."""
        row = VERBS[verb]
        return self._writer.write(lambda p: row.edit(p, *listed, **named), client, record=record, bare=bare)

    # --- objects, and where the user looks --------------------------------------------------------------------------

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
            return self._project.table.counts.get(ops.checked_id(id), 0)

    def box(self, id: int) -> Box | None:
        """Return a box that holds an object (it may be larger after erasing), or None for an unknown id."""
        with self._lock:
            return self._project.table.boxes.get(ops.checked_id(id))

    def select(self, *ids: int) -> None:
        """Select objects, at most 10,000; without arguments, or of background (0), none."""
        with self._lock:
            chosen = tuple(dict.fromkeys(i for i in map(ops.checked_id, ids) if i))
            if len(chosen) > _MOST_SELECTED:
                raise InputError(f"Select at most {_MOST_SELECTED:,} objects at once, got {len(chosen):,}.")
            if chosen != self._selection:
                self._selection = chosen
                emit(self.selected, chosen)

    def move_to(self, z: float, y: float, x: float) -> None:
        """Look at a voxel; positions outside the volume are moved to its edge."""
        with self._lock:
            try:
                # The nearest voxel, by the same rule as `pick` and the brush.
                near = [math.floor(float(v) + 0.5) for v in (z, y, x)]
            except (TypeError, ValueError, OverflowError):
                raise InputError(f"A position is (z, y, x) in voxels, got {(z, y, x)}.") from None
            at_z, at_y, at_x = (min(max(v, 0), n - 1) for v, n in zip(near, self.shape, strict=True))
            self._position = (at_z, at_y, at_x)
            emit(self.moved, self._position)  # also where it was: a viewer may have turned away since

    def go_to(self, id: int) -> None:
        """Select an object and look at its middle: the voxel of it that is nearest to its centroid.

        Raises
        ------
        InputError
            If there is no such object.
        """
        with self._lock:
            box = self.box(id)
            if box is None:
                raise InputError(f"There is no object {id}. Objects: session.ids().")
            self.select(id)
            there = self._project.table.places[id].values()
            self._look_at_points([np.argwhere(self._view[one.slices] == id) + one.start for one in there])

    def go_to_edit(self, seq: int) -> None:
        """Look at the middle of what an edit changed: the voxel of it that is nearest to its centroid.

        Parameters
        ----------
        seq : int
            Number of the edit (`Entry.seq`, `Change.seq`); of an undo or redo, where it changed something.

        Raises
        ------
        InputError
            If there is no such edit, or it has no place: it replaced all labels, or changed no voxel.
        """
        with self._lock:
            rows = self._project.rows
            if not 1 <= seq <= len(rows):
                raise InputError(f"There is no edit {seq}. Edits: session.history().")
            edit = rows[(rows[seq - 1].undo_of or seq) - 1]
            if edit.kind == "adopt":
                raise InputError(f"Edit {seq} has no place of its own: it was about all labels.")
            if edit.kind == "dismiss" or ("point" in edit.intent and edit.kind == "note"):
                self.move_to(*ops.inside(self.shape, edit.intent["point"]))
                return
            if edit.kind == "mark_reviewed":
                ends = zip(edit.intent["start"], edit.intent["stop"], strict=True)
                self.move_to(*((a + b) // 2 for a, b in ends))
                return
            marked = marks.ids_in(edit.intent.get("ids")) if edit.kind in (*marks.KINDS, *marks.ASIDE) else []
            if there := [id for id in marked if id in self._project.table.counts]:
                self.go_to(there[0])
                return
            if edit.kind in marks.STROKES:
                points = ops.unpacked_line(edit.intent)
                self.move_to(*points[len(points) // 2])
                return
            parts = self._project.effect(edit.seq) if edit.kind != "nothing" else ()
            if not parts:
                raise InputError(f"Edit {seq} has no place: it changed no voxel.")
            part = max(parts, key=lambda p: p.voxels)
            self._look_at(part.mask, part.box)

    def _look_at(self, mask: npt.NDArray[np.bool_], box: Box) -> None:
        """Look at that voxel of a mask in a box which is nearest to the centroid of all of them."""
        self._look_at_points([np.argwhere(mask) + box.start])

    def _look_at_points(self, parts: Sequence[npt.NDArray[Any]]) -> None:
        points = np.concatenate(parts)
        self.move_to(*points[((points - points.mean(0)) ** 2).sum(1).argmin()])

    @property
    def queue(self) -> tuple[Doubt, ...]:
        """What `step_object` goes through; empty where it takes all objects by their ids."""
        return self._queue

    @property
    def doubt(self) -> Doubt | None:
        """Where `step_object` led last, in the queue, as long as that is what is looked at."""
        with self._lock:
            found = self._queue[self._at] if self._at >= 0 else None
            here = found is not None and self._selection == ((found.id,) if found.id else ())
            return found if here else None

    def review(self, doubts: Sequence[Doubt], *, again: bool = False) -> None:
        """Let `step_object` go through doubts, in their order, but not to what was seen to already.

        Parameters
        ----------
        doubts : sequence of Doubt
            See `mitonb.find_doubts`; empty takes all objects again, by their ids.
        again : bool
            Go to what was marked to be mended, or unsure, and to nothing else.
        """
        for one in doubts:
            ops.inside(self.shape, one.at)
        with self._lock:
            self._queue, self._at, self._again = tuple(doubts), -1, again
            emit(self.reviewing, None)

    def open_doubts(self) -> list[Doubt]:
        """Return what of the queue is there still, and was neither judged nor corrected since it was found."""
        with self._lock:
            known, places = marks.seen(self._project), marks.dismissed(self._project)

            def waits(one: Doubt) -> bool:
                if not one.id:
                    return not self._again and not self._view[one.at] and not any(map(one.holds, places))
                said = known[one.id].last if one.id in known else ""
                return one.id in self._project.table.counts and said in (("fix", "unsure") if self._again else ("",))

            return [one for one in self._queue if waits(one)]

    def _step_queue(self, step: int) -> bool:
        """Go to what is next in the queue, or before it, and around at the ends; False when nothing waits there."""
        waiting = {id(one) for one in self.open_doubts()}
        count = len(self._queue)
        places = ((self._at + k * step) % count for k in range(1, count + 1)) if self._at >= 0 else range(count)
        place = next((k for k in places if id(self._queue[k]) in waiting), None)
        if place is None:
            self._at = -1
            emit(self.reviewing, None)
            return False
        one, self._at = self._queue[place], place
        if not one.id:
            self.select()
            self.move_to(*one.at)
        else:
            z, box = one.at[0], self._project.table.boxes[one.id]
            on_plane = Box((z, *box.start[1:]), (z + 1, *box.stop[1:]))
            mask = self._view[on_plane.slices] == one.id
            self.select(one.id)
            self._look_at(*((mask, on_plane) if mask.any() else (self._view[box.slices] == one.id, box)))
        emit(self.reviewing, one)
        return True

    def step_object(self, by: int) -> int:
        """Go to the object after the selected one in the order of the ids, or before it, and around at the ends.

        In a review it goes to what is next in the queue and was not seen yet, as long as there is any.

        Parameters
        ----------
        by : int
            1 is the next, -1 the one before.

        Returns
        -------
        id : int
            Where it went; 0 when there are no objects, or it is a place without one (`doubt`).
        """
        with self._lock:
            step, ids = whole_number(by), self.ids()
            if step is None:
                raise InputError(f"A step is a whole number of objects, such as 1 or -1, got {by!r}.")
            if self._queue and self._step_queue(1 if step > 0 else -1):
                return self._queue[self._at].id
            if not ids:
                return 0
            here = self._selection[-1] if self._selection else 0
            place = bisect.bisect_right(ids, here) - 1 if step > 0 else bisect.bisect_left(ids, here)
            found = ids[(place + step) % len(ids)]
            self.go_to(found)
            return found

    # --- history and file -------------------------------------------------------------------------------------------

    def history(self, *, after: int = 0, most: int | None = None) -> list[Entry]:
        """Return what was done, oldest first, each with Python that does the same.

        Parameters
        ----------
        after : int
            Number of an edit: only what came after it.
        most : int, optional
            Only the newest: after hours there are thousands, and to word them all takes a second.
        """
        with self._lock:
            rows, standing = [*self._project.rows], [*self._project.undoable]
        return entries(rows, standing, after, most)

    def count_edits(self) -> int:
        """Return how many lines the history has."""
        with self._lock:
            return sum(row.kind != "nothing" for row in self._project.rows)

    def to_code(self) -> str:
        """Return the history as a cell of Python that makes the same labels again, in a session in memory.

        It begins with the first labels, which it takes from the project file, and has a line for each edit that stands.
        Arrays that were given, such as the labels of a run, are in no journal: these edits are put plane by plane, as
        they came out.

        Raises
        ------
        InputError
            If the session has no project file.
        """
        with self._lock:
            if self.path is None:
                raise InputError(
                    "The code takes the first labels from the project file, and this session is in memory only. Save "
                    'it before: session.save_as("cell.mitonb").'
                )
            return as_cell(self._project)

    def labels_before(self, seq: int | None = None) -> Labels:
        """Return the labels as they were before an edit.

        Parameters
        ----------
        seq : int, optional
            Number of the edit (`Entry.seq`, `Change.seq`), or one more than the last; by default the last run.

        Raises
        ------
        InputError
            If there is no such edit, or was no run.
        """
        with self._lock:
            rows = self._project.rows
            if seq is None:
                seq = max((row.seq for row in rows if row.kind in ("adopt", "adopt_plane")), default=0)
                if not seq:
                    raise InputError("There was no run yet to compare with. In a script: app.compare(labels).")
            if whole_number(seq) is None or not 1 <= seq <= len(rows) + 1:
                raise InputError(f"There is no edit {seq}. Edits: session.history().")
            return Labels(*self._project.labels_before(seq))

    def replay(self) -> int:
        """Rebuild the labels from the first ones and the journal, and see that these are the labels, byte for byte.

        The labels that the project began with are found by taking every edit back, undone ones, too, and must have the
        checksum that was written then; from there every edit is done again. Each must find the ids that it found.

        Returns
        -------
        edits : int
            How many records of the journal led from there to here.

        Raises
        ------
        StoreError
            If they do not; it names the first edit that does not fit, as seen from the end.
        """
        with self._lock:
            self._project.replay()
            return self.version

    def save_copy(self, path: str | Path) -> Path:
        """Write the project with its whole history to a new file; work goes on where it was.

        Raises
        ------
        StoreError
            If something stands there already, or nothing can be written there.
        """
        with self._lock:
            self._writer.still_open()
            place = opening.place_of(path)
            self._project.copy_to(place, opening.describe(self.stack, place, self._project.stack_facts))
            return place

    def compact(self) -> tuple[int, int]:
        """Make the project file smaller: effects of edits are packed anew, and what the file holds in vain goes.

        Every edit stays: undo, `history` and `replay` give what they gave. A process that ends in the middle leaves the
        file as it was.

        Returns
        -------
        before, after : int
            Bytes of the file; 0 in memory.

        Raises
        ------
        StoreError
            If this session may only look, or the disk has no room for a second copy; then nothing was changed.
        """
        with self._lock:
            self._writer.still_open()
            self._writer.require_writable()
            sizes = [self.path.stat().st_size if self.path else 0]
            self._writer.acknowledge(self._project.compact)
            return sizes[0], self.path.stat().st_size if self.path else 0

    def save_as(self, path: str | Path) -> Path:
        """Write the project to a new file and go on there; errors as in `save_copy`."""
        with self._lock:
            self._writer.still_open()
            place = opening.place_of(path)
            self._project.move_to(place, opening.describe(self.stack, place, self._project.stack_facts))
            self._writer.begin_anew()
            return place

    def export(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Save the labels for other programs, with the run record and what was done by hand; see `mitonb.save`.

        Parameters
        ----------
        path : path
            Its ending chooses the format.
        overwrite : bool
            Replace what is there.

        Returns
        -------
        Path
            Where it was saved. The record, in it or beside it, has the edits under "history": when, what, the code
            that does the same, and whether it stands; of more than 10,000 the last ones.

        Raises
        ------
        InputError, UnsupportedFormatError, TooLargeError
            As in `mitonb.save`.
        """
        from mitonb.io.saving import save  # looking at labels needs no formats

        with self._lock:
            labels, lines = self.labels, self.history(most=_MOST_LINES)
            labels = replace(labels, data=settled(labels.data))
        record = dict(labels.record or {})
        earlier = record.get("history")
        told = [
            {
                "edit": one.seq, "time": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.time)),
                "verb": one.verb, "what": one.text,
                "code": one.code if len(one.code) <= _LONG_CODE else "", "stands": one.stands,
            }
            for one in lines
        ]  # fmt: skip
        if told:
            record["history"] = [*(earlier if isinstance(earlier, list) else []), *told][-_MOST_LINES:]
        return save(replace(labels, record=record or None), path, overwrite=overwrite)

    def refresh(self) -> None:
        """In a session that only looks: follow what the writing session has done since."""
        with self._lock:
            self._writer.still_open()
            self._writer.follow()

    def close(self) -> None:
        """Let go of the project file; looking goes on, verbs are refused."""
        self._writer.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        where = self.path or "in memory"
        what = f"Session({' x '.join(map(str, self.shape))}, version {self.version}, {where}, {self.save_state})"
        return "\n".join([what, *(f"  note: {text}" for text in self.notes)])


def _row(verb: str) -> Verb:
    if verb not in VERBS:
        raise InputError(f"A verb is one of {', '.join(VERBS)}, got {verb!r:.60}.")
    return VERBS[verb]


@contextlib.contextmanager
def _let_go_if_failed(project: Project) -> Iterator[None]:
    """Close a project whose session could not be made."""
    try:
        yield
    except BaseException:
        project.close()
        raise
