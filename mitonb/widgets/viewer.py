"""The plane viewer: one anywidget that shows a session's stack, labels and maps, and corrects the labels.

The kernel owns everything; the browser keeps a cache of planes and an outbox of edits. Small view facts are traits,
pixels travel as binary messages (see `protocol`), texts never as traits, so that a saved notebook holds none of them.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import fastremap
import numpy as np
import numpy.typing as npt
import traitlets as t
from psygnal import Signal

from mitonb.accuracy import score
from mitonb.box import Box
from mitonb.colors import overlay
from mitonb.edit import ops, verbs
from mitonb.errors import InputError
from mitonb.labels import Labels
from mitonb.levels import level_for, widest, window
from mitonb.maps import COARSE, FLOATS, Ids, Maps
from mitonb.post.microscope import Microscope
from mitonb.session import Session
from mitonb.stack import AXES, Axis, Plane, Stack, in_order
from mitonb.widgets.protocol import HEADS, WINDOWED, Conversation, cut, ends
from mitonb.widgets.style import Saved, as_png, count_text, follow, gray, thinned

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from mitonb.edit.edits import Edit
    from mitonb.recipe import Recipe

_STATIC = Path(__file__).parent / "static"
_KEPT = 256 * 2**20  # bytes of maps and previews
BIG = 1 << 23
"""Pixels above which planes are shown in parts; as in js/scope.js."""
_READ = 1 << 26  # pixels of a level that are read to show their means
_MOST_PEAKS = 5000
_AROUND = 48  # voxels around places that are asked about
_MOST_LENSES = 8  # planes whose decoding is kept to explain its pixels
_UNSEEN = "The network has not seen this plane yet: segment it, or look at its maps."

Pixels = tuple[npt.NDArray[Any], dict[str, Any]]

TOOLS = ("look", "pick", "why", *verbs.TOOLS)
"""What a press on the picture does: looks, takes a label, or corrects."""
LAYERS: dict[str, dict[str, Any]] = {
    "em": {"visible": True, "low": 0, "high": 255, "views": {}},  # views: another low and high, by direction
    "labels": {"visible": True, "style": "fill", "opacity": 0.45, "width": 1.5},
    "semantic": {"visible": False, "opacity": 0.6},
    "center": {"visible": False, "opacity": 0.7, "peaks": True},
    "offsets": {"visible": False, "opacity": 0.6, "arrows": True},
    **{name: {"visible": False, "opacity": 0.6} for name in ("contour", "distance", "affinities")},
    "preview": {"visible": True, "opacity": 0.6},
}
"""The layers and their first settings; `Viewer.layers` has the same form."""


class Planes:
    """What there is to show of each plane: image and labels of a session, maps, previews; safe to use from threads."""

    def __init__(self, session: Session) -> None:
        self.session = session
        # Of each plane, by the names of its parts: pixels, and what a browser must know of them besides.
        self._extras: dict[tuple[str, int], dict[str, Pixels]] = {}
        # What an object would become: ids in a box, until it is taken or left.
        self._proposed: tuple[Box, npt.NDArray[np.uint32]] | None = None
        # Other labels to compare with, and what they are called.
        self.other: npt.NDArray[np.uint32] | None = None
        self.compared = ""
        # Where there is more than what is shown: the maps of a plane, or None.
        self.maps: Callable[[Axis, int], Maps | None] = lambda *_: None
        self._lenses: dict[tuple[Axis, int], Microscope] = {}
        self._lock = threading.Lock()
        self._reading = threading.Lock()

    def keep(self, axis: Axis, index: int, names: Collection[str], given: Any, parts: dict[str, Pixels]) -> None:
        """Replace some parts of a plane; those of other planes go when all are too much, the oldest first."""
        data = self.session.labels.data
        ops.checked_index(data, axis, index)
        if given is not None:
            ops.whole_plane(data, given.shape, axis, index)
        with self._lock:
            old = self._extras.pop((axis, index), {})
            self._extras[axis, index] = {name: p for name, p in old.items() if name not in names} | parts
            while len(self._extras) > 1 and sum(a.nbytes for p in self._extras.values() for a, _ in p.values()) > _KEPT:
                del self._extras[next(iter(self._extras))]

    def focus(self, axis: Axis, index: int, lens: Microscope | None) -> None:
        """Keep what explains the pixels of a plane; None takes it away."""
        with self._lock:
            self._lenses.pop((axis, index), None)
            if lens is not None:
                self._lenses[axis, index] = lens
            while len(self._lenses) > _MOST_LENSES:
                del self._lenses[next(iter(self._lenses))]

    def explain(self, axis: Axis, index: int, row: int, column: int) -> dict[str, Any]:
        """Return why a pixel belongs to its object or to none, as a page takes it."""
        lens = self._lenses.get((axis, index))
        if lens is None:
            return {"text": _UNSEEN, "taken": False, "vote": None, "centers": []}
        why = lens.explain(row, column)
        found = [(center.y, center.x) for center in why.centers]
        return {"text": why.text, "taken": why.object > 0, "vote": why.vote, "centers": found}

    def above(self, axis: Axis, index: int, threshold: Any) -> npt.NDArray[np.bool_]:
        """Return where on a plane the semantic map says more than a threshold.

        Raises
        ------
        InputError
            If there is no such map, or the threshold is none.
        """
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
            raise InputError(f"The semantic map is compared with a number from 0 to 1, got {threshold!r:.60}.")
        found = self._extras.get((axis, index), {}).get("semantic")
        if found is None and (maps := self.maps(axis, index)) is not None:
            found = _drawn(maps, None).get("semantic")
        if found is None:
            raise InputError(
                f"No semantic map of {axis} plane {index} is at hand, or not any more: segment the plane (again), or "
                "turn 'only above' off (Shift-P)."
            )
        return np.asarray(found[0] > 255 * threshold)

    def extras(self) -> list[str]:
        """Return which planes have more than image and labels, such as "semantic/xy/17"."""
        with self._lock:
            return [f"{part}/{axis}/{index}" for (axis, index), parts in self._extras.items() for part in parts]

    def is_huge(self, axis: Axis) -> bool:
        """Return whether planes of a direction are shown in parts."""
        return cut(self.session.labels.data, axis, 0).size > BIG

    def widest(self, axis: Axis) -> int:
        """Return how many pixels of a plane, along a side, can be shown at once; 0 where that is all of it."""
        stack = self.session.stack
        return widest(stack, axis) if stack is not None and self.is_huge(axis) else 0

    def pixels(
        self, part: str, axis: Axis, index: int, step: int = 1, seen: tuple[slice, slice] | None = None
    ) -> Pixels | None:
        """Return one part of a plane and what a browser must know of it besides; None where there is none.

        Of images, `step` pixels on a side become one. Of a plane of which only rows and columns are `seen` that is so
        for ids, too: they are those of the first pixels.
        """
        stack = self.session.stack
        if part == "image" and stack is not None:
            return self._image(stack, axis, index, step, seen)
        if part == "labels":
            # Of a volume that is only looked at nothing need travel.
            found: Pixels | None = None if self.session.only_looks else (cut(self.session.labels.data, axis, index), {})
        elif part == "proposal":
            found = self._proposal(axis, index)
        elif part == "other":
            found = None if self.other is None else (cut(self.other, axis, index), {})
        else:
            found = self._extras.get((axis, index), {}).get(part)
        if found is None or seen is None or part not in WINDOWED:
            return found
        rows, columns = (slice(part.start, part.stop, step) for part in seen)
        return found[0][rows, columns], found[1]

    def _image(self, stack: Stack, axis: Axis, index: int, step: int, seen: tuple[slice, slice] | None) -> Pixels:
        # Readers of files need not be thread-safe.
        with contextlib.nullcontext() if getattr(stack.data, "blocks", None) else self._reading:
            if seen is None:
                image, rest = stack.plane(index, axis).image, step
            else:
                # Of the finest level that is read, means are taken where that is not too much.
                factors = [f for k, f in enumerate(level_for(stack, axis, step).factors) if k != AXES[axis]]
                pixels = math.prod(part.stop - part.start for part in seen) / math.prod(factors)
                rest = 1 << int(math.log2(max(1.0, step / max(factors)))) if pixels <= _READ else 1
                image = window(stack, axis, index, *seen, step // rest)
        ready = image.dtype == np.uint8 and stack.intensity == (0.0, 255.0)
        return shrink(image if ready else gray(image, *stack.intensity), rest), {"step": step}

    def propose(self, ids: Sequence[int], edit: Edit) -> tuple[Box, npt.NDArray[np.uint32]]:
        """Show what an edit would make of objects, and return it: ids in a box around them."""
        known = [box for id in ids if (box := self.session.box(id))]
        box = reduce(Box.union, known, edit.box if edit.parts else known[0])
        view = self.session.labels.data[box.slices]
        shown = np.where(np.isin(view, ids), view, 0).astype(np.uint32)
        for part in edit.parts:
            inside = tuple(
                slice(a - o, b - o) for o, a, b in zip(box.start, part.box.start, part.box.stop, strict=True)
            )
            shown[inside].flat[part.index] = np.repeat(part.runs[:, 3], part.runs[:, 1])
        self._proposed = box, shown
        return self._proposed

    def withdraw(self) -> bool:
        """Show no proposal any more; return whether there was one."""
        there, self._proposed = self._proposed is not None, None
        return there

    def _proposal(self, axis: Axis, index: int) -> Pixels | None:
        found, along = self._proposed, AXES[axis]
        if found is None or not found[0].start[along] <= index < found[0].stop[along]:
            return None
        box, ids = found
        plane = np.zeros(cut(self.session.labels.data, axis, index).shape, np.uint32)
        rows, columns = (part for i, part in enumerate(box.slices) if i != along)
        plane[rows, columns] = cut(ids, axis, index - box.start[along])
        return plane, {}

    def peaks_in(self, axis: Axis, index: int, id: object) -> list[list[int]]:
        """Return the centers that the network saw in an object on a plane, where its maps are shown; (z, y, x) each."""
        shown = self._extras.get((axis, index), {}).get("center")
        peaks = np.array(shown[1].get("peaks", ()) if shown else (), np.int64).reshape(-1, 2)
        inside = peaks[cut(self.session.labels.data, axis, index)[tuple(peaks.T)] == id]
        found: list[list[int]] = np.insert(inside, AXES[axis], index, axis=1).tolist()
        return found


def _drawn(maps: Maps, peaks: npt.ArrayLike | None) -> dict[str, Pixels]:
    """Return what a page draws of maps, head by head."""
    parts: dict[str, Pixels] = {}
    for name, head in maps.kept().cropped().heads.items():
        if name in COARSE:
            parts[name] = head, {"step": maps.output_stride}
        else:
            highest = head.max(axis=0)  # of several classes or channels
            scaled = gray(highest, 0, max(1.0, float(highest.max()))) if name in FLOATS else highest
            parts[name] = scaled, {}
    if peaks is not None and "center" in parts:
        parts["center"][1]["peaks"] = np.asarray(peaks, np.int32).reshape(-1, 2)[:_MOST_PEAKS].tolist()
    return parts


class Viewer(Saved, anywidget.AnyWidget):
    """Look at a session's planes, with maps and labels on them, and correct the labels with mouse and keys.

    Parameters
    ----------
    session : Session
        Owner of the stack and the labels; every edit is one of its verbs.
    axis : {"xy", "xz", "yz"}
        Direction of the planes shown first.
    index : int, optional
        Plane shown first; by default the middle one.
    height : int, optional
        Height in CSS pixels, bars included; None follows the window. The width is that of the cell.

    Attributes
    ----------
    axis, index, tool, brush, active_id, selected, preserve, ball, layers : traits
        What is shown and what the next stroke does; set them from Python as you like.
    above : float
        Brush and fill write only where the semantic map says more, where this is not 0.
    hidden, isolated : list of int
        Objects that are not shown, and those that alone are shown, where there are any; labels never change by it. What
        is selected is seen: it is hidden no longer, and alone if others were.
    comparison : {"", "curtain", "blink", "difference"}
        How the labels are shown beside those that `compare` took; "" shows them alone.
    panes : {1, 4}
        One plane, or planes of all three directions through the place where the user works.
    running : bool
        Whether a run is under way, whose result will be shown here.
    marks : dict
        Ids of the objects that are marked "right" or "false", to be mended ("fix"), "unsure" or "locked"; they bear a
        sign on the picture. And the boxes that are "reviewed" or "chosen" (see `outline`), as six numbers each: the
        first voxel, and the one beyond the last.
    strokes : list of dict
        What the session's strokes teach, as the page draws them.
    asked : Signal(str)
        A command that the viewer leaves to others, such as "segment-plane" (Enter).
    peeked : Signal(str)
        The field of the recipe that the user is about to move, "" for none any more.
    moved : Signal(tuple)
        The user clicked on a voxel (z, y, x).
    answered : Signal(str)
        How the user answered what `ask` asked: one of its answers, or "leave" (Esc).
    """

    _esm = _STATIC / "viewer.js"
    _css = _STATIC / "viewer.css"

    axis = t.Enum(list(AXES), "xy").tag(sync=True)
    index = t.Int(0).tag(sync=True)
    tool = t.Enum(TOOLS, "look").tag(sync=True)
    brush = t.Int(8, min=0, max=256).tag(sync=True)
    active_id = t.Int(1, min=1, max=2**32 - 1).tag(sync=True)
    selected = t.List(t.Int(min=1, max=2**32 - 1), maxlen=10_000).tag(sync=True)
    hidden = t.List(t.Int(min=1, max=2**32 - 1)).tag(sync=True)
    isolated = t.List(t.Int(min=1, max=2**32 - 1)).tag(sync=True)
    comparison = t.Enum(["", "curtain", "blink", "difference"], "").tag(sync=True)
    panes = t.Enum([1, 4], 1).tag(sync=True)
    preserve = t.Bool(False).tag(sync=True)
    ball = t.Bool(False).tag(sync=True)
    above = t.Float(0.0, min=0, max=1).tag(sync=True)
    layers = t.Dict().tag(sync=True)
    height = t.Int(None, allow_none=True, min=240, max=4000).tag(sync=True)
    running = t.Bool(False).tag(sync=True)
    marks = t.Dict().tag(sync=True)
    strokes: t.List[Any] = t.List().tag(sync=True)

    asked = Signal(str)
    peeked = Signal(str)
    moved = Signal(tuple)
    answered = Signal(str)

    def __init__(
        self, session: Session, *, axis: Axis = "xy", index: int | None = None, height: int | None = None, **traits: Any
    ) -> None:
        self.session = session
        traits["layers"] = {"em": {**LAYERS["em"], **_first_contrast(session.stack)}, **traits.get("layers", {})}
        focus = session.stack.focus if session.stack is not None else None
        index = (focus or [n // 2 for n in session.shape])[AXES[axis]] if index is None else index
        super().__init__(axis=axis, index=index, height=height, active_id=session.free_ids(1)[0], **traits)
        self._planes = Planes(session)
        self._conversation = Conversation(self, self._planes)
        self._outlined: Box | None = None
        self.on_msg(self._conversation.receive)
        talk = self._conversation
        follow(self, session.edited, self._on_edited)
        follow(self, session.selected, self._on_session_selected)
        follow(self, session.moved, talk.on_moved)
        follow(self, session.state_changed, talk.on_state)
        follow(self, session.reviewing, talk.on_reviewing)
        self._show_marks()

    def when_told(self, action: Callable[[], object]) -> None:
        """Do something that acts on `axis` and `index` once these are what the user sees; for buttons elsewhere."""
        self._conversation.when_told(action)

    # --- what Python sets ---------------------------------------------------------------------------------------

    def set_maps(
        self, axis: Axis, index: int, maps: Maps | None, peaks: npt.ArrayLike | None = None,
        recipe: Recipe | None = None,
    ) -> None:  # fmt: skip
        """Show what a network said about a plane; None takes it away.

        Parameters
        ----------
        peaks : (n, 2) array, optional
            (y, x) of the centers that decoding took, in plane pixels.
        recipe : Recipe, optional
            By which the tool "why" explains pixels, with lengths in pixels.
        """
        self._planes.focus(axis, index, None if maps is None else Microscope(maps, recipe))
        self._planes.keep(axis, index, HEADS, maps, {} if maps is None else _drawn(maps, peaks))
        self._conversation.stale(HEADS, axis, index, present=list(maps.heads) if maps else [])

    def find_maps_with(self, find: Callable[[Axis, int], Maps | None]) -> None:
        """Look there for maps of planes that are shown no more; a stroke may come late."""
        self._planes.maps = find

    def set_preview(self, axis: Axis, index: int, ids: Ids | None) -> None:
        """Show ids over the labels of a plane without changing them; None takes them away.

        What has an id of the labels has its colour, too; new ids get colours that their neighbours have not.
        """
        shown: dict[str, Pixels] = {} if ids is None else {"preview": (np.ascontiguousarray(ids, dtype=np.uint32), {})}
        self._planes.keep(axis, index, ("preview",), ids, shown)
        if ids is not None:
            self._conversation.color(ids)
        if ids is not None and (axis, index) == (self.axis, self.index):
            # A slider that decodes live should not wait for a question.
            self._conversation.push_part("preview", axis, index)
        else:
            self._conversation.stale(("preview",), axis, index, present=[] if ids is None else ["preview"])

    def show_foreseen(
        self, axis: Axis, index: int, text: str = "", marks: Sequence[tuple[str, str, int, int]] = ()
    ) -> None:
        """Mark on a plane what settings would change; without a text, nothing more.

        Parameters
        ----------
        marks : sequence of (str, str, int, int)
            What happens ("appear", "vanish", "merge", "split"), on which side of the setting ("low", "high"), and where
            (y, x).
        """
        self._conversation.post({"kind": "foreseen", "axis": axis, "index": index, "text": text, "marks": list(marks)})

    def ask(
        self, text: str, answers: dict[str, str], places: Sequence[tuple[int, int]], axis: Axis, index: int
    ) -> None:
        """Ask something over the picture; `answered` tells what a key or a button says to it.

        Parameters
        ----------
        answers : dict of str to str
            The texts of the buttons by what they say: "yes" (Y), "no" (N), "skip" (Shift-U), "enough" (Enter),
            "back" (Ctrl-Z).
        places : sequence of (int, int)
            Pixels (y, x) of a plane that it is about: gone to, and marked until it is answered.
        """
        points = [np.insert(place, AXES[axis], index).tolist() for place in places]
        if points:
            self.axis, self.index = axis, index
            low, high = np.min(points, axis=0).tolist(), (np.max(points, axis=0) + 1).tolist()
            middle = [(a + b) // 2 for a, b in zip(low, high, strict=True)]
            around = ends(Box(tuple(low), tuple(high)).grow(_AROUND))
            self._conversation.post({"kind": "center", "point": middle, "box": around})
        self._conversation.say(text, answers=list(answers.items()), places=points)

    def say(self, text: str, *, error: bool = False) -> None:
        """Show a sentence over the picture for a while."""
        self._conversation.say(text, error=error)

    def preview(self, axis: Axis, index: int) -> Ids | None:
        """Return the ids that `set_preview` shows on a plane, or None."""
        found = self._planes.pixels("preview", axis, index)
        return None if found is None else found[0]

    def show(self, z: int, y: int, x: int) -> None:
        """Go to a voxel."""
        self.index = int((z, y, x)[AXES[self.axis]])
        self._conversation.post({"kind": "center", "point": [int(z), int(y), int(x)]})

    def compare(self, labels: Labels | npt.ArrayLike | int | None = None, *, name: str = "") -> None:
        """Show other labels beside those of the session: by a curtain, by blinking, or as their difference (A).

        They are only looked at. Objects that share half of their voxels (IoU) have one colour, and are no difference.

        Parameters
        ----------
        labels : Labels, (z, y, x) array of whole numbers or int, optional
            What to compare with; a number is the edit of `session.history()` before which they were so. By default the
            labels before the last run.
        name : str, optional
            What they are called on the screen.

        Raises
        ------
        InputError
            If their shape is another, or there was no such edit or no run.
        """
        session = self.session
        if labels is None or isinstance(labels, int):
            labels, name = session.labels_before(labels), name or "before"
        other = labels if isinstance(labels, Labels) else Labels(np.asarray(labels), session.voxel_size)
        if other.shape != session.shape:
            raise InputError(f"Labels to compare with have the shape {session.shape}, got {other.shape}.")
        same = {one.id: one.truth for one in score(other, session.labels).matches(0.5)}
        rest = sorted({*other.ids()} - {*same})
        same |= zip(rest, session.free_ids(len(rest)), strict=True)
        self._planes.other = fastremap.remap(other.data, {0: 0} | same)
        self._planes.compared = (name or "other")[:60]
        self._conversation.post({"kind": "compared", "name": self._planes.compared})
        self.comparison = self.comparison or "curtain"

    def outline(self, box: Box | None) -> None:
        """Draw a frame around a box and go there, to an xy plane of it; None takes the frame away."""
        self._outlined = box
        self._show_marks()
        if box is not None:
            z, y, x = ((a + b) // 2 for a, b in zip(box.start, box.stop, strict=True))
            z = self.index if self.axis == "xy" and box.start[0] <= self.index < box.stop[0] else z
            self.axis, self.index = "xy", z
            self.session.move_to(z, y, x)
            self._conversation.post({"kind": "center", "point": [z, y, x], "box": ends(box)})

    def set_layer(self, name: str, **settings: Any) -> None:
        """Change settings of one layer, such as `set_layer("labels", style="outline")`."""
        if name not in LAYERS or set(settings) - set(LAYERS[name]):
            raise InputError(f"Layers and their settings are {LAYERS}; got {name!r} with {settings}.")
        self.layers = {**self.layers, name: {**self.layers[name], **settings}}

    def saved(self) -> tuple[str, dict[str, str]]:
        """Return the plane on screen with its objects, for readers without a kernel."""
        found = count_text(len(self.session.ids()))
        ids, stack = cut(self.session.labels.data, self.axis, self.index), self.session.stack
        plane: Any = np.zeros(ids.shape) if stack is None else None
        if stack is not None and ids.size > BIG:  # its middle, as far as it can be shown at once
            most = self._planes.widest(self.axis) or max(ids.shape)
            middles = [slice(max(0, (n - most) // 2), min(n, (n + most) // 2)) for n in ids.shape]
            step = 1 << max(0, math.ceil(math.log2(min(most, max(ids.shape)) / 1024)))
            ids = ids[tuple(slice(part.start, part.stop, step) for part in middles)]
            plane = Plane(
                window(stack, self.axis, self.index, middles[0], middles[1], step), self.axis, self.index,
                stack.intensity, stack.contrast,
            )  # fmt: skip
        elif stack is not None:
            plane = stack.plane(self.index, self.axis)
        picture = as_png(thinned(overlay(plane, ids, colors=self.session)))
        return f"mitonb viewer: {self.axis} plane {self.index}, {found}", picture

    @property
    def planes(self) -> Planes:
        """What there is to show of each plane."""
        return self._planes

    def introduce(self) -> dict[str, Any]:
        """Return the first message to a page: what is shown, and what can be done with it."""
        return self._conversation.introduce()

    def close(self) -> None:
        """Leave the session and close the widget."""
        self._conversation.leave()
        super().close()

    # --- traits -------------------------------------------------------------------------------------------------

    @t.validate("index")
    def _checked_index(self, proposal: Any) -> int:
        return int(min(max(proposal["value"], 0), self.session.shape[AXES[self.axis]] - 1))

    @t.observe("axis")
    def _on_axis(self, _: Any) -> None:
        self.index = min(self.index, self.session.shape[AXES[self.axis]] - 1)

    @t.observe("selected")
    def _on_selected(self, change: Any) -> None:
        chosen = change["new"]
        self.session.select(*chosen)
        seen = {*chosen}
        self.hidden = [id for id in self.hidden if id not in seen]
        if self.isolated and not seen <= {*self.isolated}:
            self.isolated = chosen
        if len(chosen) == 1:
            self._conversation.say_note(lambda one: one.id == chosen[0])

    @t.validate("layers")
    def _checked_layers(self, proposal: Any) -> dict[str, dict[str, Any]]:
        """Return complete layer settings; unknown names and settings are dropped."""
        given = proposal["value"]
        return {
            name: settings | {key: v for key, v in given.get(name, {}).items() if key in settings}
            for name, settings in LAYERS.items()
        }

    def _on_edited(self, change: Any) -> None:
        if self.isolated and change.new:  # parts of what stands alone are seen, too
            self.isolated = [*dict.fromkeys((*self.isolated, *change.new))]  # the page may have said it already
        if change.renamed:
            was, to = change.renamed
            for name in ("hidden", "isolated"):
                setattr(self, name, [to if id == was else id for id in getattr(self, name)])
            self.active_id = to if self.active_id == was else self.active_id
        self._conversation.on_edited(change)
        self._show_marks()
        if change.what in ("adopt", "adopt_plane") and self._planes.other is not None:
            # What there was before the last run is something else now.
            self.comparison, self._planes.other, self._planes.compared = "", None, ""
            self._conversation.post({"kind": "compared", "name": ""})

    def _show_marks(self) -> None:
        judged: dict[int, Any] = {**self.session.marks, **self.session.doubted}
        kinds = (("right", True), ("false", False), ("fix", "fix"), ("unsure", "unsure"))
        boxes = {"reviewed": self.session.reviewed, "chosen": [self._outlined] if self._outlined else []}
        boxes["chosen"] = [one for one in boxes["chosen"] if one not in boxes["reviewed"]]
        self.marks = {
            **{name: [id for id, said in judged.items() if said == kind] for name, kind in kinds},
            "locked": self.session.locked,
            "noted": [one.id for one in self.session.noted if one.id],
            "places": [[*one.point] for one in self.session.noted if one.point],
            **{name: [[*box.start, *box.stop] for box in some] for name, some in boxes.items()},
        }
        self.strokes = [
            {"op": "teach_mito" if s.mito else "teach_not", "axis": s.axis, "index": s.plane, "radius": s.radius,
             "points": s.line.ravel().tolist()} for s in self.session.strokes
        ]  # fmt: skip

    def _on_session_selected(self, ids: tuple[int, ...]) -> None:
        self.selected = [*ids]


def _first_contrast(stack: Stack | None) -> dict[str, int]:
    """Return the range that the picture really has, in 1/255 of the intensity window."""
    if stack is None:
        return {}
    low, high = stack.intensity
    a, b = (round(min(max(255 * (v - low) / (high - low), 0), 255)) for v in stack.contrast)
    return {"low": a, "high": b} if b - a >= 4 else {}


def shrink(image: npt.NDArray[np.uint8], step: int) -> npt.NDArray[np.uint8]:
    """Return the means of blocks of step x step pixels; (h, w) becomes (ceil(h / step), ceil(w / step))."""
    if step == 1:
        return image
    # Rows and columns are repeated at the far edges, so that a last, thinner block is not darkened.
    image = np.pad(image, [(0, -n % step) for n in image.shape], mode="edge")
    h, w = image.shape
    total = image.reshape(h // step, step, w).sum(1, dtype=np.uint32).reshape(h // step, w // step, step).sum(2)
    return ((total + step * step // 2) // (step * step)).astype(np.uint8)


def view(source: Any, labels: Labels | npt.ArrayLike | None = None, **options: Any) -> Viewer:
    """Show a stack, and labels on it, in a viewer; without a session of yours it makes one in memory.

    Parameters
    ----------
    source : Session, Stack, Labels, (z, y, x) array or path
        What to show. Of a session every edit goes on in it; a path is a file of an image or a project.
    labels : Labels or (z, y, x) array of whole numbers, optional
        Shown on a stack.
    **options
        As in `Viewer`.
    """
    return Viewer(session_of(source, labels), **options)


def session_of(source: Any, labels: Any = None, path: str | os.PathLike[str] | None = None) -> Session:
    """Return the session of what is to be looked at: `source` as in `view`, `labels` and `path` as in `Session`.

    Raises
    ------
    InputError
        If labels or a project file are given for a session, which has its own.
    """
    if isinstance(source, str | os.PathLike):
        from mitonb.io.opening import open as open_stack

        is_project = Path(source).suffix.lower() == ".mitonb"
        source = Session.open(Path(source)) if is_project else open_stack(source)
    if isinstance(source, Session):
        if labels is not None or path is not None:
            raise InputError("A session has labels and a project file of its own: leave labels= and path= out.")
        return source
    if isinstance(source, Labels):
        if labels is not None:
            raise InputError("Labels were given twice: the first argument is the image, labels= are the labels on it.")
        source, labels = None, source
    if source is not None and not isinstance(source, Stack):
        source = Stack(np.asarray(in_order(source)))
    if source is not None and labels is not None and not isinstance(labels, Labels):
        labels = Labels(labels, source.voxel_size)
    return Session(source, labels, None if path is None else Path(path))
