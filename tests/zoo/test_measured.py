"""Tables of ZOO_DATA: what a split holds, and what is said of files that are missing or damaged."""

from __future__ import annotations

import gzip
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from zoo import datasets
from zoo.datasets import Missing
from zoo.datasets.measured import ANOMALIES


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("ZOO_DATA", str(tmp_path))
    for name in ("adbench", "sp500"):
        (tmp_path / name).mkdir()
    return tmp_path


def real(folder: str, file: str) -> None:
    if not (root := os.environ.get("ZOO_DATA")) or not Path(root, folder, file).is_file():
        pytest.skip(f"ZOO_DATA has no {folder}/{file}")


def test_anomalies_are_in_the_test_split_alone(folder):
    x = np.arange(30.0).reshape(10, 3)
    y = np.array([0, 1, 0, 0, 0, 0, 1, 0, 0, 0])
    np.savez(folder / "adbench" / "6_cardio.npz", X=x, y=y)
    data = datasets.load("cardio", seed=1)
    assert len(data.train) == 4
    assert not data.train.y.any()
    assert torch.equal(data.test.x[data.test.y == 1], torch.tensor(x[y == 1], dtype=torch.float32))
    normal = torch.cat([data.train.x, data.test.x[data.test.y == 0]])
    assert sorted(normal[:, 0].tolist()) == sorted(x[y == 0][:, 0].tolist())
    assert not torch.equal(datasets.load("cardio", seed=2).train.x, data.train.x)
    assert data.measure == "density"


def test_returns_are_the_logarithms_steps_in_per_cent(folder):
    close = [100.0, 110.0, 99.0]
    with gzip.open(folder / "sp500" / "sp500.csv.gz", "wt") as file:
        file.write("Date,Adj Close\n" + "".join(f"1/{i}/1999,{value}\n" for i, value in enumerate(close)))
    data = datasets.load("sp500")
    expected = [[100 * math.log(1.1)], [100 * math.log(0.9)]]
    assert torch.allclose(data.train.x, torch.tensor(expected))
    assert len(data.test) == 0


@pytest.mark.parametrize(("name", "file"), [("cardio", "adbench/6_cardio.npz"), ("sp500", "sp500/sp500.csv.gz")])
def test_a_missing_file_is_named_and_so_is_a_damaged_one(folder, monkeypatch, name, file):
    with pytest.raises(Missing, match=rf"is not in .*: set ZOO_DATA to a folder that holds {file}, which comes from"):
        datasets.load(name)
    (folder / file).write_bytes(b"PK\x03\x04 not what it says")
    with pytest.raises(ValueError, match=r"is not (a set of ADBench|the table of the S&P 500)"):
        datasets.load(name)
    monkeypatch.delenv("ZOO_DATA")
    with pytest.raises(Missing, match="ZOO_DATA is not set"):
        datasets.load(name)


def test_labels_that_are_none_are_refused(folder):
    np.savez(folder / "adbench" / "40_vowels.npz", X=np.zeros((3, 2)), y=np.array([0, 1, 2]))
    with pytest.raises(ValueError, match="a label y of 0 or 1"):
        datasets.load("vowels")


@pytest.mark.parametrize("name", ANOMALIES)
def test_the_real_sets_are_what_their_lines_say(name):
    file, line = ANOMALIES[name]
    real("adbench", file)
    data = datasets.load(name)
    rows = len(data.train) + len(data.test)
    assert line.startswith(f"{rows:,} ")
    assert f" {data.event_shape[0]} " in line
    share = 100 * float(data.test.y.sum()) / rows
    assert f"{share:.1f} %" in line or f"{share:.0f} %" in line


def test_the_real_returns_have_fat_tails():
    real("sp500", "sp500.csv.gz")
    x = datasets.load("sp500").train.x
    assert len(x) == 4000
    standard = (x - x.mean()) / x.std()
    assert float(standard.pow(4).mean()) > 6
