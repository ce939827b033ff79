"""The microscope: why a pixel of a plane belongs to its object or to none, and what another recipe would change."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mitonb.errors import AxesError, InputError
from mitonb.maps import Ids, Maps, Points
from mitonb.post.centers import connect
from mitonb.post.cleaning import fill_holes
from mitonb.post.decoding import (
    Mask,
    by_rules,
    centers,
    claim,
    decode,
    decoder,
    find_seeds,
    foreground,
    reaches,
    settle,
    vote,
)
from mitonb.post.tables import overlaps
from mitonb.recipe import Recipe

_MOST = 4  # centers that an explanation names

Reason = Literal["below", "class", "hole", "small", "unclaimed", "center", "seed", "joined", "connected"]


@dataclass(frozen=True)
class Candidate:
    """A center that a pixel could go to, or the nearest pixel of the seed that reached it; lengths in pixels.

    Attributes
    ----------
    y, x : int
        Where it is.
    distance : float
        From the place that the offset of the pixel leads to; to a seed from the pixel itself.
    """

    y: int
    x: int
    distance: float


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why a pixel belongs to an object, or to none.

    Attributes
    ----------
    y, x : int
        The pixel.
    semantic, threshold : float
        How probable foreground is here, 0..1, and how probable it must be.
    vote : (float, float) or None
        (y, x) that its offset leads to, in pixels; None where no offsets are read.
    centers : tuple of Candidate
        The one that won (for background: that would win), then the next ones. For networks that draw contours, the seed
        that reached the pixel.
    object : int
        Its id in what `decode` returns, 0 for none.
    area : int
        Pixels of the connected piece that it lies in, also where that is dropped; 0 for background.
    pieces : int
        How many connected pieces its center (or seed) has; each is an object by itself.
    filled : int
        The object whose hole it lies in; runs with `fill_holes` give it to that.
    reason : str
        "below" the threshold, of another "class", in a "hole", dropped as too "small", "unclaimed" by any center; else
        what made the object: a "center", a "seed", pixels "joined" by affinities, or "connected" foreground.
    text : str
        All of that as one or two sentences.
    """

    y: int
    x: int
    semantic: float
    threshold: float
    vote: tuple[float, float] | None
    centers: tuple[Candidate, ...]
    object: int
    area: int
    pieces: int
    filled: int
    reason: Reason
    text: str

    def __str__(self) -> str:
        return self.text


