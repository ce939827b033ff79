"""Splitting: what seeds, necks and lines make of drawn objects, with answers that one can count."""

import numpy as np
import pytest
from scipy import ndimage

from mitonb.edit import splitting
from mitonb.errors import InputError
from mitonb.session import Session

EVERYWHERE = np.ones((3, 3, 3))


def ball(shape, center, radius, voxel_size=(1, 1, 1)):
    away = sum(
        ((v - c) * s) ** 2 for v, c, s in zip(np.indices(shape), center, voxel_size, strict=True)
    )  # fmt: skip
    return away <= radius**2


def dumbbell(gap=20, radius=10):
    """Return two balls of id 7 that overlap, the left one larger, and an object 9 beside them."""
    labels = np.zeros((30, 40, 70), np.uint32)
    labels[ball(labels.shape, (15, 20, 20), radius + 2) | ball(labels.shape, (15, 20, 20 + gap), radius)] = 7
    labels[:, :, 60:64] = 9
    return labels


def in_one_piece(mask):
    return ndimage.label(mask, EVERYWHERE)[1] == 1


def test_two_seeds_part_a_dumbbell_at_its_neck_and_the_larger_ball_keeps_the_id():
    labels = dumbbell()
    session = Session(labels=labels)
    change = session.split(7, (15, 20, 45), (15, 20, 14))
    after = session.labels.data
    assert change.new == (10,)
    assert session.voxels(7) > session.voxels(10) > 0
    # The spheres of radius 12 and 10 around x = 20 and 40 meet at x = 31.1.
    x = np.nonzero(after == 10)[2]
    assert x.min() in (31, 32, 33)
    assert np.array_equal(after[labels != 7], labels[labels != 7])
    assert np.array_equal((after == 7) | (after == 10), labels == 7)
    assert in_one_piece(after == 7)
    assert in_one_piece(after == 10)
    assert change.box.start[2] >= 31
    session.undo()
    assert np.array_equal(session.labels.data, labels)
    session.redo()
    assert np.array_equal(session.labels.data, after)


def test_a_seed_at_the_border_of_a_thick_part_has_all_of_it():
    session = Session(labels=dumbbell())
    session.split(7, (15, 20, 9), (15, 20, 40))
    assert session.labels.data[15, 20, 28] == 7
    assert session.labels.data[15, 20, 33] == 10


def test_scribbles_are_seeds_and_what_they_have_outside_does_not_count():
    session = Session(labels=dumbbell())
    scribble = [(15, 20, 36), (15, 20, 44), (15, 2, 44)]
    assert session.split(7, (15, 20, 12), scribble).new == (10,)
    assert {int(session.labels.data[p]) for p in scribble} == {10, 0}
    assert session.history()[-1].code == (
        "session.split(7, (15, 20, 12), [(15, 20, 36), (15, 20, 44), (15, 2, 44)], new=[10])"
    )  # fmt: skip


def test_several_scribbles_of_a_part_are_not_joined():
    labels = np.zeros((1, 9, 60), np.uint32)
    for x in (10, 30, 50):  # three squares in a row, joined by thin bridges
        labels[0, 1:8, x - 4 : x + 5] = 7
    labels[0, 4, 10:50] = 7
    session = Session(labels=labels)
    session.split(7, [[(0, 2, 8)], [(0, 2, 10), (0, 4, 12)], [(0, 4, 28)]], (0, 4, 50))
    assert session.labels.data[0, 4, [10, 30, 50]].tolist() == [7, 7, 8]
    code = "session.split(7, [[(0, 2, 8)], [(0, 2, 10), (0, 4, 12)], [(0, 4, 28)]], (0, 4, 50), new=[8])"
    assert session.history()[-1].code == code
    # A line from the first square to the last would run through the seed in the middle one.
    apart = Session(labels=labels)
    apart.split(7, [[(0, 4, 10)], [(0, 4, 50)]], (0, 4, 30))
    assert len(set(apart.labels.data[0, 4, [10, 30]].tolist())) == 2
    again = Session(labels=labels)
    exec(apart.history()[-1].code, {"session": again})
    assert np.array_equal(again.labels.data, apart.labels.data)


