"""Links of Neuroglancer lead to the same place both ways; what is none is refused in words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import numpy as np
import pytest

import mitonb as mn
from mitonb.errors import InputError
from mitonb.io.neuroglancer import neuroglancer_link, read_link
from mitonb.stack import Stack
from tests.io.organelle import PLACE, make
from tests.serving import serving

if TYPE_CHECKING:
    from pathlib import Path


def link_of(state: object) -> str:
    return "https://neuroglancer-demo.appspot.com/#!" + quote(json.dumps(state))


@pytest.fixture
def far() -> Stack:
    data = np.zeros((4, 8, 16), np.uint8)
    return Stack(data, (30, 6, 5), "cell", "https://here.org/cell.ome.zarr", origin=(60, 0, -10))


def test_a_link_holds_the_state_that_neuroglancer_reads(far: Stack) -> None:
    ids = Stack(np.zeros((4, 8, 16), np.uint32), (30, 6, 5), "mito", "s3://bucket/cell.n5/labels/mito_seg")
    link = neuroglancer_link(far, ids, position=(1, 2, 3))
    state = json.loads(unquote(link.partition("#!")[2]))
    assert state["dimensions"] == {"x": [5e-9, "m"], "y": [6e-9, "m"], "z": [3e-8, "m"]}
    # In voxels of the dimensions, x first; the first voxel lies at -2, 0, 2 of them.
    assert state["position"] == [-2 + 3.5, 2.5, 2 + 1.5]
    assert [(layer["type"], layer["source"]) for layer in state["layers"]] == [
        ("image", "zarr://https://here.org/cell.ome.zarr"),
        ("segmentation", "n5://s3://bucket/cell.n5/labels/mito_seg"),
    ]
    assert state["layers"][0]["shaderControls"]["normalized"]["range"] == [*far.contrast]


def test_a_link_is_read_back_to_the_same_place(far: Stack) -> None:
    found = read_link(neuroglancer_link(far, position=(1, 2, 3)))
    assert found.images == ("zarr://https://here.org/cell.ome.zarr",)
    assert found.labels == ()
    assert np.allclose(found.position, (60 + 45, 15, -10 + 17.5))


@pytest.mark.parametrize(
    ("source", "want"),
    [
        ("n5://https://a.org/b.n5", "n5://https://a.org/b.n5"), ({"url": "zarr://s3://b/c"}, "zarr://s3://b/c"),
        ([{"url": "precomputed://gs://b/c"}, "x"], "precomputed://gs://b/c"), ("https://a.org/b.zarr/|zarr2:", "https://a.org/b.zarr/"),
    ],
)  # fmt: skip
def test_sources_are_written_in_several_ways(source, want) -> None:
    assert read_link(link_of({"layers": [{"type": "image", "source": source}]})).images == (want,)


def test_links_of_old_state_their_place_otherwise() -> None:
    pose = {"position": {"voxelSize": [4, 4, 40], "voxelCoordinates": [10, 20, 3]}}
    assert read_link(link_of({"layers": [], "navigation": {"pose": pose}})).position == (120, 80, 40)


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ("https://a.org/#!{broken", "no state"), ("https://a.org/#![1,2]", "no state"),
        ("https://a.org/#!gs://bucket/state.json", "kept on a server"), (link_of({"layers": 5}), "no state"),
        (link_of({"dimensions": {"x": [1, "m"]}, "position": [1], "layers": []}), "no state"),
    ],
)  # fmt: skip
def test_what_is_no_link_is_refused_in_words(link: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_link(link)


@pytest.mark.parametrize("number", ["NaN", "1e400", "1" + "0" * 400])
def test_a_place_that_is_no_number_is_refused(number: str) -> None:
    state = '{"dimensions": {"x": [4e-9, "m"], "y": [4e-9, "m"], "z": [4e-8, "m"]}, "position": [1, 2, %s]}'
    with pytest.raises(InputError, match="holds no state that can be read"):
        read_link(f"https://here.org/#!{quote(state % number)}")


def test_nobody_sees_a_file_of_this_machine(tmp_path: Path) -> None:
    path = mn.save(Stack(np.zeros((2, 4, 4), np.uint8), (5, 5, 5)), tmp_path / "cell.ome.zarr")
    with pytest.raises(InputError, match="on this machine"):
        neuroglancer_link(mn.open(path))
    with pytest.raises(InputError, match="voxel size"):
        neuroglancer_link(Stack(np.zeros((2, 4, 4), np.uint8), source="https://a.org/b.zarr"))


def test_labels_are_given_by_what_says_where_they_lie(far: Stack) -> None:
    link = neuroglancer_link(far, "n5://s3://bucket/cell.n5/labels/mito_seg/")
    assert read_link(link).labels == ("n5://s3://bucket/cell.n5/labels/mito_seg",)
    with pytest.raises(InputError, match="give their address"):
        neuroglancer_link(far, mn.Labels(np.zeros((4, 8, 16), np.uint32)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("position", "words"),
    [((1, 2), "three numbers"), ("here", "three numbers"), ((4, 0, 0), "outside of cell"), ((0, -1, 0), "outside"),
     ((0, float("nan"), 0), "outside")],
)  # fmt: skip
def test_a_place_that_is_none_is_refused(far: Stack, position, words: str) -> None:
    with pytest.raises(InputError, match=words):
        neuroglancer_link(far, position=position)


def test_a_pasted_link_opens_the_same_source_at_the_same_place(tmp_path: Path) -> None:
    image, ids = make(tmp_path)
    with serving(tmp_path) as server:
        stack = mn.open(f"{server.address}/jrc_drawn/jrc_drawn.n5/em/fibsem-uint8")
        assert stack.origin == PLACE
        link = neuroglancer_link(stack, position=(7, 50, 60))
        again = mn.open(link)
        assert again.source == stack.source
        assert again.focus == (7, 50, 60)
        assert again.data[7, 50, 60] == image[7, 50, 60]
        session = mn.Session(again)
        assert session.position == (7, 50, 60)
        assert mn.view(session).index == 7
        assert mn.info(link).origin == PLACE
        with pytest.raises(InputError, match="shows no labels"):
            mn.open_labels(link)
        both = neuroglancer_link(stack, f"{server.address}/jrc_drawn/jrc_drawn.n5/labels/mito_seg")
        np.testing.assert_array_equal(mn.open_labels(both).data, ids)
