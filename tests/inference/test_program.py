"""Programs: what they are made of, their log joint against enumeration by hand, their draws, and what is refused."""

import math

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch.distributions import constraints

from inference.predictive_draws import derive, pointwise, predict, prior_draws, simulate
from inference.program import Program
from tests.inference import programs

Y = torch.tensor([0.3, -1.2, 2.0, 0.7, 5.1], dtype=torch.float64)


def normal(x, mean, sd):
    return -0.5 * ((x - mean) / sd) ** 2 - math.log(sd) - 0.5 * math.log(2 * math.pi)


def test_sites_are_known_by_name_shape_and_plate():
    program = Program.of(programs.schools, programs.SCHOOLS)
    assert list(program.latents) == ["mu", "tau", "raw"] and list(program.observed) == ["y"]
    assert list(program.derived) == ["theta"] and program.discrete == () and program.name == "schools"
    raw = program.latents["raw"]
    assert raw.shape == (8,) and raw.plates == ("school",) and raw.dtype == torch.float64
    assert program.latents["tau"].shape == () and program.observed["y"].plates == ("school",)
    mixture = Program.of(programs.mixture, Y)
    assert mixture.discrete == ("which",) and list(mixture.latents) == ["weights", "mean"]
    assert mixture.latents["weights"].plates == (None,) and mixture.latents["weights"].free == (2,)


def test_plates_of_two_axes_are_in_their_places():
    def program():
        with pyro.plate("outer", 3, dim=-2), pyro.plate("inner", 2, dim=-1):
            pyro.sample("x", dist.Normal(torch.zeros(4), 1.0).to_event(1))
        with pyro.plate("other", 3, dim=-2):
            pyro.sample("z", dist.Normal(0.0, 1.0))

    sites = Program.of(program).latents
    assert sites["x"].plates == ("outer", "inner", None) and sites["x"].shape == (3, 2, 4)
    assert sites["z"].plates == ("other", None) and sites["z"].shape == (3, 1)


def test_numbers_become_tensors_of_the_precision_and_integers_stay():
    def program(**data):
        seen.update(data)
        pyro.sample("x", dist.Normal(0.0, 1.0))

    seen = {}
    data = {
        "array": np.ones(3, np.float32),
        "list": [1.0, 2.0],
        "number": 0.5,
        "codes": np.array([0, 1]),
        "truth": torch.tensor([True]),
        "size": 3,
        "series": pd.Series([1.5, 2.5]),
        "name": "a",
        "tensor": torch.ones(2),
    }
    Program.of(program, data)
    for name in ("array", "list", "number", "series", "tensor"):
        assert seen[name].dtype == torch.float64, name
    assert seen["codes"].dtype == torch.int64 and seen["truth"].dtype == torch.bool
    assert seen["size"] == 3 and type(seen["size"]) is int and seen["name"] == "a"
    program = Program.of(programs.schools, programs.SCHOOLS, precision=torch.float32)
    assert program.latents["mu"].dtype == torch.float32
    assert torch.get_default_dtype() == torch.float32


def test_a_tuple_a_tensor_and_a_pair_are_called_as_they_are():
    class Pair:
        def model(self, x=None):
            mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(mu, 1.0), obs=x)

    program = Program.of(Pair(), Y)
    assert program.name == "Pair" and list(program.latents) == ["mu"] and list(program.observed) == ["x"]
    group, counts = torch.tensor([0, 3]), torch.tensor([1.0, 2.0])
    assert list(Program.of(programs.counts, (group, counts)).latents) == ["scale", "rate"]
    assert Program.of(program) is program


def test_the_callers_generator_is_left_as_it_was():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    program = Program.of(programs.schools, programs.SCHOOLS, seed=9)
    simulate(program, 2, seed=1)
    assert torch.equal(before, torch.get_rng_state())


