"""What the published software gave for known input; the published rules must give the same."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mitonb.maps import Maps
from mitonb.post.decoding import centers
from mitonb.post.published import claim, group, peaks
from mitonb.post.tables import overlaps
from mitonb.post.targets import targets
from mitonb.post.tracking import Tracker, link_profiles
from mitonb.recipe import PRESETS
from tests.post.drawing import same_partition
from tests.post.steps import consensus, track

EMPANADA = PRESETS["empanada"]


def golden(name: str) -> dict[str, npt.NDArray[np.int64]]:
    """Return the arrays of a reference file."""
    folder = os.environ.get("MITONB_DATA_DIR")
    path = Path(folder).parent / "golden" / f"{name}.npz" if folder else None
    if path is None or not path.exists():
        pytest.skip("the reference outputs of the published software are not here (MITONB_DATA_DIR)")
    with np.load(path) as arrays:
        return {key: arrays[key] for key in arrays}


def partition(ids: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
    return ids.astype(np.uint32)


def test_targets_with_crowded_centers_dimmed() -> None:
    want = golden("targets")
    maps = targets(want["seg"], legacy=True)
    np.testing.assert_allclose(maps.center, want["heatmap"][0], atol=1e-6)
    np.testing.assert_allclose(maps.offsets, want["offsets"], atol=1e-4)
    assert np.array_equal(maps.semantic[0] > 0, want["seg"] > 0)


@pytest.mark.parametrize("window", [3, 4, 7])
def test_centers_and_ids_of_a_noisy_plane(window: int) -> None:
    want = golden("postprocess")
    recipe = EMPANADA.replace(center_window=window)
    maps = Maps(
        {
            "semantic": (want["sem"] > 0).astype(np.uint8)[None] * 255,
            "center": want["ctr_hmp"][0],
            "offsets": want["offsets"],
        }
    )
    points = centers(maps, recipe)
    assert set(map(tuple, points.tolist())) == set(map(tuple, want[f"centers_k{window}"].tolist()))
    ids = claim(maps, want["sem"] > 0, recipe)
    assert same_partition(ids, partition(want[f"pan_k{window}"]))


def test_centers_and_cells_of_a_coarse_map() -> None:
    want = golden("postprocess")
    center, offsets = want["ctr_hmp"][0, ::4, ::4], want["offsets"][:, ::4, ::4]
    points = peaks(center, EMPANADA.center_threshold, 3)
    assert set(map(tuple, points.tolist())) == set(map(tuple, want["centers_coarse_k3"].tolist()))
    ids = group(want["sem"] > 0, offsets, points, output_stride=4)
    cells = np.kron(want["cells_coarse_step4"], np.ones((4, 4), np.int64))
    assert same_partition(ids, partition(np.where(want["sem"] > 0, cells, 0)))


def test_objects_of_a_stack_after_both_passes() -> None:
    want = golden("stack_matching")
    assert same_partition(track(partition(want["vol"]), EMPANADA), partition(want["backward"]))


def test_objects_of_a_stack_after_the_forward_pass_alone() -> None:
    want = golden("stack_matching")
    tracker = Tracker(EMPANADA)
    planes = np.stack([done for plane in partition(want["vol"]) for done in tracker.add(plane)])
    first = [1, *(int(n) + 1 for n in np.maximum.accumulate(planes.max(axis=(1, 2))))]
    tables = [[], *([overlaps(a, b)] for a, b in itertools.pairwise(planes))]
    objects = link_profiles(first, np.bincount(planes.ravel()), tables, EMPANADA, backward=False)
    assert same_partition(objects[planes], partition(want["forward"]))


@pytest.mark.parametrize(
    "key", ["vote2_cl0.75_bypass0", "vote2_cl0.5_bypass0", "vote1_cl0.75_bypass0", "vote1_cl0.75_bypass1",
            "vote3_cl0.75_bypass0"],
)  # fmt: skip
def test_objects_of_three_directions(key: str) -> None:
    want = golden("consensus")
    votes, iou, lone = key.removeprefix("vote").replace("cl", "").replace("bypass", "").split("_")
    recipe = EMPANADA.replace(votes=int(votes), consensus_iou=float(iou), lone_objects=lone == "1")
    a, b, c = (collected(want[name]) for name in "abc")
    assert same_partition(consensus({"xy": a, "xz": b, "yz": c}, recipe), partition(want[key]))


def collected(volume: npt.NDArray[np.int64]) -> npt.NDArray[np.uint32]:
    """Number objects as a tracker finds them: by their first planes, in each plane by ascending ids."""
    planes = [np.setdiff1d(plane, 0) for plane in volume]
    order = list(dict.fromkeys(int(k) for ids in planes for k in ids))
    table = np.zeros(int(volume.max()) + 1, np.uint32)
    table[order] = np.arange(1, len(order) + 1)
    return table[volume]
