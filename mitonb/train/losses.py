"""Losses of the three heads."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["panoptic_loss"]


def panoptic_loss(
    heads: dict[str, Tensor], mask: Tensor, center: Tensor, offsets: Tensor
) -> tuple[Tensor, dict[str, float]]:
    """Return the weighted sum of the losses and each of them.

    Parameters
    ----------
    heads : dict of str to tensor
        What the net says: "semantic", "center" and "offsets".
    mask : (n, 1, h, w) float tensor
        1 on objects.
    center, offsets : (n, 1, h', w') and (n, 2, h', w') float tensors
        Targets at head resolution.
    """
    semantic, heat, arrows = (heads[name].float() for name in ("semantic", "center", "offsets"))
    each = functional.binary_cross_entropy_with_logits(semantic, mask, reduction="none")
    # Half of the weight goes to the hardest eighth: myelin and long dark profiles are few pixels among many easy ones.
    hard = each.flatten().topk(max(1, each.numel() // 8)).values.mean()
    probability = semantic.sigmoid()
    dice = 1 - (2 * (probability * mask).sum() + 1) / (probability.sum() + mask.sum() + 1)
    inside = (offsets != 0).any(dim=1, keepdim=True).float()  # also just beside objects: that helps to place borders
    heat_loss = ((heat - center).square() * (1 + 4 * inside)).mean()
    arrow_loss = ((arrows - offsets).abs() * inside).sum() / (inside.sum() + 1) / 2
    parts = {"bce": each.mean(), "hard": hard, "dice": dice, "center": heat_loss, "offsets": arrow_loss}
    weights = {"bce": 1.0, "hard": 0.3, "dice": 0.5, "center": 30.0, "offsets": 0.03}
    total = torch.stack([weights[k] * v for k, v in parts.items()]).sum()
    return total, {k: float(v.detach()) for k, v in parts.items()}
