"""What ranks say of an inference, in numbers and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.special import chdtr, chdtrc, chdtri, ndtr, ndtri

from inference.calibration.ranking import Ranks
from inference.calibration.uniformity import ecdf_p_value, holm
from inference.diagnostics.health import listed

LEVEL = 0.01
"""How often code that is right is called wrong, over all quantities together."""
INTERVALS = (0.5, 0.8, 0.9, 0.95)
"""The central intervals whose coverage is told."""
FEW = 20
"""Fewer effective draws than these are an illness of their own."""
SEEN = 0.9
"""How surely an error is found that is said to be one that would have been found."""
TESTS = 3
"""Of each quantity: the mean of the ranks, their spread, and the ECDF's band."""
UNIFORM = "uniform"
ILLNESSES = ("too narrow", "too wide", "biased upwards", "biased downwards", "of the wrong shape")


@dataclass(frozen=True)
class Verdict:
    """Sentences, those of them that are alarms by the illness, and the numbers of each quantity."""

    table: pd.DataFrame
    sentences: list[str] = field(default_factory=list)
    alarms: dict[str, str] = field(default_factory=dict)

    def alarm(self, illness: str, sentence: str) -> None:
        self.sentences.append(sentence)
        self.alarms[illness] = sentence


def judge(
    names: Sequence[str],
    ranks: Ranks,
    truth: np.ndarray,
    tests: np.ndarray,
    failed: Mapping[int, str],
    warned: Mapping[str, int],
) -> Verdict:
    """The verdict on the ranks of quantities with the true values truth [S, Q], some of them test quantities, tests [Q].

    `failed` says what went wrong with data sets that have no ranks, `warned` how many posteriors had alarms of a kind.
    """
    verdict = Verdict(table_of(names, ranks, truth))
    data_sets = len(ranks.pit)
    own, asked = verdict.table[~tests], verdict.table[tests]
    _on_correlation(verdict, ranks)
    for illness in ILLNESSES:
        ill = own[own["found"].str.contains(illness, regex=False)]
        if len(ill):
            verdict.alarm(illness, _told(illness, ill, len(names)))
    _on_tests(verdict, own, asked[asked["found"] != UNIFORM], len(names))
    if failed:
        first = next(iter(failed))
        verdict.alarm(
            "failed",
            f"The inference failed on {len(failed)} of {data_sets + len(failed)} data sets, which are left out: the rest "
            f"may look better than they are. Data set {first}: {failed[first]}",
        )
    for illness, count in warned.items():
        verdict.sentences.append(f"The inference warned of {illness!r} in {count} of {data_sets} posteriors.")
    if (verdict.table["found"] == UNIFORM).all():
        verdict.sentences.insert(0, _uniform(verdict.table, data_sets))
    verdict.sentences.append(_on_coverage(verdict.table, data_sets))
    return verdict


def table_of(names: Sequence[str], ranks: Ranks, truth: np.ndarray) -> pd.DataFrame:
    """A row a quantity.

    `bias` is in posterior sds, positive where draws lie above the truth; `width` the posterior's sd over the right one;
    `p` the least of three p-values (mean, spread, ECDF), times three; `p_adjusted` that over all quantities.
    """
    scores = ndtri(ranks.pit)
    tests = np.array([_tests(u) for u in ranks.pit.T])
    p = np.minimum(1.0, TESTS * tests.min(1))
    slow = _thinned_much(ranks)
    as_came = np.full(len(p), np.nan)
    as_came[slow] = [min(1.0, TESTS * min(_tests(u))) for u in ranks.pit_as_came.T[slow]]
    adjusted = holm(np.concatenate([p, as_came[slow]]))
    as_came[slow] = adjusted[len(p) :]
    table = pd.DataFrame(
        {
            "p": p,
            "p_adjusted": adjusted[: len(p)],
            "p_as_came": as_came,
            "bias": -scores.mean(0),
            "width": 1 / scores.std(0, ddof=1),
            **{_column(level): (np.abs(ranks.pit - 0.5) <= level / 2).mean(0) for level in INTERVALS},
            "z_score": _divided(ranks.mean - truth, ranks.sd).mean(0),
            "contraction": 1 - np.median(ranks.sd, 0) ** 2 / truth.var(0),
            "effective": np.median(ranks.effective, 0),
            "ranked": np.median(ranks.ranked, 0),
        },
        index=pd.Index(names, name="quantity"),
    )
    bad = table["p_adjusted"].to_numpy() <= LEVEL
    table["found"] = [_found(*each) if each[0] else UNIFORM for each in zip(bad, tests, scores.T, strict=True)]
    return table


def seen(data_sets: int, quantities: int) -> tuple[float, float]:
    """The least bias, in posterior sds, and the greatest sd below one, over the right one, that are found surely enough."""
    rare = LEVEL / (TESTS * quantities)
    bias = (-ndtri(rare / 2) + ndtri(SEEN)) / math.sqrt(data_sets)
    freedom = data_sets - 1
    return bias, math.sqrt(chdtri(freedom, SEEN) / chdtri(freedom, rare / 2))


