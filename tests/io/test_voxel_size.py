"""Voxel sizes come from the file in nm, or are unknown; they are never made up."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

import mitonb as mn
from mitonb.errors import InputError


def imagej(path, *, unit, size, spacing=None, planes=3):
    """Write an ImageJ file with a pixel size in a unit."""
    metadata = {"axes": "ZYX", "unit": unit} | ({} if spacing is None else {"spacing": spacing})
    data = np.zeros((planes, 4, 5), np.uint8)
    tifffile.imwrite(path, data, imagej=True, resolution=(1 / size, 1 / size), metadata=metadata)
    return path


@pytest.mark.parametrize(
    ("unit", "size", "spacing", "nm"),
    [
        ("micron", 0.008, 0.03, (30, 8, 8)),
        ("um", 0.008, 0.03, (30, 8, 8)),
        ("\\u00B5m", 0.008, 0.03, (30, 8, 8)),
        ("nm", 4.6, 45.0, (45, 4.6, 4.6)),
        ("mm", 0.000008, 0.00003, (30, 8, 8)),
        ("inch", 1e-6, 2e-6, (50.8, 25.4, 25.4)),
    ],
)
def test_imagej_units_become_nanometres(tmp_path, unit, size, spacing, nm):
    assert mn.open(imagej(tmp_path / "cell.tif", unit=unit, size=size, spacing=spacing)).voxel_size == pytest.approx(
        nm, rel=1e-4
    )


@pytest.mark.parametrize("unit", ["pixel", "furlong", ""])
def test_other_units_are_unknown_and_said(tmp_path, unit):
    stack = mn.open(imagej(tmp_path / "cell.tif", unit=unit, size=0.5, spacing=1.0))
    assert stack.voxel_size is None
    assert "voxel size unknown" in repr(stack)
    assert any("unknown" in note for note in stack.notes)


def test_imagej_without_spacing_names_what_is_known(tmp_path):
    stack = mn.open(imagej(tmp_path / "cell.tif", unit="nm", size=4.0))
    assert stack.voxel_size is None
    assert any("voxel_size=(z, 4, 4)" in note for note in stack.notes)


def test_a_single_plane_is_as_thick_as_a_pixel_and_says_so(tmp_path):
    stack = mn.open(imagej(tmp_path / "cell.tif", unit="nm", size=4.0, planes=1))
    assert stack.voxel_size == pytest.approx((4, 4, 4))
    assert any("as thick as a pixel" in note for note in stack.notes)


@pytest.mark.parametrize("dpi", [72, 96, 300])
def test_dots_per_inch_of_a_paint_program_are_no_voxel_size(tmp_path, dpi):
    path = tmp_path / "cell.tif"
    tifffile.imwrite(
        path, np.zeros((3, 4, 5), np.uint8), resolution=(dpi, dpi), resolutionunit="INCH", photometric="minisblack"
    )
    assert mn.open(path).voxel_size is None


def test_resolution_per_centimetre_of_a_microscope_counts(tmp_path):
    path = tmp_path / "plane.tif"
    tifffile.imwrite(
        path, np.zeros((4, 5), np.uint8), resolution=(2e6, 1e6), resolutionunit="CENTIMETER", photometric="minisblack"
    )
    assert mn.open(path).voxel_size == pytest.approx((5, 10, 5))


@pytest.mark.parametrize(
    ("unit", "factor"), [("nm", 1.0), ("\u00b5m", 1e3), ("mm", 1e6), ("\u00c5", 0.1), ("pm", 1e-3), (None, 1e3)]
)
def test_ome_physical_sizes_become_nanometres(tmp_path, unit, factor):
    metadata = {"axes": "ZYX"}
    for axis, size in zip("ZYX", (40.0, 8.0, 7.0), strict=True):
        metadata[f"PhysicalSize{axis}"] = size / factor
        if unit is not None:
            metadata[f"PhysicalSize{axis}Unit"] = unit
    path = tmp_path / "cell.ome.tif"
    tifffile.imwrite(path, np.zeros((3, 4, 5), np.uint8), ome=True, metadata=metadata, photometric="minisblack")
    assert mn.open(path).voxel_size == pytest.approx((40, 8, 7))


def test_the_caller_overrules_the_file(tmp_path):
    path = imagej(tmp_path / "cell.tif", unit="nm", size=4.0, spacing=40.0)
    assert mn.open(path, voxel_size=(50, 5, 5)).voxel_size == (50, 5, 5)
    assert mn.open(path, voxel_size=6).voxel_size == (6, 6, 6)


@pytest.mark.parametrize("size", [0, -1, (1, 2), (1, 2, float("nan")), "8 nm", (8, 8, None)])
def test_impossible_voxel_sizes_are_refused(volume, size):
    with pytest.raises(InputError, match="voxel_size is one"):
        mn.open(volume, voxel_size=size)


def test_spacing_follows_its_axis_through_axes(tmp_path):
    path = imagej(tmp_path / "cell.tif", unit="nm", size=4.0, spacing=40.0)
    assert mn.open(path, axes="yzx").voxel_size == pytest.approx((4, 40, 4))


def test_png_pixels_per_metre_count_where_they_are_a_microscopes(tmp_path):
    from PIL import Image

    image = Image.fromarray(np.zeros((4, 5), np.uint8))
    image.save(tmp_path / "em.png", dpi=(25_400_000 / 5, 25_400_000 / 5))
    assert mn.open(tmp_path / "em.png").voxel_size == pytest.approx((5, 5, 5))
    image.save(tmp_path / "web.png", dpi=(72, 72))
    assert mn.open(tmp_path / "web.png").voxel_size is None


@pytest.mark.parametrize("size", [np.float32(8), np.int64(8), np.array([8, 8, 8]), [8, 8, 8]])
def test_voxel_sizes_of_numpy_are_numbers_too(volume, size):
    assert mn.open(mn.open(volume), voxel_size=size).voxel_size == (8.0, 8.0, 8.0)
