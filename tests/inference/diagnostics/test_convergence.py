"""Convergence: ArviZ's own numbers on the same draws, and each illness found in draws that have it."""

import math

import numpy as np
import pytest

from inference.diagnostics import convergence, geometry, grouping
from inference.diagnostics.arviz_io import arviz
from inference.diagnostics.coordinates import Coordinates


def walk(chains: int, draws: int, numbers: int, rho: float, seed: int = 0) -> np.ndarray:
    """Autoregressive draws of unit variance [chains, draws, numbers]."""
    noise = np.random.default_rng(seed).normal(size=(draws, chains, numbers))
    x = [noise[0]]
    for each in noise[1:]:
        x.append(rho * x[-1] + math.sqrt(1 - rho**2) * each)
    return np.stack(x, 1)


def numbers(x: np.ndarray) -> Coordinates:
    return Coordinates.of_draws({"x": x})


# ---- numbers


def test_numbers_are_named_and_constant_ones_left_out() -> None:
    x = np.random.default_rng(0).normal(size=(2, 10, 2, 2))
    x[..., 0, 1] = 0.0
    found = Coordinates.of_draws({"mu": x[..., 0, 0], "factor": x})
    assert found.names == ["mu", "factor[0, 0]", "factor[0, 1]", "factor[1, 0]", "factor[1, 1]"]
    assert found.moving.tolist() == [True, True, False, True, True]
    np.testing.assert_array_equal(found.site("factor"), x.reshape(2, 10, 4))
    assert list(convergence.statistics(found).index) == ["mu", "factor[0, 0]", "factor[1, 0]", "factor[1, 1]"]


@pytest.mark.parametrize(("chains", "draws", "rho"), [(4, 100, 0.0), (4, 101, 0.8), (8, 20, 0.3)])
def test_statistics_are_arvizs(chains: int, draws: int, rho: float) -> None:
    x = walk(chains, draws, 3, rho)
    x[0] += 0.5
    x[..., 2] = np.exp(2 * x[..., 2])
    found = convergence.statistics(numbers(x))
    summary = arviz().summary({"x": x}, round_to="none", kind="all")
    for name in ("mean", "sd", "mcse_mean", "mcse_sd", "ess_bulk", "ess_tail", "r_hat"):
        np.testing.assert_allclose(found[name], summary[name], rtol=1e-9, err_msg=name)


def test_what_there_is_nothing_to_tell_of_is_nan() -> None:
    one = convergence.statistics(numbers(walk(1, 100, 2, 0.0)))
    assert one["r_hat"].isna().all() and one["ess_bulk"].notna().all()
    short = convergence.statistics(numbers(walk(32, 2, 2, 0.0)), super_chains=4)
    assert short["ess_bulk"].isna().all() and short["nested_r_hat"].notna().all()


def test_bfmi_is_arvizs() -> None:
    energy = walk(4, 200, 1, 0.9)[..., 0]
    np.testing.assert_allclose(convergence.bfmi(energy), arviz().bfmi(energy))


# ---- sentences


def test_chains_that_agree_and_chains_that_dont() -> None:
    x = walk(4, 500, 3, 0.0)
    sentence, illness = convergence.agreement(convergence.statistics(numbers(x)), 4)
    assert illness is None and "The 4 chains agree: r-hat is at most 1.00" in sentence
    x[0, :, 1] += 1.0
    sentence, illness = convergence.agreement(convergence.statistics(numbers(x)), 4)
    assert illness == "chains disagree" and "1 of 3 numbers" in sentence and "x[1] (1." in sentence
    sentence, illness = convergence.agreement(convergence.statistics(numbers(x[:1])), 1)
    assert illness == "one chain"


def test_nested_r_hat_is_what_counts_where_chains_began_together() -> None:
    x = walk(32, 4, 1, 0.0)
    x[:8] += 3.0
    table = convergence.statistics(numbers(x), super_chains=4)
    sentence, illness = convergence.agreement(table, 32)
    assert illness == "chains disagree" and "nested r-hat" in sentence


