"""Style transfer: AdaIN against its formula, the losses by hand, and that styles come from noise and from images."""

from __future__ import annotations

import pytest
import torch
from pyro import poutine
from torch import Tensor, nn

import zoo
from inference.objectives import NonSaturating, Stylisation, default_objective
from zoo.app.settings import objective
from zoo.style_transfer import StyleTransfer, adapted, moments


def build(**told) -> StyleTransfer:
    model = StyleTransfer((1, 4, 4), **{"context_shape": (1, 4, 4), "latent": 2, "channels": (4, 6), **told}).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def domains(n: int = 6) -> tuple[Tensor, Tensor]:
    return torch.rand(n, 1, 4, 4).double(), torch.rand(n, 1, 4, 4).double()


def test_what_is_adapted_has_the_styles_moments_and_the_contents_shape():
    content, style = torch.randn(5, 3, 6, 4).double() * 4 + 2, torch.randn(5, 3, 2, 7).double().exp()
    made = adapted(content, moments(style))
    for n in range(5):
        for channel in range(3):
            c, s, m = content[n, channel], style[n, channel], made[n, channel]
            assert float(m.mean()) == pytest.approx(float(s.mean()), abs=1e-12)
            assert float(m.std(correction=0)) == pytest.approx(float(s.std(correction=0)), rel=1e-4)
            by_formula = s.std(correction=0) * (c - c.mean()) / c.std(correction=0) + s.mean()
            torch.testing.assert_close(m, by_formula, rtol=1e-4, atol=1e-4)
            assert torch.corrcoef(torch.stack([m.flatten(), c.flatten()]))[0, 1] == pytest.approx(1.0)
    torch.testing.assert_close(adapted(content, moments(content)), content)
    flat = adapted(torch.ones(1, 1, 3, 3).double(), moments(style[:1, :1]))
    torch.testing.assert_close(flat, style[0, 0].mean().expand(1, 1, 3, 3))


def test_each_players_loss_is_the_formula_and_its_gradient_reaches_it_alone():
    model, (x, y) = build(bounds=(-1.0, 2.0)), domains()
    assert isinstance(default_objective(model), Stylisation)
    players = {player.name: player for player in Stylisation(content=3.0, rebuilt=2.0).players(model)}
    assert list(players) == ["critic", "generator"]
    net, c = model.generator, model.critic
    write = lambda features: -1 + 3 * net.writer(features).sigmoid()  # noqa: E731
    for name, player in players.items():
        torch.manual_seed(3)
        loss = player.loss(x, y)
        for parameter in model.parameters():
            parameter.grad = None
        player.backward(loss, player.parameters)
        mine = {id(p) for p in getattr(model, name).parameters()}
        assert {id(p) for p in model.parameters() if p.grad is not None} == mine
        torch.manual_seed(3)
        drawn = net.styles(torch.randn(3, 2, dtype=torch.float64))
        read, other = net.reader(y), net.reader(x)
        styles = other[torch.randperm(6)[3:]]
        mean = torch.cat([drawn[:, :6], styles.mean((2, 3))])[..., None, None]
        deviation = torch.cat([(1 + drawn[:, 6:].exp()).log(), (styles.var((2, 3), correction=0) + 1e-5).sqrt()])
        centred = read - read.mean((2, 3), keepdim=True)
        asked = (
            deviation[..., None, None] * centred / (centred.square().mean((2, 3), keepdim=True) + 1e-5).sqrt() + mean
        )
        made = write(asked)
        if name == "critic":
            expected = 0.5 * ((c(x) - 1).square().mean() + c(made.detach()).square().mean())
        else:
            expected = 0.5 * (c(made) - 1).square().mean() + 3 * (net.reader(made) - asked).square().mean()
            expected = expected + 2 * ((write(read) - y).abs().mean() + (write(other) - x).abs().mean())
        torch.testing.assert_close(loss.value, expected)
        for one, other in zip(player.parameters, torch.autograd.grad(expected, player.parameters), strict=True):
            torch.testing.assert_close(one.grad, other)


def test_the_style_of_an_image_and_of_noise():
    model, (x, y) = build(), domains()
    features, net = model.read(y), model.generator
    made = model.stylise(y, x)
    torch.testing.assert_close(made, net.writer(adapted(features, moments(net.reader(x)))))
    torch.testing.assert_close(model.stylise(y, y), net.writer(features))
    assert not torch.allclose(made, model.stylise(y, x.flip(0)))
    z = model.noise(6)
    torch.testing.assert_close(
        moments(model.adapted(100 * features, model.style(z))), model.style(z), rtol=0, atol=1e-3
    )
    torch.testing.assert_close(model.generate(z, y), model.write(model.adapted(features, model.style(z))))
    assert (model.style(z)[:, 1] > 0).all()


