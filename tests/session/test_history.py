"""The history: readable lines, and code that does the same."""

import numpy as np
import pytest

from mitonb.box import Box
from mitonb.errors import InputError
from mitonb.labels import Labels
from mitonb.session import Session
from tests.edit.drawing import labels


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
    first.adopt(Labels(labels(), name="a <b>"), replace_corrected=True)
    first.undo()
    first.redo()
    first.undo()
    history = first.history()
    assert [e.text for e in history] == [
        "painted object 3 on xy plane 0",
        "painted object 4 on yz plane 0",
        "erased object 2 on xy plane 1",
        "filled a patch with object 5 on xz plane 0",
        "merged objects 2, 3 into 1",
        "undid: merged objects 2, 3 into 1",
        "deleted object 3",
        "replaced xz plane 7",
        "set the voxel size to 8 x 4 x 4 nm",
        "replaced all labels by 'a <b>'",
        "undid: replaced all labels by 'a <b>'",
        "did again: replaced all labels by 'a <b>'",
        "undid: replaced all labels by 'a <b>'",
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


def test_the_code_of_runs_does_the_same_as_they_did():
    plane = np.zeros((3, 8), np.uint32)
    plane[:, 1:4] = 5
    found = np.zeros((2, 3, 8), np.uint32)
    found[:, :, 5:7] = 1
    first, again = (Session(labels=np.zeros(found.shape, np.uint32)) for _ in range(2))
    first.set_voxel_size(4.0533333, 8, 8)
    first.adopt_plane(plane, "xy", 0)
    first.adopt(found)
    first.paint([[0, 1, 5]], id=2, radius=1.23456789)
    first.adopt_plane(plane, "xy", 0, iou=0.5)
    first.adopt_plane(plane, "xy", 1, replace_corrected=True)
    assert [e.code for e in first.history()][-2:] == [
        "session.adopt_plane(ids, 'xy', 0, iou=0.5)",
        "session.adopt_plane(ids, 'xy', 1, replace_corrected=True)",
    ]
    for entry in first.history():
        exec(entry.code, {"session": again, "ids": plane, "labels": found})
    assert np.array_equal(again.labels.data, first.labels.data)
    assert again.voxel_size == first.voxel_size
    assert [e.code for e in again.history()] == [e.code for e in first.history()]


def test_nothing_in_a_project_from_elsewhere_becomes_code(path):
    session = Session(labels=labels(), path=path)
    evil = "__import__('os').system('true')"
    store = session._project.store
    for kind, intent in ((evil, {}), ("merge", {"keep": evil, "gone": [1]}), ("paint", {evil: 1})):
        store.append(kind, intent, b"x\x9cc```\x00\x00\x00\x04\x00\x01", next_id=9)
    session._project.rows = store.rows()
    session.paint([(0, 0, 0)], id=5, radius=1)
    session._project.rows[-1].intent["plane"] = 2**70
    assert {e.code for e in session.history()} == {""}
    session.close()


def test_what_is_wrong_in_a_project_from_elsewhere_is_left_out(path):
    session = Session(labels=labels(), path=path)
    session.mark_reviewed((0, 0, 0), (1, 1, 1))
    stops = [["a", "b", "c"], [[1], 2, 3], [1, 2, 10**400], 5, None]
    rows = [("mark_reviewed", {"start": [0, 0, 0], "stop": stop, "reviewed": True}) for stop in stops]
    rows += [("adopt_plane", {"axis": axis, "index": index}) for axis, index in (([], 0), ("xy", "a"), ("xy", None))]
    line = {"axis": "xy", "plane": 0, "line": [0, 0, 1, 1]}
    rows += [("teach_mito", {**line, "radius": radius}) for radius in (float("nan"), float("inf"), 10**400, None)]
    for kind, intent in rows:
        session._project.store.append(kind, intent, session._project.store.effect(1), next_id=9)
    session.close()
    with Session.open(path) as again:
        assert len(again.history()) == 1 + len(rows)
        assert again.reviewed == [Box((0, 0, 0), (1, 1, 1))]
        assert again.strokes == []


def test_the_history_after_an_edit_is_what_came_since():
    session = Session(labels=labels())
    session.delete(2)
    session.paint([[0, 6, 2]], id=3, radius=1)
    session.undo()
    assert [e.seq for e in session.history(after=1)] == [2, 3]
    assert session.history(after=2)[0].text == "undid: painted object 3 on xy plane 0"


def test_the_newest_lines_of_the_history_are_had_alone_and_all_are_counted():
    session = Session(labels=labels())
    session.delete(2)
    session.paint([[0, 6, 2]], id=3, radius=1)
    session.paint([[0, 6, 2]], id=3, radius=1)  # changes nothing, and is no line
    session.undo()
    assert session.history(most=2) == session.history()[-2:]
    assert session.history(most=9) == session.history()
    assert session.count_edits() == len(session.history()) == 3


def test_an_undo_of_one_edit_never_takes_another():
    session = Session(labels=labels())
    first = session.delete(2).seq
    second = session.paint([[0, 6, 2]], id=3, radius=1).seq
    with pytest.raises(InputError, match="Other edits"):
        session.undo(of=first)
    assert session.ids() == [1, 3]
    session.undo(of=second)
    assert session.ids() == [1]
    with pytest.raises(InputError, match="Other edits"):
        session.undo(of=second)
    session.undo(of=first)
    assert session.ids() == [1, 2]
    with pytest.raises(InputError):
        session.undo(of=first)


def test_what_was_painted_within_a_mask_comes_out_of_the_code_as_it_was(tmp_path):
    with Session(labels=np.zeros((3, 8, 9), np.uint32), path=tmp_path / "a.mitonb") as session:
        session.paint([[1, 4, 4]], id=3, radius=3, within=np.indices((8, 9)).sum(axis=0) % 2 == 0)
        session.fill((0, 0, 0), 4, within=np.arange(72).reshape(8, 9) < 20)
        first, second = session.history()
        assert first.text == "painted object 3 on xy plane 1, only where a map says enough"
        assert not first.whole
        assert not second.whole
        names = {}
        exec(session.to_code(), names)
        assert np.array_equal(names["session"].labels.data, session.labels.data)
        session.replay()


def test_the_history_is_gone_back_to_a_point_and_forth_again():
    session = Session(labels=np.zeros((3, 8, 9), np.uint32))
    for k in range(4):
        session.paint([[0, k, k]], id=k + 1, radius=0)
    assert session.undo_to(2) == 2
    assert session.ids() == [1, 2]
    assert session.reachable == [1, 2, 3, 4]
    assert session.undo_to(4) == 2
    assert session.undo_to(4) == 0
    assert session.undo_to(0) == 4
    assert session.ids() == []
    assert session.undo_to(1) == 1
    session.paint([[0, 7, 7]], id=9, radius=0)
    for gone in (3, 99, -1, True, "1", None):
        with pytest.raises(InputError, match="There is no way to edit"):
            session.undo_to(gone)
    assert session.ids() == [1, 9]
