"""Huge planes are shown in windows: what a page asks for comes at its step, and what is no window is refused."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import mitonb as mn
from mitonb.levels import window
from mitonb.stack import Stack
from mitonb.widgets import viewer as module
from mitonb.widgets.viewer import Viewer, shrink
from tests.nouns.test_levels import huge
from tests.widgets.test_viewer import wires  # noqa: F401 (a fixture)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.widgets.test_viewer import Wire

SHAPE = (3, 200, 300)


def ask(view: Viewer, part: str, given: Any, step: Any = 1) -> tuple[dict[str, Any], np.ndarray | None]:
    """Return what comes for a window: the message and the pixels."""
    wire: Wire = view.comm
    wire.sent.clear()
    message = {"kind": "want", "client": "me", "req": 1, "parts": [part], "axis": "xy", "index": 1}
    wire.hear({**message, "window": given, "step": step})
    view._conversation._readers.shutdown()
    ((answer, buffers),) = wire.sent
    if not buffers:
        return answer, None
    data = buffers[0] if answer["coding"] == "raw" else zlib.decompress(buffers[0])
    return answer, np.frombuffer(data, np.uint8 if part == "image" else "<u4").reshape(answer["h"], answer["w"])


def viewer() -> Viewer:
    rng = np.random.default_rng(0)
    return mn.view(Stack(rng.integers(0, 255, SHAPE, np.uint8)), rng.integers(0, 9, SHAPE, np.uint32))


def test_a_window_holds_means_of_the_image_and_ids_that_there_are() -> None:
    view = viewer()
    image, ids = view.session.stack.data[1], view.session.labels.data[1]  # type: ignore[union-attr]
    answer, pixels = ask(view, "image", [16, 32, 101, 300], 4)
    assert answer["window"] == [16, 32, 101, 300]
    assert answer["step"] == 4
    np.testing.assert_array_equal(pixels, shrink(image[16:101, 32:300], 4))
    _, pixels = ask(viewer(), "labels", [16, 32, 101, 300], 4)
    np.testing.assert_array_equal(pixels, ids[16:101:4, 32:300:4])


@pytest.mark.parametrize(
    ("given", "step"),
    [([0, 0, 201, 300], 1), ([5, 0, 5, 300], 1), ([0, 0, 9, 9], 3), ([0, 0, 9, 9], 0), ([0, 0, 9], 1), ("all", 1),
     ([0, 0, 9, True], 1), ([-1, 0, 9, 9], 1), ([0, 0, 9, 9], None), ([0, 0, 9, 9], 1.0)],
)  # fmt: skip
def test_what_is_no_window_is_refused(given: Any, step: Any) -> None:
    answer, pixels = ask(viewer(), "image", given, step)
    assert pixels is None
    assert "A window" in answer["reason"] or "step is a" in answer["reason"]


@pytest.mark.parametrize("huge", [False, True])
def test_of_a_huge_plane_nothing_travels_unasked(monkeypatch, huge: bool) -> None:
    """Pages are told what there is, and ask for the window that they see; of other planes it comes at once."""
    monkeypatch.setattr(module, "BIG", 100 if huge else 1 << 23)
    ids = np.zeros(SHAPE, np.uint32)
    ids[:, 20:60, 20:120] = 7
    view = mn.view(Stack(np.zeros(SHAPE, np.uint8)), ids)
    wire: Wire = view.comm
    view.set_preview("xy", 1, ids[1])
    propose = {"kind": "propose", "client": "me", "ask": 1, "op": "split", "id": 7, "axis": "xy", "index": 1}
    wire.hear({**propose, "seeds": [[1, 40, 30], [1, 40, 110]]})
    sent = [message for message, _ in wire.sent]
    assert [m["part"] for m in sent if m["kind"] == "part"] == ([] if huge else ["preview", "proposal"])
    assert [m["present"] for m in sent if m["kind"] == "stale"] == ([["preview"]] if huge else [])
    assert [m["ids"] for m in sent if m["kind"] == "proposal"] == [[7, 8]]
    answer, pixels = ask(view, "proposal", [32, 0, 64, 300], 2)
    assert answer["window"] == [32, 0, 64, 300]
    assert pixels is not None
    assert set(np.unique(pixels)) == {0, 7, 8}


def test_a_page_cannot_ask_for_more_than_a_picture(tmp_path: Path) -> None:
    view = mn.view(mn.open(huge(tmp_path / "h")))
    answer, _ = ask(view, "labels", [0, 0, 10_000, 10_000])
    assert "at most 16777216 pixels" in answer["reason"]


def test_a_volume_of_petabytes_is_shown_and_saved_as_a_picture(tmp_path: Path) -> None:
    view = mn.view(mn.open(huge(tmp_path / "h")))
    assert view.index == 500_000
    answer, _ = ask(view, "labels", [0, 0, 100_000, 100_000], 128)
    assert answer["empty"]
    _, pixels = ask(mn.view(view.session), "image", [0, 0, 100_000, 100_000], 128)
    assert pixels is not None
    assert pixels.shape == (782, 782)
    assert "image/png" in view.saved()[1]
    assert "image/png" in mn.view(mn.open(huge(tmp_path / "flat", count=1))).saved()[1]


def test_means_come_from_the_level_that_is_fine_enough(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    stack = Stack(rng.integers(0, 255, (1, 512, 512), np.uint8), (5, 5, 5))
    path = mn.save(stack, tmp_path / "cell.ome.zarr")
    opened = mn.open(path)
    half = window(opened, "xy", 0, slice(0, 512), slice(0, 512), 2)
    found, facts = module.Planes(mn.Session(opened)).pixels("image", "xy", 0, 8, (slice(0, 512), slice(0, 512))) or ()
    assert facts == {"step": 8}
    # Means of means; rounded at each level.
    assert np.abs(found.astype(int) - shrink(half, 4).astype(int)).max() <= 1
