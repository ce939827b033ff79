"""What is written is what is read: every dtype, byte order and format."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import tifffile

import mitonb as mn
from mitonb.errors import UnsupportedFormatError
from mitonb.io.opening import open_labels

DTYPES = [
    "bool",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "uint32",
    "int32",
    "uint64",
    "int64",
    "float16",
    "float32",
    "float64",
]
SAVED = [".tif", ".ome.tif", ".npy", ".npz", ".ome.zarr", ".nii", ".nii.gz", ".h5", ".planes"]
REFUSED = {
    ".ome.tif": ("OME-TIFF", "float16", "int64", "uint64"),
    ".nii": ("NIfTI", "float16"),
    ".nii.gz": ("NIfTI", "float16"),
    ".precomputed": ("Neuroglancer", "float16", "float64", "int64"),
}
"""Dtypes that a format does not have, after its name."""


def values(dtype: str, shape: tuple[int, ...] = (3, 5, 7)) -> np.ndarray:
    """Return a volume that holds the extremes of a dtype."""
    data = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    if np.dtype(dtype).kind in "ui":
        data[0, 0, :2] = np.iinfo(dtype).min, np.iinfo(dtype).max
    elif np.dtype(dtype).kind == "f":
        data[0, 0, :3] = np.nan, np.inf, -np.inf
    return data


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ending", [".npy", ".npz", ".tif", "array", "memmap"])
def test_every_dtype_and_byte_order_opens_as_its_native_copy(tmp_path, ending, dtype, order):
    want = values(dtype)
    foreign = want.astype(want.dtype.newbyteorder(order))
    path = tmp_path / f"cell{ending}"
    if ending in (".npy", "memmap"):
        path = path.with_suffix(".npy")
        np.save(path, foreign)
    elif ending == ".npz":
        np.savez(path, foreign)
    elif ending == ".tif":
        tifffile.imwrite(path, want, byteorder=order, photometric="minisblack", compression="zlib")
    source = {"array": foreign, "memmap": np.load(path, mmap_mode="r") if ending == "memmap" else None}.get(
        ending, path
    )
    stack = mn.open(source)
    assert stack.dtype == want.dtype
    assert stack.dtype.isnative
    np.testing.assert_array_equal(stack.read(), want)
    np.testing.assert_array_equal(stack.plane(4, "xz").image, want[:, 4])
    np.testing.assert_array_equal(stack.plane(-1, "yz").image, want[:, :, -1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ending", SAVED)
def test_every_dtype_is_saved_and_read_back_as_it_was(tmp_path, ending, dtype):
    want = values(dtype)
    stack = mn.Stack(want, (40.0, 8.0, 7.25))
    if dtype in REFUSED.get(ending, ()):
        with pytest.raises(UnsupportedFormatError, match=rf"{REFUSED[ending][0]} has no {dtype}\. Save as"):
            mn.save(stack, tmp_path / f"cell{ending}")
        assert not list(tmp_path.iterdir())
        return
    path = mn.save(stack, tmp_path / f"cell{ending}")
    found = mn.open(path)
    expected = "uint8" if dtype == "bool" and ending not in (".npy", ".npz", ".ome.zarr", ".h5") else dtype
    assert found.dtype.name == expected
    np.testing.assert_array_equal(found.read(), want)
    assert found.voxel_size == pytest.approx((40.0, 8.0, 7.25))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_zarr_python_reads_what_is_written(tmp_path, dtype, version):
    zarr = pytest.importorskip("zarr")
    want = values(dtype)
    path = mn.save(mn.Stack(want), tmp_path / "cell.ome.zarr", version=version)
    group = zarr.open_group(path, mode="r")
    assert group.metadata.zarr_format == (2 if version == "0.4" else 3)
    np.testing.assert_array_equal(group["0"][:], want)
    np.testing.assert_array_equal(mn.open(path).read(), want)


@pytest.mark.parametrize("ending", SAVED)
@pytest.mark.parametrize("highest", [255, 300, 65535, 65536, 2**24 + 1, 2**32 - 1])
def test_ids_survive_every_format(tmp_path, ending, highest):
    ids = np.zeros((2, 4, 5), np.uint32)
    ids[0, 0, 0], ids[1, 3, 4] = highest, highest - 1
    labels = mn.Labels(ids, (30.0, 6.0, 6.0), record={"recipe": {}, "format": "mitonb-run-record"})
    found = open_labels(mn.save(labels, tmp_path / f"cell{ending}"))
    assert found.data.dtype == np.uint32
    np.testing.assert_array_equal(found.data, ids)
    assert found.voxel_size == pytest.approx((30.0, 6.0, 6.0))
    assert found.record == labels.record


def test_seventy_thousand_labels_stay_seventy_thousand(tmp_path):
    ids = np.arange(1, 70_001, dtype=np.uint32).reshape(1, 250, 280)
    for ending in SAVED:
        found = open_labels(mn.save(mn.Labels(ids), tmp_path / f"many{ending}"))
        assert len(found.ids()) == 70_000


def test_labels_in_tiff_are_16_bit_for_imagej_where_all_ids_fit(tmp_path, ids):
    with tifffile.TiffFile(mn.save(mn.Labels(ids, (30, 6, 6)), tmp_path / "small.tif")) as file:
        assert file.is_imagej
        assert file.series[0].dtype == np.uint16
        assert file.imagej_metadata["unit"] == "nm"
        assert file.imagej_metadata["spacing"] == 30
    with tifffile.TiffFile(mn.save(mn.Labels(ids * 2), tmp_path / "large.tif")) as file:
        assert not file.is_imagej
        assert file.series[0].dtype == np.uint32


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd", "packbits"])
@pytest.mark.parametrize("tile", [None, (32, 16)])
def test_tiled_and_compressed_tiffs_open(tmp_path, compression, tile):
    want = np.random.default_rng(1).integers(0, 50, (4, 70, 90)).astype(np.uint16)
    path = tmp_path / "cell.tif"
    tifffile.imwrite(path, want, tile=tile, compression=compression, photometric="minisblack", bigtiff=True)
    stack = mn.open(path)
    np.testing.assert_array_equal(stack.read(), want)
    np.testing.assert_array_equal(stack.data[1:3, 60:20:-3, -1], want[1:3, 60:20:-3, -1])


@pytest.mark.parametrize("order", ["F", "reversed", "strided", "transposed", "masked"])
def test_odd_arrays_give_the_same_voxels_as_a_plain_copy(order):
    base = np.arange(6 * 8 * 10, dtype=np.int16).reshape(6, 8, 10)
    array = {
        "F": np.asfortranarray(base),
        "reversed": base[::-1, :, ::-1],
        "strided": base[::2, 1:7, ::3],
        "transposed": base[::-1, ::2].T,
        "masked": np.ma.masked_greater(base, 100),
    }[order]
    want = array.filled(0) if order == "masked" else np.ascontiguousarray(array)
    np.testing.assert_array_equal(mn.open(array).read(), want)


class Lazy:
    """Something with a shape, a dtype and slicing, like a dask array; it counts what it hands out."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, 0

    def __getitem__(self, key: object) -> np.ndarray:
        part = self.array[key]
        self.read += part.size
        return part