class Microscope:
    """The decoding of one plane, to ask about its pixels; what one question needed serves the next.

    Parameters are those of `mitonb.decode`.
    """

    def __init__(self, maps: Maps, recipe: Recipe | None = None, *, kind: int = 0, stuff: Sequence[int] = ()) -> None:
        if len(maps.shape) != 2:
            raise AxesError(f"Pixels of planes are explained, got maps of a block {maps.shape}: cut a plane out of it.")
        self.maps, self.recipe, self.kind, self.stuff = maps, recipe or Recipe(), kind, stuff
        self.head = decoder(maps, self.recipe)

    @cached_property
    def inside(self) -> Mask:
        """Where the foreground of the class is."""
        return foreground(self.maps, self.recipe, kind=self.kind)

    @cached_property
    def ids(self) -> Ids:
        """What `decode` returns."""
        return settle(self._claims, self.recipe)

    @cached_property
    def _claims(self) -> npt.NDArray[Any]:
        return claim(self.maps, self.recipe, kind=self.kind, stuff=self.stuff)

    @cached_property
    def _filled(self) -> Ids:
        filled = self.ids.copy()
        if self.recipe.fill_holes:
            fill_holes(filled)
        return filled

    @cached_property
    def _centers(self) -> Points:
        return centers(self.maps, self.recipe) if self.head == "center" else np.empty((0, 2), np.int64)

    @cached_property
    def _seeds(self) -> Ids:
        return find_seeds(self.maps, self.inside, self.recipe, kind=self.kind)[0]

    def explain(self, y: int, x: int) -> Explanation:
        """Say why a pixel belongs to its object or to none; see `mitonb.explain`."""
        (h, w), place = self.maps.shape, (int(y), int(x))
        if not (0 <= place[0] < h and 0 <= place[1] < w):
            raise InputError(f"Pixels of this plane are (y, x) from (0, 0) to {(h - 1, w - 1)}, got {place}.")
        semantic = self.maps.semantic[self.kind]
        claimed, object = int(self._claims[place]), int(self.ids[place])
        filled = 0 if object else int(self._filled[place])
        own, pieces = connect(self._claims == claimed) if claimed else (self.ids, 0)
        aimed = vote(self.maps, self.recipe, self.inside, place) if self.head == "center" else None
        found = self._nearest_seed(place, claimed) if self.head == "contour" else self._ranked(aimed, claimed)
        facts = Explanation(
            y=place[0], x=place[1], threshold=self.recipe.semantic_threshold,
            semantic=float(semantic[place]) / (255 if semantic.dtype == np.uint8 else 1),
            vote=None if aimed is None else (float(aimed[0]), float(aimed[1])), centers=found, object=object,
            area=int(np.count_nonzero(own == own[place])) if claimed else 0, pieces=pieces, filled=filled,
            reason=self._reason(place, claimed, object, filled), text="",
        )  # fmt: skip
        return replace(facts, text=self._say(facts))

    def _ranked(self, aimed: npt.NDArray[np.float64] | None, claimed: int) -> tuple[Candidate, ...]:
        """Return the nearest centers; the one that decoding chose stands first, whatever rounding says."""
        points = self._centers
        if aimed is None or not len(points):
            return ()
        away = np.hypot(*(points - aimed).T)
        order = np.argsort(away, kind="stable")[: _MOST + 1].tolist()
        first = claimed - 1 if claimed else order[0]
        order = [first, *(k for k in order if k != first)][:_MOST]
        return tuple(Candidate(int(points[k, 0]), int(points[k, 1]), float(away[k])) for k in order)

    def _nearest_seed(self, place: tuple[int, int], claimed: int) -> tuple[Candidate, ...]:
        points = np.argwhere(self._seeds == claimed) if claimed else np.empty((0, 2), np.int64)
        if not len(points):
            return ()
        away = np.hypot(*(points - place).T)
        y, x = points[away.argmin()]
        return (Candidate(int(y), int(x), float(away.min())),)

    def _reason(self, place: tuple[int, int], claimed: int, object: int, filled: int) -> Reason:
        if object and len(self._centers):
            return "center"
        if object and self.head == "contour" and claimed <= self._seeds.max(initial=0):
            return "seed"
        if object:
            return "joined" if self.head == "affinities" else "connected"
        if claimed or filled:
            return "small" if claimed else "hole"
        if self.inside[place]:
            return "unclaimed"
        # By the published rules the threshold says nothing of several classes.
        high = (
            by_rules(self.maps, self.recipe)
            or reaches(self.maps.semantic[self.kind], self.recipe.semantic_threshold)[place]
        )
        return "class" if len(self.maps.semantic) > 1 and high else "below"

    def _say(self, facts: Explanation) -> str:
        recipe = self.recipe
        low = f"semantic {np.floor(1000 * facts.semantic) / 1000:g} is below the threshold {facts.threshold:g}"
        if facts.reason == "below":
            return f"No object: {low}."
        if facts.reason == "hole":
            return f"No object, as {low}; but it is a hole of one, which a run of the volume fills."
        if facts.reason == "class":
            return f"No object: something else is more probable here than this class ({facts.semantic:.2f})."
        if facts.reason == "unclaimed" and recipe.instances == "none":
            return "No object: by the published rules so little foreground on a plane is left out."
        if facts.reason == "unclaimed" and not len(self._centers):
            return f"No object: no center is above {recipe.center_threshold:g}; the published rules then find nothing."
        if facts.reason == "unclaimed":
            return "No object: most pixels of its center are of another class."
        owner = self._say_owner(facts)
        if facts.reason == "small":
            hole = ", and filled by the object around it" if facts.filled else ""
            return f"Dropped as too small, {facts.area} px where {recipe.min_area} are needed{hole}: {owner}"
        published = by_rules(self.maps, recipe) and len(self.maps.semantic) > 1
        reached = "" if published else f" reaches {facts.threshold:g}"
        return f"Semantic {facts.semantic:.2f}{reached}; {owner}"

    def _say_owner(self, facts: Explanation) -> str:
        """Say by what a pixel is claimed."""
        found = facts.centers
        if self.head == "center" and found:
            said = f"its offset leads {found[0].distance:.1f} px from the center at x {found[0].x}, y {found[0].y}"
            if len(found) > 1:
                said += f"; the next center is {found[1].distance - found[0].distance:.1f} px farther from there"
            apart = f" That center has {facts.pieces} separate pieces, each an object by itself."
            return f"{said}.{apart * (facts.pieces > 1)}"
        if self.head == "contour" and found:
            near = f"{found[0].distance:.0f} px away, at x {found[0].x}, y {found[0].y}"
            return f"the seed that reached it first begins {near}."
        if self.head == "affinities":
            return "the affinities join it, pixel by pixel, to the rest."
        why = {
            "center": f"no center is above {self.recipe.center_threshold:g}", "contour": "no seed reached it",
            "": "this network says nothing of where one object ends and the next begins",
        }[self.head]  # fmt: skip
        asked = {"none": "objects are not told apart", "pieces": "the recipe asks for connected pieces"}
        return f"{asked.get(self.recipe.instances, why)}, so all connected foreground is one object."


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What becomes of the objects of a plane from one decoding to another.

    Attributes
    ----------
    appear, vanish : tuple of int
        Ids of the second decoding, and of the first.
    merge, split : mapping of int to tuple of int
        Id of the second decoding: those of the first that are in it; id of the first: its parts in the second.
    places : dict of str to list of (int, int)
        By kind ("appear", "vanish", "merge", "split"): the pixel (y, x) of each object that is nearest to its middle.
    """

    appear: tuple[int, ...]
    vanish: tuple[int, ...]
    merge: dict[int, tuple[int, ...]]
    split: dict[int, tuple[int, ...]]
    places: dict[str, list[tuple[int, int]]]

    def __str__(self) -> str:
        each = {"appear": "appears", "vanish": "vanishes", "merge": "merges", "split": "splits"}
        counts = [(kind, len(getattr(self, kind))) for kind in each]
        return ", ".join(f"{n} {each[kind] if n == 1 else kind}" for kind, n in counts if n) or "the same objects"


def compare_objects(before: Ids, after: Ids) -> Changes:
    """Say which objects of a plane appear, vanish, merge and split from one array of ids to another.

    An object goes on in another one where most of it lies in that, or most of that in it. Two that go on with most of
    their pixels in one have merged; one that most of two lie in has split; what goes on in none vanishes or appears.

    Parameters
    ----------
    before, after : (h, w) arrays of unsigned int
        Ids.
    """
    table = overlaps(before, after)
    old, new = (np.bincount(ids.reshape(-1)) for ids in (before, after))
    into, part = table[2 * table[:, 2] > old[table[:, 0]]], table[2 * table[:, 2] > new[table[:, 1]]]
    lasting = np.concatenate([into, part])
    vanish, appear = (
        tuple(np.setdiff1d(np.flatnonzero(sizes), [0, *lasting[:, k]]).tolist()) for k, sizes in enumerate((old, new))
    )
    merge, split = _several(into[:, 1], into[:, 0]), _several(part[:, 0], part[:, 1])
    of = {"appear": (after, appear), "vanish": (before, vanish), "merge": (after, merge), "split": (before, split)}
    places = {kind: middles(ids, list(some)) for kind, (ids, some) in of.items()}
    return Changes(appear=appear, vanish=vanish, merge=merge, split=split, places=places)


def foresee(maps: Maps, recipe: Recipe | None = None, **changes: Any) -> Changes:
    """Say what would become of the objects of a plane if some settings of a recipe were changed.

    Parameters
    ----------
    maps : Maps
        Of a plane.
    recipe : Recipe, optional
        As it is now.
    **changes
        Fields of the recipe, such as `semantic_threshold=0.6`.

    Examples
    --------
    >>> from mitonb.post.targets import targets
    >>> drawn = np.zeros((32, 64), np.uint32)
    >>> drawn[4:28, 4:30], drawn[4:28, 30:60] = 1, 2
    >>> print(foresee(targets(drawn), center_distance=60))
    1 merges
    """
    recipe = recipe or Recipe()
    return compare_objects(decode(maps, recipe), decode(maps, recipe.replace(**changes)))


def _several(owners: npt.NDArray[np.int64], members: npt.NDArray[np.int64]) -> dict[int, tuple[int, ...]]:
    """Return the members of each owner that has more than one."""
    found = {int(owner): tuple(members[owners == owner].tolist()) for owner in np.unique(owners)}
    return {owner: some for owner, some in found.items() if len(some) > 1}


def middles(ids: Ids, some: list[int]) -> list[tuple[int, int]]:
    """Return the pixel of some objects of a plane that is nearest to the middle of each."""
    if not some:
        return []
    wanted = np.zeros(int(ids.max()) + 1, np.int64)
    wanted[some] = np.arange(1, len(some) + 1)
    places = np.argwhere(wanted[ids])
    number = wanted[ids[tuple(places.T)]]
    middle = np.stack([np.bincount(number, column) / np.bincount(number).clip(1) for column in places.T], axis=1)
    order = np.lexsort((((places - middle[number]) ** 2).sum(axis=1), number))
    nearest = places[order][np.unique(number[order], return_index=True)[1]]
    return [(y, x) for y, x in nearest.tolist()]


def explain(
    maps: Maps, recipe: Recipe | None, y: int, x: int, *, kind: int = 0, stuff: Sequence[int] = ()
) -> Explanation:
    """Say why a pixel of a plane belongs to its object, or to none, as `mitonb.decode` decides it.

    Parameters
    ----------
    maps : Maps
        Of a plane, as the network made them, or their kept form.
    recipe : Recipe, optional
        With lengths in pixels.
    y, x : int
        The pixel.
    kind, stuff
        As in `mitonb.decode`.

    Returns
    -------
    Explanation
        What was decided, with the centers that it could go to; as text one or two sentences.

    Raises
    ------
    AxesError
        If these are maps of a block.
    InputError
        If there is no such pixel or class.

    Examples
    --------
    >>> from mitonb.post.targets import targets
    >>> drawn = np.zeros((32, 64), np.uint32)
    >>> drawn[4:28, 4:30], drawn[4:28, 30:60] = 1, 2
    >>> why = explain(targets(drawn), None, 8, 29)
    >>> why.object, why.reason
    (1, 'center')
    >>> print(why.text.split("; the next")[0])
    Semantic 1.00 reaches 0.55; its offset leads 0.7 px from the center at x 16, y 15
    """
    return Microscope(maps, recipe, kind=kind, stuff=stuff).explain(y, x)
