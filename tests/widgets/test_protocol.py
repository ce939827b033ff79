"""The wire: pixels in greys, in blocks and in strips."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from mitonb.widgets import protocol
from mitonb.widgets.style import gray
from mitonb.widgets.viewer import shrink


def test_coarser_images_are_means_of_blocks() -> None:
    image = np.array([[0, 2, 10], [4, 6, 30], [100, 100, 7]], np.uint8)
    assert shrink(image, 2).tolist() == [[3, 20], [100, 7]]
    assert shrink(image, 1) is image


def test_no_strip_of_any_plane_is_above_the_limit() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 2**32, (1500, 1100), dtype=np.uint32)
    for pixels, raw in ((noise, False), (noise.view(np.uint8), True), (np.zeros((3000, 3000), np.uint32), False)):
        rows = []
        for header, data in protocol.strips(pixels, raw=raw):
            assert len(data) <= protocol.MAX_REPLY
            assert header["y0"] == sum(rows)
            rows.append(header["rows"])
            piece = data if raw else zlib.decompress(data)
            assert piece == pixels[header["y0"] : header["y0"] + header["rows"]].tobytes()
        assert sum(rows) == len(pixels)
        assert header["last"]


def test_large_integers_keep_their_contrast() -> None:
    image = np.array([[2_000_000_000, 2_000_000_051, 2_000_000_255]], np.int32)
    assert gray(image, 2e9, 2e9 + 255).tolist() == [[0, 51, 255]]


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_every_dtype_becomes_grey_without_a_warning(dtype: type) -> None:
    image = np.array([[0, 1, 100]]).astype(dtype)
    assert gray(image, 0.0, 1.0 if dtype is np.bool_ else 100.0)[0, -1] == 255
    assert gray(np.array([[np.nan, np.inf, -np.inf]]), 0.0, 1.0).tolist() == [[0, 255, 0]]
