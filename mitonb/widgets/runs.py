"""Runs of the workbench: its buttons, what the net said, the bar that starts and shows them; the history of edits."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import anywidget
import ipywidgets as ipw
import numpy as np
import traitlets
from psygnal import Signal
from scipy import ndimage

from mitonb.colors import overlay
from mitonb.errors import InputError, JobError, wanting_torch
from mitonb.infer.kept import KeptMaps
from mitonb.infer.scale import INVERTED, Scale, inverted_note, pixel_notes
from mitonb.infer.segment import predict, predicting, redecoding, segmenting
from mitonb.job import Job, Progress, Steps, clock
from mitonb.models.folder import installed_as
from mitonb.post.decoding import decode
from mitonb.post.verdicts import describe_objects, drop_false
from mitonb.stack import AXES
from mitonb.widgets.style import JS, Latest, Part, button, count_text, error_html, follow, note, png, row, thinned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mitonb.edit.edits import Mask
    from mitonb.labels import Labels
    from mitonb.maps import Ids, Maps
    from mitonb.recipe import Recipe
    from mitonb.session import Change, Session
    from mitonb.stack import Axis, Plane, Stack

_MOST_PLANES = 48  # planes whose maps are remembered one by one: about 100 MB at 1024 x 1024 pixels
_EVERY = 0.1  # least seconds between two updates of the screen: more would only fill the socket
_READ = 5.0  # seconds that a sentence stands in the line of a running job
_BUTTONS = {
    "plane": ("Segment this plane", "play", "Run the model on the plane on screen (Enter)"),
    "volume": ("Segment the volume", "cubes", "Run the model on every plane, and join the planes to objects"),
    "learn": (
        "Learn from strokes",
        "graduation-cap",
        "Let the model learn from what you drew with T and Shift-T; it takes one to three minutes, and can be undone",
    ),
    "maps": ("Look at maps", "eye", "Run the model on the plane on screen for its maps alone; its labels stay"),
    "tune": ("Tune", "sliders", "At most ten questions about what is seen, answered by Y and N, set the thresholds"),
    "apply-plane": ("Apply to this plane", "check", "Make the preview an edit, which can be undone (Enter)"),
    "apply-volume": ("Apply to the volume", "check", "Decode and track the kept maps; the network is not run"),
}
_MOST_LINES = 200  # edits that the history shows
_EMPTY = "Nothing yet. Each run and each stroke will be a line here, and can be undone."

NO_IMAGE = "There is no image to run on: open the stack that these labels belong to."

Sentence = tuple[str, int]
"""What is said, and the number of the edit that it is about; 0 for none."""


class Runs:
    """Runs of a session, as generators for `Job`, and the maps that they left.

    Parameters
    ----------
    session : Session
        Gets the results, each as one edit.

    Attributes
    ----------
    kept : KeptMaps or None
        What the net said in the runs of the volume; a cancelled run leaves what it has, and the next one goes on there.
    net_runs : int
        How often the net was asked for a plane or a volume.
    notes : tuple of str
        What the last run of a plane has to tell about the image.
    change : Change
        What the last run of the volume did to the labels.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.kept: KeptMaps | None = None
        self.net_runs = 0
        self.notes: tuple[str, ...] = ()
        self.change: Any = None
        self._planes: dict[tuple[Axis, int], Maps] = {}
        self._models: dict[str, Any] = {}
        self._inverted: dict[tuple[str, bool, int], str] = {}

    @property
    def stack(self) -> Stack:
        """The image; a session that has labels only cannot run."""
        if self.session.stack is None:
            raise InputError(NO_IMAGE)
        return self.session.stack

    def model(self, name: str) -> Any:
        """Load a model, once."""
        # Late: torch costs seconds, and looking and correcting need none of it.
        with wanting_torch():
            from mitonb.models.zoo import load_model

        if name not in self._models:
            self._models = {name: load_model(name)}
        return self._models[name]

    def doubts(self, recipe: Recipe) -> list[str]:
        """Say where the image is unlike those that the model knows, as far as that was seen."""
        one = installed_as(recipe.model)
        scale = Scale.of(self.stack.voxel_size, recipe, one and one.spec)
        inverted = self._inverted.get(_key(recipe))
        return [*pixel_notes(scale, recipe, one and one.spec, recipe.planes), *filter(None, [inverted])]

    def _loading(self, recipe: Recipe) -> Steps[Any]:
        """Load the model of a recipe, to run it."""
        yield Progress("loading the model", 0, 100)
        self.net_runs += 1
        return self.model(recipe.model)

    def look(self, axis: Axis, index: int, recipe: Recipe) -> Steps[Maps]:
        """Run the net on one plane for its maps alone; the labels stay as they are."""
        plane = self.stack.plane(index, axis)
        model = yield from self._loading(recipe)
        maps: Maps = yield from predicting(plane, model=model, recipe=recipe)
        self._planes.pop((axis, index), None)
        self._planes[axis, index] = maps
        if len(self._planes) > _MOST_PLANES:
            del self._planes[next(iter(self._planes))]
        key = _key(recipe)
        if key not in self._inverted:  # asked once: it runs the net
            again = partial(predict, model=model, recipe=recipe)
            self._inverted[key] = inverted_note(plane, maps, recipe, again)
        notes = Scale.of(self.stack.voxel_size, recipe, model.spec).notes(recipe, model.spec, [axis])
        self.notes = tuple(filter(None, [*notes, self._inverted[key]]))
        return maps

    def plane(self, axis: Axis, index: int, recipe: Recipe, *, replace_corrected: bool = False) -> Steps[Change]:
        """Run the net on one plane and put its objects there; see `mitonb.session.Session.adopt_plane`."""
        maps: Maps = yield from self.look(axis, index, recipe)
        ids = self.profiles(axis, index, maps, recipe)
        return self.session.adopt_plane(ids, axis, index, iou=recipe.track_iou, replace_corrected=replace_corrected)

    def profiles(self, axis: Axis, index: int, maps: Maps, recipe: Recipe) -> Ids:
        """Return what the maps of a plane say, without what the verdicts of the recipe call false."""
        ids = decode(maps, self.in_pixels(recipe))
        if recipe.verdicts is None:
            return ids
        features = describe_objects(ids, self.stack.plane(index, axis), maps=lambda _: maps)
        return drop_false(ids[None], recipe.verdicts, features)[0].data[0]

    def object_at(self, point: tuple[int, int, int], axis: Axis, recipe: Recipe) -> tuple[list[int], Mask]:
        """Return where the object that a recipe finds at a voxel begins, (z, y, x), and its mask from there.

        Profiles are followed from plane to plane, as far as there are maps, by `Recipe.track_iou`.

        Raises
        ------
        InputError
            If the network has not seen the plane, or finds nothing there.
        """
        along, index = AXES[axis], point[AXES[axis]]
        maps = self.maps(axis, index, recipe.median)
        if maps is None:
            raise InputError(f"The network has not seen {axis} plane {index} yet: segment it, or look at its maps.")
        ids = self.profiles(axis, index, maps, recipe)
        pixel = tuple(v for k, v in enumerate(point) if k != along)
        if not ids[pixel]:
            raise InputError(
                f"With these settings the model finds nothing at {point} (z, y, x). Move a threshold, or draw it (P)."
            )
        profiles = {index: ids == ids[pixel]}
        for step in (1, -1):
            plane = index + step
            while 0 <= plane < self.session.shape[along] and (maps := self.maps(axis, plane, recipe.median)):
                last, ids = profiles[plane - step], self.profiles(axis, plane, maps, recipe)
                best = int(np.bincount(ids[last & (ids > 0)], minlength=1).argmax())
                mask = ids == best
                if not best or (mask & last).sum() < recipe.track_iou * (mask | last).sum():
                    break
                profiles[plane] = mask
                plane += step
        planes = sorted(profiles)
        mask = np.stack([profiles[plane] for plane in planes], axis=along)
        box = ndimage.find_objects(mask.view(np.uint8))[0]
        start = [part.start for part in box]
        start[along] += planes[0]
        return start, mask[box]

    def scales(self, axis: Axis, index: int, recipe: Recipe) -> Steps[dict[int, Ids]]:
        """Find the objects of one plane at several scales, by `Recipe.downsampling`; the labels stay as they are."""
        plane = self.stack.plane(index, axis)
        model = yield from self._loading(recipe)
        found = {}
        for factor in (1, 2, 4):
            own = recipe.replace(pixel_size="as is", downsampling=factor)
            found[factor] = decode(predict(plane, model=model, recipe=own), self.in_pixels(recipe))
            yield Progress("compare scales", len(found), 3)
        return found

    def volume(self, recipe: Recipe, *, replace_corrected: bool = False) -> Steps[Labels]:
        """Run the net on the whole stack and adopt the result as one edit; see `mitonb.session.Session.adopt`."""
        stack = self.stack
        model = yield from self._loading(recipe)
        self.kept = (self.kept or KeptMaps(stack.shape)) if recipe.keep_maps else None
        labels: Labels = yield from segmenting(stack, recipe, model=model, kept=self.kept)
        self._planes.clear()
        said = (labels.record or {}).get("notes") or ()
        self._inverted[_key(recipe)] = next((text for text in said if text.startswith(INVERTED)), "")
        self.change = self.session.adopt(labels, replace_corrected=replace_corrected)
        return labels

    def redecode(self, recipe: Recipe, *, replace_corrected: bool = False) -> Steps[Labels]:
        """Decode and track the kept maps of the last volume run with another recipe; the net is not run."""
        if self.kept is None:
            raise InputError("No maps of the whole volume are kept: run Segment the volume with Keep maps first.")
        labels: Labels = yield from redecoding(self.kept, recipe, stack=self.stack)
        self.change = self.session.adopt(labels, replace_corrected=replace_corrected)
        return labels

    def complete(self, recipe: Recipe) -> bool:
        """Return whether the maps of every plane that a recipe needs are kept."""
        return self.kept is not None and all(self.kept.count(a) == self.stack.count(a) for a in recipe.planes)

    def maps(self, axis: Axis, index: int, median: int = 1) -> Maps | None:
        """Return what the net said about a plane, newest first, or None when it was not asked."""
        own, kept = self._planes.get((axis, index)), self.kept
        return kept.plane(axis, index, median) if own is None and kept is not None and kept.has(axis, index) else own

    def in_pixels(self, recipe: Recipe) -> Recipe:
        """Return a recipe with its lengths in pixels of the stack; see `mitonb.infer.scale.Scale`."""
        spec = getattr(self._models.get(recipe.model), "spec", None)
        return Scale.of(self.stack.voxel_size, recipe, spec).in_pixels(recipe)


