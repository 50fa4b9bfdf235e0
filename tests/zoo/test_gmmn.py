"""Moment matching networks: true Pyro models, whose generator and autoencoder keep to themselves."""

from __future__ import annotations

import pytest
import torch
from pyro import poutine
from torch import nn

import zoo
from inference import fit, log_likelihood
from inference.objectives import CodeMatching, EnergyDistance, Mmd, MomentMatching, SlicedWasserstein, default_objective
from inference.quality import kernel_mmd
from zoo.app.settings import gradient_settings
from zoo.autoencoder import Autoencoder
from zoo.code_gmmn import CodeGMMN
from zoo.conditionals import HomoscedasticGaussian
from zoo.gmmn import GMMN
from zoo.spec import SpecError
from zoo.vae import VAE

SMALL = {"hidden": (8,)}


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def two_moons(n: int) -> torch.Tensor:
    angle, side = torch.pi * torch.rand(n), torch.arange(n) % 2
    turned = torch.stack([angle.cos(), angle.sin()], 1) * (1 - 2 * side[:, None])
    return turned + side[:, None] * torch.tensor([1.0, 0.5]) + 0.05 * torch.randn(n, 2)


def test_the_noise_is_a_site_and_x_is_made_of_it_within_the_bounds() -> None:
    model = GMMN((2, 2), latent=3, bounds=(-1.0, 3.0), **SMALL)
    nodes = poutine.trace(model.model).get_trace(n=5).nodes
    z, x = nodes["z"]["value"], nodes["x"]["value"]
    assert z.shape == (5, 3)
    torch.testing.assert_close(x, -1 + 4 * model.generator(z).sigmoid())
    with pytest.raises(TypeError, match="no likelihood"):
        log_likelihood(model, x.detach())


def test_of_codes_x_is_what_the_autoencoder_reads_of_the_generated_code() -> None:
    model = CodeGMMN(4, latent=3, code=2, context_shape=2, **SMALL)
    context = torch.randn(5, 2)
    nodes = poutine.trace(model.model).get_trace(context=context).nodes
    z, x = nodes["z"]["value"], nodes["x"]["value"]
    assert z.shape == (5, 3) and x.shape == (5, 4)
    code = model.generator.generator(z, context)
    assert code.shape == (5, 2)
    torch.testing.assert_close(x, model.autoencoder.decoder(code, context).mean)
    rows = torch.randn(5, 4)
    torch.testing.assert_close(model.code(rows, context), model.autoencoder.encode(rows, context=context))


def test_the_defaults_match_rows_and_codes() -> None:
    assert type(default_objective(GMMN(2, latent=2, **SMALL))) is MomentMatching
    assert type(default_objective(CodeGMMN(2, latent=2, **SMALL))) is CodeMatching


def test_neither_players_gradient_reaches_the_other() -> None:
    model, x = CodeGMMN(4, latent=2, code=2, **SMALL), torch.randn(30, 4)
    coder, generator = CodeMatching().players(model)
    assert (coder.name, generator.name) == ("autoencoder", "generator")
    generator.backward(generator.loss(x, None), generator.parameters)
    assert all(p.grad is None for p in model.autoencoder.parameters())
    assert all(p.grad is not None for p in model.generator.parameters())
    before = [p.grad.clone() for p in model.generator.parameters()]
    coder.backward(coder.loss(x, None), coder.parameters)
    assert all(p.grad is not None for p in model.autoencoder.parameters())
    assert all(torch.equal(p.grad, b) for p, b in zip(model.generator.parameters(), before, strict=True))


