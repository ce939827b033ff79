"""What is done on the way to the net and back, faster than by the plain words for it, gives the same numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("torch")

from mitonb.infer.predict import probabilities
from mitonb.maps import Maps
from mitonb.models.spec import ModelSpec

Picture = npt.NDArray[np.float32]


def values(seed: int, *shape: int) -> Picture:
    """Draw numbers of all sizes, and some that are none."""
    rng = np.random.default_rng(seed)
    drawn = (rng.normal(size=shape) * 10.0 ** rng.integers(-6, 5, shape)).astype(np.float32)
    drawn.flat[:6] = np.nan, np.inf, -np.inf, 0, 90, -90
    return drawn


def test_probabilities_are_those_of_the_formula() -> None:
    logits = values(1, 2, 1, 40, 60)
    want = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -80, 80)))
    said = probabilities({"semantic": logits, "contour": logits, "center": logits})
    for name in ("semantic", "contour"):
        np.testing.assert_allclose(said[name], want, rtol=1e-6, atol=1e-30)
    assert said["center"] is logits


def test_the_kept_form_is_rounded_and_what_is_no_number_becomes_nothing() -> None:
    semantic = np.zeros((1, 2, 4), np.float32)
    semantic.flat[:6] = np.nan, 2, -1, 0.5 / 255, 1.5 / 255, 0.6  # halves are rounded to even
    kept = Maps({"semantic": semantic}).kept()
    assert kept.semantic.ravel().tolist() == [0, 255, 0, 0, 2, 153, 0, 0]


@pytest.mark.parametrize("kind", ["uint8", "int8", "bool"])
def test_grey_values_that_are_looked_up_are_those_that_are_computed(kind: str) -> None:
    image = np.random.default_rng(4).integers(0, 256, (30, 40)).astype(np.uint8).astype(kind)
    card = ModelSpec(name="any", mean=0.57, std=0.13)
    for given in (image, image.T, image[::2, 1::3]):
        wide = given.astype(np.int16)
        for low, high in ((0.0, 1.0), (-3.5, 200.25), (np.float64(7), np.float64(99))):
            want = card.normalise(wide, low, high)
            assert np.array_equal(card.normalise(given, low, high), want)
