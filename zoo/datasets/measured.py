"""Tables that the folder of ZOO_DATA holds: rows with anomalies among them, and the days of a stock index."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from zoo.datasets.data import Data, Split
from zoo.datasets.files import at_hand
from zoo.datasets.tables import permuted

ANOMALIES: dict[str, tuple[str, str]] = {
    "cardio": ("6_cardio.npz", "1,831 cardiotocograms, 21 features, 9.6 % pathologic"),
    "thyroid": ("38_thyroid.npz", "3,772 patients, 6 measurements, 2.5 % with an overactive thyroid"),
    "breastw": ("4_breastw.npz", "683 breast tumours, 9 features graded 1 to 10, 35 % malignant"),
    "satellite": ("30_satellite.npz", "6,435 patches of satellite images, 36 features, 32 % of three rare soils"),
    "mammography": ("23_mammography.npz", "11,183 spots on mammograms, 6 features, 2.3 % calcifications"),
    "pendigits": ("28_pendigits.npz", "6,870 digits written by pen, 16 features, 2.3 % zeros"),
    "vowels": ("40_vowels.npz", "1,456 spoken vowels, 12 features, 3.4 % of one speaker"),
}
"""File and description of each set of ADBench (Han et al., 2022), https://arxiv.org/abs/2206.09426"""
TRADED = 4000
DESCRIPTIONS = {name: f"{line}, anomalies in the test split only (ZOO_DATA)" for name, (_, line) in ANOMALIES.items()}
DESCRIPTIONS["sp500"] = "S&P 500, 5,030 daily returns in per cent, 1999 to 2018 (ZOO_DATA)"


def anomalies(name: str, seed: int) -> Data:
    """Half of the normal rows, by a permutation, to train on; the other half and all anomalies (y = 1) to test on."""
    path = at_hand("adbench", ANOMALIES[name][0], "github.com/Minqi824/ADBench")
    x, y = _arrays(path)
    if len(x) != len(y) or not set(np.unique(y)) <= {0, 1}:
        raise ValueError(f"{path} does not hold rows X, each with a label y of 0 or 1")
    normal, odd = x[y == 0], x[y == 1]
    first, last = permuted(len(normal), len(normal) // 2, seed)
    labels = torch.cat([torch.zeros(len(last)), torch.ones(len(odd))]).long()
    return Data(
        name=name,
        description=DESCRIPTIONS[name],
        train=Split(normal[first], torch.zeros(len(first), dtype=torch.long)),
        test=Split(torch.cat([normal[last], odd]), labels),
        feature_names=tuple(f"x{i}" for i in range(x.shape[1])),
        class_names=("normal", "anomaly"),
    )


def _arrays(path: Path) -> tuple[torch.Tensor, np.ndarray]:
    try:
        with path.open("rb") as raw, np.load(raw) as file:  # numpy leaves a damaged file open
            return torch.tensor(file["X"].astype(np.float32)), file["y"].astype(np.int64)
    except (KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a set of ADBench, an npz file with arrays X and y: {error}") from None


def sp500() -> Data:
    """100 log(close / close of the day before), [1], in the order of time: 4,000 days to train on, the rest to test."""
    path = at_hand("sp500", "sp500.csv.gz", "github.com/bashtage/arch")
    try:
        close = pd.read_csv(path)["Adj Close"].to_numpy(dtype=np.float64)
    except (KeyError, OSError, EOFError, ValueError) as error:
        raise ValueError(f"{path} is not the table of the S&P 500, with a column 'Adj Close': {error}") from None
    x = torch.tensor(100 * np.diff(np.log(close)), dtype=torch.float32)[:, None]
    return Data(
        name="sp500",
        description=DESCRIPTIONS["sp500"],
        train=Split(x[:TRADED]),
        test=Split(x[TRADED:]),
        feature_names=("return",),
    )
