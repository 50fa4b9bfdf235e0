"""The log density of a program against Pyro's own potential, hand-written densities and autograd's Jacobians."""

import math
import warnings

import pyro
import pyro.distributions as dist
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pyro import poutine
from pyro.infer import config_enumerate
from pyro.infer.mcmc.util import initialize_model
from pyro.infer.reparam import LocScaleReparam
from torch.distributions import constraints

from inference.program import Program
from inference.sampling.density import LogDensity
from tests.inference import programs

Y = torch.tensor([0.3, -1.2, 2.0, 0.7, 5.1], dtype=torch.float64)
ROWS = torch.tensor([[0.1, 0.2, -0.4], [1.0, 0.3, 0.2], [-0.5, 0.4, 1.1], [0.2, -1.3, 0.6]], dtype=torch.float64)
COUNTS = (torch.tensor([0, 0, 1, 2, 3, 3]), torch.tensor([1.0, 4.0, 2.0, 0.0, 7.0, 3.0], dtype=torch.float64))


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def points(density, chains=5, seed=1):
    torch.manual_seed(seed)
    return torch.randn(chains, density.dim, dtype=torch.float64)


def pyro_potential(model, args, kwargs, nesting):
    """Pyro's own U of {name: unconstrained}, run by itself."""
    _, potential, transforms, _ = initialize_model(
        config_enumerate(model), args, kwargs, max_plate_nesting=nesting, initial_params=None
    )
    return potential, transforms


CASES = {
    "schools": (programs.schools, {k: torch.tensor(v, dtype=torch.float64) for k, v in programs.SCHOOLS.items()}, 1),
    "correlated": (programs.correlated, (ROWS,), 1),
    "counts": (programs.counts, COUNTS, 1),
    "mixture": (programs.mixture, (Y,), 1),
    "markov": (programs.markov, (Y,), 0),
    "hidden": (programs.hidden, (Y,), 0),
}


