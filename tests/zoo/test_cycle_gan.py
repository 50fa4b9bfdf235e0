"""CycleGAN: its losses by hand, that it needs no pairs, and that a map and its inverse come back for nothing."""

from __future__ import annotations

import pytest
import torch
from pyro import poutine
from torch import Tensor, nn

import zoo
from inference.objectives import (
    R1,
    CycleConsistency,
    FromPartner,
    Hinge,
    LeastSquares,
    NonSaturating,
    default_objective,
)
from inference.protocols import Cyclic, offers
from zoo.app.settings import objective
from zoo.cycle_gan import CycleGAN

MOVES = {"critics": ("critic", "context_critic"), "generators": ("generator", "context_generator")}


class Affine(nn.Module):
    """scale x + shift, whatever the noise; both are learned."""

    def __init__(self, scale: float, shift: float) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.tensor(scale)), nn.Parameter(torch.tensor(shift))

    def forward(self, noise: Tensor, image: Tensor) -> Tensor:
        return self.scale * image + self.shift


def build(**told) -> CycleGAN:
    model = CycleGAN((1, 4, 4), **{"context_shape": (1, 4, 4), "latent": 2, "channels": (4,), "blocks": 1, **told})
    model = model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def affine(there: tuple[float, float], back: tuple[float, float]) -> CycleGAN:
    model = CycleGAN((1, 4, 4), context_shape=(1, 4, 4), channels=(4,), latent=2)
    model.generator, model.context_generator = Affine(*there), Affine(*back)
    return model.double().eval()


def domains(n: int = 5, colours: int = 1) -> tuple[Tensor, Tensor]:
    return torch.rand(n, 1, 4, 4).double(), torch.rand(n, colours, 4, 4).double()


def by_hand(model: CycleGAN, x: Tensor, y: Tensor, cycle: float, identity: float) -> dict[str, Tensor]:
    """Both losses, least squares written out, row by row and with each network called for itself."""
    n = len(x)
    noise = lambda rows: torch.randn(rows, 2, dtype=torch.float64)  # noqa: E731
    g = lambda z, image: 3 * model.generator(z, image).sigmoid() - 1  # noqa: E731
    h = lambda z, image: 3 * model.context_generator(z, image).sigmoid() - 1  # noqa: E731
    c, k = model.critic, model.context_critic
    state = torch.get_rng_state()
    (a, b), (d, e), f, i = noise(2 * n).split(n), noise(2 * n).split(n), noise(n), noise(n)
    made, back = g(a, y), h(d, x)
    away = lambda one, other: (one - other).abs().sum() / one.numel()  # noqa: E731
    generators = 0.5 * ((c(made) - 1).square() + (k(back) - 1).square()).mean()
    generators = generators + cycle * (away(g(f, back), x) + away(h(i, made), y))
    generators = generators + identity * (away(g(b, x), x) + away(h(e, y), y))
    torch.set_rng_state(state)
    made, back = g(noise(n), y), h(noise(n), x)
    critics = sum(
        0.5 * ((critic(real) - 1).square() + critic(fake.detach()).square()).mean()
        for critic, real, fake in ((c, x, made), (k, y, back))
    )
    return {"critics": critics, "generators": generators}


def test_each_players_loss_is_the_formula_and_its_gradient_reaches_it_alone():
    model, (x, y) = build(bounds=(-1.0, 2.0)), domains(32)  # rows enough that normal draws come one after another
    players = {player.name: player for player in CycleConsistency(4.0, 3.0).players(model)}
    assert isinstance(default_objective(model), CycleConsistency) and list(players) == list(MOVES)
    for name, player in players.items():
        torch.manual_seed(3)
        loss = player.loss(x, y)
        for parameter in model.parameters():
            parameter.grad = None
        player.backward(loss, player.parameters)
        mine = {id(p) for part in MOVES[name] for p in getattr(model, part).parameters()}
        assert {id(p) for p in model.parameters() if p.grad is not None} == mine
        torch.manual_seed(3)
        expected = by_hand(model, x, y, 4.0, 3.0)[name]
        torch.testing.assert_close(loss.value, expected)
        for one, other in zip(player.parameters, torch.autograd.grad(expected, player.parameters), strict=True):
            torch.testing.assert_close(one.grad, other)


def test_a_map_and_its_inverse_come_back_for_nothing():
    x, y = domains()
    objective = CycleConsistency(cycle=4.0, identity=3.0)
    inverse = objective.generators_loss(affine((-2.0, 1.0), (-0.5, 0.5)), x, y).terms
    assert float(inverse["cycle"]) < 1e-14
    torch.testing.assert_close(inverse["identity"], 3 * ((1 - 3 * x).abs().mean() + (0.5 - 1.5 * y).abs().mean()))
    same = objective.generators_loss(affine((1.0, 0.0), (1.0, 0.0)), x, y).terms
    assert float(same["cycle"]) == float(same["identity"]) == 0
    other = objective.generators_loss(affine((-2.0, 1.0), (-0.5, 0.75)), x, y).terms
    torch.testing.assert_close(other["cycle"], torch.tensor(4 * (0.5 + 0.25)).double())


