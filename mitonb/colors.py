"""Colours of objects: one integer hash from id to colour, the same in 2D, 3D, tables and plots.

The hash, in plain arithmetic on unsigned 32-bit integers (products modulo 2**32)::

    h    = id * 0x9E3779B1                       2**32 / golden ratio: neighbouring ids land far apart
    slot = ((h >> 16) * 36) >> 16                0..35

and from the slot to a colour::

    hue   = PALETTE[slot % 12]                   three numbers 0..1
    shade = SHADES[slot / 12]                    one number, above 0 towards white, below 0 towards black
    rgb   = hue + shade * (1 - hue)  if shade >= 0  else  hue * (1 + shade)

A scrambling hash would give the same colour to two of any seven objects or so; this one gives different colours to any
21 successive ids, and objects that touch mostly have such ids.

A shader does the same with ``uint`` arithmetic and the tables `PALETTE` and `SHADES`, which are short enough to
be written into it; `glsl` returns that text. Id 0 is background and has no colour (black).

The palette keeps the hues apart that people with red or green blindness can tell apart: its neighbours in hue
differ in lightness too, and grey, which looks like EM, is left out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["HASH", "PALETTE", "SHADES", "glsl", "hexes", "hues", "slots"]

HASH = 0x9E3779B1
"""Factor of the hash above."""

PALETTE = (
    (0.902, 0.624, 0.000),  # orange
    (0.337, 0.706, 0.914),  # sky
    (0.000, 0.620, 0.451),  # green
    (0.941, 0.894, 0.259),  # yellow
    (0.000, 0.447, 0.698),  # blue
    (0.835, 0.369, 0.000),  # vermilion
    (0.800, 0.475, 0.655),  # pink
    (0.267, 0.867, 0.867),  # cyan
    (0.600, 0.867, 0.333),  # lime
    (0.533, 0.333, 0.867),  # violet
    (0.980, 0.550, 0.480),  # salmon
    (0.867, 0.200, 0.467),  # crimson
)
"""Twelve hues, (r, g, b) 0..1; the first seven are those of Okabe and Ito."""

SHADES = (0.0, 0.25, -0.22)
"""How far a hue goes towards white (above 0) or black (below 0)."""

_SLOTS = len(PALETTE) * len(SHADES)


def slots(ids: npt.ArrayLike) -> npt.NDArray[np.uint32]:
    """Hash ids to the numbers 0..35; of ids above 2**32 - 1 the lower 32 bits count.

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
    [0, 22, 8, 30]
    """
    h = np.asarray(ids).astype(np.uint32) * np.uint32(HASH)
    return np.asarray(((h >> np.uint32(16)) * np.uint32(_SLOTS)) >> np.uint32(16), dtype=np.uint32)


def hues(ids: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return the colour of each id.

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
    slot = slots(array)
    hue = np.array(PALETTE, np.float32)[slot % np.uint32(len(PALETTE))]
    shade = np.array(SHADES, np.float32)[slot // np.uint32(len(PALETTE))][..., None]
    rgb = np.where(shade >= 0, hue + shade * (1 - hue), hue * (1 + shade))
    rgb[array == 0] = 0
    return np.asarray(rgb, dtype=np.float32)


def hexes(ids: npt.ArrayLike) -> list[str]:
    """Return the colours of a list of ids as CSS text, such as "#e69f00"."""
    rgb = np.rint(hues(np.atleast_1d(np.asarray(ids))).reshape(-1, 3) * 255).astype(int)
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in rgb]


def glsl() -> str:
    """Return `vec3 hue(uint id)` for a WebGL2 shader (GLSL ES 3.00), with the tables of this module."""
    palette = ", ".join(f"vec3({r:.3f}, {g:.3f}, {b:.3f})" for r, g, b in PALETTE)
    shades = ", ".join(f"{s:.3f}" for s in SHADES)
    return (
        f"const vec3 PALETTE[{len(PALETTE)}] = vec3[{len(PALETTE)}]({palette});\n"
        f"const float SHADES[{len(SHADES)}] = float[{len(SHADES)}]({shades});\n"
        "vec3 hue(uint id) {\n"
        "  if (id == 0u) return vec3(0.0);\n"
        f"  uint slot = (((id * {HASH:#x}u) >> 16u) * {_SLOTS}u) >> 16u;\n"
        f"  vec3 c = PALETTE[slot % {len(PALETTE)}u];\n"
        f"  float s = SHADES[slot / {len(PALETTE)}u];\n"
        "  return s >= 0.0 ? c + s * (1.0 - c) : c * (1.0 + s);\n"
        "}\n"
    )
