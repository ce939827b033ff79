"""Snapshots: what the page holds is what the viewer shows, and it is said before it would be too large."""

from __future__ import annotations

import base64
import html
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mitonb as mn


@pytest.fixture(scope="module")
def drawn() -> tuple[mn.Stack, mn.Labels]:
    return mn.phantom((6, 64, 80), seed=1)


def kept(page: str) -> dict[str, Any]:
    """Return what a page has kept, as its script reads it."""
    found = re.search(r'<script type="application/json" id="mitonb-kept">(.*?)</script>', page, re.DOTALL)
    assert found
    loaded: dict[str, Any] = json.loads(found[1])
    return loaded


def plane(held: dict[str, Any], name: str) -> np.ndarray[Any, Any]:
    part = held["parts"][name]
    return np.frombuffer(zlib.decompress(base64.b64decode(part["data"])), "<u4").reshape(part["h"], part["w"])


def test_every_plane_of_every_direction_has_its_ids_exactly(drawn: tuple[mn.Stack, mn.Labels]) -> None:
    stack, truth = drawn
    held = kept(mn.snapshot(stack, labels=truth, planes=("xy", "yz")).page)
    for index in range(6):
        np.testing.assert_array_equal(plane(held, f"labels/xy/{index}"), truth.data[index])
    np.testing.assert_array_equal(plane(held, "labels/yz/17"), truth.data[:, :, 17])
    assert [id for id, *_ in held["objects"]] == list(truth.ids())


def test_of_a_box_only_the_box_is_kept(drawn: tuple[mn.Stack, mn.Labels], tmp_path: Path) -> None:
    stack, truth = drawn
    box = mn.Box((1, 8, 16), (4, 40, 80))
    made = mn.snapshot(mn.explore(stack, truth), tmp_path / "part.html", box=box)
    held = kept((tmp_path / "part.html").read_text(encoding="utf-8"))
    np.testing.assert_array_equal(plane(held, "labels/xy/2"), truth.data[3, 8:40, 16:80])
    assert "labels/xy/3" not in held["parts"]
    assert made._repr_mimebundle_().keys() == {"text/plain"}, "what lies in a file is not kept in the notebook, too"
    with pytest.raises(mn.MitonbError, match="does not lie inside"):
        mn.snapshot(stack, box=mn.Box((0, 0, 0), (7, 8, 8)))


def test_a_page_that_would_be_too_large_is_refused_with_its_size_and_the_way_out(
    drawn: tuple[mn.Stack, mn.Labels], tmp_path: Path
) -> None:
    target = tmp_path / "page.html"
    with pytest.raises(mn.MitonbError, match=r"about [\d.]+ MB, more than max_mb=0\.21\. Take a part"):
        mn.snapshot(*drawn[:1], target, labels=drawn[1], max_mb=0.21)
    assert not target.exists()
    with pytest.raises(mn.MitonbError, match=r"ends in \.html"):
        mn.snapshot(drawn[0], tmp_path / "cell.tif")
    with pytest.raises(mn.MitonbError, match="from 1 to 100"):
        mn.snapshot(drawn[0], quality=0)


def test_a_page_that_is_there_stays_unless_asked(drawn: tuple[mn.Stack, mn.Labels], tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    target.write_text("mine")
    with pytest.raises(mn.MitonbError, match=r"page\.html already exists\. Pass overwrite=True"):
        mn.snapshot(drawn[0], target)
    assert target.read_text() == "mine"
    assert mn.snapshot(drawn[0], target, overwrite=True).path == target
    assert target.stat().st_size > 1e5


def test_names_of_files_are_text_in_the_page_and_in_the_notebook(drawn: tuple[mn.Stack, mn.Labels]) -> None:
    evil = "</script><script>alert(1)</script>"
    made = mn.snapshot(mn.Stack(drawn[0].data, name=evil))
    assert evil not in made.page
    assert kept(made.page)["hello"]["info"]["name"] == evil
    shown = made._repr_mimebundle_()
    assert evil not in shown["text/html"]
    frame = re.search(r'srcdoc="([^"]*)"', shown["text/html"])
    assert frame
    assert html.unescape(frame[1]) == made.page
    assert "image/png" in shown


def test_what_is_shown_first_is_what_was_on_screen(drawn: tuple[mn.Stack, mn.Labels]) -> None:
    app = mn.explore(*drawn)
    app.viewer.index, app.viewer.hidden = 4, [drawn[1].ids()[0]]
    assert app.wait(60)  # else what follows the plane takes the maps away again
    app.viewer.set_maps("xy", 4, mn.targets(drawn[1].data[4]))
    held = kept(mn.snapshot(app).page)
    assert (held["traits"]["index"], held["traits"]["hidden"]) == (4, app.viewer.hidden)
    assert {"semantic/xy/4", "center/xy/4", "offsets/xy/4"} <= held["parts"].keys()
    told = [name for name in held["parts"] if name.split("/")[0] not in ("image", "labels")]
    assert sorted(held["hello"]["extras"]) == sorted(told)
