"""Damaged files raise our own errors or open as what their header says; nothing else ever reaches the user."""

from __future__ import annotations

import os
import random
import re
import shutil
import time
import zipfile

import numpy as np
import psutil
import pytest
import tifffile
from PIL import Image

import mitonb as mn
from mitonb.errors import MitonbError
from tests.io.test_remote import write_n5

DATA = np.random.default_rng(0).integers(0, 200, (4, 24, 20)).astype(np.uint16)
TRIES = int(os.environ.get("MITONB_DAMAGED", "60"))
"""Damaged files of each kind; 20,000 before a release."""


def write(path, kind):
    """Write a small whole file of a kind and return its bytes."""
    black = {"photometric": "minisblack"}
    if kind == "plain.tif":
        tifffile.imwrite(path, DATA, **black)
    elif kind == "tiled.tif":
        tifffile.imwrite(path, DATA, compression="zlib", tile=(16, 16), **black)
    elif kind == "imagej.tif":
        tifffile.imwrite(path, DATA, imagej=True, metadata={"axes": "ZYX", "unit": "nm"}, resolution=(0.1, 0.1))
    elif kind == "cell.ome.tif":
        tifffile.imwrite(path, DATA, ome=True, compression="lzw", metadata={"axes": "ZYX"}, **black)
    elif kind == "cell.npy":
        np.save(path, DATA)
    elif kind == "cell.npz":
        np.savez_compressed(path, DATA)
    elif kind.endswith((".nii", ".nii.gz", ".h5")):
        pytest.importorskip("h5py" if kind.endswith(".h5") else "nibabel")
        mn.save(mn.Stack(DATA, (40.0, 8.0, 7.0)), path)
    elif kind.endswith(".nrrd"):
        nrrd = pytest.importorskip("nrrd")
        facts = {"space dimension": 3, "space units": ["nm"] * 3, "space directions": np.diag([7.0, 8.0, 40.0])}
        nrrd.write(str(path), DATA.T, facts | {"encoding": "gzip" if kind == "packed.nrrd" else "raw"})
    elif kind == "cell.mrc":
        with pytest.importorskip("mrcfile").new(path) as file:
            file.set_data(DATA)
    else:
        Image.fromarray(DATA[0].astype(np.uint8)).save(path)
    return path.read_bytes()


def damaged(whole: bytes, dice: random.Random) -> bytes:
    """Return a file with flipped bits, other bytes in its header, an extreme number, a cut, or a part moved."""
    data = bytearray(whole)
    how = dice.choice(["flip", "head", "extreme", "cut", "move"])
    if how == "flip":
        for _ in range(dice.randint(1, 6)):
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    elif how == "head":
        for _ in range(dice.randint(1, 4)):
            data[dice.randrange(min(400, len(data)))] = dice.randrange(256)
    elif how == "extreme":
        at = dice.randrange(len(data) - 4)
        data[at : at + 4] = dice.choice([b"\xff\xff\xff\xff", bytes(4), b"\xff\xff\xff\x7f", b"\0\0\0\x80"])
    elif how == "cut":
        data = data[: dice.randrange(len(data))]
    else:
        a, b, n = dice.randrange(len(data)), dice.randrange(len(data)), dice.randrange(64)
        data[a : a + n] = data[b : b + n]
    return bytes(data)


KINDS = [
    "plain.tif", "tiled.tif", "imagej.tif", "cell.ome.tif", "cell.npy", "cell.npz", "cell.png", "cell.jpg", "cell.mrc",
    "cell.h5", "cell.nii", "cell.nii.gz", "cell.nrrd", "packed.nrrd",
]  # fmt: skip
STORES = ["zarr 0.4", "zarr 0.5", "zipped zarr", "n5", "precomputed", "compressed_segmentation", "jpeg"]


