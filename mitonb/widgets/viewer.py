"""The plane viewer: one anywidget that shows a session's stack, labels and maps, and corrects the labels.

The kernel owns everything; the browser keeps a cache of planes and an outbox of edits. Small view facts are traits,
pixels travel as binary messages (see `bind`), texts never as traits, so that a saved notebook holds none of them.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import anywidget
import numpy as np
import numpy.typing as npt
import traitlets as t
from psygnal import Signal

from mitonb import colors
from mitonb.errors import InputError, MitonbError
from mitonb.labels import Labels
from mitonb.session import Session
from mitonb.stack import AXES, Axis, Stack
from mitonb.widgets import bind
from mitonb.widgets.planes import MAP_PARTS, Planes

if TYPE_CHECKING:
    from mitonb.maps import Ids, Maps

__all__ = ["LAYERS", "TOOLS", "Viewer", "view"]

_log = logging.getLogger(__name__)
_STATIC = Path(__file__).parent / "static"

TOOLS = ("look", "pick", "paint", "erase", "fill", "merge")
COMMANDS = (
    "segment-plane",
    "apply-preview",
    "discard-preview",
)
LAYERS: dict[str, dict[str, Any]] = {
    "em": {"visible": True, "low": 0, "high": 255},
    "labels": {"visible": True, "style": "fill", "opacity": 0.45},
    "semantic": {"visible": False, "opacity": 0.6},
    "center": {"visible": False, "opacity": 0.7, "peaks": True},
    "offsets": {"visible": False, "opacity": 0.6, "arrows": True},
    "preview": {"visible": True, "opacity": 0.6},
}
"""The layers and their first settings; `Viewer.layers` has the same form."""


class Viewer(anywidget.AnyWidget):
    """Look at a session's planes, with maps and labels on them, and correct the labels with mouse and keys.

    Parameters
    ----------
    session : Session
        Owner of the stack and the labels; every edit is one of its verbs.
    axis : {"xy", "xz", "yz"}
        Direction of the planes shown first.
    index : int, optional
        Plane shown first; by default the middle one.
    height : int
        Height in CSS pixels; the width is that of the cell.

    Attributes
    ----------
    axis, index, tool, brush, active_id, selected, preserve, layers : traits
        What is shown and what the next stroke does; set them from Python as you like.
    asked : Signal(str)
        A command that the viewer leaves to others, such as "segment-plane" (Enter).
    moved : Signal(tuple)
        The user clicked on a voxel (z, y, x).
    """

    _esm = _STATIC / "viewer.js"
    _css = _STATIC / "viewer.css"

    axis = t.Enum(list(AXES), "xy").tag(sync=True)
    index = t.Int(0).tag(sync=True)
    tool = t.Enum(TOOLS, "look").tag(sync=True)
    brush = t.Int(8, min=0, max=256).tag(sync=True)
    active_id = t.Int(1, min=1, max=2**32 - 1).tag(sync=True)
    selected = t.List(t.Int(min=1, max=2**32 - 1), maxlen=10_000).tag(sync=True)
    preserve = t.Bool(False).tag(sync=True)
    layers = t.Dict().tag(sync=True)
    height = t.Int(600, min=240, max=4000).tag(sync=True)

    asked = Signal(str)
    moved = Signal(tuple)

    def __init__(
        self, session: Session, *, axis: Axis = "xy", index: int | None = None, height: int = 600, **traits: Any
    ) -> None:
        self.session = session
        self._lock = threading.RLock()
        self._order = threading.RLock()
        self._acks = bind.Acks()
        self._own_point: tuple[int, int, int] | None = None
        self._seq = 0
        self._planes = Planes(session)
        self._fresh = session.new_id()
        count = session.shape[AXES[axis]]
        layers = {"em": {**LAYERS["em"], **_first_contrast(session.stack)}, **traits.pop("layers", {})}
        super().__init__(
            axis=axis, index=count // 2 if index is None else index, height=height,
            layers=_with_defaults(layers), active_id=self._fresh, **traits,
        )  # fmt: skip
        self._fresh = session.new_id()
        self.on_msg(self._receive)
        self.observe(self._on_selected, "selected")
        self._slots = [
            (session.edited, self._on_edited), (session.selected, self._on_session_selected),
            (session.moved, self._on_session_moved), (session.state_changed, self._on_state),
        ]  # fmt: skip
        for signal, slot in self._slots:
            signal.connect(slot)

    # --- what Python sets ---------------------------------------------------------------------------------------

    def set_maps(self, axis: Axis, index: int, maps: Maps | None, peaks: npt.ArrayLike | None = None) -> None:
        """Show what a network said about a plane; None takes it away.

        Parameters
        ----------
        peaks : (n, 2) array, optional
            (y, x) of the centers that decoding took, in plane pixels.
        """
        self._planes.set_maps(axis, index, maps, peaks)
        present = maps is not None
        self._post({"kind": "stale", "parts": list(MAP_PARTS), "axis": axis, "index": index, "present": present})

    def set_preview(self, axis: Axis, index: int, ids: Ids | None) -> None:
        """Show ids over the labels of a plane without changing them; None takes them away."""
        self._planes.set_preview(axis, index, ids)
        if ids is not None and (axis, index) == (self.axis, self.index):
            # Sent unasked: a slider that decodes live should not wait for a question.
            self._send_part("preview", axis, index, {"client": "", "req": 0})
        else:
            present = ids is not None
            self._post({"kind": "stale", "parts": ["preview"], "axis": axis, "index": index, "present": present})

    def clear_previews(self) -> None:
        """Take all previews away."""
        self._planes.clear_previews()
        self._post({"kind": "stale", "parts": ["preview"]})

    def preview(self, axis: Axis, index: int) -> Ids | None:
        """Return the ids that `set_preview` shows on a plane, or None."""
        return self._planes.preview(axis, index)

    def show(self, z: int, y: int, x: int) -> None:
        """Go to a voxel."""
        self.index = int((z, y, x)[AXES[self.axis]])
        self._post({"kind": "center", "point": [int(z), int(y), int(x)]})

    def say(self, sentence: str, kind: Literal["info", "error"] = "info") -> None:
        """Show a sentence over the picture."""
        self._post({"kind": "notice", "text": str(sentence)[:1000], "error": kind == "error"})

    def set_layer(self, name: str, **settings: Any) -> None:
        """Change settings of one layer, such as `set_layer("labels", style="outline")`."""
        if name not in LAYERS or set(settings) - set(LAYERS[name]):
            raise InputError(f"Layers and their settings are {LAYERS}; got {name!r} with {settings}.")
        self.layers = {**self.layers, name: {**self.layers[name], **settings}}

    def close(self) -> None:
        """Leave the session and close the widget."""
        for signal, slot in self._slots:
            signal.disconnect(slot, missing_ok=True)
        self._slots = []
        super().close()

    # --- traits -------------------------------------------------------------------------------------------------

    @t.validate("index")
    def _checked_index(self, proposal: Any) -> int:
        return int(min(max(proposal["value"], 0), self.session.shape[AXES[self.axis]] - 1))

    @t.observe("axis")
    def _on_axis(self, _: Any) -> None:
        self.index = min(self.index, self.session.shape[AXES[self.axis]] - 1)

    @t.validate("layers")
    def _checked_layers(self, proposal: Any) -> dict[str, dict[str, Any]]:
        return _with_defaults(proposal["value"])

    def _on_selected(self, change: Any) -> None:
        self.session.select(*change["new"])

    def _on_session_selected(self, ids: Any) -> None:
        if list(ids) != self.selected:
            self.selected = [int(i) for i in ids]

    def _on_session_moved(self, point: tuple[int, int, int]) -> None:
        # The picture must not jump under the pointer that clicked.
        if tuple(point) != self._own_point:
            self.show(*point)
        self._own_point = None

    # --- session to browser -------------------------------------------------------------------------------------

    def _on_edited(self, change: Any) -> None:
        """Tell every page where labels changed, and send the pixels of the plane that is shown."""
        with self._lock:
            self._seq += 1
            seq = self._seq
        box = change.box
        note: dict[str, Any] = {
            "kind": "changed", "seq": seq, "what": str(change.what), "start": list(box.start), "stop": list(box.stop),
        }  # fmt: skip
        axis, index = self.axis, self.index
        along = AXES[axis]
        if box.size and box.start[along] <= index < box.stop[along]:
            y, x = (slice(a, b) for i, (a, b) in enumerate(zip(box.start, box.stop, strict=True)) if i != along)
            patch = bind.encode("labels", bind.cut(self.session.labels.data, axis, index)[y, x])
            header, data = next(bind.strips(patch, raw=False))
            if header["last"]:
                h, w = patch.shape
                patched = {"axis": axis, "index": index, "y0": y.start, "x0": x.start, "h": h, "w": w}
                self._post({**note, "patch": patched, **self._state()}, [data])
                return
        self._post({**note, **self._state()})

    def _on_state(self, *_: Any) -> None:
        self._post({"kind": "state", **self._state()})

    def _state(self) -> dict[str, Any]:
        session = self.session
        save = session.save_state
        return {
            "save": {"kind": str(getattr(save, "kind", save)), "text": str(save)},
            "can_undo": bool(session.can_undo), "can_redo": bool(session.can_redo),
            "read_only": bool(session.read_only), "fresh": self._fresh, "listens": len(self.asked) > 0,
        }  # fmt: skip

    def _info(self) -> dict[str, Any]:
        session, stack = self.session, self.session.stack
        low, high = (0.0, 255.0) if stack is None else stack.intensity
        return {
            "name": session.labels.name if stack is None else str(stack.name)[:300], "shape": list(session.shape),
            "dtype": "" if stack is None else str(stack.dtype), "has_image": stack is not None,
            "voxel_size": None if session.voxel_size is None else list(session.voxel_size),
            "intensity": [low, high],
            "hash": colors.HASH, "palette": _palette(), "empty": not bool(session.ids()),
        }  # fmt: skip

    def _post(self, message: dict[str, Any], buffers: list[bytes] | None = None) -> None:
        # Signals may come from job threads while a comm handler answers; one message at a time.
        with self._lock:
            self.send(message, buffers or [])

    # --- browser to session -------------------------------------------------------------------------------------

    def _receive(self, _: Any, message: Any, buffers: Any) -> None:
        """Answer any message; never raise out of the handler, whatever came."""
        head: dict[str, Any] = {}
        try:
            if not isinstance(message, dict):
                raise InputError("A message is an object with a kind.")
            head = {key: message[key] for key in ("client", "cseq", "req") if isinstance(message.get(key), str | int)}
            kind = bind.choice(message, "kind", sorted(self._HANDLERS))
            self._HANDLERS[kind](self, message, buffers or [])
        except MitonbError as error:
            self._post({"kind": "nack", **head, "reason": str(error)[:500]})
        except Exception as error:
            _log.exception("The viewer could not handle a message.")
            self._post({"kind": "nack", **head, "reason": f"{type(error).__name__}: {error}"[:500]})

    def _hello(self, message: bind.Message, _: bind.Buffers) -> None:
        bind.whole(message, "protocol", bind.PROTOCOL, bind.PROTOCOL)
        client = bind.text(message, "client")
        self._post({
            "kind": "state", "seq": self._seq, "info": self._info(), "client": client,
            "last": self._acks.last(client), "extras": self._planes.extras(), **self._state(),
        })  # fmt: skip

    def _want(self, message: bind.Message, _: bind.Buffers) -> None:
        client, request = bind.text(message, "client"), bind.whole(message, "req", 1, 2**53)
        parts = message.get("parts")
        if not isinstance(parts, list) or not 0 < len(parts) <= len(bind.PARTS):
            raise InputError(f"parts are some of {', '.join(bind.PARTS)}, got {parts!r:.60}.")
        for part in parts:
            bind.choice({"part": part}, "part", bind.PARTS)
        axis = bind.choice(message, "axis", list(AXES))
        index = bind.whole(message, "index", 0, self.session.shape[AXES[axis]] - 1)  # type: ignore[index]
        step = bind.whole(message, "step", 1, max(bind.STEPS)) if "step" in message else 1
        if step not in bind.STEPS:
            raise InputError(f"step is one of {bind.STEPS}, got {step}.")
        # One question for all parts of a plane: each message costs JupyterLab more than its pixels.
        for part in dict.fromkeys(parts):
            self._send_part(part, axis, index, {"client": client, "req": request}, step=step)  # type: ignore[arg-type]

    def _edit(self, message: bind.Message, buffers: bind.Buffers) -> None:
        edit = bind.read_edit(message, buffers, self.session.shape)
        with self._order:
            answer = self._acks.earlier(edit.client, edit.cseq)
            expected = self._acks.last(edit.client) + 1
            if answer is None and edit.cseq != expected:
                # A message was lost on the way: the browser starts again from the first that is missing.
                self._post({"kind": "gap", "client": edit.client, "expected": expected})
                return
            if answer is None:
                answer = self._apply(edit)
                self._acks.remember(edit.client, edit.cseq, answer)
        self._post({**answer, **self._state()})

    def _apply(self, edit: bind.Edit) -> dict[str, Any]:
        head = {"client": edit.client, "cseq": edit.cseq}
        try:
            change = bind.apply(self.session, edit)
        except MitonbError as error:
            return {"kind": "nack", **head, "reason": str(error)[:500]}
        except Exception as error:
            _log.exception("An edit failed.")
            return {"kind": "nack", **head, "reason": f"{type(error).__name__}: {error}"[:500]}
        return {"kind": "ack", **head, "seq": self._seq, "what": str(getattr(change, "what", edit.verb))}

    def _take(self, message: bind.Message, _: bind.Buffers) -> None:
        """Reserve another fresh id after the browser took the one it had been given."""
        taken = bind.whole(message, "id", 1, 2**32 - 1)
        # Not under the viewer's lock: the session emits its signals under its own, and they wait for ours.
        if taken == self._fresh:
            self._fresh = self.session.new_id()
        self._post({"kind": "state", **self._state()})

    def _move(self, message: bind.Message, _: bind.Buffers) -> None:
        point = bind.point_of(message, self.session.shape)
        self._own_point = point
        self.session.move_to(*point)
        self.moved.emit(point)

    def _step(self, message: bind.Message, _: bind.Buffers) -> None:
        if not self.session.step_object(1 if bind.choice(message, "to", ("next", "previous")) == "next" else -1):
            self.say("No labels yet.")

    def _at(self, message: bind.Message, _: bind.Buffers) -> None:
        """Take the plane that a page is on, before the message that was sent from it."""
        axis = bind.choice(message, "axis", list(AXES))
        index = bind.whole(message, "index", 0, self.session.shape[AXES[axis]] - 1)  # type: ignore[index]
        # As if the traits themselves had come: other pages are told, and this one, which may be further, is not.
        self.set_state({"axis": axis, "index": index})

    def _ask(self, message: bind.Message, _: bind.Buffers) -> None:
        self.asked.emit(bind.choice(message, "command", COMMANDS))

    _HANDLERS = {  # noqa: RUF012
        "hello": _hello, "want": _want, "edit": _edit, "take": _take, "move": _move, "step": _step, "at": _at,
        "ask": _ask,
    }  # fmt: skip

    # --- pixels -------------------------------------------------------------------------------------------------

    def _send_part(self, part: str, axis: Axis, index: int, head: dict[str, Any], *, step: int = 1) -> None:
        # The number is read before the pixels: an edit in between makes the browser ask again, never miss it.
        head = {"kind": "part", **head, "part": part, "axis": axis, "index": index, "seq": self._seq}
        found = self._planes.pixels(part, axis, index, step)
        if found is None:
            self._post({**head, "empty": True})
            return
        values, more = found
        pixels = bind.encode(part, values)
        head |= {"h": pixels.shape[0], "w": pixels.shape[1], **more}
        for header, data in bind.strips(pixels, raw=part == "image"):
            self._post({**head, **header}, [data])


def _palette() -> list[list[int]]:
    """Return the colour (r, g, b: 0..255) of each slot that `colors.slots` can give."""
    ids = np.arange(1, 4096, dtype=np.uint32)
    _, first = np.unique(colors.slots(ids), return_index=True)
    table: list[list[int]] = np.rint(colors.hues(ids[first]) * 255).astype(int).tolist()
    return table


def _first_contrast(stack: Stack | None) -> dict[str, int]:
    """Return the range that the picture really has, in 1/255 of the intensity window."""
    if stack is None:
        return {}
    low, high = stack.intensity
    a, b = (round(min(max(255 * (v - low) / (high - low), 0), 255)) for v in stack.contrast)
    return {"low": a, "high": b} if b - a >= 4 else {}


def _with_defaults(layers: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return complete layer settings; unknown names and settings are dropped."""
    return {
        name: {key: layers.get(name, {}).get(key, value) for key, value in settings.items()}
        for name, settings in LAYERS.items()
    }


def view(stack: Stack | npt.ArrayLike, labels: Labels | npt.ArrayLike | None = None, **options: Any) -> Viewer:
    """Show a stack, and labels on it, in a viewer with an in-memory session of its own.

    Parameters
    ----------
    stack : Stack or (z, y, x) array
    labels : Labels or (z, y, x) array of whole numbers, optional
    **options
        As in `Viewer`.
    """
    stack = stack if isinstance(stack, Stack) else Stack(np.asarray(stack))
    if labels is not None and not isinstance(labels, Labels):
        labels = Labels(np.asarray(labels), stack.voxel_size)
    return Viewer(Session(stack, labels), **options)
