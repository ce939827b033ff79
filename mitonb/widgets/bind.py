"""The wire between a viewer and its browser: checked messages in, pixels in strips out, edits as session verbs."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mitonb.edit.verbs import VERBS
from mitonb.errors import InputError
from mitonb.stack import AXES

__all__ = [
    "PARTS", "PROTOCOL", "STEPS", "Acks", "Edit", "Message", "apply", "cut", "encode", "gray", "read_edit", "shrink",
    "strips",
]  # fmt: skip

PROTOCOL = 1
PARTS = ("image", "labels", "semantic", "center", "offsets", "preview")
STEPS = (1, 2, 4, 8, 16)
"""Pixels on a side that one pixel of a coarser image may stand for."""
MAX_REPLY = 1_400_000
"""Bytes of pixels in one message to the browser; with its header it stays below 1.5 MB."""

_MAX_POINTS = 40_000
_MAX_IDS = 10_000
_MAX_RADIUS = 1000
_MAX_ID = 2**32 - 1

Message = Mapping[str, Any]
Buffers = Sequence[bytes | memoryview]


@dataclass(frozen=True)
class Edit:
    """One correction as the browser asks for it: a verb of the session with its checked arguments."""

    client: str
    cseq: int
    verb: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


# --- reading -----------------------------------------------------------------------------------------------------


def whole(message: Message, name: str, low: int, high: int) -> int:
    """Return a whole number of a message, or refuse it."""
    value = message.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"{name} is a whole number from {low} to {high}, got {value!r:.60}.")
    return value


def text(message: Message, name: str, *, longest: int = 64) -> str:
    """Return a short text of a message, or refuse it."""
    value = message.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        raise InputError(f"{name} is a text of at most {longest} characters, got {value!r:.80}.")
    return value


def choice(message: Message, name: str, choices: Sequence[str]) -> str:
    """Return one of some words, or refuse it."""
    value = message.get(name)
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"{name} is one of {', '.join(choices)}, got {value!r:.60}.")
    return value


def flag(message: Message, name: str) -> bool:
    """Return True or False, False when the message does not say."""
    value = message.get(name, False)
    if not isinstance(value, bool):
        raise InputError(f"{name} is true or false, got {value!r:.60}.")
    return value


def ids_of(message: Message, name: str) -> list[int]:
    """Return a list of ids above 0, or refuse it."""
    value = message.get(name)
    if not isinstance(value, list) or len(value) > _MAX_IDS:
        raise InputError(f"{name} is a list of at most {_MAX_IDS} ids.")
    return [whole({name: v}, name, 1, _MAX_ID) for v in value]


def point_of(message: Message, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return a voxel (z, y, x) inside a volume, or refuse it."""
    value = message.get("point")
    if not isinstance(value, list) or len(value) != 3:
        raise InputError(f"point is [z, y, x], got {value!r:.60}.")
    z, y, x = (whole({"point": v}, "point", 0, n - 1) for v, n in zip(value, shape, strict=True))
    return z, y, x


def read_edit(message: Message, buffers: Buffers, shape: tuple[int, int, int]) -> Edit:
    """Check an edit message against the volume; nothing of it is trusted.

    Raises
    ------
    InputError
        If a field is missing, of another type, or out of range.
    """
    client, cseq = text(message, "client"), whole(message, "cseq", 1, 2**53)
    verb = choice(message, "op", sorted(name for name, row in VERBS.items() if row.gesture))
    names = [parameter.name for parameter in VERBS[verb].parameters]
    return Edit(client, cseq, verb, {name: _READERS[name](message, buffers, shape) for name in names})


def _read_points(message: Message, buffers: Buffers, shape: tuple[int, int, int]) -> npt.NDArray[np.int64]:
    axis = choice(message, "axis", list(AXES))
    index = whole(message, "index", 0, shape[AXES[axis]] - 1)  # type: ignore[index]
    count = whole(message, "points", 1, _MAX_POINTS)
    if len(buffers) != 1 or memoryview(buffers[0]).nbytes != 8 * count:
        raise InputError(f"A stroke of {count} points comes with one buffer of {8 * count} bytes.")
    line = np.frombuffer(buffers[0], dtype="<i4").reshape(count, 2).astype(np.int64)
    if np.abs(line).max() > 1_000_000:
        raise InputError("A stroke has points far outside the plane.")
    return np.insert(line, AXES[axis], index, axis=1)  # type: ignore[index]


def _read_ids(message: Message, name: str) -> list[int]:
    ids = ids_of(message, name)
    if not ids:
        raise InputError(f"{name} names at least one object.")
    return ids


