"""Models by name and by file: what a card promises holds, and damage is found before anything runs."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from mitonb.errors import CorruptFileError, InputError, ModelError
from mitonb.models.intensity import normalised
from mitonb.models.layers import fused
from mitonb.models.panoptic_unet import PanopticUNet
from mitonb.models.spec import WEIGHTS, ModelSpec, card_in, specs
from mitonb.models.weights import fill, read_weights, write_weights
from mitonb.models.zoo import build, load_model, read_net

TINY = ModelSpec(name="tiny", config={"widths": [4, 8, 8, 8], "depths": [0, 1, 1, 1], "classes": 1})


@pytest.fixture
def tiny(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "tiny.safetensors"
    write_weights(build(TINY), TINY, path)
    return path


def test_heads_have_the_promised_shapes():
    heads = build(dataclasses.replace(TINY, config={**TINY.config, "classes": 3}))(torch.zeros(2, 1, 32, 48))
    assert heads.semantic.shape == (2, 3, 32, 48)
    assert heads.center.shape == (2, 1, 8, 12)
    assert heads.offsets.shape == (2, 2, 8, 12)


def test_folding_batch_norm_changes_no_answer():
    torch.manual_seed(1)
    net = build(TINY)
    with torch.no_grad():
        for _ in range(3):
            net.train()(torch.randn(2, 1, 32, 32))  # gives the norms statistics of their own
    x = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        for a, b in zip(net.eval()(x), fused(net)(x), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_a_pixel_depends_on_its_surroundings_not_on_the_tile():
    """The middle of a large tile is the same when what lies far outside is cut off."""
    torch.manual_seed(2)
    net = fused(build(dataclasses.replace(TINY, config={"widths": [4, 4], "depths": [0, 0], "classes": 1})))
    x = torch.randn(1, 1, 256, 256)
    with torch.inference_mode():
        whole, cut = net(x), net(x[..., 64:192, 64:192])
    torch.testing.assert_close(whole.semantic[..., 112:144, 112:144], cut.semantic[..., 48:80, 48:80])


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
    with pytest.raises(CorruptFileError, match=r"cell\.tif is no safetensors file"):
        load_model(path)


def test_tensors_without_a_card_are_an_error(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2)}, tmp_path / "bare.safetensors")
    with pytest.raises(ModelError, match="of no net that mitonb knows"):
        load_model(tmp_path / "bare.safetensors")


@pytest.mark.parametrize("damage", ["missing", "shape", "extra", "nan"])
def test_tensors_must_be_those_of_the_card(tiny, damage):
    tensors, spec = read_weights(tiny)
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


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"name": "x", "step": 3}', '{"name": "x", "intensity": "log"}'])
def test_what_is_no_card_is_an_error(text):
    with pytest.raises(ModelError):
        ModelSpec.from_json(text)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.uint16, np.int32, np.float32, ">u2", np.float64])
def test_black_and_white_become_the_same_numbers_in_every_dtype(dtype):
    image = np.array([[0, 1]], dtype)
    np.testing.assert_allclose(normalised(image, 0, 1, mean=0.5, std=0.25), [[-2, 2]])


def test_bad_pixels_become_middle_grey_and_hot_ones_are_cut_off():
    image = np.array([[np.nan, np.inf, -np.inf, 1e9]], np.float32)
    np.testing.assert_allclose(normalised(image, 0, 100, mean=0.5, std=0.25), [[0, 4, -4, 4]])


def test_large_integers_keep_their_digits():
    image = np.array([[2**30, 2**30 + 1]], np.int32)
    np.testing.assert_allclose(normalised(image, 2.0**30, 2.0**30 + 1, mean=0.5, std=0.25), [[-2, 2]])


@pytest.mark.parametrize("levels", [(1.0, 1.0), (2.0, 1.0), (0.0, float("nan"))])
def test_white_must_be_above_black(levels):
    with pytest.raises(InputError, match="White"):
        normalised(np.zeros((2, 2)), *levels, mean=0.5, std=0.25)


def test_the_bundled_model_is_small_whole_and_says_where_it_comes_from():
    card = specs()["mito-mini"]
    path = WEIGHTS / "mito-mini.safetensors"
    assert path.stat().st_size <= 8e6
    assert card_in(path.read_bytes(), where="mito-mini").config == card.config
    assert load_model("mito-mini").spec == card
    assert "non-commercial" in card.licence
    assert card.training["seed"] is not None


def test_the_bundled_net_can_be_trained_on():
    net, spec = read_net(WEIGHTS / "mito-mini.safetensors")
    assert isinstance(net, PanopticUNet)
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in net.modules())
    assert spec.step == PanopticUNet.step
