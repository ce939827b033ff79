"""Halves: float16 maps, the kept form, made of float32 and widened to it faster than numpy does."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mitonb.post.compiled import jit

__all__ = ["narrowed", "widened"]


def widened(values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
    """Return an array as contiguous float32 values.

    Widening a plane of float16 takes numpy longer than all that decoding does with it: it goes value by value.
    """
    if values.dtype != np.float16:
        return np.ascontiguousarray(values, dtype=np.float32)
    result = np.empty(values.shape, np.float32)
    _widen(np.ascontiguousarray(values).view(np.uint16).reshape(-1), result.view(np.uint32).reshape(-1))
    # Exponents were moved as they stood; this mends their bias, and makes small numbers of those without one.
    result *= np.float32(2.0**112)
    return result


def narrowed(values: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float16]:
    """Return an array as contiguous float16 values, rounded as numpy rounds: to the nearest, of two to the even one."""
    values = np.ascontiguousarray(values, dtype=np.float32)
    result = np.empty(values.shape, np.float16)
    flat = values.reshape(-1)
    _narrow(flat, flat.view(np.uint32), result.view(np.uint16).reshape(-1))
    return result


@jit
def _narrow(values: Any, words: Any, out: Any) -> None:
    """Round all values in all three ways, small, normal and too large, and choose: no branch, so vector code."""
    for k in range(len(words)):
        rest = words[k] & np.uint32(0x7FFFFFFF)
        least = np.float32(2.0**-14)  # of normal halves; those below are multiples of 2 ** -24
        small = np.uint32(np.rint(min(abs(values[k]), least) * np.float32(2.0**24)))
        # Exponent less 112, and nearly half of what is cut off, more where what stays is odd.
        normal = np.uint32(rest - np.uint32(0x38000000 - 0x0FFF) + ((rest >> np.uint32(13)) & np.uint32(1)))
        half = small if rest < np.uint32(0x38800000) else normal >> np.uint32(13)
        half = half if rest < np.uint32(0x47800000) else np.uint32(0x7C00)
        half = half if rest <= np.uint32(0x7F800000) else np.uint32(0x7E00)
        out[k] = np.uint16(half | ((words[k] >> np.uint32(16)) & np.uint32(0x8000)))


@jit
def _widen(halves: Any, out: Any) -> None:
    """Move sign, exponent and fraction to their places; infinities stay, what is no number is a quiet NaN."""
    for k in range(len(halves)):
        half = np.uint32(halves[k])
        sign = (half & np.uint32(0x8000)) << np.uint32(16)
        rest = (half & np.uint32(0x7FFF)) << np.uint32(13)
        if half & np.uint32(0x7C00) == np.uint32(0x7C00):
            rest |= np.uint32(0x7FC00000) if half & np.uint32(0x03FF) else np.uint32(0x7F800000)
        out[k] = np.uint32(sign | rest)
