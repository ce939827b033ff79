"""Objects in 3-D in a real JupyterLab in a real browser: there, and in their own colours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

playwright = pytest.importorskip("playwright")

from tests.browser.lab import Lab, Notebook, poll, why_not  # noqa: E402  only where Playwright is installed
from tests.browser.steps import colourful  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

SHOTS = Path(os.environ.get("MITONB_SHOTS", "artifacts/volume3d"))
# Ids whose colours are far from each other; `hue_of` in the notebook gives them.
SET_UP = """
import colorsys, numpy as np, mitonb as mn
from mitonb.colors import hues
from mitonb.labels import Labels
from mitonb.session import Session
def hue_of(key):
    return colorsys.rgb_to_hsv(*map(float, hues([key])[0]))[0]
far = sorted(range(1, 60), key=hue_of)
ids = [far[0], far[len(far) // 3], far[2 * len(far) // 3]]
data = np.zeros((24, 60, 60), np.uint32)
for k, key in enumerate(ids):
    data[4:20, 5 + 18 * k : 18 + 18 * k, 10:50] = key
session = Session(np.zeros(data.shape, np.uint8), Labels(data, (20.0, 10.0, 10.0)))
view = mn.show3d(session, height=400)
view
"""


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    with Lab(tmp_path_factory.mktemp("lab")) as lab:
        book = lab.notebook([SET_UP], timeout=180)
        book.run(timeout=180)
        yield book


def seen(book: Notebook) -> Any:
    """Return the hues of the scene's pixels; wireframe and page have none."""
    box = book.page.locator(".mnb-stage").bounding_box()
    assert box is not None
    box = {**box, "y": box["y"] + 40, "height": box["height"] - 40}  # below the buttons, which have colours too
    return colourful(book.page.screenshot(clip=box))  # type: ignore[arg-type]


def shown(book: Notebook, ids: list[float]) -> list[bool]:
    """Return which hues cover at least 200 pixels."""
    pixels = seen(book)
    away = [np.abs((pixels - hue + 0.5) % 1 - 0.5) for hue in ids]
    return [int((a < 0.05).sum()) >= 200 for a in away]


def test_each_object_has_the_colour_that_it_has_everywhere(book: Notebook) -> None:
    hues = [float(h) for h in book.ask("*map(hue_of, ids)").split()]
    poll(lambda: shown(book, hues) == [True, True, True], "the objects do not appear in their colours", 120, 0.2)
    for theme in ("dark", "light"):
        book.theme(theme)  # type: ignore[arg-type]
        poll(lambda: shown(book, hues) == [True, True, True], f"no objects in the {theme} theme", 60, 0.2)
        book.shot(SHOTS / f"objects-{theme}.png")


def test_only_the_selected_object_is_shown_when_asked(book: Notebook) -> None:
    hues = [float(h) for h in book.ask("*map(hue_of, ids)").split()]
    book.ask("(session.select(ids[1]), setattr(view.only, 'value', True))")
    poll(lambda: shown(book, hues) == [False, True, False], "the others do not go", 60, 0.2)
    book.shot(SHOTS / "selected-only.png")
    book.ask("setattr(view.only, 'value', False)")
    poll(lambda: shown(book, hues)[::2] == [True, True], "the others do not come back", 60, 0.2)
