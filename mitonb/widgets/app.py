"""The workbench: one widget with the picture, the recipe, the runs, the objects, 3D and the history of a session."""

from __future__ import annotations

import html
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as ipw
import numpy as np

from mitonb.errors import InputError
from mitonb.job import Job
from mitonb.models.folder import model_names
from mitonb.session import Session
from mitonb.widgets.history_view import HistoryView
from mitonb.widgets.inference import RecipeForm, RunBar, reruns_of
from mitonb.widgets.latest import Latest
from mitonb.widgets.loader import OpenForm
from mitonb.widgets.objects_table import ObjectsTable
from mitonb.widgets.runs import Runs
from mitonb.widgets.save_form import SaveForm
from mitonb.widgets.saved import Saved
from mitonb.widgets.style import note, row, sheet, size_text
from mitonb.widgets.viewer import Viewer, session_of
from mitonb.widgets.volume3d import View3D
from mitonb.widgets.voxel_size import VoxelSizeField

if TYPE_CHECKING:
    import os

    from mitonb.labels import Labels
    from mitonb.recipe import Recipe
    from mitonb.session import Change
    from mitonb.widgets.run_bar import Said

__all__ = ["App", "explore"]

_TAB_HEIGHT = 180
_NO_WORKBENCH = "The workbench needs JupyterLab: marimo does not show ipywidgets."

_CSS = """
<style>.mnb-app { max-width: 100%; }
.mnb-app .mnb-head { border-bottom: 1px solid var(--jp-border-color2, #ccc); padding: 0 2px 3px; gap: 10px;
  min-height: 30px; }
.mnb-app .mnb-head b { font-size: 13px; }
.mnb-app .mitonb-titles { display: none; }
.mnb-app .mnb-main { gap: 8px; align-items: stretch; overflow: visible; }
.mnb-app .mnb-side { flex: 0 0 330px; contain: size; overflow: hidden auto; scrollbar-gutter: stable;
  scrollbar-width: thin; }
.mnb-app .mnb-folded > .mnb-side { display: none; }
.mnb-app .mnb-stacked { flex-direction: column-reverse; justify-content: flex-end; }
.mnb-app .mnb-stacked > .mnb-side { flex: none; contain: none; width: 100%; max-height: 300px; }
.mnb-app:fullscreen { width: 100%; height: 100%; margin: 0; padding: 8px; overflow: auto;
  background: var(--jp-layout-color1, #fff); }
.mnb-app .widget-tab { margin-top: 4px; }
.mnb-app .widget-tab > .widget-tab-contents { padding: 6px; overflow: hidden; min-height: 194px; }
.mnb-app .widget-tab > .lm-TabBar .lm-TabBar-tab { flex: 0 1 110px; min-width: 60px; }</style>
"""


