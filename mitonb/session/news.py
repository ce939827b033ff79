"""What a session tells: the answer to a verb, and whether the work is safe."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from psygnal import EmitLoopError

if TYPE_CHECKING:
    from psygnal import SignalInstance

    from mitonb.box import Box
    from mitonb.edit.store import Row

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
    id : int
        The label that was painted or filled with; else 0.
    kept : int
        Corrected objects that a run left as they were.
    erased : int
        Objects of a run that were left out because the user had erased or deleted them.
    """

    seq: int
    box: Box
    what: str
    id: int = 0
    kept: int = 0
    erased: int = 0

    @classmethod
    def of(cls, row: Row, box: Box) -> Change:
        """Return what a record of the journal did."""
        return cls(row.seq, box, row.kind, *(row.intent.get(name, 0) for name in ("id", "kept", "erased")))

    def about_corrections(self) -> str:
        """Return in a sentence what a run did about corrections; "" when there were none in its way."""
        said = []
        if self.kept:
            said.append(f"{self.kept} corrected object{'s' * (self.kept > 1)} kept")
        if self.erased:
            said.append(f"{self.erased} that you had erased left out")
        return f"{', '.join(said)}." if said else ""


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
