"""The command line: the same results as the verbs, sentences instead of tracebacks, honest exit codes."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import mitonb as mn
from mitonb.cli import build_parser, in_shell, main, values_last
from mitonb.errors import InputError
from mitonb.io.opening import open_labels
from mitonb.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="needs PyTorch, which is not installed here"
)
ROOT = Path(__file__).parents[1]
COMMANDS = (
    "segment", "rerun", "train", "score", "models", "lab", "info", "fetch", "replay", "export", "merge", "doctor",
    "cite",
)  # fmt: skip


@pytest.fixture
def cell(tmp_path: Path) -> Path:
    stack, _ = mn.phantom((8, 96, 96), seed=4)
    return mn.save(stack, tmp_path / "cell.ome.tif")


def drawn(path: Path, *boxes: tuple[int, int]) -> Path:
    """Save labels with an object of 4 x 8 x width voxels from each start."""
    ids = np.zeros((4, 16, 32), np.uint32)
    for number, (start, stop) in enumerate(boxes, 1):
        ids[:, 4:12, start:stop] = number
    return mn.save(mn.Labels(ids), path)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert f"mitonb {command}" in said
    assert "exit codes" in said


def test_every_field_of_the_recipe_is_an_option() -> None:
    words = ["segment", "in.tif", "out.tif", "--planes", "xz", "yz", "--no-fill-holes", "--center-threshold", "0.3"]
    options = build_parser().parse_args(words)
    assert all(hasattr(options, name) for name in Recipe.__dataclass_fields__)
    assert (options.planes, options.fill_holes, options.center_threshold) == (["xz", "yz"], False, 0.3)
    assert build_parser().parse_args(["segment", "in.tif", "out.tif", "--merge-iou", "0.4"]).track_iou == 0.4


@needs_torch
def test_segment_gives_what_the_verb_gives(cell: Path, tmp_path: Path) -> None:
    out, table = tmp_path / "labels.ome.tif", tmp_path / "objects.csv"
    words = ["segment", str(cell), str(out), "--table", str(table), "--semantic-threshold", "0.4", "--quiet"]
    assert main(words) == 0
    stack = mn.open(cell)
    expected = mn.segment(stack, mn.Recipe(semantic_threshold=0.4), show=False)
    got = open_labels(out)
    np.testing.assert_array_equal(got.data, expected.data)
    assert got.voxel_size == pytest.approx(stack.voxel_size)
    assert len(table.read_text().splitlines()) >= len(expected.ids()) + 1
    assert main(words) == 1  # both are there now


@needs_torch
def test_segment_streams_into_a_store(cell: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small, streamed = tmp_path / "small.ome.tif", tmp_path / "streamed.ome.zarr"
    assert main(["segment", str(cell), str(small), "--maps", str(tmp_path / "maps"), "--quiet"]) == 0
    assert main(["segment", str(cell), str(streamed), "--maps", str(tmp_path / "maps")]) == 0
    assert "slab by slab" in capsys.readouterr().err
    np.testing.assert_array_equal(open_labels(streamed).data, open_labels(small).data)
    table, other = tmp_path / "streamed.csv", tmp_path / "small.csv"
    assert main(["segment", str(cell), str(streamed), "--table", str(table), "--overwrite", "--quiet"]) == 0
    mn.save(mn.measure(open_labels(small), stack=mn.open(cell)), other)
    assert table.read_text() == other.read_text()


@needs_torch
def test_a_folder_of_images_is_segmented_whatever_is_wrong_with_some(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, out, table = tmp_path / "images", tmp_path / "results", tmp_path / "objects.csv"
    images.mkdir()
    mn.save(mn.phantom((1, 96, 96), seed=4)[0], images / "a.ome.tif")
    (images / "b.tif").write_bytes(b"II*\0 and nothing else")
    (images / "notes.txt").write_text("no image")
    mn.save(mn.phantom((1, 96, 96), seed=5)[0], images / "c.ome.zarr")
    words = ["segment", str(images), str(out), "--ending", ".tif", "--table", str(table)]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "2 of 3 done" in said
    assert re.search(r"mitonb: b\.tif holds no image", said.splitlines()[-1])
    rows = pd.read_csv(out / "results.csv").set_index("image")
    assert rows["done"].to_dict() == {"a.ome.tif": "now", "b.tif": "failed", "c.ome.zarr": "now"}
    expected = mn.segment(mn.open(images / "a.ome.tif"), show=False)
    np.testing.assert_array_equal(open_labels(out / "a.tif").data, expected.data)
    counts = pd.read_csv(table)["image"].value_counts().to_dict()
    assert counts == {name: rows["objects"][name] for name in ("a.ome.tif", "c.ome.zarr")}
    (images / "b.tif").unlink()
    assert main([*words, "--overwrite", "--quiet"]) == 0
    first = pd.read_csv(out / "results.csv").set_index("image")
    assert main(words[:5]) == 0  # all are there
    again = pd.read_csv(out / "results.csv").set_index("image")
    assert set(again["done"]) == {"before"}
    assert again["objects"].dtype.kind == "i"
    assert again[["objects", "seconds"]].equals(first[["objects", "seconds"]])
    for wrong in ([str(images / "c.ome.zarr"), str(out)], [str(out), str(tmp_path / "x"), "--ending", ".doc"]):
        assert main(["segment", *wrong]) == 1
    assert "holds no image" in said_of(capsys, ["segment", str(empty(tmp_path)), str(tmp_path / "x")])


def empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def said_of(capsys: pytest.CaptureFixture[str], words: list[str]) -> str:
    capsys.readouterr()
    assert main(words) == 1
    return capsys.readouterr().err


@needs_torch
def test_a_run_is_made_again_from_its_record(cell: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, again = tmp_path / "first.tif", tmp_path / "again.tif"
    assert main(["segment", str(cell), str(first), "--semantic-threshold", "0.4", "--quiet"]) == 0
    record = Path(f"{first}.record.json")
    for source in (record, first):
        assert main(["rerun", str(source), str(again), "--quiet", "--overwrite"]) == 0
        np.testing.assert_array_equal(open_labels(again).data, open_labels(first).data)
    moved = cell.rename(tmp_path / "moved.ome.tif")
    assert "There is no" in said_of(capsys, ["rerun", str(record), str(tmp_path / "x.tif")])
    assert main(["rerun", str(record), str(tmp_path / "x.tif"), "--image", str(moved), "--quiet"]) == 0
    mn.save(mn.phantom((8, 96, 96), seed=5)[0], cell)
    assert "does not hold the voxels of the record" in said_of(capsys, ["rerun", str(record), str(tmp_path / "y.tif")])
    facts = json.loads(record.read_text())
    facts["model"]["sha256"] = "0" * 64
    record.write_text(json.dumps(facts))
    words = ["rerun", str(record), str(tmp_path / "y.tif"), "--image", str(moved)]
    assert "is another one here: its hash is" in said_of(capsys, words)
    facts["image"]["source"] = "https://example.org/cell.zarr"
    record.write_text(json.dumps(facts))
    assert "Say where it is with --image" in said_of(capsys, words[:3])  # a record by mail opens no address
    record.write_text("{}")
    assert "is no record of a run" in said_of(capsys, words)


@needs_torch
def test_segment_says_what_the_run_has_to_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack, _ = mn.phantom((8, 96, 96), seed=4)
    image = stack.read().astype(np.float32)
    image[3] = np.nan
    np.save(tmp_path / "cell.npy", image)
    assert main(["segment", str(tmp_path / "cell.npy"), str(tmp_path / "labels.npy")]) == 0
    assert "1 plane holds no number at all (NaN) and was left empty: xy 3." in capsys.readouterr().err


@needs_torch
def test_segment_leaves_out_what_verdicts_call_false_and_the_record_does_it_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = mn.save(mn.phantom((8, 96, 96), seed=4, voxel_size=(20, 20, 20), objects=12)[0], tmp_path / "cell.ome.tif")
    plain, fewer, again = (tmp_path / f"{name}.npy" for name in ("plain", "fewer", "again"))
    maps = ["--maps", str(tmp_path / "maps"), "--min-size", "100"]
    assert main(["segment", str(cell), str(plain), *maps]) == 0
    labels, stack = open_labels(plain), mn.open(cell)
    features = mn.describe_objects(labels, stack, maps=mn.KeptMaps(folder=tmp_path / "maps").sections())
    small, large = features["area"].idxmin(), features["area"].idxmax()
    verdicts = mn.learn_verdicts(features, {small: False, large: True}, below=0.5)
    kept, gone = mn.drop_false(labels, verdicts, features)
    assert small in gone
    (taught := tmp_path / "taught.json").write_text(mn.Recipe(verdicts=verdicts).to_json())
    assert main(["segment", str(cell), str(fewer), *maps, "--verdicts", str(taught)]) == 0
    assert f"By verdicts {len(gone)} of {len(labels.ids())} objects were dropped." in capsys.readouterr().err
    np.testing.assert_array_equal(open_labels(fewer).data > 0, kept.data > 0)
    record = tmp_path / "record.json"
    record.write_text(json.dumps(open_labels(fewer).record))
    assert main(["segment", str(cell), str(again), "--recipe", str(record), "--quiet"]) == 0
    np.testing.assert_array_equal(open_labels(again).data, open_labels(fewer).data)


def test_segment_reads_a_recipe_and_the_record_of_a_run(cell: Path, tmp_path: Path) -> None:
    recipe = mn.Recipe(center_threshold=0.2, min_size=10)
    plain, record = tmp_path / "recipe.json", tmp_path / "record.json"
    plain.write_text(recipe.to_json())
    record.write_text(json.dumps({"recipe": json.loads(recipe.to_json()), "mitonb": "0"}))
    from mitonb.cli import _recipe

    for path in (plain, record):
        options = build_parser().parse_args(["segment", "a", "b", "--recipe", str(path), "--min-size", "20"])
        assert _recipe(options) == recipe.replace(min_size=20)
    # What was learned from marks may come from another file than the rest.
    learned = mn.Recipe(verdicts={"features": [["area", 1.0, 5.0, 1.0]], "bias": 0.5}, min_size=7)
    (taught := tmp_path / "taught.json").write_text(learned.to_json())
    options = build_parser().parse_args(["segment", "a", "b", "--recipe", str(plain), "--verdicts", str(taught)])
    assert _recipe(options) == recipe.replace(verdicts=learned.verdicts)
    options = build_parser().parse_args(["segment", "a", "b", "--verdicts", str(plain)])
    with pytest.raises(InputError, match="a recipe without verdicts"):
        _recipe(options)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["segment", "missing.tif", "out.tif"], "missing.tif"),
        (["segment", "{cell}", "{cell}", "--overwrite"], "is also"),
        (["segment", "{cell}", "nowhere/out.tif"], "does not exist"),
        (["segment", "{cell}", "out.tif", "--center-threshold", "7"], "center_threshold is a number from"),
        (["segment", "{cell}", "out.tif", "--median", "4"], "odd number"),
        (["segment", "{cell}", "out.tif", "--voxel-size", "1", "2"], "one number or three"),
        (["segment", "{cell}", "out.tif", "--recipe", "{cell}"], ""),
        (["info", "README.md"], ""),
        (["score", "missing.tif", "{cell}"], "missing.tif"),
        (["cite", "no-such-model"], "no-such-model"),
        (["lab", "missing.tif", "--write-only"], "missing.tif"),
        pytest.param(["train", "nowhere", "a.safetensors", "--steps", "1"], "nowhere", marks=needs_torch),
        pytest.param(["train", "{cell}", "a.safetensors", "--net", "unet-4d"], "unet-4d", marks=needs_torch),
        pytest.param(["train", "{cell}", "a.safetensors", "--card", "{cell}"], "is not JSON", marks=needs_torch),
    ],
    ids=lambda v: " ".join(v)[:40] if isinstance(v, list) else "",
)
def test_what_goes_wrong_is_one_sentence(
    words: list[str], said: str, cell: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word.format(cell=cell) for word in words]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("mitonb: ")
    assert said in error
    assert "unexpected" not in error


def test_a_read_only_folder_is_refused_before_the_work(
    cell: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    if os.access(closed, os.W_OK):
        pytest.skip("this user (root) may write everywhere")
    assert main(["segment", str(cell), str(closed / "out.tif")]) == 1
    assert "read-only" in capsys.readouterr().err


def test_score_counts_a_hit_a_miss_and_an_extra(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = drawn(tmp_path / "truth.tif", (0, 8), (10, 18))
    labels = drawn(tmp_path / "labels.tif", (0, 8), (22, 30))
    assert main(["score", str(labels), str(truth), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    # One of two objects was found, one of two findings is true; 256 of 768 voxels are in both.
    assert scores["iou"] == pytest.approx(256 / 768)
    assert "0.5" in json.dumps(scores)
    assert main(["score", str(labels), str(truth)]) == 0
    assert "F1" in capsys.readouterr().out


def run_json(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words, "--json"]) == 0
    return capsys.readouterr().out


def test_score_refuses_a_grey_image_in_the_place_of_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack, labels = mn.phantom((4, 64, 64), seed=1)
    paths = mn.save(labels, tmp_path / "labels.tif"), mn.save(stack, tmp_path / "image.tif")
    assert main(["score", str(paths[0]), str(paths[1])]) != 0
    assert "image.tif: what should be labels looks like a grey image" in capsys.readouterr().err


def test_score_says_that_labels_and_truth_claim_other_scales(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = np.ones((2, 4, 4), np.uint16)
    files = [str(mn.save(mn.Labels(ids, voxel_size=(size,) * 3), tmp_path / f"{size}.ome.tif")) for size in (8, 1000)]
    assert main(["score", *files]) == 0
    assert "compared voxel by voxel" in capsys.readouterr().out
    assert main(["score", files[0], files[0]]) == 0
    assert "compared voxel by voxel" not in capsys.readouterr().out


def test_score_lists_mistakes_leaves_out_what_it_is_told_to_and_counts_in_planes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = drawn(tmp_path / "truth.tif", (0, 8), (10, 18))
    labels = drawn(tmp_path / "labels.tif", (0, 8), (22, 30))
    assert main(["score", str(labels), str(truth), "--mistakes"]) == 0
    said = capsys.readouterr().out
    assert " missing: labels none; truth 2" in said
    assert "   false: labels 2; truth none" in said
    assert main(["score", str(labels), str(truth), "--ignore", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["at"][0]["recall"] == 1
    assert main(["score", str(labels), str(truth), "--planes", "xy", "--smallest", "64", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["truth"], figures["labels"], figures["at"][0]["found"]) == (8, 8, 4)
    assert {"ap", "ap50", "ap75", "accuracy75", "sizes75", "vi", "rand", "mistakes", "mistake_ids"} <= set(figures)
    heat = np.zeros((4, 16, 32), np.uint8)
    heat[..., 20:] = 9  # surer of the false one
    mn.save(mn.Stack(heat), tmp_path / "heat.tif")
    by_size = json.loads(run_json(capsys, "score", str(labels), str(truth)))["ap50"]
    by_heat = json.loads(run_json(capsys, "score", str(labels), str(truth), "--ranking", str(tmp_path / "heat.tif")))
    assert by_heat["ap50"] == pytest.approx(by_size / 2)
    assert main(["score", str(labels), str(truth), "--iou", "75"]) == 1
    assert "above 0 and at most 1, got 75" in capsys.readouterr().err


def test_score_takes_negative_marks_and_the_largest_ids(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = np.zeros((4, 16, 32), np.uint64)
    ids[:, 4:12, 2:8], ids[:, 4:12, 10:18] = 2**64 - 1, 2**53 + 1
    np.save(tmp_path / "labels.npy", ids)
    truth = (ids > 0).astype(np.int16) + (ids == 2**53 + 1)
    truth[:, :, 20:] = -1
    np.save(tmp_path / "truth.npy", truth)
    figures = json.loads(run_json(capsys, "score", str(tmp_path / "labels.npy"), str(tmp_path / "labels.npy")))
    assert figures["at"][1]["found"] == 2
    words = ["score", str(tmp_path / "labels.npy"), str(tmp_path / "truth.npy")]
    assert json.loads(run_json(capsys, *words, "--ignore", "-1"))["at"][1]["f1"] == 1
    assert main(words) == 1
    assert "Truth start at 0, got -1" in capsys.readouterr().err


def test_info_tells_shape_voxel_size_and_what_is_unknown(
    cell: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(cell)]) == 0
    said = capsys.readouterr().out
    assert "8 x 96 x 96" in said
    assert "8 x 8 x 8 nm" in said
    np.save(tmp_path / "bare.npy", np.zeros((2, 3, 4), np.uint8))
    assert main(["info", str(tmp_path / "bare.npy")]) == 0
    assert "unknown" in capsys.readouterr().out


def test_lab_writes_a_notebook_for_a_file(cell: Path, tmp_path: Path) -> None:
    assert main(["lab", str(cell), "--folder", str(tmp_path), "--write-only"]) == 0
    book = json.loads((tmp_path / "cell.ipynb").read_text())
    assert f"stack = mn.open({str(cell)!r})\n" in [line for c in book["cells"] for line in c["source"]]


@needs_torch
def test_train_writes_weights_that_segment_takes(cell: Path, tmp_path: Path) -> None:
    truth = mn.save(mn.phantom((8, 96, 96), seed=4).labels, tmp_path / "truth.tif")
    weights = tmp_path / "small.safetensors"
    words = ["--labels", str(truth), "--net", "unet-2d", "--steps", "1", "--batch", "1", "--hold", "0", "--quiet"]
    assert main(["train", str(cell), str(weights), *words]) == 0
    assert mn.load_model(weights).spec.heads == ("semantic",)
    second = tmp_path / "second.safetensors"
    words = ["--start", str(weights), "--labels", str(truth), "--steps", "1", "--batch", "1", "--quiet"]
    assert main(["train", str(cell), str(second), *words]) == 0
    assert mn.load_model(second).spec.training["start"] == mn.load_model(weights).spec.sha256


def test_replay_rebuilds_a_project_and_says_what_does_not_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cell.mitonb"
    with mn.Session(labels=np.ones((2, 8, 8), np.uint32), path=path) as session:
        session.paint([[0, 3, 3]], id=2, radius=1)
        session.undo()
    assert main(["replay", str(path)]) == 0
    assert "2 edits lead from its first labels to its labels, byte for byte" in capsys.readouterr().out
    with mn.Session.open(path) as session:
        session._project.labels[1, 7, 7] = 9
        session._project._stale.add(0)
    assert main(["replay", str(path)]) == 1
    assert "damaged: an edit, or the labels that it began with" in capsys.readouterr().err
    assert main(["replay", str(tmp_path / "none.mitonb")]) == 1


def test_doctor_looks_at_everything(capsys: pytest.CaptureFixture[str]) -> None:
    report = mn.doctor()
    names = {finding.name for finding in report.findings}
    assert names == {
        "versions", "extras", "memory", "folder", "network engine", "GPU", "server", "WebGL", "busy kernel", "3-D view",
    }  # fmt: skip
    assert next(f for f in report.findings if f.name == "memory").text.startswith("limit")
    assert all(finding.advice for finding in report.findings if finding.verdict == "bad")
    assert main(["doctor"]) == (0 if report.healthy else 1)
    assert capsys.readouterr().out.strip() == repr(report)


def test_cite_names_papers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cite"]) == 0
    assert capsys.readouterr().out.strip() == str(mn.cite("mito-mini")).strip()


def test_the_command_runs_as_a_module_and_stops_quietly_in_a_pipe() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mitonb", "--version"], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == f"mitonb {mn.__version__}"


def test_wrong_usage_has_its_own_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["segment"])
    assert end.value.code == 2
    assert "required" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["segmnet", "a.tif", "b.tif"], "segment"),
        (["docter"], "doctor"),
        (["models", "ipmort", "a.pth"], "import"),
        (["segment", "a.tif", "b.tif", "--semantic-treshold", "0.4"], "--semantic-threshold"),
        (["segment", "a.tif", "b.tif", "--rules", "publishd"], "published"),
    ],
)
def test_a_mistyped_word_is_guessed(words: list[str], meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert f"Did you mean {meant}?" in capsys.readouterr().err


def test_an_option_of_another_command_is_not_guessed_to_be_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["data", "list", "--overwrite"])
    assert "Did you mean --overwrite" not in capsys.readouterr().err


def test_lab_without_jupyterlab_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['jupyterlab'] = None; sys.path_importer_cache.clear()\n"
        "import importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'jupyterlab' else real(name, *a)\n"
        "from mitonb.cli import main; sys.exit(main(['lab']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 1
    assert "pip install jupyterlab ipykernel" in done.stderr
    assert (tmp_path / "00_quickstart.ipynb").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM that a program could answer")
@pytest.mark.parametrize("starter", [["-m", "mitonb", "lab"], ["start.py", "--no-browser"]], ids=["mitonb", "start.py"])
def test_sigterm_ends_jupyter_and_its_kernels(starter: list[str], tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    pytest.importorskip("jupyterlab")
    if starter[0] == "start.py":  # the last step of start.py, without setting up an environment
        code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import start\n"
        code += "start.become([sys.executable, '-m', 'mitonb', 'lab', '--no-browser'])"
        words = ["-c", code]
    else:
        words = [*starter, "--no-browser"]
    token, log = "0123456789abcdef", tmp_path / "log"
    own = {name: str(tmp_path / name.lower()) for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR")}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, *words], cwd=tmp_path, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
            env={**os.environ, **own, "PYTHONPATH": str(ROOT), "JUPYTER_TOKEN": token},
        )  # fmt: skip
    try:
        address = until(lambda: re.search(r"http://(?:127\.0\.0\.1|localhost):\d+/", log.read_text()), process)[0]
        ask = urllib.request.Request(f"{address}api/kernels?token={token}", data=b"{}", method="POST")
        until(lambda: opened(ask), process)
        kernels = until(lambda: psutil.Process(process.pid).children(recursive=True), process)
        process.terminate()
        process.wait(60)
        psutil.wait_procs(kernels, timeout=60)
        assert not [p for p in kernels if p.is_running()]
    finally:
        process.kill()


def until(what: Callable[[], Any], process: subprocess.Popen[bytes]) -> Any:
    """Ask until there is an answer; the program must go on meanwhile."""
    end = time.monotonic() + 90
    while not (answer := what()):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.1)
    return answer


def opened(request: urllib.request.Request) -> bool:
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bool(answer.status < 300)
    except OSError:
        return False


def test_what_python_calls_an_argument_is_an_option_in_the_shell(tmp_path: Path, capsys) -> None:
    np.savez(tmp_path / "two.npz", raw=np.zeros((2, 4, 4), np.uint8), mask=np.zeros((2, 4, 4), np.uint8))
    assert main(["info", str(tmp_path / "two.npz")]) == 0
    told = capsys.readouterr().out
    assert "--series mask: 2 x 4 x 4" in told
    assert "--series NAME" in told
    assert "series=" not in told
    assert "--series NAME" in said_of(capsys, ["plan", str(tmp_path / "two.npz")])
    assert (
        in_shell("Look into a/series=3.tif (job=), series='a b'.")
        == "Look into a/series=3.tif (--job), --series 'a b'."
    )


def test_options_of_several_values_may_stand_before_the_files() -> None:
    words = "segment --voxel-size 30 5 5 --planes xy xz in.tif --min-area 50 out.tif".split()
    options = build_parser().parse_args(values_last(words))
    assert (str(options.image), str(options.labels), options.voxel_size) == ("in.tif", "out.tif", [30, 5, 5])
    assert list(options.planes) == ["xy", "xz"]
    assert values_last(["plan", "in.tif", "--planes", "xq"]) == ["plan", "in.tif", "--planes", "xq"]
    assert values_last(["info", "--", "--planes"]) == ["info", "--", "--planes"]


def test_a_box_of_a_data_set_is_listed_costed_and_fetched(tmp_path: Path, monkeypatch, capsys) -> None:
    from tests.io.organelle import PLACE, make

    monkeypatch.setenv("MITONB_OPENORGANELLE", str(tmp_path))
    image, ids = make(tmp_path)
    assert main(["fetch", "openorganelle:jrc_drawn"]) == 0
    assert "level 2     12 x 24 x 28, 32 x 32 x 32 nm" in capsys.readouterr().out
    box = ["--from", "8", "16", "24", "--to", "24", "48", "64"]
    assert main(["fetch", "openorganelle:jrc_drawn", *box]) == 0
    assert "16 x 32 x 40 voxels, 20.0 KiB" in capsys.readouterr().out
    em, mito = tmp_path / "em.ome.zarr", tmp_path / "mito.ome.zarr"
    nm = [f"{p + 8 * v:g}" for p, v in zip(PLACE * 2, (8, 16, 24, 24, 48, 64), strict=True)]
    where = ["--nm", "--from", *nm[:3], "--to", *nm[3:]]
    assert main(["fetch", "openorganelle:jrc_drawn", str(em), *where, "--quiet"]) == 0
    np.testing.assert_array_equal(mn.open(em).read(), image[8:24, 16:48, 24:64])
    assert main(["fetch", "openorganelle:jrc_drawn/labels/mito_seg", str(mito), "--like", str(em), "--quiet"]) == 0
    np.testing.assert_array_equal(open_labels(mito).data, ids[8:24, 16:48, 24:64])
    assert main(["fetch", "openorganelle:jrc_drawn", str(em)]) == 1
    assert "--from Z Y X" in capsys.readouterr().err
    for name, what in (("x.tif", "must end in"), ("none/x.ome.zarr", "does not exist"), (em.name, "Pass --overwrite")):
        assert main(["fetch", "openorganelle:jrc_drawn", str(tmp_path / name), *box]) == 1
        said = capsys.readouterr()
        assert what in said.err
        assert not said.out  # before it is known what it would take
    assert main(["info", "OpenOrganelle:jrc_drawn"]) == 0
    assert "N5" in capsys.readouterr().out
    for value in ("0.9", "nan"):
        assert main(["fetch", "openorganelle:jrc_drawn", "--from", value, "0", "0", "--to", "9", "9", "9"]) == 1
        assert f"whole numbers, got {value}" in capsys.readouterr().err


def test_measure_writes_a_table_and_says_what_it_means(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = drawn(tmp_path / "labels.tif", (0, 8), (10, 18))
    out = tmp_path / "objects.csv"
    assert main(["measure", str(labels), "-o", str(out), "--also", "shape", "--voxel-size", "30", "5", "5"]) == 0
    assert out.read_text("utf-8").startswith("id,")
    assert "feret_nm" in out.read_text("utf-8").splitlines()[0]
    assert main(["measure", str(labels), "--voxel-size", "5", "--summary"]) == 0
    assert "fraction" in capsys.readouterr().out
    assert main(["measure", str(labels), "-o", str(out)]) == 1
    assert "already exists" in capsys.readouterr().err
    assert main(["measure", str(labels), "--also", "shape"]) == 1
    assert "voxel size is unknown" in capsys.readouterr().err


def test_score_says_where_mistakes_are_and_how_errors_go_with_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = drawn(tmp_path / "truth.tif", (0, 8), (10, 18))
    labels = drawn(tmp_path / "labels.tif", (0, 8), (22, 30))
    assert main(["score", str(labels), str(truth), "--mistakes", "--by", "voxels"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"missing: labels none; truth 2; at z \d+, y \d+, x \d+; \d+ voxels", said)
    assert "recall_low" in said


def test_report_writes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = drawn(tmp_path / "labels.tif", (0, 8), (10, 18))
    assert main(["report", str(labels), str(tmp_path / "report.html")]) == 0
    assert "<h2>Methods</h2>" in (tmp_path / "report.html").read_text("utf-8")
    assert main(["report", str(labels), str(tmp_path / "report.doc")]) == 1
    assert "must end in .html, .pdf" in capsys.readouterr().err
