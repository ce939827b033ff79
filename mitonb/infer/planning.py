"""What a run would take, said before it starts: hours, reading and writing, room on the disk, memory of a worker."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mitonb.errors import InputError
from mitonb.infer.kept import plane_shape
from mitonb.infer.memory_estimate import estimate
from mitonb.infer.run import slab_thickness
from mitonb.infer.source import ModelWish, predictor_of
from mitonb.infer.tasks import PIECE
from mitonb.io.limits import size_text
from mitonb.job import clock
from mitonb.recipe import Recipe
from mitonb.stack import AXES, Plane, Stack

if TYPE_CHECKING:
    from collections.abc import Mapping

CONSTANTS = {
    "decode_seconds": 0.045, "plane_seconds": 0.004, "track_seconds": 0.03, "slab_seconds": 0.03,
    "write_seconds": 0.04, "start_seconds": 8.0, "spilled_bytes": 0.03, "label_bytes": 0.02,
}  # fmt: skip
"""Seconds of one core for a million pixels of a direction: decoding and spilling, for each plane besides, and tracking;
for a million voxels: votes and cleaning for each direction, writing and reading back. Seconds until a worker has begun.
Bytes that ids take per voxel and direction, and labels per voxel. By `python -m benchmarks.jobs constants`."""

_TRIAL = 512


@dataclass(frozen=True)
class Plan:
    """What segmenting a stack into a store would take.

    Attributes
    ----------
    seconds : float
        From start to end.
    network_seconds : float
        The part of it in which the network runs.
    read_bytes, written_bytes : int
        Of the image, uncompressed, and of labels and temporary files, compressed.
    temporary_bytes : int
        Room for the folder of the job at its fullest.
    worker_bytes : int
        Memory that each worker takes at its peak.
    workers : int
    device : str
        What the network ran on when its speed was measured.
    tasks : int
        Of the network.
    constants : mapping
        What all of this was reckoned from, the first one measured just now: seconds of the network for a million
        pixels, and `CONSTANTS`.
    """

    seconds: float
    network_seconds: float
    read_bytes: int
    written_bytes: int
    temporary_bytes: int
    worker_bytes: int
    workers: int
    device: str
    tasks: int
    constants: Mapping[str, float]

    def __str__(self) -> str:
        sizes = self.read_bytes, self.written_bytes, self.temporary_bytes, self.worker_bytes
        read, written, temporary, memory = map(size_text, sizes)
        many = f"{self.workers} worker{'s'[: self.workers > 1]}"
        pairs = ((*name.rsplit("_", 1), value) for name, value in self.constants.items())
        rates = ", ".join(f"{what} {value:.3g} {'s' if unit == 'seconds' else 'B'}" for what, unit, value in pairs)
        return (
            f"time         {clock(self.seconds)} with {many}, {clock(self.network_seconds)} of it network\n"
            f"network on   {self.device}; {self.tasks} task{'s'[: self.tasks != 1]}\n"
            f"reading      {read}\nwriting      {written}, at most {temporary} at a time in the folder of the job\n"
            f"memory       {memory} for each worker\nreckoned from {rates}"
        )


def plan(
    stack: Stack, recipe: Recipe | None = None, *, model: ModelWish = None, workers: int = 1, device: str | None = None
) -> Plan:
    """Say what segmenting a stack into a store would take; the network runs for a few seconds to be timed.

    Parameters
    ----------
    stack : Stack
        The image; one tile in the middle of it is read.
    recipe, model
        As for `segment`.
    workers : int
        How many do the work, each on a machine, a share of the cores, or a GPU of its own like the one at hand. The
        cores of this machine are shared by as many as it has, and not by more.
    device : {"auto", "cpu", "cuda", "mps"}, optional
        What the network runs on, instead of what the recipe says; it is timed there, so it must be here.

    Returns
    -------
    Plan
        Print it.

    Raises
    ------
    InputError
        If there is no such device, or less than one worker.

    Examples
    --------
    ``print(mn.plan(mn.open("huge.ome.zarr"), workers=64))``
    """
    recipe = Recipe.of(recipe)
    stack = stack if isinstance(stack, Stack) else Stack(stack)
    if workers < 1:
        raise InputError(f"A plan needs a worker at least, got {workers}.")
    recipe = recipe if device is None else recipe.replace(device=device)
    predictor = predictor_of(model, recipe, stack.voxel_size)
    if predictor.dimension == 3:
        raise InputError("A 3-D network takes the volume in one task: mn.estimate says what memory it needs.")
    seconds = _net_seconds(stack, predictor)
    constants = {"network_seconds": seconds, **CONSTANTS}
    voxels, planes, pixels = math.prod(stack.shape), 0, 0.0
    for axis in recipe.planes:
        sides, count = plane_shape(stack.shape, axis), stack.shape[AXES[axis]]
        halo = 1 + (recipe.median // 2) * 2 / min(PIECE, count) * (workers > 1)
        pixels += halo * count * predictor.pixels(sides, predictor.scale.along(axis)) / 1e6
        planes += math.ceil(count / PIECE)
    directions, million = len(recipe.planes), voxels / 1e6
    tasks = max(1, min(workers, planes))
    each = CONSTANTS["plane_seconds"] * sum(stack.shape[AXES[axis]] for axis in recipe.planes)
    network = (seconds * pixels + CONSTANTS["decode_seconds"] * directions * million + each) / tasks
    rounds = math.ceil(planes / tasks) * tasks / planes  # the last tasks leave some workers without one
    tracking = CONSTANTS["track_seconds"] * million * math.ceil(directions / workers)
    parts = math.ceil(stack.shape[0] / slab_thickness(stack.shape))
    slabs = CONSTANTS["slab_seconds"] * directions * million / min(workers, parts)
    total = CONSTANTS["start_seconds"] + network * rounds + tracking + slabs + CONSTANTS["write_seconds"] * million
    spilled, labels = CONSTANTS["spilled_bytes"] * directions * voxels, CONSTANTS["label_bytes"] * voxels
    ran = predictor.runner.record
    return Plan(
        total, seconds * pixels * rounds / tasks, read_bytes=directions * voxels * stack.dtype.itemsize,
        written_bytes=int(2 * spilled + 3 * labels), temporary_bytes=int(2 * spilled + labels),
        worker_bytes=estimate(stack, recipe, model=model, stored=True), workers=workers, tasks=planes,
        device=f"{predictor.device}, {ran['name']} {ran['precision']}, {os.cpu_count()} cores", constants=constants,
    )  # fmt: skip


def _net_seconds(stack: Stack, predictor: Any) -> float:
    """Return the seconds that the net takes for a million pixels, from one tile in the middle of a plane."""
    axis = predictor.recipe.planes[0]
    k = AXES[axis]
    middle = [n // 2 for n in stack.shape]
    side = [min(n, int(_TRIAL * f)) for n, f in zip(stack.shape, predictor.scale.factors, strict=True)]
    start = [max(0, m - s // 2) for m, s in zip(middle, side, strict=True)]
    cut: list[Any] = [slice(a, a + s) for a, s in zip(start, side, strict=True)]
    cut[k] = middle[k]
    plane = Plane(np.asarray(stack.data[tuple(cut)]), axis, middle[k], stack.intensity, stack.contrast)
    predictor.maps(plane)  # compiles
    pixels = predictor.pixels(plane.shape, predictor.factors(plane))
    begin, runs = time.perf_counter(), 0
    while runs < 3 or time.perf_counter() - begin < 2:
        predictor.maps(plane)
        runs += 1
    return (time.perf_counter() - begin) / runs / (pixels / 1e6)
