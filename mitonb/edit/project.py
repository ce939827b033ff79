"""A project: labels in memory, the store behind them, the undo history that both agree on, and what was corrected."""

from __future__ import annotations

import contextlib
import itertools
import math
import signal
import threading
from collections import Counter
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import fastremap
import numpy as np
from scipy import ndimage

from mitonb.box import Box
from mitonb.edit import ops
from mitonb.edit.edits import NOWHERE, apply, around, decode, digest, encode, pack, repack, unpack
from mitonb.edit.ops import MAX_ID, whole_box
from mitonb.edit.store import Head, Row, Store, reading
from mitonb.errors import InputError, MitonbError, StoreError
from mitonb.mapped import copy_labels, find_highest, room_for
from mitonb.post.tables import pairs
from mitonb.stack import AXES, Axis, VoxelSize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from mitonb.edit.edits import Edit, Mask, Part, Shape, Volume
    from mitonb.labels import Labels

Client = tuple[str, int]

_BLOCK = (16, 256, 256)
_PLACE = (32, 128, 128)
"""The blocks by which it is remembered where objects are."""
# A snapshot after this many edits or bytes of effects keeps opening fast; it costs one slower edit in so many.
_EDITS = 2000
_BYTES = 32 << 20
# Edits that go around locked objects; all others that would change one are refused.
_AROUND = {"paint", "erase", "lasso", "fill", "put_plane"}


