"""The visible units of a restricted Boltzmann machine, as one object: how x meets the weights, and what x is given h.

    -E(x, h) = s(x) W h + b s(x) + l(x) c h + log m(x)

s(x) are the statistics that the hidden units see (x itself, or a bit for each level), m the measure on x, l(x) how
often the hidden biases count (once, but for words once a word). `Couplings` is the arithmetic of one machine, in the
numbers that enter the energy linearly; `VisibleUnits` the part of a model that knows its parameters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn import functional as F

LARGEST_SUM = 20
"""Units of a layer up to which log Z is summed over its states: 2^20, about a second."""
NUMBERS = 1 << 21
"""How many numbers a block of that sum may hold."""


def bits(probability: Tensor) -> Tensor:
    """Zeros and ones, as floats, by their probabilities."""
    return torch.rand_like(probability).lt_(probability)


@dataclass(frozen=True)
class Couplings(ABC):
    """The arithmetic of one machine, for flat rows x [N, features] and h [N, hidden] of zeros and ones.

    Shapes: W is [statistics, hidden], the biases b and c are [statistics] and [hidden]. A row `like` says by its form
    (its number of words, the cells that it lacks) which x there may be.
    """

    weights: Tensor
    visible_bias: Tensor
    hidden_bias: Tensor

    # ---- what a kind of units gives

    @abstractmethod
    def shown(self, x: Tensor) -> Tensor:
        """s(x), [N, statistics]."""

    @abstractmethod
    def draw(self, field: Tensor, like: Tensor) -> Tensor:
        """x given the field b + W h that its statistics are in, of the form of the rows `like`."""

    @abstractmethod
    def expected(self, field: Tensor, like: Tensor) -> Tensor:
        """The mean of s(x) in that field, [N, statistics]."""

    @abstractmethod
    def log_normaliser(self, field: Tensor, like: Tensor) -> Tensor:
        """log of the sum over x of m(x) exp(field s(x)), [N] nats."""

    def log_measure(self, x: Tensor) -> Tensor:
        """log m(x), [N]."""
        return self.weights.new_zeros(len(x))

    def load(self, x: Tensor) -> Tensor:
        """l(x), [N, 1]."""
        return self.weights.new_ones(1, 1)

    # ---- what follows

    def logits(self, x: Tensor) -> Tensor:
        """The log-odds of each hidden unit given x, [N, hidden]."""
        return torch.addmm(self.hidden_bias, self.shown(x), self.weights)

    def hidden(self, x: Tensor) -> Tensor:
        """p(h_j = 1 | x), [N, hidden]."""
        return self.logits(x).sigmoid()

    def field(self, h: Tensor) -> Tensor:
        """b + W h, [N, statistics]."""
        return torch.addmm(self.visible_bias, h, self.weights.t())

    def free_energy(self, x: Tensor) -> Tensor:
        """-log sum_h exp(-E(x, h)), [N] nats."""
        return -(self.shown(x) @ self.visible_bias) - F.softplus(self.logits(x)).sum(1) - self.log_measure(x)

    def gibbs_step(self, x: Tensor) -> Tensor:
        """x given h given x, of the form that it has."""
        return self.draw(self.field(bits(self.hidden(x))), x)

    def smaller(self) -> Couplings:
        """The machine with the layer hidden that is easier to sum over."""
        return self

    @property
    def can_sum(self) -> bool:
        return len(self.smaller().hidden_bias) <= LARGEST_SUM

    def hidden_log_weights(self, like: Tensor, block: int | None = None) -> Tensor:
        """log of the sum over x of exp(-E(x, h)), [2^hidden], a state of the hidden layer each."""
        size = block or max(1, NUMBERS // len(self.visible_bias))
        units = len(self.hidden_bias)
        parts = []
        for codes in torch.arange(1 << units, device=self.weights.device).split(size):
            h = self.states(codes)
            parts.append((h @ self.hidden_bias) * self.load(like)[:, 0] + self.log_normaliser(self.field(h), like))
        return torch.cat(parts)

    def states(self, codes: Tensor) -> Tensor:
        """The states of the hidden layer of these numbers, bit by bit."""
        powers = 1 << torch.arange(len(self.hidden_bias), device=codes.device)
        return (codes[:, None] & powers).ne(0).to(self.weights.dtype)

    def log_partition(self, like: Tensor, block: int | None = None) -> Tensor:
        """log Z by a sum over all the states of the hidden layer, in blocks."""
        return self.hidden_log_weights(like, block).logsumexp(0)

    def exact_rows(self, n: int, like: Tensor) -> Tensor:
        """n independent draws of x, by the probabilities of all states of the hidden layer."""
        shares = self.hidden_log_weights(like).softmax(0)
        below = shares.cumsum(0)
        at = torch.rand(n, dtype=shares.dtype, device=shares.device) * below[-1]
        h = self.states(torch.searchsorted(below, at).clamp(max=len(shares) - 1))
        return self.draw(self.field(h), like.expand(n, -1))

    def gradients(self, x: Tensor, hidden: Tensor, signs: Tensor) -> dict[str, Tensor]:
        """Of -sum_n signs_n free_energy(x_n), by each field; `hidden` are the units' means times the signs."""
        shown = self.shown(x)
        return {
            "weights": shown.t() @ hidden,
            "visible_bias": signs @ shown,
            "hidden_bias": (hidden * self.load(x)).sum(0),
        }

    # ---- machines from machines

    def between(self, other: Self, share: float) -> Self:
        """The machine that is this share of the way to another, in the numbers that the energy is linear in."""
        return self._with({name: torch.lerp(mine, getattr(other, name), share) for name, mine in self.tensors.items()})

    def detach(self) -> Self:
        return self._with({name: tensor.detach() for name, tensor in self.tensors.items()})

    def double(self) -> Self:
        return self._with({name: tensor.double() for name, tensor in self.tensors.items()})

    @property
    def tensors(self) -> dict[str, Tensor]:
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in own.items() if isinstance(value, torch.Tensor)}

    def _with(self, changed: Mapping[str, Any]) -> Self:
        return type(self)(**({each.name: getattr(self, each.name) for each in fields(self)} | dict(changed)))


