"""How long a training takes to end after it was cancelled, in each of its stages, and whether its process is gone.

    python -m benchmarks.cancelling [--net panoptic-2d | --start mito-mini] [--size 1024]

The run is that of the form: read, train, look at what is held out, score before and after. Each stage is cancelled half
a second after it begins, in a run of its own.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

import mitonb as mn

if TYPE_CHECKING:
    from mitonb.widgets.trainer import TrainForm


def stage_of(step: mn.Progress) -> str:
    return step.stage.partition(":")[0]


def cancel_in(form: TrainForm, base: str, wanted: str | None, folder: Path) -> tuple[list[str], float]:
    """Cancel a run in a stage; return the stages that were seen and the seconds from the click to the end of all."""
    material = form.material
    assert material is not None
    seen: list[str] = []
    there = threading.Event()
    form._before = None
    job = mn.Job(form._training(material, base, folder / "a.safetensors", 0.1))

    def look(step: mn.Progress) -> None:
        stage = stage_of(step)
        if stage not in seen:
            seen.append(stage)
        if stage == wanted:
            there.set()

    job.progressed.connect(look)
    job.start()
    while not there.wait(0.05) and job.state == "running":
        pass
    time.sleep(0.5 if wanted else 0)
    if job.state != "running":
        return seen, 0.0
    began = time.perf_counter()
    job.cancel()
    job.wait(60)
    while any("mitonb.learn.child" in " ".join(c.cmdline()) for c in psutil.Process().children()):
        time.sleep(0.01)
    (folder / "a.safetensors.part").unlink(missing_ok=True)
    return seen, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--net", help="a new net, such as unet-3d; else a model is finetuned")
    parser.add_argument("--start", default="mito-mini")
    parser.add_argument("--size", type=int, default=512)
    options = parser.parse_args()
    base = f"new {options.net}" if options.net else options.start
    form = mn.train_form(mn.Pair(*mn.phantom((16, options.size, options.size), seed=1)))
    form.base.value = base
    form.check().result(300)
    with tempfile.TemporaryDirectory() as folder:
        stages, _ = cancel_in(form, base, None, Path(folder))
        print(f"{base}, {options.size} pixels: stages {', '.join(stages)}")
        for stage in stages:
            _, seconds = cancel_in(form, base, stage, Path(folder))
            print(f"{stage:>22}: {f'{seconds:.2f} s' if seconds else 'over before it was cancelled'}", flush=True)


if __name__ == "__main__":
    main()
