"""The objects as a table: sort it, click a row, and be there."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as ipw
import numpy as np
import traitlets
from psygnal import Signal

from mitonb.coloring import coloring_of
from mitonb.errors import InputError
from mitonb.labels import Labels
from mitonb.measurements import measure
from mitonb.session import Session
from mitonb.widgets.latest import Latest
from mitonb.widgets.saved import Saved
from mitonb.widgets.style import error_html, note, row, sheet

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
.mnb-table .empty { position: absolute; inset: 34px 12px auto; text-align: center;
  color: var(--jp-ui-font-color2, #666); }
"""


class Grid(anywidget.AnyWidget):
    """The browser's half of the table: draws the rows in sight, sorts, and tells which row was picked."""

    _esm = Path(__file__).parent / "js" / "table.js"
    _css = _CSS
    selected = traitlets.List(traitlets.Int()).tag(sync=True)
    empty = traitlets.Unicode().tag(sync=True)
    picked = Signal(int)

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

    def _post(self) -> None:
        total = len(self._colors)
        for start in range(0, max(1, total), _PIECE):
            part = slice(start, start + _PIECE)
            buffers = [np.ascontiguousarray(v[part], np.float64).tobytes() for v in self._values]
            count = len(self._colors[part])
            message = {"kind": "rows", "columns": self._columns, "total": total, "offset": start, "count": count}
            self.send(message, [*buffers, np.ascontiguousarray(self._colors[part]).tobytes()])

    def _on_message(self, _widget: Any, message: dict[str, Any], _buffers: Any) -> None:
        if message.get("kind") == "ready" and self._columns:
            self._post()
        elif message.get("kind") == "pick":
            self.picked.emit(int(message["id"]))


class ObjectsTable(Saved, ipw.VBox):
    """A sortable table of objects.

    Parameters
    ----------
    source : Session, Labels or (z, y, x) integer array
        With a session, a click selects the object and moves there, and the table follows every edit.
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
        self.source = source if isinstance(source, Session | Labels) else Labels(np.asarray(source))
        self.table: Any = None
        self.grid = Grid(layout={"height": f"{height}px", "width": "100%"}, empty="")
        self.status = ipw.HTML()
        self._lock = threading.Lock()
        self._wanted = False
        self._worker = Latest(self._measure, failed=self._fail, delay=0.3)
        super().__init__([sheet(), row(self.status), self.grid], **options)
        self.add_class("mnb")
        self.grid.picked.connect(self.go_to)
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
        count = len(table)
        self.status.value = note(
            "1 object" if count == 1 else f"{count:,} objects; click a row to go there" if count else ""
        )

    def _on_edited(self, _change: Any) -> None:
        # Also while the first measurement runs: it may have seen labels from the middle of this edit.
        if self._wanted:
            self._worker.ask()

    def _on_selected(self, ids: tuple[int, ...]) -> None:
        self.grid.selected = list(ids)

    def _fail(self, error: BaseException) -> None:
        self.status.value = error_html(error)


def show_table(source: Any, *, height: int = 220) -> ObjectsTable:
    """Show the objects as a table: a click on a header sorts, a click on a row selects and goes there.

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
