"""How fast the engines run a net on this CPU, against the same net in plain torch.

    OMP_NUM_THREADS=2 python -m benchmarks.network [--nets mito-mini mitonet mini] [--sizes 512 1024] [--json net.json]

`plain` is the net as it comes from its file, in eager fp32 torch, with contiguous memory. The others take turns with
it, picture by picture, so that other work on the machine meets all alike; `ratio` is the median of plain / engine of
each turn. `mitonet` and `mini` are the architectures of MitoNet_v1 and of its mini version, of random weights: speed
only. Differences to plain: each head in standard deviations; pixels whose side of 0.5 changed. What the 8-bit program
does to scores is on the model's card (`python -m benchmarks.accuracy`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path

import numpy as np
import torch

import mitonb as mn
from mitonb.infer.engines import OpenVinoEngine, Runner, TorchEngine, convert, openvino_is_there
from mitonb.models.spec import WEIGHTS, ModelSpec
from mitonb.models.zoo import Model, build, load_model, read_net
from mitonb.phantoms import phantom
from mitonb.post.tables import overlaps
from mitonb.stack import Stack

CARDS = {
    "mitonet": ModelSpec(
        name="mitonet", architecture="panoptic_deeplab", pixel_offset=1.5, multiple=16, sha256="random"
    ),
    "mini": ModelSpec(name="mini", architecture="panoptic_bifpn", pixel_offset=1.5, multiple=128, sha256="random-mini"),
}


def model(name: str) -> tuple[torch.nn.Module, Model]:
    """Return a net as it comes and as inference uses it."""
    if name in CARDS:
        torch.manual_seed(0)
        net = settled(build(CARDS[name]))
        return net, Model(CARDS[name], net)
    return read_net(WEIGHTS / f"{name}.safetensors")[0], load_model(name)


def settled(net: torch.nn.Module) -> torch.nn.Module:
    """Let the norms of a net of random weights see noise once: without, all that it says is one constant."""
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        net.train()(torch.randn(2, 1, 256, 256))
    return net.eval()


def label_iou(a: np.ndarray, b: np.ndarray) -> float:
    """Return how much of what either of two label planes covers is the same object in both, 0..1.

    Objects are paired one to one so that as many pixels as possible agree. Two empty planes agree fully.
    """
    from scipy.optimize import linear_sum_assignment

    union = int(((a > 0) | (b > 0)).sum())
    if not union:
        return 1.0
    table, shared = overlaps(a, b), np.zeros((int(a.max()) + 1, int(b.max()) + 1))
    shared[table[:, 0], table[:, 1]] = table[:, 2]
    return float(shared[linear_sum_assignment(shared, maximize=True)].sum() / union)


def picture(made: Model, size: int) -> np.ndarray:
    """Return a normalised picture of (1, 1, size, size) pixels: real EM where there is some."""
    folder = os.environ.get("MITONB_DATA_DIR")
    if folder:
        import tifffile

        plane = Stack(tifffile.imread(Path(folder) / "vnc_sstem" / "raw.tif")).plane(12)
    else:
        plane = phantom((3, size, size), 1)[0].plane(1)
    return made.normalise(plane.image, *plane.contrast)[None, None, :size, :size].copy()


def engines(net: torch.nn.Module, made: Model, size: int) -> dict:
    """Return the ways to run a net; `auto` is what a recipe takes by default, `fast` the 8-bit program."""
    plain = TorchEngine(net)
    found = {"plain": plain, "torch": TorchEngine(made.net), "bf16": TorchEngine(made.net, precision="bf16")}
    if openvino_is_there():
        found["openvino"] = OpenVinoEngine(made.net, *convert(made.net, (size, size)))
    return {**found, **{mode: Runner(made, "cpu", mode, "fp32") for mode in ("auto", "fast")}}


def differences(said: dict, true: dict) -> dict[str, float]:
    found = {f"{k}_sd": float(np.quantile(np.abs(said[k] - v), 0.999) / v.std()) for k, v in true.items()}
    return {**found, "changed": float(((said["semantic"] > 0) != (true["semantic"] > 0)).mean())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", default=["mito-mini", "mitonet", "mini"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[512, 1024])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    print(f"mitonb {mn.__version__}, threads {torch.get_num_threads()}, load {os.getloadavg()[0]:.1f}")
    for name in options.nets:
        net, made = model(name)
        for size in options.sizes:
            x, there = picture(made, size), engines(net, made, size)
            said = {k: [engine.run(x) for _ in range(2)][1] for k, engine in there.items()}
            times: dict[str, list[float]] = {k: [] for k in there}
            for _ in range(options.repeats):
                for k, engine in there.items():
                    start = time.perf_counter()
                    engine.run(x)
                    times[k].append(time.perf_counter() - start)
            for k in there:
                ratio = statistics.median(p / t for p, t in zip(times["plain"], times[k], strict=True))
                row = {"net": name, "size": size, "engine": k, "ms": statistics.median(times[k]) * 1e3, "ratio": ratio}
                rows.append(row | differences(said[k], said["plain"]))
                rest = "  ".join(f"{a} {b:.2g}" for a, b in list(rows[-1].items())[5:])
                print(f"{name:>10} {size:>5} {k:>10} {row['ms']:>8.1f} ms {ratio:>6.2f}x  {rest}", flush=True)
            print(f"{name:>10} {size:>5} auto is {there['auto'].record}; {' '.join(there['auto'].notes)}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
