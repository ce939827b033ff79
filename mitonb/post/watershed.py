"""Watershed: objects from semantic, contour and distance maps, as the decoders of MitoEM find them.

The rules are those of PyTorch Connectomics 1 (`bc_watershed`, `bcd_watershed` and their simpler kin): maps of 8 bits,
strict comparisons, a threshold t stands for the level int(255 t). Two things are better defined here: float maps are
rounded to the same 256 levels by a scale that the caller states, and voxels of equal level are flooded in the order in
which they were reached, so that objects do not depend on what else is in the volume.
"""

from __future__ import annotations

from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mitonb.errors import AxesError, InputError
from mitonb.post.flood_settings import FLOODS, Flood, Pieces
from mitonb.post.flooding import flood, statistics
from mitonb.post.tables import as_ids, relabel

__all__ = ["FLOODS", "Flood", "Pieces", "decode_contours", "decode_pieces", "find_seeds"]

Level = npt.NDArray[np.uint8]


def decode_contours(
    semantic: npt.NDArray[Any],
    contour: npt.NDArray[Any] | None = None,
    distance: npt.NDArray[Any] | None = None,
    *,
    settings: Flood | str | None = None,
    seeds: npt.NDArray[Any] | None = None,
    scale: float | None = None,
) -> npt.NDArray[np.uint32]:
    """Find objects by a watershed from seeds: where a map of contours, or of distances too, tells touching ones apart.

    Parameters
    ----------
    semantic : (z, y, x) or (y, x) array
        Probability of the foreground.
    contour : array, optional
        Probability of the border of an object, of the same shape.
    distance : array, optional
        Distance to the border, squashed to -1..1 (in 8 bits 0..255), positive inside, of the same shape.
    settings : Flood or str, optional
        Thresholds and sizes, or the name of published ones: a key of `FLOODS`, such as "mitoem".
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
    >>> decode_contours(semantic, contour, settings=Flood(min_seed=1, min_size=1))[0, [0, 19, 21]]
    array([1, 1, 2], dtype=uint32)
    """
    settings = Flood.of(settings)
    s, c, d = _maps(semantic, contour, distance, scale)
    labels = _seeds(s, c, d, settings) if seeds is None else _given(seeds, np.shape(semantic), s.shape)
    height = np.zeros([n + 2 for n in s.shape], np.uint8)  # the flood wants a margin
    inner = height[1:-1, 1:-1, 1:-1]
    np.multiply(s, _foreground(s, d, settings), out=inner)
    if settings.ties == "published":
        from skimage.segmentation import watershed

        flooded = watershed(-inner.astype(np.float64), labels.astype(np.int32), mask=inner > 0)  # type: ignore[no-untyped-call]
        labels = flooded.astype(np.uint32)
    else:
        flood(height, labels)
    return _tidied(labels, settings).reshape(np.shape(semantic))


def find_seeds(
    semantic: npt.NDArray[Any],
    contour: npt.NDArray[Any] | None = None,
    distance: npt.NDArray[Any] | None = None,
    *,
    settings: Flood | str | None = None,
    scale: float | None = None,
) -> npt.NDArray[np.uint32]:
    """Return the seeds from which `decode_contours` floods: to look at, to correct, and to pass back to it.

    Parameters and errors are those of `decode_contours`. Seeds are numbered 1.. by their first voxels; pieces that
    touch at a corner are one.
    """
    s, c, d = _maps(semantic, contour, distance, scale)
    return _seeds(s, c, d, Flood.of(settings)).reshape(np.shape(semantic))


def decode_pieces(
    semantic: npt.NDArray[Any],
    contour: npt.NDArray[Any] | None = None,
    *,
    settings: Pieces | None = None,
    scale: float | None = None,
) -> npt.NDArray[np.uint32]:
    """Find objects as connected pieces of the foreground (without its contours, grown back afterwards).

    Parameters, result and errors are those of `decode_contours`.
    """
    settings = settings or Pieces()
    s, c, _ = _maps(semantic, contour, None, scale)
    inside = s > int(255 * settings.foreground)
    if c is not None:
        inside &= c < int(255 * settings.contour)
    labels = _components(inside)
    if c is not None and settings.growth > 1:
        labels = ndimage.maximum_filter(labels, size=(1, settings.growth, settings.growth))
    return _tidied(labels, settings).reshape(np.shape(semantic))


def _maps(
    semantic: npt.NDArray[Any], contour: npt.NDArray[Any] | None, distance: npt.NDArray[Any] | None, scale: float | None
) -> tuple[Level, Level | None, Level | None]:
    """Return the maps as volumes of 256 levels."""
    for name, value in (("semantic", semantic), ("contour", contour), ("distance", distance)):
        if value is not None and (np.shape(value) != np.shape(semantic) or np.ndim(value) not in (2, 3)):
            raise AxesError(
                f"Maps are planes (y, x) or volumes (z, y, x) of one shape, got {np.shape(value)} for {name} beside "
                f"{np.shape(semantic)}. Of an array (channel, z, y, x) pass *array."
            )
    s = _levels(np.asarray(semantic), scale, "semantic")
    c = None if contour is None else _levels(np.asarray(contour), scale, "contour")
    d = None if distance is None else _levels(np.asarray(distance), scale, "distance", signed=True)
    return s, c, d


