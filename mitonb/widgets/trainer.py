"""Train from a notebook: what to learn from, which model, how long; the run as it goes, and what it changed."""

from __future__ import annotations

import dataclasses
import html
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as ipw
import numpy as np
from psygnal import Signal

from mitonb.errors import InputError, wanting_torch
from mitonb.job import Job, Progress, Steps
from mitonb.models.folder import PUBLISHED, installed, installed_as, model_folder, model_names, plain_name
from mitonb.models.spec import specs
from mitonb.session import Session
from mitonb.stack import Stack
from mitonb.widgets.curtain import Curtain, patch_grid
from mitonb.widgets.forms import ModelNote
from mitonb.widgets.reviewing import ReviewBar
from mitonb.widgets.runs import JobBar
from mitonb.widgets.style import Part, button, count_text, error_html, note, row
from mitonb.widgets.viewer import Viewer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mitonb.box import Box
    from mitonb.learn.data import Source
    from mitonb.learn.pairs import Material
    from mitonb.learn.runs import Trained
    from mitonb.learn.scoring import Judged
    from mitonb.maps import Maps
    from mitonb.models.folder import Installed
    from mitonb.models.zoo import Model
    from mitonb.session import Change

NEW = {"panoptic-2d": "planes, as the bundled model", "unet-2d": "planes, U-Net", "unet-3d": "blocks, U-Net"}
"""Nets that the form offers to train from nothing, keys of `mitonb.learn.runs.NETS`."""
_BUTTONS = {
    "check": ("Check", "search", "Read what there is to learn from, hold a part of it out, and say what it will take"),
    "patches": ("Show patches", "th", "Draw twelve patches as the training will see them, with your labels outlined"),
    "start": ("Start", "play", "Train in a process of its own; the notebook goes on"),
    "over": ("Start over", "undo", "Throw away what the stopped run has learned, and begin again"),
}
_EVERY = 1.0  # least seconds between two pictures of the run
_STOPPED = "Stopped. What was learned is kept: Resume goes on from there."
_CHANGED = "Something was changed while this was read: check once more."
_TOO_SOON = "Stopped before there was anything to keep. Start begins anew."


@dataclass(frozen=True)
class Outcome:
    """What a training gave: the weights, and what the model found on unseen patches before and after it.

    Attributes
    ----------
    trained : Trained
        The weights.
    patches : sequence of Source
        What was held out.
    before, after : Judged
        What the model found on them; no before for a net that began from nothing.
    reference : (float, float) or None
        IoU on drawn volumes that nothing is trained on, before and after.
    """

    trained: Trained
    patches: Sequence[Source]
    before: Judged | None
    after: Judged
    reference: tuple[float, float] | None

    @property
    def forgot(self) -> bool:
        """Whether the model is worse than before on the reference."""
        from mitonb.learn.scoring import FORGOTTEN

        return self.reference is not None and self.reference[0] - self.reference[1] > FORGOTTEN


