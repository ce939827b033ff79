"""What attributes of HDF5, zarr, N5 and xarray say about axes and sizes, as the programs of this field write them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from mitonb.io.axes import name_axes
from mitonb.io.units import nanometres

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["axes_of", "is_size", "plain", "spacing_along", "spacing_of"]

NAMED = ("_ARRAY_DIMENSIONS", "DIMENSION_LABELS", "axis_names", "dimension_names", "axistags", "axes", "dims")
SIZED = (
    "resolution", "voxelsize", "elementsize", "voxelspacing", "pixelsize", "spacing", "pixelspacing", "sampling",
    "scale", "pixelresolution",
)  # fmt: skip
"""Written with capitals, underscores, or _nm and _um at the end, too."""
NANOMETRES_BY_HABIT = ("resolution", "voxelsize")
"""CREMI, gunpowder, funlib and Paintera write nm and no unit."""


def plain(value: Any) -> Any:
    """Return an attribute as lists, numbers and texts, whatever numpy and HDF5 made of it."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(part) for part in value[:64]]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def axes_of(attributes: Mapping[str, Any], rank: int) -> tuple[str | None, tuple[str, ...]]:
    """Return the axis letters that attributes state, in the order in which they state them, and what is to be said."""
    for key in NAMED:
        names = plain(attributes.get(key))
        if key == "axistags" and isinstance(names, str):  # ilastik and vigra
            tags: Any = json.loads(names)
            tags = tags.get("axes") if isinstance(tags, dict) else None
            names = [tag.get("key") for tag in tags if isinstance(tag, dict)] if isinstance(tags, list) else None
        names = list(names) if isinstance(names, str) and key == "axes" else names
        if not isinstance(names, list) or len(names) != rank:
            continue
        letters, notes = name_axes([name.get("name") if isinstance(name, dict) else name for name in names])
        if letters or notes:
            return letters, notes
    return None, ()


