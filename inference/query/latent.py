"""Questions about what lies behind the rows: a mixture's component in closed form, latents by importance."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyro
import torch
import xarray as xr
from torch import Tensor

from inference.protocols import Density, Latent, Pair
from inference.query.answer import Answer
from inference.query.question import Question
from inference.query.seeds import seeded

GOOD_K = 0.7
"""Above this Pareto shape a mean has no usable error: Vehtari et al., https://arxiv.org/abs/1507.02646"""


@runtime_checkable
class Components(Protocol):
    """A mixture: the probability of each component given each row, [N, K]."""

    def posterior(self, x: Tensor) -> Tensor: ...


def answers_component(question: Question) -> bool:
    asked = question.targets == ("component",) and set(question.given) == {"x"} and not question.do
    return asked and isinstance(question.model, Components)


@torch.no_grad()
def component(question: Question) -> Answer:
    """p(component | x) of each row, by Bayes' rule."""
    x, model, context = question.rows(), question.model, question.context
    probability = model.posterior(x) if context is None else model.posterior(x, context=context)
    array = xr.DataArray(
        _numpy(probability),
        dims=("row", "component"),
        coords={"row": np.arange(len(x)), "component": np.arange(probability.shape[1])},
        name="probability",
    )
    evidence = _by_row(model.log_prob(x, context=context)) if isinstance(model, Density) else None
    return Answer(str(question), {"component": array}, "Bayes' rule in closed form", "exact", evidence)


def answers_latent(question: Question) -> bool:
    if question.do or set(question.given) != {"x"} or not isinstance(question.model, Pair):
        return False
    return set(question.targets) <= set(sites(question))


def sites(question: Question) -> list[str]:
    """The latent variables that a pair's guide proposes."""
    model = question.model
    if isinstance(model, Latent):
        return ["z"]
    # no density to weigh draws with, so no proposal either
    if not isinstance(model, Pair) or "x" not in question.given or getattr(model, "likelihood", "") is None:
        return []
    with seeded(question.seed, model):
        trace = pyro.poutine.trace(model.guide).get_trace(question.rows(), context=question.context)
    return [name for name in trace.stochastic_nodes if trace.nodes[name]["type"] == "sample"]


@torch.no_grad()
def latent(question: Question) -> Answer:
    """Mean and standard deviation of p(z | x) in each row, by self-normalised importance sampling.

    The guide proposes K draws, weighed by w = p(x, z) / q(z | x): E[z | x] is near sum_k w_k z_k / sum_k w_k.
    "error" is the Monte Carlo standard error of that mean. log_evidence is log mean_k w_k a row, whose
    expectation bounds log p(x) from below: Importance Weighted Autoencoders (Burda et al., 2015),
    https://arxiv.org/abs/1509.00519
    """
    from inference.importance import log_weights

    with seeded(question.seed, question.model):
        z, logw = log_weights(question.model, question.rows(), question.context, question.draws)
    logw = logw.double()
    if logw.isnan().any() or (logw.max(0).values == -math.inf).any():
        row = int((logw.isnan().any(0) | (logw.max(0).values == -math.inf)).nonzero()[0])
        raise ValueError(
            f"row {row} has no draw of positive probability among {question.draws}: the guide misses it"
        )
    weights = logw.softmax(0)
    draws = z if isinstance(z, Mapping) else {"z": z}
    values = {target: _moments(draws[target], weights) for target in question.targets}
    evidence = _by_row(logw.logsumexp(0) - math.log(len(logw)))
    reliability, warned = _reliability(logw, weights)
    method = f"importance sampling with the guide, {question.draws} draws a row"
    return Answer(str(question), values, method, "estimate", evidence, reliability, warned)


def _moments(z: Tensor, weights: Tensor) -> xr.DataArray:
    """[rows, *z's shape, 3]: mean, sd and the mean's Monte Carlo error; z is [K, N, ...], weights [K, N]."""
    z = z.double()
    w = weights.reshape(*weights.shape, *[1] * (z.dim() - 2))
    mean = (w * z).sum(0)
    sd = (w * (z - mean).square()).sum(0).sqrt()
    error = (w * (z - mean)).square().sum(0).sqrt()
    statistics = torch.stack([mean, sd, error], -1)
    dims = ["row", *(f"z_dim_{i}" for i in range(z.dim() - 2)), "statistic"]
    coords: dict[str, Any] = {dim: np.arange(size) for dim, size in zip(dims, statistics.shape, strict=True)}
    return xr.DataArray(
        _numpy(statistics), dims=dims, coords=coords | {"statistic": ["mean", "sd", "error"]}, name="value"
    )


def _reliability(logw: Tensor, weights: Tensor) -> tuple[dict[str, Any], tuple[str, ...]]:
    ess = _numpy(1 / weights.square().sum(0))
    k = _pareto(_numpy(logw))
    bad = float((k > GOOD_K).mean())
    reliability = {
        "ess_min": float(ess.min()),
        "ess_median": float(np.median(ess)),
        "pareto_k_max": float(k.max()),
        "pareto_k_bad": bad,
        "ess": _by_row(ess),
        "pareto_k": _by_row(k),
    }
    if not bad:
        return reliability, ()
    text = (
        f"Pareto k is above {GOOD_K} in {bad:.0%} of rows: the guide fits their posterior poorly; "
        "take more draws, or fit it longer"
    )
    return reliability, (text,)


def _pareto(logw: np.ndarray) -> np.ndarray:
    """Pareto shape of the weights of each row; infinite where there are too few draws to tell."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from arviz import psislw

        # equal weights have no tail to fit: the proposal is the posterior
        even = np.ptp(logw, axis=0) < 1e-9
        shapes = np.array([psislw(np.ascontiguousarray(row))[1] for row in logw.T], dtype=float)
    return np.where(even, 0.0, np.where(np.isnan(shapes), np.inf, shapes))


def _by_row(values: Any) -> xr.DataArray:
    array = _numpy(values)
    return xr.DataArray(array, dims=("row",), coords={"row": np.arange(len(array))})


def _numpy(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
