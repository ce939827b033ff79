"""Settings of the watershed, checked, and the published sets of them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar, get_args

import numpy as np

from mitonb.errors import InputError

__all__ = ["FLOODS", "Flood", "Pieces"]

Small = Literal["background", "neighbor", "none"]
S = TypeVar("S", "Flood", "Pieces")


@dataclass(frozen=True, kw_only=True)
class Flood:
    """Settings of a marker watershed; a voxel is compared strictly: above, or below.

    Attributes
    ----------
    seed, contour, seed_distance : float
        A seed is where the semantic map is above `seed`, the contour map below `contour` and the distance map above
        `seed_distance`; a map that is not there does not ask.
    foreground, foreground_distance : float
        An object reaches as far as the semantic map is above `foreground` and the distance map above
        `foreground_distance`. Distances go from -1 (far outside) to 1 (deep inside), everything else from 0 to 1.
    min_seed : int
        Seeds with fewer voxels are dropped; other seeds may flood their place, else it stays background.
    min_size : int
        Objects with fewer voxels are small.
    small : {"background", "neighbor", "none"}
        Small objects are dropped, or joined to the neighbour in the same plane that they touch most, or kept.
    ties : {"arrival", "published"}
        Among voxels of equal level, the one reached first goes first; or whichever scikit-image's heap has on top, for
        comparison with published results (slower, more memory, and depends on what else is in the volume).
    """

    seed: float = 0.9
    contour: float = 0.8
    foreground: float = 0.85
    seed_distance: float = 0.5
    foreground_distance: float = 0.0
    min_seed: int = 32
    min_size: int = 128
    small: Small = "background"
    ties: Literal["arrival", "published"] = "arrival"

    def __post_init__(self) -> None:
        _check(self)
        if self.ties not in ("arrival", "published"):
            raise InputError(f"ties is one of arrival, published, got {self.ties!r}.")

    @classmethod
    def of(cls, value: Flood | str | None) -> Flood:
        """Return what a user gave for settings: some, the name of published ones, or nothing.

        Raises
        ------
        InputError
            If there are none of this name, or this is something else.
        """
        if isinstance(value, str) and value in FLOODS:
            return FLOODS[value]
        if value is None or isinstance(value, Flood):
            return value or cls()
        raise InputError(f"Settings are a Flood(...) or one of {', '.join(FLOODS)}, got {value!r}.")

    def replace(self, **changes: Any) -> Flood:
        """Return settings with some fields changed."""
        return _replaced(self, changes)


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """Settings of decoding by connected pieces; a voxel is compared strictly: above, or below.

    Attributes
    ----------
    foreground, contour : float
        Objects are where the semantic map is above `foreground` and the contour map, if there is one, below `contour`.
    growth : int
        Side in pixels of the square, in each plane, by which objects get back what their contours took; odd, 1 is off.
        Without a contour map nothing is grown. Where two meet, the higher id wins.
    min_size, small
        As for `Flood`.
    """

    foreground: float = 0.8
    contour: float = 0.5
    growth: int = 5
    min_size: int = 128
    small: Small = "background"

    def __post_init__(self) -> None:
        _check(self)
        if self.growth % 2 == 0:
            raise InputError(f"growth is an odd number of pixels, got {self.growth}. Use {self.growth + 1}.")

    def replace(self, **changes: Any) -> Pieces:
        """Return settings with some fields changed."""
        return _replaced(self, changes)


def _check(settings: Flood | Pieces) -> None:
    """Refuse settings that no map could meet."""
    for field in fields(settings):
        value = getattr(settings, field.name)
        if field.name == "small":
            if value not in get_args(Small):
                raise InputError(f"small is one of {', '.join(get_args(Small))}, got {value!r}.")
        elif field.type == "int":
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
                raise InputError(f"{field.name} is a whole number from 0 on, got {value!r}.")
        elif field.type == "float":
            low = -1 if "distance" in field.name else 0
            if isinstance(value, bool | str) or not low <= value <= 1:
                raise InputError(f"{field.name} is a number from {low} to 1, got {value!r}.")


def _replaced(settings: S, changes: dict[str, Any]) -> S:
    names = [field.name for field in fields(settings)]
    for name in changes:
        if name not in names:
            raise InputError(f"There is no setting {name!r}; there are {', '.join(names)}.")
    return dataclasses.replace(settings, **changes)


FLOODS: dict[str, Flood] = {
    "default": Flood(),
    "semantic": Flood(seed=0.98),
    "mitoem": Flood(seed=0.85, contour=0.6, foreground=0.8, min_size=1024),
    "mitoem-human": Flood(contour=0.75),
    "fly-brain": Flood(seed=0.5, contour=0.5, foreground=0.25, min_seed=1000, min_size=3000),
}
"""Published settings: the defaults; for a semantic map alone; the tutorial of MitoEM; the winner of its challenge, on
the human volume; MitoNet's fly brain, after a median over 9 planes."""
