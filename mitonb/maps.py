"""Maps: what a network says about a plane or a block, head by head, in the form that decoding reads."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError

Image = npt.NDArray[Any]
Ids = npt.NDArray[np.unsignedinteger[Any]]
Points = npt.NDArray[np.int64]

HEADS = ("semantic", "center", "offsets", "contour", "distance", "affinities")
# What a net may draw. Semantic: logits of the classes, one channel, or the background and one for each class. Center:
# heatmap, 1 at the center of an object. Offsets: from each pixel to the center of its object, one channel for each
# axis, in pixels of the input. Contour: logits of the contours of objects. Distance: signed, to the border of the
# object, positive inside, before tanh brings it to -1..1. Affinities: for each axis, logits that a pixel and the one
# before it belong to one object.
COARSE = ("center", "offsets")
"""Heads that stand at the output stride of the network; all others stand at full resolution."""
FLOATS = (*COARSE, "distance")
"""Heads that are kept in float16; all others are probabilities, kept in one byte."""


@dataclass(frozen=True, eq=False)
class Maps:
    """Named maps of a plane (h, w) or of a block (d, h, w).

    Attributes
    ----------
    heads : mapping of arrays
        By name: `semantic` (classes, [d,] h, w) is the probability of each class, `contour`, `affinities` and the like
        (channels, [d,] h, w) are probabilities, too; `distance` (channels, [d,] h, w) grows towards the inside.
        Probabilities are uint8, in 1/255, or floats 0..1. `center` ([d',] h', w') is 1 at the center of an object, and
        `offsets` (2 or 3, [d',] h', w') lead from each pixel *to* the center of its object, as ([dz,] dy, dx) in
        pixels.
    output_stride : int
        Pixels per pixel of `center` and `offsets` on each axis: h' = ceil(h / output_stride) + beyond[0].
    pixel_offset : float
        Center pixel (i, j) stands at pixel (i * output_stride + pixel_offset, j * output_stride + pixel_offset): 0 for
        networks of ours, the middle of the block of `output_stride` pixels for MitoNet.
    beyond : tuple of int
        Rows and columns of `center` and `offsets` that lie in the padding at the bottom and right of the plane, which
        the published rules look at, too.
    """

    heads: Mapping[str, npt.NDArray[Any]]
    output_stride: int = 1
    pixel_offset: float = 0.0
    beyond: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "heads", dict(self.heads))
        fine = [name for name in self.heads if name not in COARSE]
        if not fine:
            raise InputError(f"Maps need a head at full resolution, such as semantic, got {', '.join(self.heads)}.")
        for name in fine:
            if self[name].ndim not in (3, 4) or self[name].shape[1:] != self.shape:
                raise InputError(
                    f"A {name} map is (channels, h, w), or (channels, d, h, w) of a block, and as large as the others "
                    f"{self.shape}, got shape {self[name].shape}."
                )
        if self.output_stride < 1:
            raise InputError(f"An output stride is a whole number of pixels, at least 1, got {self.output_stride}.")
        if not 0 <= self.pixel_offset < self.output_stride:
            raise InputError(
                f"Pixel offsets lie below the output stride of {self.output_stride} pixels, got {self.pixel_offset}."
            )
        more = (*(0,) * (len(self.shape) - 2), *self.beyond)
        want = tuple(-(-n // self.output_stride) + m for n, m in zip(self.shape, more, strict=True))
        for name, shape in (("center", want), ("offsets", (len(want), *want))):
            if name in self.heads and (min(self.beyond) < 0 or self[name].shape != shape):
                raise InputError(
                    f"Maps of {self.shape} pixels at output stride {self.output_stride} need {name} of shape {shape}, "
                    f"got {self[name].shape}."
                )

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """Return the map of a head, or say which there are."""
        try:
            return self.heads[name]
        except KeyError:
            raise InputError(f"This network has no {name} head, but {', '.join(self.heads)}.") from None

    def __contains__(self, name: object) -> bool:
        return name in self.heads

    @property
    def semantic(self) -> npt.NDArray[Any]:
        """Probability of each class, (classes, [d,] h, w)."""
        return self["semantic"]

    @property
    def center(self) -> npt.NDArray[Any]:
        """Heatmap of object centers, ([d',] h', w')."""
        return self["center"]

    @property
    def offsets(self) -> npt.NDArray[Any]:
        """Way from each pixel to the center of its object in pixels, (2 or 3, [d',] h', w')."""
        return self["offsets"]

    @property
    def shape(self) -> tuple[int, ...]:
        """(h, w) of the plane, or (d, h, w) of the block, in pixels."""
        return next(head.shape[1:] for name, head in self.heads.items() if name not in COARSE)

    @property
    def nbytes(self) -> int:
        """Memory that the maps take, in bytes."""
        return sum(head.nbytes for head in self.heads.values())

    def replace(self, **heads: npt.NDArray[Any]) -> "Maps":
        """Return maps in which some heads are others."""
        return replace(self, heads={**self.heads, **heads})

    def kept(self) -> "Maps":
        """Return the form that is kept for live decoding: one byte for probabilities, float16 for all else."""
        return replace(self, heads={name: _kept(name, head) for name, head in self.heads.items()})

    def cropped(self) -> "Maps":
        """Return maps whose center and offsets end where the plane does."""
        if self.beyond == (0, 0):
            return self
        h, w = (-(-n // self.output_stride) for n in self.shape)
        heads = {name: head[..., :h, :w] if name in COARSE else head for name, head in self.heads.items()}
        return replace(self, heads=heads, beyond=(0, 0))

    def cornered(self) -> "Maps":
        """Return maps without pixel offset: center and offsets between their places, linearly, in float32."""
        if self.pixel_offset == 0:
            return self
        part = np.float32(self.pixel_offset / self.output_stride)
        moved = {name: _moved(self[name], part, len(self.shape)) for name in COARSE if name in self}
        return replace(self, heads={**self.heads, **moved}, pixel_offset=0.0)


def _kept(name: str, head: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return one head in its kept form; a probability that is no number becomes 0."""
    if name in FLOATS:
        return head.astype(np.float16, copy=False)
    return head if head.dtype == np.uint8 else np.rint(np.fmin(np.fmax(head, 0), 1) * 255).astype(np.uint8)


def _moved(field: npt.NDArray[Any], part: np.float32, axes: int) -> npt.NDArray[np.float32]:
    """Return values at places that lie a part of a pixel before the pixels, on the last axes; the edge is repeated."""
    moved: npt.NDArray[np.float32] = field.astype(np.float32)
    for axis in range(-axes, 0):
        place = np.arange(moved.shape[axis])
        moved = moved * (1 - part) + moved.take(np.maximum(place - 1, 0), axis) * part
    return moved
