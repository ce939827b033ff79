"""What a user has corrected outlives every run, until he says otherwise; all answers are counted by hand."""

import numpy as np
import pytest

from mitonb.session import Session

SHAPE = (3, 6, 20)


def found(*objects):
    """Draw what a run finds: (id, first column, last column) of objects in rows 1 to 4 of all three planes."""
    data = np.zeros(SHAPE, np.uint32)
    for id, first, last in objects:
        data[:, 1:5, first : last + 1] = id
    return data


FIRST = found((1, 1, 4), (2, 7, 10), (3, 13, 16))  # 3 * 4 * 4 = 48 voxels each
SECOND = found((1, 1, 4), (2, 6, 10), (3, 13, 17))  # the second and the third are a column wider


@pytest.fixture
def session():
    return Session(labels=FIRST)


def row(session, z=1, y=2):
    """Return a row of the labels as a text."""
    return "".join(".123456789"[v] for v in session.labels.data[z, y])


def test_without_corrections_a_run_replaces_everything(session):
    change = session.adopt(SECOND)
    assert row(session) == ".1111.22222..33333.."
    assert (change.kept, change.erased, change.about_corrections()) == (0, 0, "")


def test_objects_keep_their_ids_however_a_run_numbers_them(session):
    # The second is found first now, the third has become two, of which the larger is it, and the first is gone.
    session.adopt(found((1, 7, 11), (2, 13, 13), (3, 15, 17), (7, 19, 19)))
    assert row(session) == ".......22222.8.333.7"
    session.undo()
    assert np.array_equal(session.labels.data, FIRST)
    # Two that are found as one are the larger of them.
    session.adopt(found((9, 8, 17)))
    assert row(session) == "........3333333333.."


def test_into_empty_labels_a_run_is_put_as_it_is():
    session = Session(labels=np.zeros(SHAPE, np.uint32))
    session.adopt(found((5, 1, 4), (2, 7, 10)))
    assert row(session) == ".5555..2222........."
    session.adopt(found((1, 1, 4), (5, 13, 16), (2, 18, 18)))
    assert row(session) == ".5555........7777.6."


def test_a_painted_object_is_kept_whole_and_the_others_are_replaced(session):
    session.paint([[1, 2, 5]], id=1, radius=0)
    change = session.adopt(SECOND)
    assert row(session) == ".1111122222..33333.."
    assert row(session, z=0) == ".1111.22222..33333.."
    assert [session.voxels(i) for i in (1, 2, 3)] == [48 + 1, 60, 60]
    assert change.kept == 1
    assert change.about_corrections() == "1 corrected object kept."
    assert "; 1 corrected object kept" in session.history()[-1].text


def test_an_erased_patch_stays_erased_and_its_object_as_it_is(session):
    session.erase([[1, 2, 8], [1, 2, 9]], radius=0)
    change = session.adopt(SECOND)
    assert row(session) == ".1111..2..2..33333.."
    assert session.voxels(2) == 48 - 2
    assert (change.kept, change.erased) == (1, 0)


def test_a_deleted_object_does_not_come_back_and_undo_of_the_deletion_lets_it(session):
    session.delete(2)
    change = session.adopt(SECOND)
    assert row(session) == ".1111........33333.."
    assert (change.kept, change.erased) == (0, 1)
    assert change.about_corrections() == "1 that you had erased left out."
    session.undo()
    session.undo()
    assert session.adopt(SECOND).erased == 0
    assert row(session) == ".1111.22222..33333.."


def test_what_a_run_kept_is_said_also_where_it_changed_nothing(session):
    session.delete(2)
    session.merge(1, 3)
    change = session.adopt(FIRST)
    assert (change.what, change.kept, change.erased) == ("nothing", 1, 1)


def test_merged_filled_and_put_objects_are_kept(session):
    session.merge(1, 2)
    session.fill((0, 2, 14), 5)
    plane = session.labels.data[2].copy()
    plane[5, 19] = 7
    session.put_plane(plane, "xy", 2)
    change = session.adopt(SECOND)
    # Object 3 lost its profile of plane 0 to object 5: both are corrected.
    assert row(session) == ".1111..1111..3333..."
    assert [session.voxels(i) for i in (1, 3, 5, 7)] == [96, 32, 16, 1]
    assert change.kept == 4


def test_undo_takes_the_protection_back_and_redo_gives_it(session):
    session.paint([[1, 2, 5]], id=1, radius=0)
    session.undo()
    assert session.adopt(SECOND).kept == 0
    session.undo()
    session.delete(3)
    session.undo()
    session.redo()
    assert session.adopt(SECOND).erased == 1


def test_corrections_are_known_after_reopening(tmp_path):
    path = tmp_path / "cell.mitonb"
    with Session(labels=FIRST, path=path) as session:
        session.paint([[1, 2, 5]], id=1, radius=0)
        session.delete(3)
        session.adopt(FIRST)
    with Session.open(path) as again:
        change = again.adopt(SECOND)
        assert (change.kept, change.erased) == (1, 1)
        assert row(again) == ".1111122222........."


def test_what_lies_less_than_half_in_a_correction_is_put_around_it(session):
    session.delete(2)
    # Six columns of which two, then four of which two were deleted: 1/3 and 1/2. It covers one half of object 3.
    change = session.adopt(found((1, 1, 4), (2, 9, 14)))
    assert row(session) == ".1111......3333....."
    assert change.erased == 0
    session.undo()
    assert session.adopt(found((1, 1, 4), (2, 9, 12))).erased == 1
    assert row(session) == ".1111..............."


