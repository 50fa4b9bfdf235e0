"""Ways to draw rows from a diffusion: interchangeable objects, (model, noise z_T, context) -> rows.

`steps` makes a sampler visit only so many of the model's own steps, evenly spread; `guidance` w moves what the network
tells given the context away from what it tells without it, (1 + w) told(context) - w told().

References:
    Classifier-Free Diffusion Guidance (Ho and Salimans, 2022), https://arxiv.org/abs/2207.12598
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from zoo.declared import declared
from zoo.distributions import DiagonalNormal
from zoo.noising import NoiseLevels

if TYPE_CHECKING:
    from zoo.diffusion import Diffusion


@dataclass(frozen=True)
class Sampler(ABC):
    """The network's calls, and how many; a sampler says how z moves.

    Parameters:
        steps: how many of the model's steps are visited; all of them unless told.
        guidance: w, of a model given a context; 0 is none.
    """

    steps: int | None = None
    guidance: float = 0.0

    def __post_init__(self) -> None:
        if self.steps is not None and not (isinstance(self.steps, int) and self.steps >= 1):
            raise ValueError(f"steps must be a whole number of at least 1, not {self.steps}")
        if not math.isfinite(self.guidance):
            raise ValueError(f"guidance must be a finite number, not {self.guidance}")

    @torch.no_grad()
    def __call__(self, model: Diffusion, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Rows of x [N, *event_shape] from noise z_T."""
        self.check(model)
        if self.guidance and context is None:
            raise ValueError("guidance needs a context to be guided by, but none was given")
        levels = model.noise_levels(visited(model.steps, self.steps))
        return deque(self.path(model, levels, z, context), maxlen=1).pop()

    def check(self, model: Diffusion) -> None:
        """Refuse a model that this can't guide: one without a context, or that never learned to do without."""
        if self.guidance and model.context_shape is None:
            raise ValueError("guidance needs a context to be guided by: build the Diffusion with context_shape")
        if self.guidance and not model.untold:
            raise ValueError("guidance needs a network that also knows rows without their context, but untold is 0")

    @abstractmethod
    def path(self, model: Diffusion, levels: NoiseLevels, z: Tensor, context: Tensor | None) -> Iterator[Tensor]:
        """z after each step, and at last rows of x."""

    def told(self, model: Diffusion, z: Tensor, at: NoiseLevels, context: Tensor | None) -> Tensor:
        """What the network tells of rows at one level, guided."""
        if not self.guidance or context is None:
            return model.told(z, at, context)
        rows = len(z)
        given = torch.arange(2 * rows, device=z.device) < rows
        both = model.told(torch.cat([z, z]), at, torch.cat([context, context]), given)
        guided = torch.lerp(both[rows:, :1], both[:rows, :1], 1 + self.guidance)
        return torch.cat([guided, both[:rows, 1:]], 1)  # a learned variance is left as it is


def visited(steps: int, asked: int | None) -> Tensor | None:
    """Which of the steps 1..T a sampler visits, the last among them; None for all."""
    if asked is None or asked >= steps:
        return None
    return torch.linspace(steps / asked, steps, asked, dtype=torch.float64).round().long().clamp(min=1)


@dataclass(frozen=True)
class Ancestral(Sampler):
    """The reverse chain itself, p(z_(t-1) | z_t) drawn step by step, then p(x | z_1).

    References:
        Denoising Diffusion Probabilistic Models (Ho, Jain and Abbeel, 2020), https://arxiv.org/abs/2006.11239
    """

    def path(self, model: Diffusion, levels: NoiseLevels, z: Tensor, context: Tensor | None) -> Iterator[Tensor]:
        for k in range(len(levels.time) - 1, -1, -1):
            at = levels.one(k)
            told = self.told(model, z, at, context)
            loc = at.keep * z + at.pull * model.clean(told, z, at)
            normal = DiagonalNormal(loc, (0.5 * model.variance(at, told)).expand_as(loc), loc.dim() - 1)
            z = normal.sample() if k else model.written(normal).sample()
            yield z


class Deterministic(Sampler):
    """z_s = alpha_s x' + sigma_s e', with x' and e' what the network takes z_t to be made of; x' is drawn at last."""

    def path(self, model: Diffusion, levels: NoiseLevels, z: Tensor, context: Tensor | None) -> Iterator[Tensor]:
        before: Tensor | None = None
        for k in range(len(levels.time) - 1, 0, -1):
            at, to = levels.one(k), levels.one(k - 1)
            clean = model.clean(self.told(model, z, at, context), z, at)
            aim = clean if before is None else self.aim(levels.log_snr[k - 1 : k + 2], clean, before)
            ratio = to.sigma / at.sigma
            z, before = ratio * z + (to.alpha - ratio * at.alpha) * aim, clean
            yield z
        at = levels.one(0)
        yield model.nearest(model.clean(self.told(model, z, at, context), z, at))

    @abstractmethod
    def aim(self, log_snr: Tensor, clean: Tensor, before: Tensor) -> Tensor:
        """The x' of a step, from this level's and the one's before; the log ratios are those of to, at and before."""


@dataclass(frozen=True)
class DDIM(Deterministic):
    """The first-order sampler: x' as the network tells it.

    References:
        Denoising Diffusion Implicit Models (Song, Meng and Ermon, 2021), https://arxiv.org/abs/2010.02502
    """

    steps: int | None = 50

    def aim(self, log_snr: Tensor, clean: Tensor, before: Tensor) -> Tensor:
        return clean


@dataclass(frozen=True)
class DPMSolver(Deterministic):
    """DPM-Solver++(2M), of second order: x' extrapolated from the last two levels to the middle of the step.

    References:
        DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models (Lu et al., 2022),
        https://arxiv.org/abs/2211.01095
    """

    steps: int | None = 20

    def aim(self, log_snr: Tensor, clean: Tensor, before: Tensor) -> Tensor:
        ratio = (log_snr[0] - log_snr[1]) / (log_snr[1] - log_snr[2])
        return torch.lerp(before, clean, 1 + 0.5 * ratio)


SAMPLERS: Mapping[str, type[Sampler]] = {"ancestral": Ancestral, "ddim": DDIM, "dpm_solver": DPMSolver}


SamplerSlot = Sampler | Mapping[str, str | int | float] | str
"""What the place of a sampler takes: an object, its name, or a table."""


def as_sampler(written: SamplerSlot) -> Sampler:
    """A sampler as it stands, or the one that a name or a table such as {"kind": "ddim", "steps": 50} declares."""
    return written if isinstance(written, Sampler) else declared("sampler", written, SAMPLERS)()
