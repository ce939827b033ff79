"""The focus of a session: the voxel that its user looks at and the objects that are selected."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Any

import numpy as np

from mitonb.edit import ops
from mitonb.edit.effects import changed
from mitonb.errors import InputError
from mitonb.session.news import emit
from mitonb.stack import whole_number

if TYPE_CHECKING:
    import threading

    import numpy.typing as npt
    from psygnal import SignalInstance

    from mitonb.edit.project import Project

__all__ = ["Focus"]

_MOST = 10_000
"""Selected objects: more make the pages slow."""


class Focus:
    """A position and a selection in a project; `mitonb.session.Session` says what its methods do.

    Parameters
    ----------
    project : Project
        Whose labels are looked at; the focus begins in their middle.
    lock : RLock
        That of the session: labels must not change while an object is looked for.
    moved, selected : SignalInstance
        Emitted with each new position (z, y, x) and each new tuple of ids, while the lock is held.
    """

    def __init__(
        self, project: Project, lock: threading.RLock, *, moved: SignalInstance, selected: SignalInstance
    ) -> None:
        self._project, self._lock = project, lock
        self._moved, self._selected = moved, selected
        z, y, x = (n // 2 for n in project.labels.shape)
        self.position: tuple[int, int, int] = (z, y, x)
        self.selection: tuple[int, ...] = ()

    def select(self, *ids: int) -> None:
        """Select objects; without arguments, none."""
        with self._lock:
            chosen = tuple(dict.fromkeys(i for i in map(ops.checked_id, ids) if i))
            if len(chosen) > _MOST:
                raise InputError(f"Select at most {_MOST:,} objects at once, got {len(chosen):,}.")
            if chosen != self.selection:
                self.selection = chosen
                emit(self._selected, chosen)

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
            shape = self._project.labels.shape
            at_z, at_y, at_x = (int(min(max(v, 0), n - 1)) for v, n in zip(near, shape, strict=True))
            if (at_z, at_y, at_x) != self.position:
                self.position = (at_z, at_y, at_x)
                emit(self._moved, self.position)

    def go_to(self, id: int) -> None:
        """Select an object and look at the voxel of it that is nearest to its centroid."""
        with self._lock:
            box = self._project.table.boxes.get(ops.checked_id(id))
            points = np.zeros((0, 3)) if box is None else np.argwhere(self._project.labels[box.slices] == id)
            if box is None or not len(points):
                raise InputError(f"There is no object {id}. Objects: session.ids().")
            self.select(id)
            self._look_at(points, box.start)

    def go_to_edit(self, seq: int) -> None:
        """Look at the voxel that an edit changed and that is nearest to the centroid of all of them."""
        with self._lock:
            rows = self._project.rows
            if not 1 <= seq <= len(rows):
                raise InputError(f"There is no edit {seq}. Edits: session.history().")
            edit = rows[(rows[seq - 1].undo_of or seq) - 1]
            if edit.kind == "adopt":
                raise InputError(f"Edit {seq} has no place of its own: it was about all labels.")
            parts = self._project.effect(edit.seq) if edit.kind != "nothing" else ()
            if not parts:
                raise InputError(f"Edit {seq} has no place: it changed no voxel.")
            part = max(parts, key=lambda p: p.voxels)
            self._look_at(np.argwhere(changed(part)), part.box.start)

    def _look_at(self, points: npt.NDArray[Any], start: tuple[int, int, int]) -> None:
        """Look at that of some points, (n, 3) counted from a voxel, which is nearest to their centroid."""
        nearest = points[((points - points.mean(0)) ** 2).sum(1).argmin()]
        z, y, x = (a + b for a, b in zip(nearest.tolist(), start, strict=True))
        if (z, y, x) == self.position:
            emit(self._moved, self.position)  # a viewer may have turned away since
        self.move_to(z, y, x)

    def step_object(self, by: int) -> int:
        """Go so many objects on from the selected one, around at the ends; return where, 0 without objects."""
        with self._lock:
            step = whole_number(by)
            if step is None:
                raise InputError(f"A step is a whole number of objects, such as 1 or -1, got {by!r}.")
            ids = sorted(self._project.table.counts)
            if not ids:
                return 0
            here = self.selection[-1] if self.selection else 0
            place = bisect.bisect_right(ids, here) - 1 if step > 0 else bisect.bisect_left(ids, here)
            found = ids[(place + step) % len(ids)]
            self.go_to(found)
            return found
