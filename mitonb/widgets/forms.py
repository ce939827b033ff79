"""Forms: the recipe, drawn from the fields of `Recipe`; opening a stack, saving results, and the voxel size."""

from __future__ import annotations

import dataclasses
import html
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import ipywidgets as ipw
import traitlets
from psygnal import Signal

from mitonb.errors import InputError, MitonbError, wanting_torch
from mitonb.io.saving import TABLES
from mitonb.job import Job, Progress, Steps
from mitonb.models.folder import PUBLISHED, about_model, facts_of, installed
from mitonb.recipe import IN_NM, PRESETS, Recipe, Rerun
from mitonb.stack import AXES, Stack
from mitonb.widgets.runs import JobBar
from mitonb.widgets.style import Part, button, error_html, note, row, sheet, size_text
from mitonb.widgets.upload import Upload

FORMATS = {
    "labels · OME-Zarr": ".ome.zarr",
    "labels · TIFF": ".tif",
    "labels · OME-TIFF": ".ome.tif",
    "labels · NumPy": ".npz",
    "labels · NIfTI": ".nii.gz",
    "labels · HDF5": ".h5",
    "labels · folder of planes": ".planes",
    "labels · Neuroglancer": ".precomputed",
    "table of objects · CSV": ".csv",
    "table of objects · Excel": ".xlsx",
    "table of objects · Parquet": ".parquet",
}
"""What can be saved, and the ending of each."""
_FIELDS = {f.name: f for f in dataclasses.fields(Recipe)}
_MOST_STEPS = 1000
_OF_VOLUMES = {n for n, f in _FIELDS.items() if f.metadata["rerun"] == "track"} - {"verdicts"} | {
    "planes", "median", "keep_maps",
}  # fmt: skip
"""What a run of one plane does not look at."""


# --- the recipe ------------------------------------------------------------------------------------------------------


