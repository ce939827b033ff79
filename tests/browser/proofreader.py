"""The hands of a proofreader: mouse and keys on the workbench in a real browser; what to do is said by a planner.

Shared by the test and by `benchmarks/proofreading.py`, whose `User` plans in the kernel.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.browser.lab import Lab, poll
from tests.browser.steps import STAGE, VIEWER, Quickstart

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.browser.lab import Notebook

VIEW = f"document.querySelector({VIEWER!r}).mitonb"
PATIENCE = 30


class Hands:
    """Does what a planner says in the workbench `app` of a notebook, and counts each key, click and line.

    Parameters
    ----------
    book : Notebook
        It was run, and has `app`, `session` and the planner `user`.
    folder : path
        For pictures.
    """

    def __init__(self, book: Notebook, folder: Path) -> None:
        self.book, self.page, self.steps = book, book.page, Quickstart(book, folder)
        self.actions: Counter[str] = Counter()
        self.tool = "look"
        self.steps.focus()

    def begin(self, order: str = "doubt") -> None:
        """Have the doubts found, and take them in an order."""
        self.steps.press("What to check")
        self.wait(lambda: self.steps.ask("len(session.queue)"), "no doubts are found")
        if order == "random":
            queue = self.steps.ask("[one.at for one in session.queue]")
            self.page.locator(".mnb-review select").focus()
            self.page.keyboard.press("ArrowDown")
            self.actions["key"] += 2
            self.wait(lambda: self.steps.ask("[one.at for one in session.queue]") != queue, "the order stays")
        self.actions["click"] += 1
        self.steps.focus()
        self.press("b")
        self.wait(lambda: self.steps.ask("app.viewer.preserve"), "others are not preserved")

    def run(self) -> None:
        """Do all that is planned."""
        while (gesture := self.steps.ask("user.next()"))[0] != "done":
            try:
                getattr(self, f"_{gesture[0]}")(*gesture[1:])
            except Exception as error:
                self.book.shot(self.steps.pictures / "stopped.png")
                notice = self.book.js(f"{VIEW}.ui.notice.innerText")
                raise AssertionError(f"Stopped at {gesture}; on the screen: {notice!r}") from error

    # What is planned.

    def _next(self) -> None:
        self.led(lambda: self.press("n"))

    def _right(self, _at: Any) -> None:
        self.take("look")
        if isinstance(_at, int) and self.selected() != [_at]:
            self.choose(_at, self.steps.ask(f"user.spot({_at})"))
        self.led(lambda: self.press("Shift+C"))

    def _suggestion(self) -> None:
        self.press("y")
        self.book.wait(f"{VIEW}.suggested !== null", PATIENCE)
        self.changed(lambda: self.press("y"))

    def _split(self, id: int, at: Sequence[int], seeds: Sequence[Sequence[int]]) -> None:
        self.choose(id, at)
        self.take("split", "s")
        for count, seed in enumerate(seeds, 1):
            self.click(*seed)
            self.book.wait(f"{VIEW}.splitter.seeds.length === {count} && !{VIEW}.splitter.asking", PATIENCE)
        self.changed(lambda: self.press("Enter"))
        self.take("look")

    def _merge(self, id: int, at: Sequence[int], _other: int, there: Sequence[int]) -> None:
        self.choose(id, at)
        self.take("merge", "j")
        self.changed(lambda: self.click(*there))
        self.take("look")

    def _delete(self, id: int, at: Sequence[int]) -> None:
        self.choose(id, at)
        self.changed(lambda: self.press("Delete"))

    def _lasso(self, id: int, at: Sequence[int] | None, points: Sequence[Sequence[int]], away: bool) -> None:
        if at is None:
            self.press("m")
        elif self.book.js(f"{VIEW}.get('active_id')") != id:
            self.choose(id, at)
        self.take("lasso", "g")
        self.turn(points[0][0])
        line = self.places(points)
        if away:
            self.page.keyboard.down("Shift")
        self.page.mouse.move(*line[0])
        self.page.mouse.down()
        for place in (*line[1:], line[0]):
            self.page.mouse.move(*place)
        self.page.mouse.up()
        if away:
            self.page.keyboard.up("Shift")
        self.actions["line"] += 1
        self.steps.wait_for_picture()

    def _plane(self, index: int) -> None:
        self.turn(index)

    # What he does it with.

    def press(self, *keys: str) -> None:
        """Press keys."""
        for key in keys:
            self.page.keyboard.press(key)
        self.actions["key"] += len(keys)

    def take(self, tool: str, key: str = "Escape") -> None:
        """Take a tool."""
        if self.book.js(f"{VIEW}.get('tool')") != tool:
            self.press(key)
            self.book.wait(f"{VIEW}.get('tool') === {tool!r}", PATIENCE)

    def turn(self, z: int) -> None:
        """Leaf to a plane."""
        there = self.book.js(f"{VIEW}.get('index')")
        self.press(*(["." if z > there else ","] * abs(z - there)))
        self.steps.wait_for_picture()
        self.book.wait(f"document.querySelector({VIEWER!r}).dataset.plane === 'xy/{z}'", PATIENCE)

    def places(self, points: Sequence[Sequence[int]]) -> list[tuple[float, float]]:
        """Return where voxels of the plane lie in the window; what is out of view is brought there."""
        box = self.page.locator(STAGE).bounding_box()
        assert box is not None
        for _ in range(2):
            found = self.book.js(f"points => points.map(([z, y, x]) => {VIEW}.picture.screen(x, y))", list(points))
            # A hand keeps off the edges, where scale bar, scroll bars and sentences are.
            if all(2 < x < box["width"] - 2 and 2 < y < box["height"] - 2 for x, y in found):
                break
            self.press("0")
        return [(box["x"] + x, box["y"] + y) for x, y in found]

    def click(self, *point: int) -> None:
        """Click on a voxel."""
        self.turn(point[0])
        self.page.mouse.click(*self.places([point])[0])
        self.actions["click"] += 1

    def selected(self) -> Any:
        """Return what is selected on the screen."""
        return self.book.js(f"{VIEW}.get('selected')")

    def choose(self, id: int, at: Sequence[int]) -> None:
        """Select an object, if it is not yet."""
        if self.selected() != [id]:
            self.take("look")
            self.click(*at)
        self.book.wait(f"{VIEW}.get('selected').join() === '{id}' && {VIEW}.get('active_id') === {id}", PATIENCE)

    def led(self, act: Callable[[], None]) -> None:
        """Do something that leads to another doubt, and wait until it is on the screen."""
        self.take("look")
        before = self.steps.ask("(session.version, id(session.doubt))")
        act()
        now = "(session.version, id(session.doubt))"
        self.wait(lambda: self.steps.ask(now) != before, "the review does not go on")
        at = self.steps.ask("session.doubt and session.doubt.at")
        if at:
            self.book.wait(f"`${{{VIEW}.doubt}}` === '{','.join(map(str, at))}'", PATIENCE)
        self.steps.wait_for_picture()

    def changed(self, act: Callable[[], None]) -> None:
        """Do something that edits, and wait until that is done, and on the screen."""
        before = self.steps.version()
        act()
        self.wait(lambda: self.steps.version() > before, "nothing was edited")
        self.steps.wait_for_picture()

    def wait(self, what: Callable[[], Any], message: str) -> None:
        """Wait until it is true."""
        poll(what, message, PATIENCE)


def proofread(lab: Lab, path: Path, order: str) -> tuple[float, list[float], float, Counter[str]]:
    """Go through the trial of a kept volume; return F1@75 before, after each fifth and at the end, and the actions."""
    from benchmarks.proofreading import SET_UP

    book = lab.notebook([SET_UP.format(path=str(path))], timeout=180)
    book.run(timeout=180)
    hands = Hands(book, lab.folder)
    first = hands.steps.ask("user.score()")
    hands.begin(order)
    hands.run()
    return first, *hands.steps.ask("(user.f1, user.score())"), hands.actions
