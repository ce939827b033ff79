"""HDF5 as other programs lay it out, and NRRD."""

from __future__ import annotations

import bz2
import gzip
import json

import numpy as np
import pytest

import mitonb as mn
from mitonb.errors import (
    CorruptFileError,
    InputError,
    MitonbError,
    TooLargeError,
    UnsafeFileError,
    UnsupportedFormatError,
)

DATA = np.random.default_rng(0).integers(0, 60_000, (6, 20, 30)).astype(np.uint16)


@pytest.fixture
def h5py():
    return pytest.importorskip("h5py", reason="h5py is an extra")


@pytest.fixture
def nrrd():
    return pytest.importorskip("nrrd", reason="pynrrd is an extra")


# --- HDF5


def write_big_data(path, h5py, views=1):
    """As BigDataViewer: 16 bits without a sign are kept as int16, factors of the levels are x, y, z."""
    with h5py.File(path, "w") as file:
        for view in range(views):
            file[f"s{view:02}/resolutions"] = [[1.0, 1.0, 1.0], [2.0, 2.0, 1.0]]
            file[f"s{view:02}/subdivisions"] = [[16, 16, 4], [16, 16, 4]]
            for k, part in enumerate((DATA, DATA[:, ::2, ::2])):
                options = {"chunks": (4, 8, 8), "compression": "gzip"}
                file.create_dataset(f"t00000/s{view:02}/{k}/cells", data=part.view(np.int16), **options)
    return path


def test_bigdataviewer_opens_with_its_levels_and_unsigned_greys(tmp_path, h5py):
    stack = mn.open(write_big_data(tmp_path / "cell.h5", h5py))
    assert stack.dtype == np.uint16
    np.testing.assert_array_equal(stack.read(), DATA)
    half = stack.at_level(1)
    assert half.shape == (6, 10, 15)
    assert stack.levels[1].offset == (0, 0.5, 0.5)
    np.testing.assert_array_equal(half.read(), DATA[:, ::2, ::2])
    assert any("stands in their XML" in note for note in stack.notes)
    assert len(mn.info(tmp_path / "cell.h5").levels) == 1
    with pytest.raises(
        InputError, match=r"2 views \(t00000/s00, t00000/s01\). Choose one: series='t00000/s00/0/cells'"
    ):
        mn.open(write_big_data(tmp_path / "two.h5", h5py, views=2))


def test_the_table_of_levels_of_bigdataviewer_is_no_way_to_another_file(tmp_path, h5py):
    path = write_big_data(tmp_path / "cell.h5", h5py)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["table"] = [[1.0, 1.0, 1.0], [2.0, 2.0, 1.0]]
    with h5py.File(path, "a") as file:
        del file["s00/resolutions"]
        file["s00/resolutions"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "table")
    with pytest.raises(CorruptFileError, match="no table of them"):
        mn.open(path)


def test_coordinates_of_hdf5_are_no_way_to_another_file(tmp_path, h5py):
    steps = np.arange(6) * 40.0
    (tmp_path / "other.raw").write_bytes(steps.tobytes())
    for external, size in ((None, (40, 4, 4)), ([(str(tmp_path / "other.raw"), 0, 48)], None)):
        with h5py.File(tmp_path / "cell.h5", "w") as file:
            file["raw"] = DATA
            file["z"] = steps
            if external:
                del file["z"]
                file.create_dataset("z", (6,), float, external=external)
            file["y"], file["x"] = np.arange(20) * 4.0, np.arange(30) * 4.0
            for k, axis in enumerate("zyx"):
                file[axis].make_scale(axis)
                file[axis].attrs["units"] = "nm"
                file["raw"].dims[k].attach_scale(file[axis])
        assert mn.open(tmp_path / "cell.h5").voxel_size == size


def test_cremi_opens_by_name_with_nanometres(tmp_path, h5py):
    with h5py.File(tmp_path / "sample.h5", "w") as file:
        file["volumes/raw"], file["volumes/labels/neuron_ids"] = DATA.astype(np.uint8), DATA.astype(np.uint64)
        for name in ("volumes/raw", "volumes/labels/neuron_ids"):
            file[name].attrs["resolution"] = [40.0, 4.0, 4.0]
    assert [one.series for one in mn.info(tmp_path / "sample.h5").members] == [
        "volumes/labels/neuron_ids",
        "volumes/raw",
    ]
    assert mn.open(tmp_path / "sample.h5", series="volumes/raw").voxel_size == (40, 4, 4)
    np.testing.assert_array_equal(mn.open_labels(tmp_path / "sample.h5", series="volumes/labels/neuron_ids").data, DATA)