class ScaleChoice(ipw.HBox):
    """What the network finds on a plane at several scales, side by side; one click chooses, or closes it.

    Attributes
    ----------
    chosen : Signal(int)
        The `Recipe.downsampling` that the user takes.
    """

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__(layout={"display": "none"})
        self.add_class("mnb-scales")

    def offer(self, plane: Plane, found: dict[int, Ids]) -> None:
        """Show the objects that were found, by scale."""
        leave = button(icon="times", tip="Close without choosing", css="mnb-link")
        leave.on_click(lambda _: self.leave())
        parts = []
        for factor, ids in found.items():
            size = "full size" if factor == 1 else f"1/{factor} of the size"
            said = f"{size}: {count_text(len(np.unique(ids[ids > 0])))}"
            take = button(said, tip=f"Set downsampling to {factor}")
            take.on_click(lambda _, factor=factor: self._take(factor))
            picture = png(thinned(overlay(plane, ids)))
            parts.append(ipw.VBox([ipw.Image(value=picture, layout={"width": "100%"}), take]))
        self.children = [*parts, leave]
        self.layout.display = ""

    def leave(self) -> None:
        """Take the pictures away."""
        self.layout.display = "none"

    def _take(self, factor: int) -> None:
        self.leave()
        self.chosen.emit(factor)


