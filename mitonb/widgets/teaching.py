"""The bar of verdicts: what the marks teach, how careful to be, which objects would go, and a button to drop them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import ipywidgets as ipw
from psygnal import Signal

from mitonb.errors import InputError
from mitonb.recipe import Verdicts
from mitonb.session.teaching import FEWEST, Teacher
from mitonb.widgets.style import button, note, row

if TYPE_CHECKING:
    from mitonb.session import Change, Session
    from mitonb.session.teaching import Lesson

_TIP = "Objects that are right with less than this probability go: low is careful. Marked ones stay or go as marked."

_COIN = 0.6
"""Share of the marks that are predicted from the others at which nobody should rely on them."""


class TeachBar(ipw.VBox):
    """Shows what the marks of a session teach; it is there from the first mark on.

    Attributes
    ----------
    teacher : Teacher
        Who learns.
    lesson : Lesson or None
        What was learned last.
    failed : Signal(Exception)
        What could not be done.
    """

    failed = Signal(object)

    def __init__(self, session: Session) -> None:
        self.session, self.teacher = session, Teacher(session)
        self.lesson: Lesson | None = None
        self.said = ipw.HTML(layout={"flex": "1 1 auto", "min_width": "0"}).add_class("mnb-ellipsis")
        self.below = ipw.FloatSlider(
            value=(session.verdicts or Verdicts).below, min=0.02, max=0.9, step=0.02, readout_format=".2f",
            description="drop below",
            style={"description_width": "68px"}, tooltip=_TIP, layout={"width": "250px", "flex": "0 1 auto"},
        )  # fmt: skip
        self.show = button("Show", "eye", "Select the objects that would go: look at them, and mark what is wrong here")
        self.apply = button(
            "Drop", "filter", "Drop these objects as one edit, and in every later run: the recipe gets the verdicts"
        )
        parts = row(self.said, self.below, self.show, self.apply, flex_flow="row nowrap")
        super().__init__([parts.add_class("mnb-spaced")], layout={"display": "none", "overflow": "visible"})
        self.add_class("mnb-teach")
        self.below.observe(lambda _: self._draw(), "value")
        self.show.on_click(lambda _: self._try(self.preview))
        self.apply.on_click(lambda _: self._try(self.drop))

    @property
    def doomed(self) -> list[int]:
        """Ids of the objects that would go."""
        lesson, last = self.lesson, self.session.verdicts
        # Judged once more by the marks that something was dropped by, what is left would shrink on.
        now = lesson and (lesson.right, lesson.false, self.below.value)
        done = last is not None and (last.right, last.false, last.below) == now
        return [] if lesson is None or done else lesson.false_ids(self.below.value)

    def learn(self) -> None:
        """Learn from the marks as they are, and show it."""
        self.lesson = self.teacher.learn()
        self._draw()
        if self.lesson is not None and self.lesson.verdicts is None:
            self.teacher.describe()  # ahead: the last mark that it takes is answered at once

    def preview(self) -> None:
        """Select the objects that would go."""
        self.session.select(*self.doomed)

    def drop(self) -> Change:
        """Drop the objects that are false: one edit, which keeps what was learned.

        Raises
        ------
        InputError
            If there are none.
        """
        doomed = self.doomed
        if self.lesson is None or self.lesson.verdicts is None or not doomed:
            raise InputError(f"Nothing would go: mark {FEWEST} objects of each kind, or raise the probability.")
        verdicts = dataclasses.replace(self.lesson.verdicts, below=self.below.value)
        change = self.session.drop_false(*doomed, verdicts=verdicts)
        self.session.select(*(id for id in self.session.selection if id not in set(doomed)))
        self.learn()
        return change

    def state(self) -> str:
        """Return what the bar says, as text; "" while it is not there."""
        return "" if self.layout.display == "none" else self._sentence()

    def _sentence(self) -> str:
        lesson = self.lesson
        if lesson is None:
            return ""
        # What was drawn or deleted by hand counts, too: who has marked fewer shall not wonder.
        drawn = lesson.right - sum(lesson.marks.values())
        gone = lesson.false - sum(not right for right in lesson.marks.values())
        right = f"{lesson.right} right" + (f" ({drawn} drawn or merged by hand)" if drawn > 0 else "")
        false = f"{lesson.false} false" + (f" ({gone} deleted by hand)" if gone > 0 else "")
        marked = f"{right}, {false}"
        if lesson.verdicts is None:
            return f"{marked}: mark {FEWEST} of each (R right, W false), and the others are judged by them"
        told = lesson.verdicts.told
        coin = ", hardly better than a coin: mark more" if told is not None and told <= _COIN else ""
        worth = "" if told is None else f" ({told:.0%} of the marks are predicted from the others{coin})"
        return f"{marked}{worth}: {len(self.doomed)} of {len(lesson.chances)} objects would go"

    def _draw(self) -> None:
        lesson = self.lesson
        self.layout.display = "none" if lesson is None else ""
        ready = lesson is not None and lesson.verdicts is not None
        self.said.value = note(self._sentence(), "plain")
        for part in (self.below, self.show, self.apply):
            part.layout.display = "" if ready else "none"
        self.show.disabled = self.apply.disabled = not self.doomed

    def _try(self, do: Any) -> None:
        try:
            do()
        except Exception as error:  # a click has no caller
            self.failed.emit(error)
