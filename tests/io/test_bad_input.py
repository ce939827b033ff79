"""Bad input meets one clear error: what we got, what we need, what to do."""

from __future__ import annotations

import os
import struct
import sys
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import mitonb as mn
from mitonb.errors import CorruptFileError, InputError, MitonbError, UnsafeFileError, UnsupportedFormatError


def test_a_missing_file_names_what_is_near(tmp_path):
    (tmp_path / "cell_01.tif").write_bytes(b"")
    with pytest.raises(InputError, match=r"There is no .*cel_01.tif\. Near it: cell_01.tif"):
        mn.open(tmp_path / "cel_01.tif")
    with pytest.raises(InputError, match="does not exist or cannot be read"):
        mn.open(tmp_path / "nowhere" / "cell.tif")
    with pytest.raises(InputError, match=r"looked in"):
        mn.open("no-such-file-here.tif")


@pytest.mark.parametrize("name", ["", " ", "a\0b"])
def test_no_name_is_no_path(name):
    with pytest.raises(InputError, match="A path names a file"):
        mn.open(name)


CONTENTS = {
    "empty.tif": (b"", "is an empty file"),
    "page.tif": (b"<!DOCTYPE html><html><body>Log in</body></html>", "is a web page, not an image"),
    "zeros.tif": (bytes(4096), "starts with zeros only"),
    "text.tif": (b"dear colleague, the stack is too large to mail", "is damaged, or text"),
    "notes.txt": (b"dear colleague", "is text. mitonb opens TIFF"),
    "cell.mitonb": (b"SQLite format 3\0" + bytes(20), "is a project.*mitonb export cell.mitonb"),
    "movie.avi": (b"RIFF\x9a\0\0\0AVI LIST\xff\xfe", "of a kind that is not known"),
    "short.tif": (b"II*\0", "damaged|no image"),
    "junk.tif": (b"II*\0\x08\0\0\0" + bytes(range(200)), "damaged|holds no image"),
    "short.npy": (b"\x93NUMPY\x01\0", "damaged"),
    "short.npz": (b"PK\3\4\0\0", "damaged"),
    "short.png": (b"\x89PNG\r\n\x1a\n", "damaged"),
    "short.jpg": (b"\xff\xd8\xff\xe0\0\x10", "damaged"),
    "newline.png": (b"\x89PNG\n\x1a\n" + bytes(30), "text-mode copy"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_files_that_are_no_images_say_what_they_are(tmp_path, name):
    content, said = CONTENTS[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MitonbError, match=said):
        mn.open(tmp_path / name)


def test_a_png_named_tif_opens_and_says_so(tmp_path):
    Image.fromarray(np.full((4, 5), 7, np.uint8)).save(tmp_path / "cell.png")
    path = (tmp_path / "cell.png").rename(tmp_path / "cell.tif")
    stack = mn.open(path)
    assert stack.read().tolist() == [[[7] * 5] * 4]
    assert any("name ends in .tif, but" in note for note in stack.notes)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
def test_pipes_and_devices_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.tif")
    with pytest.raises(UnsafeFileError, match="pipe or a device"):
        mn.open(tmp_path / "pipe.tif")
    if Path("/dev/zero").exists():
        with pytest.raises(UnsafeFileError, match="pipe or a device"):
            mn.open("/dev/zero")


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("style", ["imagej", "ome", "plain"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_a_tiff_that_was_cut_off_never_gives_fewer_planes(tmp_path, compression, style, part):
    data = np.random.default_rng(0).integers(0, 255, (20, 40, 50), dtype=np.uint8)
    path = tmp_path / "cell.tif"
    options = {"imagej": {"imagej": True}, "ome": {"ome": True}, "plain": {"metadata": None}}[style]
    with tifffile.TiffWriter(path, **({k: v for k, v in options.items() if k != "metadata"})) as writer:
        if style == "plain":
            for plane in data:
                writer.write(plane, compression=compression, photometric="minisblack", metadata=None, contiguous=False)
        else:
            writer.write(data, compression=compression, photometric="minisblack", metadata={"axes": "ZYX"})
    whole = path.read_bytes()
    np.testing.assert_array_equal(mn.open(path).read(), data)
    path.write_bytes(whole[: int(len(whole) * part)])
    try:
        found = mn.open(path).read()
    except CorruptFileError:
        return
    # ImageJ files keep their voxels before the headers of the later pages: the cut may have spared them all.
    assert part == 0.999
    np.testing.assert_array_equal(found, data)


def test_a_file_that_declares_more_than_it_holds_is_refused_with_numbers(tmp_path):
    path = tmp_path / "cell.npy"
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (100_000,) * 3})
        file.write(bytes(64))
    with pytest.raises(CorruptFileError, match=r"declares 909.5 TiB of voxels, but holds 64 B"):
        mn.open(path)


def png_header(width: int, height: int) -> bytes:
    """Return a PNG of a size, with nothing in it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [30_000, 100_000, 2**31 - 1])
def test_a_picture_bomb_is_refused_before_it_is_decoded(tmp_path, side):
    (tmp_path / "bomb.png").write_bytes(png_header(side, side))
    with pytest.raises(InputError, match=r"declares|must be decoded|unpacks"):
        mn.open(tmp_path / "bomb.png")


def test_a_tiff_bomb_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "bomb.tif"
    tifffile.imwrite(path, np.zeros((4, 16, 16), np.uint8), compression="zlib", metadata=None, photometric="minisblack")
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        pages = list(file.pages)
        tags = [page.tags[code] for page in pages for code in ("ImageWidth", "ImageLength", "RowsPerStrip")]
        fields = [(tag.valueoffset, 2 if tag.dtype == tifffile.DATATYPE.SHORT else 4) for tag in tags]
    for start, size in fields:
        data[start : start + size] = (60_000).to_bytes(size, "little")
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"declares 3.4 GiB of voxels, but holds|must be decoded in blocks"):
        mn.open(path)


def test_python_objects_are_never_unpickled(tmp_path):
    path = tmp_path / "cell.npy"
    np.save(path, np.array([[{}]], object), allow_pickle=True)
    with pytest.raises(UnsafeFileError, match="Python objects, which could run code"):
        mn.open(path)
    np.savez(tmp_path / "cell.npz", np.array([[{}]], object))
    with pytest.raises(UnsafeFileError, match="Python objects"):
        mn.open(tmp_path / "cell.npz")


def test_an_npz_asks_which_array(tmp_path, volume):
    path = tmp_path / "cell.npz"
    np.savez(path, raw=volume, mask=volume > 5)
    with pytest.raises(InputError, match=r"2 arrays \(mask, raw\). Choose one with series='name'"):
        mn.open(path)
    np.testing.assert_array_equal(mn.open(path, series="raw").read(), volume)
    with pytest.raises(InputError, match=r"no array 'row' of its own; it holds mask, raw"):
        mn.open(path, series="row")


@pytest.mark.parametrize("what", [None, 3, object(), {"a": 1}, ["x", 1], np.array(["a"])])
def test_other_things_are_no_images(what):
    with pytest.raises(InputError):
        mn.open(what)


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_numbers_are_refused_with_advice(dtype):
    with pytest.raises(InputError, match=r"abs\(\)"):
        mn.open(np.zeros((2, 3, 4), dtype))


def test_opening_a_tiff_opens_no_other_file(tmp_path, volume):
    (tmp_path / "secret.tif").write_bytes(b"canary")
    ome = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">'
        '<Image ID="Image:0">'
        '<Pixels DimensionOrder="XYZCT" ID="Pixels:0" SizeC="1" SizeT="1" SizeX="7" SizeY="5" SizeZ="3" Type="uint8">'
        '<TiffData IFD="0" PlaneCount="3"><UUID FileName="secret.tif">urn:uuid:2</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    path = tmp_path / "cell.ome.tif"
    tifffile.imwrite(path, volume, photometric="minisblack", description=ome, metadata=None)
    opened: list[str] = []
    listening = [True]
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" and listening[0] else None)
    stack = mn.open(path)
    stack.read()
    listening[0] = False
    assert any("cell.ome.tif" in name for name in opened)
    assert not any("secret" in name for name in opened)
    np.testing.assert_array_equal(stack.read(), volume)
    assert any("one of several files" in note for note in stack.notes)


def test_entities_in_image_metadata_are_refused(tmp_path, volume):
    ome = (
        '<?xml version="1.0"?><!DOCTYPE o [<!ENTITY a "aaaa">]>'
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">&a;</OME>'
    )
    path = tmp_path / "cell.ome.tif"
    tifffile.imwrite(path, volume, photometric="minisblack", description=ome, metadata=None)
    with pytest.raises(CorruptFileError, match="entities"):
        mn.open(path)


@pytest.mark.parametrize(
    "name", ["ü ñ.tif", "a b.tif", "100%.tif", "new\nline.tif", "\U0001f52c.tif", "x" * 240 + ".tif"]
)
def test_odd_names_work(tmp_path, name, volume):
    path = mn.save(mn.Stack(volume), tmp_path / name)
    np.testing.assert_array_equal(mn.open(path).read(), volume)


def test_formats_without_their_package_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    monkeypatch.setitem(sys.modules, "mrcfile", None)
    (tmp_path / "cell.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(UnsupportedFormatError, match=r"needs h5py: pip install 'mitonb\[formats\]'"):
        mn.open(tmp_path / "cell.h5")
    (tmp_path / "cell.mrc").write_bytes(bytes(range(208)) + b"MAP " + bytes(900))
    with pytest.raises(UnsupportedFormatError, match=r"needs mrcfile: pip install 'mitonb\[formats\]'"):
        mn.open(tmp_path / "cell.mrc")


def test_negative_and_fractional_labels_are_refused(tmp_path):
    from mitonb.io.opening import open_labels

    with pytest.raises(InputError, match="2 voxels with negative ids"):
        open_labels(np.array([[[-1, 0], [-1, 3]]]))
    with pytest.raises(InputError, match="whole numbers"):
        open_labels(np.array([[[0.5]]]))


def test_an_address_and_axes_that_are_no_text_are_named():
    with pytest.raises(InputError, match="single file, and of the network only stores are read"):
        mn.open("https://example.org/cell.tif")
    with pytest.raises(InputError, match="axes= is a text"):
        mn.open(np.zeros((4, 5, 6)), axes=5)


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("name", ["a.npy", ".zattrs"])
def test_a_zip_file_that_python_unpacks_in_one_go_is_refused(kind: int, name: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", kind) as file:
        file.writestr(name, bytes(100 << 20))
    tracemalloc.start()
    with pytest.raises(InputError, match="LZMA"):
        mn.open(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 20 << 20


@pytest.mark.parametrize(("name", "program"), [("cell.czi", "ZEN"), ("cell.LIF", "LAS X"), ("cell.dm4", "Digital")])
def test_files_of_microscopes_say_how_they_get_in(tmp_path: Path, name: str, program: str) -> None:
    (tmp_path / name).write_bytes(b"ZISRAWFILE\0\0" + bytes(range(200)))
    for look in (mn.open, mn.info):
        with pytest.raises(InputError, match=rf"is a file of {program}.*Export it as OME-TIFF"):
            look(tmp_path / name)
