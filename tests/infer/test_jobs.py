"""A run into a store is a job: cut anyhow, done by anybody, killed anywhere, it makes the labels of a run in memory."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import mitonb as mn
from mitonb.errors import CorruptFileError, InputError
from mitonb.infer import jobs, run
from mitonb.infer.kept import KeptMaps
from mitonb.infer.pools import here
from mitonb.infer.segment import segment, segmenting
from mitonb.infer.source import Source, predictor_of
from mitonb.infer.tasks import Work, do_task, share
from mitonb.io.opening import open_labels
from mitonb.job import drain
from mitonb.recipe import Recipe
from mitonb.stack import AXES, Stack
from tests.infer.oracle import Oracle, volume

ALL = ("xy", "xz", "yz")
GENTLE = Recipe(min_area=0, min_size=6, min_span=1, center_distance=4, tile=0, lookahead=2, planes=ALL)
IDS = np.ascontiguousarray(volume((24, 64, 80))[:, ::2, ::2])
STATES = int(os.environ.get("MITONB_KILLS", "5"))
"""Moments at which a job is killed: more take longer."""


@pytest.fixture(autouse=True)
def _small_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut so small a volume into several slabs, of several boxes each."""
    _cut(monkeypatch)


def _cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "SLAB_BYTES", 1)
    monkeypatch.setattr(run, "CHUNK", (8, 16, 32))


def worked(recipe: Recipe, folder: Path, piece: int = 8, model: Any = None) -> Any:
    """Return the steps of a job with small pieces."""
    predictor = predictor_of(model or Oracle(), recipe)
    out = folder / "labels.ome.zarr"
    return jobs.working(Stack(IDS), predictor, out, folder=jobs.folder_of(out, None), piece=piece)


