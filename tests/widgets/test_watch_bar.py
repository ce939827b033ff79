"""A run is watched in a thread: a bar tells how far it is, a viewer shows its planes and lets the user go elsewhere."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

import mitonb as mn
from mitonb.errors import InputError
from mitonb.widgets import watch_bar
from tests.widgets.test_viewer import wires  # noqa: F401 (a fixture)

if TYPE_CHECKING:
    from collections.abc import Generator

STACK = mn.Stack(np.zeros((4, 20, 30), np.uint8))
IDS = np.full((20, 30), 7, np.uint32)


@pytest.fixture(autouse=True)
def _each_plane(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_bar, "_EVERY", 0.0)
    monkeypatch.setattr(watch_bar, "_SHARE", 0.0)


class Run:
    """Planes that come when they are told to."""

    def __init__(self, ids: np.ndarray = IDS) -> None:
        self.ids, self._next, self._came = ids, threading.Semaphore(0), threading.Semaphore(0)

    def steps(self) -> Generator[mn.Progress, None, mn.Labels]:
        for index in range(4):
            self._next.acquire(timeout=20)
            yield mn.Progress("xy planes", index, 4, ("xy", index, self.ids))
            self._came.release()
        self._next.acquire(timeout=20)
        return mn.Labels(np.array([[[0, 1, 2]]]))

    def go_on(self) -> None:
        """Have the next plane come, and wait until it was shown."""
        self._next.release()
        assert self._came.acquire(timeout=20)

    def end(self) -> None:
        for _ in range(5):
            self._next.release()


def test_a_viewer_goes_along_with_the_planes_until_the_user_goes_elsewhere() -> None:
    viewer, run = mn.view(STACK), Run()
    bar = mn.watch(run.steps(), viewer)
    run.go_on()
    assert (viewer.axis, viewer.index) == ("xy", 0)
    assert np.array_equal(viewer.preview("xy", 0), IDS)
    run.go_on()
    assert viewer.index == 1
    assert viewer.preview("xy", 0) is None, "only the last plane is one that joining has not changed"
    viewer.index = 3
    run.go_on()
    assert viewer.index == 3
    assert not bar.follow.value
    assert viewer.preview("xy", 1) is viewer.preview("xy", 2) is None
    bar.follow.value = True
    run.go_on()
    assert np.array_equal(viewer.preview("xy", 3), IDS)
    run.end()
    assert bar.job.result(20).data.max() == 2
    assert viewer.preview("xy", 3) is None
    assert "2 objects: take them with .job.result()." in bar.message.value
    assert bar.running.layout.display == "none"


def test_without_a_viewer_or_with_one_of_another_volume_the_run_goes_on() -> None:
    other, thinner = mn.view(np.zeros((4, 9, 9), np.uint8)), mn.view(np.zeros((1, 20, 30), np.uint8))
    for viewer in (None, other, thinner):
        run = Run()
        bar = mn.watch(run.steps(), viewer)
        run.go_on()
        run.go_on()
        assert (viewer is None) == ("another volume" not in bar.status.value)
        run.end()
        assert bar.job.result(20).data.max() == 2


def test_a_real_run_into_a_store_is_watched_and_says_where_its_labels_are(tmp_path) -> None:
    stack = mn.phantom((8, 96, 96), seed=2).stack
    bar = mn.watch(mn.segmenting(stack, out=tmp_path / "labels.ome.zarr"), stack)
    labels = bar.job.result(120)
    assert bar.children[-1] is bar.viewer
    assert f"{labels.count} object" in bar.message.value
    assert "labels.ome.zarr" in bar.message.value
    assert all(bar.viewer.preview("xy", index) is None for index in range(8))
    assert len(bar.viewer.session.ids()) == labels.count > 0
    session = mn.Session(stack)
    bar = mn.watch(mn.segmenting(stack), session)
    assert bar.job.result(120).data.any()
    assert not session.ids(), "a session of the user is not written to"
    mn.Session(stack, path=tmp_path / "mine.mitonb").close()
    bar = mn.watch(mn.segmenting(stack), tmp_path / "mine.mitonb")
    assert bar.job.result(120).data.any()
    assert not bar.viewer.session.ids(), "nor is a project, by its path"
    bar.viewer.session.close()


def test_a_run_that_was_cancelled_says_that_what_it_has_done_is_kept() -> None:
    run = Run()
    bar = mn.watch(run.steps(), STACK)
    run.go_on()
    bar.stop.click()
    run.end()
    assert bar.job.wait(20)
    assert "Run cancelled. What a run with out= has done is kept" in bar.message.value
    assert bar.viewer.preview("xy", 0) is None
    assert bar.job.progress.preview is None


def test_what_has_been_done_already_cannot_be_watched() -> None:
    with pytest.raises(InputError, match=r"generator form .* Got Labels\. That run is done"):
        mn.watch(mn.Labels(np.zeros((2, 3, 4), np.uint32)))
    steps = (mn.Progress("xy planes", index, 2) for index in range(2))
    next(steps)
    for _ in range(2):  # begun, and done
        with pytest.raises(InputError, match=r"begun already, or are done: call mn\.segmenting\(\.\.\.\) again"):
            mn.watch(steps)
        list(steps)


def test_what_cannot_be_shown_is_refused_before_the_run_begins() -> None:
    with pytest.raises(mn.MitonbError):
        mn.watch(Run().steps(), mn.Recipe())
