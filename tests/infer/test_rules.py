"""The whole line by the published rules, and by the default ones in any order of objects."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mitonb.infer.kept import KeptMaps, median_planes  # noqa: E402
from mitonb.infer.run import smoothed_planes  # noqa: E402
from mitonb.infer.segment import redecoding, segment  # noqa: E402
from mitonb.io.opening import open_labels  # noqa: E402
from mitonb.job import drain  # noqa: E402
from mitonb.maps import Maps  # noqa: E402
from mitonb.recipe import PRESETS, Recipe  # noqa: E402
from tests.infer.oracle import Oracle, volume  # noqa: E402
from tests.post.drawing import same_partition  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

EMPANADA = PRESETS["empanada"]


@pytest.mark.parametrize("planes", [("xy",), ("xy", "xz", "yz")])
def test_the_empanada_preset_segments_and_decodes_again_alike(planes: tuple[str, ...], tmp_path: Path) -> None:
    drawn = volume()
    recipe = EMPANADA.replace(planes=planes)
    kept = KeptMaps()
    labels = segment(drawn, recipe, model=Oracle(), kept=kept, show=False)
    assert labels.data.max() == 4
    found = labels.data > 0
    assert (found & (drawn > 0)).sum() > 0.95 * (found | (drawn > 0)).sum()
    assert labels.record is not None
    assert labels.record["recipe"]["rules"] == "published"
    assert np.array_equal(drain(redecoding(kept, recipe), show=False).data, labels.data)
    assert drain(redecoding(kept, recipe.replace(rules="mitonb")), show=False).data.max() == 4
    drain(redecoding(kept, recipe, out=tmp_path / "labels.zarr"), show=False)
    assert np.array_equal(open_labels(tmp_path / "labels.zarr").data, labels.data)


def test_the_published_median_is_put_back_and_needs_a_whole_window() -> None:
    planes = [0, 1, 0, 1, 0, 1, 0, 1]
    assert medians(planes, "published", 3) == [0, 0, 0, 0, 0, 0, 0, 1]
    assert medians(planes, "mitonb", 3) == [1, 0, 1, 0, 1, 0, 1, 1]


@pytest.mark.parametrize("window", [3, 5, 11])
def test_no_plane_is_lost_however_short_the_stack(window: int) -> None:
    for count in range(1, 14):
        rng = np.random.default_rng(count)
        values = rng.integers(0, 200, count).tolist()
        got = medians(values, "published", window)
        reach = window // 2
        want = list(values)
        for k in range(reach, count - reach):
            want[k] = sorted(want[k - reach : k + reach + 1])[reach]
        assert got == want


def medians(values: list[int], rules: str, window: int) -> list[int]:
    """Return the semantic values of a stack of one pixel planes after the median."""
    kept = KeptMaps((len(values), 1, 1), "memory")
    nothing = np.zeros((2, 1, 1), np.float16)
    for z, value in enumerate(values):
        kept.put(
            "xy", z, Maps({"semantic": np.full((1, 1, 1), value, np.uint8), "center": nothing[0], "offsets": nothing})
        )
    recipe = Recipe(rules=rules, median=window)
    return [int(maps.semantic[0, 0, 0]) for maps in smoothed_planes(kept, "xy", recipe)]


def test_the_kept_planes_are_not_changed_by_the_median() -> None:
    kept = KeptMaps((4, 2, 2), "memory")
    for z in range(4):
        maps = Maps(
            {
                "semantic": np.full((1, 2, 2), 50 * z, np.uint8),
                "center": np.zeros((2, 2), np.float16),
                "offsets": np.zeros((2, 2, 2), np.float16),
            }
        )
        kept.put("xy", z, maps)
    list(smoothed_planes(kept, "xy", EMPANADA))
    assert [int(kept.get("xy", z).semantic.max()) for z in range(4)] == [0, 50, 100, 150]
    assert int(median_planes([kept.get("xy", z).semantic for z in range(3)]).max()) == 50


def test_the_default_rules_give_the_same_labels_whatever_objects_are_called() -> None:
    drawn = volume()
    rng = np.random.default_rng(0)
    recipe = dataclasses.replace(PRESETS["volume"], min_size=300)
    want = segment(drawn, recipe, model=Oracle(), show=False).data
    assert want.max() == 4
    for _ in range(3):
        names = np.concatenate([[0], rng.permutation(250)[:4] + 1]).astype(np.uint8)
        got = segment(names[drawn], recipe, model=Oracle(), show=False).data
        assert same_partition(got, want)
        assert np.array_equal(got, want)


def test_the_published_rules_sift_each_direction_and_thin_stacks_strictly() -> None:
    drawn = np.zeros((12, 40, 40), np.uint8)
    drawn[1:11, 4:24, 4:24], drawn[2:6, 28:38, 28:38] = 1, 2
    recipe = EMPANADA.replace(planes=("xy", "xz", "yz"), min_size=200, median=1)
    assert segment(drawn, recipe, model=Oracle(), show=False).data.max() == 1  # the other one is 4 planes thin
    assert segment(drawn, recipe.replace(min_span=4), model=Oracle(), show=False).data.max() == 2
    thin = drawn[2:5]
    assert segment(thin, EMPANADA.replace(median=1, min_size=200), model=Oracle(), show=False).data.max() == 0
    assert segment(
        thin, EMPANADA.replace(median=1, min_size=200, rules="mitonb"), model=Oracle(), show=False
    ).data.any()
    assert segment(thin[:1], EMPANADA, model=Oracle(), show=False).data.max() == 2
