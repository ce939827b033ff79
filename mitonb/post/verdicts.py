"""Teach by verdicts: a few objects marked right or false are enough to find the other false ones.

Method: logistic regression with a penalty on large weights (Hoerl & Kennard 1970; Cox 1958), by Newton's steps, on the
shape, the grey values and the map values of each object. A few dozen numbers, so that a recipe can hold them.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import fastremap
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage
from scipy.spatial import ConvexHull

from mitonb.errors import InputError
from mitonb.labels import AnyLabels, Labels, integers
from mitonb.recipe import Verdicts
from mitonb.stack import LazyArray, Plane, Stack, read_part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mitonb.maps import Maps

Vector = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Box = tuple[slice, slice]

FEATURES = (
    "planes", "area", "eccentricity", "solidity", "roundness", "width", "grey", "grey spread", "against surround",
    "against rim", "texture inside", "texture of the rim", "spread around", "probability", "lowest probability",
    "highest probability", "probability around", "center",
)  # fmt: skip
"""What is known of an object: areas and widths as logarithms, grey values with black at 0 and white at 1."""

_PLANES = 3  # of an object, spread over its depth, are looked at
_MARGIN = 8  # pixels around a profile
_PENALTY = 1.0
_CHECKED = 3  # marks of each kind from which on it can be said how many of them the others tell


def describe_objects(
    labels: AnyLabels | Stack, stack: Stack | Plane, *, maps: Callable[[int], Maps | None] | None = None,
    ids: Iterable[int] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Describe each object by its profiles in up to three of its xy planes.

    Parameters
    ----------
    labels : Labels, (z, y, x) array of int, or Stack of whole numbers
        0 is background. With a plane, an (h, w) array.
    stack : Stack or Plane
        Image of the same shape.
    maps : callable, optional
        Returns the maps of an xy plane, or None where the net has not run: `KeptMaps.plane`, for one.
    ids : iterable of int, optional
        Which objects; all by default.

    Returns
    -------
    pandas.DataFrame
        `FEATURES` by id; NaN where there are no maps, and for the number of planes of labels that have just one.

    Raises
    ------
    InputError
        If the image has another shape than the labels.
    """
    flat = isinstance(stack, Plane)
    black, white = stack.contrast or Stack(np.asarray(stack)[None]).contrast
    data: LazyArray = labels.data if isinstance(labels, Stack) else integers(labels, "labels")
    if tuple(data.shape) != tuple(stack.shape):
        raise InputError(f"The labels are {tuple(data.shape)}, the image {stack.shape}: they must be of one volume.")
    data = data[None] if flat else data
    found: dict[int, list[tuple[int, list[float]]]] = {}
    depths, looks = _profiles(data, None if ids is None else set(map(int, ids)))
    for z, chosen in looks:
        plane, image = _plane(data, z), stack.image if isinstance(stack, Plane) else stack.plane(z).image
        grey = (image.astype(np.float32) - black) / max(white - black, 1e-6)
        said = maps(z) if maps is not None else None
        for id, box in chosen:
            inside = plane[box] == id
            if inside.any():  # else an edit took it away meanwhile, in labels that somebody works on
                found.setdefault(id, []).append(_profile(inside, box, grey, said))
    rows = {id: np.average([v for _, v in parts], axis=0, weights=[a for a, _ in parts]) for id, parts in found.items()}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(FEATURES[1:])).sort_index()
    deep = [np.log(depths[id]) if data.shape[0] > 1 else np.nan for id in table.index]
    table.insert(0, FEATURES[0], np.array(deep, np.float64))
    table.index.name = "id"
    return table


