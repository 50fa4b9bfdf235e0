"""The ELBO's weight on the divergence and its free nats: their formulas, their schedules, what is reported."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from inference.checkpoint import Checkpoint
from inference.fit import fit
from inference.objectives import Elbo, closed_form, sampled
from inference.schedules import warmup
from zoo.conditionals import Gaussian
from zoo.realnvp import RealNVP
from zoo.vae import VAE


def vae(**slots: Any) -> VAE:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        model = VAE(6, latent=4, hidden=(8,), **slots).double()
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.4)
    return model


def bits(n: int = 9) -> Tensor:
    return torch.rand(n, 6, generator=torch.Generator().manual_seed(2)).round().double()


def at(seed: int, objective: Elbo, model: Any, x: Tensor) -> Any:
    torch.default_generator.manual_seed(seed)
    return objective(model, x)


def each_divergence(model: VAE, x: Tensor, flat_prior: bool = True) -> Tensor:
    """KL of each number of z, [N, 4], by torch's own normals."""
    q, p = model.encoder(x), model.prior()
    prior = Normal(0.0, 1.0) if flat_prior else Normal(p.loc, p.log_scale.exp())
    return kl_divergence(Normal(q.loc, q.log_scale.exp()), prior)


@pytest.mark.parametrize("particles", [1, 3])
@pytest.mark.parametrize("kl", [closed_form, sampled])
def test_beta_weighs_the_divergence_and_nothing_else(particles: int, kl) -> None:
    model, x = vae(), bits()
    plain = at(1, Elbo(particles, kl), model, x)
    weighted = at(1, Elbo(particles, kl, beta=0.3), model, x)
    terms = weighted.terms
    torch.testing.assert_close(weighted.value, terms["reconstruction"] + 0.3 * terms["kl"])
    torch.testing.assert_close(terms["negative_elbo"], plain.terms["loss"])
    torch.testing.assert_close(terms["kl"], plain.terms["kl"])
    torch.testing.assert_close(terms["beta"], torch.tensor(0.3, dtype=torch.float64))
    parts = [Elbo(particles, kl, beta=beta) for beta in (0.0, 1e6)]
    none, much = (torch.autograd.grad(at(1, part, model, x).value, list(model.parameters())) for part in parts)
    ours = torch.autograd.grad(weighted.value, list(model.parameters()))
    for mine, without, with_much in zip(ours, none, much, strict=True):
        torch.testing.assert_close(mine, without + 0.3 * (with_much - without) / 1e6, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("prior", [None, Gaussian])
def test_free_bits_are_of_each_number_s_mean_over_the_rows(prior) -> None:
    model, x = vae(prior=prior), bits()
    each = each_divergence(model, x, prior is None).mean(0)
    free = float(each.detach().sort().values[1:3].mean())  # two numbers below it, two above
    loss = at(1, Elbo(beta=2.0, free_bits=free), model, x)
    expected = loss.terms["reconstruction"] + 2.0 * each.clamp(min=free).sum()
    torch.testing.assert_close(loss.value, expected)
    torch.testing.assert_close(loss.terms["kl"], each.sum())
    assert loss.value > loss.terms["reconstruction"] + 2.0 * loss.terms["kl"] + 1e-3
    (slope,) = torch.autograd.grad(expected, model.encoder_model.parameters_of.network[0].weight)
    (tax,) = torch.autograd.grad(
        loss.value - at(1, Elbo(), model, x).value, model.encoder_model.parameters_of.network[0].weight
    )
    (without,) = torch.autograd.grad(
        each_divergence(model, x, prior is None).mean(0).sum(), model.encoder_model.parameters_of.network[0].weight
    )
    torch.testing.assert_close(tax, slope - without)


def test_free_bits_drawn_of_each_number() -> None:
    model, x = vae(), bits()
    torch.default_generator.manual_seed(1)
    q = model.encoder(x)
    z = q.rsample((3,))
    normal = Normal(q.loc, q.log_scale.exp())
    each = (normal.log_prob(z) - Normal(0.0, 1.0).log_prob(z)).mean((0, 1))
    free = float(each.detach().sort().values[1:3].mean())
    loss = at(1, Elbo(3, sampled, free_bits=free), model, x)
    torch.testing.assert_close(loss.value, loss.terms["reconstruction"] + each.clamp(min=free).sum())


@pytest.mark.parametrize("free", [0.1, 100.0])
@pytest.mark.parametrize("slot", ["encoder", "prior"])
def test_numbers_that_hang_together_share_their_free_bits(slot: str, free: float) -> None:
    model, x = vae(**{slot: partial(RealNVP, layers=2, hidden=4)}), bits()
    loss = at(1, Elbo(free_bits=free), model, x)
    paid = loss.terms["kl"].clamp(min=4 * free)
    torch.testing.assert_close(loss.value, loss.terms["reconstruction"] + paid)
    assert (float(loss.terms["kl"]) < 4 * free) == (free == 100.0)


class Users:
    """Distributions of torch: two independent vectors of two numbers each."""

    def prior(self, context: Any = None) -> Independent:
        return Independent(MultivariateNormal(torch.zeros(2, 2).double(), torch.eye(2).double()), 1)

    def decoder(self, z: Tensor, context: Any = None) -> Independent:
        return Independent(Normal(z.flatten(1), 1.0), 1)

    def encoder(self, x: Tensor, context: Any = None) -> Independent:
        return Independent(MultivariateNormal(x.view(-1, 2, 2), 0.5 * torch.eye(2).double()), 1)


def test_vectors_of_numbers_are_groups() -> None:
    x = torch.randn(5, 4, dtype=torch.float64) * torch.tensor([0.1, 0.1, 2.0, 2.0])
    model = Users()
    each = kl_divergence(model.encoder(x).base_dist, model.prior().base_dist).mean(0)
    assert each[0] < 2 * 0.5 < each[1]
    loss = at(1, Elbo(free_bits=0.5), model, x)
    torch.testing.assert_close(loss.value, loss.terms["reconstruction"] + 2 * 0.5 + each[1])


def test_what_is_free_is_used() -> None:
    """Rows that are independent bits teach a code nothing: it collapses, unless nats are free."""
    kls = {}
    for free in (0.0, 0.3):
        model = VAE(6, latent=4, hidden=(8,))
        result = fit(model, bits(200), Elbo(free_bits=free), steps=400, lr=0.01, progress=False)
        kls[free] = each_divergence(model, bits(200).float()).mean(0).detach()
        assert {"loss", "reconstruction", "kl"} <= set(result.history.columns)
    assert kls[0.0].sum() < 0.3 < 0.8 * 4 * 0.3 < kls[0.3].sum()


def test_a_schedule_counts_the_steps_of_its_fit(tmp_path) -> None:
    objective = Elbo(beta=warmup(20), free_bits=lambda step: 0.01 * step)
    x = bits(40)
    whole = fit(vae(), x, objective, steps=24, batch_size=8, every=6, progress=False)
    assert whole.history["beta"].tolist() == pytest.approx([3.5 / 20, 9.5 / 20, 15.5 / 20, (19 + 20 * 5) / 6 / 20])
    again = fit(vae(), x, objective, steps=24, batch_size=8, every=6, progress=False)
    path = tmp_path / "half"
    fit(vae(), x, Elbo(beta=warmup(20), free_bits=lambda step: 0.01 * step), steps=11, batch_size=8, every=6,
        checkpoint=Checkpoint(path), progress=False)  # fmt: skip
    resumed = fit(vae(), x, objective, steps=24, batch_size=8, every=6, resume=path, progress=False)
    for other in (again, resumed):
        for name, tensor in whole.model.state_dict().items():
            assert torch.equal(tensor, other.model.state_dict()[name]), name
    assert resumed.history.equals(whole.history)


def test_held_out_rows_are_judged_by_the_bound_itself() -> None:
    model, x = vae(), bits()
    objective = Elbo(beta=warmup(100), free_bits=3.0)
    objective(model, x)
    torch.default_generator.manual_seed(1)
    held_out = objective.held_out(model, x)
    torch.testing.assert_close(held_out, at(1, Elbo(), model, x).value)
    assert objective.step == 1


def test_numbers_below_zero_are_refused() -> None:
    for name, given in (("beta", -0.1), ("free_bits", float("nan"))):
        with pytest.raises(ValueError, match=f"{name} must be at least 0, not {given}"):
            Elbo(**{name: given})
