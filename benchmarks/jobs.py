"""Runs into a store as jobs: memory, kills, pieces, workers, and what `mn.plan` says.

    python -m benchmarks.jobs memory [--planes 16]  B2: planes of 2048 x 2048 in 2 GB: network; slabs of 3 directions
    python -m benchmarks.jobs whole [--planes 1024] B2: all of a run over such planes, of 4 nm, in 2 GB
    python -m benchmarks.jobs kills [--kills 20]    B3: 1, 2, 4 workers; kill -9 of a whole job at random moments
    python -m benchmarks.jobs pieces [--side 256]   B4: pieces of 64, 128, 256 planes against a run in memory
    python -m benchmarks.jobs cluster               B5: dask with 1 and 2 workers; a net that sleeps, 1 to 64 workers
    python -m benchmarks.jobs constants             what plans are reckoned from
    python -m benchmarks.jobs plan                  B8: what was planned and what it took, three runs

Each prints its figures. The image is a phantom; networks are the bundled one, except where a net that sleeps is named.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import mitonb as mn
from benchmarks.peaks import Peak
from mitonb.infer.jobs import folder_of
from mitonb.infer.pools import on_cluster
from mitonb.infer.source import predictor_of
from mitonb.infer.tasks import Work
from mitonb.io.opening import open_labels
from mitonb.job import drain

XYZ = ("xy", "xz", "yz")
NAP = 1.0
"""Seconds of a task of the net that sleeps; a real one takes ten or more."""


def image(*shape: int) -> Any:
    """Return a stack of phantom, repeated to a shape."""
    made = mn.phantom((64, 128, 128), seed=1).stack.data
    data = np.tile(made, [-(-a // b) for a, b in zip(shape, made.shape, strict=True)])[tuple(map(slice, shape))]
    return mn.Stack(np.ascontiguousarray(data), (8.0, 8.0, 8.0), name="phantom")


def digest(labels: Any) -> str:
    """Return a hash of the voxels of labels."""
    return hashlib.sha256(np.ascontiguousarray(open_labels(labels).data)).hexdigest()[:16]


# ------------------------------------------------------------------------------------------------------- memory


def memory(options: Any, folder: Path) -> bool:
    """Run the network on a few planes, and all other stages on a thicker volume, in processes of their own."""
    good = True
    parts = ("network", "drawing", "slabs") if options.what == "memory" else ("whole",)
    if options.what == "whole":
        mn.save(image(options.planes, 2048, 2048).with_voxel_size(4), folder / "whole.ome.zarr")
    for name in parts:
        command = [sys.executable, "-m", "benchmarks.jobs", "memory", "--part", name, "--planes", str(options.planes)]
        environment = {**os.environ, "MEM_LIMIT": "2000000000"} if name != "drawing" else dict(os.environ)
        told = subprocess.check_output([*command, "--folder", str(folder)], env=environment)
        if name == "drawing":
            continue
        row = json.loads(told.splitlines()[-1])
        ratio = row["estimate"] / row["used"]
        good &= row["peak"] <= 1.5e9 and 0.7 <= ratio <= 1.3
        peak, used, guess = (f"{row[key] / 1e9:.2f} GB" for key in ("peak", "used", "estimate"))
        print(f"{name:>8}: {row['shape']}, {' '.join(row['axes'])}: peak {peak}, {used} of it by the run; "
              f"estimate {guess}, ratio {ratio:.2f}; {row['seconds']:.0f} s")  # fmt: skip
    return good


def memory_part(options: Any, folder: Path) -> None:
    """Measure one part, in this process."""
    slabs = options.part in ("drawing", "slabs")
    axes, depth = (XYZ, 8 * options.planes) if slabs else (("xy",), options.planes)
    recipe, out, path = mn.Recipe(planes=axes), folder / f"{slabs}.ome.zarr", folder / f"image-{slabs}.ome.zarr"
    if options.part in ("drawing", "network"):
        mn.save(image(depth, 2048, 2048), path)
    stack = mn.open(folder / "whole.ome.zarr") if options.part == "whole" else mn.open(path)
    if options.part == "drawing":  # what the network would leave
        steps = mn.segmenting(stack, recipe, out=out)
        next(step for step in steps if step.stage.startswith("predict"))
        work, truth = Work(folder_of(out, None)), mn.phantom((64, 128, 128), seed=1).labels.data
        engine = [False, {"name": "none", "precision": "none", "device": "cpu"}, []]
        report = {"empty": [], "seen": 1, "sections": {}, "notes": [[], []], "engine": engine}
        for task in work.stages()[0]:
            _draw(work, task.split("-")[1], work.span(task), truth)
            work.run.results.put(task, {"told": np.array(json.dumps(report))})
        steps.close()
        return
    guess, start = mn.estimate(stack, recipe, stored=True), time.monotonic()
    with Peak() as peak:
        mn.segment(stack, recipe, out=out, show=False)
    print(json.dumps({
        "shape": stack.shape, "axes": axes, "estimate": guess, "used": peak.used, "peak": peak.used + peak.before,
        "seconds": time.monotonic() - start,
    }))  # fmt: skip


def _draw(work: Work, axis: Any, span: range, truth: Any) -> None:
    """Put ids of planes where the network would have put them."""
    from mitonb.infer.run import Spill
    from mitonb.post.centers import connect

    spill = Spill(work.run.shape, axis, work.place / f"ids-0-{axis}", start=span.start, planes=True)
    k = XYZ.index(axis)
    sides = [n for i, n in enumerate(work.run.shape) if i != k]
    for index in span:
        plane = truth.take(index % truth.shape[k], k)
        whole = np.tile(plane, [-(-a // b) for a, b in zip(sides, plane.shape, strict=True)])[: sides[0], : sides[1]]
        spill.add(connect(np.ascontiguousarray(whole), 0)[0])
    spill.flush()


# -------------------------------------------------------------------------------------------------------- kills

_JOB = """
import sys
import mitonb as mn
stack = mn.open(sys.argv[1])
recipe = mn.Recipe(planes=("xy", "xz", "yz"), min_size=50)
mn.segment(stack, recipe, out=sys.argv[2], workers=int(sys.argv[3]) or None, show=False)
"""


def kills(options: Any, folder: Path) -> bool:
    """Kill whole jobs, and workers, at random moments; go on; compare the labels."""
    mn.save(image(64, 96, 96), folder / "image.ome.zarr")
    out, chance = folder / "labels.ome.zarr", random.Random(0)

    def begin(workers: int) -> Any:
        command = [sys.executable, "-c", _JOB, str(folder / "image.ome.zarr"), str(out), str(workers)]
        return subprocess.Popen(command, start_new_session=True)

    found, longest, together = set[str](), 0.0, 0.0
    for workers in (0, 1, 2, 4) if options.workers else (0,):
        start = time.monotonic()
        assert begin(workers).wait() == 0
        seconds = time.monotonic() - start
        longest = seconds if workers == 0 else longest
        together = seconds if workers == 2 else together
        found.add(digest(out))
        print(f"{workers or 'no'} workers: {digest(out)}, {seconds:.0f} s", flush=True)
        shutil.rmtree(out)
    if options.workers:
        process, gone = begin(2), 0
        while process.poll() is None and gone < 3:
            time.sleep(chance.uniform(0.2, 0.5) * together)
            workers = [one for one in psutil.Process(process.pid).children() if "spawn_main" in " ".join(one.cmdline())]
            if workers:
                chance.choice(workers).kill()
                gone += 1
        assert process.wait() == 0
        found.add(digest(out))
        print(f"2 workers, {gone} of them killed on the way: {digest(out)}", flush=True)
        shutil.rmtree(out)
    killed: list[int] = []
    while len(killed) < options.kills:
        process = begin(0)
        try:
            assert process.wait(chance.uniform(0.2, 0.9) * longest) == 0
            found.add(digest(out))
            print(f"done after {len(killed)} kills: {digest(out)}", flush=True)
            shutil.rmtree(out)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            killed.append(len(list(folder.glob("*.job/*/done/*.npz"))))
    if not out.exists():
        assert begin(0).wait() == 0
    found.add(digest(out))
    print(f"killed {len(killed)} times, tasks that were done then: {killed}; labels {' '.join(found)}")
    return len(found) == 1


# ------------------------------------------------------------------------------------------------------- pieces


def pieces(options: Any, folder: Path) -> bool:
    """Compare seconds and labels of jobs with a run in memory."""
    from mitonb.infer.jobs import working

    stack = image(options.side, options.side, options.side)
    recipe = mn.Recipe(planes=tuple(options.axes), median=3)
    predictor = predictor_of(None, recipe, stack.voxel_size)
    predictor.maps(stack.plane(0))
    rows = {}
    for piece in (0, 64, 128, 256):
        start, cpu = time.monotonic(), time.process_time()
        if piece:
            out = folder / f"{piece}.ome.zarr"
            labels = drain(working(stack, predictor, out, folder=folder / "job", piece=piece), show=False)
            found = digest(labels)
        else:
            found = hashlib.sha256(np.ascontiguousarray(mn.segment(stack, recipe, show=False).data)).hexdigest()[:16]
        rows[piece] = time.monotonic() - start, time.process_time() - cpu, found
        seconds, processor, found = rows[piece]
        what = f"pieces of {piece}" if piece else "in memory"
        print(f"{what:>14}: {seconds:.0f} s, {processor:.0f} s of processor ({processor / rows[0][1]:.2f} x), {found}")
    return len({row[2] for row in rows.values()}) == 1 and max(r[1] for r in rows.values()) <= 1.25 * rows[0][1]


# ------------------------------------------------------------------------------------------------------ cluster


def _sleep(folder: str, task: str) -> None:
    """Do what a network of constant time does."""
    time.sleep(NAP)


def cluster(options: Any, folder: Path) -> bool:
    """Time the network on dask workers of one thread; then the overhead of a task with a net that sleeps."""
    from distributed import Client, LocalCluster

    # Many workers in one process share its memory: a limit for each would pause them all.
    good, about = True, {"threads_per_worker": 1, "dashboard_address": None, "memory_limit": None}
    stack, recipe, times = image(256, 512, 512), mn.Recipe(), {}
    os.environ["OMP_NUM_THREADS"] = "1"
    for workers in (1, 2) if options.real else ():
        with LocalCluster(n_workers=workers, **about) as local, Client(local, set_as_default=False) as client:
            mn.segment(image(64, 64, 64), recipe, client=client, out=folder / f"warm{workers}.ome.zarr", show=False)
            steps = mn.segmenting(stack, recipe, client=client, out=folder / f"{workers}.ome.zarr")
            start = next(time.monotonic() for step in steps if step.stage == "xy planes")
            times[workers] = next(time.monotonic() for step in steps if step.stage.startswith("track")) - start
            drain(steps, show=False)
        print(f"dask, {workers} workers of one thread: network part {times[workers]:.0f} s", flush=True)
    if times:
        print(f"2 workers are {times[1] / times[2]:.2f} times as fast as 1")
        good &= times[1] / times[2] >= 1.7

    class Place:
        place = Path("nowhere")

    for workers in (1, 4, 16, 64):
        with LocalCluster(n_workers=workers, processes=False, **about) as local, Client(local) as client:
            client.wait_for_workers(workers)
            tasks = [f"planes-xy-{k}" for k in range(20 * workers)]
            start = time.monotonic()
            for _ in on_cluster(Place(), tasks, client, _sleep):  # type: ignore[arg-type]
                pass
            seconds = time.monotonic() - start
        ideal = NAP * len(tasks) / workers
        over = (seconds - ideal) / len(tasks) * 1000
        print(
            f"{workers:>3} workers, tasks of {NAP} s: efficiency {ideal / seconds:.2f}, {over:.1f} ms a task",
            flush=True,
        )
        good &= ideal / seconds >= 0.9 and (seconds - ideal) / len(tasks) < 0.02
    return good


# --------------------------------------------------------------------------------------------------------- plan


def constants(options: Any, folder: Path) -> bool:
    """Print seconds of the processor for each stage of a run, for a million voxels, and bytes of ids and labels."""
    stack, stages, spilled = image(32, 512, 512), dict[str, float](), 0
    recipe, million = mn.Recipe(planes=("xy", "xz")), 32 * 512 * 512 / 1e6
    mn.segment(image(16, 64, 64), recipe, show=False)
    last = time.process_time()
    for step in mn.segmenting(stack, recipe, out=folder / "labels.ome.zarr"):
        now = time.process_time()
        stages[step.stage] = stages.get(step.stage, 0.0) + now - last
        last = now
        if step.stage == "track xy":
            spilled = max(spilled, sum(p.stat().st_size for p in folder.glob("*.job/*/ids*/*")))
    for stage, seconds in stages.items():
        print(f"{stage:>20} {seconds:.2f} s, {1000 * seconds / million:.0f} ms for a million voxels")
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    print(f"ids {spilled / 2e6 / million:.3f} bytes a voxel and direction, labels {size / 1e6 / million:.3f} a voxel")
    return True


def planned(options: Any, folder: Path) -> bool:
    """Plan three runs and do them, in processes of their own."""
    good = True
    for shape, axes in (((32, 1024, 1024), ("xy",)), ((160, 160, 160), XYZ), ((64, 512, 512), ("xy", "xz"))):
        stack, recipe = image(*shape), mn.Recipe(planes=axes)
        mn.save(stack, folder / "image.ome.zarr", overwrite=True)
        stack = mn.open(folder / "image.ome.zarr")
        plan = mn.plan(stack, recipe)
        again = mn.plan(stack, recipe)
        names = str(folder / "image.ome.zarr"), str(folder / "labels.ome.zarr"), *axes
        code = "import sys, mitonb as mn\nmn.segment(mn.open(sys.argv[1]), mn.Recipe(planes=tuple(sys.argv[3:])), " \
               "out=sys.argv[2], overwrite=True, show=False)"  # fmt: skip
        start = time.monotonic()
        subprocess.run([sys.executable, "-c", code, *names], check=True)
        seconds = time.monotonic() - start
        print(f"{shape} {' '.join(axes)}: planned {plan.seconds:.0f} s (again: {again.seconds:.0f}), took "
              f"{seconds:.0f} s, ratio {plan.seconds / seconds:.2f}", flush=True)  # fmt: skip
        good &= 0.7 <= plan.seconds / seconds <= 1.3
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["memory", "whole", "kills", "pieces", "cluster", "constants", "plan"])
    parser.add_argument("--planes", type=int, help="16 by default, 1024 of a whole run")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument(
        "--no-workers", dest="workers", action="store_false", help="only kills of a job without workers"
    )
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--axes", nargs="+", default=["xy"], help="directions of the comparison of pieces")
    parser.add_argument("--no-real", dest="real", action="store_false", help="only the net that sleeps")
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    parser.add_argument("--part", choices=["network", "drawing", "slabs", "whole"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.planes = options.planes or (1024 if options.what == "whole" else 16)
    if options.part:
        memory_part(options, options.folder)
        return 0
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        does = {"memory": memory, "whole": memory, "kills": kills, "pieces": pieces, "cluster": cluster}
        does |= {"constants": constants, "plan": planned}
        return 0 if does[options.what](options, Path(folder)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
