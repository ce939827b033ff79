"""The workbench: a script calls what the buttons call, thresholds act without the net, and every failure is said."""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import mitonb as mn
from mitonb.colors import neighbors, slots
from mitonb.errors import InputError
from mitonb.models.spec import ModelSpec
from mitonb.models.weights import write_weights
from mitonb.models.zoo import build, import_model
from mitonb.recipe import Recipe, Verdicts
from mitonb.session import Session
from mitonb.stack import Stack
from mitonb.widgets.app import App, explore
from mitonb.widgets.forms import FORMATS
from tests.infer.oracle import Oracle, volume

if TYPE_CHECKING:
    from pathlib import Path

RECIPE = Recipe(min_area=4, min_size=4, min_span=1, tile=0)


@pytest.fixture
def app() -> App:
    """A workbench on drawn ids, with a model that knows the answer."""
    app = explore(Stack(volume(), (10.0, 10.0, 10.0), name="drawn"), recipe=RECIPE)
    app.runs._models = {"mito-mini": Oracle()}
    return app


def settled(app: App) -> App:
    assert app.wait(60)
    return app


def test_an_empty_workbench_teaches_what_to_do(app: App) -> None:
    assert settled(app).session.ids() == []
    assert (app.viewer.axis, app.viewer.index, app.viewer.preview("xy", 8)) == ("xy", 8, None)
    assert str(app.session.save_state) == "in memory only"
    assert app.table.state() == "object | volume µm³ | voxels | length µm | z | y | x | at border"
    assert "No objects yet" in app.table.grid.empty


def test_the_plane_on_screen_is_segmented_by_a_call_a_click_and_a_key(app: App) -> None:
    for ask in (app.run_plane, app.run_bar.buttons["plane"].click, lambda: app.viewer.asked.emit("segment-plane")):
        ask()
        assert app.run_bar.job is not None
        assert app.run_bar.job.wait(60)
    assert app.runs.net_runs == 3
    assert "xy plane 8 segmented." in app.run_bar.message.value
    assert len(settled(app).session.ids()) == 4
    assert app.session.labels.data.any(axis=(1, 2)).sum() == 1


def test_a_segmented_plane_takes_over_the_ids_of_what_it_covers(app: App) -> None:
    app.run_plane().result(60)
    first = app.session.labels.data[8].copy()
    app.run_plane().result(60)
    assert (app.session.labels.data[8] == first).all()
    app.viewer.index = 9
    app.run_plane().result(60)
    both = (app.session.labels.data[9] > 0) & (first > 0)
    assert (app.session.labels.data[9][both] == first[both]).mean() > 0.95
    assert len(app.session.ids()) == 4


def test_a_threshold_is_previewed_without_the_net_and_applied_as_one_edit(app: App) -> None:
    app.run_plane().result(60)
    settled(app)
    version, calls = app.session.version, len(app.runs.model("mito-mini").net.calls)
    app.form.controls["min_area"].value = 550
    preview = settled(app).viewer.preview("xy", 8)
    assert preview is not None
    assert 0 < len(np.unique(preview)) - 1 < 4
    assert app.session.version == version, "a preview is no edit"
    app.apply_plane()
    assert app.session.version == version + 1
    assert ((app.session.labels.data[8] > 0) == (preview > 0)).all()
    assert settled(app).viewer.preview("xy", 8) is None
    assert len(app.runs.model("mito-mini").net.calls) == calls
    app.session.undo()
    assert len(app.session.ids()) == 4


def test_a_preview_has_the_names_and_colours_of_the_objects_that_it_replaces(app: App) -> None:
    app.run_plane().result(60)
    session = app.session
    # Names that decoding would not choose.
    session.adopt(np.where(session.labels.data > 0, session.labels.data + 70, 0))
    before, old = {i: session.colors.slot(i) for i in session.ids()}, session.labels.data[8].copy()
    version = session.version
    app.form.controls["min_area"].value = 550
    preview = settled(app).viewer.preview("xy", 8)
    assert preview is not None
    shown = set(np.unique(preview[preview > 0]).tolist())
    assert shown
    assert shown < set(before)
    assert (preview[preview > 0] == old[preview > 0]).all()
    assert {i: session.colors.slot(i) for i in before} == before, "a preview recolours nothing"
    assert (session.version, session.ids()) == (version, sorted(before))


