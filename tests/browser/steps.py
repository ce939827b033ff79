"""What a user does in the quickstart, step by step, in a real browser; shared by the test and by benchmarks.

Each step waits for what the user would see, never for seconds.
"""

from __future__ import annotations

import ast
import io
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.browser.lab import poll

if TYPE_CHECKING:
    from pathlib import Path

    from tests.browser.lab import Notebook

__all__ = ["Quickstart", "colourful"]

VIEWER = ".mnb-app .mitonb-viewer"
STAGE = f"{VIEWER} .mitonb-stage"


def colourful(png: bytes) -> Any:
    """Return the hues (0..1) of the pixels of a picture that have a colour: objects, not page, text or lines."""
    from PIL import Image

    hue, saturation, value = np.moveaxis(np.asarray(Image.open(io.BytesIO(png)).convert("HSV"), np.float32) / 255, 2, 0)
    return hue[(saturation > 0.25) & (value > 0.2)]


class Quickstart:
    """An open quickstart notebook, and the hands of its user.

    Parameters
    ----------
    book : Notebook
        The notebook, not run yet.
    pictures : path
        Folder for a screenshot of each state.
    """

    def __init__(self, book: Notebook, pictures: Path, *, timeout: float = 300) -> None:
        self.book, self.pictures, self.timeout = book, pictures, timeout
        self.count = 0
        self.seconds: dict[str, float] = {}

    def ask(self, expression: str, *, after: str = "") -> Any:
        """Return the value of a Python expression in the kernel (a number, a text, a tuple ...), without a cell.

        `after` is code that runs first.
        """
        return ast.literal_eval(self.book.evaluate(expression, after=after, timeout=self.timeout))

    def cell(self, part: str) -> int:
        """Return the index of the code cell that contains a text."""
        found = self.book.js(
            """part => jupyterapp.shell.currentWidget.model.sharedModel.toJSON().cells.findIndex(
                c => c.cell_type === 'code' && [].concat(c.source).join('').includes(part))""",
            part,
        )
        assert found >= 0, f"no cell contains {part!r}"
        return int(found)

    def run(self, part: str) -> None:
        """Run the cell that contains a text."""
        start = time.monotonic()
        self.book.run(self.cell(part), timeout=self.timeout)
        self.seconds[part] = round(time.monotonic() - start, 1)

    def shot(self, name: str) -> None:
        """Keep a picture of this state."""
        self.count += 1
        self.book.shot(self.pictures / f"{self.count:02}-{name}.png")

    def look(self, selector: str = STAGE) -> bytes:
        """Return the picture of an element as it is in the window, as PNG."""
        box = self.book.page.locator(selector).bounding_box()
        assert box is not None
        return self.book.page.screenshot(clip=box, timeout=120_000)  # type: ignore[arg-type]

    def show(self, selector: str = VIEWER) -> None:
        """Wait for an element, and scroll it into the middle of the window."""
        # A cell has ended before the page has drawn what it shows.
        self.book.wait(f"document.querySelector({selector!r}) !== null", self.timeout)
        self.book.js("s => document.querySelector(s).scrollIntoView({block: 'center'})", selector)

    # --- the viewer -------------------------------------------------------------------------------------------------

    def wait_for_picture(self) -> None:
        """Wait until the viewer shows its plane, and the kernel has acknowledged every edit."""
        ready = f"""(() => {{ const d = document.querySelector({VIEWER!r})?.dataset;
            return d?.state === 'ready' && (d.pending ?? '0') === '0'; }})()"""
        self.book.wait(ready, self.timeout)

    def plane(self) -> tuple[str, int]:
        """Return axis and index of the plane on screen."""
        axis, index = self.book.js(f"document.querySelector({VIEWER!r}).dataset.plane").split("/")
        return axis, int(index)

    def spot(self, row: float, column: float) -> tuple[float, float]:
        """Return where a pixel of an xy plane lies in the window, when the whole plane is fitted into the view."""
        box = self.book.page.locator(STAGE).bounding_box()
        assert box is not None
        _, h, w = self.ask("app.session.shape")
        sizes = self.ask("app.session.voxel_size") or (1.0, 1.0, 1.0)
        aspect = sizes[1] / sizes[2]
        scale = min(box["width"] / w, box["height"] / (h * aspect)) * 0.98
        return (
            box["x"] + box["width"] / 2 + (column + 0.5 - w / 2) * scale,
            box["y"] + box["height"] / 2 + (row + 0.5 - h / 2) * scale * aspect,
        )

    def focus(self) -> None:
        """Show the viewer, give it the keyboard, fit the plane, and start from looking."""
        self.show()
        self.book.js(f"document.querySelector({VIEWER!r}).focus({{preventScroll: true}})")
        self.keys("Escape", "0")
        self.wait_for_picture()

    def keys(self, *names: str) -> None:
        """Press keys in the viewer."""
        for name in names:
            self.book.page.keyboard.press(name)

    def click(self, row: float, column: float, *, shift: bool = False) -> None:
        """Click on a pixel of the plane."""
        x, y = self.spot(row, column)
        self.book.page.mouse.move(x, y)
        if shift:
            self.book.page.keyboard.down("Shift")
        self.book.page.mouse.click(x, y)
        if shift:
            self.book.page.keyboard.up("Shift")

    def drag(self, *points: tuple[float, float]) -> None:
        """Draw from pixel to pixel."""
        mouse = self.book.page.mouse
        mouse.move(*self.spot(*points[0]))
        mouse.down()
        for point in points[1:]:
            mouse.move(*self.spot(*point), steps=8)
        mouse.up()

    def scroll(self, planes: int) -> None:
        """Turn the wheel over the picture, and wait until that plane is shown."""
        _, index = self.plane()
        x, y = self.spot(10, 10)
        self.book.page.mouse.move(x, y)
        self.book.page.mouse.move(x + 3, y + 3)
        for _ in range(abs(planes)):
            before = self.plane()
            self.book.page.mouse.wheel(0, 120 if planes > 0 else -120)
            poll(lambda before=before: self.plane() != before, f"the wheel does not turn planes from {before}", 30)
        self.wait_for_picture()
        assert abs(self.plane()[1] - index) == abs(planes), (index, self.plane())

    # --- the workbench ----------------------------------------------------------------------------------------------

    def press(self, text: str) -> None:
        """Press a button of the workbench."""
        found = f"[...document.querySelectorAll('.mnb-app button')].find(b => b.textContent.includes({text!r}))"
        # Not Playwright's own click: it waits for frames in which nothing moves, and software GL may give it none.
        self.book.wait(f"{found}?.disabled === false", self.timeout)
        x, y = self.book.js(
            f"(() => {{ const b = {found}; b.scrollIntoView({{block: 'center'}}); const r = b.getBoundingClientRect(); "
            "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        self.book.page.mouse.click(x, y)

    def wait_for_run(self) -> None:
        """Wait for the end of the running job; its failure is ours."""
        ended = "app.run_bar.job is not None and app.run_bar.job.state in ('done', 'failed', 'cancelled')"
        poll(lambda: self.ask(ended), "the run does not end", self.timeout, 0.2)
        assert self.ask("app.run_bar.job.state") == "done", self.ask("repr(app.run_bar.job.error)")
        self.wait_for_picture()

    def move_threshold(self, label: str, steps: int) -> None:
        """Move a slider of the recipe by the keyboard."""
        self.book.js(
            """label => { const line = [...document.querySelectorAll('.mnb-app .mnb-field')]
                .find(l => l.textContent.includes(label));
            line.scrollIntoView({block: 'center'}); line.querySelector('.noUi-handle').focus(); }""",
            label,
        )
        for _ in range(abs(steps)):
            self.book.page.keyboard.press("ArrowRight" if steps > 0 else "ArrowLeft")

    def digest(self) -> str:
        """Return a fingerprint of the labels in the kernel."""
        return str(self.ask("__import__('hashlib').sha256(app.session.labels.data.tobytes()).hexdigest()"))

    def version(self) -> int:
        """Return the number of the session's last edit."""
        return int(self.ask("app.session.version"))
