"""One path for nets of every kind: what a net draws decides how objects are told apart, in planes and in blocks."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from mitonb.box import Box
from mitonb.errors import InputError
from mitonb.infer.kept import KeptMaps
from mitonb.infer.segment import predict, redecode, segment
from mitonb.models.spec import ModelSpec
from mitonb.post.targets import targets
from mitonb.recipe import Recipe
from mitonb.stack import Stack
from tests.infer.oracle import Oracle, volume

RECIPE = Recipe(min_area=0, min_size=30, min_span=1, tile=0, lookahead=0)


class Drawer(torch.nn.Module):
    """Draws what the card says of pictures that are ids: contours and insides, in planes or blocks."""

    def __init__(self, heads: tuple[str, ...]) -> None:
        super().__init__()
        self.heads = heads
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Map (n, 1, [d,] h, w) ids to logits."""
        self.shapes.append(tuple(x.shape))
        ids = x[:, 0].numpy().round().astype(np.int64)
        said = {"semantic": ids > 0, "contour": np.stack([_contour(one) for one in ids])}
        return {name: torch.from_numpy(said[name][:, None] * np.float32(20) - 10) for name in self.heads}


def _contour(ids: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return the pixels of objects that have another value beside them."""
    found = np.zeros(ids.shape, np.bool_)
    for axis in range(ids.ndim):
        for by in (-1, 1):
            found |= np.roll(ids, by, axis) != ids
    return found & (ids > 0)


class Model(Oracle):
    """A model that draws the heads that it is asked for."""

    def __init__(self, heads: tuple[str, ...], dimension: int) -> None:
        super().__init__()
        self.spec = ModelSpec(
            name="drawer", heads=heads, dimension=dimension, output_stride=1, multiple=4, sha256="1" * 64
        )  # type: ignore[arg-type]
        self.net = Drawer(heads)  # type: ignore[assignment]


def best_ious(found: npt.NDArray[Any], true: npt.NDArray[Any]) -> list[float]:
    """Return the best IoU of each true object."""
    result = []
    for k in range(1, int(true.max()) + 1):
        inside = true == k
        numbers = np.unique(found[inside])
        result.append(
            max((np.sum(inside & (found == n)) / np.sum(inside | (found == n)) for n in numbers if n), default=0)
        )
    return result


@pytest.mark.parametrize("planes", [("xy",), ("xy", "xz", "yz")])
def test_nets_of_planes_that_draw_contours_are_segmented(planes: Any) -> None:
    ids, kept = volume(), KeptMaps()
    labels = segment(
        Stack(ids), RECIPE.replace(planes=planes), model=Model(("semantic", "contour"), 2), kept=kept, show=False
    )
    assert labels.data.max() == 4
    assert min(best_ious(labels.data, ids)) > 0.85
    assert np.array_equal(redecode(kept, RECIPE.replace(planes=planes), show=False).data, labels.data)


@pytest.mark.parametrize("folder", ["memory", "disk"])
def test_nets_of_blocks_are_segmented_kept_and_decoded_again(folder: str, tmp_path: Any) -> None:
    ids = volume()
    kept = KeptMaps(folder=tmp_path / "maps" if folder == "disk" else "memory")
    model = Model(("semantic", "contour"), 3)
    labels = segment(Stack(ids), RECIPE.replace(tile=32), model=model, kept=kept, show=False)
    assert len(model.net.shapes) > 1
    assert all(len(shape) == 5 for shape in model.net.shapes)
    assert labels.data.max() == 4
    assert min(best_ious(labels.data, ids)) > 0.85
    assert np.array_equal(redecode(kept, RECIPE, show=False).data, labels.data)
    before = len(model.net.shapes)
    again = segment(Stack(ids), RECIPE.replace(tile=32), model=model, kept=kept, show=False)
    assert len(model.net.shapes) == before
    assert np.array_equal(again.data, labels.data)
    assert kept.plane("xz", 20)["contour"].shape == (1, 16, 80)


def test_blocks_go_into_a_store_and_end_at_a_region(tmp_path: Any) -> None:
    ids, box = volume(), Box((2, 8, 8), (14, 40, 80))
    model = Model(("semantic",), 3)
    stored = segment(Stack(ids), RECIPE, model=model, roi=box, out=tmp_path / "labels.ome.zarr", show=False)
    inside = segment(Stack(ids), RECIPE, model=model, roi=box, show=False)
    assert stored.count == inside.data.max() > 0
    outside = np.ones(ids.shape, np.bool_)
    outside[box.slices] = False
    assert not inside.data[outside].any()
    assert np.array_equal(inside.data[box.slices] > 0, ids[box.slices] > 0)


def test_semantic_heads_alone_give_connected_pieces() -> None:
    ids = volume()
    labels = segment(Stack(ids), RECIPE, model=Model(("semantic",), 2), show=False)
    assert np.array_equal(labels.data > 0, ids > 0)
    assert labels.data.max() < 4  # two of them touch


def test_what_a_net_looks_at_is_said_where_it_gets_something_else() -> None:
    with pytest.raises(InputError, match="drawer looks at blocks: give it a stack"):
        predict(volume()[3], model=Model(("semantic",), 3))
    with pytest.raises(InputError, match="drawer looks at planes"):
        predict(volume(), model=Model(("semantic",), 2))
    maps = predict(volume(), model=Model(("semantic", "contour"), 3))
    assert maps.shape == (16, 64, 80)


@pytest.mark.parametrize("factor", [1.5, 2.6, 0.7])
def test_planes_are_brought_to_the_pixel_size_that_is_asked_for_and_back(factor: float) -> None:
    ids = np.kron(volume()[8:9] > 0, np.ones((1, 3, 3))).astype(np.uint8)
    ids[:, 60:] = 0  # one object each is enough to count: two that do not touch are left
    ids[:, :, 90:] = 0
    model = Oracle()
    recipe = RECIPE.replace(pixel_size=4 * factor, min_size=0)
    maps = predict(Stack(ids, (4.0, 4.0, 4.0)).plane(0), model=model, recipe=recipe)
    sides = [-(-int(np.ceil(n / factor)) // 16) * 16 for n in ids.shape[1:]]
    assert model.net.calls[0][2:] == tuple(n + 2 * 64 * (n < 192) for n in sides)  # short ones have mirrored ends
    assert maps.shape == ids.shape[1:]
    labels = segment(Stack(ids, (4.0, 4.0, 4.0)), recipe, model=Oracle(), show=False)
    both = (labels.data > 0) & (ids > 0)
    assert both.sum() / ((labels.data > 0) | (ids > 0)).sum() > 0.9
    assert "were resampled" in labels.record["notes"][0]
    want = targets(ids[0].astype(np.int64)).offsets
    y, x = (int(n) for n in np.argwhere(ids[0])[len(np.argwhere(ids[0])) // 3])
    stride = maps.output_stride
    got = maps.offsets[:, y // stride, x // stride].astype(float)
    near = want[:, y // stride * stride, x // stride * stride]
    assert np.abs(got - near).max() < 3 * max(1, factor)


def test_short_sides_are_shown_with_mirrored_ends_and_maps_know_nothing_of_it() -> None:
    ids = np.kron(volume()[8:9] > 0, np.ones((1, 1, 3))).astype(np.uint8)  # 64 x 240
    model = Oracle()
    maps = predict(ids[0], model=model)
    assert model.net.calls == [(1, 1, 64 + 128, 240)]
    assert maps.shape == ids.shape[1:]
    assert np.array_equal(maps.semantic[0] > 127, ids[0] > 0)
    tiled = predict(ids[0], model=model, recipe=RECIPE.replace(tile=128, halo=32))
    assert np.array_equal(tiled.semantic, maps.semantic)
    model.spec = dataclasses.replace(model.spec, multiple=48)
    assert np.array_equal(predict(ids[0], model=model).semantic, maps.semantic)
    assert model.net.calls[-1] == (1, 1, 96 + 2 * 96, 240)


def test_a_plane_across_thick_sections_is_enlarged_along_them() -> None:
    model = Oracle()
    maps = predict(
        Stack(volume(), (40.0, 10.0, 10.0)).plane(20, "xz"), model=model, recipe=RECIPE.replace(pixel_size=10)
    )
    assert maps.shape == (16, 80)
    assert model.net.calls == [(1, 1, 64 + 128, 80 + 128)]  # 16 sections are 64 rows; short sides have mirrored ends


def test_a_pixel_size_without_a_voxel_size_is_refused() -> None:
    with pytest.raises(InputError, match="the voxel size of this image is unknown"):
        segment(volume(), RECIPE.replace(pixel_size=8), model=Oracle(), show=False)