class App(Saved, ipw.VBox):
    """The workbench of one session.

    A script calls the same methods that the buttons call.

    Parameters
    ----------
    session : Session, optional
        Without it the workbench asks for a stack.
    recipe : Recipe, optional
        What the form shows at first.
    path : path, optional
        Project file for the stack that the user opens.
    height : int, optional
        Height of the viewer in CSS pixels; by default it follows the window. Header and tabs take about 330 more.

    Attributes
    ----------
    session : Session or None
        The owner of stack, labels and history; None until a stack is opened.
    viewer, form, run_bar, table, view3d, history, saver
        The parts.
    runs : Runs
        What the run buttons do, and the maps that the net left.
    """

    def __init__(
        self,
        session: Session | None = None,
        *,
        recipe: Recipe | None = None,
        path: Any = None,
        height: int | None = None,
    ) -> None:
        super().__init__([sheet(), ipw.HTML(_CSS)])
        self.add_class("mnb").add_class("mnb-app")
        self.session: Session | None = None
        self._recipe, self._height = recipe, height
        if session is not None:
            self.start(session)
            return
        self.opener = OpenForm()
        self.opener.opened.connect(lambda stack: self.start(Session(stack, path=path)))
        self.children += (ipw.HTML("<b>Open a stack</b>"), self.opener)

    def start(self, session: Session) -> None:
        """Show the workbench for a session."""
        self.session = session
        self.runs = Runs(session)
        self._previewing = False
        self._draft: tuple[str, int, Any, Recipe] | None = None
        self._live = Latest(self._redecode, failed=lambda error: self.run_bar.fail(error))
        self.viewer = Viewer(session, height=self._height)
        self.form = RecipeForm(self._recipe, models=model_names())
        self._applied = self._joined = self.form.recipe
        self.run_bar = RunBar()
        self.table = ObjectsTable(session, height=_TAB_HEIGHT)
        self.view3d = View3D(session, lazy=True, height=420)
        self.history = HistoryView(session, height=_TAB_HEIGHT - 32)
        self.saver = SaveForm(self._write, stem=_stem(session))
        self.to_save = ipw.Button(
            description="save as …", icon="download", tooltip="Save labels or the table", layout={"width": "auto"}
        )
        self.about = ipw.HTML()
        self.voxel_size = VoxelSizeField()
        self.children = (sheet(), ipw.HTML(_CSS), *self._laid_out())
        self._connect(session)
        self._describe()
        if session.notes:
            self.run_bar.say(" ".join(session.notes))
        self._live.ask()

    def _laid_out(self) -> tuple[ipw.Widget, ...]:
        self.about.layout.flex = "1 1 200px"
        head = row(self.about, self.voxel_size, self.to_save, justify_content="space-between")
        head.add_class("mnb-head")
        self.viewer.layout.flex = "1 1 0"
        self.viewer.layout.min_width = "0"
        # The page folds the recipe, and moves it above the picture where there is no room beside it (js/frame.js).
        side = ipw.VBox([self.form]).add_class("mnb-side")
        main = ipw.HBox([self.viewer, side]).add_class("mnb-main")
        self.tabs = ipw.Tab(
            [self.table, self.view3d, self.history, self.saver],
            titles=("Objects", "3D", "History", "Save"), selected_index=0,
        )  # fmt: skip
        return head, self.run_bar, main, self.tabs

    def _connect(self, session: Session) -> None:
        session.edited.connect(self._on_edited)
        self.run_bar.undone.connect(lambda edit: self._try(self._take_back, edit))
        self.voxel_size.chosen.connect(lambda nm: self._try(session.set_voxel_size, *nm))
        self.to_save.on_click(lambda _: setattr(self.tabs, "selected_index", 3))
        self.form.changed.connect(self._on_recipe)
        self.run_bar.worked.connect(lambda busy: setattr(self.viewer, "running", busy))
        self.run_bar.replace.observe(lambda _: self._live.ask(), "value")
        self.run_bar.asked.connect(lambda what: self.viewer.when_told(lambda: self._on_asked(what)))
        self.viewer.asked.connect(self._on_asked)
        self.viewer.observe(lambda _: self._live.ask(), ["axis", "index"])
        self.tabs.observe(self._on_tab, "selected_index")

    # What the buttons do, and a script may call.

    def run_plane(self) -> Job[Any]:
        """Segment the plane on screen, in a thread; `.result()` of the job waits.

        Corrected objects are kept, unless the switch beside the buttons says otherwise; so they are in the others.
        """
        axis, index, recipe = self.viewer.axis, self.viewer.index, self.form.recipe
        steps = self.runs.plane(axis, index, recipe, replace_corrected=self.run_bar.replaces)
        job = Job(steps, name=f"Segment {axis} plane {index}")
        return self.run_bar.watch(
            job, then=lambda change: self._after(recipe, self._told(f"{axis} plane {index} segmented."), change)
        )

    def look_at_maps(self) -> Job[Any]:
        """Run the net on the plane on screen for its maps alone, in a thread; the labels stay as they are."""
        axis, index, recipe = self.viewer.axis, self.viewer.index, self.form.recipe
        job = Job(self.runs.look(axis, index, recipe), name=f"Look at {axis} plane {index}")
        return self.run_bar.watch(job, then=lambda _: self._show_maps(axis, index))

    def run_volume(self) -> Job[Labels]:
        """Segment the whole stack, in a thread; `.result()` of the job waits."""
        recipe = self.form.recipe
        job = Job(self.runs.volume(recipe, replace_corrected=self.run_bar.replaces), name="Segment the volume")
        return self.run_bar.watch(
            job, then=lambda labels: self._after(recipe, _found(labels), self.runs.change, joined=True)
        )

    def apply_plane(self) -> None:
        """Make the preview of the plane on screen an edit."""
        axis, index = self.viewer.axis, self.viewer.index
        if self._draft is None or self._draft[:2] != (axis, index):
            self.run_bar.say("There is no preview of this plane: move a threshold first.", "error")
            return
        ids, recipe = self._draft[2:]
        change = self.runs.put(ids, axis, index, recipe, replace_corrected=self.run_bar.replaces)
        self.run_bar.say(self._after(recipe, f"Applied to {axis} plane {index}.", change), "good")

    def discard_preview(self) -> None:
        """Drop the preview of the plane on screen; the settings stay, and the next change of one shows it again."""
        self._previewing = False
        self._live.ask()
        self.run_bar.say("Preview discarded; the settings stay.")

    def apply_volume(self) -> Job[Labels]:
        """Decode and track the kept maps of the volume with the recipe of the form; the net is not run."""
        recipe = self.form.recipe
        job = Job(self.runs.again(recipe, replace_corrected=self.run_bar.replaces), name="Decode the volume again")
        said = "{} found, without running the network.".format
        return self.run_bar.watch(
            job, then=lambda labels: self._after(recipe, said(_objects(labels)), self.runs.change, joined=True)
        )

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Save the labels, or with .csv the table of objects; raises what the form would show as a sentence."""
        return self._write(path, overwrite=overwrite)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the preview, the table and the history are up to date."""
        return self._live.wait(timeout) and self.table.wait(timeout) and self.history.wait(timeout)

    def saved(self) -> tuple[str, dict[str, str]]:
        """Return the plane on screen with its objects, for readers without a kernel."""
        if self.session is None:
            return "mitonb workbench, without a stack yet", {}
        sentence, picture = self.viewer.saved()
        return sentence.replace("viewer", "workbench", 1), picture

    def state(self) -> str:
        """Return what the workbench shows, as text."""
        if self.session is None:
            return f"open a stack: {self.opener.state()}"
        tab = self.tabs.titles[self.tabs.selected_index or 0]
        draft = "no preview" if self._draft is None else f"preview of {self._draft[0]} {self._draft[1]}"
        return (
            f"{self.viewer.axis} {self.viewer.index} | {self.session.save_state} | {draft} | {tab} | {self.hint_text()}"
        )

    def hint_text(self) -> str:
        """Return the sentence that helps a beginner on, or "" when there are labels."""
        if self.session is None or self.session.ids():
            return ""
        return "No labels yet: Segment this plane (Enter), or paint one (P)."

    # What happens on screen.

    def _on_asked(self, what: str) -> None:
        doing = {
            "plane": self.run_plane, "segment-plane": self.run_plane, "volume": self.run_volume,
            "maps": self.look_at_maps, "look-at-maps": self.look_at_maps,
            "apply-plane": self.apply_plane, "apply-preview": self.apply_plane, "apply-volume": self.apply_volume,
            "discard-preview": self.discard_preview,
        }.get(what)  # fmt: skip
        if doing is not None:
            self._try(doing)

    def _try(self, do: Any, *arguments: Any) -> None:
        try:
            do(*arguments)
        except Exception as error:  # a handler has no caller: what goes wrong must be read on screen
            self.run_bar.fail(error)

    def _differs(self, recipe: Recipe) -> bool:
        """Return whether the kept maps of the volume would become other labels than they did last."""
        return self.runs.complete(recipe) and bool(recipe.changes(self._joined))

    def _after(self, recipe: Recipe, said: str, change: Change | None, *, joined: bool = False) -> Said:
        """Drop the preview after its plane or volume became labels, unless a threshold was moved meanwhile.

        Returns what was done, also about corrections, and the edit that it was.
        """
        self._applied = recipe
        if joined:
            self._joined = recipe
        self._previewing = "decode" in reruns_of(recipe, self.form.recipe)
        self._live.ask()
        if change is None:
            return said, 0
        return f"{said} {change.about_corrections()}".strip(), 0 if change.what == "nothing" else change.seq

    def _show_maps(self, axis: str, index: int) -> str:
        self.viewer.set_layer("semantic", visible=True)
        self._live.ask()
        return self._told(f"The maps of {axis} plane {index} are shown; the labels are as they were.")

    def _told(self, said: str) -> str:
        """Return what was done, with what the run of a plane has to tell about the image."""
        return " ".join([said, *self.runs.notes])

    def _on_recipe(self, recipe: Recipe, rerun: str) -> None:
        self._describe()
        if rerun == "decode":
            # Back at the settings that made the labels (by "reset", say), a preview would only cover them.
            self._previewing = bool(recipe.changes(self._applied))
            if not self._previewing:
                self.run_bar.say("These are the settings of the labels again: no preview.")
            self._live.ask()
        elif rerun == "track" and self.runs.complete(recipe):
            self.run_bar.say("Apply to the volume joins the planes again, without running the network.")
        elif rerun == "net":
            self.run_bar.say("This takes effect with the next run.")
        self.run_bar.allow(apply_volume=self._differs(recipe))

    def _redecode(self) -> None:
        """Show the maps that are kept of the plane on screen, and its preview while thresholds move."""
        axis, index, recipe = self.viewer.axis, self.viewer.index, self.form.recipe
        maps = self.runs.maps(axis, index, recipe.median)
        self.viewer.set_maps(axis, index, maps, None if maps is None else self.runs.peaks(maps, recipe))
        ids = self.runs.preview(axis, index, recipe) if self._previewing else None
        self._draft = None if ids is None else (axis, index, ids, recipe)
        replaces = self.run_bar.replaces
        shown = None if ids is None else self.runs.plane_with(ids, axis, index, recipe, replace_corrected=replaces)
        self.viewer.set_preview(axis, index, shown)
        self.run_bar.allow(apply_plane=ids is not None, apply_volume=self._differs(recipe))
        if ids is not None:
            count = len(np.unique(ids)) - int((ids == 0).any())
            self.run_bar.say(f"Preview: {count} profiles on this plane. Apply it, or move on to drop it.")
        elif self._previewing and maps is None:
            self.run_bar.say(
                "The network has not seen this plane yet: segment it once, or look at its maps; thresholds then act at "
                "once."
            )

    def _describe(self) -> None:
        session = self.session
        if session is None:
            return
        name = session.stack.name if session.stack is not None else session.labels.name
        self.about.value = (
            f"<b>{html.escape(name)}</b> &ensp;{note(size_text(session.shape, session.voxel_size))}"
            f" &ensp;{note('model: ' + self.form.recipe.model)}"
        )
        self.voxel_size.layout.display = "none" if session.voxel_size else ""

    def _on_edited(self, _change: Change) -> None:
        self._describe()
        self.run_bar.offer_undo(0)

    def _take_back(self, edit: int) -> None:
        assert self.session is not None
        done = self.session.history(after=edit - 1)[0].text
        self.session.undo(of=edit)
        self.run_bar.say(f"Undone: {done}.")

    def _on_tab(self, change: Any) -> None:
        if change["new"] == 1 and not self.view3d.built:
            self.view3d.refresh()

    def _write(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        from mitonb.io.writing import save
        from mitonb.measurements import measure

        if self.session is None:
            raise InputError("There is nothing to save yet: open a stack first.")
        labels = self.session.labels
        if str(path).lower().endswith(".csv"):
            return save(measure(labels), path, overwrite=overwrite)
        return save(labels, path, overwrite=overwrite)


def explore(
    stack: Any = None,
    labels: Any = None,
    *,
    path: str | os.PathLike[str] | None = None,
    recipe: Recipe | None = None,
    height: int | None = None,
) -> App | Viewer:
    """Open the workbench: look, segment, correct, measure and save, in one widget.

    In marimo, which does not show ipywidgets, it opens the viewer alone, and says so.

    Parameters
    ----------
    stack : Session, Stack, Labels, (z, y, x) array or path, optional
        The image, or a session to go on with. Without it (and without `path`) the workbench asks for one.
    labels : Labels or (z, y, x) integer array, optional
        First labels.
    path : path, optional
        Project file that keeps every edit, for example "cell.mitonb"; what it holds already is brought back. Without
        it the work is in memory only, and the workbench says so.
    recipe : Recipe, optional
        What the form shows at first.
    height : int, optional
        Height of the viewer in CSS pixels; by default it follows the window.

    Returns
    -------
    App, or Viewer in marimo
        A widget; `app.session` is the headless owner of everything.

    Raises
    ------
    InputError
        In marimo, if there is nothing to open.

    Examples
    --------
    >>> import mitonb as mn
    >>> app = mn.explore(*mn.phantom((8, 96, 96), objects=4))
    >>> app.session.merge(1, 2).what
    'merge'
    """
    path = None if path is None else Path(path).expanduser()
    session = None
    if stack is not None or labels is not None:
        session = session_of(stack, labels, path)
    elif path is not None and path.exists():
        session = Session.open(path)
    if not _in_marimo():
        return App(session, recipe=recipe, path=path, height=height)
    if session is None:
        raise InputError(f"{_NO_WORKBENCH} Open a file yourself: mn.explore(mn.open(...)).")
    rest = "This is mn.view, to look and to correct; mn.segment, mn.measure and mn.save do the rest."
    # On lines of their own: marimo cuts long ones off.
    warnings.warn(f"\n{_NO_WORKBENCH}\n{rest}", stacklevel=2)
    return Viewer(session, height=height)


def _in_marimo() -> bool:
    marimo = sys.modules.get("marimo")
    return bool(marimo is not None and marimo.running_in_notebook())


def _stem(session: Session) -> str:
    """Return the first part of a file name for results, made of letters that every system takes."""
    name = session.stack.name if session.stack is not None else session.labels.name
    plain = "".join(c if c.isalnum() or c in "-_" else "_" for c in name.split(".")[0]).strip("_")
    return f"{plain or 'stack'}-labels"


def _found(labels: Labels) -> str:
    """Return how many objects a run has found, and what its record has to say to the user."""
    notes = (labels.record or {}).get("notes") or ()
    return " ".join([f"{_objects(labels)} found.", *notes])


def _objects(labels: Labels) -> str:
    count = len(labels.ids())
    return "1 object" if count == 1 else f"{count} objects"