@pytest.mark.filterwarnings("ignore::UserWarning:pyro")
@pytest.mark.parametrize("case", CASES)
def test_it_is_pyros_own_potential_and_its_slope(case, double):
    model, data, nesting = CASES[case]
    args, kwargs = ((), data) if isinstance(data, dict) else (data, {})
    density = LogDensity.of(Program.of(model, data))
    q = points(density)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *a, **k: None)
        potential, _ = pyro_potential(model, args, kwargs, nesting)
    value, slope = density.value_and_grad(q)
    for i, row in enumerate(q):
        free = {
            name: part.reshape(density.shapes[name]).clone().requires_grad_()
            for name, part in zip(density.shapes, row.split(density.sizes), strict=True)
        }
        u = potential(free)
        truth = torch.cat([g.reshape(-1) for g in torch.autograd.grad(u, list(free.values()))])
        assert value[i].item() == pytest.approx(-u.item(), rel=1e-10)
        torch.testing.assert_close(slope[i], -truth, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("case", CASES)
def test_what_is_run_again_is_what_was_run_first(case):
    model, data, _ = CASES[case]
    density = LogDensity.of(Program.of(model, data))
    density.value_and_grad(points(density))
    q = points(density, seed=2)
    again, slope = density.value_and_grad(q)
    fresh, fresh_slope = LogDensity.of(Program.of(model, data)).value_and_grad(q)
    torch.testing.assert_close(again, fresh, rtol=0, atol=0)
    torch.testing.assert_close(slope, fresh_slope, rtol=0, atol=0)
    torch.testing.assert_close(density(q), again, rtol=1e-13, atol=0)
    torch.testing.assert_close(density(q[:1]), again[:1], rtol=1e-12, atol=0)
    assert density.evaluations == 2


def by_hand(q, y):
    """log p + log|J| of `bounded`: level = e^a, first = s(b), second = (1 - first) s(c), uniform below 1 - first."""
    a, b, c = q
    level, first = a.exp(), torch.sigmoid(b)
    second = (1 - first) * torch.sigmoid(c)
    likelihood = torch.distributions.Normal(first - second, level).log_prob(y).sum()
    log_volume = a + (first * (1 - first)).log() + ((1 - first) * torch.sigmoid(c) * (1 - torch.sigmoid(c))).log()
    return likelihood - (1 - first).log() + log_volume


def test_a_support_may_depend_on_latents_before_it():
    density = LogDensity.of(Program.of(programs.bounded, Y))
    q = points(density)
    value, slope = density.value_and_grad(q)
    for i, row in enumerate(q):
        row = row.clone().requires_grad_()
        truth = by_hand(row, Y)
        assert value[i].item() == pytest.approx(truth.item(), rel=1e-12)
        torch.testing.assert_close(slope[i], torch.autograd.grad(truth, row)[0], rtol=1e-10, atol=1e-12)
    latents = density.constrain(q)
    assert (latents["second"] < 1 - latents["first"]).all() and (latents["second"] > 0).all()
    torch.testing.assert_close(density.unconstrain(latents), q, rtol=1e-8, atol=1e-10)


SUPPORTS = {
    "real": (constraints.real, (2,)),
    "positive": (constraints.positive, (2,)),
    "interval": (constraints.interval(-1.0, 3.0), (2,)),
    "simplex": (constraints.simplex, (4,)),
    "ordered": (dist.constraints.ordered_vector, (3,)),
    "lower_cholesky": (constraints.lower_cholesky, (3, 3)),
    "positive_definite": (constraints.positive_definite, (3, 3)),
    "corr_cholesky": (constraints.corr_cholesky, (3, 3)),
}


def independent_numbers(name, value):
    """As many of a value's numbers as its support has dimensions, whose Jacobian is that of the value."""
    if name == "simplex":
        return value[:-1]
    if name in ("lower_cholesky", "positive_definite"):
        return value[torch.tril_indices(3, 3).unbind()]
    if name == "corr_cholesky":
        return value[torch.tril_indices(3, 3, -1).unbind()]
    return value.reshape(-1)


@pytest.mark.parametrize("name", SUPPORTS)
def test_the_volume_of_each_support_is_autograds(name):
    support, shape = SUPPORTS[name]

    def flat():
        pyro.sample("x", dist.ImproperUniform(support, (), shape))

    density = LogDensity.of(Program.of(flat))
    for row in points(density, 3):
        jacobian = torch.autograd.functional.jacobian(
            lambda q: independent_numbers(name, differentiable(density, q)["x"]), row
        )
        truth = torch.linalg.slogdet(jacobian).logabsdet
        assert density(row[None]).item() == pytest.approx(truth.item(), rel=1e-9, abs=1e-9)


def differentiable(density, q):
    from inference.sampling.placing import constrained

    return constrained(density.program, density._parts(q))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-4, 4), min_size=9, max_size=9), st.integers(1, 3))
