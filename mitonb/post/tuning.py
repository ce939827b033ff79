"""Tuning: a few clicks that say what is right on planes, and the recipe nearest to the present one that does so."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from mitonb.errors import InputError
from mitonb.job import Progress, Steps, drain
from mitonb.maps import Maps
from mitonb.post.decoding import by_rules, decode, decoder
from mitonb.post.microscope import compare_objects, middles
from mitonb.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mitonb.maps import Ids

Says = Literal["yes", "no", "merge", "split"]

_SEMANTIC = {"semantic_threshold": (0.3, 0.4, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9)}
_GRIDS: dict[str, dict[str, tuple[float, ...]]] = {
    "center": {"center_threshold": (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.65),
               "center_distance": (4, 8, 12, 18, 26)},
    "published": {"center_threshold": (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65),
                  "center_window": (3, 5, 7, 11, 15)},
    "contour": {"seed_threshold": (0.5, 0.6, 0.7, 0.8, 0.9, 0.95), "contour_threshold": (0.1, 0.2, 0.3, 0.4, 0.5, 0.7)},
    "affinities": {"contour_threshold": (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)},
    "": {},
}  # fmt: skip
"""What is tried beside the semantic threshold, by what tells objects apart."""
TRIED = frozenset({*_SEMANTIC, *(name for grid in _GRIDS.values() for name in grid)})
"""Settings that tuning may move."""
_SAME = 10
"""Pixels between two places that are asked about alike."""


@dataclass(frozen=True)
class Click:
    """What a user says of a plane.

    Attributes
    ----------
    says : {"yes", "no", "merge", "split"}
        An object is here; none is; both places belong to one object; they belong to two.
    y, x : int
        A pixel.
    to : (int, int), optional
        The other (y, x), of "merge" and "split".
    plane : int
        Which of the planes.
    """

    says: Says
    y: int
    x: int
    to: tuple[int, int] | None = None
    plane: int = 0

    def meets(self, ids: Ids) -> bool:
        """Return whether the ids of its plane are as it says."""
        here, there = int(ids[self.y, self.x]), int(ids[self.to]) if self.to else 0
        if self.says in ("yes", "no"):
            return (here > 0) is (self.says == "yes")
        return here > 0 and there > 0 and (here == there) is (self.says == "merge")


@dataclass(frozen=True)
class Question:
    """A place of which recipes say different things.

    Attributes
    ----------
    yes, no : Click
        What is said of it by who answers so: that an object is here, or none; or that both places belong to one
        object, or to two.
    """

    yes: Click
    no: Click

    @property
    def places(self) -> list[tuple[int, int]]:
        """Pixels (y, x) that it is about: one or two."""
        return [(self.yes.y, self.yes.x), *([self.yes.to] if self.yes.to else [])]

    def __str__(self) -> str:
        return "Is this a mitochondrion?" if self.yes.to is None else "Are these two places in the same mitochondrion?"


@dataclass(frozen=True)
class Tuned:
    """What came of clicks: the recipe, the clicks that it does not meet, and how many recipes were tried."""

    recipe: Recipe
    unmet: tuple[Click, ...]
    tried: int


def tune(maps: Maps | Sequence[Maps], clicks: Sequence[Click], recipe: Recipe | None = None) -> Tuned:
    """Find the recipe that meets most of a few clicks, and of all those the one nearest to the present recipe.

    The semantic threshold and the two settings that part objects are tried on a plain grid, nearest first (by steps of
    the grid, fewer changed settings before more); it ends with the first recipe that meets all clicks.

    Parameters
    ----------
    maps : Maps or sequence of Maps
        Of the planes that were clicked on.
    clicks : sequence of Click
        Ten are plenty.
    recipe : Recipe, optional
        The present one, with lengths in pixels.

    Raises
    ------
    InputError
        If there is no click, or one that is on no plane or lacks its other place.

    Examples
    --------
    >>> import numpy as np
    >>> from mitonb.post.targets import targets
    >>> drawn = np.zeros((32, 64), np.uint32)
    >>> drawn[4:28, 4:30], drawn[4:28, 30:60] = 1, 2
    >>> apart = Click("split", 16, 10, to=(16, 50))
    >>> tune(targets(drawn), [apart], Recipe(center_distance=40)).recipe.changes()
    {'center_distance': 26}
    """
    return drain(tuning(maps, clicks, recipe), show=False)


def tuning(maps: Maps | Sequence[Maps], clicks: Sequence[Click], recipe: Recipe | None = None) -> Steps[Tuned]:
    """Tune as `tune` does, a step a recipe."""
    planes, now = [maps] if isinstance(maps, Maps) else list(maps), recipe or Recipe()
    for click in clicks:
        _check(click, planes)
    if not clicks:
        raise InputError("Tuning needs clicks: say of some places yes, no, merge or split.")
    best = Tuned(now, tuple(clicks), 0)
    options = _options(planes[0], now)
    for tried, changes in enumerate(options, 1):
        one = now.replace(**changes)
        ids = {k: decode(planes[k], one) for k in {click.plane for click in clicks}}
        unmet = tuple(click for click in clicks if not click.meets(ids[click.plane]))
        if len(unmet) < len(best.unmet) or tried == 1:
            best = Tuned(one, unmet, tried)
        yield Progress("tune", tried, len(options))
        if not unmet:
            break
    return Tuned(best.recipe, best.unmet, tried)


def tuning_questions(maps: Maps | Sequence[Maps], recipe: Recipe | None = None, *, most: int = 10) -> list[Question]:
    """Find places where the answer tells recipes near the present one apart, the most telling first.

    Each setting that `tune` tries is moved by up to two steps of its grid, to both sides; places where an object
    appears, vanishes, merges or splits by that are asked about.

    Parameters
    ----------
    maps : Maps or sequence of Maps
        Of planes.
    recipe : Recipe, optional
        The present one, with lengths in pixels.
    most : int
        So many questions, at most.
    """
    planes, now = [maps] if isinstance(maps, Maps) else list(maps), recipe or Recipe()
    near = [now]
    for name, values in _steps(planes[0], now).items():
        at = values.index(getattr(now, name))
        near += [now.replace(**{name: v}) for v in values[max(0, at - 2) : at + 3] if v != values[at]]
    found: dict[tuple[bool, ...], list[Question]] = {}
    for plane, one in enumerate(planes):
        decoded = [decode(one, recipe) for recipe in near]
        for question in _questions(decoded, plane):
            alike = found.setdefault(tuple(question.yes.meets(ids) for ids in decoded), [])
            # A second one of a kind guards against a slip; places side by side are the same question.
            (y, x), *_ = question.places
            beside = (q for q in alike if q.yes.plane == plane and np.hypot(y - q.yes.y, x - q.yes.x) <= _SAME)
            if len(alike) < 2 and not any(beside):
                alike.append(question)
    ranked = sorted(found, key=lambda answers: -min(sum(answers), len(answers) - sum(answers)))
    return [found[answers][k] for k in (0, 1) for answers in ranked if len(found[answers]) > k][:most]


def _questions(decoded: Sequence[Ids], plane: int) -> Iterator[Question]:
    """Ask about all that differs on a plane between the first ids and the others."""
    now, *others = decoded
    for other in others:
        changes = compare_objects(now, other)
        for y, x in (*changes.places["appear"], *changes.places["vanish"]):
            yield Question(Click("yes", y, x, None, plane), Click("no", y, x, None, plane))
        for parts, ids in ((changes.merge, now), (changes.split, other)):
            for some in parts.values():
                (y, x), to = middles(ids, sorted(some[:2]))
                yield Question(Click("merge", y, x, to, plane), Click("split", y, x, to, plane))


def _steps(maps: Maps, now: Recipe) -> dict[str, list[float]]:
    """Return the values of each setting that are tried, the present one among them."""
    grid = {**_SEMANTIC, **_GRIDS["published" if by_rules(maps, now) else decoder(maps, now)]}
    return {name: sorted({*values, getattr(now, name)}) for name, values in grid.items()}


def _options(maps: Maps, now: Recipe) -> list[dict[str, float]]:
    """Return what to change, the nearest first."""
    steps = _steps(maps, now)
    found = []
    for values in itertools.product(*steps.values()):
        away = [abs(steps[n].index(v) - steps[n].index(getattr(now, n))) for n, v in zip(steps, values, strict=True)]
        found.append((sum(away), sum(map(bool, away)), dict(zip(steps, values, strict=True))))
    return [changes for *_, changes in sorted(found, key=lambda one: one[:2])]


def _check(click: Click, planes: Sequence[Maps]) -> None:
    pair = click.says in ("merge", "split")
    if click.says not in get_args(Says) or (click.to is None) is pair:
        raise InputError(f"A click says yes or no of a place, or merge or split with to=, another place; got {click}.")
    if not 0 <= click.plane < len(planes):
        raise InputError(f"There are maps of {len(planes)} planes, 0 the first, got {click}.")
    shape = planes[click.plane].shape
    for place in [(click.y, click.x), *([click.to] if click.to else [])]:
        if len(shape) != 2 or not (0 <= place[0] < shape[0] and 0 <= place[1] < shape[1]):
            raise InputError(f"Clicks are on pixels (y, x) of planes, these maps are {shape}, got {place}.")
