"""A model is scored on images with labels as a person would: segment, compare, at both scales, plane and volume."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import tifffile

import mitonb as mn
from mitonb.accuracy import score_planes
from mitonb.cli import main
from mitonb.errors import InputError, ModelError


@pytest.fixture(scope="module")
def phantom():
    return mn.phantom((4, 160, 160), seed=3)


def write(folder, name, image, labels):
    for part, values in (("images", image), ("masks", labels)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(folder / part / f"{name}.tif", values, photometric="minisblack")


def test_the_figures_are_those_of_segment_and_score(phantom):
    stack, truth = phantom
    found = mn.benchmark(mn.Pair(stack, truth, name="drawn"), show=False)
    labels = mn.segment(mn.Stack(stack.data, stack.voxel_size), show=False)
    scores = mn.score(labels.data, truth.data)
    (row,) = found.rows
    assert (row["image"], row["scale"]) == ("drawn", "both")
    assert row["volume"] == {
        "count": len(truth.ids()), "iou": scores.iou, "f1_50": scores.at(0.5).f1, "f1_75": scores.at(0.75).f1,
        "pq": scores.at(0.5).pq, "ap": scores.ap(),
    }  # fmt: skip
    planes = [score_planes(labels.data[z : z + 1], truth.data[z : z + 1]) for z in range(4)]
    assert row["planes"]["count"] == 4
    assert row["planes"]["iou"] == pytest.approx(np.mean([plane.iou for plane in planes]))
    assert row["planes"]["ap"] == pytest.approx(np.mean([plane.ap() for plane in planes]))
    assert "mito-mini was trained on" in repr(found)


def test_pixels_that_the_model_does_not_know_are_scored_at_both_scales(phantom):
    stack, truth = phantom
    image, ids = (np.asarray(v)[:1].repeat(3, 1).repeat(3, 2)[:, :300, :300] for v in (stack.read(), truth.data))
    found = mn.benchmark(mn.Pair(image, ids, voxel_size=(10, 2, 2), name="fine"), show=False)
    assert [(row["scale"], row["pixels"]) for row in found.rows] == [("data", "2 x 2 nm"), ("model", "4 x 4 nm")]
    data, model = (row["planes"]["iou"] for row in found.rows)
    assert model > data
    assert all(row["volume"] is None for row in found.rows)  # one plane
    assert any(note.startswith("(model) Voxels of 10 x 2 x 2 nm were resampled") for note in found.notes)
    assert "4 x 4 nm (model)" in repr(found)
    unknown = mn.benchmark(mn.Pair(image[:, :100, :100], ids[:, :100, :100]), show=False).rows
    assert [(row["scale"], row["pixels"]) for row in unknown] == [("both", "size unknown")]


def test_a_folder_of_images_gives_means_over_those_that_have_objects(phantom, tmp_path, capsys):
    pytest.importorskip("torch", reason="the command says itself that it is missing")
    stack, truth = phantom
    for z in range(2):
        write(tmp_path / "set", f"im{z}", stack.read()[z], truth.data[z])
    write(
        tmp_path / "set",
        "empty",
        np.random.default_rng(0).integers(90, 110, (160, 160), np.uint8),
        np.zeros_like(truth.data[0]),
    )
    assert main(["benchmark", str(tmp_path / "set"), "--json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["rows"]) == 3
    (mean,) = told["means"]
    figures = [row["planes"] for row in told["rows"] if row["planes"]]
    assert mean["planes"]["count"] == len(figures) == 2
    assert mean["planes"]["pq"] == pytest.approx(np.mean([f["pq"] for f in figures]))
    assert any(note.startswith("(data and model) 1 planes without objects") for note in told["notes"])
    assert main(["benchmark", str(tmp_path / "set"), "--quiet"]) == 0
    out = capsys.readouterr().out
    assert "F1@75" in out
    assert "mean of 3" in out


def test_means_count_objects_and_an_empty_plane_counts_once_at_each_scale(phantom):
    stack, truth = phantom
    image, ids = stack.read()[:2].repeat(2, 1).repeat(2, 2)[:, :160, :160], truth.data[:2].repeat(2, 1).repeat(2, 2)
    ids = ids[:, :160, :160].copy()
    ids[1] = 0
    grey = mn.Pair(np.full((2, 64, 64), 90, np.uint8), np.zeros((2, 64, 64), np.uint8), name="grey")
    one = mn.Pair(image, ids, voxel_size=(10, 2, 2), name="one")
    found = mn.benchmark([one, grey, dataclasses.replace(one, name="two")], show=False)
    objects = len(np.unique(ids)) - 1
    assert [row["image"] for row in found.rows] == ["one", "one", "two", "two"]
    for mean in found.means:
        assert (mean["image"], mean["planes"]["count"], mean["volume"]["count"]) == ("mean of 2", 2, 2 * objects)
        assert mean["volume"]["iou"] == pytest.approx(found.rows[0 if mean["scale"] == "data" else 1]["volume"]["iou"])
    text = "\n".join(found.notes)
    assert "(data) 2 planes without objects" in text
    assert "(model) 2 planes without objects" in text
    assert "left out, for the image is all one grey" in text


def test_a_card_that_tells_no_pixel_sizes_is_said_to_be_scored_at_those_of_the_data(phantom):
    stack, truth = phantom
    model = mn.load_model("mito-mini")
    silent = dataclasses.replace(model, spec=dataclasses.replace(model.spec, pixel_sizes=None))
    found = mn.benchmark(mn.Pair(stack.read()[:1], truth.data[:1], voxel_size=(8, 2, 2)), silent, show=False)
    assert [row["scale"] for row in found.rows] == ["both"]
    assert any("tells no pixel sizes" in note for note in found.notes)


def test_what_is_unknown_does_not_count(phantom):
    stack, truth = phantom
    unknown = np.zeros(truth.data.shape, bool)
    unknown[:, 80:] = True
    half = mn.benchmark(mn.Pair(stack, truth, unknown=unknown), show=False).rows[0]["volume"]
    assert half["count"] == len(np.unique(truth.data[:, :80])) - 1


def test_bad_input_is_told(phantom, tmp_path, capsys):
    stack, truth = phantom
    with pytest.raises(InputError, match="no folder, and no public data set"):
        mn.benchmark(str(tmp_path / "none"), show=False)
    with pytest.raises(ModelError, match="There is no model 'nix'"):
        mn.benchmark((stack, truth), "nix", show=False)
    with pytest.raises(InputError, match="they must be of one shape"):
        mn.benchmark((stack, truth.data[:2]), show=False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"images/ and masks/"):
        mn.benchmark(tmp_path / "empty", show=False)
    assert main(["benchmark", str(tmp_path / "none")]) == 1
    assert "mitonb data list" in capsys.readouterr().err
