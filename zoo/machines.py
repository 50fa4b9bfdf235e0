"""What energy-based families whose machine is known (`zoo.units`) have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn import functional as F

from zoo.base import EnergyBased, Shape
from zoo.clamping import LARGEST_LIST, Clamped
from zoo.enumeration import Enumeration, listed
from zoo.machine_path import Annealing, Joint
from zoo.units import Machine, Pairwise, mean_field, smoothed_mean, sweep, variational_free_energy
from zoo.visible_units import LARGEST_SUM, bits

INNER = 10
"""Sweeps over hidden units from their mean field, for a draw of them given x where they are too many to list."""


class UnitMachine(EnergyBased):
    """A machine of bits, some of them those of x and the others hidden; p(x) sums over the hidden.

    A family gives `machine`. The free energy is exact while at most 16 hidden units must be listed (one group of
    units that aren't coupled is summed in closed form); beyond, it is the least upper bound by mean field, and
    `free_energy_kind` says so. `joint` is the energy of x and hidden units together, whose chains are exact always;
    gibbs_step draws the hidden units given x exactly where they can be listed, and by 10 sweeps where not.
    """

    support = constraints.boolean

    def __init__(self, event_shape: Shape, *, context_shape: Shape | None = None, hidden: int) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        if context_shape is not None:
            raise ValueError(f"a {type(self).__name__} takes no context: join it to x, or take a conditional family")
        self.units = self.features + hidden
        self.register_buffer("visible_mean", torch.full((self.features,), 0.5))
        self.register_buffer("initialised", torch.tensor(False))

    def _ready(self) -> None:
        """Called once the machine is there: what it is small enough for."""
        self._hidden_free = torch.arange(self.units) >= self.features
        self._summed_hidden = listed(self.machine, self._hidden_free) <= LARGEST_LIST
        whole = listed(self.machine, torch.ones(self.units, dtype=torch.bool))
        self._summed_all = self._summed_hidden and whole <= LARGEST_SUM
        if self._summed_all:
            self.capabilities = type(self).capabilities | {"log_partition"}  # type: ignore[misc]

    @property
    @abstractmethod
    def machine(self) -> Machine:
        """The machine at the parameters as they are, the units of x first."""

    @abstractmethod
    def set_visible_bias(self, bias: Tensor) -> None:
        """Write the biases of the units of x."""

    # ---- what an energy offers

    @property
    def free_energy_kind(self) -> str:
        return "exact" if self._summed_hidden else "upper bound, by mean field"

    def free_energy(self, x: Tensor) -> Tensor:
        s, machine = self._padded(x), self.machine
        if not self._summed_hidden:
            return variational_free_energy(machine, mean_field(machine, s, self._known(s)))
        rows = max(1, (1 << 22) >> listed(machine, self._free(s)))
        return torch.cat([-Enumeration(machine, part, self._free(s)).log_total() for part in s.split(rows)])

    @torch.no_grad()
    def gibbs_step(self, x: Tensor) -> Tensor:
        s = self.draw_hidden(x)
        return self._shown(sweep(self.machine, s, ~self._known(s)), x)

    @torch.no_grad()
    def draw_hidden(self, x: Tensor) -> Tensor:
        """x and hidden units drawn given it, [N, units]."""
        s, machine = self._padded(x), self.machine
        known = self._known(s)
        if self._summed_hidden:
            return Clamped(machine, s, known).draw()
        s = bits(mean_field(machine, s, known))
        for _ in range(INNER):
            s = sweep(machine, s, known)
        return s

    def start(self, n: int) -> Tensor:
        """n rows of independent bits, at the means given to `initialise` (fair bits before it)."""
        return bits(self.visible_mean.expand(n, -1)).reshape(n, *self.event_shape)

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Set, once in a model's life, the visible biases to the log-odds of the rows' means."""
        if not self.initialised:
            self.visible_mean.copy_(smoothed_mean(self._padded(x)[:, : self.features]))
            self.set_visible_bias(self.visible_mean.logit())
            self.initialised.fill_(True)

    @torch.no_grad()
    def sample(self, n: int = 1, *, context: Tensor | None = None) -> Tensor:
        """n rows, each after `sweeps` sweeps over all units."""
        self.context_rows(n, context)
        return self.joint.sample(n)[:, : self.features].reshape(n, *self.event_shape)

    # ---- all units together

    @property
    def joint(self) -> Joint:
        """The energy of x and hidden units together, rows [N, units]."""
        return Joint(self.machine, self._means(), self.sweeps)

    def clamped(self, x: Tensor, known: Tensor) -> Clamped:
        """Rows of which some cells are known, for `inference.query`; the units of x come first, then the hidden."""
        known = F.pad(known.flatten(1), (0, self.units - self.features), value=False)
        return Clamped(self.machine, self._padded(x), known)

    @property
    def log_partition(self) -> Callable[[], Tensor]:
        """`log_partition()` is the exact log Z, summed in float64; a larger machine refuses."""
        if not self._summed_all:
            raise AttributeError("too many units")  # the base class says so in its own words
        return self._log_partition

    @torch.no_grad()
    def _log_partition(self) -> Tensor:
        return self._all_states().log_total()[0]

    @torch.no_grad()
    def marginals(self) -> Tensor:
        """P(unit = 1) of each unit, [units], exact; only where `log_partition` is."""
        return self._all_states().means()[0]

    @torch.no_grad()
    def moments(self) -> Tensor:
        """P(both units = 1) of each pair, [units, units], exact; only where `log_partition` is."""
        return self._all_states().moments()[0]

    @torch.no_grad()
    def _all_states(self) -> Enumeration:
        if not self._summed_all:
            raise ValueError(f"{self.units} units are too many to sum over; ask sample, or inference.ais for log Z")
        machine, bias = self.machine, self.machine.bias.double()
        whole = Pairwise(machine.matrix.double(), bias, tuple(machine.groups))
        return Enumeration(whole, bias.new_zeros(1, self.units), torch.ones_like(bias, dtype=torch.bool))

    @torch.no_grad()
    def annealing(self, data: Tensor | None = None) -> Annealing:
        """A path to this machine from independent bits, at the means of these rows, or of those it began with."""
        mean = None if data is None else smoothed_mean(self._padded(data)[:, : self.features])
        return Joint(self.machine, self._means(mean), self.sweeps).annealing()

    # ---- rows and units

    def _means(self, visible: Tensor | None = None) -> Tensor:
        mean = self.visible_mean if visible is None else visible
        return F.pad(mean, (0, self.units - self.features), value=0.5)

    def _padded(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, self.features).to(self.dtype)
        return F.pad(flat, (0, self.units - self.features))

    def _free(self, s: Tensor) -> Tensor:
        return self._hidden_free.to(s.device)

    def _known(self, s: Tensor) -> Tensor:
        return (~self._free(s)).expand(len(s), -1)

    def _shown(self, s: Tensor, like: Tensor) -> Tensor:
        return s[:, : self.features].reshape(like.shape).to(like.dtype)
