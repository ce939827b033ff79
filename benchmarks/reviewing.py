"""What the review queue finds: how many of the wrong objects lie in its first fifth, by the queue and by chance.

    python -m benchmarks.reviewing [--epfl]           (MITONB_DATA_DIR=/path/to/data for --epfl)

Drawn: a phantom with 20 planted errors (6 merges, 6 splits, 4 missing, 4 false objects), its maps by the bundled model.
Real: what the bundled model finds in the EPFL hold-out by the preset "volume"; wrong is what no true object overlaps by
an IoU of 0.75. A missing object counts as found where the queue leads into it.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

import mitonb as mn
from mitonb.infer.kept import KeptMaps
from mitonb.post.tables import overlaps


def planted(truth: np.ndarray, seed: int = 0) -> tuple[np.ndarray, set[int], list[np.ndarray]]:
    """Return labels with 20 errors, which ids are wrong now, and the voxels (k, 3) of each object that is missing."""
    labels, wrong, rng = truth.astype(np.uint32), set[int](), np.random.default_rng(seed)
    boxes = {id: box for id, box in enumerate(ndimage.find_objects(truth), 1) if box is not None}
    sizes = np.bincount(truth.ravel())
    usual = [id for id in rng.permutation(list(boxes)).tolist() if sizes[id] > np.median(sizes[list(boxes)]) / 3]
    free = set(usual)
    near = []
    for id in usual:
        around = tuple(slice(max(0, s.start - 6), s.stop + 6) for s in boxes[id])
        away = ndimage.distance_transform_edt(truth[around] != id)
        for other in np.unique(truth[around]).tolist():
            if other > id and other in free:
                near.append((away[truth[around] == other].min(), id, other))
    for _, id, other in sorted(near):
        if len(wrong) < 6 and {id, other} <= free:
            _bridge(labels, truth, id, other)
            free -= {id, other}
            wrong.add(id)
    for k, id in enumerate([id for id in usual if id in free][:6]):
        axis = k % 3
        where = np.argwhere(labels == id)
        beyond = where[where[:, axis] > np.median(where[:, axis])]
        labels[tuple(beyond.T)] = new = int(labels.max()) + 1
        wrong |= {id, new}
        free.discard(id)
    missing = [id for id in usual if id in free][:4]
    lost = [np.argwhere(truth == id) for id in missing]
    labels[np.isin(labels, missing)] = 0
    planted_false = 0
    while planted_false < 4:
        z, y, x = (int(rng.integers(8, n - 8)) for n in truth.shape)
        ball = np.linalg.norm(np.mgrid[-5:6, -5:6, -5:6], axis=0) <= 5
        spot = labels[z - 5 : z + 6, y - 5 : y + 6, x - 5 : x + 6]
        if spot.shape == ball.shape and not spot.any():
            spot[ball] = int(labels.max()) + 1
            wrong.add(int(labels.max()))
            planted_false += 1
    return labels, wrong, lost


def _bridge(labels: np.ndarray, truth: np.ndarray, id: int, other: int) -> None:
    """Make two objects one, with a bridge four voxels thick where they are nearest."""
    away, nearest = ndimage.distance_transform_edt(truth != other, return_indices=True)
    own = np.argwhere(truth == id)
    start = own[away[tuple(own.T)].argmin()]
    stop = nearest[:, *start]
    labels[truth == other] = id
    for part in np.linspace(0, 1, 2 * int(away[tuple(start)]) + 2):
        spot = tuple(slice(max(0, v - 2), v + 2) for v in (start + part * (stop - start)).round().astype(int))
        labels[spot][labels[spot] == 0] = id


def told(name: str, labels: np.ndarray, kept: KeptMaps, wrong: set[int], lost: list[np.ndarray], shown: int) -> None:
    """Print what of the wrong objects lies in the first fifth of the queue, and on average in a random one."""
    began = time.monotonic()
    across = {axis: kept.sections(axis) for axis in ("xz", "yz")}
    queue = mn.find_doubts(mn.Labels(labels), maps=kept.sections(), across=across)
    took = time.monotonic() - began
    places = [{*map(tuple, where.tolist())} for where in lost]

    def hit(doubt: mn.Doubt) -> int:
        """Return what is wrong here: an id, the negative number of a missing object, or 0."""
        if doubt.id:
            return doubt.id if doubt.id in wrong else 0
        return next((-k for k, place in enumerate(places, 1) if doubt.at in place), 0)

    found = [hit(doubt) for doubt in queue]
    fifth, all_wrong = -(-len(queue) // 5), len(wrong) + len(lost)
    first = len(set(found[:fifth]) - {0})
    print(f"{name}: {len(queue)} in the queue ({took:.1f} s for {labels.shape}), {all_wrong} wrong")
    print(f"  first {fifth}: {first} of {all_wrong} ({first / all_wrong:.0%}); at random {fifth / len(queue):.0%}")
    for doubt, kind in list(zip(queue, found, strict=True))[:shown]:
        print(f"  {doubt.id:5} {doubt.score:.2f} {'WRONG' if kind else '     '} {'; '.join(doubt.reasons)}")


def wrong_ids(labels: np.ndarray, truth: np.ndarray, iou: float) -> set[int]:
    """Return the ids of objects that no true object overlaps by so much."""
    sizes, true_sizes = np.bincount(labels.ravel()), np.bincount(truth.ravel())
    good = {a for a, b, n in overlaps(labels, truth).tolist() if n >= iou * (sizes[a] + true_sizes[b] - n)}
    return {id for id in np.unique(labels).tolist() if id} - good


def real_case() -> tuple[mn.Stack, np.ndarray, np.ndarray, KeptMaps, set[int], list[np.ndarray]]:
    """Return stack, labels, truth, maps, wrong ids and missing objects of the EPFL hold-out, as the model finds it."""
    from benchmarks.accuracy import real_cases

    kept = KeptMaps(folder="memory")
    case = next(c for c in real_cases(Path(os.environ["MITONB_DATA_DIR"]), "holdout") if c.name == "epfl")
    found = mn.segment(case.stack, mn.PRESETS["volume"], kept=kept, show=False).data.astype(np.uint32)
    truth = case.truth.astype(np.uint32)
    missing = [np.argwhere(truth == i) for i in wrong_ids(truth, found, 0.1)]
    return case.stack, found, truth, kept, wrong_ids(found, truth, 0.75), missing


def drawn_case(seed: int) -> tuple[mn.Stack, np.ndarray, np.ndarray, KeptMaps, set[int], list[np.ndarray]]:
    """Return the same of a phantom with planted errors."""
    kept = KeptMaps(folder="memory")
    drawn = mn.phantom((56, 320, 320), seed=seed, voxel_size=(16, 16, 16), objects=140)
    labels, wrong, lost = planted(drawn.labels.data, seed)
    mn.segment(drawn.stack, mn.Recipe(), kept=kept, show=False)
    return drawn.stack, labels, drawn.labels.data.astype(np.uint32), kept, wrong, lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epfl", action="store_true", help="the real volume instead of the drawn one")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--show", type=int, default=0, help="so many of the queue, with their reasons")
    options = parser.parse_args()
    _, labels, _, kept, wrong, lost = real_case() if options.epfl else drawn_case(options.seed)
    told("EPFL" if options.epfl else "phantom", labels, kept, wrong, lost, options.show)


if __name__ == "__main__":
    main()
