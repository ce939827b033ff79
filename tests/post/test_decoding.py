"""Decoding finds the ids that targets were drawn from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mitonb.errors import InputError
from mitonb.maps import Maps
from mitonb.post.centers import connect, group, peaks
from mitonb.post.decoding import centers, decode
from mitonb.post.targets import targets
from mitonb.recipe import Recipe
from tests.post.drawing import arc, disk, ring, same_partition

EVERYTHING = Recipe(min_area=0, center_distance=1)


def blank(h: int = 64, w: int = 64) -> npt.NDArray[np.uint32]:
    return np.zeros((h, w), np.uint32)


def test_touching_profiles_keep_their_own_ids() -> None:
    drawn = blank()
    drawn[8:40, 8:32], drawn[8:40, 32:60] = 5, 9
    assert same_partition(decode(targets(drawn)), drawn)


def test_a_ring_and_the_disk_inside_it_are_two_profiles() -> None:
    drawn = disk(ring(blank(), 1, 32, 32, 24, 6), 2, 32, 32, 12)
    assert same_partition(decode(targets(drawn)), drawn)


def test_a_curved_profile_whose_center_lies_outside_is_one() -> None:
    drawn = arc(blank(), 3, 40, 32, 24, 8)
    cy, cx = ndimage.center_of_mass(drawn)
    assert drawn[round(cy), round(cx)] == 0
    assert same_partition(decode(targets(drawn)), drawn)


def test_two_pieces_of_one_id_become_two_profiles() -> None:
    drawn = blank()
    drawn[4:20, 4:20] = drawn[40:60, 40:60] = 7
    ids = decode(targets(drawn))
    assert (ids[10, 10], ids[50, 50]) == (1, 2)


def test_pieces_that_meet_at_a_corner_are_one() -> None:
    drawn = blank(8, 8)
    drawn[0:4, 0:4] = drawn[4:8, 4:8] = 1
    assert decode(targets(drawn), EVERYTHING).max() == 1


@pytest.mark.parametrize("semantic", ["float32", "float16", "uint8"])
def test_every_type_of_semantic_map_decodes_alike(semantic: str) -> None:
    drawn = disk(disk(blank(), 1, 20, 20, 12), 2, 40, 44, 14)
    maps = targets(drawn)
    scale = 255 if semantic == "uint8" else 1
    cast = Maps({"semantic": (maps.semantic * scale).astype(semantic), "center": maps.center, "offsets": maps.offsets})
    assert np.array_equal(decode(cast), decode(maps))


def test_the_kept_form_decodes_like_the_maps_it_came_from() -> None:
    drawn = disk(disk(blank(96, 96), 1, 30, 30, 20), 2, 62, 58, 22)
    for step in (1, 4):
        maps = targets(drawn, output_stride=step)
        assert np.array_equal(decode(maps.kept()), decode(maps))


def test_a_probability_equal_to_the_threshold_is_foreground() -> None:
    maps = targets(np.ones((8, 8), np.uint32))
    for threshold, reached, below in [(0.2, 51, 50), (0.5, 128, 127)]:
        at = Maps({"semantic": np.full((1, 8, 8), reached, np.uint8), "center": maps.center, "offsets": maps.offsets})
        under = Maps({"semantic": np.full((1, 8, 8), below, np.uint8), "center": maps.center, "offsets": maps.offsets})
        recipe = EVERYTHING.replace(semantic_threshold=threshold)
        assert decode(at, recipe).all()
        assert not decode(under, recipe).any()


def test_foreground_without_a_center_becomes_its_own_component() -> None:
    drawn = disk(disk(blank(), 1, 20, 20, 12), 2, 46, 46, 12)
    maps = targets(drawn)
    silent = Maps(
        {
            "semantic": maps.semantic,
            "center": np.where(drawn == 2, 0, maps.center * (drawn == 1)),
            "offsets": maps.offsets,
        }
    )
    assert len(centers(silent, Recipe())) == 1
    assert same_partition(decode(silent), drawn)
    mute = Maps({"semantic": maps.semantic, "center": np.zeros_like(maps.center), "offsets": maps.offsets})
    assert same_partition(decode(mute), drawn)


def test_small_profiles_are_dropped_and_numbers_have_no_gap() -> None:
    drawn = blank()
    drawn[2:6, 2:6], drawn[20:40, 20:40] = 1, 2  # 16 and 400 pixels
    ids = decode(targets(drawn), Recipe(min_area=17))
    assert ids[3, 3] == 0
    assert ids[30, 30] == 1
    assert decode(targets(drawn), Recipe(min_area=16)).max() == 2


def test_ids_are_numbered_in_reading_order() -> None:
    drawn = blank()
    drawn[30:50, 2:20], drawn[2:20, 30:50], drawn[2:20, 2:20] = 1, 2, 3
    ids = decode(targets(drawn))
    assert (ids[5, 5], ids[5, 40], ids[40, 5]) == (1, 2, 3)


def test_centers_closer_than_the_center_distance_are_one() -> None:
    heat = np.zeros((32, 32), np.float32)
    heat[10, 10], heat[10, 16] = 1.0, 0.8
    maps = Maps(
        {"semantic": np.ones((1, 32, 32), np.float32), "center": heat, "offsets": np.zeros((2, 32, 32), np.float32)}
    )
    assert centers(maps, Recipe(center_distance=7)).tolist() == [[10, 10]]
    assert centers(maps, Recipe(center_distance=6)).tolist() == [[10, 10], [10, 16]]
    coarse = Maps(
        {"semantic": np.ones((1, 128, 128), np.float32), "center": heat, "offsets": np.zeros((2, 32, 32), np.float32)},
        4,
    )
    assert len(centers(coarse, Recipe(center_distance=24))) == 2
    assert len(centers(coarse, Recipe(center_distance=25))) == 1


def test_a_plateau_has_one_center_in_its_middle() -> None:
    heat = np.zeros((21, 21), np.float32)
    heat[8:13, 8:13] = 0.9
    assert peaks(heat, 0.1, 1).tolist() == [[10, 10]]
    assert peaks(np.ones((5, 5)), 0.1, 3).tolist() == [[2, 2]]
    assert len(peaks(np.ones((200, 200)), 0.1, 3)) == 1


def test_a_shoulder_beside_a_peak_is_no_center() -> None:
    heat = np.array([[0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.6]], np.float32)
    assert peaks(heat, 0.1, 1).tolist() == [[0, 6]]


def test_of_equal_peaks_within_the_radius_the_first_stands() -> None:
    heat = np.zeros((9, 9), np.float32)
    heat[2, 2] = heat[2, 4] = heat[8, 8] = 0.7
    assert peaks(heat, 0.1, 2).tolist() == [[2, 2], [8, 8]]
    assert peaks(heat, 0.1, 1).tolist() == [[2, 2], [2, 4], [8, 8]]


def test_a_peak_must_be_above_the_threshold_and_a_number() -> None:
    heat = np.zeros((9, 9), np.float32)
    heat[2, 2], heat[6, 6] = 0.5, np.nan
    assert len(peaks(heat, 0.5, 1)) == 0
    assert peaks(heat, 0.49, 1).tolist() == [[2, 2]]


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_peaks_are_the_maxima_of_their_windows(seed: int, radius: int) -> None:
    heat = np.random.default_rng(seed).random((40, 33)).astype(np.float32)
    window = ndimage.maximum_filter(heat, 2 * radius + 1, mode="constant", cval=-1)
    assert peaks(heat, 0.3, radius).tolist() == np.argwhere((heat == window) & (heat > 0.3)).tolist()


@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.sampled_from([1, 2, 4]))
@settings(max_examples=30, deadline=None)
def test_each_pixel_goes_to_the_center_nearest_to_where_it_points(seed: int, count: int, step: int) -> None:
    rng = np.random.default_rng(seed)
    h, w = 37, 61
    mh, mw = -(-h // step), -(-w // step)
    points = np.stack([rng.integers(0, mh, count), rng.integers(0, mw, count)], axis=1)
    offsets = rng.normal(0, 30, (2, mh, mw)).astype(np.float32)
    mask = rng.random((h, w)) < 0.6
    got = group(mask, offsets, points, output_stride=step)
    assert np.array_equal(got > 0, mask)
    for y, x in np.argwhere(mask)[::7]:
        if y % step == 0 and x % step == 0:  # where the map has a pixel of its own
            spot = np.float32([y, x]) + offsets[:, y // step, x // step]
            distance = ((points.astype(np.float32) * np.float32(step) - spot) ** 2).sum(axis=1)
            assert distance[got[y, x] - 1] == distance.min()


def between(mask: npt.NDArray[np.bool_], offsets: npt.NDArray[np.float32], y: int, x: int, step: int) -> list[float]:
    """Return the place that a pixel points at: the mean of those of the map pixels around, foreground before others."""
    h, w = offsets.shape[1:]
    corners = [(min(y // step + k // 2, h - 1), min(x // step + k % 2, w - 1), k) for k in range(4)]
    corners = [c for c in corners if mask[c[0] * step, c[1] * step]] or corners
    fy, fx = y % step / step, x % step / step
    parts = [(fy if k > 1 else 1 - fy) * (fx if k % 2 else 1 - fx) + 1e-6 for _, _, k in corners]
    places = [np.array([i, j]) * step + offsets[:, i, j] for i, j, _ in corners]
    mean: list[float] = np.average(places, axis=0, weights=parts).tolist()
    return mean


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3, 4, 8]), st.floats(0.02, 0.98))
@settings(max_examples=40, deadline=None)
def test_between_map_pixels_the_mean_of_their_places_counts(seed: int, step: int, part: float) -> None:
    rng = np.random.default_rng(seed)
    h, w = rng.integers(1, 40), rng.integers(1, 150)
    mh, mw = -(-h // step), -(-w // step)
    points = np.stack([rng.integers(0, mh, 12), rng.integers(0, mw, 12)], axis=1)
    offsets = rng.normal(0, rng.choice([1, 10]), (2, mh, mw)).astype(np.float32)
    mask = rng.random((h, w)) < part
    if seed % 2:
        mask = ndimage.binary_opening(mask, np.ones((3, 3)))
    got = group(mask, offsets, points, output_stride=step)
    assert np.array_equal(got > 0, mask)
    for y, x in np.argwhere(mask):
        distance = np.linalg.norm(points * step - between(mask, offsets, y, x, step), axis=1)
        assert distance[got[y, x] - 1] <= distance.min() + 1e-3


def test_a_center_that_no_corner_points_at_wins_between_them() -> None:
    offsets = np.zeros((2, 2, 2), np.float32)
    offsets[1, :, 1] = 24  # the map pixels of column 0 point at column 0, those of column 8 at column 32
    centers = np.array([[0, 0], [0, 4], [0, 2]])  # at columns 0, 32 and 16
    mask = np.ones((16, 16), np.bool_)
    assert group(mask, offsets, centers[:2], output_stride=8)[0, [1, 3, 5, 7]].tolist() == [1, 1, 2, 2]
    assert group(mask, offsets, centers, output_stride=8)[0, [1, 3, 5, 7]].tolist() == [1, 3, 3, 2]


def test_offsets_that_are_no_numbers_count_as_none() -> None:
    offsets = np.full((2, 4, 4), np.nan, np.float32)
    assert group(np.ones((4, 4), bool), offsets, np.array([[0, 0], [3, 3]]))[3, 3] == 2


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_pieces_agree_with_components_of_each_id_and_of_masks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 4, (rng.integers(1, 24), rng.integers(1, 24))).astype(np.uint32)
    got, count = connect(ids)
    want = np.zeros(ids.shape, np.uint32)
    for number in (1, 2, 3):
        pieces, _ = ndimage.label(ids == number, np.ones((3, 3)))
        want[pieces > 0] = pieces[pieces > 0] + want.max()
    assert same_partition(got, want)
    assert count == len(np.unique(want[want > 0]))
    assert connect(ids > 1)[1] == ndimage.label(ids > 1, np.ones((3, 3)))[1]  # masks, of one row, too
    firsts = [int(np.flatnonzero(got.ravel() == k)[0]) for k in range(1, count + 1)]
    assert firsts == sorted(firsts)


@st.composite
def planes(draw: st.DrawFn) -> npt.NDArray[np.uint32]:
    """Draw touching disks, arcs and rings; each keeps a center of its own."""
    plane = blank(draw(st.integers(40, 100)), draw(st.integers(40, 100)))
    for number in range(1, draw(st.integers(1, 9)) + 1):
        y, x = draw(st.integers(0, plane.shape[0] - 1)), draw(st.integers(0, plane.shape[1] - 1))
        radius = draw(st.integers(3, 24))
        shape = draw(st.sampled_from(["disk", "arc", "ring"]))
        if shape == "disk":
            plane = disk(plane, number, y, x, radius)
        else:
            plane = (arc if shape == "arc" else ring)(plane, number, y, x, radius, draw(st.integers(3, 8)))
    return plane


def centroids_are_apart(pieces: npt.NDArray[np.uint32], least: float) -> bool:
    """Say whether the pieces have centroids that no heatmap would join."""
    middle = np.array(ndimage.center_of_mass(pieces > 0, pieces, np.arange(1, pieces.max() + 1)))
    gaps = np.abs(middle[:, None] - middle[None]).max(axis=2)
    return bool((gaps + np.eye(len(middle)) * 1e9 >= least).all())


@given(planes())
@settings(max_examples=150, deadline=None)
def test_decoding_is_the_inverse_of_targets(drawn: npt.NDArray[np.uint32]) -> None:
    pieces, count = connect(drawn)
    if count == 0:
        assert not decode(targets(drawn), EVERYTHING).any()
        return
    if centroids_are_apart(pieces, 3):
        assert np.array_equal(decode(targets(drawn), EVERYTHING), pieces)
        assert np.array_equal(decode(targets(drawn).kept(), EVERYTHING), pieces)
    again = targets(decode(targets(drawn), EVERYTHING))
    assert np.array_equal(decode(again, EVERYTHING) > 0, drawn > 0)


@given(planes())
@settings(max_examples=50, deadline=None)
def test_coarse_heads_lose_no_more_than_border_pixels(drawn: npt.NDArray[np.uint32]) -> None:
    pieces, count = connect(drawn, 40)
    if count == 0 or not centroids_are_apart(pieces, 12):
        return
    insides = [ndimage.binary_erosion(pieces == k, np.ones((3, 3)), iterations=4) for k in range(1, count + 1)]
    if not all(inside.any() for inside in insides):
        return  # a profile thinner than two pixels of the head's grid is more than that grid can tell
    ids = decode(targets(pieces, output_stride=4), Recipe(min_area=0, center_distance=8))
    assert np.array_equal(ids > 0, pieces > 0)
    for inside in insides:
        assert len(np.unique(ids[inside])) <= 1


@pytest.mark.parametrize("lead", [0, 1, 2, 3])
def test_borders_stay_where_they_are_wherever_map_pixels_stand(lead: int) -> None:
    for border in range(24, 40):
        drawn = blank()
        drawn[8:40, 8:border], drawn[8:40, border:60] = 1, 2
        fine = targets(drawn)
        center, offsets = fine.center[lead::4, lead::4], fine.offsets[:, lead::4, lead::4]
        wrong = decode(Maps({"semantic": fine.semantic, "center": center, "offsets": offsets}, 4, lead)) != drawn
        assert not wrong[:, np.abs(np.arange(wrong.shape[1]) - border + 0.5) > 3].any()


def test_a_wrong_class_is_refused_with_the_classes_that_there_are() -> None:
    with pytest.raises(InputError, match=r"1 classes \(0 to 0\), got class 1"):
        decode(targets(blank()), kind=1)


def test_of_several_classes_a_pixel_belongs_to_the_most_probable() -> None:
    semantic = np.zeros((2, 16, 16), np.float32)
    semantic[0, :, :] = 0.6
    semantic[1, :, 8:] = 0.8
    maps = Maps(
        {"semantic": semantic, "center": np.zeros((16, 16), np.float32), "offsets": np.zeros((2, 16, 16), np.float32)}
    )
    assert decode(maps, EVERYTHING, kind=0)[:, :8].all()
    assert not decode(maps, EVERYTHING, kind=0)[:, 8:].any()
    assert decode(maps, EVERYTHING, kind=1)[:, 8:].all()


def test_targets_refuse_what_are_no_ids() -> None:
    with pytest.raises(InputError, match="integer ids"):
        targets(np.zeros((1, 2, 4, 4), np.uint32))
    with pytest.raises(InputError, match="integer ids"):
        targets(np.zeros((4, 4)))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="Renumber"):
        targets(np.full((4, 4), -1))
    with pytest.raises(InputError, match="semantic, center, offsets, contour, distance, affinities, got 'border'"):
        targets(blank(), heads=["semantic", "border"])


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (3, 3)])
def test_the_smallest_planes_are_no_special_case(shape: tuple[int, int]) -> None:
    for step in (1, 4):
        assert (
            decode(targets(np.ones(shape, np.uint32), output_stride=step), EVERYTHING).tolist()
            == np.ones(shape).tolist()
        )
        assert not decode(targets(np.zeros(shape, np.uint32), output_stride=step), EVERYTHING).any()


HEADS = {
    "centers": ("semantic", "center", "offsets"),
    "contours": ("semantic", "contour"),
    "distances": ("semantic", "contour", "distance"),
    "affinities": ("semantic", "affinities"),
    "semantic": ("semantic",),
}


def crowd() -> npt.NDArray[np.uint32]:
    """Draw five balls in a block; two pairs touch."""
    z, y, x = np.indices((24, 48, 64))
    ids = np.zeros(z.shape, np.uint32)
    balls = [(12, 12, 12, 10), (12, 12, 32, 10), (12, 34, 14, 9), (12, 36, 40, 10), (10, 36, 57, 7)]
    for k, (cz, cy, cx, r) in enumerate(balls, 1):
        ids[((z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 < r**2) & (ids == 0)] = k
    return ids


def iou(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("plane", [False, True])
@pytest.mark.parametrize("decoder", HEADS)
def test_every_decoder_finds_the_ids_of_its_targets_in_planes_and_in_blocks(
    decoder: str, plane: bool, kept: bool
) -> None:
    drawn = crowd()[12] if plane else crowd()
    maps = targets(drawn, heads=HEADS[decoder])
    ids = decode(maps.kept() if kept else maps)
    if decoder == "semantic":  # touching balls become one
        assert same_partition(ids, connect(drawn > 0)[0])
        return
    assert np.array_equal(ids > 0, drawn > 0)
    assert ids.max() == 5
    for k in range(1, 6):
        found = np.bincount(ids[drawn == k]).argmax()
        # A watershed places the border between two seeds by itself.
        assert iou(ids == found, drawn == k) > (0.9 if decoder in ("contours", "distances") else 0.999)


@pytest.mark.parametrize("decoder", [name for name in HEADS if name != "semantic"])
def test_objects_that_meet_in_neighbouring_planes_are_told_apart(decoder: str) -> None:
    drawn = np.zeros((24, 40, 40), np.uint32)
    drawn[:12, 4:30, 4:30], drawn[12:, 8:36, 8:36] = 1, 2
    ids = decode(targets(drawn, heads=HEADS[decoder]))
    assert ids.max() == 2
    assert min(iou(ids == k, drawn == k) for k in (1, 2)) > 0.9


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_centers_of_a_block_are_found_at_any_stride(stride: int) -> None:
    drawn, _ = connect(crowd())
    maps = targets(drawn, output_stride=stride)
    assert maps.offsets.shape == (3, 24 // stride, 48 // stride, 64 // stride)
    found = sorted(centers(maps, Recipe()).tolist(), key=lambda place: place[1:])
    middles = [[12, 12, 12], [12, 12, 32], [12, 34, 14], [12, 36, 40], [10, 36, 57]]
    assert np.abs(np.array(found) - middles).max() <= stride
    ids = decode(maps)
    assert ids.max() == 5
    assert (ids != drawn).mean() < 0.001 * stride


def test_foreground_that_no_seed_reaches_becomes_an_object_of_its_own() -> None:
    drawn = disk(disk(blank(), 1, 20, 20, 12), 2, 46, 46, 12)
    maps = targets(drawn, heads=["semantic", "contour"])
    faint = maps.replace(semantic=np.where(drawn == 2, np.float32(0.6), maps.semantic))
    assert same_partition(decode(faint), drawn)


def test_pieces_and_none_ask_for_nothing_but_the_semantic_map() -> None:
    drawn = crowd()
    for heads in HEADS.values():
        maps = targets(drawn, heads=heads)
        assert decode(maps, Recipe(instances="pieces")).max() == connect(drawn > 0)[1]
        assert np.array_equal(decode(maps, Recipe(instances="none")), drawn > 0)
