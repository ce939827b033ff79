"""Why a pixel belongs to its object, and what a slider would change, in a real JupyterLab: by pointer and by keys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright")

from tests.browser.lab import Lab, Notebook, poll, why_not  # noqa: E402  only where Playwright is installed

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

SHOTS = Path(os.environ.get("MITONB_SHOTS", "artifacts/why"))
ROOT = "document.querySelector('.mitonb-viewer')"
VIEW = f"{ROOT}.mitonb"
READY = f"{ROOT}?.dataset.state === 'ready' && {ROOT}.dataset.pending === '0'"
SAID = f"{ROOT}.querySelector('.mitonb-said')"
# Two boxes that touch, one alone that the network half believes in, and a small one.
SET_UP = """
import numpy as np, mitonb as mn
from mitonb.infer.kept import KeptMaps
drawn = np.zeros((120, 200), np.uint32)
drawn[20:60, 20:50] = 1
drawn[20:60, 50:90] = 2
drawn[75:105, 120:160] = 3
drawn[10:16, 150:156] = 4
maps = mn.targets(drawn)
semantic = np.where(drawn == 3, 0.57, maps.semantic[0])[None].astype(np.float32)
image = np.where(drawn > 0, 80, 160).astype(np.uint8)[None].repeat(2, 0)
app = mn.explore(mn.Stack(image))
app.runs.kept = KeptMaps((2, 120, 200), "memory")
app.runs.kept.put("xy", 0, maps.replace(semantic=semantic))
app.viewer.index = 0
app
"""


@pytest.fixture(scope="module")
def book(lab: Lab) -> Notebook:
    book = lab.notebook([SET_UP], timeout=180)
    book.run(timeout=180)
    book.wait(READY, 120)
    return book


def point(book: Notebook, column: int, row: int) -> None:
    """Move the mouse over a pixel of the plane."""
    x, y = book.js(f"{VIEW}.picture.screen({column}, {row})")
    box = book.page.locator(".mitonb-stage").first.bounding_box()
    assert box
    book.page.mouse.move(box["x"] + x, box["y"] + y)


def test_a_pixel_and_a_slider_say_what_they_would_do(book: Notebook) -> None:
    page = book.page
    book.js(f"{ROOT}.scrollIntoView({{block: 'center'}})")
    book.js(f"{ROOT}.focus({{preventScroll: true}})")
    page.keyboard.press("i")
    book.wait(f"{ROOT}.dataset.tool === 'why'")
    point(book, 48, 30)
    book.wait(f"{SAID}.textContent.includes('reaches 0.55; its offset leads 0.7 px from the center at x 34, y 39;')")
    for theme, size in (("light", (1280, 800)), ("dark", (1280, 800)), ("dark", (1920, 1080)), ("light", (1920, 1080))):
        book.theme(theme)
        book.resize(*size)
        # The layout may move once more under the pointer.
        poll(
            lambda: point(book, 47, 30) or book.js(f"{VIEW}.why.answer?.column === 47"),
            "no pixel is explained",
            30,
            0.3,
        )
        book.shot(SHOTS / f"why-{theme}-{size[0]}.png")
    point(book, 152, 12)
    book.wait(f"{SAID}.textContent.startsWith('Dropped as too small, 36 px where 100 are needed')")
    book.shot(SHOTS / "small.png")
    assert not book.js(f"{SAID}.parentElement.matches('.mitonb-above')")
    point(book, 140, 100)
    book.wait(
        f"{SAID}.parentElement.matches('.mitonb-above') && {SAID}.textContent.startsWith('Semantic 0.57 reaches')"
    )
    book.shot(SHOTS / "above.png")
    # By keyboard alone: the cursor begins where the user worked last.
    book.js(f"{VIEW}.place = [0, 5, 5]")
    page.keyboard.press("ArrowRight")
    book.wait(f"{SAID}.textContent === 'No object: semantic 0 is below the threshold 0.55.'")
    row, column = book.js(f"{VIEW}.why.cursor")
    assert row == 5
    assert column > 5
    page.keyboard.press("Escape")
    book.wait(f"{SAID}.hidden && {ROOT}.dataset.tool === 'look'")
    # A slider tells what it would change, to both sides, before it is moved.
    page.locator(".mnb-field-semantic_threshold").hover()
    book.wait(f"{SAID}.innerText.startsWith('◂ at 0.5: the same objects\\n▸ at 0.6: ')", 60)
    assert book.js(f"JSON.stringify({VIEW}.why.foreseen.marks)") == '[["vanish","high",89,139]]'
    page.locator(".mnb-field-min_area input").first.focus()
    page.locator(".mnb-field-min_area").hover()
    book.wait(f"{SAID}.textContent.includes('at 75: ')")
    page.locator(".mnb-field-center_distance").hover()
    book.wait(f"{SAID}.textContent.includes('at 9: ')")
    for theme, size in (("light", (1280, 800)), ("dark", (1920, 1080))):
        book.theme(theme)
        book.resize(*size)
        page.locator(".mnb-field-semantic_threshold").hover()
        book.wait(f"{SAID}.textContent.includes('1 vanishes')")
        book.shot(SHOTS / f"slider-{theme}-{size[0]}.png")
    point(book, 10, 70)
    book.js(f"{ROOT}.focus({{preventScroll: true}})")
    book.wait(f"{SAID}.hidden")


def test_a_few_answers_by_key_set_the_thresholds(book: Notebook) -> None:
    page, notice = book.page, f"{ROOT}.querySelector('.mitonb-notice')"
    book.js(f"{ROOT}.focus({{preventScroll: true}})")
    page.locator(".mnb-run button", has_text="Tune").click()
    book.wait(f"{VIEW}.asking && {notice}.textContent.includes('(1 of ')")
    for theme, size in (("light", (1280, 800)), ("dark", (1280, 800)), ("dark", (1920, 1080)), ("light", (1920, 1080))):
        book.theme(theme)
        book.resize(*size)
        book.wait(READY)
        book.shot(SHOTS / f"tune-{theme}-{size[0]}.png")
    page.keyboard.press(".")  # it is looked at on its other planes, too
    page.keyboard.press(",")
    book.js(f"{ROOT}.focus({{preventScroll: true}})")
    while book.js(f"{notice}.textContent.includes('mitochondrion')"):
        question = book.js(f"{notice}.textContent")
        (_, row, column), *_ = book.js(f"{VIEW}.question.places")
        page.keyboard.press("n" if (75 <= row < 105 and 120 <= column < 160) else "y")
        book.wait(f"{notice}.textContent !== {question!r}")
    book.wait(f"{notice}.textContent.startsWith('semantic threshold 0.55 → 0.6: ')")
    assert book.js(f"{notice}.textContent.includes('On this plane: 1 vanishes.')")
    for theme, size in (("light", (1280, 800)), ("dark", (1920, 1080))):
        book.theme(theme)
        book.resize(*size)
        book.wait(f"{READY} && {VIEW}.has('preview')")
        book.shot(SHOTS / f"tuned-{theme}-{size[0]}.png")
    book.js(f"{ROOT}.focus({{preventScroll: true}})")
    page.keyboard.press("y")
    book.wait(f"{notice}.hidden")
    page.keyboard.press("Enter")
    book.wait(f"{notice}.hidden && !{VIEW}.has('preview')", 60)
    book.wait(READY)
    assert book.ask("(app.form.recipe.changes(), app.session.version)") == "({'semantic_threshold': 0.6}, 1)"
