"""Objects in 3-D in a real JupyterLab in a real browser: there, large, in their own colours, picked by a click only."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

playwright = pytest.importorskip("playwright")

from tests.browser.lab import Lab, Notebook, poll, why_not  # noqa: E402  only where Playwright is installed
from tests.browser.steps import colourful  # noqa: E402

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

SHOTS = Path(os.environ.get("MITONB_SHOTS", "artifacts/volume3d"))
# Ids whose colours are far from each other; `hue_of` in the notebook gives them.
SET_UP = """
import colorsys, numpy as np, mitonb as mn
from mitonb.colors import Coloring
from mitonb.labels import Labels
from mitonb.session import Session
def hue_of(key):
    return colorsys.rgb_to_hsv(*map(float, Coloring().rgb(key)))[0]
far = sorted(range(1, 60), key=hue_of)
ids = [far[0], far[len(far) // 3], far[2 * len(far) // 3]]
data = np.zeros((24, 60, 60), np.uint32)
for k, key in enumerate(ids):
    data[4:20, 5 + 18 * k : 18 + 18 * k, 10:50] = key
session = Session(np.zeros(data.shape, np.uint8), Labels(data, (20.0, 10.0, 10.0)))
view = mn.show3d(session, height=400)
view
"""


BRIGHT = """(() => {
    const bright = (sum, all) => sum > 127 * all, chart = document.querySelector(".mnb-table .chart");
    const text = getComputedStyle(chart).color.match(/[0-9.]+/g).map(Number), c = chart.querySelector("canvas");
    const { data } = c.getContext("2d").getImageData(0, 0, c.width, c.height);
    let [sum, all] = [0, 0];
    for (let i = 0; i < data.length; i += 4) {
        const [r, , b, a] = data.subarray(i, i + 4);
        if (a > 60 && Math.abs(r - b) < 9) [sum, all] = [sum + r, all + 1];
    }
    return [bright(text[0], 1), bright(sum, all)];
})()"""
"""Whether text beside the plot is bright, and whether its axes are."""


@pytest.fixture(scope="module")
def book(lab: Lab) -> Notebook:
    book = lab.notebook([SET_UP], timeout=180)
    book.run(timeout=180)
    return book


def seen(book: Notebook) -> Any:
    """Return the hues of the scene's pixels; wireframe and page have none."""
    return colourful(book.page.screenshot(clip=scene(book)))  # type: ignore[arg-type]


def scene(book: Notebook) -> dict[str, float]:
    """Return where the picture lies in the window: below ipyvolume's buttons, which have colours too."""
    box = book.page.locator(".mnb-stage").bounding_box()
    assert box is not None
    return {**box, "y": box["y"] + 40, "height": box["height"] - 40}


def pixels_of(book: Notebook, hue: float) -> Any:
    """Return the rows and columns of the scene that have a hue, (2, n)."""
    from PIL import Image

    shot = Image.open(io.BytesIO(book.page.screenshot(clip=scene(book))))  # type: ignore[arg-type]
    h, s, v = np.moveaxis(np.asarray(shot.convert("HSV"), np.float32) / 255, 2, 0)
    return np.stack(np.nonzero((s > 0.25) & (v > 0.2) & (np.abs((h - hue + 0.5) % 1 - 0.5) < 0.05)))


def middle_of(book: Notebook, hue: float) -> tuple[float, float]:
    """Return where in the window a click hits what has a hue."""
    box, (rows, columns) = scene(book), pixels_of(book, hue)
    near = int(((rows - np.median(rows)) ** 2 + (columns - np.median(columns)) ** 2).argmin())
    return box["x"] + float(columns[near]), box["y"] + float(rows[near])


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


def test_a_drag_turns_and_selects_nothing_and_a_click_selects_and_moves_the_planes(book: Notebook) -> None:
    hue = float(book.ask("hue_of(ids[2])"))
    book.ask("(session.select(), session.move_to(0, 0, 0))")
    mouse = book.page.mouse
    # Back to where it began, as slowly as a careful hand; and away.
    for path in ([(6, 0), (0, 0)], [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)], [(40, 10), (80, 20)]):
        x, y = middle_of(book, hue)
        mouse.move(x, y)
        mouse.down()
        for dx, dy in path:
            mouse.move(x + dx, y + dy)
            book.ask("session.selection")  # a whole turn of the kernel between any two movements
        mouse.up()
        assert book.ask("(session.selection, session.position)") == "((), (0, 0, 0))", path
    # A hand trembles by a pixel or two.
    x, y = middle_of(book, hue)
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + 1, y + 1)
    mouse.up()
    poll(lambda: book.ask("session.selection == (ids[2],)") == "True", "a click does not select", 30)
    assert book.ask("session.pick(*session.position) == ids[2]") == "True"
    book.ask("session.select(ids[0])")
    mouse.click(x, y)
    poll(lambda: book.ask("session.selection == (ids[2],)") == "True", "the second click does not select", 30)


def test_the_objects_fill_the_frame_wherever_they_lie(book: Notebook) -> None:
    hue = float(book.ask("hue_of(ids[0])"))
    book.add(
        "corner = np.zeros((40, 300, 300), np.uint32); corner[2:8, 20:40, 250:290] = ids[0]\n"
        "view.session, old = mn.Session(labels=Labels(corner, (20.0, 10.0, 10.0))), view.session\n"
        "view.refresh()"
    )
    box = scene(book)

    def filled() -> bool:
        found = pixels_of(book, hue)
        return found.size > 0 and max(np.ptp(found[0]) / box["height"], np.ptp(found[1]) / box["width"]) > 0.7

    poll(filled, "the object is small", 60, 0.2)
    rows, columns = pixels_of(book, hue)
    assert min(rows.min(), columns.min()) > 2
    assert rows.max() < box["height"] - 3
    assert columns.max() < box["width"] - 3
    book.shot(SHOTS / "in-a-corner.png")
    book.add("view.session = old; view.refresh()")


def test_only_those_of_ipyvolumes_buttons_are_there_that_do_something(book: Notebook) -> None:
    icons = "[...document.querySelectorAll('.mnb-stage .ipyvolume-toolicon')]"
    titles = book.js(f"{icons}.filter(a => a.checkVisibility()).map(a => a.title.split(' ')[0])")
    assert titles == ["Fullscreen", "Stereoscopic", "Take", "Camera", "Reset"]


def test_a_drag_over_a_plot_selects_in_the_session_and_a_selection_elsewhere_is_seen_in_it(book: Notebook) -> None:
    book.add("table = mn.show_table(session, height=260); display(table)")
    page = book.page
    page.get_by_role("button", name="plot", exact=True).click()
    page.get_by_label("Measure from left to right").select_option("y")
    page.get_by_label("Measure from below to above, or how many").select_option("voxels")
    plot = page.locator(".mnb-table .chart canvas")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    # The three lie at the left edge, in the middle and at the right edge of their range.
    page.mouse.move(box["x"] + 50, box["y"] + 9)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + box["height"] - 20)
    page.mouse.up()
    poll(lambda: book.ask("set(session.selection) == {ids[1]}") == "True", "the drag selects another one", 30)
    book.ask("session.select(ids[0], ids[2])")
    poll(lambda: page.locator(".mnb-table .row.on").count() == 2, "the rows do not follow", 30)
    page.get_by_label("Measure from below to above, or how many").select_option("")
    for theme in ("dark", "light"):
        book.theme(theme)  # type: ignore[arg-type]
        poll(lambda bright=theme == "dark": page.evaluate(BRIGHT) == [bright, bright], f"the plot is not {theme}", 30)
        book.shot(SHOTS / f"plot-{theme}.png")
