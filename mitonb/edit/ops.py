"""Operations: pure functions that say what a correction would change; the session applies and records it."""

from __future__ import annotations

import contextlib
import itertools
from base64 import b64decode, b64encode
from dataclasses import asdict, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mitonb.box import Box
from mitonb.edit.edits import Edit, Mask, Part, Volume, part_of
from mitonb.errors import AxesError, InputError
from mitonb.stack import AXES, Axis, VoxelSize, checked_axis, checked_plane

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

    from mitonb.recipe import Verdicts
MAX_ID = 2**32 - 1
MAX_RADIUS = 1024.0
MAX_BALL = 128.0
LONGEST_NOTE = 500

Points = npt.ArrayLike
Places: TypeAlias = "Mapping[int, Mapping[int, Box]]"
Line = npt.NDArray[np.int64]
Key = TypeVar("Key")
Value = TypeVar("Value")

_LONGEST = 1_000_000
_STEP = 64  # pixels of a long line that are looked at together
_MOST = 1 << 28  # pixels that all disks of a stroke may have, counted with repeats
_MOST_BALL = 1 << 25  # and on all planes of a ball: a few seconds, in which nobody else can write
# Objects and whole volumes are changed in pieces of about this many voxels, so that temporaries stay small.
_PIECE = 1 << 22


def paint(
    labels: Volume, points: Points, *, id: int, radius: float, axis: Axis = "xy", preserve: bool = False,
    ball: bool = False, voxel_size: VoxelSize | None = None, within: Mask | None = None,
) -> Edit:  # fmt: skip
    """Draw a round brush along a polyline on one plane, or a ball along it in all planes.

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
    ball : bool
        In all directions, with distances in nm: the radius is then in the smallest side of a voxel.
    voxel_size : tuple of float, optional
        (z, y, x) in nm, for a ball; None is the same in all directions.
    within : (h, w) bool array, optional
        Pixels of the plane on which alone it paints, such as those where a semantic map says enough; not for a ball.

    Raises
    ------
    InputError
        If the points are not on one plane of the volume, the id or radius is out of range, or the mask has another
        shape than the plane.
    """
    line = on_plane(labels, points, axis)
    intent = {**packed_line(line, axis), "id": checked_id(id), "radius": _checked_radius(radius)}
    if ball and within is not None:
        raise InputError(
            "A ball paints on several planes, and a mask is of one: paint without the ball, or without it."
        )
    intent |= {name: True for name, given in (("preserve", preserve), ("ball", ball)) if given}
    only = 0 if preserve else None
    if within is None:
        return Edit.of("paint", _brushed(labels, line, intent, intent["id"], only, voxel_size), intent)
    corner, covered = _brush(labels, line, intent)
    covered = _masked(labels, axis, corner, covered, within)
    parts = [_on(labels, axis, intent["plane"], corner, covered, intent["id"], only)] if covered.size else []
    return Edit.of("paint", parts, {**intent, "within": True})


def erase(
    labels: Volume, points: Points, *, radius: float, axis: Axis = "xy", only: int | None = None, ball: bool = False,
    voxel_size: VoxelSize | None = None,
) -> Edit:  # fmt: skip
    """Set to background along a polyline; with `only`, just the voxels of that object.

    Parameters and errors as in `paint`.
    """
    line = on_plane(labels, points, axis)
    intent = {**packed_line(line, axis), "radius": _checked_radius(radius)}
    if only is not None:
        intent["only"] = checked_id(only)
    intent |= {"ball": True} if ball else {}
    return Edit.of("erase", _brushed(labels, line, intent, 0, only, voxel_size), intent)


