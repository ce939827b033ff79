"""Models by name and by file: what a card promises holds, and damage is found before anything runs."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save

from mitonb.errors import CorruptFileError, InputError, ModelError
from mitonb.infer.segment import segment
from mitonb.models.spec import WEIGHTS, ModelSpec, specs
from mitonb.models.unet import UNet, fold, unfold
from mitonb.models.weights import card_in, fill, read_weights, write_weights
from mitonb.models.zoo import build, load_model, read_net
from mitonb.recipe import Recipe

TINY = ModelSpec(name="tiny", config={"widths": [4, 8, 8, 8], "depths": [0, 1, 1, 1], "classes": 1})


@pytest.fixture
def tiny(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "tiny.safetensors"
    write_weights(build(TINY), TINY, path)
    return path


def test_heads_have_the_promised_shapes():
    three = dataclasses.replace(TINY, classes=("a", "b", "c"), config={**TINY.config, "classes": 3})
    heads = build(three)(torch.zeros(2, 1, 32, 48))
    assert heads["semantic"].shape == (2, 4, 32, 48)  # the background, and three classes
    assert heads["center"].shape == (2, 1, 8, 12)
    assert heads["offsets"].shape == (2, 2, 8, 12)


KINDS = [
    {}, {"heads": ("semantic",)}, {"heads": ("semantic", "contour", "distance"), "dimension": 3},
    {"dimension": 3, "classes": ("a", "b")},
    {"heads": ("affinities",), "dimension": 3, "config": {**TINY.config, "flat": 2, "residual": False, "fold": False}},
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_u_net_draws_the_heads_of_its_card_in_planes_and_in_blocks(kind, tmp_path):
    card = dataclasses.replace(TINY, **{"config": {"widths": [4, 6, 8], "depths": [1, 1, 0]}, **kind})
    write_weights(build(card), card, tmp_path / "net.safetensors", half=False)
    model = load_model(tmp_path / "net.safetensors")
    x = torch.randn(1, 1, *(16, 32, 48)[-card.dimension :])
    heads = model.net(x)
    assert set(heads) == set(card.heads)
    classes = 1 + len(card.classes) if len(card.classes) > 1 else 1
    channels = {"semantic": classes, "offsets": card.dimension, "affinities": card.dimension}
    for name, head in heads.items():
        stride = card.output_stride if name in ("center", "offsets") else 1
        assert head.shape == (1, channels.get(name, 1), *(side // stride for side in x.shape[2:])), name
    sum(head.sum() for head in build(card).train()(x.expand(2, *x.shape[1:])).values()).backward()


@pytest.mark.parametrize("by", [(2, 2), (1, 2, 2), (2, 2, 2)])
def test_folding_a_picture_keeps_every_pixel(by):
    x = torch.randn(1, 2, *(4, 6, 8)[: len(by)])
    assert torch.equal(unfold(fold(x, by), by), x)
    assert fold(x, by)[0, :, *[0] * len(by)].tolist() == x[0, :, *(slice(b) for b in by)].flatten().tolist()


def test_a_pixel_depends_on_its_surroundings_not_on_the_tile():
    """The middle of a large tile is the same when what lies far outside is cut off."""
    torch.manual_seed(2)
    net = build(dataclasses.replace(TINY, config={"widths": [4, 4], "depths": [0, 0], "classes": 1})).eval()
    x = torch.randn(1, 1, 256, 256)
    with torch.inference_mode():
        whole, cut = net(x), net(x[..., 64:192, 64:192])
    torch.testing.assert_close(whole["semantic"][..., 112:144, 112:144], cut["semantic"][..., 48:80, 48:80])


def test_a_weight_file_gives_back_net_and_card(tiny):
    model = load_model(tiny)
    assert model.spec.name == "tiny"
    assert len(model.spec.sha256) == 64
    assert not model.net.training
    assert {p.dtype for p in model.net.parameters()} == {torch.float32}


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ModelError, match=r"no model 'mito-huge'.*mito-mini"):
        load_model("mito-huge")


@pytest.mark.parametrize("keep", [0, 7, 100, 3000])
def test_a_cut_off_file_is_an_error(tiny, keep):
    tiny.write_bytes(tiny.read_bytes()[:keep])
    with pytest.raises(CorruptFileError, match=r"tiny\.safetensors"):
        load_model(tiny)


def test_a_file_that_is_no_weight_file_is_an_error(tmp_path):
    path = tmp_path / "cell.tif"
    path.write_bytes(b"II*\0" + bytes(500))
    with pytest.raises(CorruptFileError, match=r"cell\.tif is not a safetensors file"):
        load_model(path)


def test_tensors_without_a_card_are_an_error(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2)}, tmp_path / "bare.safetensors")
    with pytest.raises(ModelError, match="to no network that mitonb knows"):
        load_model(tmp_path / "bare.safetensors")


@pytest.mark.parametrize("damage", ["missing", "shape", "extra", "nan"])
def test_tensors_must_be_those_of_the_card(tiny, damage):
    tensors, spec = read_weights(tiny.read_bytes(), where="tiny")
    name = "stem.conv.weight"
    match damage:
        case "missing":
            del tensors[name]
        case "shape":
            tensors[name] = tensors[name][:1]
        case "extra":
            tensors["more"] = torch.zeros(1)
        case "nan":
            tensors[name] = torch.full_like(tensors[name], float("nan"))
    with pytest.raises(ModelError, match="tiny"):
        fill(build(spec), tensors, where="tiny")


def test_nets_that_diverged_are_not_written(tmp_path):
    net = build(TINY)
    with torch.no_grad():
        next(net.parameters()).fill_(float("inf"))
    with pytest.raises(ModelError, match="diverged"):
        write_weights(net, TINY, tmp_path / "bad.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_card_may_only_name_known_architectures(tmp_path):
    strange = dataclasses.replace(TINY, architecture="os.system")
    write_weights(build(TINY), strange, tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match=r"os\.system.*panoptic_unet"):
        load_model(tmp_path / "x.safetensors")


def test_a_card_keeps_its_values_as_json():
    assert ModelSpec.from_json(TINY.to_json()) == TINY


def test_a_card_of_a_later_version_is_read_as_far_as_it_is_known():
    assert ModelSpec.from_json('{"name": "new", "colour": "blue"}').name == "new"


def test_a_card_of_version_0_1_is_read_under_the_names_of_today():
    old = {"name": "old", "step": 2, "lead": 0.5, "pixels": [4, 16], "multiple": 16}
    card = ModelSpec.from_json(json.dumps(old))
    assert (card.output_stride, card.pixel_offset, card.pixel_sizes) == (2, 0.5, (4, 16))
    assert (card.heads, card.dimension) == (("semantic", "center", "offsets"), 2)
    contours = ModelSpec.from_json(json.dumps({**old, "architecture": "contour_deeplab"}))
    assert contours.heads == ("semantic", "contour")


@pytest.mark.parametrize(
    "text",
    ["", "[1]", "{}", '"x"', "[" * 100_000, '{"name": "x", "output_stride": 3}', '{"name": "x", "intensity": "log"}'],
)
def test_what_is_no_card_is_an_error(text):
    with pytest.raises(ModelError):
        ModelSpec.from_json(text)


WRONG = {
    "name": ["", 5, None, "x" * 300], "architecture": [5, None], "title": [["a"]], "sha256": [7], "licence": [None],
    "classes": [[], "mito", [5], ["a", "a"], [f"c{k}" for k in range(500)], None, 3], "things": ["mitochondrion", [1]],
    "multiple": [0, -16, 2**30, 16.0, True, "16", None], "output_stride": [0, 3.0, True, 2**40, None],
    "pixel_offset": [-1, "0", 4, 1e400], "heads": [["semantics"], "semantic", [5], ["center"], ["semantic"] * 2, None],
    "dimension": [1, 4, "2", None, 2.5], "mean": ["nan", float("nan"), float("inf"), True, None, 10**400],
    "std": [0, -1, float("nan"), "0.1", None],
    "config": [[], {"widths": [2**30]}, {"depths": list(range(99))}, {"a": {"b": [[1]]}}, {"channels": -5}],
    "papers": ["conrad2023", [None]], "data": [5], "training": [[]], "scores": [5], "padding": [-1, 2**30, 1.5],
}  # fmt: skip


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_a_card_that_nothing_could_run_by_is_refused_at_the_door(field, value, tmp_path):
    text = json.dumps({**json.loads(TINY.to_json()), field: value})
    with pytest.raises(ModelError, match=rf"a file: .*{field}"):
        ModelSpec.from_json(text, where="a file")
    with pytest.raises(ModelError, match=field):
        dataclasses.replace(TINY, **{field: value})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": ("a", "b")}, "'classes': 2"),
        ({"output_stride": 8}, "'output_stride': 8"),
        ({"multiple": 8}, "'multiple': 8"),
        ({"config": {"widths": [4096] * 4, "depths": [1] * 4}}, "Missing key"),
        ({"config": {"widths": [4, 4], "depths": [4096, 4096]}}, "up to 64 blocks"),
        ({"config": {"widths": [], "depths": []}}, "at least two widths"),
        ({"config": {"widths": 5}}, "describes no panoptic_unet"),
        ({"heads": ("semantic", "contour")}, "Unexpected key.*instance"),
        ({"dimension": 3}, "size mismatch"),
        ({"heads": ("semantic",), "architecture": "panoptic_bifpn", "multiple": 128, "config": {}}, "'heads'"),
        ({"architecture": "panoptic_bifpn", "config": {"fpn_layers": 4096}, "multiple": 128}, "1 to 64 layers"),
        ({"architecture": "panoptic_deeplab", "config": {"stride": 0}}, "stride 16 or 32, got 0"),
    ],
    ids=str,
)
def test_a_card_of_another_net_is_refused_before_room_is_made(changes, said, tiny):
    tensors, _ = read_weights(tiny.read_bytes(), where="tiny")
    card = dataclasses.replace(TINY, **changes)
    tiny.write_bytes(save(tensors, {"card": card.to_json()}))
    with pytest.raises(ModelError, match=said):
        load_model(tiny)


@pytest.mark.parametrize("wish", [5, None, 2.5, b"mito-mini", ["mito-mini"], object()])
def test_a_model_is_asked_for_by_name_or_path(wish):
    with pytest.raises(InputError, match="A model is a name, or the path of its weights"):
        load_model(wish)


@pytest.mark.parametrize("wish", ["", "x" * 5000, "a\0b", "~nobody/x", ".", "x/" * 3000])
def test_names_that_cannot_be_files_are_no_models(wish):
    with pytest.raises(ModelError, match="There is no model"):
        load_model(wish)
    with pytest.raises(ModelError, match="There is no model"):
        segment(np.zeros((1, 32, 32), np.uint8), model=wish or " ", show=False)


@pytest.mark.parametrize("device", ["tpu", 5, None, "", "cpu!", "cuda:99", "mps"])
def test_a_device_that_is_not_there_is_said(device):
    with pytest.raises(InputError, match=r"[Dd]evice"):
        segment(np.zeros((1, 32, 32), np.uint8), Recipe(device=device), show=False)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.uint16, np.int32, np.float32, ">u2", np.float64])
def test_black_and_white_become_the_same_numbers_in_every_dtype(dtype):
    image = np.array([[0, 1]], dtype)
    np.testing.assert_allclose(TINY.normalise(image, 0, 1), [[-2, 2]])


def test_bad_pixels_become_middle_grey_and_hot_ones_are_cut_off():
    image = np.array([[np.nan, np.inf, -np.inf, 1e9]], np.float32)
    np.testing.assert_allclose(TINY.normalise(image, 0, 100), [[0, 4, -4, 4]])


def test_large_integers_keep_their_digits():
    image = np.array([[2**30, 2**30 + 1]], np.int32)
    np.testing.assert_allclose(TINY.normalise(image, 2.0**30, 2.0**30 + 1), [[-2, 2]])


@pytest.mark.parametrize("levels", [(1.0, 1.0), (2.0, 1.0), (0.0, float("nan"))])
def test_white_must_be_above_black(levels):
    with pytest.raises(InputError, match="White"):
        TINY.normalise(np.zeros((2, 2)), *levels)


def test_the_bundled_model_is_small_whole_and_says_where_it_comes_from():
    card = specs()["mito-mini"]
    path = WEIGHTS / "mito-mini.safetensors"
    assert path.stat().st_size <= 8e6
    assert card_in(path.read_bytes(), where="mito-mini").config == card.config
    assert load_model("mito-mini").spec == card
    assert "non-commercial" in card.licence
    assert card.training["seed"] is not None


def test_the_free_model_is_whole_and_knows_no_data_for_research_only():
    card = specs()["mito-open"]
    assert load_model("mito-open").spec == card
    assert "commercial use allowed" in card.licence
    told = " ".join(card.data)
    assert not any(
        word in told for word in ("non-commercial", "research use", "NC-SA", "GPL", "vnc", "epfl", "neuropil")
    )


def test_a_wide_net_has_the_same_weights_and_sees_farther():
    plain, wide = (UNet([4, 8], [1, 3], wide=wide).eval() for wide in (False, True))
    wide.load_state_dict(plain.state_dict())
    dot = torch.zeros(1, 1, 192, 192)
    dot[..., 96, 96] = 1
    with torch.no_grad():
        reaches = [(net(dot)["semantic"] != net(dot * 0)["semantic"]).sum() for net in (plain, wide)]
    assert reaches[1] > 1.5 * reaches[0]


def test_the_bundled_net_can_be_trained_on():
    net, spec = read_net(WEIGHTS / "mito-mini.safetensors")
    assert isinstance(net, UNet)
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in net.modules())
    assert spec.output_stride == net.output_stride
