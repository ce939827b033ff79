"""Objects in a real JupyterLab in a real browser: what a click, a key, a row and an entry of the history do to them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright")

from tests.browser.lab import Lab, Notebook, why_not  # noqa: E402  only where Playwright is installed

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

SHOTS = Path(os.environ.get("MITONB_SHOTS", "artifacts/objects"))
ROOT = "document.querySelector('.mitonb-viewer')"
VIEW = f"{ROOT}.mitonb"
READY = f"{ROOT}?.dataset.state === 'ready' && {ROOT}.dataset.pending === '0'"
NOTICE = f"{ROOT}.querySelector('.mitonb-notice')"
# Five boxes in a row, each on planes of its own; 5 is the smallest.
SET_UP = """
import numpy as np, mitonb as mn
labels = np.zeros((16, 200, 300), np.uint32)
for k in range(5):
    labels[2 * k : 2 * k + 6, 40 : 100 - 10 * k, 20 + 55 * k : 60 + 55 * k] = k + 1
session = mn.Session(np.full(labels.shape, 128, np.uint8), labels)
app = mn.explore(session)
app
"""


@pytest.fixture(scope="module")
def book(lab: Lab) -> Notebook:
    book = lab.notebook([SET_UP], timeout=180)
    book.run(timeout=180)
    book.wait(READY, 120)
    return book


@pytest.fixture(autouse=True)
def _at_the_start(book: Notebook) -> None:
    """Every test finds the first labels, a plane with objects 1 to 3, the look tool and nothing selected."""
    book.ask("(session.adopt(labels, replace_corrected=True), session.select(), session.move_to(5, 100, 150))")
    book.js(f"{VIEW}.set('axis', 'xy'); {VIEW}.go(5); {VIEW}.set('tool', 'look'); {VIEW}.picture.fit()")
    book.js(f"{ROOT}.scrollIntoView({{block: 'center'}})")
    book.wait(f"{READY} && {ROOT}.dataset.plane === 'xy/5' && {VIEW}.get('selected').length === 0")
    book.wait(f"{VIEW}.entry('labels').data[70 * 300 + 90] === 2")
    book.js(f"{VIEW}.set('active_id', 77); {VIEW}.place = null")
    # A test that failed may have left another one.
    book.page.locator(".mnb-app .lm-TabBar-tab", has_text="Objects").click()
    book.js(f"{ROOT}.focus({{preventScroll: true}})")


def spot(book: Notebook, row: int, column: int) -> tuple[float, float]:
    """Return where a pixel of the plane lies in the window."""
    x, y = book.js(f"{VIEW}.picture.screen({column}, {row})")
    box = book.page.locator(".mitonb-stage").first.bounding_box()
    assert box
    return box["x"] + x, box["y"] + y


def click(book: Notebook, row: int, column: int, *, shift: bool = False) -> None:
    """Click on a plane pixel."""
    x, y = spot(book, row, column)
    book.page.mouse.move(x, y)
    if shift:
        book.page.keyboard.down("Shift")
    book.page.mouse.click(x, y)
    if shift:
        book.page.keyboard.up("Shift")


def settled(book: Notebook) -> None:
    """Wait until the kernel has answered every edit."""
    book.wait(f"{ROOT}.dataset.pending === '0'")


def test_what_is_selected_is_painted_with_however_it_was_selected(book: Notebook) -> None:
    assert "paint with" in book.js(f"{ROOT}.querySelector('.mitonb-hint').textContent")
    click(book, 70, 90)
    book.page.keyboard.press("p")
    click(book, 150, 150)
    settled(book)
    assert book.ask("int(session.labels.data[5, 150, 150])") == "2"
    # From the kernel, as a row of the table or a mesh does it.
    book.ask("session.select(1, 3)")
    book.wait(f"{VIEW}.get('active_id') === 3")
    book.js(f"{ROOT}.focus()")
    book.page.keyboard.press("m")
    # Delete and Join must not act on what was selected before.
    book.wait(f"{VIEW}.get('selected').length === 0")
    fresh = book.js(f"{VIEW}.get('active_id')")
    book.ask("session.select()")
    assert book.js(f"{VIEW}.get('active_id')") == fresh > 5


def test_a_fill_of_the_background_asks_first(book: Notebook) -> None:
    book.page.keyboard.press("f")
    click(book, 150, 150)
    book.wait(f"!{NOTICE}.hidden && {NOTICE}.textContent.includes('Fill this patch of background with object 77?')")
    book.shot(SHOTS / "fill-asks.png")
    book.page.get_by_role("button", name="Cancel (Esc)").click()
    assert book.js(f"{NOTICE}.hidden")
    assert book.ask("int((session.labels.data == 77).sum())") == "0"
    # Leaving the plane answers the question, too.
    click(book, 150, 150)
    book.wait(f"!{NOTICE}.hidden")
    book.page.keyboard.press(".")
    book.wait(f"{NOTICE}.hidden && {ROOT}.dataset.plane === 'xy/6'")
    click(book, 150, 150)
    # Enter is the answer of the question, and runs no network.
    book.page.keyboard.press("Enter")
    settled(book)
    assert book.ask("int(session.labels.data[6, 150, 150])") == "77"
    # A small patch is filled at once.
    click(book, 45, 190)
    settled(book)
    assert book.ask("int(session.labels.data[6, 45, 190])") == "77"


def test_escape_in_the_middle_of_a_stroke_leaves_the_labels(book: Notebook) -> None:
    before, mouse = book.ask("session.version"), book.page.mouse
    book.js(f"{ROOT}.focus({{preventScroll: true}})")
    book.page.keyboard.press("p")
    mouse.move(*spot(book, 150, 150))
    mouse.down()
    mouse.move(*spot(book, 150, 180), steps=4)
    book.wait(f"{VIEW}.entry('labels').data[150 * {VIEW}.sheet.w + 165] !== 0")
    book.page.keyboard.press("Escape")
    book.wait(f"{VIEW}.entry('labels').data[150 * {VIEW}.sheet.w + 165] === 0 && !{VIEW}.entry('labels').stale")
    mouse.move(*spot(book, 160, 190))
    mouse.up()
    settled(book)
    assert book.ask("session.version") == before
    book.js(f"{ROOT}.focus({{preventScroll: true}})")
    # Out of a tool Enter segments nothing.
    book.page.keyboard.press("Enter")
    book.wait(f"{NOTICE}.textContent.includes('Enter segments this plane with the look tool (Z).')")


def test_the_other_axes_go_through_the_place_that_was_clicked(book: Notebook) -> None:
    click(book, 62, 91)
    book.page.locator(".mitonb-status button", has_text="xz").click()
    book.wait(f"{ROOT}.dataset.plane === 'xz/62'")
    book.page.locator(".mitonb-status button", has_text="yz").click()
    book.wait(f"{ROOT}.dataset.plane === 'yz/91'")
    # Back on the plane that was left, not in the middle of the stack.
    book.page.locator(".mitonb-status button", has_text="xy").click()
    book.wait(f"{ROOT}.dataset.plane === 'xy/5'")
    book.ask("session.go_to(5)")
    book.wait(f"{ROOT}.dataset.plane === 'xy/10' && {VIEW}.get('selected')[0] === 5 && {VIEW}.place?.[0] === 10")
    book.page.locator(".mitonb-status button", has_text="xz").click()
    book.wait(f"{ROOT}.dataset.plane === 'xz/{book.ask('session.position[1]')}'")


def test_n_zooms_to_the_object(book: Notebook) -> None:
    book.ask("session.select(4)")
    book.wait(f"{VIEW}.get('selected')[0] === 4")
    before = book.js(f"{VIEW}.picture.camera.scale")
    book.js(f"{ROOT}.focus()")
    book.page.keyboard.press("n")
    book.wait(f"{VIEW}.get('selected')[0] === 5 && {VIEW}.picture.camera.scale > {before}")
    x, y, scale = book.js(f"(() => {{ const c = {VIEW}.picture.camera; return [c.x, c.y, c.scale]; }})()")
    assert (round(x), round(y)) == (260, 50)
    assert scale > 2 * before
    book.shot(SHOTS / "next-object.png")


def test_the_picture_shows_the_colours_that_the_kernel_chose(book: Notebook) -> None:
    book.ask("globals().update(same=[i for i in range(6, 400) if session.colors.slot(i) == session.colors.slot(2)][0])")
    # Painted beside object 2, an id whose hash gives the same colour gets another, in the picture as in the kernel.
    book.ask("session.paint([[5, 70, 125]], id=same, radius=12)")
    same = int(book.ask("same"))
    book.wait(f"{VIEW}.store.moved.has({same}) && {VIEW}.entry('labels').data[70 * 300 + 125] === {same}")
    r, g, b = book.js(f"""(() => {{
        const {{picture}} = {VIEW};
        picture.draw();
        const {{gl}} = picture.renderer;
        const [x, y] = picture.screen(128, 70);
        const unit = picture.canvas.width / picture.size.w;
        const out = new Uint8Array(4);
        const down = Math.round(picture.canvas.height - y * unit);
        gl.readPixels(Math.round(x * unit), down, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, out);
        return [...out].slice(0, 3);
    }})()""")
    value = book.js(f"{VIEW}.entry('image').data[70 * {VIEW}.entry('image').w + 128]")
    low, high = book.js(f"(() => {{ const {{low, high}} = {VIEW}.get('layers').em; return [low, high]; }})()")
    gray = 255 * min(max((value - low) / (high - low), 0), 1)
    want = [float(v) for v in book.ask("*(session.colors.rgb(same) * 255)").split()]
    assert all(abs(0.55 * gray + 0.45 * w - seen) < 3 for w, seen in zip(want, (r, g, b), strict=True))


def test_merges_and_deletions_are_said_with_an_undo_until_another_edit_comes(book: Notebook) -> None:
    undo = book.page.locator(".mitonb-notice").first.get_by_role("button", name="Undo")
    click(book, 70, 90)
    book.page.keyboard.press("Delete")
    book.wait(f"!{NOTICE}.hidden && {NOTICE}.textContent.startsWith('Deleted object 2.')")
    book.shot(SHOTS / "deleted.png")
    undo.click()
    book.wait(f"{NOTICE}.hidden && {VIEW}.entry('labels').data[70 * 300 + 90] === 2")
    click(book, 70, 90)
    click(book, 70, 40, shift=True)
    book.page.keyboard.press("j")
    book.wait(f"!{NOTICE}.hidden && {NOTICE}.textContent.startsWith('Merged object 1 into 2.')")
    book.ask("session.paint([[5, 180, 150]], id=90, radius=3) and 0")
    book.wait(f"{NOTICE}.hidden")
    assert book.ask("session.ids()") == "[2, 3, 4, 5, 90]"
    # An id that was painted with, as 2 was above, is given to no object of a run: the next test would miss it.
    book.ask("[session.undo() and 0 for _ in range(2)]")


def test_an_entry_of_the_history_jumps_to_its_place_by_mouse_and_keyboard(book: Notebook) -> None:
    book.ask("[session.paint([[3 + k, 150, 30 + 20 * k]], id=70 + k, radius=4) and 0 for k in range(12)]")
    book.page.locator(".mnb-app .lm-TabBar-tab", has_text="History").click()
    entries = book.page.locator(".mnb-app .mnb-entry")
    entries.filter(has_text="painted object 72").click()
    book.wait(f"{ROOT}.dataset.plane === 'xy/5' && {VIEW}.place?.join() === '5,150,70'")
    # Below it is the older one; Tab comes back to the entry that was left.
    book.page.keyboard.press("Shift+Tab")
    assert "copy as a cell" in book.js("document.activeElement.textContent")
    book.page.keyboard.press("Tab")
    book.page.keyboard.press("ArrowDown")
    assert "painted object 71" in book.js("document.activeElement.textContent")
    book.page.keyboard.press("Enter")
    book.wait(f"{ROOT}.dataset.plane === 'xy/4' && {VIEW}.place?.join() === '4,150,50'")
    book.page.keyboard.press("Home")
    book.page.keyboard.press("Enter")
    book.wait(f"{ROOT}.dataset.plane === 'xy/14'")
    for _ in range(12):
        book.page.keyboard.press("ArrowDown")
    # That was the run that every test begins with.
    book.page.keyboard.press("Enter")
    book.wait("document.querySelector('.mnb-app').textContent.includes('it was about all labels')")
    assert book.js(f"{ROOT}.dataset.plane") == "xy/14"
    book.shot(SHOTS / "history.png")
    book.page.locator(".mnb-app .lm-TabBar-tab", has_text="Objects").click()


def test_rows_are_chosen_found_filtered_and_deleted(book: Notebook) -> None:
    keyboard = book.page.keyboard
    count = "jupyterapp.shell.currentWidget.model.cells.length"
    cells = book.js(count)
    table = book.page.locator(".mnb-app .mnb-table")
    table.scroll_into_view_if_needed()

    def shows(*ids: int) -> None:
        rows = "[...document.querySelectorAll('.mnb-app .mnb-table .row')].map(n => +n.dataset.id).join()"
        book.wait(f"{rows} === '{','.join(map(str, ids))}'")

    def chosen(*ids: int) -> None:
        book.wait(f"{VIEW}.get('selected').join() === '{','.join(map(str, ids))}'")

    def click_row(id: int, *keys: str) -> None:
        table.locator(f".row[data-id='{id}'] span:nth-child(3)").click(modifiers=list(keys))

    shows(1, 2, 3, 4, 5)
    click_row(2)
    chosen(2)
    book.wait(f"{ROOT}.dataset.plane === 'xy/4'")
    click_row(4, "Control")
    chosen(2, 4)
    click_row(5, "Shift")
    chosen(4, 5)
    click_row(2, "Control", "Shift")
    chosen(5, 4, 3, 2)
    keyboard.press("Shift+ArrowUp")
    chosen(4, 3, 2, 1)
    assert book.js(f"{ROOT}.dataset.plane") == "xy/4", "who chooses several rows is not taken away"
    assert "5 objects; 4 selected; Delete deletes" in table.inner_text()
    book.shot(SHOTS / "table-chosen.png")
    # The header that was pressed keeps the focus.
    table.locator(".head button").first.click()
    table.locator(".head button").first.click()
    shows(5, 4, 3, 2, 1)
    assert book.js("document.activeElement.textContent") == "object ▾"
    table.locator(".head button").nth(1).click()
    # Ctrl-A takes what a filter leaves, and the notebook hears nothing of it.
    table.get_by_label("Column to filter by").select_option(label="voxels")
    table.get_by_label("Filter: from").fill("7200")
    table.get_by_label("Filter: to").fill("12000")
    shows(2, 3, 4)
    assert "3 of 5 objects; 4 selected (1 not shown)" in table.inner_text()
    table.locator(".body").focus()
    keyboard.press("Control+a")
    chosen(2, 3, 4)
    book.shot(SHOTS / "table-filtered.png")
    table.get_by_role("button", name="show all").click()
    shows(1, 2, 3, 4, 5)
    table.get_by_label("Find objects").fill("4, 5")
    shows(4, 5)
    table.get_by_label("Find objects").fill("8")
    shows()
    assert "No object matches." in table.inner_text()
    table.get_by_label("Find objects").fill("voxels < 10000, not at border")
    shows(3, 4, 5)
    table.get_by_label("Find objects").fill("voxels > 10000 and at border")
    shows(1)
    table.get_by_label("Find objects").fill("voxels <= 12000 <b>")
    shows()
    assert '"voxels <= 12000 <b>" is no condition: say voxels < 500.' in table.inner_text()
    table.get_by_label("Find objects").fill("voxels <= 12000, not at border")
    table.get_by_role("button", name="select these").click()
    chosen(2, 3, 4, 5)
    # What is done then is done to all of them: the keys of the viewer work from the table, too.
    keyboard.press("k")
    book.wait(f"{VIEW}.get('marks').locked?.join() === '2,3,4,5'")
    book.shot(SHOTS / "table-conditions.png")
    keyboard.press("Shift+K")
    book.wait(f"!{VIEW}.get('marks').locked?.length")
    table.get_by_label("Find objects").fill("3")
    keyboard.press("Enter")
    chosen(3)
    shows(3)
    book.wait(f"{ROOT}.dataset.plane === 'xy/6'")
    # What is typed deletes digits, not objects.
    keyboard.press("Delete")
    keyboard.press("Backspace")
    shows(1, 2, 3, 4, 5)
    click_row(5, "Control")
    keyboard.press("Delete")
    shows(1, 2, 4)
    assert book.ask("session.ids(), session.history()[-1].text") == "[1, 2, 4] deleted objects 3, 5"
    assert "Deleted objects 3, 5." in table.inner_text()
    book.shot(SHOTS / "table-deleted.png")
    table.get_by_role("button", name="Undo").click()
    shows(1, 2, 3, 4, 5)
    assert not table.get_by_role("button", name="Undo").is_visible()
    # A refusal is read above the table: the object has gone meanwhile.
    book.ask("(session.select(4), session.adopt(np.where(labels == 4, 0, labels), replace_corrected=True))")
    book.js("document.querySelector('.mnb-app .mnb-table .body').focus()")
    shows(1, 2, 3, 5)
    keyboard.press("Delete")
    assert "Select the objects to delete first" in table.inner_text()
    assert book.js(count) == cells


def test_the_history_is_copied_as_a_cell_that_makes_the_same_labels(book: Notebook) -> None:
    book.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    book.ask("(session.merge(1, 2), session.split(3, (5, 50, 140), (5, 50, 160)))")
    book.page.locator(".mnb-app .lm-TabBar-tab", has_text="History").click()
    button = book.page.get_by_role("button", name="copy as a cell")
    button.click()
    book.wait("document.querySelector('.mnb-app').textContent.includes('Copied: paste it into a cell.')")
    assert "in memory only" in book.page.evaluate("navigator.clipboard.readText()")
    button.click()
    book.ask("session.save_as('cell.mitonb') and 0")
    button.click()
    book.wait("document.querySelector('.mnb-app textarea[title^=\"The edits\"]')?.value.includes('project = mn.')")
    book.shot(SHOTS / "history-cell.png")
    copied = book.page.evaluate("navigator.clipboard.readText()")
    assert "session.merge(1, 2)" in copied
    assert (
        book.ask(f"exec({copied!r}, cell := {{}}) or (cell['session'].labels.data == session.labels.data).all()")
        == "True"
    )
    button.click()
    book.page.locator(".mnb-app .lm-TabBar-tab", has_text="Objects").click()
