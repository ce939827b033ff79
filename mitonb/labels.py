"""Labels: an array of instance ids with a voxel size and the record of the run that made it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mitonb.errors import AxesError, InputError
from mitonb.mapped import MappedArray, copy_labels, live_base
from mitonb.memory import require_room
from mitonb.stack import Stack, in_order, voxel_size_of

ORIGINAL = "original_ids"
_GREY = 0.5  # neighbours that differ: above 0.9 in EM, below 0.01 in labels of mitochondria


@dataclass(frozen=True)
class Labels:
    """Instance ids of a volume; 0 is background.

    Attributes
    ----------
    data : (z, y, x) uint32 array
        Any integer array is accepted and checked; ids above 2**32 - 1 and negative ids are refused.
    voxel_size : tuple of float or None
        (z, y, x) in nm.
    name : str
        Shown to the user.
    record : mapping or None
        Run record: recipe, model hash, image fingerprint and versions.
    """

    data: npt.NDArray[np.uint32]
    voxel_size: tuple[float, float, float] | None = None
    name: str = "labels"
    record: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        data = self.data if isinstance(self.data, MappedArray) else np.asarray(in_order(self.data))
        if data.dtype.kind in "USO" and data.ndim == 0:
            raise InputError(f"Labels are voxels, got {str(self.data)[:80]!r}. Open a file with mn.open_labels.")
        if data.ndim != 3:
            raise AxesError(f"Labels need 3 axes (z, y, x), got shape {data.shape}. For one plane pass ids[None].")
        if data.dtype != np.uint32:
            data = _checked(data)
        if data is not self.data:
            object.__setattr__(self, "data", data)
        if self.voxel_size is not None:
            object.__setattr__(self, "voxel_size", voxel_size_of(self.voxel_size))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) in voxels."""
        z, y, x = self.data.shape
        return z, y, x

    def ids(self) -> npt.NDArray[np.uint32]:
        """Return the sorted ids that occur, without background."""
        found = np.unique(self.data)
        return found[found > 0]

    @property
    def original_ids(self) -> npt.NDArray[Any] | None:
        """Ids of the file by the ids here, 0 for background first; None where objects were not renumbered.

        Objects that came later, which the file did not have, follow above its highest id (below, if that is the last).
        """
        kept = (self.record or {}).get(ORIGINAL)
        try:
            table = np.array([0, *kept["ids"]], {"int64": np.int64, "uint64": np.uint64}[kept["dtype"]])  # type: ignore[index]
        except (TypeError, ValueError, KeyError, OverflowError):  # none, or the record of a project from elsewhere
            return None
        if table.ndim != 1 or (table[1:] <= 0).any():
            return None
        later = int(self.data.max(initial=0)) - len(table) + 1
        if later > 0:
            top = int(table.max())
            start = top + 1 if top + later <= np.iinfo(table.dtype).max else 1
            free = np.arange(start, start + later + (len(table) if start == 1 else 0), dtype=table.dtype)
            table = np.concatenate([table, free[~np.isin(free, table)][:later]])
        return table

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self.data, dtype=dtype)

    def __repr__(self) -> str:
        originals = self.original_ids
        own = "" if originals is None else ", renumbered (see original_ids)"
        what = f"Labels({self.name!r}, {' x '.join(map(str, self.shape))}, {len(self.ids())} objects{own})"
        note = ignore_note(int((self.data if originals is None else originals).max(initial=0)))
        return _with_notes(f"{what}\n  note: {note}" if note else what, self.record)


@dataclass(frozen=True)
class StoredLabels:
    """Labels of a volume in a store on disk; they stay there.

    It is a path for all that opens files: `mn.open_labels(stored)` reads the labels into memory, `mn.open(stored)`
    opens them plane by plane.

    Attributes
    ----------
    path : Path
        Where they are.
    shape : tuple of int
        (z, y, x) in voxels.
    count : int
        Objects; ids are 1..count.
    voxel_size : tuple of float or None
        (z, y, x) in nm.
    name : str
        Shown to the user.
    record : mapping or None
        Run record; it is in the store too.
    """

    path: Path
    shape: tuple[int, int, int]
    count: int
    voxel_size: tuple[float, float, float] | None = None
    name: str = "labels"
    record: Mapping[str, Any] | None = None

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        where = f"{' x '.join(map(str, self.shape))}, {self.count} objects in {self.path.name}"
        return _with_notes(f"StoredLabels({self.name!r}, {where})", self.record)


AnyLabels: TypeAlias = Labels | npt.NDArray[Any]


def ignore_note(highest: int) -> str:
    """Return what the highest id of some labels most likely stands for, when it is what -1 becomes; "" for others."""
    bits = {2**n - 1: n for n in (16, 32, 64)}.get(highest)
    if bits is None:
        return ""
    return (
        f"The id {highest} is what -1 becomes in {bits} bits: it probably marks voxels to ignore and is no object. If "
        f"so, make those voxels background, ids[ids == {highest}] = 0."
    )


def scale_note(
    image: tuple[float, float, float] | None, labels: tuple[float, float, float] | None, *, what: str = "image"
) -> str:
    """Return what to say where labels have another voxel size than what they belong to; "" where they agree.

    The rule, everywhere: what was given by hand counts, else what the image says, else what the labels say. Programs
    that make labels often leave a default in the file, such as one micrometre.
    """
    if not image or not labels or np.allclose(image, labels, rtol=1e-3):
        return ""
    ours, theirs = (" x ".join(f"{v:g}" for v in size) for size in (image, labels))
    right = f"({', '.join(f'{v:g}' for v in labels)})"
    advice = f"open the image with voxel_size={right}" if what == "image" else f"call {what}.set_voxel_size{right}"
    return (
        f"The labels say voxels of {theirs} nm, the {what} {ours} nm: those of the {what} are used. If the labels are "
        f"right, {advice}."
    )


