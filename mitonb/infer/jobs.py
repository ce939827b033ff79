"""A run into a store as a job: a folder that says what is done, tasks by anybody, labels put in their place."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mitonb.errors import CorruptFileError, InputError, MitonbError
from mitonb.files import atomic_write, explain_disk, explain_write, hold, remove
from mitonb.infer.kept import KeptMaps, differences
from mitonb.infer.pools import here, pool_of
from mitonb.infer.run import completed, stage_of, stuff_of
from mitonb.infer.source import Source, key_of
from mitonb.infer.tasks import DRIVER, PIECE, RUN, Work, require_own, share, start
from mitonb.io.record import fingerprint
from mitonb.io.saving import store_path
from mitonb.io.zarr import job_of
from mitonb.job import Progress
from mitonb.labels import StoredLabels

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from mitonb.box import Region
    from mitonb.infer.predict import Predictor
    from mitonb.stack import Stack

_DONE = f"{RUN}*/done/*.npz"


def folder_of(target: Path, job: str | os.PathLike[str] | None) -> Path:
    """Return the folder of a job: beside its labels, or where the user wants it."""
    # Whole: workers may have been started elsewhere.
    return (target.with_name(f"{target.name}.job") if job is None else Path(job).expanduser()).absolute()


def target_of(out: str | os.PathLike[str], *, overwrite: bool, source: str | None) -> Path:
    """Return the path of the labels; those of a job may be there, which may be the very ones that are asked for."""
    made = not overwrite and job_of(Path(out).expanduser()) is not None
    return store_path(out, overwrite=overwrite or made, source=source)


def working(
    stack: Stack, predictor: Predictor, target: Path, *, folder: Path, model: Any = None, region: Region | None = None,
    kept: KeptMaps | None = None, overwrite: bool = False, workers: int | None = None, client: Any = None,
    piece: int = PIECE,
) -> Generator[Progress, None, StoredLabels]:  # fmt: skip
    """Segment a stack into a store, task by task, and go on from what an earlier process has done.

    Closed early, or killed, it leaves the folder of the job, from which the same call goes on; done, it takes the
    folder away.

    Parameters
    ----------
    stack, predictor, target, region, kept, overwrite, workers, client
        As `segmenting` has them.
    folder : Path
        Of the job.
    model : Model, str or path
        As it was asked for: workers load it by its name.
    piece : int
        Planes of a task, a multiple of 8.

    Raises
    ------
    InputError
        If the folder is of another run, which is named, or in use, or workers could not open image or model.
    """
    recipe, spec = predictor.recipe, predictor.model.spec
    identity = _identity(stack, predictor, region, piece)
    made = None if overwrite else job_of(target)
    if made is not None:
        if changes := differences(made["job"]["identity"], identity):
            raise InputError(
                f"{target} already exists, and is of another run: {changes}. Choose another name or overwrite it."
            )
        about = stack.voxel_size, f"{stack.name} labels", made.get("record")
        return StoredLabels(target, stack.shape, made["job"]["count"], *about)
    told = {
        "identity": identity, "pixels": json.loads(predictor.scale.in_pixels(recipe).to_json()),
        "kinds": len(spec.classes) if "semantic" in spec.heads else 1, "blocks": predictor.dimension == 3,
        "stuff": stuff_of(spec), "keeps": kept is not None or recipe.verdicts is not None, "name": stack.name,
        "target": str(target.absolute()), "made": f"{RUN}{uuid.uuid4().hex[:12]}",
    }  # fmt: skip
    with _driving(folder, told):
        if kept is None and recipe.verdicts is not None:
            kept = KeptMaps(folder=folder / "maps")  # verdicts look at what the net said of whole objects
        source = Source(stack, predictor, kept, region)
        work = Work(folder, source)
        pool = pool_of(work, workers, client)
        if workers is not None or client is not None:
            share(work, stack, model)
        try:
            labels = yield from _labels(work, source, pool, kept)
        except CorruptFileError:
            work.mend()
            raise
    remove(folder)
    yield Progress("done", work.run.total, work.run.total)
    return labels


def _labels(
    work: Work, source: Source, pool: Callable[[Sequence[str]], Any], kept: KeptMaps | None
) -> Generator[Progress, None, StoredLabels]:
    """Do all tasks that are left, and put the labels in their place."""
    run, stack, record, identity = work.run, source.stack, dict[str, Any](), work.told["identity"]
    stages, verdicts = work.stages(), source.predictor.recipe.verdicts
    run.total = sum(len(work.span(task)) for stage in stages for task in stage)
    finished = 0
    for stage in stages:
        planes = stage is stages[0]
        tasks = [task for task in stage if task not in run.results or (planes and not _keeps(kept, work, task))]
        finished += sum(len(work.span(task)) for task in stage if task not in tasks)
        run.done = finished
        if planes and tasks:
            for _ in source.compare():
                yield run.progress("compare with the kept maps")
        seen = False
        # Maps are kept by one process.
        for step in here(work, tasks) if planes and kept is not None else pool(tasks):
            seen = seen or (isinstance(step, Progress) and step.preview is not None)
            preview = None
            if isinstance(step, str):
                finished += len(work.span(step))
                run.done = finished
                if planes and not run.blocks and not seen:  # of other processes this is all that there is to see
                    preview = run.preview(step.split("-")[1], work.span(step)[-1])  # type: ignore[arg-type]
            yield step if isinstance(step, Progress) else run.progress(stage_of(tasks[0]), preview)
        if planes:
            source.recall([str(run.results.get(task, "told")) for task in stage])
            source.require_some()
            record = source.record(identity["image"])
            source.forget()
        run.forget(stage)
        if stage == ["decide"] and verdicts is not None and "judge" not in run.results:
            yield run.progress("verdicts")
            run.drop_false(stack, source.kept.sections())
    record = completed(record, source.predictor.model.spec.classes, run)
    store, count = work.store, sum(run.counts)
    store.sums = [(slab, int(run.results.get(f"write-{k}", "sum"))) for k, slab in enumerate(run.slabs)]
    target = store.target
    try:
        for _ in store.finish(record, {"identity": identity, "count": count}):
            yield run.progress("lower resolutions")
        yield run.progress("check")
        with explain_write(target), atomic_write(target, store.check) as temporary:
            try:
                os.rename(store.folder, temporary)
            except OSError:  # on another disk; a copy leaves what is there until all of it has arrived
                shutil.copytree(store.folder, temporary)
    except MitonbError:
        remove(store.folder)  # the next run writes them again
        raise
    return StoredLabels(target, run.shape, count, stack.voxel_size, f"{stack.name} labels", record)


def _keeps(kept: KeptMaps | None, work: Work, task: str) -> bool:
    """Return whether the maps of a task are where the user wants them, if anywhere; another run may have done it."""
    return kept is None or all(kept.has(task.split("-")[1], index) for index in work.span(task))  # type: ignore[arg-type]


def _identity(stack: Stack, predictor: Predictor, region: Region | None, piece: int) -> dict[str, Any]:
    """Return what labels depend on, as JSON gives it back."""
    from mitonb import __version__

    spec = predictor.model.spec
    identity = {
        "mitonb": __version__, "shape": stack.shape, "image": fingerprint(stack), "voxel_size": stack.voxel_size,
        "recipe": json.loads(predictor.recipe.to_json()), "net": key_of(stack, predictor), "piece": piece,
        "model": {"name": spec.name, "sha256": spec.sha256, "classes": spec.classes},
        "region": None if region is None else region.to_json(),
    }  # fmt: skip
    return dict(json.loads(json.dumps(identity)))


@contextlib.contextmanager
def _driving(folder: Path, told: dict[str, Any]) -> Iterator[None]:
    """Hold the folder of a job: begin it, or go on with it; one in which nothing was done is not left behind."""
    if not folder.parent.is_dir():
        raise InputError(f"The folder {folder.parent} does not exist. Create it first.")
    require_own(folder)
    what, advice = f"The job cannot be written into {folder}", "Free some space, or give a folder elsewhere (job=)."
    fresh, nothing = not folder.exists(), False

    def clear() -> None:
        if nothing:
            remove(folder)

    with contextlib.ExitStack() as held:
        held.callback(clear)
        with explain_disk(what, folder.parent, advice):
            folder.mkdir(exist_ok=True)
            held.enter_context(hold(folder / DRIVER, f"The job in {folder}"))
            nothing = fresh
            start(folder, told)
        try:
            yield
        except MitonbError as error:
            if any(folder.glob(_DONE)):
                raise type(error)(f"{error} What is done is kept in {folder}: run the same again to go on.") from error
            raise
        finally:
            nothing = fresh and not any(folder.glob(_DONE)) and not (folder / "maps").exists()
