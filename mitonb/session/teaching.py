"""Teaching: what the marks of a session say of all its objects, learned anew after each mark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from mitonb.edit import marks
from mitonb.labels import Labels
from mitonb.post.verdicts import chances, describe_objects, learn_verdicts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mitonb.box import Box
    from mitonb.maps import Maps
    from mitonb.recipe import Verdicts
    from mitonb.session.session import Session
    from mitonb.session.writer import Change

FEWEST = 3
"""Marks of each kind that it takes to learn."""


@dataclass(frozen=True)
class Lesson:
    """What was learned.

    Attributes
    ----------
    marks : mapping of int to bool
        Objects that are marked, right or false.
    right, false : int
        How many there are to learn from, also those that other corrections imply.
    verdicts : Verdicts or None
        None while there are fewer than three of a kind.
    chances : Series
        How probably each object is right, by id; empty without verdicts.
    """

    marks: Mapping[int, bool]
    right: int
    false: int
    verdicts: Verdicts | None
    chances: pd.Series[float]

    def false_ids(self, below: float) -> list[int]:
        """Return what would be dropped: what is marked false, or right with less than a probability and not marked."""
        return [int(id) for id, p in self.chances.items() if not self.marks.get(id, p >= below)]


class Teacher:
    """Learns from the marks of a session, and from its other corrections, which objects are false.

    Objects that were deleted by hand count as false, those that were painted, filled or merged, as right; of those that
    were marked right and then deleted nothing is learned.

    Parameters
    ----------
    session : Session
        With a stack.
    maps : callable, optional
        Returns the maps of an xy plane, or None where the net has not run.
    """

    def __init__(self, session: Session, maps: Callable[[int], Maps | None] | None = None) -> None:
        self.session, self.maps = session, maps
        self._features = pd.DataFrame()
        self._changed: Box | None = None
        session.edited.connect(self._on_edited)

    def learn(self) -> Lesson | None:
        """Return what the marks say now; None while nothing is marked, or without an image."""
        with self.session._lock:
            project = self.session._project
            if self.session.stack is None or not marks.marks(project, gone=True):
                return None
            marked, deleted = marks.marks(project), marks.with_deleted(project)[1]
            judged = {**dict.fromkeys(deleted, False), **marks.implied_marks(project), **marked}
        right = sum(judged.values())
        false = len(judged) - right
        if min(right, false) < FEWEST:
            return Lesson(marked, right, false, None, pd.Series(dtype=float))
        features = self.describe()
        verdicts = learn_verdicts(features, {id: kind for id, kind in judged.items() if id in features.index})
        return Lesson(marked, right, false, verdicts, chances(verdicts, features.drop(index=deleted, errors="ignore")))

    def describe(self) -> pd.DataFrame:
        """Return what is known of each object, and of the false ones that are gone; what has not changed is kept."""
        with self.session._lock:
            labels, deleted = marks.with_deleted(self.session._project)
            there, stack = dict(self.session._project.table.boxes), self.session.stack
            changed, self._changed = self._changed, None
        assert stack is not None
        known = self._features.index
        new = [id for id in (*there, *deleted) if id not in known]
        new += [id for id, box in there.items() if changed is not None and id in known and box.meets(changed)]
        if new:
            fresh = describe_objects(Labels(labels), stack, maps=self.maps, ids=new)
            kept = self._features.drop(index=fresh.index, errors="ignore")
            self._features = pd.concat([kept, fresh]) if len(kept) else fresh
        self._features = self._features[self._features.index.isin([*there, *deleted])].sort_index()
        return self._features

    def forget(self) -> None:
        """Describe all objects anew the next time: the net has said other things of them."""
        self._features = pd.DataFrame()

    def _on_edited(self, change: Change) -> None:
        if change.box.size:
            self._changed = change.box if self._changed is None else change.box.union(self._changed)
