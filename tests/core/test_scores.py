"""Every figure of a comparison against a slow oracle that counts voxels mask by mask, on drawn and on real labels."""

from __future__ import annotations

import itertools
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

import mitonb as mn
from mitonb.accuracy import score, score_planes
from mitonb.errors import AxesError, InputError
from mitonb.io.opening import open_labels

IOUS = (0.1, 0.3, 0.5, 0.6, 0.75, 0.9, 1.0)
FOLDER = os.environ.get("MITONB_DATA_DIR", "")
needs_data = pytest.mark.skipif(not FOLDER, reason="MITONB_DATA_DIR names no folder of real EM data")


# --------------------------------------------------------------------------------------------------- the oracle


class Oracle:
    """Definitions, spelled out: each object is a set of voxels."""

    def __init__(self, labels: np.ndarray, truth: np.ndarray, ignore: np.ndarray | None = None) -> None:
        keep = np.ones(labels.shape, bool) if ignore is None else ~ignore
        self.labels, self.truth = labels[keep], truth[keep]
        self.ids = [int(i) for i in np.unique(self.labels) if i]
        self.truths = [int(i) for i in np.unique(self.truth) if i]
        self.size = {i: int((self.labels == i).sum()) for i in self.ids}
        self.truth_size = {t: int((self.truth == t).sum()) for t in self.truths}
        self.shared: dict[tuple[int, int], int] = {}
        for i in self.ids:
            mine = self.labels == i
            for t in np.unique(self.truth[mine]):
                self.shared[i, int(t)] = int((mine & (self.truth == t)).sum())

    def iou(self, i: int, t: int) -> float:
        both = self.shared.get((i, t), 0)
        return both / (self.size[i] + self.truth_size[t] - both)

    def best(self, iou: float) -> tuple[int, float]:
        """The most pairs, and the highest sum of their IoUs, by trying all choices in each group that overlaps."""
        pairs = [(i, t) for (i, t) in self.shared if t and self.iou(i, t) >= iou]
        found, total = 0, 0.0
        while pairs:
            group = [pairs.pop()]
            grown = True
            while grown:
                more = [p for p in pairs if any(p[0] == q[0] or p[1] == q[1] for q in group)]
                pairs = [p for p in pairs if p not in more]
                group, grown = group + more, bool(more)
            got = self._try(tuple(group))
            found, total = found + got[0], total + got[1]
        return found, total

    def _try(self, pairs: tuple[tuple[int, int], ...]) -> tuple[int, float]:
        if not pairs:
            return 0, 0.0
        (i, t), rest = pairs[0], pairs[1:]
        found, total = self._try(tuple(p for p in rest if p[0] != i and p[1] != t))
        return max((found + 1, total + self.iou(i, t)), self._try(rest))

    def at(self, iou: float) -> dict[str, float]:
        found, total = self.best(iou)
        false, missed = len(self.ids) - found, len(self.truths) - found
        every = found + false + missed
        return {
            "found": found,
            "false": false,
            "missed": missed,
            "precision": found / len(self.ids) if self.ids else float(not missed),
            "recall": found / len(self.truths) if self.truths else float(not false),
            "f1": found / (found + false / 2 + missed / 2) if every else 1,
            "pq": total / (found + false / 2 + missed / 2) if every else 1,
            "accuracy": found / every if every else 1,
            "sq": total / found if found else float(not every),
        }

    def ap(self, iou: float, rank: dict[int, float], low: float = 0, high: float = np.inf) -> float:
        """COCO: walk down the ranked labels, read precision at 101 recalls as the best from there on."""
        wanted = [t for t in self.truths if low < self.truth_size[t] <= high]
        free, hits = set(self.truths), []
        for i in sorted(self.ids, key=lambda i: (-rank[i], i)):
            able = [t for t in sorted(free) if self.iou(i, t) >= iou]
            able = [t for t in able if t in wanted] or able
            if able:
                t = max(able, key=lambda t: (self.iou(i, t), -t))
                free.remove(t)
                if t in wanted:
                    hits.append(True)
            elif low < self.size[i] <= high:
                hits.append(False)
        if not wanted:
            return float(not hits)
        curve = [(Fraction(sum(hits[:k]), len(wanted)), sum(hits[:k]) / k) for k in range(1, len(hits) + 1)]
        return float(np.mean([max((p for r, p in curve if r >= Fraction(q, 100)), default=0) for q in range(101)]))

    def variation(self, background: bool) -> tuple[float, float]:
        """H(labels | truth), H(truth | labels)."""
        a, b = (self.labels, self.truth) if background else (self.labels[self.truth > 0], self.truth[self.truth > 0])
        split = merge = 0.0
        for t in np.unique(b):
            inside = a[b == t]
            share = np.array([(inside == i).mean() for i in np.unique(inside)])
            split -= len(inside) / len(b) * float((share * np.log2(share)).sum())
        for i in np.unique(a):
            inside = b[a == i]
            share = np.array([(inside == t).mean() for t in np.unique(inside)])
            merge -= len(inside) / len(a) * float((share * np.log2(share)).sum())
        return split, merge

    def mistakes(self) -> set[tuple[str, frozenset[int], frozenset[int]]]:
        """Groups that share a quarter of the smaller one or reach an IoU of 0.5, and what is wrong with them."""
        edges = [
            (i, t) for (i, t), n in self.shared.items()
            if t and (n >= min(self.size[i], self.truth_size[t]) / 4 or self.iou(i, t) >= 0.5)
        ]  # fmt: skip
        groups = [({i}, set()) for i in self.ids] + [(set(), {t}) for t in self.truths]
        for i, t in edges:
            mine = [g for g in groups if i in g[0] or t in g[1]]
            groups = [g for g in groups if g not in mine]
            groups.append((set().union(*(g[0] for g in mine)), set().union(*(g[1] for g in mine))))
        wrong = set()
        for ids, truths in groups:
            many = (min(len(ids), 2), min(len(truths), 2))
            kind = {(0, 1): "missing", (1, 0): "false", (1, 2): "merged", (2, 1): "split", (2, 2): "mixed"}.get(many)
            if many == (1, 1) and self.iou(*ids, *truths) < 0.5:
                kind = "poor"
            if kind:
                wrong.add((kind, frozenset(ids), frozenset(truths)))
        return wrong


