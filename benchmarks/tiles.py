"""Whether labels depend on how a plane is cut into tiles.

    MITONB_DATA_DIR=... python -m benchmarks.tiles [--model mito-mini] [--tiles 256 512 1024 0] [--json tiles.json]

A mosaic of 2048 x 2048 pixels, mirrored from one section of 1024 x 1024 (a phantom without MITONB_DATA_DIR). Each way
of cutting is compared with each other one; the mirror seams, where no tissue looks like that, are left out. `mitonet`
and `mini` are MitoNet's architectures with random weights: what they draw is noise, compared by its maps alone.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from pathlib import Path

import numpy as np

from benchmarks.network import CARDS, label_iou
from benchmarks.network import model as network
from mitonb.accuracy import score
from mitonb.infer.segment import predict
from mitonb.models.zoo import load_model
from mitonb.phantoms import phantom
from mitonb.post.decoding import decode
from mitonb.recipe import Recipe
from mitonb.stack import Stack

SEAM = 16
"""Pixels on each side of a mirror seam that are left out."""


def mosaic(section: np.ndarray) -> np.ndarray:
    """Return a section with its three mirror images."""
    upper = np.concatenate([section, section[:, ::-1]], 1)
    return np.concatenate([upper, upper[::-1]], 0)


def section(folder: str | None, index: int) -> np.ndarray:
    if folder is None:
        return np.asarray(phantom((3, 1024, 1024), 1)[0].data[1])
    import tifffile

    return tifffile.imread(Path(folder) / "vnc_sstem" / "raw.tif")[index]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mito-mini")
    parser.add_argument("--tiles", nargs="+", type=int, default=[256, 512, 1024, 0])
    parser.add_argument("--section", type=int, default=12)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = network(options.model)[1] if options.model in CARDS else load_model(options.model)
    image = mosaic(section(os.environ.get("MITONB_DATA_DIR"), options.section))
    plane = Stack(image[None]).plane(0)
    keep = np.ones(image.shape, np.bool_)
    half = image.shape[0] // 2
    keep[half - SEAM : half + SEAM], keep[:, half - SEAM : half + SEAM] = False, False
    maps, ids = {}, {}
    for tile in options.tiles:
        recipe = Recipe(tile=tile)
        start = time.perf_counter()
        maps[tile] = predict(plane, model=model, recipe=recipe)
        ids[tile] = np.where(keep, decode(maps[tile], recipe), np.uint32(0))
        print(
            f"tile {tile or 'whole':>6}: {len(np.unique(ids[tile])) - 1} objects, {time.perf_counter() - start:.1f} s"
        )
    rows = []
    for a, b in itertools.combinations(options.tiles, 2):
        sides = (maps[a].semantic > 127) != (maps[b].semantic > 127)
        row = {"a": a, "b": b, "pixels": float(sides[0][keep].mean())}
        if options.model not in CARDS:
            row |= {"f1_75": score(ids[a], ids[b]).at(0.75).f1, "label_iou": label_iou(ids[a], ids[b])}
        row["center"] = float(np.abs(maps[a].center.astype(np.float32) - maps[b].center).max())
        rows.append(row)
        print("  ".join(f"{k} {v:.4g}" for k, v in row.items()))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
