"""MitoNet's networks, both with PointRend: Panoptic DeepLab, its variant that draws contours, and Panoptic BiFPN.

Methods: Cheng et al., Panoptic-DeepLab (2020); Tan et al., EfficientDet (2020), for the BiFPN; Kirillov et al.,
PointRend: Image Segmentation as Rendering (2020); Conrad & Narayan, MitoNet (2023). Names of modules are those of the
published state dicts.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from mitonb.errors import ModelError
from mitonb.models.encoder import Encoder, conv_norm_relu, separable

SUBDIVISION_POINTS = 8192
"""Pixels of a plane that are asked again at each doubling."""
TRAINED_POINTS = 1024
"""Points of a plane that a training asks again: three of four are the least sure ones of three times as many."""
PARTS: dict[str, tuple[str, str]] = {
    "semantic": ("semantic_head", "semantic_pr"),
    "contour": ("boundary_head", "boundary_pr"),
    "center": ("ins_center", ""),
    "offsets": ("ins_xy", ""),
}
"""Names of the published modules that draw each head: a small head, and the PointRend that refines it, if any."""


# ------------------------------------------------- PointRend: a coarse map made fine, asked again where it is uncertain


class PointLayer(nn.Conv1d):
    """A convolution over places in the form that state dicts have it, applied as the linear map that it is."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, p, c_in) to (n, p, c_out)."""
        return functional.linear(x, self.weight[:, :, 0], self.bias)


class PointMLP(nn.Module):
    """The net that is asked again: features and coarse logits of a place give its logits."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.fc_layers = nn.ModuleList(
            nn.Sequential(PointLayer(width + channels, width, 1), nn.ReLU(inplace=True)) for _ in range(3)
        )
        self.predictor = PointLayer(width + channels, channels, 1)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Map (n, p, width) features and (n, p, channels) coarse logits to (n, p, channels) logits."""
        y = fine
        for layer in self.fc_layers:
            y = layer(torch.cat([y, coarse], 2))
        return self.predictor(torch.cat([y, coarse], 2))


