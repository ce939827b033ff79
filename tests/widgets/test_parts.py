"""Table, 3-D view and maps as parts of their own; and the names that no part may take from its toolkit."""

from __future__ import annotations

import gc
import importlib
import inspect
import sys
import threading
from pathlib import Path
from typing import Any

import anywidget
import imagecodecs
import ipywidgets as ipw
import numpy as np
import pytest

import mitonb.widgets
from mitonb.errors import InputError
from mitonb.labels import Labels
from mitonb.measurements import measure
from mitonb.session import Session
from mitonb.widgets.objects_table import ObjectsTable, show_table
from mitonb.widgets.runs import HistoryView
from mitonb.widgets.style import gray, png
from mitonb.widgets.viewer import view
from mitonb.widgets.volume3d import View3D, _css, show3d, still


def three() -> np.ndarray:
    """Three boxes of 8, 27 and 64 voxels."""
    ids = np.zeros((8, 20, 20), np.uint32)
    ids[1:3, 1:3, 1:3], ids[1:4, 5:8, 5:8], ids[2:6, 12:16, 12:16] = 5, 9, 300
    return ids


def filled(table: ObjectsTable) -> ObjectsTable:
    assert table.wait(60)
    return table


# The table


def shown(view: View3D) -> str:
    """Return what stands on the stage of a 3-D view, and the objects in sight."""
    visible = sorted(i for i, mesh in view.meshes.items() if mesh.visible)
    return f"{type(view.stage.children[0]).__name__}: {visible}"


def test_the_table_shows_micrometres_when_the_voxel_size_is_known_and_voxels_when_not() -> None:
    known = filled(show_table(Labels(three(), (100.0, 100.0, 100.0))))
    assert known.state().splitlines()[0] == "object | volume µm³ | voxels | length µm | z | y | x | at border"
    assert known.state().splitlines()[1].startswith("5 0.008 8 ")
    unknown = filled(show_table(three()))
    assert unknown.state().splitlines()[0] == "object | voxels | length vx | z | y | x | at border"


def test_table_and_3d_follow_a_voxel_size_that_is_set_later_and_its_undo() -> None:
    pytest.importorskip("ipyvolume")
    session = Session(labels=three())
    table, room = filled(show_table(session)), show3d(session)

    def seen() -> tuple[str, float]:
        assert room.wait(60)
        return filled(table).state().splitlines()[0].split(" | ")[1], max(room.meshes[300].z)

    unit, reach = seen()
    assert unit == "voxels"
    for nm in ((30.0, 5.0, 5.0), (60.0, 5.0, 5.0)):
        session.set_voxel_size(*nm)
        assert seen() == ("volume µm³", pytest.approx(nm[0] * reach, rel=0.1))
    session.undo()
    session.undo()
    assert seen() == ("voxels", reach)


def test_a_click_on_a_row_selects_the_object_and_goes_inside_it() -> None:
    ids = np.zeros((1, 9, 9), np.uint32)
    ids[0, 1:8, 1:8], ids[0, 2:7, 2:8] = 4, 0  # a C: its middle is outside
    session = Session(labels=ids)
    table = filled(show_table(session))
    table.grid._handle_custom_msg({"kind": "pick", "id": 4}, [])
    assert session.selection == (4,)
    assert session.pick(*session.position) == 4
    assert table.grid.selected == [4]


def test_the_table_follows_edits_and_selection() -> None:
    session = Session(labels=three())
    table = filled(show_table(session))
    session.merge(5, 9)
    session.select(300)
    assert [line.split()[0] for line in filled(table).state().splitlines()[1:]] == ["5", "300"]
    assert table.grid.selected == [300]


def test_a_click_on_an_object_that_is_gone_does_no_harm() -> None:
    session = Session(labels=three())
    table = filled(show_table(session))
    session.delete(9)
    table.grid._handle_custom_msg({"kind": "pick", "id": 9}, [])
    assert session.position == (4, 10, 10)


