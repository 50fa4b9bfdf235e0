"""How much a posterior hangs on its prior and on its likelihood: each raised to a power near one.

p(latents)^a p(data | latents)^b: a above one tightens the prior, below one loosens it. The posterior of such powers is
had from draws at a = b = 1 by Pareto-smoothed weights, and how far each number's distribution moves is its cumulative
Jensen-Shannon distance, over the base-two log of the power.

References:
    Detecting and diagnosing prior and likelihood sensitivity with power-scaling (Kallioinen, Paananen, Bürkner and
    Vehtari, 2023), https://arxiv.org/abs/2107.14054
    Non-parametric Jensen-Shannon Divergence (Nguyen and Vreeken, 2015), for the distance
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from inference.diagnostics.coordinates import Coordinates
from inference.diagnostics.health import listed
from inference.near import near
from inference.posterior import Posterior
from inference.predictive_draws import pointwise
from inference.program import Program
from inference.program_data import settings
from inference.program_sites import log_prob
from inference.variational.smoothing import smoothed

SENSITIVE = 0.05
"""A number that moves by more than this is sensitive (Kallioinen et al.)."""
POWERS = (1 / 1.01, 1.01)
"""What is tried in the place of one."""
CONFLICT, STRONG = "prior-data conflict", "strong prior or weak likelihood"


@dataclass(frozen=True, repr=False)
class PowerScaling:
    """The sensitivity of each number, `table` with columns prior, likelihood and diagnosis; in words as `verdict`."""

    name: str
    table: pd.DataFrame
    verdict: list[str]
    alarms: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        alarming = set(self.alarms.values())
        told = [f"{'! ' if each in alarming else '  '}{each}" for each in self.verdict]
        return "\n".join([f"{self.name}:", *told, "", self.table.to_string(float_format=lambda value: f"{value:.3f}")])


def power_scaling(posterior: Posterior, *, sites: Sequence[str] | None = None) -> PowerScaling:
    """How much each number moves as the prior, and as the likelihood, is raised to a power near one.

    Parameters:
        sites: the latent variables whose priors are scaled together; by default those whose prior depends on no other
            latent, as scaling the middle of a hierarchy scales what it has learnt, and that have a scale of their own:
            not the standard normals of effects that are written non-centred, as a normal times a scale.

    Raises:
        ValueError: a posterior without its program, or sites that it does not have.
    """
    even = posterior.resampled()
    parts = components(even, sites)
    found = Coordinates.of_draws(even.draws)
    moving = np.flatnonzero(found.moving)
    weights = [[power_weights(part, power).exp().cpu().numpy() for power in POWERS] for part in parts]
    rows = [[sensitivity(found.flat[:, j], pair) for pair in weights] for j in moving]
    table = pd.DataFrame(rows, columns=["prior", "likelihood"], index=[found.names[j] for j in moving])
    high = table > SENSITIVE
    table["diagnosis"] = np.where(high["prior"] & high["likelihood"], CONFLICT, np.where(high["prior"], STRONG, ""))
    verdict, alarms = _verdict(table)
    return PowerScaling(posterior.name, table, verdict, alarms)


def components(posterior: Posterior, sites: Sequence[str] | None = None) -> tuple[Tensor, Tensor]:
    """log p(sites of the prior) and log p(data | latents) of each draw, nats, [chains * draws] each."""
    if posterior.program is None:
        raise ValueError(f"the posterior of {posterior.name} has draws alone: scaling its prior needs the program")
    program = posterior.program
    for name in sites or ():
        if name not in program.latents:
            raise ValueError(f"{posterior.name} has no latent {name!r}{near(name, program.latents)}")
    chosen = list(sites or own_priors(program, {name: x[0] for name, x in posterior.flat.items()}))
    by_site = posterior.log_likelihood().values()
    likelihood = torch.stack([x.reshape(len(x) * x.shape[1], -1).sum(1) for x in by_site]).sum(0)
    return log_prior(program, posterior.flat, chosen), likelihood


def log_prior(program: Program, draws: Mapping[str, Tensor], sites: Sequence[str]) -> Tensor:
    """The summed log prior density of sites at draws {name: [n, *shape]}, nats: [n]."""

    def one(row: dict[str, Tensor]) -> Tensor:
        trace = program.trace(row)
        with settings(program.precision, program.device):
            return torch.stack([log_prob(trace.nodes[name]).sum() for name in sites]).sum()

    with torch.no_grad():
        return torch.vmap(one)({name: draws[name].to(program.precision) for name in program.latents})


def own_priors(program: Program, draw: Mapping[str, Tensor]) -> list[str]:
    """The latent variables at the top whose own scale matters, seen at a draw {name: [*shape]}; if none, all there."""
    top = top_sites(program, draw)
    scales = [name for name in program.latents if bool((draw[name] > 0).all())]
    own = [name for name in top if not any(_rescaled(program, draw, name, scale) for scale in scales if scale != name)]
    return own or top


def _rescaled(program: Program, draw: Mapping[str, Tensor], name: str, scale: str) -> bool:
    """Whether a site reaches the data as a standard normal times a scale: twice the one undoes half the other."""
    if not program.latents[name].support.check(-draw[name]).all() or draw[scale].numel() not in {1, draw[name].numel()}:
        return False
    twice = 2 * draw[name]
    tried = [draw, {**draw, name: twice, scale: draw[scale] / 2}, {**draw, name: twice}]
    scored = pointwise(program, {key: torch.stack([each[key] for each in tried]) for key in program.latents}).values()
    kept, alone = (all(torch.allclose(x[0], x[i], rtol=1e-9, atol=1e-9) for x in scored) for i in (1, 2))
    return kept and not alone  # what reaches the data through another site alone changes nothing either way


def top_sites(program: Program, draw: Mapping[str, Tensor]) -> list[str]:
    """The latent variables whose prior depends on no other, seen by its gradient at a draw {name: [*shape]}."""
    values = {name: draw[name].detach().to(program.precision).requires_grad_() for name in program.latents}
    with torch.enable_grad():
        trace = program.trace(values)
        with settings(program.precision, program.device):
            scores = {name: log_prob(trace.nodes[name]) for name in values}
    top = []
    for name, each in scores.items():
        if each.numel() > max(1, values[name].numel()):  # it has a value for each state of a discrete latent
            continue
        score = each.sum()
        slopes = torch.autograd.grad(
            score + 0 * values[name].sum(), list(values.values()), None, True, allow_unused=True
        )
        felt = [other for other, slope in zip(values, slopes, strict=True) if slope is not None and slope.any()]
        if not set(felt) - {name}:
            top.append(name)
    return top


def power_weights(component: Tensor, power: float) -> Tensor:
    """The log of what each draw counts for [n], where a component of the density [n], nats, is raised to a power."""
    return smoothed((power - 1) * component.double()).log_weights


def sensitivity(x: np.ndarray, weights: Sequence[np.ndarray]) -> float:
    """How far a number's draws [n] move with the weights [n] of each of the powers: their distance over the log."""
    even = np.full(len(x), 1 / len(x))
    return float(
        np.mean([distance(x, even, w) / abs(np.log2(power)) for w, power in zip(weights, POWERS, strict=True)])
    )


