"""Hidden Markov models beside hmmlearn's as it comes, its faster setting, and Pyro's DiscreteHMM.

One row of 10,000 steps of two numbers, diagonal normals, float64, from the same start; EM is five steps. hmmlearn's
default works on logarithms; "scaling" is the option of its that is fastest, measured without a goal of its own.
"""

from __future__ import annotations

import logging
import statistics
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from hmmlearn.hmm import GaussianHMM
from torch import Tensor

from benchmarks.common import Row, alternate, ratio
from inference.em import em
from zoo.hidden_markov import HiddenMarkov

STEPS, FLOOR, EM_STEPS = 10_000, 1e-12, 5
EM_GOALS = {8: 0.60, 16: 0.30, 32: 0.30}


class Task:
    """What both start from, and the row that both are given."""

    def __init__(self, states: int) -> None:
        draws = np.random.default_rng(0)
        move = np.full((states, states), 0.1 / (states - 1))
        np.fill_diagonal(move, 0.9)
        means, scales = draws.normal(0, 3, (states, 2)), np.exp(draws.normal(0, 0.3, (states, 2)))
        path = np.zeros(STEPS, int)
        for t in range(1, STEPS):
            path[t] = draws.choice(states, p=move[path[t - 1]])
        self.x = means[path] + scales[path] * draws.normal(size=(STEPS, 2))
        self.states = states
        self.start = np.full(states, 1 / states)
        self.move = 0.5 * draws.dirichlet(np.full(states, 2.0), states) + 0.5 * move
        self.means = means + draws.normal(0, 0.5, means.shape)
        self.variances = np.full_like(means, 1.5)

    @property
    def row(self) -> Tensor:
        return torch.tensor(self.x)[None]

    def ours(self) -> HiddenMarkov:
        model = HiddenMarkov((STEPS, 2), states=self.states, floor=FLOOR).double()
        with torch.no_grad():
            model.start_logits.copy_(torch.tensor(self.start).log())
            model.move_logits.copy_(torch.tensor(self.move).log())
            model.emission.means.copy_(torch.tensor(self.means))
            model.emission.log_scales.copy_(0.5 * torch.tensor(self.variances).log())
        return model

    def peer(self, implementation: str = "log") -> GaussianHMM:
        """Without its prior on variances, which EM by likelihood alone does not have."""
        prior = {"covars_prior": 0, "covars_weight": 1, "min_covar": FLOOR}
        made = {"n_iter": EM_STEPS, "tol": -np.inf, "init_params": "", "implementation": implementation}
        model = GaussianHMM(self.states, covariance_type="diag", **prior, **made)
        model.startprob_, model.transmat_ = self.start, self.move
        model.means_, model.covars_ = self.means, self.variances
        return model

    def pyro(self) -> Any:
        normal = dist.Normal(torch.tensor(self.means), torch.tensor(self.variances).sqrt()).to_event(1)
        return dist.DiscreteHMM(torch.tensor(self.start).log(), torch.tensor(self.move).log(), normal)


def climb(task: Task) -> np.ndarray:
    """The likelihood before each of five steps: hmmlearn's makes the last step after it has looked."""
    found = em(task.ours(), task.row, steps=EM_STEPS, tolerance=0, start=False, progress=False)
    return found.history.log_likelihood.to_numpy()[:EM_STEPS]


def figures(states: int, rounds: int) -> list[Row]:
    task = Task(states)
    row, ours, peer = task.row, task.ours(), task.peer()
    steps = alternate(
        {
            "ours": lambda: climb(task),
            "hmmlearn": lambda: task.peer().fit(task.x),
            "scaling": lambda: task.peer("scaling").fit(task.x),
        },
        rounds,
    )
    with torch.no_grad():
        scores = alternate(
            {
                "ours": lambda: [ours.log_prob(row) for _ in range(3)],
                "hmmlearn": lambda: [peer.score(task.x) for _ in range(3)],
                "pyro": lambda: [task.pyro().log_prob(row[0]) for _ in range(3)],
            },
            rounds,
        )
    trace = np.array(task.peer().fit(task.x).monitor_.history)
    gap = float(np.abs(climb(task) / trace - 1).max())
    name = f"hmm_{states}"
    extra = statistics.median(steps["scaling"]) / statistics.median(steps["hmmlearn"])
    return [
        Row(f"{name}_em", ratio(steps, "ours", "hmmlearn"), EM_GOALS[states], "lower", "hmmlearn"),
        Row(f"{name}_em_scaling", ratio(steps, "ours", "scaling"), 1.0, "lower", f"at {extra:.2f}x hmmlearn's own"),
        Row(f"{name}_log_prob", ratio(scores, "ours", "hmmlearn"), 1.0, "lower", "hmmlearn"),
        Row(f"{name}_log_prob_pyro", ratio(scores, "ours", "pyro"), 0.30, "lower", "Pyro's DiscreteHMM"),
        Row(f"{name}_em_trace_gap", gap, 1e-9, "lower", "hmmlearn"),
    ]


def rows(rounds: int) -> list[Row]:
    logging.getLogger("hmmlearn").setLevel(logging.CRITICAL)  # that five steps do not converge
    return [row for states in EM_GOALS for row in figures(states, rounds)]
