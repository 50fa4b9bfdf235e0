"""Which numbers of a latent code say anything about x.

References:
    Importance Weighted Autoencoders (Burda, Grosse and Salakhutdinov, 2016), https://arxiv.org/abs/1509.00519
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from pyro import poutine
from torch import Tensor

from inference.importance import row_sums
from inference.protocols import Pair, given_context

ACTIVE = 0.01


def unit_variance(z: np.ndarray) -> np.ndarray:
    """The variance over rows of E_q[z | x], for each unit, from draws [draws, rows, units].

    The mean of K draws has a variance of its own, var_q / K, which is taken off: else every unit of a
    collapsed code would seem active at a hundred draws.
    """
    draws = len(z)
    between = z.mean(0).var(0, ddof=1)
    within = z.var(0, ddof=1).mean(0) if draws > 1 else np.zeros(z.shape[2])
    return np.maximum(between - within / draws, 0.0)


def active_units(z: np.ndarray) -> np.ndarray:
    """Whether each unit is active: its mean varies over rows by more than 0.01 (Burda et al., 2016)."""
    return unit_variance(z) > ACTIVE


def divergences(model: Pair, x: Tensor, context: Tensor | None) -> tuple[dict[str, Tensor], Any]:
    """log q - log p of each latent variable at a draw of the guide, name -> [N], whose mean is its KL; and p(x | z).

    Of a variable among several it is the KL given those before it. Those that the model draws before a variable and the
    guide after it are added to it, as the prior of a hierarchy's lowest code is known with them alone: it is their KL
    together, which is no less than its own.
    """
    guide = poutine.trace(given_context(model.guide, context)).get_trace(x)
    with poutine.replay(trace=guide):
        trace = poutine.trace(given_context(model.model, context)).get_trace(x)
    guide.compute_log_prob()
    trace.compute_log_prob()
    gaps = {}
    for name in guide.stochastic_nodes:
        frames = guide.nodes[name]["cond_indep_stack"]
        if name in trace and "log_prob" in guide.nodes[name] and any(frame.name == "data" for frame in frames):
            gaps[name] = row_sums(name, guide.nodes[name], len(x)) - row_sums(name, trace.nodes[name], len(x))
    drawn, told = list(gaps), [name for name in trace.nodes if name in gaps]
    later = {name: set(drawn[drawn.index(name) :]) & set(told[: told.index(name) + 1]) for name in gaps}
    gaps = {name: torch.stack([gaps[each] for each in others]).sum(0) for name, others in later.items()}
    return gaps, trace.nodes.get("x", {}).get("fn")


def is_discrete(distribution: Any) -> bool:
    try:
        return bool(distribution.support.is_discrete)
    except (AttributeError, NotImplementedError):  # a distribution that does not say
        return False


def scale_of(distribution: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    """The standard deviation of each number of x given z, [rows, columns]; None where it is not known."""
    for name in ("stddev", "scale"):
        try:
            scale = getattr(distribution, name)
        except (AttributeError, NotImplementedError):
            continue
        return scale.expand(shape).flatten(1).double().cpu().numpy()
    return None
