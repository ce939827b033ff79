"""Another id: marks, notes, the selection and the queue go with the object, and undo brings them back."""

import numpy as np
import pytest

from mitonb.edit import marks
from mitonb.errors import InputError
from mitonb.session import Session
from mitonb.session.doubts import Doubt
from mitonb.session.merging import take_over
from tests.edit.drawing import labels


def facts(session):
    seen = {id: one.last for id, one in marks.seen(session._project).items() if session.voxels(id)}
    return session.marks, seen, [(one.id, one.text) for one in session.noted], marks.implied_marks(session._project)


def test_all_that_was_said_of_an_object_goes_with_it_and_comes_back(tmp_path):
    path = tmp_path / "a.mitonb"
    with Session(labels=labels(), path=path) as session:
        session.mark_right(1)
        session.note("odd", 1)
        session.paint([[0, 7, 8]], id=1, radius=0)
        session.mark_false(2)
        session.mark_fix(2)
        before = facts(session)
        session.select(2, 1)
        change = session.relabel(1, 12)
        assert (change.id, change.renamed, session.ids(), session.selection) == (12, (1, 12), [2, 12], (2, 12))
        after = ({12: True}, {12: "corrected", 2: "fix"}, [(12, "odd")], {12: True})
        assert facts(session) == after
        assert session.history()[-1].code == "session.relabel(1, 12)"
        session.undo()
        assert (facts(session), session.selection) == (before, (2, 1))
        session.redo()
        assert session.relabel(2).renamed == (2, 13), "one that is free"
    with Session.open(path) as session:
        assert facts(session) == ({12: True}, {12: "corrected", 13: "fix"}, [(12, "odd")], {12: True})
        assert session.replay() == session.version


def test_what_stood_by_the_new_id_before_is_of_another_object():
    session = Session(labels=labels())
    session.mark_false(2)
    session.note("gone", 2)
    session.delete(2)
    session.relabel(1, 2)
    assert (session.marks, session.noted) == ({}, [])
    session.mark_right(2)
    session.relabel(2, 1)
    assert session.marks == {1: True}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ((1, 2), "There is an object 2 already. Give object 1 an id that is free, or merge"),
        ((1, 1), "Object 1 has this id already"), ((1, 0), "0 is background"), ((0, 5), "0 is background"),
        ((1, -3), "from 0 to 4294967295"), ((1, 2**32), "from 0 to 4294967295"), ((1, "7"), "whole number"),
        ((1, 2.5), "whole number"), ((9, 5), "There is no object 9"),
    ],
)  # fmt: skip
def test_what_cannot_be_an_id_is_refused(given, why):
    session = Session(labels=labels())
    with pytest.raises(InputError, match=why):
        session.relabel(*given)
    session.lock(1)
    with pytest.raises(InputError, match="Object 1 is locked"):
        session.relabel(1, 5)
    assert session.version == 1


def test_a_run_keeps_what_was_corrected_by_its_new_id_and_nothing_for_the_id_alone():
    session = Session(labels=labels())
    session.paint([[0, 1, 3]], id=1, radius=0)
    session.relabel(1, 30)
    session.relabel(2, 40)
    run = np.zeros_like(labels())
    run[1, 4:6, 3:8] = 5  # what was 2, and a column more
    assert session.adopt(run).kept == 1
    assert {id: session.voxels(id) for id in session.ids()} == {30: 5, 40: 10}


def test_what_waits_in_a_review_goes_on_by_the_new_id():
    session = Session(labels=labels())
    doubt = Doubt(1, 0.5, ("seems to go on as 2 on plane 1", "meets 22 in a border as wide as itself"), (0, 1, 1),
                  ("merge", {"keep": 2, "gone": [1]}))  # fmt: skip
    session.review([doubt])
    session.step_object(1)
    session.relabel(1, 11)
    session.relabel(2, 12)
    (now,) = session.open_doubts()
    assert session.doubt is now
    assert now.fix == ("merge", {"keep": 12, "gone": [11]})
    assert str(now) == "Object 11: seems to go on as 12 on plane 1; meets 22 in a border as wide as itself"
    session.undo()
    assert session.doubt.fix == ("merge", {"keep": 2, "gone": [11]})


def test_an_id_that_another_annotator_chose_is_kept_where_it_is_free_or_means_the_same():
    mine, other = (Session(labels=labels()) for _ in range(2))
    other.relabel(1, 50)
    other.mark_right(50)
    other.relabel(2, 60)
    mine.relabel(1, 50)
    mine.paint([[2, 0, 0]], id=60, radius=0)
    assert take_over(mine, other) == (2, [])
    assert mine.marks == {50: True}
    assert mine.ids() == [50, 60, 61], "60 is taken here"
