"""The objects as a table: sort and filter it, click a row and be there, choose several and delete them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as ipw
import numpy as np
import traitlets
from psygnal import Signal

from mitonb.edit.marks import ASIDE, KINDS, STROKES
from mitonb.errors import InputError
from mitonb.measurements import COLUMNS, GROUPS, measure
from mitonb.session import Session
from mitonb.widgets.packs import Packed, pack
from mitonb.widgets.review_bar import ReviewBar
from mitonb.widgets.style import STATIC, Latest, Part, Saved, error_html, follow, note
from mitonb.widgets.teaching import TeachBar

if TYPE_CHECKING:
    from mitonb.session.teaching import Lesson


_KEPT, _PATIENCE = 20, 2  # rows that a saved notebook keeps, and seconds that it waits for them


class Grid(Packed):
    """The browser's half of the table: draws the rows in sight, sorts, filters, and tells what the user wants."""

    _esm = STATIC / "table.js"
    selected = traitlets.List(traitlets.Int()).tag(sync=True)
    empty = traitlets.Unicode().tag(sync=True)
    deletes = traitlets.Bool(False).tag(sync=True)
    noun = traitlets.Unicode("object").tag(sync=True)
    groups = traitlets.List(traitlets.Unicode()).tag(sync=True)
    asked = Signal(str, object)

    def fill(self, columns: list[dict[str, Any]], values: list[Any], colors: np.ndarray) -> None:
        """Take new rows: the columns, numbers for each, and the (n, 3) uint8 colours of the rows."""
        self.packs["rows"] = pack({"columns": columns}, values=np.array(values, np.float64), colors=colors)
        self._tell("rows")

    def tell(self, text: str = "", edit: int = 0) -> None:
        """Show what was done beside the search, with Undo where it is an edit."""
        self.send({"kind": "said", "text": text, "edit": edit})

    def _on_message(self, message: dict[str, Any]) -> None:
        super()._on_message(message)
        if message.get("kind") != "ready":
            self.asked.emit(str(message.get("kind")), message)


