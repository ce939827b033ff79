"""A run: from kept maps, plane by plane, to objects; how the maps come is somebody else's business."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb.infer.smoothing import smoothed_planes
from mitonb.job import Progress
from mitonb.post.cleaning import cleaning
from mitonb.post.decoding import decode
from mitonb.post.tables import relabel
from mitonb.post.tracking import Tracker
from mitonb.post.untangling import Untangler
from mitonb.post.voting import consensus
from mitonb.stack import AXES, Axis

if TYPE_CHECKING:
    from mitonb.infer.kept import KeptMaps
    from mitonb.recipe import Recipe

__all__ = ["WRITE_PLANES", "PlaneIds", "Run"]

Volume = npt.NDArray[np.uint32]
Fill = Callable[[Axis, int], Generator[None, None, None]]

WRITE_PLANES = 16
"""Planes written to a volume at once: a cache line holds 16 ids, and yz planes touch one per pixel."""


@dataclass(frozen=True)
class PlaneIds:
    """Preview of a run: the ids of a plane, before tracking.

    Attributes
    ----------
    axis, index
        Which plane.
    ids : (h, w) uint32 array
        Profiles 1..n.
    """

    axis: Axis
    index: int
    ids: Volume


class Run:
    """One way through the planes of all directions to labels; how the maps come is somebody else's business."""

    def __init__(self, shape: tuple[int, int, int], recipe: Recipe) -> None:
        self.shape = shape
        self.recipe = recipe
        self.done = 0
        self.total = sum(shape[AXES[axis]] for axis in recipe.planes) + len(recipe.planes) + 2
        self.volumes: dict[Axis, Volume] = {}
        self.trackers: dict[Axis, Tracker] = {}

    def progress(self, stage: str, preview: Any = None) -> Progress:
        return Progress(stage, self.done, self.total, preview)

    def planes(self, kept: KeptMaps, fill: Fill, *, rolling: bool) -> Generator[Progress, None, None]:
        """Decode all planes; `fill` puts the maps of a plane where they are missing."""
        recipe = self.recipe
        reach = recipe.median // 2
        for axis in recipe.planes:
            count = self.shape[AXES[axis]]
            tracker = self.trackers[axis] = Tracker(recipe)
            volume = self.volumes[axis] = np.empty(self.shape, np.uint32)
            writer = _Writer(np.moveaxis(volume, AXES[axis], 0))
            untangler = Untangler(recipe.lookahead)
            smoothed = smoothed_planes(kept, axis, recipe)
            ready = 0
            for index in range(count):
                while ready < min(count, index + reach + 1):
                    for _ in fill(axis, ready):
                        yield self.progress(f"predict {axis}")
                    ready += 1
                ids = decode(next(smoothed), recipe)
                if rolling and index >= reach:
                    kept.drop(axis, index - reach)
                for plane in untangler.add(ids):
                    writer.add(tracker.add(plane))
                self.done += 1
                yield self.progress(f"{axis} planes", PlaneIds(axis, index, ids))
            for plane in untangler.rest():
                writer.add(tracker.add(plane))
            writer.flush()
            if rolling:
                kept.clear()

    def objects(self) -> Generator[Progress, None, Volume]:
        """Track, vote and clean."""
        for axis in self.recipe.planes:
            yield self.progress(f"track {axis}")
            table = self.trackers[axis].objects()
            for k, plane in enumerate(self.volumes[axis]):
                relabel(plane, table)
                if k % 16 == 0:
                    yield self.progress(f"track {axis}")
            self.done += 1
        yield self.progress("consensus")
        ids = consensus(self.volumes, self.recipe, in_place=True)
        self.volumes.clear()
        self.done += 1
        for k, _ in enumerate(cleaning(ids, self.recipe)):
            if k % 16 == 0:
                yield self.progress("clean")
        self.done += 1
        yield self.progress("done")
        return ids


class _Writer:
    """Writes planes into a volume some at a time."""

    def __init__(self, planes: Volume) -> None:
        self._planes = planes
        self._waiting: list[Volume] = []
        self._next = 0

    def add(self, plane: Volume) -> None:
        self._waiting.append(plane)
        if len(self._waiting) == WRITE_PLANES:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            stop = self._next + len(self._waiting)
            self._planes[self._next : stop] = np.stack(self._waiting)
            self._next = stop
            self._waiting = []
