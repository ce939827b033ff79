"""Partitions: how well two divisions of the voxels agree, whatever stands for what: VI and adapted Rand."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from mitonb.accuracy.table import Table

__all__ = ["Rand", "Variation", "rand", "variation"]

Values = npt.NDArray[np.float64]


class Variation(NamedTuple):
    """Variation of information in bits; 0 is best.

    `split` is the entropy of the labels within the truth (objects cut up), `merge` that of the truth within the
    labels (objects run together); `total` is their sum.
    """

    split: float
    merge: float

    @property
    def total(self) -> float:
        """Split and merge together: the distance of the two partitions."""
        return self.split + self.merge


class Rand(NamedTuple):
    """Adapted Rand error (1 - F1 of the pairs of voxels), with precision and recall of those pairs."""

    error: float
    precision: float
    recall: float


def variation(table: Table, *, background: bool) -> Variation:
    """Return the variation of information (Meila 2007).

    Parameters
    ----------
    table : Table
    background : bool
        Whether the background of the truth is a region like any other; else its voxels are left out.
    """
    joint, label, truth = _regions(table, background)
    total = joint.sum()
    if total == 0:
        return Variation(0.0, 0.0)
    both, labels, truths = _entropy(joint, total), _entropy(label, total), _entropy(truth, total)
    # An entropy of what is certain may come out as -1e-16.
    return Variation(max(0.0, both - truths), max(0.0, both - labels))


def rand(table: Table, *, background: bool) -> Rand:
    """Return the adapted Rand error (Arganda-Carreras et al. 2015), of pairs of different voxels.

    Parameters
    ----------
    table : Table
    background : bool
        As for `variation`.
    """
    joint, label, truth = (_pairs(x) for x in _regions(table, background))
    # No pair together anywhere: nothing to get wrong in that direction.
    precision = joint / label if label else 1.0
    recall = joint / truth if truth else 1.0
    error = 1 - 2 * joint / (label + truth) if label + truth else 0.0
    return Rand(error, precision, recall)


def _regions(table: Table, background: bool) -> tuple[Values, Values, Values]:
    """Return the voxels of each overlap, of each region of the labels and of each region of the truth.

    The background of the labels is one region wherever the truth has voxels that count.
    """
    on_background, unlabelled = table.outside
    joint = [table.overlaps, unlabelled]
    labels = [table.id_voxels - (0 if background else on_background), np.array([unlabelled.sum()])]
    truths = [table.truth_voxels]
    if background:
        joint += [on_background, np.array([table.neither])]
        labels[1] = labels[1] + table.neither
        truths += [np.array([on_background.sum() + table.neither])]
    # Floats: the squares of voxel counts do not fit into 64 bits.
    first, second, third = (np.concatenate(x).astype(np.float64) for x in (joint, labels, truths))
    return first, second, third


def _entropy(voxels: Values, total: float) -> float:
    share = voxels[voxels > 0] / total
    return float(-(share * np.log2(share)).sum())


def _pairs(voxels: Values) -> float:
    """Return how many ordered pairs of different voxels lie in one region."""
    return float((voxels * (voxels - 1)).sum())
