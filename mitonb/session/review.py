"""A review: how far it is, how long it will take, and what a random sample says of all objects."""

from __future__ import annotations

import math
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise, takewhile
from statistics import median
from typing import TYPE_CHECKING

from mitonb.edit import marks
from mitonb.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mitonb.session.doubts import Doubt
    from mitonb.session.session import Session

_PAUSE = 120
"""Seconds between two edits after which somebody was doing something else."""
_FEWEST = 10
"""Objects of a random sample from which anything is said."""


@dataclass(frozen=True)
class ReviewProgress:
    """How far a review is.

    Attributes
    ----------
    seen, total : int
        Objects and places of the queue.
    seconds : float or None
        What the rest will take, at the pace of the verdicts so far; None before three of them.
    sample : int
        How many objects of the random order were judged without a gap, so that they stand for all.
    right : tuple of float, or None
        Share of the objects that were right as they were found, and the limits between which it lies with 95 %
        (Wilson 1927); None for a smaller sample than ten.
    """

    seen: int
    total: int
    seconds: float | None
    sample: int
    right: tuple[float, float, float] | None

    def __str__(self) -> str:
        said = [f"{self.seen} of {self.total} seen"]
        if self.seconds is not None and self.seen < self.total:
            minutes = math.ceil(self.seconds / 60)
            said.append(f"about {minutes} minute{'s' * (minutes > 1)} left")
        return ", ".join(filter(None, [*said, self.worth]))

    @property
    def worth(self) -> str:
        """What the sample says; "" where it is too small."""
        if self.right is None:
            return ""
        share, low, high = self.right
        return f"{share:.0%} were right ({low:.0%} to {high:.0%}) by a random sample of {self.sample}"


def shuffled(doubts: Sequence[Doubt]) -> list[Doubt]:
    """Return the objects of a queue in a random order, which is always the same: what is judged first is a sample."""
    return sorted((one for one in doubts if one.id), key=lambda one: _random(one.id))


def review_progress(session: Session) -> ReviewProgress:
    """Return how far the review of a session is."""
    with session._lock:
        waiting, project = session.open_doubts(), session._project
        known = marks.seen(project)
        judged = [row.time for row in project.rows if row.kind in marks.SEEN or row.kind == "dismiss"]
        gone = sum(one.id not in known and not session.voxels(one.id) for one in session.queue if one.id)
        total = len(session.queue) - gone
        objects = sorted((one.id for one in session.queue if one.id), key=_random)
    steps = [later - before for before, later in pairwise(judged) if 0 <= later - before < _PAUSE]
    seconds = median(steps) * len(waiting) if len(steps) >= 2 else None
    first = [known[id].first for id in takewhile(lambda id: id in known, objects)]
    sure = [word == "right" for word in first if word not in ("unsure", "made")]
    return ReviewProgress(total - len(waiting), total, seconds, len(sure), _wilson(sum(sure), len(sure)))


def judge(session: Session, verb: str, at: Sequence[int] | None = None) -> None:
    """Say of the doubt that is looked at that it is right, to be mended or unsure, and go to the next one.

    Parameters
    ----------
    session : Session
        In a review.
    verb : {"mark_right", "mark_fix", "mark_unsure"}
        At a place without an object the first says that nothing is missing there; the others are of no use.
    at : (z, y, x), optional
        The doubt that is meant (`Doubt.at`): where another one is looked at, nothing is done.

    Raises
    ------
    InputError
        If no doubt is looked at, or a place without an object is to be marked.
    """
    with session._lock:
        doubt = session.doubt
        if doubt is None:
            raise InputError("Go to a doubt first (N): then say whether it is right.")
        if at is not None and tuple(at) != doubt.at:
            return
        if doubt.id:
            session.do(verb, ids=[doubt.id])
        elif verb == "mark_right":
            session.dismiss(doubt.at)
        else:
            raise InputError(
                "There is no object here to mark: take it (Y), draw it (P), or say that nothing is missing (Shift-C)."
            )
        session.step_object(1)


def _random(id: int) -> bytes:
    return blake2b(str(id).encode(), digest_size=8).digest()


def _wilson(good: int, count: int) -> tuple[float, float, float] | None:
    """Return a share and the limits between which it lies with 95 %."""
    if count < _FEWEST:
        return None
    z, share = 1.96, good / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return share, max(0.0, middle - half), min(1.0, middle + half)
