"""The focus: where the user looks and what is selected."""

import numpy as np
import pytest

from mitonb.errors import InputError
from mitonb.session import Session
from tests.edit.drawing import labels


def test_selecting_tells_once_and_moving_each_time():
    session = Session(labels=labels())
    seen = []
    session.selected.connect(seen.append)
    session.moved.connect(seen.append)
    session.select(2, 1, 2)
    session.select(2, 1)
    session.move_to(99, -5, 3)
    session.move_to(2, 0, 3)
    session.select(0)
    assert seen == [(2, 1), (2, 0, 3), (2, 0, 3), ()], "background is no object; a viewer may have turned away"
    assert (session.selection, session.position) == ((), (2, 0, 3))


def test_going_to_an_object_selects_it_and_looks_at_a_voxel_of_it():
    ring = np.zeros((3, 9, 9), np.uint32)
    ring[1, 1:8, 1:8] = 4
    ring[1, 3:6, 3:6] = 0
    ring[0, 0, 0] = 9
    session = Session(labels=ring)
    session.go_to(4)
    assert session.selection == (4,)
    assert session.pick(*session.position) == 4, "the middle of a ring is not in it"
    seen = []
    session.moved.connect(seen.append)
    session.go_to(4)
    assert seen == [session.position], "whoever has looked elsewhere since comes back"
    with pytest.raises(InputError, match="no object 5"):
        session.go_to(5)


def test_stepping_goes_through_all_objects_and_around():
    session = Session(labels=labels())
    assert [session.step_object(1) for _ in range(3)] == [1, 2, 1]
    assert session.selection == (1,)
    assert session.step_object(-1) == 2
    session.select()
    assert session.step_object(-1) == 2
    assert Session(labels=np.zeros((2, 3, 4), np.uint32)).step_object(1) == 0


def test_positions_that_are_none_are_refused():
    session = Session(labels=labels())
    for call in (session.pick, session.move_to):
        with pytest.raises(InputError, match=r"\(z, y, x\)"):
            call(float("nan"), 0, 0)


def test_positions_go_to_the_nearest_voxel_as_pick_does():
    session = Session(labels=labels())
    session.move_to(0.6, 1.5, 2.4)
    assert session.position == (1, 2, 2)
    with pytest.raises(InputError, match="A position is"):
        session.move_to("here", 0, 0)


def test_going_to_an_edit_looks_at_a_voxel_that_it_changed_also_when_it_is_undone():
    session = Session(labels=labels())
    session.paint([[0, 6, 2], [0, 6, 6]], id=3, radius=0)
    session.merge(1, 2)
    ring = session.paint([[2, 1, 1], [2, 1, 7], [2, 5, 7], [2, 5, 1], [2, 1, 1]], id=8, radius=0).seq
    session.undo()
    session.go_to_edit(1)
    assert session.position == (0, 6, 4)
    session.go_to_edit(2)
    assert labels()[session.position] == 2
    for seq in (ring, ring + 1):
        session.move_to(0, 0, 0)
        session.go_to_edit(seq)
        z, y, x = session.position
        assert z == 2
        assert y in (1, 5) or x in (1, 7), "the middle of a ring is not where the brush was"
    seen = []
    session.moved.connect(seen.append)
    session.go_to_edit(ring)
    assert seen == [session.position], "whoever has looked elsewhere since comes back"


def test_an_edit_without_a_place_says_so():
    session = Session(labels=labels())
    session.set_voxel_size(8, 4, 4)
    session.adopt(np.flip(labels(), 2).copy())
    session.undo()
    here = session.position
    with pytest.raises(InputError, match="changed no voxel"):
        session.go_to_edit(1)
    for seq in (2, 3):
        with pytest.raises(InputError, match="all labels"):
            session.go_to_edit(seq)
    for seq in (0, 4, -1):
        with pytest.raises(InputError, match="no edit"):
            session.go_to_edit(seq)
    assert session.position == here


def test_more_objects_than_a_page_can_show_are_not_selected():
    session = Session(labels=labels())
    session.select(1)
    with pytest.raises(InputError, match="at most 10,000"):
        session.select(*range(1, 10_002))
    assert session.selection == (1,)


def test_labels_are_had_as_they_were_before_any_edit_also_an_undone_one():
    session = Session(labels=labels())
    states = [session.labels.data.copy()]
    for do in (
        lambda: session.merge(1, 2),
        session.undo,
        session.redo,
        lambda: session.adopt(np.flip(labels(), 2).copy()),
    ):
        do()
        states.append(session.labels.data.copy())
    for seq, before in enumerate(states, 1):
        assert np.array_equal(session.labels_before(seq).data, before), seq
    assert np.array_equal(session.labels_before().data, states[-2]), "the last run"
    for seq in (0, len(states) + 1):
        with pytest.raises(InputError, match=f"no edit {seq}"):
            session.labels_before(seq)
    with pytest.raises(InputError, match="no run yet"):
        Session(labels=labels()).labels_before()