def agrees(labels: np.ndarray, truth: np.ndarray, ignore: np.ndarray | None = None) -> None:
    """Compare every figure with the oracle's, to 1e-9."""
    got, want = score(labels, truth, ignore=ignore), Oracle(labels, truth, ignore)
    a, b = want.labels > 0, want.truth > 0
    assert got.iou == pytest.approx((a & b).sum() / (a | b).sum() if (a | b).any() else 1, abs=1e-9)
    assert got.dice == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()) if (a | b).any() else 1, abs=1e-9)
    for iou in IOUS:
        found = got.at(iou)._asdict()
        assert found.pop("iou") == iou
        assert found == pytest.approx(want.at(iou), abs=1e-9)
    for iou in (0.5, 0.55, 0.75, 0.9):
        for low, high in ((0, np.inf), (0, 30), (30, 200), (200, np.inf)):
            expected = want.ap(iou, dict(want.size.items()), low, high)
            assert got.ap(iou, sizes=(low, high)) == pytest.approx(expected, abs=1e-9)
    for background in (False, True):
        assert tuple(got.variation(background=background)) == pytest.approx(want.variation(background), abs=1e-9)
    assert {(m.kind, frozenset(m.ids), frozenset(m.truths)) for m in got.mistakes()} == want.mistakes()


# ---------------------------------------------------------------------------------------------------- the pairs


def blobs(rng: np.random.Generator, shape: tuple[int, ...], count: int) -> np.ndarray:
    """Draw balls over each other; ids are sparse."""
    out = np.zeros(shape, np.uint64)
    grid = np.indices(shape)
    for k in range(count):
        center, radius = rng.uniform(0, 1, len(shape)) * shape, rng.uniform(1, 6)
        inside = sum((g - c) ** 2 for g, c in zip(grid, center, strict=True)) < radius**2
        out[inside] = rng.integers(1, 2**63, dtype=np.uint64) if k % 2 else k + 1
    return out


