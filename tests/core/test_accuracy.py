"""Scores against a brute-force oracle and against cases that can be counted by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitonb.accuracy import Mistake, score, score_planes
from mitonb.errors import AxesError, InputError
from mitonb.labels import Labels
from mitonb.post import tables


def oracle(labels: np.ndarray, truth: np.ndarray, iou: float) -> tuple[int, int, int, float]:
    """Found, false, missed and sum of IoUs, by trying every assignment of objects to objects."""
    ids, truths = ([i for i in np.unique(a) if i] for a in (labels, truth))
    table = np.array([[np.sum((labels == i) & (truth == t)) / np.sum((labels == i) | (truth == t)) for t in truths]
                      for i in ids]).reshape(len(ids), len(truths))  # fmt: skip
    if len(ids) > len(truths):
        table = table.T
    best = (0, 0.0)
    for columns in itertools.permutations(range(table.shape[1]), table.shape[0]):
        taken = [table[r, c] for r, c in enumerate(columns) if table[r, c] >= iou]
        best = max(best, (len(taken), float(sum(taken))))
    return best[0], len(ids) - best[0], len(truths) - best[0], best[1]


planes = st.lists(st.lists(st.integers(0, 4), min_size=7, max_size=7), min_size=5, max_size=5).map(np.array)


@settings(max_examples=150, deadline=None)
@given(labels=planes, truth=planes, iou=st.sampled_from([0.1, 0.3, 0.5, 0.75, 1.0]))
def test_counts_agree_with_trying_every_assignment(labels: np.ndarray, truth: np.ndarray, iou: float) -> None:
    found, false, missed, total = oracle(labels, truth, iou)
    got = score(labels, truth).at(iou)
    assert (got.found, got.false, got.missed) == (found, false, missed)
    assert got.pq == pytest.approx(total / (found + false / 2 + missed / 2) if found + false + missed else 1)


@settings(max_examples=60, deadline=None)
@given(labels=planes, truth=planes)
def test_foreground_figures_agree_with_their_definitions(labels: np.ndarray, truth: np.ndarray) -> None:
    a, b = labels > 0, truth > 0
    result = score(labels, truth)
    assert result.iou == pytest.approx((a & b).sum() / (a | b).sum() if (a | b).any() else 1)
    assert result.dice == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()) if (a | b).any() else 1)


def test_a_volume_against_itself_is_perfect_whatever_its_ids() -> None:
    truth = np.arange(24).reshape(2, 3, 4)
    renamed = np.where(truth > 0, truth.astype(np.uint64) * 7 + 2**63, 0).astype(np.uint64)
    result = score(renamed, truth)
    assert result.at(1.0).f1 == 1
    assert len(result.matches(1.0)) == 23
    assert result.matches(1.0)[0].id == 2**63 + 7
    assert result.mistakes() == []


def test_nothing_to_find_and_nothing_found_is_perfect_and_something_found_is_not() -> None:
    empty, one = np.zeros((1, 2, 2), int), np.ones((1, 2, 2), int)
    assert score(empty, empty).at().f1 == score(empty, empty).iou == 1
    assert score(one, empty).at() == (0.5, 0, 1, 0, 0, 0, 0, 0, 0, 0)
    assert score(empty, one).at() == (0.5, 0, 0, 1, 0, 0, 0, 0, 0, 0)


def test_two_halves_at_exactly_the_threshold_give_one_match() -> None:
    assert score(np.array([1, 1, 2, 2]), np.array([7, 7, 7, 7])).at(0.5).found == 1


MISTAKES = {
    "missing": ([0, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0], ((), (1,))),
    "false": ([1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0], ((1,), ())),
    "split": ([1, 1, 1, 2, 2, 2], [5, 5, 5, 5, 5, 5], ((1, 2), (5,))),
    "merged": ([1, 1, 1, 1, 1, 1], [5, 5, 5, 5, 6, 6], ((1,), (5, 6))),
    "mixed": ([1, 1, 1, 2, 2, 2], [5, 5, 6, 6, 5, 5], ((1, 2), (5, 6))),
    "poor": ([1, 1, 1, 1, 1, 1], [0, 0, 0, 5, 5, 0], ((1,), (5,))),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_each_kind_of_mistake_is_named_with_its_ids(kind: str) -> None:
    labels, truth, (ids, truths) = MISTAKES[kind]
    assert score(np.array(labels), np.array(truth)).mistakes() == [Mistake(kind, ids, truths)]  # type: ignore[arg-type]


def test_a_merge_is_named_even_where_its_larger_part_was_found() -> None:
    result = score(np.array([3] * 10), np.array([1] * 8 + [2] * 2))
    assert result.at(0.75).found == 1
    assert result.mistakes(0.75) == [Mistake("merged", (3,), (1, 2))]


def test_ignored_voxels_count_for_nothing() -> None:
    labels, truth = np.array([1, 1, 2, 2, 0]), np.array([1, 1, 9, 9, 9])
    assert score(labels, truth).at().missed == 0
    assert score(labels, truth, ignore=9).at() == (0.5, 1, 0, 0, 1, 1, 1, 1, 1, 1)
    assert score(labels, truth, ignore=truth == 9).iou == 1


def test_objects_below_the_smallest_size_are_neither_found_nor_wrong() -> None:
    labels = np.array([1, 1, 1, 0, 2, 0, 3, 3, 3])
    truth = np.array([1, 1, 1, 0, 2, 0, 0, 3, 3])
    assert score(labels, truth).at(0.6).found == 3
    got = score(labels, truth, smallest=3).at(0.6)
    assert (got.found, got.false, got.missed) == (1, 0, 0)


def test_a_volume_counted_in_pieces_gives_the_same_table(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    labels, truth = rng.integers(0, 9, (2, 6, 8, 8))
    whole = score(labels, truth)
    monkeypatch.setattr(tables, "_CHUNK", 64)
    pieces = score(labels, truth)
    assert whole.as_dict() == pieces.as_dict()
    assert (whole.table.overlaps == pieces.table.overlaps).all()


def test_planes_are_scored_by_profile() -> None:
    truth = np.zeros((2, 3, 9), np.uint32)
    truth[0, :, :3] = truth[0, :, 6:] = 4  # one object, cut twice by plane 0
    truth[1] = 4
    labels = truth.copy()
    labels[0, :, 6:] = 0
    got = score_planes(labels, truth).at()
    assert (got.found, got.false, got.missed) == (2, 0, 1)
    assert score_planes(labels, truth, axis="yz").at(0.75).missed == 3


def test_touching_profiles_of_two_ids_stay_two() -> None:
    truth = np.array([[[1, 1, 2, 2]]], np.uint32)
    assert score_planes(truth, truth).at().found == 2
    assert score_planes(truth > 0, truth).mistakes() == [Mistake("merged", (1,), (1, 2))]


def test_labels_and_arrays_of_any_integer_type_are_taken() -> None:
    truth = np.array([[[0, 3, 3]]])
    for dtype in (bool, np.uint8, np.int16, np.int64, np.uint64, ">u4"):
        assert score(Labels(truth), truth.astype(dtype)).iou == 1


def test_the_text_and_the_html_show_the_same_figures() -> None:
    result = score(np.array([1, 1, 1, 0, 2]), np.array([1, 1, 1, 3, 0]), ious=(0.5,))
    assert "0.600" in repr(result)
    assert "0.500" in repr(result)
    html = result._repr_html_()
    assert "0.600" in html
    assert "<td>0.500</td>" in html


@pytest.mark.parametrize(
    ("labels", "truth", "error", "says"),
    [
        (np.zeros((1, 2, 2), int), np.zeros((1, 2, 3), int), AxesError, "Crop or resample"),
        (np.zeros(2), np.zeros(2, int), InputError, "Threshold or round"),
        (np.array([-1]), np.array([1]), InputError, "start at 0"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    labels: np.ndarray, truth: np.ndarray, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        score(labels, truth)


def test_a_threshold_outside_its_range_is_refused() -> None:
    with pytest.raises(InputError, match="above 0"):
        score(np.array([1]), np.array([1]), ious=(0.0,))
    with pytest.raises(InputError, match="above 0"):
        score(np.array([1]), np.array([1])).at(1.5)


def test_an_id_to_ignore_may_be_a_numpy_number():
    truth = np.array([[[1, 1, 2, 2]]])
    for ignore in (2, np.uint32(2), np.int64(2)):
        assert score(np.array([[[1, 1, 0, 0]]]), truth, ignore=ignore).iou == 1
        assert score_planes(np.array([[[1, 1, 0, 0]]]), truth, ignore=ignore).iou == 1


def test_one_threshold_needs_no_tuple():
    truth = np.array([[[1, 1, 2, 2]]])
    assert score(truth, truth, ious=0.9).ious == score_planes(truth, truth, ious=0.9).ious == (0.9,)
