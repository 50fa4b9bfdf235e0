"""Pyro's own NUTS on a log density, a chain at a time: what the other kernels are held to."""

from __future__ import annotations

from typing import Any

import torch
from pyro.infer import NUTS
from torch import Tensor

from inference.sampling.kernel import Chains, Density, Kernel

SITE = "q"


class PyroNuts(Kernel):
    """`pyro.infer.NUTS` with its own warm-up: a reference, slow, and not to be resumed.

    Parameters:
        warmup: steps that it adapts for, which its windows are planned for; `mcmc` is to be told the same number.
        options: what `pyro.infer.NUTS` takes besides a potential: `target_accept_prob`, `full_mass`, ...
    """

    name = "Pyro's NUTS"

    def __init__(self, *, warmup: int = 500, **options: Any) -> None:
        self.warmup, self.options = warmup, options
        self.kernels: list[NUTS] = []

    def chains_for(self, dim: int) -> int:
        return 4

    def warmup_for(self, dim: int) -> int:
        return self.warmup

    def begin(self, density: Density, q: Tensor) -> Chains:
        def potential(values: dict[str, Tensor]) -> Tensor:
            return _Potential.apply(values[SITE], density)

        self.kernels = []
        with torch.enable_grad():
            for row in q:
                kernel = NUTS(potential_fn=potential, **self.options)
                kernel.initial_params = {SITE: row.clone()}
                kernel.setup(self.warmup)
                self.kernels.append(kernel)
        return Chains.without_slope(density, q)

    def step(self, chains: Chains, warmup: float | None) -> tuple[Chains, dict[str, Tensor]]:
        before = [len(kernel._divergences) for kernel in self.kernels]
        with torch.enable_grad():
            rows = [kernel.sample({SITE: row})[SITE] for kernel, row in zip(self.kernels, chains.q, strict=True)]
        log_density = torch.stack([-torch.as_tensor(kernel._potential_energy_last).detach() for kernel in self.kernels])
        found = [len(kernel._divergences) > count for kernel, count in zip(self.kernels, before, strict=True)]
        stats = {
            "lp": log_density,
            "diverging": torch.tensor(found, device=log_density.device),
            "step_size": log_density.new_tensor([kernel.step_size for kernel in self.kernels]),
        }
        return Chains(torch.stack(rows).detach(), log_density), stats

    def finish_warmup(self) -> None:
        for kernel in self.kernels:
            kernel.end_warmup()

    def state_dict(self) -> dict[str, Any]:
        return {"warmup": self.warmup}

    def load_state_dict(self, state: dict[str, Any], density: Density) -> None:
        raise TypeError(f"{self.name} keeps its state to itself: a run of it cannot be resumed")


class _Potential(torch.autograd.Function):
    """Minus the log density of one chain, its slope as the density gives it."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, density: Density) -> Tensor:
        value, slope = density.value_and_grad(q.detach()[None])
        ctx.save_for_backward(slope[0])
        return -value[0]

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return -upstream[0] * slope, None
