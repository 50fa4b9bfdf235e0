"""Whether the chains of a fit by contrastive divergence still follow the model, looked at in each report.

References:
    Rank-normalization, folding, and localization: an improved R-hat (Vehtari et al., 2021),
    https://arxiv.org/abs/1903.08008
    Empirical Analysis of the Divergence of Gibbs Sampling Based Learning Algorithms for Restricted Boltzmann Machines
    (Fischer and Igel, 2010), https://doi.org/10.1007/978-3-642-15825-4_26
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from inference.sampling.statistics import normal_scores, plain_rhat, split

WINDOW = 10
"""Reports that R-hat is of."""
ROWS = 128
"""Rows of the data that the chains are held to."""
STUCK = 1.5
"""R-hat from which chains have drawn apart. They move by `every` sweeps between reports, so that 1.1 is soon passed."""
OFF = 1.5
"""Deviations of the data's free energies by which the chains' mean is off, in each report seen, where they diverge."""


class ChainWatch(nn.Module):
    """Where the chains were in the last reports, beside the data. Checkpoints hold it.

    Followed are a row's free energy, in the mean and deviation of the data's at that report, and its place along the
    direction in which the data varies most: chains that stay each in a mode of their own may all have one energy.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []
        self.x: Tensor | None = None

    def prepare(self, x: Tensor) -> None:
        """Rows of the data; with lacking cells, which chains fill and data can't, there is nothing to hold them to."""
        flat = x[:ROWS].flatten(1).double()
        self.x = x[:ROWS] if len(x) > 1 and flat.isfinite().all() else None
        if self.x is not None:
            self.direction = torch.linalg.svd(flat - flat.mean(0), full_matrices=False)[2][0]
        self.seen = []

    @torch.no_grad()
    def look(self, model: Any, chains: Tensor) -> dict[str, str]:
        """What ails the chains, judged each time that enough reports are seen; half of them are seen anew then."""
        if self.x is None or len(chains) < 2 or chains.shape[1:] != self.x.shape[1:]:
            return {}
        self.seen.append(self._followed(model, self.x, chains))
        if len(self.seen) < WINDOW:
            return {}
        series, self.seen = torch.stack(self.seen, 2).cpu(), self.seen[WINDOW // 2 :]  # [2, chains, reports]
        r_hat, off = max(map(split_r_hat, series)), series[0].mean(0)
        if not series.isfinite().all() or (r_hat < STUCK and off.abs().min() < OFF):
            return {}
        sentence = (
            f"the chains no longer follow the model: R-hat over them is {r_hat:.3g} in the last {WINDOW} reports, and "
            f"their free energies lie {float(off[-1]):+.2g} of the data's standard deviations from the data's; take a "
            "lower lr or weight decay, more sweeps a step, or tempered chains."
        )
        return {"diverging chains": sentence}

    def _followed(self, model: Any, x: Tensor, chains: Tensor) -> Tensor:
        """[2, chains]: free energies and places."""
        of_data, of_chains = (model.free_energy(rows).double() for rows in (x, chains))
        spread = of_data.std().clamp(min=1e-6 * float(of_data.abs().max().clamp(min=1.0)))
        return torch.stack([(of_chains - of_data.mean()) / spread, chains.flatten(1).double() @ self.direction])

    def get_extra_state(self) -> list[Tensor]:
        return self.seen

    def set_extra_state(self, state: list[Tensor]) -> None:
        self.seen = state


def split_r_hat(series: Tensor) -> float:
    """Split R-hat of ranks, those of [chains, draws] together, as normal scores: 1 where all halves are alike."""
    halves = normal_scores(split(series.unsqueeze(-1)))
    if not halves.mean(1).var(0) > 0:
        return 1.0  # nothing moved, and all are alike
    return float(plain_rhat(halves))
