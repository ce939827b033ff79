"""What one looks at, and never changes by looking: hidden objects, places, compared labels; in a real JupyterLab."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("playwright")
pytest.importorskip("torch")

from tests.browser.lab import Lab, poll, why_not
from tests.browser.steps import VIEWER, Quickstart

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

# Grey, so that whatever has a colour is an object; 1 and 2 touch each other.
APP = """
import numpy as np, mitonb as mn
from mitonb.stack import Stack
labels = np.zeros((8, 96, 128), np.uint32)
labels[1:7, 20:40, 20:50] = 1
labels[1:7, 20:40, 50:80] = 2
labels[3:5, 60:80, 90:110] = 3
image = np.full(labels.shape, 128, np.uint8)
app = mn.explore(Stack(image, (30.0, 5.0, 5.0), "drawn"), labels)
app
"""
VIEW = f"document.querySelector({VIEWER!r}).mitonb"
SEEN = f"{VIEWER} .mitonb-chip-bar"
BAR = f"{SEEN}[role=group]"


@pytest.fixture(scope="module")
def whole(lab: Lab) -> Quickstart:
    book = lab.notebook([APP, "1 + 1"], timeout=180)
    book.run(timeout=180)
    user = Quickstart(book, lab.folder)
    user.wait_for_picture()
    return user


@pytest.fixture
def user(whole: Quickstart) -> Quickstart:
    """A user who looks at xy plane 4, with everything shown and nothing selected."""
    whole.book.js(f"{VIEW}.set('axis', 'xy'); {VIEW}.go(4); {VIEW}.set('selected', []); {VIEW}.set('comparison', '')")
    whole.book.js(f"{VIEW}.set('panes', 1); {VIEW}.commands.showAll()")
    whole.focus()
    return whole


def pixel(user: Quickstart, row: int, column: int, dx: float = 0) -> list[int]:
    """Return what is drawn at a pixel of the plane, or so much of a pixel right of its middle: r, g, b."""
    found: list[int] = user.book.js(
        """([row, column]) => { const {picture} = document.querySelector('.mitonb-viewer').mitonb;
            const {renderer: {gl}, unit, canvas: {height}} = picture;
            picture.draw();
            const [x, y] = picture.screen(column, row), out = new Uint8Array(4);
            gl.readPixels(Math.round(x * unit), Math.round(height - y * unit), 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, out);
            return [...out].slice(0, 3); }""",
        [row, column + dx],
    )
    return found


def colored(user: Quickstart, row: int, column: int) -> bool:
    """Whether an object is seen at a pixel of the plane."""
    seen = pixel(user, row, column)
    return max(seen) - min(seen) > 8


def said(user: Quickstart, selector: str) -> str:
    """Return the text of an element while it is seen, else ""."""
    text: str = user.book.js(
        "s => { const n = document.querySelector(s); return n?.checkVisibility() ? n.textContent : ''; }", selector
    )
    return text


def trait(user: Quickstart, name: str) -> Any:
    return user.ask(f"app.viewer.{name}")


def trait_soon(user: Quickstart, name: str, value: Any) -> bool:
    """Wait until a trait has a value: the page keeps what it set back until the kernel is idle."""
    return bool(poll(lambda: trait(user, name) == value, lambda: f"{name} is {trait(user, name)!r}", 10))


def test_selected_objects_are_hidden_or_stand_alone_and_nothing_hidden_is_changed(user: Quickstart) -> None:
    before = user.digest()
    user.click(30, 30)
    user.keys("h")
    assert (colored(user, 30, 30), colored(user, 30, 70)) == (False, True)
    assert said(user, SEEN) == "Object 1 hiddenShow all"
    user.click(30, 30)
    poll(lambda: trait(user, "hidden") == [1] and not trait(user, "selected"), "a hidden object is not selected", 10)
    user.keys("f")
    user.click(30, 30)
    assert "is hidden" in said(user, f"{VIEWER} .mitonb-notice")
    user.keys("Escape", "Escape")
    assert colored(user, 30, 30)
    assert not said(user, SEEN)
    user.click(30, 70)
    user.keys("Shift+H")
    assert (colored(user, 30, 30), colored(user, 30, 70)) == (False, True)
    assert said(user, SEEN) == "Only object 2 shownShow all"
    assert user.digest() == before
    # A new label is seen as soon as it is painted with, and paints over nothing hidden.
    user.keys("m", "p")
    user.drag((30, 25), (30, 45))
    user.drag((50, 25), (50, 45))
    user.wait_for_picture()
    assert (colored(user, 30, 30), colored(user, 50, 30)) == (False, True)
    assert user.ask("app.session.pick(4, 30, 30)") == 1
    user.ask("0", after="app.session.undo()")
    user.keys("Escape", "Escape")
    assert colored(user, 30, 30)
    assert trait_soon(user, "isolated", [])
    assert user.digest() == before


def test_hidden_objects_are_hidden_in_3d_too(user: Quickstart) -> None:
    user.ask("0", after="app.view3d.refresh(); app.view3d.wait(60); app.session.select(1)")
    user.book.wait(f"{VIEW}.get('selected')[0] === 1")
    user.keys("Shift+H")
    shown = "[key for key, mesh in sorted(app.view3d.meshes.items()) if mesh.visible]"
    poll(lambda: user.ask(shown) == [1], lambda: f"shown: {user.ask(shown)}", 10)
    # Who goes on to another object sees that one alone.
    user.ask("0", after="app.session.go_to(3)")
    poll(lambda: user.ask(shown) == [3], lambda: f"shown: {user.ask(shown)}", 10)
    user.book.wait(f"{VIEW}.seen.shows(3) && !{VIEW}.seen.shows(1)")
    user.book.page.click(f"{SEEN} button")
    poll(lambda: user.ask(shown) == [1, 2, 3], lambda: f"shown: {user.ask(shown)}", 10)


def test_a_key_zooms_to_the_selected_objects_and_another_one_to_all(user: Quickstart) -> None:
    user.click(70, 100)
    whole = user.book.js(f"{VIEW}.picture.camera.scale")
    user.keys("9")
    user.book.wait(f"{VIEW}.picture.camera.scale > 1.2 * {whole}")
    x, y = user.book.js(f"[{VIEW}.picture.camera.x, {VIEW}.picture.camera.y]")
    assert (x, y) == (100, 70)
    assert user.plane() == ("xy", 4)
    user.keys("0")
    user.book.wait(f"{VIEW}.picture.camera.scale === {whole}")


def test_a_place_is_gone_to_by_typing_and_copied_as_a_line_of_code(user: Quickstart) -> None:
    page, notice = user.book.page, f"{VIEWER} .mitonb-notice"
    user.keys("/")
    assert page.evaluate("document.activeElement.className") == "mitonb-goto"
    page.keyboard.type("3 70 200")
    user.keys("Enter")
    assert said(user, notice) == "x is 0 to 127 in this volume, got 200."
    page.keyboard.type("x 100 y 70 z 3")
    user.keys("Enter")
    user.book.wait(f"document.querySelector({VIEWER!r}).dataset.plane === 'xy/3'")
    poll(lambda: user.ask("app.session.position") == (3, 70, 100), "the session is not there", 10)
    # The keys belong to the picture again.
    user.keys("/")
    page.keyboard.type("77")
    user.keys("Enter")
    poll(lambda: said(user, notice) == "There is no object 77 in these labels.", lambda: said(user, notice), 10)
    user.keys("/")
    page.keyboard.type("2")
    user.keys("Enter")
    poll(lambda: trait(user, "selected") == [2], "object 2 is not selected", 10)
    user.keys("/", "Escape", "Shift+Y")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.mouse.move(*user.spot(0, 0))  # beside the zoomed object: the pointer says which place
    user.keys("Escape", "0", "Shift+Y")
    user.book.wait(f"document.querySelector({notice!r}).textContent.startsWith('Copied: app.session.move_to(')")
    assert page.evaluate("navigator.clipboard.readText()") == f"app.session.move_to({user.plane()[1]}, 0, 0)"
    before = user.book.js("jupyterapp.shell.currentWidget.model.cells.length")
    user.ask("0", after="app.session.move_to(6, 1, 1)")
    user.book.wait(f"document.querySelector({VIEWER!r}).dataset.plane === 'xy/6'")
    assert before == 2, "no key reached the notebook"


def test_two_label_sets_are_compared_by_a_curtain_by_blinking_and_by_their_difference(user: Quickstart) -> None:
    before = user.digest()
    user.keys("a")
    notice = f"{VIEWER} .mitonb-notice"
    poll(lambda: "no run yet to compare with" in said(user, notice), lambda: said(user, notice), 10)
    # Object 1 is missing there, 2 has another number, and there is one more.
    user.ask("0", after="b = np.where(labels == 2, 9, 0); b[:, 60:80, 10:40] = 5; app.compare(b, name='recipe B')")
    user.book.wait(f"{VIEW}.picture.renderer.parts.other?.entry")
    # The curtain hangs in the middle: what was there is left of it, what is there is right of it.
    assert (colored(user, 30, 30), colored(user, 70, 20), colored(user, 70, 100)) == (True, False, False)
    assert said(user, f"{VIEWER} .mitonb-divider") == "nowrecipe B"
    user.book.js("document.querySelector('.mitonb-divider').focus()")
    user.keys("Home")
    assert (colored(user, 30, 30), colored(user, 70, 20)) == (False, True)
    user.keys("End")
    assert (colored(user, 30, 30), colored(user, 70, 20)) == (True, False)
    user.keys("a")
    assert trait_soon(user, "comparison", "blink")
    assert colored(user, 70, 20) is False
    user.keys("Shift+A")  # by hand: this browser wants things to keep still
    assert (said(user, f"{BAR} > span"), colored(user, 70, 20)) == ("recipe B", True)
    user.keys("a")
    assert trait_soon(user, "comparison", "difference")
    # 2 is the same object under another number; 1 is only here, the new one only there.
    assert [colored(user, *at) for at in ((30, 30), (30, 70), (70, 20))] == [True, False, True]
    user.book.page.mouse.move(*user.spot(30, 30))
    assert "recipe B: background" in said(user, f"{VIEWER} .mitonb-readout")
    user.keys("Escape")
    assert trait_soon(user, "comparison", "")
    assert said(user, BAR) == ""
    # Who paints sees what is painted.
    user.keys("a", "p")
    user.drag((85, 60), (85, 70))
    assert trait_soon(user, "comparison", "")
    user.wait_for_picture()
    user.ask("0", after="app.session.undo()")
    assert user.digest() == before


def test_touching_objects_are_told_apart_and_labels_drawn_stronger_or_fainter(user: Quickstart) -> None:
    inside, gap = pixel(user, 30, 45), pixel(user, 30, 49, dx=0.5)
    assert max(gap) < 0.5 * max(inside), "a dark gap between 1 and 2"
    user.keys("}", "}", ">", ">")
    user.book.wait(f"{VIEW}.get('layers').labels.opacity === 0.65 && {VIEW}.get('layers').labels.width === 2.5")
    assert max(pixel(user, 30, 45)) - min(pixel(user, 30, 45)) > max(inside) - min(inside)
    user.keys("{", "{", "<", "<")
    user.book.wait(f"{VIEW}.get('layers').labels.opacity === 0.45 && {VIEW}.get('layers').labels.width === 1.5")


def test_planes_of_all_directions_go_through_one_place_and_each_can_be_painted_on(user: Quickstart) -> None:
    before = user.digest()

    def pane(axis: str) -> dict[str, float]:
        box = user.book.page.locator(f"{VIEWER} .mitonb-pane[data-pane={axis}]").bounding_box()
        assert box is not None
        return box  # type: ignore[return-value]

    user.keys("4")
    stage = user.book.page.locator(f"{VIEWER} .mitonb-stage")
    user.book.wait(f"{VIEW}.panes.list.every(p => p.picture.current) && {VIEW}.panes.list.length === 3")
    user.ask("0", after="app.session.move_to(4, 30, 60)")
    user.book.wait(f"{VIEW}.panes.index('xz') === 30 && {VIEW}.panes.index('yz') === 60")
    assert said(user, f"{VIEWER} .mitonb-stage .mitonb-tag") == "xy  z 4"
    assert said(user, f"{VIEWER} [data-pane=xz] .mitonb-tag") == "xz  y 30"
    # The contrast of one direction may be another.
    window = f"{VIEW}.panes.list.map(p => {VIEW}.get('layers').em.views[p.axis]?.join() ?? '').join('/')"
    user.book.js(f"{VIEW}.run('panel:layers')")
    own = user.book.page.get_by_label("this view only")
    own.check()
    user.book.js(
        "(n => { n.value = 200; n.dispatchEvent(new Event('input')); })(document.querySelector('.mitonb-high'))"
    )
    user.book.wait(f"/^\\d+,200\\/\\/$/.test({window})")
    assert trait_soon(user, "layers['em']['views'].get('xy', [0, 0])[1]", 200)
    assert trait(user, "layers['em']['high']") != 200
    user.shot("contrast-of-one-view")
    own.uncheck()
    user.book.wait(f"{window} === '//'")
    user.book.js(f"{VIEW}.run('panel:layers')")
    # A press on a pane makes it the one that is worked on, and does there at once what the tool does.
    user.keys("m", "p")
    box, mouse = pane("xz"), user.book.page.mouse
    mouse.move(box["x"] + box["width"] * 0.8, box["y"] + box["height"] / 2)
    mouse.down()
    mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] / 2, steps=4)
    mouse.up()
    user.wait_for_picture()
    assert stage.bounding_box() == box
    assert user.ask("app.session.history()[-1].text").endswith("on xz plane 30")
    # The others see it, too.
    user.book.wait(f"{VIEW}.panes.list[0].picture.facts.entry('labels').data.includes({VIEW}.get('active_id'))")
    user.keys("Escape", "3")
    user.book.wait(f"document.querySelector({VIEWER!r}).dataset.plane === 'yz/60'")
    user.ask("0", after="app.session.undo()")
    user.keys("1", "4")
    user.book.wait(f"!{VIEW}.panes.on && document.querySelector({VIEWER!r}).dataset.plane === 'xy/4'")
    assert user.book.js(f"document.querySelectorAll('{VIEWER} .mitonb-pane').length") == 0
    assert user.digest() == before


def test_a_click_on_an_object_in_3d_beside_the_planes_selects_it_and_goes_there(user: Quickstart) -> None:
    user.keys("4")
    user.book.wait(f"{VIEW}.panes.space?.surfaces?.parts.length === 3", 60)
    # Seen straight along z, with object 3 of planes 3 and 4 at its place.
    user.book.js(f"Object.assign({VIEW}.panes.space.camera, {{yaw: 0, pitch: 0}})")
    box = user.book.page.locator(f"{VIEWER} .mitonb-space").bounding_box()
    assert box is not None
    scale = user.book.js(f"{VIEW}.panes.space.frame().pixels") * 5  # nm a voxel
    at = (box["x"] + box["width"] / 2 + (100 - 64) * scale, box["y"] + box["height"] / 2 + (70 - 48) * scale)
    user.book.page.mouse.click(*at)
    assert trait_soon(user, "selected", [3])
    poll(lambda: user.ask("app.session.position")[0] in (2, 3), lambda: str(user.ask("app.session.position")), 10)
    user.keys("ArrowLeft")
    assert user.book.js(f"{VIEW}.panes.space.camera.yaw") == -0.1
    user.keys("Shift+H")
    assert user.book.js(f"{VIEW}.panes.space.surfaces.parts.map(p => {VIEW}.seen.shows(p.id))") == [False, False, True]
    user.ask("0", after="app.session.grow(3)")
    poll(lambda: "labels changed" in said(user, f"{VIEWER} .mitonb-space"), "the pane does not say that it is old", 10)
    user.ask("0", after="app.session.undo()")
