"""From features to heads: what the panoptic nets with PointRend share."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from mitonb.models.heads import Head
from mitonb.models.point_rend import PointRend

__all__ = ["Rendered", "enlarged_logits"]


class Rendered(nn.Module):
    """A net whose features at 1/4 of the resolution become a fine semantic map, and center and offsets.

    Attributes
    ----------
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
        self.semantic_head = Head(width, channels)
        self.ins_center = Head(width, 1)
        self.ins_xy = Head(width, 2)
        self.semantic_pr = PointRend(width, channels)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return semantic and instance features of (n, 1, h, w) pictures, (n, width, h / 4, w / 4) each."""
        raise NotImplementedError(f"{type(self).__name__} must say how it makes features.")  # each has its own trunk

    def body(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return everything before PointRend: convolutions alone, for engines that take no other work.

        Returns
        -------
        coarse : (n, channels, h / 4, w / 4) tensor
            Semantic logits.
        fine : (n, width, h / 4, w / 4) tensor
            Semantic features.
        center, offsets : (n, 1 or 2, h / 4, w / 4) tensors
            As in `mitonb.models.spec.HEADS`.
        """
        fine, instance = self.features(x)
        return self.semantic_head(fine), fine, self.ins_center(instance), self.ins_xy(instance)

    def rendered(self, coarse: Tensor, fine: Tensor, steps: int = full_steps) -> Tensor:
        """Return float32 semantic logits from what `body` gives, both sides doubled `steps` times."""
        y: Tensor = self.semantic_pr(fine, coarse, steps)
        return y

    def forward(self, x: Tensor, render_steps: int = full_steps, interpolate: bool = False) -> dict[str, Tensor]:
        """Map normalised planes to the heads.

        Parameters
        ----------
        x : (n, 1, h, w) tensor
            Both sides are multiples of `multiple`.
        render_steps : int
            Doublings of the semantic map, from 1/4 of the resolution on; training has none.
        interpolate : bool
            Bring center and offsets to full resolution too.

        Returns
        -------
        dict of str to tensor
            Logits by the names of heads; the semantic ones are float32. In training they are enlarged by interpolation
            alone, and "semantic_points" (n, channels, p) with their "semantic_places" (n, p, 2) are there, too.
        """
        coarse, fine, center, offsets = self.body(x)
        if interpolate:
            center, offsets = (
                functional.interpolate(y, scale_factor=4.0, mode="bilinear", align_corners=True)
                for y in (center, offsets)
            )
        if self.training:
            points, places = self.semantic_pr.points(fine, coarse)
            asked = {"semantic_points": points, "semantic_places": places}
            return {"semantic": enlarged_logits(coarse), "center": center, "offsets": offsets, **asked}
        return {"semantic": self.rendered(coarse, fine, render_steps), "center": center, "offsets": offsets}


def enlarged_logits(coarse: Tensor) -> Tensor:
    """Bring logits from 1/4 to full resolution without asking PointRend."""
    return functional.interpolate(coarse.float(), scale_factor=4.0, mode="bilinear", align_corners=False)
