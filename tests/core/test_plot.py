"""Still pictures: what is coloured, and that nothing stays behind."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from mitonb.colors import Coloring, map_colors, overlay, slots
from mitonb.errors import AxesError
from mitonb.maps import Maps
from mitonb.plot import show_maps, wheel
from mitonb.post.targets import targets
from mitonb.recipe import Recipe
from mitonb.session import Session
from mitonb.stack import Plane, Stack


def test_grey_goes_from_black_to_white_between_the_contrast_points() -> None:
    rgb = overlay(np.array([[0.0, 50.0, 100.0, np.nan]]), contrast=(0, 100))
    assert rgb[0, :, 0].tolist() == [0, 0.5, 1, 0]


def test_objects_have_the_colour_of_their_id_and_background_stays_grey() -> None:
    ids = np.array([[0, 7], [0, 7]])
    rgb = overlay(np.ones((2, 2)), ids, opacity=1.0)
    np.testing.assert_allclose(rgb[0, 1], Coloring().rgb(7), atol=1e-6)
    assert rgb[0, 0, 0] == rgb[0, 0, 1] == rgb[0, 0, 2]


def test_an_outline_leaves_the_inside_free_and_parts_touching_objects() -> None:
    ids = np.zeros((7, 9), int)
    ids[1:6, 1:4], ids[1:6, 4:8] = 1, 2
    coloured = (overlay(np.zeros((7, 9)), ids, outline=True) > 0).any(axis=2)
    assert not coloured[3, 2]
    assert coloured[3, 3]
    assert coloured[3, 4]


def test_the_contrast_of_the_stack_is_used_for_its_planes() -> None:
    image = np.zeros((3, 4, 4), np.uint8)
    image[0] = 200
    plane = Stack(image).plane(1)
    assert isinstance(plane, Plane)
    assert plane.contrast == (0, 200)
    assert overlay(np.full((4, 4), 7))[0, 0, 0] == 0  # a flat image is drawn, not divided by zero


def test_the_wheel_is_a_disc() -> None:
    disc = wheel(33)
    assert disc.shape == (33, 33, 4)
    assert disc[0, 0, 3] == 0
    assert disc[16, 32, 3] == 1


def test_a_picture_shows_itself_as_png_and_leaves_no_figure_behind() -> None:
    from matplotlib import _pylab_helpers

    before = len(_pylab_helpers.Gcf.figs)
    picture = show_maps(Maps({"$50 <b>": np.eye(3, 4)[None]}), width=5)
    assert Image.open(io.BytesIO(picture._repr_png_())).width == 500
    assert len(_pylab_helpers.Gcf.figs) == before


@pytest.mark.parametrize("step", [1, 4])
def test_maps_are_drawn_side_by_side_at_the_size_of_the_plane(step: int) -> None:
    small = (-(-16 // step), -(-20 // step))
    maps = Maps(
        {
            "semantic": np.ones((1, 16, 20), np.float32),
            "center": np.ones(small, np.float32),
            "offsets": np.ones((2, *small), np.float32),
        },
        step,
    )
    picture = show_maps(maps.kept(), np.zeros((16, 20)), labels=np.ones((16, 20), int))
    titles = [a.get_title().split(":")[0] for a in picture.axes]
    assert titles == ["image", "semantic", "center", "offsets", "objects"]
    assert {(*a.get_xlim(), *a.get_ylim()) for a in picture.axes} == {(-0.5, 19.5, 15.5, -0.5)}
    left, right, _, top = picture.axes[2].images[1].get_extent()
    assert (left, right, top) == (-step / 2, 20 - step / 2, -step / 2)  # the first map pixel stands at pixel 0
    assert picture._repr_png_().startswith(b"\x89PNG")
    assert len(show_maps(maps).axes) == 3


def test_the_objects_beside_maps_have_the_colours_of_their_volume() -> None:
    # Two neighbours whose hash is the same: on their own plane one of them gives way, in the volume the other.
    ids = np.zeros((3, 16, 20), np.uint32)
    other = next(i for i in range(2, 400) if slots(i) == slots(1))
    ids[:, :, :10], ids[:, :, 10:] = 1, other
    session = Session(labels=ids)
    session.colors.moved[1] = 3
    maps = Maps({"semantic": np.ones((1, 16, 20)), "center": np.ones((16, 20)), "offsets": np.ones((2, 16, 20))})
    drawn = show_maps(maps, labels=ids[1], colors=session).axes[-1].images[0].get_array()
    assert np.allclose(drawn[:, :10], 0.45 * session.colors.rgb(1), atol=0.01)
    assert np.allclose(drawn[:, 10:], 0.45 * session.colors.rgb(other), atol=0.01)


def test_maps_have_the_colours_of_every_view_over_the_image() -> None:
    semantic = np.linspace(0, 1, 20, dtype=np.float32)[None].repeat(16, 0)
    offsets = np.stack([semantic * 9 - 4, 3 - semantic * 5])
    maps = Maps({"semantic": semantic[None], "center": semantic, "offsets": offsets})
    inside = (semantic >= 0.3)[..., None]
    wanted = (map_colors("semantic", semantic), map_colors("center", semantic), map_colors("offsets", offsets) * inside)
    for image in (None, 9 * semantic):
        picture = show_maps(maps, image, recipe=Recipe(semantic_threshold=0.3))
        for axes, rgba in zip(picture.axes[-3:], wanted, strict=True):
            assert np.allclose(axes.images[0].get_array(), overlay(np.zeros((16, 20)) if image is None else image))
            assert np.allclose(axes.images[1].get_array(), rgba, atol=1e-6)


def test_the_recipe_decides_what_is_foreground_and_which_centers_there_are() -> None:
    drawn = np.zeros((40, 60), np.uint32)
    drawn[5:35, 4:28], drawn[5:35, 30:56] = 1, 2
    picture = show_maps(targets(drawn))
    semantic, center, offsets = picture.axes
    assert len(semantic.collections) == 1, "one line around what is foreground"
    assert len(center.lines[0].get_xydata()) == 2
    arrows = offsets.collections[0]
    ends = arrows.get_offsets() + np.stack([arrows.U, arrows.V], axis=1)
    assert np.unique(np.round(ends), axis=0).shape[0] <= 4, "arrows lead to the two centers"
    flat = Maps({"semantic": np.full((1, 8, 8), 0.6), "center": np.full((8, 8), 0.2), "offsets": np.zeros((2, 8, 8))})
    assert len(show_maps(flat).axes[1].lines[0].get_xydata()) == 0
    assert len(show_maps(flat, recipe=Recipe(center_threshold=0.1)).axes[1].lines[0].get_xydata()) == 1


def test_every_head_that_a_network_has_gets_a_panel() -> None:
    disc = np.hypot(*np.mgrid[-8:8, -10:10]) < 5
    heads = {"semantic": disc[None] * 1.0, "contour": disc[None] * 0.5, "distance": disc[None] * 4.0,
             "affinities": np.stack([disc, ~disc]) * 1.0}  # fmt: skip
    picture = show_maps(Maps(heads).kept())
    assert [a.get_title() for a in picture.axes] == [
        "semantic: is it mitochondrion?", "contour: is it an edge?", "distance: how deep inside?", "affinities",
    ]  # fmt: skip
    contour, distance = (picture.axes[k].images[1].get_array() for k in (1, 2))
    assert contour[8, 10, 3] > 0.5
    assert contour[0, 0, 3] == distance[0, 0, 3] == 0


def test_maps_of_blocks_images_of_another_size_and_what_are_no_maps_are_refused() -> None:
    maps = targets(np.ones((8, 8), np.uint32))
    with pytest.raises(AxesError, match="of a block"):
        show_maps(Maps({"contour": np.zeros((1, 4, 16, 20))}))
    with pytest.raises(AxesError, match=r"maps are of a plane of \(8, 8\) pixels, the image has \(4, 4\)"):
        show_maps(maps, np.zeros((4, 4)))
    with pytest.raises(AxesError, match="got ndarray"):
        show_maps(np.zeros((8, 8)))  # type: ignore[arg-type]


def test_what_is_no_plane_is_refused() -> None:
    with pytest.raises(AxesError, match=r"stack\.plane"):
        overlay(np.zeros((2, 3, 4)))
    with pytest.raises(AxesError, match="shape of the image"):
        overlay(np.zeros((3, 4)), np.zeros((4, 3), int))
