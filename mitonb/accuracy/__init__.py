"""Accuracy: compare labels with truth, by voxels, by objects and by partition, from one table of overlaps."""

from mitonb.accuracy.comparing import score, score_planes
from mitonb.accuracy.mistakes import Mistake
from mitonb.accuracy.partitions import Rand, Variation
from mitonb.accuracy.scores import Detection, Match, Scores, Stratum
from mitonb.accuracy.table import Table

__all__ = [
    "Detection",
    "Match",
    "Mistake",
    "Rand",
    "Scores",
    "Stratum",
    "Table",
    "Variation",
    "score",
    "score_planes",
]
