"""What chains leave: the posterior, and what ailed them in words."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from inference.diagnostics.coordinates import Coordinates
from inference.diagnostics.geometry import FEW, gathering
from inference.naming import numbers
from inference.posterior import Posterior
from inference.program import Program
from inference.sampling.loop import Walk


class Flat:
    """The parameters of a program in their own space as one vector [..., P], and back."""

    def __init__(self, density: Any) -> None:
        self.constrain = density.constrain
        with torch.no_grad():
            like = density.constrain(
                torch.zeros(1, density.dim, dtype=density.program.precision, device=density.program.device)
            )
        self.shapes = {name: value.shape[1:] for name, value in like.items()}
        self.names = [place for name, shape in self.shapes.items() for place in numbers(name, shape)]

    def __call__(self, q: Tensor) -> Tensor:
        """[..., P] of positions [..., dim]."""
        return torch.cat([value.reshape(*q.shape[:-1], -1) for value in self.constrain(q).values()], -1)

    def back(self, values: Tensor) -> dict[str, Tensor]:
        """{name: [..., *shape]} of [..., P]."""
        parts = values.split([shape.numel() for shape in self.shapes.values()], -1)
        return {
            name: part.reshape(*values.shape[:-1], *shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }


def alarms_of(walk: Walk) -> dict[str, str]:
    """By the illness, one sentence each."""
    alarms = {}
    if not walk.met and walk.found is not None:
        alarms["not converged"] = (
            f"{len(walk.q)} draws of {len(walk.chains.q)} chains do not do what was asked ({walk.rule}): "
            f"{walk.found.worst()}; see where the chains differ, reparameterise, or draw more"
        )
    diverging = diverging_of(walk)
    count = int(diverging.sum())
    where = None
    if count:
        values = walk.seen[0][:, : diverging.shape[1]].cpu().numpy()
        where = gathering(Coordinates(list(walk.names), values, {}, {}), diverging.cpu().numpy())
    if where is not None or count > FEW * diverging.numel():
        alarms["divergences"] = (
            f"{count} of {diverging.numel()} paths diverged ({count / diverging.numel():.2%})"
            + (f"; {where}" if where is not None else ", nowhere in particular")
            + ": draws are missing there; reparameterise, or take smaller steps (a higher target)"
        )
    return alarms


def diverging_of(walk: Walk) -> Tensor:
    """Which of all paths diverged, [chains, draws], kept or not; none where the kernel knows no divergence."""
    if "diverging" not in walk.stats[0]:
        return torch.zeros(walk.chains.q.shape[0], 1, dtype=torch.bool)
    return torch.stack([stats["diverging"] for stats in walk.stats], 1)


def posterior_of(walk: Walk, program: Program, flat: Flat, alarms: dict[str, str], seconds: float) -> Posterior:
    """The draws of the window that the rule was met by, and all that is known of them."""
    keep = walk.window
    stats = {name: keep.of(torch.stack([s[name] for s in walk.stats], 1)) for name in walk.stats[0]}
    assert walk.found is not None
    return Posterior(
        program.name,
        program,
        flat.back(keep.of(walk.seen[0])),
        stats,
        walk.kernel.name,
        super_chains=walk.rule.super_chains,
        unconstrained=keep.of(torch.stack(walk.q, 1)),
        seconds=seconds,
        alarms=alarms,
        extra={
            "warmup": walk.warmup,
            "drawn": len(walk.q),
            "dropped": keep.first,
            "every": keep.every,
            "until": str(walk.rule),
            "adapted": walk.kernel.state_dict(),
        },
    )
