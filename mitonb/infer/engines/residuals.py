"""Winograd's method within torch: the residual blocks of our own nets, which are nearly all of their arithmetic."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from mitonb.infer.engines.native import TorchEngine
from mitonb.infer.engines.winograd import Layer, can_convolve, convolved
from mitonb.models.unet import ConvNorm, Residual

__all__ = ["WinogradEngine", "has_residuals"]


class WinogradEngine(TorchEngine):
    """A net in torch on the CPU in fp32, its residual blocks by `winograd`: half the time, and the rounding is another.

    Parameters
    ----------
    net : nn.Module
        In evaluation mode, BatchNorm folded; it is copied but for what is replaced.
    doublings : int
        As for `TorchEngine`.
    """

    name = "torch+winograd"

    def __init__(self, net: nn.Module, doublings: int = 0) -> None:
        # A deep copy takes what it finds in its memo for a copy that is already made.
        replaced = {id(block): _Block(block) for block in _residuals(net)}
        super().__init__(copy.deepcopy(net, dict(replaced)), doublings=doublings)


def has_residuals(net: nn.Module) -> bool:
    """Return whether a net has blocks that `WinogradEngine` would replace."""
    return bool(_residuals(net))


def _residuals(net: nn.Module) -> list[Residual]:
    return [
        block
        for block in net.modules()
        if isinstance(block, Residual) and block.shortcut and all(map(_fits, _steps(block)))
    ]


def _steps(block: Residual) -> tuple[ConvNorm, ConvNorm]:
    return block.first, block.second


def _fits(step: ConvNorm) -> bool:
    folded = isinstance(step.norm, nn.Identity) and step.conv.bias is not None
    return folded and can_convolve(step.conv.weight.detach().numpy())


class _Block(nn.Module):
    """What stands in for a residual block."""

    def __init__(self, block: Residual) -> None:
        super().__init__()
        self.layers = [_layer(step.conv) for step in _steps(block)]  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same."""
        first, second = self.layers
        threads = torch.get_num_threads()
        pictures = x.contiguous(memory_format=torch.channels_last)
        out = torch.empty_like(pictures)
        for before, after in zip(_channels_last(pictures), _channels_last(out), strict=True):
            between = np.empty((*before.shape[:2], first.bias.size), np.float32)
            convolved(before, first, None, between, threads)
            convolved(between, second, before, after, threads)
        return out


def _layer(conv: nn.Conv2d) -> Layer:
    assert conv.bias is not None
    return Layer.of(conv.weight.detach().numpy(), conv.bias.detach().numpy())


def _channels_last(x: Tensor) -> np.ndarray:
    """Return the same memory as an (n, h, w, c) array."""
    array: np.ndarray = x.permute(0, 2, 3, 1).numpy()
    return array
