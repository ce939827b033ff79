"""The small head that makes one named output of a net from features."""

from __future__ import annotations

from torch import Tensor, nn

from mitonb.models.layers import Separable, conv_norm_relu

__all__ = ["Head"]


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
