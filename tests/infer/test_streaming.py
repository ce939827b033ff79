"""A run by slabs, in memory or into a store, gives what the plain functions give on whole volumes."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mitonb as mn
from mitonb.errors import InputError
from mitonb.infer.kept import KeptMaps
from mitonb.infer.run import Run, Spill
from mitonb.infer.segment import redecoding, segment, segmenting
from mitonb.io.opening import open_labels
from mitonb.job import drain
from mitonb.labels import Labels, StoredLabels
from mitonb.maps import Maps
from mitonb.post.decoding import decode
from mitonb.post.targets import targets
from mitonb.recipe import Recipe
from mitonb.stack import AXES, Axis, Stack
from tests.infer.oracle import Oracle, volume
from tests.post.steps import clean, consensus, track

if TYPE_CHECKING:
    from pathlib import Path

GENTLE = Recipe(min_area=0, min_size=6, min_span=1, center_distance=4, tile=0, lookahead=2)
PLANES: list[tuple[Axis, ...]] = [("xy",), ("xz",), ("yz",), ("xy", "yz"), ("xy", "xz", "yz")]


def drawn(shape: tuple[int, int, int], seed: int, classes: int = 1) -> KeptMaps:
    """Draw boxes, and maps of each plane that differ a little between directions."""
    rng = np.random.default_rng(seed)
    ids = np.zeros((classes, *shape), np.uint32)
    for number in range(1, 9):
        low = [int(rng.integers(0, n)) for n in shape]
        cut = tuple(slice(a, a + int(rng.integers(1, 9))) for a in low)
        ids[int(rng.integers(0, classes))][cut] = number
    kept = KeptMaps(shape, "memory")
    for axis, k in AXES.items():
        for index in range(shape[k]):
            planes = np.moveaxis(ids, k + 1, 1)[:, index].copy()
            planes[rng.random(planes.shape) < 0.02] = 0
            maps = targets(planes.max(axis=0), output_stride=2)
            semantic = np.stack([(p > 0) * np.uint8(200 - 9 * c) for c, p in enumerate(planes)])
            kept.put(axis, index, Maps({"semantic": semantic, "center": maps.center, "offsets": maps.offsets}, 2))
    return kept


def whole(kept: KeptMaps, recipe: Recipe, kind: int = 0) -> npt.NDArray[np.uint32]:
    """Make labels the plain way: all planes, then all volumes."""
    volumes: dict[Axis, npt.NDArray[np.uint32]] = {}
    for axis in recipe.planes:
        maps = (kept.plane(axis, index, recipe.median) for index in range(kept.shape[AXES[axis]]))
        planes = [decode(plane, recipe, kind=kind) for plane in maps]
        volumes[axis] = np.ascontiguousarray(np.moveaxis(track(np.stack(planes), recipe), 0, AXES[axis]))
    return clean(consensus(volumes, recipe), recipe)


def ran(kept: KeptMaps, recipe: Recipe, **how: Any) -> npt.NDArray[np.uint32]:
    """Make labels by a run; fail if it asks for a plane."""
    run = Run(kept.shape, recipe, **how)
    drain(run.planes(kept, lambda axis, index: iter(()), rolling=False), show=False)  # type: ignore[arg-type, return-value]
    labels = drain(run.objects(), show=False)
    run.close()
    assert labels is not None
    return labels


@given(
    st.tuples(st.integers(1, 12), st.integers(1, 14), st.integers(1, 20)), st.integers(0, 2**32 - 1),
    st.sampled_from(PLANES), st.sampled_from([1, 3]), st.integers(1, 13), st.integers(1, 15), st.integers(0, 1),
    st.booleans(),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_labels_do_not_depend_on_how_slabs_are_cut(
    shape: tuple[int, int, int], seed: int, planes: Any, median: int, slab: int, rows: int, gap: int, border: bool
) -> None:
    kept = drawn(shape, seed)
    recipe = GENTLE.replace(planes=planes, median=median, gap=gap, drop_border=border, votes=1 + seed % 3)
    want = whole(kept, recipe)
    assert np.array_equal(ran(kept, recipe, slab=slab, rows=rows), want)


def test_directions_may_come_in_different_threads() -> None:
    kept = drawn((20, 24, 28), 5)
    recipe = GENTLE.replace(planes=tuple(AXES))
    run = Run(kept.shape, recipe)

    def feed(axis: Axis) -> None:
        for index in range(kept.shape[AXES[axis]]):
            run.add(axis, decode(kept.plane(axis, index), recipe))
        run.end(axis)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(feed, recipe.planes))
    assert np.array_equal(drain(run.objects(), show=False), whole(kept, recipe))


@pytest.mark.parametrize("planes", PLANES)
@pytest.mark.parametrize("slab", [1, 5, 16])
def test_labels_in_a_store_are_those_in_memory(planes: Any, slab: int, tmp_path: Path) -> None:
    for seed in range(4):
        kept = drawn((11, 24, 40), seed)
        recipe = GENTLE.replace(planes=planes)
        want = whole(kept, recipe)
        assert want.any()
        assert np.array_equal(ran(kept, recipe, slab=slab, folder=tmp_path), want)
    assert list(tmp_path.iterdir()) == []


@given(st.integers(0, 2**32 - 1), st.sampled_from(["xy", "xz", "yz"]), st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_planes_of_any_direction_come_back_as_slabs(seed: int, axis: Axis, slab: int) -> None:
    rng = np.random.default_rng(seed)
    ids = (rng.integers(0, 4, (7, 18, 35)) * (rng.random((7, 18, 35)) < 0.4)).astype(np.uint32)
    spill = Spill((7, 18, 35), axis)
    for plane in np.moveaxis(ids, AXES[axis], 0):
        spill.add(plane)
    spill.flush()
    assert np.array_equal(np.concatenate([spill[k : min(7, k + slab)] for k in range(0, 7, slab)]), ids)


@pytest.mark.parametrize("planes", PLANES)
def test_a_stack_is_segmented_into_a_store(planes: Any, tmp_path: Path) -> None:
    stack = Stack(volume(), (8.0, 8.0, 8.0), name="four")
    recipe = GENTLE.replace(planes=planes, center_distance=8)
    want = segment(stack, recipe, model=Oracle(), show=False)
    got = segment(stack, recipe, model=Oracle(), out=tmp_path / "labels.ome.zarr", show=False)
    assert isinstance(got, StoredLabels)
    assert got.count == want.data.max()
    read = open_labels(got)
    assert np.array_equal(read.data, want.data)
    assert read.voxel_size == (8.0, 8.0, 8.0)
    assert read.record == got.record == want.record
    assert np.array_equal(mn.open(got).read(), want.data)
    assert [p.name for p in tmp_path.iterdir()] == ["labels.ome.zarr"]


def test_wrong_stores_are_refused_before_the_net_runs(tmp_path: Path) -> None:
    model = Oracle()
    mn.save(Stack(volume()), tmp_path / "cell.ome.zarr")
    stack = mn.open(tmp_path / "cell.ome.zarr")
    with pytest.raises(InputError, match=r"must end in \.zarr"):
        segment(stack, model=model, out=tmp_path / "labels.tif", show=False)
    with pytest.raises(InputError, match="already exists"):
        segment(stack, model=model, out=tmp_path / "cell.ome.zarr", show=False)
    with pytest.raises(InputError, match="is also"):
        segment(stack, model=model, out=tmp_path / "cell.ome.zarr", overwrite=True, show=False)
    with pytest.raises(InputError, match="does not exist"):
        segment(stack, model=model, out=tmp_path / "nowhere" / "labels.ome.zarr", show=False)
    assert model.net.calls == []


class Counting:
    """A volume that counts how often each voxel was read."""

    def __init__(self, data: npt.NDArray[Any]) -> None:
        self.data, self.shape, self.dtype = data, data.shape, data.dtype
        self.voxels = 0

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        part = self.data[key]
        self.voxels += part.size
        return part


@pytest.mark.parametrize("axis", ["xy", "xz", "yz"])
def test_a_file_is_read_once_per_direction(axis: Axis, tmp_path: Path) -> None:
    counting = Counting(volume())
    stack = Stack(counting)
    counting.voxels = 0
    segment(stack, GENTLE.replace(planes=(axis,)), model=Oracle(), out=tmp_path / "labels.zarr", show=False)
    samples = 9 + 9 + 16  # planes of the contrast, and of the fingerprint
    assert counting.voxels <= volume().size + samples * 64 * 80


CHANGES: list[dict[str, Any]] = [
    {}, {"semantic_threshold": 0.7}, {"center_threshold": 0.6, "center_distance": 30}, {"min_area": 40},
    {"median": 5}, {"track_iou": 0.9}, {"track_ioa": 0.4}, {"lookahead": 0}, {"gap": 2}, {"min_size": 2000},
    {"min_span": 11}, {"fill_holes": False}, {"drop_border": True}, {"instances": "pieces"}, {"instances": "none"},
]  # fmt: skip
OF_DIRECTIONS: list[dict[str, Any]] = [{}, {"median": 5}, {"votes": 3}, {"consensus_iou": 0.3}, {"lone_objects": True}]


@pytest.mark.parametrize(("planes", "asked"), [(("xy",), CHANGES), (("xy", "xz", "yz"), OF_DIRECTIONS)])
def test_kept_maps_in_a_folder_give_the_labels_of_a_fresh_run_in_another_process(
    planes: Any, asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    recipe = GENTLE.replace(planes=planes, median=3)
    model = Oracle()
    first = segment(volume(), recipe, model=model, kept=KeptMaps(folder=tmp_path / "maps"), show=False)
    calls = len(model.net.calls)
    for changes in asked:
        other = recipe.replace(**changes)
        kept = KeptMaps(folder=tmp_path / "maps")  # as another process would
        got = drain(redecoding(kept, other), show=False)
        stored = drain(redecoding(kept, other, out=tmp_path / "labels.zarr", overwrite=True), show=False)
        fresh = segment(volume(), other, model=Oracle(), show=False)
        assert isinstance(got, Labels)
        assert np.array_equal(got.data, fresh.data), changes
        assert np.array_equal(open_labels(stored).data, fresh.data), changes
        assert got.record == fresh.record
    assert len(model.net.calls) == calls
    assert first.data.any()


def test_a_run_goes_on_from_the_maps_of_one_that_was_stopped(tmp_path: Path) -> None:
    model = Oracle()
    steps = segmenting(volume(), GENTLE, model=model, kept=KeptMaps(folder=tmp_path / "maps"))
    for step in steps:
        if step.done == 5:
            break
    steps.close()
    segment(volume(), GENTLE, model=model, kept=KeptMaps(folder=tmp_path / "maps"), show=False)
    assert len(model.net.calls) == 16


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("planes", PLANES)
@pytest.mark.parametrize("median", [1, 5])
def test_stacks_of_a_few_planes_are_segmented(depth: int, planes: Any, median: int, tmp_path: Path) -> None:
    ids = volume()[6 : 6 + depth]
    recipe = GENTLE.replace(planes=planes, median=median)
    labels = segment(ids, recipe, model=Oracle(), show=False)
    assert labels.shape == ids.shape
    if planes == ("xy",):
        assert labels.data.max() == 4
    stored = segment(ids, recipe, model=Oracle(), out=tmp_path / "labels.zarr", show=False)
    assert np.array_equal(open_labels(stored).data, labels.data)


def test_instances_none_gives_one_id_and_pieces_what_is_connected() -> None:
    ids = volume()
    touching = GENTLE.replace(center_distance=8)
    assert segment(ids, touching, model=Oracle(), show=False).data.max() == 4
    for planes in (("xy",), ("xy", "xz", "yz")):
        recipe = touching.replace(planes=planes)
        assert segment(ids, recipe.replace(instances="pieces"), model=Oracle(), show=False).data.max() == 3
        mask = segment(ids, recipe.replace(instances="none"), model=Oracle(), show=False).data
        assert set(np.unique(mask)) == {0, 1}
        assert (mask > 0).sum() > 0.95 * (ids > 0).sum()


@given(st.integers(0, 2**32 - 1), st.sampled_from(PLANES), st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_classes_are_numbered_one_after_the_other(seed: int, planes: Any, slab: int) -> None:
    kept = drawn((7, 12, 16), seed, classes=2)
    recipe = GENTLE.replace(planes=planes, fill_holes=False, min_size=1, votes=2)
    run = Run(kept.shape, recipe, slab=slab)
    drain(run.planes(kept, lambda axis, index: iter(()), rolling=False), show=False)  # type: ignore[arg-type, return-value]
    labels = drain(run.objects(), show=False)
    assert labels is not None
    one, two = (whole(kept, recipe, kind) for kind in (0, 1))
    first = run.counts[0]
    assert np.array_equal(np.where(labels <= first, labels, 0), one)
    assert np.array_equal(labels > first, (two > 0) & (one == 0))
    assert len(np.unique(labels[labels > 0])) == sum(run.counts)
    mask = ran(kept, recipe.replace(instances="none"), slab=slab)
    assert set(np.unique(mask)) <= {0, 1, 2}


class TwoClasses(Oracle):
    """Knows two classes: odd ids are cells, even ids are dots."""

    def __init__(self) -> None:
        super().__init__()
        self.spec = dataclasses.replace(self.spec, classes=("cell", "dot"))
        plain = self.net

        class Net(torch.nn.Module):
            def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
                heads = plain(x)
                odd = x.round() % 2 == 1
                logits = [torch.where(there, 20.0, -20.0) for there in (x <= 0, (x > 0) & odd, (x > 0) & ~odd)]
                return {**heads, "semantic": torch.cat(logits, 1)}

        self.net = Net()  # type: ignore[assignment]


def test_a_model_with_two_classes_gives_labels_with_a_table_of_classes(tmp_path: Path) -> None:
    ids = volume()
    recipe = GENTLE.replace(center_distance=8)
    labels = segment(ids, recipe, model=TwoClasses(), kept=KeptMaps(folder=tmp_path / "maps"), show=False)
    assert labels.record is not None
    want = [{"name": "cell", "first": 1, "last": 2}, {"name": "dot", "first": 3, "last": 4}]
    assert labels.record["classes"] == want
    for k in range(1, 5):
        found = np.unique(labels.data[(ids == k) & (labels.data > 0)])
        assert set(found.tolist()) <= ({1, 2} if k % 2 else {3, 4})
    stored = drain(redecoding(KeptMaps(folder=tmp_path / "maps"), recipe, out=tmp_path / "labels.zarr"), show=False)
    read = open_labels(stored)
    assert np.array_equal(read.data, labels.data)
    assert read.record is not None
    assert read.record["classes"] == want
    mask = segment(ids, recipe.replace(instances="none"), model=TwoClasses(), show=False)
    assert set(np.unique(mask.data[ids % 2 == 1])) <= {0, 1}
    assert mask.record is not None
    assert [c["last"] for c in mask.record["classes"]] == [1, 2]


def test_classes_that_a_model_does_not_tell_apart_become_one_id_each(tmp_path: Path) -> None:
    model = TwoClasses()
    model.spec = dataclasses.replace(model.spec, things=("cell",))
    recipe = GENTLE.replace(center_distance=8, planes=("xy", "xz", "yz"))
    kept = KeptMaps(folder=tmp_path / "maps")
    labels = segment(volume(), recipe, model=model, kept=kept, show=False)
    assert labels.record is not None
    assert [(c["first"], c["last"]) for c in labels.record["classes"]] == [(1, 2), (3, 3)]
    assert labels.record["notes"] == ["This model does not tell objects of dot apart: they are one id."]
    again = drain(redecoding(KeptMaps(folder=tmp_path / "maps"), recipe), show=False)
    assert np.array_equal(again.data, labels.data)