def test_constraining_and_freeing_undo_each_other(numbers, chains):
    def program():
        w = pyro.sample("w", dist.Dirichlet(torch.ones(3)))
        low = pyro.sample("low", dist.HalfNormal(1.0))
        with pyro.plate("two", 2):
            pyro.sample("inside", dist.Uniform(low, low + 2.0))
        pyro.sample("factor", dist.LKJCholesky(3, 1.0))
        pyro.sample("y", dist.Normal(w[0], 1.0), obs=torch.tensor(0.5))

    density = LogDensity.of(Program.of(program))
    assert density.dim == 8
    q = torch.tensor(numbers[:8], dtype=torch.float64).repeat(chains, 1) * torch.linspace(0.5, 1, chains)[:, None]
    values = density.constrain(q)
    assert values["w"].shape == (chains, 3) and values["inside"].shape == (chains, 2)
    torch.testing.assert_close(values["w"].sum(-1), torch.ones(chains, dtype=torch.float64))
    torch.testing.assert_close(density.unconstrain(values), q, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(density.constrain(q.reshape(1, chains, 8))["factor"][0], values["factor"])


def test_scales_masks_and_factors_are_taken_in():
    kept = torch.tensor([True, False, True, True, False])

    def program(y):
        mu = pyro.sample("mu", dist.Normal(0.0, 2.0))
        pyro.factor("more", -0.5 * mu.abs())
        with poutine.scale(scale=3.0), poutine.mask(mask=kept), pyro.plate("rows", 5):
            pyro.sample("y", dist.Normal(mu, 1.5), obs=y)

    density = LogDensity.of(Program.of(program, Y))
    q = points(density)
    normal = torch.distributions.Normal(q, torch.tensor(1.5, dtype=torch.float64)).log_prob(Y)[:, kept].sum(-1)
    prior = torch.distributions.Normal(0.0, torch.tensor(2.0, dtype=torch.float64)).log_prob(q[:, 0])
    torch.testing.assert_close(density(q), prior + 3 * normal - 0.5 * q[:, 0].abs())


def test_a_reparameterised_program_is_the_program_itself():
    def centred(y):
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        with pyro.plate("rows", len(y)):
            theta = pyro.sample("theta", dist.Normal(mu, 2.0))
            pyro.sample("y", dist.Normal(theta, 1.0), obs=y)

    program = Program.of(poutine.reparam(centred, config={"theta": LocScaleReparam(0.0)}), Y)
    assert list(program.latents) == ["mu", "theta_decentered"] and list(program.derived) == ["theta"]
    density, plain = LogDensity.of(program), LogDensity.of(Program.of(centred, Y))
    q = points(density)
    theta = q[:, :1] + 2.0 * q[:, 1:]
    there = plain(torch.cat([q[:, :1], theta], 1)) + 5 * torch.tensor(2.0, dtype=torch.float64).log()
    torch.testing.assert_close(density(q), there)


def test_other_data_run_what_was_recorded():
    density = LogDensity.of(Program.of(programs.counts, COUNTS))
    q = points(density)
    density.value_and_grad(q)
    other = (torch.tensor([3, 2, 1, 0, 0, 1]), torch.tensor([2.0, 0.0, 3.0, 1.0, 1.0, 5.0]))
    swapped = density.with_data(other)
    assert swapped._traces.keys() == density._traces.keys() and swapped.evaluations == 0
    fresh = LogDensity.of(Program.of(programs.counts, other))
    for one, two in zip(swapped.value_and_grad(q), fresh.value_and_grad(q), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)
    longer = tuple(torch.cat([part, part[:1]]) for part in other)
    assert not density.with_data(longer)._traces
    observed = density.with_observed({"y": other[1]})
    mixed = LogDensity.of(Program.of(programs.counts, (COUNTS[0], other[1])))
    torch.testing.assert_close(observed(q), mixed(q), rtol=0, atol=0)


def test_data_that_decide_the_way_are_recorded_anew():
    def program(y):
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        spread = 2.0 if y.max() > 3 else 1.0
        with pyro.plate("rows", len(y)):
            pyro.sample("y", dist.Normal(mu, spread), obs=y)

    density = LogDensity.of(Program.of(program, Y))
    q = points(density)
    density.value_and_grad(q)
    other = density.with_data(Y / 10)
    torch.testing.assert_close(other(q), LogDensity.of(Program.of(program, Y / 10))(q), rtol=0, atol=0)


def test_memory_that_a_program_writes_to_is_its_own_in_every_run():
    def program(y):
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        shift = torch.tensor([0.0, 1.0, 2.0])
        shift[1] += 1.0
        path = a.new_zeros(3) + a * 0
        path[0] = a
        for t in range(1, 3):
            path[t] = 0.5 * path[t - 1] + a
        pyro.sample("y", dist.Normal(path + shift, 1.0).to_event(1), obs=y)

    density = LogDensity.of(Program.of(program, Y[:3]))
    q = points(density)
    path = torch.cat([q, 1.5 * q, 1.75 * q], 1) + torch.tensor([0.0, 2.0, 2.0])
    truth = torch.distributions.Normal(path, torch.ones((), dtype=torch.float64)).log_prob(Y[:3]).sum(-1)
    truth = truth + torch.distributions.Normal(0.0, torch.ones((), dtype=torch.float64)).log_prob(q[:, 0])
    for _ in range(3):
        torch.testing.assert_close(density.value_and_grad(q)[0], truth)


def test_a_program_that_branches_on_latents_is_run_chain_by_chain_and_says_so():
    def program(y):
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        spread = 1.0 if mu > 0 else 2.0
        pyro.sample("y", dist.Normal(mu, spread), obs=y)

    density = LogDensity.of(Program.of(program, torch.tensor(0.7)))
    q = torch.tensor([[-1.0], [2.0]], dtype=torch.float64)
    with pytest.warns(UserWarning, match="program can't be run for all chains at once") as caught:
        value, slope = density.value_and_grad(q)
    assert len(caught) == 1
    spread = torch.tensor([2.0, 1.0], dtype=torch.float64)
    truth = torch.distributions.Normal(q[:, 0], spread).log_prob(torch.tensor(0.7, dtype=torch.float64))
    unit = torch.distributions.Normal(0.0, torch.ones((), dtype=torch.float64))
    torch.testing.assert_close(value, truth + unit.log_prob(q[:, 0]), rtol=1e-6, atol=0)
    torch.testing.assert_close(slope[:, 0], (0.7 - q[:, 0]) / spread**2 - q[:, 0], rtol=1e-6, atol=0)
    again, _ = density.value_and_grad(q)
    torch.testing.assert_close(again, value)
    assert density.constrain(q)["mu"].tolist() == [-1.0, 2.0]


def test_a_decomposition_that_fails_is_one_chains_nan():
    def program(y):
        off = pyro.sample("off", dist.Normal(0.0, 1.0))
        cov = torch.eye(2) + off * (torch.ones(2, 2) - torch.eye(2))
        pyro.sample("y", dist.MultivariateNormal(torch.zeros(2), covariance_matrix=cov), obs=y)

    density = LogDensity.of(Program.of(poutine.reparam(program, config={}), Y[:2], seed=1))
    q = torch.tensor([[0.3], [1.5], [-0.2]], dtype=torch.float64)
    first, _ = density.value_and_grad(q)
    again, _ = density.value_and_grad(q.flip(0))
    assert first.isfinite().tolist() == [True, False, True] == again.isfinite().tolist()
    cov = torch.tensor([[1.0, 0.3], [0.3, 1.0]], dtype=torch.float64)
    truth = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=torch.float64), cov).log_prob(Y[:2])
    unit = torch.distributions.Normal(0.0, torch.ones((), dtype=torch.float64))
    torch.testing.assert_close(first[0], truth + unit.log_prob(q[0, 0]))


