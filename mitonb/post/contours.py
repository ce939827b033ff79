"""Contours: objects by a watershed from seeds, from semantic, contour and distance maps, as decoders of MitoEM do it.

The rules are those of PyTorch Connectomics 1 (`bc_watershed`, `bcd_watershed`): maps of 8 bits, strict comparisons, a
threshold t stands for the level int(255 t). Two things are better defined here: float maps are rounded to the same 256
levels by a scale that the caller states, and voxels of equal level are flooded in the order in which they were reached,
so that objects do not depend on what else is in the volume.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import fastremap
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mitonb.errors import AxesError, InputError
from mitonb.post.centers import connect, jit
from mitonb.post.tables import as_ids

Level = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.uint32]


@dataclass(frozen=True, kw_only=True)
class ContourSettings:
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
    """

    seed: float = 0.9
    contour: float = 0.8
    foreground: float = 0.85
    seed_distance: float = 0.5
    foreground_distance: float = 0.0
    min_seed: int = 32
    min_size: int = 128
    small: Literal["background", "neighbor", "none"] = "background"

    def __post_init__(self) -> None:
        if self.small not in ("background", "neighbor", "none"):
            raise InputError(f"small is one of background, neighbor, none, got {self.small!r}.")
        for field in dataclasses.fields(self):
            value, low = getattr(self, field.name), -1 if "distance" in field.name else 0
            if field.type is int and (isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0):
                raise InputError(f"{field.name} is a whole number from 0 on, got {value!r}.")
            if field.type is float and (isinstance(value, bool | str) or not low <= value <= 1):
                raise InputError(f"{field.name} is a number from {low} to 1, got {value!r}.")

    @classmethod
    def of(cls, value: "ContourSettings | str | None") -> "ContourSettings":
        """Return what a user gave for settings: some, the name of published ones, or nothing.

        Raises
        ------
        InputError
            If there are none of this name, or this is something else.
        """
        if isinstance(value, str) and value in CONTOUR_SETTINGS:
            return CONTOUR_SETTINGS[value]
        if value is None or isinstance(value, ContourSettings):
            return value or cls()
        raise InputError(f"Settings are ContourSettings(...) or one of {', '.join(CONTOUR_SETTINGS)}, got {value!r}.")


CONTOUR_SETTINGS: dict[str, ContourSettings] = {
    "default": ContourSettings(),
    "semantic": ContourSettings(seed=0.98),
    "mitoem": ContourSettings(seed=0.85, contour=0.6, foreground=0.8, min_size=1024),
    "mitoem-human": ContourSettings(contour=0.75),
    "fly-brain": ContourSettings(seed=0.5, contour=0.5, foreground=0.25, min_seed=1000, min_size=3000),
}
"""Published settings: the defaults; for a semantic map alone; the tutorial of MitoEM; the winner of its challenge, on
the human volume; MitoNet's fly brain, after a median over 9 planes."""


