"""The workbench: one widget with the picture, the recipe, the runs, the objects, 3D and the history of a session."""

from __future__ import annotations

import contextlib
import html
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as ipw
import numpy as np

from mitonb.edit import ops
from mitonb.errors import InputError, MitonbError, NotOpenError
from mitonb.job import Job
from mitonb.measurements import measure
from mitonb.models.folder import model_names, offered_models
from mitonb.post.decoding import centers
from mitonb.post.microscope import compare_objects
from mitonb.recipe import Recipe
from mitonb.session import Change, Session
from mitonb.session.teaching import teaching_strokes
from mitonb.widgets.fetch_bar import FetchBar
from mitonb.widgets.forms import OpenForm, RecipeForm, SaveForm, VoxelSizeField, either_side, reruns_of
from mitonb.widgets.objects_table import ObjectsTable
from mitonb.widgets.protocol import cut
from mitonb.widgets.runs import NO_IMAGE, HistoryView, RunBar, Runs, ScaleChoice, Sentence
from mitonb.widgets.style import Latest, Part, Saved, button, count_text, note, row, sheet, size_text
from mitonb.widgets.trainer import TrainForm
from mitonb.widgets.tuner import Tuner
from mitonb.widgets.viewer import Viewer, session_of
from mitonb.widgets.volume3d import View3D

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from mitonb.labels import Labels
    from mitonb.learn.strokes import Taught
    from mitonb.recipe import Verdicts
    from mitonb.stack import Axis

_TAB_HEIGHT = 180
_PARTS = ("viewer", "form", "run_bar", "scales", "table", "view3d", "history", "saver", "trainer", "runs", "tuner")
_COMPARE = "Look at this plane at three scales, side by side, and choose the one at which the network does best"
_UNSEEN = "The network has not seen this plane yet: segment it once, or look at its maps; thresholds then act at once."


