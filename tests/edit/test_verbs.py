"""The table of verbs: what is drawn from it has all that it needs, and a session does what a row says."""

import inspect

import pytest

from mitonb.edit.verbs import VERBS, on_screen
from mitonb.errors import InputError
from mitonb.session import Session
from tests.edit.drawing import labels


@pytest.mark.parametrize("verb", [verb for verb in VERBS.values() if verb.op], ids=lambda verb: verb.name)
def test_the_method_of_a_session_has_the_arguments_of_its_row(verb):
    method = list(inspect.signature(getattr(Session, verb.name)).parameters.values())[1:]
    assert method[-1].name == "client"
    given = [(p.name, p.kind, p.default) for p in method[:-1]]
    assert given == [(p.name, p.kind, p.default) for p in verb.parameters]


def test_a_page_gets_all_that_toolbar_help_and_keys_are_drawn_from():
    rows = on_screen()
    assert {"paint", "erase", "fill", "merge", "delete", "undo", "redo"} <= {row["name"] for row in rows}
    assert all(row["gesture"] and row["title"] for row in rows)
    assert all(row[name] for row in rows if not row["menu"] for name in ("keys", "codes", "icon"))
    codes = [code for row in rows for code in row["codes"]]
    assert len(codes) == len(set(codes))
    assert {"p", "backspace", "ctrl+z", "ctrl+shift+z"} < set(codes)


def test_verbs_are_done_by_their_names():
    session = Session(labels=labels())
    session.do("merge", keep=1, gone=[2], client=("page", 1))
    session.do("merge", keep=1, gone=[2], client=("page", 1))
    assert session.ids() == [1]
    session.do("undo", client=("page", 2))
    assert [e.code for e in session.history()] == ["session.merge(1, 2)", "session.undo()"]
    session.do("fill", point=(0, 0, 0), id=None)
    assert session.history()[-1].code == "session.fill((0, 0, 0), 3)"
    with pytest.raises(InputError, match="A verb is one of paint, erase"):
        session.do("explode")
