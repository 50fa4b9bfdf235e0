"""All marginals of many rows, of one row, and of rows with gaps of their own: times a row beside pyAgrum's."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle

from benchmarks.common import Row, alternate
from benchmarks.elimination_tasks.agrum import PEER, Driver
from benchmarks.elimination_tasks.networks import LARGE, SMALL, Network, load, tensors
from inference.exact import Engine

ROWS = {"water": 64, "barley": 64, "munin1": 64, "pathfinder": 128, "munin2": 64, "mildew": 64}
TORCH = {
    **dict.fromkeys(("child", "alarm", "hepar2", "win95pts", "hailfinder"), 200.0),
    **dict.fromkeys(("andes", "pigs"), 80.0),
    "insurance": 20.0,
    **dict.fromkeys(LARGE, 4.0),
}
COMPILED = {**dict.fromkeys(SMALL, 800.0), "insurance": 200.0, **dict.fromkeys(LARGE, 15.0)}
GAPS = {
    **dict.fromkeys(("child", "alarm", "hepar2"), 300.0),
    **dict.fromkeys(("insurance", "hailfinder", "win95pts", "andes"), 1.0),
}
GAP_ROWS = {"insurance": 256, "andes": 128}
Contestants = dict[str, tuple[Callable[[], object], int]]


def batched(network: Network, executors: tuple[str, ...], sets: int, rounds: int) -> list[Row]:
    """The same variables known in every row."""
    count = ROWS.get(network.name, 1000)
    driver, ratios = Driver(network), {executor: [] for executor in executors}
    for seed in range(sets):
        codes = network.evidence(count, seed)
        ours = {each: (partial(network.engine(each).marginals, tensors(codes)), count) for each in executors}
        _compare(ours, driver.contestants(codes), rounds, ratios)
    goals = {"torch": TORCH, "compiled": COMPILED}
    return [_row(f"{network.name}_{each}_{count}_rows", ratios[each], goals[each][network.name]) for each in executors]


def single(network: Network, executors: tuple[str, ...], sets: int, rounds: int) -> list[Row]:
    """One row at a time, the question compiled before."""
    executor = executors[-1]
    driver, ratios = Driver(network), {executor: []}
    for seed in range(sets):
        codes = network.evidence(20, seed)
        rows = cycle([tensors(codes, slice(row, row + 1)) for row in range(20)])
        ours = {executor: (partial(_one_by_one, network.engine(executor), rows, 5), 5)}
        _compare(ours, driver.contestants(codes), rounds, ratios)
    return [_row(f"{network.name}_{executor}_single", ratios[executor], 1.0)]


def gaps(network: Network, executors: tuple[str, ...], sets: int, rounds: int) -> list[Row]:
    """80 % of the cells missing, each row its own, and new rows in each round: nothing is kept from the last."""
    count = GAP_ROWS.get(network.name, 1000)
    driver, ratios = Driver(network), {executor: [] for executor in executors}
    for seed in range(sets):
        batches = [network.gaps(count, 1000 * seed + turn) for turn in range(rounds + 1)]
        ours: Contestants = {}
        for each in executors:
            turns = cycle([tensors(codes) for codes in batches])
            ours[each] = (partial(_one_by_one, network.engine(each), turns, 1), count)
        _compare(ours, driver.contestants(batches[0]), rounds, ratios)
    return [_row(f"{network.name}_{each}_gaps", ratios[each], GAPS[network.name]) for each in executors]


def compiling(network: Network, executors: tuple[str, ...], sets: int, rounds: int) -> list[Row]:
    """What the first question costs more than the next, over one query of a new pyAgrum engine."""
    executor = executors[-1]
    driver, quotients = Driver(network), []
    for seed in range(sets):
        codes = network.evidence(1, seed)
        row, warm = tensors(codes), network.engine(executor)
        contestants = {
            "cold": lambda row=row, warm=warm: Engine(warm.factors, executor=executor).marginals(row),
            "warm": partial(warm.marginals, row),
            "fresh": partial(driver.fresh, codes, [0]),
        }
        medians = {name: statistics.median(times) for name, times in alternate(contestants, rounds).items()}
        quotients.append((medians["cold"] - medians["warm"]) / medians["fresh"])
    return [_row(f"{network.name}_{executor}_compile", quotients, 3.0, "lower")]


def _one_by_one(engine: Engine, batches: Iterator, count: int) -> None:
    for _ in range(count):
        engine.marginals(next(batches))


def _compare(ours: Contestants, peers: Contestants, rounds: int, ratios: dict[str, list[float]]) -> None:
    """The least of the peers' times a row over ours, of one evidence set."""
    both = {**ours, **peers}
    times = alternate({name: call for name, (call, _) in both.items()}, rounds)
    a_row = {name: statistics.median(times[name]) / rows for name, (_, rows) in both.items()}
    least = min(a_row[name] for name in peers)
    for name in ours:
        ratios[name].append(least / a_row[name])


def _row(figure: str, ratios: list[float], goal: float, better: str = "higher") -> Row:
    told = f"{PEER}, {min(ratios):.3g} to {max(ratios):.3g} over {len(ratios)} evidence sets"
    return Row(figure, statistics.median(ratios), goal, better, told)


def rows_of(name: str, kinds: tuple[str, ...], executors: tuple[str, ...], sets: int, rounds: int) -> list[Row]:
    """The figures of one network: those that have a goal for it."""
    network, found = load(name), []
    if "batched" in kinds and name in TORCH:
        found += batched(network, executors, sets, rounds)
    if "gaps" in kinds and name in GAPS:
        found += gaps(network, executors, sets, rounds)
    if "single" in kinds and len(network.variables) >= 20 and "compiled" in executors:
        found += single(network, executors, sets, rounds)
    if "compile" in kinds and len(network.variables) >= 100:
        found += compiling(network, executors, sets, rounds)
    return found
