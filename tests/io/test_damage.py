"""Damaged files raise our own errors or open as what their header says; nothing else ever reaches the user."""

from __future__ import annotations

import random

import numpy as np
import pytest
import tifffile
from PIL import Image

import mitonb as mn
from mitonb.errors import MitonbError

DATA = np.random.default_rng(0).integers(0, 200, (4, 24, 20)).astype(np.uint16)


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


KINDS = ["plain.tif", "tiled.tif", "imagej.tif", "cell.ome.tif", "cell.npy", "cell.npz", "cell.png", "cell.jpg"]


@pytest.mark.filterwarnings("ignore::Warning")  # libraries warn about damage in many ways; we look at what is raised
@pytest.mark.parametrize("kind", KINDS)
def test_only_our_own_errors_come_out_of_damaged_files(tmp_path, kind):
    dice = random.Random(kind)
    whole = write(tmp_path / kind, kind)
    refused = []
    for _ in range(60):
        (tmp_path / kind).write_bytes(damaged(whole, dice))
        try:
            stack = mn.open(tmp_path / kind)
            assert stack.read().shape == stack.shape
        except MitonbError as error:
            refused.append(str(error))
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
