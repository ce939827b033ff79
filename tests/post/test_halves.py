"""Float16 values are made and widened as numpy does it."""

from __future__ import annotations

import numpy as np

from mitonb.post.halves import narrowed, widened

HALVES = np.arange(2**16, dtype=np.uint16).view(np.float16)


def test_every_half_is_widened_to_its_value_and_narrowed_to_itself() -> None:
    wide = widened(HALVES)
    assert np.array_equal(wide, HALVES.astype(np.float32), equal_nan=True)
    numbers = ~np.isnan(wide)
    assert np.array_equal(narrowed(wide[numbers]).view(np.uint16), HALVES[numbers].view(np.uint16))
    assert np.isnan(narrowed(wide[~numbers])).all()


def test_values_between_halves_go_to_the_nearest_and_of_two_to_the_even_one() -> None:
    values = HALVES[np.isfinite(HALVES)].astype(np.float32)
    ordered = np.unique(values)
    middles = (ordered[1:] + ordered[:-1]) / 2
    largest = np.array([65519.99, 65520, 65535, 65536, 1e9, np.inf, 1e-30, 2.0**-25], np.float32)
    all_ = np.concatenate([values, middles, largest, -largest])
    all_ = np.concatenate([all_, np.nextafter(all_, np.float32(np.inf)), np.nextafter(all_, np.float32(-np.inf))])
    with np.errstate(over="ignore", under="ignore"):
        assert np.array_equal(narrowed(all_).view(np.uint16), all_.astype(np.float16).view(np.uint16))
