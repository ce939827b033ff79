"""What the microscope says of a pixel is what a slow decoder finds that shares no line with ours."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

import mitonb as mn
from mitonb.errors import AxesError, InputError
from mitonb.maps import Maps
from mitonb.post.decoding import decode
from mitonb.post.microscope import Microscope, compare_objects, explain, foresee
from mitonb.post.targets import targets
from mitonb.recipe import PRESETS, Recipe
from tests.post import brute
from tests.post.drawing import disk, ring, same_partition

RULES = {
    "default": Recipe(),
    "low": Recipe(semantic_threshold=0.3, center_threshold=0.1, center_distance=6, min_area=0),
    "published": PRESETS["empanada"],
    "published-3": PRESETS["empanada"].replace(center_window=3, min_area=400),
}


@functools.cache
def crowd() -> npt.NDArray[np.uint32]:
    """Draw a volume whose planes have about thirty objects each, many of them touching."""
    return mn.phantom((24, 160, 160), voxel_size=(16.0, 16.0, 16.0), objects=50, touching=0.9)[1].data


def noisy(stride: int = 4, lead: float = 0.0, seed: int = 0) -> Maps:
    """Draw what a net might say of a plane of a phantom: unsure borders, shaky offsets, dim and false centers."""
    rng = np.random.default_rng(seed)
    drawn, lag = crowd()[6 + 3 * seed], int(lead)
    fine = targets(drawn, sigma=4)

    def waves(width: float) -> npt.NDArray[np.float64]:
        rough = ndimage.gaussian_filter(rng.normal(0, 1, drawn.shape), width)
        return rough / rough.std()

    semantic = np.clip(fine.semantic * 0.75 + 0.1 + 0.1 * waves(0.7), 0, 1).astype(np.float32)
    center = (fine.center * np.clip(0.6 + 0.3 * waves(12), 0.1, 1) + 0.08 * waves(5))[lag::stride, lag::stride]
    offsets = fine.offsets + 3 * np.stack([waves(3), waves(3)])
    heads = {
        "semantic": semantic,
        "center": np.float32(center),
        "offsets": np.float32(offsets)[:, lag::stride, lag::stride],
    }
    return Maps(heads, stride, lead)


def compare(maps: Maps, recipe: Recipe, count: int = 1000, seed: int = 0) -> dict[str, int]:
    """Compare explanations of random pixels, half of them foreground, with brute force; count the reasons."""
    rng = np.random.default_rng(seed)
    want, ids, lens = brute.decode(maps, recipe), decode(maps, recipe), Microscope(maps, recipe)
    assert want.sure.mean() > 0.9  # by the published rules all pixels of a plateau are centers, as near as each other
    if want.sure.all():
        assert same_partition(ids, want.ids.astype(np.uint32))
    filled, sizes = brute.holes(ids) * recipe.fill_holes, np.bincount(want.pieces.ravel())
    foreground = np.argwhere(want.inside & want.sure)
    pixels = [
        *rng.choice(foreground, count // 2),
        *np.argwhere(want.sure)[rng.integers(0, want.sure.sum(), count // 2)],
    ]
    reasons: dict[str, int] = {}
    for y, x in pixels:
        got = lens.explain(y, x)
        reasons[got.reason] = reasons.get(got.reason, 0) + 1
        assert got.object == ids[y, x]
        assert (got.object > 0) == (want.ids[y, x] > 0)
        assert got.area == (sizes[want.pieces[y, x]] if want.pieces[y, x] else 0)
        assert got.filled == (0 if got.object else filled[y, x])
        assert got.vote == pytest.approx(tuple(want.aims[y, x]), abs=1e-3)
        away = np.linalg.norm(want.centers - want.aims[y, x], axis=1)
        assert [c.distance for c in got.centers] == pytest.approx(np.sort(away)[:4].tolist(), abs=1e-3)
        for candidate in got.centers:
            assert (candidate.y, candidate.x) in set(map(tuple, want.centers.tolist()))
        if want.nearest[y, x] and len(want.centers):
            assert (got.centers[0].y, got.centers[0].x) == tuple(want.centers[want.nearest[y, x] - 1])
        assert (got.semantic >= got.threshold - 1e-8) == want.inside[y, x]
        assert got.reason == why(want, y, x, filled)
    return reasons


def why(want: brute.Brute, y: int, x: int, filled: npt.NDArray[np.int64]) -> str:
    """Return the reason that is right for a pixel."""
    if want.ids[y, x]:
        return "center" if len(want.centers) else "connected"
    if want.pieces[y, x]:
        return "small"
    if filled[y, x]:
        return "hole"
    return "unclaimed" if want.inside[y, x] else "below"


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize(("stride", "lead"), [(1, 0), (4, 0), (4, 1)])
@pytest.mark.once
def test_every_explanation_is_what_brute_force_finds(rules: str, stride: int, lead: float) -> None:
    recipe = RULES[rules]
    for form in (noisy(stride, lead), noisy(stride, lead).kept()):
        reasons = compare(form, recipe)
        assert {"center", "below"} <= set(reasons), reasons


def test_foreground_without_centers_is_connected_by_our_rules_and_nothing_by_the_published_ones() -> None:
    maps = noisy()
    mute = maps.replace(center=np.zeros_like(maps.center))
    assert set(compare(mute, Recipe(), 200)) >= {"connected", "below"}
    assert set(compare(mute, PRESETS["empanada"], 200)) == {"unclaimed", "below"}


def test_the_sentences_say_what_was_decided() -> None:
    drawn = disk(ring(np.zeros((64, 64), np.uint32), 1, 32, 32, 24, 6), 2, 32, 32, 8)
    maps = targets(drawn)
    two = Recipe(center_distance=1)
    assert explain(maps, two, 32, 30).text.startswith(
        "Semantic 1.00 reaches 0.55; its offset leads 0.0 px from the center at x 32, y 32"
    )
    assert explain(maps, Recipe(min_area=300), 32, 30).text.startswith(
        "Dropped as too small, 197 px where 300 are needed"
    )
    assert explain(maps, None, 0, 0).text == "No object: semantic 0 is below the threshold 0.55."
    hollow = targets(ring(np.zeros((64, 64), np.uint32), 1, 32, 32, 24, 6))
    assert "a hole of one" in explain(hollow, None, 32, 32).text
    assert explain(hollow, Recipe(fill_holes=False), 32, 32).reason == "below"
    pieces = explain(maps, Recipe(instances="pieces", min_area=0), 32, 30)
    assert (pieces.reason, pieces.centers, pieces.vote) == ("connected", (), None)


def test_pieces_of_one_center_are_told_as_such() -> None:
    drawn = np.zeros((48, 48), np.uint32)
    drawn[4:20, 4:20] = drawn[30:46, 4:20] = 1
    maps = targets(drawn, legacy=True)  # both pieces point at one center between them
    assert "2 separate pieces" in explain(maps, Recipe(min_area=0), 10, 10).text


@pytest.mark.parametrize(
    ("heads", "reason", "word"),
    [
        (("semantic", "contour"), "seed", "seed"),
        (("semantic", "contour", "distance"), "seed", "seed"),
        (("semantic", "affinities"), "joined", "affinities"),
        (("semantic",), "connected", "says nothing of where one object ends"),
    ],
)
def test_other_networks_are_explained_as_far_as_they_can_be(heads: tuple[str, ...], reason: str, word: str) -> None:
    drawn = disk(disk(np.zeros((64, 64), np.uint32), 1, 20, 20, 12), 2, 46, 46, 12)
    lens = Microscope(targets(drawn, heads=heads))
    for y, x in np.random.default_rng(0).integers(0, 64, (100, 2)):
        got = lens.explain(y, x)
        assert got.object == drawn[y, x]
        assert got.reason == (reason if drawn[y, x] else "below")
        assert word in got.text or not drawn[y, x]
        assert got.vote is None
    if reason == "seed":
        assert lens.explain(20, 20).centers[0].distance == 0


def test_of_several_classes_the_other_one_is_named_as_the_reason() -> None:
    semantic = np.zeros((2, 16, 16), np.float32)
    semantic[0], semantic[1, :, 8:] = 0.6, 0.8
    maps = Maps({"semantic": semantic, "center": np.ones((16, 16)), "offsets": np.zeros((2, 16, 16))})
    for recipe in (Recipe(min_area=0), PRESETS["empanada"]):
        lens = Microscope(maps, recipe)
        assert lens.explain(4, 12).reason == "class"
        assert (lens.explain(4, 4).object > 0) == (lens.ids[4, 4] > 0)


def test_pixels_outside_and_blocks_are_refused() -> None:
    drawn = np.ones((8, 9), np.uint32)
    with pytest.raises(InputError, match=r"\(0, 0\) to \(7, 8\), got \(8, 0\)"):
        explain(targets(drawn), None, 8, 0)
    with pytest.raises(AxesError, match="cut a plane out"):
        explain(targets(np.ones((4, 8, 8), np.uint32)), None, 0, 0)


def pixels_of(ids: npt.NDArray[np.uint32]) -> dict[int, set[tuple[int, int]]]:
    """Return the pixels of each object."""
    found: dict[int, set[tuple[int, int]]] = {}
    for (y, x), id in np.ndenumerate(ids):
        if id:
            found.setdefault(int(id), set()).add((y, x))
    return found


@pytest.mark.once
def test_what_a_moved_threshold_would_change_is_what_sets_of_pixels_say() -> None:
    rng = np.random.default_rng(0)
    kinds = set()
    for move in range(100):
        maps = noisy(4, seed=move % 5)
        field = ("semantic_threshold", "center_threshold")[move % 2]
        now, then = np.round(rng.uniform(0.1, 0.8, 2), 2).tolist()
        recipe = Recipe(min_area=20, center_threshold=0.1).replace(**{field: now})
        moved = recipe.replace(**{field: then})
        old, new = pixels_of(decode(maps, recipe)), pixels_of(decode(maps, moved))
        ahead = {a: [b for b in new if 2 * len(old[a] & new[b]) > len(old[a])] for a in old}
        parts = {a: [b for b in new if 2 * len(old[a] & new[b]) > len(new[b])] for a in old}
        merged = {b: tuple(a for a in old if b in ahead[a]) for b in new}
        got = foresee(maps, recipe, **{field: then})
        assert got.vanish == tuple(a for a in old if not ahead[a] and not parts[a])
        assert got.appear == tuple(b for b in new if not merged[b] and not any(b in parts[a] for a in old))
        assert got.merge == {b: some for b, some in merged.items() if len(some) > 1}
        assert got.split == {a: tuple(some) for a, some in parts.items() if len(some) > 1}
        of = {"appear": new, "vanish": old, "merge": new, "split": old}
        for kind, places in got.places.items():
            kinds |= {kind for _ in places}
            assert len(places) == len(getattr(got, kind))
            assert all(place in of[kind][id] for place, id in zip(places, getattr(got, kind), strict=True))
    assert kinds == {"appear", "vanish", "merge", "split"}


def test_changes_are_told_in_words() -> None:
    one = disk(np.zeros((32, 64), np.uint32), 1, 16, 16, 8)
    assert str(compare_objects(one, one)) == "the same objects"
    assert str(compare_objects(one, disk(one, 2, 16, 46, 8))) == "1 appears"
    assert compare_objects(one, 0 * one).places["vanish"] == [(16, 16)]
    halves = np.where(one > 0, np.where(np.arange(64) < 16, 1, 2), 0).astype(np.uint32)
    assert compare_objects(one, halves).split == {1: (1, 2)}
    assert compare_objects(halves, one).merge == {1: (1, 2)}
