"""What is missing of a diffusion's rows, drawn down the chain with the known cells put in: quick, and not exact.

References:
    Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021),
    https://arxiv.org/abs/2011.13456, for replacement
    RePaint: Inpainting using Denoising Diffusion Probabilistic Models (Lugmayr et al., 2022),
    https://arxiv.org/abs/2201.09865, for its repetition
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

import torch
import xarray as xr
from torch import Tensor

from inference.asking import asking
from inference.query.answer import Answer
from inference.query.cells import levels_of, said_of, summary
from inference.query.estimates import labelled
from inference.query.gaps import Gaps, tabled
from inference.query.question import Question
from inference.query.steps import Known, blocks


@dataclass(frozen=True)
class Replacement:
    """Missing cells drawn down the chain, the known ones put in with noise of their own at each step: not exact.

    Parameters:
        repeats: how often each step is gone down, and up again in between; more bring known and missing together.
    """

    repeats: int = 1

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ValueError(f"repeats must be at least 1, not {self.repeats}")

    def __call__(self, question: Question) -> Answer:
        gaps = Gaps(question)
        levels = levels_of(getattr(gaps.model, "support", None)) if gaps.codes else None
        with asking(question.model, question.seed):
            cells = torch.cat([self._run(known, levels) for known in blocks(gaps, question.draws, 1)])
        values: dict[Hashable, xr.DataArray] = {"x": tabled(cells) if levels else labelled(cells, "x")}
        method = f"replacement, each step {self.repeats} times, {question.draws} draws a row"
        warned = "replacement is off however many draws it has, by more than its error says: take Particles()"
        return Answer(str(question), values, method, "estimate", warnings=(warned,))

    def _run(self, known: Known, levels: int | None) -> Tensor:
        clean, chain = known.model.scaled(known.x), known.levels
        z = torch.randn_like(clean)
        for k in range(len(chain.alpha) - 1, -1, -1):
            at = chain.one(k)
            for again in range(self.repeats):
                z = torch.where(known.known, at.alpha * clean + at.sigma * torch.randn_like(z), z)
                normal = known.model.reverse(z, at, known.context)
                down = normal.mean + normal.stddev * torch.randn_like(z)
                z = at.shrink * down + at.spread * torch.randn_like(z) if again + 1 < self.repeats else down
        decoder = known.model.written(normal)
        said = known.by_filter(said_of(decoder, decoder.sample(), levels).double())[:, 0]
        error = said[..., 0].std(0) / math.sqrt(len(said))
        x, told = (known.by_filter(t)[0, 0] for t in (known.x, known.known))
        return summary(x, told, said.mean(0), error, levels)
