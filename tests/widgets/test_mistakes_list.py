"""The list of mistakes on the screen, and measures that a table takes on request."""

from __future__ import annotations

import numpy as np
import pytest

import mitonb as mn
from mitonb.errors import AxesError, InputError
from mitonb.labels import Labels
from mitonb.session import Session
from mitonb.stack import Stack


def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Labels and truth: object 1 is two in the truth, 5 is nowhere there, 9 is right, and 7 is missed."""
    labels, truth = np.zeros((4, 20, 40), np.uint32), np.zeros((4, 20, 40), np.uint32)
    labels[:, 2:8, 2:18], truth[:, 2:8, 2:10], truth[:, 2:8, 10:18] = 1, 1, 2
    labels[:, 12:14, 2:6] = 5
    labels[:, 12:18, 10:20] = truth[:, 12:18, 10:20] = 9
    truth[:, 2:5, 30:35] = 7
    return labels, truth


def test_a_click_on_a_mistake_selects_its_objects_and_goes_there_and_the_list_follows_edits() -> None:
    labels, truth = drawn()
    session = Session(labels=labels)
    found = mn.show_mistakes(session, truth)
    assert found.wait(60)
    assert list(found.table["kind"]) == ["merged", "missing", "false"]
    assert "3 mistakes: 1 missing, 1 false, 1 merged" in found.status.value
    found.grid.asked.emit("pick", {"id": 1})
    assert session.selection == (1,)
    assert session.position[2] in (9, 10), "where the two meet"
    assert found.grid.selected == [1]
    found.grid.asked.emit("pick", {"id": 2})
    assert session.selection == ()
    assert truth[session.position] == 7
    session.delete(5)
    assert found.wait(60)
    assert list(found.table["kind"]) == ["merged", "missing"]
    found.grid.asked.emit("pick", {"id": 3})  # that was the deleted one's
    assert found._repr_mimebundle_()
    found.close()
    session.delete(9)
    assert found.wait(60)
    assert list(found.table["kind"]) == ["merged", "missing"], "nothing follows once it is closed"
    with pytest.raises(AxesError, match="needs the shape of the labels"):
        mn.show_mistakes(session, truth[:2])


def test_beside_a_viewer_both_label_sets_are_seen() -> None:
    labels, truth = drawn()
    viewer = mn.view(Stack(np.zeros(labels.shape, np.uint8)), labels)
    found = mn.show_mistakes(viewer, truth)
    assert viewer.comparison == "curtain"
    assert found.session is viewer.session
    with pytest.raises(InputError, match="a session, a viewer or a workbench, got int"):
        mn.show_mistakes(3, truth)


def test_a_table_measures_more_on_request_and_offers_what_is_left() -> None:
    labels, _ = drawn()
    image = np.full(labels.shape, 50, np.uint8)
    table = mn.show_table(Session(Stack(image, (20.0, 10.0, 10.0)), Labels(labels, (20.0, 10.0, 10.0))))
    assert table.wait(60)
    assert table.grid.groups == ["shape", "skeleton", "neighbours", "grey"]
    assert "mean_intensity" not in table.table
    table.grid.asked.emit("measure", {"group": "grey"})
    assert table.wait(60)
    assert list(table.table["mean_intensity"]) == [50, 50, 50]
    table.grid.asked.emit("measure", {"group": "shape"})
    assert table.wait(120)
    assert table.grid.groups == ["skeleton", "neighbours"]
    assert {"mean_intensity", "surface_um2"} <= set(table.table.columns)
    table.grid.asked.emit("measure", {"group": "beauty"})
    assert "no group of columns" in table.status.value
