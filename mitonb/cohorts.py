"""Conditions compared over several animals: the animals are the sample, the mitochondria of one are not independent."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from mitonb.errors import InputError

Values = npt.NDArray[np.float64]
_EXACT = 20_000  # ways to divide the animals up to which all are tried


def pool(parts: Iterable[tuple[Mapping[str, str], pd.DataFrame]]) -> pd.DataFrame:
    """Put tables of several images or projects below each other, with what is known of each as further columns.

    Parameters
    ----------
    parts : iterable of (dict, DataFrame)
        What an image is of, such as ``{"condition": "control", "animal": "m1"}``, and its table from `measure`.

    Raises
    ------
    InputError
        If there is no table, or one has such a column already.
    """
    tables = []
    for facts, table in parts:
        if taken := [name for name in facts if name in table]:
            raise InputError(f"The table has a column {taken[0]!r} already. Call what is known of the image otherwise.")
        tables.append(table.assign(**facts))
        tables[-1].attrs = {}
    if not tables:
        raise InputError("There is no table to pool. Give pairs of what is known of an image and its table.")
    return pd.concat(tables, ignore_index=True)


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a comparison of conditions found.

    Attributes
    ----------
    value : str
        The column.
    animals : DataFrame
        A row for each animal: condition, animal, number of objects, their mean and standard deviation (NaN of a single
        one); with weights, weighted.
    pairs : DataFrame
        A row for two conditions each: difference of the means over animals (second minus first) with its 95 %
        interval and p-value (Welch 1947), the p-value of a permutation of the animals (NaN for too many), corrected for
        several pairs (Holm 1979) as ``p_holm``; and ``p_objects``, what a test would claim that takes objects for
        independent: for comparison, not for a paper. Of weighted objects as many count as the weights leave (Kish
        1965).
    icc : float
        Share of the variance within conditions that lies between animals, 0 to 1; NaN for one object each.
    """

    value: str
    animals: pd.DataFrame
    pairs: pd.DataFrame
    icc: float

    def __repr__(self) -> str:
        share = f"; {self.icc:.0%} of the variance within conditions lies between animals" if self.icc >= 0 else ""
        said = [f"{self.value}: {len(self.animals)} animals, {self.animals.objects.sum()} objects{share}."]
        said += [
            f"{row.second} - {row.first}: {row.difference:.4g} (95 % {row.low:.4g} to {row.high:.4g}), "
            f"p = {row.p:.3g} over animals (were objects independent, it would be {row.p_objects:.2g})"
            for row in self.pairs.itertuples()
        ]
        return "\n".join(said)


def numbers_of(table: pd.DataFrame, name: str) -> "pd.Series[float]":
    """Return a column of a table as floats.

    Raises
    ------
    InputError
        If it holds anything else.
    """
    try:
        return table[name].astype(float)
    except (TypeError, ValueError):
        known = ", ".join(str(one) for one in table if table[one].dtype.kind in "if")
        raise InputError(f"The column {name!r} holds no numbers. Columns with numbers: {known or 'none'}.") from None


