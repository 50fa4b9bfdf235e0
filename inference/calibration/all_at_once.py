"""Chains for all simulated data sets in one batch: the program is traced once, and each chain has its own data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from inference.calibration.densities import SeparateData, Whitened
from inference.calibration.study import Compared, Question, Study
from inference.sampling.chees import Chees
from inference.sampling.kernel import Kernel
from inference.seeding import seeded

TARGET, SLOWEST = 0.8, 0.3
"""Data sets whose chains accept less than the first are given smaller units, by this factor at most a round."""


@dataclass(frozen=True)
class AllAtOnce:
    """Chains for every data set, moved together by one kernel, which adapts to all of them.

    Far faster than a call for each data set. Since posteriors differ, each is first brought to unit size by what its
    own chains find in `rounds` of warming up. It judges the program and the kernel, and not how `mcmc` adapts to one
    data set. A kernel that moves a chain by where others are (`Stretch`) is not for this.

    Parameters:
        chains, draws: of each data set, and of each chain.
        rounds: the steps of each round of warming up.
    """

    kernel: Kernel = field(default_factory=Chees)
    chains: int = 8
    draws: int = 100
    rounds: tuple[int, ...] = (20, 20, 80)

    def answers(self, question: Question) -> Iterator[Compared]:
        study = Study.of(question)
        rows = {name: values.repeat_interleave(self.chains, 0) for name, values in study.observed.items()}
        density = SeparateData(study.program, rows)
        with seeded(study.seeds[0], study.program.device):
            q = self._drawn(density, self._grouped(density.start(question.simulations * self.chains)))
        for i in range(question.simulations):
            yield study.compared(i, density.constrain(q[i]))

    def _drawn(self, density: SeparateData, q: Tensor) -> Tensor:
        """Positions of all draws [data sets, chains, draws, dim], from starts [data sets, chains, dim]."""
        size = q.new_ones(len(q))
        white = Whitened(density, q.new_zeros(len(q), density.dim), torch.eye(density.dim).to(q).expand(len(q), -1, -1))
        for i, steps in enumerate(self.rounds):
            chains = self.kernel.begin(white, white.there(q.flatten(0, 1)))
            found, accepted = [], []
            for step in range(steps):
                chains, stats = self.kernel.step(chains, step / steps)
                found.append(self._grouped(white.back(chains.q)))
                accepted.append(self._grouped(stats["acceptance_rate"]).mean(1))
            if i + 1 < len(self.rounds):
                q, late = found[-1], steps // 2
                size = size * (torch.stack(accepted[late:]).mean(0) / TARGET).clamp(SLOWEST, 1.0)
                white = Whitened.by(density, torch.cat(found[late:], 1), size)
        self.kernel.finish_warmup()
        kept = []
        for _ in range(self.draws):
            chains, _ = self.kernel.step(chains, None)
            kept.append(self._grouped(white.back(chains.q)))
        return torch.stack(kept, 2)

    def _grouped(self, rows: Tensor) -> Tensor:
        """[data sets, chains, ...] of all chains."""
        return rows.unflatten(0, (-1, self.chains))
