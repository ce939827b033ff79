"""Merge neighbouring mitochondria of a real volume, split them again, and count the voxels that are where they belong.

    MITONB_DATA_DIR=DIR python benchmarks/splitting.py

DIR holds epfl_hippocampus/mito_instances_10nm.tif. Mitochondria grow by 50 nm, so that neighbours touch, and are merged
as a network would merge them; seeds are voxels of each, drawn anywhere in it.
"""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import cc3d
import numpy as np
import tifffile
from scipy import ndimage

import mitonb as mn
from mitonb.edit.edits import encode


def main() -> None:
    """Print a line for each pair that touches."""
    path = Path(os.environ["MITONB_DATA_DIR"]) / "epfl_hippocampus" / "mito_instances_10nm.tif"
    truth = tifffile.imread(path).astype(np.uint32)
    away, nearest = ndimage.distance_transform_edt(truth == 0, return_indices=True)
    touching = np.where(away <= 5, truth[tuple(nearest)], 0).astype(np.uint32)
    session = mn.Session(labels=touching)
    session.set_voxel_size(10)
    rng = np.random.default_rng(0)
    print("objects, voxels: share where it belongs by seeds, by necks; CPU ms of a preview; bytes in the journal")
    shares = []
    for a, b in cc3d.contacts(touching, connectivity=26):
        session.merge(int(a), int(b))
        seeds = [rng.choice(np.argwhere(truth == id)).tolist() for id in (a, b)]
        start = time.process_time()
        edit = session.preview("split", id=int(a), seeds=seeds)
        took = time.process_time() - start
        found = []
        for verb, given in (("split", {"seeds": seeds}), ("split_at_necks", {"parts": 2})):
            try:
                session.do(verb, id=int(a), **given)
            except mn.InputError:
                found.append(0.5)
            else:
                found.append(belonging(session.labels.data, touching == a, touching == b))
                session.undo()
        session.undo()
        shares.append(found)
        count = np.count_nonzero((touching == a) | (touching == b))
        print(f"{a:3d} {b:3d} {count:8d}: {found[0]:.3f} {found[1]:.3f} {1e3 * took:6.0f} {len(encode(edit.parts)):6d}")
    print(f"median {np.median(shares, axis=0).round(3)}, least {np.min(shares, axis=0).round(3)}, {len(shares)} pairs")


def belonging(labels: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    """Return the share of voxels that are in the right one of two parts."""
    parts = np.unique(labels[one | other]).tolist()
    right = [
        np.count_nonzero(labels[one] == a) + np.count_nonzero(labels[other] == b)
        for a, b in itertools.permutations(parts, 2)
    ]
    return float(max(right) / (np.count_nonzero(one) + np.count_nonzero(other)))


if __name__ == "__main__":
    main()