def test_a_preview_shows_what_applying_it_gives_also_beside_corrections(app: App) -> None:
    app.run_plane().result(60)
    session = app.session
    small, large = (sorted(session.ids(), key=session.voxels)[k] for k in (0, -1))
    session.paint([[8, 60, 5]], id=small, radius=2)
    app.form.controls["min_area"].value = 550
    for replaces in (False, True):
        app.run_bar.replace.value = replaces
        preview = settled(app).viewer.preview("xy", 8)
        assert preview is not None
        assert (preview == small).any() != replaces
        assert (preview == large).any()
        app.apply_plane()
        assert (session.labels.data[8] == preview).all()
        session.undo()
        app._previewing = True


def test_what_is_new_in_a_preview_has_a_free_name_and_another_colour_than_its_neighbours(app: App) -> None:
    app.run_plane().result(60)
    session = app.session
    # One object is left, and it has the very colour that the hash gives to the names that are free next.
    first = session.labels.data[8].copy()
    stays = int(first[20, 18])
    free = 4096 + 3
    hashed = next(i for i in range(free - 1, 1, -1) if slots(i) == slots(free))
    plain = np.zeros(session.shape, np.uint32)
    plain[8][first == stays] = hashed
    plain[0, 0, 0] = free - 1
    session.delete(*session.ids())
    session.adopt(plain, replace_corrected=True)
    slot = session.colors.slot(hashed)
    assert session.free_ids(1) == [free]
    app.form.controls["min_area"].value = 5
    preview = settled(app).viewer.preview("xy", 8)
    assert preview is not None
    new = set(np.unique(preview[preview > 0]).tolist()) - {hashed}
    assert len(new) == 3
    assert all(session.is_free(i) for i in new)
    assert session.colors.slot(hashed) == slot
    pairs = neighbors(preview[None]).tolist()
    assert any(hashed in pair for pair in pairs)
    assert all(session.colors.slot(a) != session.colors.slot(b) for a, b in pairs)
    app.apply_plane()
    assert session.colors.slot(hashed) == slot


def test_going_back_to_the_settings_of_the_labels_drops_the_preview(app: App) -> None:
    app.run_plane().result(60)
    settled(app)
    before = app.form.controls["min_area"].value
    app.form.controls["min_area"].value = 550
    assert settled(app).viewer.preview("xy", 8) is not None
    app.form.controls["min_area"].value = before
    assert settled(app).viewer.preview("xy", 8) is None
    assert "no preview" in app.run_bar.message.value


def test_escape_drops_the_preview_and_keeps_the_settings(app: App) -> None:
    app.run_plane().result(60)
    app.form.controls["min_area"].value = 550
    assert settled(app).viewer.preview("xy", 8) is not None
    app.viewer.asked.emit("discard-preview")
    assert settled(app).viewer.preview("xy", 8) is None
    assert app.form.recipe.min_area == 550
    app.form.controls["min_area"].value = 560
    assert settled(app).viewer.preview("xy", 8) is not None


def test_a_threshold_that_is_moved_while_the_plane_is_segmented_is_previewed_after_it(app: App) -> None:
    moved = threading.Event()

    def wait_for_the_hand(*_: object) -> None:
        assert moved.wait(60)

    app.runs.model("mito-mini").net.register_forward_pre_hook(wait_for_the_hand)
    job = app.run_plane()
    app.form.controls["min_area"].value = 550
    moved.set()
    job.result(60)
    preview = settled(app).viewer.preview("xy", 8)
    assert preview is not None
    assert len(np.unique(preview)) - 1 < len(app.session.ids()) == 4
    app.form.controls["min_area"].value = RECIPE.min_area
    assert settled(app).viewer.preview("xy", 8) is None, "these are the settings that made the labels"


def test_a_threshold_on_a_plane_that_the_net_has_not_seen_says_what_to_do(app: App) -> None:
    app.form.controls["center_threshold"].value = 0.3
    assert "segment it once" in settled(app).run_bar.message.value
    app.run_bar.asked.emit("apply-plane")
    assert "There is no preview of this plane" in app.run_bar.message.value


