"""The objects as a table: sort and filter it, click a row and be there, choose several and delete them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as ipw
import numpy as np
import traitlets
from psygnal import Signal

from mitonb.colors import coloring_of
from mitonb.errors import InputError
from mitonb.labels import Labels
from mitonb.measurements import measure
from mitonb.session import Session
from mitonb.widgets.latest import Latest
from mitonb.widgets.saved import Saved
from mitonb.widgets.style import error_html, sheet

__all__ = ["ObjectsTable", "show_table"]

_PIECE = 8000
"""Rows in one message; at most 12 columns of 8 bytes make 0.8 MB."""

_KEPT, _PATIENCE = 20, 2
"""Rows that a saved notebook keeps, and seconds that it waits for them."""

_COLUMNS = (
    ("id", 1, "object", "id", 0, 90, "Id of the object"),
    ("volume_um3", 1, "volume µm³", "number", 4, 100, "Volume in cubic micrometres"),
    ("voxels", 1, "voxels", "number", 0, 90, "Number of voxels"),
    ("length_nm", 1e-3, "length µm", "number", 2, 90, "Reach along its longest axis, in micrometres"),
    ("length_voxels", 1, "length vx", "number", 1, 90, "Reach along its longest axis, in voxels"),
    ("z", 1, "z", "number", 0, 60, "Middle: plane"),
    ("y", 1, "y", "number", 0, 60, "Middle: row"),
    ("x", 1, "x", "number", 0, 60, "Middle: column"),
    (
        "truncated",
        1,
        "at border",
        "flag",
        0,
        76,
        "Whether it touches the border of the volume, so that only a part was seen",
    ),
)
"""What is shown of `measure`: column, factor, title, kind, digits, least width in pixels, tooltip."""

_CSS = """
.mnb-table { box-sizing: border-box; position: relative;
  display: flex; flex-direction: column; height: 100%; min-height: 60px; font-size: 12px;
  color: var(--jp-ui-font-color1, #222); border: 1px solid var(--jp-border-color2, #ccc); border-radius: 3px;
  background: var(--jp-layout-color1, #fff); overflow: auto hidden; }
.mnb-table [hidden] { display: none !important; }
.mnb-table .bar { position: sticky; left: 0; flex: none; display: flex; align-items: center; gap: 4px; height: 26px;
  padding: 0 8px 0 4px; overflow: hidden; border-bottom: 1px solid var(--jp-border-color2, #ccc); }
.mnb-table .bar > * { flex: none; box-sizing: border-box; height: 20px; margin: 0; padding: 0 4px; font: inherit; }
.mnb-table .bar input, .mnb-table .bar select { border: 1px solid var(--jp-border-color2, #ccc); border-radius: 3px;
  color: inherit; background: var(--jp-layout-color1, #fff); }
.mnb-table .bar .find { width: 84px; }
.mnb-table .bar .bound { width: 64px; }
.mnb-table .bar button { border: 0; background: none; color: var(--jp-content-link-color, #1976d2); cursor: pointer; }
.mnb-table .bar .said { flex: 0 1 auto; min-width: 0; line-height: 20px; overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap; color: var(--jp-ui-font-color2, #666); }
.mnb-table .head { display: grid; border-bottom: 1px solid var(--jp-border-color2, #ccc); flex: none;
  box-sizing: border-box; padding-right: 12px; background: var(--jp-layout-color2, #eee); }
.mnb-table .head button { border: 0; background: none; color: var(--jp-ui-font-color2, #666); font: inherit;
  text-align: right; padding: 3px 8px; cursor: pointer; white-space: nowrap; }
.mnb-table .head button:first-child, .mnb-table .row span:first-child { text-align: left; }
.mnb-table .head button.on { color: var(--jp-ui-font-color0, #000); font-weight: 600; }
.mnb-table .body { position: relative; overflow-y: scroll; overflow-x: hidden; flex: 1 1 auto; outline: none; }
.mnb-table .body:focus-visible { box-shadow: inset 0 0 0 2px var(--jp-brand-color1, #1976d2); }
.mnb-table .space { position: relative; }
.mnb-table .row { position: absolute; left: 0; right: 0; height: 22px; line-height: 22px; display: grid;
  cursor: pointer; }
.mnb-table .row span { text-align: right; padding: 0 8px; overflow: hidden; text-overflow: ellipsis;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.mnb-table .row i { display: inline-block; width: 11px; height: 11px; margin-right: 7px; border-radius: 2px;
  vertical-align: -1px; }
.mnb-table .row:hover { background: var(--jp-layout-color2, #eee); }
.mnb-table .row.on { background: var(--jp-brand-color1, #1976d2); color: #fff; }
.mnb-table .empty:empty { display: none; }
.mnb-table .empty { position: absolute; inset: 60px 12px auto; text-align: center;
  color: var(--jp-ui-font-color2, #666); }
"""


class Grid(anywidget.AnyWidget):
    """The browser's half of the table: draws the rows in sight, sorts, filters, and tells what the user wants."""

    _esm = Path(__file__).parent / "js" / "table.js"
    _css = _CSS
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
        self._post()

    def tell(self, text: str = "", edit: int = 0) -> None:
        """Show what was done beside the search, with Undo where it is an edit."""
        self.send({"kind": "said", "text": text, "edit": edit})

    def _post(self) -> None:
        total = len(self._colors)
        for start in range(0, max(1, total), _PIECE):
            part = slice(start, start + _PIECE)
            buffers = [np.ascontiguousarray(v[part], np.float64).tobytes() for v in self._values]
            count = len(self._colors[part])
            message = {"kind": "rows", "columns": self._columns, "total": total, "offset": start, "count": count}
            self.send(message, [*buffers, np.ascontiguousarray(self._colors[part]).tobytes()])

    def _on_message(self, _widget: Any, message: dict[str, Any], _buffers: Any) -> None:
        kind = message.get("kind")
        if kind == "ready":
            if self._columns:
                self._post()
        else:
            self.asked.emit(str(kind), message)


class ObjectsTable(Saved, ipw.VBox):
    """A table of objects to sort, search and filter.

    Parameters
    ----------
    source : Session, Labels or (z, y, x) integer array
        With a session, a click selects the object and moves there, Ctrl and Shift select several, Delete deletes
        what is selected, and the table follows every edit.
    lazy : bool
        Measure nothing before `refresh` is called.
    height : int
        Pixels.

    Attributes
    ----------
    table : DataFrame
        What is shown, as `mn.measure` returns it.
    picked : Signal(int)
        The id that was clicked.
    """

    picked = Signal(int)

    def __init__(self, source: Any, *, lazy: bool = False, height: int = 220, **options: Any) -> None:
        self.source = source if isinstance(source, Session | Labels) else Labels(source)
        self.table: Any = None
        self.grid = Grid(layout={"height": f"{height}px", "width": "100%"}, empty="")
        self.grid.deletes = isinstance(self.source, Session)
        self.status = ipw.HTML(layout={"display": "none"})
        self._lock = threading.Lock()
        self._wanted = False
        self._worker = Latest(self._measure, failed=self._fail, delay=0.3)
        super().__init__([sheet(), self.status, self.grid], **options)
        self.add_class("mnb")
        self.grid.asked.connect(self._on_asked)
        if isinstance(self.source, Session):
            self.source.edited.connect(self._on_edited)
            self.source.selected.connect(self._on_selected)
        if not lazy:
            self.refresh()

    def refresh(self) -> None:
        """Measure again, in a thread."""
        self._wanted = True
        self._worker.ask()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the table is up to date; return whether it is."""
        return self._worker.wait(timeout)

    def go_to(self, key: int) -> None:
        """Select an object, and with a session look at its middle."""
        if isinstance(self.source, Session):
            if self.source.voxels(key):  # else the row is of an object that has just gone
                self.source.go_to(key)
        else:
            self._on_selected((key,))
        self.picked.emit(key)

    def select(self, *ids: int) -> None:
        """Select objects, and stay where one looks."""
        if isinstance(self.source, Session):
            self.source.select(*ids)
        else:
            self._on_selected(ids)

    def delete(self, *ids: int) -> None:
        """Delete objects: one edit of the session, said with Undo.

        Raises
        ------
        InputError
            If one of them is not there, or the labels belong to no session.
        """
        if not isinstance(self.source, Session):
            raise InputError("These labels belong to no session, and are only looked at. Delete in mn.explore(labels).")
        change = self.source.delete(*ids)
        self.source.select(*(i for i in self.source.selection if i not in set(ids)))
        self.grid.tell(self.source.history(after=change.seq - 1)[0].sentence, change.seq)

    def _on_asked(self, kind: str, message: dict[str, Any]) -> None:
        """Do what the user wants; what cannot be done is said on screen."""
        try:
            if kind == "pick":
                self.go_to(int(message["id"]))
            elif kind == "select":
                self.select(*map(int, message["ids"]))
            elif kind == "delete":
                self.delete(*map(int, message["ids"]))
            elif kind == "undo" and isinstance(self.source, Session):
                self.source.undo(of=int(message["edit"]))
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
        lines = [" ".join(f"{v[i]:g}" for v in values) for i in range(len(values[0]) if values else 0)]
        return "\n".join([" | ".join(c["label"] for c in columns), *lines])

    def _measure(self) -> None:
        labels = self.source.labels if isinstance(self.source, Session) else self.source
        table = measure(labels)
        columns, values = _columns(table)
        colors = np.rint(coloring_of(self.source).rgb(table["id"].to_numpy(np.uint32)) * 255).astype(np.uint8)
        with self._lock:
            self.table = table
        self.grid.empty = "No objects yet: segment a plane (Enter) or the volume, or paint one (P)."
        self.grid.fill(columns, values, colors)

    def _on_edited(self, _change: Any) -> None:
        self.grid.tell()
        # Also while the first measurement runs: it may have seen labels from the middle of this edit.
        if self._wanted:
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
    shown = [entry for entry in _COLUMNS if entry[0] in table]
    keys = ("name", "scale", "label", "kind", "digits", "width", "tip")
    columns = [dict(zip(keys, entry, strict=True)) for entry in shown]
    return columns, [table[entry[0]].to_numpy(np.float64) * entry[1] for entry in shown]
