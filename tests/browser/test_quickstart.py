"""The straight line, as a user walks it: JupyterLab, the quickstart, the mouse, a restarted kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from mitonb.cli import quickstart_path
from tests.browser.lab import Lab, poll
from tests.browser.steps import Quickstart

pytest.importorskip("jupyterlab")
pytest.importorskip("torch")

PICTURES = Path(__file__).parents[2] / "artifacts" / "quickstart"


def test_the_quickstart_from_its_first_cell_to_a_restarted_kernel(lab: Lab) -> None:
    book = lab.notebook(quickstart_path(), name="quickstart.ipynb", width=1440, height=1000)
    user = Quickstart(book, PICTURES, timeout=600)
    book.run(timeout=900)
    user.show()
    user.wait_for_picture()
    user.shot("ran")
    assert user.ask("len(app.session.ids())") > 0

    # Progress is text: it says how long the run took, and stays when the page is loaded again.
    progress = user.cell("mn.segment(")
    assert "done in" in book.text(progress)
    assert not any("widget-view" in kind for output in book.outputs(progress) for kind in output.get("data", {}))

    # Scroll, and back.
    user.focus()
    axis, middle = user.plane()
    assert (axis, middle) == ("xy", user.ask("stack.shape[0] // 2"))
    user.scroll(3)
    user.shot("scrolled")
    user.scroll(-3)
    assert user.plane() == (axis, middle)

    # Run the network here, then move a threshold: the picture follows, the network does not run again.
    user.press("Segment this plane")
    user.wait_for_run()
    runs = user.ask("app.runs.net_runs")
    assert user.ask("(app.viewer.axis, app.viewer.index)") == (axis, middle)
    user.show()
    before = user.look()
    user.move_threshold("Semantic threshold", 25)
    poll(
        lambda: user.ask(f"app.viewer.preview('xy', {middle}) is not None"),
        lambda: f"no preview appears: {user.ask('app.run_bar.message.value')}",
        60,
    )
    user.show()
    poll(lambda: user.look() != before, "the overlay does not change", 60)
    user.shot("threshold")
    assert user.ask("app.runs.net_runs") == runs
    user.press("reset")
    poll(lambda: user.ask(f"app.viewer.preview('xy', {middle}) is None"), "reset does not drop the preview", 60)

    # Paint a new object where there is none.
    user.focus()
    start = user.version()
    row, column = free_spot(user, middle)
    user.keys("p", "m")
    user.drag((row, column - 6), (row, column + 6))
    poll(lambda: user.version() > start, "the stroke does not arrive", 60)
    user.wait_for_picture()
    painted = user.ask(f"app.session.pick({middle}, {row}, {column})")
    assert painted > 0
    user.shot("painted")

    # Merge it into another one, and take that back.
    other = user.ask(
        f"max((i for i in app.session.ids() if i != {painted} and (app.session.labels.data[{middle}] == i).any()), "
        "key=app.session.voxels)"
    )
    r, c = user.ask("p[len(p) // 2]", after=f"p = (app.session.labels.data[{middle}] == {other}).nonzero(); p = "
                    "list(zip(p[0].tolist(), p[1].tolist()))")  # fmt: skip
    objects = user.ask("len(app.session.ids())")
    user.focus()
    user.click(r, c)
    user.click(row, column, shift=True)
    poll(lambda: set(user.ask("app.session.selection")) == {other, painted}, "two clicks do not select two", 30)
    user.keys("j")
    poll(lambda: user.ask("len(app.session.ids())") == objects - 1, "J does not merge", 30)
    user.wait_for_picture()
    user.shot("merged")
    user.keys("Control+z")
    poll(lambda: user.ask("len(app.session.ids())") == objects, "Ctrl-Z does not take the merge back", 30)
    user.wait_for_picture()
    user.shot("undone")

    # Save: the project is saved already; the last cell writes labels and table.
    user.run("mn.measure(")
    assert user.ask("app.session.save_state.kind") == "saved"
    digest, version = user.digest(), user.version()
    user.show(".mnb-app")
    user.shot("saved")

    # Restart the kernel and run the first cell alone: the same labels, the same history, and the workbench is there.
    book.restart_kernel()
    book.js("() => jupyterapp.commands.execute('notebook:clear-all-cell-outputs').then(() => null)")
    user.run("stack = mn.open(")
    user.ask("0", after="from types import SimpleNamespace\napp = SimpleNamespace(session=session)")
    user.show()
    user.wait_for_picture()
    user.shot("reopened")
    assert (user.digest(), user.version()) == (digest, version)
    assert user.ask("app.session.can_undo")
    assert not lab.outside, f"these requests left the machine: {lab.outside}"


def free_spot(user: Quickstart, plane: int) -> tuple[int, int]:
    """Return the (row, column) that is farthest from every object of the plane and from its border."""
    code = f"""
import numpy as _np
from scipy import ndimage as _ndi
_free = _np.pad(app.session.labels.data[{plane}][1:-1, 1:-1] == 0, 1)
_depth = _ndi.distance_transform_edt(_free)
_spot = tuple(int(v) for v in _np.unravel_index(_depth.argmax(), _depth.shape))
"""
    row, column = user.ask("_spot", after=code)
    return row, column
