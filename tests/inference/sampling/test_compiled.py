"""Machine code against torch's own operations on programs of every kind, and what happens where there can be none."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from inference.program import Program
from inference.sampling.building import compiler
from inference.sampling.compiled import CompiledDensity, compiled
from inference.sampling.density import LogDensity
from inference.sampling.native_text import VALUES
from tests.inference import programs
from tests.inference.sampling.test_density import CASES, Y, points

needs_compiler = pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
PROGRAMS = {**{name: case[:2] for name, case in CASES.items()}, "bounded": (programs.bounded, Y)}


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("name", PROGRAMS)
def test_it_is_torchs_own_value_and_slope(name):
    density = LogDensity.of(Program.of(*PROGRAMS[name]))
    made = compiled(density)
    assert isinstance(made, CompiledDensity), density.why_not
    for chains in (1, 8, 13):
        q = points(density, chains, seed=chains)
        for one, other in zip(made.value_and_grad(q), density.value_and_grad(q), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)
    assert made.evaluations == 3


def loop(y, first):
    drift = pyro.sample("drift", dist.Normal(0.0, 1.0))
    keep = pyro.sample("keep", dist.Beta(2.0, 2.0))
    level = first
    for t in range(len(y)):
        level = drift + keep * level + 0.1 * level.tanh()
        pyro.sample(f"y_{t}", dist.Normal(level, 1.0), obs=y[t])


@pytest.mark.slow
@needs_compiler
def test_a_loop_runs_and_other_data_need_no_compiler():
    density = LogDensity.of(Program.of(loop, {"y": Y, "first": 0.5}))
    made = compiled(density)
    other = made.with_data({"y": Y + 1, "first": -0.5})
    assert isinstance(other, CompiledDensity) and other.native is not None and other.evaluations == 0
    q = points(density, 9)
    truth = LogDensity.of(Program.of(loop, {"y": Y + 1, "first": -0.5}))
    for one, two in zip(other.value_and_grad(q), truth.value_and_grad(q), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-11)
    longer = made.with_data({"y": torch.cat([Y, Y]), "first": 0.5})
    assert longer.native is None and longer.value_and_grad(q)[0].isfinite().all()


def layers(x, y):
    """A product with something added, and constants of single precision."""
    weight = pyro.sample("weight", dist.Normal(torch.zeros(2, 3), 1.0).to_event(2))
    with pyro.plate("rows", len(y)):
        mean = torch.addmm(weight[0], x, weight, beta=0.5, alpha=2.0).tanh().sum(-1)
        pyro.sample("y", dist.Normal(mean, torch.tensor(0.7, dtype=torch.float32)), obs=y)


@needs_compiler
def test_a_product_with_a_sum_and_single_constants_are_torchs():
    x = torch.randn(len(Y), 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    density = LogDensity.of(Program.of(layers, {"x": x, "y": Y}))
    made = compiled(density)
    assert isinstance(made, CompiledDensity), density.why_not
    q = points(density, 9)
    for one, two in zip(made.value_and_grad(q), density.value_and_grad(q), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-11)


def row_by_matrix(x, y):
    weight = pyro.sample("weight", dist.Normal(torch.zeros(3, 3), 1.0).to_event(2))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal((weight[0] @ weight) @ x, 1.0), obs=y)


@needs_compiler
def test_a_row_by_a_matrix_is_torchs():
    x = torch.randn(3, len(Y), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    density = LogDensity.of(Program.of(row_by_matrix, {"x": x, "y": Y}))
    made = compiled(density)
    assert isinstance(made, CompiledDensity), density.why_not
    q = points(density, 9)
    for one, two in zip(made.value_and_grad(q), density.value_and_grad(q), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-11)


@pytest.mark.slow
@needs_compiler
def test_other_codes_are_left_to_torch_which_checks_them():
    group, y = CASES["counts"][1]
    made = compiled(LogDensity.of(Program.of(programs.counts, (group, y))))
    assert made.with_data((group, y + 1)).native is not None
    other = made.with_data((group.flip(0), y))
    assert other.native is None
    q = points(made, 2)
    torch.testing.assert_close(other(q), LogDensity.of(Program.of(programs.counts, (group.flip(0), y)))(q))


@pytest.mark.slow
@needs_compiler
def test_the_special_functions_are_torchs():
    x = torch.tensor([0.013, 0.7, 1.0, 3.3, 11.0, 250.0], dtype=torch.float64)

    def program():
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        shape = (x + a).abs()
        pyro.factor("gamma", torch.lgamma(shape).sum() + torch.erf(a) + torch.expm1(a) * torch.sin(a) + torch.atan(a))
        pyro.factor(
            "soft", torch.nn.functional.softplus(a * 3) + torch.nn.functional.logsigmoid(30 * a) + shape.log1p().sum()
        )

    density = LogDensity.of(Program.of(program))
    made = compiled(density)
    assert isinstance(made, CompiledDensity), density.why_not
    q = torch.linspace(-3.0, 3.1, 40, dtype=torch.float64)[:, None]
    for one, two in zip(made.value_and_grad(q), density.value_and_grad(q), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-8, atol=1e-8)


def test_what_has_no_machine_code_stays_as_it_was(monkeypatch):
    def sorted_program():
        x = pyro.sample("x", dist.Normal(0.0, 1.0).expand([4]).to_event(1))
        pyro.factor("first", x.sort().values[0])

    density = LogDensity.of(Program.of(sorted_program))
    assert compiled(density) is density and "sort" in density.why_not
    single = LogDensity.of(Program.of(programs.schools, programs.SCHOOLS, precision=torch.float32))
    assert compiled(single) is single and "double precision" in single.why_not
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    rare = LogDensity.of(Program.of(loop, {"y": Y[:3], "first": 0.25}))
    assert compiled(rare) is rare and "no C++ compiler" in rare.why_not


@pytest.mark.slow
@needs_compiler
def test_code_that_differs_is_not_trusted(monkeypatch):
    density = LogDensity.of(Program.of(loop, {"y": Y[:2], "first": 0.5}))
    monkeypatch.setitem(VALUES, "mul.Tensor", "{0} * {1} * 1.0001")
    assert compiled(density) is density and "differs" in density.why_not
