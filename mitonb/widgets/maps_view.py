"""What the network said about one plane, as a still picture: semantic, centers with peaks, offsets with arrows."""

from __future__ import annotations

import html
from typing import Any

import ipywidgets as ipw
import numpy as np
import numpy.typing as npt

from mitonb.colors import map_colors
from mitonb.errors import InputError
from mitonb.maps import Image, Maps, Points
from mitonb.plot import wheel
from mitonb.post.decoding import centers, foreground
from mitonb.recipe import Recipe
from mitonb.stack import Plane
from mitonb.widgets.style import Saved, as_png, gray, sheet, thinned

__all__ = ["MapsView", "show_maps"]

Rgb = npt.NDArray[np.uint8]
_MOST_PIXELS = 640
_MOST_SAVED = 260
_ARROWS = 20
_OPACITY = 0.75


class MapsView(Saved, ipw.VBox):
    """Three pictures side by side (four with the image); they also show without a kernel.

    Attributes
    ----------
    points : (n, 2) int64 array
        The peaks that are drawn, (y, x) in pixels of the plane.
    """

    def __init__(self, maps: Maps, image: Any = None, *, recipe: Recipe | None = None, **options: Any) -> None:
        recipe = Recipe.of(recipe)
        picture = _picture(maps, image)
        self.points: Points = centers(maps, recipe)
        self._maps, self._recipe = maps, recipe
        semantic, heat, offsets = (
            _semantic(maps, picture, recipe), _centers(maps, picture, self.points), _offsets(maps, picture, recipe),
        )  # fmt: skip
        self._pictures = [*([] if image is None else [picture]), *(drawn for drawn, _ in (semantic, heat, offsets))]
        figures = [] if image is None else [_figure(picture, "", "Image", "what the network was given")]
        figures += [
            _figure(*semantic, "Semantic", _semantic_words(recipe)),
            _figure(*heat, "Centers", _center_words(len(self.points), recipe)),
            _figure(*offsets, "Offsets", _WHEEL_WORDS, key=True),
        ]
        self.html = ipw.HTML(f'<div class="mnb-maps">{"".join(figures)}</div>')
        super().__init__([sheet(), self.html], **options)
        self.add_class("mnb")

    def saved(self) -> tuple[str, dict[str, str]]:
        """Return the pictures side by side, for readers without a kernel."""
        small = np.hstack([thinned(picture, _MOST_SAVED) for picture in self._pictures])
        return "mitonb maps of a plane: semantic, centers, offsets", as_png(small)

    def state(self) -> str:
        """Return what is drawn, as text."""
        area = int(foreground(self._maps, self._recipe).sum())
        return f"{self._maps.shape[0]} x {self._maps.shape[1]}, {area} px foreground, {len(self.points)} peaks"


def show_maps(maps: Maps, image: Any = None, *, recipe: Recipe | None = None) -> MapsView:
    """Show what the network said about one plane.

    Parameters
    ----------
    maps : Maps
        From `predict`, or `targets` of labels.
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
        If maps and image differ in size.
    """
    if not isinstance(maps, Maps):
        raise InputError(
            f"show_maps shows the Maps of a plane, got {type(maps).__name__}. Take mn.predict(stack.plane(0))."
        )
    return MapsView(maps, image, recipe=recipe)


def _picture(maps: Maps, image: Any) -> Rgb:
    """Return the plane as a grey picture, or black without one."""
    if image is None:
        return np.zeros((*maps.shape, 3), np.uint8)
    pixels = np.asarray(image)
    if pixels.shape != maps.shape:
        raise InputError(f"These maps are of a plane of {maps.shape} pixels, the image has {pixels.shape}.")
    given = image.contrast or image.intensity if isinstance(image, Plane) else None
    finite = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels
    low, high = given or (np.percentile(finite, (1, 99)) if finite.size else (0.0, 1.0))
    return np.repeat(gray(pixels, float(low), max(float(high), float(low) + 1e-6))[..., None], 3, axis=2)


def _probability(maps: Maps) -> npt.NDArray[np.float32]:
    """Return the highest class probability of each pixel, 0..1."""
    semantic = maps.semantic.max(0)
    return semantic.astype(np.float32) / (255 if semantic.dtype == np.uint8 else 1)


def _grown(values: Image, step: int, shape: tuple[int, ...]) -> Image:
    """Return a map at head resolution as one of the plane's size."""
    return values.repeat(step, -2).repeat(step, -1)[..., : shape[0], : shape[1]]


def _blend(picture: Rgb, rgba: npt.NDArray[np.float32], opacity: float) -> Rgb:
    w = opacity * rgba[..., 3:]
    return (picture * (1 - w) + 255 * rgba[..., :3] * w).astype(np.uint8)


