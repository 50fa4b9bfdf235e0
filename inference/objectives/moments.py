"""Moment matching: what is generated is held to the data by a discrepancy of two sets of rows, without a critic."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from inference.objectives.base import Loss, Objective, Player, mean_terms, trainable
from inference.objectives.discrepancies import Discrepancy, EnergyDistance, Mmd, Moment
from inference.objectives.elbo import Elbo
from inference.protocols import CodeGenerating, Generating
from inference.quality.distances import median_distance


def pull(loss: Discrepancy, parameters: list[nn.Parameter]) -> None:
    """Fresh gradients of a discrepancy, which reaches these parameters alone."""
    for parameter in parameters:
        parameter.grad = None
    loss.pull()


class MomentMatching(Objective):
    """Generated rows held to real ones by a discrepancy of the two sets: a generative moment matching network.

    With x_i and their contexts c_i of a batch and y_i = g(z_i, c_i), the loss is D({y_i}, {x_i}). Of a conditional
    model it is that of the joint rows, D({(y_i, s c_i)}, {(x_i, s c_i)}): two conditionals agree (where p(c) > 0) just
    if the joints do. s gives contexts the median distance of rows, so that both count; a class is best given one-hot.
    D sees a batch as a whole, so that larger batches are better, and each process of several takes its own part's.

    Its only term, named by the moment, is the whole unbiased D in the moment's own unit, with the pairs of real rows
    that no gradient comes from; where the gradient has a closed form it is looked at every tenth step. `held_out` is D
    between held-out rows and as many generated.

    Parameters:
        moment: `Mmd`, `EnergyDistance`, `SlicedWasserstein`, or any `Moment`; an `Mmd` unless told.

    References:
        Generative Moment Matching Networks (Li, Swersky and Zemel, 2015), https://arxiv.org/abs/1502.02761
        Conditional Generative Moment-Matching Networks (Ren et al., 2016), https://arxiv.org/abs/1606.04218, for
        another way to condition
    """

    asks: type = Generating
    looks_at = 1 << 16

    def __init__(self, moment: Moment | None = None) -> None:
        super().__init__()
        self.moment = Mmd() if moment is None else moment
        self.context_scale = 1.0

    def prepare(self, model: Any, x: Tensor, context: Tensor | None = None) -> None:
        super().prepare(model, x, context)
        self.settle(x, context)

    def settle(self, x: Tensor, context: Tensor | None) -> None:
        """Scales of rows and contexts, from these."""
        rows = x.flatten(1)
        if context is not None:
            self.context_scale = median_distance(rows) / median_distance(context.to(x.dtype).flatten(1))
        self.moment.settle(self.joint(x, context))

    def joint(self, x: Tensor, context: Tensor | None) -> Tensor:
        """The rows that are compared, [N, D]."""
        rows = x.flatten(1)
        if context is None:
            return rows
        return torch.cat([rows, self.context_scale * context.to(rows.dtype).flatten(1)], 1)

    def pair(self, model: Any, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Made rows and real ones, as they are compared."""
        return self.compared(model.generate(model.noise(len(x)), context), x, context)

    def compared(self, made: Tensor, real: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        if len(real) < 2:
            raise ValueError("moments are of several rows: a batch must have at least 2")
        return self.joint(made.to(real.dtype), context), self.joint(real, context)

    def forward(self, model: Any, x: Tensor, context: Tensor | None = None) -> Loss:
        value = self.moment(*self.pair(model, x, context))
        return Loss(value, mean_terms(**{self.moment.term: value}))

    def players(self, model: Any) -> list[Player]:
        def late(x: Tensor, context: Tensor | None) -> Discrepancy:
            return self.moment.late(*self.pair(model, x, context))

        return [Player("generator", trainable(model), late, backward=pull, look=self.moment.look)]

    def unit(self, model: Any) -> str:
        return f"{self.moment.term} of a batch"

    def get_extra_state(self) -> Any:
        return self.context_scale

    def set_extra_state(self, state: Any) -> None:
        self.context_scale = state


class CodeMatching(MomentMatching):
    """Moment matching in the space of codes: made codes g(z) held to the codes f(x) of rows.

    Two players move beside each other, neither's gradient reaching the other: "autoencoder" by its own objective,
    "generator" by D({g(z_i)}, {f(x_i)}). Of an autoencoder without trainable parameters (fitted before, then frozen by
    `requires_grad_(False)`) only the generator moves, which is the two-stage training of the paper. The moment's scales
    are taken anew at steps 1, 2, 4, 8, ..., as codes drift while they are learned. `held_out` is D of codes.

    Parameters:
        moment: as `MomentMatching` has it, of codes; an `EnergyDistance` unless told, which draws a generator to codes
            however far they are. An `Mmd` does well on frozen codes; beside codes that are still being learned, which
            spread fast at first, its kernels may leave the generator without a gradient (digits, warmup of 50 steps,
            seed 0: it never came back).
        coding: what fits the autoencoder; its `Elbo` unless told, which of point codes is the reconstruction's.

    References:
        Generative Moment Matching Networks (Li, Swersky and Zemel, 2015), https://arxiv.org/abs/1502.02761
    """

    asks = CodeGenerating

    def __init__(self, moment: Moment | None = None, coding: Objective | None = None) -> None:
        super().__init__(EnergyDistance() if moment is None else moment)
        self.coding = Elbo() if coding is None else coding
        self.step = 0

    def prepare(self, model: Any, x: Tensor, context: Tensor | None = None) -> None:
        """The autoencoder's own preparation beside the generator's; codes are looked at as they come."""
        Objective.prepare(self, model, x, context)
        self.coding.prepare(model.autoencoder, x, context)
        self.step = 0

    def pair(self, model: Any, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            codes = model.code(x, context)
        return self.compared(model.generate_code(model.noise(len(x)), context), codes, context)

    def players(self, model: CodeGenerating) -> list[Player]:
        def late(x: Tensor, context: Tensor | None) -> Discrepancy:
            self.step += 1
            if self.step.bit_count() == 1:
                with torch.no_grad():
                    self.settle(model.code(x, context), context)
            return self.moment.late(*self.pair(model, x, context))

        generator = Player("generator", trainable(model.generator), late, backward=pull, look=self.moment.look)
        if not trainable(model.autoencoder):
            return [generator]
        coders = self.coding.players(model.autoencoder)
        if len(coders) == 1:
            coders = [replace(coders[0], name="autoencoder")]
        return [*coders, generator]

    def get_extra_state(self) -> Any:
        return self.context_scale, self.step

    def set_extra_state(self, state: Any) -> None:
        self.context_scale, self.step = state
