"""Still pictures with matplotlib, for lessons, papers and scripts; nothing here touches pyplot's global state."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mitonb.colors import AnyImage, map_colors, overlay
from mitonb.errors import AxesError, InputError
from mitonb.io.movies import bar_length
from mitonb.maps import COARSE, Maps
from mitonb.post.decoding import centers, foreground
from mitonb.recipe import Recipe

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from mitonb.stack import Stack


_QUESTIONS = {
    "semantic": "is it mitochondrion?", "center": "where is a middle?", "offsets": "which way to the middle?",
    "contour": "is it an edge?", "distance": "how deep inside?",
}  # fmt: skip
"""What each head of a network answers."""
_ARROWS = 20
"""Arrows along the longer side of the offsets."""


class Picture(Figure):
    """A figure that shows itself in a notebook and that no global list keeps alive.

    `picture.savefig("name.png")` writes it; `picture.axes` are its panels.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, layout="constrained", **options)
        FigureCanvasAgg(self)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=100)
        return buffer.getvalue()


def show_maps(
    maps: Maps, image: AnyImage | None = None, *, recipe: Recipe | None = None, labels: npt.NDArray[Any] | None = None,
    colors: Any = None, class_index: int = 0, width: float = 10.0,
) -> Picture:  # fmt: skip
    """Draw what a network says about a plane, one panel for each of its heads, side by side.

    Parameters
    ----------
    maps : Maps
        Of a plane, with any heads: from `predict`, or `targets` of labels.
    image : Plane or (h, w) array, optional
        The plane: the first panel, and what lies under the maps; black without one.
    recipe : Recipe, optional
        Its thresholds decide what is foreground (inside of the white line) and which centers there are (crosses).
    labels : (h, w) integer array, optional
        The objects, as a last panel.
    colors : optional
        Whose colours the objects have, as in `overlay`.
    class_index : int
        Which class of the semantic map.
    width : float
        Width of the picture in inches.

    Returns
    -------
    Picture

    Raises
    ------
    AxesError
        If these are no maps of a plane, or maps and image differ in size.
    """
    if not isinstance(maps, Maps) or len(maps.shape) != 2:
        got = f"those of a block, {maps.shape}" if isinstance(maps, Maps) else type(maps).__name__
        raise AxesError(f"show_maps shows the Maps of a plane, got {got}. Take mn.predict(stack.plane(0)).")
    under = np.zeros(maps.shape, np.float32) if image is None else image
    if np.shape(under) != maps.shape:
        raise AxesError(f"These maps are of a plane of {maps.shape} pixels, the image has {np.shape(under)}.")
    recipe, maps = Recipe.of(recipe), maps.cropped()
    inside = foreground(maps, recipe, kind=class_index) if "semantic" in maps else np.ones(maps.shape, np.bool_)
    names = [*(() if image is None else ("image",)), *maps.heads, *(() if labels is None else ("objects",))]
    picture = Picture(figsize=(width, width / len(names) * maps.shape[0] / maps.shape[1] + 0.3))
    for axes, name in zip(np.ravel(picture.subplots(1, len(names))), names, strict=True):
        grey = overlay(under, labels if name == "objects" else None, colors=colors)
        _panel(axes, grey, f"{name}: {_QUESTIONS.get(name, '')}".strip(": "))
        if name in maps.heads:
            _draw_head(axes, maps, name, inside, class_index)
        if name == "center":
            y, x = centers(maps, recipe).T
            axes.plot(x, y, "+", color="#e69f00", markersize=9)
    return picture


def wheel(size: int = 64) -> npt.NDArray[np.float32]:
    """Return the legend of offsets, `mitonb.colors.map_colors`: a disc as (size, size, 4) RGBA 0..1."""
    side = np.linspace(-1, 1, size, dtype=np.float32)
    dy, dx = np.meshgrid(side, side, indexing="ij")
    disc = (np.hypot(dy, dx) <= 1).astype(np.float32)
    return np.concatenate([map_colors("offsets", np.stack([dy, dx]))[..., :3], disc[..., None]], axis=2)


