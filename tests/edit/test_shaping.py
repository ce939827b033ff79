"""Shapes: objects grown, shrunk, smoothed, filled and put in order; neighbours stay as they are."""

import numpy as np
import pytest

from mitonb.errors import InputError
from mitonb.session import Session


def block(shape=(5, 20, 30), inside=(slice(1, 4), slice(5, 15), slice(5, 15)), id=1):
    labels = np.zeros(shape, np.uint32)
    labels[inside] = id
    return labels


def test_growing_stops_at_a_neighbour_and_shrinking_is_undone_exactly():
    labels = block()
    labels[:, :, 16:20] = 2
    session = Session(labels=labels)
    session.grow(1)
    after = session.labels.data
    assert (after[2, 10] == 1).sum() == 12  # 4 .. 15
    assert (after[0] == 1).sum() == 100
    assert np.array_equal(after == 2, labels == 2)
    session.grow(1, by=3)
    assert np.array_equal(session.labels.data == 2, labels == 2)
    session.undo()
    session.undo()
    session.shrink(1)
    assert session.voxels(1) == 8 * 8
    assert session.history()[-1].code == "session.shrink(1)"
    session.undo()
    assert np.array_equal(session.labels.data, labels)


def test_two_objects_that_grow_towards_each_other_share_no_voxel():
    labels = block()
    labels[1:4, 5:15, 16:26] = 2
    session = Session(labels=labels)
    session.grow(1, 2, by=2)
    assert (session.labels.data[2, 10, 15] == 1).all()
    assert session.voxels(1) > session.voxels(2)
    session.undo()
    assert np.array_equal(session.labels.data, labels)
    session.redo()
    assert session.voxels(2) > 300


def test_lengths_are_in_the_smallest_side_of_a_voxel():
    session = Session(labels=block())
    session.set_voxel_size(30, 5, 5)
    session.grow(1, by=2)
    assert not session.labels.data[0].any()
    assert (session.labels.data[2, 10] == 1).sum() == 14


def test_what_would_be_nothing_is_refused():
    session = Session(labels=block(inside=(slice(1, 2), slice(5, 7), slice(5, 7))))
    for verb in (session.shrink, session.smooth):
        with pytest.raises(InputError, match="Nothing of object 1 would be left"):
            verb(1, by=4)
    for by in (-1, 1000, "far", True, float("nan")):
        with pytest.raises(InputError, match="by 0 to 64 voxels"):
            session.grow(1, by=by)
    with pytest.raises(InputError, match="Name at least one object"):
        session.fill_holes()
    with pytest.raises(InputError, match="in one piece"):
        session.split_pieces(1)
    with pytest.raises(InputError, match="No xy plane is missing"):
        session.interpolate(1)


def test_smoothing_takes_a_spike_away_and_keeps_the_body():
    labels = block()
    labels[2, 10, 15:22] = 1
    session = Session(labels=labels)
    session.smooth(1, by=1)
    assert not session.labels.data[2, 10, 17:].any()
    assert session.labels.data[2, 10, 6:14].all()


def test_holes_are_filled_but_not_with_what_is_another_object():
    labels = block()
    labels[2, 8:10, 8:10] = 0
    labels[2, 12, 12] = 5
    session = Session(labels=labels)
    session.fill_holes(1)
    assert (session.labels.data[2, 8:10, 8:10] == 1).all()
    assert session.labels.data[2, 12, 12] == 5
    assert session.fill_holes(1).what == "nothing"


def test_pieces_become_objects_or_go():
    labels = block()
    labels[0, 0, 0] = labels[4, 18, 25:28] = 1
    session = Session(labels=labels)
    assert session.split_pieces(1).new == (2, 3)
    assert sorted(session.voxels(id) for id in (2, 3)) == [1, 3]
    session.undo()
    session.keep_largest(1)
    assert session.voxels(1) == 300


def test_pieces_in_a_row_of_voxels_become_objects_or_go():
    session = Session(labels=np.array([[[1, 0, 1]]], np.uint32))
    assert session.split_pieces(1).new == (2,)
    session.undo()
    session.keep_largest(1)
    assert session.voxels(1) == 1


