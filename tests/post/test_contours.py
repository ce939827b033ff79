"""The decoders of MitoEM against the table of their rules, written out slowly, voxel by voxel."""

from __future__ import annotations

import dataclasses
import heapq
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitonb.errors import AxesError, InputError
from mitonb.post.contours import CONTOUR_SETTINGS, ContourSettings, decode_contours, find_seeds
from mitonb.post.targets import contour_targets

# ------------------------------------------------------------------------------------------ the table, literally


def neighbours(voxel: tuple[int, ...], shape: tuple[int, ...], *, corners: bool) -> list[tuple[int, ...]]:
    """Voxels that share a face (or a corner) with one, in reading order."""
    steps = itertools.product((-1, 0, 1), repeat=len(shape))
    near = (s for s in steps if any(s) and (corners or sum(map(abs, s)) == 1))
    found = (tuple(v + d for v, d in zip(voxel, s, strict=True)) for s in near)
    return [v for v in found if all(0 <= i < n for i, n in zip(v, shape, strict=True))]


def literal_pieces(mask: np.ndarray) -> np.ndarray:
    """Number the pieces of a mask by their first voxels; corners touch."""
    out, count = np.zeros(mask.shape, int), 0
    for start in zip(*np.nonzero(mask), strict=True):
        if out[start]:
            continue
        count += 1
        out[start], todo = count, [start]
        while todo:
            for other in neighbours(todo.pop(), mask.shape, corners=True):
                if mask[other] and not out[other]:
                    out[other] = count
                    todo.append(other)
    return out


