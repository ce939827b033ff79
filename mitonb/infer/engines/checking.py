"""When the labels of a fast engine are compared with those of the exact one."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Schedule"]

_FIRST = 3
"""Tiles with objects that are checked one after another."""
_PATIENCE = 4
"""Tiles without objects after which that stops waiting for some."""
_LONGEST = 128
"""Most tiles from one check to the next: an exact tile takes some five fast ones, so that this costs 4 %."""


@dataclass
class Schedule:
    """Tiles one by one until three with objects agreed, then ever more seldom, but to the end of the run.

    What differs from the exact labels is often one object in fifty that is on the brink, so one tile tells little.

    Attributes
    ----------
    tiles : int
        How many have come.
    """

    tiles: int = 0
    _agreed: int = 0
    _empty: int = 0
    _gap: int = 1
    _next: int = 1

    def due(self, tiles: int) -> bool:
        """Count tiles that came together; return whether to check the first of them."""
        first = self.tiles + 1
        self.tiles += tiles
        return first >= self._next

    def agreed(self, *, objects: bool) -> None:
        """Note that a check went well, on a tile with or without objects."""
        self._agreed += objects
        self._empty += not objects
        early = self._agreed < _FIRST and self._empty < _PATIENCE
        self._gap = 1 if early else min(2 * self._gap, _LONGEST)
        self._next = self.tiles + self._gap

    def restart(self) -> None:
        """Check another engine as the first one was."""
        self._agreed, self._empty, self._gap, self._next = 0, 0, 1, self.tiles + 1
