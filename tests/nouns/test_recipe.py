"""Recipes are validated, round-trip through JSON, and describe their own form."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitonb.errors import InputError
from mitonb.recipe import PRESETS, Recipe


@given(st.floats(0.05, 0.95), st.integers(1, 200), st.sampled_from([("xy",), ("xz", "xy"), ("xy", "xz", "yz")]))
def test_a_recipe_survives_json(threshold, distance, planes):
    recipe = Recipe(semantic_threshold=threshold, center_distance=distance, planes=planes)
    assert Recipe.from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"center_treshold": 0.2}, "Did you mean center_threshold"),
        ({"center_threshold": 7}, "from 0.02 to 0.95, got 7"),
        ({"planes": ("xy", "zy")}, "got 'zy'"),
        ({"planes": ()}, "one to three different directions"),
        ({"planes": ("xy", "xy")}, "one to three different directions"),
        ({"downsampling": 3}, "power of two"),
        ({"median": 4}, "odd number of planes, got 4. Use 5"),
        ({"min_size": 1.5}, "whole number"),
        ({"min_size": "many"}, "or such as '60 nm3', got 'many'"),
        ({"fill_holes": 1}, "True or False"),
        ({"device": "tpu"}, "one of auto, cpu, cuda, mps"),
        ({"model": ""}, "is a text"),
        ({"planes": 5}, "got 5"),
        ({"planes": None}, "got None"),
        ({"planes": [["xy"]]}, r"got \['xy'\]"),
        ({"min_area": float("inf")}, "is a number, got inf"),
    ],
)
def test_wrong_values_are_refused_with_the_right_ones(changes, words):
    with pytest.raises(InputError, match=words):
        Recipe().replace(**changes)


@pytest.mark.parametrize("text", ["no json", "[1]", '{"colour": 1}'])
def test_text_that_is_no_recipe_is_refused(text):
    with pytest.raises(InputError):
        Recipe.from_json(text)


def test_every_field_carries_what_a_form_needs():
    for field in dataclasses.fields(Recipe):
        assert field.metadata["label"], field.name
        assert field.metadata["help"].endswith("."), field.name
        assert field.metadata["rerun"] in ("decode", "track", "net"), field.name


def test_presets_are_recipes_and_a_single_direction_may_be_given_as_text():
    assert PRESETS["default"] == Recipe()
    assert Recipe(planes="xz").planes == ("xz",)
    assert Recipe(center_threshold=0.2).changes() == {"center_threshold": 0.2}


def test_what_a_user_gives_for_a_recipe_becomes_one_or_a_clear_error() -> None:
    assert Recipe.of(None) == Recipe()
    assert Recipe.of("volume") is PRESETS["volume"]
    assert Recipe.of({"min_size": 500}) == Recipe(min_size=500)
    with pytest.raises(InputError, match="There is no preset 'volumes'"):
        Recipe.of("volumes")
    with pytest.raises(InputError, match="no field 'min_sise'"):
        Recipe.of({"min_sise": 500})
    with pytest.raises(InputError, match="got int"):
        Recipe.of(3)  # type: ignore[arg-type]


def test_recipes_of_version_0_1_are_read_by_their_old_names() -> None:
    today = Recipe(track_iou=0.4, track_ioa=0.5, consensus_iou=0.6)
    old = {"merge_iou": 0.4, "merge_ioa": 0.5, "cluster_iou": 0.6}
    assert Recipe.of(old) == Recipe.from_json(json.dumps(old)) == Recipe().replace(**old) == today
    assert json.loads(today.to_json()).keys().isdisjoint(old)


def test_lengths_may_be_given_in_nanometres_and_become_pixels_where_the_voxel_size_is_known():
    recipe = Recipe(center_distance="60 nm", min_area="2500nm2", min_size="1e6 nm3")
    assert (recipe.center_distance, recipe.min_area, recipe.min_size) == ("60 nm", "2500 nm2", "1e+06 nm3")
    own = recipe.in_pixels((40.0, 5.0, 5.0))
    assert (own.center_distance, own.min_area, own.min_size) == (12, 100, 1000)
    assert Recipe.from_json(recipe.to_json()) == recipe
    with pytest.raises(InputError, match="center_distance is 60 nm, and the voxel size of this image is unknown"):
        recipe.in_pixels()


def test_lengths_in_pixels_are_those_of_the_picture_that_the_network_sees():
    own = Recipe().in_pixels((30.0, 2.0, 2.0), (1.0, 2.0, 2.0))
    assert (own.center_distance, own.min_area, own.min_size, own.min_span) == (24, 400, 6000, 2)
    assert Recipe().in_pixels() == Recipe()


@pytest.mark.parametrize(("given", "kept"), [("auto", "auto"), ("as is", "as is"), (8, "8 nm"), ("7.5 nm", "7.5 nm")])
def test_a_pixel_size_is_a_wish_or_nanometres(given, kept):
    assert Recipe(pixel_size=given).pixel_size == kept


@pytest.mark.parametrize("given", ["often", -3, True, "8 px", 0])
def test_other_pixel_sizes_are_refused(given):
    with pytest.raises(InputError, match="pixel_size is auto, as is, or such as '60 nm'"):
        Recipe(pixel_size=given)


def test_recipes_of_version_01_leave_the_pixels_as_they_are():
    values = json.loads(Recipe(downsampling=2).to_json())
    del values["pixel_size"]
    assert Recipe.from_json(json.dumps(values)).pixel_size == "as is"
    assert Recipe.from_json('{"min_size": 500}').pixel_size == "auto"
