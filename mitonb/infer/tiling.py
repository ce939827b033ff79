"""Tiles: how a plane is cut for the net and put together again."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Canvas", "Cut", "cuts", "enlarged", "padded", "settled", "shrunk", "weights"]

Picture = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Cut:
    """Where the net looks along one side of a plane.

    Attributes
    ----------
    start, stop : int
        First pixel and first pixel beyond.
    before, after : int
        Pixels shared with the tile before and after; 0 at the ends of the plane.
    """

    start: int
    stop: int
    before: int = 0
    after: int = 0


def cuts(length: int, tile: int, halo: int, multiple: int) -> list[Cut]:
    """Cut one side of a plane into tiles that share margins.

    Starts are multiples of `multiple`, so that a net with strides sees every pixel at the same place of its grid,
    however the plane is cut.

    Parameters
    ----------
    length : int
        Pixels; a multiple of `multiple`.
    tile : int
        Pixels that the net sees at once, rounded up to a multiple; 0 takes everything.
    halo : int
        Margin on each side of a tile; at most a quarter of it.
    multiple : int
        What the net needs its input to be a multiple of.
    """
    side = -(-tile // multiple) * multiple
    if side == 0 or side >= length:
        return [Cut(0, length)]
    margin = min(halo, side // 4)
    stride = max(multiple, (side - 2 * margin) // multiple * multiple)
    starts = [*range(0, length - side, stride), length - side]
    edges = [(a, a + side) for a in starts]
    before = [0, *(max(0, p[1] - q[0]) for p, q in itertools.pairwise(edges))]
    return [Cut(a, b, m, n) for (a, b), m, n in zip(edges, before, [*before[1:], 0], strict=True)]


def weights(cut: Cut, step: int = 1) -> Picture:
    """Return how much each pixel of a tile counts where tiles overlap.

    The outer quarter of a shared margin counts nothing, since the net lacked context there; then the weight rises to 1.

    Parameters
    ----------
    cut : Cut
        The tile along one side.
    step : int
        Pixels per map pixel; the result has one number for each of `(stop - start) / step` map pixels.
    """
    place = np.arange(0, cut.stop - cut.start, step, dtype=np.float32)
    rise = _ramp(place, cut.before) * _ramp(cut.stop - cut.start - 1 - place, cut.after)
    return rise.astype(np.float32)


def _ramp(distance: Picture, margin: int) -> Picture:
    if margin == 0:
        return np.ones_like(distance)
    skip = margin / 4
    # The floor keeps the sum of all weights above 0 whatever the overlap.
    ramp: Picture = np.clip((distance + 0.5 - skip) / (margin - 2 * skip), 1e-6, 1.0)
    return ramp


class Canvas:
    """The maps of a plane, put together from those of its tiles; where no tile came, they stay 0.

    Parameters
    ----------
    shape : tuple of int
        (h, w) of the plane as the net sees it.
    step : int
        Its pixels per pixel of center and offsets.
    """

    def __init__(self, shape: tuple[int, int], step: int) -> None:
        self._shape, self._step = shape, step
        self._whole: tuple[Picture, Picture] | None = None
        self._sums: list[Picture] = []
        self._weights: list[Picture] = []

    def add(self, rows: Cut, columns: Cut, semantic: Picture, field: Picture) -> None:
        """Add the maps of one tile.

        Parameters
        ----------
        rows, columns : Cut
            Where it lies.
        semantic : (classes, h * scale, w * scale) array
            Probabilities, at a whole multiple of the resolution of the tile.
        field : (3, h / step, w / step) array
            Center and offsets.
        """
        if (rows.stop - rows.start, columns.stop - columns.start) == self._shape:
            self._whole = semantic, field
            return
        scale = semantic.shape[1] // (rows.stop - rows.start)
        if not self._sums:
            for parts, up, down in ((len(semantic), scale, 1), (len(field), 1, self._step)):
                h, w = (n * up // down for n in self._shape)
                self._sums.append(np.zeros((parts, h, w), np.float32))
                self._weights.append(np.zeros((h, w), np.float32))
        for k, (values, up, down) in enumerate(((semantic, scale, 1), (field, 1, self._step))):
            down_, across = (weights(cut, down).repeat(up) for cut in (rows, columns))
            weight = down_[:, None] * across
            place = tuple(slice(c.start * up // down, c.stop * up // down) for c in (rows, columns))
            self._sums[k][(slice(None), *place)] += values * weight
            self._weights[k][place] += weight

    def maps(self) -> tuple[Picture, Picture]:
        """Return the weighted mean of all tiles: semantic, and center with offsets."""
        if self._whole is not None:
            return self._whole
        for sums, weight in zip(self._sums, self._weights, strict=True):
            np.divide(sums, weight, out=sums, where=weight > 0)
        semantic, field = self._sums
        return semantic, field


def padded(image: Picture, multiple: int, *, grey: bool = False) -> Picture:
    """Grow an image at the bottom and right to a multiple, by reflection, or by zeros: grey, once it is normalised."""
    h, w = image.shape
    grow = ((0, -h % multiple), (0, -w % multiple))
    if not any(b for _, b in grow):
        return image
    return np.pad(image, grow) if grey else np.pad(image, grow, mode="reflect")


def shrunk(image: Picture, factor: int) -> Picture:
    """Shrink an image by a whole number; pixel (i, j) of the result stands at (i, j) * factor.

    A triangle of 2 * factor - 1 pixels is averaged on each axis first, so that fine texture does not turn into moire.
    """
    from scipy.ndimage import convolve1d

    if factor == 1:
        return image
    ramp = np.minimum(np.arange(1, 2 * factor), np.arange(2 * factor - 1, 0, -1)).astype(np.float32)
    ramp /= ramp.sum()
    down = convolve1d(image, ramp, axis=0, mode="reflect")[::factor]
    return np.ascontiguousarray(convolve1d(down, ramp, axis=1, mode="reflect")[:, ::factor])


def enlarged(maps: Picture, factor: int, shape: tuple[int, int]) -> Picture:
    """Undo `shrunk` for (n, h, w) maps, linearly between the places where they stand."""
    if factor == 1:
        return maps
    for axis, length in zip((1, 2), shape, strict=True):
        place = np.arange(length)
        low = place // factor
        high = np.minimum(low + 1, maps.shape[axis] - 1)
        part = ((place % factor) / factor).astype(np.float32)
        part = part[:, None] if axis == 1 else part
        maps = maps.take(low, axis) * (1 - part) + maps.take(high, axis) * part
    return maps


def settled(maps: Picture, factor: int, shape: tuple[int, int]) -> Picture:
    """Bring (n, h, w) maps that a net made `factor` times larger than a shrunk plane to the pixels of that plane.

    Such a net divides each pixel evenly into `factor` parts, so that part Y stands at (Y + 0.5) / factor - 0.5, whereas
    `shrunk` put pixel i at i * factor: plane pixel y lies between the parts y + factor / 2 - 1 and y + factor / 2.
    """
    for axis, length in zip((1, 2), shape, strict=True):
        last = maps.shape[axis] - 1
        low = np.minimum(np.arange(length) + factor // 2 - 1, last)
        maps = (maps.take(low, axis) + maps.take(np.minimum(low + 1, last), axis)) * np.float32(0.5)
    return maps