class VisibleUnits(nn.Module, ABC):
    """A kind of visible units: what a row of x is made of, and the couplings that a model's parameters make with it.

    Parameters:
        features: how many numbers a row of x has.
    """

    support: ClassVar[constraints.Constraint]
    cell: tuple[int, ...] = ()
    """The shape of the statistics of one number of x."""
    told_by_cell: ClassVar[bool] = False
    """Whether the couplings tell what each cell is by itself (`cells`), for rows some of which are held."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features
        self._kept: dict[Any, Any] = {}

    @property
    def statistics(self) -> int:
        """How many statistics a row has: rows of the weights."""
        return self.features * torch.Size(self.cell).numel()

    @abstractmethod
    def couplings(self, weights: Tensor, visible_bias: Tensor, hidden_bias: Tensor) -> Couplings:
        """The machine that a model's parameters make."""

    @abstractmethod
    def resting(self) -> Tensor:
        """The means of the statistics before any row was seen, [statistics]."""

    @abstractmethod
    def means(self, x: Tensor) -> Tensor:
        """The means of the rows' statistics, [statistics], off the edges of what they can be."""

    @abstractmethod
    def bias(self, mean: Tensor) -> Tensor:
        """The model's visible biases at which units without couplings have these means."""

    def initialise(self, x: Tensor) -> None:
        """Set parameters of its own, where there are some, by the first rows."""

    def form(self, x: Tensor) -> Tensor | None:
        """What rows must share to share log Z, [N, any]; None where all rows do."""
        return None

    def blank(self) -> Tensor:
        """A row of the form that the model's own draws have, [1, features]."""
        return torch.zeros(1, self.features)

    def pull_back(self, natural: dict[str, Tensor], machine: Couplings) -> list[Tensor]:
        """Gradients by the couplings, as gradients by the model's parameters, in their order."""
        return [natural["weights"], natural["visible_bias"], natural["hidden_bias"]]

    def contrast(
        self, parameters: tuple[Tensor, Tensor, Tensor], x: Tensor, chains: Tensor, steps: int
    ) -> tuple[Callable[[], Tensor], list[Tensor], Tensor]:
        """`RBM.contrast` for flat rows."""
        with torch.no_grad():
            machine = self.couplings(*parameters).detach()
            rows, weight = torch.cat((x, chains)), signs(len(x), len(chains), parameters[0])
            natural = machine.gradients(rows, machine.hidden(rows) * weight[:, None], weight)
            for _ in range(steps):
                chains = machine.gibbs_step(chains)

        def gap() -> Tensor:
            tensors = machine.tensors
            return torch.stack([(tensors[name] * gradient).sum() for name, gradient in natural.items()]).sum()

        return gap, self.pull_back(natural, machine), chains

    def __getstate__(self) -> dict[str, Any]:
        """A copy makes its own of what is kept from step to step."""
        return {**self.__dict__, "_kept": {}}


def signs(rows: int, chains: int, like: Tensor) -> Tensor:
    """-1/rows for each row and 1/chains for each chain."""
    return torch.cat((like.new_full((rows,), -1 / rows), like.new_full((chains,), 1 / chains)))