def disturbed(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    """Drop, merge, cut, shift and shrink objects: what a segmentation does wrong."""
    labels = np.zeros_like(truth)
    ids = np.unique(truth)
    highest = int(ids[-1])
    for k, i in enumerate(ids[ids > 0]):
        mine = truth == i
        match rng.integers(0, 7):
            case 0:
                continue
            case 1:
                labels[mine] = ids[max(1, k)]  # the id of the one before: merged
            case 2:
                place = np.nonzero(mine)
                half = place[-1] > np.median(place[-1])
                labels[mine] = i
                labels[tuple(p[half] for p in place)] = highest + k + 1
            case 3:
                labels[np.roll(mine, 2, axis=-1)] = i
            case 4:
                labels[ndimage.binary_erosion(mine)] = i
            case _:
                labels[mine] = i
    return labels


@pytest.mark.parametrize("seed", range(20))
def test_all_figures_of_random_labels_are_what_the_definitions_say(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (40, 41) if seed % 2 else (12, 18, 17)
    truth = blobs(rng, shape, int(rng.integers(3, 16)))
    agrees(disturbed(rng, truth), truth, None if seed % 3 else rng.random(shape) < 0.2)


def real(name: str) -> np.ndarray:
    """A piece of real labels."""
    folder = Path(FOLDER)
    if name == "vnc":
        return open_labels(folder / "vnc_sstem" / "mito_instances.tif").data[:, 200:600:2, 200:600:2]
    if name == "epfl":
        return open_labels(folder / "epfl_hippocampus" / "mito_instances_10nm.tif").data[::2, ::3, ::3]
    if name == "urocell":
        with np.load(folder / "urocell_labels" / "fib1-0-0-0.npz") as arrays:
            return arrays["mito"][::4, ::4, ::4]
    with np.load(folder / "connectomics_labels" / "connectomics_256crop.npz") as arrays:
        return arrays["labels"][:48:2, :96:2, :96:2]


@needs_data
@pytest.mark.parametrize("name", ["vnc", "epfl", "urocell", "connectomics"])
def test_all_figures_of_real_labels_are_what_the_definitions_say(name: str) -> None:
    truth = real(name)
    assert len(np.unique(truth)) > 8
    agrees(disturbed(np.random.default_rng(0), truth), truth)


@pytest.mark.parametrize("seed", range(6))
def test_vi_and_adapted_rand_are_those_of_scikit_image(seed: int) -> None:
    from skimage.metrics import adapted_rand_error, variation_of_information

    rng = np.random.default_rng(seed)
    truth = np.unique(blobs(rng, (60, 60), 12), return_inverse=True)[1].reshape(60, 60)
    labels = np.unique(disturbed(rng, truth), return_inverse=True)[1].reshape(60, 60)
    got = score(labels, truth)
    for background, ignored in ((False, (0,)), (True, ())):
        split, merge = variation_of_information(truth, labels, ignore_labels=ignored)
        assert got.variation(background=background) == pytest.approx((split, merge), abs=1e-9)
        error, first, second = adapted_rand_error(truth, labels, ignore_labels=ignored)
        # scikit-image divides what it calls precision by the pairs of the truth: by its own definition that is recall.
        assert got.rand(background=background) == pytest.approx((error, second, first), abs=1e-9)


# --------------------------------------------------------------------------------------- what can be counted by hand


def test_average_precision_by_hand() -> None:
    truth = np.repeat([1, 2, 0, 0], 10)
    labels = np.repeat([5, 0, 6, 0], 10)
    labels[20:22] = 0  # the false label is the smaller one
    assert score(labels, truth).ap(0.5) == pytest.approx(51 / 101)  # precision 1 up to a recall of one half
    worse = score(labels, truth, ranking={5: 0.1, 6: 0.9})
    assert worse.ap(0.5) == pytest.approx(51 / 101 / 2)
    assert worse.at(0.5).accuracy == 1 / 3


def test_labels_are_ranked_by_the_mean_of_a_map_inside_them() -> None:
    truth = np.repeat([1, 2, 0, 0], 10)
    labels = np.repeat([5, 0, 6, 0], 10)
    heat = np.where(labels == 6, 0.9, 0.2).astype(np.float16)
    by_map = score(labels, truth, ranking=heat)
    assert by_map.ranks == pytest.approx([0.2, 0.9], abs=1e-3)
    assert by_map.ap(0.5) == pytest.approx(51 / 101 / 2)
    unheard = score(labels, truth, ranking=heat, ignore=labels == 6)
    assert unheard.ap(0.5) == pytest.approx(51 / 101)


def test_sizes_are_judged_apart() -> None:
    truth, labels = np.zeros(400, int), np.zeros(400, int)
    truth[:100], truth[150:160] = 1, 2
    labels[:100], labels[150:152], labels[300:305] = 1, 2, 3
    small, large = score(labels, truth).strata(0.5, edges=(20,))
    assert (small.truths, small.detection.found, small.detection.false, small.ap) == (1, 0, 2, 0)
    assert (large.truths, large.detection.found, large.detection.false, large.ap) == (1, 1, 0, 1)
    assert [s.name for s in score(labels, truth).strata()] == ["small", "medium", "large"]


def test_one_object_cut_in_two_is_a_split_of_one_bit_and_run_together_a_merge() -> None:
    whole, halves = np.ones(8, int), np.repeat([1, 2], 4)
    assert score(halves, whole).variation() == (1.0, 0.0)
    assert score(whole, halves).variation() == (0.0, 1.0)
    assert score(whole, halves).rand() == pytest.approx((1 - 2 * 24 / (56 + 24), 24 / 56, 1))


def test_nothing_at_all_is_no_mistake_and_has_no_distance() -> None:
    for shape in ((0,), (0, 4, 4), (3, 3)):
        nothing = score(np.zeros(shape, int), np.zeros(shape, int))
        figures = nothing.as_dict()
        assert (figures["ap"], figures["ap75"], figures["accuracy75"], figures["iou"]) == (1, 1, 1, 1)
        assert (figures["vi"]["total"], figures["rand"]["error"]) == (0, 0)
        assert nothing.rand(background=True) == (0, 1, 1)
        assert not figures["mistake_ids"]
    one, none = np.ones((2, 2), int), np.zeros((2, 2), int)
    assert score(one, none).ap() == score(none, one).ap() == 0
    assert score(one, none).variation().total == 0  # the truth has no object that could be cut or run together


def test_everything_ignored_leaves_nothing() -> None:
    labels, truth = np.array([1, 1, 2]), np.array([3, 3, 3])
    for ignore in (3, np.ones(3, bool), np.full(3, 255, np.uint8)):
        assert score(labels, truth, ignore=ignore).at() == score(truth * 0, truth * 0).at()


def test_a_negative_mark_in_the_truth_may_be_ignored() -> None:
    truth = np.array([[-1, -1, 4, 4, 0]])
    assert score(np.array([[9, 9, 2, 2, 0]]), truth, ignore=-1).at().f1 == 1
    assert score_planes(np.array([[[9, 9, 2, 2, 0]]]), truth[None], ignore=-1).at().f1 == 1


def test_ids_up_to_the_last_one_are_told_apart() -> None:
    ids = np.array([2**64 - 1, 2**64 - 2, 2**63, 2**53 + 1, 2**53, 1], np.uint64)
    result = score(ids, ids)
    assert [m.id for m in result.matches(1.0)] == sorted(ids.tolist())
    assert result.as_dict()["labels"] == 6
    mixed = score(ids, np.arange(1, 7, dtype=np.int8))
    assert [(m.id, m.truth) for m in mixed.matches(1.0)] == sorted(zip(ids.tolist(), range(1, 7), strict=True))


def test_the_order_of_the_voxels_in_memory_has_no_effect() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 6, (2, 9, 10, 11)).astype(np.uint16)
    mask = rng.random(a.shape) < 0.3
    want = score(a, b, ignore=mask).as_dict()
    layouts = [np.asfortranarray, lambda x: np.repeat(x, 2, axis=1)[:, ::2], lambda x: x[::-1].copy()[::-1]]
    for first, second in itertools.product(layouts, repeat=2):
        assert score(first(a), second(b), ignore=first(mask)).as_dict() == want


def test_many_rivals_are_assigned_without_a_table_of_all_against_all() -> None:
    truth = np.repeat(np.arange(1, 5_001), 4)
    labels = np.repeat(np.arange(1, 10_001), 2)  # two halves in each object, both at exactly 0.5
    result = score(labels, truth).at(0.5)
    assert (result.found, result.false, result.missed) == (5_000, 5_000, 0)
    ring = score(np.roll(truth, 2), truth).at(1 / 3)  # each label lies on two objects, and so on all the way round
    assert (ring.found, ring.false, ring.missed) == (5_000, 0, 0)


WRONG = {
    "a path": (lambda a: score("labels.tif", a), InputError, "mn.open_labels"),
    "a stack": (lambda a: score(mn.Stack(a.astype(np.uint8)[None]), a), InputError, "Open a file with mn.open_labels"),
    "a percentage": (lambda a: score(a, a, ious=75), InputError, "above 0 and at most 1, got 75"),
    "no number": (lambda a: score(a, a, ious="0.5"), InputError, "got '0.5'"),
    "no threshold": (lambda a: score(a, a, ious=()), InputError, "At least one"),
    "nan": (lambda a: score(a, a, ious=float("nan")), InputError, "got nan"),
    "True for an id": (lambda a: score(a, a, ignore=True), InputError, "an id of the truth"),
    "a float mask": (lambda a: score(a, a, ignore=a * 0.5), InputError, "True or a whole number"),
    "a mask of another shape": (lambda a: score(a, a, ignore=a[:1] > 0), AxesError, "shape of the truth"),
    "half a voxel": (lambda a: score(a, a, smallest=0.5), InputError, "whole number of voxels"),
    "a negative size": (lambda a: score(a, a, smallest=-1), InputError, "from 0 on, got -1"),
    "a ranking with gaps": (lambda a: score(a, a, ranking={1: 0.5}), InputError, "no number for 1 of the labels"),
    "a ranking of another shape": (lambda a: score(a, a, ranking=a[:1]), AxesError, "a mapping of id to number"),
    "an endless rank": (lambda a: score(a, a, ranking={1: 1, 2: float("inf")}), InputError, "not finite"),
    "edges that fall": (lambda a: score(a, a).strata(edges=(10, 5)), InputError, "rise"),
    "sizes the wrong way": (lambda a: score(a, a).at(sizes=(5, 1)), InputError, "Sizes go from"),
    "no axis": (lambda a: score_planes(a[None], a[None], axis="z"), InputError, "xy, xz, yz"),
    "one plane": (lambda a: score_planes(a, a), AxesError, r"x\[None\]"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_a_user_may_type_wrong_is_answered_with_a_sentence(what: str) -> None:
    call, error, says = WRONG[what]
    with pytest.raises(error, match=says):
        call(np.array([[1, 1, 0], [2, 2, 0]]))


def test_text_and_html_name_the_same_figures() -> None:
    truth, labels = np.repeat([1, 2, 0, 3], 10), np.repeat([5, 6, 6, 6], 10)
    result = score(labels, truth)
    for shown in (repr(result), result._repr_html_()):
        for word in ("AP-50 0.168", "accuracy", "VI ", "adapted Rand", "1 merged", "2 labels, 3 in truth"):
            assert word in shown, f"{word} is not in {shown}"


def test_vi_that_looks_far_better_than_dice_is_explained() -> None:
    truth = np.zeros((4, 20, 20), np.uint8)
    truth[:, 5:9, 5:9] = 1
    for labels in (np.zeros_like(truth), np.roll(truth, 8, axis=2)):
        scores = score(labels, truth)
        assert (scores.dice, scores.variation().total) == (0.0, 0.0)
        assert "With the background, VI is 0." in repr(scores)
        assert "With the background" in scores._repr_html_()
        assert scores.as_dict()["vi_with_background"] > 0
    assert "With the background" in repr(score(truth, np.zeros_like(truth)))
    assert "With the background" not in repr(score(truth, truth))
    assert "With the background" not in repr(score(np.zeros_like(truth), np.zeros_like(truth)))


def test_labels_and_truth_of_different_scales_are_compared_and_it_is_said() -> None:
    ids = np.ones((2, 4, 4), np.uint8)
    a, b = (mn.Labels(ids, voxel_size=(size,) * 3) for size in (8, 1000))
    for scores in (score(a, b), score_planes(a, b)):
        assert "labels say voxels of 8 x 8 x 8 nm, the truth 1000 x 1000 x 1000 nm" in repr(scores)
        assert len(scores.as_dict()["notes"]) == 1
    assert not score(a, a).notes
