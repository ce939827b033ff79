"""Teach by verdicts: a few objects marked right or false are enough to find the other false ones.

Method: logistic regression with a penalty on large weights (Hoerl & Kennard 1970; Cox 1958), by Newton's steps, on the
shape, the grey values and the map values of each object. A dozen numbers, so it can be kept in a recipe.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import fastremap
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from mitonb.errors import InputError
from mitonb.labels import AnyLabels, Labels, integers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mitonb.maps import Maps
    from mitonb.stack import Stack

__all__ = ["FEATURES", "Verdicts", "describe", "drop_false", "learn"]

Vector = npt.NDArray[np.float64]

FEATURES = (
    "planes", "area", "eccentricity", "solidity", "roundness", "width", "grey", "grey spread", "against surround",
    "against rim", "texture inside", "texture of the rim", "spread around", "probability", "lowest probability",
    "highest probability", "probability around", "center",
)  # fmt: skip
"""What is known of an object: areas and widths as logarithms, grey values with black at 0 and white at 1."""

_PLANES = 5  # of an object, spread over its depth, are looked at
_MARGIN = 8  # pixels around a profile
_PENALTY = 1.0
CAREFUL = 0.2
"""Objects that are right with less than this probability are dropped: at 0.5 marks of one plane did harm on others."""


@dataclass(frozen=True)
class Verdicts:
    """What was learned from marks.

    Attributes
    ----------
    weights : tuple of float
        Of `FEATURES`, in standard deviations, and a last one of no feature.
    means, scales : tuple of float
        Of `FEATURES`, over all objects that there were.
    right, false : int
        How many objects were marked so.
    hits : float or None
        Part of the marks that would have been told from all the others, 0..1; None for fewer than five of a kind.
    """

    weights: tuple[float, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    right: int
    false: int
    hits: float | None = None

    def probabilities(self, features: pd.DataFrame) -> pd.Series[float]:
        """Return for each object, by id, how probably it is right."""
        values = _standard(features, np.array(self.means), np.array(self.scales))
        return pd.Series(_chance(np.array(self.weights), values), index=features.index, name="right")

    def __str__(self) -> str:
        worth = "too few to say what they are worth" if self.hits is None else f"{self.hits:.0%} told right"
        return f"{self.right} objects marked right, {self.false} false; {worth}"


def describe(
    labels: AnyLabels,
    stack: Stack,
    *,
    maps: Callable[[int], Maps | None] | None = None,
    ids: Sequence[int] | None = None,
) -> pd.DataFrame:
    """Describe each object by its profiles in up to five of its xy planes.

    Parameters
    ----------
    labels : Labels or (z, y, x) array of int
        0 is background.
    stack : Stack
        Image of the same shape.
    maps : callable, optional
        Returns the maps of an xy plane, or None where the net has not run: `KeptMaps.plane`, for one.
    ids : sequence of int, optional
        Which objects; all by default.

    Returns
    -------
    pandas.DataFrame
        `FEATURES` by id; NaN where there are no maps.

    Raises
    ------
    InputError
        If the image has another shape than the labels.
    """
    data = integers(labels, "labels")
    if data.shape != stack.shape:
        raise InputError(f"The labels are {data.shape}, the image {stack.shape}: they must be of one volume.")
    low, high = stack.contrast
    wanted = None if ids is None else set(map(int, ids))
    rows: dict[int, list[tuple[float, list[float]]]] = {}
    depth: dict[int, int] = {}
    for z, chosen in _profiles(data, wanted, depth):
        grey = (stack.plane(z).image.astype(np.float32) - low) / (high - low)
        said = maps(z) if maps is not None else None
        for id in chosen:
            area, values = _profile(data[z] == id, grey, said)
            rows.setdefault(id, []).append((area, values))
    table = {id: np.average([v for _, v in parts], axis=0, weights=[a for a, _ in parts]) for id, parts in rows.items()}
    found = pd.DataFrame.from_dict(table, orient="index", columns=list(FEATURES[1:])).sort_index()
    found.insert(0, FEATURES[0], np.log([depth[id] for id in found.index]) if len(found) else [])
    found.index.name = "id"
    return found


def learn(features: pd.DataFrame, right: Mapping[int, bool]) -> Verdicts:
    """Learn from marks which objects are right.

    Parameters
    ----------
    features : DataFrame
        From `describe`, of all objects, marked or not.
    right : mapping of int to bool
        True for objects that were marked right, False for false ones.

    Raises
    ------
    InputError
        If not both kinds are marked, or an object is none of the features.
    """
    missing = sorted(set(right) - set(features.index))
    if missing:
        raise InputError(f"There is no object {missing[0]} to learn from.")
    counts = [sum(bool(v) is kind for v in right.values()) for kind in (True, False)]
    if not all(counts):
        raise InputError("Mark at least one object right and one false: it takes both to tell them apart.")
    known = features[list(FEATURES)]
    means, scales = (part.fillna(0.0).to_numpy(np.float64) for part in (known.mean(), known.std(ddof=0)))
    marked = _standard(features.loc[list(right)], means, scales)
    truth = np.array([bool(v) for v in right.values()], np.float64)
    hits = None
    if min(counts) >= 5:
        told = [
            _chance(_fit(np.delete(marked, k, 0), np.delete(truth, k)), marked[k : k + 1])[0] >= 0.5
            for k in range(len(truth))
        ]
        hits = float(np.mean(np.array(told) == truth))
    weights = _fit(marked, truth)
    return Verdicts(tuple(weights.tolist()), tuple(means.tolist()), tuple(scales.tolist()), *counts, hits)


def drop_false(
    labels: AnyLabels, verdicts: Verdicts, features: pd.DataFrame, *, below: float = CAREFUL
) -> tuple[Labels, list[int]]:
    """Return the labels without objects that are probably false, and the ids of those.

    Parameters
    ----------
    labels : Labels or (z, y, x) array of int
        They are not changed.
    verdicts : Verdicts
        From `learn`.
    features : DataFrame
        Of these labels.
    below : float
        Objects that are right with less than this probability go.
    """
    chance = verdicts.probabilities(features)
    gone = [int(id) for id in chance.index[chance < below]]
    whole = labels if isinstance(labels, Labels) else Labels(labels)
    kept = fastremap.mask(whole.data, gone) if gone else whole.data
    return dataclasses.replace(whole, data=kept), gone


# -------------------------------------------------------------------------------------------------------------- objects


def _profiles(data: npt.NDArray[Any], wanted: set[int] | None, depth: dict[int, int]) -> list[tuple[int, list[int]]]:
    """Return the planes to look at, each with the objects that are looked at there; count the planes of all."""
    planes: dict[int, list[int]] = {}
    for z, plane in enumerate(data):
        for id in map(int, np.unique(plane)):
            if id and (wanted is None or id in wanted):
                planes.setdefault(id, []).append(z)
    looks: dict[int, list[int]] = {}
    for id, zs in planes.items():
        depth[id] = len(zs)
        inner = zs if len(zs) < 3 else zs[1:-1]  # at its ends an object is cut askew
        for k in np.unique(np.linspace(0, len(inner) - 1, min(_PLANES, len(inner))).round().astype(int)):
            looks.setdefault(inner[int(k)], []).append(id)
    return sorted(looks.items())


def _profile(mask: npt.NDArray[np.bool_], grey: npt.NDArray[np.float32], said: Maps | None) -> tuple[int, list[float]]:
    """Return the area of a profile, and its features after the first."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = tuple(slice(max(0, int(p[0]) - _MARGIN), int(p[-1]) + _MARGIN + 1) for p in (rows, columns))
    inside, image = mask[box], grey[box]
    area = int(inside.sum())
    core = ndimage.binary_erosion(inside, iterations=3)
    core = core if core.any() else inside
    rim = inside & ~ndimage.binary_erosion(inside, iterations=2)
    near = ndimage.binary_dilation(inside, iterations=6) & ~ndimage.binary_dilation(inside)
    near = near if near.any() else inside
    slope = ndimage.gaussian_gradient_magnitude(image, 1.5)
    shape = _shape(inside, area)
    middle = float(image[core].mean())
    tones = [
        float(image[inside].mean()), float(image[inside].std()), middle - float(image[near].mean()),
        middle - float(image[rim].mean()), float(slope[core].mean()), float(slope[rim].mean()),
        float(image[near].std()),
    ]  # fmt: skip
    return area, [*shape, *tones, *_said(inside, near, box, mask.shape, said)]


