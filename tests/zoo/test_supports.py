"""Declared supports: maps against autograd, densities against quadrature and closed forms, circles without a seam."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import zoo
from inference.data import check_data
from inference.fit import fit
from tests.zoo.shaking import normal, shaken
from zoo.circles import Torus, circular_spline, wrapped
from zoo.conditionals import Bernoulli, Gaussian
from zoo.glow import Glow
from zoo.realnvp import RealNVP
from zoo.spans import OntoSpans, WithinSpans, spans
from zoo.supports import Supported

PI = math.pi
SMALL = {"hidden": (6,), "bins": 5}
MIXED = {0: [0, 1], 1: "positive", 2: "circle", 4: [-math.inf, 3], 5: "circle"}


def ticks(low, high, n):
    """Midpoints of n cells, and a cell's width."""
    width = (high - low) / n
    return low + width * (torch.arange(n, dtype=torch.float64) + 0.5), width


# ---- the maps


@settings(max_examples=25, deadline=None)
@given(
    support=st.lists(
        st.sampled_from(["real", "positive", (0, 1), (-3.0, 1e3), (-math.inf, 2), (5, math.inf)]),
        min_size=1,
        max_size=5,
    ),
    half_line=st.sampled_from(["softplus", "exp"]),
    seed=st.integers(0, 99),
)
def test_each_map_s_log_determinant_is_autograds_and_it_inverts(support, half_line, seed):
    shape = torch.Size([len(support)])
    onto = OntoSpans(spans(support, len(support)), shape, half_line)
    x = 2 * normal(1, *shape, seed=seed)
    y, log_det = onto.forward_and_log_det(x)
    assert onto.within.check(y).all()
    again, back = onto.inverse_and_log_det(y)
    assert torch.allclose(again, x, atol=1e-8)
    assert torch.allclose(back, -log_det, atol=1e-8)
    for go, at, found in (
        (onto.forward_and_log_det, x, log_det),
        (onto.inverse_and_log_det, y, back),
    ):
        jacobian = torch.autograd.functional.jacobian(lambda row, go=go: go(row[None])[0][0], at[0])
        assert torch.allclose(found[0], torch.linalg.slogdet(jacobian)[1], atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_out_the_maps_stay_inside_and_finite(dtype):
    onto = OntoSpans(spans([[0, 1], [10, 11], "positive", [-math.inf, -7]], 4), torch.Size([4]), "softplus")
    x = torch.tensor([-300.0, -30, 0, 30, 300], dtype=dtype)[:, None].expand(5, 4)
    y, log_det = onto.forward_and_log_det(x)
    assert onto.within.check(y).all()
    assert torch.isfinite(log_det).all()
    back, back_det = onto.inverse_and_log_det(y)
    assert torch.isfinite(back).all() and torch.isfinite(back_det).all()


def test_closed_forms():
    """Logit-normal, log-normal: a standard normal through the maps."""
    x = torch.tensor([[0.02, 0.5], [0.3, 1.0], [0.97, 7.0]], dtype=torch.float64)
    model = Supported(2, support=[[0, 1], "positive"], flow=zoo.StandardGaussian, half_line="exp").double()
    standard = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), 1.0)
    logit = standard.log_prob(x[:, 0].logit()) - (x[:, 0] * (1 - x[:, 0])).log()
    logarithm = torch.distributions.LogNormal(torch.zeros((), dtype=torch.float64), 1.0).log_prob(x[:, 1])
    assert torch.allclose(model.log_prob(x), logit + logarithm, atol=1e-10)


# ---- the spline of the circle


@settings(max_examples=25, deadline=None)
@given(bins=st.integers(2, 9), size=st.floats(0.1, 4), seed=st.integers(0, 99))
def test_the_spline_s_slope_is_autograds_and_it_inverts(bins, size, seed):
    free = size * normal(50, 3 * bins, seed=seed)
    angle = (normal(50, seed=seed + 1) * 1.5).clamp(-3.1, 3.1).requires_grad_()
    for backward in (False, True):
        value, log_slope = circular_spline(angle, free, backward=backward)
        (slope,) = torch.autograd.grad(value.sum(), angle)
        assert torch.allclose(log_slope, slope.log(), atol=1e-8)
        again, back = circular_spline(value, free, backward=not backward)
        assert torch.allclose(again, angle, atol=1e-7)
        assert torch.allclose(back, -log_slope, atol=1e-6)


