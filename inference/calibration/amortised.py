"""The guide of a Pyro pair held to its model, row by row: a row is a data set, its latent variables are inferred."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from pyro import poutine
from torch import Tensor

from inference.asking import asking
from inference.calibration.study import LOG_LIKELIHOOD, Compared, Question
from inference.diagnostics.predictive import to_numpy
from inference.importance import in_blocks, repeated, row_sums
from inference.protocols import Pair, given_context, name_of, offers


@dataclass(frozen=True)
class Amortised:
    """Rows and their latent variables are drawn from a pair's model, and the latents ranked among draws of its guide.

    Parameters:
        context: of each row, [simulations, ...], for models that need one.
    """

    context: Tensor | None = None

    def answers(self, question: Question) -> Iterator[Compared]:
        model = question.model
        source = model if question.simulate_from is None else question.simulate_from
        for each in (model, source):
            if not offers(each, Pair):
                raise TypeError(f"Amortised is for a pair, model and guide over rows, and {name_of(each)} is none")
        with asking(source, question.seed):
            truth, x = _simulated(source, question.simulations, self.context)
        with asking(model, question.seed + 1):
            yield from self._ranked(question, truth, x)

    def _ranked(self, question: Question, truth: dict[str, Tensor], x: Tensor) -> Iterator[Compared]:
        for rows, weighted in in_blocks(question.model, x, self.context, question.draws):
            drawn = [block.latents for block in weighted]
            given = {name: torch.cat([part[name] for part in drawn]) for name in drawn[0] if name in truth}
            if not given:
                raise ValueError(
                    f"{name_of(question.model)} has none of the latents that were simulated: {list(truth)}"
                )
            # the truth is one more draw, the last
            both = {name: torch.cat([value, truth[name][rows][None]]) for name, value in given.items()}
            context = None if self.context is None else self.context[rows]
            found = {name: to_numpy(value) for name, value in both.items()}
            if len(given) == len(drawn[0]):
                found[LOG_LIKELIHOOD] = to_numpy(_log_likelihood(question.model, both, x[rows], context))
            for i, row in enumerate(x[rows]):
                one = {name: value[:, i] for name, value in found.items()}
                for name, statistic in question.statistics.items():
                    latents = {site: value[:, i] for site, value in both.items()}
                    one[name] = to_numpy(torch.as_tensor(statistic(latents, {"x": row})))
                yield Compared(
                    {name: value[-1] for name, value in one.items()},
                    {name: value[None, :-1] for name, value in one.items()},
                    tuple(given),
                )


def _simulated(model: Pair, rows: int, context: Tensor | None) -> tuple[dict[str, Tensor], Tensor]:
    """The latents of rows drawn from the model, {name: [rows, ...]}, and the rows."""
    trace = poutine.trace(given_context(model.model, context)).get_trace(n=rows)
    values = {name: trace.nodes[name]["value"] for name in trace.stochastic_nodes if name in trace}
    values = {name: value for name, value in values.items() if type(trace.nodes[name]["fn"]).__name__ != "_Subsample"}
    x = values.pop("x", None)
    if x is None or not values:
        raise ValueError(f"{name_of(model)} draws no latent variable beside the rows 'x': there is nothing to infer")
    return values, x


def _log_likelihood(model: Pair, latents: dict[str, Tensor], x: Tensor, context: Tensor | None) -> Tensor:
    """log p(x | latents) of latents [K, N, ...] for rows x [N, ...], [K, N] nats."""
    draws = len(next(iter(latents.values())))
    flat = {name: value.flatten(0, 1) for name, value in latents.items()}
    given = poutine.condition(given_context(model.model, repeated(context, draws)), data=flat)
    trace = poutine.trace(given).get_trace(repeated(x, draws))
    trace.compute_log_prob(lambda name, site: name == "x")
    return row_sums("x", trace.nodes["x"], draws * len(x)).view(draws, len(x))