def _shape(inside: npt.NDArray[np.bool_], area: int) -> list[float]:
    from skimage.measure import regionprops

    (props,) = regionprops(inside.astype(np.uint8))
    around = max(float(props.perimeter), 1.0)
    solid = float(props.solidity) if min(inside.shape) > 2 * _MARGIN + 2 else 1.0
    width = np.log(float(props.axis_minor_length) + 1)
    return [np.log(area), float(props.eccentricity), solid, np.log(4 * np.pi * area / around**2), width]


def _said(
    inside: npt.NDArray[np.bool_], near: npt.NDArray[np.bool_], box: tuple[slice, ...], shape: tuple[int, ...],
    maps: Maps | None,
) -> list[float]:  # fmt: skip
    """Return what the net said of a profile, NaN where it said nothing."""
    names = [] if maps is None else [name for name in ("semantic", "center") if name in maps.heads]
    if maps is None or "semantic" not in names:
        return [np.nan] * 5
    whole = np.asarray(maps.semantic)[0]
    scale = 255.0 if whole.dtype == np.uint8 else 1.0
    semantic = whole[_within(box, shape, whole.shape)].astype(np.float32) / scale
    rows, columns = _nearest(semantic.shape, inside)
    on = semantic[rows, columns]
    center = np.nan
    if "center" in names:
        heat = np.asarray(maps.center, np.float32)
        peak = heat[_within(box, shape, heat.shape)]
        rows, columns = _nearest(peak.shape, inside)
        center = float(peak[rows, columns].max())
    rows, columns = _nearest(semantic.shape, near)
    around = float(semantic[rows, columns].mean())
    return [float(on.mean()), float(np.quantile(on, 0.1)), float(on.max()), around, center]