def _key(recipe: Recipe) -> tuple[str, bool, int]:
    """Return what it depends on whether an image looks inverted."""
    return recipe.model, recipe.invert, recipe.downsampling


class JobBar(Part):
    """Buttons that ask for jobs, and a progress bar with stage, percent, time left and cancel.

    The bar runs nothing by itself: it emits `asked` and shows the job that it is given.

    Parameters
    ----------
    looks : mapping
        Text, icon and tip of each button, by what it asks for.
    *beside : Widget
        Shown before the line of progress.

    Attributes
    ----------
    asked : Signal(str)
        What was asked for.
    undone : Signal(int)
        The user wants the edit of that number back that the sentence is about.
    worked : Signal(bool)
        Whether a job is running.
    job : Job or None
        The job that is shown.
    stopped : str
        What is said after the name of a job that was cancelled.
    primary : tuple of str
        Buttons that may be the one that stands out: the first of them that is allowed does.
    """

    asked = Signal(str)
    undone = Signal(int)
    worked = Signal(bool)
    primary: tuple[str, ...] = ()
    stopped = "; nothing was changed. You can run it again at any time."

    def __init__(self, looks: Mapping[str, tuple[str, str, str]], *beside: ipw.Widget, **options: Any) -> None:
        self.job: Job[Any] | None = None
        self._lock = threading.RLock()
        self._drawn = self._read = 0.0
        self._stages: set[str] = set()
        self._stopping = False
        self._edit = 0
        self._allowed = {name: not name.startswith(("apply", "learn", "tune")) for name in looks}
        self._blocked = ""
        self.buttons = {name: button(*look) for name, look in looks.items()}
        place = {"flex": "1 1 60px", "max_width": "220px", "width": "auto", "height": "8px"}
        self.progress = ipw.FloatProgress(min=0, max=1, value=0, bar_style="info", layout=place)
        self.stop = button(icon="times", tip="Cancel the running job; nothing is changed", css="mnb-stop")
        self.stop.layout.width = "28px"
        self.status = ipw.HTML().add_class("mnb-ellipsis")
        self.message = ipw.HTML(layout={"flex": "0 1 auto"})
        self.undo = button("Undo", tip="Take this edit back (Ctrl-Z)", css="mnb-link")
        self.undo.layout.flex = "0 0 auto"  # beside a long sentence, too
        self.running = row(self.progress, self.stop, self.status, flex_flow="row nowrap")
        # Both take the same place, which is kept free: nothing jumps when a job starts or something is said.
        said = row(self.message, self.undo, flex_flow="row nowrap")
        news = ipw.VBox([self.running, said]).add_class("mnb-news")
        super().__init__(row(*self.buttons.values()), row(*beside, news), **options)
        self.add_class("mnb-run")
        for name, pressed in self.buttons.items():
            pressed.on_click(lambda _, name=name: self.asked.emit(name))
        self.stop.on_click(lambda _: self.cancel())
        self.undo.on_click(lambda _: self.undone.emit(self._edit))
        self.offer_undo(0)
        self._enable()

    @property
    def busy(self) -> bool:
        """Whether a job is running."""
        return self.job is not None and self.job.state == "running"

    def watch(self, job: Job[Any], *, then: Callable[[Any], str | Sentence | None] | None = None) -> Job[Any]:
        """Start a job and show it; `then` gets its result and may return a sentence for the user.

        Raises
        ------
        JobError
            If another job is still running.
        """
        with self._lock:
            if self.job is not None and self.busy:
                raise JobError(f"{self.job.name} is still running: wait for its end or cancel it.")
            self.job, self._stopping, self._stages, self._read = job, False, set(), 0.0
            job.progressed.connect(self._on_progress)
            job.finished.connect(lambda result: self._end(lambda: self.say((then and then(result)) or "", "good")))
            job.failed.connect(lambda error: self._end(lambda: self.fail(error)))
            stopped = f"{job.name} cancelled{self.stopped}"
            job.cancelled.connect(lambda: self._end(lambda: self.say(stopped)))
            self.say("")
            self._draw(job.progress)
            job.start()
            self._enable()
        return job

    def cancel(self) -> None:
        """Ask the running job to stop."""
        if self.job is not None and self.busy:
            self._stopping = self.stop.disabled = True
            self.status.value = note("stopping after this step …")
            self.job.cancel()

    def allow(self, **allowed: bool) -> None:
        """Show buttons or not, by the name that they ask for ("_" for "-")."""
        self._allowed |= {name.replace("_", "-"): on for name, on in allowed.items()}
        self._enable()

    def say(self, said: str | Sentence, kind: str = "dim") -> None:
        """Show one sentence under the bar, with Undo where it is about an edit."""
        text, edit = said if isinstance(said, tuple) else (said, 0)
        self._show(note(text, kind), edit)

    def offer_undo(self, edit: int) -> None:
        """Show *Undo* for the edit of that number; 0 takes it away, as is due when another edit came."""
        self._edit = edit
        self.undo.layout.display = None if edit else "none"

    def fail(self, error: BaseException) -> None:
        """Show an error under the bar."""
        self._show(error_html(error), 0)

    def _show(self, text: str, edit: int) -> None:
        """Show a text under the bar; while a job runs in its line, for a while, so that the picture stays in place."""
        # A traceback stays: whoever reports it needs more than a while.
        if self.busy and "<details>" not in text:
            self.status.value = text
            self._read = time.monotonic() + _READ
        else:
            self.message.value = text
        self.offer_undo(edit)

    def block(self, why: str) -> None:
        """Switch all buttons off, and say on them why."""
        self._blocked = why
        for pressed in self.buttons.values():
            pressed.tooltip = why
        self._enable()

    def _on_progress(self, progress: Progress) -> None:
        if time.monotonic() - self._drawn >= _EVERY or progress.stage not in self._stages:
            self._draw(progress)

    def _draw(self, progress: Progress) -> None:
        self._drawn = time.monotonic()
        self._stages.add(progress.stage)
        self.progress.value = progress.fraction
        if self.job is not None and not self._stopping and self._drawn > self._read:
            left = self.job.seconds_left
            rest = "" if left is None else f" · {clock(left)} left"
            self.status.value = note(f"{progress.stage or self.job.name} · {progress.fraction:.0%}{rest}", "plain")

    def _end(self, tell: Callable[[], None]) -> None:
        self.progress.value, self.status.value = 0.0, ""
        try:
            tell()
        except Exception as error:  # what happens after a job must reach the screen as well
            self.fail(error)
        self._enable()

    def _enable(self) -> None:
        busy = self.busy
        first = next((name for name in self.primary if self._allowed[name]), None)
        for name, pressed in self.buttons.items():
            pressed.disabled = busy or not self._allowed[name] or bool(self._blocked)
            pressed.button_style = "primary" if name == first and not self._blocked else ""
            pressed.layout.display = None if self._allowed[name] else "none"
        self.stop.disabled = not busy
        self.running.layout.display = None if busy else "none"
        self.worked.emit(busy)


