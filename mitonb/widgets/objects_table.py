"""The objects as a table: sort and filter it, click a row and be there, choose several and delete them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import anywidget
import ipywidgets as ipw
import numpy as np
import traitlets
from psygnal import Signal

from mitonb.colors import coloring_of
from mitonb.errors import InputError
from mitonb.labels import Labels
from mitonb.measurements import COLUMNS, measure
from mitonb.session import Session
from mitonb.widgets.style import JS, Latest, Saved, error_html, sheet

if TYPE_CHECKING:
    from mitonb.colors import Coloring

__all__ = ["LookedAt", "ObjectsTable", "show_table"]

_PIECE = 8000  # rows in one message; at most 12 columns of 8 bytes make 0.8 MB
_KEPT, _PATIENCE = 20, 2  # rows that a saved notebook keeps, and seconds that it waits for them


class LookedAt:
    """Labels that belong to no session, under the names that table and 3-D view use of one."""

    edited = Signal(object)
    selected = Signal(tuple)

    def __init__(self, labels: Any) -> None:
        self.labels = labels if isinstance(labels, Labels) else Labels(labels)
        self.selection: tuple[int, ...] = ()

    @cached_property
    def colors(self) -> Coloring:
        """The colours of the objects."""
        return coloring_of(self.labels)

    def select(self, *ids: int) -> None:
        """Select objects."""
        self.selection = ids
        self.selected.emit(ids)

    go_to = select

    def voxels(self, id: int) -> int:
        """Return 1: no object goes."""
        return 1

    def delete(self, *ids: int) -> Any:
        """Refuse it."""
        raise InputError("These labels belong to no session, and are only looked at. Delete in mn.explore(labels).")


class Grid(anywidget.AnyWidget):
    """The browser's half of the table: draws the rows in sight, sorts, filters, and tells what the user wants."""

    _esm = JS / "table.js"
    selected = traitlets.List(traitlets.Int()).tag(sync=True)
    empty = traitlets.Unicode().tag(sync=True)
    deletes = traitlets.Bool(False).tag(sync=True)
    asked = Signal(str, object)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._columns: list[dict[str, Any]] = []
        self._values: list[np.ndarray] = []
        self._colors = np.zeros((0, 3), np.uint8)
        self.on_msg(self._on_message)

    def fill(self, columns: list[dict[str, Any]], values: list[np.ndarray], colors: np.ndarray) -> None:
        """Take new rows: one float array per column, and a colour per row."""
        self._columns, self._values, self._colors = columns, values, colors
        total = len(colors)
        for start in range(0, max(1, total), _PIECE):
            parts = [np.ascontiguousarray(part[start : start + _PIECE]) for part in (*values, colors)]
            head = {"kind": "rows", "columns": columns, "total": total, "offset": start, "count": len(parts[-1])}
            self.send(head, [part.tobytes() for part in parts])

    def tell(self, text: str = "", edit: int = 0) -> None:
        """Show what was done beside the search, with Undo where it is an edit."""
        self.send({"kind": "said", "text": text, "edit": edit})

    def _on_message(self, _widget: Any, message: dict[str, Any], _buffers: Any) -> None:
        if message.get("kind") != "ready":
            self.asked.emit(str(message.get("kind")), message)
        elif self._columns:
            self.fill(self._columns, self._values, self._colors)


