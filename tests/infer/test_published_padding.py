"""By the published rules, planes are padded with mean grey, decoded with the padding, and cut to their size."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from mitonb.errors import InputError  # noqa: E402
from mitonb.infer.kept import KeptMaps  # noqa: E402
from mitonb.infer.memory_estimate import estimate  # noqa: E402
from mitonb.infer.segment import (  # noqa: E402
    predict,
    redecode,
    segment,
)
from mitonb.maps import Maps  # noqa: E402
from mitonb.models.checkpoints import NETS  # noqa: E402
from mitonb.models.spec import ModelSpec  # noqa: E402
from mitonb.models.zoo import Model  # noqa: E402
from mitonb.phantoms import phantom  # noqa: E402
from mitonb.post.decoding import centers, decode  # noqa: E402
from mitonb.recipe import PRESETS, Recipe  # noqa: E402
from tests.models.published import drawn_net  # noqa: E402
from tests.post.drawing import same_partition  # noqa: E402

RECIPE = PRESETS["empanada"].replace(median=1, min_size=0, min_span=1)
CONFIG = {
    "panoptic_deeplab": {"decoder_channels": 8, "low_level_channels": [4], "aspp_channels": 6, "stride": 32},
    "panoptic_bifpn": {"fpn_dim": 8, "fpn_layers": 1},
}


def model_of(architecture: str, **card: object) -> Model:
    net = drawn_net(NETS[architecture], encoder="resnet18", channels=1, folded=True, **CONFIG[architecture])
    with torch.no_grad():  # answers of a useful size: some centers, half foreground, offsets of some pixels
        said = net.body(torch.from_numpy(prepared(plane_of((256, 256))))[None, None])
        for head, answer, mean, std in (
            (net.semantic_head, said["semantic"], 0.0, 2.0), (net.ins_center, said["center"], -0.2, 0.2),
            (net.ins_xy, said["offsets"], 0.0, 9.0),
        ):  # fmt: skip
            scale = std / answer.std()
            head.head[1].weight *= scale
            head.head[1].bias.copy_(head.head[1].bias * scale - answer.mean() * scale + mean)
        net.semantic_pr.point_head.predictor.weight.zero_()
        net.semantic_pr.point_head.predictor.bias.zero_()
        net.semantic_pr.point_head.predictor.weight[:, -1] = 1  # points say what the coarse map says there
    spec = ModelSpec(
        name="drawn", architecture=architecture, pixel_offset=1.5, multiple=int(net.multiple), intensity="range",
        mean=0.57571, std=0.12765, sha256="0" * 64, **card,
    )  # fmt: skip
    return Model(spec, net)


@pytest.fixture(scope="module", params=list(CONFIG))
def model(request: pytest.FixtureRequest) -> Model:
    return model_of(request.param)


def published(plane: np.ndarray, model: Model, multiple: int, recipe: Recipe) -> np.ndarray:
    """Return the ids of a plane, step by step as the published software makes them, from maps in kept form."""
    from scipy import ndimage

    h, w = plane.shape
    x = np.pad(prepared(plane), ((0, -h % multiple), (0, -w % multiple)))
    with torch.inference_mode():
        heads = model.net(torch.from_numpy(x)[None, None])
    maps = Maps(
        {
            "semantic": torch.sigmoid(heads["semantic"])[0].numpy(),
            "center": heads["center"][0, 0].numpy(),
            "offsets": heads["offsets"][0].numpy(),
        },
        4,
    )
    maps = maps.kept()
    center, offsets = maps.center.astype(np.float32), maps.offsets.astype(np.float32)
    highest = ndimage.maximum_filter(center, recipe.center_window, mode="constant", cval=-np.inf)
    points = np.argwhere((center == highest) & (center > recipe.center_threshold))
    places = np.stack(np.mgrid[: center.shape[0], : center.shape[1]]) * 4 + offsets
    apart = ((places[:, None] - 4 * points.T[:, :, None, None]) ** 2).sum(0)
    cells = 1 + apart.argmin(0)
    ids = cells.repeat(4, 0).repeat(4, 1) * (maps.semantic[0] >= math.ceil(recipe.semantic_threshold * 255))
    ids = ids[:h, :w]
    out = np.zeros((h, w), np.int64)
    for one in np.unique(ids[ids > 0]):
        pieces, _ = ndimage.label(ids == one, np.ones((3, 3)))
        out += np.where(pieces > 0, pieces + out.max(), 0)
    return out


def prepared(plane: np.ndarray) -> np.ndarray:
    """Return grey values as the published nets want them."""
    return ((plane / 255 - 0.57571) / 0.12765).astype(np.float32)


def plane_of(shape: tuple[int, int]) -> np.ndarray:
    return phantom((1, *shape), seed=3).stack.read()[0]


@pytest.mark.parametrize("shape", [(128, 256), (131, 222), (97, 129), (60, 50)])
def test_a_plane_of_any_size_becomes_what_the_published_way_makes_of_it(shape: tuple[int, int], model: Model) -> None:
    plane = plane_of(shape)
    want = published(plane, model, model.spec.multiple, RECIPE)
    # Without a name of the weights torch runs the net, here as there: other engines round otherwise, and of two equal
    # neighbours in a center map another one is the peak then.
    unnamed = Model(dataclasses.replace(model.spec, sha256=""), model.net)
    got = segment(plane[None], RECIPE, model=unnamed, show=False)
    assert want.max() > 1
    assert same_partition(got.data[0], want)


def test_the_padding_of_the_makers_is_taken_by_the_published_rules_alone() -> None:
    model = model_of("panoptic_deeplab", padding=64)
    plane = plane_of((97, 129))
    got = segment(plane[None], RECIPE, model=model, show=False)
    assert same_partition(got.data[0], published(plane, model, 64, RECIPE))
    assert predict(plane, model=model, recipe=RECIPE).center.shape == (32, 48)
    assert predict(plane, model=model).center.shape == (25, 33)
    odd = dataclasses.replace(model.spec, padding=40)
    assert odd.makers_multiple == 32  # its net could not take 40


def test_what_lies_in_the_padding_ends_there_and_nowhere_else() -> None:
    """A center in the padding keeps its pixels of the plane, under the published rules alone."""
    semantic = np.full((1, 8, 8), 255, np.uint8)
    center, offsets = np.zeros((3, 2), np.float16), np.zeros((2, 3, 2), np.float16)
    center[0, 0], center[2, 1] = 1, 1
    offsets[:, :, 1] = [[6.0] * 3, [0.0] * 3]
    maps = Maps({"semantic": semantic, "center": center, "offsets": offsets}, 4, beyond=(1, 0))
    recipe = Recipe(rules="published", center_threshold=0.5, min_area=0)
    assert np.unique(decode(maps, recipe)).tolist() == [1, 2]
    assert np.unique(decode(maps.cropped(), recipe)).tolist() == [1]
    assert np.unique(decode(maps, Recipe(min_area=0))).tolist() == [1]
    assert centers(maps, recipe).tolist() == [[0, 0], [8, 4]]
    for fine in (True, False):
        assert decode(maps, recipe.replace(fine_boundaries=fine)).shape == (8, 8)


@pytest.mark.parametrize("where", ["memory", "folder"])
def test_kept_maps_know_how_they_were_padded(where: str, model: Model, tmp_path) -> None:
    stack = phantom((3, 97, 129), seed=3).stack
    kept = KeptMaps(folder="memory" if where == "memory" else tmp_path / "maps")
    labels = segment(stack, RECIPE, model=model, kept=kept, show=False)
    again = redecode(kept, RECIPE, show=False)
    assert np.array_equal(again.data, labels.data)
    assert not any("padded" in note for note in again.record["notes"])
    other = redecode(kept, RECIPE.replace(rules="mitonb"), show=False)
    assert any("padded by the published rules" in note for note in other.record["notes"])
    if where == "memory":
        plain = segment(stack, RECIPE.replace(rules="mitonb"), model=model, kept=kept, show=False)
        fresh = segment(stack, RECIPE.replace(rules="mitonb"), model=model, show=False)
        assert np.array_equal(plain.data, fresh.data)
    else:
        with pytest.raises(InputError, match=r"padding"):
            segment(
                stack, RECIPE.replace(rules="mitonb"), model=model, kept=KeptMaps(folder=tmp_path / "maps"), show=False
            )


def test_empty_planes_and_all_directions_go_with_padded_ones(model: Model) -> None:
    image = phantom((21, 60, 75), seed=3).stack.read().astype(np.float32)
    image[4] = np.nan
    recipe = RECIPE.replace(planes=("xy", "xz"), votes=1, lone_objects=True)
    assert segment(image, recipe, model=model, kept=KeptMaps(folder="memory"), show=False).data.any()


def test_memory_counts_the_padding() -> None:
    image = np.zeros((1, 130, 130), np.uint8)
    padded = estimate(image, RECIPE, model=model_of("panoptic_deeplab", padding=512))
    assert padded > estimate(image, RECIPE, model=model_of("panoptic_deeplab")) + 50_000_000