class App(Saved, Part):
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
    viewer, form, run_bar, table, view3d, history, saver, trainer
        The parts.
    runs : Runs
        What the run buttons do, and the maps that the net left.
    """

    def __init__(
        self, session: Session | None = None, *, recipe: Recipe | None = None, path: Any = None,
        height: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.add_class("mnb-app")
        self.session: Session | None = None
        self._recipe, self._height = recipe, height
        if session is not None:
            self.start(session)
            return
        self.opener = OpenForm()
        self.opener.opened.connect(lambda stack: self.start(Session(stack, path=path)))
        self.children = [sheet(), ipw.HTML("<b>Open a stack</b>"), self.opener]

    def start(self, session: Session) -> None:
        """Show the workbench for a session; of a volume that is only looked at, what there is to do with it."""
        if session.only_looks:
            self._start_looking(session)
            return
        self.session, self.runs = session, Runs(session)
        self._previewing = False
        self._draft: tuple[str, int, Any, Recipe] | None = None
        self.viewer = Viewer(session, height=self._height)
        self.viewer.find_maps_with(lambda axis, index: self.runs.maps(axis, index, self.form.recipe.median))
        self.viewer.layout.flex, self.viewer.layout.min_width = "1 1 0", "0"
        volume = session.shape[0] > 1
        recipe = self._recipe
        if recipe is None:  # when the cell is run again, that of the last run of the volume
            with contextlib.suppress(InputError):
                recipe = Recipe.of((session.labels.record or {}).get("recipe"))
        self.form = RecipeForm(recipe, models=offered_models(), volume=volume)
        self._verdicts: Verdicts | None = None
        self._follow_verdicts(session.verdicts)
        self._taught: tuple[str, str] | None = None
        self._applied = self._joined = self.form.recipe
        self.run_bar, self.scales = RunBar(), ScaleChoice()
        self.run_bar.allow(volume=volume)
        if session.stack is None:
            self.run_bar.block(NO_IMAGE)
        self._offer_learning()
        self.tuner = Tuner(self.viewer, self.form, self.runs, self.run_bar)
        self.table = ObjectsTable(session, height=_TAB_HEIGHT)
        self.table.teach.teacher.maps = self.table.review.maps = lambda z: self.runs.maps("xy", z)
        self.table.review.across = {"xz": lambda y: self.runs.maps("xz", y), "yz": lambda x: self.runs.maps("yz", x)}
        self.table.review.threshold = lambda: self.form.recipe.semantic_threshold
        self.view3d = View3D(session, lazy=True)
        # What was measured on request can be seen there, too.
        self.view3d.scene.measured = lambda: measure(session.labels) if self.table.table is None else self.table.table
        self.history = HistoryView(session, height=_TAB_HEIGHT - 32)
        self.saver = SaveForm(self.save, stem=f"{_plain(_name(session))}-labels")
        self.about = ipw.HTML(layout={"flex": "1 1 150px"})
        self.voxel_size = VoxelSizeField()
        self.to_scales = button("compare scales", tip=_COMPARE, css="mnb-link")
        to_save = button("save as …", "download", "Save labels or the table")
        head = row(self.about, self.voxel_size, self.to_scales, to_save, justify_content="space-between")
        # The page folds the recipe, and moves it above the picture where there is no room beside it (js/frame.js).
        main = ipw.HBox([self.viewer, ipw.VBox([self.form]).add_class("mnb-side")]).add_class("mnb-main")
        self.trainer = TrainForm(session, viewer=self.viewer, maps=lambda z: self.runs.maps("xy", z))
        parts = {
            "Objects": self.table, "3D": self.view3d, "History": self.history, "Save": self.saver,
            "Train": self.trainer,
        }  # fmt: skip
        if not volume:
            del parts["3D"]
        self.tabs = ipw.Tab(list(parts.values()), titles=tuple(parts), selected_index=0)
        self._live = Latest(self._redecode, failed=self.run_bar.fail)
        self._peeked, self._ahead = "", Latest(self._foresee, failed=self.run_bar.fail)
        self.children = [sheet(), head.add_class("mnb-head"), self.run_bar, self.scales, main, self.tabs]

        session.edited.connect(self._on_edited)
        self.history.went.connect(self.viewer.say)  # in place of what was said of each edit
        self.run_bar.asked.connect(lambda what: self.viewer.when_told(lambda: self._on_asked(what)))
        self.run_bar.undone.connect(lambda edit: self._try(self._take_back, session, edit))
        self.run_bar.worked.connect(lambda busy: setattr(self.viewer, "running", busy))
        self.run_bar.replace.observe(lambda _: self._live.ask(), "value")
        self.voxel_size.chosen.connect(lambda nm: self._try(session.set_voxel_size, *nm))
        self.to_scales.on_click(lambda _: self.viewer.when_told(lambda: self._try(self.compare_scales)))
        self.scales.chosen.connect(self._on_scale)
        to_save.on_click(lambda _: setattr(self.tabs, "selected_index", list(parts).index("Save")))
        self.form.changed.connect(self._on_recipe)
        for told in (self.trainer.registered, self.trainer.model_note.fetched, self.form.model_note.fetched):
            told.connect(lambda _: self._offer_models())
        self.viewer.asked.connect(self._on_asked)
        self.viewer.peeked.connect(self._on_peek)
        self.viewer.answered.connect(lambda says: self._try(self.tuner.answer, says))
        self.viewer.observe(lambda _: self._live.ask(), ["axis", "index"])
        self.viewer.observe(self._on_hidden, ["hidden", "isolated"])
        self.tabs.observe(self._on_tab, "selected_index")

        self._follow_taught(session.taught)
        self._describe()
        if session.notes:
            self.run_bar.say(" ".join(session.notes))
        self._live.ask()

    def _start_looking(self, session: Session) -> None:
        """Show a volume that is too large for labels, and let a box of it be fetched to work on."""
        from mitonb.io.opening import open as open_stack

        self.session, self.viewer = session, Viewer(session, height=self._height)
        self.fetcher, self.about = FetchBar(session, self.viewer), ipw.HTML()
        size = note(size_text(session.shape, session.voxel_size))
        self.about.value = f"<b>{html.escape(_name(session))}</b> &ensp;{size}"
        self.fetcher.fetched.connect(lambda path: self.start(Session(open_stack(path))))
        self.children = [sheet(), row(self.about).add_class("mnb-head"), self.fetcher, self.viewer]

    if not TYPE_CHECKING:  # it would let every name pass

        def __getattr__(self, name: str) -> Any:
            """Say what to do before there is a part of the workbench."""
            if name not in _PARTS:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            if self.session is None:
                raise NotOpenError(f"There is no {name} yet: open a stack first, in the form or by mn.explore(stack).")
            raise NotOpenError(
                f"There is no {name}: this volume is too large for labels, and is only looked at. Fetch a box of it to "
                "work on, in the bar above the picture or by mn.fetch, and open that."
            )

    # What the buttons do, and a script may call.

    def run_plane(self) -> Job[Any]:
        """Segment the plane on screen, in a thread; `.result()` of the job waits.

        Corrected objects are kept, unless the switch beside the buttons says otherwise; so they are in the others.
        """
        axis, index, recipe = self._here()
        steps = self.runs.plane(axis, index, recipe, replace_corrected=self.run_bar.replaces)

        def tell(change: Change) -> Sentence:
            assert self.session is not None
            there = np.count_nonzero(np.unique(cut(self.session.labels.data, axis, index)))
            if self.session.shape[0] == 1:
                self.table.review.ask(quick=True)
            said = f"{axis} plane {index} segmented. {count_text(int(there))} on it."
            return self._after(recipe, " ".join([said, *self.runs.notes]), change)

        return self.run_bar.watch(Job(steps, name=f"Segment {axis} plane {index}"), then=tell)

    def look_at_maps(self) -> Job[Any]:
        """Run the net on the plane on screen for its maps alone, in a thread; the labels stay as they are."""
        axis, index, recipe = self._here()

        def tell(_maps: Any) -> str:
            self.viewer.set_layer("semantic", visible=True)
            self._live.ask()
            self._warn()
            said = f"The maps of {axis} plane {index} are shown; the labels are as they were."
            return " ".join([said, *self.runs.notes])

        job = Job(self.runs.look(axis, index, recipe), name=f"Look at {axis} plane {index}")
        return self.run_bar.watch(job, then=tell)

    def learn_from_strokes(self) -> Job[Taught]:
        """Let the model of the form learn from the strokes, in a thread; the next run uses what came of it."""
        assert self.session is not None
        session, recipe = self.session, self.form.recipe

        def tell(done: Taught) -> Sentence:
            model = self.form.recipe.model
            kept = "" if model == done.model else f" You chose it meanwhile; what learned is {done.model}."
            edit = done.edit if session.version == done.edit else 0  # of edits that came since nothing is undone
            return f"Learned: {done}. The next run uses {model}.{kept}", edit

        job = Job(teaching_strokes(session, recipe=recipe), name="Learn from strokes")
        return self.run_bar.watch(job, then=tell)

    def compare_scales(self) -> Job[Any]:
        """Find the objects of the plane on screen at three scales, in a thread, and offer them side by side."""
        axis, index, recipe = self._here()

        def offer(found: dict[int, Any]) -> str:
            self.scales.offer(self.runs.stack.plane(index, axis), found)
            return "Click the scale at which the objects look right."

        job = Job(self.runs.scales(axis, index, recipe), name=f"Compare scales of {axis} plane {index}")
        return self.run_bar.watch(job, then=offer)

    def run_volume(self) -> Job[Labels]:
        """Segment the whole stack, in a thread; `.result()` of the job waits."""
        return self._watch_volume("Segment the volume", self.runs.volume, " found.")

    def apply_volume(self) -> Job[Labels]:
        """Decode and track the kept maps of the volume with the recipe of the form; the net is not run."""
        return self._watch_volume("Decode the volume again", self.runs.redecode, " found, without running the network.")

    def _watch_volume(self, name: str, run: Callable[..., Any], said: str) -> Job[Labels]:
        recipe = self.form.recipe

        def tell(labels: Labels) -> Sentence:
            self._joined = recipe
            self.table.review.ask(quick=True)
            self.table.teach.teacher.forget()  # of objects that stayed, too, there is now what the net said
            notes = (labels.record or {}).get("notes") or ()
            return self._after(recipe, " ".join([count_text(len(labels.ids())) + said, *notes]), self.runs.change)

        steps = run(recipe, replace_corrected=self.run_bar.replaces)
        return self.run_bar.watch(Job(steps, name=name), then=tell)

    def apply_plane(self) -> None:
        """Make the preview of the plane on screen an edit."""
        assert self.session is not None
        axis, index, _ = self._here()
        if self._draft is None or self._draft[:2] != (axis, index):
            self.run_bar.say("There is no preview of this plane: move a threshold first.", "error")
            return
        ids, recipe = self._draft[2:]
        change = self.session.adopt_plane(ids, axis, index, **self._adopting(recipe))
        self.run_bar.say(self._after(recipe, f"Applied to {axis} plane {index}.", change), "good")

    def take_object(self, point: Sequence[float] | None = None) -> Change:
        """Put the object that the recipe of the form finds at a voxel (z, y, x), by default where the user works.

        It is looked for in the maps that are there, from plane to plane along the axis that is looked at.

        Raises
        ------
        InputError
            If the network has not seen the plane, or finds nothing there, or an object is there already.
        """
        assert self.session is not None
        session = self.session
        at = ops.inside(session.shape, session.position if point is None else point)
        if there := session.pick(*at):
            raise InputError(f"Object {there} is here already: delete it first, to take what the model finds instead.")
        change = session.put_object(*self.runs.object_at(at, self.viewer.axis, self.form.recipe))
        session.select(change.id)
        return change

    def discard_preview(self) -> None:
        """Drop the preview of the plane on screen; the settings stay, and the next change of one shows it again."""
        self._previewing = False
        self._live.ask()
        self.run_bar.say("Preview discarded; the settings stay.")

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Export the labels, or with .csv, .xlsx or .parquet save the table of objects, with what was measured also.

        Raises
        ------
        InputError
            What the form would show as a sentence.
        """
        from mitonb.io.saving import TABLES, save

        if self.session is None:
            raise InputError("There is nothing to save yet: open a stack first.")
        if str(path).lower().endswith(TABLES):
            return save(self.table.measured(), path, overwrite=overwrite)
        return self.session.export(path, overwrite=overwrite)

    def compare(self, labels: Any = None, *, name: str = "") -> None:
        """Show other labels beside those of the session, or those before the last run; as `Viewer.compare`."""
        if self.session is None:
            raise InputError("There is nothing to compare with yet: open a stack first.")
        self.viewer.compare(labels, name=name)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the preview, the table and the history are up to date."""
        if self.session is not None and self.session.only_looks:
            return self.fetcher.wait(timeout)
        return (
            self._live.wait(timeout)
            and self._ahead.wait(timeout)
            and self.table.wait(timeout)
            and self.history.wait(timeout)
        )

    def saved(self) -> tuple[str, dict[str, str]]:
        """Return the plane on screen with its objects, for readers without a kernel."""
        if self.session is None:
            return "mitonb workbench, without a stack yet", {}
        sentence, picture = self.viewer.saved()
        return sentence.replace("viewer", "workbench", 1), picture

    # What happens on screen.

    def _here(self) -> tuple[Axis, int, Recipe]:
        """Return the plane on screen, and the recipe of the form."""
        return self.viewer.axis, self.viewer.index, self.form.recipe

    def _on_asked(self, what: str) -> None:
        doing: dict[str, Callable[..., object]] = {
            "plane": self.run_plane, "segment-plane": self.run_plane, "volume": self.run_volume,
            "maps": self.look_at_maps, "apply-plane": self.apply_plane, "apply-preview": self.apply_plane,
            "learn": self.learn_from_strokes, "tune": self.tuner.begin,
            "apply-volume": self.apply_volume, "discard-preview": self.discard_preview,
            "take-object": self._take_here,
        }  # fmt: skip
        self._try(doing[what])

    def _try(self, do: Callable[..., object], *arguments: Any) -> None:
        try:
            do(*arguments)
        except Exception as error:  # a handler has no caller: what goes wrong must be read on screen
            self.run_bar.fail(error)

    def _take_here(self) -> None:
        """Take what the model finds where the user works; why not is said there."""
        try:
            self.take_object()
        except InputError as error:
            self.viewer.say(str(error), error=True)

    def _adopting(self, recipe: Recipe) -> dict[str, Any]:
        """Return how the profiles of a plane get into the labels."""
        return {"iou": recipe.track_iou, "replace_corrected": self.run_bar.replaces}

    def _after(self, recipe: Recipe, said: str, change: Change) -> Sentence:
        """Drop the preview after its plane or volume became labels, unless a threshold was moved meanwhile.

        Returns what was done, also about corrections, and the edit that it was.
        """
        self._applied = recipe
        self._previewing = "decode" in reruns_of(recipe, self.form.recipe)
        self._live.ask()
        return f"{said} {change.about_corrections()}".strip(), 0 if change.what == "nothing" else change.seq

    def _differs(self, recipe: Recipe) -> bool:
        """Return whether the kept maps of the volume would become other labels than they did last."""
        return self.runs.complete(recipe) and bool(recipe.changes(self._joined))

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
        assert self.session is not None
        axis, index, recipe = self._here()
        maps, peaks, ids = self.runs.maps(axis, index, recipe.median), None, None
        if maps is not None:
            in_pixels = self.runs.in_pixels(recipe)
            peaks = centers(maps, in_pixels) if "center" in maps else None
            ids = self.runs.profiles(axis, index, maps, recipe) if self._previewing else None
        self.viewer.set_maps(axis, index, maps, peaks, self.runs.in_pixels(recipe))
        self._ahead.ask()
        self._draft = None if ids is None else (axis, index, ids, recipe)
        shown = None if ids is None else self.session.plane_with(ids, axis, index, **self._adopting(recipe))
        self.viewer.set_preview(axis, index, shown)
        self.run_bar.allow(tune=maps is not None, apply_plane=ids is not None, apply_volume=self._differs(recipe))
        if ids is not None:
            count = len(np.unique(ids[ids > 0]))
            self.run_bar.say(f"Preview: {count} profiles on this plane. Apply it, or move on to drop it.")
        elif self._previewing and maps is None:
            self.run_bar.say(_UNSEEN)

    def _foresee(self) -> None:
        """Mark what a move of the setting would change that the user points at, to both sides."""
        axis, index, recipe = self._here()
        maps = self.runs.maps(axis, index, recipe.median) if self._peeked else None
        marks, told = list[tuple[str, str, int, int]](), list[str]()
        if maps is not None and (sides := either_side(recipe, self._peeked)):
            now = self.runs.profiles(axis, index, maps, recipe)
            for side, value in sides.items():
                then = self.runs.profiles(axis, index, maps, recipe.replace(**{self._peeked: value}))
                changes = compare_objects(now, then)
                told.append(f"{'◂▸'[side == 'high']} at {value:g}: {changes}")
                marks += [(kind, side, *place) for kind, places in changes.places.items() for place in places]
        self.viewer.show_foreseen(axis, index, "\n".join(told), marks)

    def _on_peek(self, name: str) -> None:
        self._peeked = name
        self._ahead.ask()

    def _describe(self) -> None:
        session = self.session
        if session is not None:
            size, model = size_text(session.shape, session.voxel_size), f"model: {self.form.recipe.model}"
            self.about.value = f"<b>{html.escape(_name(session))}</b> &ensp;{note(size)} &ensp;{note(model)}"
            # Without a voxel size nobody can say at which scale the network should look.
            self.voxel_size.ask(None if session.voxel_size else session.shape)
            self.to_scales.layout.display = self.voxel_size.layout.display
            self._warn()

    def _offer_models(self) -> None:
        """Offer the models that there are now, in both forms."""
        self.form.controls["model"].options = offered_models()
        self.form.model_note.refresh()
        self.trainer.offer_models()

    def _warn(self) -> None:
        """Say beside the model where the image is unlike those that it knows."""
        try:
            self.form.model_note.warn(self.runs.doubts(self.form.recipe))
        except MitonbError:  # no image, or no such model: said where it is used
            self.form.model_note.warn(())

    def _on_scale(self, factor: int) -> None:
        self.form.recipe = self.form.recipe.replace(pixel_size="as is", downsampling=factor)
        self.run_bar.say(f"Downsampling is {factor}: the next run uses it.")

    def _on_edited(self, change: Change) -> None:
        if change.what in ("drop_false", "use_model", "undo", "redo") and self.session is not None:
            self._follow_verdicts(self.session.verdicts)
            self._follow_taught(self.session.taught)
        self._describe()
        self._offer_learning()
        self.run_bar.offer_undo(0)

    def _follow_verdicts(self, verdicts: Verdicts | None) -> None:
        """Let every later run drop what the marks call false, for as long as the edit that dropped it stands."""
        if verdicts != self._verdicts:
            self._verdicts = verdicts
            self.form.recipe = self.form.recipe.replace(verdicts=verdicts)

    def _follow_taught(self, taught: tuple[str, str] | None) -> None:
        """Let every later run use the model that strokes taught, and the one before it once that is taken back."""
        last, self._taught = self._taught, taught
        mine = self.form.recipe.model in (*(last or ()), *(taught or ()))  # else the user has chosen another one since
        wanted = taught[0] if taught else last[1] if last else ""
        if taught != last and mine and wanted in model_names():
            self._offer_models()
            self.form.recipe = self.form.recipe.replace(model=wanted)

    def _offer_learning(self) -> None:
        assert self.session is not None
        count = len(self.session.strokes)
        self.run_bar.buttons["learn"].description = f"Learn from {count_text(count, 'stroke')}"
        self.run_bar.allow(learn=count > 0)

    def _take_back(self, session: Session, edit: int) -> None:
        done = session.history(after=edit - 1)[0].text
        session.undo(of=edit)
        self.run_bar.say(f"Undone: {done}.")

    def _on_hidden(self, _: Any) -> None:
        self.view3d.hide(self.viewer.hidden, self.viewer.isolated)

    def _on_tab(self, change: Any) -> None:
        if self.tabs.titles[change["new"]] == "3D" and not self.view3d.built:
            self.view3d.refresh()


def explore(
    stack: Any = None, labels: Any = None, *, path: str | os.PathLike[str] | None = None,
    recipe: Recipe | None = None, height: int | None = None,
) -> App:  # fmt: skip
    """Open the workbench: look, segment, correct, measure and save, in one widget.

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
    App
        A widget; `app.session` is the headless owner of everything.

    Raises
    ------
    InputError
        In marimo, which does not show ipywidgets.

    Examples
    --------
    >>> import mitonb as mn
    >>> app = mn.explore(*mn.phantom((8, 96, 96), objects=4))
    >>> app.session.merge(1, 2).what
    'merge'
    """
    marimo = sys.modules.get("marimo")
    if marimo is not None and marimo.running_in_notebook():
        raise InputError("The workbench needs JupyterLab: marimo does not show ipywidgets. Take mn.view instead.")
    path, session = None if path is None else Path(path).expanduser(), None
    if stack is not None or labels is not None:
        session = session_of(stack, labels, path)
    elif path is not None and path.exists():
        session = Session.open(path)
    return App(session, recipe=recipe, path=path, height=height)


def _name(session: Session) -> str:
    return session.labels.name if session.stack is None else session.stack.name


def _plain(name: str) -> str:
    """Return the first part of a file name for results, made of letters that every system takes."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name.split(".")[0]).strip("_") or "stack"
