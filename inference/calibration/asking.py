"""`calibration`: simulation-based calibration of any inference, for any Pyro program.

References:
    Validating Bayesian Inference Algorithms with Simulation-Based Calibration (Talts et al., 2018),
    https://arxiv.org/abs/1804.06788
    Simulation-Based Calibration Checking for Bayesian Computation: The Choice of Test Quantities Shapes Sensitivity
    (Modrák et al., 2023), https://arxiv.org/abs/2211.02383
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from tqdm import tqdm

from inference.calibration.ranking import Ranks, ranks
from inference.calibration.result import Calibration
from inference.calibration.study import OneByOne, Question, Statistic
from inference.calibration.verdict import judge
from inference.diagnostics.coordinates import Coordinates
from inference.protocols import name_of

LEAST = 20
"""Fewer simulations than these tell nothing."""


def calibration(
    model: Any,
    data: Any = None,
    *,
    by: Any,
    simulations: int = 200,
    draws: int = 200,
    statistics: Mapping[str, Statistic] | None = None,
    simulate_from: Any = None,
    seed: int = 0,
    progress: bool = True,
) -> Calibration:
    """Draw latents and data from a program's prior, infer the latents from each data set, and rank the true values.

    Where program and inference are right, a true value is as one more draw of its posterior: its rank is uniform.

    Parameters:
        model, data: a Pyro program and what it is called with; the observed values are drawn anew.
        by: the inference: `by(program, data, seed=...)` gives a Posterior or draws {name: [chains, draws, ...]}, as
            `mcmc` and `laplace` do; `data` has the simulated values by the names of their sites. Draws that have
            weights are resampled by them. Or `AllAtOnce(...)`: chains for all data sets in one batch.
        draws: of each posterior at most so many are ranked, or fewer, where fewer are effective.
        statistics: more quantities to be ranked, beside each latent and the log likelihood:
            name -> function (latents {name: [n, ...]}, data) -> [n, ...].
        simulate_from: the program that is true, where it is not the one that is asked.
    """
    if simulations < LEAST:
        raise ValueError(f"simulations is {simulations}, and fewer than {LEAST} tell nothing: 200 is a good number")
    began = time.perf_counter()
    question = Question(model, data, simulations, draws, dict(statistics or {}), simulate_from, seed)
    answers = by.answers(question) if hasattr(by, "answers") else OneByOne(by).answers(question)
    rng = np.random.default_rng([seed, simulations])
    truths, found = [], []
    for each in tqdm(answers, total=simulations, disable=None if progress else True, desc="calibration", leave=False):
        given = Coordinates.of_draws(each.draws)
        found.append(ranks(_stacked([each.truth]).values[0, 0], given.values, draws, rng))
        truths.append(each.truth)
    truth, every = _stacked(truths), Ranks.stacked(found)
    tests = np.ones(len(truth.names), dtype=bool)
    for name in each.latents:
        tests[truth.of[name]] = False
    verdict = judge(truth.names, every, truth.values[0], tests, question.failed, question.warned)
    seconds = time.perf_counter() - began
    name = str(getattr(model, "__name__", getattr(model, "name", name_of(model))))
    return Calibration(name, verdict.sentences, verdict.alarms, verdict.table, every, truth, seconds, question.plates)


def _stacked(truths: list[dict[str, np.ndarray]]) -> Coordinates:
    """True values {name: [*shape]} of several data sets, [1, S, Q]."""
    return Coordinates.of_draws({name: np.stack([truth[name] for truth in truths])[None] for name in truths[0]})
