"""From a stack to labels, with a model that knows the answer and with a real net of random weights."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from mitonb.errors import InputError, TooLargeError
from mitonb.infer.kept import KeptMaps
from mitonb.infer.memory_estimate import estimate
from mitonb.infer.segment import predict, predicting, redecoding, segment, segmenting
from mitonb.job import Job, Progress, drain
from mitonb.models.spec import ModelSpec
from mitonb.models.weights import write_weights
from mitonb.models.zoo import Model, build
from mitonb.post.decoding import centers, decode
from mitonb.post.tables import overlaps
from mitonb.recipe import PRESETS, Recipe
from mitonb.stack import Stack
from tests.infer.oracle import Oracle, volume

if TYPE_CHECKING:
    from pathlib import Path

ALL: dict[str, Any] = {"planes": ("xy", "xz", "yz")}
GENTLE = Recipe(min_area=8, min_size=50, center_distance=8, tile=0, median=1)


@pytest.fixture(scope="module")
def random_model() -> Model:
    """Make the bundled architecture with random weights."""
    torch.manual_seed(0)
    spec = ModelSpec(name="random")
    net = build(spec)
    torch.nn.init.normal_(net.semantic_head.weight, std=0.05)  # type: ignore[union-attr,arg-type]
    torch.nn.init.zeros_(net.semantic_head.bias)  # type: ignore[union-attr,arg-type]
    return Model(spec, net.eval())


def texture(*shape: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def ious(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> list[float]:
    """Return the best IoU of each object of b."""
    table = overlaps(a.astype(np.uint32), b.astype(np.uint32))
    in_a, in_b = np.bincount(a.ravel()), np.bincount(b.ravel())
    iou = table[:, 2] / (in_a[table[:, 0]] + in_b[table[:, 1]] - table[:, 2])
    return [float(iou[table[:, 1] == k].max(initial=0)) for k in range(1, len(in_b))]


@pytest.mark.parametrize("planes", [("xy",), ("xy", "xz", "yz")])
def test_a_stack_whose_maps_are_perfect_is_segmented_perfectly(planes: Any) -> None:
    ids = volume()
    labels = segment(Stack(ids, (8.0, 8.0, 8.0)), GENTLE.replace(planes=planes), model=Oracle(), show=False)
    assert labels.data.max() == 4
    assert min(ious(labels.data, ids)) > 0.9
    assert labels.voxel_size == (8.0, 8.0, 8.0)


def test_labels_carry_the_record_of_the_run() -> None:
    labels = segment(Stack(volume(), name="four"), GENTLE, model=Oracle(), show=False)
    assert labels.record is not None
    assert labels.record["recipe"]["center_distance"] == 8
    assert labels.record["model"]["name"] == "oracle"
    assert labels.record["notes"] == []


@pytest.mark.parametrize("planes", [("xy",), ("xz", "yz"), ("xy", "xz", "yz")])
@pytest.mark.parametrize("median", [1, 3, 5])
def test_decoding_kept_maps_gives_the_labels_of_the_run_and_runs_no_net(planes: Any, median: int) -> None:
    recipe = GENTLE.replace(planes=planes, median=median)
    model, kept = Oracle(), KeptMaps()
    labels = segment(volume(), recipe, model=model, kept=kept, show=False)
    calls = len(model.net.calls)
    again = drain(redecoding(kept, recipe), show=False)
    assert np.array_equal(again.data, labels.data)
    assert again.record == labels.record
    other = recipe.replace(
        semantic_threshold=0.7, center_threshold=0.3, center_distance=20, min_size=900, track_iou=0.6
    )
    moved = drain(redecoding(kept, other), show=False)
    assert len(model.net.calls) == calls
    fresh = segment(volume(), other, model=Oracle(), show=False)
    assert np.array_equal(moved.data, fresh.data)


def test_decoding_kept_maps_of_a_real_net_gives_the_labels_of_the_run(random_model: Model) -> None:
    recipe = Recipe(**ALL, tile=32, halo=8, min_area=4, min_size=4, min_span=1).replace(
        semantic_threshold=0.5, center_threshold=0.02
    )
    kept = KeptMaps()
    labels = segment(texture(4, 36, 48), recipe, model=random_model, kept=kept, show=False)
    assert labels.data.any()
    assert np.array_equal(drain(redecoding(kept, recipe), show=False).data, labels.data)


def test_progress_counts_the_planes_of_all_directions_and_never_goes_back() -> None:
    _, *steps = segmenting(volume(), GENTLE.replace(**ALL), model=Oracle())  # first the model is loaded
    assert {s.total for s in steps} == {16 + 64 + 80 + 3 + 2}
    assert all(a.done <= b.done for a, b in itertools.pairwise(steps))
    assert steps[-1].fraction == 1


def test_a_plane_yields_progress_for_each_batch_of_tiles(random_model: Model) -> None:
    steps = list(predicting(texture(128, 192), model=random_model, recipe=Recipe(tile=64, halo=16)))
    tiles = [s for s in steps if s.stage == "predict"]
    assert [s.done for s in tiles] == list(range(1, tiles[0].total + 1))
    three = list(predicting(texture(128, 192), model=random_model, recipe=Recipe(tile=64, halo=16, batch=3)))
    assert len(three) - 1 == -(-tiles[0].total // 3)


def test_planes_that_are_kept_already_are_not_run_again() -> None:
    model, kept = Oracle(), KeptMaps()
    steps = segmenting(volume(), GENTLE, model=model, kept=kept)
    for step in steps:
        if step.done == 5:
            break
    steps.close()
    assert kept.count("xy") == 5
    labels = segment(volume(), GENTLE, model=model, kept=kept, show=False)
    assert len(model.net.calls) == 16
    assert np.array_equal(labels.data, segment(volume(), GENTLE, model=Oracle(), show=False).data)


def test_maps_of_another_image_or_net_setting_are_forgotten() -> None:
    model, kept = Oracle(), KeptMaps()
    segment(volume(), GENTLE, model=model, kept=kept, show=False)
    segment(volume(), GENTLE.replace(flips=True), model=model, kept=kept, show=False)
    assert len(model.net.calls) == 16 + 4 * 16
    segment(np.roll(volume(), 9, 2).astype(np.uint16), GENTLE.replace(flips=True), model=model, kept=kept, show=False)
    assert len(model.net.calls) == 16 + 8 * 16


def test_a_cancelled_run_stops_between_tiles_and_can_go_on() -> None:
    model, kept = Oracle(), KeptMaps()
    job: Job[Any] = Job(segmenting(volume(), GENTLE.replace(**ALL), model=model, kept=kept))
    job.progressed.connect(lambda p: job.cancel() if p.done == 3 else None)
    job.start()
    assert job.wait(30)
    assert job.state == "cancelled"
    assert kept.count("xy") == 3
    with pytest.raises(InputError, match="3 of 16 xy planes"):
        drain(redecoding(kept, GENTLE), show=False)


def test_maps_do_not_depend_on_tiles(random_model: Model) -> None:
    image = texture(200, 170)
    whole = predict(image, model=random_model, recipe=Recipe(tile=0))
    for tile, halo, batch in [(128, 48, 1), (160, 48, 2), (192, 64, 4)]:
        tiled = predict(image, model=random_model, recipe=Recipe(tile=tile, halo=halo, batch=batch))
        assert np.abs(tiled.semantic.astype(int) - whole.semantic).max() <= 2
        assert np.abs(tiled.center.astype(np.float32) - whole.center).max() < 0.01
        assert np.abs(tiled.offsets.astype(np.float32) - whole.offsets).max() < 0.5


def test_maps_come_in_kept_form_at_the_size_of_the_plane(random_model: Model) -> None:
    maps = predict(texture(50, 70), model=random_model)
    assert maps.semantic.dtype == np.uint8
    assert maps.semantic.shape == (1, 50, 70)
    assert maps.center.dtype == maps.offsets.dtype == np.float16
    assert maps.center.shape == (13, 18)
    assert maps.output_stride == 4


def test_downsampled_planes_come_back_at_full_size_with_offsets_in_their_pixels() -> None:
    ids = np.zeros((128, 128), np.uint8)
    y, x = np.indices(ids.shape)
    ids[(y - 60) ** 2 + (x - 70) ** 2 <= 40**2] = 1
    recipe = Recipe(downsampling=2, tile=0)
    maps = predict(ids, model=Oracle(), recipe=recipe)
    assert maps.semantic.shape == (1, 128, 128)
    assert maps.output_stride == 8
    (center,) = centers(maps, recipe)
    assert np.abs(center - (60, 70)).max() <= 4
    assert maps.offsets[:, 4, 9].tolist() == pytest.approx([60 - 32, 70 - 72], abs=1)
    assert ious(decode(maps, recipe), ids)[0] > 0.95


def test_mirrored_views_point_to_the_same_centers() -> None:
    ids = volume()[8]
    plain = predict(ids, model=Oracle(), recipe=Recipe(tile=0))
    flipped = predict(ids, model=Oracle(), recipe=Recipe(tile=0, flips=True))
    inside = plain.semantic[0, ::4, ::4] == 255
    inside[-1], inside[:, -1] = False, False
    assert np.abs(flipped.semantic[0, :60, :76].astype(int) - plain.semantic[0, :60, :76]).max() <= 1
    assert np.abs((flipped.offsets - plain.offsets)[:, inside]).max() < 0.6
    assert np.abs((flipped.center - plain.center)[inside]).max() < 0.05


def test_precision_can_be_lowered(random_model: Model) -> None:
    exact = predict(texture(64, 64), model=random_model)
    fast = predict(texture(64, 64), model=random_model, recipe=Recipe(precision="bf16"))
    assert np.abs(fast.semantic.astype(int) - exact.semantic).mean() < 5


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (3, 5), (17, 16)])
def test_the_smallest_planes_have_maps(shape: tuple[int, int], random_model: Model) -> None:
    for image in (np.zeros(shape, np.uint8), np.full(shape, 7, np.float32), texture(*shape)):
        maps = predict(image, model=random_model)
        assert maps.shape == shape
        assert decode(maps).shape == shape


@pytest.mark.parametrize("kind", ["bool", "int8", ">u2", "int32", "float16", "float64"])
def test_every_type_of_pixel_is_taken(kind: str, random_model: Model) -> None:
    image = (texture(32, 32) // 2).astype(kind)
    assert predict(image, model=random_model).semantic.any()


def test_constant_stacks_are_segmented_into_something_defined(random_model: Model) -> None:
    for value in (0, 255):
        stack = np.full((2, 8, 12), value, np.uint8)
        first = segment(stack, Recipe(**ALL), model=random_model, show=False)
        assert np.array_equal(first.data, segment(stack, Recipe(**ALL), model=random_model, show=False).data)


def test_a_plane_without_a_number_is_refused(random_model: Model) -> None:
    with pytest.raises(InputError, match=r"All 64 pixels of xy plane 0 are NaN"):
        predict(np.full((8, 8), np.nan, np.float32), model=random_model)
    with pytest.raises(InputError, match=r"All of stack is NaN or infinite"):
        segment(np.full((3, 8, 8), np.nan, np.float32), model=random_model, show=False)


def test_a_missing_section_does_not_end_a_run() -> None:
    ids = volume().astype(np.float32)
    ids[5] = np.nan
    ids[9, 3:5, 3:5] = np.inf
    labels = segment(ids, GENTLE.replace(gap=1), model=Oracle(), show=False)
    assert not labels.data[5].any()
    assert labels.data.max() == 4
    assert labels.record is not None
    assert labels.record["notes"] == ["1 plane holds no number at all (NaN) and was left empty: xy 5."]
    assert repr(labels).endswith("4 objects)\n  note: 1 plane holds no number at all (NaN) and was left empty: xy 5.")


def test_directions_with_long_pixels_are_said_to_be_doubtful() -> None:
    stack = Stack(volume(), (50.0, 8.0, 8.0))
    labels = segment(stack, GENTLE.replace(**ALL), model=Oracle(), show=False)
    assert labels.record is not None
    assert [n[:24] for n in labels.record["notes"]] == ["Pixels of the xz planes ", "Pixels of the yz planes "]
    assert segment(stack, GENTLE, model=Oracle(), show=False).record["notes"] == []  # type: ignore[index]


def test_directions_whose_planes_are_too_thin_to_see_anything_are_said() -> None:
    labels = segment(volume((5, 64, 80)), GENTLE.replace(**ALL), model=Oracle(), show=False)
    assert labels.record is not None
    assert [n[:46] for n in labels.record["notes"]] == [
        "The network sees xz planes of 5 x 80 pixels, 5",
        "The network sees yz planes of 5 x 64 pixels, 5",
    ]


def test_stacks_too_thin_for_the_published_rules_are_said_to_be_so() -> None:
    ids = volume()[6:10]
    recipe = PRESETS["empanada"].replace(min_size=1)
    labels = segment(ids, recipe, model=Oracle(), show=False)
    assert not labels.data.any()
    assert labels.record is not None
    assert [n[-66:] for n in labels.record["notes"]] == [
        "min_span=5 are dropped: none can be left. Take min_span=4 or less."
    ]
    labels = segment(ids, recipe.replace(min_span=4), model=Oracle(), show=False)
    assert labels.data.max() == 4
    assert labels.record is not None
    assert labels.record["notes"] == []


def test_a_model_is_a_name_a_path_or_a_loaded_one(random_model: Model, tmp_path: Path) -> None:
    write_weights(build(random_model.spec), random_model.spec, tmp_path / "net.safetensors", half=False)
    picture = texture(40, 48)
    by_path = predict(picture, model=tmp_path / "net.safetensors")
    assert np.array_equal(by_path.semantic, predict(picture, model=str(tmp_path / "net.safetensors")).semantic)
    by_array = estimate(picture[None], model=tmp_path / "net.safetensors")
    assert by_array == estimate(Stack(picture[None]), model=tmp_path / "net.safetensors") > 0
    with pytest.raises(InputError, match=r"A model is a name, a path, or what mn\.load_model returns, got int"):
        predict(picture, model=3)  # type: ignore[arg-type]


def test_decoding_again_by_the_published_rules_knows_the_downsampling_of_the_maps() -> None:
    recipe = PRESETS["empanada"].replace(fine_boundaries=True, center_threshold=0.05, min_size=1, min_span=1, median=1)
    kept, model = KeptMaps(), Noisy()
    labels = segment(volume(), recipe.replace(downsampling=2), model=model, kept=kept, show=False)
    again = drain(redecoding(kept, recipe), show=False)
    assert np.array_equal(again.data, labels.data)
    assert again.record == labels.record


class Noisy(Oracle):
    """Sees centers where there are none, here and there."""

    def __init__(self) -> None:
        super().__init__()
        plain, random = self.net, torch.Generator().manual_seed(0)

        class Net(torch.nn.Module):
            def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
                heads = plain(x)
                noise = torch.randn(heads["center"].shape, generator=random) * 0.1
                return {**heads, "center": heads["center"] + noise}

        self.net = Net()  # type: ignore[assignment]


def test_work_that_would_not_fit_is_refused_before_the_net_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEM_LIMIT", str(100_000_000))
    model = Oracle()

    class Vast:
        shape, dtype = (2000, 4000, 4000), np.dtype(np.uint8)

        def __getitem__(self, key: Any) -> npt.NDArray[np.uint8]:
            return np.zeros((4000, 4000), np.uint8)

    with pytest.raises(TooLargeError, match=r"needs about 1\d\d\.\d GB.*this hub \(MEM_LIMIT\).*cut out a part"):
        segment(Stack(Vast()), model=model, show=False)
    assert model.net.calls == []


def test_the_estimate_grows_with_directions_and_voxels() -> None:
    small, large = Stack(np.zeros((8, 64, 64), np.uint8)), Stack(np.zeros((64, 64, 64), np.uint8))
    assert estimate(small) < estimate(large) < estimate(large, Recipe(**ALL))


def test_maps_that_are_not_kept_are_forgotten_on_the_way() -> None:
    seen = []
    steps = segmenting(volume(), GENTLE.replace(median=5), model=Oracle())
    for _ in steps:
        frame = steps.gi_frame
        source = frame.f_locals.get("source") if frame is not None else None
        if source is not None:
            seen.append(source.kept.nbytes)
    one = 64 * 80 + 3 * 16 * 20 * 2
    assert max(seen) <= 6 * one


def test_a_wrong_shape_is_refused_with_what_to_do() -> None:
    with pytest.raises(InputError, match=r"stack\.plane"):
        predict(np.zeros((2, 3, 4)), model=Oracle())
    with pytest.raises(InputError, match="empty"):
        drain(redecoding(KeptMaps()), show=False)


def test_the_same_run_twice_gives_the_same_labels(random_model: Model) -> None:
    recipe = Recipe(**ALL, min_area=4, min_size=4, min_span=1)
    a, b = (segment(texture(4, 20, 36), recipe, model=random_model, show=False) for _ in range(2))
    assert np.array_equal(a.data, b.data)


def test_a_job_runs_a_segmentation_in_a_thread() -> None:
    job: Job[Any] = Job(segmenting(volume(), GENTLE, model=Oracle())).start()
    assert job.wait(60)
    assert isinstance(job.progress, Progress)
    assert job.result().data.max() == 4
    assert job.progress.fraction == 1


def test_two_arrays_with_the_same_grey_are_two_images() -> None:
    model, kept = Oracle(), KeptMaps()
    ids = volume((17, 64, 80))
    segment(ids, GENTLE, model=model, kept=kept, show=False)
    turned = segment(ids[::-1], GENTLE, model=model, kept=kept, show=False)
    others = sum(not np.array_equal(plane, before) for plane, before in zip(ids[::-1], ids, strict=True))
    assert len(model.net.calls) == 17 + others
    assert np.array_equal(turned.data, segment(ids[::-1], GENTLE, model=Oracle(), show=False).data)


def test_the_record_names_the_device_that_ran() -> None:
    record = segment(volume(), GENTLE, model=Oracle(), show=False).record
    assert record is not None
    assert record["engine"]["device"] in ("cpu", "cuda", "mps")


def test_maps_that_are_kept_count_as_memory() -> None:
    stack = Stack(np.zeros((4, 100, 100), np.uint8))
    # A byte per voxel, and per plane 25 x 25 times center and two offsets in two bytes.
    assert estimate(stack, keep=True) - estimate(stack) == 40_000 + 4 * 625 * 6
    two = Oracle()
    two.spec = dataclasses.replace(two.spec, classes=("cell", "dot"))
    assert estimate(stack, model=two, keep=True) - estimate(stack, model=two) == 80_000 + 4 * 625 * 6
