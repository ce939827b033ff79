"""Files and situations that failed in users' hands: each gives what it should. Without the inputs they skip.

The inputs are no part of the project; tests of each kind with inputs of our own stand beside what they test.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mitonb as mn
from mitonb.cli import main

_DATA = os.environ.get("MITONB_DATA_DIR")
FIELD = Path(_DATA).parent / "field" if _DATA else Path("field")
pytestmark = pytest.mark.skipif(
    not FIELD.is_dir(), reason="the inputs that failed in the field are not here (MITONB_DATA_DIR)"
)
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="needs PyTorch, which is not installed here"
)


def ran(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


def said_by(script: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True, check=False)


def dice(labels: Path, truth: Path) -> float:
    return float(mn.score(mn.open_labels(labels), mn.open_labels(truth)).dice)


@needs_torch
@pytest.mark.parametrize("name", ["01_mrc_unsigned/bytes_unsigned.mrc", "07_miniswhite/inverted.tif"])
def test_an_image_stored_in_another_way_is_segmented_as_it_looks(name: str, tmp_path: Path) -> None:
    pytest.importorskip("mrcfile")
    ran("segment", FIELD / name, tmp_path / "out.tif", "--min-size", 200)
    assert dice(tmp_path / "out.tif", (FIELD / name).parent / "truth.tif") > 0.9


def test_unsigned_bytes_of_mrc_are_the_voxels_of_the_tiff() -> None:
    pytest.importorskip("mrcfile")
    folder = FIELD / "01_mrc_unsigned"
    np.testing.assert_array_equal(
        mn.open(folder / "bytes_unsigned.mrc").read(), mn.open(folder / "same_voxels.tif").read()
    )


def test_the_resolution_of_hdf5_is_the_voxel_size() -> None:
    pytest.importorskip("h5py")
    assert mn.open(FIELD / "03_h5_resolution/cremi_like.h5", series="volumes/raw").voxel_size == (40, 4, 4)


def test_labels_of_another_scale_take_that_of_their_image() -> None:
    folder = FIELD / "04_labels_scale"
    image, labels = mn.open(folder / "image.tif", voxel_size=8), mn.open_labels(folder / "labels.ome.tif")
    assert mn.Session(image, labels).labels.voxel_size == (8, 8, 8)
    assert mn.measure(labels, stack=image)["volume_um3"].sum() == pytest.approx(0.00835, rel=0.01)
    assert mn.open_labels(folder / "labels.ome.tif", voxel_size=8).voxel_size == (8, 8, 8)


@pytest.mark.parametrize("name", ["fei", "zeiss.tif"])
def test_the_pixel_size_of_a_microscope_is_read(name: str) -> None:
    stack = mn.open(FIELD / "05_sem_tiff" / name)
    assert stack.voxel_size is not None or any("5 nm" in note for note in stack.notes)
    assert stack.voxel_size is None or stack.voxel_size[1:] == (5, 5)


@pytest.mark.parametrize("name", ["labels", "gray4.png", "pal.tif"])
def test_indices_of_a_palette_are_ids(name: str) -> None:
    assert mn.open_labels(FIELD / "06_palette_png" / name).ids().tolist() == [1, 2, 3]


@needs_torch
def test_pixels_too_fine_for_the_model_are_told(tmp_path: Path) -> None:
    labels = mn.segment(mn.open(FIELD / "08_fine_pixels/fine_1nm.tif"))
    assert any("nm" in note for note in (labels.record or {})["notes"])


@needs_torch
def test_maps_of_an_image_that_was_repaired_are_not_used(tmp_path: Path) -> None:
    folder, cell = FIELD / "09_stale_maps", tmp_path / "cell.tif"
    shutil.copy(folder / "1_before_repair.tif", cell)
    ran("segment", cell, tmp_path / "a.tif", "--maps", tmp_path / "maps", "--min-size", 200)
    shutil.copy(folder / "2_after_repair.tif", cell)
    code = main([str(w) for w in ("segment", cell, tmp_path / "b.tif", "--maps", tmp_path / "maps", "--min-size", 200)])
    if code == 0:  # else it was refused, which is as good
        ran("segment", cell, tmp_path / "c.tif", "--min-size", 200)
        same = mn.open_labels(tmp_path / "b.tif").data == mn.open_labels(tmp_path / "c.tif").data
        assert same.all()


@pytest.mark.parametrize("how", ["inplace", "samesize"])
def test_a_file_that_changes_while_it_is_open_is_a_sentence(how: str) -> None:
    done = said_by(FIELD / "12_truncated_while_open/reproduce.py", how)
    assert done.returncode == 1, done  # an error, neither a dead process nor other voxels
    assert "changed" in done.stderr.splitlines()[-1]


def test_columns_of_mrc_may_be_z() -> None:
    pytest.importorskip("mrcfile")
    stack = mn.open(FIELD / "14_mrc_axis_order/columns_are_z.mrc")
    assert (stack.shape, stack.voxel_size) == ((6, 100, 120), (30, 5, 5))


def test_ids_above_32_bits_come_back(tmp_path: Path) -> None:
    path = FIELD / "15_ids_above_32_bits/supervoxels.npy"
    labels = mn.open_labels(path, renumber=True)
    saved = mn.save(labels, tmp_path / "again.npy")
    np.testing.assert_array_equal(np.load(saved), np.load(path))


@pytest.mark.parametrize("name", ["image.ome.zarr.zip", "image.n5", "image.n5/s0"])
def test_zipped_and_n5_stores_open(name: str) -> None:
    assert len(mn.open(FIELD / "16_zip_and_n5" / name).shape) == 3


def test_explore_takes_a_session() -> None:
    done = said_by(FIELD / "17_explore_a_session/reproduce.py")
    assert done.returncode == 0, done.stderr


def test_lengths_count_the_thickness_of_sections() -> None:
    lines = said_by(FIELD / "18_length_anisotropic/reproduce.py").stdout.splitlines()
    assert len(lines) == 4
    for line in lines:
        assert line.split("length_nm ")[1].split(", reaches ")[0] == line.split(", reaches ")[1]


def test_a_saved_notebook_keeps_more_than_the_name_of_a_class() -> None:
    lines = said_by(FIELD / "19_saved_notebook/reproduce.py").stdout.splitlines()
    assert len(lines) == 3
    for line in lines:
        assert "image/png" in line or "text/html" in line
        assert "children=" not in line
        assert " object at 0x" not in line


def test_names_of_dimensions_are_axes() -> None:
    xarray = pytest.importorskip("xarray")  # 20_xarray_dims
    zyx = np.zeros((6, 100, 120), np.uint8)
    assert mn.open(xarray.DataArray(zyx.transpose(2, 1, 0), dims=("x", "y", "z"))).shape == zyx.shape
    two = xarray.DataArray(np.stack([zyx, zyx]), dims=("c", "z", "y", "x"))
    assert mn.open(two, channel=0).shape == zyx.shape


def test_no_input_is_left_out() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [p.name for p in FIELD.iterdir() if p.is_dir() and p.name not in text] == []
