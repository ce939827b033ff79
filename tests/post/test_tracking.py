"""Profiles of neighbouring planes become objects."""

from __future__ import annotations

import fastremap
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitonb.post.tables import overlaps
from mitonb.post.tracking import Tracker
from mitonb.recipe import Recipe
from tests.post.drawing import disk
from tests.post.steps import track


def stack(*planes: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    return np.stack(planes)


def square(*boxes: tuple[int, int, int, int, int], side: int = 200) -> npt.NDArray[np.uint32]:
    """Draw boxes (id, y0, y1, x0, x1), later ones over earlier ones."""
    plane = np.zeros((side, side), np.uint32)
    for number, y0, y1, x0, x1 in boxes:
        plane[y0:y1, x0:x1] = number
    return plane


def test_an_object_keeps_its_id_whatever_its_profiles_are_called() -> None:
    a, b = square((1, 0, 20, 0, 20), (2, 40, 60, 40, 60)), square((9, 0, 20, 0, 20), (3, 40, 60, 40, 60))
    objects = track(stack(a, b, a))
    assert objects[:, 5, 5].tolist() == [1, 1, 1]
    assert objects[:, 50, 50].tolist() == [2, 2, 2]


def test_matched_torn_and_new_profiles_as_in_the_published_example() -> None:
    before = square(
        (1, 0, 16, 0, 16), (2, 30, 50, 30, 50), (3, 0, 10, 190, 200), (4, 150, 200, 0, 50), (5, 170, 200, 170, 200),
        (6, 100, 130, 90, 110),
    )  # fmt: skip
    after = square(
        (11, 0, 16, 0, 16), (12, 30, 50, 30, 50), (13, 0, 10, 190, 200), (14, 150, 200, 0, 50), (15, 170, 200, 45, 80),
        (16, 180, 200, 180, 200), (17, 100, 115, 90, 110), (18, 115, 130, 90, 110), (19, 50, 75, 125, 160),
    )  # fmt: skip
    objects = track(stack(before, after))
    ids = {k: int(objects[0][before == k][0]) for k in range(1, 7)}
    now = {k: np.unique(objects[1][after == k]).tolist() for k in range(11, 20)}
    assert [now[k] for k in (11, 12, 13, 14)] == [[ids[k]] for k in (1, 2, 3, 4)]
    assert now[16] == [ids[5]]  # IoU 400 / 900
    assert now[17] == now[18] == [ids[6]]  # torn in two: both halves are covered by it
    assert now[15][0] not in ids.values()
    assert now[19][0] not in ids.values()
    assert now[15] != now[19]


def test_what_meets_late_is_one_object_from_its_beginnings() -> None:
    legs = square((1, 0, 40, 0, 10), (2, 0, 40, 20, 30), side=40)
    crotch = square((1, 0, 40, 0, 30), side=40)
    objects = track(stack(legs, legs, crotch))
    assert np.unique(objects[objects > 0]).tolist() == [1]


def test_an_object_that_misses_a_plane_goes_on_only_if_gaps_are_allowed() -> None:
    there, gone = square((1, 0, 20, 0, 20), side=30), square(side=30)
    planes = stack(there, gone, there, gone, gone, there)
    assert track(planes)[[0, 2, 5], 5, 5].tolist() == [1, 2, 3]
    assert track(planes, Recipe(gap=1))[[0, 2, 5], 5, 5].tolist() == [1, 1, 2]
    assert track(planes, Recipe(gap=2))[[0, 2, 5], 5, 5].tolist() == [1, 1, 1]


def test_a_gap_does_not_join_an_object_to_one_that_went_on_beside_it() -> None:
    wide = square((1, 0, 20, 0, 20), side=60)
    moved = square((1, 0, 20, 8, 28), side=60)
    second = square((1, 0, 20, 16, 36), (2, 0, 20, 0, 14), side=60)
    objects = track(stack(wide, moved, second), Recipe(gap=2))
    assert objects[2, 5, 30] == objects[0, 5, 5]


@pytest.mark.parametrize("upside_down", [False, True])
def test_gaps_are_bridged_forward_and_backward(upside_down: bool) -> None:
    """Two branches, an empty plane, and then their trunk: one object from its beginnings, whichever end comes first."""
    planes = np.zeros((5, 20, 20), np.uint32)
    planes[:2, 5:15, 2:8], planes[:2, 5:15, 12:18] = 1, 2
    planes[3:, 5:15, 2:18] = 1
    planes = planes[::-1].copy() if upside_down else planes
    there = planes > 0
    assert len(np.unique(track(planes, Recipe(gap=0, track_ioa=0.9))[there])) > 1
    assert np.unique(track(planes, Recipe(gap=1, track_ioa=0.9))[there]).tolist() == [1]


def test_profiles_below_both_overlaps_are_new_objects() -> None:
    before, after = square((1, 0, 20, 0, 20), side=60), square((1, 0, 20, 18, 38), side=60)
    objects = track(stack(before, after))  # IoU 40 / 760, IoA 40 / 400
    assert (objects[0, 5, 5], objects[1, 5, 30]) == (1, 2)
    assert track(stack(before, after), Recipe(track_ioa=0.1))[1, 5, 30] == 1


@given(st.integers(0, 2**32 - 1), st.integers(0, 2))
@settings(max_examples=40, deadline=None)
def test_tracking_does_not_depend_on_the_names_of_profiles(seed: int, gap: int) -> None:
    rng = np.random.default_rng(seed)
    planes = drifting(rng)
    renamed = planes.copy()
    for plane in renamed:
        names = np.concatenate([[0], rng.permutation(60) + 1 + rng.integers(0, 10**9)]).astype(np.uint32)
        plane[...] = names[plane]
    recipe = Recipe(gap=gap)
    assert np.array_equal(track(renamed, recipe), track(planes, recipe))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_tracking_upside_down_gives_objects_of_the_same_planes(seed: int) -> None:
    planes = drifting(np.random.default_rng(seed))
    objects = track(planes, Recipe(lookahead=0))
    assert np.array_equal(objects > 0, planes > 0)
    for plane, ids in zip(planes, objects, strict=True):
        for number in np.unique(plane[plane > 0]):
            assert len(np.unique(ids[plane == number])) == 1
    first = [int(np.flatnonzero(objects.ravel() == k)[0]) for k in range(1, objects.max() + 1)]
    assert first == sorted(first)


def drifting(rng: np.random.Generator) -> npt.NDArray[np.uint32]:
    """Draw disks that drift from plane to plane, sometimes missing one."""
    planes = np.zeros((6, 48, 48), np.uint32)
    place, radius = rng.uniform(0, 48, (7, 2)), rng.uniform(3, 9, 7)
    for z in range(len(planes)):
        place += rng.normal(0, 1.5, place.shape)
        for k in range(7):
            if rng.random() < 0.85:
                planes[z] = disk(planes[z], k + 1, *place[k], radius[k])
    return planes


def test_planes_can_come_one_by_one() -> None:
    planes = drifting(np.random.default_rng(3))
    tracker = Tracker(Recipe())
    planes = np.stack([fastremap.renumber(plane)[0] for plane in planes])
    numbered = [done for plane in planes for done in tracker.add(plane)] + list(tracker.rest())
    assert np.array_equal(tracker.objects()[np.stack(numbered)], track(planes))


def test_empty_planes_and_stacks_of_one_plane_are_no_special_case() -> None:
    assert not track(np.zeros((3, 4, 4), np.uint32)).any()
    assert track(np.ones((1, 4, 4), np.uint32)).all()
    assert track(np.ones((3, 1, 1), np.uint32)).tolist() == [[[1]]] * 3


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_overlap_tables_count_every_pair(seed: int) -> None:
    rng = np.random.default_rng(seed)
    high = int(rng.choice([3, 40, 2**32 - 1]))
    a, b = (rng.integers(0, high + 1, (30, 30)).astype(np.uint32) for _ in range(2))
    table = {(int(p), int(q)): int(n) for p, q, n in overlaps(a, b)}
    both = (a > 0) & (b > 0)
    pairs, counts = np.unique(np.stack([a[both], b[both]]), axis=1, return_counts=True)
    assert table == {(int(p), int(q)): int(n) for (p, q), n in zip(pairs.T, counts, strict=True)}
