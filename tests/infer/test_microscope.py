"""The microscope on what the bundled network says of real EM."""

from __future__ import annotations

from dataclasses import replace

import mitonb as mn
from mitonb.recipe import PRESETS, Recipe
from tests.post.test_microscope import compare


def test_every_explanation_of_real_em_is_what_brute_force_finds() -> None:
    islet = mn.sample("islet")
    part = replace(islet, data=islet.read()[:, 400:720, :320])
    maps = mn.predict(part.plane(0), recipe=Recipe(engine="exact"))
    for recipe in (Recipe(), PRESETS["empanada"]):
        assert {"center", "below"} <= set(compare(maps.kept(), recipe))
