"""Operations: pure functions that say what a correction would change; the session applies and records it."""

from __future__ import annotations

import itertools
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mitonb.box import Box
from mitonb.edit.brush import stroke
from mitonb.edit.effects import Edit, Part, Volume, part_of
from mitonb.errors import AxesError, InputError
from mitonb.stack import AXES, Axis, checked_axis, whole_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["MAX_ID", "adopt", "delete", "erase", "fill", "merge", "paint", "put_plane"]

MAX_ID = 2**32 - 1
Points = npt.ArrayLike

# Objects and whole volumes are changed in pieces of about this many voxels, so that temporaries stay small.
_PIECE = 1 << 22


def paint(labels: Volume, points: Points, *, id: int, radius: float, axis: Axis = "xy", preserve: bool = False) -> Edit:
    """Draw a round brush along a polyline on one plane.

    Parameters
    ----------
    labels : (z, y, x) uint32 array
        Not changed.
    points : (n, 3) array
        (z, y, x) in voxels, all on one plane of `axis`; rounded half up. Points may lie beyond the plane's edge.
    id : int
        Written into the voxels; 0 is background.
    radius : float
        In pixels of the plane; a pixel is covered when its distance to a center of the line is at most this.
    axis : {"xy", "xz", "yz"}
        Direction of the plane.
    preserve : bool
        Paint on background only.

    Raises
    ------
    InputError
        If the points are not on one plane of the volume, or the id or radius is out of range.
    """
    line, index = _on_plane(labels, points, axis)
    intent = {**packed_line(line, axis), "id": checked_id(id), "radius": _checked_radius(radius)}
    only = 0 if preserve else None
    if preserve:
        intent["preserve"] = True
    return Edit.of("paint", _brushed(labels, line, intent["radius"], axis, index, intent["id"], only), intent)


def erase(labels: Volume, points: Points, *, radius: float, axis: Axis = "xy", only: int | None = None) -> Edit:
    """Set to background along a polyline; with `only`, just the voxels of that object.

    Parameters and errors as in `paint`.
    """
    line, index = _on_plane(labels, points, axis)
    intent = {**packed_line(line, axis), "radius": _checked_radius(radius)}
    if only is not None:
        intent["only"] = checked_id(only)
    return Edit.of("erase", _brushed(labels, line, intent["radius"], axis, index, 0, only), intent)


def fill(labels: Volume, point: Sequence[float], id: int, axis: Axis = "xy") -> Edit:
    """Give an id to the patch of equal ids around a point, inside its plane (neighbours share an edge).

    Raises
    ------
    InputError
        If the point is outside the volume or the id out of range.
    """
    at = inside(labels.shape, point)
    kept = AXES[checked_axis(axis)]
    plane = np.moveaxis(labels, kept, 0)[at[kept]]
    row, column = (v for i, v in enumerate(at) if i != kept)
    patches, _ = ndimage.label(plane == plane[row, column])
    patch = np.flatnonzero(patches == patches[row, column])
    part = _on(labels, axis, at[kept], patch, checked_id(id))
    return Edit.of("fill", [part], {"point": list(at), "id": int(id), "axis": axis})


def merge(labels: Volume, keep: int, gone: Sequence[int], boxes: Mapping[int, Box]) -> Edit:
    """Give the voxels of other objects to one object.

    Parameters
    ----------
    labels : (z, y, x) uint32 array
        Not changed.
    keep : int
        The id that stays.
    gone : sequence of int
        Ids that become `keep`.
    boxes : mapping of int to Box
        A box around every object; it may be larger than needed.

    Raises
    ------
    InputError
        If there is no such object, or nothing to merge.
    """
    keep = checked_id(keep)
    others = [i for i in dict.fromkeys(map(checked_id, gone)) if i != keep]
    if not others:
        raise InputError(f"A merge needs at least two different objects, got only {keep}. Pick another one too.")
    for i in (keep, *others):
        _known(i, boxes)
    parts = [p for i in others for p in _object(labels, i, boxes[i], keep)]
    return Edit.of("merge", parts, {"keep": keep, "gone": others})