class TrainForm(Part):
    """A form that trains or finetunes a model; a script calls the same methods that the buttons call.

    Parameters
    ----------
    data : Session, Stack, or as for `mitonb.train`
        What to learn from. Of a session its image and labels, in the parts that the user calls reviewed; a stack is one
        whose labels are painted in the form.
    viewer : Viewer, optional
        Where the parts of a session are shown that are reviewed; by default the form has one of its own.
    maps : callable, optional
        Returns the maps of an xy plane, or None where the net has not run.
    **settings
        Fields of `mitonb.learn.loop.Settings`, such as seed, batch and patch.

    Attributes
    ----------
    review : ReviewBar
        Of a session, chooses its parts and calls them reviewed.
    material : Material or None
        What there is to learn from, once it was checked.
    outcome : Outcome or None
        What the last training gave.
    registered : Signal(str)
        A model of that name is in the model folder now.
    """

    registered = Signal(str)

    def __init__(
        self, data: Any, *, viewer: Viewer | None = None, maps: Callable[[int], Maps | None] = lambda _: None,
        **settings: Any,
    ) -> None:  # fmt: skip
        data = Session(data) if isinstance(data, Stack) else data
        self.data, self._settings = data, settings
        self.material: Material | None = None
        self.outcome: Outcome | None = None
        self._before: tuple[Judged, float] | None = None
        self._memory = 0
        self._sure = False
        self._choice: object = None
        self._clear()
        flat = isinstance(data, Session) and data.shape[0] == 1
        self._flat, asked = flat, list[ipw.Widget]()
        if isinstance(data, Session):
            self.review = ReviewBar(data, viewer or Viewer(data), maps)
            asked = [self.review] if viewer else [self.review.viewer, self.review]
            data.edited.connect(self._on_edited)
        wide = {"style": {"description_width": "initial"}}
        self.base = ipw.Dropdown(
            description="begin from", options=_bases(flat), tooltip="The model that learns, or a new net",
            layout={"width": "260px"}, **wide,
        )  # fmt: skip
        self.minutes = ipw.BoundedFloatText(
            5, min=0.05, max=10_000, description="minutes", layout={"width": "120px"}, **wide
        )
        self.name = ipw.Text(_free_name(), description="new name", layout={"width": "220px"}, **wide)
        self.bar = JobBar(_BUTTONS)
        self.bar.primary = ("start", "check")
        self.facts, self.grid, self.curves, self.told = (ipw.HTML() for _ in range(4))
        self.curtain = ipw.VBox()
        self.keep = button(
            "Register", "bookmark", "Put it into the model folder, under its name", button_style="primary"
        )
        self._kept = ipw.HTML()
        self._keeping = row(self.keep, self._kept).add_class("mnb-spaced")
        self.model_note = ModelNote(self.base)
        choice = row(self.base, self.minutes, self.name).add_class("mnb-spaced")
        shown = self.facts, self.grid, self.curves, self.told, self.curtain, self._keeping
        super().__init__(*asked, choice, self.model_note, self.bar, *shown)
        self.add_class("mnb-train")
        self.base.observe(self._on_choice, "value")
        for control in (self.name, self.minutes):
            control.observe(lambda _: self._refresh(), "value")
        doing = {"check": self.check, "patches": self.show_patches, "start": self.start, "over": self.start_over}
        self.bar.asked.connect(lambda what: self._try(doing[what]))
        self.keep.on_click(lambda _: self._try_to_register())
        self._refresh()

    # What the buttons do, and a script may call.

    def check(self) -> Job[Material]:
        """Read what there is to learn from, hold a part out and audit it, in a thread, and say what it will take."""
        choice = self._choice = object()

        def tell(said: tuple[Material, int, str]) -> str:
            return self._checked(said) if self._choice is choice else _CHANGED

        return self._watch(Job(self._checking(self._known(), self.base.value), name="Check"), tell)

    def show_patches(self) -> Job[Any]:
        """Draw twelve patches as the training will see them, in a thread, with the labels outlined."""
        if self.material is None:
            raise InputError("Check first what there is to learn from.")

        def tell(patches: Any) -> None:
            self.grid.value = patch_grid(*patches)

        return self._watch(Job(self._drawing(self.material, self.base.value), name="Draw patches"), tell)

    def start(self) -> Job[Outcome]:
        """Train, or go on with a run that was stopped, in a thread; `.result()` of the job waits.

        Raises
        ------
        InputError
            If nothing was checked yet, or the name is taken.
        """
        if self.material is None:
            raise InputError("Check first what there is to learn from.")
        if plain_name(self.name.value) in (*model_names(), *PUBLISHED):
            raise InputError(f"There is a model {self.name.value} already. Give the new one another name.")
        part = self._part()
        part.parent.mkdir(parents=True, exist_ok=True)
        if not part.exists():
            self._clear()
        self.outcome, self._sure = None, False
        self.told.value = self.grid.value = self._kept.value = ""
        self.curtain.children = []
        self._refresh()
        steps = self._training(self.material, self.base.value, part.with_suffix(""), self.minutes.value)
        job = Job(steps, name="Training")
        job.progressed.connect(self._on_progress)
        self._watch(job, self._trained)
        job.cancelled.connect(lambda: self.bar.say(_STOPPED if part.exists() else _TOO_SOON))
        return job

    def start_over(self) -> Job[Outcome]:
        """Throw away what a stopped run has learned, and train from the beginning."""
        self._part().unlink(missing_ok=True)
        return self.start()

    def register(self) -> Installed | None:
        """Put the trained model into the model folder, with its scores on its card.

        A model that has forgotten something is registered at the second call only; the first returns None.
        """
        with wanting_torch():
            from mitonb.models.weights import write_weights
            from mitonb.models.zoo import import_model, read_net

        done = self.outcome
        if done is None:
            raise InputError("There is no trained model to register: start a training first.")
        if done.forgot and not self._sure:
            self._sure = True
            self.keep.description, self.keep.button_style = "Register all the same", "warning"
            self._kept.value = note("It is worse than before on images unlike yours. Click again to keep it.", "warn")
            return None
        name = plain_name(self.name.value)
        if name in (*model_names(), *PUBLISHED):
            raise InputError(f"There is a model {name} already. Change the name above and click again.")
        net, spec = read_net(done.trained.path)
        scores = {"held out": done.after.iou, **({} if done.reference is None else {"reference": done.reference[1]})}
        said = " ".join(filter(None, [spec.notes, _verdict(done)]))
        card = dataclasses.replace(spec, name=name, scores={**done.trained.scores, **scores}, notes=said)
        write_weights(net, card, done.trained.path)
        made = import_model(done.trained.path, name)
        done.trained.path.unlink()
        self.outcome = None
        self._kept.value = note(f"{name} is in the list of models now: mn.segment(stack, model={name!r}).", "good")
        self.offer_models()
        self.registered.emit(name)
        return made

    def offer_models(self) -> None:
        """Offer the models that there are now."""
        self.base.unobserve(self._on_choice, "value")  # new options choose the first, for a moment
        self.base.options, self.base.value = _bases(self._flat), self.base.value
        self.base.observe(self._on_choice, "value")
        self.model_note.refresh()
        self._refresh()

    # What the jobs do.

    def _known(self) -> list[list[Box]]:
        """Return the reviewed parts of a session, those that touch together."""
        if not isinstance(self.data, Session):
            return []
        if self.data.stack is None:
            raise InputError("This session has labels only. To learn from them, open it with its image.")
        if not self.data.reviewed:
            raise InputError("Nothing is reviewed yet: choose a part of the picture above, correct it, and call it so.")
        return self.review.groups()

    def _checking(self, parts: list[list[Box]], base: str) -> Steps[tuple[Material, int, str]]:
        yield Progress("load PyTorch", 0, 1)  # in the thread: it takes seconds
        with wanting_torch():
            from mitonb.learn.loop import require_depth
            from mitonb.learn.pairs import Pair, gathering
            from mitonb.learn.runs import memory_of

        data = self.data
        pairs = [Pair(data.stack, data.labels, known=part) for part in parts] if isinstance(data, Session) else data
        net, start = _parted(base)
        known = None if start is None else installed_as(start)
        material = yield from gathering(pairs, 0.2, None if known is None else known.spec)
        require_depth(material.sources, _dimension(base))
        yield Progress("count", 0, 1)
        return material, memory_of(net, start, **self._settings), _amounts(material)

    def _drawing(self, material: Material, base: str) -> Steps[Any]:
        with wanting_torch():
            from mitonb.learn.runs import some_patches

        yield Progress("draw patches", 0, 1)
        return some_patches(material.sources, _parted(base)[0], _dimension(base), **self._settings)

    def _training(self, material: Material, base: str, out: Path, minutes: float) -> Steps[Outcome]:
        with wanting_torch():
            from mitonb.learn.runs import finetuning, pixels_learned, training
            from mitonb.learn.scoring import held_patches, judging, load_to_judge, reference_patches

        yield Progress("load the model", 0, 1)
        net, start = _parted(base)
        model: Model | None = None if start is None else load_to_judge(start)
        patches = held_patches(material.sources, _dimension(base))
        was = self._before  # the form may be changed while this runs
        if model is not None and was is None:
            first = yield from judging(model, patches, "score before")
            yield Progress("draw the reference", 0, 1)
            drawn = yield from judging(model, reference_patches(), "score the reference")
            was = first, drawn.iou
            if self.material is material:
                self._before = was
        card: dict[str, Any] = {"title": f"{out.stem}, trained in a notebook"}
        more: dict[str, Any] = {"hold": 0, "minutes": minutes, **self._settings}
        if net is None:
            trained = yield from finetuning(material.sources, out, start=str(start), card=card, **more)
        else:
            card |= pixels_learned(material, _dimension(base))
            trained = yield from training(material.sources, out, net=net, card=card, **more)
        model = load_to_judge(trained.path)
        after = yield from judging(model, patches, "score after")
        if was is None:
            return Outcome(trained, patches, None, after, None)
        drawn = yield from judging(model, reference_patches(), "score the reference")
        return Outcome(trained, patches, was[0], after, (was[1], drawn.iou))

    # What happens on screen.

    def _watch(self, job: Job[Any], then: Callable[[Any], str | None]) -> Job[Any]:
        for end in (job.failed, job.cancelled):
            end.connect(lambda *_: self._refresh())
        return self.bar.watch(job, then=then)

    def _try(self, do: Callable[[], object]) -> None:
        try:
            do()
        except Exception as error:  # a click has no caller: what goes wrong must be read on screen
            self.bar.fail(error)

    def _try_to_register(self) -> None:
        try:
            self.register()
        except Exception as error:  # beside the button: the line of the job may be out of sight
            self._kept.value = error_html(error)

    def _part(self) -> Path:
        """Return where the run keeps what it has learned so far."""
        return model_folder() / "training" / f"{self.name.value}.safetensors.part"

    def _on_edited(self, change: Change) -> None:
        """Ask for a check again after labels were corrected: what was read before would teach the mistakes."""
        if change.box.size or change.what in ("mark_reviewed", "undo", "redo"):
            self._on_choice()

    def _on_choice(self, _: Any = None) -> None:
        if self.material is not None and not self.bar.busy:
            self.bar.say("")  # "Checked." would not be true any more
        self.material = self._before = self._choice = None
        self.facts.value = self.grid.value = ""
        self._refresh()

    def _refresh(self) -> None:
        stopped = self._part().exists()
        self.bar.buttons["start"].description = "Resume" if stopped else "Start"
        checked = self.material is not None
        self.bar.allow(check=not checked, patches=checked, start=checked, over=checked and stopped)
        self._keeping.layout.display = None if self.outcome or self._kept.value else "none"
        self.keep.layout.display = None if self.outcome else "none"

    def _checked(self, said: tuple[Material, int, str]) -> str:
        self.material, self._memory, amounts = said
        memory = f" It takes about {self._memory / 1e9:.1f} GB of memory" if self._memory else " It takes"
        notes = "".join(f"<br>{note(text, 'warn')}" for text in self.material.notes)
        self.facts.value = (
            note(f"{amounts}{memory} and the minutes above, then one or two to compare.", "plain") + notes
        )
        self._refresh()
        return "Checked. Start when it is what you want to learn from."

    def _trained(self, done: Outcome) -> str:
        self.outcome = done
        self._looks += [(1.0, _mean(done.trained.log[-1]))] if done.trained.scores else []
        self._draw()
        self.told.value = note(_verdict(done), "warn" if done.forgot else "plain")
        self.curtain.children = [Curtain(done.patches, done.before, done.after)] if done.patches else []
        self.keep.description, self.keep.button_style = "Register", "primary"
        self._refresh()
        return "Trained. Register it to use it by its name."

    def _clear(self) -> None:
        """Forget the curves of the last run."""
        self._losses: list[tuple[float, float]] = []
        self._looks: list[tuple[float, float]] = []
        self._recent: list[float] = []
        self._step, self._drawn = -1, 0.0

    def _on_progress(self, progress: Progress) -> None:
        """Take up loss and scores of a step; draw them once a second."""
        said = progress.preview
        if not isinstance(said, dict) or said.get("step", -1) == self._step or "loss" not in said:
            return
        self._step = said["step"]
        self._recent.append(said["loss"])
        if any(k[:3] == "iou" for k in said) and [_mean(said)] != [score for _, score in self._looks[-1:]]:
            self._looks.append((progress.fraction, _mean(said)))
        if time.monotonic() - self._drawn >= _EVERY:
            self._losses.append((progress.fraction, float(np.mean(self._recent))))
            self._recent.clear()
            self._draw()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        start = [] if self._before is None or not self._before[0].objects else [(0.0, self._before[0].iou)]
        iou = _curve("IoU of what is held out", [*start, *self._looks], self.minutes.value, 1.0)
        self.curves.value = f"<div class='mnb-curves'>{_curve('loss', self._losses, self.minutes.value)}{iou}</div>"