def test_a_discrete_latent_may_come_before_the_continuous_ones(double, recwarn):
    counts = torch.tensor([6.0, 5.0, 7.0, 1.0, 2.0])
    place = torch.arange(len(counts))

    def change(y):
        when = pyro.sample("when", dist.Categorical(torch.ones(len(y))))
        early = pyro.sample("early", dist.Exponential(0.1))
        late = pyro.sample("late", dist.Exponential(0.1))
        with pyro.plate("years", len(y)):
            pyro.sample("y", dist.Poisson(torch.where(place < when, early, late)), obs=y)

    density = LogDensity.of(Program.of(change, counts))
    q = points(density, 4)
    values = density.constrain(q)
    torch.testing.assert_close(density.unconstrain(values), q)
    early, late = values["early"], values["late"]
    each = [dist.Poisson(torch.where(place < k, early[:, None], late[:, None])).log_prob(counts).sum(1) for k in place]
    prior = dist.Exponential(0.1).log_prob(early) + dist.Exponential(0.1).log_prob(late) - math.log(len(counts))
    truth = torch.stack(each).logsumexp(0) + prior + early.log() + late.log()
    torch.testing.assert_close(density(q), truth)
    assert not density._one_by_one and not len(recwarn)


def test_values_are_free_of_the_graph_they_came_from(double):
    density = LogDensity.of(Program.of(programs.bounded, torch.tensor([1.0, 2.0])))
    q = points(density, 3)
    for _ in range(2):  # as recorded, and as run again
        assert all(part.grad_fn is None and not part.requires_grad for part in density.value_and_grad(q))