def delete(labels: Volume, ids: Sequence[int], boxes: Mapping[int, Box]) -> Edit:
    """Set whole objects to background; parameters and errors as in `merge`."""
    if not ids:
        raise InputError("Name at least one object to delete.")
    for i in ids:
        _known(i, boxes)
    parts = [p for i in dict.fromkeys(ids) for p in _object(labels, i, boxes[i], 0)]
    return Edit.of("delete", parts, {"ids": [int(i) for i in dict.fromkeys(ids)]})


def put_plane(labels: Volume, ids: npt.NDArray[Any], axis: Axis, index: int) -> Edit:
    """Replace one plane.

    Parameters
    ----------
    labels : (z, y, x) uint32 array
        Not changed.
    ids : (h, w) uint32 array
        New ids; rows and columns in the order of the axes that remain.
    axis : {"xy", "xz", "yz"}
        Direction of the plane.
    index : int
        Position along that direction.

    Raises
    ------
    InputError
        If there is no such plane, or the ids have another shape.
    """
    box = whole_plane(labels, ids.shape, axis, index)
    new = np.expand_dims(ids, AXES[axis])
    part = part_of(labels, box, np.flatnonzero(labels[box.slices] != new), new)
    return Edit.of("put_plane", [part], {"axis": axis, "index": int(index)})


def whole_plane(labels: Volume, shape: tuple[int, ...], axis: Axis, index: int) -> Box:
    """Return where a plane of this (h, w) lies; errors as in `put_plane`."""
    kept = AXES[checked_axis(axis)]
    index = checked_index(labels, axis, index)
    want = tuple(n for i, n in enumerate(labels.shape) if i != kept)
    if shape != want:
        raise AxesError(f"A {axis} plane of these labels is {want}, got {shape}.")
    return _plane_box(axis, index, 0, 0, want)


