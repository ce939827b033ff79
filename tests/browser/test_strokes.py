"""Teach by strokes in a real JupyterLab: draw what is and what is none, let the model learn, take that back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright")

from tests.browser.lab import Lab, Notebook, why_not  # noqa: E402  only where Playwright is installed

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

SHOTS = Path(os.environ.get("MITONB_SHOTS", "artifacts/strokes"))
ROOT = "document.querySelector('.mitonb-viewer')"
VIEW = f"{ROOT}.mitonb"
READY = f"{ROOT}?.dataset.state === 'ready' && {ROOT}.dataset.pending === '0'"
BAR = "document.querySelector('.mnb-run').innerText"
# A small net that knows nothing and learns fast, and an image whose left half is dark: what is tested is the way, not
# what is learned.
SET_UP = """
import os, tempfile
import numpy as np
import torch
folder = os.environ["MITONB_MODEL_DIR"] = tempfile.mkdtemp()
import mitonb as mn
from mitonb.learn.strokes import GENTLY
from mitonb.models.spec import ModelSpec
from mitonb.models.weights import write_weights
from mitonb.models.zoo import build, import_model
spec = ModelSpec(name="tiny", heads=("semantic",), config={"widths": [4, 8], "depths": [1, 1]})
torch.manual_seed(0)
net = build(spec)
for last in net.semantic_head.parameters():
    last.data.zero_()
write_weights(net, spec, folder + "/net.safetensors")
import_model(folder + "/net.safetensors", "tiny")
GENTLY["rate"] = 0.03
image = np.random.default_rng(0).normal(180, 10, (4, 160, 240))
image[:, :, :110] -= 100
session = mn.Session(mn.Stack(image.astype(np.uint8), (30, 5, 5)))
app = mn.explore(session, recipe=mn.Recipe(model="tiny"))
app
"""


@pytest.fixture(scope="module")
def book(lab: Lab) -> Notebook:
    book = lab.notebook([SET_UP], timeout=180)
    book.run(timeout=180)
    book.wait(READY, 120)
    return book


def draw(book: Notebook, key: str, *points: tuple[int, int]) -> None:
    """Take a tool and drag along (column, row) pixels of the plane."""
    book.js(f"{ROOT}.focus({{preventScroll: true}})")
    book.page.keyboard.press(key)
    box = book.page.locator(".mitonb-stage").first.bounding_box()
    assert box
    for k, (column, row) in enumerate(points):
        x, y = book.js(f"{VIEW}.picture.screen({column}, {row})")
        book.page.mouse.move(box["x"] + x, box["y"] + y)
        if not k:
            book.page.mouse.down()
    book.page.mouse.up()
    book.wait(f"{ROOT}.dataset.pending === '0'")


def test_strokes_are_drawn_learned_from_and_taken_back(book: Notebook) -> None:
    page = book.page
    book.js(f"{ROOT}.scrollIntoView({{block: 'center'}})")
    learn = page.locator(".mnb-run").get_by_role("button", name="Learn from")
    assert not learn.is_visible()
    draw(book, "t", (30, 30), (60, 36), (80, 60))
    assert book.js(f"{ROOT}.dataset.tool") == "teach_mito"
    draw(book, "Shift+T", (150, 110), (200, 120))
    assert book.js(f"{ROOT}.dataset.tool") == "teach_not"
    learn.wait_for()
    assert learn.inner_text().strip() == "Learn from 2 strokes"
    # They lie on the picture, and change no label.
    assert book.js(f"!{ROOT}.querySelector('.mitonb-lines').hidden")
    assert book.ask("[(s.mito, s.plane, s.radius) for s in session.strokes], session.labels.data.any()") == (
        "[(True, 2, 8.0), (False, 2, 8.0)] False"
    )
    book.shot(SHOTS / "strokes.png")
    learn.click()
    book.wait(f"{BAR}.includes('The next run uses tiny-strokes-1.')", 240)
    book.shot(SHOTS / "learned.png")
    assert book.ask("app.form.recipe.model, session.taught") == "tiny-strokes-1 ('tiny-strokes-1', 'tiny')"
    page.locator(".mnb-run").get_by_role("button", name="Undo").click()
    book.wait(f"{BAR}.includes('Undone: took model tiny-strokes-1')")
    assert book.ask("app.form.recipe.model, session.taught") == "tiny None"
    for _ in range(2):
        book.js(f"{ROOT}.focus({{preventScroll: true}})")
        page.keyboard.press("Control+z")
    learn.wait_for(state="hidden")
    assert book.ask("session.strokes") == "[]"
    book.wait(f"{ROOT}.querySelector('.mitonb-lines').hidden")