def _tests(u: np.ndarray) -> tuple[float, float, float]:
    """p-values of the mean and of the spread of the normal scores, both exact and independent, and of the ECDF."""
    scores = ndtri(u)
    squares, freedom = np.square(scores - scores.mean()).sum(), len(u) - 1
    mean = 2 * ndtr(-abs(scores.mean()) * math.sqrt(len(u)))
    spread = min(1.0, 2 * min(chdtr(freedom, squares), chdtrc(freedom, squares)))
    return float(mean), float(spread), ecdf_p_value(u)


def _found(_: bool, tests: np.ndarray, scores: np.ndarray) -> str:
    found = []
    if tests[1] <= LEVEL:
        found.append("too narrow" if scores.std() > 1 else "too wide")
    if tests[0] <= LEVEL:
        found.append("biased upwards" if scores.mean() < 0 else "biased downwards")
    return ", ".join(found or ["of the wrong shape"])


def _told(illness: str, ill: pd.DataFrame, of: int) -> str:
    worst = ill.sort_values("p_adjusted")
    first = worst.iloc[0]
    amount = {
        "too narrow": f"the sd of {worst.index[0]} is {first['width']:.2f} of the right one",
        "too wide": f"the sd of {worst.index[0]} is {first['width']:.2f} of the right one",
        "of the wrong shape": f"the ranks of {worst.index[0]} are neither shifted nor spread, but not uniform",
    }.get(illness, f"draws of {worst.index[0]} lie {abs(first['bias']):.2f} posterior sd off")
    return (
        f"The posterior is {illness} for {listed(list(map(str, worst.index)), 4)} ({_p(first['p_adjusted'])} over "
        f"{of} quantities): {amount}, and its 90 % intervals hold the truth {first['within_90']:.0%} of the time."
    )


def _on_tests(verdict: Verdict, own: pd.DataFrame, ill: pd.DataFrame, of: int) -> None:
    """What shows in quantities that read the data too, above all where the latents' own ranks do not show it."""
    if ill.empty:
        return
    told = [f"{name} ({row['found']}, {_p(row['p_adjusted'])})" for name, row in ill.iterrows()]
    hidden = (own["found"] == UNIFORM).all()
    verdict.alarm(
        "test quantities",
        f"Over {of} quantities, the ranks of test quantities are not uniform: {listed(told, 4)}."
        + (" The latents' own ranks do not show it: does the inference use all of the data?" if hidden else ""),
    )


def _on_correlation(verdict: Verdict, ranks: Ranks) -> None:
    """Draws that mislead whoever takes them as independent, while those that are far enough apart do not."""
    table = verdict.table
    of = int(np.median(ranks.draws))
    misled = (table["p_as_came"] <= LEVEL) & (table["p_adjusted"] > LEVEL)
    few = (table["effective"] < FEW) & (table["effective"] < of / 2)
    ill = table[misled | few].sort_values("effective")
    if ill.empty:
        return
    name, worst = ill.index[0], ill.iloc[0]
    verdict.alarm(
        "draws are correlated",
        f"The draws are correlated for {listed(list(map(str, ill.index)), 4)}: {of} draws of {name} are worth "
        f"{worst['effective']:.0f} independent ones (median over the data sets), too few to be taken as what they are "
        f"counted as ({_p(worst['p_as_came'])} for the ranks among all of them). Draw longer, or thin more.",
    )


def _uniform(table: pd.DataFrame, data_sets: int) -> str:
    bias, width = seen(data_sets, len(table))
    return (
        f"Uniform: nothing found in the ranks of {len(table)} quantities over {data_sets} data sets (least adjusted p "
        f"{table['p_adjusted'].min():.2g}). So many simulations would have seen a bias of {bias:.2f} posterior sd, or an "
        f"sd of {width:.2f} of the right one, {SEEN:.0%} of the time."
    )


def _on_coverage(table: pd.DataFrame, data_sets: int) -> str:
    parts = []
    for level in INTERVALS:
        found = table[_column(level)]
        span = f" to {found.max():.0%}" if len(found) > 1 else ""
        parts.append(f"{level:.0%}: {found.min():.0%}{span}")
    error = math.sqrt(0.9 * 0.1 / data_sets)
    return f"Central intervals hold the truth, {', '.join(parts)} of the time (the error at 90 % is {error:.1%})."


def _column(level: float) -> str:
    return f"within_{100 * level:.0f}"


def _thinned_much(ranks: Ranks) -> np.ndarray:
    """Of which quantities fewer than half as many draws are effective as there are to be ranked, [Q]."""
    return np.median(ranks.effective / ranks.draws, 0) < 0.5


def _divided(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)


def _p(value: float) -> str:
    return f"p = {value:.2g}" if value >= 1e-4 else "p < 0.0001"
