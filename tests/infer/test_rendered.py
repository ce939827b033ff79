"""Planes through nets with PointRend: several classes, and the way back from a downsampled plane."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from mitonb.infer.segment import predict, segment
from mitonb.infer.tiles import padded, resample
from mitonb.models.checkpoints import NETS, card_for, net_from
from mitonb.models.zoo import Model
from mitonb.recipe import Recipe
from tests.models.published import drawn_net

CONFIGS: dict[str, dict[str, Any]] = {
    "panoptic_deeplab": {"stride": 32, "decoder_channels": 8, "low_level_channels": [4], "aspp_channels": 6},
    "panoptic_bifpn": {"fpn_dim": 8, "fpn_layers": 1},
    "contour_deeplab": {"stride": 32, "decoder_channels": 8, "low_level_channels": [4], "aspp_channels": 6},
}


def model_of(name: str, channels: int = 1) -> Model:
    drawn = drawn_net(NETS[name], "resnet18", channels, **CONFIGS[name])
    # Smaller logits: those of hundreds that such weights give say nothing but yes and no.
    state = {key: tensor * (0.05 if key.startswith("semantic_pr") else 1) for key, tensor in drawn.state_dict().items()}
    net, found = net_from(state, where="net.pth")
    return Model(card_for(net, found, "drawn"), net)


@pytest.fixture
def image() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (150, 170)).astype(np.uint8)


@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("name", ["panoptic_deeplab", "panoptic_bifpn"])
def test_a_downsampled_plane_comes_back_by_more_render_steps(
    name: str, factor: int, image: npt.NDArray[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mitonb.infer.predict._RIM", 0)  # else the net sees more than the plane
    model = model_of(name)
    maps = predict(image, model=model, recipe=Recipe(downsampling=factor, tile=0))
    assert (maps.shape, maps.output_stride, maps.pixel_offset) == ((150, 170), 4 * factor, 1.5 * factor)

    small = model.normalise(image, 0, 255)
    for axis, n in enumerate(image.shape):
        small = resample(small, axis, -(-n // factor), factor)
    small = padded(small, model.spec.multiple)
    with torch.inference_mode():
        heads = model.net(torch.from_numpy(small)[None, None], render_steps=2 + {1: 0, 2: 1, 4: 2}[factor])
    want = heads["semantic"].sigmoid()[0, 0].numpy()
    if factor > 1:  # between two pixels of the rendered map: see `mitonb.infer.tiles.resample`
        for axis in (0, 1):
            place = np.arange(want.shape[axis])
            low, high = (np.minimum(place + k, len(place) - 1) for k in (factor // 2 - 1, factor // 2))
            want = (want.take(low, axis) + want.take(high, axis)) / 2
    inner = np.s_[:140, :160]  # what lies at the border is a matter of padding
    assert np.abs(maps.semantic[0][inner] / 255 - want[inner]).max() < 0.0025  # half of 1 / 255, and a little
    assert want[inner].std() > 0.003


def test_of_several_classes_the_background_is_no_map(image: npt.NDArray[Any]) -> None:
    model = model_of("panoptic_deeplab", channels=3)
    assert model.spec.classes == ("class 1", "class 2")
    assert predict(image, model=model).semantic.shape == (2, 150, 170)
    labels = segment(image[None], Recipe(min_area=0, min_size=0), model=model, show=False)
    assert [c["name"] for c in labels.record["classes"]] == ["class 1", "class 2"]


def test_nets_that_draw_contours_have_maps_of_them(image: npt.NDArray[Any]) -> None:
    maps = predict(image, model=model_of("contour_deeplab"))
    assert {name: head.shape for name, head in maps.heads.items()} == {
        "semantic": (1, 150, 170), "contour": (1, 150, 170),
    }  # fmt: skip
