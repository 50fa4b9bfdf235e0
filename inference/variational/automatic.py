"""Pyro's automatic guides, as guides of this package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoContinuous, AutoGuide, AutoNormal, AutoNormalizingFlow, init_to_value
from torch import Tensor, nn

from inference.program import Program
from inference.program_data import settings
from inference.variational.guides import Guide


class Automatic(Guide):
    """K of Pyro's guides: `AutoNormal`, or any `AutoContinuous` (normals, low rank, IAF, other flows).

    Parameters:
        guides: made and called once (`made`).
        sites: the names of the latents, in the order of q.
    """

    lr = 0.02

    def __init__(self, guides: list[AutoGuide], sites: list[str]) -> None:
        super().__init__()
        self.guides, self.sites = nn.ModuleList(guides), sites

    def rsample(self, n: int) -> Tensor:
        return torch.stack([_distribution(guide, self.sites).rsample((n,)) for guide in self.guides], 1)

    def log_prob(self, q: Tensor) -> Tensor:
        each = zip(self.guides, q.unbind(1), strict=True)
        return torch.stack([_distribution(guide, self.sites).log_prob(rows) for guide, rows in each], 1)

    def draw(self, n: int) -> tuple[Tensor, Tensor]:
        # one distribution for both, as an inverse flow knows only its own draws' noise; so its gradient has both paths
        each = [_distribution(guide, self.sites) for guide in self.guides]
        rows = [one.rsample((n,)) for one in each]
        return torch.stack(rows, 1), torch.stack([one.log_prob(q) for one, q in zip(each, rows, strict=True)], 1)


def is_automatic(guide: Any) -> bool:
    """Whether a guide, a class or a partial of one, is Pyro's."""
    made = getattr(guide, "func", guide)
    return isinstance(made, AutoGuide) or (isinstance(made, type) and issubclass(made, AutoGuide))


def made(guide: AutoGuide | Callable[..., AutoGuide], program: Program, starts: Mapping[str, Tensor]) -> Automatic:
    """An instance as it is, or as many of a class as there are starts {name: [K, *shape]}, each at its own."""
    if isinstance(guide, AutoGuide):
        guides = [guide]
    else:
        model = poutine.block(program.model, hide=list(program.discrete))
        count = len(next(iter(starts.values())))
        guides = [_at(guide, model, {name: values[k] for name, values in starts.items()}) for k in range(count)]
    for each in guides:
        if not isinstance(each, (AutoNormal, AutoContinuous)):
            raise TypeError(
                f"{type(each).__name__} has no density over all latents at once; AutoNormal, AutoMultivariateNormal, "
                "AutoLowRankMultivariateNormal and AutoIAFNormal have"
            )
        args, kwargs = program.arguments
        apart = pyro.get_param_store().scope()  # its parameters are its own, and no global store's
        with settings(program.precision, program.device), apart, torch.no_grad():
            each(*args, **kwargs)
            _distribution(each, list(program.latents))
    return Automatic(guides, list(program.latents))


def _at(guide: Callable[..., AutoGuide], model: Any, values: dict[str, Tensor]) -> AutoGuide:
    kind: Any = getattr(guide, "func", guide)
    if issubclass(kind, AutoNormalizingFlow):  # which have no place to begin at
        return guide(model)
    return guide(model, init_loc_fn=init_to_value(values=values))


def _distribution(guide: Any, sites: list[str]) -> Any:
    """What a guide says of q: its own posterior, or a site's normal after the other's."""
    if hasattr(guide, "get_posterior"):
        return guide.get_posterior()
    pairs = [guide._get_loc_and_scale(name) for name in sites]
    loc, scale = (torch.cat([pair[i].flatten() for pair in pairs]) for i in (0, 1))
    return torch.distributions.Independent(torch.distributions.Normal(loc, scale, validate_args=False), 1)
