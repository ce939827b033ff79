"""The report holds what a reader needs, runs nothing that a file says, and is the same each time."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import mitonb as mn
from mitonb.cohorts import pool
from mitonb.edit.verbs import VERBS
from mitonb.errors import InputError
from mitonb.io.record import run_record
from mitonb.models.folder import installed_as
from mitonb.plot import PALETTE, show_errors, show_measure, show_planes
from mitonb.reporting import BY_HAND

if TYPE_CHECKING:
    from pathlib import Path

    from mitonb.labels import Labels
    from mitonb.stack import Stack


@pytest.fixture
def run(tmp_path: Path) -> tuple[Stack, Labels]:
    """A saved image and labels with the record of a run."""
    stack, truth = mn.phantom((6, 64, 64), 1)
    stack = mn.open(mn.save(stack, tmp_path / "cell.tif"))
    card = installed_as("mito-mini")
    assert card is not None
    record = run_record(stack, mn.Recipe(center_threshold=0.2), card.spec)
    return stack, mn.Labels(truth.data, truth.voxel_size, "<b>cell</b>", record)


def test_a_report_tells_everything_and_finds_the_image_by_the_record(run: tuple[Stack, Labels], tmp_path: Path) -> None:
    _, labels = run
    saved = mn.save(labels, tmp_path / "labels.ome.zarr")
    page = mn.report(saved, tmp_path / "report.html", truth=labels).read_text("utf-8")
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert titles == ["Methods", "Pictures", "Objects", "Against the truth", "Parameters", "Model", "Software",
                      "What to cite", "Record"]  # fmt: skip
    assert "Parameters other than the default were center_threshold = 0.2." in page
    assert "using the model mito-mini" in page
    assert "volume fraction" in page
    assert page.count("data:image/png") >= 3
    assert "@misc{mitonb" in page
    assert mn.report(saved, tmp_path / "again.html", truth=labels).read_text("utf-8") == page


def test_names_from_files_are_text(run: tuple[Stack, Labels], tmp_path: Path) -> None:
    page = mn.report(run[1], tmp_path / "report.html", stack=run[0]).read_text("utf-8")
    assert "&lt;b&gt;cell&lt;/b&gt;" in page
    assert "<b>cell" not in page


def test_labels_without_a_record_and_an_image_that_is_gone_are_told(run: tuple[Stack, Labels], tmp_path: Path) -> None:
    bare = mn.report(mn.Labels(run[1].data), tmp_path / "bare.html").read_text("utf-8")
    assert "No record of a run came with the labels" in bare
    assert "The voxel size is unknown" in bare
    (tmp_path / "cell.tif").unlink()
    assert "The image could not be opened" in mn.report(run[1], tmp_path / "gone.html").read_text("utf-8")


def test_edits_are_those_that_a_person_made_to_voxels_and_that_stand(run: tuple[Stack, Labels], tmp_path: Path) -> None:
    session = mn.Session(*run)
    session.adopt(run[1])
    session.lock(1)
    session.unlock(1)
    session.note("odd", 1)
    assert "corrected by hand" not in mn.report(session, tmp_path / "none.html").read_text("utf-8")
    for _ in range(2):
        session.paint([(1, 5, 5), (1, 9, 9)], id=session.new_id(), radius=2)
    session.undo()
    said = "corrected by hand in 1 edit."
    assert said in mn.report(session, tmp_path / "session.html").read_text("utf-8")
    saved = session.export(tmp_path / "exported.ome.zarr")
    assert said in mn.report(saved, tmp_path / "saved.html").read_text("utf-8")
    again = mn.Session(run[0], mn.open_labels(saved))
    again.delete(1)
    assert "corrected by hand in 2 edits." in mn.report(again, tmp_path / "again.html").read_text("utf-8")
    alone = mn.report(session.labels, tmp_path / "alone.html").read_text("utf-8")
    assert "Edits by hand are not counted: give the session" in alone


def test_each_verb_changes_voxels_by_hand_or_does_something_else() -> None:
    assert set(VERBS) - BY_HAND == {
        "adopt", "adopt_plane", "lock", "unlock", "note", "relabel", "mark_right", "mark_false", "mark_fix",
        "mark_unsure", "unmark", "dismiss", "mark_reviewed", "teach_mito", "teach_not", "use_model", "set_voxel_size",
        "undo", "redo",
    }  # fmt: skip
    assert set(VERBS) > BY_HAND


def test_a_voxel_size_of_the_image_is_known_to_the_methods(run: tuple[Stack, Labels], tmp_path: Path) -> None:
    stack = mn.Stack(np.asarray(run[0].data), voxel_size=(30, 5, 5))
    page = mn.report(mn.Labels(run[1].data), tmp_path / "report.html", stack=stack).read_text("utf-8")
    assert "at a voxel size of 30 x 5 x 5 nm (z, y, x)" in page
    assert "size is unknown" not in page


@pytest.mark.parametrize("record", [
    {"recipe": [1, 2]}, {"recipe": {"planes": 3}}, {"software": None, "machine": 7}, {"image": "x"}, {"model": "unet"},
    {"model": {"name": ["a"], "sha256": 5}}, {"history": 5}, {"history": [1, {"code": 2}]}, {"name": "\ud800"},
    {"image": {"source": "x.tif", "fingerprint": 5}}, {"image": {"source": ["x"], "voxel_size_nm": "x"}},
])  # fmt: skip
def test_a_record_may_hold_anything(run: tuple[Stack, Labels], tmp_path: Path, record: dict[str, object]) -> None:
    labels = mn.Labels(run[1].data[:2, :20, :20], record=record)
    assert "<h2>Methods" in mn.report(labels, tmp_path / "report.html").read_text("utf-8")


def test_a_run_is_told_in_words(run: tuple[Stack, Labels], tmp_path: Path) -> None:
    recipe = {"planes": ["xy", "xz", "yz"], "center_threshold": 0.2}
    page = mn.report(mn.Labels(run[1].data, record={"recipe": recipe}), tmp_path / "report.html").read_text("utf-8")
    assert "with mitonb, using a model that the record does not name on xy, xz, yz planes." in page
    assert "other than the default were center_threshold = 0.2." in page
    assert "The record names no model." in page


def test_addresses_of_a_record_are_not_opened(
    run: tuple[Stack, Labels], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("mitonb.reporting.open_stack", opened)
    record = {"image": {"source": "http://127.0.0.1:9/x.zarr", "fingerprint": "a"}}
    page = mn.report(mn.Labels(run[1].data, record=record), tmp_path / "report.html").read_text("utf-8")
    assert "The image is at http://127.0.0.1:9/x.zarr, and addresses are not opened by themselves." in page


def test_an_image_of_another_shape_is_left_out_with_the_reason(run: tuple[Stack, Labels], tmp_path: Path) -> None:
    part = mn.Labels(run[1].data[:3], run[1].voxel_size, "part", run[1].record)
    page = mn.report(part, tmp_path / "report.html").read_text("utf-8")
    assert "has 6 x 64 x 64 voxels and the labels have 3 x 64 x 64." in page


def test_a_pdf_needs_a_program_that_prints(
    run: tuple[Stack, Labels], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(InputError, match=r"Nothing here prints pages\. Choose \.html, or install one of chromium"):
        mn.report(run[1], tmp_path / "report.pdf", stack=run[0])
    assert not (tmp_path / "report.pdf").exists()


def test_pictures_have_printed_sizes_and_animals_their_colours() -> None:
    rng = np.random.default_rng(0)
    table = pool([
        ({"condition": kind, "animal": name}, mn.measure(rng.integers(0, 9, (3, 8, 8)), voxel_size=10))
        for kind, name in (("a", "1"), ("a", "2"), ("b", "3"), ("b", "4"))
    ])  # fmt: skip
    picture = show_measure(table, "volume_um3", by="condition", animal="animal")
    assert picture.get_figwidth() * 25.4 == pytest.approx(89, abs=0.2)
    assert [text.get_text() for text in picture.axes[0].get_xticklabels()] == ["a", "b"]
    assert picture.axes[0].get_ylabel() == "volume (µm³)"
    assert len(picture.axes[0].collections) == 8  # objects and mean of each of four animals
    assert len(set(PALETTE)) == 8
    with pytest.raises(InputError, match="no column 'size'"):
        show_measure(table, "size")
    with pytest.raises(InputError, match=r"column 'animal' holds no numbers\. Columns with numbers: id, "):
        show_measure(table.replace("4", "four"), "animal")
    with pytest.raises(InputError, match="single, double, got 'wide'"):
        show_measure(table, "voxels", width="wide")  # type: ignore[arg-type]


def test_names_stand_below_their_own_dots_where_some_have_no_condition() -> None:
    table = pd.DataFrame({"kind": [None, "ctl", "ctl", "trt", "trt"], "size": [9.0, 1, 2, 5, 6]})
    axes = show_measure(table, "size", by="kind").axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["ctl", "trt"]
    assert [np.asarray(means.get_offsets())[0].tolist() for means in axes.collections[1::2]] == [[0, 1.5], [1, 5.5]]


def test_objects_are_counted_in_whole_numbers() -> None:
    axes = show_measure(pd.DataFrame({"size": [1.0, 2, 3]}), "size").axes[0]
    assert all(float(tick).is_integer() for tick in axes.get_yticks())


def test_planes_are_drawn_with_a_bar_of_a_round_length(run: tuple[Stack, Labels]) -> None:
    stack, labels = run
    picture = show_planes(stack, labels, count=2)
    assert len(picture.axes) == 2
    if stack.voxel_size is not None:
        assert re.fullmatch(r"\d+ nm|\d+ µm", picture.axes[0].texts[0].get_text())
    classes = mn.errors_by_size(labels, labels, blocks=(1, 2, 2))
    assert show_errors(classes).axes[0].get_xticklabels()[-1].get_text() == "all"
