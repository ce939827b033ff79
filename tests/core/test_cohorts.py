"""Animals are the sample: what is claimed depends on them, and not on how many mitochondria each has."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import mitonb as mn
from mitonb.errors import InputError


def study(effect: float, between: float, objects: int = 200, animals: int = 4, seed: int = 0) -> pd.DataFrame:
    """Two conditions of so many animals, whose means vary by `between`, objects within them by 1."""
    rng = np.random.default_rng(seed)
    parts = []
    for kind in ("control", "treated"):
        for k in range(animals):
            values = 10 + effect * (kind == "treated") + rng.normal(0, between) + rng.normal(0, 1, objects)
            parts.append(({"condition": kind, "animal": f"{kind} {k}"}, pd.DataFrame({"volume_um3": values})))
    return mn.pool(parts)


def test_the_test_is_that_of_the_means_of_the_animals() -> None:
    table = study(1.0, 0.5)
    found = mn.compare_conditions(table, "volume_um3")
    means = table.groupby(["condition", "animal"]).volume_um3.mean()
    test = stats.ttest_ind(means["treated"], means["control"], equal_var=False)
    pair = found.pairs.iloc[0]
    assert pair.difference == pytest.approx(means["treated"].mean() - means["control"].mean())
    assert pair.p == pytest.approx(test.pvalue)
    assert (pair.low, pair.high) == pytest.approx(tuple(test.confidence_interval()))
    assert found.animals.objects.tolist() == [200] * 8


def test_objects_taken_for_independent_claim_effects_that_are_not_there() -> None:
    """Of 40 studies without an effect, about 2 should say that there is one; objects say so in most."""
    found = [mn.compare_conditions(study(0, 0.5, seed=seed), "volume_um3").pairs.iloc[0] for seed in range(40)]
    assert sum(pair.p < 0.05 for pair in found) <= 6
    assert sum(pair.p_objects < 0.05 for pair in found) >= 25


def test_the_share_between_animals_is_that_of_the_drawn_variances() -> None:
    found = [mn.compare_conditions(study(0, 1.0, animals=6, seed=seed), "volume_um3").icc for seed in range(15)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.12)


def test_all_ways_to_divide_the_animals_are_tried() -> None:
    table = pd.DataFrame({"condition": list("aaabbb"), "animal": list("123456"), "x": [1.0, 2, 3, 11, 12, 13]})
    pair = mn.compare_conditions(table, "x").pairs.iloc[0]
    assert pair.p_permutation == pytest.approx(2 / 20)  # this way and its mirror image, of 20


def test_several_pairs_are_corrected_for() -> None:
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"condition": list("aaaabbbbcccc"), "animal": range(12), "x": rng.normal(size=12)})
    pairs = mn.compare_conditions(table, "x").pairs
    assert pairs.p_holm.min() == pytest.approx(min(1, 3 * pairs.p.min()))
    assert (pairs.p_holm >= pairs.p).all()


@pytest.mark.parametrize(("drop", "said"), [
    (lambda t: t[t.condition == "control"], "two conditions or more"),
    (lambda t: t[(t.condition == "control") | (t.animal == "treated 0")], "treated has one animal"),
    (lambda t: t.replace("treated 0", "control 0"), "control 0 is in two conditions"),
    (lambda t: t.drop(columns="animal"), "no column 'animal'"),
])  # fmt: skip
def test_what_cannot_be_compared_is_refused_with_the_reason(drop: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        mn.compare_conditions(drop(study(0, 1)), "volume_um3")  # type: ignore[operator]


def test_weights_count_in_all_that_is_said() -> None:
    table = study(1.0, 0.5, objects=30)
    twice = pd.concat([table, table[table.index % 3 == 0]], ignore_index=True)
    weighted = table.assign(w=1.0 + (table.index % 3 == 0))
    plain = mn.compare_conditions(table, "volume_um3")
    found, doubled = (
        mn.compare_conditions(weighted, "volume_um3", weight="w"),
        mn.compare_conditions(twice, "volume_um3"),
    )
    assert found.animals["mean"].to_numpy() == pytest.approx(doubled.animals["mean"].to_numpy())
    assert found.animals.sd.to_numpy() == pytest.approx(doubled.animals.sd.to_numpy(), rel=0.02)
    assert found.icc == pytest.approx(doubled.icc, rel=0.1)
    assert found.icc != pytest.approx(plain.icc, rel=1e-3)
    # Fewer objects tell less than all that their weights stand for.
    assert found.pairs.p_objects[0] > doubled.pairs.p_objects[0]
    equal = mn.compare_conditions(table.assign(w=3.0), "volume_um3", weight="w")
    assert (equal.icc, equal.pairs.p_objects[0]) == pytest.approx((plain.icc, plain.pairs.p_objects[0]))


def test_what_objects_would_claim_is_the_test_of_the_objects() -> None:
    table = study(0.1, 0.5)
    sides = [table.volume_um3[table.condition == kind] for kind in ("treated", "control")]
    claimed = mn.compare_conditions(table, "volume_um3").pairs.p_objects[0]
    assert claimed == pytest.approx(stats.ttest_ind(*sides, equal_var=False).pvalue)


def test_one_object_has_no_deviation_and_text_no_mean() -> None:
    table = pd.DataFrame(
        {"condition": list("aabbb"), "animal": list("12344"), "x": [1.0, 2, 3, 4, 6], "t": list("vwxyz")}
    )
    assert mn.compare_conditions(table, "x").animals.sd.isna().tolist() == [True, True, True, False]
    with pytest.raises(InputError, match=r"column 't' holds no numbers\. Columns with numbers: x"):
        mn.compare_conditions(table, "t")


def test_pooled_tables_must_not_overwrite_columns() -> None:
    with pytest.raises(InputError, match="has a column 'x' already"):
        mn.pool([({"x": "a"}, pd.DataFrame({"x": [1]}))])
