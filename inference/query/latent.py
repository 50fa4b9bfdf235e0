"""Questions about what lies behind the rows: in closed form where a model has one, else by importance."""

from __future__ import annotations

import math
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyro
import torch
import xarray as xr
from torch import Tensor

from inference.asking import asking, placed
from inference.data import as_rows, check_known
from inference.importance import blocks, log_weights
from inference.protocols import Conjugate, Density, Latent, Layered, Pair, given_context, has_likelihood, offers
from inference.query.answer import Answer
from inference.query.estimates import as_numpy, by_row, labelled, moments, reliability
from inference.query.question import Question

UNFIT = "the guide fits their posterior poorly; take more draws, or fit it longer"


@runtime_checkable
class Components(Protocol):
    """A mixture: the probability of each component given each row, [N, K]; of a chain at each step, [N, T, K]."""

    def posterior(self, x: Tensor) -> Tensor: ...


def answers_component(question: Question) -> bool:
    asked = question.targets == ("component",) and set(question.given) == {"x"} and not question.do
    return asked and isinstance(question.model, Components) and not offers(question.model, Latent)


def component(question: Question) -> Answer:
    """p(component | x) of each row, by Bayes' rule."""
    x, model, context = question.rows(), question.model, question.context
    with asking(model, question.seed):
        probability = model.posterior(x) if context is None else model.posterior(x, context=context)
        log_prob = model.log_prob(x, context=context) if offers(model, Density) else None
    between = [f"x_dim_{i}" for i in range(probability.dim() - 2)]  # a chain has a component at each step
    dims = ["row", *between, "component"]
    coords = {dim: np.arange(size) for dim, size in zip(dims, probability.shape, strict=True)}
    array = xr.DataArray(as_numpy(probability), dims=dims, coords=coords, name="probability")
    evidence = None if log_prob is None else by_row(log_prob)
    return Answer(str(question), {"component": array}, "Bayes' rule in closed form", "exact", evidence)


def answers_conjugate(question: Question) -> bool:
    asked = question.targets == ("z",) and set(question.given) == {"x"} and not question.do
    return asked and offers(question.model, Conjugate)


def conjugate(question: Question) -> Answer:
    """Mean and standard deviation of p(z | x) in each row, in closed form; gaps of x are summed out where that is."""
    model, context = question.model, question.context
    rows = as_rows(question.given["x"], model)
    x = placed(model, rows.x)
    check_known(model, x, context, rows.columns)
    with asking(model, question.seed):
        given = model.posterior(x, context)
        log_prob = model.log_prob(x, context=context)
    values = labelled(torch.stack([given.mean, given.stddev], -1), "z", names=("mean", "sd"))
    return Answer(str(question), {"z": values}, "the posterior in closed form", "exact", by_row(log_prob))


def answers_latent(question: Question) -> bool:
    asked = set(question.given) == {"x"} and not question.do
    if not asked or not offers(question.model, Pair) or not has_likelihood(question.model):
        return False
    return set(question.targets) <= set(sites(question))


def sites(question: Question) -> list[str]:
    """The latent variables of the rows: what a pair's model draws when x is observed."""
    model = question.model
    if offers(model, Latent):
        return list(model.sites) if offers(model, Layered) else ["z"]
    # what has no likelihood can't be run on observed rows
    if not offers(model, Pair) or "x" not in question.given or not has_likelihood(model):
        return []
    with asking(model, question.seed):
        trace = pyro.poutine.trace(given_context(model.model, question.context)).get_trace(question.rows())
    drawn = ((name, trace.nodes[name]["fn"]) for name in trace.stochastic_nodes)
    return [name for name, fn in drawn if type(fn).__name__ != "_Subsample"]  # a plate's own index


def latent(question: Question) -> Answer:
    """Mean and standard deviation of p(z | x) in each row, by self-normalised importance sampling.

    The guide proposes K draws, weighed by w = p(x, z) / q(z | x): E[z | x] is near sum_k w_k z_k / sum_k w_k.
    "error" is the Monte Carlo standard error of that mean. log_evidence is log mean_k w_k a row, whose
    expectation bounds log p(x) from below: Importance Weighted Autoencoders (Burda et al., 2015),
    https://arxiv.org/abs/1509.00519
    """
    x, context, draws = question.rows(), question.context, question.draws
    found: dict[Any, list[Tensor]] = {target: [] for target in question.targets}
    log_ws = []
    # a block of rows at a time, each with all its draws, so that memory does not grow with the data
    _, step = blocks(draws, len(x), draws * x[0].numel())
    with asking(question.model, question.seed):
        for start in range(0, len(x), step):
            part = slice(start, start + step)
            weighted = log_weights(question.model, x[part], None if context is None else context[part], draws)
            log_ws.append(checked(weighted.log_weights.double(), start))
            for target, parts in found.items():
                parts.append(moments(weighted.latents[target].double(), log_ws[-1].softmax(0)))
    log_w = torch.cat(log_ws, 1)
    values = {target: labelled(torch.cat(parts), str(target)) for target, parts in found.items()}
    evidence = by_row(log_w.logsumexp(0) - math.log(draws))
    trust, warned = reliability(log_w, UNFIT)
    method = f"importance sampling with the guide, {draws} draws a row"
    return Answer(str(question), values, method, "estimate", evidence, trust, warned)


def checked(log_w: Tensor, start: int) -> Tensor:
    lost = log_w.isnan().any(0) | (log_w.max(0).values == -math.inf)
    if lost.any():
        row = start + int(lost.nonzero()[0])
        raise ValueError(
            f"row {row}: none of {len(log_w)} draws of the guide can explain it; fit the guide, or ask for more"
        )
    return log_w
