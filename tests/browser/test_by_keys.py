"""Objects are locked, taken, painted, outlined, merged, copied and noted by the keyboard alone in a real JupyterLab."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

playwright = pytest.importorskip("playwright")

from tests.browser.lab import Lab, Notebook, poll, why_not  # noqa: E402  only where Playwright is installed
from tests.browser.test_viewer import READY, ROOT, VIEW, place  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

SHOTS = Path(os.environ.get("MITONB_SHOTS", "artifacts/keys"))
THEME = os.environ.get("MITONB_THEME", "light")
WIDTH, HEIGHT = (int(n) for n in os.environ.get("MITONB_SIZE", "1280x800").split("x"))
# Three objects, and a fourth that the model sees on planes 1 to 3, of five.
SET_UP = """
import numpy as np, mitonb as mn
from mitonb.infer.kept import KeptMaps
drawn = np.zeros((5, 120, 200), np.uint32)
drawn[:, 20:60, 20:50], drawn[:, 20:60, 54:90], drawn[2, 75:105, 120:160] = 1, 2, 3
seen = np.zeros_like(drawn)
seen[1:4, 75:105, 30:80] = 4
image = np.where(drawn + seen > 0, 80, 160).astype(np.uint8)
session = mn.Session(mn.Stack(image, (20.0, 10.0, 10.0), "keys"), drawn)
app = mn.explore(session)
app.runs.kept = KeptMaps(drawn.shape, "memory")
for z in range(5):
    app.runs.kept.put("xy", z, mn.targets(seen[z]))
