"""What files say about axes, sizes and units, as the programs of this field write it; z, y and x are chosen by it."""

import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from mitonb.errors import AxesError, InputError
from mitonb.io.arrays import Array, Lazy, Source, native
from mitonb.stack import LazyArray, VoxelSize, doubt_voxel_size

Channel = int | Literal["mean"]
Notes = tuple[str, ...]
LETTERS = {
    "z": "z", "pln": "z", "plane": "z", "depth": "z", "section": "z", "slice": "z",
    "y": "y", "row": "y", "rows": "y", "height": "y", "x": "x", "col": "x", "column": "x", "columns": "x", "width": "x",
    "c": "c", "ch": "c", "channel": "c", "channels": "c", "t": "t", "time": "t", "s": "s", "sample": "s",
    "samples": "s", "rgb": "s",
}  # fmt: skip
"""What programs call their axes: OME, zarr, ilastik, nd2, bioio; pyimagej and scikit-image."""
NAMES = {"z": "z", "y": "y", "x": "x", "c": "channel", "s": "colour", "t": "time"}
NAMED = ("_ARRAY_DIMENSIONS", "DIMENSION_LABELS", "axis_names", "dimension_names", "axistags", "axes", "dims")
SIZED = (
    "resolution", "voxelsize", "elementsize", "voxelspacing", "pixelsize", "spacing", "pixelspacing", "sampling",
    "scale", "pixelresolution",
)  # fmt: skip
"""Written with capitals, underscores, or _nm and _um at the end, too."""
MOST_COORDINATES = 2**22
NANOMETRES_BY_HABIT = ("resolution", "voxelsize")
"""CREMI, gunpowder, funlib and Paintera write nm and no unit."""
UNITS: dict[str, float] = {
    "nm": 1.0, "nanometer": 1.0, "nanometre": 1.0, "nanometers": 1.0, "nanometres": 1.0,
    "um": 1e3, "\u00b5m": 1e3, "\u03bcm": 1e3, "\\u00b5m": 1e3, "\\u03bcm": 1e3, "micron": 1e3, "microns": 1e3,
    "\u00c2\u00b5m": 1e3, "micrometer": 1e3, "micrometre": 1e3, "micrometers": 1e3, "micrometres": 1e3,
    "mm": 1e6, "millimeter": 1e6, "millimetre": 1e6, "cm": 1e7, "centimeter": 1e7, "centimetre": 1e7,
    "m": 1e9, "meter": 1e9, "metre": 1e9, "inch": 2.54e7, "inches": 2.54e7, "in": 2.54e7,
    "pm": 1e-3, "picometer": 1e-3, "picometre": 1e-3,
    "a": 0.1, "\u00c5": 0.1, "\u212b": 0.1, "angstrom": 0.1, "angstroms": 0.1, "\u00e5ngstr\u00f6m": 0.1,
}  # fmt: skip


# --- Which axis is z, y and x


def arrange(
    source: Source, *, channel: Channel | None = None, time: int | None = None, axes: str | None = None,
    what: str = "array", ids: bool = False,
) -> tuple[Any, Notes, str]:  # fmt: skip
    """Choose z, y and x.

    Of labels (`ids`), colours are refused unless they are equal in every pixel: a colour is no id.

    Returns
    -------
    data : LazyArray
        (z, y, x) volume in native byte order; a numpy view where the source is a native numpy array.
    notes : tuple of str
        What was decided, in sentences.
    letters : str
        The axis letters that were used, one per axis of the source.

    Raises
    ------
    AxesError
        If more than one choice is possible; the message names the axes and the calls to make.
    """
    shape = source.shape
    if 0 in shape:
        raise InputError(f"{what} is empty: its shape is {shape}. It needs at least one voxel on each axis.")
    letters = _given(axes, shape, what) if axes is not None else stated_axes(source, what)
    for name, value, used in (("channel", channel, {"c", "s"} & set(letters)), ("time", time, "t" in letters)):
        if value is not None and not used:
            raise AxesError(f"{what} has axes {_described(letters, shape)} and no {name} axis; leave {name}= out.")
    notes: list[str] = []
    fixed: dict[int, int | str] = {}
    for i, letter in enumerate(letters):
        given = time if letter == "t" else channel if letter in "cs" else None
        if letter in "zyx":
            continue
        if ids and letter == "s" and given is None and not _is_grey(source.data, i, letters, all_planes=True):
            raise AxesError(
                f"{what} has axes {_described(letters, shape)}: it is in colour, and a colour is no id. Save the "
                "labels as one number for each pixel (TIFF, or PNG in grey or with a colour table), or choose one "
                f"colour with channel=0 to {shape[i] - 1} if it holds the ids."
            )
        fixed[i] = _choose(i, letters, source, given, notes, what)
    where = tuple(letters.index(c) if c in letters else None for c in "zyx")
    return _arranged(source.data, where, fixed, what), tuple(notes), letters


