"""Projects that mitonb 0.1 wrote: they open, and labels, history and promises are what they were.

The files in tests/data_v01/projects were written by its code: `verbs` has every verb, undo, redo, and a snapshot in the
middle; `promises` has reserved ids and runs around corrections. `steps` in the .npz are the labels as they were closed,
and after each undo.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import mitonb as mn

PROJECTS = Path(__file__).parents[1] / "data_v01" / "projects"


@pytest.fixture(params=["verbs", "promises"])
def kept(request, tmp_path):
    """A copy of a project with its image beside it, what it said of itself, and its labels at each undo."""
    for name in (f"{request.param}.mitonb", "image.npy"):
        shutil.copy(PROJECTS / name, tmp_path)
    said = json.loads((PROJECTS / f"{request.param}.json").read_text())
    with np.load(PROJECTS / f"{request.param}.npz") as file:
        return tmp_path / f"{request.param}.mitonb", said, file["steps"]


def lines(session):
    return [[e.seq, e.text, e.code, e.undone, e.stands] for e in session.history()]


def test_labels_history_and_promises_are_what_they_were(kept):
    path, said, steps = kept
    for read_only in (True, False):
        with mn.Session.open(path, read_only=read_only) as session:
            assert session.read_only == read_only
            assert np.array_equal(session.labels.data, steps[0])
            assert lines(session) == said["history"]
            assert session.ids() == said["ids"]
            assert session.free_ids(3) == said["free"]
            assert all(session.in_hand(id) for id in [*said["in_hand"], *said["promised"]])
            assert session.labels.record == said["record"]
            assert session.voxel_size == (said["voxel_size"] and tuple(said["voxel_size"]))
            assert session.can_redo == said["can_redo"]
            assert session.key.startswith(said["key"])
    assert (session.stack is not None) == ("verbs" in path.name), "the image beside a project is found"


def test_every_step_can_be_taken_back_and_forth(kept):
    path, _, steps = kept
    with mn.Session.open(path) as session:
        for before in steps[1:]:
            session.undo()
            assert np.array_equal(session.labels.data, before)
        assert not session.can_undo
        for after in steps[-2::-1]:
            session.redo()
            assert np.array_equal(session.labels.data, after)
    with mn.Session.open(path) as again:
        assert np.array_equal(again.labels.data, steps[0])


def test_work_goes_on_where_it_was(kept):
    path, said, steps = kept
    with mn.Session.open(path) as session:
        if "verbs" in path.name:
            done = session.paint([[0, 6, 2]], id=None, radius=9, client=("page", 1))
            assert (done.seq, done.what) == (1, "paint"), "a request of then that comes again changes nothing"
            assert np.array_equal(session.labels.data, steps[0])
        new = session.new_id()
        assert new not in {*said["ids"], *said["promised"], *np.unique(steps).tolist()}
        session.adopt(np.roll(steps[0], 3, axis=2))
        assert not set(session.ids()) & set(said["promised"]) - set(said["ids"])
        copy = session.save_copy(path.with_name("copy.mitonb"))
        labels = session.labels.data.copy()
    for place in (path, copy):
        with mn.Session.open(place) as again:
            assert np.array_equal(again.labels.data, labels)