def test_a_dot_is_kept_inside_of_what_is_found_around_it(session):
    session.delete(1, 2, 3)
    session.adopt(np.zeros(SHAPE, np.uint32), replace_corrected=True)
    mine = session.paint([[1, 2, 8]], id=None, radius=0).id
    assert mine == 4
    session.adopt(found((1, 7, 10)))
    assert row(session) == ".......1411........."


def test_a_neighbour_that_was_only_touched_is_free(session):
    session.paint([[1, 2, 12]], id=9, radius=0)  # beside object 3, not on it
    session.adopt(SECOND)
    assert row(session) == ".1111.22222.933333.."


def test_a_run_never_grows_a_corrected_object_nor_takes_its_id_elsewhere(session):
    session.paint([[1, 2, 5]], id=3, radius=0)
    change = session.adopt(found((3, 1, 4), (1, 7, 10), (2, 12, 18)))
    # Columns 12, 17 and 18 would surround object 3, and what the run calls 3 is another object.
    assert row(session) == ".11113.2222..3333..."
    assert session.voxels(3) == 48 + 1
    assert change.kept == 1


def test_what_a_run_finds_later_is_not_corrected_because_its_number_was_that_of_a_deleted_or_merged_object(session):
    session.delete(3)
    session.merge(1, 2)
    # Elsewhere, but with the numbers of objects that are gone.
    session.adopt(found((2, 12, 12), (3, 18, 19)))
    assert row(session) == ".1111..1111.4.....55"
    change = session.adopt(np.zeros(SHAPE, np.uint32))
    assert change.kept == 1
    assert row(session) == ".1111..1111........."


def test_corrections_made_during_a_run_are_kept_too(session):
    new = SECOND.copy()  # the run has ended, and is not adopted yet
    session.erase([[1, 2, 8]], radius=0, only=2)
    session.paint([[0, 0, 0]], id=None, radius=0)
    change = session.adopt(new)
    assert change.kept == 2
    assert session.pick(1, 2, 8) == 0
    assert session.pick(0, 0, 0) == 4


def test_replacing_corrections_is_one_word_and_ends_them(session):
    session.paint([[1, 2, 5]], id=1, radius=0)
    session.delete(3)
    change = session.adopt(SECOND, replace_corrected=True)
    assert (change.kept, change.erased) == (0, 0)
    assert ((session.labels.data > 0) == (SECOND > 0)).all()
    assert session.adopt(FIRST).kept == 0
    session.undo()
    session.undo()
    assert session.adopt(SECOND).kept == 1


def test_a_plane_keeps_what_was_corrected_anywhere_and_what_was_erased_there(session):
    session.paint([[0, 2, 5]], id=1, radius=0)  # on another plane
    session.erase([[1, r, c] for r in (1, 2, 3, 4) for c in (7, 8, 9, 10)], radius=0)
    change = session.adopt_plane(SECOND[1], "xy", 1)
    assert row(session) == ".1111........33333.."
    assert (change.what, change.kept, change.erased) == ("adopt_plane", 1, 1)
    assert row(session, z=0) == ".11111.2222..3333..."
    change = session.adopt_plane(SECOND[1], "xy", 1, replace_corrected=True)
    assert (session.labels.data[1] > 0).sum() == 4 * (4 + 5 + 5)
    # What was corrected on plane 0 counts on, what was erased on plane 1 does not.
    assert session.adopt_plane(FIRST[1], "xy", 1).kept == 1


def test_what_a_run_put_on_a_plane_is_no_correction():
    session = Session(labels=np.zeros(SHAPE, np.uint32))
    session.adopt_plane(FIRST[1], "xy", 1)
    session.adopt_plane(FIRST[2], "xy", 2)
    assert session.ids() == [1, 2, 3]
    assert session.adopt(SECOND).kept == 0


def test_planes_of_every_axis_and_numbers_of_every_size_are_taken(session):
    session.paint([[1, 2, 5]], id=1, radius=0)
    plane = np.zeros((3, 20), np.uint32)
    plane[:, 1:5] = 2**32 - 1
    plane[:, 7:11] = 7
    change = session.adopt_plane(plane, "xz", 2)
    assert change.kept == 1
    assert row(session) == ".11111.2222........."
    plane = np.zeros((3, 6), np.uint32)
    plane[1, 2] = 5
    session.adopt_plane(plane, "yz", 19)
    assert session.pick(1, 2, 19) == 4


@pytest.mark.parametrize("said", [{"axis": ["xy"]}, {"axis": "up"}, {"index": None}, {"index": "0x"}, {"index": 1e999}])
def test_a_record_of_a_plane_that_makes_no_sense_stops_no_run(session, said):
    session.paint([[1, 3, 3]], id=7, radius=1)
    session.adopt_plane(np.ones(SHAPE[1:], np.uint32), axis="xy", index=0, replace_corrected=True)
    assert "kept" not in session._project.rows[-1].intent
    session._project.rows[-1].intent.update(said)
    session.adopt(np.full(SHAPE, 2, np.uint32))
    assert session.pick(1, 3, 3) == 7
