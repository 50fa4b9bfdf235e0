"""One question, asked of any model.

query(network, "lung", given={"smoke": "yes"})      elimination, exact
query(hybrid, "disease", given={"xray": images})    elimination with the density's likelihoods, exact
query(mixture, "component", given={"x": rows})      Bayes' rule, exact
query(ppca, "z", given={"x": rows})                 the posterior in closed form, exact
query(discrete_vae, "z", given={"x": rows})         the probability of each level of each code, exact where few
query(semi_supervised, "y", given={"x": rows})      Bayes' rule over the classes, by importance sampling
query(vae, "z", given={"x": rows})                  importance sampling, an estimate with its reliability
query(model, "x", given={"x": rows with gaps})      closed form, importance sampling, chains or particles
query(rbm, "x", given={"x": rows with gaps})        units held, the others summed over or drawn by Gibbs chains
query(model, "x")                                   draws
query(posterior, "theta")                           what its draws say of a latent, or of data drawn anew
query(spread, "source", given={"I": nodes, "step": 8})   who began it, a probability a node
query(spread, "total", do={"vaccinate": nodes})     what becomes of a spread where one steps in
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from inference.query import clamped as _clamped
from inference.query import classes as _classes
from inference.query import codes as _codes
from inference.query import draws as _draws
from inference.query import hybrid as _hybrid
from inference.query import latent as _latent
from inference.query import missing as _missing
from inference.query import network as _network
from inference.query import of_posterior as _of_posterior
from inference.query import of_spread as _of_spread
from inference.query.answer import Answer
from inference.query.chains import Chains
from inference.query.clamped import ClampedChains, MeanField
from inference.query.gibbs import Metropolis, PseudoGibbs
from inference.query.question import Question, ask
from inference.query.refuse import refusal
from inference.query.replacement import Replacement
from inference.query.steps import Particles
from inference.query.weighting import LikelihoodWeighting

__all__ = [
    "METHODS",
    "Answer",
    "Chains",
    "ClampedChains",
    "LikelihoodWeighting",
    "MeanField",
    "Metropolis",
    "Particles",
    "PseudoGibbs",
    "Replacement",
    "query",
]

METHODS: tuple[tuple[Callable[[Question], bool], Callable[[Question], Answer]], ...] = (
    (_of_posterior.answers, _of_posterior.answer),
    (_of_spread.answers, _of_spread.answer),
    (_hybrid.answers, _hybrid.answer),
    (_network.answers, _network.answer),
    (_latent.answers_component, _latent.component),
    (_missing.answers, _missing.answer),
    (_clamped.answers, _clamped.answer),
    (_classes.answers_summed, _classes.summed),
    (_classes.answers, _classes.answer),
    (_codes.answers_summed, _codes.summed),
    (_codes.answers_weighted, _codes.weighted),
    (_latent.answers_conjugate, _latent.conjugate),
    (_latent.answers_latent, _latent.latent),
    (_draws.answers, _draws.answer),
)
"""(whether a method answers a question, the method): the first that does is taken, exact ones first."""


def query(
    model: Any,
    targets: Any,
    given: Mapping[Any, Any] | None = None,
    do: Mapping[Any, Any] | None = None,
    *,
    context: Tensor | None = None,
    draws: int = 1000,
    seed: int = 0,
    method: Callable[[Question], Answer] | None = None,
) -> Answer:
    """p(targets | given, do), by the best method that the model allows.

    Parameters:
        model: a pgmpy graph of tables, a model that holds one as `.graph`, a hybrid network, a Pyro pair, a
            `Posterior`, or a spread on a graph or in a population.
        targets: a name, or a list of names, each with an answer of its own; a tuple of names is one target,
            their joint distribution.
        given: what was observed: states by name or code for a network, {"x": rows} for a pair. For many cases at
            once, arrays of states, or a DataFrame with a column a variable and NaN where nothing is known; a float
            array [N, states] is the likelihood of what was seen.
            Rows of x may have gaps, NaN or in codes -1: then the target "x" is what is missing given the rest.
            Of a spread on a graph, asked who began it or whom it has reached, what was seen of nodes until "step";
            asked what becomes of it, who begins it, and "steps". Of an `Outbreak` its "cases".
        do: what was set from outside, for a network: its causes no longer matter. For a spread whom one vaccinates,
            which edges one cuts, or by what one multiplies contacts.
        context: what the pair is conditioned on, a row for each row of x.
        draws: how many, where the answer is an estimate.
        method: how to answer instead: `LikelihoodWeighting()` for a network too large for elimination, `Chains(...)`
            or `Particles(...)` with settings of one's own, `Replacement()` for a diffusion's quick guess,
            `ClampedChains(...)` or `MeanField()` for an energy's.
    """
    question = ask(model, targets, given, do, context, draws, seed)
    if method is not None:
        return method(question)
    for answers, answer in METHODS:
        if answers(question):
            return answer(question)
    raise refusal(question)
