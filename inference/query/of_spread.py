"""Questions to a spread: who began it, whom it has reached unseen, and what becomes of it, also where one steps in.

query(spread, "source", given={"infected": labels, "step": 8})  who began it, a probability a node
query(spread, "infected", given={...})                          whom it has reached, of those not seen
query(spread, "total", given={"I": labels}, do={"cut": edges})  what becomes of it: a mean, with an interval
query(outbreak, "peak", given={"cases": cases})                 what a population's cases say, by chains

Of nodes that `given` does not name: asked who began it, they were seen and not reached; asked whom it has reached,
nothing was seen of them. With "seen", the nodes that were looked at, both read the same. Asked what becomes of it,
`given` is who begins it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from inference.program import Program
from inference.protocols import Epidemic, OnGraph, name_of, offers
from inference.query import of_posterior as _of_posterior
from inference.query.answer import Answer
from inference.query.question import Question
from inference.spread.measures import check_target
from inference.spread.population import check_asked, outbreak_of

KINDS = ("exact", "estimate", "approximation")
"""From the strictest on: several answers together are of the last that one of them is of."""
SEEN = ("source", "infected")
"""Targets that are told of what was seen."""


def answers(question: Question) -> bool:
    """Whether it is asked of a spread, or of what was found of one, what an intervention does to it."""
    model = question.model
    if offers(model, OnGraph) or offers(model, Epidemic):
        return True
    return bool(question.do) and outbreak_of(model) is not None


def answer(question: Question) -> Answer:
    """An answer for each target, by what is made for it; the question is told as it was asked.

    Raises:
        ValueError: a context, a joint target, or who began a spread in a population that is mixed.
    """
    model = question.model
    if question.context is not None:
        raise ValueError(f"{name_of(model)} takes no context: give what was seen in `given`")
    by = _given_cases if question.given and offers(model, Epidemic) else _of_each
    return replace(by(question), question=str(question))


def _given_cases(question: Question) -> Answer:
    """The same asked of the posterior of an outbreak, given what was seen of it."""
    from inference.mcmc import mcmc

    name = name_of(question.model)
    if unknown := [key for key in question.given if key != "cases"]:
        raise ValueError(f"{name} says how it begins: 'cases' may be given, and not {unknown[0]!r}")
    program = Program.of(question.model, dict(question.given), seed=question.seed)
    if question.do:
        _check(question)
    elif reason := _of_posterior.unheld(question.targets, program, program.latents):
        raise ValueError(f"{name} can't answer {question}: {reason}")
    posterior = mcmc(program, seed=question.seed, progress=False)
    asked = replace(question, model=posterior, given={})
    return _of_each(asked) if asked.do else _of_posterior.answer(asked)


def _of_each(question: Question) -> Answer:
    """The answers for all targets as one."""
    _check(question)
    found = [_of_one(question, target) for target in question.targets]
    first = found[0]
    if len(found) == 1:
        return first
    return replace(
        first,
        values={name: value for each in found for name, value in each.values.items()},
        method="; ".join(dict.fromkeys(each.method for each in found)),
        kind=max((each.kind for each in found), key=KINDS.index),
        reliability={k: v for each in found for k, v in each.reliability.items()},
        warnings=tuple(dict.fromkeys(text for each in found for text in each.warnings)),
    )


def _check(question: Question) -> None:
    """That each target can be asked of the spread, before any is answered."""
    model = question.model
    for target in question.targets:
        if isinstance(target, tuple):
            told = ", ".join(map(str, target))
            raise ValueError(f"a spread answers for each target by itself, not for {told} together")
        if target in SEEN and not offers(model, OnGraph):
            raise ValueError(f"{name_of(model)} has no graph, so that no one node is its {target!r}")
        if target in SEEN and question.do:
            raise ValueError(f"{target!r} is a matter of what has happened, which do() can't change: leave it out")
        if offers(model, OnGraph):
            check_target(target, tuple(model.compartments.names), bool(question.do), SEEN)
        else:
            check_asked(outbreak_of(model), target, question.do)


def _of_one(question: Question, target: Any) -> Answer:
    model = question.model
    if target == "source":  # imported here: what answers is made of `Answer`, and so of this package
        from inference.spread.source import source

        return source(model, question.given, question.seed)
    if target == "infected":
        from inference.spread.history import CHAINS, unseen

        return unseen(model, question.given, question.seed, draws=-(-question.draws // CHAINS))
    from inference.spread.outcome import outcome

    return outcome(model, target, question.given, question.do, question.seed, draws=question.draws)
