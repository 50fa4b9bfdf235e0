"""pix2pix: its losses against formulas by hand, what it keeps, what its critic sees, and that it learns from pairs."""

from __future__ import annotations

import pytest
import torch
from pyro import poutine
from torch import Tensor, nn
from torch.nn import functional as F

import zoo
from inference import fit
from inference.objectives import FromPartner, LeastSquares, PairedTranslation, default_objective
from zoo.app.settings import objective
from zoo.pix2pix import Pix2Pix, with_gaps
from zoo.translation_networks import ImageTranslator, PatchCritic, grown

SMALL = {"latent": 3, "channels": (4, 6)}


def build(**told) -> Pix2Pix:
    """A small model in double precision, its parameters moved from the special points where networks begin."""
    model = Pix2Pix((1, 4, 4), **{"context_shape": (2, 4, 4), **SMALL, **told}).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def pairs(n: int = 6) -> tuple[Tensor, Tensor]:
    return torch.rand(n, 1, 4, 4).double(), torch.rand(n, 2, 4, 4).double()


def test_each_players_loss_is_the_formula_and_its_gradient_reaches_it_alone():
    model, (x, y) = build(bounds=(-1.0, 2.0)), pairs()
    game = default_objective(model)
    assert isinstance(game, PairedTranslation)
    players = {player.name: player for player in PairedTranslation(weight=7.0).players(model)}
    assert list(players) == ["critic", "generator"]
    for name, player in players.items():
        torch.manual_seed(3)
        loss = player.loss(x, y)
        for parameter in model.parameters():
            parameter.grad = None
        player.backward(loss, player.parameters)
        mine = {id(p) for p in getattr(model, name).parameters()}
        assert {id(p) for p in model.parameters() if p.grad is not None} == mine
        torch.manual_seed(3)
        made = -1 + 3 * model.generator(torch.randn(6, 3, dtype=torch.float64), y).sigmoid()
        real, fake = model.critic(x, y).sigmoid(), model.critic(made, y).sigmoid()
        away = sum((x - made)[:, 0, i, j].abs() for i in range(4) for j in range(4)).mean() / 16
        expected = -(real.log() + (1 - fake).log()).mean() if name == "critic" else -fake.log().mean() + 7 * away
        torch.testing.assert_close(loss.value, expected)
        if name == "generator":
            torch.testing.assert_close(loss.terms["from_partner"], 7 * away.detach())
        for one, other in zip(player.parameters, torch.autograd.grad(expected, player.parameters), strict=True):
            torch.testing.assert_close(one.grad, other)


def test_any_game_takes_the_distance_from_the_partner_and_specs_name_it():
    model, (x, y) = build(), pairs()
    torch.manual_seed(3)
    loss = LeastSquares(also=[FromPartner(5.0)]).generator_loss(model, x, y)
    torch.manual_seed(3)
    made = model.generate(model.noise(6), y)
    expected = 0.5 * (model.critic(made, y) - 1).square().mean() + 5 * (x - made).abs().mean()
    torch.testing.assert_close(loss.value, expected)
    told = objective({"name": "least_squares", "also": [{"name": "from_partner", "weight": 5.0}]})
    torch.manual_seed(3)
    torch.testing.assert_close(told.generator_loss(model, x, y).value, expected)
    assert objective({"name": "paired_translation", "weight": 3.0}).also[0].weight == 3.0
    with pytest.raises(ValueError, match="weight must be above 0, not 0"):
        PairedTranslation(0.0)
    with pytest.raises(TypeError, match="Pix2Pix is relative to its critic"):
        PairedTranslation().held_out(model, x, y)


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 4, 4), (4, 4)])
def test_known_pixels_are_kept_to_the_bit_and_the_others_made(shape: tuple[int, ...]):
    colours = shape[0] if len(shape) == 3 else 1
    model = Pix2Pix(shape, context_shape=(colours + 1, 4, 4), keeps="known", bounds=(0.0, 1.0), **SMALL)
    x, known = torch.rand(40, *shape), torch.rand(40, 1, 4, 4) < 0.6
    context = with_gaps(x, known)
    made, spread = model.sample(40, context=context), known.expand(-1, colours, 4, 4).reshape(x.shape)
    assert torch.equal(made[spread], x[spread])
    free = model.eval().generator(torch.zeros(40, 3), context).sigmoid()
    assert not torch.equal(made[~spread], x[~spread])
    torch.testing.assert_close(made[~spread], free[~spread])  # the noise moves nothing before a first step
    assert (context.reshape(40, colours + 1, 4, 4)[:, :-1].reshape(x.shape)[~spread] == 0).all()
    (gradient,) = torch.autograd.grad(model.generate(torch.zeros(40, 3), context).sum(), model.generator.last.bias)
    torch.testing.assert_close(gradient.sum(), (free * (1 - free))[~spread].sum())


def test_a_smaller_context_is_grown_and_both_networks_read_it():
    model, small = build(context_shape=(2, 2, 2)), torch.rand(5, 2, 2, 2).double()
    large = F.interpolate(small, (4, 4), mode="bicubic", align_corners=False)
    torch.testing.assert_close(grown(small, (4, 4)), large)
    z, x = model.noise(5), torch.rand(5, 1, 4, 4).double()
    torch.testing.assert_close(model.generate(z, small), model.generator(z, large))
    torch.testing.assert_close(model.critic(x, small), model.critic(x, large))
    for other in (model.generate(z, small.flip(0)), model.generate(z.flip(0), small)):
        assert not torch.allclose(model.generate(z, small), other)
    assert not torch.allclose(model.critic(x, small), model.critic(x, small.flip(0)))