class RunBar(JobBar):
    """The bar of the workbench: it asks for "plane", "volume", "learn", "maps", "apply-plane" or "apply-volume"."""

    primary = ("apply-plane", "plane")  # Enter stands for it

    def __init__(self, **options: Any) -> None:
        self.replace = ipw.Checkbox(
            description="replace corrected, too", indent=False, layout={"width": "auto", "flex": "0 0 auto"},
            tooltip="Off: objects that you have painted, erased, merged ... stay as they are, and what you deleted "
            "stays away. Either way the run is one edit that can be undone.",
        )  # fmt: skip
        super().__init__(_BUTTONS, self.replace, **options)

    @property
    def replaces(self) -> bool:
        """Whether a run shall replace what the user has corrected, too."""
        return bool(self.replace.value)


class Lines(anywidget.AnyWidget):
    """The browser's half of the history: a button for each edit, that asks for its place; and the clipboard."""

    _esm = JS / "history.js"
    rows = traitlets.List(traitlets.Dict()).tag(sync=True)
    asked = Signal(object)
    returned = Signal(object)
    copied = Signal()

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.on_msg(self._on_message)

    def _on_message(self, _: Any, message: Any, __: Any) -> None:
        if "copied" in message:
            self.copied.emit()
        else:
            (self.returned if message.get("kind") == "back" else self.asked).emit(message.get("seq"))


