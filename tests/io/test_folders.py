"""Folders of planes: natural order, one size, one kind, nothing from elsewhere."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

import mitonb as mn
from mitonb.errors import AxesError, CorruptFileError, InputError, UnsafeFileError
from mitonb.io.images import natural


def fill(folder, count=12, *, ending=".png", name="plane_{}", dtype=np.uint8):
    """Write planes whose first pixel is their number, without leading zeros."""
    folder.mkdir(exist_ok=True)
    for k in range(1, count + 1):
        image = np.full((6, 8), 100, dtype)
        image[0, 0] = k
        path = folder / (name.format(k) + ending)
        if ending == ".tif":
            tifffile.imwrite(path, image)
        else:
            Image.fromarray(image).save(path, **({"quality": 100} if ending == ".jpg" else {}))
    return folder


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_plane_2_comes_before_plane_10(tmp_path, ending, dtype):
    stack = mn.open(fill(tmp_path / "cell", ending=ending, dtype=dtype))
    assert stack.shape == (12, 6, 8)
    assert stack.dtype == dtype
    assert stack.data[:, 0, 0].tolist() == list(range(1, 13))
    assert stack.plane(9).image[0, 0] == 10


def test_jpegs_open_within_their_loss(tmp_path):
    stack = mn.open(fill(tmp_path / "cell", ending=".jpg"))
    assert stack.shape == (12, 6, 8)
    assert np.median(stack.read()) == pytest.approx(100, abs=3)


def test_natural_order_goes_by_each_number_in_turn():
    names = ["s2_z10", "s10_z1", "s2_z9", "S2_z1", "a"]
    assert sorted(names, key=natural) == ["a", "S2_z1", "s2_z9", "s2_z10", "s10_z1"]


def test_other_files_and_hidden_ones_are_left_out(tmp_path):
    folder = fill(tmp_path / "cell", 3)
    (folder / "notes.txt").write_text("seen")
    (folder / "Thumbs.db").write_bytes(b"\0" * 10)
    (folder / "._plane_1.png").write_bytes(b"junk of a Mac")
    assert mn.open(folder).shape == (3, 6, 8)


def test_a_missing_number_is_said(tmp_path):
    folder = fill(tmp_path / "cell", 8)
    (folder / "plane_5.png").unlink()
    stack = mn.open(folder)
    assert stack.shape[0] == 7
    assert any("5 missing" in note for note in stack.notes)


def test_planes_of_other_size_are_named(tmp_path):
    folder = fill(tmp_path / "cell", 4)
    Image.fromarray(np.zeros((6, 9), np.uint8)).save(folder / "plane_3.png")
    with pytest.raises(InputError, match=r"plane_1.png is 8 x 6, uint8, but plane_3.png is 9 x 6, uint8\. Remove"):
        mn.open(folder)


def test_two_kinds_of_planes_ask_which(tmp_path):
    folder = fill(fill(tmp_path / "cell", 4), 2, ending=".tif")
    with pytest.raises(InputError, match=r"4 PNG and 2 TIFF files: which are the planes"):
        mn.open(folder)
    assert mn.open(sorted(folder.glob("*.tif"))).shape == (2, 6, 8)


def test_an_empty_folder_says_what_to_give(tmp_path):
    with pytest.raises(InputError, match=r"is empty. Give a folder with one PNG"):
        mn.open(tmp_path)
    with pytest.raises(InputError, match="empty list names no planes"):
        mn.open([])


def test_a_folder_of_something_else_names_an_example(tmp_path):
    (tmp_path / "song.mp3").write_bytes(b"la")
    with pytest.raises(InputError, match=r"holds no PNG, TIFF or JPEG, but 'song.mp3'\."):
        mn.open(tmp_path)


def test_a_folder_with_one_stack_opens_the_stack(tmp_path, volume):
    tifffile.imwrite(tmp_path / "only.tif", volume, photometric="minisblack")
    np.testing.assert_array_equal(mn.open(tmp_path).read(), volume)


def test_stacks_in_a_folder_are_not_planes(tmp_path, volume):
    for k in range(2):
        tifffile.imwrite(tmp_path / f"{k}.tif", volume, photometric="minisblack")
    with pytest.raises(AxesError, match="each file of a folder is one plane"):
        mn.open(tmp_path)


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    folder = fill(tmp_path / "cell", 2)
    secret = fill(tmp_path / "other", 1) / "plane_1.png"
    (folder / "plane_3.png").symlink_to(secret)
    with pytest.raises(UnsafeFileError, match="link to a file that lies outside of the folder"):
        mn.open(folder)


def test_a_damaged_plane_is_named_when_it_is_read(tmp_path):
    folder = fill(tmp_path / "cell", 3, dtype=np.uint16)
    path = folder / "plane_2.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(CorruptFileError, match=r"plane_2.png cannot be read: it is damaged, truncated"):
        mn.open(folder).plane(1)


def test_one_picture_becomes_one_plane(tmp_path):
    path = fill(tmp_path / "cell", 1) / "plane_1.png"
    stack = mn.open(path)
    assert stack.shape == (1, 6, 8)
    assert stack.plane(0).image[0, 0] == 1


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "1"])
def test_grey_pictures_of_every_mode_open_as_grey(tmp_path, mode):
    grey = np.zeros((6, 8), np.uint8)
    grey[2:] = 255
    Image.fromarray(grey).convert(mode).save(tmp_path / "cell.png")
    image = mn.open(tmp_path / "cell.png").read()[0]
    assert set(image[:2].ravel()) == {0}
    assert len(set(image[2:].ravel())) == 1
    assert image[2, 0] > 0


def test_coloured_pictures_ask_for_a_channel(tmp_path):
    red = np.zeros((6, 8, 3), np.uint8)
    red[..., 0] = 200
    Image.fromarray(red).save(tmp_path / "cell.png")
    with pytest.raises(AxesError, match="channel=0 to 2"):
        mn.open(tmp_path / "cell.png")
    assert mn.open(tmp_path / "cell.png", channel=0).read().min() == 200


def test_colours_of_16_bits_keep_their_bits(tmp_path):
    colours = np.random.default_rng(0).integers(0, 2**16, (6, 8, 3)).astype(np.uint16)
    (tmp_path / "cell.png").write_bytes(imagecodecs.png_encode(colours))
    np.testing.assert_array_equal(mn.open(tmp_path / "cell.png", channel=1).read()[0], colours[..., 1])


def test_a_picture_of_many_pixels_is_no_bomb(tmp_path):
    Image.new("1", (20_000, 10_000)).save(tmp_path / "cell.png")  # more than Pillow takes by itself
    assert mn.open(tmp_path / "cell.png").shape == (1, 10_000, 20_000)
