"""The engine that is always there: torch itself, on any device and in any precision that it has."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from mitonb.infer.engines.parts import Convolutions, NetOutput, Picture, finished

__all__ = ["TorchEngine"]

_LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}
_KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchEngine:
    """A net in torch, channels last.

    Parameters
    ----------
    net : nn.Module
        Ready to run: in evaluation mode, BatchNorm folded where it can be.
    device : {"cpu", "cuda", "mps"}
        Where.
    precision : {"fp32", "bf16", "fp16"}
        Of the convolutions; everything after them is float32.
    doublings : int
        How often a net with PointRend doubles its semantic map beyond the size of the picture.
    """

    name = "torch"

    def __init__(self, net: nn.Module, device: str = "cpu", precision: str = "fp32", doublings: int = 0) -> None:
        self.precision = precision
        self.doublings = doublings
        self._device = device
        self._kind = _KINDS[precision]
        blocks = any(isinstance(part, nn.Conv3d) for part in net.modules())
        layout = _LAYOUTS[5 if blocks else 4]
        self._net = net.eval().to(device, memory_format=layout)  # type: ignore[call-overload]
        # A copy where numbers get shorter: the net itself belongs to the caller, and its point head stays float32.
        low = self._net if precision == "fp32" else copy.deepcopy(self._net).to(self._kind)
        self._body = Convolutions(low).eval()

    def run(self, pictures: Picture) -> NetOutput:
        """Run the net on (n, 1, [d,] h, w) normalised pictures."""
        x = torch.from_numpy(np.ascontiguousarray(pictures)).to(self._device)
        with torch.inference_mode():
            x = x.contiguous(memory_format=_LAYOUTS[x.ndim]).to(self._kind)
            outputs = self._body(x)
            return finished(self._net, self._body.names, outputs, self.doublings)
