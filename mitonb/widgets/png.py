"""Pictures without matplotlib: arrays as PNG bytes and as addresses that HTML can hold."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
import numpy.typing as npt

__all__ = ["as_url", "gray", "png"]


def png(rgb: npt.NDArray[np.uint8]) -> bytes:
    """Return an (h, w, 3) or (h, w, 4) uint8 picture as PNG bytes.

    Examples
    --------
    >>> png(np.zeros((2, 3, 3), np.uint8))[:4]
    b'\\x89PNG'
    """
    h, w, channels = rgb.shape
    lines = np.zeros((h, 1 + w * channels), np.uint8)
    lines[:, 1:] = rgb.reshape(h, -1)
    head = struct.pack(">IIBBBBB", w, h, 8, {3: 2, 4: 6}[channels], 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def as_url(rgb: npt.NDArray[np.uint8]) -> str:
    """Return a picture as a data: address."""
    return f"data:image/png;base64,{base64.b64encode(png(rgb)).decode()}"


def gray(image: npt.NDArray[np.generic], low: float, high: float) -> npt.NDArray[np.uint8]:
    """Return a plane as (h, w, 3) grey between a black and a white point; what is not finite is black."""
    scaled = (np.nan_to_num(np.asarray(image, np.float32), nan=low, posinf=high, neginf=low) - low) / (high - low)
    return np.repeat((np.clip(scaled, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)
