"""Engines: one says what the other says; where one does not, it is not used."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from mitonb.infer import engines
from mitonb.infer.engines import OpenVinoEngine, Runner, TorchEngine, agree, can_convert, convert
from mitonb.infer.segment import predict, segment
from mitonb.models.zoo import Model, load_model
from mitonb.phantoms import phantom
from mitonb.recipe import Recipe
from tests.infer.oracle import Oracle, volume
from training.eight_bits import _best_range, find_ranges, quantise, write_program

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


def test_torch_says_the_same_whatever_the_batch(mini: Model, picture: npt.NDArray[np.float32]) -> None:
    engine = TorchEngine(mini.net)
    two = np.concatenate([picture, picture[:, :, ::-1]])
    together, alone = engine.run(two), engine.run(two[1:])
    assert agree({name: head[1:] for name, head in together.items()}, alone)


def test_half_precision_leaves_the_net_of_the_caller_as_it_was(mini: Model, picture: npt.NDArray[np.float32]) -> None:
    said = TorchEngine(mini.net, precision="bf16").run(picture)
    assert {p.dtype for p in mini.net.parameters()} == {torch.float32}
    true = TorchEngine(mini.net).run(picture)
    assert not agree(said, true)
    assert ((said["semantic"] > 0) != (true["semantic"] > 0)).mean() < 0.01


@needs_openvino
def test_openvino_in_fp32_says_what_torch_says_about_pictures_of_any_size(
    mini: Model, picture: npt.NDArray[np.float32]
) -> None:
    engine, reference = OpenVinoEngine(mini.net, *convert(mini.net, (64, 64))), TorchEngine(mini.net)
    for part in (picture, picture[:, :, :64, 16:], np.repeat(picture, 2, 0)):
        assert agree(engine.run(np.ascontiguousarray(part)), reference.run(np.ascontiguousarray(part)))


@needs_openvino
def test_the_bundled_model_has_a_program_that_gives_nearly_the_same_labels() -> None:
    stack, _ = phantom((2, 192, 192), seed=5)
    recipe = Recipe(tile=0, min_size=200)
    fast, exact = (segment(stack, recipe.replace(engine=e), show=False) for e in ("fast", "exact"))  # type: ignore[arg-type]
    assert [x.record["engine"]["precision"] for x in (fast, exact)] == ["int8", "fp32"]  # type: ignore[index]
    assert exact.data.any()
    assert ((fast.data > 0) & (exact.data > 0)).sum() / ((fast.data > 0) | (exact.data > 0)).sum() > 0.97


@needs_openvino
def test_a_program_that_is_written_for_a_model_says_what_it_says_but_for_rounding(
    mini: Model, picture: npt.NDArray[np.float32], tmp_path: Path
) -> None:
    write_program(mini, tmp_path / "small.xml", [picture[0, 0]])
    fast = Runner(replace(mini, program=tmp_path / "small.xml"), "cpu", "fast", "fp32")
    said, true = fast.run(picture), TorchEngine(mini.net).run(picture)
    assert fast.record == {"name": "openvino", "precision": "int8", "mode": "fast"}
    for name, head in true.items():
        assert 0 < np.abs(said[name] - head).mean() < 0.1 * head.std()
    assert (tmp_path / "small.bin").stat().st_size < 4e6  # 3.5 million weights of one byte


@needs_openvino
def test_eight_bits_are_for_every_convolution_also_where_two_read_the_same(mini: Model) -> None:
    _, program = convert(mini.net, (64, 64))
    picture = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    quantise(program, find_ranges(program, [picture]))
    kinds = {
        n.get_friendly_name(): n.input_value(1).get_node().get_type_name()
        for n in program.get_ordered_ops()
        if n.get_type_name() == "Convolution"
    }
    assert len(kinds) > 30
    plain = [name for name, kind in kinds.items() if kind != "FakeQuantize"]
    assert len(plain) == 1  # a head: three maps, which it would spoil
    assert "instance_head" in plain[0]


@needs_openvino
def test_what_only_looks_like_a_net_is_left_to_torch() -> None:
    """OpenVINO would record one answer of this net, and repeat it for every picture."""
    assert not can_convert(Oracle().net)
    labels = segment(volume(), Recipe(tile=0, min_area=8, min_size=50, center_distance=8), model=Oracle(), show=False)
    assert labels.data.max() == 4
    assert labels.record["engine"]["name"] == "torch"  # type: ignore[index]


@needs_openvino
def test_a_program_that_says_something_else_than_torch_is_put_away_and_told(
    mini: Model, picture: npt.NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(net: Any, sides: Any) -> Any:
        names, program = convert(net, sides)
        return (*names[:1], *names[:0:-1]), program  # center and offsets change places

    monkeypatch.setattr(engines, "convert", other)
    monkeypatch.setattr(engines, "_engines", {})
    runner = Runner(mini, "cpu", "exact", "fp32")
    assert agree(runner.run(picture), TorchEngine(mini.net).run(picture))
    assert runner.record["name"] == "torch"
    assert len(runner.notes) == 1


@needs_openvino
def test_a_net_that_openvino_cannot_read_runs_in_torch_and_that_is_told(
    mini: Model, picture: npt.NDArray[np.float32], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(engines, "_engines", {})
    (tmp_path / "broken.xml").write_text("<net/>")
    runner = Runner(replace(mini, program=tmp_path / "broken.xml"), "cpu", "fast", "fp32")
    assert agree(runner.run(picture), TorchEngine(mini.net).run(picture))
    assert "torch ran it" in runner.notes[0]


def test_without_openvino_torch_runs_the_net(
    mini: Model, picture: npt.NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "openvino_is_there", lambda: False)
    runner = Runner(mini, "cpu", "auto", "fp32")
    assert agree(runner.run(picture), TorchEngine(mini.net).run(picture))
    assert runner.record == {"name": "torch", "precision": "fp32", "mode": "auto"}
    assert not runner.notes


@needs_openvino
@pytest.mark.parametrize("same", [True, False])
def test_auto_takes_the_program_only_if_the_card_says_that_its_scores_are_the_same(
    mini: Model, picture: npt.NDArray[np.float32], same: bool
) -> None:
    spec = replace(mini.spec, program={**mini.spec.program, "same": same})
    runner = Runner(replace(mini, spec=spec), "cpu", "auto", "fp32")
    runner.run(picture)
    assert runner.record["precision"] in (["int8"] if same else ["bf16", "fp32"])  # as the processor computes


@needs_openvino
def test_on_a_processor_with_bf16_auto_uses_it_and_exact_does_not(
    mini: Model, picture: npt.NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "BF16" not in engines._core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("This processor does not compute in bf16.")
    monkeypatch.setattr(engines, "_engines", {})
    short, exact = (Runner(mini, "cpu", mode, "fp32") for mode in ("auto", "exact"))
    said, plain = short.run(picture), exact.run(picture)
    assert (short.record["precision"], exact.record["precision"]) == ("bf16", "fp32")
    assert agree(said, plain, *engines.SHORT)
    assert not agree(said, plain)


def test_the_range_of_eight_bits_leaves_out_what_is_rare_and_far() -> None:
    usual = np.linspace(0, 1, 1_000_000, dtype=np.float32)
    low, high = _best_range(usual)
    assert low == 0
    assert high == pytest.approx(1, abs=0.05)
    low, high = _best_range(np.append(usual, np.float32(2.0)))
    assert low == 0
    assert high < 1.2
    assert _best_range(usual - np.float32(0.5))[0] < 0


def test_maps_of_the_program_differ_little(mini: Model) -> None:
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
        from mitonb.infer.engines import OpenVinoEngine, convert
        net = load_model("mito-mini").net
        said = OpenVinoEngine(net, *convert(net, (32, 32))).run(np.zeros((1, 1, 32, 32), np.float32))
        assert said["semantic"].shape == (1, 1, 32, 32)
        assert not asked, asked
        assert "openvino_telemetry" not in sys.modules
    """)
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "HOME": str(tmp_path)})
    assert not (tmp_path / "intel").exists()


def test_a_net_that_torch_runs_is_that_of_the_model_at_hand_and_not_of_an_older_one(
    picture: npt.NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("cannot be read")

    monkeypatch.setattr(engines, "openvino_is_there", lambda: True)
    monkeypatch.setattr(engines, "_try_openvino", fail)
    monkeypatch.setattr(engines, "_engines", {})
    older = load_model()
    Runner(older, "cpu", "exact", "fp32").run(picture)
    older.net.to("meta")  # as a run on a GPU moves it
    runner = Runner(load_model(), "cpu", "exact", "fp32")
    assert np.isfinite(runner.run(picture)["semantic"]).all()
    assert "torch ran it" in runner.notes[0]
