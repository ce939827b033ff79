"""Tiles: how a picture is cut for the net, how maps of tiles become one, and pictures of another pixel size."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Cut:
    """Where the net looks along one side of a picture.

    Attributes
    ----------
    start, stop : int
        First pixel and first pixel beyond.
    before, after : int
        Pixels shared with the tile before and after; 0 at the ends of the picture.
    """

    start: int
    stop: int
    before: int = 0
    after: int = 0

    def __len__(self) -> int:
        return self.stop - self.start


def cuts(length: int, tile: int, halo: int, multiple: int) -> list[Cut]:
    """Cut one side of a picture into tiles that share margins.

    Starts are multiples of `multiple`, so that a net with strides sees every pixel at the same place of its grid,
    however the picture is cut.

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
    """Return how much each pixel of a tile counts where tiles overlap, along one side.

    The outer quarter of a shared margin counts nothing, since the net lacked context there; then the weight rises to 1.
    With a step, there is one number for each of `len(cut) / step` map pixels.
    """
    place = np.arange(0, len(cut), step, dtype=np.float32)
    rise = _ramp(place, cut.before) * _ramp(len(cut) - 1 - place, cut.after)
    return rise.astype(np.float32)


def _ramp(distance: Picture, margin: int) -> Picture:
    if margin == 0:
        return np.ones_like(distance)
    skip = margin / 4
    # The floor keeps the sum of all weights above 0 whatever the overlap.
    return np.clip((distance + 0.5 - skip) / (margin - 2 * skip), 1e-6, 1.0)


class Canvas:
    """The maps of a plane or a block, put together from those of its tiles; where no tile came, they stay 0.

    Parameters
    ----------
    shape : tuple of int
        ([d,] h, w) of what the net sees.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._whole: dict[str, Picture] | None = None
        self._sums: dict[str, Picture] = {}
        self._weights: dict[tuple[int, ...], Picture] = {}  # heads of one resolution share them

    def add(self, tile: Sequence[Cut], heads: Mapping[str, Picture]) -> None:
        """Add the heads of one tile, each (channels, [d,] h, w) at a whole multiple or fraction of its resolution."""
        sides = tuple(map(len, tile))
        if sides == self._shape:
            self._whole = dict(heads)
            return
        seen = set()
        for name, values in heads.items():
            up = max(1, values.shape[-1] // sides[-1])
            down = max(1, sides[-1] // values.shape[-1])
            shape = tuple(n * up // down for n in self._shape)
            weight: Any = np.float32(1)
            for cut in tile:
                weight = np.multiply.outer(weight, weights(cut, down).repeat(up))
            place = tuple(slice(c.start * up // down, c.stop * up // down) for c in tile)
            if name not in self._sums:
                self._sums[name] = np.zeros((len(values), *shape), np.float32)
            self._sums[name][(slice(None), *place)] += values * weight
            if shape not in seen:
                self._weights.setdefault(shape, np.zeros(shape, np.float32))[place] += weight
                seen.add(shape)

    def maps(self) -> dict[str, Picture]:
        """Return the weighted mean of all tiles by name, each (channels, [d,] h, w)."""
        if self._whole is not None:
            return self._whole
        for sums in self._sums.values():
            weight = self._weights[sums.shape[1:]]
            np.divide(sums, weight, out=sums, where=weight > 0)
        return self._sums


def padded(image: Picture, multiple: int, *, grey: bool = False) -> Picture:
    """Grow an image at the far ends to a multiple, by reflection, or by zeros: grey, once it is normalised."""
    grow = [(0, -n % multiple) for n in image.shape]
    return np.pad(image, grow, mode="constant" if grey else "reflect")


def resample(values: Picture, axis: int, count: int, step: float, start: float = 0.0) -> Picture:
    """Return an array with `count` places along an axis, the first at `start`, each `step` pixels from the next.

    Each is the mean around its place under a triangle that reaches one step, and at least one pixel, to both sides:
    what is enlarged goes linearly from pixel to pixel, and fine texture that is shrunk does not turn into moire. The
    picture is reflected at its ends.
    """
    from scipy.sparse import csr_array

    n = values.shape[axis]
    if step == 1 and start == 0:
        return values.take(range(count), axis) if count < n else values
    reach = max(1.0, step)
    place = start + step * np.arange(count)
    near = np.ceil(place - reach).astype(np.int64)[:, None] + np.arange(int(2 * reach) + 1)
    share = np.maximum(0, 1 - np.abs(near - place[:, None]) / reach)
    share /= share.sum(axis=1, keepdims=True)
    near %= 2 * n
    near = np.minimum(near, 2 * n - 1 - near)
    rows = np.arange(count).repeat(near.shape[1])
    table = csr_array((share.ravel(), (rows, near.ravel())), shape=(count, n))
    moved = np.moveaxis(values, axis, 0)
    flat = table @ moved.reshape(n, -1)
    return np.ascontiguousarray(np.moveaxis(flat.reshape(count, *moved.shape[1:]), 0, axis), dtype=np.float32)
