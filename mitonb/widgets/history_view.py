"""What was done, newest first: each edit as a sentence that leads to its place, and as Python that does the same."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import anywidget
import ipywidgets as ipw
import traitlets
from psygnal import Signal

from mitonb.widgets.style import JS, Latest, Part, button, count_text, error_html, note, row

if TYPE_CHECKING:
    from mitonb.session import Session

_MOST = 200
_EMPTY = "Nothing yet. Each run and each stroke will be a line here, and can be undone."


class Lines(anywidget.AnyWidget):
    """The browser's half of the history: a button for each edit, that asks for its place."""

    _esm = JS / "history.js"
    rows = traitlets.List(traitlets.Dict()).tag(sync=True)
    asked = Signal(object)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.on_msg(lambda _, message, __: self.asked.emit(message.get("seq")))


class HistoryView(Part):
    """The journal of a session; a click on an edit goes to its place.

    Attributes
    ----------
    lines : Lines
        The edits, newest first, at most 200.
    as_code : ToggleButton
        Shows the journal as a cell of Python to copy.
    """

    def __init__(self, session: Session, *, height: int = 220, **options: Any) -> None:
        self.session = session
        self.as_code = button("copy as code", "code", "The same edits as lines of Python", kind=ipw.ToggleButton)
        self.status = ipw.HTML()
        self.lines = Lines(layout={"height": f"{height}px"})
        self.code = ipw.Textarea(layout={"height": f"{height}px", "width": "100%"})
        self.code.tooltip = "The edits as lines of Python"
        self._worker = Latest(self._draw, failed=self._fail, delay=0.1)
        super().__init__(row(self.as_code, self.status).add_class("mnb-spaced"), self.lines, self.code, **options)
        self.as_code.observe(lambda change: self._swap(change["new"]), "value")
        self.lines.asked.connect(self.go_to)
        session.edited.connect(lambda _: self._worker.ask())
        self._swap(False)
        self._draw()

    def go_to(self, seq: int) -> None:
        """Look at the place of an edit; of one without a place, it is said on screen."""
        try:
            self.session.go_to_edit(seq)
            self._count(len(self.session.history()))
        except Exception as error:  # a click has no caller
            self._fail(error)

    def state(self) -> str:
        """Return the sentences, newest first."""
        return "\n".join(entry.text for entry in reversed(self.session.history()))

    def _draw(self) -> None:
        history = self.session.history()
        self._count(len(history))
        self.lines.rows = [
            {
                "seq": entry.seq, "clock": time.strftime("%H:%M:%S", time.localtime(entry.time)),
                "text": entry.text, "code": entry.code, "undone": entry.undone,
            }
            for entry in history[::-1][:_MOST]
        ]  # fmt: skip
        self.code.value = "\n".join(["session = app.session", *(entry.code for entry in history if entry.stands)])

    def _count(self, count: int) -> None:
        last = f", the last {_MOST} are shown" if count > _MOST else ""
        said = f"{count_text(count, 'edit')}{last}; click one to go to its place"
        self.status.value = note(said if count else _EMPTY)

    def _swap(self, code: bool) -> None:
        self.lines.layout.display = "none" if code else ""
        self.code.layout.display = "" if code else "none"

    def _fail(self, error: BaseException) -> None:
        self.status.value = error_html(error)
