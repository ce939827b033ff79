"""Still pictures with matplotlib, for lessons, papers and scripts; nothing here touches pyplot's global state."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mitonb.colors import AnyImage, map_colors, overlay
from mitonb.errors import AxesError
from mitonb.maps import COARSE, Maps
from mitonb.post.decoding import centers, foreground
from mitonb.recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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


def _panel(axes: Axes, pixels: npt.NDArray[Any], title: str, **options: Any) -> None:
    """Fill one panel, without ticks."""
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest", **options)
    axes.set_axis_off()
    # A name from a file is shown as it is: "$" would start a formula.
    axes.set_title(title, fontsize=10, parse_math=False)