def test_the_volume_is_one_edit_and_is_decoded_again_without_the_net(app: App) -> None:
    app.run_volume().result(120)
    settled(app)
    assert len(app.session.ids()) == 4
    assert "4 objects found." in app.run_bar.message.value
    assert len(app.session.history()) == 1
    calls = len(app.runs.model("mito-mini").net.calls)
    app.form.controls["min_size"].value = 4200
    assert not app.run_bar.buttons["apply-volume"].disabled
    app.run_bar.buttons["apply-volume"].click()
    assert app.run_bar.job is not None
    assert app.run_bar.job.result(120) is not None
    assert 0 < len(app.session.ids()) < 4
    assert len(app.runs.model("mito-mini").net.calls) == calls
    app.session.undo()
    assert len(app.session.ids()) == 4


def test_what_a_run_has_to_say_is_on_screen(app: App) -> None:
    app.form.controls["downsampling"].value = 8
    app.run_volume().result(120)
    said = app.run_bar.message.value
    assert "found. The network sees xy planes of" in said


def test_the_preview_of_a_volume_run_is_what_applying_it_gives(app: App) -> None:
    app.run_volume().result(120)
    app.form.controls["semantic_threshold"].value = 0.6
    preview = settled(app).viewer.preview("xy", 8)
    assert preview is not None
    app.apply_volume().result(120)
    assert ((app.session.labels.data[8] > 0) == (preview > 0)).all()


def test_a_cancelled_run_changes_nothing_and_says_so(app: App) -> None:
    app.session.paint([(2, 10, 10)], id=7, radius=3)
    before, version = app.session.labels.data.copy(), app.session.version
    job = app.run_volume()
    app.run_bar.cancel()
    assert job.wait(120)
    if job.state == "cancelled":
        assert (app.session.labels.data == before).all()
        assert app.session.version == version
        assert "cancelled; nothing was changed." in app.run_bar.message.value
    assert not app.run_bar.busy


def test_an_image_of_nothing_but_nan_is_said_and_what_was_painted_stays() -> None:
    app = explore(np.full((4, 32, 32), np.nan, np.float32), recipe=RECIPE)
    app.runs._models = {"mito-mini": Oracle()}
    app.session.paint([(2, 8, 8)], id=7, radius=3)
    painted = app.session.labels.data.copy()
    for run in (app.run_plane, app.run_volume):
        run().wait(60)
        assert app.run_bar.job is not None
        assert app.run_bar.job.state == "failed"
        assert "mnb-error" in app.run_bar.message.value
        assert "NaN" in app.run_bar.message.value
    assert (app.session.labels.data == painted).all()


def test_labels_without_an_image_say_why_nothing_can_run() -> None:
    app = explore(labels=volume())
    assert all(button.disabled and "no image" in button.tooltip for button in app.run_bar.buttons.values())
    app.run_plane().wait(60)
    assert "There is no image to run on" in app.run_bar.message.value
    assert len(app.session.ids()) == 4


def test_a_model_that_does_not_exist_is_a_sentence(app: App) -> None:
    app.form.controls["model"].value = "mito-nowhere"
    assert app.run_plane().wait(60)
    assert "mnb-error" in app.run_bar.message.value
    assert "mito-nowhere" in app.run_bar.message.value


def test_history_shows_every_edit_as_a_line_of_python(app: App) -> None:
    app.session.paint([(8, 20, 18)], id=7, radius=3)
    app.session.merge(7, 9) if 9 in app.session.ids() else app.session.delete(7)
    app.session.undo()
    settled(app)
    assert app.history.lines.rows[-1]["text"].startswith("painted object 7")
    app.history.as_code.value = True
    assert "session.paint(" in app.history.code.value
    assert app.history.lines.layout.display == "none"


