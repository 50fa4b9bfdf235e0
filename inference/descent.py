"""Gradient descent and Adam, for models so small that an optimiser's overhead is what a step costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn


class Descent(torch.optim.Optimizer):
    """parameter - lr gradient, as `torch.optim.SGD` without momentum, in a sixth of its time on the CPU."""

    def __init__(self, parameters: list[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})
        self._plain: dict[int, torch.Tensor] = {}

    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        plain = self._plain
        for group in self.param_groups:
            moved, gradients = [], []
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is not None:
                    alias = plain.get(id(parameter))
                    if alias is None or alias.data_ptr() != parameter.data_ptr():
                        alias = plain[id(parameter)] = parameter.detach()  # costs less to pass, and no autograd to stop
                    moved.append(alias)
                    gradients.append(gradient)
            if moved:
                torch._foreach_add_(moved, gradients, alpha=-group["lr"])

    step.hooked = True  # type: ignore[attr-defined]  # torch would wrap it in a profiler's record, which costs more


def descent(parameters: list[nn.Parameter], lr: float) -> Descent:
    """`optimizer=descent` for `inference.fit`."""
    return Descent(parameters, lr)


class FusedAdam(torch.optim.Adam):
    """`torch.optim.Adam(fused=True)` to the bit, without half of its overhead; parameters of one device and dtype."""

    def __init__(self, parameters: Sequence[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, lr=lr, fused=True)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        (group,) = self.param_groups
        moved = [parameter for parameter in group["params"] if parameter.grad is not None]
        states = [self.state[parameter] for parameter in moved]
        if closure is not None or not moved or not all(states):
            return super().step(closure)  # torch makes the state of what moves for the first time
        steps = [state["step"] for state in states]
        beta1, beta2 = group["betas"]
        with torch.no_grad():
            torch._foreach_add_(steps, 1)
            torch._fused_adam_(
                moved,
                [parameter.grad for parameter in moved],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                steps,
                amsgrad=False,
                lr=group["lr"],
                beta1=beta1,
                beta2=beta2,
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                maximize=False,
            )
        return None

    step.hooked = True  # type: ignore[attr-defined]
