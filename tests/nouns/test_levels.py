"""Resolutions of a stack: each lies at its place, none is opened before it is needed, and huge volumes open at once."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import mitonb as mn
from mitonb.errors import InputError, TooLargeError
from mitonb.levels import level_for, widest, window
from mitonb.session import opening
from mitonb.stack import Level, Stack

RAMP = np.broadcast_to(np.arange(640, dtype=np.float32), (4, 320, 640))


@pytest.fixture
def ramp(tmp_path):
    """A saved volume whose voxels say where they lie along x; each level averages 2 x 2."""
    return mn.save(Stack(RAMP, (40, 4, 4)), tmp_path / "ramp.ome.zarr")


def huge(folder, count=3, shape=(10**6, 10**5, 10**5)):
    """Write the metadata of an OME-Zarr of 10 petabytes, and no block."""
    levels = []
    for k in range(count):
        where = folder / f"{k}"
        where.mkdir(parents=True)
        array = {"zarr_format": 2, "shape": [-(-n // 2**(4 * k)) for n in shape], "chunks": [64, 64, 64], "order": "C",
                 "dtype": "|u1", "compressor": None, "filters": None, "fill_value": 0}  # fmt: skip
        (where / ".zarray").write_text(json.dumps(array))
        scale = {"type": "scale", "scale": [8.0 * 2 ** (4 * k)] * 3}
        levels.append({"path": f"{k}", "coordinateTransformations": [scale]})
    axes = [{"name": axis, "type": "space", "unit": "nanometer"} for axis in "zyx"]
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    attributes = {"multiscales": [{"version": "0.4", "axes": axes, "datasets": levels}]}
    (folder / ".zattrs").write_text(json.dumps(attributes))
    return folder


def test_levels_are_known_with_their_places_and_opened_when_they_are_needed(ramp):
    shutil.rmtree(ramp / "1")
    stack = mn.open(ramp)
    assert [level.factors for level in stack.levels] == [(1, 1, 1), (1, 2, 2), (1, 4, 4), (1, 8, 8)]
    assert [level.offset for level in stack.levels] == [(0, 0, 0), (0, 0.5, 0.5), (0, 1.5, 1.5), (0, 3.5, 3.5)]
    assert stack.levels[2].data.shape == (4, 80, 160)
    with pytest.raises(InputError, match="no '1' inside"):
        stack.levels[1].data  # noqa: B018


@pytest.mark.parametrize("step", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("left", [0, 64, 101])
def test_a_window_shows_what_lies_there_at_every_step(ramp, step, left):
    stack = mn.open(ramp)
    got = window(stack, "xy", 2, slice(8, 24), slice(left, left + 48), step)
    middles = np.arange(left, left + 48, step) + (step - 1) / 2
    assert got.shape == (-(-16 // step), -(-48 // step))
    # The nearest voxel of a level is at most half of one of its voxels away.
    assert np.abs(got[0] - middles).max() <= max(level_for(stack, "xy", step).factors) / 2
    if step in (1, 2, 4) and left % step == 0:
        np.testing.assert_array_equal(got[0], middles)


def test_a_window_of_a_section_across_the_planes(ramp):
    stack = mn.open(ramp)
    assert window(stack, "xz", 7, slice(0, 4), slice(0, 8), 2).tolist() == [[0.5, 2.5, 4.5, 6.5]] * 2
    assert window(stack, "yz", 7, slice(0, 4), slice(0, 8)).tolist() == [[7] * 8] * 4


def test_voxels_that_were_skipped_lie_where_the_first_of_them_was(tmp_path):
    ids = np.broadcast_to(np.arange(300, dtype=np.uint32), (2, 300, 300))
    stack = mn.open(mn.save(mn.Labels(ids, (8, 8, 8)), tmp_path / "ids.ome.zarr"))
    assert stack.coarser[0].offset == (0, 0, 0)
    assert window(stack, "xy", 0, slice(0, 2), slice(0, 8), 2)[0].tolist() in ([0, 2, 4, 6], [0, 2, 4, 8])


def test_a_level_is_a_stack_at_its_place(ramp):
    half = mn.open(ramp).at_level(1)
    assert half.voxel_size == (40, 8, 8)
    assert half.origin == (0, 2, 2)
    with pytest.raises(InputError, match="levels 0 \\(finest\\) to 3, got 4"):
        mn.open(ramp).at_level(4)


def test_levels_of_a_file_that_says_no_places_cover_their_voxels(tmp_path):
    assert [level.offset[0] for level in mn.open(huge(tmp_path / "h")).coarser] == [7.5, 127.5]


def test_what_is_turned_round_is_so_at_every_level(ramp):
    stack = mn.open(ramp, invert=True)
    assert stack.levels[1].data[0, 0, :2].tolist() == [-0.5, -2.5]
    assert stack.inverted().levels[1].data[0, 0, :2].tolist() == [0.5, 2.5]


def test_n5_levels_begin_where_their_transform_says(tmp_path):
    tensorstore = pytest.importorskip("tensorstore")
    folder = tmp_path / "em.n5" / "em"
    for k in (0, 1):
        spec = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{folder}/s{k}/"}}
        metadata = {"dimensions": [8 >> k, 6 >> k, 4 >> k], "dataType": "uint8", "blockSize": [4, 4, 4]}
        tensorstore.open(spec | {"metadata": metadata | {"compression": {"type": "raw"}}}, create=True).result()
        told = json.loads((folder / f"s{k}" / "attributes.json").read_text())
        told["transform"] = {"axes": ["z", "y", "x"], "units": ["nm"] * 3, "scale": [8 << k] * 3,
                             "translate": [100 + 4 * k, 200 + 4 * k, 4 * k]}  # fmt: skip
        (folder / f"s{k}" / "attributes.json").write_text(json.dumps(told))
    (folder / "attributes.json").write_text("{}")
    stack = mn.open(folder)
    assert (stack.shape, stack.voxel_size, stack.origin) == ((4, 6, 8), (8, 8, 8), (100, 200, 0))
    assert [(one.factors, one.offset) for one in stack.coarser] == [((2, 2, 2), (0.5, 0.5, 0.5))]


def test_a_volume_of_petabytes_opens_and_is_only_looked_at(tmp_path):
    stack = mn.open(huge(tmp_path / "h"))
    assert stack.contrast == (0.0, 1.0)  # nothing is in it
    assert widest(stack, "xy") == 0
    assert window(stack, "xy", 500_000, slice(0, 10**5), slice(0, 10**5), 256).shape == (391, 391)
    session = mn.Session(stack)
    assert session.read_only
    assert "mn.fetch" in str(session.save_state)
    assert session.shape == stack.shape
    assert session.ids() == []
    assert session.pick(5, 5, 5) == 0
    with pytest.raises(TooLargeError, match="37,252,903 GiB"):
        mn.Session(stack, path=tmp_path / "h.mitonb")


def test_without_lower_resolutions_only_a_part_of_a_huge_plane_is_shown(tmp_path):
    stack = mn.open(huge(tmp_path / "h", count=1))
    assert widest(stack, "xy") == 2048
    assert widest(Stack(np.zeros((2, 9, 9), np.uint8)), "xy") == 0


def test_the_contrast_of_large_planes_in_blocks_is_that_of_their_voxels():
    class Blocks:
        shape, dtype, blocks = (40, 5000, 5000), np.dtype(np.uint16), (8, 64, 64)

        def __getitem__(self, key):
            sides = [len(range(n)[part]) for part, n in zip(key, self.shape, strict=True)]
            assert max(sides) <= 64, "more than a block was read"
            return np.random.default_rng(0).integers(1000, 3000, sides).astype(np.uint16)

    low, high = Stack(Blocks()).contrast
    assert 1000 <= low < 1050
    assert 2950 < high <= 3000


def test_a_session_looks_only_where_labels_would_be_too_large(monkeypatch):
    monkeypatch.setattr(opening, "LARGEST_LABELS", 100)
    session = mn.Session(Stack(np.zeros((4, 5, 6), np.uint8)))
    assert session.read_only
    assert session.labels.data.shape == (4, 5, 6)
    assert not mn.Session(Stack(np.zeros((1, 5, 5), np.uint8))).read_only


def test_a_level_has_its_own_repr_and_is_loaded_once():
    times = []
    level = Level((2, 2, 2), (0, 0, 0), lambda: times.append(1) or np.zeros((1, 1, 1)))
    assert level.data is level.data
    assert times == [1]
