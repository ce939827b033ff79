"""How fast the engines run a net on this CPU, against the same net in plain torch.

    OMP_NUM_THREADS=2 python -m benchmarks.network [--nets mito-mini mitonet mini] [--sizes 512 1024] [--json net.json]

`plain` is the net as it comes from its file, in eager fp32 torch, with contiguous memory. The others take turns with
it, picture by picture, so that other work on the machine meets all alike; `ratio` is the median of plain / engine of
each turn. `mitonet` and `mini` are the architectures of MitoNet_v1 and of its mini version, of random weights: speed
only.
Differences to plain: center, offsets and coarse logits in standard deviations; pixels whose side of 0.5 changed; for
mito-mini, label IoU on a picture of MITONB_DATA_DIR (a phantom without it); with --held-out, on 18 planes of three
specimens instead of all this.
Set ONEDNN_MAX_CPU_ISA=AVX2 for a processor without matrix units: torch and OpenVINO obey it, and OpenVINO then refuses
bf16 and int8; our own 3x3 convolutions (`winograd`) do not know it.
"""

from __future__ import annotations

import mitonb as mn  # before torch, as in a notebook: it says how the threads of torch wait

# isort: split
import argparse
import json
import os
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks import network_labels
from mitonb.infer.engines import OpenVinoEngine, TorchEngine, openvino_is_there
from mitonb.infer.engines.parts import Convolutions, finished
from mitonb.infer.engines.residuals import WinogradEngine, has_residuals
from mitonb.infer.engines.vino import Program, has_bf16
from mitonb.infer.predict import Predictor
from mitonb.models.spec import WEIGHTS, ModelSpec
from mitonb.models.zoo import Model, build, fused, read_net
from mitonb.phantoms import phantom
from mitonb.recipe import Recipe
from mitonb.stack import Stack

CARDS = {
    "mitonet": ModelSpec(
        name="mitonet", architecture="panoptic_deeplab", pixel_offset=1.5, multiple=16, sha256="random"
    ),
    "mini": ModelSpec(name="mini", architecture="panoptic_bifpn", pixel_offset=1.5, multiple=128, sha256="random-mini"),
}


class Plain:
    """The net as it is, in eager torch."""

    name, precision = "plain", "fp32"

    def __init__(self, net: torch.nn.Module) -> None:
        self.net = net.eval()
        self.body = Convolutions(self.net).eval()

    def run(self, pictures):
        with torch.inference_mode():
            outputs = self.body(torch.from_numpy(pictures))
            return finished(self.net, self.body.names, outputs, 0)


def model(name: str) -> tuple[torch.nn.Module, Model]:
    """Return a net as it comes and as inference uses it."""
    if name in CARDS:
        torch.manual_seed(0)
        spec = CARDS[name]
        net = settled(build(spec))
    else:
        net, spec = read_net(WEIGHTS / f"{name}.safetensors")
    return net, Model(spec, fused(net))


def settled(net: torch.nn.Module) -> torch.nn.Module:
    """Let the norms of a net of random weights see noise once: without, all that it says is one constant."""
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        net.train()(torch.randn(2, 1, 256, 256))
    return net.eval()


def picture(predictor: Predictor, size: int) -> np.ndarray:
    """Return a normalised picture of (1, size, size) pixels: real EM where there is some."""
    folder = os.environ.get("MITONB_DATA_DIR")
    if folder:
        import tifffile

        stack = Stack(tifffile.imread(Path(folder) / "vnc_sstem" / "raw.tif"))
        return predictor._normalised(stack.plane(12))[None, None, :size, :size].copy()
    return predictor._normalised(phantom((3, size, size), 1)[0].plane(1))[None, None]


def engines(net: torch.nn.Module, made: Model, predictor: Predictor, wanted: list[str] | None) -> dict:
    found = {
        "plain": Plain(net),
        "torch fp32": TorchEngine(made.net),
        "torch bf16": TorchEngine(made.net, precision="bf16"),
    }
    if has_residuals(made.net):
        found["torch winograd"] = WinogradEngine(made.net)
    if openvino_is_there():
        program = Program(made.net)
        found["openvino fp32"] = OpenVinoEngine(program)
        found["winograd fp32"] = OpenVinoEngine(program, winograd=True)
        if has_bf16():
            found["openvino bf16"] = OpenVinoEngine(program, "bf16")
        found["openvino int8"] = OpenVinoEngine(program, "int8", samples=predictor._samples())
    return {k: v for k, v in found.items() if wanted is None or k in (*wanted, "plain")}


def differences(said, true) -> dict[str, float]:
    def sd(a, b):
        return float(np.abs(a - b).max() / b.std())

    return {
        "center_sd": sd(said["center"], true["center"]),
        "offsets_sd": sd(said["offsets"], true["offsets"]),
        "semantic_sd_999": float(
            np.quantile(np.abs(said["semantic"] - true["semantic"]), 0.999) / true["semantic"].std()
        ),
        "changed_pixels": float(((said["semantic"] > 0) != (true["semantic"] > 0)).mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", default=["mito-mini", "mitonet", "mini"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[512, 1024])
    parser.add_argument("--engines", nargs="+")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--held-out", action="store_true")
    options = parser.parse_args()
    if options.held_out:
        network_labels.main()
        return
    rows = []
    isa = os.environ.get("ONEDNN_MAX_CPU_ISA", "all")
    print(f"mitonb {mn.__version__}, waiting {os.environ.get('OMP_WAIT_POLICY', 'as torch likes')}")
    print(f"threads {torch.get_num_threads()}, load {os.getloadavg()[0]:.1f}, instructions {isa}")
    for name in options.nets:
        net, made = model(name)
        predictor = Predictor(made, Recipe(tile=0))
        for size in options.sizes:
            x = picture(predictor, size)
            there = engines(net, made, predictor, options.engines)
            said = {}
            for k in list(there):
                try:
                    said[k] = [there[k].run(x) for _ in range(2)][1]
                except RuntimeError as error:
                    print(f"{name:>10} {size:>5} {k:>14} cannot run here: {str(error).splitlines()[-1]}")
                    del there[k]
            times: dict[str, list[float]] = {k: [] for k in there}
            for _ in range(options.repeats):
                for k, engine in there.items():
                    start = time.perf_counter()
                    engine.run(x)
                    times[k].append(time.perf_counter() - start)
            for k in there:
                ratio = statistics.median(p / t for p, t in zip(times["plain"], times[k], strict=True))
                row = {"net": name, "size": size, "engine": k, "ms": statistics.median(times[k]) * 1e3, "ratio": ratio}
                row |= differences(said[k], said["plain"])
                if name not in CARDS:
                    row["label_iou"] = predictor._agreement(said[k], said["plain"])[0]
                rows.append(row)
                rest = "  ".join(
                    f"{a} {b:.2g}" if a != "label_iou" else f"{a} {b:.4f}" for a, b in list(row.items())[5:]
                )
                print(f"{name:>10} {size:>5} {k:>14} {row['ms']:>8.1f} ms {ratio:>6.2f}x  {rest}", flush=True)
            chosen = choice(made, predictor, x)
            print(f"{name:>10} {size:>5} fast would be: {chosen}; load {os.getloadavg()[0]:.1f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


def choice(made: Model, predictor: Predictor, x: np.ndarray) -> str:
    """Return what the engine `fast` takes for this net and size, and what it notes."""
    runner = Predictor(made, Recipe(tile=0, engine="fast"))._runner
    runner.run(x)
    record = runner.record
    return f"{record['name']} {record['precision']} {record['seconds_per_tile']} {' '.join(runner.notes)}"


if __name__ == "__main__":
    main()
