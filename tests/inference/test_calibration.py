"""Simulation-based calibration: exact bands, uniform for right code, and the right word for six kinds of wrong code."""

from dataclasses import replace
from functools import partial

import arviz as az
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import stats

from inference import Ess, laplace, mcmc
from inference.calibration import AllAtOnce, Amortised, calibration, coverage
from inference.calibration.ranking import Ranks, ranks
from inference.calibration.scoring import seen
from inference.calibration.study import Study
from inference.calibration.uniformity import band, ecdf_p_value, holm
from inference.calibration.verdict import judge
from inference.posterior import Posterior
from inference.predictive_draws import simulate
from inference.program import Program

Y = torch.zeros(4)
DRAWS = 200


def asked(model, data, by, **options):
    return calibration(model, data, by=by, **{"simulations": 200, "draws": DRAWS, "progress": False, **options})


def normal(y, sd=1.0):
    mu = pyro.sample("mu", dist.Normal(0.0, sd))
    with pyro.plate("n", len(y)):
        pyro.sample("y", dist.Normal(mu, 1.0), obs=y)


def wide_normal(y):
    normal(y, 3.0)


def normals(mean, sd, seed, shape=(1, DRAWS)):
    generator = torch.Generator().manual_seed(seed)
    return mean + sd * torch.randn(shape, generator=generator, dtype=torch.float64)


def exact(sd=1.0, power=1.0, tight=1.0):
    """The posterior of a mean under N(0, sd^2), the likelihood to this power, its sd times `tight`."""

    def by(program, data, seed):
        precision = power * len(data["y"]) + 1 / sd**2
        mean = power * data["y"].sum() / precision
        return {"mu": normals(mean, tight * precision**-0.5, seed)}

    return by


def uniform_ranks(pit):
    ones = np.ones_like(pit)
    return Ranks(pit, pit, pit, 200 * ones, 0 * ones, ones, 200 * ones, 200 * ones)


@pytest.mark.parametrize(("n", "level"), [(30, 0.9), (200, 0.95)])
def test_a_band_holds_the_whole_ecdf_as_often_as_it_says(n, level):
    rng, limits = np.random.default_rng(0), band(n, level)
    outside = np.mean([limits.leaves(rng.random(n)) for _ in range(3000)])
    assert level <= limits.coverage < level + 0.01
    assert abs(outside - (1 - limits.coverage)) < 3.5 * np.sqrt(level * (1 - level) / 3000)


@pytest.mark.skipif(not hasattr(az, "InferenceData"), reason="ArviZ before 1.0 has the band as a function")
def test_the_band_is_arvizs():
    from arviz.stats.ecdf_utils import ecdf_confidence_band

    at = np.arange(1, 101) / 100
    low, high = ecdf_confidence_band(60, at, at, 0.95)
    limits = band(60, 0.95)
    assert np.abs(low[:-1] - limits.low).max() * 60 < 1.01
    assert np.abs(high[:-1] - limits.high).max() * 60 < 1.01


def test_a_p_value_is_rarely_small_and_a_band_is_left_when_it_is():
    rng = np.random.default_rng(1)
    samples = rng.random((1000, 40))
    p = np.array([ecdf_p_value(u) for u in samples])
    for level in (0.01, 0.05, 0.2):
        assert abs((p <= level).mean() - level) < 3.5 * np.sqrt(level / 1000)
    limits = band(40, 0.95)
    left = np.array([limits.leaves(u) for u in samples])
    assert np.array_equal(left, p <= 1 - limits.coverage + 1e-9)


def test_holm_by_hand():
    assert np.allclose(holm(np.array([0.01, 0.04, 0.03])), [0.03, 0.06, 0.06])
    assert np.allclose(holm(np.array([0.5, 0.001, 0.9, 0.02])), [1.0, 0.004, 1.0, 0.06])


def judged(pit):
    quantities = pit.shape[1]
    names = [f"theta[{i}]" for i in range(quantities)]
    return judge(
        names, uniform_ranks(pit), np.random.default_rng(0).normal(size=pit.shape), np.zeros(quantities, bool), {}, {}
    )


