"""Penalties of a critic's slope: closed forms, slopes written out by hand, and the points they are taken at."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from inference.descent import descent
from inference.fit import fit
from inference.objectives import R1, GradientPenalty, HistoricalAveraging, Wasserstein
from zoo.gan import GAN

pytestmark = pytest.mark.filterwarnings("ignore::inference.results.Alarm")  # a few steps teach nobody

DOUBLE = torch.float64


class Recorded(nn.Module):
    """c(x, e) = v tanh(W x + U e) + b, what it was called with kept."""

    def __init__(self, size: int, context_size: int = 1, hidden: int = 5) -> None:
        super().__init__()
        shapes = {"v": (hidden,), "w": (hidden, size), "u": (hidden, context_size)}
        self.parts = nn.ParameterDict({k: nn.Parameter(torch.randn(*s, dtype=DOUBLE)) for k, s in shapes.items()})
        self.calls: list[tuple[Tensor, Tensor | None]] = []

    def inner(self, x: Tensor, context: Tensor | None) -> Tensor:
        a = x.flatten(1) @ self.parts["w"].T
        return (a if context is None else a + context @ self.parts["u"].T).tanh()

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        self.calls.append((x.detach(), context))
        return self.inner(x, context) @ self.parts["v"]

    def slope(self, x: Tensor, context: Tensor | None) -> Tensor:
        """dc/dx by hand: W' (v (1 - tanh^2)), [N, D]."""
        return (self.parts["v"] * (1 - self.inner(x, context).square())) @ self.parts["w"]


def shaped(conditional: bool) -> tuple[GAN, Tensor, Tensor | None]:
    critic = Recorded(6)
    model = GAN((2, 3), context_shape=1 if conditional else None, latent=2, hidden=(4,), critic=critic).double()
    return model, torch.randn(7, 2, 3, dtype=DOUBLE), torch.randn(7, 1, dtype=DOUBLE) if conditional else None


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("penalty", [GradientPenalty(10.0), R1(3.0)])
def test_value_and_gradient_are_those_of_slopes_by_hand(penalty, conditional):
    """The slope as a formula of the parameters: its penalty needs no second derivative of the engine's."""
    model, x, context = shaped(conditional)
    critic = model.critic
    loss = Wasserstein(penalty=penalty).critic_loss(model, x, context)
    if isinstance(penalty, R1):
        (real, _), (made, _) = critic.calls
        assert torch.equal(real, x)
        slopes = critic.slope(x, context)
        expected = 1.5 * slopes.square().sum(1).mean()
    else:
        (both, _), (points, beside) = critic.calls
        made = both[7:]
        assert beside is context
        slopes = critic.slope(points, context)
        expected = 10 * (slopes.square().sum(1).sqrt() - 1).square().mean()
    assert torch.allclose(loss.terms["penalty"], expected)
    total = expected + critic(made, context).mean() - critic(x, context).mean()
    assert torch.allclose(loss.value, total)
    used = [p for name, p in critic.parts.items() if conditional or name != "u"]
    for mine, by_hand in zip(torch.autograd.grad(loss.value, used), torch.autograd.grad(total, used), strict=True):
        assert torch.allclose(mine, by_hand, atol=1e-10)


def test_the_mixes_lie_evenly_between_each_real_row_and_its_made_one():
    model, _, _ = shaped(False)
    x = torch.randn(4000, 2, 3, dtype=DOUBLE) + 2
    Wasserstein(penalty=GradientPenalty()).critic_loss(model, x)
    (both, _), (points, _) = model.critic.calls
    real, made = both.flatten(1).split(4000)
    share = ((points.flatten(1) - made) * (real - made)).sum(1) / (real - made).square().sum(1)
    assert torch.allclose(points.flatten(1), made + share[:, None] * (real - made))
    expected = torch.linspace(0, 1, 4000, dtype=DOUBLE)
    assert (share.sort().values - expected).abs().max() < 1.95 / 4000**0.5  # Kolmogorov and Smirnov's, p = 0.001
    assert torch.corrcoef(torch.stack([share, real[:, 0]]))[0, 1].abs() < 0.06


