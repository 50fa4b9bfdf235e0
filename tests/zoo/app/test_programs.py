"""Programs by the command line: a spec in, a run's folder out, and one sentence for every mistake."""

import re
import tomllib

import arviz as az
import numpy as np
import pandas as pd
import pytest
import torch

from inference.program import Program
from zoo.app import cli
from zoo.app.program_recipe import program_recipe
from zoo.spread import in_bed

SCHOOLS = """
program = "eight_schools"
[mcmc]
seed = 3
chains = 64
until = {name = "ess", count = 400}
[coords]
school = ["A", "B", "C", "D", "E", "F", "G", "H"]
"""
LINE = """
import pyro
import pyro.distributions as dist

def line(x, y):
    slope = pyro.sample("slope", dist.Normal(0.0, 10.0).expand([x.shape[1]]).to_event(1))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Normal(x @ slope, 1.0), obs=y)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    (folder / "schools.toml").write_text(SCHOOLS)
    assert cli.main(["run", str(folder / "schools.toml"), "--out", str(folder / "run")]) == 0
    return folder / "run"


def refused(capsys, tmp_path, spec: str) -> str:
    (tmp_path / "wrong.toml").write_text(spec)
    assert cli.main(["run", str(tmp_path / "wrong.toml"), "--out", str(tmp_path / "run")]) == 2
    assert not (tmp_path / "run").exists()
    return capsys.readouterr().err


def test_a_run_leaves_draws_with_names_a_summary_and_a_report(run):
    idata = az.from_netcdf(run / "posterior.nc")
    assert list(idata.posterior["theta"].coords["school"].values) == list("ABCDEFGH")
    assert {"log_likelihood", "posterior_predictive", "prior_predictive", "observed_data"} <= set(idata.groups())
    summary = pd.read_csv(run / "summary.csv", index_col=0)
    assert summary.loc["mu", "mean"] == pytest.approx(4.4, abs=0.4)  # of posteriordb: 4.4 of sd 3.3
    report = (run / "report.html").read_text()
    assert "r-hat" in report and "eight_schools" in report


def test_diagnose_tells_of_a_run_and_of_any_netcdf_file(run, capsys):
    assert cli.main(["diagnose", str(run)]) == 0
    whole = capsys.readouterr().out
    assert cli.main(["diagnose", str(run / "posterior.nc")]) == 0
    of_file = capsys.readouterr().out
    assert "leave-one-out, nats" in whole and "leave-one-out, nats" not in of_file
    told = [
        float(line.split()[2]) for text in (whole, of_file) for line in text.splitlines() if "largest r-hat" in line
    ]
    r_hat = az.rhat(az.from_netcdf(run / "posterior.nc"))
    of_latents = max(float(r_hat[name].max()) for name in ("mu", "tau", "eta"))  # a file does not say what is derived
    assert told == pytest.approx([of_latents, max(of_latents, float(r_hat["theta"].max()))], abs=2e-6)


def test_a_function_and_a_table_of_ones_own(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(LINE)
    x = np.random.default_rng(0).normal(size=(50, 2))
    y = x @ [1.0, -2.0] + np.random.default_rng(1).normal(size=50)
    pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": y}).to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "line.toml").write_text(
        'program = {file = "mine.py:line", data = {csv = "rows.csv", arguments = {x = ["a", "b"], y = "y"}}}\n'
        "[laplace]\n"
    )
    assert cli.main(["run", str(tmp_path / "line.toml"), "--out", str(tmp_path / "run")]) == 0
    precision = x.T @ x + np.eye(2) / 100
    summary = pd.read_csv(tmp_path / "run" / "summary.csv", index_col=0)
    sd = np.sqrt(np.diag(np.linalg.inv(precision)))
    np.testing.assert_allclose(summary["mean"], np.linalg.solve(precision, x.T @ y), atol=0.25 * sd.max())
    np.testing.assert_allclose(summary["sd"], sd, rtol=0.1)
    capsys.readouterr()
    assert cli.main(["diagnose", str(tmp_path / "run")]) == 0  # the run's folder knows where its files are


SCHOOL = """
[program]
data = {csv = "beds.csv", arguments = {cases = "beds"}}
[program.spread]
compartments = "sir"
start = {S = 762, I = 1}
observes = "I"
times = 14
[program.spread.priors]
beta = {name = "positive_normal", mean = 2.0, sd = 1.0}
gamma = {name = "positive_normal", mean = 0.4, sd = 0.5}
[program.spread.reporting]
name = "negative_binomial"
phi_inv = {name = "exponential", rate = 5.0}
[laplace]
"""


def own(folder):
    pd.DataFrame({"beds": in_bed().numpy()}).to_csv(folder / "beds.csv", index=False)
    (folder / "flu.toml").write_text('program = "influenza"\n[laplace]\n')
    (folder / "own.toml").write_text(SCHOOL)


def test_an_outbreak_of_ones_own_has_the_density_of_the_zoos(tmp_path):
    own(tmp_path)
    values = {name: torch.tensor(0.5, dtype=torch.float64) for name in ("beta", "gamma", "phi_inv")}
    made = [program_recipe(tomllib.loads((tmp_path / f"{n}.toml").read_text()), n, tmp_path) for n in ("flu", "own")]
    one, other = (float(Program.of(each.program, each.arguments).log_joint(values)) for each in made)
    assert one == other


WEEK = [3, 8, 26, 76, 225, 298, 258]


def test_cases_may_be_written_out_and_be_missing(tmp_path):
    pd.DataFrame({"day": range(14), "beds": [*WEEK, *[None] * 7]}).to_csv(tmp_path / "beds.csv", index=False)
    written = SCHOOL.replace('{csv = "beds.csv", arguments = {cases = "beds"}}', f"{{cases = {[*WEEK, *['nan'] * 7]}}}")
    made = [program_recipe(tomllib.loads(text.replace("'", "")), "flu", tmp_path) for text in (SCHOOL, written)]
    expected = torch.tensor([*WEEK, *[torch.nan] * 7], dtype=torch.float64)
    for each in made:
        torch.testing.assert_close(each.arguments["cases"], expected, equal_nan=True, rtol=0, atol=0)


def test_the_run_of_an_outbreak_shows_its_course_and_answers(tmp_path, capsys):
    (tmp_path / "flu.toml").write_text(
        SCHOOL.replace('{csv = "beds.csv", arguments = {cases = "beds"}}', f"{{cases = {WEEK}}}")
        .replace("times = 14", "times = 7")
        .replace("gamma = {", "gamma = 0.5 # {")
    )
    folder = str(tmp_path / "run")
    assert cli.main(["run", str(tmp_path / "flu.toml"), "--out", folder]) == 0
    assert (tmp_path / "run" / "figures" / "course.png").exists()
    report = (tmp_path / "run" / "report.html").read_text()
    assert "R0 is 3." in report and "The peak of the curve is" in report
    capsys.readouterr()
    assert cli.main(["query", folder, "--find", "R0", "peak"]) == 0
    assert "P(R0; peak)" in capsys.readouterr().out
    assert cli.main(["query", folder, "--find", "saved", "--do", "contacts=0.5"]) == 0
    assert "P(saved | do(contacts = 0.5))" in capsys.readouterr().out
    for command, said in (
        (["query", folder, "--find", "saved", "--do", "contacts=half"], "--do contacts is 'half', but a number"),
        (["query", folder, "--find", "peek"], "near: peak"),
        (["sample", folder], "it holds draws of a posterior, and no model; ask it by zoo query"),
        (["score", folder, "rows.csv"], "it holds draws of a posterior"),
        (["compare", str(tmp_path / "flu.toml")], "held to each other by inference.compare"),
    ):
        assert cli.main(command) == 2
        assert said in capsys.readouterr().err


@pytest.mark.slow
def test_an_outbreak_of_ones_own_runs_as_the_zoos(tmp_path):
    own(tmp_path)
    found = []
    for name in ("flu", "own"):
        assert cli.main(["run", str(tmp_path / f"{name}.toml"), "--out", str(tmp_path / name)]) == 0
        found.append(pd.read_csv(tmp_path / name / "summary.csv", index_col=0))
    pd.testing.assert_frame_equal(*found)
    assert found[0].loc["beta", "mean"] == pytest.approx(1.74, abs=0.05)
    assert cli.main(["diagnose", str(tmp_path / "own")]) == 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('compartments = "sir"', 'compartments = "sri"', "program.spread.compartments is 'sri'.* sir"),
        ("rate = 5.0", "rat = 5.0", "program.spread.reporting.phi_inv.rat is not a parameter"),
        ("gamma = {", "gama = {", "program.spread: there is no rate 'gama'; did you mean gamma"),
        ("times = 14", "time = 14", "program.spread.time is not a parameter of a spread; did you mean times"),
        ("S = 762", 'S = "all"', "program.spread.start.S is 'all', but a number or a prior"),
        ("phi_inv =", "phi =", "program.spread.reporting.phi is not a parameter"),
        ('observes = "I"', 'observes = ["S", "R"]', "program.spread: there is no transition from S to R"),
        ("times = 14", "times = [3, 2]", "program.spread: times are numbers that increase"),
        ('[program]', '[program]\nname = "influenza"', "program needs either a name"),
    ],
)  # fmt: skip
def test_a_wrong_outbreak_is_told_by_its_key(capsys, tmp_path, old, new, said):
    assert old in SCHOOL
    error = refused(capsys, tmp_path, SCHOOL.replace(old, new))
    assert re.search(said, error) and error.count("\n") == 1


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ('program = "eight_school"', "eight_schools"),
        ('program = {file = "nowhere.py:model"}', "a file and its function were expected"),
        ('program = "eight_schools"\n[mcmc]\nkernels = 3', "mcmc.kernels is not a parameter of mcmc"),
        ('program = "eight_schools"\n[mcmc]\nkernel = {name = "nut"}', "did you mean nuts"),
        ('program = "eight_schools"\n[mcmc]\n[laplace]', "in one way"),
        ('program = "eight_schools"\n[model]\nfamily = "vae"', "not a part of a program's spec"),
        ('program = "eight_schools"\n[coords]\nschools = ["A"]', "school"),
    ],
)
def test_a_wrong_spec_is_told_in_a_sentence(capsys, tmp_path, spec, said):
    error = refused(capsys, tmp_path, spec)
    assert said in error and error.count("\n") == 1


def test_the_help_of_run_shows_a_spec_that_can_be_read():
    spec = "\n".join(line.strip().split("   ")[0] for line in cli.PROGRAM.splitlines()[1:])
    made = program_recipe(tomllib.loads(spec), "told")
    assert made.settings["kernel"].name == "NUTS" and len(made.coords["school"]) == 8
    spread = "\n".join(line.strip().split("   ")[0] for line in cli.OUTBREAK.splitlines()[1:])
    assert len(program_recipe(tomllib.loads(spread), "told").arguments["cases"]) == 6


def test_show_tells_a_programs_arguments(capsys):
    assert cli.main(["show", "eight_schools"]) == 0
    assert "arguments     y, sigma" in capsys.readouterr().out
