"""OME-Zarr: two versions, levels, blocks that must be there, and nothing outside the folder."""

from __future__ import annotations

import json

import numpy as np
import pytest

import mitonb as mn
from mitonb.errors import AxesError, CorruptFileError, InputError, UnsafeFileError
from mitonb.io.opening import open_labels
from mitonb.io.zarr import read_store

VERSIONS = ["0.4", "0.5"]


@pytest.fixture
def blocks() -> np.ndarray:
    """(20, 300, 310) uint8: four blocks and a bit on each axis, zeros in one."""
    data = np.random.default_rng(0).integers(1, 255, (20, 300, 310)).astype(np.uint8)
    data[:16, :256, :256] = 0
    return data


@pytest.mark.parametrize("version", VERSIONS)
def test_the_pyramid_averages_images(tmp_path, version):
    data = np.zeros((2, 4, 4), np.uint8)
    data[0, :2, :2] = [[10, 20], [30, 41]]
    path = mn.save(mn.Stack(data, (50, 5, 5)), tmp_path / "cell.ome.zarr", version=version)
    half = mn.open(path, series=1)
    assert half.shape == (2, 2, 2)
    assert half.voxel_size == (50, 10, 10)
    assert half.data[0][0].tolist() == [25, 0]  # (10 + 20 + 30 + 41) / 4
    with pytest.raises(InputError, match=r"resolution levels 0 \(finest\) to 1, got series=2"):
        mn.open(path, series=2)


def test_isotropic_volumes_are_reduced_along_z_too(tmp_path):
    path = mn.save(mn.Stack(np.zeros((8, 8, 8), np.uint8), (8, 8, 8)), tmp_path / "cell.ome.zarr")
    assert mn.open(path, series=1).shape == (4, 4, 4)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_pyramid_of_labels_invents_no_id(tmp_path, version):
    ids = np.random.default_rng(0).choice(np.array([0, 7, 70_000, 2**32 - 1], np.uint32), (4, 300, 300))
    path = mn.save(mn.Labels(ids, (8, 8, 8)), tmp_path / "cell.ome.zarr", version=version)
    half = open_labels(path, series=1)
    assert half.data.dtype == np.uint32
    np.testing.assert_array_equal(half.data, ids[::2, ::2, ::2])


@pytest.mark.parametrize("version", VERSIONS)
def test_large_volumes_survive_their_blocks(tmp_path, blocks, version):
    path = mn.save(mn.Stack(blocks), tmp_path / "cell.ome.zarr", version=version)
    np.testing.assert_array_equal(mn.open(path).read(), blocks)
    np.testing.assert_array_equal(mn.open(path).data[::-3, 250:260, -1], blocks[::-3, 250:260, -1])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_lost_block_of_labels_is_an_error_never_zeros(tmp_path, blocks, version):
    path = mn.save(mn.Labels(blocks.astype(np.uint32)), tmp_path / "cell.ome.zarr", version=version)
    block = path / "0" / ("0/0/0" if version == "0.4" else "c/0/0/0")
    assert block.is_file()
    block.unlink()
    with pytest.raises(CorruptFileError, match=r"lacks a block.*Restore the file"):
        open_labels(path)
    with pytest.raises(CorruptFileError, match="lacks a block"):
        mn.open(path)


