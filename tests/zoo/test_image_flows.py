"""Flows over images: every part and the whole against autograd's Jacobian, round trips, starts, refusals."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo
from inference.fit import fit
from tests.zoo.shaking import normal, shaken
from zoo.conditionals import Bernoulli, Gaussian
from zoo.glow import Glow
from zoo.image_flows import Scale, nested, squeeze, unsqueeze
from zoo.image_parts import (
    ActNorm,
    Chain,
    ChannelCoupling,
    CheckerboardCoupling,
    ConvNet,
    InvertibleConvolution,
    Nets,
)
from zoo.image_realnvp import ImageRealNVP

FAMILIES = {"glow": partial(Glow, hidden=4), "realnvp": partial(ImageRealNVP, hidden=4)}
SHORT = {"glow": {"steps": 2}, "realnvp": {"couplings": 2}}
NETS = Nets(4, 1, 2.0, None)
GIVEN = Nets(4, 1, 2.0, torch.Size([3]))
SHAPE = torch.Size([2, 2, 4])


def parts(nets):
    return {
        "actnorm": ActNorm(2),
        "convolution": InvertibleConvolution(2),
        "channels first": ChannelCoupling(2, 0, nets),
        "channels second": ChannelCoupling(2, 1, nets),
        "black": CheckerboardCoupling(SHAPE, 0, nets),
        "white": CheckerboardCoupling(SHAPE, 1, nets),
        "chain": Chain([ActNorm(2), InvertibleConvolution(2), ChannelCoupling(2, 0, nets)]),
        "scale": nested(SHAPE, 1, nets, lambda s: [CheckerboardCoupling(s, 0, nets)], lambda s: [ActNorm(s[0])]),
    }


def check_against_autograd(transform, row, context=None):
    """Both directions: the log-determinant is the Jacobian's, and the other direction leads back."""
    for go, back in (
        (transform.forward_and_log_det, transform.inverse_and_log_det),
        (transform.inverse_and_log_det, transform.forward_and_log_det),
    ):
        value, log_det = go(row, context)
        assert value.shape == row.shape and log_det.shape == row.shape[:1]
        jacobian = torch.autograd.functional.jacobian(lambda x, go=go: go(x[None], context)[0][0].flatten(), row[0])
        jacobian = jacobian.flatten(1)
        assert torch.allclose(log_det[0], torch.linalg.slogdet(jacobian)[1], atol=1e-9)
        again, back_det = back(value, context)
        assert torch.allclose(again, row, atol=1e-8)
        assert torch.allclose(back_det, -log_det, atol=1e-8)


@pytest.mark.parametrize("name", parts(NETS))
@pytest.mark.parametrize("nets", [NETS, GIVEN], ids=["alone", "given"])
def test_log_determinants_of_each_part_are_autograds(name, nets):
    part = shaken(parts(nets)[name], seed=4)
    check_against_autograd(part, normal(1, *SHAPE, seed=7), normal(1, 3) if nets is GIVEN else None)


@settings(max_examples=12, deadline=None)
@given(
    family=st.sampled_from(sorted(FAMILIES)),
    shape=st.sampled_from([(1, 2, 2), (1, 4, 4), (2, 4, 4), (3, 2, 4)]),
    count=st.integers(1, 3),
    blocks=st.integers(0, 2),
    context_size=st.sampled_from([None, 1, 3]),
    seed=st.integers(0, 99),
)
def test_log_determinants_of_the_whole_are_autograds(family, shape, count, blocks, context_size, seed):
    deepest = 2 if shape[1] % 4 == 0 and shape[2] % 4 == 0 else 1
    torch.manual_seed(seed)
    model = FAMILIES[family](shape, context_shape=context_size, scales=min(count, deepest), blocks=blocks)
    model = shaken(model, 0.1, seed=seed)
    model.initialise(normal(32, *shape, seed=seed + 2))  # a Jacobian whose condition leaves digits to compare
    context = None if context_size is None else normal(1, context_size, seed=seed)
    check_against_autograd(model.transform, normal(1, *shape, seed=seed + 1), context)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("depth", [8, 32])
