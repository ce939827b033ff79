"""The picture is the main thing in a real JupyterLab: its size, the folds beside it, its height, full screen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright")
pytest.importorskip("torch")

from tests.browser.lab import Lab, Notebook, poll, why_not

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

SHOTS = Path(os.environ.get("MITONB_SHOTS", "artifacts/layout"))
# An image in which the net finds nothing, and that says no voxel size.
APP = """
import threading, numpy as np, mitonb as mn
from mitonb.job import Job, Progress
from mitonb.stack import Stack
gate = threading.Event()
def waiting():
    yield Progress("count", 1, 4)
    gate.wait(60)
z, y, x = np.mgrid[:8, :200, :300]
image = (128 + 60 * np.sin(x / 7) * np.cos(y / 9) + 5 * z).astype(np.uint8)
labels = np.zeros(image.shape, np.uint32)
labels[:, 40:80, 40:100] = 1
app = mn.explore(Stack(image, name="drawn"), labels)
app
"""
VIEWER = "document.querySelector('.mnb-app .mitonb-viewer')"
VIEW = f"{VIEWER}.mitonb"
READY = f"{VIEWER}?.dataset.state === 'ready' && {VIEWER}.dataset.pending === '0'"


@pytest.fixture(scope="module")
def open_book(lab: Lab) -> Notebook:
    book = lab.notebook([APP], width=1280, height=800, sidebar=True, timeout=180)
    book.run(timeout=180)
    book.wait(READY, 120)
    return book


@pytest.fixture
def book(open_book: Notebook) -> Notebook:
    """The workbench at 1280x800 with the file browser open, as it is at first."""
    open_book.resize(1280, 800)
    open_book.js("jupyterapp.shell.expandLeft('filebrowser')")
    open_book.js(f"{VIEW}.frame.chosen = {{}}; {VIEW}.set('height', null); {VIEW}.set('tool', 'look')")
    open_book.wait("document.querySelector('.mnb-app').clientWidth < 900")
    open_book.js(f"{VIEW}.frame.place(); document.querySelector('.mnb-app').scrollIntoView({{block: 'start'}})")
    open_book.js(f"{VIEWER}.focus({{preventScroll: true}})")
    open_book.wait(READY)
    return open_book


def box(book: Notebook, selector: str) -> dict[str, float]:
    found: dict[str, float] = book.js(
        "s => { const {x, y, width, height, right, bottom} = document.querySelector(s).getBoundingClientRect();"
        " return {x, y, width, height, right, bottom}; }",
        selector,
    )
    return found


def cut_off(book: Notebook, part: str = ".mnb-app") -> list[str]:
    """Name what is visible in a part, and wider than the boxes that it is in."""
    names: list[str] = book.js(
        """part => {
            const root = document.querySelector(part);
            const readouts = '.mitonb-pill, .mitonb-group, .mitonb-readout > :not(.mitonb-why), .mitonb-zoom';
            const shown = [...root.querySelectorAll(`button, input, select, label, h4, kbd, ${readouts}`)]
                .filter(n => n.checkVisibility());
            return shown.filter(node => {
                const {left, right, width} = node.getBoundingClientRect();
                for (let up = node.parentElement; width && up && root.contains(up); up = up.parentElement) {
                    // What scrolls sideways, such as the table, is not cut off.
                    if (/auto|scroll/.test(getComputedStyle(up).overflowX)) return false;
                    if (getComputedStyle(up).overflowX === 'visible') continue;
                    const around = up.getBoundingClientRect();
                    if (left < around.left - 1 || right > around.right + 1) return true;
                }
                const page = root.getBoundingClientRect();
                return width > 0 && (left < page.left - 1 || right > page.right + 1);
            }).map(n => `${n.className} ${n.title || n.textContent}`); }""",
        part,
    )
    return names


def overlap(a: dict[str, float], b: dict[str, float]) -> bool:
    return a["x"] < b["right"] - 1 and b["x"] < a["right"] - 1 and a["y"] < b["bottom"] - 1 and b["y"] < a["bottom"] - 1


def press(book: Notebook, selector: str) -> None:
    book.js("s => document.querySelector(s).click()", f".mnb-app {selector}")


def test_beside_the_file_browser_the_picture_is_large_and_nothing_is_cut_off(book: Notebook) -> None:
    stage, room = box(book, ".mitonb-stage"), box(book, ".jp-WindowedPanel-outer")
    assert stage["width"] >= 640
    assert stage["height"] >= 0.6 * room["height"]
    assert box(book, ".mnb-app .lm-TabBar")["bottom"] <= room["bottom"], "the tabs are in sight, too"
    for tool in ("look", "paint", "fill", "merge"):
        book.js(f"{VIEW}.set('tool', '{tool}')")
        book.page.mouse.move(stage["x"] + 300, stage["y"] + 200)
        book.page.mouse.move(stage["x"] + 303, stage["y"] + 203)
        book.wait("document.querySelector('.mitonb-value').textContent !== ''")
        assert cut_off(book) == [], tool
        assert box(book, ".mitonb-stage") == stage, f"the picture jumps with {tool}"
    book.shot(SHOTS / "beside-the-file-browser.png")


def test_recipe_and_layers_unfold_by_buttons_in_sight(book: Notebook) -> None:
    for panel, part in (("recipe", ".mnb-side"), ("layers", ".mitonb-panel")):
        shown = f"document.querySelector('.mnb-app {part}').checkVisibility()"
        assert not book.js(shown)
        press(book, f".mitonb-panel-{panel}")
        book.wait(shown)
        assert not overlap(box(book, ".mitonb-stage"), box(book, f".mnb-app {part}"))
        assert cut_off(book) == []
        book.shot(SHOTS / f"{panel}.png")
        press(book, f".mitonb-panel-{panel}")
        book.wait(f"!{shown}")
    book.js(f"{VIEW}.frame.chosen = {{}}")
    book.resize(1920, 1080)
    book.wait("['.mnb-side', '.mitonb-panel'].every(s => document.querySelector(`.mnb-app ${s}`).checkVisibility())")


@pytest.mark.parametrize("width", [1000, 760, 600])
def test_in_a_narrow_window_nothing_lies_over_the_picture_or_is_cut_off(book: Notebook, width: int) -> None:
    book.js("jupyterapp.shell.collapseLeft()")
    book.resize(width, 800)
    book.wait(f"document.querySelector('.mnb-app').getBoundingClientRect().right < {width}")
    book.js(f"{VIEW}.frame.chosen = {{recipe: true, layers: true}}; {VIEW}.frame.place(); {VIEW}.set('tool', 'paint')")
    book.wait(READY)
    stage = box(book, ".mitonb-stage")
    for part in (".mnb-side", ".mitonb-panel", ".mitonb-top", ".mitonb-status", ".mnb-run"):
        assert not overlap(stage, box(book, f".mnb-app {part}")), part
    assert cut_off(book) == []
    assert stage["width"] >= 200
    book.shot(SHOTS / f"narrow-{width}.png")


def test_the_help_shows_all_of_its_keys_or_scrolls_to_them(book: Notebook) -> None:
    for width, side in ((1280, True), (620, False)):
        book.resize(width, 800)
        if not side:
            book.js("jupyterapp.shell.collapseLeft()")
        book.page.keyboard.press("?")
        book.wait("document.querySelector('.mitonb-help').checkVisibility()")
        assert book.js("document.querySelectorAll('.mitonb-help section').length") == 7
        assert cut_off(book, ".mitonb-help") == []
        reached = book.js(
            """[...document.querySelectorAll('.mitonb-help section > *')].every(row => {
                row.scrollIntoView({block: 'nearest'});
                const [a, b] = [row, row.closest('.mitonb-help')].map(n => n.getBoundingClientRect());
                return a.left >= b.left && a.right <= b.right && a.bottom <= b.bottom + 1; })"""
        )
        assert reached
        book.shot(SHOTS / f"help-{width}.png")
        book.page.keyboard.press("Escape")
        assert not book.js("document.querySelector('.mitonb-help').checkVisibility()")


def test_the_height_follows_the_window_a_handle_and_python(book: Notebook) -> None:
    def height() -> float:
        return box(book, ".mnb-app .mitonb-viewer")["height"]

    before = height()
    book.resize(1280, 1000)
    poll(lambda: height() > before + 150, "the height does not follow the window", 30)
    grip = box(book, ".mitonb-grip")
    x, y = grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2
    book.page.mouse.move(x, y)
    book.page.mouse.down()
    book.page.mouse.move(x, y - 120, steps=4)
    book.page.mouse.up()
    poll(lambda: book.ask("app.viewer.height") == f"{height():.0f}", "the kernel does not hear of the height", 30)
    dragged = height()
    assert dragged < before + 100
    book.js("document.querySelector('.mitonb-grip').focus()")
    book.page.keyboard.press("ArrowDown")
    assert height() == dragged + 40
    book.ask("setattr(app.viewer, 'height', 500)")
    poll(lambda: height() == 500, "the height does not follow Python", 30)
    book.page.mouse.dblclick(x, box(book, ".mitonb-grip")["y"] + 4)
    poll(lambda: height() > before + 150, "a double-click does not follow the window again", 30)


def test_the_workbench_takes_the_whole_screen_and_gives_it_back(book: Notebook) -> None:
    before = box(book, ".mitonb-stage")
    for key in ("Shift+F", "Escape"):
        book.page.keyboard.press("Shift+F")
        book.wait("document.fullscreenElement?.matches('.mnb-app')")
        poll(lambda: box(book, ".mitonb-stage")["height"] > before["height"] + 90, "the picture does not grow", 30)
        assert box(book, ".mnb-app .lm-TabBar")["bottom"] <= 800
        assert cut_off(book) == []
        book.page.keyboard.press(key)
        book.wait("document.fullscreenElement === null")
        poll(lambda: box(book, ".mitonb-stage") == before, "the picture does not come back", 30)
    assert book.js("jupyterapp.shell.currentWidget.model.cells.length") == 1


def test_one_button_is_primary_and_a_job_makes_nothing_jump(book: Notebook) -> None:
    def primary() -> Any:
        return book.js(
            """[...document.querySelectorAll('.mnb-app .mod-primary')]
                .filter(b => b.checkVisibility()).map(b => b.textContent.trim())"""
        )

    progress = "document.querySelector('.mnb-run .widget-hprogress').checkVisibility()"
    apply = """[...document.querySelectorAll('.mnb-run button')]
        .filter(b => b.checkVisibility() && b.textContent.includes('Apply')).length"""

    def place() -> tuple[float, ...]:
        # Of the stage in the workbench: to ask the kernel scrolls the notebook.
        stage, app = box(book, ".mitonb-stage"), box(book, ".mnb-app")
        return stage["x"] - app["x"], stage["y"] - app["y"], stage["width"], stage["height"]

    stage = place()
    assert primary() == ["Segment this plane"]
    assert not book.js(progress)
    assert book.js(apply) == 0
    # A job that runs until it is told to end.
    book.ask("app.run_bar.watch(Job(waiting())) and 1")
    book.wait(progress)
    assert place() == stage
    assert cut_off(book) == []
    book.shot(SHOTS / "running.png")
    book.ask("gate.set()")
    book.wait(f"!{progress}")
    assert place() == stage
    book.ask("app.run_bar.allow(apply_plane=True)")
    book.wait(f"{apply} === 1")
    assert primary() == ["Apply to this plane"]
    assert place() == stage
    book.ask("app.run_bar.allow(apply_plane=False)")
    book.wait(f"{apply} === 0")


def test_a_click_on_a_picture_chooses_its_scale_and_escape_closes_them(book: Notebook) -> None:
    shown = "document.querySelector('.mnb-scales')?.offsetParent"
    offer = "app.scales.offer(app.session.stack.plane(0), {n: labels[0] for n in (1, 2, 4)}) or 1"
    book.ask(offer)
    book.wait(f"{shown} && document.querySelectorAll('.mnb-scales img').length === 3")
    book.shot(SHOTS / "scales.png")
    book.page.locator(".mnb-scales img").nth(1).click()
    book.wait(f"!{shown}")
    assert book.ask("app.form.recipe.downsampling") == "2"
    book.ask(offer)
    book.wait(shown)
    book.js(f"{VIEWER}.focus({{preventScroll: true}})")
    book.page.keyboard.press("Escape")
    book.wait(f"!{shown}")
    assert book.ask("app.form.recipe.downsampling") == "2"


def test_a_voxel_size_set_later_reaches_the_viewer_at_once_and_so_does_its_undo(book: Notebook) -> None:
    scale = "document.querySelector('.mitonb-scale')"
    aspect = f"{VIEW}.sheet.aspect"
    book.js(f"{VIEW}.turn('xz')")
    book.wait(f"{READY} && {VIEWER}.dataset.plane.startsWith('xz')")
    assert "px" in book.js(f"{scale}.textContent")
    assert book.js(aspect) == 1
    book.ask("app.session.set_voxel_size(40, 8, 4) and 1")
    book.wait(f"{aspect} === 10 && /nm|µm/.test({scale}.textContent)")
    fitted = book.js(f"{VIEW}.picture.camera.scale")
    assert fitted == pytest.approx(book.js(f"0.98 * {VIEW}.picture.size.w / 300"), rel=0.01)
    assert "4 nm" in book.js("document.querySelector('.mnb-head').textContent")
    book.js(f"{VIEWER}.focus({{preventScroll: true}})")
    book.page.keyboard.press("Control+z")
    book.wait(f"{aspect} === 1 && {scale}.textContent.includes('px')")
    # The field is there again, and does the same.
    book.js(
        """() => { for (const [i, n] of [...document.querySelectorAll('.mnb-head input')].entries()) {
            n.value = [30, 5, 5][i]; n.dispatchEvent(new Event('change', {bubbles: true})); } }"""
    )
    book.js("[...document.querySelectorAll('.mnb-head button')].find(b => b.textContent === 'set').click()")
    book.wait(f"{aspect} === 6 && /nm|µm/.test({scale}.textContent)")
    book.js(f"{VIEW}.turn('xy')")


def test_a_volume_that_is_only_looked_at_has_its_planes_in_sight_and_no_labels_to_choose(book: Notebook) -> None:
    book.add("""
from mitonb.session import opening
largest, opening.LARGEST_LABELS = opening.LARGEST_LABELS, 1 << 20
looking = mn.explore(Stack(image, name="large"))
opening.LARGEST_LABELS = largest
looking""")
    found = "[...document.querySelectorAll('.mitonb-viewer')].find(v => v.mitonb.store.info?.only_looks)"
    book.wait(f"{found}?.dataset.state === 'ready'")
    book.js(f"{found}.closest('.mnb-app').scrollIntoView({{block: 'start'}})")
    bottom = f"{found}.querySelector('.mitonb-status').getBoundingClientRect().bottom"
    book.wait(f"{bottom} <= document.querySelector('.jp-WindowedPanel-outer').getBoundingClientRect().bottom")
    book.js(f"{found}.mitonb.frame.toggle('layers')")
    shown = f"[...{found}.querySelectorAll('.mitonb-layer')].filter(n => n.checkVisibility()).map(n => n.dataset.layer)"
    assert book.js(shown) == ["em"]
    assert "object" not in book.js(f"{found}.querySelector('.mitonb-hint').textContent")
