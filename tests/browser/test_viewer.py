"""The viewer in a real JupyterLab in a real browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright")

from mitonb.colors import MAPS  # noqa: E402  only where Playwright is installed, as the rest
from tests.browser.lab import Lab, Notebook, poll, why_not  # noqa: E402

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

SHOTS = Path(os.environ.get("MITONB_SHOTS", "artifacts/viewer"))
ROOT = "document.querySelector('.mitonb-viewer')"
VIEW = f"{ROOT}.mitonb"
READY = f"{ROOT}?.dataset.state === 'ready' && {ROOT}.dataset.pending === '0'"
SET_UP = """
import ipywidgets, numpy as np, mitonb as mn
from mitonb.maps import Maps
from mitonb.session import Session
from mitonb.stack import Stack
from mitonb.widgets.viewer import Viewer
z, y, x = np.mgrid[:12, :200, :300]
image = (128 + 60 * np.sin(x / 7) * np.cos(y / 9) + 5 * z).astype(np.uint8)
labels = np.zeros(image.shape, np.uint32)
labels[:, 40:80, 40:100] = 1
labels[:, 40:80, 110:170] = 2
session = Session(Stack(image, (30.0, 5.0, 5.0), "drawn <b>stack</b>"), labels)
viewer = Viewer(session, index=6)
pressed_at = []
button = ipywidgets.Button(description="here")
button.on_click(lambda _: viewer.when_told(lambda: pressed_at.append((viewer.axis, viewer.index))))
ipywidgets.VBox([viewer, button])
"""


@pytest.fixture(scope="module")
def book(lab: Lab) -> Notebook:
    book = lab.notebook([SET_UP], timeout=180)
    book.run(timeout=180)
    book.wait(READY, 120)
    return book


@pytest.fixture(autouse=True)
def _at_the_start(book: Notebook) -> None:
    """Every test finds the first plane, the look tool and the viewer in the middle of the window."""
    book.js(f"{VIEW}.set('tool', 'look'); {VIEW}.set('axis', 'xy'); {VIEW}.go(6); {VIEW}.picture.fit()")
    book.js(f"{VIEW}.set('selected', [])")
    book.js(f"{ROOT}.scrollIntoView({{block: 'center'}}); {ROOT}.focus({{preventScroll: true}})")
    book.wait(f"{READY} && {ROOT}.dataset.plane === 'xy/6'")


def place(book: Notebook, row: int, column: int) -> tuple[float, float]:
    """Window position of a plane pixel."""
    x, y = book.js(f"{VIEW}.picture.screen({column}, {row})")
    box = book.page.locator(".mitonb-stage").first.bounding_box()
    assert box
    return box["x"] + x, box["y"] + y


def color(book: Notebook, row: int, column: int) -> list[int]:
    """What the picture shows at a plane pixel, r, g, b."""
    found: list[int] = book.js(f"""(() => {{
        const {{picture}} = {VIEW};
        picture.draw();
        const {{gl}} = picture.renderer;
        const [x, y] = picture.screen({column}, {row});
        const unit = picture.canvas.width / picture.size.w;
        const out = new Uint8Array(4);
        const down = Math.round(picture.canvas.height - y * unit);
        gl.readPixels(Math.round(x * unit), down, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, out);
        return [...out].slice(0, 3);
    }})()""")
    return found


def drag(book: Notebook, *points: tuple[int, int]) -> None:
    mouse = book.page.mouse
    mouse.move(*place(book, *points[0]))
    mouse.down()
    for point in points[1:]:
        mouse.move(*place(book, *point), steps=6)
    mouse.up()
    book.wait(f"{ROOT}.dataset.pending === '0'")


def python(book: Notebook, expression: str) -> str:
    return book.ask(expression)


def test_a_late_echo_of_the_kernel_does_not_turn_the_planes_back(book: Notebook) -> None:
    # What Jupyter does with the echo of plane 4 when 5 is wanted already but not told yet.
    code = f"(() => {{ {VIEW}.go(4); {VIEW}.go(5); {VIEW}.model.set('index', 4); return {VIEW}.get('index'); }})()"
    assert book.js(code) == 5
    book.wait(f"{ROOT}.dataset.plane === 'xy/5'")
    poll(lambda: book.ask("viewer.index") == "5", "the kernel never hears of plane 5", 30)
    book.ask("setattr(viewer, 'index', 9)")
    book.wait(f"{ROOT}.dataset.plane === 'xy/9'")


def test_a_button_elsewhere_acts_on_the_plane_that_is_on_screen(book: Notebook) -> None:
    # Planes that fly by are told late: whoever presses a button of the workbench just then means what is shown.
    code = f"""(() => {{
        const button = [...document.querySelectorAll('button')].find(b => b.textContent === 'here');
        for (const index of [7, 8, 9, 10, 11]) {VIEW}.go(index);
        button.click();
        return [{VIEW}.get('index'), {VIEW}.store.speed];
    }})()"""
    index, speed = book.js(code)
    assert index == 11
    assert speed > 4, "the planes must fly for this test"
    poll(lambda: book.ask("len(pressed_at)") != "0", "the click never arrives", 30)
    assert book.ask("pressed_at") == "[('xy', 11)]"


def test_the_picture_shows_grey_and_labels_in_their_hash_colours(book: Notebook) -> None:
    r, g, b = color(book, 120, 200)
    assert r == g == b > 0
    first, second = color(book, 60, 60), color(book, 60, 140)
    assert len({*first}) > 1
    assert first != second
    book.shot(SHOTS / "labels.png", selector=".mitonb-viewer")


def test_names_from_files_are_text_and_never_markup(book: Notebook) -> None:
    assert book.js(f"{ROOT}.querySelector('.mitonb-title').textContent") == "drawn <b>stack</b>"
    assert book.js(f"{ROOT}.querySelector('.mitonb-title b')") is None


def test_the_wheel_scrolls_planes_and_ctrl_wheel_zooms_at_the_pointer(book: Notebook) -> None:
    mouse = book.page.mouse
    mouse.move(*place(book, 100, 100))
    mouse.move(*place(book, 100, 150))
    mouse.wheel(0, 120)
    book.wait(f"{ROOT}.dataset.plane === 'xy/7'")
    before = book.js(f"{VIEW}.picture.camera.scale")
    under = f"{ROOT}.querySelector('.mitonb-position').textContent"
    spot = book.js(under)
    book.page.keyboard.down("Control")
    mouse.wheel(0, -120)
    book.page.keyboard.up("Control")
    book.wait(f"{VIEW}.picture.camera.scale > {before}")
    assert "x 150" in spot
    assert book.js(under) == spot


def test_axes_switch_with_the_aspect_of_the_voxels(book: Notebook) -> None:
    book.page.locator(".mitonb-status button", has_text="xz").click()
    # Through the middle of what was in view, on a stack that has fewer planes the other way.
    book.wait(f"{ROOT}.dataset.plane === 'xz/100' && {READY}")
    assert python(book, "(viewer.axis, viewer.index)") == "('xz', 100)"
    assert book.js(f"{VIEW}.sheet.aspect") == 6
    assert book.js(f"[{VIEW}.sheet.w, {VIEW}.sheet.h]") == [300, 12]
    book.shot(SHOTS / "xz.png", selector=".mitonb-viewer")


def test_a_stroke_is_drawn_at_once_saved_by_the_kernel_and_undone(book: Notebook) -> None:
    book.page.keyboard.press("p")
    book.js(f"{VIEW}.set('active_id', 77); {VIEW}.set('brush', 6)")
    before = color(book, 150, 120)
    drag(book, (150, 100), (150, 140))
    assert color(book, 150, 120) != before
    painted = book.js(f"[...{VIEW}.entry('labels').data].filter(v => v === 77).length")
    assert python(book, "int((session.labels.data[6] == 77).sum())") == str(painted)
    assert painted > 400
    book.js(f"{ROOT}.focus()")
    book.page.keyboard.press("Control+z")
    book.wait(f"{ROOT}.dataset.pending === '0' && ![...{VIEW}.entry('labels').data].includes(77)")
    assert color(book, 150, 120) == before


def test_erase_fill_pick_merge_and_delete(book: Notebook) -> None:
    keyboard, mouse = book.page.keyboard, book.page.mouse
    keyboard.press("e")
    drag(book, (60, 50), (60, 90))
    assert python(book, "int(session.labels.data[6, 60, 70])") == "0"
    book.js(f"{ROOT}.focus()")
    keyboard.press("l")
    mouse.click(*place(book, 45, 140))
    assert book.js(f"[{VIEW}.get('active_id'), {VIEW}.get('tool')]") == [2, "erase"]
    keyboard.press("f")
    mouse.click(*place(book, 60, 70))
    book.wait(f"{ROOT}.dataset.pending === '0'")
    assert python(book, "int(session.labels.data[6, 60, 70])") == "2"
    book.js(f"{ROOT}.focus()")
    keyboard.press("z")
    mouse.click(*place(book, 44, 44))
    keyboard.down("Shift")
    mouse.click(*place(book, 44, 140))
    keyboard.up("Shift")
    assert book.js(f"{VIEW}.get('selected')") == [1, 2]
    keyboard.press("j")
    book.wait(f"{ROOT}.dataset.pending === '0'")
    assert python(book, "session.ids()") == "[1]"
    book.js(f"{ROOT}.focus()")
    keyboard.press("Control+z")
    book.wait(f"{ROOT}.dataset.pending === '0'")
    assert python(book, "session.ids()") == "[1, 2]"
    book.js(f"{ROOT}.focus(); {VIEW}.set('selected', [2])")
    keyboard.press("Delete")
    book.wait(f"{ROOT}.dataset.pending === '0' && {VIEW}.store.state.can_undo")
    assert python(book, "session.ids()") == "[1]"
    book.js(f"{ROOT}.focus()")
    for _ in range(3):
        keyboard.press("Control+z")
    book.wait(f"{ROOT}.dataset.pending === '0'")
    assert python(book, "int((session.labels.data == 2).sum())") == str(12 * 40 * 60)


def test_a_map_has_one_colour_in_the_picture_in_its_legend_and_in_python(book: Notebook) -> None:
    book.add(
        "from mitonb.colors import map_colors\n"
        "ramp = np.linspace(0, 1, 300, dtype=np.float32)[None].repeat(200, 0)\n"
        "away = np.stack([20 * ramp - 10, 4 - 20 * ramp])\n"
        "viewer.set_layer('em', visible=False); viewer.set_layer('labels', visible=False)\n"
        "fine = {'contour': ramp[None], 'distance': ramp[None]}\n"
        "drawn = {n: map_colors(n, away if n == 'offsets' else ramp) for n in ('semantic', 'center', 'offsets', *fine)}"
    )
    assert book.js("document.querySelector('[data-layer=contour]').hidden"), "no network with contours has run"
    for layer in ("semantic", "center", "offsets", "contour", "distance"):
        full = "ramp" if layer == "semantic" else "ramp * 0 + 1"
        book.add(
            f"viewer.set_maps('xy', 6, Maps({{'semantic': ({full})[None], 'center': ramp, 'offsets': away, **fine}}))\n"
            f"viewer.set_layer({layer!r}, visible=True, opacity=0.5)"
        )
        book.wait(f"{VIEW}.entry('{layer}')?.h === 200 && {VIEW}.get('layers').{layer}.opacity === 0.5")
        for column in (20, 70, 110, 151, 222, 290):
            red, green, blue, shown = map(float, book.ask(f"*drawn[{layer!r}][9, {column}]").split())
            seen = color(book, 9, column)
            assert seen == pytest.approx([255 * 0.5 * shown * v for v in (red, green, blue)], abs=4), (layer, column)
        book.shot(SHOTS / f"map-{layer}.png", selector=".mitonb-viewer")
        bar = f"document.querySelector('[data-layer={layer}] .mitonb-head > :last-child')"
        legend = book.js(f"getComputedStyle({bar}).backgroundImage")
        assert ", ".join(f"rgb({r}, {g}, {b})" for r, g, b in MAPS[layer].stops) in legend
        book.add(f"viewer.set_layer({layer!r}, visible=False)")
    book.add(
        "viewer.set_maps('xy', 6, None)\nviewer.set_layer('em', visible=True); viewer.set_layer('labels', visible=True)"
    )
    book.wait(f"!{VIEW}.has('semantic') && {VIEW}.get('layers').em.visible")


def test_maps_and_previews_lie_over_the_picture(book: Notebook) -> None:
    before = color(book, 60, 120)
    book.add(
        "heads = {'semantic': (labels[6] > 0)[None].astype(float), 'center': np.ones((50, 75))}\n"
        "maps = Maps({**heads, 'offsets': np.ones((2, 50, 75)) * 9}, 4)\n"
        "viewer.set_maps('xy', 6, maps, peaks=[[60, 70]])\nviewer.set_layer('semantic', visible=True)\n"
        "viewer.set_preview('xy', 6, labels[6] + 1)"
    )
    book.wait(f"{VIEW}.entry('semantic')?.h === 200 && {VIEW}.entry('preview')?.h === 200")
    assert color(book, 60, 120) != before
    for layer in ("center", "offsets"):
        book.js(f"{VIEW}.setLayer('{layer}', {{visible: true}})")
    book.wait(f"{VIEW}.entry('offsets')?.h === 50 && {VIEW}.entry('center')?.peaks.length === 1")
    book.shot(SHOTS / "maps.png", selector=".mitonb-viewer")
    book.add("viewer.set_preview('xy', 6, None); viewer.set_maps('xy', 6, None)")
    book.wait(f"!{VIEW}.has('preview') && !{VIEW}.has('semantic')")
    for layer in ("semantic", "center", "offsets"):
        book.js(f"{VIEW}.setLayer('{layer}', {{visible: false}})")
    book.wait(f"{READY}")
    assert color(book, 60, 120) == before


def test_n_goes_from_object_to_object(book: Notebook) -> None:
    first, last = book.ask("session.ids()[0]"), book.ask("session.ids()[-1]")
    book.js(f"{ROOT}.focus({{preventScroll: true}})")  # asking took it
    book.page.keyboard.press("n")
    book.wait(f"JSON.stringify({VIEW}.get('selected')) === '[{first}]'")
    book.page.keyboard.press("Shift+N")
    book.wait(f"JSON.stringify({VIEW}.get('selected')) === '[{last}]'")


def test_jupyterlab_sees_none_of_the_keys(book: Notebook) -> None:
    cells = "jupyterapp.shell.currentWidget.model.cells.length"
    count = book.js(cells)
    for key in ("Escape", "b", "d", "d", "x", "a", "b", "Escape", "Shift+M", "0", "0"):
        book.page.keyboard.press(key)
    assert book.js(cells) == count
    assert book.js(f"{ROOT}.contains(document.activeElement)")
    book.js(f"{VIEW}.set('preserve', false)")


def test_two_views_of_one_viewer_show_the_same_strokes(book: Notebook) -> None:
    index = book.add("viewer")
    book.wait("document.querySelectorAll('.mitonb-viewer').length === 2")
    second = "document.querySelectorAll('.mitonb-viewer')[1]"
    book.wait(f"{second}.dataset.state === 'ready'")
    book.js(f"{ROOT}.scrollIntoView({{block: 'center'}}); {ROOT}.focus({{preventScroll: true}})")
    book.page.keyboard.press("p")
    book.js(f"{VIEW}.set('active_id', 88)")
    drag(book, (170, 200), (170, 240))
    assert book.js(f"{second}.mitonb.entry('labels').data[170 * 300 + 220]") == 88
    book.js(f"{ROOT}.focus()")
    book.page.keyboard.press("Control+z")
    book.wait(f"{ROOT}.dataset.pending === '0' && {VIEW}.entry('labels').data[170 * 300 + 220] === 0")
    book.js("i => jupyterapp.shell.currentWidget.model.sharedModel.deleteCell(i)", index)
    book.wait("document.querySelectorAll('.mitonb-viewer').length === 1")
    assert book.js(f"{VIEW}.picture.renderer.gl.isContextLost()") is False


def test_what_python_does_is_seen_and_what_the_session_refuses_is_said(book: Notebook) -> None:
    book.add("session.paint([[6, 180, 20]], id=99, radius=3)")
    book.wait(f"{VIEW}.entry('labels').data[180 * 300 + 20] === 99")
    book.add("session.undo()")
    book.wait(f"{VIEW}.entry('labels').data[180 * 300 + 20] === 0")
    book.js(f"{VIEW}.store.edit({{op: 'delete', ids: [12345]}})")
    book.wait(f"{ROOT}.querySelector('.mitonb-notice').textContent.includes('no object 12345')")


def test_messages_stay_small_and_no_request_leaves_the_machine(lab: Lab, book: Notebook) -> None:
    counters: dict[str, Any] = book.js(f"{VIEW}.store.counters")
    assert counters["largestIn"] <= 1_500_000
    assert counters["largestOut"] <= 1_000_000
    assert lab.outside == []
    assert [e for e in book.errors if "mitonb" in e.lower()] == []


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("width", [1920, 1280, 800])
def test_nothing_is_cut_off_at_any_width_and_theme(book: Notebook, width: int, theme: Any) -> None:
    book.resize(width)
    book.theme(theme)
    book.wait(f"{VIEW}.picture.size.w === {ROOT}.querySelector('.mitonb-stage').clientWidth")
    for bar in (".mitonb-top", ".mitonb-status", ".mitonb-rail"):
        node = f"{ROOT}.querySelector('{bar}')"
        assert book.js(f"{node}.scrollWidth - {node}.clientWidth") <= 0, bar
        assert book.js(f"{node}.scrollHeight - {node}.clientHeight") <= 0, bar
    book.shot(SHOTS / f"viewer-{width}-{theme}.png")