def test_which_rows_stand_beside_each_other_changes_nothing():
    model, (x, y) = affine((-0.7, 0.9), (-1.2, 1.1)), domains(6)
    order = torch.tensor([3, 5, 0, 1, 4, 2])
    for game in (None, NonSaturating(), Hinge()):
        for player in CycleConsistency(4.0, 3.0, game=game).players(model):
            found = []
            for context in (y, y[order]):
                loss = player.loss(x, context)
                player.backward(loss, player.parameters)
                found.append([loss.value.detach(), *(p.grad.clone() for p in player.parameters)])
            torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)


def test_with_noise_pairs_and_strangers_cost_the_same_on_average():
    model, (x, _) = build(), domains(8)
    y = 1 - x
    objective, found = CycleConsistency(), []
    for context in (y, y.roll(3, 0)):
        torch.manual_seed(0)
        found.append(torch.stack([objective.generators_loss(model, x, context).value.detach() for _ in range(50)]))
    gap = found[0] - found[1]
    assert gap.abs().max() > 0  # row i is translated by another noise
    assert abs(gap.mean()) < 4 * gap.std() / 50**0.5


def test_a_critic_sees_one_domain_and_games_go_by_name():
    model, (x, y) = build(context_shape=(3, 4, 4)), domains(colours=3)
    assert offers(model, Cyclic)
    assert model.critic(x).shape == model.context_critic(y).shape == (5,)
    told = objective({"name": "cycle_consistency", "cycle": 2.0, "game": {"name": "hinge"}})
    assert isinstance(told.game, Hinge) and told.cycle == 2.0
    terms = told.generators_loss(model, x, y).terms
    assert set(terms) == {"loss", "game", "cycle"}  # two shapes have no identity
    torch.testing.assert_close(terms["loss"], terms["game"] + terms["cycle"])
    assert model.translate_back(x).shape == (5, 3, 4, 4)
    with pytest.raises(TypeError, match="CycleGAN minimises is relative to its critics"):
        told.held_out(model, x, y)
    for wrong, sentence in (({"cycle": 0.0}, "weight must be above 0"), ({"identity": -1.0}, "identity must be at")):
        with pytest.raises(ValueError, match=sentence):
            CycleConsistency(**wrong)


def test_a_games_penalty_and_rhythm_are_kept_and_its_terms_refused():
    model, (x, y) = build(), domains()
    plain = CycleConsistency().critics_loss
    told = CycleConsistency(game=LeastSquares(penalty=R1(6.0), generator_every=3))
    assert [player.every for player in told.players(model)] == [1, 3]
    values = []
    for loss in (plain, told.critics_loss):
        torch.manual_seed(3)
        values.append(loss(model, x, y).value)
    slopes = 0.0
    for critic, rows in ((model.critic, x), (model.context_critic, y)):
        rows = rows.clone().requires_grad_()
        (slope,) = torch.autograd.grad(critic(rows).sum(), rows)
        slopes = slopes + slope.square().flatten(1).sum(1).mean()
    torch.testing.assert_close(values[1] - values[0], 3.0 * slopes)
    with pytest.raises(ValueError, match="CycleConsistency has generator terms of its own"):
        CycleConsistency(game=LeastSquares(also=[FromPartner()]))


def test_it_is_a_pyro_pair_within_its_bounds_and_a_spec_builds_it():
    spec = {"family": "cycle_gan", "latent": 2, "channels": [4], "bounds": [-1.0, 2.0]}
    model = zoo.build(spec, event_shape=(4, 4), context_shape=(4, 4))
    trace = poutine.trace(lambda context: model.model(context=context)).get_trace(100 * torch.randn(5, 4, 4))
    z, x = trace.nodes["z"], trace.nodes["x"]
    assert z["value"].shape == (5, 2) and x["value"].shape == (5, 4, 4) and x["infer"]["_deterministic"]
    back = model.translate_back(100 * torch.randn(50, 4, 4))
    assert x["value"].min() >= -1 and back.min() >= -1 and max(x["value"].max(), back.max()) <= 2
    with pytest.raises(TypeError, match="cannot score x"):
        model.model(torch.zeros(5, 4, 4), context=torch.zeros(5, 4, 4))
    with pytest.raises(ValueError, match=r"CycleGAN models x of shape \[N, 4, 4\]"):
        model.translate_back(torch.zeros(5, 8, 8))


@pytest.mark.parametrize(
    ("shapes", "sentence"),
    [
        (
            ((1, 8, 8), (1, 4, 4)),
            "CycleGAN was given images of two sizes: x is 8 x 8, the context 4 x 4",
        ),
        (((1, 8, 8), None), "CycleGAN makes an image of an image: give context_shape"),
        (((64,), (64,)), "x is an image"),
    ],
)
def test_images_of_two_sizes_are_refused(shapes, sentence):
    with pytest.raises(ValueError, match=sentence):
        CycleGAN(shapes[0], context_shape=shapes[1])