def _within(box: tuple[slice, ...], shape: tuple[int, ...], small: tuple[int, ...]) -> tuple[slice, ...]:
    """Return a box of a plane as one of a map of it, which may be coarser."""
    parts = []
    for part, n, m in zip(box, shape, small[-2:], strict=True):
        start = min(part.start * m // n, m - 1)
        parts.append(slice(start, max(start + 1, -(-min(part.stop, n) * m // n))))
    return tuple(parts)


def _nearest(shape: tuple[int, ...], mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[Any], ...]:
    """Return the places of a mask on a map of the same box."""
    return tuple(np.minimum(at * m // n, m - 1) for at, n, m in zip(np.nonzero(mask), mask.shape, shape, strict=True))


# ----------------------------------------------------------------------------------------------------------- regression


def _filled(features: pd.DataFrame) -> Vector:
    return features[list(FEATURES)].to_numpy(np.float64)


def _standard(features: pd.DataFrame, means: Vector, scales: Vector) -> Vector:
    """Return features in standard deviations; what is not known, or the same for all, counts as the mean."""
    values = (_filled(features) - means) / np.where(scales > 1e-9, scales, np.inf)
    return np.clip(np.nan_to_num(values), -5, 5)


def _fit(values: Vector, truth: Vector) -> Vector:
    """Return the weights with the smallest penalised loss; the last one stands for no feature."""
    rows = np.c_[values, np.ones(len(values))]
    penalty = np.diag([*[_PENALTY] * values.shape[1], _PENALTY / 10])
    weights: Vector = np.zeros(rows.shape[1])
    for _ in range(50):
        chance = _chance(weights, values)
        slope = rows.T @ (chance - truth) + penalty @ weights
        step = np.linalg.solve((rows * (chance * (1 - chance))[:, None]).T @ rows + penalty, slope)
        weights -= step
        if np.abs(step).max() < 1e-6:
            break
    return weights


def _chance(weights: Vector, values: Vector) -> Vector:
    chance: Vector = 1 / (1 + np.exp(-np.clip(values @ weights[:-1] + weights[-1], -50, 50)))
    return chance
