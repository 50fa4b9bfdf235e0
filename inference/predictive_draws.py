"""What a program says of data: draws of its prior, data drawn anew given latents, and how likely each datum is."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from inference.batched_runs import at_once, of_each, run_all
from inference.program import Program
from inference.program_data import settings
from inference.program_sites import Draw, log_prob
from inference.seeding import seeded
from inference.summed_out import summed_out

Draws = dict[str, Tensor]
APART = 1_000_003
"""Added to a seed where draws are given, which may have been made by the same seed and so of the same noise."""


def simulate(program: Program, n: int, seed: int) -> tuple[Draws, Draws]:
    """n draws of the latents' prior and of data given each: {name: [n, *shape]} twice.

    Raises:
        ValueError: a prior that has no draws, as an improper one, by its site's name.
    """
    drawn = _seeded(program, {}, n, seed, (*program.latents, *program.observed))
    latents, observed = ({name: drawn[name] for name in sites} for sites in (program.latents, program.observed))
    return latents, observed


def prior_draws(program: Program, n: int) -> Draws:
    """n draws of the latents, {name: [n, *shape]}, by torch's generator; improper ones within their support."""
    return run_all(program, {}, n, Draw(improper=True), tuple(program.latents))


def predict(program: Program, draws: Mapping[str, Tensor], seed: int) -> Draws:
    """The observed sites drawn anew, {name: [n, *shape]}, for draws of the latents {name: [n, *shape]}."""
    return _seeded(program, _latents(program, draws), _count(draws), seed + APART, tuple(program.observed))


def derive(program: Program, draws: Mapping[str, Tensor]) -> Draws:
    """What the program names by `pyro.deterministic`, {name: [n, *shape]}, for draws {name: [n, *shape]}."""
    if not program.derived:
        return {}
    return run_all(program, _latents(program, draws), _count(draws), Draw(), tuple(program.derived))


def pointwise(program: Program, draws: Mapping[str, Tensor]) -> Draws:
    """log p(datum | latents) in nats, {observed site: [n, *its batch]}, discrete latents summed out.

    Data that share a discrete latent have no likelihood each: an axis along which they do is summed to one place.
    Sites that share one are each given those before them in the program, so that their sum is the whole.
    """

    def one(row: Mapping[str, Tensor], _: Tensor) -> Draws:
        trace = program.trace(dict(row))
        with settings(program.precision, program.device):
            if not program.discrete:
                return {name: log_prob(trace.nodes[name]) for name in program.observed}
            return summed_out(trace, program.observed)

    return of_each(one, _latents(program, draws), _count(draws), at_once(program, program.observed))


def _latents(program: Program, draws: Mapping[str, Tensor]) -> Draws:
    return {name: draws[name].to(program.precision) for name in program.latents}


def _count(draws: Mapping[str, Tensor]) -> int:
    return len(next(iter(draws.values())))


def _seeded(program: Program, draws: Draws, n: int, seed: int, names: tuple[str, ...]) -> Draws:
    """The sites of n runs in which the observed ones are drawn anew."""
    with seeded(seed, program.device):
        return run_all(program, draws, n, Draw(observed=tuple(program.observed)), names)