def test_ilastik_and_imagej_say_axes_and_sizes(tmp_path, h5py):
    with h5py.File(tmp_path / "ilastik.h5", "w") as file:
        file["exported_data"] = DATA.transpose(2, 1, 0)[..., None]
        file["exported_data"].attrs["axistags"] = json.dumps({"axes": [{"key": key} for key in "xyzc"]})
    np.testing.assert_array_equal(mn.open(tmp_path / "ilastik.h5").read(), DATA)
    with h5py.File(tmp_path / "imagej.h5", "w") as file:
        file["t0/channel0"] = DATA
        file["t0/channel0"].attrs["element_size_um"] = [0.04, 0.004, 0.004]
    assert mn.open(tmp_path / "imagej.h5").voxel_size == (40, 4, 4)


def test_labels_go_out_as_the_challenge_takes_them(tmp_path, h5py):
    path = mn.save(mn.Labels(DATA.astype(np.uint32)), tmp_path / "0_human_instance_seg_pred.h5")
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["main"][:], DATA)
        assert file["main"] == file["labels"]  # one dataset of two names
    np.testing.assert_array_equal(mn.open_labels(path).data, DATA)


# --- NRRD


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"]
)
def test_every_dtype_encoding_and_byte_order_of_nrrd_opens(tmp_path, nrrd, dtype, encoding, order):
    want = np.arange(60).reshape(3, 4, 5).astype(dtype)
    header = {"encoding": encoding, "endian": order, "space dimension": 3, "space units": ["nm", "nm", "nm"]}
    header |= {"space directions": np.diag([4.0, 8.0, 40.0]), "space origin": [0.0, 16.0, -80.0]}
    nrrd.write(str(tmp_path / "cell.nrrd"), want.T.astype(want.dtype.newbyteorder(order)), header)
    stack = mn.open(tmp_path / "cell.nrrd")
    assert (stack.dtype, stack.voxel_size, stack.origin) == (want.dtype, (40, 8, 4), (-80, 16, 0))
    np.testing.assert_array_equal(stack.read(), want)
    np.testing.assert_array_equal(stack.plane(1, "xz").image, want[:, 1])


def plain(path, lines, body, newline="\n"):
    path.write_bytes((newline.join(["NRRD0004", *lines, "", ""])).encode() + body)
    return path


GREY = ["type: unsigned char", "dimension: 3", "sizes: 5 4 3", "encoding: raw"]


def test_nrrds_of_other_programs_say_what_they_can(tmp_path, nrrd):
    body = bytes(range(60))
    for newline in ("\n", "\r\n"):
        stack = mn.open(plain(tmp_path / "cell.nrrd", [*GREY, "# a remark", "spacings: 4 4 40"], body, newline))
        np.testing.assert_array_equal(stack.read().ravel(), np.arange(60))
        assert stack.voxel_size is None
        assert any("4, 4, 40 (x, y, z) without a unit" in note for note in stack.notes)
    units = ["spacings: 4 4 40", 'units: "nm" "nm" "nm"']
    assert mn.open(plain(tmp_path / "cell.nrrd", [*GREY, *units], body)).voxel_size == (40, 4, 4)
    turned = ["space dimension: 3", "space directions: (0,4,0) (4,0,0) (0,0,40)", 'space units: "nm" "nm" "nm"']
    stack = mn.open(plain(tmp_path / "cell.nrrd", [*GREY, *turned], body))
    assert stack.voxel_size == (40, 4, 4)
    assert any("turns or mirrors" in note for note in stack.notes)
    colours = ["type: uint8", "dimension: 4", "sizes: 3 5 4 1", "encoding: raw", "kinds: RGB-color space space space"]
    assert mn.open(plain(tmp_path / "cell.nrrd", colours, body), channel=1).shape == (1, 4, 5)
    for kind in ("3-color", "3-vector", "point"):
        lines = [*colours[:-1], f"kinds: {kind} domain domain domain"]
        assert mn.open(plain(tmp_path / "cell.nrrd", lines, body), channel=1).shape == (1, 4, 5)
    unsaid = [*colours[:-1], "space: left-posterior-superior", "space directions: none (4,0,0) (0,4,0) (0,0,40)"]
    stack = mn.open(plain(tmp_path / "cell.nrrd", [*unsaid, 'space units: "nm" "nm" "nm"'], body), channel=1)
    assert (stack.shape, stack.voxel_size) == ((1, 4, 5), (40, 4, 4))
    skipped = plain(tmp_path / "cell.nrrd", [*GREY, "byte skip: -1"], b"more" + body)
    np.testing.assert_array_equal(mn.open(skipped).read().ravel(), np.arange(60))


