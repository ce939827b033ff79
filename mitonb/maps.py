"""Maps: what a network says about one plane, in the form that decoding reads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError

__all__ = ["Ids", "Image", "Maps", "Points"]

Image = npt.NDArray[Any]
Ids = npt.NDArray[np.unsignedinteger[Any]]
Points = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Maps:
    """Semantic, center and offset maps of a plane.

    Attributes
    ----------
    semantic : (classes, h, w) uint8 or float array
        Probability of each class; uint8 counts in 1/255, floats are 0..1.
    center : (h', w') float array
        Heatmap of object centers, 1 at a center.
    offsets : (2, h', w') float array
        (dy, dx) in pixels of the plane, from each pixel *to* the center of its object.
    step : int
        Pixels of the plane per pixel of `center` and `offsets` on each axis: h' = ceil(h / step) + beyond[0].
    lead : float
        Map pixel (i, j) stands at plane pixel (i * step + lead, j * step + lead): 0 for maps of ours, the middle of the
        block of `step` pixels for those of MitoNet.
    beyond : tuple of int
        Rows and columns of `center` and `offsets` that lie in the padding at the bottom and right of the plane, which
        the published rules look at, too.
    """

    semantic: npt.NDArray[Any]
    center: npt.NDArray[np.floating[Any]]
    offsets: npt.NDArray[np.floating[Any]]
    step: int = 1
    lead: float = 0.0
    beyond: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.semantic.ndim != 3:
            raise InputError(f"A semantic map is (classes, h, w), got shape {self.semantic.shape}.")
        if self.step < 1:
            raise InputError(f"A step is a whole number of pixels, at least 1, got {self.step}.")
        if not 0 <= self.lead < self.step:
            raise InputError(f"A lead is from 0 to below the step of {self.step} pixels, got {self.lead}.")
        want = tuple(-(-n // self.step) + m for n, m in zip(self.shape, self.beyond, strict=True))
        if min(self.beyond) < 0 or self.center.shape != want or self.offsets.shape != (2, *want):
            raise InputError(
                f"Semantic {self.semantic.shape} at step {self.step} needs a center map {want} and offsets "
                f"{(2, *want)}, got {self.center.shape} and {self.offsets.shape}."
            )

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w) of the plane in pixels."""
        _, h, w = self.semantic.shape
        return h, w

    @property
    def nbytes(self) -> int:
        """Memory that the maps take, in bytes."""
        return int(self.semantic.nbytes + self.center.nbytes + self.offsets.nbytes)

    def kept(self) -> Maps:
        """Return the form that is kept for live decoding: uint8 semantic, float16 center and offsets."""
        semantic = self.semantic
        if semantic.dtype == np.uint8 and self.center.dtype == self.offsets.dtype == np.float16:
            return self
        if semantic.dtype != np.uint8:
            semantic = np.rint(np.fmin(np.fmax(semantic, 0), 1) * 255).astype(np.uint8)  # what is no number becomes 0
        center, offsets = (a.astype(np.float16, copy=False) for a in (self.center, self.offsets))
        return replace(self, semantic=semantic, center=center, offsets=offsets)

    def cropped(self) -> Maps:
        """Return maps whose center and offsets end where the plane does."""
        if self.beyond == (0, 0):
            return self
        h, w = (-(-n // self.step) for n in self.shape)
        return replace(self, center=self.center[:h, :w], offsets=self.offsets[:, :h, :w], beyond=(0, 0))

    def cornered(self) -> Maps:
        """Return maps without lead: center and offsets between their places, linearly, in float32."""
        if self.lead == 0:
            return self
        part = np.float32(self.lead / self.step)
        center, offsets = (_moved(a.astype(np.float32), part) for a in (self.center, self.offsets))
        return replace(self, center=center, offsets=offsets, lead=0.0)


def _moved(field: npt.NDArray[np.float32], part: np.float32) -> npt.NDArray[np.float32]:
    """Return values at places that lie a part of a pixel before the pixels of (..., h, w); the edge is repeated."""
    for axis in (-2, -1):
        place = np.arange(field.shape[axis])
        field = field * (1 - part) + field.take(np.maximum(place - 1, 0), axis) * part
    return field