def distance(x: np.ndarray, p: np.ndarray, q: np.ndarray) -> float:
    """The cumulative Jensen-Shannon distance of draws x [n] weighed by p and by q, seen from the worse side; 0 to 1."""
    order = np.argsort(x, kind="stable")
    backwards = order[::-1]
    return max(_distance(x[order], p[order], q[order]), _distance(-x[backwards], p[backwards], q[backwards]))


def _distance(x: np.ndarray, p: np.ndarray, q: np.ndarray) -> float:
    width = np.diff(x)
    below_p, below_q = (np.cumsum(w / w.sum())[:-1] for w in (p, q))
    area_p, area_q = width @ below_p, width @ below_q
    middle = (below_p + below_q) / 2
    # the terms of the areas' difference, one with each sign, cancel in the sum of both directions
    both = width @ (_times_log(below_p, middle) + _times_log(below_q, middle))
    return float(np.sqrt(max(both, 0.0) / (area_p + area_q))) if area_p + area_q > 0 else 0.0


def _times_log(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a log2(a / b), 0 where a is."""
    return a * np.log2(np.divide(a, b, out=np.ones_like(a), where=a > 0))


def _verdict(table: pd.DataFrame) -> tuple[list[str], dict[str, str]]:
    verdict, alarms = [], {}
    for kind, meaning in (
        (
            CONFLICT,
            "prior and data pull it to different places; ask whether the prior is what you meant, or the data are",
        ),
        (STRONG, "the prior says most of what is said of it; defend that prior, or bring data that tell of it"),
    ):
        hit = table[table["diagnosis"] == kind].sort_values("prior", ascending=False)
        if len(hit):
            names = [
                f"{name} (prior {row['prior']:.2f}, likelihood {row['likelihood']:.2f})" for name, row in hit.iterrows()
            ]
            alarms[kind] = f"{kind[0].upper()}{kind[1:]}, as it seems, for {listed(names, 3)}: {meaning}."
            verdict.append(alarms[kind])
    if not verdict:
        most = table["prior"].max()
        verdict.append(
            f"The prior hardly matters: scaling it moves no number by more than {most:.2g} (sensitive above 0.05)."
        )
    return verdict, alarms
