"""The four kinds of model, and what each can be asked.

Every model of the zoo is a true Pyro pair

    model(x=None, *, context=None, n=1)     generates n rows, or scores the observed rows x
    guide(x, *, context=None)               proposes the latent variables of x

with the sites "x" (observed) and "z" (latent) inside the plate "data". A family fills in the abstract
methods of its kind; the kind derives the pair.

| kind             | a family gives                                          | its likelihood is  |
|------------------|---------------------------------------------------------|--------------------|
| `Explicit`       | `distribution(context)`                                 | exact              |
| `LatentVariable` | `prior(context)`, `decoder(z, context)`, `encoder(x, context)` | bounded from below |
| `EnergyBased`    | `free_energy(x)`, `gibbs_step(x)`, `start(n)`           | estimated          |
| `Implicit`       | `noise(n)`, `generate(noise, context)`                  | not defined        |

What a model can be asked is declared in `capabilities`, a set of method names. Asking for another of the
`VERBS` raises `Refusal`, one sentence that says what to ask instead.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from zoo.faces import GibbsRows, NoiseRows
from zoo.pseudo_marginal import PseudoMarginal
from zoo.verbs import ENERGY_BASED, EXPLICIT, IMPLICIT, LATENT_VARIABLE, VERBS, Refusal

Shape = Sequence[int] | torch.Size | int


def as_shape(shape: Shape | None) -> torch.Size | None:
    """A shape as torch writes it; a single number is a vector's length."""
    if shape is None:
        return None
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    if not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ValueError(f"a shape is made of positive whole numbers, not {shape!r}")
    return torch.Size(sizes)


class Model(nn.Module, ABC):
    """What every model of the zoo has: a Pyro pair, shapes, a support, and declared capabilities.

    Parameters:
        event_shape: the shape of one row of x, without the batch axis.
        context_shape: the shape of one row of the context that x is conditioned on, or None.
    """

    kind: ClassVar[str]
    likelihood: ClassVar[str | None]
    capabilities: ClassVar[frozenset[str]] = frozenset({"sample"})
    refusals: ClassVar[Mapping[str, str]] = {}
    support: constraints.Constraint = constraints.real

    def __init__(self, event_shape: Shape, *, context_shape: Shape | None = None) -> None:
        super().__init__()
        shape = as_shape(event_shape)
        if shape is None:
            raise ValueError(f"{type(self).__name__} needs an event_shape, the shape of one row")
        self.event_shape = shape
        self.context_shape = as_shape(context_shape)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name not in VERBS:
                raise
        reason = self.refusals.get(name, f"{name} is not among what a model of this family offers")
        raise Refusal(f"{type(self).__name__} has no {name}: {reason}")

    # ---- the pair

    @abstractmethod
    def model(self, x: Tensor | None = None, *, context: Tensor | None = None, n: int = 1) -> Tensor:
        """Generate n rows of x, or score the observed rows."""

    @abstractmethod
    def guide(self, x: Tensor, *, context: Tensor | None = None) -> None:
        """Propose the latent variables of x."""

    @abstractmethod
    def sample(self, n: int = 1, *, context: Tensor | None = None) -> Tensor:
        """Draw n rows, [n, *event_shape]; a context gives one row to each draw (or one for all)."""

    # ---- what the data must look like

    @property
    def features(self) -> int:
        """How many numbers one row of x holds."""
        return self.event_shape.numel()

    @property
    def measure(self) -> str:
        """What a likelihood of this model is with respect to: "density" or "mass"."""
        return "mass" if self.support.is_discrete else "density"

    @property
    def device(self) -> torch.device:
        return self._anchor.device

    @property
    def dtype(self) -> torch.dtype:
        return self._anchor.dtype

    @property
    def _anchor(self) -> Tensor:
        """The tensor whose device and dtype the model follows: its first floating parameter or buffer."""
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.is_floating_point():
                return tensor
        return torch.empty(0)

    def check(self, x: Tensor | None = None, context: Tensor | None = None) -> None:
        """Refuse, naming what is wrong, rows or contexts of another shape than the model's."""
        name = type(self).__name__
        if x is not None:
            _check_rows(f"{name} models x", x, self.event_shape)
            if not self.support.is_discrete and not x.is_floating_point():
                raise TypeError(
                    f"{name} models real numbers, but x is {x.dtype}: scale it to floats, "
                    "or take a family for discrete data"
                )
        if context is None and self.context_shape is not None:
            raise ValueError(f"{name} is conditional: give context, [N, *{list(self.context_shape)}]")
        if context is not None and self.context_shape is None:
            raise ValueError(f"{name} was built without context_shape and takes no context")
        if context is not None and self.context_shape is not None:
            _check_rows(f"{name} takes context", context, self.context_shape)
            if x is not None and len(context) != len(x):
                raise ValueError(f"x has {len(x)} rows, but context has {len(context)}")

    def context_rows(self, n: int, context: Tensor | None) -> Tensor | None:
        """The context, checked, with one row for each of n draws."""
        if n < 0:
            raise ValueError(f"n must be at least 0, not {n}")
        self.check(context=context)
        if context is None or len(context) == n:
            return context
        if len(context) == 1:
            return context.expand(n, *context.shape[1:])
        raise ValueError(f"{n} draws need a context of 1 or {n} rows, not {len(context)}")


