"""What the buttons of the workbench do: run planes and volumes of a session, and keep what the net said."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from mitonb.errors import InputError, wanting_torch
from mitonb.infer.again import redecoding
from mitonb.infer.doubts import inverted_note, pixel_notes
from mitonb.infer.kept import KeptMaps
from mitonb.infer.pipeline import predict, predicting, segmenting
from mitonb.job import Progress, Steps
from mitonb.post.decoding import centers, decode

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from mitonb.labels import Labels
    from mitonb.maps import Maps, Points
    from mitonb.recipe import Recipe
    from mitonb.session import Change, Session
    from mitonb.stack import Axis, Plane, Stack

__all__ = ["Runs"]

_MOST_PLANES = 48
"""Planes whose maps are remembered one by one: about 100 MB at 1024 x 1024 pixels."""


class Runs:
    """Runs of a session, as generators for `Job`, and the maps that they left.

    Parameters
    ----------
    session : Session
        Gets the results, each as one edit.

    Attributes
    ----------
    kept : KeptMaps or None
        What the net said in the runs of the volume; a cancelled run leaves what it has, and the next one goes on there.
    net_runs : int
        How often the net was asked for a plane or a volume.
    notes : tuple of str
        What the last run of a plane has to tell about the image.
    change : Change or None
        What the last run of the volume did to the labels.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.kept: KeptMaps | None = None
        self.net_runs = 0
        self.change: Change | None = None
        self._planes: OrderedDict[tuple[Axis, int], Maps] = OrderedDict()
        self._models: dict[str, Any] = {}
        self.notes: tuple[str, ...] = ()
        self._inverted: dict[tuple[str, bool, int], str] = {}
        self._lock = threading.Lock()

    @property
    def stack(self) -> Stack:
        """The image; a session that has labels only cannot run."""
        if self.session.stack is None:
            raise InputError("There is no image to run on: open the stack that these labels belong to.")
        return self.session.stack

    def model(self, name: str) -> Any:
        """Load a model, once."""
        # Late: torch costs seconds, and looking and correcting need none of it.
        with wanting_torch():
            from mitonb.models.zoo import load_model

        with self._lock:
            if name not in self._models:
                self._models = {name: load_model(name)}
            return self._models[name]

    def look(self, axis: Axis, index: int, recipe: Recipe) -> Steps[Maps]:
        """Run the net on one plane for its maps alone; the labels stay as they are."""
        plane = self.stack.plane(index, axis)
        yield Progress("loading the model", 0, 100)
        model = self.model(recipe.model)
        self.net_runs += 1
        maps: Maps = yield from predicting(plane, model=model, recipe=recipe)
        with self._lock:
            self._planes[axis, index] = maps
            self._planes.move_to_end((axis, index))
            while len(self._planes) > _MOST_PLANES:
                self._planes.popitem(last=False)
        self._doubt(axis, index, maps, recipe, model)
        return maps

    def _doubt(self, axis: Axis, index: int, maps: Maps, recipe: Recipe, model: Any) -> None:
        """Note what the run of a plane has to tell; whether the image is inverted is asked once."""
        size = self.stack.voxel_size
        notes = pixel_notes(size, recipe, model.spec, [axis])
        key = (recipe.model, recipe.invert, recipe.downsampling)
        if key not in self._inverted:

            def say(plane: Plane) -> Maps:
                return predict(plane, model=model, recipe=recipe)

            self._inverted[key] = inverted_note(self.stack.plane(index, axis), maps, recipe, say)
        self.notes = (*notes, *filter(None, [self._inverted[key]]))

    def plane(self, axis: Axis, index: int, recipe: Recipe, *, replace_corrected: bool = False) -> Steps[Change]:
        """Run the net on one plane and put its objects there; see `put`."""
        maps: Maps = yield from self.look(axis, index, recipe)
        return self.put(decode(maps, recipe), axis, index, recipe, replace_corrected=replace_corrected)

    def put(
        self, ids: npt.NDArray[np.uint32], axis: Axis, index: int, recipe: Recipe, *, replace_corrected: bool = False
    ) -> Change:
        """Put the profiles of a plane into the labels; see `mitonb.session.Session.adopt_plane`."""
        return self.session.adopt_plane(ids, axis, index, iou=recipe.track_iou, replace_corrected=replace_corrected)

    def volume(self, recipe: Recipe, *, replace_corrected: bool = False) -> Steps[Labels]:
        """Run the net on the whole stack and adopt the result as one edit; see `mitonb.session.Session.adopt`."""
        stack = self.stack
        yield Progress("loading the model", 0, 100)
        model = self.model(recipe.model)
        if not recipe.keep_maps:
            self.kept = None
        elif self.kept is None:
            self.kept = KeptMaps(stack.shape)
        self.net_runs += 1
        labels: Labels = yield from segmenting(stack, recipe, model=model, kept=self.kept)
        with self._lock:
            self._planes.clear()
        self.change = self.session.adopt(labels, replace_corrected=replace_corrected)
        return labels

    def complete(self, recipe: Recipe) -> bool:
        """Return whether the maps of every plane that a recipe needs are kept."""
        return self.kept is not None and all(self.kept.count(a) == self.stack.count(a) for a in recipe.planes)

    def again(self, recipe: Recipe, *, replace_corrected: bool = False) -> Steps[Labels]:
        """Decode and track the kept maps of the last volume run with another recipe; the net is not run."""
        if self.kept is None:
            raise InputError("No maps of the whole volume are kept: run Segment the volume with Keep maps first.")
        labels: Labels = yield from redecoding(self.kept, recipe)
        self.change = self.session.adopt(labels, replace_corrected=replace_corrected)
        return labels

    def maps(self, axis: Axis, index: int, median: int = 1) -> Maps | None:
        """Return what the net said about a plane, newest first, or None when it was not asked."""
        with self._lock:
            own, kept = self._planes.get((axis, index)), self.kept
        if own is not None or kept is None or not kept.has(axis, index):
            return own
        return kept.plane(axis, index, median)

    def preview(self, axis: Axis, index: int, recipe: Recipe) -> npt.NDArray[np.uint32] | None:
        """Decode what is kept of a plane with a recipe, for `put`; None when nothing is kept."""
        maps = self.maps(axis, index, recipe.median)
        return None if maps is None else decode(maps, recipe)

    def plane_with(
        self, ids: npt.NDArray[np.uint32], axis: Axis, index: int, recipe: Recipe, *, replace_corrected: bool = False
    ) -> npt.NDArray[np.uint32]:
        """Return a plane as `put` would leave it: what is there already has its own id."""
        return self.session.plane_with(ids, axis, index, iou=recipe.track_iou, replace_corrected=replace_corrected)

    def peaks(self, maps: Maps, recipe: Recipe) -> Points:
        """Return the peaks of a center map that a recipe takes, (n, 2) (y, x) in pixels of the plane."""
        return centers(maps, recipe)
