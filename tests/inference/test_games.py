"""Each game's values and gradients against formulas written out by hand, and who is moved by whom."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from inference.averaging import YOUNG
from inference.descent import descent
from inference.fit import fit
from inference.objectives import (
    R1,
    Game,
    GradientPenalty,
    Hinge,
    HistoricalAveraging,
    LeastSquares,
    NonSaturating,
    Relativistic,
    Wasserstein,
)
from inference.objectives.adversarial import critic_loss
from zoo.gan import GAN

pytestmark = pytest.mark.filterwarnings("ignore::inference.results.Alarm")  # a few steps teach nobody

Number = Callable[[float, float], float]


class Written(NamedTuple):
    """A game by hand: of one real answer r and one made answer m, each player's loss and its slopes by them."""

    game: Game
    critic: Number
    by_real: Number
    by_made: Number
    generator: Number
    generators: Number


def sigmoid(a: float) -> float:
    return 1 / (1 + math.exp(-a))


def log_sigmoid(a: float) -> float:
    return math.log(sigmoid(a))


BY_HAND = [
    Written(
        NonSaturating(),
        lambda r, m: -log_sigmoid(r) - math.log(1 - sigmoid(m)),
        lambda r, m: sigmoid(r) - 1,
        lambda r, m: sigmoid(m),
        lambda r, m: -log_sigmoid(m),
        lambda r, m: sigmoid(m) - 1,
    ),
    Written(
        NonSaturating(smoothing=0.1),
        lambda r, m: -0.9 * log_sigmoid(r) - 0.1 * math.log(1 - sigmoid(r)) - math.log(1 - sigmoid(m)),
        lambda r, m: sigmoid(r) - 0.9,
        lambda r, m: sigmoid(m),
        lambda r, m: -log_sigmoid(m),
        lambda r, m: sigmoid(m) - 1,
    ),
    Written(
        LeastSquares(),
        lambda r, m: ((r - 1) ** 2 + m**2) / 2,
        lambda r, m: r - 1,
        lambda r, m: m,
        lambda r, m: (m - 1) ** 2 / 2,
        lambda r, m: m - 1,
    ),
    Written(
        LeastSquares(smoothing=0.25),
        lambda r, m: ((r - 0.75) ** 2 + m**2) / 2,
        lambda r, m: r - 0.75,
        lambda r, m: m,
        lambda r, m: (m - 1) ** 2 / 2,
        lambda r, m: m - 1,
    ),
    Written(
        Hinge(),
        lambda r, m: max(0.0, 1 - r) + max(0.0, 1 + m),
        lambda r, m: -1.0 if r < 1 else 0.0,
        lambda r, m: 1.0 if m > -1 else 0.0,
        lambda r, m: -m,
        lambda r, m: -1.0,
    ),
    Written(
        Wasserstein(),
        lambda r, m: m - r,
        lambda r, m: -1.0,
        lambda r, m: 1.0,
        lambda r, m: -m,
        lambda r, m: -1.0,
    ),
    Written(
        Relativistic(),
        lambda r, m: -math.log(math.exp(r) / (math.exp(r) + math.exp(m))),
        lambda r, m: -math.exp(m) / (math.exp(r) + math.exp(m)),
        lambda r, m: math.exp(m) / (math.exp(r) + math.exp(m)),
        lambda r, m: -math.log(math.exp(m) / (math.exp(r) + math.exp(m))),
        lambda r, m: -math.exp(r) / (math.exp(r) + math.exp(m)),
    ),
]
GAMES = [NonSaturating, LeastSquares, Hinge, Wasserstein, Relativistic]
each_by_hand = pytest.mark.parametrize(
    "written", BY_HAND, ids=lambda w: f"{type(w.game).__name__}-{getattr(w.game, 'smoothing', 0)}"
)


def of_pairs(function: Number, real: Tensor, made: Tensor) -> Tensor:
    return torch.tensor([function(float(r), float(m)) for r, m in zip(real, made, strict=True)], dtype=torch.float64)


