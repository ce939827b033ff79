"""Boxes of a store like those of OpenOrganelle come to this machine whole, at their place, and resumed as well."""

from __future__ import annotations

import hashlib
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest

import mitonb as mn
from mitonb.box import Box
from mitonb.errors import CancelledError, InputError
from mitonb.io import boxes
from mitonb.io.boxes import box_nm, fetch, fetch_cost, fetching
from mitonb.job import Job
from mitonb.stack import Stack
from tests.io.organelle import PLACE, SHAPE, make
from tests.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "openorganelle:jrc_drawn"


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch, request) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The image and the published ids of a data set that can be opened by its name, from disk or from a server."""
    made = make(tmp_path / "bucket")
    if getattr(request, "param", "disk") == "disk":
        monkeypatch.setenv("MITONB_OPENORGANELLE", str(tmp_path / "bucket"))
        yield made
        return
    with serving(tmp_path / "bucket") as server:
        monkeypatch.setenv("MITONB_OPENORGANELLE", server.address)
        yield made


def digest_of(folder: Path) -> str:
    """Return a checksum of all files of a folder, by their names."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return found.hexdigest()


@pytest.mark.parametrize("drawn", ["disk", "server"], indirect=True)
def test_a_data_set_is_opened_by_its_name(drawn) -> None:
    stack = mn.open(NAME)
    assert stack.voxel_size == (8, 8, 8)
    assert stack.origin == PLACE
    assert [level.factors[0] for level in stack.levels] == [1, 2, 4]
    assert [level.offset[0] for level in stack.levels] == [0, 0.5, 1.5]
    np.testing.assert_array_equal(stack.read(), drawn[0])
    assert mn.open(f"{NAME}/labels/mito_seg").dtype == np.uint64
    with pytest.raises(InputError, match="There is no store of 'openorganelle:jrc_nothing'"):
        mn.open("openorganelle:jrc_nothing")
    with pytest.raises(InputError, match="no data set"):
        mn.open("openorganelle:../etc")


def test_a_box_lies_where_its_voxels_lay(drawn, tmp_path: Path) -> None:
    stack = mn.open(NAME)
    box = box_nm(stack, (440, 960, 1400), (520, 1200, 1640))
    assert box == Box((5, 20, 25), (15, 50, 55))
    path = fetch(stack, box, tmp_path / "part.ome.zarr", show=False)
    part = mn.open(path)
    np.testing.assert_array_equal(part.read(), drawn[0][box.slices])
    assert part.origin == (440, 960, 1400)
    assert part.voxel_size == (8, 8, 8)
    assert any("jrc_drawn" in note for note in part.notes)
    assert not [*tmp_path.glob(".part*")]


