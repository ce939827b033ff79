"""Teaching: what the marks of a session say of all its objects, and a model that learns from its strokes."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mitonb.edit import marks
from mitonb.errors import InputError, wanting_torch
from mitonb.job import drain
from mitonb.labels import Labels
from mitonb.models.folder import PUBLISHED, pinned, plain_name
from mitonb.models.spec import specs
from mitonb.post.verdicts import chances, describe_objects, learn_verdicts
from mitonb.recipe import Recipe
from mitonb.stack import AXES

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from mitonb.box import Box
    from mitonb.job import Progress
    from mitonb.learn.strokes import Taught
    from mitonb.maps import Maps
    from mitonb.recipe import Verdicts
    from mitonb.session.session import Session
    from mitonb.session.writer import Change
    from mitonb.stack import Axis

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


def teach_strokes(
    session: Session, *, recipe: Recipe | None = None, name: str | None = None, show: bool = True
) -> Taught:
    """Let a model learn from the strokes of a session, in a process of its own; it takes one to three minutes.

    The new model is in the model folder, and that it was taught is an edit: undo takes `session.taught` back.

    Parameters
    ----------
    session : Session
        With a stack and strokes of both kinds: `session.teach_mito`, `session.teach_not`.
    recipe : Recipe, optional
        Its model learns, on pixels as in a run of the recipe. One that was taught by these strokes before begins anew
        from where it began.
    name : str, optional
        Of the new model; by default that of the old one with "-strokes" and a number.
    show : bool
        Show a line of progress.

    Returns
    -------
    Taught
        The name of the model, and what it learned: ``recipe.replace(model=taught.model)``.

    Raises
    ------
    InputError
        If there is no image, there are not strokes of both kinds, the name is taken, or the model does not learn.
    ModelError
        If the model cannot be trained, or looks at blocks, or one may not bear this name.
    ReadOnlyStoreError
        If the session may only look.
    """
    return drain(teaching_strokes(session, recipe=recipe, name=name), show=show)


def teaching_strokes(
    session: Session, *, recipe: Recipe | None = None, name: str | None = None
) -> Generator[Progress, None, Taught]:
    """Let a model learn from strokes; the generator form of `teach_strokes`, for `mitonb.Job`."""
    recipe, stack, strokes, taught = recipe or Recipe(), session.stack, session.strokes, session.taught
    if stack is None:
        raise InputError("There is no image to learn from: open the stack that these labels belong to.")
    session._writer.require_writable()
    start = taught[1] if taught is not None and taught[0] == recipe.model else recipe.model
    known: dict[tuple[Axis, int], np.ndarray] = {}
    for number, one in enumerate(strokes, 1):
        sides = tuple(n for i, n in enumerate(stack.shape) if i != AXES[one.axis])
        one.put(known.setdefault((one.axis, one.plane), np.zeros(sides, np.int64)), number if one.mito else -number)
    with wanting_torch():
        from mitonb.learn.strokes import teaching
        from mitonb.models.zoo import writable_folder

    writable_folder()  # what could go wrong after the training is asked before it
    name = _free_name(start) if name is None else plain_name(name)
    if _is_taken(name):
        raise InputError(f"{name} is another model already. Give another name.")
    done = yield from teaching(stack, known, name, start=start, recipe=recipe)
    return dataclasses.replace(done, edit=session.use_model(done.model, instead=start, strokes=done.strokes).seq)


def _free_name(start: str) -> str:
    return next(name for k in itertools.count(1) if not _is_taken(name := f"{start[:60]}-strokes-{k}"))


def _is_taken(name: str) -> bool:
    return name in specs() or name in PUBLISHED or bool(pinned(name))
