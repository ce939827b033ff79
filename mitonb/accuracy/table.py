"""The table of overlaps: the one thing that is computed from voxels; every score is a sum over it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from mitonb.overlaps import Counts, Pairs

__all__ = ["Flags", "Table"]

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)  # arrays have no one answer to whether they are equal
class Table:
    """How objects of the labels and objects of the truth overlap; ignored voxels are in none of its numbers.

    Attributes
    ----------
    ids, truths : (n,), (m,) uint64 array
        Objects of labels and of truth, sorted, without background.
    id_voxels, truth_voxels : (n,), (m,) int64 array
        Their sizes.
    rows, columns, overlaps : (k,) int64 array
        Object `ids[rows[i]]` and object `truths[columns[i]]` share `overlaps[i]` voxels; sorted.
    neither : int
        Voxels that are background in both.
    """

    ids: npt.NDArray[np.uint64]
    truths: npt.NDArray[np.uint64]
    id_voxels: Counts
    truth_voxels: Counts
    rows: Counts
    columns: Counts
    overlaps: Counts
    neither: int = 0

    @classmethod
    def of(cls, pairs: Pairs) -> Table:
        """Build the table from counted pairs of ids, each of which comes once."""
        first, second, counts = pairs
        ids, row = np.unique(first[first > 0], return_inverse=True)
        truths, column = np.unique(second[second > 0], return_inverse=True)
        both = (first > 0) & (second > 0)
        # The indices were made of the nonzero ids alone: spread them over all pairs again.
        rows, columns = np.zeros(len(first), np.int64), np.zeros(len(first), np.int64)
        rows[first > 0], columns[second > 0] = row, column
        return cls(
            ids,
            truths,
            _sums(row, counts[first > 0], len(ids)),
            _sums(column, counts[second > 0], len(truths)),
            rows[both],
            columns[both],
            counts[both],
            int(counts[(first == 0) & (second == 0)].sum()),
        )

    @cached_property
    def ious(self) -> npt.NDArray[np.float64]:
        """IoU of each pair of overlapping objects, (k,)."""
        union = self.id_voxels[self.rows] + self.truth_voxels[self.columns] - self.overlaps
        return np.asarray(self.overlaps / union)

    @cached_property
    def outside(self) -> tuple[Counts, Counts]:
        """Voxels of each label on the background of the truth, and of each truth on that of the labels."""
        return (
            self.id_voxels - _sums(self.rows, self.overlaps, len(self.ids)),
            self.truth_voxels - _sums(self.columns, self.overlaps, len(self.truths)),
        )

    def counted(self, smallest: int) -> tuple[Flags, Flags]:
        """Which labels and which truths count: not the small ones, nor labels that mostly lie on small truth."""
        truths = self.truth_voxels >= smallest
        on_small = ~truths[self.columns]
        covered = _sums(self.rows[on_small], self.overlaps[on_small], len(self.ids))
        return (self.id_voxels >= smallest) & (2 * covered < np.maximum(self.id_voxels, 1)), truths


def _sums(index: npt.NDArray[np.integer], values: Counts, count: int) -> Counts:
    """Add up values by index, exactly: bincount would go by way of floats, which end at 2**53."""
    out = np.zeros(count, np.int64)
    np.add.at(out, index, values)
    return out