def test_twenty_thousand_objects_travel_in_messages_of_a_megabyte_and_newer_ones_do_not_mix_with_them() -> None:
    table = filled(show_table(np.arange(1, 20_001, dtype=np.uint32).reshape(20, 25, 40)))
    sent: list[tuple[int, bytes]] = []
    begun = threading.Event()

    def send(content: dict, buffers: list[bytes]) -> None:
        sent.append((content["at"], buffers[0]))
        begun.set()
        threading.Event().wait(0.02)  # time for the other one to come between

    table.grid.send = send
    newer = threading.Thread(target=lambda: begun.wait(60) and table.grid.fill([{}], [[7.0] * 200_000], np.zeros(3)))
    newer.start()
    old = table.grid.packs["rows"]
    table.grid._handle_custom_msg({"kind": "ready"}, [])
    newer.join()
    assert max(len(piece) for _, piece in sent) < 1_500_000
    second = [at for at, _ in sent].index(0, 1)
    assert b"".join(piece for _, piece in sent[:second]) == old
    assert b"".join(piece for _, piece in sent[second:]) == table.grid.packs["rows"]


def test_an_edit_during_the_first_measurement_is_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("mitonb.widgets.objects_table")
    measured, edited = threading.Event(), threading.Event()

    def slowly(labels: Labels, **_: object) -> object:
        table = measure(Labels(labels.data.copy()))
        measured.set()
        assert edited.wait(60)
        return table

    monkeypatch.setattr(module, "measure", slowly)
    session = Session(np.zeros((8, 20, 20), np.uint8))
    table = show_table(session)
    assert measured.wait(60)
    session.adopt(three())
    edited.set()
    assert list(filled(table).table["id"]) == [5, 9, 300]


def asked(table: ObjectsTable, kind: str, **message: object) -> None:
    table.grid._handle_custom_msg({"kind": kind, **message}, [])


def test_several_rows_are_selected_and_deleted_as_one_edit_with_its_undo() -> None:
    session = Session(labels=three())
    table = filled(show_table(session))
    sent: list[dict] = []
    table.grid.send = lambda content, buffers=None: sent.append(content)
    here = session.position
    asked(table, "select", ids=[300, 5])
    assert session.selection == (300, 5)
    assert session.position == here, "who chooses several rows is not taken away"
    session.select(300, 5, 9)
    asked(table, "delete", ids=[5, 300])
    assert session.ids() == [9]
    assert session.selection == (9,)
    edit = session.version
    assert sent[-1] == {"kind": "said", "text": "Deleted objects 5, 300.", "edit": edit}
    session.paint([[6, 10, 2]], id=7, radius=1)
    assert sent[-1] == {"kind": "said", "text": "", "edit": 0}
    asked(table, "undo", edit=edit)
    assert session.ids() == [7, 9]
    assert "Other edits came after" in table.status.value
    session.undo()
    asked(table, "undo", edit=edit)
    assert session.ids() == [5, 9, 300]
    assert table.status.value == ""


def test_what_the_session_refuses_is_on_screen_and_the_selection_as_it_was(tmp_path: Path) -> None:
    session = Session(labels=three(), path=tmp_path / "cell.mitonb")
    table = filled(show_table(session))
    session.select(9)
    asked(table, "delete", ids=[9, 77])
    assert "There is no object 77" in table.status.value
    assert session.ids() == [5, 9, 300]
    for ids in ("x", [-1], [2**32], None, list(range(1, 10_002))):
        asked(table, "select", ids=ids)
        assert "mnb-error" in table.status.value, ids
        assert (session.selection, table.grid.selected) == ((9,), [9])
    asked(table, "select", ids=[5])
    assert table.status.layout.display == "none"
    session.close()
    asked(table, "delete", ids=[5])
    assert "read-only" in table.status.value
    alone = filled(show_table(three()))
    asked(alone, "select", ids=[5, 9])
    assert alone.grid.selected == [5, 9]
    asked(alone, "delete", ids=[5])
    assert "no session" in alone.status.value
    assert not alone.grid.deletes


