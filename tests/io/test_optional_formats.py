"""MRC and HDF5, where their packages are installed."""

from __future__ import annotations

import numpy as np
import pytest

import mitonb as mn
from mitonb.errors import AxesError, CorruptFileError, InputError, UnsafeFileError


@pytest.fixture
def h5py():
    return pytest.importorskip("h5py", reason="h5py is an extra")


@pytest.fixture
def mrcfile():
    return pytest.importorskip("mrcfile", reason="mrcfile is an extra")


def test_the_only_volume_of_an_hdf5_file_opens(tmp_path, h5py):
    data = np.random.default_rng(0).integers(0, 60_000, (9, 20, 30)).astype(">u2")
    with h5py.File(tmp_path / "cell.h5", "w") as file:
        dataset = file.create_dataset("volumes/raw", data=data, chunks=(4, 8, 8), compression="gzip")
        dataset.attrs["element_size_um"] = [0.04, 0.008, 0.008]
        file["table"] = np.arange(5)
    stack = mn.open(tmp_path / "cell.h5")
    assert stack.voxel_size == pytest.approx((40, 8, 8))
    assert stack.dtype.isnative
    np.testing.assert_array_equal(stack.read(), data)
    np.testing.assert_array_equal(stack.data[::-2, 5, 3:9], data[::-2, 5, 3:9])
    assert stack.data.blocks == (4, 8, 8)


def test_several_volumes_ask_which(tmp_path, h5py, volume):
    with h5py.File(tmp_path / "cell.h5", "w") as file:
        file["raw"], file["labels/mito"] = volume, volume > 5
    with pytest.raises(InputError, match=r"2 arrays \(labels/mito, raw\). Choose one with series='name'"):
        mn.open(tmp_path / "cell.h5")
    np.testing.assert_array_equal(mn.open(tmp_path / "cell.h5", series="raw").read(), volume)
    with pytest.raises(InputError, match=r"no array 'row'"):
        mn.open(tmp_path / "cell.h5", series="row")


def test_hdf5_never_leads_to_other_files(tmp_path, h5py, volume):
    (tmp_path / "secret.raw").write_bytes(bytes(105))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["raw"] = volume
    with h5py.File(tmp_path / "external.h5", "w") as file:
        file.create_dataset("raw", (3, 5, 7), np.uint8, external=[(str(tmp_path / "secret.raw"), 0, 105)])
    with pytest.raises(UnsafeFileError, match="voxels in other files"):
        mn.open(tmp_path / "external.h5")
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["raw"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "raw")
    with pytest.raises(InputError, match="no image"):
        mn.open(tmp_path / "link.h5")
    with pytest.raises(InputError, match="no array 'raw' of its own"):
        mn.open(tmp_path / "link.h5", series="raw")
    layout = h5py.VirtualLayout((3, 5, 7), np.uint8)
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "raw", (3, 5, 7))
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("raw", layout)
    with pytest.raises(UnsafeFileError, match="voxels in other files"):
        mn.open(tmp_path / "virtual.h5")


def test_a_cut_off_hdf5_is_refused(tmp_path, h5py):
    with h5py.File(tmp_path / "cell.h5", "w") as file:
        file["raw"] = np.zeros((10, 50, 50), np.uint8)
    data = (tmp_path / "cell.h5").read_bytes()
    (tmp_path / "cell.h5").write_bytes(data[: len(data) // 2])
    with pytest.raises(CorruptFileError):
        mn.open(tmp_path / "cell.h5")


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "float32", "float16"])
def test_mrc_volumes_open_with_their_voxel_size(tmp_path, mrcfile, dtype):
    data = np.arange(60).reshape(3, 4, 5).astype(dtype)
    with mrcfile.new(tmp_path / "cell.mrc") as file:
        file.set_data(data)
        file.voxel_size = (70.0, 80.0, 400.0)  # x, y, z in Angstrom
    stack = mn.open(tmp_path / "cell.mrc")
    assert stack.voxel_size == pytest.approx((40, 8, 7))
    assert stack.dtype == dtype
    np.testing.assert_array_equal(stack.read(), data)


def test_an_mrc_without_a_voxel_size_is_unknown(tmp_path, mrcfile):
    with mrcfile.new(tmp_path / "cell.mrc") as file:
        file.set_data(np.zeros((3, 4, 5), np.int16))
    assert mn.open(tmp_path / "cell.mrc").voxel_size is None


def test_several_mrc_volumes_in_a_row_ask_which(tmp_path, mrcfile):
    with mrcfile.new(tmp_path / "cell.mrcs") as file:
        file.set_data(np.zeros((2, 3, 4, 5), np.int16))
    with pytest.raises(AxesError, match="not space, channel or time"):
        mn.open(tmp_path / "cell.mrcs")
    assert mn.open(tmp_path / "cell.mrcs", axes="tzyx", time=1).shape == (3, 4, 5)


@pytest.mark.filterwarnings("ignore::RuntimeWarning:mrcfile")  # it says that the file is cut; we raise
def test_a_cut_off_mrc_is_refused(tmp_path, mrcfile):
    with mrcfile.new(tmp_path / "cell.mrc") as file:
        file.set_data(np.zeros((10, 40, 50), np.int16))
    data = (tmp_path / "cell.mrc").read_bytes()
    (tmp_path / "cell.mrc").write_bytes(data[: len(data) // 2])
    with pytest.raises(CorruptFileError):
        mn.open(tmp_path / "cell.mrc")