def test_false_alarms_are_as_rare_as_the_level_says():
    rng = np.random.default_rng(2)
    least = np.array([judged(rng.random((60, 3))).table["p_adjusted"].min() for _ in range(250)])
    assert (least <= 0.01).sum() <= stats.binom.ppf(0.999, 250, 0.01)
    assert 0.03 < (least <= 0.1).mean() < 0.1 + 3 * np.sqrt(0.09 / 250)


def test_errors_of_the_size_told_are_seen_nine_times_in_ten():
    rng = np.random.default_rng(3)
    bias, width = seen(200, 2)
    scores = rng.normal(size=(100, 200))
    for shifted in (scores - bias, scores / width):
        u = stats.norm.cdf(shifted)
        found = [bool(judged(np.stack([row, rng.random(200)], 1)).alarms) for row in u]
        assert 0.8 < np.mean(found) < 0.99


def test_ties_take_a_random_place_and_constants_are_ranked():
    rng = np.random.default_rng(4)
    each = [
        ranks(rng.poisson(1.0, 1).astype(float), rng.poisson(1.0, (2, 100, 1)).astype(float), 100, rng)
        for _ in range(400)
    ]
    assert ecdf_p_value(Ranks.stacked(each).pit[:, 0]) > 0.01
    still = ranks(np.zeros(1), np.zeros((2, 100, 1)), 50, rng)
    assert still.ranked == 50
    assert 0 <= still.rank <= 50


def autoregressive(rng, length, rho, shape=()):
    x = rng.normal(size=(length, *shape))
    for t in range(1, length):
        x[t] = rho * x[t - 1] + np.sqrt(1 - rho**2) * x[t]
    return x


def test_ranks_of_correlated_draws_are_uniform_once_thinned():
    rng = np.random.default_rng(5)
    series = autoregressive(rng, 400, 0.97, (300,))
    found = Ranks.stacked([ranks(rng.normal(size=1), x[None, :, None], 100, rng) for x in series.T])
    assert ecdf_p_value(found.pit[:, 0]) > 0.01
    assert ecdf_p_value(found.pit_as_came[:, 0]) < 0.01
    assert 2 < np.median(found.effective) < 20


def test_right_code_is_uniform_and_says_what_would_have_been_seen():
    before = torch.get_rng_state()
    found = asked(normal, Y, exact())
    assert torch.equal(before, torch.get_rng_state())
    assert found.uniform and "Uniform: nothing found" in repr(found) and "bias of 0.3" in repr(found)
    assert list(found.table.index) == ["mu", "log likelihood"]
    for level in (50, 80, 90, 95):
        share = level / 100
        error = np.sqrt(share * (1 - share) / 200)
        assert (abs(found.table[f"within_{level}"] - share) < 3.5 * error).all()
    assert found.table.loc["mu", "contraction"] == pytest.approx(1 - 1 / 5, abs=0.1)
    assert abs(found.table.loc["mu", "z_score"]) < 0.25
    again = asked(normal, Y, exact())
    assert np.array_equal(found.pit, again.pit)


def test_a_beta_binomial_is_uniform_in_all_its_latents():
    def tosses(k):
        with pyro.plate("group", 3):
            p = pyro.sample("p", dist.Beta(2.0, 3.0))
            with pyro.plate("toss", 10):
                pyro.sample("k", dist.Bernoulli(p), obs=k)

    def by(program, data, seed):
        rng = np.random.default_rng(seed)
        k = data["k"].sum(0).numpy()
        return {"p": torch.tensor(rng.beta(2 + k, 3 + 10 - k, (2, 100, 3)))}

    found = asked(tosses, {"k": torch.zeros(10, 3)}, by, statistics={"sum": lambda z, data: z["p"].sum(1)})
    assert found.uniform
    assert list(found.table.index) == ["p[0]", "p[1]", "p[2]", "log likelihood", "sum"]
    assert found.idata["prior_sbc"]["p"].shape == (1, 200, 3)
    assert found.idata["prior_sbc"]["p"].dims == ("chain", "draw", "group")


