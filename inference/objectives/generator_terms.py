"""What may be added to a generator's loss beside its game."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn


@runtime_checkable
class GeneratorTerm(Protocol):
    """A term of the generator's loss, known in the history by its name.

    A term may have `prepare(model)`, called once before the first step, and `of_critic(model)`, a term of the same
    name for the critic's loss. One that is a module keeps its buffers in checkpoints.
    """

    @property
    def name(self) -> str: ...

    def __call__(self, model: Any, made: Tensor, x: Tensor, context: Tensor | None) -> Tensor: ...


class FeatureMatching:
    """weight * |E_data f(x) - E_noise f(g(z))|^2 of a critic's features f, `critic.features(x[, context])` [N, D].

    The made rows are to have the data's means of what the critic looks at; the features are taught by the game alone.

    References:
        Improved Techniques for Training GANs (Salimans et al., 2016), https://arxiv.org/abs/1606.03498
    """

    name = "feature_matching"

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = checked_weight(weight)

    def prepare(self, model: Any) -> None:
        if not hasattr(model.critic, "features"):
            raise TypeError(
                f"feature matching asks for critic.features(x[, context]), what the critic's last layer reads, which "
                f"{type(model.critic).__name__} does not have"
            )

    def __call__(self, model: Any, made: Tensor, x: Tensor, context: Tensor | None) -> Tensor:
        given = () if context is None else (context,)
        with torch.no_grad():
            real = model.critic.features(x, *given).flatten(1).mean(0)
        gap = model.critic.features(made, *given).flatten(1).mean(0) - real
        return self.weight * gap.square().sum()


class HistoricalAveraging(nn.Module):
    """weight * |p - a|^2 of each player, where a is the mean of what its parameters p were at its steps, p included.

    Players that circle round an equilibrium are drawn to the middle of their circle. The averages are buffers.

    References:
        Improved Techniques for Training GANs (Salimans et al., 2016), https://arxiv.org/abs/1606.03498
    """

    name = "historical_averaging"

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = checked_weight(weight)

    def prepare(self, model: Any) -> None:
        """Each fit has a history of its own."""
        self._buffers.clear()
        for player in ("generator", "critic"):
            parameters = _moved(getattr(model, player))
            self.register_buffer(f"{player}_steps", torch.zeros((), device=parameters[0].device))
            for i, parameter in enumerate(parameters):
                self.register_buffer(f"{player}_{i}", torch.zeros_like(parameter))

    def forward(self, model: Any, made: Tensor, x: Tensor, context: Tensor | None) -> Tensor:
        return self._of("generator", model)

    def of_critic(self, model: Any) -> Tensor:
        return self._of("critic", model)

    def _of(self, player: str, model: Any) -> Tensor:
        parameters = _moved(getattr(model, player))
        averages = [getattr(self, f"{player}_{i}") for i in range(len(parameters))]
        with torch.no_grad():
            steps = getattr(self, f"{player}_steps").add_(1)
            moves = torch._foreach_sub(parameters, averages)
            torch._foreach_div_(moves, steps)
            torch._foreach_add_(averages, moves)
        gaps = torch._foreach_sub(parameters, [average.clone() for average in averages])
        return self.weight * torch.stack([gap.square().sum() for gap in gaps]).sum()


def _moved(part: nn.Module) -> list[Tensor]:
    return [parameter for parameter in part.parameters() if parameter.requires_grad]


def checked_weight(weight: float) -> float:
    if not weight > 0:
        raise ValueError(f"weight must be above 0, not {weight}")
    return weight