def spacing_of(
    attributes: Mapping[str, Any], letters: str, *, x_first: bool = False
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return the size in nm by axis letter that attributes state, and what is to be said about it.

    Parameters
    ----------
    attributes : mapping
        Of the array, and where it has none of the groups that it lies in.
    letters : str
        One for each axis of the array, as numpy counts them.
    x_first : bool
        Whether sizes are written in the order x, y, z, as by all programs that use N5. Others (CREMI, gunpowder)
        write them in the order of the axes.
    """
    notes = list(_offset(attributes, letters, x_first=x_first))
    transform = attributes.get("transform")
    if isinstance(transform, dict):  # CellMap
        names = plain(transform.get("axes"))
        names = name_axes(names)[0] if isinstance(names, list) else None
        sizes, units = _numbers(transform.get("scale")), _units(transform.get("units"), len(names or ""))
        if names and len(sizes) == len(names) == len(units):
            found = {c: nanometres(v, u) for c, v, u in zip(names, sizes, units, strict=True) if c in "zyx"}
            return {c: v for c, v in found.items() if v is not None}, tuple(notes)
    for key in sorted(filter(_sized, attributes), key=lambda key: SIZED.index(_sized(key)[0])):
        value: Any = plain(attributes.get(key))
        stated: Any = None
        if isinstance(value, dict):  # N5 viewer: {"dimensions": [x, y, z], "unit": "um"}
            value, stated = value.get("dimensions"), value.get("unit")
        sizes = _numbers(value)
        if not sizes:
            notes.append(f"The attribute {key!r} is no list of sizes and was not used.")
            continue
        turned = x_first or _sized(key)[0] == "pixelresolution"
        sizes = _by_levels(sizes, attributes, turned=turned)
        spatial = [c for c in (reversed(letters) if turned else letters) if c in "zyx"]
        named = spatial if len(sizes) == len(spatial) else list(reversed(letters) if turned else letters)
        if len(sizes) == 1:
            sizes, named = sizes * len(spatial), spatial
        if len(sizes) != len(named):
            notes.append(f"The attribute {key!r} has {len(sizes)} numbers for {len(letters)} axes and was not used.")
            continue
        spacing, note = _in_nanometres(key, sizes, named, stated, attributes)
        return spacing, (*notes, *note)
    return {}, tuple(notes)


def is_size(key: str) -> bool:
    """Return whether an attribute is called as sizes of voxels are."""
    return key == "transform" or bool(_sized(key))


def _sized(key: str) -> tuple[str, ...]:
    """Return the name out of SIZED that an attribute has, and the unit in its name; () for others."""
    word = str(key).lower().replace("_", "")
    unit = word[-2:] if word[-2:] in ("nm", "um") else ""
    word = word.removesuffix(unit)
    return (word, unit) if word in SIZED else ()


def _in_nanometres(
    key: str, sizes: list[float], named: Sequence[str], stated: Any, attributes: Mapping[str, Any]
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Apply the unit of an attribute, or the habit of those who leave it out."""
    units_of = (stated, *(plain(attributes.get(k)) for k in (f"{key}_unit", f"{key}_units", "units", "unit")))
    stated = next((unit for unit in units_of if unit), None)
    word, unit = _sized(key)
    stated = unit or stated
    written = f"{key!r} = {', '.join(f'{v:g}' for v in sizes)} ({', '.join(named)})"
    units, note = _units(stated, len(sizes)), ""
    if stated is None:
        if word not in NANOMETRES_BY_HABIT or min(sizes) < 0.5 or set(sizes) == {1.0}:
            return {}, (
                f"The attribute {written} has no unit: the voxel size stays unknown. Say voxel_size=(z, y, x).",
            )
        units, note = ["nm"] * len(sizes), f"The attribute {written} has no unit: taken as nm."
    found = {c: nanometres(v, u) for c, v, u in zip(named, sizes, units, strict=True) if c in "zyx"}
    if None in found.values():
        return {}, (f"The attribute {written} has the unit {str(plain(stated))[:40]}: the voxel size stays unknown.",)
    return {c: v for c, v in found.items() if v is not None}, (note,) if note else ()


def _units(stated: Any, count: int) -> list[str | None]:
    """Return a unit for each number."""
    stated = plain(stated)
    listed = stated if isinstance(stated, list) else [stated]
    listed = listed * count if len(listed) == 1 else listed[:count]
    return [*(u if isinstance(u, str) else None for u in listed), *[None] * (count - len(listed))]


def _numbers(value: Any) -> list[float]:
    """Return positive numbers, or none if anything else is among them."""
    value = plain(value)
    listed = value if isinstance(value, list) else [value]
    good = all(isinstance(v, int | float) and not isinstance(v, bool) and 0 < v < 1e12 for v in listed)
    return [float(v) for v in listed] if good else []


def _by_levels(sizes: list[float], attributes: Mapping[str, Any], *, turned: bool) -> list[float]:
    """Multiply by the factors of a resolution level, which are written in the order x, y, z."""
    factors = _numbers(attributes.get("downsamplingFactors"))
    factors = factors * len(sizes) if len(factors) == 1 else factors
    if len(factors) != len(sizes):
        return sizes
    return [v * f for v, f in zip(sizes, factors if turned else factors[::-1], strict=True)]


def _offset(attributes: Mapping[str, Any], letters: str, *, x_first: bool) -> tuple[str, ...]:
    """Say that a volume is a part of a larger one: labels and image may then begin at different places."""
    value = plain(attributes.get("offset"))
    if not isinstance(value, list) or not all(isinstance(v, int | float) for v in value) or not any(value):
        return ()
    spatial = [c for c in letters if c in "zyx"]
    order = ", ".join(reversed(spatial) if x_first else spatial)
    numbers = ", ".join(f"{v:g}" for v in value)
    return (
        f"The file gives an offset of {numbers} ({order}): positions here count from the first voxel of this part.",
    )


def spacing_along(coordinates: Mapping[str, tuple[Any, Any]]) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return the size in nm of evenly spaced coordinates with a unit, by axis letter, and what is to be said.

    Parameters
    ----------
    coordinates : mapping
        Positions and their unit by axis letter; a step of 1 without a unit only counts voxels.
    """
    spacing: dict[str, float] = {}
    loose: list[str] = []
    for letter, (values, unit) in coordinates.items():
        points = np.asarray(values)
        if letter not in "zyx" or points.ndim != 1 or len(points) < 2 or points.dtype.kind not in "iuf":
            continue
        steps = np.diff(points.astype(np.float64))
        step = abs(float(np.mean(steps)))
        size = nanometres(step, plain(unit)) if np.allclose(np.abs(steps), step, rtol=1e-3, atol=0) else None
        if size is not None:
            spacing[letter] = size
        elif step != 1:
            loose.append(letter)
    if not loose:
        return spacing, ()
    return spacing, (f"The coordinates along {', '.join(loose)} are uneven or have no unit that is known: not used.",)
