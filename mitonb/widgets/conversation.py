"""What a viewer and its pages say to each other: news and pixels out, questions and edits in.

Each message is one of a few kinds; `bind` checks and packs what is in them, and the other side is in js/.
"""

from __future__ import annotations

import itertools
import logging
import threading
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mitonb import colors
from mitonb.errors import InputError, MitonbError
from mitonb.stack import AXES, Axis
from mitonb.widgets import bind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mitonb.widgets.planes import Planes
    from mitonb.widgets.viewer import Viewer

__all__ = ["COMMANDS", "Conversation"]

_log = logging.getLogger(__name__)

COMMANDS = ("segment-plane", "apply-preview", "discard-preview")
"""What a page may ask for that the viewer leaves to others."""
_MOST_COLORS = 100_000
"""Colours in one message: 0.8 MB."""
_QUICK = 1 << 25
"""Voxels whose colours are chosen within a second."""
_KERNEL = uuid.uuid4().hex
"""Tells the pages this kernel from one before it."""
PATIENCE = 2.0
"""Seconds after which a page is taken to be gone."""


class Conversation:
    """The kernel's side of what is said between a viewer and the pages that show it; safe to use from several threads.

    Parameters
    ----------
    viewer : Viewer
        What carries the messages, and whose plane is shown.
    planes : Planes
        Where the pixels come from.
    """

    def __init__(self, viewer: Viewer, planes: Planes) -> None:
        self.viewer, self.session, self._planes = viewer, viewer.session, planes
        self._lock = threading.RLock()
        self._order = threading.RLock()
        self._acks = bind.Acks()
        self._has_page = False
        self._questions = itertools.count(1)
        self._waiting: dict[int, Callable[[], object]] = {}
        self._own_point: tuple[int, int, int] | None = None
        self._seq = 0
        self._colored = 0
        self._path, self._project = self.session.path, self.session.key
        # The label for a new object: shown, and spent by its first stroke. Until then it gives way to whatever comes.
        self._promise = int(viewer.active_id)
        self._gave_way: dict[int, tuple[int, int]] = {}

    def when_told(self, action: Callable[[], object]) -> None:
        """Do something once a page has told which plane it shows; at once where there is no page.

        JupyterLab has the messages of widgets handled by more than one thread. So the press of a button beside the
        viewer may be heard of before the plane that was on screen then, although the page told of that first. Messages
        of the viewer itself keep their order: its answer comes after whatever it said before.
        """
        if not self._has_page:
            action()
            return
        question = next(self._questions)
        self._waiting[question] = action
        # A page that is gone answers nothing.
        timer = threading.Timer(PATIENCE, self._go_on, (question,))
        timer.daemon = True
        timer.start()
        self.post({"kind": "where", "question": question})

    def _go_on(self, question: int) -> None:
        action = self._waiting.pop(question, None)
        if action is not None:
            action()

    # --- session to browser -------------------------------------------------------------------------------------

    def post(self, message: dict[str, Any], buffers: list[bytes] | None = None) -> None:
        """Send a message to every page."""
        # Signals may come from job threads while a comm handler answers; one message at a time.
        with self._lock:
            self.viewer.send(message, buffers or [])

    def on_edited(self, change: Any) -> None:
        """Tell every page where labels changed, and say what became of whole objects."""
        self._tell_change(change)
        if change.what in ("merge", "delete"):
            # After the change: the next one takes the sentence away.
            said = self.session.history(after=change.seq - 1)[0].sentence
            self.post({"kind": "notice", "text": said, "error": False, "undo": change.seq})

    def _tell_change(self, change: Any) -> None:
        """Tell every page where labels changed, and send the pixels of the plane that is shown."""
        with self._lock:
            self._seq += 1
            seq = self._seq
        self._keep_promise(change)
        box = change.box
        self._tell_colors()
        note: dict[str, Any] = {
            "kind": "changed", "seq": seq, "what": str(change.what), "start": list(box.start), "stop": list(box.stop),
        }  # fmt: skip
        axis, index = self.viewer.axis, self.viewer.index
        along = AXES[axis]
        if box.size and box.start[along] <= index < box.stop[along]:
            y, x = (slice(a, b) for i, (a, b) in enumerate(zip(box.start, box.stop, strict=True)) if i != along)
            patch = bind.encode("labels", bind.cut(self.session.labels.data, axis, index)[y, x])
            header, data = next(bind.strips(patch, raw=False))
            if header["last"]:
                h, w = patch.shape
                patched = {"axis": axis, "index": index, "y0": y.start, "x0": x.start, "h": h, "w": w}
                self.post({**note, "patch": patched, **self._state()}, [data])
                return
        self.post({**note, **self._state()})

    def color(self, ids: Any) -> None:
        """Choose colours for what is new in a plane of ids that is only shown, and tell them to every page."""
        self.session.colors.add(ids[None])
        self._tell_colors()

    def _tell_colors(self, *, anew: bool = False) -> None:
        """Tell every page which objects have another colour than their hash gives them, if that is news."""
        coloring = self.session.colors
        if coloring.version == self._colored and not (anew and coloring.moved):
            return
        self._colored = coloring.version
        moved = np.array(sorted(coloring.moved.items()), "<u4").reshape(-1, 2)
        pieces = [moved[k : k + _MOST_COLORS] for k in range(0, max(1, len(moved)), _MOST_COLORS)]
        for k, piece in enumerate(pieces):
            self.post({"kind": "colors", "first": k == 0}, [piece.tobytes()])

    def _keep_promise(self, change: Any) -> None:
        """See that the label for a new object is one that nothing has, and that a run leaves no other in hand."""
        active, promise = self.viewer.active_id, self._promise
        lost = change.what == "adopt" and active != promise and not self.session.in_hand(active)
        if promise and not self.session.is_free(promise):
            self._promise = self.session.free_ids(1)[0]
            self._gave_way[promise] = (self._seq, self._promise)
        elif lost and not promise:
            self._promise = self.session.free_ids(1)[0]
        if lost or active == promise:
            self.viewer.active_id = self._promise

    def on_moved(self, point: tuple[int, int, int]) -> None:
        """Show every page where the user looks now."""
        # The picture must not jump under the pointer that clicked.
        if tuple(point) != self._own_point:
            self.viewer.show(*point)

    def zoom_to(self, id: int) -> None:
        """Let every page zoom to an object that the user was brought to."""
        box = self.session.box(id)
        if box is not None:
            place = {"start": list(box.start), "stop": list(box.stop)}
            self.post({"kind": "center", "point": list(self.session.position), "box": place})

    def on_state(self, *_: Any) -> None:
        """Tell every page whether the work is safe and what can be done."""
        self.post({"kind": "state", **self._state()})

    def stale(self, parts: Sequence[str], axis: Axis, index: int, *, present: bool) -> None:
        """Tell every page that parts of a plane are new, or gone."""
        self.post({"kind": "stale", "parts": list(parts), "axis": axis, "index": index, "present": present})

    def send_part(self, part: str, axis: Axis, index: int, head: dict[str, Any], *, step: int = 1) -> None:
        """Send one part of a plane in strips, or say that there is none; `head` names the question."""
        # The number is read before the pixels: an edit in between makes the browser ask again, never miss it.
        head = {"kind": "part", **head, "part": part, "axis": axis, "index": index, "seq": self._seq}
        found = self._planes.pixels(part, axis, index, step)
        if found is None:
            self.post({**head, "empty": True})
            return
        values, more = found
        pixels = bind.encode(part, values)
        head |= {"h": pixels.shape[0], "w": pixels.shape[1], **more}
        for header, data in bind.strips(pixels, raw=part == "image"):
            self.post({**head, **header}, [data])

    def _state(self) -> dict[str, Any]:
        session = self.session
        save = session.save_state
        if session.path != self._path:
            self._path, self._project = session.path, session.key
        return {
            "save": {"kind": str(getattr(save, "kind", save)), "text": str(save)},
            "can_undo": bool(session.can_undo), "can_redo": bool(session.can_redo),
            "project": self._project, "kernel": _KERNEL,
            "read_only": bool(session.read_only), "fresh": self._fresh(), "listens": len(self.viewer.asked) > 0,
            "voxel_size": self._voxel_size(),
        }  # fmt: skip

    def _fresh(self) -> int:
        """Return what the next new label would be."""
        shown = (self._promise, self.viewer.active_id)
        return next(id for id in self.session.free_ids(3) if id not in shown)

    def _voxel_size(self) -> list[float] | None:
        size = self.session.voxel_size
        return None if size is None else list(size)

    def _info(self) -> dict[str, Any]:
        session, stack = self.session, self.session.stack
        low, high = (0.0, 255.0) if stack is None else stack.intensity
        return {
            "name": session.labels.name if stack is None else str(stack.name)[:300], "shape": list(session.shape),
            "dtype": "" if stack is None else str(stack.dtype), "has_image": stack is not None,
            "voxel_size": self._voxel_size(), "intensity": [low, high],
            "hash": colors.HASH, "palette": [list(rgb) for rgb in colors.PALETTE],
            "ramps": {name: ramp._asdict() for name, ramp in colors.MAPS.items()}, "empty": not bool(session.ids()),
        }  # fmt: skip

    # --- browser to session -------------------------------------------------------------------------------------

    def receive(self, _: Any, message: Any, buffers: Any) -> None:
        """Answer any message; never raise out of the handler, whatever came."""
        head: dict[str, Any] = {}
        try:
            if not isinstance(message, dict):
                raise InputError("A message is an object with a kind.")
            head = {key: message[key] for key in ("client", "cseq", "req") if isinstance(message.get(key), str | int)}
            kind = bind.choice(message, "kind", sorted(self._HANDLERS))
            self._HANDLERS[kind](self, message, buffers or [])
        except MitonbError as error:
            self.post({"kind": "nack", **head, "reason": str(error)[:500]})
        except Exception as error:
            _log.exception("The viewer could not handle a message.")
            self.post({"kind": "nack", **head, "reason": f"{type(error).__name__}: {error}"[:500]})

    def _hello(self, message: bind.Message, _: bind.Buffers) -> None:
        bind.whole(message, "protocol", bind.PROTOCOL, bind.PROTOCOL)
        client = bind.text(message, "client")
        self._has_page = True
        if "first" in message:
            self._acks.resume(client, bind.whole(message, "first", 1, 2**53))
        if self.session.labels.data.size > _QUICK:  # the first picture must not wait for the colours of a large volume
            threading.Thread(target=self._tell_colors, kwargs={"anew": True}, daemon=True).start()
        else:
            self._tell_colors(anew=True)
        self.post({
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
        failed = None
        for part in dict.fromkeys(parts):
            try:
                self.send_part(part, axis, index, {"client": client, "req": request}, step=step)  # type: ignore[arg-type]
            except MitonbError as error:  # an image that cannot be read any more hides no labels
                failed = error
        if failed:
            raise failed

    def _edit(self, message: bind.Message, buffers: bind.Buffers) -> None:
        edit = bind.read_edit(message, buffers, self.session.shape)
        with self._order:
            answer = self._acks.earlier(edit.client, edit.cseq)
            expected = self._acks.last(edit.client) + 1
            if answer is None and edit.cseq != expected:
                # A message was lost on the way: the browser starts again from the first that is missing.
                self.post({"kind": "gap", "client": edit.client, "expected": expected})
                return
            if answer is None:
                answer = self._apply(self._as_promised(edit, message))
                self._acks.remember(edit.client, edit.cseq, answer)
        self.post({**answer, **self._state()})

    def _as_promised(self, edit: bind.Edit, message: bind.Message) -> bind.Edit:
        """Give a stroke with a new label the one that took its place, if it was drawn before the page heard of that."""
        seen, id = message.get("seen"), edit.arguments.get("id")
        while id in self._gave_way and isinstance(seen, int) and seen < self._gave_way[id][0]:
            id = self._gave_way[id][1]
        return edit if id is None else replace(edit, arguments={**edit.arguments, "id": id})

    def _apply(self, edit: bind.Edit) -> dict[str, Any]:
        head = {"client": edit.client, "cseq": edit.cseq}
        new = edit.arguments.get("id") == self._promise and self._promise
        try:
            if new:
                self._promise = 0  # spent by its first stroke
            change = bind.apply(self.session, edit)
            if new and not self._promise and self.session.is_free(new):
                self._promise = new
        except MitonbError as error:
            return {"kind": "nack", **head, "reason": str(error)[:500]}
        except Exception as error:
            _log.exception("An edit failed.")
            return {"kind": "nack", **head, "reason": f"{type(error).__name__}: {error}"[:500]}
        return {"kind": "ack", **head, "seq": self._seq, "what": str(getattr(change, "what", edit.verb))}

    def _take(self, message: bind.Message, _: bind.Buffers) -> None:
        """Remember which label for a new object a page shows now."""
        taken = bind.whole(message, "id", 1, 2**32 - 1)
        if self.session.is_free(taken):
            self._promise = taken
        else:
            self._promise = self.viewer.active_id = self.session.free_ids(1)[0]
            self._gave_way[taken] = (self._seq + 1, self._promise)
        self.post({"kind": "state", **self._state()})

    def _take_back(self, message: bind.Message, _: bind.Buffers) -> None:
        """Undo the edit that a sentence was about, unless others came since."""
        try:
            self.session.undo(of=bind.whole(message, "edit", 1, 2**53))
        except MitonbError as error:
            self.viewer.say(str(error), "error")

    def _move(self, message: bind.Message, _: bind.Buffers) -> None:
        point = bind.point_of(message, self.session.shape)
        self._own_point = point
        try:
            self.session.move_to(*point)
        finally:
            # The session tells of no move to where it is already; what moves it there later must be shown.
            self._own_point = None
        self.viewer.moved.emit(point)

    def _step(self, message: bind.Message, _: bind.Buffers) -> None:
        found = self.session.step_object(1 if bind.choice(message, "to", ("next", "previous")) == "next" else -1)
        if found:
            self.zoom_to(found)
        else:
            self.viewer.say("No labels yet.")

    def _at(self, message: bind.Message, _: bind.Buffers) -> None:
        """Take the plane that a page is on, before the message that was sent from it."""
        axis = bind.choice(message, "axis", list(AXES))
        index = bind.whole(message, "index", 0, self.session.shape[AXES[axis]] - 1)  # type: ignore[index]
        # As if the traits themselves had come: other pages are told, and this one, which may be further, is not.
        self.viewer.set_state({"axis": axis, "index": index})

    def _here(self, message: bind.Message, _: bind.Buffers) -> None:
        """Take the answer of a page to `when_told`; before it came what the page had to tell."""
        self._go_on(bind.whole(message, "question", 1, 2**53))

    def _ask(self, message: bind.Message, _: bind.Buffers) -> None:
        self.viewer.asked.emit(bind.choice(message, "command", COMMANDS))

    _HANDLERS = {  # noqa: RUF012
        "hello": _hello, "want": _want, "edit": _edit, "take": _take, "move": _move, "step": _step, "at": _at,
        "here": _here, "ask": _ask, "take-back": _take_back,
    }  # fmt: skip
