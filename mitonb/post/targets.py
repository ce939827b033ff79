"""Target maps: what a perfect network would say about known ids; the inverse of decoding."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mitonb.errors import InputError
from mitonb.maps import HEADS, Maps
from mitonb.post import published
from mitonb.post.centers import connect
from mitonb.post.tables import as_ids

Map = npt.NDArray[np.float32]


def targets(
    labels: npt.NDArray[np.integer[Any]], *, heads: Sequence[str] = ("semantic", "center", "offsets"),
    output_stride: int = 1, sigma: float = 6.0, legacy: bool = False,
) -> Maps:  # fmt: skip
    """Draw the maps from which decoding finds these ids again.

    Each connected piece has a center of its own, its centroid, even where one id has several pieces: no net could see
    that they meet elsewhere. The heatmap is 1 at each centroid whatever lies beside it (the highest of the Gaussians,
    not their sum). Contours and distances are those of `contour_targets`, and in a volume contours also run between
    objects that meet in neighbouring planes. Affinities say for each axis whether a pixel
    belongs to the same object as the one before it.

    Parameters
    ----------
    labels : ([d,] h, w) array of int
        Instance ids of a plane or a volume; 0 is background.
    heads : sequence of str
        Which maps: "semantic", "center", "offsets", "contour", "distance", "affinities".
    output_stride : int
        Pixels of the plane per pixel of the center and offset maps.
    sigma : float
        Width of a center in pixels of the plane.
    legacy : bool
        Draw those of a plane as the published software does: crowded centers dim all others, and all pieces of an id
        share one center.

    Returns
    -------
    maps : Maps
        float32; one class, 1 inside objects. Offsets are 0 outside of objects, except, when `output_stride` > 1, at map
        pixels less than a stride away from one: those help to place its border.

    Raises
    ------
    InputError
        If the labels are no plane or volume of ids from 0 to 2**32 - 1, or there is no such head.
    """
    if output_stride < 1 or not sigma > 0:
        raise InputError(f"Targets need a stride of at least 1 and a sigma above 0, got {output_stride} and {sigma}.")
    ids = np.asarray(labels)
    if ids.ndim not in (2, 3) or ids.dtype.kind not in "bui" or (legacy and ids.ndim != 2):
        raise InputError(f"Targets are drawn for integer ids (h, w) or (d, h, w), got {ids.dtype} {ids.shape}.")
    if wrong := [name for name in heads if name not in HEADS]:
        raise InputError(f"There are targets for {', '.join(HEADS)}, got {wrong[0]!r}.")
    if legacy:
        return published.draw_targets(ids, output_stride=output_stride, sigma=sigma)
    pieces, count = connect(as_ids(ids))
    drawn: dict[str, Map] = {}
    if "center" in heads or "offsets" in heads:
        drawn["center"], drawn["offsets"] = _draw_centers(pieces, count, output_stride, sigma)
    if "contour" in heads or "distance" in heads:
        _, contour, distance = contour_targets(pieces)
        if pieces.ndim == 3:  # decoding a block, nothing else would part what meets in the next plane
            meet = (pieces[1:] != pieces[:-1]) & (pieces[1:] > 0) & (pieces[:-1] > 0)
            contour[1:][meet] = contour[:-1][meet] = 1
        drawn["contour"], drawn["distance"] = contour[None], distance[None]
    if "affinities" in heads:
        before = [np.roll(pieces, 1, axis) * _not_first(pieces.shape, axis) for axis in range(pieces.ndim)]
        drawn["affinities"] = np.stack([(pieces > 0) & (pieces == other) for other in before]).astype(np.float32)
    drawn["semantic"] = (pieces > 0).astype(np.float32)[None]
    return Maps({name: drawn[name] for name in heads}, output_stride)


def contour_targets(
    labels: npt.NDArray[np.integer[Any]], *, half_width: int = 1, inner: float = 8.0, outer: float = 50.0
) -> tuple[Map, Map, Map]:
    """Draw the maps that MitoEM's networks learn: foreground, contours, and distance to the border.

    All is drawn plane by plane, as those networks are trained on sections: no contour runs between planes.

    Parameters
    ----------
    labels : (z, y, x) or (y, x) array of int
        Instance ids; 0 is background.
    half_width : int
        Pixels that contours are widened by on each side; MitoEM takes 1, the winner of its challenge 2.
    inner, outer : float
        Pixels at which the distance inside and outside of objects is squashed to tanh(1).

    Returns
    -------
    semantic, contour, distance : float32 arrays
        Of the shape of the labels: 0 or 1; 0 or 1; and from -1 to 1, positive inside. The order that `decode_contours`
        takes them in.

    Raises
    ------
    InputError
        If the labels are no planes of whole numbers, or a width is out of range.
    """
    if labels.ndim not in (2, 3) or labels.dtype.kind not in "bui":
        raise InputError(f"Targets are drawn for integer ids (z, y, x) or (y, x), got {labels.dtype} {labels.shape}.")
    if half_width < 0 or not inner > 0 or not outer > 0:
        raise InputError(f"Widths are at least 0 and distances above 0, got {half_width}, {inner} and {outer}.")
    volume = labels if labels.ndim == 3 else labels[None]
    semantic = (volume > 0).astype(np.float32)
    contour, distance = np.empty_like(semantic), np.empty_like(semantic)
    for z, plane in enumerate(volume):
        contour[z] = _contour(plane, half_width)
        distance[z] = np.tanh(_depth(plane > 0, inner) - _depth(plane == 0, outer))
    return semantic.reshape(labels.shape), contour.reshape(labels.shape), distance.reshape(labels.shape)


def _draw_centers(pieces: npt.NDArray[np.uint32], count: int, stride: int, sigma: float) -> tuple[Map, Map]:
    """Return the center map of pieces 1..count, and the offsets to their centroids."""
    places = np.nonzero(pieces)
    number = pieces[places]
    area = np.bincount(number, minlength=count + 1)
    sums = [np.bincount(number, weights=place, minlength=count + 1) for place in places]
    middle = np.stack(sums, axis=1) / np.maximum(area, 1)[:, None]
    near = _nearest_piece(pieces, stride)
    center: Map = np.zeros(near.shape, np.float32)
    for place in middle[1:]:
        box, bells = [], []
        for at, size in zip(place, center.shape, strict=True):
            first, last = int(max(0, at - 4 * sigma) // stride), min(size, int((at + 4 * sigma) // stride) + 2)
            box.append(slice(first, last))
            bells.append(np.exp(-((np.arange(first, last) * stride - at) ** 2) / (2 * sigma**2)))
        part = center[tuple(box)]
        np.maximum(part, functools.reduce(np.multiply.outer, bells), out=part, casting="same_kind")
    offsets = np.moveaxis(middle[near], -1, 0) - np.indices(near.shape) * stride
    return center, (offsets * (near > 0)).astype(np.float32)


def _nearest_piece(pieces: npt.NDArray[np.uint32], stride: int) -> npt.NDArray[np.uint32]:
    """Return the piece at each pixel of the map, or the nearest one that is less than a stride away, or 0."""
    reach = stride - 1
    around = np.indices((2 * reach + 1,) * pieces.ndim).reshape(pieces.ndim, -1).T
    padded = np.pad(pieces, reach)
    found = np.zeros([-(-n // stride) for n in pieces.shape], np.uint32)
    for shift in around[np.argsort(((around - reach) ** 2).sum(axis=1), kind="stable")].tolist():
        there = padded[tuple(slice(a, a + n, stride) for a, n in zip(shift, pieces.shape, strict=True))]
        found = np.where(found == 0, there, found)
    return found


def _not_first(shape: tuple[int, ...], axis: int) -> npt.NDArray[np.bool_]:
    """Return where a pixel has another one before it along an axis."""
    return np.indices(shape, sparse=True)[axis] > 0


def _contour(plane: npt.NDArray[Any], half_width: int) -> npt.NDArray[np.bool_]:
    """Return the pixels whose neighbours on both sides differ, widened to squares."""
    padded = np.pad(plane, 1, mode="edge")
    edge = (padded[:-2, 1:-1] != padded[2:, 1:-1]) | (padded[1:-1, :-2] != padded[1:-1, 2:])
    side = 2 * half_width + 1
    return np.asarray(ndimage.maximum_filter(edge, size=(side, side)))


def _depth(mask: npt.NDArray[np.bool_], unit: float) -> npt.NDArray[np.float64]:
    """Return the distance of each pixel of a mask to the nearest one outside of it, in units."""
    if mask.all():  # nothing is outside: as deep as can be
        return np.full(mask.shape, 5.0)
    return np.asarray(ndimage.distance_transform_edt(mask) / unit)