@settings(max_examples=20, deadline=None)
@given(
    slope=st.lists(st.floats(-3, 3).filter(lambda a: abs(a) > 0.01), min_size=1, max_size=4),
    weight=st.floats(0.1, 20),
)
def test_a_linear_critic_has_a_closed_form(slope, weight):
    critic = nn.Linear(len(slope), 1).double()
    with torch.no_grad():
        critic.weight.copy_(torch.tensor([slope]))
    a, n = critic.weight[0].detach(), critic.weight[0].detach().norm()
    real, made = torch.randn(2, 5, len(slope), dtype=DOUBLE)
    cases = [
        (GradientPenalty(weight), weight * (n - 1) ** 2, 2 * weight * (n - 1) * a / n),
        (R1(weight), weight / 2 * n**2, weight * a),
    ]
    for penalty, value, gradient in cases:
        on_real, on_made, found = penalty(lambda *kinds: tuple(critic(rows) for rows in kinds), real, made)
        assert torch.allclose(on_real, critic(real)) and torch.allclose(on_made, critic(made))
        assert torch.allclose(found, value)
        found.backward(inputs=[critic.weight])
        assert torch.allclose(critic.weight.grad[0], gradient)
        critic.weight.grad = None


@pytest.mark.parametrize("penalty", [GradientPenalty(), R1(1.0)])
def test_a_flat_critic_has_finite_gradients(penalty):
    critic = nn.Linear(3, 1)
    nn.init.zeros_(critic.weight)
    *_, found = penalty(lambda *kinds: tuple(critic(rows) for rows in kinds), torch.randn(4, 3), torch.randn(4, 3))
    found.backward(inputs=[critic.weight])
    assert critic.weight.grad.isfinite().all()


@pytest.mark.parametrize(("penalty", "calls"), [(GradientPenalty(), [14, 7]), (R1(1.0), [7, 7])])
def test_second_derivatives_go_through_the_points_alone(penalty, calls):
    """No row is in a call with the points that needs none: real and made rows are one call, or the points are real."""
    model, x, _ = shaped(False)
    Wasserstein(penalty=penalty).critic_loss(model, x)
    assert [len(rows) for rows, _ in model.critic.calls] == calls


class Dirac(nn.Module):
    """A generator that makes p, a critic that answers a x: the data are all 0 (Mescheder et al., 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.critic = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.generator.weight)
        nn.init.ones_(self.critic.weight)

    def noise(self, n: int) -> Tensor:
        return torch.ones(n, 1)

    def generate(self, noise: Tensor, context: Tensor | None = None) -> Tensor:
        return self.generator(noise)

    @property
    def distance(self) -> float:
        return float(torch.cat([self.generator.weight, self.critic.weight]).detach().norm())


@pytest.mark.parametrize(
    ("more", "least", "most"),
    [
        ({}, 0.9, 1.2 * 2**0.5),
        ({"penalty": R1(1.0)}, 0.0, 0.01),
        ({"also": [HistoricalAveraging(0.2)]}, 0.0, 0.7),
    ],
)
def test_players_that_circle_come_to_rest_with_a_cure(more, least, most):
    model = Dirac()
    fit(model, torch.zeros(4, 1), Wasserstein(**more), steps=200, lr=0.1, optimizer=descent, progress=False)
    assert least <= model.distance <= most


@pytest.mark.parametrize("penalty", [GradientPenalty(), R1(1.0)])
def test_rows_made_in_half_precision_are_mixed_with_real_ones(penalty):
    game, x = Wasserstein(penalty=penalty, also=[HistoricalAveraging()]), torch.randn(16, 2)
    history = fit(GAN(2, hidden=(4,)), x, game, steps=2, precision=torch.bfloat16, progress=False).history
    assert history["critic.penalty"].iloc[-1] > 0


@pytest.mark.parametrize("make", [GradientPenalty, R1])
def test_a_weight_is_above_0(make):
    with pytest.raises(ValueError, match="weight must be above 0, not 0"):
        make(0.0)