def test_the_history_copied_as_code_makes_the_same_labels_again_also_after_undo_and_redo(app: App) -> None:
    session = app.session
    start = session.labels.data.copy()
    session.paint([(8, 20, 18)], id=7, radius=3)
    session.paint([(8, 40, 18)], id=9, radius=3)
    session.delete(9)
    session.undo()
    session.redo()
    session.undo()
    app.history.as_code.value = True
    again = Session(Stack(volume()), start)
    exec(app.history.code.value.replace("app.session", "again"), {"again": again})
    assert (again.labels.data == session.labels.data).all()


def test_saving_by_the_form_is_saving_by_the_session(app: App, tmp_path: Path) -> None:
    app.run_plane().result(60)
    saved = app.saver.save(tmp_path / "labels.tif")
    assert saved is not None
    assert (mn.open(saved).read() == app.session.labels.data).all()
    assert app.save(tmp_path / "objects.csv").read_text().count("\n") == 5
    app.table.measure_also("grey")
    for ending, read in ((".xlsx", pd.read_excel), (".parquet", pd.read_parquet)):
        pytest.importorskip({".xlsx": "openpyxl", ".parquet": "pyarrow"}[ending])
        app.saver.format.value = next(name for name, given in FORMATS.items() if given == ending)
        done = app.saver.save(tmp_path / f"objects{ending}")
        assert done is not None, app.saver.message.value
        assert read(done)["mean_intensity"].notna().sum() == 4
    with pytest.raises(InputError, match="labels"):
        app.save(tmp_path / "labels.tif")


def test_a_project_is_brought_back_with_its_labels_and_history(tmp_path: Path) -> None:
    project = tmp_path / "cell.mitonb"
    stack = Stack(volume(), name="drawn")
    app = explore(stack, path=project)
    app.session.paint([(8, 20, 18)], id=7, radius=3)
    painted = app.session.labels.data.copy()
    app.session.close()
    again = explore(stack, path=project)
    assert (again.session.labels.data == painted).all()
    assert str(again.session.save_state) == "saved"
    assert "painted object 7" in again.history.lines.rows[0]["text"]
    again.history.as_code.value = True
    exec(again.history.code.value, cell := {})
    assert (cell["session"].labels.data == painted).all()
    again.session.close()


def test_without_a_stack_the_workbench_asks_for_one(tmp_path: Path) -> None:
    np.save(tmp_path / "cell.npy", volume())
    app = explore()
    assert (app.session, app.opener.stack, app.opener.path.value) == (None, None, "")
    app.opener.open_path(tmp_path / "cell.npy")
    assert app.session is not None
    assert app.session.shape == volume().shape
    assert "<b>cell" in app.about.value
    app.voxel_size.fields[0].value = 12
    app.voxel_size.choose()
    assert app.session.voxel_size == (12, 12, 12)
    assert app.voxel_size.layout.display == "none"


def test_the_name_of_a_stack_is_never_html() -> None:
    app = explore(Stack(volume(), name="<script>alert(1)</script>"))
    assert "<script" not in app.about.value


def test_exploring_and_correcting_need_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys, numpy as np; from mitonb.widgets.app import explore\n"
        "app = explore(np.zeros((2, 8, 8), np.uint8)); app.session.paint([(0, 4, 4)], id=1, radius=2)\n"
        "assert not {'torch', 'ipyvolume', 'matplotlib'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_corrected_objects_are_kept_by_every_run_and_the_bar_says_how_many(app: App) -> None:
    app.run_volume().result(120)
    settled(app)
    session = app.session
    one, two = session.pick(8, 20, 18), session.pick(8, 48, 30)
    session.erase([[8, 20, 18]], radius=3, only=one)
    session.delete(two)
    corrected = session.labels.data.copy()
    assert (corrected == one).sum() > 0
    for run in (app.run_plane, app.run_volume, app.apply_volume):
        run().result(120)
        assert "1 corrected object kept, 1 that you had erased left out." in app.run_bar.message.value, run
        assert ((session.labels.data > 0) == (corrected > 0)).all(), run
        assert ((session.labels.data == one) == (corrected == one)).all(), run
    app.form.controls["min_area"].value = 5
    assert settled(app).viewer.preview("xy", 8) is not None
    app.apply_plane()
    assert "1 corrected object kept" in app.run_bar.message.value
    assert ((session.labels.data == one) == (corrected == one)).all()
    app.run_bar.replace.value = True
    app.run_plane().result(120)
    assert "kept" not in app.run_bar.message.value
    assert session.labels.data[8, 20, 18] > 0
    assert session.labels.data[8, 48, 30] > 0
    assert session.labels.data[7, 48, 30] == 0
    app.run_volume().result(120)
    assert len(session.ids()) == 4


