"""Two merged mitochondria are split in a real JupyterLab: by mouse, by keyboard alone, along a line, at their neck."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

playwright = pytest.importorskip("playwright")

from tests.browser.lab import Lab, Notebook, poll, why_not  # noqa: E402  only where Playwright is installed
from tests.browser.test_viewer import READY, ROOT, VIEW, color, drag, place  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

SHOTS = Path(os.environ.get("MITONB_SHOTS", "artifacts/split"))
THEME = os.environ.get("MITONB_THEME", "light")
WIDTH, HEIGHT = (int(n) for n in os.environ.get("MITONB_SIZE", "1280x800").split("x"))
SET_UP = """
import numpy as np, mitonb as mn
z, y, x = np.mgrid[:24, :200, :300]
image = (128 + 40 * np.sin(x / 7) * np.cos(y / 9) + 2 * z).astype(np.uint8)
labels = np.zeros(image.shape, np.uint32)
for row, column, id in ((70, 90, 1), (70, 150, 1), (150, 60, 2), (140, 220, 3)):
    labels[((z - 12) / 10) ** 2 + ((y - row) / 32) ** 2 + ((x - column) / 36) ** 2 <= 1] = id
session = mn.Session(mn.Stack(image, (10.0, 5.0, 5.0), "merged"), labels)
viewer = mn.view(session)
viewer
"""
PROPOSED = f"{VIEW}.splitter.proposal !== null"


@pytest.fixture(scope="module")
def book(lab: Lab) -> Notebook:
    book = lab.notebook([SET_UP], timeout=180, width=WIDTH, height=HEIGHT, theme=THEME)
    book.run(timeout=180)
    book.wait(READY, 120)
    return book


@pytest.fixture(autouse=True)
def _at_the_start(book: Notebook) -> Iterator[None]:
    """Every test finds the merged object on the middle plane, and leaves it merged."""
    book.js(f"{VIEW}.set('tool', 'look'); {VIEW}.set('axis', 'xy'); {VIEW}.go(12); {VIEW}.picture.fit()")
    book.js(
        f"{VIEW}.set('selected', []); {ROOT}.scrollIntoView({{block: 'center'}}); {ROOT}.focus({{preventScroll: true}})"
    )
    book.wait(f"{READY} && {ROOT}.dataset.plane === 'xy/12'")
    yield
    press(book, "Escape")
    press(book, "Control+z")
    poll(lambda: book.ask("sorted(session.ids())") == "[1, 2, 3]", "the split is not taken back", 30)
    assert not book.errors


def click(book: Notebook, row: int, column: int) -> None:
    book.page.mouse.click(*place(book, row, column))


def press(book: Notebook, key: str) -> None:
    """Press a key in the viewer, wherever the focus went with a question to the kernel."""
    book.js(f"{ROOT}.focus({{preventScroll: true}})")
    book.page.keyboard.press(key)


def hint(book: Notebook) -> str:
    said: str = book.js(f"{ROOT}.querySelector('.mitonb-split [role=status]').textContent")
    return said


def parts(book: Notebook, *points: tuple[int, int]) -> list[str]:
    return [book.ask(f"session.pick(12, {row}, {column})") for row, column in points]


def test_a_merged_object_is_split_by_two_clicks_and_shown_before_it_is_taken(book: Notebook) -> None:
    press(book, "s")
    assert hint(book) == "Click the object to split"
    book.shot(SHOTS / "1-tool.png", selector=".mitonb-viewer")
    click(book, 70, 90)
    assert hint(book) == "Click a seed in each part, or draw it"
    click(book, 70, 80)
    assert hint(book) == "Now a seed in another part"
    before = color(book, 70, 170), color(book, 150, 60)
    book.shot(SHOTS / "2-one-seed.png", selector=".mitonb-viewer")
    click(book, 70, 165)
    book.wait(PROPOSED)
    assert hint(book) == "2 parts: Enter takes, Esc leaves"
    book.wait(f"{VIEW}.entry('proposal') && !{VIEW}.entry('proposal').stale")
    poll(lambda: color(book, 70, 170) != before[0], "the parts are not shown", 10)
    assert color(book, 150, 60) == before[1], "an object beside it changes its look"
    book.shot(SHOTS / "3-proposal.png", selector=".mitonb-viewer")
    assert book.ask("session.version") == book.ask("len(session.history())")
    assert parts(book, (70, 80), (70, 165)) == ["1", "1"], "nothing is changed before Enter"
    for axis in ("xz", "yz"):
        book.js(f"{VIEW}.turn('{axis}')")
        book.wait(f"{VIEW}.entry('proposal')?.empty === false")
        book.shot(SHOTS / f"4-proposal-{axis}.png", selector=".mitonb-viewer")
    book.js(f"{VIEW}.turn('xy'); {VIEW}.go(12)")
    # Beside four planes the parts stand in 3-D, in place of the object.
    press(book, "4")
    book.wait(f"{VIEW}.panes.space?.surfaces?.parts.length === 3", 60)
    press(book, "Control+z")
    book.wait(f"{VIEW}.store.proposal === null && {VIEW}.panes.space.proposed === null")
    click(book, 70, 165)
    book.wait(f"{VIEW}.panes.space.proposed?.parts.length === 2", 60)
    book.shot(SHOTS / "4-proposal-3d.png", selector=".mitonb-viewer")
    press(book, "4")
    press(book, "Enter")
    book.wait(f"{ROOT}.dataset.pending === '0' && {VIEW}.store.proposal === null")
    first, second = parts(book, (70, 80), (70, 165))
    assert first != second
    assert parts(book, (150, 60)) == ["2"]
    assert "seeds: new object" in book.ask("session.history()[-1].sentence")
    book.shot(SHOTS / "5-taken.png", selector=".mitonb-viewer")


def test_a_merged_object_is_split_by_the_keyboard_alone(book: Notebook) -> None:
    press(book, "s")
    press(book, "ArrowLeft")
    assert book.js(f"{VIEW}.splitter.cursor !== null")
    # The kernel chooses the next object and brings it into view: arrows go on from there.
    for object, column in ((3, 220), (2, 60), (1, 120)):
        press(book, "Shift+N")
        book.wait(f"{VIEW}.get('selected')[0] === {object} && {VIEW}.place[2] === {column}")
        assert book.js(f"{VIEW}.splitter.cursor === null")
    book.wait(READY)
    for key in ("ArrowLeft", "ArrowRight"):
        for _ in range(24 if key == "ArrowRight" else 12):
            press(book, key)
        assert hint(book).startswith("Enter: seed")
        book.shot(SHOTS / f"6-cursor-{key}.png", selector=".mitonb-viewer")
        press(book, "Enter")
    book.wait(PROPOSED)
    press(book, "Enter")
    book.wait(f"{ROOT}.dataset.pending === '0'")
    poll(lambda: len(book.ask("session.ids()").split(",")) == 4, "it is not split", 30)


def test_a_line_cuts_it_and_necks_are_found_by_a_key(book: Notebook) -> None:
    click(book, 70, 90)
    press(book, "c")
    drag(book, (20, 120), (120, 122))
    book.wait(PROPOSED)
    book.shot(SHOTS / "7-line.png", selector=".mitonb-viewer")
    press(book, "Escape")
    book.wait(f"{VIEW}.store.proposal === null")
    assert book.js(f"{VIEW}.get('tool')") == "look"
    press(book, "Shift+S")
    book.wait(PROPOSED)
    book.shot(SHOTS / "8-necks.png", selector=".mitonb-viewer")
    press(book, "Enter")
    book.wait(f"{ROOT}.dataset.pending === '0' && {VIEW}.store.proposal === null")
    poll(lambda: len(book.ask("session.ids()").split(",")) == 4, "it is not split", 30)
    first, second = parts(book, (70, 80), (70, 165))
    assert first != second


def test_what_cannot_be_split_is_said_and_seeds_are_taken_back_one_by_one(book: Notebook) -> None:
    click(book, 150, 60)
    press(book, "Shift+S")
    notice = f"{ROOT}.querySelector('.mitonb-notice')"
    book.wait(f"{notice}.checkVisibility() && {notice}.textContent.includes('no neck')")
    book.shot(SHOTS / "9-no-neck.png", selector=".mitonb-viewer")
    click(book, 150, 50)
    click(book, 150, 70)
    book.wait(PROPOSED)
    click(book, 140, 220)
    book.wait(f"{notice}.textContent.includes('a seed lies in object 2')")
    for left in (1, 0):
        press(book, "Control+z")
        assert book.js(f"{VIEW}.splitter.seeds.length") == left
    book.wait(f"{VIEW}.store.proposal === null")
    session = book.ask("session.split(2, (12, 150, 50), (12, 150, 70)).what")
    assert session == "split"


def test_the_menu_of_the_selected_objects_is_walked_by_mouse_and_keyboard(book: Notebook) -> None:
    menu = f"{ROOT}.querySelector('.mitonb-menu')"
    press(book, "o")
    assert "Select an object first" in book.js(f"{ROOT}.querySelector('.mitonb-notice').textContent")
    click(book, 150, 60)
    before = int(book.ask("session.voxels(2)"))
    book.page.get_by_role("button", name="Object ▾").click()
    book.wait(f"{menu}.checkVisibility()")
    book.shot(SHOTS / "10-menu.png", selector=".mitonb-viewer")
    assert book.js(f"[...{menu}.querySelectorAll('button:disabled')].map(b => b.textContent)") == [
        "Merge on this plane only"
    ]
    book.page.keyboard.press("Escape")
    assert not book.js(f"{menu}.checkVisibility()")
    assert book.js(f"document.activeElement === {ROOT}")
    book.page.keyboard.press("o")
    book.page.keyboard.press("ArrowDown")
    assert book.js("document.activeElement.textContent") == "Shrink by a voxel"
    book.page.keyboard.press("Enter")
    book.wait(f"{ROOT}.dataset.pending === '0' && !{menu}.checkVisibility()")
    poll(lambda: 0 < int(book.ask("session.voxels(2)")) < before, "it does not shrink", 30)
    book.shot(SHOTS / "11-shrunk.png", selector=".mitonb-viewer")
    assert book.ask("session.history()[-1].code") == "session.shrink(2)"
    assert book.js("document.querySelectorAll('.jp-Cell').length") == 1


def test_a_lasso_fills_at_once_and_as_the_kernel_does(book: Notebook) -> None:
    click(book, 150, 60)
    press(book, "g")
    around = [(100, 20), (95, 60), (110, 100), (150, 110), (190, 90), (180, 30), (140, 10)]
    drag(book, *around)
    book.shot(SHOTS / "12-lasso.png", selector=".mitonb-viewer")
    assert parts(book, (112, 40), (112, 95)) == ["2", "2"]
    same = "(session.labels.data[12] == 2).sum()"
    drawn = f"{VIEW}.entry('labels').data.filter(id => id === 2).length"
    poll(lambda: str(book.js(drawn)) == book.ask(same), "page and kernel differ", 20)
    book.page.keyboard.down("Shift")
    drag(book, (150, 40), (150, 80), (170, 60))
    book.page.keyboard.up("Shift")
    assert parts(book, (155, 60)) == ["0"]
    poll(lambda: str(book.js(drawn)) == book.ask(same), "page and kernel differ", 20)
    press(book, "Control+z")
    book.wait(f"{ROOT}.dataset.pending === '0'")