def _with_notes(what: str, record: Mapping[str, Any] | None) -> str:
    """Return a line, and what the run had to say to the user below it: else nobody would read that."""
    notes = (record or {}).get("notes")
    return "\n".join([what, *(f"  note: {text}" for text in (notes if isinstance(notes, list | tuple) else ()))])


def renumbered(data: npt.NDArray[Any], *, always: bool) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    """Number objects 1, 2, ... in the order of their ids; also return those ids, or None where nothing was done.

    Only ids above 32 bits are renumbered, unless `always`. What is no id (fractions, negative marks) stays for `Labels`
    to refuse.
    """
    data = _whole(data)
    if data.dtype.kind not in "iu" or not data.size or data.min() < 0 or not (always or data.max() > 2**32 - 1):
        return data, None
    originals = np.unique(np.concatenate([np.unique(plane) for plane in data]))
    originals = originals[originals > 0]
    ids = np.empty(data.shape, np.uint32)
    for plane, out in zip(data, ids, strict=True):
        out[...] = np.searchsorted(originals, plane, side="right")
    return ids, originals


def with_original_ids(record: Mapping[str, Any] | None, ids: npt.NDArray[Any] | None) -> Mapping[str, Any] | None:
    """Return a record that keeps the ids of the file, which so go with the labels into a project and out again."""
    if ids is None:
        return record
    dtype = "uint64" if ids.dtype.kind == "u" else "int64"
    return {**(record or {}), ORIGINAL: {"dtype": dtype, "ids": ids.tolist()}}


def settled(data: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array that no longer changes: a copy of one that follows the edits of a session, others as they are.

    What reads labels twice, or reads back what it wrote, must see the same labels both times, whatever is painted
    meanwhile.
    """
    return data if live_base(data) is None else copy_labels(data)


def steps_of(values: npt.NDArray[Any]) -> float:
    """Return how often neighbours in a row, both above the lowest value, differ: hardly in labels, mostly in images.

    Parameters
    ----------
    values : (z, y, x) array
        Up to eight of its planes are looked at.

    Returns
    -------
    float
        0..1; 0 where there are no such neighbours.
    """
    some = np.asarray(values[:: max(1, -(-len(values) // 8))])
    left, right = some[..., :-1], some[..., 1:]
    inside = (left != some.min()) & (right != some.min())
    return float((left != right)[inside].mean()) if inside.any() else 0.0


def require_ids(values: npt.NDArray[Any], name: str, more: str = "") -> None:
    """Refuse a grey image in the place of labels.

    Raises
    ------
    InputError
        If most neighbouring pixels differ; `more` says what may have happened.
    """
    if (steps := steps_of(values)) > _GREY:
        raise InputError(
            f"{name}: what should be labels looks like a grey image: {steps:.0%} of neighbouring pixels differ. Labels "
            f"have one whole number for all pixels of an object, and 0 around it.{more}"
        )


def integers(labels: AnyLabels, name: str) -> npt.NDArray[Any]:
    """Return labels as an array of whole numbers at or above 0; `name` is what the errors call them.

    Raises
    ------
    InputError
        If they are anything else.
    """
    if isinstance(labels, str | bytes | Stack) or hasattr(labels, "__fspath__"):
        raise InputError(f"{name.capitalize()} are voxels, got {str(labels)[:80]!r}. Open a file with mn.open_labels.")
    if not isinstance(labels, Labels | np.ndarray) and hasattr(labels, "shape") and hasattr(labels, "dtype"):
        require_room(labels.shape, labels.dtype)  # such as an array of a store
    array = settled(labels.data if isinstance(labels, Labels) else np.asarray(in_order(labels)))
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind not in "ui":
        raise InputError(f"{name.capitalize()} are whole numbers, got {array.dtype}. Threshold or round it first.")
    if array.dtype.kind == "i" and array.size and array.min() < 0:
        raise InputError(f"{name.capitalize()} start at 0, got {array.min()}.")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _whole(data: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return floats as integers if all of them are whole and small enough to be exact; else what was given."""
    limit = 2**24 if data.dtype.itemsize <= 4 else 2**53
    if data.dtype.kind != "f" or not np.isfinite(data).all() or (np.abs(data) > limit).any():
        return data
    whole = data.astype(np.int64)
    return whole if (whole == data).all() else data


def _checked(data: npt.NDArray[Any]) -> npt.NDArray[np.uint32]:
    """Convert to uint32 without ever changing an id."""
    data = _whole(data)
    if data.dtype.kind == "f":
        raise InputError("Labels are whole numbers; this float array holds others. Round it first.")
    if data.dtype.kind not in "bui":
        raise InputError(f"Labels are whole numbers, got dtype {data.dtype}.")
    if data.size:
        low, high = data.min(), data.max()
        if low < 0:
            count = int((data < 0).sum())
            raise InputError(
                f"Label ids start at 0, got {count} voxels with negative ids (lowest {low}). Negative "
                "numbers usually mark voxels to ignore: make them background first, ids[ids < 0] = 0."
            )
        if high > 2**32 - 1:
            raise InputError(f"Ids go up to {2**32 - 1}, got {high}. {ignore_note(int(high)) or 'Renumber them.'}")
    return data.astype(np.uint32)
