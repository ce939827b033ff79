"""Boxes: half-open cuboids on the voxel grid of a volume."""

from __future__ import annotations

from dataclasses import dataclass


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

    def union(self, other: Box) -> Box:
        """Return the smallest box that holds both."""
        z0, y0, x0 = (min(a, b) for a, b in zip(self.start, other.start, strict=True))
        z1, y1, x1 = (max(a, b) for a, b in zip(self.stop, other.stop, strict=True))
        return Box((z0, y0, x0), (z1, y1, x1))
