"""The command line: what works end to end on a few steps, and one sentence for every mistake."""

import json
import subprocess
import sys
import time
import tomllib

import pandas as pd
import pytest
import torch

import zoo
from zoo.app import cli, figures
from zoo.datasets import load as load_data

MOONS = """
data = "two_moons"
[model]
family = "realnvp"
layers = 2
hidden = 8
[fit]
steps = 3
seed = 1
"""
DIGITS = """
data = "digits"
[model]
family = "vae"
latent = 2
hidden = [8]
prior = {family = "realnvp", layers = 2, hidden = 4}
[fit]
steps = 3
objective = {name = "elbo", particles = 2}
[ask]
samples = 9
"""


@pytest.fixture
def moons(tmp_path):
    path = tmp_path / "moons.toml"
    path.write_text(MOONS)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    (folder / "moons.toml").write_text(MOONS)
    assert cli.main(["run", str(folder / "moons.toml"), "--out", str(folder / "run")]) == 0
    return folder / "run"


def refused(capsys, *argv: str) -> str:
    """The one sentence that a user's error is answered with."""
    assert cli.main([str(a) for a in argv]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "Traceback" not in error
    assert error.startswith(f"zoo {argv[0]}: ")
    return error


# ---- what works


def test_a_run_leaves_everything_that_was_promised(run):
    names = {path.name for path in run.iterdir()}
    assert names == {
        "spec.toml", "weights.safetensors", "history.csv", "posterior.nc", "scores.json", "figures", "report.html",
    }  # fmt: skip
    html = (run / "report.html").read_text()
    assert "data:image/png;base64," in html and "<script" not in html and 'src="http' not in html
    assert html.index("Fitted to 10,000 rows of two_moons") < html.index("<table")
    assert json.loads((run / "scores.json").read_text())
    assert "step" in pd.read_csv(run / "history.csv").columns
    assert len(list((run / "figures").glob("*.png"))) >= 2


def test_a_run_is_seeded_and_its_spec_runs_again_to_the_same_model(run, tmp_path):
    assert cli.main(["run", str(run / "spec.toml"), "--out", str(tmp_path / "again")]) == 0
    first, second = zoo.load(run), zoo.load(tmp_path / "again")
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_models_nest_in_a_run_and_compare_on_one_scoreboard(tmp_path, capsys):
    for name in ("one", "two"):
        (tmp_path / f"{name}.toml").write_text(DIGITS)
    specs = [str(tmp_path / f"{name}.toml") for name in ("one", "two")]
    assert cli.main(["compare", *specs, "--set", "fit.steps=2", "--out", str(tmp_path / "both")]) == 0
    assert len(json.loads((tmp_path / "both" / "scores.json").read_text())) == 2
    model = zoo.load(tmp_path / "both" / "two")
    assert type(model.prior_model).__name__ == "RealNVP"
    assert model.event_shape == torch.Size([1, 8, 8])
    assert "one" in capsys.readouterr().out


def test_sample_writes_rows_in_the_data_s_own_units(run, tmp_path, capsys):
    assert cli.main(["sample", str(run), "-n", "5", "--seed", "4"]) == 0
    first = capsys.readouterr().out
    assert len(first.splitlines()) == 6
    assert cli.main(["sample", str(run), "-n", "5", "--seed", "4", "--out", str(tmp_path / "x.csv")]) == 0
    assert (tmp_path / "x.csv").read_text() == first
    assert cli.main(["sample", str(run), "--out", str(tmp_path / "x.png")]) == 0
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def test_score_prints_the_model_s_own_log_likelihood(run, tmp_path, capsys):
    x = load_data("two_moons").test.x[:4]
    pd.DataFrame(x.numpy()).to_csv(tmp_path / "x.csv", index=False)
    capsys.readouterr()
    assert cli.main(["score", str(run), str(tmp_path / "x.csv")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "row,nats,kind" and len(lines) == 5
    truth = zoo.load(run).log_prob(x)
    found = torch.tensor([float(line.split(",")[1]) for line in lines[1:]])
    assert torch.allclose(found, truth, atol=1e-4)
    assert all(line.endswith(",exact") for line in lines[1:])


def test_score_takes_rows_of_a_standardised_table_back_to_their_own_units(tmp_path, capsys):
    spec = tmp_path / "iris.toml"
    spec.write_text('data = "iris"\nmodel = "gaussian"\n[fit]\nsteps = 2\n[ask]\ndiagnose = false\nevaluate = false\n')
    assert cli.main(["run", str(spec), "--out", str(tmp_path / "run")]) == 0
    raw = load_data("iris")
    names = list(raw.feature_names)
    frame = pd.DataFrame(raw.test.x[:3].numpy(), columns=names)
    frame[names[::-1]].to_csv(tmp_path / "x.csv", index=False)
    capsys.readouterr()
    assert cli.main(["score", str(tmp_path / "run"), str(tmp_path / "x.csv")]) == 0
    found = [float(line.split(",")[1]) for line in capsys.readouterr().out.splitlines()[1:]]
    scale = raw.train.x.double().std(0, correction=0)
    with torch.no_grad():
        standard = ((raw.test.x[:3].double() - raw.train.x.double().mean(0)) / scale).float()
        truth = zoo.load(tmp_path / "run").log_prob(standard) - scale.log().sum()
    assert torch.allclose(torch.tensor(found), truth.float(), atol=1e-3)


def test_diagnose_says_it_in_words(run, capsys):
    capsys.readouterr()
    assert cli.main(["diagnose", str(run)]) == 0
    assert "nats a row" in capsys.readouterr().out


def test_query_answers_as_the_tables_do(capsys):
    assert cli.main(["query", "asia", "--given", "smoke=yes", "--find", "lung"]) == 0
    assert "0.1000" in capsys.readouterr().out
    assert cli.main(["query", "asia", "--do", "smoke=no", "--find", "lung"]) == 0
    assert "0.0100" in capsys.readouterr().out


def test_rows_of_a_csv_file_are_data(tmp_path):
    pd.DataFrame(torch.randn(40, 3).numpy(), columns=list("abc")).to_csv(tmp_path / "my.csv", index=False)
    spec = tmp_path / "my.toml"
    spec.write_text(f'data = "{tmp_path / "my.csv"}"\nmodel = "gaussian"\n[fit]\nsteps = 2\n[ask]\ndiagnose = false\n')
    assert cli.main(["run", str(spec), "--out", str(tmp_path / "run")]) == 0
    assert zoo.load(tmp_path / "run").event_shape == torch.Size([3])


def test_a_network_s_samples_are_drawn_as_bars_by_the_states_names(tmp_path):
    network = zoo.BayesianNetwork(network="asia")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x = network.sample(60)
    network.decode(x).to_csv(tmp_path / "asia.csv", index=False)
    spec = tmp_path / "asia.toml"
    spec.write_text(
        f'data = "{tmp_path / "asia.csv"}"\n[model]\nfamily = "bayesian_network"\nnetwork = "asia"\n'
        "pseudo_count = 1.0\n[ask]\ndiagnose = false\nevaluate = false\nsamples = 50\n"
    )
    assert cli.main(["run", str(spec), "--out", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "figures" / "samples.png").exists()

    figure = figures.states({"data": x, "model": x[:30]}, network.states)
    for i, (variable, states) in enumerate(network.states.items()):
        ax = figure.axes[i]
        assert ax.get_title() == variable and [label.get_text() for label in ax.get_yticklabels()] == states
        for bars, rows in zip(ax.containers, (x, x[:30]), strict=True):
            shares = [float((rows[:, i] == code).double().mean()) for code in range(len(states))]
            assert [bar.get_width() for bar in bars] == pytest.approx(shares)


def test_list_and_show(capsys):
    assert cli.main(["list"]) == 0
    listed = capsys.readouterr().out
    assert "realnvp" in listed and "digits" in listed and "asia" in listed
    assert cli.main(["show", "vae"]) == 0
    card = capsys.readouterr().out
    assert "latent variable" in card and "default: 16" in card and "1312.6114" in card


def test_names_of_any_length_stand_apart_from_what_is_said_of_them(capsys):
    assert cli.main(["list"]) == 0
    assert "\n  autoregressive_spline_flow  each number" in capsys.readouterr().out
    assert cli.main(["show", "supported"]) == 0
    card = capsys.readouterr().out
    assert "a list of texts or lists of numbers or a table by name  needed\n" in card
    assert cli.main(["show", "realnvp"]) == 0
    assert "a whole number or a list of whole numbers  default: 128\n" in capsys.readouterr().out


def test_data_is_shown_as_families_are(capsys):
    assert cli.main(["show", "digits"]) == 0
    card = capsys.readouterr().out
    assert "1,347 train, 450 test" in card and "[1, 8, 8]" in card and "levels, 0 to 16" in card
    assert cli.main(["show", "pydoc_topics"]) == 0
    assert "one sequence" in capsys.readouterr().out


def test_the_help_of_run_shows_a_spec_that_can_be_read(capsys):
    from zoo.app.recipe import VIEWS, Ask, recipe

    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    told = capsys.readouterr().out
    assert all(name in told for name in (*VIEWS, *Ask.__dataclass_fields__))
    spec = "\n".join(line.split("   ")[0] for line in cli.SPEC.splitlines()[1:-1] for line in [line.strip()])
    assert recipe(tomllib.loads(spec), "told").ask.samples == 512


def test_help_comes_at_once_and_without_torch():
    code = "import sys; from zoo.app import cli; cli.parser().format_help(); print('torch' in sys.modules)"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert time.perf_counter() - start < 5


def test_importing_the_zoo_imports_neither_torch_nor_the_layer():
    code = "import sys, zoo; print([m for m in ('torch', 'inference') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- what is refused


def test_a_run_that_exists_is_not_written_over(run, moons, capsys):
    assert "exists already" in refused(capsys, "run", moons, "--out", run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.familly=3", "model.familly is not a parameter of realnvp"),
        ("model.family=realnpv", "there is no family 'realnpv'; did you mean realnvp"),
        ("model.layrs=3", "model.layrs is not a parameter of realnvp; did you mean layers?"),
        ('model.layers="3"', "model.layers is '3', but a whole number was expected"),
        ("fit.stps=3", "fit.stps is not a parameter of fit; did you mean steps?"),
        ("fit.steps=1.5", "fit.steps is 1.5, but a whole number was expected"),
        ("fit.method=magic", 'but "em", "gradient" or "none" was expected'),
        ("fit.method=em", "fit.method is 'em', but RealNVP has no closed-form steps"),
        ("fit.objective=elbow", "fit.objective.name is 'elbow', which is not known here; did you mean elbo"),
        ("fit.objective.particles=3", "fit.objective.name is None"),
        ('fit.schedule={name="cosine"}', "fit.schedule.steps is missing: a whole number is needed"),
        ("fit.optimizer=adm", "fit.optimizer is 'adm', which is not known here; did you mean adam or adamw?"),
        ("fit.optimizer={name='adam', beta=3}", "fit.optimizer.beta is not a parameter here; did you mean betas?"),
        ("ask.samples=-1", "ask.samples is -1, but 0 or more rows were expected"),
        ("ask.sample=3", "ask.sample is not a parameter of ask; did you mean samples?"),
        ("fit.seed=first", "fit.seed is 'first', but a whole number was expected"),
        ("fit.device=gpuu", "gpuu"),
        ("data=two_moon", "there is no data named 'two_moon': did you mean two_moons"),
        ("data.view=logits", "data.view is 'logits', which is no view; did you mean logit?"),
        ("modell=3", "modell is not a part of a spec; did you mean model?"),
        ("fit.steps", "is not key=value"),
    ],
)
def test_a_wrong_spec_is_one_sentence(moons, tmp_path, capsys, change, message):
    error = refused(capsys, "run", moons, "--set", change, "--out", tmp_path / "run")
    assert message in error
    assert not (tmp_path / "run").exists()


def test_files_that_are_not_what_they_should_be(moons, tmp_path, capsys):
    assert "there is no file" in refused(capsys, "run", tmp_path / "no.toml")
    (tmp_path / "bad.toml").write_text("data = digits")
    assert "bad.toml is not TOML: " in refused(capsys, "run", tmp_path / "bad.toml")
    assert "there is no run" in refused(capsys, "sample", tmp_path / "no")


def test_a_truncated_run_is_refused(run, tmp_path, capsys):
    broken = tmp_path / "broken"
    zoo.save(zoo.load(run), broken)
    (broken / "weights.safetensors").write_bytes(b"123")
    assert "damaged or cut short" in refused(capsys, "sample", broken)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,c\n1,2,3\n", "has 3 columns, but the model's rows have 2 numbers"),
        ("a,b\n1,\n", "row 0, column 'b' is empty"),
        ("a,b\n1,x\n", "column 'b' is not numeric"),
        ("a,b\n", "has no rows"),
        ("", "is not a CSV file of rows"),
    ],
)
def test_rows_that_do_not_fit_are_refused(run, tmp_path, capsys, text, message):
    (tmp_path / "x.csv").write_text(text)
    assert message in refused(capsys, "score", run, tmp_path / "x.csv")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("asiaa", "--find", "lung"), "asia"),
        (("asia", "--find", "lun"), "lung"),
        (("asia", "--find", "lung", "--given", "smok=yes"), "smoke"),
        (("asia", "--find", "lung", "--given", "smoke=yess"), "yes"),
        (("asia", "--find", "lung", "--given", "smoke"), "'smoke' is not VARIABLE=STATE"),
        (("asia", "--find", "lung", "--given", "smoke=yes", "smoke=no"), "smoke two states, yes and no"),
        (("asia", "--find", "lung", "--given", "either=no", "tub=yes"), "probability"),
        (("no.bif", "--find", "lung"), "there is no file 'no.bif'"),
    ],
)
def test_questions_that_make_no_sense_are_refused(capsys, argv, message):
    assert message in refused(capsys, "query", *argv)


