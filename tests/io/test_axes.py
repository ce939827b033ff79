"""Axes are named by the file or by the caller, never guessed."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

import mitonb as mn
from mitonb.errors import AxesError, InputError


def write(path, data, axes=None, **options):
    metadata = {"axes": axes} if axes else None
    options = {"photometric": "minisblack", **options}
    tifffile.imwrite(path, data, metadata=metadata, **options)
    return path


@pytest.fixture
def five() -> np.ndarray:
    """(t 2, c 3, z 4, y 5, x 6)"""
    return np.arange(720, dtype=np.uint16).reshape(2, 3, 4, 5, 6)


def test_a_5d_file_asks_for_channel_and_time(tmp_path, five):
    path = tmp_path / "five.tif"
    tifffile.imwrite(path, five.swapaxes(1, 2), imagej=True, metadata={"axes": "TZCYX"})
    with pytest.raises(AxesError, match=r"time 2, z 4, channel 3, y 5, x 6.*time=0 to 1"):
        mn.open(path)
    with pytest.raises(AxesError, match=r"channel=0 to 2"):
        mn.open(path, time=1)
    np.testing.assert_array_equal(mn.open(path, time=1, channel=-1).read(), five[1, 2])


def test_a_5d_array_asks_for_its_axes(five):
    with pytest.raises(AxesError, match=r"axes='tczyx' with channel=0 and time=0"):
        mn.open(five)
    np.testing.assert_array_equal(mn.open(five, axes="tczyx", channel=1, time=0).read(), five[0, 1])
    np.testing.assert_array_equal(mn.open(five, axes="TCZYX", channel=1, time=0).read(), five[0, 1])


def test_a_4d_array_asks_for_its_axes(five):
    with pytest.raises(AxesError, match=r"4 axes \(3, 4, 5, 6\).*axes='czyx' with channel=0"):
        mn.open(five[0])


@pytest.mark.parametrize("axes", ["zyx", "xyz", "yxz", "xzy"])
def test_axes_put_any_order_right(axes):
    want = np.arange(60).reshape(3, 4, 5)
    array = want.transpose(["zyx".index(c) for c in axes])
    stack = mn.open(array, axes=axes)
    np.testing.assert_array_equal(stack.read(), want)
    np.testing.assert_array_equal(stack.data[::-1, 1, 2:4], want[::-1, 1, 2:4])


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ("zy", "names 2"),
        ("zzx", "each axis once"),
        ("zyq", "each axis once"),
        ("tcz", "each axis once"),
        ("", "names 0"),
    ],
)
def test_wrong_axes_are_refused(volume, axes, said):
    with pytest.raises(AxesError, match=said):
        mn.open(volume, axes=axes)


def test_axes_of_length_one_are_dropped(volume):
    for array in (volume[None], volume[:, None], volume[..., None], volume[None, None]):
        np.testing.assert_array_equal(mn.open(array).read(), volume)
    assert mn.open(volume[None, :1]).shape == (1, 5, 7)
    assert mn.open(volume[0]).shape == (1, 5, 7)


def test_an_array_that_could_be_colour_is_not_guessed():
    array = np.zeros((20, 30, 3), np.uint8)
    with pytest.raises(AxesError, match=r"could be colour or x.*axes='yxc'.*axes='zyx'"):
        mn.open(array)
    assert mn.open(array, axes="zyx").shape == (20, 30, 3)
    assert mn.open(array, axes="yxc", channel=0).shape == (1, 20, 30)


@pytest.mark.parametrize("samples", [3, 4])
def test_coloured_tiffs_ask_for_a_channel(tmp_path, samples):
    data = np.zeros((2, 8, 9, samples), np.uint8)
    data[..., 0], data[..., 1], data[..., 2] = 30, 60, 90
    path = write(tmp_path / "rgb.tif", data, photometric="rgb")
    with pytest.raises(AxesError, match=rf"in colour: choose one channel with channel=0 to {samples - 1}"):
        mn.open(path)
    assert mn.open(path, channel=1).read().max() == 60
    mean = mn.open(path, channel="mean")
    assert mean.shape == (2, 8, 9)
    assert set(np.unique(mean.read())) == {60}
    assert "averaged" in mean.notes[0]


def test_colour_that_is_grey_is_read_as_grey_and_says_so(tmp_path):
    grey = np.arange(2 * 8 * 9, dtype=np.uint8).reshape(2, 8, 9)
    stack = mn.open(write(tmp_path / "rgb.tif", np.stack([grey] * 3, -1), photometric="rgb"))
    np.testing.assert_array_equal(stack.read(), grey)
    assert any("read as grey" in note for note in stack.notes)


def test_time_that_may_be_depth_is_asked_for(tmp_path, volume):
    path = tmp_path / "time.tif"
    tifffile.imwrite(path, volume, imagej=True, metadata={"axes": "TYX"})
    with pytest.raises(AxesError, match=r"time 3, y 5, x 7.*time=0 to 2.*axes='zyx'"):
        mn.open(path)
    np.testing.assert_array_equal(mn.open(path, axes="zyx").read(), volume)
    np.testing.assert_array_equal(mn.open(path, time=2).read(), volume[2:])


def test_a_choice_that_is_not_there_is_refused(volume):
    with pytest.raises(AxesError, match="no channel axis"):
        mn.open(volume, channel=0)
    with pytest.raises(AxesError, match="no time axis"):
        mn.open(volume, time=0)
    with pytest.raises(AxesError, match=r"channel 0 to 1, got channel=2"):
        mn.open(np.stack([volume, volume]), axes="czyx", channel=2)


@pytest.mark.parametrize("shape", [(0, 5, 5), (5, 0, 5), (5, 5, 0), (0,), (2, 0, 4, 4)])
def test_an_axis_without_voxels_is_refused(shape):
    with pytest.raises(InputError, match="at least one voxel"):
        mn.open(np.zeros(shape, np.uint8), axes="zyx"[: len(shape)] if len(shape) == 3 else None)


@pytest.mark.parametrize("shape", [(), (5,)])
def test_numbers_and_lines_are_no_images(shape):
    with pytest.raises(AxesError, match="needs at least y and x"):
        mn.open(np.zeros(shape, np.uint8))


def test_a_file_with_images_of_several_sizes_asks_which(tmp_path):
    path = tmp_path / "two.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(np.zeros((4, 8, 9), np.uint8), photometric="minisblack")
        writer.write(np.ones((16, 18), np.uint8), photometric="minisblack")
    with pytest.raises(AxesError, match=r"holds 2 images.*series=0.*series=1"):
        mn.open(path)
    assert mn.open(path, series=1).shape == (1, 16, 18)
    with pytest.raises(InputError, match="images 0 to 1"):
        mn.open(path, series=2)
    with pytest.raises(InputError, match="a number, such as series=0"):
        mn.open(path, series="one")
