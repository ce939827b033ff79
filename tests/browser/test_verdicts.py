"""Teach by verdicts in a real JupyterLab: mark objects with keys, see what else would go, drop it, take that back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright")

from tests.browser.lab import Lab, Notebook, why_not  # noqa: E402  only where Playwright is installed

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

SHOTS = Path(os.environ.get("MITONB_SHOTS", "artifacts/verdicts"))
ROOT = "document.querySelector('.mitonb-viewer')"
VIEW = f"{ROOT}.mitonb"
READY = f"{ROOT}?.dataset.state === 'ready' && {ROOT}.dataset.pending === '0'"
NOTICE = f"{ROOT}.querySelector('.mitonb-notice')"
TAUGHT = "document.querySelector('.mnb-teach').innerText"
# Ten boxes in a row; those with odd numbers are dark, as mitochondria are, the others bright.
SET_UP = """
import numpy as np, mitonb as mn
labels = np.zeros((4, 120, 300), np.uint32)
for k in range(10):
    labels[:, 40 : 80 - k % 3, 10 + 28 * k : 30 + 28 * k] = k + 1
image = np.full(labels.shape, 128, np.uint8)
image[labels > 0] = np.where(labels[labels > 0] % 2, 60, 200)
session = mn.Session(image, labels)
app = mn.explore(session)
app
"""


@pytest.fixture(scope="module")
def book(lab: Lab) -> Notebook:
    book = lab.notebook([SET_UP], timeout=180)
    book.run(timeout=180)
    book.wait(READY, 120)
    return book


def mark(book: Notebook, key: str, *ids: int) -> None:
    """Click on objects, with Shift on all but the first, and press a key."""
    for k, id in enumerate(ids):
        x, y = book.js(f"{VIEW}.picture.screen({20 + 28 * (id - 1)}, 60)")
        box = book.page.locator(".mitonb-stage").first.bounding_box()
        assert box
        if k:
            book.page.keyboard.down("Shift")
        book.page.mouse.click(box["x"] + x, box["y"] + y)
        book.page.keyboard.up("Shift")
    book.wait(f"{VIEW}.get('selected').join() === '{','.join(map(str, ids))}'")
    book.page.keyboard.press(key)
    book.wait(f"{ROOT}.dataset.pending === '0'")


def test_objects_are_marked_judged_dropped_and_brought_back(book: Notebook) -> None:
    page = book.page
    book.js(f"{ROOT}.scrollIntoView({{block: 'center'}})")
    assert not page.locator(".mnb-teach").is_visible()
    mark(book, "r", 1, 3, 5)
    book.wait(f"!{NOTICE}.hidden && {NOTICE}.textContent.startsWith('Marked objects 1, 3, 5 right.')")
    # What is marked stays selected, so that N goes on from there.
    assert book.js(f"{VIEW}.get('selected').join()") == "1,3,5"
    book.wait(f"{TAUGHT}.includes('3 right, 0 false: mark 3 of each')")
    legend = page.locator(".mitonb-legend")
    assert legend.inner_text() == "✓ marked right"
    assert book.js(f"!{ROOT}.querySelector('.mitonb-lines').hidden")
    mark(book, "w", 2, 4, 6)
    assert legend.inner_text().split() == ["✓", "marked", "right", "✗", "marked", "false"]
    page.evaluate(f"{VIEW}.setLayer('labels', {{visible: false}})")
    legend.wait_for(state="hidden")
    page.evaluate(f"{VIEW}.setLayer('labels', {{visible: true}})")
    legend.wait_for()
    book.wait(f"{TAUGHT}.includes('3 right, 3 false (100% of the marks are predicted from the others): 5 of 10 ')")
    said = "[...document.querySelectorAll('.mnb-table .row')].map(n => n.children[1].textContent)"
    book.wait(f"{said}.filter(t => t === '✓ right').length === 3 && {said}.filter(t => t === '✗ false').length === 3")
    page.locator(".mnb-teach").get_by_role("button", name="Show").click()
    book.wait(f"{VIEW}.get('selected').join() === '2,4,6,8,10'")
    book.shot(SHOTS / "would-go.png")
    page.locator(".mnb-teach").get_by_role("button", name="Drop").click()
    book.wait(f"{VIEW}.entry('labels').data[60 * 300 + 20 + 28 * 7] === 0 && {VIEW}.get('selected').length === 0")
    book.wait(f"!{NOTICE}.hidden && {NOTICE}.textContent.startsWith('Dropped objects 2, 4, 6, 8, 10')")
    book.wait(f"{TAUGHT}.includes('0 of 5 objects would go')")
    assert book.ask("session.ids(), app.form.recipe.verdicts == session.verdicts is not None") == "[1, 3, 5, 7, 9] True"
    book.shot(SHOTS / "dropped.png")
    book.js(f"{ROOT}.focus({{preventScroll: true}})")
    page.keyboard.press("Control+z")
    book.wait(f"{VIEW}.entry('labels').data[60 * 300 + 20 + 28 * 7] === 8")
    book.wait(f"{TAUGHT}.includes('5 of 10 objects would go')")
    assert book.ask("len(session.ids()), app.form.recipe.verdicts") == "10 None"
    # Undoing the marks undoes what they taught.
    book.js(f"{ROOT}.focus({{preventScroll: true}})")
    page.keyboard.press("Control+z")
    book.wait(f"{TAUGHT}.includes('3 right, 0 false')")
    page.keyboard.press("Control+z")
    page.locator(".mnb-teach").wait_for(state="hidden")
