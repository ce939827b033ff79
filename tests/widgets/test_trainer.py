"""The form that trains: it says what there is, runs, stops and goes on, compares, warns, and registers a model."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest

import mitonb as mn
from mitonb.errors import InputError
from mitonb.learn.data import Source
from mitonb.learn.runs import NETS, Trained
from mitonb.learn.scoring import FALSE, MISSED, REFERENCE, RIGHT, Judged, held_patches, judging, won_and_lost
from mitonb.models.folder import installed_as, model_folder
from mitonb.models.spec import ModelSpec
from mitonb.models.weights import write_weights
from mitonb.models.zoo import build, import_model
from mitonb.widgets.curtain import Curtain
from mitonb.widgets.reviewing import propose
from mitonb.widgets.trainer import NEW, Outcome, _curve, train_form
from tests.infer.oracle import Oracle
from tests.learn.test_pairs import spots

pytestmark = pytest.mark.usefixtures("models")


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("MITONB_MODEL_DIR", str(tmp_path / "models"))


def spotted(base="new unet-2d", minutes=0.05):
    form = train_form(spots((96, 160)), batch=1, patch=32, looks=2)
    form.base.value, form.minutes.value = base, minutes
    return form


def ended(job):
    assert job.wait(300)
    if job.error:
        raise job.error
    return job


def test_it_says_what_there_is_before_anything_is_trained():
    form = spotted()
    with pytest.raises(InputError, match="Check first"):
        form.start()
    assert form.bar.buttons["start"].disabled
    ended(form.check())
    assert "To learn from: 12 objects in 0.01 million pixels of 1 image." in form.facts.value
    assert "Held out, to score on: 3 objects" in form.facts.value
    assert "GB of memory" in form.facts.value
    assert not form.bar.buttons["start"].disabled
    form.base.value = "mito-mini"  # it sees other pixel sizes
    assert form.bar.buttons["start"].disabled


def test_a_net_is_trained_registered_and_offered_by_its_name():
    form, seen = spotted(), []
    form.registered.connect(seen.append)
    ended(form.check())
    done = form.start().result(300)
    assert done.before is None
    assert done.reference is None
    assert "Held out: IoU 0." in form.told.value
    assert form.curves.value.count("<svg") == 2
    assert form._losses
    assert form._looks[-1][0] == 1.0
    (curtain,) = form.curtain.children
    assert curtain.slide.names == ["truth", "now"]
    assert "of 3 profiles found.</div>" in curtain.state()
    form.name.value = "spots"
    form.keep.click()
    assert seen == ["spots"]
    card = installed_as("spots").spec
    assert card.scores["held out"] == done.after.iou
    assert "Held out: IoU" in card.notes
    assert "spots" in dict(form.base.options)
    assert mn.load_model("spots").spec.heads == ("semantic",)
    assert form.keep.layout.display == "none"
    with pytest.raises(InputError, match="There is a model spots already"):
        form.start()


def test_what_was_stopped_goes_on_or_over():
    form, running = spotted(minutes=60), threading.Event()
    ended(form.check())
    job = form.start()
    job.progressed.connect(lambda step: running.set() if step.preview else None)
    assert running.wait(300)
    form.bar.stop.click()
    ended(job)
    assert "Resume goes on" in form.bar.message.value
    assert form.bar.buttons["start"].description == "Resume"
    part = model_folder() / "training" / "my-model.safetensors.part"
    assert part.exists()
    form.minutes.value = 0.05
    job = form.start()
    assert job.wait(300)
    assert "stopped, with minutes 60.0, now 0.05. To go on with it" in form.bar.message.value
    assert "choose Start over in the form" in form.bar.message.value
    form.bar.asked.emit("over")
    ended(form.bar.job)
    assert form.outcome is not None
    assert not part.exists()
    assert form.bar.buttons["start"].description == "Start"


def test_a_choice_made_while_it_trains_takes_away_neither_the_comparison_nor_the_guard(tmp_path):
    spec = ModelSpec(name="small", heads=("semantic",), config={"widths": [4, 8], "depths": [1, 1]})
    write_weights(build(spec), spec, tmp_path / "small.safetensors")
    import_model(tmp_path / "small.safetensors", "small")
    form = spotted("small")
    ended(form.check())
    job = form.start()
    job.progressed.connect(lambda step: step.preview and setattr(form.base, "value", "new unet-2d"))
    done = job.result(300)
    assert form.base.value == "new unet-2d"
    assert done.before is not None
    assert done.reference is not None
    assert "Phantoms that nothing is trained on" in form.told.value


def test_of_a_session_only_reviewed_parts_are_learned_from():
    stack, truth = mn.phantom((6, 64, 64), seed=1)
    app = mn.explore(stack, truth)
    form, review = app.trainer, app.trainer.review
    form.bar.buttons["check"].click()
    assert "Nothing is reviewed yet" in form.bar.message.value
    assert review.buttons["done"].disabled
    app.viewer.index = 4
    review.buttons["plane"].click()
    assert app.viewer.marks["chosen"] == [[4, 0, 0, 5, 64, 64]]
    review.buttons["done"].click()
    assert app.viewer.marks["chosen"] == []
    assert app.session.reviewed == [mn.Box((4, 0, 0), (5, 64, 64))]
    assert review.buttons["done"].description == "Not reviewed after all"
    app.viewer.index = 5
    review.buttons["plane"].click()
    review.buttons["done"].click()
    app.session.mark_reviewed((1, 0, 0), (2, 32, 32))
    # What touches shows the same, and is no two volumes of which one could be held out.
    first, last = (mn.Box((z, 0, 0), (z + 1, 64, 64)) for z in (4, 5))
    assert form._known() == [[mn.Box((1, 0, 0), (2, 32, 32))], [first, last]]
    assert app.viewer.marks["reviewed"] == [[4, 0, 0, 5, 64, 64], [5, 0, 0, 6, 64, 64], [1, 0, 0, 2, 32, 32]]
    assert review.wait(60)
    there = np.unique(np.concatenate([truth.data[4:].ravel(), truth.data[1, :32, :32].ravel()]))
    assert f"3 parts reviewed, with {len(there) - 1} mitochondri" in review.said.value
    review.buttons["done"].click()  # the plane on screen after all not
    assert len(app.session.reviewed) == 2
    # A square in a reviewed plane is reviewed with it, and only the plane can be taken back.
    review.choose(mn.Box((4, 8, 8), (5, 32, 32)))
    assert review.buttons["done"].description == "Not reviewed after all"
    review.buttons["done"].click()
    assert app.session.reviewed == [mn.Box((1, 0, 0), (2, 32, 32))]
    assert (review.chosen, review.buttons["done"].description) == (first, "Reviewed")
    model_options = app.form.controls["model"]
    (model_folder()).mkdir()
    form.registered.emit("x")
    assert "mito-mini" in model_options.options


def test_the_next_patch_is_where_the_net_is_unsure_else_where_most_is_labelled():
    labels = np.zeros((3, 600, 300), np.uint32)
    labels[1, :40, :40], labels[1, 400:500, 100:200], labels[2, 400:420, 100:120] = 1, 2, 3
    session = mn.Session(np.zeros(labels.shape, np.uint8), labels)
    review = train_form(session).review
    squares = [review.next() for _ in range(6)]
    assert [box.start for box in squares[:3]] == [(1, 344, 0), (1, 0, 0), (2, 344, 0)]
    assert squares[0].shape == (1, 256, 256)
    assert len(set(squares)) == 6  # two on each of three planes
    assert review.viewer.marks["chosen"] == [[*squares[-1].start, *squares[-1].stop]]
    with pytest.raises(InputError, match="choose a part yourself"):
        review.next()
    unsure = np.full((1, 600, 300), 255, np.uint8)
    unsure[0, :256] = 128
    said = {0: mn.Maps({"semantic": unsure})}
    assert propose(session, said.get, [], 1) == mn.Box((0, 0, 0), (1, 256, 256))
    assert propose(session, said.get, [mn.Box((0, 9, 9), (1, 10, 10))], 1) == mn.Box((0, 344, 0), (1, 600, 256))


def test_a_patch_is_the_square_around_the_last_click_inside_of_the_plane():
    form = train_form(mn.Stack(np.zeros((2, 600, 300), np.uint8)))  # a stack to paint in
    form.data.move_to(1, 10, 150)
    form.review.buttons["click"].click()
    assert form.review.chosen == mn.Box((1, 0, 22), (2, 256, 278))
    assert form.review.viewer.index == 1


def test_what_was_corrected_after_the_check_is_read_again():
    app = mn.explore(*mn.phantom((2, 96, 160), objects=6, seed=1))
    form, session = app.trainer, app.session
    form.base.value = "new unet-2d"
    session.mark_reviewed((0, 0, 0), (2, 96, 160))
    ended(form.check())
    assert form.material is not None
    session.mark_right(session.ids()[0])  # changes no label
    assert form.material is not None
    form.offer_models()
    assert "To learn from" in form.facts.value
    assert "Checked" in form.bar.message.value
    session.delete(session.ids()[0])
    assert form.material is None
    assert form.bar.buttons["start"].disabled
    assert form.bar.message.value.count("Checked") == 0
    form.bar.asked.emit("check")
    form.base.value = "new panoptic-2d"  # while it is read
    ended(form.bar.job)
    assert form.material is None
    assert "check once more" in form.bar.message.value
    ended(form.check())
    assert form.material is not None


def judged(iou, found, false=0):
    return Judged(iou, 4, frozenset((0, k) for k in found), false, (np.zeros((1, 8, 8), np.uint8),))


def test_wins_and_losses_are_told_by_object():
    said = won_and_lost(judged(0.5, {1, 2}, 3), judged(0.7, {2, 3, 4}, 1))
    assert "IoU 0.500 before, 0.700 now" in said
    assert "Of 4 profiles 2 were found before and 3 are now: 2 won, 1 lost." in said
    assert "Others drawn: 3 before, 1 now." in said


def test_a_model_that_forgets_is_registered_at_the_second_click_only(tmp_path):
    form = spotted()
    spec = ModelSpec(name="a", heads=("semantic",), config={"widths": [4, 8], "depths": [1, 1]})
    write_weights(build(spec), spec, tmp_path / "a.safetensors")
    trained = Trained(tmp_path / "a.safetensors", {})
    patch = Source("p", *(np.zeros((1, 8, 8), np.uint8),) * 2, (0.0, 1.0))
    good = Outcome(trained, [patch], judged(0.5, {1}), judged(0.7, {1}), (0.60, 0.59))
    assert not good.forgot
    form._trained(dataclasses.replace(good, reference=(0.60, 0.57)))
    assert "it has forgotten what it knew of other images" in form.told.value
    assert form.register() is None
    assert form.keep.description == "Register all the same"
    assert form.register().spec.name == "my-model"
    assert installed_as("my-model").spec.scores["reference"] == 0.57


def test_patches_are_judged_object_by_object():
    truth = np.zeros((1, 64, 64), np.uint32)
    truth[0, 8:24, 8:24], truth[0, 40:56, 8:24], truth[0, 8:24, 40:56] = 1, 2, 3
    seen = truth.copy()
    seen[seen == 2] = 0
    seen[0, 40:56, 40:56] = 4
    patch = Source("drawn", seen.astype(np.uint8), truth, (0.0, 255.0), ignore=3)
    found = mn.job.drain(judging(Oracle(), [patch]), show=False)
    assert (found.objects, len(found.found), found.false) == (2, 1, 1)
    assert found.iou == 1 / 3
    assert [int((found.kinds[0] == kind).sum()) for kind in (RIGHT, FALSE, MISSED)] == [256, 256, 256]


def test_held_out_patches_hang_on_a_curtain_the_most_changed_first():
    truth = np.zeros((1, 64, 64), np.uint32)
    truth[0, 8:24, 8:24], truth[0, 40:56, 8:24], truth[0, 40:56, 40:52] = 1, 2, 3
    patches = [Source(n, truth.astype(np.uint8) + 9, truth, (0.0, 20.0)) for n in "ab"]

    def found(*ids_of_patches):
        kinds = [
            np.where(np.isin(truth, ids), RIGHT, np.where(truth, MISSED, 0)).astype(np.uint8) for ids in ids_of_patches
        ]
        pairs = frozenset((k, id) for k, ids in enumerate(ids_of_patches) for id in ids)
        return Judged(0.5, 6, pairs, 0, tuple(kinds))

    curtain = Curtain(patches, found([1], [1, 2]), found([1], [2, 3]))
    assert curtain.state() == (
        '<span class="mnb-plain">Held-out patch 1 of 2: b</span>\n<div>2 of 3 profiles found, 2 before.</div>'
        "<b>1 won</b><ul><li>192 px at x 46, y 48</li></ul><b>1 lost</b><ul><li>256 px at x 16, y 16</li></ul>"
    )
    first = curtain.slide.left
    assert first != curtain.slide.right
    curtain.next.click()
    assert "Held-out patch 2 of 2: a" in curtain.state()
    assert curtain.slide.left == curtain.slide.right != first
    curtain.next.click()
    assert (curtain.at, curtain.slide.left) == (0, first)


def test_patches_are_shown_as_the_training_draws_them():
    form = spotted()
    with pytest.raises(InputError, match="Check first"):
        form.show_patches()
    ended(form.check())
    images, ids = ended(form.show_patches()).result()
    assert images.shape == ids.shape == (12, 32, 32)
    assert (ids > 0).any()
    assert form.grid.value.count("<img") == 12
    form.base.value = "new unet-3d"
    assert form.grid.value == ""


def test_a_single_section_has_no_other_planes_and_offers_no_nets_of_blocks():
    image, ids = spots((96, 160))
    app = mn.explore(image[None], ids[None])
    form = app.trainer
    assert form.review.buttons["all"].layout.display == "none"
    form.review.buttons["plane"].click()
    form.review.buttons["done"].click()
    assert form._known() == [[mn.Box((0, 0, 0), (1, 96, 160))]]
    assert not any("blocks" in said for said, _ in form.base.options)
    assert app.tabs.titles == ("Objects", "History", "Save", "Train")
    assert "volume" not in app.form.preset.options
    assert "hippocampus" in app.form.preset.options
    hidden = [name for name, line in app.form._rows.items() if line.layout.display == "none"]
    assert {"planes", "votes", "min_size", "lookahead"} <= set(hidden)
    empty = mn.explore(image[None])
    assert empty.wait(60)
    assert "No objects yet: segment the section (Enter), or" in empty.table.grid.empty
    form = spotted("new unet-3d")  # of other data than a session it is known after reading only
    with pytest.raises(InputError, match="looks at blocks, and there are single sections only"):
        ended(form.check())
    assert "Choose a net of planes" in form.bar.message.value
    assert not {"verdicts", "min_area", "center_threshold"} & set(hidden)


def test_nothing_trains_on_the_reference_and_new_nets_have_names():

    assert not set(REFERENCE) & {*range(9000, 9010), *range(1000, 1100)}  # measured on, and learned from
    assert set(NEW) <= set(NETS)
    assert held_patches([], 2) == []


def test_curves_are_drawn_from_the_first_point_on_and_texts_are_no_html():
    assert "polyline" in _curve("loss", [], 5)
    assert "&lt;b&gt;" in _curve("<b>", [(0.0, 0.5), (1.0, 0.25)], 5)
    assert 'points="34.0,58.0 284.0,79.0"' in _curve("IoU", [(0.0, 0.5), (1.0, 0.25)], 5, 1.0)