def test_the_spline_starts_as_the_identity_and_meets_itself_at_the_seam():
    angle = torch.linspace(-PI, PI, 41, dtype=torch.float64)
    value, log_slope = circular_spline(angle, torch.zeros(41, 24, dtype=torch.float64), backward=False)
    assert torch.allclose(value, angle, atol=1e-12)
    assert torch.allclose(log_slope, torch.zeros(41, dtype=torch.float64), atol=1e-12)
    free = 2 * normal(1, 24).expand(2, 24)
    ends = torch.tensor([-PI, PI], dtype=torch.float64)
    value, log_slope = circular_spline(ends, free, backward=False)
    assert torch.allclose(value, ends, atol=1e-12)
    assert torch.allclose(log_slope[0], log_slope[1], atol=1e-9)


def test_a_density_of_angles_has_no_seam_and_integrates_to_one():
    torch.manual_seed(0)
    model = shaken(Supported(1, support="circle", layers=3, bins=8), 0.5)
    angles, width = ticks(-PI, PI, 20_000)
    density = model.log_prob(angles[:, None]).exp().detach()
    assert float(density.max() / density.min()) > 2
    assert abs(float(density.sum() * width) - 1) < 1e-5
    eps = 1e-7
    ends = torch.tensor([[-PI], [-PI + eps], [PI - eps], [PI]], dtype=torch.float64)
    at = model.log_prob(ends)
    assert torch.allclose(at, at[:1].expand(4), atol=1e-4)
    jumps = (density[1:] - density[:-1]).abs().max()
    assert (density[0] - density[-1]).abs() <= jumps + 1e-9
    assert torch.allclose(model.log_prob(angles[:99, None]), model.log_prob(angles[:99, None] + 2 * PI), atol=1e-9)


def test_what_is_given_an_angle_has_no_seam_there():
    """The density of all numbers jointly, at either name of the same point, for each angle."""
    torch.manual_seed(0)
    flow = partial(Gaussian, hidden=(6,))
    model = shaken(Supported(4, support={0: "circle", 1: "circle", 2: [0, 1]}, flow=flow, **SMALL), 0.3)
    x = model.sample(20)
    assert model.log_prob(x).abs().max() < 1e3
    for angle in (0, 1):
        low, high = x.clone(), x.clone()
        low[:, angle], high[:, angle] = -PI, PI
        assert torch.allclose(model.log_prob(low), model.log_prob(high), rtol=0, atol=1e-6)


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 50))
def test_two_angles_integrate_to_one_and_are_not_independent(seed):
    torch.manual_seed(seed)
    model = shaken(Supported(2, support="circle", layers=2, **SMALL), 0.25, seed=seed)
    angles, width = ticks(-PI, PI, 250)
    log_prob = model.log_prob(torch.cartesian_prod(angles, angles)).detach().reshape(250, 250)
    assert abs(float(log_prob.exp().sum()) * width**2 - 1) < 2e-3
    assert float((log_prob[0] - log_prob[0].mean() - log_prob[99] + log_prob[99].mean()).abs().max()) > 1e-3


def test_draws_of_angles_follow_the_density():
    torch.manual_seed(0)
    model = shaken(Supported(2, support="circle", layers=2, **SMALL), 0.3)
    angles, width = ticks(-PI, PI, 250)
    grid = torch.cartesian_prod(angles, angles)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        draws = model.sample(20_000)
    mass = model.log_prob(grid).exp().detach() * width**2

    def moments(rows):
        a, b = rows.unbind(-1)
        return torch.stack([a.cos(), a.sin(), b.cos(), b.sin(), (a - b).cos(), (a + b).sin(), (2 * a).cos()], -1)

    made = moments(draws)
    error = made.std(0) / len(draws) ** 0.5
    assert ((made.mean(0) - mass @ moments(grid)).abs() < 5 * error + 1e-3).all()


def test_drawing_and_scoring_angles_go_the_same_way():
    torch.manual_seed(0)
    torus = shaken(Torus(3, 2, 6, 2, (5,)), 0.5)
    given = normal(20, 2)
    uniform = torch.rand(20, 3, dtype=torch.float64)
    drawn = torus.draw(uniform, given)
    jacobian = torch.stack(
        [
            torch.autograd.functional.jacobian(lambda u, i=i: torus.draw(u[None], given[i : i + 1])[0], uniform[i])
            for i in range(20)
        ]
    )
    log_prob = -torch.linalg.slogdet(jacobian)[1]
    assert torch.allclose(torus.log_prob(drawn, given), log_prob, atol=1e-6)