class HistoryView(Part):
    """The journal of a session; a click on an edit goes to its place.

    Attributes
    ----------
    lines : Lines
        The edits, newest first, at most 200.
    as_code : ToggleButton
        Shows the journal as a cell of Python, and puts it on the clipboard.
    went : Signal(str)
        How far it was gone back or forth, as a sentence.
    """

    went = Signal(str)

    def __init__(self, session: Session, *, height: int = 220, **options: Any) -> None:
        self.session = session
        self.as_code = button("copy as a cell", "code", "The same edits as lines of Python", kind=ipw.ToggleButton)
        self.status = ipw.HTML()
        self.lines = Lines(layout={"height": f"{height}px"})
        self.code = ipw.Textarea(layout={"height": f"{height}px", "width": "100%"})
        self.code.tooltip = "The edits as lines of Python"
        self._worker = Latest(self._draw, failed=self._fail, delay=0.1)
        super().__init__(row(self.as_code, self.status).add_class("mnb-spaced"), self.lines, self.code, **options)
        self.as_code.observe(lambda change: self._swap(change["new"]), "value")
        self.lines.asked.connect(self.go_to)
        self.lines.returned.connect(self.undo_to)
        self.lines.copied.connect(lambda: self._tell("Copied: paste it into a cell."))
        follow(self, session.edited, lambda _: self._worker.ask())
        self._swap(False)
        self._draw()

    def go_to(self, seq: int) -> None:
        """Look at the place of an edit; of one without a place, it is said on screen."""
        try:
            self.session.go_to_edit(seq)
            self._count()
        except Exception as error:  # a click has no caller
            self._fail(error)

    def undo_to(self, seq: int) -> None:
        """Take back all edits after one, or do those up to it again; what cannot be done is said on screen."""
        try:
            forth = any(entry.seq == seq and entry.undone for entry in self.session.history(after=seq - 1))
            count = count_text(self.session.undo_to(seq), "edit")
            self.went.emit(f"Did {count} again." if forth else f"Went back {count}.")
        except Exception as error:  # a click has no caller
            self._fail(error)

    def _draw(self) -> None:
        history = self.session.history(most=_MOST_LINES)
        ways = {*self.session.reachable} - {max((entry.seq for entry in history if entry.stands), default=0)}
        self._count()
        self.lines.rows = [
            {
                "seq": entry.seq, "clock": time.strftime("%H:%M:%S", time.localtime(entry.time)),
                "text": entry.text, "code": entry.code, "undone": entry.undone,
                "back": entry.seq in ways,
            }
            for entry in history[::-1]
        ]  # fmt: skip
        if self.as_code.value:
            self._write()

    def _write(self) -> None:
        """Write the cell; of a session in memory, lines that only this notebook understands."""
        if self.session.path is not None:
            self.code.value = self.session.to_code()
            return
        hint = "# These labels are in memory only. Save them as a project, and this will be a cell that runs anywhere."
        lines = (entry.code for entry in self.session.history() if entry.stands)
        self.code.value = "\n".join([hint, "session = app.session", *lines])

    def _tell(self, text: str) -> None:
        self.status.value = note(text)

    def _count(self) -> None:
        count = self.session.count_edits()
        last = f", the last {_MOST_LINES} are shown" if count > _MOST_LINES else ""
        said = f"{count_text(count, 'edit')}{last}; click one to go to its place"
        self._tell(said if count else _EMPTY)

    def _swap(self, code: bool) -> None:
        if code:
            self._write()
            self.lines.send({"copy": self.code.value})
        self.lines.layout.display = "none" if code else ""
        self.code.layout.display = "" if code else "none"

    def _fail(self, error: BaseException) -> None:
        self.status.value = error_html(error)
