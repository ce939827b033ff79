"""Opening and saving on the screen: paths, the sample, files from the browser; every failure is a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mitonb as mn
from mitonb.widgets.forms import SaveForm, VoxelSizeField, open_form
from mitonb.widgets.upload import Upload


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    path = tmp_path / "cell.npy"
    np.save(path, np.arange(4 * 8 * 8, dtype=np.uint8).reshape(4, 8, 8))
    return path


def test_a_path_is_opened_and_asks_for_the_voxel_size_that_the_file_does_not_tell(drawn: Path) -> None:
    form = open_form()
    heard: list[str] = []
    form.opened.connect(lambda stack: heard.append(stack.name))
    stack = form.open_path(drawn)
    assert stack is not None
    assert stack.shape == (4, 8, 8)
    assert (stack.voxel_size, form.voxel_size.layout.display) == (None, "")
    for field, nm in zip(form.voxel_size.fields, (40, 5, 5), strict=True):
        field.value = nm
    form.voxel_size.button.click()
    assert form.stack is not None
    assert form.stack.voxel_size == (40, 5, 5)
    assert form.voxel_size.layout.display == "none"
    assert len(heard) == 1


def test_a_wrong_path_is_a_sentence_and_what_was_open_stays(drawn: Path, tmp_path: Path) -> None:
    form = open_form()
    form.open_path(drawn)
    assert form.open_path(tmp_path / "nothing here.tif") is None
    assert "mnb-error" in form.message.value
    assert "nothing here.tif" in form.message.value
    assert form.stack is not None
    assert form.open_path("  ") is None
    assert "Type a path first" in form.message.value


def test_an_empty_folder_and_five_axes_say_what_to_do_and_what_was_open_stays(drawn: Path, tmp_path: Path) -> None:
    form = open_form()
    before = form.open_path(drawn)
    (tmp_path / "planes").mkdir()
    assert form.open_path(tmp_path / "planes") is None
    assert "mnb-error" in form.message.value
    assert "folder" in form.message.value
    np.save(tmp_path / "five.npy", np.zeros((2, 3, 4, 5, 6), np.uint8))
    assert form.open_path(tmp_path / "five.npy") is None
    assert "mnb-error" in form.message.value
    assert "axes=" in form.message.value
    assert form.stack is before


def test_a_damaged_file_is_a_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"II*\x00 this is no TIFF")
    form = open_form(broken)
    form.button.click()
    _wait_for(lambda: "mnb-error" in form.message.value)
    assert form.stack is None


def test_the_name_of_a_file_is_never_html(tmp_path: Path) -> None:
    form = open_form()
    form.open_path(tmp_path / "<img src=x onerror=alert(1)>.tif")
    assert "<img" not in form.message.value


def test_real_samples_open_from_the_form() -> None:
    form = open_form()
    form.samples["islet"].click()
    _wait_for(lambda: form.stack is not None)
    assert form.stack.shape == (1, 1024, 1024)
    assert "Vanderbilt" in form.about.value


def test_the_drawn_sample_brings_its_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    small = mn.phantom((8, 64, 64))
    monkeypatch.setattr("mitonb.phantoms.phantom", lambda: small)
    form = open_form()
    form.open_sample()
    assert form.stack is small.stack
    assert form.labels is small.labels


class Browser:
    """The other half of an upload: sends pieces, and keeps what comes back."""

    def __init__(self, upload: Upload) -> None:
        self.upload, self.answers = upload, []
        upload.send = lambda content, buffers=None: self.answers.append(content)  # type: ignore[method-assign]
        self.refused: list[str] = []
        self.received: list[Path] = []
        upload.refused.connect(lambda error: self.refused.append(str(error)))
        upload.received.connect(self.received.append)

    def say(self, *buffers: bytes, **message: Any) -> None:
        self.upload._handle_custom_msg(message, [memoryview(b) for b in buffers])

    def put(self, name: str, data: bytes, piece: int = 3) -> None:
        self.say(kind="begin", id="a", name=name, size=len(data))
        while self.answers and self.answers[-1]["kind"] == "next":
            at = self.answers[-1]["offset"]
            self.say(data[at : at + piece], kind="piece", id="a", offset=at)


def test_a_file_from_the_browser_arrives_whole_in_pieces(tmp_path: Path) -> None:
    browser = Browser(Upload(tmp_path / "in"))
    browser.put("cell.tif", b"0123456789")
    assert [answer.get("offset") for answer in browser.answers] == [0, 3, 6, 9, None]
    assert browser.received == [tmp_path / "in" / "cell.tif"]
    assert browser.received[0].read_bytes() == b"0123456789"
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["cell.tif"]


def test_a_file_that_is_there_already_is_never_written_over(tmp_path: Path) -> None:
    browser = Browser(Upload(tmp_path))
    browser.put("cell.ome.tif", b"first")
    browser.put("cell.ome.tif", b"second")
    assert [(path.name, path.read_bytes()) for path in browser.received] == [
        ("cell.ome.tif", b"first"), ("cell-2.ome.tif", b"second"),
    ]  # fmt: skip


def test_a_piece_that_comes_twice_is_written_once(tmp_path: Path) -> None:
    browser = Browser(Upload(tmp_path))
    browser.say(kind="begin", id="a", name="x.tif", size=4)
    browser.say(b"ab", kind="piece", id="a", offset=0)
    browser.say(b"ab", kind="piece", id="a", offset=0)
    browser.say(b"cd", kind="piece", id="a", offset=2)
    assert browser.received[0].read_bytes() == b"abcd"


@pytest.mark.parametrize("name", ["../../etc/passwd", "..\\..\\boot.ini", "/etc/ssh/key", ".bashrc", "a\x00b\n.tif"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    browser = Browser(Upload(tmp_path / "in"))
    browser.put(name, b"data")
    assert browser.received[0].parent == tmp_path / "in"
    assert not browser.received[0].name.startswith(".")


def test_what_is_too_large_is_refused_with_advice_before_it_is_sent(tmp_path: Path) -> None:
    browser = Browser(Upload(tmp_path, limit=1000))
    browser.say(kind="begin", id="a", name="big.tif", size=10_000_000)
    assert browser.answers == [{"kind": "refused", "id": "a"}]
    assert "file browser or scp, and give its path" in browser.refused[0]


def test_a_folder_that_was_dropped_is_refused_with_advice(tmp_path: Path) -> None:
    browser = Browser(Upload(tmp_path))
    browser.say(kind="begin", id="a", name="cell.ome.zarr", size=0)
    assert "give its path instead" in browser.refused[0]


def test_a_piece_of_an_upload_that_was_given_up_is_refused(tmp_path: Path) -> None:
    browser = Browser(Upload(tmp_path))
    browser.say(b"ab", kind="piece", id="old", offset=0)
    assert browser.answers == [{"kind": "refused", "id": "old"}]


def test_one_size_counts_for_three_axes_and_none_is_refused() -> None:
    field, heard = VoxelSizeField(), []
    field.chosen.connect(heard.append)
    field.choose()
    assert "Give sizes above 0" in field.message.value
    field.fields[0].value = 8
    field.choose()
    assert heard == [(8, 8, 8)]


def test_a_single_section_is_asked_for_the_size_of_its_pixels_alone() -> None:
    field, heard = VoxelSizeField(), []
    field.chosen.connect(heard.append)
    field.ask((1, 40, 50))
    assert [part.layout.display for part in field.fields] == ["none", None, None]
    field.choose()
    assert "Give sizes above 0" in field.message.value
    field.fields[2].value = 5
    field.choose()
    field.fields[1].value = 4
    field.choose()
    assert heard == [(5, 5, 5), (5, 4, 5)]


def test_a_format_changes_the_ending_and_keeps_the_name() -> None:
    form = SaveForm(lambda path, overwrite: Path(path), stem="my.cell-labels")
    assert form.path.value == "my.cell-labels.ome.zarr"
    form.format.value = "labels · TIFF"
    form.format.value = "table of objects · CSV"
    assert form.path.value == "my.cell-labels.csv"


def test_what_cannot_be_saved_says_why_and_the_button_comes_back(tmp_path: Path) -> None:
    labels = mn.Labels(np.ones((1, 2, 2), np.uint32))
    form = SaveForm(lambda path, overwrite: mn.save(labels, path, overwrite=overwrite))
    assert form.save(tmp_path / "missing" / "a.tif") is None
    assert "mnb-error" in form.message.value
    assert form.save(tmp_path / "a.tif") == tmp_path / "a.tif"
    assert "Saved" in form.message.value
    assert form.save() is None, "it is there already, and replace is off"
    assert "a.tif already exists. Tick replace, or choose another name." in form.message.value
    form.overwrite.value = True
    assert form.save() == tmp_path / "a.tif"
    assert not form.button.disabled


def _wait_for(what: Any, seconds: float = 20) -> None:
    import threading
    import time

    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        threading.Event().wait(0.01)