def literal_flood(semantic: np.ndarray, seeds: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Flood -semantic from the seeds inside the foreground: lowest value first, then whoever came first."""
    out = np.where(foreground, seeds, 0)
    order = itertools.count()
    queue = [(-int(semantic[v]), next(order), v) for v in zip(*np.nonzero(out), strict=True)]
    heapq.heapify(queue)
    while queue:
        _, _, voxel = heapq.heappop(queue)
        for other in neighbours(voxel, out.shape, corners=False):
            if foreground[other] and not out[other]:
                out[other] = out[voxel]
                heapq.heappush(queue, (-int(semantic[other]), next(order), other))
    return out


def literal_small(labels: np.ndarray, smallest: int, mode: str) -> np.ndarray:
    """Deal with objects of fewer voxels, and number the rest without gaps."""
    out = labels.copy()
    sizes = {int(k): int((labels == k).sum()) for k in np.unique(labels) if k}
    for k, size in sizes.items():
        if size >= smallest or mode == "none":
            continue
        into = 0
        if mode == "neighbor":
            touched: dict[int, int] = {}
            for voxel in np.ndindex(out.shape):
                flat = [v for v in neighbours(voxel, out.shape, corners=True) if v[:-2] == voxel[:-2]]
                if out[voxel] not in (0, k) and any(out[v] == k for v in flat):
                    touched[int(out[voxel])] = touched.get(int(out[voxel]), 0) + 1
            into = min(touched, key=lambda t: (-touched[t], t), default=0)
        out[out == k] = into
    return np.searchsorted(np.unique(np.append(out, 0)), out)


def literal_watershed(maps: np.ndarray, s: ContourSettings, flood=literal_flood) -> np.ndarray:
    """B.4 of the facts, row `bc_watershed` (two maps) and `bcd_watershed` (three): uint8 maps, strict comparisons."""
    semantic, contour = maps[0].astype(int), maps[1].astype(int)
    distance = maps[2] / 255.0 * 2.0 - 1.0 if len(maps) == 3 else np.ones(semantic.shape)
    seeds = (semantic > int(255 * s.seed)) & (contour < int(255 * s.contour)) & (distance > s.seed_distance)
    foreground = (semantic > int(255 * s.foreground)) & (distance > s.foreground_distance)
    numbered = literal_pieces(seeds)
    for k in range(1, numbered.max() + 1):
        if (numbered == k).sum() < s.min_seed:
            numbered[numbered == k] = 0
    return literal_small(flood(semantic, numbered, foreground), s.min_size, s.small)


# ---------------------------------------------------------------------------------------------------- phantoms


def phantom(shape: tuple[int, ...], seed: int, channels: int) -> np.ndarray:
    """Smooth noisy uint8 maps with a few blobs that touch, and walls between some of them."""
    rng = np.random.default_rng(seed)
    grid = np.indices(shape)
    centers = rng.uniform(0, 1, (5, len(shape))) * shape
    far = np.array(shape, float) / 4 + 2
    depth = np.stack(
        [1 - np.sqrt(sum(((g - c) / r) ** 2 for g, c, r in zip(grid, p, far, strict=True))) for p in centers]
    )
    first, second = np.sort(depth, axis=0)[:-3:-1]
    semantic = 1 / (1 + np.exp(-9 * first)) + rng.normal(0, 0.03, shape)
    contour = np.exp(-((12 * (first - second)) ** 2)) * (second > -0.3) + rng.normal(0, 0.05, shape)
    distance = np.tanh(3 * first + rng.normal(0, 0.1, shape)) * 0.5 + 0.5
    return (np.clip(np.stack([semantic, contour, distance][:channels]), 0, 1) * 255).astype(np.uint8)


def as_float(maps: np.ndarray, dtype: type) -> list[np.ndarray]:
    """The same maps as a network gives them: 0..1, and distances -1..1."""
    floats = [m.astype(np.float64) / 255 for m in maps[:2]] + [m.astype(np.float64) / 255 * 2 - 1 for m in maps[2:]]
    return [m.astype(dtype) for m in floats]


SHAPES = {"plane": (40, 36), "volume": (14, 16, 15), "anisotropic": (5, 26, 24)}
CASES = list(itertools.product(SHAPES, (2, 3), ("background", "neighbor", "none")))


@pytest.mark.parametrize(("name", "channels", "small"), CASES)
def test_the_fast_decoder_is_the_table_on_bytes_and_on_floats(name: str, channels: int, small: str) -> None:
    objects = 0
    for seed in range(4):
        maps = phantom(SHAPES[name], seed, channels)
        setting = ContourSettings(min_seed=3, min_size=40, small=small, seed=0.85)  # type: ignore[arg-type]
        expected = literal_watershed(maps, setting)
        objects += expected.max()
        assert (decode_contours(*maps, settings=setting) == expected).all()
        for dtype in (np.float16, np.float32, np.float64):
            assert (decode_contours(*as_float(maps, dtype), settings=setting) == expected).all()
    assert objects > 4


@settings(max_examples=60)
@given(
    maps=st.lists(
        st.sampled_from([0, 126, 127, 128, 203, 204, 216, 217, 229, 230, 231, 255]), min_size=90, max_size=90
    ),
    small=st.sampled_from(["background", "neighbor", "none"]),
    sizes=st.sampled_from([(1, 1), (2, 3), (1, 5)]),
)
def test_small_volumes_at_and_around_every_threshold_follow_the_table(
    maps: list[int], small: str, sizes: tuple[int, int]
) -> None:
    volume = np.array(maps, np.uint8).reshape(3, 2, 3, 5)
    setting = ContourSettings(min_seed=sizes[0], min_size=sizes[1], small=small)  # type: ignore[arg-type]
    for channels in (2, 3):
        part = volume[:channels]
        assert (decode_contours(*part, settings=setting) == literal_watershed(part, setting)).all()


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_without_ties_it_is_what_scikit_image_floods(seed: int) -> None:
    from skimage.segmentation import watershed

    rng = np.random.default_rng(seed)
    semantic = rng.permutation(256).astype(np.uint8).reshape(16, 16)
    seeds = np.where(rng.random((16, 16)) < 0.03, rng.integers(1, 9, (16, 16)), 0)
    setting = ContourSettings(foreground=0.2, min_size=0)
    ours = decode_contours(semantic, settings=setting, seeds=seeds)
    theirs = watershed(-semantic.astype(np.float64), seeds, mask=semantic > 51)
    assert (ours == np.searchsorted(np.union1d(theirs, 0), theirs)).all()


# ------------------------------------------------------------------------------------------- what a user may rely on


def spheres() -> np.ndarray:
    """Two touching balls of 20 planes."""
    z, y, x = np.indices((20, 20, 38))
    left = (z - 10) ** 2 + (y - 10) ** 2 + (x - 10) ** 2 < 80
    right = (z - 10) ** 2 + (y - 10) ** 2 + (x - 26) ** 2 < 80
    return np.where(left, 1, np.where(right, 2, 0))


def test_a_wall_of_contour_parts_two_balls_and_without_it_they_are_one() -> None:
    truth = spheres()
    semantic, contour, _ = contour_targets(truth)
    assert decode_contours(semantic, contour).max() == 2
    assert decode_contours(semantic, np.zeros_like(contour)).max() == 1
    assert (decode_contours(semantic, contour) > 0).sum() == (truth > 0).sum()


def test_a_saddle_of_the_distance_parts_them_without_any_contour() -> None:
    semantic, contour, distance = contour_targets(spheres())
    assert decode_contours(semantic, np.zeros_like(contour), distance).max() == 2


def test_targets_are_what_the_decoder_takes_back() -> None:
    labels = np.zeros((3, 30, 40), np.uint16)
    labels[:, 4:26, 4:18], labels[:, 4:26, 18:36] = 7, 3
    got = decode_contours(*contour_targets(labels), settings=ContourSettings(seed_distance=0.2, foreground_distance=0))
    assert got.max() == 2
    assert {tuple(np.unique(got[labels == k])) for k in (7, 3)} == {(1,), (2,)}


def test_contours_are_drawn_in_planes_and_as_wide_as_asked() -> None:
    labels = np.zeros((2, 7, 9), np.uint8)
    labels[0, :, 4:] = 1
    semantic, contour, distance = contour_targets(labels)
    assert semantic.sum() == 35
    assert (
        contour[0] == [0, 0, 1, 1, 1, 1, 0, 0, 0]
    ).all()  # pixels 3 and 4 differ across themselves; one more each side
    assert not contour[1].any()  # what lies in the next plane makes no contour
    assert (contour_targets(labels, half_width=0)[1][0] == [0, 0, 0, 1, 1, 0, 0, 0, 0]).all()
    assert np.allclose(distance[0, 0], np.tanh([-4 / 50, -3 / 50, -2 / 50, -1 / 50, 1 / 8, 2 / 8, 3 / 8, 4 / 8, 5 / 8]))
    assert np.allclose(distance[1], np.tanh(-5))


def test_small_seeds_are_dropped_and_their_place_goes_to_a_neighbour_or_stays_empty() -> None:
    semantic = np.full((1, 20), 250, np.uint8)
    semantic[0, 8] = 0  # a gap that nothing floods across
    contour = np.zeros_like(semantic)
    contour[0, 4] = contour[0, 13:20] = 255
    found = find_seeds(semantic, contour, settings=ContourSettings(min_seed=4))
    assert found.tolist() == [[1] * 4 + [0] * 5 + [2] * 4 + [0] * 7]
    labels = decode_contours(semantic, contour, settings=ContourSettings(min_seed=4, min_size=0))
    assert labels.tolist() == [[1] * 8 + [0] + [2] * 11]
    only = decode_contours(semantic, contour, settings=ContourSettings(min_seed=5, min_size=0))
    assert not only.any()  # all seeds were too small


def test_seeds_come_back_and_may_be_corrected() -> None:
    maps = phantom((40, 36), 3, 2)
    setting = ContourSettings(min_seed=3, min_size=20, seed=0.85)
    seeds = find_seeds(*maps, settings=setting)
    assert (decode_contours(*maps, settings=setting, seeds=seeds) == decode_contours(*maps, settings=setting)).all()
    one = np.where(seeds == seeds.max(), 4_000_000_000, 0).astype(np.uint32)
    assert decode_contours(*maps, settings=setting, seeds=one).max() == 1


def test_a_cut_that_holds_whole_objects_gives_the_same_objects() -> None:
    maps = np.zeros((2, 6, 30, 70), np.uint8)
    maps[:, :, :, :32], maps[:, :, :, 36:] = phantom((6, 30, 32), 1, 2), phantom((6, 30, 34), 2, 2)
    setting = ContourSettings(min_seed=3, min_size=20, seed=0.85)
    whole, left, right = (decode_contours(*m, settings=setting) for m in (maps, maps[..., :34], maps[..., 34:]))
    parts = np.concatenate([left, np.where(right > 0, right + left.max(), 0)], axis=-1)
    pairs = np.unique(np.stack([whole.ravel(), parts.ravel()]), axis=1)
    assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1] == whole.max() + 1


def test_a_dark_plane_of_bytes_is_not_taken_for_probabilities() -> None:
    dark = np.ones((1, 64, 64), np.uint8)  # the level 1 of 255, not the probability 1
    assert not decode_contours(dark, np.zeros_like(dark)).any()
    assert decode_contours(dark, np.zeros_like(dark), scale=1).max() == 1


def test_thresholds_are_strict_and_cut_off_to_whole_levels() -> None:
    semantic = np.array([[216, 217, 229, 230]], np.uint8)  # int(255 * .85) = 216, int(255 * .9) = 229
    setting = ContourSettings(min_seed=0, min_size=0)
    assert find_seeds(semantic, settings=setting).tolist() == [[0, 0, 0, 1]]
    assert decode_contours(semantic, settings=setting).tolist() == [[0, 1, 1, 1]]
    contour = np.array([[0, 152, 153, 154]], np.uint8)  # int(255 * .6) = 153
    inside = np.full((1, 4), 255, np.uint8)
    assert find_seeds(inside, contour, settings=dataclasses.replace(setting, contour=0.6)).tolist() == [[1, 1, 0, 0]]


def test_published_settings_are_there() -> None:
    assert CONTOUR_SETTINGS["mitoem"] == ContourSettings(seed=0.85, contour=0.6, foreground=0.8, min_size=1024)
    assert CONTOUR_SETTINGS["default"] == ContourSettings()
    assert CONTOUR_SETTINGS["default"].min_seed == 32


WRONG = {
    "another shape": (lambda s: decode_contours(s, s[:1]), AxesError, "one shape"),
    "all channels at once": (lambda s: decode_contours(np.stack([s[None], s[None]])), AxesError, r"pass \*array"),
    "bytes in floats": (lambda s: decode_contours(s * 255), InputError, "Pass scale="),
    "no numbers": (lambda s: decode_contours(s * np.nan), InputError, "should go from 0 to 1"),
    "16 bits without a scale": (lambda s: decode_contours(s.astype(np.uint16)), InputError, "certain"),
    "seeds of another shape": (lambda s: decode_contours(s, seeds=s[:1].astype(int)), AxesError, "Seeds need"),
    "a scale of nothing": (lambda s: decode_contours(s, scale=0), InputError, "above 0"),
    "a percentage": (lambda s: ContourSettings(seed=90), InputError, "seed is a number from 0 to 1"),
    "a mode that is none": (lambda s: ContourSettings(small="merge"), InputError, "background, neighbor, none"),
    "half a voxel": (lambda s: ContourSettings(min_size=0.5), InputError, "whole number"),
    "labels that are none": (lambda s: contour_targets(s), InputError, "integer ids"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_meant_is_refused_with_a_sentence(what: str) -> None:
    call, error, says = WRONG[what]
    with pytest.raises(error, match=says):
        call(np.ones((4, 5), np.float32))


def test_published_settings_may_be_named() -> None:
    maps = contour_targets(np.kron([[1, 2], [0, 3]], np.ones((24, 24), int)))
    for name, flood in CONTOUR_SETTINGS.items():
        assert np.array_equal(decode_contours(*maps, settings=name), decode_contours(*maps, settings=flood))
    assert find_seeds(*maps, settings="mitoem").max() == 3
    for wrong in ("mito", 3):
        with pytest.raises(InputError, match=r"one of default, semantic, mitoem, mitoem-human, fly-brain, got"):
            decode_contours(*maps, settings=wrong)  # type: ignore[arg-type]


def test_nothing_at_all_decodes_to_nothing() -> None:
    empty = np.zeros((0, 4, 4), np.uint8)
    assert decode_contours(empty, empty, empty).shape == (0, 4, 4)
    assert not decode_contours(np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)).any()