def train_form(data: Any, **settings: Any) -> TrainForm:
    """Show a form that finetunes or trains a model, without code.

    It says what there is to learn from and what `mitonb.audit` finds, shows the run as it goes, compares before and
    after on what was held out, warns of what was forgotten, and registers the model by a name.

    Parameters
    ----------
    data : Session, path of a project (.mitonb), Stack, or as for `mitonb.train`
        What to learn from: a pair, (image, labels), a folder, or a list of such. Of a session its image and labels, in
        the parts that the user calls reviewed; a stack is one whose labels are painted in the form.
    **settings
        As for `mitonb.train`, such as seed, batch and patch; they are seldom needed.

    Returns
    -------
    TrainForm
        A widget; `form.check()`, `form.start()` and `form.register()` do what its buttons do.

    Raises
    ------
    MitonbError
        If a project cannot be opened. What else goes wrong is said in the form.

    Examples
    --------
    ``mn.train_form(mn.Pair("raw.tif", "labels.tif"))``
    """
    if isinstance(data, str | os.PathLike) and Path(data).suffix.lower() == ".mitonb":
        data = Session.open(Path(data))
    return TrainForm(data, **settings)


# --- texts and pictures ----------------------------------------------------------------------------------------------


def _bases(flat: bool) -> list[tuple[str, str]]:
    """Return what a training can begin from: models that are here, then new nets; for sections none of blocks."""
    cards = {**{name: one.spec for name, one in installed().items()}, **specs()}
    cards = {name: card for name, card in cards.items() if "semantic" in card.heads and len(card.classes) == 1}
    able = [name for name in model_names() if name in cards and cards[name].architecture != "onnx"]
    there = [(f"{name} (to fetch)", name) for name in PUBLISHED if name not in model_names()]
    new = [(f"new: {net} ({said})", f"new {net}") for net, said in NEW.items() if not (flat and "blocks" in said)]
    return [*((name, name) for name in able if not flat or cards[name].dimension == 2), *there, *new]


