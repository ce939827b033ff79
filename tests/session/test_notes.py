"""Notes are edits: about an object or a place, changed, taken away, undone, kept in the file, and never code."""

import numpy as np
import pytest

from mitonb.edit.marks import Note
from mitonb.errors import InputError
from mitonb.session import Session
from tests.edit.drawing import labels


def test_notes_are_kept_changed_and_taken_away(tmp_path):
    path = tmp_path / "a.mitonb"
    with Session(labels=labels(), path=path) as session:
        session.note("merged with 2?", 1)
        session.note("  a vesicle  ", point=(2, 3, 4))
        session.note("surely merged", 1, 2)
        assert session.noted == [
            Note("a vesicle", 0, (2, 3, 4)), Note("surely merged", 1), Note("surely merged", 2)
        ]  # fmt: skip
        session.note("", 2)
        assert [one.id for one in session.noted] == [0, 1]
        session.undo()
        session.delete(1)
    with Session.open(path) as session:
        assert session.noted == [Note("a vesicle", 0, (2, 3, 4)), Note("surely merged", 2)], "of what is there"
        assert session.history()[1].sentence == "Noted at 2, 3, 4: a vesicle."
        session.go_to_edit(2)
        assert session.position == (2, 3, 4)
        session.go_to_edit(3)
        assert session.selection == (2,)
        session.undo()
        assert len(session.noted) == 3


@pytest.mark.parametrize(
    ("text", "ids", "point", "why"),
    [
        (7, [1], None, "A note is one line"), (None, [1], None, "A note is one line"), ("a\nb", [1], None, "one line"),
        ("x" * 501, [1], None, "at most 500"), ("\u202egnp", [1], None, "one line"), ("a", [], None, "name one"),
        ("a", [1], (0, 0, 0), "name one of them"), ("a", [9], None, "There is no object 9"),
        ("a", [], (9, 9, 9), "outside the volume"),
    ],
)  # fmt: skip
def test_what_is_no_note_is_refused(text, ids, point, why):
    session = Session(labels=labels())
    with pytest.raises(InputError, match=why):
        session.note(text, *ids, point=point)
    assert session.version == 0


def test_a_note_in_the_code_of_the_history_is_a_quoted_text_whatever_stands_in_it(tmp_path):
    with Session(labels=labels(), path=tmp_path / "a.mitonb") as session:
        for text in ('it\'s "one"', "'); import os; os.abort(); ('", "{0} %s \\"):
            session.note(text, 1)
        session.note("here", point=(0, 1, 2))
        code = session.to_code()
        names = {}
        exec(code, names)
        assert "session.note('here', point=(0, 1, 2))" in code
        assert names["session"].noted == session.noted
        assert np.array_equal(names["session"].labels.data, session.labels.data)


def test_a_note_does_not_say_that_an_object_was_corrected():
    from mitonb.edit import marks

    session = Session(labels=labels())
    session.note("odd", 1)
    assert marks.seen(session._project) == {}