def _semantic(maps: Maps, picture: Rgb, recipe: Recipe) -> tuple[Rgb, str]:
    p = _probability(maps)
    inside = foreground(maps, recipe)
    edge = inside & ~(np.roll(inside, 1, 0) & np.roll(inside, -1, 0) & np.roll(inside, 1, 1) & np.roll(inside, -1, 1))
    drawn = _blend(picture, map_colors("semantic", p), _OPACITY)
    drawn[edge] = (255, 255, 255)
    return drawn, ""


def _centers(maps: Maps, picture: Rgb, points: Points) -> tuple[Rgb, str]:
    heat = _grown(np.asarray(maps.center, np.float32), maps.output_stride, maps.shape)
    r = max(3.0, max(maps.shape) / 80)
    rings = "".join(f'<circle cx="{x + 0.5}" cy="{y + 0.5}" r="{r:.1f}"/>' for y, x in points.tolist())
    marks = f'<g fill="none" stroke="#000" stroke-width="{r:.1f}" opacity=".5">{rings}</g>'
    marks += f'<g fill="none" stroke="#ffe14d" stroke-width="{r * 0.5:.1f}">{rings}</g>'
    return _blend(picture, map_colors("center", heat), _OPACITY), marks


def _offsets(maps: Maps, picture: Rgb, recipe: Recipe) -> tuple[Rgb, str]:
    offsets = np.nan_to_num(np.asarray(maps.offsets, np.float32))
    inside = foreground(maps, recipe)
    rgba = map_colors("offsets", _grown(offsets, maps.output_stride, maps.shape)) * inside[..., None]
    return _blend(picture, rgba, _OPACITY), _arrows(offsets, inside, maps.output_stride)


def _arrows(offsets: Image, inside: npt.NDArray[np.bool_], step: int) -> str:
    """Return an arrow every few pixels of the foreground, from the pixel to where it points."""
    h, w = inside.shape
    every = max(step, max(h, w) // _ARROWS // step * step)
    ys, xs = np.nonzero(inside[every // 2 :: every, every // 2 :: every])
    ys, xs = ys * every + every // 2, xs * every + every // 2
    lines = []
    for y, x, dy, dx in zip(ys, xs, *offsets[:, ys // step, xs // step], strict=True):
        lines.append(f"M{x} {y}l{dx:.1f} {dy:.1f}")
    width = max(0.8, max(h, w) / 320)
    return (
        f'<defs><marker id="mnb-tip" orient="auto" markerWidth="5" markerHeight="5" refX="3" refY="2">'
        f'<path d="M0 0L4 2L0 4z" fill="#fff"/></marker></defs>'
        f'<g stroke="#fff" stroke-width="{width:.1f}" marker-end="url(#mnb-tip)">'
        + "".join(f'<path d="{line}" marker-end="url(#mnb-tip)"/>' for line in lines)
        + "</g>"
    )


def _figure(picture: Rgb, marks: str, title: str, words: str, *, key: bool = False) -> str:
    h, w = picture.shape[:2]
    thin = max(1, -(-max(h, w) // _MOST_PIXELS))
    address = _url(picture[::thin, ::thin])
    corner = _wheel(h, w) if key else ""
    return (
        f'<figure><svg viewBox="0 0 {w} {h}" role="img" aria-label="{html.escape(title)}: {html.escape(words)}">'
        f'<image href="{address}" width="{w}" height="{h}" preserveAspectRatio="none" '
        'style="image-rendering:pixelated"/>'
        f"{marks}{corner}</svg><figcaption><b>{html.escape(title)}</b> {html.escape(words)}</figcaption></figure>"
    )


def _wheel(h: int, w: int) -> str:
    """Return the colour wheel as a small key in the corner: the colour of an arrow that points there."""
    r = min(h, w) * 0.07
    disk = (wheel(64) * 255).astype(np.uint8)
    place = f'x="{w - 2.3 * r:.1f}" y="{0.3 * r:.1f}" width="{2 * r:.1f}" height="{2 * r:.1f}"'
    return f'<image href="{_url(disk)}" {place}/>'


def _url(rgb: Rgb) -> str:
    return f"data:image/png;base64,{as_png(rgb)['image/png']}"


def _semantic_words(recipe: Recipe) -> str:
    return f"how probable a mitochondrion is; the white line is the threshold, {recipe.semantic_threshold:g}"


def _center_words(count: int, recipe: Recipe) -> str:
    peaks_found = "1 peak" if count == 1 else f"{count} peaks"
    return f"{peaks_found} above {recipe.center_threshold:g}: each starts one object"


_WHEEL_WORDS = "arrows point from pixels to the center of their object; the wheel gives the colour of each direction"