def adopt(labels: Volume, new: Volume) -> Edit:
    """Replace all labels by others of the same shape.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    if new.shape != labels.shape:
        raise AxesError(f"These labels are {labels.shape}, got {new.shape}. They must lie on the same voxels.")
    parts = []
    for piece in pieces(Box((0, 0, 0), _shape(labels))):
        fresh = new[piece.slices]
        parts.append(part_of(labels, piece, np.flatnonzero(labels[piece.slices] != fresh), fresh))
    return Edit.of("adopt", parts, {})


def packed_line(line: npt.NDArray[np.int64], axis: Axis) -> dict[str, Any]:
    """Return a stroke for the journal: its plane, then (row, column) of the first point and the moves from there.

    A journal has thousands of strokes, and moves have a third of the digits of positions.

    Examples
    --------
    >>> packed_line(np.array([[3, 500, 600], [3, 504, 597]]), "xy")
    {'axis': 'xy', 'plane': 3, 'line': [500, 600, 4, -3]}
    """
    flat = np.delete(line, AXES[axis], axis=1)
    moves = np.diff(flat, axis=0, prepend=np.zeros((1, 2), np.int64))
    return {"axis": axis, "plane": int(line[0, AXES[axis]]), "line": moves.ravel().tolist()}


def unpacked_line(intent: Mapping[str, Any]) -> list[list[int]]:
    """Return the (z, y, x) points of a packed stroke."""
    flat = np.cumsum(np.reshape(intent["line"], (-1, 2)), axis=0)
    points: list[list[int]] = np.insert(flat, AXES[intent["axis"]], intent["plane"], axis=1).tolist()
    return points


def pieces(box: Box) -> list[Box]:
    """Cut a box along z into boxes of about four million voxels."""
    z, y, x = box.shape
    depth = max(1, _PIECE // max(1, y * x))
    cuts = [*range(box.start[0], box.stop[0], depth), box.stop[0]]
    return [Box((a, *box.start[1:]), (b, *box.stop[1:])) for a, b in itertools.pairwise(cuts) if z]


def checked_id(id: int) -> int:
    """Return an id as an int, or refuse what is none."""
    try:
        number = -1 if isinstance(id, bool | np.bool_ | str | bytes) or int(id) != id else int(id)
    except (TypeError, ValueError, OverflowError):
        number = -1
    if not 0 <= number <= MAX_ID:
        raise InputError(f"An id is a whole number from 0 to {MAX_ID}, got {id!r}.")
    return number


def _checked_radius(radius: float) -> float:
    """Return a radius as a float, or refuse what is no number; brushes check its range."""
    if isinstance(radius, bool) or not isinstance(radius, Real):
        raise InputError(f"A brush radius is a number of pixels, got {radius!r}.")
    return float(radius)


def checked_index(labels: Volume, axis: Axis, index: int) -> int:
    """Return the number of a plane as an int, or refuse what is none."""
    number, count = whole_number(index), labels.shape[AXES[checked_axis(axis)]]
    if number is None or not 0 <= number < count:
        raise InputError(f"There are {axis} planes 0 to {count - 1}, got {index!r}.")
    return number


def inside(shape: tuple[int, ...], point: Sequence[float]) -> tuple[int, int, int]:
    """Return a point as voxel indices, or refuse one outside the volume."""
    try:
        z, y, x = (int(np.floor(v + 0.5)) for v in point)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"A point is (z, y, x) in voxels, got {point!r}.") from None
    if not all(0 <= v < n for v, n in zip((z, y, x), shape, strict=True)):
        raise InputError(f"The point {(z, y, x)} (z, y, x) is outside the volume {tuple(shape)}.")
    return z, y, x


def _shape(labels: Volume) -> tuple[int, int, int]:
    z, y, x = labels.shape
    return z, y, x


def _on_plane(labels: Volume, points: Points, axis: Axis) -> tuple[npt.NDArray[np.int64], int]:
    """Return the points as whole voxels without repeats, and the index of their common plane."""
    try:
        line = np.asarray(points, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("A stroke is an (n, 3) array of (z, y, x); these points are not numbers.") from None
    line = line[None] if line.ndim == 1 else line
    if line.ndim != 2 or line.shape[1] != 3 or not len(line):
        raise InputError(f"A stroke is an (n, 3) array of (z, y, x), got shape {line.shape}.")
    if not np.isfinite(line).all() or np.abs(line).max() > 2**31:
        raise InputError("A stroke has points that are not positions (NaN, infinite, or beyond 2**31).")
    whole = np.floor(line + 0.5).astype(np.int64)
    kept = AXES[checked_axis(axis)]
    index = int(whole[0, kept])
    if (whole[:, kept] != index).any():
        raise InputError(f"A stroke lies on one {axis} plane; these points are on planes {np.unique(whole[:, kept])}.")
    checked_index(labels, axis, index)
    new = np.ones(len(whole), bool)
    new[1:] = (np.diff(whole, axis=0) != 0).any(axis=1)
    return whole[new], index


def _brushed(
    labels: Volume, line: npt.NDArray[np.int64], radius: float, axis: Axis, index: int, after: int, only: int | None
) -> list[Part]:
    """Return what a stroke changes."""
    kept = AXES[axis]
    h, w = (n for i, n in enumerate(labels.shape) if i != kept)
    covered = stroke(np.delete(line, kept, axis=1).astype(np.float64), radius, (h, w))
    return [_on(labels, axis, index, covered, after, only)] if len(covered) else []


def _on(
    labels: Volume, axis: Axis, index: int, pixels: npt.NDArray[np.int64], after: int, only: int | None = None
) -> Part:
    """Return the change of pixels (flat index, ascending) of a plane, in the smallest box that holds them."""
    width = [n for i, n in enumerate(labels.shape) if i != AXES[axis]][1]
    rows, columns = np.divmod(pixels, width)
    top, left, bottom, right = int(rows[0]), int(columns.min()), int(rows[-1]) + 1, int(columns.max()) + 1
    box = _plane_box(axis, index, top, left, (bottom - top, right - left))
    return part_of(labels, box, (rows - top) * (right - left) + (columns - left), after, only=only)


def _plane_box(axis: Axis, index: int, top: int, left: int, shape: tuple[int, ...]) -> Box:
    """Return the box of a rectangle on a plane."""
    start, stop = [top, left], [top + shape[0], left + shape[1]]
    start.insert(AXES[axis], index)
    stop.insert(AXES[axis], index + 1)
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def _object(labels: Volume, id: int, box: Box, after: int) -> list[Part]:
    """Return the change that gives an object another id."""
    return [part_of(labels, piece, np.flatnonzero(labels[piece.slices] == id), after) for piece in pieces(box)]


def _known(id: int, boxes: Mapping[int, Box]) -> None:
    """Refuse background and ids that no voxel has."""
    if checked_id(id) == 0:
        raise InputError("0 is background, not an object. Pick an object.")
    if id not in boxes:
        raise InputError(f"There is no object {id}. It may have been merged or deleted.")
