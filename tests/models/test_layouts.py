"""State dicts of MitoNet's makers: every layout and option is recognised, and what does not fit is said."""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mitonb.errors import ModelError
from mitonb.infer.segment import predict
from mitonb.models.checkpoints import NETS, card_for, net_from, recognise
from mitonb.models.spec import ModelSpec
from mitonb.models.weights import write_weights
from mitonb.models.zoo import Model, load_model
from mitonb.recipe import Recipe
from tests.models.published import drawn_net, export_names

DEEPLAB = {"encoder": "resnet18", "stride": 32, "decoder_channels": 8, "low_level_channels": [4], "aspp_channels": 6}
BIFPN = {"encoder": "resnet18", "fpn_dim": 8, "fpn_layers": 2}
KINDS = [
    ("panoptic_deeplab", DEEPLAB),
    ("panoptic_deeplab", {**DEEPLAB, "encoder": "resnet34", "channels": 3, "ins_decoder": False}),
    ("panoptic_deeplab", {**DEEPLAB, "low_level_stages": [3, 2, 1], "low_level_channels": [8, 6, 4]}),
    ("contour_deeplab", DEEPLAB),
    ("panoptic_bifpn", BIFPN),
    ("panoptic_bifpn", {**BIFPN, "channels": 4, "ins_decoder": False, "fpn_layers": 3}),
    ("panoptic_bifpn", {**BIFPN, "depthwise": False, "fpn_dim": 64}),
]


@pytest.fixture(scope="module")
def picture():
    return torch.randn(1, 1, 128, 128, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def small():
    return drawn_net(NETS["panoptic_deeplab"], **DEEPLAB)


def same_answers(a, b, picture):
    with torch.inference_mode():
        return all(torch.equal(x, y) for x, y in zip(a(picture).values(), b(picture).values(), strict=True))


@pytest.mark.parametrize("layout", ["checkpoint", "export"])
@pytest.mark.parametrize(("architecture", "config"), KINDS)
def test_architecture_and_widths_come_from_the_shapes(architecture, config, layout, picture):
    folded = layout == "export"
    net = drawn_net(NETS[architecture], **config, folded=folded)
    tensors = dict(net.state_dict())
    if folded:
        tensors = export_names(tensors, pyramid=architecture == "panoptic_bifpn")
    again, found = net_from(tensors, where="net.pth")
    assert found.architecture == architecture
    assert {name: found.config[name] for name in config if name in found.config}.items() <= config.items()
    assert found.config["folded"] == folded
    assert same_answers(net, again, picture)


def test_deep_encoders_are_told_by_their_blocks():
    for name in ("resnet50", "resnet101"):
        with torch.device("meta"):
            tensors = NETS["panoptic_deeplab"](name, decoder_channels=8).state_dict()
        found = recognise(tensors, where="net.pth")
        assert found.config["encoder"] == name
        assert found.config["stride"] == 16
        assert found.config["low_level_stages"] == [1]


def test_the_prefix_of_training_on_several_gpus_is_taken_off(small, picture):
    tensors = {f"module.{name}": tensor for name, tensor in small.state_dict().items()}
    assert same_answers(small, net_from(tensors, where="net.pth")[0], picture)


def test_old_checkpoints_without_counts_load(small):
    tensors = {name: t for name, t in small.state_dict().items() if not name.endswith("num_batches_tracked")}
    net_from(tensors, where="net.pth")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("ins_xy.head.1.bias"), r"net.pth.*Missing key.*ins_xy.head.1.bias"),
        (lambda t: t.update(more=torch.zeros(2)), r"Unexpected key.*more"),
        (lambda t: t.update({"ins_center.head.1.weight": torch.zeros(2, 8, 1, 1)}), r"size mismatch for ins_center"),
        (lambda t: t.update({"encoder.conv1.weight": torch.zeros(64, 3, 7, 7)}), r"size mismatch for encoder.conv1"),
        (lambda t: t.pop("semantic_head.head.1.weight"), r"lacks the tensor semantic_head.head.1.weight"),
        (lambda t: t.pop("semantic_decoder.aspp.project.0.weight"), r"lacks the tensor semantic_decoder.aspp"),
        (
            lambda t: t.update({"encoder.layer1.7.conv1.weight": torch.zeros(64, 64, 3, 3)}),
            r"basic blocks \(3, 2, 2, 2",
        ),
        (lambda t: t.update({"encoder.conv1.weight": torch.full((64, 1, 7, 7), torch.nan)}), "not finite"),
        (lambda t: t.update({"encoder.conv1.zero_point": torch.zeros(1)}), "is quantised"),
        (lambda t: t.clear(), "to no network that mitonb knows.*panoptic_bifpn"),
    ],
)
def test_what_does_not_fit_is_said(small, change, said):
    tensors = dict(small.state_dict())
    change(tensors)
    with pytest.raises(ModelError, match=said):
        net_from(tensors, where="net.pth")