def lasso(
    labels: Volume, points: Points, *, id: int, axis: Axis = "xy", preserve: bool = False, subtract: bool = False
) -> Edit:
    """Give an id to what a closed line encloses on one plane, the line included.

    Parameters and errors as in `paint`; with `subtract`, what has the id there becomes background instead.
    """
    line = on_plane(labels, points, axis)
    intent: dict[str, Any] = {**packed_line(line, axis), "id": checked_id(id)}
    intent |= {name: True for name, given in (("preserve", preserve), ("subtract", subtract)) if given}
    h, w = (n for i, n in enumerate(labels.shape) if i != AXES[axis])
    corner, covered = enclosed(np.delete(line, AXES[axis], axis=1), (h, w))
    after, only = (0, intent["id"]) if subtract else (intent["id"], 0 if preserve else None)
    parts = [_on(labels, axis, intent["plane"], corner, covered, after, only)] if covered.size else []
    return Edit.of("lasso", parts, intent)


def fill(labels: Volume, point: Sequence[float], id: int, axis: Axis = "xy", *, within: Mask | None = None) -> Edit:
    """Give an id to the patch of equal ids around a point, inside its plane (neighbours share an edge).

    Raises
    ------
    InputError
        If the point is outside the volume, the id out of range, or the mask `within` (see `paint`) of another shape.
    """
    at, kept = inside(labels.shape, point), AXES[checked_axis(axis)]
    plane = np.moveaxis(labels, kept, 0)[at[kept]]
    pixel = tuple(v for i, v in enumerate(at) if i != kept)
    patches, _ = ndimage.label(plane == plane[pixel])
    number = patches[pixel]
    rows, columns = ndimage.find_objects(patches, number)[number - 1]
    corner, patch = (rows.start, columns.start), patches[rows, columns] == number
    intent: dict[str, Any] = {"point": list(at), "id": checked_id(id), "axis": axis}
    if within is not None:
        patch, intent["within"] = _masked(labels, axis, corner, patch, within), True
    return Edit.of("fill", [_on(labels, axis, at[kept], corner, patch, intent["id"])], intent)


def merge(labels: Volume, keep: int, gone: Sequence[int], places: Places) -> Edit:
    """Give the voxels of other objects to one object.

    Parameters
    ----------
    labels : (z, y, x) uint32 array
        Not changed.
    keep : int
        The id that stays.
    gone : sequence of int
        Ids that become `keep`.
    places : mapping of int to mapping of int to Box
        For every object disjoint boxes, by any numbers, that hold it; they may be larger than needed.

    Raises
    ------
    InputError
        If there is no such object, or nothing to merge.
    """
    others = [i for i in dict.fromkeys(map(checked_id, gone)) if i != checked_id(keep)]
    if not others:
        raise InputError(f"A merge needs at least two different objects, got only {keep}. Pick another one too.")
    keep, *others = existing([keep, *others], places)
    return Edit.of("merge", _objects(labels, others, places, keep), {"keep": keep, "gone": others})


def delete(labels: Volume, ids: Sequence[int], places: Places) -> Edit:
    """Set whole objects to background; parameters and errors as in `merge`."""
    if not ids:
        raise InputError("Name at least one object to delete.")
    known = existing(ids, places)
    return Edit.of("delete", _objects(labels, known, places, 0), {"ids": known})


def relabel(labels: Volume, id: int, to: int, places: Places) -> Edit:
    """Give an object another id, which no object has; parameters as in `merge`.

    Raises
    ------
    InputError
        If there is no such object, or the new id is taken or out of range.
    """
    (id,), to = existing([id], places), checked_id(to)
    if not to:
        raise InputError(f"0 is background, not an id of an object. Give object {id} an id from 1 to {MAX_ID}.")
    if to == id:
        raise InputError(f"Object {id} has this id already: give it one that is free.")
    if to in places:
        raise InputError(
            f"There is an object {to} already. Give object {id} an id that is free, or merge the two if they are one."
        )
    return Edit.of("relabel", _objects(labels, [id], places, to), {"id": id, "to": to})


