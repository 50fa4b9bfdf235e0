"""Alarms: each provoked by a model that has the illness, and none raised by one that has not."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from inference import fit
from inference.diagnostics import diagnose, health
from inference.diagnostics.latent import divergences
from inference.objectives import Elbo
from inference.results import Fit
from inference.sites import first_broken
from tests.inference.test_likelihood import Bare, linear_vae
from zoo.base import Explicit
from zoo.conditionals import Bernoulli, Gaussian, HomoscedasticGaussian
from zoo.distributions import DiagonalNormal
from zoo.vae import VAE


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def healthy() -> tuple[VAE, Tensor]:
    """A VAE whose posterior is exact, and rows of its own."""
    vae = linear_vae()
    with torch.no_grad():
        vae.encoder_model.parameters_of.network[0].bias[:2] -= 0.4  # linear_vae's guide is off by this much
    torch.manual_seed(1)
    return vae, vae.sample(300)


def bits(n: int = 300, columns: int = 6) -> Tensor:
    return torch.bernoulli(torch.full((n, columns), 0.5), generator=torch.Generator().manual_seed(0))


# ---- a healthy model


def test_a_healthy_model_raises_no_alarm() -> None:
    vae, x = healthy()
    found = diagnose(Fit(vae, "Elbo", history(20 - 15 * np.exp(-np.arange(20) / 4)), 20, 1.0, "steps done", 0), x)
    assert found.alarms == {}
    assert not any(line.startswith("!") for line in repr(found).splitlines())
    assert found.table.loc["smallest scale of the decoder", "value"] == pytest.approx(math.exp(-0.3), rel=1e-6)


def test_a_fitted_vae_raises_no_alarm_and_its_history_neither() -> None:
    """Two factors of four columns each, with noise: what a linear VAE with a scale of its own can say in full."""
    z = torch.randn(600, 2)
    x = torch.cat([z[:, :1].expand(-1, 4), z[:, 1:].expand(-1, 4)], 1) + 0.5 * torch.randn(600, 8)
    decoder = partial(HomoscedasticGaussian, hidden=())
    fitted = fit(VAE(8, latent=2, hidden=(), decoder=decoder), x, steps=400, lr=0.02, every=20, progress=False)
    assert diagnose(fitted, x, draws=50).alarms == {}


# ---- posterior collapse


def test_a_decoder_that_needs_no_code_lets_the_posterior_collapse_as_it_learns() -> None:
    """Independent bits: the code has nothing to say, and the KL term drives it out."""
    x = bits(400)
    fitted = fit(VAE(6, latent=3, hidden=(8,)), x, steps=600, lr=0.02, every=20, progress=False)
    found = diagnose(fitted, x, draws=30)
    assert {"posterior collapse", "vanishing KL"} <= set(found.alarms)
    assert "KL warm-up" in found.alarms["posterior collapse"] and "free bits" in found.alarms["posterior collapse"]
    assert "'kl' vanished" in found.alarms["vanishing KL"]
    assert f"! {found.alarms['posterior collapse']}" in repr(found)
    assert found.table.loc["KL of z, nats a row", "value"] < 0.05


def test_units_that_say_nothing_are_named() -> None:
    vae, x = healthy()
    wide = VAE(5, latent=5, hidden=(), decoder=partial(HomoscedasticGaussian, hidden=())).double()
    old, new = vae.encoder_model.parameters_of.network[0], wide.encoder_model.parameters_of.network[0]
    with torch.no_grad():
        for parameter in (new.weight, new.bias):
            parameter.zero_()
        for to, row in ((1, 0), (3, 1), (6, 2), (8, 3)):  # units 1 and 3 speak; those between hold N(0, 1)
            new.weight[to], new.bias[to] = old.weight[row], old.bias[row]
        reader, writer = (each.decoder_model.parameters_of.network[0] for each in (vae, wide))
        writer.weight.zero_()
        writer.weight[:, [1, 3]] = reader.weight
        writer.bias.copy_(reader.bias)
        wide.decoder_model.log_scale.copy_(vae.decoder_model.log_scale)
    found = diagnose(wide, x)
    assert set(found.alarms) == {"posterior collapse"}
    assert "units 0, 2, 4 of 'z' do not depend on x, 3 of 5" in found.alarms["posterior collapse"]
    assert health.collapsed("z", np.array([0.5, 0.4, 0.0]), 3.0, 0.1) is None


def test_a_code_of_states_that_hold_to_the_prior_has_collapsed_by_its_kl() -> None:
    found = diagnose(States(tell=0.0), torch.randn(200, 1), draws=30)
    assert "the KL of 'z' is" in found.alarms["posterior collapse"]
    told = diagnose(States(tell=2.0), torch.randn(200, 1), draws=30)
    assert "posterior collapse" not in told.alarms


class States(nn.Module):
    """z one of two, as likely; the guide tells them apart by the sign of x, or does not."""

    def __init__(self, tell: float) -> None:
        super().__init__()
        self.tell = nn.Parameter(torch.tensor(tell))

    def model(self, x: Any = None, *, context: Any = None, n: int = 1) -> Tensor:
        with pyro.plate("data", n if x is None else len(x)):
            z = pyro.sample("z", dist.Categorical(torch.tensor([0.5, 0.5])))
            return pyro.sample("x", dist.Normal(z[:, None].float(), 1.0).to_event(1), obs=x)

    def guide(self, x: Any, *, context: Any = None) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Categorical(logits=torch.stack([0 * x[:, 0], self.tell * x[:, 0]], -1)))


def test_the_kl_of_a_pair_is_that_of_its_distributions() -> None:
    vae, x = healthy()
    q, p = vae.encoder(x), vae.prior()
    exact = torch.distributions.kl_divergence(q, p).mean().item()
    for pair in (vae, Bare(vae)):
        gaps, of_x = divergences(pair, x, None)
        assert gaps["z"].shape == (300,)
        gap = gaps["z"].detach()
        assert gap.mean().item() == pytest.approx(exact, abs=5 * float(gap.std()) / math.sqrt(300))
        assert of_x.stddev.flatten()[0].item() == pytest.approx(math.exp(-0.3))


# ---- what the KL term did


def history(kl: np.ndarray, loss: np.ndarray | None = None, player: str = "") -> pd.DataFrame:
    steps = np.arange(1, len(kl) + 1) * 50
    return pd.DataFrame({"step": steps, f"{player}loss": 40 - steps / 100 if loss is None else loss, f"{player}kl": kl})


STEPS = np.arange(40)


@pytest.mark.parametrize(
    "kl",
    [
        20 - 18 * np.exp(-STEPS / 5),  # as a fit goes
        15 + 300 * np.exp(-STEPS / 2),  # the term let in slowly
        np.where(STEPS < 25, 0.03, 60.0),  # a code that is slow to start, while the loss falls
        200 * (1 - np.exp(-STEPS / 5)),
        np.where(STEPS % 10 == 0, 0.4, 0.0),  # below what counts on average, by so few reports that it may be chance
    ],
)
def test_a_kl_that_does_what_a_kl_does_raises_no_alarm(kl: np.ndarray) -> None:
    assert health.of_kl(history(kl)) == {}


def test_words_on_a_kl_that_explodes_or_vanishes() -> None:
    loss = 40 + np.where(STEPS == 30, 5000.0, 0.0) - STEPS / 100
    burst = health.of_kl(history(np.where(STEPS == 30, 5000.0, 20.0), loss))
    assert "5e+03 nats a row at step 1550" in burst["exploding KL"] and "clip" in burst["exploding KL"]
    rising = health.of_kl(history(3.0 * 1.3**STEPS, 40 + 3.0 * 1.3**STEPS, "encoder."))
    assert "'encoder.kl' exploded" in rising["exploding KL"] and "learning rate" in rising["exploding KL"]
    early = health.of_kl(history(np.where(STEPS < 2, 20.0, 5000.0), 40 + np.where(STEPS < 2, 20.0, 5000.0)))
    assert "and the loss rose with it" in early["exploding KL"]
    gone = health.of_kl(history(8 * np.exp(-STEPS / 3)))
    assert set(gone) == {"vanishing KL"}
    assert "from 8 nats a row at step 50" in gone["vanishing KL"] and "free bits" in gone["vanishing KL"]
    assert health.of_kl(None) == {} and health.of_kl(pd.DataFrame({"step": [1], "loss": [1.0]})) == {}


def test_a_learning_rate_that_is_far_too_high_makes_the_kl_explode() -> None:
    vae, x = VAE(6, latent=2, hidden=(8,)), bits(200)
    violent = lambda step: 1.0 if step < 60 else 3000.0  # noqa: E731
    fitted = fit(vae, x, steps=100, lr=1e-3, schedule=violent, every=5, clip=1.0, progress=False)
    found = diagnose(fitted, x, draws=30)
    assert "'kl' exploded" in found.alarms["exploding KL"]


# ---- the decoder's scale


def test_a_column_without_spread_lets_the_decoders_variance_collapse_as_it_learns() -> None:
    """A column that never varies, foretold: its scale falls as long as the fit goes on, and the likelihood rises."""
    x = torch.randn(300, 3)
    x[:, 1] = 0.0
    model = VAE(3, latent=1, hidden=(4,), decoder=partial(Gaussian, hidden=()))
    with torch.no_grad():
        writer = model.decoder_model.parameters_of.network[0]
        writer.weight[[1, 4]], writer.bias[[1, 4]] = 0.0, 0.0
    assert "decoder variance collapse" not in diagnose(model, x, draws=30).alarms
    fitted = fit(model, x, steps=105, lr=0.05, every=105, progress=False)
    found = diagnose(fitted, x, draws=30)
    sentence = found.alarms["decoder variance collapse"]
    assert "in 1 of 3 columns (column 1)" in sentence and "floor" in sentence
    frame = pd.DataFrame(x.numpy(), columns=["height", "constant", "weight"])
    assert "(constant)" in diagnose(fitted, frame, draws=30).alarms["decoder variance collapse"]


def test_the_scale_is_held_to_each_columns_own_spread() -> None:
    noise = np.random.default_rng(0)
    data, names = noise.normal(size=(50, 3)) * np.array([1.0, 1e-6, 1e4]), ["a", "b", "c"]
    assert health.scale_collapsed(0.1 * np.ones((50, 3)) * data.std(0), data, names) is None
    alone = health.scale_collapsed(np.tile([0.1, 1e-6, 10.0], (50, 1)), data, names)
    assert alone is not None and "in 1 of 3 columns (c)" in alone
    assert health.scale_collapsed(np.full((50, 3), 0.5), np.ones((50, 3)), names) is None


class Floored(Explicit):
    """A normal whose log scale is kept above that of a floor."""

    def __init__(self, event_shape: Any, *, context_shape: Any = None, floor: float) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        self.inner, self.floor = Gaussian(event_shape, context_shape=context_shape, hidden=()), math.log(floor)

    def distribution(self, context: Tensor | None = None) -> DiagonalNormal:
        free = self.inner.distribution(context)
        return DiagonalNormal(free.loc, free.log_scale.clamp(min=self.floor), 1)


def test_a_scale_that_lies_at_its_floor_is_seen() -> None:
    z = torch.randn(300, 1).double()
    x = torch.cat([z, -z, 2 * z, torch.randn(300, 1)], 1)  # three columns without noise, and one of nothing but noise
    for floor, found in ((0.02, True), (1e-1, False)):  # a floor that the data's spread is not far above is no illness
        model = VAE(4, latent=1, hidden=(), decoder=partial(Floored, floor=floor)).double()
        with torch.no_grad():
            writer, reader = (m.parameters_of.network[0] for m in (model.decoder_model.inner, model.encoder_model))
            writer.weight.copy_(torch.tensor([1.0, -1, 2, 0, 0, 0, 0, 0.1])[:, None])
            writer.bias.copy_(torch.tensor([0.0, 0, 0, 0, -9, -9, -9, 0]))
            reader.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 0]]))
            reader.bias.copy_(torch.tensor([0.0, math.log(floor / 3)]))
        alarms = diagnose(model, x, draws=30).alarms
        assert ("decoder variance collapse" in alarms) is found
        assert not found or "at its floor of 0.02 in 75% of cells" in alarms["decoder variance collapse"]
    # a scale that all cells share, or each column its own, is at no floor
    cells = np.random.default_rng(0).normal(size=(50, 2))
    assert health.scale_collapsed(np.full((50, 2), 0.05), cells, ["a", "b"]) is None
    assert health.scale_collapsed(np.tile([0.05, 0.06], (50, 1)), cells, ["a", "b"]) is None


# ---- the bound


def test_a_bound_of_a_guide_that_is_too_narrow_is_unreliable() -> None:
    vae, x = healthy()
    with torch.no_grad():
        vae.encoder_model.parameters_of.network[0].bias[2:] -= 1.5
    found = diagnose(vae, x)
    assert set(found.alarms) == {"unreliable bound"}
    assert "bound" in found.alarms["unreliable bound"] and "richer encoder" in found.alarms["unreliable bound"]
    assert health.unreliable(np.full(20, 0.69)) is None
    assert "10% of rows" in str(health.unreliable(np.array([0.5] * 18 + [0.71] * 2)))


# ---- NaN, and where


class Logarithm(nn.Module):
    """x is N(log of a parameter, 1) given z, and NaN once a step has taken that parameter below zero."""

    def __init__(self, start: float = 0.5, validate: bool | None = None) -> None:
        super().__init__()
        self.width, self.mean, self.validate = (
            nn.Parameter(torch.tensor(start)),
            nn.Parameter(torch.zeros(())),
            validate,
        )

    def model(self, x: Any = None, *, context: Any = None, n: int = 1) -> Tensor:
        with pyro.plate("data", n if x is None else len(x)):
            z = pyro.sample("z", dist.Normal(torch.tensor(0.0), 1.0))
            return pyro.sample("x", dist.Normal(z + self.width.log(), 1.0, validate_args=self.validate), obs=x)

    def guide(self, x: Any, *, context: Any = None) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.mean.expand(len(x)), 1.0, validate_args=self.validate))


@pytest.mark.filterwarnings("ignore:Encountered NaN")
@pytest.mark.parametrize("validate", [False, None], ids=["the loss is nan", "Pyro refuses the distribution"])
def test_fit_names_the_site_that_broke_and_leaves_the_last_good_state(validate: bool | None) -> None:
    model, x = Logarithm(validate=validate), torch.full((40,), -3.0)
    with pytest.raises(FloatingPointError, match=r"first at the site 'x' of the model.*nan in 40 of 40") as raised:
        fit(model, x, steps=40, lr=0.2, every=10, progress=False)
    assert "nan before" not in str(raised.value)  # it was below zero, not NaN
    assert model.width.item() == 0.5
    assert "back at step 0" in str(raised.value)


def test_fit_names_the_parameter_that_was_nan_before_the_site() -> None:
    model, x = Logarithm(validate=False), torch.zeros(40)

    class Poisoned(Elbo):
        def forward(self, model: Any, x: Tensor, context: Tensor | None = None) -> Any:
            loss = super().forward(model, x, context)
            with torch.no_grad():
                next(iter(model.parameters()))[...] = math.nan
            return loss

    vae = VAE(6, latent=2, hidden=(4,))
    first = next(name for name, _ in vae.named_parameters())
    with pytest.raises(
        FloatingPointError, match=r"first at the site 'z' of the guide.*nan before; the model is"
    ) as raised:
        fit(vae, bits(), Poisoned(), steps=20, every=10, progress=False)
    assert f"with the parameter {first!r}" in str(raised.value)
    assert first_broken(model, x) is None


def test_an_error_of_the_pair_that_is_not_of_nan_stays_what_it_is() -> None:
    class Misshapen(Logarithm):
        def model(self, x: Any = None, *, context: Any = None, n: int = 1) -> Tensor:
            raise ValueError("three where two fit")

    with pytest.raises(ValueError, match="three where two fit"):
        fit(Misshapen(), torch.zeros(10), steps=2, progress=False)


def test_the_first_broken_site_is_the_first_in_the_order_of_the_pair() -> None:
    vae, x = VAE(6, latent=2, hidden=(4,)), bits(20)
    assert first_broken(vae, x) is None
    with torch.no_grad():
        vae.decoder_model.parameters_of.network[-1].bias[2] = math.nan
    site = first_broken(vae, x)
    assert (site.part, site.name, site.bad, site.of) == ("model", "x", 20, 20)
    with torch.no_grad():
        vae.encoder_model.parameters_of.network[-1].bias[0] = math.nan
    assert (first_broken(vae, x).part, first_broken(vae, x).name) == ("guide", "z")
    assert first_broken(Bernoulli(6), torch.full((4, 6), 0.5)) is None
    assert first_broken(object(), x) is None


def test_rows_that_a_mask_leaves_out_may_be_anything() -> None:
    class Masked(Logarithm):
        def model(self, x: Any = None, *, context: Any = None, n: int = 1) -> Tensor:
            with pyro.plate("data", len(x)), pyro.poutine.mask(mask=torch.isfinite(x)):
                z = pyro.sample("z", dist.Normal(torch.tensor(0.0), 1.0))
                return pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    assert first_broken(Masked(), torch.tensor([0.0, math.nan])) is None


@pytest.mark.parametrize("bare", [False, True])
def test_diagnose_names_the_site(bare: bool) -> None:
    vae, x = healthy()
    with torch.no_grad():
        vae.decoder_model.parameters_of.network[0].bias[3] = math.nan
    found = diagnose(Bare(vae) if bare else vae, x)
    assert list(found.alarms) == ["not finite"]
    assert "first at the site 'x' of the model" in found.alarms["not finite"]
    assert ("decoder_model.parameters_of.network.0.bias" in found.alarms["not finite"]) is not bare
    assert found.plots() == {}


def test_diagnose_names_the_site_of_an_exact_likelihood_too() -> None:
    model = Gaussian(2)
    with torch.no_grad():
        model.parameters_of.free[0] = math.nan
    found = diagnose(model, torch.randn(30, 2))
    assert (
        "the site 'x' of the model (log-probability: nan in 30 of 30), and its parameters parameters_of.free"
        in (found.alarms["not finite"])
    )


def test_a_small_kl_counts_as_none_only_where_it_is_known_to_be_small() -> None:
    variance = np.ones(3)
    assert "has collapsed" in str(health.collapsed("z", variance, 0.04, 0.001))
    assert health.collapsed("z", variance, 0.04, 0.03) is None