def name_axes(names: Sequence[Any]) -> tuple[str | None, Notes]:
    """Return the letters of named axes (None where the names are not those of a stack), and what is to be said.

    Raises
    ------
    AxesError
        If two axes have one name.

    Examples
    --------
    >>> name_axes(["row", "col", "ch"])
    ('yxc', ())
    """
    words = [str(name).strip().rstrip("^").lower() for name in names]  # funlib writes c^ for what is no length
    letters = "".join(LETTERS.get(word, "?") for word in words)
    known = letters.replace("?", "")
    if len(set(known)) != len(known):
        raise AxesError(f"The axes {', '.join(words)} of this file name one axis twice. Name them with axes=.")
    if {"y", "x"} <= set(known):
        return letters, ()
    if all(re.fullmatch(r"(dim|phony_dim|axis)?_?[0-9]*|none|\?", word) for word in words):
        return None, ()
    return None, (
        f"The axes are called {', '.join(words)[:80]}, and which of them are z, y and x is not known: they are taken "
        "in this order. Name them with axes= if that is wrong.",
    )


def stated_axes(source: Source, what: str) -> str:
    """Take the axes that the file states, or those that only one reading of the shape allows."""
    shape = source.shape
    letters = source.axes.lower() if source.axes else _by_shape(shape, what)
    long = [c for c, n in zip(letters, shape, strict=True) if n > 1 or c in "zyx"]
    # Pages in a row without a name are sections: there is nothing else that they could be counted along.
    if "z" not in long and long.count("i") == 1 and not {"t", "c"} & set(long):
        letters = letters.replace("z", "?")
        at = next(k for k, (c, n) in enumerate(zip(letters, shape, strict=True)) if c == "i" and n > 1)
        letters = letters[:at] + "z" + letters[at + 1 :]
    if not {"y", "x"} <= set(letters):
        said = _described(letters, shape)
        raise AxesError(f"{what} has axes {said}, but a stack needs y and x. Name them with axes=.")
    return letters


def _given(axes: str, shape: tuple[int, ...], what: str) -> str:
    """Check the axes that the caller names."""
    if not isinstance(axes, str):
        raise AxesError(f"axes= is a text with one letter for each axis, such as 'tczyx'; got {axes!r}.")
    letters, n = axes.lower(), len(shape)
    if len(letters) != n:
        raise AxesError(f"{what} has {n} axes {shape}, but axes={axes!r} names {len(letters)}. Name each axis once.")
    if len(set(letters)) != n or set(letters) - set("tczyxs") or not {"y", "x"} <= set(letters):
        raise AxesError(f"axes= names each axis once out of t, c, z, y, x, and y and x among them; got {axes!r}.")
    return letters