# six kinds of wrong code


def test_a_prior_too_narrow():
    found = asked(normal, Y[:1], exact(), simulate_from=wide_normal)
    assert "too narrow" in found.alarms
    assert "mu" in found.alarms["too narrow"]
    assert not any("biased" in illness for illness in found.alarms)


@pytest.mark.parametrize(("power", "word"), [(2.0, "too narrow"), (0.5, "too wide")])
def test_a_likelihood_off_by_a_factor(power, word):
    found = asked(normal, Y, exact(power=power))
    assert word in found.alarms
    assert not any("biased" in illness for illness in found.alarms)


@pytest.mark.parametrize(("tight", "word"), [(0.6, "too narrow"), (1.5, "too wide")])
def test_a_guide_too_tight(tight, word):
    found = asked(normal, Y, exact(tight=tight))
    assert word in found.alarms
    assert found.table.loc["mu", "width"] == pytest.approx(tight, rel=0.15)


def autoregression(y):
    slope = pyro.sample("slope", dist.Normal(0.6, 0.2))
    before = torch.tensor(1.0)
    for t in range(len(y)):
        before = pyro.sample(f"y_{t}", dist.Normal(slope * before, 1.0), obs=y[t])


@pytest.mark.parametrize("lag", [1, 2])
def test_an_off_by_one_in_a_time_series(lag):
    def by(program, data, seed):
        y = torch.stack([torch.tensor(1.0, dtype=torch.float64)] * lag + [data[f"y_{t}"] for t in range(20)])
        now, before = y[lag:], y[:-lag]
        precision = 25 + before.square().sum()
        return {"slope": normals((0.6 * 25 + (now * before).sum()) / precision, precision**-0.5, seed)}

    found = asked(autoregression, (torch.zeros(20),), by)
    assert found.uniform if lag == 1 else "biased downwards" in found.alarms


@pytest.mark.parametrize("jacobian", [1.0, 0.0])
def test_a_transform_without_its_jacobian(jacobian):
    """Chains on log(rate) without + log(rate): the rate's density comes out divided by the rate."""

    def poisson(y):
        rate = pyro.sample("rate", dist.Gamma(3.0, 1.0))
        with pyro.plate("n", len(y)):
            pyro.sample("y", dist.Poisson(rate), obs=y)

    def by(program, data, seed):
        shape = 3 + data["y"].sum().item() - (1 - jacobian)
        return {"rate": torch.tensor(np.random.default_rng(seed).gamma(shape, 1 / 3, (1, DRAWS)))}

    found = asked(poisson, torch.ones(2), by)
    assert found.uniform if jacobian else "biased downwards" in found.alarms


def correlated(rho):
    def by(program, data, seed):
        scores = torch.tensor(autoregressive(np.random.default_rng(seed), 200, rho))
        return {"mu": data["y"].sum() / 5 + 5**-0.5 * scores[None]}

    return by


def test_correlated_draws():
    found = asked(normal, Y, correlated(0.93))
    assert list(found.alarms) == ["draws are correlated"]
    assert found.table.loc["mu", "effective"] < 20
    stuck = asked(normal, Y, correlated(0.995))
    assert next(iter(stuck.alarms)) == "draws are correlated"
    assert asked(normal, Y, correlated(0.5)).uniform


# what plain ranks can't show, and what is not ranked as it came


def test_an_inference_that_ignores_the_data_shows_in_the_log_likelihood_alone():
    found = asked(normal, Y, lambda program, data, seed: {"mu": normals(0.0, 1.0, seed)})
    assert list(found.alarms) == ["test quantities"]
    assert "does the inference use all of the data?" in repr(found)


