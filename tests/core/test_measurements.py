"""Measurements of objects whose figures can be counted by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import mitonb as mn
from mitonb import measurements
from mitonb.errors import AxesError, InputError
from mitonb.labels import Labels
from mitonb.measurements import measure
from mitonb.phantoms import phantom
from mitonb.stack import Stack

if TYPE_CHECKING:
    from pathlib import Path


def drawn() -> np.ndarray:
    """A rod of 2 x 2 x 6 voxels in the middle, and a plate of 1 x 4 x 4 in a corner."""
    ids = np.zeros((6, 10, 12), np.uint32)
    ids[2:4, 4:6, 3:9] = 7
    ids[0, :4, :4] = 900_000
    return ids


def test_sizes_places_and_boxes_are_those_that_were_drawn() -> None:
    rod, plate = measure(drawn()).to_dict("records")
    assert (rod["id"], rod["voxels"], plate["id"], plate["voxels"]) == (7, 24, 900_000, 16)
    assert (rod["z"], rod["y"], rod["x"]) == (2.5, 4.5, 5.5)
    assert [rod[k] for k in ("z0", "y0", "x0", "z1", "y1", "x1")] == [2, 4, 3, 4, 6, 9]
    assert not rod["truncated"]
    assert plate["truncated"]


def test_labels_in_a_file_are_measured_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.arange(drawn().size, dtype=np.float32).reshape(drawn().shape)
    path = mn.save(Labels(drawn(), voxel_size=(40, 8, 10)), tmp_path / "labels.ome.zarr")
    monkeypatch.setattr(measurements, "_CHUNK", 2 * 10 * 12)  # two planes at a time
    asked: list[int] = []
    stack = mn.open(path)
    kept = measurements._parts

    def parts(data: Any) -> Any:
        for planes, part in kept(data):
            asked.append(len(part))
            yield planes, part

    monkeypatch.setattr(measurements, "_parts", parts)
    got, expected = measure(stack, stack=image), measure(Labels(drawn(), voxel_size=(40, 8, 10)), stack=image)
    pd.testing.assert_frame_equal(got, expected)
    assert got.attrs["voxel_size"] == pytest.approx((40, 8, 10))
    assert max(asked) == 2


def test_an_image_is_no_labels() -> None:
    with pytest.raises(InputError, match="whole numbers, got dtype float32"):
        measure(Stack(np.zeros((2, 3, 4), np.float32)))
    with pytest.raises(InputError, match="start at 0, got -1"):
        measure(Stack(np.full((2, 3, 4), -1, np.int16)))


def test_an_unknown_voxel_size_gives_no_micrometres() -> None:
    table = measure(drawn())
    assert "volume_um3" not in table
    assert "length_nm" not in table
    assert table.length_voxels[0] == pytest.approx(6)
    assert table.attrs["voxel_size"] is None


def test_physical_size_scales_volume_and_length() -> None:
    table = measure(Labels(drawn(), voxel_size=(40, 8, 10)))
    assert table.volume_um3[0] == pytest.approx(24 * 40 * 8 * 10 / 1e9)
    assert table.length_nm[0] == pytest.approx(80, rel=0.01)  # now z is the longest side: 2 x 40
    assert measure(Labels(drawn(), voxel_size=(1, 1, 1)), voxel_size=(10, 10, 10)).length_nm[0] == pytest.approx(60)


def test_a_single_section_has_areas_and_its_thickness_is_no_length() -> None:
    ids = np.zeros((1, 8, 8), np.uint8)
    ids[0, 2:4, 1:6] = 1
    table = measure(ids, voxel_size=(70, 5, 5))
    assert table.area_um2[0] == pytest.approx(10 * 25 / 1e6)
    assert table.length_nm[0] == pytest.approx(25)
    assert "volume_um3" not in table
    assert "area_um2" not in measure(np.repeat(ids, 2, 0), voxel_size=(70, 5, 5))


def test_a_diagonal_rod_is_measured_along_itself() -> None:
    ids = np.zeros((1, 30, 30), np.uint8)
    ids[0, range(5, 25), range(5, 25)] = 1
    assert measure(ids).length_voxels[0] == pytest.approx(19 * 2**0.5 + 2**0.5)


def test_one_voxel_is_one_voxel_long() -> None:
    ids = np.zeros((3, 3, 3), np.uint8)
    ids[1, 1, 1] = 5
    assert measure(ids, voxel_size=(8, 8, 8)).length_nm[0] == pytest.approx(8)


def test_a_single_plane_is_not_cut_along_its_missing_axis() -> None:
    ids = np.zeros((1, 5, 5), np.uint8)
    ids[0, 2, 2] = 1
    assert not measure(ids).truncated[0]


def test_mean_intensity_leaves_out_what_is_not_a_number() -> None:
    image = np.full((6, 10, 12), 100.0)
    image[2:4, 4:6, 3:6] = 50
    image[0, 0, 0] = np.nan
    table = measure(drawn(), stack=Stack(image, voxel_size=(5, 5, 5)))
    assert table.mean_intensity.tolist() == [75, 100]
    assert table.attrs["voxel_size"] == (5, 5, 5)
    image[0] = np.nan
    assert np.isnan(measure(drawn(), stack=image).mean_intensity[1])


def test_no_objects_give_an_empty_table_with_the_same_columns() -> None:
    empty = measure(np.zeros((2, 3, 4), np.uint32), voxel_size=(1, 1, 1))
    assert len(empty) == 0
    assert list(empty) == list(measure(drawn(), voxel_size=(1, 1, 1)))


def test_a_volume_measured_in_pieces_gives_the_same_table(monkeypatch: pytest.MonkeyPatch) -> None:
    stack, labels = phantom((16, 64, 64), seed=2)
    whole = measure(labels, stack=stack)
    monkeypatch.setattr(measurements, "_CHUNK", 64 * 64)
    pieces = measure(labels, stack=stack)
    assert list(whole) == list(pieces)
    np.testing.assert_allclose(whole.to_numpy(float), pieces.to_numpy(float), rtol=1e-9)


def test_far_from_the_origin_nothing_changes() -> None:
    ids = np.zeros((2, 3, 70_000), np.uint8)
    ids[:, :, 69_990:69_996] = 1
    assert measure(ids).length_voxels[0] == pytest.approx(6)


def test_wide_ids_are_kept() -> None:
    ids = np.zeros((1, 2, 2), np.uint64)
    ids[0, 0, 0] = 2**64 - 1
    assert measure(ids).id[0] == 2**64 - 1


def test_wrong_shapes_and_sizes_are_refused() -> None:
    with pytest.raises(AxesError, match="3 axes"):
        measure(np.zeros((3, 3), int))
    with pytest.raises(AxesError, match="shape of the labels"):
        measure(drawn(), stack=np.zeros((1, 2, 3)))
    with pytest.raises(InputError, match="positive nanometres"):
        measure(drawn(), voxel_size=(1, 0, 1))


def test_one_number_is_the_voxel_size_of_all_axes():
    table = measure(np.ones((1, 1, 2), int), voxel_size=10)
    assert table.attrs["voxel_size"] == (10.0, 10.0, 10.0)


@pytest.mark.parametrize(
    ("sides", "reach"), [((1, 1, 1), 50), ((1, 4, 4), 50), ((1, 9, 9), 50), ((1, 12, 3), 60), ((2, 19, 19), 100)]
)
def test_an_object_in_one_or_two_thick_sections_is_at_least_as_long_as_they_are_thick(
    sides: tuple[int, int, int], reach: float
) -> None:
    for turned in ((0, 1, 2), (1, 0, 2), (2, 1, 0)):
        ids = np.zeros((6, 40, 40), np.uint8)
        ids[2 : 2 + sides[0], 5 : 5 + sides[1], 5 : 5 + sides[2]] = 1
        size = np.array((50.0, 5.0, 5.0))[list(turned)]
        table = measure(ids.transpose(turned), voxel_size=tuple(size))
        assert table.length_nm[0] == pytest.approx(reach)


def test_two_spots_of_one_object_are_never_nearer_than_its_section_is_thick() -> None:
    ids = np.zeros((3, 20, 20), np.uint8)
    ids[1, 5, 5:12] = 1
    ids[1, 3:8, [5, 11]] = 1
    table = measure(ids, voxel_size=(50, 5, 5))
    assert table.length_nm[0] >= 50


def test_labels_of_another_scale_are_measured_by_that_of_the_image_and_it_is_said() -> None:
    labels, image = Labels(drawn(), voxel_size=(1000, 1000, 1000)), Stack(drawn(), voxel_size=(8, 8, 8))
    with pytest.warns(UserWarning, match="1000 x 1000 x 1000 nm, the image 8 x 8 x 8 nm: those of the image are used"):
        table = measure(labels, stack=image)
    assert table.attrs["voxel_size"] == (8, 8, 8)
    assert table.volume_um3[0] == pytest.approx(24 * 8**3 / 1e9)
    assert measure(labels, stack=image, voxel_size=5).attrs["voxel_size"] == (5, 5, 5)
    assert measure(labels, stack=Stack(drawn())).attrs["voxel_size"] == (1000, 1000, 1000)
    with pytest.warns(UserWarning, match="those of the image"):  # ids in a file
        assert measure(Stack(drawn(), voxel_size=1000), stack=image).attrs["voxel_size"] == (8, 8, 8)
