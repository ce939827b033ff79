"""Labels never change an id; maps agree on their shapes; boxes are half open."""

import numpy as np
import pytest

from mitonb.box import Box
from mitonb.errors import AxesError, InputError
from mitonb.labels import Labels
from mitonb.maps import Maps


@pytest.mark.parametrize("dtype", [bool, np.uint8, ">u2", np.int32, np.uint64, np.float32, np.float64])
def test_labels_of_any_dtype_keep_their_ids(dtype):
    data = np.array([[[0, 1], [1, 0]]], dtype=dtype)
    labels = Labels(data)
    assert labels.data.dtype == np.uint32
    assert np.array_equal(labels.data, data.astype(int))


def test_neighbouring_large_ids_stay_apart():
    data = np.array([[[2**24, 2**24 + 1, 2**32 - 1]]], dtype=np.uint64)
    assert Labels(data).ids().tolist() == [2**24, 2**24 + 1, 2**32 - 1]


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (np.zeros((3, 3), np.uint8), AxesError, "pass ids\\[None\\]"),
        (np.array([[[-1, 2, -1]]]), InputError, "2 voxels with negative ids"),
        (np.array([[[2**32]]]), InputError, "Renumber"),
        (np.array([[[0.5]]]), InputError, "whole numbers"),
        (np.array([[[np.nan]]]), InputError, "whole numbers"),
        (np.array([[["a"]]]), InputError, "whole numbers, got dtype"),
    ],
)
def test_arrays_that_are_no_labels_are_refused(data, error, words):
    with pytest.raises(error, match=words):
        Labels(data)


def test_maps_refuse_shapes_that_do_not_belong_together():
    with pytest.raises(InputError, match=r"need center of shape \(3, 4\)"):
        Maps(
            {"semantic": np.zeros((1, 9, 16)), "center": np.zeros((9, 16)), "offsets": np.zeros((2, 9, 16))},
            output_stride=4,
        )


def test_the_kept_form_is_small_and_keeping_it_again_changes_nothing():
    maps = Maps(
        {"semantic": np.full((1, 8, 8), 0.5), "center": np.ones((2, 2)), "offsets": np.full((2, 2, 2), -3.25)},
        output_stride=4,
    )
    kept = maps.kept()
    assert (kept.semantic.dtype, kept.center.dtype, kept.offsets.dtype) == (np.uint8, np.float16, np.float16)
    assert kept.nbytes == 64 + 8 + 16
    assert np.array_equal(kept.kept().semantic, kept.semantic)


def test_boxes_are_half_open_and_clip_to_the_volume():
    box = Box((1, 2, 3), (2, 5, 9))
    assert (box.shape, box.size) == ((1, 3, 6), 18)
    assert box.grow(4).clip((3, 6, 6)) == Box((0, 0, 0), (3, 6, 6))
    assert box.union(Box((0, 4, 4), (1, 6, 5))) == Box((0, 2, 3), (2, 6, 9))
    assert np.zeros((3, 6, 10))[box.slices].shape == (1, 3, 6)
    assert Box((5, 5, 5), (1, 1, 1)).size == 0


def test_labels_check_their_voxel_size_and_hold_a_plain_array():
    assert Labels(np.zeros((1, 2, 2), np.uint32), 8).voxel_size == (8.0, 8.0, 8.0)
    with pytest.raises(InputError, match="one size or three"):
        Labels(np.zeros((1, 2, 2), np.uint32), (8, 8))
    masked = np.ma.masked_array(np.ones((1, 2, 2), np.uint32), mask=False)
    assert type(Labels(masked).data) is np.ndarray


def test_an_output_stride_below_one_is_refused():
    with pytest.raises(InputError, match="at least 1, got 0"):
        Maps({"semantic": np.zeros((1, 4, 4)), "center": np.zeros((4, 4)), "offsets": np.zeros((2, 4, 4))}, 0)


def test_a_pixel_offset_is_taken_out_linearly_and_must_be_inside_the_stride():
    ramp = np.array([[1, 5], [5, 9]], np.float32)  # y + x + 1 at the places 0 and 4 beyond the offset
    maps = Maps({"semantic": np.zeros((1, 8, 8)), "center": ramp, "offsets": np.zeros((2, 2, 2))}, 4, pixel_offset=1.0)
    assert maps.cornered().center.tolist() == [[1, 4], [4, 7]]  # beyond the first place: its value
    assert maps.cornered().pixel_offset == 0
    assert maps.kept().pixel_offset == 1.0
    with pytest.raises(InputError, match="below the output stride of 4 pixels, got 4"):
        Maps({"semantic": np.zeros((1, 8, 8)), "center": ramp, "offsets": np.zeros((2, 2, 2))}, 4, pixel_offset=4.0)


def test_maps_hold_any_heads_of_a_plane_or_of_a_block_by_name():
    block = Maps(
        {"semantic": np.ones((1, 4, 8, 8)), "contour": np.zeros((1, 4, 8, 8)), "distance": np.ones((1, 4, 8, 8))}
    )
    assert block.shape == (4, 8, 8)
    assert "contour" in block
    assert "center" not in block
    kept = block.kept()
    assert (kept["contour"].dtype, kept["distance"].dtype) == (np.uint8, np.float16)
    with pytest.raises(InputError, match="no center head, but semantic, contour, distance"):
        _ = block.center
    with pytest.raises(InputError, match=r"as large as the others \(4, 8, 8\)"):
        block.replace(contour=np.zeros((1, 8, 8)))
