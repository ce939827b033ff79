"""Objects of three directions become one set."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitonb.errors import InputError
from mitonb.post.cleaning import fill_holes
from mitonb.recipe import Recipe
from tests.post.drawing import same_partition
from tests.post.steps import clean, consensus, track

if TYPE_CHECKING:
    from mitonb.stack import Axis

Volume = npt.NDArray[np.uint32]


def bar(*parts: tuple[int, int, int], length: int = 60) -> Volume:
    """Draw a bar of 10 x 10 along x with parts (id, start, stop)."""
    volume = np.zeros((20, 20, length), np.uint32)
    for number, start, stop in parts:
        volume[5:15, 5:15, start:stop] = number
    return volume


def three(xy: Volume, xz: Volume, yz: Volume) -> dict[Axis, Volume]:
    return {"xy": xy, "xz": xz, "yz": yz}


def test_three_directions_that_agree_give_what_they_say() -> None:
    volume = bar((4, 0, 20), (9, 20, 50))
    assert same_partition(consensus(three(volume, volume, volume)), volume)


def test_an_object_torn_by_one_direction_stays_whole() -> None:
    whole, torn = bar((1, 5, 55)), bar((1, 5, 25), (2, 25, 55))
    for order in itertools.permutations([whole, whole, torn]):
        assert same_partition(consensus(three(*order)), whole)


def test_objects_joined_by_one_direction_stay_two() -> None:
    two, joined = bar((1, 5, 30), (2, 30, 55)), bar((1, 5, 55))
    for order in itertools.permutations([two, two, joined]):
        assert same_partition(consensus(three(*order)), two)


def test_directions_that_tear_in_different_places_are_all_outvoted() -> None:
    one, other, whole = bar((1, 5, 35), (2, 35, 55)), bar((1, 5, 20), (2, 20, 55)), bar((1, 5, 55))
    assert same_partition(consensus(three(one, other, whole)), whole)


def test_a_border_drawn_in_different_places_joins_nothing() -> None:
    a, b, c = (bar((1, 5, x), (2, x, 55)) for x in (28, 30, 33))
    ids = consensus(three(a, b, c))
    assert ids.max() == 2
    assert same_partition(ids, b)


def test_votes_say_how_many_directions_must_find_a_voxel() -> None:
    a, b, c = bar((1, 10, 50)), bar((1, 20, 50)), bar((1, 20, 40))
    for votes, start, stop in [(1, 10, 50), (2, 20, 50), (3, 20, 40)]:
        assert same_partition(consensus(three(a, b, c), Recipe(votes=votes)), bar((1, start, stop)))


def test_an_object_of_one_direction_is_kept_only_on_request() -> None:
    common, more = bar((1, 5, 20)), bar((1, 5, 20), (2, 30, 50))
    for votes in (1, 2, 3):
        volumes = three(common, more, common)
        assert same_partition(consensus(volumes, Recipe(votes=votes)), common)
        assert same_partition(consensus(volumes, Recipe(votes=votes, lone_objects=True)), more)


def test_two_directions_join_where_their_objects_are_surely_one() -> None:
    whole, torn = bar((1, 0, 50)), bar((1, 0, 40), (2, 40, 50))
    volumes: dict[Axis, Volume] = {"xy": whole, "yz": torn}
    assert consensus(volumes).max() == 2  # one says one, the other says two: nothing is joined without a majority
    surely = consensus(volumes, Recipe(consensus_iou=0.1))
    assert same_partition(surely, whole)


def test_one_direction_is_its_own_consensus() -> None:
    volume = bar((3, 0, 20), (7, 30, 50))
    assert np.array_equal(consensus({"xz": volume}), volume)


def test_balls_of_the_published_example() -> None:
    def ball(center: int) -> npt.NDArray[np.bool_]:
        z, y, x = np.ogrid[:100, :100, :100]
        inside: npt.NDArray[np.bool_] = (z - center) ** 2 + (y - center) ** 2 + (x - center) ** 2 <= 400
        return inside

    first, second = ball(20), ball(35)
    cut = second.copy()
    cut[:, 35:, 35:] = False
    third = np.zeros((100, 100, 100), bool)
    third[0:41, 59:100, 59:100] = ball(20)[:41, :41, :41]
    xy, xz, yz = (np.zeros((100, 100, 100), np.uint32) for _ in range(3))
    xy[first], xz[first], yz[first] = 1, 1, 1
    xy[second], xz[cut], yz[cut] = 2, 2, 1
    xz[third] = 3
    ids = consensus(three(xy, xz, yz))
    assert ids.max() == 2
    assert np.array_equal(ids == 2, cut)
    assert np.array_equal(ids == 1, first & ~cut)
    assert consensus(three(xy, xz, yz), Recipe(votes=1, lone_objects=True)).max() == 3


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.booleans())
@settings(max_examples=40, deadline=None)
def test_consensus_does_not_depend_on_the_names_of_objects(seed: int, votes: int, lone: bool) -> None:
    rng = np.random.default_rng(seed)
    volumes = [blocks(rng) for _ in range(3)]
    renamed = [(rng.permutation(30).astype(np.uint32) + 1)[v] * (v > 0) for v in volumes]
    recipe = Recipe(votes=votes, lone_objects=lone, consensus_iou=0.4)
    ids = consensus(three(*volumes), recipe)
    assert np.array_equal(consensus(three(*renamed), recipe), ids)
    backwards = dict(reversed(three(*volumes).items()))
    assert np.array_equal(consensus(backwards, recipe), ids)
    first = [int(np.flatnonzero(ids.ravel() == k)[0]) for k in range(1, ids.max() + 1)]
    assert first == sorted(first)
    found = np.count_nonzero(np.stack(volumes), axis=0)
    assert np.array_equal((ids > 0) & (found >= votes), found >= votes) or votes == 1


def blocks(rng: np.random.Generator) -> Volume:
    """Draw up to ten boxes that may cover each other."""
    volume = np.zeros((8, 16, 16), np.uint32)
    for k in range(1, 11):
        a, b = rng.integers(0, (8, 16, 16)), rng.integers(2, 9, 3)
        volume[tuple(slice(p, p + q) for p, q in zip(a, b, strict=True))] = k
    return volume


def test_a_hole_is_filled_and_a_neighbour_in_it_is_not_eaten() -> None:
    plane = np.ones((12, 12), np.uint32)
    plane[2:5, 2:5] = 0
    plane[7:11, 7:11] = 0
    plane[8, 8] = 2
    fill_holes(plane)
    assert (plane[2:5, 2:5] == 1).all()
    assert plane[8, 8] == 2
    assert (plane[7:11, 7:11] == 0).sum() == 15


def test_a_gap_between_two_objects_or_at_the_border_is_no_hole() -> None:
    plane = np.zeros((9, 12), np.uint32)
    plane[1:8, 1:6], plane[1:8, 7:11] = 1, 2
    plane[1, 6], plane[7, 6] = 1, 2
    plane[4, 0:4] = 0
    before = plane.copy()
    fill_holes(plane)
    assert np.array_equal(plane, before)


def test_diagonal_bars_keep_every_pixel() -> None:
    y, x = np.indices((60, 60))
    plane = np.where(np.abs(x - y) < 4, 1, np.where(np.abs(x - y - 16) < 4, 2, 0)).astype(np.uint32)
    before = plane.copy()
    fill_holes(plane)
    assert np.array_equal(plane, before)


def test_a_hole_closed_only_at_corners_is_closed() -> None:
    plane = np.array([[0, 0, 0, 0, 0], [0, 0, 3, 0, 0], [0, 3, 0, 3, 0], [0, 0, 3, 0, 0], [0, 0, 0, 0, 0]], np.uint32)
    fill_holes(plane)
    assert plane[2, 2] == 3


def test_small_and_flat_objects_are_dropped() -> None:
    volume = np.zeros((10, 20, 20), np.uint32)
    volume[0:5, 0:5, 0:5], volume[3, 10:20, 10:20], volume[6:9, 0:2, 0:2] = 1, 2, 3  # 125, 100 (flat), 12 voxels
    kept = clean(volume, Recipe(min_size=100, min_span=2))
    assert np.array_equal(kept, (volume == 1).astype(np.uint32))
    assert clean(volume, Recipe(min_size=100, min_span=1)).max() == 2
    assert clean(volume, Recipe(min_size=0, min_span=2)).max() == 2
    assert volume.max() == 3


def test_a_stack_of_one_plane_is_not_all_flat() -> None:
    volume = np.ones((1, 30, 30), np.uint32)
    assert clean(volume, Recipe(min_span=5)).all()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_filling_only_ever_adds_to_the_object_around(seed: int) -> None:
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    plane = rng.choice([0, 1, 1, 2], (rng.integers(3, 20), rng.integers(3, 20))).astype(np.uint32)
    filled = plane.copy()
    fill_holes(filled)
    assert np.array_equal(filled[plane > 0], plane[plane > 0])
    regions, count = ndimage.label(plane == 0)
    for k in range(1, count + 1):
        inside = regions == k
        around = np.unique(plane[ndimage.binary_dilation(inside) & ~inside])
        rows, columns = np.nonzero(inside)
        at_border = (
            rows.min() == 0 or columns.min() == 0 or (np.array([rows.max(), columns.max()]) + 1 == plane.shape).any()
        )
        want = 0 if at_border or len(around) != 1 else around[0]
        assert (filled[inside] == want).all()


def test_ids_beyond_32_bits_are_refused_and_never_cut_off() -> None:
    large = np.full((3, 9, 9), 2**32, np.uint64)
    with pytest.raises(InputError, match=r"from 0 to 4294967295, got uint64\. Renumber"):
        clean(large)
    with pytest.raises(InputError, match="Renumber"):
        consensus({"xy": large})
    with pytest.raises(InputError, match="Renumber"):
        track(large)
    small = np.full((3, 9, 9), 7, np.int64)
    assert (clean(small, Recipe(min_size=1)) == 1).all()


def test_one_plane_is_judged_by_area_and_a_volume_by_size() -> None:
    volume = np.zeros((2, 20, 20), np.uint32)
    volume[0, :10, :12] = 1
    recipe = Recipe(min_area=100, min_size=1000, min_span=1)
    assert clean(volume[:1], recipe).max() == 1
    assert clean(volume, recipe).max() == 0


def test_objects_that_the_border_cuts_off_are_dropped_on_request() -> None:
    labels = np.zeros((6, 9, 9), np.uint32)
    labels[1:5, 2:5, 2:5] = 7
    labels[1:3, 6:8, 6:9] = 3  # reaches the last column
    labels[0:2, 1:3, 6:8] = 4  # reaches the first plane
    recipe = Recipe(min_size=1, min_span=1)
    assert clean(labels, recipe).max() == 3
    assert np.array_equal(clean(labels, recipe.replace(drop_border=True)), labels == 7)


def test_in_one_plane_the_border_is_that_of_the_plane() -> None:
    plane = np.zeros((1, 9, 9), np.uint32)
    plane[0, 2:5, 2:5], plane[0, 7:, 7:] = 1, 2
    recipe = Recipe(min_size=1, min_span=1, drop_border=True)
    assert np.array_equal(clean(plane, recipe), plane == 1)


@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=40, deadline=None)
def test_cleaning_never_gives_a_voxel_of_one_object_to_another(seed: int, border: bool) -> None:
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 5, (3, 4, 4)), np.ones((2, 4, 4))).astype(np.uint32)
    labels[rng.random(labels.shape) < 0.05] = 0
    recipe = Recipe(min_size=int(rng.integers(1, 200)), min_span=int(rng.integers(1, 5)), drop_border=border)
    cleaned = clean(labels, recipe)
    both = (labels > 0) & (cleaned > 0)
    pairs = np.unique(np.stack([labels[both], cleaned[both]]), axis=1)
    assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]
    stay = np.isin(labels, pairs[0]) & (labels > 0)
    assert (cleaned[stay] > 0).all()  # what stays loses nothing
