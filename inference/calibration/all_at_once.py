"""Chains for all simulated data sets in one batch: the program is traced once, and each chain has its own data."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from inference.calibration.densities import SeparateData, Whitened
from inference.calibration.study import Compared, Question, Study
from inference.mcmc import mcmc
from inference.sampling.chees import Chees
from inference.sampling.kernel import Chains, Kernel
from inference.sampling.statistics import bulk_ess
from inference.sampling.stopping import Ess
from inference.seeding import seeded

UNLIKE = 0.5
"""A data set whose chains accept less than this share of what is usual would make the kernel small-stepped for all."""
ENOUGH = 0.5
"""Of the draws to be ranked, the share that must be effective."""
AGREED = 1.05


@dataclass(frozen=True)
class AllAtOnce:
    """Chains for every data set, moved together by one kernel, which adapts to all of them.

    Far faster than a call for each data set. A kernel takes one step and one path for all its chains, so that all
    posteriors must look alike to it: each is brought to units of its own by what its chains find in `rounds` of warming
    up. Data sets that differ all the same (their chains accept too little), and those whose draws turn out too few, are
    asked again one by one, by `mcmc` with the same kernel, which adapts to each of them. Draws are thinned to about as
    many as are effective. A kernel that moves a chain by where others are (`Stretch`) is not for this.

    Parameters:
        chains, draws: of each data set, and of each chain.
        rounds: the steps of each round of warming up.
        ceiling: draws a chain, at most, of data sets that are asked again; the verdict says of how many they were not
            enough.
    """

    kernel: Kernel = field(default_factory=Chees)
    chains: int = 8
    draws: int = 100
    rounds: tuple[int, ...] = (10, 20, 60)
    ceiling: int = 500

    def answers(self, question: Question) -> Iterator[Compared]:
        study, least = Study.of(question), ENOUGH * question.draws
        alone = partial(
            mcmc, kernel=copy.deepcopy(self.kernel), draws=self.ceiling, until=Ess(least, AGREED), progress=False
        )
        with seeded(study.seeds[0], study.program.device):
            density, drawn = self._drawn(study)
        for i in range(question.simulations):
            effective = _effective(drawn[i]) if i in drawn else 0.0
            if effective >= least:
                apart = math.ceil(self.chains * self.draws / effective)
                yield study.compared(i, density.constrain(drawn[i][:, ::apart]))
            else:
                yield from study.asked(i, alone)

    def _drawn(self, study: Study) -> tuple[SeparateData, dict[int, Tensor]]:
        """Draws [chains, draws, dim] of each data set that could be moved together with others."""
        kept, level = torch.arange(len(study.seeds)), _level(study)
        density = self._density(study, kept)
        q, white = self._grouped(density.start(len(kept) * self.chains)), Whitened.plain(density, level)
        for i, steps in enumerate(self.rounds):
            chains = self.kernel.begin(white, white.there(q.flatten(0, 1)))
            chains, seen = self._warm(white, chains, steps)
            if i + 1 < len(self.rounds):
                alike = seen.accepted >= UNLIKE * seen.accepted.median()
                kept, level, q = kept[alike], level[alike], self._grouped(white.back(chains.q))[alike]
                density = self._density(study, kept)
                white = Whitened.by(density, level, seen.q[alike], None if seen.slope is None else seen.slope[alike])
        self.kernel.finish_warmup()
        found = []
        for _ in range(self.draws):
            chains, _ = self.kernel.step(chains, None)
            found.append(self._grouped(white.back(chains.q)))
        return density, dict(zip(kept.tolist(), torch.stack(found, 2), strict=True))

    def _warm(self, white: Whitened, chains: Chains, steps: int) -> tuple[Chains, Seen]:
        """Where a round's steps lead, and what was seen in its later half."""
        accepted, q, slope = [], [], []
        for step in range(steps):
            chains, stats = self.kernel.step(chains, step / steps)
            if step >= steps // 2:
                rate = stats.get("acceptance_rate", torch.ones_like(chains.log_density))
                accepted.append(self._grouped(rate).mean(1))
                q.append(self._grouped(white.back(chains.q)))
                slope += [] if chains.slope is None else [self._grouped(white.slope_there(chains.slope))]
        return chains, Seen(torch.stack(accepted).mean(0), torch.cat(q, 1), torch.cat(slope, 1) if slope else None)

    def _density(self, study: Study, kept: Tensor) -> SeparateData:
        rows = {name: values[kept].repeat_interleave(self.chains, 0) for name, values in study.observed.items()}
        return SeparateData(study.program, rows)

    def _grouped(self, rows: Tensor) -> Tensor:
        """[data sets, chains, ...] of all chains."""
        return rows.unflatten(0, (-1, self.chains))


@dataclass(frozen=True)
class Seen:
    """Of each data set: the share accepted [S], and positions and slopes [S, n, dim] of its chains."""

    accepted: Tensor
    q: Tensor
    slope: Tensor | None


def _effective(q: Tensor) -> float:
    """The fewest effective draws of any number of [chains, draws, dim]."""
    return float(bulk_ess(q).nan_to_num(0.0).min())


def _level(study: Study) -> Tensor:
    """What the log density of each data set is about, [S] nats: that of the values that it was drawn with."""
    program, truth = study.program, study.truth
    if any(name not in truth or truth[name].shape[1:] != site.shape for name, site in program.latents.items()):
        return torch.zeros(len(study.seeds), dtype=program.precision, device=program.device)
    density = SeparateData(program, study.observed)
    level = density(density.unconstrain(truth, check=False))
    return torch.where(level.isfinite(), level, 0.0)
