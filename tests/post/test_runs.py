"""Planes of ids become runs, are turned and numbered, and come back as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitonb.errors import InputError
from mitonb.post.run_tables import numbered, shared
from mitonb.post.runs import Runs, joined, paint, relabelled, runs_of
from mitonb.post.tables import overlaps
from mitonb.post.turning import turned
from mitonb.stack import AXES

if TYPE_CHECKING:
    from mitonb.stack import Axis

Volume = npt.NDArray[np.uint32]


def speckled(seed: int, high: int = 5) -> Volume:
    """Draw a volume of short runs, and of long ones that a vector of pixels sees as one."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(s) for s in rng.integers(1, [5, 7, 90]))
    ids = rng.integers(0, high, shape)
    if rng.random() < 0.5:
        ids = np.repeat(ids, rng.integers(1, 50), axis=2)
    return (ids * (rng.random(ids.shape[:2]) < 0.8)[..., None]).astype(np.uint32)


def same(a: Runs, b: Runs) -> bool:
    return a.shape == b.shape and all(
        np.array_equal(getattr(a, name), getattr(b, name)) for name in ("first", "start", "stop", "ids")
    )


def test_runs_of_a_drawn_plane() -> None:
    runs = runs_of(np.array([[5, 5, 0, 5], [0, 0, 0, 0], [2, 7, 7, 7]], np.uint32))
    assert runs.shape == (1, 3, 4)
    assert list(zip(runs.start.tolist(), runs.stop.tolist(), runs.ids.tolist(), strict=True)) == [
        (0, 2, 5), (3, 4, 5), (0, 1, 2), (1, 4, 7),
    ]  # fmt: skip
    assert runs.first.tolist() == [0, 2, 2, 4]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_what_is_painted_is_what_runs_were_taken_from(seed: int) -> None:
    ids = speckled(seed)
    runs = runs_of(ids)
    assert np.array_equal(paint(runs), ids)
    written = np.full(ids.shape[::-1], 9, np.uint32).T
    assert paint(runs, written) is written
    assert np.array_equal(written, ids)
    assert all(a < b for a, b in zip(runs.start, runs.stop, strict=True))
    one_row = np.diff(np.repeat(np.arange(len(runs.first) - 1), np.diff(runs.first))) == 0
    touching = one_row & (runs.stop[:-1] == runs.start[1:])
    assert (runs.ids[:-1][touching] != runs.ids[1:][touching]).all()


@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=30, deadline=None)
def test_nothing_is_painted_beside_the_planes_that_were_given(seed: int, clear: bool) -> None:
    ids = speckled(seed)
    around = np.full((len(ids) + 2, *ids.shape[1:]), 9, np.uint32)
    paint(runs_of(ids), around[1:-1], clear=clear)
    assert (around[[0, -1]] == 9).all()
    assert np.array_equal(around[1:-1], ids if clear else np.where(ids > 0, ids, 9))


@pytest.mark.parametrize("axis", ["xy", "xz", "yz"])
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_turned_planes_are_the_runs_of_the_turned_volume(axis: Axis, seed: int) -> None:
    planes = speckled(seed)
    assert same(turned(runs_of(planes), axis), runs_of(np.moveaxis(planes, 0, AXES[axis])))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_planes_can_be_taken_out_and_put_together_again(seed: int) -> None:
    ids = speckled(seed)
    runs = runs_of(ids)
    middle = len(ids) // 2
    assert same(joined([runs.block(0, middle), runs.block(middle, len(ids))]), runs)
    assert same(joined([runs_of(plane) for plane in ids]), runs)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_new_ids_join_runs_that_touch_and_drop_those_of_nothing(seed: int) -> None:
    ids = speckled(seed, 9)
    table = np.array([0, 1, 1, 1, 0, 2, 2, 0, 3], np.uint32)
    assert same(relabelled(runs_of(ids), table), runs_of(table[ids]))
    assert np.array_equal(paint(runs_of(ids), table=table), table[ids])


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_tables_of_runs_are_those_of_their_pixels(seed: int) -> None:
    a = speckled(seed, 2**32 if seed % 3 == 0 else 300)
    b = np.roll(a, 1, axis=2) % 11 if seed % 2 else a[::-1]
    assert np.array_equal(shared(runs_of(a), runs_of(b)), overlaps(a, b))
    runs, areas = numbered(runs_of(a), begin=100)
    there, first, counts = np.unique(a[a > 0], return_index=True, return_counts=True)
    order = np.argsort(first)
    ids = np.zeros_like(a)
    for number, k in enumerate(order, 100):
        ids[a == there[k]] = number
    assert np.array_equal(paint(runs), ids)
    assert np.array_equal(areas, counts[order])


def test_numbers_follow_the_first_pixels() -> None:
    runs, areas = numbered(runs_of(np.array([[0, 2**32 - 1, 5], [5, 1, 2**32 - 1]], np.uint32)))
    assert paint(runs)[0].tolist() == [[0, 1, 2], [2, 3, 1]]
    assert areas.tolist() == [2, 2, 1]


def test_runs_say_what_does_not_fit() -> None:
    runs = runs_of(np.ones((2, 3, 4), np.uint32))
    with pytest.raises(InputError, match=r"\(h, w\)"):
        runs_of(np.ones(4, np.uint32))
    with pytest.raises(InputError, match="do not fit"):
        paint(runs, np.zeros((2, 3, 5), np.uint32))
    with pytest.raises(InputError, match="planes 0 to 2"):
        runs.block(1, 3)
    with pytest.raises(InputError, match="one shape"):
        joined([runs, runs_of(np.ones((3, 3), np.uint32))])
