"""Tasks of a run into a store: each reads what lies in the folder of its job, writes there, and marks itself done."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mitonb.box import Region
from mitonb.errors import CorruptFileError, InputError, MitonbError, ModelError
from mitonb.files import atomic_write
from mitonb.infer.kept import VOLUME, differences
from mitonb.infer.run import Run
from mitonb.infer.source import Source, predictor_of
from mitonb.io.limits import read_json
from mitonb.io.opening import open as open_stack
from mitonb.io.record import fingerprint
from mitonb.io.saving import save
from mitonb.io.zarr import LabelStore
from mitonb.job import Progress, drain
from mitonb.memory import give_back
from mitonb.recipe import Recipe
from mitonb.stack import AXES

if TYPE_CHECKING:
    from collections.abc import Generator

    from mitonb.stack import Stack

HEADER, DRIVER, LABELS = "job.json", "driver.json", "labels"
RUN = "run-"
"""What the names of folders begin with in which jobs work."""
PIECE = 32
"""Planes of a task."""


class Work:
    """The tasks of one job, as one worker sees them.

    Whatever it does depends on the folder and the name of a task alone, so that any number of workers may do them, in
    any order within a stage, and twice. What is done is what `run.results` holds. All of it lies in `place`, a
    folder in that of the job which only this job has: a task that outlives its job writes into no other one.

    Parameters
    ----------
    folder : Path
        Of the job; `start` has made it.
    source : Source, optional
        Where maps come from; by default image and model are opened as the job says, when a task wants them.
    """

    def __init__(self, folder: Path, source: Source | None = None) -> None:
        self.folder = folder
        self.told = read_json(folder / HEADER, folder.name)
        z, y, x = self.told["identity"]["shape"]
        self.place = folder / self.told["made"]
        self.place.mkdir(exist_ok=True)
        self.run = Run(
            (z, y, x), Recipe.from_json(json.dumps(self.told["pixels"])), job=self.place, blocks=self.told["blocks"],
            stuff=tuple(self.told["stuff"]), kinds=self.told["kinds"],
        )  # fmt: skip
        self._source = source
        self._store: LabelStore | None = None

    @property
    def source(self) -> Source:
        """Where maps come from."""
        if self._source is None:
            self._source = _source(self.told)
        return self._source

    @property
    def store(self) -> LabelStore:
        """The labels on their way."""
        if self._store is None:
            size, target = self.told["identity"]["voxel_size"], Path(self.told["target"])
            name = f"{self.told['name']} labels"
            self._store = LabelStore(self.place / LABELS, target, self.run.shape, size and tuple(size), name)
        return self._store

    def stages(self) -> list[list[str]]:
        """Return all tasks, stage by stage: those of one need that all of the stages before are done."""
        run = self.run
        written = [f"write-{k}" for k in range(len(run.slabs))]
        if run.blocks:
            return [[f"planes-{VOLUME}-0"], *run.stages(), written]
        counts = {axis: run.shape[AXES[axis]] for axis in run.axes}
        pieces = [f"planes-{axis}-{k}" for axis, n in counts.items() for k in range(0, n, self._piece(n))]
        return [pieces, [f"track-{axis}" for axis in run.axes], *run.stages(), written]

    def span(self, task: str) -> range:
        """Return the planes of a task; of all others one number, which counts for progress."""
        name, axis, first = [*task.split("-"), "", ""][:3]
        if name != "planes" or axis == VOLUME:
            return range(1)
        count, start = self.run.shape[AXES[axis]], int(first)  # type: ignore[index]
        return range(start, min(start + self._piece(count), count))

    def _piece(self, count: int) -> int:
        # By the published rules each median needs the one before.
        chained = self.run.recipe.rules == "published" and self.run.recipe.median > 1
        return count if chained else int(self.told["identity"]["piece"])

    def steps(self, task: str) -> Generator[Progress, None, None]:
        """Do a task."""
        run, (name, _, rest) = self.run, task.partition("-")
        if name == "planes":
            source, axis, span = self.source, rest.partition("-")[0], self.span(task)
            rolling = not self.told["keeps"]
            if axis == VOLUME:
                tables = yield from run.volume(source.kept, source.fill, rolling=rolling)
                run.results.put("track-xy", tables)
            else:
                yield from run.piece(source.kept, source.fill, axis, span, rolling=rolling)  # type: ignore[arg-type]
            run.results.put(task, source.report(axis, span))
        elif name == "write":
            slab = run.slabs[int(rest)]
            run.results.put(task, {"sum": np.array(self.store.write(slab.start, run.named(slab)))})
        else:
            run.do(task)
        give_back()

    def mend(self) -> None:
        """Forget that tasks are done which left nothing that can be read, where others still need it."""
        results = self.run.results
        results.drop_damaged()
        stages = [stage for stage in self.stages() if stage[0] not in ("vote", "decide")]  # those write no arrays
        for before, stage in reversed(list(itertools.pairwise(stages))):
            wanted = {task.split("-")[1] for task in stage if task not in results}
            for task in before if wanted else ():
                place = task.split("-")[1]
                # A slab needs itself, the tracking of a direction its planes; all else needs all.
                alone = place.isdigit() or not wanted.isdisjoint(AXES)
                if task in results and (place in wanted or not alone):
                    try:
                        self.run.check(task, self.span(task))
                    except CorruptFileError:
                        results.drop(task)


_here = threading.local()


def do_task(place: str, task: str) -> None:
    """Do a task of the job of a place, in whatever process or thread this is; image and model stay open for more."""
    folder, made = os.path.split(place)
    if getattr(_here, "place", None) != place or not os.path.isdir(place):
        work = Work(Path(folder))
        if work.told["made"] != made:
            raise InputError(f"The job that {task} was for is gone from {folder}.")
        _here.work, _here.place = work, place
    drain(_here.work.steps(task), show=False)


def require_own(folder: Path) -> None:
    """Refuse a folder that holds other things than a job, before anything is written there."""
    # A worker that ends after the job is gone may leave a folder.
    if folder.exists() and not (folder / HEADER).exists():
        if any(name != DRIVER and not name.startswith(RUN) for name in os.listdir(folder)):
            raise InputError(f"{folder} holds other things than a job. Give a new or an empty folder (job=).")


def start(folder: Path, told: dict[str, Any]) -> None:
    """Write what a job is, or go on with the one that is there.

    Raises
    ------
    InputError
        If that is of another image, model or recipe: it may have cost hours.
    """
    header = folder / HEADER
    if header.exists():
        known = read_json(header, folder.name)
        if changes := differences(known.get("identity"), told["identity"]):
            raise InputError(
                f"The job in {folder} is of another run: {changes}. Run it as it was to go on with it, delete this "
                "folder to start anew, or give another one (job=)."
            )
        told = {**told, "made": known["made"]}
    place = folder / told["made"]
    for task in place.glob("done/write-*.npz"):  # killed while they were put in their place
        if not (place / LABELS / "0").exists():
            task.unlink()
    _write_header(folder, told)


def _source(told: dict[str, Any]) -> Source:
    """Open the image and load the model of a job, and make sure that they are those of its beginning."""
    image, identity = told["image"], told["identity"]
    stack = open_stack(image["path"], **image["opened"])
    size = identity["voxel_size"]
    stack = replace(
        stack, name=told["name"], voxel_size=size and tuple(size), intensity=tuple(identity["net"]["intensity"])
    )
    stack.__dict__["contrast"] = tuple(identity["net"]["contrast"])  # a cached property
    recipe = Recipe.from_json(json.dumps(identity["recipe"]))
    predictor = predictor_of(told["model"], recipe, stack.voxel_size)
    if predictor.model.spec.sha256 != identity["model"]["sha256"]:
        raise ModelError(f"The model {told['model']} is not the one that this job began with: its hash is another.")
    if list(stack.shape) != identity["shape"]:
        raise InputError(f"{image['path']} has {stack.shape} voxels here, not {tuple(identity['shape'])} as before.")
    region = identity["region"] and Region.from_json(identity["region"])
    return Source(stack, predictor, None, region)


def share(work: Work, stack: Stack, model: Any) -> None:
    """Say in the header of a job how other processes open its image and load its model.

    An image that is not in a file, or not as the file holds it, is copied into the folder of the job.

    Raises
    ------
    InputError
        If the model is not one that can be loaded by a name.
    """
    identity, copied = work.told["identity"], work.folder / "image.ome.zarr"
    image = {"path": str(copied), "opened": {}}
    if stack.source is not None and stack.opened is not None and not copied.exists():
        with contextlib.suppress(MitonbError):
            if fingerprint(open_stack(stack.source, **stack.opened)) == identity["image"]:
                path = os.path.abspath(stack.source) if os.path.exists(stack.source) else stack.source
                image = {"path": path, "opened": dict(stack.opened)}
    if image["path"] == str(copied) and not copied.exists():
        save(stack, copied)
    name = identity["recipe"]["model"] if model is None else getattr(getattr(model, "spec", None), "name", model)
    name = os.path.expanduser(name)
    name = os.path.abspath(name) if os.path.isfile(name) else os.fspath(name)
    if hasattr(model, "spec"):
        loaded = None
        with contextlib.suppress(MitonbError):
            loaded = predictor_of(name, Recipe()).model.spec.sha256
        if loaded is None or loaded != identity["model"]["sha256"]:
            raise InputError(
                f"Workers load the model by its name, and {name} is not, or is another one. Save it with "
                "mn.export_model(model, 'mine.safetensors'), and give that path."
            )
    work.told |= {"image": image, "model": name}
    _write_header(work.folder, work.told)


def _write_header(folder: Path, told: dict[str, Any]) -> None:
    with atomic_write(folder / HEADER) as temporary:
        temporary.write_text(json.dumps(told, indent=1, default=int), "utf-8")  # numbers of NumPy: channel=
