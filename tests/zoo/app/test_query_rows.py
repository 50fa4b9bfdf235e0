"""`zoo query --rows`: a CSV file of cases in, posteriors out, each row against the sum over all joint states."""

import math
import sys

import numpy as np
import pandas as pd
import pytest
import torch

import zoo
from tests.zoo.app.test_query import joint_of, mass, refused
from zoo.app import cli, posteriors, writing
from zoo.graph_files import load_network


@pytest.fixture(scope="module")
def joint():
    return joint_of(load_network("asia"))


CASES = "smoke,dysp,xray\nyes,yes,\n,no,no\nno,,yes\n,,\n"


@pytest.fixture
def cases(tmp_path):
    path = tmp_path / "cases.csv"
    path.write_text(CASES)
    return path


def asked(*argv) -> None:
    assert cli.main(["query", *map(str, argv)]) == 0


def known_of(cases):
    frame = pd.read_csv(cases, dtype=str, keep_default_na=False)
    return [{v: state for v, state in row.items() if state} for row in frame.to_dict("records")]


# ---- answers


@pytest.mark.parametrize("block", [10_000, 3])
def test_each_row_is_answered_as_a_case_of_its_own(cases, joint, tmp_path, monkeypatch, block):
    monkeypatch.setattr(posteriors, "BLOCK", block)
    asked("asia", "--rows", cases, "--given", "asia=yes", "--find", "lung", "bronc", "--out", tmp_path / "out.csv")
    found = pd.read_csv(tmp_path / "out.csv")
    assert list(found.columns) == ["lung=yes", "lung=no", "bronc=yes", "bronc=no", "log_evidence"]
    for row, known in enumerate(known_of(cases)):
        known["asia"] = "yes"
        total = mass(joint, **known)
        assert found["log_evidence"][row] == pytest.approx(math.log(total), abs=1e-8)
        for v in ("lung", "bronc"):
            assert found[f"{v}=yes"][row] == pytest.approx(mass(joint, **known, **{v: "yes"}) / total, abs=1e-8)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["cases.csv", "out.csv"]


def test_an_intervention_holds_for_every_row(cases, tmp_path):
    done = joint_of(load_network("asia"), {"bronc": "no"})
    asked("asia", "--rows", cases, "--do", "bronc=no", "--find", "lung", "--out", tmp_path / "out.csv")
    found = pd.read_csv(tmp_path / "out.csv")
    for row, known in enumerate(known_of(cases)):
        truth = mass(done, **known, lung="yes") / mass(done, **known)
        assert found["lung=yes"][row] == pytest.approx(truth, abs=1e-8)


def test_without_find_all_that_is_no_column_is_answered_and_printed(cases, capsys):
    asked("asia", "--rows", cases, "--given", "asia=no")
    written = capsys.readouterr()
    assert written.err == ""  # no progress bar where there is no terminal
    lines = written.out.splitlines()
    assert lines[0] == "tub=yes,tub=no,lung=yes,lung=no,bronc=yes,bronc=no,either=yes,either=no,log_evidence"
    assert len(lines) == 5


@pytest.mark.parametrize("block", [10_000, 1])
def test_most_probable_states_complete_each_row(cases, joint, tmp_path, monkeypatch, block):
    monkeypatch.setattr(posteriors, "BLOCK", block)
    asked("asia", "--rows", cases, "--mpe", "--out", tmp_path / "out.csv")
    found = pd.read_csv(tmp_path / "out.csv")
    for row, known in enumerate(known_of(cases)):
        best, p = max(((at, p) for at, p in joint if known.items() <= at.items()), key=lambda each: each[1])
        assert {v: found[v][row] for v in best} == best
        assert found["log_probability"][row] == pytest.approx(math.log(p / mass(joint, **known)), abs=1e-8)


