"""What engines share: a net cut into convolutions, which any engine may run, and the rest, which stays with torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Convolutions", "Engine", "NetOutput", "Picture", "can_convert", "finished", "renders", "runs_own_code"]

Picture = npt.NDArray[np.float32]


NetOutput = dict[str, Picture]
"""What a net said about a batch of pictures, head by head: logits (n, channels, [d,] h, w). `semantic` may be larger
than the pictures, where the net itself brings it back to full size, and `center` and `offsets` are smaller."""


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

    def run(self, pictures: Picture) -> NetOutput:
        """Run the net on (n, 1, [d,] h, w) normalised pictures."""
        ...


def renders(net: nn.Module) -> bool:
    """Return whether a net sharpens its coarse semantic map point by point, after its convolutions (PointRend)."""
    return hasattr(net, "rendered") and "center" in getattr(net, "heads", ())


def can_convert(net: nn.Module) -> bool:
    """Return whether another engine may take a net: only our own are sure to do the same at each run."""
    fixed = renders(net) or not hasattr(net, "rendered")  # no choice of points among the convolutions
    return fixed and type(net).__module__.startswith("mitonb.models.") and not runs_own_code(net)


def runs_own_code(net: nn.Module) -> bool:
    """Return whether a net came with its own code: nobody knows what it computes with, or in which numbers."""
    return any(isinstance(part, torch.jit.ScriptModule) for part in net.modules())


class Convolutions(nn.Module):
    """The part of a net that is all convolutions: tensors in and out, no choice that depends on the data."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.renders = renders(net)
        self.names: tuple[str, ...] = ()
        """What comes out, once it has run."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map (n, 1, [d,] h, w) pictures to the heads, with PointRend to its coarse logits and features among them."""
        if self.renders:
            outputs: dict[str, Tensor] = self.net.body(x)  # type: ignore[operator]
        else:
            outputs = self.net(x)
        self.names = tuple(outputs)
        return tuple(outputs.values())


def finished(net: nn.Module, names: Sequence[str], outputs: Sequence[Tensor], doublings: int) -> NetOutput:
    """Turn what the convolutions gave into logits at full size, in float32.

    The points of PointRend are chosen by rank and placed by coordinates, which half precision would ruin.

    Parameters
    ----------
    net : nn.Module
        In float32, on the device of the outputs.
    names, outputs : sequence of str, sequence of tensors
        From `Convolutions`.
    doublings : int
        How often the semantic map is doubled beyond the size of the picture.
    """
    heads = {name: tensor.float() for name, tensor in zip(names, outputs, strict=True)}
    if renders(net):
        steps = int(net.full_steps) + doublings  # type: ignore[arg-type]
        heads = net.rendered(heads, steps)  # type: ignore[operator]
    return {name: tensor.cpu().numpy() for name, tensor in heads.items()}
