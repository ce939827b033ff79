"""Verbs take whole numbers of Python and numpy, and refuse in words what only looks like one."""

import numpy as np
import pytest

from mitonb.errors import InputError
from mitonb.session import Session
from tests.edit.drawing import SHAPE, image, labels

PLANE = np.zeros(SHAPE[1:], np.uint32)
POINT = [[1, 4, 4]]
HUGE = 10**30
NO_NUMBERS = [0.5, float("nan"), float("inf"), True, np.True_, None, "1", b"1", [1], np.array([1, 2]), {}, HUGE, 1j]

PLANES = {
    "put_plane": lambda session, n: session.put_plane(PLANE, "xy", n),
    "adopt_plane": lambda session, n: session.adopt_plane(PLANE, "xy", n),
    "plane": lambda session, n: session.stack.plane(n),
    "step_object": lambda session, n: session.step_object(n),
    "free_ids": lambda session, n: session.free_ids(n),
    "client": lambda session, n: session.paint(POINT, id=1, radius=1, client=("page", n)),
}
IDS = {
    "paint": lambda session, n: session.paint(POINT, id=n, radius=1),
    "erase": lambda session, n: session.erase(POINT, radius=1, only=n),
    "fill": lambda session, n: session.fill((1, 4, 4), n),
    "merge": lambda session, n: session.merge(n, 2),
    "merge with": lambda session, n: session.merge(2, n),
    "delete": lambda session, n: session.delete(n),
    "mark_right": lambda session, n: session.mark_right(n),
    "unmark": lambda session, n: session.unmark(1, n),
    "select": lambda session, n: session.select(n),
    "go_to": lambda session, n: session.go_to(n),
    "voxels": lambda session, n: session.voxels(n),
    "box": lambda session, n: session.box(n),
    "is_free": lambda session, n: session.is_free(n),
    "in_hand": lambda session, n: session.in_hand(n),
}
OTHERS = {
    "axis of a plane": lambda session, n: session.put_plane(PLANE, n, 0),
    "axis of a stroke": lambda session, n: session.paint(POINT, id=1, radius=1, axis=n),
    "axis of a count": lambda session, n: session.stack.count(n),
    "client": lambda session, n: session.undo(client=n if n is not None else 1),
}
MAY_BE_NONE = {"paint", "erase", "fill"}
MAY_BE_HUGE = {"step_object"}


@pytest.fixture
def session():
    return Session(image(), labels())


@pytest.mark.parametrize("verb", [*PLANES, *IDS])
def test_what_is_no_whole_number_is_refused_in_words(session, verb):
    before = session.labels.data.copy()
    for value in NO_NUMBERS:
        if (value is None and verb in MAY_BE_NONE) or (value is HUGE and verb in MAY_BE_HUGE):
            continue
        with pytest.raises(InputError):
            (PLANES | IDS)[verb](session, value)
    assert np.array_equal(session.labels.data, before)
    assert not session.history()


@pytest.mark.parametrize("verb", [*PLANES, *IDS])
@pytest.mark.parametrize("one", [1, np.int64(1), np.uint8(1)], ids=lambda one: type(one).__name__)
def test_whole_numbers_of_numpy_are_as_good_as_those_of_python(session, verb, one):
    if (verb, type(one)) != ("client", int) and verb == "client":
        pytest.skip("requests are numbered by pages, not by hand")
    (PLANES | IDS)[verb](session, one)


@pytest.mark.parametrize("what", [*OTHERS])
def test_axes_and_clients_are_refused_in_words(session, what):
    for value in [*NO_NUMBERS, "zz"]:
        with pytest.raises(InputError):
            OTHERS[what](session, value)


def test_a_least_overlap_and_a_radius_are_numbers(session):
    for value in (float("nan"), -1, 2, "1", None, True):
        with pytest.raises(InputError):
            session.adopt_plane(PLANE, "xy", 0, iou=value)
    for value in (float("nan"), -1, "1", None, True, float("inf")):
        with pytest.raises(InputError):
            session.paint(POINT, id=1, radius=value)
    for value in ("1", True, float("nan"), [1, True, 1]):
        with pytest.raises(InputError):
            session.set_voxel_size(value)


@pytest.mark.parametrize("path", ["a" * 300 + ".mitonb", "bad\0name.mitonb", 5, b"bytes.mitonb", ["list"]])
def test_a_project_needs_a_name_that_the_disk_can_hold(session, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    for use in (lambda: Session(image(), path=path), lambda: Session.open(path), lambda: session.save_copy(path),
                lambda: session.save_as(path)):  # fmt: skip
        with pytest.raises(InputError, match="Choose another name"):
            use()
    assert not list(tmp_path.iterdir())
