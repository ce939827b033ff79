"""What was done, newest first: each edit as a sentence and as the line of Python that does the same."""

from __future__ import annotations

import html
import time
from typing import TYPE_CHECKING, Any

import ipywidgets as ipw

from mitonb.widgets.latest import Latest
from mitonb.widgets.style import error_html, note, row, sheet

if TYPE_CHECKING:
    from mitonb.session import Session

__all__ = ["HistoryView"]

_MOST = 200


class HistoryView(ipw.VBox):
    """The journal of a session.

    Attributes
    ----------
    as_code : ToggleButton
        Shows the journal as a cell of Python to copy.
    """

    def __init__(self, session: Session, *, height: int = 220, **options: Any) -> None:
        self.session = session
        self.as_code = ipw.ToggleButton(description="copy as code", icon="code", layout={"width": "auto"},
                                        tooltip="The same edits as lines of Python")  # fmt: skip
        self.status = ipw.HTML()
        self.lines = ipw.HTML(layout={"height": f"{height}px", "overflow": "auto"}, tabbable=True)
        self.code = ipw.Textarea(layout={"height": f"{height}px", "width": "100%", "display": "none"},
                                 tooltip="The edits as lines of Python")  # fmt: skip
        self._worker = Latest(self._draw, failed=self._fail, delay=0.1)
        super().__init__([sheet(), row(self.as_code, self.status), self.lines, self.code], **options)
        self.add_class("mnb")
        self.as_code.observe(lambda change: self._swap(change["new"]), "value")
        session.edited.connect(self._on_edited)
        self._draw()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the last edit is shown."""
        return self._worker.wait(timeout)

    def state(self) -> str:
        """Return the sentences, newest first."""
        return "\n".join(entry.text for entry in reversed(self.session.history()))

    def _on_edited(self, _change: Any) -> None:
        self._worker.ask()

    def _draw(self) -> None:
        history = self.session.history()
        shown = history[::-1][:_MOST]
        self.status.value = note(
            f"{len(history)} edits" + (f", the last {_MOST} are shown" if len(history) > _MOST else "")
        )
        empty = note("Nothing yet. Each run and each stroke will be a line here, and can be undone.")
        self.lines.value = "".join(map(_line, shown)) or empty
        self.code.value = "\n".join(["session = app.session", *(entry.code for entry in history if not entry.undone)])

    def _swap(self, code: bool) -> None:
        self.lines.layout.display = "none" if code else ""
        self.code.layout.display = "" if code else "none"

    def _fail(self, error: BaseException) -> None:
        self.status.value = error_html(error)


def _line(entry: Any) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(entry.time))
    style = "opacity:.55;text-decoration:line-through" if entry.undone else ""
    return (
        f'<div class="mnb-entry" style="{style}"><span class="mnb-dim">{clock}</span>'
        f"<span>{html.escape(entry.text)}</span><code>{html.escape(entry.code)}</code></div>"
    )
