"""The recipe as a form, drawn from the fields of `Recipe`: names, help and ranges stand there alone."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

import ipywidgets as ipw
import traitlets
from psygnal import Signal

from mitonb.errors import InputError
from mitonb.recipe import PRESETS, Recipe, Rerun
from mitonb.stack import AXES
from mitonb.widgets.run_bar import RunBar
from mitonb.widgets.style import note, row, sheet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["RecipeForm", "RunBar"]

_ORDER: tuple[Rerun, ...] = ("decode", "track", "net")
_MOST_CHOICES = 64
_MOST_STEPS = 1000


class RecipeForm(ipw.VBox):
    """A form for a recipe.

    Parameters
    ----------
    recipe : Recipe or None
        What the form shows at first; None is the default recipe.
    models : sequence of str
        Names offered in the model field; any other name or a path to weights may be typed.

    Attributes
    ----------
    recipe : Recipe
        The value of the form; assign it to fill the form.
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

    def __init__(self, recipe: Recipe | None = None, *, models: tuple[str, ...] = (), **options: Any) -> None:
        self._filling = False
        hints = get_type_hints(Recipe)
        fields = dataclasses.fields(Recipe)
        start = Recipe.of(recipe)
        self.controls: dict[str, Any] = {
            f.name: _control(f, hints[f.name], getattr(start, f.name), models) for f in fields
        }
        self._rows = {f.name: _line(self.controls[f.name], f.metadata) for f in fields}
        self._base = _preset_of(start)
        self.preset = ipw.Dropdown(
            options=list(PRESETS), value=self._base, layout={"width": "134px"}, tooltip="Named recipes to start from"
        )
        self.reset = ipw.Button(tooltip="Set every field back to the preset", layout={"width": "auto"})
        self.reset.add_class("mnb-link")
        self.more = ipw.ToggleButton(
            value=False, description="more settings", icon="caret-right", layout={"width": "auto"}
        )
        self.more.add_class("mnb-link")
        self.message = ipw.HTML()
        self._extra = ipw.VBox(
            [self._rows[f.name] for f in fields if not f.metadata["basic"]], layout={"display": "none"}
        )
        head = row(
            ipw.HTML('<span class="mnb-title">Recipe</span>'), self.preset, self.reset, justify_content="space-between"
        )
        basic = [self._rows[f.name] for f in fields if f.metadata["basic"]]
        super().__init__([sheet(), head, *basic, self.message, self.more, self._extra], recipe=start, **options)
        self.add_class("mnb")
        self._connect()
        self._show_changes()

    def _connect(self) -> None:
        for name, control in self.controls.items():
            control.observe(lambda change, name=name: self._on_control(name, change["new"]), "value")
        self.observe(lambda change: self._fill(change["old"], change["new"]), "recipe")
        self.preset.observe(lambda change: self._on_preset(change["new"]), "value")
        self.reset.on_click(lambda _: setattr(self, "recipe", PRESETS[self._base]))
        self.more.observe(lambda change: self._unfold(change["new"]), "value")

    def _on_control(self, name: str, value: Any) -> None:
        """Take one value from the screen, or say why it cannot be and put the old one back."""
        if self._filling:
            return
        if isinstance(value, float):
            value = round(value, 6)  # a slider in the browser gives 0.49999999999999994 for 0.5
        try:
            self.recipe = self.recipe.replace(**{name: value})
            self.message.value = ""
        except InputError as error:
            self.message.value = note(str(error), "error")
            self._set(name, getattr(self.recipe, name))

    def _on_preset(self, name: str) -> None:
        """Start from a named recipe."""
        self._base = name
        self.recipe = PRESETS[name]
        self._show_changes()

    def _fill(self, old: Recipe, new: Recipe) -> None:
        """Show a recipe in the controls, then tell who listens what must run again."""
        for name in new.changes(old):
            self._set(name, getattr(new, name))
        self._show_changes()
        self.changed.emit(new, rerun_of(old, new))

    def _set(self, name: str, value: Any) -> None:
        self._filling = True
        try:
            self.controls[name].value = value
        finally:
            self._filling = False

    def _show_changes(self) -> None:
        changes = self.recipe.changes(PRESETS[self._base])
        self.reset.description = f"{len(changes)} changed: reset" if changes else "as in preset"
        self.reset.disabled = not changes
        for name, line in self._rows.items():
            (line.add_class if name in changes else line.remove_class)("mnb-changed")

    def _unfold(self, wide: bool) -> None:
        self._extra.layout.display = "" if wide else "none"
        self.more.icon = "caret-down" if wide else "caret-right"
        self.more.description = "fewer settings" if wide else "more settings"

    def state(self) -> str:
        """Return what the form shows, one field a line; a star marks what differs from the preset."""
        changes = self.recipe.changes(PRESETS[self._base])
        lines = [f"{'*' if f.name in changes else ' '} {f.metadata['label']}: {getattr(self.recipe, f.name)}"
                 f"{' ' + f.metadata['unit'] if f.metadata['unit'] else ''}"
                 for f in dataclasses.fields(Recipe) if f.metadata["basic"] or self.more.value]  # fmt: skip
        return "\n".join([f"preset {self._base}, {self.reset.description}", *lines])


