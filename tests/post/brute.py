"""Decoding once more, from the words of the documentation and in plain numpy: slow, and shares no line with mitonb."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

if TYPE_CHECKING:
    from mitonb.maps import Maps
    from mitonb.recipe import Recipe

SQUARE = np.ones((3, 3), bool)


@dataclass
class Brute:
    """What a plane of centers and offsets becomes.

    `aims` are (h, w, 2) y, x; `centers` (n, 2); `nearest` is 1 + the center of each foreground pixel, `sure` where no
    second center is as near but for rounding; `pieces` are connected, `ids` are those that are large enough.
    """

    inside: npt.NDArray[np.bool_]
    aims: npt.NDArray[Any]
    centers: npt.NDArray[Any]
    nearest: npt.NDArray[Any]
    sure: npt.NDArray[np.bool_]
    pieces: npt.NDArray[Any]
    ids: npt.NDArray[Any]


def decode(maps: Maps, recipe: Recipe) -> Brute:
    """Decode a plane of one class."""
    semantic = maps.semantic[0]
    inside = semantic / (255 if semantic.dtype == np.uint8 else 1) >= recipe.semantic_threshold - 1e-8
    published = recipe.rules == "published"
    center, offsets, stride = maps.center.astype(float), maps.offsets.astype(float), maps.output_stride
    if published:
        centers = windows(center, recipe.center_threshold, recipe.center_window) * stride
        aims = cells(offsets, stride, semantic.shape)
    else:
        if maps.pixel_offset:
            center, offsets = (moved(field, maps.pixel_offset / stride) for field in (center, offsets))
        centers = summits(center, recipe.center_threshold, -(-recipe.center_distance // stride) - 1) * stride
        aims = between(offsets, stride, inside)
    nearest, sure = owners(aims, centers, inside, lone=not published)
    pieces = np.zeros(semantic.shape, int)
    for k in np.unique(nearest[nearest > 0]):
        own, _ = ndimage.label(nearest == k, SQUARE)
        pieces[own > 0] = own[own > 0] + pieces.max()
    sizes = np.bincount(pieces.ravel())
    return Brute(inside, aims, centers, nearest, sure, pieces, np.where(sizes[pieces] >= recipe.min_area, pieces, 0))


def moved(field: npt.NDArray[Any], part: float) -> npt.NDArray[Any]:
    """Return values at places a part of a pixel before the pixels of the last two axes."""
    y, x = np.indices(field.shape[-2:]) - part
    flat = field.reshape(-1, *field.shape[-2:])
    return np.stack([ndimage.map_coordinates(f, [y, x], order=1, mode="nearest") for f in flat]).reshape(field.shape)


def summits(center: npt.NDArray[Any], threshold: float, radius: int) -> npt.NDArray[Any]:
    """Return peaks: above the threshold, nothing higher within a radius; one of a plateau, the first of equals."""
    radius, heat, kept = max(1, radius), np.float32(center), list[tuple[int, int]]()
    high = (heat > np.float32(threshold)) & (heat >= ndimage.grey_dilation(heat, (3, 3)))
    for level in np.unique(heat[high]):
        plateaus, count = ndimage.label(heat == level, SQUARE)
        for k in range(1, count + 1):
            own = plateaus == k
            if heat[ndimage.binary_dilation(own, SQUARE)].max() > level:
                continue
            places = np.argwhere(own)
            y, x = places[((places - places.mean(axis=0)) ** 2).sum(axis=1).argmin()].tolist()
            if heat[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1].max() <= level:
                kept.append((y, x))
    found = list[tuple[int, int]]()
    for y, x in sorted(kept):
        if all(max(abs(y - p), abs(x - q)) > radius for p, q in found):
            found.append((y, x))
    return np.array(found, int).reshape(-1, 2)


def windows(center: npt.NDArray[Any], threshold: float, window: int) -> npt.NDArray[Any]:
    """Return every pixel above a threshold that is the highest of its window."""
    heat, back = np.float32(center), window // 2
    return np.array(
        [
            (y, x)
            for y, x in np.argwhere(heat > np.float32(threshold))
            if heat[max(0, y - back) : y - back + window, max(0, x - back) : x - back + window].max() <= heat[y, x]
        ],
        int,
    ).reshape(-1, 2)


def cells(offsets: npt.NDArray[Any], stride: int, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return where each pixel points by the published rules: where its pixel of the map does."""
    spots = np.moveaxis(offsets + np.indices(offsets.shape[1:]) * stride, 0, -1)
    y, x = np.indices(shape) // stride
    return spots[y, x]


def between(offsets: npt.NDArray[Any], stride: int, inside: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """Return where each pixel points: the weighted mean of the map pixels around it, foreground before others."""
    h, w = offsets.shape[1:]
    spots = np.moveaxis(offsets + np.indices((h, w)) * stride, 0, -1)
    if stride == 1:
        return spots
    y, x = np.indices(inside.shape)
    total, weights, every, equal = 0.0, 0.0, 0.0, 0.0
    for down in (0, 1):
        for right in (0, 1):
            i, j = np.minimum(y // stride + down, h - 1), np.minimum(x // stride + right, w - 1)
            share = np.abs(1 - down - y % stride / stride) * np.abs(1 - right - x % stride / stride) + 1e-6
            own = (y == i * stride) & (x == j * stride)  # background is asked as if it were foreground
            says = share * (inside[i * stride, j * stride] | own)
            place = spots[i, j]
            total, weights = total + says[..., None] * place, weights + says
            every, equal = every + share[..., None] * place, equal + share
    return np.where(weights[..., None] > 0, total / np.maximum(weights, 1e-12)[..., None], every / equal[..., None])


def owners(
    aims: npt.NDArray[Any], centers: npt.NDArray[Any], inside: npt.NDArray[np.bool_], *, lone: bool
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Return 1 + the nearest center of each foreground pixel, and where that is beyond doubt."""
    nearest, sure = inside.astype(int) * lone, np.ones(inside.shape, bool)
    if len(centers):
        away = np.linalg.norm(aims[inside][:, None] - centers, axis=2)
        nearest[inside] = away.argmin(axis=1) + 1
        if len(centers) > 1:
            two = np.partition(away, 1, axis=1)
            sure[inside] = two[:, 1] - two[:, 0] > 1e-3
    return nearest, sure


def holes(ids: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the object that alone surrounds each background region of a plane, 0 where there is none."""
    regions, count = ndimage.label(ids == 0)
    filled = np.zeros(ids.shape, int)
    for k in range(1, count + 1):
        own = regions == k
        beside = np.unique(ids[ndimage.binary_dilation(own) & ~own])
        if len(beside) == 1 and not (own[[0, -1]].any() or own[:, [0, -1]].any()):
            filled[own] = beside[0]
    return filled
