"""Samplers against the exact answers for normal data, whose network is known."""

import math

import pytest
import torch

from tests.zoo.exact_diffusion import LOC, SCALE, exact_diffusion
from tests.zoo.shaking import shaken
from zoo.diffusion import Diffusion
from zoo.samplers import DDIM, SAMPLERS, Ancestral, Deterministic, DPMSolver, Sampler, visited

EVERY = [Ancestral(), Ancestral(steps=5), DDIM(), DDIM(steps=4), DPMSolver(), DPMSolver(steps=3)]


def noise(n: int = 400) -> torch.Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def solved(model: Diffusion, z: torch.Tensor, step: int) -> torch.Tensor:
    """Where the probability flow takes z_T of normal data: to as many standard deviations from the mean."""
    last, to = model.noise_levels().one(-1), model.noise_levels().one(step - 1)
    spreads = [(at.alpha**2 * SCALE**2 + at.sigma**2).sqrt() for at in (last, to)]
    return to.alpha * LOC + (z - last.alpha * LOC) * spreads[1] / spreads[0]


@pytest.mark.parametrize("sampler", [DDIM(steps=7), DPMSolver(steps=7)])
def test_deterministic_samplers_draw_nothing(sampler: Sampler) -> None:
    model = exact_diffusion(20)
    state = torch.get_rng_state()
    once, again = sampler(model, noise()), sampler(model, noise())
    assert torch.equal(once, again)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_ddim_is_of_first_order_and_dpm_solver_of_second(schedule: str) -> None:
    model, z, counts = exact_diffusion(3200, schedule), noise(50), (25, 50, 100, 200)

    def error(sampler: Deterministic, step: int = 640) -> float:
        """At a level that all of them visit."""
        steps = visited(3200, sampler.steps)
        path = [*sampler.path(model, model.noise_levels(steps), z, None)]
        found = path[len(steps) - 2 - int((steps == step).nonzero())]
        return float((found - solved(model, z, step)).abs().max())

    first, second = ([error(kind(steps=n)) for n in counts] for kind in (DDIM, DPMSolver))
    assert order(counts, first) == pytest.approx(1, abs=0.1)
    assert order(counts, second) == pytest.approx(2, abs=0.25)
    assert all(b < 0.2 * a for a, b in zip(first, second, strict=True))


def order(counts, errors) -> float:
    """The slope of log error by log steps."""
    x, y = torch.tensor(counts).log(), torch.tensor(errors).log()
    return -float(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum())


@pytest.mark.parametrize("sampler", EVERY, ids=repr)
def test_parameterisations_of_the_same_guess_draw_the_same_rows(sampler: Sampler) -> None:
    found = []
    for predicts in ("v", "epsilon", "x0"):
        torch.manual_seed(3)
        found.append(sampler(exact_diffusion(10, predicts=predicts), noise()))
    torch.testing.assert_close(found[1], found[0])
    torch.testing.assert_close(found[2], found[0])


@pytest.mark.parametrize("levels", [None, 3])
def test_ancestral_draws_the_chain_that_the_pair_declares(levels: int | None) -> None:
    """Of codes with guesses kept in range, which this network's are often not."""
    torch.manual_seed(0)
    network = {"kind": "mlp", "width": 8}
    model = Diffusion((2,), steps=3, levels=levels, variance="learned", predicts="x0", network=network)
    model, n = shaken(model, 0.2 if levels is None else 2.0), 50
    torch.manual_seed(1)
    ours = model.sample(n)
    torch.manual_seed(1)
    theirs = model.decoder(model.prior().sample((n,))).sample()
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("variance", ["posterior", "noise"])
def test_ancestral_draws_normal_data_as_they_are(variance: str) -> None:
    torch.manual_seed(0)
    rows = exact_diffusion(200, variance=variance).sample(10_000)
    assert float(rows.mean()) == pytest.approx(LOC, abs=0.02)
    assert float(rows.std()) == pytest.approx(SCALE, abs=0.02)


def test_a_shorter_chain_visits_as_many_steps_as_asked_the_last_among_them() -> None:
    for steps, asked in ((1000, 50), (1000, 7), (10, 9), (10, 1)):
        found = visited(steps, asked)
        assert found is not None
        assert len(found) == len(found.unique()) == asked
        assert found[-1] == steps
        assert found[0] >= 1
    assert visited(10, 10) is None
    model = exact_diffusion(100)
    DDIM(steps=7)(model, noise(3))
    assert model.network.calls == 7
    with pytest.raises(ValueError, match="steps must be a whole number of at least 1"):
        DDIM(steps=0)


def test_guidance_moves_what_is_told_away_from_what_is_told_without_the_context() -> None:
    model = exact_diffusion(50, context_shape=(2,))
    z, context = noise(40), torch.tensor([[1.0, -0.5]]).double().expand(40, 2)
    at = model.noise_levels().one(30)
    with_it, without = model.told(z, at, context), model.told(z, at, context, torch.zeros(40).bool())
    torch.testing.assert_close(DDIM(guidance=1.5).told(model, z, at, context), 2.5 * with_it - 1.5 * without)
    torch.testing.assert_close(DDIM().told(model, z, at, context), with_it)
    rows = DPMSolver(steps=40, guidance=1.0)(model, z, context)
    # of normals of one scale, p(x | context)^2 / p(x) is normal of that scale, around twice the context less the mean
    torch.testing.assert_close(rows.mean(0), (2 * context[0] - LOC) + SCALE * z.mean(0), atol=0.03, rtol=0)
    learned = shaken(Diffusion((2,), context_shape=(2,), variance="learned", network={"kind": "mlp", "width": 8}), 0.2)
    guided, plain = (DDIM(guidance=w).told(learned, z, at, context) for w in (1.5, 0.0))
    assert torch.equal(guided[:, 1], plain[:, 1])
    assert not torch.allclose(guided[:, 0], plain[:, 0])
    with pytest.raises(ValueError, match="guidance needs a context"):
        DDIM(guidance=1.0)(exact_diffusion(5), noise(2))
    with pytest.raises(ValueError, match="guidance must be a finite number, not nan"):
        DDIM(guidance=math.nan)
    told = Diffusion(2, context_shape=2, steps=5, untold=0.0, network={"kind": "mlp", "width": 8})
    with pytest.raises(ValueError, match="but untold is 0"):
        told.sample(3, context=torch.zeros(3, 2), sampler=DDIM(guidance=1.0))
    with pytest.raises(ValueError, match="but none was given"):
        DDIM(guidance=1.0)(learned, noise(2))


def test_samplers_of_codes_give_codes() -> None:
    torch.manual_seed(0)
    model = shaken(Diffusion((2, 2), levels=5, steps=6, network={"kind": "mlp", "width": 8}), 0.2)
    for kind in SAMPLERS.values():
        rows = model.sample(50, sampler=kind(steps=3))
        assert rows.dtype == torch.int64
        assert 0 <= rows.min() <= rows.max() <= 4


def test_a_thousand_steps_stay_finite_in_single_precision() -> None:
    for predicts in ("epsilon", "v"):
        model = exact_diffusion(1000, predicts=predicts).float()
        torch.manual_seed(0)
        for sampler in (Ancestral(), DDIM(), DPMSolver()):
            rows = model.sample(1000, sampler=sampler)
            assert torch.isfinite(rows).all()
            assert math.isclose(float(rows.std()), SCALE, abs_tol=0.05)