@pytest.mark.parametrize("field", ["byte skip", "byteskip", "Byte Skip"])
@pytest.mark.parametrize(("encoding", "pack"), [("raw", bytes), ("gzip", gzip.compress), ("bz2", bz2.compress)])
def test_bytes_that_a_nrrd_skips_are_no_voxels_however_it_is_packed(tmp_path, nrrd, encoding, pack, field):
    lines = [*GREY[:3], f"encoding: {encoding}", f"{field}: 4", "byte skip:=7"]
    path = plain(tmp_path / "cell.nrrd", lines, pack(b"more" + bytes(range(60))))
    np.testing.assert_array_equal(mn.open(path).read().ravel(), np.arange(60))
    nowhere = plain(tmp_path / "cell.nrrd", [*lines[:4], f"{field}: -2"], pack(bytes(60)))
    with pytest.raises(CorruptFileError, match="skips -2 bytes"):
        mn.open(nowhere)


@pytest.mark.parametrize(
    "line",
    ["data file: secret.raw", "datafile: /etc/passwd", "data file: LIST", "data file: s%d 1 3 1", "Data File: x.raw"],
)
def test_a_nrrd_never_leads_to_other_files(tmp_path, nrrd, line):
    (tmp_path / "secret.raw").write_bytes(bytes(60))
    for ending in (".nhdr", ".nrrd"):
        with pytest.raises(UnsafeFileError, match="keeps its voxels in other files"):
            mn.open(plain(tmp_path / f"cell{ending}", [*GREY, line], b""))


@pytest.mark.parametrize("pack", [None, gzip.compress, bz2.compress])
def test_a_nrrd_that_declares_more_than_it_holds_is_refused(tmp_path, nrrd, pack, most_memory, monkeypatch):
    lines = ["type: uint8", "dimension: 3", "sizes: 1000000 100000 1000"]
    lines.append(f"encoding: {'raw' if pack is None else pack.__module__.replace('bz2', 'bzip2')}")
    body = bytes(60) if pack is None else pack(bytes(2**24))
    with most_memory(2**26), pytest.raises(MitonbError, match=r"declares|needs about"):
        mn.open(plain(tmp_path / "bomb.nrrd", lines, body))
    if pack is not None:  # what unpacks to far more than it declares is unpacked no further
        with most_memory(2**23):
            path = plain(tmp_path / "bomb.nrrd", [*GREY[:3], lines[-1]], body)
            assert mn.open(path).shape == (3, 4, 5)
        monkeypatch.setenv("MEM_LIMIT", str(2**20))
        with pytest.raises(TooLargeError, match="Save it as raw NRRD"):
            mn.open(
                plain(tmp_path / "bomb.nrrd", ["type: uint8", "dimension: 3", "sizes: 500 500 64", lines[-1]], body)
            )


def test_a_nrrd_that_does_not_say_the_order_of_its_bytes_is_not_guessed(tmp_path, nrrd):
    with pytest.raises(CorruptFileError, match="in which order its bytes lie"):
        mn.open(plain(tmp_path / "cell.nrrd", ["type: ushort", *GREY[1:]], bytes(120)))


def test_texts_and_blocks_are_no_greys(tmp_path, nrrd):
    for lines in (
        [*GREY[:3], "encoding: ascii"],
        ["type: block", *GREY[1:]],
        [*GREY, "line skip: 2"],
        [*GREY, "Lineskip: 2"],
    ):
        with pytest.raises(UnsupportedFormatError, match="Save it in grey, raw or gzip"):
            mn.open(plain(tmp_path / "cell.nrrd", lines, bytes(60)))
