"""Training: patches show what the labels say, runs repeat and resume, and held planes stay unseen."""

from __future__ import annotations

import dataclasses
import multiprocessing
import shutil

import numpy as np
import pytest
import torch

from mitonb.errors import CorruptFileError, InputError, JobError, ModelError, TooLargeError
from mitonb.job import drain
from mitonb.learn.child import fitting_apart
from mitonb.learn.data import (
    IGNORED,
    Source,
    _defect,
    add_sheaths,
    disturb,
    draw,
    draw_batch,
    shared,
    shift_sections,
)
from mitonb.learn.loop import FORGOTTEN, REFERENCE, Drawn, Settings, choose_part, fitting, watch
from mitonb.learn.losses import add_losses, balanced, batch_targets, size_weights
from mitonb.maps import HEADS
from mitonb.models.spec import ModelSpec
from mitonb.models.zoo import build, load_model

CENTERS = ("semantic", "center", "offsets")


def disks(held=(), **options):
    """Dark disks of radius 9 on a bright ground, one per 32 pixels; plane 3 is all object."""
    y, x = np.mgrid[:96, :96]
    one = (y // 32 * 3 + x // 32 + 1) * ((y % 32 - 16) ** 2 + (x % 32 - 16) ** 2 <= 81)
    labels = np.stack([one] * 3 + [np.full_like(one, 1)]).astype(np.uint16)
    image = np.where(labels > 0, 60, 180).astype(np.uint8)
    return Source("disks", image, labels, (0.0, 255.0), held=held, **options)


def tiny(**changes):
    values = {
        "steps": 4,
        "seed": 3,
        "batch": 2,
        "patch": 32,
        "looks": 1,
        "widths": (4, 8, 8, 8),
        "depths": (0, 1, 1, 1),
    }
    return Settings(**{**values, **changes})


def test_a_patch_and_its_labels_fit_each_other():
    image, ids = draw(disks(held=(3,)), np.random.default_rng(0), 64)
    assert image.shape == ids.shape == (64, 64)
    assert abs(image[ids > 0].mean() - 60 / 255) < 0.06
    assert abs(image[ids == 0].mean() - 180 / 255) < 0.06


def test_held_planes_are_never_drawn():
    """Plane 3 is one object all over; a patch of it would have no background."""
    rng = np.random.default_rng(1)
    for axis in ("xy", "xz", "yz"):
        source = disks(held=(3,), axes=(axis,))
        assert all((draw(source, rng, 32)[1] == 0).any() for _ in range(20))


def test_planes_held_in_the_middle_are_refused():
    with pytest.raises(InputError, match="unbroken"):
        disks(held=(1,))


def test_nothing_in_a_drawn_band_of_myelin_is_a_mitochondrion():
    image, ids = np.full((160, 192), 0.8, np.float32), np.full((160, 192), 7)
    ids[:, :20] = IGNORED
    for seed in range(8):
        wrapped, left = add_sheaths(image, ids, np.random.default_rng(seed))
        band = left == 0
        assert set(np.unique(left)) <= {IGNORED, 0, 7}
        assert np.array_equal(left[~band], ids[~band])
        assert wrapped.dtype == np.float32
        if band.any():
            assert wrapped[band].mean() < 0.5
    repeated = [add_sheaths(image, ids, np.random.default_rng(3))[0] for _ in range(2)]
    assert np.array_equal(*repeated)


def test_disturbing_keeps_shape_and_repeats_with_the_seed():
    image = np.random.default_rng(0).random((32, 40), np.float32)
    for seed in range(40):
        a, b = (disturb(image, np.random.default_rng(seed)) for _ in range(2))
        assert a.shape == image.shape
        assert a.dtype == np.float32
        assert np.isfinite(a).all()
        np.testing.assert_array_equal(a, b)


def test_blocks_lose_whole_sections_and_single_sections_have_defects():
    image, found = np.full((6, 24, 24), 0.5, np.float32), []
    for seed in range(400):
        block = disturb(image, np.random.default_rng(seed))
        flat = [z for z in range(6) if np.ptp(block[z]) < 1e-6]
        found.append(len(flat) == 1 or len(flat) == 5)
    assert any(found)
    assert not all(found)


@pytest.mark.parametrize("what", ["scratches", "charging"])
def test_marks_of_the_knife_and_charging_are_drawn(what):
    flat, seen = np.full((64, 48), 0.5, np.float32), 0
    for seed in range(60):
        change = _defect(flat, np.random.default_rng(seed)) - flat
        assert np.isfinite(change).all()
        if what == "charging":  # rows of one grey, under a glow
            seen += 0.02 < change.std(axis=1).max() and np.abs(np.diff(change, axis=0)).mean() > 0.02
        else:  # the same grey along each line, nothing between them
            extreme = max(change.max(), -change.min())
            seen += 0.35 < extreme <= 0.401 and (np.abs(change) < 0.01).mean() > 0.3
    assert 5 < seen < 50


def test_sections_that_are_not_aligned_move_with_what_is_on_them():
    rng = np.random.default_rng(0)
    image = rng.random((8, 32, 32)).astype(np.float32)
    ids = (image * 1e6).astype(np.int64) + 1  # tells each pixel
    moved = 0
    for seed in range(20):
        a, b = shift_sections(image, ids, np.random.default_rng(seed))
        known = b != IGNORED
        np.testing.assert_array_equal((a * np.float32(1e6)).astype(np.int64)[known] + 1, b[known])
        planes = [z for z in range(8) if (b[z] != ids[z]).any()]
        assert planes in ([], planes[:1], list(range(planes[0], 8)) if planes else [])
        assert 0 not in planes
        moved += bool(planes)
    assert moved > 15
    assert (ids > 0).all()  # what came in is not changed


def card_of(heads, dimension=2):
    return ModelSpec(name="net", heads=heads, dimension=dimension, output_stride=4 if "center" in heads else 1)


def perfect(truth):
    """Return what a net would say that knows the truth: certain logits, distances before tanh."""
    exact = {"center": lambda v: v, "offsets": lambda v: v, "distance": lambda v: torch.atanh(v.clamp(-0.999, 0.999))}
    return {name: exact.get(name, lambda v: (v - 0.5) * 40)(aim) for name, aim in truth.items()}


@pytest.mark.parametrize("dimension", [2, 3])
@pytest.mark.parametrize(
    "heads", [("semantic", "center", "offsets"), ("semantic", "contour", "distance"), ("semantic", "affinities")]
)
def test_the_loss_of_perfect_heads_is_nearly_zero(heads, dimension):
    ids = disks().labels[0][:64, :64].astype(np.int64)
    ids = np.repeat(ids[None], 8, 0) if dimension == 3 else ids
    truth, weights = batch_targets([ids], card_of(heads, dimension))
    assert {name: aim.ndim for name, aim in truth.items()} == dict.fromkeys(heads, 2 + dimension)
    _, parts = add_losses(perfect(truth), truth, weights)
    _, blank = add_losses({name: aim * 0 for name, aim in truth.items()}, truth, weights)
    assert {name.split()[0] for name in parts} == set(heads) <= set(HEADS)
    assert all(parts[name] < 0.01 < 2 * blank[name] for name in parts)


def test_points_of_pointrend_learn_what_the_pixels_are_where_they_lie():
    truth, weights = batch_targets([disks().labels[0][:64, :64].astype(np.int64)], card_of(("semantic",)))
    places = torch.rand(1, 500, 2, generator=torch.Generator().manual_seed(0))
    x, y = (places[0] * 64).long().unbind(1)
    exact = (truth["semantic"][:, :, y, x] - 0.5) * 40
    heads = {**perfect(truth), "semantic_places": places}
    assert add_losses({**heads, "semantic_points": exact}, truth, weights)[1]["semantic points"] < 0.01
    assert add_losses({**heads, "semantic_points": -exact}, truth, weights)[1]["semantic points"] > 10


def test_pointrend_learns_with_its_net_and_asks_where_the_call_is_close(tmp_path):
    config = {"encoder": "resnet18", "stride": 32, "decoder_channels": 8, "low_level_channels": [4], "aspp_channels": 6}
    card = {"architecture": "panoptic_deeplab", "heads": CENTERS, "output_stride": 4, "multiple": 32, "config": config}
    run = fitting([disks()], out=tmp_path / "net.safetensors", settings=tiny(patch=64, average=0.0), card=card)
    losses = [step.preview["semantic points"] for step in run if step.preview]
    assert len(losses) == 4
    torch.manual_seed(3)
    before = build(ModelSpec(name="net", **card)).semantic_pr
    after = load_model(tmp_path / "net.safetensors").net.semantic_pr
    assert all((a != b).any() for a, b in zip(before.parameters(), after.parameters(), strict=True))
    ramp = torch.linspace(-8, 8, 64).expand(1, 1, 16, 64)  # the call is close in the middle column
    logits, places = before.asked(torch.zeros(1, 8, 16, 64), ramp)
    assert (logits.shape, places.shape) == ((1, 1, 1024), (1, 1024, 2))
    assert 0.7 < ((places[..., 0] - 0.5).abs() < 0.2).float().mean() < 0.95


@pytest.mark.parametrize(
    "heads", [("semantic", "center", "offsets"), ("semantic", "contour", "distance"), ("semantic", "affinities")]
)
def test_what_is_said_of_the_unknown_costs_nothing(heads):
    """The right half is unknown; it cuts the disks of the middle column in two, whose shape nobody knows then."""
    ids = disks().labels[0].astype(np.int64)
    ids[:, 48:] = IGNORED
    truth, weights = batch_targets([ids], card_of(heads))
    wrong = {name: aim.clone() for name, aim in perfect(truth).items()}
    for name, aim in wrong.items():
        lost = (ids == IGNORED) | (np.isin(ids, (2, 5, 8)) & (name != "semantic"))
        by = len(ids) // aim.shape[-1]
        aim[..., torch.from_numpy(lost[::by, ::by])] = 7.0
    _, parts = add_losses(wrong, truth, weights)
    assert max(parts.values()) < 1e-6
    assert float(weights["semantic"].mean()) == 0.5


def test_the_unknown_is_drawn_as_such_and_not_watched():
    labels = disks().labels.copy()
    labels[:, :48] = 255
    source = dataclasses.replace(disks(held=(3,)), labels=labels, ignore=255)
    rng = np.random.default_rng(0)
    drawn = [draw(source, rng, size)[1] for size in (64, (2, 64, 64)) for _ in range(4)]
    assert all((ids == IGNORED).any() for ids in drawn)
    assert 255 not in np.unique(drawn[0])
    flat = torch.nn.Conv2d(1, 1, 1)
    torch.nn.init.constant_(flat.bias, 9.0)
    net = Says(flat)
    spec = ModelSpec(name="net", heads=("semantic",), multiple=1, output_stride=1)
    assert watch(net, spec, [source]) == {"iou disks": 1.0}  # all of plane 3 is one object
    assert watch(net, spec, [dataclasses.replace(source, ignore=None)]) == {"iou disks": 1.0}


class Says(torch.nn.Module):
    """Says mitochondrion everywhere."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return {"semantic": self.net(x) * 0 + 9}


def test_blocks_and_their_labels_fit_each_other():
    source = disks()
    for seed in range(8):
        image, ids = draw(source, np.random.default_rng(seed), (8, 32, 32))  # thicker than the source: reflected
        assert image.shape == ids.shape == (8, 32, 32)
        assert np.abs(np.where(ids > 0, 60, 180) / 255 - image)[:, 2:-2, 2:-2].mean() < 0.05


def test_the_same_settings_give_the_same_weights(tmp_path):
    a, b = (drain(fitting([disks()], out=tmp_path / n, settings=tiny()), show=False) for n in ("a", "b"))
    x = torch.randn(1, 1, 32, 32)
    for one, two in zip(load_model(a).net(x).values(), load_model(b).net(x).values(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)


@pytest.mark.parametrize("how", [m for m in ("fork", "spawn") if m in multiprocessing.get_all_start_methods()])
def test_patches_drawn_in_other_processes_are_the_same(how, tmp_path):
    usual = multiprocessing.get_start_method()
    drain(fitting([disks()], out=tmp_path / "here.safetensors", settings=tiny()), show=False)
    multiprocessing.set_start_method(how, force=True)
    try:
        drain(fitting([disks()], out=tmp_path / "there.safetensors", settings=tiny(workers=1)), show=False)
    finally:
        multiprocessing.set_start_method(usual, force=True)
    here, there = (load_model(tmp_path / f"{name}.safetensors").net.state_dict() for name in ("here", "there"))
    for name, tensor in here.items():
        torch.testing.assert_close(tensor, there[name], rtol=0, atol=0)


def test_a_stopped_run_goes_on_where_it_was(tmp_path):
    straight = drain(fitting([disks()], out=tmp_path / "a", settings=tiny(looks=20)), show=False)
    steps = fitting([disks()], out=tmp_path / "b", settings=tiny(looks=20))
    for _ in range(4):  # the memory it takes, the first patches, and two steps
        next(steps)
    steps.close()
    assert (tmp_path / "b.part").exists()
    assert not (tmp_path / "b").exists()
    state = torch.load(tmp_path / "b.part", weights_only=True)  # as earlier versions wrote it
    for newer in ("looks", "freeze", "patience", "keep_statistics", "temper"):
        del state["settings"][newer]
    torch.save({k: v for k, v in state.items() if k not in ("sources", "best", "model")}, tmp_path / "b.part")
    rest = list(fitting([disks()], out=tmp_path / "b", settings=tiny(looks=20, workers=1)))  # gives the same patches
    assert [p.preview["step"] for p in rest[2:]] == [3, 4]
    assert not (tmp_path / "b.part").exists()
    x = torch.randn(1, 1, 32, 32)
    for one, two in zip(load_model(straight).net(x).values(), load_model(tmp_path / "b").net(x).values(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_a_picture_of_another_run_is_refused(tmp_path):
    steps = fitting([disks()], out=tmp_path / "a", settings=tiny())
    next(steps)
    next(steps)
    steps.close()
    with pytest.raises(ModelError, match=r"seed 3, now 4. To go on with it, give it the same data and settings"):
        list(fitting([disks()], out=tmp_path / "a", settings=tiny(seed=4)))
    (tmp_path / "a.part").write_bytes(b"rubbish")
    with pytest.raises(CorruptFileError, match="damaged"):
        list(fitting([disks()], out=tmp_path / "a", settings=tiny()))


def test_disks_are_learned_and_the_card_tells_how(tmp_path):
    """Sixty steps are enough to tell dark from bright."""
    source = disks(held=(3,))
    source = dataclasses.replace(source, held=(2, 3))
    settings = tiny(steps=60, batch=4, average=0.9, rate=0.005)
    path = drain(fitting([source], out=tmp_path / "disks.safetensors", settings=settings, card={"licence": "CC0"}))
    spec = load_model(path).spec
    assert spec.name == "disks"
    assert spec.licence == "CC0"
    assert spec.data == ("disks",)
    assert spec.training["seed"] == 3
    assert spec.training["steps_done"] == 60
    assert spec.training["watched"][-1]["iou disks"] > 0.7


def test_training_may_begin_from_a_weight_file(tmp_path):
    first = drain(fitting([disks()], out=tmp_path / "a", settings=tiny()), show=False)
    second = drain(fitting([disks()], out=tmp_path / "b", settings=tiny(steps=1), start=first), show=False)
    assert load_model(second).spec.training["start"] == load_model(first).spec.sha256


@pytest.mark.parametrize(
    "wrong",
    [{"steps": None}, {"minutes": 3.0}, {"steps": 0}, {"steps": 1.5}, {"rate": 0.0}, {"rate": float("nan")},
     {"batch": 0}, {"seed": -1}, {"patch": 0}, {"average": 1.0}, {"decay": -1.0}],
)  # fmt: skip
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(InputError):
        tiny(**wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"held": (9,)}, "held planes are some of its planes 0 to 3, got 9"), ({"held": (-1,)}, "got -1"),
        ({"weight": float("nan")}, "weight is above 0"), ({"axes": ()}, "axes are some of"),
        ({"contrast": (5.0, 5.0)}, "white must be above black"), ({"labels": np.zeros((4, 96, 96))}, "whole ids"),
    ],
)  # fmt: skip
def test_a_source_that_would_fail_in_the_middle_of_a_run_is_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        dataclasses.replace(disks(), **wrong)


@pytest.mark.parametrize("error", [RuntimeError("no scores"), KeyboardInterrupt()])
def test_the_weights_are_on_disk_before_anything_else_can_fail(error, tmp_path, monkeypatch):
    def fails(*_):
        raise error

    monkeypatch.setattr("mitonb.learn.loop.watch", fails)
    with pytest.raises((JobError, KeyboardInterrupt)):
        drain(fitting([disks(held=(3,))], out=tmp_path / "a", settings=tiny()), show=False)
    assert load_model(tmp_path / "a").spec.training["steps_done"] == 4
    monkeypatch.undo()


def test_weights_that_cannot_be_written_are_kept_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "spare").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "spare"))
    steps = fitting([disks()], out=tmp_path / "out" / "a", settings=tiny())
    for _ in range(6):
        next(steps)
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(InputError, match=r"a was not saved: .*What was computed is kept in") as said:
        next(steps)
    (kept,) = (tmp_path / "spare").glob("*/a")
    assert str(kept) in str(said.value)
    assert load_model(kept).spec.training["steps_done"] == 4


@pytest.mark.parametrize(
    ("card", "said"), [({"colour": 1}, "no field 'colour'"), ([1], "names with values"), ({"mean": "nan"}, "mean is a")]
)
def test_a_card_that_is_none_is_refused_before_the_run(card, said, tmp_path):
    with pytest.raises((InputError, ModelError), match=said):
        next(fitting([disks()], out=tmp_path / "a", settings=tiny(), card=card))


@pytest.mark.parametrize("out", [".", "no/where", "/proc/a"])
def test_weights_that_could_not_be_written_are_refused_before_the_run(out, tmp_path):
    with pytest.raises(InputError):
        next(fitting([disks()], out=tmp_path / out, settings=tiny()))


def test_nothing_to_learn_from_is_an_error(tmp_path):
    with pytest.raises(InputError, match="nothing to learn from"):
        next(fitting([], out=tmp_path / "a", settings=tiny()))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"held": (9,)}, "held planes are some of its planes 0 to 3, got 9"),
        ({"held": (1,)}, "one unbroken block"),
        ({"axes": ("zz",)}, "axes are some of"),
        ({"weight": 0.0}, "weight is above 0"),
        ({"zoom": float("nan")}, "zoom is from"),
        ({"zoom": 1e9}, "zoom is from"),
    ],
)
def test_a_wrong_source_says_what_is_wrong(wrong, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(disks(), **wrong)


def test_phantoms_take_their_share_of_the_patches():
    sources = shared([disks(weight=3.0)], [disks(), disks()], 0.25)
    assert [s.weight for s in sources] == [3.0, 0.5, 0.5]
    with pytest.raises(InputError, match="between 0 and 1, got 2"):
        shared(sources, sources, 2)
    images, ids = draw_batch(sources, np.random.default_rng(0), 32, 5)
    assert images.shape == ids.shape == (5, 32, 32)


def test_the_best_look_is_kept_and_a_run_that_gets_no_better_ends(tmp_path, monkeypatch):
    """The scores of the looks are given here: what is kept is what the net said at the second of them."""
    said, nets = iter([0.3, 0.6, 0.5, 0.4, 0.2]), []

    def look(net, spec, sources):
        nets.append({name: tensor.clone() for name, tensor in net.state_dict().items()})
        return {"iou disks": next(said)}

    monkeypatch.setattr("mitonb.learn.loop.watch", look)
    settings = tiny(steps=40, looks=20, patience=2)
    kept = load_model(drain(fitting([disks(held=(3,))], out=tmp_path / "a", settings=settings), show=False))
    assert [one["iou disks"] for one in kept.spec.training["watched"]] == [0.3, 0.6, 0.5, 0.4, 0.2]
    assert kept.spec.training["steps_done"] == 8
    for name, tensor in kept.net.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, nets[1][name].half().float(), rtol=0, atol=0)


def test_a_tempered_run_goes_back_as_far_as_it_would_forget(tmp_path):
    """It is taught that disks are nothing, and what is held out says so, too; only the reference knows better."""
    known = dataclasses.replace(disks(held=range(4)), name=REFERENCE)
    nothing = disks(held=(2, 3))
    nothing = dataclasses.replace(nothing, labels=np.zeros_like(nothing.labels))
    settings = tiny(steps=60, batch=4, average=0.9, rate=0.005)
    first = drain(fitting([disks(held=(3,)), known], out=tmp_path / "a", settings=settings), show=False)
    looks = {}
    for temper in (False, True):
        more = dataclasses.replace(settings, steps=20, temper=temper)
        path = drain(fitting([nothing, known], out=tmp_path / f"{temper}", settings=more, start=first), show=False)
        model = load_model(path)
        looks[temper] = watch(model.net, model.spec, [known])[REFERENCE]
    before = load_model(first).spec.training["watched"][-1][REFERENCE]
    assert before > 0.7
    assert looks[False] < before - 0.1
    assert looks[True] >= before - FORGOTTEN - 0.005  # weights are kept in 16 bits
    assert load_model(path).spec.training["watched"][-1]["part"] < 1


def test_the_part_of_the_way_is_the_best_that_forgets_little():
    def look(part, reference, **own):
        return {"part": part, REFERENCE: reference, **own}

    looks = [look(p, r, **{"iou a": a}) for p, r, a in [(0, 0.9, 0.5), (0.5, 0.895, 0.6), (1, 0.8, 0.7)]]
    assert choose_part(looks)["part"] == 0.5
    assert choose_part([look(p, 0.9, **{"iou a": 0.0}) for p in (0, 0.5, 1)])["part"] == 0.5
    assert choose_part([look(p, r) for p, r in [(0, 0.9), (0.25, 0.9), (0.5, 0.9), (1, 0.9)]])["part"] == 0.5
    assert choose_part([look(p, r) for p, r in [(0, 0.9), (0.25, 0.9), (0.5, 0.8), (1, 0.8)]])["part"] == 0.25


def test_frozen_stages_stay_as_they_are_with_their_statistics(tmp_path):
    first = drain(fitting([disks()], out=tmp_path / "a", settings=tiny()), show=False)
    second = drain(fitting([disks()], out=tmp_path / "b", settings=tiny(freeze=2), start=first), show=False)
    before, after = (load_model(path).net.state_dict() for path in (first, second))
    frozen = ("stem", "encoder.0", "encoder.1", "down.0")
    for name in before:
        if "num_batches" not in name:
            assert torch.equal(before[name], after[name]) == name.startswith(frozen), name
    third = drain(fitting([disks()], out=tmp_path / "c", settings=tiny(keep_statistics=True), start=first), show=False)
    for name, tensor in load_model(third).net.state_dict().items():
        if "num_batches" not in name:
            assert torch.equal(before[name], tensor) == ("running" in name), name
    with pytest.raises(ModelError, match="up to 4 stages"):
        list(fitting([disks()], out=tmp_path / "b", settings=tiny(freeze=9), start=first))


def test_a_run_that_would_not_fit_is_refused_before_it_begins(tmp_path):
    with pytest.raises(TooLargeError, match=r"This training needs about .* GB .* smaller batch or patch"):
        next(fitting([disks()], out=tmp_path / "a", settings=tiny(batch=10_000, patch=4096)))


def test_two_processes_that_share_each_batch_learn_what_one_does(tmp_path):
    settings = tiny(batch=4, steps=3, keep_statistics=True)
    alone = drain(fitting([disks(held=(3,))], out=tmp_path / "one.safetensors", settings=settings))
    both = dataclasses.replace(settings, devices=2)
    steps = list(fitting_apart([disks(held=(3,))], out=tmp_path / "two.safetensors", settings=both))
    assert [step.preview["step"] for step in steps if step.preview][-1] == 3
    one, two = (load_model(path) for path in (alone, tmp_path / "two.safetensors"))
    for name, weights in one.net.state_dict().items():
        torch.testing.assert_close(two.net.state_dict()[name], weights, rtol=1e-4, atol=1e-6)
    with pytest.raises(InputError, match="shared evenly, got 3 patches for 2 devices"):
        dataclasses.replace(both, batch=3)


def test_under_strokes_both_kinds_count_the_same_and_each_patch_as_much_as_another():
    ids = np.full((4, 40, 40), IGNORED)
    ids[0] = 0
    ids[1, :20] = 3
    ids[2, 0, :4], ids[2, 5] = 7, 0
    ids[3, 0, 0] = 0
    spec = ModelSpec(name="x", heads=("semantic",))
    truth, weights = batch_targets(ids, spec)
    even = balanced(truth["semantic"], weights["semantic"])[:, 0].numpy()
    assert np.array_equal(even > 0, ids != IGNORED)
    assert even[:3].mean((1, 2)) == pytest.approx(1)
    assert even[2][ids[2] == 7].sum() == pytest.approx(even[2][ids[2] == 0].sum())
    assert even[3].max() == pytest.approx(500)  # a single pixel is no patch


def test_of_sizes_a_small_object_counts_as_the_root_of_its_size_and_no_speck_rules():
    ids = np.full((40, 40), IGNORED)
    ids[10:] = 0
    ids[10:20, :10], ids[20:, 20:], ids[39, 0] = 3, 4, 5
    weights = size_weights(ids)[0]
    assert (weights[ids <= 0] == 1).all()
    assert weights[ids == 3].sum() / weights[ids == 4].sum() == pytest.approx(np.sqrt(100 / 400))
    assert weights[39, 0] == 4
    assert weights[ids > 0].mean() == pytest.approx(1, abs=0.05)
    assert (size_weights(np.zeros((8, 8, 8), int)) == 1).all()
    settings = Settings(steps=1, patch=64, balance_sizes=True, workers=0)
    _, truth, kept = Drawn([disks(held=(3,))], card_of(("semantic",)), settings, 64)[0]
    assert len(np.unique(kept["semantic"][truth["semantic"] > 0])) > 1


def test_a_batch_shows_neighbours_in_the_list_by_their_weights():
    sources = [Source(str(k), np.full((1, 40, 40), k), np.zeros((1, 40, 40), int), (0, 1), weight=w)
               for k, w in enumerate([0.25, 0.25, 1.5])]  # fmt: skip
    for seed in range(20):
        images, _ = draw_batch(sources, np.random.default_rng(seed), 32, 4, augment=0)
        seen = np.rint(images.mean((1, 2))).astype(int).tolist()
        assert (seen.count(2), len(seen)) == (3, 4), seen
