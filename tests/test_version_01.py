"""Files that version 0.1 wrote before its house was rebuilt: they open, and say the same."""

import json
from pathlib import Path

import numpy as np
import pytest

import mitonb as mn

DATA = Path(__file__).parent / "data_v01"


def expected(name: str) -> np.ndarray:
    """Return the (z, y, x) labels that the old version had in memory."""
    with np.load(DATA / "expected.npz") as arrays:
        return np.asarray(arrays[name])


@pytest.mark.parametrize(
    ("name", "which"), [("labels.npz", "labels"), ("labels.ome.zarr", "labels"), ("store.ome.zarr", "stored")]
)
def test_labels_of_the_old_version_open_with_their_ids_size_and_record(name: str, which: str) -> None:
    labels = mn.open_labels(DATA / name)
    assert np.array_equal(labels.data, expected(which))
    assert labels.voxel_size == (8.0, 8.0, 8.0)
    assert labels.record is not None
    assert labels.record["recipe"]["min_size"] == 100


def test_a_recipe_of_the_old_version_keeps_its_values_under_the_names_of_today() -> None:
    recipe = mn.Recipe.from_json((DATA / "recipe.json").read_text())
    assert (recipe.track_iou, recipe.track_ioa, recipe.consensus_iou) == (0.3, 0.9, 0.7)
    assert (recipe.planes, recipe.lookahead, recipe.min_size) == (("xy", "xz"), 4, 100)


def test_the_recipe_in_a_record_of_the_old_version_is_the_same_as_the_recipe_file() -> None:
    record = json.loads((DATA / "record.json").read_text())
    assert mn.Recipe.from_json(json.dumps(record["recipe"])) == mn.Recipe.from_json((DATA / "recipe.json").read_text())


def test_a_run_from_the_recipe_of_the_old_version_does_what_its_fields_said() -> None:
    pytest.importorskip("torch")
    stack, _ = mn.phantom((24, 96, 96), 9)
    old = mn.Recipe.from_json((DATA / "recipe.json").read_text())
    same = mn.Recipe(
        planes=("xy", "xz"), pixel_size="as is", track_iou=0.3, track_ioa=0.9, lookahead=4, consensus_iou=0.7,
        min_size=100, engine="exact",
    )  # fmt: skip
    labels = mn.segment(stack, old, show=False).data  # not those of then: the bundled weights are others now
    assert labels.any()
    assert np.array_equal(labels, mn.segment(stack, same, show=False).data)
