"""A posterior diagnosed: whether its draws can be trusted, and whether its program can be.

| illness                          | seen by                                                                     |
|----------------------------------|-----------------------------------------------------------------------------|
| "chains disagree", "one chain"   | r-hat; nested r-hat where chains share starts                               |
| "too few draws"                  | effective draws, bulk and tail, below 400                                   |
| "divergences"                    | the integrator's, and where they gather                                     |
| "funnel"                         | a spread that follows a scale, where the chains have trouble                |
| "low energy", "trees cut off"    | E-BFMI below 0.3; trajectories at the greatest depth                        |
| "stuck chains", "several modes"  | chains that stand still, or that live in groups far apart                   |
| "label switching"                | components that change places                                               |
| "unreliable guide"               | Pareto k of the weights of an approximation's draws                         |
| "unreliable LOO"                 | Pareto k of an observation left out                                         |
| "misfit"                         | statistics of the data among those of replicated data                       |
| "miscalibrated predictions"      | LOO-PIT                                                                     |
| "prior rules out the data"       | statistics of the data among those of the prior's                           |
| "prior-data conflict", "strong prior or weak likelihood" | power scaling                                       |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from inference.diagnostics import convergence, criticism
from inference.diagnostics.arviz_io import container, datasets_of
from inference.diagnostics.chain_findings import APART, on_chains
from inference.diagnostics.coordinates import Coordinates
from inference.diagnostics.criticism import STATISTICS, Statistic
from inference.diagnostics.health import listed
from inference.diagnostics.leave_one_out import log_likelihood_of, loo, pit, seen_of
from inference.diagnostics.pareto import RELIABLE, pareto_k
from inference.diagnostics.posterior_findings import Findings
from inference.diagnostics.power_scaling import CONFLICT, STRONG, power_scaling
from inference.diagnostics.predictive import to_numpy
from inference.posterior import Posterior

PREDICTED, TRANSFORMED = 400, 2000
"""Of how many draws data are predicted, at most, and of how many observations the PIT is taken."""
OF_THE_PROGRAM = {
    "unreliable LOO",
    "misfit",
    "miscalibrated predictions",
    "prior rules out the data",
    CONFLICT,
    STRONG,
}
"""Illnesses of the program, not of its draws."""
UNFINISHED = {"chains disagree", "too few draws", *APART}
"""What chains that did not come to an end are told of already."""


def findings_on(posterior: Posterior, statistics: Mapping[str, Statistic] | None, seed: int) -> Findings:
    """Everything that can be said of a posterior and, where it has one, of its program."""
    found = Findings(posterior, Coordinates.of_draws(posterior.draws))
    if posterior.log_weights is not None:
        _weights(found)
    elif posterior.shape[0] > 1 or "acceptance_rate" in posterior.stats:
        on_chains(found)
    else:
        _independent(found)
    if posterior.program is None:
        found.verdict.append("There is no program, so that no data are drawn anew and none are left out.")
        found.idata = posterior.idata
    else:
        _criticise(found, statistics or STATISTICS, seed)
    judged = {"divergences"} if "diverging" in posterior.stats else set()
    if UNFINISHED & set(found.alarms):
        judged.add("not converged")
    for illness, sentence in posterior.alarms.items():
        if illness not in {*found.alarms, *judged}:
            found.alarm(illness, f"{posterior.method} warned. {sentence}")
    found.verdict.insert(0, _in_short(found))
    return found


def _in_short(found: Findings) -> str:
    of_draws = [illness for illness in found.alarms if illness not in OF_THE_PROGRAM]
    of_program = [illness for illness in found.alarms if illness in OF_THE_PROGRAM]
    if of_draws:
        nor = "" if found.posterior.program is None else " What is said of the program rests on them."
        return f"These draws are not to be trusted yet: {listed(of_draws)}.{nor}"
    if of_program:
        return f"The draws can be trusted; look, of the program, at: {listed(of_program)}."
    checked = "" if found.posterior.program is None else ", and nothing was found that speaks against the program"
    return f"The draws can be trusted{checked}."


def _independent(found: Findings) -> None:
    found.statistics = convergence.statistics(found.coordinates)
    draws = found.posterior.shape[1]
    found.verdict.append(f"{draws:,} draws by {found.posterior.method}, of no chain: there is no r-hat to be told.")
    found.tell(convergence.sufficiency(found.statistics, draws))


def _weights(found: Findings) -> None:
    """Draws of an approximation: whether weights make up for what it misses."""
    posterior = found.posterior
    assert posterior.log_weights is not None
    w = posterior.weights.flatten()
    k = float(posterior.extra.get("pareto_k", pareto_k(to_numpy(posterior.log_weights.flatten())[:, None])[0]))
    worth = float(1 / w.square().sum())
    found.statistics = convergence.statistics(Coordinates.of_draws(posterior.resampled().draws))
    found.row("Pareto k of the weights", k)
    found.row("effective draws by the weights", worth)
    told = f"Pareto k of the weights of {posterior.method} is {k:.2f}, and its {len(w):,} draws "
    if k <= RELIABLE:
        found.verdict.append(
            f"{told}are worth {worth:,.0f}: weighted, they stand for the posterior (k below {RELIABLE})."
        )
        return
    found.alarm(
        "unreliable guide",
        f"{told}seem worth {worth:,.0f}, which can't be relied on above {RELIABLE}: parts of the posterior may be "
        "missed, and no weights make up for it. Take a richer guide, another parameterisation, or mcmc.",
    )


def _criticise(found: Findings, statistics: Mapping[str, Statistic], seed: int) -> None:
    """Data drawn anew, observations left out, priors scaled."""
    posterior = found.posterior
    even = posterior.resampled(seed)
    few = even.thinned(max(1, -(-even.shape[0] * even.shape[1] // PREDICTED)))
    replicated = datasets_of(few.to_idata(predictive=True, prior=True, seed=seed))
    groups = {
        **datasets_of(posterior.idata),
        **{n: g for n, g in replicated.items() if n.startswith(("posterior_", "prior"))},
    }
    found.idata = container(groups, posterior.idata.attrs)
    found.observed = {str(name): x.values for name, x in groups["observed_data"].items()}
    found.drawn = {name: _flat(groups["posterior_predictive"][name].values) for name in found.observed}
    found.checks = criticism.checks(found.observed, found.drawn, statistics)
    found.tell(criticism.on_checks(found.checks, len(next(iter(found.drawn.values())))))
    for (site, name), row in found.checks.iterrows():
        found.row(f"p-value of the {name} of {site}", row["p"])
    if "prior_predictive" in groups:
        before = {name: _flat(groups["prior_predictive"][name].values) for name in found.observed}
        found.tell(criticism.on_prior(criticism.checks(found.observed, before, statistics)))
    _left_out(found, replicated, seed)
    found.power = power_scaling(posterior)
    for sentence in found.power.verdict:
        illness = next((each for each, said in found.power.alarms.items() if said == sentence), None)
        found.tell((sentence, illness))


def _left_out(found: Findings, replicated: Mapping[str, Any], seed: int) -> None:
    posterior = found.posterior
    if posterior.shape[0] * posterior.shape[1] < 25:
        return
    found.loo = loo(posterior)
    found.row("leave-one-out, nats", found.loo.elpd, found.loo.error)
    found.row("effective parameters", found.loo.effective)
    found.row(f"observations with Pareto k above {found.loo.good_k:.2f}", len(found.loo.unreliable))
    if not found.alarm("unreliable LOO", found.loo.alarm):
        found.verdict.append(
            f"Observations predicted from the others (leave-one-out): {found.loo.elpd:.1f} ± {found.loo.error:.1f} "
            "nats; Pareto k is low for all of them, so that this can be trusted."
        )
    groups, values = dict(replicated), []
    for name, y in found.observed.items():
        scored = _flat(log_likelihood_of(groups, posterior.name, name).values)
        values.append(_transformed(*_there(groups, name, y, found.drawn[name]), scored, seed))
    found.pit = np.concatenate(values)
    found.tell(criticism.on_pit(found.pit))


def _there(groups: Mapping[str, Any], name: str, y: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A site's observations that are not missing, [n, ...], and what was drawn in their place, [S, n, ...]."""
    count = int(np.prod(groups["log_likelihood"][name].shape[2:]))
    kept = seen_of(dict(groups), name, count)
    return y.reshape(count, -1)[kept], drawn.reshape(len(drawn), count, -1)[:, kept]


def _transformed(y: np.ndarray, drawn: np.ndarray, log_likelihood: np.ndarray, seed: int) -> np.ndarray:
    """The PIT of a site's observations, of so many, evenly chosen, where there are more."""
    count = log_likelihood.shape[1]
    kept = np.linspace(0, count - 1, min(count, TRANSFORMED)).astype(int)
    wide = drawn.reshape(len(drawn), count, -1)[:, kept]
    return pit(y.reshape(count, -1)[kept], wide, log_likelihood[:, kept], seed).ravel()


def _flat(x: np.ndarray) -> np.ndarray:
    return x.reshape(-1, *x.shape[2:])