def _levels(values: npt.NDArray[Any], scale: float | None, name: str, *, signed: bool = False) -> Level:
    """Round a map to 256 levels; values are never looked at to guess what they mean."""
    volume = values if values.ndim == 3 else values[None]
    kind = values.dtype.kind
    if values.dtype == np.uint8 and scale in (None, 255):
        return np.ascontiguousarray(volume)
    if kind not in "uif" or (scale is None and kind != "f"):
        raise InputError(
            f"The {name} map is of type {values.dtype}: without a scale, maps are float from 0 to 1 or uint8 from 0 to "
            "255. Pass scale=, the value that means certain."
        )
    top = 1.0 if scale is None else float(scale)
    if not 0 < top < float("inf"):
        raise InputError(f"The scale of maps is above 0, got {scale!r}.")
    # Whole numbers cannot be below 0 where that means far outside: there 0..scale stands for -1..1, as in 8 bits.
    bottom = -top if signed and kind == "f" else 0.0
    out = np.empty(volume.shape, np.uint8)
    for plane, target in zip(volume, out, strict=True):  # by planes: a float copy of a volume would be four times it
        level = (plane.astype(np.float32) - bottom) * np.float32(255 / (top - bottom))
        if not ((level > -0.5) & (level < 255.5)).all():
            raise InputError(
                f"The {name} map goes from {plane.min()} to {plane.max()}, but should go from {bottom:g} to {top:g}. "
                "Pass scale=, the value that means certain."
            )
        target[...] = np.rint(level)
    return out


def _seeds(s: Level, c: Level | None, d: Level | None, settings: Flood) -> npt.NDArray[np.uint32]:
    """Return the seeds, numbered by their first voxels."""
    inside = s > int(255 * settings.seed)
    if c is not None:
        inside &= c < int(255 * settings.contour)
    if d is not None:
        inside &= _above(d, settings.seed_distance)
    return _components(inside, settings.min_seed)


def _foreground(s: Level, d: Level | None, settings: Flood) -> npt.NDArray[np.bool_]:
    """Return where objects may be."""
    inside = s > int(255 * settings.foreground)
    if d is not None:
        inside &= _above(d, settings.foreground_distance)
    return inside


def _above(distance: Level, threshold: float) -> npt.NDArray[np.bool_]:
    """Compare distances, of which each level stands for one from -1 to 1, with a threshold."""
    return np.asarray((np.arange(256) / 255.0 * 2.0 - 1.0 > threshold)[distance])


def _components(inside: npt.NDArray[np.bool_], smallest: int = 1) -> npt.NDArray[np.uint32]:
    """Number the pieces of a mask (26 neighbours, 8 in a plane) that are not too small, by their first voxels."""
    if not inside.any():
        return np.zeros(inside.shape, np.uint32)
    pieces, count = cc3d.connected_components(
        inside, connectivity=26, return_N=True, binary_image=True, out_dtype=np.uint32
    )
    labels = pieces.astype(np.uint32, copy=False)
    sizes, _, _, order = statistics(labels, count)
    relabel(labels, _numbered(order[sizes[order] >= smallest], count))
    return labels


def _given(seeds: npt.NDArray[Any], shape: tuple[int, ...], volume: tuple[int, ...]) -> npt.NDArray[np.uint32]:
    """Return seeds of the caller under numbers without gaps, in the order of their ids."""
    if np.shape(seeds) != shape:
        raise AxesError(f"Seeds need the shape of the maps, {shape}, got {np.shape(seeds)}.")
    ids = as_ids(np.asarray(seeds)).reshape(volume)
    known = np.unique(ids)
    known = known[known > 0]
    out = np.zeros(volume, np.uint32)
    for plane, target in zip(ids, out, strict=True):
        there = plane > 0
        target[there] = np.searchsorted(known, plane[there]) + 1
    return out


def _tidied(labels: npt.NDArray[np.uint32], settings: Flood | Pieces) -> npt.NDArray[np.uint32]:
    """Deal with small objects, in place, and number the others without gaps, in the order of their ids."""
    highest = int(labels.max(initial=0))
    sizes, low, high, _ = statistics(labels, highest)
    large = sizes >= (1 if settings.small == "none" else max(1, settings.min_size))
    if settings.small == "neighbor":
        _join(labels, np.flatnonzero((sizes > 0) & ~large), low, high)
    relabel(labels, _numbered(np.flatnonzero(large), highest))
    return labels


def _join(
    labels: npt.NDArray[np.uint32], small: npt.NDArray[np.intp], low: npt.NDArray[np.int64], high: npt.NDArray[np.int64]
) -> None:
    """Give each small object, in the order of their ids, to the neighbour in the same planes that it touches most.

    The lowest id wins a tie; one that touches none is dropped.
    """
    for k in small:
        first = np.maximum(low[k] - (0, 1, 1), 0)
        z, y, x = (slice(a, b) for a, b in zip(first, high[k] + (0, 1, 1), strict=True))
        crop = labels[z, y, x]
        mine = crop == k
        ring = ndimage.binary_dilation(mine, np.ones((1, 3, 3), bool)) & ~mine
        ids, counts = np.unique(crop[ring & (crop > 0)], return_counts=True)
        into = int(ids[counts.argmax()]) if len(ids) else 0
        crop[mine] = into
        # What was joined to a small one goes on with it.
        low[into], high[into] = np.minimum(low[into], low[k]), np.maximum(high[into], high[k])


def _numbered(ids: npt.NDArray[np.integer[Any]], highest: int) -> npt.NDArray[np.uint32]:
    """Return the table that gives these ids the numbers 1.. in this order, and others 0."""
    table = np.zeros(highest + 1, np.uint32)
    table[ids] = np.arange(1, len(ids) + 1)
    return table
