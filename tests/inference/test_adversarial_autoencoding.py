"""The game over codes: its players' losses and gradients against formulas written out by hand."""

from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from inference.objectives import AdversarialAutoencoding, default_objective


class Linear:
    """z = w x + u c, p(x | z) = N(v z, 1), p(z) = N(m, 1), critic a z + b + e c: all scalars."""

    def __init__(self, conditional: bool) -> None:
        inputs = 2 if conditional else 1
        self.encoder_model = nn.Linear(inputs, 1, bias=False).double()
        self.decoder_model = nn.Linear(1, 1, bias=False).double()
        self.prior_model = nn.Linear(1, 1, bias=False).double()
        self.judge = nn.Linear(inputs, 1).double()
        self.code_critic = self._Critic(self.judge)

    class _Critic(nn.Module):
        def __init__(self, judge: nn.Module) -> None:
            super().__init__()
            self.judge = judge

        def forward(self, z: Tensor, context: Tensor | None = None) -> Tensor:
            return self.judge(z if context is None else torch.cat([z, context], -1)).squeeze(-1)

    def prior(self, context: Tensor | None = None) -> dist.TorchDistribution:
        mean = self.prior_model.weight[0]
        return dist.Normal(mean if context is None else mean.expand(len(context), 1), 1.0).to_event(1)

    def encoder(self, x: Tensor, context: Tensor | None = None) -> dist.Delta:
        return dist.Delta(self.encoder_model(x if context is None else torch.cat([x, context], -1)), event_dim=1)

    def decoder(self, z: Tensor, context: Tensor | None = None) -> dist.TorchDistribution:
        return dist.Normal(self.decoder_model(z), 1.0).to_event(1)

    def parts(self) -> dict[str, list[nn.Parameter]]:
        named = ("encoder_model", "decoder_model", "prior_model", "code_critic")
        return {name: list(getattr(self, name).parameters()) for name in named}


MOVES = {
    "autoencoder": {"encoder_model", "decoder_model"},
    "critic": {"code_critic"},
    "encoder": {"encoder_model"},
    "prior": {"prior_model"},
}


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("conditional", [False, True])
def test_each_players_loss_and_gradient_are_the_formulas_and_reach_it_alone(conditional: bool) -> None:
    model, x = Linear(conditional), torch.randn(50, 1).double()
    c = torch.randn(50, 1).double() if conditional else None
    assert isinstance(default_objective(model), AdversarialAutoencoding)
    players = {player.name: player for player in AdversarialAutoencoding().players(model)}
    assert list(players) == list(MOVES)
    inputs = x if c is None else torch.cat([x, c], -1)
    judged = lambda z: model.judge(z if c is None else torch.cat([z, c], -1)).squeeze(-1)  # noqa: E731
    z = model.encoder_model(inputs).detach()
    v, m, a = (p.weight.detach()[0, 0] for p in (model.decoder_model, model.prior_model, model.judge))
    for name, player in players.items():
        for parameters in model.parts().values():
            for parameter in parameters:
                parameter.grad = None
        torch.manual_seed(4)
        loss = player.loss(x, c)
        player.backward(loss, player.parameters)
        assert {id(p) for p in player.parameters} == {id(p) for part in MOVES[name] for p in model.parts()[part]}
        for part, parameters in model.parts().items():
            assert all((p.grad is not None) == (part in MOVES[name]) for p in parameters)
        if name == "autoencoder":
            expected = 0.5 * (x - v * z).square().mean() + 0.5 * torch.log(torch.tensor(2 * torch.pi))
            torch.testing.assert_close(model.decoder_model.weight.grad[0, 0], -((x - v * z) * z).mean())
            torch.testing.assert_close(model.encoder_model.weight.grad[0], (-(x - v * z) * v * inputs).mean(0))
        elif name == "critic":
            torch.manual_seed(4)
            drawn = model.prior(c).sample(() if conditional else (50,))
            real, fake = judged(drawn).detach(), judged(z).detach()
            expected = -real.sigmoid().log().mean() - (-fake).sigmoid().log().mean()
            slope = -(1 - real.sigmoid()) * drawn[:, 0] + fake.sigmoid() * z[:, 0]
            torch.testing.assert_close(model.judge.weight.grad[0, 0], slope.mean())
            assert loss.terms["real"] == pytest.approx(real.mean().item())
            assert loss.terms["fake"] == pytest.approx(fake.mean().item())
        elif name == "encoder":
            logits = judged(z).detach()
            expected = -logits.sigmoid().log().mean()
            pull = (-(1 - logits.sigmoid()) * a)[:, None] * inputs
            torch.testing.assert_close(model.encoder_model.weight.grad[0], pull.mean(0))
        else:
            expected = 0.5 * (z - m).square().mean() + 0.5 * torch.log(torch.tensor(2 * torch.pi))
            torch.testing.assert_close(model.prior_model.weight.grad[0, 0], (m - z).mean())
        torch.testing.assert_close(loss.value.detach(), expected.double(), rtol=1e-6, atol=1e-9)


def test_what_is_held_out_is_the_reconstruction() -> None:
    model, x = Linear(False), torch.randn(20, 1).double()
    expected = -model.decoder(model.encoder_model(x)).log_prob(x).mean()
    torch.testing.assert_close(AdversarialAutoencoding().held_out(model, x), expected)