def test_corrections_made_while_the_volume_is_segmented_are_kept(app: App) -> None:
    painted = threading.Event()

    def wait_for_the_hand(*_: object) -> None:
        assert painted.wait(60)

    app.runs.model("mito-mini").net.register_forward_pre_hook(wait_for_the_hand)
    job = app.run_volume()
    mine = app.session.paint([[8, 20, 18]], id=None, radius=9).id
    elsewhere = app.session.paint([[8, 2, 76]], id=None, radius=1).id
    painted.set()
    job.result(120)
    assert "2 corrected objects kept." in app.run_bar.message.value
    assert app.session.voxels(mine) == 253  # pixels of a disk with a radius of 9
    assert app.session.voxels(elsewhere) == 5
    assert {mine, elsewhere} < set(app.session.ids())


def test_the_maps_of_a_plane_can_be_looked_at_without_touching_its_labels(app: App) -> None:
    app.session.paint([[8, 20, 18]], id=None, radius=3)
    version = app.session.version
    app.run_bar.buttons["maps"].click()
    assert app.run_bar.job is not None
    app.run_bar.job.result(60)
    assert settled(app).session.version == version
    assert app.runs.maps("xy", 8) is not None
    assert app.viewer.layers["semantic"]["visible"]
    assert "the labels are as they were" in app.run_bar.message.value
    app.form.controls["min_area"].value = 5
    assert settled(app).viewer.preview("xy", 8) is not None


def test_a_run_says_what_it_did_with_an_undo_that_goes_when_another_edit_comes(app: App) -> None:
    bar = app.run_bar
    assert bar.undo.layout.display == "none"
    app.run_plane().result(60)
    assert settled(app).session.ids()
    assert "xy plane 8 segmented." in bar.message.value
    assert bar.undo.layout.display != "none"
    bar.undo.click()
    assert not app.session.ids()
    assert "Undone: segmented xy plane 8." in bar.message.value
    assert bar.undo.layout.display == "none"
    app.run_volume().result(120)
    assert "4 objects found." in bar.message.value
    assert bar.undo.layout.display != "none"
    app.session.paint([[8, 20, 18]], id=None, radius=3)
    assert bar.undo.layout.display == "none"
    assert "4 objects found." in bar.message.value
    app.session.undo()
    # The same labels once more are no edit that could be undone.
    app.apply_volume().result(120)
    assert bar.undo.layout.display == "none"
    app.form.controls["min_area"].value = 550
    settled(app).apply_plane()
    assert "Applied to xy plane 8." in bar.message.value
    assert bar.undo.layout.display != "none"
    app.look_at_maps().result(60)
    assert bar.undo.layout.display == "none", "it would stand beside another sentence"


def test_an_undo_beside_a_sentence_never_takes_another_edit(app: App) -> None:
    app.run_plane().result(60)
    asked = app.run_bar.undone.emit
    old = app.session.version
    app.session.paint([[8, 2, 70]], id=None, radius=1)
    before = app.session.labels.data.copy()
    asked(old)  # the click was on its way
    assert (app.session.labels.data == before).all()
    assert "Other edits came after" in app.run_bar.message.value


def test_without_a_voxel_size_three_scales_of_a_plane_are_compared_and_one_click_chooses(app: App) -> None:
    assert app.to_scales.layout.display == "none", "its voxel size is known"
    app = explore(Stack(volume()), recipe=RECIPE)
    app.runs._models = {"mito-mini": Oracle()}
    assert app.to_scales.layout.display == ""
    app.to_scales.click()
    assert app.run_bar.job is not None
    found = app.run_bar.job.result(60)
    assert list(found) == [1, 2, 4]
    assert len(np.unique(found[1])) - 1 == 4
    assert not app.session.ids(), "it is a look, no edit"
    assert next(part.children[1].description for part in app.scales.children) == "full size: 4 objects"
    app.scales.children[1].children[1].click()
    assert app.form.recipe.downsampling == 2
    assert app.scales.layout.display == "none"
    app.session.set_voxel_size(5, 5, 5)
    assert app.to_scales.layout.display == "none"