def test_the_parts_of_a_split_may_be_named():
    session = Session(labels=dumbbell())
    assert session.split(7, (15, 20, 12), (15, 20, 44), new=[30]).new == (30,)
    session.undo()
    for wrong in ([], [0], [7], [7, 30], ["a"], 5, "30"):
        with pytest.raises(InputError):
            session.split(7, (15, 20, 12), (15, 20, 44), new=wrong)
    assert session.split(7, (15, 20, 12), (15, 20, 44)).new == (31,)


def test_seeds_close_together_in_an_object_that_does_not_fit_are_refused(monkeypatch):
    session = Session(labels=dumbbell())
    monkeypatch.setattr(splitting, "_LOOKED_AT", 200)
    monkeypatch.setattr(splitting, "_BYTES", 1 << 50)
    with pytest.raises(InputError, match=r"so close together needs about .* Set the seeds further apart"):
        session.split(7, (15, 20, 40), (15, 20, 41))


def test_every_seed_makes_a_part_also_in_a_plain_box():
    labels = np.zeros((1, 9, 30), np.uint32)
    labels[0, 2:7, 2:28] = 5
    session = Session(labels=labels)
    assert session.split(5, (0, 4, 4), (0, 4, 14), (0, 4, 25)).new == (6, 7)
    assert [int(session.labels.data[0, 4, x]) for x in (4, 14, 25)] in ([6, 5, 7], [5, 6, 7], [6, 7, 5])
    assert all(in_one_piece(session.labels.data == id) for id in (5, 6, 7))


def test_the_voxel_size_says_where_an_object_is_narrow():
    # Thick in x and thin in z: in nm a neck of 3 planes of 30 nm is wider than one of 12 pixels of 5 nm.
    labels = np.zeros((20, 60, 60), np.uint32)
    labels[:, 10:50, 10:50] = 1
    session = Session(labels=labels)
    session.set_voxel_size(30, 5, 5)
    session.split(1, (2, 30, 30), (17, 30, 30))
    z = np.nonzero(session.labels.data == 2)[0]
    assert len(np.unique(z)) == 10


def test_necks_are_found_without_seeds():
    labels = dumbbell()
    session = Session(labels=labels)
    assert session.split_at_necks(7).new == (10,)
    after = session.labels.data.copy()
    assert session.history()[-1].code == "session.split_at_necks(7, new=[10])"
    session.undo()
    session.split(7, (15, 20, 20), (15, 20, 40))
    assert np.array_equal(session.labels.data == 7, after == 7)


def test_three_balls_are_three_parts_and_a_ball_is_one():
    labels = np.zeros((26, 30, 90), np.uint32)
    for x, r in ((15, 11), (42, 10), (66, 11)):
        labels[ball(labels.shape, (13, 15, x), r)] = 3
    labels[13, 15, 15:70] = 3
    session = Session(labels=labels)
    assert len(session.split_at_necks(3).new) == 2
    assert {int(session.labels.data[13, 15, x]) for x in (15, 42, 66)} == {3, 4, 5}
    session.undo()
    assert len(session.split_at_necks(3, 2).new) == 1
    single = Session(labels=np.where(ball((30, 30, 30), (15, 15, 15), 10), 1, 0))
    with pytest.raises(InputError, match="no neck: 2 parts cannot be told by its shape"):
        single.split_at_necks(1)


def test_a_line_cuts_through_all_planes_or_this_one():
    labels = np.zeros((6, 20, 30), np.uint32)
    labels[:, 5:15, 5:25] = 4
    session = Session(labels=labels)
    change = session.cut(4, [(2, 0, 12), (2, 19, 12)])
    assert change.new == (5,)
    part = session.labels.data == 5
    assert part.sum() == 6 * 10 * 8
    assert part[:, 5:15, 5:13].all()
    assert session.history()[-1].code == "session.cut(4, [[2, 0, 12], [2, 19, 12]], new=[5])"
    session.undo()
    assert session.cut(4, [(2, 0, 12), (2, 19, 12)], through=False).new == (6,)
    assert set(np.nonzero(session.labels.data == 6)[0]) == {2}
    assert session.history()[-1].sentence == "Cut object 4 along a line on xy plane 2 alone: new object 6."


