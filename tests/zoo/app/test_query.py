"""`zoo query`, one case: every answer against the sum over all joint states, every mistake one sentence."""

import itertools
import math

import pytest
import torch

import zoo
from zoo.app import cli
from zoo.app.networks import answer, case, explain, worth
from zoo.graph_files import load_network, write_network


def joint_of(graph, do=()):
    """Every joint state with its probability, by multiplying table entries: the truth for small networks."""
    do = dict(do)
    cpds = {v: graph.get_cpds(v) for v in graph.nodes()}
    names = {v: cpd.state_names[v] for v, cpd in cpds.items()}
    found = []
    for states in itertools.product(*(range(len(names[v])) for v in cpds)):
        at = dict(zip(cpds, states, strict=True))
        p = 1.0
        for v, cpd in cpds.items():
            if v in do:
                p *= float(names[v][at[v]] == do[v])
            else:
                p *= float(cpd.values[tuple(at[u] for u in cpd.variables)])
        found.append(({v: names[v][code] for v, code in at.items()}, p))
    return found


def mass(joint, **states):
    return math.fsum(p for at, p in joint if all(at[v] == state for v, state in states.items()))


@pytest.fixture(scope="module")
def asia():
    return load_network("asia")


@pytest.fixture(scope="module")
def joint(asia):
    return joint_of(asia)


