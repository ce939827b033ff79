"""Locked objects stay as they are: tools go around them, verbs that are about them are refused, runs leave them."""

import numpy as np
import pytest

from mitonb.errors import InputError
from mitonb.session import Session
from tests.edit.drawing import labels


@pytest.fixture
def session():
    session = Session(labels=labels())
    session.lock(1)
    return session


def test_a_lock_is_an_edit_that_undo_takes_back_and_a_file_keeps(tmp_path):
    path = tmp_path / "locked.mitonb"
    with Session(labels=labels(), path=path) as session:
        assert session.lock(1, 2).what == "lock"
        assert session.lock(2).what == "nothing", "it is locked already"
        session.unlock(2)
        assert session.locked == [1]
        session.undo()
    with Session.open(path) as session:
        assert session.locked == [1, 2]
        assert [e.code for e in session.history()][:2] == ["session.lock(1, 2)", "session.unlock(2)"]
        assert session.history()[0].sentence == "Locked objects 1, 2."
        session.undo()
        assert session.locked == []
        assert session.delete(1).what == "delete"


@pytest.mark.parametrize(
    ("verb", "given"),
    [
        ("merge", {"keep": 2, "gone": [1]}), ("merge", {"keep": 1, "gone": [2]}), ("delete", {"ids": [2, 1]}),
        ("split", {"id": 1, "seeds": [(0, 1, 1), (0, 2, 2)]}), ("shrink", {"ids": [1]}),
        ("grow", {"ids": [1]}), ("delete_on_plane", {"ids": [1], "axis": "xy", "index": 0}),
        ("fill", {"point": (0, 1, 1), "id": 2}), ("fill", {"point": (0, 0, 0), "id": 1}),
        ("paint", {"points": [[0, 5, 5]], "id": 1, "radius": 1}), ("erase", {"points": [[0, 1, 1]], "radius": 0}),
        ("erase", {"points": [[0, 1, 1]], "radius": 9, "only": 1}),
    ],
)  # fmt: skip
def test_what_is_about_a_locked_object_is_refused_with_its_name(session, verb, given):
    if verb == "shrink":
        session = Session(labels=np.ones((3, 8, 9), np.uint32) * (np.arange(9) < 5))
        session.lock(1)
    before, version = session.labels.data.copy(), session.version
    with pytest.raises(InputError, match=r"Object 1 is locked.*session\.unlock\(1\)"):
        session.do(verb, **given)
    assert session.version == version
    assert np.array_equal(session.labels.data, before)
    session.unlock(1)
    assert session.do(verb, **given).what == verb


@pytest.mark.parametrize("how", ["paint", "lasso", "erase", "put_plane"])
def test_tools_go_around_it(session, how):
    session.paint([[0, 1, 4]], id=7, radius=0)
    ring = [(0, 0, 0), (0, 0, 8), (0, 7, 8), (0, 7, 0)]
    given = {
        "paint": {"points": ring, "id": 5, "radius": 9}, "lasso": {"points": ring, "id": 5},
        "erase": {"points": ring, "radius": 9}, "put_plane": {"ids": np.full((8, 9), 5), "axis": "xy", "index": 0},
    }[how]  # fmt: skip
    change = session.do(how, **given)
    assert change.box.start == (0, 0, 0), "a page hears of all that it has drawn"
    assert change.box.stop == (1, 8, 9)
    assert np.array_equal(session.labels.data[0] == 1, labels()[0] == 1)
    assert session.pick(0, 1, 4) == (0 if how == "erase" else 5)


@pytest.mark.parametrize("replace", [False, True])
def test_runs_lie_around_it(session, replace):
    found = np.zeros((3, 8, 9), np.uint32)
    found[0, 1:3, 1:6], found[2, :3, :3] = 1, 2
    change = session.adopt(found, replace_corrected=replace)
    assert np.array_equal(session.labels.data == 1, labels() == 1)
    new = session.labels.data[0, 1:3, 3:6]
    assert new.min() == new.max() > 2, "what lies beside it is another object"
    assert session.pick(2, 0, 0) not in (0, 1)
    assert change.kept == (0 if replace else 1)
    session.adopt_plane(np.zeros((8, 9), int), "xy", 0, replace_corrected=replace)
    assert session.voxels(1) == 4
    assert session.voxels(int(new[0, 0])) == 0


def test_what_verdicts_call_false_is_dropped_without_it(session):
    session.drop_false(1, 2)
    assert session.ids() == [1]
    assert session.history()[-1].text.startswith("dropped object 2,")


def test_an_object_that_was_locked_is_not_called_corrected(session):
    from mitonb.edit import marks

    assert marks.seen(session._project) == {}


def test_the_code_of_the_history_makes_the_same_labels(tmp_path):
    with Session(labels=labels(), path=tmp_path / "a.mitonb") as session:
        session.lock(1)
        session.paint([(0, 0, 0), (0, 3, 8)], id=9, radius=3)
        session.unlock(1)
        session.delete(1)
        names = {}
        exec(session.to_code(), names)
        assert np.array_equal(names["session"].labels.data, session.labels.data)


def test_a_run_on_the_next_plane_does_not_go_on_in_a_locked_object():
    ids = np.zeros((3, 8, 8), np.uint32)
    ids[:2, 2:6, 2:6] = 4
    session = Session(labels=ids)
    session.lock(4)
    session.adopt_plane(ids[0], "xy", 2)
    assert session.voxels(4) == 32
    assert np.unique(session.labels.data[2]).tolist() == [0, 5]