def _parted(base: str) -> tuple[str | None, str | None]:
    """Return the new net, or the model to begin from."""
    return (base[4:], None) if base.startswith("new ") else (None, base)


def _dimension(base: str) -> int:
    """Return whether what a training begins from looks at planes, 2, or blocks, 3."""
    from mitonb.learn.runs import NETS

    net, start = _parted(base)
    known = None if start is None else installed_as(start)
    return int(NETS[net][0]["dimension"]) if net else 2 if known is None else known.spec.dimension


def _free_name() -> str:
    taken, name, k = model_names(), "my-model", 1
    while name in taken:
        k += 1
        name = f"my-model-{k}"
    return name


def _amounts(material: Material) -> str:
    """Say how much there is to learn from, and how much is held out."""
    said = []
    for held in (False, True):
        pixels, objects, images = 0, 0, 0
        for source in material.sources:
            labels = source.labels[list(source.held)] if held else source.labels[slice(*source.used)]
            known = labels[labels != source.ignore] if source.ignore is not None else labels
            pixels, objects = pixels + known.size, objects + len(np.setdiff1d(known, [0]))
            images += bool(labels.size)
        said.append(f"{count_text(objects)} in {pixels / 1e6:.2f} million pixels of {count_text(images, 'image')}")
    return f"To learn from: {said[0]}. Held out, to score on: {said[1]}."


