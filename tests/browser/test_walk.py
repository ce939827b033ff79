"""A walk through the workbench in a real JupyterLab: no key and no click of it may ever reach the notebook.

CI walks in one size and theme; `MITONB_WALK=all pytest tests/browser/test_walk.py` in all four.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("playwright")
pytest.importorskip("torch")

from tests.browser.lab import Lab, poll, why_not
from tests.browser.steps import Quickstart

if TYPE_CHECKING:
    from tests.browser.lab import Theme

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

SHOTS = Path(os.environ.get("MITONB_SHOTS", "artifacts/walk"))
WALKS: list[tuple[int, int, Theme]] = [(1280, 800, "light")]
if os.environ.get("MITONB_WALK") == "all":
    WALKS += [(1280, 800, "dark"), (1920, 1080, "light"), (1920, 1080, "dark")]
# Two objects that touch nothing, in an image that the net finds nothing in but can be run on.
APP = """
import numpy as np, mitonb as mn
from mitonb.stack import Stack
z, y, x = np.mgrid[:8, :96, :128]
image = (128 + 60 * np.sin(x / 7) * np.cos(y / 9) + 5 * z).astype(np.uint8)
labels = np.zeros(image.shape, np.uint32)
labels[:, 20:40, 20:50] = 1
labels[:, 20:40, 60:90] = 2
path = "walk.mitonb"
app = mn.explore(Stack(image, (30.0, 5.0, 5.0), "drawn"), labels, path=path)
app
"""
MORE = ".mnb-app .widget-toggle-button.mnb-link"
VIEWER = "document.querySelector('.mnb-app .mitonb-viewer')"
VIEW = f"{VIEWER}.mitonb"
READY = f"{VIEWER}?.dataset.state === 'ready' && {VIEWER}.dataset.pending === '0'"


class User(Quickstart):
    """Whoever works in the workbench."""

    def cells(self) -> list[list[str]]:
        """Return type and source of each cell."""
        found: list[list[str]] = self.book.js(
            "jupyterapp.shell.currentWidget.model.sharedModel.toJSON().cells"
            ".map(c => [c.cell_type, [].concat(c.source).join('')])"
        )
        return found

    def trait(self, name: str) -> Any:
        """Return a trait of the viewer, as the page has it."""
        return self.book.js(f"{VIEW}.get('{name}')")

    def at(self, selector: str, *, nth: int = 0) -> tuple[float, float]:
        """Scroll a visible element into the window and return its middle."""
        x, y = self.book.js(
            """([s, n]) => { const node = [...document.querySelectorAll(s)].filter(f => f.checkVisibility())[n];
                node.scrollIntoView({block: 'center'});
                const r = node.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; }""",
            [selector, nth],
        )
        return x, y

    def click_on(self, selector: str, *, nth: int = 0, button: Any = "left") -> None:
        """Click on the middle of an element."""
        self.book.page.mouse.click(*self.at(selector, nth=nth), button=button)

    def within(self, part: str, where: str) -> tuple[float, float]:
        """Scroll the start, center or end of a part into the window and return a point of it that is seen there.

        A part grows while its views come from the kernel one by one, and may leave the window again by that.
        """
        point = """([s, where]) => { const part = document.querySelector(s);
            part.scrollIntoView({block: where});
            const {x, y, width, height, right, bottom} = part.getBoundingClientRect();
            const at = {start: [x + 3, y + 3], center: [x + width / 2, y + height / 2], end: [right - 4, bottom - 4]};
            return part.contains(document.elementFromPoint(...at[where])) && at[where]; }"""
        x, y = poll(lambda: self.book.js(point, [part, where]), lambda: f"the {where} of {part} is not seen", 30)
        return x, y

    def controls(self, part: str) -> list[str]:
        """Number the visible controls of a part that can have the focus (`[data-walk="3"]`) and return their names."""
        names: list[str] = self.book.js(
            """part => [...document.querySelectorAll(`${part} *`)]
                .filter(n => n.tabIndex >= 0 && !n.disabled && n.checkVisibility())
                .map((n, i) => { n.dataset.walk = i;
                    return `${n.tagName} ${n.ariaLabel || n.title || n.textContent}`.slice(0, 60); })""",
            part,
        )
        return names

    def unharmed(self, cells: list[list[str]], where: str) -> None:
        """Fail if the notebook has changed."""
        assert self.cells() == cells, where
        assert self.book.js("document.querySelectorAll('.jp-Dialog, .lm-Menu').length") == 0, where
        assert self.book.js("jupyterapp.shell.currentWidget.content.mode") == "command", where


@pytest.fixture(scope="module", params=WALKS, ids=lambda walk: "-".join(map(str, walk)))
def user(lab: Lab, request: pytest.FixtureRequest) -> User:
    width, height, theme = request.param
    source = APP.replace("walk.mitonb", f"walk-{width}-{theme}.mitonb")
    cells = [source, "1 + 1", "# the last"]
    book = lab.notebook(cells, name=f"{width}-{theme}.ipynb", width=width, height=height, theme=theme)
    book.run(timeout=180)
    book.wait(READY, 120)
    return User(book, SHOTS / f"{width}-{theme}")


def look(user: User, tool: str = "look") -> None:
    """Start from plane 4 and a tool, with nothing selected, and the focus in the viewer."""
    user.book.js(f"{VIEW}.go(4); {VIEW}.picture.fit(); {VIEW}.set('tool', '{tool}'); {VIEW}.set('selected', [])")
    user.book.js(f"{VIEW}.setLayer('labels', {{visible: true}}); {VIEWER}.focus({{preventScroll: true}})")


def test_no_control_of_the_workbench_lets_a_key_through_to_the_notebook(user: User) -> None:
    cells, keyboard = user.cells(), user.book.page.keyboard
    look(user)
    user.ask("0", after="app.form.more.value = True")
    for tab, part in enumerate([".mnb-app", *[".mnb-app .widget-tab"] * 3]):
        user.click_on(".mnb-app .lm-TabBar-tab", nth=tab)
        controls, gone = user.controls(part), 0
        for number, name in enumerate(controls):
            there = "i => { const n = document.querySelector(`[data-walk='${i}']`); n?.focus(); return Boolean(n); }"
            if not user.book.js(there, number):  # what was typed before drew it anew, as the facts of a model
                gone += 1
                continue
            # What JupyterLab hears in these: another type of cell, new ones, cut, pasted and deleted ones, a dialog.
            keyboard.type("myrabxddvzii00")
            for key in ("Shift+M", "Shift+J", "Delete", "Escape"):
                keyboard.press(key)
            user.unharmed(cells, f"tab {tab}: {name}")
            keyboard.press("p")
            assert user.trait("tool") == "paint", f"tab {tab}: {name}"
        assert gone < len(controls) / 4, f"tab {tab}: {gone} of {len(controls)} controls are gone"
    user.shot("controls")
    user.ask("0", after="app.form.recipe = mn.Recipe()")  # much was typed into its fields


@pytest.mark.parametrize("where", ["slider", "button", "list", "tab", "header"])
def test_the_keys_of_the_help_act_wherever_the_focus_is(user: User, where: str) -> None:
    cells, book, keyboard = user.cells(), user.book, user.book.page.keyboard
    look(user)
    selector = {
        "slider": ".mnb-app .noUi-handle", "button": MORE, "list": ".mnb-app select",
        "tab": ".mnb-app .lm-TabBar-tab", "header": ".mnb-app .mnb-head b",
    }[where]  # fmt: skip
    user.click_on(selector)
    if where == "list":  # its entries are shown, and go again
        keyboard.press("Escape")
    recipe = user.ask("repr(app.form.recipe)")
    for key, tool in zip("pexfljz", ("paint", "erase", "paint", "fill", "pick", "merge", "look"), strict=True):
        keyboard.press(key)
        assert user.trait("tool") == tool, key
    brush, zoom = user.trait("brush"), book.js(f"{VIEW}.picture.camera.scale")
    for key, index in zip(",..,", (3, 4, 5, 4), strict=True):
        keyboard.press(key)
        assert user.trait("index") == index
    keyboard.type("]")
    assert user.trait("brush") == brush + 1
    keyboard.type("[")
    assert user.trait("brush") == brush
    book.wait(f"{VIEW}.store.state.fresh > 0")
    keyboard.press("m")
    fresh = user.trait("active_id")
    keyboard.press("=")
    assert user.trait("active_id") == fresh + 1
    keyboard.press("-")
    for trait, key in (("preserve", "b"), ("layers", "v")):
        before = user.trait(trait)
        keyboard.press(key)
        assert user.trait(trait) != before
        keyboard.press(key)
        assert user.trait(trait) == before
    book.js(f"{VIEW}.picture.look({{...{VIEW}.picture.camera, scale: 9}})")
    keyboard.press("0")
    assert book.js(f"{VIEW}.picture.camera.scale") == zoom
    keyboard.press("?")
    assert book.js(f"{VIEWER}.querySelector('.mitonb-help').checkVisibility()")
    keyboard.press("Escape")
    assert not book.js(f"{VIEWER}.querySelector('.mitonb-help').checkVisibility()")
    user.click_on(selector)
    if where == "list":
        keyboard.press("Escape")
    keyboard.press("n")
    book.wait(f"{VIEW}.get('selected').length === 1")
    keyboard.press("Delete")
    user.wait_for_picture()
    assert len(user.ask("app.session.ids()")) == 1
    keyboard.press("Control+z")
    user.wait_for_picture()
    assert user.ask("app.session.ids()") == [1, 2]
    keyboard.press("Escape")
    assert user.ask("repr(app.form.recipe)") == recipe
    user.unharmed(cells, where)


def test_a_slider_keeps_its_arrows_and_a_text_field_its_letters(user: User) -> None:
    cells, book, keyboard = user.cells(), user.book, user.book.page.keyboard
    look(user)
    camera = book.js(f"{VIEW}.picture.camera")
    value = user.ask("app.form.recipe.semantic_threshold")
    user.click_on(".mnb-field-semantic_threshold .noUi-handle")
    keyboard.press("ArrowRight")
    keyboard.press("ArrowRight")
    poll(lambda: user.ask("app.form.recipe.semantic_threshold") > value, "the slider does not move", 30)
    keyboard.press("ArrowLeft")
    keyboard.press("ArrowLeft")
    poll(lambda: user.ask("app.form.recipe.semantic_threshold") == value, "the slider does not move back", 30)
    assert book.js(f"{VIEW}.picture.camera") == camera
    tool, ids = user.trait("tool"), user.ask("app.session.ids()")
    user.click_on(".mnb-app .lm-TabBar-tab", nth=3)
    user.click_on(".mnb-app .widget-tab input.widget-input")
    keyboard.press("Control+a")
    keyboard.type("pm x.tif")
    keyboard.press("Backspace")
    keyboard.press("Enter")
    assert book.js("document.activeElement.value") == "pm x.ti"
    keyboard.press("Escape")
    keyboard.press("Escape")
    assert (user.trait("tool"), user.ask("app.session.ids()")) == (tool, ids)
    keyboard.press("e")
    assert user.trait("tool") == "erase"
    # On the way with Tab, Enter and Space press the button that has the focus.
    user.click_on(".mnb-app .lm-TabBar-tab", nth=2)
    user.click_on(".mnb-app .widget-tab .widget-toggle-button")
    keyboard.press("Shift+Tab")
    keyboard.press("Tab")
    keyboard.press("Enter")
    book.wait("!document.querySelector('.mnb-app .widget-tab textarea').checkVisibility()")
    user.click_on(".mnb-app .lm-TabBar-tab", nth=0)
    user.unharmed(cells, "text")


def test_enter_segments_from_a_slider_and_after_a_click_and_the_keys_go_on_after_apply(user: User) -> None:
    cells, keyboard = user.cells(), user.book.page.keyboard
    look(user)
    for selector in (".mnb-app .noUi-handle", MORE):
        user.click_on(selector)
        before = user.ask("id(app.run_bar.job)")
        keyboard.press("Enter")
        poll(
            lambda before=before: user.ask("id(app.run_bar.job)") != before,
            lambda selector=selector: f"Enter on {selector} runs nothing: {user.ask('app.run_bar.message.value')}", 30,
        )  # fmt: skip
        user.wait_for_run()
    # A preview, and Apply: its button is switched off while it has the focus.
    user.click_on(".mnb-field-semantic_threshold .noUi-handle")
    for _ in range(12):
        keyboard.press("ArrowRight")
    poll(lambda: user.ask("app.viewer.preview('xy', 4) is not None"), "no preview", 60)
    user.press("Apply to this plane")
    poll(lambda: user.ask("app.viewer.preview('xy', 4) is None"), "Apply does nothing", 60)
    user.wait_for_picture()
    keyboard.type("yddp")
    assert user.trait("tool") == "paint"
    for _ in range(3):
        keyboard.press("Control+z")
    user.wait_for_picture()
    assert user.ask("app.session.ids()") == [1, 2]
    user.ask("0", after="app.form.recipe = mn.Recipe()")
    user.unharmed(cells, "Apply")


@pytest.mark.parametrize("how", ["disabled", "hidden", "gone"])
def test_the_keys_go_on_when_the_control_that_had_the_focus_is_lost(user: User, how: str) -> None:
    cells, keyboard = user.cells(), user.book.page.keyboard
    look(user)
    user.book.js("s => document.querySelector(s).focus()", MORE)
    lose, bring_back = {
        "disabled": ("app.form.more.disabled = True", "app.form.more.disabled = False"),
        "hidden": ("app.form.layout.display = 'none'", "app.form.layout.display = ''"),
        "gone": ("parts = app.form.children; app.form.children = parts[:1]", "app.form.children = parts"),
    }[how]
    user.ask("0", after=lose)
    user.book.wait("document.activeElement === document.body")
    keyboard.type("mddp")
    assert user.trait("tool") == "paint"
    keyboard.press("z")
    user.ask("0", after=bring_back)
    user.book.wait(f"document.querySelector('{MORE}')?.checkVisibility()")
    user.unharmed(cells, how)


def test_a_click_on_anything_of_the_workbench_leaves_the_keys_with_it(user: User) -> None:
    cells, book, mouse = user.cells(), user.book, user.book.page.mouse
    look(user)
    spots = book.js("""() => {
        const spots = [], app = document.querySelector('.mnb-app'), r = app.getBoundingClientRect();
        const others = '.mitonb-stage, button, input, select, [contenteditable]';
        for (let y = 6; y < innerHeight; y += 36) for (let x = r.x + 6; x < r.right; x += 90) {
            const node = document.elementFromPoint(x, y);
            if (app.contains(node) && !node.closest(others)) spots.push([x, y]);
        }
        return spots; }""")
    assert len(spots) > 20
    for x, y in spots:
        for button in ("right", "left"):
            book.js("document.querySelector('.jp-Cell').focus({preventScroll: true})")
            mouse.click(x, y, button=button)
            book.page.keyboard.press("Escape")
            book.page.keyboard.type("ddp")
            assert user.trait("tool") == "paint", (x, y, button)
            book.page.keyboard.press("Escape")
        user.unharmed(cells, f"({x}, {y})")
    assert book.js("jupyterapp.shell.currentWidget.content.selectedCells.length") == 1


def test_no_menu_of_the_notebook_opens_where_one_right_clicks_or_right_drags(user: User) -> None:
    cells, book, mouse = user.cells(), user.book, user.book.page.mouse
    look(user)
    camera = book.js(f"{VIEW}.picture.camera")
    user.click_on(".mnb-app .lm-TabBar-tab")
    for selector in (".mitonb-stage", ".noUi-handle", ".mnb-head", ".mnb-table .body"):
        user.click_on(f".mnb-app {selector}", button="right")
        user.unharmed(cells, selector)
    x, y = user.at(".mnb-app .mitonb-stage")
    mouse.move(x, y)
    mouse.down(button="right")
    mouse.move(x + 40, y + 20, steps=4)
    assert book.js(f"{VIEW}.picture.camera") != camera
    # Windows opens the menu where the button is let go: here, over another cell.
    book.js("""document.querySelectorAll('.jp-Cell')[1].dispatchEvent(
        new MouseEvent('contextmenu', {bubbles: true, cancelable: true, button: 2}))""")
    mouse.up(button="right")
    user.unharmed(cells, "right-drag")
    # In the cell itself the notebook's menu is as it was.
    user.click_on(".jp-Cell .jp-InputPrompt", nth=1, button="right")
    book.wait("document.querySelectorAll('.lm-Menu').length > 0")
    book.page.keyboard.press("Escape")
    book.wait("document.querySelectorAll('.lm-Menu').length === 0")


def test_every_control_has_a_name_and_shows_that_it_has_the_focus(user: User) -> None:
    book = user.book
    look(user, "paint")
    user.ask("0", after="app.form.more.value = True")
    book.wait("document.querySelector('.mnb-app .mnb-field-batch .noUi-handle').checkVisibility()")
    page = book.page.context.new_cdp_session(book.page)
    roles = {"slider", "spinbutton", "textbox", "combobox", "checkbox", "button", "tab", "listbox", "switch"}
    for tab in range(4):
        user.click_on(".mnb-app .lm-TabBar-tab", nth=tab)
        app = page.send("Runtime.evaluate", {"expression": "document.querySelector('.mnb-app')"})["result"]["objectId"]
        nodes = [
            node for role in roles
            for node in page.send("Accessibility.queryAXTree", {"objectId": app, "role": role})["nodes"]
            if not node["ignored"]
        ]  # fmt: skip
        assert len(nodes) > 30
        nameless = [node["backendDOMNodeId"] for node in nodes if not node.get("name", {}).get("value")]
        assert [page.send("DOM.describeNode", {"backendNodeId": i})["node"].get("attributes") for i in nameless] == []
        unseen = book.js("""() => [...document.querySelectorAll('.mnb-app *')]
            .filter(n => n.tabIndex >= 0 && !n.disabled && n.checkVisibility() && !n.matches('.mitonb-viewer'))
            .filter(n => {
                n.focus({focusVisible: true});
                const {outlineStyle, outlineWidth, boxShadow} = getComputedStyle(n);
                return (outlineStyle === 'none' || parseFloat(outlineWidth) < 1.5) && !boxShadow.includes('2px');
            }).map(n => n.outerHTML.slice(0, 120))""")
        assert unseen == []
    user.click_on(".mnb-app .lm-TabBar-tab")


def test_help_and_history_are_scrolled_by_the_keyboard(user: User) -> None:
    book, keyboard = user.book, user.book.page.keyboard
    look(user)
    user.ask("0", after="for k in range(40): app.session.paint([[0, 80, 3 * k + 2]], id=7, radius=1)")
    user.ask("app.wait(60)")
    user.click_on(".mnb-app .lm-TabBar-tab", nth=2)
    book.wait("[...document.querySelectorAll('.mnb-app .mnb-entry')].filter(n => n.checkVisibility()).length >= 40")
    user.click_on(".mnb-app .mnb-entry")
    scrolled = """() => [...document.querySelectorAll('.mnb-app *')].filter(n => n.contains(
        document.querySelector('.mnb-app .mnb-entry')) && n.scrollTop > 0).length > 0"""
    keyboard.press("PageDown")
    poll(lambda: book.js(scrolled), "the history does not scroll", 30)
    look(user)
    user.show()
    keyboard.press("?")
    user.shot("help")
    book.js(f"{VIEWER}.querySelector('.mitonb-help').style = 'max-height: 90px; columns: auto'")
    keyboard.press("PageDown")
    book.wait(f"{VIEWER}.querySelector('.mitonb-help').scrollTop > 0")
    keyboard.press("Escape")
    book.js(f"{VIEWER}.querySelector('.mitonb-help').style = ''")
    assert book.js(f"document.activeElement === {VIEWER}")
    for _ in range(40):
        user.ask("app.session.undo() and 0")
    user.click_on(".mnb-app .lm-TabBar-tab")


def test_reload_restart_and_another_run_leave_notebook_and_labels_as_they_were(user: User) -> None:
    cells, book, keyboard = user.cells(), user.book, user.book.page.keyboard
    look(user)
    keyboard.press("n")
    book.wait(f"{VIEW}.get('selected').length === 1")
    keyboard.press("Delete")
    user.wait_for_picture()
    labels = user.ask("app.session.ids()"), user.digest()
    assert len(labels[0]) == 1
    book.command("docmanager:save")
    book.reload()
    book.wait(READY, 120)
    assert (user.ask("app.session.ids()"), user.digest()) == labels
    user.unharmed(cells, "reload")
    user.shot("reloaded")
    user.click_on(".mnb-app .noUi-handle")
    keyboard.type("myrabxdd")
    user.unharmed(cells, "keys after a reload")
    book.restart_kernel()
    book.wait("document.querySelector('.mnb-app.jupyter-widgets-disconnected')")
    # No sign of ipywidgets' own above it, which would move the picture.
    assert book.js("getComputedStyle(document.querySelector('.mnb-app'), '::before').content") == "none"
    user.click_on(".mnb-app .noUi-handle")
    keyboard.type("myrabxdd")
    keyboard.press("Delete")
    user.unharmed(cells, "keys without a kernel")
    user.shot("restarted")
    book.run(0, timeout=180)
    book.wait(READY, 120)
    assert (user.ask("app.session.ids()"), user.digest()) == labels
    user.click_on(".mnb-app .noUi-handle")
    keyboard.press("Control+z")
    user.wait_for_picture()
    poll(lambda: user.ask("app.session.ids()") == [1, 2], "Ctrl-Z does not bring the object back", 30)
    user.unharmed(cells, "another run")
    user.shot("ran-again")


PARTS = {
    "viewer": "mn.view(app.session.stack, app.session.labels, height=300)",
    "table": "mn.show_table(app.session)",
    "objects in 3D": "mn.show3d(app.session.labels, height=240)",
    "form to open": "mn.open_form()",
    "recipe": "RecipeForm()",
    "run bar": "RunBar()",
    "history": "HistoryView(app.session)",
    "form to save": "SaveForm(print)",
    "voxel size": "VoxelSizeField()",
    "boxed": "widgets.VBox([Viewer(app.session, height=300), ObjectsTable(app.session)])",
}


def test_every_part_keeps_its_keys_and_its_clicks_also_when_it_stands_alone(user: User) -> None:
    book, keyboard, mouse = user.book, user.book.page.keyboard, user.book.page.mouse
    imports = """
