"""Axes and sizes, in every way that the programs of this field write them, are followed or told."""

from __future__ import annotations

import contextlib
import itertools
import json
import struct
import zipfile

import numpy as np
import pytest
import tensorstore
import tifffile

import mitonb as mn
from mitonb.errors import AxesError, CorruptFileError, InputError, UnsupportedFormatError

DATA = np.random.default_rng(0).integers(0, 255, (4, 6, 10)).astype(np.uint8)
"""(z, y, x): no two axes of one length."""


# --- MRC


def mrc(path, data, *, axes=(1, 2, 3), size=(50.0, 60.0, 300.0), stamp=None, low=None, high=None, big=False, starts=0):
    """Write an MRC by hand: `axes` are those of columns, rows and sections, `size` x, y, z of a voxel in Angstrom."""
    mode = {"int8": 0, "uint8": 0, "int16": 1, "float32": 2, "uint16": 6, "float16": 12}[data.dtype.name]
    end = ">" if big else "<"
    head = bytearray(1024)
    ns, nr, nc = data.shape
    count = dict(zip(axes, (nc, nr, ns), strict=True))
    sampling = [count[k] for k in (1, 2, 3)]
    struct.pack_into(f"{end}10i", head, 0, nc, nr, ns, mode, starts, 0, 0, *sampling)
    struct.pack_into(f"{end}6f", head, 40, *(n * s for n, s in zip(sampling, size, strict=True)), 90, 90, 90)
    struct.pack_into(f"{end}3i", head, 64, *axes)
    struct.pack_into(f"{end}3f", head, 76, *(v if v is not None else d for v, d in ((low, 0), (high, -1), (None, -2))))
    struct.pack_into(f"{end}i", head, 88, 1)
    if stamp is not None:
        struct.pack_into(f"{end}2i", head, 152, 1146047817, stamp)
    head[208:216] = b"MAP " + (b"\x11\x11\0\0" if big else b"\x44\x44\0\0")
    path.write_bytes(bytes(head) + data.astype(data.dtype.newbyteorder(end)).tobytes())
    return path


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(
    ("how", "dtype"),
    [
        ({"stamp": 0}, "uint8"),
        ({"stamp": 1}, "int8"),
        ({"stamp": 4, "low": -128, "high": 127}, "uint8"),
        ({"low": 0, "high": 255}, "uint8"),
        ({"low": -128, "high": 127}, "int8"),
        ({}, "int8"),
    ],
)
def test_bytes_of_an_mrc_have_the_sign_that_the_header_says(tmp_path, how, dtype, big):
    pytest.importorskip("mrcfile")
    stack = mn.open(mrc(tmp_path / "cell.mrc", DATA, big=big, **how))
    assert stack.dtype == dtype
    np.testing.assert_array_equal(stack.read().view(np.uint8), DATA)


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32", "float16"])
def test_columns_rows_and_sections_of_an_mrc_may_be_any_axis(tmp_path, order, dtype):
    pytest.importorskip("mrcfile")
    stored = DATA.astype(dtype).transpose(["zyx".index(" xyz"[k]) for k in order[::-1]])
    stack = mn.open(mrc(tmp_path / "cell.mrc", stored, axes=order, big=order[0] == 2))
    np.testing.assert_array_equal(stack.read(), DATA)
    assert stack.voxel_size == pytest.approx((30, 6, 5))
    assert any("as the header says" in note for note in stack.notes) == (order != (1, 2, 3))


@pytest.mark.parametrize("order", [(0, 0, 0), (1, 1, 3)])
def test_an_mrc_without_an_order_of_axes_is_read_as_usual(tmp_path, order):
    pytest.importorskip("mrcfile")
    path = mrc(tmp_path / "cell.mrc", DATA.view(np.int8), starts=7)
    path.write_bytes(path.read_bytes()[:64] + struct.pack("<3i", *order) + path.read_bytes()[76:])
    stack = mn.open(path)
    assert stack.shape == DATA.shape
    assert any("starts at column" in note for note in stack.notes)


# --- HDF5


