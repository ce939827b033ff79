"""Files made to hang, to exhaust the memory or to lead elsewhere are refused before they do."""

from __future__ import annotations

import bz2
import gzip
import json
import os
import shutil
import stat
import struct
import zipfile
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

import mitonb as mn
from mitonb.errors import CorruptFileError, InputError, MitonbError, TooLargeError, UnsafeFileError
from mitonb.io.opening import open_ids

DATA = np.random.default_rng(0).integers(1, 255, (20, 300, 310)).astype(np.uint8)
VERSIONS = ["0.4", "0.5"]
LOTS = 64 * 2**20
"""Bytes that a small block claims; a real trap claims more, and the rules are the same."""

needs_links = pytest.mark.skipif(os.name == "nt", reason="links and pipes need a right, or are not there, on Windows")


@pytest.fixture(params=VERSIONS)
def store(request, tmp_path):
    """Return an OME-Zarr and the name of its first block."""
    path = mn.save(mn.Stack(DATA), tmp_path / "cell.ome.zarr", version=request.param)
    return path, path / "0" / ("0/0/0" if request.param == "0.4" else "c/0/0/0")


# --- links and pipes


@needs_links
@pytest.mark.parametrize("up", [0, 1, 2])
def test_blocks_and_folders_of_blocks_that_are_links_lead_nowhere(store, tmp_path, up):
    path, block = store
    place = block if up == 0 else block.parents[up - 1]
    away = shutil.move(place, tmp_path / "elsewhere")
    place.symlink_to(away)
    stack = mn.open(path, series=1)
    assert stack.shape[1] == 150  # what is no link is read
    with pytest.raises(UnsafeFileError, match=r"is a link to a file that lies outside of cell.ome.zarr"):
        mn.open(path).read()
    with pytest.raises(UnsafeFileError, match="lies outside"):
        mn.open_labels(path)
    place.unlink()
    shutil.move(away, place)
    np.testing.assert_array_equal(mn.open(path).read(), DATA)


@needs_links
def test_a_link_that_stays_inside_is_followed(store):
    path, block = store
    shutil.move(block, path / "kept")
    block.symlink_to(path / "kept")
    np.testing.assert_array_equal(mn.open(path).read(), DATA)


@needs_links
@pytest.mark.parametrize("name", [".zattrs", "zarr.json", "0/.zarray", "0/zarr.json", "attributes.json"])
def test_metadata_that_are_links_lead_nowhere(store, tmp_path, name):
    path, _ = store
    if name == "attributes.json":
        for known in (".zattrs", ".zgroup", "zarr.json"):
            (path / known).unlink(missing_ok=True)
        (tmp_path / "elsewhere").write_text("{}")
    elif (path / name).exists():
        shutil.move(path / name, tmp_path / "elsewhere")
    else:
        pytest.skip("metadata of the other version")
    (path / name).symlink_to(tmp_path / "elsewhere")
    for look in (mn.open, open_ids):
        with pytest.raises(UnsafeFileError, match="lies outside"):
            look(path)


@needs_links
def test_a_block_or_metadata_that_are_a_pipe_never_hang(store, tmp_path):
    path, block = store
    block.unlink()
    os.mkfifo(block)
    with pytest.raises(UnsafeFileError, match="is a pipe, a device or a folder"):
        mn.open(path).read()
    block.unlink()
    block.symlink_to("/dev/zero")
    with pytest.raises(UnsafeFileError):
        mn.open(path).read()
    block.unlink()
    block.mkdir()
    with pytest.raises(UnsafeFileError, match="is a pipe, a device or a folder"):
        mn.open(path).read()
    (path / "0" / "zarr.json").unlink(missing_ok=True)
    (path / "0" / ".zarray").unlink(missing_ok=True)
    os.mkfifo(path / "0" / "zarr.json")
    with pytest.raises(MitonbError):
        mn.open(path)
    saved = mn.save(mn.Labels(DATA[:2]), tmp_path / "labels.npy")
    os.mkfifo(f"{saved}.record.json")
    np.testing.assert_array_equal(mn.open_labels(saved).data, DATA[:2])


# --- blocks that unpack to more than they are