@each_by_hand
@settings(max_examples=20, deadline=None)
@given(
    answers=st.lists(st.tuples(st.floats(-6, 6, width=32), st.floats(-6, 6, width=32)), min_size=1, max_size=5),
)
def test_values_and_slopes_are_those_written_by_hand(written, answers):
    real, made = torch.tensor(answers, dtype=torch.float64).T
    assume((real - 1).abs().min() > 1e-6 and (made + 1).abs().min() > 1e-6)  # the hinge's corners have no slope
    on_real, on_made, n = real.clone().requires_grad_(), made.clone().requires_grad_(), len(answers)
    value = written.game.critic_value(on_real, on_made)
    assert torch.allclose(value, of_pairs(written.critic, real, made).mean(), atol=1e-9)
    slopes = torch.autograd.grad(value, (on_real, on_made))
    assert torch.allclose(slopes[0] * n, of_pairs(written.by_real, real, made), atol=1e-9)
    assert torch.allclose(slopes[1] * n, of_pairs(written.by_made, real, made), atol=1e-9)
    value = written.game.generator_value(on_made, lambda: real)
    assert torch.allclose(value, of_pairs(written.generator, real, made).mean(), atol=1e-9)
    (slope,) = torch.autograd.grad(value, on_made)
    assert torch.allclose(slope * n, of_pairs(written.generators, real, made), atol=1e-9)


class Line(nn.Module):
    """A generator w z (+ v e) and a critic a x (+ d e) + b of scalars, e the context; what was drawn is kept."""

    def __init__(self, conditional: bool) -> None:
        super().__init__()
        self.generator = nn.Linear(1 + conditional, 1, bias=False)
        self.critic = LineCritic(1 + conditional)
        self.double()

    def noise(self, n: int) -> Tensor:
        self.drawn = torch.randn(n, 1, dtype=torch.float64)
        return self.drawn

    def generate(self, noise: Tensor, context: Tensor | None = None) -> Tensor:
        return self.generator(noise if context is None else torch.cat([noise, context], -1))


class LineCritic(nn.Linear):
    calls = 0

    def __init__(self, size: int) -> None:
        super().__init__(size, 1)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        self.calls += 1
        return super().forward(x if context is None else torch.cat([x, context], -1)).squeeze(-1)


@each_by_hand
@pytest.mark.parametrize("conditional", [False, True])
def test_each_players_gradient_is_the_chain_rule_by_hand(written, conditional):
    model = Line(conditional)
    x = torch.randn(40, 1, dtype=torch.float64) + 0.5
    context = torch.randn(40, 1, dtype=torch.float64) if conditional else None

    def beside(rows: Tensor) -> Tensor:
        return rows if context is None else torch.cat([rows, context], -1)

    for player in written.game.players(model):
        model.zero_grad()
        player.backward(player.loss(x, context), player.parameters)
        with torch.no_grad():
            made = model.generate(model.drawn, context)
            real_answers, made_answers = model.critic(x, context), model.critic(made, context)
        if player.name == "critic":
            by_real = of_pairs(written.by_real, real_answers, made_answers)
            by_made = of_pairs(written.by_made, real_answers, made_answers)
            weight = (by_real[:, None] * beside(x) + by_made[:, None] * beside(made)).mean(0)
            assert torch.allclose(model.critic.weight.grad[0], weight)
            assert torch.allclose(model.critic.bias.grad[0], (by_real + by_made).mean())
            assert model.generator.weight.grad is None
        else:
            slope = of_pairs(written.generators, real_answers, made_answers) * model.critic.weight[0, 0].detach()
            assert torch.allclose(model.generator.weight.grad[0], (slope[:, None] * beside(model.drawn)).mean(0))
            assert model.critic.weight.grad is None and model.critic.bias.grad is None


@pytest.mark.parametrize("game", GAMES)
def test_the_critic_is_called_once_for_both_kinds_of_rows(game):
    model, x = Line(False), torch.zeros(4, 1, dtype=torch.float64)
    game().critic_loss(model, x)
    assert model.critic.calls == 1
    game().generator_loss(model, x)
    assert model.critic.calls == (3 if game is Relativistic else 2)  # which asks about real rows, too