def test_the_critic_is_the_mean_of_patches_that_see_no_further_than_it_says():
    critic = PatchCritic(torch.Size([1, 24, 24]), channels=(4, 6), gain=5.0).double()
    x = torch.rand(2, 1, 24, 24).double().requires_grad_()
    for _ in range(300):
        critic(x)
    critic.eval()
    patches = critic.patches(x)
    assert patches.shape == (2, 12, 12)
    torch.testing.assert_close(critic(x), patches.mean((1, 2)))
    (seen,) = torch.autograd.grad(patches[0, 6, 6], x)
    rows, columns = seen[0, 0].nonzero().T
    assert int(rows.max() - rows.min()) == int(columns.max() - columns.min()) == 9
    features = critic.features(x).unflatten(1, (6, 12, 12))
    torch.testing.assert_close(critic.last(features).squeeze(1) * 5.0, patches)
    kernels = [layer.weight.flatten(1) for layer in critic.modules() if isinstance(layer, nn.Conv2d)]
    assert len(kernels) == 3
    for kernel in kernels:
        assert float(torch.linalg.svdvals(kernel.detach())[0]) == pytest.approx(1.0, abs=1e-3)


def test_it_is_a_pyro_pair_and_a_spec_builds_it():
    model = zoo.build({"family": "pix2pix", "keeps": "known", **SMALL}, event_shape=(1, 4, 4), context_shape=(2, 4, 4))
    trace = poutine.trace(lambda context: model.model(context=context)).get_trace(torch.rand(5, 2, 4, 4))
    z, x = trace.nodes["z"], trace.nodes["x"]
    assert z["value"].shape == (5, 3) and x["value"].shape == (5, 1, 4, 4)
    assert x["infer"]["_deterministic"]
    assert float(trace.log_prob_sum()) == pytest.approx(
        float(torch.distributions.Normal(0.0, 1.0).log_prob(z["value"]).sum()), rel=1e-5
    )
    with pytest.raises(TypeError, match="cannot score x"):
        model.model(torch.zeros(5, 1, 4, 4), context=torch.zeros(5, 2, 4, 4))


def test_it_learns_from_pairs_what_becomes_of_an_image():
    context = torch.rand(256, 1, 4, 4)
    x = 1 - context
    model = Pix2Pix((1, 4, 4), context_shape=(1, 4, 4), latent=2, channels=(8,), bounds=(0.0, 1.0))
    before = (model.sample(256, context=context) - x).abs().mean()
    rates = {"critic": 2e-3, "generator": 1e-2}
    told = {"steps": 60, "batch_size": 32, "lr": rates, "every": 30, "progress": False}
    history = fit(model, {"x": x, "context": context}, **told).history
    assert {"critic.real", "critic.fake", "generator.from_partner"} <= set(history.columns)
    after = (model.sample(256, context=context) - x).abs().mean()
    assert after < 0.4 * before
    torch.testing.assert_close(model.from_partner(x, context), (x - context).abs().mean((1, 2, 3)))


@pytest.mark.parametrize(
    ("shapes", "told", "sentence"),
    [
        (((1, 8, 8), (1, 6, 6)), {}, "images of two sizes: x is 8 x 8, the context 6 x 6, but they must agree, or x's"),
        (((1, 8, 8), (1, 4, 8)), {}, "images of two sizes: x is 8 x 8, the context 4 x 8"),
        (((1, 4, 4), (1, 8, 8)), {}, "x is 4 x 4, the context 8 x 8"),
        (((1, 8, 8), (2, 4, 4)), {"keeps": "known"}, "the context 4 x 4, but they must agree$"),
        (((3, 4, 4), (3, 4, 4)), {"keeps": "known"}, r"x with gaps and a mask, \[4, 4, 4\], not \[3, 4, 4\]"),
        (((1, 4, 4), None), {}, "Pix2Pix makes an image of an image: give context_shape"),
        (((16,), (1, 4, 4)), {}, "x is an image"),
        (((1, 4, 4), (2,)), {}, "the context is an image"),
        (((1, 6, 6), (1, 6, 6)), {"channels": (4, 4, 4)}, "halves the sides of an image 2 times"),
        (((1, 4, 4), (1, 4, 4)), {"keeps": "knwon"}, "keeps: there is no 'knwon'; did you mean known"),
        (((1, 4, 4), (1, 4, 4)), {"channels": ()}, "channels"),
    ],
)
def test_what_can_not_be_is_refused_in_a_sentence(shapes, told, sentence):
    with pytest.raises(ValueError, match=sentence):
        Pix2Pix(shapes[0], context_shape=shapes[1], **told)


def test_rows_of_another_size_are_refused():
    model = build()
    with pytest.raises(ValueError, match=r"takes context of shape \[N, 2, 4, 4\], but was given \[5, 2, 8, 8\]"):
        model.sample(5, context=torch.zeros(5, 2, 8, 8))
    with pytest.raises(ValueError, match=r"Pix2Pix models x of shape \[N, 1, 4, 4\]"):
        fit(model, {"x": torch.rand(9, 1, 8, 8), "context": torch.rand(9, 2, 4, 4)}, steps=1, progress=False)


def test_networks_of_ones_own():
    own = ImageTranslator(torch.Size([1, 4, 4]), context_shape=torch.Size([1, 4, 4]), latent=2, channels=(4,))
    model = Pix2Pix((1, 4, 4), context_shape=(1, 4, 4), latent=2, generator=own)
    assert model.generator is own
    with pytest.raises(TypeError, match="critic must be a torch module"):
        Pix2Pix((1, 4, 4), context_shape=(1, 4, 4), critic=lambda *_, **__: 3)