@pytest.mark.parametrize("level", [1, 2])
def test_a_coarse_box_lies_half_a_voxel_further(drawn, tmp_path: Path, level: int) -> None:
    """Its first voxel is the mean of 2 x 2 x 2 or 4 x 4 x 4, whose middle is not that of the first of them."""
    stack = mn.open(NAME)
    path = fetch(stack, Box((8, 16, 24), (40, 80, 88)), tmp_path / "part.ome.zarr", level=level, show=False)
    part, n = mn.open(path), 2**level
    assert part.voxel_size == (8 * n,) * 3
    assert part.origin == tuple(p + 8 * a + 4 * (n - 1) for p, a in zip(PLACE, (8, 16, 24), strict=True))
    first = drawn[0][8 : 8 + n, 16 : 16 + n, 24 : 24 + n].mean()
    assert abs(float(part.data[0, 0, 0]) - first) <= 2
    assert part.shape == (32 // n, 64 // n, 64 // n)
    # The same place in nm is the same box of the finest level.
    again = box_nm(stack, part.origin, tuple(np.add(part.origin, np.multiply(part.shape, part.voxel_size))))
    assert again.start == (8 + n // 2, 16 + n // 2, 24 + n // 2)


@pytest.mark.parametrize("drawn", ["disk", "server"], indirect=True)
def test_a_fetch_that_was_stopped_goes_on_and_ends_the_same(drawn, tmp_path: Path, monkeypatch) -> None:
    stack, box = mn.open(NAME), Box((3, 5, 7), (45, 90, 105))
    whole = fetch(stack, box, tmp_path / "whole.ome.zarr", show=False)
    target = tmp_path / "part.ome.zarr"
    steps = fetching(stack, box, target)
    for _ in range(9):
        next(steps)
    steps.close()
    assert not target.exists()
    here = len([*(tmp_path / ".part.ome.zarr.fetching" / "data").glob("[0-9]*")])
    assert 9 <= here < fetch_cost(stack, box).blocks == 36
    read: list[tuple[int, ...]] = []
    monkeypatch.setattr(
        boxes._Job, "read", lambda self, block, old=boxes._Job.read: read.append(block) or old(self, block)
    )
    fetch(stack, box, target, show=False)
    assert len(read) == fetch_cost(stack, box).blocks - here or len(read) > 0
    assert len(read) < fetch_cost(stack, box).blocks
    assert digest_of(whole / "0") == digest_of(target / "0")
    assert digest_of(whole) == digest_of(target)


@pytest.mark.parametrize("when", ["fetching", "writing", "checking"])
def test_a_job_that_fetches_can_be_cancelled(drawn, tmp_path: Path, when: str) -> None:
    job = Job(fetching(mn.open(NAME), Box((0, 0, 0), SHAPE), tmp_path / "part.ome.zarr"))
    job.progressed.connect(lambda step: step.stage == when and job.cancel())
    job.start()
    with pytest.raises(CancelledError):
        job.result(60)
    assert not (tmp_path / "part.ome.zarr").exists()


def test_what_is_left_of_another_box_is_not_taken(drawn, tmp_path: Path) -> None:
    target = tmp_path / "part.ome.zarr"
    steps = fetching(NAME, Box((0, 0, 0), (16, 32, 64)), target)
    next(steps)
    steps.close()
    fetch(NAME, Box((16, 0, 0), (32, 32, 64)), target, show=False)
    np.testing.assert_array_equal(mn.open(target).read(), drawn[0][16:32, :32, :64])


def other_images(folder: Path) -> dict[str, tuple[Stack, Stack]]:
    """Two images that a fetch into the same place could take for one."""
    numbers = np.random.default_rng(0).integers(1, 200, (2, 8, 16, 16), np.uint8)
    np.save(folder / "one.npy", numbers[0])
    np.save(folder / "both.npy", numbers)
    one, both = folder / "one.npy", folder / "both.npy"
    plain = mn.open(one)
    return {
        "arrays": (Stack(numbers[0]), Stack(numbers[1])),
        "inverted": (plain, mn.open(one, invert=True)),
        "turned round later": (plain, plain.inverted()),
        "channels": (mn.open(both, axes="czyx", channel=0), mn.open(both, axes="czyx", channel=1)),
        "stack of a stack": (plain, mn.open(plain, invert=True)),
    }


@pytest.mark.parametrize("case", ["arrays", "inverted", "turned round later", "channels", "stack of a stack"])
def test_a_fetch_of_another_image_does_not_go_on_with_what_is_there(tmp_path: Path, monkeypatch, case: str) -> None:
    monkeypatch.setattr(boxes, "_SIDE", 4)
    monkeypatch.setattr(boxes, "_still_there", lambda *_: True)  # known before a voxel is looked at
    first, second = other_images(tmp_path)[case]
    box, target = Box((0, 0, 0), (8, 16, 16)), tmp_path / "part.ome.zarr"
    steps = fetching(first, box, target)
    for _ in range(9):
        next(steps)
    steps.close()
    np.testing.assert_array_equal(mn.open(fetch(second, box, target, show=False)).read(), second.read())


def test_a_file_that_changed_since_is_fetched_anew(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(boxes, "_SIDE", 4)
    second = other_images(tmp_path)["arrays"][1]
    box, target, path = Box((0, 0, 0), (8, 16, 16)), tmp_path / "part.ome.zarr", tmp_path / "one.npy"
    steps = fetching(path, box, target)
    for _ in range(9):
        next(steps)
    steps.close()
    np.save(path, second.read())
    np.testing.assert_array_equal(mn.open(fetch(path, box, target, show=False)).read(), second.read())


def test_of_a_level_of_a_level_no_number_is_told(drawn, tmp_path: Path) -> None:
    box = Box((0, 0, 0), (8, 8, 8))
    for name, stack, said in (("a", mn.open(NAME), ", level 0"), ("b", mn.open(NAME).at_level(1), "fibsem-uint8")):
        part = mn.open(fetch(stack, box, tmp_path / f"{name}.ome.zarr", show=False))
        note = next(note for note in part.notes if "Fetched" in note)
        assert said in note
        assert (", level" in note) == (name == "a")


@pytest.mark.parametrize(
    ("where", "dtype", "ids"),
    [
        ("labels/em.ome.zarr", np.uint8, False), ("cell.ome.zarr/labels/mito", np.uint8, True),
        ("cell.ome.zarr/labels/mito", np.float32, False), ("cell.ome.zarr", np.uint32, True),
        ("cell.n5/labels/mito_seg", np.uint16, True), ("cell.n5/em/labels-not", np.uint16, False),
    ],
)  # fmt: skip
def test_ids_are_known_by_where_they_lie_in_a_store(where: str, dtype: type, ids: bool) -> None:
    assert boxes._holds_ids(Stack(np.zeros((2, 2, 2), dtype), source=f"/data/labels/{where}")) == ids


def test_a_box_of_millions_of_blocks_is_priced_without_listing_them() -> None:
    level = Stack(np.broadcast_to(np.uint8(0), (1 << 14,) * 3), intensity=(0, 255))
    tracemalloc.start()
    try:
        assert fetch_cost(level, Box((0, 0, 0), level.shape)).blocks == (1 << 14) ** 3 // 64**3
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("drawn", ["disk", "server"], indirect=True)
def test_published_labels_of_the_same_box_are_scored(drawn, tmp_path: Path) -> None:
    part = mn.open(fetch(NAME, Box((8, 16, 24), (40, 80, 88)), tmp_path / "em.ome.zarr", show=False))
    path = fetch(f"{NAME}/labels/mito_seg", path=tmp_path / "mito.ome.zarr", like=part, show=False)
    theirs = mn.open_labels(path)
    want = drawn[1][8:40, 16:80, 24:88]
    assert theirs.voxel_size == part.voxel_size
    assert mn.score(theirs, mn.Labels(want)).iou == 1.0
    # No id is invented at lower resolutions.
    assert set(np.unique(mn.open(path, series=1).read())) <= set(np.unique(want))


def test_the_cost_is_known_before(drawn) -> None:
    cost = fetch_cost(NAME, Box((0, 0, 0), (17, 33, 33)))
    assert (cost.bytes, cost.blocks, cost.moved) == (17 * 33 * 33, 8, 8 * 16 * 32 * 32)
    assert cost.seconds is not None
    assert cost.seconds > 0
    assert "8 blocks" in str(cost)


@pytest.mark.parametrize(
    ("box", "how", "words"),
    [
        (Box((0, 0, 0), (999, 9, 9)), {}, "not inside"), (Box((5, 5, 5), (5, 9, 9)), {}, "not inside"),
        (None, {}, "Say which part"), (Box((0, 0, 0), (9, 9, 9)), {"level": 3}, "levels 0"),
        (Box((0, 0, 0), (9, 9, 9)), {"path": "x.tif"}, "ends in .ome.zarr"),
    ],
)  # fmt: skip
def test_what_cannot_be_fetched_is_refused_before_work_starts(drawn, tmp_path: Path, box, how, words) -> None:
    path = tmp_path / how.pop("path", "part.ome.zarr")
    with pytest.raises(InputError, match=words):
        fetch(NAME, box, path, show=False, **how)
    assert [*tmp_path.iterdir()] == [tmp_path / "bucket"]


def test_a_stack_without_a_place_or_size_has_no_box_in_nm() -> None:
    with pytest.raises(InputError, match="voxel size"):
        box_nm(Stack(np.zeros((2, 2, 2), np.uint8)), (0, 0, 0), (8, 8, 8))
    with pytest.raises(InputError, match="No voxel lies there"):
        box_nm(Stack(np.zeros((2, 2, 2), np.uint8), (8, 8, 8)), (99, 0, 0), (120, 8, 8))


@pytest.mark.parametrize("place", [(float("nan"), 0, 0), (0, float("inf"), 0), (0, 0), 5])
def test_a_place_in_nm_is_three_numbers(place) -> None:
    stack = Stack(np.zeros((2, 2, 2), np.uint8), (8, 8, 8))
    for ends in ((place, (8, 8, 8)), ((0, 0, 0), place)):
        with pytest.raises(InputError, match="three numbers"):
            box_nm(stack, *ends)
    assert box_nm(stack, (-1e300, 0, 0), (1e300, 8, 8)) == Box((0, 0, 0), (2, 1, 1))
