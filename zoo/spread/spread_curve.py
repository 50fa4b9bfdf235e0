"""SpreadCurve: the case curve of an outbreak, whose rates are fitted by likelihood."""

from __future__ import annotations

from collections.abc import Mapping

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from zoo.base import Explicit, Shape
from zoo.registry import near
from zoo.spread import ready
from zoo.spread.checks import known
from zoo.spread.compartments import Compartments
from zoo.spread.ode import ode
from zoo.spread.reporting import NegativeBinomial
from zoo.spread.threshold import reproduction_number

MODELS = {"si": ready.si, "sis": ready.sis, "sir": ready.sir, "seir": ready.seir, "sirs": ready.sirs}


class SpreadCurve(Explicit):
    """Counts of an outbreak on T days: p(x) = prod_t NegBinomial(x_t; mean I_t, variance I_t + phi_inv I_t^2).

    Shapes: x is [N, T], heads counted in one compartment after 1, ..., T intervals, each row an outbreak of its own
    with the same rates; I_t solves the rate equations of the compartments. Likelihood in nats a row. The logarithms of
    the rates and of phi_inv are the parameters.

    Parameters:
        compartments: "si", "sis", "sir", "seir" or "sirs".
        population: all heads.
        infected: how many are in I at the time 0, all others in S.
        observes: which compartment is counted.
        interval: the time from count to count.
        rates: where the rates start, by name; those not named start at 0.5.
        overdispersion: where phi_inv starts.

    References:
        A contribution to the mathematical theory of epidemics (Kermack and McKendrick, 1927),
        https://doi.org/10.1098/rspa.1927.0118
        Bayesian workflow for disease transmission modeling in Stan (Grinsztajn et al., 2021),
        https://arxiv.org/abs/2006.02985
    """

    support = constraints.nonnegative_integer

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        compartments: str = "sir",
        population: float,
        infected: float = 1.0,
        observes: str = "I",
        interval: float = 1.0,
        rates: Mapping[str, float] | None = None,
        overdispersion: float = 0.1,
    ) -> None:
        if context_shape is not None:
            raise ValueError(f"SpreadCurve takes no context, but was given context_shape {context_shape}")
        super().__init__(event_shape)
        if len(self.event_shape) != 1:
            raise ValueError(f"a row of SpreadCurve is T counts, [T], not {list(self.event_shape)}")
        if compartments not in MODELS:
            raise ValueError(f"there are no compartments {compartments!r}{near(compartments, MODELS)}")
        if not 0 < infected <= population:
            raise ValueError(f"infected are more than 0 and at most the population of {population:g}, not {infected:g}")
        if not (interval > 0 and overdispersion > 0):
            raise ValueError(f"interval and overdispersion are above 0, not {interval:g} and {overdispersion:g}")
        self.compartments: Compartments = MODELS[compartments]()
        self.place = self.compartments.index(observes)
        self.population, self.infected, self.interval = float(population), float(infected), float(interval)
        self.log_rates = nn.Parameter(_begin(self.compartments, rates or {}).log())
        self.log_overdispersion = nn.Parameter(torch.tensor(float(overdispersion)).log())

    def extra_repr(self) -> str:
        told = ", ".join(f"{name} {float(value.detach()):.3g}" for name, value in self.rates.items())
        return f"{told}, phi_inv {float(self.log_overdispersion.detach().exp()):.3g}"

    @property
    def rates(self) -> dict[str, Tensor]:
        return dict(zip(self.compartments.parameters, self.log_rates.exp().unbind(), strict=True))

    @property
    def reproduction_number(self) -> Tensor:
        """R0: how many heads one infects where all others are in S."""
        healthy = self.compartments.state(S=self.population)
        rates = {name: rate.detach().double() for name, rate in self.rates.items()}
        return reproduction_number(self.compartments, rates, healthy)

    @property
    def curve(self) -> Tensor:
        """The expected counts, [T]."""
        start = self.compartments.state(S=self.population - self.infected, I=self.infected)
        rates = {name: rate.double() for name, rate in self.rates.items()}
        times = self.interval * torch.arange(self.features + 1, dtype=torch.float64)
        found = ode(self.compartments, rates, start, times, step=self.interval / 5).heads[1:, self.place]
        return found.to(self.dtype)

    def distribution(self, context: Tensor | None = None) -> dist.TorchDistribution:
        self.check(context=context)
        parameters = {"share": 1.0, "phi_inv": self.log_overdispersion.exp()}
        return NegativeBinomial().distribution(self.curve, self.population, parameters).to_event(1)


def _begin(model: Compartments, given: Mapping[str, float]) -> Tensor:
    """Where the rates start."""
    known("rate", given, model.parameters)
    rates = torch.tensor([float(given.get(name, 0.5)) for name in model.parameters])
    if not bool((rates > 0).all()):
        raise ValueError(f"rates start above 0, and not at {dict(given)}")
    return rates
