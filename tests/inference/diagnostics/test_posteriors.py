"""diagnose(posterior): every illness provoked and called by its name, none where there is none."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import matplotlib
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from inference import diagnose
from inference.diagnostics.arviz_io import group_names
from inference.diagnostics.posteriors import OF_THE_PROGRAM
from inference.diagnostics.power_scaling import CONFLICT, STRONG, power_scaling
from inference.posterior import Posterior
from inference.program import Program
from tests.inference.diagnostics.conjugate import data_of, posterior_of
from tests.inference.diagnostics.test_convergence import funnel, mixture, walk

Draws = dict[str, np.ndarray]


def chains_of(draws: Draws, **stats: np.ndarray) -> Posterior:
    """Draws of chains that have no program."""
    return Posterior(
        "chains",
        None,
        {name: torch.as_tensor(x) for name, x in draws.items()},
        {name: torch.as_tensor(x) for name, x in stats.items()},
        method="NUTS",
    )


def sampled(posterior: Posterior, seed: int = 0) -> Posterior:
    """With the numbers each draw that a sampler leaves, none of them ill."""
    noise = torch.randn(posterior.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    stats = {"energy": noise, "diverging": torch.zeros(posterior.shape, dtype=torch.bool)}
    depth = torch.full(posterior.shape, 3)
    return replace(posterior, stats={**stats, "tree_depth": depth, "acceptance_rate": torch.full_like(noise, 0.8)})


# ---- nothing ails it


def test_a_good_posterior_of_a_good_program() -> None:
    found = diagnose(sampled(posterior_of(data_of(60), prior=5.0)))
    assert found.alarms == {}, found
    assert found.verdict[0] == "The draws can be trusted, and nothing was found that speaks against the program."
    assert found.table.loc["divergences", "value"] == 0 and found.table.loc["largest r-hat", "value"] < 1.01
    assert found.parameters is not None and list(found.parameters.index) == ["mu"]
    assert {"posterior", "posterior_predictive", "prior_predictive", "log_likelihood", "observed_data"} <= set(
        group_names(found.idata)
    )
    assert found.idata["posterior"].sizes["draw"] == 1000
    assert repr(found).startswith("normal:\n  The draws can be trusted")


def test_figures_are_drawn_apart_from_pyplot() -> None:
    before = dict(matplotlib.rcParams)
    drawn = diagnose(sampled(posterior_of(data_of(30), prior=5.0))).plots()
    for figure in drawn.values():
        figure.canvas.draw()
    assert {"trace", "ranks", "effective_draws", "energy", "pairs", "forest"} <= set(drawn)
    assert {"predictive", "statistics", "loo_pit", "pareto_k_loo", "power_scaling"} <= set(drawn)
    assert dict(matplotlib.rcParams) == before and "matplotlib.pyplot" not in drawn


# ---- what ails chains


def ill_chains() -> dict[str, Callable[[], Posterior]]:
    """A posterior that has each illness."""
    good, calm = walk(8, 500, 3, 0.0), walk(8, 500, 1, 0.0, seed=9)[..., 0]
    apart, stuck, modes = good.copy(), good.copy(), good.copy()
    apart[0] += 1.0
    stuck[2] = stuck[2, :1]
    modes[:3] += 9.0
    draws = funnel(centred=True)
    order = np.broadcast_to(np.where(np.arange(8)[:, None, None] < 4, [0, 1, 2], [1, 0, 2]), (8, 200, 3))
    depth = np.where(np.arange(500) < 100, 10, 3) + np.zeros((8, 1))
    divergent = {"diverging": (draws["tau"] < 0.4) & (np.arange(500) % 2 == 0)}
    return {
        "chains disagree": lambda: chains_of({"x": apart}),
        "one chain": lambda: chains_of({"x": good[:1]}, acceptance_rate=calm[:1]),
        "too few draws": lambda: chains_of({"x": walk(8, 200, 3, 0.97)}),
        "stuck chains": lambda: chains_of({"x": stuck}),
        "several modes": lambda: chains_of({"x": modes}),
        "label switching": lambda: chains_of(mixture(order)),
        "low energy": lambda: chains_of({"x": good}, energy=walk(8, 500, 1, 0.97)[..., 0]),
        "trees cut off": lambda: chains_of({"x": good}, tree_depth=depth),
        "divergences": lambda: chains_of(draws, **divergent),
        "funnel": lambda: chains_of(draws, **divergent),
    }


def test_one_illness_is_told_once() -> None:
    draws = funnel(centred=True)
    calm = diagnose(chains_of(draws, diverging=draws["tau"] < 0.4))
    assert "funnel" in calm.alarms
    stuck = {
        name: np.where(np.arange(len(x)).reshape(-1, *[1] * (x.ndim - 1)) == 2, x[:, :1], x)
        for name, x in draws.items()
    }
    apart = diagnose(chains_of(stuck, diverging=draws["tau"] < 0.4))
    assert "stuck chains" in apart.alarms and "funnel" not in apart.alarms
    unfinished = replace(chains_of(stuck), alarms={"not converged": "tau has an r-hat of 1.4"})
    assert "not converged" not in diagnose(unfinished).alarms
    fine = replace(chains_of({"x": walk(8, 500, 3, 0.0)}), alarms={"not converged": "what was asked is not met"})
    assert "not converged" in diagnose(fine).alarms


@pytest.mark.parametrize("illness", list(ill_chains()))
def test_each_illness_of_chains_has_its_alarm(illness: str) -> None:
    found = diagnose(ill_chains()[illness]())
    assert illness in found.alarms and found.alarms[illness] in found.verdict
    assert found.verdict[0].startswith("These draws are not to be trusted yet: ") and illness in found.verdict[0]
    assert f"! {found.alarms[illness]}" in repr(found)
    for figure in found.plots().values():
        figure.canvas.draw()


def test_chains_that_are_well_have_none() -> None:
    well = chains_of(
        {"x": walk(8, 500, 3, 0.1)},
        energy=walk(8, 500, 1, 0.1)[..., 0],
        diverging=np.zeros((8, 500), bool),
        tree_depth=np.full((8, 500), 4),
    )
    found = diagnose(well)
    assert found.alarms == {} and found.verdict[0] == "The draws can be trusted."
    assert "No trajectory diverged." in found.verdict


def test_where_divergences_gather_and_what_to_do_about_a_funnel() -> None:
    alarms = diagnose(ill_chains()["divergences"]()).alarms
    assert "Divergences gather where tau is small (below 0.4: " in alarms["divergences"]
    assert "Write theta non-centred: a standard normal, times tau" in alarms["funnel"]


def test_a_few_divergences_are_told_of_by_the_funnel_that_is_there() -> None:
    draws = {**funnel(centred=True), "others": walk(4, 500, 400, 0.0)}
    few = np.zeros((4, 500), bool)
    few.ravel()[np.argsort(draws["tau"].ravel())[:5]] = True
    assert "gather where tau is small" in diagnose(chains_of(draws, diverging=few)).alarms["divergences"]


def test_one_divergence_in_thousands_is_told_and_is_no_alarm() -> None:
    diverging = np.zeros((8, 500), bool)
    diverging[3, 77] = True
    posterior = replace(chains_of({"x": walk(8, 500, 3, 0.1)}, diverging=diverging), alarms={"divergences": "One did."})
    found = diagnose(posterior)
    assert found.alarms == {} and any(
        each.startswith("1 of 4,000 trajectories diverged, nowhere") for each in found.verdict
    )


def test_a_funnel_that_troubles_no_chain_is_no_alarm() -> None:
    found = diagnose(chains_of(funnel(centred=True), diverging=np.zeros((4, 500), bool)))
    assert found.alarms == {} and any("have had no trouble with it" in each for each in found.verdict)


def test_the_cure_of_switched_labels_is_told_and_they_are_not_called_modes() -> None:
    alarms = diagnose(ill_chains()["label switching"]()).alarms
    assert "Order them" in alarms["label switching"] and "several modes" not in alarms


def test_nested_r_hat_where_chains_share_starts() -> None:
    posterior = replace(chains_of({"x": walk(32, 2, 2, 0.0)}), super_chains=4)
    found = diagnose(posterior)
    assert "largest nested r-hat" in found.table.index and any("nested r-hat" in each for each in found.verdict)
    for figure in found.plots().values():
        figure.canvas.draw()


def test_what_the_sampler_warned_of_is_repeated_once() -> None:
    posterior = replace(
        ill_chains()["stuck chains"](), alarms={"stuck chains": "It was.", "slow warm-up": "The step shrank."}
    )
    found = diagnose(posterior)
    assert found.alarms["slow warm-up"] == "NUTS warned. The step shrank."
    assert "It was." not in repr(found)


# ---- draws that are weighed, or of no chain


def guided(width: float, numbers: int = 1) -> Posterior:
    """Draws of independent normals of this sd, weighed to be standard ones."""
    x = width * torch.randn(1, 4000, numbers, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p, q = (torch.distributions.Normal(0.0, sd).log_prob(x).sum(-1) for sd in (1.0, width))
    return Posterior("guide", None, {"x": x}, method="a normal guide", log_weights=p - q)


def test_a_guide_is_judged_by_its_weights() -> None:
    good = diagnose(guided(1.2))
    assert good.alarms == {} and any("weighted, they stand for the posterior" in each for each in good.verdict)
    assert good.table.loc["Pareto k of the weights", "value"] < 0.7
    bad = diagnose(guided(0.3, numbers=10))
    assert "parts of the posterior may be missed" in bad.alarms["unreliable guide"]
    assert "r_hat" not in bad.plots()
    warned = replace(guided(0.3, numbers=10), alarms={"unreliable guide": "It was."})
    assert "It was." not in repr(diagnose(warned))


def test_the_forest_of_a_guide_is_that_of_its_weights() -> None:
    posterior = guided(2.0)
    figure = diagnose(posterior).plots()["forest"]
    ends = figure.axes[0].lines[0].get_xdata()
    np.testing.assert_allclose(np.asarray(ends, dtype=float), [-1.645, 1.645], atol=0.1)


def test_draws_of_no_chain() -> None:
    found = diagnose(chains_of({"x": walk(1, 2000, 2, 0.0)}))
    assert found.alarms == {} and any("of no chain" in each for each in found.verdict)


# ---- what ails programs


def ill_programs() -> dict[str, Callable[[], Posterior]]:
    heavy = torch.distributions.StudentT(1.5).sample
    with torch.random.fork_rng():
        torch.manual_seed(3)
        outlying = heavy((150,)).double()
    swayed = data_of(8)
    swayed[3] = 30.0
    return {
        "misfit": lambda: posterior_of(outlying, prior=5.0),
        "miscalibrated predictions": lambda: posterior_of(data_of(200, sd=3.0), prior=5.0),
        "prior rules out the data": lambda: posterior_of(data_of(20, mean=60.0), prior=1.0),
        "unreliable LOO": lambda: posterior_of(swayed, prior=20.0),
        CONFLICT: lambda: posterior_of(data_of(5, mean=8.0), prior=1.0),
        STRONG: lambda: posterior_of(data_of(5, mean=0.0, sd=10.0), prior=0.5, sd=30.0),
    }


@pytest.mark.parametrize("illness", list(ill_programs()))
def test_each_illness_of_a_program_has_its_alarm(illness: str) -> None:
    found = diagnose(sampled(ill_programs()[illness]()))
    assert illness in found.alarms and set(found.alarms) <= OF_THE_PROGRAM
    assert found.verdict[0].startswith("The draws can be trusted; look, of the program, at: ")
    for figure in found.plots().values():
        figure.canvas.draw()


def test_ones_own_statistics_are_asked_for_by_name() -> None:
    y = data_of(40)
    found = diagnose(sampled(posterior_of(y, prior=5.0)), statistics={"range": np.ptp})
    assert found.table.loc["p-value of the range of y", "value"] > 0
    assert not any("sd of y" in str(quantity) for quantity in found.table.index)


def two_sites(counts: torch.Tensor, y: torch.Tensor) -> None:
    rate = pyro.sample("rate", dist.Gamma(2.0, 1.0))
    with pyro.plate("day", len(counts)):
        pyro.sample("counts", dist.Poisson(rate), obs=counts)
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Normal(0.0, 2.0).expand([2]).to_event(1) if y.dim() > 1 else dist.Normal(0.0, 2.0), obs=y)


def test_several_observed_sites_counts_and_events() -> None:
    generator = torch.Generator().manual_seed(0)
    counts = torch.poisson(torch.full((40,), 3.0), generator=generator).double()
    y = 2 * torch.randn(30, 2, generator=generator, dtype=torch.float64)
    program = Program.of(two_sites, {"counts": counts, "y": y})
    rate = dist.Gamma(2.0 + counts.sum(), 1.0 + 40)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        draws = rate.sample((4, 500)).double()
    found = diagnose(sampled(Posterior("two", program, {"rate": draws})))
    assert found.alarms == {}, found
    assert {"predictive_counts", "predictive_y"} <= set(found.plots())
    assert "p-value of the max of counts" in found.table.index and math.isfinite(found.table["value"].sum())


def two_components(y: torch.Tensor) -> None:
    share = pyro.sample("share", dist.Beta(2.0, 2.0))
    with pyro.plate("component", 2):
        mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    with pyro.plate("row", len(y)):
        z = pyro.sample("z", dist.Categorical(torch.stack([share, 1 - share])), infer={"enumerate": "parallel"})
        pyro.sample("y", dist.Normal(mu[z], 1.0), obs=y)


def test_a_mixture_whose_labels_switch() -> None:
    y = torch.cat([data_of(50, mean=-4.0), data_of(50, mean=4.0, seed=1)])
    noise = torch.randn(8, 300, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mu = torch.tensor([-4.0, 4.0]).double() + noise[..., :2] / 50**0.5
    mu[:4] = mu[:4].flip(-1)
    program = Program.of(two_components, {"y": y})
    found = diagnose(sampled(Posterior("mixture", program, {"share": 0.5 + 0.05 * noise[..., 2], "mu": mu})))
    assert "components 0 and 1 of mu have changed places in 50% of the draws" in found.alarms["label switching"]
    assert set(found.alarms) == {"chains disagree", "label switching"}, found
    assert found.verdict[0].endswith("What is said of the program rests on them.")


# ---- the door


def test_a_fit_needs_data_and_a_posterior_has_its_own() -> None:
    with pytest.raises(TypeError, match="needs rows of data to ask"):
        diagnose(torch.nn.Linear(2, 2))


def test_data_that_are_one_event_are_diagnosed() -> None:
    def program(y):
        scale = pyro.sample("scale", dist.HalfNormal(1.0))
        pyro.sample("y", dist.MultivariateNormal(torch.zeros(3), scale.square() * torch.eye(3)), obs=y)

    asked = Program.of(program, torch.tensor([0.5, -1.0, 0.3]))
    draws = {"scale": torch.rand(4, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5}
    found = power_scaling(Posterior("one", asked, draws))
    assert found.table.loc["scale"].notna().all() and diagnose(Posterior("one", asked, draws)).verdict
