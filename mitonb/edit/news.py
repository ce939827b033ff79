"""What a session tells: the answer to a verb, and whether the work is safe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mitonb.box import Box

__all__ = ["MEMORY", "NOWHERE", "SAVED", "SAVING", "Change", "SaveState"]

NOWHERE = Box((0, 0, 0), (0, 0, 0))


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
