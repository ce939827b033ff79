"""What a training may learn from: parts of the picture that the user has looked through, square by square."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import fastremap
import ipywidgets as ipw
import numpy as np

from mitonb.box import Box
from mitonb.errors import InputError
from mitonb.widgets.style import Latest, button, count_text, error_html, follow, note, row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mitonb.maps import Maps
    from mitonb.session import Change, Session
    from mitonb.widgets.viewer import Viewer

SIDE = 256
"""Of a square, in pixels."""
_PLANES = 16  # that are looked at for the next square, beside the one on screen
_ASKED = (
    "Choose a part of the picture, correct it until every mitochondrion in it is outlined and nothing else, and call "
    "it reviewed. A training learns from reviewed parts alone: all around them is unknown."
)


class ReviewBar(ipw.VBox):
    """Chooses parts of the picture, and calls them reviewed; see `Session.mark_reviewed`.

    Parameters
    ----------
    session : Session
        With a stack.
    viewer : Viewer
        Shows what is chosen.
    maps : callable
        Returns the maps of an xy plane, or None where the net has not run.

    Attributes
    ----------
    chosen : Box or None
        The part that is worked on.
    """

    def __init__(self, session: Session, viewer: Viewer, maps: Callable[[int], Maps | None]) -> None:
        self.session, self.viewer, self.maps = session, viewer, maps
        self.chosen: Box | None = None
        self._offered: list[Box] = []
        tips = {
            "next": ("Next patch", "arrow-right", "Go to a square in which the model is unsure, or has found much"),
            "click": ("Patch at last click", "crosshairs", "The square around the pixel that was clicked last"),
            "plane": ("Plane on screen", "square-o", "The whole xy plane on screen"),
            "all": ("All planes", "clone", "The whole stack, where its labels are finished"),
            "done": ("Reviewed", "check", "In the chosen part every mitochondrion is outlined, and nothing else is"),
        }
        self.buttons = {name: button(*tip) for name, tip in tips.items()}
        self.buttons["all"].layout.display = None if session.shape[0] > 1 else "none"
        self.said = ipw.HTML()
        self._worker = Latest(self._count, failed=self._fail)
        parts = row(*self.buttons.values(), self.said).add_class("mnb-spaced")
        super().__init__([ipw.HTML(note(_ASKED)), parts], layout={"overflow": "visible"})
        doing = {
            "next": self.next, "click": lambda: self.choose(_square(session.position, session.shape)),
            "plane": self._choose_plane, "all": lambda: self.choose(Box((0, 0, 0), session.shape)),
            "done": self.review,
        }  # fmt: skip
        for name, pressed in self.buttons.items():
            pressed.on_click(lambda _, do=doing[name]: self._try(do))
        follow(self, session.edited, self._on_edited)
        self._refresh()

    def next(self) -> Box:
        """Choose a square that is neither reviewed nor was offered; see `propose`.

        Raises
        ------
        InputError
            If there is none.
        """
        here = self.viewer.index if self.viewer.axis == "xy" else self.session.position[0]
        found = propose(self.session, self.maps, [*self.session.reviewed, *self._offered], here)
        self._offered.append(found)
        return self.choose(found)

    def choose(self, box: Box) -> Box:
        """Choose a part, and show it."""
        self.chosen = box
        self.viewer.outline(box)
        self._refresh()
        return box

    def review(self) -> Change:
        """Call the chosen part reviewed; where it is already, all of the part that it lies in is not, and is chosen."""
        if self.chosen is None:
            raise InputError("Choose a part of the picture first.")
        around = self._around
        if not around:
            return self.session.mark_reviewed(self.chosen.start, self.chosen.stop)
        changes = [self.session.mark_reviewed(one.start, one.stop, reviewed=False) for one in around]
        self.choose(around[-1])
        return changes[-1]

    def groups(self) -> list[list[Box]]:
        """Return the reviewed boxes; those that touch, and so show the same, stand together."""
        groups: list[list[Box]] = []
        for box in self.session.reviewed:
            near = [group for group in groups if any(box.grow(1).meets(one) for one in group)]
            groups = [group for group in groups if group not in near] + [[*itertools.chain(*near), box]]
        return sorted((sorted(group, key=lambda box: box.start) for group in groups), key=lambda group: group[0].start)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until what is said is up to date; return whether it is."""
        return self._worker.wait(timeout)

    @property
    def _around(self) -> list[Box]:
        """The reviewed boxes that the chosen part lies in, the largest last."""
        found = [one for one in self.session.reviewed if self.chosen and one.union(self.chosen) == one]
        return sorted(found, key=lambda one: one.size)

    def _choose_plane(self) -> None:
        if self.viewer.axis != "xy":
            raise InputError(f"Reviewed planes are xy planes; on screen is one of {self.viewer.axis}.")
        _, h, w = self.session.shape
        self.choose(Box((self.viewer.index, 0, 0), (self.viewer.index + 1, h, w)))

    def _on_edited(self, change: Change) -> None:
        self._refresh()

    def _refresh(self) -> None:
        done, reviewed = self.buttons["done"], bool(self._around)
        done.disabled = self.chosen is None
        done.description = "Not reviewed after all" if reviewed else "Reviewed"
        done.button_style = "primary" if self.chosen and not reviewed else ""
        self._worker.ask()

    def _count(self) -> None:
        boxes = self.session.reviewed
        ids = {0}.union(*(fastremap.unique(self.session.labels.data[box.slices]).tolist() for box in boxes))
        many = "on" if len(ids) == 2 else "a"
        said = f"{count_text(len(boxes), 'part')} reviewed, with {len(ids) - 1:,} mitochondri{many}"
        self.said.value = note(said if boxes else "Nothing is reviewed yet.", "plain" if boxes else "dim")

    def _try(self, do: Callable[[], Any]) -> None:
        try:
            do()
        except Exception as error:  # a click has no caller
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self.said.value = error_html(error)


