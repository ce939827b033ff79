"""The session: verbs, signals, saving states."""

import logging
import threading

import numpy as np
import pytest

from mitonb.box import Box
from mitonb.errors import InputError, ReadOnlyStoreError, StoreError
from mitonb.labels import Labels
from mitonb.session import Change, Session
from tests.edit.drawing import SHAPE, image, labels


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cell.mitonb"


def test_a_session_needs_something_to_look_at():
    with pytest.raises(InputError, match="a stack, labels, or both"):
        Session()


def test_a_stack_alone_starts_with_empty_labels():
    session = Session(image())
    assert session.shape == SHAPE
    assert not session.labels.data.any()
    assert session.ids() == []
    assert not session.can_undo


def test_the_given_labels_are_copied_and_the_view_is_read_only_and_live():
    given = labels()
    session = Session(labels=given)
    view = session.labels.data
    with pytest.raises(ValueError, match="read-only"):
        view[0, 0, 0] = 1
    session.paint([[2, 0, 0]], id=3, radius=0)
    assert view[2, 0, 0] == 3
    assert np.array_equal(given, labels())


def test_verbs_say_what_changed_and_where():
    session = Session(labels=labels())
    seen = []
    session.edited.connect(seen.append)
    assert session.merge(1, 2) == Change(1, Box((1, 4, 4), (2, 6, 8)), "merge")
    assert session.undo() == Change(2, Box((1, 4, 4), (2, 6, 8)), "undo")
    assert session.redo().what == "redo"
    nothing = session.erase([[2, 0, 0]], radius=1)
    assert (nothing.seq, nothing.box.size, nothing.what) == (3, 0, "nothing")
    assert [c.what for c in seen] == ["merge", "undo", "redo"]
    assert session.version == 3


def test_a_new_edit_ends_redoing():
    session = Session(labels=labels())
    session.delete(1)
    session.undo()
    assert session.can_redo
    session.delete(2)
    assert not session.can_redo
    with pytest.raises(InputError, match="nothing to redo"):
        session.redo()


def test_undoing_past_the_beginning_is_refused():
    with pytest.raises(InputError, match="nothing to undo"):
        Session(image()).undo()


def test_new_ids_never_come_back_even_when_what_had_them_is_undone(path):
    session = Session(labels=labels(), path=path)
    assert session.new_id() == 3
    session.paint([[0, 7, 7]], id=session.new_id(), radius=1)
    session.undo()
    session.close()
    with Session.open(path) as again:
        assert again.new_id() == 5
        again.paint([[0, 7, 7]], id=2**32 - 1, radius=0)
        assert again.pick(0, 7, 7) == 4294967295
        assert again.new_id() == 6


def test_an_id_at_the_end_which_minus_one_becomes_leaves_room_below_it(path):
    data = labels()
    data[2, 0, 0] = np.array(-1).astype(np.uint32)
    session = Session(labels=data, path=path)
    session.delete(2)  # may come back by undo
    assert [session.new_id(), session.new_id()] == [3, 4]
    assert session.paint([[0, 7, 7]], id=None, radius=0).id == 5
    session.put_plane(np.pad(np.array([[1, 2]]), ((0, 7), (0, 7))), "xy", 2, fresh=True)
    assert session.labels.data[2, 0, :3].tolist() == [6, 7, 0]
    session.close()
    with Session.open(path) as again:
        assert again.new_id() == 8


def test_a_promised_id_goes_to_nothing_else_whatever_comes_between(path):
    session = Session(labels=np.zeros(SHAPE, np.uint32), path=path)
    mine = session.new_id()
    assert mine == 1
    session.adopt(labels())  # a run numbers its objects from 1, too
    assert session.ids() == [2, 3]
    session.undo()
    session.redo()
    session.put_plane(labels()[1], "xy", 2, fresh=True)
    session.adopt_plane(labels()[0], "xy", 2)
    copy = session.save_copy(path.parent / "copy.mitonb")
    session.close()
    for place in (path, copy):
        with Session.open(place) as again:
            again.adopt(labels())
            assert mine not in again.ids()
            assert again.new_id() not in {mine, *again.ids()}
            again.paint([[2, 7, 8]], id=mine, radius=0)
            assert again.voxels(mine) == 1


