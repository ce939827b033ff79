"""The kernel is restarted in the middle of the work, in a real JupyterLab: what the page promised is kept."""

from __future__ import annotations

import pytest

playwright = pytest.importorskip("playwright")

from tests.browser.lab import Lab, Notebook, why_not  # noqa: E402  only where Playwright is installed

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

ROOT = "document.querySelector('.mitonb-viewer')"
VIEW = f"{ROOT}.mitonb"
READY = f"{ROOT}?.dataset.state === 'ready' && {ROOT}.dataset.pending === '0'"
PILL = f"{ROOT}.querySelector('.mitonb-pill').textContent"
CELL = """
import numpy as np, mitonb as mn
from mitonb.session import Session
from mitonb.widgets.viewer import Viewer
session = Session(labels=np.zeros((3, 60, 80), np.uint32), path={path})
viewer = Viewer(session, index=1)
viewer
"""


def opened(lab: Lab, path: str) -> Notebook:
    """Return a notebook whose only cell shows a session, at "look" with a brush of one pixel."""
    book = lab.notebook([CELL.format(path=path)], name=f"{len(path)}.ipynb", timeout=180)
    book.run(timeout=180)
    book.wait(READY, 120)
    book.js(f"{VIEW}.set('brush', 0)")
    return book


def dot(book: Notebook, column: int) -> None:
    """Paint a pixel of row 10 with the active label, as a stroke does."""
    book.js(f"""(() => {{ const view = {VIEW};
        view.pen.begin({{axis: 'xy', index: 1, tool: 'paint', id: view.get('active_id'), radius: 0, preserve: false}});
        view.pen.draw([10, {column}]); view.pen.end(); view.showState(); }})()""")


def test_edits_made_while_the_kernel_is_gone_arrive_exactly_once_when_the_cell_is_run_again(lab: Lab) -> None:
    book = opened(lab, "'cell.mitonb'")
    dot(book, 5)
    book.wait(READY)
    book.restart_kernel()
    book.wait(f"{PILL} === 'run the cell again'")
    dot(book, 6)
    book.js(f"{VIEW}.store.edit({{op: 'undo'}})")
    dot(book, 7)
    dot(book, 8)
    assert book.js(PILL) == "run the cell again (4 waiting)"
    book.run(0, timeout=180)
    book.wait(f"document.querySelectorAll('.mitonb-viewer').length === 1 && {READY} && {PILL} === 'saved'", 60)
    assert book.ask("session.labels.data[1, 10, 4:10].tolist()") == "[0, 1, 0, 1, 1, 0]"
    assert book.ask("session.version") == "5"
    assert (
        book.ask("[e.text.split()[0] for e in session.history()]")
        == "['painted', 'painted', 'undid:', 'painted', 'painted']"
    )
    book.wait(f"{VIEW}.entry('labels').data[10 * 80 + 8] === 1")
    # Nothing is sent a second time, also not after another restart.
    book.restart_kernel()
    dot(book, 9)
    book.run(0, timeout=180)
    book.wait(f"{READY} && {PILL} === 'saved' && {VIEW}.store.outboxes.length === 2", 60)
    assert book.ask("session.version") == "6"
    book.close()


def test_labels_in_memory_are_said_to_be_lost_and_take_no_more_edits(lab: Lab) -> None:
    book = opened(lab, "None")
    dot(book, 5)
    book.wait(READY)
    book.restart_kernel()
    book.wait(f"{PILL} === 'lost with the kernel'")
    assert book.js(f"{VIEW}.commands.writable()") is False
    assert "memory only" in book.js(f"{ROOT}.querySelector('.mitonb-notice').textContent")
    book.run(0, timeout=180)
    book.wait(f"{READY} && {PILL} === 'in memory only'", 60)
    assert book.ask("session.version") == "0"
    book.close()


def test_a_workbench_whose_kernel_is_gone_says_so_and_takes_no_press(lab: Lab) -> None:
    app = (
        "import numpy as np, mitonb as mn\napp = mn.explore(np.zeros((3, 90, 90), np.uint8), path='bench.mitonb')\napp"
    )
    book = lab.notebook([app], name="bench.ipynb", timeout=180)
    book.run(timeout=180)
    book.wait(READY, 120)
    said = "getComputedStyle(document.querySelector('.mnb-news'), '::after').content"
    off = """[...document.querySelectorAll('.mnb-run button, .mnb-side input, .mnb-side button, .mnb-save button')]
        .filter(b => !b.closest('.mnb-news')).map(b => Boolean(b.closest('[inert]')))"""
    top = f"{ROOT}.getBoundingClientRect().top - document.querySelector('.mnb-app').getBoundingClientRect().top"
    assert not any(book.js(off))
    before = book.js(top)
    book.restart_kernel()
    book.wait(f"{PILL} === 'run the cell again' && {said}.includes('run this cell again')")
    assert len(book.js(off)) > 9
    assert all(book.js(off))
    assert book.js(top) == before
    # Keys ask the kernel, too.
    for command in ("enter", "object:next"):
        book.js(f"{ROOT}.querySelector('.mitonb-notice').hidden = true, {VIEW}.run('{command}')")
        assert "run this cell again" in book.js(f"{ROOT}.querySelector('.mitonb-notice:not([hidden])').textContent")
    book.shot("artifacts/layout/kernel-gone.png")
    book.run(0, timeout=180)
    book.wait(f"document.querySelectorAll('.mitonb-viewer').length === 1 && {READY} && {PILL} === 'saved'", 60)
    assert not any(book.js(off))
    # While a run is under way, nothing asks for one.
    hint = f"!{ROOT}.querySelector('.mitonb-empty').hidden"
    book.wait(hint)
    book.ask("setattr(app.viewer, 'running', True)")
    book.wait(f"!({hint})")
    book.close()