class Project:
    """Labels with a journal. Not thread-safe: its owner locks.

    Attributes
    ----------
    labels : (z, y, x) uint32 array
        The labels as of the last edit; only this class writes into them.
    store : Store
        Where every edit is recorded before it is applied.
    rows : list of Row
        The whole journal.
    voxel_size : tuple of float or None
        (z, y, x) in nm.
    undoable, redoable : list of int
        Edits that undo and redo would take, the next one last.
    offered : set of int
        Ids that were promised to somebody.
    next_id : int
        One more than the highest id that was ever used or promised.
    """

    def __init__(self, store: Store, labels: Volume, voxel_size: VoxelSize | None, snapshot: int) -> None:
        self.store, self.labels, self.voxel_size = store, labels, voxel_size
        self.rows: list[Row] = []
        self.undoable: list[int] = []
        self.redoable: list[int] = []
        self._standing: dict[str, list[Row]] = {}
        self._acks: dict[Client, Row] = {}
        self._records = dict(store.records())
        self._table: ObjectTable | None = None
        self._blocks = _grid(whole_box(labels).shape, store.meta("block"))
        self._corners = np.array([(box.start, box.stop) for box in self._blocks])
        self._snapped()
        self._replayed_from = snapshot
        self._behind = 0
        self.offered = store.offered()
        self.next_id = max(store.head.next_id, *(id + 1 for id in self.offered), 1)
        self._ever: set[int] = set()
        self._looked = -1

    @classmethod
    def create(
        cls, path: Path | None, labels: Volume, voxel_size: VoxelSize | None, facts: Mapping[str, Any],
        record: Mapping[str, Any] | None = None,
    ) -> Project:  # fmt: skip
        """Start a project with labels, which it owns from here on.

        Raises
        ------
        StoreError
            If nothing can be written at `path`, or something is there.
        """
        meta = {**facts, "shape": list(labels.shape), "voxel_size": voxel_size, "block": list(_BLOCK)}
        # Memory needs no blocks: nothing will ever read them back.
        blocks = (pack(labels[box.slices]) for box in _grid(whole_box(labels).shape, _BLOCK) if path)
        store = Store.create(path, meta, blocks, Head(0, "", find_highest(labels) + 1), record)
        return cls(store, labels, voxel_size, 0)

    @classmethod
    def open(
        cls, path: Path, accept: Callable[[Project], None] = lambda _: None, *,
        take_over: bool = False, read_only: bool = False,
    ) -> tuple[Project, str]:  # fmt: skip
        """Open a project and bring its labels back; return it and why it is read-only, if it is.

        Parameters
        ----------
        path : path
            The project file.
        accept : callable
            Raises if the project is not the one that is wanted; then the file stays as it was.
        take_over, read_only : bool
            See `mitonb.session.Session.open`.

        Raises
        ------
        TooLargeError
            If the labels fit neither into memory nor onto the disk.
        StoreError
            If anything in it is damaged or missing.
        """
        store = None
        try:
            with reading(path):
                store, reason = Store.open(path, take_over=take_over, read_only=read_only)
                rows = store.rows()
                project = cls(store, _restored(store), None, int(store.meta("snapshot")))
                project.voxel_size = project.first_voxel_size
                project.stack_facts  # noqa: B018 (sees that it is not damaged)
                for row in rows:
                    project._replay(row)
            accept(project)
            store.confirm()
        except BaseException:
            if store is not None:
                store.close()
            raise
        return project, reason

    @property
    def version(self) -> int:
        """Number of the last edit."""
        return len(self.rows)

    @property
    def table(self) -> ObjectTable:
        """Voxel counts and boxes of the objects; built at its first use."""
        if self._table is None:
            self._table = ObjectTable(self.labels)
        return self._table

    @property
    def record(self) -> Mapping[str, Any] | None:
        """Run record of the labels that edits started from, or that an adopted run brought."""
        runs = [s for s in (0, *self.undoable) if s in self._records] if self._records else []
        return self._records[runs[-1]] if runs else None

    @property
    def first_voxel_size(self) -> VoxelSize | None:
        """The voxel size that the project began with."""
        size = self.store.meta("voxel_size")
        return tuple(size) if size else None

    @cached_property
    def stack_facts(self) -> Mapping[str, Any] | None:
        """What the project remembers of its image; None if it was made without one.

        Raises
        ------
        StoreError
            If that is nothing that `mitonb.session.opening.describe` says.
        """
        facts: dict[str, Any] | None = self.store.meta("stack")
        kinds = {"name": str, "fingerprint": str, "source": str | None, "beside": str | None}
        if facts is not None and not all(isinstance(facts.get(name), kind) for name, kind in kinds.items()):
            raise self.store.damaged("what it remembers of its image")
        return facts

    def digests(self) -> set[str | None]:
        """Return the checksums of the labels as they are, as they began, and of all that were adopted."""
        adopted = {row.intent.get("digest") for row in self.rows if row.kind == "adopt"}
        return {self.store.meta("labels"), digest(self.labels), *adopted}

    def standing(self, *kinds: str) -> list[Row]:
        """Return the edits of some kinds that are not undone, the oldest first, without a look at all the others."""
        return sorted((row for kind in kinds for row in self._standing.get(kind, ())), key=lambda row: row.seq)

    def box_of(self, row: Row) -> Box:
        """Return where a record of the journal changed voxels."""
        return NOWHERE if row.kind == "nothing" else around(self.effect(row.undo_of or row.seq))

    def effect(self, seq: int) -> tuple[Part, ...]:
        """Return what an edit did to the voxels."""
        return decode(self.store.effect(seq), whole_box(self.labels).shape)

    def labels_before(self, seq: int) -> tuple[Volume, VoxelSize | None]:
        """Return labels and voxel size as they were before an edit, going back from those of now."""
        labels, size = copy_labels(self.labels), self.voxel_size
        for row in reversed(self.rows[seq - 1 :]):
            self._step(labels, row, backwards=True)
            edit = self.rows[(row.undo_of or row.seq) - 1]
            if edit.kind == "set_voxel_size":
                past = edit.intent["after" if row.kind == "undo" else "before"]
                size = tuple(past) if past else None
        return labels, size

    def replay(self) -> None:
        """Rebuild the labels from those that the project began with; see `mitonb.session.Session.replay`."""
        labels, _ = self.labels_before(1)
        begun = self.store.meta("labels")  # a checksum; None where it began without labels
        if find_highest(labels) if begun is None else digest(labels) != begun:
            raise self.store.damaged("an edit, or the labels that it began with: the edits do not lead back to these")
        for row in self.rows:
            self._step(labels, row)
        if not all(map(np.array_equal, labels, self.labels)):
            raise self.store.damaged("an edit: the edits lead to other labels than these")

    def _step(self, labels: Volume, row: Row, *, backwards: bool = False) -> None:
        """Do to labels what a record of the journal did, or take that back; StoreError where it does not fit them."""
        if row.kind == "nothing":
            return
        try:
            apply(labels, self.effect(row.undo_of or row.seq), backwards=(row.kind == "undo") is not backwards)
        except StoreError:
            raise self.store.damaged(f"what edit {row.seq} has changed") from None

    def acknowledged(self, client: Client | None) -> Row | None:
        """Return the record of a request that was made before."""
        return self._acks.get(client) if client else None

    # --- edits ------------------------------------------------------------------------------------------------------

    def commit(
        self, edit: Edit, *, client: Client | None = None, record: Mapping[str, Any] | None = None
    ) -> tuple[Row, Box]:
        """Record an edit, then apply it; return the new record and the box that changed.

        Raises
        ------
        StoreError
            If it cannot be recorded; then the labels are as before.
        """
        used = max((int(p.runs[:, 3].max()) for p in edit.parts), default=0)
        return self._write(edit.kind, edit.parts, edit.intent, encode(edit.parts), used, client=client, record=record)

    def decline(self, client: Client) -> Row:
        """Record a request that changed nothing, so that its repetition changes nothing either."""
        return self._write("nothing", client=client)[0]

    def undo(self, *, redo: bool = False, client: Client | None = None) -> tuple[Row, Box]:
        """Take the last edit back, or an undone edit forth; return the new record and the box that changed.

        Raises
        ------
        InputError
            If there is nothing to take.
        """
        self._require_in_step()
        stack, kind = (self.redoable, "redo") if redo else (self.undoable, "undo")
        if not stack:
            raise InputError(f"There is nothing to {kind}.")
        return self._write(kind, self.effect(stack[-1]), undo_of=stack[-1], client=client)

    def _write(
        self, kind: str, parts: tuple[Part, ...] = (), intent: Mapping[str, Any] | None = None, effect: bytes = b"",
        used: int = 0, *, record: Mapping[str, Any] | None = None, **more: Any,
    ) -> tuple[Row, Box]:  # fmt: skip
        """Add a record to the journal, and bring the labels in step with it; `used` is its highest id."""
        self._require_in_step()
        next_id = max(self.next_id, used + 1)
        with _undisturbed():
            row = self.store.append(kind, intent or {}, effect, next_id=next_id, record=record, **more)
            try:
                self.next_id = next_id
                if record is not None:
                    self._records[row.seq] = record
                self._note(row)
                self._follow(row, parts, len(effect))
            except BaseException as error:
                # No edit may be recorded against labels that could not follow the journal.
                self._behind = row.seq
                if isinstance(error, MemoryError):
                    self._require_in_step()
                raise
            if self.store.path and (self._edits >= _EDITS or self._bytes >= _BYTES):
                # The edit itself is recorded; where the snapshot fails, the next edit says what is wrong.
                with contextlib.suppress(MitonbError):
                    self._snapshot()
        return row, around(parts)

    def refresh(self) -> list[tuple[Row, Box]]:
        """Follow edits that another session has recorded; return them."""
        self.offered = self.store.offered()
        self.next_id = max(self.next_id, *(id + 1 for id in self.offered), 1)
        return [(row, self._replay(row)) for row in self.store.rows(self.version)]

    def _replay(self, row: Row) -> Box:
        """Follow a record of the journal; those before the snapshot are in the labels already."""
        parts: tuple[Part, ...] = ()
        if row.seq > self._replayed_from and row.kind != "nothing":
            parts = self.effect(row.undo_of or row.seq)
            self._follow(row, parts)
        self._note(row)
        self.next_id = max(self.next_id, self.store.head.next_id)
        return around(parts)

    def _follow(self, row: Row, parts: tuple[Part, ...], size: int = 0) -> None:
        """Bring labels, table of objects and the list of blocks that the store lacks in step with a record."""
        backwards = row.kind == "undo"
        apply(self.labels, parts, backwards=backwards)
        for part in parts:
            inside = (self._corners[:, 0] < part.box.stop) & (self._corners[:, 1] > part.box.start)
            self._stale.update(np.flatnonzero(inside.all(axis=1)).tolist())
        self._edits += bool(parts)
        self._bytes += size
        if len(parts) > 1000 or sum(len(p.runs) for p in parts) > 1 << 20:
            self._table = None  # counting anew is faster
        elif self._table is not None:
            self._table.update(parts, backwards=backwards)

    def _note(self, row: Row) -> None:
        """Keep the undo history and the list of answered requests in step with the journal."""
        self.rows.append(row)
        if row.client is not None and row.client_seq is not None:
            self._acks[row.client, row.client_seq] = row
        if row.kind in ("undo", "redo"):
            source, target = self.undoable, self.redoable
            if row.kind == "redo":
                source, target = target, source
            if not source or source[-1] != row.undo_of:
                raise self.store.damaged(f"the order of undo and redo at edit {row.seq}")
            target.append(source.pop())
        elif row.kind != "nothing":
            self.undoable.append(row.seq)
            self.redoable.clear()
        edit = self.rows[(row.undo_of or row.seq) - 1]
        same = self._standing.setdefault(edit.kind, [])
        if row.kind == "undo":
            same.pop()  # edits are undone the last first
        else:
            same.append(edit)
        if edit.kind == "set_voxel_size":
            size_now = edit.intent["before" if row.kind == "undo" else "after"]
            self.voxel_size = tuple(size_now) if size_now else None

    # --- ids --------------------------------------------------------------------------------------------------------

    def free_ids(self, count: int, among: Iterable[int] = ()) -> list[int]:
        """Return ids that no voxel ever had, nobody was promised and `among` does not hold.

        They are free until an edit uses them or `offer` promises them: opening and looking spend none.
        """
        others = set(among)
        first = max(self.next_id, max(others, default=0) + 1)
        if first + count <= MAX_ID:
            return list(range(first, first + count))
        # Something has an id near the end, most likely 4294967295, which is what -1 becomes: there is room below it.
        taken = self._ever_used() | others
        return list(itertools.islice((id for id in itertools.count(1) if id not in taken), count))

    def is_free(self, id: int) -> bool:
        """Return whether no voxel ever had an id, and nobody was promised it."""
        # The whole journal is looked through for the rare ids that lie below and are not there.
        return 0 < id < MAX_ID and (id >= self.next_id or (id not in self.table.counts and id not in self._ever_used()))

    def offer(self) -> int:
        """Return an id that nothing ever had, and see to it that nothing else ever gets it.

        Raises
        ------
        StoreError
            If that cannot be recorded.
        """
        self._require_in_step()
        (id,) = self.free_ids(1)
        self.store.offer(id)
        self.offered.add(id)
        self.next_id = max(self.next_id, id + 1)
        return id

    def renamed(self, plane: Volume) -> Volume:
        """Return a plane with ids that were never used, by the order of its own ids."""
        ids = [id for id in np.unique(plane).tolist() if id]
        return _remapped(plane, dict(zip(ids, self.free_ids(len(ids)), strict=True)))

    def in_hands(self) -> set[int]:
        """Return the ids that a user may have in hand: promised to him, or painted with."""
        painted = (row.intent.get("id") for row in self.rows if row.kind in ("paint", "lasso", "fill"))
        return self.offered | {id for id in painted if isinstance(id, int) and id > 0}

    def _ever_used(self) -> set[int]:
        """Return all ids that a voxel ever had, or that were promised."""
        if self._looked < 0:
            # What the labels held once and hold no more is in the effect that took it away.
            self._ever, self._looked = set(self.table.counts), 0
        for row in self.rows[self._looked :]:
            if row.kind not in ("nothing", "undo", "redo"):
                self._ever |= _ids_in(self.effect(row.seq))
        self._looked = len(self.rows)
        return self._ever | self.offered

    # --- the file ---------------------------------------------------------------------------------------------------

    def copy_to(self, path: Path, stack: Mapping[str, Any] | None) -> None:
        """Write the project, with facts about its stack, to a new file as well; work goes on where it was."""
        self._require_in_step()
        self.store.copy_to(path, (pack(self.labels[box.slices]) for box in self._blocks), {"stack": stack})

    def compact(self) -> None:
        """Make the file as small as it can be; see `mitonb.session.Session.compact`."""
        self._require_in_step()
        self.store.compact(repack)

    def move_to(self, path: Path, stack: Mapping[str, Any] | None) -> None:
        """Write the project to a new file and go on there."""
        self.copy_to(path, stack)
        store, _ = Store.open(path)
        store.confirm()
        self.store.close()
        self.store = store
        self._snapped()

    def close(self) -> None:
        """Write a snapshot and let go of the file."""
        try:
            if self._stale and not self._behind:
                self._snapshot()
        except StoreError:
            pass  # the journal has every edit; the snapshot only saves time
        finally:
            self.store.close()

    def _snapshot(self) -> None:
        """Write the blocks that changed, so that opening need not replay the edits up to now."""
        if self.store.path:
            self.store.snapshot({n: pack(self.labels[self._blocks[n].slices]) for n in sorted(self._stale)})
        self._snapped()

    def _snapped(self) -> None:
        self._stale: set[int] = set()
        self._edits = self._bytes = 0

    def _require_in_step(self) -> None:
        """Refuse to go on with labels that could not follow the journal."""
        if not self._behind:
            return
        safe = f"The edit is safe in {self.store.path}" if self.store.path else "These labels are half changed"
        again = "open the project again: nothing is lost" if self.store.path else "run this one again, with path=..."
        raise StoreError(
            f"{safe}, but memory ran out in the middle of edit {self._behind}. Close other notebooks and {again}."
        )