def decode_contours(
    semantic: npt.NDArray[Any], contour: npt.NDArray[Any] | None = None, distance: npt.NDArray[Any] | None = None, *,
    settings: ContourSettings | str | None = None, seeds: npt.NDArray[Any] | None = None, scale: float | None = None,
) -> Labels:  # fmt: skip
    """Find objects by a watershed from seeds: where a map of contours, or of distances too, tells touching ones apart.

    Parameters
    ----------
    semantic : (z, y, x) or (y, x) array
        Probability of the foreground.
    contour : array, optional
        Probability of the border of an object, of the same shape.
    distance : array, optional
        Distance to the border, squashed to -1..1 (in 8 bits 0..255), positive inside, of the same shape.
    settings : ContourSettings or str, optional
        Thresholds and sizes, or the name of published ones: a key of `CONTOUR_SETTINGS`, such as "mitoem".
    seeds : array of int, optional
        Use these instead of `find_seeds`, for instance after correcting what that found.
    scale : float, optional
        The value that means certain: 1 for float maps and 255 for uint8 unless said otherwise; it is never guessed from
        the values. Distances go from -scale to scale in float maps.

    Returns
    -------
    labels : uint32 array
        Ids 1.. in the order of the seeds' ids; own seeds are numbered by their first voxels.

    Raises
    ------
    InputError
        If values lie outside of the scale or are no numbers, the scale of a type is unknown, or no settings have
        this name.
    AxesError
        If the maps are no planes or volumes of one shape.

    Examples
    --------
    >>> semantic = np.full((1, 40), 0.95, np.float32)
    >>> contour = np.zeros((1, 40), np.float32)
    >>> contour[:, 20] = 1
    >>> decode_contours(semantic, contour, settings=ContourSettings(min_seed=1, min_size=1))[0, [0, 19, 21]]
    array([1, 1, 2], dtype=uint32)
    """
    settings = ContourSettings.of(settings)
    s, _, d = _levels_of(scale, semantic=semantic, contour=contour, distance=distance)
    if seeds is None:
        labels = find_seeds(semantic, contour, distance, settings=settings, scale=scale)
    elif np.shape(seeds) != s.shape:
        raise AxesError(f"Seeds need the shape of the maps, {s.shape}, got {np.shape(seeds)}.")
    else:
        labels = np.searchsorted(np.union1d(seeds, 0), as_ids(np.asarray(seeds))).astype(np.uint32)
    inside = _above(s, d, settings.foreground, settings.foreground_distance)
    return _without_small(watershed(s, labels, inside), settings)


def find_seeds(
    semantic: npt.NDArray[Any], contour: npt.NDArray[Any] | None = None, distance: npt.NDArray[Any] | None = None, *,
    settings: ContourSettings | str | None = None, scale: float | None = None,
) -> Labels:  # fmt: skip
    """Return the seeds from which `decode_contours` floods: to look at, to correct, and to pass back to it.

    Parameters and errors are those of `decode_contours`. Seeds are numbered 1.. by their first voxels; pieces that
    touch at a corner are one.
    """
    settings = ContourSettings.of(settings)
    s, c, d = _levels_of(scale, semantic=semantic, contour=contour, distance=distance)
    core = _above(s, d, settings.seed, settings.seed_distance)
    if c is not None:
        core &= c < int(255 * settings.contour)
    return connect(core, settings.min_seed)[0]