# The 3-D view


@pytest.fixture
def seen() -> Session:
    return Session(labels=Labels(three(), (40.0, 10.0, 10.0)))


def test_each_object_is_a_mesh_that_a_click_selects_again_and_again(seen: Session) -> None:
    view = show3d(seen)
    assert view.wait(120)
    assert shown(view) == "Figure: [5, 9, 300]"
    for key in (9, 300, 9):
        view.meshes[key].clicked = True
        assert seen.selection == (key,)
        assert view.meshes[key].clicked is False
        assert seen.pick(*seen.position) == key, "the planes go there, too"


def test_the_view_keeps_nanometres_and_turns_y_up(seen: Session) -> None:
    view = show3d(seen)
    assert view.wait(120)
    mesh = view.meshes[300]
    assert (mesh.z.min(), mesh.z.max()) == pytest.approx((60, 220), abs=8)
    assert (mesh.x.min(), mesh.x.max()) == pytest.approx((115, 155), abs=2)
    assert (mesh.y.min(), mesh.y.max()) == pytest.approx((-155, -115), abs=2)


def test_surfaces_are_lit_by_the_normals_of_their_vertices_not_facet_by_facet(seen: Session) -> None:
    import pythreejs

    view = show3d(seen)
    assert view.wait(120)
    figure = view.stage.children[0]
    # ipyvolume's own shader takes the normal of each triangle; a material of three.js takes those of the vertices.
    assert all(isinstance(mesh.material, pythreejs.MeshLambertMaterial) for mesh in view.meshes.values())
    assert figure.lights, "without a light such a material is black"


@pytest.mark.parametrize("place", [(0, 0, 0), (30, 90, 5), (38, 98, 98)])
@pytest.mark.parametrize("size", [(2, 2, 2), (2, 2, 60), (2, 60, 2), (30, 30, 30)])
def test_the_camera_sees_all_vertices_and_little_beside(place: tuple[int, ...], size: tuple[int, ...]) -> None:
    ids = np.zeros((80, 180, 180), np.uint32)
    ids[tuple(slice(a, a + n) for a, n in zip(place, size, strict=True))] = 5
    view = show3d(Labels(ids, (20.0, 10.0, 10.0)))
    assert view.wait(120)
    part = _seen(view.stage.children[0], view.meshes[5])
    assert part.max() < 1
    assert part.max(axis=0).max() > 0.85


def test_the_edges_of_the_volume_are_seen_where_objects_reach_over_most_of_it() -> None:
    ids = np.zeros((80, 180, 180), np.uint32)
    ids[:8, :8, :8] = 5
    ids[66:, 150:, 150:] = 6
    view = show3d(Labels(ids, (20.0, 10.0, 10.0)))
    assert view.wait(120)
    figure = view.stage.children[0]
    part = _seen(figure, figure.meshes[-1])
    assert part.max() < 1
    assert part.max(axis=0).max() > 0.85


def _seen(figure: ipw.Widget, mesh: ipw.Widget) -> np.ndarray:
    """Return how far vertices are from the middle of the picture, (n, 2), where 1 is its edge."""
    at = np.stack([np.asarray(getattr(mesh, a)) for a in "xyz"], axis=1)
    low, high = np.array([figure.xlim, figure.ylim, figure.zlim]).T
    # What three.js does: ipyvolume's box is one unit wide, the camera looks at its middle, its up is y.
    eye = np.array(figure.camera.position)
    back = eye / np.linalg.norm(eye)
    right = np.cross((0, 1, 0), back)
    right /= np.linalg.norm(right)
    seen = (at - low) / (high - low) - 0.5 - eye
    across = np.stack([seen @ right, seen @ np.cross(back, right)], axis=1) / -(seen @ back)[:, None]
    tall = np.tan(np.radians(figure.camera_fov / 2))
    return np.abs(across) / (tall * figure.width / figure.height, tall)