def test_an_id_that_was_painted_with_stays_that_of_the_painted_object(path):
    session = Session(image(), path=path)
    change = session.paint([[2, 7, 8]], id=None, radius=0)
    assert change.id == 1
    session.undo()  # the viewer goes on with this label
    session.adopt(labels())
    assert 1 not in session.ids()
    session.paint([[2, 7, 8]], id=1, radius=0)
    session.adopt(labels()[::-1], replace_corrected=True)
    assert 1 not in session.ids()
    session.close()


def test_labels_that_come_back_keep_the_ids_of_their_objects():
    session = Session(labels=labels())
    mine = session.paint([[2, 5, 5], [2, 5, 7]], id=None, radius=0).id
    elsewhere = session.labels.data.copy()
    elsewhere[2, 6, 5:8] = mine
    session.adopt(elsewhere, replace_corrected=True)
    assert np.array_equal(session.labels.data, elsewhere)


def test_a_session_that_may_only_look_promises_nothing(path):
    Session(labels=labels(), path=path).close()
    with Session.open(path, read_only=True) as session, pytest.raises(ReadOnlyStoreError, match="read-only"):
        session.new_id()


def test_pick_objects_and_boxes():
    session = Session(labels=labels())
    assert session.pick(1, 4, 5) == 2
    assert session.pick(0, 0, 0) == 0
    with pytest.raises(InputError, match="outside"):
        session.pick(3, 0, 0)
    assert session.ids() == [1, 2]
    assert (session.voxels(2), session.box(2)) == (8, Box((1, 4, 4), (2, 6, 8)))
    assert (session.voxels(9), session.box(9)) == (0, None)


def test_adopt_is_one_edit_and_brings_its_run_record():
    session = Session(labels=Labels(labels(), record={"run": 1}))
    assert session.labels.record == {"run": 1}
    session.adopt(Labels(labels()[:, ::-1], name="second run", record={"run": 2}))
    assert np.array_equal(session.labels.data > 0, labels()[:, ::-1] > 0)
    assert session.labels.record == {"run": 2}
    session.undo()
    assert np.array_equal(session.labels.data, labels())
    assert session.labels.record == {"run": 1}


def test_a_run_that_gives_the_same_labels_leaves_its_record_all_the_same():
    session = Session(labels=Labels(labels(), record={"run": 1}))
    session.adopt(Labels(labels(), record={"run": 2}))
    assert session.labels.record == {"run": 2}
    assert session.adopt(Labels(labels(), record={"run": 2})).what == "nothing"
    session.undo()
    assert session.labels.record == {"run": 1}
    assert np.array_equal(session.labels.data, labels())


def test_put_plane_can_give_fresh_ids():
    session = Session(labels=labels())
    session.put_plane(np.pad(np.array([[1, 2], [1, 0]]), ((0, 6), (0, 7))), "xy", 2, fresh=True)
    assert session.labels.data[2, :2, :2].tolist() == [[3, 4], [3, 0]]
    assert session.ids() == [1, 2, 3, 4]


def test_the_voxel_size_is_an_edit_that_the_stack_follows():
    session = Session(image(), labels())
    assert session.voxel_size is None
    session.set_voxel_size(30, 5, 5)
    assert session.stack.voxel_size == session.labels.voxel_size == (30.0, 5.0, 5.0)
    assert session.set_voxel_size(30, 5, 5).what == "nothing"
    session.undo()
    assert session.stack.voxel_size is None
    for wrong in ((), (0,), (1, 2), (float("nan"),)):
        with pytest.raises(InputError, match="positive nanometres"):
            session.set_voxel_size(*wrong)


def test_save_states_tell_the_truth(path):
    session = Session(labels=labels())
    states = []
    session.state_changed.connect(lambda s: states.append(str(s)))
    assert str(session.save_state) == "in memory only"
    session.delete(1)
    session.save_as(path)
    session.delete(2)
    assert states == ["saved"]
    assert session.path == path
    session.close()
    with Session.open(path) as again:
        assert not again.labels.data.any()
        again.undo()
        again.undo()
        assert np.array_equal(again.labels.data, labels())


def test_a_closed_session_can_be_looked_at_only(path):
    session = Session(labels=labels(), path=path)
    session.close()
    session.close()
    assert session.pick(0, 1, 1) == 1
    with pytest.raises(ReadOnlyStoreError, match="was closed"):
        session.delete(1)


def test_a_copy_has_the_whole_history_and_work_goes_on_in_the_original(path):
    session = Session(labels=labels(), path=path)
    session.delete(1)
    copy = session.save_copy(path.parent / "copy.mitonb")
    session.delete(2)
    with Session.open(copy) as other:
        assert not other.read_only
        assert other.ids() == [2]
        other.undo()
        assert other.ids() == [1, 2]
    assert session.path == path
    with pytest.raises(StoreError, match="exists already"):
        session.save_copy(copy)
    session.close()