def test_draws_that_are_too_few() -> None:
    sentence, illness = convergence.sufficiency(convergence.statistics(numbers(walk(4, 1000, 2, 0.0))), 4000)
    assert illness is None and "The 4,000 draws are worth at least" in sentence
    sentence, illness = convergence.sufficiency(convergence.statistics(numbers(walk(4, 500, 2, 0.95))), 2000)
    assert illness == "too few draws" and "times as many" in sentence


def test_an_energy_that_hardly_moves() -> None:
    assert convergence.energy_moves(walk(4, 400, 1, 0.2)[..., 0])[1] is None
    sentence, illness = convergence.energy_moves(walk(4, 400, 1, 0.97)[..., 0])
    assert illness == "low energy" and "below 0.3 in 4 of 4 chains" in sentence


def test_trees_that_are_cut_off() -> None:
    depth = np.full((4, 100), 6)
    assert convergence.tree_depth(depth, 10) is None
    depth[:, :10] = 10
    assert convergence.tree_depth(depth, 10)[0].startswith("10% of the trajectories were cut off")


# ---- where divergences gather


def test_divergences_that_gather_are_found_with_their_edge() -> None:
    x = np.random.default_rng(2).normal(size=(4, 1000, 5))
    diverging = (x[..., 3] < -1.5) & (np.random.default_rng(3).random((4, 1000)) < 0.2)
    found = geometry.gathering(numbers(x), diverging)
    assert found is not None and found.name == "x[3]" and found.side == "below"
    assert abs(found.edge + 1.5) < 0.1 and found.inside >= 0.95 * found.count == 0.95 * diverging.sum()
    assert found.others == pytest.approx(((x[..., 3] < found.edge) & ~diverging).sum() / (~diverging).sum())
    assert found.inside == ((x[..., 3] < found.edge) & diverging).sum()
    found = geometry.gathering(numbers(-x), diverging)
    assert found is not None and found.side == "above" and "is large (above 1." in str(found)


def test_divergences_that_lie_anywhere_gather_nowhere() -> None:
    said = 0
    for seed in range(20):
        generator = np.random.default_rng(seed)
        x = numbers(generator.normal(size=(4, 250, 20)))
        said += geometry.gathering(x, generator.random((4, 250)) < 0.03) is not None
    assert said <= 1
    assert geometry.gathering(x, np.zeros((4, 250))) is None


# ---- funnels


