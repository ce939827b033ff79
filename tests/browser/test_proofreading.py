"""What is wrong in a small volume is mended by mouse and keys alone, led by the review: the trial of the benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

playwright = pytest.importorskip("playwright")

import mitonb as mn  # noqa: E402  after what may skip
from tests.browser.lab import why_not  # noqa: E402  only where Playwright is installed
from tests.browser.proofreader import proofread  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

    from tests.browser.lab import Lab

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


def planted(folder: Path) -> Path:
    """Keep a volume in which two objects are one, one is cut in two, one is missing, and one is none."""
    z, y, x = np.ogrid[:14, :96, :96]
    truth = np.zeros((14, 96, 96), np.uint32)
    for id, (row, column) in enumerate([(16, 16), (16, 48), (48, 16), (48, 48), (80, 16), (80, 80)], 1):
        truth[((z - 7) / 5) ** 2 + ((y - row) / 11) ** 2 + ((x - column) / 13) ** 2 <= 1] = id
    labels = truth.copy()
    labels[labels == 2] = 1
    labels[7, 14:18, 28:37] = 1  # a bridge between both
    labels[7:][labels[7:] == 3] = 20
    labels[labels == 5] = 0
    labels[3:6, 70:76, 40:46] = 21
    image = np.where(truth > 0, 90, 170).astype(np.uint8)
    path = folder / "case.npz"
    semantic = np.where(truth > 0, 255, 0).astype(np.uint8)
    np.savez(path, image=image, labels=labels, truth=truth, semantic=semantic, voxel_size=(10.0, 10.0, 10.0))
    assert mn.score(mn.Labels(labels), mn.Labels(truth)).at(0.75).found == 2
    return path


def test_planted_errors_are_mended_by_mouse_and_keys(lab: Lab, tmp_path: Path) -> None:
    first, _, end, actions = proofread(lab, planted(tmp_path), "doubt")
    assert first < 0.5
    assert end == 1.0
    assert {*actions} <= {"key", "click", "line"}