def foreign(path, data, **attributes):
    """Write an OME-Zarr as zarr-python does, which leaves blocks of zeros out."""
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("0", shape=data.shape, chunks=(16, 256, 256), dtype=data.dtype, fill_value=0)[:] = data
    axes = [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"]
    scale = [{"type": "scale", "scale": [0.04, 0.008, 0.007]}]
    image = {"version": "0.4", "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    group.attrs.update({"multiscales": [image], **attributes})
    return path


def test_images_of_other_programs_may_leave_empty_blocks_out(tmp_path, blocks):
    path = foreign(tmp_path / "cell.ome.zarr", blocks)
    assert not (path / "0" / "0.0.0").exists()
    stack = mn.open(path)
    np.testing.assert_array_equal(stack.read(), blocks)
    assert stack.voxel_size == pytest.approx((40, 8, 7))


def test_labels_of_other_programs_ask_before_they_are_taken_as_empty(tmp_path, blocks):
    path = foreign(tmp_path / "cell.ome.zarr", blocks)
    with pytest.raises(CorruptFileError, match="empty_blocks=True"):
        open_labels(path)
    np.testing.assert_array_equal(open_labels(path, empty_blocks=True).data, blocks)


def test_labels_inside_an_image_are_found(tmp_path, volume, ids):
    path = mn.save(mn.Stack(volume), tmp_path / "cell.ome.zarr")
    (path / "labels").mkdir()
    mn.save(mn.Labels(ids), path / "labels" / "mito.zarr")
    (path / "labels" / ".zgroup").write_text('{"zarr_format": 2}')
    (path / "labels" / ".zattrs").write_text('{"labels": ["mito.zarr"]}')
    np.testing.assert_array_equal(open_labels(path).data, ids)
    np.testing.assert_array_equal(mn.open(path).read(), volume)
    np.testing.assert_array_equal(mn.open(path, series="labels/mito.zarr").read(), ids)


@pytest.mark.parametrize("name", ["../other.ome.zarr/0", "/etc", "link"])
def test_a_file_that_points_outside_is_refused(tmp_path, volume, name):
    mn.save(mn.Stack(volume), tmp_path / "other.ome.zarr")
    path = mn.save(mn.Stack(volume), tmp_path / "cell.ome.zarr")
    (path / "link").symlink_to(tmp_path / "other.ome.zarr" / "0")
    attributes = json.loads((path / ".zattrs").read_text())
    attributes["multiscales"][0]["datasets"][0]["path"] = name
    (path / ".zattrs").write_text(json.dumps(attributes))
    with pytest.raises(UnsafeFileError, match="lies outside"):
        mn.open(path)


def test_plain_arrays_and_groups_without_an_image(tmp_path, volume):
    path = mn.save(mn.Stack(volume), tmp_path / "cell.ome.zarr")
    np.testing.assert_array_equal(mn.open(path / "0").read(), volume)
    (path / ".zattrs").write_text("{}")
    with pytest.raises(InputError, match=r"zarr group without an image. Inside are: series='0'"):
        mn.open(path)
    np.testing.assert_array_equal(mn.open(path, series="0").read(), volume)


def test_a_5d_file_asks_for_channel_and_time(tmp_path):
    zarr = pytest.importorskip("zarr")
    data = np.arange(2 * 3 * 4 * 5 * 6, dtype=np.uint16).reshape(2, 3, 4, 5, 6)
    group = zarr.open_group(tmp_path / "five.ome.zarr", mode="w", zarr_format=3)
    group.create_array("s0", data=data, chunks=(1, 1, 2, 5, 6))
    kinds = {"t": "time", "c": "channel"}
    axes = [
        {"name": a, "type": kinds.get(a, "space"), **({} if a in kinds else {"unit": "nanometer"})} for a in "tczyx"
    ]
    scale = [{"type": "scale", "scale": [1, 1, 30, 5, 5]}]
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [{"axes": axes, "datasets": [{"path": "s0", "coordinateTransformations": scale}]}],
    }
    with pytest.raises(AxesError, match=r"time 2, channel 3, z 4, y 5, x 6"):
        mn.open(tmp_path / "five.ome.zarr")
    stack = mn.open(tmp_path / "five.ome.zarr", channel=2, time=1)
    assert stack.voxel_size == (30, 5, 5)
    np.testing.assert_array_equal(stack.read(), data[1, 2])


@pytest.mark.parametrize("version", VERSIONS)
def test_damaged_metadata_and_blocks_are_named(tmp_path, blocks, version):
    path = mn.save(mn.Stack(blocks), tmp_path / "cell.ome.zarr", version=version)
    block = path / "0" / ("1/1/1" if version == "0.4" else "c/1/1/1")
    block.write_bytes(block.read_bytes()[:20])
    with pytest.raises(CorruptFileError, match="a block is damaged"):
        mn.open(path).read()
    (path / ("0/.zarray" if version == "0.4" else "0/zarr.json")).write_text("{")
    with pytest.raises(CorruptFileError, match="cannot be read"):
        mn.open(path)


def test_a_wrong_version_is_refused(tmp_path, volume):
    with pytest.raises(InputError, match=r"version '0.4' or '0.5', got '0.1'"):
        mn.save(mn.Stack(volume), tmp_path / "cell.ome.zarr", version="0.1")
    assert list(tmp_path.iterdir()) == []


def test_kind_axes_blocks_and_size_are_known(tmp_path, blocks):
    found = read_store(mn.save(mn.Stack(blocks, (40, 8, 8)), tmp_path / "cell.ome.zarr"))
    assert (found.kind, found.axes, found.spacing) == ("OME-Zarr 0.4", "zyx", {"z": 40, "y": 8, "x": 8})
    assert found.data.blocks == (16, 256, 256)


def test_an_unknown_voxel_size_stays_unknown(tmp_path, volume):
    path = mn.save(mn.Stack(volume), tmp_path / "cell.ome.zarr")
    assert mn.open(path).voxel_size is None
    assert read_store(path).spacing == {}
