"""Restricted Boltzmann machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn import functional as F

from zoo.base import EnergyBased, Shape
from zoo.clamping import Clamped
from zoo.declared import declared
from zoo.held import HeldRows
from zoo.rbm_path import Annealing, Machine
from zoo.units import Layers
from zoo.visible_bernoulli import BernoulliUnits
from zoo.visible_counts import ReplicatedSoftmaxUnits
from zoo.visible_gaussian import GaussianUnits
from zoo.visible_ratings import RatingUnits
from zoo.visible_softmax import SoftmaxUnits
from zoo.visible_units import Couplings, VisibleUnits

UNITS: Mapping[str, type[VisibleUnits]] = {
    "bernoulli": BernoulliUnits,
    "gaussian": GaussianUnits,
    "softmax": SoftmaxUnits,
    "ratings": RatingUnits,
    "replicated_softmax": ReplicatedSoftmaxUnits,
}
Visible = VisibleUnits | Callable[[int], VisibleUnits] | Mapping[str, Any] | str
"""What the place of visible units takes: built ones, what builds them for a number of features, a name or a table."""


class RBM(EnergyBased):
    """Restricted Boltzmann machine: p(x, h) = exp(x W h + b x + c h) / Z, h of zeros and ones summed out.

    So it is for x of zeros and ones; other kinds of visible units say what stands for x there (`zoo.visible_units`).

    Shapes: x is [N, *event_shape]; it is flattened to meet the weights, [statistics, hidden], a statistic for each
    number of x, or for each of its levels.
    Its free energies are in nats. log Z is exact (`log_partition`) where the hidden layer, or one of visible bits, has
    at most 20 units; ask `inference.ais` otherwise.

    Parameters:
        hidden: how many hidden units.
        visible: the kind of the visible units: "bernoulli", {"kind": "gaussian", "variance": "learned"},
            {"kind": "softmax", "levels": 5}, {"kind": "ratings", "levels": 5} (`zoo.Recommender` asks such a model) or
            {"kind": "replicated_softmax"}; in Python also the units themselves.

    Reproducible: binarised digits, 16 hidden units, -18.1 nats exact, held out (benchmarks.foundation_tasks.rbm);
    statically binarised MNIST, 500 hidden units, seed 0, 40 epochs of PCD-1: -90.9 nats by AIS, -91.5 by reverse AIS
    (benchmarks.implicit_tasks.rbm_mnist).

    References:
        Training Products of Experts by Minimizing Contrastive Divergence (Hinton, 2002),
        https://doi.org/10.1162/089976602760128018
        On the Quantitative Analysis of Deep Belief Networks (Salakhutdinov and Murray, 2008), the path of
        `annealing`, https://doi.org/10.1145/1390156.1390266
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        hidden: int = 64,
        visible: Mapping[str, Any] | str | VisibleUnits | Callable[[int], VisibleUnits] = "bernoulli",
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        if context_shape is not None:
            raise ValueError("an RBM takes no context: join it to x, or take a conditional family such as the VAE")
        if not isinstance(hidden, int) or hidden < 1:
            raise ValueError(f"hidden must be a positive number of units, not {hidden!r}")
        self.hidden = hidden
        units = visible_units(visible, self.features)
        self.weights = nn.Parameter(0.01 * torch.randn(units.statistics, hidden))
        self.visible_bias = nn.Parameter(torch.zeros(units.statistics))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.visible = units
        self.support = units.support
        if hasattr(units, "missing_code"):
            self.missing_code = units.missing_code
        self.register_buffer("visible_mean", units.resting())
        self.register_buffer("initialised", torch.tensor(False))
        if self.couplings.can_sum:
            self.capabilities = type(self).capabilities | {"log_partition"}  # type: ignore[misc]

    @property
    def couplings(self) -> Couplings:
        return self.visible.couplings(self.weights, self.visible_bias, self.hidden_bias)

    # ---- what an energy offers

    def free_energy(self, x: Tensor) -> Tensor:
        return self.couplings.free_energy(self._flat(x))

    def hidden_probabilities(self, x: Tensor) -> Tensor:
        """p(h_j = 1 | x), [N, hidden]."""
        return self.couplings.hidden(self._flat(x))

    def visible_means(self, h: Tensor, like: Tensor | None = None) -> Tensor:
        """The mean of x given h [N, hidden], [N, *event_shape]; of codes p(level), [N, *event_shape, levels].

        Each row has the form of the rows `like`: as many words, the same cells missing.
        """
        machine = self.couplings
        rows = self._blank() if like is None else self._flat(like)
        mean = machine.expected(machine.field(h), rows.expand(len(h), -1))
        return mean.reshape(len(h), *self.event_shape, *self.visible.cell)

    @torch.no_grad()
    def gibbs_step(self, x: Tensor) -> Tensor:
        """x given h given x; a document keeps its length, and what is missing stays so."""
        return self.couplings.gibbs_step(self._flat(x)).reshape(x.shape)

    @torch.no_grad()
    def start(self, n: int) -> Tensor:
        """n rows of units without couplings, at the means given to `initialise`."""
        return self.machine().start(n)

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Set, once in a model's life, the visible biases to those at which free units have the rows' means.

        Without it the weights spend their first epochs on saying how bright each pixel is.
        """
        if not self.initialised:
            rows = self._flat(x)
            self.visible.initialise(rows)
            self.visible_mean.copy_(self.visible.means(rows))
            self.visible_bias.copy_(self.visible.bias(self.visible_mean))
            self.initialised.fill_(True)

    @property
    def clamped(self) -> Callable[[Tensor, Tensor], Clamped]:
        """`clamped(x, known)` are rows of bits some cells of which are known, for `inference.query`."""
        if self.support is not constraints.boolean:
            raise AttributeError("only bits are held")
        return self._clamped

    def _clamped(self, x: Tensor, known: Tensor) -> Clamped:
        held = F.pad(known.flatten(1), (0, self.hidden), value=False)
        units = Layers((self.weights,), (self.visible_bias, self.hidden_bias))
        return Clamped(units, F.pad(self._flat(x).to(self.dtype), (0, self.hidden)), held)

    @property
    def held(self) -> Callable[[Tensor, Tensor], HeldRows]:
        """`held(x, known)` are rows of numbers or codes some cells of which are known, for `inference.query`."""
        if not self.visible.told_by_cell:
            raise AttributeError("bits are clamped; words and ratings have no cells that are told by themselves")
        return self._held

    def _held(self, x: Tensor, known: Tensor) -> HeldRows:
        return HeldRows(self.couplings.detach(), self._flat(x), known.flatten(1), self.event_shape)

    # ---- log Z

    @torch.no_grad()
    def machine(self, like: Tensor | None = None, mean: Tensor | None = None) -> Machine:
        """The machine for rows of one form, that of the row `like` [1, *event_shape], or of the model's own draws.

        Its base has the means of statistics `mean`, unless told those given to `initialise`.
        """
        couplings = self.couplings.detach()
        bias = self.visible.bias(self.visible_mean if mean is None else mean)
        none = bias.new_zeros(1)  # of any size at no cost: there may be a machine for each row
        free = self.visible.couplings(none.expand_as(self.weights), bias, none.expand_as(self.hidden_bias))
        row = self._blank() if like is None else self._flat(like)
        return Machine(couplings, free.detach(), row, self.event_shape)

    def strata(self, x: Tensor) -> list[tuple[Tensor, Any]]:
        """The rows that share a log Z, by their indices, and the energy that has it: this model, or its `machine`."""
        rows = self._flat(x)
        form, own = self.visible.form(rows), self.visible.form(self._blank())
        if form is None or own is None:
            return [(torch.arange(len(x), device=x.device), self)]
        kinds, which = torch.unique(form, dim=0, return_inverse=True)
        found: list[tuple[Tensor, Any]] = []
        for number, kind in enumerate(kinds):
            index = (which == number).nonzero()[:, 0]
            found.append((index, self if torch.equal(kind[None], own) else self.machine(x[index[:1]])))
        return found

    @property
    def log_partition(self) -> Callable[[], Tensor]:
        """`log_partition()` is the exact log Z, summed in float64; a larger machine refuses."""
        return self.machine().log_partition

    @property
    def exact_rows(self) -> Callable[[int], Tensor]:
        """`exact_rows(n)` are independent exact draws where log Z can be summed, [n, *event_shape]."""
        return self.machine().exact_rows

    @torch.no_grad()
    def annealing(self, data: Tensor | None = None) -> Annealing:
        """A path to this machine from free units, at the means of these rows, or of those it began with."""
        return self.machine(mean=None if data is None else self.visible.means(self._flat(data))).annealing()

    # ---- gradients in closed form

    def contrast(self, x: Tensor, chains: Tensor, steps: int) -> tuple[Callable[[], Tensor], list[Tensor], Tensor]:
        """(gap, gradients, the chains' rows after `steps` more Gibbs sweeps).

        `gradients`, by each of `parameters()`, is that of mean free_energy(x) - mean free_energy(chains), the
        chains held fixed. `gap()`, asked before the parameters move, is the same difference of mean energies,
        in nats, the hidden units at their means given each row: the energy's numbers times their gradient.
        """
        if x.dim() > 2:
            flat = self.contrast(x.flatten(1), chains.flatten(1), steps)
            return *flat[:2], flat[2].view(chains.shape)
        parameters: Any = tuple(self._parameters.values())  # an attribute of a module costs 2 us
        return self._modules["visible"].contrast(parameters, x, chains, steps)  # type: ignore[union-attr, operator]

    def _flat(self, x: Tensor) -> Tensor:
        return x.reshape(-1, self.features)

    def _blank(self) -> Tensor:
        return self.visible.blank().to(self.weights.device)


def visible_units(written: Visible, features: int) -> VisibleUnits:
    """Visible units, built if need be; refused where they are of another number of features."""
    if isinstance(written, VisibleUnits):
        units = written
    else:
        maker = written if callable(written) else declared("visible", written, UNITS, given=("features",))
        units = maker(features)
    if not isinstance(units, VisibleUnits):
        raise TypeError(f"visible must be VisibleUnits, or build them, not {type(units).__name__}")
    if units.features != features:
        raise ValueError(f"visible: these units are for {units.features} features, but a row has {features}")
    return units