def test_planes_between_painted_ones_are_filled_half_way():
    labels = np.zeros((9, 20, 30), np.uint32)
    labels[1, 5:15, 3:9] = 1
    labels[7, 5:15, 9:15] = 1
    labels[4, 0:20, 20:] = 2
    session = Session(labels=labels)
    session.interpolate(1)
    after = session.labels.data
    assert [int((after[z] == 1).any()) for z in range(9)] == [0, 1, 1, 1, 1, 1, 1, 1, 0]
    x = np.nonzero(after[4] == 1)[1]
    assert 5 <= x.min() <= x.max() <= 12
    assert np.array_equal(after == 2, labels == 2)
    assert session.history()[-1].code == "session.interpolate(1)"


@pytest.mark.parametrize("axis", ["xy", "xz", "yz"])
def test_merge_and_delete_change_one_plane(axis):
    labels = np.zeros((6, 6, 6), np.uint32)
    labels[1:5, 1:5, 1:3] = 1
    labels[1:5, 1:5, 3:5] = 2
    along = {"xy": 0, "xz": 1, "yz": 2}[axis]
    session = Session(labels=labels)
    session.merge_on_plane(1, 2, axis=axis, index=3)
    planes = np.moveaxis(session.labels.data, along, 0)
    assert not (planes[3] == 2).any()
    assert np.array_equal(planes[2], np.moveaxis(labels, along, 0)[2])
    session.delete_on_plane(1, axis=axis, index=3)
    assert not planes[3].any()
    assert session.history()[-1].code == f"session.delete_on_plane(1, axis='{axis}', index=3)"


def test_what_an_object_had_once_makes_no_difference():
    labels = np.zeros((3, 26, 40), np.uint32)
    labels[0, 3:23, 10:13] = labels[2, 3:23, 10:30] = 1
    plain, other = Session(labels=labels), Session(labels=labels)
    assert other.box(1).start == (0, 3, 10)
    other.paint([[0, 25, 0]], id=1, radius=0)
    other.erase([[0, 25, 0]], radius=0)
    plain.interpolate(1)
    other.interpolate(1)
    assert np.array_equal(plain.labels.data, other.labels.data)


def test_an_outline_is_copied_to_planes_beside_it_on_background_alone():
    labels = np.zeros((6, 8, 8), np.uint32)
    labels[2, 2:5, 2:5] = 7
    labels[4, 2:5, 4] = 9
    session = Session(labels=labels)
    session.extrude(7, axis="xy", index=2, by=9)
    assert [(session.labels.data[z] == 7).sum() for z in range(6)] == [0, 0, 9, 9, 6, 9]
    assert session.voxels(9) == 3
    assert session.history()[-1].code == "session.extrude(7, axis='xy', index=2, by=3)", "the volume ends there"
    session.undo()
    session.extrude(7, axis="xz", index=2, by=-1)
    assert session.history()[-1].text == "copied the outline of object 7 on xz plane 2 to 1 plane before it"
    assert (session.labels.data[2, 1] == 7).sum() == 3


@pytest.mark.parametrize("by", [0, True, 1.5, "2", None])
def test_an_outline_is_copied_to_a_whole_number_of_planes(by):
    session = Session(labels=np.ones((3, 4, 4), np.uint32))
    with pytest.raises(InputError, match="copied to a number of planes"):
        session.extrude(1, axis="xy", index=1, by=by)


def test_what_is_not_on_the_plane_or_has_no_plane_beside_it_cannot_be_copied():
    labels = np.zeros((3, 4, 4), np.uint32)
    labels[1] = 5
    session = Session(labels=labels)
    with pytest.raises(InputError, match="Object 5 is not on xy plane 0"):
        session.extrude(5, axis="xy", index=0)
    with pytest.raises(InputError, match="There is no xz plane after plane 3"):
        session.extrude(5, axis="xz", index=3, by=2)