def test_in_float32_the_spline_of_the_circle_goes_back_to_where_it_came_from():
    angle = torch.linspace(-3.14159, 3.14159, 5001)
    for scale in (1, 10, 100, 1e4):
        free = (scale * normal(24)).float().expand(5001, -1)
        for backward in (False, True):
            value, log_slope = circular_spline(angle, free, backward=backward)
            again, _ = circular_spline(value, free, backward=not backward)
            assert torch.isfinite(value).all() and torch.isfinite(log_slope).all()
            # a slope e^-s in one direction magnifies the other's rounding by e^s
            assert ((again - angle).abs() < 5e-6 + 5e-6 * (-log_slope).exp()).all()


def test_a_context_far_out_leaves_draws_and_gradients_finite():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = shaken(Supported(2, context_shape=1, support="circle"), 0.3).float()
        far = torch.tensor([[1e6], [-1e6], [1e12], [-1e12]])
        draws = model.sample(4, context=far)
    assert torch.isfinite(draws).all()
    model.log_prob(draws, context=far).sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_wrapping_keeps_the_angle_and_its_range():
    angle = torch.linspace(-40, 40, 1001)
    again = wrapped(angle)
    assert WithinSpans(spans("circle", 1), torch.Size([1])).check(again[:, None]).all()
    assert torch.allclose(again.cos(), angle.cos(), atol=1e-4) and torch.allclose(again.sin(), angle.sin(), atol=1e-4)


# ---- the whole


def test_one_number_on_each_kind_of_span_integrates_to_one():
    for support, low, high in (([0, 2], 0, 2), ("positive", 0, 60), ([-math.inf, 1], -60, 1), ("real", -30, 30)):
        for half_line in ("softplus", "exp"):
            model = shaken(Supported(1, support=support, half_line=half_line), 0.2)
            x, width = ticks(low, high, 200_000)
            total = float(model.log_prob(x[:, None]).exp().sum().detach()) * width
            assert abs(total - 1) < 2e-3, (support, half_line)


def test_an_angle_beside_a_bounded_number_integrates_to_one():
    torch.manual_seed(0)
    model = shaken(Supported(2, support=["circle", [0, 1]], flow=partial(Gaussian, hidden=(4,)), **SMALL), 0.3)
    angles, width = ticks(-PI, PI, 300)
    shares, share = ticks(0, 1, 600)
    log_prob = model.log_prob(torch.cartesian_prod(angles, shares)).detach()
    assert abs(float(log_prob.exp().sum()) * width * share - 1) < 2e-3
    assert float((log_prob.reshape(300, 600)[:, 0] - log_prob.reshape(300, 600)[:, 500]).std()) > 1e-2


@pytest.mark.parametrize("context_size", [None, 3])
def test_draws_lie_within_and_every_parameter_gets_a_gradient(context_size):
    torch.manual_seed(0)
    model = shaken(Supported((2, 3), context_shape=context_size, support=MIXED, **SMALL), 0.3)
    context = None if context_size is None else normal(64, 3)
    draws = model.sample(64, context=context)
    assert draws.shape == (64, 2, 3) and draws.dtype == torch.float64
    check_data(model, draws, context)
    model.log_prob(draws, context=context).mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name
    drawn = model.distribution(context).rsample((4,))
    assert drawn.shape == ((4, 2, 3) if context is None else (4, 64, 2, 3)) and drawn.requires_grad


def test_the_context_is_honoured_row_by_row_and_under_further_axes():
    torch.manual_seed(0)
    model = shaken(Supported(4, context_shape=2, support={1: "circle", 2: [0, 1], 3: "circle"}, **SMALL), 0.4)
    context = normal(3, 2, seed=2)
    x = model.distribution(context).sample((5,))
    together = model.distribution(context).log_prob(x)
    assert together.shape == (5, 3)
    for k in range(5):
        for n in range(3):
            alone = model.log_prob(x[k, n : n + 1], context=context[n : n + 1])
            assert torch.allclose(together[k, n], alone[0], atol=1e-9)
    assert not torch.allclose(model.log_prob(x[0], context=context), model.log_prob(x[0], context=context.flip(0)))


def test_outside_a_number_has_density_zero_and_its_gradient_is_no_nan():
    model = Supported(2, support=[[0, 1], "positive"], hidden=(4,)).double()
    x = torch.tensor([[0.5, 2.0], [1.5, 2.0], [0.5, -2.0], [0.0, 1.0]], dtype=torch.float64)
    log_prob = model.log_prob(x)
    assert torch.isfinite(log_prob).tolist() == [True, False, False, False]
    assert (log_prob[1:] == -torch.inf).all()
    log_prob[0].backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