def _by_shape(shape: tuple[int, ...], what: str) -> str:
    """Name the axes of an array that does not say: (y, x), or (z, y, x), with axes of length 1 around them."""
    long = [i for i, n in enumerate(shape) if n > 1]
    if len(shape) < 2:
        raise AxesError(f"{what} has shape {shape}. A stack needs at least y and x; an image is a 2-D array.")
    if len(shape) == 3 and shape[-1] in (3, 4) and min(shape[:2]) > 4:
        raise AxesError(
            f"{what} has shape {shape}: the last axis could be colour or x. "
            "Say which: axes='yxc' with channel=0 (or channel='mean'), or axes='zyx'."
        )
    if len(shape) <= 3:
        return "zyx"[-len(shape) :]
    if len(long) > 3:
        raise AxesError(
            f"{what} has {len(shape)} axes {shape} and does not say what they are. Name them, for example "
            f"axes={'tczyx'[-len(shape) :]!r} with channel=0" + (" and time=0." if len(shape) > 4 else ".")
        )
    if len(long) == 3:
        return "".join("zyx"[long.index(i)] if i in long else "?" for i in range(len(shape)))
    return "?" * (len(shape) - 3) + "zyx"


def _choose(i: int, letters: str, source: Source, given: Any, notes: list[str], what: str) -> int | str:
    """Return the index on an axis that is not space, as the caller said, or where there is only one."""
    letter, n = letters[i], source.shape[i]
    if given == "mean" and letter != "t":
        if not 3 <= n <= 4:
            raise AxesError(f"channel='mean' averages 3 colours, but {what} has {n} channels. Choose 0 to {n - 1}.")
        notes.append("Red, green and blue were averaged to grey.")
        return "mean"
    if given is not None:
        name = "time" if letter == "t" else "channel"
        if not isinstance(given, int | np.integer) or not -n <= given < n:
            raise AxesError(f"{what} has {name} 0 to {n - 1}, got {name}={given!r}.")
        return int(given) % n
    if n == 1:
        return 0
    if letter == "s" and (n == 2 or _is_grey(source.data, i, letters)):
        notes.append("Colour channels are equal: read as grey." if n > 2 else "Read as grey.")
        notes[-1] += " The alpha channel was left out." if n != 3 else ""
        return 0
    raise AxesError(_question(i, letters, source.shape, what))


def _question(i: int, letters: str, shape: tuple[int, ...], what: str) -> str:
    """Say which axes there are and what to call."""
    letter, n = letters[i], shape[i]
    text = f"{what} has axes {_described(letters, shape)}. "
    if letter == "s":
        return text + f"It is in colour: choose one channel with channel=0 to {n - 1}, or channel='mean' for grey."
    others = letters.replace("z", "c") if letter in "ct" else letters
    as_z = others[:i] + ("c" if "z" in others else "z") + others[i + 1 :]
    if letter not in "ct":
        return text + f"Axis {i} (length {n}) is not space, channel or time: name the axes, for example axes={as_z!r}."
    text += f"Choose one {'channel' if letter == 'c' else 'moment'} with {NAMES[letter]}=0 to {n - 1}"
    flat = "z" not in letters or shape[letters.index("z")] == 1
    return text + (f"; if these are really z planes, say axes={as_z!r}." if flat else ".")


def _described(letters: str, shape: tuple[int, ...]) -> str:
    """Return axes and lengths in words: z 50, y 512, x 512."""
    return ", ".join(f"{NAMES.get(c, 'other')} {n}" for c, n in zip(letters, shape, strict=True))


def _is_grey(data: LazyArray, axis: int, letters: str, *, all_planes: bool = False) -> bool:
    """Return whether the colour samples are equal in the first, middle and last plane, or in all."""
    pages = [k for k, c in enumerate(letters) if c not in "yxs"]
    some = [tuple(int((data.shape[k] - 1) * part) for k in pages) for part in (0.0, 0.5, 1.0)]
    for place in itertools.product(*(range(data.shape[k]) for k in pages)) if all_planes else some:
        index = dict(zip(pages, place, strict=True))
        image = np.asarray(data[tuple(index.get(k, slice(None)) for k in range(len(letters)))])
        image = np.moveaxis(image, axis - sum(k < axis for k in pages), -1)
        if (image[..., :1] != image[..., 1:3]).any():
            return False
    return True


