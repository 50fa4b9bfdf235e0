"""Questions to a spread: who began it, whom it has reached unseen, and what becomes of it, also where one steps in.

query(spread, "source", given={"infected": labels, "step": 8})  who began it, a probability a node
query(spread, "infected", given={...})                          whom it has reached, of those not seen
query(spread, "total", given={"I": labels}, do={"cut": edges})  what becomes of it: a mean, with an interval

Of nodes that `given` does not name: asked who began it, they were seen and not reached; asked whom it has reached,
nothing was seen of them. With "seen", the nodes that were looked at, both read the same. Asked what becomes of it,
`given` is who begins it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from inference.protocols import Epidemic, OnGraph, name_of, offers
from inference.query.answer import Answer
from inference.query.question import Question
from inference.spread.population import outbreak_of

KINDS = ("exact", "estimate", "approximation")
"""From the strictest on: several answers together are of the last that one of them is of."""


def asked(model: Any) -> bool:
    return offers(model, OnGraph) or offers(model, Epidemic)


def answers(question: Question) -> bool:
    """Whether it is asked of a spread, or of what was found of one, what an intervention does to it."""
    return asked(question.model) or (bool(question.do) and outbreak_of(question.model) is not None)


def answer(question: Question) -> Answer:
    """An answer for each target, by what is made for it; the question is told as it was asked.

    Raises:
        ValueError: a context, a joint target, or who began a spread in a population that is mixed.
    """
    model = question.model
    if question.context is not None:
        raise ValueError(f"{name_of(model)} takes no context: give what was seen in `given`")
    found = [_of_one(question, target) for target in question.targets]
    first = found[0]
    if len(found) > 1:
        first = replace(
            first,
            values={name: value for each in found for name, value in each.values.items()},
            method="; ".join(dict.fromkeys(each.method for each in found)),
            kind=max((each.kind for each in found), key=KINDS.index),
            reliability={k: v for each in found for k, v in each.reliability.items()},
            warnings=tuple(dict.fromkeys(text for each in found for text in each.warnings)),
        )
    return replace(first, question=str(question))


def _of_one(question: Question, target: Any) -> Answer:
    model = question.model
    if isinstance(target, tuple):
        raise ValueError(f"a spread answers for each target by itself, not for {', '.join(map(str, target))} together")
    if target in ("source", "infected"):
        if not offers(model, OnGraph):
            raise ValueError(f"{name_of(model)} has no graph, so that no one node is its {target!r}")
        if question.do:
            raise ValueError(f"{target!r} is a matter of what has happened, which do() can't change: leave it out")
        if target == "source":  # imported here: what answers is made of `Answer`, and so of this package
            from inference.spread.source import source

            return source(model, question.given, question.seed)
        from inference.spread.history import unseen

        return unseen(model, question.given, question.seed)
    from inference.spread.outcome import outcome

    return outcome(model, target, question.given, question.do, question.seed, draws=question.draws)
