"""What a viewer has to show of each plane: image and labels of its session, kept maps, previews."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.errors import InputError
from mitonb.stack import AXES, Axis
from mitonb.widgets import bind

if TYPE_CHECKING:
    from mitonb.maps import Ids, Maps
    from mitonb.session import Session

__all__ = ["MAP_PARTS", "Planes"]

MAP_PARTS = ("semantic", "center", "offsets")
_KEPT_MAPS = 256 * 2**20
_MOST_PEAKS = 5000


class Planes:
    """The parts of planes, by axis and index; safe to use from several threads.

    Parameters
    ----------
    session : Session
        Owner of the image and the labels.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._maps: OrderedDict[tuple[str, int], tuple[Maps, npt.NDArray[np.int32] | None]] = OrderedDict()
        self._previews: dict[tuple[str, int], npt.NDArray[np.uint32]] = {}
        self._lock = threading.Lock()
        self._reading = threading.Lock()

    def set_maps(self, axis: Axis, index: int, maps: Maps | None, peaks: npt.ArrayLike | None) -> None:
        """Keep the maps of a plane in the place of older ones; the oldest of other planes go when they are too much.

        Raises
        ------
        InputError
            If there is no such plane, or if it has another shape.
        """
        self._check(axis, index)
        points = None if peaks is None else np.asarray(peaks, dtype=np.int32).reshape(-1, 2)
        with self._lock:
            self._maps.pop((axis, index), None)
            if maps is None:
                return
            want = self._shape(axis)
            if maps.shape != want:
                raise InputError(f"A {axis} plane of this stack is {want}, got maps of {maps.shape}.")
            self._maps[axis, index] = (maps.kept(), points)
            while len(self._maps) > 1 and sum(m.nbytes for m, _ in self._maps.values()) > _KEPT_MAPS:
                self._maps.popitem(last=False)

    def set_preview(self, axis: Axis, index: int, ids: Ids | None) -> None:
        """Keep the preview of a plane.

        Raises
        ------
        InputError
            If there is no such plane, or if it has another shape.
        """
        self._check(axis, index)
        with self._lock:
            self._previews.pop((axis, index), None)
            if ids is not None:
                if ids.shape != self._shape(axis):
                    raise InputError(f"A {axis} plane is {self._shape(axis)}, got ids of {ids.shape}.")
                self._previews[axis, index] = np.ascontiguousarray(ids, dtype=np.uint32)

    def clear_previews(self) -> None:
        """Drop all previews."""
        with self._lock:
            self._previews.clear()

    def preview(self, axis: Axis, index: int) -> npt.NDArray[np.uint32] | None:
        """Return the preview of a plane."""
        with self._lock:
            return self._previews.get((axis, index))

    def extras(self) -> list[str]:
        """Return which planes have more than image and labels, such as "maps/xy/17"."""
        with self._lock:
            return [*(f"maps/{a}/{i}" for a, i in self._maps), *(f"preview/{a}/{i}" for a, i in self._previews)]

    def pixels(
        self, part: str, axis: Axis, index: int, step: int = 1
    ) -> tuple[npt.NDArray[Any], dict[str, Any]] | None:
        """Return one part of a plane and what a browser must know of it besides; None where there is none.

        Parameters
        ----------
        step : int
            Take one pixel of so many, of images only.
        """
        if part == "image":
            stack = self.session.stack
            if stack is None:
                return None
            # Readers of files need not be thread-safe.
            with self._reading:
                image = stack.plane(index, axis).image
            return bind.shrink(bind.gray(image, *stack.intensity), step), {"step": step}
        if part == "labels":
            return bind.cut(self.session.labels.data, axis, index), {}
        if part == "preview":
            ids = self.preview(axis, index)
            return None if ids is None else (ids, {})
        with self._lock:
            maps, peaks = self._maps.get((axis, index), (None, None))
        if maps is None:
            return None
        maps = maps.cropped()
        if part == "semantic":
            return maps.semantic.max(axis=0), {}
        if part == "offsets":
            return maps.offsets, {"step": maps.output_stride}
        return maps.center, {
            "step": maps.output_stride,
            "peaks": None if peaks is None else peaks[:_MOST_PEAKS].tolist(),
        }

    def _shape(self, axis: Axis) -> tuple[int, int]:
        h, w = (n for i, n in enumerate(self.session.shape) if i != AXES[axis])
        return h, w

    def _check(self, axis: Axis, index: int) -> None:
        bind.choice({"axis": axis}, "axis", list(AXES))
        bind.whole({"index": int(index)}, "index", 0, self.session.shape[AXES[axis]] - 1)
