"""`variational`: a guide over a program's latents, fitted by gradients of the ELBO and corrected by weights."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from inference.fit import fit
from inference.posterior import Posterior
from inference.progress import Callback
from inference.results import Fit
from inference.schedules import cosine
from inference.seeding import seeded
from inference.variational.asked import Asked, answer, scored
from inference.variational.automatic import is_automatic, made
from inference.variational.elbo import Approximation, Bounded, GlobalElbo
from inference.variational.guides import Flow, FullCovariance, Guide, GuideOf
from inference.variational.minibatch import Batched
from inference.variational.pathfinder import Paths, find_paths, kept

COMPARED = 200
"""Draws by which the starts are compared."""
APART = 1.0
"""Nats between the ELBOs of two starts that are more than noise and haste."""


def variational(
    model: Any,
    data: Any = None,
    guide: GuideOf | nn.Module | Any = None,
    *,
    steps: int = 1000,
    starts: int = 4,
    draws: int = 2000,
    particles: int = 8,
    batch_size: int | None = None,
    plate: str | None = None,
    lr: float | None = None,
    seed: int = 0,
    device: torch.device | str | None = None,
    precision: torch.dtype = torch.float64,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
) -> Posterior:
    """Draws of a guide fitted to the posterior of a program's latents, each with its Pareto-smoothed weight.

    Several guides are fitted in one batch, each from a normal that Pathfinder found from a start of its own; the one
    of the largest ELBO answers. Gradients stick the landing; the rate falls to zero along a cosine and the parameters
    are averaged. `resampled()` are draws corrected by the weights.

    Parameters:
        model: any Pyro program with continuous latents, or a log density such as `LogDensity`.
        data: its arguments: a mapping, a tuple or a tensor.
        guide: `FullCovariance` (unless told), `MeanField`, `LowRank` or a partial of one; a density over [dim] with
            `distribution()`, such as a flow; or one of Pyro's AutoGuides, as a class (one for each start) or an
            instance.
        steps: of the one loop, `fit`.
        starts: how many guides are fitted from different starts.
        draws: of the answer.
        particles: draws of each guide in each step.
        batch_size: rows of the data a step, all unless told; the likelihood is weighed so that steps are unbiased.
        plate: whose rows batches are of, where several hold data.
        lr: the first learning rate, the guide's own unless told; of normals, the share of a standard deviation that a
            step moves.

    Returns:
        a `Posterior` whose `extra` has "elbo", "elbos" (of all starts), "pareto_k", "log_evidence" and its error
        (nats), and "fit"; its alarms are "unreliable guide" (Pareto k above 0.7) and "local optima" (starts that
        disagree).

    Raises:
        ValueError, TypeError: a program that has no log density, a guide that does not fit it, batches that can't be.
        FloatingPointError: an ELBO that is not finite, with its step.

    References:
        Yes, but Did It Work?: Evaluating Variational Inference (Yao, Vehtari, Simpson and Gelman, 2018),
        https://arxiv.org/abs/1802.02538
        Robust, Accurate Stochastic Optimization for Variational Inference (Dhaka et al., 2020)
    """
    began = time.perf_counter()
    with seeded(seed, device):
        asked = Asked.of(model, data, precision=precision, device=device, seed=seed)
        paths = kept(find_paths(asked.density, asked.density.start(starts)), asked.name)
        guides = _guides(guide, asked, paths)
        density, rows = _by_rows(asked, paths, batch_size, plate)
        fitted = fit(
            Approximation(guides, density),
            rows,
            GlobalElbo(particles),
            steps=steps,
            batch_size=batch_size,
            lr=guides.lr if lr is None else lr,
            schedule=cosine(steps, final=0.02),
            average=0.99,
            seed=seed,
            callbacks=callbacks,
            progress=progress,
        )
        q, log_q, elbos, alarms = _best(guides, asked, draws)
        return answer(
            asked,
            q,
            log_q,
            method=f"{_name(guide)} guide",
            began=began,
            alarms=alarms,
            extra={"elbos": elbos, "fit": _told(fitted)},
        )


def _told(fitted: Fit) -> dict[str, Any]:
    return {"steps": fitted.steps, "seconds": fitted.seconds, "history": fitted.history, "stopped": fitted.stopped}


def _name(guide: Any) -> str:
    made_by = getattr(guide, "func", guide) or FullCovariance
    return made_by.__name__ if isinstance(made_by, type) else type(made_by).__name__


def _guides(guide: Any, asked: Asked, paths: Paths) -> Guide:
    """The guides that begin at the paths' normals."""
    if is_automatic(guide):
        if asked.program is None:
            raise TypeError(f"{_name(guide)} needs a Pyro program, and {asked.name} is a log density only")
        return made(guide, asked.program, asked.density.constrain(paths.normal.mean))
    if hasattr(guide, "distribution"):
        return Flow(paths.normal, density=guide)
    if guide is not None and not callable(guide):
        raise TypeError(
            f"guide is a {type(guide).__name__}: give MeanField, FullCovariance or LowRank, a density with "
            "distribution(), or one of Pyro's AutoGuides"
        )
    return (guide or FullCovariance)(paths.normal)


def _by_rows(asked: Asked, paths: Paths, batch_size: int | None, plate: str | None) -> tuple[Bounded, Tensor]:
    """The log density of a batch, and the numbers of the rows that batches are made of."""
    if batch_size is None:
        return lambda q, rows: asked.density.value_and_grad(q), torch.zeros(1, dtype=torch.long)
    if asked.program is None:
        raise ValueError(f"batches are of a program's rows, and {asked.name} is a log density: leave out batch_size")
    batched = Batched(asked.density, plate, paths.normal.mean)
    return batched, torch.arange(batched.size)


@torch.no_grad()
def _best(guides: Guide, asked: Asked, draws: int) -> tuple[Tensor, Tensor, Tensor, dict[str, str]]:
    """Draws [1, draws, dim] of the guide with the largest ELBO, its log density, all ELBOs, and what ails them."""
    tried, log_q = guides.draw(COMPARED)
    gaps = scored(asked, tried) - log_q
    elbos = gaps.mean(0)
    best = int(elbos.argmax())
    alarms = _disagreement(tried, elbos, gaps.std(0) / math.sqrt(COMPARED), best)
    q, log_q = guides.draw(draws)
    return q[:, best][None], log_q[:, best][None], elbos, alarms


def _disagreement(q: Tensor, elbos: Tensor, errors: Tensor, best: int) -> dict[str, str]:
    """An alarm where starts end at ELBOs, or at places, that differ by more than chance."""
    gaps = elbos[best] - elbos
    lower = gaps > APART + 4 * (errors + errors[best])
    mean, sd = q.mean(0), q.std(0)
    far = ((mean - mean[best]).abs() > 3 * torch.maximum(sd, sd[best])).any(-1) & ~lower
    sentences = []
    if lower.any():
        sentences.append(
            f"{int(lower.sum())} of {len(elbos)} starts ended up to {float(gaps[lower].max()):.3g} nats below the best"
        )
    if far.any():
        sentences.append(f"{int(far.sum())} of {len(elbos)} starts ended as high as the best, but elsewhere")
    if not sentences:
        return {}
    said = ", and ".join(sentences)
    return {"local optima": f"{said}: the posterior may have several modes, of which the guide holds one. Try smc."}
