"""Contrastive divergence: the gradient of log Z, from chains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from inference.data import check_known
from inference.objectives.base import LateLoss, Loss, Objective, Player, mean_terms, trainable
from inference.objectives.chain_watch import ChainWatch
from inference.protocols import name_of

MOST_COLUMNS = 64
"""Columns that the held-out pseudo-likelihood looks at; evenly spaced ones of a longer row."""


LOOK = 25
"""Steps between two looks at the closed form's gap, which the gradient doesn't need."""


class PersistentChains(nn.Module):
    """Chains that go on from step to step; their state is a buffer, and so part of a checkpoint.

    Training Restricted Boltzmann Machines using Approximations to the Likelihood Gradient (Tieleman, 2008),
    https://doi.org/10.1145/1390156.1390290
    """

    state: Tensor

    def __init__(self, count: int = 100) -> None:
        super().__init__()
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"chains must be a positive number of chains, not {count!r}")
        self.count = count
        self.register_buffer("state", torch.empty(0))

    def check(self, model: Any, x: Tensor) -> None:
        """Refuse rows whose machines are not that of the chains."""
        check_own(model, x)

    def prepare(self, model: Any, steps: int) -> None:
        with torch.no_grad():
            self.state = swept(model, model.start(self.count), steps)

    def rows(self, model: Any, x: Tensor, steps: int) -> Tensor:
        """The chains' rows as they are; the chains then go on by so many sweeps."""
        now = self.state
        self.state = swept(model, now, steps)
        return now

    def contrast(self, model: Any, x: Tensor, steps: int) -> tuple[Callable[[], Tensor], list[Tensor]]:
        """Gap and gradients against `rows`; the sweeps share the work."""
        buffers = self._buffers  # assigning to a module's attribute costs 5 us of a step of 100
        gap, gradients, buffers["state"] = model.contrast(x, buffers["state"], steps)
        return gap, gradients


class DataChains(nn.Module):
    """Chains that start anew at the batch's own rows in each step.

    Training Products of Experts by Minimizing Contrastive Divergence (Hinton, 2002),
    https://doi.org/10.1162/089976602760128018
    """

    def check(self, model: Any, x: Tensor) -> None:
        """Nothing: each chain has the form of its row."""

    def prepare(self, model: Any, steps: int) -> None:
        """Nothing: there is no state."""

    def rows(self, model: Any, x: Tensor, steps: int) -> Tensor:
        """Rows so many sweeps away from the batch's own."""
        return swept(model, x, steps)

    def contrast(self, model: Any, x: Tensor, steps: int) -> tuple[Callable[[], Tensor], list[Tensor]]:
        gap, gradients, _ = model.contrast(x, self.rows(model, x, steps), 0)
        return gap, gradients


def swept(model: Any, rows: Tensor, steps: int) -> Tensor:
    for _ in range(steps):
        rows = model.gibbs_step(rows)
    return rows


def apart(model: Any, x: Tensor) -> bool:
    """Whether some row's log Z is not that of the model's own draws, as of documents of other lengths."""
    return hasattr(model, "strata") and any(energy is not model for _, energy in model.strata(x))


def check_own(model: Any, x: Tensor) -> None:
    if apart(model, x):
        raise ValueError(
            "rows of x have a log Z of their own: their length, or the cells they lack, differ from those of draws of "
            f"{name_of(model)}, so that no chains serve all rows: take chains=DataChains()"
        )


