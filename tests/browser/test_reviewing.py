"""Review squares in a real JupyterLab: the next patch is framed, corrected, called reviewed, and taken back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright")

from tests.browser.lab import Lab, Notebook, why_not  # noqa: E402  only where Playwright is installed

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

SHOTS = Path(os.environ.get("MITONB_SHOTS", "artifacts/reviewing"))
ROOT = "document.querySelector('.mitonb-viewer')"
VIEW = f"{ROOT}.mitonb"
READY = f"{ROOT}?.dataset.state === 'ready' && {ROOT}.dataset.pending === '0'"
SAID = "document.querySelector('.mnb-train').innerText"
SET_UP = """
import mitonb as mn
session = mn.Session(*mn.phantom((5, 600, 800), seed=3))
app = mn.explore(session)
app
"""


@pytest.fixture(scope="module")
def book(lab: Lab) -> Notebook:
    book = lab.notebook([SET_UP], timeout=180, height=800)
    book.run(timeout=180)
    book.wait(READY, 120)
    return book


def test_the_next_patch_is_corrected_and_called_reviewed(book: Notebook) -> None:
    page = book.page
    book.js(f"{ROOT}.scrollIntoView({{block: 'start'}})")
    page.get_by_role("tab", name="Train").click()
    train = page.locator(".mnb-train")
    press = lambda name: train.get_by_role("button", name=name).click()  # noqa: E731
    press("Next patch")
    book.wait(f"{VIEW}.get('marks').chosen.length === 1")
    z, y, x, *_ = book.js(f"{VIEW}.get('marks').chosen[0]")
    book.wait(f"{ROOT}.dataset.plane === 'xy/{z}' && {READY}")
    legend = page.locator(".mitonb-legend")
    legend.wait_for()
    assert legend.inner_text().split() == ["⬚", "chosen"]
    book.shot(SHOTS / "chosen.png")
    book.js(f"{ROOT}.focus({{preventScroll: true}})")
    page.keyboard.press("p")
    across, down = book.js(f"{VIEW}.picture.screen({x + 100}, {y + 100})")
    box = page.locator(".mitonb-stage").first.bounding_box()
    assert box
    page.mouse.move(box["x"] + across, box["y"] + down)
    page.mouse.down()
    page.mouse.move(box["x"] + across + 40, box["y"] + down, steps=4)
    page.mouse.up()
    book.wait(f"{READY} && {VIEW}.store.state.can_undo")
    press("Reviewed")
    book.wait(f"{SAID}.includes('1 part reviewed, with 6 mitochondria')")
    assert legend.inner_text().split() == ["▢", "reviewed"]
    book.shot(SHOTS / "reviewed.png")
    press("Next patch")
    book.wait(f"{VIEW}.get('marks').reviewed.length === 1 && {VIEW}.get('marks').chosen.length === 1")
    assert book.ask("[box.start for box in session.reviewed]") == f"[({z}, {y}, {x})]"
    book.shot(SHOTS / "next.png")
    book.js(f"{ROOT}.focus({{preventScroll: true}})")
    page.keyboard.press("Control+z")
    book.wait(f"{VIEW}.get('marks').reviewed.length === 0 && {SAID}.includes('Nothing is reviewed yet')")
