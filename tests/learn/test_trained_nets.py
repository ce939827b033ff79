"""Tiny nets of every kind learn drawn EM within seconds and segment a phantom that they have not seen.

Those that say only what is mitochondrion do so in the notebooks of the two U-Nets.
"""

from __future__ import annotations

import functools

import pytest

import mitonb as mn
from mitonb.job import drain
from mitonb.learn.data import Source
from mitonb.learn.loop import Settings, fitting
from mitonb.recipe import Recipe
from mitonb.stack import AXES

RECIPE = Recipe(min_area=16, min_size=300, min_span=3, lookahead=4, tile=64, halo=16)
CENTERS = ("semantic", "center", "offsets")
CONTOURS = ("semantic", "contour", "distance")


@functools.cache
def coarse(seed, touching):
    """Draw a phantom of coarse voxels with dark mitochondria, some of them touching."""
    return mn.phantom(
        (24, 96, 96), seed, voxel_size=(20.0, 20.0, 20.0), objects=16, touching=touching, diameter=(260.0, 420.0),
        cristae="dark", branching=0.0, distractors=0.0, noise=0.3, drift=0.0, flicker=0.2,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("heads", "dimension", "steps", "touching"),
    [
        (CENTERS, 2, 200, 0.25),
        (("semantic", "contour"), 2, 160, 0.25),
        (CONTOURS, 3, 110, 0.25),
        (("semantic", "affinities"), 3, 80, 0.25),
    ],
)
def test_a_net_of_each_kind_learns_and_segments(heads, dimension, steps, touching, tmp_path):
    *known, (stack, truth) = (coarse(seed, touching) for seed in (1, 2, 3, 11))
    sources = [Source(image.name, image.read(), ids.data, image.contrast) for image, ids in known]
    size = {"batch": 8, "patch": 64} if dimension == 2 else {"batch": 2, "patch": 32, "planes": 24}
    settings = Settings(
        steps=steps, seed=1, augment=0.1, rate=0.01, average=0.95, widths=(8, 16, 16), depths=(1, 1, 1), **size
    )
    card = {"heads": heads, "dimension": dimension, "config": {"fold": False}}
    out = drain(fitting(sources, out=tmp_path / "net.safetensors", settings=settings, card=card), show=False)
    planes = [("xy",), tuple(AXES)] if heads == CENTERS else [("xy",)]
    tile = 64 if dimension == 2 else 48  # so that planes and blocks overlap
    for axes in planes:
        labels = mn.segment(stack, RECIPE.replace(planes=axes, tile=tile, model=str(out)), show=False)
        assert mn.score(labels, truth).at(0.5).f1 >= 0.8, axes
