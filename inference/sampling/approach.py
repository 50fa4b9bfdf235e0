"""From scattered starts towards the bulk of the density, every chain on its own way, stopping before the mode."""

from __future__ import annotations

import torch
from torch import Tensor

from inference.sampling.adaptation import Metric
from inference.sampling.kernel import Chains, Density

LIMIT = 100
MEMORY = 8
LOOK_EVERY = 4
SUFFICIENT = 1e-4
"""Of the gain that the slope promises, what a step must bring (Armijo)."""
NEAR = 1.5
"""Of the squared length of a typical draw's slope, up to what a chain counts as come to the bulk."""

AT_MODE = 0.01
"""The same at a mode, where a chain can't climb on."""

MOST = 0.75
"""The share of chains that have halted at which the climb ends: the last would keep all others waiting."""

WIDER = 10.0
FURTHER = 20.0


class Climb:
    """L-BFGS of all chains in one batch, each halting as soon as its slope is as steep as a typical draw's.

    A draw of a Gaussian target has slope' S slope of dim on average; a chain that has come to that is within the bulk
    and needs no mode, so that the chains stay scattered. `metric` learns S from the steps of all chains, and every now
    and then they take the step that it proposes.

    Reference:
        Pathfinder: parallel quasi-Newton variational inference (Zhang et al., 2022), https://arxiv.org/abs/2108.03782
    """

    def __init__(self, density: Density, q: Tensor, metric: Metric) -> None:
        self.density, self.metric = density, metric
        self.chains = Chains.of(density, q)
        self.shorten = torch.ones_like(q[:, 0])
        self.halted = torch.zeros_like(self.shorten, dtype=torch.bool)
        self.pairs: list[tuple[Tensor, Tensor, Tensor]] = []

    def run(self) -> Chains:
        """Climb until all have halted, `LIMIT` slopes at most."""
        for turn in range(1, LIMIT + 1):
            if turn % LOOK_EVERY:
                rose, least = self._advance(self._direction(self._slope) * self.shorten.unsqueeze(-1))
                self.shorten = torch.where(rose, 1.0, self.shorten * least)
            else:
                self.metric.refresh()
                rose, _ = self._advance(self._to_bulk())
                self.shorten = torch.where(rose, 1.0, self.shorten)
                self._halt()
                if float(self.halted.double().mean()) >= MOST:
                    break
        self._gather()
        return self.chains

    @property
    def _slope(self) -> Tensor:
        assert self.chains.slope is not None
        return self.chains.slope

    def _gather(self) -> None:
        """Send lost chains to where others are, and keep of the metric what these have seen."""
        there = regathered(self.chains.log_density, self.density.dim)
        self.lost = int((there != torch.arange(len(there), device=there.device)).sum())
        if self.lost:
            kept = there.unique()
            self.chains = self.chains.take(there)
            self.metric.begin(self.chains.q)
            for step, fall, inverse in self.pairs:
                self._learn(step[kept], fall[kept], inverse[kept])
        self.metric.refresh()

    def _advance(self, way: Tensor) -> tuple[Tensor, Tensor]:
        """Go `way` with each chain that rises enough by it and has not halted: which did, and how far the others might.

        That is the top of the parabola through what was found and promised, as a share of the way.
        """
        here, slope = self.chains, self._slope
        there = Chains.of(self.density, here.q + way)
        promised = (way * slope).sum(-1)
        gain = there.log_density - here.log_density
        finite = gain.isfinite() & _finite_slope(there)
        better = finite & (gain >= SUFFICIENT * promised) & (promised > 0) & ~self.halted
        top = torch.where(finite, promised / (2 * (promised - gain)), 0.0).nan_to_num(0.0).clamp(0.1, 0.5)
        self._remember(here, there, better)
        self.chains = here.where(better, there)
        return better, top

    def _direction(self, slope: Tensor) -> Tensor:
        """The two loops of L-BFGS; before any pair, one unit up the slope."""
        way, shares = slope, []
        for step, fall, inverse in reversed(self.pairs):
            share = inverse * (step * way).sum(-1, keepdim=True)
            way = way - share * fall
            shares.append(share)
        way = way * self._unit(slope)
        for (step, fall, inverse), share in zip(self.pairs, reversed(shares), strict=True):
            way = way + step * (share - inverse * (fall * way).sum(-1, keepdim=True))
        return way

    def _unit(self, slope: Tensor) -> Tensor:
        """The curvature along the last step of each chain that has one, [C, 1]."""
        unit = 1 / slope.norm(dim=-1, keepdim=True).clamp(min=1.0)
        for _, fall, inverse in self.pairs:
            unit = torch.where(inverse > 0, 1 / (inverse * fall.square().sum(-1, keepdim=True)), unit)
        return unit

    def _remember(self, here: Chains, there: Chains, better: Tensor) -> None:
        """Keep the steps and the falls of the slope along them, where the density is concave along the step."""
        assert here.slope is not None and there.slope is not None
        step, fall = there.q - here.q, here.slope - there.slope
        product = (step * fall).sum(-1, keepdim=True)
        good = better.unsqueeze(-1) & (
            product > 1e-10 * step.norm(dim=-1, keepdim=True) * fall.norm(dim=-1, keepdim=True)
        )
        zero = torch.zeros_like(step)
        step, fall = torch.where(good, step, zero), torch.where(good, fall, zero)
        inverse = torch.where(good, 1 / product, 0.0)
        self.pairs = [*self.pairs, (step, fall, inverse)][-MEMORY:]
        self._learn(step, fall, inverse)

    def _learn(self, step: Tensor, fall: Tensor, inverse: Tensor) -> None:
        """Tell the metric of steps and falls, brought to one length."""
        rows, root = inverse.squeeze(-1) > 0, inverse.sqrt()
        self.metric.learn((step * root)[rows], (fall * root)[rows], memory=LOOK_EVERY * len(step))

    def _to_bulk(self) -> Tensor:
        """The way to where a Gaussian of the metric's scale has slopes as steep as its draws', not on to its mode."""
        white, steepness = self._white()
        share = 1 - (self.density.dim / steepness.clamp(min=self.density.dim)).sqrt()
        return self.metric.drift(torch.zeros_like(white), white * share.unsqueeze(-1), 1.0)

    def _halt(self) -> None:
        """Halt chains in the bulk, by the metric of all and their own, if as high as others are; and those at modes."""
        dim = self.density.dim
        own = (self._direction(self._slope) * self._slope).sum(-1)
        near = torch.maximum(self._white()[1], own) <= NEAR * dim
        self.halted |= (near & ~lost(self.chains.log_density, dim)) | (own <= AT_MODE * dim)

    def _white(self) -> tuple[Tensor, Tensor]:
        """The slopes [C, dim] in units of the metric, and their squared lengths [C]."""
        white = self.metric.kick(torch.zeros_like(self._slope), self._slope, 1.0)
        return white, white.square().sum(-1)


def lost(log_density: Tensor, dim: int) -> Tensor:
    """Which chains [C] are at a mode without weight, or on a plateau.

    They are so far below the best that their surroundings could have mass only if they were exp(`WIDER`) times as wide
    in every direction.
    """
    value = log_density.nan_to_num(-torch.inf, neginf=-torch.inf)
    return value < value.max() - FURTHER - WIDER * dim


def regathered(log_density: Tensor, dim: int) -> Tensor:
    """For each chain, the chain to stand where it stands: itself, or one at random for one that is lost."""
    away = lost(log_density, dim)
    places = torch.arange(len(away), device=away.device)
    others = places[~away]
    return torch.where(away, others[torch.randint(len(others), places.shape, device=away.device)], places)


def _finite_slope(chains: Chains) -> Tensor:
    assert chains.slope is not None
    return chains.slope.isfinite().all(-1)
