"""Questions about latents that are codes: the probability of each level, not a mean of what has no order."""

from __future__ import annotations

import math

import torch
import xarray as xr
from torch import Tensor
from torch.nn import functional as F

from inference.asking import asking
from inference.importance import blocks, log_weights
from inference.protocols import Coded, Enumerable, offers
from inference.query.answer import Answer
from inference.query.estimates import by_row, labelled, reliability
from inference.query.latent import UNFIT, checked
from inference.query.question import Question


def answers_summed(question: Question) -> bool:
    return answers_weighted(question) and offers(question.model, Enumerable)


def summed(question: Question) -> Answer:
    """p(code i is level l | x) in each row, by Bayes' rule over every value of z."""
    x, model, context = question.rows(), question.model, question.context
    with asking(model, question.seed):
        joint = model.log_joint(x, context)
        chosen = F.one_hot(model.codebook.long(), model.levels).to(joint)
        found = torch.einsum("nk,kcl->ncl", joint.softmax(-1), chosen)
    method = f"Bayes' rule over the {len(chosen)} values of z"
    return Answer(str(question), {"z": _by_level(found)}, method, "exact", by_row(joint.logsumexp(-1)))


def answers_weighted(question: Question) -> bool:
    asked = question.targets == ("z",) and set(question.given) == {"x"} and not question.do
    return asked and offers(question.model, Coded)


def weighted(question: Question) -> Answer:
    """The same by self-normalised importance sampling, with the guide's draws as proposals."""
    x, model, context, draws = question.rows(), question.model, question.context, question.draws
    found, log_ws = [], []
    _, step = blocks(draws, len(x), draws * x[0].numel())
    with asking(model, question.seed):
        for start in range(0, len(x), step):
            part = slice(start, start + step)
            each = log_weights(model, x[part], None if context is None else context[part], draws)
            log_ws.append(checked(each.log_weights.double(), start))
            chosen = F.one_hot(each.z.long(), model.levels).double()
            found.append(torch.einsum("dn,dncl->ncl", log_ws[-1].softmax(0), chosen))
    log_w = torch.cat(log_ws, 1)
    trust, warned = reliability(log_w, UNFIT)
    evidence = by_row(log_w.logsumexp(0) - math.log(draws))
    method = f"importance sampling with the guide, {draws} draws a row"
    return Answer(str(question), {"z": _by_level(torch.cat(found))}, method, "estimate", evidence, trust, warned)


def _by_level(probability: Tensor) -> xr.DataArray:
    return labelled(probability, "z", "level", range(probability.shape[-1])).rename("probability")
