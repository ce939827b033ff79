"""What engines share: a net cut into convolutions, which any engine may run, and the rest, which stays with torch."""

from __future__ import annotations

from typing import NamedTuple, Protocol, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

__all__ = ["Convolutions", "Engine", "Picture", "Said", "can_convert", "finished", "renders", "runs_own_code"]

Picture = npt.NDArray[np.float32]


class Said(NamedTuple):
    """What a net said about a batch of pictures.

    Attributes
    ----------
    semantic : (n, channels, h * scale, w * scale) float32 array
        Logits; scale is 1, or the downsampling where the net itself brings the semantic map back to full size.
    field : (n, 3, h / step, w / step) float32 array
        Center, and offsets (dy, dx) in pixels of the picture.
    """

    semantic: Picture
    field: Picture


class Engine(Protocol):
    """One way to run a net."""

    @property
    def name(self) -> str:
        """Library that runs it, for the record."""
        ...

    @property
    def precision(self) -> str:
        """Numbers that it computes with: fp32, bf16, fp16 or int8."""
        ...

    def run(self, pictures: Picture) -> Said:
        """Run the net on (n, h, w) normalised pictures."""
        ...


def renders(net: nn.Module) -> bool:
    """Return whether a net sharpens its coarse semantic map point by point, after its convolutions (PointRend)."""
    return hasattr(net, "rendered") and hasattr(net, "body")


def can_convert(net: nn.Module) -> bool:
    """Return whether another engine may take a net: only our own are sure to do the same at each run."""
    return type(net).__module__.startswith("mitonb.models.") and not runs_own_code(net)


def runs_own_code(net: nn.Module) -> bool:
    """Return whether a net came with its own code: nobody knows what it computes with, or in which numbers."""
    return any(isinstance(part, torch.jit.ScriptModule) for part in net.modules())


class Convolutions(nn.Module):
    """The part of a net that is all convolutions: tensors in and out, no choice that depends on the data."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.renders = renders(net)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map (n, 1, h, w) pictures to (coarse logits, features, center, offsets), or (logits, center, offsets)."""
        if self.renders:
            return cast("tuple[Tensor, ...]", tuple(self.net.body(x)))  # type: ignore[operator]
        heads = self.net(x)
        return heads["semantic"], heads["center"], heads["offsets"]


def finished(net: nn.Module, outputs: tuple[Tensor, ...], doublings: int) -> Said:
    """Turn what the convolutions gave into logits at full size, in float32.

    The points of PointRend are chosen by rank and placed by coordinates, which half precision would ruin.

    Parameters
    ----------
    net : nn.Module
        In float32, on the device of the outputs.
    outputs : tuple of tensors
        From `Convolutions`.
    doublings : int
        How often the semantic map is doubled beyond the size of the picture.
    """
    outputs = tuple(t.float() for t in outputs)
    semantic, field = outputs[0], torch.cat(outputs[-2:], 1)
    if renders(net):
        steps = int(net.full_steps) + doublings  # type: ignore[arg-type]
        semantic = net.rendered(semantic, outputs[1], steps)  # type: ignore[operator]
    return Said(semantic.cpu().numpy(), field.cpu().numpy())
