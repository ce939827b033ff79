"""The encoder, a residual network that keeps the features of all its resolutions, and the pieces that nets share.

Layout and names are those of the common ImageNet networks (stride on the 3x3 convolution), so that their state dicts
fit; the first convolution takes one grey channel.
"""

import itertools
from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional

from mitonb.errors import ModelError

DEPTHS: dict[str, tuple[str, tuple[int, int, int, int]]] = {
    "resnet18": ("basic", (2, 2, 2, 2)),
    "resnet34": ("basic", (3, 4, 6, 3)),
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
    "resnet101": ("bottleneck", (3, 4, 23, 3)),
    "resnet152": ("bottleneck", (3, 8, 36, 3)),
}
"""Kind of block, and blocks of each of the four stages."""

KERNELS = {"basic": (3, 3), "bottleneck": (1, 3, 1)}
"""Convolutions of a block; those of a bottleneck narrow, work, and widen again by four."""


def separable(c_in: int, c_out: int, size: int) -> nn.Sequential:
    """A convolution in two steps: each channel by itself, then across channels; without bias."""
    each = nn.Conv2d(c_in, c_in, size, padding=size // 2, groups=c_in, bias=False)
    return nn.Sequential(OrderedDict(sepconv=nn.Sequential(each, nn.Conv2d(c_in, c_out, 1, bias=False))))


def _norm(width: int, *, folded: bool) -> nn.Module:
    """Return a BatchNorm, or nothing where a file has it folded into the convolution before."""
    return nn.Identity() if folded else nn.BatchNorm2d(width)


def conv_norm_relu(conv: nn.Module, width: int, *, folded: bool = False) -> nn.Sequential:
    """Return the usual three: a convolution to `width` channels, its norm, ReLU."""
    return nn.Sequential(conv, _norm(width, folded=folded), nn.ReLU(inplace=True))


class Block(nn.Module):
    """Two or three convolutions around a shortcut, which is resampled where the shape changes."""

    def __init__(
        self, kind: str, c_in: int, width: int, *, stride: int = 1, dilation: int = 1, folded: bool = False
    ) -> None:
        super().__init__()
        kernels = KERNELS[kind]
        widths = [c_in, *[width] * (len(kernels) - 1), width if kind == "basic" else 4 * width]
        self.downsample: nn.Module | None = None
        if stride > 1 or c_in != widths[-1]:
            conv = nn.Conv2d(c_in, widths[-1], 1, stride, bias=folded)
            self.downsample = nn.Sequential(conv, _norm(widths[-1], folded=folded))
        self.steps = range(1, len(kernels) + 1)
        for k, size, (a, b) in zip(self.steps, kernels, itertools.pairwise(widths), strict=True):
            step = stride if k == 1 + kernels.index(3) else 1
            wide = dilation if size == 3 else 1
            setattr(self, f"conv{k}", nn.Conv2d(a, b, size, step, size // 2 * wide, wide, bias=folded))
            setattr(self, f"bn{k}", _norm(b, folded=folded))

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for k in self.steps:
            y = getattr(self, f"bn{k}")(getattr(self, f"conv{k}")(y))
            if k < self.steps[-1]:
                y = functional.relu(y, inplace=True)
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


class Encoder(nn.Module):
    """A residual network without its classifier.

    Parameters
    ----------
    name : str
        Key of `DEPTHS`.
    stride : {32, 16}
        Input pixels per pixel of the deepest features. At 16 the last stage is dilated by two instead of strided;
        the basic blocks of resnet18 and resnet34 have no such form.
    folded : bool
        Convolutions have biases and no norms follow, as in exported files.

    Attributes
    ----------
    widths : list of int
        Channels of the five features that `forward` returns.

    Raises
    ------
    ModelError
        If there is no such network, or not at this stride.
    """

    def __init__(self, name: str = "resnet50", *, stride: int = 32, folded: bool = False) -> None:
        super().__init__()
        if name not in DEPTHS:
            raise ModelError(f"There is no encoder {name!r}; the known ones are {', '.join(DEPTHS)}.")
        kind, depths = DEPTHS[name]
        if stride not in (16, 32):
            raise ModelError(f"An encoder has the output stride 16 or 32, got {stride}.")
        if stride == 16 and kind == "basic":
            raise ModelError(f"{name} cannot have the output stride 16: its blocks never dilate. Take 32, or resnet50.")
        self.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=folded)
        self.bn1 = _norm(64, folded=folded)
        self.widths = [64]
        for k, depth in enumerate(depths):
            dilation = 2 if k == 3 and stride == 16 else 1
            width, c_out = 64 << k, (64 << k) * (1 if kind == "basic" else 4)
            step = 1 if k == 0 or dilation == 2 else 2
            first = Block(kind, self.widths[-1], width, stride=step, dilation=dilation, folded=folded)
            more = (Block(kind, c_out, width, dilation=dilation, folded=folded) for _ in range(depth - 1))
            setattr(self, f"layer{k + 1}", nn.Sequential(first, *more))
            self.widths.append(c_out)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features of a (n, 1, h, w) picture: stem and four stages, at 1/4, 1/4, 1/8, 1/16 and 1/32."""
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        features = [functional.max_pool2d(y, 3, 2, 1)]
        for k in range(1, 5):
            features.append(getattr(self, f"layer{k}")(features[-1]))
        return features
