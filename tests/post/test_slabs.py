"""Joined regions, holes and the table of objects are those of the voxels, however slabs are cut."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mitonb.post.cleaning import ObjectTable, fill_holes
from mitonb.post.consensus import JoinedRegions, first_places, merge_regions
from mitonb.recipe import Recipe


def volumes(seed: int, count: int) -> list[npt.NDArray[np.uint32]]:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, [6, 8, 30]))
    few = int(rng.choice([3, 400]))
    wide = int(rng.integers(1, 5))
    return [np.repeat(rng.integers(0, few, shape), wide, axis=2).astype(np.uint32) for _ in range(count)]


@given(st.integers(0, 2**32 - 1), st.integers(2, 3))
@settings(max_examples=40, deadline=None)
def test_joined_regions_are_the_distinct_ids_of_all_directions(seed: int, directions: int) -> None:
    ids = volumes(seed, directions)
    joined, cut = JoinedRegions(directions), seed % (len(ids[0]) + 1)
    parts = [joined.number([v[a:b] for v in ids]) for a, b in [(0, cut), (cut, len(ids[0]))] if a < b]
    numbers = np.concatenate(parts)
    table, sizes = joined.found()
    assert np.array_equal(table[numbers], np.stack(ids, axis=-1))
    assert np.array_equal(sizes[1:], np.bincount(numbers.ravel(), minlength=len(sizes))[1:])
    assert not table[0].any()
    first = [int(np.flatnonzero(numbers.ravel() == k)[0]) for k in range(1, len(table))]
    assert first == sorted(first)
    assert len(np.unique(table, axis=0)) == len(table)


@given(st.integers(0, 2**32 - 1), st.integers(2, 3), st.integers(1, 6), st.integers(1, 8))
@settings(max_examples=40, deadline=None)
def test_joined_regions_of_boxes_become_those_of_the_whole(seed: int, directions: int, thick: int, rows: int) -> None:
    ids = volumes(seed, directions)
    shape = ids[0].shape
    whole = JoinedRegions(directions)
    want = whole.number(ids)
    columns: list[list[npt.NDArray[np.generic]]] = [[], [], []]
    parts = []
    corners = [(a, b) for a in range(0, shape[0], thick) for b in range(0, shape[1], rows)]
    for a, b in np.random.default_rng(seed).permutation(corners):  # in any order
        joined = JoinedRegions(directions)
        box = slice(a, a + thick), slice(b, b + rows)
        numbers = joined.number([v[box] for v in ids])
        z, y, x = np.unravel_index(first_places(numbers), numbers.shape)
        regions, sizes = joined.found()
        found = regions[1:], sizes[1:], np.ravel_multi_index((z + a, y + b, x), shape)
        for column, part in zip(columns, found, strict=True):
            column.append(part)
        parts.append((box, numbers, len(regions) - 1))
    regions, sizes, back = merge_regions(*(np.concatenate(column) for column in columns))
    assert np.array_equal(regions, whole.found()[0])
    assert np.array_equal(sizes, whole.found()[1])
    got = np.zeros(shape, np.int64)
    for box, numbers, count in parts:
        got[box] = np.append(0, back[:count])[numbers]
        back = back[count:]
    assert np.array_equal(got, want)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_holes_are_what_one_object_surrounds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ids = rng.choice([0, 1, 1, 1, 2], rng.integers(1, [4, 14, 20])).astype(np.uint32)
    want = ids.copy()
    for plane, out in zip(ids, want, strict=True):
        regions, count = ndimage.label(plane == 0)
        for k in range(1, count + 1):
            inside = np.pad(regions == k, 1)
            around = np.pad(plane.astype(int), 1, constant_values=-1)[ndimage.binary_dilation(inside) & ~inside]
            if len(set(around.tolist())) == 1 and around[0] > 0:
                out[regions == k] = around[0]
    fill_holes(ids)
    assert np.array_equal(ids, want)


def test_the_table_of_objects_says_what_stays() -> None:
    ids = np.zeros((6, 8, 8), np.uint32)
    ids[0:4, 0:4, 0:4], ids[5, 5:8, 5:8], ids[2:5, 5:7, 1:4] = 2, 1, 3  # 64 voxels; 9, flat; 18
    objects = ObjectTable(ids.shape, 3)
    for k in range(0, 6, 2):
        objects.add(ids[k : k + 2])
    recipe = Recipe(min_size=10, min_span=2)
    table, counts = objects.decide(recipe)
    assert (table.tolist(), counts) == ([0, 0, 1, 2], [2])
    assert objects.decide(recipe.replace(min_size=20))[0].tolist() == [0, 0, 1, 0]
    assert objects.decide(recipe.replace(min_size=0, min_span=1))[0].tolist() == [0, 3, 1, 2]
    assert objects.decide(recipe.replace(drop_border=True))[0].tolist() == [0, 0, 0, 1]
    table, counts = objects.decide(recipe, (1, 3), renumber=False)
    assert (table.tolist(), counts) == ([0, 0, 2, 3], [1, 1])