def test_ctrl_c_is_130(monkeypatch, capsys):
    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "list_families", stop)
    assert cli.main(["list"]) == 130


def test_the_command_itself_exits_with_2_and_no_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "zoo.app.cli", "show", "vaee"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == "zoo show: there is no family 'vaee'; did you mean vae?\n"


@pytest.mark.parametrize("kind", [RuntimeError, AssertionError, NotImplementedError])
def test_what_torch_refuses_is_one_sentence_too(monkeypatch, capsys, kind):
    def refuse(_):
        raise kind("\nTorch not compiled with CUDA enabled\nframe #0: c10::Error")

    monkeypatch.setattr(cli, "list_families", refuse)
    assert "Torch not compiled with CUDA enabled (zoo" in refused(capsys, "list")


@pytest.mark.parametrize(
    "change", ['data = "digits"\nmodel = "vea"', 'data = "digits"\nmodel = "vae"\nfit = {steps = 1, epochs = 1}']
)
def test_nothing_is_fitted_before_every_spec_has_been_looked_at(moons, tmp_path, capsys, change):
    (tmp_path / "wrong.toml").write_text(change)
    assert cli.main(["compare", str(moons), str(tmp_path / "wrong.toml"), "--out", str(tmp_path / "both")]) == 2
    assert "fitting" not in capsys.readouterr().out


def test_a_csv_without_a_header_is_refused(tmp_path) -> None:
    from zoo.app.rows import read_csv

    path = tmp_path / "rows.csv"
    path.write_text("1.5,2.0\n3.0,4.0\n")
    with pytest.raises(ValueError, match="no header"):
        read_csv(str(path))


def test_models_of_different_data_are_not_compared(capsys, tmp_path) -> None:
    specs = []
    for name in ("two_moons", "iris"):
        path = tmp_path / f"{name}.toml"
        path.write_text(f'data = "{name}"\n[model]\nfamily = "gaussian_mixture"\n')
        specs.append(path)
    error = refused(capsys, "compare", *specs, "--out", tmp_path / "both")
    assert "different data can't be compared: iris, two_moons" in error
