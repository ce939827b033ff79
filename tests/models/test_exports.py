"""Archives as the published exporter writes them load: with all that is in them beside the weights, in any style."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import torch

import mitonb as mn
from mitonb.cli import main
from mitonb.errors import ModelError
from mitonb.job import drain
from mitonb.learn.loop import Settings, fitting
from mitonb.learn.pairs import read_pair
from mitonb.models.checkpoints import NETS
from mitonb.models.weights import read_archive, read_weights
from mitonb.models.zoo import load_model
from tests.models.exports import Thing, export_of, write_export
from tests.models.published import drawn_net, export_names

CONFIG = {
    "panoptic_deeplab": {"stride": 32, "decoder_channels": 8, "low_level_channels": [4], "aspp_channels": 6},
    "panoptic_bifpn": {"fpn_dim": 8, "fpn_layers": 2},
}


@pytest.fixture(scope="module", params=list(CONFIG))
def net(request):
    made = drawn_net(NETS[request.param], encoder="resnet18", channels=1, folded=True, **CONFIG[request.param])
    made.architecture = request.param
    return made


@pytest.fixture
def root(net):
    return export_of(export_names(dict(net.state_dict()), pyramid=net.architecture == "panoptic_bifpn"))


def same(a, b):
    x = torch.linspace(-2, 2, 128 * 128).reshape(1, 1, 128, 128)
    with torch.inference_mode():
        pairs = zip(a(x).values(), b(x).values(), strict=True)
        return all(torch.allclose(one, two, rtol=1e-3, atol=1e-4) for one, two in pairs)


@pytest.mark.parametrize("version", ["1.13", "2.13"])
def test_an_export_of_any_pytorch_is_the_net_that_it_is_of(version, net, root, tmp_path):
    path = write_export(root, tmp_path / "net.pth", torch_version=version, note=b"added by hand")
    model = load_model(path)
    assert model.spec.architecture == net.architecture
    assert same(model.net, net)


def test_what_a_net_does_not_need_is_left_alone(net, root, tmp_path):
    """Configurations with tensors of any kind, counters, flags, devices, observers, functions, empty lists."""
    encoder = root.at("encoder")
    encoder.at("cfg").has |= {"ratios": torch.tensor([0.5, 1.0]), "inner": Thing("Stage", {"depth": torch.ones(2)})}
    encoder.has |= {"seen": torch.tensor(7), "frozen": torch.tensor([True]), "place": torch.device("cpu"), "empty": []}
    watched = {"min_val": torch.zeros(1), "max_val": torch.ones(1), "histogram": torch.zeros(8)}
    encoder.has["activation_post_process"] = Thing.module("Identity", **watched)
    root.has["watching"] = Thing.module("PerChannelMinMaxObserver", **watched)
    root.has["pretended"] = Thing.module("FusedMovingAvgObsFakeQuantize", scale=torch.ones(1), **watched)
    path = write_export(root, tmp_path / "net.pth")
    assert same(load_model(path).net, net)


def test_an_unknown_weight_is_refused_by_its_name(root, tmp_path):
    root.at("ins_center").has["extra"] = Thing.module("Conv2d", weight=torch.zeros(3))
    with pytest.raises(ModelError, match=r"Unexpected key.*ins_center\.extra\.weight"):
        load_model(write_export(root, tmp_path / "net.pth"))


def test_numbers_that_are_shared_stay_shared_and_must_be_one(net, root, tmp_path):
    if net.architecture != "panoptic_bifpn":
        pytest.skip("only pyramids share a block")
    path = write_export(root, tmp_path / "net.pth")
    combines = "semantic_fpn.bifpns.0.top_down_fpn.after_combines.{}.1.weight"
    tensors = read_archive(path).tensors
    assert tensors[combines.format(0)].data_ptr() == tensors[combines.format(3)].data_ptr()
    blocks = root.at("semantic_fpn.bifpns.0.top_down_fpn.after_combines").has
    blocks["3"] = Thing.module("Sequential", **{**blocks["0"].has, "1": Thing.module("BatchNorm2d")})
    blocks["3"].has["1"].has |= {k: v + 1 for k, v in blocks["0"].at("1").has.items() if isinstance(v, torch.Tensor)}
    with pytest.raises(ModelError, match=r"should be one tensor twice, but they differ"):
        load_model(write_export(root, tmp_path / "net.pth"))


def test_an_export_goes_every_way_that_a_model_takes(net, root, tmp_path, monkeypatch, capsys):
    """By its path, under a name, in an exchange file, and as the start of a training."""
    monkeypatch.setenv("MITONB_MODEL_DIR", str(tmp_path / "models"))
    path = write_export(root, tmp_path / "net.pth", torch_version="1.13")
    assert main(["models", "import", str(path), "--name", "mine"]) == 0
    with zipfile.ZipFile(tmp_path / "theirs.empanada", "w") as file:
        file.writestr("theirs.yaml", "model: net.pth\nnorms: {mean: 0.5, std: 0.25}\nclass_names: {1: mito}\n")
        file.write(path, "net.pth")
    assert main(["models", "import", str(tmp_path / "theirs.empanada")]) == 0
    for wish in (path, "mine", tmp_path / "theirs.empanada", "theirs"):
        assert same(load_model(wish).net, net)
    stack, labels = mn.phantom((2, 128, 128), seed=1)
    out = tmp_path / "trained.safetensors"
    drain(
        fitting(
            [read_pair(mn.Pair(stack, labels))], out=out, settings=Settings(steps=1, batch=2, patch=128), start=path
        )
    )
    tensors, card = read_weights(out.read_bytes(), where="out")
    assert (card.architecture, card.training["start"]) == (net.architecture, load_model(path).spec.sha256)
    assert np.isfinite(mn.predict(stack.plane(0), model=str(out)).center).all()
    assert tensors["encoder.conv1.bias"].shape == (64,)
