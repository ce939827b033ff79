"""What the network said about one plane: a still picture of each head, centers with peaks, offsets with arrows."""

from __future__ import annotations

import html
from typing import Any

import ipywidgets as ipw
import numpy as np
import numpy.typing as npt

from mitonb.colors import map_colors
from mitonb.errors import InputError
from mitonb.maps import COARSE, Maps, Points
from mitonb.plot import overlay, wheel
from mitonb.post.decoding import centers, foreground
from mitonb.recipe import Recipe
from mitonb.widgets.style import Part, Saved, as_png, count_text, thinned

Rgb = npt.NDArray[np.uint8]
_MOST_PIXELS = 640
_MOST_SAVED = 260
_ARROWS = 20
_OPACITY = 0.75
# What is said of each head.
_WORDS = {
    "image": "what the network was given",
    "semantic": "how probable a mitochondrion is; the white line is the threshold, {threshold:g}",
    "center": "{peaks} above {center:g}: each starts one object",
    "offsets": "arrows point from pixels to the center of their object; the wheel gives the colour of each direction",
    "contour": "how probable the outline of an object is",
    "distance": "how deep inside of its object a pixel lies",
    "affinities": "how probable it is that neighbouring pixels belong together",
}


class MapsView(Saved, Part):
    """A picture for each head, side by side, and one of the image where it is given.

    Attributes
    ----------
    points : (n, 2) int64 array
        The peaks that are drawn, (y, x) in pixels of the plane.
    """

    def __init__(self, maps: Maps, image: Any = None, *, recipe: Recipe | None = None, **options: Any) -> None:
        if not isinstance(maps, Maps) or len(maps.shape) != 2:
            got = f"those of a block, {maps.shape}" if isinstance(maps, Maps) else type(maps).__name__
            raise InputError(f"show_maps shows the Maps of a plane, got {got}. Take mn.predict(stack.plane(0)).")
        recipe, maps = Recipe.of(recipe), maps.cropped()
        self.points: Points = centers(maps, recipe) if "center" in maps else np.zeros((0, 2), np.int64)
        self._inside = foreground(maps, recipe) if "semantic" in maps else np.ones(maps.shape, np.bool_)
        under = _picture(maps, image)
        pictures = {name: _drawn(maps, name, under, self._inside) for name in maps.heads}
        if image is not None:
            pictures = {"image": under, **pictures}
        self._pictures = list(pictures.values())
        said = {
            "threshold": recipe.semantic_threshold, "center": recipe.center_threshold,
            "peaks": count_text(len(self.points), "peak"),
        }  # fmt: skip
        marks = {"center": _rings(self.points, maps.shape), "offsets": _arrows(maps, self._inside)}
        figures = "".join(
            _figure(picture, name, _WORDS.get(name, "").format(**said), marks.get(name, ""))
            for name, picture in pictures.items()
        )
        self.html = ipw.HTML(f'<div class="mnb-maps">{figures}</div>')
        super().__init__(self.html, **options)

    def saved(self) -> tuple[str, dict[str, str]]:
        """Return the pictures side by side, for readers without a kernel."""
        small = np.hstack([thinned(picture, _MOST_SAVED) for picture in self._pictures])
        return "mitonb maps of a plane", as_png(small)

    def state(self) -> str:
        """Return what is drawn, as text."""
        h, w = self._inside.shape
        return f"{h} x {w}, {self._inside.sum()} px foreground, {count_text(len(self.points), 'peak')}"


def show_maps(maps: Maps, image: Any = None, *, recipe: Recipe | None = None) -> MapsView:
    """Show what the network said about one plane, whatever heads it has.

    Parameters
    ----------
    maps : Maps
        Of a plane: from `predict`, or `targets` of labels.
    image : Plane or (h, w) array, optional
        The plane, drawn under the maps.
    recipe : Recipe, optional
        Its thresholds decide what counts as foreground and as a peak.

    Returns
    -------
    MapsView
        A widget of still pictures.

    Raises
    ------
    InputError
        If these are no maps of a plane, or maps and image differ in size.
    """
    return MapsView(maps, image, recipe=recipe)


