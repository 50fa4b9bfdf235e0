"""`mcmc` against conjugate posteriors and reference draws; stopping, alarms, resuming."""

import math
import os
import re
import signal
import warnings

import pyro
import pyro.distributions as dist
import pytest
import torch

from inference.checkpoint import Checkpoint
from inference.mcmc import mcmc
from inference.program import Program
from inference.results import Alarm
from inference.sampling.chees import Chees
from inference.sampling.density import LogDensity
from inference.sampling.loop import Walk
from inference.sampling.random_walk import RandomWalk
from inference.sampling.stopping import Ess, RHat
from inference.sampling.stretch import Stretch
from zoo import programs


def normal(y):
    mu = pyro.sample("mu", dist.Normal(1.0, 2.0))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(mu, 0.5), obs=y)


def test_a_density_of_ones_own_serves_for_a_program() -> None:
    y, other = torch.linspace(0.0, 2.0, 9), torch.linspace(1.0, 4.0, 9)
    density = LogDensity.of(Program.of(normal, y))
    settings = {"chains": 4, "warmup": 8, "draws": 16, "until": RHat(9.0), "progress": False}
    for given, data in ((None, y), (other, other)):
        one, two = mcmc(density, given, **settings), mcmc(normal, data, **settings)
        torch.testing.assert_close(one["mu"], two["mu"], rtol=0, atol=0)


def successes(count):
    p = pyro.sample("p", dist.Beta(2.0, 3.0))
    pyro.sample("count", dist.Binomial(20, p), obs=count)


def events(counts):
    rate = pyro.sample("rate", dist.Gamma(3.0, 0.5))
    with pyro.plate("days", len(counts)):
        pyro.sample("counts", dist.Poisson(rate), obs=counts)


def coins(y):
    """The coin of each row is one of two; which, is summed out."""
    share = pyro.sample("share", dist.Beta(1.0, 1.0))
    with pyro.plate("rows", len(y)):
        coin = pyro.sample("coin", dist.Bernoulli(share))
        pyro.sample("y", dist.Bernoulli(coin), obs=y)


Y = torch.tensor([0.3, 1.1, 0.2, 0.9, 1.4], dtype=torch.float64)
COUNTS = torch.tensor([4.0, 2.0, 7.0, 3.0])
PRECISION = 1 / 4 + 5 / 0.25
CONJUGATE = {
    "normal": (normal, Y, "mu", dist.Normal((1 / 4 + Y.sum().item() / 0.25) / PRECISION, PRECISION**-0.5)),
    "beta": (successes, torch.tensor(14.0), "p", dist.Beta(16.0, 9.0)),
    "gamma": (events, COUNTS, "rate", dist.Gamma(3 + COUNTS.sum().item(), 4.5)),
    "enumerated": (coins, torch.tensor([1.0, 1.0, 0.0, 1.0]), "share", dist.Beta(4.0, 2.0)),
}


def quiet(*args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Alarm)
        return mcmc(*args, **{"progress": False, **options})


@pytest.mark.parametrize("name", CONJUGATE)
def test_conjugate_posteriors(name):
    model, data, site, truth = CONJUGATE[name]
    posterior = mcmc(model, data, progress=False)
    assert not posterior.alarms and posterior.summary()["ess_bulk"].min() >= 1000
    draws = posterior[site].flatten()
    assert (draws.mean() - truth.mean).abs() < 5 * truth.stddev / math.sqrt(1000)
    assert (draws.std() / truth.stddev - 1).abs() < 5 / math.sqrt(2 * 1000)
    samples = truth.sample((200_000,)).double()
    for p in (0.05, 0.5, 0.95):
        assert (draws <= samples.quantile(p)).double().mean().item() == pytest.approx(
            p, abs=5 * math.sqrt(p * (1 - p) / 1000)
        )


