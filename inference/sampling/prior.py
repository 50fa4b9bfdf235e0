"""The prior of a program on unconstrained space, with all its constants: what evidence is measured from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from pyro import poutine

from inference.program import Program
from inference.sampling.density import LogDensity


def prior_of(density: LogDensity) -> LogDensity:
    """log p(latents) + log |Jacobian| on the coordinates of `density`: its program with nothing observed.

    Raises:
        ValueError: a prior that does not integrate to one (improper, masked or scaled), by the site's name.
    """
    program = density.program
    check_proper(density)
    unobserved = poutine.block(poutine.condition(program.model, data=program.seen), hide_fn=_observed)
    return LogDensity.of(replace(program, model=unobserved, observed={}, seen={}))


def _observed(message: Any) -> bool:
    return message["type"] == "sample" and message["is_observed"]


def check_proper(density: LogDensity) -> None:
    """Refuse priors that do not integrate to one."""
    program: Program = density.program
    values = density.constrain(torch.zeros(1, density.dim, dtype=program.precision, device=program.device))
    nodes = program.trace({name: rows[0] for name, rows in values.items()}).nodes
    for name in program.latents:
        if fault := _fault(nodes[name]):
            raise ValueError(
                f"{program.name}: the prior of {name!r} {fault}, so that there is no evidence to speak of: "
                "give it a proper prior, or use mcmc"
            )


def _fault(node: Any) -> str:
    fn, kinds = node["fn"], []
    while fn is not None:
        kinds.append(type(fn).__name__)
        fn = getattr(fn, "base_dist", None)
    if "ImproperUniform" in kinds:
        return "is improper"
    masked = node["mask"] is not None and not bool(torch.as_tensor(node["mask"]).all())
    if masked or "MaskedDistribution" in kinds:
        return "is masked"
    scaled = bool((torch.as_tensor(node["scale"]) != 1).any())
    return f"is scaled by {node['scale']}" if scaled else ""
