"""The project: labels in step with their journal, whatever comes between."""

import signal

import numpy as np
import pytest

from mitonb.edit import project
from mitonb.errors import StoreError
from mitonb.session import Session
from tests.edit.drawing import painted, whole


def test_a_retried_request_gets_the_same_answer_even_after_reopening(path):
    session = painted(path)
    first = session.paint([[0, 1, 1]], id=5, radius=2, client=("tab", 1))
    session.undo()
    assert session.paint([[0, 1, 1]], id=5, radius=2, client=("tab", 1)) == first
    assert session.pick(0, 1, 1) == 0
    nothing = session.erase([[2, 39, 49]], radius=0, client=("tab", 2))
    session.paint([[2, 39, 49]], id=5, radius=0)
    session.close()
    with Session.open(path) as again:
        assert again.paint([[0, 1, 1]], id=5, radius=2, client=("tab", 1)) == first
        assert again.erase([[2, 39, 49]], radius=0, client=("tab", 2)) == nothing
        assert again.pick(2, 39, 49) == 5


@pytest.fixture
def interruptible():
    """A process that was started in the background may ignore interrupts: here they arrive."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_waits_until_journal_and_labels_agree(path, monkeypatch):
    session = painted(path)
    real = project.apply

    def interrupted(*args, **options):
        signal.raise_signal(signal.SIGINT)
        real(*args, **options)

    version = session.version
    with monkeypatch.context() as patch:
        patch.setattr(project, "apply", interrupted)
        with pytest.raises(KeyboardInterrupt):
            session.paint([[0, 3, 3]], id=9, radius=2)
        with pytest.raises(KeyboardInterrupt):
            session.undo()
        with pytest.raises(KeyboardInterrupt):
            session.redo()
    assert session.version == version + 3
    assert session.pick(0, 3, 3) == 9
    session.paint([[0, 3, 30]], id=10, radius=2)
    shown = session.labels.data.copy()
    session.close()
    assert np.array_equal(whole(path)[0], shown)


def no_memory(*_, **__):
    raise MemoryError


def test_labels_that_could_not_follow_the_journal_take_no_more_edits(path, monkeypatch):
    session = painted(path)
    with monkeypatch.context() as patch:
        patch.setattr(project, "apply", no_memory)
        with pytest.raises(StoreError, match=r"safe in .* open the project again: nothing is lost"):
            session.paint([[0, 3, 3]], id=9, radius=2)
    for verb in (session.undo, lambda: session.delete(1), lambda: session.save_copy(path.parent / "copy.mitonb")):
        with pytest.raises(StoreError, match="open the project again"):
            verb()
    session.close()
    with Session.open(path) as again:
        assert again.pick(0, 3, 3) == 9


def test_a_thousand_specks_are_deleted_in_one_edit_and_come_back(path):
    specks = np.arange(1, 13**3 + 1, dtype=np.uint32).reshape(13, 13, 13)
    session = Session(labels=specks, path=path)
    session.delete(*range(1, 13**3, 2))
    session.close()
    with Session.open(path) as again:
        again.undo()
        assert np.array_equal(again.labels.data, specks)
