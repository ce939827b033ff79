"""Effects survive packing, and nothing that is no effect is applied."""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mitonb.edit import ops, project
from mitonb.edit.edits import apply, decode, encode, pack, unpack
from mitonb.errors import StoreError

volumes = hnp.arrays(np.uint32, (3, 4, 5), elements=st.sampled_from([0, 0, 1, 2, 70_000, 2**32 - 1]))


@settings(deadline=None, max_examples=100)
@given(volumes, volumes)
def test_any_change_of_labels_survives_packing_and_goes_back(before, after):
    parts = decode(encode(ops.adopt(before, after).parts), before.shape)
    labels = before.copy()
    apply(labels, parts)
    assert np.array_equal(labels, after)
    apply(labels, parts, backwards=True)
    assert np.array_equal(labels, before)


@settings(deadline=None, max_examples=100)
@given(volumes)
def test_a_block_survives_packing(block):
    assert np.array_equal(unpack(pack(block), block.shape), block)


def test_effects_are_applied_to_views_that_are_not_contiguous():
    labels = np.zeros((4, 6, 8), np.uint32)
    new = labels.copy()
    new[1:3, 2:5, 3] = 9
    for edit in (ops.put_plane(labels, new[:, :, 3], "yz", 3), ops.put_plane(labels, new[:, 3], "xz", 3)):
        after = labels.copy()
        apply(after, edit.parts)
        assert (after == 9).sum() == edit.voxels


def test_an_effect_that_does_not_fit_is_refused_and_changes_nothing():
    labels = np.zeros((1, 4, 4), np.uint32)
    edit = ops.paint(labels, [[0, 1, 1]], id=5, radius=1)
    labels[0, 1, 1] = 8
    before = labels.copy()
    with pytest.raises(StoreError, match="does not fit"):
        apply(labels, edit.parts)
    assert np.array_equal(labels, before)


def packed(*numbers, runs=()):
    return zlib.compress(struct.pack("<I6iI", 1, *numbers, len(runs)) + np.array(runs, "<u4").T.tobytes())


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"no zlib",
        zlib.compress(b"ab"),
        zlib.compress(struct.pack("<I", 3)),
        encode(ops.paint(np.zeros((1, 4, 4), np.uint32), [[0, 1, 1]], id=5, radius=1).parts)[:-3],
        zlib.compress(struct.pack("<I", 0) + b"more"),
        packed(0, 0, 0, 2, 4, 4, runs=[(0, 1, 0, 1)]),  # beyond the volume
        packed(0, 0, -1, 1, 4, 4, runs=[(0, 1, 0, 1)]),
        packed(0, 3, 0, 1, 2, 4, runs=[(0, 1, 0, 1)]),  # turned inside out
        packed(0, 0, 0, 1, 4, 4, runs=[(0, 17, 0, 1)]),  # beyond the box
        packed(0, 0, 0, 1, 4, 4, runs=[(0, 0, 0, 1)]),  # empty run
        packed(0, 0, 0, 1, 4, 4, runs=[(2, 4, 0, 1), (1, 1, 0, 1)]),  # overlap
        zlib.compress(bytes(10_000_000)),  # unpacks to more than the volume can change
    ],
)
def test_bytes_that_are_no_effect_are_refused(blob):
    with pytest.raises(StoreError):
        decode(blob, (1, 4, 4))


@pytest.mark.parametrize(
    "blob",
    [b"", b"no zlib", pack(np.zeros((1, 4, 5), np.uint32)), pack(np.zeros((1, 4, 4), np.uint32))[:-2],
     zlib.compress(struct.pack("<I", 2) + bytes(8)), zlib.compress(bytes(10_000_000))],
)  # fmt: skip
def test_bytes_that_are_no_block_are_refused(blob):
    with pytest.raises(StoreError):
        unpack(blob, (1, 4, 4))


def test_the_blocks_of_a_file_cover_the_volume_once_and_an_edit_makes_those_it_touches_stale(monkeypatch):
    monkeypatch.setattr(project, "_BLOCK", (2, 4, 4))
    kept = project.Project.create(None, np.zeros((5, 9, 7), np.uint32), None, {})
    seen = np.zeros((5, 9, 7), int)
    for box in kept._blocks:
        seen[box.slices] += 1
    assert (seen == 1).all()
    assert len(kept._blocks) == 3 * 3 * 2
    new = kept.labels.copy()
    new[2, 3:5] = 1
    kept.commit(ops.put_plane(kept.labels, new[2], "xy", 2))
    assert [kept._blocks[n].start for n in sorted(kept._stale)] == [
        (2, 0, 0), (2, 0, 4), (2, 4, 0), (2, 4, 4), (2, 8, 0), (2, 8, 4),
    ]  # fmt: skip
