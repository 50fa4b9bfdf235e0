"""alpha-GAN's players: losses and gradients against formulas written out by hand; the code critic's ratio is a KL."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from inference.objectives import AutoEncodingGAN, default_objective
from zoo.alpha_gan import AlphaGAN

MOVES = {"encoder": "encoder_model", "generator": "generator", "critic": "critic", "code_critic": "code_critic"}


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Judge(nn.Module):
    """Logits a . tanh(v x) + b, of x joined with the context."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width, 3), nn.Tanh(), nn.Linear(3, 1))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.net(x if context is None else torch.cat([x, context], -1)).squeeze(-1)


def build(context: int | None, **told: object) -> AlphaGAN:
    extra = context or 0
    judges = {"critic": Judge(3 + extra), "code_critic": Judge(2 + extra)}
    return AlphaGAN(3, latent=2, hidden=(4,), context_shape=context, **judges, **told).double()  # type: ignore[arg-type]


def by_hand(model: AlphaGAN, name: str, x: Tensor, c: Tensor | None, weight: float) -> Tensor:
    """The loss of a player, with the codes and the noise each written through its networks one by one."""
    also = () if c is None else (c,)
    z = model.encoder_model(x, *also)
    noise = torch.randn(len(x), 2, dtype=torch.float64)
    write = lambda z: 0.5 + 2 * model.generator(z, *also).sigmoid()  # noqa: E731
    rebuilt, made = write(z if name == "encoder" else z.detach()), write(noise)
    real = lambda x: model.critic(x, *also).sigmoid()  # noqa: E731
    prior = lambda z: model.code_critic(z, *also).sigmoid()  # noqa: E731
    error = weight * sum((x[:, i] - rebuilt[:, i]).abs().mean() for i in range(3))
    if name == "encoder":
        return error + (-prior(z).log() + (1 - prior(z)).log()).mean()
    if name == "generator":
        return error + sum((-real(y).log() + (1 - real(y)).log()).mean() for y in (rebuilt, made))
    if name == "critic":
        return -(real(x).log() + (1 - real(rebuilt)).log() + (1 - real(made)).log()).mean()
    return -(prior(noise).log() + (1 - prior(z)).log()).mean()


@pytest.mark.parametrize("context", [None, 2])
def test_each_players_loss_is_the_formula_and_its_gradient_reaches_it_alone(context: int | None) -> None:
    model, x = build(context, bounds=(0.5, 2.5)), 0.5 + 2 * torch.rand(40, 3).double()
    c = None if context is None else torch.randn(40, context).double()
    objective = AutoEncodingGAN(weight=3.0)
    assert isinstance(default_objective(model), AutoEncodingGAN)
    assert [player.name for player in objective.players(model)] == list(MOVES)
    for player in objective.players(model):
        for parameter in model.parameters():
            parameter.grad = None
        torch.manual_seed(7)
        loss = player.loss(x, c)
        player.backward(loss, player.parameters)
        mine = {id(p) for p in getattr(model, MOVES[player.name]).parameters()}
        assert {id(p) for p in player.parameters} == mine
        assert all((p.grad is not None) == (id(p) in mine) for p in model.parameters())
        torch.manual_seed(7)
        expected = by_hand(model, player.name, x, c, 3.0)
        torch.testing.assert_close(loss.value, expected)
        for one, other in zip(player.parameters, torch.autograd.grad(expected, player.parameters), strict=True):
            torch.testing.assert_close(one.grad, other)


def test_the_terms_are_what_they_are_called() -> None:
    model, x = build(None), torch.randn(40, 3).double()
    objective, z = AutoEncodingGAN(weight=2.0), model.encode(x)
    terms = objective.encoder_loss(model, x).terms
    assert terms["ratio"] == pytest.approx(-model.code_critic(z).mean().item())
    assert terms["reconstruction"] == pytest.approx(2 * (x - model.reconstruct(x)).abs().sum(1).mean().item())
    torch.manual_seed(5)
    rows = objective.critic_loss(model, x).terms
    torch.manual_seed(5)
    codes = objective.code_critic_loss(model, x).terms
    torch.manual_seed(5)
    noise = torch.randn(40, 2, dtype=torch.float64)
    assert rows["real"] == pytest.approx(model.critic(x).mean().item())
    assert rows["rebuilt"] == pytest.approx(model.critic(model.reconstruct(x)).mean().item())
    assert rows["fake"] == pytest.approx(model.critic(model.generate(noise)).mean().item())
    assert codes["real"] == pytest.approx(model.code_critic(noise).mean().item())
    assert codes["fake"] == pytest.approx(model.code_critic(z).mean().item())


class Quadratic(nn.Module):
    """The family of logits that holds the log ratio of any two normals: a + b z + c z^2 in each number of z."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(2 * width, 1).double()

    def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return self.layer(torch.cat([z, z.square()], -1)).squeeze(-1)


def test_the_best_code_critics_ratio_is_the_kl_of_the_codes_from_the_noise() -> None:
    """Codes m + s x of standard normal rows are N(m, s^2), whose KL from N(0, 1) has a closed form."""
    mean, scale = torch.tensor([0.8, -0.3]).double(), torch.tensor([0.5, 1.4]).double()
    critic, zero = Quadratic(2), torch.zeros(()).double()
    stub = SimpleNamespace(
        code_critic=critic,
        code=lambda x, context=None: mean + scale * x,
        noise=lambda n: torch.randn(n, 2).double(),
        generate=lambda z, context=None: z * zero,
    )
    objective = AutoEncodingGAN(weight=1.0)
    optimizer = torch.optim.LBFGS(critic.parameters(), max_iter=100, line_search_fn="strong_wolfe")
    x = torch.randn(50_000, 2).double()

    def closure() -> Tensor:
        torch.manual_seed(1)
        optimizer.zero_grad()
        loss = objective.code_critic_loss(stub, x).value
        loss.backward()
        return loss

    optimizer.step(closure)
    kl = (0.5 * (mean.square() + scale.square() - 1) - scale.log()).sum().item()
    ratio = objective.encoder_loss(stub, x).terms["ratio"].item()
    assert ratio == pytest.approx(kl, abs=0.03)
    # a critic that errs by less than the game can see; the wrong sign, or codes taken for noise, is off by far more
    assert kl > 0.5


def test_a_critic_that_can_tell_nothing_gives_log_two_for_each_kind_of_row() -> None:
    model, x = build(None), torch.randn(40, 3).double()
    with torch.no_grad():
        for judge in (model.critic, model.code_critic):
            judge.net[-1].weight.zero_()
            judge.net[-1].bias.zero_()
    objective = AutoEncodingGAN()
    assert objective.critic_loss(model, x).value.item() == pytest.approx(3 * math.log(2))
    assert objective.code_critic_loss(model, x).value.item() == pytest.approx(2 * math.log(2))


def test_there_is_no_held_out_value_and_no_weight_of_nothing() -> None:
    with pytest.raises(TypeError, match="AlphaGAN minimises is relative to its critics"):
        AutoEncodingGAN().held_out(build(None), torch.zeros(4, 3))
    with pytest.raises(ValueError, match="weight must be above 0, not 0"):
        AutoEncodingGAN(0.0)
