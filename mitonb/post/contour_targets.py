"""Contour targets: the semantic, contour and distance maps of known ids; what `decode_contours` takes back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mitonb.errors import InputError

__all__ = ["contour_targets"]

Map = npt.NDArray[np.float32]


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
