"""Where two label sets differ, as a list on the screen: a click on a mistake selects it and goes there."""

from __future__ import annotations

from typing import Any

import ipywidgets as ipw
import numpy as np

from mitonb.errors import AxesError, InputError
from mitonb.labels import Labels
from mitonb.mistakes import list_mistakes
from mitonb.widgets.objects_table import Grid, head
from mitonb.widgets.style import Latest, Part, Saved, count_text, error_html, follow, note
from mitonb.widgets.viewer import Viewer

_KINDS = ("missing", "false", "merged", "split", "mixed", "poor")
_COLORS = ((230, 159, 0), (86, 180, 233), (204, 121, 167), (0, 158, 115), (240, 228, 66), (150, 150, 150))
_COLUMNS = [
    head("number", "Its number", kind="id"),
    head("kind", "missing: only in the other labels. false: only in these. merged: one here, several there. split: "
         "several here, one there. mixed: several of both. poor: one of both, but unlike", kind="word", words=_KINDS),
    head("voxels", "How many voxels are wrong"),
    head("ids", "How many objects of these labels take part", label="objects"),
    head("truths", "How many objects of the other labels take part", label="others"),
    *(head(axis, "Where it is") for axis in "zyx"),
]  # fmt: skip


class MistakesList(Saved, Part):
    """The mistakes of a session's labels against others, the largest first; a click goes to one.

    Parameters
    ----------
    source : Viewer, App or Session
        Whose labels are looked at. With a viewer both label sets are shown there, too (A changes how).
    truth : Labels or (z, y, x) integer array
        What they are compared with: the truth, or another annotator's labels.
    iou : float
        From which overlap on two objects are the same.
    height : int
        Pixels.

    Attributes
    ----------
    table : DataFrame
        As `mn.list_mistakes` returns it; None until it is there.
    """

    def __init__(self, source: Any, truth: Any, *, iou: float = 0.5, height: int = 220) -> None:
        viewer: Any = getattr(source, "viewer", source if isinstance(source, Viewer) else None)
        session = getattr(viewer or source, "session", source)
        if not hasattr(session, "labels"):
            raise InputError(f"Mistakes are those of a session, a viewer or a workbench, got {type(source).__name__}.")
        self.session = session
        self.truth = truth if isinstance(truth, Labels) else Labels(np.asarray(truth), self.session.voxel_size)
        if self.truth.shape != self.session.shape:
            raise AxesError(f"The truth needs the shape of the labels, {self.session.shape}, got {self.truth.shape}.")
        self.iou = iou
        self.table: Any = None
        if viewer is not None:
            viewer.compare(self.truth, name=self.truth.name or "other")
        room = {"height": f"{height}px", "width": "100%"}
        self.grid = Grid(layout=room, noun="mistake", empty="There is no mistake.")
        self.status = ipw.HTML(note("comparing …"))
        self._worker = Latest(self._look_again, failed=lambda error: setattr(self.status, "value", error_html(error)))
        super().__init__(self.status, self.grid)
        self.grid.asked.connect(self._on_asked)
        follow(self, self.session.edited, self._on_edited)
        self._worker.ask()

    def go_to(self, number: int) -> None:
        """Select the objects of a mistake, numbered from 1, and go to its place; of one that is mended, do nothing."""
        if self.table is None or not 0 < number <= len(self.table):
            return
        one = self.table.iloc[number - 1]
        self.session.select(*(id for id in one.ids if self.session.voxels(id)))
        self.session.move_to(one.z, one.y, one.x)
        self.grid.selected = [number]

    def saved(self) -> tuple[str, dict[str, str]]:
        """Return the first rows, for readers without a kernel."""
        self.wait(2)
        if self.table is None:
            return "mitonb list of mistakes", {}
        return f"mitonb list of {count_text(len(self.table), 'mistake')}", {"text/html": self.table.head(20).to_html()}

    def _on_edited(self, _: Any) -> None:
        self._worker.ask()

    def _look_again(self) -> None:
        self.table = table = list_mistakes(self.session.labels, self.truth, iou=self.iou)
        kinds = np.array([_KINDS.index(kind) for kind in table["kind"]], int)
        counts = (table[name].map(len) for name in ("ids", "truths"))
        shown = [np.arange(1, len(table) + 1), kinds, table["voxels"], *counts, *(table[axis] for axis in "zyx")]
        self.grid.fill(_COLUMNS, shown, np.array(_COLORS, np.uint8)[kinds].reshape(-1, 3))
        found = table["kind"].value_counts()
        said = ", ".join(f"{found[kind]} {kind}" for kind in _KINDS if kind in found)
        self.status.value = note(f"{count_text(len(table), 'mistake')}{': ' if said else ''}{said}")

    def _on_asked(self, kind: str, message: dict[str, Any]) -> None:
        if kind == "pick":
            self.go_to(int(message["id"]))
        elif kind == "select":
            self.grid.selected = [int(number) for number in message["ids"]]


def show_mistakes(source: Any, truth: Any, *, iou: float = 0.5, height: int = 220) -> MistakesList:
    """Show where a session's labels differ from others, the largest mistake first; a click goes to one.

    Parameters
    ----------
    source : Viewer, App or Session
        Whose labels are looked at; a viewer shows both label sets beside each other.
    truth : Labels or (z, y, x) integer array
        The truth, or the labels of another annotator.
    iou, height
        As in `MistakesList`.

    Raises
    ------
    InputError, AxesError
        If the source has no session, or the shapes differ.
    """
    return MistakesList(source, truth, iou=iou, height=height)
