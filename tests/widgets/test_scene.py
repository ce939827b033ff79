"""Objects in 3-D as mitonb draws them: packed, picked, saved as a page, a picture and a film."""

from __future__ import annotations

import base64
import json
import re
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import mitonb as mn
from mitonb.errors import InputError
from mitonb.labels import Labels
from mitonb.mesh import picture, surfaces
from mitonb.session import Session
from mitonb.stack import Stack
from mitonb.widgets.scene import Scene
from mitonb.widgets.volume3d import show3d
from tests.widgets.reading import unpacked

if TYPE_CHECKING:
    from pathlib import Path


def two() -> Session:
    """Two blocks, 4 (small) and 9 (large), in an image that grows brighter with x."""
    ids = np.zeros((8, 24, 32), np.uint32)
    ids[2:6, 4:8, 4:8], ids[1:7, 4:20, 14:28] = 4, 9
    image = np.broadcast_to(np.arange(32, dtype=np.uint8), ids.shape)
    return Session(Stack(image, (20.0, 10.0, 10.0), name="a </script> b"), Labels(ids, (20.0, 10.0, 10.0)))


def test_surfaces_travel_with_their_colours_and_their_measures() -> None:
    session = two()
    scene = Scene(session)
    assert scene.wait(60)
    found, measured = (unpacked(scene.packs[what]) for what in ("objects", "table"))
    assert [id for id, *_ in found["meshes"]] == [4, 9]
    assert found["points"].reshape(-1, 3).max(axis=0) == pytest.approx((275, 195, 130), abs=3)
    assert measured["ids"].tolist() == [4, 9]
    names = [one["name"] for one in measured["measures"]]
    table = dict(zip(names, measured["table"].reshape(-1, 2).tolist(), strict=True))
    assert table["voxels"] == [64, 6 * 16 * 14]
    small, large = measured["shades"].reshape(len(names), 2, 3)[names.index("voxels")].astype(int)
    assert (small[2] > small[1], large[0] > large[2]) == (True, True), "blue for few voxels, yellow for many"
    assert (found["colors"].reshape(-1, 3) == np.rint(session.colors.rgb([4, 9]) * 255)).all()


def test_the_picture_does_not_wait_for_the_table() -> None:
    session = two()
    told: list[str] = []
    before: list[list[str]] = []

    def measured() -> Any:
        before.append([*told])
        return mn.measure(session.labels)

    scene = Scene(session, lazy=True)
    scene.measured = measured
    scene.send = lambda head, _: told.append(head["what"])
    scene.refresh()
    assert scene.wait(60)
    assert before == [["objects"]]
    assert told == ["objects", "table"]


def test_a_click_selects_and_goes_there_and_a_selection_elsewhere_is_seen_here() -> None:
    session = two()
    scene = Scene(session, lazy=True)
    scene._on_message({"kind": "pick", "ids": [9], "point": [3, 5, 15]})
    assert (session.selection, session.position) == ((9,), (3, 5, 15))
    assert (scene.selected, scene.place) == ([9], [3, 5, 15])
    session.select(4)
    session.delete(4)
    assert scene.selected == [4]
    assert "refresh" in scene.note
    scene._on_message({"kind": "pick", "ids": ["x"], "point": [0, 0, 0]})
    assert "ValueError" in scene.note, "a click that fails is said"


def test_a_page_holds_all_that_it_shows_and_names_no_other_place(tmp_path: Path) -> None:
    path = mn.save3d(two(), tmp_path / "two.html", color_by="voxels", planes="z", cut=True, selected=[9])
    text = path.read_text(encoding="utf-8")
    assert "a &lt;/script&gt; b" in text
    assert not re.findall(r"(?:src|href)=|https?://(?!www.w3.org/2000/svg)", text)
    (data,) = re.findall(r'id="data">([^<]*)', text)
    objects, table, image = (unpacked(zlib.decompress(base64.b64decode(part))) for part in data.split())
    assert len(objects["meshes"]) == 2
    assert table["ids"].tolist() == [4, 9]
    assert image["image_shape"] == [8, 24, 32]
    assert (np.diff(image["image"].reshape(8, 24, 32)[3, 5].astype(int)) >= 0).all()
    state = json.loads(re.findall(r"scene.show\(.*?, ({.*}), packs\)", text)[0])
    assert (state["color_by"], state["planes"], state["cut"], state["selected"]) == ("voxels", "z", True, [9])


