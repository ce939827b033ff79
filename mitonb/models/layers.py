"""Pieces that several nets share: convolutions with their norms, resizing, and folding norms away for inference.

Names of modules follow the published state dicts, so that their tensors fit without renaming.
"""

from __future__ import annotations

import copy
import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_conv_bn_weights

__all__ = ["Separable", "channels_last", "conv_norm_relu", "fused", "norm", "resized"]


class Separable(nn.Module):
    """A convolution in two steps: each channel by itself, then across channels; without bias."""

    def __init__(self, c_in: int, c_out: int, size: int) -> None:
        super().__init__()
        self.sepconv = nn.Sequential(
            nn.Conv2d(c_in, c_in, size, padding=size // 2, groups=c_in, bias=False),
            nn.Conv2d(c_in, c_out, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.sepconv(x)
        return y


def norm(width: int, *, folded: bool) -> nn.Module:
    """Return a BatchNorm, or nothing where a file has it folded into the convolution before."""
    return nn.Identity() if folded else nn.BatchNorm2d(width)


def conv_norm_relu(conv: nn.Module, width: int, *, folded: bool = False) -> nn.Sequential:
    """Return the usual three: a convolution to `width` channels, its norm, ReLU."""
    return nn.Sequential(conv, norm(width, folded=folded), nn.ReLU(inplace=True))


def resized(x: Tensor, like: Tensor) -> Tensor:
    """Resize (n, c, h, w) bilinearly to the size of another tensor, corner pixel on corner pixel."""
    if x.shape[2:] == like.shape[2:]:
        return x
    return functional.interpolate(x, like.shape[2:], mode="bilinear", align_corners=True)


def fused(net: nn.Module) -> nn.Module:
    """Return a copy for inference with every BatchNorm folded into the convolution before it.

    It relies on a rule that all nets here keep: a norm that is registered right after a convolution is applied right
    after it.
    """
    copied = copy.deepcopy(net).eval()
    for parent in list(copied.modules()):  # a module that stands in several places comes once
        for (first, conv), (second, after) in itertools.pairwise(parent.named_children()):
            if isinstance(after, nn.BatchNorm2d) and isinstance(conv, Separable | nn.Conv2d | nn.ConvTranspose2d):
                setattr(parent, first, _folded(conv, after))
                setattr(parent, second, nn.Identity())
    return copied


def _folded(conv: nn.Module, after: nn.BatchNorm2d) -> nn.Module:
    if isinstance(conv, Separable):
        conv.sepconv[1] = _folded(conv.sepconv[1], after)
    elif isinstance(conv, nn.Conv2d):
        return fuse_conv_bn_eval(conv, after)
    elif isinstance(conv, nn.ConvTranspose2d):
        assert after.running_mean is not None
        assert after.running_var is not None
        conv.weight, conv.bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, after.running_mean, after.running_var, after.eps, after.weight, after.bias,
            transpose=True,
        )  # fmt: skip
    return conv


def channels_last(net: nn.Module) -> nn.Module:
    """Lay the weights out as convolutions on processors like them best: twice as fast there."""
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
