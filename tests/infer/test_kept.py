"""Kept maps: in memory and on disk, with the median over planes."""

from __future__ import annotations

import gc
import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitonb.errors import CorruptFileError, InputError
from mitonb.infer.kept import KeptMaps, median_planes
from mitonb.infer.tiles import Cut, cuts, padded, resample, weights
from mitonb.maps import Maps
from mitonb.memory import memory_budget, require

if TYPE_CHECKING:
    from pathlib import Path


def maps(h: int, w: int, value: int, step: int = 4) -> Maps:
    size = -(-h // step), -(-w // step)
    center, offsets = np.full(size, value / 7, np.float32), np.full((2, *size), value, np.float32)
    return Maps({"semantic": np.full((1, h, w), value, np.uint8), "center": center, "offsets": offsets}, step)


@given(st.integers(1, 15), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_the_median_of_planes_is_exact(count: int, seed: int) -> None:
    planes = np.random.default_rng(seed).integers(0, 256, (count, 5, 6)).astype(np.uint8)
    before = planes.copy()
    want = np.median(planes, axis=0)
    assert np.array_equal(median_planes(list(planes)), np.floor(want + 0.5).astype(np.uint8))
    assert np.array_equal(planes, before)


@pytest.mark.parametrize("folder", ["memory", "disk"])
def test_the_median_is_cut_off_at_the_ends_and_never_filters_twice(folder: str, tmp_path: Path) -> None:
    kept = KeptMaps((4, 8, 8), tmp_path if folder == "disk" else "memory")
    for z, value in enumerate([10, 200, 30, 100]):
        kept.put("xy", z, maps(8, 8, value))
    values = [int(kept.plane("xy", z, 3).semantic[0, 0, 0]) for z in range(4)]
    assert values == [105, 30, 100, 65]
    assert [int(kept.get("xy", z).semantic[0, 0, 0]) for z in range(4)] == [10, 200, 30, 100]
    assert float(kept.plane("xy", 1, 3).center[0, 0]) == pytest.approx(200 / 7, rel=1e-3)
    assert np.array_equal(kept.plane("xy", 1, 1).semantic, kept.get("xy", 1).semantic)


def test_planes_that_are_not_kept_do_not_enter_the_median() -> None:
    kept = KeptMaps((5, 8, 8))
    kept.put("xy", 2, maps(8, 8, 50))
    assert kept.plane("xy", 2, 5).semantic[0, 0, 0] == 50
    kept.put("xy", 4, maps(8, 8, 90))
    assert kept.plane("xy", 2, 5).semantic[0, 0, 0] == 70


@pytest.mark.parametrize("folder", ["memory", "disk"])
def test_what_is_put_comes_back_in_kept_form(folder: str, tmp_path: Path) -> None:
    kept = KeptMaps((6, 9, 10), tmp_path if folder == "disk" else "memory")
    rng = np.random.default_rng(0)
    whole = Maps(
        {"semantic": rng.random((2, 6, 9)), "center": rng.random((2, 3)), "offsets": rng.normal(0, 9, (2, 2, 3))},
        4,
        1.5,
    )
    kept.put("yz", 9, whole)
    back, want = kept.get("yz", 9), whole.kept()
    assert (back.output_stride, back.pixel_offset, kept.plane("yz", 9, 3).pixel_offset) == (4, 1.5, 1.5)
    for name in ("semantic", "center", "offsets"):
        assert np.array_equal(getattr(back, name), getattr(want, name))
        assert getattr(back, name).dtype == getattr(want, name).dtype
    assert (kept.count("yz"), kept.count("xy"), kept.has("yz", 8)) == (1, 0, False)
    assert kept.nbytes == want.nbytes
    kept.drop("yz", 9)
    assert not kept.has("yz", 9)


def test_files_of_a_temporary_folder_go_with_the_object(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("mitonb.infer.kept.IN_MEMORY", 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    kept = KeptMaps((2, 8, 8))
    kept.put("xy", 0, maps(8, 8, 1))
    assert len(list(tmp_path.iterdir())) == 1
    del kept
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_the_user_names_is_opened_again_with_what_it_holds(tmp_path: Path) -> None:
    kept = KeptMaps((3, 8, 9), tmp_path / "maps")
    kept.claim((3, 8, 9), {"image": "one"})
    for z, value in enumerate([10, 200]):
        kept.put("xy", z, maps(8, 9, value))
    kept.put("yz", 4, maps(3, 8, 7))
    kept.tell(name="cell", voxel_size=(8.0, 8.0, 8.0))
    del kept
    again = KeptMaps(folder=tmp_path / "maps")
    assert again.shape == (3, 8, 9)
    assert [again.has("xy", z) for z in range(3)] == [True, True, False]
    assert (again.get("xy", 1).semantic == 200).all()
    assert (again.get("yz", 4).offsets == 7).all()
    assert again.about == {"name": "cell", "voxel_size": [8.0, 8.0, 8.0]}
    again.claim((3, 8, 9), {"image": "one"})
    assert again.count("xy") == 2


def test_maps_of_another_run_in_a_named_folder_are_never_thrown_away_silently(tmp_path: Path) -> None:
    kept = KeptMaps((2, 8, 8), tmp_path)
    kept.claim((2, 8, 8), {"image": "one", "tile": 512})
    kept.put("xy", 0, maps(8, 8, 7))
    with pytest.raises(InputError, match=r"another run: net.image \(was one, is two\)\. .*or clear"):
        KeptMaps(folder=tmp_path).claim((2, 8, 8), {"image": "two", "tile": 512})
    assert kept.has("xy", 0)
    kept.clear()
    assert list(tmp_path.iterdir()) == []
    kept.claim((2, 8, 8), {"image": "two", "tile": 512})


def test_a_folder_of_other_things_and_damaged_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(InputError, match="holds other things than kept maps"):
        KeptMaps(folder=tmp_path)
    kept = KeptMaps((2, 8, 8), tmp_path / "maps")
    kept.put("xy", 0, maps(8, 8, 7))
    kept.put("xy", 1, maps(8, 8, 7))
    del kept
    for plane, cut in ((0, None), (1, -3)):
        data = tmp_path / "maps" / "xy" / "semantic" / f"{plane}.0.0.0"
        data.write_bytes(b"x" + data.read_bytes()[1:cut])
    again = KeptMaps(folder=tmp_path / "maps")
    for index in (0, 1):
        with pytest.raises(CorruptFileError, match=f"plane {index} of the maps in .* read back changed"):
            again.get("xy", index)
    (tmp_path / "maps" / ".zattrs").write_text('{"format": "mitonb-kept-maps", "version": 1')
    with pytest.raises(CorruptFileError, match="damaged"):
        KeptMaps(folder=tmp_path / "maps")
    (tmp_path / "maps" / "maps.json").write_text('{"format": "mitonb-kept-maps", "version": 1}')
    with pytest.raises(InputError, match=r"kept by version 0\.1"):
        KeptMaps(folder=tmp_path / "maps")


def test_wrong_planes_and_sizes_are_refused() -> None:
    kept = KeptMaps((4, 8, 9))
    with pytest.raises(InputError, match=r"4 xy planes \(0 to 3\), got plane 4"):
        kept.put("xy", 4, maps(8, 9, 0))
    with pytest.raises(InputError, match=r"\(8, 9\) pixels, got maps of \(9, 8\)"):
        kept.put("xy", 0, maps(9, 8, 0))
    with pytest.raises(InputError, match="has not run on xz plane 2"):
        kept.get("xz", 2)
    with pytest.raises(InputError, match="xy, xz, yz"):
        kept.get("zy", 0)  # type: ignore[arg-type]


def test_tiles_cover_a_side_and_share_margins() -> None:
    assert cuts(128, 0, 16, 16) == [Cut(0, 128)]
    assert cuts(128, 200, 16, 16) == [Cut(0, 128)]
    assert cuts(160, 64, 16, 16) == [Cut(0, 64, 0, 32), Cut(32, 96, 32, 32), Cut(64, 128, 32, 32), Cut(96, 160, 32, 0)]
    assert cuts(80, 60, 0, 16) == [Cut(0, 64, 0, 48), Cut(16, 80, 48, 0)]


@given(st.integers(1, 40), st.integers(1, 400), st.integers(0, 200), st.sampled_from([4, 16, 32]))
@settings(max_examples=100, deadline=None)
def test_tiles_start_on_the_grid_of_the_net_and_weigh_something_everywhere(
    length: int, tile: int, halo: int, multiple: int
) -> None:
    length *= multiple
    found = cuts(length, tile, halo, multiple)
    total, coarse = np.zeros(length), np.zeros(length // 4)
    for cut in found:
        assert cut.start % multiple == cut.stop % multiple == 0
        total[cut.start : cut.stop] += weights(cut)
        coarse[cut.start // 4 : cut.stop // 4] += weights(cut, 4)
    assert found[0].start == 0
    assert found[-1].stop == length
    assert total.min() > 1e-3
    assert coarse.min() > 1e-3


def test_padding_reflects_at_the_bottom_and_right() -> None:
    image = np.array([[1, 2, 3]], np.float32)
    assert padded(image, 4).tolist() == [[1, 2, 3, 2]] * 4
    assert padded(padded(image, 4), 4).shape == (4, 4)


def pictures() -> st.SearchStrategy[npt.NDArray[np.float32]]:
    size = st.tuples(st.integers(1, 40), st.integers(1, 40))
    return size.map(lambda s: np.random.default_rng(s).random(s).astype(np.float32))


def shrunk(image: npt.NDArray[np.float32], factor: float) -> npt.NDArray[np.float32]:
    for axis, n in enumerate(image.shape):
        image = resample(image, axis, int(np.ceil(n / factor)), factor)
    return image


@given(pictures(), st.sampled_from([2, 4, 8]))
@settings(max_examples=60, deadline=None)
def test_shrinking_keeps_grey_and_enlarging_brings_places_back(image: npt.NDArray[np.float32], factor: int) -> None:
    small = shrunk(image, factor)
    assert small.shape == tuple(-(-n // factor) for n in image.shape)
    assert np.allclose(shrunk(np.full_like(image, 0.3), factor), 0.3)
    large = small
    for axis, n in enumerate(image.shape):
        large = resample(large, axis, n, 1 / factor)
    assert large.shape == image.shape
    assert np.allclose(large[::factor, ::factor], small, atol=1e-6)


def test_shrinking_does_not_alias_a_fine_texture() -> None:
    stripes = np.zeros((64, 64), np.float32)
    stripes[:, ::2] = 1
    assert np.allclose(shrunk(stripes, 4)[4:-4, 4:-4], 0.5, atol=0.01)
    assert np.allclose(shrunk(stripes, 3.7)[4:-4, 4:-4], 0.5, atol=0.05)


@given(st.integers(8, 60), st.floats(0.3, 6))
@settings(max_examples=60, deadline=None)
def test_a_ramp_keeps_its_places_at_any_factor(n: int, factor: float) -> None:
    ramp = np.arange(n, dtype=np.float32)
    inner = slice(int(np.ceil(max(1, factor))), n - int(np.ceil(max(1, factor))) - 1)
    places = np.arange(int(np.ceil(n / factor))) * factor
    known = (places >= inner.start) & (places < inner.stop)
    assert np.allclose(resample(ramp, 0, len(places), factor)[known], places[known], atol=0.51 if factor > 1 else 1e-4)


def test_the_memory_limit_of_a_hub_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEM_LIMIT", str(2 << 20))
    budget = memory_budget()
    assert budget.limit == 2 << 20
    assert budget.bytes == (2 << 20) // 8  # never nothing, however much is in use
    assert budget.source == "this hub (MEM_LIMIT)"
    require(1000, "This", "Do that.")
    monkeypatch.setenv("MEM_LIMIT", "a lot")
    assert memory_budget().limit > 2 << 20


def test_maps_that_somebody_still_looks_at_stay_when_the_next_image_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mitonb.infer.kept.IN_MEMORY", 0)
    kept = KeptMaps((2, 8, 8))
    kept.claim((2, 8, 8), "first")
    kept.put("xy", 0, maps(8, 8, 7))
    kept.about["record"] = {"of": "first"}
    seen = kept.get("xy", 0)
    kept.claim((2, 8, 8), "second")
    kept.put("xy", 0, maps(8, 8, 9))
    assert (seen.semantic == 7).all()
    assert (kept.get("xy", 0).semantic == 9).all()
    assert kept.about == {}


def test_any_heads_of_a_plane_and_the_block_of_a_whole_stack_are_kept(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    kept = KeptMaps((5, 8, 9), tmp_path / "maps")
    heads = {
        "semantic": rng.random((1, 5, 8, 9)),
        "contour": rng.random((1, 5, 8, 9)),
        "distance": rng.random((1, 5, 8, 9)),
    }
    kept.put("zyx", 0, Maps(heads))
    again = KeptMaps(folder=tmp_path / "maps")
    assert again.count("zyx") == 1
    back = again.get("zyx", 0)
    assert [(name, head.dtype.str) for name, head in back.heads.items()] == [
        ("semantic", "|u1"), ("contour", "|u1"), ("distance", "<f2"),
    ]  # fmt: skip
    assert np.array_equal(again.plane("xz", 3)["contour"], back["contour"][:, :, 3])


@pytest.mark.parametrize("change", [{"shape": [40_000_000, 16, 16]}, {"shape": [2, 16, True]}, {"shape": [3, 16, 16]}])
def test_a_header_that_lies_about_its_stack_is_refused_without_room_made_for_it(
    change: dict[str, list[int]], tmp_path: Path
) -> None:
    kept = KeptMaps((2, 16, 16), tmp_path / "maps")
    kept.put("xy", 0, Maps({"semantic": np.zeros((1, 16, 16), np.uint8)}, 4))
    header = tmp_path / "maps" / ".zattrs"
    header.write_text(json.dumps({**json.loads(header.read_text()), **change}))
    if change["shape"][0] > 3:
        shutil.rmtree(tmp_path / "maps" / "xy")
    with pytest.raises(CorruptFileError):
        KeptMaps(folder=tmp_path / "maps")