def refused(capsys, *argv) -> str:
    """The one sentence that a user's error is answered with."""
    assert cli.main(["query", *map(str, argv)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "Traceback" not in error and error.startswith("zoo query: ")
    return error


def said(capsys, *argv) -> str:
    assert cli.main(["query", *map(str, argv)]) == 0
    return capsys.readouterr().out


# ---- networks from wherever they are


@pytest.mark.parametrize("ending", ["bif", "bif.gz", "xmlbif", "net"])
def test_a_network_is_read_from_a_file_of_any_format(asia, tmp_path, capsys, ending):
    path = write_network(asia, tmp_path / f"mine.{ending}")
    assert "yes 0.1000" in said(capsys, path, "--given", "smoke=yes", "--find", "lung")


def test_a_markov_network_of_a_uai_file_is_asked_too(tmp_path, capsys):
    (tmp_path / "pair.uai").write_text("MARKOV\n2\n2 2\n1\n2 0 1\n4\n 1 2 3 4\n")
    out = said(capsys, tmp_path / "pair.uai", "--given", "var_0=1", "--find", "var_1")
    assert "1 0.5714" in out and "0 0.4286" in out  # 4 and 3 of 7


def test_a_network_is_read_from_the_folder_of_a_run(tmp_path, capsys):
    zoo.save(zoo.build({"family": "bayesian_network", "network": "asia"}), tmp_path / "asia")
    assert "yes 0.1000" in said(capsys, tmp_path / "asia", "--given", "smoke=yes", "--find", "lung")


# ---- answers


def test_without_find_all_that_is_not_known_is_answered(joint):
    found = answer(case("asia", [], {"smoke": "yes"}, {"xray": "no"}))
    done = joint_of(load_network("asia"), {"xray": "no"})
    assert set(found.values) == {"asia", "tub", "lung", "bronc", "either", "dysp"}
    for v, array in found.values.items():
        truth = mass(done, smoke="yes", **{v: "yes"}) / mass(done, smoke="yes")
        assert float(array.sel({v: "yes"})) == pytest.approx(truth, abs=1e-12)


def test_the_best_explanations_are_those_of_the_sorted_joint(asia, joint, capsys):
    out = said(capsys, "asia", "--given", "xray=yes", "--mpe", "--best", "3")
    best = sorted((at for at in joint if at[0]["xray"] == "yes"), key=lambda each: -each[1])[:3]
    for _, p in best:
        assert f"probability {p / mass(joint, xray='yes'):.4g}" in out
    first, rest = out.split("\n  2. ")
    assert all(f"{v}" in first and first.split(f"\n  {v} ")[1].split()[0] == best[0][0][v] for v in ("lung", "dysp"))
    other = {v: s for v, s in best[1][0].items() if s != best[0][0][v]}
    assert rest.startswith("the same but ") and all(f"{v} = {state}" in rest for v, state in other.items())


def test_with_find_the_others_are_summed_out_and_do_is_no_observation(asia, capsys):
    done = joint_of(asia, {"smoke": "no"})
    truth = {
        (lung, bronc): mass(done, dysp="yes", lung=lung, bronc=bronc) / mass(done, dysp="yes")
        for lung in ("yes", "no")
        for bronc in ("yes", "no")
    }
    out = said(
        capsys, "asia", "--given", "dysp=yes", "--do", "smoke=no", "--find", "lung", "bronc", "--mpe", "--best=9"
    )
    order = sorted(truth, key=truth.__getitem__, reverse=True)
    places = [out.index(f"probability {truth[states]:.4g}") for states in order]
    assert places == sorted(places)
    assert "there are no more: 4 of 9" in out


def test_the_worth_of_an_observation_is_its_mutual_information(joint):
    told = worth(case("asia", ["lung"], {"dysp": "yes"}, {}))
    total = mass(joint, dysp="yes")
    for v in ("either", "xray", "smoke"):
        truth = 0.0
        for a, b in itertools.product(("yes", "no"), repeat=2):
            p = mass(joint, dysp="yes", lung=a, **{v: b}) / total
            apart = mass(joint, dysp="yes", lung=a) * mass(joint, dysp="yes", **{v: b}) / total**2
            truth += p * math.log(p / apart) if p else 0.0
        assert f"{truth:.4f} nats" in told.split(f"\n  {v} ")[1].splitlines()[0]
    p = mass(joint, dysp="yes", lung="yes") / total
    assert f"lung itself is {-p * math.log(p) - (1 - p) * math.log(1 - p):.4f} nats uncertain" in told
    assert told.index("either") < told.index("xray") < told.index("smoke")


def test_an_estimate_says_that_it_is_one(capsys):
    out = said(capsys, "asia", "--find", "lung", "--given", "smoke=yes", "--estimate", "500")
    assert "estimate, by likelihood weighting" in out and "standard_error_max" in out


def test_a_plan_answers_nothing_and_says_what_does_not_fit(capsys, monkeypatch):
    out = said(capsys, "alarm", "--plan", "--given", "HR=LOW")
    assert "37 variables, 1 observed" in out and "it fits" in out and "P(" not in out
    assert "multiply-adds" in said(capsys, "asia", "--plan", "--mpe", "--find", "lung")
    from inference.exact import engine

    monkeypatch.setattr(
        engine.Engine.__init__, "__kwdefaults__", {**engine.Engine.__init__.__kwdefaults__, "budget": 64}
    )
    assert "does not fit the budget of 64 bytes" in said(capsys, "alarm", "--plan")
    assert "--estimate 10000" in refused(capsys, "alarm", "--find", "HR")
    assert "over the budget of 64 bytes" in refused(capsys, "alarm", "--find", "HR", "--value-of")
    assert "over the budget of 64 bytes" in refused(capsys, "alarm", "--mpe")


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_a_drawing_is_left_whole_and_alone(tmp_path, capsys, ending):
    path = tmp_path / f"asia.{ending}"
    out = said(capsys, "asia", "--given", "smoke=yes", "--draw", path)
    assert str(path) in out and [file.name for file in tmp_path.iterdir()] == [path.name]
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG") if ending == "png" else b"<svg" in data


RUMOUR = '[spread]\ncompartments = "si"\ngraph = "les_miserables"\nrates = {beta = 0.3}\n'
FLU = """
[program]
data = {cases = [3, 8, 26, 76]}
[program.spread]
compartments = "sir"
start = {S = 762, I = 1}
observes = "I"
times = 4
reporting = "poisson"
[program.spread.priors]
beta = {name = "positive_normal", mean = 2.0, sd = 1.0}
gamma = 0.5
[laplace]
draws = 20
starts = 1
"""


def test_the_examples_of_the_help_run(tmp_path, capsys, monkeypatch):
    from zoo.app.query_command import EXAMPLES

    monkeypatch.chdir(tmp_path)
    sampled = zoo.BayesianNetwork(network="alarm")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        rows = sampled.decode(sampled.sample(5))
    rows.drop(columns=["HYPOVOLEMIA"]).to_csv("rows.csv", index=False)
    lines = [line.strip() for line in EXAMPLES.split("\n\n")[0].splitlines()]
    assert len(lines) == 12
    (tmp_path / "rumour.toml").write_text(RUMOUR)
    (tmp_path / "flu.toml").write_text(FLU)
    assert cli.main(["run", "flu.toml"]) == 0
    for line in lines:
        command = line.split("   ")[0].split()
        assert command[:2] == ["zoo", "query"]
        assert cli.main(command[1:]) == 0, line
    assert (tmp_path / "asia.svg").exists() and (tmp_path / "posteriors.csv").exists()


# ---- what is refused


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("asia", "--find", "lung", "lung"), "--find names 'lung' twice"),
        (("asia", "--find", "lung", "--given", "lung=yes"), "'lung' is both a target and given"),
        (("asia", "--find", "lung", "--do", "lung=yes"), "'lung' is both a target and set by do"),
        (("asia", "--mpe", "--find", "lun"), "near: lung"),
        (("asia", "--mpe", "--given", "smoke=yess"), "'smoke' has no state 'yess'; near: yes"),
        (("asia", "--mpe", "--given", "either=no", "tub=yes"), "probability zero: tub = yes, either = no"),
        (("asia", "--value-of", "--find", "lung", "--given", "lung=no"), "both a target and given"),
        (("asia", "--value-of"), "--find needs one, not 0"),
        (("asia", "--plan", "--given", "smok=yes"), "near: smoke"),
        (("asia", "--mpe", "--best", "0"), "--best is 0"),
        (("asia", "--best", "2"), "--best goes with --mpe"),
        (("asia", "--out", "a.csv"), "--out goes with --rows"),
        (("asia", "--draw", "asia.pdf"), "--draw asia.pdf is neither a .png nor a .svg file"),
        (("asia", "--draw", "no/asia.png"), "there is no folder 'no'"),
        (("asia", "--draw", "asia.png", "--mpe"), "--draw shows the posteriors"),
        (("runs/asai", "--find", "lung"), "there is no run 'runs/asai'"),
        (("no.xmlbif", "--find", "lung"), "there is no file 'no.xmlbif'"),
        (("asia", "--find", "lung", "--estimate", "1"), "at least 2"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(capsys, monkeypatch, tmp_path, argv, message):
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, *argv)
    assert not list(tmp_path.iterdir())


def test_a_mistyped_file_or_folder_is_told_what_is_near(asia, tmp_path, capsys):
    write_network(asia, tmp_path / "clinic.bif")
    assert "did you mean" in refused(capsys, tmp_path / "clinci.bif", "--find", "lung")
    zoo.save(zoo.build({"family": "bayesian_network", "network": "asia"}), tmp_path / "asia-run")
    assert "asia-run?" in refused(capsys, tmp_path / "asia-rum", "--find", "lung")
    (tmp_path / "empty").mkdir()
    assert "is not a run: it holds no spec.toml" in refused(capsys, tmp_path / "empty", "--find", "lung")


def test_a_malformed_file_names_its_line(tmp_path, capsys):
    path = tmp_path / "bad.bif"
    path.write_text(
        "network x { }\nvariable a { type discrete [ 2 ] { yes, no }; }\nprobability ( a ) { table 0.5, oops; }\n"
    )
    assert "bad.bif, line 3: expected a number, not 'oops'" in refused(capsys, path)


def test_a_model_that_is_no_network_is_refused(tmp_path, capsys):
    zoo.save(zoo.build({"family": "gaussian_mixture", "components": 2}, event_shape=2), tmp_path / "mixture")
    assert "name what to ask about with --find" in refused(capsys, tmp_path / "mixture")
    assert "is not a network of tables" in refused(capsys, tmp_path / "mixture", "--mpe", "--find", "x")


def test_a_network_with_densities_is_asked_and_drawn_but_not_explained(tmp_path, capsys):
    parents = {"d": ["c"], "y": ["c"]}
    tables = {"c": [0.2, 0.8], "d": [[0.9, 0.1], [0.4, 0.6]]}
    spec = {"family": "hybrid_network", "states": {"c": ["a", "b"], "d": ["u", "v"]}, "shapes": {"y": 2}}
    zoo.save(zoo.build({**spec, "parents": parents, "tables": tables}), tmp_path / "run")
    out = said(capsys, tmp_path / "run", "--given", "d=u", "--draw", tmp_path / "a.svg")
    assert "a 0.3600" in out  # 0.2 * 0.9 of 0.18 + 0.32
    assert b"<svg" in (tmp_path / "a.svg").read_bytes()
    assert "is not a network of tables" in refused(capsys, tmp_path / "run", "--mpe")


def test_explanations_need_something_unknown(capsys):
    known = [f"{v}=no" for v in ("asia", "tub", "smoke", "lung", "bronc", "either", "xray", "dysp")]
    assert "every variable is known" in refused(capsys, "asia", "--mpe", "--given", *known)
    assert "explanation was expected" in refused(capsys, "asia", "--mpe", "--best", "-1")
    assert explain(case("asia", ["lung"], {}, {}), 1).startswith("most probable states: exact")


def test_states_given_to_a_model_without_variables_are_refused_by_its_kind(tmp_path, capsys):
    zoo.save(zoo.build({"family": "vae", "latent": 2}, event_shape=2), tmp_path / "vae")
    assert "is a VAE, which has no named variables" in refused(
        capsys, tmp_path / "vae", "--given", "x=1", "--find", "z"
    )