def test_smoothing_makes_the_best_critic_less_sure():
    """Where real rows have mass p and made ones q, the best logit is log of (1 - s) p over s p + q."""
    s, p, q = 0.1, 0.8, 0.2
    best = torch.tensor(math.log((1 - s) * p / (s * p + q)), dtype=torch.float64, requires_grad=True)
    real, made = best.repeat(8), best.repeat(2)  # masses as counts: each kind has its own mean
    value = p * NonSaturating(smoothing=s).critic_value(real, made[:0].new_full((1,), -1e3))
    value = value + q * NonSaturating(smoothing=s).critic_value(made[:0].new_full((1,), 0.0), made)
    assert abs(float(torch.autograd.grad(value, best)[0])) < 1e-9


def test_the_shared_loss_of_other_families_is_the_non_saturating_one():
    model = Line(True)
    x, made, context = torch.randn(3, 9, 1, dtype=torch.float64)
    loss = critic_loss(model.critic, x, made, context)
    value = NonSaturating().critic_value(model.critic(x, context), model.critic(made, context))
    assert torch.allclose(loss.value, value)
    assert torch.allclose(loss.terms["fake"], model.critic(made, context).mean())


class Together(nn.Module):
    """A critic whose answer depends on the mean of the rows it is called with."""

    compares_rows = True

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.7))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.weight * (x - x.mean(0)).square().sum(1)


def test_a_critic_that_compares_rows_sees_each_kind_by_itself():
    model = GAN(2, latent=2, hidden=(4,), critic=Together())
    x = torch.randn(6, 2) * 3 + 10
    state = torch.get_rng_state()
    loss = Wasserstein().critic_loss(model, x)
    torch.set_rng_state(state)
    made = model.generate(model.noise(6)).detach()
    assert torch.allclose(loss.terms["real"], 0.7 * (x - x.mean(0)).square().sum(1).mean())
    assert torch.allclose(loss.terms["fake"], 0.7 * (made - made.mean(0)).square().sum(1).mean())


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("penalty", [None, GradientPenalty(3.0), R1(2.0)])
@pytest.mark.parametrize("context_size", [None, 2])
def test_a_players_gradient_reaches_its_own_parameters_alone(game, penalty, context_size):
    model = GAN((2, 2), context_shape=context_size, latent=2, hidden=(4,))
    played = game(penalty=penalty, also=[HistoricalAveraging(0.1)])
    x, context = torch.randn(5, 2, 2), None if context_size is None else torch.randn(5, context_size)
    played.prepare(model, x, context)
    for player in played.players(model):
        model.zero_grad()
        player.backward(player.loss(x, context), player.parameters)
        mine = set(map(id, player.parameters))
        for name, parameter in model.named_parameters():
            assert (parameter.grad is not None) == (id(parameter) in mine), name


def test_each_player_has_a_learning_rate_of_its_own():
    """One step of gradient descent: each parameter goes its own player's rate along its gradient."""
    x = torch.randn(16, 1, dtype=torch.float64)

    def moved(critic: float, generator: float) -> tuple[Tensor, Tensor]:
        model = Line(False)
        with torch.no_grad():
            model.critic.weight.fill_(0.5)
            model.critic.bias.zero_()
            model.generator.weight.fill_(2.0)
        rates = {"critic": critic, "generator": generator}
        fit(model, x, Wasserstein(), steps=1, lr=rates, optimizer=descent, batch_size=None, progress=False)
        return model.critic.weight.detach() - 0.5, model.generator.weight.detach() - 2.0

    with torch.random.fork_rng():
        torch.manual_seed(0)  # the fit's own draws: the critic's noise, then the generator's
        noise, again = torch.randn(16, 1, dtype=torch.float64), torch.randn(16, 1, dtype=torch.float64)
    critic, generator = moved(0.1, 0.3)
    assert torch.allclose(critic, -0.1 * (2.0 * noise.mean() - x.mean()))
    assert torch.allclose(generator, 0.3 * (0.5 + critic) * again.mean())


