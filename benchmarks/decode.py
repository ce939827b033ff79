"""How fast the maps of a plane become ids, beside the published way of doing it.

    python -m benchmarks.decode [--repeats 25] [--peer-repeats 3] [--json decode.json]

Drawn ellipses that touch, 40 to 50 % of the plane: more than in any real picture; offsets with noise of 1 pixel.
`mitonb` and `published` are `decode` by the two sets of rules on the kept form of the maps, connected pieces included.
`torch` is the published way, vectorised (benchmarks/torch_decode.py): every pixel against all centers in chunks of 20,
then one pass per object; one thread. Times are medians of calls that take turns, each on another of eight planes, drawn
alike: a processor that decodes one plane again and again learns its branches by heart, few objects more easily than
many. Torch is called less often and on one plane, and not at all where it would take minutes. `same` compares ids of
that plane up to their names: by the published rules the three must agree; by mitonb's they do where the head is fine
(coarse, mitonb places borders between the pixels of the map).
`slider` is what a moved slider costs: the median over three kept planes, then `mitonb`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import time
from pathlib import Path

import numpy as np

from mitonb.infer.kept import KeptMaps
from mitonb.maps import Maps
from mitonb.post.centers import connect, peaks
from mitonb.post.decoding import decode
from mitonb.post.targets import targets
from mitonb.recipe import PRESETS

PUBLISHED = PRESETS["empanada"]
OWN = PRESETS["default"].replace(semantic_threshold=0.5, center_threshold=0.1, min_area=0)
CASES = [(512, 20), (512, 200), (1024, 200), (2048, 20), (2048, 1000)]
PLANES = 8
PEER_LIMIT = 6e7  # pixels of the map times centers, beyond which torch takes minutes


def ellipses(size: int, count: int, seed: int = 0) -> np.ndarray:
    """Draw a grid of ellipses of random shape, touching here and there."""
    rng = np.random.default_rng(seed)
    side = int(np.ceil(np.sqrt(count)))
    pitch = size / side
    labels = np.zeros((size, size), np.uint32)
    for k in range(count):
        cy, cx = (k // side + 0.5) * pitch, (k % side + 0.5) * pitch
        a, b = rng.uniform(0.3, 0.52, 2) * pitch
        turn = rng.uniform(0, np.pi)
        low, high = (np.array([cy, cx]) - pitch).astype(int).clip(0), (np.array([cy, cx]) + pitch).astype(int)
        here = labels[low[0] : high[0], low[1] : high[1]]
        y, x = np.indices(here.shape) + low[:, None, None]
        u = (y - cy) * np.cos(turn) + (x - cx) * np.sin(turn)
        v = (x - cx) * np.cos(turn) - (y - cy) * np.sin(turn)
        here[((u / a) ** 2 + (v / b) ** 2 < 1) & (here == 0)] = k + 1
    return labels


def drawn_maps(size: int, count: int, step: int, seed: int = 0) -> Maps:
    """Return kept maps of ellipses with noisy offsets, every center one pixel high above all others."""
    maps = targets(ellipses(size, count, seed), output_stride=step)
    noise = np.random.default_rng(seed + 1).normal(0, 1, maps.offsets.shape).astype(np.float32)
    center = maps.center.copy()
    # Two equal pixels are two centers by the published rules and one by mitonb's: no such ties here.
    top = peaks(center, 0.5, 24 // step)
    center[top[:, 0], top[:, 1]] = 1.25
    return Maps({"semantic": maps.semantic, "center": center, "offsets": maps.offsets + noise}, step).kept()


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Return whether two planes of ids are the same up to the names of the ids."""
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1)
    return all(len(np.unique(row)) == pairs.shape[1] for row in pairs) and ((pairs[0] == 0) == (pairs[1] == 0)).all()


def medians(works: dict, repeats: int) -> dict[str, float]:
    """Return the median time of each work in ms over the planes.

    One work goes through all planes before the next one does: of its last call for a plane nothing is left. For half a
    second before that, it runs untimed: a processor that comes from other work takes a while to be at full speed.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    warm = time.perf_counter() + 0.5
    while True:
        for name, k in itertools.product(works, range(PLANES)):
            works[name](k)
        if time.perf_counter() > warm:
            break
    for _ in range(-(-repeats // PLANES)):
        for name, k in itertools.product(works, range(PLANES)):
            start = time.perf_counter()
            works[name](k)
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(t) for name, t in times.items()}


def row(size: int, count: int, step: int, options: argparse.Namespace) -> dict:
    """Measure planes of one size."""
    from benchmarks.torch_decode import torch_decode

    drawn = [drawn_maps(size, count, step, seed) for seed in range(PLANES)]
    maps = drawn[0]
    published = PUBLISHED.replace(center_window=3 if step == 4 else 7)
    own = OWN.replace(center_distance=2 * step)
    kept = KeptMaps((3 * PLANES, size, size), "memory")
    for z in range(3 * PLANES):
        kept.put("xy", z, drawn[z // 3])
    found = {
        "size": size, "objects": count, "head": "coarse" if step == 4 else "fine",
        **medians(
            {"mitonb": lambda k: decode(drawn[k], own), "published": lambda k: decode(drawn[k], published),
             "slider": lambda k: decode(kept.plane("xy", 3 * k + 1, 3), own)},
            options.repeats,
        ),
    }  # fmt: skip
    ids = decode(maps, published)
    found["found"] = int(ids.max())
    if (size // step) ** 2 * count <= PEER_LIMIT:
        times = []
        for _ in range(options.peer_repeats):
            start = time.perf_counter()
            peer = torch_decode(maps, published)
            times.append(1e3 * (time.perf_counter() - start))
        found["torch"] = statistics.median(times)
        theirs, _ = connect(peer.astype(np.uint32))
        found["same_published"], found["same_mitonb"] = same(ids, theirs), same(decode(maps, own), theirs)
    return found


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--peer-repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"load before: {load:.1f} of {os.cpu_count()} cores\n")
    print("plane  objects   head    mitonb published   slider      torch   ratio, same   ratio, same")
    rows = []
    for size, count in CASES:
        for step in (4, 1):
            r = row(size, count, step, options)
            rows.append(r)
            line = f"{size:>5} {count:>8} {r['head']:>6} "
            line += f"{r['mitonb']:>6.2f} ms {r['published']:>6.2f} ms {r['slider']:>5.2f} ms"
            if "torch" in r:
                for rules in ("mitonb", "published"):
                    r[f"ratio_{rules}"] = r["torch"] / r[rules]
                line += f" {r['torch']:>7.0f} ms"
                line += f" {r['ratio_mitonb']:>6.0f}x {'yes' if r['same_mitonb'] else 'no':>4}"
                line += f"  {r['ratio_published']:>6.0f}x {'yes' if r['same_published'] else 'no':>4}"
            print(line, flush=True)
    print("\nthe two ratios: torch / mitonb and torch / published")
    for head in ("coarse", "fine"):
        few, many = (next(r for r in rows if (r["size"], r["objects"], r["head"]) == (512, n, head)) for n in (20, 200))
        costs = ", ".join(f"{many[rules] / few[rules]:.2f} ({rules})" for rules in ("mitonb", "published"))
        print(f"200 objects against 20, {head}: {costs}")
    if options.json:
        options.json.write_text(json.dumps({"load": load, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