def _picture(maps: Maps, image: Any) -> Rgb:
    """Return the plane as a grey picture, or black without one."""
    if image is None:
        return np.zeros((*maps.shape, 3), np.uint8)
    if np.shape(image) != maps.shape:
        raise InputError(f"These maps are of a plane of {maps.shape} pixels, the image has {np.shape(image)}.")
    return np.rint(overlay(image) * 255).astype(np.uint8)


def _drawn(maps: Maps, name: str, under: Rgb, inside: npt.NDArray[np.bool_]) -> Rgb:
    """Return a head in its colours over a picture."""
    values = maps[name].astype(np.float32) / (255 if maps[name].dtype == np.uint8 else 1)
    if name in COARSE:
        h, w = maps.shape
        values = values.repeat(maps.output_stride, -2).repeat(maps.output_stride, -1)[..., :h, :w]
    else:
        values = values.max(axis=0)  # of several classes or channels the highest
    rgba = map_colors(name, values / max(1.0, float(values.max())) if name == "distance" else values)
    if name == "offsets":
        rgba = rgba * inside[..., None]
    part = _OPACITY * rgba[..., 3:]
    drawn = (under * (1 - part) + 255 * rgba[..., :3] * part).astype(np.uint8)
    if name == "semantic":
        near = [np.roll(inside, step, axis) for step in (1, -1) for axis in (0, 1)]
        drawn[inside & ~np.logical_and.reduce(near)] = 255
    return drawn


def _rings(points: Points, shape: tuple[int, ...]) -> str:
    """Return a ring around each peak, as SVG."""
    r = max(3.0, max(shape) / 80)
    rings = "".join(f'<circle cx="{x + 0.5}" cy="{y + 0.5}" r="{r:.1f}"/>' for y, x in points.tolist())
    marks = f'<g fill="none" stroke="#000" stroke-width="{r:.1f}" opacity=".5">{rings}</g>'
    return marks + f'<g fill="none" stroke="#ffe14d" stroke-width="{r * 0.5:.1f}">{rings}</g>'


def _arrows(maps: Maps, inside: npt.NDArray[np.bool_]) -> str:
    """Return an arrow every few pixels of the foreground to where it points, and the wheel of their colours, as SVG."""
    if "offsets" not in maps:
        return ""
    (h, w), step = inside.shape, maps.output_stride
    every = max(step, max(h, w) // _ARROWS // step * step)
    ys, xs = np.nonzero(inside[every // 2 :: every, every // 2 :: every])
    ys, xs = ys * every + every // 2, xs * every + every // 2
    ways = np.nan_to_num(np.asarray(maps.offsets, np.float32))[:, ys // step, xs // step]
    lines = (f'<path d="M{x} {y}l{dx:.1f} {dy:.1f}"/>' for y, x, dy, dx in zip(ys, xs, *ways, strict=True))
    tip = 'orient="auto" markerWidth="5" markerHeight="5" refX="3" refY="2"'
    r = min(h, w) * 0.07
    place = f'x="{w - 2.3 * r:.1f}" y="{0.3 * r:.1f}" width="{2 * r:.1f}" height="{2 * r:.1f}"'
    return (
        f'<defs><marker id="mnb-tip" {tip}><path d="M0 0L4 2L0 4z" fill="#fff"/></marker></defs>'
        f'<g stroke="#fff" stroke-width="{max(0.8, max(h, w) / 320):.1f}" marker-end="url(#mnb-tip)">'
        f"{''.join(lines)}</g>"
        f'<image href="{_url((wheel(64) * 255).astype(np.uint8))}" {place}/>'
    )


def _figure(picture: Rgb, name: str, words: str, marks: str) -> str:
    """Return a picture with its marks and what is said of it, as HTML."""
    h, w = picture.shape[:2]
    thin = max(1, -(-max(h, w) // _MOST_PIXELS))
    title, words = html.escape("Centers" if name == "center" else name.capitalize()), html.escape(words)
    size = f'width="{w}" height="{h}" preserveAspectRatio="none" style="image-rendering:pixelated"'
    return (
        f'<figure><svg viewBox="0 0 {w} {h}" role="img" aria-label="{title}: {words}">'
        f'<image href="{_url(picture[::thin, ::thin])}" {size}/>{marks}</svg>'
        f"<figcaption><b>{title}</b> {words}</figcaption></figure>"
    )


def _url(rgb: Rgb) -> str:
    return f"data:image/png;base64,{as_png(rgb)['image/png']}"