@pytest.mark.parametrize("axis", ["xy", "xz", "yz"])
def test_a_slanted_line_cuts_on_planes_of_every_axis(axis):
    along = {"xy": 0, "xz": 1, "yz": 2}[axis]
    flat = np.zeros((8, 20, 20), np.uint32)
    flat[:, 4:16, 4:16] = 1
    labels = np.ascontiguousarray(np.moveaxis(flat, 0, along))
    session = Session(labels=labels)
    line = [np.insert(p, along, 3).tolist() for p in ([2, 2], [18, 17])]
    assert session.cut(1, line, axis=axis).new == (2,)
    assert in_one_piece(session.labels.data == 1)
    assert in_one_piece(session.labels.data == 2)
    assert abs(session.voxels(1) - session.voxels(2)) < 8 * 48


def test_a_cut_parts_only_what_falls_apart_by_it():
    labels = np.zeros((1, 20, 30), np.uint32)
    labels[0, 2:9, 5:25] = labels[0, 12:18, 5:25] = 7
    session = Session(labels=labels)
    with pytest.raises(InputError, match="does not part object 7"):
        session.cut(7, [(0, 8, 0), (0, 8, 6), (0, 12, 23), (0, 12, 29)])  # along the edges of both
    assert session.cut(7, [(0, 0, 12), (0, 12, 12)]).new == (8,)
    assert (session.labels.data[0, 12:18, 5:25] == 7).all()
    assert np.unique(session.labels.data[0, 2:9, 5:25]).tolist() == [7, 8]


def test_a_cut_across_one_arm_of_a_ring_leaves_what_hangs_together_together():
    # A bow that is open below: seen along z both arms lie over each other nowhere, and one arm alone is cut.
    labels = np.zeros((3, 20, 30), np.uint32)
    labels[1, 3:17, 3:27] = 1
    labels[1, 7:17, 8:22] = 0
    session = Session(labels=labels)
    session.cut(1, [(1, 12, 0), (1, 12, 10)])
    assert session.labels.data[1, 15, 5] == 2
    assert session.labels.data[1, 15, 25] == 1
    assert session.labels.data[1, 5, 15] == 1


def test_pieces_without_a_seed_stay_as_they_are():
    labels = dumbbell()
    labels[2, 2, 2] = 7
    session = Session(labels=labels)
    session.split(7, (15, 20, 14), (15, 20, 45))
    assert session.labels.data[2, 2, 2] == 7
    session.split(7, (2, 2, 2), (15, 20, 14))
    assert session.labels.data[2, 2, 2] == 11


def test_large_objects_are_parted_in_blocks_and_each_part_hangs_together(monkeypatch):
    labels = dumbbell()
    fine = Session(labels=labels)
    fine.split(7, (15, 20, 14), (15, 20, 45))
    monkeypatch.setattr(splitting, "_LOOKED_AT", 2000)
    coarse = Session(labels=labels)
    coarse.split(7, (15, 20, 14), (15, 20, 45))
    assert np.mean(fine.labels.data != coarse.labels.data) < 0.01
    assert in_one_piece(coarse.labels.data == 7)
    assert in_one_piece(coarse.labels.data == 10)
    coarse.split(7, (15, 20, 14), (15, 20, 15))
    assert {int(coarse.labels.data[15, 20, x]) for x in (14, 15)} == {7, 11}


def test_a_journal_keeps_little_of_a_split_of_a_plain_shape(path):
    labels = np.zeros((40, 100, 100), np.uint32)
    labels[5:35, 10:90, 10:90] = 1
    with Session(labels=labels, path=path) as session:
        session.cut(1, [(20, 0, 50), (20, 99, 50)])
        assert len(session._project.store.effect(1)) < 400
        after = session.labels.data.copy()
    with Session.open(path) as again:
        assert np.array_equal(again.labels.data, after)
        again.undo()
        assert np.array_equal(again.labels.data, labels)


