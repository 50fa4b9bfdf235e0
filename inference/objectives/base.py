"""What an objective is: a loss in nats a row with named terms, and the players it is a loss for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from inference.data import check_data
from inference.results import NATS


class Loss(NamedTuple):
    """A loss to go down, in nats a row, and the terms it is made of (detached, for the history)."""

    value: Tensor
    terms: dict[str, Tensor]


class LateLoss:
    """A loss that is worked out only where it is asked for, as its gradient came without it."""

    def __init__(self, name: str, work: Callable[[], Tensor]) -> None:
        self.name, self.work = name, work

    @property
    def value(self) -> Tensor:
        return self.work()

    @property
    def terms(self) -> dict[str, Tensor]:
        return {self.name: self.work()}


def backward(loss: Loss | LateLoss, parameters: list[nn.Parameter]) -> None:
    """Fresh gradients for these parameters alone, by autograd."""
    for parameter in parameters:
        parameter.grad = None
    loss.value.backward(inputs=parameters)


def backward_alone(loss: Loss | LateLoss, parameters: list[nn.Parameter]) -> None:
    """The same for an only player, whose loss reaches no one else's: the engine needn't be told where to stop."""
    for parameter in parameters:
        parameter.grad = None
    loss.value.backward()


@dataclass(frozen=True)
class Player:
    """One side of a fit: its parameters, its loss on a batch, and how it gets its gradients.

    `every` makes it move on each `every`-th step only: a generator with every=5 against a critic with
    every=1 is the usual five critic steps (each on a batch of its own) to one.
    `backward(loss, parameters)` leaves this batch's gradients in `.grad`, whatever was there before; an
    objective whose gradient has a closed form brings its own.
    `look` makes the fit ask for the loss's terms, before `backward`, at each `look`-th step only, and at the
    first and the last step of each report: for a `LateLoss`, whose terms would cost as much as they tell.
    """

    name: str
    parameters: list[nn.Parameter]
    loss: Callable[[Tensor, Tensor | None], Loss | LateLoss]
    every: int = 1
    backward: Callable[[Any, list[nn.Parameter]], None] = field(default=backward)
    look: int = 1


class Objective(nn.Module):
    """(model, x, context) -> Loss. State that outlives a step (chains, averages) is kept in buffers.

    `forward` is the loss of the whole model; an objective with several players overrides `players` instead.
    `held_out` is what validation and early stopping look at: the loss itself unless an objective knows better.
    """

    asks: type = object
    """The protocol of the models that it can fit."""
    looks_at: int = 0
    """About how many numbers of x `prepare` would see, transformed as batches are; 0 for a first batch as it comes."""

    def check(self, model: Any, x: Tensor, context: Tensor | None = None, columns: Sequence[str] | None = None) -> None:
        """Refuse rows that this can't be asked of; an objective that can do with missing cells lets them pass."""
        check_data(model, x, context, columns)

    def forward(self, model: Any, x: Tensor, context: Tensor | None = None) -> Loss:
        raise NotImplementedError(f"{type(self).__name__} has several players; ask players(model)")

    def players(self, model: Any) -> list[Player]:
        parameters = trainable(model)
        return [
            Player("model", parameters, lambda x, context: self.forward(model, x, context), backward=backward_alone)
        ]

    def prepare(self, model: Any, x: Tensor, context: Tensor | None = None) -> None:
        """Called once before the first step with the first rows (`looks_at`), to set up what the fit needs.

        A model that has an `initialise(x[, context])` takes from them what parameters it starts with.
        """
        if hasattr(model, "initialise"):
            model.initialise(x, *(() if context is None else (context,)))

    def watch(self, model: Any, terms: Mapping[str, float]) -> dict[str, str]:
        """What ails the model, a sentence by the illness; asked at each report, of the means since the last.

        It leaves the model and all random states as they are. What it remembers is part of the objective's state.
        """
        return {}

    def unit(self, model: Any) -> str:
        """What the loss counts."""
        return NATS

    def held_out(self, model: Any, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Mean nats a row on rows not trained on, to go down."""
        return self(model, x, context).value


class Counting(Objective):
    """An objective with schedules: `step` is that of the fit, a number on the host; checkpoints hold it."""

    step: int = 0

    def prepare(self, model: Any, x: Tensor, context: Tensor | None = None) -> None:
        """Each fit counts its own steps."""
        super().prepare(model, x, context)
        self.step = 0

    def get_extra_state(self) -> int:
        return self.step

    def set_extra_state(self, state: int) -> None:
        self.step = state


def trainable(module: Any) -> list[nn.Parameter]:
    parameters: Iterable[nn.Parameter] = module.parameters() if isinstance(module, nn.Module) else ()
    return [p for p in parameters if p.requires_grad]


def mean_terms(**terms: Tensor) -> dict[str, Tensor]:
    return {name: value.detach() if isinstance(value, torch.Tensor) else value for name, value in terms.items()}
