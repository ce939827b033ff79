"""The curtain of a training in a real JupyterLab: its handle is dragged and follows the keys, its patches change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("playwright")
pytest.importorskip("torch")

from tests.browser.lab import why_not

if TYPE_CHECKING:
    from tests.browser.lab import Lab

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

SET_UP = """
import numpy as np, mitonb as mn
from mitonb.learn.data import Source
from mitonb.learn.scoring import Judged
from mitonb.widgets.curtain import Curtain
from mitonb.widgets.style import Part
truth = np.zeros((1, 200, 200), np.uint32)
truth[0, 20:80, 20:80], truth[0, 120:180, 120:180] = 1, 2
patches = [Source(name, (128 - 60 * (truth > 0)).astype(np.uint8), truth, (0.0, 255.0)) for name in "ab"]
def judged(*ids):
    kinds = tuple(np.where(truth == id, 1, np.where(truth, 3, 0)).astype(np.uint8) for id in ids)
    return Judged(0.5, 4, frozenset(enumerate(ids)), 0, kinds)
curtain = Curtain(patches, judged(1, 1), judged(1, 2))
Part(curtain)
"""
AT = "document.querySelector('.mnb-curtain').style.getPropertyValue('--at')"
# Colours of the two pictures at the middle of the first object: blue where it was found, pink where it was missed.
COLOURS = """[...document.querySelectorAll('.mnb-curtain figure')].map(f => {
  const i = f.querySelector('img'), c = document.createElement('canvas'); c.width = c.height = 200;
  c.getContext('2d').drawImage(i, 0, 0); const [r, g, b] = c.getContext('2d').getImageData(50, 50, 1, 1).data;
  return f.innerText + ' ' + (b > r ? 'blue' : 'pink'); }).join()"""


def test_the_handle_is_dragged_and_the_next_patch_comes(lab: Lab) -> None:
    book = lab.notebook([SET_UP], timeout=180)
    book.run(timeout=180)
    page, curtain = book.page, book.page.locator(".mnb-curtain")
    book.wait(f"{COLOURS} === 'now pink,before blue'", 60)
    box = curtain.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 90)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 90, steps=4)
    page.mouse.up()
    assert 23 <= float(book.js(AT).rstrip("%")) <= 27
    before = float(book.js(AT).rstrip("%"))
    page.keyboard.press("ArrowRight")
    assert float(book.js(AT).rstrip("%")) == before + 0.5
    clip = book.js("getComputedStyle(document.querySelector('.mnb-curtain [data-side=\"0\"]')).clipPath")
    assert clip.startswith("inset(0px ")
    page.locator("button[title='Next patch']").click()
    book.wait(f"{COLOURS} === 'now blue,before blue'", 30)
    assert "Held-out patch 2 of 2: a" in page.locator(".jp-OutputArea").inner_text()