def write_store(path, kind):
    """Write a small store and return its files, with their bytes."""
    if kind == "n5":
        write_n5(path, DATA.astype(np.uint8), levels=2)
    elif kind == "compressed_segmentation":
        mn.save(mn.Labels((DATA > 100).astype(np.uint32)), path.with_suffix(".precomputed")).rename(path)
        shutil.rmtree(path / "mesh")
    elif kind in ("precomputed", "jpeg"):
        mn.save(mn.Stack(DATA.astype(np.uint8)), path.with_suffix(".precomputed")).rename(path)
        if kind == "jpeg":  # blocks that are none, but for those that a mutation makes
            info = path / "info"
            info.write_text(info.read_text().replace('"raw"', '"jpeg"'))
            plane = DATA[:4].astype(np.uint8).reshape(96, 20)
            Image.fromarray(plane).save(next((path / "1_1_1").iterdir()), "jpeg")
    else:
        mn.save(mn.Stack(DATA, (40.0, 8.0, 7.0)), path.with_suffix(".zarr"), version=kind[-3:]).rename(path)
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


def mutated(whole: bytes, dice: random.Random) -> bytes:
    """Damage a file of a store: of metadata, also a number or a word becomes another one."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?|\"[\w./ ]+\"", whole)) if whole[:1] == b"{" else []
    if not found or dice.random() < 0.3:
        return damaged(whole, dice)
    one = dice.choice(found)
    other = dice.choice([b"0", b"-1", b"1e999", b"4294967296", b"9223372036854775807", b"null", b"[]", b'"../x"', b'""',
                         b'"gzip"', b'"uint64"', dice.choice(found)[0]])  # fmt: skip
    return whole[: one.start()] + other + whole[one.end() :]


def refusals(path, mutations):
    """Read a path after each mutation; return what was refused. Nothing may take long or much memory."""
    refused, process = [], psutil.Process()
    before = process.memory_info().rss
    for _ in mutations:
        start = time.monotonic()
        try:
            stack = mn.open(path)
            if np.prod(stack.shape, dtype=float) < 2**24:
                assert stack.read().shape == stack.shape
            else:  # as large as its header says, of blocks that are not there
                np.asarray(stack.data[0, :8, :8])
        except MitonbError as error:
            refused.append(str(error))
        assert time.monotonic() - start < 5
    assert process.memory_info().rss - before < 2**30
    return refused


@pytest.mark.filterwarnings("ignore::Warning")  # libraries warn about damage in many ways; we look at what is raised
@pytest.mark.parametrize("kind", KINDS)
def test_only_our_own_errors_come_out_of_damaged_files(tmp_path, kind):
    dice = random.Random(kind)
    whole = write(tmp_path / kind, kind)
    refused = refusals(tmp_path / kind, ((tmp_path / kind).write_bytes(damaged(whole, dice)) for _ in range(TRIES)))
    assert len(refused) > 5
    assert all(refused)


@pytest.mark.parametrize("kind", STORES)
def test_only_our_own_errors_come_out_of_damaged_stores(tmp_path, kind):
    dice, path = random.Random(kind), tmp_path / "cell"
    files = write_store(path, "zarr 0.4" if kind == "zipped zarr" else kind)

    def mutations():
        for _ in range(TRIES):
            file = dice.choice(sorted(files))
            file.write_bytes(mutated(files[file], dice))
            if kind == "zipped zarr":
                with zipfile.ZipFile(tmp_path / "cell.zip", "w") as archive:
                    for member in files:
                        archive.write(member, member.relative_to(path))
            yield
            file.write_bytes(files[file])

    refused = refusals(tmp_path / "cell.zip" if kind == "zipped zarr" else path, mutations())
    assert len(refused) > 5
    assert all(refused)


@pytest.mark.parametrize("part", [0.3, 0.9, 0.999])
def test_a_jpeg_that_was_cut_off_is_not_filled_with_grey(tmp_path, part):
    Image.fromarray(DATA[0].astype(np.uint8)).save(tmp_path / "plane.jpg")
    data = (tmp_path / "plane.jpg").read_bytes()
    (tmp_path / "plane.jpg").write_bytes(data[: int(len(data) * part)])
    with pytest.raises(MitonbError):
        mn.open(tmp_path / "plane.jpg").read()
    (tmp_path / "plane.jpg").write_bytes(data + b"\0" * 5000)  # a copy in whole sectors
    assert mn.open(tmp_path / "plane.jpg").read().shape == (1, 24, 20)
