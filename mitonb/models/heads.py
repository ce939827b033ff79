"""What the nets say: named outputs, and the small head that makes one of them from features."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from mitonb.models.layers import Separable, conv_norm_relu

__all__ = ["ContourHeads", "Head", "Heads", "Points"]


class Points(NamedTuple):
    """What PointRend says at single places, for the loss of a training step.

    Attributes
    ----------
    logits : (n, classes, p) tensor
        Predictions at p places of each picture.
    places : (n, p, 2) tensor
        (y, x) from 0 to 1 across the picture.
    """

    logits: Tensor
    places: Tensor


class Heads(NamedTuple):
    """What a net says about a batch of planes.

    Attributes
    ----------
    semantic : (n, channels, h, w) tensor
        Logits. One channel: sigmoid. More: softmax, and channel 0 is the background.
    center : (n, 1, h / 4, w / 4) tensor
        Heatmap of object centers, 1 at a center.
    offsets : (n, 2, h / 4, w / 4) tensor
        (dy, dx) in input pixels, from each pixel to the center of its object.
    points : Points, optional
        In training, of nets with PointRend.
    """

    semantic: Tensor
    center: Tensor
    offsets: Tensor
    points: Points | None = None


class ContourHeads(NamedTuple):
    """What a net says that tells objects apart by their contours.

    Attributes
    ----------
    semantic : (n, channels, h, w) tensor
        Logits, as in `Heads`.
    contour : (n, 1, h, w) tensor
        Logits of the contours.
    points, contour_points : Points, optional
        In training.
    """

    semantic: Tensor
    contour: Tensor
    points: Points | None = None
    contour_points: Points | None = None


class Head(nn.Module):
    """One separable convolution and a linear map to the outputs.

    Parameters
    ----------
    width : int
        Channels of the features.
    outputs : int
        Channels that come out, linear.
    """

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.head = nn.Sequential(
            conv_norm_relu(Separable(width, width, 5), width),
            nn.Conv2d(width, outputs, 1),
        )
        for layer in self.head.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.001)

    def forward(self, features: Tensor) -> Tensor:
        """Map (n, width, h, w) features to (n, outputs, h, w)."""
        y: Tensor = self.head(features)
        return y