# In marimo, of which a stand-in has the one function that is asked: the real one is no dependency of the tests.


@pytest.fixture
def in_marimo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    marimo = ModuleType("marimo")
    marimo.running_in_notebook = lambda: True  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "marimo", marimo)
    return marimo


def test_in_marimo_the_reason_is_said_and_what_to_do(in_marimo: ModuleType) -> None:
    with pytest.raises(InputError, match=r"marimo does not show ipywidgets.*mn\.view"):
        explore(volume())


def test_where_marimo_is_only_loaded_the_workbench_is_opened(in_marimo: ModuleType) -> None:
    in_marimo.running_in_notebook = lambda: False  # type: ignore[attr-defined]
    assert isinstance(explore(Stack(volume())), App)


def test_later_runs_leave_out_what_verdicts_call_false_until_that_is_undone(app: App) -> None:
    app.run_volume().result(60)
    settled(app)
    assert len(app.session.ids()) == 4
    app.session.mark_false(1)
    # The drawing is as grey as its ids: 1 and 2 are below 2.5.
    low, high = app.session.stack.contrast
    dark = Verdicts(features=(("grey", 1.0, (2.5 - low) / (high - low), 0.05),), bias=0.0)
    app.session.drop_false(1, 2, verdicts=dark)
    assert app.form.recipe.verdicts == dark
    assert app.form.controls["verdicts"].said.value == "0 right, 0 false, dropped below 0.2"
    app.session.adopt(np.zeros_like(app.session.labels.data), replace_corrected=True)
    for run in (app.run_volume, app.apply_volume, app.run_plane):
        run().result(60)
        assert set(np.unique(volume()[app.session.labels.data > 0])) - {0} == {3, 4}, run
    while app.session.verdicts is not None:
        app.session.undo()
    assert app.form.recipe.verdicts is None
    # The recipe of a form that was told of verdicts otherwise is left alone by other edits.
    app.form.recipe = app.form.recipe.replace(verdicts=dark)
    app.session.delete(app.session.ids()[0])
    assert app.form.recipe.verdicts == dark
    app.form.controls["verdicts"].forget.click()
    assert app.form.recipe.verdicts is None


def test_the_recipe_of_the_last_run_is_there_again_when_the_cell_is_run_again(tmp_path: Path) -> None:
    stack, labels = mn.phantom((4, 64, 64), objects=2)
    recipe = Recipe(downsampling=2, center_threshold=0.4)
    with Session(stack, path=tmp_path / "cell.mitonb") as session:
        session.adopt(dataclasses.replace(labels, record={"recipe": json.loads(recipe.to_json())}))
    app = explore(path=tmp_path / "cell.mitonb")
    assert app.form.recipe == recipe
    assert explore(app.session, recipe=Recipe()).form.recipe == Recipe()
    app.session.adopt(dataclasses.replace(labels, record={"recipe": {"no such field": 1}}))
    assert explore(app.session).form.recipe == Recipe()


def test_the_recipe_of_one_project_is_not_that_of_the_next() -> None:
    stack, labels = mn.phantom((4, 64, 64), objects=2)
    app = App()
    session = Session(stack)
    session.adopt(dataclasses.replace(labels, record={"recipe": json.loads(Recipe(downsampling=2).to_json())}))
    app.start(session)
    assert app.form.recipe == Recipe(downsampling=2)
    app.start(Session(stack))
    assert app.form.recipe == Recipe()


