"""The UAI 2014 inference competition: all marginals and the partition function, to the digits published."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from pgmpy.factors.discrete import DiscreteFactor
from pgmpy.models import DiscreteMarkovNetwork

from inference.exact import Engine

QUICK = (
    *("DBN_11", "Grids_11", "Grids_13", "ObjectDetection_11", "Pedigree_11"),
    *("Promedus_24", "Promedus_30", "Segmentation_11", "Segmentation_13"),
)
SLOW = ("CSP_11", "DBN_13", "ObjectDetection_28", "linkage_16")
"""With tables of up to 2 GiB."""
MODELS = [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


def file(name: str) -> Path:
    if "ZOO_DATA" not in os.environ:
        pytest.skip(f"set ZOO_DATA to the folder that has uai2014/{name}")
    path = Path(os.environ["ZOO_DATA"]) / "uai2014" / name
    if not path.exists():
        pytest.skip(f"{path} is missing")
    return path


def network(path: Path) -> DiscreteMarkovNetwork:
    """kind, cards, then the scopes of the tables, then their entries, the last variable fastest."""
    words = iter(path.read_text().split())
    next(words)
    cards = [int(next(words)) for _ in range(int(next(words)))]
    scopes = [[int(next(words)) for _ in range(int(next(words)))] for _ in range(int(next(words)))]
    graph = DiscreteMarkovNetwork()
    graph.add_nodes_from(range(len(cards)))
    for scope in scopes:
        values = [float(next(words)) for _ in range(int(next(words)))]
        graph.add_edges_from((u, v) for u in scope for v in scope if u < v)
        graph.add_factors(DiscreteFactor(scope, [cards[v] for v in scope], values))
    return graph


def marginals(path: Path) -> list[list[str]]:
    words = iter(path.read_text().split()[1:])
    return [[next(words) for _ in range(int(next(words)))] for _ in range(int(next(words)))]


def half_a_digit(printed: str) -> float:
    """What rounding to the digits printed may hide: %g prints six."""
    value = abs(float(printed))
    return 0.51 * 10.0 ** (math.floor(math.log10(value)) - 5) if value else 0.51e-6


@pytest.mark.parametrize("name", MODELS)
def test_published_answers(name):
    paths = [file(f"{name}.uai{end}") for end in ("", ".evid", ".MAR", ".PR")]
    pairs = [int(word) for word in paths[1].read_text().split()[1:]]
    evidence = dict(zip(pairs[::2], pairs[1::2], strict=True))
    engine = Engine(network(paths[0]), executor="torch", budget=1 << 32)
    answer = engine.marginals({v: torch.tensor(c) for v, c in evidence.items()})
    printed = paths[3].read_text().split()[1]
    assert answer.log_evidence.item() / math.log(10) == pytest.approx(float(printed), abs=half_a_digit(printed))
    for v, each in enumerate(marginals(paths[2])):
        certain = np.eye(len(each))[evidence[v]] if v in evidence else answer.values[v][0].numpy()
        for value, word in zip(certain, each, strict=True):
            assert value == pytest.approx(float(word), abs=half_a_digit(word)), f"variable {v}"
