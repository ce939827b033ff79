"""Under every choice of a model stands what is known of it; published ones are fetched there, from a real server."""

from __future__ import annotations

import dataclasses
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

pytest.importorskip("torch")

import mitonb as mn
from mitonb.models import folder, zoo
from mitonb.models.checkpoints import NETS
from mitonb.models.spec import WEIGHTS
from mitonb.models.zoo import import_model
from mitonb.stack import Stack
from mitonb.widgets.app import explore
from mitonb.widgets.forms import RecipeForm
from tests.models.published import drawn_net, export_names, write_torchscript

NET = {"encoder": "resnet18", "stride": 32, "decoder_channels": 8, "low_level_channels": [4], "aspp_channels": 6}


class Handler(BaseHTTPRequestHandler):
    """Serve one file, slowly if `server.slow`."""

    def do_GET(self):
        data = self.server.data
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        for start in range(0, len(data), 100_000):
            time.sleep(0.05 * self.server.slow)
            self.wfile.write(data[start : start + 100_000])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    """MitoNet_v1 is a small drawn net on a server of this machine."""
    path = tmp_path / "drawn.pth"
    net = drawn_net(NETS["panoptic_deeplab"], **NET, channels=1, folded=True)
    write_torchscript(export_names(dict(net.state_dict()), pyramid=False), path)
    monkeypatch.setenv("MITONB_MODEL_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("no_proxy", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as it:
        it.daemon_threads, it.data, it.slow = True, path.read_bytes(), 0
        address = f"http://127.0.0.1:{it.server_port}/drawn.pth"
        one = dataclasses.replace(folder.PUBLISHED["MitoNet_v1"], address=address)
        monkeypatch.setitem(folder.PUBLISHED, "MitoNet_v1", one)
        assert zoo.PUBLISHED is folder.PUBLISHED
        threading.Thread(target=it.serve_forever, args=(0.01,), daemon=True).start()
        yield it
        it.shutdown()


@pytest.fixture
def app():
    return explore(Stack(np.random.default_rng(0).integers(0, 255, (3, 64, 64), np.uint8), (8.0, 8.0, 8.0)))


def shown(note):
    return note.bar.layout.display != "none"


def test_what_is_known_stands_there_before_anything_is_fetched(server):
    form = RecipeForm(models=folder.offered_models())
    note = form.model_note
    assert form.controls["model"].options[:2] == ("mito-mini", "mito-open")
    assert "bundled" in note.about.value
    assert "for pixels of 4 to 16 nm" in note.about.value
    assert "vnc plane IoU" in note.about.value
    assert "non-commercial" in note.about.value
    assert not shown(note)
    form.controls["model"].value = "MitoNet_v1"
    assert "not here yet · about 220 MB" in note.about.value
    assert "licence" in note.about.value
    assert shown(note)
    form.controls["model"].value = "nowhere"
    assert note.about.value == ""
    assert not shown(note)


def test_a_model_of_ones_own_says_so(server):
    import_model(WEIGHTS / "mito-mini.safetensors", "mine")
    said = folder.about_model("mine")
    assert " · your own · 7." in said
    assert f"from {WEIGHTS}" in said
    (folder.model_folder() / "mine.model.json").write_text("{}")
    assert "is damaged" in folder.about_model("mine")


def test_a_published_model_is_fetched_by_a_click_and_offered_in_both_forms(app, server):
    app.form.controls["model"].value = "MitoNet_v1"
    base = app.trainer.base
    assert ("MitoNet_v1 (to fetch)", "MitoNet_v1") in base.options
    note = app.form.model_note
    note.bar.buttons["fetch"].click()
    note.bar.job.wait(60)
    assert note.bar.job.state == "done", note.bar.message.value
    assert "· fetched ·" in note.about.value
    assert not shown(note)
    assert ("MitoNet_v1", "MitoNet_v1") in base.options
    assert app.form.controls["model"].value == "MitoNet_v1"
    assert folder.installed()["MitoNet_v1"].source.startswith("http://127.0.0.1")


def test_a_fetch_is_cancelled_and_an_error_is_a_sentence(app, server):
    server.slow, server.data = 1, server.data + bytes(3_000_000)
    app.trainer.base.value = "MitoNet_v1"
    note = app.trainer.model_note
    assert shown(note)
    job = note.fetch()
    while note.bar.progress.value == 0 and job.state == "running":
        time.sleep(0.05)
    app.trainer.base.value = "mito-mini"
    assert shown(note), "what runs can be cancelled, whatever is chosen meanwhile"
    app.trainer.base.value = "MitoNet_v1"
    note.bar.cancel()
    job.wait(60)
    assert job.state == "cancelled"
    assert "MitoNet_v1" not in folder.installed()
    assert shown(note)
    server.slow, server.data = 0, b"no net"
    note.fetch().wait(60)
    assert "mnb-error" in note.bar.message.value


def test_pixels_that_the_model_does_not_know_are_told_beside_it(app):
    note = app.form.model_note
    assert note.doubt.value == ""
    app.session.set_voxel_size(40, 40, 40)
    assert "Pixels of the xy planes are 40 x 40 nm" in note.doubt.value
    assert "mito-mini was trained on 4 to 16 nm." in note.doubt.value
    app.session.set_voxel_size(2, 2, 2)
    assert note.doubt.value == "", "auto brings fine pixels to a size that it knows"
    app.form.controls["pixel_size"].value = "as is"
    assert "2 x 2 nm" in note.doubt.value


def test_an_image_that_looks_inverted_is_told_beside_the_model_until_it_is_turned_round():
    stack, _ = mn.phantom((2, 256, 256), seed=1)
    app = explore(Stack(255 - stack.read(), stack.voxel_size))
    assert app.run_plane().wait(120)
    assert "looks inverted to the network" in app.form.model_note.doubt.value
    app.form.controls["invert"].value = True
    assert "looks inverted" not in app.form.model_note.doubt.value


def test_labels_alone_have_no_doubts():
    app = explore(labels=np.ones((2, 32, 32), np.uint32))
    assert app.form.model_note.doubt.value == ""
