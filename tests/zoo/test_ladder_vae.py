"""The ladder: its chain against a second writing of it, its bound against Pyro's, its likelihood against quadrature."""

import math
from functools import partial

import pyro
import pytest
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from inference import fit, query
from inference.likelihood import ElboBound, ImportanceWeighted, log_likelihood
from inference.objectives import Elbo, PyroElbo, closed_form, default_objective, layered, sampled
from inference.objectives.divergences import by_layer
from inference.schedules import warmup
from zoo.conditionals import HomoscedasticGaussian
from zoo.ladder_vae import LadderVAE
from zoo.realnvp import RealNVP
from zoo.vae import VAE


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def build(latent=(3, 2, 2), context: int | None = None, scale: float = 0.3, **kwargs) -> LadderVAE:
    model = LadderVAE((2, 2), latent=latent, hidden=(6,), context_shape=context, **kwargs).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return model


def rows(n: int, context: int | None = None) -> tuple[Tensor, Tensor | None]:
    x = torch.rand(n, 2, 2).round().double()
    return x, None if context is None else torch.randn(n, context, dtype=torch.float64)


def normal(parameters: Tensor) -> Normal:
    loc, log_scale = parameters.chunk(2, -1)
    return Normal(loc, log_scale.exp())


def by_hand(model: LadderVAE, x: Tensor, c: Tensor | None, z: list[Tensor]) -> tuple[list[Normal], list[Normal]]:
    """Each layer's q(z_l | z_(l+1), x) and p(z_l | z_(l+1)), as the paper writes them."""
    joined = partial(torch.cat, dim=-1)
    up, seen = (x.flatten(1) if c is None else joined([x.flatten(1), c])), []
    for rung in model.rungs:
        up = rung.up(up)
        seen.append(normal(rung.seen(up)))
    q, p = [seen[-1]], [Normal(torch.zeros_like(z[-1]), 1.0)]
    for i in reversed(range(len(z) - 1)):
        rung, here, above = model.rungs[i], seen[i], z[i + 1]
        told = normal(rung.down(above if c is None else joined([above, c])))
        q.insert(0, Normal(told.loc + told.scale * here.loc, told.scale * here.scale))
        p.insert(0, told)
    return q, p


@pytest.mark.parametrize("context", [None, 3])
def test_the_chain_is_the_papers(context) -> None:
    model, (x, c) = build(context=context), rows(7, context)
    q, p = model.encoder(x, c), model.prior(c)
    z = q.rsample()
    parts = list(z.split([3, 2, 2], -1))
    hand_q, hand_p = by_hand(model, x, c, parts)
    total_q = sum(r.log_prob(part).sum(-1) for r, part in zip(hand_q, parts, strict=True))
    total_p = sum(r.log_prob(part).sum(-1) for r, part in zip(hand_p, parts, strict=True))
    torch.testing.assert_close(q.log_prob(z), total_q)
    torch.testing.assert_close(p.log_prob(z), total_p)
    each = [kl_divergence(one, other).sum(-1) for one, other in zip(hand_q, hand_p, strict=True)]
    torch.testing.assert_close(by_layer(q, p, z), torch.stack(each, -1))
    torch.testing.assert_close(layered(q, p, z), sum(each))


def test_draws_follow_the_density_that_is_claimed() -> None:
    model, (x, _) = build(latent=(1, 1), scale=0.6), rows(1)
    for chain in (model.encoder(x), model.prior().expand([1])):
        grid = torch.linspace(-12, 12, 601).double()
        mass = chain.log_prob(torch.cartesian_prod(grid, grid).view(-1, 1, 2)).exp() * (24 / 600) ** 2
        torch.testing.assert_close(mass.sum(), torch.ones(()).double(), atol=1e-4, rtol=0)
        points = torch.cartesian_prod(grid, grid)
        mean = mass.flatten() @ points
        product = mass.flatten() @ points.prod(-1)
        drawn = chain.sample((40_000,))[:, 0]
        assert (drawn.mean(0) - mean).abs().max() < 5 * float(drawn.std(0).max()) / 200
        assert abs(drawn.prod(-1).mean() - product) < 5 * float(drawn.prod(-1).std()) / 200


def loss_and_gradients(objective, model: LadderVAE, x: Tensor, c: Tensor | None) -> tuple[Tensor, list[Tensor]]:
    model.zero_grad()
    torch.manual_seed(3)
    loss = objective(model, x, c).value
    return loss.detach(), list(torch.autograd.grad(loss, list(model.parameters())))