class AxesChoice(ipw.HBox):
    """Three toggles whose value is a tuple of plane directions."""

    value = traitlets.Tuple()

    def __init__(self, value: tuple[str, ...], *, description: str, tooltip: str) -> None:
        label = ipw.Label(
            description,
            style={"text_color": None},
            layout={"width": "122px", "justify_content": "flex-end", "margin": "0 4px 0 0"},
        )
        self.toggles = {
            axis: ipw.ToggleButton(value=axis in value, description=axis, tooltip=tooltip, layout={"width": "38px"})
            for axis in AXES
        }
        super().__init__([label, *self.toggles.values()], value=tuple(value))
        for toggle in self.toggles.values():
            toggle.observe(self._collect, "value")
        self.observe(self._show, "value")

    def _collect(self, _change: Any) -> None:
        self.value = tuple(axis for axis, toggle in self.toggles.items() if toggle.value)

    def _show(self, change: Any) -> None:
        wanted = change["new"]
        if {axis for axis, toggle in self.toggles.items() if toggle.value} != set(wanted):
            for axis, toggle in self.toggles.items():
                # One toggle at a time would pass through values that nobody asked for.
                toggle.unobserve(self._collect, "value")
                toggle.value = axis in wanted
                toggle.observe(self._collect, "value")


def rerun_of(old: Recipe, new: Recipe) -> Rerun:
    """Return what has to run again between two recipes: the costliest class among the changed fields."""
    return max(reruns_of(old, new) or {"decode"}, key=_ORDER.index)


def reruns_of(old: Recipe, new: Recipe) -> set[Rerun]:
    """Return the classes of the fields that differ between two recipes."""
    fields = dataclasses.fields(Recipe)
    return {f.metadata["rerun"] for f in fields if getattr(old, f.name) != getattr(new, f.name)}


def _preset_of(recipe: Recipe) -> str:
    """Return the preset that a recipe is nearest to."""
    return min(PRESETS, key=lambda name: len(recipe.changes(PRESETS[name])))


def _line(control: Any, metadata: Mapping[str, Any]) -> ipw.HBox:
    """Return a control with its unit at a fixed place, so that all rows line up."""
    control.layout.flex = "1 1 auto"
    control.layout.min_width = "0"
    line = ipw.HBox([control, ipw.Label(metadata["unit"], layout={"width": "41px"})], layout={"overflow": "visible"})
    line.add_class("mnb-field")
    return line


def _control(field: dataclasses.Field[Any], hint: Any, value: Any, models: tuple[str, ...]) -> Any:
    """Return the control for one field, chosen by its type and range."""
    m = field.metadata
    told = {"description": m["label"], "tooltip": m["help"], "value": value}
    builders: list[tuple[bool, Callable[[], Any]]] = [
        (field.name == "planes", lambda: AxesChoice(value, description=m["label"], tooltip=m["help"])),
        (get_origin(hint) is not None, lambda: ipw.Dropdown(options=list(get_args(hint)), **told)),
        (hint is bool, lambda: ipw.Checkbox(indent=True, **told)),
        (hint is str, lambda: ipw.Combobox(options=list(models), continuous_update=False, **told)),
        (hint is float, lambda: ipw.FloatSlider(**_range(m), readout_format=".2f", **told)),
        (True, lambda: _whole(field.name, m, told)),
    ]
    control = next(build for fits, build in builders if fits)()
    control.add_class(f"mnb-field-{field.name}")
    return control


def _range(m: Mapping[str, Any]) -> dict[str, Any]:
    # Only what can be shown while the slider moves may follow it: the net is not run thirty times on the way.
    return {"min": m["low"], "max": m["high"], "step": m["step"], "continuous_update": m["rerun"] == "decode"}


def _whole(name: str, m: Mapping[str, Any], told: dict[str, Any]) -> Any:
    """Return a list where only some numbers are allowed, a slider for a short range, else a number box."""
    steps = range(m["low"], m["high"] + 1, m["step"])
    if len(steps) <= _MOST_CHOICES:
        allowed = [v for v in steps if _valid(name, v)]
        if len(allowed) < len(steps):
            return ipw.Dropdown(options=allowed, **told)
    if len(steps) <= _MOST_STEPS:
        return ipw.IntSlider(**_range(m), **told)
    # continuous_update of a number box means "at every key"; a half-typed number is nobody's wish.
    return ipw.BoundedIntText(**{**_range(m), "continuous_update": False}, **told)


def _valid(name: str, value: Any) -> bool:
    try:
        Recipe().replace(**{name: value})
    except InputError:
        return False
    return True
