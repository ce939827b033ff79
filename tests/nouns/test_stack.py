"""Stacks know their shape, their units and their grey range."""

from pathlib import Path

import numpy as np
import pytest

from mitonb.errors import AxesError, InputError
from mitonb.labels import Labels
from mitonb.stack import Stack, intensity_range


def test_planes_of_each_axis_are_cut_where_they_should_be():
    data = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    stack = Stack(data, (30.0, 5.0, 4.0))
    assert np.array_equal(stack.plane(1).image, data[1])
    assert np.array_equal(stack.plane(2, "xz").image, data[:, 2])
    assert np.array_equal(stack.plane(-1, "yz").image, data[:, :, 3])
    assert stack.plane(0, "xz").pixel_size == (30.0, 4.0)
    assert [stack.count(axis) for axis in ("xy", "xz", "yz")] == [2, 3, 4]


def test_a_plane_outside_the_stack_is_refused_with_the_range():
    with pytest.raises(InputError, match=r"2 xy planes \(0 to 1\), got plane 2"):
        Stack(np.zeros((2, 3, 4), np.uint8)).plane(2)


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (np.zeros((3, 4)), AxesError, "pass image\\[None\\]"),
        (np.zeros((1, 2, 3, 4, 5)), AxesError, "3 axes"),
        (np.zeros((0, 5, 5)), InputError, "at least one voxel"),
        (np.zeros((2, 2, 2), complex), InputError, "real numbers"),
    ],
)
def test_arrays_that_are_no_stack_are_refused(data, error, words):
    with pytest.raises(error, match=words):
        Stack(data)


def test_the_voxel_size_is_positive_or_unknown():
    stack = Stack(np.zeros((2, 2, 2), np.uint8))
    assert "voxel size unknown" in repr(stack)
    assert stack.with_voxel_size(8).voxel_size == (8.0, 8.0, 8.0)
    assert stack.with_voxel_size(50, 4.6, 4.6).voxel_size == (50.0, 4.6, 4.6)
    with pytest.raises(InputError, match="positive nanometres"):
        stack.with_voxel_size(0)
    with pytest.raises(InputError, match="one size or three"):
        stack.with_voxel_size(1, 2)


def test_the_grey_range_follows_the_rule_and_never_the_dtype_maximum():
    assert intensity_range(np.zeros((2, 4, 4), np.uint8)) == (0.0, 255.0)
    assert intensity_range(np.zeros((2, 4, 4), bool)) == (0.0, 1.0)
    ramp = np.linspace(1000, 2000, 2 * 64 * 64).astype(np.int32).reshape(2, 64, 64)
    low, high = intensity_range(ramp)
    assert 1000 <= low < 1010
    assert 1990 < high <= 2000


def test_constant_and_unusable_values_still_give_a_range():
    assert intensity_range(np.full((1, 4, 4), 7, np.uint16)) == (7.0, 8.0)
    assert intensity_range(np.full((1, 4, 4), np.nan, np.float32)) == (0.0, 1.0)
    half = np.array([[[np.inf, 1.0], [2.0, np.nan]]])
    low, high = intensity_range(half)
    assert 1 <= low < high <= 2


def test_lists_and_sizes_in_other_forms_become_what_they_mean():
    stack = Stack([[[1, 2], [3, 4]]], [8, 4, 4])
    assert stack.shape == (1, 2, 2)
    assert stack.voxel_size == (8.0, 4.0, 4.0)
    assert Stack(np.zeros((1, 2, 2)), np.float32(8)).voxel_size == (8.0, 8.0, 8.0)
    with pytest.raises(InputError, match=r"got \(8, 8\)"):
        Stack(np.zeros((1, 2, 2)), (8, 8))
    for index in (0.5, "first"):
        with pytest.raises(InputError, match="got plane"):
            stack.plane(index)


@pytest.mark.parametrize("value", [1e20, -1e20, 2**62, 1.7e308])
def test_the_grey_range_of_large_constants_is_finite_and_not_empty(value):
    for data in (np.full((2, 3, 4), value), np.array([[[-1.7e308, 1.7e308]]])):
        low, high = intensity_range(data)
        assert np.isfinite((low, high)).all()
        assert low < high


def test_a_path_is_no_stack_and_no_labels_and_the_message_says_how_to_open_it():
    for wrong in ("cell.tif", Path("cell.tif")):
        with pytest.raises(InputError, match=r"got the path 'cell.tif'\. Open it with mn.open"):
            Stack(wrong)
    with pytest.raises(InputError, match=r"got 'cell.tif'\. Open a file with mn.open_labels"):
        Labels("cell.tif")
