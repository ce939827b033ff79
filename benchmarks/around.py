"""How long everything but the network takes in a run over all three directions.

    python -m benchmarks.around [--image raw.tif | --shape 128 256 256] [--repeats 3] [--json around.json]

The time inside the engine is taken off that of the whole run: normalising, tiles, probabilities, kept maps, decoding,
tracking, consensus and cleaning remain. With --cpu also in processor time, which other work on the machine disturbs
less; asking for it costs some time itself.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from mitonb.infer.engines import Runner
from mitonb.infer.segment import segment
from mitonb.io.opening import open as open_stack
from mitonb.models.zoo import load_model
from mitonb.phantoms import phantom
from mitonb.recipe import Recipe


class Clock:
    """Counts the time that a runner takes."""

    def __init__(self, cpu: bool) -> None:
        self.wall = self.cpu = 0.0
        self.now = time.process_time if cpu else lambda: 0.0
        self._run = Runner.run

    def __enter__(self) -> Clock:
        def run(runner, pictures):
            a, b = time.perf_counter(), self.now()
            said = self._run(runner, pictures)
            self.wall += time.perf_counter() - a
            self.cpu += self.now() - b
            return said

        Runner.run = run
        return self

    def __exit__(self, *_) -> None:
        Runner.run = self._run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, help="a stack; a phantom of that shape without it")
    parser.add_argument("--shape", nargs=3, type=int, default=[128, 256, 256])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cpu", action="store_true", help="processor time too")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    stack = phantom(tuple(options.shape), 1)[0] if options.image is None else open_stack(options.image)
    model, recipe = load_model(), Recipe(planes=("xy", "xz", "yz"))
    segment(phantom((16, 64, 64), 2)[0], recipe, model=model, show=False)  # what is compiled once
    rows = []
    for _ in range(options.repeats):
        with Clock(options.cpu) as net:
            a, b = time.perf_counter(), net.now()
            if options.profile:
                import cProfile

                cProfile.runctx("segment(stack, recipe, model=model, show=False)", globals(), locals(), sort="tottime")
            else:
                labels = segment(stack, recipe, model=model, show=False)
            wall, cpu = time.perf_counter() - a, net.now() - b
        rows.append({"wall": wall, "net": net.wall, "around": wall - net.wall})
        if options.cpu:
            rows[-1]["around_cpu"] = cpu - net.cpu
        print("  ".join(f"{k} {v:.2f} s" for k, v in rows[-1].items()))
    print(f"{labels.data.max() if not options.profile else '?'} objects")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
