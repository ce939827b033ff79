"""A store that is laid out as those of OpenOrganelle, drawn and small."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorstore

import mitonb as mn

if TYPE_CHECKING:
    from pathlib import Path

PLACE = (400.0, 800.0, 1200.0)
"""Where the first voxel lies, z, y, x in nm; voxels are 8 nm."""
SHAPE = (48, 96, 112)


def draw() -> tuple[np.ndarray, np.ndarray]:
    """Return image and ids of the volume that is in the store."""
    stack, truth = mn.phantom(SHAPE, objects=6, seed=1)
    return np.asarray(stack.data), truth.data


def write_n5(folder: Path, finest: np.ndarray, how: str, count: int = 3) -> None:
    """Write the levels s0, s1, ... with what CellMap writes about them, sizes and places z, y, x."""
    level: Any = tensorstore.array(finest)
    for k in range(count):
        values = np.asarray(level.read().result())
        spec = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{folder}/s{k}/"}}
        metadata = {"dimensions": list(values.shape[::-1]), "dataType": values.dtype.name, "blockSize": [32, 32, 16],
                    "compression": {"type": "gzip"}}  # fmt: skip
        tensorstore.open(spec | {"metadata": metadata}, create=True).result()[...].T.write(values).result()
        told = json.loads((folder / f"s{k}" / "attributes.json").read_text())
        shift = 8 * (2**k - 1) / 2 if how == "mean" else 0
        told["transform"] = {"axes": ["z", "y", "x"], "units": ["nm"] * 3, "scale": [8 * 2**k] * 3,
                             "translate": [place + shift for place in PLACE]}  # fmt: skip
        (folder / f"s{k}" / "attributes.json").write_text(json.dumps(told))
        level = tensorstore.downsample(level, [2, 2, 2], how)
    own = [json.loads((folder / f"s{k}" / "attributes.json").read_text()) for k in range(count)]
    datasets = [{"path": f"s{k}", "transform": one["transform"]} for k, one in enumerate(own)]
    (folder / "attributes.json").write_text(json.dumps({"multiscales": [{"name": "", "datasets": datasets}]}))


def make(root: Path, name: str = "jrc_drawn") -> tuple[np.ndarray, np.ndarray]:
    """Write a data set; return its image and the ids that were published with it."""
    image, ids = draw()
    store = root / name / f"{name}.n5"
    write_n5(store / "em" / "fibsem-uint8", image, "mean")
    write_n5(store / "labels" / "mito_seg", ids.astype(np.uint64), "stride")
    return image, ids
