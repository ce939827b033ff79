"""What each operation would change, on drawings small enough to count."""

import itertools

import numpy as np
import pytest
from scipy import ndimage

from mitonb.box import Box
from mitonb.edit import ops, project
from mitonb.edit.edits import apply
from mitonb.edit.ops import stroke, trail
from mitonb.edit.project import ObjectTable
from mitonb.errors import AxesError, InputError
from mitonb.session import Session
from mitonb.stack import AXES


def empty(shape=(3, 8, 9)):
    return np.zeros(shape, np.uint32)


def done(labels, edit):
    """Return the labels after an edit, and check that it can be taken back."""
    after = labels.copy()
    apply(after, edit.parts)
    back = after.copy()
    apply(back, edit.parts, backwards=True)
    assert np.array_equal(back, labels)
    return after


def rows(plane):
    return ["".join(".123456789"[v] for v in row) for row in plane]


def two_objects():
    labels = empty((1, 4, 8))
    labels[0, 1:3, 1:3] = 1
    labels[0, 1:3, 5:7] = 2
    return labels


def places(labels):
    return ObjectTable(labels).places


def covered(points, radius, shape):
    """Return the mask of a whole plane of what a brush covers."""
    (top, left), mask = stroke(points, radius, shape)
    plane = np.zeros(shape, bool)
    plane[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return plane


def test_a_brush_of_radius_zero_is_one_pixel_and_of_radius_one_a_plus():
    point = np.array([[2.0, 2]])
    assert covered(point, 0, (5, 5)).sum() == covered(point, 0.9, (5, 5)).sum() == 1
    assert np.argwhere(covered(point, 1, (5, 5))).tolist() == [[1, 2], [2, 1], [2, 2], [2, 3], [3, 2]]
    corner, mask = stroke(point, 1, (5, 5))
    assert (corner, mask.shape) == ((1, 1), (3, 3)), "the smallest rectangle"


def test_a_trail_steps_from_pixel_to_pixel_and_reaches_every_corner():
    line = trail(np.array([[0.0, 0], [2, 5], [2, 5], [-3, 5]]))
    assert np.abs(np.diff(line, axis=0)).max() == 1
    assert {(0, 0), (2, 5), (-3, 5)} <= set(map(tuple, line))
    assert len(line) == 1 + 5 + 5


def test_points_are_rounded_half_up_on_both_sides_of_zero():
    assert trail(np.array([[0.5, -0.5]])).tolist() == [[1, 0]]


@pytest.mark.parametrize("radius", [0, 1, 1.5, 3, 7.2])
def test_a_stroke_covers_exactly_the_disks_along_its_trail(radius):
    points = np.array([[3.0, 3], [20, 9], [20, 30], [-6, 28], [5, 5]])
    shape = (25, 33)
    grid = np.mgrid[:25, :33].reshape(2, -1).T
    want = (((grid[:, None] - trail(points)) ** 2).sum(axis=2) <= radius**2).any(axis=1)
    assert np.array_equal(covered(points, radius, shape).ravel(), want)


def test_a_stroke_that_comes_from_far_outside_paints_where_it_enters():
    got = covered(np.array([[2.0, -50], [2, 1]]), 1, (5, 6))
    assert got.sum(axis=1).tolist() == [0, 2, 3, 2, 0]
    assert not covered(np.array([[2.0, -50], [2, -2]]), 1, (5, 6)).any()


def test_paint_draws_a_line_with_round_ends():
    after = done(empty(), ops.paint(empty(), [[1, 2, 2], [1, 2, 5]], id=7, radius=1))
    assert rows(after[1]) == [".........", "..7777...", ".777777..", "..7777...", *["........."] * 4]
    assert not after[[0, 2]].any()


def test_paint_works_on_planes_of_every_axis():
    for axis, point in (("xy", (1, 2, 3)), ("xz", (1, 2, 3)), ("yz", (1, 2, 3))):
        after = done(empty(), ops.paint(empty(), [point], id=1, radius=1, axis=axis))
        assert after.sum() == 5
        assert np.moveaxis(after, ("xy", "xz", "yz").index(axis), 0)[point[("xy", "xz", "yz").index(axis)]].sum() == 5


def test_paint_over_its_own_object_changes_nothing():
    labels = empty()
    labels[1] = 4
    assert not ops.paint(labels, [[1, 2, 2]], id=4, radius=2).parts


def test_paint_reports_the_smallest_box():
    edit = ops.paint(empty(), [[1, 0, 0]], id=1, radius=2)
    assert edit.box == Box((1, 0, 0), (2, 3, 3))


def test_preserve_paints_on_background_only():
    labels = two_objects()
    after = done(labels, ops.paint(labels, [[0, 1, 0], [0, 1, 7]], id=3, radius=0, preserve=True))
    assert rows(after[0])[1] == "31133223"


def test_erase_can_be_kept_to_one_object():
    labels = two_objects()
    line = [[0, 1, 0], [0, 1, 7]]
    assert rows(done(labels, ops.erase(labels, line, radius=0))[0])[1] == "........"
    assert rows(done(labels, ops.erase(labels, line, radius=0, only=2))[0])[1] == ".11....."


def test_fill_changes_the_patch_under_the_point_and_not_its_diagonal_neighbour():
    labels = empty((2, 3, 4))
    labels[0] = [[1, 1, 0, 1], [0, 0, 1, 1], [1, 0, 0, 0]]
    after = done(labels, ops.fill(labels, (0, 0, 1), 5))
    assert rows(after[0]) == ["55.1", "..11", "1..."]
    assert rows(done(labels, ops.fill(labels, (0, 2, 3), 6))[0]) == ["11.1", "6611", "1666"]


def test_fill_stays_in_its_plane_on_every_axis():
    labels = empty((3, 4, 5))
    for axis, size in (("xy", 20), ("xz", 15), ("yz", 12)):
        assert ops.fill(labels, (1, 1, 1), 9, axis).voxels == size


def test_merge_and_delete_change_whole_objects():
    labels = two_objects()
    assert rows(done(labels, ops.merge(labels, 1, [2], places(labels)))[0])[1] == ".11..11."
    assert rows(done(labels, ops.merge(labels, 2, [1, 1, 2], places(labels)))[0])[1] == ".22..22."
    assert rows(done(labels, ops.delete(labels, [1], places(labels)))[0])[1] == ".....22."


def test_put_plane_replaces_one_plane_of_any_axis():
    for axis, index, kept in (("xy", 2, 0), ("xz", 7, 1), ("yz", 0, 2)):
        shape = [n for i, n in enumerate((3, 8, 9)) if i != kept]
        ids = np.arange(np.prod(shape), dtype=np.uint32).reshape(shape)
        after = done(empty(), ops.put_plane(empty(), ids, axis, index))
        assert np.array_equal(np.moveaxis(after, kept, 0)[index], ids)
        assert after.sum() == ids.sum()


def test_adopt_replaces_everything():
    labels, new = two_objects(), two_objects()[:, :, ::-1].copy()
    assert np.array_equal(done(labels, ops.adopt(labels, new)), new)
    assert not ops.adopt(labels, labels.copy()).parts


def test_the_largest_id_is_painted_exactly():
    after = done(empty(), ops.paint(empty(), [[0, 0, 0]], id=2**32 - 1, radius=0))
    assert int(after[0, 0, 0]) == 4294967295


@pytest.mark.parametrize("id", [-1, 2**32, 2**64, 1.5, True, None, "7", float("nan"), float("inf")])
def test_ids_out_of_range_are_refused(id):
    with pytest.raises(InputError, match="0 to 4294967295"):
        ops.paint(empty(), [[0, 0, 0]], id=id, radius=1)


@pytest.mark.parametrize(
    ("points", "axis", "say"),
    [
        ([[0, 0, "a"]], "xy", "not numbers"),
        ([[0, 0], [0]], "xy", "not numbers"),
        ([[0, 0]], "xy", r"\(n, 3\)"),
        ([], "xy", r"\(n, 3\)"),
        ([[0, 0, np.nan]], "xy", "not positions"),
        ([[0, 0, 0], [1, 0, 0]], "xy", "lies on one xy plane"),
        ([[5, 0, 0]], "xy", r"planes \(0 to 2\)"),
        ([[0, 0, 0], [0, 0, 9e6]], "xy", "Paint it in pieces"),
        ([[0, 0, 0]], "zx", "one of xy, xz, yz"),
    ],
)
def test_strokes_that_are_none_are_refused(points, axis, say):
    with pytest.raises(InputError, match=say):
        ops.paint(empty(), points, id=1, radius=1, axis=axis)


def test_a_long_scribble_covers_what_its_disks_cover_also_when_it_is_looked_at_bit_by_bit(monkeypatch):
    rng = np.random.default_rng(0)
    points = rng.integers(0, 400, (300, 2)).astype(float)
    line = np.ones((400, 400), bool)
    line[tuple(trail(points).T)] = False
    near = ndimage.distance_transform_edt(line) <= 9
    assert np.array_equal(covered(points, 9, (400, 400)), near)
    monkeypatch.setattr(ops, "_PIECE", 1000)
    assert np.array_equal(covered(points, 9, (400, 400)), near)
    with pytest.raises(InputError, match="too long for a radius"):
        stroke(np.tile([[0.0, 0], [399, 399]], (400, 1)), 1000, (400, 400))


@pytest.mark.parametrize("radius", [-1, np.nan, 5000])
def test_brushes_out_of_range_are_refused(radius):
    with pytest.raises(InputError, match="brush radius"):
        ops.paint(empty(), [[0, 0, 0]], id=1, radius=radius)


def test_merging_and_deleting_what_is_not_there_is_refused():
    labels = two_objects()
    for call in (
        lambda: ops.merge(labels, 1, [1], places(labels)),
        lambda: ops.merge(labels, 1, [3], places(labels)),
        lambda: ops.merge(labels, 0, [1], places(labels)),
        lambda: ops.delete(labels, [0], places(labels)),
        lambda: ops.delete(labels, [], places(labels)),
    ):
        with pytest.raises(InputError):
            call()


def test_planes_and_volumes_of_another_shape_are_refused():
    with pytest.raises(AxesError, match=r"\(8, 9\)"):
        ops.put_plane(empty(), np.zeros((9, 8), np.uint32), "xy", 0)
    with pytest.raises(InputError, match=r"planes \(0 to 2\)"):
        ops.put_plane(empty(), np.zeros((8, 9), np.uint32), "xy", 3)
    with pytest.raises(AxesError, match="same voxels"):
        ops.adopt(empty(), empty((3, 9, 8)))


def followed(table, labels, edit, **way):
    """Apply an edit, and let a table of objects follow."""
    apply(labels, edit.parts, **way)
    table.update(edit.parts, **way)


def test_the_object_table_counts_and_follows_edits():
    labels = two_objects()
    table = ObjectTable(labels)
    assert table.counts == {1: 4, 2: 4}
    assert table.boxes[2] == Box((0, 1, 5), (1, 3, 7))
    edit = ops.paint(labels, [[0, 1, 2], [0, 1, 5]], id=2, radius=0)
    followed(table, labels, edit)
    assert table.counts == {1: 3, 2: 7}
    assert table.boxes[2] == Box((0, 1, 2), (1, 3, 7))
    followed(table, labels, edit, backwards=True)
    assert table.counts == {1: 4, 2: 4}
    followed(table, labels, ops.delete(labels, [1], table.places))
    assert table.counts == {2: 4}
    assert set(table.boxes) == {2}


def test_each_object_of_adopted_labels_has_a_box_of_its_own():
    labels = empty((5, 8, 9))
    labels[1:3, 2:4, 3:5] = 1
    labels[2:4, 5:7, :] = 2  # its runs go over the ends of rows
    labels[4] = 3
    labels[0, 0, 0] = labels[3, 7, 8] = 4
    volume = empty((5, 8, 9))
    table, edit = ObjectTable(volume), ops.adopt(volume, labels)
    followed(table, volume, edit)
    assert table.boxes == ObjectTable(labels).boxes
    assert table.places == ObjectTable(labels).places
    followed(table, volume, edit, backwards=True)
    assert table.boxes == {}


def test_the_places_of_objects_hold_all_of_them_and_are_apart_whatever_is_done(monkeypatch):
    monkeypatch.setattr(project, "_PLACE", (2, 4, 3))
    rng = np.random.default_rng(3)
    labels = empty((5, 9, 10))
    table = ObjectTable(labels)
    for k in range(120):
        some = np.unique(labels)[1:]
        if k % 9 == 8:
            edit = ops.adopt(labels, rng.integers(0, 4, labels.shape).astype(np.uint32) * (rng.random() < 0.8))
        elif k % 4 == 3 and len(some):
            edit = ops.delete(labels, [int(rng.choice(some))], table.places)
        elif k % 4 == 2 and len(some) > 1:
            keep, gone = rng.choice(some, 2, replace=False).tolist()
            edit = ops.merge(labels, keep, [gone], table.places)
            assert edit.voxels == (labels == gone).sum()
        else:
            axis, at = ("xy", "xz", "yz")[k % 3], rng.integers(0, 5, (2, 3))
            at[1, AXES[axis]] = at[0, AXES[axis]]
            edit = ops.paint(labels, at, id=int(rng.integers(1, 6)), radius=2.5, axis=axis)
        followed(table, labels, edit)
        if k % 5 == 4:
            followed(table, labels, edit, backwards=True)
        assert table.counts == dict(
            zip(*map(np.ndarray.tolist, np.unique(labels[labels > 0], return_counts=True)), strict=True)
        )
        assert table.places.keys() == table.boxes.keys() == table.counts.keys()
        for id, there in table.places.items():
            held = np.zeros(labels.shape, int)
            for box in there.values():
                held[box.slices] += 1
            assert held.max() == 1
            assert (held[labels == id] == 1).all()
            assert (labels[table.boxes[id].slices] == id).sum() == table.counts[id]


def test_numbers_of_numpy_are_ids_radii_and_planes():
    labels = np.zeros((3, 8, 8), np.uint32)
    want = ops.paint(labels, [(1, 4, 4)], id=5, radius=2)
    for id in (np.uint32(5), np.int64(5), 5.0):
        edit = ops.paint(labels, [(1, 4, 4)], id=id, radius=np.float32(2))
        np.testing.assert_array_equal(edit.parts[0].runs, want.parts[0].runs)
    assert type(ops.put_plane(labels, np.ones((8, 8), np.uint32), "xy", np.int64(1)).box.start[0]) is int
    with pytest.raises(InputError, match="A brush radius is a number of pixels, got 'wide'"):
        ops.erase(labels, [(1, 4, 4)], radius="wide")
    with pytest.raises(InputError, match=r"An id is a whole number .* got \[2\]"):
        ops.merge(labels, 1, [[2]], {})


def test_a_lasso_takes_what_it_encloses_and_with_subtract_gives_it_back():
    empty = np.zeros((2, 9, 12), np.uint32)
    session = Session(labels=empty)
    session.lasso([[1, 2, 2], [1, 2, 8], [1, 6, 8], [1, 6, 2]], id=5)
    assert (session.labels.data == 5).sum() == 5 * 7
    assert session.labels.data[1, 2:7, 2:9].all()
    session.lasso([[1, 3, 3], [1, 3, 5], [1, 5, 5], [1, 5, 3]], id=5, subtract=True)
    assert not session.labels.data[1, 3:6, 3:6].any()
    assert session.history()[-1].sentence == "Took what a line encloses from object 5 on xy plane 1."
    session.lasso([[1, -5, -5], [1, -5, 20], [1, 20, 20], [1, 20, -5]], id=7, preserve=True)
    assert (session.labels.data[1] == 0).sum() == 0
    assert (session.labels.data == 5).sum() == 5 * 7 - 9


@pytest.mark.parametrize("seed", range(20))
def test_a_lasso_is_the_even_odd_rule_and_its_outline(seed):
    rng = np.random.default_rng(seed)
    corners = rng.integers(-4, 16, (rng.integers(1, 8), 2))
    (y, x), found = ops.enclosed(corners, (11, 13))
    slow = np.zeros((11, 13), bool)
    ring = np.concatenate([corners, corners[:1]])
    for r, c in np.ndindex(slow.shape):
        crossings = 0
        for (r0, c0), (r1, c1) in itertools.pairwise(ring.tolist()):
            if min(r0, r1) <= r < max(r0, r1):
                crossings += c > c0 + (r - r0) * (c1 - c0) / (r1 - r0)
        slow[r, c] = crossings % 2
    for r, c in ops.trail(ring).tolist():
        if 0 <= r < 11 and 0 <= c < 13:
            slow[r, c] = True
    fast = np.zeros_like(slow)
    fast[y : y + found.shape[0], x : x + found.shape[1]] = found
    assert np.array_equal(fast, slow)


def test_a_ball_reaches_as_far_in_nm_in_all_directions():
    edit = ops.paint(
        np.zeros((9, 21, 21), np.uint32), [[4, 10, 10]], id=3, radius=6, ball=True, voxel_size=(30, 10, 10)
    )
    after = np.zeros((9, 21, 21), np.uint32)
    apply(after, edit.parts)
    z, y, x = np.nonzero(after)
    assert [z.min(), z.max(), y.min(), y.max(), x.min(), x.max()] == [2, 6, 4, 16, 4, 16]
    assert (after[4, :, 10] > 0).sum() == 13
    assert (after[6] > 0).sum() == 1
    on_xz = ops.paint(after * 0, [[4, 10, 10]], id=3, radius=6, axis="xz", ball=True, voxel_size=(30, 10, 10))
    again = np.zeros_like(after)
    apply(again, on_xz.parts)
    assert np.array_equal(again, after), "whatever the plane that it is drawn on"


def test_a_ball_that_is_too_large_is_refused():
    with pytest.raises(InputError, match="The radius of a ball is 0 to 128"):
        ops.erase(np.zeros((3, 4, 4), np.uint32), [[0, 0, 0]], radius=500, ball=True)
    with pytest.raises(InputError, match="A stroke of 300 pixels is too long for a ball of radius 128"):
        ops.paint(np.zeros((260, 4, 300), np.uint32), [[130, 0, 0], [130, 0, 299]], id=1, radius=128, ball=True)


def test_a_ball_ends_on_a_plane_that_rounding_puts_just_beyond_it():
    labels = np.zeros((45, 3, 3), np.uint32)
    after = done(labels, ops.paint(labels, [[22, 1, 1]], id=3, radius=27, ball=True, voxel_size=(9, 7, 7)))
    assert rows(after[1]) == rows(after[43]) == ["...", ".3.", "..."]
    assert not after[0].any()


@pytest.mark.parametrize("axis", ["xy", "xz", "yz"])
def test_brush_and_fill_write_only_within_a_mask_of_the_plane(axis):
    labels = np.zeros((6, 7, 8), np.uint32)
    along = "xy xz yz".split().index(axis)
    within = np.random.default_rng(3).random([n for i, n in enumerate(labels.shape) if i != along]) < 0.5
    stroke = ops.paint(labels, [[2, 2, 2]], id=5, radius=20, axis=axis, within=within)
    for edit in (stroke, ops.fill(labels, (2, 2, 2), 5, axis, within=within)):
        after = labels.copy()
        apply(after, edit.parts)
        assert np.array_equal(np.moveaxis(after, along, 0)[2], np.where(within, 5, 0))
        assert (after > 0).sum() == within.sum()
        assert edit.intent["within"] is True
    with pytest.raises(AxesError, match=f"A mask of an {axis} plane"):
        ops.fill(labels, (2, 2, 2), 5, axis, within=within[1:])
    with pytest.raises(InputError, match="A ball paints on several planes"):
        ops.paint(labels, [[2, 2, 2]], id=5, radius=1, axis=axis, ball=True, within=within)