def _arranged(data: Any, where: tuple[int | None, ...], fixed: Mapping[int, int | str], what: str) -> Any:
    """Return the (z, y, x) view of an array with other axes: of numpy where that is possible, else lazy.

    Parameters
    ----------
    data : array-like
        Any array that is cut by integers and slices.
    where : tuple of (int or None)
        For z, y and x: the axis of `data`, or None for an axis of length 1 that `data` does not have.
    fixed : mapping
        Index on every other axis of `data`; the value "mean" averages the first three samples (colour to grey).
    what : str
        Name of the file, for errors.
    """
    kept = [axis for axis in range(len(data.shape)) if fixed.get(axis) in (None, "mean")]
    mean = next((kept.index(axis) for axis, index in fixed.items() if index == "mean"), None)
    order = [axis for axis in where if axis is not None]
    missing = tuple(i for i, axis in enumerate(where) if axis is None)
    dtype = native(data.dtype)

    def cut(key: tuple[slice, ...]) -> Array:
        parts: dict[int, Any] = {**fixed, **{a: part for a, part in zip(where, key, strict=True) if a is not None}}
        found = data[tuple(slice(0, 3) if parts[a] == "mean" else parts[a] for a in range(len(data.shape)))]
        if isinstance(found, np.ma.MaskedArray):
            found = found.filled(np.nan if dtype.kind == "f" else 0)
        found = np.asarray(found)
        left = list(kept)
        if mean is not None:
            found = found.any(axis=mean) if dtype.kind == "b" else found.mean(axis=mean, dtype=np.float64)
            found = np.rint(found) if dtype.kind in "ui" else found
            left.pop(mean)
        return np.expand_dims(found.transpose([left.index(axis) for axis in order]), missing)

    if isinstance(data, np.ndarray) and not np.ma.isMaskedArray(data) and data.dtype == dtype and mean is None:
        return cut(tuple(slice(None) for _ in where))
    sides = getattr(data, "blocks", None)
    blocks = tuple(1 if axis is None else int(sides[axis]) for axis in where) if sides else None
    shape = [1 if axis is None else int(data.shape[axis]) for axis in where]
    return Lazy(shape, dtype, cut, what, blocks)


# --- Lengths with units


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
    factor = UNITS.get(word) or UNITS.get(word.lower()) or 0
    try:
        number = float(value) * factor
    except (TypeError, ValueError):
        return None
    return float(f"{number:.12g}") if 0 < number < math.inf else None


def spacing_to_voxel_size(spacing: Mapping[str, float], planes: int) -> tuple[VoxelSize | None, str | None]:
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
    if doubt := doubt_voxel_size((z or x, y, x)):
        return None, f"The file says {doubt}: not used. Give the size with voxel_size=(z, y, x) in nm."
    if z is not None:
        return (z, y, x), None
    if planes == 1:
        return (x, y, x), f"One plane without a thickness: assumed to be as thick as a pixel is wide ({x:g} nm)."
    return None, (
        f"The file gives the pixel size ({y:g} x {x:g} nm) but not the distance between planes, so that the voxel size "
        f"stays unknown. Give it with voxel_size=(z, {y:g}, {x:g})."
    )


# --- What attributes of HDF5, zarr, N5 and xarray say