def renamed(kind: str, intent: Mapping[str, Any]) -> tuple[int, ...]:
    """Return which id an edit took from an object, and which it gave to it; nothing of any edit but a relabel."""
    was, to = intent.get("id"), intent.get("to")
    # A project from elsewhere may hold anything.
    return (was, to) if kind == "relabel" and type(was) is type(to) is int and was > 0 and to > 0 else ()


def moved(found: Mapping[Key, Value], pair: Sequence[int]) -> dict[Key, Value]:
    """Return what is known of objects after one of them has got another id (`renamed`); the order stays."""
    was, to = pair or (0, 0)
    named: Any = {to if id == was else id: value for id, value in found.items() if id != to}
    return dict(found) if was == to else named


def mark(kind: str, ids: Sequence[int], boxes: Container[int]) -> Edit:
    """Judge whole objects without changing a voxel; parameters and errors as in `merge`."""
    if not ids:
        raise InputError("Name at least one object to mark.")
    return Edit(kind, (), {"ids": existing(ids, boxes)})


def mark_reviewed(labels: Volume, start: Sequence[int], stop: Sequence[int], reviewed: bool) -> Edit:
    """Say of a box that all in it is right, or take that back, without changing a voxel; errors as in `box_in`."""
    box = box_in(labels.shape, start, stop)
    return Edit("mark_reviewed", (), {"start": [*box.start], "stop": [*box.stop], "reviewed": bool(reviewed)})


def dismiss(labels: Volume, point: Sequence[float]) -> Edit:
    """Say of a place that nothing is missing there, without changing a voxel; errors as in `fill`."""
    return Edit("dismiss", (), {"point": [*inside(labels.shape, point)]})


def note(
    labels: Volume, text: str, ids: Sequence[int], point: Sequence[float] | None, boxes: Mapping[int, Box]
) -> Edit:
    """Keep a text about objects, or about a voxel, without changing one; an empty text takes that back.

    Raises
    ------
    InputError
        If the text is too long or has signs that cannot be shown, or it is about both, or about nothing that is there.
    """
    said = text.strip() if isinstance(text, str) else None
    if said is None or len(said) > LONGEST_NOTE or not said.isprintable():
        raise InputError(f"A note is one line of at most {LONGEST_NOTE} characters, got {text!r:.60}.")
    if bool(ids) is (point is not None):
        raise InputError("A note is about objects or about a point (z, y, x): name one of them.")
    about = {"ids": existing(ids, boxes)} if point is None else {"point": [*inside(labels.shape, point)]}
    return Edit("note", (), {"text": said, **about})


def put_object(labels: Volume, start: Sequence[int], mask: npt.NDArray[Any], id: int) -> Edit:
    """Give an id to the background in a mask.

    Parameters
    ----------
    labels : (z, y, x) uint32 array
        Not changed.
    start : (z, y, x)
        Where the mask begins.
    mask : (z, y, x) bool array
        What the object would cover; voxels of other objects stay theirs.
    id : int
        Of the object.

    Raises
    ------
    InputError
        If the mask does not lie in the volume, or the id is out of range.
    """
    inner = np.asarray(mask, bool)
    if inner.ndim != 3 or not inner.size:
        raise AxesError(f"The mask of an object has 3 axes (z, y, x) and is not empty, got shape {inner.shape}.")
    first = inside(labels.shape, start)
    box = box_in(labels.shape, first, np.add(first, inner.shape).tolist())
    parts = (
        part_of(labels, one, checked_id(id), where=inner[one.start[0] - first[0] : one.stop[0] - first[0]], only=0)
        for one in pieces(box)
    )
    return Edit.of("put_object", parts, {"id": int(id), "start": [*first]})


def teach(kind: str, labels: Volume, points: Points, *, radius: float, axis: Axis = "xy") -> Edit:
    """Say what the pixels along a polyline are without changing a voxel; parameters and errors as in `paint`."""
    line = on_plane(labels, points, axis)
    intent = {**packed_line(line, axis), "radius": _checked_radius(radius)}
    if not _brush(labels, line, intent)[1].size:
        raise InputError("A stroke that lies beside the plane teaches nothing. Draw it on the picture.")
    return Edit(kind, (), intent)