class RecipeForm(Part):
    """A form for a recipe.

    Parameters
    ----------
    recipe : Recipe or None
        What the form shows at first; None is the default recipe.
    models : sequence of str
        Names offered in the model field; any other name or a path to weights may be typed.
    volume : bool
        Whether what joins planes is offered, too; of a single section nothing is joined.

    Attributes
    ----------
    recipe : Recipe
        The value of the form; assign it to fill the form.
    model_note : ModelNote
        What is known of the chosen model, and the fetching of one that is not here.
    changed : Signal(Recipe, str)
        The new recipe, and what has to run again for it: "decode", "track" or "net".

    Examples
    --------
    >>> form = RecipeForm()
    >>> form.controls["center_threshold"].value = 0.2
    >>> form.recipe.changes()
    {'center_threshold': 0.2}
    """

    recipe = traitlets.Instance(Recipe)
    changed = Signal(Recipe, str)

    def __init__(
        self, recipe: Recipe | None = None, *, models: tuple[str, ...] = (), volume: bool = True, **options: Any
    ) -> None:
        start, hints = Recipe.of(recipe), get_type_hints(Recipe)
        self.controls = {name: _control(f, hints[name], models) for name, f in _FIELDS.items()}
        self._units = {name: ipw.Label(f.metadata["unit"], layout={"width": "41px"}) for name, f in _FIELDS.items()}
        self._rows = {name: _line(control, self._units[name]) for name, control in self.controls.items()}
        # What differs from the default in the joining of planes alone means nothing for a single section.
        offered = [n for n, one in PRESETS.items() if volume or not one.changes() or set(one.changes()) - _OF_VOLUMES]
        self._base = min(offered, key=lambda name: len(start.changes(PRESETS[name])))
        self.preset = ipw.Dropdown(
            options=offered, value=self._base, layout={"width": "134px"}, tooltip="Named recipes to start from"
        )
        self.reset = button(tip="Set every field back to the preset; verdicts stay", css="mnb-link")
        self.more = button("more settings", "caret-right", kind=ipw.ToggleButton, css="mnb-link")
        self.message = ipw.HTML()
        title = ipw.HTML('<span class="mnb-title">Recipe</span>')
        head = row(title, self.preset, self.reset, justify_content="space-between")
        basic: list[Any] = [line for name, line in self._rows.items() if _FIELDS[name].metadata["basic"]]
        self._extra = ipw.VBox([line for line in self._rows.values() if line not in basic])
        self.model_note = ModelNote(self.controls["model"])
        basic.insert(basic.index(self._rows["model"]) + 1, self.model_note)
        super().__init__(head, *basic, self.message, self.more, self._extra, recipe=start, **options)
        for name in _OF_VOLUMES if not volume else ():
            self._rows[name].layout.display = "none"
        for name, control in self.controls.items():
            self._show(name)
            control.observe(lambda change, name=name: self._on_control(name, change["new"]), "value")
        self.observe(lambda change: self._fill(change["old"], change["new"]), "recipe")
        self.preset.observe(lambda change: self._on_preset(change["new"]), "value")
        self.reset.on_click(lambda _: setattr(self, "recipe", self._preset()))
        self.more.observe(lambda change: self._unfold(change["new"]), "value")
        self._unfold(False)
        self._show_changes()

    def _on_control(self, name: str, value: Any) -> None:
        """Take one value from the screen, or say why it cannot be and put the old one back."""
        if isinstance(value, float):
            value = round(value, 6)  # a slider in the browser gives 0.49999999999999994 for 0.5
        if value == getattr(self.recipe, name):
            return
        try:
            self.recipe = self.recipe.replace(**{name: value})
            self.message.value = ""
        except InputError as error:
            self.message.value = note(str(error), "error")
            self._show(name)

    def _on_preset(self, name: str) -> None:
        self._base = name
        self.recipe = self._preset()
        self._show_changes()

    def _preset(self) -> Recipe:
        """Return the preset with the verdicts of the form: an edit put them there, and a button takes them out."""
        return PRESETS[self._base].replace(verdicts=self.recipe.verdicts)

    def _fill(self, old: Recipe, new: Recipe) -> None:
        """Show a recipe in the controls, then tell who listens what must run again."""
        for name in new.changes(old):
            self._show(name)
        self._show_changes()
        self.changed.emit(new, rerun_of(old, new))

    def _show(self, name: str) -> None:
        """Show one value; a length that a script gave in nm stands in the place of the unit."""
        value, control = getattr(self.recipe, name), self.controls[name]
        control.disabled = in_nm = name in IN_NM and isinstance(value, str)
        self._units[name].value = value if in_nm else _FIELDS[name].metadata["unit"]
        if not in_nm:
            control.value = value

    def _show_changes(self) -> None:
        changes = self.recipe.changes(self._preset())
        self.reset.description = f"{len(changes)} changed: reset" if changes else "as in preset"
        self.reset.disabled = not changes
        for name, line in self._rows.items():
            (line.add_class if name in changes else line.remove_class)("mnb-changed")

    def _unfold(self, wide: bool) -> None:
        self._extra.layout.display = "" if wide else "none"
        self.more.icon = "caret-down" if wide else "caret-right"
        self.more.description = "fewer settings" if wide else "more settings"


