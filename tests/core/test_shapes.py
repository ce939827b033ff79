"""Shapes whose volume, surface, length and forks are known, at round and at flat voxels, turned and moved."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mitonb as mn
from mitonb.errors import AxesError, InputError, UnsupportedFormatError
from mitonb.labels import Labels
from mitonb.measurements import COLUMNS, measure


def places(reach: float, unit: tuple[float, ...], seed: int) -> np.ndarray:
    """Points (z, y, x, 3) of a turned and moved grid, in nm from the middle of the shape."""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    moved = rng.uniform(-0.5, 0.5, 3) * unit
    axes = [np.arange(-reach - u * 4, reach + u * 4, u) + m for u, m in zip(unit, moved, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1) @ turn


def rod(at: np.ndarray, end: tuple[float, float, float]) -> np.ndarray:
    """Distance from the line between the middle and a point."""
    along = np.clip(at @ np.array(end) / np.dot(end, end), 0, 1)
    return np.linalg.norm(at - along[..., None] * end, axis=-1)


def shape(kind: str, unit: tuple[float, ...], seed: int) -> tuple[np.ndarray, float | None, float | None, float, int]:
    """A drawn shape with its volume, surface and length in nm, and the number of its forks."""
    if kind == "ball":
        r = 32
        inside = np.linalg.norm(places(r, unit, seed), axis=-1) <= r
        return inside, 4 / 3 * np.pi * r**3, 4 * np.pi * r**2, 2 * r, 0
    if kind == "ellipsoid":
        a, b, c = axes = np.array([52.0, 28, 24])
        surface = 4 * np.pi * (((a * b) ** 1.6075 + (a * c) ** 1.6075 + (b * c) ** 1.6075) / 3) ** (1 / 1.6075)
        inside = ((places(a, unit, seed) / axes) ** 2).sum(-1) <= 1
        return inside, 4 / 3 * np.pi * a * b * c, surface, 2 * a, 0
    if kind == "cylinder":
        r, length = 24, 110
        at = places(62, unit, seed)
        inside = (np.abs(at[..., 0]) <= length / 2) & (np.hypot(at[..., 1], at[..., 2]) <= r)
        return inside, np.pi * r**2 * length, 2 * np.pi * r * (length + r), length, 0
    if kind == "ring":
        big, r = 40, 18
        at = places(big + r, unit, seed)
        inside = np.hypot(np.hypot(at[..., 0], at[..., 1]) - big, at[..., 2]) <= r
        return inside, 2 * np.pi**2 * big * r**2, 4 * np.pi**2 * big * r, 2 * np.pi * big, 0
    r, arm = 12, 48.0
    at = places(arm + r, unit, seed)
    ends = [(arm * np.cos(t), arm * np.sin(t), 0.0) for t in (0, 2 * np.pi / 3, 4 * np.pi / 3)]
    return np.min([rod(at, end) for end in ends], axis=0) <= r, None, None, 3 * (arm + r), 1


@pytest.mark.parametrize("unit", [(2.0, 2.0, 2.0), (5.0, 1.0, 1.0)])
@pytest.mark.parametrize("kind", ["ball", "ellipsoid", "cylinder", "ring", "Y"])
def test_volume_surface_length_and_forks_are_those_of_the_shape(kind: str, unit: tuple[float, float, float]) -> None:
    inside, volume, surface, length, forks = shape(kind, unit, 7)
    row = measure(inside, voxel_size=unit, also=("shape", "skeleton")).iloc[0]
    if volume and surface:
        assert row.volume_um3 * 1e9 == pytest.approx(volume, rel=0.02)
        assert row.surface_um2 * 1e6 == pytest.approx(surface, rel=0.05)
    assert row.skeleton_nm == pytest.approx(length, rel=0.05)
    assert (row.branch_points, row.end_points) == (forks, {"ring": 0, "Y": 3}.get(kind, 2))


def test_a_ball_is_round_and_a_rod_is_long() -> None:
    ball = measure(shape("ball", (2.0, 2.0, 2.0), 1)[0], voxel_size=2, also="shape").iloc[0]
    assert ball.sphericity == pytest.approx(1, abs=0.02)
    assert ball.complexity == pytest.approx(9 / (4 * np.pi), rel=0.05)
    assert (ball.feret_nm, ball.width_nm) == (pytest.approx(64, rel=0.03), pytest.approx(64, rel=0.03))
    ids = np.zeros((30, 30, 60), np.uint8)
    z, y, x = np.indices(ids.shape)
    ids[((z - 15) ** 2 + (y - 15) ** 2 <= 36) & (abs(x - 30) <= 20)] = 1
    rod_ = measure(ids, voxel_size=10, also=("shape", "skeleton")).iloc[0]
    assert rod_.diameter_nm == pytest.approx(120, rel=0.03)
    assert (rod_.tilt_deg, rod_.azimuth_deg % 180) == (pytest.approx(90, abs=1), pytest.approx(0, abs=1))
    # Of a rod, the variance is a twelfth of the length squared along, a quarter of the radius squared across.
    assert rod_.aspect_ratio == pytest.approx((41**2 / 12) ** 0.5 / (6 / 2), rel=0.05)


@pytest.mark.parametrize("sides", [(10, 20, 50), (50, 10, 20), (6, 60, 60)])
def test_a_block_is_as_wide_as_its_shortest_side(sides: tuple[int, int, int]) -> None:
    row = measure(np.pad(np.ones(sides, np.uint8), 3), voxel_size=10, also="shape").iloc[0]
    assert row.width_nm == pytest.approx(10 * min(sides), rel=0.03)
    assert row.feret_nm == pytest.approx(10 * np.linalg.norm(sides), rel=0.03)


def test_a_disc_in_a_single_section_is_measured_as_one() -> None:
    y, x = np.indices((120, 120))
    row = measure(((y - 60) ** 2 + (x - 60) ** 2 <= 40**2)[None], voxel_size=5, also="all").iloc[0]
    assert row.area_um2 == pytest.approx(np.pi * 0.2**2, rel=0.01)
    assert row.perimeter_nm == pytest.approx(2 * np.pi * 200, rel=0.02)
    assert row.circularity == pytest.approx(1, abs=0.03)
    assert row.feret_nm == pytest.approx(400, rel=0.02)
    assert "surface_um2" not in row
    assert "skeleton_nm" not in row


def test_the_cut_at_the_border_of_the_volume_is_no_surface() -> None:
    ids = np.zeros((40, 60, 60), np.uint8)
    _, y, x = np.indices(ids.shape)
    ids[(y - 30) ** 2 + (x - 30) ** 2 <= 15**2] = 1  # goes through from the first section to the last
    row = measure(ids, voxel_size=10, also="shape").iloc[0]
    assert row.surface_um2 * 1e6 == pytest.approx(2 * np.pi * 150 * 400, rel=0.03)
    assert np.isnan(row.sphericity)
    assert row.edge_weight == 0


@pytest.mark.parametrize("slant", [20, 40, 60])
def test_a_slanting_tube_that_the_border_cuts_has_the_surface_of_its_side_alone(slant: float) -> None:
    z, y, x = np.indices((12, 60, 160)).astype(float)
    middle = 80.2 + np.tan(np.radians(slant)) * (z - 6)
    ids = (np.hypot(y - 30.3, (x - middle) * np.cos(np.radians(slant))) <= 20).astype(np.uint8)
    side = 2 * np.pi * 200 * 120 / np.cos(np.radians(slant))
    assert measure(ids, voxel_size=10, also="shape").surface_um2[0] * 1e6 == pytest.approx(side, rel=0.04)


def blocks() -> np.ndarray:
    """Two blocks of 10 x 20 x 20 that share a face of 20 x 20, and one three voxels beyond."""
    ids = np.zeros((50, 40, 40), np.uint16)
    ids[10:20, 10:30, 10:30] = 1
    ids[20:30, 10:30, 10:30] = 2
    ids[33:40, 10:30, 10:30] = 900
    return ids


def test_contacts_are_counted_where_objects_touch_or_are_near() -> None:
    touching = measure(blocks(), voxel_size=10, also="neighbours")
    assert touching.neighbours.tolist() == [1, 1, 0]
    assert touching.contact_um2[0] == pytest.approx(0.04, rel=0.1)
    near = measure(blocks(), voxel_size=10, also="neighbours", within_nm=35)
    assert near.neighbours.tolist() == [1, 2, 1]
    assert near.contact_um2[2] == pytest.approx(0.04, rel=0.15)


def test_all_that_are_near_are_neighbours_also_those_behind_another_one() -> None:
    ids = np.zeros((9, 12, 12), np.uint8)
    ids[1:3, 2:10, 2:10], ids[4:5, 2:10, 2:10], ids[6:8, 2:10, 2:10] = 1, 2, 3
    near = measure(ids, voxel_size=10, also="neighbours", within_nm=30)
    assert near.neighbours.tolist() == [2, 2, 2], "3 is 30 nm away from 1, though 2 lies between them"


def test_where_the_border_cuts_an_object_there_is_no_surface_that_others_could_be_near_to() -> None:
    mitochondrion, granule = np.zeros((2, 20, 20, 20), np.uint8)
    mitochondrion[:18, 2:18, 2:18] = 1
    granule[1:4, 9:12, 9:12] = 1  # inside, a voxel away from the border
    table = measure(mitochondrion, voxel_size=10, others=granule, within_nm=30)
    assert table.others_distance_nm[0] == pytest.approx(60)
    assert (table.others[0], table.others_um2[0]) == (0, 0)
    full = measure(np.ones((4, 5, 6), np.uint8), voxel_size=10, also="all", others=granule[:4, 8:13, 8:14])
    assert (full.others[0], full.neighbours[0]) == (0, 0)
    assert np.isnan(full.others_distance_nm[0]), "it has no surface in this volume"


def test_of_a_huge_box_some_voxels_of_the_object_are_always_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mitonb.details._LARGEST", 1 << 10)
    ids = np.zeros((20, 20, 20), np.uint8)
    ids[1, 1:, 1:], ids[0, 2, 2], ids[1:, 2, 2] = 1, 1, 1  # thin, and between every other voxel of its box
    row = measure(ids, voxel_size=10, also="shape", mask=ids).iloc[0]
    assert row.surface_um2 > 0.02
    assert (row.in_mask, row.mask_distance_nm) == (1, 0)


def test_distances_to_a_second_set_and_to_a_region() -> None:
    region = np.zeros((50, 40, 40), bool)
    region[:12] = True
    table = measure(blocks(), voxel_size=10, others=(blocks() == 900).astype(np.uint8), mask=region)
    assert table.others.tolist() == [0, 0, 1]
    assert table.others_distance_nm.round(3).tolist() == [130, 30, 0]
    assert table.in_mask.tolist() == [pytest.approx(0.2), 0, 0]
    assert table.mask_distance_nm.round(3).tolist() == [0, 80, 210]
    whole = measure(blocks(), voxel_size=10, mask=np.ones_like(blocks()))  # has no surface
    assert whole.mask_distance_nm.tolist() == [0, 0, 0]


def test_a_set_is_in_contact_with_itself_along_the_whole_surface() -> None:
    ids = blocks()
    table = measure(ids, voxel_size=10, also="shape", others=ids)
    assert (table.others >= 1).all()
    assert table.others_um2[2] == pytest.approx(table.surface_um2[2])


def test_a_volume_in_a_file_gives_the_same_details(tmp_path: Path) -> None:
    stored = mn.open(mn.save(Labels(blocks(), voxel_size=(20, 10, 10)), tmp_path / "labels.ome.zarr"))
    here = measure(blocks(), voxel_size=(20, 10, 10), also="all")
    assert measure(stored, also="all").equals(here)


def test_details_need_a_voxel_size_and_a_known_name() -> None:
    with pytest.raises(InputError, match="voxel size is unknown"):
        measure(blocks(), also="shape")
    with pytest.raises(InputError, match=r"no group of columns 'centre lines'\. There .* 'skeleton' \(centre line, "):
        measure(blocks(), voxel_size=1, also="centre lines")
    with pytest.raises(AxesError, match="second label set needs the shape"):
        measure(blocks(), voxel_size=1, others=blocks()[:5])
    with pytest.raises(InputError, match="within_nm=-4 says how far contacts reach, and none are asked for"):
        measure(blocks(), voxel_size=1, within_nm=-4)


def test_no_objects_give_an_empty_table_with_all_columns() -> None:
    table = measure(np.zeros((4, 5, 6), np.uint8), voxel_size=10, also="all")
    assert len(table) == 0
    assert {"surface_um2", "skeleton_nm", "neighbours"} <= set(table)


def test_the_summary_makes_up_for_objects_that_the_border_cuts() -> None:
    """Of balls at random, counting the whole ones alone loses every second; weighted, the number is right."""
    rng = np.random.default_rng(0)
    counts, z, y, x = [], *np.indices((40, 40, 40))
    for _ in range(12):
        ids = np.zeros((40, 40, 40), np.uint8)
        for k, c in enumerate(rng.uniform(-8, 48, (6, 3)), 1):  # also balls whose middle is outside
            ids[(z - c[0]) ** 2 + (y - c[1]) ** 2 + (x - c[2]) ** 2 <= 49] = k
        found = mn.summarize(measure(ids, voxel_size=10)).set_index("quantity")["value"]
        counts.append(found["number"])
    expected = 6 * (40 / 56) ** 3
    assert np.mean(counts) == pytest.approx(expected, rel=0.35)


def test_a_summary_needs_to_know_the_volume(tmp_path: Path) -> None:
    table = measure(blocks(), voxel_size=10)
    table.attrs.clear()
    with pytest.raises(InputError, match="Measure the labels again"):
        mn.summarize(table)
    with pytest.raises(InputError, match="got region_voxels=0"):
        mn.summarize(measure(blocks(), voxel_size=10), region_voxels=0)


def test_a_summary_says_where_one_object_counts_for_very_many() -> None:
    ids = np.pad(np.ones((8, 8, 8), np.uint8), 1)
    how = mn.summarize(measure(ids, voxel_size=10)).set_index("quantity").how
    assert "1 whole, 0 cut off; unsure: one object counts 1000 times" in how["number"]
    assert "unsure" not in how["volume fraction"]
    fits = mn.summarize(measure(np.pad(ids, 20), voxel_size=10)).set_index("quantity").how
    assert "unsure" not in fits["number"]
    halved = mn.summarize(measure(ids[4:], voxel_size=10)).set_index("quantity").how
    assert "0 whole, 1 cut off; unsure: none is whole" in halved["mean volume"]
    assert "0 whole, 1 cut off" in halved["objects seen"]


def test_stereology_of_a_section_says_what_it_assumes() -> None:
    y, x = np.indices((200, 200))
    section = ((y % 50 - 25) ** 2 + (x % 50 - 25) ** 2 <= 100).astype(np.int32)
    section *= 1 + (y // 50) * 4 + x // 50
    found = mn.summarize(measure(section[None], voxel_size=(50, 10, 10), also="shape")).set_index("quantity")
    assert found.value["area fraction"] == found.value["volume fraction"] == pytest.approx(np.pi * 100 / 2500, rel=0.02)
    assert found.value["surface per volume"] == pytest.approx(4 / np.pi * found.value["outline per area"])
    assert "isotropic" in found.how["surface per volume"]
    assert "assumes balls" in found.how["number per volume"]


def test_every_column_stands_in_the_docs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "measuring.md").read_text(encoding="utf-8")
    missing = [column.name for column in COLUMNS if f"`{column.name}`" not in text]
    assert not missing


@pytest.mark.parametrize("ending", [".csv", ".xlsx", ".parquet"])
def test_a_table_comes_back_from_every_format(ending: str, tmp_path: Path) -> None:
    for package in {".xlsx": ["openpyxl"], ".parquet": ["pyarrow"]}.get(ending, []):
        pytest.importorskip(package)
    table = measure(blocks(), voxel_size=10, also="shape")
    path = mn.save(table, tmp_path / f"objects{ending}")
    read = {".csv": pd.read_csv, ".xlsx": pd.read_excel, ".parquet": pd.read_parquet}[ending]
    pd.testing.assert_frame_equal(read(path), table, check_dtype=False)


def test_a_missing_package_for_tables_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(UnsupportedFormatError, match=r"needs openpyxl: pip install 'mitonb\[tables\]'"):
        mn.save(measure(blocks()), tmp_path / "objects.xlsx")


def test_a_slice_of_an_object_has_no_centre_line_and_a_tube_through_the_volume_has_one() -> None:
    ids = np.zeros((6, 40, 60), np.uint8)
    ids[:, 5:17, 5:40] = 1
    ids[1:5, 30:34, :] = 2
    table = measure(ids, also="skeleton", voxel_size=10).set_index("id")
    lines = [column.name for column in COLUMNS if column.group == "skeleton"]
    assert table.loc[1, lines].isna().all()
    assert table.loc[2, "skeleton_nm"] == pytest.approx(600, rel=0.05)


@pytest.mark.parametrize("wide", [4, 5, 6])
def test_a_straight_tube_is_as_long_as_it_is_however_many_voxels_it_is_wide(wide: int) -> None:
    ids = np.zeros((20, 20, 60), np.uint8)
    ids[5 : 5 + wide, 5 : 5 + wide, 10:50] = 1
    table = measure(ids, also="skeleton", voxel_size=10)
    assert table.skeleton_nm[0] == pytest.approx(400, rel=0.05)
    assert (table.branch_points[0], table.end_points[0]) == (0, 2)
    assert table.diameter_nm[0] == pytest.approx(11 * wide, rel=0.1)


def test_an_object_that_fills_the_volume_is_measured_as_far_as_it_can_be() -> None:
    table = measure(np.ones((4, 5, 6), np.uint8), also="all", voxel_size=10)
    assert table.volume_um3[0] == pytest.approx(120e-6)
    assert np.isnan(table.sphericity[0])