def test_the_joint_of_a_mixture_is_the_sum_over_its_components():
    program = Program.of(programs.mixture, Y)
    weights = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    mean = torch.tensor([-1.0, 0.5, 4.0], dtype=torch.float64)
    joint = program.log_joint({"weights": weights, "mean": mean}).item()
    rows = [math.log(sum(w * math.exp(normal(y, m, 1.0)) for w, m in zip(weights, mean, strict=True))) for y in Y]
    prior = torch.distributions.Dirichlet(torch.tensor([2.0, 1.0, 3.0], dtype=torch.float64)).log_prob(weights).item()
    assert joint == pytest.approx(sum(rows) + prior + sum(normal(m, 0.0, 3.0) for m in mean.tolist()), rel=1e-12)
    parts = pointwise(program, {"weights": weights.expand(2, 3), "mean": mean.expand(2, 3)})
    assert parts["y"].shape == (2, 5)
    torch.testing.assert_close(parts["y"][1], torch.tensor(rows, dtype=torch.float64))


def by_paths(rows, mean, y):
    """log p(y_1..t) of `markov` for each t, by all paths of states, from state 0."""
    found = []
    for t in range(1, len(y) + 1):
        total = 0.0
        for path in np.ndindex(*(2,) * t):
            chance, state = 1.0, 0
            for s, each in zip(path, y[:t].tolist(), strict=True):
                chance *= rows[state, s].item() * math.exp(normal(each, mean[s].item(), 1.0))
                state = s
            total += chance
        found.append(math.log(total))
    return found


def test_a_markov_chain_is_summed_over_all_its_paths():
    program = Program.of(programs.markov, Y)
    rows = torch.tensor([[0.7, 0.3], [0.4, 0.6]], dtype=torch.float64)
    mean = torch.tensor([0.5, 3.0], dtype=torch.float64)
    values = {"rows": rows, "mean": mean}
    truth = by_paths(rows, mean, Y)
    prior = torch.distributions.Dirichlet(torch.tensor([[3.0, 1.0], [1.0, 2.0]])).log_prob(rows.float()).sum().item()
    prior += normal(0.5, 0.0, 1.0) + normal(3.0, 4.0, 1.0)
    assert program.log_joint(values).item() == pytest.approx(truth[-1] + prior, rel=1e-6)
    parts = pointwise(program, {name: value[None] for name, value in values.items()})
    steps = [parts[f"y_{t}"].item() for t in range(5)]
    assert np.cumsum(steps) == pytest.approx(truth, rel=1e-12)


