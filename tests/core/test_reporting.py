"""The report holds what a reader needs, runs nothing that a file says, and is the same each time."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

import mitonb as mn
from mitonb.cohorts import pool
from mitonb.errors import InputError
from mitonb.io.record import run_record
from mitonb.models.folder import installed_as
from mitonb.plot import PALETTE, show_errors, show_measure, show_planes

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


def test_edits_of_a_session_are_counted(run: tuple[Stack, Labels], tmp_path: Path) -> None:
    session = mn.Session(*run)
    session.paint([(1, 5, 5), (1, 9, 9)], id=session.new_id(), radius=2)
    assert "corrected by hand in 1 edit." in mn.report(session, tmp_path / "s.html").read_text("utf-8")


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
    with pytest.raises(InputError, match="single, double, got 'wide'"):
        show_measure(table, "voxels", width="wide")  # type: ignore[arg-type]


def test_planes_are_drawn_with_a_bar_of_a_round_length(run: tuple[Stack, Labels]) -> None:
    stack, labels = run
    picture = show_planes(stack, labels, count=2)
    assert len(picture.axes) == 2
    if stack.voxel_size is not None:
        assert re.fullmatch(r"\d+ nm|\d+ µm", picture.axes[0].texts[0].get_text())
    classes = mn.errors_by_size(labels, labels, blocks=(1, 2, 2))
    assert show_errors(classes).axes[0].get_xticklabels()[-1].get_text() == "all"
