"""Regions: only there the net runs and labels appear; what is around is seen all the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mitonb.box import Box, Region
from mitonb.errors import InputError
from mitonb.infer.kept import KeptMaps
from mitonb.infer.predict import Predictor
from mitonb.infer.segment import predict, redecoding, segment
from mitonb.job import drain
from mitonb.models.zoo import Model, load_model
from mitonb.phantoms import phantom
from mitonb.recipe import Recipe
from mitonb.stack import Stack
from tests.infer.oracle import Oracle, volume

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = (4, 6, 8)


@pytest.fixture(scope="module")
def mini() -> Model:
    return load_model("mito-mini")


def test_a_box_and_its_mask_are_the_same_region() -> None:
    box = Box((1, 2, 3), (3, 5, 7))
    mask = np.zeros(SHAPE, np.bool_)
    mask[box.slices] = True
    by_box, by_mask = Region.of(box, SHAPE), Region.of(mask, SHAPE)
    assert by_box is not None
    assert by_mask is not None
    assert by_mask.box == box
    for axis, count in (("xy", 4), ("xz", 6), ("yz", 8)):
        for k in range(count):
            assert np.array_equal(by_box.plane(axis, k), by_mask.plane(axis, k))  # type: ignore[arg-type]
            assert by_box.touches(axis, k) == by_mask.touches(axis, k) == by_mask.plane(axis, k).any()  # type: ignore[arg-type]


def test_a_mask_of_a_section_holds_for_all_of_them() -> None:
    region = Region.of(np.eye(6, 8, dtype=np.bool_), SHAPE)
    assert region is not None
    assert region.box == Box((0, 0, 0), (4, 6, 6))
    assert region.plane("xz", 2).sum() == 4


def test_ids_outside_are_background() -> None:
    region = Region.of(Box((0, 0, 0), (1, 2, 8)), SHAPE)
    assert region is not None
    assert region.cut(np.full((6, 8), 7, np.uint32), "xy", 0).sum() == 2 * 8 * 7
    assert not region.cut(np.full((6, 8), 7, np.uint32), "xy", 1).any()


@pytest.mark.parametrize(
    ("roi", "message"),
    [
        (np.ones(SHAPE, np.uint8), "a mask of True and False.*got uint8"),
        (np.ones((6, 7), np.bool_), r"\(6, 8\).*got \(6, 7\)"),
        (np.zeros(SHAPE, np.bool_), "Nothing of this stack"),
        (Box((4, 0, 0), (9, 6, 8)), "Nothing of this stack"),
    ],
)
def test_a_region_that_cannot_be_meant_is_refused(roi: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Region.of(roi, SHAPE)


@pytest.mark.parametrize("tile", [64, 96])
def test_inside_maps_are_those_of_the_whole_plane(tile: int, mini: Model) -> None:
    stack, _ = phantom((1, 200, 216), seed=3)
    recipe = Recipe(tile=tile, halo=16)
    roi = np.zeros((200, 216), np.bool_)
    roi[70:100, 90:150] = True
    whole, part = (predict(stack.plane(0), model=mini, recipe=recipe, roi=r) for r in (None, roi))
    assert np.array_equal(part.semantic[:, roi], whole.semantic[:, roi])
    assert not part.semantic[:, ~roi].any()
    coarse = roi[::4, ::4]
    assert np.array_equal(part.center[coarse], whole.center[coarse])
    assert np.array_equal(part.offsets[:, coarse], whole.offsets[:, coarse])


def test_the_net_runs_only_the_tiles_that_see_the_region() -> None:
    predictor = Predictor(Oracle(), Recipe(tile=64, halo=16))
    roi = np.zeros((256, 256), np.bool_)
    roi[100:120, 100:120] = True
    some, every = (predictor.tiles((256, 256), (1, 1), where) for where in (roi, None))
    assert 0 < len(some) <= 4 < len(every)
    assert set(some) <= set(every)


def test_a_whole_plane_is_cut_to_the_region_and_what_is_around_it() -> None:
    model = Oracle()
    ids = np.kron(volume()[8], np.ones((4, 4), np.uint8))
    roi = np.zeros(ids.shape, np.bool_)
    roi[100:110, 200:230] = True
    maps = predict(ids, model=model, recipe=Recipe(tile=0, halo=32), roi=roi)
    assert model.net.calls == [(1, 1, 80, 112)]  # 68..142 and 168..262 on the grid of 16
    assert np.array_equal(maps.semantic[0] > 127, (ids > 0) & roi)


def test_a_box_of_a_stack_marks_its_part_of_a_plane(mini: Model) -> None:
    stack, _ = phantom((4, 64, 64), seed=3)
    box = Box((1, 16, 0), (3, 48, 64))
    inside = predict(stack.plane(20, "xz"), model=mini, roi=box)
    assert inside.semantic.shape == (1, 4, 64)
    assert not inside.semantic[0, [0, 3]].any()
    assert inside.semantic[0, 1:3].any()
    with pytest.raises(InputError, match="does not touch"):
        predict(stack.plane(0), model=mini, roi=box)


GENTLE = Recipe(min_area=8, min_size=50, center_distance=8, tile=0, halo=32)


@pytest.mark.parametrize("planes", [("xy",), ("xy", "xz", "yz")])
@pytest.mark.parametrize("median", [1, 3])
def test_a_stack_is_segmented_inside_and_stays_background_outside(planes: Any, median: int) -> None:
    ids = volume()
    box = Box((2, 8, 8), (14, 40, 80))
    recipe = GENTLE.replace(planes=planes, median=median)
    labels = segment(Stack(ids), recipe, model=Oracle(), roi=box, show=False).data
    outside = np.ones(ids.shape, np.bool_)
    outside[box.slices] = False
    assert not labels[outside].any()
    true, found = ids[box.slices] > 0, labels[box.slices] > 0
    assert (true & found).sum() / (true | found).sum() > 0.95


def test_planes_outside_are_not_run_and_decoding_again_gives_the_same(tmp_path: Path) -> None:
    mask = np.zeros((16, 64, 80), np.bool_)
    mask[4:9, 10:50, 10:40] = True
    mask[6, 30, 30] = False
    model, kept, recipe = Oracle(), KeptMaps(folder=tmp_path / "maps"), GENTLE.replace(median=3)
    labels = segment(Stack(volume()), recipe, model=model, roi=mask, kept=kept, show=False)
    assert len(model.net.calls) == 5
    assert labels.data.any()
    assert not labels.data[~mask].any()
    again = drain(redecoding(KeptMaps(folder=tmp_path / "maps"), recipe), show=False)
    assert np.array_equal(again.data, labels.data)
    assert labels.record["region"] == {"start": [4, 10, 10], "stop": [9, 50, 40], "mask": True}  # type: ignore[index]


@pytest.mark.parametrize("roi", [Box((0, 1, 2), (3, 4, 5)), np.eye(6, 8) > 0, np.arange(192).reshape(SHAPE) % 7 == 3])
def test_a_region_is_written_and_read(roi: Any) -> None:
    region = Region.of(roi, SHAPE)
    assert region is not None
    read = Region.from_json(json.loads(json.dumps(region.to_json())))
    assert read.box == region.box
    assert all(np.array_equal(read.plane("yz", k), region.plane("yz", k)) for k in range(8))
