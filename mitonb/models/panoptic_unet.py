"""A small panoptic U-Net: semantic, center and offset maps of one plane, read top to bottom in this file.

The picture is folded to half resolution first (`pixel_unshuffle`), so nearly all arithmetic happens at 1/2 to 1/16
of the resolution, where a pixel is cheap and sees far. Normalisation is BatchNorm with stored statistics: what a
pixel becomes depends on its surroundings, never on how a plane was cut into tiles.
"""

from __future__ import annotations

import itertools

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["PanopticUNet"]

OFFSET_SCALE = 16.0
"""Input pixels per unit of the offset head, so that it works with numbers near one."""


class ConvNorm(nn.Module):
    """Convolution and BatchNorm: one linear step, joined into a single convolution by `fused`."""

    def __init__(self, c_in: int, c_out: int, size: int = 3, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, size, stride, size // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(c_out)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return y


class Residual(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = ConvNorm(width, width)
        self.second = ConvNorm(width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(functional.relu(self.first(x), inplace=True))
        return functional.relu(y + x, inplace=True)


class Join(nn.Module):
    """Bring coarse features up by two and add the encoder's finer ones."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.up = ConvNorm(coarse, fine, 1)
        self.side = ConvNorm(fine, fine, 1)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        up = functional.interpolate(self.up(coarse), scale_factor=2.0, mode="nearest")
        return functional.relu(up + self.side(fine), inplace=True)


class PanopticUNet(nn.Module):
    """Encoder, decoder and three heads.

    Parameters
    ----------
    widths : sequence of int
        Channels at 1/2, 1/4, 1/8 and 1/16 of the resolution.
    depths : sequence of int
        Residual blocks of the encoder at each of them.
    classes : int
        Semantic classes.
    """

    heads = ("semantic", "center", "offsets")
    dimension = 2
    output_stride = 4
    pixel_offset = 0.0
    multiple = 16

    def __init__(
        self,
        widths: tuple[int, ...] = (32, 64, 128, 192),
        depths: tuple[int, ...] = (1, 2, 2, 3),
        classes: int = 1,
    ) -> None:
        super().__init__()
        if len(widths) != len(depths) or len(widths) < 2 or max(depths) > 64:
            raise ValueError(f"each of at least two widths has up to 64 blocks, got {widths} and {depths}")
        self.config = {"widths": list(widths), "depths": list(depths), "classes": classes}
        self.stem = ConvNorm(4, widths[0])
        self.down = nn.ModuleList(ConvNorm(a, b, stride=2) for a, b in itertools.pairwise(widths))
        self.encoder = nn.ModuleList(
            nn.Sequential(*(Residual(w) for _ in range(n))) for w, n in zip(widths, depths, strict=True)
        )
        self.join = nn.ModuleList(Join(b, a) for a, b in itertools.pairwise(widths))
        self.decoder = nn.ModuleList(Residual(w) for w in widths[:-1])
        self.instance = Residual(widths[1])
        self.instance_head = nn.Conv2d(widths[1], 3, 1)
        self.semantic_head = nn.Conv2d(widths[0], 4 * classes, 3, padding=1)
        nn.init.constant_(self.semantic_head.bias, -2.0)  # type: ignore[arg-type]  # most pixels are background

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Map (n, 1, h, w) normalised planes, h and w multiples of 16, to the three heads."""
        y = functional.relu(self.stem(functional.pixel_unshuffle(x, 2)), inplace=True)
        levels = [self.encoder[0](y)]
        for down, blocks in zip(self.down, list(self.encoder)[1:], strict=True):
            levels.append(blocks(functional.relu(down(levels[-1]), inplace=True)))
        y = levels.pop()
        for join, block, fine in zip(reversed(self.join), reversed(self.decoder), reversed(levels), strict=True):
            quarter, y = y, block(join(y, fine))  # in the end: what was there before the step to half resolution
        center, offsets = self.instance_head(self.instance(quarter)).split((1, 2), dim=1)
        semantic = functional.pixel_shuffle(self.semantic_head(y), 2)
        return {"semantic": semantic, "center": center, "offsets": offsets * OFFSET_SCALE}
