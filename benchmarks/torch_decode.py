"""Decoding the published way, in vectorised torch: what the ratios of benchmarks/decode.py are measured against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from mitonb.maps import Maps
    from mitonb.recipe import Recipe

CHUNK = 20


@torch.inference_mode()
def torch_decode(maps: Maps, recipe: Recipe) -> np.ndarray:
    """Return ids (h, w) of one class: all pixels against all centers, one pass over the plane for each object."""
    center = torch.from_numpy(maps.center.astype(np.float32))
    offsets = torch.from_numpy(maps.offsets.astype(np.float32))
    inside = torch.from_numpy(maps.semantic[0]) >= int(np.ceil(recipe.semantic_threshold * 255))
    points = _centers(center, recipe.center_threshold, recipe.center_window)
    if len(points) == 0:
        return np.zeros(maps.shape, np.int64)
    ids = _nearest(points, offsets, maps.output_stride)
    if maps.output_stride > 1:
        ids = ids.repeat_interleave(maps.output_stride, 0).repeat_interleave(maps.output_stride, 1)
    return _merged(inside.long(), ids[: maps.shape[0], : maps.shape[1]]).numpy()


def _centers(center: torch.Tensor, threshold: float, window: int) -> torch.Tensor:
    heat = torch.where(center > threshold, center, -1)
    pooled = torch.nn.functional.max_pool2d(heat[None, None], window, stride=1, padding=window // 2)[0, 0]
    pooled = pooled[: heat.shape[0], : heat.shape[1]]
    return torch.nonzero((heat == pooled) & (heat > 0))


def _nearest(points: torch.Tensor, offsets: torch.Tensor, step: int) -> torch.Tensor:
    h, w = offsets.shape[1:]
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    places = (torch.stack([y, x]) * step + offsets).reshape(2, -1).T  # (pixels, 2)
    least = torch.full((h * w,), 1e5)
    ids = torch.zeros(h * w, dtype=torch.long)
    for k in range(0, len(points), CHUNK):
        some = (points[k : k + CHUNK] * step).float()
        distance, nearest = torch.linalg.vector_norm(places[None] - some[:, None], dim=-1).min(dim=0)
        closer = distance < least
        least = torch.where(closer, distance, least)
        ids = torch.where(closer, nearest + k + 1, ids)
    return ids.reshape(h, w)


def _merged(classes: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Give each object the mode of its classes, one object after the other, and number the objects of each class."""
    result = torch.zeros_like(ids)
    counts: dict[int, int] = {}
    for number in torch.unique(ids).tolist():
        mask = (ids == number) & (classes > 0)
        if number == 0 or not mask.any():
            continue
        kind = int(torch.mode(classes[mask]).values)
        counts[kind] = counts.get(kind, 0) + 1
        result[mask] = kind * 100_000 + counts[kind]
    return result