@pytest.mark.parametrize(("recipe", "pieces"), [
    (GENTLE.replace(median=3), (8, 24)), (GENTLE.replace(planes=("xz",), median=5), (16,)),
    (GENTLE.replace(planes=("xy", "yz"), instances="none"), (8,)),
    (GENTLE.replace(rules="published", planes=("xy", "xz"), median=3, lookahead=0), (8,)),
])  # fmt: skip
def test_labels_do_not_depend_on_pieces_nor_on_the_order_of_tasks(
    recipe: Recipe, pieces: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = segment(IDS, recipe, model=Oracle(), show=False)
    order = random.Random(0)

    def anyhow(work: Any, workers: Any, client: Any) -> Any:
        return lambda tasks: here(work, order.sample(tasks, len(tasks)))

    monkeypatch.setattr(jobs, "pool_of", anyhow)
    for piece in pieces:
        (tmp_path / str(piece)).mkdir()
        got = drain(worked(recipe, tmp_path / str(piece), piece), show=False)
        assert np.array_equal(open_labels(got).data, want.data)
        assert got.record == want.record
        assert got.count == want.data.max() > 0


def test_each_plane_is_there_to_be_looked_at_as_it_comes(tmp_path: Path) -> None:
    for steps in (segmenting(IDS, GENTLE, model=Oracle()), worked(GENTLE, tmp_path)):
        seen = {}
        for step in steps:
            if step.preview is not None:
                axis, index, ids = step.preview
                seen[axis, index] = ids
        assert sorted(seen) == sorted((axis, k) for axis in ALL for k in range(IDS.shape[AXES[axis]]))
        for (axis, index), ids in seen.items():
            assert np.array_equal(ids > 0, IDS.take(index, AXES[axis]) > 0)


def test_a_job_that_was_killed_anywhere_goes_on_to_the_same_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = GENTLE.replace(median=3)
    want = segment(IDS, recipe, model=Oracle(), show=False).data
    (tmp_path / "live").mkdir()
    count = sum(1 for _ in worked(recipe, tmp_path / "live"))
    shutil.rmtree(tmp_path / "live" / "labels.ome.zarr")
    moments = set(np.random.default_rng(1).integers(2, count - 1, STATES).tolist())
    states: list[Path] = []

    def before(name: str) -> None:
        """Take also what there is before labels get another name."""
        rename = getattr(os, name)

        def call(source: Path, target: Path) -> None:
            if "labels" in (Path(source).name, Path(target).stem.partition(".")[0]):
                states.append(tmp_path / name)
                shutil.copytree(tmp_path / "live", states[-1])
            rename(source, target)

        monkeypatch.setattr(os, name, call)

    before("rename")
    before("replace")
    for k, _ in enumerate(worked(recipe, tmp_path / "live")):
        if k in moments:  # what a process that is killed here leaves
            states.append(tmp_path / str(k))
            shutil.copytree(tmp_path / "live", states[-1])
    monkeypatch.undo()
    _cut(monkeypatch)
    assert {"rename", "replace"} <= {state.name for state in states}
    for state in states:
        pieces, model = len(list(state.glob("*.job/*/done/planes-*.npz"))), Oracle()
        got = drain(worked(recipe, state, model=model), show=False)
        assert np.array_equal(open_labels(got).data, want)
        # A median of three looks at one plane more on either side of a piece.
        assert len(model.net.calls) <= 24 + 32 + 40 - 8 * pieces + 2
        assert [p.name for p in state.iterdir()] == ["labels.ome.zarr"]


def test_a_job_that_is_stopped_stays_and_one_in_which_nothing_was_done_does_not(tmp_path: Path) -> None:
    out = tmp_path / "labels.ome.zarr"
    stages = [s.stage for s in segmenting(IDS, GENTLE, model=Oracle(), out=tmp_path / "whole.ome.zarr")]
    assert {"predict xy", "track xy", "consensus", "clean", "write", "check"} <= set(stages)
    shutil.rmtree(tmp_path / "whole.ome.zarr")
    for stage in ("load model", "predict xy"):
        steps = segmenting(IDS, GENTLE, model=Oracle(), out=out)
        next(step for step in steps if step.stage == stage)
        steps.close()
        assert list(tmp_path.iterdir()) == []
    model = Oracle()
    for stage in list(dict.fromkeys(stages))[3:-1]:  # after "xy planes"
        steps = segmenting(IDS, GENTLE, model=model, out=out, job=tmp_path / "mine")
        next(step for step in steps if step.stage == stage)
        steps.close()
        assert [p.name for p in tmp_path.iterdir()] == ["mine"]
    segment(IDS, GENTLE, model=model, out=out, job=tmp_path / "mine", show=False)
    assert [p.name for p in tmp_path.iterdir()] == ["labels.ome.zarr"]


def test_a_job_that_is_done_is_not_done_again(tmp_path: Path) -> None:
    out, model = tmp_path / "labels.ome.zarr", Oracle()
    first = segment(IDS, GENTLE, model=model, out=out, show=False)
    calls = len(model.net.calls)
    again = segment(IDS, GENTLE, model=model, out=out, show=False)
    assert (again, again.record) == (first, first.record)
    assert len(model.net.calls) == calls
    about = json.loads((out / ".zattrs").read_text())
    with pytest.raises(InputError, match=r"already exists, .*recipe.min_size \(was 6, is 9\)"):
        segment(IDS, GENTLE.replace(min_size=9), model=model, out=out, show=False)
    segment(IDS, GENTLE.replace(min_size=9), model=model, out=out, overwrite=True, show=False)
    assert len(model.net.calls) == 2 * calls
    about["mitonb"]["job"] = {}  # by another hand
    (out / ".zattrs").write_text(json.dumps(about))
    with pytest.raises(InputError, match="already exists"):
        segment(IDS, GENTLE, model=model, out=out, show=False)


def test_a_job_of_another_run_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    out = tmp_path / "labels.ome.zarr"
    steps = segmenting(IDS, GENTLE, model=Oracle(), out=out)
    next(step for step in steps if step.stage == "clean")
    steps.close()
    before = sorted(tmp_path.rglob("*"))
    other = Oracle()
    other.spec = mn.models.spec.ModelSpec(name="oracle", output_stride=4, multiple=16, sha256="1" * 64)  # type: ignore[attr-defined]
    changed = IDS.copy()
    changed[3, 3, 3] = 9
    for ids, recipe, model, what in (
        (IDS, GENTLE.replace(votes=3), Oracle(), r"recipe.votes \(was 2, is 3\)"),
        (IDS, GENTLE, other, r"model.sha256"), (changed, GENTLE, Oracle(), r"image \(was all-sha256"),
        (IDS[:20], GENTLE, Oracle(), "shape"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=rf"is of another run: .*{what}.*to start anew, or .*\(job=\)\.$"):
            segment(ids, recipe, model=model, out=out, show=False)
        assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("words")
    with pytest.raises(InputError, match="holds other things than a job"):
        segment(IDS, GENTLE, model=Oracle(), out=tmp_path / "b.ome.zarr", job=tmp_path / "full", show=False)
    assert (tmp_path / "full" / "thesis.txt").exists()


def test_a_block_that_was_lost_is_an_error_and_no_background(tmp_path: Path) -> None:
    steps = worked(GENTLE, tmp_path)
    next(step for step in steps if step.stage == "yz planes")
    steps.close()
    (lost,) = list(tmp_path.glob("*.job/*/ids-0-xy/1.0.0"))
    lost.unlink()
    with pytest.raises(CorruptFileError, match=r"temporary files of this run in .*ids-0-xy are damaged.*run the same"):
        drain(worked(GENTLE, tmp_path), show=False)


@pytest.mark.parametrize(("stage", "harmed"), [
    ("track xy", ["ids-0-xz/0.0.0"]), ("consensus", ["tracked-0-xz/2.0.0"]), ("clean", ["joined-0/1.0.0"]),
    ("write", ["whole/1.0.0", "done/vote.npz"]), ("write", ["done/clean-1.npz"]), ("check", ["labels/0/1/0/0"]),
])  # fmt: skip
def test_what_is_lost_or_damaged_is_made_again_by_the_next_run(stage: str, harmed: list[str], tmp_path: Path) -> None:
    recipe = GENTLE.replace(planes=("xy", "xz"))
    steps = worked(recipe, tmp_path)
    next(step for step in steps if step.stage == stage)
    steps.close()
    for k, name in enumerate(harmed):
        (path,) = tmp_path.glob(f"*.job/*/{name}")
        path.write_bytes(b"PK") if k else path.unlink()
    with pytest.raises(CorruptFileError, match="run the same again to go on"):
        drain(worked(recipe, tmp_path), show=False)
    got = drain(worked(recipe, tmp_path), show=False)
    assert np.array_equal(open_labels(got).data, segment(IDS, recipe, model=Oracle(), show=False).data)
    assert [p.name for p in tmp_path.iterdir()] == ["labels.ome.zarr"]


def test_a_task_that_outlives_its_job_writes_into_no_other_one(tmp_path: Path) -> None:
    mn.save(Stack(IDS), tmp_path / "cell.ome.zarr")
    folder = tmp_path / "labels.ome.zarr.job"
    steps = worked(GENTLE, tmp_path)
    next(step for step in steps if step.stage == "xz planes")
    steps.close()
    late = Work(folder, Source(Stack(IDS), predictor_of(Oracle(), GENTLE), None, None))
    task = late.steps("planes-xy-8")
    next(task)
    shutil.rmtree(folder)
    other = GENTLE.replace(center_distance=9, min_size=40)
    steps = worked(other, tmp_path)
    next(step for step in steps if step.stage == "xy planes")
    done = sorted(folder.glob("*/done/*"))
    with pytest.raises(InputError):
        drain(task, show=False)
    assert sorted(folder.glob("*/done/*")) == done
    with pytest.raises(InputError, match="is gone from"):
        do_task(str(late.place), "planes-xy-0")
    assert np.array_equal(
        open_labels(drain(steps, show=False)).data, segment(IDS, other, model=Oracle(), show=False).data
    )


def test_a_job_is_found_from_other_folders_and_numbers_of_numpy_choose_a_channel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    two = np.stack([IDS, IDS], 1)
    tifffile.imwrite("two.tif", two, metadata={"axes": "ZCYX"}, imagej=True)
    stack = mn.open("two.tif", channel=np.int64(1))
    predictor = predictor_of(Oracle(), GENTLE)
    folder = jobs.folder_of(Path("labels.ome.zarr"), None)
    assert folder == jobs.folder_of(Path("labels.ome.zarr"), "labels.ome.zarr.job") == tmp_path / "labels.ome.zarr.job"
    steps = jobs.working(stack, predictor, tmp_path / "labels.ome.zarr", folder=folder)
    next(steps)
    share(Work(folder), stack, "mito-mini")
    told = json.loads((folder / "job.json").read_text())["image"]
    steps.close()
    assert told["path"] == str(tmp_path / "two.tif")
    assert told["opened"]["channel"] == 1


def test_one_run_at_a_time_works_in_a_folder(tmp_path: Path) -> None:
    first = worked(GENTLE, tmp_path)
    next(step for step in first if step.stage == "xy planes")
    for _ in range(2):  # what was refused leaves the door shut
        with pytest.raises(InputError, match=r"at work in this notebook or script\. Wait for it, or cancel it first"):
            drain(worked(GENTLE, tmp_path), show=False)
    first.close()
    drain(worked(GENTLE, tmp_path), show=False)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "driver.json").write_text("of my car")
    (tmp_path / "full" / "thesis.txt").write_text("words")
    with pytest.raises(InputError, match="holds other things than a job"):
        segment(IDS, GENTLE, model=Oracle(), out=tmp_path / "b.ome.zarr", job=tmp_path / "full", show=False)
    assert (tmp_path / "full" / "driver.json").read_text() == "of my car"


def test_a_full_disk_at_a_mark_says_that_what_is_done_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save, marks = np.savez, []

    def full(file: Any, **found: Any) -> None:
        marks.append(file)
        if len(marks) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(file, **found)

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(InputError, match=r"the disk is full .*What is done is kept in .*: run the same again"):
        drain(worked(GENTLE, tmp_path), show=False)
    assert len(list(tmp_path.glob("*.job/*/done/*"))) == len(list(tmp_path.glob("*.job/*/done/.*"))) + 2 == 2


def test_labels_go_over_to_another_disk_and_stay_there_until_all_has_arrived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, states = shutil.copytree, list[list[str]]()

    def elsewhere(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    def torn(source: Path, target: Path, *more: Any) -> None:
        copy(source, target, *more)
        if more:  # of a folder inside
            return
        if not states:
            next(target.glob("0/1/0/0")).unlink()
        states.append([p.name for p in source.iterdir()])

    monkeypatch.setattr(os, "rename", elsewhere)
    monkeypatch.setattr(shutil, "copytree", torn)
    with pytest.raises(CorruptFileError, match="What is done is kept"):
        drain(worked(GENTLE, tmp_path), show=False)
    assert [p.name for p in tmp_path.iterdir()] == ["labels.ome.zarr.job"]
    drain(worked(GENTLE, tmp_path), show=False)
    assert len(states) == 2
    assert all("0" in names for names in states)


def test_kept_maps_and_regions_go_through_jobs(tmp_path: Path) -> None:
    roi = mn.Box((4, 5, 5), (20, 30, 35))
    kept = KeptMaps(folder=tmp_path / "maps")
    want = segment(IDS, GENTLE, model=Oracle(), roi=roi, show=False)
    got = segment(IDS, GENTLE, model=Oracle(), roi=roi, kept=kept, out=tmp_path / "a.ome.zarr", show=False)
    assert np.array_equal(open_labels(got).data, want.data)
    assert got.record == want.record
    model = Oracle()
    segment(
        IDS, GENTLE, model=model, roi=roi, kept=KeptMaps(folder=tmp_path / "maps"), out=tmp_path / "b.zarr", show=False
    )
    assert model.net.calls == []
    steps = segmenting(IDS, GENTLE, model=model, roi=roi, out=tmp_path / "c.ome.zarr")
    next(step for step in steps if step.stage == "clean")
    steps.close()
    late = KeptMaps(folder=tmp_path / "late-maps")  # asked for when the planes were done
    segment(IDS, GENTLE, model=model, roi=roi, kept=late, out=tmp_path / "c.ome.zarr", show=False)
    assert [late.count(axis) for axis in ALL] == [24, 32, 40]