class PointRend(nn.Module):
    """Refine coarse logits.

    Logits and places are float32 whatever the precision of the net: half precision cannot tell the pixels of a plane
    of a few thousand from each other.

    Parameters
    ----------
    width : int
        Channels of the features.
    channels : int
        Channels of the logits.
    """

    def __init__(self, width: int, channels: int = 1) -> None:
        super().__init__()
        self.point_head = PointMLP(width, channels)

    def forward(self, features: Tensor, coarse: Tensor, steps: int) -> Tensor:
        """Double coarse logits several times.

        Parameters
        ----------
        features : (n, width, h, w) tensor
        coarse : (n, channels, h, w) tensor
            Logits.
        steps : int
            How often both sides are doubled.

        Returns
        -------
        (n, channels, h * 2**steps, w * 2**steps) float32 tensor
        """
        logits = coarse = coarse.float()
        kind = self.point_head.predictor.weight.dtype
        for _ in range(steps):
            logits = functional.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False)
            h, w = logits.shape[2:]
            flat = logits.flatten(2)  # (n, channels, h * w)
            count = torch.as_tensor(h * w).clamp(max=SUBDIVISION_POINTS)  # a tensor: an export asks it of each picture
            index = uncertainty(flat).topk(count, sorted=False).indices  # type: ignore[arg-type]  # (n, p)
            places = torch.stack([(index % w + 0.5) / w, (index // w + 0.5) / h], 2)  # (n, p, 2)
            better = self.point_head(sampled(features, places).to(kind), sampled(coarse, places).to(kind))
            better = better.float().transpose(1, 2)
            logits = flat.scatter(2, index[:, None].expand_as(better), better).view(*flat.shape[:2], h, w)
        return logits

    def asked(self, features: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Ask again at the places that a training looks at, most of them where the call is close.

        Returns
        -------
        logits : (n, channels, p) tensor
        places : (n, p, 2) tensor
            (x, y) from 0 to 1.
        """
        n, sure = len(coarse), TRAINED_POINTS // 4
        places = torch.rand(n, 3 * TRAINED_POINTS, 2, device=coarse.device)
        close = uncertainty(sampled(coarse, places).transpose(1, 2)).topk(TRAINED_POINTS - sure).indices
        close_ones = places.gather(1, close[..., None].expand(-1, -1, 2))
        places = torch.cat([close_ones, torch.rand(n, sure, 2, device=coarse.device)], 1)
        return self.point_head(sampled(features, places), sampled(coarse, places)).transpose(1, 2), places


def uncertainty(logits: Tensor) -> Tensor:
    """Return how close the call is, (n, p), of (n, channels, p) logits: 0 for a tie, else negative."""
    if logits.shape[1] == 1:
        return -logits[:, 0].abs()
    first, second = logits.topk(2, dim=1).values.unbind(1)
    return second - first


def sampled(field: Tensor, places: Tensor) -> Tensor:
    """Return (n, p, c) float32 values of a (n, c, h, w) map at (n, p, 2) places (x, y) from 0 to 1, bilinearly."""
    found = functional.grid_sample(field.float(), 2 * places[:, :, None] - 1, align_corners=False)
    return found[..., 0].transpose(1, 2)


# ------------------------------------------------------------------------------------------- what both networks share


def _head(width: int, outputs: int) -> nn.Sequential:
    """Return the small head that draws one map from features at 1/4 of the resolution."""
    last = nn.Conv2d(width, outputs, 1)
    return nn.Sequential(OrderedDict(head=nn.Sequential(conv_norm_relu(separable(width, width, 5), width), last)))


class Rendered(nn.Module):
    """What the nets with PointRend share: from features at 1/4 of the resolution to heads.

    Attributes
    ----------
    heads : tuple of str
        What it draws: keys of `mitonb.maps.HEADS`.
    output_stride : int
        Input pixels per pixel of center and offsets.
    pixel_offset : float
        Input pixels from the first one to where the first pixel of center and offsets stands. They were trained by
        interpolation that ties corners to corners, which puts them in the middle of their blocks in the mean.
    full_steps : int
        Render steps that bring the semantic map to the size of the input. Each one more doubles it again: the way back
        to the full plane when the net has seen it downsampled.
    multiple : int
        Both sides of the input are multiples of it.
    """

    heads: ClassVar[tuple[str, ...]] = ("semantic", "center", "offsets")
    dimension: ClassVar[int] = 2
    output_stride: ClassVar[int] = 4
    pixel_offset: ClassVar[float] = 1.5
    full_steps: ClassVar[int] = 2
    multiple: int

    def add_heads(self, width: int, channels: int) -> None:
        """Add the heads for features of some width; `channels` is 1, or 1 + classes with the background first."""
        for name in self.heads:
            count = {"semantic": channels, "offsets": 2}.get(name, 1)
            head, render = PARTS[name]
            setattr(self, head, _head(width, count))
            if render:
                setattr(self, render, PointRend(width, count))

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return semantic and instance features of (n, 1, h, w) pictures, (n, width, h / 4, w / 4) each."""
        raise NotImplementedError(f"{type(self).__name__} must say how it makes features.")  # each has its own trunk

    def body(self, x: Tensor) -> dict[str, Tensor]:
        """Return everything before PointRend: convolutions alone, for engines that take no other work.

        Returns
        -------
        dict of str to (n, c, h / 4, w / 4) tensor
            Each head by its name, those that PointRend refines still coarse; after each of these its features as
            "semantic_features", for example.
        """
        semantic, instance = self.features(x)
        said = {}
        for name in self.heads:
            head, render = PARTS[name]
            fine = semantic if name == "semantic" else instance
            said[name] = getattr(self, head)(fine)
            if render:
                said[f"{name}_features"] = fine
        return said

    def rendered(self, said: dict[str, Tensor], steps: int = full_steps) -> dict[str, Tensor]:
        """Return the heads from what `body` gives; those with PointRend in float32, doubled `steps` times."""
        heads = {name: said[name] for name in self.heads}
        for name in heads:
            if render := PARTS[name][1]:
                heads[name] = getattr(self, render)(said[f"{name}_features"], said[name], steps)
        return heads

    def forward(self, x: Tensor, render_steps: int = full_steps) -> dict[str, Tensor]:
        """Map normalised planes to the heads.

        Parameters
        ----------
        x : (n, 1, h, w) tensor
            Both sides are multiples of `multiple`.
        render_steps : int
            Doublings of the semantic map, from 1/4 of the resolution on; training has none.

        Returns
        -------
        dict of str to tensor
            Logits by the names of heads. In training, what PointRend refines is enlarged by interpolation alone, and
            beside it stand its logits of some points, "semantic_points", and where these are, "semantic_places".
        """
        said = self.body(x)
        if not self.training:
            return self.rendered(said, render_steps)
        heads = {name: said[name] for name in self.heads}
        for name in self.heads:
            if render := PARTS[name][1]:
                coarse = said[name].float()
                more = getattr(self, render).asked(said[f"{name}_features"], coarse)
                heads |= dict(zip((f"{name}_points", f"{name}_places"), more, strict=True))
                heads[name] = functional.interpolate(coarse, scale_factor=4.0, mode="bilinear")
        return heads


# ------------------------------------------------------------------------------------------------- Panoptic DeepLab


class Pooling(nn.Module):
    """The mean of the whole picture, everywhere: what a tile shows changes it."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.aspp_pooling = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(c_in, c_out, 1, bias=False), nn.ReLU(inplace=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.aspp_pooling(x).expand(-1, -1, *x.shape[2:])


class AtrousPyramid(nn.Module):
    """The same features seen at several distances, side by side."""

    def __init__(self, c_in: int, c_out: int, rates: Sequence[int], dropout: float, *, folded: bool) -> None:
        super().__init__()

        def seen(size: int, rate: int) -> nn.Sequential:
            padding = rate if size == 3 else 0
            conv = nn.Conv2d(c_in, c_out, size, padding=padding, dilation=rate, bias=folded)
            return conv_norm_relu(conv, c_out, folded=folded)

        self.convs = nn.ModuleList([seen(1, 1), *(seen(3, rate) for rate in rates), Pooling(c_in, c_out)])
        join = nn.Conv2d(len(self.convs) * c_out, c_out, 1, bias=folded)
        self.project = nn.Sequential(*conv_norm_relu(join, c_out, folded=folded), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        return self.project(torch.cat([conv(x) for conv in self.convs], 1))


class DeepLabDecoder(nn.Module):
    """From the deepest features up, joined at each stage by finer ones of the encoder."""

    def __init__(
        self, aspp: AtrousPyramid, coarse: int, sides: Sequence[tuple[int, int]], channels: int, stages: Sequence[int],
        *, folded: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.aspp, self.stages = aspp, tuple(stages)
        self.project, self.fuse = nn.ModuleList(), nn.ModuleList()
        for width, side in sides:
            self.project.append(conv_norm_relu(nn.Conv2d(width, side, 1, bias=folded), side, folded=folded))
            self.fuse.append(conv_norm_relu(separable(coarse + side, channels, 5), channels))
            coarse = channels

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        y = self.aspp(features[-1])
        for stage, project, fuse in zip(self.stages, self.project, self.fuse, strict=True):
            side = project(features[stage])
            if y.shape[2:] != side.shape[2:]:
                y = functional.interpolate(y, side.shape[2:], mode="bilinear", align_corners=True)
            y = fuse(torch.cat([y, side], 1))
        return y


class PanopticDeepLab(Rendered):
    """Encoder and two decoders, one for what is there and one for which object it belongs to.

    Parameters
    ----------
    encoder : str
        Key of `mitonb.models.encoder.DEPTHS`.
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
        The same for the instance decoder; by default half as many.
    atrous_rates : sequence of int
        Distances that the pyramid looks at, in pixels of the deepest features.
    aspp_channels : int, optional
        Width of the pyramid; by default `decoder_channels`.
    dropout : float
        Share of the pyramid's channels that a training step leaves out.
    ins_decoder : bool
        Whether the instance heads have a decoder of their own.
    folded : bool
        As in exported files: encoder, pyramid and projections have biases in place of norms.

    Examples
    --------
    >>> import torch
    >>> net = PanopticDeepLab("resnet18", stride=32, decoder_channels=16, low_level_channels=[4]).eval()
    >>> [(name, tuple(head.shape)) for name, head in net(torch.zeros(1, 1, 64, 64)).items()]
    [('semantic', (1, 1, 64, 64)), ('center', (1, 1, 16, 16)), ('offsets', (1, 2, 16, 16))]
    """

    def __init__(
        self, encoder: str = "resnet50", channels: int = 1, *, stride: int = 16, decoder_channels: int = 256,
        low_level_stages: Sequence[int] = (1,), low_level_channels: Sequence[int] = (32,),
        ins_low_level_channels: Sequence[int] | None = None, atrous_rates: Sequence[int] = (2, 4, 6),
        aspp_channels: int | None = None, dropout: float = 0.5, ins_decoder: bool = True, folded: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if len(low_level_stages) != len(low_level_channels) or not low_level_stages or low_level_stages[-1] > 1:
            raise ModelError(
                "A decoder needs one width for each stage that joins, and its last stage is 0 or 1 (at 1/4 of the "
                f"resolution), got stages {list(low_level_stages)} and widths {list(low_level_channels)}."
            )
        self.multiple = stride
        self.encoder = Encoder(encoder, stride=stride, folded=folded)
        widths, coarse = self.encoder.widths, aspp_channels or decoder_channels

        def decoder(sides: Sequence[int]) -> DeepLabDecoder:
            aspp = AtrousPyramid(widths[-1], coarse, atrous_rates, dropout, folded=folded)
            pairs = [(widths[stage], side) for stage, side in zip(low_level_stages, sides, strict=True)]
            return DeepLabDecoder(aspp, coarse, pairs, decoder_channels, low_level_stages, folded=folded)

        self.semantic_decoder = decoder(low_level_channels)
        sides = ins_low_level_channels or [width // 2 for width in low_level_channels]
        self.instance_decoder = decoder(sides) if ins_decoder else None
        self.add_heads(decoder_channels, channels)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return semantic and instance features, the same where there is one decoder."""
        deep = self.encoder(x)
        semantic = self.semantic_decoder(deep)
        return semantic, semantic if self.instance_decoder is None else self.instance_decoder(deep)


class ContourDeepLab(PanopticDeepLab):
    """The variant whose second decoder draws the contours of objects; parameters as for `PanopticDeepLab`."""

    heads = ("semantic", "contour")


# ------------------------------------------------------------------------- Panoptic BiFPN; level k is at 1 / 2**k


def _resample(c_in: int, c_out: int) -> nn.Sequential:
    """Return what gives features another width, if they have not got it."""
    conv = nn.Sequential(nn.Conv2d(c_in, c_out, 1, bias=False), nn.BatchNorm2d(c_out))
    return nn.Sequential(OrderedDict(conv=nn.Identity() if c_in == c_out else conv))


class Pass(nn.Module):
    """One way through the pyramid: what both directions share.

    Each level has a weight for each of its inputs. As published, neighbouring levels share weights (level i starts at
    weight i), and one convolution serves all levels: the state dict names it four times.
    """

    def __init__(self, widths: Sequence[int], width: int, *, depthwise: bool) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(5))
        self.resamplings = nn.ModuleList(_resample(c_in, width) for c_in in widths)
        plain = nn.Conv2d(width, width, 3, padding=1, bias=False)
        conv = separable(width, width, 3) if depthwise else plain
        shared = nn.Sequential(conv, nn.BatchNorm2d(width), nn.SiLU(inplace=True))
        self.after_combines = nn.ModuleList([shared] * 4)

    def forward(self, level: int, own: Tensor, before: list[Tensor], after: list[Tensor]) -> Tensor:
        """Return the weighted mean of a level and its other inputs after the shared convolution."""
        inputs = [*before, self.resamplings[level](own), *after]
        weights = functional.relu(self.weights)
        weights = weights / (weights.sum() + 1e-4)
        weights = weights[level : level + len(inputs)]
        weights = (weights / (weights.sum() + 1e-4)).to(inputs[0].dtype)
        total = sum(weight * part for weight, part in zip(weights, inputs, strict=True))
        return self.after_combines[level](total)


class DownAndUp(nn.Module):
    """Once down, from the coarsest level to the finest, and once up, joined by what the way down made of each."""

    def __init__(self, widths: Sequence[int], width: int, *, depthwise: bool) -> None:
        super().__init__()
        self.top_down_fpn = Pass(widths[-2::-1], width, depthwise=depthwise)
        self.bottom_up_fpn = Pass(widths[1:], width, depthwise=depthwise)

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Map levels 3 to 7 (finest first) to as many."""
        down = [levels[-1]]
        for i, level in enumerate(reversed(levels[:-1])):
            coarser = functional.interpolate(down[-1], scale_factor=2.0, mode="nearest")
            down.append(self.top_down_fpn(i, level, [coarser], []))
        up = [down[-1]]
        for i, level in enumerate(levels[1:]):
            # The way down left the coarsest level as it was.
            after = [] if i == len(levels) - 2 else [down[-2 - i]]
            up.append(self.bottom_up_fpn(i, level, [functional.max_pool2d(up[-1], 3, 2, 1)], after))
        return up


class BiPyramid(nn.Module):
    """Levels 3 to 7 from the last three features of the encoder."""

    def __init__(self, widths: Sequence[int], width: int, layers: int, *, depthwise: bool) -> None:
        super().__init__()
        self.p6_resample = _resample(widths[-1], width)
        first = [*widths, width, width]
        self.bifpns = nn.ModuleList(
            DownAndUp(first if k == 0 else [width] * 5, width, depthwise=depthwise) for k in range(layers)
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        levels = [*features, functional.max_pool2d(self.p6_resample(features[-1]), 3, 2, 1)]
        levels.append(functional.max_pool2d(levels[-1], 3, 2, 1))
        for layer in self.bifpns:
            levels = layer(levels)
        return levels


class BiDecoder(nn.Module):
    """From the coarsest level up to level 2, joined by each level on the way."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.upsamplings = nn.ModuleList(
            conv_norm_relu(nn.ConvTranspose2d(width if k == 0 else 2 * width, width, 2, 2, bias=False), width)
            for k in range(5)
        )
        self.fusion = conv_norm_relu(separable(2 * width, width, 5), width)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Map levels 2 to 7 (finest first) to features of level 2."""
        y = levels[-1]
        for up, level in zip(self.upsamplings, reversed(levels[:-1]), strict=True):
            y = torch.cat([up(y), level], 1)
        return self.fusion(y)


class PanopticBiFPN(Rendered):
    """Encoder and two pyramids with decoders, one for what is there and one for which object it belongs to.

    Parameters
    ----------
    encoder : str
        Key of `mitonb.models.encoder.DEPTHS`.
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
        self, encoder: str = "resnet50", channels: int = 1, *, fpn_dim: int = 128, fpn_layers: int = 3,
        ins_decoder: bool = True, depthwise: bool = True, folded: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if not 0 < fpn_layers <= 64:
            raise ModelError(f"A pyramid has 1 to 64 layers, got {fpn_layers}.")
        self.encoder = Encoder(encoder, folded=folded)
        widths = self.encoder.widths
        self.p2_resample = _resample(widths[1], fpn_dim)
        self.semantic_fpn = BiPyramid(widths[2:], fpn_dim, fpn_layers, depthwise=depthwise)
        self.semantic_decoder = BiDecoder(fpn_dim)
        self.instance_fpn = BiPyramid(widths[2:], fpn_dim, fpn_layers, depthwise=depthwise) if ins_decoder else None
        self.instance_decoder = BiDecoder(fpn_dim) if ins_decoder else None
        self.add_heads(fpn_dim, channels)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return semantic and instance features, the same where there is one decoder."""
        _, p2, *deep = self.encoder(x)
        p2 = self.p2_resample(p2)
        semantic = self.semantic_decoder([p2, *self.semantic_fpn(deep)])
        if self.instance_fpn is None or self.instance_decoder is None:
            return semantic, semantic
        return semantic, self.instance_decoder([p2, *self.instance_fpn(deep)])
