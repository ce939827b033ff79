"""Colours of ids: the hash that Python and the shader share."""

from __future__ import annotations

import re

import numpy as np

from mitonb.colors import PALETTE, SHADES, glsl, hexes, hues, slots


def test_the_hash_is_what_its_docstring_says() -> None:
    ids = [1, 2, 3, 77, 2**31, 2**32 - 1]
    plain = [((((i * 0x9E3779B1) % 2**32) >> 16) * 36) >> 16 for i in ids]
    assert slots(ids).tolist() == plain


def test_any_21_successive_ids_have_colours_of_their_own() -> None:
    colours = hexes(np.arange(1, 3000))
    assert all(len(set(colours[i : i + 21])) == 21 for i in range(len(colours) - 21))


def test_background_is_black_and_shape_is_kept() -> None:
    rgb = hues(np.array([[0, 5], [9, 0]], np.uint32))
    assert rgb.shape == (2, 2, 3)
    assert rgb.dtype == np.float32
    assert (rgb[[0, 1], [0, 1]] == 0).all()
    assert rgb.min() >= 0
    assert rgb.max() <= 1


def test_wide_ids_count_by_their_lower_32_bits() -> None:
    assert slots(np.array([2**40 + 7], np.uint64)).tolist() == slots([7]).tolist()


def test_all_colours_occur_about_equally_often() -> None:
    counts = np.bincount(slots(np.arange(1, 36001)), minlength=36)
    assert counts.min() > 990
    assert counts.max() < 1010


def test_no_object_has_the_grey_of_the_image_nor_is_too_dark_to_see() -> None:
    rgb = hues(np.arange(1, 200))
    assert (rgb.max(axis=-1) - rgb.min(axis=-1)).min() > 0.2
    assert rgb.max(axis=-1).min() > 0.4


def test_the_shader_holds_the_same_tables() -> None:
    text = glsl()
    triples = re.findall(r"vec3\(([\d.]+), ([\d.]+), ([\d.]+)\)", text)
    assert [tuple(float(v) for v in t) for t in triples] == list(PALETTE)
    assert ", ".join(f"{s:.3f}" for s in SHADES) in text
    assert "0x9e3779b1u" in text
