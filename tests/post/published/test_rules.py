"""The published rules, quirks included, on drawn data."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from mitonb.maps import Maps
from mitonb.post.decoding import centers, decode
from mitonb.post.published import enlarge, group, merge_clusters, modes, peaks
from mitonb.post.targets import targets
from mitonb.recipe import PRESETS
from tests.post.drawing import disk, same_partition
from tests.post.steps import consensus, track

EMPANADA = PRESETS["empanada"]
FINE = EMPANADA.replace(fine_boundaries=True, center_window=7)

Volume = npt.NDArray[np.uint32]


def test_all_pixels_of_a_plateau_are_centers_and_the_threshold_itself_is_none() -> None:
    heat = np.zeros((9, 12), np.float32)
    heat[4, 4] = heat[4, 5] = 0.5
    heat[4, 10] = 0.1
    assert peaks(heat, 0.1, 3).tolist() == [[4, 4], [4, 5]]


def test_an_even_window_reaches_one_pixel_farther_back() -> None:
    heat = np.zeros((1, 12), np.float32)
    heat[0, 2], heat[0, 4] = 0.5, 0.9  # the lower one comes first: the higher is two pixels ahead of it
    assert peaks(heat, 0.1, 4).tolist() == [[0, 2], [0, 4]]
    heat[0, 2], heat[0, 4] = 0.9, 0.5
    assert peaks(heat, 0.1, 4).tolist() == [[0, 2]]


@given(st.integers(0, 2**32 - 1), st.integers(1, 7))
@settings(max_examples=60, deadline=None)
def test_centers_are_the_highest_of_their_windows(seed: int, window: int) -> None:
    rng = np.random.default_rng(seed)
    heat = rng.integers(0, 6, rng.integers(1, 14, 2)).astype(np.float32) / 5
    back, ahead = window // 2, (window - 1) // 2
    want = [
        [y, x]
        for y, x in np.ndindex(heat.shape)
        if heat[y, x] > np.float32(0.2)
        and heat[max(0, y - back) : y + ahead + 1, max(0, x - back) : x + ahead + 1].max() == heat[y, x]
    ]
    assert peaks(heat, 0.2, window).tolist() == want


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 4]))
@settings(max_examples=60, deadline=None)
def test_every_pixel_goes_to_the_first_of_the_nearest_centers(seed: int, step: int) -> None:
    rng = np.random.default_rng(seed)
    h, w = rng.integers(1, 20, 2)
    mask = rng.random((h * step, w * step)) < 0.6
    offsets = rng.integers(-6, 7, (2, h, w)).astype(np.float32)
    points = np.argwhere(rng.random((h, w)) < 0.2)
    places = np.indices((h, w)).astype(np.float64) * step + offsets
    away = ((places[None] - points[:, :, None, None] * step) ** 2).sum(axis=1)
    nearest = away.argmin(axis=0) + 1 if len(points) else np.zeros((h, w), np.int64)
    want = np.where(mask, np.kron(nearest, np.ones((step, step), np.int64)), 0)
    assert np.array_equal(group(mask, offsets, points, output_stride=step), want)


def test_foreground_without_any_center_vanishes() -> None:
    maps = targets(disk(np.zeros((40, 40), np.uint32), 1, 20, 20, 12))
    silent = Maps({"semantic": maps.semantic, "center": maps.center * 0, "offsets": maps.offsets})
    assert decode(silent).max() == 1
    assert decode(silent, EMPANADA).max() == 0


def test_targets_decode_to_the_objects_they_were_drawn_from() -> None:
    drawn = np.zeros((120, 120), np.uint32)
    for k, (y, x) in enumerate(np.ndindex(3, 3), 1):
        drawn = disk(drawn, k, 20 + 40 * y, 20 + 40 * x, 15)
    for legacy in (False, True):
        assert same_partition(decode(targets(drawn, legacy=legacy), FINE), drawn)
        assert same_partition(decode(targets(drawn, output_stride=4, legacy=legacy), EMPANADA), drawn)


def test_a_crowd_dims_a_lone_center_only_in_legacy_targets() -> None:
    drawn = np.zeros((60, 120), np.uint32)
    drawn[20:24, 20:24], drawn[20:24, 24:28], drawn[40:50, 90:100] = 1, 2, 3
    assert targets(drawn).center[44, 94] > 0.98
    assert targets(drawn, legacy=True).center[44, 94] < 0.6


def test_fine_boundaries_enlarge_the_maps_corner_to_corner() -> None:
    assert enlarge(np.array([[0.0, 1.0]]), 2, (1, 4))[0].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    maps = targets(disk(np.zeros((64, 64), np.uint32), 1, 33, 33, 20), output_stride=4)
    (coarse,), (fine,) = centers(maps, EMPANADA), centers(maps, FINE)
    assert (coarse % 4 == 0).all()
    assert np.abs(fine - 33).max() <= 2
    assert centers(maps, FINE.replace(downsampling=2)).shape == (1, 2)


def test_an_object_gets_the_class_of_most_of_its_pixels_and_the_lower_one_of_two() -> None:
    classes = np.array([[1, 2, 1, 2, 2, 0, 0]], np.uint8)
    groups = np.array([[1, 1, 2, 2, 2, 0, 0]], np.uint32)
    assert modes(groups, classes).tolist() == [0, 1, 2]


def test_of_several_classes_each_object_is_decoded_once() -> None:
    drawn = disk(disk(np.zeros((60, 120), np.uint32), 1, 30, 30, 20), 2, 30, 85, 20)
    maps = targets(drawn)
    first = np.where((drawn == 1) & (np.indices(drawn.shape)[1] > 12), 0.9, 0.05)
    second = np.where(drawn == 2, 0.9, np.where((drawn == 1) & (first < 0.5), 0.8, 0.02))
    both = Maps(
        {"semantic": np.stack([first, second]).astype(np.float32), "center": maps.center, "offsets": maps.offsets}
    )
    assert same_partition(decode(both, FINE, kind=0), np.where(drawn == 1, drawn, 0))
    assert same_partition(decode(both, FINE, kind=1), np.where(drawn == 2, drawn, 0))


def test_objects_of_the_published_matching_example() -> None:
    before, after = np.zeros((2, 200, 200), np.uint32)
    for k, box in enumerate(
        [
            (0, 16, 0, 16), (30, 50, 30, 50), (0, 10, 190, 200), (150, 200, 0, 50), (170, 200, 170, 200),
            (100, 130, 90, 110),
        ],
        1,
    ):  # fmt: skip
        before[box[0] : box[1], box[2] : box[3]] = k
    after[...] = np.where(before <= 4, before, 0)
    after[170:200, 45:80] = 5
    after[180:200, 180:200] = 6
    after[100:115, 90:110], after[115:130, 90:110] = 7, 8
    after[50:75, 125:160] = 9
    ids = track(np.stack([before, after]), EMPANADA)
    name = {int(k): int(ids[0][before == k][0]) for k in range(1, 7)}
    got = {int(k): int(ids[1][after == k][0]) for k in range(1, 10)}
    assert [got[k] for k in (1, 2, 3, 4)] == [name[k] for k in (1, 2, 3, 4)]
    assert (got[6], got[7], got[8]) == (name[5], name[6], name[6])
    assert len({got[5], got[9], *name.values()}) == 8


def test_tracking_with_the_published_values_is_what_the_published_loop_gives() -> None:
    compared = 0
    for seed in range(40):
        planes = drifting(np.random.default_rng(seed))
        if not _tied(planes):  # which of two equal assignments a solver takes is no rule
            assert same_partition(track(planes, EMPANADA), loop(planes)), seed
            compared += 1
    assert compared > 10


def drifting(rng: np.random.Generator) -> Volume:
    """Draw boxes that come, drift, cover each other and go, with a ragged surface."""
    planes = np.zeros((6, 48, 48), np.uint32)
    for k in range(1, 8):
        (y, x), (a, b) = rng.integers(0, 40, 2), rng.integers(6, 18, 2)
        for z in range(int(rng.integers(0, 3)), int(rng.integers(3, 7))):
            dy, dx = rng.integers(-2, 3, 2)
            planes[z, max(0, y + dy) : y + dy + a, max(0, x + dx) : x + dx + b] = k
    planes[rng.random(planes.shape) < 0.2] = 0
    return planes


def loop(planes: Volume, least: float = 0.25) -> Volume:
    """Match planes one by one, forward and backward, in the plainest way."""
    result = planes.astype(np.int64)
    fresh = int(result[np.flatnonzero(result.any(axis=(1, 2)))[0]].max()) + 1 if result.any() else 1
    started = False
    for order in (range(len(planes)), range(len(planes) - 1, -1, -1)):
        forward = order.step > 0
        target: npt.NDArray[np.int64] | None = None
        for t in order:
            here = result[t].copy()
            if target is not None and (started or not forward):
                for k, new in _matched(target, here, least).items():
                    if new == 0 and forward:
                        new, fresh = fresh, fresh + 1
                    result[t][here == k] = new or k
            started |= bool(here.any())
            target = result[t].copy()
    return result.astype(np.uint32)


def _matched(target: npt.NDArray[np.int64], here: npt.NDArray[np.int64], least: float) -> dict[int, int]:
    olds, news = np.setdiff1d(target, 0), np.setdiff1d(here, 0)
    if not len(olds):
        return dict.fromkeys(news.tolist(), 0)
    shared = np.array([[np.count_nonzero((target == a) & (here == b)) for b in news] for a in olds], float)
    shared = shared.reshape(len(olds), len(news))
    a_size = np.array([np.count_nonzero(target == a) for a in olds], float)[:, None]
    b_size = np.array([np.count_nonzero(here == b) for b in news], float)
    iou = shared / (a_size + b_size - shared)
    pairs = {j: i for i, j in zip(*linear_sum_assignment(iou, maximize=True), strict=True) if iou[i, j] >= least}
    found = {}
    for j, k in enumerate(news.tolist()):
        covered = shared[:, j] / b_size[j]
        best = pairs.get(j, int(covered.argmax()) if covered.max() >= least else None)
        found[k] = 0 if best is None else int(olds[best])
    return found


def _tied(planes: Volume) -> bool:
    """Return whether a profile overlaps two neighbours alike, by pixels or by IoU."""
    for a, b in itertools.pairwise(planes):
        pairs, n = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1, return_counts=True)
        real = (pairs > 0).all(axis=0)
        pairs, n = pairs[:, real], n[real]
        iou = n / (np.bincount(a.ravel())[pairs[0]] + np.bincount(b.ravel())[pairs[1]] - n)
        for row in pairs:
            for k in np.unique(row):
                if any(len(np.unique(values[row == k])) < (row == k).sum() for values in (n, iou)):
                    return True
    return False


def ball(center: tuple[int, int, int], radius: int = 20) -> npt.NDArray[np.bool_]:
    z, y, x = np.ogrid[:100, :100, :100]
    inside: npt.NDArray[np.bool_] = (z - center[0]) ** 2 + (y - center[1]) ** 2 + (x - center[2]) ** 2 <= radius**2
    return inside


def test_objects_of_the_published_consensus_example() -> None:
    first, second, third = ball((20, 20, 20)), ball((35, 35, 35)), ball((20, 79, 79))
    cut = second.copy()
    cut[:, 35:, 35:] = False
    xy, xz, yz = np.zeros((3, 100, 100, 100), np.uint32)
    xy[first], xz[first], yz[first] = 1, 1, 1
    xy[second], xz[cut], yz[cut] = 2, 2, 1
    xz[third] = 3

    def voted(**changes: float | bool) -> Volume:
        return consensus({"xy": xy, "xz": xz, "yz": yz}, EMPANADA.replace(**changes))

    ids = voted()
    assert ids.max() == 2
    assert np.array_equal(ids == ids[40, 34, 34], cut)
    assert np.array_equal(ids == ids[5, 20, 20], first & ~cut)
    assert np.array_equal(voted(consensus_iou=0.5) > 0, first | cut)
    assert voted(consensus_iou=0.5).max() == 1
    assert voted(votes=1).max() == 1
    assert np.array_equal(voted(votes=1) > 0, first | second)
    assert len(np.unique(voted(votes=1, lone_objects=True))) - 1 == 2


def test_a_chain_of_five_clusters_becomes_three_and_two() -> None:
    near = {0: {1}, 1: {0, 2}, 2: {1, 3}, 3: {2, 4}, 4: {3}}
    assert merge_clusters({k: {k} for k in near}, near) == [{0, 1, 2}, {3, 4}]


def test_a_cluster_with_a_larger_neighbour_is_dealt_out() -> None:
    small, large, other = {1}, {2, 12}, {23}
    near = {0: {1, 2}, 1: {0}, 2: {0}}
    assert merge_clusters({0: small, 1: large, 2: other}, near) == [{1, 2, 12}, {1, 23}]


def test_of_several_classes_the_most_probable_one_counts_even_below_the_threshold() -> None:
    probability = np.zeros((2, 16, 16), np.float32)
    probability[0, :, :10], probability[1, :, :10] = 0.45, 0.35  # the background has 0.2 there, and the rest elsewhere
    maps = Maps(
        {
            "semantic": probability,
            "center": np.zeros((16, 16), np.float32),
            "offsets": np.zeros((2, 16, 16), np.float32),
        }
    )
    mask = EMPANADA.replace(instances="none")
    assert (decode(maps, mask) > 0).sum() == 160
    assert not decode(maps, mask, kind=1).any()
    assert not decode(maps, mask.replace(rules="mitonb")).any()


@pytest.mark.parametrize(("pixels", "there"), [(63, False), (64, True)])
def test_a_class_without_objects_is_left_out_of_planes_where_it_is_small(pixels: int, there: bool) -> None:
    probability = np.zeros((1, 32, 32), np.float32)
    probability[0].flat[:pixels] = 0.9
    maps = Maps(
        {
            "semantic": probability,
            "center": np.zeros((32, 32), np.float32),
            "offsets": np.zeros((2, 32, 32), np.float32),
        }
    )
    assert decode(maps, EMPANADA.replace(instances="none")).any() == there


def test_no_object_takes_pixels_of_a_class_that_has_no_objects() -> None:
    drawn = disk(np.zeros((60, 60), np.uint32), 1, 30, 30, 20)
    left = np.indices(drawn.shape)[1] < 24
    probability = np.stack([(drawn > 0) & ~left, (drawn > 0) & left]).astype(np.float32)
    maps = targets(drawn)
    two = Maps({"semantic": probability, "center": maps.center, "offsets": maps.offsets})
    assert same_partition(decode(two, EMPANADA), drawn)
    assert same_partition(decode(two, EMPANADA, stuff=(1,)), np.where(left, 0, drawn))