def plain(value: Any) -> Any:
    """Return an attribute as lists, numbers and texts, whatever numpy and HDF5 made of it."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(part) for part in value[:64]]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def axes_of(attributes: Mapping[str, Any], rank: int) -> tuple[str | None, Notes]:
    """Return the axis letters that attributes state, in the order in which they state them, and what is to be said."""
    for key in NAMED:
        names = plain(attributes.get(key))
        if key == "axistags" and isinstance(names, str):  # ilastik and vigra
            tags: Any = json.loads(names)
            tags = tags.get("axes") if isinstance(tags, dict) else None
            names = [tag.get("key") for tag in tags if isinstance(tag, dict)] if isinstance(tags, list) else None
        names = list(names) if isinstance(names, str) and key == "axes" else names
        if isinstance(names, list) and len(names) == rank:
            letters, notes = name_axes([name.get("name") if isinstance(name, dict) else name for name in names])
            if letters or notes:
                return letters, notes
    return None, ()


def is_size(key: str) -> bool:
    """Return whether an attribute is called as sizes of voxels are."""
    return key == "transform" or bool(_sized(key)[0])


def _spacing_of(
    attributes: Mapping[str, Any], letters: str, *, x_first: bool = False
) -> tuple[dict[str, float], Notes]:  # fmt: skip
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
    notes = _offset(attributes, letters[::-1] if x_first else letters)
    transform = attributes.get("transform")
    if isinstance(transform, dict) and isinstance(transform.get("axes"), list):  # CellMap
        names, sizes = name_axes(plain(transform["axes"]))[0], _numbers(transform.get("scale"))
        if names and len(sizes) == len(names):
            return lengths_of(names, sizes, _units(transform.get("units"), len(names))), notes
    for key in sorted((k for k in attributes if _sized(k)[0]), key=lambda k: SIZED.index(_sized(k)[0])):
        value: Any = plain(attributes.get(key))
        # N5 viewer: {"dimensions": [x, y, z], "unit": "um"}
        value, unit = (value.get("dimensions"), value.get("unit")) if isinstance(value, dict) else (value, None)
        backwards = x_first or _sized(key)[0] == "pixelresolution"
        order = letters[::-1] if backwards else letters
        spatial = "".join(c for c in order if c in "zyx")
        sizes = _numbers(value) * (len(spatial) if len(_numbers(value)) == 1 else 1)
        named = spatial if len(sizes) == len(spatial) else order
        if not sizes:
            notes += (f"The attribute {key!r} is no list of sizes and was not used.",)
        elif len(sizes) != len(named):
            notes += (f"The attribute {key!r} has {len(sizes)} numbers for {len(letters)} axes and was not used.",)
        else:
            spacing, said = _in_nanometres(key, _by_level(sizes, attributes, backwards), named, unit, attributes)
            return spacing, (*notes, *said)
    return {}, notes


def _sized(key: Any) -> tuple[str, str]:
    """Return the name out of SIZED that an attribute has, and the unit in its name; empty for others."""
    word = str(key).lower().replace("_", "")
    unit = word[-2:] if word[-2:] in ("nm", "um") else ""
    word = word.removesuffix(unit)
    return (word, unit) if word in SIZED else ("", "")


def _in_nanometres(
    key: str, sizes: list[float], named: str, unit: Any, attributes: Mapping[str, Any]
) -> tuple[dict[str, float], Notes]:  # fmt: skip
    """Apply the unit of an attribute, or the habit of those who leave it out."""
    word, in_name = _sized(key)
    beside = (plain(attributes.get(k)) for k in (f"{key}_unit", f"{key}_units", "units", "unit"))
    unit = in_name or next((u for u in (unit, *beside) if u), None)
    written = f"The attribute {key!r} = {', '.join(f'{v:g}' for v in sizes)} ({', '.join(named)}) has"
    if unit is None and (word not in NANOMETRES_BY_HABIT or min(sizes) < 0.5 or set(sizes) == {1.0}):
        return {}, (f"{written} no unit: the voxel size stays unknown. Say voxel_size=(z, y, x).",)
    if unit is None:
        return lengths_of(named, sizes, ["nm"] * len(sizes)), (f"{written} no unit: taken as nm.",)
    found = lengths_of(named, sizes, _units(unit, len(sizes)))
    if len(found) < sum(c in "zyx" for c in named):
        return {}, (f"{written} the unit {str(plain(unit))[:40]}: the voxel size stays unknown.",)
    return found, ()


def lengths_of(letters: str, sizes: Sequence[float], units: Sequence[Any]) -> dict[str, float]:
    """Return the sizes in nm along z, y and x, of those with a unit that is known."""
    found = {c: nanometres(v, u) for c, v, u in zip(letters, sizes, units, strict=True) if c in "zyx"}
    return {c: v for c, v in found.items() if v is not None}


def places_of(letters: str, places: Sequence[Any], units: Sequence[Any]) -> dict[str, float]:
    """Return places in nm along z, y and x, of those with a unit that is known; they may be 0 or less."""
    found = {}
    for letter, value, unit in zip(letters, places, units, strict=True):
        one = nanometres(1, unit)
        if letter in "zyx" and one is not None and isinstance(value, int | float) and math.isfinite(value):
            found[letter] = float(f"{value * one:.12g}")
    return found


def _units(stated: Any, count: int) -> list[Any]:
    """Return a unit for each number."""
    listed = plain(stated) if isinstance(plain(stated), list) else [plain(stated)]
    return (listed * count if len(listed) == 1 else [*listed, *[None] * count])[:count]


def _numbers(value: Any) -> list[float]:
    """Return positive numbers, or none if anything else is among them."""
    listed = plain(value) if isinstance(plain(value), list) else [plain(value)]
    good = all(isinstance(v, int | float) and not isinstance(v, bool) and 0 < v < 1e12 for v in listed)
    return [float(v) for v in listed] if good else []


def _by_level(sizes: list[float], attributes: Mapping[str, Any], backwards: bool) -> list[float]:
    """Multiply by the factors of a resolution level, which are written in the order x, y, z."""
    factors = _numbers(attributes.get("downsamplingFactors"))
    factors = factors * len(sizes) if len(factors) == 1 else factors
    if len(factors) != len(sizes):
        return sizes
    return [v * f for v, f in zip(sizes, factors if backwards else factors[::-1], strict=True)]


def _offset(attributes: Mapping[str, Any], letters: str) -> Notes:
    """Say that a volume is a part of a larger one: labels and image may then begin at different places."""
    value = plain(attributes.get("offset"))
    if not isinstance(value, list) or not all(isinstance(v, int | float) for v in value) or not any(value):
        return ()
    order, numbers = ", ".join(c for c in letters if c in "zyx"), ", ".join(f"{v:g}" for v in value)
    return (f"The file gives an offset of {numbers} ({order}): positions here count from the first voxel here.",)


def describe(
    data: Any, attributes: Mapping[str, Any], kind: str, *, names: Sequence[Any] = (), points: Sequence[Any] = (),
    x_first: bool = False, notes: Notes = (),
) -> Source:  # fmt: skip
    """Return a source with the axes and sizes that names, attributes and coordinates state.

    Parameters
    ----------
    data : array-like
        The voxels.
    attributes : mapping
        As for `_spacing_of`.
    kind : str
        Name of the format.
    names, points : sequence
        Names of the axes, and the coordinates along each, where there are some.
    x_first : bool
        As for `_spacing_of`.
    notes : tuple of str
        What is to be said already.
    """
    rank = len(data.shape)
    letters, said = name_axes(names) if any(names) else (None, ())
    if not letters and not said:
        letters, said = axes_of(attributes, rank)
    if kind == "N5" and letters and letters[-1] != "x":  # there written with x first, but for some
        letters = letters[::-1]
    axes = letters or "zyx"[-rank:].rjust(rank, "?")
    spacing, more = _spacing_of(attributes, axes, x_first=x_first)
    along, loose = _spacing_along({c: p for c, p in zip(axes, points, strict=False) if c in "zyx" and c not in spacing})
    return Source(data, letters, {**along, **spacing}, (*notes, *said, *more, *loose), kind)


def _spacing_along(coordinates: Mapping[str, Any]) -> tuple[dict[str, float], Notes]:
    """Return the size in nm of evenly spaced coordinates with a unit, by axis letter, and what is to be said.

    A step of 1 without a unit only counts voxels.
    """
    spacing: dict[str, float] = {}
    loose: list[str] = []
    for letter, found in coordinates.items():
        if found is None or len(found.shape) != 1 or not 2 <= found.shape[0] < MOST_COORDINATES:
            continue
        points, unit = np.asarray(found[:]), found.attrs.get("units", found.attrs.get("unit"))
        if points.dtype.kind not in "iuf":
            continue
        steps = np.abs(np.diff(points.astype(np.float64)))
        step = abs(float(points[-1]) - float(points[0])) / len(steps)
        size = nanometres(step, plain(unit)) if np.allclose(steps, step, rtol=1e-3, atol=0) else None
        if size is not None:
            spacing[letter] = size
        elif step != 1:
            loose.append(letter)
    note = f"The coordinates along {', '.join(loose)} are uneven or have no unit that is known: not used."
    return spacing, (note,) if loose else ()