@pytest.mark.parametrize(
    ("verb", "given", "says"),
    [
        ("split", {"id": 8, "seeds": [(0, 0, 0), (1, 1, 1)]}, "There is no object 8."),
        ("split", {"id": 0, "seeds": [(0, 0, 0), (1, 1, 1)]}, "0 is background"),
        ("split", {"id": 7, "seeds": [(15, 20, 20)]}, "takes two or more seeds, got 1"),
        ("split", {"id": 7, "seeds": [(15, 20, 20), (0, 0, 0)]}, r"Seed 2 at \(0, 0, 0\) .* lies in background"),
        ("split", {"id": 7, "seeds": [(15, 20, 20), (0, 0, 61)]}, "lies in object 9"),
        ("split", {"id": 7, "seeds": [(15, 20, 20), (15, 20, 20)]}, "Seeds 1 and 2 lie on the same voxel"),
        ("split", {"id": 7, "seeds": [(15, 20, 20), (15, 20, 99)]}, "outside the volume"),
        ("split", {"id": 7, "seeds": [(15, 20, 20), "here"]}, "A seed is a point"),
        ("split", {"id": 7, "seeds": [(15, 20, 20), [[1, 2]]]}, "A seed is a point"),
        ("split", {"id": 7, "seeds": [(15, 20, 20), [[[1, 2]]]]}, "A seed is a point"),
        ("split", {"id": 7, "seeds": [(15, 20, 20), [[(15, 20, 40)], 5]]}, "A seed is a point"),
        ("split_at_necks", {"id": 7, "parts": 50}, "cannot be told by its shape"),
        ("split_at_necks", {"id": 7, "parts": 1}, "The number of parts is from 2"),
        ("split_at_necks", {"id": 7, "parts": "two"}, "The number of parts is from 2"),
        ("cut", {"id": 7, "line": [(15, 20, 20), (15, 39, 20)]}, "draw it right across"),
        ("cut", {"id": 7, "line": [(15, 0, 0), (15, 39, 0)]}, "draw it right across"),
        ("cut", {"id": 7, "line": [(0, 0, 30), (0, 39, 30)]}, "is not on xy plane 0"),
        ("cut", {"id": 7, "line": [(0, 0, 30), (1, 39, 30)]}, "lies on one xy plane"),
    ],
)
def test_what_cannot_be_split_is_a_sentence_and_changes_nothing(verb, given, says):
    session = Session(labels=dumbbell())
    with pytest.raises(InputError, match=says):
        session.preview(verb, **given)
    with pytest.raises(InputError, match=says):
        session.do(verb, **given)
    assert session.version == 0


def test_a_preview_changes_nothing_and_spends_no_id():
    session = Session(labels=dumbbell())
    edit = session.preview("split", id=7, seeds=[(15, 20, 14), (15, 20, 45)])
    assert edit.intent["new"] == [10]
    assert session.version == 0
    assert session.free_ids(1) == [10]
    session.new_id()
    assert session.split(7, (15, 20, 14), (15, 20, 45)).new == (11,)
    with pytest.raises(InputError, match="undo has nothing to look at"):
        session.preview("undo")


def test_pieces_that_are_thin_in_a_larger_box_are_told_apart():
    labels = np.zeros((3, 5, 5), np.uint32)
    labels[:, 1:4, 1:4] = 2
    labels[1, 2, 2] = 0
    session = Session(labels=labels)
    assert session.box(2).shape == (3, 3, 3)
    for z in range(3):
        for hole in [(z, y, x) for y in (1, 2, 3) for x in (1, 2, 3) if (y, x) != (2, 2)]:
            session.erase([hole], radius=0)
    assert session.voxels(2) == 2
    assert session.split_pieces(2).new == (3,)
