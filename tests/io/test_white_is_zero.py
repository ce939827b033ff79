"""Images whose grey values run the other way: told by the file, or by the caller."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

import mitonb as mn
from mitonb.errors import InputError

SHOWN = np.random.default_rng(7).integers(0, 256, (3, 40, 50)).astype(np.uint8)


def white(path, data, **options):
    tifffile.imwrite(path, data, photometric="miniswhite", metadata=None, **options)
    return path


@pytest.mark.parametrize(
    ("shown", "options"),
    [
        (SHOWN, {}),
        (SHOWN, {"compression": "zlib"}),
        (SHOWN, {"compression": "zlib", "tile": (16, 16)}),
        (SHOWN.astype(np.uint16) * 200, {}),
        (SHOWN.astype(np.uint16) * 200, {"byteorder": ">"}),
        (SHOWN.astype(np.uint32) * 2**20, {}),
    ],
)
def test_a_tiff_in_which_0_is_white_is_shown_as_it_looks(tmp_path, shown, options):
    stored = np.iinfo(shown.dtype).max - shown
    stack = mn.open(white(tmp_path / "cell.tif", stored, **options))
    np.testing.assert_array_equal(stack.read(), shown)
    np.testing.assert_array_equal(stack.plane(4, "yz").image, shown[:, :, 4])
    assert stack.dtype == shown.dtype
    assert stack.intensity == pytest.approx(mn.Stack(shown).intensity)
    assert any("0 is white" in note and "invert=False" in note for note in stack.notes)


def test_the_values_of_such_a_file_can_be_had_as_they_are_stored(tmp_path):
    path = white(tmp_path / "cell.tif", SHOWN)
    stack = mn.open(path, invert=False)
    np.testing.assert_array_equal(stack.read(), SHOWN)
    assert any("kept as they are" in note for note in stack.notes)
    np.testing.assert_array_equal(mn.open(path, invert=True).read(), 255 - SHOWN)


def test_signed_floating_and_bilevel_files_are_turned_around_as_well(tmp_path):
    signed = (SHOWN.astype(np.int16) - 128) * 256
    np.testing.assert_array_equal(mn.open(white(tmp_path / "i.tif", signed)).read(), -1 - signed)
    floats = SHOWN.astype(np.float32) / 7
    np.testing.assert_array_equal(mn.open(white(tmp_path / "f.tif", floats)).read(), -floats)
    Image.fromarray(SHOWN[0] > 99).convert("1").save(tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        kept = file.pages[0].photometric == 1
    assert mn.open(tmp_path / "b.tif").read()[0].astype(bool).tolist() == ((SHOWN[0] > 99) == kept).tolist()


def test_four_bits_have_15_as_their_end(tmp_path):
    def entry(code: int, kind: int, value: int) -> bytes:
        return struct.pack("<HHII", code, kind, 1, value)

    tags = [(256, 3, 4), (257, 3, 2), (258, 3, 4), (259, 3, 1), (262, 3, 0), (273, 4, 134), (277, 3, 1)]
    tags += [(278, 3, 2), (279, 4, 4)]
    head = b"II*\0" + (8).to_bytes(4, "little") + len(tags).to_bytes(2, "little")
    body = head + b"".join(entry(*tag) for tag in tags) + bytes(4)
    (tmp_path / "four.tif").write_bytes(body.ljust(134, b"\0") + bytes([0x01, 0x23, 0x4E, 0xF0]))
    assert mn.open(tmp_path / "four.tif").read().tolist() == [[[15, 14, 13, 12], [11, 1, 0, 15]]]


def test_a_folder_of_such_files_looks_as_its_files_do(tmp_path):
    for z, plane in enumerate(SHOWN):
        white(tmp_path / f"{z}.tif", 255 - plane)
    np.testing.assert_array_equal(mn.open(tmp_path).read(), SHOWN)
    tifffile.imwrite(tmp_path / "3.tif", SHOWN[0], photometric="minisblack", metadata=None)
    with pytest.raises(InputError, match="0 is white"):
        mn.open(tmp_path)


def test_ids_are_never_turned_around(tmp_path):
    ids = (SHOWN > 128).astype(np.uint8)
    np.testing.assert_array_equal(mn.open_labels(white(tmp_path / "ids.tif", ids)).data, ids)


def test_any_image_can_be_turned_around_and_that_is_said(tmp_path):
    stack = mn.open(SHOWN, invert=True)
    np.testing.assert_array_equal(stack.read(), 255 - SHOWN)
    assert "invert=True" in stack.notes[0]
    np.testing.assert_array_equal(mn.open(stack, invert=True).read(), SHOWN)
    assert mn.open(SHOWN).notes == ()
    with pytest.raises(InputError, match="invert is True, False or None, got 'yes'"):
        mn.open(SHOWN, invert="yes")


def test_a_project_finds_its_image_however_it_was_turned(tmp_path):
    path = white(tmp_path / "cell.tif", SHOWN)
    for k, invert in enumerate((None, False)):
        with mn.Session(mn.open(path, invert=invert), path=tmp_path / f"{k}.mitonb"):
            pass
        with mn.Session.open(tmp_path / f"{k}.mitonb") as session:
            assert session.stack is not None
            np.testing.assert_array_equal(session.stack.read(), SHOWN if invert is False else 255 - SHOWN)
