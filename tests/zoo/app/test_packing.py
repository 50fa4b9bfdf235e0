"""`zoo compress` and `zoo decompress`: files there and back, and what is refused leaves nothing behind."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import torch

import zoo
from inference.em import em
from tests.zoo.app.test_cli import refused
from zoo.app import cli
from zoo.app.files import beside
from zoo.app.runs import new_folder, save, write_model
from zoo.datasets import load as load_data


def built(folder, spec, event_shape, data=None, fitted=None, move=0.3):
    """A run's folder of a model that was moved a little, or fitted by counting."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = zoo.build(spec, event_shape=event_shape)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += move * torch.randn_like(parameter)
    if fitted is not None:
        em(model, fitted, progress=False)
    with new_folder(folder) as draft:
        write_model(model, draft, {} if data is None else {"data": data})
    return folder


@pytest.fixture(scope="module")
def topics(tmp_path_factory):
    data = load_data("pydoc_topics").windows(64)
    spec = {"family": "markov_chain", "event_shape": [64], "levels": data.levels, "order": 2, "smoothing": "absolute"}
    folder = tmp_path_factory.mktemp("runs") / "topics"
    return built(folder, spec, 64, "pydoc_topics", data.train.x)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return built(
        tmp_path_factory.mktemp("runs") / "digits", {"family": "made", "hidden": 16}, (1, 8, 8), "digits", move=0.1
    )


@pytest.fixture(scope="module")
def asia(tmp_path_factory):
    return built(tmp_path_factory.mktemp("runs") / "asia", {"family": "bayesian_network", "network": "asia"}, 8)


@pytest.fixture
def cases(asia, tmp_path):
    """Draws of asia by name, the columns in another order than the network's."""
    model = zoo.load(asia)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        frame = model.decode(model.sample(500))
    path = tmp_path / "cases.csv"
    frame[list(frame.columns[::-1])].to_csv(path, index=False)
    return path


def there_and_back(run, source, tmp_path, ending) -> tuple[bytes, str]:
    packed, back = tmp_path / "packed.zoo", tmp_path / f"back{ending}"
    assert cli.main(["compress", str(run), str(source), "--out", str(packed)]) == 0
    assert cli.main(["decompress", str(run), str(packed), "--out", str(back)]) == 0
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    return back.read_bytes(), back


TEXTS = ["x", "the for statement\n", "a" * 64, "a" * 65, '"tab\\n"\n\n' * 30]


@pytest.mark.parametrize("text", TEXTS, ids=len)
def test_a_text_of_any_length_comes_back_to_the_character(topics, tmp_path, text, capsys):
    (tmp_path / "text.txt").write_text(text, newline="")
    back, _ = there_and_back(topics, tmp_path / "text.txt", tmp_path, ".txt")
    assert back.decode() == text
    assert f"{len(text):,} characters: " in capsys.readouterr().out


def test_what_is_printed_is_what_was_packed(topics, tmp_path, capsys):
    data = load_data("pydoc_topics")
    x = data.test.x
    text = data.text(x)
    (tmp_path / "text.txt").write_text(text, newline="")
    assert cli.main(["compress", str(topics), str(tmp_path / "text.txt"), "--out", str(tmp_path / "a.zoo")]) == 0
    said = capsys.readouterr().out
    size = (tmp_path / "a.zoo").stat().st_size
    assert f"{len(x):,} characters: {size:,} bytes, {size * 8 / len(x):.4f} bits a character" in said
    model = zoo.load(topics)
    whole = len(x) // 64 * 64
    parts = [model.step_log_prob(part).double().sum() for part in (x[:whole].reshape(-1, 64), x[whole:][None])]
    own = -float(sum(parts)) / np.log(2)
    assert f"the model's own: {own / len(x):.4f} bits a character" in said
    more = float(re.search(r"the file is ([\d.]+) % (longer|shorter)", said)[1])
    assert abs(more - abs(size * 8 / own - 1) * 100) < 0.01 and size * 8 < 1.01 * own
    assert "lzma of the text: " in said and "gzip of the text: " in said