class ObjectsTable(Saved, ipw.VBox):
    """A table of objects to sort, search and filter.

    Parameters
    ----------
    source : Session, Labels or (z, y, x) integer array
        With a session, a click selects the object and moves there, Ctrl and Shift select several, Delete deletes
        what is selected, and the table follows every edit.
    height : int
        Pixels.

    Attributes
    ----------
    table : DataFrame
        What is shown, as `mn.measure` returns it.
    """

    def __init__(self, source: Any, *, height: int = 220, **options: Any) -> None:
        self.source: Any = source if isinstance(source, Session | LookedAt) else LookedAt(source)
        self.table: Any = None
        self.grid = Grid(layout={"height": f"{height}px", "width": "100%"}, deletes=isinstance(source, Session))
        self.status = ipw.HTML(layout={"display": "none"})
        self._worker = Latest(self._measure, failed=self._fail, delay=0.3)
        super().__init__([sheet(), self.status, self.grid], **options)
        self.add_class("mnb")
        self.grid.asked.connect(self._on_asked)
        self.source.edited.connect(self._on_edited)
        self.source.selected.connect(self._on_selected)
        self._worker.ask()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the table is up to date; return whether it is."""
        return self._worker.wait(timeout)

    def go_to(self, key: int) -> None:
        """Select an object, and with a session look at its middle."""
        if self.source.voxels(key):  # else the row is of an object that has just gone
            self.source.go_to(key)

    def delete(self, *ids: int) -> None:
        """Delete objects: one edit of the session, said with Undo.

        Raises
        ------
        InputError
            If one of them is not there, or the labels belong to no session.
        """
        change = self.source.delete(*ids)
        self.source.select(*(i for i in self.source.selection if i not in set(ids)))
        self.grid.tell(self.source.history(after=change.seq - 1)[0].sentence, change.seq)

    def _on_asked(self, kind: str, message: dict[str, Any]) -> None:
        """Do what the user wants; what cannot be done is said on screen."""
        try:
            if kind == "pick":
                self.go_to(int(message["id"]))
            elif kind == "undo":
                self.source.undo(of=int(message["edit"]))
            elif kind in ("select", "delete"):
                (self.delete if kind == "delete" else self.source.select)(*map(int, message["ids"]))
            self._say("")
        except Exception as error:  # a click has no caller
            self.grid.send_state("selected")
            self._fail(error)

    def saved(self) -> tuple[str, dict[str, str]]:
        """Return the first rows, for readers without a kernel."""
        self.wait(_PATIENCE)
        table = self.table
        if table is None:
            return "mitonb table of objects", {}
        rows = table.head(_KEPT).to_html(index=False, border=0, float_format="{:.4g}".format)
        more = f"<p>and {len(table) - _KEPT} more</p>" if len(table) > _KEPT else ""
        return f"mitonb table of {len(table)} objects", {"text/html": rows + more}

    def state(self) -> str:
        """Return the table as text: the columns, then one object a line."""
        columns, values = _columns(self.table) if self.table is not None else ([], [])
        lines = [" ".join(f"{v:g}" for v in numbers) for numbers in zip(*values, strict=True)]
        return "\n".join([" | ".join(c["label"] for c in columns), *lines])

    def _measure(self) -> None:
        self.table = table = measure(self.source.labels)
        colors = np.rint(self.source.colors.rgb(table["id"].to_numpy(np.uint32)) * 255).astype(np.uint8)
        self.grid.empty = "No objects yet: segment a plane (Enter) or the volume, or paint one (P)."
        self.grid.fill(*_columns(table), colors)

    def _on_edited(self, _change: Any) -> None:
        self.grid.tell()
        # Also while the first measurement runs: it may have seen labels from the middle of this edit.
        self._worker.ask()

    def _on_selected(self, ids: tuple[int, ...]) -> None:
        self.grid.selected = list(ids)

    def _fail(self, error: BaseException) -> None:
        self._say(error_html(error))

    def _say(self, text: str) -> None:
        self.status.value = text
        self.status.layout.display = None if text else "none"


def show_table(source: Any, *, height: int = 220) -> ObjectsTable:
    """Show the objects as a table: a click on a header sorts, a click on a row selects and goes there.

    Above it ids are searched for and a column is filtered. Ctrl and Shift select several rows, Ctrl-A those that are
    shown; of a session, Delete deletes what is selected.

    Parameters
    ----------
    source : Session, Labels or (z, y, x) integer array
        What to list.
    height : int
        Pixels.

    Raises
    ------
    InputError
        If there are no labels in it.
    """
    if source is None:
        raise InputError("show_table lists the objects of a Session or of Labels, got None.")
    return ObjectsTable(source, height=height)


def _columns(table: Any) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    """Return what the grid shows of a table of objects: the columns, and a float array for each."""
    shown = [column for column in COLUMNS if column.title and column.name in table]
    columns = [
        {"name": c.name, "scale": c.factor, "label": c.title, "kind": c.kind, "digits": c.digits, "width": c.width,
         "tip": c.tip} for c in shown
    ]  # fmt: skip
    return columns, [table[c.name].to_numpy(np.float64) * c.factor for c in shown]
