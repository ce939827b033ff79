"""Atoms of a consensus, holes and statistics on runs are those of the pixels, however blocks are cut."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitonb.errors import InputError
from mitonb.post.atoms import Atoms
from mitonb.post.cleaning import fill_holes
from mitonb.post.holes import filled
from mitonb.post.runs import joined, paint, runs_of
from mitonb.post.statistics import Statistics
from mitonb.recipe import Recipe


def volumes(seed: int, count: int) -> list[npt.NDArray[np.uint32]]:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, [6, 8, 30]))
    few = int(rng.choice([3, 400]))
    wide = int(rng.integers(1, 5))
    return [np.repeat(rng.integers(0, few, shape), wide, axis=2).astype(np.uint32) for _ in range(count)]


@given(st.integers(0, 2**32 - 1), st.integers(2, 3))
@settings(max_examples=40, deadline=None)
def test_atoms_are_the_distinct_ids_of_all_directions(seed: int, directions: int) -> None:
    ids = volumes(seed, directions)
    atoms, cut = Atoms(directions), seed % (len(ids[0]) + 1)
    parts = [
        atoms.number([runs_of(v).block(a, b) for v in ids]) for a, b in [(0, cut), (cut, len(ids[0]))] if a < b
    ]  # fmt: skip
    numbers = paint(joined(parts))
    table, sizes = atoms.found()
    assert np.array_equal(table[numbers], np.stack(ids, axis=-1))
    assert np.array_equal(sizes[1:], np.bincount(numbers.ravel(), minlength=len(sizes))[1:])
    assert not table[0].any()
    first = [int(np.flatnonzero(numbers.ravel() == k)[0]) for k in range(1, len(table))]
    assert first == sorted(first)
    assert len(np.unique(table, axis=0)) == len(table)


def test_blocks_that_do_not_fit_together_are_refused() -> None:
    a, b = runs_of(np.ones((2, 3, 4), np.uint32)), runs_of(np.ones((2, 3, 5), np.uint32))
    with pytest.raises(InputError, match="one shape"):
        Atoms(2).number([a, b])
    with pytest.raises(InputError, match="3 directions"):
        Atoms(3).number([a, a])
    with pytest.raises(InputError, match="two or three"):
        Atoms(1)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_filled_planes_are_runs_of_filled_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ids = rng.choice([0, 1, 1, 1, 2], rng.integers(1, [4, 14, 20])).astype(np.uint32)
    runs = filled(runs_of(ids))
    for plane in ids:
        fill_holes(plane)
    assert np.array_equal(paint(runs), ids)
    assert np.array_equal(runs.start, runs_of(ids).start)


def test_statistics_of_blocks_say_what_stays() -> None:
    ids = np.zeros((6, 8, 8), np.uint32)
    ids[0:4, 0:4, 0:4], ids[5, 5:8, 5:8], ids[2:5, 5:7, 1:4] = 2, 1, 3  # 64 voxels; 9, flat; 18
    runs = runs_of(ids)
    statistics = Statistics(ids.shape, 3)
    for k in range(0, 6, 2):
        statistics.add(runs.block(k, k + 2))
    recipe = Recipe(min_size=10, min_span=2)
    table, counts = statistics.decide(recipe)
    assert (table.tolist(), counts) == ([0, 0, 1, 2], [2])
    assert statistics.decide(recipe.replace(min_size=20))[0].tolist() == [0, 0, 1, 0]
    assert statistics.decide(recipe.replace(min_size=0, min_span=1))[0].tolist() == [0, 3, 1, 2]
    assert statistics.decide(recipe.replace(drop_border=True))[0].tolist() == [0, 0, 0, 1]
    table, counts = statistics.decide(recipe, (1, 3), renumber=False)
    assert (table.tolist(), counts) == ([0, 0, 2, 3], [1, 1])