def hdf5(path, data=DATA, *, group=(), **attributes):
    """Write volumes/raw with attributes, on the dataset or on its group."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["volumes/raw"] = data
        for name, value in attributes.items():
            (file["volumes"] if name in group else file["volumes/raw"]).attrs[name] = value
    return path


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ({"resolution": [40.0, 4.0, 5.0]}, (40, 4, 5)),
        ({"voxel_size": (40, 4, 5)}, (40, 4, 5)),
        ({"resolution": [0.04, 0.004, 0.005], "units": "um"}, (40, 4, 5)),
        ({"voxel_size": [40, 4, 5], "units": ["nm", "nm", "nm"], "axis_names": ["z", "y", "x"]}, (40, 4, 5)),
        ({"resolution": [400, 40, 50], "unit": b"angstrom"}, (40, 4, 5)),
        ({"element_size_um": [0.04, 0.004, 0.005]}, (40, 4, 5)),
        ({"pixelResolution": [5.0, 4.0, 40.0], "unit": "nm"}, (40, 4, 5)),
        ({"resolution": [5.0, 4.0, 40.0], "downsamplingFactors": [2, 2, 1]}, (40, 8, 10)),
        ({"resolution": [8.0], "unit": "nm"}, (8, 8, 8)),
        ({"VoxelSize_nm": [40, 4, 5]}, (40, 4, 5)),
        ({"voxel_size_um": [0.04, 0.004, 0.005], "scale": 3}, (40, 4, 5)),
        ({"pixelSpacing": [40, 4, 5], "unit": "nm"}, (40, 4, 5)),
    ],
)
@pytest.mark.parametrize("on_group", [False, True])
def test_hdf5_says_its_voxel_size_in_many_ways(tmp_path, attributes, size, on_group):
    stack = mn.open(hdf5(tmp_path / "cell.h5", group=attributes if on_group else (), **attributes))
    assert stack.voxel_size == pytest.approx(size)
    units = {"units", "unit", "element_size_um", "VoxelSize_nm", "voxel_size_um"} & set(attributes)
    assert any("has no unit: taken as nm" in note for note in stack.notes) == (not units)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"resolution": [0.04, 0.004, 0.004]}, "has no unit: the voxel size stays unknown"),
        ({"resolution": [40, 4, 4], "units": "furlong"}, "has the unit furlong"),
        ({"resolution": [40, 4]}, "has 2 numbers for 3 axes"),
        ({"resolution": [40, 4, 4], "offset": [0, 120, 400]}, r"offset of 0, 120, 400 \(z, y, x\)"),
        ({"spacing": [40, 4, 4]}, "has no unit"),
        ({"Scale": [40, 4, 4]}, "has no unit"),
        ({"resolution": "40,4,4"}, "'resolution' is no list of sizes"),
        ({"resolution": [40, -4, 4]}, "'resolution' is no list of sizes"),
    ],
)
def test_what_hdf5_says_halfway_is_told(tmp_path, attributes, said):
    import re

    stack = mn.open(hdf5(tmp_path / "cell.h5", **attributes))
    assert any(re.search(said, note) for note in stack.notes), stack.notes
    assert (stack.voxel_size is None) == ("offset" not in attributes)


def test_axistags_of_ilastik_and_labels_of_dimensions_are_the_axes(tmp_path):
    h5py = pytest.importorskip("h5py")
    tags = json.dumps({"axes": [{"key": k, "typeFlags": 2, "resolution": 0} for k in "xyzc"]})
    path = hdf5(tmp_path / "ilastik.h5", DATA.transpose(2, 1, 0)[..., None], axistags=tags)
    np.testing.assert_array_equal(mn.open(path).read(), DATA)
    with h5py.File(tmp_path / "labelled.h5", "w") as file:
        raw = file.create_dataset("raw", data=DATA.transpose(1, 2, 0))
        for dimension, name in zip(raw.dims, ("row", "col", "pln"), strict=True):
            dimension.label = name
    np.testing.assert_array_equal(mn.open(tmp_path / "labelled.h5").read(), DATA)


def test_scales_of_dimensions_are_axes_and_sizes(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "cell.nc", "w") as file:
        raw = file.create_dataset("raw", data=DATA.transpose(2, 1, 0))
        for axis, (name, step) in enumerate((("x", 0.004), ("y", 0.005), ("z", 0.04))):
            scale = file.create_dataset(name, data=np.arange(raw.shape[axis]) * step)
            scale.attrs["units"] = "micrometer"
            scale.make_scale(name)
            raw.dims[axis].attach_scale(scale)
    stack = mn.open(tmp_path / "cell.nc")
    np.testing.assert_array_equal(stack.read(), DATA)
    assert stack.voxel_size == pytest.approx((40, 5, 4))


def test_a_damaged_or_endless_attribute_is_told_and_the_voxels_are_read(tmp_path):
    path = hdf5(tmp_path / "cell.h5", resolution=[40.0, 4.0, 4.0], units="nanometer-marker")
    data = path.read_bytes()
    assert data.count(b"nanometer-marker") == 1
    path.write_bytes(data.replace(b"nanometer-marker", b"\xff" * 16))
    np.testing.assert_array_equal(mn.open(path).read(), DATA)
    for value in ("{" * 100, "[" * 60_000):
        with pytest.raises(InputError):
            mn.open(hdf5(tmp_path / "cell.h5", axistags=value))
    for value in ("5", "{}", '{"axes": 5}', '{"axes": [5, 6, 7]}', [1, 2], 1.5):
        np.testing.assert_array_equal(mn.open(hdf5(tmp_path / "cell.h5", axistags=value)).read(), DATA)


def test_texts_of_attributes_that_never_end_are_told(tmp_path):
    path = hdf5(tmp_path / "cell.h5", units="nm", resolution=[40.0, 4.0, 4.0])
    data = bytearray(path.read_bytes())
    at = data.index(b"GCOL") + 16
    data[at : at + 16] = bytes(16)  # an entry of no size: HDF5 would look at it for ever
    path.write_bytes(data)
    stack = mn.open(path)
    np.testing.assert_array_equal(stack.read(), DATA)
    assert "texts in its attributes are damaged" in stack.notes[0]


def test_a_text_of_an_attribute_that_declares_gigabytes_takes_no_memory(tmp_path, most_memory):
    path = hdf5(tmp_path / "cell.h5", units="a text of its own", resolution=[40.0, 4.0, 4.0])
    data = bytearray(path.read_bytes())
    at = data.index(struct.pack("<IQ", len("a text of its own"), data.index(b"GCOL")))
    data[at : at + 4] = b"\xff" * 4
    path.write_bytes(data)
    with most_memory(2**28):
        stack = mn.open(path)
    np.testing.assert_array_equal(stack.read(), DATA)
    assert "texts in its attributes are damaged" in stack.notes[0]


@pytest.mark.parametrize("hurt", [bytes(8), b"\x01" * 8])
def test_names_of_dimensions_that_lead_nowhere_end_no_process(tmp_path, hurt):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "cell.h5", "w") as file:
        raw = file.create_dataset("raw", data=DATA)
        raw.dims[0].label = "depth-of-sections"
        scale = file.create_dataset("y", data=np.arange(6))
        scale.make_scale("y-of-rows")
        raw.dims[1].attach_scale(scale)
    whole = (tmp_path / "cell.h5").read_bytes()
    for name in (b"depth-of-sections", b"GCOL", b"DIMENSION_LABELS", b"DIMENSION_LIST"):
        at = whole.index(name)
        for shift in range(0, 96, 8):
            data = bytearray(whole)
            data[at + shift : at + shift + 8] = hurt
            (tmp_path / "cell.h5").write_bytes(data)
            with contextlib.suppress(InputError):
                np.testing.assert_array_equal(mn.open(tmp_path / "cell.h5", series="raw").read(), DATA)


# --- TIFF of microscopes


def tiff(path, code, text, shape=(6, 10)):
    data = text if isinstance(text, bytes) else text.encode("latin-1")
    tags = [(code, 7, len(data), data, True)]
    tifffile.imwrite(path, np.zeros(shape, np.uint8), extratags=tags, photometric="minisblack", metadata=None)
    return path


@pytest.mark.parametrize(
    ("code", "text", "size"),
    [
        (34682, "[User]\r\nUser=me\r\n[Scan]\r\nPixelWidth=5e-009\r\nPixelHeight=6e-009\r\n", (6, 5)),
        (34682, "[User]\r\nUser=me\r\n[EScan]\r\nPixelWidth=4.2e-009\r\nPixelHeight=4.2e-009\r\n", (4.2, 4.2)),
        (34680, "[User]\r\nUser=me\r\n[Scan]\r\nPixelWidth=5e-009\r\nPixelHeight=6e-009\r\n", (6, 5)),
        (34118, "0\r\n1\r\nAP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 5.0 nm\r\n", (5, 5)),
        (34118, "0\r\n1\r\nAP_PIXEL_SIZE\r\nPixel Size = 12.5 nm\r\n", (12.5, 12.5)),
        (34118, "0\r\n1\r\nAP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 0.0125 \xb5m\r\n", (12.5, 12.5)),
        (50431, b"\0\1[MAIN]\r\nDevice=VEGA\r\nPixelSizeX=5e-009\r\nPixelSizeY=6.0e-009\r\n", (6, 5)),
    ],
)
def test_the_pixel_size_of_a_microscope_counts(tmp_path, code, text, size):
    stack = mn.open(tiff(tmp_path / "plane.tif", code, text))
    assert stack.voxel_size == pytest.approx((size[1], *size))
    (tmp_path / "cell").mkdir()
    for k in range(3):
        tiff(tmp_path / "cell" / f"plane_{k}.tif", code, text)
    stack = mn.open(tmp_path / "cell")
    assert stack.voxel_size is None
    assert any(f"({size[0]:g} x {size[1]:g} nm)" in note for note in stack.notes)


def test_planes_whose_pixels_have_different_sizes_are_told(tmp_path):
    for k, size in enumerate((5, 5, 7)):
        tiff(tmp_path / f"{k}.tif", 34682, f"[Scan]\r\nPixelWidth={size}e-009\r\nPixelHeight={size}e-009\r\n")
    stack = mn.open(tmp_path)
    assert stack.voxel_size is None
    assert "0.tif of 5 x 5 nm and 2.tif of 7 x 7 nm" in stack.notes[0]


@pytest.mark.parametrize("unit", ["nm", "\xb5m"])
def test_digital_micrograph_says_the_size_of_its_voxels(tmp_path, unit):
    factor = 1 if unit == "nm" else 1000
    units = [(code, 7, len(unit), unit.encode("latin-1"), True) for code in (65003, 65004, 65005)]
    sizes = [(code, 12, 1, size / factor, True) for code, size in ((65009, 5.0), (65010, 6.0), (65011, 40.0))]
    tifffile.imwrite(tmp_path / "gatan.tif", DATA, extratags=units + sizes, photometric="minisblack", metadata=None)
    assert mn.open(tmp_path / "gatan.tif").voxel_size == pytest.approx((40, 6, 5))
    tifffile.imwrite(tmp_path / "plane.tif", DATA[0], extratags=units + sizes, photometric="minisblack", metadata=None)
    (tmp_path / "cell").mkdir()
    for k in range(2):
        (tmp_path / "cell" / f"{k}.tif").write_bytes((tmp_path / "plane.tif").read_bytes())
    assert mn.open(tmp_path / "cell").voxel_size == pytest.approx((40, 6, 5))


def test_places_in_a_colour_table_that_are_opened_as_an_image_are_told(tmp_path):
    colours = np.zeros((3, 256), np.uint16)
    tifffile.imwrite(tmp_path / "cell.tif", DATA, photometric="palette", colormap=colours)
    assert any("places in a colour table" in note for note in mn.open(tmp_path / "cell.tif").notes)


@pytest.mark.parametrize(
    "text", ["[Scan]\r\nPixelWidth=wide\r\n", "[Scan", " ", "[Scan]\r\nPixelWidth=-1\r\nPixelHeight=0"]
)
def test_a_microscope_that_says_nonsense_says_nothing(tmp_path, text):
    for code in (34682, 34118):
        assert mn.open(tiff(tmp_path / "plane.tif", code, text)).voxel_size is None


# --- zarr and N5


def stored(path, data, driver="zarr", **metadata):
    """Write an array with tensorstore."""
    spec = {"driver": driver, "kvstore": {"driver": "file", "path": f"{path}/"}, "metadata": metadata}
    store = tensorstore.open(spec, create=True, dtype=data.dtype, shape=data.shape).result()
    store.write(data).result()
    return path


def n5(path, data=DATA, **attributes):
    """Write an N5 of (z, y, x) data, x first as N5 does, with attributes."""
    codec = {"type": "gzip"}
    stored(path, data.transpose(), "n5", blockSize=[min(4, n) for n in data.shape[::-1]], compression=codec)
    say(path / "attributes.json", **attributes)
    return path


def test_channels_of_n5_stand_last_for_numpy(tmp_path):
    both = np.stack([DATA, DATA + 100], axis=-1)
    path = n5(tmp_path / "cell.n5" / "raw", both, axes=["c", "x", "y", "z"], resolution=[1, 5, 4, 40], units=["nm"] * 4)
    stack = mn.open(path, channel=1)
    np.testing.assert_array_equal(stack.read(), DATA + 100)
    assert stack.voxel_size == (40, 4, 5)


def say(path, **attributes):
    """Add attributes to a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    old = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(old | attributes))


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ({"resolution": [5, 4, 40]}, (40, 4, 5)),
        ({"pixelResolution": {"unit": "um", "dimensions": [0.005, 0.004, 0.04]}}, (40, 4, 5)),
        ({"pixelResolution": {"unit": "nm", "dimensions": [5, 4, 40]}, "downsamplingFactors": [2, 2, 1]}, (40, 8, 10)),
        ({"resolution": [5, 4, 40], "units": ["nm"] * 3, "axes": ["x", "y", "z"]}, (40, 4, 5)),
        ({"transform": {"axes": ["z", "y", "x"], "scale": [40, 4, 5], "units": ["nm"] * 3}}, (40, 4, 5)),
        ({"pixelResolution": [1, 1, 1]}, None),
        ({}, None),
    ],
)
def test_n5_opens_with_x_first_and_its_size(tmp_path, attributes, size):
    path = n5(tmp_path / "cell.n5" / "raw" / "s0", **attributes)
    say(tmp_path / "cell.n5" / "attributes.json", n5="2.0.0")
    for stack in (
        mn.open(path),
        mn.open(tmp_path / "cell.n5", series="raw/s0"),
        mn.open(tmp_path / "cell.n5", series="raw"),
    ):
        np.testing.assert_array_equal(stack.read(), DATA)
        assert stack.voxel_size == (None if size is None else pytest.approx(size))
    with pytest.raises(InputError, match=r"group of N5 without an image. Inside are: series='raw'"):
        mn.open(tmp_path / "cell.n5")
    (tmp_path / "cell.n5" / "em" / "data").mkdir(parents=True)
    with pytest.raises(InputError, match=r"Inside are: series='em/data'"):
        mn.open(tmp_path / "cell.n5", series="em")


