"""Watch a run from a notebook: a bar with stage, time left and cancel, and in a viewer the plane that came last."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import ipywidgets as ipw
import numpy as np

from mitonb.errors import InputError
from mitonb.io.opening import open_labels
from mitonb.job import Job, Progress
from mitonb.labels import Labels, StoredLabels
from mitonb.stack import AXES, Stack
from mitonb.widgets.runs import JobBar
from mitonb.widgets.style import count_text
from mitonb.widgets.viewer import Viewer, view

if TYPE_CHECKING:
    from collections.abc import Callable

    from mitonb.job import Steps

_EVERY = 2.0  # least seconds between two planes
_SHARE = 20  # ... and at least so many times what one takes: the run waits meanwhile
_FOLLOW = "Show the planes as they are done, before objects are joined across them. Scroll away, and the picture stays"
_FITS = 1 << 28  # voxels of labels that are shown at the end


class WatchBar(JobBar):
    """A bar that runs the generator form of a long verb, and shows its planes in a viewer.

    Parameters
    ----------
    viewer : Viewer, optional
        Of the same stack. It stays where the user scrolls to; *follow the run* takes it along again.
    takes : bool
        Whether the viewer gets the labels at the end, if they are not too large.
    """

    stopped = ". What a run with out= has done is kept: start it again to go on, or to run anew without."

    def __init__(self, viewer: Viewer | None = None, *, takes: bool = False) -> None:
        self.viewer, self._takes = viewer, takes
        self._at: tuple[Any, int] | None = None
        self._due = 0.0
        self.follow = ipw.Checkbox(True, description="follow the run", indent=False, tooltip=_FOLLOW)
        self.follow.layout = {"width": "auto", "flex": "0 0 auto", "margin": "0 12px 0 0"}
        super().__init__({}, *([] if viewer is None else [self.follow]))
        self.worked.connect(self._on_worked)

    def run(self, steps: Steps[Any], name: str) -> Job[Any]:
        """Start a run, in a thread."""
        return self.watch(Job(steps, name=name), then=self._finish)

    def _on_progress(self, progress: Progress) -> None:
        super()._on_progress(progress)
        shown = progress.preview
        if self.viewer is not None and isinstance(shown, tuple) and time.monotonic() > self._due:
            began = time.monotonic()
            self._show_plane(self.viewer, *shown)
            took = time.monotonic() - began
            self._due = began + max(_EVERY, _SHARE * took)

    def _show_plane(self, viewer: Viewer, axis: Any, index: int, ids: Any) -> None:
        sides = tuple(n for k, n in enumerate(viewer.session.shape) if k != AXES[axis])
        if ids.shape != sides or index >= viewer.session.shape[AXES[axis]]:
            self.viewer = None
            known, size = viewer.session.shape, f"{axis} plane {index} with {ids.shape} pixels"
            self.say(f"The viewer shows another volume, of {known} voxels: this run has {size}. It goes on.", "error")
            return
        if self._at is not None and self._at != (viewer.axis, viewer.index):
            self.follow.value = False  # the user went elsewhere
        self._leave()
        if self.follow.value:
            viewer.axis, viewer.index = axis, index
            viewer.set_preview(axis, index, np.asarray(ids, np.uint32))
            self._at = axis, index

    def _finish(self, result: Any) -> str:
        """Show the labels that a run has made, and say where they are."""
        if isinstance(result, StoredLabels):
            self._take(result.shape, lambda: open_labels(result.path))
            return f"{count_text(result.count)} in {result.path}: mn.view(stack, mn.open_labels({str(result.path)!r}))"
        if isinstance(result, Labels):
            self._take(result.shape, lambda: result)
            return f"{count_text(len(result.ids()))}: take them with .job.result()."
        return "Done."

    def _take(self, shape: tuple[int, ...], labels: Callable[[], Labels]) -> None:
        """Put labels into the viewer, if it is there for that and they are not too large."""
        if self._takes and self.viewer is not None and shape == self.viewer.session.shape and math.prod(shape) <= _FITS:
            self.viewer.session.adopt(labels())

    def _on_worked(self, busy: bool) -> None:
        self.follow.layout.display = None if busy else "none"
        if not busy:
            self._leave()

    def _leave(self) -> None:
        """Take the last plane out of the viewer."""
        if self._at is not None and self.viewer is not None:
            self.viewer.set_preview(*self._at, None)
        self._at = None


def watch(steps: Steps[Any], shown: Any = None, *, name: str = "Run") -> WatchBar:
    """Run a long verb in a thread, so that the notebook stays free, and show how far it is.

    Parameters
    ----------
    steps : generator
        The generator form of a verb: `segmenting(...)`, `redecoding(...)`, `fetching(...)`.
    shown : Stack, Session, array, path or Viewer, optional
        Shows the planes of a run as they come, in a viewer under the bar or in yours. A viewer of a stack or an array
        (z, y, x) gets the labels at the end, if they have at most 270 million voxels; nothing else is written to.
    name : str
        What the bar calls it.

    Returns
    -------
    WatchBar
        A widget; `bar.job.result()` waits for what the verb returns; while a cell waits, Jupyter does not tell the
        kernel that *cancel* was pressed. A run with `out=` that was cancelled goes on from there when it is started
        again.

    Raises
    ------
    InputError
        If that is no generator, or one that has begun.

    Examples
    --------
    ``mn.watch(mn.segmenting(stack, out="labels.ome.zarr"), stack)``
    """
    if not isinstance(steps, Generator):
        late = (
            " That run is done: there is nothing to watch any more." if isinstance(steps, Labels | StoredLabels) else ""
        )
        raise InputError(
            f"watch runs the generator form of a verb: mn.segmenting(stack, ...). Got {type(steps).__name__}.{late}"
        )
    if inspect.getgeneratorstate(steps) != inspect.GEN_CREATED:
        raise InputError("These steps have begun already, or are done: call mn.segmenting(...) again, and watch that.")
    viewer = shown if shown is None or isinstance(shown, Viewer) else view(shown)
    bar = WatchBar(viewer, takes=isinstance(shown, Stack | np.ndarray))
    if viewer is not shown:
        bar.children = [*bar.children, viewer]
    bar.run(steps, name)
    return bar
