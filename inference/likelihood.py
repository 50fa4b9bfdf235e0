"""log p(x) of any model, never without its kind: exact, a lower bound, or an estimate.

    log_likelihood(model, x)                                    the best that the model offers
    log_likelihood(model, x, method=ImportanceWeighted(500))    a method of one's own choice

What is chosen, by what a model offers:

| it offers                       | method                     | kind          |
|---------------------------------|----------------------------|---------------|
| log_prob                        | `Exact()`                  | "exact"       |
| a network of tables             | `Exact()`                  | "exact"       |
| free_energy and log_partition   | `Exact()`                  | "exact"       |
| free_energy                     | `Ais()`                    | "estimate"    |
| a stack of energies             | `StackBound()`             | "lower bound", or "estimate" where its log Z is |
| a bound by steps of a chain     | `TimestepBound()`          | "lower bound" |
| prior, decoder, encoder; a pair | `ImportanceWeighted(100)`  | "lower bound" |

`Ais()` may be asked of a model with prior, decoder and encoder too, and gives an estimate.

References:
    Importance Weighted Autoencoders (Burda, Grosse and Salakhutdinov, 2016), https://arxiv.org/abs/1509.00519
    On the quantitative analysis of deep belief networks (Salakhutdinov and Murray, 2008), for AIS
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from inference.asking import asking, placed
from inference.data import as_rows, check_known, lacks_cells
from inference.exact.density import Eliminated, as_density
from inference.importance import blocks, in_blocks
from inference.protocols import (
    Density,
    Energy,
    Stacked,
    Stepwise,
    Tabular,
    by_row,
    has_likelihood,
    measure_of,
    name_of,
    offers,
)
from inference.running import LogMean, Mean


@dataclass(frozen=True)
class Difference:
    """The mean over rows of one model's log-likelihood minus another's, on the same rows, in nats a row."""

    mean: float
    error: float
    kinds: tuple[str, str]

    def __repr__(self) -> str:
        return f"{self.mean:+.4g} ± {self.error:.2g} nats a row ({self.kinds[0]} minus {self.kinds[1]})"


@dataclass(frozen=True)
class LogLikelihood:
    """log p(x) in nats: a value a row, and what kind of number it is.

    Parameters:
        values: [N].
        standard_error: the Monte Carlo error of each row [N]; None where there is none to speak of.
        kind: "exact", "lower bound" or "estimate".
        measure: "density" or "mass": what the likelihood is with respect to.
        method: how it was computed, in words.
        shared_error: an error that all the rows have in common (that of log Z), in nats.
    """

    values: Tensor
    standard_error: Tensor | None
    kind: str
    measure: str
    method: str
    shared_error: float = 0.0

    @property
    def mean(self) -> float:
        return self.values.double().mean().item()

    @property
    def mean_error(self) -> float:
        """The standard error of the mean, from the spread of the rows and what error they share."""
        return math.hypot(_spread(self.values), self.shared_error)

    def __sub__(self, other: LogLikelihood) -> Difference:
        if not isinstance(other, LogLikelihood):
            return NotImplemented
        if self.measure != other.measure:
            raise ValueError(
                f"a {self.measure} can't be compared with a {other.measure}: nats of the one say nothing "
                "about the other; fit both models to the same view of the data"
            )
        if self.values.shape != other.values.shape:
            raise ValueError(
                f"a paired difference needs the same rows, but these are of {len(self.values)} "
                f"and {len(other.values)} rows"
            )
        gap = self.values.double().cpu() - other.values.double().cpu()
        error = math.hypot(_spread(gap), self.shared_error, other.shared_error)
        return Difference(gap.mean().item(), error, (self.kind, other.kind))

    def __repr__(self) -> str:
        return (
            f"LogLikelihood({self.mean:.4g} ± {self.mean_error:.2g} nats a row over {len(self.values)} rows, "
            f"{self.kind}, {self.measure}; {self.method})"
        )


class Method(Protocol):
    """(model, x, context, seed) -> LogLikelihood."""

    def __call__(self, model: Any, x: Tensor, context: Tensor | None, seed: int) -> LogLikelihood: ...


@dataclass(frozen=True)
class Exact:
    """log_prob, or -free_energy - log Z where log Z can be summed.

    Rows of a network of tables may lack cells: then log P(known cells), by elimination.
    """

    def __call__(self, model: Any, x: Tensor, context: Tensor | None, seed: int) -> LogLikelihood:
        if lacks_cells(model, x) and offers(model, Tabular):
            model = Eliminated(model)
        if offers(model, Density):
            how = getattr(model, "likelihood_by", "its own log_prob")
            values = _in_blocks(lambda rows, given: _log_prob(model, rows, given), x, context)
            kind = getattr(model, "likelihood", "exact")  # a network is as exact as its densities
            return LogLikelihood(values, None, kind, measure_of(model, x, context), how)
        if offers(model, Energy) and hasattr(model, "log_partition"):
            values = _unnormalised(model, x, context)
            for rows, energy in _strata(model, x):
                values[rows] -= energy.log_partition()
            return LogLikelihood(values, None, "exact", measure_of(model, x, context), "free energy, log Z summed")
        raise TypeError(
            f"{name_of(model)} has no exact likelihood: leave the method out, or take a bound or an estimate"
        )


@dataclass(frozen=True)
class ElboBound:
    """The mean of the log weights: E_q[log p(x, z) - log q(z | x)]."""

    draws: int = 100

    def __call__(self, model: Any, x: Tensor, context: Tensor | None, seed: int) -> LogLikelihood:
        values, error = _over_draws(model, x, context, self.draws, Mean)
        return LogLikelihood(values, error, "lower bound", measure_of(model, x, context), f"ELBO, {self.draws} draws")


@dataclass(frozen=True)
class ImportanceWeighted:
    """log of the mean weight: a bound that tightens to the exact likelihood as the draws grow."""

    draws: int = 100

    def __call__(self, model: Any, x: Tensor, context: Tensor | None, seed: int) -> LogLikelihood:
        values, error = _over_draws(model, x, context, self.draws, LogMean)
        method = f"importance weighted with {self.draws} draws"
        return LogLikelihood(values, error, "lower bound", measure_of(model, x, context), method)


@dataclass(frozen=True)
class Ais:
    """-free_energy - log Z, where annealed importance sampling estimates log Z; rows of one log Z share its error.

    Of a model with a latent variable, log p(x) of each row itself, by `inference.annealed_posterior`.
    """

    chains: int = 512
    temperatures: int = 2000

    def __call__(self, model: Any, x: Tensor, context: Tensor | None, seed: int) -> LogLikelihood:
        method = f"AIS with {self.chains} chains and {self.temperatures} temperatures"
        if not offers(model, Energy):
            from inference.annealed_posterior import annealed

            found = annealed(model, x, context, chains=self.chains, temperatures=self.temperatures, seed=seed)
            return LogLikelihood(
                found.value, found.standard_error, "estimate", measure_of(model, x, context), f"{method} a row"
            )
        from inference.ais import ais

        values = _unnormalised(model, x, context)
        errors, shared = torch.zeros_like(values), 0.0
        for rows, energy in _strata(model, x):
            log_z = ais(energy, chains=self.chains, temperatures=self.temperatures, data=None, seed=seed)
            values[rows] -= float(log_z.value)
            errors[rows] = float(log_z.standard_error)
            shared = math.hypot(shared, float(log_z.standard_error) * len(rows) / len(x))
        bounded = getattr(model, "free_energy_kind", "exact")
        method += "" if bounded == "exact" else f"; free energy an {bounded}"
        return LogLikelihood(values, errors, "estimate", measure_of(model, x, context), method, shared)


def log_likelihood(
    model: Any, x: Any, *, context: Tensor | None = None, method: Method | None = None, seed: int = 0
) -> LogLikelihood:
    """log p(x) of each row in nats, with its kind and error; the caller's random state stays as it was.

    x is whatever `fit` takes as data: a tensor, an array, a mapping of x and context, a DataFrame, a Dataset.
    The model may be a pgmpy network or factor graph as it stands, x then a DataFrame of states, or codes [N, V]
    in the order of its `nodes()`.
    Where its tables can be summed, or it sums itself over what is not known, rows may lack cells (NaN, None or
    -1): the likelihood is that of the others.
    """
    model = as_density(model)
    chosen = default_method(model) if method is None else method
    rows = as_rows(x, model)
    x = placed(model, rows.x)
    given = rows.context if context is None else context
    context = None if given is None else placed(model, given)
    check_known(model, x, context, rows.columns)
    with asking(model, seed):
        return chosen(model, x, context, seed)


def default_method(model: Any) -> Method:
    """The best method for what a model offers."""
    if offers(model, Density):
        return Exact()
    if offers(model, Energy):
        return Exact() if hasattr(model, "log_partition") else Ais()
    if offers(model, Stacked):
        from inference.stacking import StackBound

        return StackBound()
    if offers(model, Stepwise):
        from inference.timesteps import TimestepBound

        return TimestepBound()
    if not has_likelihood(model):
        score = "anomaly_score, or " if hasattr(model, "anomaly_score") else ""
        raise TypeError(
            f"{name_of(model)} offers no likelihood: ask {score}inference.evaluate for the quality of its samples"
        )
    return ImportanceWeighted()


def _spread(values: Tensor) -> float:
    """The standard error of a mean over rows; infinite for a single row, which tells nothing of it."""
    values = values.double()
    return values.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.inf


def _in_blocks(
    ask: Callable[[Tensor, Tensor | None], Tensor],
    x: Tensor,
    context: Tensor | None,
    width: int | None = None,
) -> Tensor:
    size = blocks(1, len(x), x[0].numel(), x.device.type)[1]
    contexts = [None] * math.ceil(len(x) / size) if context is None else context.split(size)
    return torch.cat([ask(rows, given) for rows, given in zip(x.split(size), contexts, strict=True)])


def _log_prob(model: Density, x: Tensor, context: Tensor | None) -> Tensor:
    return by_row(model.log_prob(x, context=context), (len(x),), model, "log_prob")


def _unnormalised(model: Energy, x: Tensor, context: Tensor | None) -> Tensor:
    if context is not None:
        raise ValueError(f"{name_of(model)} has a free energy of x alone and takes no context")
    return _in_blocks(lambda rows, _: -by_row(model.free_energy(rows), (len(rows),), model, "free_energy"), x, None)


def _strata(model: Energy, x: Tensor) -> list[tuple[Tensor, Any]]:
    """The rows that share a log Z, and the energy that has it."""
    if hasattr(model, "strata"):
        return model.strata(x)
    return [(torch.arange(len(x), device=x.device), model)]


def _over_draws(
    model: Any, x: Tensor, context: Tensor | None, draws: int, running: type[Mean] | type[LogMean]
) -> tuple[Tensor, Tensor | None]:
    if offers(model, Energy):
        raise TypeError(f"{name_of(model)} is known up to log Z, which has no bound over draws of z: take Ais()")
    if draws < 1:
        raise ValueError(f"draws must be at least 1, not {draws}")
    values, errors = [], []
    for _, weighted in in_blocks(model, x, context, draws):
        sums = running()
        for block in weighted:
            sums.add(block.log_weights)
        value, error = sums.result()
        values.append(value)
        errors.append(error)
    stacked = None if errors[0] is None else torch.cat([error for error in errors if error is not None])
    return torch.cat(values), stacked
