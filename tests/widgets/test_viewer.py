"""The viewer's Python side, driven by the messages that a browser would send; no browser here."""

from __future__ import annotations

import importlib
import threading
import zlib
from typing import TYPE_CHECKING, Any

import ipywidgets.widgets.widget as ipw
import numpy as np
import pytest

import mitonb as mn
from mitonb.edit.verbs import VERBS, Verb
from mitonb.errors import InputError
from mitonb.labels import Labels
from mitonb.maps import Maps
from mitonb.session import Session
from mitonb.session.doubts import Doubt
from mitonb.stack import Stack
from mitonb.widgets.app import explore
from mitonb.widgets.protocol import cut
from mitonb.widgets.style import gray
from mitonb.widgets.viewer import LAYERS, Viewer, view
from tests.widgets.reading import unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHAPE = (4, 20, 30)


class Wire:
    """Stands where the comm to the browser is: keeps what goes out, hands in what would come."""

    comm_id = "wire"

    def __init__(self, **_: Any) -> None:
        self.sent: list[tuple[dict[str, Any], list[bytes]]] = []
        self._hear: Any = None

    def send(self, data: Any = None, metadata: Any = None, buffers: Any = None) -> None:
        if data and data.get("method") == "custom":
            self.sent.append((data["content"], [bytes(b) for b in buffers or []]))

    def on_msg(self, callback: Any) -> None:
        self._hear = callback

    def on_close(self, callback: Any) -> None: ...

    def close(self, *_: Any, **__: Any) -> None: ...

    def hear(self, content: Any, *buffers: bytes) -> list[dict[str, Any]]:
        """Deliver a message; return the messages that it made the viewer send."""
        before = len(self.sent)
        self._hear({"content": {"data": {"method": "custom", "content": content}}, "buffers": list(buffers)})
        return [message for message, _ in self.sent[before:]]


@pytest.fixture(autouse=True)
def wires(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("ipywidgets.widgets.widget.comm.create_comm", Wire)
    yield
    ipw.Widget.close_all()


@pytest.fixture
def viewer() -> Viewer:
    image = np.arange(np.prod(SHAPE), dtype=np.uint16).reshape(SHAPE)
    labels = np.zeros(SHAPE, np.uint32)
    labels[:, 2:6, 2:8] = 1
    labels[:, 2:6, 10:15] = 2
    return Viewer(Session(Stack(image), labels))


@pytest.fixture
def wire(viewer: Viewer) -> Wire:
    return viewer.comm


def paint(cseq: int, *points: tuple[int, int], **changes: Any) -> tuple[dict[str, Any], bytes]:
    line = np.array(points, dtype="<i4")
    message = {
        "kind": "edit", "op": "paint", "client": "me", "cseq": cseq, "axis": "xy", "index": 1, "radius": 0,
        "points": len(line), "id": 7, "preserve": False,
    }  # fmt: skip
    return {**message, **changes}, line.tobytes()


def kinds(messages: list[dict[str, Any]]) -> list[str]:
    return [m["kind"] for m in messages]


def test_a_page_that_says_hello_learns_what_there_is(viewer: Viewer, wire: Wire) -> None:
    (state,) = wire.hear({"kind": "hello", "client": "me", "protocol": 1})
    assert state["info"]["shape"] == list(SHAPE)
    assert state["info"]["empty"] is False
    assert len(state["info"]["palette"]) == 32
    assert state["save"]["kind"] == "memory"
    assert state["last"] == 0


def test_an_image_plane_comes_in_grey_through_the_intensity_window(viewer: Viewer, wire: Wire) -> None:
    (message,) = wire.hear({"kind": "want", "client": "me", "req": 1, "parts": ["image"], "axis": "xy", "index": 3})
    pixels = np.frombuffer(wire.sent[-1][1][0], np.uint8).reshape(message["h"], message["w"])
    assert pixels.shape == (20, 30)
    stack = viewer.session.stack
    assert np.array_equal(pixels, gray(stack.plane(3).image, *stack.intensity))
    assert pixels[-1, -1] == 255


def test_an_image_that_changed_while_it_is_open_is_a_sentence_beside_the_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "cell.npy", np.zeros(SHAPE, np.uint8))
    viewer = Viewer(Session(mn.open(tmp_path / "cell.npy"), np.ones(SHAPE, np.uint32)))
    np.save(tmp_path / "cell.npy", np.zeros((1, 20, 30), np.uint8))
    want = {"kind": "want", "client": "me", "req": 1, "parts": ["image", "labels"], "axis": "xy", "index": 3}
    labels, nack = viewer.comm.hear(want)
    assert (labels["kind"], labels["part"]) == ("part", "labels")
    assert (nack["kind"], nack["req"]) == ("nack", 1)
    assert "cell.npy has changed since it was opened" in nack["reason"]
    assert "ack" in kinds(viewer.comm.hear(*paint(1, (0, 0))))


def test_an_image_can_be_asked_for_at_half_size(viewer: Viewer, wire: Wire) -> None:
    want = {"kind": "want", "client": "me", "req": 1, "axis": "xy", "index": 3, "step": 2}
    (message,) = wire.hear({**want, "parts": ["image"]})
    assert (message["h"], message["w"], message["step"]) == (10, 15, 2)
    both = wire.hear({**want, "parts": ["image", "labels"]})
    assert [(m["part"], m["h"]) for m in both] == [("image", 10), ("labels", 20)]
    for wrong in (3, [2], True, 32):
        assert kinds(wire.hear({**want, "parts": ["image"], "step": wrong})) == ["nack"]
    for wrong in ([], ["image", "secrets"], ["image"] * 99, "image", [["image"]]):
        assert kinds(wire.hear({**want, "parts": wrong})) == ["nack"]


@pytest.mark.parametrize(("axis", "shape"), [("xy", (20, 30)), ("xz", (4, 30)), ("yz", (4, 20))])
def test_labels_come_packed_on_every_axis(viewer: Viewer, wire: Wire, axis: str, shape: tuple[int, int]) -> None:
    (message,) = wire.hear({"kind": "want", "client": "me", "req": 1, "parts": ["labels"], "axis": axis, "index": 3})
    ids = np.frombuffer(zlib.decompress(wire.sent[-1][1][0]), "<u4").reshape(message["h"], message["w"])
    assert ids.shape == shape
    assert np.array_equal(ids, cut(viewer.session.labels.data, axis, 3))


