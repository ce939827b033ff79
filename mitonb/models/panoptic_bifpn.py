"""Panoptic BiFPN with PointRend, the network of the small MitoNet.

Method: Tan et al., EfficientDet (2020), for the pyramid; Conrad & Narayan, MitoNet (2023). Names of modules are those
of the published state dicts. Levels are numbered by their resolution: level k is at 1 / 2**k.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from mitonb.models.layers import Separable, conv_norm_relu
from mitonb.models.rendered import Rendered
from mitonb.models.resnet import Encoder

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PanopticBiFPN"]

EPSILON = 1e-4


class Resample(nn.Module):
    """Bring features to another number of channels; nothing where they have it."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        if c_in == c_out:
            self.conv: nn.Module = nn.Identity()
        else:
            self.conv = nn.Sequential(nn.Conv2d(c_in, c_out, 1, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y


class Pass(nn.Module):
    """One way through the pyramid: what both directions share.

    Each level has a weight for each of its inputs. As published, neighbouring levels share weights (level i starts at
    weight i), and one convolution serves all levels: the state dict names it four times.
    """

    def __init__(self, widths: Sequence[int], width: int, *, depthwise: bool) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(5))
        self.resamplings = nn.ModuleList(Resample(c_in, width) for c_in in widths)
        if depthwise:
            conv: nn.Module = Separable(width, width, 3)
        else:
            conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        shared = nn.Sequential(conv, nn.BatchNorm2d(width), nn.SiLU(inplace=True))
        self.after_combines = nn.ModuleList([shared] * 4)

    def combined(self, level: int, inputs: Sequence[Tensor]) -> Tensor:
        """Return the weighted mean of a level's inputs after the shared convolution."""
        weights = functional.relu(self.weights)
        weights = weights / (weights.sum() + EPSILON)
        weights = weights[level : level + len(inputs)]
        weights = weights / (weights.sum() + EPSILON)
        weights = weights.to(inputs[0].dtype)
        total = weights[0] * inputs[0]
        for k, more in enumerate(inputs[1:], 1):
            total = total + weights[k] * more
        y: Tensor = self.after_combines[level](total)
        return y


class TopDown(Pass):
    """From the coarsest level to the finest."""

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Map levels 3 to 7 (finest first) to as many."""
        out = [levels[-1]]
        for i, level in enumerate(reversed(levels[:-1])):
            up = functional.interpolate(out[-1], scale_factor=2.0, mode="nearest")
            out.append(self.combined(i, [up, self.resamplings[i](level)]))
        return out[::-1]


class BottomUp(Pass):
    """From the finest level to the coarsest; each is joined by what the way down made of it."""

    def forward(self, levels: Sequence[Tensor], down: Sequence[Tensor]) -> list[Tensor]:
        """Map levels 3 to 7 before and after the way down to as many."""
        out = [down[0]]
        for i, (level, after) in enumerate(zip(levels[1:], down[1:], strict=True)):
            coarser = functional.max_pool2d(out[-1], 3, 2, 1)
            inputs = [coarser, self.resamplings[i](level)]
            if i < len(levels) - 2:  # the way down left the coarsest level as it was
                inputs.append(after)
            out.append(self.combined(i, inputs))
        return out


class Layer(nn.Module):
    """Once down and once up."""

    def __init__(self, widths: Sequence[int], width: int, *, depthwise: bool) -> None:
        super().__init__()
        self.top_down_fpn = TopDown(widths[-2::-1], width, depthwise=depthwise)
        self.bottom_up_fpn = BottomUp(widths[1:], width, depthwise=depthwise)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        up: list[Tensor] = self.bottom_up_fpn(levels, self.top_down_fpn(levels))
        return up


class Pyramid(nn.Module):
    """Levels 3 to 7 from the last three features of the encoder."""

    def __init__(self, widths: Sequence[int], width: int, layers: int, *, depthwise: bool) -> None:
        super().__init__()
        self.p6_resample = Resample(widths[-1], width)
        first = [*widths, width, width]
        self.bifpns = nn.ModuleList(
            Layer(first if k == 0 else [width] * 5, width, depthwise=depthwise) for k in range(layers)
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        levels = [*features, functional.max_pool2d(self.p6_resample(features[-1]), 3, 2, 1)]
        levels.append(functional.max_pool2d(levels[-1], 3, 2, 1))
        for layer in self.bifpns:
            levels = layer(levels)
        return levels


class Decoder(nn.Module):
    """From the coarsest level up to level 2, joined by each level on the way."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.upsamplings = nn.ModuleList(
            conv_norm_relu(nn.ConvTranspose2d(width if k == 0 else 2 * width, width, 2, 2, bias=False), width)
            for k in range(5)
        )
        self.fusion = conv_norm_relu(Separable(2 * width, width, 5), width)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Map levels 2 to 7 (finest first) to features of level 2."""
        y = levels[-1]
        for up, level in zip(self.upsamplings, reversed(levels[:-1]), strict=True):
            y = torch.cat([up(y), level], 1)
        return self.fusion(y)  # type: ignore[no-any-return]


class PanopticBiFPN(Rendered):
    """Encoder and two pyramids with decoders, one for what is there and one for which object it belongs to.

    Parameters
    ----------
    encoder : str
        Key of `mitonb.models.resnet.DEPTHS`.
    channels : int
        Semantic channels: 1, or 1 + classes with the background first.
    fpn_dim : int
        Width of pyramids, decoders and heads.
    fpn_layers : int
        How often a pyramid goes down and up.
    ins_decoder : bool
        Whether the instance heads have a pyramid and a decoder of their own.
    depthwise : bool
        Separable convolutions in the pyramids.
    folded : bool
        As in exported files: the encoder has biases in place of norms.
    """

    multiple = 128

    def __init__(
        self,
        encoder: str = "resnet50",
        channels: int = 1,
        *,
        fpn_dim: int = 128,
        fpn_layers: int = 3,
        ins_decoder: bool = True,
        depthwise: bool = True,
        folded: bool = False,
    ) -> None:
        super().__init__()
        if not 0 < fpn_layers <= 64:
            raise ValueError(f"a pyramid has 1 to 64 layers, got {fpn_layers}")
        self.encoder = Encoder(encoder, folded=folded)
        widths = self.encoder.widths
        self.p2_resample = Resample(widths[1], fpn_dim)
        self.semantic_fpn = Pyramid(widths[2:], fpn_dim, fpn_layers, depthwise=depthwise)
        self.semantic_decoder = Decoder(fpn_dim)
        self.instance_fpn: Pyramid | None = None
        self.instance_decoder: Decoder | None = None
        if ins_decoder:
            self.instance_fpn = Pyramid(widths[2:], fpn_dim, fpn_layers, depthwise=depthwise)
            self.instance_decoder = Decoder(fpn_dim)
        self.add_heads(fpn_dim, channels)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return semantic and instance features, the same where there is one decoder."""
        _, p2, *deep = self.encoder(x)
        p2 = self.p2_resample(p2)
        semantic = self.semantic_decoder([p2, *self.semantic_fpn(deep)])
        if self.instance_fpn is None or self.instance_decoder is None:
            return semantic, semantic
        return semantic, self.instance_decoder([p2, *self.instance_fpn(deep)])