def test_round_trips_of_deep_stacks(family, depth):
    torch.manual_seed(0)
    model = FAMILIES[family]((1, 4, 4), **{{"glow": "steps", "realnvp": "couplings"}[family]: depth})
    model = shaken(model, 0.05)
    x = normal(6, 1, 4, 4)
    model.initialise(x)
    z, log_det = model.transform.inverse_and_log_det(x)
    again, back = model.transform.forward_and_log_det(z)
    assert torch.isfinite(log_det).all() and (log_det.abs() > 1e-3).all()
    assert torch.allclose(again, x, atol=1e-6)
    assert torch.allclose(back, -log_det, atol=1e-6)


def test_the_convolution_multiplies_by_the_matrix_of_its_factors():
    convolution = shaken(InvertibleConvolution(5))
    lower, upper = torch.eye(5).double(), torch.diag(convolution.signs * convolution.log_scale.exp())
    for i, (row, column) in enumerate((r, c) for r in range(5) for c in range(r)):
        lower[row, column], upper[column, row] = convolution.lower[i], convolution.upper[i]
    weight = convolution.permutation @ lower @ upper
    y = normal(3, 5, 2, 4)
    x, log_det = convolution.inverse_and_log_det(y)
    assert torch.allclose(x, torch.einsum("ij,njhw->nihw", weight, y))
    assert torch.allclose(log_det, torch.linalg.slogdet(weight)[1].expand(3) * 8)
    assert torch.allclose(convolution.permutation @ convolution.permutation.mT, torch.eye(5).double())


def test_the_convolution_starts_as_a_rotation():
    torch.manual_seed(3)
    convolution = InvertibleConvolution(6).double()
    x, log_det = convolution.inverse_and_log_det(torch.eye(6).double()[:, :, None, None])
    assert torch.allclose(x[:, :, 0, 0] @ x[:, :, 0, 0].mT, torch.eye(6).double(), atol=1e-5)
    assert torch.allclose(log_det, torch.zeros(6).double(), atol=1e-5)


@pytest.mark.parametrize("moved", [0, 1])
def test_a_checkerboard_coupling_leaves_what_it_reads_and_moves_the_rest(moved):
    coupling = shaken(CheckerboardCoupling(torch.Size([1, 4, 4]), moved, NETS))
    y = normal(1, 1, 4, 4)
    x, _ = coupling.inverse_and_log_det(y)
    kept = torch.tensor([[(i + j + moved) % 2 == 1 for j in range(4)] for i in range(4)])
    assert torch.equal(x[0, 0][kept], y[0, 0][kept])
    assert (x[0, 0][~kept] != y[0, 0][~kept]).all()


def test_factored_out_channels_are_gaussian_given_the_others():
    """p(y) is the kept half's density by the rest, times N(gone; t(kept), exp(s(kept)))."""
    scale = shaken(nested(torch.Size([1, 4, 4]), 2, NETS, lambda s: [], lambda s: [ActNorm(s[0])]))
    assert isinstance(scale, Scale) and scale.prior is not None and scale.rest is not None
    y = normal(3, 1, 4, 4)
    z, log_det = scale.inverse_and_log_det(y)
    found = log_det - 0.5 * z.square().sum((1, 2, 3))
    h, coarse = scale.coarse.inverse_and_log_det(squeeze(y))
    kept, gone = h.chunk(2, 1)
    loc, log_scale = scale.prior._shift_and_scale(kept, None)
    density = torch.distributions.Normal(loc, log_scale.exp()).log_prob(gone) + 0.5 * torch.log(
        torch.tensor(2 * torch.pi)
    )
    rest, rest_det = scale.rest.inverse_and_log_det(kept)
    wanted = coarse + density.sum((1, 2, 3)) + rest_det - 0.5 * rest.square().sum((1, 2, 3))
    assert torch.allclose(found, wanted, atol=1e-6)


