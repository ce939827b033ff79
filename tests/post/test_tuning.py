"""A few clicks give the recipe that does as they say, and of several the nearest."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mitonb.accuracy import score
from mitonb.errors import InputError
from mitonb.labels import Labels
from mitonb.post.decoding import decode
from mitonb.post.targets import targets
from mitonb.post.tuning import Click, tune, tuning_questions
from mitonb.recipe import PRESETS, Recipe
from tests.post.drawing import disk
from tests.post.test_microscope import crowd, noisy


def wrong_places(seed: int, recipe: Recipe, count: int = 10) -> list[Click]:
    """Click as a user would who knows the truth: where the recipe is wrong, and where it is right."""
    truth, ids = crowd()[6 + 3 * seed], decode(noisy(seed=seed), recipe)
    rng, clicks = np.random.default_rng(seed), list[Click]()
    while len(clicks) < count:
        (y, x), (p, q) = rng.integers(0, 160, (2, 2)).tolist()
        here, there = int(truth[y, x]), int(truth[p, q])
        if here and there and ids[y, x] and ids[p, q] and (here == there) != (ids[y, x] == ids[p, q]):
            clicks.append(Click("merge" if here == there else "split", y, x, to=(p, q)))
        elif rng.random() < 0.02:
            clicks.append(Click("yes" if here else "no", y, x))
    return clicks


STARTS = {
    "ours": (Recipe(semantic_threshold=0.75, center_threshold=0.05, min_area=20), "center_distance", (4, 12, 26)),
    "published": (
        PRESETS["empanada"].replace(semantic_threshold=0.8, center_threshold=0.6),
        "center_window",
        (3, 7, 15),
    ),
}


@pytest.mark.parametrize("rules", STARTS)
def test_no_other_recipe_meets_more_clicks_or_as_many_with_less_changed(rules: str) -> None:
    start, third, values = STARTS[rules]
    clicks, maps = wrong_places(0, start), noisy()

    def missed(recipe: Recipe) -> int:
        ids = decode(maps, recipe)
        return sum(not click.meets(ids) for click in clicks)

    got = tune(maps, clicks, start)
    names = ["semantic_threshold", "center_threshold", third]
    assert missed(got.recipe) == len(got.unmet) < missed(start)
    assert set(got.recipe.changes(start)) <= set(names)
    for some in itertools.product((0.3, 0.4, 0.55, 0.7), (0.05, 0.1, 0.2, 0.4), values):
        other = start.replace(**dict(zip(names, some, strict=True)))
        assert missed(other) >= len(got.unmet)
        if missed(other) == len(got.unmet):
            assert not set(other.changes(start)) < set(got.recipe.changes(start))


def test_a_recipe_that_is_right_stays_as_it_is() -> None:
    drawn = disk(disk(np.zeros((64, 64), np.uint32), 1, 20, 20, 12), 2, 46, 46, 12)
    clicks = [
        Click("yes", 20, 20),
        Click("no", 5, 60),
        Click("split", 20, 20, to=(46, 46)),
        Click("merge", 20, 20, to=(24, 20)),
    ]
    got = tune(targets(drawn), clicks, Recipe(center_threshold=0.33))
    assert (got.recipe, got.unmet, got.tried) == (Recipe(center_threshold=0.33), (), 1)


def test_clicks_that_contradict_each_other_are_said() -> None:
    drawn = disk(np.zeros((32, 32), np.uint32), 1, 16, 16, 10)
    got = tune([targets(drawn)], [Click("yes", 16, 16), Click("no", 16, 16), Click("yes", 15, 15)])
    assert got.unmet == (Click("no", 16, 16),)
    assert got.recipe == Recipe()


def test_other_networks_are_tuned_by_what_they_draw() -> None:
    drawn = np.zeros((64, 96), np.uint32)
    drawn[8:56, 8:46], drawn[8:56, 46:88] = 1, 2
    apart = [Click("split", 30, 20, to=(30, 70))]
    for heads in (("semantic", "contour"), ("semantic", "affinities")):
        maps = targets(drawn, heads=heads)
        name = heads[1]
        dim = maps.replace(**{name: 0.35 * maps[name] if name == "contour" else 0.75 + 0.25 * maps[name]})
        assert tune(dim, apart).recipe.contour_threshold < Recipe().contour_threshold
        assert not tune(dim, apart).unmet


@pytest.mark.parametrize(
    ("click", "said"),
    [
        (None, "needs clicks"),
        (Click("merge", 1, 1), "with to="),
        (Click("yes", 1, 1, to=(2, 2)), "with to="),
        (Click("maybe", 1, 1), "got Click"),  # type: ignore[arg-type]
        (Click("yes", 8, 1), r"\(8, 8\), got \(8, 1\)"),
        (Click("split", 1, 1, to=(1, -1)), r"got \(1, -1\)"),
        (Click("yes", 1, 1, plane=1), "maps of 1 planes"),
    ],
)
def test_clicks_that_make_no_sense_are_refused(click: Click | None, said: str) -> None:
    with pytest.raises(InputError, match=said):
        tune(targets(np.ones((8, 8), np.uint32)), [click] if click else [])


def answered(seed: int, recipe: Recipe) -> tuple[list[Click], float, float]:
    """Answer what is asked of a plane by its truth; return the clicks, and F1 at 0.5 before and after tuning."""
    truth, maps = crowd()[6 + 3 * seed], noisy(seed=seed)

    def f1(one: Recipe) -> float:
        return float(score(Labels(decode(maps, one)[None]), Labels(truth[None])).at(0.5).f1)

    clicks = [one.yes if one.yes.meets(truth) else one.no for one in tuning_questions(maps, recipe)]
    return clicks, f1(recipe), f1(tune(maps, clicks, recipe).recipe)


def test_ten_answers_make_a_wrong_recipe_better() -> None:
    gained = []
    for seed in range(3):
        for start in (STARTS["ours"][0], Recipe(semantic_threshold=0.4, center_threshold=0.4, min_area=20)):
            clicks, before, after = answered(seed, start)
            assert 1 <= len(clicks) <= 10
            gained.append(after - before)
    assert min(gained) >= 0
    assert float(np.mean(gained)) > 0.05


def test_what_no_near_recipe_would_change_is_not_asked() -> None:
    drawn = disk(disk(np.zeros((64, 64), np.uint32), 1, 20, 20, 12), 2, 46, 46, 12)
    assert tuning_questions(targets(drawn)) == []
    maps = targets(drawn)
    dim = maps.replace(semantic=np.where(drawn == 2, 0.5, maps.semantic[0])[None].astype(np.float32))
    (only,) = tuning_questions(dim)
    assert (only.places, str(only)) == ([(46, 46)], "Is this a mitochondrion?")
    assert (only.yes.says, only.no.says) == ("yes", "no")


def test_of_what_merges_or_splits_both_places_are_asked_about() -> None:
    drawn = np.zeros((32, 64), np.uint32)
    drawn[4:28, 4:30], drawn[4:28, 30:60] = 1, 2
    maps = targets(drawn)
    pairs = [one for one in tuning_questions(maps, Recipe(center_distance=40)) if one.yes.to]
    assert pairs
    assert str(pairs[0]) == "Are these two places in the same mitochondrion?"
    assert sorted(int(drawn[place]) for place in pairs[0].places) == [1, 2]
    assert (pairs[0].yes.says, pairs[0].no.says) == ("merge", "split")
