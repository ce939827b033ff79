"""Probabilities: from the logits of a net to the form that maps are kept in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from mitonb.post.compiled import jit

__all__ = ["in_bytes", "in_halves", "probability"]

Picture = npt.NDArray[np.float32]

_FAR = np.float32(80)
"""Logits beyond are as good as certain, and their exponential still is a number."""


def probability(logits: Picture) -> Picture:
    """Return the probability 0..1 of each class, (n, classes, h, w), of (n, channels, h, w) logits.

    Of several channels the first is background, which is left out.
    """
    if logits.shape[1] > 1:
        several: Picture = torch.from_numpy(logits).softmax(1)[:, 1:].numpy()
        return several
    # Not in torch: for a plane, waking its threads takes longer than the work.
    p = np.empty(logits.shape, np.float32)
    flat = p.reshape(-1)
    _bounded(np.ascontiguousarray(logits).reshape(-1), flat)
    np.exp(flat, out=flat)
    _inverted(flat)
    return p


def in_bytes(semantic: Picture) -> npt.NDArray[np.uint8]:
    """Return probabilities of any shape as `Maps.kept` does: in 1/255; what is no number becomes 0."""
    result = np.empty(semantic.shape, np.uint8)
    _rounded(np.ascontiguousarray(semantic).reshape(-1), result.reshape(-1))
    return result


def in_halves(values: Picture) -> npt.NDArray[np.float16]:
    """Return values as `Maps.kept` does, in float16."""
    with np.errstate(over="ignore"):  # what is too large becomes infinite
        return values.astype(np.float16)


@jit
def _bounded(logits: Any, out: Any) -> None:
    for k in range(len(out)):
        v = -logits[k]
        v = _FAR if v > _FAR else v
        out[k] = -_FAR if v < -_FAR else v


@jit
def _inverted(values: Any) -> None:
    for k in range(len(values)):
        values[k] = np.float32(1) / (values[k] + np.float32(1))


@jit
def _rounded(values: Any, out: Any) -> None:
    for k in range(len(out)):
        v = values[k]
        v = v if v > np.float32(0) else np.float32(0)
        v = v if v < np.float32(1) else np.float32(1)
        out[k] = np.uint8(np.rint(v * np.float32(255)))