def test_with_find_the_most_probable_states_are_of_those_with_the_rest_summed_out(cases, joint, tmp_path):
    asked("asia", "--rows", cases, "--mpe", "--find", "lung", "bronc", "--out", tmp_path / "out.csv")
    found = pd.read_csv(tmp_path / "out.csv")
    assert list(found.columns) == ["lung", "bronc", "log_probability", "log_evidence"]
    for row, known in enumerate(known_of(cases)):
        truth = {
            (a, b): mass(joint, **known, lung=a, bronc=b) / mass(joint, **known)
            for a in ("yes", "no")
            for b in ("yes", "no")
        }
        best = max(truth, key=truth.__getitem__)
        assert (found["lung"][row], found["bronc"][row]) == best
        assert math.exp(found["log_probability"][row]) == pytest.approx(truth[best], abs=1e-8)


def test_the_column_of_a_target_is_never_evidence_and_says_so(joint, tmp_path, capsys):
    path = tmp_path / "cases.csv"
    path.write_text("smoke,lung,id\nyes,yes,7\nno,,\n")
    asked("asia", "--rows", path, "--find", "lung", "--keep", "id", "--out", tmp_path / "out.csv")
    assert "lung is asked for, so its column in" in capsys.readouterr().err
    found = pd.read_csv(tmp_path / "out.csv", dtype={"id": str})
    assert found["lung=yes"].tolist() == pytest.approx([0.1, 0.01])
    assert found["id"][0] == "7" and pd.isna(found["id"][1])


def test_states_are_text_and_only_an_empty_cell_is_unknown(tmp_path):
    from pgmpy.factors.discrete import TabularCPD
    from pgmpy.models import DiscreteBayesianNetwork

    graph = DiscreteBayesianNetwork([("a", "b")])
    graph.add_cpds(
        TabularCPD("a", 3, [[0.2], [0.3], [0.5]], state_names={"a": ["None", "NA", "1"]}),
        TabularCPD(
            "b", 2, [[0.9, 0.6, 0.3], [0.1, 0.4, 0.7]], ["a"], [3], {"b": ["True", "nan"], "a": ["None", "NA", "1"]}
        ),
    )
    zoo.write_network(graph, tmp_path / "words.bif")
    (tmp_path / "cases.csv").write_text("a\nNone\nNA\n1.0\n\n1\n")  # 1.0: a whole number in a column with gaps
    asked(tmp_path / "words.bif", "--rows", tmp_path / "cases.csv", "--find", "b", "--out", tmp_path / "out.csv")
    found = pd.read_csv(tmp_path / "out.csv")
    assert found["b=True"].tolist() == pytest.approx([0.9, 0.6, 0.3, 0.51, 0.3])


def test_rows_of_a_larger_network_are_answered_as_query_answers_them(tmp_path):
    network = zoo.BayesianNetwork(network="alarm")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        frame = network.decode(network.sample(40)).astype(object).drop(columns=["HYPOVOLEMIA", "LVFAILURE"])
    frame = frame.mask(np.random.default_rng(0).random(frame.shape) < 0.4)
    frame["CVP"] = None  # a column that holds nothing
    frame.to_csv(tmp_path / "rows.csv", index=False)
    targets = ["HYPOVOLEMIA", "LVFAILURE"]
    asked("alarm", "--rows", tmp_path / "rows.csv", "--find", *targets, "--out", tmp_path / "out.csv")
    found = pd.read_csv(tmp_path / "out.csv")
    from inference import query

    for row in (0, 17, 39):
        known = {v: state for v, state in frame.iloc[row].items() if isinstance(state, str)}
        truth = query(network, targets, given=known)
        for v in targets:
            for state in network.states[v]:
                assert found[f"{v}={state}"][row] == pytest.approx(float(truth[v].sel({v: state})), abs=1e-8)
        assert found["log_evidence"][row] == pytest.approx(truth.log_evidence, abs=1e-6)