def test_rows_that_share_a_discrete_latent_are_one_datum():
    def program(y):
        mean = pyro.sample("mean", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        which = pyro.sample("which", dist.Categorical(torch.tensor([0.25, 0.75])))
        with pyro.plate("rows", len(y)):
            pyro.sample("y", dist.Normal(mean[..., which], 1.0), obs=y)

    mean = torch.tensor([[0.0, 2.0]], dtype=torch.float64)
    found = pointwise(Program.of(program, Y), {"mean": mean})["y"]
    each = [math.log(p) + sum(normal(y, m, 1.0) for y in Y.tolist()) for p, m in ((0.25, 0.0), (0.75, 2.0))]
    assert found.numel() == 1 and found.item() == pytest.approx(np.logaddexp(*each), rel=1e-10)


def test_pointwise_is_each_observed_sites_own_where_nothing_is_summed():
    program = Program.of(programs.schools, programs.SCHOOLS)
    draws = {"mu": torch.tensor([1.0, 2.0]), "tau": torch.tensor([3.0, 1.0]), "raw": torch.randn(2, 8)}
    found = pointwise(program, draws)["y"]
    theta = draws["mu"][:, None] + draws["tau"][:, None] * draws["raw"]
    for n, j in ((0, 0), (1, 7)):
        y, sigma = programs.SCHOOLS["y"][j], programs.SCHOOLS["sigma"][j]
        assert found[n, j].item() == pytest.approx(normal(y, theta[n, j].item(), sigma), rel=1e-6)


def conjugate(y):
    mu = pyro.sample("mu", dist.Normal(1.0, 2.0))
    with pyro.plate("rows", 3):
        pyro.sample("y", dist.Normal(mu, 0.5), obs=y)


def test_draws_of_the_prior_and_of_data_are_as_the_program_says():
    program = Program.of(conjugate, Y[:3])
    latents, observed = simulate(program, 1500, seed=2)
    assert latents["mu"].shape == (1500,) and observed["y"].shape == (1500, 3)
    assert latents["mu"].mean().item() == pytest.approx(1.0, abs=4 * 2 / 1500**0.5)
    assert latents["mu"].std().item() == pytest.approx(2.0, rel=0.08)
    rest = observed["y"] - latents["mu"][:, None]
    assert rest.std().item() == pytest.approx(0.5, rel=0.06) and abs(rest.mean().item()) < 0.03
    again, _ = simulate(program, 1500, seed=2)
    assert torch.equal(again["mu"], latents["mu"])
    anew = predict(program, {"mu": torch.full((500,), 7.0)}, seed=3)["y"]
    assert anew.shape == (500, 3) and anew.mean().item() == pytest.approx(7.0, abs=0.06)


def test_data_are_drawn_anew_through_conditioning_and_summed_latents():
    program = Program.of(poutine.condition(conjugate, data={"y": Y[:3]}), (None,))
    assert list(program.observed) == ["y"] and predict(program, {"mu": torch.zeros(4)}, 1)["y"].std() > 0
    mixture = Program.of(programs.mixture, Y)
    latents, observed = simulate(mixture, 6, seed=1)
    assert latents["weights"].shape == (6, 3) and observed["y"].shape == (6, 5)


def test_what_is_derived_follows_from_draws():
    program = Program.of(programs.schools, programs.SCHOOLS)
    latents, _ = simulate(program, 4, seed=0)
    theta = latents["mu"][:, None] + latents["tau"][:, None] * latents["raw"]
    torch.testing.assert_close(derive(program, latents)["theta"], theta)


def test_an_improper_prior_has_no_draws_and_is_named():
    program = Program.of(programs.bounded, Y)
    with pytest.raises(ValueError, match="the site 'level' can't be drawn: a ImproperUniform has no draws"):
        simulate(program, 2, seed=0)
    assert (prior_draws(program, 3)["level"] > 0).all()


def test_a_program_without_latents_is_refused():
    def nothing(y):
        pyro.sample("y", dist.Normal(0.0, 1.0), obs=y)

    with pytest.raises(ValueError, match="nothing: no continuous latent to infer; is every sample statement given obs"):
        Program.of(nothing, torch.tensor(1.0))

    def codes(y):
        z = pyro.sample("z", dist.Bernoulli(0.5))
        pyro.sample("y", dist.Normal(z, 1.0), obs=y)

    with pytest.raises(ValueError, match="codes: no continuous latent to infer, z would be summed out"):
        Program.of(codes, torch.tensor(1.0))


def test_a_discrete_latent_without_end_is_refused_by_name():
    def program(y):
        rate = pyro.sample("rate", dist.Gamma(2.0, 1.0))
        n = pyro.sample("n", dist.Poisson(rate))
        pyro.sample("y", dist.Normal(n, 1.0), obs=y)

    with pytest.raises(ValueError, match="the discrete latent 'n' can't be summed out, a Poisson has no end of values"):
        Program.of(program, torch.tensor(1.0))

    def asked(y):
        p = pyro.sample("p", dist.Beta(2.0, 1.0))
        pyro.sample("z", dist.Bernoulli(p), infer={"enumerate": "sequential"})

    with pytest.raises(ValueError, match="the discrete latent 'z' is summed out in parallel, not as asked: sequential"):
        Program.of(asked, torch.tensor(1.0))


def test_data_of_another_length_than_their_plate_are_refused():
    def sized(n, y):
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        with pyro.plate("rows", n):
            pyro.sample("y", dist.Normal(mu, 1.0), obs=y)

    with pytest.raises(ValueError, match="the plate 'rows' has 4 rows, and the data of the site 'y' 5"):
        Program.of(sized, (4, Y))
    with pytest.raises(ValueError, match="the plate 'rows' has 4 rows, and the data of the site 'y' 1"):
        Program.of(sized, (4, Y[:1]))

    def wide(n, x, y):
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        with pyro.plate("rows", n):
            pyro.sample("y", dist.Normal(mu * x, 1.0), obs=y)

    with pytest.raises(
        ValueError, match="the plate 'rows' and the distribution of the site 'y' in it have 4 and 5 rows"
    ):
        Program.of(wide, (4, Y, Y))

    def two(y, sd):
        with pyro.plate("rows", len(y)):
            mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(mu, sd), obs=y)

    with pytest.raises(ValueError, match=r"^two: 5 and 3 rows meet in it; are the data as long as each other, and as"):
        Program.of(two, (Y, torch.ones(3)))

    def vector(y):
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(mu, 1.0).expand([4]).to_event(1), obs=y)

    with pytest.raises(ValueError, match=r"vector: the data of the site 'y' are \[5\], and its distribution \[4\]"):
        Program.of(vector, Y)


