"""Marks are edits: the journal keeps them, undo takes them back, and they teach which other objects are false."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mitonb.box import Box
from mitonb.edit import marks
from mitonb.errors import InputError
from mitonb.recipe import Verdicts
from mitonb.session import Session
from mitonb.session.teaching import Teacher
from mitonb.stack import Stack

if TYPE_CHECKING:
    from pathlib import Path

DARK, BRIGHT = range(1, 13, 2), range(2, 13, 2)


@pytest.fixture
def session(path: Path) -> Session:
    """Twelve boxes in two planes; those with odd numbers are dark, as mitochondria are, the others bright."""
    labels = np.zeros((2, 60, 240), np.uint32)
    for k in range(12):
        labels[:, 20 : 40 - k % 3, 4 + 20 * k : 18 + 20 * k] = k + 1
    image = np.random.default_rng(0).normal(128, 4, labels.shape)
    image[labels > 0] += np.where(labels[labels > 0] % 2, -60, 60)
    return Session(Stack(image.clip(0, 255).astype(np.uint8)), labels, path)


def test_a_mark_is_a_line_of_the_history_that_undo_takes_back(session: Session) -> None:
    assert session.marks == {}
    change = session.mark_right(1, 3)
    assert (change.what, change.box.size) == ("mark_right", 0)
    session.mark_false(2)
    session.mark_false(3)
    assert session.marks == {1: True, 3: False, 2: False}
    # Marked so already: nothing changes.
    assert session.mark_false(2, 3).what == "nothing"
    session.unmark(1)
    assert session.marks == {3: False, 2: False}
    session.undo()
    session.undo()
    assert session.marks == {1: True, 3: True, 2: False}
    session.redo()
    assert [(e.text, e.code, e.undone) for e in session.history()[:4]] == [
        ("marked objects 1, 3 right", "session.mark_right(1, 3)", False),
        ("marked object 2 false", "session.mark_false(2)", False),
        ("marked object 3 false", "session.mark_false(3)", False),
        ("took the mark off object 1", "session.unmark(1)", True),
    ]
    # An entry of the history leads to what was marked.
    session.go_to_edit(2)
    assert (session.selection, session.pick(*session.position)) == ((2,), 2)
    for wrong in ((), (0,), (99,), ("1",), ([1],)):
        with pytest.raises(InputError):
            session.mark_right(*wrong)
    assert session.version == 7


def test_marks_are_there_again_when_the_project_is_opened(session: Session, path: Path) -> None:
    session.mark_right(1)
    session.mark_false(2, 4)
    session.delete(4)
    session.close()
    with Session.open(path) as again:
        assert again.marks == {1: True, 2: False}
        again.undo()
        assert again.marks == {1: True, 2: False, 4: False}
        again.undo()
        assert again.marks == {1: True}


def test_three_marks_of_each_kind_tell_the_other_objects(session: Session) -> None:
    teacher = Teacher(session)
    assert teacher.learn() is None
    session.mark_right(1, 3, 5)
    session.mark_false(2, 4)
    few = teacher.learn()
    assert few is not None
    assert (few.right, few.false, few.verdicts) == (3, 2, None)
    assert few.false_ids(0.5) == []
    session.mark_false(6)
    lesson = teacher.learn()
    assert lesson is not None
    assert lesson.verdicts is not None
    assert lesson.false_ids(0.5) == list(BRIGHT)
    # What is marked stays or goes as it is marked, whatever the probability.
    assert set(lesson.false_ids(0.0)) == {2, 4, 6}
    assert set(lesson.false_ids(1.0)) == set(range(1, 13)) - {1, 3, 5}
    # Undoing a mark undoes what it taught.
    session.undo()
    assert (lesson := teacher.learn()) is not None
    assert lesson.verdicts is None


def test_what_is_deleted_counts_as_false_and_what_is_painted_or_merged_as_right(session: Session) -> None:
    teacher = Teacher(session)
    session.mark_right(1)
    session.delete(2, 4)
    session.delete(6)
    session.lasso([(0, 25, 166), (0, 25, 170), (0, 28, 170)], id=9, subtract=True)  # says nothing of 9
    session.paint([(0, 30, 44)], id=3, radius=2)
    session.merge(5, 7)
    lesson = teacher.learn()
    assert lesson is not None
    assert (lesson.right, lesson.false) == (3, 3)
    assert lesson.false_ids(0.5) == [8, 10, 12]
    # A teacher who comes later, as after reopening, learns the same from the journal.
    later = Teacher(session).learn()
    assert later is not None
    assert np.allclose(later.chances, lesson.chances)
    session.undo()
    session.undo()
    assert (lesson := teacher.learn()) is not None
    assert (lesson.right, lesson.verdicts) == (1, None)


def test_dropping_false_objects_is_one_edit_that_keeps_what_was_learned(session: Session, path: Path) -> None:
    teacher = Teacher(session)
    session.mark_right(1, 3, 5)
    session.mark_false(2, 4, 6)
    lesson = teacher.learn()
    assert lesson is not None
    assert session.verdicts is None
    session.drop_false(*lesson.false_ids(0.5), verdicts=lesson.verdicts)
    assert session.ids() == list(DARK)
    assert session.verdicts == lesson.verdicts
    entry = session.history()[-1]
    assert entry.sentence == "Dropped objects 2, 4, 6, 8, 10, 12, false by verdicts."
    assert entry.code == "session.drop_false(2, 4, 6, 8, 10, 12)"
    # What was marked false is remembered as such, what only followed from it is not taken for a mark.
    again = teacher.learn()
    assert again is not None
    assert (again.right, again.false) == (3, 3)
    assert again.false_ids(0.5) == []
    session.close()
    with Session.open(path) as reopened:
        assert isinstance(reopened.verdicts, Verdicts)
        assert reopened.verdicts == lesson.verdicts
        reopened.undo()
        assert (reopened.verdicts, len(reopened.ids())) == (None, 12)
    with pytest.raises(InputError, match="verdicts are what"):
        Session(labels=session.labels).drop_false(1, verdicts=3)


def test_only_objects_that_an_edit_touched_are_described_anew(session: Session) -> None:
    session.mark_right(1, 3, 5)
    session.mark_false(2, 4, 6)
    teacher, asked = Teacher(session), list[int]()
    teacher.maps = asked.append  # type: ignore[assignment]
    teacher.learn()
    assert asked
    asked.clear()
    session.mark_right(7)
    teacher.learn()
    assert not asked
    session.paint([(0, 25, 30)], id=90, radius=3)
    teacher.learn()
    assert asked == [0, 1]
    assert np.allclose(teacher.learn().chances, Teacher(session).learn().chances)  # type: ignore[union-attr]


def test_what_is_marked_right_and_deleted_later_teaches_nothing(session: Session) -> None:
    teacher = Teacher(session)
    session.mark_right(1, 3)
    session.mark_false(2)
    session.delete(3)
    lesson = teacher.learn()
    assert lesson is not None
    assert (lesson.right, lesson.false) == (1, 1)
    session.undo()
    assert (lesson := teacher.learn()) is not None
    assert (lesson.right, lesson.false) == (2, 1)


def test_an_object_that_goes_while_it_is_described_is_left_out(session: Session) -> None:
    session.mark_right(1, 3, 5)
    session.mark_false(2, 4, 6)

    def erase(_: int) -> None:
        if session.version == 2:
            session.delete(12)

    teacher = Teacher(session, maps=erase)  # type: ignore[arg-type]
    lesson = teacher.learn()
    assert lesson is not None
    assert set(lesson.chances.index) == set(session.ids())
    session.undo()
    assert (lesson := teacher.learn()) is not None
    assert 12 in lesson.chances.index
    assert not teacher.describe().drop(columns="probability").iloc[:, :13].isna().any().any()


def test_what_is_reviewed_is_kept_undone_and_left_alone_by_runs(session: Session, path: Path) -> None:
    half, plane, whole = ((0, 0, 0), (1, 60, 120)), ((0, 0, 0), (1, 60, 240)), ((0, 0, 0), (2, 60, 240))
    session.mark_reviewed(*half)
    # Inside of it, or nothing to take back: nothing changes.
    assert session.mark_reviewed((0, 0, 0), (1, 9, 9)).what == "nothing"
    assert session.mark_reviewed((1, 0, 0), (2, 60, 240), reviewed=False).what == "nothing"
    assert session.mark_reviewed(*plane).box.size == 0
    assert session.reviewed == [Box(*plane)]
    session.undo()
    assert session.reviewed == [Box(*half)]
    before = session.labels.data.copy()
    found = np.zeros_like(before)
    found[:, 30:50, 100:180] = 1  # from the reviewed half into the other
    session.adopt(found)
    assert (session.labels.data[0, :, :120] == before[0, :, :120]).all()
    assert (session.labels.data[0, 30:50, 120:180] > 0).all()
    session.adopt_plane(np.zeros((60, 240), np.uint32), "xy", 0)
    assert (session.labels.data[0, :, :120] == before[0, :, :120]).all()
    assert not session.labels.data[0, :, 120:].any()
    session.close()
    with Session.open(path) as again:
        assert again.reviewed == [Box(*half)]
        again.adopt_plane(found[:, 40], "xz", 40, replace_corrected=True)  # a plane through it
        assert again.reviewed == []
        again.undo()
        again.adopt(found, replace_corrected=True)
        assert again.reviewed == []
        again.undo()
        assert again.mark_reviewed(*whole, reviewed=False).what == "mark_reviewed"
        assert again.reviewed == []
        assert [(e.text, e.code) for e in again.history() if e.text.startswith("called")][::2] == [
            ("called xy plane 0 (y 0-59, x 0-119) reviewed", "session.mark_reviewed((0, 0, 0), (1, 60, 120))"),
            (
                "called xy planes 0-1 (y 0-59, x 0-239) reviewed no more",
                "session.mark_reviewed((0, 0, 0), (2, 60, 240), reviewed=False)",
            ),
        ]
        again.go_to_edit(1)
        assert again.position == (0, 30, 60)
        for wrong in (((0, 0, 0), (3, 60, 240)), ((0, 5, 5), (1, 5, 9)), ((0, 0), (1, 1, 1)), ((0, 0, 0), 1)):
            with pytest.raises(InputError):
                again.mark_reviewed(*wrong)  # type: ignore[arg-type]


def test_what_edits_say_of_objects_is_the_same_edit_by_edit_and_read_at_once(tmp_path):
    def told(session):
        notes = [(one.text, one.id) for one in session.noted]
        seen = marks.seen(session._project)
        return session.marks, session.doubted, session.locked, notes, session.reviewed, seen

    labels = np.repeat(np.arange(1, 7, dtype=np.uint32), 4).reshape(1, 1, 24).repeat(4, axis=1)
    random = np.random.default_rng(7)
    with Session(labels=labels, path=tmp_path / "a.mitonb") as session:
        can = [
            *(getattr(session, name) for name in ("mark_right", "mark_false", "mark_fix", "mark_unsure", "unmark")),
            session.lock, session.unlock, session.delete,
            lambda id: session.note("look", id), lambda id: session.paint([[0, 1, 4 * id - 2]], id=id, radius=1),
            lambda id: session.mark_reviewed((0, 0, id), (1, 2, id + 1)), lambda id: session.merge(id, id % 6 + 1),
            lambda _: session.adopt(labels[:, ::-1]), lambda _: session.undo(), lambda _: session.undo(),
            lambda _: session.undo_to(int(random.choice(session.reachable))), lambda _: session.redo(),
        ]  # fmt: skip
        for _ in range(120):
            with contextlib.suppress(InputError):
                can[random.integers(len(can))](int(random.integers(1, 7)))
            session.doubted  # noqa: B018 (it is followed from here)
            with Session.open(tmp_path / "a.mitonb", read_only=True) as again:
                assert told(again) == told(session)
        assert session.version > 60