@pytest.mark.parametrize("prior", [None, partial(RealNVP, layers=2, hidden=4)])
@pytest.mark.parametrize("context", [None, 3])
def test_the_direct_bound_is_pyros_with_a_site_a_layer(context, prior) -> None:
    model, (x, c) = build(context=context, prior=prior), rows(9, context)
    given = {} if c is None else {"context": c}
    sites = poutine.trace(model.guide).get_trace(x, **given).stochastic_nodes
    assert set(sites) - {"data"} == {"z_0", "z_1", "z_2"}
    direct, gradients = loss_and_gradients(Elbo(kl=sampled), model, x, c)
    through_pyro, pyros = loss_and_gradients(PyroElbo(), model, x, c)
    torch.testing.assert_close(direct, through_pyro)
    for ours, theirs in zip(gradients, pyros, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_layer_by_layer_it_is_the_same_bound_with_less_noise() -> None:
    model, (x, _) = build(), rows(20)
    assert default_objective(model).kl is layered
    with torch.no_grad():
        ours = torch.stack([Elbo(kl=layered)(model, x).value for _ in range(500)])
        theirs = torch.stack([Elbo(kl=sampled)(model, x).value for _ in range(500)])
    assert abs(ours.mean() - theirs.mean()) < 4 * math.hypot(ours.std(), theirs.std()) / 500**0.5
    assert ours.std() < 0.8 * theirs.std()


def test_importance_weights_find_the_exact_likelihood_and_the_posterior_of_each_layer() -> None:
    model, (x, _) = build(latent=(1, 1), scale=0.5), rows(4)
    with torch.no_grad():
        for rung in model.rungs:  # wide proposals, whose weights are good
            rung.seen.weight.mul_(0.1)
            rung.seen.bias.copy_(torch.tensor([0.0, 1.0]))
    grid = torch.linspace(-9, 9, 401).double()
    z = torch.cartesian_prod(grid, grid)
    joint = model.decoder(z).log_prob(x[:, None].expand(-1, len(z), 2, 2)) + model.prior().log_prob(z)
    joint = (joint + 2 * math.log(18 / 400)).detach()
    exact = joint.logsumexp(-1)
    bound = log_likelihood(model, x, method=ElboBound(4000))
    weighted = log_likelihood(model, x, method=ImportanceWeighted(10_000))
    assert (bound.values < exact).all()
    assert ((weighted.values - exact).abs() < 5 * weighted.standard_error + 1e-4).all()
    answer = query(model, ["z_0", "z_1"], given={"x": x}, draws=10_000)
    for layer, site in enumerate(("z_0", "z_1")):
        found = torch.tensor(answer[site].values)[:, 0]
        mean = joint.softmax(-1) @ z[:, layer]
        spread = (joint.softmax(-1) @ z[:, layer].square() - mean.square()).sqrt()
        assert ((found[:, 0] - mean).abs() < 6 * found[:, 2]).all()
        assert ((found[:, 1] - spread).abs() < 0.05 * spread).all()


def test_a_layer_of_which_x_says_nothing_is_left_as_the_model_has_it() -> None:
    model, (x, _) = build(latent=(2, 2)), rows(5)
    with torch.no_grad():
        model.rungs[0].seen.weight.zero_()
        model.rungs[0].seen.bias.zero_()
        chain = model.encoder(x)
        z = chain.rsample()
        divergence = by_layer(chain, model.prior(), z)
    assert torch.isfinite(chain.log_prob(z)).all()
    torch.testing.assert_close(divergence[:, 0], torch.zeros(5).double())
    assert (divergence[:, 1] > 0).all()


def test_it_is_fitted_with_a_warm_up_and_real_numbers_take_another_decoder() -> None:
    model = LadderVAE(3, latent=(2, 1), hidden=(8,), decoder=HomoscedasticGaussian)
    x = torch.randn(200, 1) @ torch.randn(1, 3) + 0.1 * torch.randn(200, 3)
    before = log_likelihood(model, x)
    done = fit(model, x, Elbo(kl=layered, beta=warmup(100)), steps=300, lr=0.01, progress=False)
    assert log_likelihood(model, x).mean > before.mean + 1.0
    assert done.history["loss"].notna().all()
    assert model.encode(x).shape == (200, 3)
    assert model.reconstruct(x).shape == x.shape


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"two layers or more, each at least 1, not \(4,\)"):
        LadderVAE(4, latent=(4,))
    with pytest.raises(ValueError, match="two layers or more, each at least 1, not 4"):
        LadderVAE(4, latent=4)
    with pytest.raises(ValueError, match="hidden must name at least one width"):
        LadderVAE(4, hidden=())
    with pytest.raises(ValueError, match=r"ask query\(model, 'z_0'"):
        query(LadderVAE(4), "z", given={"x": torch.zeros(2, 4)})
    with pytest.raises(TypeError, match="layered is the divergence of latents in layers"):
        Elbo(kl=layered)(VAE(4, latent=2), torch.zeros(2, 4))
    assert pyro.get_param_store().keys() == set()
    assert closed_form is not layered
