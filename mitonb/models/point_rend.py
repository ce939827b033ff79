"""PointRend: a coarse map made fine, by asking again only where it is uncertain.

Method: Kirillov et al., PointRend: Image Segmentation as Rendering (2020).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["PointRend"]

SUBDIVISION_POINTS = 8192
"""Pixels of a plane that are asked again at each doubling."""
TRAIN_POINTS = 1024
OVERSAMPLING = 3
CERTAIN_SHARE = 0.25
"""Part of the training points that is drawn evenly, certain or not."""


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
        coarse = coarse.float()
        logits, fine, rough = coarse, _Field(features), _Field(coarse)
        for _ in range(steps):
            logits = functional.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False)
            h, w = logits.shape[2:]
            flat = logits.flatten(2)  # (n, channels, h * w)
            index = uncertainty(flat).topk(min(SUBDIVISION_POINTS, h * w), sorted=False).indices  # (n, p)
            places = torch.stack([(index // w + 0.5) / h, (index % w + 0.5) / w], 2)  # (n, p, 2)
            better = self._ask(fine, rough, places)  # (n, channels, p)
            logits = flat.scatter(2, index[:, None].expand_as(better), better).view(*flat.shape[:2], h, w)
        return logits

    def points(self, features: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Predict at random places, three of four where the coarse logits are uncertain: what a training step needs.

        Returns logits (n, channels, p), and places (n, p, 2): (y, x) from 0 to 1 across the picture.
        """
        coarse = coarse.float()
        fine, rough = _Field(features), _Field(coarse)
        n, keep = len(coarse), round((1 - CERTAIN_SHARE) * TRAIN_POINTS)
        with torch.no_grad():
            drawn = torch.rand(n, OVERSAMPLING * TRAIN_POINTS, 2, device=coarse.device)
            index = uncertainty(rough.at(drawn).mT).topk(keep).indices  # (n, keep)
            places = drawn.gather(1, index[..., None].expand(-1, -1, 2))
            places = torch.cat([places, torch.rand(n, TRAIN_POINTS - keep, 2, device=coarse.device)], 1)
        return self._ask(fine, rough, places), places

    def _ask(self, fine: _Field, rough: _Field, places: Tensor) -> Tensor:
        """Return float32 logits (n, channels, p) at places (n, p, 2)."""
        kind = self.point_head.predictor.weight.dtype
        answer: Tensor = self.point_head(fine.at(places).to(kind), rough.at(places).to(kind))
        return answer.float().mT


def uncertainty(logits: Tensor) -> Tensor:
    """Return how close the call is, (n, p), of (n, channels, p) logits: 0 for a tie, else negative."""
    if logits.shape[1] == 1:
        return -logits[:, 0].abs()
    first, second = logits.topk(2, dim=1).values.unbind(1)
    return second - first


class _Field:
    """A (n, c, h, w) map that can be asked at any place; beyond its outermost pixel centers it fades to 0."""

    def __init__(self, values: Tensor) -> None:
        self.n, self.c, self.h, self.w = values.shape
        # In one piece: rows whose numbers lie apart are gathered ten times as slowly.
        self.rows = values.permute(0, 2, 3, 1).reshape(-1, self.c).contiguous()  # (n * h * w, c)

    def at(self, places: Tensor) -> Tensor:
        """Return (n, p, c) float32 values at (n, p, 2) places (y, x) from 0 to 1, bilinearly."""
        y, x = places[..., 0] * self.h - 0.5, places[..., 1] * self.w - 0.5
        first = torch.arange(self.n, device=places.device)[:, None] * (self.h * self.w)
        total = torch.zeros(*places.shape[:2], self.c, device=places.device)
        for corner_y in (y.floor(), y.floor() + 1):
            for corner_x in (x.floor(), x.floor() + 1):
                weight = (1 - (y - corner_y).abs()) * (1 - (x - corner_x).abs())  # (n, p)
                inside = (corner_y >= 0) & (corner_y < self.h) & (corner_x >= 0) & (corner_x < self.w)
                row, column = corner_y.clamp(0, self.h - 1).long(), corner_x.clamp(0, self.w - 1).long()
                corner = self.rows.index_select(0, (first + row * self.w + column).flatten())
                total = torch.addcmul(total, corner.float().view_as(total), (weight * inside)[..., None])
        return total
