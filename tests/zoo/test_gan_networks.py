"""The networks of GANs: spectral norms, attention, what rows see of each other, classes, images of every size."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

import zoo
from inference.fit import fit
from inference.objectives.adversarial import NonSaturating, critic_loss
from inference.objectives.games import Hinge
from inference.objectives.penalties import R1
from zoo.class_context import ClassContext, LinearContext
from zoo.critics import CriticNetwork
from zoo.gan import GAN
from zoo.gan_networks import GeneratorNetwork
from zoo.image_critics import DCGANCritic, ResidualCritic
from zoo.image_generators import DCGANGenerator, ResidualGenerator
from zoo.minibatch import MinibatchDeviation, MinibatchDiscrimination
from zoo.normalisation import Reference, Spectral, VirtualBatchNorm
from zoo.self_attention import SelfAttention
from zoo.spec import SpecError

CRITICS = {"mlp": CriticNetwork, "dcgan": DCGANCritic, "residual": ResidualCritic}
GENERATORS = {"mlp": GeneratorNetwork, "dcgan": DCGANGenerator, "residual": ResidualGenerator}
KINDS = tuple(CRITICS)
IMAGE = (1, 6, 5)
SMALL = {"mlp": {"hidden": (8, 8)}, "dcgan": {"channels": (3, 4)}, "residual": {"channels": (3, 4)}}


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def shaken(network: nn.Module) -> nn.Module:
    """Every parameter moved, so that no gate is shut and no scale is one."""
    with torch.no_grad():
        for parameter in network.double().parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network


# ---- spectral norm


def weight_layers(network: nn.Module) -> list[nn.Module]:
    return [part for part in network.modules() if hasattr(part, "parametrizations")]


@pytest.mark.parametrize("kind", KINDS)
def test_critics_keep_spectral_norm_one_while_they_are_trained(kind):
    part = {"hidden": [8]} if kind == "mlp" else {"kind": kind, "channels": [4, 6], "attention": 1}
    model = GAN(IMAGE, context_shape=2, latent=3, hidden=(8,), critic={**part, "conditioner": "linear"})
    x, context = torch.rand(64, *IMAGE), torch.randn(64, 2)
    fit(model, {"x": x, "context": context}, Hinge(), steps=25, batch_size=32, lr=1e-2, progress=False)
    layers = weight_layers(model.critic)
    assert len(layers) >= 3
    before = [layer.parametrizations.weight.original.detach().flatten(1) for layer in layers]
    after = [layer.weight.detach().flatten(1) for layer in layers]
    assert max(abs(float(torch.linalg.svdvals(matrix)[0]) - 1) for matrix in before) > 0.3  # it is the norm's doing
    for matrix in after:
        assert 0.9 < float(torch.linalg.svdvals(matrix)[0]) < 1.1


def test_a_weight_is_divided_by_its_largest_singular_value():
    network = nn.Sequential(
        nn.Linear(5, 4), nn.Conv2d(2, 3, 3), nn.ConvTranspose2d(2, 3, 4), nn.Embedding(6, 3)
    ).double()
    kept = [copy.deepcopy(layer.weight.detach()) for layer in network]
    Spectral().dress(network)
    for _ in range(300):
        got = [layer.weight.detach() for layer in network]
    for before, after, transposed in zip(kept, got, [False, False, True, False], strict=True):
        matrix = before.transpose(0, 1).flatten(1) if transposed else before.flatten(1)
        assert torch.allclose(after, before / torch.linalg.svdvals(matrix)[0], rtol=1e-6)


# ---- self-attention


def test_attention_is_that_of_the_formula_written_out():
    attention = shaken(SelfAttention(16))
    h = normal(2, 16, 3, 2)
    query, key, value, gathered = (
        part.weight.detach()[:, :, 0, 0]
        for part in (attention.query, attention.key, attention.value, attention.gathered)
    )
    expected = h.clone()
    for row in range(2):
        places = [h[row, :, i // 2, i % 2] for i in range(6)]
        for i, place in enumerate(places):
            scores = torch.stack([(query @ place) @ (key @ other) for other in places])
            share = scores.exp() / scores.exp().sum()
            found = sum(s * (value @ other) for s, other in zip(share, places, strict=True))
            expected[row, :, i // 2, i % 2] += attention.gate.detach() * (gathered @ found)
    assert torch.allclose(attention(h), expected)
    assert not torch.allclose(expected, h, atol=1e-3)


def test_attention_begins_as_the_identity_and_its_gate_can_learn():
    attention, h = SelfAttention(4).double(), normal(2, 4, 3, 3)
    out = attention(h)
    assert torch.equal(out, h)
    (out * normal(*h.shape)).sum().backward()
    assert attention.gate.grad.abs() > 0


# ---- what rows see of each other


def test_minibatch_discrimination_is_the_double_loop():
    layer = MinibatchDiscrimination(5, kernels=3, dims=2).double()
    f = normal(4, 5) * 0.3
    matrix = layer.network.weight.detach().view(3, 2, 5)
    expected = torch.zeros(4, 3, dtype=torch.float64)
    for i in range(4):
        for b in range(3):
            for j in range(4):
                if j != i:
                    expected[i, b] += (-(matrix[b] @ f[i] - matrix[b] @ f[j]).abs().sum()).exp() / 3
    assert torch.allclose(layer(f), expected)
    assert torch.equal(layer(f[:1]), torch.zeros(1, 3, dtype=torch.float64))
    alike = layer(f[:1].expand(4, -1))
    assert torch.allclose(alike, torch.ones_like(alike))


def test_minibatch_deviation_is_the_mean_of_standard_deviations():
    f = normal(7, 5)
    expected = (f - f.mean(0)).square().mean(0).sqrt().mean()
    assert torch.allclose(MinibatchDeviation(5)(f), expected.expand(7, 1), atol=1e-6)
    still = f[:1].repeat(3, 1).requires_grad_()
    MinibatchDeviation(5)(still).sum().backward()
    assert still.grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "part", [{"norm": "batch"}, {"minibatch": "deviation"}, {"minibatch": {"kind": "discrimination"}}]
)
def test_a_critic_that_compares_rows_is_shown_each_kind_of_rows_by_itself(kind, part):
    critic = CRITICS[kind](IMAGE, **SMALL[kind], **part)
    real, made = torch.rand(6, *IMAGE), torch.rand(6, *IMAGE) * 3
    assert critic.compares_rows
    terms = critic_loss(copy.deepcopy(critic), real, made).terms
    apart, together = copy.deepcopy(critic), copy.deepcopy(critic)
    assert torch.allclose(terms["real"], apart(real).mean(), atol=1e-6)
    assert not torch.allclose(terms["real"], together(torch.cat([real, made]))[:6].mean(), atol=1e-6)


# ---- virtual batch norm


@pytest.mark.parametrize("places", [(), (3, 2)])
def test_virtual_batch_norm_goes_by_the_reference_and_the_row_itself(places):
    layer, h = shaken(VirtualBatchNorm(4, 5)), 2 + 3 * normal(8, 4, *places)
    axes = (0, *range(2, h.dim()))
    shape = (1, 4, *(1 for _ in places))
    weight, bias = layer.weight.detach().view(shape), layer.bias.detach().view(shape)

    def among(rows: Tensor) -> Tensor:
        mean = rows.mean(axes, keepdim=True)
        variance = (rows - mean).square().mean(axes, keepdim=True)
        return (rows - mean) / (variance + 1e-5).sqrt() * weight + bias

    out = layer(h)
    assert torch.allclose(out[:5], among(h[:5]))
    for row in range(5, 8):
        assert torch.allclose(out[row], among(torch.cat([h[:5], h[row : row + 1]]))[-1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", ["virtual", "spectral", "layer", "none"])
def test_rows_do_not_touch_each_other(kind, norm):
    critic = shaken(CRITICS[kind](IMAGE, **SMALL[kind], norm=norm)).eval()
    generator = shaken(GENERATORS[kind](IMAGE, **SMALL[kind], latent=3, norm=norm)).eval()
    x, noise = normal(5, *IMAGE), normal(5, 3)
    assert not critic.compares_rows
    for network, rows in ((critic, x), (generator, noise)):
        one = torch.cat([network(row[None]) for row in rows])
        assert torch.allclose(network(rows), one)


@pytest.mark.parametrize("kind", KINDS)
def test_the_reference_batch_is_of_the_first_rows_and_stays(kind):
    part = {
        "kind": kind,
        **SMALL[kind],
        "norm": {"kind": "virtual", "reference": 4},
        "conditioner": {"kind": "classes", "levels": 3},
    }
    model = GAN(IMAGE, context_shape=(), latent=3, critic=part, generator=part)
    x, classes = torch.rand(3, *IMAGE), torch.tensor([2, 0, 1])
    noise = model.generator.reference.rows.clone()
    model.initialise(x, classes)
    model.initialise(2 * x, classes.flip(0))
    critic, generator = model.critic.reference, model.generator.reference
    assert torch.equal(critic.rows, x[[0, 1, 2, 0]])
    assert torch.equal(generator.rows, noise)
    for reference in (critic, generator):
        assert reference.context.tolist() == [2, 0, 1, 2]
    twin = GAN(IMAGE, context_shape=(), latent=3, critic=part, generator=part)
    twin.load_state_dict(model.state_dict())
    twin.initialise(3 * x, classes)
    assert torch.equal(twin.critic.reference.rows, critic.rows)
    assert not Reference(0, torch.Size([2]), None).state_dict()


# ---- the critic's last layers


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("norm", ["spectral", "none"])
def test_a_class_enters_by_a_projection(kind, norm):
    given_class = {"kind": "classes", "levels": 4}
    critic = shaken(
        CRITICS[kind](IMAGE, **SMALL[kind], context_shape=(), norm=norm, gain=3.0, conditioner=given_class)
    ).eval()
    x, y = normal(6, *IMAGE), torch.tensor([0, 3, 1, 1, 2, 0])
    last = critic.network[-1] if kind == "mlp" else critic.psi
    phi, table = critic.features(x, y).detach(), critic.conditioner.network.weight.detach()
    onehot = torch.eye(4, dtype=torch.float64)[y]
    expected = 3.0 * (
        phi @ last.weight.detach()[0] + last.bias.detach() + torch.einsum("nk,kd,nd->n", onehot, table, phi)
    )
    assert torch.allclose(critic(x, y), expected)
    assert not torch.allclose(critic(x, y), critic(x, (y + 1) % 4))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("minibatch", [None, "deviation"])
def test_features_are_what_the_last_layer_reads(kind, minibatch):
    critic, x = shaken(CRITICS[kind](IMAGE, **SMALL[kind], gain=2.0, minibatch=minibatch)).eval(), normal(5, *IMAGE)
    last = critic.network[-1] if kind == "mlp" else critic.psi
    f = critic.features(x)
    assert f.shape == (5, last.in_features)
    assert torch.allclose(critic(x), 2.0 * last(f).squeeze(1))


def test_a_class_is_what_its_one_hot_is_to_a_matrix():
    shapes = {"event_shape": torch.Size([2]), "width": 5}
    classes = ClassContext(torch.Size([1]), levels=4, **shapes)
    linear = LinearContext(torch.Size([4]), **shapes)
    with torch.no_grad():
        linear.network.weight.copy_(classes.network.weight.mT)
    y = torch.tensor([[3.0], [0.0], [2.0]])
    told = classes(y, None, 3).vector
    assert torch.allclose(told, linear(torch.eye(4)[y[:, 0].long()], None, 3).vector)
    assert torch.equal(told, classes.network.weight[[3, 0, 2]])


@pytest.mark.parametrize("kind", ["dcgan", "residual"])
@pytest.mark.parametrize("norm", ["spectral", "layer", "virtual"])
def test_critics_can_be_differentiated_twice(kind, norm):
    critic = shaken(CRITICS[kind]((1, 3, 3), channels=(3,), attention=1, norm=norm)).eval()
    x = normal(2, 1, 3, 3).requires_grad_()

    def slope(x: Tensor) -> Tensor:
        return torch.autograd.grad(critic(x).sum(), x, create_graph=True)[0]

    assert torch.autograd.gradcheck(slope, (x,))


# ---- images of every size


@settings(max_examples=25, deadline=None)
@given(
    image=st.tuples(st.integers(1, 3), st.integers(1, 21), st.integers(1, 21)),
    kind=st.sampled_from(["dcgan", "residual"]),
    flat=st.booleans(),
    levels=st.integers(1, 3),
    norm=st.sampled_from(["batch", "layer", "virtual", "none", "spectral"]),
    classes=st.booleans(),
)
def test_images_of_any_size_and_colours(image, kind, flat, levels, norm, classes):
    shape = image[1:] if flat else image
    conditioner = {"conditioner": {"kind": "classes", "levels": 3}} if classes else {}
    part = {"kind": kind, "channels": [2, 3, 4][:levels], "norm": norm, "attention": levels, **conditioner}
    model = GAN(shape, context_shape=() if classes else None, latent=2, generator=part, critic=part)
    context = torch.tensor([0, 2, 1]) if classes else None
    x = model.sample(3, context=context)
    assert x.shape == (3, *shape)
    assert x.isfinite().all()
    logits = model.critic(x, context) if classes else model.critic(x)
    assert logits.shape == (3,)
    assert logits.isfinite().all()
    model.generate(model.noise(3), context).square().sum().backward()
    missing = [name for name, p in model.generator.named_parameters() if p.grad is None]
    assert all(name.endswith("not_told") for name in missing)


@pytest.mark.parametrize(("side", "halvings"), [(8, 2), (28, 3), (64, 4), (5, 2), (3, 2)])
def test_images_are_halved_until_they_are_small(side, halvings):
    assert DCGANCritic((side, side)).channels == [32 * 2**k for k in range(halvings)]


# ---- fits, runs and tables


PARTS = {
    "batch": (
        {"kind": "dcgan", "channels": [4, 6]},
        {"kind": "residual", "channels": [4, 6], "minibatch": "deviation"},
    ),
    "virtual": (
        {"kind": "residual", "channels": [4, 6], "norm": {"kind": "virtual", "reference": 6}},
        {"kind": "dcgan", "channels": [4, 6], "norm": {"kind": "virtual", "reference": 6}, "attention": 1},
    ),
}


def table(parts: str) -> dict:
    """A model's table whose classes are codes, of which there are three."""
    classes = {"conditioner": {"kind": "classes", "levels": 3}}
    generator, critic = ({**part, **classes} for part in PARTS[parts])
    return {"family": "gan", "latent": 3, "bounds": [0.0, 1.0], "generator": generator, "critic": critic}


