"""What to look at first: each reason is found where it was planted and nowhere else, with what would mend it."""

import numpy as np
import pytest
from scipy import ndimage

from mitonb.errors import AxesError
from mitonb.labels import Labels
from mitonb.maps import Maps
from mitonb.session import Session
from mitonb.session.doubts import find_doubts


def tube(volume, id, z, y, x, radius=5):
    """Draw a tube along z that gets thin at both ends, as a real end does."""
    rows, columns = np.ogrid[: volume.shape[1], : volume.shape[2]]
    for k in range(*z):
        r = min(radius, 2 + min(k - z[0], z[1] - 1 - k))
        volume[k][(rows - y) ** 2 + (columns - x) ** 2 <= r * r] = id


@pytest.fixture
def good():
    """Nine tubes that nothing is wrong with."""
    volume = np.zeros((30, 72, 72), np.uint32)
    for k in range(9):
        tube(volume, 10 + k, (4, 26), 12 + 24 * (k // 3), 12 + 24 * (k % 3))
    return volume


def maps_of(volume, extra=None):
    """Return what a perfect network would say of a volume."""
    sure = np.where(volume > 0, 255, 0).astype(np.uint8)
    if extra is not None:
        sure[extra] = 250
    return lambda z: Maps({"semantic": sure[z][None]}, output_stride=1)


def first(volume, **more):
    doubts = find_doubts(volume, **more)
    assert [d.score for d in doubts] == sorted((d.score for d in doubts), reverse=True)
    return doubts[0]


def test_nothing_is_known_against_good_objects(good):
    doubts = find_doubts(good, maps=maps_of(good))
    assert sorted(d.id for d in doubts) == list(range(10, 19))
    assert all(not d.reasons and d.fix is None and d.score < 0.2 for d in doubts)


def test_an_object_that_was_cut_across_is_to_be_merged_again(good):
    for turned in (False, True):
        cut = good.copy()
        cut[15:][cut[15:] == 14] = 99
        if turned:
            cut = np.ascontiguousarray(np.moveaxis(cut, 0, 1))
        two = find_doubts(cut)[:2]
        assert {d.id for d in two} == {14, 99}
        assert "in a border as wide as itself" in " ".join(two[0].reasons)
        assert two[0].fix[0] == "merge"
        session = Session(labels=cut)
        session.do("merge", **two[0].fix[1])
        assert len(session.ids()) == 9


def test_two_objects_that_touch_sideways_are_not_one(good):
    tube(good, 30, (4, 26), 36, 47)  # beside number 14, which it touches
    assert not any("as wide as itself" in reason for d in find_doubts(good) for reason in d.reasons)


def test_two_objects_in_one_have_a_neck(good):
    good[good == 14] = 13
    good[13:17, 34:38, 12:36] = 13
    doubt = first(good)
    assert (doubt.id, doubt.fix) == (13, ("split_at_necks", {"id": 13}))
    session = Session(labels=good)
    assert len(session.do(doubt.fix[0], **doubt.fix[1]).new) == 1


def test_missing_planes_are_to_be_filled(good):
    good[12:14][good[12:14] == 11] = 0
    doubt = first(good)
    assert (doubt.id, doubt.fix) == (11, ("interpolate", {"ids": [11]}))
    assert doubt.reasons[0] == "is not there on 2 planes from 12, between others"


def test_an_end_is_doubtful_where_the_network_sees_more(good):
    whole = good.copy()
    good[18:][good[18:] == 16] = 0
    doubt = first(good, maps=maps_of(whole))
    assert doubt.id == 16
    assert doubt.reasons[0] == "ends on plane 17, where the network sees more"
    assert doubt.at[0] == 17


def test_a_place_without_an_object_can_be_taken(good):
    whole = good.copy()
    good[good == 15] = 0
    doubt = first(good, maps=maps_of(whole))
    assert doubt.id == 0
    assert whole[doubt.at] == 15
    session = Session(labels=good)
    session.do(doubt.fix[0], **doubt.fix[1])
    taken = session.labels.data == session.pick(*doubt.at)
    assert (taken & (whole == 15)).sum() > 0.8 * (whole == 15).sum()
    assert not (taken & (whole != 15)).any()


def test_crumbs_and_what_the_network_is_unsure_of_come_first(good):
    good[2:4, 2:4, 2:4] = 50
    sure = maps_of(good)

    def unsure(z):
        said = sure(z).semantic.copy()
        said[0][good[z] == 17] = 140
        return Maps({"semantic": said}, output_stride=1)

    doubts = find_doubts(good, maps=unsure)
    assert {d.id for d in doubts[:2]} == {17, 50}
    words = {d.id: d for d in doubts}
    assert words[17].reasons[0] == "the network is unsure of it (0.55 on average)"
    assert words[50].fix == ("delete", {"ids": [50]})


def test_ids_may_be_any_and_labels_empty_or_flat():
    assert find_doubts(np.zeros((3, 4, 5), np.uint16)) == []
    flat = np.zeros((1, 40, 40), np.uint32)
    flat[0, 5:15, 5:15], flat[0, 20:30, 20:30] = 4294967294, 7
    assert sorted(d.id for d in find_doubts(Labels(flat, (1.0, 1.0, 1.0)))) == [7, 4294967294]
    full = np.ones((3, 4, 5), np.uint32)
    assert [d.id for d in find_doubts(full)] == [1]


def test_what_is_no_volume_is_refused_and_nothing_is_in_none():
    with pytest.raises(AxesError, match="3 axes"):
        find_doubts(np.ones((4, 5), np.uint8))
    assert find_doubts(np.zeros((0, 4, 5), np.uint8)) == []


def test_maps_in_floats_say_the_same(good):
    whole = good.copy()
    good[good == 15] = 0
    said = maps_of(whole)
    floats = find_doubts(good, maps=lambda z: Maps({"semantic": said(z).semantic / np.float32(255)}, output_stride=1))
    assert [(d.id, d.reasons) for d in floats] == [(d.id, d.reasons) for d in find_doubts(good, maps=said)]


def test_what_is_found_does_not_depend_on_the_names_of_objects(good):
    good[12:14][good[12:14] == 11] = 0
    swapped = np.where(good > 0, 100 - good, 0).astype(np.uint32)
    one, other = find_doubts(good), find_doubts(swapped)
    assert {100 - d.id: round(d.score, 9) for d in other} == {d.id: round(d.score, 9) for d in one}
    labelled, _ = ndimage.label(good)
    assert len(find_doubts(labelled)) == 10


def test_what_one_direction_of_planes_shows_and_another_does_not_is_said(good):
    torn = good.copy()
    torn[:, 30:42, 30:36][torn[:, 30:42, 30:36] == 14] = 0  # half of an object is not seen in yz planes
    across = {axis: maps_of(np.moveaxis(seen, at, 0)) for axis, at, seen in (("xz", 1, good), ("yz", 2, torn))}
    doubt = first(good, maps=maps_of(good), across=across)
    assert doubt.id == 14
    assert doubt.reasons[0].startswith("the directions disagree: x")
    assert "planes show 100% of it, yz planes 5" in doubt.reasons[0]
    none = {axis: lambda _: None for axis in ("xz", "yz")}
    assert not any(one.reasons for one in find_doubts(good, maps=maps_of(good), across=none))