@pytest.mark.parametrize("weighed", [True, False])
def test_weights_of_a_guide_count(weighed):
    def by(program, data, seed):
        mean, sd = data["y"].sum() / 5, 5**-0.5
        draws = normals(mean, 2 * sd, seed, (1, 2000))
        scores = (draws - mean) / sd
        posterior = Posterior("guide", None, {"mu": draws}, log_weights=-(scores**2) / 2 + scores**2 / 8)
        return posterior if weighed else replace(posterior, log_weights=None)

    found = asked(normal, Y, by)
    assert found.uniform if weighed else "too wide" in found.alarms


def test_a_bias_upwards_and_figures_and_the_container(tmp_path):
    def by(program, data, seed):
        return {"mu": normals(data["y"].sum() / 5 + 0.3, 5**-0.5, seed)}

    found = asked(normal, Y, by)
    assert "biased upwards" in found.alarms
    assert found.table.loc["mu", "bias"] == pytest.approx(0.3 * 5**0.5, abs=0.2)
    assert set(found.plots()) == {"ranks", "ecdf", "coverage"}
    found.to_netcdf(tmp_path / "calibration.nc")
    read = az.from_netcdf(tmp_path / "calibration.nc")
    assert np.array_equal(np.asarray(read["prior_sbc"]["mu"])[0], found.pit[:, 0])
    assert np.asarray(read["prior"]["mu"]).shape == (1, 200)
    assert {"mu_rank", "mu_effective", "log likelihood_sd"} <= set(read["constant_data"])


# data and errors


def test_data_go_by_their_sites_beside_what_else_the_model_takes():
    def regression(x, y):
        slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
        pyro.sample("outcome", dist.Normal(slope * x, 1.0).to_event(1), obs=y)

    seen_data = []

    def by(program, data, seed):
        seen_data.append(data)
        precision = 1 + data["x"].square().sum()
        return {"slope": normals((data["x"] * data["outcome"]).sum() / precision, precision**-0.5, seed)}

    x = torch.tensor([1.0, 2.0, 3.0])
    assert asked(regression, {"x": x, "y": torch.zeros(3)}, by, simulations=100).uniform
    program = Program.of(regression, {"x": x, "y": torch.zeros(3)})
    _, observed = simulate(program, 100, int(np.random.SeedSequence(0).generate_state(101)[0]))
    assert torch.equal(torch.stack([data["outcome"] for data in seen_data]), observed["outcome"])


def test_what_fails_is_left_out_and_said():
    def by(program, data, seed):
        if data["y"][0] > 2.4:
            raise ValueError("it did not converge")
        return exact()(program, data, seed)

    found = asked(normal, Y, by)
    assert "failed" in found.alarms and "it did not converge" in found.alarms["failed"]
    assert 180 < len(found.pit) < 200

    def never(program, data, seed):
        raise ArithmeticError("singular")

    with pytest.raises(ValueError, match=r"failed on 21 of the first 21 data sets.*singular"):
        asked(normal, Y, never)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"simulations": 5}, "simulations is 5, and fewer than 20"),
        ({"by": lambda program, data, seed: 3}, "gave a int; it must give a Posterior"),
        ({"by": lambda program, data, seed: {"nu": torch.zeros(1, 10)}}, "draws of nu, and none of the latents"),
        ({"simulate_from": lambda y: normal(y[:2])}, r"observes 'y' \[4\], and .* draws it as \[2\]"),
        ({"by": Amortised()}, "is for a pair, model and guide"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        asked(normal, Y, options.pop("by", exact()), **options)


def test_a_program_that_observes_nothing():
    with pytest.raises(ValueError, match="observes nothing"):
        asked(lambda: pyro.sample("mu", dist.Normal(0.0, 1.0)), None, exact())


def test_coverage_of_one_posterior():
    grid = torch.tensor(stats.norm.ppf((np.arange(1000) + 0.5) / 1000))
    posterior = Posterior("p", None, {"theta": grid[None, :, None].expand(1, 1000, 4), "tau": grid[None]})
    table = coverage(posterior, {"theta": [0.1, 1.0, 1.5, 2.5], "tau": 1.9})
    assert table.loc["theta"].tolist() == [0.25, 0.5, 0.75, 0.75, 4]
    assert table.loc["tau"].tolist() == [0, 0, 0, 1, 1]
    with pytest.raises(ValueError, match="no 'thta'; near: theta"):
        coverage(posterior, {"thta": 0.0})
    with pytest.raises(ValueError, match=r"truth of 'theta' is \[2\]"):
        coverage(posterior, {"theta": [0.0, 1.0]})


# guides of pairs, and real chains


class Pair:
    """z ~ N(0, 1), x ~ N(z, 1): the guide is the posterior, its sd times `tight`."""

    def __init__(self, tight=1.0):
        self.tight = tight

    def model(self, x=None, *, context=None, n=1):
        with pyro.plate("data", n if x is None else len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            return pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(self, x, *, context=None):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, self.tight * 0.5**0.5))


