"""`mcmc`: many chains on any Pyro model, until they know enough."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inference import checkpoint as checkpoints
from inference.checkpoint import Checkpoint
from inference.posterior import Posterior
from inference.program import Program
from inference.progress import Bar, Progress, deferred_interrupt
from inference.results import tell
from inference.sampling.chees import Chees
from inference.sampling.density import LogDensity
from inference.sampling.kernel import Kernel
from inference.sampling.loop import FEWEST, Walk
from inference.sampling.outcome import Flat, alarms_of, posterior_of
from inference.sampling.stopping import Ess, Rule, rule_of
from inference.seeding import seeded

ENOUGH = Ess(1000)

CEILING = 2000
"""Draws a chain, where the caller names no number."""

AT_ONCE = {"cpu": 2**18, "cuda": 2**26}
"""Numbers observed, times chains, beyond which a core or a GPU is full, so that one more chain costs its full price."""

REPORT_EVERY = 10


def mcmc(
    model: Any,
    data: Any = None,
    *,
    kernel: Kernel | None = None,
    chains: int | None = None,
    warmup: int | None = None,
    draws: int | None = None,
    until: Rule | Iterable[Rule] = ENOUGH,
    seed: int = 0,
    device: torch.device | str | None = None,
    precision: torch.dtype = torch.float64,
    start: Tensor | Mapping[str, Tensor] | Posterior | None = None,
    progress: bool = True,
    checkpoint: str | Path | Checkpoint | None = None,
    resume: str | Path | None = None,
) -> Posterior:
    """Draw from p(latents | data) by many chains in one batch, until a rule on the draws is met.

    Discrete latents are summed out. What did not go well (chains that do not agree or know too little at the ceiling,
    divergences and where they are) is in the posterior's `alarms` and warned of as `Alarm`.

    Parameters:
        model: any callable with pyro.sample statements, or an object that has one as `.model`; or a `Program`; or a
            `LogDensity`, as `inference.sampling.compiled` makes one of machine code for long runs and long loops.
        data: its arguments: a mapping by name, a tuple in order, a tensor or array by itself.
        kernel: what moves the chains; `Chees()` unless told.
        chains, warmup: how many chains, and how many steps they adapt; unless told, as the kernel advises. Where many
            numbers are observed the chains are fewer, as each then costs its full price: 16 from some 16,000 rows on.
        draws: the ceiling of draws a chain; 2,000 unless told.
        until: `Ess(count)`, `RHat(bound)` or a sequence of rules that must all be met.
        seed: of all random numbers; the caller's own random state is left as it was.
        device, precision: where the density is computed, and the dtype of all real numbers.
        start: where chains begin: unconstrained [chains, dim], {name: [chains, *shape]}, or a posterior to draw from;
            scattered about the origin of unconstrained space unless told.
        progress: show a bar with r-hat and effective draws (silent where the output is not a terminal).
        checkpoint: a path, or a `Checkpoint`; written every so many steps, at the end and on Ctrl-C.
        resume: a checkpoint to go on from: on the CPU the draws equal an uninterrupted run's to the bit.

    Raises:
        ValueError, TypeError: a model without continuous latents, a start of no density, settings that do not fit.
    """
    began = time.perf_counter()
    kernel, rule = Chees() if kernel is None else kernel, rule_of(until)
    density = model if isinstance(model, LogDensity) else None
    if density is None:
        density = LogDensity.of(Program.of(model, data, precision=precision, device=device, seed=seed))
    elif data is not None:
        density = density.with_data(data)
    program = density.program
    saved = None if resume is None else checkpoints.load(resume, torch.device(program.device or "cpu"))
    with seeded(seed, program.device), torch.no_grad():
        flat = Flat(density)
        walk = Walk(
            kernel,
            density,
            rule,
            values=flat,
            names=flat.names,
            warmup=_at_least(1, "warmup", kernel.warmup_for(density.dim) if warmup is None else warmup),
            limit=_at_least(FEWEST, "draws", CEILING if draws is None else draws),
        )
        if saved is None:
            walk.begin(_starts(density, kernel, chains, rule.super_chains, start, seed))
        else:
            _restore(walk, saved, resume)
        _run(walk, _as_checkpoint(checkpoint), f"{program.name} by {kernel.name}", progress)
    alarms = alarms_of(walk)
    tell(alarms)
    return posterior_of(walk, program, flat, alarms, time.perf_counter() - began)


def _run(walk: Walk, checkpoint: Checkpoint | None, title: str, progress: bool) -> None:
    """Step by step, with reports and checkpoints in between."""
    bar = Bar(walk.warmup + walk.limit, walk.steps, progress, title)
    try:
        with deferred_interrupt() as interrupt:
            for steps in walk.run():
                if steps % REPORT_EVERY == 0 and bar.shown:
                    bar(Progress(steps, walk.warmup + walk.limit, _shown(walk), None))
                if checkpoint is not None and (steps % checkpoint.every == 0 or interrupt.pressed):
                    checkpoints.save(_state(walk), checkpoint.path)
                if interrupt.pressed:
                    raise KeyboardInterrupt
    finally:
        bar.close()
    if checkpoint is not None:
        checkpoints.save(_state(walk), checkpoint.path)


def _shown(walk: Walk) -> dict[str, float]:
    if walk.found is None:
        return {}
    return {"r-hat": float(walk.found.agreement.max()), "effective draws": float(walk.found.ess.min())}


def _state(walk: Walk) -> dict[str, Any]:
    return {"asked": [walk.kernel.name, walk.density.dim, walk.warmup], **walk.state_dict()}


def _restore(walk: Walk, saved: dict[str, Any], path: str | Path | None) -> None:
    now = [walk.kernel.name, walk.density.dim, walk.warmup]
    if saved.get("asked") != now:
        raise ValueError(
            f"the checkpoint {str(path)!r} is of {saved.get('asked')} this run of {now}: kernel, dimensions, warm-up"
        )
    walk.load_state_dict(saved)


def _starts(
    density: LogDensity, kernel: Kernel, chains: int | None, groups: int | None, start: Any, seed: int
) -> Tensor:
    """Where the chains begin, [chains, dim]; with `groups`, that many starts, each taken by as many chains."""
    if start is not None and not isinstance(start, Posterior):
        return _given(density, start, chains)
    count = _at_least(1, "chains", _advised(density, kernel, groups or 1) if chains is None else chains)
    if groups is not None and (groups < 2 or count % groups):
        raise ValueError(f"{count} chains do not make {groups} groups of one size; chains= takes a multiple of it")
    starts = count if groups is None else groups
    q = density.start(starts) if start is None else _drawn(density, start, starts, seed)
    return q.repeat_interleave(count // starts, 0)


def _advised(density: LogDensity, kernel: Kernel, groups: int) -> int:
    """As many chains as the kernel advises, or as the data leave room for; a multiple of `groups`."""
    dim, program = density.dim, density.program
    numbers = sum(site.shape.numel() for site in program.observed.values())
    many, here = kernel.chains_for(dim), torch.device(program.device or "cpu").type
    room = AT_ONCE.get(here, AT_ONCE["cuda"]) // max(numbers, 1)
    few = min(many, max(kernel.fewest_for(dim), room))
    return many if few == many else math.ceil(few / groups) * groups


def _given(density: LogDensity, start: Any, chains: int | None) -> Tensor:
    q = start if isinstance(start, Tensor) else density.unconstrain(dict(start))
    if q.dim() != 2 or q.shape[1] != density.dim or (chains is not None and len(q) != chains):
        raise ValueError(f"start is {list(q.shape)} in unconstrained space, not [{chains or 'chains'}, {density.dim}]")
    value, slope = density.value_and_grad(q)
    if not bool((value.isfinite() & slope.isfinite().all(-1)).all()):
        raise ValueError("start has chains where the density or its slope is not finite")
    return q


def _drawn(density: LogDensity, posterior: Posterior, count: int, seed: int) -> Tensor:
    """So many draws of a posterior, each once as far as there are enough."""
    flat = posterior.resampled(seed).flat
    rows = len(next(iter(flat.values())))
    order = torch.cat([torch.randperm(rows) for _ in range(-(-count // rows))])[:count]
    return density.unconstrain({name: flat[name][order] for name in density.program.latents})


def _as_checkpoint(checkpoint: str | Path | Checkpoint | None) -> Checkpoint | None:
    return Checkpoint(checkpoint) if isinstance(checkpoint, str | Path) else checkpoint


def _at_least(bound: int, what: str, given: int) -> int:
    if given < bound:
        raise ValueError(f"{what} is {given}, and must be {bound} or more")
    return given
