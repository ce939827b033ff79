"""Whatever a page may send, the viewer answers in words, and labels change by whole edits of the journal alone.

`MITONB_MESSAGES=100000` looks longer.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from mitonb.edit.edits import digest
from mitonb.edit.verbs import VERBS
from mitonb.maps import Maps
from mitonb.session import Session
from mitonb.stack import Stack
from mitonb.widgets.protocol import COMMANDS, FIELDS, PARTS, Conversation
from mitonb.widgets.viewer import Viewer

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

MESSAGES = int(os.environ.get("MITONB_MESSAGES", "3000"))
SHAPE = (3, 12, 14)

HOSTILE: list[Any] = [
    None, True, False, -1, 2**31, 2**53, 2**64, -(2**70), 0.5, float("nan"), float("inf"), 1e308, "", " ", "\x00", "0",
    "<img src=x onerror=alert(1)>", "<script>fetch('//evil')</script>", "javascript:alert(1)", "__class__", "../../etc",
    "x" * 10_000, "\ud800", "\u202e", [], {}, [None], [[]], [[1, 2]], [[1, 2, 3], [4, 5]], [[1, 2, 3]] * 20_000,
    [-1, -1, -1],
    [2**40] * 3, [float("nan")] * 3, ["1", "2", "3"], [1, "2", None], [True] * 3, {"length": 3, "0": 1},
    {"__proto__": {}},
    [[[[[[]]]]]], [0] * 20_000, [1, 1], [0], [2**32],
]  # fmt: skip


def sound(name: str, rng: np.random.Generator) -> Any:
    """Return what a page would send in a field of that name, about."""
    point = [int(rng.integers(n)) for n in SHAPE]
    values: dict[str, list[Any]] = {
        "kind": [*Conversation._HANDLERS], "op": [*VERBS], "verb": [*VERBS], "client": ["a", "b"], "protocol": [1],
        "axis": ["xy", "xz", "yz"], "index": [0, 1, 2], "id": [1, 2, 9], "ids": [[1], [1, 2]],
        "keep": [1], "gone": [[2]],
        "points": [1, 3], "point": [point], "start": [point], "stop": [[n + 1 for n in point]], "at": [point],
        "line": [[point, point[::-1]]], "seeds": [[point, [1, 3, 3]], [[point], [point]]], "radius": [0, 3.5],
        "to": ["next", 7, 2],
        "parts": [[part] for part in PARTS], "step": [1, 2], "command": [*COMMANDS], "field": [*FIELDS],
    }  # fmt: skip
    choices = values.get(name, [0, 1, 2, True])
    return choices[rng.integers(len(choices))]


FIELDS_OF_MESSAGES = sorted(
    {name for verb in VERBS.values() for name in (p.name for p in verb.parameters)}
    | {"client", "cseq", "req", "ask", "op", "axis", "index", "points", "parts", "step", "first", "protocol", "seen"}
    | {"edit", "point", "to", "verb", "at", "take", "id", "row", "column", "question", "field", "command", "by"}
)


def draw_message(rng: np.random.Generator, expected: int) -> tuple[Any, list[bytes]]:
    """Return a message in which most fields are what a page would send, and some are not."""
    if rng.random() < 0.02:
        return HOSTILE[rng.integers(len(HOSTILE))], []
    message = {name: sound(name, rng) for name in ("kind", "client", "axis", "index", "op")}
    if rng.random() < 0.6:
        message["kind"] = ("edit", "propose")[rng.integers(2)]
    message |= {"cseq": expected, "req": 1, "ask": 1, "row": 1, "column": 1}
    for name in rng.choice(FIELDS_OF_MESSAGES, rng.integers(0, 12), replace=False):
        message[str(name)] = sound(str(name), rng)
    if message["op"] in VERBS:
        message |= {p.name: sound(p.name, rng) for p in VERBS[message["op"]].parameters if rng.random() < 0.8}
    for name in rng.choice(sorted(message), rng.integers(0, 3), replace=False):
        message[str(name)] = HOSTILE[rng.integers(len(HOSTILE))]
    count = message.get("points", 1)
    sent = 8 * count if isinstance(count, int) and 0 < count < 100 and rng.random() < 0.9 else int(rng.integers(0, 40))
    if rng.random() < 0.3:
        return message, [rng.bytes(sent)]
    return message, [np.resize(rng.integers(-2, 16, 200), (sent + 3) // 4).astype("<i4").tobytes()[:sent]]


def test_any_message_is_answered_in_words_and_nothing_changes_but_by_whole_edits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = np.zeros(SHAPE, np.uint32)
    labels[:, 2:6, 2:6], labels[1, 7:10, 7:10] = 1, 2
    stack = Stack(np.random.default_rng(0).integers(0, 255, SHAPE, np.uint8), (8.0, 8.0, 8.0))
    rng = np.random.default_rng(11)
    said: list[dict[str, Any]] = []
    with Session(stack, labels, path=tmp_path / "hostile.mitonb") as session:
        viewer = Viewer(session)
        viewer.send = lambda message, buffers=None: said.append(message)  # type: ignore[method-assign]
        h, w = SHAPE[1:]
        viewer.set_maps("xy", 1, Maps({"semantic": np.zeros((1, h, w), np.uint8)}))
        conversation = viewer._conversation
        refused = 0
        for count in range(MESSAGES):
            before = session.version, digest(session.labels.data)
            message, buffers = draw_message(rng, 0)
            client = message.get("client") if isinstance(message, dict) else None
            if isinstance(client, str) and message.get("cseq") == 0:
                message["cseq"] = conversation._last.get(client, 0) + 1
            said.clear()
            conversation.receive(None, message, buffers)
            assert not [one for one in said if re.match(r"\w+Error: ", one.get("reason", ""))]
            assert not caplog.get_records("call"), (count, message, caplog.text[-3000:])
            refused += any(one["kind"] == "nack" for one in said)
            assert all(len(one.get("reason", "")) <= 500 for one in said)
            if session.version == before[0]:
                assert digest(session.labels.data) == before[1], message
            if session.version > 50 and rng.random() < 0.01:
                session.do("adopt_plane", ids=labels[1], axis="xy", index=1, replace_corrected=True)
        assert MESSAGES / 5 < refused < MESSAGES
        assert session.version > MESSAGES / 100
        assert session.replay() == session.version