def test_a_step_of_glow_normalises_then_mixes_then_couples_on_the_way_to_the_base():
    kinds = [type(part) for part in Glow((1, 2, 2), scales=1, steps=2, hidden=2).transform.part.coarse.parts]
    assert kinds[::-1] == 2 * [ActNorm, InvertibleConvolution, ChannelCoupling]


def test_squeezing_makes_a_square_of_pixels_channels():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert squeeze(x)[0, :, 0, 1].tolist() == [2, 3, 6, 7]
    assert torch.equal(unsqueeze(squeeze(x)), x)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_density_integrates_to_one(family):
    """By importance sampling from a wide Gaussian over the four pixels of the smallest image."""
    torch.manual_seed(0)
    model = shaken(FAMILIES[family]((1, 2, 2), scales=1, clamp=0.7, **SHORT[family]), 0.15)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        wide = torch.distributions.StudentT(torch.tensor(5.0).double(), 0.0, 2.0)
        x = wide.sample((40_000, 1, 2, 2))
        ratio = (model.log_prob(x) - wide.log_prob(x).sum((1, 2, 3))).exp()
    error = float(ratio.std()) / len(ratio) ** 0.5
    assert error < 0.05
    assert abs(float(ratio.mean()) - 1) < 4 * error


@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_batch_starts_every_actnorm_at_mean_zero_and_variance_one(family):
    torch.manual_seed(0)
    model = shaken(FAMILIES[family]((1, 4, 4), steps=3) if family == "glow" else FAMILIES[family]((1, 4, 4)), 0.1)
    x = 3 + 2 * normal(64, 1, 4, 4)
    model.initialise(x)
    assert bool(model.started)
    seen = []

    def look(module, way):
        def wrapped(y, context=None):
            value, log_det = way(y, context)
            seen.append(value)
            return value, log_det

        module.inverse_and_log_det = wrapped

    norms = [module for module in model.modules() if isinstance(module, ActNorm)]
    for norm in norms:
        look(norm, norm.inverse_and_log_det)
    model.log_prob(x)
    assert len(seen) == len(norms) > 4
    for value in seen:
        assert torch.allclose(value.mean((0, 2, 3)), torch.zeros(value.shape[1]).double(), atol=1e-6)
        assert torch.allclose(value.var((0, 2, 3), correction=0), torch.ones(value.shape[1]).double(), atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_start_is_made_once_and_is_kept_with_the_weights(family):
    torch.manual_seed(0)
    model = FAMILIES[family]((1, 4, 4))
    x = 3 + 2 * normal(32, 1, 4, 4).float()
    before = model.log_prob(x)
    model.initialise(x)
    started = model.log_prob(x)
    assert float(started.detach().mean()) > float(before.detach().mean())
    model.initialise(100 * x)
    assert torch.equal(model.log_prob(x), started)
    other = FAMILIES[family]((1, 4, 4))
    other.load_state_dict(model.state_dict())
    other.initialise(100 * x)
    assert torch.equal(other.log_prob(x), started)


def test_not_started_an_actnorm_is_the_identity_and_a_constant_channel_starts_finite():
    norm = ActNorm(2).double()
    y = normal(4, 2, 2, 2)
    assert torch.equal(norm.inverse_and_log_det(y)[0], y)
    y[:, 1] = 5.0
    assert torch.equal(norm.start(y)[:, 1], torch.zeros(4, 2, 2).double())
    assert torch.equal(norm.log_scale[1], torch.zeros(1, 1).double())


def test_the_units_of_a_channel_make_no_difference_to_its_start():
    y = normal(8, 3, 2, 2)
    same = 3e4 * torch.ones(8, 1, 2, 2) + 0.01  # in float32 its mean, and so its spread, is one of rounding errors
    x = torch.cat([1e-9 * y[:, :1], 1e9 * y[:, 1:2], same], 1).float()
    norm = ActNorm(3)
    z = norm.start(x)
    expected = (y[:, :2] - y[:, :2].mean((0, 2, 3), keepdim=True)) / y[:, :2].std((0, 2, 3), correction=0, keepdim=True)
    assert torch.allclose(z[:, :2].double(), expected, atol=1e-4)
    assert float(norm.log_scale[2].detach()) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_no_rows_are_scored_and_drawn(family):
    model = FAMILIES[family]((1, 2, 2), scales=1, context_shape=2)
    assert model.log_prob(torch.zeros(0, 1, 2, 2), context=torch.zeros(0, 2)).shape == (0,)
    assert model.distribution(torch.zeros(3, 2)).sample((0,)).shape == (0, 3, 1, 2, 2)


def test_a_fit_gives_the_first_batch_and_a_resumed_one_does_not_start_again(tmp_path):
    x = 5 + normal(64, 1, 4, 4).float()
    runs = []
    for steps in (4, 8):
        torch.manual_seed(0)
        model = Glow((1, 4, 4), steps=1, hidden=4)
        resume = tmp_path / "half" if steps == 8 else None
        fit(model, x, steps=steps, batch_size=16, checkpoint=tmp_path / "half", resume=resume, progress=False)
        runs.append(model)
    torch.manual_seed(0)
    whole = Glow((1, 4, 4), steps=1, hidden=4)
    fit(whole, x, steps=8, batch_size=16, progress=False)
    assert bool(whole.started)
    for one, other in zip(whole.state_dict().values(), runs[1].state_dict().values(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_context_is_honoured_row_by_row_and_under_further_axes(family):
    torch.manual_seed(0)
    model = shaken(FAMILIES[family]((1, 4, 4), context_shape=(1, 2)), 0.2)
    x, context = normal(3, 2, 1, 4, 4), normal(2, 1, 2, seed=2)
    together = model.distribution(context).log_prob(x)
    assert together.shape == (3, 2)
    for k in range(3):
        for n in range(2):
            alone = model.log_prob(x[k, n : n + 1], context=context[n : n + 1])
            assert torch.allclose(together[k, n], alone[0], atol=1e-10)
    assert not torch.allclose(model.log_prob(x[0], context=context), model.log_prob(x[0], context=context.flip(0)))
    draws, log_prob = model.distribution(context).rsample_and_log_prob((5,))
    assert draws.shape == (5, 2, 1, 4, 4)
    assert torch.allclose(model.distribution(context).log_prob(draws), log_prob, atol=1e-8)


def test_the_context_shifts_every_hidden_layer_of_a_network():
    net = shaken(ConvNet(1, 2, 3, 2, 2))
    x, context = normal(2, 1, 4, 4), normal(2, 2, seed=3)
    first, second, third = net.shifts(context)[..., None, None].chunk(3, 1)
    h = net.first(x) + first
    for i, shift in enumerate((second, third)):
        h = h + net.narrow[i]((net.wide[i](h.relu()) + shift).relu())
    assert torch.allclose(net(x, context), net.last(h.relu()))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("context_size", [None, 2])
def test_every_parameter_gets_a_gradient_scoring_and_drawing(family, context_size):
    torch.manual_seed(0)
    model = shaken(FAMILIES[family]((1, 4, 4), context_shape=context_size), 0.2)
    context = None if context_size is None else normal(8, context_size)
    model.log_prob(normal(8, 1, 4, 4), context=context).mean().backward()
    scoring = [parameter.grad for parameter in model.parameters()]
    model.zero_grad()
    model.distribution(context).rsample(() if context_size else (8,)).square().mean().backward()
    for (name, parameter), grad in zip(model.named_parameters(), scoring, strict=True):
        assert grad is not None and torch.isfinite(grad).all() and grad.abs().sum() > 0, name
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_is_the_models(family, dtype):
    model = FAMILIES[family]((2, 2, 2), scales=1).to(dtype)
    model.initialise(torch.randn(9, 2, 2, 2))
    x = model.sample(5)
    assert x.shape == (5, 2, 2, 2)
    assert x.dtype == dtype and model.log_prob(x).dtype == dtype


@pytest.mark.parametrize("family", FAMILIES)
def test_more_than_twenty_layers_train_without_nan(family):
    model = FAMILIES[family]((1, 4, 4), hidden=4, **{"glow": {"steps": 12}, "realnvp": {"couplings": 6}}[family])
    x = (normal(128, 1, 4, 4).float() * torch.tensor([0.01, 1, 5, 100])).contiguous()
    before = float(model.log_prob(x).detach().mean())
    fit(model, x, steps=10, batch_size=64, lr=5e-3, progress=False)
    after = model.log_prob(x).detach()
    assert torch.isfinite(after).all() and torch.isfinite(model.sample(50)).all()
    assert float(after.mean()) > before + 10


def test_log_scales_stay_within_the_clamp_however_large_the_network_s_output():
    coupling = ChannelCoupling(2, 0, Nets(2, 0, 1.5, None)).double()
    with torch.no_grad():
        coupling.network.last.bias.fill_(1e6)
    _, log_det = coupling.inverse_and_log_det(normal(1, 2, 2, 2))
    assert torch.allclose(log_det, torch.tensor([-4 * 1.5]).double())


def test_a_base_of_ones_own_is_used():
    base = shaken(Gaussian((1, 2, 2)))
    model = ImageRealNVP((1, 2, 2), scales=1, base=base, hidden=2).double()
    x = normal(3, 1, 2, 2)
    assert torch.allclose(model.log_prob(x), base.log_prob(x))


def test_a_spec_builds_one():
    model = zoo.build({"family": "glow", "scales": 1, "steps": 2, "hidden": 4}, event_shape=(1, 2, 2))
    assert isinstance(model, Glow)
    sizes = [sum(p.numel() for p in zoo.Glow((1, 2, 2), scales=1, steps=n, hidden=4).parameters()) for n in (1, 2, 3)]
    assert len({b - a for a, b in pairwise(sizes)}) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"event_shape": 64}, r"models images, of shape \[channels, height, width\], not \[64\]"),
        ({"event_shape": (1, 5, 4)}, "multiples of 4, not 5 x 4: pad the images to even sizes"),
        ({"event_shape": (1, 6, 8)}, "multiples of 4, not 6 x 8: take scales=1"),
        ({"event_shape": (1, 8, 8), "scales": 0}, "scales must be at least 1, not 0"),
        ({"event_shape": (1, 8, 8), "hidden": 0}, "hidden must be at least 1, not 0"),
        ({"event_shape": (1, 8, 8), "blocks": -1}, "blocks must be at least 0, not -1"),
        ({"event_shape": (1, 8, 8), "clamp": 0.0}, "clamp must be above 0"),
        ({"event_shape": (1, 8, 8), "base": Bernoulli}, "Bernoulli is discrete"),
    ],
)
@pytest.mark.parametrize("family", [Glow, ImageRealNVP])
def test_wrong_parameters_are_refused(family, arguments, message):
    with pytest.raises(ValueError, match=message):
        family(**arguments)


def test_other_wrong_parameters_are_refused():
    with pytest.raises(ValueError, match="steps must be at least 1, not 0"):
        Glow((1, 4, 4), steps=0)
    with pytest.raises(ValueError, match="couplings must be at least 1, not 0"):
        ImageRealNVP((1, 4, 4), couplings=0)
    with pytest.raises(ValueError, match="not finite"):
        Glow((1, 4, 4)).initialise(torch.full((2, 1, 4, 4), torch.nan))
    with pytest.raises(ValueError, match=r"models x of shape \[N, 1, 4, 4\]"):
        Glow((1, 4, 4)).log_prob(torch.zeros(2, 16))
