"""The ids of label files: colour tables, few bits, more than 32 bits, and back into a file."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

import mitonb as mn
from mitonb.errors import AxesError, InputError
from mitonb.io.opening import open_ids

IDS = np.array([[[0, 0, 1, 1], [3, 3, 0, 2], [2, 2, 0, 0]], [[0, 3, 3, 3], [1, 1, 0, 0], [0, 0, 2, 0]]], np.uint8)
LARGE = np.array([0, 2**32 + 5, 2**40, 2**63 - 1], np.uint64)


# Red is the same in two of them; one table is grey and upside down.
TABLES = {
    "colours": [0, 0, 0, 200, 0, 0, 200, 99, 0, 7, 8, 9],
    "greys": [255, 255, 255, 170, 170, 170, 85, 85, 85, 0, 0, 0],
}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_the_place_in_a_colour_table_is_the_id(tmp_path, table, transparent, bits):
    (tmp_path / "labels").mkdir()
    for k, plane in enumerate(IDS):
        image = Image.fromarray(plane).convert("P")
        image.putdata(plane.ravel().tolist())
        image.putpalette(TABLES[table])
        options = {"transparency": bytes([0, 255, 128, 255])} if transparent else {}
        image.save(tmp_path / "labels" / f"plane_{k}.png", bits=bits, **options)
    np.testing.assert_array_equal(mn.open_labels(tmp_path / "labels").data, IDS)
    np.testing.assert_array_equal(open_ids(tmp_path / "labels")[0], IDS)
    np.testing.assert_array_equal(mn.open_labels(tmp_path / "labels" / "plane_1.png").data, IDS[1:])
    if table == "greys" and not transparent:  # a picture is what is seen
        np.testing.assert_array_equal(mn.open(tmp_path / "labels").read(), 255 - 85 * IDS)


def png(path, values, bits):
    """Write a grey PNG of few bits by hand."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    h, w = values.shape
    rows = b"".join(b"\0" + np.packbits(np.unpackbits(r[:, None], axis=1)[:, -bits:].ravel()).tobytes() for r in values)
    head = struct.pack(">IIBBBBB", w, h, bits, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_greys_of_few_bits_are_ids_as_they_are(tmp_path, bits):
    values = np.minimum(IDS[0], 2**bits - 1)
    path = png(tmp_path / "labels.png", values, bits)
    np.testing.assert_array_equal(mn.open_labels(path).data[0], values)
    np.testing.assert_array_equal(mn.open(path).read()[0], values * (255 // (2**bits - 1)))


def test_palettes_and_sixteen_bits_of_other_kinds(tmp_path):
    large = IDS.astype(np.uint16) * 20_000
    Image.fromarray(large[0]).save(tmp_path / "labels.png")
    np.testing.assert_array_equal(mn.open_labels(tmp_path / "labels.png").data[0], large[0])
    colours = np.zeros((3, 256), np.uint16)
    colours[0, 1:4] = 50_000
    tifffile.imwrite(tmp_path / "labels.tif", IDS, photometric="palette", colormap=colours)
    np.testing.assert_array_equal(mn.open_labels(tmp_path / "labels.tif").data, IDS)
    for bits in (2, 4):
        packed = np.packbits(np.unpackbits(IDS[0][:, :, None], axis=2)[:, :, -bits:].reshape(3, -1), axis=1)
        path = tmp_path / f"bits_{bits}.tif"
        tifffile.imwrite(path, packed, photometric="minisblack", metadata=None, rowsperstrip=3)
        patched(path, {256: 4, 258: bits})
        np.testing.assert_array_equal(mn.open_labels(path).data[0], IDS[0])


def patched(path, values):
    """Change tags of a TIFF."""
    with tifffile.TiffFile(path) as file:
        places = {code: file.pages[0].tags[code].valueoffset for code in values}
    data = bytearray(path.read_bytes())
    for code, value in values.items():
        data[places[code] : places[code] + 2] = value.to_bytes(2, "little")
    path.write_bytes(data)


def test_labels_in_colour_are_refused_with_the_remedy_and_equal_channels_are_ids(tmp_path):
    grey = np.repeat(IDS[..., None], 3, -1)
    odd = grey.copy()
    odd[1, 2, 3, 0] = 9  # where nobody looks who looks at first, middle and last only
    many = np.concatenate([grey, odd, grey, grey, grey, grey, grey])
    for name, data in (("grey", grey), ("odd", many)):
        (tmp_path / name).mkdir()
        for k, plane in enumerate(data):
            Image.fromarray(plane).save(tmp_path / name / f"{k}.png")
    np.testing.assert_array_equal(mn.open_labels(tmp_path / "grey").data, IDS)
    for look in (mn.open_labels, open_ids):
        with pytest.raises(AxesError, match=r"a colour is no id. Save the labels as one number .* channel=0 to 2"):
            look(tmp_path / "odd")
    np.testing.assert_array_equal(mn.open_labels(tmp_path / "odd", channel=1).data, many[..., 1])


@pytest.mark.parametrize("dtype", ["uint64", "int64", ">u8", "float64"])
def test_ids_above_32_bits_open_are_corrected_and_go_back(tmp_path, dtype):
    top = LARGE if dtype != "float64" else np.array([0, 2**32 + 5, 2**40, 2**53], np.float64)
    given = top[IDS].astype(dtype)
    np.save(tmp_path / "supervoxels.npy", given)
    labels = mn.open_labels(tmp_path / "supervoxels.npy")
    np.testing.assert_array_equal(labels.data, IDS)
    assert labels.original_ids.tolist() == [int(v) for v in top]
    assert "renumbered" in repr(labels)
    session = mn.Session(None, labels, path=tmp_path / "cell.mitonb")
    session.delete(1)
    session.close()
    again = mn.Session.open(tmp_path / "cell.mitonb").labels
    for ending in (".npy", ".npz", ".ome.zarr", ".tif"):
        saved = mn.save(again, tmp_path / f"corrected{ending}")
        back = open_ids(saved)[0]
        np.testing.assert_array_equal(back, np.where(IDS == 1, 0, given.astype(back.dtype)))
        assert not (tmp_path / f"{saved.name}.record.json").exists()
        np.testing.assert_array_equal(mn.open_labels(saved).original_ids, [0, *np.unique(back)[1:]])


def test_objects_that_came_later_get_ids_that_the_file_did_not_have(tmp_path):
    for top in (2**40, 2**64 - 1):
        table = np.array([0, 1, 2**33, top], np.uint64)
        labels = mn.open_labels(table[IDS])
        more = labels.data.copy()
        more[0, 0, :2] = [7, 5]
        original = mn.Labels(more, record=labels.record).original_ids
        assert len(set(original.tolist())) == len(original) == 8
        assert original[:4].tolist() == table.tolist()
        back = open_ids(mn.save(mn.Labels(more, record=labels.record), tmp_path / f"{top}.npy"))[0]
        assert (back[IDS > 0] == table[IDS][IDS > 0]).all()
    assert "is what -1 becomes in 64 bits" in repr(labels)


def test_one_word_renumbers_any_labels_or_none(tmp_path):
    small = np.array([0, 7, 300, 70_000], np.int32)[IDS]
    labels = mn.open_labels(small)
    assert labels.original_ids is None
    assert labels.ids().tolist() == [7, 300, 70_000]
    labels = mn.open_labels(small, renumber=True)
    assert labels.ids().tolist() == [1, 2, 3]
    np.testing.assert_array_equal(open_ids(mn.save(labels, tmp_path / "labels.tif"))[0], small)
    with pytest.raises(InputError, match="Ids go up to 4294967295"):
        mn.open_labels(LARGE[IDS], renumber=False)
    with pytest.raises(InputError, match="negative ids"):
        mn.open_labels(np.array([[[-1, 2**40]]]))
    with pytest.raises(InputError, match="whole numbers"):
        mn.open_labels(np.array([[[2.0**40 + 0.5, 1]]]))
    with pytest.raises(InputError, match="whole numbers"):
        mn.open_labels(np.array([[[2.0**40, 1]]], np.float32))


def test_the_record_of_a_run_stays_beside_the_ids(tmp_path):
    labels = mn.Labels(IDS, (40, 4, 4), record={"recipe": {}, "notes": ["A note."]})
    path = mn.save(labels, tmp_path / "labels.npy")
    opened = mn.open_labels(path, renumber=True)
    assert opened.voxel_size == (40, 4, 4)
    assert "note: A note." in repr(opened)
    saved = mn.save(opened, tmp_path / "again.npy")
    assert json.loads((tmp_path / "again.npy.record.json").read_text())["notes"] == ["A note."]
    assert mn.open_labels(saved).voxel_size == (40, 4, 4)


FOREIGN = [
    5, None, {}, {"ids": [1, 2]}, {"ids": 5, "dtype": "int64"}, {"ids": [-1], "dtype": "uint64"},
    {"ids": [[1], [2]], "dtype": "int64"}, {"ids": [2**70], "dtype": "int64"}, {"ids": [1], "dtype": "object"},
]  # fmt: skip


@pytest.mark.parametrize("kept", FOREIGN)
def test_ids_in_the_record_of_a_project_from_elsewhere_are_checked(tmp_path, kept):
    labels = mn.Labels(IDS, record={"recipe": {}, "original_ids": kept})
    assert labels.original_ids is None
    assert "renumbered" not in repr(labels)
    np.testing.assert_array_equal(open_ids(mn.save(labels, tmp_path / "labels.npy"))[0], IDS)