def propose(session: Session, maps: Callable[[int], Maps | None], done: Sequence[Box], here: int) -> Box:
    """Return the square that teaches most: where the maps are least sure, without maps where most is labelled.

    Of a stack the plane `here` and some others are looked at, and planes near to what is `done` come last.

    Raises
    ------
    InputError
        If everything is done.
    """
    depth, h, w = session.shape
    planes = {here, *np.linspace(0, depth - 1, min(depth, _PLANES)).astype(int).tolist()}
    said = {z: found.semantic[0].astype(np.float32) / 255 for z in planes if (found := maps(z)) is not None}
    worth = {z: p * (1 - p) for z, p in said.items()} or {z: session.labels.data[z] > 0 for z in planes}
    squares = [(z, y, x) for z in worth for y in _corners(h) for x in _corners(w)]
    scored = []
    for z, y, x in squares:
        box = Box((z, y, x), (z + 1, y + SIDE, x + SIDE)).clip(session.shape)
        again = [any(box.grow((far, 0, 0)).meets(one) for one in done) for far in (0, depth // 8 + 1)]
        if not again[0]:
            scored.append((not again[1], float(worth[z][box.slices[1:]].mean()), -abs(z - here), box))
    if not scored:
        raise InputError("Every square that was looked at is reviewed or was offered already: choose a part yourself.")
    return max(scored, key=lambda one: one[:3])[3]


def _corners(length: int) -> list[int]:
    """Return where squares begin along a side: as many as fit, evenly spread."""
    found: list[int] = np.linspace(0, max(0, length - SIDE), max(1, length // SIDE)).astype(int).tolist()
    return found


def _square(point: tuple[int, int, int], shape: tuple[int, int, int]) -> Box:
    """Return the square around a voxel; at an edge of the plane it is moved inside."""
    y, x = (min(max(0, at - SIDE // 2), max(0, n - SIDE)) for at, n in zip(point[1:], shape[1:], strict=True))
    return Box((point[0], y, x), (point[0] + 1, y + SIDE, x + SIDE)).clip(shape)
