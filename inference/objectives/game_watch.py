"""What is looked at in each report of a game, and the alarms that come of it.

Nothing is looked at between reports, and what is looked at leaves the fit as it is: a few hundred rows are made in
evaluation mode from random numbers of their own, and the gradients of the step that was last are measured.

References:
    NIPS 2016 Tutorial: Generative Adversarial Networks (Goodfellow, 2016), https://arxiv.org/abs/1701.00160
    Towards Principled Methods for Training Generative Adversarial Networks (Arjovsky and Bottou, 2017),
    https://arxiv.org/abs/1701.04862, for a critic that is right and a generator that learns nothing of it
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from inference.asking import asking
from inference.objectives.base import Objective, trainable
from inference.quality.modes import LOOKED_AT, ModeCoverage, Modes, find_modes, mode_coverage, unit_of

PATIENCE = 5
"""Reports in a row that must show an illness: a game swings, and most of what it shows passes."""
STAYS = 10
"""The same of a collapse: a young fit finds the modes one after another."""
MADE = 256
"""Rows made for a look."""
MISSED = 0.1
"""The share of the data that made rows miss in a collapse."""
BLIND = 0.02
"""Of the loss of a critic that knows nothing, what a critic is below that overpowers."""
FADED = 1e-3
"""Of its largest norm so far, what a gradient is below that vanishes; and a thousandth of it, over the parameters."""


class WatchedGame(Objective):
    """A game of a generator and a critic that says at each report what ails it."""

    looks_at = 2**18

    def __init__(self) -> None:
        super().__init__()
        self.watching = GameWatch()

    def critic_value(self, real: Tensor, made: Tensor) -> Tensor:
        """The critic's loss, from its answers to real rows and to made ones."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its critic wants")

    def prepare(self, model: Any, x: Tensor, context: Tensor | None = None) -> None:
        super().prepare(model, x, context)
        self.watching.prepare(x, context)

    def watch(self, model: Any, terms: Mapping[str, float]) -> dict[str, str]:
        nothing = torch.zeros(1)
        return self.watching.look(model, terms, float(self.critic_value(nothing, nothing)))


class GameWatch(nn.Module):
    """The last reports of a game, and rows of data to hold what is made to. Checkpoints hold the reports."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, list[float]] = {}

    def prepare(self, x: Tensor, context: Tensor | None) -> None:
        """Rows of the data, evenly spaced."""
        step = max(1, -(-len(x) // LOOKED_AT))
        self.x, self.context = x[::step], None if context is None else context[::step]
        self.modes: Modes | None = None
        self.seen = {}

    def look(self, model: Any, terms: Mapping[str, float], blind: float) -> dict[str, str]:
        """What ails the game, with this report as the last of those seen."""
        found = {
            "vanishing gradients": self._vanishing(model),
            "critic overpowering": self._overpowering(terms, blind),
            "mode collapse": self._collapse(model),
        }
        return {illness: sentence for illness, sentence in found.items() if sentence}

    def _last(self, what: str, value: float, reports: int = PATIENCE) -> list[float]:
        """The last values of something, this one among them; empty while there are too few to judge by."""
        values = self.seen[what] = [*self.seen.get(what, []), value][-reports:]
        return values if len(values) == reports else []

    # ---- illnesses

    def _vanishing(self, model: Any) -> str:
        """Of the gradients that the last step left behind."""
        parameters = trainable(model.generator)
        gradients = [p.grad for p in parameters if p.grad is not None]
        if not gradients:
            return ""
        norm = float(nn.utils.get_total_norm(gradients))
        size = float(nn.utils.get_total_norm([p.detach() for p in parameters]))
        largest = max(norm, *self.seen.get("largest", [0.0]))
        self.seen["largest"] = [largest]
        last = self._last("gradient", norm)
        if not last or max(last) >= max(FADED * largest, FADED**2 * size):
            return ""
        return (
            f"the generator's gradients vanish: their norm is {norm:.2g}, of {largest:.2g} at most so far and "
            f"parameters of norm {size:.2g}; take a loss that does not saturate (non-saturating, Wasserstein with a "
            "gradient penalty), or a weaker critic."
        )

    def _overpowering(self, terms: Mapping[str, float], blind: float) -> str:
        """A critic that is as good as never wrong, while the generator does not get better at its own loss."""
        if "critic.loss" not in terms or "generator.loss" not in terms or blind <= 0:
            return ""
        critic = self._last("critic", (terms["critic.loss"] - terms.get("critic.penalty", 0.0)) / blind)
        generator = self._last("generator", terms["generator.loss"])
        if not critic or not generator or max(critic) > BLIND or generator[-1] < generator[0]:
            return ""
        return (
            f"the critic overpowers the generator: its loss is {critic[-1]:.1%} of what guessing costs, its answers "
            f"are {terms['critic.real']:.3g} to real rows and {terms['critic.fake']:.3g} to made ones, and the "
            "generator's loss does not fall; give the critic a smaller lr, spectral normalisation or a penalty (R1)."
        )

    def _collapse(self, model: Any) -> str:
        """Parts of the data that no row is made in."""
        modes = self._found()
        if modes is None:
            return ""
        context = None if self.context is None else self.context[torch.arange(MADE) % len(self.x)]
        with asking(model, 0):
            made = model.generate(model.noise(MADE), context).flatten(1).double()
        if not made.isfinite().all():
            return ""
        coverage = mode_coverage(made, modes)
        last = self._last("missed", coverage.missed, STAYS)
        ill = last and min(last) >= MISSED and last[-1] >= last[0]
        return collapsed(coverage) if ill else ""

    def _found(self) -> Modes | None:
        """The data's modes, looked for once, each reaching as far as it is the nearest; None where there are none."""
        if self.modes is None and len(torch.unique(self.x.flatten(1), dim=0)) > 1:
            rows = self.x.flatten(1).double()
            self.modes = find_modes(rows, unit=unit_of(self.x)).cells()
        return self.modes

    # ---- checkpoints

    def get_extra_state(self) -> dict[str, list[float]]:
        return self.seen

    def set_extra_state(self, state: dict[str, list[float]]) -> None:
        self.seen = state


def collapsed(coverage: ModeCoverage) -> str:
    """Which modes are missing, and what to do about it."""
    missing, count = ", ".join(coverage.missing), len(coverage.missing)
    return (
        f"modes have collapsed: next to nothing is made in {count} of the {len(coverage.shares)} modes of the data, "
        f"where {coverage.missed:.0%} of its rows are: {missing}; take a critic of bounded slope (spectral "
        "normalisation, R1, Wasserstein with a gradient penalty), or minibatch discrimination."
    )
