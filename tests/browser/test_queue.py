"""A review in a real JupyterLab: the queue leads from doubt to doubt, keys judge, show and take what is suggested."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright")

from tests.browser.lab import Lab, Notebook, why_not  # noqa: E402  only where Playwright is installed

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

SHOTS = Path(os.environ.get("MITONB_SHOTS", "artifacts/queue"))
ROOT = "document.querySelector('.mitonb-viewer')"
VIEW = f"{ROOT}.mitonb"
READY = f"{ROOT}?.dataset.state === 'ready' && {ROOT}.dataset.pending === '0'"
NOTICE = f"{ROOT}.querySelector('.mitonb-notice')"
BAR = "document.querySelector('.mnb-review').innerText"
SELECTED = f"{VIEW}.get('selected').join()"
# Four objects: one cut in two at plane 12, one with two planes missing, one crumb.
SET_UP = """
import numpy as np, mitonb as mn
image, truth = mn.phantom((24, 160, 160), seed=3, objects=5, voxel_size=(16, 16, 16))
labels = truth.data.copy()
sizes = np.bincount(labels.ravel())
large = [i for i in np.argsort(-sizes).tolist() if i and np.ptp(np.argwhere(labels == i)[:, 0]) > 12][:2]
middle = [int(np.median(np.argwhere(labels == i)[:, 0])) for i in large]
labels[middle[0]:][labels[middle[0]:] == large[0]] = 90
labels[middle[1]:middle[1] + 2][labels[middle[1]:middle[1] + 2] == large[1]] = 0
free = np.argwhere(labels[2:5].max(0) == 0)
y, x = free[(np.abs(free - 80) < 70).all(1)][0]
labels[2:4, y:y + 3, x:x + 3][labels[2:4, y:y + 3, x:x + 3] == 0] = 91
app = mn.explore(image, labels)
session = app.session
app
"""


@pytest.fixture(scope="module")
def book(lab: Lab) -> Notebook:
    book = lab.notebook([SET_UP], timeout=180)
    book.run(timeout=180)
    book.wait(READY, 120)
    return book


def asked(book: Notebook, expression: str) -> str:
    """Ask the kernel in a cell, after all that the page has sent, and give the keys back to the picture."""
    index = book.add(f"print({expression})")
    answer = book.text(index).rstrip("\n")
    book.js("i => jupyterapp.shell.currentWidget.model.sharedModel.deleteCell(i)", index)
    book.js(f"{ROOT}.focus()")
    return answer


def test_a_review_goes_from_doubt_to_doubt_and_what_is_suggested_is_seen_before_it_is_taken(book: Notebook) -> None:
    page = book.page
    book.js(f"{ROOT}.scrollIntoView({{block: 'center'}})")
    book.wait(f"{BAR}.includes('which to check first?')")
    page.locator(".mnb-review button", has_text="What to check").click()
    book.wait(f"{BAR}.includes(' seen. N goes to the first.')", 30)
    book.js(f"{ROOT}.focus()")
    page.keyboard.press("n")
    book.wait(f"!{NOTICE}.hidden && {NOTICE}.textContent.includes('Y: ')")
    first = book.js(SELECTED)
    count = asked(book, "len(session.ids())")
    page.keyboard.press("y")
    book.wait(f"{NOTICE}.dataset.asks === 'true' && {VIEW}.suggested !== null")
    assert book.js(f"{NOTICE}.innerText").startswith("Merge ")
    page.keyboard.press(".")  # it is looked at on its other planes, too
    page.keyboard.press(",")
    assert book.js(f"{NOTICE}.innerText").startswith("Merge ")
    page.keyboard.press("p")
    book.wait(f"{VIEW}.suggested === null && {NOTICE}.hidden")
    page.keyboard.press("Escape")
    page.keyboard.press("y")
    book.wait(f"{NOTICE}.dataset.asks === 'true' && {VIEW}.suggested !== null")
    book.shot(SHOTS / "suggested.png")
    page.keyboard.press("Escape")
    book.wait(f"{NOTICE}.hidden && {VIEW}.suggested === null")
    assert asked(book, "(len(session.ids()), session.version)") == f"({count}, 0)"
    page.keyboard.press("y")
    book.wait(f"{VIEW}.suggested !== null")
    page.keyboard.press("y")
    book.wait(f"{NOTICE}.textContent.startsWith('Merged object')")
    assert asked(book, "len(session.ids())") == str(int(count) - 1)
    # The part that is gone is no doubt any more, nor the one that was mended.
    page.keyboard.press("n")
    book.wait(f"!['', '{first}', '90'].includes({SELECTED})")
    second = book.js(SELECTED)
    page.keyboard.press("Shift+X")
    book.wait(f"{SELECTED} !== '{second}'")
    assert asked(book, "session.history()[-1].sentence") == f"Marked object {second} to be mended."
    third = book.js(SELECTED)
    page.keyboard.press("Shift+C")
    book.wait(f"{SELECTED} !== '{third}'")
    book.wait(f"{BAR}.includes('4 of 7 seen')")
    book.shot(SHOTS / "going-on.png")
    while book.js(f"!{BAR}.includes('Nothing is left')"):
        before = book.js(BAR)
        page.keyboard.press("Shift+U")
        book.wait(f"{BAR} !== {before!r}")
    # What was said is seen on the object and in the table, and is taken back in words.
    page.keyboard.press("/")
    page.keyboard.type(second)
    page.keyboard.press("Enter")
    book.wait(f"{ROOT}.querySelector('.mitonb-legend').textContent.includes('! to be mended')")
    book.wait("document.querySelector('.mnb-table').innerText.includes('? unsure')")
    for theme, size in (("light", (1280, 800)), ("dark", (1280, 800)), ("dark", (1920, 1080)), ("light", (1920, 1080))):
        book.theme(theme)
        book.resize(*size)
        book.wait(READY)
        book.shot(SHOTS / f"signs-{theme}-{size[0]}.png")
    book.js(f"{ROOT}.focus()")
    last = asked(book, "session.history()[-1].text")
    page.keyboard.press("Control+z")
    book.wait(f"{NOTICE}.textContent === {f'Undid: {last}.'!r}")