# argument of a verb (`mitonb.edit.verbs`) -> how a message says it
_READERS: dict[str, Callable[[Message, Buffers, tuple[int, int, int]], Any]] = {
    "points": _read_points,
    "radius": lambda message, *_: whole(message, "radius", 0, _MAX_RADIUS),
    "axis": lambda message, *_: choice(message, "axis", list(AXES)),
    "point": lambda message, _, shape: point_of(message, shape),
    "id": lambda message, *_: whole(message, "id", 1, _MAX_ID),
    "only": lambda message, *_: None if message.get("only") is None else whole(message, "only", 1, _MAX_ID),
    "preserve": lambda message, *_: flag(message, "preserve"),
    "keep": lambda message, *_: whole(message, "keep", 1, _MAX_ID),
    "gone": lambda message, *_: _read_ids(message, "gone"),
    "ids": lambda message, *_: _read_ids(message, "ids"),
}


def apply(session: Any, edit: Edit) -> Any:
    """Do an edit through the session's verb of the same name, and return the `Change`."""
    # The session knows the page and its number too, so that not even a restart of the kernel repeats an edit.
    return session.do(edit.verb, client=(edit.client, edit.cseq), **edit.arguments)


# --- acknowledgements --------------------------------------------------------------------------------------------


class Acks:
    """Answers already given, so that a message that comes twice is done once.

    Each browser page is a client that numbers its edits 1, 2, 3, ...
    """

    def __init__(self, *, clients: int = 64, answers: int = 512) -> None:
        self._last: OrderedDict[str, int] = OrderedDict()
        self._answers: OrderedDict[tuple[str, int], dict[str, Any]] = OrderedDict()
        self._clients, self._kept = clients, answers

    def last(self, client: str) -> int:
        """Return the number of the newest edit of a client, 0 before its first."""
        return self._last.get(client, 0)

    def resume(self, client: str, first: int) -> None:
        """Go on with a client of a kernel that is gone: all its edits before `first` were answered there."""
        self._last[client] = max(self.last(client), first - 1)

    def earlier(self, client: str, cseq: int) -> dict[str, Any] | None:
        """Return the answer to an edit that has come before, or None for a new one."""
        if cseq > self.last(client):
            return None
        return self._answers.get((client, cseq), {"kind": "ack", "client": client, "cseq": cseq})

    def remember(self, client: str, cseq: int, answer: dict[str, Any]) -> None:
        """Keep the answer to the newest edit of a client."""
        self._last[client] = cseq
        self._last.move_to_end(client)
        self._answers[client, cseq] = answer
        while len(self._last) > self._clients:
            self._last.popitem(last=False)
        while len(self._answers) > self._kept:
            self._answers.popitem(last=False)


# --- pixels ------------------------------------------------------------------------------------------------------


def cut(volume: Any, axis: str, index: int) -> npt.NDArray[Any]:
    """Return one plane of a volume as (h, w)."""
    key: list[Any] = [slice(None)] * 3
    key[AXES[axis]] = index  # type: ignore[index]
    return np.asarray(volume[tuple(key)])


def gray(image: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.uint8]:
    """Map intensities to 0..255: `low` becomes 0, `high` becomes 255, NaN becomes 0."""
    if image.dtype == np.uint8 and (low, high) == (0.0, 255.0):
        return image
    if image.dtype == np.bool_:
        return image.astype(np.uint8) * np.uint8(255)
    # Black is taken away before large integers lose their last digits to float32.
    wide: npt.NDArray[np.floating[Any]] = image.astype(np.float32 if image.dtype.itemsize <= 2 else np.float64)
    values = (wide - low) * (255 / (high - low))
    np.nan_to_num(values, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def shrink(image: npt.NDArray[np.uint8], step: int) -> npt.NDArray[np.uint8]:
    """Return the means of blocks of step x step pixels; (h, w) becomes (ceil(h / step), ceil(w / step))."""
    if step == 1:
        return image
    h, w = image.shape
    # Rows and columns are repeated at the far edges, so that a last, thinner block is not darkened.
    image = np.pad(image, ((0, -h % step), (0, -w % step)), mode="edge")
    total = np.zeros((image.shape[0] // step, image.shape[1] // step), np.uint32)
    for i in range(step):
        for j in range(step):
            total += image[i::step, j::step]
    return ((total + step * step // 2) // (step * step)).astype(np.uint8)


def encode(part: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a part's pixels in the type that the browser's textures take: (h, w) or (h, w, 2), contiguous."""
    if part == "offsets":
        values = np.moveaxis(values, 0, -1)
    kinds = {"image": "u1", "semantic": "u1", "labels": "<u4", "preview": "<u4", "center": "<f2", "offsets": "<f2"}
    return np.ascontiguousarray(values, dtype=kinds[part])


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