def built(parts: str) -> GAN:
    torch.manual_seed(3)
    return zoo.build(table(parts), event_shape=IMAGE, context_shape=())


@pytest.mark.parametrize("parts", PARTS)
def test_a_fit_goes_on_from_a_checkpoint_to_the_bit(parts, tmp_path):
    generator = torch.Generator().manual_seed(1)
    data = {"x": torch.rand(40, *IMAGE, generator=generator), "context": torch.arange(40) % 3}
    same = {"batch_size": 16, "average": 0.9, "progress": False}
    objective = [Hinge(penalty=R1(0.1)) for _ in range(3)]
    whole, half, rest = built(parts), built(parts), built(parts)
    fit(whole, data, objective[0], steps=9, **same)
    fit(half, data, objective[1], steps=5, checkpoint=tmp_path / "half.pt", **same)
    fit(rest, data, objective[2], steps=9, resume=tmp_path / "half.pt", **same)
    state, start = rest.state_dict(), built(parts).state_dict()
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    moved = [name for name in state if not torch.equal(state[name], start[name])]
    assert any("running_mean" in name or "reference" in name for name in moved)


@pytest.mark.parametrize("parts", PARTS)
def test_draws_are_made_as_trained_and_change_nothing(parts):
    model, y = built(parts), torch.tensor([0, 1, 2, 1])
    model.train()
    for _ in range(5):
        model.generate(model.noise(30), torch.arange(30) % 3)
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(7)
    x = model.sample(4, context=y)
    assert model.training
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in before.items())
    torch.manual_seed(7)
    noise, model = model.noise(4), model.eval()
    one = torch.cat([model.generate(noise[i : i + 1], y[i : i + 1]) for i in range(4)])
    assert torch.allclose(x, one, atol=1e-6)
    assert model.sample(0, context=y[:0]).shape == (0, *IMAGE)


