"""Engines: one says what the other says; where one does not, it is not used."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from mitonb.infer.engines import NetOutput, OpenVinoEngine, Runner, TorchEngine, choosing
from mitonb.infer.engines.checking import Schedule
from mitonb.infer.engines.choosing import alike
from mitonb.infer.engines.eight_bits import _best_range, quantise, ranges
from mitonb.infer.engines.parts import can_convert
from mitonb.infer.engines.vino import Program
from mitonb.infer.predict import Predictor, label_iou
from mitonb.infer.segment import predict, segment
from mitonb.models.zoo import Model, load_model
from mitonb.phantoms import phantom
from mitonb.recipe import Recipe
from tests.infer.oracle import Oracle, volume

if TYPE_CHECKING:
    from pathlib import Path

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino (extra 'fast') is not installed"
)


@pytest.fixture(scope="module")
def mini() -> Model:
    return load_model("mito-mini")


@pytest.fixture(scope="module")
def picture(mini: Model) -> npt.NDArray[np.float32]:
    """One normalised plane of a phantom, (1, 1, 128, 128)."""
    stack, _ = phantom((3, 128, 128), seed=4)
    plane = stack.plane(1)
    return mini.normalise(plane.image, *plane.contrast)[None, None]  # type: ignore[misc]


def runner(model: Any, mode: str = "fast", agreement: Any = None, key: str = "") -> Runner:
    samples: list[Any] = []
    always = agreement or (lambda a, b: (1.0, True))
    return Runner(model.net, key, "cpu", mode, "fp32", 0, samples=lambda: samples, agreement=always)


class Slow:
    """An engine that says what torch says, later."""

    name, precision = "slow", "bf16"

    def __init__(self, model: Model) -> None:
        self.calls = 0
        self._torch = TorchEngine(model.net)

    def run(self, pictures: npt.NDArray[np.float32]) -> NetOutput:
        self.calls += 1
        for _ in range(3):
            said = self._torch.run(pictures)
        return said


class Hasty:
    """An engine that says at once that there is nothing."""

    name, precision = "hasty", "int8"

    def run(self, pictures: npt.NDArray[np.float32]) -> NetOutput:
        n, _, h, w = pictures.shape
        coarse = {name: np.zeros((n, c, h // 4, w // 4), np.float32) for name, c in (("center", 1), ("offsets", 2))}
        return {"semantic": np.full((n, 1, h, w), -9, np.float32), **coarse}


def test_torch_says_the_same_whatever_the_batch(mini: Model, picture: npt.NDArray[np.float32]) -> None:
    engine = TorchEngine(mini.net)
    two = np.concatenate([picture, picture[:, :, ::-1]])
    together, alone = engine.run(two), engine.run(two[1:])
    assert np.abs(together["offsets"][1] - alone["offsets"][0]).max() < 1e-4
    assert np.abs(together["semantic"][1] - alone["semantic"][0]).max() < 1e-3


def test_half_precision_leaves_the_net_of_the_caller_as_it_was(mini: Model, picture: npt.NDArray[np.float32]) -> None:
    said = TorchEngine(mini.net, precision="bf16").run(picture)
    assert {p.dtype for p in mini.net.parameters()} == {torch.float32}
    true = TorchEngine(mini.net).run(picture)
    assert not alike(said, true)
    assert ((said["semantic"] > 0) != (true["semantic"] > 0)).mean() < 0.01


@needs_openvino
def test_openvino_in_fp32_says_what_torch_says(mini: Model, picture: npt.NDArray[np.float32]) -> None:
    engine, reference = OpenVinoEngine(Program(mini.net)), TorchEngine(mini.net)
    for part in (picture, picture[:, :, :64, 16:], np.repeat(picture, 2, 0)):
        assert alike(engine.run(np.ascontiguousarray(part)), reference.run(np.ascontiguousarray(part)))


@needs_openvino
def test_eight_bits_keep_nearly_all_labels_of_a_phantom() -> None:
    stack, _ = phantom((3, 192, 192), seed=5)
    recipe = Recipe(tile=0)
    predictor = Predictor(load_model("mito-mini"), recipe)
    program = Program(predictor.model.net)
    x = predictor._normalised(stack.plane(1))[None, None]
    said = OpenVinoEngine(program, "int8", samples=predictor._samples()).run(x)
    true = OpenVinoEngine(program).run(x)
    same, objects = predictor._agreement(said, true)
    assert objects
    assert same > 0.97


@needs_openvino
def test_eight_bits_are_for_every_convolution_also_where_two_read_the_same(mini: Model) -> None:
    program = Program(mini.net)
    picture = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    model = program.at(64, 64)
    quantise(model, ranges(program, [picture]))
    kinds = {
        n.get_friendly_name(): n.input_value(1).get_node().get_type_name()
        for n in model.get_ordered_ops()
        if n.get_type_name() == "Convolution"
    }
    assert len(kinds) > 30
    assert [name for name, kind in kinds.items() if kind != "FakeQuantize"] == [
        "__module.net.instance_head/aten::_convolution/Convolution"  # a head: three maps, which it would spoil
    ]


@needs_openvino
def test_what_only_looks_like_a_net_is_left_to_torch() -> None:
    """OpenVINO would record one answer of this net, and repeat it for every picture."""
    assert not can_convert(Oracle().net)
    labels = segment(volume(), Recipe(tile=0, min_area=8, min_size=50, center_distance=8), model=Oracle(), show=False)
    assert labels.data.max() == 4
    assert labels.record["engine"]["name"] == "torch"  # type: ignore[index]


def test_a_faster_engine_that_says_something_else_is_put_away(
    mini: Model, picture: npt.NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "can_convert", lambda net: False)
    asked = runner(mini, agreement=lambda a, b: (float(np.array_equal(a["semantic"], b["semantic"])), True))
    exact = asked._build("torch", "fp32")
    monkeypatch.setattr(Runner, "_build", lambda self, name, precision: exact if precision == "fp32" else Hasty())
    said = asked.run(picture)
    assert np.array_equal(said["semantic"], exact.run(picture)["semantic"])
    assert asked.record["precision"] == "fp32"
    assert asked.notes == [
        "hasty in int8 kept only 0.0000 of the labels of tile 1 (IoU): a slower one ran from there on."
    ]


def test_a_faster_engine_that_goes_wrong_later_is_put_away_then(
    mini: Model, picture: npt.NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first tile agrees, the next one that is looked at does not."""
    monkeypatch.setattr(choosing, "can_convert", lambda net: False)
    verdicts = iter([(1.0, True), (0.99, True)])
    asked = runner(mini, agreement=lambda a, b: next(verdicts))
    exact = asked._build("torch", "fp32")
    monkeypatch.setattr(Runner, "_build", lambda self, name, precision: exact if precision == "fp32" else Hasty())
    assert (asked.run(picture)["semantic"] == -9).all()
    said = asked.run(picture)
    assert np.array_equal(said["semantic"], exact.run(picture)["semantic"])
    assert asked.record["precision"] == "fp32"
    assert asked.notes == [
        "hasty in int8 kept only 0.9900 of the labels of tile 2 (IoU): a slower one ran from there on; "
        "what the 1 before it became stays."
    ]


