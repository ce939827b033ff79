"""Teaching by verdicts: ten marks on one plane find false objects elsewhere, and right ones stay."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import mitonb as mn
from mitonb.errors import InputError
from mitonb.post.verdicts import FEATURES, chances


@pytest.fixture(scope="module")
def judged() -> tuple[mn.Stack, np.ndarray, set[int]]:
    """A phantom whose labels hold, beside its mitochondria, as many blobs drawn where nothing is."""
    stack, labels = mn.phantom((24, 256, 256), seed=6)
    ids = labels.data.copy()
    rng, false = np.random.default_rng(0), set[int]()
    z, y, x = np.ogrid[:24, :256, :256]
    for id in range(int(ids.max()) + 1, 2 * int(ids.max()) + 1):
        at, size = rng.uniform((2, 10, 10), (22, 246, 246)), rng.uniform(8, 16)
        blob = ((z - at[0]) / 4) ** 2 + ((y - at[1]) / size) ** 2 + ((x - at[2]) / size) ** 2 < 1
        ids[blob & (ids == 0)] = id
        false.add(id)
    return stack, ids, false & set(np.unique(ids).tolist())


def test_ten_marks_drop_most_false_objects_and_few_right_ones(judged: tuple[mn.Stack, np.ndarray, set[int]]) -> None:
    stack, ids, false = judged
    features = mn.describe_objects(ids, stack)
    assert list(features.columns) == list(FEATURES)
    right = [id for id in features.index if id not in false]
    marks = {**dict.fromkeys(right[:5], True), **dict.fromkeys(sorted(false)[:5], False)}
    verdicts = mn.learn_verdicts(features, marks)
    assert (verdicts.right, verdicts.false) == (5, 5)
    assert verdicts.told is not None
    assert verdicts.told >= 0.8
    cleaned, gone = mn.drop_false(ids, verdicts, features)
    others = set(features.index) - set(marks)
    assert len(set(gone) & false & others) >= 0.7 * len(false & others)
    assert len(set(gone) - false) <= 0.1 * len(right)
    assert not np.isin(cleaned.data, gone).any()
    assert np.array_equal(cleaned.data[cleaned.data > 0], ids[cleaned.data > 0])
    # Nothing is dropped that is not asked for.
    assert mn.drop_false(ids, dataclasses.replace(verdicts, below=0.0), features)[1] == []


def test_verdicts_are_the_same_whatever_ids_are_called(judged: tuple[mn.Stack, np.ndarray, set[int]]) -> None:
    stack, ids, false = judged
    features, renamed = mn.describe_objects(ids, stack), mn.describe_objects(np.where(ids > 0, ids + 1000, 0), stack)
    marks = {int(id): id not in false for id in features.index[::3]}
    one = chances(mn.learn_verdicts(features, marks), features)
    two = chances(mn.learn_verdicts(renamed, {id + 1000: kind for id, kind in marks.items()}), renamed)
    np.testing.assert_allclose(one.to_numpy(), two.to_numpy(), atol=1e-6)


def test_what_the_net_said_is_known_where_it_ran(judged: tuple[mn.Stack, np.ndarray, set[int]]) -> None:
    stack, ids, _ = judged
    some = [int(id) for id in np.unique(ids[12]) if id][:4]
    maps = mn.targets(ids[12], output_stride=4)
    features = mn.describe_objects(ids, stack, ids=some, maps=lambda z: maps if z == 12 else None)
    assert list(features.index) == some
    plane = mn.describe_objects(ids[12:13], mn.Stack(stack.read()[12:13]), ids=some, maps=lambda _: maps)
    assert (plane["probability"] > 0.95).all()
    assert (plane["center"] > 0.3).all()
    assert mn.describe_objects(ids, stack, ids=some)["probability"].isna().all()


def test_marks_that_teach_nothing_are_refused(judged: tuple[mn.Stack, np.ndarray, set[int]]) -> None:
    stack, ids, _ = judged
    features = mn.describe_objects(ids, stack, ids=[1, 2, 3])
    with pytest.raises(InputError, match="at least one object right and one false"):
        mn.learn_verdicts(features, {1: True, 2: True})
    with pytest.raises(InputError, match="no object 99"):
        mn.learn_verdicts(features, {1: True, 99: False})
    with pytest.raises(InputError, match="of one volume"):
        mn.describe_objects(ids[:3], stack)
