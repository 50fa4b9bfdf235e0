"""RealNVP against autograd's Jacobian, numerical integration and its own draws."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.fit import fit
from tests.zoo.shaking import normal, shaken
from zoo.base import Refusal
from zoo.conditionals import Bernoulli, Gaussian
from zoo.realnvp import RealNVP
from zoo.vae import VAE


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(2, 7),
    layers=st.integers(1, 5),
    context_size=st.sampled_from([None, 1, 3]),
    hidden=st.sampled_from([5, (4,), (3, 4, 5)]),
    seed=st.integers(0, 99),
)
def test_log_determinants_are_autograds_and_the_directions_invert(size, layers, context_size, hidden, seed):
    model = shaken(RealNVP(size, context_shape=context_size, layers=layers, hidden=hidden), seed=seed)
    context = None if context_size is None else normal(1, context_size, seed=seed)
    row = normal(1, size, seed=seed + 1)
    for go, back in (
        (model.transform.forward_and_log_det, model.transform.inverse_and_log_det),
        (model.transform.inverse_and_log_det, model.transform.forward_and_log_det),
    ):
        value, log_det = go(row, context)
        jacobian = torch.autograd.functional.jacobian(lambda x, go=go: go(x[None], context)[0][0], row[0])
        assert torch.allclose(log_det[0], torch.linalg.slogdet(jacobian)[1], atol=1e-9)
        again, back_det = back(value, context)
        assert torch.allclose(again, row, atol=1e-8)
        assert torch.allclose(back_det, -log_det, atol=1e-8)


@pytest.mark.parametrize("shape", [(2,), (3,), (2, 2), (1, 3, 3)])
def test_the_map_starts_at_the_identity(shape):
    model = RealNVP(shape).double()
    x = normal(4, *shape)
    y, log_det = model.transform.forward_and_log_det(x)
    assert torch.equal(y, x)
    assert torch.equal(log_det, torch.zeros(4, dtype=torch.float64))


def test_the_density_integrates_to_one():
    model = shaken(RealNVP(2, layers=4, hidden=8, clamp=1.0), 0.3)
    ticks = torch.linspace(-14, 14, 801, dtype=torch.float64)
    grid = torch.cartesian_prod(ticks, ticks)
    with torch.no_grad():
        total = sum(model.log_prob(part).exp().sum() for part in grid.split(200_000)) * (ticks[1] - ticks[0]) ** 2
    assert abs(float(total) - 1) < 1e-4


def test_draws_have_the_moments_of_the_density():
    model = shaken(RealNVP(2, layers=4, hidden=8, clamp=1.0), 0.3)
    ticks = torch.linspace(-14, 14, 601, dtype=torch.float64)
    grid = torch.cartesian_prod(ticks, ticks)
    with torch.random.fork_rng(), torch.no_grad():
        weights = model.log_prob(grid).exp() * (ticks[1] - ticks[0]) ** 2
        torch.manual_seed(0)
        draws = model.sample(200_000)
    moments = torch.cat([grid, grid.square(), grid[:, :1] * grid[:, 1:]], -1)
    made = torch.cat([draws, draws.square(), draws[:, :1] * draws[:, 1:]], -1)
    error = made.std(0) / len(draws) ** 0.5
    assert ((made.mean(0) - weights @ moments).abs() < 5 * error).all()


@pytest.mark.parametrize("context_size", [None, 2])
def test_a_draw_and_its_density_agree_with_log_prob(context_size):
    model = shaken(RealNVP((1, 3), context_shape=context_size, layers=5, hidden=6))
    context = None if context_size is None else normal(4, context_size)
    distribution = model.distribution(context)
    batch = torch.Size([] if context is None else [4])
    assert distribution.batch_shape == batch
    with torch.random.fork_rng():
        torch.manual_seed(3)
        draws, log_prob = distribution.rsample_and_log_prob((7,))
        torch.manual_seed(3)
        again = distribution.rsample((7,))
    assert draws.shape == (7, *batch, 1, 3)
    assert log_prob.shape == (7, *batch)
    assert torch.equal(draws, again)
    assert torch.allclose(distribution.log_prob(draws), log_prob, atol=1e-8)
    assert draws.requires_grad
    assert not distribution.sample((7,)).requires_grad


def test_the_context_is_honoured_row_by_row_and_under_further_axes():
    model = shaken(RealNVP(3, context_shape=2, layers=3, hidden=6))
    x, context = normal(5, 4, 3), normal(4, 2, seed=2)
    together = model.distribution(context).log_prob(x)
    for k in range(5):
        for n in range(4):
            alone = model.log_prob(x[k, n : n + 1], context=context[n : n + 1])
            assert torch.allclose(together[k, n], alone[0], atol=1e-10)
    assert not torch.allclose(model.log_prob(x[0], context=context), model.log_prob(x[0], context=context.flip(0)))


def test_expanding_changes_how_many_rows_are_drawn_and_nothing_else():
    model = shaken(RealNVP(3, layers=2, hidden=4))
    x = normal(6, 3)
    wide = model.distribution().expand([6])
    assert wide.batch_shape == (6,)
    assert wide.rsample().shape == (6, 3)
    assert torch.equal(wide.log_prob(x), model.log_prob(x))


@pytest.mark.parametrize("context_size", [None, 2])
def test_every_parameter_gets_a_gradient(context_size):
    model = shaken(RealNVP(4, context_shape=context_size, layers=3, hidden=6))
    context = None if context_size is None else normal(8, context_size)
    model.log_prob(normal(8, 4), context=context).mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_is_the_models(dtype):
    model = RealNVP((1, 2, 2), hidden=8).to(dtype)
    x = model.sample(5)
    assert x.dtype == dtype
    assert model.log_prob(x).dtype == dtype
    assert x.shape == (5, 1, 2, 2)


def test_a_base_of_ones_own_is_used():
    base = Gaussian(3).double()
    with torch.no_grad():
        base.parameters_of.free += normal(6)
    model = RealNVP(3, base=base, layers=2, hidden=4).double()
    x = normal(4, 3)
    assert torch.allclose(model.log_prob(x), base.log_prob(x))


def test_twenty_layers_train_without_nan():
    model = RealNVP(6, layers=20, hidden=32)
    x = (normal(256, 6).float() * torch.tensor([0.1, 1, 5, 20, 1, 1])).contiguous()
    before = float(model.log_prob(x).detach().mean())
    fit(model, x, steps=60, batch_size=128, lr=3e-3, progress=False)
    after = model.log_prob(x).detach()
    assert torch.isfinite(after).all()
    assert torch.isfinite(model.sample(100)).all()
    assert float(after.mean()) > before + 10


def test_a_flow_serves_as_prior_and_as_encoder_of_a_vae():
    model = VAE(
        16,
        latent=3,
        hidden=(8,),
        prior=partial(RealNVP, layers=4, hidden=8),
        encoder=partial(RealNVP, layers=2, hidden=8),
    )
    x = torch.bernoulli(torch.full((64, 16), 0.3), generator=torch.Generator().manual_seed(0))
    result = fit(model, x, steps=80, batch_size=32, every=20, lr=3e-3, progress=False)
    assert result.history["loss"].iloc[-1] < result.history["loss"].iloc[0]
    assert model.sample(7).shape == (7, 16)
    assert model.encode(x).shape == (64, 3)
    assert all(parameter.grad is not None for parameter in model.prior_model.parameters())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"event_shape": 1}, ValueError, "take Gaussian"),
        ({"event_shape": 2, "layers": 0}, ValueError, "layers must be at least 1, not 0"),
        ({"event_shape": 2, "hidden": 0}, ValueError, "hidden must be a width"),
        ({"event_shape": 2, "hidden": ()}, ValueError, "hidden must be a width"),
        ({"event_shape": 2, "clamp": 0.0}, ValueError, "clamp must be above 0"),
        ({"event_shape": 2, "base": Bernoulli}, ValueError, "Bernoulli is discrete"),
        ({"event_shape": 2, "base": Gaussian(3)}, ValueError, r"event_shape \[3\]"),
    ],
)
def test_wrong_parameters_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        RealNVP(**arguments)


def test_what_a_flow_has_not_is_refused():
    model = RealNVP(2, context_shape=3, hidden=4)
    with pytest.raises(Refusal, match="ask log_prob"):
        model.encode(torch.zeros(1, 2))
    with pytest.raises(ValueError, match="is conditional"):
        model.log_prob(torch.zeros(1, 2))
    with pytest.raises(ValueError, match="of shape"):
        model.log_prob(torch.zeros(1, 3), context=torch.zeros(1, 3))
