"""Chains for all simulated data sets in one batch: the program is traced once, and each chain has its own data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from inference.calibration.study import Compared, Question, Study
from inference.program import Program
from inference.sampling.chees import Chees
from inference.sampling.density import LogDensity
from inference.sampling.kernel import Kernel

RADIUS, TRIES = 2.0, 100


class SeparateData:
    """A density of q [C, dim] whose chains have data of their own, {name: [C, *shape]}: chain c is asked of row c."""

    def __init__(self, program: Program, observed: dict[str, Tensor]) -> None:
        self.program, self.observed = program, observed
        self.plain = LogDensity.of(program)
        self.dim = self.plain.dim
        self.evaluations = 0
        self._traced: torch.nn.Module | None = None

    def __call__(self, q: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.vmap(self._one)(q, self.observed)

    def value_and_grad(self, q: Tensor) -> tuple[Tensor, Tensor]:
        self.evaluations += 1
        if self._traced is None:
            both = torch.vmap(torch.func.grad_and_value(self._one))
            self._traced = make_fx(lambda q: both(q, self.observed))(q)
        slope, value = self._traced(q)
        return value, slope

    def start(self) -> Tensor:
        """q of finite density and slope for every chain, uniform around zero."""
        chains = len(next(iter(self.observed.values())))
        q = torch.zeros(chains, self.dim, dtype=self.program.precision, device=self.program.device)
        missing = torch.ones(chains, dtype=torch.bool, device=q.device)
        for _ in range(TRIES):
            tried = RADIUS * (2 * torch.rand_like(q) - 1)
            value, slope = self.value_and_grad(tried)
            found = missing & value.isfinite() & slope.isfinite().all(-1)
            q[found] = tried[found]
            missing &= ~found
            if not missing.any():
                return q
        raise ValueError(f"{self.program.name}: no start of finite density for {int(missing.sum())} of {chains} chains")

    def _one(self, q: Tensor, observed: dict[str, Tensor]) -> Tensor:
        return LogDensity.of(self.program.with_observed(observed))._single(q)


@dataclass(frozen=True)
class AllAtOnce:
    """Chains for every data set, moved together by one kernel, which adapts to all of them.

    Far faster than a call for each data set. It judges the kernel and the program, but not what `mcmc` would have
    adapted to each data set by itself. A kernel that moves chains by where others are (`Stretch`) is not for this.

    Parameters:
        chains, warmup, draws: of each data set; draws of each chain.
    """

    kernel: Kernel = field(default_factory=Chees)
    chains: int = 8
    warmup: int = 200
    draws: int = 100

    def answers(self, question: Question) -> Iterator[Compared]:
        study = Study.of(question)
        rows = {name: values.repeat_interleave(self.chains, 0) for name, values in study.observed.items()}
        density = SeparateData(study.program, rows)
        q = self._run(density, study.seeds[0]).unflatten(1, (-1, self.chains))
        for i in range(question.simulations):
            yield study.compared(i, density.plain.constrain(q[:, i].transpose(0, 1)))

    def _run(self, density: SeparateData, seed: int) -> Tensor:
        """[draws, all chains, dim]."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            chains = self.kernel.begin(density, density.start())
            for step in range(self.warmup):
                chains, _ = self.kernel.step(chains, step / self.warmup)
            self.kernel.finish_warmup()
            kept = []
            for _ in range(self.draws):
                chains, _ = self.kernel.step(chains, None)
                kept.append(chains.q)
        return torch.stack(kept)
