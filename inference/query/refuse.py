"""Why a question can't be answered, and the nearest one that can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from inference.posterior import Posterior
from inference.protocols import (
    Classed,
    Coded,
    Conjugate,
    Density,
    Energy,
    Latent,
    Pair,
    has_likelihood,
    name_of,
    offers,
)
from inference.query import of_posterior
from inference.query.latent import Components, sites
from inference.query.question import Question


def _generates(model: Any) -> bool:
    return hasattr(model, "generate") and not has_likelihood(model)


def _components(question: Question) -> str:
    return (
        "it answers which component a row came from; ask query(model, 'component', given={'x': rows}), or what is "
        "missing of rows that have gaps; ask query(model, 'x', given={'x': rows})"
    )


def _generator(question: Question) -> str:
    return (
        "it turns noise into x and has no density to condition with; ask query(model, 'x') for draws, "
        "or inference.evaluate for their quality"
    )


def _density(question: Question) -> str:
    return (
        "it has no latent variables, and x lacks nothing or is of no kind whose missing cells can be proposed; give "
        "rows with NaN (in codes -1) at what is asked, or ask "
        "inference.log_likelihood for how likely rows are, or query(model, 'x') for draws"
    )


def _energy(question: Question) -> str:
    return (
        "its units condition each other: where they are bits give {'x': rows}, with NaN or -1 at what is asked, and "
        "ask for 'x', or for its hidden units, 'h'; else ask gibbs_step from the given rows, or query(model, 'x') for "
        "draws"
    )


def _latent(question: Question) -> str:
    if question.targets == ("x",) and list(question.given) == ["x"]:
        return (
            "the rows lack nothing; give NaN (in codes -1) at what is asked, or ask query(model, 'x') for draws, or "
            "inference.log_likelihood for how likely rows are"
        )
    known = [*(sites(question) or ["z"]), *(["y"] if offers(question.model, Classed) else [])]
    return f"it answers for its latents {known} given rows; ask query(model, {known[0]!r}, given={{'x': rows}})"


def _point(question: Question) -> str:
    return (
        "its code of a row is a point, which weighs no alternatives; ask encode for the code, anomaly_score for how "
        "well it explains the row, or query(model, 'x') for draws"
    )


def _posterior(question: Question) -> str:
    return of_posterior.objection(question) or "ask for a latent variable, or for an observed site drawn anew"


REASONS: tuple[tuple[Callable[[Any], bool], Callable[[Question], str]], ...] = (
    (lambda model: isinstance(model, Posterior), _posterior),
    (_generates, _generator),
    (lambda model: offers(model, Conjugate) or offers(model, Coded), _latent),
    (lambda model: isinstance(model, Components), _components),
    (lambda model: offers(model, Density), _density),
    (lambda model: offers(model, Energy), _energy),
    (lambda model: offers(model, Latent) and not has_likelihood(model), _point),
    (lambda model: offers(model, Latent) or offers(model, Pair), _latent),
)


def refusal(question: Question) -> Exception:
    """A ValueError with the reason and what to ask instead; a TypeError for what is no model."""
    model = question.model
    for applies, reason in REASONS:
        if applies(model):
            cause = "do() needs a pgmpy graph, whose edges are causes; " if question.do else ""
            return ValueError(f"{name_of(model)} can't answer {question}: {cause}{reason(question)}")
    return TypeError(f"query asks a Pyro pair or a pgmpy graph, not {name_of(model)}")
