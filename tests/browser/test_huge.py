"""Planes too large to come whole: seen at every zoom, painted where one sees each pixel; in a real JupyterLab."""

from __future__ import annotations

import pytest

pytest.importorskip("playwright")

from tests.browser.lab import Lab, poll, why_not
from tests.browser.steps import Quickstart

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

# Where a pixel lies can be read off its grey: 8 bright squares of 64 pixels along a diagonal, and one object.
APP = """
import numpy as np, mitonb as mn
image = np.full((2, 3072, 3072), 60, np.uint8)
for k in range(0, 3072, 384):
    image[:, k : k + 64, k : k + 64] = 220
labels = np.zeros(image.shape, np.uint32)
labels[:, 1500:1580, 1500:1700] = 7
path = mn.save(mn.Stack(image, (8.0, 8.0, 8.0)), "huge.ome.zarr", overwrite=True)
app = mn.explore(mn.open(path), labels)
app
"""
VIEW = "document.querySelector('.mitonb-viewer').mitonb"


class Near(Quickstart):
    """A user who need not see a plane whole."""

    def spot(self, row: float, column: float) -> tuple[float, float]:
        """Return where a pixel of the plane lies in the window."""
        x, y = self.book.js(
            f"""([row, column]) => {{ const [x, y] = {VIEW}.picture.screen(column, row);
                const box = {VIEW}.ui.stage.getBoundingClientRect(); return [box.left + x, box.top + y]; }}""",
            [row, column],
        )
        return x, y


@pytest.fixture(scope="module")
def user(lab: Lab) -> Quickstart:
    book = lab.notebook([APP], timeout=180)
    book.run(timeout=180)
    user = Near(book, lab.folder)
    user.wait_for_picture()
    return user


def look(user: Quickstart, x: float, y: float, scale: float, step: int) -> None:
    """Look there, and wait until image and labels have come as finely as that."""
    user.book.js(f"([x, y, scale]) => {VIEW}.picture.look({{x, y, scale}})", [x, y, scale])
    shown = f"Math.max(...['image', 'labels'].map((part) => {VIEW}.entry(part)?.step ?? 99))"
    poll(lambda: user.book.js(shown) <= step, lambda: str(user.book.js(shown)), 20)


def grey(user: Quickstart, row: int, column: int) -> list[int]:
    """Return what is drawn at a pixel of the plane: r, g, b."""
    found: list[int] = user.book.js(
        """([row, column]) => { const {picture} = document.querySelector('.mitonb-viewer').mitonb;
            const {renderer: {gl}, unit, canvas: {height}} = picture;
            picture.take(); picture.draw();
            const [x, y] = picture.screen(column, row), out = new Uint8Array(4);
            gl.readPixels(Math.round(x * unit), Math.round(height - y * unit), 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, out);
            return [...out].slice(0, 3); }""",
        [row, column],
    )
    return found


def colored(user: Quickstart, row: int, column: int) -> bool:
    seen = grey(user, row, column)
    return max(seen) - min(seen) > 8


@pytest.mark.parametrize(("scale", "step"), [(0.13, 8), (0.4, 2), (1.0, 1), (4.0, 1)])
def test_pixels_lie_where_they_are_at_every_zoom(user: Quickstart, scale: float, step: int) -> None:
    user.book.js(f"{VIEW}.setLayer('em', {{low: 0, high: 255}})")
    for k in (0, 1536, 2688):
        look(user, k + 32, k + 32, scale, step)
        assert grey(user, k + 32, k + 32)[0] > 200 or colored(user, k + 32, k + 32), (k, scale)
        assert grey(user, k + 32, k + 80) != grey(user, k + 32, k + 32)
    look(user, 1650, 1540, scale, step)
    assert colored(user, 1540, 1650)
    assert not colored(user, 1540, 1720)


