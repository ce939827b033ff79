"""What a viewer and its pages say to each other: news and pixels out, questions and edits in; the other side is in js/.

Each message is one of a few kinds. Nothing of one that comes in is trusted; none that goes out is above 1.5 MB.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import logging
import threading
import uuid
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mitonb import colors
from mitonb.box import Box
from mitonb.edit import ops
from mitonb.edit.marks import KINDS
from mitonb.edit.verbs import VERBS, on_screen
from mitonb.errors import InputError, MitonbError
from mitonb.labels import Labels
from mitonb.mesh import Mesh, surfaces
from mitonb.recipe import Recipe
from mitonb.session.review import judge
from mitonb.stack import AXES, Axis, checked_axis
from mitonb.widgets.packs import meshes_of, pack_meshes, pieces
from mitonb.widgets.style import Latest

if TYPE_CHECKING:
    from mitonb.edit.marks import Note
    from mitonb.session.doubts import Doubt

_log = logging.getLogger(__name__)

COMMANDS = ("segment-plane", "apply-preview", "discard-preview", "take-object")
"""What a page may ask for that the viewer leaves to others."""
ANSWERS = ("yes", "no", "skip", "enough", "back", "leave")
"""What a page may answer to `Viewer.ask`."""
HEADS = {"semantic": "u1", "center": "<f2", "offsets": "<f2", "contour": "u1", "distance": "u1", "affinities": "u1"}
"""Maps that a page can draw, and the type of their textures."""
PARTS = {"image": "u1", "labels": "<u4", "preview": "<u4", "proposal": "<u4", "other": "<u4", **HEADS}
"""What there may be of a plane."""
MAX_REPLY = 1_400_000
"""Bytes of pixels in one message to the browser; with its header it stays below 1.5 MB."""
FIELDS = [field.name for field in dataclasses.fields(Recipe)]
"""Settings that a page may point at."""
PATIENCE = 2.0
"""Seconds after which a page is taken to be gone."""

_PROTOCOL = 1
_MOST_STEP = 16  # pixels on a side that one pixel of a whole plane may stand for; of windows any power of two
_MAX_WINDOW = 1 << 24  # pixels of a window, as it is sent
_MAX_POINTS = 40_000
_MAX_IDS = 10_000
_MAX_COUNT = 2**53
_TRIANGLES = 60_000  # of all surfaces beside the planes
_QUICK = 1 << 25  # voxels whose colours are chosen within a second
_KERNEL = uuid.uuid4().hex  # tells the pages this kernel from one before it

_AROUND = 48
"""Voxels around a place in a review where no object is."""
_NEAR = 6
"""Voxels from a place that was noted to a click that asks for it."""
_SAID = {"put_object", "merge", "split", "cut", "split_at_necks", "delete", "drop_false", "mark_reviewed", *KINDS} | {
    name for name, verb in VERBS.items() if verb.menu
}  # what an edit is told of in words, with Undo

WINDOWED = ("image", "labels", "preview", "proposal", "other")
"""What comes in parts of huge planes; maps come whole."""
Window = tuple[slice, slice]
"""Rows and columns of a plane."""
Message = Mapping[str, Any]
Buffers = Sequence[bytes | memoryview]

# --- reading what comes in -------------------------------------------------------------------------------------------


def whole(message: Message, name: str, low: int, high: int) -> int:
    """Return a whole number of a message, or refuse it."""
    value = message.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"{name} is a whole number from {low} to {high}, got {value!r:.60}.")
    return value


def power(message: Message, name: str, high: int) -> int:
    """Return a power of two of a message, 1 where it says nothing, or refuse it."""
    value = whole({name: 1, **message}, name, 1, high)
    if value & (value - 1):
        raise InputError(f"{name} is a power of two, got {value}.")
    return value


def word(message: Message, name: str, choices: Collection[str] = ()) -> str:
    """Return one of some words, or without them a short text, or refuse it."""
    value = message.get(name)
    if not isinstance(value, str) or not (value in choices if choices else 0 < len(value) <= 64):
        wanted = f"one of {', '.join(choices)}" if choices else "a text of at most 64 characters"
        raise InputError(f"{name} is {wanted}, got {value!r:.60}.")
    return value


def edit_of(message: Message, buffers: Buffers, labels: npt.NDArray[Any]) -> tuple[str, dict[str, Any]]:
    """Return the verb that a message asks for, and its arguments by name; the operation checks what it is given."""
    verb = word(message, "op", [name for name, row in VERBS.items() if row.gesture not in ("", "take")])
    parameters = VERBS[verb].parameters
    arguments = {p.name: message[p.name] for p in parameters if p.name in message and p.name != "within"}
    if "above" in message and any(p.name == "within" for p in parameters):
        arguments["above"] = message["above"]
    for p in parameters:
        if p.kind is p.VAR_POSITIONAL and not isinstance(arguments.setdefault(p.name, []), list):
            raise InputError(f"{p.name} is a list, got {arguments[p.name]!r:.60}.")
        if p.default is p.empty and p.name not in arguments:
            raise InputError(f"To {verb.replace('_', ' ')} takes {p.name}, which the message lacks.")
    if "points" in arguments:
        arguments["points"] = _points(message, buffers, labels)
    if "id" in arguments:  # 0 is for scripts: a page erases
        arguments["id"] = whole(message, "id", 1, ops.MAX_ID)
    for name in ("preserve", "subtract", "through", "ball"):
        if not isinstance(arguments.get(name, False), bool):
            raise InputError(f"{name} is true or false, got {arguments[name]!r:.60}.")
    if isinstance(line := arguments.get("line"), list) and len(line) > _MAX_POINTS:
        raise InputError(f"A line has at most {_MAX_POINTS:,} points, got {len(line):,}.")
    if any(isinstance(value, list) and len(value) > _MAX_IDS for name, value in arguments.items() if name != "line"):
        raise InputError(f"At most {_MAX_IDS:,} objects can be named at once.")
    return verb, arguments


def _points(message: Message, buffers: Buffers, labels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the points of a stroke, (n, 3) z, y, x; they may lie a little outside of the plane."""
    axis: Any = message.get("axis")
    index = ops.checked_index(labels, axis, message.get("index"))  # type: ignore[arg-type]
    count = whole(message, "points", 1, _MAX_POINTS)
    if len(buffers) != 1 or memoryview(buffers[0]).nbytes != 8 * count:
        raise InputError(f"A stroke of {count} points comes with one buffer of {8 * count} bytes.")
    line = np.frombuffer(buffers[0], dtype="<i4").reshape(count, 2).astype(np.int64)
    if np.abs(line).max() > 1_000_000:
        raise InputError("A stroke has points far outside the plane.")
    return np.insert(line, AXES[axis], index, axis=1)