def test_the_runs_own_data_by_name(topics, digits, tmp_path, capsys):
    back, _ = there_and_back(topics, "pydoc_topics", tmp_path, ".txt")
    data = load_data("pydoc_topics")
    assert back.decode() == data.text(data.test.x[: len(data.test.x) // 64 * 64])
    _, path = there_and_back(digits, "digits", tmp_path, ".npy")
    assert np.array_equal(np.load(path), load_data("digits").binarised().test.x.numpy())
    assert "28,800 numbers" in capsys.readouterr().out


def test_a_networks_cases_come_back_by_name_and_column(asia, cases, tmp_path):
    back, _ = there_and_back(asia, cases, tmp_path, ".csv")
    assert back == cases.read_bytes()
    assert (tmp_path / "packed.zoo").stat().st_size < 500


def test_states_that_look_like_numbers_or_gaps_are_names(tmp_path):
    from pgmpy.factors.discrete import TabularCPD
    from pgmpy.models import DiscreteBayesianNetwork

    graph = DiscreteBayesianNetwork([("a", "b")])
    graph.add_cpds(
        TabularCPD("a", 3, [[0.2], [0.3], [0.5]], state_names={"a": ["NA", "None", "x"]}),
        TabularCPD("b", 2, [[0.4] * 3, [0.6] * 3], ["a"], [3], state_names={"b": [0, 1], "a": ["NA", "None", "x"]}),
    )
    zoo.graph_files.write_network(graph, tmp_path / "own.bif")
    run = built(tmp_path / "run", {"family": "bayesian_network", "network": str(tmp_path / "own.bif")}, 2)
    path = tmp_path / "rows.csv"
    path.write_text("a,b\nNA,0\nNone,1\nx,1\n")
    back, _ = there_and_back(run, path, tmp_path, ".csv")
    assert back == path.read_bytes()


@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i4", "<f4", "?"])
@pytest.mark.parametrize("flat", [True, False])
def test_an_array_comes_back_as_it_was(digits, tmp_path, dtype, flat):
    bits = load_data("digits").binarised().test.x[:7].numpy().astype(dtype)
    path = tmp_path / "bits.npy"
    np.save(path, bits.reshape(7, -1) if flat else bits)
    back, _ = there_and_back(digits, path, tmp_path, ".npy")
    assert back == path.read_bytes()


def test_a_table_of_codes_keeps_its_columns(digits, tmp_path):
    frame = pd.DataFrame(load_data("digits").binarised().test.x[:5].flatten(1).long().numpy())
    for columns in ([f"x{i}" for i in range(64)], [f"pixel {i}" for i in range(64)], list(map(str, range(64)))):
        frame.set_axis(columns, axis=1).to_csv(tmp_path / "bits.csv", index=False)
        back, _ = there_and_back(digits, tmp_path / "bits.csv", tmp_path, ".csv")
        assert back == (tmp_path / "bits.csv").read_bytes()


# ---- what is refused


def test_a_damaged_cut_or_foreign_file_writes_nothing(asia, digits, cases, tmp_path, capsys):
    packed, out = tmp_path / "cases.zoo", tmp_path / "out.csv"
    assert cli.main(["compress", str(asia), str(cases), "--out", str(packed)]) == 0
    whole = packed.read_bytes()
    names = {path.name for path in tmp_path.iterdir()}
    for broken in (whole[:-1], whole[:40], whole[:30] + b"\xff" + whole[31:]):
        packed.write_bytes(broken)
        assert "damaged or cut short" in refused(capsys, "decompress", asia, packed, "--out", out)
    for foreign in (b"", b"Zebra", b"PK\x03\x04"):
        packed.write_bytes(foreign)
        assert "no packed rows" in refused(capsys, "decompress", asia, packed, "--out", out)
    packed.write_bytes(whole)
    assert "another model than this MADE" in refused(capsys, "decompress", digits, packed, "--out", out)
    assert "is no text" in refused(capsys, "decompress", asia, packed, "--out", tmp_path / "out.txt")
    assert "neither a .txt nor a .csv" in refused(capsys, "decompress", asia, packed, "--out", tmp_path / "out.png")
    assert "there is no file" in refused(capsys, "decompress", asia, tmp_path / "none.zoo", "--out", out)
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_refusal_leaves_an_older_file_as_it_was(asia, cases, tmp_path, capsys):
    packed, out = tmp_path / "cases.zoo", tmp_path / "out.csv"
    packed.write_bytes(b"Z\x81 no more")
    out.write_text("older")
    assert "damaged" in refused(capsys, "decompress", asia, packed, "--out", out)
    assert out.read_text() == "older"


def test_texts_that_cannot_be_packed(topics, digits, tmp_path, capsys):
    path, out = tmp_path / "text.txt", tmp_path / "out.zoo"
    path.write_text("one\ntwo \N{SNOWMAN}\n", encoding="utf-8")
    said = refused(capsys, "compress", topics, path, "--out", out)
    assert "line 2 has the character '\N{SNOWMAN}', which is not in the vocabulary of pydoc_topics" in said
    path.write_bytes(b"\xff\xfe")
    assert "not text in UTF-8" in refused(capsys, "compress", topics, path, "--out", out)
    path.write_bytes(b"")
    assert "is empty" in refused(capsys, "compress", topics, path, "--out", out)
    assert "not fitted to one" in refused(capsys, "compress", digits, path, "--out", out)
    assert "'topics' is no data to pack" in refused(capsys, "compress", topics, "topics", "--out", out)
    assert "there is no file" in refused(capsys, "compress", topics, tmp_path / "none.txt", "--out", out)
    assert "is neither a .zoo file" in refused(capsys, "compress", topics, path, "--out", tmp_path / "out.zip")
    assert not out.exists()


def test_a_text_that_does_not_fill_its_last_row_is_no_table(topics, tmp_path, capsys):
    (tmp_path / "text.txt").write_text("for")
    assert cli.main(["compress", str(topics), str(tmp_path / "text.txt"), "--out", str(tmp_path / "t.zoo")]) == 0
    said = refused(capsys, "decompress", topics, tmp_path / "t.zoo", "--out", tmp_path / "t.csv")
    assert "give --out a .txt file" in said


def test_another_vocabulary_is_found_out(topics, tmp_path, capsys, monkeypatch):
    (tmp_path / "text.txt").write_text("for")
    assert cli.main(["compress", str(topics), str(tmp_path / "text.txt"), "--out", str(tmp_path / "t.zoo")]) == 0
    monkeypatch.setattr("zoo.app.packing_files._mark", lambda vocabulary: 0)
    said = refused(capsys, "decompress", topics, tmp_path / "t.zoo", "--out", tmp_path / "t.txt")
    assert "another vocabulary" in said


def test_tables_that_cannot_be_packed(asia, digits, cases, tmp_path, capsys):
    out, path = tmp_path / "out.zoo", tmp_path / "rows.csv"
    lines = cases.read_text().splitlines()
    path.write_text("\n".join([lines[0] + ",id", *(line + ",7" for line in lines[1:])]))
    assert "has a column 'id'" in refused(capsys, "compress", asia, path, "--out", out)
    path.write_text("\n".join([lines[0], *(line + ",7" for line in lines[1:])]))
    assert "more cells than there are columns" in refused(capsys, "compress", asia, path, "--out", out)
    path.write_text("\n".join([lines[0], lines[1].replace("no", "noo", 1)]))
    assert "has no state 'noo'; near: no" in refused(capsys, "compress", asia, path, "--out", out)
    path.write_text("\n".join([lines[0], "," + lines[1].partition(",")[2]]))
    assert "has no state ''" in refused(capsys, "compress", asia, path, "--out", out)
    for text, said in (("", "is not a CSV file of rows"), (lines[0], "has no rows")):
        path.write_text(text)
        assert said in refused(capsys, "compress", asia, path, "--out", out)
    path.write_text("a,b\n1,0\n")
    assert "2 columns, but the model's rows have 64" in refused(capsys, "compress", digits, path, "--out", out)
    pd.DataFrame(np.full((2, 64), 7)).to_csv(path, index=False)
    assert "the value 7 at row 0" in refused(capsys, "compress", digits, path, "--out", out)
    np.save(tmp_path / "rows.npy", np.zeros((2, 63)))
    assert "rows of [1, 8, 8] were expected" in refused(capsys, "compress", digits, tmp_path / "rows.npy", "--out", out)
    np.save(tmp_path / "rows.npy", np.zeros((0, 64)))
    assert "no rows" in refused(capsys, "compress", digits, tmp_path / "rows.npy", "--out", out)
    np.save(tmp_path / "rows.npy", np.full((2, 64), np.nan))
    assert "not finite" in refused(capsys, "compress", digits, tmp_path / "rows.npy", "--out", out)
    (tmp_path / "rows.npy").write_bytes(b"")
    assert "is not a .npy file" in refused(capsys, "compress", digits, tmp_path / "rows.npy", "--out", out)
    (tmp_path / "rows.npy").write_bytes(b"\x93NUMPY")
    assert "is not a .npy file" in refused(capsys, "compress", digits, tmp_path / "rows.npy", "--out", out)
    assert not out.exists()


def test_models_that_cannot_pack_say_why(tmp_path, capsys):
    save(zoo.build({"family": "realnvp", "layers": 2, "hidden": 4}, event_shape=2), tmp_path / "flow")
    save(zoo.build({"family": "bernoulli"}, event_shape=2, context_shape=1), tmp_path / "given")
    (tmp_path / "rows.csv").write_text("a,b\n1,0\n")
    for run, reason in (("flow", "it has a density of real numbers"), ("given", "conditional on a context")):
        out = tmp_path / "out.zoo"
        assert reason in refused(capsys, "compress", tmp_path / run, tmp_path / "rows.csv", "--out", out)
        assert not out.exists()


def test_a_file_half_written_is_taken_away(tmp_path):
    with pytest.raises(ValueError, match="stopped"), beside(tmp_path / "a.zoo") as draft:
        draft.write_bytes(b"half")
        raise ValueError("stopped")
    assert not list(tmp_path.iterdir())