def test_posteriors_go_to_parquet_too(cases, tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra `parquet` is not installed")
    monkeypatch.setattr(posteriors, "BLOCK", 3)
    for ending in ("csv", "parquet"):
        asked("asia", "--rows", cases, "--find", "lung", "--keep", "xray", "--out", tmp_path / f"out.{ending}")
    table = parquet.read_table(tmp_path / "out.parquet").to_pandas()
    pd.testing.assert_frame_equal(table, pd.read_csv(tmp_path / "out.csv"), check_dtype=False, rtol=1e-8)
    assert table["lung=yes"].dtype == np.float64


def test_without_the_extra_parquet_is_one_clear_sentence(cases, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr(writing, "find_spec", lambda name: None)
    error = refused(capsys, "asia", "--rows", cases, "--find", "lung", "--out", tmp_path / "out.parquet")
    assert "pip install 'pyro-zoo[parquet]'" in error


def test_a_progress_bar_is_shown_on_a_terminal(cases, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    asked("asia", "--rows", cases, "--find", "lung", "--out", tmp_path / "out.csv")
    assert "0/4 " in capsys.readouterr().err


def test_a_plan_of_rows_reads_only_their_columns(cases, capsys):
    asked("asia", "--rows", cases, "--find", "lung", "--plan")
    assert "8 variables, 3 observed" in capsys.readouterr().out


# ---- what is refused

IMPOSSIBLE = "either,tub\nno,no\nno,yes\n,yes\n"


def test_an_impossible_row_is_named_with_what_conflicts(tmp_path, capsys, monkeypatch):
    path = tmp_path / "cases.csv"
    path.write_text(IMPOSSIBLE)
    for block in (10_000, 1):
        monkeypatch.setattr(posteriors, "BLOCK", block)
        error = refused(capsys, "asia", "--rows", path, "--find", "lung", "--out", tmp_path / "out.csv")
        assert "row 1: what is given has probability zero: tub = yes, either = no" in error
    assert not (tmp_path / "out.csv").exists() and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("how", [(), ("--mpe",)])
def test_an_impossible_row_is_left_empty_where_that_is_allowed(tmp_path, how):
    path = tmp_path / "cases.csv"
    path.write_text(IMPOSSIBLE)
    out = tmp_path / "out.csv"
    asked("asia", "--rows", path, "--find", "lung", *how, "--impossible", "allow", "--out", out)
    found = pd.read_csv(out)
    assert found.drop(columns="log_evidence").isna().all(axis=1).tolist() == [False, True, False]
    assert found["log_evidence"][1] == -math.inf and np.isfinite(found["log_evidence"][[0, 2]]).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("smoke\n", "has no rows"),
        ("smoke,dysp\n\n\n", "has no rows"),
        ("smok\nyes\n", "has a column 'smok', but the network no such variable; near: smoke"),
        ("smoke,smoke\nyes,no\n", "has two columns 'smoke'"),
        ("smoke\nyes\n\nmaybe\n", "row 2: 'smoke' has no state 'maybe'; near: yes"),
        ("smoke,dysp\nyes,no,yes\n", "is not a CSV file of rows"),
        ("asia\nyes\n", "'asia' is both in --given and a column"),
        ("tub\nyes\n", "'tub' is both in --do and a column"),
    ],
)
def test_rows_that_can_t_be_read_are_one_sentence(tmp_path, capsys, text, message):
    path = tmp_path / "cases.csv"
    path.write_text(text)
    argv = (
        "asia",
        "--rows",
        path,
        "--find",
        "lung",
        "--given",
        "asia=no",
        "--do",
        "tub=no",
        "--out",
        tmp_path / "o.csv",
    )
    assert message in refused(capsys, *argv)
    assert not (tmp_path / "o.csv").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--out", "out.txt"), "--out out.txt is neither a .csv nor a .parquet file"),
        (("--out", "no/out.csv"), "there is no folder 'no'"),
        (("--find", "lun"), "near: lung"),
        (("--find", "lung", "--given", "asia=no", "--do", "asia=no"), "'asia' is both given and set by do"),
        (("--find", "asia", "--given", "asia=no"), "'asia' is both asked for and known"),
        (("--keep", "idd"), "has no column 'idd' to keep"),
        (("--value-of", "--find", "lung"), "--value-of is of one case"),
        (("--draw", "asia.png"), "--draw is of one case"),
        (("--mpe", "--best", "2"), "--best is of one case"),
    ],
)
def test_options_that_do_not_go_together_are_one_sentence(cases, tmp_path, capsys, monkeypatch, argv, message):
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, "asia", "--rows", cases, *argv)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path, capsys):
    assert "there is no file" in refused(capsys, "asia", "--rows", tmp_path / "no.csv", "--find", "lung")
