"""Tables that come with scikit-learn: rows of real features with names, and a class a row."""

from __future__ import annotations

import numpy as np
import torch
from sklearn import datasets as sklearn_datasets

from zoo.datasets.data import Data, Split

TABLES: dict[str, tuple[str, str, int]] = {
    "iris": ("150 iris flowers, 4 lengths in cm, 3 species", "load_iris", 112),
    "breast_cancer": (
        "569 breast tumours, 30 features, malignant or benign",
        "load_breast_cancer",
        427,
    ),
    "wine": ("178 wines of 3 growers, 13 chemical measurements", "load_wine", 133),
}
"""Description, scikit-learn's loader and how many rows are for training, by name."""


def permuted(n: int, train: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows of the train split and of the test split."""
    order = torch.from_numpy(np.random.RandomState(seed).permutation(n))
    return order[:train], order[train:]


def table(name: str, seed: int) -> Data:
    """The table in its own units; the split is a permutation by the seed."""
    description, loader, train = TABLES[name]
    bunch = getattr(sklearn_datasets, loader)()
    x, y = torch.tensor(bunch.data, dtype=torch.float32), torch.tensor(bunch.target, dtype=torch.long)
    first, last = permuted(len(x), train, seed)
    return Data(
        name=name,
        description=description,
        train=Split(x[first], y[first]),
        test=Split(x[last], y[last]),
        feature_names=tuple(str(feature) for feature in bunch.feature_names),
        class_names=tuple(str(label) for label in bunch.target_names),
    )
