"""PointRend: a coarse map made fine, by asking again only where it is uncertain.

Method: Kirillov et al., PointRend: Image Segmentation as Rendering (2020).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SUBDIVISION_POINTS = 8192
"""Pixels of a plane that are asked again at each doubling."""


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
        answer: Tensor = self.predictor(torch.cat([y, coarse], 2))
        return answer


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
            index = uncertainty(flat).topk(min(SUBDIVISION_POINTS, h * w), sorted=False).indices  # (n, p)
            places = torch.stack([(index % w + 0.5) / w, (index // w + 0.5) / h], 2)  # (n, p, 2)
            better = self.point_head(sampled(features, places).to(kind), sampled(coarse, places).to(kind)).float().mT
            logits = flat.scatter(2, index[:, None].expand_as(better), better).view(*flat.shape[:2], h, w)
        return logits


def uncertainty(logits: Tensor) -> Tensor:
    """Return how close the call is, (n, p), of (n, channels, p) logits: 0 for a tie, else negative."""
    if logits.shape[1] == 1:
        return -logits[:, 0].abs()
    first, second = logits.topk(2, dim=1).values.unbind(1)
    return second - first


def sampled(field: Tensor, places: Tensor) -> Tensor:
    """Return (n, p, c) float32 values of a (n, c, h, w) map at (n, p, 2) places (x, y) from 0 to 1, bilinearly."""
    return functional.grid_sample(field.float(), 2 * places[:, :, None] - 1, align_corners=False)[..., 0].mT
