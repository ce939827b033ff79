"""3x3 convolutions by Winograd's method: what torch says, but for rounding."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from torch.nn import functional

from mitonb.infer.engines import OpenVinoEngine, Runner, TorchEngine, choosing
from mitonb.infer.engines import winograd as method
from mitonb.infer.engines.choosing import alike
from mitonb.infer.engines.residuals import WinogradEngine, has_residuals
from mitonb.infer.engines.vino import Program
from mitonb.infer.engines.winograd import Layer, can_convolve, convolved
from mitonb.models.unet import UNet
from mitonb.models.zoo import fused

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino (extra 'fast') is not installed"
)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("shortcut", [False, True])
@pytest.mark.parametrize("size", [(4, 4), (1, 1), (5, 9), (40, 36), (23, 70)])
def test_it_is_the_convolution(size: tuple[int, int], shortcut: bool, threads: int) -> None:
    rng = np.random.default_rng(sum(size))
    h, w = size
    x = rng.normal(size=(h, w, 34)).astype(np.float32)
    weights, bias = rng.normal(size=(64, 34, 3, 3)) / 17, rng.normal(size=64)
    skip = rng.normal(size=(h, w, 64)).astype(np.float32) if shortcut else None
    out = np.full((h, w, 64), np.nan, np.float32)
    convolved(x, Layer.of(weights.astype(np.float32), bias), skip, out, threads)
    true = functional.conv2d(
        torch.from_numpy(x.astype(float)).permute(2, 0, 1)[None], torch.from_numpy(weights), torch.from_numpy(bias),
        padding=1,
    )[0].permute(1, 2, 0).numpy()  # fmt: skip
    true = np.maximum(true + (0 if skip is None else skip), 0)
    assert np.abs(out - true).max() < 2e-4 * true.std()


def test_only_what_fits_is_taken() -> None:
    assert can_convolve(np.zeros((64, 32, 3, 3)))
    assert not can_convolve(np.zeros((64, 32, 1, 1)))
    assert not can_convolve(np.zeros((64, 31, 3, 3)))
    assert not can_convolve(np.zeros((3, 32, 3, 3)))
    assert not can_convolve(np.zeros((64, 2, 3, 3)))
    assert not can_convolve(np.zeros((512, 512, 3, 3)))


@pytest.fixture(scope="module")
def drawn() -> UNet:
    """A net of random weights; zeros among them would make a simpler one."""
    torch.manual_seed(3)
    net = UNet((32, 64, 64, 64), (1, 1, 1, 2)).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    return net


@needs_openvino
@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_a_net_rewritten_for_it_says_what_torch_says(size: tuple[int, int], drawn: UNet) -> None:
    net = fused(drawn)
    picture = np.random.default_rng(1).normal(size=(1, 1, *size)).astype(np.float32)
    program = Program(net)
    engine = OpenVinoEngine(program, winograd=True)
    assert alike(engine.run(picture), TorchEngine(net).run(picture))
    assert len(program.layers) == 18  # two for each of five blocks down, three up, and the one of the instances
    assert engine.name == "openvino+winograd"


@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_a_net_in_torch_with_its_blocks_replaced_says_what_torch_says(size: tuple[int, int], drawn: UNet) -> None:
    net = fused(drawn)
    pictures = np.random.default_rng(1).normal(size=(2, 1, *size)).astype(np.float32)
    engine, plain = WinogradEngine(net), TorchEngine(net).run(pictures)
    said = engine.run(pictures)
    assert alike(said, plain)
    assert not np.array_equal(said["semantic"], plain["semantic"])  # by other arithmetic
    kinds = [type(module).__name__ for module in engine._net.modules()]
    assert (kinds.count("_Block"), kinds.count("Residual")) == (9, 0)
    assert np.array_equal(TorchEngine(net).run(pictures)["semantic"], plain["semantic"])  # the net itself is as it was


def test_blocks_with_norms_of_their_own_stay_as_they_are(drawn: UNet) -> None:
    assert not has_residuals(drawn)
    assert has_residuals(fused(drawn))


@pytest.mark.parametrize("openvino", [False, pytest.param(True, marks=needs_openvino)])
@pytest.mark.parametrize("threads", [2, 64])
def test_which_form_runs_exactly_is_a_rule(threads: int, openvino: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method, "LANES", 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(choosing, "openvino_is_there", lambda: openvino)
    torch.manual_seed(3)
    net = fused(UNet((32, 32, 32, 32), (1, 1, 1, 1)))
    key = f"a rule {threads} {openvino}"
    runner = Runner(net, key, "cpu", "exact", "fp32", 0, lambda: [], lambda a, b: (1.0, True))
    runner.run(np.random.default_rng(1).normal(size=(1, 1, 32, 32)).astype(np.float32))
    name = "openvino" if openvino else "torch"
    assert runner.record["name"] == (f"{name}+winograd" if threads == 2 else name)