def zarr2(path, codec, block, *, shape=(4, 64, 64), chunks=(4, 64, 64)):
    """Write a zarr array of one block by hand."""
    path.mkdir()
    metadata = {"zarr_format": 2, "shape": shape, "chunks": chunks, "dtype": "|u1", "compressor": codec}
    (path / ".zarray").write_text(json.dumps(metadata | {"fill_value": 0, "order": "C", "filters": None}))
    if block is not None:
        (path / "0.0.0").write_bytes(block)
    return path


PACKED = {
    "raw": (None, bytes),
    "gzip": ({"id": "gzip", "level": 5}, lambda data: gzip.compress(data)),
    "zlib": ({"id": "zlib", "level": 5}, lambda data: zlib.compress(data)),
    "bz2": ({"id": "bz2", "level": 5}, lambda data: bz2.compress(data)),
    "zstd": ({"id": "zstd", "level": 5}, imagecodecs.zstd_encode),
    "blosc": (
        {"id": "blosc", "cname": "zstd", "clevel": 5, "shuffle": 1, "blocksize": 0},
        lambda data: imagecodecs.blosc_encode(data, compressor="zstd"),
    ),
}


@pytest.mark.parametrize("codec", PACKED)
def test_a_block_of_zarr_that_lies_about_its_size_takes_no_memory(tmp_path, codec, most_memory):
    metadata, pack = PACKED[codec]
    path = zarr2(tmp_path / "cell.zarr", metadata, pack(bytes(LOTS)))
    with most_memory(LOTS // 2), pytest.raises(InputError, match=r"is stored in|is damaged"):
        mn.open(path).read()


def test_a_block_of_n5_or_of_a_shard_that_lies_takes_no_memory(tmp_path, most_memory):
    lie = imagecodecs.blosc_encode(bytes(LOTS), compressor="zstd")
    (tmp_path / "cell.n5" / "0" / "0").mkdir(parents=True)
    packed = {"type": "blosc", "cname": "zstd", "clevel": 5, "shuffle": 0, "blocksize": 0}
    facts = {"dimensions": [64, 64, 4], "blockSize": [64, 64, 4], "dataType": "uint8", "compression": packed}
    (tmp_path / "cell.n5" / "attributes.json").write_text(json.dumps(facts))
    (tmp_path / "cell.n5" / "0" / "0" / "0").write_bytes(struct.pack(">HHIII", 0, 3, 64, 64, 4) + lie)
    (tmp_path / "shard.zarr" / "c" / "0" / "0").mkdir(parents=True)
    blosc = {"cname": "zstd", "clevel": 5, "shuffle": "noshuffle", "typesize": 1, "blocksize": 0}
    inner = [{"name": "bytes"}, {"name": "blosc", "configuration": blosc}]
    index = [{"name": "bytes", "configuration": {"endian": "little"}}]
    sharding = {"chunk_shape": [4, 64, 64], "codecs": inner, "index_codecs": index, "index_location": "end"}
    facts = {
        "zarr_format": 3, "node_type": "array", "shape": [4, 64, 128], "data_type": "uint8", "fill_value": 0,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 64, 128]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
    }  # fmt: skip
    (tmp_path / "shard.zarr" / "zarr.json").write_text(json.dumps(facts))
    block = tmp_path / "shard.zarr" / "c" / "0" / "0" / "0"
    block.write_bytes(lie + struct.pack("<4Q", 0, len(lie), 2**64 - 1, 2**64 - 1))
    for name in ("cell.n5", "shard.zarr"):
        with most_memory(LOTS // 2), pytest.raises(InputError, match="is stored in"):
            mn.open(tmp_path / name).read()
    honest = imagecodecs.blosc_encode(bytes(4 * 64 * 64), compressor="zstd")
    block.write_bytes(honest + struct.pack("<4Q", 0, len(honest), 2**64 - 1, 2**64 - 1))
    assert not mn.open(tmp_path / "shard.zarr").read().any()


@pytest.mark.parametrize("chunks", [(1, 1, 1), (1, 1, 4)])
def test_absurd_grids_of_blocks_are_refused_and_a_small_part_is_read(tmp_path, chunks):
    path = zarr2(tmp_path / "cell.zarr", None, None, shape=(10**6, 10**6, 10**6), chunks=chunks)
    stack = mn.open(path)
    assert stack.data[5, 7:9, 10:20].sum() == 0
    with pytest.raises(TooLargeError):
        np.asarray(stack.data[0])
    with pytest.raises(TooLargeError, match="is cut into blocks of 1 x 1 x"):
        np.asarray(stack.data[0, :4000, :4000])
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "cell.h5", "w") as file:
        file.create_dataset("raw", (10, 4000, 4000), np.uint8, chunks=chunks)
    with pytest.raises(TooLargeError, match="is cut into blocks of 1 x 1 x"):
        mn.open(tmp_path / "cell.h5").plane(0)