def _mean(scores: Any) -> float:
    return float(np.mean([value for name, value in scores.items() if name[:3] == "iou"]))


def _verdict(done: Outcome) -> str:
    """Say what the training changed."""
    from mitonb.learn.scoring import won_and_lost

    if done.patches:
        said = won_and_lost(done.before, done.after)
    else:
        said = "Nothing could be held out: nobody knows how good this model is on other images."
    if done.reference is None:
        return said
    ends = "{:.3f} before, {:.3f} now".format(*done.reference)
    judged = "it has forgotten what it knew of other images" if done.forgot else "nothing that counts is forgotten"
    return f"{said} Phantoms that nothing is trained on: IoU {ends}; {judged}."


def _curve(title: str, points: Sequence[tuple[float, float]], minutes: float, top: float | None = None) -> str:
    """Return a line through (fraction of the run, value) as SVG, in the colours of the page."""
    high = top or max((value for _, value in points), default=1.0) or 1.0
    places = [(34 + 250 * x, 100 - 84 * min(max(y, 0), high) / high) for x, y in points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2"/>' for x, y in places) if top else ""
    said = f"{title}: {points[-1][1]:.3f}" if points else title
    return (
        f'<svg viewBox="0 0 300 116" role="img"><title>{html.escape(said)}</title>'
        f'<text x="34" y="10">{html.escape(said)}</text><path class="axis" d="M34 16 V100 H284"/>'
        f'<text x="30" y="20" class="end">{high:.2g}</text><text x="30" y="103" class="end">0</text>'
        f'<text x="284" y="113" class="end">{minutes:g} min</text><polyline points="{line}"/>{dots}</svg>'
    )
