"""The session: verbs, signals, saving states, and projects that find their stack again."""

import logging
import shutil
import threading

import numpy as np
import pytest

import mitonb as mn
from mitonb.box import Box
from mitonb.errors import AxesError, InputError, ReadOnlyStoreError, StoreError
from mitonb.labels import Labels
from mitonb.session import Change, Session
from mitonb.stack import Stack

SHAPE = (3, 8, 9)


def image(seed=0, **more):
    return Stack(np.random.default_rng(seed).integers(0, 255, SHAPE, np.uint8), **more)


def labels():
    data = np.zeros(SHAPE, np.uint32)
    data[0, 1:3, 1:3] = 1
    data[1, 4:6, 4:8] = 2
    return data


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cell.mitonb"


@pytest.fixture
def stack_file(tmp_path):
    file = tmp_path / "image.npy"
    np.save(file, image().data)
    return file


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
        with pytest.raises(InputError, match="All ids"):
            again.new_id()


def test_pick_objects_and_boxes():
    session = Session(labels=labels())
    assert session.pick(1, 4, 5) == 2
    assert session.pick(0, 0, 0) == 0
    with pytest.raises(InputError, match="outside"):
        session.pick(3, 0, 0)
    assert session.ids() == [1, 2]
    assert (session.voxels(2), session.box(2)) == (8, Box((1, 4, 4), (2, 6, 8)))
    assert (session.voxels(9), session.box(9)) == (0, None)


def test_selecting_and_moving_tell_once():
    session = Session(labels=labels())
    seen = []
    session.selected.connect(seen.append)
    session.moved.connect(seen.append)
    session.select(2, 1, 2)
    session.select(2, 1)
    session.move_to(99, -5, 3)
    session.move_to(2, 0, 3)
    session.select()
    assert seen == [(2, 1), (2, 0, 3), ()]
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


def test_adopt_is_one_edit_and_brings_its_run_record():
    session = Session(labels=Labels(labels(), record={"run": 1}))
    assert session.labels.record == {"run": 1}
    session.adopt(Labels(labels()[:, ::-1], name="second run", record={"run": 2}))
    assert np.array_equal(session.labels.data, labels()[:, ::-1])
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


def test_image_and_labels_must_lie_on_the_same_voxels():
    with pytest.raises(AxesError, match="same voxels"):
        Session(image(), labels()[:, :, 1:])
    with pytest.raises(InputError, match="which is right"):
        Session(image(voxel_size=(8, 8, 8)), Labels(labels(), voxel_size=(8, 8, 9)))
    with pytest.raises(InputError, match="which is right"):
        Session(image(voxel_size=(8, 8, 8))).adopt(Labels(labels(), voxel_size=(8, 8, 9)))


def test_history_is_readable_and_its_code_does_the_same():
    first = Session(labels=labels())
    plane = np.full((3, 9), 6, np.uint32)
    first.paint([[0, 6, 2], [0, 6, 6]], id=3, radius=1.5)
    first.paint([[0, 2, 0], [2, 2, 0]], id=4, radius=1, axis="yz", preserve=True)
    first.erase([[1, 4, 4]], radius=1, only=2)
    first.fill((0, 0, 0), 5, "xz")
    first.merge(1, 2, 3)
    first.undo()
    first.delete(3)
    first.put_plane(plane, "xz", 7)
    first.set_voxel_size(8, 4, 4)
    first.adopt(Labels(labels(), name="a <b>"))
    first.undo()
    first.redo()
    first.undo()
    history = first.history()
    assert [e.text for e in history] == [
        "painted object 3 on xy plane 0",
        "painted object 4 on yz plane 0",
        "erased object 2 on xy plane 1",
        "filled a patch with object 5 on xz plane 0",
        "merged 2, 3 into 1",
        "undid 5: merged 2, 3 into 1",
        "deleted 3",
        "replaced xz plane 7",
        "set the voxel size to 8 x 4 x 4 nm",
        "replaced all labels by 'a <b>'",
        "undid 10: replaced all labels by 'a <b>'",
        "did 10 again: replaced all labels by 'a <b>'",
        "undid 10: replaced all labels by 'a <b>'",
    ]
    assert [e.seq for e in history if e.undone] == [5, 10]
    again = Session(labels=labels())
    for entry in history:
        exec(entry.code, {"session": again, "ids": plane, "labels": labels()})
    assert np.array_equal(again.labels.data, first.labels.data)
    assert again.voxel_size == first.voxel_size
    short = Session(labels=labels())
    for entry in history:
        if entry.stands:
            exec(entry.code, {"session": short, "ids": plane, "labels": labels()})
    assert np.array_equal(short.labels.data, first.labels.data)
    assert not {"undo", "redo"} & {row.kind for row in short._project.rows}


def test_nothing_in_a_project_from_elsewhere_becomes_code(path):
    session = Session(labels=labels(), path=path)
    evil = "__import__('os').system('true')"
    store = session._project.store
    for kind, intent in ((evil, {}), ("merge", {"keep": evil, "gone": [1]}), ("paint", {evil: 1})):
        store.append(kind, intent, b"x\x9cc```\x00\x00\x00\x04\x00\x01", next_id=9)
    session._project.rows = store.rows()
    assert {e.code for e in session.history()} == {""}
    session.close()


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


def test_running_the_cell_again_brings_the_corrections_back(path, stack_file):
    for _ in range(3):
        stack, found = mn.open(stack_file), Labels(labels())
        session = Session(stack, found, path)
        if session.version == 0:
            session.delete(1)
        assert session.ids() == [2]
        assert not session.read_only
    session.adopt(labels()[::-1])
    session.close()
    with Session(stack, labels()[::-1], path) as again:
        assert again.version == 2