app
"""


@pytest.fixture(scope="module")
def lab_book(lab: Lab) -> Notebook:
    book = lab.notebook([SET_UP], timeout=180, width=WIDTH, height=HEIGHT, theme=THEME)
    book.run(timeout=180)
    book.wait(READY, 120)
    return book


@pytest.fixture
def book(lab_book: Notebook) -> Iterator[Notebook]:
    """Every test finds three objects, with nothing selected, and the look tool on the middle plane."""
    book = lab_book
    book.js(f"{VIEW}.set('tool', 'look'); {VIEW}.set('axis', 'xy'); {VIEW}.go(2); {VIEW}.picture.fit()")
    book.js(f"{VIEW}.set('selected', []); {VIEW}.set('preserve', false)")
    book.js(f"{VIEW}.place = null; {ROOT}.scrollIntoView({{block: 'center'}})")
    press(book, "Escape")
    book.wait(f"{READY} && {ROOT}.dataset.plane === 'xy/2'")
    # What the page holds back until the kernel is idle would undo what the kernel is told of by the first key.
    until(book, "app.viewer.index, app.viewer.tool, app.viewer.selected, session.selection", "2 look [] ()")
    yield book
    while book.ask("session.can_undo") == "True":
        book.ask("session.undo()")
    assert book.ask("session.ids()") == "[1, 2, 3]"
    assert not book.errors


def press(book: Notebook, *keys: str) -> None:
    """Press keys in the viewer, wherever the focus went with a question to the kernel."""
    for key in keys:
        book.js(f"{ROOT}.focus({{preventScroll: true}})")
        book.page.keyboard.press(key)


def walk(book: Notebook, row: int, column: int) -> None:
    """Bring the cursor near a pixel, with the arrows."""
    for _ in range(400):
        r, c = book.js(f"{VIEW}.hand.at ?? [-1, -1]")
        far = [
            (abs(column - c), "ArrowRight" if column > c else "ArrowLeft"),
            (abs(row - r), "ArrowDown" if row > r else "ArrowUp"),
        ]
        if r >= 0 and max(far)[0] < 4:
            return
        press(book, max(far)[1])
    raise AssertionError(f"the cursor does not come to {row}, {column}")


def tool(book: Notebook, key: str, name: str) -> None:
    press(book, key)
    book.wait(f"{ROOT}.dataset.tool === '{name}'")


def fresh(book: Notebook) -> None:
    """Take a label that no object has."""
    poll(lambda: press(book, "m") or book.js(f"{VIEW}.get('active_id') > 3"), "there is no new label", 30, 0.3)


def until(book: Notebook, expression: str, wanted: str) -> None:
    """Wait until Python says so."""
    found = [""]

    def holds() -> bool:
        found[0] = book.ask(expression)
        return found[0] == wanted

    poll(holds, lambda: f"{expression} is {found[0]}, not {wanted}", 60, 0.2)


def select(book: Notebook, id: int) -> None:
    """Go from object to object, until it is that."""
    for _ in range(9):
        before = book.js(f"'' + {VIEW}.get('selected')")
        if before == f"{id}":
            return press(book, "0")
        press(book, "n")
        book.wait(f"'' + {VIEW}.get('selected') !== '{before}'")
    raise AssertionError(f"object {id} is not reached")


def said(book: Notebook, part: str) -> None:
    notice = f"{ROOT}.querySelector('.mitonb-notice')"
    book.wait(f"!{notice}.hidden && {notice}.textContent.includes({part!r})")


def test_a_locked_object_is_not_deleted_until_it_is_unlocked(book: Notebook) -> None:
    select(book, 1)
    press(book, "k")
    book.wait(f"({VIEW}.get('marks').locked ?? []).includes(1)")
    book.wait(f"{ROOT}.querySelector('.mitonb-legend').textContent.includes('locked')")
    book.shot(SHOTS / "1-locked.png")
    press(book, "Delete")
    said(book, "Object 1 is locked")
    assert book.ask("session.ids()") == "[1, 2, 3]"
    select(book, 1)
    press(book, "Shift+K")
    book.wait(f"!{VIEW}.get('marks').locked.length")
    press(book, "Delete")
    until(book, "session.ids()", "[2, 3]")


def test_what_the_model_finds_is_taken_at_the_cursor_through_all_its_planes(book: Notebook) -> None:
    tool(book, "d", "put_object")
    walk(book, 90, 55)
    book.shot(SHOTS / "2-take.png")
    press(book, "Enter")
    until(book, "len(session.ids())", "4")
    until(
        book, "[int((session.labels.data[z, 75:105, 30:80] > 3).sum()) for z in range(5)]", "[0, 1500, 1500, 1500, 0]"
    )
    book.shot(SHOTS / "3-taken.png")


def test_a_stroke_is_painted_with_arrows_and_enter(book: Notebook) -> None:
    fresh(book)
    tool(book, "p", "paint")
    walk(book, 90, 40)
    press(book, "Enter")
    walk(book, 90, 90)
    book.shot(SHOTS / "4-painting.png")
    assert book.js(f"{ROOT}.querySelector('.mitonb-keys').textContent") == "Arrows draw, Enter lifts the pen"
    press(book, "Enter")
    until(book, "[session.pick(2, 90, x) > 3 for x in (42, 60, 88)]", "[True, True, True]")
    assert book.ask("session.history()[-1].text").startswith("painted object")


def test_an_outline_is_closed_from_its_corners_adds_takes_away_and_selects(book: Notebook) -> None:
    fresh(book)
    tool(book, "g", "lasso")
    for corner in ((75, 20), (75, 70), (110, 70), (110, 20)):
        walk(book, *corner)
        press(book, "Enter")
    book.shot(SHOTS / "5-corners.png")
    press(book, "Enter")
    until(book, "[session.pick(2, 90, x) > 3 for x in (30, 60, 80)]", "[True, True, False]")
    for corner in ((70, 45), (70, 80), (115, 80)):
        walk(book, *corner)
        press(book, "Enter")
    walk(book, 115, 45)
    press(book, "Shift+Enter")
    until(book, "[session.pick(2, 90, x) > 3 for x in (30, 60, 80)]", "[True, False, False]")
    for corner in ((10, 10), (10, 100), (65, 100)):
        walk(book, *corner)
        press(book, "Enter")
    walk(book, 65, 10)
    press(book, "Control+Enter")
    book.wait(f"'' + {VIEW}.get('selected') === '1,2'")
    book.shot(SHOTS / "6-selected.png")


def test_a_line_across_objects_makes_them_one(book: Notebook) -> None:
    tool(book, "j", "merge")
    walk(book, 40, 30)
    press(book, "Shift+Enter")
    walk(book, 40, 80)
    book.shot(SHOTS / "7-line.png")
    press(book, "Enter")
    until(book, "session.ids()", "[1, 3]")
    until(book, "session.history()[-1].code", "session.merge(1, 2)")


def test_a_line_that_the_system_takes_from_the_hand_does_nothing(book: Notebook) -> None:
    tool(book, "j", "merge")
    stage, mouse = f"{ROOT}.querySelector('.mitonb-stage')", book.page.mouse
    book.js(f"{stage}.addEventListener('pointerdown', (e) => {{ window.pressed = e.pointerId; }}, {{once: true}})")
    mouse.move(*place(book, 40, 30))
    mouse.down()
    mouse.move(*place(book, 40, 80), steps=5)
    book.wait(f"{VIEW}.hand.line !== null")
    book.js(f"{stage}.dispatchEvent(new PointerEvent('pointercancel', {{pointerId: window.pressed}}))")
    mouse.up()
    assert book.js(f"{VIEW}.hand.line === null && !{VIEW}.get('selected').length")
    book.wait(READY)
    assert book.ask("session.ids()") == "[1, 2, 3]"


def test_a_ball_is_painted_in_the_planes_around_and_an_outline_copied_to_the_next(book: Notebook) -> None:
    fresh(book)
    tool(book, "p", "paint")
    press(book, "Shift+B")
    book.wait(f"{VIEW}.get('ball')")
    walk(book, 90, 180)
    press(book, "Enter", "Enter")
    until(book, "[bool((session.labels.data[z] > 3).any()) for z in range(5)]", str([True] * 5))
    until(book, "[int((session.labels.data[2] > 3).sum() > (session.labels.data[0] > 3).sum() > 0)]", "[1]")
    book.shot(SHOTS / "8-ball.png")
    press(book, "Shift+B")
    book.wait(f"!{VIEW}.get('ball')")
    select(book, 3)
    book.wait(f"{VIEW}.get('index') === 2 && {READY}")
    press(book, "q")
    book.wait(f"{VIEW}.get('index') === 3 && {READY}")
    press(book, "q")
    until(book, "[int((session.labels.data[z] == 3).sum()) for z in range(5)]", "[0, 0, 1200, 1200, 1200]")
    book.shot(SHOTS / "9-extruded.png")
    press(book, ",", ",")
    book.wait(f"{VIEW}.get('index') === 2 && {READY}")
    press(book, "Shift+Q")
    until(book, "[int((session.labels.data[z] == 3).sum()) for z in range(5)]", "[0, 1200, 1200, 1200, 1200]")


def test_a_stroke_is_painted_only_where_the_network_sees_something(book: Notebook) -> None:
    fresh(book)
    tool(book, "p", "paint")
    press(book, "Shift+P")
    book.wait(f"{VIEW}.get('above') === 0.5 && {VIEW}.entry('semantic')")
    walk(book, 90, 60)
    press(book, "Enter")
    walk(book, 90, 110)
    book.shot(SHOTS / "10-above.png")
    press(book, "Enter")
    until(book, "[session.pick(2, 90, x) > 3 for x in (70, 78, 82, 105)]", "[True, True, False, False]")
    assert book.ask("session.history()[-1].text").endswith("only where a map says enough")
    press(book, "Shift+P")
    book.wait(f"{VIEW}.get('above') === 0")


def test_a_note_is_typed_on_an_object_and_said_where_it_is_selected(book: Notebook) -> None:
    select(book, 3)
    press(book, "Shift+M")
    book.wait("document.activeElement.matches('.mitonb-goto')")
    assert book.js("document.activeElement.placeholder").startswith("Note on object 3")
    book.page.keyboard.type("one or <b>two</b>?")
    book.shot(SHOTS / "11-note.png")
    book.page.keyboard.press("Enter")
    until(book, "[one.text for one in session.noted]", "['one or <b>two</b>?']")
    book.wait(f"({VIEW}.get('marks').noted ?? []).includes(3)")
    select(book, 1)
    select(book, 3)
    said(book, "Note on object 3: one or <b>two</b>?")
    book.shot(SHOTS / "12-noted.png")
    # It can be changed; who only looks at it leaves it as it is.
    press(book, "Shift+M")
    book.wait("document.activeElement.value === 'one or <b>two</b>?'")
    book.page.keyboard.press("Enter")
    until(book, "[one.text for one in session.noted]", "['one or <b>two</b>?']")
    press(book, "Escape")
    book.wait(f"!{VIEW}.get('selected').length")
    tool(book, "p", "paint")
    walk(book, 100, 20)
    press(book, "Shift+M")
    book.wait("document.activeElement.placeholder?.startsWith('Note on this place, 2,')")
    book.page.keyboard.type("a vesicle")
    book.page.keyboard.press("Enter")
    until(book, "session.noted[-1].point[0], abs(session.noted[-1].point[1] - 100) < 5", "2 True")


def test_an_object_gets_another_id_which_is_free(book: Notebook) -> None:
    select(book, 3)
    press(book, "Shift+L")
    book.wait("document.activeElement.placeholder?.startsWith('New id of object 3 (Enter: ')")
    proposed = book.js("/\\d+(?=\\)$)/.exec(document.activeElement.placeholder)[0]")
    book.page.keyboard.press("Enter")
    until(book, "session.ids()", f"[1, 2, {proposed}]")
    book.ask("session.undo()")
    book.wait(f"'' + {VIEW}.get('selected') === '3'")
    press(book, "Shift+L")
    book.wait("document.activeElement.matches('.mitonb-goto')")
    book.page.keyboard.type("10")
    book.page.keyboard.press("Enter")
    until(book, "session.ids()", "[1, 2, 10]")
    book.wait(f"'' + {VIEW}.get('selected') === '10'")
    said(book, "Gave object 3 the id 10.")
    press(book, "Shift+L")
    for typed in ("0", "<b>7</b>", "1e1"):
        book.page.keyboard.press("Control+A")
        book.page.keyboard.type(typed)
        book.page.keyboard.press("Enter")
        said(book, "An id is a whole number from 1 to 4294967295")
    book.shot(SHOTS / "14-id.png")
    book.page.keyboard.press("Control+A")
    book.page.keyboard.type("2")
    book.page.keyboard.press("Enter")
    said(book, "There is an object 2 already.")


def test_the_history_goes_back_to_an_edit_by_its_button(book: Notebook) -> None:
    select(book, 2)
    start = int(book.ask("session.version"))
    for k, key in enumerate("rwu", 1):
        press(book, key)
        until(book, "session.version", f"{start + k}")
    book.page.locator(".mnb-app .lm-TabBar-tab", has_text="History").click()
    back = f"document.querySelector('.mnb-back[data-seq=\"{start + 1}\"]')"
    book.wait(f"{back}?.checkVisibility()")
    book.js(f"document.querySelector('.mnb-entry[data-seq=\"{start + 1}\"]').focus()")
    book.page.keyboard.press("Tab")
    book.shot(SHOTS / "13-history.png")
    assert book.js(f"document.activeElement === {back}")
    book.page.keyboard.press("Enter")
    until(book, "session.marks.get(2), session.version", f"True {start + 5}")
    book.page.locator(".mnb-app .lm-TabBar-tab", has_text="Objects").click()