@pytest.mark.parametrize("chunks", [(2**20, 2**20, 2**20), (0, 4, 4), (-1, 4, 4), ("4", 4, 4), (2**62, 2**62, 4)])
def test_absurd_blocks_are_refused(tmp_path, chunks):
    path = zarr2(tmp_path / "cell.zarr", None, None, chunks=chunks)
    with pytest.raises(InputError):
        mn.open(path)


@pytest.mark.parametrize("how", ["large", "inflated", "twice"])
def test_a_block_of_hdf5_that_is_more_than_it_declares_is_refused(tmp_path, how, most_memory, monkeypatch):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "cell.h5", "w") as file:
        if how == "twice":
            plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            plist.set_chunk((4, 64, 64))
            plist.set_deflate(9)
            plist.set_deflate(9)
            space = h5py.h5s.create_simple((4, 64, 64))
            h5py.h5d.create(file.id, b"raw", h5py.h5t.NATIVE_UINT8, space, plist)
        else:
            raw = file.create_dataset("raw", (4, 64, 64), np.uint8, chunks=(4, 64, 64), compression="gzip")
            level = 1 if how == "large" else 9
            data = np.random.default_rng(0).bytes(2**20) if how == "large" else bytes(LOTS)
            raw.id.write_direct_chunk((0, 0, 0), zlib.compress(data, level))
    if how == "inflated":  # on a small machine
        monkeypatch.setenv("MEM_LIMIT", str(LOTS))
    with most_memory(LOTS // 2), pytest.raises(UnsafeFileError, match=r"is stored in|unpacks|times over"):
        mn.open(tmp_path / "cell.h5").read()


def test_a_png_with_gigabytes_behind_its_end_is_read_up_to_there(tmp_path, most_memory):
    Image.fromarray(DATA[0]).save(tmp_path / "cell.png")
    with open(tmp_path / "cell.png", "ab") as file:
        file.truncate(8 * 2**30)
    with most_memory(LOTS):
        np.testing.assert_array_equal(mn.open(tmp_path / "cell.png").read()[0], DATA[0])


def test_a_png_whose_pixels_take_far_more_than_they_are_is_refused(tmp_path, most_memory):
    def chunk(kind: bytes, size: int) -> bytes:
        return struct.pack(">I4s", size, kind)

    Image.fromarray(DATA[0]).save(tmp_path / "cell.png")
    data = (tmp_path / "cell.png").read_bytes()
    at = data.index(b"IDAT") - 4
    with open(tmp_path / "cell.png", "wb") as file:
        file.write(data[:at] + chunk(b"IDAT", 2**31 - 1))
        file.truncate(4 * 2**30)
    with most_memory(LOTS), pytest.raises(UnsafeFileError, match="is stored in"):
        mn.open(tmp_path / "cell.png").read()


def test_a_tile_that_is_a_much_larger_jpeg_is_refused(tmp_path, most_memory):
    large = imagecodecs.jpeg8_encode(np.zeros((8000, 8000), np.uint8))
    options = {"shape": (64, 64), "dtype": "u1", "tile": (64, 64), "compression": "jpeg", "metadata": None}
    tifffile.imwrite(tmp_path / "cell.tif", iter([large]), photometric="minisblack", **options)
    with most_memory(LOTS // 2), pytest.raises(InputError, match="is stored in"):
        mn.open(tmp_path / "cell.tif").read()


def test_a_tiff_of_few_huge_tiles_is_refused_by_the_size_of_its_plane(tmp_path, most_memory, monkeypatch):
    tile = zlib.compress(bytes(2**24))
    options = {"shape": (16384, 16384), "dtype": "u1", "tile": (4096, 4096), "compression": "zlib", "metadata": None}
    tifffile.imwrite(tmp_path / "cell.tif", iter([tile] * 16), photometric="minisblack", **options)
    stack = mn.open(tmp_path / "cell.tif")
    monkeypatch.setenv("MEM_LIMIT", str(2**28))
    with most_memory(2 * LOTS), pytest.raises(TooLargeError, match="Reading 16384 x 16384 voxels"):
        np.asarray(stack.data[0])
    assert stack.data[0, :64, 5000:5050].sum() == 0  # one tile of it is no trouble


# --- zip files


def test_members_of_a_zip_lead_nowhere(tmp_path):
    folder = mn.save(mn.Stack(DATA[:2]), tmp_path / "cell.ome.zarr")
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    for name in ("../evil", "/etc/evil", "a/../../evil", "a\\..\\evil"):
        with zipfile.ZipFile(tmp_path / "cell.zip", "w") as archive:
            for member, data in (*files.items(), (name, b"")):
                archive.writestr(member, data)
        with pytest.raises(UnsafeFileError, match="lies outside of it"):
            mn.open(tmp_path / "cell.zip")
    link = zipfile.ZipInfo("0/0/0/0")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "cell.zip", "w") as archive:
        archive.writestr(".zattrs", files[".zattrs"])
        archive.writestr("0/.zarray", files["0/.zarray"])
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UnsafeFileError, match="has a link inside"):
        mn.open(tmp_path / "cell.zip")