def test_levels_of_n5_take_the_size_of_their_group(tmp_path):
    say(tmp_path / "cell.n5" / "attributes.json", n5="2.0.0", pixelResolution={"unit": "nm", "dimensions": [5, 4, 40]})
    n5(tmp_path / "cell.n5" / "s0")
    n5(tmp_path / "cell.n5" / "s1", DATA[:, ::2, ::2], downsamplingFactors=[2, 2, 1])
    assert mn.open(tmp_path / "cell.n5").voxel_size == pytest.approx((40, 4, 5))
    half = mn.open(tmp_path / "cell.n5", series=1)
    assert half.shape == (4, 3, 5)
    assert half.voxel_size == pytest.approx((40, 8, 10))
    with pytest.raises(InputError, match=r"resolution levels 0 \(finest\) to 1, got series=2"):
        mn.open(tmp_path / "cell.n5", series=2)


@pytest.mark.parametrize("name", ["scales", "downsamplingFactors"])
def test_levels_of_n5_take_their_factor_from_the_list_of_their_group(tmp_path, name):
    pixel = {"unit": "nm", "dimensions": [5, 4, 40]}
    say(tmp_path / "cell.n5" / "attributes.json", pixelResolution=pixel, **{name: [[1, 1, 1], [2, 2, 1]]})
    n5(tmp_path / "cell.n5" / "s0")
    n5(tmp_path / "cell.n5" / "s1", DATA[:, ::2, ::2])
    n5(tmp_path / "cell.n5" / "s2", DATA[:, ::4, ::4])
    assert mn.open(tmp_path / "cell.n5").voxel_size == pytest.approx((40, 4, 5))
    for half in (mn.open(tmp_path / "cell.n5", series=1), mn.open(tmp_path / "cell.n5", series="s1")):
        assert half.voxel_size == pytest.approx((40, 8, 10))
    quarter = mn.open(tmp_path / "cell.n5", series=2)  # about which the list says nothing
    assert quarter.voxel_size is None
    assert any("by how much this level is smaller" in note for note in quarter.notes)


