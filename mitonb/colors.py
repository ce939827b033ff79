"""Colours of objects and of maps, the same in 2D, 3D, tables, legends and plots.

An object has the colour of its id, by one integer hash.

The hash, in plain arithmetic on unsigned 32-bit integers (products modulo 2**32)::

    h    = id * 0x9E3779B1                       2**32 / golden ratio: neighbouring ids land far apart
    slot = ((h >> 16) * 32) >> 16                0..31, a row of PALETTE

A scrambling hash would give the same colour to two of any seven objects or so; this one gives different colours to any
21 successive ids, and objects that touch mostly have such ids. Where two neighbours have the same slot all the same,
`mitonb.coloring` gives one of them another. Id 0 is background and has no colour (black).

Any two of the palette are at least CIE dE 10 apart (1976 and 2000) where both fill the same grey, any grey, at opacity
0.45, the viewer's first; so is each from that grey. Grey, which looks like EM, is left out.

The maps of a network (semantic, center, offsets) have a `Ramp` each, in MAPS; the viewer gets these tables, too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "HASH", "MAPS", "PALETTE", "SLOTS", "Ramp", "center_colors", "hexes", "hues", "offset_colors", "semantic_colors",
    "slots",
]  # fmt: skip

HASH = 0x9E3779B1
"""Factor of the hash above."""

PALETTE = (
    (218, 239, 137), (132, 70, 7), (0, 128, 50), (255, 153, 178), (206, 125, 96), (255, 204, 153),
    (0, 151, 141), (45, 0, 255), (100, 154, 0), (16, 124, 255), (160, 255, 0), (128, 0, 51), (212, 185, 0),
    (26, 102, 128), (129, 110, 18), (139, 25, 0), (150, 184, 255), (255, 60, 106), (127, 102, 206),
    (255, 155, 8), (255, 100, 0), (0, 213, 35), (247, 142, 255), (202, 0, 255), (254, 17, 166), (102, 0, 128),
    (251, 3, 0), (0, 255, 255), (102, 230, 178), (152, 232, 255), (0, 179, 255), (0, 49, 133),
)  # fmt: skip
"""The colours, (r, g, b) 0..255; found by a random search, see the test of their distances."""

SLOTS = len(PALETTE)
"""How many colours there are."""


def slots(ids: npt.ArrayLike) -> npt.NDArray[np.uint32]:
    """Hash ids to the numbers 0..31; of ids above 2**32 - 1 the lower 32 bits count.

    Parameters
    ----------
    ids : array_like of int
        Any shape.

    Returns
    -------
    uint32 array
        Same shape.

    Examples
    --------
    >>> [int(s) for s in slots([0, 1, 2, 3])]
    [0, 19, 7, 27]
    """
    h = np.asarray(ids).astype(np.uint32) * np.uint32(HASH)
    return np.asarray(((h >> np.uint32(16)) * np.uint32(SLOTS)) >> np.uint32(16), dtype=np.uint32)


def hues(ids: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return the colour of each id by the hash.

    Parameters
    ----------
    ids : array_like of int
        Any shape; 0 is background.

    Returns
    -------
    (..., 3) float32 array
        Red, green, blue, 0..1; black for background.
    """
    array = np.asarray(ids)
    rgb = np.array(PALETTE, np.float32)[slots(array)] / np.float32(255)
    rgb[array == 0] = 0
    return rgb


def hexes(ids: npt.ArrayLike) -> list[str]:
    """Return the colours of a list of ids as CSS text, such as "#e69f00"."""
    rgb = np.rint(hues(np.atleast_1d(np.asarray(ids))).reshape(-1, 3) * 255).astype(int)
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in rgb]


class Ramp(NamedTuple):
    """The colours of a map.

    Attributes
    ----------
    stops : tuple of (r, g, b)
        0..255, at equal distances from value 0 to value 1; between two of them the colour is mixed.
    fade : (float, float)
        At the first value a map is not seen at all, from the second on fully.
    """

    stops: tuple[tuple[int, int, int], ...]
    fade: tuple[float, float]


MAPS = {
    # Dark violet, red, orange, pale yellow: reads as "how sure" on grey.
    "semantic": Ramp(((71, 13, 115), (230, 66, 61), (255, 237, 140)), (0.02, 0.4)),
    "center": Ramp(((0, 140, 191), (217, 255, 255)), (0.02, 0.5)),
    # Once around: to the right is red, and on the screen, where y points down, the hues go clockwise. Fades by length.
    "offsets": Ramp(
        (
            (255, 64, 64), (238, 128, 17), (191, 191, 0), (128, 238, 17), (64, 255, 64), (17, 238, 128), (0, 191, 191),
            (17, 128, 238), (64, 64, 255), (128, 17, 238), (191, 0, 191), (238, 17, 128), (255, 64, 64),
        ),
        (0.0, 3.0),
    ),
}  # fmt: skip
"""The colours of the maps of a network."""


def semantic_colors(probability: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return how a semantic map is drawn: (..., 4) float32, red, green, blue, opacity, 0..1.

    Parameters
    ----------
    probability : array_like of float
        0..1, any shape.
    """
    return _colors("semantic", probability, probability)


def center_colors(center: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return how a center map is drawn, as `semantic_colors`."""
    return _colors("center", center, center)


def offset_colors(offsets: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """Return how offsets are drawn: the hue says the direction, and what is shorter than 3 pixels fades.

    Parameters
    ----------
    offsets : (2, h, w) array
        (dy, dx) in pixels.

    Returns
    -------
    (h, w, 4) float32 array
        Red, green, blue, opacity, 0..1.
    """
    dy, dx = np.nan_to_num(np.asarray(offsets, np.float32))
    return _colors("offsets", np.arctan2(dy, dx) / (2 * np.pi) % 1, np.hypot(dy, dx))


def _colors(name: str, value: npt.ArrayLike, strength: npt.ArrayLike) -> npt.NDArray[np.float32]:
    ramp, at = MAPS[name], np.clip(np.nan_to_num(np.asarray(value, np.float32)), 0, 1)
    stops = np.array(ramp.stops, np.float32) / np.float32(255)
    rgb = [np.interp(at, np.linspace(0, 1, len(stops)), channel) for channel in stops.T]
    low, high = ramp.fade
    part = np.clip((np.nan_to_num(np.asarray(strength, np.float32)) - low) / (high - low), 0, 1)
    return np.stack([*rgb, part * part * (3 - 2 * part)], axis=-1).astype(np.float32)