class ObjectsTable(Saved, Part):
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
        self.session = source if isinstance(source, Session) else Session(labels=source)
        self.table: Any = None
        self.also: list[str] = []
        self.grid = Grid(layout={"height": f"{height}px", "width": "100%"}, deletes=self.session is source)
        self.status = ipw.HTML(layout={"display": "none"})
        self.teach, self.review, self._stale = TeachBar(self.session), ReviewBar(self.session), False
        self._worker = Latest(self._measure, failed=self._fail, delay=0.3)
        super().__init__(self.status, self.review, self.teach, self.grid, **options)
        for bar in (self.teach, self.review):
            bar.failed.connect(self._fail)
        self.review.found.connect(self._worker.ask)
        if self.session is not source:
            self.review.layout.display = "none"
        self.grid.asked.connect(self._on_asked)
        follow(self, self.session.edited, self._on_edited)
        follow(self, self.session.selected, lambda ids: setattr(self.grid, "selected", list(ids)))
        self._worker.ask()

    def go_to(self, key: int) -> None:
        """Select an object, and with a session look at its middle."""
        if self.session.voxels(key):  # else the row is of an object that has just gone
            self.session.go_to(key)

    def measure_also(self, group: str) -> None:
        """Add columns that take longer: a group of `mn.measure`, such as "shape", or "grey" of the image."""
        if group not in (*GROUPS, "grey"):
            raise InputError(f"There is no group of columns {group!r}. There are {', '.join(GROUPS)}, and 'grey'.")
        self.also, self._stale = [*dict.fromkeys([*self.also, group])], True
        self._worker.ask()

    def measured(self) -> Any:
        """Return the table of the labels as they are now, with the columns that were asked for."""
        stack = self.session.stack if "grey" in self.also else None
        return measure(self.session.labels, stack=stack, also=[name for name in self.also if name != "grey"])

    def delete(self, *ids: int) -> None:
        """Delete objects: one edit of the session, said with Undo.

        Raises
        ------
        InputError
            If one of them is not there, or the labels belong to no session.
        """
        if not self.grid.deletes:
            raise InputError("These labels belong to no session: delete in mn.explore(labels), which makes one.")
        change = self.session.delete(*ids)
        self.session.select(*(i for i in self.session.selection if i not in set(ids)))
        self.grid.tell(self.session.history(after=change.seq - 1)[0].sentence, change.seq)

    def _on_asked(self, kind: str, message: dict[str, Any]) -> None:
        """Do what the user wants; what cannot be done is said on screen."""
        try:
            if kind == "pick":
                self.go_to(int(message["id"]))
            elif kind == "measure":
                self.measure_also(str(message["group"]))
            elif kind == "undo":
                self.session.undo(of=int(message["edit"]))
            elif kind in ("select", "delete"):
                (self.delete if kind == "delete" else self.session.select)(*map(int, message["ids"]))
            if kind != "measure":
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
        columns, values = self._shown(self.table) if self.table is not None else ([], [])
        lines = [" ".join(f"{v:g}" for v in numbers) for numbers in zip(*values, strict=True)]
        return "\n".join([" | ".join(c["label"] for c in columns), *lines])

    def _measure(self) -> None:
        if self.table is None or self._stale:
            self._stale = False
            if self.also:
                self._say(note(f"measuring {', '.join(self.also)} …"))
            table = self.measured()
            self._say("")
        else:
            table = self.table  # something was only marked
        offered = [*(GROUPS if self.session.voxel_size else ()), *(["grey"] if self.session.stack is not None else ())]
        self.grid.groups = [name for name in offered if name not in self.also]
        what = "a plane (Enter) or the volume" if self.session.shape[0] > 1 else "the section (Enter)"
        self.grid.empty = f"No objects yet: segment {what}, or paint one (P)."
        if self.teach.lesson is None or self.table is None:  # else describing objects, for a second, delays nothing
            self._fill(table)
        self.teach.learn()
        self._fill(table)

    def _fill(self, table: Any) -> None:
        """Show the table, and a column of verdicts once there are marks."""
        self.table = table
        colors = np.rint(self.session.colors.rgb(table["id"].to_numpy(np.uint32)) * 255).astype(np.uint8)
        columns, values = self._shown(table)
        self.grid.fill(columns, values, colors)

    def _shown(self, table: Any) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
        """Return what the grid shows of a table of objects: the columns, and a float array for each."""
        shown = [
            (head(c.name, c.tip, scale=c.factor, label=c.title, kind=c.kind, digits=c.digits, width=c.width),
             table[c.name] * c.factor) for c in COLUMNS if c.title and c.name in table
        ]  # fmt: skip
        ids, lesson, doubted, doubts = table["id"], self.teach.lesson, self.session.doubted, self.review.open_scores()
        if locked := {*self.session.locked}:
            shown.insert(1, (_LOCKED, ids.isin(locked)))
        if doubts:
            shown.insert(1, (_DOUBT, ids.map(doubts)))
        if lesson is not None or doubted:
            shown.insert(1, (_VERDICT, [_verdict(lesson, doubted, id) for id in ids.tolist()]))
        return [column for column, _ in shown], [np.asarray(values, np.float64) for _, values in shown]

    def _on_edited(self, change: Any) -> None:
        self.grid.tell()
        self._stale = self._stale or change.what not in (*KINDS, *STROKES, *ASIDE, "dismiss")
        # Also while the first measurement runs: it may have seen labels from the middle of this edit.
        self._worker.ask()

    def _fail(self, error: BaseException) -> None:
        self._say(error_html(error))

    def _say(self, text: str) -> None:
        self.status.value = text
        self.status.layout.display = None if text else "none"


def head(name: str, tip: str, **more: Any) -> dict[str, Any]:
    """Return what the grid is told of a column of whole numbers, or of what is said of it."""
    return {"name": name, "label": name, "tip": tip, "scale": 1, "kind": "number", "digits": 0, "width": 76, **more}


_VERDICT = head("verdict", "What you marked it as, or how probably it is right by your marks", kind="verdict", digits=2)
_DOUBT = head(
    "doubt", "How much speaks against it, 0 to 1, while it waits in the review; sort by it, or press N", digits=2
)
_LOCKED = head("locked", "Nothing changes it until it is unlocked (K, Shift-K)", kind="flag", width=60)


def _verdict(lesson: Lesson | None, doubted: dict[int, str], id: int) -> float:
    """Return 2 for right, -1 for false, -2 for to be mended, -3 for unsure, else how probably it is right, or NaN."""
    if id in doubted:
        return -2.0 if doubted[id] == "fix" else -3.0
    if lesson is not None and id in lesson.marks:
        return 2.0 if lesson.marks[id] else -1.0
    return float(lesson.chances.get(id, np.nan)) if lesson is not None else np.nan


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
    return ObjectsTable(source, height=height)
