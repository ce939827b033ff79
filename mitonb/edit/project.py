"""A project: labels in memory, the store behind them, and the undo history that both agree on."""

from __future__ import annotations

import contextlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mitonb.edit.blocks import Grid, digest
from mitonb.edit.database import reading
from mitonb.edit.effects import NOWHERE, Edit, Part, Volume, apply, around, decode, encode
from mitonb.edit.objects import ObjectTable
from mitonb.edit.ops import MAX_ID
from mitonb.edit.snapshots import Snapshots, restored
from mitonb.edit.store import Head, Row, Store
from mitonb.edit.whole import whole
from mitonb.errors import InputError, MitonbError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from mitonb.box import Box
    from mitonb.stack import VoxelSize

__all__ = ["Client", "Project"]

Client = tuple[str, int]


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
        self._acks: dict[Client, Row] = {}
        self._records = dict(store.records())
        self._table: ObjectTable | None = None
        dz, dy, dx = store.meta("block")
        self._snapshots = Snapshots(labels, Grid(_shape(labels), (dz, dy, dx)))
        self._replayed_from = snapshot
        self._broken = False
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
        grid = Grid(_shape(labels))
        meta = {**facts, "shape": list(labels.shape), "voxel_size": voxel_size, "block": list(grid.block)}
        # Memory needs no blocks: nothing will ever read them back.
        blocks = Snapshots(labels, grid).blocks() if path else ()
        store = Store.create(path, meta, blocks, Head(0, "", int(labels.max(initial=0)) + 1), record)
        return cls(store, labels, voxel_size, 0)

    @classmethod
    def open(
        cls, path: Path, accept: Callable[[Project], None] = lambda _: None, *,
        take_over: bool = False, read_only: bool = False, memory: int | None = None,
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
        memory : int, optional
            Bytes that the labels may need.

        Raises
        ------
        TooLargeError
            If the labels need more than `memory`.
        StoreError
            If anything in it is damaged or missing.
        """
        store = None
        try:
            with reading(path):
                store, reason = Store.open(path, take_over=take_over, read_only=read_only)
                project = cls._from(store, memory)
            accept(project)
            store.confirm()
        except BaseException:
            if store is not None:
                store.close()
            raise
        return project, reason

    @classmethod
    def _from(cls, store: Store, memory: int | None) -> Project:
        """Bring labels and history back from an open store."""
        rows = store.rows()
        z, y, x = (int(n) for n in store.meta("shape"))
        dz, dy, dx = (int(n) for n in store.meta("block"))
        project = cls(store, restored(store, Grid((z, y, x), (dz, dy, dx)), memory), None, int(store.meta("snapshot")))
        project.voxel_size = project.first_voxel_size
        project.stack_facts  # noqa: B018 (sees that it is not damaged)
        for row in rows:
            project._replay(row)
        return project

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
        facts = self.store.meta("stack")
        text, maybe = str, str | None
        kinds = {"name": text, "fingerprint": text, "source": maybe, "beside": maybe}
        if facts is None or (isinstance(facts, dict) and all(isinstance(facts.get(k), t) for k, t in kinds.items())):
            return facts
        raise self.store.damaged("what it remembers of its image")

    def digests(self) -> set[str | None]:
        """Return the checksums of the labels as they are, as they began, and of all that were adopted."""
        adopted = {row.intent.get("digest") for row in self.rows if row.kind == "adopt"}
        return {self.store.meta("labels"), digest(self.labels), *adopted}

    def renamed(self, plane: Volume) -> Volume:
        """Return a plane with ids that were never used, by the order of its own ids."""
        ids, where = np.unique(plane, return_inverse=True)
        names = np.zeros(len(ids), np.uint32)
        names[ids > 0] = self.free_ids(int((ids > 0).sum()))
        return names[where].reshape(plane.shape)

    def box_of(self, row: Row) -> Box:
        """Return where a record of the journal changed voxels."""
        return NOWHERE if row.kind == "nothing" else around(self.effect(row.undo_of or row.seq))

    def effect(self, seq: int) -> tuple[Part, ...]:
        """Return what an edit did to the voxels."""
        return decode(self.store.effect(seq), _shape(self.labels))

    def acknowledged(self, client: Client | None) -> Row | None:
        """Return the record of a request that was made before."""
        return self._acks.get(client) if client else None

    def commit(
        self, edit: Edit, *, client: Client | None = None, next_id: int = 0, record: Mapping[str, Any] | None = None
    ) -> Row:
        """Record an edit, then apply it.

        Raises
        ------
        StoreError
            If it cannot be recorded; then the labels are as before.
        """
        self._mend()
        effect = encode(edit.parts)
        highest = max((int(p.runs[:, 3].max()) for p in edit.parts), default=0)
        next_id = max(self.next_id, next_id, highest + 1)
        with whole():
            row = self._append(edit.kind, edit.intent, effect, next_id=next_id, client=client, record=record)
            with self._in_step(row):
                self.next_id = next_id
                if record is not None:
                    self._records[row.seq] = record
                self._note(row)
                apply(self.labels, edit.parts)
                self._followed(edit.parts, len(effect))
            self._maybe_snapshot()
        return row

    def decline(self, client: Client) -> Row:
        """Record a request that changed nothing, so that its repetition changes nothing either."""
        self._mend()
        with whole():
            row = self._append("nothing", {}, next_id=self.next_id, client=client)
            self._note(row)
        return row

    def undo(self, *, redo: bool = False, client: Client | None = None) -> tuple[Row, Box]:
        """Take the last edit back, or an undone edit forth; return the new record and the box that changed.

        Raises
        ------
        InputError
            If there is nothing to take.
        """
        self._mend()
        stack = self.redoable if redo else self.undoable
        if not stack:
            raise InputError(f"There is nothing to {'redo' if redo else 'undo'}.")
        target = stack[-1]
        parts = self.effect(target)
        with whole():
            row = self._append("redo" if redo else "undo", {}, next_id=self.next_id, client=client, undo_of=target)
            with self._in_step(row):
                self._note(row)
                apply(self.labels, parts, backwards=not redo)
                self._followed(parts, backwards=not redo)
            self._maybe_snapshot()
        return row, around(parts)

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
        free = np.setdiff1d(np.arange(1, len(taken) + count + 1), np.fromiter(taken, np.int64, len(taken)))
        return [int(id) for id in free[:count]]

    def is_free(self, id: int) -> bool:
        """Return whether no voxel ever had an id, and nobody was promised it."""
        # The whole journal is looked through for the rare ids that lie below and are not there.
        new = id >= self.next_id or (id not in self.table.counts and id not in self._ever_used())
        return 0 < id < MAX_ID and new

    def offer(self) -> int:
        """Return an id that nothing ever had, and see to it that nothing else ever gets it.

        Raises
        ------
        StoreError
            If that cannot be recorded.
        """
        self._mend()
        (id,) = self.free_ids(1)
        try:
            self.store.offer([id])
        except StoreError:
            self._broken = not self.store.read_only
            raise
        self.offered.add(id)
        self.next_id = max(self.next_id, id + 1)
        return id

    def in_hands(self) -> set[int]:
        """Return the ids that a user may have in hand: promised to him, or painted with."""
        painted = (row.intent.get("id") for row in self.rows if row.kind in ("paint", "fill"))
        return self.offered | {id for id in painted if isinstance(id, int) and id > 0}

    def _ever_used(self) -> set[int]:
        """Return all ids that a voxel ever had, or that were promised."""
        if self._looked < 0:
            # What the labels held once and hold no more is in the effect that took it away.
            self._ever, self._looked = set(self.table.counts), 0
        for row in self.rows[self._looked :]:
            if row.kind not in ("nothing", "undo", "redo"):
                for part in self.effect(row.seq):
                    self._ever.update(np.unique(part.runs[:, 2:]).tolist())
        self._looked = len(self.rows)
        return self._ever | self.offered

    def refresh(self) -> list[tuple[Row, Box]]:
        """Follow edits that another session has recorded; return them."""
        self.offered = self.store.offered()
        self.next_id = max(self.next_id, *(id + 1 for id in self.offered), 1)
        new = []
        for row in self.store.rows(self.version):
            new.append((row, self._replay(row)))
        return new

    def copy_to(self, path: Path, stack: Mapping[str, Any] | None) -> None:
        """Write the project, with facts about its stack, to a new file as well; work goes on where it was."""
        self._refuse_behind()
        self.store.copy_to(path, self._snapshots.blocks(), {"stack": stack})

    def move_to(self, path: Path, stack: Mapping[str, Any] | None) -> None:
        """Write the project to a new file and go on there."""
        self.copy_to(path, stack)
        store, _ = Store.open(path)
        store.confirm()
        self.store.close()
        self.store = store
        self._snapshots.forget()
        self._broken = False

    def close(self) -> None:
        """Write a snapshot and let go of the file."""
        try:
            if self._snapshots.needed and not self._broken and not self._behind:
                self._snapshots.take(self.store)
        except StoreError:
            pass  # the journal has every edit; the snapshot only saves time
        finally:
            self.store.close()

    def _append(self, kind: str, intent: Mapping[str, Any], effect: bytes = b"", **more: Any) -> Row:
        try:
            return self.store.append(kind, intent, effect, **more)
        except StoreError:
            self._broken = not self.store.read_only
            raise

    @contextlib.contextmanager
    def _in_step(self, row: Row) -> Iterator[None]:
        """Remember when labels could not follow the journal: no edit may be recorded against such labels."""
        try:
            yield
        except BaseException as error:
            self._behind = row.seq
            if isinstance(error, MemoryError):
                raise self._behind_error() from error
            raise

    def _behind_error(self) -> StoreError:
        if self.store.path is None:
            return StoreError(
                f"Memory ran out in the middle of edit {self._behind}: these labels are half changed. Close other "
                "notebooks and run this one again, with a project file (path=...), which would have kept the edit."
            )
        return StoreError(
            f"Edit {self._behind} is safe in {self.store.path}, but memory ran out before these labels could follow. "
            "Close other notebooks and open the project again: nothing is lost."
        )

    def _refuse_behind(self) -> None:
        if self._behind:
            raise self._behind_error()

    def _mend(self) -> None:
        """After a failed write: open the file anew, and go on only if it ends where these labels do."""
        self._refuse_behind()
        if not self._broken:
            return
        self.store.reconnect()
        mine = self.store.head
        self.store.rows()
        if self.store.head.seq == mine.seq + 1:
            # The failed write had reached the disk after all.
            self.refresh()
        elif self.store.head != mine:
            self.store.head = mine
            raise StoreError(f"{self.store.path} was changed by another program. Open it again to go on.")
        self._broken = False

    def _replay(self, row: Row) -> Box:
        """Follow a record of the journal; those before the snapshot are in the labels already."""
        target = row.undo_of or row.seq
        parts: tuple[Part, ...] = ()
        if row.seq > self._replayed_from and row.kind != "nothing":
            parts = self.effect(target)
            apply(self.labels, parts, backwards=row.kind == "undo")
            self._followed(parts, backwards=row.kind == "undo")
        self._note(row)
        self.next_id = max(self.next_id, self.store.head.next_id)
        return around(parts)

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
        if edit.kind == "set_voxel_size":
            size_now = edit.intent["before" if row.kind == "undo" else "after"]
            self.voxel_size = tuple(size_now) if size_now else None

    def _followed(self, parts: tuple[Part, ...], size: int = 0, *, backwards: bool = False) -> None:
        """Keep snapshots and the table of objects in step with the labels."""
        self._snapshots.follow(parts, size)
        if sum(len(p.runs) for p in parts) > 1 << 20:
            self._table = None  # counting anew is faster
        elif self._table is not None:
            self._table.update(parts, backwards=backwards)

    def _maybe_snapshot(self) -> None:
        if self.store.path and self._snapshots.due:
            try:
                self._snapshots.take(self.store)
            except MitonbError:
                self._broken = True  # the edit itself is recorded; the next one will say what is wrong


def _shape(labels: Volume) -> tuple[int, int, int]:
    z, y, x = labels.shape
    return z, y, x