import ipywidgets as widgets
from mitonb.widgets.forms import RecipeForm, SaveForm, VoxelSizeField
from mitonb.widgets.objects_table import ObjectsTable
from mitonb.widgets.runs import HistoryView, RunBar
from mitonb.widgets.viewer import Viewer
"""
    index = book.add(imports)
    for name, source in PARTS.items():
        index = book.add(source)
        part = f".jp-Cell:nth-child({index + 1}) .jp-OutputArea-output :is(.mnb, .mitonb-viewer)"
        book.wait(f"document.querySelector({part!r})?.dataset.guarded === 'true'")
        cells = user.cells()
        for button in ("left", "right"):
            book.js("document.querySelector('.jp-Cell').focus({preventScroll: true})")
            mouse.click(*user.within(part, "center"), button=button)
            keyboard.press("Escape")
            keyboard.type("myrabxddvzii00")
            user.unharmed(cells, name)
        controls = user.controls(part)
        assert not [control for control in controls if control.endswith(" value")], name
        for number, control in enumerate(controls):
            book.js("i => document.querySelectorAll(`[data-walk='${i}']`).forEach(n => n.focus())", number)
            keyboard.type("mydd")
            user.unharmed(cells, f"{name}: {control}")
        for where in ("start", "end"):
            book.js("document.querySelector('.jp-Cell').focus({preventScroll: true})")
            mouse.click(*user.within(part, where))
            keyboard.press("Escape")
            keyboard.type("mydd")
            user.unharmed(cells, f"{name}, its {where}")
        if name != "boxed":
            book.js("i => jupyterapp.shell.currentWidget.model.sharedModel.deleteCell(i)", index)
    # A box that the user made: the viewer in it hears what is pressed in the table beside it.
    user.click_on(f"{part} .body")
    keyboard.press("p")
    viewer = "document.activeElement.closest('.jp-Cell').querySelector('.mitonb-viewer').mitonb"
    assert book.js(f"{viewer}.get('tool')") == "paint"
    for _ in range(2):
        book.js("i => jupyterapp.shell.currentWidget.model.sharedModel.deleteCell(i)", index)
        index -= 1
