"""The encoder: a residual network that keeps the features of all its resolutions.

Layout and names are those of the common ImageNet networks (stride on the 3x3 convolution), so that their state dicts
fit; the first convolution takes one grey channel.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from mitonb.errors import ModelError
from mitonb.models.layers import norm

__all__ = ["DEPTHS", "Basic", "Bottleneck", "Encoder"]

DEPTHS: dict[str, tuple[Literal["basic", "bottleneck"], tuple[int, int, int, int]]] = {
    "resnet18": ("basic", (2, 2, 2, 2)),
    "resnet34": ("basic", (3, 4, 6, 3)),
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
    "resnet101": ("bottleneck", (3, 4, 23, 3)),
    "resnet152": ("bottleneck", (3, 8, 36, 3)),
}
"""Kind of block, and blocks of each of the four stages."""


def _conv(c_in: int, c_out: int, size: int, *, stride: int = 1, dilation: int = 1, folded: bool) -> nn.Conv2d:
    padding = size // 2 * dilation
    return nn.Conv2d(c_in, c_out, size, stride, padding, dilation, bias=folded)


class Block(nn.Module):
    """What both kinds of block share: the shortcut, resampled where the shape changes."""

    expansion: int

    def __init__(self, c_in: int, width: int, *, stride: int, folded: bool) -> None:
        super().__init__()
        c_out = width * self.expansion
        self.downsample: nn.Module | None = None
        if stride > 1 or c_in != c_out:
            conv = _conv(c_in, c_out, 1, stride=stride, folded=folded)
            self.downsample = nn.Sequential(conv, norm(c_out, folded=folded))

    def shortcut(self, x: Tensor) -> Tensor:
        return x if self.downsample is None else self.downsample(x)


class Basic(Block):
    """Two 3x3 convolutions."""

    expansion = 1

    def __init__(self, c_in: int, width: int, *, stride: int = 1, dilation: int = 1, folded: bool = False) -> None:
        super().__init__(c_in, width, stride=stride, folded=folded)
        self.conv1 = _conv(c_in, width, 3, stride=stride, dilation=dilation, folded=folded)
        self.bn1 = norm(width, folded=folded)
        self.conv2 = _conv(width, width, 3, dilation=dilation, folded=folded)
        self.bn2 = norm(width, folded=folded)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        return functional.relu(y + self.shortcut(x), inplace=True)


class Bottleneck(Block):
    """A 3x3 convolution between two 1x1 ones that narrow and widen again by four."""

    expansion = 4

    def __init__(self, c_in: int, width: int, *, stride: int = 1, dilation: int = 1, folded: bool = False) -> None:
        super().__init__(c_in, width, stride=stride, folded=folded)
        self.conv1 = _conv(c_in, width, 1, folded=folded)
        self.bn1 = norm(width, folded=folded)
        self.conv2 = _conv(width, width, 3, stride=stride, dilation=dilation, folded=folded)
        self.bn2 = norm(width, folded=folded)
        self.conv3 = _conv(width, 4 * width, 1, folded=folded)
        self.bn3 = norm(4 * width, folded=folded)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = functional.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        return functional.relu(y + self.shortcut(x), inplace=True)


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
            raise ModelError(f"{name} cannot have the output stride 16: its blocks are not made for dilation. "
                             "Take stride 32, or resnet50 or resnet101.")  # fmt: skip
        self.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=folded)
        self.bn1 = norm(64, folded=folded)
        block = Basic if kind == "basic" else Bottleneck
        self.widths = [64]
        stages = []
        for k, depth in enumerate(depths):
            dilation = 2 if k == 3 and stride == 16 else 1
            step = 1 if k == 0 or dilation == 2 else 2
            blocks = []
            for i in range(depth):
                c_in = self.widths[-1] if i == 0 else (64 << k) * block.expansion
                blocks.append(block(c_in, 64 << k, stride=step if i == 0 else 1, dilation=dilation, folded=folded))
            stages.append(nn.Sequential(*blocks))
            self.widths.append((64 << k) * block.expansion)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features of a (n, 1, h, w) picture: stem and four stages, at 1/4, 1/4, 1/8, 1/16 and 1/32."""
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        features = [functional.max_pool2d(y, 3, 2, 1)]
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            features.append(stage(features[-1]))
        return features
