"""Missing cells of a diffusion: against the normal that the chain of a linear network is."""

import math

import numpy as np
import pytest
import torch
from pyro.distributions import MultivariateNormal
from torch import Tensor, nn

from inference.query import Particles, Replacement, query
from inference.query.steps import resampled
from zoo.diffusion import Diffusion
from zoo.discretised import DiscretisedNormal

NAN = math.nan
LOC = torch.tensor([0.5, -0.3, 0.2]).double()
SPREAD = torch.tensor([[1.0, 0.8, 0.4], [0.8, 0.9, 0.5], [0.4, 0.5, 0.7]]).double()


class Exact(nn.Module):
    """E[x | z_t] of normal rows."""

    def __init__(self) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(()).double())

    def affine(self, log_snr: Tensor) -> tuple[Tensor, Tensor]:
        alpha, noise = log_snr.sigmoid().sqrt(), (-log_snr).sigmoid()
        gain = alpha * torch.linalg.solve(alpha**2 * SPREAD + noise * torch.eye(3).double(), SPREAD)
        return gain, LOC - alpha * (LOC @ gain)

    def forward(self, z, time, context=None, given=None):
        gain, shift = self.affine(self.schedule[0](time[0]))
        return (z @ gain + shift).unsqueeze(1) + 0 * self.anchor


def normal(steps: int) -> Diffusion:
    network = Exact()
    model = Diffusion(3, steps=steps, predicts="x0", variance="noise", network=network)
    network.schedule = [model.schedule]
    return model


def of_the_chain(model: Diffusion) -> MultivariateNormal:
    """p(x) of the model: z_T is a standard normal, and each step is linear with noise."""
    mean, spread = torch.zeros(3).double(), torch.eye(3).double()
    levels = model.noise_levels()
    for k in range(model.steps - 1, -1, -1):
        at = levels.one(k)
        gain, shift = model.network.affine(at.log_snr)
        step = at.keep * torch.eye(3).double() + at.pull * gain
        mean = mean @ step + at.pull * shift
        spread = step.mT @ spread @ step + at.log_large.exp() * torch.eye(3).double()
    return MultivariateNormal(mean, spread)


def conditional(joint: MultivariateNormal, row: Tensor) -> tuple[Tensor, Tensor, float]:
    a, b = row.isnan(), ~row.isnan()
    mean, spread = joint.loc, joint.covariance_matrix
    gain = torch.linalg.solve(spread[b][:, b], spread[b][:, a]).mT
    left = spread[a][:, a] - gain @ spread[b][:, a]
    evidence = MultivariateNormal(mean[b], spread[b][:, b]).log_prob(row[b])
    return mean[a] + gain @ (row[b] - mean[b]), left.diagonal().sqrt(), float(evidence)


ROWS = torch.tensor([[1.5, NAN, NAN], [NAN, -1.0, 0.8]]).double()


@pytest.mark.parametrize("steps", [2, 40])
def test_particles_meet_the_closed_form_of_the_chain(steps) -> None:
    """With few steps the chain is far from the rows it was made for, and its own conditional is met all the same."""
    model = normal(steps)
    joint = of_the_chain(model)
    if steps == 40:
        torch.testing.assert_close(joint.covariance_matrix, SPREAD, atol=0.12, rtol=0)
    state = torch.get_rng_state()
    answer = query(model, "x", given={"x": ROWS}, draws=16_000)
    assert torch.equal(torch.get_rng_state(), state)
    assert answer.kind == "estimate" and "particle filters" in answer.method and not answer.warnings
    for n, row in enumerate(ROWS):
        mean, sd, evidence = conditional(joint, row)
        found = answer["x"].sel(row=n).values
        missing = row.isnan().numpy()
        assert (np.abs(found[missing, 0] - mean.numpy()) < 4.5 * found[missing, 2]).all()
        assert (found[missing, 2] < 0.04).all()
        np.testing.assert_allclose(found[missing, 1], sd, rtol=0.05)
        np.testing.assert_array_equal(found[~missing, 0], row[~row.isnan()])
        assert float(answer.log_evidence[n]) == pytest.approx(evidence, abs=0.2 if steps == 2 else 0.05)
    assert answer.reliability["ess_min"] > 50