class ContrastiveDivergence(Objective):
    """Contrastive divergence for any `Energy`: mean free_energy(x) - mean free_energy(rows of the chains).

    Its gradient, with the chains' rows held fixed, is that of the negative log-likelihood up to how far the
    chains are from the model's distribution. The gap itself is no likelihood, and nears 0 as the model fits.

    A model that offers `contrast` (see `inference.protocols.Energy`) gives gap and gradient in closed form; for
    any other, autograd takes the gradient. A model that offers `initialise(x)` is given the first batch.

    The history names the gap by what it is of: "free_energy_gap", the hidden units summed out, by autograd;
    "expected_energy_gap", the energies at the hidden units' means given each row, in closed form. The two
    differ by a gap of the hidden units' entropies, and have the same gradient. The second is looked at in each
    25th step, and in the first and last before each report.

    Parameters:
        steps: Gibbs sweeps between two steps of the fit.
        chains: `PersistentChains(count)`, or a count for it; `DataChains()`; or `TemperedChains(count, temperatures)`.
            Unless told, 100 that persist, or those of the data where rows differ in their log Z.
    """

    def __init__(self, steps: int = 1, chains: int | nn.Module | None = None) -> None:
        super().__init__()
        if not isinstance(steps, int) or steps < 1:
            raise ValueError(f"steps must be a positive number of sweeps, not {steps!r}")
        self.steps = steps
        self.open = chains is None
        self.chains: Any = PersistentChains() if chains is None else chains
        if isinstance(chains, int):
            self.chains = PersistentChains(chains)
        self.watching = ChainWatch()

    def check(self, model: Any, x: Tensor, context: Tensor | None = None, columns: Sequence[str] | None = None) -> None:
        check_known(model, x, context, columns)
        if self.open and apart(model, x) and not len(getattr(self.chains, "state", ())):
            self.chains = DataChains()
        self.chains.check(model, x)

    def watch(self, model: Any, terms: Mapping[str, float]) -> dict[str, str]:
        """Whether chains that go on from step to step, if these do, have diverged."""
        state = getattr(self.chains, "state", None)
        return {} if state is None else self.watching.look(model, state)

    def prepare(self, model: Any, x: Tensor, context: Tensor | None = None) -> None:
        super().prepare(model, x, context)
        self.watching.prepare(x)
        self.chains.prepare(model, self.steps)

    def forward(self, model: Any, x: Tensor, context: Tensor | None = None) -> Loss:
        """The gap, for autograd."""
        with torch.no_grad():
            chains = self.chains.rows(model, x, self.steps)
        data, model_rows = model.free_energy(x).mean(), model.free_energy(chains).mean()
        return Loss(data - model_rows, mean_terms(free_energy_gap=data - model_rows))

    def players(self, model: Any) -> list[Player]:
        if not hasattr(model, "contrast"):
            return super().players(model)
        closed = _ClosedForm(self, model)
        return [Player("model", trainable(model), closed.loss, backward=closed.backward, look=LOOK)]

    @torch.no_grad()
    def held_out(self, model: Any, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The negative log pseudo-likelihood of rows of bits, -sum_i log p(x_i | the row's other bits).

        It needs no log Z, is least in expectation where the model is the data's distribution, and draws
        nothing at random. Of rows longer than 64 bits it looks at 64, evenly spaced, and scales up.

        Statistical Analysis of Non-Lattice Data (Besag, 1975), https://doi.org/10.2307/2987782
        """
        if not ((x == 0) | (x == 1)).all():
            raise ValueError(
                "contrastive divergence judges held-out rows of zeros and ones only; fit without validation"
            )
        energy = model.free_energy(x)
        total = energy.new_zeros(())
        flat = x.reshape(len(x), -1).to(energy.dtype)
        width = flat.shape[1]
        columns = torch.linspace(0, width - 1, min(width, MOST_COLUMNS)).round().long().tolist()
        for column in columns:
            flipped = flat.clone()
            flipped[:, column] = 1 - flipped[:, column]
            odds = model.free_energy(flipped.reshape(x.shape)) - energy
            total = total - nn.functional.logsigmoid(odds).mean()
        return total * (width / len(columns))


class _ClosedForm:
    """The player of a model that offers `contrast`: the gradient comes with the loss."""

    def __init__(self, objective: ContrastiveDivergence, model: Any) -> None:
        self.chains, self.steps, self.model = objective.chains, objective.steps, model
        self.parameters = list(model.parameters())
        self.gradients: list[Tensor] = []

    def loss(self, x: Tensor, context: Tensor | None) -> LateLoss:
        gap, self.gradients = self.chains.contrast(self.model, x, self.steps)
        return LateLoss("expected_energy_gap", gap)

    def backward(self, loss: LateLoss, parameters: list[nn.Parameter]) -> None:
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient if parameter.requires_grad else None