def test_posterior_says_how_it_came_about():
    posterior = mcmc(normal, Y, chains=32, progress=False, until=Ess(200))
    chains, draws = posterior.shape
    assert chains == 32 and posterior.method == "ChEES-HMC" and posterior.seconds > 0
    assert posterior.unconstrained.shape == (32, draws, 1)
    assert {"lp", "acceptance_rate", "diverging", "energy", "n_steps", "step_size"} <= set(posterior.stats)
    assert all(value.shape == (32, draws) for value in posterior.stats.values())
    torch.testing.assert_close(posterior.unconstrained[..., 0], posterior["mu"])
    assert posterior.extra["drawn"] >= draws and posterior.extra["warmup"] == Chees().warmup_for(1)
    lp = -0.5 * ((posterior["mu"] - 1) / 2) ** 2 - 0.5 * ((Y - posterior["mu"].unsqueeze(-1)) ** 2 / 0.25).sum(-1)
    assert (posterior.stats["lp"] - lp).std() < 1e-9


def test_the_caller_s_random_state_is_left_and_the_seed_decides():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second, third = (mcmc(normal, Y, chains=16, until=Ess(100), seed=s, progress=False)["mu"] for s in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, second) and not torch.equal(first[:, 0], third[:, 0])


@pytest.mark.parametrize("stop_at", [7, 31, 60])
def test_interrupted_and_resumed_equals_uninterrupted(tmp_path, monkeypatch, stop_at):
    asked = {"chains": 16, "warmup": 30, "draws": 50, "until": Ess(1e9)}
    whole = quiet(normal, Y, **asked)
    real = Walk.run

    def pressed(walk):
        for steps in real(walk):
            if steps == stop_at:
                os.kill(os.getpid(), signal.SIGINT)
            yield steps

    monkeypatch.setattr(Walk, "run", pressed)
    path = tmp_path / "chains.pt"
    with pytest.raises(KeyboardInterrupt):
        quiet(normal, Y, checkpoint=Checkpoint(path, every=1000), **asked)
    monkeypatch.setattr(Walk, "run", real)
    resumed = quiet(normal, Y, resume=path, **asked)
    assert torch.equal(resumed["mu"], whole["mu"])
    assert all(torch.equal(resumed.stats[name], whole.stats[name]) for name in whole.stats)


def test_a_checkpoint_of_another_run_is_refused_and_a_finished_one_goes_on(tmp_path):
    path = tmp_path / "chains.pt"
    first = quiet(normal, Y, chains=16, draws=20, until=Ess(1e9), checkpoint=path)
    more = quiet(normal, Y, draws=40, until=Ess(1e9), resume=path)
    assert more.shape == (16, 40) and torch.equal(more["mu"][:, :20], first["mu"])
    with pytest.raises(ValueError, match=r"is of .*ChEES-HMC.* this run of .*random-walk"):
        quiet(normal, Y, kernel=RandomWalk(), resume=path)


def test_stops_when_the_rule_is_met_and_says_so_when_it_is_not():
    few, many = (mcmc(normal, Y, until=Ess(n), progress=False).extra["drawn"] for n in (500, 8000))
    assert few < many
    with pytest.warns(Alarm, match=r"20 draws of 16 chains .*Ess\(count=5000.*mu"):
        posterior = mcmc(normal, Y, chains=16, draws=20, until=[Ess(5000), RHat(1.01)], progress=False)
    assert "mu" in posterior.alarms["not converged"] and posterior.shape == (16, 20)


def test_alarms_name_a_number_as_tables_do():
    def pair(y):
        with pyro.plate("two", 2):
            w = pyro.sample("w", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(w.sum(), 1.0), obs=y)

    posterior = quiet(pair, torch.tensor(1.0), chains=16, warmup=5, draws=8, until=Ess(1e6))
    assert re.search(r": w\[[01]\] has an r-hat of .*, w\[[01]\] \d+ effective", posterior.alarms["not converged"])


def test_where_rows_are_many_chains_are_few() -> None:
    y = torch.arange(30_000, dtype=torch.float64).remainder(7) - 2.0
    posterior = mcmc(normal, y, progress=False)
    assert len(posterior["mu"]) == 16
    precision = 1 / 4 + len(y) / 0.25
    mean, sd = (1 / 4 + float(y.sum()) / 0.25) / precision, precision**-0.5
    assert abs(float(posterior["mu"].mean()) - mean) < 0.15 * sd
    assert abs(float(posterior["mu"].std()) / sd - 1) < 0.1
    few = {"warmup": 8, "draws": 16, "until": RHat(9.0), "progress": False}
    assert len(mcmc(normal, y[:8_000], **few)["mu"]) == 32
    assert len(mcmc(normal, y[:3_000], **few)["mu"]) == 64
    grouped = mcmc(normal, y, **{**few, "until": RHat(99.0, nested=5)})
    assert len(grouped["mu"]) == 20
    assert len(quiet(normal, y, kernel=Stretch(), **few)["mu"]) == 8