@pytest.mark.parametrize("parts", PARTS)
def test_a_table_says_it_all(parts, tmp_path):
    model = built(parts)
    model.initialise(torch.rand(5, *IMAGE), torch.tensor([0, 1, 2, 0, 1]))
    zoo.save(model, tmp_path / "run")
    again = zoo.load(tmp_path / "run")
    assert again.spec == model.spec
    torch.manual_seed(1)
    x = model.sample(3, context=torch.tensor([0, 1, 2]))
    torch.manual_seed(1)
    assert torch.equal(again.sample(3, context=torch.tensor([0, 1, 2])), x)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"critic": "dcgam"}, "critic: there is no kind 'dcgam'.*dcgan"),
        ({"generator": {"kind": "dcgan", "norms": "batch"}}, "norms is not a parameter of dcgan.*norm"),
        ({"generator": {"kind": "dcgan", "channels": []}}, "channels must be widths of at least 1"),
        ({"critic": {"kind": "residual", "attention": 3}}, "attention stands after a halving, 1 to 2 here, not 3"),
        ({"critic": {"norm": "virtuall"}}, "norm: there is no kind 'virtuall'.*virtual"),
        ({"critic": {"norm": {"kind": "virtual", "reference": 1}}}, "a reference batch has at least 2 rows, not 1"),
        ({"critic": {"minibatch": {"kind": "discrimination", "kernels": 0}}}, "kernels and dims must be at least 1"),
        ({"critic": {"kind": "dcgan", "gain": 0.0}}, "gain must be above 0"),
        ({"critic": {"conditioner": "linear"}}, "needs a context"),
    ],
)
def test_wrong_tables_are_refused(own, message):
    with pytest.raises(SpecError, match=message):
        zoo.build({"family": "gan", **own}, event_shape=(1, 6, 6))


