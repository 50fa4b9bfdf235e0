"""Data sets drawn from a program's prior, and what posteriors say of the values that they were drawn with."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from inference.calibration.ranking import SERIES, thinned
from inference.diagnostics.health import listed
from inference.diagnostics.predictive import to_numpy
from inference.predictive_draws import pointwise, simulate
from inference.program import Program
from inference.results import Alarm

LOG_LIKELIHOOD = "log likelihood"
Values = dict[str, Tensor]
Statistic = Callable[[Mapping[str, Tensor], Mapping[str, Any]], Any]
"""(latents {name: [n, *shape]}, the data) -> [n, ...]: a number, or several, of each of n draws."""


@dataclass(frozen=True)
class Compared:
    """Of one data set: the true values {name: [*shape]} and draws of their posterior {name: [chains, draws, *shape]}.

    `latents` are the names of those that the program draws; the others are test quantities, which read the data too.
    """

    truth: dict[str, np.ndarray]
    draws: dict[str, np.ndarray]
    latents: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """What `calibration` was asked.

    `failed` collects what an inference said of data sets that it gave up on, `warned` how many posteriors had an alarm,
    and `plates` the plate of each axis of a latent.
    """

    model: Any
    data: Any
    simulations: int
    draws: int
    statistics: Mapping[str, Statistic]
    simulate_from: Any
    seed: int
    failed: dict[int, str] = field(default_factory=dict)
    warned: Counter[str] = field(default_factory=Counter)
    plates: dict[str, tuple[str | None, ...]] = field(default_factory=dict)


class Inference(Protocol):
    """A way to infer from all simulated data sets."""

    def answers(self, question: Question) -> Iterator[Compared]: ...


@dataclass(frozen=True)
class Study:
    """S data sets, as `program` sees them, with the latents {name: [S, *shape]} that each was drawn with.

    The program keeps what densities record of it: it is traced for the first data set, and not for the others.
    """

    question: Question
    program: Program
    truth: Values
    observed: Values
    seeds: list[int]

    @classmethod
    def of(cls, question: Question) -> Study:
        """Simulate from one program the data that another is asked about."""
        program = replace(Program.of(question.model, question.data), recorded={})
        true = question.simulate_from
        source = program if true is None else Program.of(true, question.data)
        _check(program, source)
        question.plates.update({name: site.plates for name, site in program.latents.items()})
        seeds = [int(each) for each in np.random.SeedSequence(question.seed).generate_state(question.simulations + 1)]
        return cls(question, program, *simulate(source, question.simulations, seeds[0]), seeds[1:])

    def seen(self, i: int) -> Program:
        """The program with the i-th data set."""
        return self.program.with_observed({name: values[i] for name, values in self.observed.items()})

    def data(self, i: int) -> dict[str, Any]:
        """The i-th data set: the simulated values by their sites' names, beside what else the model is called with."""
        return {**self.program.arguments[1], **{name: values[i] for name, values in self.observed.items()}}

    def compared(self, i: int, draws: Mapping[str, Any]) -> Compared:
        """Draws [chains, draws, *shape] of the i-th data set's posterior beside its truth, with the test quantities."""
        shared = [name for name in draws if name in self.truth]
        if not shared:
            known, given = listed(sorted(self.truth)), listed(sorted(map(str, draws)))
            raise ValueError(f"`by` gave draws of {given}, and none of the latents that were simulated: {known}")
        kept = {name: torch.as_tensor(thinned(draws[name], SERIES * self.question.draws)).detach() for name in shared}
        chains, length = next(iter(kept.values())).shape[:2]
        # the truth is one more draw, the last
        both = {name: torch.cat([value.flatten(0, 1), self.truth[name][i][None]]) for name, value in kept.items()}
        found = self._quantities(i, both)
        return Compared(
            {name: value[-1] for name, value in found.items()},
            {name: value[:-1].reshape(chains, length, *value.shape[1:]) for name, value in found.items()},
            tuple(shared),
        )

    def asked(self, i: int, by: Callable[..., Any]) -> Iterator[Compared]:
        """What an inference says of the i-th data set; nothing, where it fails."""
        question, seed = self.question, self.seeds[i]
        try:
            with warnings.catch_warnings():  # each posterior's alarms are counted instead
                warnings.simplefilter("ignore", Alarm)
                answer = by(self.seen(i), self.data(i), seed=seed)
            question.warned.update(getattr(answer, "alarms", {}).keys())
            found = self.compared(i, draws_of(answer, seed))
        except (ValueError, ArithmeticError, torch.linalg.LinAlgError) as error:
            question.failed[i] = f"{error}"
            if len(question.failed) > question.simulations / 10:
                often = f"{len(question.failed)} of the first {i + 1} data sets"
                raise ValueError(f"`by` failed on {often}, the last time with: {error}") from error
            return
        yield found

    def _quantities(self, i: int, latents: Values) -> dict[str, np.ndarray]:
        """The latents and all that is asked of them, {name: [n, ...]}."""
        found = {name: to_numpy(value) for name, value in latents.items()}
        for name, value in found.items():
            if np.isnan(value).any():
                raise ValueError(f"draws of {name!r} are NaN")
        if all(name in latents for name in self.program.latents):
            found[LOG_LIKELIHOOD] = _possible(to_numpy(log_likelihood(self.seen(i), latents)))
        for name, statistic in self.question.statistics.items():
            found[name] = to_numpy(torch.as_tensor(statistic(latents, self.data(i))))
        return found


def _possible(likelihoods: np.ndarray) -> np.ndarray:
    """The log likelihoods of draws, the true values' the last."""
    if np.isfinite(likelihoods).all():
        return likelihoods
    whose = "some draws of the posterior" if np.isfinite(likelihoods[-1]) else "the true values"
    raise ValueError(
        f"the log likelihood of {whose} is not finite, and can't be ranked: the program says that they could not have "
        "made the data, or estimates it from too few particles"
    )


def log_likelihood(program: Program, latents: Values) -> Tensor:
    """log p(all that is observed | latents) of n draws, [n] nats."""
    each = pointwise(program, {name: value.to(program.precision) for name, value in latents.items()})
    return torch.stack([value.reshape(len(value), -1).sum(1) for value in each.values()]).sum(0)


def draws_of(answer: Any, seed: int) -> Mapping[str, Any]:
    """What a posterior claims: its draws by their weights, where they have any; or a plain mapping of draws."""
    if isinstance(answer, Mapping):
        return answer
    if hasattr(answer, "resampled"):
        answer = answer.resampled(seed)
    if not hasattr(answer, "draws"):
        raise TypeError(
            f"`by` gave a {type(answer).__name__}; it must give a Posterior, or draws {{name: [chains, draws, ...]}}"
        )
    return answer.draws


@dataclass(frozen=True)
class OneByOne:
    """Each data set by a call of its own: (program, data, seed=...) -> Posterior."""

    by: Callable[..., Any]

    def answers(self, question: Question) -> Iterator[Compared]:
        study = Study.of(question)
        for i in range(question.simulations):
            yield from study.asked(i, self.by)


def _check(program: Program, source: Program) -> None:
    """That data simulated from one program can be asked about in another."""
    if not program.observed:
        raise ValueError(f"{program.name} observes nothing: calibration needs a site with obs=, to be drawn anew")
    for name, site in program.observed.items():
        if name not in source.observed or source.observed[name].shape != site.shape:
            has = source.observed[name].shape if name in source.observed else None
            raise ValueError(
                f"{program.name} observes {name!r} {list(site.shape)}, and {source.name}, which is simulated from, "
                + ("does not" if has is None else f"draws it as {list(has)}")
            )
