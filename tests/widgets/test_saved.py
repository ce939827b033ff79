"""What a saved notebook shows where there is no kernel: small pictures and tables, never the insides of widgets."""

from __future__ import annotations

import base64
import io
import os
from pathlib import Path

import numpy as np
import pytest

import mitonb as mn
from mitonb.widgets.style import thinned

ROOT = Path(__file__).parents[2]
CELLS = (
    "import numpy as np, mitonb as mn\nstack, truth = mn.phantom((6, 96, 128), 1)\nsession = mn.Session(stack, truth)",
    "mn.explore(session)",
    "mn.view(session)",
    "mn.show3d(session)",
    "mn.show_maps(mn.targets(truth.data[3]), stack.plane(3))",
    "mn.show_table(session)",
    "mn.explore()",
    "mn.view(stack)",
)


def test_a_notebook_as_jupyter_saves_it_shows_pictures_a_table_and_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    image = pytest.importorskip("PIL.Image")
    exporters = pytest.importorskip("nbconvert")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])))
    client = nbclient.NotebookClient(book, timeout=300, kernel_name="python3", store_widget_state=False)
    client.execute()
    path = tmp_path / "saved.ipynb"
    nbformat.write(book, path)
    kept = [cell.outputs[-1].data for cell in nbformat.read(path, as_version=4).cells[1:]]
    for data in (*kept[:3], *kept[4:]):  # maps are a picture anyway
        assert "application/vnd.jupyter.widget-view+json" in data
        assert "Run this cell to see it live." in data["text/plain"]
        assert "children=" not in data["text/plain"]
        assert "<mitonb" not in data["text/plain"]
    for data in (*kept[:4], kept[6]):
        with image.open(io.BytesIO(base64.b64decode(data["image/png"]))) as picture:
            assert max(picture.size) <= 1100
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 3
    assert "<table" in kept[4]["text/html"]
    assert path.stat().st_size < 400_000
    page, _ = exporters.HTMLExporter().from_notebook_node(book)
    assert page.count("data:image/png") >= 5
    assert "App(children" not in page


def test_a_picture_for_the_notebook_is_small_whatever_the_plane_is() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3000, 2000, 3), np.uint8)
    assert max(thinned(noise).shape) <= 420
    assert thinned(np.ones((5, 7, 3), np.float32)).shape == (5, 7, 3)


def test_a_widget_is_shown_also_when_its_picture_cannot_be_drawn(caplog: pytest.LogCaptureFixture) -> None:
    session = mn.Session(np.zeros((3, 32, 32), np.uint8))
    viewer = mn.view(session)
    viewer.session = None  # type: ignore[assignment]
    data, _ = viewer._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert "no picture" in caplog.text
