"""diagnose: what it finds where the truth is known, and that ArviZ reads what it leaves."""

import math
import warnings
from functools import partial
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from inference.diagnostics import Diagnosis, arviz_io, diagnose, findings, health
from inference.diagnostics.arviz_io import arviz, group_names
from inference.diagnostics.latent import active_units, unit_variance
from inference.diagnostics.pareto import pareto_k
from inference.diagnostics.predictive import columns, compared
from inference.fit import fit
from inference.likelihood import log_likelihood
from inference.results import Fit
from tests.inference.test_likelihood import Bare, linear_vae
from zoo.base import EnergyBased, Implicit
from zoo.bayesian_network import BayesianNetwork
from zoo.conditionals import Bernoulli, Categorical, HomoscedasticGaussian, StandardGaussian
from zoo.diffusion import Diffusion
from zoo.vae import VAE


class Coins(EnergyBased):
    """Independent fair bits, as an energy whose log Z is known."""

    support = torch.distributions.constraints.boolean
    sweeps = 1

    def free_energy(self, x):
        return x.new_zeros(len(x))

    def gibbs_step(self, x):
        return torch.bernoulli(torch.full_like(x, 0.5))

    def start(self, n):
        return torch.zeros(n, *self.event_shape)

    def log_partition(self):
        return torch.tensor(self.features * math.log(2))


class Shift(Implicit):
    """x = noise + 3."""

    def noise(self, n):
        return torch.randn(n, *self.event_shape)

    def generate(self, noise, context=None):
        return noise + 3


def bits(n: int = 300, columns: int = 6) -> torch.Tensor:
    return torch.bernoulli(torch.full((n, columns), 0.5), generator=torch.Generator().manual_seed(0))


# ---- Pareto k


def test_pareto_k_is_arvizs():
    noise = np.random.default_rng(0)
    for draws in (25, 100, 1000):
        for scale in (0.5, 1.0, 3.0):
            log_weights = scale * noise.normal(size=(draws, 7))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                psis = getattr(arviz(), "psislw", None)
            if psis is None:
                pytest.skip("this ArviZ has no psislw")
            _, expected = psis(log_weights.T.copy())
            np.testing.assert_allclose(pareto_k(log_weights), expected, rtol=1e-6, atol=1e-6)


def test_pareto_k_finds_a_known_tail():
    noise = np.random.default_rng(0)
    for k in (0.2, 0.5, 0.9):
        log_weights = k * noise.exponential(size=(20_000, 5))  # w is Pareto of shape 1 / k
        assert np.abs(pareto_k(log_weights).mean() - k) < 0.06


def test_pareto_k_at_the_edges():
    assert (pareto_k(np.full((100, 3), -7.0)) == 0).all()
    tied = np.where(np.arange(1200)[:, None] < 1100, -3.0, 0.0)  # as of codes: a tail of 104, the largest 100 alike
    nearly = tied + np.where(tied == 0, 1e-9 * np.arange(1200)[:, None], 0.0)
    np.testing.assert_allclose(pareto_k(tied), pareto_k(nearly), atol=1e-3)
    assert np.isnan(pareto_k(np.zeros((24, 3)))).all()
    assert (pareto_k(np.where(np.arange(100)[:, None] == 0, 0.0, -5000.0 + np.zeros((1, 2)))) > 0.7).all()


# ---- active units


def test_active_units_take_the_noise_of_the_draws_off():
    generator = np.random.default_rng(0)
    means = np.stack([generator.normal(0, 1, 4000), np.zeros(4000), generator.normal(0, 0.2, 4000)], 1)
    z = means + np.array([0.3, 1.0, 1.0]) * generator.normal(size=(50, 4000, 3))
    np.testing.assert_allclose(unit_variance(z), [1.0, 0.0, 0.04], atol=0.05)
    assert z[:, :, 1].mean(0).var() > 0.015  # what Burda's statistic would be without the correction
    assert active_units(z).tolist() == [True, False, True]


def test_a_collapsed_code_is_called_so():
    torch.manual_seed(0)
    vae = VAE(6, latent=3, hidden=(4,))
    with torch.no_grad():
        vae.encoder_model.parameters_of.network[-1].weight.zero_()
    found = diagnose(vae, bits(), draws=30)
    assert any("collapsed: none of the 3 units of 'z'" in sentence for sentence in found.verdict)
    assert found.table.loc["active units of z, of 3", "value"] == 0


