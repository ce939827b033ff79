"""A page of objects in 3-D, as a file and with no network: it opens, the right object is picked, planes cut it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

playwright = pytest.importorskip("playwright")

import mitonb as mn  # noqa: E402
from mitonb.labels import Labels  # noqa: E402
from mitonb.stack import Stack  # noqa: E402
from tests.browser.lab import poll, why_not  # noqa: E402  only where Playwright is installed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.browser.lab import Lab

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

SHOTS = Path(os.environ.get("MITONB_SHOTS", "artifacts/page3d"))
SCENE = "document.querySelector('.mitonb-scene')"
# Where on the screen the middle of an object lies: its points, turned as the page turns them.
PLACE = f"""(id) => {{
    const scene = {SCENE}.mitonb, {{ points, parts, corners }} = scene.surfaces;
    const {{ w, h, middle, pixels }} = scene.frame();
    const {{ first, count }} = parts.find((part) => part.id === id);
    const of = [...corners.subarray(first, first + count)];
    const mean = [0, 1, 2].map((k) => of.reduce((sum, c) => sum + points[3 * c + k], 0) / count - middle[k]);
    const {{ yaw, pitch }} = scene.camera;
    const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
    const box = scene.node.getBoundingClientRect();
    return [box.left + w / 2 + pixels * (cy * mean[0] - sy * mean[2]),
        box.top + h / 2 - pixels * (sp * sy * mean[0] - cp * mean[1] + sp * cy * mean[2])];
}}"""


@pytest.fixture(scope="module")
def page(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    ids = np.zeros((12, 60, 90), np.uint32)
    for k in range(3):
        ids[2:10, 10:50, 5 + 30 * k : 25 + 30 * k] = 7 + k
    image = np.broadcast_to(np.arange(90, dtype=np.uint8), ids.shape)
    session = mn.Session(Stack(image, (20.0, 10.0, 10.0), name="blocks"), Labels(ids, (20.0, 10.0, 10.0)))
    path = mn.save3d(session, tmp_path_factory.mktemp("page") / "blocks.html")
    context = lab.browser.new_context(viewport={"width": 800, "height": 500})
    context.route(lambda url: url.startswith(("http", "ws")), lambda route: route.abort())
    page = context.new_page()
    page.errors = []
    page.on("requestfailed", lambda request: page.errors.append(request.url))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda m: page.errors.append(m.text) if m.type == "error" else None)
    page.goto(path.as_uri())
    poll(lambda: page.evaluate(f"{SCENE}?.dataset.state === 'ready'"), "the page shows nothing", 60)
    yield page
    context.close()


def said(page: Any) -> str:
    return str(page.evaluate("document.querySelector('.mitonb-scene-said').textContent"))


def test_a_page_opens_without_a_network_and_a_click_picks_what_is_under_it(page: Any) -> None:
    assert "3 objects" in said(page)
    for id in (8, 7, 9):
        page.mouse.click(*page.evaluate(PLACE, id))
        assert said(page).startswith(f"object {id}  ·  volume µm³ 0.0128")
    page.get_by_text("selected only").click()
    assert page.evaluate(f"(() => {{ const f = {SCENE}.mitonb.seen(); return [7, 8, 9].map(f); }})()") == [
        False,
        False,
        True,
    ]
    page.get_by_text("selected only").click()
    assert page.errors == []


def test_colours_show_a_measure_and_what_is_cut_away_is_not_picked(page: Any) -> None:
    page.get_by_label("What the colours say").select_option("length_nm")
    assert "length µm" in page.evaluate("document.querySelector('.mitonb-scene-legend').textContent")
    place = page.evaluate(PLACE, 8)
    page.mouse.click(*place)
    page.get_by_label("Planes of the image among the objects").select_option("z")
    page.get_by_label("z plane", exact=True).fill("11")
    page.get_by_text("cut", exact=True).click()
    page.evaluate(f"{SCENE}.mitonb.model.set('selected', [])")
    # All objects lie before the last plane: they are cut away, and behind it there is nothing.
    page.mouse.click(*place)
    assert page.evaluate(f"{SCENE}.mitonb.model.get('selected')") == []
    page.get_by_label("z plane", exact=True).fill("5")
    page.evaluate(f"{SCENE}.mitonb.draw()")
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / "page.png")
    assert page.errors == []


def test_graphics_memory_that_the_browser_takes_is_said_and_what_was_shown_comes_back_with_it(page: Any) -> None:
    page.get_by_label("Planes of the image among the objects").select_option("xyz")
    shows = f"""(() => {{
        const scene = {SCENE}.mitonb, {{ gl }} = scene.solid, {{ width, height }} = scene.canvas;
        const pixels = new Uint8Array(4 * width * height);
        scene.draw();
        gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
        return [...pixels.reduce((sums, v, i) => {{ sums[i % 4] += v; return sums; }}, new Float64Array(4))];
    }})()"""
    before, words = page.evaluate(shows), said(page)
    assert all(before)
    page.evaluate(f"(window.memory = {SCENE}.mitonb.solid.gl.getExtension('WEBGL_lose_context')).loseContext()")
    poll(lambda: "took its graphics memory back" in said(page), "nobody says why nothing is drawn", 30)
    page.evaluate("memory.restoreContext()")
    poll(lambda: said(page) == words, "the sentence stays", 30)
    assert page.evaluate(shows) == before
    assert page.errors == []
