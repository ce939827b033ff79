"""Train a net of blocks, by its name in `mitonb.learn.runs.NETS`, on the EPFL hippocampus at 5 nm.

    MITONB_DATA_DIR=/path/to/data python -m training.blocks mitoem-bcd OUT --minutes 120

Only planes 0 to 123 are learned from, of which `mn.train` holds some out to choose the best weights by; what counts are
planes 140 to 164 (benchmarks.blocks). The voxels are as fine along z as in the planes, so no halving spares z, and the
coarsest level sees farther. A GPU is used where there is one.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

import mitonb as mn
from mitonb.learn.runs import NETS, training

KNOWN = 124
CONFIG = {"widths": [32, 64, 96, 128], "depths": [1, 1, 2, 2], "flat": 0, "wide": True}


def read_known(data: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the planes that may be learned from, and their ids."""
    folder = data / "epfl_hippocampus"
    image = np.concatenate([mn.open(path).read() for path in sorted(folder.glob("raw_5nm*.tif"))])[:KNOWN]
    return image, mn.open_labels(folder / "mito_instances_5nm.tif").data[:KNOWN]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net", choices=[name for name, (card, _) in NETS.items() if card["dimension"] == 3])
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--patch", type=int, default=96)
    parser.add_argument("--planes", type=int, default=48)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--workers", type=int)
    options = parser.parse_args()
    image, ids = read_known(Path(os.environ["MITONB_DATA_DIR"]))
    config = {**NETS[options.net][0]["config"], **CONFIG}
    told = 0.0
    for step in training(
        mn.Pair(mn.Stack(image, voxel_size=(5, 5, 5)), ids, name="epfl"), options.out, net=options.net,
        minutes=options.minutes, batch=options.batch, patch=options.patch, planes=options.planes, rate=options.rate,
        workers=options.workers, card={"config": config}, looks=4, hold=0.12,
    ):  # fmt: skip
        if time.monotonic() - told > 20:
            told = time.monotonic()
            print(time.strftime("%H:%M:%S"), f"{step.done} of {step.total} s:", step.stage, flush=True)


if __name__ == "__main__":
    main()