# ---- each kind


def test_a_latent_variable_model():
    vae = linear_vae()
    torch.manual_seed(1)
    x = vae.sample(300)
    state = torch.get_rng_state()
    found = diagnose(vae, x, draws=60, rows=200, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert {"posterior", "posterior_predictive", "log_likelihood", "sample_stats", "observed_data"} <= set(
        group_names(found.idata)
    )
    z, log_weight = found.idata["posterior"]["z"], found.idata["sample_stats"]["log_weight"]
    assert z.dims == ("chain", "draw", "row", "z_unit") and z.shape == (1, 60, 200, 2)
    assert log_weight.dims == ("chain", "draw", "row")
    values = np.asarray(found.idata["log_likelihood"]["x"])[0, 0]
    weights = np.asarray(log_weight)[0]
    np.testing.assert_allclose(values, np.log(np.exp(weights).mean(0)))
    seen = torch.as_tensor(np.asarray(found.idata["observed_data"]["x"]))
    proposal = vae.encoder(seen)
    draw = torch.as_tensor(np.asarray(z))[0, 0]
    again = vae.prior().log_prob(draw) + vae.decoder(draw).log_prob(seen) - proposal.log_prob(draw)
    np.testing.assert_allclose(again.detach().numpy(), weights[0])
    assert found.idata["posterior_predictive"]["x"].shape == (1, 2, 200, 5)
    assert found.idata["constant_data"]["pareto_k"].shape == (200,)
    assert found.idata.attrs["likelihood_kind"] == "lower bound"
    assert "lower bound" in found.verdict[0] and "60 draws" in found.verdict[0]
    assert any("agree in 5 of 5 columns" in sentence for sentence in found.verdict)
    assert "All 2 units of 'z' are active." in found.verdict


def test_a_good_guide_is_called_reliable_and_a_narrow_one_is_not():
    vae = linear_vae()
    with torch.no_grad():
        vae.encoder_model.parameters_of.network[0].bias[:2] -= 0.4  # linear_vae's guide is off by this much
    torch.manual_seed(1)
    x = vae.sample(100)
    assert any("The guide is reliable" in sentence for sentence in diagnose(vae, x).verdict)
    with torch.no_grad():
        vae.encoder_model.parameters_of.network[0].bias[2:] -= 1.5
    found = diagnose(vae, x)
    assert any("The guide misses part of the posterior" in sentence for sentence in found.verdict)
    assert found.table.loc["rows with Pareto k below 0.7", "value"] < 0.5


def test_a_users_own_pair():
    vae = linear_vae()
    torch.manual_seed(1)
    x = vae.sample(30)
    found = diagnose(Bare(vae), x, draws=30)
    assert found.idata["posterior"]["z"].shape == (1, 30, 30, 2)
    expected = log_likelihood(vae, x).mean
    assert found.table.loc["log-likelihood, nats a row", "value"] == pytest.approx(expected, abs=0.2)


def test_an_explicit_model():
    x = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    found = diagnose(StandardGaussian(3), x)
    assert "exact, of densities" in found.verdict[0]
    assert "posterior" not in group_names(found.idata)
    mean = torch.distributions.Normal(0, 1).log_prob(x).sum(1).mean().item()
    assert found.table.loc["log-likelihood, nats a row", "value"] == pytest.approx(mean, rel=1e-5)


def test_an_energy():
    found = diagnose(Coins(6), bits())
    assert "exact, of probabilities" in found.verdict[0]
    assert found.table.loc["log-likelihood, nats a row", "value"] == pytest.approx(-6 * math.log(2))
    assert found.table.loc["columns whose mean agrees", "value"] == 1


def test_an_implicit_model_is_judged_by_its_samples():
    x = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    found = diagnose(Shift(4), x)
    assert "no likelihood" in found.verdict[0]
    assert any("agree in 0 of 4 columns" in sentence for sentence in found.verdict)
    assert "log_likelihood" not in group_names(found.idata)
    assert set(found.plots()) == {"predictive", "modes"}


def test_codes_are_compared_level_by_level():
    x = torch.tensor([[0, 2], [1, 2], [1, 2], [0, 2]]).repeat(40, 1)
    table, names = columns(x.numpy())
    assert names[:3] == ["column 0, level 0", "column 0, level 1", "column 0, level 2"]
    np.testing.assert_allclose(table.mean(0), [0.5, 0.5, 0, 0, 0, 1])
    found = diagnose(Categorical(2, levels=3), x)
    assert any("furthest off is column 1, level" in sentence for sentence in found.verdict)


def test_a_network_of_tables_by_its_columns_names():
    model = BayesianNetwork(network="asia")
    torch.manual_seed(0)
    frame = model.decode(model.sample(400))
    found = diagnose(model, frame)
    assert "exact, of probabilities" in found.verdict[0]
    expected = model.log_prob(model.encode_frame(frame)).mean().item()
    assert found.table.loc["log-likelihood, nats a row", "value"] == pytest.approx(expected)
    frame["smoke"] = frame["smoke"].iloc[0]
    worst = next(sentence for sentence in diagnose(model, frame).verdict if "furthest off" in sentence)
    assert "column smoke, level" in worst


def test_a_conditional_model_and_rows_picked_with_their_context():
    torch.manual_seed(0)
    decoder = partial(HomoscedasticGaussian, hidden=(4,))
    vae = VAE(2, latent=1, context_shape=1, hidden=(4,), decoder=decoder)
    context = torch.arange(50.0)[:, None]
    x = torch.cat([context, -context], 1)
    found = diagnose(vae, {"x": x, "context": context}, rows=20, draws=30)
    seen = np.asarray(found.idata["observed_data"]["x"])
    assert seen.shape == (20, 2)
    again = diagnose(vae, x, context=context, rows=20, draws=30)
    np.testing.assert_array_equal(seen, np.asarray(again.idata["observed_data"]["x"]))
    np.testing.assert_array_equal(
        np.asarray(found.idata["log_likelihood"]["x"]), np.asarray(again.idata["log_likelihood"]["x"])
    )


# ---- training


def history(loss: np.ndarray, held_out: np.ndarray | None = None) -> pd.DataFrame:
    frame = pd.DataFrame({"step": np.arange(1, len(loss) + 1) * 50, "loss": loss})
    return frame if held_out is None else frame.assign(held_out=held_out)


def test_words_on_training():
    steps = np.arange(40)
    assert "still falling" in findings.on_history(history(50.0 - steps))[0]
    level = 10 * np.exp(-steps / 3) + 5 + 0.01 * np.sin(steps)
    assert findings.on_history(history(level)) == ["The training loss no longer fell by the end."]
    over = findings.on_history(history(level, 6 + 0.004 * (steps - 10.0) ** 2))
    assert any("It overfits: the held-out loss was lowest at step 550" in sentence for sentence in over)
    assert any("from the training loss" in sentence for sentence in over)
    stopped = findings.on_history(history(level, 6 + 0.004 * (steps - 10.0) ** 2), kept=10)
    assert stopped[-1] == "The weights of step 10 were kept, where the held-out loss was lowest."
    assert not any("overfits" in sentence for sentence in stopped)
    fine = findings.on_history(history(level, level + 0.2))
    assert not any("overfits" in sentence for sentence in fine)
    assert "held-out loss was +0.20 nats" in fine[1]
    assert findings.on_history(None) == []
    two = pd.DataFrame({"step": [1, 2], "generator.loss": [1.0, 2.0]})
    assert findings.on_history(two) == []


def test_a_fit_brings_its_history(tmp_path):
    torch.manual_seed(0)
    fitted = fit(VAE(6, latent=2, hidden=(8,)), bits(), steps=40, every=2, validation=0.2, progress=False)
    found = diagnose(fitted, bits(), draws=30)
    assert found.idata["constant_data"]["history_loss"].shape == (len(fitted.history),)
    figures = found.plots()
    assert {"history", "log_likelihood", "pareto_k", "active_units_z", "predictive"} == set(figures)
    for name, figure in figures.items():
        figure.savefig(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 5000
    assert "VAE:" in repr(found)


def test_plots_leave_matplotlib_as_it_was():
    found = diagnose(StandardGaussian(2), torch.randn(50, 2))
    before = dict(matplotlib.rcParams)
    found.plots()
    assert dict(matplotlib.rcParams) == before
    pyplot = __import__("matplotlib.pyplot").pyplot
    assert pyplot.get_fignums() == []


def test_arviz_reads_what_is_written(tmp_path):
    found = diagnose(linear_vae(), torch.randn(30, 5).double(), draws=40)
    path = tmp_path / "posterior.nc"
    found.to_netcdf(path)
    assert [p.name for p in tmp_path.iterdir()] == ["posterior.nc"]
    read = arviz().from_netcdf(path)
    np.testing.assert_array_equal(np.asarray(read["posterior"]["z"]), np.asarray(found.idata["posterior"]["z"]))
    assert read.attrs["model"] == "VAE"
    assert len(arviz().summary(read, var_names=["z"])) == 60


def test_the_container_of_arvizs_next_age(tmp_path, monkeypatch):
    monkeypatch.setattr(arviz_io, "arviz", SimpleNamespace)  # from 1.0 on there is no InferenceData
    found = diagnose(linear_vae(), torch.randn(30, 5).double(), draws=40)
    assert isinstance(found.idata, xr.DataTree)
    assert {"log_likelihood", "pareto_k", "active_units_z", "predictive"} == set(found.plots())
    found.to_netcdf(tmp_path / "posterior.nc")
    with xr.open_datatree(tmp_path / "posterior.nc", engine="h5netcdf") as read:
        assert read["posterior"]["z"].dims == ("chain", "draw", "row", "z_unit")
        assert read.attrs["model"] == "VAE"


# ---- predictive checks and what is refused


def test_predictive_checks_see_a_shift_and_missing_modes():
    noise = np.random.default_rng(0)
    x = noise.normal(size=(1000, 3))
    z_scores, spread, _ = compared(x, noise.normal(size=(1000, 3)) + np.array([0, 0.5, 0]))
    assert abs(z_scores[0]) < 4 and z_scores[1] == pytest.approx(0.5 / math.sqrt(2 / 1000), rel=0.2)
    assert spread == pytest.approx(1, abs=0.1)
    narrow = compared(x, 0.5 * noise.normal(size=(1000, 3)))[1]
    assert narrow == pytest.approx(0.25, abs=0.05)
    assert "modes may be missing" in findings.on_samples(np.zeros(3), narrow, ["a", "b", "c"])[-1]
    constant = compared(np.zeros((5, 2)), np.zeros((5, 2)))
    assert (constant[0] == 0).all() and constant[1] == 1


def test_what_can_not_be_diagnosed_is_refused():
    with pytest.raises(TypeError, match="a Fit or a model"):
        diagnose("vae", bits())
    with pytest.raises(ValueError, match="not finite at row 2, column 1"):
        x = bits()
        x[2, 1] = math.nan
        diagnose(Bernoulli(6), x)
    with pytest.raises(ValueError, match="models x of shape"):
        diagnose(Bernoulli(5), bits())


def test_a_fit_without_losses_of_one_player():
    two = pd.DataFrame({"step": [1, 2], "generator.loss": [1.0, 2.0], "critic.loss": [3.0, 1.0]})
    fitted = Fit(Shift(4), "adversarial", two, 2, 0.1, "steps done", 0)
    found = diagnose(fitted, torch.randn(100, 4))
    assert isinstance(found, Diagnosis) and set(found.plots()) == {"history", "predictive", "modes"}


def test_sentences_count_and_round_as_a_person_would():
    assert findings.on_units("z", np.array([0.5])) == "The one unit of 'z' is active."
    alarm = health.collapsed("z", np.array([0.0]), 0.0, 0.0)
    assert alarm is not None and alarm.startswith("The posterior has collapsed: the one unit of 'z' does not")
    assert findings.on_units("z", np.array([0.5, 0.0])).endswith("unit 1 says nothing of x.")
    assert findings.on_units("z", np.array([0.5, 0.0, 0.0])).endswith("units 1, 2 say nothing of x.")
    assert findings.on_units("z", np.array([0.5, 0.4])) == "All 2 units of 'z' are active."
    told = findings.on_samples(np.array([3.04, 0.0]), 1.0, ["column a", "column b"])[0]
    assert told.endswith("furthest off is column a, by 3.0 standard errors.")


def test_noise_that_is_added_step_by_step_is_no_guide_to_be_judged() -> None:
    model = Diffusion(2, steps=1000, network={"kind": "mlp", "width": 8, "blocks": 1})
    found = diagnose(model, torch.randn(30, 2))
    assert "of 1000 timesteps" in found.verdict[0]
    assert not any("guide" in each or "units" in each for each in found.verdict)
    assert not found.alarms