def waiting(y, mask=None):
    rate = pyro.sample("rate", dist.Gamma(2.0, 1.0))
    with pyro.plate("rows", len(y)), poutine.mask(mask=torch.tensor(True) if mask is None else mask):
        pyro.sample("y", dist.Exponential(rate), obs=y)


def below(y):
    top = pyro.sample("top", dist.HalfNormal(1.0))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Uniform(0.0, top), obs=y)


def test_data_that_no_value_of_the_latents_allows_are_refused():
    with pytest.raises(ValueError, match=r"'y' lie outside of the support of its Exponential, .*lower_bound=0.*: -1.2"):
        Program.of(waiting, Y)
    Program.of(waiting, (Y, Y >= 0))
    Program.of(waiting, Y.abs().index_fill(0, torch.tensor([1]), torch.nan))  # which a start tells of
    Program.of(below, Y + 100)  # a latent moves the bound


def test_discrete_latents_that_do_not_broadcast_are_refused_in_a_sentence():
    def program(y, shift):
        when = pyro.sample("when", dist.Categorical(torch.ones(3)))
        level = pyro.sample("level", dist.Normal(0.0, 1.0))
        with pyro.plate("rows", len(y)):
            pyro.sample("y", dist.Normal(torch.where(shift(when), level, -level), 1.0), obs=y)

    place = torch.arange(len(Y))
    with pytest.raises(ValueError, match=r"program: the site 'y' gets the shape \(3, 1, 5\) where all .* 'when' are"):
        Program.of(program, (Y, lambda when: place < when.unsqueeze(-1)))
    with pytest.raises(ValueError, match="program can't be run on all values of 'when' at once, to sum them out: "):
        Program.of(program, (Y, lambda when: place < int(when)))
    assert Program.of(program, (Y, lambda when: place < when)).discrete == ("when",)


def test_a_plate_of_which_a_part_is_drawn_is_refused():
    def program(y):
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        with pyro.plate("rows", 5, subsample_size=2) as rows:
            pyro.sample("y", dist.Normal(mu, 1.0), obs=y[rows])

    with pytest.raises(ValueError, match="the plate 'rows' draws 2 of its 5 rows"):
        Program.of(program, Y)


def test_a_support_without_a_map_is_refused_by_name():
    def program():
        pyro.sample("x", dist.ImproperUniform(constraints.real, (), (2,)))
        pyro.sample("way", dist.ProjectedNormal(torch.ones(2)))

    with pytest.raises(ValueError, match=r"the latent 'way' has the support .* can't be mapped"):
        Program.of(program)


def test_what_is_not_a_model_is_refused():
    with pytest.raises(TypeError, match="a model is called with the data, and a list can't be"):
        Program.of([1], Y)


def test_other_observations_take_the_place_of_the_data():
    program = Program.of(conjugate, Y[:3])
    other = program.with_observed({"y": Y[2:]})
    values = {"mu": torch.tensor(0.2, dtype=torch.float64)}
    assert other.log_joint(values).item() == program.with_data((Y[2:],)).log_joint(values).item()
    with pytest.raises(ValueError, match="no observed site 'x'; known: y"):
        program.with_observed({"x": Y})
