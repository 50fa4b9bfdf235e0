"""Flows of every make against autograd's Jacobian, numerical integration, their own draws and their naive inverse."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from inference.fit import fit
from tests.zoo.shaking import normal, shaken
from zoo.autoregressive_spline_flow import AutoregressiveSplineFlow
from zoo.conditionals import Bernoulli, Gaussian
from zoo.elementwise import SoftAffine
from zoo.iaf import IAF
from zoo.maf import MAF
from zoo.masked_maps import MaskedMaps
from zoo.realnvp import RealNVP
from zoo.spline_flow import SplineFlow
from zoo.vae import VAE

COUPLED: list[Any] = [partial(RealNVP, clamp=1.0), partial(SplineFlow, bins=4)]
MASKED: list[Any] = [MAF, IAF, partial(AutoregressiveSplineFlow, bins=4)]
FLOWS = COUPLED + MASKED


def name(flow: Any) -> str:
    return getattr(flow, "func", flow).__name__


@pytest.fixture(autouse=True, scope="module")
def _caller_s_random_state():
    with torch.random.fork_rng():
        yield


@pytest.fixture(autouse=True)
def _the_same_weights_at_every_run(_caller_s_random_state):
    torch.manual_seed(0)


each = pytest.mark.parametrize("flow", FLOWS, ids=name)
masked = pytest.mark.parametrize("flow", MASKED, ids=name)


@each
@settings(max_examples=6, deadline=None)
@given(
    shape=st.sampled_from([(1,), (2,), (5,), (2, 2), (1, 3, 1)]),
    layers=st.sampled_from([1, 2, 3, 4, 6, 32]),
    context_size=st.sampled_from([None, 1, 3]),
    hidden=st.sampled_from([5, (4,), (3, 4, 5)]),
    seed=st.integers(0, 99),
)
def test_log_determinants_are_autograds_and_the_directions_invert(flow, shape, layers, context_size, hidden, seed):
    if flow in COUPLED and shape == (1,):
        shape = (2,)
    scale = 0.4 if layers < 32 else 0.1  # each layer stretches rounding as it stretches the row
    model = shaken(flow(shape, context_shape=context_size, layers=layers, hidden=hidden), scale, seed)
    context = None if context_size is None else normal(1, context_size, seed=seed)
    row = normal(1, *shape, seed=seed + 1)
    size = row.numel()
    for go, back in (
        (model.transform.forward_and_log_det, model.transform.inverse_and_log_det),
        (model.transform.inverse_and_log_det, model.transform.forward_and_log_det),
    ):
        value, log_det = go(row, context)
        jacobian = torch.autograd.functional.jacobian(lambda x, go=go: go(x, context)[0], row).reshape(size, size)
        assert log_det.shape == (1,)
        assert torch.allclose(log_det[0], torch.linalg.slogdet(jacobian)[1], atol=1e-7)
        again, back_det = back(value, context)
        assert torch.allclose(again, row, atol=1e-6)
        assert torch.allclose(back_det, -log_det, atol=1e-6)


@each
@pytest.mark.parametrize("shape", [(2,), (3,), (2, 2), (1, 3, 3)])
@pytest.mark.parametrize("layers", [1, 4])
def test_the_map_starts_at_the_identity(flow, shape, layers):
    model = flow(shape, layers=layers, hidden=8).double()
    x = normal(4, *shape)
    for go in (model.transform.forward_and_log_det, model.transform.inverse_and_log_det):
        y, log_det = go(x)
        assert torch.allclose(y, x, atol=1e-12)
        assert torch.allclose(log_det, torch.zeros(4, dtype=torch.float64), atol=1e-12)


def squares(size: int, ticks: int) -> tuple[Tensor, float]:
    """The middles of equal squares over [-14, 14]^size, and the measure of each."""
    edge = 28 / ticks
    middles = torch.linspace(-14 + edge / 2, 14 - edge / 2, ticks, dtype=torch.float64)
    return (middles[:, None] if size == 1 else torch.cartesian_prod(middles, middles)), edge**size


@each
@pytest.mark.parametrize("size", [1, 2])
def test_the_density_integrates_to_one_and_the_draws_have_its_moments(flow, size):
    if flow in COUPLED and size == 1:
        pytest.skip("couplings need two numbers")
    model = shaken(flow(size, layers=3, hidden=8), 0.2)
    grid, measure = squares(size, 4_000 if size == 1 else 300)
    with torch.random.fork_rng(), torch.no_grad():
        weights = model.log_prob(grid).exp() * measure
        torch.manual_seed(0)
        draws = model.sample(30_000)
    assert abs(float(weights.sum()) - 1) < 1e-3
    moments, made = (torch.cat([x, x.square(), x[:, :1] * x[:, -1:]], -1) for x in (grid, draws))
    error = made.std(0) / len(draws) ** 0.5
    assert ((made.mean(0) - weights @ moments / weights.sum()).abs() < 5 * error + 2e-3).all()


@each
@pytest.mark.parametrize("context_size", [None, 2])
def test_a_draw_and_its_density_agree_with_log_prob(flow, context_size):
    model = shaken(flow((1, 3), context_shape=context_size, layers=5, hidden=6), 0.3)
    context = None if context_size is None else normal(4, context_size)
    distribution = model.distribution(context)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        draws, log_prob = distribution.rsample_and_log_prob((7,))
        torch.manual_seed(3)
        again = distribution.sample((7,))
    batch = [] if context is None else [4]
    assert draws.shape == (7, *batch, 1, 3)
    assert log_prob.shape == (7, *batch)
    assert torch.allclose(draws, again, atol=1e-9)
    assert torch.allclose(distribution.log_prob(draws), log_prob, atol=1e-7)
    assert draws.requires_grad
    assert distribution.sample((0,)).shape == (0, *batch, 1, 3)


@each
def test_the_context_is_honoured_row_by_row_and_under_further_axes(flow):
    model = shaken(flow(3, context_shape=2, layers=3, hidden=6))
    x, context = normal(5, 4, 3), normal(4, 2, seed=2)
    together = model.distribution(context).log_prob(x)
    for k in range(5):
        for n in range(4):
            alone = model.log_prob(x[k, n : n + 1], context=context[n : n + 1])
            assert torch.allclose(together[k, n], alone[0], atol=1e-8)
    assert not torch.allclose(model.log_prob(x[0], context=context), model.log_prob(x[0], context=context.flip(0)))
    one_row = model.distribution(context).log_prob(x[0, 0])
    assert torch.allclose(one_row, model.log_prob(x[0, :1].expand(4, 3), context=context))


@each
@pytest.mark.parametrize("context_size", [None, 2])
def test_every_parameter_gets_a_gradient(flow, context_size):
    model = shaken(flow(4, context_shape=context_size, layers=3, hidden=12))
    context = None if context_size is None else normal(64, context_size)
    model.log_prob(normal(64, 4), context=context).mean().backward()
    for label, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, label


@each
def test_the_reparameterised_gradient_is_that_of_the_draws(flow):
    """d/dtheta of E[f(x)] through rsample against finite differences on the same noise."""
    model = shaken(flow(3, layers=2, hidden=6), 0.3)
    parameter = next(p for label, p in model.named_parameters() if label.endswith(("last.weight", "2.weight")))

    def value() -> Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            draws, log_prob = model.distribution().rsample_and_log_prob((200,))
        return (draws.sin().sum(-1) + log_prob).mean()

    (gradient,) = torch.autograd.grad(value(), parameter)
    index, step = int(gradient.abs().argmax()), 1e-6
    found = []
    for sign in (1, -1):
        with torch.no_grad():
            parameter.view(-1)[index] += sign * step
            found.append(float(value()))
            parameter.view(-1)[index] -= sign * step
    assert abs((found[0] - found[1]) / (2 * step) - float(gradient.view(-1)[index])) < 1e-5


@masked
@pytest.mark.parametrize("layers", [1, 2])
def test_gradients_show_that_each_layer_keeps_the_order(flow, layers):
    """One layer is triangular; the second takes the row from its end, and both together mix everything."""
    model = shaken(flow(5, layers=layers, hidden=24))
    maps = next(part for part in model.modules() if isinstance(part, MaskedMaps))
    jacobian = torch.autograd.functional.jacobian(lambda x: maps.forward_and_log_det(x)[0].sum(0), normal(64, 5))
    sees = (jacobian.abs() > 0).any(1)
    expected = torch.ones(5, 5, dtype=torch.bool)
    assert torch.equal(sees, expected.tril() if layers == 1 else expected)


@masked
@pytest.mark.parametrize("layers", [1, 4])
def test_number_by_number_is_the_naive_inverse_of_as_many_passes(flow, layers):
    model = shaken(flow(4, context_shape=2, layers=layers, hidden=(9, 7)))
    maps = next(part for part in model.modules() if isinstance(part, MaskedMaps))
    context, y = normal(6, 2), normal(6, 4, seed=1)
    found, _ = maps.inverse_and_log_det(y, context)
    for i in reversed(range(layers)):
        # upright for layer 0; every layer sees the one before it reversed
        y = y.flip(-1) if i + 1 < layers or layers % 2 == 0 else y
        x = torch.zeros_like(y)
        for k in range(4):
            values = maps.networks[i](x, context)
            x[:, k] = maps.map.inverse_and_log_slope(y, values)[0][:, k].detach()
        y = x
    assert torch.allclose(found, y, atol=1e-10)


@each
def test_a_copy_has_its_own_parameters(flow):
    model = shaken(flow(3, layers=2, hidden=4))
    x = normal(4, 3)
    before = model.log_prob(x)
    other = copy.deepcopy(model)
    assert torch.equal(other.log_prob(x), before)
    moved = shaken(other, seed=5).log_prob(x)
    assert not torch.allclose(moved, before)
    assert torch.equal(model.log_prob(x), before)
    model.load_state_dict(other.state_dict())
    assert torch.equal(model.log_prob(x), moved)


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_is_the_models(flow, dtype):
    model = flow((1, 2, 2), hidden=8).to(dtype)
    x = model.sample(5)
    assert x.dtype == dtype
    assert model.log_prob(x).dtype == dtype
    assert x.shape == (5, 1, 2, 2)


@each
def test_a_base_of_ones_own_is_used(flow):
    base = Gaussian(3).double()
    with torch.no_grad():
        base.parameters_of.free += normal(6)
    model = flow(3, base=base, layers=2, hidden=4).double()
    x = normal(4, 3)
    assert torch.allclose(model.log_prob(x), base.log_prob(x), atol=1e-12)


def spread_rows() -> Tensor:
    return normal(128, 6).float() * torch.tensor([0.1, 1, 3, 2, 1, 1]) + torch.tensor([0.0, 0, 0, 1, -2, 0])


@each
@pytest.mark.parametrize("layers", [20, pytest.param(32, marks=pytest.mark.slow)])
def test_deep_stacks_train_without_nan(flow, layers):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = flow(6, layers=layers, hidden=8)
    x = spread_rows()
    before = model.log_prob(x).detach()
    fit(model, x, steps=8, batch_size=64, lr=3e-3, progress=False)
    with torch.no_grad():
        after = model.log_prob(x)
        assert torch.isfinite(after).all()
        assert torch.isfinite(model.sample(100)).all()
    assert after.mean() > before.mean() + 0.3


@each
def test_outliers_have_a_finite_density_with_finite_gradients(flow):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = flow(6, hidden=16)
    x = spread_rows()
    fit(model, x, steps=15, batch_size=64, lr=1e-2, progress=False)
    far = x[:12].clone()
    far[torch.arange(12), torch.arange(12) % 6] = torch.tensor([1e6, -1e6]).repeat_interleave(6)
    log_prob = model.log_prob(far)
    assert torch.isfinite(log_prob).all()
    assert (log_prob < -1e3).all()
    log_prob.mean().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


@each
def test_a_flow_serves_as_prior_and_as_encoder_of_a_vae(flow):
    slot = partial(flow, layers=2, hidden=8)
    model = VAE(16, latent=3, hidden=(8,), prior=slot, encoder=slot)
    x = torch.bernoulli(torch.full((64, 16), 0.3), generator=torch.Generator().manual_seed(0))
    result = fit(model, x, steps=20, batch_size=32, every=10, lr=6e-3, progress=False)
    assert result.history["loss"].iloc[-1] < result.history["loss"].iloc[0]
    assert model.sample(7).shape == (7, 16)
    assert model.encode(x).shape == (64, 3)
    assert all(parameter.grad is not None for parameter in model.prior_model.parameters())


def test_a_posterior_of_iaf_is_drawn_and_scored_without_going_back(monkeypatch):
    model = VAE(16, latent=3, hidden=(8,), encoder=partial(IAF, layers=2, hidden=8))
    x = torch.bernoulli(torch.full((64, 16), 0.3), generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr("zoo.masked.MaskedNetwork.unroll", lambda *_: pytest.fail("went back number by number"))
    fit(model, x, steps=2, batch_size=32, progress=False)


def test_a_maf_learns_what_an_affine_map_is_too_stiff_for():
    """A banana, y2 ~ N(y1^2, 0.2^2): its entropy is known, and a Gaussian is 0.8 nats behind."""
    y = normal(2_000, 2)
    x = torch.stack([y[:, 0], y[:, 0].square() + 0.2 * y[:, 1]], -1).float()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MAF(2, layers=2, hidden=32)
    fit(model, x, steps=300, lr=5e-3, progress=False)
    entropy = 1 + torch.tensor(2 * torch.pi * 0.2).log()
    with torch.no_grad():
        assert -model.log_prob(x).mean() < entropy + 0.15


@each
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"event_shape": 2, "layers": 0}, "layers must be at least 1"),
        ({"event_shape": 2, "hidden": 0}, "hidden must be a width"),
        ({"event_shape": 2, "hidden": ()}, "hidden must be a width"),
        ({"event_shape": 2, "base": Bernoulli}, "Bernoulli is discrete"),
        ({"event_shape": 2, "base": Gaussian(3)}, r"event_shape \[3\]"),
    ],
)
def test_wrong_parameters_are_refused(flow, arguments, message):
    with pytest.raises(ValueError, match=message):
        flow(**arguments)


@pytest.mark.parametrize(
    ("flow", "arguments", "message"),
    [
        (SplineFlow, {"event_shape": 1}, "take AutoregressiveSplineFlow"),
        (SplineFlow, {"event_shape": 2, "bins": 0}, "bins must be from 1 to 500"),
        (AutoregressiveSplineFlow, {"event_shape": 2, "bound": -1.0}, "bound must be above 0"),
        (MAF, {"event_shape": 2, "clamp": 0.0}, "clamp must be above 0"),
        (IAF, {"event_shape": 2, "clamp": 0.0}, "clamp must be above 0"),
    ],
)
def test_a_parameter_of_the_map_that_is_wrong_is_refused(flow, arguments, message):
    with pytest.raises(ValueError, match=message):
        flow(**arguments)


@pytest.mark.parametrize("clamp", [0.3, 3.0])
def test_log_scales_are_the_clamped_tanh_of_what_the_network_says(clamp):
    map, values, x = SoftAffine(clamp).double(), 4 * normal(50, 2), normal(50, seed=1)
    shift, bend = values.unbind(-1)
    expected = clamp * (bend / clamp).tanh()
    y, log_slope = map.forward_and_log_slope(x, values)
    assert torch.allclose(log_slope, expected, atol=1e-6)  # the clamp is kept in single precision
    assert torch.allclose(y, x * expected.exp() + shift, atol=1e-4)