def test_coordinates_have_names():
    density = LogDensity.of(Program.of(programs.markov, Y))
    assert density.names == ["rows[0, 0]", "rows[1, 0]", "mean[0]", "mean[1]"]
    schools = LogDensity.of(Program.of(programs.schools, programs.SCHOOLS))
    assert schools.names[:3] == ["mu", "tau", "raw[0]"] and len(schools.names) == schools.dim == 10


def test_starts_are_finite_and_by_torchs_generator():
    density = LogDensity.of(Program.of(programs.schools, programs.SCHOOLS))
    torch.manual_seed(3)
    one = density.start(6)
    torch.manual_seed(3)
    two = density.start(6)
    assert one.shape == (6, 10) and torch.equal(one, two) and one.abs().max() <= 2.0
    assert torch.isfinite(density(one)).all()


def test_a_start_is_looked_for_in_the_prior_where_there_is_none_near_zero():
    def far(y):
        x = pyro.sample("x", dist.Normal(50.0, 1.0))
        pyro.factor("wall", torch.where(x > 45, 0.0, -torch.inf))
        pyro.sample("y", dist.Normal(x, 1.0), obs=y)

    q = LogDensity.of(Program.of(far, torch.tensor(50.0))).start(4)
    assert (q > 45).all()


def test_no_start_names_the_site():
    def zero(y):
        low = pyro.sample("low", dist.HalfNormal(1.0))
        pyro.sample("y", dist.Uniform(low + 3.0, low + 4.0), obs=y)

    with pytest.raises(
        ValueError, match=r"zero: the likelihood of the site 'y' is zero at every start tried, .* low ="
    ):
        LogDensity.of(Program.of(zero, torch.tensor(-1.0))).start(2)

    def nothing(y):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(x, (x - 100).sqrt()), obs=y)

    with pytest.raises(ValueError, match=r"the likelihood of the site 'y' is nan at the start .*given"):
        LogDensity.of(Program.of(nothing, torch.tensor(1.0))).start(2)
    with pytest.raises(ValueError, match=r"the likelihood of the site 'y' is nan at the start .*its data hold nan"):
        LogDensity.of(Program.of(programs.bounded, torch.tensor([1.0, torch.nan]))).start(2)

    def priorless(y):
        wide = pyro.sample("wide", dist.Normal(0.0, 1.0).mask(True))
        with poutine.scale(scale=torch.tensor(torch.inf)):
            pyro.sample("x", dist.Normal(wide, 1.0))
        pyro.sample("y", dist.Normal(wide, 1.0), obs=y)

    with pytest.raises(ValueError, match="the prior of the site 'x' is zero at every start tried"):
        LogDensity.of(Program.of(priorless, torch.tensor(1.0))).start(2)


def test_values_outside_their_support_are_named():
    density = LogDensity.of(Program.of(programs.bounded, Y))
    values = {"level": torch.tensor([1.0]), "first": torch.tensor([0.5]), "second": torch.tensor([0.7])}
    with pytest.raises(ValueError, match=r"a value of 'second' lies outside its support: \[0\.69"):
        density.unconstrain(values)
    with pytest.raises(ValueError, match="no values are given for the latents second"):
        density.unconstrain({"level": torch.tensor([1.0]), "first": torch.tensor([0.5])})


def test_nothing_of_torch_is_left_changed():
    before = torch.get_default_dtype()
    density = LogDensity.of(Program.of(programs.schools, programs.SCHOOLS))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        density.value_and_grad(density.start(2))
    assert torch.get_default_dtype() == before
