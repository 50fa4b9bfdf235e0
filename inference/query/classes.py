"""Which class a row is of, by a model that classes make rows in."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from inference.asking import asking, placed
from inference.data import as_rows, check_data
from inference.importance import blocks, log_weights
from inference.protocols import Classed, ClassEnergy, offers
from inference.query.answer import Answer
from inference.query.estimates import by_row, labelled, reliability
from inference.query.latent import UNFIT, checked
from inference.query.question import Question


def answers(question: Question) -> bool:
    asked = question.targets == ("y",) and set(question.given) == {"x"} and not question.do
    return asked and question.context is None and offers(question.model, Classed)


def answers_summed(question: Question) -> bool:
    asked = question.targets == ("y",) and set(question.given) == {"x"} and not question.do
    return asked and question.context is None and offers(question.model, ClassEnergy)


def summed(question: Question) -> Answer:
    """p(y | x) of each row x, without its class, by the free energies of the classes."""
    model = question.model
    x = placed(model, as_rows(question.given["x"]).x)
    width = model.event_shape[0] - model.classes
    if x.shape[1:] != (width,) or not bool(((x == 0) | (x == 1)).all()):
        raise ValueError(f"x must be rows of {width} zeros and ones, without their class, to ask for it")
    with asking(model, question.seed):
        found = model.class_logits(x).softmax(1)
    values = labelled(found, "y", "class", range(model.classes)).rename("probability")
    return Answer(str(question), {"y": values}, "the free energies of the classes", "exact")


def answer(question: Question) -> Answer:
    """p(y | x) of each row, [N, classes]: p(y) p(x | y) by Bayes' rule, p(x | y) by importance weights.

    It is the model's own; the classifier q(y | x) that a fit taught beside it is `model.classifier(x)`.
    """
    model, draws = question.model, question.draws
    rows = as_rows(question.given["x"], model)
    x = placed(model, rows.x)
    check_data(model, x, torch.full((len(x),), -1, device=x.device), rows.columns)
    _, step = blocks(draws, len(x), draws * x[0].numel())
    with asking(model, question.seed):
        log_w = torch.cat([_weights(question, x[i : i + step], i) for i in range(0, len(x), step)], -1)
    joint = log_w.logsumexp(1) - math.log(draws)
    values = labelled(joint.softmax(0).mT, "y", "class", range(model.classes)).rename("probability")
    trust, warned = reliability(log_w.flatten(0, 1), UNFIT)
    method = f"Bayes' rule, importance sampling with {draws} draws a row and class"
    return Answer(str(question), {"y": values}, method, "estimate", by_row(joint.logsumexp(0)), trust, warned)


def _weights(question: Question, x: Tensor, start: int) -> Tensor:
    """log p(y) p(x, z | y) / q(z | x, y) of each class's draws, [K, draws, N]."""
    model, log_prior = question.model, question.model.class_prior().logits.double()
    found = []
    for y in range(model.classes):
        given = torch.full((len(x),), y, device=x.device)
        found.append(log_prior[y] + checked(log_weights(model, x, given, question.draws).log_weights.double(), start))
    return torch.stack(found)