def test_groups_of_chains_with_one_start():
    posterior = mcmc(normal, Y, chains=32, until=RHat(1.02, nested=8), progress=False)
    assert posterior.super_chains == 8
    with pytest.raises(ValueError, match="30 chains do not make 8 groups"):
        mcmc(normal, Y, chains=30, until=RHat(1.02, nested=8))


def test_starts_of_one_s_own():
    first = mcmc(events, COUNTS, chains=16, until=Ess(100), progress=False)
    rates = torch.linspace(1, 9, 16, dtype=torch.float64)
    for start in (first, {"rate": rates}, rates.log()[:, None]):
        posterior = mcmc(events, COUNTS, start=start, chains=16, until=Ess(100), progress=False)
        assert posterior.shape[0] == 16
    with pytest.raises(ValueError, match=r"start is \[16, 2\]"):
        mcmc(events, COUNTS, start=torch.zeros(16, 2, dtype=torch.float64))
    with pytest.raises(ValueError, match="not finite"):
        mcmc(events, COUNTS, start=torch.full((16, 1), math.nan, dtype=torch.float64))


def test_a_kernel_that_asks_for_no_gradients():
    model, data, site, truth = CONJUGATE["gamma"]
    posterior = mcmc(model, data, kernel=RandomWalk(), until=Ess(1000), progress=False)
    assert posterior.method == "random-walk Metropolis" and not posterior.alarms
    assert (posterior[site].mean() - truth.mean).abs() < 5 * truth.stddev / math.sqrt(1000)


def centred(y, sigma):
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("school", len(y)):
        theta = pyro.sample("theta", dist.Normal(mu, tau))
        pyro.sample("y", dist.Normal(theta, sigma), obs=y)


SCHOOLS = {
    "y": torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]),
    "sigma": torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]),
}


def test_a_funnel_is_not_silently_wrong():
    """Centred eight schools: tau's mean is 3.6 (posteriordb); where that is missed, an alarm says so."""
    posterior = quiet(centred, SCHOOLS, chains=32, draws=60)
    assert posterior.alarms
    diverging = posterior.stats["diverging"].bool()
    if diverging.any():
        where = posterior["tau"][diverging].median()
        assert where < posterior["tau"].median() and "diverged" in posterior.alarms["divergences"]


def test_bad_settings():
    for options in ({"chains": 0}, {"warmup": 0}, {"draws": 2}):
        with pytest.raises(ValueError, match="must be"):
            mcmc(normal, Y, **options)
    with pytest.raises(TypeError, match="until= takes"):
        mcmc(normal, Y, until=1000)
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        mcmc(normal, Y, resume="nowhere.pt")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu():
    posterior = mcmc(normal, Y, device="cuda", progress=False)
    truth = CONJUGATE["normal"][3]
    assert posterior["mu"].device.type == "cuda" and not posterior.alarms
    assert abs(posterior["mu"].mean().item() - truth.mean.item()) < 5 * truth.stddev.item() / math.sqrt(1000)


@pytest.mark.skipif("ZOO_DATA" not in os.environ, reason="posteriordb/*.zip not there: ZOO_DATA names their folder")
@pytest.mark.slow
@pytest.mark.parametrize("name", list(programs.POSTERIORS))
def test_reference_posteriors(name):
    posterior = mcmc(programs.POSTERIORS[name], programs.data(name), progress=False)
    assert not posterior.alarms
    for site, draws in programs.reference(name).items():
        if site in posterior.draws:
            truth = torch.as_tensor(draws).double().flatten(0, 1)
            ours = posterior[site].flatten(0, 1)
            assert ((ours.mean(0) - truth.mean(0)) / truth.std(0)).abs().max() < 0.1, site
            assert (ours.std(0) / truth.std(0) - 1).abs().max() < 0.1, site