def test_a_stroke_is_one_edit_with_one_answer_and_the_changed_box(viewer: Viewer, wire: Wire) -> None:
    answers = wire.hear(*paint(1, (10, 3), (10, 6)))
    assert viewer.session.labels.data[1, 10, 3:7].tolist() == [7, 7, 7, 7]
    assert len(viewer.session.history()) == 1
    changed, ack = answers[-2:]
    assert (changed["kind"], changed["start"], changed["stop"]) == ("changed", [1, 10, 3], [2, 11, 7])
    assert (ack["kind"], ack["cseq"], ack["can_undo"]) == ("ack", 1, True)


def test_the_plane_that_is_shown_gets_the_changed_pixels_with_the_news(viewer: Viewer, wire: Wire) -> None:
    viewer.index = 1
    answers = wire.hear(*paint(1, (10, 3), (10, 6)))
    patch = next(m for m in answers if m["kind"] == "changed")["patch"]
    buffers = next(b for m, b in wire.sent if m["kind"] == "changed")
    assert (patch["y0"], patch["x0"], patch["h"], patch["w"]) == (10, 3, 1, 4)
    assert np.frombuffer(zlib.decompress(buffers[0]), "<u4").tolist() == [7, 7, 7, 7]


def test_an_edit_that_comes_twice_is_done_once_and_answered_twice(viewer: Viewer, wire: Wire) -> None:
    wire.hear(*paint(1, (10, 3)))
    wire.hear({"kind": "edit", "op": "undo", "client": "me", "cseq": 2})
    again = wire.hear(*paint(1, (10, 3)))
    assert kinds(again) == ["ack"]
    assert viewer.session.labels.data[1, 10, 3] == 0
    assert len(viewer.session.history()) == 2


def test_an_edit_that_overtook_another_waits_for_it(viewer: Viewer, wire: Wire) -> None:
    (gap,) = wire.hear(*paint(2, (10, 3)))
    assert (gap["kind"], gap["expected"]) == ("gap", 1)
    assert not viewer.session.history()


def test_merge_delete_fill_erase_undo_and_redo_are_verbs_of_the_session(viewer: Viewer, wire: Wire) -> None:
    head = {"kind": "edit", "client": "me"}
    data = viewer.session.labels.data
    wire.hear({**head, "cseq": 1, "op": "merge", "keep": 1, "gone": [2]})
    assert data[0, 3, 12] == 1
    wire.hear({**head, "cseq": 2, "op": "undo"})
    assert data[0, 3, 12] == 2
    wire.hear({**head, "cseq": 3, "op": "redo"})
    assert data[0, 3, 12] == 1
    wire.hear({**head, "cseq": 4, "op": "fill", "point": [0, 3, 12], "id": 9, "axis": "xy"})
    assert data[0, 2:6, 10:15].tolist() == [[9] * 5] * 4
    assert data[0, 3, 3] == 1
    message, line = paint(5, (3, 12), op="erase", index=0, only=1)
    wire.hear(message, line)
    assert data[0, 3, 12] == 9
    wire.hear({**head, "cseq": 6, "op": "delete", "ids": [9]})
    assert data[0, 3, 12] == 0