class ModelNote(ipw.VBox):
    """What is known of a model, under the control that chooses it, and a button that fetches one that is not here.

    Attributes
    ----------
    fetched : Signal(str)
        A model of that name is here now.
    """

    fetched = Signal(str)

    def __init__(self, choice: Any) -> None:
        self.choice, self.about, self.doubt = choice, ipw.HTML(), ipw.HTML()
        self.bar = JobBar({"fetch": ("Fetch", "download", "Fetch it from its makers, check it and pin its hash")})
        super().__init__([self.about, self.doubt, self.bar], layout={"overflow": "visible"})
        choice.observe(lambda _: self.refresh(), "value")
        self.bar.asked.connect(lambda _: self.fetch())
        self.refresh()

    def fetch(self) -> Job[Any]:
        """Fetch the chosen model, in a thread; `.result()` of the job waits."""
        name = self.choice.value

        def tell(_: Any) -> None:
            self.refresh()
            self.fetched.emit(name)

        return self.bar.watch(Job(_fetching(name), name=f"Fetching {name}"), then=tell)

    def warn(self, doubts: Sequence[str]) -> None:
        """Say where the image is unlike those that the model knows: the first sentence, all of it when hovered."""
        lines = [
            f'<span class="mnb-warn" title="{html.escape(text)}">⚠ {html.escape(text.partition(". ")[0])}.</span>'
            for text in doubts
        ]
        self.doubt.value = "<br>".join(lines)

    def refresh(self) -> None:
        """Say what is known of the chosen model now."""
        name, facts, said = self.choice.value, facts_of(self.choice.value), about_model(self.choice.value)
        there = name in PUBLISHED and name not in installed()
        short = html.escape(f"{facts['where']} · {facts['pixels']}") if "where" in facts else ""
        # All of it before it is fetched; of what is here the rest is a click away.
        self.about.value = (
            f"<details><summary>{short}</summary>{note(said)}</details>" if short and not there else note(said)
        )
        self.bar.say("")
        self.bar.layout.display = None if there or self.bar.busy else "none"


def _fetching(name: str) -> Steps[Any]:
    yield Progress("asking its server", 0, 0)
    with wanting_torch():  # late: it takes seconds
        from mitonb.models.zoo import pulling

    return (yield from pulling(name))


class AxesChoice(ipw.HBox):
    """Three toggles whose value is a tuple of plane directions."""

    value = traitlets.Tuple()

    def __init__(self, value: tuple[str, ...], *, description: str, tooltip: str) -> None:
        place = {"width": "122px", "justify_content": "flex-end", "margin": "0 4px 0 0"}
        self.toggles = {
            axis: ipw.ToggleButton(value=axis in value, description=axis, tooltip=tooltip, layout={"width": "38px"})
            for axis in AXES
        }
        super().__init__([ipw.Label(description, layout=place), *self.toggles.values()], value=tuple(value))
        for toggle in self.toggles.values():
            toggle.observe(lambda _: self._collect(), "value")
        self.observe(self._show, "value")

    def _collect(self) -> None:
        self.value = tuple(axis for axis, toggle in self.toggles.items() if toggle.value)

    def _show(self, change: Any) -> None:
        # Held, for one toggle at a time would pass through values that nobody asked for.
        with self.hold_trait_notifications():
            for axis, toggle in self.toggles.items():
                toggle.value = axis in change["new"]


class VerdictsLine(ipw.HBox):
    """What was learned from marks, and a button that takes it out of the recipe."""

    value = traitlets.Any(None)

    def __init__(self, value: Any, *, description: str, tooltip: str) -> None:
        place = {"width": "122px", "justify_content": "flex-end", "margin": "0 4px 0 0"}
        self.said = ipw.Label(layout={"flex": "1 1 auto", "width": "0"})
        self.forget = button(icon="times", tip="Take the verdicts out of the recipe", css="mnb-link")
        label = ipw.Label(description, layout=place)
        label.tooltip = tooltip
        super().__init__([label, self.said, self.forget], value=value)
        self.forget.on_click(lambda _: setattr(self, "value", None))
        self.observe(lambda _: self._show(), "value")
        self._show()

    def _show(self) -> None:
        self.said.value = "none" if self.value is None else str(self.value)
        self.said.tooltip = self.said.value
        self.forget.layout.display = "none" if self.value is None else ""


def rerun_of(old: Recipe, new: Recipe) -> Rerun:
    """Return what has to run again between two recipes: the costliest class among the changed fields."""
    return max(reruns_of(old, new) or {"decode"}, key=get_args(Rerun).index)


def reruns_of(old: Recipe, new: Recipe) -> set[Rerun]:
    """Return what has to run again between two recipes: the classes of the fields that differ."""
    return {_FIELDS[name].metadata["rerun"] for name in new.changes(old)}


