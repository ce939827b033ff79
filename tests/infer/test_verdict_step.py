"""Verdicts are a step of the recipe: a run leaves out what they call false, in planes and blocks, memory and store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import mitonb as mn
from mitonb.errors import InputError
from mitonb.infer.kept import KeptMaps
from mitonb.infer.segment import redecode, segment
from mitonb.io.opening import open_labels
from mitonb.recipe import Recipe, Verdicts
from mitonb.stack import Stack
from tests.infer.oracle import Oracle, volume
from tests.infer.test_heads import Model

if TYPE_CHECKING:
    from pathlib import Path

RECIPE = Recipe(min_area=0, min_size=30, min_span=1, tile=0, lookahead=0, center_distance=4)
# The picture of object k is k grey, of at most 4: what is darker than 2.5 is right with less than one half, 2 with 0.1.
DARK = Verdicts(features=(("grey", 1.0, 2.5 / 4, 0.05),), bias=0.0, below=0.2)


def stack() -> Stack:
    return Stack(volume(), intensity=(0.0, 4.0))


def run(model: Any, recipe: Recipe, **options: Any) -> Any:
    return segment(stack(), recipe, model=model, show=False, **options)


@pytest.mark.parametrize("planes", [("xy",), ("xy", "xz", "yz")])
@pytest.mark.parametrize("model", [Oracle(), Model(("semantic", "contour"), 3)], ids=["planes", "blocks"])
def test_a_run_leaves_out_what_verdicts_call_false(model: Any, planes: Any, tmp_path: Path) -> None:
    image, recipe = stack(), RECIPE.replace(planes=planes)
    plain = run(model, recipe)
    greys = {id: int(np.median(image.data[plain.data == id])) for id in plain.ids()}
    false = [id for id, grey in greys.items() if grey < 2.5]
    assert false
    assert len(false) < len(greys)
    learned = recipe.replace(verdicts=DARK)
    found = run(model, learned)
    assert np.array_equal(found.data > 0, (plain.data > 0) & ~np.isin(plain.data, false))
    assert list(found.ids()) == list(range(1, len(greys) - len(false) + 1))
    assert f"By verdicts {len(false)} of {len(greys)} objects were dropped." in found.record["notes"]
    # The record says how to do it again.
    assert Recipe.from_json(json.dumps(found.record["recipe"])) == learned
    stored = run(model, learned, out=tmp_path / "labels.ome.zarr")
    assert stored.count == len(greys) - len(false)
    assert np.array_equal(open_labels(tmp_path / "labels.ome.zarr").data, found.data)


def test_kept_maps_are_decoded_with_verdicts_where_the_image_is_given() -> None:
    kept, learned = KeptMaps(), RECIPE.replace(verdicts=DARK)
    found = run(Oracle(), learned, kept=kept)
    assert np.array_equal(redecode(kept, learned, stack=stack(), show=False).data, found.data)
    assert len(redecode(kept, RECIPE, show=False).ids()) > len(found.ids())
    with pytest.raises(InputError, match=r"the image of \(16, 64, 80\) voxels, got none. Give redecode its"):
        redecode(kept, learned, show=False)


def test_a_single_plane_is_judged_too() -> None:
    section = Stack(volume()[8:9], intensity=(0.0, 4.0))
    plain = segment(section, RECIPE, model=Oracle(), show=False)
    found = segment(section, RECIPE.replace(verdicts=DARK), model=Oracle(), show=False)
    greys = {id: int(np.median(section.data[plain.data == id])) for id in plain.ids()}
    assert len(found.ids()) == sum(grey > 2.5 for grey in greys.values()) < len(greys)


def test_what_was_learned_survives_json_and_nothing_else_is_taken_for_it() -> None:
    features = mn.describe_objects(volume(), stack())
    learned = mn.learn_verdicts(features, {1: False, 2: False, 3: True, 4: True}, below=0.3)
    recipe = Recipe(verdicts=learned)
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert mn.drop_false(volume(), Recipe.from_json(recipe.to_json()).verdicts, features)[1] == [1, 2]
    for wrong in ({"features": 3}, {"features": [["area", 1]], "bias": 0}, "right", {"features": [], "bias": "nan"}):
        with pytest.raises(InputError, match="verdicts are what"):
            Recipe(verdicts=wrong)
    with pytest.raises(InputError, match="look at 'smell'"):
        mn.drop_false(volume(), Verdicts(features=(("smell", 1.0, 0.0, 1.0),), bias=0.0), features)
