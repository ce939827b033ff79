"""The default rules do not care in which order objects come, nor what they are called."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from mitonb.post.centers import group, peaks
from mitonb.post.decoding import decode
from mitonb.post.targets import targets
from mitonb.recipe import PRESETS
from tests.post.drawing import same_partition
from tests.post.steps import consensus, track

Ids = npt.NDArray[np.uint32]

ORDERS = range(20)


def renamed(ids: Ids, rng: np.random.Generator) -> Ids:
    """Return ids under other names."""
    names = np.zeros(int(ids.max()) + 1, np.uint32)
    names[1:] = rng.permutation(10 * len(names))[1 : len(names)] + 1
    return names[ids]


def crowd(rng: np.random.Generator, shape: tuple[int, ...], count: int) -> Ids:
    """Draw boxes that cover each other."""
    ids = np.zeros(shape, np.uint32)
    for k in range(1, count + 1):
        low, side = rng.integers(0, shape), rng.integers(3, 14, len(shape))
        ids[tuple(slice(a, a + b) for a, b in zip(low, side, strict=True))] = k
    return ids


@pytest.mark.parametrize("step", [1, 4])
def test_decoding(step: int) -> None:
    rng = np.random.default_rng(step)
    drawn = crowd(rng, (128, 128), 60)
    recipe = PRESETS["default"].replace(min_area=10)
    want = decode(targets(drawn, output_stride=step), recipe)
    assert want.max() > 20
    for _ in ORDERS:
        assert np.array_equal(decode(targets(renamed(drawn, rng), output_stride=step), recipe), want)


@pytest.mark.parametrize("step", [1, 4])
def test_grouping_whatever_the_order_of_centers_even_at_equal_distance(step: int) -> None:
    rng = np.random.default_rng(step)
    mask = rng.random((64, 64)) < 0.7
    offsets = rng.integers(-4, 5, (2, 64 // step, 64 // step)).astype(np.float32)
    points = peaks(rng.integers(0, 9, (64 // step, 64 // step)).astype(np.float32), 3, 1)
    want = group(mask, offsets, points, output_stride=step)
    for _ in ORDERS:
        order = rng.permutation(len(points))
        assert same_partition(group(mask, offsets, points[order], output_stride=step), want)


def test_tracking() -> None:
    rng = np.random.default_rng(3)
    planes = np.stack([crowd(rng, (48, 48), 25) for _ in range(3)]).repeat(3, axis=0)
    for recipe in (PRESETS["default"], PRESETS["default"].replace(track_ioa=0.25, gap=1)):
        want = track(planes, recipe)
        for _ in ORDERS:
            assert np.array_equal(track(np.stack([renamed(plane, rng) for plane in planes]), recipe), want)


def test_consensus() -> None:
    rng = np.random.default_rng(4)
    truth = crowd(rng, (24, 48, 48), 20)
    parts = {"xy": truth, "xz": np.roll(truth, 1, axis=1), "yz": np.where(rng.random(truth.shape) < 0.9, truth, 0)}
    directions = list(itertools.permutations(parts))
    for recipe in (PRESETS["volume"], PRESETS["volume"].replace(votes=1, lone_objects=True)):
        want = consensus(parts, recipe)
        for k in ORDERS:
            shuffled = {axis: renamed(parts[axis], rng) for axis in directions[k % len(directions)]}
            assert np.array_equal(consensus(shuffled, recipe), want)
