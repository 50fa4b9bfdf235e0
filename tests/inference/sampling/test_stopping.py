"""The chains' statistics against ArviZ's and against closed forms; rules; windows."""

import warnings

import numpy as np
import pytest
import torch

from inference.diagnostics.arviz_io import arviz
from inference.sampling.statistics import bulk_ess, nested_rhat, normal_scores, rhat, tail_ess
from inference.sampling.stopping import All, Convergence, Ess, RHat, rule_of
from inference.sampling.windows import Window, window_of

CORRELATIONS = (0.0, 0.5, 0.9, -0.5, -0.9, 0.99)


def autoregressive(chains, draws, correlations=CORRELATIONS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rho = torch.tensor(correlations, dtype=torch.float64)
    x = torch.randn(chains, draws, len(rho), dtype=torch.float64, generator=generator)
    for t in range(1, draws):
        x[:, t] = rho * x[:, t - 1] + (1 - rho**2).sqrt() * x[:, t]
    return x


@pytest.mark.parametrize("chains, draws", [(4, 100), (2, 7), (3, 4), (64, 16), (5, 5), (33, 11), (4, 333)])
@pytest.mark.parametrize("ties", [False, True])
def test_statistics_equal_arviz(chains, draws, ties):
    x = autoregressive(chains, draws)
    if ties:  # as rejected proposals make
        x[:, 1::3] = x[:, : draws - 1 : 3]
        x[..., 0] = x[..., 0].round(decimals=1)
    az = arviz()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for method, ours in (("rank", rhat), ("bulk", bulk_ess), ("tail", tail_ess)):
            theirs = az.rhat if method == "rank" else az.ess
            expected = [float(theirs(x[..., i].numpy(), method=method)) for i in range(x.shape[-1])]
            np.testing.assert_allclose(ours(x).numpy(), expected, rtol=1e-10)


def test_effective_draws_of_one_chain_equal_arviz():
    x = autoregressive(1, 50)
    expected = [float(arviz().ess(x[..., i].numpy())) for i in range(x.shape[-1])]
    np.testing.assert_allclose(bulk_ess(x).numpy(), expected, rtol=1e-10)


def test_effective_draws_are_those_of_an_autoregression():
    x = autoregressive(8, 4000, (0.0, 0.5, 0.9))
    expected = torch.tensor([(1 - r) / (1 + r) for r in (0.0, 0.5, 0.9)], dtype=torch.float64) * 32000
    assert (bulk_ess(x) / expected - 1).abs().max() < 0.12


def test_scores_are_blom_s_with_mean_ranks_for_ties():
    x = torch.tensor([3.0, 1.0, 1.0, 2.0], dtype=torch.float64).reshape(2, 2, 1)
    ranks = torch.tensor([4.0, 1.5, 1.5, 3.0], dtype=torch.float64).reshape(2, 2, 1)
    torch.testing.assert_close(normal_scores(x), torch.special.ndtri((ranks - 0.375) / 4.25))


def test_nested_rhat_is_its_definition():
    x = autoregressive(12, 9, seed=3)
    groups = normal_scores(x).reshape(3, 4, 9, -1)
    within = groups.var(2).mean(1) + groups.mean(2).var(1)
    expected = (1 + groups.mean((1, 2)).var(0) / within.mean(0)).sqrt()
    torch.testing.assert_close(nested_rhat(x, 3), expected)


def test_nested_rhat_sees_groups_that_have_not_left_their_starts():
    x = torch.randn(32, 8, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert nested_rhat(x, 8).item() < 1.03
    shifted = x + torch.linspace(-1, 1, 8, dtype=torch.float64).repeat_interleave(4).reshape(32, 1, 1)
    assert nested_rhat(shifted, 8).item() > 1.1
    with pytest.raises(ValueError, match="32 chains do not make 5 groups"):
        nested_rhat(x, 5)


def test_rules():
    names = ["a", "b"]
    good = Convergence(autoregressive(16, 100, (0.0, 0.0), seed=1), names)
    assert Ess(1000).met(good) and not Ess(3000).met(good) and RHat(1.01).met(good)
    apart = autoregressive(16, 100, (0.0, 0.0))
    apart[0, :, 1] += 5
    bad = Convergence(apart, names)
    assert not RHat(1.01).met(bad) and not Ess(100).met(bad) and Ess(10, rhat=10.0).met(bad)
    assert bad.worst().startswith("b has an r-hat of 1.")
    both = rule_of([Ess(1000), RHat(1.01)])
    assert both.met(good) and not both.met(bad)


def test_a_value_that_never_changes_is_known_and_one_that_is_not_finite_never():
    x = autoregressive(8, 100, (0.0, 0.0, 0.0))
    x[..., 1], x[3, 5, 2] = 1.0, torch.inf
    found = Convergence(x, ["a", "b", "c"])
    assert found.agreement[1] == 1 and found.ess[1] == torch.inf
    assert found.agreement[2] == torch.inf and found.ess[2] == 0


def test_rules_that_ask_for_different_groups_or_are_no_rules():
    assert All((Ess(10), RHat(1.01, nested=8))).super_chains == 8
    with pytest.raises(ValueError, match="all rules must name one number"):
        _ = All((RHat(nested=4), RHat(nested=8))).super_chains
    with pytest.raises(TypeError, match="takes Ess"):
        rule_of(1000)
    with pytest.raises(TypeError, match="takes Ess"):
        rule_of([])


def test_windows_drop_a_start_that_is_not_forgotten():
    x = autoregressive(32, 64, (0.0,))
    x[:, :6] += 8.0
    window, found = window_of(x, ["a"], RHat(1.01), None)
    assert window == Window(32, 1) and found.agreement.max() <= 1.01
    assert window_of(autoregressive(32, 64, (0.0,), seed=1), ["a"], RHat(1.05), None)[0] == Window()


def test_windows_leave_all_draws_where_nothing_helps():
    x = autoregressive(8, 64, (0.0,))
    x[0] += 8.0
    window, found = window_of(x, ["a"], RHat(1.01), None)
    assert window == Window() and found.agreement.max() > 1.1
