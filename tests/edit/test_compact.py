"""A project file gets smaller, and every edit stays."""

import numpy as np
import pytest

from mitonb.edit import edits
from mitonb.errors import ReadOnlyStoreError, StoreError
from mitonb.session import Session

SHAPE = (8, 160, 160)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Give a project with edits of all sizes, undone ones among them, and what its history and labels were."""
    path, rng = tmp_path / "cell.mitonb", np.random.default_rng(0)
    with Session(labels=rng.integers(0, 3, SHAPE, np.uint32), path=path) as session:
        for k in range(12):
            session.paint([[k % 8, 20, 20], [k % 8, 140, 10 * k]], id=10 + k, radius=4)
            session.put_plane(np.kron(rng.integers(0, 50, (16, 16)), np.ones((10, 10), int)), "xy", k % 8)
            session.adopt(np.kron(rng.integers(0, 50, (8, 16, 16)), np.ones((1, 10, 10), int)))
        for _ in range(7):
            session.undo()
        session.redo()
        session.merge(*session.ids()[:2])
    return path


def test_every_edit_stays_and_the_file_gets_smaller(project):
    with Session.open(project) as session:
        history, labels = session.history(), session.labels.data.copy()
        early = session.labels_before(9).data
        before, after = session.compact()
        assert after == project.stat().st_size < before
        assert session.history() == history
        session.undo()
        session.redo()
    with Session.open(project) as session:
        np.testing.assert_array_equal(session.labels.data, labels)
        np.testing.assert_array_equal(session.labels_before(9).data, early)
        assert session.replay() == len(history) + 2
        while session.can_undo:
            session.undo()
        assert session.labels.data.max() == 2
        first, second = session.compact(), session.compact()
        assert second[0] == second[1] == first[1]


def test_a_session_that_only_looks_follows_a_compact_file_and_compacts_none(project):
    with Session.open(project) as session:
        with Session.open(project, read_only=True) as looking:
            session.delete(session.ids()[0])
            session.compact()
            session.paint([[0, 5, 5]], id=77, radius=2)
            looking.refresh()
            np.testing.assert_array_equal(looking.labels.data, session.labels.data)
            with pytest.raises(ReadOnlyStoreError):
                looking.compact()
    with pytest.raises(StoreError, match="closed"):
        session.compact()


def test_what_is_damaged_is_not_sealed_anew(project):
    with Session.open(project) as session:
        session._project.store._db.execute("UPDATE edits SET effect = x'00' WHERE seq = 5")
        with pytest.raises(StoreError, match="edit 5 of the journal"):
            session.compact()


def test_a_pack_that_fails_in_the_middle_changes_nothing(project, monkeypatch):
    with Session.open(project) as session:
        history, calls = session.history(), iter(range(100))
        monkeypatch.setattr(
            "mitonb.edit.project.repack", lambda blob: edits.repack(blob) if next(calls) < 20 else 1 / 0
        )
        with pytest.raises(ZeroDivisionError):
            session.compact()
        monkeypatch.undo()
        session.paint([[0, 5, 5]], id=77, radius=2)
    with Session.open(project) as session:
        assert session.history()[:-1] == history
        assert session.replay() == session.version
        assert session.compact()[1] > 0


def test_a_session_in_memory_has_nothing_to_give_back():
    session = Session(labels=np.ones((1, 4, 4), np.uint32))
    session.delete(1)
    assert session.compact() == (0, 0)
    assert session.undo().what == "undo"