def _grid(shape: Shape, block: Iterable[int]) -> list[Box]:
    """Return the blocks of a volume, which are compressed and checked one by one, in (z, y, x) order."""
    starts = itertools.product(*(range(0, n, int(b)) for n, b in zip(shape, block, strict=True)))
    dz, dy, dx = (int(b) for b in block)
    return [Box((z, y, x), (z + dz, y + dy, x + dx)).clip(shape) for z, y, x in starts]


def _restored(store: Store) -> Volume:
    """Return the labels of the last snapshot."""
    (z, y, x), block = store.meta("shape"), store.meta("block")
    # A shape that was tampered with shows here, before memory is taken for it.
    store.block(math.prod(-(-n // b) for n, b in zip((z, y, x), block, strict=True)) - 1)
    labels: Volume = room_for((z, y, x), store.path)
    for number, box in enumerate(_grid((z, y, x), block)):
        labels[box.slices] = unpack(store.block(number), box.shape)
    return labels


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold back the interrupt of the stop button (SIGINT) until the block is done.

    Between the commit of an edit and its last voxel, labels and journal say different things; an interrupt there
    would let the next edit be recorded against labels that never were.
    """
    before = signal.getsignal(signal.SIGINT)
    # Python runs handlers in the main thread only, and a handler that is no function interrupts nothing.
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    caught: list[tuple[int, Any]] = []
    signal.signal(signal.SIGINT, lambda number, frame: caught.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if caught:
            before(*caught[-1])


# --- the table of objects -----------------------------------------------------------------------------------------


class ObjectTable:
    """Voxel counts, boxes and places of all objects, kept up to date edit by edit, so that verbs look only there.

    Counts are exact. Boxes and places always hold their object; erasing does not shrink them.

    Parameters
    ----------
    labels : (z, y, x) uint32 array
        Read once.

    Attributes
    ----------
    counts : Counter
        Voxels by id.
    boxes : dict of int to Box
        One box around each object.
    places : dict of int to dict of int to Box
        The same by blocks of the volume: a box in each block that an object may be in. They are disjoint.
    """

    def __init__(self, labels: Volume) -> None:
        self.counts: Counter[int] = Counter()
        self.boxes: dict[int, Box] = {}
        self.places: dict[int, dict[int, Box]] = {}
        shape = whole_box(labels).shape
        self._blocks = _grid(shape, _PLACE)
        self._counts = [-(-n // side) for n, side in zip(shape, _PLACE, strict=True)]
        for number, block in enumerate(self._blocks):
            # Small consecutive numbers: the table of boxes is as long as the largest number.
            small, names = fastremap.renumber(labels[block.slices], preserve_zero=True, in_place=False)
            voxels, found = np.bincount(small.ravel()), ndimage.find_objects(small)
            for id, k in names.items():
                if id:
                    start, stop = (
                        tuple(o + getattr(s, end) for o, s in zip(block.start, found[int(k) - 1], strict=True))
                        for end in ("start", "stop")
                    )
                    self.counts[int(id)] += int(voxels[int(k)])
                    self._put(int(id), number, Box(start, stop))

    def update(self, parts: tuple[Part, ...], *, backwards: bool = False) -> None:
        """Follow an effect that was applied to the labels."""
        old, new = (3, 2) if backwards else (2, 3)
        runs = np.concatenate([np.empty((0, 4), np.uint32), *(part.runs for part in parts)])
        for column, sign in ((new, 1), (old, -1)):
            ids, where = np.unique(runs[:, column], return_inverse=True)
            voxels = np.bincount(where.ravel(), runs[:, 1])
            for id, n in zip(ids.tolist(), voxels.tolist(), strict=True):
                self.counts[id] += sign * int(n)
        for part in parts:
            self._surround(part, new)
        for id in ids.tolist():
            if not self.counts[id]:
                self.boxes.pop(id, None)
                self.places.pop(id, None)
                del self.counts[id]
        del self.counts[0]

    def _surround(self, part: Part, column: int) -> None:
        """Let the boxes of all objects that come with an effect hold what is there now, block by block."""
        runs = part.runs[part.runs[:, column] > 0].astype(np.int64)
        if not len(runs):
            return
        shape = part.box.shape
        low, high = (np.stack(np.unravel_index(at, shape)) for at in (runs[:, 0], runs[:, :2].sum(axis=1) - 1))
        # A run that goes on in the next row has pixels at both ends of rows, and so with planes.
        for axis in (1, 2):
            over = (low[:axis] != high[:axis]).any(axis=0)
            low[axis, over], high[axis, over] = 0, shape[axis] - 1
        corner, sides = (np.array(n).reshape(3, 1) for n in (part.box.start, _PLACE))
        low, high = low + corner, high + corner
        first = np.ravel_multi_index(list(low // sides), self._counts)
        order = np.lexsort((first, runs[:, column]))
        keys = np.stack([runs[order, column], first[order]])
        groups = np.flatnonzero(np.r_[True, (np.diff(keys) != 0).any(axis=0)])
        starts = np.minimum.reduceat(low[:, order], groups, axis=1).T.tolist()
        ends = np.maximum.reduceat(high[:, order], groups, axis=1).T.tolist()
        for id, start, end in zip(keys[0, groups].tolist(), starts, ends, strict=True):
            spans = [range(a // n, b // n + 1) for a, b, n in zip(start, end, _PLACE, strict=True)]
            box = Box(tuple(start), tuple(n + 1 for n in end))
            for place in itertools.product(*spans):
                number = int(np.ravel_multi_index(place, self._counts))
                self._put(id, number, box.overlap(self._blocks[number]))

    def _put(self, id: int, number: int, box: Box) -> None:
        """Let the boxes of an object hold one more, which lies in a block."""
        there = self.places.setdefault(id, {})
        there[number] = there.get(number, box).union(box)
        self.boxes[id] = self.boxes.get(id, box).union(box)


# --- corrections: what of the labels a user has touched, and how the result of a run is laid around it ------------
#
# An object is *corrected* when an edit by hand that still stands has changed any voxel of it: painted, erased, filled,
# merged, put. A run leaves corrected objects as they are, and what was erased or deleted stays background. An object of
# the run that lies to at least one half in such voxels is one that the user has seen to already, and is left out; of
# every other the voxels that are free are put. Which edits stand is read from the journal: undo takes the protection
# back, and so does a run that was told to replace corrections, where it ran.


def adopt(project: Project, labels: Labels, *, replace_corrected: bool = False) -> Edit:
    """Replace all labels but what is corrected by the result of a run; see `mitonb.session.Session.adopt`."""

    def by_half(new: Volume, taken: set[int]) -> dict[int, int]:
        """Let what covers one half or more of an object have its id."""
        if not project.table.counts:
            return {}
        return _names(new, project.labels, taken, lambda n, _, old: n if 2 * n >= old else 0)

    new, said = _laid(project, labels.data, whole_box(project.labels), by_half, replace_corrected=replace_corrected)
    intent = {"name": labels.name, "digest": digest(labels.data), **said}
    return replace(ops.adopt(project.labels, new), intent=intent)


def adopt_plane(
    project: Project, ids: Volume, axis: Axis, index: int, *, iou: float, replace_corrected: bool = False
) -> Edit:
    """Replace a plane but what is corrected by profiles of a run; see `mitonb.session.Session.adopt_plane`."""
    new, said = plane_with(project, ids, axis, index, iou=iou, replace_corrected=replace_corrected)
    edit = ops.put_plane(project.labels, new, axis, index)
    return replace(edit, kind="adopt_plane", intent={**edit.intent, "iou": float(iou), **said})


def plane_with(
    project: Project, ids: Volume, axis: Axis, index: int, *, iou: float, replace_corrected: bool = False
) -> tuple[Volume, dict[str, int]]:
    """Return the plane that `adopt_plane` puts, and how many objects are kept, and how many left out as erased."""
    planes = np.moveaxis(project.labels, AXES[axis], 0)

    def score(shared: int, new: int, old: int) -> float:
        found = shared / (new + old - shared)
        return found if found >= iou else 0

    def by_overlap(new: Volume, taken: set[int]) -> dict[int, int]:
        """Let profiles have the ids of those that they overlap best, on this plane or else on a neighbouring one."""
        for near in (index, index - 1, index + 1):
            if 0 <= near < len(planes):
                there = fastremap.mask(np.ascontiguousarray(planes[near]), list(taken))
                if there.any():
                    return _names(new.reshape(there.shape), there, taken, score)
        return {}

    box = ops.whole_plane(project.labels, ids.shape, axis, index)
    new, said = _laid(project, ids.reshape(box.shape), box, by_overlap, replace_corrected=replace_corrected, fresh=True)
    return new.reshape(ids.shape), said


def _laid(
    project: Project, new: Volume, box: Box, name: Callable[[Volume, set[int]], dict[int, int]], *,
    replace_corrected: bool, fresh: bool = False,
) -> tuple[Volume, dict[str, int]]:  # fmt: skip
    """Return the result of a run around what is corrected in a box, with the ids of objects that are there already.

    Parameters
    ----------
    new : uint32 array of the box's shape
        Not changed.
    name : callable
        Says which objects of the run get which ids; those of corrected objects are taken.
    replace_corrected : bool
        Keep nothing but what is locked.
    fresh : bool
        The numbers of the run mean nothing; else they are kept where they are free.

    Returns
    -------
    labels : uint32 array
    said : dict
        How many corrected objects were "kept" and how many of the run left out as "erased"; empty where corrections
        were replaced.
    """
    old, said = project.labels[box.slices], {}
    ids, keep = (set[int](), np.zeros(box.shape, bool)) if replace_corrected else _corrected(project, box)
    if fixed := locked(project):
        ids, keep = ids | fixed, keep | np.isin(old, list(fixed))
    found, sizes = fastremap.unique(new, return_counts=True)
    size = {id: n for id, n in zip(found.tolist(), sizes.tolist(), strict=True) if id}
    if ids or not replace_corrected:
        there = project.table.counts.keys() if not fresh else set(np.unique(old).tolist())
        inside = _counts(new[keep], size)
        out = [id for id, n in inside.items() if 2 * n >= size[id]]
        empty = _counts(new[keep & (old == 0)], out)
        if not replace_corrected:
            said = {"kept": len(ids & there), "erased": sum(2 * n > inside[id] for id, n in empty.items())}
        new = fastremap.mask(new, out) if out else new
        size = {id: n for id, n in size.items() if id not in out}
        ids = (ids & there) | fixed if fresh else ids
    names = name(new, ids)
    # An id that is or was in use must not become that of another object. Somebody has it in hand and would paint into
    # that, or takes the other for the one that he knows; and what has the id of an object that was merged or deleted
    # by hand would count as corrected from then on.
    used = size.keys() if fresh else ids | project.in_hands() | project.table.counts.keys()
    unnamed = sorted(used & size.keys() - names.keys())
    names |= zip(unnamed, project.free_ids(len(unnamed), among=() if fresh else size), strict=True)
    new = _remapped(new, names)
    return np.where(keep, old, new) if keep.any() else new, said


def _corrected(project: Project, box: Box) -> tuple[set[int], Mask]:
    """Return the ids of all corrected objects, gone ones too, and the voxels of a box that a run leaves as they are."""
    parts: list[tuple[Part, dict[int, int]]] = []  # each with the ids in it, by what they are called since
    standing = [project.rows[seq - 1] for seq in project.undoable]
    for row in standing:
        if row.kind == "relabel":  # what was not corrected is not by another id
            pair = ops.renamed(row.kind, row.intent)
            parts = [(part, ops.moved(ids, pair)) for part, ids in parts]
        elif row.kind not in ("adopt", "adopt_plane"):
            parts += ((part, dict.fromkeys(_ids_in([part]), 0)) for part in project.effect(row.seq))
        elif "kept" in row.intent:
            continue
        elif row.kind == "adopt":
            parts = []
        else:
            with contextlib.suppress(LookupError, TypeError, ValueError, OverflowError):  # one from elsewhere
                along, index = AXES[row.intent["axis"]], int(row.intent["index"])
                plane = (index, index + 1)
                parts = [one for one in parts if (one[0].box.start[along], one[0].box.stop[along]) != plane]
    ids, here = {id for _, some in parts for id in some if id}, project.labels[box.slices]
    touched = np.zeros(project.labels.shape, bool)
    for part, _ in parts:
        touched[part.box.slices] |= part.mask
    keep = touched[box.slices] & (here == 0)
    if ids:
        keep |= fastremap.mask_except(np.ascontiguousarray(here), list(ids)) > 0
    for one in reviewed(project):
        ends = zip(one.start, one.stop, box.start, strict=True)
        keep[tuple(slice(max(0, a - o), max(0, b - o)) for a, b, o in ends)] = True
    return ids, keep


def reviewed(project: Project) -> list[Box]:
    """Return the boxes of which the user says that all in them is right, without those that lie inside of others.

    A run leaves them as they are; where it was told to replace corrections, they are reviewed no more.
    """
    found: list[Box] = []
    for row in project.standing("mark_reviewed", "adopt", "adopt_plane"):
        say = row.intent
        with contextlib.suppress(LookupError, TypeError, ValueError, OverflowError):  # one from elsewhere
            if row.kind == "mark_reviewed":
                box = ops.box_in(project.labels.shape, say.get("start"), say.get("stop"))
                found = [one for one in found if one.union(box) != box] + [box] * bool(say.get("reviewed"))
            elif row.kind == "adopt" and "kept" not in say:
                found = []
            elif row.kind == "adopt_plane" and "kept" not in say:
                along, index = AXES[say["axis"]], int(say["index"])
                found = [one for one in found if not one.start[along] <= index < one.stop[along]]
    return found


def locked(project: Project) -> set[int]:
    """Return the objects that nothing changes, see `mitonb.session.Session.lock`; undo takes a lock back, too."""
    found = set[int]()
    for row in project.standing("lock", "unlock"):
        if isinstance(ids := row.intent.get("ids"), list):
            ids = {id for id in ids if type(id) is int}
            found = found | ids if row.kind == "lock" else found - ids
    return found & project.table.counts.keys() if found else found


def spare_locked(project: Project, edit: Edit) -> Edit:
    """Return an edit that leaves locked objects as they are.

    Raises
    ------
    InputError
        If it is about a locked object, or nothing else would change.
    """
    changed = _ids_in(edit.parts) & locked(project) if edit.parts else set()
    if not changed:
        return edit
    parts: list[Part] = []
    if edit.kind in _AROUND and not any(np.isin(part.runs[:, 3], list(changed)).any() for part in edit.parts):
        kept = ((part, ~np.isin(part.runs[:, 2], list(changed))) for part in edit.parts)
        # The box stays: a page that has drawn the whole stroke is told of all of it.
        parts = [replace(part, runs=part.runs[rest]) for part, rest in kept if rest.any()]
    if not parts:
        names, one = ", ".join(map(str, sorted(changed)[:8])), len(changed) == 1
        raise InputError(
            f"Object{'' if one else 's'} {names} {'is' if one else 'are'} locked, and nothing changes "
            f"{'it' if one else 'them'}. Unlock {'it' if one else 'them'} first: Shift-K, or session.unlock({names})."
        )
    return replace(edit, parts=tuple(parts))


def _names(new: Volume, old: Volume, taken: set[int], score: Callable[[int, int, int], float]) -> dict[int, int]:
    """Return which new objects have the ids of which old ones: the highest scores first, each id once.

    The score is of their shared voxels, those of the new object, and those of the old; 0 for objects that are others.
    """
    found: dict[int, int] = {}
    named = set(taken)
    shared = list(zip(*(values.tolist() for values in pairs(new, old)), strict=True))
    sizes, olds = Counter[int](), Counter[int]()
    for a, b, n in shared:
        sizes[a] += n
        olds[b] += n
    scored = [(score(n, sizes[a], olds[b]), a, b) for a, b, n in shared if a and b]
    for points, a, b in sorted(scored, key=lambda one: (-one[0], one[1] != one[2])):
        if points and a not in found and b not in named:
            found[a] = b
            named.add(b)
    return found


def _ids_in(parts: Iterable[Part]) -> set[int]:
    """Return all ids that are in an effect, before or after."""
    return {id for part in parts for id in np.unique(part.runs[:, 2:]).tolist()}


def _counts(values: Volume, wanted: Iterable[int]) -> dict[int, int]:
    """Return how often each of some ids occurs, where it does."""
    ids, counts = np.unique(values, return_counts=True)
    among = set(wanted)
    return {id: n for id, n in zip(ids.tolist(), counts.tolist(), strict=True) if id in among}


def _remapped(ids: Volume, names: Mapping[int, int]) -> Volume:
    """Return ids with other names; those without one stay."""
    if all(id == name for id, name in names.items()):
        return ids
    return fastremap.remap(ids, dict(names), preserve_missing_labels=True, in_place=False)
