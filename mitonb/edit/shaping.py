"""Shaping: objects grown, shrunk, smoothed, filled, and put in order; pure functions.

All take ids and boxes as `mitonb.edit.ops.merge`, and none changes a voxel of another object. Lengths are in the
smallest side of a voxel, and as long in all directions where the voxel size is known.
"""

from __future__ import annotations

from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import cc3d
import numpy as np
from scipy import ndimage

from mitonb.edit import ops, splitting
from mitonb.edit.edits import Edit, Mask, Part, Volume, part_of
from mitonb.errors import InputError
from mitonb.stack import AXES, Axis, checked_axis, whole_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from mitonb.box import Box
    from mitonb.stack import VoxelSize

MOST = 64.0
"""Longest that an object may be grown, shrunk or smoothed by at once."""


def grow(
    labels: Volume, ids: Sequence[int], boxes: Mapping[int, Box], by: float, voxel_size: VoxelSize | None = None
) -> Edit:
    """Take what lies on background and no further than `by` from an object into it."""
    return _shaped("grow", labels, ids, boxes, by, voxel_size, lambda mask, sides: _away(~mask, sides) <= by)


def shrink(
    labels: Volume, ids: Sequence[int], boxes: Mapping[int, Box], by: float, voxel_size: VoxelSize | None = None
) -> Edit:
    """Drop what lies no further than `by` from the surface of an object; the edge of the volume is none.

    Raises
    ------
    InputError
        If nothing would be left.
    """
    return _shaped("shrink", labels, ids, boxes, by, voxel_size, lambda mask, sides: _away(mask, sides) > by)


def smooth(
    labels: Volume, ids: Sequence[int], boxes: Mapping[int, Box], by: float, voxel_size: VoxelSize | None = None
) -> Edit:
    """Even out what is finer than `by`; errors as in `shrink`."""

    def even(mask: Mask, sides: npt.NDArray[np.float64]) -> Mask:
        return np.asarray(ndimage.gaussian_filter(mask.astype(np.float32), by / sides, mode="nearest") > 0.5)

    return _shaped("smooth", labels, ids, boxes, by, voxel_size, even)


def fill_holes(labels: Volume, ids: Sequence[int], boxes: Mapping[int, Box]) -> Edit:
    """Take background that an object encloses on an xy plane into it."""

    def filled(mask: Mask, _: Any) -> Mask:
        return np.stack([ndimage.binary_fill_holes(plane) for plane in mask])

    return _shaped("fill_holes", labels, ids, boxes, 0, None, filled)


def keep_largest(labels: Volume, ids: Sequence[int], boxes: Mapping[int, Box]) -> Edit:
    """Drop all pieces of an object but the largest; pieces hang together across corners, too."""

    def largest(mask: Mask, _: Any) -> Mask:
        # As numbers: for masks of one voxel across cc3d has a path of its own that fails.
        return np.asarray(cc3d.largest_k(mask.view(np.uint8), k=1, connectivity=26) > 0)

    return _shaped("keep_largest", labels, ids, boxes, 0, None, largest)


def split_pieces(
    labels: Volume, ids: Sequence[int], boxes: Mapping[int, Box], new_ids: Callable[[int], list[int]]
) -> Edit:
    """Let each piece of an object be an object of its own; the largest keeps the id.

    Raises
    ------
    InputError
        If no object is in pieces.
    """
    known, used, found = _named(ids, boxes), 0, list[Edit]()
    for id in known:
        edit = splitting.split_pieces(labels, id, boxes, lambda n: new_ids(used + n)[used:])  # noqa: B023 (called now)
        used += len(edit.intent["new"])
        found.append(edit)
    if not used:
        raise InputError(f"{'They are' if len(known) > 1 else f'Object {known[0]} is'} in one piece.")
    new = [id for edit in found for id in edit.intent["new"]]
    return Edit.of("split_pieces", [part for edit in found for part in edit.parts], {"ids": known, "new": new})


def interpolate(labels: Volume, ids: Sequence[int], boxes: Mapping[int, Box], axis: Axis = "xy") -> Edit:
    """Fill the planes of an object between those where it is, half-way between their outlines, on background.

    Parameters
    ----------
    axis : {"xy", "xz", "yz"}
        Direction of the planes.

    Raises
    ------
    InputError
        If no plane is missing.
    """
    along = AXES[checked_axis(axis)]

    def between(mask: Mask, _: Any) -> Mask:
        planes = np.moveaxis(mask, along, 0).copy()
        there = np.flatnonzero(planes.any(axis=(1, 2)))
        for a, b in zip(there[:-1].tolist(), there[1:].tolist(), strict=True):
            for k in range(a + 1, b):
                planes[k] = _half_way(planes[a], planes[b], (k - a) / (b - a))
        return np.moveaxis(planes, 0, along)

    edit = _shaped("interpolate", labels, ids, boxes, 0, None, between)
    if not edit.parts:
        raise InputError(f"No {axis} plane is missing between those of the object: paint it on some planes first.")
    return replace(edit, intent={**edit.intent, "axis": axis})


