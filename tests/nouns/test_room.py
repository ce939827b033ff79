"""Whatever reads asks first whether there is room, in planes and in whole; nothing of the size is ever made."""

from __future__ import annotations

import numpy as np
import pytest

import mitonb as mn
from mitonb.errors import TooLargeError


class Huge:
    """A store that would be larger than memory, and ends the test when anybody reads much of it."""

    def __init__(self, shape=(4, 40_000, 40_000), dtype=np.uint8):
        self.shape, self.dtype = shape, np.dtype(dtype)

    def __getitem__(self, key):
        key = key if isinstance(key, tuple) else (key,)
        key += (slice(None),) * (3 - len(key))
        sides = [len(range(*k.indices(n))) for k, n in zip(key, self.shape) if isinstance(k, slice)]  # noqa: B905
        assert np.prod(sides) < 2**28, "read without asking"
        return np.zeros(sides, self.dtype)


@pytest.fixture(autouse=True)
def small_machine(monkeypatch):
    monkeypatch.setenv("MEM_LIMIT", str(2**30))


@pytest.mark.parametrize(
    "read",
    [
        lambda stack: stack.plane(0),
        lambda stack: stack.read(),
        lambda stack: np.asarray(stack),
        lambda stack: stack.contrast,
        lambda stack: mn.measure(stack),
        lambda stack: mn.open_labels(stack),
        lambda stack: stack.inverted().read(),
    ],
    ids=["plane", "read", "asarray", "contrast", "measure", "labels", "inverted"],
)
def test_what_would_not_fit_is_refused_with_figures_and_what_to_do(read):
    stack = mn.Stack(Huge(), name="cell")
    with pytest.raises(TooLargeError, match=r"needs about .* of memory; .* are free .*\. [A-Z]"):
        read(stack)


def test_opening_16_bits_asks_before_it_looks_for_black_and_white():
    with pytest.raises(TooLargeError, match=r"40000 x 40000 voxels needs about 3\.2 GB"):
        mn.Stack(Huge(dtype=np.uint16))


@pytest.mark.parametrize("name", ["a.tif", "a.ome.tif", "a.ome.zarr", "a.npy", "a.npz"])
def test_a_stack_that_cannot_be_read_is_not_saved_by_halves(tmp_path, name):
    with pytest.raises(TooLargeError):
        mn.save(mn.Stack(Huge()), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_planes_that_fit_are_saved_from_a_stack_that_does_not_but_not_as_npz(tmp_path):
    stack = mn.Stack(Huge((3000, 1000, 1000)))
    assert stack.plane(5).shape == (1000, 1000)
    with pytest.raises(TooLargeError, match="in one piece"):
        mn.save(stack, tmp_path / "a.npz")


def test_scores_of_stores_ask_as_well():
    with pytest.raises(TooLargeError):
        mn.score(mn.open_labels(Huge()), mn.open_labels(Huge()))
