"""From a program and its data to a log density, and from draws of an approximation to a posterior."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inference.posterior import Posterior
from inference.variational.smoothing import smoothed, unreliable

AT_ONCE, NUMBERS = 256, 2**21
"""Rows q that a density is asked of at once: so many at most, and no more than times the data fit into a cache."""


@dataclass(frozen=True)
class Asked:
    """What is approximated: its name, the program where there is one, and the log density of its latents."""

    name: str
    program: Any
    density: Any

    @property
    def at_once(self) -> int:
        """How many rows q are best scored in one batch."""
        observed = {} if self.program is None else self.program.observed
        numbers = sum(site.shape.numel() for site in observed.values())
        return min(AT_ONCE, max(4, NUMBERS // max(1, numbers)))

    @staticmethod
    def of(model: Any, data: Any, *, precision: torch.dtype, device: Any, seed: int) -> Asked:
        """A Pyro program and its data, or a log density as it is."""
        if hasattr(model, "value_and_grad"):
            return Asked(type(model).__name__, None, model)
        from inference.program import Program
        from inference.sampling.density import LogDensity

        program = Program.of(model, data, precision=precision, device=device, seed=seed)
        return Asked(program.name, program, LogDensity.of(program))


@torch.no_grad()
def scored(asked: Asked, q: Tensor) -> Tensor:
    """The log density of q [..., dim], in batches of one size: [...] nats, minus infinity where it is no number."""
    flat = q.reshape(-1, q.shape[-1])
    size = min(asked.at_once, len(flat))
    parts = []
    for part in flat.split(size):
        missing = size - len(part)
        padded = torch.cat([part, flat[:missing]]) if missing else part
        parts.append(asked.density(padded)[: len(part)])
    return torch.cat(parts).nan_to_num(nan=-torch.inf, posinf=-torch.inf).view(q.shape[:-1])


def answer(
    asked: Asked,
    q: Tensor,
    log_q: Tensor,
    *,
    method: str,
    began: float,
    alarms: Mapping[str, str],
    extra: Mapping[str, Any],
) -> Posterior:
    """The posterior of draws q [chains, draws, dim] from an approximation of log density log_q [chains, draws].

    `began` is when it was asked for, by `time.perf_counter`.
    `extra` gains "pareto_k", "elbo" and, unless it is there, "log_evidence" with its error, by the smoothed weights.
    """
    log_p = scored(asked, q)
    weights = log_p - log_q
    smooth = smoothed(weights)
    found = {
        "log_evidence": smooth.log_mean,
        "log_evidence_error": smooth.error,
        "pareto_k": smooth.k,
        "elbo": float(weights.mean()),
        **extra,
    }
    return Posterior(
        asked.name,
        asked.program,
        draws=asked.density.constrain(q),
        stats={"lp": log_p},
        method=method,
        log_weights=smooth.log_weights,
        unconstrained=q,
        seconds=time.perf_counter() - began,
        alarms={**alarms, **unreliable(smooth.k, f"{asked.name} by {method}")},
        extra=found,
    )