def extrude(labels: Volume, ids: Sequence[int], boxes: Mapping[int, Box], axis: Axis, index: int, by: int = 1) -> Edit:
    """Copy the outlines that objects have on a plane to the planes beside it, on background.

    Parameters
    ----------
    axis : {"xy", "xz", "yz"}
        Direction of the planes.
    index : int
        The plane that is copied.
    by : int
        How many planes after it get them; of those before it, negative. They end at the edge of the volume.

    Raises
    ------
    InputError
        If an object is not on that plane, or there is no plane beside it.
    """
    index, along, count = ops.checked_index(labels, axis, index), AXES[axis], whole_number(by)
    if not count:
        raise InputError(
            f"An outline is copied to a number of planes, such as 1, or -3 for three before, got {by!r:.60}."
        )
    ends = sorted((index, min(max(index + count, -1), labels.shape[along])))
    planes = [k for k in range(max(ends[0], 0), ends[1] + 1) if k != index and k < labels.shape[along]]
    if not planes:
        raise InputError(f"There is no {axis} plane {'after' if count > 0 else 'before'} plane {index}.")

    parts = list[Part]()
    for id in (known := _named(ids, boxes)):
        (top, left), (h, w) = (np.delete(end, along).tolist() for end in (boxes[id].start, boxes[id].shape))
        profile = labels[ops.plane_box(axis, index, (top, left), (h, w)).slices] == id
        if not profile.any():
            raise InputError(f"Object {id} is not on {axis} plane {index}. Go to a plane where it is.")
        places = (ops.plane_box(axis, plane, (top, left), (h, w)) for plane in planes)
        parts += [part_of(labels, place, id, where=profile, only=0) for place in places]
    return Edit.of(
        "extrude", parts, {"ids": known, "axis": axis, "index": index, "by": len(planes) if count > 0 else -len(planes)}
    )


def _half_way(one: Mask, other: Mask, part: float) -> Mask:
    """Return the profile at this part of the way between two, which move as their middles do."""
    middles = np.array([ndimage.center_of_mass(profile) for profile in (one, other)])
    here, depth = middles[0] * (1 - part) + middles[1] * part, np.zeros(one.shape)
    for profile, middle, share in ((one, middles[0], 1 - part), (other, middles[1], part)):
        inside = ndimage.distance_transform_edt(profile) - ndimage.distance_transform_edt(~profile)
        depth += share * ndimage.shift(inside, here - middle, order=1, cval=float(inside.min()))
    return np.asarray(depth > 0)


def merge_on_plane(labels: Volume, ids: Sequence[int], boxes: Mapping[int, Box], axis: Axis, index: int) -> Edit:
    """Give what other objects have on one plane to the first."""
    keep, *gone = _named(ids, boxes)
    if not gone:
        raise InputError(f"A merge needs at least two different objects, got only {keep}. Pick another one too.")
    return _on_plane("merge_on_plane", labels, [keep, *gone], gone, keep, axis, index)


def delete_on_plane(labels: Volume, ids: Sequence[int], boxes: Mapping[int, Box], axis: Axis, index: int) -> Edit:
    """Set objects to background on one plane."""
    known = _named(ids, boxes)
    return _on_plane("delete_on_plane", labels, known, known, 0, axis, index)


def _named(ids: Sequence[int], boxes: Mapping[int, Box]) -> list[int]:
    """Return ids without repeats, one at least, or refuse them."""
    if not ids:
        raise InputError("Name at least one object.")
    return ops.existing(ids, boxes)


def _on_plane(
    kind: str, labels: Volume, ids: list[int], changed: list[int], after: int, axis: Axis, index: int
) -> Edit:
    index = ops.checked_index(labels, axis, index)
    shape = tuple(n for i, n in enumerate(labels.shape) if i != AXES[axis])
    box = ops.whole_plane(labels, shape, axis, index)
    part = part_of(labels, box, after, where=np.isin(labels[box.slices], changed))
    return Edit.of(kind, [part], {"ids": ids, "axis": axis, "index": index})


def _away(mask: Mask, sides: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return how far each voxel of a mask lies from what is not in it; infinitely where that is nothing."""
    if mask.all():
        return np.full(mask.shape, np.inf)
    away: npt.NDArray[np.float64] = ndimage.distance_transform_edt(mask, sampling=sides)
    return away


def _shaped(
    kind: str, labels: Volume, ids: Sequence[int], boxes: Mapping[int, Box], by: float, voxel_size: VoxelSize | None,
    shape: Callable[[Mask, npt.NDArray[np.float64]], Mask],
) -> Edit:  # fmt: skip
    """Return the edit that gives objects another shape, on background alone."""
    if isinstance(by, bool) or not isinstance(by, Real) or not 0 <= by <= MOST:
        raise InputError(f"Objects are grown, shrunk and smoothed by 0 to {MOST:g} voxels, got {by!r:.60}.")
    nm = np.array(voxel_size or (1.0, 1.0, 1.0))
    sides = nm / nm.min()
    known, size = _named(ids, boxes), (labels.shape[0], labels.shape[1], labels.shape[2])

    def changes() -> Iterator[Part]:
        taken = np.zeros(size, bool)
        for id in known:
            z, y, x = (1 + int(by / side) for side in sides)
            # What is known of its place may be larger, by what was erased since: that must not make a difference.
            box = ops.smallest_box(labels, id, boxes[id]).grow((z, y, x)).clip(size)
            view = labels[box.slices]
            mask = view == id
            after = shape(mask, sides)
            if not after.any():
                raise InputError(f"Nothing of object {id} would be left. Delete it instead, or take a smaller step.")
            # Two objects may grow towards the same voxel: the first has it.
            new = after & (view == 0) & ~taken[box.slices]
            taken[box.slices] |= new
            yield part_of(labels, box, np.where(after & mask | new, id, 0).astype(np.uint32), where=mask | new)

    return Edit.of(kind, changes(), {"ids": known, **({"by": float(by)} if by else {})})
