"""What a run tells when its image is unlike those of the training: pixels too fine or coarse, grey turned round."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

import mitonb as mn
from mitonb.cli import main
from mitonb.errors import InputError
from mitonb.infer.kept import KeptMaps
from mitonb.models.zoo import Model, load_model
from mitonb.widgets.runs import Runs

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = mn.Recipe(min_size=50, min_span=1)


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("mito-mini")


@pytest.fixture(scope="module")
def stack() -> mn.Stack:
    return mn.phantom((3, 192, 192), 3)[0]


def notes(stack: mn.Stack, model: Model, **changes: object) -> list[str]:
    labels = mn.segment(stack, SETTINGS.replace(**changes), model=model, show=False)
    assert labels.record is not None
    return list(labels.record["notes"])


@pytest.mark.parametrize("downsampling", [1, 2])
def test_turning_around_in_the_recipe_is_turning_around_the_image(
    stack: mn.Stack, model: Model, downsampling: int
) -> None:
    for image in (stack, mn.Stack(stack.read().astype(np.uint16) * 100), mn.Stack(stack.read() / np.float32(255))):
        recipe = SETTINGS.replace(downsampling=downsampling)
        want = mn.segment(image, recipe, model=model, show=False)
        got = mn.segment(image.inverted(), recipe.replace(invert=True), model=model, show=False)
        assert np.array_equal(got.data, want.data)
        assert (got.record or {})["recipe"]["invert"] is True


def test_recipes_and_records_of_before_still_read() -> None:
    old = json.loads(mn.Recipe().to_json())
    del old["invert"]
    assert mn.Recipe.from_json(json.dumps(old)) == mn.Recipe()
    field = next(f for f in dataclasses.fields(mn.Recipe) if f.name == "invert")
    assert field.metadata["rerun"] == "net"


def test_maps_of_an_image_turned_around_are_other_maps(stack: mn.Stack, model: Model, tmp_path: Path) -> None:
    kept = KeptMaps(folder=tmp_path / "maps")
    mn.segment(stack, SETTINGS, model=model, kept=kept, show=False)
    with pytest.raises(InputError, match="invert"):
        mn.segment(stack, SETTINGS.replace(invert=True), model=model, kept=kept, show=False)


@pytest.mark.parametrize("seed", [0, 1, 6])
def test_an_image_that_looks_inverted_is_told_once_and_only_then(model: Model, seed: int) -> None:
    image = mn.phantom((3, 256, 256), seed)[0]
    assert notes(image, model) == []
    turned = image.inverted()
    found = notes(turned, model)
    assert len(found) == 1
    assert "looks inverted" in found[0]
    assert "invert=True" in found[0]
    assert notes(turned, model, invert=True) == []
    assert "invert=False" in notes(image, model, invert=True)[0]


def test_the_doubt_stays_in_the_record_when_kept_maps_are_used_again(model: Model) -> None:
    turned, kept = mn.phantom((3, 256, 256), 1)[0].inverted(), KeptMaps()
    first = mn.segment(turned, SETTINGS, model=model, kept=kept, show=False)
    again = mn.segment(turned, SETTINGS, model=model, kept=kept, show=False)
    assert (again.record or {})["notes"] == (first.record or {})["notes"] != []


@pytest.mark.parametrize(
    ("size", "downsampling", "words"),
    [
        ((1.3, 1.3, 1.3), 1, ""),
        ((30.0, 2.0, 2.0), 1, ""),
        ((1.0, 1.0, 1.0), 2, "Leave downsampling at 1"),
        ((64.0, 64.0, 64.0), 1, "too coarse"),
        ((50.0, 8.0, 8.0), 8, "Leave downsampling at 1"),
        ((8.0, 8.0, 8.0), 1, ""),
        ((50.0, 4.6, 4.6), 1, ""),
        ((1.0, 1.0, 1.0), 4, ""),
        ((50.0, 16.0, 16.0), 1, ""),
        (None, 1, ""),
    ],
)
def test_pixels_unlike_those_of_the_training_are_told_with_what_to_do(
    stack: mn.Stack, model: Model, size: tuple[float, float, float] | None, downsampling: int, words: str
) -> None:
    image = dataclasses.replace(stack, voxel_size=size)
    said = [n for n in notes(image, model, downsampling=downsampling) if "was trained on" in n]
    assert len(said) == bool(words)
    assert words in " ".join(said)


@pytest.mark.parametrize(("size", "after"), [((1.6, 1.6, 1.6), "1.6 x 4 x 4"), ((30.0, 2.0, 2.0), "30 x 4 x 4")])
def test_pixels_finer_than_those_of_the_training_are_resampled_which_is_told(
    stack: mn.Stack, model: Model, size: tuple[float, float, float], after: str
) -> None:
    image = dataclasses.replace(stack, voxel_size=size)
    assert f"were resampled to {after} nm" in notes(image, model)[0]
    assert not any("resampled" in note for note in notes(image, model, pixel_size="as is"))


def test_the_command_line_turns_around_and_tells(stack: mn.Stack, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    image = mn.phantom((2, 256, 256), 1)[0]
    mn.save(dataclasses.replace(image.inverted(), voxel_size=(1.0, 1.0, 1.0)), tmp_path / "cell.tif")
    assert main(["segment", str(tmp_path / "cell.tif"), str(tmp_path / "a.tif"), "--pixel-size", "as is"]) == 0
    said = capsys.readouterr().err
    assert "looks inverted" in said
    assert "was trained on" in said
    assert main(["segment", str(tmp_path / "cell.tif"), str(tmp_path / "b.tif"), "--invert"]) == 0
    assert "looks inverted" not in capsys.readouterr().err
    record = json.loads((tmp_path / "b.tif.record.json").read_text("utf-8"))
    assert record["recipe"]["invert"] is True


def test_the_workbench_tells_after_a_plane_and_after_a_volume() -> None:
    app = mn.explore(mn.phantom((2, 256, 256), 1)[0].inverted())
    app.run_plane().result(120)
    assert "looks inverted" in app.run_bar.message.value
    app.run_volume().result(120)
    assert "looks inverted" in app.run_bar.message.value
    assert isinstance(app.runs, Runs)