def compare_conditions(
    table: pd.DataFrame, value: str, *, condition: str = "condition", animal: str = "animal",
    weight: str | None = None,
) -> Comparison:  # fmt: skip
    """Compare a measure between conditions, with animals as the sample.

    Mitochondria of one animal resemble each other: a thousand of them are not a thousand answers to whether a treatment
    works. Each animal counts by the mean of its objects, as one number (Lazic 2010).

    Parameters
    ----------
    table : DataFrame
        A row for each object, of all animals; see `pool`.
    value : str
        The column that is compared; rows without a number there are left out.
    condition, animal : str
        The columns that say of which condition and of which animal an object is.
    weight : str, optional
        Weights of the objects of an animal, such as "edge_weight".

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        If a column is missing or holds no numbers, there are fewer than two conditions or than two animals in one, or
        an animal is in two conditions.

    Examples
    --------
    >>> animals = [("wild", "a", 1.0), ("wild", "b", 2.0), ("knock-out", "c", 5.0), ("knock-out", "d", 6.0)]
    >>> rows = [(kind, name, mean + off) for kind, name, mean in animals for off in (-0.5, 0.5)]
    >>> found = compare_conditions(pd.DataFrame(rows, columns=["condition", "animal", "size"]), "size")
    >>> float(found.pairs.difference[0]), round(float(found.pairs.p[0]), 3)
    (4.0, 0.03)
    """
    if missing := [name for name in (value, condition, animal, weight) if name and name not in table]:
        raise InputError(f"The table has no column {missing[0]!r}. It has {', '.join(map(str, table.columns))}.")
    known = table[[condition, animal]].set_axis(["condition", "animal"], axis=1).assign(
        value=numbers_of(table, value), weight=numbers_of(table, weight) if weight else 1.0
    )  # fmt: skip
    known = known[np.isfinite(known.value) & (known.weight > 0)]
    groups = known.groupby(["condition", "animal"], sort=False, observed=True)
    animals = pd.DataFrame(
        [(*names, len(part), *_moments(part)) for names, part in groups],
        columns=["condition", "animal", "objects", "mean", "sd", "counting"],
    )
    counting = animals.pop("counting").to_numpy(float)
    counts = animals.condition.value_counts(sort=False)
    if len(counts) < 2:
        raise InputError(f"A comparison needs two conditions or more with a number for {value}, got {len(counts)}.")
    if counts.min() < 2:
        raise InputError(
            f"{counts.idxmin()} has one animal: what differs between conditions cannot be told from what differs "
            "between animals, however many mitochondria there are. Add animals."
        )
    if (twice := animals.animal[animals.animal.duplicated()]).size:
        raise InputError(f"{twice.iloc[0]} is in two conditions. Give animals names of their own; for pairs before and "
                         "after in one animal, compare the differences by scipy.stats.ttest_rel.")  # fmt: skip
    pairs = pd.DataFrame([_pair(animals, known, a, b) for a, b in combinations(counts.index, 2)])
    order = np.argsort(pairs.p.to_numpy())
    raised = np.maximum.accumulate(pairs.p.to_numpy()[order] * np.arange(len(pairs), 0, -1))
    pairs["p_holm"] = np.minimum(raised, 1)[np.argsort(order)]
    return Comparison(value, animals, pairs, _icc(animals, counting))


def _moments(objects: pd.DataFrame) -> tuple[float, float, float]:
    """Return weighted mean and deviation, and how many objects of equal weight would tell as much (Kish 1965)."""
    values, weights = objects.value.to_numpy(), objects.weight.to_numpy()
    mean, count = np.average(values, weights=weights), weights.sum() ** 2 / (weights**2).sum()
    if len(values) < 2:
        return float(mean), np.nan, 1.0
    spread = np.average((values - mean) ** 2, weights=weights) * count / (count - 1)
    return float(mean), float(np.sqrt(spread)), float(count)


def _pair(animals: pd.DataFrame, objects: pd.DataFrame, a: Any, b: Any) -> dict[str, Any]:
    """Return what two conditions have between them."""
    first, second = (animals["mean"][animals.condition == kind].to_numpy() for kind in (a, b))
    if np.ptp(first) == np.ptp(second) == 0:  # nothing to judge a difference by
        low = high = p = np.nan
    else:
        test = stats.ttest_ind(second, first, equal_var=False)
        (low, high), p = test.confidence_interval(), test.pvalue
    single = [one for kind in (b, a) for one in _moments(objects[objects.condition == kind])]
    return {
        "first": a, "second": b, "difference": second.mean() - first.mean(), "low": low, "high": high, "p": p,
        "p_permutation": _permuted(first, second),
        "p_objects": stats.ttest_ind_from_stats(*single, equal_var=False).pvalue,
    }  # fmt: skip


def _permuted(first: Values, second: Values) -> float:
    """Return how often animals divided otherwise differ as much; NaN where there are too many ways."""
    both, k = np.concatenate([first, second]), len(first)
    if comb(len(both), k) > _EXACT:
        return np.nan
    chosen = np.array(list(combinations(range(len(both)), k)))
    sums = both[chosen].sum(axis=1)
    gaps = np.abs((both.sum() - sums) / len(second) - sums / k)
    return float((gaps >= gaps[0] * (1 - 1e-9)).mean())  # the first way is the one that there was


def _icc(animals: pd.DataFrame, n: Values) -> float:
    """Return the intraclass correlation within conditions, from the analysis of variance of unequal groups."""
    if animals.objects.max() < 2:
        return np.nan  # of one object each nothing lies within
    means = animals["mean"].to_numpy()
    groups = [np.flatnonzero(animals.condition == k) for k in animals.condition.unique()]
    within = float(((n - 1) * animals.sd.fillna(0) ** 2).sum() / max(1.0, (n - 1).sum()))
    middle = np.zeros(len(n))
    for one in groups:
        middle[one] = np.average(means[one], weights=n[one])
    free = len(animals) - len(groups)
    sizes = (n.sum() - sum((n[one] ** 2).sum() / n[one].sum() for one in groups)) / free
    between = max(0.0, (float((n * (means - middle) ** 2).sum() / free) - within) / sizes)
    return between / (between + within) if between + within else 0.0