def learn_verdicts(features: pd.DataFrame, marks: Mapping[int, bool], *, below: float = Verdicts.below) -> Verdicts:
    """Learn from marks which objects are right.

    Parameters
    ----------
    features : DataFrame
        From `describe_objects`, of all objects, marked or not.
    marks : mapping of int to bool
        True for objects that were marked right, False for false ones; `Session.marks`, for one.
    below : float
        Objects that are right with less than this probability shall be dropped. Low is careful: at 0.5, marks of one
        plane did harm on others.

    Returns
    -------
    verdicts : Verdicts
        For `drop_false`, and for a recipe: `recipe.replace(verdicts=verdicts)` drops false objects in every run.

    Raises
    ------
    InputError
        If not both kinds are marked, or an object is none of the features.

    Examples
    --------
    ``features = mn.describe_objects(session.labels, session.stack)``
    ``verdicts = mn.learn_verdicts(features, {3: True, 8: True, 5: False})``
    """
    if missing := sorted(set(marks) - set(features.index)):
        raise InputError(f"There is no object {missing[0]} to learn from.")
    truth = np.array([bool(kind) for kind in marks.values()], np.float64)
    right, false = int(truth.sum()), int((1 - truth).sum())
    if not right or not false:
        raise InputError("Mark at least one object right and one false: it takes both to tell them apart.")
    known = features[list(FEATURES)]
    means, scales = (part.fillna(0.0).to_numpy(np.float64) for part in (known.mean(), known.std(ddof=0)))
    marked = _standard(known.loc[list(marks)], means, scales)
    told = None
    if min(right, false) >= _CHECKED:
        others = [_fit(np.delete(marked, k, 0), np.delete(truth, k)) for k in range(len(truth))]
        said = [_chance(weights, row[None])[0] >= 0.5 for weights, row in zip(others, marked, strict=True)]
        told = float(np.mean(np.array(said) == truth))
    *weights, bias = _fit(marked, truth).tolist()
    numbers = zip(FEATURES, weights, means.tolist(), scales.tolist(), strict=True)
    return Verdicts(features=tuple(numbers), bias=bias, below=below, right=right, false=false, told=told)


def chances(verdicts: Verdicts, features: pd.DataFrame) -> pd.Series[float]:
    """Return for each object, by id, how probably it is right, 0..1.

    Raises
    ------
    InputError
        If the verdicts were learned from features that this version does not know.
    """
    names, weights, means, scales = zip(*verdicts.features, strict=True) if verdicts.features else ((), (), (), ())
    if unknown := [name for name in names if name not in features.columns]:
        raise InputError(f"These verdicts look at {unknown[0]!r}, which is not known of objects here. Mark anew.")
    values = _standard(features[list(names)], np.array(means), np.array(scales))
    return pd.Series(_chance(np.array([*weights, verdicts.bias]), values), index=features.index, name="right")


def false_ids(verdicts: Verdicts, features: pd.DataFrame) -> list[int]:
    """Return the ids of objects that are right with less than the probability `verdicts.below`."""
    chance = chances(verdicts, features)
    return [int(id) for id in chance.index[chance < verdicts.below]]


def drop_false(labels: AnyLabels, verdicts: Verdicts, features: pd.DataFrame) -> tuple[Labels, list[int]]:
    """Return the labels without objects that are probably false, and the ids of those.

    Parameters
    ----------
    labels : Labels or array of int
        They are not changed.
    verdicts : Verdicts
        From `learn_verdicts`; `dataclasses.replace(verdicts, below=0.1)` is more careful.
    features : DataFrame
        From `describe_objects`, of these labels.
    """
    gone = false_ids(verdicts, features)
    whole = labels if isinstance(labels, Labels) else Labels(labels)
    return dataclasses.replace(whole, data=fastremap.mask(whole.data, gone) if gone else whole.data), gone


# -------------------------------------------------------------------------------------------------------------- objects


def _plane(data: LazyArray, z: int) -> npt.NDArray[Any]:
    return np.ascontiguousarray(read_part(data, (slice(z, z + 1), slice(None), slice(None)))[0])


def _profiles(data: LazyArray, wanted: set[int] | None) -> tuple[dict[int, int], list[tuple[int, list[Any]]]]:
    """Return how many planes each object has; and the planes to look at, each with objects there and their boxes."""
    found: dict[int, list[tuple[int, Box]]] = {}
    for z in range(data.shape[0]):
        small, names = fastremap.renumber(_plane(data, z), preserve_zero=True, in_place=False)
        boxes = ndimage.find_objects(small)
        for id, number in names.items():
            if id and (wanted is None or id in wanted):
                found.setdefault(int(id), []).append((z, _wider(boxes[number - 1], data.shape[1:])))
    looks: dict[int, list[tuple[int, Box]]] = {}
    for id, places in found.items():
        inner = places if len(places) < 3 else places[1:-1]  # at its ends an object is cut askew
        for k in np.unique(np.linspace(0, len(inner) - 1, min(_PLANES, len(inner))).round().astype(int)):
            z, box = inner[int(k)]
            looks.setdefault(z, []).append((id, box))
    return {id: len(places) for id, places in found.items()}, sorted(looks.items())


