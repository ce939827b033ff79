"""What is kept is used again for the same pixels only; a full disk is a sentence and spoils nothing."""

from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

from mitonb.errors import InputError
from mitonb.infer.kept import KeptMaps
from mitonb.infer.segment import redecode, segment
from mitonb.io.record import fingerprint
from mitonb.recipe import Recipe
from mitonb.stack import Axis, Stack
from tests.infer.oracle import Oracle, volume

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GENTLE = Recipe(min_area=0, min_size=6, min_span=1, center_distance=4, tile=0, lookahead=2)
ALL: tuple[Axis, ...] = ("xy", "xz", "yz")


def ran(ids: npt.NDArray[Any], folder: Path | None, planes: tuple[Axis, ...] = ("xy",)) -> tuple[Any, int]:
    """Segment, as a new process would; return the labels and how many planes went through the net."""
    model = Oracle()
    kept = None if folder is None else KeptMaps(folder=folder)
    labels = segment(Stack(ids), GENTLE.replace(planes=planes), model=model, kept=kept, show=False)
    return labels, len(model.net.calls)


def repaired(ids: npt.NDArray[Any], *sections: int) -> npt.NDArray[Any]:
    """Return the image before some sections were repaired: they are empty in it."""
    broken = ids.copy()
    broken[list(sections)] = 0
    return broken


@pytest.mark.parametrize("sections", [(5, 6), (3,), (8, 11)])
def test_only_planes_that_changed_are_run_again(sections: tuple[int, ...], tmp_path: Path) -> None:
    ids = volume((40, 64, 80))
    before = repaired(ids, *sections)
    assert Stack(before).contrast == Stack(ids).contrast  # taken from a sample of planes; another one is another run
    assert ran(before, tmp_path / "maps")[1] == 40
    labels, runs = ran(ids, tmp_path / "maps")
    assert runs == len(sections)
    fresh, _ = ran(ids, None)
    assert np.array_equal(labels.data, fresh.data)
    assert labels.record["image"]["fingerprint"] == fresh.record["image"]["fingerprint"] == fingerprint(Stack(ids))
    assert f"{len(sections)} planes have changed" in " ".join(labels.record["notes"])
    assert np.array_equal(redecode(KeptMaps(folder=tmp_path / "maps"), GENTLE, show=False).data, fresh.data)
    assert ran(ids, tmp_path / "maps")[1] == 0


def test_one_voxel_changes_one_plane_of_each_direction(tmp_path: Path) -> None:
    ids = volume((20, 64, 80))
    ran(ids, tmp_path / "maps", ALL)
    ids = ids.copy()
    ids[7, 30, 40] = 4 if ids[7, 30, 40] != 4 else 3
    labels, runs = ran(ids, tmp_path / "maps", ALL)
    assert runs == 3
    assert np.array_equal(labels.data, ran(ids, None, ALL)[0].data)


def test_another_direction_joins_the_maps_that_are_kept_also_where_planes_are_resampled(tmp_path: Path) -> None:
    model = Oracle()
    model.spec = dataclasses.replace(model.spec, pixel_sizes=(8.0, 16.0))
    stack = Stack(volume((20, 64, 80)), (24.0, 8.0, 8.0))
    kept = KeptMaps(folder=tmp_path / "maps")
    flat = segment(stack, GENTLE, model=model, kept=kept, show=False)
    before = len(model.net.calls)
    segment(stack, GENTLE.replace(planes=ALL), model=model, kept=KeptMaps(folder=tmp_path / "maps"), show=False)
    assert len(model.net.calls) - before == 64 + 80, "the xy planes are there already"
    again = redecode(KeptMaps(folder=tmp_path / "maps"), GENTLE, show=False)
    assert np.array_equal(again.data, flat.data), "sizes are those of a run of xy planes, too"


def test_maps_of_another_image_are_refused_and_stay(tmp_path: Path) -> None:
    ids = volume((12, 64, 80))
    ran(ids, tmp_path / "maps")
    with pytest.raises(
        InputError, match=r"are of another image, or .*of 12 planes are others.*another folder, or delete"
    ):
        ran(np.roll(ids, 1, axis=2), tmp_path / "maps")
    assert ran(ids, tmp_path / "maps")[1] == 0


def test_an_array_that_was_changed_in_memory_is_run_again() -> None:
    ids, model, kept = volume((12, 64, 80)).copy(), Oracle(), KeptMaps()
    segment(Stack(ids), GENTLE, model=model, kept=kept, show=False)
    ids[5] = ids[6]
    labels = segment(Stack(ids), GENTLE, model=model, kept=kept, show=False)
    assert len(model.net.calls) <= 13
    assert np.array_equal(labels.data, ran(ids, None)[0].data)


@pytest.mark.parametrize("planes", [("xy",), ("xz",), ALL])
def test_the_record_of_a_run_identifies_every_voxel(planes: tuple[Axis, ...]) -> None:
    ids = volume((20, 64, 80))
    record = ran(ids, None, planes)[0].record
    assert record["image"]["fingerprint"] == fingerprint(Stack(ids))
    other = ids.copy()
    other[7, 0, 0] += 1
    assert fingerprint(Stack(other)) != record["image"]["fingerprint"]


@pytest.fixture
def small_files() -> Iterator[Any]:
    """Set how large a file may become, -1 without limit; it stands for a disk that gets full."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_gets_full_is_a_sentence_and_whole_planes_stay(tmp_path: Path, small_files: Any) -> None:
    ids, maps = volume((20, 64, 80)), tmp_path / "maps"
    for size in (4000, 1000):
        small_files(size)
        with pytest.raises(InputError, match=r"Maps cannot be kept in .*maps: the disk .*go on from them"):
            ran(ids, maps)
        small_files(-1)
        kept = KeptMaps(folder=maps)
        there = kept.count("xy") if (maps / ".zattrs").exists() else 0
        for index in range(20):
            if there and kept.has("xy", index):
                kept.get("xy", index)  # whole
        labels, runs = ran(ids, maps)
        assert runs == 20 - there
        assert np.array_equal(labels.data, ran(ids, None)[0].data)
        shutil.rmtree(maps)


def test_maps_that_the_disk_has_no_room_for_are_refused_after_the_first_plane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("mitonb.infer.kept.shutil.disk_usage", lambda path: usage._replace(free=200_000))
    with pytest.raises(InputError, match=r"The maps need .* for each direction, and the disk of .*maps has 195\.3 KiB"):
        ran(volume((100, 64, 80)), tmp_path / "maps")


def test_a_disk_that_is_full_in_the_end_does_not_cost_the_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Any, folder: Path, more: Any = None) -> None:
        if more:  # the first plane comes
            return
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mitonb.infer.kept.KeptMaps._write_header", full)
    labels, _ = ran(volume((12, 64, 80)), tmp_path / "maps")
    assert labels.data.max() == 4
    assert "Maps cannot be kept in" in " ".join(labels.record["notes"])


def test_temporary_files_of_a_run_on_a_full_disk_are_a_sentence(tmp_path: Path, small_files: Any) -> None:
    small_files(100)
    with pytest.raises(InputError, match=r"cannot be written .*[Ff]ree some space"):
        segment(volume((20, 64, 80)), GENTLE, model=Oracle(), out=tmp_path / "labels.zarr", show=False)
