"""Mistakes with places that one can point at, agreement that can be counted, intervals over blocks."""

from __future__ import annotations

import numpy as np
import pytest

import mitonb as mn
from mitonb.errors import InputError


def pair() -> tuple[np.ndarray, np.ndarray]:
    """Four objects in the truth: one is found, one missing, one split, and two are merged; one label is false."""
    truth, labels = np.zeros((2, 8, 40, 60), np.uint16)
    truth[2:6, 2:8, 2:8] = labels[2:6, 2:8, 2:8] = 1
    truth[2:6, 2:8, 20:26] = 2  # missing
    truth[2:6, 20:26, 2:22] = 3
    labels[2:6, 20:26, 2:14], labels[2:6, 20:26, 14:22] = 4, 5  # split at x = 14
    truth[2:6, 20:26, 30:40], truth[2:6, 20:26, 40:50] = 6, 7
    labels[2:6, 20:26, 30:50] = 8  # merged at x = 40
    labels[2:6, 32:38, 30:36] = 9  # false
    return labels, truth


def test_each_mistake_is_where_somebody_would_point() -> None:
    found = mn.list_mistakes(*pair()).set_index("kind")
    assert sorted(found.index) == ["false", "merged", "missing", "split"]
    assert tuple(found.loc["missing", ["truths", "voxels"]]) == ((2,), 144)
    assert 20 <= found.x["missing"] < 26
    assert tuple(found.loc["split", ["ids", "truths"]]) == ((4, 5), (3,))
    assert found.x["split"] in (13, 14)
    assert found.x["merged"] in (39, 40)
    assert pair()[0][tuple(found.loc["false", ["z", "y", "x"]])] == 9


def test_labels_without_mistakes_give_an_empty_list() -> None:
    _, truth = pair()
    assert len(mn.list_mistakes(truth, truth)) == 0


def test_annotators_who_did_the_same_agree_and_others_are_counted() -> None:
    labels, truth = pair()
    table = mn.agreement({"Ann": truth, "Ben": truth.copy(), "Cem": labels}).set_index(["first", "second"])
    same, other = table.loc[("Ann", "Ben")], table.loc[("Ann", "Cem")]
    assert (same.dice, same.kappa, same.f1_50, same.vi) == (1, pytest.approx(1), 1, 0)
    a, b = truth > 0, labels > 0
    chance = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
    assert other.kappa == pytest.approx(((a == b).mean() - chance) / (1 - chance))
    assert (other.objects_first, other.objects_second, other["false"]) == (5, 5, 1)
    with pytest.raises(InputError, match="two annotators or more, got 1"):
        mn.agreement({"Ann": truth})


def test_large_objects_are_found_and_small_ones_are_not() -> None:
    truth = np.zeros((6, 60, 60), np.uint16)
    for k in range(25):
        y, x, size = 12 * (k // 5), 12 * (k % 5), 9 if k % 2 else 3
        truth[1:5, y : y + size, x : x + size] = k + 1
    labels = np.where(np.isin(truth, np.arange(2, 26, 2)), truth, 0)  # the large ones have even ids
    table = mn.errors_by_size(labels, truth, by="voxels", edges=[100], blocks=(1, 3, 3))
    assert table.recall.tolist() == [0, 1, pytest.approx(12 / 25)]
    assert table.truths.tolist() == [13, 12, 25]
    every = table.loc["all"]
    assert every.recall_low < every.recall < every.recall_high
    assert every.precision == 1
    assert mn.errors_by_size(labels, truth, edges=np.array([20, 100])).truths.tolist() == [0, 13, 12, 25]
    with pytest.raises(InputError, match="no column 'length_nm'"):
        mn.errors_by_size(labels, truth, by="length_nm")
    with pytest.raises(InputError, match=r"got blocks=\(0, 3, 3\)"):
        mn.errors_by_size(labels, truth, blocks=(0, 3, 3))


def test_an_interval_over_blocks_is_wider_than_one_over_objects() -> None:
    """Where one half of a volume fails as a whole, forty objects are no forty answers."""
    truth = np.zeros((4, 40, 80), np.uint16)
    for k in range(32):
        y, x = 10 * (k // 8), 10 * (k % 8)
        truth[1:3, y : y + 6, x : x + 6] = k + 1
    labels = np.where(np.arange(80) < 40, truth, 0)
    coarse = mn.errors_by_size(labels, truth, blocks=(1, 1, 2)).loc["all"]
    fine = mn.errors_by_size(labels, truth, blocks=(1, 4, 8)).loc["all"]
    assert coarse.recall == fine.recall == 0.5
    assert coarse.recall_high - coarse.recall_low > 2 * (fine.recall_high - fine.recall_low)
