"""What a session tells: the answer to a verb, and whether the work is safe."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from psygnal import EmitLoopError

if TYPE_CHECKING:
    from psygnal import SignalInstance

    from mitonb.box import Box

__all__ = ["MEMORY", "SAVED", "SAVING", "Change", "SaveState", "emit"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Change:
    """What a verb did, acknowledged.

    Attributes
    ----------
    seq : int
        Number of the edit in the journal; the session's version from then on.
    box : Box
        Where voxels may differ from before; of size 0 when nothing changed.
    what : str
        The verb; "nothing" when nothing changed.
    """

    seq: int
    box: Box
    what: str


@dataclass(frozen=True)
class SaveState:
    """Whether the work is safe, in a word and in a sentence.

    Attributes
    ----------
    kind : {"memory", "saved", "saving", "unsaved"}
        For colours and decisions.
    text : str
        For people: "in memory only", "saved", "saving 1", "not saved: why".
    """

    kind: Literal["memory", "saved", "saving", "unsaved"]
    text: str

    def __str__(self) -> str:
        return self.text


MEMORY = SaveState("memory", "in memory only")
SAVED = SaveState("saved", "saved")
SAVING = SaveState("saving", "saving 1")


def emit(signal: SignalInstance, value: object) -> None:
    """Emit; a listener that fails must not look like an edit that failed."""
    try:
        signal.emit(value)
    except EmitLoopError:
        _log.exception("A listener of this session failed; the session itself is as it should be.")
