"""What a file holds is said from its headers: no voxel is read, whatever its size."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

import mitonb as mn
from mitonb.cli import main
from mitonb.errors import InputError
from tests.io.test_remote import write_n5
from tests.serving import serving


def test_of_a_pyramid_blocks_levels_and_places_are_said(tmp_path):
    path = mn.save(mn.Stack(np.zeros((20, 300, 310), np.uint8), (40, 8, 8)), tmp_path / "cell.ome.zarr")
    found = mn.info(path)
    assert (found.kind, found.axes, found.shape, found.voxel_size) == (
        "OME-Zarr 0.4",
        "zyx",
        (20, 300, 310),
        (40, 8, 8),
    )
    assert (found.blocks, found.block_bytes, found.bytes) == ((16, 256, 256), 2**20, 1_860_000)
    assert [(one.shape, one.voxel_size, one.origin) for one in found.levels][:1] == [
        ((20, 150, 155), (40, 16, 16), (0, 4, 4))
    ]
    assert "blocks      16 x 256 x 256, each 1.0 MiB when decoded" in str(found)


def test_a_huge_sparse_store_is_described_at_once(tmp_path):
    folder = tmp_path / "huge.zarr"
    folder.mkdir()
    facts = {"zarr_format": 2, "shape": [10**6, 10**5, 10**5], "chunks": [64, 64, 64], "dtype": "<u2", "filters": None}
    (folder / ".zarray").write_text(json.dumps(facts | {"compressor": None, "fill_value": 0, "order": "C"}))
    found = mn.info(folder)
    assert (found.bytes, found.dtype) == (2 * 10**16, np.uint16)
    assert "size        17.8 PiB as voxels" in str(found)


def test_what_series_can_be_is_listed(tmp_path, volume):
    np.savez(tmp_path / "two.npz", image=volume, labels=volume > 3)
    found = mn.info(tmp_path / "two.npz")
    assert [(one.series, one.shape, one.dtype) for one in found.members] == [
        ("image", (3, 5, 7), "uint8"),
        ("labels", (3, 5, 7), "bool"),
    ]
    assert (found.kind, found.shape) == ("", ())
    assert mn.info(tmp_path / "two.npz", series="labels").dtype == bool
    path = write_n5(tmp_path / "cell.n5" / "em" / "raw").parents[1]
    found = mn.info(path)
    assert [one.series for one in found.members] == ["em/raw"]  # one image, and not each of its resolutions
    assert "series='em/raw'" in found.notes[0]
    opened = mn.open(path, series="em/raw")
    assert (opened.shape, len(opened.levels)) == (found.members[0].shape, 3)
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "cell.h5", "w") as file:
        file["raw"], file["labels/mito"] = volume, volume > 5
    assert [one.series for one in mn.info(tmp_path / "cell.h5").members] == ["labels/mito", "raw"]


def test_nothing_is_read_but_headers(tmp_path, monkeypatch):
    data = np.zeros((4, 5, 6, 3), np.uint16)
    tifffile.imwrite(tmp_path / "colour.tif", data, photometric="rgb", compression="zlib")
    mn.save(mn.Stack(data[..., 0]), tmp_path / "cell.ome.zarr")
    monkeypatch.setattr("mitonb.io.arrays.Lazy.__getitem__", lambda *_: pytest.fail("a voxel was read"))
    assert mn.info(tmp_path / "colour.tif").axes[-1] == "s"
    assert mn.info(tmp_path / "cell.ome.zarr").shape == (4, 5, 6)
    np.save(tmp_path / "five.npy", np.zeros((2, 2, 4, 5, 6), np.uint8))
    doubtful = mn.info(tmp_path / "five.npy")
    assert (doubtful.axes, doubtful.shape) == ("?????", (2, 2, 4, 5, 6))
    assert "does not say what they are" in doubtful.notes[0]
    assert mn.info(tmp_path / "five.npy", axes="tczyx").axes == "tczyx"
    with pytest.raises(InputError, match="There is no"):
        mn.info(tmp_path / "none.tif")


def test_the_command_prints_it_for_people_and_programs_from_the_network_too(tmp_path, capsys):
    write_n5(tmp_path / "cell.n5" / "raw")
    with serving(tmp_path) as server:
        assert main(["info", f"{server.address}/cell.n5/raw", "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert main(["info", f"{server.address}/cell.n5/raw"]) == 0
    assert (facts["shape"], facts["voxel_size"], facts["bytes"]) == ([20, 70, 90], [5.24, 4, 4], 126_000)
    assert "level 2     5 x 18 x 23, 20.96 x 16 x 16 nm (z, y, x), begins at 7.86 x 6 x 6 nm" in capsys.readouterr().out