@pytest.mark.parametrize("part", ["generator", "critic"])
def test_averaged_weights_are_those_of_each_players_steps(part):
    """The average is of the weights after each step of the fit: of both players, although one moved every third."""
    model = GAN(2, latent=2, hidden=(4,)).double()
    first = [p.detach().clone() for p in getattr(model, part).parameters()]
    seen: list[list[Tensor]] = []

    def watch(progress: Any) -> None:
        seen.append([p.detach().clone() for p in getattr(progress.model, part).parameters()])

    game, x = Hinge(generator_every=3), torch.randn(32, 2, dtype=torch.float64)
    fit(model, x, game, steps=12, batch_size=8, every=1, average=0.8, callbacks=[watch], progress=False)
    average = first
    for step, now in enumerate(seen, 1):
        keep = min(0.8, 1 - YOUNG / (YOUNG + 1 + step))
        average = [keep * a + (1 - keep) * p for a, p in zip(average, now, strict=True)]
    for expected, found in zip(average, getattr(model, part).parameters(), strict=True):
        assert torch.allclose(expected, found.detach(), atol=1e-12)


@pytest.mark.parametrize("game", GAMES)
def test_a_resumed_game_is_the_uninterrupted_one_to_the_bit(game, tmp_path):
    x = torch.randn(40, 2)

    def played(steps: int, penalty: Any, **more: Any) -> Tensor:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = GAN(2, latent=2, hidden=(6,))
        objective = game(generator_every=2, penalty=penalty, also=[HistoricalAveraging(0.5)])
        fit(model, x, objective, steps=steps, batch_size=16, average=0.9, every=5, progress=False, **more)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    for penalty in (GradientPenalty(), R1(1.0)):
        whole = played(21, penalty)
        played(11, penalty, checkpoint=tmp_path / "c.pt")
        assert torch.equal(whole, played(21, penalty, resume=tmp_path / "c.pt"))


@pytest.mark.parametrize("game", GAMES[1:])
def test_each_game_learns_where_each_context_lies(game):
    context = torch.randint(2, (256, 1)).float()
    x = torch.randn(256, 2) * 0.3 + torch.cat([4 * context - 2, 1 - 2 * context], -1)
    model = GAN(2, context_shape=1, latent=2, hidden=(32, 32), gain=1.0 if game is Wasserstein else 3.0)
    result = fit(
        model,
        {"x": x, "context": context},
        game(),
        steps=400,
        batch_size=64,
        lr={"critic": 4e-3, "generator": 2e-3},
        optimizer=lambda parameters, lr: torch.optim.Adam(parameters, lr=lr, betas=(0.0, 0.9), fused=True),
        progress=False,
    )
    assert result.objective == game.__name__
    for value, centre in ((0.0, [-2.0, 1.0]), (1.0, [2.0, -1.0])):
        drawn = model.sample(400, context=torch.tensor([[value]]))
        assert (drawn.mean(0) - torch.tensor(centre)).abs().max() < 0.8


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: NonSaturating(smoothing=0.5), ValueError, "smoothing must be from 0 to below 0.5, not 0.5"),
        (lambda: LeastSquares(smoothing=-0.1), ValueError, "smoothing must be from 0 to below 0.5, not -0.1"),
        (lambda: Hinge(generator_every=0), ValueError, "generator_every must be at least 1, not 0"),
        (lambda: Hinge(also=[HistoricalAveraging(), HistoricalAveraging()]), ValueError, "names of their own"),
    ],
)
def test_wrong_parameters_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_game_says_what_its_loss_counts():
    x = torch.randn(8, 2)
    units = [fit(GAN(2), x, game(), steps=1, progress=False).history.attrs["unit"] for game in GAMES]
    assert units[0] == "nats a row" and len(set(units)) == len(GAMES)
