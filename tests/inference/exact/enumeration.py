"""Small random networks, and their answers by summing the whole joint: the truth the engine is held to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from inference.exact.program import Structure

LARGEST_JOINT = 4096


@dataclass(frozen=True)
class Network:
    """A graph and its tables, each with its axes in the order of the graph's scope."""

    structure: Structure
    tables: tuple[np.ndarray, ...]

    @property
    def cards(self) -> tuple[int, ...]:
        return self.structure.cards

    @property
    def joint(self) -> np.ndarray:
        """The product of the tables, an axis a variable."""
        joint = np.ones(self.cards)
        for scope, table in zip(self.structure.scopes, self.tables, strict=True):
            joint = joint * spread(table, scope, self.cards)
        return joint


@dataclass(frozen=True)
class Evidence:
    """What N rows know: `hard` codes [N] and `soft` likelihoods [N, states] by variable."""

    rows: int
    hard: Mapping[int, np.ndarray]
    soft: Mapping[int, np.ndarray]


@dataclass(frozen=True)
class Truth:
    """What enumeration says of one row; `posterior` has an axis a variable."""

    log_evidence: float
    posterior: np.ndarray

    def of(self, *variables: int) -> np.ndarray:
        """The distribution of these, axes in this order."""
        others = tuple(v for v in range(self.posterior.ndim) if v not in variables)
        kept = sorted(variables)
        return np.transpose(self.posterior.sum(others), [kept.index(v) for v in variables])


def spread(table: np.ndarray, scope: Sequence[int], cards: Sequence[int]) -> np.ndarray:
    """A table with an axis for every variable of the network, of length one where it does not depend on it."""
    inside = np.argsort(scope)
    shape = [cards[v] if v in scope else 1 for v in range(len(cards))]
    return np.transpose(table, inside).reshape(shape)


def enumerate_rows(network: Network, evidence: Evidence) -> list[Truth]:
    """The truth of each row."""
    joint, found = network.joint, []
    for row in range(evidence.rows):
        weights = joint
        for v, codes in evidence.hard.items():
            known = np.zeros(network.cards[v])
            known[codes[row]] = 1
            weights = weights * spread(known, (v,), network.cards)
        for v, likelihood in evidence.soft.items():
            weights = weights * spread(likelihood[row], (v,), network.cards)
        total = weights.sum()
        found.append(Truth(float(np.log(total)), weights / total))
    return found


@st.composite
def bayesian_networks(draw, largest: int = 8) -> Network:
    """Directed graphs of up to `largest` nodes: any cards from 1 to 4, lone nodes, several parts, zeros in tables."""
    n = draw(st.integers(1, largest))
    cards = draw(_cards(n))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    names = draw(st.permutations(range(n)))
    parents: list[tuple[int, ...]] = [()] * n
    for place, v in enumerate(names):
        earlier = names[:place]
        if earlier:
            parents[v] = tuple(draw(st.lists(st.sampled_from(earlier), max_size=3, unique=True)))
    scopes = tuple((*parents[v], v) for v in range(n))
    deterministic = draw(st.sampled_from((0.0, 0.3, 1.0)))
    tables = tuple(_conditional(random, [cards[v] for v in scope], deterministic) for scope in scopes)
    return Network(Structure(cards, scopes, tuple(parents)), tables)


@st.composite
def markov_networks(draw, largest: int = 8) -> Network:
    """Unnormalised tables over any sets of variables, some of them twice, with zeros that leave some state possible."""
    n = draw(st.integers(1, largest))
    cards = draw(_cards(n))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pick = st.lists(st.integers(0, n - 1), min_size=1, max_size=3, unique=True).map(tuple)
    scopes = [*draw(st.lists(pick, max_size=n)), *((v,) for v in range(n))]
    possible = [int(random.integers(card)) for card in cards]
    tables = []
    for scope in scopes:
        table = random.gamma(0.7, size=[cards[v] for v in scope]) * 10 ** random.uniform(-3, 3)
        table *= random.random(table.shape) > 0.2
        table[tuple(possible[v] for v in scope)] += 0.1
        tables.append(table)
    return Network(Structure(cards, tuple(scopes)), tuple(tables))


networks = st.one_of(bayesian_networks(), markov_networks())


@st.composite
def evidences(draw, network: Network, rows: int = 3) -> Evidence:
    """Any split into observed, soft, and unknown variables; rows of positive probability, some soft ones all ones."""
    n = len(network.cards)
    kinds = draw(st.lists(st.sampled_from(("unknown", "unknown", "hard", "soft")), min_size=n, max_size=n))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    worlds = sample(network, random, rows)
    hard = {v: worlds[:, v] for v in range(n) if kinds[v] == "hard"}
    soft = {v: _likelihoods(random, worlds[:, v], network.cards[v]) for v in range(n) if kinds[v] == "soft"}
    return Evidence(rows, hard, soft)


def sample(network: Network, random: np.random.Generator, rows: int) -> np.ndarray:
    """Codes [rows, variables] drawn from the network itself."""
    flat = network.joint.ravel()
    drawn = random.choice(flat.size, size=rows, p=flat / flat.sum())
    return np.stack(np.unravel_index(drawn, network.cards), axis=1)


def _cards(n: int) -> st.SearchStrategy[tuple[int, ...]]:
    cards = st.lists(st.integers(1, 4), min_size=n, max_size=n)
    return cards.map(tuple).filter(lambda lengths: np.prod(lengths) <= LARGEST_JOINT)


def _conditional(random: np.random.Generator, shape: list[int], deterministic: float) -> np.ndarray:
    """Distributions over the last axis; in a share of the tables each is a single state or has zeros."""
    table = random.gamma(0.5, size=shape) + 1e-3
    if random.random() < deterministic:
        certain = random.integers(shape[-1], size=shape[:-1])[..., None] == np.arange(shape[-1])
        table = np.where(random.random(shape) < 0.3, 0, table) * ~certain.any(-1, keepdims=True) + certain
        mixed = random.random(shape[:-1]) < 0.5
        table = np.where(mixed[..., None], certain + (random.random(shape) < 0.5) * 0.5, table)
    return table / table.sum(-1, keepdims=True)


def _likelihoods(random: np.random.Generator, states: np.ndarray, card: int) -> np.ndarray:
    """Rows of ones, of zeros but one, and of anything that leaves the drawn state possible."""
    true = states[:, None] == np.arange(card)
    anything = random.random((len(states), card)) * (random.random((len(states), card)) > 0.2) + 0.1 * true
    kind = random.integers(3, size=(len(states), 1))
    return np.select([kind == 0, kind == 1], [np.ones_like(anything), true * 1.0], anything)