def test_a_lazy_array_is_read_plane_by_plane():
    lazy = Lazy(np.arange(20 * 30 * 40, dtype=np.uint8).reshape(20, 30, 40))
    stack = mn.open(lazy)
    assert lazy.read == 0
    np.testing.assert_array_equal(stack.plane(3, "xz").image, lazy.array[:, 3])
    assert lazy.read <= 20 * 40 + 9 * 30 * 40  # the plane, and nine planes for the contrast


def write_in_order(path, data, order):
    """Write a container of another program in a byte order; return its path, or None where it has no such dtype."""
    kind, foreign = path.name, data.astype(data.dtype.newbyteorder(order))
    if kind == "cell.h5":
        with pytest.importorskip("h5py").File(path, "w") as file:
            file["raw"] = foreign
    elif kind == "cell.zarr":
        path.mkdir()
        text = {"b": "|b1", "u": "<u", "i": "<i", "f": "<f"}[data.dtype.kind]
        text = text if len(text) == 3 else f"{text.replace('<', order)}{data.dtype.itemsize}"
        facts = {"zarr_format": 2, "shape": data.shape, "chunks": data.shape, "dtype": text, "compressor": None}
        (path / ".zarray").write_text(json.dumps(facts | {"fill_value": None, "filters": None, "order": "C"}))
        (path / "0.0.0").write_bytes(foreign.tobytes())
    elif kind == "cell.n5" and order == ">" and data.dtype.name not in ("bool", "float16"):  # always big
        (path / "0" / "0").mkdir(parents=True)
        facts = {"dimensions": data.shape[::-1], "blockSize": data.shape[::-1], "dataType": data.dtype.name}
        (path / "attributes.json").write_text(json.dumps(facts | {"compression": {"type": "raw"}}))
        head = struct.pack(">HHIII", 0, 3, *data.shape[::-1])
        (path / "0" / "0" / "0").write_bytes(head + foreign.tobytes())
    elif kind == "cell.nii" and data.dtype.name not in ("bool", "float16"):
        nibabel = pytest.importorskip("nibabel")
        header = nibabel.Nifti1Header(endianness=order)
        header.set_data_dtype(data.dtype.newbyteorder(order))
        header.set_data_shape(data.shape[::-1])
        header.set_data_offset(352)
        path.write_bytes(header.binaryblock + bytes(4) + foreign.tobytes())
    elif kind == "cell.mrc" and data.dtype.name in ("int8", "int16", "uint16", "float16", "float32"):
        with pytest.importorskip("mrcfile").new(path) as file:
            file.set_data(np.zeros_like(foreign))  # of NaN and of large numbers it warns
            file.data[:] = foreign
    return path if path.exists() else None


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["cell.h5", "cell.zarr", "cell.n5", "cell.nii", "cell.mrc"])
def test_every_dtype_and_byte_order_of_other_programs_opens_as_its_native_copy(tmp_path, kind, dtype, order):
    want = values(dtype)
    path = write_in_order(tmp_path / kind, want, order)
    if path is None:
        return  # the format has no such dtype or order
    stack = mn.open(path)
    assert (stack.dtype, stack.dtype.isnative) == (want.dtype, True)
    np.testing.assert_array_equal(stack.read(), want)
    np.testing.assert_array_equal(stack.plane(-1, "yz").image, want[:, :, -1])
    assert (mn.info(path).dtype, mn.info(path).shape) == (want.dtype, want.shape)
