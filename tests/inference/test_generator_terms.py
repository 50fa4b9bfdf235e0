"""Terms of a generator's loss beside its game: feature matching, historical averaging, one of one's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inference.fit import fit
from inference.objectives import FeatureMatching, Hinge, HistoricalAveraging
from zoo.gan import GAN

pytestmark = pytest.mark.filterwarnings("ignore::inference.results.Alarm")  # a few steps teach nobody

DOUBLE = torch.float64


class Featured(nn.Module):
    """A critic whose features are F [x, e]; its answer is their sum."""

    def __init__(self, size: int, out: int = 3) -> None:
        super().__init__()
        self.layer = nn.Linear(size, out, bias=False)

    def features(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.layer(x if context is None else torch.cat([x, context], -1))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.features(x, context).sum(-1)


def linear(conditional: bool) -> GAN:
    """x = G z, whose gradients can be written down."""

    def generator(event_shape: torch.Size, *, context_shape: Any, latent: int) -> nn.Module:
        return Made(latent, event_shape.numel())

    context_shape = 1 if conditional else None
    return GAN(2, context_shape=context_shape, latent=2, generator=generator, critic=Featured(2 + conditional)).double()


class Made(nn.Linear):
    def __init__(self, latent: int, size: int) -> None:
        super().__init__(latent, size, bias=False)

    def forward(self, noise: Tensor, context: Tensor | None = None) -> Tensor:
        return super().forward(noise)


@pytest.mark.parametrize("conditional", [False, True])
def test_feature_matching_is_the_square_of_the_gap_of_means(conditional):
    """Of linear features, |F (mean x - G mean z)|^2, whose gradient by G is -2 F' F (mean x - G mean z) mean z'."""
    model, term = linear(conditional), FeatureMatching(0.7)
    x, noise = torch.randn(8, 2, dtype=DOUBLE), torch.randn(8, 2, dtype=DOUBLE)
    context = torch.randn(8, 1, dtype=DOUBLE) if conditional else None
    term.prepare(model)
    value = term(model, model.generate(noise, context), x, context)
    with torch.no_grad():
        f, g = model.critic.layer.weight[:, :2], model.generator.weight
        gap = f @ (x.mean(0) - g @ noise.mean(0))
        slope = -2 * 0.7 * torch.outer(f.T @ gap, noise.mean(0))
    assert torch.allclose(value, 0.7 * gap.square().sum())
    assert torch.allclose(torch.autograd.grad(value, model.generator.weight)[0], slope)


def test_feature_matching_leaves_the_features_to_the_game():
    model = linear(False)
    game = Hinge(also=[FeatureMatching()])
    for player in game.players(model):
        model.zero_grad()
        loss = player.loss(torch.randn(6, 2, dtype=DOUBLE), None)
        player.backward(loss, player.parameters)
        assert ("feature_matching" in loss.terms) == (player.name == "generator")
        assert (model.critic.layer.weight.grad is None) == (player.name == "generator")


def test_feature_matching_asks_for_features():
    with pytest.raises(TypeError, match=r"asks for critic.features\(x\[, context\]\).*which Linear does not have"):
        fit(GAN(2, critic=nn.Linear(2, 1)), torch.zeros(4, 2), Hinge(also=[FeatureMatching()]), steps=1)


@pytest.mark.parametrize("player", ["generator", "critic"])
def test_historical_averaging_is_the_distance_from_the_mean_of_what_was(player):
    model, term = GAN(2, latent=2, hidden=(3,)).double(), HistoricalAveraging(0.3)
    term.prepare(model)
    parameters = list(getattr(model, player).parameters())
    history: list[Tensor] = []
    for _ in range(5):
        with torch.no_grad():
            for parameter in parameters:
                parameter.add_(torch.randn_like(parameter))
        now = torch.cat([p.detach().flatten() for p in parameters])
        history.append(now)
        value = term.of_critic(model) if player == "critic" else term(model, now, now, None)
        gap = now - torch.stack(history).mean(0)
        assert torch.allclose(value, 0.3 * gap.square().sum())
        slopes = torch.autograd.grad(value, parameters)
        assert torch.allclose(torch.cat([s.flatten() for s in slopes]), 2 * 0.3 * gap)


def test_the_averages_are_buffers_of_the_objective():
    model, game = GAN(2, latent=2, hidden=(3,)), Hinge(also=[HistoricalAveraging()])
    fit(model, torch.randn(8, 2), game, steps=3, batch_size=8, progress=False)
    state = dict(game.named_buffers())
    assert set(state) <= set(game.state_dict())
    sizes = [p.numel() for p in (*model.generator.parameters(), *model.critic.parameters())]
    assert sum(value.numel() for value in state.values()) == sum(sizes) + 2  # and each player's count of steps
    assert float(state["stateful.0.generator_steps"]) == 3.0
    assert all(buffer.dtype == DOUBLE for buffer in game.double().buffers())
    small = GAN(1, latent=1, hidden=())
    fit(small, torch.randn(8, 1), game, steps=1, progress=False)  # another model: a history of its own
    assert float(game.state_dict()["stateful.0.critic_steps"]) == 1.0
    assert len(list(game.buffers())) == sum(1 for _ in small.parameters()) + 2


class Small:
    """Somebody's own term: made rows are to be small."""

    name = "size"

    def __call__(self, model: Any, made: Tensor, x: Tensor, context: Tensor | None) -> Tensor:
        return 3 * made.abs().mean()


def test_a_term_of_ones_own_is_added_and_reported_by_its_name():
    model = GAN(2, latent=2, hidden=(3,))
    x = torch.randn(6, 2)
    state = torch.get_rng_state()
    loss = Hinge(also=[Small()]).generator_loss(model, x)
    torch.set_rng_state(state)
    made = model.generate(model.noise(6)).detach()
    model.eval()
    assert torch.allclose(loss.terms["size"], 3 * made.abs().mean())
    assert torch.allclose(loss.value, 3 * made.abs().mean() - model.critic(made).mean(), atol=1e-2)
    history = fit(model, x, Hinge(also=[Small()]), steps=2, progress=False).history
    assert {"generator.size", "generator.loss", "critic.loss"} <= set(history.columns)


@pytest.mark.parametrize("make", [FeatureMatching, HistoricalAveraging])
def test_a_weight_is_above_0(make):
    with pytest.raises(ValueError, match="weight must be above 0, not -1"):
        make(-1.0)
