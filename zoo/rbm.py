"""Restricted Boltzmann machine."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn import functional as F

from zoo.base import EnergyBased, Shape

LARGEST_SUM = 20
"""Units of the smaller layer up to which log Z is summed: 2^20 states, about a second."""


def bits(probability: Tensor) -> Tensor:
    """Zeros and ones, as floats, by their probabilities."""
    return torch.rand_like(probability).lt_(probability)


@dataclass(frozen=True)
class Couplings:
    """The arithmetic of one machine: E(x, h) = -x W h - b x - c h, for flat rows x and h of zeros and ones.

    Shapes: weights W is [visible, hidden], the biases b and c are [visible] and [hidden].
    """

    weights: Tensor
    visible_bias: Tensor
    hidden_bias: Tensor

    def hidden(self, x: Tensor) -> Tensor:
        """p(h_j = 1 | x), [N, hidden]."""
        return torch.addmm(self.hidden_bias, x, self.weights).sigmoid()

    def visible(self, h: Tensor) -> Tensor:
        """p(x_i = 1 | h), [N, visible]."""
        return torch.addmm(self.visible_bias, h, self.weights.t()).sigmoid()

    def free_energy(self, x: Tensor) -> Tensor:
        """-log sum_h exp(-E(x, h)), [N] nats."""
        return -(x @ self.visible_bias) - F.softplus(torch.addmm(self.hidden_bias, x, self.weights)).sum(1)

    def gibbs_step(self, x: Tensor) -> Tensor:
        return bits(self.visible(bits(self.hidden(x))))

    def turned(self) -> Couplings:
        """The same machine with its layers exchanged."""
        return Couplings(self.weights.t(), self.hidden_bias, self.visible_bias)

    def log_partition(self, block: int = 1 << 14) -> Tensor:
        """log Z by a sum over all the states of the visible layer, in blocks."""
        units = len(self.visible_bias)
        powers = 1 << torch.arange(units, device=self.weights.device)
        parts = []
        for codes in torch.arange(1 << units, device=self.weights.device).split(block):
            states = (codes[:, None] & powers).ne(0).to(self.weights.dtype)
            parts.append((-self.free_energy(states)).logsumexp(0))
        return torch.stack(parts).logsumexp(0)

    def detach(self) -> Couplings:
        return Couplings(self.weights.detach(), self.visible_bias.detach(), self.hidden_bias.detach())

    def double(self) -> Couplings:
        return Couplings(self.weights.double(), self.visible_bias.double(), self.hidden_bias.double())


class RBM(EnergyBased):
    """Restricted Boltzmann machine: p(x, h) = exp(x W h + b x + c h) / Z, h summed out; x and h of zeros and ones.

    Shapes: x is [N, *event_shape]; it is flattened to meet the weights, [features, hidden].
    Its free energies are in nats. log Z is exact (`log_partition`) where the smaller layer has at most 20
    units; ask `inference.ais` otherwise.

    Parameters:
        hidden: how many hidden units.

    References:
        Training Products of Experts by Minimizing Contrastive Divergence (Hinton, 2002),
        https://doi.org/10.1162/089976602760128018
        On the Quantitative Analysis of Deep Belief Networks (Salakhutdinov and Murray, 2008), the path of
        `annealing`, https://doi.org/10.1145/1390156.1390266
    """

    support = constraints.boolean

    def __init__(self, event_shape: Shape, *, context_shape: Shape | None = None, hidden: int = 64) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        if context_shape is not None:
            raise ValueError("an RBM takes no context: join it to x, or take a conditional family such as the VAE")
        if not isinstance(hidden, int) or hidden < 1:
            raise ValueError(f"hidden must be a positive number of units, not {hidden!r}")
        self.hidden = hidden
        self.weights = nn.Parameter(0.01 * torch.randn(self.features, hidden))
        self.visible_bias = nn.Parameter(torch.zeros(self.features))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.register_buffer("visible_mean", torch.full((self.features,), 0.5))
        self.register_buffer("initialised", torch.tensor(False))
        self._signed: dict[Any, tuple[Tensor, Tensor]] = {}
        if self._can_sum:
            self.capabilities = type(self).capabilities | {"log_partition"}  # type: ignore[misc]

    @property
    def couplings(self) -> Couplings:
        return Couplings(self.weights, self.visible_bias, self.hidden_bias)

    # ---- what an energy offers

    def free_energy(self, x: Tensor) -> Tensor:
        return self.couplings.free_energy(self._flat(x))

    def hidden_probabilities(self, x: Tensor) -> Tensor:
        """p(h_j = 1 | x), [N, hidden]."""
        return self.couplings.hidden(self._flat(x))

    @torch.no_grad()
    def gibbs_step(self, x: Tensor) -> Tensor:
        return self.couplings.gibbs_step(self._flat(x)).reshape(x.shape)

    def start(self, n: int) -> Tensor:
        """n rows of independent bits, at the means given to `initialise` (fair bits before it)."""
        return bits(self.visible_mean.expand(n, -1)).reshape(n, *self.event_shape)

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Set, once in a model's life, the visible biases to the log-odds of the rows' means.

        Without it the weights spend their first epochs on saying how bright each pixel is.
        """
        if not self.initialised:
            self.visible_mean.copy_(smoothed_mean(self._flat(x)))
            self.visible_bias.copy_(self.visible_mean.logit())
            self.initialised.fill_(True)

    @property
    def log_partition(self) -> Callable[[], Tensor]:
        """`log_partition()` is the exact log Z, summed in float64; a larger machine refuses."""
        if not self._can_sum:
            raise AttributeError("too many units")  # the base class says so in its own words
        return self._log_partition

    @property
    def _can_sum(self) -> bool:
        return min(self.features, self.hidden) <= LARGEST_SUM

    @torch.no_grad()
    def _log_partition(self) -> Tensor:
        machine = self.couplings.double()
        return (machine if self.features <= self.hidden else machine.turned()).log_partition()

    # ---- gradients in closed form

    def contrast(self, x: Tensor, chains: Tensor, steps: int) -> tuple[Callable[[], Tensor], list[Tensor], Tensor]:
        """(gap, gradients, the chains' rows after `steps` more Gibbs sweeps).

        `gradients`, by each of `parameters()`, is that of mean free_energy(x) - mean free_energy(chains), the
        chains held fixed. `gap()`, asked before the parameters move, is the same difference of mean energies,
        in nats, the hidden units at their means given each row: the parameters times the gradient.
        """
        weights, visible_bias, hidden_bias = self._parameters.values()  # an attribute of a module costs 2 us
        assert weights is not None and visible_bias is not None and hidden_bias is not None
        if x.dim() > 2:
            flat = self.contrast(x.flatten(1), chains.flatten(1), steps)
            return *flat[:2], flat[2].view(chains.shape)
        n = x.shape[0]
        with torch.set_grad_enabled(False):  # half of no_grad's time
            rows = torch.cat((x, chains))
            signs, column = self._signs(n, chains.shape[0], weights)
            logits = torch.addmm(hidden_bias, rows, weights)
            hidden = logits.sigmoid()
            p = hidden[n:]
            for sweep in range(steps):  # the first sweep's hidden units are those of the gradient
                if sweep:
                    p = torch.addmm(hidden_bias, chains, weights).sigmoid_()
                h = bits(p)
                chains = bits(torch.addmm(visible_bias, h, weights.t()).sigmoid_())
            hidden.mul_(column)
            columns = rows.t()
            gradients = [torch.mm(columns, hidden), torch.mv(columns, signs), hidden.sum(0)]

        def gap() -> Tensor:
            return torch.dot(hidden.view(-1), logits.view(-1)) + torch.dot(gradients[1], visible_bias.detach())

        return gap, gradients, chains

    def _signs(self, rows: int, chains: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """-1/rows for each row and 1/chains for each chain, flat and as a column: kept from step to step."""
        key = rows, chains, like.dtype, like.device
        signs = self._signed.get(key)
        if signs is None:
            if len(self._signed) == 2:  # whole batches and an epoch's last
                self._signed.clear()
            flat = torch.cat((like.new_full((rows,), -1 / rows), like.new_full((chains,), 1 / chains)))
            signs = self._signed[key] = flat, flat[:, None]
        return signs

    # ---- the path of annealed importance sampling

    @torch.no_grad()
    def annealing(self, data: Tensor | None = None) -> Annealing:
        """A path to this machine from independent bits, at the means of these rows, or of those it began with."""
        mean = self.visible_mean if data is None else smoothed_mean(self._flat(data))
        return Annealing(self.couplings.detach(), mean.logit(), self.event_shape)

    def _flat(self, x: Tensor) -> Tensor:
        return x.reshape(-1, self.features).to(self.weights.dtype)


@dataclass(frozen=True)
class Annealing:
    """Machines from independent bits (beta = 0) to the target (beta = 1): weights and biases interpolated."""

    target: Couplings
    base_bias: Tensor
    event_shape: torch.Size

    def start(self, n: int) -> Tensor:
        """n exact draws at beta = 0."""
        return bits(self.base_bias.sigmoid().expand(n, -1)).reshape(n, *self.event_shape)

    def log_partition(self) -> Tensor:
        """log Z at beta = 0."""
        return F.softplus(self.base_bias).sum() + len(self.target.hidden_bias) * math.log(2)

    def at(self, beta: float) -> Tempered:
        machine = self.target
        visible = torch.lerp(self.base_bias, machine.visible_bias, beta)
        return Tempered(Couplings(machine.weights * beta, visible, machine.hidden_bias * beta))


@dataclass(frozen=True)
class Tempered:
    """One machine on the path."""

    couplings: Couplings

    def free_energy(self, x: Tensor) -> Tensor:
        return self.couplings.free_energy(x.flatten(1))

    def gibbs_step(self, x: Tensor) -> Tensor:
        return self.couplings.gibbs_step(x.flatten(1)).reshape(x.shape)


def smoothed_mean(x: Tensor) -> Tensor:
    """The mean of each column of bits, as if one more zero and one more one had been seen."""
    return (x.sum(0) + 1) / (len(x) + 2)