@pytest.mark.parametrize("honest", [True, False])
def test_a_member_that_unpacks_to_far_more_takes_no_memory(tmp_path, honest, most_memory):
    folder = zarr2(tmp_path / "cell.zarr", None, None)
    with zipfile.ZipFile(tmp_path / "cell.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / ".zarray", ".zarray")
        archive.writestr("0.0.0", bytes(LOTS))
    if not honest:
        data = (tmp_path / "cell.zip").read_bytes()
        (tmp_path / "cell.zip").write_bytes(data.replace(struct.pack("<I", LOTS), struct.pack("<I", 4 * 64 * 64)))
    with most_memory(LOTS // 2):
        try:
            assert mn.open(tmp_path / "cell.zip").read().shape == (4, 64, 64)
        except UnsafeFileError:
            assert honest


def test_a_damaged_zip_raises_our_errors_only(tmp_path):
    folder = mn.save(mn.Stack(DATA[:2]), tmp_path / "cell.ome.zarr")
    path = tmp_path / "cell.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in folder.rglob("*"):
            archive.write(member, member.relative_to(folder))
    whole = path.read_bytes()
    dice = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        data = bytearray(whole)
        for at in dice.integers(len(data) - 1500, len(data), 3):
            data[at] = dice.integers(256)
        path.write_bytes(data)
        try:
            mn.open(path).read()
        except MitonbError:
            refused += 1
    assert refused > 5


# --- one guard at the door


def test_records_without_end_and_notes_of_wrong_types_are_our_errors(tmp_path):
    path = mn.save(mn.Labels(DATA[:2]), tmp_path / "labels.tif")
    record = tmp_path / "labels.tif.record.json"
    for text in ("[" * 200_000, '{"recipe": ' * 50_000, '{"recipe": "' + "x" * 2**24 + '"}', "\udcff", "[]"):
        record.write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(CorruptFileError, match=r"run record labels\.tif\.record\.json cannot be read"):
            mn.open_labels(path)
    for notes in (5, {"a": 1}, "text", [5, None, ["x"]], None):
        record.write_text(json.dumps({"recipe": {}, "notes": notes}))
        assert "objects" in repr(mn.open_labels(path))
        assert len(mn.Session(None, mn.open_labels(path)).labels.ids()) == 254


def test_names_that_are_too_long_are_named(tmp_path):
    long = tmp_path / ("x" * 300 + ".tif")
    for work in (mn.open, mn.open_labels, open_ids, lambda path: mn.save(mn.Stack(DATA[:2]), path)):
        with pytest.raises(InputError):
            work(long)
    with pytest.raises(InputError, match="the name is too long"):
        mn.save(mn.Stack(DATA[:2]), tmp_path / ("deep/" * 1500) / "cell.npy")
    with pytest.raises(InputError, match="the name is too long"):
        mn.save(mn.Labels(DATA[:2]), tmp_path / ("\u00fc" * 130 + ".tif"))


def test_a_fault_of_ours_is_no_damaged_file(tmp_path, monkeypatch):
    from mitonb.io import opening

    np.save(tmp_path / "cell.npy", DATA)
    monkeypatch.delattr(opening, "_read_file")
    with pytest.raises(NameError):
        mn.open(tmp_path / "cell.npy")