def test_other_gans_take_the_same_tables():
    part = {"kind": "dcgan", "channels": [2]}
    model = zoo.build({"family": "alpha_gan", "latent": 2, "generator": part, "critic": part}, event_shape=(1, 4, 4))
    assert isinstance(model.critic, DCGANCritic)
    fit(model, torch.rand(8, 1, 4, 4), steps=2, batch_size=4, progress=False)
    assert model.reconstruct(model.sample(2)).shape == (2, 1, 4, 4)


def test_rows_that_are_no_images_are_refused_by_convolutions():
    with pytest.raises(ValueError, match=r"what a convolutional critic judges is an image.*not \[5\]"):
        GAN(5, critic="dcgan")
    with pytest.raises(ValueError, match=r"what a convolutional generator makes is an image.*not \[5\]"):
        GAN(5, generator="residual")


def test_classes_that_are_none_are_refused():
    part = {"kind": "dcgan", "conditioner": {"kind": "classes", "levels": 3}}
    model = GAN(IMAGE, context_shape=(), generator=part, critic=part)
    with pytest.raises(ValueError, match="row 1 of the context is 3, but a class is a code 0 to 2"):
        model.sample(2, context=torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="is one code a row"):
        GAN(IMAGE, context_shape=2, generator=part)
    with pytest.raises(ValueError, match="ImageContext does not tell"):
        GAN(IMAGE, context_shape=IMAGE, critic={"kind": "dcgan", "conditioner": "image"})