def test_checks_become_seldom_but_never_end() -> None:
    schedule, checked = Schedule(), []
    for tile in range(1, 1001):
        if schedule.due(1):
            checked.append(tile)
            schedule.agreed(objects=True)
    assert checked[:7] == [1, 2, 3, 5, 9, 17, 33]
    assert max(np.diff(checked)) == 128
    assert len(checked) < 20


def test_a_run_without_objects_is_soon_left_alone_for_a_while() -> None:
    schedule = Schedule()
    checks = 0
    for _ in range(100):
        if schedule.due(1):
            checks += 1
            schedule.agreed(objects=False)
    assert 4 < checks < 12
    schedule.restart()
    assert schedule.due(1)


def test_what_is_slower_than_the_exact_engine_is_not_taken(
    mini: Model, picture: npt.NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choosing, "can_convert", lambda net: False)
    asked, slow = runner(mini), Slow(mini)
    exact = asked._build("torch", "fp32")
    monkeypatch.setattr(Runner, "_build", lambda self, name, precision: exact if precision == "fp32" else slow)
    asked.run(picture)
    timed = slow.calls
    asked.run(picture)
    assert slow.calls == timed
    assert asked.record["name"] == "torch"
    assert len(asked.notes) == 1


def test_tiles_are_timed_once_for_the_same_weights_and_size(
    mini: Model, picture: npt.NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []
    monkeypatch.setattr(choosing, "_timings", {})
    monkeypatch.setattr(choosing, "_timed", lambda engines, picture: counts.append(1) or dict.fromkeys(engines, 1.0))
    monkeypatch.setattr(choosing, "can_convert", lambda net: False)
    for part in (picture, picture, picture[:, :, :64]):
        runner(mini, key="some weights").run(np.ascontiguousarray(part))
    assert len(counts) == 2


def test_a_fast_run_says_in_its_record_what_ran() -> None:
    stack, _ = phantom((2, 96, 96), seed=6)
    labels = segment(stack, Recipe(engine="fast", tile=0), show=False)
    engine = labels.record["engine"]  # type: ignore[index]
    assert engine["mode"] == "fast"
    assert engine["precision"] in ("fp32", "bf16", "int8")
    assert "exact" in engine["seconds_per_tile"]


def test_label_iou_counts_the_pixels_that_are_the_same_object() -> None:
    a = np.zeros((4, 8), np.uint32)
    a[:, :4], a[:, 4:] = 1, 2
    assert label_iou(a, a * 7) == 1
    assert label_iou(a, np.ones_like(a)) == 0.5  # one object for two: one of them is missed
    assert label_iou(a, np.zeros_like(a)) == 0
    assert label_iou(np.zeros_like(a), np.zeros_like(a)) == 1


def test_the_range_of_eight_bits_leaves_out_what_is_rare_and_far() -> None:
    usual = np.linspace(0, 1, 1_000_000, dtype=np.float32)
    low, high = _best_range(usual)
    assert low == 0
    assert high == pytest.approx(1, abs=0.05)
    low, high = _best_range(np.append(usual, np.float32(2.0)))
    assert low == 0
    assert high < 1.2
    assert _best_range(usual - np.float32(0.5))[0] < 0


def test_maps_of_the_fast_engine_differ_little(mini: Model) -> None:
    stack, _ = phantom((2, 128, 128), seed=7)
    exact, fast = (predict(stack.plane(0), model=mini, recipe=Recipe(engine=e)) for e in ("exact", "fast"))  # type: ignore[arg-type]
    assert np.abs(exact.semantic.astype(int) - fast.semantic).mean() < 3


@needs_openvino
def test_openvino_reports_to_nobody(tmp_path: Path) -> None:
    """Left alone it would send an event for its import and for each conversion, and write an identity at home."""
    code = textwrap.dedent("""
        import sys
        asked = []
        sys.addaudithook(lambda event, details: asked.append(details) if event.startswith("socket.get") else None)
        import numpy as np
        from mitonb import load_model
        from mitonb.infer.engines.vino import OpenVinoEngine, Program
        said = OpenVinoEngine(Program(load_model("mito-mini").net)).run(np.zeros((1, 1, 32, 32), np.float32))
        assert said["semantic"].shape == (1, 1, 32, 32)
        assert not asked, asked
        assert "openvino_telemetry" not in sys.modules
    """)
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "HOME": str(tmp_path)})
    assert not (tmp_path / "intel").exists()