def test_later_runs_use_the_model_that_strokes_taught_until_that_is_undone(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MITONB_MODEL_DIR", str(tmp_path))
    spec = ModelSpec(name="new", heads=("semantic",), config={"widths": [4, 8], "depths": [1, 1]})
    write_weights(build(spec), spec, tmp_path / "tiny.safetensors")
    import_model(tmp_path / "tiny.safetensors", "new")
    button = app.run_bar.buttons["learn"]
    assert button.layout.display == "none"
    app.session.teach_mito([[8, 1, 1], [8, 5, 5]], radius=2)
    app.session.teach_not([[8, 9, 1]], radius=2)
    assert (button.description, button.layout.display) == ("Learn from 2 strokes", None)
    app.session.use_model("new", instead="mito-mini", strokes=2)
    assert app.form.recipe.model == "new"
    # Another screen of the same work, as after reopening.
    assert explore(app.session).form.recipe.model == "new"
    app.session.undo()
    assert app.form.recipe.model == "mito-mini"
    app.session.redo()
    # What the user chose since stays, and so does what is not here.
    app.form.recipe = app.form.recipe.replace(model="mito-open")
    app.session.undo()
    assert app.form.recipe.model == "mito-open"
    app.session.use_model("elsewhere", instead="mito-open", strokes=2)
    assert app.form.recipe.model == "mito-open"
    while app.session.strokes:
        app.session.undo()
    assert button.layout.display == "none"


def test_what_strokes_cannot_teach_is_said(app: App) -> None:
    app.session.teach_mito([[8, 1, 1], [8, 5, 5]], radius=2)
    app.learn_from_strokes().wait(60)
    assert "A model learns from strokes of both kinds." in app.run_bar.message.value
    assert app.session.taught is None


def test_after_a_run_the_workbench_says_what_to_check(app: App) -> None:
    app.run_volume().result(60)
    settled(app)
    assert app.table.review.wait(60)
    assert app.table.review.state().startswith("0 of 4 seen. N goes to the first.")
    judged = [app.table.review.judge(verb) or app.session.doubt for verb in ("next", "mark_right")]
    assert all(doubt is not None and doubt.id in app.session.ids() for doubt in judged)
    assert len(app.session.marks) == 1  # the first press only went to the first doubt
    assert app.table.review.wait(60)
    assert app.table.review.state().startswith("1 of 4 seen")
    assert settled(app).table.state().splitlines()[0].startswith("object | verdict | doubt | ")
    app.table.review.order.value = "random"
    app.table.review.judge("next")
    assert app.session.doubt is not None
    app.session.undo()
    app.session.mark_unsure(doubt := app.session.doubt.id)
    row = next(line for line in settled(app).table.state().splitlines()[1:] if line.startswith(f"{doubt} "))
    assert row.split()[1] == "-3"
    app.session.undo()
    assert len(app.session.open_doubts()) == 4


def test_the_object_that_the_model_finds_in_a_place_is_taken_through_all_planes_with_maps(app: App) -> None:
    truth = volume()
    z, y, x = 8, *np.argwhere(truth[8] > 0)[0].tolist()
    with pytest.raises(InputError, match="has not seen xy plane 8"):
        app.take_object((z, y, x))
    app.look_at_maps().result(60)
    settled(app)
    one = app.take_object((z, y, x))
    assert app.session.selection == (one.id,)
    assert (app.session.labels.data[8] == one.id).sum() == pytest.approx((truth[8] == truth[z, y, x]).sum(), rel=0.1)
    assert app.session.labels.data.any(axis=(1, 2)).sum() == 1, "only there are maps"
    with pytest.raises(InputError, match=f"Object {one.id} is here already"):
        app.take_object((z, y, x))
    empty = np.argwhere((truth[8] == 0) & (app.session.labels.data[8] == 0))[0].tolist()
    with pytest.raises(InputError, match="finds nothing at"):
        app.take_object((8, *empty))
    app.run_volume().result(120)
    app.session.delete(*app.session.ids())
    app.session.move_to(z, y, x)
    app.viewer.asked.emit("take-object")
    (id,) = app.session.ids()
    found, wanted = app.session.labels.data == id, truth == truth[z, y, x]
    assert (found & wanted).sum() > 0.9 * (found | wanted).sum()
    app.session.move_to(8, *empty)
    said: list[dict[str, Any]] = []
    app.viewer.send = lambda message, buffers=None: said.append(message)  # type: ignore[method-assign]
    app.viewer.asked.emit("take-object")
    assert said[-1]["kind"] == "notice"
    assert said[-1]["error"]
    assert "finds nothing at" in said[-1]["text"]
