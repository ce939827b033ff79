"""Tiles put together, and maps brought back to the size of a plane."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitonb.accuracy import score
from mitonb.infer.segment import predict
from mitonb.infer.tiles import Canvas, cuts, resample
from mitonb.phantoms import phantom
from mitonb.post.decoding import decode
from mitonb.recipe import Recipe


@given(st.integers(1, 40), st.integers(0, 200), st.integers(0, 80), st.sampled_from([4, 16]))
def test_tiles_put_together_give_the_maps_they_were_cut_from(n: int, tile: int, halo: int, multiple: int) -> None:
    h, w = n * multiple, 5 * multiple
    whole = np.random.default_rng(n).normal(size=(4, h, w)).astype(np.float32)
    canvas = Canvas((h, w))
    for r, c in itertools.product(cuts(h, tile, halo, multiple), cuts(w, tile, halo, multiple)):
        part = whole[:, r.start : r.stop, c.start : c.stop]
        canvas.add((r, c), {"semantic": part[:1], "offsets": part[1:, ::4, ::4]})
    maps = canvas.maps()
    assert np.abs(maps["semantic"] - whole[:1]).max() < 1e-4
    assert np.abs(maps["offsets"] - whole[1:, ::4, ::4]).max() < 1e-4


def test_blocks_put_together_give_the_maps_they_were_cut_from() -> None:
    whole = np.random.default_rng(0).normal(size=(3, 32, 48, 40)).astype(np.float32)
    canvas = Canvas((32, 48, 40))
    for tile in itertools.product(*(cuts(n, 24, 6, 4) for n in (32, 48, 40))):
        part = whole[(slice(None), *(slice(c.start, c.stop) for c in tile))]
        canvas.add(tile, {"semantic": part[:1], "contour": part[1:]})
    assert np.abs(canvas.maps()["semantic"] - whole[:1]).max() < 1e-4
    assert np.abs(canvas.maps()["contour"] - whole[1:]).max() < 1e-4


def test_tiles_may_come_finer_than_they_were_cut() -> None:
    whole = np.arange(64 * 64, dtype=np.float32).reshape(1, 64, 64)
    canvas = Canvas((32, 32))
    for r, c in itertools.product(cuts(32, 16, 4, 4), repeat=2):
        canvas.add((r, c), {"semantic": whole[:, 2 * r.start : 2 * r.stop, 2 * c.start : 2 * c.stop]})
    assert np.abs(canvas.maps()["semantic"] - whole).max() < 1e-2


def test_where_no_tile_came_maps_are_nothing() -> None:
    canvas = Canvas((32, 32))
    r, *_ = cuts(32, 16, 4, 4)
    canvas.add((r, r), {"semantic": np.ones((1, 16, 16), np.float32), "center": np.ones((1, 4, 4), np.float32)})
    semantic = canvas.maps()["semantic"]
    assert semantic[0, 0, 0] == 1
    assert semantic[0, 31, 31] == 0


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_a_ramp_that_was_shrunk_comes_back_where_it_was(factor: int) -> None:
    """Both ways: linearly between the places of a shrunk plane, and from the parts that a net makes of its pixels."""
    ramp = np.broadcast_to(np.arange(64, dtype=np.float32), (64, 64))
    small = resample(ramp, 1, 64 // factor, factor)
    inner = slice(2 * factor, 64 - 3 * factor)
    assert np.abs(resample(small, 1, 64, 1 / factor) - ramp)[:, inner].max() < 1e-3
    # What a net that knows the ramp would draw: part Y of pixel i stands at (Y + .5) / factor - .5 pixels.
    places = ((np.arange(64) + 0.5) / factor - 0.5) * factor
    parts = np.broadcast_to(places.astype(np.float32), (64, 64))
    assert np.abs(resample(parts, 1, 64, 1, (factor - 1) / 2) - ramp)[:, inner].max() < 1e-3


def test_labels_do_not_depend_on_the_tiles() -> None:
    """The small version of `benchmarks/tiles.py`."""
    stack, _ = phantom((8, 352, 352), seed=11, objects=20)
    ids = {}
    for tile in (256, 320, 0):
        recipe = Recipe(tile=tile)
        ids[tile] = decode(predict(stack.plane(4), recipe=recipe), recipe)
    assert ids[0].max() >= 4
    for tile in (256, 320):
        assert score(ids[tile], ids[0]).at(0.75).f1 >= 0.99
