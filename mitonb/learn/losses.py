"""What a net is taught of known ids, head by head: the targets, the pixels that count, and the losses."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from mitonb.learn.data import IGNORED
from mitonb.models.spec import ModelSpec
from mitonb.post.targets import targets

Array = npt.NDArray[Any]
Truth = tuple[dict[str, Tensor], dict[str, Tensor]]
_LITTLE, _FEWEST = 0.2, 1 / 500
"""Parts of a patch: below which little is known, and below which fewer pixels do not weigh more."""
_CONTOUR = 2
"""Pixels beside the unknown in which a contour may lie that nobody drew."""


def draw_targets(ids: Array, spec: ModelSpec) -> tuple[dict[str, Array], dict[str, Array]]:
    """Draw what the heads of a net should say about ids, and what counts of it.

    Where ids are `IGNORED` nothing counts. Close to it, and of objects that run into it, the semantic map alone counts:
    nobody knows where their centers and contours are.

    Parameters
    ----------
    ids : ([d,] h, w) array of int
        Of a square or a block.
    spec : ModelSpec
        Card of the net: its heads and its output stride.

    Returns
    -------
    truth, weights : dict of (channels, [d,] h, w) float32 arrays
        By the names of heads, at their resolution; weights have one channel.
    """
    known = ids >= 0
    cut, whole = np.zeros_like(known), known
    if not known.all():
        beside = ndimage.binary_dilation(~known, iterations=_CONTOUR)
        cut = np.isin(ids, np.setdiff1d(ids[beside], (0, IGNORED)))
        whole = ~ndimage.binary_dilation(~known | cut, iterations=_CONTOUR)
    drawn = targets(np.where(known & ~cut, ids, 0), heads=spec.heads, output_stride=spec.output_stride).heads
    truth = {name: head[None] if name == "center" else head for name, head in drawn.items()}
    truth["semantic"] = (ids > 0)[None].astype(np.float32)
    weights = {name: (known if name == "semantic" else whole)[None].astype(np.float32) for name in spec.heads}
    if "center" in spec.heads:
        near = (truth["offsets"] != 0).any(axis=0)  # also just beside objects: that helps to place borders
        seen = whole[(slice(None, None, spec.output_stride),) * ids.ndim]
        weights["center"] = ((1 + 4 * near) * seen)[None].astype(np.float32)
        weights["offsets"] = (near & seen)[None].astype(np.float32)
    return truth, weights


def batch_targets(ids: Iterable[Array], spec: ModelSpec) -> Truth:
    """Return `draw_targets` of several squares or blocks, as tensors (n, channels, [d,] h, w)."""
    pairs = [draw_targets(one, spec) for one in ids]
    truth, weights = (
        {name: torch.from_numpy(np.stack([pair[k][name] for pair in pairs])) for name in spec.heads} for k in (0, 1)
    )
    return truth, weights


def balanced(truth: Tensor, weight: Tensor) -> Tensor:
    """Return weights by which each patch counts the same, however little of it is known.

    Where that is very little, as under strokes, both kinds of pixels of a patch count the same, too.
    """
    axes = tuple(range(1, weight.ndim))
    known = weight.mean(axes, keepdim=True)
    kinds = torch.stack([weight * truth, weight * (1 - truth)])
    shares = kinds.mean(tuple(a + 1 for a in axes), keepdim=True)
    even = (kinds / shares.clamp(min=_FEWEST)).sum(0) / (shares > 0).sum(0).clamp(min=1)
    return torch.where(known > _LITTLE, weight / known.clamp(min=_LITTLE), even)


def size_weights(ids: Array) -> Array:
    """Return weights of pixels by which small objects count more: an object as much as the root of its size.

    They are 1 outside of objects and on average on them, and at most 4, so that no speck rules a patch.

    Parameters
    ----------
    ids : ([d,] h, w) array of int
        Of a square or a block; `IGNORED` counts as outside.

    Returns
    -------
    (1, [d,] h, w) float32 array
    """
    _, places, sizes = np.unique(ids, return_inverse=True, return_counts=True)
    weight = 1 / np.sqrt(sizes[places.reshape(ids.shape)])
    inside = ids > 0
    weight[inside] = (weight[inside] / weight[inside].mean()).clip(max=4) if inside.any() else 1
    weight[~inside] = 1
    return weight[None].astype(np.float32)


# A loss takes what a head said, the truth, and the weight of each pixel; (n, channels, [d,] h, w), weights one channel.


def _mean(errors: Tensor, weight: Tensor) -> Tensor:
    return (errors * weight).sum() / (weight.sum() * errors.shape[1] + 1)


def bce(said: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Return the binary cross-entropy of logits."""
    return _mean(functional.binary_cross_entropy_with_logits(said, truth, reduction="none"), weight)


def bootstrapped(said: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Return the cross-entropy of the hardest eighth: myelin and dark profiles are few pixels among many easy ones."""
    each = functional.binary_cross_entropy_with_logits(said, truth, reduction="none") * weight
    return each.flatten().topk(max(1, int(weight.sum()) * said.shape[1] // 8)).values.mean()


def dice(said: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Return one minus the Dice overlap of probabilities, over all pixels of a batch."""
    probability = said.sigmoid() * weight
    return 1 - (2 * (probability * truth).sum() + 1) / (probability.sum() + (truth * weight).sum() + 1)


def mse(said: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Return the mean of the squared errors."""
    return _mean((said - truth).square(), weight)


def tanh_mse(said: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Return the mean of the squared errors of what tanh brings to -1..1."""
    return mse(said.tanh(), truth, weight)


def l1(said: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Return the mean of the absolute errors."""
    return _mean((said - truth).abs(), weight)


LOSSES_OF: dict[str, dict[Callable[[Tensor, Tensor, Tensor], Tensor], float]] = {
    "semantic": {bce: 1.0, bootstrapped: 0.3, dice: 0.5},
    "center": {mse: 45.0},
    "offsets": {l1: 0.03},
    "contour": {bce: 1.0, dice: 0.5},
    "distance": {tanh_mse: 5.0},
    "affinities": {bce: 1.0, dice: 0.5},
}
"""What each head learns by: losses and their weights."""


def add_losses(
    heads: Mapping[str, Tensor], truth: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> tuple[Tensor, dict[str, float]]:
    """Return the weighted sum of the losses of all heads, and each loss as {"contour dice": 0.2}.

    Parameters
    ----------
    heads : mapping of tensors
        What the net says: logits by the names of heads, and of what PointRend refines at some points (Kirillov et al.
        2020), which learn by the cross-entropy.
    truth, weights : mapping of tensors
        From `batch_targets`.
    """
    total, parts = torch.zeros(()), {}
    for name, aim in truth.items():
        for measure, share in LOSSES_OF[name].items():
            loss = measure(heads[name].float(), aim, weights[name])
            total = total + share * loss
            parts[f"{name} {measure.__name__}"] = float(loss.detach())
        if f"{name}_points" in heads:  # of nets that end in PointRend
            grid = 2 * heads[f"{name}_places"][:, :, None] - 1
            there, counts = (
                functional.grid_sample(field, grid, mode="nearest", align_corners=False)[..., 0]
                for field in (aim, weights[name])
            )
            loss = bce(heads[f"{name}_points"].float(), there, counts)
            total = total + loss
            parts[f"{name} points"] = float(loss.detach())
    return total, parts
