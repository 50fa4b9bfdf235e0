"""Sequential Monte Carlo from the prior to the posterior: where there are several modes, and for the evidence."""

from __future__ import annotations

import time
from typing import Any

import torch
from tqdm import tqdm

from inference.ais import log_mean
from inference.posterior import Posterior
from inference.predictive_draws import APART, simulate
from inference.program import Program
from inference.results import tell
from inference.sampling.density import LogDensity
from inference.sampling.hmc import Hmc
from inference.sampling.kernel import Kernel
from inference.sampling.prior import prior_of
from inference.sampling.starting import why
from inference.sampling.tempering import Annealed, annealed
from inference.seeding import seeded

SHARE = 0.8
"""What the weights of one step of temperature are worth, of the particles."""
MOVES = 200
"""Steps of the kernel at one temperature, at most."""
ROUGH = 0.5
"""A standard error of the log evidence, in nats, from which on it is not to be relied on."""


def smc(
    model: Any,
    data: Any = None,
    *,
    particles: int = 2048,
    populations: int = 8,
    kernel: Kernel | None = None,
    seed: int = 0,
    device: Any = None,
    precision: torch.dtype = torch.float64,
    progress: bool = True,
) -> Posterior:
    """Draws of a program's posterior by particles carried over from its prior, and the log evidence log p(data).

    Particles begin as draws of the prior, and the likelihood enters by and by, to powers from 0 to 1 that are chosen on
    the way; at each power they are drawn anew by their weights and moved until they have forgotten where they were. As
    they come from everywhere, they find modes in proportion to their mass, where chains stay in the one they meet.

    Parameters:
        particles: of all populations together. More of them: a smaller error, and rare modes found.
        populations: groups of particles that resample among themselves; each is a chain of the posterior, and estimates
            the evidence by itself, whence the standard error.
        kernel: what moves the particles; None takes `Hmc`, whose metric is that of the particles. `RandomWalk` needs no
            gradients.

    Returns:
        The posterior, draws [populations, particles / populations, *shape]. `extra` has `log_evidence` and
        `log_evidence_error` (nats; the log of the mean over populations, and its standard error), those of each
        population, and of each temperature the `moves`, the `acceptance` and the `correlation` left.

    Raises:
        ValueError: an improper prior, by its site's name; a prior of which no draw has a finite likelihood.

    References:
        Sequential Monte Carlo samplers (Del Moral, Doucet and Jasra, 2006),
        https://doi.org/10.1111/j.1467-9868.2006.00553.x
    """
    if populations < 2 or particles < 8 * populations or particles % populations:
        raise ValueError(
            f"particles must be a multiple of the populations, at least 2 of 8 each, not {particles} in {populations}"
        )
    began = time.perf_counter()
    program = Program.of(model, data, precision=precision, device=device, seed=seed)
    kernel = kernel if kernel is not None else Hmc()
    joint = LogDensity.of(program)
    prior = prior_of(joint)
    latents, _ = simulate(prior.program, particles, seed)
    bar = tqdm(total=1.0, disable=None if progress else True)
    with seeded(seed + APART, program.device), torch.no_grad(), bar:
        q = joint.unconstrain(latents, check=False).view(populations, -1, joint.dim)
        if not joint(q.flatten(0, 1)).isfinite().any():
            raise ValueError(f"{program.name}: {why(joint, q[0, 0])}")
        found = annealed(
            prior, joint, q, kernel, share=SHARE, limit=MOVES, report=lambda beta: bar.update(beta - bar.n)
        )
    posterior = _posterior(program, joint, kernel, found, time.perf_counter() - began)
    tell(posterior.alarms)
    return posterior


def _posterior(program: Program, joint: LogDensity, kernel: Kernel, found: Annealed, seconds: float) -> Posterior:
    value, error = log_mean(found.log_evidence)
    return Posterior(
        program.name,
        program,
        joint.constrain(found.q),
        {"lp": found.log_density},
        method=f"SMC with {kernel.name}",
        unconstrained=found.q,
        seconds=seconds,
        alarms=_alarms(float(error), found),
        extra={
            "log_evidence": float(value),
            "log_evidence_error": float(error),
            "log_evidence_of_populations": found.log_evidence,
            "temperatures": found.temperatures,
            "moves": found.moves,
            "acceptance": found.acceptance,
            "correlation": found.correlation,
        },
    )


def _alarms(error: float, found: Annealed) -> dict[str, str]:
    alarms = {}
    if not error < ROUGH:
        alarms["evidence"] = (
            f"the populations disagree on the evidence: its log has a standard error of {error:.2g} nats. "
            "More particles= would narrow it."
        )
    tired = sum(moves >= MOVES for moves in found.moves)
    if tired:
        alarms["moves"] = (
            f"at {tired} of {len(found.moves)} temperatures the particles still knew where they had been after {MOVES} "
            "moves: the kernel is slow here, and draws of one population may be alike."
        )
    return alarms