def test_the_guide_of_a_pair():
    found = asked(Pair(), None, Amortised(), simulations=300)
    assert found.uniform and list(found.table.index) == ["z", "log likelihood"]
    tight = asked(Pair(0.5), None, Amortised(), simulations=300)
    assert "too narrow" in tight.alarms
    assert tight.table.loc["z", "width"] == pytest.approx(0.5, rel=0.2)


def test_chains_for_all_data_sets_at_once():
    def scaled(y):
        sd = pyro.sample("sd", dist.HalfNormal(2.0))
        mu = pyro.sample("mu", dist.Normal(0.0, 2.0))
        with pyro.plate("n", len(y)):
            pyro.sample("y", dist.Normal(mu, sd), obs=y)

    found = asked(scaled, torch.zeros(6), AllAtOnce(draws=50), simulations=60)
    assert found.uniform and found.table["effective"].min() > 80


def test_data_sets_that_differ_are_asked_alone_and_nothing_is_traced_twice(monkeypatch):
    """With a tau of a thousand the posterior is a thin banana, which the steps that suit the others don't enter."""

    def schools(y):
        tau = pyro.sample("tau", dist.HalfCauchy(5.0))
        with pyro.plate("school", 4):
            eta = pyro.sample("eta", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(tau * eta, 10.0), obs=y)

    def asked_alone(self, i, by):
        alone.append(float(self.truth["tau"][i]))
        yield from found_alone(self, i, by)
        traces.append(len(self.program.recorded))

    alone, traces, found_alone = [], [], Study.asked
    monkeypatch.setattr(Study, "asked", asked_alone)
    found = asked(schools, torch.zeros(4), AllAtOnce(ceiling=100), simulations=50, seed=1)
    assert "draws are correlated" not in found.alarms and found.table["effective"].min() > 100
    assert 0 < len(alone) < 20 and max(alone) > 100
    assert len(set(traces)) == 1


def scale_and_mean(y):
    sd = pyro.sample("sd", dist.LogNormal(0.0, 0.5))
    mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
    with pyro.plate("n", len(y)):
        pyro.sample("y", dist.Normal(mu, sd), obs=y)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")
@pytest.mark.parametrize("by", [partial(laplace, draws=1000, starts=2), partial(mcmc, until=Ess(300), progress=False)])
def test_inferences_of_the_house_are_calibrated(by):
    found = asked(scale_and_mean, torch.zeros(6), by, simulations=60)
    assert found.uniform
    assert found.table["ranked"].min() > 100


@pytest.mark.slow
def test_eight_schools_and_a_prior_too_narrow_by_chains_for_all_at_once():
    sigma = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])

    def schools(y, sigma, width=5.0):
        mu, tau = pyro.sample("mu", dist.Normal(0.0, 5.0)), pyro.sample("tau", dist.HalfCauchy(width))
        with pyro.plate("school", 8):
            eta = pyro.sample("eta", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(mu + tau * eta, sigma), obs=y)

    data = {"y": torch.zeros(8), "sigma": sigma}
    assert asked(schools, data, AllAtOnce()).uniform
    wrong = asked(partial(schools, width=0.5), data, AllAtOnce(), simulate_from=schools)
    assert "tau" in wrong.alarms["biased downwards"]