def test_levels_of_n5_take_their_size_from_the_multiscales_of_their_group(tmp_path):
    levels = [
        {
            "path": f"s{k}",
            "transform": {"axes": ["z", "y", "x"], "scale": [40, 4 * 2**k, 5 * 2**k], "units": ["nm"] * 3},
        }
        for k in range(2)
    ]
    say(tmp_path / "cell.n5" / "attributes.json", n5="2.0.0")
    say(tmp_path / "cell.n5" / "em" / "attributes.json", multiscales=[{"datasets": levels}])
    n5(tmp_path / "cell.n5" / "em" / "s0")
    n5(tmp_path / "cell.n5" / "em" / "s1", DATA[:, ::2, ::2])
    assert mn.open(tmp_path / "cell.n5", series="em").voxel_size == pytest.approx((40, 4, 5))
    assert mn.open(tmp_path / "cell.n5", series="em/s1").voxel_size == pytest.approx((40, 8, 10))


def test_labels_of_n5_open_and_label_multisets_are_named(tmp_path):
    ids = DATA.astype(np.uint64) + np.uint64(2**40)
    labels = mn.open_labels(n5(tmp_path / "labels.n5", ids))
    np.testing.assert_array_equal(labels.original_ids[labels.data], ids)
    say(tmp_path / "labels.n5" / "attributes.json", isLabelMultiset=True)
    with pytest.raises(UnsupportedFormatError, match="label multisets of Paintera"):
        mn.open(tmp_path / "labels.n5")


