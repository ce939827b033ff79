"""Still pictures: what is coloured, and that nothing stays behind."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from mitonb.colors import hues
from mitonb.errors import AxesError
from mitonb.maps import Maps
from mitonb.plot import offset_colors, overlay, show_maps, show_plane, wheel
from mitonb.stack import Plane, Stack


def test_grey_goes_from_black_to_white_between_the_contrast_points() -> None:
    rgb = overlay(np.array([[0.0, 50.0, 100.0, np.nan]]), contrast=(0, 100))
    assert rgb[0, :, 0].tolist() == [0, 0.5, 1, 0]


def test_objects_have_the_colour_of_their_id_and_background_stays_grey() -> None:
    ids = np.array([[0, 7], [0, 7]])
    rgb = overlay(np.ones((2, 2)), ids, opacity=1.0)
    np.testing.assert_allclose(rgb[0, 1], hues(7), atol=1e-6)
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


def test_offsets_to_the_right_are_red_and_none_is_white() -> None:
    offsets = np.zeros((2, 1, 3))
    offsets[1, 0, 0], offsets[0, 0, 1] = 4, 2
    rgb = offset_colors(offsets, longest=4)
    np.testing.assert_allclose(rgb[0, 0], [1, 0.25, 0.25], atol=1e-6)
    np.testing.assert_allclose(rgb[0, 1], 1 - 0.5 * (0.5 - 0.5 * np.cos(np.pi / 2 - np.arange(3) * 2 * np.pi / 3)))
    assert rgb[0, 2].tolist() == [1, 1, 1]


def test_the_wheel_is_a_disc() -> None:
    disc = wheel(33)
    assert disc.shape == (33, 33, 4)
    assert disc[0, 0, 3] == 0
    assert disc[16, 32, 3] == 1


def test_a_plane_shows_itself_as_png_and_leaves_no_figure_behind() -> None:
    from matplotlib import _pylab_helpers

    before = len(_pylab_helpers.Gcf.figs)
    picture = show_plane(np.arange(12.0).reshape(3, 4), np.eye(3, 4, dtype=int), title="$50 <b>")
    assert Image.open(io.BytesIO(picture._repr_png_())).width == 500
    assert len(_pylab_helpers.Gcf.figs) == before


@pytest.mark.parametrize("step", [1, 4])
def test_maps_are_drawn_side_by_side_at_the_size_of_the_plane(step: int) -> None:
    small = (-(-16 // step), -(-20 // step))
    maps = Maps(np.ones((1, 16, 20), np.float32), np.ones(small, np.float32), np.ones((2, *small), np.float32), step)
    picture = show_maps(maps.kept(), np.zeros((16, 20)), peaks=np.array([[4, 5]]), labels=np.ones((16, 20), int))
    titles = [a.get_title().split(":")[0] for a in picture.axes]
    assert titles == ["image", "semantic", "center", "offsets", "objects"]
    assert {(*a.get_xlim(), *a.get_ylim()) for a in picture.axes} == {(-0.5, 19.5, 15.5, -0.5)}
    left, right, _, top = picture.axes[2].images[0].get_extent()
    assert (left, right, top) == (-step / 2, 20 - step / 2, -step / 2)  # the first map pixel stands at pixel 0
    assert picture._repr_png_().startswith(b"\x89PNG")
    assert len(show_maps(maps).axes) == 3


def test_what_is_no_plane_is_refused() -> None:
    with pytest.raises(AxesError, match=r"stack\.plane"):
        overlay(np.zeros((2, 3, 4)))
    with pytest.raises(AxesError, match="shape of the image"):
        overlay(np.zeros((3, 4)), np.zeros((4, 3), int))
    with pytest.raises(AxesError, match="dy and dx"):
        offset_colors(np.zeros((3, 4, 4)))
