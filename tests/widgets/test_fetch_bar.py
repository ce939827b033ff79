"""A volume that is too large for labels is looked at; a box of it is chosen, costed, fetched and worked on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import mitonb as mn
from mitonb.box import Box
from mitonb.session import opening
from tests.io.organelle import make
from tests.widgets.test_viewer import wires  # noqa: F401 (a fixture)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """The image of a data set whose labels are too large for this session."""
    monkeypatch.setenv("MITONB_OPENORGANELLE", str(tmp_path))
    monkeypatch.setattr(opening, "LARGEST_LABELS", 100_000)
    return make(tmp_path)[0]


def test_a_box_is_chosen_where_one_clicked_and_worked_on_when_it_is_here(image, tmp_path: Path) -> None:
    app = mn.explore("openorganelle:jrc_drawn")
    assert app.session.only_looks
    bar = app.fetcher
    assert bar.buttons["fetch"].disabled
    bar.side.options = [("24", 24)]
    app.session.move_to(30, 50, 100)
    bar.buttons["box"].click()
    assert bar.box == Box((18, 38, 88), (42, 62, 112))  # moved inside at the edge
    assert app.viewer.marks["chosen"] == [[18, 38, 88, 42, 62, 112]]
    assert app.wait(30)
    assert "24 x 24 x 24 voxels, 13.5 KiB" in bar.message.value
    assert "level 1: 16 x 16 x 16 nm" in [name for name, _ in bar.level.options]
    bar.path.value = str(tmp_path / "part.ome.zarr")
    bar.buttons["fetch"].click()
    assert bar.job is not None
    bar.job.result(60)
    assert not app.session.only_looks
    np.testing.assert_array_equal(app.session.stack.read(), image[18:42, 38:62, 88:112])
    assert app.runs.stack.origin[0] == app.session.stack.origin[0] == 400 + 8 * 18


def test_what_a_volume_that_is_only_looked_at_lacks_is_said(image) -> None:
    app = mn.explore("openorganelle:jrc_drawn")
    for do in (app.run_plane, app.run_volume, app.look_at_maps, app.take_object, app.compare_scales, app.apply_plane):
        with pytest.raises(mn.MitonbError, match=r"is only looked at\. Fetch a box of it"):
            do()
    with pytest.raises(mn.MitonbError, match="open a stack first"):
        mn.explore().run_volume()
    assert not hasattr(app, "table")
    assert not hasattr(app, "no_such_part")


def test_a_coarser_box_is_larger_and_errors_are_said_in_the_bar(image) -> None:
    app = mn.explore("openorganelle:jrc_drawn")
    app.fetcher.side.options = [("12", 12)]
    app.fetcher.level.value = 1
    assert app.fetcher.choose().shape == (24, 24, 24)
    assert app.wait(30)  # else what it costs may be said after what is wrong
    app.fetcher.path.value = "part.tif"
    app.fetcher.buttons["fetch"].click()
    app.fetcher.job.wait(30)
    assert "ends in .ome.zarr" in app.fetcher.message.value
