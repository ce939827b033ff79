"""Train the bundled model, or a model of the same recipe that has not seen some of the sets.

    MITONB_DATA_DIR=/path/to/data python -m training.mito_mini OUT --minutes 90 [--fresh] [--leave-out vnc ...]
    MITONB_DATA_DIR=/path/to/data python -m training.mito_mini OUT --minutes 90 --free --share 0.5

It goes on from the bundled weights, or with --fresh begins anew. The sets are named in SETS; beside them it learns from
phantoms and from what was outlined for this project (labels/: 0 background, 255 unknown, else an id): single sections
of other tissues, and the fly medulla, where the ids are what earlier weights found. Held-out planes and the gaps before
them are never read. A run that was stopped goes on where it was. A GPU is used where there is one.

A model of the recipe that has not seen a set, within an hour: `--start mito-open --leave-out vnc --share 0.3 --minutes
80`; mito-open knows neither vnc, neuropil, epfl, nerve nor platelet. It knows sections of cortex: leave that out from
the beginning (--fresh).

--free is how `mito-open` is made: weights that have seen nothing learn from phantoms and from the sections alone that
anybody may use (FREE), outlined by hand. Not from the medulla: its ids were found by weights that knew other data.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from pathlib import Path

import numpy as np
import torch

import mitonb as mn
from mitonb.files import atomic_write
from mitonb.learn.data import Source, shared
from mitonb.learn.loop import Settings, fitting
from mitonb.models.weights import write_weights
from mitonb.models.zoo import build, read_net
from mitonb.stack import Stack

LABELS = Path(__file__).parent / "labels"
UNKNOWN = 65535

SETS = (
    ("vnc", ["vnc_sstem/raw.tif"], "vnc_sstem/mito_instances.tif", 10, {"held": (9,), "weight": 1.6}),
    ("neuropil", ["neuropil_sbem/raw.tif"], "neuropil_sbem/mito_instances.tif", 15, {"held": (13, 14), "weight": 3.0}),
    ("epfl10", ["epfl_hippocampus/raw_10nm.tif"], "epfl_hippocampus/mito_instances_10nm.tif", 62,
     {"held": tuple(range(56, 62)), "axes": ("xy", "xy", "xy", "xz", "yz"), "weight": 1.2}),
    ("epfl5", ["epfl_hippocampus/raw_5nm_z000-082.tif", "epfl_hippocampus/raw_5nm_z083-164.tif"],
     "epfl_hippocampus/mito_instances_5nm.tif", 112,
     {"axes": ("xy", "xy", "xy", "xz", "yz"), "weight": 1.2, "zoom": 0.6}),
    ("tile", ["tile_256/raw.tif"], "tile_256/mito_instances.tif", None, {"weight": 0.25}),
    ("cortex", ["cortex_sstem/raw.tif"], "cortex_sstem/mito_instances.tif", None, {"weight": 0.8}),
    ("platelet", ["platelet_24/raw.png"], "platelet_24/mito_instances.png", None, {"weight": 0.4}),
)  # fmt: skip
"""Name, images one after the other, ids, how many planes are read (None: all), and how a `Source` is drawn from."""

HELD_OUT = range(9000, 9010)
"""Seeds of the phantoms that accuracy is measured on."""

WEIGHTS = {
    "nerve": 0.2, "whitematter": 0.2, "neutrophil": 0.06, "cortex": 0.1, "mitoem": 0.15, "leaf": 0.12,
    "isbi2012": 0.1, "neuropil": 0.2, "synapse": 0.25, "sbem": 0.15, "islet": 0.3,
}  # fmt: skip
"""How often to draw from a section that was outlined for this project, by the first word of its name."""

ZOOMS = {"whitematter": 0.5, "synapse": 0.35, "neutrophil": 0.6, "islet": 0.8, "neuropil": 0.8}
"""Of sections whose pixels are far finer than those of the others, by the first word of their names."""

FREE = ("whitematter_", "leaf", "cortex_0", "islet_")
"""What sources are called that are under the MIT, a BSD or the CC BY licence."""

INVERTED = ("whitematter_05", "whitematter_06")
KIN = {
    "vnc": ("vnc", "isbi2012"), "neuropil": ("neuropil", "sbem"), "epfl": ("epfl",),
    "cortex": ("cortex", "neuropil_01"), "nerve": ("nerve",), "platelet": ("platelet",),
}  # fmt: skip
"""What else goes where a set is left out: the same tissue, or perhaps the same stack."""


def read_sources(data: Path) -> list[Source]:
    """Read all labelled sections and volumes."""
    found = []
    for name, images, labels, planes, more in SETS:
        image = np.concatenate([mn.open(data / path).read() for path in images])
        ids = mn.open_labels(data / labels).data[:planes].astype(np.uint16)
        found.append(Source(name, image[:planes], ids, Stack(image).contrast, **more))
    return [*found, *nerves(data), *leaves(data), medulla(data), *outlined(data)]


def nerves(data: Path) -> list[Source]:
    """Two sections of myelinated nerve; in the second one only what is no axon is known, and holds no mitochondrion."""
    folder = data / "nerve_tem"
    ids = picture(folder / "a_mito_instances.png").astype(np.uint16)
    ids[picture(folder / "a_ignore.png") == 255] = UNKNOWN
    axons = picture(folder / "b_other_truth.png") == 3
    return [
        section("nerve a", picture(folder / "a_raw.png"), ids, 0.35),
        section("nerve b", picture(folder / "b_raw.png"), np.where(axons, UNKNOWN, 0), 0.25),
    ]


def leaves(data: Path) -> list[Source]:
    """Two sections of leaf; only the inside of chloroplasts is known, and holds no mitochondrion."""
    folder = data / "leaf_negatives"
    return [
        section(
            f"leaf {k}", picture(folder / f"{k}_raw.png"),
            np.where(picture(folder / f"{k}_chloroplasts.png") > 0, 0, UNKNOWN), 0.12,
        )
        for k in ("001", "010")
    ]  # fmt: skip


def medulla(data: Path) -> Source:
    """A volume whose ids are what earlier weights found in three directions; whatever else is dark is unknown."""
    stack = mn.open(data / "medulla_fibsem_unlabelled" / "raw.tif")
    ids = mn.open_labels(LABELS / "medulla.tif").data.astype(np.uint16)
    ids[ids == 255] = UNKNOWN
    axes = ("xy", "xz", "yz")
    return Source("medulla", stack.read(), ids, stack.contrast, axes=axes, weight=0.4, ignore=UNKNOWN)


def outlined(data: Path) -> list[Source]:
    """Sections whose mitochondria were outlined for this project."""
    found = []
    for path in sorted(LABELS.glob("*.png")):
        ids = picture(path).astype(np.uint16)
        ids[ids == 255] = UNKNOWN
        places = (data / folder / path.name for folder in ("unlabelled", "samples"))
        image = picture(next(place for place in places if place.exists()))
        image = 255 - image if path.stem in INVERTED else image
        tissue = path.stem.split("_")[0]
        found.append(section(path.stem, image, ids, WEIGHTS[tissue], ZOOMS.get(tissue, 1.0)))
    return found


def picture(path: Path) -> np.ndarray:
    return mn.open(path).read()[0]


def section(name: str, image: np.ndarray, ids: np.ndarray, weight: float, zoom: float = 1.0) -> Source:
    image, ids = image[None], ids[None].astype(np.uint16)
    return Source(name, image, ids, Stack(image).contrast, weight=weight, zoom=zoom, ignore=UNKNOWN)


def draw_phantoms(count: int, cache: Path | None = None) -> list[Source]:
    """Draw phantoms to learn from, or take them from a folder: every other one as usual, the rest varied."""
    seeds = range(1000, 1000 + count)
    assert not set(seeds) & set(HELD_OUT), "phantoms that accuracy is measured on"
    return [phantom_source(seed, cache) for seed in seeds]


def phantom_source(seed: int, cache: Path | None) -> Source:
    """Draw one phantom, or take it from the cache."""
    path = cache / f"phantom-{seed}.npz" if cache else None
    if path is not None and path.is_file():
        with np.load(path) as kept:
            image, ids = kept["image"], kept["labels"]
    else:
        stack, labels = drawn_phantom(seed)
        image, ids = stack.read(), labels.data.astype(np.uint16)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as temporary, temporary.open("wb") as file:
                np.savez(file, image=image, labels=ids)
    return Source(f"phantom {seed}", image, ids, Stack(image).contrast, ("xy", "xz", "yz"))


def drawn_phantom(seed: int) -> tuple:  # type: ignore[type-arg]
    rng = np.random.default_rng([seed, 7])
    if seed % 2 == 0:
        return tuple(mn.phantom(seed=seed))
    thin = float(rng.uniform(140, 240))
    return tuple(
        mn.phantom(
            seed=seed, touching=float(rng.uniform(0.3, 0.8)), branching=float(rng.uniform(0.1, 0.5)),
            diameter=(thin, thin * float(rng.uniform(1.4, 2.4))), cristae=("mixed", "dark", "light")[rng.integers(3)],
            distractors=float(rng.uniform(0.5, 2)), noise=float(rng.uniform(0.4, 1.8)),
            contrast=float(rng.uniform(0.5, 1.1)),
        )
    )  # fmt: skip


def renewed(out: Path) -> Path:
    """Write a file with the card of the bundled weights, and weights that have seen nothing."""
    _, spec = read_net("mito-mini")
    spec = dataclasses.replace(spec, sha256="", program={}, training={})
    write_weights(build(spec), spec, out)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--start", default="mito-mini", help="weights to go on from")
    parser.add_argument("--fresh", action="store_true", help="begin with weights that have seen nothing")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--free", action="store_true", help="of freely licensed data alone, from the beginning")
    parser.add_argument("--leave-out", nargs="*", choices=sorted(KIN), default=[])
    parser.add_argument("--phantoms", type=int, default=64)
    parser.add_argument("--share", type=float, default=0.2, help="part of the patches that comes from phantoms")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--workers", type=int, help="processes that draw patches; by default as the machine suggests")
    parser.add_argument("--looks", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    kin = tuple(word for name in options.leave_out for word in KIN[name])
    sources = [s for s in read_sources(Path(os.environ["MITONB_DATA_DIR"])) if not (kin and s.name.startswith(kin))]
    if options.free:
        sources, options.fresh = [s for s in sources if s.name.startswith(FREE)], True
    print(len(sources), "sources:", ", ".join(s.name for s in sources), flush=True)
    drawn = draw_phantoms(options.phantoms, options.out.parent / "phantoms")
    torch.manual_seed(options.seed)
    start = renewed(options.out.with_suffix(".start.safetensors")) if options.fresh else options.start
    settings = Settings(
        minutes=options.minutes, seed=options.seed, batch=options.batch, patch=320, rate=options.rate,
        precision="bf16", workers=options.workers, looks=options.looks,
    )  # fmt: skip
    told = 0.0
    for step in fitting(shared(sources, drawn, options.share), out=options.out, settings=settings, start=start):
        if time.monotonic() - told > 30:
            told = time.monotonic()
            print(time.strftime("%H:%M:%S"), f"{step.done} of {step.total} s:", step.stage, flush=True)


if __name__ == "__main__":
    main()