def zipped(folder, target, *, inner="", deflate=False):
    """Put a folder into a zip file, at its root or in an inner folder."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, f"{inner}{path.relative_to(folder)}")
    return target


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("inner", ["", "cell.ome.zarr/"])
@pytest.mark.parametrize("deflate", [False, True])
def test_a_zipped_ome_zarr_opens_without_being_unpacked(tmp_path, version, inner, deflate):
    folder = mn.save(mn.Stack(DATA, (40, 4, 5)), tmp_path / "cell.ome.zarr", version=version)
    path = zipped(folder, tmp_path / "cell.zip", inner=inner, deflate=deflate)
    stack = mn.open(path)
    assert stack.voxel_size == (40, 4, 5)
    np.testing.assert_array_equal(stack.read(), DATA)
    assert mn.open(path, series=1).shape == (4, 3, 5)
    np.testing.assert_array_equal(mn.open(path, series="0").read(), DATA)
    labels = mn.save(mn.Labels(DATA, (40, 4, 5)), tmp_path / "labels.ome.zarr", version=version)
    np.testing.assert_array_equal(mn.open_labels(zipped(labels, tmp_path / "l.zip", inner=inner)).data, DATA)


def test_zip_files_with_folders_in_folders_or_other_things_are_opened_or_named(tmp_path):
    folder = mn.save(mn.Stack(DATA, (40, 4, 5)), tmp_path / "cell.ome.zarr")
    path = zipped(folder, tmp_path / "cell.zip", inner="export/today/cell.ome.zarr/")
    np.testing.assert_array_equal(mn.open(path).read(), DATA)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("cell.tif", b"II*")
    with pytest.raises(InputError, match=r"without a NumPy array, zarr or N5. Unpack it"):
        mn.open(tmp_path / "other.zip")
    with zipfile.ZipFile(tmp_path / "lzma.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr(".zgroup", b"{}")
    with pytest.raises(UnsupportedFormatError, match="packed with LZMA"):
        mn.open(tmp_path / "lzma.zip")


def test_a_zipped_n5_opens(tmp_path):
    folder = n5(tmp_path / "cell.n5", resolution=[5, 4, 40])
    stack = mn.open(zipped(folder, tmp_path / "cell.zip", inner="cell.n5/"))
    assert stack.voxel_size == pytest.approx((40, 4, 5))
    np.testing.assert_array_equal(stack.read(), DATA)


def test_named_dimensions_of_plain_zarr_are_the_axes(tmp_path):
    turned = DATA.transpose(2, 0, 1)
    path = stored(tmp_path / "two.zarr", turned, chunks=[3, 3, 3])
    say(path / ".zattrs", _ARRAY_DIMENSIONS=["x", "z", "y"], resolution=[5, 40, 4], units="nm")
    stack = mn.open(path)
    np.testing.assert_array_equal(stack.read(), DATA)
    assert stack.voxel_size == pytest.approx((40, 4, 5))
    third = stored(tmp_path / "three.zarr", turned, "zarr3", dimension_names=["x", "z", "y"])
    np.testing.assert_array_equal(mn.open(third).read(), DATA)
    unknown = stored(tmp_path / "four.zarr", DATA, "zarr3", dimension_names=["a", "b", "c"])
    assert any("The axes are called a, b, c" in note for note in mn.open(unknown).notes)
    say(path / ".zattrs", _ARRAY_DIMENSIONS=["y", "y", "x"])
    with pytest.raises(AxesError, match="one axis twice"):
        mn.open(path)


def ome(path, data, axes, datasets=None, version=None):
    """Write an OME-Zarr 0.4 with any axes."""
    stored(path / "0", data, chunks=[3] * data.ndim)
    scale = [{"type": "scale", "scale": [{"z": 40, "y": 4, "x": 5}.get(str(a)[:1], 1) for a in "".join(axes or "")]}]
    image = {"datasets": datasets or [{"path": "0", "coordinateTransformations": scale}]}
    if axes is not None:
        image["axes"] = [{"name": a, "type": "space", "unit": "nanometer"} for a in axes]
    say(path / ".zattrs", multiscales=[image])
    say(path / ".zgroup", zarr_format=2)
    return path


@pytest.mark.parametrize("axes", ["xyz", "yzx", "zcyx", "cxzy", "tczyx"])
def test_axes_of_ome_in_odd_order_are_followed(tmp_path, axes):
    data = DATA.transpose(["zyx".index(c) for c in axes if c in "zyx"])
    for k, c in enumerate(axes):
        data = data if c in "zyx" else np.expand_dims(data, k)
    stack = mn.open(ome(tmp_path / "cell.ome.zarr", data, axes))
    np.testing.assert_array_equal(stack.read(), DATA)
    assert stack.voxel_size == pytest.approx((40, 4, 5))


def test_five_axes_of_an_early_ome_zarr_are_time_channel_z_y_x(tmp_path):
    path = ome(tmp_path / "cell.zarr", np.stack([DATA, DATA + 1])[None], None, [{"path": "0"}])
    np.testing.assert_array_equal(mn.open(path, channel=1).read(), DATA + 1)


WRONG = [
    5,
    "zyx?",
    [],
    [5, 6],
    [[], [], []],
    {"z": 1},
    [{"name": 5}, {"name": []}, {}],
    None,
    True,
    [None] * 3,
    1e999,
]


@pytest.mark.parametrize("place", ["axes", "datasets", "scale", "transform", "unit", "path", "multiscales"])
@pytest.mark.parametrize("wrong", range(len(WRONG)))
def test_ome_metadata_of_wrong_types_opens_or_says_what_is_wrong(tmp_path, place, wrong):
    value = WRONG[wrong]
    path = ome(tmp_path / "cell.ome.zarr", DATA, "zyx")
    attributes = json.loads((path / ".zattrs").read_text())
    image = attributes["multiscales"][0]
    if place in ("axes", "datasets"):
        image[place] = value
    elif place == "unit":
        image["axes"][0]["unit"] = value
    elif place == "multiscales":
        attributes["multiscales"] = value
    elif place == "path":
        image["datasets"][0]["path"] = value
    elif place == "transform":
        image["datasets"][0]["coordinateTransformations"] = value
    else:
        image["datasets"][0]["coordinateTransformations"][0]["scale"] = value
    (path / ".zattrs").write_text(json.dumps(attributes))
    try:
        stack = mn.open(path)
    except InputError:
        return
    assert stack.voxel_size != (40, 4, 5)
    assert stack.notes
    np.testing.assert_array_equal(stack.read(), DATA)


def test_metadata_without_end_is_refused(tmp_path):
    path = ome(tmp_path / "cell.ome.zarr", DATA, "zyx")
    (path / ".zattrs").write_text('{"multiscales": ' + "[" * 200_000)
    with pytest.raises(CorruptFileError, match="zattrs cannot be read"):
        mn.open(path)
    (path / ".zattrs").write_text('{"a": "' + "x" * 2**24 + '"}')
    with pytest.raises(InputError, match="metadata never has"):
        mn.open(path)


# --- named arrays in memory


class Named:
    """What xarray, and what speaks like it, shows of an array: names of the axes, coordinates, attributes."""

    def __init__(self, data, dims, coords=None, **attrs):
        self.data, self.dims, self.coords, self.attrs = data, dims, coords or {}, attrs
        self.shape, self.dtype = data.shape, data.dtype

    def __getitem__(self, key):
        return self.data[key]


def test_names_of_axes_in_memory_are_the_axes():
    for order in itertools.permutations("zyx"):
        turned = DATA.transpose(["zyx".index(c) for c in order])
        np.testing.assert_array_equal(mn.open(Named(turned, tuple(c.upper() for c in order))).read(), DATA)
        np.testing.assert_array_equal(mn.open_labels(Named(turned, order)).data, DATA)
    both = Named(np.stack([DATA, DATA + 1], -1)[None], ("t", "pln", "row", "col", "ch"))
    np.testing.assert_array_equal(mn.open(both, channel=1).read(), DATA + 1)
    with pytest.raises(AxesError, match=r"Choose one channel with channel=0 to 1"):
        mn.open_labels(both)
    np.testing.assert_array_equal(mn.open_labels(both, channel=1).data, DATA + 1)
    assert mn.open(Named(DATA, ("dim_0", "dim_1", "dim_2"))).notes == ()
    assert "are called a, b, c" in mn.open(Named(DATA, ("a", "b", "c"))).notes[0]


def test_coordinates_and_attributes_of_an_xarray_are_its_voxel_size():
    xarray = pytest.importorskip("xarray", reason="xarray is not needed, only understood")
    coords = {
        c: (c, np.arange(n) * step, {"units": "um"})
        for c, n, step in (("z", 4, 0.04), ("y", 6, 0.004), ("x", 10, 0.005))
    }
    turned = xarray.DataArray(DATA, dims=("z", "y", "x"), coords=coords).transpose("x", "y", "z")
    stack = mn.open(turned)
    np.testing.assert_array_equal(stack.read(), DATA)
    assert stack.voxel_size == pytest.approx((40, 4, 5))
    said = xarray.DataArray(
        DATA.transpose(1, 2, 0), dims=("y", "x", "z"), attrs={"resolution": [4, 5, 40], "units": "nm"}
    )
    assert mn.open(said).voxel_size == pytest.approx((40, 4, 5))
    assert mn.open(xarray.DataArray(DATA, dims=("z", "y", "x"), coords={"z": np.arange(4)})).voxel_size is None


def named(turned, dims):
    """Return an array with named axes that can be turned, as xarray can."""

    class Turning(Named):
        def transpose(self, *order):
            return named(self.data.transpose([self.dims.index(c) for c in order]), order)

        def __array__(self, dtype=None, copy=None):
            return np.asarray(self.data, dtype)

        def __getitem__(self, key):
            return self.data[key]

    return Turning(turned, dims)


def test_named_axes_are_followed_by_all_that_takes_arrays(tmp_path):
    ids = DATA // 100
    turned = named(ids.transpose(2, 0, 1), ("X", "Z", "Y"))
    np.testing.assert_array_equal(mn.Labels(turned).data, ids)
    assert mn.Stack(turned).shape == ids.shape
    assert mn.Session(turned, turned).labels.shape == ids.shape
    assert mn.score(turned, ids).dice == 1
    assert mn.measure(turned, stack=turned).equals(mn.measure(ids, stack=ids))
    np.testing.assert_array_equal(np.load(mn.save(turned, tmp_path / "ids.npy")), ids)
    for take in (mn.Labels, mn.Stack, mn.measure, lambda array: mn.score(array, ids)):
        with pytest.raises(AxesError, match=r"called y, x, c. Open it with mn.open"):
            take(named(ids, ("y", "x", "c")))


def test_arrays_of_h5py_zarr_and_tensorstore_follow_the_names_of_their_axes(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "cell.h5", "w") as file:
        raw = file.create_dataset("raw", data=DATA.transpose())
        for dimension, name in zip(raw.dims, "xyz", strict=True):
            dimension.label = name
        raw.attrs.update(resolution=[5, 4, 40], units="nm")
        stack = mn.open(raw)
        np.testing.assert_array_equal(stack.read(), DATA)
        assert stack.voxel_size == (40, 4, 5)
    path = stored(tmp_path / "cell.zarr", DATA.transpose(), "zarr3", dimension_names=["x", "y", "z"])
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path}/"}}
    np.testing.assert_array_equal(mn.open(tensorstore.open(spec).result()).read(), DATA)


def test_coordinates_without_a_unit_are_told():
    class Point(np.ndarray):
        attrs = {"long_name": "stage"}  # noqa: RUF012

    coords = {"x": (np.arange(10) * 4.0).view(Point), "y": np.arange(6).view(Point), "z": np.arange(4).view(Point)}
    stack = mn.open(Named(DATA, ("z", "y", "x"), coords))
    assert stack.voxel_size is None
    assert "coordinates along x are uneven or have no unit" in stack.notes[0]
    assert mn.open(Named(np.stack([DATA, DATA]), ("c^", "z", "y", "x")), channel=1).shape == DATA.shape


def test_several_images_of_an_xarray_are_named():
    both = type("Dataset", (), {"data_vars": {"raw": 0, "labels": 0}, "dims": {"z": 4}})()
    with pytest.raises(InputError, match=r"holds raw, labels. Pass one of them, dataset\['name'\]"):
        mn.open(both)


@pytest.mark.parametrize("size", [0.005, (1e9, 5, 5), (1e5, 5, 5), (40, 0.004, 0.004)])
def test_sizes_that_no_microscope_has_are_refused_or_not_used(tmp_path, size):
    stack = mn.Stack(DATA)
    for door in (stack.with_voxel_size, mn.Session(stack).set_voxel_size):
        with pytest.raises(InputError, match="Sizes are in nm"):
            door(*size) if isinstance(size, tuple) else door(size)
    with pytest.raises(InputError, match="Sizes are in nm"):
        mn.open(DATA, voxel_size=size)
    sides = list(size) if isinstance(size, tuple) else [size] * 3
    found = mn.open(hdf5(tmp_path / "cell.h5", element_size_um=[side / 1000 for side in sides]))
    assert found.voxel_size is None
    assert "not used" in found.notes[-1]