def _check_rows(what: str, rows: Tensor, shape: torch.Size) -> None:
    if rows.shape[1:] != shape or rows.dim() != len(shape) + 1:
        raise ValueError(f"{what} of shape [{', '.join(map(str, ('N', *shape)))}], but was given {list(rows.shape)}")


class Explicit(Model):
    """A model with an exact likelihood. It is a conditional distribution, and so fits any slot.

    A family gives `distribution(context)`: batch shape [] without a context, [N] with one of N rows; its
    event shape is the model's. `log_prob` is in nats a row.
    """

    kind = "explicit"
    likelihood = "exact"
    capabilities = frozenset({"sample", "distribution", "log_prob"})
    refusals = EXPLICIT

    @abstractmethod
    def distribution(self, context: Tensor | None = None) -> dist.TorchDistribution:
        """The distribution of one row of x (given each row of the context)."""

    def log_prob(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """The exact log-likelihood of each row, [N], in nats."""
        self.check(x, context)
        return self.distribution(context).log_prob(x)

    @torch.no_grad()
    def sample(self, n: int = 1, *, context: Tensor | None = None) -> Tensor:
        context = self.context_rows(n, context)
        distribution = self.distribution(context)
        return distribution.sample((n,)) if context is None else distribution.sample()

    def model(self, x: Tensor | None = None, *, context: Tensor | None = None, n: int = 1) -> Tensor:
        self.check(x, context)
        with pyro.plate("data", _rows(x, context, n)):
            return self.site("x", context, x)

    def guide(self, x: Tensor, *, context: Tensor | None = None) -> None:
        """Nothing: there are no latent variables."""
        self.check(x, context)

    # ---- in the prior slot of another model

    def as_prior(self, context: Tensor | None = None) -> dist.TorchDistribution:
        return self.distribution(context)

    def site(self, name: str, context: Tensor | None = None, obs: Tensor | None = None) -> Tensor:
        return pyro.sample(name, self.distribution(context), obs=obs)

    def propose(self, name: str, x: Tensor, context: Tensor | None = None) -> None:
        """Nothing."""


class LatentVariable(Model):
    """A model of x through a latent z, p(x, z) = p(z) p(x | z), with a proposal q(z | x).

    A family gives three distributions; each has batch shape [N] (the prior [] where there is no context).
    The likelihood is bounded from below by the ELBO and, tighter, by importance weighting.
    """

    kind = "latent variable"
    likelihood: ClassVar[str | None] = "lower bound"
    capabilities = frozenset({"sample", "prior", "decoder", "encoder", "encode", "reconstruct", "anomaly_score"})
    refusals = LATENT_VARIABLE

    @abstractmethod
    def prior(self, context: Tensor | None = None) -> dist.TorchDistribution:
        """p(z)."""

    @abstractmethod
    def decoder(self, z: Tensor, context: Tensor | None = None) -> dist.TorchDistribution:
        """p(x | z)."""

    @abstractmethod
    def encoder(self, x: Tensor, context: Tensor | None = None) -> dist.TorchDistribution:
        """q(z | x)."""

    @torch.no_grad()
    def encode(self, x: Tensor, *, context: Tensor | None = None, draws: int = 64) -> Tensor:
        """The code of each row: the mean of q(z | x), over `draws` where it has no closed form."""
        self.check(x, context)
        proposal = self.encoder(x, context)
        try:
            return proposal.mean
        except NotImplementedError:
            return proposal.sample((draws,)).mean(0)

    @torch.no_grad()
    def reconstruct(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """The mean of p(x | z), or a draw of it where its mean has no closed form, at one draw of z from q(z | x)."""
        self.check(x, context)
        decoded = self.decoder(self.encoder(x, context).sample(), context)
        try:
            return decoded.mean
        except NotImplementedError:
            return decoded.sample()

    @torch.no_grad()
    def anomaly_score(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """-log p(x | z) at one draw of z from q(z | x), [N] nats: the higher, the less its code tells of the row."""
        self.check(x, context)
        return -self.decoder(self.encoder(x, context).sample(), context).log_prob(x)

    @torch.no_grad()
    def sample(self, n: int = 1, *, context: Tensor | None = None) -> Tensor:
        context = self.context_rows(n, context)
        prior = self.prior(context)
        z = prior.sample((n,)) if not prior.batch_shape else prior.sample()
        return self.decoder(z, context).sample()

    def model(self, x: Tensor | None = None, *, context: Tensor | None = None, n: int = 1) -> Tensor:
        self.check(x, context)
        with pyro.plate("data", _rows(x, context, n)):
            return self.site("x", context, x)

    def guide(self, x: Tensor, *, context: Tensor | None = None) -> None:
        self.check(x, context)
        with pyro.plate("data", len(x)):
            self.propose("x", x, context)

    # ---- in the prior slot of another model

    def as_prior(self, context: Tensor | None = None) -> dist.TorchDistribution:
        """p(x), the latents integrated out, whose `log_prob` is an estimate; `sample` draws rows as the model does."""
        return PseudoMarginal(self, context)

    def site(self, name: str, context: Tensor | None = None, obs: Tensor | None = None) -> Tensor:
        """A draw of x at the site of this name, or x scored there, and the latents at sites of their own."""
        z = pyro.sample(latent_site(name), self.prior(context))
        return pyro.sample(name, self.decoder(z, context), obs=obs)

    def propose(self, name: str, x: Tensor, context: Tensor | None = None) -> None:
        """The latents of x, which is the value of the site of this name, proposed at theirs."""
        pyro.sample(latent_site(name), self.encoder(x, context))


class EnergyBased(Model):
    """A model known up to a constant: p(x) = exp(-free_energy(x)) / Z, its hidden units summed out.

    As a Pyro model, x is drawn by Gibbs sampling and scored without log Z. A family small enough to sum
    over adds `log_partition()` to its capabilities.
    """

    kind = "energy based"
    likelihood = "estimate"
    capabilities = frozenset({"sample", "free_energy", "gibbs_step", "start"})
    sweeps: int = 1000
    """Gibbs sweeps from `start` that `sample` makes before it takes a row for a draw."""
    refusals = ENERGY_BASED

    @abstractmethod
    def free_energy(self, x: Tensor) -> Tensor:
        """-log of the unnormalised density of each row, [N], in nats."""

    @abstractmethod
    def gibbs_step(self, x: Tensor) -> Tensor:
        """One sweep of Gibbs sampling, which leaves the model's distribution as it is."""

    @abstractmethod
    def start(self, n: int) -> Tensor:
        """n rows to begin chains from."""

    @torch.no_grad()
    def sample(self, n: int = 1, *, context: Tensor | None = None) -> Tensor:
        self.context_rows(n, context)
        x = self.start(n)
        for _ in range(self.sweeps):
            x = self.gibbs_step(x)
        return x

    def model(self, x: Tensor | None = None, *, context: Tensor | None = None, n: int = 1) -> Tensor:
        self.check(x, context)
        with pyro.plate("data", _rows(x, context, n)):
            return pyro.sample("x", GibbsRows(self), obs=x)

    def guide(self, x: Tensor, *, context: Tensor | None = None) -> None:
        """Nothing: the hidden units are summed out."""
        self.check(x, context)


class Implicit(Model):
    """A generator: noise in, x out. It has no likelihood, and says so."""

    kind = "implicit"
    likelihood = None
    capabilities = frozenset({"sample", "noise", "generate"})
    refusals = IMPLICIT

    @abstractmethod
    def noise(self, n: int) -> Tensor:
        """n rows of noise."""

    @abstractmethod
    def generate(self, noise: Tensor, context: Tensor | None = None) -> Tensor:
        """x for each row of noise, [n, *event_shape]."""

    @torch.no_grad()
    def sample(self, n: int = 1, *, context: Tensor | None = None) -> Tensor:
        context = self.context_rows(n, context)
        training = self.training
        try:
            return self.eval().generate(self.noise(n), context)
        finally:
            self.train(training)

    def model(self, x: Tensor | None = None, *, context: Tensor | None = None, n: int = 1) -> Tensor:
        if x is not None:
            raise Refusal(f"{type(self).__name__} cannot score x: {self.refusals['log_prob']}")
        rows = _rows(x, context, n)
        with pyro.plate("data", rows):
            noise = pyro.sample("z", NoiseRows(self))
            return pyro.deterministic("x", self.generate(noise, context), event_dim=len(self.event_shape))

    def guide(self, x: Tensor, *, context: Tensor | None = None) -> None:
        raise Refusal(f"{type(self).__name__} has no guide: {self.refusals['log_prob']}")


def latent_site(name: str) -> str:
    """Where the latents of the site of this name are: "z" those of "x", "z_prior" those of "z"."""
    return "z" if name == "x" else f"{name}_prior"


def _rows(x: Tensor | None, context: Tensor | None, n: int) -> int:
    for rows in (x, context):
        if rows is not None:
            return len(rows)
    return n
