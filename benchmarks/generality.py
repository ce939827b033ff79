"""How a model does on tissue that it does not know, on what is no mitochondrion, and on worse pictures of the same.

    MITONB_DATA_DIR=/path/to/data python -m benchmarks.generality [--model FILE] [--only sets lookalikes robustness]

- sets: foreground IoU and F1 of profiles, planes alone, of the held-out planes of three sets and of single sections of
  three others. Give a model that was trained without a set (`training/mito_mini.py --leave-out`) to learn how it
  generalises to it: the bundled one has seen the others.
- lookalikes: percent of myelin (nerve_tem, class 2 of both sections) and of alpha granules (platelet_24, class 3) that
  is called mitochondrion.
- robustness: IoU of the held-out planes after blur, noise, gamma, scale (the voxel size known) and inversion (with the
  flag), and how much that is below the IoU of the pictures as they are.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

import mitonb as mn
from benchmarks.accuracy import Case, planes_alone, real_cases
from mitonb.accuracy import score_planes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KNOWN_SIZE = {"vnc": 4.6, "neuropil": 8.0, "epfl": 10.0}
"""Pixel sizes in nm; that of neuropil is not stated anywhere, about this."""


def picture(path: Path) -> np.ndarray:
    return mn.open(path).read()[0]


def sections(data: Path) -> Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """Yield name, image, ids and the pixels that count of the single sections."""
    for name, folder, raw, ids in (
        ("cortex", "cortex_sstem", "raw.tif", "mito_instances.tif"),
        ("platelet", "platelet_24", "raw.png", "mito_instances.png"),
        ("nerve", "nerve_tem", "a_raw.png", "a_mito_instances.png"),
    ):
        image, truth = picture(data / folder / raw), picture(data / folder / ids)
        counts = picture(data / folder / "a_ignore.png") != 255 if name == "nerve" else np.ones(truth.shape, bool)
        yield name, image, truth.astype(np.uint32), counts


def ids_of(image: np.ndarray, recipe: mn.Recipe) -> np.ndarray:
    return mn.decode(mn.predict(mn.open(image[None]).plane(0), model=recipe.model, recipe=recipe), recipe)


def foreground_iou(found: np.ndarray, truth: np.ndarray) -> float:
    return float((found & truth).sum() / max(1, (found | truth).sum()))


def measure_sets(data: Path, recipe: mn.Recipe) -> dict[str, float]:
    rows = {}
    for case in real_cases(data, "holdout"):
        rows[case.name] = planes_alone(case, recipe), case.truth[case.planes]
    for name, image, truth, counts in sections(data):
        rows[name] = (ids_of(image, recipe) * counts)[None], (truth * counts)[None]
    found = {}
    for name, (ids, truth) in rows.items():
        found[f"{name} IoU"] = foreground_iou(ids > 0, truth > 0)
        found[f"{name} F1"] = score_planes(ids, truth.astype(np.uint32), smallest=recipe.min_area).at(0.5).f1
    return found


def measure_lookalikes(data: Path, recipe: mn.Recipe) -> dict[str, float]:
    myelin, called = 0, 0
    for k in ("a", "b"):
        there = picture(data / "nerve_tem" / f"{k}_other_truth.png") == 2
        ids = ids_of(picture(data / "nerve_tem" / f"{k}_raw.png"), recipe)
        myelin, called = myelin + int(there.sum()), called + int((there & (ids > 0)).sum())
    granules = picture(data / "platelet_24" / "other_truth.png") == 3
    ids = ids_of(picture(data / "platelet_24" / "raw.png"), recipe)
    return {"myelin %": 100 * called / myelin, "granules %": 100 * float((ids > 0)[granules].mean())}


def worse(data: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    """Return worse pictures of the same planes, in bytes."""

    def gamma(power: float) -> np.ndarray:
        return np.round(255 * (data / 255) ** power).astype(np.uint8)

    def noisy() -> np.ndarray:
        noise = np.random.default_rng(0).normal(0, 15, data.shape)
        return np.clip(np.round(data + noise), 0, 255).astype(np.uint8)

    return {
        "blur 1.5": lambda: ndimage.gaussian_filter(data, (0, 1.5, 1.5)),
        "noise 15": noisy,
        "gamma 0.7": lambda: gamma(0.7),
        "gamma 1.4": lambda: gamma(1.4),
        "inverted": lambda: 255 - data,
    }


def measure_robustness(data: Path, recipe: mn.Recipe) -> dict[str, float]:
    found = {}
    for case in real_cases(data, "holdout"):
        image, truth, size = case.stack.read(), case.truth[case.planes] > 0, KNOWN_SIZE[case.name]
        plain = foreground_iou(planes_alone(case, recipe) > 0, truth)
        for word, draw in worse(image).items():
            other = recipe.replace(invert=word == "inverted")
            ids = planes_alone(Case(case.name, mn.open(draw()), case.truth, case.planes, case.isotropic), other)
            found[f"{case.name} {word}"] = foreground_iou(ids > 0, truth) - plain
        for factor in (0.5, 2.0):
            by = (1, factor, factor)
            zoomed = ndimage.zoom(image.astype(np.float32), by, order=1, grid_mode=True, mode="nearest")
            if factor < 1:  # the mean of four pixels
                zoomed = image.reshape(len(image), image.shape[1] // 2, 2, image.shape[2] // 2, 2).mean((2, 4))
            stack = mn.open(np.round(zoomed).astype(np.uint8), voxel_size=(50, size / factor, size / factor))
            small = ndimage.zoom(case.truth, by, order=0, grid_mode=True, mode="nearest")
            ids = planes_alone(Case(case.name, stack, small, case.planes, case.isotropic), recipe)
            found[f"{case.name} scale {factor:g}"] = foreground_iou(ids > 0, small[case.planes] > 0) - plain
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    measures = {"sets": measure_sets, "lookalikes": measure_lookalikes, "robustness": measure_robustness}
    parser.add_argument("--model", default="mito-mini")
    parser.add_argument("--only", nargs="+", choices=measures, default=list(measures))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    data, recipe, found = Path(os.environ["MITONB_DATA_DIR"]), mn.Recipe(model=options.model), {}
    for name in options.only:
        for what, value in measures[name](data, recipe).items():
            found[what] = round(value, 4)
            print(f"{what:<22}{value:>8.3f}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
