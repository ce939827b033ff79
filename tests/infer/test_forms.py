"""What is done on the way to the net and back, faster than by the plain words for it, gives the same numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("torch")

from mitonb.infer.probability import in_bytes, in_halves, probability
from mitonb.infer.reading import Planes
from mitonb.maps import Maps
from mitonb.models.spec import ModelSpec
from mitonb.stack import Stack

Picture = npt.NDArray[np.float32]


def values(seed: int, *shape: int) -> Picture:
    """Draw numbers of all sizes, and some that are none."""
    rng = np.random.default_rng(seed)
    drawn = (rng.normal(size=shape) * 10.0 ** rng.integers(-6, 5, shape)).astype(np.float32)
    drawn.flat[:6] = np.nan, np.inf, -np.inf, 0, 90, -90
    return drawn


def test_probabilities_are_those_of_the_formula() -> None:
    logits = values(1, 2, 1, 40, 60)
    p = np.exp(-np.clip(logits, -80, 80)) + np.float32(1)
    assert np.array_equal(probability(logits), np.reciprocal(p), equal_nan=True)


def test_the_kept_form_is_that_of_the_maps() -> None:
    rng = np.random.default_rng(2)
    semantic = rng.random((1, 64, 64)).astype(np.float32)
    semantic.flat[:5] = np.nan, 2, -1, 0.5 / 255, 1.5 / 255  # halves are rounded to even
    field = np.clip(values(3, 3, 64, 64), -6e4, 6e4)
    want = Maps({"semantic": semantic, "center": field[0], "offsets": field[1:]}).kept()
    halves = in_halves(field)
    assert np.array_equal(in_bytes(semantic), want.semantic)
    assert np.array_equal(halves[0], want.center, equal_nan=True)
    assert np.array_equal(halves[1:], want.offsets, equal_nan=True)
    assert want.kept().center is want.center


@pytest.mark.parametrize("kind", ["uint8", "int8", "bool"])
def test_grey_values_that_are_looked_up_are_those_that_are_computed(kind: str) -> None:
    image = np.random.default_rng(4).integers(0, 256, (30, 40)).astype(np.uint8).astype(kind)
    card = ModelSpec(name="any", mean=0.57, std=0.13)
    for given in (image, image.T, image[::2, 1::3]):
        wide = given.astype(np.int16)
        for low, high in ((0.0, 1.0), (-3.5, 200.25), (np.float64(7), np.float64(99))):
            want = card.normalise(wide, low, high)
            assert np.array_equal(card.normalise(given, low, high), want)


@pytest.mark.parametrize("kind", ["uint8", "float32", "float64"])
def test_planes_that_are_turned_by_blocks_are_those_of_the_stack(kind: str) -> None:
    stack = Stack(np.random.default_rng(5).integers(0, 256, (5, 7, 150)).astype(kind))
    planes = Planes(stack)
    for axis, order in (("yz", range(150)), ("yz", (149, 3, 70, 71, 0)), ("xy", range(5)), ("xz", range(7))):
        for index in order:
            got, want = planes.plane(index, axis), stack.plane(index, axis)  # type: ignore[arg-type]
            assert np.array_equal(got.image, want.image)
            assert (got.axis, got.index, got.contrast) == (want.axis, want.index, want.contrast)