def test_only_the_selected_objects_are_shown_when_asked(seen: Session) -> None:
    view = show3d(seen)
    assert view.wait(120)
    view.only.value = True
    assert shown(view) == "Figure: [5, 9, 300]", "nothing is selected yet"
    seen.select(9)
    assert shown(view) == "Figure: [9]"
    seen.select()
    assert shown(view) == "Figure: [5, 9, 300]"


def test_objects_are_hidden_or_stand_alone(seen: Session) -> None:
    view = show3d(seen)
    assert view.wait(120)
    view.hide([5])
    assert shown(view) == "Figure: [9, 300]"
    view.hide([], [5, 9])
    assert shown(view) == "Figure: [5, 9]"
    view.hide([])
    assert shown(view) == "Figure: [5, 9, 300]"


def test_more_objects_than_ipyvolume_can_pick_are_drawn_by_mitonb(
    seen: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mitonb.widgets.volume3d._MOST_MESHES", 2)
    view = show3d(seen)
    assert view.wait(120)
    assert shown(view) == "Scene: []"
    asked = show3d(seen, engine="ipyvolume")
    assert asked.wait(120)
    assert shown(asked) == "Figure: [9, 300]", "the largest"
    assert "the 2 largest are shown" in asked.status.value
    with pytest.raises(InputError, match="auto, ipyvolume, mitonb; got 'k3d'"):
        show3d(seen, engine="k3d")


def test_colours_show_a_measure_and_the_range_is_said(seen: Session) -> None:
    view = show3d(seen)
    assert view.wait(120)
    view.color.value = "voxels"
    # Blue is the smallest of them, yellow the largest.
    assert [view.meshes[id].color.item() for id in (5, 300)] == ["#003c6e", "#faf096"]
    assert "voxels from 8 (blue) over green to 64 (yellow)" in view.status.value
    view.color.value = ""
    assert view.meshes[5].color.item() == _css(seen.colors.rgb([5])[0])


def test_planes_of_the_image_go_through_the_place_and_what_lies_before_them_is_cut(seen: Session) -> None:
    session = Session(np.zeros((8, 20, 20), np.uint8), seen.labels)
    view = show3d(session)
    assert view.wait(120)
    whole = len(view.meshes[300].triangles)
    session.move_to(3, 10, 13)
    view.planes.value = "x"
    assert view.wait(60)
    (plane,) = (one for one in view.stage.children[0].meshes if one.texture)
    assert set(plane.x) == {130.0}
    view.cut.value = True
    assert view.wait(60)
    assert 0 < len(view.meshes[300].triangles) < whole
    view.planes.value = ""
    assert view.wait(60)
    assert len(view.meshes[300].triangles) == whole
    assert not any(one.texture for one in view.stage.children[0].meshes)


def test_an_edit_asks_for_a_refresh_and_a_refresh_shows_it(seen: Session) -> None:
    view = show3d(seen)
    assert view.wait(120)
    seen.delete(5)
    assert "refresh" in view.status.value
    view.again.click()
    assert view.wait(120)
    assert shown(view) == "Figure: [9, 300]"


def test_without_webgl_there_is_a_picture_and_the_reason(seen: Session) -> None:
    view = show3d(seen)
    assert view.wait(120)
    view.probe.webgl = "This browser does not offer WebGL."
    assert view.wait(120)
    assert shown(view) == "Image: []"
    assert "This browser does not offer WebGL. This is a still picture" in view.status.value


def test_without_ipyvolume_mitonb_draws_and_the_reason_is_said(seen: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipyvolume", None)
    view = show3d(seen)
    assert view.wait(120)
    assert shown(view) == "Scene: []"
    assert "ipyvolume cannot be used here" in view.status.value


def test_an_id_that_does_not_occur_is_refused() -> None:
    with pytest.raises(InputError, match="There is no object 7 in these labels; they have 3 objects"):
        show3d(three(), [5, 7])


def test_labels_without_objects_teach_what_to_do() -> None:
    view = show3d(np.zeros((2, 4, 4), np.uint32))
    assert view.wait(60)
    assert "No objects yet" in view.stage.children[0].value


def test_the_still_picture_shows_the_nearest_object_and_nothing_beside_it() -> None:
    picture = still(Labels(three()))
    assert picture.shape == (20, 20, 4)
    assert picture[13, 13, 3] == 255
    assert picture[0, 0, 3] == 0
    assert still(Labels(three()), [5])[13, 13, 3] == 0


# The small things


def test_a_picture_is_a_png_that_holds_its_pixels() -> None:
    rgb = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert (imagecodecs.png_decode(png(rgb)) == rgb).all()
    assert imagecodecs.png_decode(png(np.dstack([rgb, rgb[..., 0]]))).shape == (2, 4, 4)


def test_what_is_not_finite_is_black() -> None:
    assert gray(np.array([[np.nan, np.inf, 5.0, 10.0]]), 0, 10)[0].tolist() == [0, 255, 128, 255]


def test_no_part_takes_a_name_that_its_toolkit_uses() -> None:
    toolkit = {ipw.VBox, ipw.HBox, ipw.Box, anywidget.AnyWidget}
    meant = {"__init__", "close", "__module__", "__doc__", "_esm", "_css", "__annotations__", "__static_attributes__",
             "__firstlineno__", "__annotate_func__", "__annotations_cache__", "_descriptors", "_traits",
             "_trait_default_generators", "_all_trait_default_generators",
             "_instance_inits", "_static_immutable_initial_values"}  # fmt: skip
    for path in Path(mitonb.widgets.__path__[0]).glob("*.py"):
        module = importlib.import_module(f"mitonb.widgets.{path.stem}" if path.stem != "__init__" else "mitonb.widgets")
        for name, found in inspect.getmembers(module, inspect.isclass):
            if found.__module__ == module.__name__ and issubclass(found, ipw.Widget):
                base = next(b for b in found.__mro__ if b in toolkit)
                taken = {n for n in vars(found) if hasattr(base, n)} - meant
                assert not taken, f"{name} takes {sorted(taken)} from {base.__name__}"


# The history


def test_an_entry_of_the_history_goes_to_its_place_or_says_why_it_has_none() -> None:
    session = Session(labels=three())
    view = HistoryView(session)
    session.paint([[6, 3, 17]], id=7, radius=1)
    session.set_voxel_size(30, 5, 5)
    assert view.wait(60)
    assert [(row["seq"], row["text"]) for row in view.lines.rows] == [
        (2, "set the voxel size to 30 x 5 x 5 nm"), (1, "painted object 7 on xy plane 6"),
    ]  # fmt: skip
    view.lines._handle_custom_msg({"kind": "go", "seq": 1}, [])
    assert session.position == (6, 3, 17)
    assert "2 edits" in view.status.value
    session.move_to(0, 0, 0)
    for seq, said in ((2, "changed no voxel"), (99, "There is no edit 99"), ("x", "mnb-error")):
        view.lines._handle_custom_msg({"kind": "go", "seq": seq}, [])
        assert said in view.status.value
        assert session.position == (0, 0, 0)
    view.go_to(1)
    assert "2 edits" in view.status.value
    session.undo()
    assert view.wait(60)
    assert [(row["seq"], row["undone"]) for row in view.lines.rows] == [(3, False), (2, True), (1, False)]


def test_to_go_through_the_history_is_said_as_one_thing() -> None:
    session, said = Session(labels=three()), list[str]()
    view = HistoryView(session)
    view.went.connect(said.append)
    session.mark_right(5)
    session.mark_false(9)
    session.unmark(5)
    for seq in (1, 3, 2):
        view.lines._handle_custom_msg({"kind": "back", "seq": seq}, [])
    assert said == ["Went back 2 edits.", "Did 2 edits again.", "Went back 1 edit."]
    view.lines._handle_custom_msg({"kind": "back", "seq": 99}, [])
    assert (len(said), "There is no way to edit 99" in view.status.value) == (3, True)


# Teaching by verdicts


def striped() -> Session:
    """Ten boxes, those with odd numbers dark and the others bright, on grey."""
    ids, image = np.zeros((2, 40, 200), np.uint32), np.full((2, 40, 200), 128, np.uint8)
    for k in range(10):
        ids[:, 10 : 30 - k % 3, 4 + 20 * k : 18 + 20 * k] = k + 1
    image[ids > 0] = np.where(ids[ids > 0] % 2, 60, 200)
    return Session(image, ids)


def test_marks_that_do_not_tell_each_other_are_said_to_be_no_better_than_a_coin() -> None:
    session = striped()
    session.mark_right(1, 2, 7, 8)
    session.mark_false(3, 4, 9, 10)
    assert "hardly better than a coin" in filled(show_table(session)).teach.state()


def test_marks_are_a_column_and_teach_what_to_drop() -> None:
    session = striped()
    table = filled(show_table(session))
    assert (table.teach.state(), table.state().splitlines()[0].split(" | ")[1]) == ("", "voxels")
    session.mark_right(1, 3)
    session.mark_false(2)
    assert "2 right, 1 false: mark 3 of each" in filled(table).teach.state()
    session.merge(7, 8)
    session.delete(9)
    said = "3 right (1 drawn or merged by hand), 2 false (1 deleted by hand): mark 3 of each"
    assert said in filled(table).teach.state()
    session.undo_to(2)
    assert table.teach.apply.layout.display == "none"
    session.mark_right(5)
    session.mark_false(4, 6)
    assert (
        filled(table).teach.state()
        == "3 right, 3 false (100% of the marks are predicted from the others): 5 of 10 objects would go"
    )
    lines = [line.split() for line in table.state().splitlines()]
    assert lines[0][:4] == ["object", "|", "verdict", "|"]
    said = {int(line[0]): float(line[1]) for line in lines[1:]}
    assert [said[id] for id in range(1, 7)] == [2, -1, 2, -1, 2, -1]
    assert min(said[7], said[9]) > 0.6 > 0.2 > max(said[8], said[10])
    # More careful, only what is marked goes.
    table.teach.below.value = 0.02
    assert table.teach.doomed == [2, 4, 6]
    table.teach.below.value = 0.3
    table.teach.show.click()
    assert session.selection == (2, 4, 6, 8, 10)
    table.teach.apply.click()
    assert session.ids() == [1, 3, 5, 7, 9]
    assert session.selection == ()
    assert session.verdicts is not None
    assert session.verdicts.below == 0.3
    assert filled(table).teach.state().endswith(": 0 of 5 objects would go")
    assert table.teach.apply.disabled
    # Another screen of the same work, as after reopening: as careful as the last drop, and nothing is judged once more.
    again = filled(show_table(session))
    assert again.teach.below.value == 0.3
    assert again.teach.state().endswith(": 0 of 5 objects would go")
    session.undo()
    assert (session.verdicts, len(session.ids())) == (None, 10)
    assert "5 of 10 objects would go" in filled(table).teach.state()


def test_what_cannot_be_dropped_is_said_in_words() -> None:
    session = striped()
    table = filled(show_table(session))
    session.mark_right(1)
    assert filled(table).teach.lesson is not None
    table.teach.apply.click()
    assert "Nothing would go: mark 3 objects of each kind" in table.status.value


@pytest.mark.parametrize("show", [show_table, show3d, view])
def test_what_is_closed_follows_the_session_no_more(show: Any) -> None:
    session = Session(labels=three())
    before = [len(signal) for signal in (session.edited, session.selected, session.moved, session.reviewing)]
    shown = show(session)
    assert len(session.edited) > before[0]
    assert not hasattr(shown, "wait") or shown.wait(60)
    shown.close()
    del shown
    gc.collect()
    assert [len(s) for s in (session.edited, session.selected, session.moved, session.reviewing)] == before