def funnel(centred: bool, seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    tau, raw = np.exp(generator.normal(size=(4, 500))), generator.normal(size=(4, 500, 8))
    return {"mu": generator.normal(size=(4, 500)), "tau": tau, "theta": raw * tau[..., None] if centred else raw}


def test_a_funnel_is_seen_where_it_is() -> None:
    found = geometry.funnel(Coordinates.of_draws(funnel(centred=True)))
    assert found is not None and (found.scale, found.site) == ("tau", "theta") and found.correlation > 0.9
    assert "where tau is small, theta is squeezed together" in str(found)
    assert geometry.funnel(Coordinates.of_draws(funnel(centred=False))) is None


def test_neals_funnel_and_a_precision() -> None:
    v = 3 * np.random.default_rng(0).normal(size=(4, 500))
    x = np.exp(v / 2)[..., None] * np.random.default_rng(1).normal(size=(4, 500, 9))
    found = geometry.funnel(Coordinates.of_draws({"v": v, "x": x}))
    assert found is not None and (found.scale, found.site) == ("v", "x")
    found = geometry.funnel(Coordinates.of_draws({"precision": np.exp(-v), "x": x}))
    assert found is not None and found.correlation < -0.9 and "where precision is large" in str(found)
    each = {"scales": np.exp(x), "x": np.exp(x) * np.random.default_rng(2).normal(size=x.shape)}
    found = geometry.funnel(Coordinates.of_draws(each))
    assert found is not None and found.scale == "scales"


def test_scales_that_no_spread_follows_make_no_funnel() -> None:
    generator = np.random.default_rng(0)
    shared = generator.normal(size=(4, 500, 1))
    draws = {
        "sigma": np.exp(shared[..., 0]),
        "beta": shared + generator.normal(size=(4, 500, 3)),  # goes along with sigma, and keeps its spread
        "tau": np.exp(generator.normal(size=(4, 500))),
    }
    assert geometry.funnel(Coordinates.of_draws(draws)) is None


# ---- chains that tell different stories


def test_stuck_chains_are_named() -> None:
    x = walk(6, 200, 3, 0.3)
    assert grouping.stuck(numbers(x)) == []
    x[2] = x[2, :1]  # never moved
    x[4, 1:] = np.where(np.arange(199)[:, None] < 150, x[4, :1], x[4, 150:151])  # one step in all
    x[5] = x[5] * 1e-5  # hardly
    assert grouping.stuck(numbers(x)) == [2, 4, 5]


def test_groups_of_chains_are_told_from_chains_that_have_not_mixed() -> None:
    x = walk(10, 200, 2, 0.3)
    assert grouping.groups(numbers(x)) is None
    apart = x.copy()
    apart[:6, :, 1] += 8.0
    found = grouping.groups(numbers(apart))
    assert found is not None and found.name == "x[1]"
    assert found.chains == [[6, 7, 8, 9], [0, 1, 2, 3, 4, 5]]
    np.testing.assert_allclose(found.means, [0, 8], atol=0.3)
    assert str(found).startswith("4 have x[1] near ") and "6 have x[1] near 8" in str(found)
    alone = x + 10 * np.arange(10)[:, None, None]
    assert grouping.groups(numbers(alone)) is None  # each its own place: not modes, but no mixing
    slow = walk(10, 200, 2, 0.999)
    assert grouping.groups(numbers(slow)) is None


def mixture(switch: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """Three components at -3, 0, 4; `switch` [chains, draws, 3] holds the order of each draw."""
    generator = np.random.default_rng(seed)
    mu = np.array([-3.0, 0.0, 4.0]) + 0.3 * generator.normal(size=switch.shape)
    return {"mu": np.take_along_axis(mu, switch, -1), "sigma": np.exp(0.1 * generator.normal(size=switch.shape[:2]))}


@pytest.mark.parametrize("within", [False, True])
def test_labels_that_switch_between_chains_and_within(within: bool) -> None:
    generator = np.random.default_rng(0)
    order = np.stack([generator.permutation(3) for _ in range(8 * 200)]).reshape(8, 200, 3)
    if not within:
        order = np.broadcast_to(order[:, :1], order.shape)
    found = grouping.switched(Coordinates.of_draws(mixture(order)))
    assert found is not None and found.site == "mu" and "changed places" in str(found)
    cycled = np.broadcast_to(np.where(np.arange(8)[:, None, None] < 4, [0, 1, 2], [1, 2, 0]), (8, 200, 3))
    assert grouping.switched(Coordinates.of_draws(mixture(cycled))) is not None


def test_labels_that_keep_their_order_have_not_switched() -> None:
    kept = np.broadcast_to(np.arange(3), (8, 200, 3))
    assert grouping.switched(Coordinates.of_draws(mixture(kept))) is None
    x = np.random.default_rng(0).normal(size=(8, 500, 8))  # groups of a hierarchy: alike, with no gap between
    assert grouping.switched(Coordinates.of_draws({"theta": x, "heavy": x**3})) is None
    modes = np.random.default_rng(0).normal(size=(8, 200, 2)) * 0.3  # two modes that are no permutation of each other
    modes[:4] += [1.0, 4.0]
    modes[4:] += [9.0, 2.0]
    assert grouping.switched(Coordinates.of_draws({"mu": modes})) is None
