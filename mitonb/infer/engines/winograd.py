"""3x3 convolutions in float32 with a quarter of the multiplications, for the CPU.

Method: Winograd's F(4x4, 3x3), as Lavin & Gray, Fast Algorithms for Convolutional Neural Networks (2016), with their
matrices. A tile of 4x4 output pixels needs 6x6 input pixels; both these and the 3x3 weights are transformed to 36 taps,
and at each tap channels meet channels in a product of matrices. What comes out differs from the plain sum by rounding,
about 5e-5 of a standard deviation.

A block of tiles goes through all steps before the next one begins, so that what lies between them stays in the cache.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import config

from mitonb.infer.engines.panels import LANES, PANEL, ROWS, multiply
from mitonb.post.compiled import jit

__all__ = ["Layer", "can_convolve", "convolved", "is_fast"]

Floats = npt.NDArray[np.float32]

_TILES = 18 if LANES == 8 else 16
"""Tiles of a block, a multiple of the rows."""
_THREADS = 8
_WIDEST = 1 << 16
"""Most pairs of channels: weights become four times as many, and wider layers would fill memory to gain little."""
_GAP = 80
"""Numbers between one tap and the next: at round distances they would fight for the same places of the cache."""
_WEIGHTS = np.array([
    [1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1],
])  # fmt: skip
"""Lavin & Gray's G: from 3 weights to 6 taps."""


def is_fast(threads: int) -> bool:
    """Return whether this processor should work like this: with wide registers, and on few threads.

    Each convolution hands out work once for all threads, which takes some 20 microseconds for each of them.
    """
    return LANES >= 8 and threads <= _THREADS


def can_convolve(weights: npt.NDArray[Any]) -> bool:
    """Return whether a `Layer` can be made of (c_out, c_in, h, w) weights, and is worth it."""
    settings: Any = config
    c_out, c_in, *size = weights.shape
    fits = size == [3, 3] and c_out % PANEL == 0 and c_in % 2 == 0
    return fits and c_in >= LANES and c_in * c_out <= _WIDEST and not settings.DISABLE_JIT