def test_the_critic_sees_x_alone_and_games_go_by_name():
    model, (x, y) = build(), domains()
    assert torch.equal(model.critic(x, y), model.critic(x))
    told = objective({"name": "stylisation", "content": 2.0, "game": {"name": "non_saturating"}})
    assert isinstance(told.game, NonSaturating)
    terms = told.generator_loss(model, x, y).terms
    assert set(terms) == {"loss", "game", "content", "rebuilt"}
    with pytest.raises(ValueError, match="weight must be above 0"):
        Stylisation(rebuilt=0.0)
    with pytest.raises(TypeError, match="StyleTransfer minimises is relative to its critics"):
        told.held_out(model, x, y)


class Shift(nn.Module):
    """An image moved by a constant: its features are itself."""

    def __init__(self) -> None:
        super().__init__()
        self.moved = nn.Parameter(torch.zeros(()).double())

    def forward(self, image: Tensor) -> Tensor:
        return image + self.moved


def test_networks_that_undo_each_other_leave_the_game_alone():
    model, (x, y) = build(), domains()
    model.generator.reader, model.generator.writer = Shift(), Shift()
    model.generator.styles = nn.Linear(2, 2).double()
    terms = Stylisation().generator_loss(model, x, y).terms
    assert float(terms["content"]) < 1e-20 and float(terms["rebuilt"]) == 0
    torch.testing.assert_close(terms["loss"], terms["game"])
    with torch.no_grad():
        model.generator.writer.moved.fill_(0.5)
    terms = Stylisation(content=4.0, rebuilt=3.0).generator_loss(model, x, y).terms
    assert float(terms["content"]) == pytest.approx(4 * 0.25) and float(terms["rebuilt"]) == pytest.approx(3 * 2 * 0.5)


def test_which_rows_stand_beside_each_other_changes_nothing_on_average():
    model, (x, _) = build(), domains(8)
    objective, found = Stylisation(), []
    for y in (1 - x, (1 - x).roll(3, 0)):
        torch.manual_seed(0)
        orders = [torch.randperm(8) for _ in range(100)]  # as `fit` takes rows
        found.append(torch.stack([objective.generator_loss(model, x[i], y[i]).value.detach() for i in orders]))
    gap = found[0] - found[1]
    assert gap.abs().max() > 0  # content i is styled otherwise
    assert abs(gap.mean()) < 4 * gap.std() / 100**0.5


def test_it_is_a_pyro_pair_within_its_bounds_and_a_spec_builds_it():
    spec = {"family": "style_transfer", "latent": 2, "channels": [4, 4], "bounds": [-1.0, 2.0]}
    model = zoo.build(spec, event_shape=(4, 4), context_shape=(4, 4))
    trace = poutine.trace(lambda context: model.model(context=context)).get_trace(100 * torch.randn(5, 4, 4))
    z, x = trace.nodes["z"], trace.nodes["x"]
    assert z["value"].shape == (5, 2) and x["value"].shape == (5, 4, 4) and x["infer"]["_deterministic"]
    assert x["value"].min() >= -1 and x["value"].max() <= 2
    with pytest.raises(TypeError, match="cannot score x"):
        model.model(torch.zeros(5, 4, 4), context=torch.zeros(5, 4, 4))
    with pytest.raises(ValueError, match=r"StyleTransfer models x of shape \[N, 4, 4\]"):
        model.stylise(torch.zeros(5, 4, 4), torch.zeros(5, 8, 8))


@pytest.mark.parametrize(
    ("shapes", "sentence"),
    [
        (((1, 8, 8), (1, 4, 4)), "StyleTransfer was given images of two sizes: x is 8 x 8, the context 4 x 4"),
        (((1, 8, 8), (3, 8, 8)), r"one network reads x and context, .* not \[1, 8, 8\] and \[3, 8, 8\]"),
        (((1, 8, 8), None), "StyleTransfer makes an image of an image: give context_shape"),
    ],
)
def test_images_of_two_shapes_are_refused(shapes, sentence):
    with pytest.raises(ValueError, match=sentence):
        StyleTransfer(shapes[0], context_shape=shapes[1])
