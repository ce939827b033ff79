"""What is large on its way to a page: facts and arrays as bytes, sent in pieces; surfaces as arrays."""

from __future__ import annotations

import json
import struct
import threading
from typing import TYPE_CHECKING, Any

import anywidget

from mitonb.mesh import Mesh, joined, surfaces

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from mitonb.session import Session

TRIANGLES = 250_000  # what software GL still turns at ten pictures a second
_PIECE = 1 << 20  # bytes of a message
_KINDS = {"float64": "f8", "float32": "f4", "uint32": "u4", "uint8": "u1"}


class Packed(anywidget.AnyWidget):
    """A widget that sends what is large to its pages: when it is there, and again when one is opened.

    Attributes
    ----------
    packs : dict of str to bytes
        What `pack` made, by its name.
    """

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self.packs: dict[str, bytes] = {}
        self._sending = threading.Lock()
        self.on_msg(lambda _, message, __: self._on_message(message))

    def _tell(self, what: str) -> None:
        with self._sending:  # of two that are sent at once the pieces would come mixed
            for head, piece in pieces(self.packs.get(what, b""), kind="data", what=what):
                self.send(head, [piece])

    def _on_message(self, message: dict[str, Any]) -> None:
        if message.get("kind") == "ready":
            for what in [*self.packs]:
                self._tell(what)


def pack(head: dict[str, Any], **arrays: npt.NDArray[Any]) -> bytes:
    """Return facts and arrays (float64, float32, uint32 or uint8) as the bytes that js/packs.js unpacks."""
    names = [[name, _KINDS[one.dtype.name], one.nbytes] for name, one in arrays.items()]
    text = json.dumps({**head, "arrays": names}).encode()
    return b"".join([struct.pack("<I", len(text)), text, *(one.tobytes() for one in arrays.values())])


def pieces(data: bytes, **head: Any) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Cut what was packed into messages below 1.5 MB; yield header and buffer of each."""
    for at in range(0, len(data), _PIECE):
        yield {**head, "at": at, "total": len(data)}, data[at : at + _PIECE]


def pack_meshes(meshes: list[Mesh], head: dict[str, Any], **arrays: npt.NDArray[Any]) -> bytes:
    """Return surfaces, packed, with facts and arrays."""
    points, corners = joined(meshes)
    told = [[m.id, len(m.vertices), len(m.triangles)] for m in meshes]
    return pack({"meshes": told, **head}, points=points, corners=corners, **arrays)


def present(session: Session, ids: Sequence[int] | None) -> list[int]:
    """Return which of some objects are there; all that are where no ids are given."""
    return session.ids() if ids is None else [id for id in ids if session.voxels(id)]


def meshes_of(session: Session, ids: Sequence[int] | None = None, *, budget: int = TRIANGLES) -> list[Mesh]:
    """Return the surfaces of those of some objects that are there."""
    known = {id: (box, session.voxels(id)) for id in present(session, ids) if (box := session.box(id))}
    found = surfaces(session.labels, known, budget=max(budget, 12 * len(known)), known=known)
    return [m for m in found if len(m.triangles)]