def _draw_head(axes: Axes, maps: Maps, name: str, inside: npt.NDArray[np.bool_], class_index: int) -> None:
    """Draw one head over what is there, with what helps to read it: a line, or arrows and the wheel of colours."""
    (h, w), stride = maps.shape, maps.output_stride
    values = maps[name].astype(np.float32) / (255 if maps[name].dtype == np.uint8 else 1)
    if name not in COARSE:
        values = values[class_index] if name == "semantic" else values.mean(axis=0)
    rgba = map_colors(name, values / max(float(values.max()), 1.0) if name == "distance" else values)
    if name == "offsets":
        rgba = rgba * inside[::stride, ::stride, None]
    # Where the first pixel of a coarser map stands, and how large its pixels are.
    step, first = (stride, maps.pixel_offset) if name in COARSE else (1, 0.0)
    low, (rows, columns) = first - 0.5 * step, rgba.shape[:2]
    axes.imshow(rgba, alpha=0.75, interpolation="nearest", extent=(low, low + columns * step, low + rows * step, low))
    axes.set(xlim=(-0.5, w - 0.5), ylim=(h - 0.5, -0.5))
    if name == "semantic" and inside.any() and not inside.all():
        axes.contour(inside, [0.5], colors="white", linewidths=0.8)
    if name == "offsets":
        every = max(1, max(rows, columns) // _ARROWS)
        y, x = np.nonzero(inside[::stride, ::stride][::every, ::every])
        dy, dx = np.nan_to_num(values)[:, ::every, ::every][:, y, x]
        place = first + every * step * np.stack([x, y])
        axes.quiver(*place, dx, dy, color="white", angles="xy", scale_units="xy", scale=1, width=0.006)
        _panel(axes.inset_axes((0.86, 0.86, 0.13, 0.13)), wheel(), "")


def _panel(axes: Axes, pixels: npt.NDArray[Any], title: str) -> None:
    """Fill one panel, without ticks."""
    axes.imshow(pixels, interpolation="nearest")
    axes.set_axis_off()
    # A name from a file is shown as it is: "$" would start a formula.
    axes.set_title(title, fontsize=10, parse_math=False)


WIDTHS = {"single": 3.5, "double": 7.2}
"""Widths of printed columns in inches: 89 and 183 mm, as most journals have them."""
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#000000")
"""Colours that colour-blind readers tell apart (Okabe and Ito 2008)."""


def show_measure(
    table: pd.DataFrame, value: str, *, by: str | None = None, animal: str | None = None,
    width: Literal["single", "double"] = "single", log: bool = False,
) -> Picture:  # fmt: skip
    """Draw a measure for a paper: a histogram, or with `by` all objects and the means of the animals over them.

    Every object is a small dot, every animal a large one in the same colour: the eye sees how many animals there are
    (Lord et al. 2020).

    Parameters
    ----------
    table : DataFrame
        From `measure`, or several by `mitonb.cohorts.pool`.
    value : str
        The column.
    by, animal : str, optional
        The columns that say of which condition and of which animal an object is; rows without a condition are left out.
    width : {"single", "double"}
        Of the printed column: 89 or 183 mm. Letters have 7 points: save as .pdf or .svg, or at 600 dpi.
    log : bool
        Whether sizes grow by factors along the axis.

    Returns
    -------
    Picture

    Raises
    ------
    InputError
        If the table has no such column, or it holds no numbers.
    """
    from mitonb.cohorts import numbers_of  # its tests take a second to import

    if missing := [name for name in (value, by, animal) if name and name not in table]:
        raise InputError(f"The table has no column {missing[0]!r}. It has {', '.join(map(str, table.columns))}.")
    picture, axes = _small(width, 0.75)
    table = table.reset_index(drop=True)  # rows of several tables may have one name
    numbers = numbers_of(table, value)
    if by is None:
        seen = numbers[np.isfinite(numbers) & ((numbers > 0) | (not log))]
        bins: Any = np.geomspace(seen.min(), seen.max(), 31) if log and len(seen) else 30
        axes.hist(seen, bins=bins, color=PALETTE[0], edgecolor="white", linewidth=0.3)
        axes.locator_params(axis="y", integer=True)
        axes.set(xlabel=_spoken(value), ylabel="objects", xscale="log" if log else "linear")
        return picture
    drawn = np.random.default_rng(0)  # the same dots at every call
    names = []
    for k, (name, rows) in enumerate(table.groupby(by, sort=False, observed=True)):
        names.append(str(name))
        for j, (_, part) in enumerate(rows.groupby(animal, sort=False, observed=True) if animal else [("", rows)]):
            color, dots = PALETTE[j % len(PALETTE)], numbers[part.index].dropna()
            axes.scatter(k + drawn.uniform(-0.25, 0.25, len(dots)), dots, s=2, color=color, alpha=0.4, linewidths=0)
            axes.scatter(k, dots.mean(), s=28, color=color, edgecolors="black", linewidths=0.6, zorder=3)
    axes.set(ylabel=_spoken(value), yscale="log" if log else "linear", xlim=(-0.6, len(names) - 0.4))
    axes.set_xticks(range(len(names)), names, parse_math=False)
    return picture


def show_errors(table: pd.DataFrame, *, width: Literal["single", "double"] = "single") -> Picture:
    """Draw recall and precision of each class of sizes, with their intervals; `table` is that of `errors_by_size`."""
    picture, axes = _small(width, 0.7)
    for k, name in enumerate(("recall", "precision")):
        middle = table[name].to_numpy(float)
        away = np.abs(np.stack([middle - table[f"{name}_low"], table[f"{name}_high"] - middle]))
        axes.errorbar(np.arange(len(table)) + 0.15 * (2 * k - 1), middle, np.nan_to_num(away), fmt="os"[k], ms=4,
                      color=PALETTE[k], lw=1, capsize=2, label=name)  # fmt: skip
    ends = [f"{low:.4g} to {high:.4g}".replace("to inf", "and more") for low, high in table[["low", "high"]].to_numpy()]
    axes.set_xticks(range(len(table)), [*ends[:-1], "all"], rotation=20)
    axes.set(ylim=(-0.03, 1.03), ylabel="share of objects")
    axes.legend(frameon=False, fontsize=7)
    return picture


def show_planes(stack: Stack, labels: Any, *, count: int = 3, width: float = 7.2) -> Picture:
    """Draw some planes spread over a volume, with the objects in colour and a scale bar.

    Parameters
    ----------
    stack : Stack
    labels : Labels or (z, y, x) integer array
        Of the same shape.
    count : int
        How many planes.
    width : float
        Of the picture in inches.
    """
    ids = np.asarray(getattr(labels, "data", labels))
    if ids.shape != tuple(stack.shape):
        raise AxesError(f"The labels are {ids.shape}, the image {tuple(stack.shape)}: they must be of one volume.")
    chosen = np.unique(np.linspace(0, len(ids) - 1, count + 2)[1:-1].round().astype(int))
    h, w = ids.shape[1:]
    picture = Picture(figsize=(width, width / len(chosen) * h / w + 0.25))
    for axes, z in zip(np.ravel(picture.subplots(1, len(chosen))), chosen.tolist(), strict=True):
        _panel(axes, overlay(stack.plane(z), ids[z], colors=labels), f"z = {z}")
        if stack.voxel_size is not None:
            unit = stack.voxel_size[2]
            bar, said = bar_length(max(w * unit / 3, 1))
            axes.plot([0.04 * w, 0.04 * w + bar / unit], [0.95 * h] * 2, color="white", lw=2.5, solid_capstyle="butt")
            axes.text(0.04 * w, 0.92 * h, said, color="white", fontsize=7, va="bottom")
    return picture


def panels(plane: AnyImage, **sets: npt.NDArray[Any]) -> Picture:
    """Draw one plane several times, (h, w), each with other labels over it: the name of a set is its title."""
    height, width = np.shape(plane)
    picture = Picture(figsize=(10, 10 / len(sets) * height / width + 0.3))
    for axes, (title, ids) in zip(np.ravel(picture.subplots(1, len(sets))), sets.items(), strict=True):
        _panel(axes, overlay(plane, ids), title.replace("_", " "))
    return picture


def _small(width: str, height: float) -> tuple[Picture, Axes]:
    """Return a picture of printed size, with letters of 7 points and two lines for a frame."""
    if width not in WIDTHS:
        raise InputError(f"The width is one of {', '.join(WIDTHS)}, got {width!r}.")
    picture = Picture(figsize=(WIDTHS[width], min(WIDTHS[width], 4) * height))
    axes = picture.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=7, width=0.6)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_fontsize(7)
    return picture, axes


def _spoken(column: str) -> str:
    """Return the name of a column for an axis: "volume (µm³)" for volume_um3."""
    name, _, unit = column.rpartition("_")
    units = {"um3": "µm³", "um2": "µm²", "nm": "nm", "deg": "°"}
    return f"{name.replace('_', ' ')} ({units[unit]})" if unit in units else column.replace("_", " ")
