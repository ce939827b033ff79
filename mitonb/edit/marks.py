"""Marks: which objects the user called right or false, read from the journal; undo takes a mark back, too."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from mitonb.edit.ops import moved, renamed, stroke, unpacked_line
from mitonb.errors import InputError
from mitonb.recipe import Verdicts
from mitonb.stack import AXES, Axis

if TYPE_CHECKING:
    from mitonb.edit.edits import Volume
    from mitonb.edit.project import Project
    from mitonb.edit.store import Row

KINDS: dict[str, bool | None] = {
    "mark_right": True, "mark_false": False, "mark_fix": None, "mark_unsure": None, "unmark": None,
}  # fmt: skip
"""Verbs that judge objects, and whether as right or false; None is neither."""
SEEN = {"mark_right": "right", "mark_false": "false", "mark_fix": "fix", "mark_unsure": "unsure"}
"""What a reviewer says of an object by a verb; who corrects one by hand says "corrected"."""
ASIDE = ("lock", "unlock", "note")
"""Verbs that name objects and say nothing of whether they are right."""
STROKES = {"teach_mito": True, "teach_not": False}
"""Verbs that say of pixels whether they are mitochondrion."""


@dataclass(frozen=True, eq=False)
class Stroke:
    """What a user said of some pixels.

    Attributes
    ----------
    mito : bool
        Whether they are mitochondrion.
    axis : {"xy", "xz", "yz"}
        Direction of the plane that it was drawn on.
    plane : int
        Its position along that direction.
    line : (n, 2) int array
        (row, column) in pixels of the plane.
    radius : float
        Of the brush, in pixels.
    """

    mito: bool
    axis: Axis
    plane: int
    line: npt.NDArray[np.int64]
    radius: float

    def put(self, ids: npt.NDArray[Any], id: int) -> None:
        """Write an id into the pixels of an (h, w) plane that it covers."""
        (y, x), mask = stroke(self.line, self.radius, ids.shape)
        ids[y : y + mask.shape[0], x : x + mask.shape[1]][mask] = id


def marks(project: Project, *, gone: bool = False) -> dict[int, bool]:
    """Return which objects are marked: True for right, False for false; with `gone` also those that are not there."""
    found: dict[int, bool] = {}
    for row in project.standing("relabel", *KINDS):
        found, kind = moved(found, renamed(row.kind, row.intent)), KINDS.get(row.kind)
        for id in ids_in(row.intent.get("ids")):
            found.pop(id, None)
            if kind is not None:
                found[id] = kind
    return {id: right for id, right in found.items() if gone or id in project.table.counts}


@dataclass(frozen=True)
class Seen:
    """What was said of an object in a review, first and last: values of `SEEN`, "corrected", or first "made"."""

    first: str
    last: str


def seen(project: Project) -> dict[int, Seen]:
    """Return which objects were judged or corrected by hand, those that are gone since included."""
    # Asked for after every edit: of a long history only what is new is read, and what was undone is taken back.
    found, past = _known.setdefault(project, ({}, []))
    now = project.undoable
    while past and (len(past) > len(now) or now[len(past) - 1] != past[-1][0]):
        found |= past.pop()[1]
    for seq in now[len(past) :]:
        said = _said(project.rows[seq - 1], found)
        past.append((seq, {id: found.get(id) for id in said}))
        found |= said
    return {id: one for id, one in found.items() if one}


_Known = dict[int, Seen | None]
# Of each project: what is said of its objects, and of each edit that stood, what it has replaced of that.
_known: WeakKeyDictionary[Project, tuple[_Known, list[tuple[int, _Known]]]] = WeakKeyDictionary()


def _said(row: Row, found: _Known) -> _Known:
    """Return what an edit says of objects, None where nothing any more; `found` is what was said before."""
    say = row.intent
    if row.kind == "adopt":  # another result: what was not made by hand is to be seen again
        return {id: None for id, one in found.items() if one and one.last != "corrected"}
    if row.kind == "relabel":
        was, to = renamed(row.kind, say) or (0, 0)
        return {to: found.get(was), was: None} if was else {}
    if row.kind == "unmark":
        return dict.fromkeys(ids_in(say.get("ids")))
    if row.kind in ("drop_false", *ASIDE):  # nobody looked at each of those
        return {}
    word = SEEN.get(row.kind, "corrected")
    named = [[say.get("id")], [say.get("keep")], *(say.get(name) for name in ("ids", "gone"))]
    ids = {id for part in named for id in ids_in(part)}
    said: _Known = {id: Seen(one.first if (one := found.get(id)) else word, word) for id in ids}
    return said | {id: Seen("made", "corrected") for id in ids_in(say.get("new"))}


def dismissed(project: Project) -> list[tuple[int, ...]]:
    """Return the places, (z, y, x), of which a reviewer said that nothing is missing there."""
    rows = project.standing("dismiss", "adopt")
    last = max((k for k, row in enumerate(rows, 1) if row.kind == "adopt"), default=0)  # another result since
    points = (row.intent.get("point") for row in rows[last:])
    return [tuple(p) for p in points if isinstance(p, list) and len(p) == 3 and all(type(v) is int for v in p)]


@dataclass(frozen=True)
class Note:
    """A text about an object, or about a place.

    Attributes
    ----------
    text : str
        What was noted last.
    id : int
        The object; 0 for a place.
    point : tuple of int or None
        The voxel, (z, y, x).
    """

    text: str
    id: int = 0
    point: tuple[int, ...] | None = None


def notes(project: Project) -> list[Note]:
    """Return the notes about objects that are there, and about places, the oldest first."""
    found: dict[int | tuple[int, ...], Note] = {}
    for row in project.standing("relabel", "note"):
        found = moved(found, renamed(row.kind, row.intent))
        text, point = str(row.intent.get("text") or ""), row.intent.get("point")
        place = (
            tuple(point) if isinstance(point, list) and len(point) == 3 and all(type(v) is int for v in point) else None
        )
        for one in [Note(text, id) for id in ids_in(row.intent.get("ids"))] + [Note(text, 0, place)] * bool(place):
            found.pop(one.point or one.id, None)
            if text:
                found[one.point or one.id] = one
    there = project.table.counts
    return [
        one if isinstance(key, tuple) else replace(one, id=key)
        for key, one in found.items()
        if one.point or key in there
    ]


def implied_marks(project: Project) -> dict[int, bool]:
    """Return what other corrections say: objects that were painted, filled or merged by hand are right."""
    named = {"paint": "id", "lasso": "id", "fill": "id", "put_object": "id", "merge": "keep"}
    # What a lasso takes away says no more than an eraser does.
    found: dict[int, bool] = {}
    for row in project.standing("relabel", *named):
        found = moved(found, renamed(row.kind, row.intent))
        if row.kind in named and not row.intent.get("subtract"):
            found |= dict.fromkeys(ids_in([row.intent.get(named[row.kind])]), True)
    return {id: True for id in found if id in project.table.counts}


def with_deleted(project: Project) -> tuple[Volume, list[int]]:
    """Return the labels with false objects that went back where nothing is now, and their ids.

    These are what was deleted by hand, unless it was marked right before, and what was marked false before false
    objects were dropped. Who deletes what is marked right may be mistaken then or now, or want it gone for another
    reason than that it is none: that teaches nothing.
    """
    labels, ids = project.labels, set[int]()
    judged = marks(project, gone=True)
    false, right = ({id for id, kind in judged.items() if kind is wanted} for wanted in (False, True))
    for row in project.standing("delete", "drop_false"):
        back = set(ids_in(row.intent.get("ids")))
        back = (back - right if row.kind == "delete" else back & false) - set(project.table.counts)
        if back:
            labels = project.labels.copy() if labels is project.labels else labels
            ids |= back
            for part in project.effect(row.seq):
                view, before = labels[part.box.slices], np.zeros(part.box.size, np.uint32)
                before[part.index] = np.repeat(part.runs[:, 2], part.runs[:, 1])
                before[~np.isin(before, list(back))] = 0
                view[...] = np.where(view == 0, before.reshape(view.shape), view)
    return labels, sorted(ids)


def verdicts(project: Project) -> Verdicts | None:
    """Return what was learned from marks when false objects were dropped last, where that still stands."""
    rows = project.standing("drop_false")
    try:
        return Verdicts.of(rows[-1].intent.get("verdicts")) if rows else None
    except InputError:  # a project from elsewhere may hold anything
        return None


def strokes(project: Project) -> list[Stroke]:
    """Return the strokes that say what pixels are, in the order in which they were drawn."""
    found = []
    for row in project.standing(*STROKES):
        try:  # a project from elsewhere may hold anything
            line = np.delete(unpacked_line(row.intent), AXES[row.intent["axis"]], axis=1)
            where = row.intent["axis"], int(row.intent["plane"])
            radius = float(row.intent["radius"])
            if math.isfinite(radius):
                found.append(Stroke(STROKES[row.kind], *where, line, radius))
        except (LookupError, TypeError, ValueError, OverflowError):
            continue
    return found


def taught(project: Project) -> tuple[str, str] | None:
    """Return the model that strokes taught, and the one that it stands for, where that still stands."""
    rows = project.standing("use_model")
    return (str(rows[-1].intent.get("model")), str(rows[-1].intent.get("instead"))) if rows else None


def ids_in(values: Any) -> list[int]:
    """Return the ids in a list of a journal; a project from elsewhere may hold anything."""
    return [id for id in values or () if type(id) is int and id > 0] if isinstance(values, list) else []
