"""The non-saturating game, its gradients against formulas written out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from inference.fit import fit
from inference.objectives import NonSaturating, default_objective
from zoo.gan import GAN


class Line:
    """A generator w z + v c and a critic a x + b + e c, all scalars: gradients can be written down."""

    def __init__(self, conditional: bool = False) -> None:
        self.generator = nn.Linear(2 if conditional else 1, 1, bias=False).double()
        self.critic_part = nn.Linear(2 if conditional else 1, 1).double()
        self.drawn: list[Tensor] = []

    def critic(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.critic_part(x if context is None else torch.cat([x, context], -1)).squeeze(-1)

    def noise(self, n: int) -> Tensor:
        self.drawn.append(torch.randn(n, 1, dtype=torch.float64))
        return self.drawn[-1]

    def generate(self, noise: Tensor, context: Tensor | None = None) -> Tensor:
        return self.generator(noise if context is None else torch.cat([noise, context], -1))


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("conditional", [False, True])
def test_the_generators_gradient_is_that_of_the_formula(conditional):
    model = Line(conditional)
    context = torch.randn(50, 1, dtype=torch.float64) if conditional else None
    loss = NonSaturating().generator_loss(model, torch.randn(50, 1, dtype=torch.float64), context)
    loss.value.backward(inputs=list(model.generator.parameters()))
    inputs = model.drawn[-1] if context is None else torch.cat([model.drawn[-1], context], -1)
    with torch.no_grad():
        logits = model.critic(model.generator(inputs), context)
        a = model.critic_part.weight[0, 0]
        # d/dw of mean -log sigmoid(c(g)) is mean -(1 - sigmoid(c)) a z
        expected = (-(1 - logits.sigmoid()) * a)[:, None] * inputs
        assert torch.allclose(model.generator.weight.grad, expected.mean(0, keepdim=True))
        assert torch.allclose(loss.value, -logits.sigmoid().log().mean())
    assert model.critic_part.weight.grad is None


@pytest.mark.parametrize("conditional", [False, True])
def test_the_critics_gradient_is_that_of_the_formula(conditional):
    model = Line(conditional)
    x = torch.randn(50, 1, dtype=torch.float64) + 2
    context = torch.randn(50, 1, dtype=torch.float64) if conditional else None
    loss = NonSaturating().critic_loss(model, x, context)
    loss.value.backward(inputs=list(model.critic_part.parameters()))
    with torch.no_grad():
        made = model.generate(model.drawn[-1], context)
        real, fake = model.critic(x, context), model.critic(made, context)
        rows = (x, made) if context is None else (torch.cat([x, context], -1), torch.cat([made, context], -1))
        weight = (-(1 - real.sigmoid())[:, None] * rows[0]).mean(0) + (fake.sigmoid()[:, None] * rows[1]).mean(0)
        bias = -(1 - real.sigmoid()).mean() + fake.sigmoid().mean()
        assert torch.allclose(model.critic_part.weight.grad[0], weight)
        assert torch.allclose(model.critic_part.bias.grad[0], bias)
        assert torch.allclose(loss.value, -real.sigmoid().log().mean() - (1 - fake.sigmoid()).log().mean())
        assert torch.allclose(loss.terms["real"], real.mean())
        assert torch.allclose(loss.terms["fake"], fake.mean())
    assert model.generator.weight.grad is None


def test_a_networks_generator_gradient_is_the_chain_rule_through_x():
    model = GAN((2, 2), latent=3, hidden=(6,), bounds=(0.0, 1.0)).double().eval()
    noise = torch.randn(9, 3, dtype=torch.float64)
    model.noise = lambda n: noise
    players = {player.name: player for player in NonSaturating().players(model)}
    player = players["generator"]
    player.backward(player.loss(torch.zeros(9, 2, 2), None), player.parameters)

    made = model.generate(noise).detach().requires_grad_()
    logits = model.critic(made)
    slope = torch.autograd.grad(logits.sum(), made)[0]  # d logit / d x, row by row
    by_x = -(1 - logits.detach().sigmoid())[:, None, None] * slope / 9
    expected = torch.autograd.grad(model.generate(noise), list(model.generator.parameters()), by_x)
    for parameter, gradient in zip(model.generator.parameters(), expected, strict=True):
        assert torch.allclose(parameter.grad, gradient, atol=1e-12)
    assert all(parameter.grad is None for parameter in model.critic.parameters())


def test_a_players_gradient_leaves_the_others_as_they_are():
    model = GAN(3, latent=2, hidden=(4,))
    for player in NonSaturating().players(model):
        model.zero_grad()
        player.backward(player.loss(torch.randn(5, 3), None), player.parameters)
        mine = set(map(id, player.parameters))
        for name, parameter in model.named_parameters():
            assert (parameter.grad is not None) == (id(parameter) in mine), name


def test_the_generator_moves_every_so_many_steps_only():
    model = GAN(2, hidden=(4,))
    start = [p.detach().clone() for p in model.generator.parameters()]
    critic = [p.detach().clone() for p in model.critic.parameters()]
    fit(model, torch.randn(32, 2), NonSaturating(generator_every=5), steps=4, batch_size=16, progress=False)
    assert all(torch.equal(a, b) for a, b in zip(start, model.generator.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(critic, model.critic.parameters(), strict=True))
    with pytest.raises(ValueError, match="generator_every must be at least 1"):
        NonSaturating(generator_every=0)


def test_a_conditional_game_learns_where_each_context_lies():
    context = torch.randint(2, (512, 1)).float()
    x = torch.randn(512, 2) * 0.3 + torch.cat([4 * context - 2, 1 - 2 * context], -1)
    model = GAN(2, context_shape=1, latent=2, hidden=(32, 32), gain=3.0)
    assert isinstance(default_objective(model), NonSaturating)
    result = fit(
        model,
        {"x": x, "context": context},
        steps=400,
        lr={"critic": 4e-3, "generator": 2e-3},
        optimizer=lambda parameters, lr: torch.optim.Adam(parameters, lr=lr, betas=(0.0, 0.9)),
        progress=False,
    )
    assert {"critic.loss", "critic.real", "critic.fake", "generator.loss"} <= set(result.history.columns)
    for value, centre in ((0.0, [-2.0, 1.0]), (1.0, [2.0, -1.0])):
        drawn = model.sample(400, context=torch.tensor([[value]]))
        assert (drawn.mean(0) - torch.tensor(centre)).abs().max() < 0.8


def test_there_is_no_held_out_value():
    with pytest.raises(TypeError, match="adversarial loss of GAN is relative to its critic and has no held-out value"):
        NonSaturating().held_out(GAN(2), torch.zeros(3, 2))