def test_a_listener_that_fails_does_not_look_like_an_edit_that_failed(caplog):
    session = Session(labels=labels())
    session.edited.connect(lambda change: 1 / 0)
    with caplog.at_level(logging.ERROR):
        session.delete(1)
    assert session.ids() == [2]
    assert "listener" in caplog.text


def test_verbs_from_many_threads_are_all_recorded_in_one_order(path):
    session = Session(labels=np.zeros((1, 32, 32), np.uint32), path=path)
    seen = []
    session.edited.connect(lambda change: seen.append(change.seq))

    def work(row):
        for column in range(10):
            session.paint([[0, row, column]], id=row + 1, radius=0, client=(f"thread {row}", column))

    threads = [threading.Thread(target=work, args=(row,)) for row in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == list(range(1, 81))
    assert [session.voxels(i) for i in session.ids()] == [10] * 8
    session.close()


@pytest.mark.parametrize("client", [("", -1), ("tab", 2**63), ("tab", 1.5), (7, 1), ("a\n", 1), ("x" * 999, 1)])
def test_requests_with_impossible_names_or_numbers_are_refused(client):
    session = Session(labels=labels())
    with pytest.raises(InputError, match=r"A client is|A request number"):
        session.delete(1, client=client)
    assert session.ids() == [1, 2]


def test_a_session_that_lost_its_file_to_a_newer_one_saves_what_it_shows(path):
    old = Session(labels=labels(), path=path)
    old.paint([[0, 5, 5]], id=7, radius=1)
    with Session.open(path) as new:
        new.delete(2)
        old.save_as(path.parent / "mine.mitonb")
        assert old.ids() == [1, 2, 7]
        old.delete(1)
        old.undo()
        shown = old.labels.data.copy()
        old.close()
    with Session.open(path.parent / "mine.mitonb") as mine:
        assert [e.text for e in mine.history()][1:] == ["deleted object 1", "undid: deleted object 1"]
        np.testing.assert_array_equal(mine.labels.data, shown)


def test_a_closed_session_says_how_to_go_on_and_calls_no_file_damaged(path):
    session = Session(labels=labels(), path=path)
    session.close()
    elsewhere = path.parent / "b.mitonb"
    for verb in (session.refresh, lambda: session.save_as(elsewhere), lambda: session.save_copy(elsewhere)):
        with pytest.raises(StoreError, match=r"was closed\. Go on with Session\.open\('.*cell\.mitonb'\)"):
            verb()


def test_a_voxel_size_may_come_in_one_piece():
    session = Session(labels=labels())
    session.set_voxel_size((50, 5, 5))
    assert session.voxel_size == (50.0, 5.0, 5.0)
    with pytest.raises(InputError, match="voxel_size is one size or three"):
        session.set_voxel_size("8 nm")


@pytest.mark.parametrize(("dtype", "mark"), [(np.int16, 65535), (np.int32, 4294967295)])
def test_what_minus_one_becomes_is_said_to_be_an_ignore_mark_most_likely(path, dtype, mark):
    data = labels().astype(dtype)
    data[2, 0, 0] = -1
    with pytest.raises(InputError, match=r"usually mark voxels to ignore: make them background"):
        Session(labels=data)
    stored = data.view(np.uint16 if mark == 65535 else np.uint32)
    assert f"The id {mark} is what -1 becomes" in repr(Labels(stored))
    with Session(labels=stored, path=path) as session:
        assert f"ids[ids == {mark}] = 0" in session.notes[0]
    with Session.open(path) as again:
        assert any(f"The id {mark}" in note for note in again.notes)
    assert not Session(labels=labels()).notes
    with pytest.raises(InputError, match="what -1 becomes in 64 bits"):
        Labels(np.array([[[-1]]]).view(np.uint64))


@pytest.mark.parametrize("highest", [9, 2**32 - 4, 2**32 - 2, 2**32 - 1])
def test_ids_that_would_be_given_are_free_and_others_are_as_they_were_used(highest):
    session = Session(labels=np.array([[[1, highest]]], np.int64))
    session.delete(1)
    promised = session.new_id()
    for count in (1, 2, 3):
        assert all(session.is_free(id) for id in session.free_ids(count))
    assert not any(map(session.is_free, (0, 1, highest, promised, 2**32 - 1)))
    assert session.is_free(5)