def test_rows_outside_are_refused_by_row_and_column():
    model = Supported(3, support={0: [0, 1], 1: "positive", 2: "circle"})
    x = torch.tensor([[0.5, 1, 3], [0.2, 1, 3.5]])
    with pytest.raises(ValueError, match=r"value 3.5 at row 1, column 2, .*2 an angle in \[-pi, pi\]"):
        check_data(model, x)
    with pytest.raises(ValueError, match=r"value 0 at row 0, column 'share'"):
        check_data(model, torch.tensor([[0.0, 1, 3]]), None, ["share", "price", "wind"])
    frame = pd.DataFrame({"share": [0.5, 0.5], "price": [1.0, -2], "wind": [0.0, 1]})
    with pytest.raises(ValueError, match=r"value -2 at row 1, column 'price'.*1 above 0"):
        fit(model, frame, steps=1, progress=False)
    check_data(model, torch.tensor([[0.5, 1, PI], [0.5, 1, -PI]]))


def test_images_within_bounds_take_an_image_flow_and_its_start():
    model = Supported((1, 4, 4), support=[0, 1], flow=partial(Glow, steps=1, hidden=4))
    x = torch.rand(32, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05
    fit(model, x, steps=2, batch_size=16, progress=False)
    assert bool(model.flow.started)
    assert model.sample(3).shape == (3, 1, 4, 4)


def test_it_learns_a_von_mises_and_what_goes_with_it_almost_to_the_truth():
    """Bits lost to the density that the rows come from, on rows not trained on."""
    rng = np.random.default_rng(0)
    angle = rng.vonmises(3.0, 4.0, 3000)
    logit = np.cos(angle) + 0.3 * rng.normal(size=3000)
    share = 1 / (1 + np.exp(-logit))
    x = torch.tensor(np.stack([angle, share], 1), dtype=torch.float32)
    truth = stats.vonmises(4.0, loc=3.0).logpdf(angle) + stats.norm(np.cos(angle), 0.3).logpdf(logit)
    truth -= np.log(share * (1 - share))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Supported(2, support=["circle", [0, 1]], hidden=(32,), flow=partial(Gaussian, hidden=(32,)))
    fit(model, x[:2000], steps=200, lr=2e-2, progress=False)
    lost = truth[2000:].mean() - float(model.log_prob(x[2000:]).detach().mean())
    assert -0.02 < lost < 0.06


def test_a_spec_builds_it_with_keys_as_a_file_has_them():
    table = {"family": "supported", "support": {"0": [0, 1], "2": "circle"}, "flow": {"family": "realnvp", "layers": 2}}
    model = zoo.build(table, event_shape=3)
    assert isinstance(model.flow, RealNVP) and model.flow.event_shape == (2,) and model.flow.context_shape == (2,)
    assert [str(span) for span in model.spans] == ["in (0, 1)", "real", "an angle in [-pi, pi]"]
    assert zoo.build({"family": "supported", "support": ["positive", [0, 1]]}, event_shape=2).sample(2).shape == (2, 2)
    assert (
        repr(zoo.build({"family": "supported", "support": "positive"}, event_shape=2).support) == "each number above 0"
    )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"support": "positiv"}, ValueError, "support is 'positiv', which is no support; did you mean positive"),
        ({"support": [1, 0]}, ValueError, r"support is \[1, 0\], but \[low, high\] was expected"),
        ({"support": [0, 1, 2]}, ValueError, r"but \[low, high\] was expected"),
        ({"support": {3: "circle"}}, ValueError, "names the number 3, but the numbers of a row are 0 to 2"),
        ({"support": {"a": "circle"}}, ValueError, "names the number 'a'"),
        ({"support": ["real", "circle"]}, ValueError, "lists 2 spans, but a row has 3 numbers"),
        ({"support": ["real", "circle", [2, 2]]}, ValueError, r"support\[2\] is \[2, 2\]"),
        ({"support": 3}, TypeError, r"support is 3, but a name, \[low, high\], a list or a table"),
        ({"support": "circle", "flow": Gaussian}, ValueError, "nothing is left for flow"),
        ({"support": "positive", "flow": Bernoulli}, ValueError, "Bernoulli is no density of the reals"),
        ({"support": "positive", "flow": Gaussian(2)}, ValueError, r"event_shape \[2\], but \[3\] fits"),
        ({"support": "positive", "half_line": "log"}, ValueError, "half_line is 'log'"),
        ({"support": "circle", "bins": 1}, ValueError, "needs 2 bins and 1 layer"),
        ({"support": "circle", "bins": 2000}, ValueError, "bins must be below 500"),
    ],
)
def test_wrong_parameters_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Supported(3, **arguments)
