"""Notebooks: stripped in git, small, and they run from start to end without a network."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import nbformat
import pytest

from mitonb.cli import OPEN_LINE, pointed_at, quickstart_path, write_quickstart
from mitonb.lessons.course import without_solution

ROOT = Path(__file__).parents[1]
BOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# No way out: whatever asks for an address gets a proxy that is not there.
OFFLINE = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")


def code(book: nbformat.NotebookNode) -> str:
    return "\n".join(cell.source for cell in book.cells if cell.cell_type == "code")


@pytest.mark.parametrize("path", BOOKS, ids=lambda p: p.stem)
def test_notebooks_are_stripped(path: Path) -> None:
    book = json.loads(path.read_text(encoding="utf-8"))
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in book["cells"])
    assert "widgets" not in book["metadata"]


@pytest.mark.parametrize("path", BOOKS, ids=lambda p: p.stem)
def test_notebooks_are_short_and_say_what_they_need(path: Path) -> None:
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    assert 3 <= sum(cell.cell_type == "code" for cell in book.cells) <= 12
    first = book.cells[0].source
    assert first.startswith("# ")
    for word in ("**You need:**", "**Time:**", "**Memory:**"):
        assert word in first


@pytest.mark.notebook
@pytest.mark.parametrize("path", BOOKS, ids=lambda p: p.stem)
def test_notebooks_run_to_their_end(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    for name, value in OFFLINE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    book = nbformat.read(shutil.copy(path, tmp_path), as_version=4)
    place = {"metadata": {"path": tmp_path}}
    nbclient.NotebookClient(book, timeout=600, kernel_name="python3", resources=place).execute()
    errors = [o for cell in book.cells for o in cell.get("outputs", []) if o.output_type == "error"]
    assert not errors
    if path == quickstart_path():
        left = {p.name for p in tmp_path.iterdir()}
        assert {"quickstart.mitonb", "quickstart-labels.ome.tif", "quickstart-objects.csv"} <= left
        # Another file under the same name is refused by the first cell, before any work, with what to do.
        book.cells = [next(cell for cell in book.cells if cell.cell_type == "code")]
        book.cells[0].source = book.cells[0].source.replace("seed=7", "seed=8")
        with pytest.raises(nbclient.exceptions.CellExecutionError, match=r"quickstart\.mitonb was made with another"):
            nbclient.NotebookClient(book, timeout=600, kernel_name="python3", resources=place).execute()


def test_exercises_of_lesson_2_run_alone_without_an_answer() -> None:
    book = nbformat.read(ROOT / "notebooks" / "02_what_the_network_sees.ipynb", as_version=4)
    exercises = [cell.source for cell in book.cells if cell.cell_type == "code" and "mn.check(" in cell.source]
    assert len(exercises) == 5
    for source in exercises:
        exec(compile(without_solution(source), "lesson", "exec"), {})


def test_the_quickstart_opens_its_data_in_exactly_one_line() -> None:
    assert len(OPEN_LINE.findall(code(nbformat.read(quickstart_path(), as_version=4)))) == 1


@pytest.mark.parametrize("place", ["cells/my cell.tif", r"C:\new\table.tif", "it's.tif"])
def test_the_quickstart_can_be_pointed_at_a_file(place: str) -> None:
    book = pointed_at(place, name="cell")
    assert "synthetic" not in "".join(book["cells"][0]["source"])
    assert f"They open `{Path(place).name}`" in "".join(book["cells"][0]["source"])
    text = code(nbformat.reads(json.dumps(pointed_at(place, name="cell")), as_version=4))
    assert f"\nstack = mn.open({place!r})\n" in text
    assert "\nname = 'cell'" in text
    compile(text, "quickstart", "exec")


def test_a_notebook_that_is_there_already_is_the_users(tmp_path: Path) -> None:
    path, fresh = write_quickstart(tmp_path)
    assert fresh
    path.write_text("mine")
    assert write_quickstart(tmp_path) == (path, False)
    assert path.read_text() == "mine"


def test_a_file_of_the_same_name_gets_a_notebook_and_a_project_of_its_own(tmp_path: Path) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "cell.tif").touch()
    first, second = (str(tmp_path / folder / "cell.tif") for folder in "ab")
    assert write_quickstart(tmp_path, first) == (tmp_path / "cell.ipynb", True)
    assert write_quickstart(tmp_path, second) == (tmp_path / "cell-2.ipynb", True)
    assert "name = 'cell-2'" in code(nbformat.read(tmp_path / "cell-2.ipynb", as_version=4))
    assert write_quickstart(tmp_path, first) == (tmp_path / "cell.ipynb", False)
    assert write_quickstart(tmp_path, second) == (tmp_path / "cell-2.ipynb", False)
