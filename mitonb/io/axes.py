"""Axis rules: which axis of a file is z, y and x, and what is done with channels, time and colour."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mitonb.errors import AxesError, InputError
from mitonb.io.lazy import Arranged, Array, Indexable, native

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Channel", "Source", "arrange", "name_axes", "stated_axes"]

Channel = int | Literal["mean"]
LETTERS = {
    "z": "z", "pln": "z", "plane": "z", "depth": "z", "section": "z", "slice": "z",
    "y": "y", "row": "y", "rows": "y", "height": "y", "x": "x", "col": "x", "column": "x", "columns": "x", "width": "x",
    "c": "c", "ch": "c", "channel": "c", "channels": "c", "t": "t", "time": "t", "s": "s", "sample": "s",
    "samples": "s", "rgb": "s",
}  # fmt: skip
"""What programs call their axes: OME, zarr, ilastik, nd2, bioio; pyimagej and scikit-image."""
NAMES = {"z": "z", "y": "y", "x": "x", "c": "channel", "s": "colour", "t": "time"}


@dataclass(frozen=True)
class Source:
    """What a format reader found in a file, before the axes are chosen.

    Attributes
    ----------
    data : array-like
        Lazy array of any number of axes.
    axes : str or None
        One letter per axis out of t, c, z, y, x, s (colour samples), i (pages in a row), or another letter for
        something else; None when the file does not say.
    spacing : mapping
        Size in nm by axis letter, for those that the file states.
    notes : tuple of str
        Sentences for the user.
    kind : str
        Name of the format, for messages.
    chunk_bytes : int
        Bytes that are decoded at once to read one voxel.
    record : mapping or None
        Run record, where labels carry one.
    ids : array-like or None
        The same pixels as labels mean them, where that differs: places in a colour table, greys of 1, 2 or 4 bits.
    black : float or None
        The value of black in a file that says 0 is white; None in all others.
    """

    data: Indexable
    axes: str | None = None
    spacing: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    kind: str = "array"
    chunk_bytes: int = 0
    record: Mapping[str, Any] | None = None
    ids: Indexable | None = None
    black: float | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every axis."""
        return tuple(int(n) for n in self.data.shape)


def name_axes(names: Sequence[Any]) -> tuple[str | None, tuple[str, ...]]:
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


def arrange(
    source: Source,
    *,
    channel: Channel | None = None,
    time: int | None = None,
    axes: str | None = None,
    what: str = "array",
    ids: bool = False,
) -> tuple[Any, tuple[str, ...], str]:
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
    notes: list[str] = []
    fixed: dict[int, int | str] = {}
    for i, letter in enumerate(letters):
        if letter in "zyx":
            continue
        if ids and letter == "s" and channel is None and not is_grey(source.data, i, letters, all_planes=True):
            raise AxesError(
                f"{what} has axes {_described(letters, shape)}: it is in colour, and a colour is no id. Save the "
                "labels as one number for each pixel (TIFF, or PNG in grey or with a colour table), or choose one "
                f"colour with channel=0 to {shape[i] - 1} if it holds the ids."
            )
        fixed[i] = _choice(i, letter, letters, source, channel, time, notes, what)
    _unused("channel", channel, any(c in letters for c in "cs"), letters, shape, what)
    _unused("time", time, "t" in letters, letters, shape, what)
    where = tuple(letters.index(c) if c in letters else None for c in "zyx")
    return _view(source.data, where, fixed), tuple(notes), letters  # type: ignore[arg-type]


def _given(axes: str, shape: tuple[int, ...], what: str) -> str:
    """Check the axes that the caller names."""
    if not isinstance(axes, str):
        raise AxesError(f"axes= is a text with one letter for each axis, such as 'tczyx'; got {axes!r}.")
    letters = axes.lower()
    if len(letters) != len(shape):
        raise AxesError(
            f"{what} has {len(shape)} axes {shape}, but axes={axes!r} names {len(letters)}. Name each axis once."
        )
    if len(set(letters)) != len(letters) or set(letters) - set("tczyxs") or not {"y", "x"} <= set(letters):
        raise AxesError(f"axes= names each axis once out of t, c, z, y, x, and y and x among them; got {axes!r}.")
    return letters


def stated_axes(source: Source, what: str) -> str:
    """Take the axes that the file states, or those that only one reading of the shape allows."""
    shape, stated = source.shape, source.axes
    letters = stated.lower() if stated else _by_shape(shape, what)
    long = [c for c, n in zip(letters, shape, strict=True) if n > 1 or c in "zyx"]
    # Pages in a row without a name are sections: there is nothing else that they could be counted along.
    if "z" not in long and long.count("i") == 1 and not {"t", "c"} & set(long):
        letters = letters.replace("z", "?")
        at = next(k for k, (c, n) in enumerate(zip(letters, shape, strict=True)) if c == "i" and n > 1)
        letters = letters[:at] + "z" + letters[at + 1 :]
    if "y" not in letters or "x" not in letters:
        raise AxesError(
            f"{what} has axes {_described(letters, shape)}, but a stack needs y and x. Name them with axes=."
        )
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
    if len(long) == 3:
        return "".join("zyx"[long.index(i)] if i in long else "?" for i in range(len(shape)))
    if len(long) > 3:
        raise AxesError(
            f"{what} has {len(shape)} axes {shape} and does not say what they are. Name them, for example "
            f"axes={'tczyx'[-len(shape) :]!r} with channel=0" + (" and time=0." if len(shape) > 4 else ".")
        )
    return "?" * (len(shape) - 3) + "zyx"


