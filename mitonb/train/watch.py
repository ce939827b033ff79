"""How good a net is on the planes that a run holds back from itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mitonb.models.spec import ModelSpec
    from mitonb.train.patches import Source

__all__ = ["watch"]


@torch.inference_mode()
def watch(net: nn.Module, spec: ModelSpec, sources: Sequence[Source], *, threshold: float = 0.5) -> dict[str, float]:
    """Return the foreground IoU of the held planes of each source that has some, as {"iou NAME": 0..1}."""
    logit = float(np.log(threshold / (1 - threshold)))
    scores = {}
    for source in sources:
        both = either = 0
        for z in source.held:
            x = spec.normalise(source.image[z], *source.contrast)
            h, w = x.shape
            x = np.pad(x, [(0, -n % spec.multiple) for n in (h, w)], mode="symmetric")
            batch = torch.from_numpy(x)[None, None].contiguous(memory_format=torch.channels_last)
            found = net(batch)["semantic"][0, 0, :h, :w].numpy() >= logit
            truth = source.labels[z] > 0
            both, either = both + int((found & truth).sum()), either + int((found | truth).sum())
        if source.held:
            scores[f"iou {source.name}"] = round(both / max(either, 1), 4)
    return scores
