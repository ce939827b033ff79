"""Panoptic DeepLab with PointRend, the network of MitoNet, and its variant that draws contours.

Method: Cheng et al., Panoptic-DeepLab (2020); Conrad & Narayan, MitoNet (2023). Names of modules are those of the
published state dicts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mitonb.errors import ModelError
from mitonb.models.heads import Head
from mitonb.models.layers import Separable, conv_norm_relu, resized
from mitonb.models.point_rend import PointRend
from mitonb.models.rendered import Rendered, enlarged_logits
from mitonb.models.resnet import Encoder

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ContourDeepLab", "PanopticDeepLab"]


class Pooling(nn.Module):
    """The mean of the whole picture, everywhere: what a tile shows changes it."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.aspp_pooling = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(c_in, c_out, 1, bias=False), nn.ReLU(inplace=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.aspp_pooling(x).expand(-1, -1, *x.shape[2:])  # type: ignore[no-any-return]


class Pyramid(nn.Module):
    """Atrous spatial pyramid: the same features seen at several distances, side by side."""

    def __init__(self, c_in: int, c_out: int, rates: Sequence[int], dropout: float, *, folded: bool) -> None:
        super().__init__()
        self.convs = nn.ModuleList([
            conv_norm_relu(nn.Conv2d(c_in, c_out, 1, bias=folded), c_out, folded=folded),
            *(
                conv_norm_relu(
                    nn.Conv2d(c_in, c_out, 3, padding=rate, dilation=rate, bias=folded), c_out, folded=folded
                )
                for rate in rates
            ),
            Pooling(c_in, c_out),
        ])  # fmt: skip
        joined = len(self.convs) * c_out
        self.project = nn.Sequential(
            *conv_norm_relu(nn.Conv2d(joined, c_out, 1, bias=folded), c_out, folded=folded), nn.Dropout(dropout)
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(torch.cat([conv(x) for conv in self.convs], 1))
        return y


class Decoder(nn.Module):
    """From the deepest features up, joined at each stage by finer ones of the encoder."""

    def __init__(
        self,
        widths: Sequence[int],
        *,
        channels: int,
        stages: Sequence[int],
        projections: Sequence[int],
        aspp_channels: int,
        rates: Sequence[int],
        dropout: float,
        folded: bool,
    ) -> None:
        super().__init__()
        self.stages = tuple(stages)
        self.aspp = Pyramid(widths[-1], aspp_channels, rates, dropout, folded=folded)
        self.project = nn.ModuleList()
        self.fuse = nn.ModuleList()
        coarse = aspp_channels
        for stage, side in zip(stages, projections, strict=True):
            self.project.append(conv_norm_relu(nn.Conv2d(widths[stage], side, 1, bias=folded), side, folded=folded))
            self.fuse.append(conv_norm_relu(Separable(coarse + side, channels, 5), channels))
            coarse = channels

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        y = self.aspp(features[-1])
        for stage, project, fuse in zip(self.stages, self.project, self.fuse, strict=True):
            side = project(features[stage])
            y = fuse(torch.cat([resized(y, side), side], 1))
        return y  # type: ignore[no-any-return]


class PanopticDeepLab(Rendered):
    """Encoder and two decoders, one for what is there and one for which object it belongs to.

    Parameters
    ----------
    encoder : str
        Key of `mitonb.models.resnet.DEPTHS`.
    channels : int
        Semantic channels: 1, or 1 + classes with the background first.
    stride : {16, 32}
        Input pixels per pixel of the deepest features.
    decoder_channels : int
        Width of the decoders and heads.
    low_level_stages : sequence of int
        Features of the encoder that join, deepest first: 0 is the stem, 1 to 3 are the first three stages. The last
        one is at 1/4 of the resolution (0 or 1).
    low_level_channels : sequence of int
        Width that each is brought to for the semantic decoder.
    ins_low_level_channels : sequence of int, optional
        The same for the instance decoder; by default `ins_ratio` times as many.
    atrous_rates : sequence of int
        Distances that the pyramid looks at, in pixels of the deepest features.
    aspp_channels : int, optional
        Width of the pyramid; by default `decoder_channels`.
    dropout : float
        Share of the pyramid's channels that a training step leaves out.
    ins_decoder : bool
        Whether the instance heads have a decoder of their own.
    ins_ratio : float
        Width of the instance decoder's projections against the semantic ones.
    folded : bool
        As in exported files: encoder, pyramid and projections have biases in place of norms.

    Examples
    --------
    >>> import torch
    >>> net = PanopticDeepLab("resnet18", stride=32, decoder_channels=16, low_level_channels=[4]).eval()
    >>> [tuple(head.shape) for head in net(torch.zeros(1, 1, 64, 64)).values()]
    [(1, 1, 64, 64), (1, 1, 16, 16), (1, 2, 16, 16)]
    """

    def __init__(
        self,
        encoder: str = "resnet50",
        channels: int = 1,
        *,
        stride: int = 16,
        decoder_channels: int = 256,
        low_level_stages: Sequence[int] = (1,),
        low_level_channels: Sequence[int] = (32,),
        ins_low_level_channels: Sequence[int] | None = None,
        atrous_rates: Sequence[int] = (2, 4, 6),
        aspp_channels: int | None = None,
        dropout: float = 0.5,
        ins_decoder: bool = True,
        ins_ratio: float = 0.5,
        folded: bool = False,
    ) -> None:
        super().__init__()
        if len(low_level_stages) != len(low_level_channels) or not low_level_stages or low_level_stages[-1] > 1:
            raise ModelError(
                "A decoder needs one width for each stage that joins, and its last stage is 0 or 1 (at 1/4 of the "
                f"resolution), got stages {list(low_level_stages)} and widths {list(low_level_channels)}."
            )
        self.multiple = stride
        self.encoder = Encoder(encoder, stride=stride, folded=folded)
        self.instance_decoder: Decoder | None = None

        def decoder(projections: Sequence[int]) -> Decoder:
            return Decoder(
                self.encoder.widths, channels=decoder_channels, stages=low_level_stages, projections=projections,
                aspp_channels=aspp_channels or decoder_channels, rates=atrous_rates, dropout=dropout, folded=folded,
            )  # fmt: skip

        self.semantic_decoder = decoder(low_level_channels)
        if ins_decoder:
            self.instance_decoder = decoder(
                ins_low_level_channels or [int(ins_ratio * width) for width in low_level_channels]
            )
        self.add_heads(decoder_channels, channels)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return semantic and instance features, the same where there is one decoder."""
        deep = self.encoder(x)
        semantic = self.semantic_decoder(deep)
        return semantic, semantic if self.instance_decoder is None else self.instance_decoder(deep)


class ContourDeepLab(PanopticDeepLab):
    """The variant whose second decoder draws the contours of objects; parameters as for `PanopticDeepLab`."""

    heads = ("semantic", "contour")

    def add_heads(self, width: int, channels: int) -> None:
        """Add a semantic and a contour head, each with its PointRend."""
        self.semantic_head = Head(width, channels)
        self.boundary_head = Head(width, 1)
        self.semantic_pr = PointRend(width, channels)
        self.boundary_pr = PointRend(width, 1)

    def forward(  # type: ignore[override]
        self, x: Tensor, render_steps: int = PanopticDeepLab.full_steps
    ) -> dict[str, Tensor]:
        """Map (n, 1, h, w) normalised planes to semantic and contour logits."""
        semantic, instance = self.features(x)
        coarse, contour = self.semantic_head(semantic), self.boundary_head(instance)
        if self.training:
            heads = {"semantic": enlarged_logits(coarse), "contour": enlarged_logits(contour)}
            points = self.semantic_pr.points(semantic, coarse), self.boundary_pr.points(instance, contour)
            for name, (logits, places) in zip(self.heads, points, strict=True):
                heads |= {f"{name}_points": logits, f"{name}_places": places}
            return heads
        fine = self.semantic_pr(semantic, coarse, render_steps)
        return {"semantic": fine, "contour": self.boundary_pr(instance, contour, render_steps)}