def test_a_frozen_autoencoder_stays_and_its_codes_are_what_is_matched() -> None:
    x = two_moons(400)
    coder = Autoencoder(2, latent=1, hidden=(32,), decoder=lambda *a, **k: HomoscedasticGaussian(*a, hidden=(32,), **k))
    fit(coder, x, steps=150, lr=5e-3, progress=False)
    before = {name: value.clone() for name, value in coder.state_dict().items()}
    model = CodeGMMN(2, latent=2, hidden=(32,), autoencoder=coder.requires_grad_(False))
    codes = coder.encode(x)
    apart = kernel_mmd(model.generate_code(model.noise(400)).detach(), codes, bandwidth=0.5)
    found = fit(model, x, CodeMatching(Mmd()), steps=200, batch_size=100, lr=5e-3, validation=0.25, progress=False)
    assert all(torch.equal(value, before[name]) for name, value in coder.state_dict().items())
    assert set(found.history) == {"step", "mmd", "held_out"}
    matched = kernel_mmd(model.generate_code(model.noise(400)).detach(), codes, bandwidth=0.5)
    assert apart.value > 0.1 > 10 * abs(matched.value)


def test_both_at_once_draw_rows_of_the_data() -> None:
    x = two_moons(600)
    model = CodeGMMN(2, latent=2, code=2, hidden=(32, 32))
    before = kernel_mmd(model.sample(300), x, bandwidth=0.7)
    found = fit(model, x, steps=300, batch_size=150, lr=5e-3, validation=0.25, progress=False)
    assert {"autoencoder.reconstruction", "generator.energy", "held_out"} <= set(found.history)
    after = kernel_mmd(model.sample(300), x, bandwidth=0.7)
    assert before.value > 0.1 > 5 * abs(after.value)


def test_any_model_with_a_code_stands_in_the_slot_and_others_are_refused() -> None:
    vae = VAE(4, latent=3, decoder=HomoscedasticGaussian, **SMALL)
    model, x = CodeGMMN(4, latent=2, autoencoder=vae, **SMALL), torch.randn(12, 4)
    torch.testing.assert_close(model.code(x), vae.encoder(x).mean)
    fit(model, x, steps=2, progress=False)
    with pytest.raises(TypeError, match="autoencoder must be a model with a latent code, such as a VAE, not RealNVP"):
        CodeGMMN(4, autoencoder=zoo.RealNVP)
    with pytest.raises(ValueError, match=r"autoencoder: VAE has event_shape \[4\], but \[5\] fits here"):
        CodeGMMN(5, autoencoder=vae)


def test_generators_of_ones_own_and_declared_ones() -> None:
    own = nn.Linear(2, 4)
    assert GMMN(4, latent=2, generator=own).generator is own
    declared = zoo.build({"family": "gmmn", "generator": {"kind": "mlp", "hidden": [5]}}, event_shape=4)
    assert declared.sample(3).shape == (3, 4)
    table = {"family": "code_gmmn", "hidden": [8], "autoencoder": {"family": "autoencoder", "latent": 2, "hidden": [8]}}
    model = zoo.build(table, event_shape=4)
    assert model.autoencoder.latent == torch.Size([2]) and model.sample(3).shape == (3, 4)
    for wrong in ({"latent": 0}, {"bounds": (1.0, 1.0)}):
        with pytest.raises(ValueError, match="must be"):
            GMMN(4, **wrong)
    with pytest.raises(TypeError, match="generator must be a torch module"):
        GMMN(4, generator=lambda shape, **given: "no module")


@pytest.mark.parametrize(
    "written, kind",
    [({"name": "mmd", "widest": 2.0}, Mmd), ({"name": "energy_distance"}, EnergyDistance),
     ({"name": "sliced_wasserstein", "slices": 9}, SlicedWasserstein)],
)  # fmt: skip
def test_moments_can_be_declared(written, kind) -> None:
    for name in ("moment_matching", "code_matching"):
        objective = gradient_settings({"objective": {"name": name, "moment": written}})["objective"]
        assert type(objective.moment) is kind
    with pytest.raises(SpecError, match=r"fit.objective.moment"):
        gradient_settings({"objective": {"name": "moment_matching", "moment": {"name": "mmdd"}}})


def test_double_precision_is_followed() -> None:
    for model in (GMMN(3, latent=2, **SMALL), CodeGMMN(3, latent=2, **SMALL)):
        fit(model, torch.randn(20, 3), steps=2, precision=torch.float64, progress=False)
        assert model.sample(2).dtype == torch.float64