def test_far_out_nobody_paints_and_close_up_it_works(user: Quickstart) -> None:
    user.book.js(f"{VIEW}.set('tool', 'paint'); {VIEW}.set('brush', 3); {VIEW}.set('active_id', 9)")
    look(user, 2000, 2000, 0.2, 4)
    user.click(2000, 2000)
    text = user.book.js(
        "document.querySelector('.mitonb-viewer .mitonb-notice')?.textContent ?? document.body.innerText"
    )
    assert "Zoom in to paint" in text
    assert user.version() == 0
    look(user, 2000, 2000, 2.0, 1)
    user.drag((2000, 1990), (2000, 2010))
    poll(lambda: user.version() == 1, "The stroke did not come.", 20)
    where = "__import__('numpy').argwhere(app.session.labels.data == 9)"
    assert user.ask(f"{where}.min(0).tolist() + {where}.max(0).tolist()")[1:3] == [1997, 1987]
    assert colored(user, 2000, 2000)
    # Labels that came before are patched, and those of other windows are asked for again.
    look(user, 2000, 2000, 0.4, 2)
    poll(lambda: colored(user, 2000, 2000), "The coarse labels did not follow.", 20)
    user.ask("0", after="app.session.undo()")
    poll(lambda: not colored(user, 2000, 2000), "The undone stroke is seen still.", 20)


def test_what_is_proposed_lies_where_it_is_while_labels_come_in_another_window(user: Quickstart) -> None:
    look(user, 1600, 1540, 0.25, 4)  # all of the plane is here
    look(user, 1600, 1540, 1.0, 1)
    talk, z = "app.viewer._conversation", "app.viewer.index"
    split = f"dict(kind='propose', client='me', ask=1, op='split', id=7, axis='xy', index={z},"
    user.ask("0", after=f"{talk}.receive(None, {split} seeds=[[{z}, 1540, 1510], [{z}, 1540, 1690]]), [])")
    part = f"{VIEW}.entry('proposal')?.scope?.step"
    poll(lambda: user.book.js(part) == 1, lambda: f"No window of the proposal: {user.book.js(part)}", 20)
    assert user.book.js(f"{VIEW}.store.get('proposal', 'xy', {VIEW}.get('index')) === undefined")  # never all of it
    # From here on nothing more comes: the labels are those of the whole plane, which the proposal has not come for.
    user.book.js(f"() => {{ const {{wants}} = {VIEW}.store; wants.really = wants.ask; wants.ask = () => {{}}; }}")
    try:
        user.book.js(f"{VIEW}.picture.look({{x: 1600, y: 1540, scale: 0.25}})")
        assert user.book.js(f"[{VIEW}.entry('labels').step, {VIEW}.entry('proposal').step]") == [4, 1]
        top, left = user.book.js(f"[{VIEW}.entry('proposal').scope.top, {VIEW}.entry('proposal').scope.left]")
        assert colored(user, 1540, 1600)
        # There its pixels would be if they were taken for those of the labels.
        assert not colored(user, 4 * (1510 - top), 4 * (1510 - left))
    finally:
        user.book.js(f"() => {{ const {{wants}} = {VIEW}.store; wants.ask = wants.really; wants.flying.clear(); }}")
        user.ask("0", after=f"{talk}.receive(None, dict(kind='propose', client='me', ask=2), [])")


def test_the_pixel_under_the_pointer_is_named_in_full_resolution(user: Quickstart) -> None:
    user.book.js(f"{VIEW}.set('tool', 'look')")
    look(user, 1536, 1536, 0.4, 2)
    user.click(1550, 1600)
    poll(lambda: user.ask("list(app.session.selection)") == [7], "The object was not selected.", 20)
    z, y, x = user.ask("app.session.position")
    assert z in (0, 1)
    assert (abs(y - 1550) <= 2, abs(x - 1600) <= 2) == (True, True)


def test_planes_of_all_directions_are_seen_beside_it(user: Quickstart) -> None:
    look(user, 1540, 1540, 1.0, 1)
    user.book.js(f"{VIEW}.set('panes', 4)")
    seen = f"""{VIEW}.panes.beside.map(({{picture}}) =>
        picture.current && Boolean(picture.facts.entry('image') && picture.facts.entry('labels'))).join()"""
    poll(lambda: user.book.js(seen) == "true,true", lambda: str(user.book.js(seen)), 20)
    user.book.js(f"{VIEW}.set('panes', 1)")
    poll(lambda: user.book.js(f"{VIEW}.picture.current"), "The plane is not seen any more.", 20)
