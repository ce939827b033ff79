"""Parts of a volume: boxes, half-open cuboids on the voxel grid; regions, the part of a stack that is looked at."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from mitonb.errors import CorruptFileError, InputError
from mitonb.stack import AXES, Axis, Plane

Mask = npt.NDArray[np.bool_]
RegionLike: TypeAlias = "Region | Box | npt.NDArray[np.bool_]"


@dataclass(frozen=True, slots=True)
class Box:
    """A half-open cuboid on a voxel grid.

    Attributes
    ----------
    start, stop : tuple of int
        First voxel inside and first voxel beyond, in (z, y, x) order.

    Examples
    --------
    >>> Box((0, 2, 2), (1, 6, 4)).shape
    (1, 4, 2)
    """

    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Side lengths in voxels, (z, y, x); never negative."""
        z, y, x = (max(0, b - a) for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x

    @property
    def size(self) -> int:
        """Number of voxels inside."""
        z, y, x = self.shape
        return z * y * x

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index expression that cuts this box out of an array."""
        z, y, x = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x

    def grow(self, margin: int | tuple[int, int, int]) -> Box:
        """Return the box with a margin (voxels) added on every side."""
        m = (margin,) * 3 if isinstance(margin, int) else margin
        z0, y0, x0 = (a - d for a, d in zip(self.start, m, strict=True))
        z1, y1, x1 = (b + d for b, d in zip(self.stop, m, strict=True))
        return Box((z0, y0, x0), (z1, y1, x1))

    def clip(self, shape: tuple[int, int, int]) -> Box:
        """Return the part of the box that lies inside a volume of this shape."""
        z0, y0, x0 = (min(max(a, 0), n) for a, n in zip(self.start, shape, strict=True))
        z1, y1, x1 = (min(max(b, 0), n) for b, n in zip(self.stop, shape, strict=True))
        return Box((z0, y0, x0), (z1, y1, x1))

    def meets(self, other: Box) -> bool:
        """Return whether the boxes share a voxel."""
        ends = zip(self.start, other.start, self.stop, other.stop, strict=True)
        return all(max(a, b) < min(c, d) for a, b, c, d in ends)

    def overlap(self, other: Box) -> Box:
        """Return the part of the box that lies inside another, which it meets."""
        z0, y0, x0 = (max(a, b) for a, b in zip(self.start, other.start, strict=True))
        z1, y1, x1 = (min(a, b) for a, b in zip(self.stop, other.stop, strict=True))
        return Box((z0, y0, x0), (z1, y1, x1))

    def union(self, other: Box) -> Box:
        """Return the smallest box that holds both."""
        z0, y0, x0 = (min(a, b) for a, b in zip(self.start, other.start, strict=True))
        z1, y1, x1 = (max(a, b) for a, b in zip(self.stop, other.stop, strict=True))
        return Box((z0, y0, x0), (z1, y1, x1))


@dataclass(frozen=True, eq=False)
class Region:
    """Voxels of a stack that a run looks at.

    Attributes
    ----------
    shape : tuple of int
        (z, y, x) of the stack.
    box : Box
        Around the region.
    mask : (z, y, x) bool array or None
        True inside; None when the region is the whole box. May be a view that repeats one plane.
    """

    shape: tuple[int, int, int]
    box: Box
    mask: Mask | None = None

    @classmethod
    def of(cls, roi: RegionLike | None, shape: tuple[int, int, int]) -> Region | None:
        """Make a region from what a user gives.

        Parameters
        ----------
        roi : Region, Box or bool array, optional
            A mask has the (z, y, x) of the stack, or the (y, x) of its sections and then holds for all of them.
            None stays None.
        shape : tuple of int
            (z, y, x) of the stack.

        Raises
        ------
        InputError
            If the mask has another size or type, or nothing of the stack is inside.
        """
        if roi is None or isinstance(roi, Region):
            return roi
        if isinstance(roi, Box):
            box, mask = roi.clip(shape), None
        else:
            mask = _mask(roi, shape)
            box = around_of(mask)
        if not box.size:
            raise InputError(f"Nothing of this stack ({' x '.join(map(str, shape))} voxels) lies inside the region.")
        return cls(shape, box, mask)

    def touches(self, axis: Axis, index: int) -> bool:
        """Return whether any pixel of a plane is inside."""
        return bool(self.plane(axis, index).any())

    def plane(self, axis: Axis, index: int) -> Mask:
        """Return the (h, w) pixels of a plane that are inside."""
        k = AXES[axis]
        if self.mask is not None:
            return np.asarray(self.mask.take(index, k))
        rows, columns = (s for i, s in enumerate(self.box.slices) if i != k)
        h, w = (n for i, n in enumerate(self.shape) if i != k)
        inside = np.zeros((h, w), np.bool_)
        if self.box.start[k] <= index < self.box.stop[k]:
            inside[rows, columns] = True
        return inside

    def shadow(self, axis: Axis) -> Mask:
        """Return the (h, w) pixels that are inside in any plane of a direction."""
        k = AXES[axis]
        if self.mask is not None:
            return np.asarray(self.mask.any(axis=k))
        return self.plane(axis, self.box.start[k])

    def cut(self, ids: npt.NDArray[np.uint32], axis: Axis, index: int) -> npt.NDArray[np.uint32]:
        """Return the ids of a plane with background outside of the region."""
        return np.where(self.plane(axis, index), ids, np.uint32(0))

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can write and `from_json` reads."""
        values: dict[str, Any] = {"shape": self.shape, "box": [self.box.start, self.box.stop]}
        if self.mask is not None:
            part = self.mask[:1] if self.mask.strides[0] == 0 else self.mask  # one plane, repeated
            packed = zlib.compress(np.packbits(part).tobytes())
            values |= {"planes": len(part), "mask": base64.b64encode(packed).decode("ascii")}
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Region:
        """Read what `to_json` wrote."""
        z, y, x = values["shape"]
        (start, stop), mask = map(tuple, values["box"]), None
        if "mask" in values:
            size = values["planes"] * y * x
            packed = zlib.decompressobj().decompress(base64.b64decode(values["mask"]), max(1, -(-size // 8)))
            if len(packed) != -(-size // 8):  # never more is unpacked, whatever the text holds
                raise CorruptFileError("The mask of the region is cut off. Give the region again.")
            bits = np.frombuffer(packed, np.uint8)
            part = np.unpackbits(bits)[:size].reshape(-1, y, x)
            mask = np.broadcast_to(part.astype(np.bool_), (z, y, x))
        return cls((z, y, x), Box(start, stop), mask)


def in_plane(roi: RegionLike, plane: Plane) -> Mask:
    """Return the (h, w) pixels of a plane that are inside a box of its stack, or a mask of the plane itself.

    Raises
    ------
    InputError
        If the mask has another size, or nothing of the plane is inside.
    """
    if isinstance(roi, np.ndarray):
        if roi.shape != plane.shape or roi.dtype != np.bool_:
            raise InputError(f"A mask for this plane is {plane.shape} True and False, got {roi.shape} {roi.dtype}.")
        inside: Mask = roi
    elif isinstance(roi, Box):
        k = AXES[plane.axis]
        shape = list(plane.shape)
        shape.insert(k, max(plane.index + 1, roi.stop[k]))
        region = Region.of(roi, (shape[0], shape[1], shape[2]))
        assert region is not None
        inside = region.plane(plane.axis, plane.index)
    else:
        inside = roi.plane(plane.axis, plane.index)
    if not inside.any():
        raise InputError(f"The region does not touch {plane.axis} plane {plane.index}. Choose a plane inside of it.")
    return inside


def _mask(roi: Any, shape: tuple[int, int, int]) -> Mask:
    mask = np.asarray(roi)
    if mask.dtype != np.bool_:
        raise InputError(f"A region is a Box or a mask of True and False, such as labels.data > 0; got {mask.dtype}.")
    if mask.shape == shape[1:]:
        return np.broadcast_to(mask, shape)
    if mask.shape != shape:
        raise InputError(f"A mask for this stack is {shape} or {shape[1:]} (each section alike), got {mask.shape}.")
    return mask


def around_of(mask: npt.NDArray[Any]) -> Box:
    """Return the smallest box around what is not 0; an empty one where all is."""
    there = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    (z0, z1), (y0, y1), (x0, x1) = ((int(t[0]), int(t[-1]) + 1) if t.size else (0, 0) for t in there)
    return Box((z0, y0, x0), (z1, y1, x1))