def _wider(box: Box, shape: tuple[int, ...]) -> Box:
    y, x = (slice(max(0, s.start - _MARGIN), min(n, s.stop + _MARGIN)) for s, n in zip(box, shape, strict=True))
    return y, x


def _profile(inside: Mask, box: Box, plane: npt.NDArray[np.float32], said: Maps | None) -> tuple[int, list[float]]:
    """Return the area of a profile, and its features after the first."""
    image = plane[box]
    # In steps to a side: how deep a pixel lies, the border of the plane being an edge, and how far it is from the rest.
    depth = ndimage.distance_transform_cdt(np.pad(inside, 1), "taxicab")[1:-1, 1:-1]
    away = ndimage.distance_transform_cdt(~inside, "taxicab") if not inside.all() else np.zeros(inside.shape, np.int32)
    core = depth > 3 if (depth > 3).any() else inside
    rim = inside & (depth <= 2)
    near = (away > 1) & (away <= 6)
    near = near if near.any() else inside
    slope = ndimage.gaussian_gradient_magnitude(image, 1.5)
    middle = float(image[core].mean())
    tones = [
        float(image[inside].mean()), float(image[inside].std()), middle - float(image[near].mean()),
        middle - float(image[rim].mean()), float(slope[core].mean()), float(slope[rim].mean()),
        float(image[near].std()),
    ]  # fmt: skip
    shape = _shape(inside, depth == 1)
    return int(inside.sum()), [*shape, *tones, *_said(inside, near, box, said)]


def _shape(inside: Mask, outline: Mask) -> list[float]:
    """Return area, eccentricity, solidity, roundness and width, of the ellipse with the same spread where it says."""
    from skimage.measure import perimeter  # late: it takes time to load

    points = np.argwhere(inside)
    area = len(points)
    # A pixel is a square, not a point.
    short, long = np.linalg.eigvalsh(np.atleast_2d(np.cov(points.T, ddof=0) if area > 1 else 0) + np.eye(2) / 12)
    corners = (np.argwhere(outline)[:, None] + [(0, 0), (0, 1), (1, 0), (1, 1)]).reshape(-1, 2)
    around = max(float(perimeter(np.pad(inside, 1))), 1.0)  # type: ignore[no-untyped-call]
    solidity, roundness = area / ConvexHull(corners).volume, np.log(4 * np.pi * area / around**2)
    return [np.log(area), np.sqrt(1 - short / long), solidity, roundness, np.log(4 * np.sqrt(short) + 1)]


def _said(inside: Mask, near: Mask, box: Box, maps: Maps | None) -> list[float]:
    """Return what the net said of a profile, NaN where it said nothing."""
    if maps is None or "semantic" not in maps:
        return [np.nan] * 5
    whole = maps.semantic[0]
    semantic = whole[box].astype(np.float32) / (255 if whole.dtype == np.uint8 else 1)
    on, peak = semantic[inside], np.nan
    if "center" in maps:
        y, x = (places + part.start for places, part in zip(np.nonzero(inside), box, strict=True))
        rows, columns = maps.center.shape
        stride = maps.output_stride
        peak = float(maps.center[np.minimum(y // stride, rows - 1), np.minimum(x // stride, columns - 1)].max())
    return [float(on.mean()), float(np.quantile(on, 0.1)), float(on.max()), float(semantic[near].mean()), peak]


# ----------------------------------------------------------------------------------------------------------- regression


def _standard(features: pd.DataFrame, means: Vector, scales: Vector) -> Vector:
    """Return features in standard deviations; what is not known, or the same for all, counts as the mean."""
    values = (features.to_numpy(np.float64) - means) / np.where(scales > 1e-9, scales, np.inf)
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
    return 1 / (1 + np.exp(-np.clip(values @ weights[:-1] + weights[-1], -50, 50)))