def _choice(
    i: int,
    letter: str,
    letters: str,
    source: Source,
    channel: Channel | None,
    time: int | None,
    notes: list[str],
    what: str,
) -> int | str:
    """Return the index on an axis that is not space, as the caller said, or where there is only one."""
    n = source.shape[i]
    given = time if letter == "t" else channel if letter in "cs" else None
    if given == "mean":
        if n < 3 or n > 4:
            raise AxesError(
                f"channel='mean' averages red, green and blue, but {what} has {n} channels. Choose 0 to {n - 1}."
            )
        notes.append("Red, green and blue were averaged to grey.")
        return "mean"
    if given is not None:
        name = NAMES[letter] if letter == "t" else "channel"
        if not isinstance(given, int | np.integer) or not -n <= given < n:
            raise AxesError(f"{what} has {name} 0 to {n - 1}, got {name}={given!r}.")
        return int(given) % n
    if n == 1:
        return 0
    if letter == "s" and (n == 2 or is_grey(source.data, i, letters)):
        extra = " The alpha channel was left out." if n in (2, 4) else ""
        notes.append(("Colour channels are equal: read as grey." if n > 2 else "Read as grey.") + extra)
        return 0
    raise AxesError(_question(i, letter, letters, source.shape, what))


def _question(i: int, letter: str, letters: str, shape: tuple[int, ...], what: str) -> str:
    """Say which axes there are and what to call."""
    n = shape[i]
    text = f"{what} has axes {_described(letters, shape)}. "
    as_z = "".join(("c" if "z" in letters else "z") if k == i else c for k, c in enumerate(letters))
    if letter == "s":
        return text + f"It is in colour: choose one channel with channel=0 to {n - 1}, or channel='mean' for grey."
    if letter in "ct":
        name = NAMES[letter]
        text += f"Choose one {name if letter == 'c' else 'moment'} with {name}=0 to {n - 1}"
        if "z" not in letters or shape[letters.index("z")] == 1:
            as_z = "".join("z" if k == i else ("c" if c == "z" else c) for k, c in enumerate(letters))
            return text + f"; if these are really z planes, say axes={as_z!r}."
        return text + "."
    return text + f"Axis {i} (length {n}) is not space, channel or time: name the axes, for example axes={as_z!r}."


def is_grey(data: Indexable, axis: int, letters: str, *, all_planes: bool = False) -> bool:
    """Return whether the colour samples are equal in the first, middle and last plane, or in all."""
    pages = [k for k, c in enumerate(letters) if c not in "yxs"]
    some = [tuple(int((data.shape[k] - 1) * part) for k in pages) for part in (0.0, 0.5, 1.0)]
    for place in product(*(range(data.shape[k]) for k in pages)) if all_planes else some:
        key: list[int | slice] = [slice(None)] * len(letters)
        for k, index in zip(pages, place, strict=True):
            key[k] = index
        image = np.moveaxis(np.asarray(data[tuple(key)]), axis - sum(k < axis for k in pages), -1)
        if (image[..., :1] != image[..., 1:3]).any():
            return False
    return True


def _unused(name: str, value: object, used: bool, letters: str, shape: tuple[int, ...], what: str) -> None:
    """Refuse a choice on an axis that is not there."""
    if value is not None and not used:
        raise AxesError(f"{what} has axes {_described(letters, shape)} and no {name} axis; leave {name}= out.")


def _described(letters: str, shape: tuple[int, ...]) -> str:
    """Return axes and lengths in words: z 50, y 512, x 512."""
    return ", ".join(f"{NAMES.get(c, 'other')} {n}" for c, n in zip(letters, shape, strict=True))


def _view(data: Indexable, where: tuple[int | None, int | None, int | None], fixed: dict[int, int | str]) -> Any:
    """Return a numpy view where that is possible, else a lazy arrangement."""
    plain = (
        isinstance(data, np.ndarray) and not isinstance(data, np.ma.MaskedArray) and data.dtype == native(data.dtype)
    )
    if not plain or "mean" in fixed.values():
        return Arranged(data, where, fixed)
    array: Array = data  # type: ignore[assignment]
    kept = [axis for axis in range(array.ndim) if axis not in fixed]
    key: tuple[Any, ...] = tuple(fixed.get(axis, slice(None)) for axis in range(array.ndim))
    view = array[key]
    view = view.transpose([kept.index(axis) for axis in where if axis is not None])
    for i, axis in enumerate(where):
        if axis is None:
            view = np.expand_dims(view, i)
    return view