def drop_false(labels: Volume, ids: Sequence[int], places: Places, verdicts: Verdicts | None) -> Edit:
    """Set whole objects to background that are false by verdicts, or by none; parameters and errors as in `merge`."""
    edit = delete(labels, ids, places)
    return replace(edit, kind="drop_false", intent={**edit.intent, "verdicts": verdicts and asdict(verdicts)})


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
    part = part_of(labels, box, np.expand_dims(ids, AXES[axis]))
    return Edit.of("put_plane", [part], {"axis": axis, "index": int(index)})


def whole_plane(labels: Volume, shape: tuple[int, ...], axis: Axis, index: int) -> Box:
    """Return where a plane of this (h, w) lies; errors as in `put_plane`."""
    index = checked_index(labels, axis, index)
    want = tuple(n for i, n in enumerate(labels.shape) if i != AXES[axis])
    if shape != want:
        raise AxesError(f"A {axis} plane of these labels is {want}, got {shape}.")
    return plane_box(axis, index, (0, 0), want)


def adopt(labels: Volume, new: Volume) -> Edit:
    """Replace all labels by others of the same shape.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    if new.shape != labels.shape:
        raise AxesError(f"These labels are {labels.shape}, got {new.shape}. They must lie on the same voxels.")
    return Edit.of("adopt", (part_of(labels, piece, new[piece.slices]) for piece in pieces(whole_box(labels))), {})


# --- brushes ------------------------------------------------------------------------------------------------------


def trail(points: npt.NDArray[Any]) -> Line:
    """Return the (m, 2) pixels of a polyline: rounded half up, each at most one step from the one before.

    Raises
    ------
    InputError
        If the line is longer than a million pixels.
    """
    corners = np.floor(points + 0.5)
    if np.abs(np.diff(corners, axis=0)).sum() > _LONGEST:
        raise InputError(f"A stroke has at most {_LONGEST} pixels. Paint it in pieces.")
    corners = corners.astype(np.int64)
    moves = np.diff(corners, axis=0)
    counts = np.abs(moves).max(axis=1)
    segment = np.repeat(np.arange(len(moves)), counts)
    done = np.arange(len(segment)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    part = (done / counts[segment])[:, None]
    steps = corners[segment] + np.floor(moves[segment] * part + 0.5).astype(np.int64)
    return np.concatenate([corners[:1], steps])


def stroke(
    points: npt.NDArray[Any], radius: float, shape: tuple[int, int], sides: Sequence[float] = (1.0, 1.0)
) -> tuple[tuple[int, int], Mask]:
    """Draw a disk along a polyline on a plane.

    Parameters
    ----------
    points : (n, 2) array
        (row, column) in pixels; may lie outside the plane.
    radius : float
        In pixels; 0 draws single pixels.
    shape : tuple of int
        (h, w) of the plane.
    sides : (2,) sequence of float
        Height and width of a pixel, in units of the radius.

    Returns
    -------
    corner : tuple of int
        First (row, column) of the smallest rectangle that holds what the brush covers.
    mask : (h, w) bool array
        What it covers there; empty when that is nothing.
    """
    if not 0 <= radius <= MAX_RADIUS:
        raise InputError(f"A brush radius is 0 to {MAX_RADIUS:g} pixels, got {radius}.")
    reach, centers = np.floor(radius / np.array(sides)).astype(np.int64), trail(points)
    centers = centers[((centers >= -reach) & (centers < np.add(shape, reach))).all(axis=1)]
    if not len(centers):
        return (0, 0), np.zeros((0, 0), bool)
    if len(centers) * (4 * radius + 1) > _MOST:
        raise InputError(
            f"A stroke of {len(centers)} pixels is too long for a radius of {radius:g}. Paint it in pieces."
        )
    low, high = np.maximum(centers.min(axis=0) - reach, 0), np.minimum(centers.max(axis=0) + reach + 1, shape)
    covered = np.zeros(high - low, bool)
    # Bit by bit along the line: distances take time and memory for every pixel that is looked at.
    for some in (centers[k : k + _STEP] for k in range(0, len(centers), _STEP)):
        begin, end = some.min(axis=0) - reach, some.max(axis=0) + reach + 1
        away = np.ones(end - begin, bool)
        away[tuple((some - begin).T)] = False
        near = ndimage.distance_transform_edt(away, sampling=sides) <= radius
        first, last = np.maximum(begin, low), np.minimum(end, high)
        covered[_window(first - low, last - low)] |= near[_window(first - begin, last - begin)]
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    if not len(rows):
        return (0, 0), np.zeros((0, 0), bool)
    top, left = int(rows[0]), int(columns[0])
    return (int(low[0]) + top, int(low[1]) + left), covered[top : rows[-1] + 1, left : columns[-1] + 1]


def enclosed(points: Line, shape: tuple[int, int]) -> tuple[tuple[int, int], Mask]:
    """Return what a closed polyline encloses on a plane, by the even-odd rule, itself included; as `stroke`.

    The page draws by the same rule (js/strokes.js).
    """
    ring = np.concatenate([points, points[:1]])
    outline = trail(ring)
    low, high = np.maximum(ring.min(axis=0), 0), np.minimum(ring.max(axis=0) + 1, shape)
    if (high <= low).any():
        return (0, 0), np.zeros((0, 0), bool)
    h, w = high - low
    flips = np.zeros((h, w + 1), np.int64)
    for (r0, c0), (r1, c1) in itertools.pairwise(ring.tolist()):
        rows = np.arange(max(min(r0, r1), low[0]), min(max(r0, r1), high[0]))
        if len(rows):
            columns = np.floor(c0 + (rows - r0) * (c1 - c0) / (r1 - r0)).astype(np.int64) + 1 - low[1]
            np.add.at(flips, (rows - low[0], np.clip(columns, 0, w)), 1)
    covered = np.cumsum(flips[:, :w], axis=1) % 2 == 1
    covered[tuple((outline[((outline >= low) & (outline < high)).all(axis=1)] - low).T)] = True
    return (int(low[0]), int(low[1])), covered


def _window(start: Line, stop: Line) -> tuple[slice, ...]:
    return tuple(slice(a, b) for a, b in zip(start, stop, strict=True))


def packed_line(line: Line, axis: Axis) -> dict[str, Any]:
    """Return a stroke for the journal: its plane, then (row, column) of the first point and the moves from there.

    A journal has thousands of strokes, and most moves fit into a byte: those are bytes in base64, half of their digits.

    Examples
    --------
    >>> packed_line(np.array([[3, 500, 600], [3, 504, 597]]), "xy")
    {'axis': 'xy', 'plane': 3, 'line': [500, 600, 'BP0=']}
    >>> packed_line(np.array([[3, 500, 600], [3, 900, 597]]), "xy")
    {'axis': 'xy', 'plane': 3, 'line': [500, 600, 400, -3]}
    """
    flat = np.delete(line, AXES[axis], axis=1)
    moves = np.diff(flat, axis=0).ravel()
    short = len(moves) and np.abs(moves).max() < 128
    packed = [b64encode(moves.astype(np.int8).tobytes()).decode()] if short else moves.tolist()
    return {"axis": axis, "plane": int(line[0, AXES[axis]]), "line": [*flat[0].tolist(), *packed]}


def unpacked_line(intent: Mapping[str, Any]) -> list[list[int]]:
    """Return the (z, y, x) points of a packed stroke."""
    steps = intent["line"]
    if isinstance(steps[-1], str):
        steps = [*steps[:-1], *np.frombuffer(b64decode(steps[-1]), np.int8)]
    flat = np.cumsum(np.reshape(steps, (-1, 2)), axis=0, dtype=np.int64)
    points: list[list[int]] = np.insert(flat, AXES[intent["axis"]], intent["plane"], axis=1).tolist()
    return points


# --- what is asked for, and where ---------------------------------------------------------------------------------


def pieces(box: Box) -> list[Box]:
    """Cut a box along z into boxes of about four million voxels."""
    z, y, x = box.shape
    depth = max(1, _PIECE // max(1, y * x))
    cuts = [*range(box.start[0], box.stop[0], depth), box.stop[0]]
    return [Box((a, *box.start[1:]), (b, *box.stop[1:])) for a, b in itertools.pairwise(cuts) if z]


def smallest_box(labels: Volume, id: int, box: Box) -> Box:
    """Return the smallest box around an object in a box that holds it."""
    (found,) = ndimage.find_objects((labels[box.slices] == id).view(np.uint8))
    start, stop = (
        tuple(o + getattr(side, end) for o, side in zip(box.start, found, strict=True)) for end in ("start", "stop")
    )
    return Box(start, stop)


def whole_box(labels: Volume) -> Box:
    """Return the box of all labels."""
    z, y, x = labels.shape
    return Box((0, 0, 0), (z, y, x))


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
    return checked_plane(index, labels.shape[AXES[checked_axis(axis)]], axis)


def inside(shape: tuple[int, ...], point: Sequence[float]) -> tuple[int, int, int]:
    """Return a point as voxel indices, or refuse one outside the volume."""
    try:
        z, y, x = (int(np.floor(v + 0.5)) for v in point)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"A point is (z, y, x) in voxels, got {point!r}.") from None
    if not all(0 <= v < n for v, n in zip((z, y, x), shape, strict=True)):
        raise InputError(f"The point {(z, y, x)} (z, y, x) is outside the volume {tuple(shape)}.")
    return z, y, x


def box_in(shape: tuple[int, ...], start: Any, stop: Any) -> Box:
    """Return a box by its first voxel and the one beyond its last, or refuse what is empty or reaches out."""
    first = inside(shape, start)
    last = stop
    with contextlib.suppress(TypeError, ValueError):  # what is no point is refused as it is
        last = np.subtract(stop, 1) if np.shape(stop) == (3,) else stop
    z, y, x = (n + 1 for n in inside(shape, last))
    box = Box(first, (z, y, x))
    if not box.size:
        raise InputError(f"A box has (z, y, x) of its first voxel and of the one beyond its last, got {start}, {stop}.")
    return box


def on_plane(labels: Volume, points: Points, axis: Axis) -> Line:
    """Return the points of a stroke as whole voxels of one plane, without repeats."""
    try:
        line = np.asarray(points, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("A stroke is an (n, 3) array of (z, y, x); these points are not numbers.") from None
    line = line[None] if line.ndim == 1 else line
    if line.ndim != 2 or line.shape[1] != 3 or not len(line):
        raise InputError(f"A stroke is an (n, 3) array of (z, y, x), got shape {line.shape}.")
    if not np.isfinite(line).all() or np.abs(line).max() > 2**31:
        raise InputError("A stroke has points that are not positions (NaN, infinite, or beyond 2**31).")
    whole: Line = np.floor(line + 0.5).astype(np.int64)
    planes = np.unique(whole[:, AXES[checked_axis(axis)]])
    if len(planes) > 1:
        raise InputError(f"A stroke lies on one {axis} plane; these points are on planes {planes}.")
    checked_index(labels, axis, planes[0])
    return np.delete(whole, 1 + np.flatnonzero((np.diff(whole, axis=0) == 0).all(axis=1)), axis=0)


def _brushed(
    labels: Volume, line: Line, how: Mapping[str, Any], after: int, only: int | None, voxel_size: VoxelSize | None
) -> list[Part]:
    """Return what a stroke changes."""
    axis, index, radius, along = how["axis"], how["plane"], how["radius"], AXES[how["axis"]]
    if not how.get("ball"):
        corner, covered = _brush(labels, line, how)
        return [_on(labels, axis, index, corner, covered, after, only)] if covered.size else []
    if not 0 <= radius <= MAX_BALL:
        raise InputError(f"The radius of a ball is 0 to {MAX_BALL:g} voxels, got {radius}.")
    nm = np.array(voxel_size or (1.0, 1.0, 1.0))
    side, sides = (nm / nm.min())[along], np.delete(nm / nm.min(), along)
    h, w = (n for i, n in enumerate(labels.shape) if i != along)
    flat, reach, parts = np.delete(line, along, axis=1), int(radius / side), list[Part]()
    planes = range(max(0, index - reach), min(labels.shape[along], index + reach + 1))
    if (count := len(trail(flat))) * (4 * radius + 1) * len(planes) > _MOST_BALL:
        raise InputError(f"A stroke of {count} pixels is too long for a ball of radius {radius:g}. Paint it in pieces.")
    for plane in planes:
        # On the outermost planes rounding may make less than nothing of what is left.
        rest = np.sqrt(max(0.0, radius**2 - ((plane - index) * side) ** 2))
        corner, covered = stroke(flat, rest, (h, w), sides.tolist())
        parts += [_on(labels, axis, plane, corner, covered, after, only)] if covered.size else []
    return parts


def _brush(labels: Volume, line: Line, how: Mapping[str, Any]) -> tuple[tuple[int, int], Mask]:
    """Return the corner of what a stroke covers on its plane, and which pixels from there."""
    h, w = (n for i, n in enumerate(labels.shape) if i != AXES[how["axis"]])
    return stroke(np.delete(line, AXES[how["axis"]], axis=1), how["radius"], (h, w))


def _masked(labels: Volume, axis: Axis, corner: tuple[int, int], covered: Mask, within: Mask) -> Mask:
    """Return what of a rectangle of a plane lies in a mask of that plane."""
    shape, (top, left), (h, w) = tuple(np.delete(labels.shape, AXES[axis]).tolist()), corner, covered.shape
    if np.shape(within) != shape:
        raise AxesError(f"A mask of an {axis} plane of these labels is {shape}, got {np.shape(within)}.")
    found: Mask = covered & np.asarray(within, bool)[top : top + h, left : left + w]
    return found


def _on(
    labels: Volume, axis: Axis, index: int, corner: tuple[int, int], mask: Mask, after: int, only: int | None = None
) -> Part:
    """Return the change of some pixels in a rectangle of a plane."""
    box = plane_box(axis, index, corner, mask.shape)
    return part_of(labels, box, after, where=np.expand_dims(mask, AXES[axis]), only=only)


def plane_box(axis: Axis, index: int, corner: tuple[int, int], shape: tuple[int, ...]) -> Box:
    """Return the box of a rectangle on a plane."""
    start, stop = list(corner), [a + n for a, n in zip(corner, shape, strict=True)]
    start.insert(AXES[axis], index)
    stop.insert(AXES[axis], index + 1)
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def _objects(labels: Volume, ids: Sequence[int], places: Places, after: int) -> Iterator[Part]:
    """Yield the changes that give objects another id."""
    return (part_of(labels, box, after, only=id) for id in ids for _, box in sorted(places[id].items()))


def existing(ids: Sequence[int], boxes: Container[int]) -> list[int]:
    """Return ids without repeats, or refuse background and those that no voxel has."""
    known = list(dict.fromkeys(map(checked_id, ids)))
    if 0 in known:
        raise InputError("0 is background, not an object. Pick an object.")
    for id in known:
        if id not in boxes:
            raise InputError(f"There is no object {id}. It may have been merged or deleted.")
    return known
