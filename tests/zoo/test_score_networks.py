"""Score networks and the conditioners they are told a context by."""

import copy
import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inference.fit import fit
from zoo.conditioners import AttendedTokens, ImageContext, TokenContext, VectorContext, conditioner_of
from zoo.score_networks import Attention, ScoreMLP, TimeEmbedding
from zoo.score_transformer import ScoreTransformer
from zoo.spec import SpecError, build, spec_of
from zoo.unet import UNet

SMALL = {
    "mlp": partial(ScoreMLP, width=8, blocks=2),
    "unet": partial(UNet, channels=(4, 8), heads=2, width=8),
    "transformer": partial(ScoreTransformer, width=8, layers=2, heads=2),
}
CONTEXTS = {
    "vector": ((3,), {"kind": "vector"}),
    "image": ((2, 2), {"kind": "image"}),
    "tokens": ((5,), {"kind": "tokens", "levels": 7, "layers": 1, "heads": 2}),
    "attended": ((5,), {"kind": "attended", "levels": 7, "layers": 1, "heads": 2}),
}
TAKEN = [(name, kind) for name in SMALL for kind in CONTEXTS if name != "mlp" or kind in ("vector", "tokens")]


def shaken(network: nn.Module) -> nn.Module:
    """Every parameter at random, those that begin at zero too, so that nothing is hidden."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return network.double()


def contexts(kind: str, rows: int, seed: int = 3) -> Tensor:
    generator, (shape, _) = torch.Generator().manual_seed(seed), CONTEXTS[kind]
    if kind in ("tokens", "attended"):
        return torch.randint(0, 7, (rows, *shape), generator=generator)
    return torch.randn(rows, *shape, generator=generator, dtype=torch.float64)


def rows_of(shape: tuple[int, ...], n: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(n, *shape, generator=generator, dtype=torch.float64), torch.linspace(
        0.1, 1.0, n, dtype=torch.float64
    )


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4), (3, 4, 8)])
@pytest.mark.parametrize("outputs", [1, 2])
def test_every_network_gives_outputs_of_x_s_shape_and_each_row_is_its_own(name, shape, outputs) -> None:
    network = shaken(SMALL[name](shape, outputs=outputs))
    z, time = rows_of(shape)
    told = network(z, time)
    assert told.shape == (3, outputs, *shape)
    torch.testing.assert_close(told[1:2], network(z[1:2], time[1:2]))
    assert (network(z, time.flip(0)) - told)[[0, 2]].abs().amin(dim=0).max() > 1e-3  # the time is heard
    moved = z.clone()
    moved[..., 0, 0] += 1.0
    assert (
        (network(moved, time) - told).abs().flatten(2).amax(dim=(0, 1)) > 1e-9
    ).all()  # every pixel sees every other


@pytest.mark.parametrize("shape", [(6,), (2, 3), (2, 3, 2)])
def test_a_perceptron_takes_rows_of_any_shape(shape) -> None:
    z, time = rows_of(shape)
    assert shaken(SMALL["mlp"](shape))(z, time).shape == (3, 1, *shape)


@pytest.mark.parametrize(("name", "kind"), TAKEN)
def test_a_context_is_heard_where_it_is_given(name, kind) -> None:
    shape, table = CONTEXTS[kind]
    network = shaken(SMALL[name]((1, 4, 4), context_shape=shape, conditioner=table))
    z, time = rows_of((1, 4, 4))
    first, second = contexts(kind, 3), contexts(kind, 3, seed=4)
    told, untold = network(z, time, first), network(z, time)
    assert ((network(z, time, second) - told).flatten(1).abs().amax(1) > 1e-6).all()
    assert ((untold - told).flatten(1).abs().amax(1) > 1e-6).all()
    given = torch.tensor([True, False, True])
    mixed = network(z, time, first, given)
    torch.testing.assert_close(mixed, torch.where(given.view(-1, 1, 1, 1, 1), told, untold))
    torch.testing.assert_close(network(z, time, second, ~given)[given], untold[given])  # not told, whatever it is


@pytest.mark.parametrize(("name", "kind"), TAKEN)
def test_every_parameter_learns(name, kind) -> None:
    shape, table = CONTEXTS[kind]
    network = shaken(SMALL[name]((1, 4, 4), context_shape=shape, conditioner=table))
    z, time = rows_of((1, 4, 4))
    loss = network(z, time, contexts(kind, 3), torch.tensor([True, False, True])).square().sum()
    loss.backward()
    silent = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert not silent


@pytest.mark.parametrize("name", ["unet", "transformer"])
def test_a_new_network_is_silent_and_learns_from_the_first_steps(name) -> None:
    torch.manual_seed(0)
    network = SMALL[name]((1, 4, 4))
    z, time = (t.float() for t in rows_of((1, 4, 4), 16))
    assert network(z, time).abs().max() == 0
    optimizer, target = torch.optim.Adam(network.parameters(), lr=0.02), z.flip(-1).unsqueeze(1)
    for _ in range(150):
        loss = (network(z, time) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.3 * target.square().mean()


@pytest.mark.parametrize("name", SMALL)
def test_state_copies_and_precisions_agree(name) -> None:
    network = shaken(SMALL[name]((1, 4, 4), context_shape=3))
    twin = copy.deepcopy(network)
    (z, time), context = rows_of((1, 4, 4)), contexts("vector", 3)
    assert torch.equal(twin(z, time, context), network(z, time, context))
    single = SMALL[name]((1, 4, 4), context_shape=3)
    single.load_state_dict(network.state_dict())
    low = single(z.float(), time.float(), context.float())
    torch.testing.assert_close(low.double(), network(z, time, context), rtol=1e-3, atol=1e-3)


def test_a_level_of_a_unet_by_hand() -> None:
    """One level: the parts one after the other, the places of an image attended to as a sequence."""
    network = shaken(UNet((1, 2, 2), channels=(4,), heads=1, width=8))
    z, time = rows_of((1, 2, 2))
    e, h = network.time(time), network.first(z)
    block = network.down[0][0]
    scale, shift = block.moved(e).chunk(2, 1)
    inner = block.norm2(block.conv1(F.silu(block.norm1(h)))) * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
    h = h + block.conv2(F.silu(inner))
    places = network.middle.places
    sequence = h.flatten(2).mT
    read = places.norm(sequence)
    key, value = places.kept(read).chunk(2, -1)
    weights = (places.asked(read) @ key.mT / math.sqrt(4)).softmax(-1)
    h = h + places.gathered(weights @ value).mT.view_as(h)
    h = network.up[0][0](h, e)
    told = network.last(F.silu(network.norm(h)))
    torch.testing.assert_close(network(z, time), told[:, None])


def test_a_layer_of_a_transformer_by_hand() -> None:
    """Each norm scaled and moved by numbers of its own."""
    network = shaken(ScoreTransformer((1, 2, 4), width=8, heads=2, layers=1))
    z, time = rows_of((1, 2, 4))
    e, block = network.time(time), network.blocks[0]
    scale1, shift1, scale2, shift2, scale3, shift3 = (
        part[:, None] for moved in (block.moved(e).chunk(4, 1), network.moved(e).chunk(2, 1)) for part in moved
    )
    h = network.first(F.pixel_unshuffle(z, 2).flatten(2).mT) + network.place
    h = h + block.patches(h * (1 + scale1) + shift1)
    h = h + block.down(F.gelu(block.up(F.layer_norm(h, (8,)) * (1 + scale2) + shift2)))
    h = network.last(F.layer_norm(h, (8,)) * (1 + scale3) + shift3)
    told = F.pixel_shuffle(h.mT.unflatten(2, (1, 2)), 2)
    torch.testing.assert_close(network(z, time), told[:, None])


def test_attention_of_several_heads_is_torch_s_own() -> None:
    ours = shaken(Attention(8, 2, memory=6))
    torchs = nn.MultiheadAttention(8, 2, kdim=6, vdim=6, batch_first=True).double()
    with torch.no_grad():
        torchs.q_proj_weight.copy_(ours.asked.weight)
        torchs.k_proj_weight.copy_(ours.kept.weight[:8])
        torchs.v_proj_weight.copy_(ours.kept.weight[8:])
        torchs.in_proj_bias.copy_(torch.cat([ours.asked.bias, ours.kept.bias]))
        torchs.out_proj.load_state_dict(ours.gathered.state_dict())
    h, tokens = rows_of((5, 8))[0], rows_of((4, 6))[0]
    torch.testing.assert_close(ours(h, tokens), torchs(ours.norm(h), tokens, tokens)[0])


def test_patches_are_squares_of_the_image_and_go_back_where_they_came_from() -> None:
    network = ScoreTransformer((2, 4, 6), width=8, heads=2, layers=0 + 1)
    x = torch.arange(48.0).view(1, 2, 4, 6)
    patches = network._patches(x)
    assert patches.shape == (1, 6, 8)
    assert set(patches[0, 4].tolist()) == set(x[0, :, 2:, 2:4].flatten().tolist())
    assert torch.equal(network._image(patches)[:, 0], x)


def test_the_embedding_tells_times_apart_and_follows_the_precision() -> None:
    embedding = TimeEmbedding(8)
    assert embedding(torch.tensor([0.5])).dtype == torch.float32
    double = embedding.double()(torch.tensor([0.001, 0.002, 1.0], dtype=torch.float64))
    assert torch.pdist(double).min() > 1e-4


def test_an_image_beside_is_grown_bilinearly_and_flagged() -> None:
    conditioner = ImageContext(torch.Size([1, 2, 2]), event_shape=torch.Size([1, 4, 4]), width=8)
    low = torch.tensor([[[[0.0, 4.0], [8.0, 12.0]]]])
    told = conditioner(low.expand(2, 1, 2, 2), torch.tensor([True, False]), 2).beside
    assert told is not None
    assert told.shape == (2, 2, 4, 4)
    torch.testing.assert_close(told[0, 0, 0], torch.tensor([0.0, 1.0, 3.0, 4.0]))
    torch.testing.assert_close(told[0, 0, :, 0], torch.tensor([0.0, 2.0, 6.0, 8.0]))
    assert told[0, 1].unique().tolist() == [1.0]
    assert told[1].unique().tolist() == [0.0]
    bare = conditioner(None, None, 2).beside
    assert torch.equal(bare, told[1:].expand(2, -1, -1, -1))


def test_text_is_read_by_the_order_of_its_tokens() -> None:
    torch.manual_seed(0)
    conditioner = TokenContext(torch.Size([4]), event_shape=torch.Size([4]), width=8, levels=5, heads=2)
    there = conditioner(torch.tensor([[0, 1, 2, 3]]), None, 1).vector
    back = conditioner(torch.tensor([[3, 2, 1, 0]]), None, 1).vector
    assert there is not None
    assert (there - back).abs().max() > 1e-3
    attended = AttendedTokens(torch.Size([4]), event_shape=torch.Size([4]), width=8, levels=5, heads=2)
    assert attended(torch.tensor([[0, 1, 2, 3]]), None, 1).tokens.shape == (1, 4, 8)
    with pytest.raises(ValueError, match="codes 0 to 5, but they are 0 to 4"):
        conditioner(torch.tensor([[0, 1, 2, 5]]), None, 1)
    with pytest.raises(ValueError, match="tokens are whole numbers"):
        conditioner(torch.tensor([[0.0, 1.0, 2.5, 3.0]]), None, 1)


def test_an_image_enters_beside_unless_told_and_anything_else_as_a_vector() -> None:
    assert isinstance(UNet((4, 4), context_shape=(2, 2)).conditioner, ImageContext)
    assert isinstance(UNet((4, 4), context_shape=5).conditioner, VectorContext)
    assert isinstance(ScoreTransformer((4, 4), context_shape=(1, 4, 4)).conditioner, ImageContext)
    assert isinstance(ScoreMLP((4, 4), context_shape=(4, 4)).conditioner, VectorContext)
    assert isinstance(UNet((4, 4), context_shape=(4, 4), conditioner="vector").conditioner, VectorContext)
    own = VectorContext(torch.Size([2]), event_shape=torch.Size([4, 4]), width=128)
    assert UNet((4, 4), context_shape=2, conditioner=own).conditioner is own


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UNet(64), r"is an image, \[channels, height, width\] or \[height, width\], not \[64\]"),
        (lambda: UNet((1, 7, 8)), r"halves the sides of an image 1 times, but \[1, 7, 8\] can't be"),
        (lambda: UNet((8, 8), channels=()), "channels, blocks and outputs of at least 1"),
        (lambda: UNet((8, 8), heads=3), "divide the width 64"),
        (lambda: ScoreTransformer((9, 8)), "do not tile"),
        (lambda: ScoreTransformer((8, 8), width=0), "at least 1"),
        (lambda: ScoreMLP(4, width=0), "at least 1"),
        (lambda: ScoreMLP((4, 4), context_shape=(4, 4), conditioner={"kind": "image"}), "ImageContext does not tell"),
        (lambda: ScoreMLP(4, context_shape=4, conditioner={"kind": "attended", "levels": 3}), "does not tell"),
        (lambda: UNet((4, 4), conditioner={"kind": "vector"}), "give context_shape"),
        (lambda: UNet((4, 4), context_shape=3, conditioner={"kind": "vectors"}), "did you mean vector"),
        (
            lambda: UNet((4, 4), context_shape=3, conditioner={"kind": "tokens"}),
            "conditioner.levels is missing: a whole number",
        ),
        (lambda: UNet((4, 4), context_shape=3, conditioner={"kind": "tokens", "level": 3}), "did you mean levels"),
        (lambda: UNet((4, 4), context_shape=3, conditioner="token"), "did you mean tokens"),
        (lambda: UNet((4, 4), context_shape=3, conditioner={"levels": 3}), "its table has no kind"),
        (lambda: UNet((4, 4), context_shape=3, conditioner={"kind": "image"}), "the context of an image conditioner"),
        (lambda: UNet((4, 4), context_shape=(3, 3), conditioner={"kind": "tokens", "levels": 3}), "row of codes"),
        (
            lambda: UNet((4, 4), context_shape=3, width=9, conditioner={"kind": "tokens", "levels": 3}),
            "heads divide the width 9",
        ),
    ],
)
def test_what_does_not_fit_is_named(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_place_for_a_conditioner_takes_nothing_else() -> None:
    with pytest.raises(TypeError, match="must be a Conditioner, or build one, not Linear"):
        conditioner_of(lambda *_, **__: nn.Linear(2, 2), torch.Size([2]), event_shape=torch.Size([2]), width=4)


@pytest.mark.parametrize(
    ("network", "context_shape"),
    [
        ({"kind": "mlp", "width": 8, "blocks": 1}, 3),
        ({"kind": "unet", "channels": [4, 8], "heads": 2, "width": 8}, None),
        ({"kind": "unet", "channels": [4], "heads": 2, "width": 8, "conditioner": {"kind": "image"}}, [2, 2]),
        ({"kind": "transformer", "width": 8, "layers": 1, "conditioner": {"kind": "attended", "levels": 7}}, 5),
    ],
)
def test_a_spec_declares_a_network_and_a_fit_moves_it(network, context_shape) -> None:
    spec = {"family": "diffusion", "event_shape": [1, 4, 4], "levels": 3, "steps": 5, "network": network}
    model = build({**spec, "context_shape": context_shape} if context_shape else spec)
    assert build(spec_of(model)).network.event_shape == model.event_shape
    x = torch.randint(0, 3, (20, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    codes = torch.randint(0, 7, (20, *(model.context_shape or ())), generator=torch.Generator().manual_seed(1))
    context = None if context_shape is None else codes if "attended" in str(network) else codes.float()
    before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    fit(model, x if context is None else {"x": x, "context": context}, steps=3, average=0.9, progress=False)
    assert not torch.equal(nn.utils.parameters_to_vector(model.parameters()), before)
    assert model.sample(2, context=None if context is None else context[:2]).shape == (2, 1, 4, 4)


def test_a_spec_names_what_no_network_has() -> None:
    with pytest.raises(SpecError, match="channel is not a parameter of unet; did you mean channels"):
        build({"family": "diffusion", "event_shape": [1, 4, 4], "network": {"kind": "unet", "channel": [4]}})