def test_a_page_is_of_the_labels_as_they_are_and_leaves_nothing_open(tmp_path: Path) -> None:
    session = two()
    scene = Scene(session)
    assert scene.wait(60)
    before = len(session.edited)
    session.delete(9)
    for source in (scene, session):
        text = mn.save3d(source, tmp_path / f"{id(source)}.html").read_text(encoding="utf-8")
        (data,) = re.findall(r'id="data">([^<]*)', text)
        assert len(unpacked(zlib.decompress(base64.b64decode(data.split()[0])))["meshes"]) == 1
    assert len(session.edited) == before


def test_objects_are_drawn_without_a_browser_and_a_film_turns_them_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mitonb.widgets.scene._FRAMES", 3)
    session = two()
    with Image.open(mn.save3d(session, tmp_path / "two.png", color_by="voxels")) as still:
        seen = {color for _, color in still.convert("RGB").getcolors(1 << 20)}
    assert len(seen) > 20, "it is shaded"
    with Image.open(mn.save3d(session, tmp_path / "two.gif", [9])) as film:
        assert (film.n_frames, film.info["loop"], film.size) == (3, 0, (400, 400))


def test_a_picture_shows_what_is_nearer_before_what_lies_behind_it() -> None:
    ids = np.zeros((12, 20, 20), np.uint32)
    ids[2:4, 4:16, 4:16], ids[8:10, 6:14, 6:14] = 1, 2
    found = surfaces(ids)
    red_and_green = [(1, 0, 0), (0, 1, 0)]
    for yaw, seen in ((0.0, 0), (np.pi, 1)):
        rgba, scale = picture(found, red_and_green, yaw=yaw, pitch=0, size=64)
        assert rgba[32, 32, :3].argmax() == seen
        assert rgba[32, 32, 3] == 255
        assert rgba[1, 1, 3] == 0
        wide = np.ptp(np.flatnonzero(rgba[32, :, 3]))
        assert wide * scale == pytest.approx(12, abs=1), "twelve voxels across"


@pytest.mark.parametrize(
    ("name", "look", "said"),
    [
        ("x.obj", {}, "saved as .html, .png, .gif, .mp4; got 'x.obj'"),
        ("x.png", {"color_by": "beauty"}, "no measure 'beauty' to colour by. Measures: volume_um3, voxels"),
        ("x.png", {"colour": "voxels"}, "got 'colour'"),
        ("x.html", {"planes": "q"}, "planes"),
        ("x.html", {"ids": [99]}, "no object 99; they have 2 objects"),
    ],
)
def test_what_cannot_be_saved_is_said(tmp_path: Path, name: str, look: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        mn.save3d(two(), tmp_path / name, **look)
    assert not list(tmp_path.iterdir())


def test_what_is_there_stays_unless_asked_also_by_the_button(tmp_path: Path) -> None:
    session, target = two(), tmp_path / "two.png"
    target.write_text("mine")
    with pytest.raises(InputError, match=r"two\.png already exists\. Pass overwrite=True"):
        mn.save3d(session, target)
    view = show3d(session)
    view.path.value = str(target)
    view.to_save.click()
    assert view._save.wait(60)
    assert "two.png already exists. Tick replace" in view.status.value
    assert target.read_text() == "mine"
    view.replace.value = True
    view.to_save.click()
    assert view._save.wait(60)
    assert "Saved" in view.status.value
    with Image.open(target) as picture:
        assert picture.size == (800, 800)