def either_side(recipe: Recipe, name: str) -> dict[str, float]:
    """Return a lower and a higher value of a setting, "low" and "high", to see what a move would change.

    None where that is no number, or where decoding the maps of a plane does not read it.
    """
    facts, value = _FIELDS[name].metadata, getattr(recipe, name)
    if facts["rerun"] != "decode" or name == "median" or isinstance(value, bool | str):
        return {}
    by = 5 * facts["step"] if isinstance(value, float) else max(facts["step"], value // 4)
    found = {"low": max(facts["low"], value - by), "high": min(facts["high"], value + by)}
    return {side: round(other, 6) for side, other in found.items() if other != value}


def _line(control: Any, unit: ipw.Label) -> ipw.HBox:
    """Return a control with its unit at a fixed place, so that all rows line up."""
    control.layout.flex = "1 1 auto"
    control.layout.min_width = "0"
    return ipw.HBox([control, unit], layout={"overflow": "visible"}).add_class("mnb-field")


def _control(field: dataclasses.Field[Any], hint: Any, models: tuple[str, ...]) -> Any:
    """Return the control for one field, chosen by its type and range."""
    m, start, name = field.metadata, getattr(Recipe(), field.name), field.name
    told = {"description": m["label"], "tooltip": m["help"], "value": start}
    # Only what can be shown while the slider moves may follow it: the net is not run thirty times on the way.
    span = {"min": m["low"], "max": m["high"], "step": m["step"], "continuous_update": m["rerun"] == "decode", **told}
    control: Any
    if name == "planes":
        control = AxesChoice(start, description=m["label"], tooltip=m["help"])
    elif name == "verdicts":
        control = VerdictsLine(start, description=m["label"], tooltip=m["help"])
    elif get_origin(hint) is Literal:
        control = ipw.Dropdown(options=get_args(hint), **told)
    elif hint is bool:
        control = ipw.Checkbox(indent=True, **told)
    elif hint is str:
        offered = models if name == "model" else ("auto", "as is")
        control = ipw.Combobox(options=offered, continuous_update=False, **told)
    elif hint is float:
        control = ipw.FloatSlider(readout_format=".2f", **span)
    elif name in ("downsampling", "median"):  # where only some numbers are allowed
        control = ipw.Dropdown(options=[v for v in range(m["low"], m["high"] + 1) if _valid(name, v)], **told)
    elif (m["high"] - m["low"]) / m["step"] < _MOST_STEPS:
        control = ipw.IntSlider(**span)
    else:
        # continuous_update of a number box means "at every key"; a half-typed number is nobody's wish.
        control = ipw.BoundedIntText(**{**span, "continuous_update": False})
    return control.add_class(f"mnb-field-{name}")


def _valid(name: str, value: Any) -> bool:
    try:
        return bool(Recipe().replace(**{name: value}))
    except InputError:
        return False


# --- opening ---------------------------------------------------------------------------------------------------------


class VoxelSizeField(ipw.HBox):
    """Three numbers (z, y, x) in nm and a button, for stacks whose files do not tell them; two for a single section.

    Attributes
    ----------
    chosen : Signal(tuple)
        (z, y, x) in nm, when the user sets them.
    """

    chosen = Signal(tuple)

    def __init__(self, value: Sequence[float] | None = None, **options: Any) -> None:
        look = {"step": 1, "layout": {"width": "66px"}, "style": {"description_width": "10px"}}
        self.fields = [
            ipw.FloatText(value=v, description=axis, tooltip=f"{axis} in nm", **look)
            for axis, v in zip("zyx", value or (0, 0, 0), strict=True)
        ]
        self.button = button("set", tip="Use this voxel size")
        self.message = ipw.HTML()
        hint = ipw.HTML(note("" if value else "voxel size unknown:", "warn"))
        parts = row(hint, *self.fields, ipw.HTML("nm"), self.button, self.message).add_class("mnb-spaced")
        super().__init__([sheet(), parts], **options)
        self.add_class("mnb")
        self.button.on_click(lambda _: self.choose())

    def ask(self, shape: Sequence[int] | None) -> None:
        """Show for a stack of this (z, y, x) shape, or hide for None."""
        self.layout.display = "none" if shape is None else ""
        self.fields[0].layout.display = "none" if shape is not None and shape[0] == 1 else ""

    def choose(self) -> None:
        """Take the three numbers; one number alone counts for all three axes."""
        nm = [field.value for field in self.fields]
        if self.fields[0].layout.display == "none":  # nobody asks how thick a single section is
            nm[0] = 0
            nm[0] = max(nm) if min(nm[1:]) > 0 else 0
        if sum(v > 0 for v in nm) == 1:
            nm = [max(nm)] * 3
        if not all(v > 0 for v in nm):
            self.message.value = note("Give sizes above 0, in nm.", "error")
            return
        for field, v in zip(self.fields, nm, strict=True):
            field.value = v
        self.message.value = ""
        self.chosen.emit(tuple(nm))


_SAMPLES = {
    "drawn": ("Drawn volume", "flask", "Mitochondria and other things that are drawn, with their truth"),
    "islet": ("Mouse islet", "image", "A real section, 5 nm pixels: large mitochondria, insulin granules"),
    "medulla": ("Fly brain", "cube", "A small real volume, 10 nm voxels: dark mitochondria of a fly"),
}
"""Buttons of what comes with mitonb: nothing is downloaded."""


class OpenForm(Part):
    """A form that opens a stack.

    Attributes
    ----------
    stack : Stack or None
        What is open; `form.observe(..., "stack")` tells of a new stack and of a voxel size that was set.
    labels : Labels or None
        The truth that comes with the drawn volume.
    opened : Signal(Stack)
        A new stack was opened.
    """

    stack = traitlets.Instance(Stack, allow_none=True)
    opened = Signal(Stack)

    def __init__(self, path: str | Path = "", **options: Any) -> None:
        self.labels: Any = None
        self._lock = threading.Lock()
        self.path = _path_box(path, "A file or folder on the computer of the kernel")
        self.path.placeholder = "path of a TIFF, OME-Zarr, folder of images, .npy …"
        self.button = button("Open", "folder-open", button_style="primary")
        self.samples = {name: button(*look) for name, look in _SAMPLES.items()}
        self.upload = Upload(layout={"flex": "1 1 220px"})
        self.message = ipw.HTML(layout={"min_height": "18px"})
        self.about = ipw.HTML()
        self.voxel_size = VoxelSizeField(layout={"display": "none"})
        ways = row(ipw.HTML(note("or")), self.upload)
        samples = row(ipw.HTML(note("or a sample:")), *self.samples.values())
        parts = [row(self.path, self.button), ways, samples, self.message, self.about, self.voxel_size]
        super().__init__(*parts, layout={"max_width": "760px"}, **options)
        self.button.on_click(lambda _: _in_thread(self.open_path, self.path.value))
        self.path.on_msg(lambda _, message, __: message.get("event") == "submit" and self.button.click())
        for name, sample in self.samples.items():
            sample.on_click(lambda _, name=name: _in_thread(self.open_sample, name))
        self.upload.received.connect(lambda path: _in_thread(self.open_path, path))
        self.upload.refused.connect(lambda error: setattr(self.message, "value", error_html(error)))
        self.voxel_size.chosen.connect(self._on_voxel_size)
        self.observe(lambda _: self._describe(), "stack")

    def open_path(self, path: str | Path) -> Stack | None:
        """Open a path as if it had been typed; return the stack, or None with a sentence on screen."""
        self.path.value = str(path)
        if not str(path).strip():
            self.message.value = note("Type a path first, drop a file, or take a sample.", "error")
            return None
        from mitonb.io.opening import open as open_stack

        return self._take(f"opening {Path(path).name} …", lambda: (open_stack(str(path).strip()), None))

    def open_sample(self, name: str = "drawn") -> Stack | None:
        """Open a sample that comes with mitonb: "islet", "medulla", or a drawn volume, with its truth in `labels`."""
        from mitonb.io.opening import sample
        from mitonb.phantoms import phantom

        return self._take("opening the sample …", lambda: tuple(phantom()) if name == "drawn" else (sample(name), None))

    def _take(self, doing: str, read: Callable[[], Any]) -> Stack | None:
        with self._lock:
            self.message.value = note(doing)
            try:
                stack, self.labels = read()
            except Exception as error:  # whatever a file does to its reader must become a sentence here
                self.message.value = error_html(error)
                return None
            self.stack = stack
            self.message.value = ""
        self.opened.emit(stack)
        return self.stack

    def _on_voxel_size(self, nm: tuple[float, float, float]) -> None:
        self.stack = self.stack and self.stack.with_voxel_size(*nm)

    def _describe(self) -> None:
        stack, lines = self.stack, [""]
        if stack is not None:
            about = f"{stack.name}: {size_text(stack.shape, stack.voxel_size)}, {stack.dtype}"
            lines = [note(about, "good"), *map(note, stack.notes)]
        self.about.value = "<br>".join(lines)
        self.voxel_size.ask(stack.shape if stack is not None and stack.voxel_size is None else None)


def open_form(path: str | Path = "") -> OpenForm:
    """Return a form that opens a stack: type a path, take a sample, or drop a file.

    The result is in `form.stack`.

    Examples
    --------
    >>> form = open_form()
    >>> form.stack is None
    True
    """
    return OpenForm(path)


# --- saving ----------------------------------------------------------------------------------------------------------


class SaveForm(Part):
    """Choose a format and a path, and save.

    Parameters
    ----------
    write : callable
        Takes a path and `overwrite`, returns where the result is; its errors are shown as sentences.
    stem : str
        Name of the file at first, without ending.
    """

    def __init__(self, write: Callable[..., Path], stem: str = "labels", **options: Any) -> None:
        self._write = write
        self.format = ipw.Dropdown(options=list(FORMATS), layout={"width": "190px"}, tooltip="What to write")
        self.path = _path_box(f"{stem}{FORMATS[self.format.value]}", "Where to; relative to the folder of the notebook")
        self.overwrite = ipw.Checkbox(description="replace", indent=False, layout={"width": "76px"})
        self.overwrite.tooltip = "Write over a file that is already there"
        self.button = button("Save", "download")
        self.message = ipw.HTML(layout={"min_height": "18px"})
        parts = row(self.format, self.path, self.overwrite, self.button)
        super().__init__(parts, self.message, layout={"max_width": "860px"}, **options)
        self.add_class("mnb-save")
        self.format.observe(self._on_format, "value")
        self.button.on_click(lambda _: _in_thread(self.save))

    def save(self, path: str | Path | None = None) -> Path | None:
        """Save as if the button had been pressed; return where, or None with a sentence on screen."""
        if path is not None:
            self.path.value = str(path)
        self.button.disabled = True
        self.message.value = note("saving …")
        try:
            path = Path(self.path.value).expanduser()
            if not self.overwrite.value and self.path.value.strip() and os.path.lexists(path):
                raise InputError(f"{path.name} already exists. Tick replace, or choose another name.")
            done = self._write(self.path.value, overwrite=self.overwrite.value)
        except Exception as error:  # a failed export must never look like a saved one
            said = "" if isinstance(error, MitonbError | OSError) else "Not saved. "
            self.message.value = error_html(error, said)
            return None
        finally:
            self.button.disabled = False
        checked = "" if done.suffix in TABLES else " It was read back and is the same."
        self.message.value = note(f"Saved {done}.{checked}", "good")
        return done

    def _on_format(self, change: Any) -> None:
        # The longest first: .ome.tif ends like .tif.
        endings = sorted(FORMATS.values(), key=len, reverse=True)
        ending = next(filter(self.path.value.endswith, endings), "")
        self.path.value = self.path.value.removesuffix(ending) + FORMATS[change["new"]]


def _path_box(path: str | Path, tip: str) -> ipw.Text:
    return ipw.Text(str(path), layout={"flex": "1 1 260px", "width": "auto"}, tooltip=tip)


def _in_thread(do: Callable[..., Any], *arguments: Any) -> None:
    # A slow disk must not keep other widgets waiting: all their messages share one thread.
    threading.Thread(target=do, args=arguments, name=f"mitonb {do.__name__}", daemon=True).start()