@pytest.mark.slow
def test_digits_of_a_class_are_what_a_classifier_takes_them_for():
    """A generator deaf to its context would be right of one in ten; the classifier has seen real rows alone."""
    digits = load_digits()
    x, y = torch.tensor(digits.images[:1347, None] / 16, dtype=torch.float32), torch.tensor(digits.target[:1347])
    classes = {"kind": "dcgan", "conditioner": {"kind": "classes", "levels": 10}}
    free = {**classes, "norm": "none", "gain": 1.0}
    model = GAN((1, 8, 8), context_shape=(), bounds=(0.0, 1.0), generator=classes, critic=free)
    objective, rate = NonSaturating(penalty=R1(1.0)), {"critic": 1e-3, "generator": 1e-3}
    fit(model, {"x": x, "context": y}, objective, steps=900, batch_size=64, lr=rate, average=0.99, progress=False)
    asked = torch.arange(10).repeat_interleave(40)
    made = model.sample(400, context=asked)
    classifier = LogisticRegression(max_iter=2000).fit(x.flatten(1).numpy(), y.numpy())
    assert classifier.score(made.flatten(1).numpy(), asked.numpy()) > 0.8
    assert made.view(10, 40, -1).std(1).mean() > 0.5 * x[y == 3].flatten(1).std(0).mean()  # no one digit a class