# --- packing what goes out -------------------------------------------------------------------------------------------


def cut(volume: npt.NDArray[Any], axis: Axis, index: int) -> npt.NDArray[Any]:
    """Return one plane of a (z, y, x) volume, without a copy."""
    return np.moveaxis(volume, AXES[axis], 0)[index]


def encode(part: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a part's pixels in the type of its texture, contiguous; (channels, h, w) become (h, w, channels)."""
    return np.ascontiguousarray(np.moveaxis(values, 0, -1) if values.ndim == 3 else values, dtype=PARTS[part])


def strips(pixels: npt.NDArray[Any], *, raw: bool) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Cut an array of rows into messages that stay below the limit; yield header and buffer of each.

    Images travel raw (noise does not shrink), ids and maps through zlib level 1. A strip holds as many rows as fit
    before packing, so that no content can make a message too big.
    """
    h = pixels.shape[0]
    per_row = max(1, pixels.nbytes // max(1, h))
    # Ids of real objects shrink about 50-fold; 4 strips' worth is tried as one and halved when it does not shrink.
    rows = max(1, MAX_REPLY // per_row) * (1 if raw else 4)
    y = 0
    while y < h:
        piece = pixels[y : y + rows]
        data = piece.tobytes() if raw else zlib.compress(piece.data, 1)
        if len(data) > MAX_REPLY and len(piece) > 1:
            rows = max(1, len(piece) // 2)
            continue
        y += len(piece)
        yield {"y0": y - len(piece), "rows": len(piece), "coding": "raw" if raw else "zlib", "last": y >= h}, data


# --- both ways -------------------------------------------------------------------------------------------------------


class Conversation:
    """The kernel's side of what is said between a viewer and the pages that show it; safe to use from several threads.

    Parameters
    ----------
    viewer : Viewer
        What carries the messages, and whose plane is shown.
    planes : Planes
        Where the pixels come from.
    """

    def __init__(self, viewer: Any, planes: Any) -> None:  # a Viewer and its Planes, whose module needs this one
        self.viewer, self.session, self._planes = viewer, viewer.session, planes
        self._lock = threading.RLock()
        self._order = threading.RLock()
        # Of each page: the number of its last edit; and why edits were refused, should the answer have been lost.
        self._last: dict[str, int] = {}
        self._refused: dict[tuple[str, int], dict[str, Any]] = {}
        self._has_page = False
        self._questions = itertools.count(1)
        self._waiting: dict[int, Callable[[], object]] = {}
        self._meshed, self._foreshown = (
            Latest(send, failed=lambda error: self.post({"kind": "surfaces", "failed": str(error)[:200]}))
            for send in (self._send_surfaces, self._send_proposed)
        )
        self._readers = ThreadPoolExecutor(4, "mitonb-window")
        self._own_point: tuple[int, ...] | None = None
        self._seq = self._colored = 0
        self._project = self.session.path, self.session.key
        # The label for a new object: shown, and spent by its first stroke. Until then it gives way to whatever comes.
        self._promise = int(viewer.active_id)
        self._gave_way: dict[int, tuple[int, int]] = {}
        self._suggested: tuple[Any, int] | None = None  # a doubt whose fix is shown, and the version it is about

    def leave(self) -> None:
        """Read nothing more."""
        self._readers.shutdown(wait=False, cancel_futures=True)

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
        self._waiting.pop(question, lambda: None)()

    # --- session to browser -------------------------------------------------------------------------------------

    def post(self, message: dict[str, Any], *buffers: bytes) -> None:
        """Send a message to every page."""
        # Signals may come from job threads while a comm handler answers; one message at a time.
        with self._lock:
            self.viewer.send(message, list(buffers))

    def say(self, sentence: str, **more: Any) -> None:
        """Show a sentence over the picture of every page."""
        self.post({"kind": "notice", "text": sentence[:1000], "error": False, **more})

    def say_note(self, about: Callable[[Note], bool]) -> None:
        """Show what was noted about an object or a place over the picture."""
        if text := self._notes(about):
            self.say(text)

    def _notes(self, about: Callable[[Note], bool]) -> str:
        """Return in one text, as a page shows one, what was noted about an object or a place."""
        where = ((one, f"object {one.id}" if one.id else f"this place, {str(one.point)[1:-1]}")
                 for one in self.session.noted if about(one))  # fmt: skip
        return " ".join(f"Note on {place}: {one.text}" for one, place in where)

    def on_edited(self, change: Any) -> None:
        """Tell every page where labels changed, and say what became of whole objects."""
        with self._lock:
            self._seq += 1
            news = {"kind": "changed", "seq": self._seq, "what": str(change.what), **ends(change.box)}
        if change.renamed:
            # A stroke that was drawn before a page hears of it is of the same object.
            was, to = change.renamed
            self._gave_way.pop(to, None)
            self._gave_way[was] = self._seq, to
        self._keep_promise(change)
        self._tell_colors()
        patch, *data = self._patch(change.box)
        self.post({**news, **patch, **self._state()}, *data)
        self._withdraw()
        if change.what in _SAID or (change.what in ("undo", "redo") and not change.box.size):
            # After the change: the next one takes the sentence away. Of what changed no label, nothing else is seen.
            more = {"undo": change.seq} if change.what in _SAID else {}
            self.say(self.session.history(after=change.seq - 1)[0].sentence, **more)

    def _patch(self, box: Box) -> tuple[Any, ...]:
        """Return the pixels of the shown plane in a box, as a field of a message and its buffer, where they are few."""
        axis, index = self.viewer.axis, self.viewer.index
        along = AXES[axis]
        if not box.size or not box.start[along] <= index < box.stop[along]:
            return ({},)
        y, x = (part for i, part in enumerate(box.slices) if i != along)
        pixels = encode("labels", cut(self.session.labels.data, axis, index)[y, x])
        header, data = next(strips(pixels, raw=False))
        h, w = pixels.shape
        patch = {"axis": axis, "index": index, "y0": y.start, "x0": x.start, "h": h, "w": w}
        return ({"patch": patch}, data) if header["last"] else ({},)

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
        self.post({"kind": "colors"}, np.array(sorted(coloring.moved.items()), "<u4").tobytes())

    def _keep_promise(self, change: Any) -> None:
        """See that the label for a new object is one that nothing has, and that a run leaves no other in hand."""
        active, promise = self.viewer.active_id, self._promise
        lost = change.what == "adopt" and active != promise and not self.session.in_hand(active)
        if (promise or lost) and not (promise and self.session.is_free(promise)):
            self._give_way(promise, self._seq)
        if lost or active == promise:
            self.viewer.active_id = self._promise

    def _give_way(self, promise: int, seq: int) -> None:
        """Promise another label; who has not heard of a change yet may still paint with the one from before it."""
        self._promise = self.session.free_ids(1)[0]
        self._gave_way[promise] = seq, self._promise

    def on_moved(self, point: tuple[int, int, int]) -> None:
        """Show every page where the user looks now."""
        # The picture must not jump under the pointer that clicked.
        if tuple(point) != self._own_point:
            self.viewer.show(*point)

    def on_state(self, *_: Any) -> None:
        """Tell every page whether the work is safe and what can be done."""
        self.post({"kind": "state", **self._state()})

    def stale(self, parts: Collection[str], axis: Axis, index: int, *, present: Sequence[str]) -> None:
        """Tell every page that parts of a plane are new, and which of them there are."""
        self.post({"kind": "stale", "parts": list(parts), "axis": axis, "index": index, "present": list(present)})

    def send_part(
        self, part: str, axis: Axis, index: int, *, client: str = "", req: int = 0, step: int = 1,
        window: Window | None = None,
    ) -> None:  # fmt: skip
        """Send one part of a plane, or of a window of it, in strips, or say that there is none.

        `client` and `req` name the question.
        """
        # The number is read before the pixels: an edit in between makes the browser ask again, never miss it.
        head: dict[str, Any] = {"kind": "part", "client": client, "req": req, "part": part, "axis": axis}
        head |= {"index": index, "seq": self._seq}
        if window is not None and part in WINDOWED:
            rows, columns = window
            head |= {"window": [rows.start, columns.start, rows.stop, columns.stop], "step": step}
        found = self._planes.pixels(part, axis, index, step, window)
        if found is None:
            self.post({**head, "empty": True})
            return
        pixels, facts = encode(part, found[0]), found[1]
        for header, data in strips(pixels, raw=part == "image"):
            self.post({**head, "h": pixels.shape[0], "w": pixels.shape[1], **facts, **header}, data)

    def push_part(self, part: str, axis: Axis, index: int) -> None:
        """Send one part of a plane unasked; of a huge one, say that it is there: each page asks for what it sees."""
        if not self._planes.is_huge(axis):
            self.send_part(part, axis, index)
        elif part != "proposal":  # of a proposal each page has been told
            self.stale((part,), axis, index, present=[part])

    def _state(self) -> dict[str, Any]:
        session, save = self.session, self.session.save_state
        if session.path != self._project[0]:
            self._project = session.path, session.key
        taken = (self._promise, self.viewer.active_id)
        return {
            "save": {"kind": str(getattr(save, "kind", save)), "text": str(save)},
            "can_undo": bool(session.can_undo), "can_redo": bool(session.can_redo),
            "project": self._project[1], "kernel": _KERNEL,
            "read_only": bool(session.read_only), "listens": len(self.viewer.asked) > 0,
            "fresh": next(id for id in session.free_ids(3) if id not in taken),
            "voxel_size": session.voxel_size,
        }  # fmt: skip

    def _info(self) -> dict[str, Any]:
        session, stack = self.session, self.session.stack
        return {
            "name": session.labels.name if stack is None else str(stack.name)[:300], "shape": list(session.shape),
            "dtype": "" if stack is None else str(stack.dtype), "has_image": stack is not None,
            "voxel_size": session.voxel_size, "intensity": [0.0, 255.0] if stack is None else stack.intensity,
            "hash": colors.HASH, "palette": colors.PALETTE,
            "ramps": {name: ramp._asdict() for name, ramp in colors.MAPS.items()}, "empty": not session.ids(),
            "verbs": on_screen(), "widest": [self._planes.widest(axis) for axis in AXES],
            "focus": None if stack is None else stack.focus, "only_looks": session.only_looks,
        }  # fmt: skip

    # --- browser to session -------------------------------------------------------------------------------------

    def receive(self, _: Any, message: Any, buffers: Any) -> None:
        """Answer any message; never raise out of the handler, whatever came."""
        try:
            if not isinstance(message, dict):
                raise InputError("A message is an object with a kind.")
            self._HANDLERS[word(message, "kind", self._HANDLERS)](self, message, buffers or [])
        except Exception as error:
            head = message if isinstance(message, dict) else {}
            told = {k: head[k] for k in ("client", "cseq", "req", "ask") if isinstance(head.get(k), str | int)}
            self.post(_nack(error, **told))

    def _hello(self, message: Message, _: Buffers) -> None:
        whole(message, "protocol", _PROTOCOL, _PROTOCOL)
        client = word(message, "client")
        self._has_page = True
        if "first" in message:  # a page of a kernel that is gone: all its edits before that one were answered there
            first = whole(message, "first", 1, _MAX_COUNT)
            self._last[client] = max(self._last.get(client, 0), first - 1)
        if self.session.labels.data.size > _QUICK:  # the first picture must not wait for the colours of a large volume
            threading.Thread(target=self._tell_colors, kwargs={"anew": True}, daemon=True).start()
        else:
            self._tell_colors(anew=True)
        self.post({**self.introduce(), "client": client, "last": self._last.get(client, 0)})

    def introduce(self) -> dict[str, Any]:
        """Return what a page must know before it can show anything."""
        head = {"kind": "state", "seq": self._seq, "info": self._info(), "compared": self._planes.compared}
        return {**head, "extras": self._planes.extras(), **self._state()}

    def _want(self, message: Message, _: Buffers) -> None:
        client, request = word(message, "client"), whole(message, "req", 1, _MAX_COUNT)
        parts = message.get("parts")
        if not isinstance(parts, list) or not 0 < len(parts) <= len(PARTS) or set(map(str, parts)) - set(PARTS):
            raise InputError(f"parts are some of {', '.join(PARTS)}, got {parts!r:.60}.")
        axis, index = self._place(message)
        is_part = message.get("window") is not None
        step = power(message, "step", 1 << 29 if is_part else _MOST_STEP)
        window = self._window(message, axis, step) if is_part else None

        def answer() -> None:
            # One question for all parts of a plane: each message costs JupyterLab more than its pixels.
            failed = None
            for part in dict.fromkeys(parts):
                try:
                    self.send_part(part, axis, index, client=client, req=request, step=step, window=window)
                except MitonbError as error:  # an image that cannot be read any more hides no labels
                    failed = error
            if failed:
                raise failed

        if window is None:
            answer()
        else:  # from a store that may be far away, several at once
            self._readers.submit(self._answering, answer, {"client": client, "req": request})

    def _answering(self, answer: Callable[[], None], head: dict[str, Any]) -> None:
        try:
            answer()
        except Exception as error:
            self.post(_nack(error, **head))

    def _window(self, message: Message, axis: Axis, step: int) -> Window:
        """Return the part of a plane that a page asks for, or refuse it."""
        given = message.get("window")
        h, w = cut(self.session.labels.data, axis, 0).shape
        numbers = (
            [n for n in given if isinstance(n, int) and not isinstance(n, bool)] if isinstance(given, list) else []
        )
        if len(numbers) != 4 or not (0 <= numbers[0] < numbers[2] <= h and 0 <= numbers[1] < numbers[3] <= w):
            raise InputError(f"A window of this plane lies inside of 0, 0, {h}, {w}, got {given!r:.60}.")
        top, left, bottom, right = numbers
        if -(-(bottom - top) // step) * -(-(right - left) // step) > _MAX_WINDOW:
            raise InputError(f"A window has at most {_MAX_WINDOW} pixels, got {given!r:.60} at a step of {step}.")
        return slice(top, bottom), slice(left, right)

    def _edit(self, message: Message, buffers: Buffers) -> None:
        client, cseq = word(message, "client"), whole(message, "cseq", 1, _MAX_COUNT)
        verb, arguments = edit_of(message, buffers, self.session.labels.data)
        head = {"client": client, "cseq": cseq}
        with self._order:
            expected = self._last.get(client, 0) + 1
            if cseq > expected:
                # A message was lost on the way: the browser starts again from the first that is missing.
                self.post({"kind": "gap", "client": client, "expected": expected})
                return
            if cseq == expected:
                try:
                    self._apply(verb, self._as_promised(arguments, message.get("seen")), (client, cseq))
                except Exception as error:
                    self._refused[client, cseq] = _nack(error, **head)
                    if VERBS[verb].gesture in ("split", "proposed"):
                        self._withdraw()
                self._last[client] = cseq
            answer = self._refused.get((client, cseq), {"kind": "ack", **head})
        self.post({**answer, **self._state()})

    def _propose(self, message: Message, buffers: Buffers) -> None:
        """Show on every page what a verb would make of an object, without changing it; without a verb, nothing more."""
        head = {"client": word(message, "client"), "ask": whole(message, "ask", 1, _MAX_COUNT)}
        if "op" not in message:
            self._withdraw()
            return
        word(message, "op", [name for name, row in VERBS.items() if row.gesture in ("split", "proposed")])
        verb, arguments = edit_of(message, buffers, self.session.labels.data)
        axis, index = self._place(message)
        if verb == "split_at_necks" and len(seeds := self._planes.peaks_in(axis, index, arguments.get("id"))) > 1:
            # Where the network ran it has said already how many objects it sees here.
            verb, arguments = "split", {"id": arguments["id"], "seeds": seeds}
        try:
            edit = self.session.preview(verb, **arguments)
        except MitonbError as error:
            self._withdraw()
            self.post(_nack(error, **head))
            return
        id, new = edit.intent["id"], edit.intent["new"]
        box, ids = self._planes.propose([id], edit)
        self.session.colors.add(ids)
        self._tell_colors()
        first = [(seed[0] if isinstance(seed[0], list) else seed)[:3] for seed in edit.intent.get("seeds", ())]
        owners = [int(ids[tuple(np.subtract(point, box.start))]) for point in first]
        fields = {"op": verb, **arguments}
        self.post({"kind": "proposal", **head, **ends(box), "edit": fields, "ids": [id, *new], "owners": owners})
        self.push_part("proposal", axis, index)
        self._show_in_space(box, ids)

    def _withdraw(self) -> None:
        """Take away what was only proposed."""
        if self._planes.withdraw():
            self.post({"kind": "proposal"})

    def _as_promised(self, arguments: dict[str, Any], seen: Any) -> dict[str, Any]:
        """Give a stroke with a new label the one that took its place, if it was drawn before the page heard of that."""
        id = arguments.get("id")
        while id in self._gave_way and isinstance(seen, int) and seen < self._gave_way[id][0]:
            id = self._gave_way[id][1]
        return arguments | ({} if id is None else {"id": id})

    def _apply(self, verb: str, arguments: dict[str, Any], client: tuple[str, int]) -> None:
        """Do an edit; the session knows the page and its number, too, so that not even a new kernel repeats it."""
        if (above := arguments.pop("above", None)) is not None:
            axis: Axis = arguments.get("axis", "xy")
            # The points of a stroke are on one plane, and so is that of a fill.
            at = ops.inside(self.session.shape, arguments["point"]) if "point" in arguments else arguments["points"][0]
            arguments["within"] = self._planes.above(axis, int(at[AXES[checked_axis(axis)]]), above)
        new = self._promise if arguments.get("id") == self._promise else 0
        if new:
            self._promise = 0  # spent by its first stroke, unless that is refused, or changes nothing
        try:
            change = self.session.do(verb, client=client, **arguments)
        finally:
            if new and not self._promise and self.session.is_free(new):
                self._promise = new
        if change.what == "nothing" and VERBS[verb].menu:
            self.say("There is nothing to change here.")

    def _take(self, message: Message, _: Buffers) -> None:
        """Remember which label for a new object a page shows now."""
        self._promise = taken = whole(message, "id", 1, ops.MAX_ID)
        if not self.session.is_free(taken):
            self._give_way(taken, self._seq + 1)
            self.viewer.active_id = self._promise
        self.on_state()

    def _take_back(self, message: Message, _: Buffers) -> None:
        """Undo the edit that a sentence was about, unless others came since."""
        self.session.undo(of=whole(message, "edit", 1, _MAX_COUNT))

    def _move(self, message: Message, _: Buffers) -> None:
        self._own_point = voxel = ops.inside(self.session.shape, message.get("point"))  # type: ignore[arg-type]
        try:
            self.session.move_to(*voxel)
        finally:
            # What moves the session there later must be shown.
            self._own_point = None
        self.viewer.moved.emit(voxel)
        self.say_note(lambda one: _near(one, voxel))

    def _step(self, message: Message, _: Buffers) -> None:
        if not self.session.step_object(1 if word(message, "to", ("next", "previous")) == "next" else -1):
            if self.session.doubt is None:
                self.say("No labels yet.")
        elif self.session.doubt is None:
            self._show_selected()

    def on_reviewing(self, doubt: Doubt | None) -> None:
        """Bring every page to the doubt that a review led to, and say what it is."""
        if doubt is None:
            return
        if doubt.id:
            self._show_selected(doubt)
        else:
            place = [*doubt.at]
            self.post({"kind": "center", "point": place, "doubt": place, "missing": True, **_around(doubt.at)})
        noted = self._notes(lambda one: one.id == doubt.id if doubt.id else _near(one, doubt.at))
        self.say(" ".join(filter(None, [f"{doubt}.", f"Y: {doubt.advice}." if doubt.fix else "", noted])))

    def _show_selected(self, doubt: Doubt | None = None) -> None:
        """Zoom to the one object that was gone to."""
        if box := self.session.box(self.session.selection[0]):
            point, at = list(self.session.position), doubt and [*doubt.at]
            self.post({"kind": "center", "point": point, "box": ends(box), "doubt": at})

    def _judge(self, message: Message, _: Buffers) -> None:
        """Judge the doubt that a page was led to, and lead it to the next one."""
        at = message.get("at")
        verb = word(message, "verb", ("mark_right", "mark_fix", "mark_unsure"))
        judge(self.session, verb, ops.inside(self.session.shape, at) if at else None)

    def _suggest(self, message: Message, _: Buffers) -> None:
        """Show what would mend the doubt that is looked at, or do it where exactly that was shown."""
        doubt = self.session.doubt
        if doubt is None or doubt.fix is None:
            self.say("Nothing is suggested here: mend it with the tools, or go on with N.")
            return
        verb, given = doubt.fix
        with self._order:
            if message.get("take") == self.session.version and self._suggested == (doubt, self.session.version):
                self._suggested = None
                done = self.session.do(verb, **given)
                mended = given.get("keep"), doubt.id or done.id
                self.session.select(*(id for id in mended if id and self.session.voxels(id)))
                return
            edit = self.session.preview(verb, **given)
            if not edit.parts:
                self.say("There is nothing to change here any more.")
                return
            box, ids = self._planes.propose([doubt.id, *given.get("gone", ()), given.get("keep", 0)], edit)
            self._suggested = doubt, self.session.version
        self.session.colors.add(ids)
        self._tell_colors()
        self.post({"kind": "proposal", **ends(box)})
        self.push_part("proposal", self.viewer.axis, self.viewer.index)
        self._show_in_space(box, ids)
        self.say(f"{doubt.advice[:1].upper()}{doubt.advice[1:]}?", suggests=self.session.version)

    def _zoom(self, message: Message, _: Buffers) -> None:
        """Go to an object; without one, zoom to the selected: on the plane that is looked at, if they are there."""
        if "id" in message:
            id = whole(message, "id", 1, ops.MAX_ID)
            if not self.session.voxels(id):
                raise InputError(f"There is no object {id} in these labels.")
            self.session.go_to(id)
            self._show_selected()
            return
        boxes = [box for id in self.session.selection if (box := self.session.box(id))]
        if not boxes:
            raise InputError("There is nothing to zoom to: select objects that there are.")
        around, along, index = functools.reduce(Box.union, boxes), AXES[self.viewer.axis], self.viewer.index
        point = [(a + b) // 2 for a, b in zip(around.start, around.stop, strict=True)]
        if around.start[along] <= index < around.stop[along]:
            point[along] = index
        self.viewer.index = point[along]
        self.post({"kind": "center", "point": point, "box": ends(around)})

    def _compare(self, _message: Message, _: Buffers) -> None:
        self.viewer.compare()

    def _surfaces(self, _message: Message, _: Buffers) -> None:
        self._meshed.ask()

    def _send_surfaces(self) -> None:
        """Send the surfaces of all objects."""
        self._post_surfaces("objects", meshes_of(self.session, budget=_TRIANGLES))

    def _post_surfaces(self, what: str, found: list[Mesh]) -> None:
        for head, piece in pieces(pack_meshes(found, {}), kind="surfaces", what=what):
            self.post(head, piece)

    def _show_in_space(self, box: Box, ids: npt.NDArray[np.uint32]) -> None:
        """Show what is proposed in 3-D as well, where that is in sight; the planes do not wait for it."""
        if self.viewer.panes == 4:
            self._foreshown.ask(box, ids)

    def _send_proposed(self, box: Box, ids: npt.NDArray[np.uint32]) -> None:
        """Send the surfaces of proposed objects in a box."""
        size = self.session.voxel_size
        found = surfaces(Labels(ids, size), budget=max(_TRIANGLES // 4, 12 * len(np.unique(ids))))
        first = np.multiply(box.start, size or (1.0, 1.0, 1.0)).astype(np.float32)
        self._post_surfaces("proposed", [dataclasses.replace(m, vertices=m.vertices + first) for m in found])

    def _place(self, message: Message) -> tuple[Axis, int]:
        """Return the plane that a message is about, or refuse it."""
        axis: Any = message.get("axis")
        return axis, ops.checked_index(self.session.labels.data, axis, message.get("index"))  # type: ignore[arg-type]

    def _at(self, message: Message, _: Buffers) -> None:
        """Take the plane that a page is on, before the message that was sent from it."""
        axis, index = self._place(message)
        # As if the traits themselves had come: other pages are told, and this one, which may be further, is not.
        if (axis, index) != (self.viewer.axis, self.viewer.index):
            self.viewer.set_state({"axis": axis, "index": index})

    def _here(self, message: Message, _: Buffers) -> None:
        """Take the answer of a page to `when_told`; before it came what the page had to tell."""
        self._go_on(whole(message, "question", 1, _MAX_COUNT))

    def _why(self, message: Message, _: Buffers) -> None:
        """Say why a pixel belongs to its object or to none."""
        axis, index = self._place(message)
        h, w = cut(self.session.labels.data, axis, index).shape
        place = {"row": whole(message, "row", 0, h - 1), "column": whole(message, "column", 0, w - 1)}
        head = {"kind": "why", "client": word(message, "client"), "axis": axis, "index": index, **place}
        self.post(head | self._planes.explain(axis, index, **place))

    def _noted(self, message: Message, _: Buffers) -> None:
        """Tell what is noted about an object or a place, so that it can be changed."""
        id, point = message.get("id"), message.get("point")
        found = (one.text for one in self.session.noted if (one.id == id if one.id else list(one.point or ()) == point))
        head = {"kind": "note", "client": word(message, "client"), "ask": whole(message, "ask", 1, _MAX_COUNT)}
        self.post({**head, "text": next(found, "")})

    def _peek(self, message: Message, _: Buffers) -> None:
        """Tell who listens which setting the user is about to move."""
        self.viewer.peeked.emit(word(message, "field", ("", *FIELDS)))

    def _answer(self, message: Message, _: Buffers) -> None:
        """Tell who asked what the user answers."""
        self.viewer.answered.emit(word(message, "says", ANSWERS))

    def _ask(self, message: Message, _: Buffers) -> None:
        self.viewer.asked.emit(word(message, "command", COMMANDS))

    _HANDLERS = {  # noqa: RUF012
        "hello": _hello, "want": _want, "edit": _edit, "take": _take, "move": _move, "step": _step, "at": _at,
        "here": _here, "ask": _ask, "take-back": _take_back, "propose": _propose, "zoom": _zoom,
        "suggest": _suggest, "verdict": _judge, "compare": _compare, "surfaces": _surfaces,
        "why": _why, "noted": _noted, "peek": _peek, "answer": _answer,
    }  # fmt: skip


def ends(box: Box) -> dict[str, list[int]]:
    """Return a box as a page takes it."""
    return {"start": list(box.start), "stop": list(box.stop)}


def _near(one: Note, voxel: Sequence[int]) -> bool:
    return one.point is not None and bool(np.abs(np.subtract(one.point, voxel)).max() <= _NEAR)


def _around(point: Sequence[int]) -> dict[str, Any]:
    """Return a box around a place without an object, as a page takes it."""
    z, y, x = point
    return {"box": ends(Box((z, y, x), (z + 1, y + 1, x + 1)).grow(_AROUND))}


def _nack(error: Exception, **head: Any) -> dict[str, Any]:
    """Return the answer to a message that cannot be done; what was not refused on purpose is logged."""
    said = str(error)
    if not isinstance(error, MitonbError):
        _log.error("The viewer could not handle a message.", exc_info=error)
        said = f"{type(error).__name__}: {said}"
    return {"kind": "nack", **head, "reason": said[:500]}
