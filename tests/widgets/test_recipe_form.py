"""The recipe form: drawn from the fields, refuses what a recipe refuses, and tells what must run again."""

from __future__ import annotations

import dataclasses
from typing import Any

import ipywidgets as ipw

from mitonb.recipe import PRESETS, Recipe, Verdicts
from mitonb.widgets.forms import RecipeForm, rerun_of


def told(form: RecipeForm) -> list[tuple[dict[str, Any], str]]:
    heard: list[tuple[dict[str, Any], str]] = []
    form.changed.connect(lambda recipe, rerun: heard.append((recipe.changes(), rerun)))
    return heard


def test_the_form_has_a_control_for_every_field_of_the_recipe() -> None:
    form = RecipeForm()
    assert set(form.controls) == {f.name for f in dataclasses.fields(Recipe)}
    assert (form.preset.value, form.reset.description) == ("default", "as in preset")
    assert all(control.value == getattr(Recipe(), name) for name, control in form.controls.items())


def test_controls_suit_their_fields() -> None:
    controls = RecipeForm(models=("mito-mini", "mito-open")).controls
    assert isinstance(controls["semantic_threshold"], ipw.FloatSlider)
    assert isinstance(controls["center_distance"], ipw.IntSlider)
    assert isinstance(controls["min_size"], ipw.BoundedIntText), "a slider of 100,000 steps cannot be set"
    assert isinstance(controls["fill_holes"], ipw.Checkbox)
    assert controls["downsampling"].options == (1, 2, 4, 8, 16, 32, 64)
    assert controls["model"].options == ("mito-mini", "mito-open")


def test_a_moved_slider_changes_the_recipe_and_says_that_decoding_is_enough() -> None:
    form = RecipeForm()
    heard = told(form)
    form.controls["center_threshold"].value = 0.2
    assert heard == [({"center_threshold": 0.2}, "decode")]
    assert form.reset.description == "1 changed: reset"


def test_the_costliest_of_several_changes_counts() -> None:
    assert rerun_of(Recipe(), Recipe(center_threshold=0.3, votes=1)) == "track"
    assert rerun_of(Recipe(), Recipe(center_threshold=0.3, tile=0)) == "net"


def test_a_recipe_from_a_script_fills_the_controls_and_is_told_once() -> None:
    form = RecipeForm()
    heard = told(form)
    form.recipe = Recipe(semantic_threshold=0.7, planes=("xy", "yz"), min_size=20)
    assert form.controls["semantic_threshold"].value == 0.7
    assert form.controls["planes"].value == ("xy", "yz")
    assert [toggle.value for toggle in form.controls["planes"].toggles.values()] == [True, False, True]
    assert len(heard) == 1


def test_the_last_direction_cannot_be_taken_away() -> None:
    form = RecipeForm()
    form.controls["planes"].toggles["xy"].value = False
    assert form.recipe.planes == ("xy",)
    assert form.controls["planes"].toggles["xy"].value
    assert "one to three" in form.message.value


def test_reset_returns_to_the_preset_that_was_chosen() -> None:
    form = RecipeForm()
    form.preset.value = "volume"
    form.controls["votes"].value = 3
    form.reset.click()
    assert form.recipe == PRESETS["volume"]
    assert form.reset.disabled


def test_reset_and_presets_leave_verdicts_which_only_their_own_button_takes_out() -> None:
    verdicts = Verdicts(features=(("area", 1.0, 0.0, 1.0),), bias=0.0, right=3, false=4)
    form = RecipeForm(Recipe(verdicts=verdicts))
    assert form.reset.description == "as in preset"
    form.controls["votes"].value = 3
    assert form.reset.description == "1 changed: reset"
    form.reset.click()
    assert form.recipe == Recipe(verdicts=verdicts)
    form.preset.value = "volume"
    assert form.recipe == PRESETS["volume"].replace(verdicts=verdicts)
    form.controls["verdicts"].forget.click()
    assert form.recipe == PRESETS["volume"]


def test_a_given_recipe_starts_from_the_nearest_preset() -> None:
    form = RecipeForm(Recipe(planes=("xy", "xz", "yz"), votes=3))
    assert form.preset.value == "volume"
    assert form.reset.description == "1 changed: reset"


def test_a_number_that_the_browser_rounded_is_the_number_that_was_meant() -> None:
    form = RecipeForm()
    form.controls["semantic_threshold"].value = 0.6
    form.controls["semantic_threshold"].value = 0.5499999999999999
    assert form.recipe.changes() == {}
