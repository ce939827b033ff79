"""The bar for volumes that are only looked at: a box around the last click, what it costs, and the way to have it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipywidgets as ipw
import numpy as np
from psygnal import Signal

from mitonb.box import Box
from mitonb.errors import InputError
from mitonb.job import Job
from mitonb.widgets.runs import JobBar
from mitonb.widgets.style import Latest, note

if TYPE_CHECKING:
    from collections.abc import Callable

    from mitonb.session import Session
    from mitonb.widgets.viewer import Viewer

_BUTTONS = {
    "box": (
        "Box at last click",
        "crosshairs",
        "A box around the voxel that was clicked last; it is framed",
    ),
    "fetch": ("Fetch", "download", "Bring the box to this machine, and work on it; what was stopped goes on"),
}
_SIDES = (128, 256, 512, 1024)
_ASKED = "Too large for labels: click on a place, choose a box around it, and fetch that to segment and correct it."


class FetchBar(JobBar):
    """Chooses a box of a volume, and fetches it.

    Attributes
    ----------
    box : Box or None
        What is chosen, in voxels of the finest level.
    fetched : Signal(Path)
        A box is here.
    """

    fetched = Signal(Path)
    primary = ("fetch", "box")

    def __init__(self, session: Session, viewer: Viewer) -> None:
        assert session.stack is not None
        self.session, self.viewer, self.stack = session, viewer, session.stack
        self.box: Box | None = None
        narrow = {"width": "auto"}
        sides = [(f"{side} x {side} x {side}", side) for side in _SIDES]
        self.side = ipw.Dropdown(options=sides, value=256, layout=narrow, tooltip="Voxels of the box")
        size = self.stack.voxel_size
        sizes = [" x ".join(f"{v:g}" for v in np.multiply(size or 1, one.factors)) for one in self.stack.levels]
        names = [f"level {k}: {text} {'nm' if size else 'voxels'}" for k, text in enumerate(sizes)]
        self.level = ipw.Dropdown(
            options=[(name, k) for k, name in enumerate(names)], layout=narrow, tooltip="Resolution that is fetched"
        )
        self.path = ipw.Text("part.ome.zarr", layout={"width": "200px"}, tooltip="Where to; ends in .ome.zarr")
        self._cost = Latest(self._say_cost, failed=self.fail)
        super().__init__(_BUTTONS, self.side, self.level, self.path)
        self.allow(fetch=False)
        self.asked.connect(self._on_asked)
        for one in (self.side, self.level):
            one.observe(lambda _: self.box and self._try(self.choose), "value")
        self.say(_ASKED)

    def choose(self, box: Box | None = None) -> Box:
        """Choose a box, by default that around the voxel where the user works; frame it and say what it costs."""
        if box is None:
            sides = [int(np.ceil(self.side.value * factor)) for factor in self.stack.levels[self.level.value].factors]
            ends = zip(self.session.position, sides, self.session.shape, strict=True)
            start = [min(max(0, at - side // 2), max(0, n - side)) for at, side, n in ends]
            z, y, x = (a + side for a, side in zip(start, sides, strict=True))
            box = Box((start[0], start[1], start[2]), (z, y, x)).clip(self.session.shape)
        self.box = box
        self.viewer.outline(box)
        self.allow(fetch=True)
        self._cost.ask(box, self.level.value)
        return box

    def fetch(self) -> Job[Path]:
        """Fetch the box, in a thread; `fetched` tells when it is here."""
        from mitonb.io.boxes import fetching

        if self.box is None:
            raise InputError("Choose a box first.")
        steps = fetching(self.stack, self.box, self.path.value.strip(), level=self.level.value)
        return self.watch(Job(steps, name="Fetch a box"), then=self._done)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is said what the box costs."""
        return self._cost.wait(timeout)

    def _done(self, path: Path) -> str:
        self.fetched.emit(path)
        return f"Fetched into {path}."

    def _say_cost(self, box: Box, level: int) -> None:
        from mitonb.io.boxes import fetch_cost

        self.message.value = note("asking for two blocks of it …")
        self.say(f"{fetch_cost(self.stack, box, level=level)}.", "plain")

    def _on_asked(self, what: str) -> None:
        self._try(self.choose if what == "box" else self.fetch)

    def _try(self, do: Callable[[], Any]) -> None:
        try:
            do()
        except Exception as error:  # a click has no caller
            self.fail(error)
