"""A review: the queue leads to what nobody has seen, verdicts are kept and undone, and a sample says what it may."""

from dataclasses import replace

import numpy as np
import pytest

from mitonb.errors import InputError
from mitonb.session import Session
from mitonb.session.doubts import Doubt, find_doubts
from mitonb.session.review import ReviewProgress, judge, review_progress, shuffled


def boxes(count=12):
    """Return labels with boxes of six voxels on a side, and one place (1, 3, 3) that is free."""
    labels = np.zeros((6, 10, 8 * count + 8), np.uint32)
    for k in range(count):
        labels[:, 2:8, 8 * k + 8 : 8 * k + 14] = k + 1
    return labels


def queue(*ids):
    return [Doubt(id, 0.5, ("so",), (2, 4, 8 * id + 2)) for id in ids]


def place():
    return Doubt(
        0, 0.7, ("missing",), (1, 3, 3), ("put_object", {"start": (1, 2, 2), "mask": np.ones((2, 3, 3), bool)})
    )


def test_the_queue_is_gone_through_in_its_order_and_what_was_seen_is_left_out():
    session = Session(labels=boxes())
    told = []
    session.reviewing.connect(lambda doubt: told.append(doubt and doubt.id))
    session.review(queue(7, 3, 9))
    assert session.doubt is None
    assert [session.step_object(1) for _ in range(4)] == [7, 3, 9, 7]
    assert session.step_object(-1) == 9
    session.mark_right(3)
    session.mark_unsure(7)
    assert [session.step_object(1) for _ in range(2)] == [9, 9]
    session.merge(9, 10)
    session.select(4)
    assert session.step_object(1) == 5  # of all objects, since nothing waits
    assert session.doubt is None
    assert told == [None, 7, 3, 9, 7, 9, 9, 9, None]
    for _ in range(3):
        session.undo()
    assert len(session.open_doubts()) == 3
    session.review([])
    assert session.step_object(1) == 6  # of the next id again


def test_a_place_is_dismissed_or_taken():
    session = Session(labels=boxes())
    session.select(4)
    session.review([place(), *queue(2)])
    assert session.step_object(1) == 0
    assert (session.doubt.id, session.selection, session.position) == (0, (), (1, 3, 3))
    session.dismiss(session.doubt.at)
    assert [session.step_object(1), len(session.open_doubts())] == [2, 1]
    session.undo()
    verb, given = place().fix
    change = session.do(verb, **given)
    assert session.voxels(13) == 18
    assert session.history()[-1].sentence == "Put object 13 where nothing was."
    assert change.box.start == (1, 2, 2)
    assert [one.id for one in session.open_doubts()] == [2]
    session.undo()
    assert session.pick(1, 3, 3) == 0
    with pytest.raises(InputError):
        session.put_object((5, 8, 8), np.ones((4, 4, 4), bool))
    with pytest.raises(InputError, match="3 axes"):
        session.put_object((0, 0, 0), np.ones((4, 4), bool))


def test_an_object_that_is_taken_leaves_others_as_they_are():
    session = Session(labels=boxes())
    before = session.labels.data.copy()
    session.put_object((0, 0, 0), np.ones(session.shape, bool), 99)
    assert ((session.labels.data == 99) == (before == 0)).all()
    assert (session.labels.data[before > 0] == before[before > 0]).all()


def test_what_is_to_be_mended_can_be_gone_through_again():
    session = Session(labels=boxes())
    session.review(queue(1, 2, 3, 4))
    session.mark_fix(2)
    session.mark_unsure(3)
    session.mark_right(4)
    assert [one.id for one in session.open_doubts()] == [1]
    session.review(queue(1, 2, 3, 4), again=True)
    assert [session.step_object(1) for _ in range(3)] == [2, 3, 2]
    session.grow(2)
    assert [one.id for one in session.open_doubts()] == [3]


