"""What ranks say of an inference, in numbers and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from inference.calibration.ranking import Ranks
from inference.calibration.scoring import INTERVALS, LEVEL, SEEN, UNIFORM, column, seen, table_of
from inference.diagnostics.health import listed

FEW = 20
"""Fewer effective draws than these are an illness of their own."""
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
    """The verdict on the ranks of quantities with the true values truth [S, Q]; tests [Q], which are test quantities.

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
            f"The inference failed on {len(failed)} of {data_sets + len(failed)} data sets, which are left out: the "
            f"rest may look better than they are. Data set {first}: {failed[first]}",
        )
    for illness, count in warned.items():
        verdict.sentences.append(f"The inference warned of {illness!r} in {count} of {data_sets} posteriors.")
    if (verdict.table["found"] == UNIFORM).all():
        verdict.sentences.insert(0, _uniform(verdict.table, data_sets))
    verdict.sentences.append(_on_coverage(verdict.table, data_sets))
    return verdict


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
        f"{table['p_adjusted'].min():.2g}). So many simulations would have seen a bias of {bias:.2f} posterior sd, or "
        f"an sd of {width:.2f} of the right one, {SEEN:.0%} of the time."
    )


def _on_coverage(table: pd.DataFrame, data_sets: int) -> str:
    parts = []
    for level in INTERVALS:
        found = table[column(level)]
        span = f" to {found.max():.0%}" if len(found) > 1 else ""
        parts.append(f"{level:.0%}: {found.min():.0%}{span}")
    error = math.sqrt(0.9 * 0.1 / data_sets)
    return f"Central intervals hold the truth, {', '.join(parts)} of the time (the error at 90 % is {error:.1%})."


def _p(value: float) -> str:
    return f"p = {value:.2g}" if value >= 1e-4 else "p < 0.0001"
