"""The nets of MitoNet: sizes, shapes, options, and PointRend down to its places."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional

from mitonb.errors import ModelError
from mitonb.models.encoder import Encoder
from mitonb.models.panoptic import SUBDIVISION_POINTS, ContourDeepLab, PanopticBiFPN, PanopticDeepLab, PointRend
from tests.models.published import drawn_net

SMALL = {"stride": 32, "decoder_channels": 8, "low_level_channels": [4], "aspp_channels": 6}


@pytest.fixture(scope="module")
def deeplab():
    return drawn_net(PanopticDeepLab, "resnet18", **SMALL)


@pytest.fixture(scope="module")
def bifpn():
    return drawn_net(PanopticBiFPN, "resnet18", fpn_dim=8, fpn_layers=2)


@pytest.fixture(scope="module", params=["deeplab", "bifpn"])
def net(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def picture():
    return torch.randn(1, 1, 128, 256, generator=torch.Generator().manual_seed(0))


def parameters(net):
    return sum(p.numel() for p in net.parameters())


def test_the_network_of_mitonet_has_its_published_size():
    with torch.device("meta"):
        net = PanopticDeepLab()
    assert parameters(net) == 55_158_486
    assert len(net.state_dict()) == 441
    parts = ("encoder", "semantic_decoder", "instance_decoder", "semantic_head", "ins_center", "ins_xy", "semantic_pr")
    sizes = (23_501_760, 15_624_288, 15_615_664, 72_705, 72_705, 72_962, 198_402)
    assert tuple(parameters(getattr(net, part)) for part in parts) == sizes


def test_the_small_network_of_mitonet_has_its_published_size():
    with torch.device("meta"):
        net, wider = PanopticBiFPN(), PanopticBiFPN(fpn_dim=160)
    assert parameters(net) == 27_350_786
    assert len(net.state_dict()) == 853
    assert parameters(net.semantic_pr) == 50_050
    assert round(parameters(wider) / 1e6, 2) == 28.79


def test_folded_nets_have_the_size_of_the_exported_files():
    with torch.device("meta"):
        nets = PanopticDeepLab(folded=True), PanopticBiFPN(folded=True)
    assert [parameters(net) for net in nets] == [55_129_318, 27_324_226]
    assert [len(net.state_dict()) for net in nets] == [181, 641]


@pytest.mark.parametrize(
    ("name", "stride", "widths", "deepest"),
    [
        ("resnet18", 32, [64, 64, 128, 256, 512], 2),
        ("resnet34", 32, [64, 64, 128, 256, 512], 2),
        ("resnet50", 32, [64, 256, 512, 1024, 2048], 2),
        ("resnet50", 16, [64, 256, 512, 1024, 2048], 4),
        ("resnet101", 16, [64, 256, 512, 1024, 2048], 4),
    ],
)
def test_encoders_give_features_at_all_their_resolutions(name, stride, widths, deepest):
    with torch.device("meta"):
        encoder = Encoder(name, stride=stride)
        features = encoder(torch.zeros(1, 1, 64, 128))
    assert encoder.widths == widths
    sides = (16, 16, 8, 4, deepest)
    assert [tuple(f.shape) for f in features] == [(1, w, s, 2 * s) for w, s in zip(widths, sides, strict=True)]


def test_encoders_that_are_not_there_say_which_are():
    with pytest.raises(ModelError, match=r"resnet18 cannot have the output stride 16.*resnet50"):
        Encoder("resnet18", stride=16)
    with pytest.raises(ModelError, match=r"'vgg'.*resnet34"):
        Encoder("vgg")
    with pytest.raises(ModelError, match="16 or 32, got 8"):
        Encoder("resnet50", stride=8)


@pytest.mark.parametrize(("steps", "semantic"), [(2, 1), (3, 0.5), (0, 4)])
def test_render_steps_double_the_semantic_map_and_nothing_else(net, picture, steps, semantic):
    with torch.inference_mode():
        heads = net(picture, steps)
    h, w = picture.shape[2:]
    assert heads["semantic"].shape == (1, 1, h / semantic, w / semantic)
    assert heads["center"].shape == (1, 1, h / 4, w / 4)
    assert heads["offsets"].shape == (1, 2, h / 4, w / 4)


def test_the_semantic_head_runs_once(deeplab, picture):
    calls = []
    hook = deeplab.semantic_head.register_forward_hook(lambda *_: calls.append(1))
    with torch.inference_mode():
        deeplab(picture)
    hook.remove()
    assert len(calls) == 1


def test_the_parts_that_engines_take_make_the_whole(net, picture):
    with torch.inference_mode():
        said = net.body(picture)
        whole = net(picture)
        heads = net.rendered(said)
    assert list(said) == ["semantic", "semantic_features", "center", "offsets"]
    assert all(torch.equal(heads[name], whole[name]) for name in whole)


def test_pictures_of_a_batch_do_not_see_each_other(net, picture):
    other = picture.flip(3) * 2
    with torch.inference_mode():
        both = net(torch.cat([picture, other]))
        alone = net(picture), net(other)
    for k in range(2):
        for a, b in zip(both.values(), alone[k].values(), strict=True):
            torch.testing.assert_close(a[k], b[0], rtol=1e-3, atol=1e-3 * float(b.std()))


@pytest.mark.parametrize("options", [
    {"low_level_stages": [3, 2, 1], "low_level_channels": [8, 6, 4]}, {"atrous_rates": [3, 6]}, {"ins_decoder": False},
    {"channels": 3}, {"ins_low_level_channels": [4], "dropout": 0.1}, {"folded": True},
    {"low_level_stages": [2, 0], "low_level_channels": [4, 4]},
])  # fmt: skip
def test_options_of_deeplab(options, picture):
    net = PanopticDeepLab("resnet18", **{**SMALL, **options}).eval()
    heads = net(picture)
    assert heads["semantic"].shape == (1, options.get("channels", 1), 128, 256)
    assert heads["offsets"].shape == (1, 2, 32, 64)


@pytest.mark.parametrize("options", [
    {"fpn_layers": 1}, {"ins_decoder": False}, {"depthwise": False}, {"channels": 4}, {"folded": True}, {"fpn_dim": 64},
])  # fmt: skip
def test_options_of_bifpn(options, picture):
    net = PanopticBiFPN("resnet18", **{"fpn_dim": 8, "fpn_layers": 2, **options}).eval()
    assert net(picture)["semantic"].shape == (1, options.get("channels", 1), 128, 256)


def test_without_an_instance_decoder_the_heads_share_one():
    one, two = (PanopticDeepLab("resnet18", **SMALL, ins_decoder=own) for own in (False, True))
    assert parameters(two) - parameters(one) == parameters(two.instance_decoder)


def test_a_decoder_must_end_at_a_quarter_of_the_resolution():
    with pytest.raises(ModelError, match=r"stages \[3, 2\]"):
        PanopticDeepLab("resnet18", **{**SMALL, "low_level_stages": [3, 2], "low_level_channels": [4, 4]})


def test_the_contour_variant_draws_contours(picture):
    net = drawn_net(ContourDeepLab, "resnet18", **SMALL)
    with torch.inference_mode():
        heads = net(picture)
    assert heads["semantic"].shape == heads["contour"].shape == (1, 1, 128, 256)
    assert list(heads) == ["semantic", "contour"]
    points = {f"{name}_{what}" for name in heads for what in ("points", "places")}
    assert set(net.train()(picture.expand(2, -1, -1, -1))) == {*heads, *points}  # PointRend learns from points
    assert not any("ins_" in name for name in net.state_dict())


def test_in_training_the_heads_are_enlarged(picture):
    heads = PanopticDeepLab("resnet18", 3, **SMALL).train()(picture.expand(2, -1, -1, -1))
    assert {name: tuple(head.shape) for name, head in heads.items()} == {
        "semantic": (2, 3, 128, 256), "center": (2, 1, 32, 64), "offsets": (2, 2, 32, 64),
        "semantic_points": (2, 3, 1024), "semantic_places": (2, 1024, 2),
    }  # fmt: skip
    sum(head.mean() for head in heads.values() if head.requires_grad).backward()


# ---------------------------------------------------------------------------------------------------------- PointRend


def test_only_the_most_uncertain_pixels_are_asked_again():
    head = drawn_net(PointRend, 4)
    features, coarse = torch.randn(1, 4, 96, 96), torch.randn(1, 1, 96, 96)
    plain = functional.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
    with torch.inference_mode():
        changed = head(features, coarse, 1) != plain
    assert changed.sum() == SUBDIVISION_POINTS
    assert plain[changed].abs().max() <= plain[~changed].abs().min()


def test_of_several_classes_a_close_call_between_the_first_two_is_uncertain():
    head = drawn_net(PointRend, 4, 3)
    coarse = torch.zeros(1, 3, 96, 96)
    coarse[:, 1], coarse[:, 2] = 5, -5
    coarse[:, 2, :, 48:] = 5
    plain = functional.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
    with torch.inference_mode():
        changed = (head(torch.randn(1, 4, 96, 96), coarse, 1) != plain).any(1)
    assert not changed[..., :94].any()
    assert changed.sum() == SUBDIVISION_POINTS


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_by_autocast_works_through_point_rend(net, picture, kind):
    picture = picture[..., :128]  # processors are slow at this
    with torch.inference_mode():
        want = net(picture)
        with torch.autocast("cpu", dtype=kind):
            got = net(picture)
    assert got["semantic"].dtype == torch.float32
    for a, b in zip(got.values(), want.values(), strict=True):
        assert torch.isfinite(a).all()
        assert (a.float() - b).abs().mean() < 0.2 * b.std()


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_nets_in_half_precision_work_through_point_rend(net, picture, kind):
    small, picture = copy.deepcopy(net).to(kind), picture[..., :128]
    with torch.inference_mode():
        want, got = net(picture), small(picture.to(kind))
    assert got["semantic"].dtype == torch.float32
    assert got["center"].dtype == kind
    for a, b in zip(got.values(), want.values(), strict=True):
        assert (a.float() - b).abs().mean() < 0.2 * b.std()