def test_verdicts_survive_in_the_project(tmp_path):
    with Session(labels=boxes(), path=tmp_path / "a.mitonb") as session:
        session.review(queue(1, 2, 3))
        session.mark_fix(1)
        session.dismiss((0, 0, 0))
    with Session.open(tmp_path / "a.mitonb") as session:
        session.review([*queue(1, 2, 3), Doubt(0, 0.1, (), (0, 0, 0))])
        assert [one.id for one in session.open_doubts()] == [2, 3]
        assert session.history()[-1].code == "session.dismiss((0, 0, 0))"


def test_a_sample_in_random_order_says_how_many_were_right_as_they_were_found():
    session = Session(labels=boxes(40))
    doubts = queue(*range(1, 41))
    order = [one.id for one in shuffled([*doubts, place()])]
    assert sorted(order) == list(range(1, 41))
    assert order != sorted(order)
    assert order == [one.id for one in shuffled(doubts[::-1])]
    session.review(shuffled(doubts))
    for id in order[:9]:
        session.mark_right(id)
    assert review_progress(session).right is None
    session.mark_fix(order[9])
    session.mark_right(order[9])  # mended since: it was wrong as it was found
    session.mark_right(order[30])  # out of the order: it stands for nothing
    session.put_object((1, 2, 2), np.ones((2, 3, 3), bool))  # what was made is no sample of what was found
    session.split(order[0], (1, 3, 8 * order[0] + 1), (1, 6, 8 * order[0] + 4))
    said = review_progress(session)
    assert (said.seen, said.total, said.sample) == (11, 40, 10)
    share, low, high = said.right
    assert (share, round(low, 3), round(high, 3)) == (0.9, 0.596, 0.982)  # Wilson's interval of 9 of 10


def test_a_new_run_is_to_be_looked_at_again_but_for_what_was_mended():
    session = Session(labels=boxes())
    session.mark_right(1)
    session.grow(2)
    session.dismiss((1, 3, 3))
    other = boxes()
    other[5] = 0
    session.adopt(other)
    session.review([*queue(1, 2, 3), place()])
    assert [one.id for one in session.open_doubts()] == [1, 3, 0]


def test_a_place_stays_dismissed_when_it_is_found_again_a_voxel_away():
    session = Session(labels=boxes())
    session.dismiss((2, 4, 4))
    session.review([place(), replace(place(), at=(1, 3, 4))])
    assert session.open_doubts() == []


def test_a_verdict_is_about_the_doubt_that_was_meant():
    session = Session(labels=boxes())
    session.review(queue(3, 5))
    with pytest.raises(InputError, match="Go to a doubt first"):
        judge(session, "mark_right")
    session.step_object(1)
    at = session.doubt.at
    for _ in range(2):  # told twice, it is done once
        judge(session, "mark_fix", at)
    assert session.doubt.id == 5
    assert [entry.text for entry in session.history()] == ["marked object 3 to be mended"]
    session.adopt(np.zeros_like(boxes()), replace_corrected=True)  # what is gone unseen is no part of the review
    assert (review_progress(session).seen, review_progress(session).total) == (0, 0)
    session.undo()
    session.review([place()])
    session.step_object(1)
    with pytest.raises(InputError, match="no object here to mark"):
        judge(session, "mark_unsure")
    judge(session, "mark_right")
    session.select(7)
    with pytest.raises(InputError, match="Go to a doubt first"):
        judge(session, "mark_right")
    with pytest.raises(InputError):
        session.review([replace(place(), at=(9, 9, 999))])


def test_progress_is_said_in_words():
    said = str(ReviewProgress(41, 230, 700.0, 60, (0.93, 0.84, 0.97)))
    assert said == "41 of 230 seen, about 12 minutes left, 93% were right (84% to 97%) by a random sample of 60"
    assert str(ReviewProgress(3, 3, 9.0, 0, None)) == "3 of 3 seen"


def test_each_advice_can_be_taken_as_it_is():
    labels = boxes(4)
    labels[3][labels[3] == 2] = 0
    labels[:, :, 8:14][labels[:, :, 8:14] == 1] = 0
    labels[0, 4, 10] = 1
    session = Session(labels=labels)
    for doubt in find_doubts(session.labels):
        if doubt.fix:
            assert doubt.advice
            session.do(doubt.fix[0], **doubt.fix[1])
    assert not any(one.fix for one in find_doubts(session.labels))
