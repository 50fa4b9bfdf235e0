"""VAE-GAN's players: losses and gradients against formulas written out by hand; its pair against Pyro."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from inference import fit
from inference.likelihood import log_likelihood
from inference.objectives import Elbo, LearnedSimilarity, PyroElbo, default_objective
from zoo.vae_gan import VAEGAN

MOVES = {"encoder": "encoder_model", "generator": "generator", "critic": "critic"}


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Judge(nn.Module):
    """Features v x, two of them, and logits a . features + b."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(width, 2, bias=False), nn.Linear(2, 1)

    def features(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.first(x if context is None else torch.cat([x, context], -1))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.last(self.features(x, context)).squeeze(-1)


def build(context: int | None) -> VAEGAN:
    return VAEGAN(3, latent=2, hidden=(4,), critic=Judge(3 + (context or 0)), context_shape=context).double()


def draws(model: VAEGAN, x: Tensor, c: Tensor | None) -> SimpleNamespace:
    """What the generator's and the critic's losses draw, in their order."""
    drawn = model.prior(c).sample() if c is not None else model.prior().sample((len(x),))
    inputs = x if c is None else torch.cat([x, c], -1)
    q = model.encoder_model.distribution(inputs)
    z = q.loc + q.log_scale.exp() * torch.randn_like(q.loc)
    write = (lambda z: model.generator(z)) if c is None else (lambda z: model.generator(z, c))
    return SimpleNamespace(rebuilt=write(z.detach()), made=write(drawn))


@pytest.mark.parametrize("context", [None, 2])
def test_each_players_loss_is_the_formula_and_its_gradient_reaches_it_alone(context) -> None:
    model, x = build(context), torch.randn(40, 3).double()
    c = None if context is None else torch.randn(40, context).double()
    objective = LearnedSimilarity(precision=3.0, weight=0.3)
    assert isinstance(default_objective(model), LearnedSimilarity)
    judge = model.critic
    for player in objective.players(model):
        for parameter in model.parameters():
            parameter.grad = None
        torch.manual_seed(7)
        loss = player.loss(x, c)
        player.backward(loss, player.parameters)
        mine = {id(p) for p in getattr(model, MOVES[player.name]).parameters()}
        assert {id(p) for p in player.parameters} == mine
        assert all((p.grad is not None) == (id(p) in mine) for p in model.parameters())
        got = [p.grad.clone() for p in player.parameters]
        torch.manual_seed(7)
        if player.name == "encoder":
            q = model.encoder_model.distribution(x if c is None else torch.cat([x, c], -1))
            z = q.loc + q.log_scale.exp() * torch.randn_like(q.loc)
            kl = 0.5 * (q.loc**2 + (2 * q.log_scale).exp() - 1 - 2 * q.log_scale).sum(-1).mean()
            rebuilt = model.generator(z) if c is None else model.generator(z, c)
            expected = kl + 1.5 * (judge.features(x, c) - judge.features(rebuilt, c)).square().sum(-1).mean()
            assert loss.terms["kl"] == pytest.approx(kl.item())
        else:
            rows = draws(model, x, c)
            s = 1.5 * (judge.features(x, c) - judge.features(rows.rebuilt, c)).square().sum(-1).mean()
            of = {name: judge(value, c).sigmoid() for name, value in vars(rows).items()}
            if player.name == "generator":
                expected = 0.3 * s - of["rebuilt"].log().mean() - of["made"].log().mean()
            else:
                expected = -judge(x, c).sigmoid().log().mean() - sum((1 - each).log().mean() for each in of.values())
                assert loss.terms["real"] == pytest.approx(judge(x, c).mean().item())
        torch.testing.assert_close(loss.value, expected)
        for one, other in zip(got, torch.autograd.grad(expected, player.parameters), strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("context", [None, 2])
def test_the_pair_is_true_to_the_declared_density(context) -> None:
    model, x = VAEGAN(3, latent=2, hidden=(4,), scale=0.5, context_shape=context).double(), torch.randn(9, 3).double()
    model.eval()
    c = None if context is None else torch.randn(9, context).double()
    found = []
    for objective in (Elbo(kl=lambda q, p, z, log_q: q.log_prob(z) - p.log_prob(z)), PyroElbo()):
        torch.manual_seed(3)
        found.append(objective(model, x, c).value.detach())
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)
    z = torch.randn(9, 2).double()
    mean = model.generator(z) if c is None else model.generator(z, c)
    normal = torch.distributions.Normal(mean, 0.5).log_prob(x).sum(-1)
    torch.testing.assert_close(model.decoder(z, c).log_prob(x), normal)
    assert log_likelihood(model, x, context=c).kind == "lower bound"


def test_the_features_are_the_critics_and_no_steeper_than_gain() -> None:
    model = VAEGAN((2, 2), latent=2, hidden=(6, 5), gain=4.0)
    x, y = torch.randn(30, 2, 2), torch.randn(30, 2, 2)
    for _ in range(50):
        model.critic(x)
    model.eval()
    features = model.critic_features(x)
    assert features.shape == (30, 5)
    torch.testing.assert_close(model.critic.network[-1](features).squeeze(-1), model.critic(x) + _scaled_bias(model))
    apart = (features - model.critic_features(y)).norm(dim=1)
    assert (apart <= 4.0 * 1.02 * (x - y).flatten(1).norm(dim=1)).all()


def _scaled_bias(model: VAEGAN) -> Tensor:
    """The logit is gain (w f + b), of which w (gain f) + b lacks (gain - 1) b."""
    return (1 - model.critic.gain) * model.critic.network[-1].bias


def test_it_learns_two_clusters_and_has_no_held_out_value() -> None:
    x = torch.randn(512, 2) * 0.1 + torch.where(torch.rand(512, 1) < 0.5, 1.0, -1.0)
    model = VAEGAN(2, latent=2, hidden=(32,), scale=0.1)
    history = fit(model, x, steps=150, lr=3e-3, every=50, progress=False).history
    assert {"encoder.similarity", "encoder.kl", "generator.loss", "critic.rebuilt"} <= set(history.columns)
    rebuilt = model.reconstruct(x)
    assert (rebuilt.sign() == x.sign()).float().mean() > 0.95
    with pytest.raises(TypeError, match="VAEGAN minimises is relative to its critic"):
        LearnedSimilarity().held_out(model, x)
    with pytest.raises(ValueError, match="weight must be above 0"):
        LearnedSimilarity(weight=0.0)
    with pytest.raises(ValueError, match="precision must be above 0"):
        LearnedSimilarity(precision=-1.0)
    with pytest.raises(ValueError, match="scale must be above 0"):
        VAEGAN(2, scale=0.0)
