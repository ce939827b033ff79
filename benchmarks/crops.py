"""How many patches a second training goes through, beside a plain loop: the same net and patches, eager, float32.

    python -m benchmarks.crops [--patch 256] [--batch 8] [--seconds 20]

Both are measured in turns, in one run, and told as a ratio. On a GPU its load is told, too.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import torch

from mitonb.learn.loop import Drawn, Settings, fitting
from mitonb.learn.losses import add_losses
from mitonb.learn.runs import fast_precision
from mitonb.models.zoo import build, read_net
from training.mito_mini import draw_phantoms

TURNS = 3


def run_plain(sources, spec, settings: Settings, seconds: float) -> float:
    """Return patches a second of a loop as everybody would write it."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = build(spec).to(device).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    drawn, begun, step = Drawn(sources, spec, settings, settings.patch), 0.0, 0
    while not begun or time.perf_counter() - begun < seconds:
        x, truth, weights = drawn[step]
        truth, weights = ({k: v.to(device) for k, v in some.items()} for some in (truth, weights))
        loss, _ = add_losses(net(x.to(device)), truth, weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        float(loss.detach())
        step += 1
        begun, step = (begun, step) if begun else (time.perf_counter(), 0)  # the first one warms up
    return step * settings.batch / (time.perf_counter() - begun)


def run_ours(sources, start: str, settings: Settings, seconds: float) -> tuple[float, list[float]]:
    """Return patches a second of `mitonb.learn.loop.fitting`, and what the GPU said of its load meanwhile."""
    begun, steps, asked, loads = 0.0, 0, 0.0, []
    with tempfile.TemporaryDirectory() as folder:
        run = fitting(sources, out=Path(folder) / "new.safetensors", settings=settings, start=start, save_every=1e9)
        for step in run:
            if not step.stage.startswith("train"):
                continue
            begun, steps = (begun, steps + 1) if begun else (time.perf_counter(), 0)
            if torch.cuda.is_available() and time.perf_counter() - asked > 1:
                asked = time.perf_counter()
                ask = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
                loads.append(float(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.split()[0]))
            if time.perf_counter() - begun > seconds:
                break
        rate = steps * settings.batch / (time.perf_counter() - begun)
        run.close()
    return rate, loads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patch", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    sources = draw_phantoms(2)
    _, spec = read_net("mito-mini")
    settings = Settings(steps=10**6, batch=options.batch, patch=options.patch, precision=fast_precision())
    ratios, loads = [], []
    for _ in range(TURNS):
        plain = run_plain(sources, spec, settings, options.seconds)
        ours, load = run_ours(sources, "mito-mini", settings, options.seconds)
        ratios.append(ours / plain)
        loads += load[1:]
        print(f"plain {plain:.1f}, ours {ours:.1f} patches a second of {options.patch} pixels: {ratios[-1]:.2f} times")
    print(f"median {statistics.median(ratios):.2f} times; ours in {settings.precision}")
    if loads:
        print(f"{torch.cuda.get_device_name()}: busy {statistics.median(loads):.0f} % of the time")


if __name__ == "__main__":
    main()
