"""Strokes are edits: the journal keeps what they say of pixels, undo takes it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from mitonb.errors import InputError
from mitonb.session import Session

if TYPE_CHECKING:
    from pathlib import Path


def said(session: Session) -> list[tuple[bool, str, int, list[list[int]], float]]:
    return [(s.mito, s.axis, s.plane, s.line.tolist(), s.radius) for s in session.strokes]


def test_a_stroke_is_a_line_of_the_history_that_undo_takes_back(path: Path) -> None:
    session = Session(np.zeros((4, 30, 40), np.uint8), path=path)
    change = session.teach_mito([[2, 5, 6], [2, 5, 16]], radius=3)
    assert (change.what, change.box.size) == ("teach_mito", 0)
    session.teach_not([[0, 8, 7], [3, 8, 7]], radius=1.5, axis="xz")
    both = [(True, "xy", 2, [[5, 6], [5, 16]], 3.0), (False, "xz", 8, [[0, 7], [3, 7]], 1.5)]
    assert said(session) == both
    assert not session.labels.data.any()
    assert [(e.text, e.code) for e in session.history()] == [
        ("taught that this is mitochondrion on xy plane 2", "session.teach_mito([[2, 5, 6], [2, 5, 16]], radius=3)"),
        (
            "taught that this is no mitochondrion on xz plane 8",
            "session.teach_not([[0, 8, 7], [3, 8, 7]], radius=1.5, axis='xz')",
        ),
    ]
    # The lines of code do the same again, and an entry of the history leads to its stroke.
    again = Session(np.zeros((4, 30, 40), np.uint8))
    for entry in session.history():
        exec(entry.code, {"session": again})
    assert said(again) == both
    session.go_to_edit(1)
    assert session.position == (2, 5, 16)
    session.undo()
    assert said(session) == both[:1]
    session.close()
    with Session.open(path) as reopened:
        assert said(reopened) == both[:1]
        reopened.redo()
        assert said(reopened) == both
        for wrong in ([[9, 5, 6]], [[2, 500, 6]], [[0, 1, 1], [1, 1, 1]]):
            with pytest.raises(InputError):
                reopened.teach_not(wrong, radius=2)
        assert said(reopened) == both


def test_a_stroke_covers_what_a_brush_would_paint() -> None:
    session, line = Session(np.zeros((1, 30, 40), np.uint8)), [[0, 2, 3], [0, 9, 39], [0, 28, 20]]
    session.teach_mito(line, radius=4)
    session.paint(line, id=7, radius=4)
    covered = np.zeros((30, 40), np.int64)
    session.strokes[0].put(covered, 7)
    assert np.array_equal(covered, session.labels.data[0])
