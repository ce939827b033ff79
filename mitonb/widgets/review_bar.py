"""The bar of a review: what to check, in which order, how far it is, and what a random sample says of all objects."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import ipywidgets as ipw
from psygnal import Signal

from mitonb.session.doubts import find_doubts
from mitonb.session.review import judge, review_progress, shuffled
from mitonb.widgets.style import Latest, button, count_text, follow, note, row

if TYPE_CHECKING:
    from collections.abc import Callable

    from mitonb.maps import Maps
    from mitonb.session import Change, Session
    from mitonb.session.doubts import Doubt
    from mitonb.stack import Axis

_ORDERS = {"most doubtful first": "doubt", "random sample": "random", "to be mended": "again"}
_AT_ONCE, _MOST = 1 << 24, 1000
"""Voxels and objects up to which doubts are looked for without being asked: that takes some ten seconds."""


class ReviewBar(ipw.VBox):
    """Finds what is doubtful in a session and leads through it.

    Parameters
    ----------
    session : Session
        Its `queue` is set.

    Attributes
    ----------
    maps : callable or None
        Returns the maps of an xy plane, or None where the net has not run.
    across : dict of {"xz", "yz"} to callable
        The same of other planes.
    threshold : callable
        Returns that of the semantic map.
    doubts : list of Doubt
        What was found last, the most doubtful first.
    failed : Signal(Exception)
        What could not be done.
    found : Signal
        There are new doubts, or fewer of them are open.
    """

    failed = Signal(object)
    found = Signal()

    def __init__(self, session: Session) -> None:
        self.session = session
        self.doubts: list[Doubt] = []
        self.maps: Callable[[int], Maps | None] | None = None
        self.across: dict[Axis, Callable[[int], Maps | None]] = {}
        self.threshold: Callable[[], float] = lambda: 0.5
        self.said = ipw.HTML(layout={"flex": "1 1 auto", "min_width": "0"}).add_class("mnb-ellipsis")
        self.search = button(
            "What to check",
            "list-ol",
            "Rank all objects by what speaks against them, and places where one may be missing",
        )
        self.order = ipw.Dropdown(options=list(_ORDERS.items()), layout={"width": "158px", "flex": "0 0 auto"})
        self.order.tooltip = "In a random order, what was judged first is a sample that stands for all objects"
        self.steps = {
            "next": button("Next", "step-forward", "Go to the next doubt (N); before it: Shift-N"),
            "mark_right": button("Right", "check", "It is right; go on (Shift-C)"),
            "mark_fix": button("Mend", "wrench", "It is to be mended; go on (Shift-X)"),
            "mark_unsure": button("Unsure", "question", "Nobody can say; go on (Shift-U)"),
        }
        for one in (self.search, *self.steps.values()):
            one.layout.flex = "0 0 auto"
        parts = row(self.said, self.order, *self.steps.values(), self.search, flex_flow="row nowrap")
        super().__init__([parts.add_class("mnb-spaced")], layout={"overflow": "visible"})
        self.add_class("mnb-review")
        self._scores: dict[int, float] = {}
        self._finder = Latest(self._find, failed=self.failed.emit)
        self._drawer = Latest(self._draw, failed=self.failed.emit, delay=0.1)
        self.search.on_click(lambda _: self.ask())
        self.order.observe(lambda _: self._begin(), "value")
        for name, one in self.steps.items():
            one.on_click(lambda _, name=name: self._try(name))
        follow(self, session.edited, self._on_edited)
        follow(self, session.reviewing, lambda _: self._drawer.ask())
        self._draw()

    def ask(self, *, quick: bool = False) -> None:
        """Look for doubts, in a thread; with `quick` only where that is soon done."""
        few = self.session.labels.data.size <= _AT_ONCE and len(self.session.ids()) <= _MOST
        if few or not quick:
            self.search.disabled = True
            self.said.value = note("Looking for what is doubtful …")
            self._finder.ask()

    def judge(self, verb: str) -> None:
        """Judge what is looked at, and go to the next doubt; "next" only goes."""
        if verb == "next":
            self.session.step_object(1)
        else:
            judge(self.session, verb)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until what is doubtful was found, and is shown."""
        return self._finder.wait(timeout) and self._drawer.wait(timeout)

    def state(self) -> str:
        """Return what the bar says, as text."""
        session = self.session
        if not session.queue:
            return f"{count_text(len(session.ids()))}: which to check first?" if session.ids() else ""
        doubt = session.doubt
        progress, waiting = review_progress(session), len(session.open_doubts())
        here = f" {doubt}." if doubt else " N goes to the first." if waiting else " Nothing is left."
        how_far = f"{waiting} to be mended or unsure" if self.order.value == "again" else replace(progress, right=None)
        return f"{how_far}.{here} {progress.worth}".strip()

    def open_scores(self) -> dict[int, float]:
        """Return how doubtful each object is that waits in the queue."""
        return {one.id: one.score for one in self.session.open_doubts() if one.id}

    def _find(self) -> None:
        try:
            self.doubts = find_doubts(
                self.session.labels, maps=self.maps, across=self.across, threshold=self.threshold()
            )
        finally:
            self.search.disabled = False
            self._drawer.ask()
        self._begin()

    def _begin(self) -> None:
        order = self.order.value
        doubts = shuffled(self.doubts) if order == "random" else self.doubts
        self.session.review(doubts, again=order == "again")

    def _on_edited(self, change: Change) -> None:
        if change.renamed:
            self.doubts = [one.renamed(*change.renamed) for one in self.doubts]
        self._drawer.ask()

    def _draw(self) -> None:
        text = self.state()
        self.layout.display = "" if text else "none"
        self.said.value = note(text, "plain")
        self.said.tooltip = text
        for part in (self.order, *self.steps.values()):
            part.layout.display = "" if self.session.queue else "none"
        self.search.description, self.search.icon = (
            ("", "refresh") if self.session.queue else ("What to check", "list-ol")
        )
        scores = self.open_scores()
        if scores != self._scores:
            self._scores = scores
            self.found.emit()

    def _try(self, verb: str) -> None:
        try:
            self.judge(verb)
        except Exception as error:  # a click has no caller
            self.failed.emit(error)
