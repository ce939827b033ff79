"""Look-ahead: a profile that joins two objects for some planes is cut; one that stays joined is not."""

from __future__ import annotations

import fastremap
import numpy as np
import pytest

from mitonb.post.tracking import Profiles, split_merged_profiles
from mitonb.recipe import Recipe
from tests.post.steps import track

APART = np.zeros((12, 30), np.uint32)
APART[2:10, 2:14], APART[2:10, 16:28] = 5, 9
JOINED = np.zeros_like(APART)
JOINED[2:10, 2:28] = 3


def split(reach: int, *planes: np.ndarray) -> np.ndarray:
    """Return planes with merged profiles cut, as a tracker does it."""
    done: list[np.ndarray] = []
    for z, plane in enumerate(planes):
        ids = fastremap.renumber(plane, in_place=False)[0].astype(np.uint32)
        after = [Profiles.of(later) for later in planes[z + 1 : z + 1 + reach]]
        done.append(split_merged_profiles(Profiles.of(done[-1]), ids, after) if done and after else ids)
    return np.stack(done)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_two_objects_that_run_together_for_a_while_stay_two(length: int) -> None:
    planes = split(3, APART, *[JOINED] * length, APART)
    assert len(planes) == length + 2
    assert [p.max() for p in planes] == [2] * (length + 2)
    assert (planes > 0).sum() == 2 * (APART > 0).sum() + length * (JOINED > 0).sum()
    assert track(planes, Recipe(lookahead=0)).max() == 2
    assert track(np.stack([APART, *[JOINED] * length, APART]), Recipe(lookahead=3)).max() == 2


def test_each_pixel_goes_to_the_nearer_object() -> None:
    middle = split(3, APART, JOINED, APART)[1]
    assert (middle[2:10, 2:15] == 1).all()
    assert (middle[2:10, 15:28] == 2).all()


def test_longer_than_the_reach_is_left_alone() -> None:
    planes = split(3, APART, *[JOINED] * 4, APART)
    assert [p.max() for p in planes] == [2, 1, 1, 1, 1, 2]


def test_branches_that_meet_for_good_are_left_alone() -> None:
    assert [p.max() for p in split(4, APART, JOINED, JOINED, JOINED)] == [2, 1, 1, 1]
    assert [p.max() for p in split(4, JOINED, JOINED, APART)] == [1, 1, 2]


def test_one_object_that_parts_later_is_left_alone() -> None:
    lone = np.where(APART == 5, APART, 0)
    assert [p.max() for p in split(4, lone, JOINED, APART)] == [1, 1, 2]


def test_no_reach_changes_nothing_but_names() -> None:
    assert [p.max() for p in split(0, APART, JOINED, APART)] == [2, 1, 2]


def test_names_have_no_effect() -> None:
    swapped = np.where(APART == 5, 8, np.where(APART == 9, 1, 0)).astype(np.uint32)
    np.testing.assert_array_equal(split(2, APART, JOINED, APART), split(2, swapped, JOINED, swapped))


def test_empty_planes_and_lone_planes_pass() -> None:
    empty = np.zeros_like(APART)
    assert split(2, empty, JOINED, empty).shape == (3, *APART.shape)
    assert split(2, JOINED).max() == 1
