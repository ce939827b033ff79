"""Histories of thousands of edits: they lead from the first labels to the last, there and back, also as code."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from mitonb.edit.edits import digest
from mitonb.edit.verbs import VERBS
from mitonb.errors import StoreError
from mitonb.session import Session
from tests.edit.drawing import work_at_random

OPERATIONS = int(os.environ.get("MITONB_OPERATIONS", "1000"))


@pytest.fixture
def path():
    """A place in memory: a disk would take most of the time."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        yield Path(folder) / "cell.mitonb"


def first_labels():
    labels = np.zeros((5, 14, 16), np.uint32)
    labels[:, 2:9, 3:10] = 2
    labels[2, 5, 5:7] = 0
    labels[1:4, 9:13, 9:15] = 5
    return labels


def test_all_is_undone_and_done_again_after_reopening(path):
    """`MITONB_OPERATIONS=10000` looks longer."""
    states, rng = {}, np.random.default_rng(5)

    def see(session):
        """See that the labels are what they were whenever this edit was the last that stands."""
        last = session._project.undoable[-1] if session.can_undo else 0
        now = digest(session.labels.data)
        assert states.setdefault(last, now) == now

    with Session(labels=first_labels(), path=path) as session:
        see(session)
        for _ in range(OPERATIONS):
            work_at_random(session, rng, 1)
            see(session)
        # Which are drawn is chance: a rare one may be missing.
        assert len(set(VERBS) - {row.kind for row in session._project.rows}) < 3
    with Session.open(path) as session:
        last = session.labels.data.copy()
        assert session.replay() == OPERATIONS
        count = len(session._project.undoable)
        while session.can_undo:
            session.undo()
            see(session)
        assert np.array_equal(session.labels.data, first_labels())
    with Session.open(path) as session:
        for _ in range(count):
            session.redo()
            see(session)
        assert np.array_equal(session.labels.data, last)
        assert session.replay() == OPERATIONS + 2 * count


def test_a_replay_finds_labels_that_are_not_those_of_the_journal(path):
    with Session(labels=first_labels(), path=path) as session:
        session.delete(5)
        session.paint([[1, 7, 7]], id=8, radius=2)
        assert session.replay() == 2
        project = session._project
        project.labels[0, 13, 15] = 3  # what no edit wrote
        with pytest.raises(StoreError, match="labels that it began with"):
            session.replay()
        project.labels[0, 13, 15] = 0
        project.labels[1, 7, 7] = 3
        with pytest.raises(StoreError, match="what edit 2 has changed"):
            session.replay()
        project.labels[1, 7, 7] = 8
        assert session.replay() == 2


@pytest.mark.parametrize("seed", range(int(os.environ.get("MITONB_HISTORIES", "6"))))
def test_the_history_as_a_cell_makes_the_same_labels(path, seed):
    with Session(labels=first_labels(), path=path) as session:
        work_at_random(session, np.random.default_rng(seed), 150)
        there = {}
        exec(session.to_code(), there)
        assert np.array_equal(there["session"].labels.data, session.labels.data)
        assert there["session"].voxel_size == session.voxel_size
        assert not {"undo", "redo"} & {row.kind for row in there["session"]._project.rows}
        there["project"].close()
