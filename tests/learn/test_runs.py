"""Train and finetune as users do: in another process, which can be cancelled or killed and goes on where it was."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import psutil
import pytest
import torch

import mitonb as mn
from mitonb.errors import InputError, JobError
from mitonb.job import drain
from mitonb.learn.child import fitting_apart
from mitonb.learn.loop import Settings, fitting
from mitonb.learn.pairs import read_pair
from mitonb.learn.runs import NETS
from tests.learn.test_pairs import spots

SMALL = {"batch": 2, "patch": 32, "looks": 2}


def children():
    return [p for p in psutil.Process().children() if "mitonb.learn.child" in p.cmdline()]


def test_one_image_is_enough_and_nobody_has_to_name_a_file(tmp_path):
    made = mn.train(spots((96, 160)), tmp_path / "cell", net="unet-2d", steps=4, **SMALL)
    assert list(made.scores) == ["iou volume"]
    assert [look["step"] for look in made.log] == [2, 4]
    assert "Trained('cell', iou volume 0." in repr(made)
    spec = mn.load_model(made).spec
    assert spec.heads == ("semantic",)
    assert spec.training["steps_done"] == 4
    image, ids = spots()
    again = mn.finetune(
        mn.Pair(image, ids), tmp_path / "mine", start=made, steps=2, hold=0, freeze=1, replay=0, **SMALL
    )
    assert again.scores == {}
    assert again.notes[0].startswith("no truth")
    assert mn.load_model(again).spec.training["start"] == spec.sha256
    labels = mn.segment(mn.Stack(image[None]), model=again, show=False)
    assert labels.shape == (1, 96, 96)


def test_every_net_by_name_can_be_trained(tmp_path):
    stack, truth = mn.phantom((32, 64, 64), seed=1)
    source = read_pair(mn.Pair(stack, truth))
    for name, (card, usual) in NETS.items():
        card = {**card, "config": {**card["config"], "widths": [4] * 4, "depths": [1] * 4}}
        changes = {"batch": 1, "patch": 32, "planes": 32 if card["dimension"] == 3 else None}
        settings = Settings(**{**usual, **changes, "steps": 1})
        path = drain(fitting([source], out=tmp_path / name, settings=settings, card=card), show=False)
        assert mn.load_model(path).spec.heads == card["heads"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"net": "resnet"}, "There is no net 'resnet'; the known ones are mitoem-bc"),
        ({"speed": 3}, "There is no setting 'speed'; there are augment, average"),
        ({"steps": 2, "minutes": 3}, "either minutes or steps"),
        ({"hold": 2}, "hold is a part"),
        ({"out": "no/where"}, "no"),
    ],
)
def test_what_cannot_be_is_said_before_anything_starts(more, said, tmp_path):
    out = tmp_path / more.pop("out", "a")
    with pytest.raises(InputError, match=said):
        mn.train(spots(), out, **more)


def test_errors_of_the_other_process_are_those_of_this_one(tmp_path):
    with pytest.raises(InputError, match="A patch is a multiple of 8 pixels, got 30"):
        mn.train(spots(), tmp_path / "a", net="unet-2d", steps=1, patch=30)


def test_a_cancelled_job_ends_its_process_and_leaves_its_picture(tmp_path):
    job = mn.Job(mn.training(spots(), tmp_path / "a", net="unet-2d", steps=100_000, **SMALL))
    running = threading.Event()
    job.progressed.connect(lambda step: running.set() if step.preview and "step" in step.preview else None)
    job.start()
    assert running.wait(300)
    (child,) = children()
    job.cancel()
    assert job.wait(60)
    assert job.state == "cancelled"
    assert not child.is_running()
    assert (tmp_path / "a.part").exists()
    assert not (tmp_path / "a").exists()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 here")
def test_a_run_that_was_killed_ends_in_the_same_weights_as_one_that_was_not(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    image, ids = spots()
    source = read_pair(mn.Pair(image, ids))
    card = {"heads": ("semantic",), "config": {"widths": [4, 8], "depths": [1, 1]}}
    more = {"settings": Settings(steps=12, batch=2, patch=32, looks=3), "card": card, "save_every": 0.0}
    drain(fitting_apart([source], out=tmp_path / "whole", **more), show=False)
    steps = fitting_apart([source], out=tmp_path / "killed", **more)
    for step in steps:
        if step.preview and step.preview["step"] == 5:
            break
    os.kill(children()[0].pid, signal.SIGKILL)
    with pytest.raises(JobError, match=r"ended by itself .* goes on from its last picture"):
        list(steps)
    assert (tmp_path / "killed.part").exists()
    rest = [s.preview["step"] for s in fitting_apart([source], out=tmp_path / "killed", **more) if s.preview]
    assert min(rest) >= 5
    whole, killed = (mn.load_model(tmp_path / name).net.state_dict() for name in ("whole", "killed"))
    for name, tensor in whole.items():
        torch.testing.assert_close(tensor, killed[name], rtol=0, atol=0)


def test_other_data_do_not_go_on_with_a_run(tmp_path):
    settings = Settings(steps=3, batch=1, patch=32)
    a, b = (read_pair(mn.Pair(*spots(shape))) for shape in ((96, 96), (96, 128)))
    steps = fitting([a], out=tmp_path / "a", settings=settings)
    next(step for step in steps if step.preview)
    steps.close()
    with pytest.raises(
        mn.MitonbError, match=r"with data volume \(1 x 96 x 96, .*now volume \(1 x 96 x 128, .*Start over"
    ):
        list(fitting([b], out=tmp_path / "a", settings=settings))


def test_nets_of_blocks_do_not_learn_from_single_sections(tmp_path):
    with pytest.raises(InputError, match="looks at blocks"):
        mn.train(spots(), tmp_path / "a", net="unet-3d", steps=1, show=False)
    small = {"batch": 1, "patch": 32, "planes": 32, "widths": (4, 4), "depths": (1, 1), "looks": 1}
    card = {"heads": ("semantic",), "dimension": 3}
    source = read_pair(mn.Pair(*mn.phantom((32, 64, 64), seed=1)))
    settings = Settings(steps=1, **small)
    block = drain(fitting([source], out=tmp_path / "b", settings=settings, card=card), show=False)
    with pytest.raises(InputError, match="looks at blocks, and there are single sections only"):
        mn.finetune(spots(), tmp_path / "c", start=block, steps=1, hold=0, show=False)


def test_phantoms_are_replayed(tmp_path):
    card = {"heads": ("semantic",), "config": {"widths": [4, 8], "depths": [1, 1]}}
    settings = Settings(steps=1, batch=1, patch=32)
    start = drain(fitting([read_pair(mn.Pair(*spots()))], out=tmp_path / "s", settings=settings, card=card), show=False)
    made = mn.finetune(spots(), tmp_path / "a", start=start, steps=1, replay=0.25, hold=0, **SMALL)
    assert {"volume", "phantoms"} <= set(mn.load_model(made).spec.data)
    assert np.isfinite(mn.predict(spots()[0], model=made).semantic).all()
