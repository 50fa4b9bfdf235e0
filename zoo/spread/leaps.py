"""A leap of many heads at once: how many of each event happen in a short step, never more than there are heads."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from zoo.spread.compartments import Compartments

RatesAt = Callable[[float], Tensor]
TINY = 1e-300


class Leaps:
    """Draws of what happens in a step, given the chance of each exit for a head and the number of births to expect.

    Heads that leave a compartment in a step are multinomial over its exits. Births are Poisson. Where two heads of a
    compartment move together, each draws by itself, and an odd one out is rounded up or down by a fair coin.
    """

    def __init__(self, model: Compartments) -> None:
        self.model = model
        self.source = (model.change < 0).to(model.change)
        """[E, K], one where the event takes heads from."""
        self.moved = -model.change.clamp(max=0).sum(-1)
        """[E], how many heads an event takes; none for births."""
        self.births = (self.moved == 0).nonzero()[:, 0]
        self.pairs = (self.moved == 2).nonzero()[:, 0].tolist()
        self.places = self.source.argmax(-1)
        self.layers = self._layers()

    def _layers(self) -> list[tuple[Tensor, Tensor]]:
        """The first exit of each compartment, the second, ...: (events, compartments)."""
        exits = (self.moved > 0).nonzero()[:, 0]
        order = self.source[exits].cumsum(0)[torch.arange(len(exits)), self.places[exits]]
        rounds = range(1, int(order.max()) + 1 if len(exits) else 1)
        return [(found, self.places[found]) for found in (exits[order == number] for number in rounds)]

    def competing(self, heads: Tensor, time: float, step: float, rates: RatesAt) -> Tensor:
        """Chances by the hazards before the step: h_e / h (1 - exp(-h step)), h the sum of a compartment's exits."""
        flow, hazard, total = self._hazards(heads, rates(time))
        return torch.where(self.moved > 0, hazard / total.clamp(min=TINY) * -torch.expm1(-total * step), flow * step)

    def midpoint(self, heads: Tensor, time: float, step: float, rates: RatesAt) -> Tensor:
        """Chances by the hazards to expect half a step on, at which those who arrive on the way leave again as well."""
        half = self.competing(heads, time, step / 2, rates)
        events = half * torch.where(self.moved > 0, heads @ self.source.T / self.moved.clamp(min=1), 1.0)
        halfway = torch.maximum(heads + events @ self.model.change, heads * 1e-30)  # a hazard is a head's, of none too
        flow, hazard, total = self._hazards(halfway, rates(time + step / 2))
        arrivals = 2 * events @ self.model.change.clamp(min=0) / heads.clamp(min=1)
        leave = -torch.expm1(-total * step) - arrivals @ self.source.T * torch.expm1(-total * step / 2)
        return torch.where(self.moved > 0, hazard / total.clamp(min=TINY) * leave.clamp(max=1), flow * step)

    def _hazards(self, heads: Tensor, rates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[..., E] each: events a unit of time, those of a head of the source, and those of all its exits."""
        flow = self.model.propensities(heads, rates)
        hazard = flow * self.moved / (heads @ self.source.T).clamp(min=TINY)
        return flow, hazard, (hazard @ self.source) @ self.source.T

    def draw(self, heads: Tensor, chances: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """How often each event happens, [..., E], for heads [..., K] and what `competing` or `midpoint` gave."""
        happened = torch.zeros_like(chances)
        happened[..., self.births] = torch.poisson(chances[..., self.births], generator=generator)
        staying, room = heads.clone(), torch.ones_like(heads)
        for events, places in self.layers:
            chance = (chances[..., events] / room[..., places].clamp(min=TINY)).clamp(0, 1)
            left = torch.binomial(staying[..., places], chance, generator=generator)
            staying[..., places] -= left
            room[..., places] -= chances[..., events]
            happened[..., events] = left
        for event in self.pairs:
            place, moving = int(self.places[event]), happened[..., event]
            coin = torch.rand(moving.shape, dtype=moving.dtype, device=moving.device, generator=generator) < 0.5
            odd = moving % 2
            rounded = moving + odd * torch.where(coin & (staying[..., place] > 0), 1.0, -1.0)
            staying[..., place] -= rounded - moving
            happened[..., event] = rounded / 2
        return happened

    def over(
        self,
        heads: Tensor,
        span: tuple[float, float],
        step: float,
        rates: RatesAt,
        chances: Callable[[Tensor, float, float, RatesAt], Tensor],
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """What happens from one time to another, [..., E], in equal steps that are no longer than `step`."""
        begin, length = span[0], span[1] - span[0]
        steps = max(1, math.ceil(length / step - 1e-9))
        happened = heads.new_zeros(*heads.shape[:-1], len(self.moved))
        for number in range(steps):
            chance = chances(heads, begin + number * length / steps, length / steps, rates)
            events = self.draw(heads, chance, generator)
            happened, heads = happened + events, heads + events @ self.model.change
        return happened
