"""Two annotators who began with the same labels: what one did is done in the project of the other, where it fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mitonb.edit.edits import around
from mitonb.edit.verbs import VERBS
from mitonb.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from mitonb.box import Box
    from mitonb.edit.edits import Part
    from mitonb.edit.store import Row
    from mitonb.session.session import Session

    _Changes = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class Conflict:
    """An edit that was not taken over.

    Attributes
    ----------
    seq : int
        Its number in the other project.
    text : str
        What it was, with the ids of the other project.
    ids : tuple of int
        Objects that are in this project where it changed something.
    box : Box
        Where that is.
    """

    seq: int
    text: str
    ids: tuple[int, ...]
    box: Box


def take_over(session: Session, other: Session) -> tuple[int, list[Conflict]]:
    """Do the edits that stand in another project in this one, in their order.

    An edit is taken over if it finds here, voxel by voxel, what it found there, and does the same; what was done here,
    too, need not be taken. New objects get ids that are free here.

    Parameters
    ----------
    session, other : Session
        Of projects that began with the same labels; the other is not changed.

    Returns
    -------
    taken : int
        How many edits were taken over.
    conflicts : list of Conflict
        The others, in order; those that follow from one that was not taken are among them.

    Raises
    ------
    InputError
        If the projects began with other labels.
    """
    first = session.labels_before(1).data
    if first.shape != other.shape or not all(map(np.array_equal, first, other.labels_before(1).data)):
        raise InputError("These projects did not begin with the same labels. Merge projects that are copies of one.")
    old = {id for plane in first for id in np.unique(plane).tolist()}
    names, taken, conflicts = dict[int, int](), 0, list[Conflict]()
    for entry in other.history():
        if entry.stands:
            row = other._project.rows[entry.seq - 1]
            parts = other._project.effect(entry.seq)
            new = sorted({int(id) for part in parts for id in np.unique(part.runs[:, 3])} - old - names.keys())
            names |= zip(new, session._project.free_ids(len(new), among=names.values()), strict=True)
            for id in new if row.kind == "relabel" else ():  # chosen: kept where it is free, or means the same here
                here = session.labels.data.reshape(-1)[_changes(parts, session.shape, names)[0]]
                if (session.is_free(id) and id not in names.values()) or (here == id).all():
                    names[id] = id
            changes = where, _, after = _changes(parts, session.shape, names)
            here = session.labels.data.reshape(-1)[where]
            if len(where) and np.array_equal(here, after):
                continue
            version = session.version
            try:
                fits = _do(session, row, names, changes) if entry.whole else _put(session, changes)
            except InputError:  # there is no such object any more, say
                fits = False
            taken += session.version > version
            if not fits:
                conflicts.append(Conflict(entry.seq, entry.text, tuple(np.unique(here).tolist()), around(parts)))
    return taken, conflicts


def _do(session: Session, row: Row, names: Mapping[int, int], wanted: _Changes) -> bool:
    """Do a verb with renamed objects, if it changes what it changed there."""
    given = VERBS[row.kind].given(dict(row.intent))
    given |= {name: names.get(given[name], given[name]) for name in ("id", "to", "keep", "only") if name in given}
    given |= {name: [names.get(id, id) for id in given[name]] for name in ("ids", "gone", "new") if name in given}
    found = _changes(session.preview(row.kind, **given).parts, session.shape, {})
    fits = all(map(np.array_equal, found, wanted))
    if fits:
        session.do(row.kind, **given)
    return fits


def _put(session: Session, wanted: _Changes) -> bool:
    """Put what came of an edit whose arguments are in no journal, plane by plane, where all is as it found it."""
    where, before, after = wanted
    labels = session.labels.data
    # A plane that is refused after others were put would leave one half of the edit.
    fixed = np.isin([before, after], session.locked).any()
    fits = len(where) > 0 and np.array_equal(labels.reshape(-1)[where], before) and not fixed
    if fits:
        planes = where // labels[0].size
        for z in np.unique(planes).tolist():
            plane, there = np.array(labels[z]), planes == z
            plane.flat[where[there] % plane.size] = after[there]
            session.put_plane(plane, "xy", z)
    return fits


def _changes(parts: tuple[Part, ...], shape: tuple[int, int, int], names: Mapping[int, int]) -> _Changes:
    """Return the flat index of each voxel that an effect changes, in order, and the ids there before and after."""
    rows = [np.zeros((3, 0), np.int64)]
    for part in parts:
        at = np.unravel_index(part.index, part.box.shape)
        flat = np.ravel_multi_index([a + o for a, o in zip(at, part.box.start, strict=True)], shape)
        ids = [[names.get(id, id) for id in column] for column in part.runs[:, 2:].T.tolist()]
        rows.append(np.stack([flat, *np.repeat(np.array(ids, np.int64), part.runs[:, 1], axis=1)]))
    where, before, after = (changes := np.concatenate(rows, axis=1))[:, np.argsort(changes[0])]
    return where, before, after
