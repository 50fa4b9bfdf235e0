"""Runs on text: from a spec to draws that can be read."""

import json

import pytest
import torch

import zoo
from zoo.app import cli
from zoo.app.texts import as_text, read_tokens
from zoo.datasets import load as load_data
from zoo.tokens import CharacterTokenizer

CHAIN = """
data = "pydoc_topics"
[model]
family = "markov_chain"
event_shape = [80]
order = 3
[ask]
samples = 20
diagnose = false
"""
TRANSFORMER = """
data = "pydoc_topics"
[model]
family = "transformer"
event_shape = [24]
layers = 1
heads = 2
width = 8
[fit]
steps = 6
batch_size = 16
optimizer = {name = "adamw", weight_decay = 0.01}
schedule = {name = "cosine", steps = 6, warmup = 2}
[ask]
samples = 20
diagnose = false
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, spec in (("chain", CHAIN), ("transformer", TRANSFORMER)):
        (folder / f"{name}.toml").write_text(spec)
        assert cli.main(["run", str(folder / f"{name}.toml"), "--out", str(folder / name)]) == 0
    return folder


@pytest.mark.parametrize(("name", "length"), [("chain", 80), ("transformer", 24)])
def test_draws_are_text_and_codes_where_a_table_is_asked_for(runs, name, length, tmp_path, capsys):
    data = load_data("pydoc_topics")
    run = runs / name
    assert json.loads((run / "tokens.json").read_text()) == list(data.vocabulary)
    assert zoo.load(run).levels == data.levels
    capsys.readouterr()
    assert cli.main(["sample", str(run), "-n", "1", "--seed", "3"]) == 0
    text = capsys.readouterr().out
    assert len(text) == length + 1
    torch.manual_seed(3)
    assert data.text(zoo.load(run).sample(1)) == text[:-1]
    assert cli.main(["sample", str(run), "-n", "1", "--seed", "3", "--out", str(tmp_path / "x.txt")]) == 0
    assert (tmp_path / "x.txt").read_text() == text
    assert cli.main(["sample", str(run), "-n", "2", "--out", str(tmp_path / "x.csv")]) == 0
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 3
    assert cli.main(["sample", str(run), "--out", str(tmp_path / "x.png")]) == 2
    assert "neither a .csv nor a .txt" in capsys.readouterr().err


def test_the_report_shows_text(runs):
    html = (runs / "chain" / "report.html").read_text()
    assert "=== held-out data" in html and "=== chain" in html
    assert "bits a token" in html
    assert not (runs / "chain" / "figures" / "samples.png").exists()


def test_a_run_without_a_vocabulary_has_no_text(runs, tmp_path, capsys):
    (runs / "chain" / "tokens.json").rename(tmp_path / "tokens.json")
    try:
        assert read_tokens(runs / "chain") is None
        assert cli.main(["sample", str(runs / "chain"), "-n", "1", "--out", str(tmp_path / "x.txt")]) == 2
        assert "neither a .csv nor a .png" in capsys.readouterr().err
        (runs / "chain" / "tokens.json").write_text('{"a": 1')
        assert cli.main(["sample", str(runs / "chain")]) == 2
        assert "is not a list of characters as JSON" in capsys.readouterr().err
    finally:
        (tmp_path / "tokens.json").rename(runs / "chain" / "tokens.json")


def test_several_rows_are_told_apart():
    tokenizer = CharacterTokenizer("ab\n")
    assert as_text(tokenizer, torch.tensor([[0, 1]])) == "ab"
    assert as_text(tokenizer, torch.tensor([[0, 1], [2, 0]])) == "--- 1\nab\n--- 2\n\na"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.event_shape=[3, 4]", "model.event_shape is [3, 4]: pydoc_topics is one sequence of"),
        ("model.event_shape=0", "model.event_shape: windows cut a raw sequence into rows of 1 to"),
        ("model.family=transfomer", "did you mean transformer or style_transfer?"),
        ("model.levels=3", "no view of pydoc_topics fits a model whose support is"),
        ("fit.optimizer={name='adamw', decay=1}", "fit.optimizer.decay is not a parameter"),
        ("fit.schedule={name='cosine', steps=4, warmup=4}", "warmup must be 0 or more and below the 4 steps"),
    ],
)
def test_wrong_specs_of_text_are_refused(change, message, tmp_path, capsys):
    (tmp_path / "t.toml").write_text(TRANSFORMER)
    assert cli.main(["run", str(tmp_path / "t.toml"), "--set", change, "--out", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err


def test_a_text_without_a_length_is_refused(tmp_path, capsys):
    (tmp_path / "t.toml").write_text(TRANSFORMER.replace("event_shape = [24]\n", ""))
    assert cli.main(["run", str(tmp_path / "t.toml"), "--out", str(tmp_path / "run")]) == 2
    assert "model.event_shape is missing: pydoc_topics is one sequence of" in capsys.readouterr().err
