"""U-Nets of planes and of blocks, residual or plain, with any heads; read top to bottom in this file.

The picture is folded to half resolution first, so nearly all arithmetic happens at 1/2 to 1/16 of the resolution, where
a pixel is cheap and sees far. Normalisation is BatchNorm with stored statistics: what a pixel becomes depends on its
surroundings, never on how a plane was cut into tiles.
"""

import itertools
import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from mitonb.maps import COARSE

OFFSET_SCALE = 16.0
"""Input pixels per unit of the offset head, so that it works with numbers near one."""


class ConvNorm(nn.Module):
    """Convolution and BatchNorm: one linear step."""

    def __init__(
        self, dimension: int, c_in: int, c_out: int, size: int = 3, *,
        stride: int | tuple[int, ...] = 1, dilation: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        conv, norm = (nn.Conv2d, nn.BatchNorm2d) if dimension == 2 else (nn.Conv3d, nn.BatchNorm3d)
        around = size // 2 * dilation
        self.conv = conv(c_in, c_out, size, stride, around, dilation, bias=False)  # type: ignore[arg-type]
        self.norm: nn.Module = norm(c_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class Residual(nn.Module):
    """Two convolutions of size 3, around a shortcut unless the net is a plain one."""

    def __init__(self, dimension: int, width: int, *, shortcut: bool = True, dilation: int = 1) -> None:
        super().__init__()
        self.first = ConvNorm(dimension, width, width, dilation=dilation)
        self.second = ConvNorm(dimension, width, width, dilation=dilation)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(functional.relu(self.first(x), inplace=True))
        return functional.relu(y + x if self.shortcut else y, inplace=True)


class Join(nn.Module):
    """Bring coarse features up and add the encoder's finer ones."""

    def __init__(self, dimension: int, coarse: int, fine: int, by: tuple[int, ...]) -> None:
        super().__init__()
        self.up = ConvNorm(dimension, coarse, fine, 1)
        self.side = ConvNorm(dimension, fine, fine, 1)
        self.by = tuple(map(float, by))

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        up = functional.interpolate(self.up(coarse), scale_factor=self.by, mode="nearest")
        return functional.relu(up + self.side(fine), inplace=True)


class UNet(nn.Module):
    """Encoder, decoder and heads; at least two levels.

    Parameters
    ----------
    widths : sequence of int
        Channels at 1/2, 1/4, 1/8 and 1/16 of the resolution.
    depths : sequence of int
        Blocks of the encoder at each of them.
    classes : int
        Semantic classes; for more than one there is a channel of the background before them.
    heads : sequence of str
        What it draws: keys of `mitonb.maps.HEADS`.
    dimension : {2, 3}
        Whether it looks at planes or at blocks.
    residual : bool
        Blocks with shortcuts.
    fold : bool
        Fold the picture to half resolution first; else the first level has the full one.
    wide : bool
        The second, third, ... block of the coarsest level sees two, four, ... times as far as the first.
    flat : int
        In 3-D, how many of the first halvings leave z as it is: for blocks of thick planes.

    Examples
    --------
    >>> import torch
    >>> net = UNet([4, 8], [1, 1], heads=["semantic", "contour"], dimension=3, flat=1).eval()
    >>> [(name, tuple(head.shape)) for name, head in net(torch.zeros(1, 1, 8, 16, 32)).items()]
    [('semantic', (1, 1, 8, 16, 32)), ('contour', (1, 1, 8, 16, 32))]
    """

    pixel_offset = 0.0

    def __init__(
        self, widths: Sequence[int] = (32, 64, 128, 192), depths: Sequence[int] = (1, 2, 2, 3), classes: int = 1, *,
        heads: Sequence[str] = ("semantic", "center", "offsets"), dimension: int = 2, residual: bool = True,
        fold: bool = True, wide: bool = False, flat: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        if len(widths) != len(depths) or len(widths) < 2 or max(depths) > 64:
            raise ValueError(f"each of at least two widths has up to 64 blocks, got {widths} and {depths}")
        if flat and (dimension == 2 or "center" in heads):
            raise ValueError("only blocks have halvings that leave z as it is, and center and offsets need equal ones")
        self.heads, self.dimension = tuple(heads), dimension
        halvings = [(1, 2, 2) if k < flat else (2,) * dimension for k in range(len(widths) - (not fold))]
        self.multiple = 2 ** len(halvings)
        self.output_stride = 4 if fold else 2  # of center and offsets, which stand at the second level
        self.folding = halvings.pop(0) if fold else (1,) * dimension
        pixels = math.prod(self.folding)

        def block(width: int, dilation: int = 1) -> Residual:
            return Residual(dimension, width, shortcut=residual, dilation=dilation)

        def level(k: int) -> nn.Sequential:
            widened = wide and k == len(widths) - 1
            return nn.Sequential(*(block(widths[k], 2**n if widened else 1) for n in range(depths[k])))

        self.stem = ConvNorm(dimension, pixels, widths[0])
        pairs = list(zip(itertools.pairwise(widths), halvings, strict=True))
        self.down = nn.ModuleList(ConvNorm(dimension, a, b, stride=by) for (a, b), by in pairs)
        self.encoder = nn.ModuleList(level(k) for k in range(len(widths)))
        self.join = nn.ModuleList(Join(dimension, b, a, by) for (a, b), by in pairs)
        self.decoder = nn.ModuleList(block(w) for w in widths[:-1])
        conv = nn.Conv2d if dimension == 2 else nn.Conv3d
        # The names of both heads are those in the weights of version 0.1.
        if "center" in self.heads:
            self.instance = block(widths[1])
            self.instance_head = conv(widths[1], 1 + dimension, 1)
        channels = {"semantic": classes + (classes > 1), "affinities": dimension}
        self.fine = {name: channels.get(name, 1) for name in self.heads if name not in COARSE}
        self.semantic_head = conv(widths[0], pixels * sum(self.fine.values()), 3, padding=1)
        nn.init.constant_(self.semantic_head.bias, -2.0)  # type: ignore[arg-type]  # most pixels are background

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Map (n, 1, [d,] h, w) normalised pictures, sides multiples of `multiple`, to logits by the names of heads."""
        y = functional.relu(self.stem(fold(x, self.folding)), inplace=True)
        levels = [self.encoder[0](y)]
        for down, blocks in zip(self.down, list(self.encoder)[1:], strict=True):
            levels.append(blocks(functional.relu(down(levels[-1]), inplace=True)))
        y = levels.pop()
        for join, block, fine in zip(reversed(self.join), reversed(self.decoder), reversed(levels), strict=True):
            second, y = y, block(join(y, fine))  # in the end: what was there before the step to the first level
        maps = unfold(self.semantic_head(y), self.folding).split(tuple(self.fine.values()), 1)  # type: ignore[no-untyped-call]
        said = dict(zip(self.fine, maps, strict=True))
        if "center" in self.heads:
            said["center"], offsets = self.instance_head(self.instance(second)).split((1, self.dimension), 1)
            said["offsets"] = offsets * OFFSET_SCALE
        return said


def fold(x: Tensor, by: tuple[int, ...]) -> Tensor:
    """Put the pixels of each block of `by` pixels side by side into channels."""
    if by == (2, 2):
        return functional.pixel_unshuffle(x, 2)  # the same, in one step that engines know
    n, c, *sides = x.shape
    d, small = len(by), [side // b for side, b in zip(sides, by, strict=True)]
    x = x.reshape(n, c, *itertools.chain(*zip(small, by, strict=True)))
    return x.permute(0, 1, *range(3, 2 * d + 2, 2), *range(2, 2 * d + 2, 2)).reshape(n, c * math.prod(by), *small)


def unfold(x: Tensor, by: tuple[int, ...]) -> Tensor:
    """Undo `fold`."""
    if by == (2, 2):
        return functional.pixel_shuffle(x, 2)
    n, c, *small = x.shape
    d, c = len(by), c // math.prod(by)
    x = x.reshape(n, c, *by, *small)
    order = itertools.chain(*((2 + d + k, 2 + k) for k in range(d)))
    return x.permute(0, 1, *order).reshape(n, c, *(side * b for side, b in zip(small, by, strict=True)))