def test_other_labels_for_an_existing_project_are_refused_with_the_choices(path):
    with Session(labels=labels(), path=path) as session:
        session.delete(1)
    other = labels() + 1
    with pytest.raises(InputError, match=r"Session\.open\(.*adopt\(labels\)"):
        Session(labels=other, path=path)
    with Session.open(path) as again:
        assert again.version == 1


def test_a_wrong_stack_is_refused_and_the_open_session_stays_the_writer(path):
    session = Session(image(), labels(), path)
    with pytest.raises(InputError, match="made with another image"):
        Session(image(seed=1), path=path)
    session.delete(1)
    assert str(session.save_state) == "saved"
    session.close()


def test_open_finds_the_stack_again_also_when_the_folder_has_moved(path, stack_file, tmp_path):
    Session(mn.open(stack_file), labels(), path).close()
    with Session.open(path) as session:
        assert np.array_equal(session.stack.read(), image().data)
        assert session.notes == ()
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for file in (path, stack_file):
        shutil.move(file, moved)
    with Session.open(moved / path.name) as session:
        assert session.stack is not None


@pytest.mark.parametrize(
    ("prepare", "note"),
    [
        (lambda file: file.unlink(), "not there any more"),
        (lambda file: np.save(file, image(seed=3).data), "made with another image"),
        (lambda file: file.write_bytes(b"x"), "cannot be used"),
    ],
)
def test_without_its_stack_a_project_opens_and_says_so(path, stack_file, prepare, note):
    Session(mn.open(stack_file), labels(), path).close()
    prepare(stack_file)
    with Session.open(path) as session:
        assert session.stack is None
        assert note in session.notes[0]
        session.delete(1)
    with Session.open(path, stack=image()) as session:
        assert session.stack is not None
        assert session.ids() == [2]


def test_remote_addresses_and_arrays_are_not_opened_by_themselves(path):
    Session(image(source="https://example.org/image.zarr"), path=path).close()
    with Session.open(path) as session:
        assert "remote addresses are not opened" in session.notes[0]
    Session(image(), path=path.parent / "b.mitonb").close()
    with Session.open(path.parent / "b.mitonb") as session:
        assert "came from memory" in session.notes[0]


def test_a_voxel_size_that_was_corrected_stays_and_a_newer_word_counts(path):
    with Session(image(voxel_size=(8, 8, 8)), path=path) as session:
        session.set_voxel_size(30, 5, 5)
    with Session(image(voxel_size=(8.0, 8.0, 8.0)), path=path) as session:
        assert session.voxel_size == (30.0, 5.0, 5.0)
    with Session(image(voxel_size=(29.0, 5.0, 5.0)), path=path) as session:
        assert session.voxel_size == (29.0, 5.0, 5.0)
        assert session.history()[-1].text == "set the voxel size to 29 x 5 x 5 nm"


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


def test_names_with_spaces_umlauts_and_signs_of_addresses_work(tmp_path):
    for name in ("a b ü%20#?&.mitonb", "line\nbreak.mitonb", "\N{CAT FACE}.mitonb"):
        with Session(labels=labels(), path=tmp_path / name) as session:
            session.delete(1)
        with Session.open(tmp_path / name) as session:
            assert session.ids() == [2]


@pytest.mark.parametrize("client", [("", -1), ("tab", 2**63), ("tab", 1.5), (7, 1), ("a\n", 1), ("x" * 999, 1)])
def test_requests_with_impossible_names_or_numbers_are_refused(client):
    session = Session(labels=labels())
    with pytest.raises(InputError, match=r"A client is|A request number"):
        session.delete(1, client=client)
    assert session.ids() == [1, 2]


def test_positions_that_are_none_are_refused():
    session = Session(labels=labels())
    for call in (session.pick, session.move_to):
        with pytest.raises(InputError, match=r"\(z, y, x\)"):
            call(float("nan"), 0, 0)


def test_a_folder_is_no_project(tmp_path):
    with pytest.raises(StoreError, match="no project file"):
        Session(labels=labels(), path=tmp_path)


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
        assert [e.text for e in mine.history()] == ["painted object 7 on xy plane 0", "deleted 1", "undid 2: deleted 1"]
        np.testing.assert_array_equal(mine.labels.data, shown)


def test_a_closed_session_says_how_to_go_on_and_calls_no_file_damaged(path):
    session = Session(labels=labels(), path=path)
    session.close()
    elsewhere = path.parent / "b.mitonb"
    for verb in (session.refresh, lambda: session.save_as(elsewhere), lambda: session.save_copy(elsewhere)):
        with pytest.raises(StoreError, match=r"was closed\. Go on with Session\.open\('.*cell\.mitonb'\)"):
            verb()


def test_positions_go_to_the_nearest_voxel_as_pick_does():
    session = Session(labels=labels())
    session.move_to(0.6, 1.5, 2.4)
    assert session.position == (1, 2, 2)
    with pytest.raises(InputError, match="A position is"):
        session.move_to("here", 0, 0)


def test_a_voxel_size_may_come_in_one_piece():
    session = Session(labels=labels())
    session.set_voxel_size((50, 5, 5))
    assert session.voxel_size == (50.0, 5.0, 5.0)
    with pytest.raises(InputError, match="voxel_size is one size or three"):
        session.set_voxel_size("8 nm")