def watershed(level: Level, seeds: Labels, inside: npt.NDArray[np.bool_]) -> Labels:
    """Let seeds grow over all of the foreground that they can reach.

    The next voxel to pass its label on to its 6 neighbours is always one of the highest level; among equals the one
    that got its label first; seeds in reading order. So what a region becomes depends on nothing outside of it.

    Parameters
    ----------
    level : ([z,] y, x) uint8 array
        Level of each voxel.
    seeds : uint32 array
        Where labels begin.
    inside : bool array
        The foreground, which no label leaves; seeds outside of it, or at the level 0, are taken away.

    Returns
    -------
    labels : uint32 array
    """
    height = np.pad(level * inside, 1)  # a margin that stops every label, so that no voxel need know where it is
    flooded = np.pad(seeds, 1)
    beside = [stride // flooded.itemsize for stride in flooded.strides]
    _flood(height.reshape(-1), flooded.reshape(-1), np.array([*(-n for n in beside), *beside[::-1]]))
    return np.ascontiguousarray(flooded[(slice(1, -1),) * level.ndim])


@jit
def _flood(height: Any, labels: Any, beside: Any) -> None:
    """Flood flat arrays with a margin, in place; a queue for each level, which starts behind an entry of no use."""
    queues = [[0] for _ in range(256)]
    done = np.ones(256, np.int64)
    for at in range(len(labels)):
        if height[at] == 0:
            labels[at] = 0
        elif labels[at] != 0:
            queues[height[at]].append(at)
    level: Any = 255
    while level > 0:
        if done[level] == len(queues[level]):
            level -= 1
            continue
        at = queues[level][done[level]]
        done[level] += 1
        for step in beside:
            other = at + step
            if height[other] != 0 and labels[other] == 0:
                labels[other] = labels[at]
                queues[height[other]].append(other)
                level = max(level, np.int64(height[other]))


def _levels_of(scale: float | None, **maps: npt.NDArray[Any] | None) -> tuple[Level, Level | None, Level | None]:
    """Return semantic, contour and distance maps of 256 levels."""
    shape = np.asarray(maps["semantic"]).shape
    for name, value in maps.items():
        if value is not None and (np.shape(value) != shape or len(shape) not in (2, 3)):
            raise AxesError(
                f"Maps are planes (y, x) or volumes (z, y, x) of one shape, got {np.shape(value)} for {name} beside "
                f"{shape}. Of an array (channel, z, y, x) pass *array."
            )
    s, c, d = (None if value is None else _levels(np.asarray(value), scale, name) for name, value in maps.items())
    return s, c, d  # type: ignore[return-value]


def _levels(values: npt.NDArray[Any], scale: float | None, name: str) -> Level:
    """Round a map to 256 levels; values are never looked at to guess what they mean."""
    kind = values.dtype.kind
    if values.dtype == np.uint8 and scale in (None, 255):
        return np.ascontiguousarray(values)
    if kind not in "uif" or (scale is None and kind != "f"):
        raise InputError(
            f"The {name} map is of type {values.dtype}: without a scale, maps are float from 0 to 1 or uint8 from 0 to "
            "255. Pass scale=, the value that means certain."
        )
    top = 1.0 if scale is None else float(scale)
    if not 0 < top < float("inf"):
        raise InputError(f"The scale of maps is above 0, got {scale!r}.")
    # Whole numbers cannot be below 0 where that means far outside: there 0..scale stands for -1..1, as in 8 bits.
    bottom = -top if name == "distance" and kind == "f" else 0.0
    out = np.empty(values.shape, np.uint8)
    for row, target in zip(values, out, strict=True):  # by parts: a float copy of a volume would be four times it
        level = (row.astype(np.float32) - bottom) * np.float32(255 / (top - bottom))
        if not ((level > -0.5) & (level < 255.5)).all():
            raise InputError(
                f"The {name} map goes from {values.min()} to {values.max()}, but should go from {bottom:g} to {top:g}. "
                "Pass scale=, the value that means certain."
            )
        target[...] = np.rint(level)
    return out


def _above(s: Level, d: Level | None, semantic: float, distance: float) -> npt.NDArray[np.bool_]:
    """Return where probability and distance, of which each level stands for one from -1 to 1, are above thresholds."""
    inside = np.asarray(s > int(255 * semantic))
    if d is not None:
        inside &= (np.arange(256) / 255.0 * 2.0 - 1.0 > distance)[d]
    return inside


def _without_small(labels: Labels, settings: ContourSettings) -> Labels:
    """Deal with small objects, in place, and number the others without gaps, in the order of their ids."""
    ids, sizes = fastremap.unique(labels, return_counts=True)
    small = ids[sizes < (1 if settings.small == "none" else settings.min_size)]
    if settings.small == "neighbor":
        _join(labels, small[small > 0].astype(np.int64))
    ids = np.setdiff1d(ids, np.append(small, 0), assume_unique=True)
    names = np.zeros(int(labels.max(initial=0)) + 1, np.uint32)
    names[ids] = np.arange(1, len(ids) + 1)
    return names[labels]


def _join(labels: Labels, small: npt.NDArray[Any]) -> None:
    """Give each small object, in the order of their ids, to the neighbour in the same planes that it touches most.

    The lowest id wins a tie; one that touches none is dropped.
    """
    boxes = ndimage.find_objects(labels)
    square = np.ones((1, 3, 3)[-labels.ndim :], np.bool_)
    for k in (small - 1).tolist():
        box = [slice(max(0, s.start - r), s.stop + r) for s, r in zip(boxes[k], (0, 1, 1)[-labels.ndim :], strict=True)]
        crop = labels[tuple(box)]
        mine = crop == k + 1
        ids, counts = np.unique(crop[ndimage.binary_dilation(mine, square) & ~mine & (crop > 0)], return_counts=True)
        into = int(ids[counts.argmax()]) if len(ids) else 0
        crop[mine] = into
        if into:  # what was joined to a small one goes on with it
            pairs = zip(boxes[k], boxes[into - 1], strict=True)
            boxes[into - 1] = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in pairs)
