"""A model that knows the answer: its pictures are ids, its maps are their targets."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mitonb.models.spec import ModelSpec
from mitonb.post.targets import targets

STEP = 4


class OracleNet(torch.nn.Module):
    """Draws the targets of each picture and counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[int, ...]] = []

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the maps of (n, 1, h, w) pictures of ids."""
        self.calls.append(tuple(x.shape))
        maps = [targets(np.rint(picture[0].numpy()).astype(np.int64), output_stride=STEP) for picture in x.float()]
        semantic = torch.from_numpy(np.stack([m.semantic for m in maps])) * 20 - 10
        center = torch.from_numpy(np.stack([m.center[None] for m in maps]))
        offsets = torch.from_numpy(np.stack([m.offsets for m in maps]))
        return {"semantic": semantic, "center": center, "offsets": offsets}


class Oracle:
    """Has what inference needs of a model."""

    def __init__(self) -> None:
        self.spec = ModelSpec(name="oracle", output_stride=STEP, multiple=16, sha256="0" * 64)
        self.net = OracleNet()

    def normalise(self, image: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.float32]:
        """Leave ids as they are; what is no number is background."""
        return np.nan_to_num(image.astype(np.float32), nan=0.0)


def volume(shape: tuple[int, int, int] = (16, 64, 80)) -> npt.NDArray[np.uint8]:
    """Draw four ellipsoids, two of them touching."""
    z, y, x = np.indices(shape)
    ids = np.zeros(shape, np.uint8)
    for number, (cz, cy, cx, a, b, c) in enumerate(
        [(8, 20, 18, 7, 14, 14), (8, 20, 44, 6, 13, 13), (7, 48, 30, 5, 10, 20), (8, 44, 66, 7, 14, 10)], 1
    ):
        inside = ((z - cz) / a) ** 2 + ((y - cy) / b) ** 2 + ((x - cx) / c) ** 2 <= 1
        ids[inside & (ids == 0)] = number
    return ids
