"""Lengths with units: what image files call a micrometre, in nanometres."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["nanometres", "spacing_to_voxel_size"]

_UNITS: dict[str, float] = {
    "nm": 1.0, "nanometer": 1.0, "nanometre": 1.0, "nanometers": 1.0, "nanometres": 1.0,
    "um": 1e3, "\u00b5m": 1e3, "\u03bcm": 1e3, "\\u00b5m": 1e3, "\\u03bcm": 1e3, "micron": 1e3, "microns": 1e3,
    "\u00c2\u00b5m": 1e3,
    "micrometer": 1e3, "micrometre": 1e3, "micrometers": 1e3, "micrometres": 1e3,
    "mm": 1e6, "millimeter": 1e6, "millimetre": 1e6, "cm": 1e7, "centimeter": 1e7, "centimetre": 1e7,
    "m": 1e9, "meter": 1e9, "metre": 1e9, "inch": 2.54e7, "inches": 2.54e7, "in": 2.54e7,
    "pm": 1e-3, "picometer": 1e-3, "picometre": 1e-3,
    "a": 0.1, "\u00c5": 0.1, "\u212b": 0.1, "angstrom": 0.1, "angstroms": 0.1, "\u00e5ngstr\u00f6m": 0.1,
}  # fmt: skip


def nanometres(value: Any, unit: Any) -> float | None:
    """Return a length in nm, or None where the unit is unknown or the value is no length.

    Examples
    --------
    >>> nanometres(0.008, "micron")
    8.0
    >>> nanometres(1.0, "pixel") is None
    True
    """
    word = unit.strip() if isinstance(unit, str) else ""
    factor = _UNITS.get(word) or _UNITS.get(word.lower())
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if factor is None or not math.isfinite(number) or number <= 0:
        return None
    return float(f"{number * factor:.12g}")


def spacing_to_voxel_size(
    spacing: Mapping[str, float], planes: int
) -> tuple[tuple[float, float, float] | None, str | None]:
    """Return the voxel size that a file states, and a sentence where part of it is missing.

    Parameters
    ----------
    spacing : mapping
        Size in nm by axis letter.
    planes : int
        Number of z planes; a single plane without a thickness is assumed to be as thick as a pixel is wide.
    """
    z, y, x = (spacing.get(axis) for axis in "zyx")
    if y is None or x is None:
        return None, None
    if z is not None:
        return (z, y, x), None
    if planes == 1:
        return (x, y, x), f"One plane without a thickness: assumed to be as thick as a pixel is wide ({x:g} nm)."
    return None, (
        f"The file gives the pixel size ({y:g} x {x:g} nm) but not the distance between planes, so that the voxel size "
        f"stays unknown. Give it with voxel_size=(z, {y:g}, {x:g})."
    )