@dataclass(frozen=True)
class Layer:
    """A 3x3 convolution with padding 1 and ReLU.

    Attributes
    ----------
    weights : float32 array
        Transformed: taps, panels of output channels, input channels, output channels of a panel.
    bias : (c_out,) float32 array
    c_in : int
    """

    weights: Floats
    bias: Floats
    c_in: int

    @classmethod
    def of(cls, weights: npt.NDArray[Any], bias: npt.NDArray[Any]) -> Layer:
        """Return the layer with (c_out, c_in, 3, 3) weights and (c_out,) biases."""
        c_out, c_in = weights.shape[:2]
        # In float64: this is done once, and its error would be in every pixel.
        taps = np.einsum("ai,bj,kcij->abck", _WEIGHTS, _WEIGHTS, weights.astype(np.float64), optimize=True)
        panels = taps.reshape(36, c_in, c_out // PANEL, PANEL).transpose(0, 2, 1, 3)
        kept = _aligned(panels.size)
        kept[:] = panels.ravel()
        return cls(kept, np.array(bias, np.float32).ravel(), c_in)


def convolved(x: Floats, layer: Layer, skip: Floats | None, out: Floats, threads: int) -> None:
    """Write ReLU(convolution of x + bias + skip) to `out`.

    Parameters
    ----------
    x : (h, w, c_in) contiguous array
    layer : Layer
    skip : (h, w, c_out) contiguous array, optional
        Added before ReLU.
    out : (h, w, c_out) contiguous array
    threads : int
        How many threads share the work.
    """
    h, w, c_in = x.shape
    assert c_in == layer.c_in
    flat = (x.reshape(-1), h, w, c_in, layer.weights, layer.bias, (out if skip is None else skip).reshape(-1))

    def part(k: int) -> None:
        _convolve(*flat, skip is not None, out.reshape(-1), _scratch(c_in, len(layer.bias)), k, threads)

    others = [_pool(threads - 1).submit(part, k) for k in range(1, threads)]
    part(0)
    for other in others:
        other.result()


@cache
def _pool(size: int) -> ThreadPoolExecutor:
    # No more threads than work: one too many, and the system may put two of them on one core.
    return ThreadPoolExecutor(size, "winograd")


def _aligned(size: int) -> Floats:
    """Return zeros that begin with a line of the cache: registers that straddle two are read at half the speed."""
    room = np.zeros(size + 16, np.float32)
    start = -room.ctypes.data % 64 // 4
    return room[start : start + size]


_own = threading.local()


def _scratch(c_in: int, c_out: int) -> Floats:
    """Return room for the steps of one block, kept by each thread: fresh memory costs more than what is done in it."""
    size = 36 * (_TILES * (c_in + c_out) + 2 * _GAP) + _GAP + 72 * max(c_in, c_out)
    if getattr(_own, "room", None) is None or _own.room.size < size:
        _own.room = _aligned(size)
    room: Floats = _own.room
    return room


@jit
def _convolve(
    x: Any,
    h: Any,
    w: Any,
    c_in: Any,
    weights: Any,
    bias: Any,
    skip: Any,
    has_skip: Any,
    out: Any,
    room: Any,
    part: Any,
    parts: Any,
) -> None:
    """Do one part of all blocks; arrays are flat, pixels row by row, channels of a pixel together."""
    c_out = bias.size
    across = (w + 3) // 4
    tiles = (h + 3) // 4 * across
    blocks = (tiles + _TILES - 1) // _TILES
    step_in, step_out = _TILES * c_in + _GAP, _TILES * c_out + _GAP  # from tap to tap
    taps, sums = room[: 36 * step_in], room[36 * step_in : 36 * (step_in + step_out)]
    half = room[36 * (step_in + step_out) + _GAP :]
    for block in range(blocks * part // parts, blocks * (part + 1) // parts):
        first = block * _TILES
        count = min(_TILES, tiles - first)
        for t in range(count):
            _taps(x, h, w, c_in, (first + t) // across * 4, (first + t) % across * 4, taps, t, half)
        for tap in range(36):
            for panel in range(c_out // PANEL):
                for row in range(0, count, ROWS):
                    multiply(  # type: ignore[call-arg]  # the first argument is the compiler's
                        taps, tap * step_in + row * c_in, c_in,
                        weights, (tap * (c_out // PANEL) + panel) * c_in * PANEL, c_in,
                        sums, tap * step_out + row * c_out + panel * PANEL, c_out,
                    )  # fmt: skip
        for t in range(count):
            y, column = (first + t) // across * 4, (first + t) % across * 4
            _pixels(sums, t, c_out, bias, skip, has_skip, out, h, w, y, column, half)


@jit
def _taps(x: Any, h: Any, w: Any, c: Any, y: Any, column: Any, taps: Any, t: Any, half: Any) -> None:
    """Transform the 6x6 pixels around a tile: columns first, then rows."""
    source, start, step = x, ((y - 1) * w + column - 1) * c, w * c
    if y == 0 or column == 0 or y + 5 > h or column + 5 > w:
        source, start, step = half[36 * c :], 0, 6 * c
        for i in range(6):
            for j in range(6):
                to = source[(i * 6 + j) * c : (i * 6 + j + 1) * c]
                if 0 <= y - 1 + i < h and 0 <= column - 1 + j < w:
                    place = ((y - 1 + i) * w + column - 1 + j) * c
                    to[:] = x[place : place + c]
                else:
                    to[:] = 0
    for j in range(6):
        _six(source, start + j * c, step, half, j * c, 6 * c, c)
    by = _TILES * c + _GAP
    for i in range(6):
        _six(half, i * 6 * c, c, taps, i * 6 * by + t * c, by, c)


@jit
def _six(source: Any, start: Any, step: Any, out: Any, to: Any, by: Any, c: Any) -> None:
    """Apply Lavin & Gray's B transposed to six vectors of c channels, which lie `step` apart, to `by` apart."""
    s0, s1, s2 = source[start : start + c], source[start + step :], source[start + 2 * step :]
    s3, s4, s5 = source[start + 3 * step :], source[start + 4 * step :], source[start + 5 * step :]
    o0, o1, o2 = out[to : to + c], out[to + by :], out[to + 2 * by :]
    o3, o4, o5 = out[to + 3 * by :], out[to + 4 * by :], out[to + 5 * by :]
    four, two, five = np.float32(4), np.float32(2), np.float32(5)
    for k in range(c):
        a, b, d, e, f, g = s0[k], s1[k], s2[k], s3[k], s4[k], s5[k]
        even, odd, late, skew = f - four * d, e - four * b, f - d, two * (e - b)
        o0[k] = four * a - five * d + f
        o1[k] = even + odd
        o2[k] = even - odd
        o3[k] = late + skew
        o4[k] = late - skew
        o5[k] = four * b - five * e + g


@jit
def _pixels(
    sums: Any,
    t: Any,
    c: Any,
    bias: Any,
    skip: Any,
    has_skip: Any,
    out: Any,
    h: Any,
    w: Any,
    y: Any,
    column: Any,
    half: Any,
) -> None:
    """Transform the taps of a tile back to 4x4 pixels, and write those that lie in the picture."""
    by = _TILES * c + _GAP
    for j in range(6):
        _four(sums, j * by + t * c, 6 * by, half, j * c, 6 * c, c)
    row = half[36 * c :]
    zero = np.float32(0)
    for i in range(min(4, h - y)):
        _four(half, i * 6 * c, c, row, 0, c, c)
        for j in range(min(4, w - column)):
            place = ((y + i) * w + column + j) * c
            to, values, more = out[place : place + c], row[j * c :], skip[place:]
            if has_skip:
                for k in range(c):
                    to[k] = max(values[k] + bias[k] + more[k], zero)
            else:
                for k in range(c):
                    to[k] = max(values[k] + bias[k], zero)


@jit
def _four(source: Any, start: Any, step: Any, out: Any, to: Any, by: Any, c: Any) -> None:
    """Apply Lavin & Gray's A transposed to six vectors of c channels, which lie `step` apart, to `by` apart."""
    s0, s1, s2 = source[start : start + c], source[start + step :], source[start + 2 * step :]
    s3, s4, s5 = source[start + 3 * step :], source[start + 4 * step :], source[start + 5 * step :]
    o0, o1, o2, o3 = out[to : to + c], out[to + by :], out[to + 2 * by :], out[to + 3 * by :]
    two, four, eight = np.float32(2), np.float32(4), np.float32(8)
    for k in range(c):
        a, b, d, e, f, g = s0[k], s1[k], s2[k], s3[k], s4[k], s5[k]
        near, far, near_skew, far_skew = b + d, e + f, b - d, e - f
        o0[k] = a + near + far
        o1[k] = near_skew + two * far_skew
        o2[k] = near + four * far
        o3[k] = near_skew + eight * far_skew + g