def test_a_new_row_in_the_table_of_verbs_is_known_to_the_page_and_done_for_it(
    viewer: Viewer, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Verb(name="vanish", op=lambda p, *ids: None, text=str, gesture="selected", keys=("Q",), title="Go")
    monkeypatch.setitem(VERBS, "vanish", row)
    monkeypatch.setattr(Session, "vanish", Session.delete, raising=False)
    (state,) = wire.hear({"kind": "hello", "client": "me", "protocol": 1})
    assert [(v["keys"], v["codes"], v["title"]) for v in state["info"]["verbs"] if v["name"] == "vanish"] == [
        ("Q", ["q"], "Go")
    ]
    assert kinds(wire.hear({"kind": "edit", "client": "me", "cseq": 1, "op": "vanish", "ids": [2]}))[-1] == "ack"
    assert viewer.session.ids() == [1]


def test_what_the_session_refuses_comes_back_as_a_sentence(viewer: Viewer, wire: Wire) -> None:
    (nack,) = wire.hear({"kind": "edit", "client": "me", "cseq": 1, "op": "delete", "ids": [99]})
    assert nack["kind"] == "nack"
    assert "no object 99" in nack["reason"]
    (ack,) = [m for m in wire.hear(*paint(2, (0, 0))) if m["kind"] == "ack"]
    assert ack["cseq"] == 2


def test_what_a_split_would_make_is_shown_on_every_plane_and_gone_with_the_next_edit(
    viewer: Viewer, wire: Wire
) -> None:
    ask = {"kind": "propose", "client": "me", "axis": "xy", "index": 0}
    (y, x), (last, right) = (np.argwhere(viewer.session.labels.data[0] == 1)[n].tolist() for n in (0, -1))
    seeds = [[[0, y, x]], [[0, last, right]]]
    proposal, part = wire.hear({**ask, "ask": 1, "op": "split", "id": 1, "seeds": seeds})[-2:]
    assert (proposal["kind"], proposal["ask"], part["part"]) == ("proposal", 1, "proposal")
    assert proposal["edit"] == {"op": "split", "id": 1, "seeds": seeds}
    assert sorted(proposal["owners"]) == proposal["ids"]
    shown = np.frombuffer(zlib.decompress(wire.sent[-1][1][0]), "<u4").reshape(part["h"], part["w"])
    assert np.array_equal(shown > 0, viewer.session.labels.data[0] == 1)
    assert np.unique(shown[shown > 0]).tolist() == proposal["ids"]
    assert not viewer.session.history()
    (row,) = wire.hear({"kind": "want", "client": "me", "req": 1, "parts": ["proposal"], "axis": "xz", "index": y})
    assert not row.get("empty")
    (refused,) = [m for m in wire.hear({**ask, "ask": 2, "op": "split", "id": 1, "seeds": [[0, y, x], [0, 0, 0]]})
                  if m["kind"] == "nack"]  # fmt: skip
    assert (refused["ask"], "outside of object 1" in refused["reason"]) == (2, True)
    wire.hear({**ask, "ask": 3, "op": "split", "id": 1, "seeds": seeds})
    answers = wire.hear({"kind": "edit", "client": "me", "cseq": 1, **proposal["edit"]})
    assert kinds(answers).index("changed") < kinds(answers).index("proposal"), "what was shown goes when it is so"
    (gone,) = wire.hear({"kind": "want", "client": "me", "req": 2, "parts": ["proposal"], "axis": "xy", "index": 0})
    assert gone["empty"]
    assert np.array_equal(viewer.session.labels.data[0][shown > 0], shown[shown > 0])


def test_what_a_refused_split_would_have_made_is_gone_on_every_page(viewer: Viewer, wire: Wire) -> None:
    places = [[0, *place] for place in np.argwhere(viewer.session.labels.data[0] == 1)[[0, 1, -1]].tolist()]
    seeds = [[[places[0]], [places[1]]], [places[2]]]  # two clicks of a part, and one of another
    ask = {"kind": "propose", "client": "me", "ask": 1, "axis": "xy", "index": 0, "op": "split", "id": 1}
    proposal = wire.hear({**ask, "seeds": seeds})[-2]
    assert proposal["edit"]["seeds"] == seeds
    assert sorted(proposal["owners"]) == proposal["ids"]
    (withdrawn, nack) = wire.hear({"kind": "edit", "client": "me", "cseq": 1, "op": "split", "id": 1, "seeds": [[0]]})
    assert withdrawn["kind"] == "proposal"
    assert "start" not in withdrawn
    assert nack["kind"] == "nack"
    assert not viewer.session.history()


def test_centers_of_the_network_are_the_seeds_where_there_are_some(viewer: Viewer, wire: Wire) -> None:
    places = np.argwhere(viewer.session.labels.data[0] == 1)
    heads = {"semantic": np.ones((1, 20, 30), np.float32), "center": np.ones((20, 30), np.float32)}
    viewer.set_maps("xy", 0, Maps(heads), peaks=[places[0], places[-1], [19, 29]])
    ask = {"kind": "propose", "client": "me", "ask": 1, "axis": "xy", "index": 0, "op": "split_at_necks", "id": 1}
    proposal = next(m for m in wire.hear(ask) if m["kind"] == "proposal")
    assert proposal["edit"] == {"op": "split", "id": 1, "seeds": [[0, *places[k].tolist()] for k in (0, -1)]}


HOSTILE: list[Any] = [
    None, 3, "hello", [], {}, {"kind": "exec"}, {"kind": ["edit"]}, {"kind": "hello"},
    {"kind": "hello", "client": "me", "protocol": 9},
    {"kind": "want"}, {"kind": "want", "client": "me", "req": 1, "parts": ["image"], "axis": "zz", "index": 0},
    {"kind": "want", "client": "me", "req": 1, "parts": ["image"], "axis": "xy", "index": 4},
    {"kind": "want", "client": "me", "req": 1, "parts": ["image"], "axis": "xy", "index": True},
    {"kind": "want", "client": "x" * 1000, "req": 1, "parts": ["image"], "axis": "xy", "index": 0},
    {"kind": "edit", "client": "me", "cseq": 1}, {"kind": "edit", "client": "me", "cseq": 0, "op": "undo"},
    {"kind": "edit", "client": "me", "cseq": 1, "op": "__init__"},
    {"kind": "edit", "client": "me", "cseq": 1, "op": "close"},
    {"kind": "edit", "client": "me", "cseq": 1, "op": "merge", "keep": 1, "gone": []},
    {"kind": "edit", "client": "me", "cseq": 1, "op": "merge", "keep": 1, "gone": "2"},
    {"kind": "edit", "client": "me", "cseq": 1, "op": "delete", "ids": [0]},
    {"kind": "edit", "client": "me", "cseq": 1, "op": "delete", "ids": [1] * 100_000},
    {"kind": "edit", "client": "me", "cseq": 1, "op": "fill", "point": [0, 0, 30], "id": 1, "axis": "xy"},
    {"kind": "edit", "client": "me", "cseq": 1, "op": "fill", "point": [0, 0, float("nan")], "id": 1, "axis": "xy"},
    {"kind": "take", "id": -1}, {"kind": "move", "point": [9, 9, 99]}, {"kind": "ask", "command": "rm"},
    {"kind": "step", "to": "nowhere"}, {"kind": "at", "axis": "xyz", "index": 0}, {"kind": "at", "axis": "xy"},
    {"kind": "at", "axis": "xy", "index": 99}, {"kind": "at", "axis": "xy", "index": "0"},
    {"kind": "here"}, {"kind": "here", "question": "1"}, {"kind": "propose"},
    {"kind": "propose", "client": "me", "ask": 0},
    {"kind": "propose", "client": "me", "ask": 1, "op": "delete", "ids": [1], "axis": "xy", "index": 0},
    {"kind": "propose", "client": "me", "ask": 1, "op": "split", "id": 1, "seeds": "all", "axis": "xy", "index": 0},
    {"kind": "propose", "client": "me", "ask": 1, "op": "split", "id": 1, "seeds": [[0], {}], "axis": "xy", "index": 0},
    {"kind": "propose", "client": "me", "ask": 1, "op": "cut", "id": 1, "line": [1, 2], "axis": "xy", "index": 0},
    {"kind": "propose", "client": "me", "ask": 1, "op": "split_at_necks", "id": 1, "parts": [], "axis": "xy",
     "index": 0},
    {"kind": "edit", "client": "me", "cseq": 1, "op": "split", "id": 1},
    {"kind": "edit", "client": "me", "cseq": 1, "op": "cut"},
    {"kind": "edit", "client": "me", "cseq": 1, "op": "cut", "id": 1, "line": [[0, 0, 0]] * 40_001},
    {"kind": "edit", "client": "me", "cseq": 1, "op": "split", "seeds": [[0, 0, 0], [0, 0, 1]]},
    {"kind": "edit", "client": "me", "cseq": 1, "op": "split", "id": 1, "seeds": 5},
    {"kind": "edit", "client": "me", "cseq": 1, "op": "grow", "ids": [1], "by": None},
    {"kind": "edit", "client": "me", "cseq": 1, "op": "grow", "ids": 5},
    {"kind": "edit", "client": "me", "cseq": 1, "op": "split_pieces", "ids": []},
    {"kind": "edit", "client": "me", "cseq": 1, "op": "merge_on_plane", "ids": [], "axis": "xy", "index": 0},
    {"kind": "edit", "client": "me", "cseq": 1, "op": "delete_on_plane", "ids": [1]},
]  # fmt: skip


@pytest.mark.parametrize("message", HOSTILE, ids=lambda m: repr(m)[:60])
def test_a_message_that_is_wrong_is_refused_and_changes_nothing(viewer: Viewer, wire: Wire, message: Any) -> None:
    before = viewer.session.labels.data.copy()
    answers = wire.hear(message)
    assert kinds(answers) == ["nack"]
    assert answers[0]["reason"]
    assert "Error: " not in answers[0]["reason"]  # refused on purpose
    assert np.array_equal(viewer.session.labels.data, before)
    assert not viewer.session.history()


@pytest.mark.parametrize(
    "changes",
    [
        {"points": 2}, {"points": -1}, {"points": 10**9}, {"radius": 1e9}, {"radius": "8"}, {"id": 0}, {"id": 2**32},
        {"index": 4}, {"axis": "xyz"}, {"preserve": "yes"},
    ],
    ids=repr,
)  # fmt: skip
def test_a_stroke_that_is_wrong_is_refused(viewer: Viewer, wire: Wire, changes: dict[str, Any]) -> None:
    message, line = paint(1, (10, 3), **changes)
    assert kinds(wire.hear(message, line)) == ["nack"]
    assert not viewer.session.history()


def test_a_stroke_without_its_points_is_refused(viewer: Viewer, wire: Wire) -> None:
    assert kinds(wire.hear(paint(1, (10, 3))[0])) == ["nack"]
    far = np.array([[2**31 - 1, 0]], "<i4").tobytes()
    assert kinds(wire.hear(paint(1, (10, 3))[0], far)) == ["nack"]


def test_maps_of_a_plane_can_be_asked_for_until_they_are_taken_away(viewer: Viewer, wire: Wire) -> None:
    maps = Maps(
        {
            "semantic": np.full((1, 20, 30), 0.5),
            "center": np.ones((5, 8)),
            "offsets": np.stack([np.zeros((5, 8)), np.full((5, 8), 3.0)]),
        },
        output_stride=4,
    )
    viewer.set_maps("xy", 2, maps, peaks=[[3, 4]])
    want = {"kind": "want", "client": "me", "req": 1, "axis": "xy", "index": 2}
    wire.hear({**want, "parts": ["semantic"]})
    assert set(zlib.decompress(wire.sent[-1][1][0])) == {128}
    (center,) = wire.hear({**want, "parts": ["center"]})
    assert (center["h"], center["w"], center["step"], center["peaks"]) == (5, 8, 4, [[3, 4]])
    wire.hear({**want, "parts": ["offsets"]})
    assert np.frombuffer(zlib.decompress(wire.sent[-1][1][0]), "<f2")[:4].tolist() == [0, 3, 0, 3]
    viewer.set_maps("xy", 2, None)
    (gone,) = wire.hear({**want, "parts": ["semantic"]})
    assert gone["empty"]


def test_whatever_heads_a_network_has_can_be_asked_for(viewer: Viewer, wire: Wire) -> None:
    distance = np.zeros((1, 20, 30), np.float16)
    distance[0, 3, 4] = 8
    heads = {"semantic": np.zeros((1, 20, 30)), "contour": np.full((1, 20, 30), 0.2), "distance": distance}
    viewer.set_maps("xy", 2, Maps(heads))
    (stale,) = (m for m, _ in wire.sent if m["kind"] == "stale")
    assert stale["present"] == ["semantic", "contour", "distance"]
    assert set(stale["parts"]) == {"semantic", "center", "offsets", "contour", "distance", "affinities"}
    want = {"kind": "want", "client": "me", "req": 1, "axis": "xy", "index": 2}
    wire.hear({**want, "parts": ["contour"]})
    assert set(zlib.decompress(wire.sent[-1][1][0])) == {51}
    wire.hear({**want, "parts": ["distance"]})
    assert sorted(set(zlib.decompress(wire.sent[-1][1][0]))) == [0, 255], (
        "the deepest pixel of a plane is the brightest"
    )
    (center,) = wire.hear({**want, "parts": ["center"]})
    assert center["empty"]


def test_a_preview_on_the_plane_that_is_shown_is_sent_unasked(viewer: Viewer, wire: Wire) -> None:
    wire.sent.clear()
    viewer.set_preview("xy", viewer.index, np.full((20, 30), 5, np.uint32))
    message, buffers = wire.sent[-1]
    assert (message["kind"], message["part"], message["client"]) == ("part", "preview", "")
    assert set(np.frombuffer(zlib.decompress(buffers[0]), "<u4")) == {5}
    viewer.set_preview("xy", viewer.index, None)
    assert wire.sent[-1][0]["kind"] == "stale"
    assert not viewer.session.history()


def test_maps_and_previews_of_another_size_are_refused(viewer: Viewer) -> None:
    with pytest.raises(InputError, match="20, 30"):
        viewer.set_preview("xy", 0, np.zeros((3, 3), np.uint32))
    with pytest.raises(InputError, match="0 to 3"):
        viewer.set_preview("xy", 4, None)


def test_index_stays_on_the_stack_when_the_axis_changes(viewer: Viewer) -> None:
    viewer.axis, viewer.index = "xz", 19
    viewer.axis = "xy"
    assert viewer.index == 3
    viewer.index = 1000
    assert viewer.index == 3


def test_selection_runs_both_ways_between_viewer_and_session(viewer: Viewer) -> None:
    viewer.session.select(2, 1)
    assert viewer.selected == [2, 1]
    viewer.selected = [1]
    assert viewer.session.selection == (1,)


def test_a_click_moves_the_session_and_not_the_picture_under_the_pointer(viewer: Viewer, wire: Wire) -> None:
    places: list[Any] = []
    viewer.moved.connect(places.append)
    wire.sent.clear()
    wire.hear({"kind": "move", "client": "me", "point": [1, 2, 3]})
    assert (places, viewer.session.position) == ([(1, 2, 3)], (1, 2, 3))
    assert "center" not in kinds([m for m, _ in wire.sent])
    viewer.session.move_to(3, 2, 1)
    assert viewer.index == 3
    assert wire.sent[-1][0] == {"kind": "center", "point": [3, 2, 1]}


def test_an_object_is_shown_also_where_the_user_has_clicked_twice(viewer: Viewer, wire: Wire) -> None:
    viewer.session.go_to(1)
    middle = viewer.session.position
    wire.hear({"kind": "move", "client": "me", "point": list(middle)})
    viewer.index = 0
    wire.sent.clear()
    viewer.session.go_to(1)
    assert viewer.index == middle[0] != 0
    assert wire.sent[-1][0] == {"kind": "center", "point": list(middle)}


def test_a_page_says_which_plane_it_is_on_before_it_asks(viewer: Viewer, wire: Wire) -> None:
    heard: list[tuple[str, int]] = []
    viewer.asked.connect(lambda _: heard.append((viewer.axis, viewer.index)))
    last = viewer.session.shape[2] - 1
    wire.hear({"kind": "at", "axis": "yz", "index": last})
    wire.hear({"kind": "ask", "client": "me", "command": "segment-plane"})
    assert heard == [("yz", last)]


def test_a_button_elsewhere_waits_for_the_plane_on_screen(viewer: Viewer, wire: Wire) -> None:
    seen: list[int] = []
    viewer.when_told(lambda: seen.append(viewer.index))  # no page: at once
    wire.hear({"kind": "hello", "client": "me", "protocol": 1})
    first, last = viewer.index, viewer.session.shape[0] - 1
    assert seen == [first] != [last]
    viewer.when_told(lambda: seen.append(viewer.index))
    asked = wire.sent[-1][0]
    assert asked["kind"] == "where"
    assert len(seen) == 1
    wire.hear({"kind": "at", "axis": "xy", "index": last})
    for _ in range(2):  # two pages answer, or one twice
        wire.hear({"kind": "here", "client": "me", "question": asked["question"]})
    assert seen == [first, last]


def test_a_page_that_is_gone_keeps_no_button_waiting(
    viewer: Viewer, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mitonb.widgets.protocol.PATIENCE", 0.01)
    wire.hear({"kind": "hello", "client": "me", "protocol": 1})
    done = threading.Event()
    viewer.when_told(done.set)
    assert done.wait(30)


def test_the_next_object_is_selected_and_shown(viewer: Viewer, wire: Wire) -> None:
    ids = viewer.session.ids()
    wire.hear({"kind": "step", "client": "me", "to": "next"})
    assert viewer.selected == [ids[0]]
    wire.hear({"kind": "step", "client": "me", "to": "previous"})
    assert viewer.selected == [ids[-1]]
    z, y, x = viewer.session.position
    assert viewer.session.pick(z, y, x) == ids[-1]
    assert viewer.index == (z, y, x)[{"xy": 0, "xz": 1, "yz": 2}[viewer.axis]]


def test_keys_that_are_for_others_reach_them(viewer: Viewer, wire: Wire) -> None:
    asked: list[str] = []
    viewer.asked.connect(asked.append)
    wire.hear({"kind": "ask", "client": "me", "command": "segment-plane"})
    assert asked == ["segment-plane"]


def test_the_fresh_label_is_never_used_twice(viewer: Viewer, wire: Wire) -> None:
    first = wire.hear({"kind": "hello", "client": "me", "protocol": 1})[0]["fresh"]
    second = wire.hear({"kind": "take", "client": "me", "id": first})[0]["fresh"]
    assert len({first, second, viewer.active_id, 1, 2}) == 5


def test_layers_take_settings_by_name_and_refuse_unknown_ones(viewer: Viewer) -> None:
    viewer.set_layer("labels", style="outline")
    assert viewer.layers["labels"] == {**LAYERS["labels"], "style": "outline"}
    with pytest.raises(InputError, match="style"):
        viewer.set_layer("labels", colour="red")


def test_no_synced_trait_holds_texts_or_pixels(viewer: Viewer) -> None:
    own = {k: v for k, v in viewer.get_state().items() if not k.startswith("_") and k not in ("layout", "tooltip")}
    assert len(repr(own)) < 1500


def test_edits_from_many_threads_are_all_told_in_order(viewer: Viewer, wire: Wire) -> None:
    wire.sent.clear()
    threads = [
        threading.Thread(
            target=lambda i=i: [viewer.session.paint([[1, 10 + i, x]], id=5 + i, radius=0) for x in range(20)]
        )
        for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = [m["seq"] for m, _ in wire.sent if m["kind"] == "changed"]
    assert sorted(numbers) == list(range(1, 81))


def test_a_closed_viewer_hears_nothing_more(viewer: Viewer, wire: Wire) -> None:
    viewer.close()
    wire.sent.clear()
    viewer.session.paint([[0, 0, 0]], id=3, radius=0)
    assert not wire.sent


def test_view_takes_plain_arrays_and_labels_alone_show_too() -> None:
    viewer = view(np.zeros((2, 5, 6), np.float32))
    assert viewer.session.labels.data.shape == (2, 5, 6)
    lone = Viewer(Session(labels=np.ones((2, 5, 6), np.uint8)))
    (state,) = lone.comm.hear({"kind": "hello", "client": "me", "protocol": 1})
    assert state["info"]["has_image"] is False
    assert lone.index == 1


# What a viewer can be opened with


def test_a_session_is_shown_as_it_is_and_edits_go_on_in_it(tmp_path: Path) -> None:
    session = Session(np.zeros(SHAPE, np.uint8), path=tmp_path / "cell.mitonb")
    assert view(session).session is session
    assert explore(session).session is session
    for show in (view, explore):
        with pytest.raises(InputError, match="leave labels= and path= out"):
            show(session, np.ones(SHAPE, np.uint8))
    session.close()


def test_labels_alone_and_the_file_of_a_project_are_shown_too(tmp_path: Path) -> None:
    labels = Labels(np.ones(SHAPE, np.uint32), (30.0, 5.0, 5.0))
    for show in (view, explore):
        assert show(labels).session.stack is None
        assert show(labels).session.voxel_size == (30.0, 5.0, 5.0)
        with pytest.raises(InputError, match="given twice"):
            show(labels, labels)
    Session(labels=labels, path=tmp_path / "cell.mitonb").close()
    for show in (view, explore):
        shown = show(str(tmp_path / "cell.mitonb")).session
        assert shown.path == tmp_path / "cell.mitonb"
        shown.close()


def test_opening_and_looking_spend_no_id_and_need_no_right_to_write(tmp_path: Path) -> None:
    path = tmp_path / "cell.mitonb"
    with Session(labels=np.ones((2, 5, 6), np.uint32), path=path) as session:
        for _ in range(3):
            assert Viewer(session).active_id == 2
        assert session.new_id() == 2
    with Session.open(path, read_only=True) as session:
        assert Viewer(session).active_id == 3


@pytest.mark.parametrize("come_between", ["adopt", "plane", "undo"])
def test_the_first_label_stays_that_of_a_new_object_whatever_comes_between(
    viewer: Viewer, wire: Wire, come_between: str
) -> None:
    session, first = viewer.session, viewer.active_id
    assert first == 3
    run = np.zeros(SHAPE, np.uint32)
    run[:, 2:6, 2:8], run[:, 12:16, 10:15] = 1, 3
    if come_between == "plane":
        session.adopt_plane(run[1], "xy", 1)
    else:
        session.adopt(run)
    if come_between == "undo":
        session.undo()
    else:
        assert 3 in session.ids(), "a run numbers its objects as it likes while nobody has painted"
    assert viewer.active_id == 4
    # A stroke that was drawn before the page heard of it, and one that was drawn after.
    message, line = paint(1, (0, 20), id=first)
    wire.hear({**message, "seen": 0}, line)
    message, line = paint(2, (0, 22), id=4)
    wire.hear({**message, "seen": 1}, line)
    assert session.labels.data[1, 0, [20, 22]].tolist() == [4, 4]
    assert session.voxels(4) == 2
    # Who picks that object and paints it means it.
    message, line = paint(3, (0, 24), id=3)
    wire.hear({**message, "seen": 9}, line)
    assert session.pick(1, 0, 24) == 3


def test_two_views_never_give_one_label_to_two_new_objects(viewer: Viewer, wire: Wire) -> None:
    other = Viewer(viewer.session)
    assert other.active_id == viewer.active_id == 3
    message, line = paint(1, (0, 20), id=3)
    wire.hear({**message, "seen": 0}, line)
    assert (viewer.active_id, other.active_id) == (3, 4)
    message, line = paint(1, (0, 25), id=3, client="other")
    other.comm.hear({**message, "seen": 0}, line)
    assert viewer.session.labels.data[1, 0, [20, 25]].tolist() == [3, 4]


def test_after_a_run_no_label_of_an_object_from_before_is_painted_with(viewer: Viewer) -> None:
    viewer.active_id = 2
    viewer.session.select(2)
    viewer.session.adopt(viewer.session.labels.data[:, ::-1].copy())
    assert viewer.session.ids() == [3, 4]
    assert viewer.active_id == 5
    assert viewer.session.selection == ()


def test_an_edit_whose_answer_was_lost_with_the_kernel_is_not_done_again(tmp_path: Path) -> None:
    path = tmp_path / "cell.mitonb"
    with Session(labels=np.zeros(SHAPE, np.uint32), path=path) as session:
        wire = Viewer(session).comm
        wire.hear(*paint(1, (10, 3)))
        (nack,) = wire.hear({"kind": "edit", "client": "me", "cseq": 2, "op": "delete", "ids": [99]})
        assert nack["kind"] == "nack"
        wire.hear(*paint(3, (10, 4)))  # reaches the project; suppose that its answer does not reach the page
    with Session.open(path) as session:
        wire = Viewer(session).comm
        wire.hear({"kind": "hello", "client": "me", "protocol": 1, "first": 3})
        assert kinds(wire.hear(*paint(3, (10, 4))))[-1] == "ack"
        assert kinds(wire.hear(*paint(4, (10, 5))))[-1] == "ack"
        assert session.version == 3
        assert session.labels.data[1, 10, 2:7].tolist() == [0, 7, 7, 7, 0]
        assert kinds(wire.hear({"kind": "hello", "client": "me", "protocol": 1, "first": 0})) == ["nack"]


def test_merges_and_deletions_are_said_with_an_undo_of_just_that_edit() -> None:
    ids = np.zeros(SHAPE, np.uint32)
    ids[:, 2:6, 2:6], ids[:, 8:12, 2:6], ids[:, 2:6, 20:24] = 3, 4, 5
    session = Session(np.zeros(SHAPE, np.uint8), ids)
    viewer = Viewer(session)

    def said() -> list[dict[str, Any]]:
        return [m for m, _ in viewer.comm.sent if m["kind"] == "notice"]

    session.paint([[1, 15, 15]], id=9, radius=1)
    assert said() == []
    merged = session.merge(3, 4).seq
    assert said() == [{"kind": "notice", "text": "Merged object 4 into 3.", "error": False, "undo": merged}]
    assert [m["kind"] for m, _ in viewer.comm.sent][-2:] == ["changed", "notice"], "a later change takes it away"
    deleted = session.delete(3, 5).seq
    assert (said()[-1]["text"], said()[-1]["undo"]) == ("Deleted objects 3, 5.", deleted)
    answers = viewer.comm.hear({"kind": "take-back", "client": "page", "edit": merged})
    assert [m["kind"] for m in answers] == ["nack"]
    assert "Other edits came after" in answers[0]["reason"]
    assert session.ids() == [9]
    viewer.comm.hear({"kind": "take-back", "client": "page", "edit": deleted})
    assert session.ids() == [3, 5, 9]


def test_marks_are_told_to_the_picture_and_taken_back_with_their_edit() -> None:
    session = Session(*mn.phantom((4, 96, 96), objects=4))
    session.mark_right(1)
    viewer = mn.view(session)
    kinds = ("false", "fix", "unsure", "locked", "noted", "places", "reviewed", "chosen")
    first: dict[str, list[int]] = {"right": [1], **{kind: [] for kind in kinds}}
    assert viewer.marks == first
    session.mark_false(2, 1)
    assert (viewer.marks["right"], viewer.marks["false"]) == ([], [2, 1])
    session.lock(2)
    assert viewer.marks["locked"] == [2]
    session.note("odd", 1)
    session.note("a vesicle", point=(1, 2, 3))
    assert (viewer.marks["noted"], viewer.marks["places"]) == ([1], [[1, 2, 3]])
    session.undo()
    session.undo()
    session.undo()
    session.undo()
    assert viewer.marks == first
    session.mark_fix(1)
    session.mark_unsure(2)
    assert viewer.marks == first | {"right": [], "fix": [1], "unsure": [2]}
    session.paint([(0, 0, 0)], id=1, radius=1)  # who corrects it, has mended it
    session.mark_right(2)
    assert viewer.marks == first | {"right": [2]}


def test_of_a_verdict_that_is_taken_back_it_is_said_which_it_was() -> None:
    session = Session(*mn.phantom((4, 96, 96), objects=4))
    viewer = Viewer(session)
    sent: list[dict[str, Any]] = []
    viewer.send = lambda message, buffers=None: sent.append(message)  # type: ignore[method-assign, assignment]
    session.mark_fix(2)
    for act, word in ((session.undo, "Undid"), (session.redo, "Did again")):
        act()
        assert (sent[-1]["kind"], sent[-1]["text"]) == ("notice", f"{word}: marked object 2 to be mended.")
    session.paint([(0, 0, 0)], id=2, radius=2)
    session.undo()
    assert sent[-1]["kind"] != "notice", "what is seen need not be said"


def test_what_is_selected_is_seen_and_parts_of_what_stands_alone_too(viewer: Viewer) -> None:
    viewer.hidden = [1, 2]
    viewer.selected = [2]
    assert (viewer.hidden, viewer.isolated) == ([1], [])
    viewer.isolated = [2]
    viewer.selected = [1]
    assert (viewer.hidden, viewer.isolated) == ([], [1])
    viewer.selected = []
    assert viewer.isolated == [1]
    new = viewer.session.cut(1, [(1, 4, 0), (1, 4, 29)]).new
    assert viewer.isolated == [1, *new]
    assert len(new) == 1


def test_zooming_to_the_selected_objects_stays_on_a_plane_that_they_are_on(viewer: Viewer, wire: Wire) -> None:
    assert wire.hear({"kind": "zoom", "client": "me"})[0]["reason"].startswith("There is nothing to zoom to")
    viewer.session.select(1, 2)
    viewer.index = 3
    (told,) = wire.hear({"kind": "zoom", "client": "me"})
    assert (told["point"], told["box"]) == ([3, 4, 8], {"start": [0, 2, 2], "stop": [4, 6, 15]})
    viewer.axis, viewer.index = "xz", 15
    (told,) = wire.hear({"kind": "zoom", "client": "me"})
    assert (told["point"], viewer.index) == ([2, 4, 8], 4)


def test_other_labels_are_shown_beside_those_of_the_session_the_same_object_under_the_same_id(
    viewer: Viewer, wire: Wire
) -> None:
    want = {"kind": "want", "client": "me", "req": 1, "parts": ["other"], "axis": "xy", "index": 1}
    assert wire.hear(want)[0]["empty"] is True
    assert "no run yet" in wire.hear({"kind": "compare", "client": "me"})[0]["reason"]
    other = np.zeros(SHAPE, np.uint32)
    other[:, 2:6, 2:7] = 2  # the object that is 1 here
    other[:, 10:12, 10:12] = 1  # and one that is none here
    wire.sent.clear()
    viewer.compare(other, name="recipe B")
    assert [m for m, _ in wire.sent] == [{"kind": "compared", "name": "recipe B"}]
    assert viewer.comparison == "curtain"
    wire.hear(want)
    shown = np.frombuffer(zlib.decompress(wire.sent[-1][1][0]), "<u4").reshape(SHAPE[1:])
    assert np.unique(shown).tolist() == [0, 1, 3]
    assert np.array_equal(shown == 1, other[1] == 2)
    assert viewer.session.ids() == [1, 2]
    with pytest.raises(InputError, match=r"have the shape \(4, 20, 30\), got \(4, 20, 29\)"):
        viewer.compare(other[..., 1:])
    viewer.session.adopt(other)
    assert (viewer.comparison, wire.sent[-1][0]) == ("", {"kind": "compared", "name": ""})
    viewer.comparison = "difference"
    wire.hear({"kind": "compare", "client": "me"})
    assert viewer.comparison == "difference"
    assert wire.hear({"kind": "hello", "client": "me", "protocol": 1})[0]["compared"] == "before"


def test_a_review_is_led_by_the_page_and_a_suggestion_is_taken_only_as_it_was_shown() -> None:
    labels = np.zeros((6, 20, 20), np.uint32)
    labels[:3, 5:9, 5:9], labels[3:, 5:9, 5:9], labels[:, 12:16, 12:16] = 1, 2, 3
    session = Session(labels=labels)
    viewer = Viewer(session)
    sent: list[dict[str, Any]] = []
    viewer.send = lambda message, buffers=None: sent.append(message)  # type: ignore[method-assign, assignment]

    def ask(**message: Any) -> list[dict[str, Any]]:
        sent.clear()
        viewer._conversation.receive(None, {"client": "page", **message}, [])
        return [m for m in sent if m["kind"] in ("notice", "center", "proposal", "nack")]

    assert ask(kind="suggest", take=0)[0]["text"].startswith("Nothing is suggested here")
    session.review(mn.find_doubts(session.labels))
    *_, centered, said = ask(kind="step", to="next")
    assert centered["doubt"] == [*session.doubt.at]  # type: ignore[union-attr]
    assert "seems to go on as" in said["text"]
    assert said["text"].endswith("Y: merge 2 into 1.")
    shown, asked = ask(kind="suggest", take=0)
    assert (shown["start"], shown["stop"]) == ([0, 5, 5], [6, 9, 9])
    assert (asked["text"], asked["suggests"]) == ("Merge 2 into 1?", session.version)
    session.paint([(0, 0, 0)], id=3, radius=0)  # what was shown is about labels that are no more
    ask(kind="suggest", take=asked["suggests"])
    assert session.voxels(2)
    again = ask(kind="suggest", take=0)[-1]
    ask(kind="suggest", take=again["suggests"])
    assert session.ids() == [1, 3]
    ask(kind="suggest", take=again["suggests"])  # told twice, it is done once
    assert session.history()[-1].sentence == "Merged object 2 into 1."


def test_what_a_review_puts_in_a_place_is_selected_and_the_place_was_marked() -> None:
    session = Session(labels=np.zeros((3, 9, 9), np.uint32))
    viewer = Viewer(session)
    sent: list[dict[str, Any]] = []
    viewer.send = lambda message, buffers=None: sent.append(message)  # type: ignore[method-assign, assignment]
    fix = "put_object", {"start": (1, 2, 2), "mask": np.ones((1, 3, 3), bool)}
    session.review([Doubt(0, 0.5, ("missing",), (1, 3, 3), fix)])
    session.step_object(1)
    assert [m["missing"] for m in sent if "doubt" in m] == [True]
    for _ in range(2):
        take = {"kind": "suggest", "client": "page", "take": session.version}
        viewer._conversation.receive(None, take, [])
    assert session.selection == (session.pick(1, 3, 3),) != (0,)


def test_surfaces_come_in_messages_below_the_limit_and_are_whole_together(
    viewer: Viewer, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> list[tuple[dict[str, Any], bytes]]:
        wire.sent.clear()
        wire.hear({"kind": "surfaces", "client": "me"})
        assert viewer._conversation._meshed.wait(60)
        return [(m, data) for m, (data,) in ((m, b) for m, b in wire.sent if m["kind"] == "surfaces")]

    ((head, whole),) = told()
    assert head == {"kind": "surfaces", "what": "objects", "at": 0, "total": len(whole)}
    found = unpacked(whole)
    assert [id for id, _, _ in found["meshes"]] == [1, 2]
    assert len(found["points"]) == 3 * sum(m[1] for m in found["meshes"])
    assert found["corners"].max() == len(found["points"]) / 3 - 1, "corners of all objects are counted on"
    monkeypatch.setattr("mitonb.widgets.packs._PIECE", 1000)
    parts = told()
    assert [m["at"] for m, _ in parts] == [*range(0, len(whole), 1000)]
    assert b"".join(data for _, data in parts) == whole
    viewer.session.delete(1, 2)
    ((_, none),) = told()
    assert unpacked(none)["meshes"] == []


def test_an_object_that_is_deleted_while_surfaces_are_built_does_not_spoil_them(
    viewer: Viewer, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = importlib.import_module("mitonb.mesh").surfaces
    monkeypatch.setattr("mitonb.widgets.packs.surfaces", lambda *a, **k: (viewer.session.delete(2), build(*a, **k))[1])
    wire.hear({"kind": "surfaces", "client": "me"})
    assert viewer._conversation._meshed.wait(60)
    (data,) = (b[0] for m, b in wire.sent if m["kind"] == "surfaces")
    assert [m[0] for m in unpacked(data)["meshes"]] == [1], "a page cannot paint what has no points"


def test_a_refused_stroke_leaves_the_new_label_in_hand() -> None:
    session = Session(labels=np.zeros((2, 20, 30), np.uint32))
    viewer = mn.view(session)
    new = viewer.active_id
    fill = {"kind": "edit", "client": "page", "op": "fill", "point": [0, 0, 0], "id": new, "axis": "xy"}
    for k, bad in enumerate(({"above": 0.5}, {"point": [0, 99, 0]}), 1):
        assert [m["kind"] for m in viewer.comm.hear({**fill, **bad, "cseq": k})][-1] == "nack"
    session.paint([[0, 1, 1]], id=new, radius=1)
    assert viewer.active_id == new + 1, "a script took the label, and the hand got another one"


def test_a_note_on_a_doubt_is_said_in_one_sentence_with_it() -> None:
    session = Session(labels=np.ones((1, 4, 4), np.uint32))
    viewer = mn.view(session)
    session.note("a vesicle?", 1)
    session.review([Doubt(1, 0.5, (), (0, 1, 1))])
    session.step_object(1)
    (said,) = [m["text"] for m, _ in viewer.comm.sent[-1:] if m["kind"] == "notice"]
    assert said == f"{session.doubt}. Note on object 1: a vesicle?"


def test_brush_and_fill_write_only_where_the_semantic_map_of_the_plane_says_more() -> None:
    session = Session(labels=np.zeros((2, 20, 30), np.uint32))
    viewer = mn.view(session)
    drawn = np.zeros((20, 30), np.uint32)
    drawn[5:10, 5:15] = 1
    fill = {"kind": "edit", "client": "page", "op": "fill", "point": [0, 0, 0], "id": 7, "axis": "xy", "above": 0.5}
    (answer,) = [m for m in viewer.comm.hear({**fill, "cseq": 1}) if m["kind"] in ("ack", "nack")]
    assert "No semantic map of xy plane 0 is at hand" in answer["reason"]
    assert "Shift-P" in answer["reason"]
    viewer.set_maps("xy", 0, mn.targets(drawn))
    viewer.comm.hear({**fill, "cseq": 2})
    assert np.array_equal(session.labels.data[0] == 7, drawn > 0)
    points = np.array([[7, 0], [7, 29]], "<i4").tobytes()
    stroke = {"kind": "edit", "client": "page", "op": "paint", "axis": "xy", "index": 0, "points": 2, "radius": 1}
    viewer.set_maps("xy", 0, None)  # shown no more, but kept elsewhere
    viewer.find_maps_with(lambda axis, index: mn.targets(drawn) if (axis, index) == ("xy", 0) else None)
    viewer.comm.hear({**stroke, "cseq": 3, "id": 8, "above": 0.5}, points)
    assert np.array_equal(session.labels.data[0] == 8, (drawn > 0) & (abs(np.arange(20) - 7) <= 1)[:, None])
    for k, bad in enumerate((True, "0.5", -1, 2, [1], float("nan")), 4):
        (answer,) = [m for m in viewer.comm.hear({**fill, "cseq": k, "above": bad}) if m["kind"] in ("ack", "nack")]
        assert "a number from 0 to 1" in answer["reason"]


def test_what_is_hidden_alone_or_painted_with_follows_an_object_to_its_new_id(viewer: Viewer, wire: Wire) -> None:
    viewer.hidden, viewer.isolated, viewer.active_id = [1], [1, 2], 1
    wire.hear({"kind": "edit", "client": "a", "cseq": 1, "op": "relabel", "id": 1, "to": 9})
    assert (viewer.hidden, viewer.isolated, viewer.active_id) == ([9], [9, 2], 9)
    # A stroke that was drawn before the page had heard of it belongs to the same object; and so after undo.
    seen = viewer._conversation._seq - 1
    points = np.array([[15, 20]], "<i4").tobytes()
    stroke = {"kind": "edit", "client": "a", "op": "paint", "axis": "xy", "index": 0, "points": 1, "radius": 0}
    wire.hear({**stroke, "cseq": 2, "id": 1, "seen": seen}, points)
    assert viewer.session.pick(0, 15, 20) == 9
    viewer.session.undo()
    viewer.session.undo()
    assert (viewer.hidden, viewer.isolated, viewer.active_id) == ([1], [1, 2], 1)
    wire.hear({**stroke, "cseq": 3, "id": 1, "seen": seen}, points)
    wire.hear({**stroke, "cseq": 4, "id": 9, "seen": seen + 1}, points)
    assert viewer.session.pick(0, 15, 20) == 1
    said = wire.hear({"kind": "edit", "client": "a", "cseq": 5, "op": "relabel", "id": 1, "to": 2})
    assert said[0]["kind"] == "nack"
    assert said[0]["reason"].startswith("There is an object 2 already.")


def test_the_text_of_a_note_goes_to_the_page_that_asked(viewer: Viewer, wire: Wire) -> None:
    viewer.session.note("odd", 2)
    asked = {"kind": "noted", "client": "a", "ask": 4, "id": 2}
    assert wire.hear(asked) == [{"kind": "note", "client": "a", "ask": 4, "text": "odd"}]
    assert wire.hear({**asked, "client": None})[0]["kind"] == "nack"


def test_what_a_split_would_make_is_sent_as_surfaces_where_3d_is_in_sight(viewer: Viewer, wire: Wire) -> None:
    viewer.session.set_voxel_size(30, 5, 5)
    viewer.panes = 4
    ask = {"kind": "propose", "client": "me", "ask": 1, "axis": "xy", "index": 0, "op": "split", "id": 2}
    said = wire.hear({**ask, "seeds": [[0, 3, 10], [0, 3, 14]]})
    ids = next(m for m in said if m["kind"] == "proposal")["ids"]
    assert viewer._conversation._foreshown.wait(60)
    message, (data,) = wire.sent[-1]
    assert (message["kind"], message["what"]) == ("surfaces", "proposed")
    found = unpacked(data)
    assert [id for id, _, _ in found["meshes"]] == ids
    where = found["points"].reshape(-1, 3)[:, ::-1]
    low, high = where.min(axis=0), where.max(axis=0)
    assert np.allclose([low, high], [[-15, 7.5, 47.5], [105, 27.5, 72.5]], atol=6), "in nm"
    assert len(found["corners"]) % 3 == 0
    viewer.panes = 1
    sent = len(wire.sent)
    wire.hear({**ask, "ask": 2, "seeds": [[0, 3, 10], [0, 3, 14]]})
    assert viewer._conversation._foreshown.wait(60)
    assert not [m for m, _ in wire.sent[sent:] if m["kind"] == "surfaces"]