def test_a_pyramid_of_other_distances_is_refused():
    tensors = drawn_net(NETS["panoptic_deeplab"], **DEEPLAB, atrous_rates=[3, 6]).state_dict()
    with pytest.raises(ModelError, match="looks at 2 distances"):
        net_from(tensors, where="net.pth")


@given(st.data())
@settings(max_examples=12)
def test_whatever_is_damaged_nothing_but_a_model_error_comes_of_it(data):
    names = {**drawn_net(NETS["panoptic_bifpn"], **BIFPN).state_dict()}
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(sorted(names)))
        shape = data.draw(st.lists(st.integers(0, 5), max_size=4))
        match data.draw(st.sampled_from(["drop", "rename", "shape"])):
            case "drop":
                del names[name]
            case "rename":
                names[name + ".0"] = names.pop(name)
            case "shape":
                names[name] = torch.zeros(shape)
    with contextlib.suppress(ModelError):
        net_from(names, where="net.pth")


def test_copies_of_one_block_must_be_equal():
    tensors = {name: tensor.clone() for name, tensor in NETS["panoptic_bifpn"](**BIFPN).state_dict().items()}
    name = "semantic_fpn.bifpns.0.top_down_fpn.after_combines.2.1.bias"
    tensors[name] += 1
    with pytest.raises(ModelError, match=r"after_combines\.2.*differ"):
        net_from(tensors, where="net.pth")


# ------------------------------------------------------------------------------------------------- as models of mitonb


@pytest.mark.parametrize(("architecture", "config"), [KINDS[0], KINDS[4]])
@pytest.mark.parametrize("half", [True, False])
def test_imported_nets_are_written_and_read_as_our_own(architecture, config, half, picture, tmp_path):
    net, found = net_from(drawn_net(NETS[architecture], **config).state_dict(), where="net.pth")
    card = card_for(net, found, "mine", licence="none", things=())
    write_weights(net, card, tmp_path / "mine.safetensors", half=half)
    model = load_model(tmp_path / "mine.safetensors")
    assert model.spec.things == ()
    assert (model.spec.mean, model.spec.std, model.spec.intensity) == (0.57571, 0.12765, "range")
    assert model.spec.pixel_offset == 1.5
    assert model.spec.multiple == (32 if architecture == "panoptic_deeplab" else 128)
    with torch.inference_mode():
        a, b = net.body(picture)["semantic"], model.net.body(picture)["semantic"]
    torch.testing.assert_close(a, b, rtol=1e-2, atol=(0.1 if half else 1e-4) * float(a.std()))


@pytest.mark.parametrize("recipe", [Recipe(tile=0), Recipe(tile=128, halo=16), Recipe(flips=True, batch=2)])
@pytest.mark.parametrize(("architecture", "config"), [KINDS[0], KINDS[4]])
def test_they_predict_a_plane(architecture, config, recipe):
    net, found = net_from(drawn_net(NETS[architecture], **config).state_dict(), where="net.pth")
    model = Model(card_for(net, found, "random"), net)
    maps = predict(np.random.default_rng(0).integers(0, 256, (150, 170)).astype(np.uint8), model=model, recipe=recipe)
    assert maps.semantic.shape == (1, 150, 170)
    assert maps.offsets.shape == (2, 38, 43)
    assert maps.pixel_offset == 1.5
    assert len(np.unique(maps.center)) > 100


def test_things_are_classes():
    spec = ModelSpec(name="two", classes=("nucleus", "droplet"), things=("droplet",))
    assert ModelSpec.from_json(spec.to_json()) == spec
    with pytest.raises(ModelError, match="'cell'"):
        dataclasses.replace(spec, things=("cell",))