def test_going_up_again_leaves_the_chain_what_it_is() -> None:
    """Nothing is known, so that nothing is off but the gap between the chain and the noise it undoes."""
    answer = query(normal(40), "x", given={"x": torch.full((1, 3), NAN).double()}, draws=8000, method=Replacement(4))
    found = answer["x"].values[0]
    np.testing.assert_allclose(found[:, 0], LOC, atol=0.06)
    np.testing.assert_allclose(found[:, 1], SPREAD.diagonal().sqrt(), rtol=0.08)


def test_replacement_is_off_and_says_so() -> None:
    model = normal(40)
    mean, _, _ = conditional(of_the_chain(model), ROWS[0])
    off = []
    for repeats in (1, 10):
        answer = query(model, "x", given={"x": ROWS}, draws=2000, method=Replacement(repeats))
        found = answer["x"].sel(row=0).values[1:]
        off.append(np.abs(found[:, 0] - mean.numpy()) / found[:, 2])
        assert "replacement is off" in answer.warnings[0] and answer.log_evidence is None
    assert off[0].max() > 8 and off[1].max() < off[0].max()


def test_codes_meet_the_models_own_draws() -> None:
    """Two cells of three levels, whose table many draws of the model give."""
    torch.manual_seed(0)
    model = Diffusion(2, levels=3, steps=5, network={"kind": "mlp", "width": 8, "blocks": 1}, context_shape=1).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    context = torch.tensor([[1.0]]).double()
    drawn = model.sample(40_000, context=context)
    table = torch.bincount(3 * drawn[:, 0] + drawn[:, 1], minlength=9).double() / len(drawn)
    answer = query(
        model,
        "x",
        given={
            "x": torch.tensor([[-1, 2]]),
        },
        context=context,
        draws=16_000,
    )
    expected = table.view(3, 3)[:, 2]
    np.testing.assert_allclose(answer["x"].sel(row=0, x_dim_0=0), expected / expected.sum(), atol=0.03)
    assert float(answer["x"].sel(row=0, x_dim_0=1, level=2)) == 1
    assert float(answer.log_evidence[0]) == pytest.approx(float(expected.sum().log()), abs=0.05)


def test_few_filters_are_named() -> None:
    answer = query(normal(40), "x", given={"x": ROWS}, draws=4, method=Particles(2))
    assert "fewer than 4 filters count" in answer.warnings[0]
    with pytest.raises(ValueError, match="at least 2 particles"):
        Particles(1)
    with pytest.raises(ValueError, match="repeats"):
        Replacement(0)


def test_resampling_keeps_what_weighs_and_its_sum() -> None:
    torch.manual_seed(0)
    log_w = torch.randn(50, 8, 3).double() * 2
    which, left, aside = resampled(log_w)
    torch.testing.assert_close(aside + left.logsumexp(1), log_w.logsumexp(1))
    expected, counts = torch.zeros(8).double(), torch.zeros(8).double()
    one = torch.randn(8).double() * 2
    for _ in range(400):
        which, _, _ = resampled(one.view(1, 8, 1))
        counts += torch.bincount(which.flatten(), minlength=8) / 8
        expected += one.softmax(0)
    torch.testing.assert_close(counts / 400, expected / 400, atol=0.02, rtol=0)


def test_a_cut_normals_cells_sum_to_its_rows() -> None:
    torch.manual_seed(0)
    cut = DiscretisedNormal(torch.randn(4, 2, 3).double(), torch.randn(4, 2, 3).double(), 5, 2)
    x = cut.sample()
    torch.testing.assert_close(cut.cell_log_prob(x).sum((1, 2)), cut.log_prob(x))
    levels = torch.stack([cut.cell_log_prob(torch.full((4, 2, 3), k)) for k in range(5)])
    torch.testing.assert_close(levels.exp().sum(0), torch.ones(4, 2, 3).double())
