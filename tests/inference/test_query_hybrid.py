"""Queries of networks with densities, against enumeration of the discrete joint times hand-written densities."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from inference.query import query
from zoo.conditionals import Gaussian
from zoo.hybrid_network import HybridNetwork

torch.set_num_threads(1)


# ---- networks by hand, which know nothing of the zoo: what the layer asks is a protocol


@dataclass
class Net:
    """Variable v<i> has `cards[i]` states, `above[i]` before it, tables [*parents, states]."""

    cards: list[int]
    above: list[list[int]]
    tables: list[Tensor]

    def __post_init__(self) -> None:
        self.variables = [f"v{i}" for i in range(len(self.cards))]
        self.states = {v: [f"s{k}" for k in range(c)] for v, c in zip(self.variables, self.cards, strict=True)}
        self.parents = self.above

    def probabilities(self) -> list[Tensor]:
        return self.tables

    def joint(self, do: dict[int, int] | None = None) -> Tensor:
        joint = torch.ones(self.cards, dtype=torch.float64)
        for cell in product(*map(range, self.cards)):
            for v, above in enumerate(self.above):
                if do and v in do:
                    joint[cell] *= float(cell[v] == do[v])
                else:
                    joint[cell] *= self.tables[v][(*(cell[p] for p in above), cell[v])]
        return joint


@dataclass
class Bump:
    """N(x; mean[states of the discrete parents] + slope * sum of the other parents, sd) for a single number."""

    parents: tuple[str, ...]
    states: dict[str, int]
    mean: Tensor
    sd: float = 1.0
    slope: float = 0.5
    likelihood: str = "exact"
    event_shape: tuple[int, ...] = field(default=(1,))

    def log_prob(self, x: Tensor, given) -> Tensor:
        free = [p for p in self.states if p not in given]
        rows = []
        for i in range(len(x)):
            table = torch.empty([self.states[p] for p in free], dtype=torch.float64)
            for cell in product(*(range(self.states[p]) for p in free)):
                code = dict(zip(free, cell, strict=True)) | {p: int(given[p][i]) for p in self.states if p in given}
                table[cell] = self.normal(
                    code, {p: given[p][i] for p in self.parents if p not in self.states}
                ).log_prob(x[i, 0].double())
            rows.append(table)
        return torch.stack(rows)

    def normal(self, code, others) -> Normal:
        shift = self.slope * sum(float(value.sum()) for value in others.values())
        return Normal(float(self.mean[tuple(code[p] for p in self.states)]) + shift, self.sd)

    def sample(self, given, n: int) -> Tensor:
        rows = [
            self.normal(
                {p: int(given[p][i]) for p in self.states},
                {p: given[p][i] for p in self.parents if p not in self.states},
            ).sample()
            for i in range(n)
        ]
        return torch.stack(rows)[:, None]


@dataclass
class Hybrid:
    discrete: Net
    densities: dict[str, Bump]


def random_case(seed: int) -> Hybrid:
    rng = torch.Generator().manual_seed(seed)

    def upto(n: int) -> int:
        return int(torch.randint(0, n, (), generator=rng))

    count = 3 + upto(3)
    cards = [2 + upto(2) for _ in range(count)]
    above = [sorted(torch.randperm(i, generator=rng)[: upto(3)].tolist()) for i in range(count)]
    tables = []
    for i, parents in enumerate(above):
        table = torch.rand([cards[p] for p in parents] + [cards[i]], generator=rng, dtype=torch.float64) + 0.02
        tables.append(table / table.sum(-1, keepdim=True))
    net = Net(cards, above, tables)
    densities: dict[str, Bump] = {}
    for k in range(3):
        chosen = torch.randperm(count, generator=rng)[: 1 + upto(3)].tolist()
        states = {f"v{p}": cards[p] for p in chosen}
        mean = 2 * torch.randn(list(states.values()), generator=rng, dtype=torch.float64)
        others = ("y0",) if k == 1 else ()
        densities[f"y{k}"] = Bump((*states, *others), states, mean, 0.5 + k)
    return Hybrid(net, densities)


def enumerated(case: Hybrid, hard: dict[int, int], seen: dict[str, float], do: dict[int, int]) -> Tensor:
    """The joint of the discrete variables times the densities of what was seen, all cells; one row."""
    joint = case.discrete.joint(do)
    for cell in product(*map(range, case.discrete.cards)):
        if any(cell[v] != code for v, code in hard.items()):
            joint[cell] = 0
            continue
        for name, value in seen.items():
            bump = case.densities[name]
            code = {p: cell[int(p[1:])] for p in bump.states}
            others = {p: torch.tensor([seen[p]], dtype=torch.float64) for p in bump.parents if p not in bump.states}
            joint[cell] *= bump.normal(code, others).log_prob(torch.tensor(value, dtype=torch.float64)).exp()
    return joint


def marginal(joint: Tensor, *kept: int) -> Tensor:
    whole = joint.sum([v for v in range(joint.dim()) if v not in kept]) if len(kept) < joint.dim() else joint
    order = sorted(kept)
    return (whole / whole.sum()).permute([order.index(v) for v in kept])


# ---- exactness


@pytest.mark.parametrize("seed", range(25))
def test_answers_are_those_of_enumeration(seed: int) -> None:
    """Hard evidence with gaps that differ by row, one to three densities seen, an intervention in every third."""
    case = random_case(seed)
    rng = torch.Generator().manual_seed(1000 + seed)
    count, n = len(case.discrete.cards), 4
    order = torch.randperm(count, generator=rng).tolist()
    target, pair, observed, done = order[0], (order[1], order[0]), order[2], order[3] if count > 3 else None
    do = {done: 1} if done is not None and seed % 3 == 0 else {}
    codes = torch.randint(-1, case.discrete.cards[observed], (n,), generator=rng)
    names = [["y0"], ["y0", "y1"], ["y0", "y1", "y2"], ["y2"]][seed % 4]
    seen = {name: 2 * torch.randn(n, 1, generator=rng, dtype=torch.float64) for name in names}
    answer = query(
        case,
        [f"v{target}", tuple(f"v{v}" for v in pair)],
        given={f"v{observed}": codes, **seen},
        do={f"v{v}": f"s{code}" for v, code in do.items()} or None,
    )
    assert answer.kind == "exact" and not answer.warnings
    assert answer[f"v{target}"].dims == ("row", f"v{target}")
    for row in range(n):
        hard = {} if codes[row] < 0 else {observed: int(codes[row])}
        joint = enumerated(case, hard, {name: float(value[row]) for name, value in seen.items()}, do)
        np.testing.assert_allclose(answer[f"v{target}"][row], marginal(joint, target), atol=1e-12)
        np.testing.assert_allclose(answer[tuple(f"v{v}" for v in pair)][row], marginal(joint, *pair), atol=1e-12)
        assert float(answer.log_evidence[row]) == pytest.approx(math.log(joint.sum()), abs=1e-11)


def test_a_density_that_is_not_observed_has_no_say() -> None:
    case = random_case(3)
    without = Hybrid(case.discrete, {"y0": case.densities["y0"]})
    given = {"y0": torch.tensor([0.3])}
    one, other = (query(each, "v1", given=given) for each in (case, without))
    np.testing.assert_array_equal(one["v1"], other["v1"])
    assert one["v1"].dims == ("v1",)  # one row, asked as one
    assert isinstance(one.log_evidence, float) and one.log_evidence == other.log_evidence


def test_what_is_set_is_no_evidence_of_its_causes() -> None:
    """do(y0 = 3) tells nothing of y0's parents, yet moves its child y1, whose likelihood reads it."""
    case = random_case(5)
    parent = next(iter(case.densities["y0"].states))
    alone = query(case, parent, do={"y0": torch.tensor([3.0])})
    np.testing.assert_allclose(alone[parent], query(case, parent)[parent], atol=1e-12)
    seen = query(case, "v0", given={"y1": torch.tensor([1.0])}, do={"y0": torch.tensor([3.0])})
    joint = case.discrete.joint()
    bump = case.densities["y1"]
    for cell in product(*map(range, case.discrete.cards)):
        normal = bump.normal({p: cell[int(p[1:])] for p in bump.states}, {"y0": torch.tensor([3.0])})
        joint[cell] *= normal.log_prob(torch.tensor(1.0, dtype=torch.float64)).exp()
    np.testing.assert_allclose(seen["v0"], marginal(joint, 0), atol=1e-12)


def chain(mean: list[float], sd: float = 1.0, others: dict[str, Bump] | None = None) -> Hybrid:
    """A class of three states with its parity, and one density of the class."""
    parity = torch.tensor([[1.0, 0], [0, 1], [1, 0]], dtype=torch.float64)
    net = Net([3, 2], [[], [0]], [torch.full((3,), 1 / 3, dtype=torch.float64), parity])
    bump = Bump(("v0",), {"v0": 3}, torch.tensor(mean, dtype=torch.float64), sd)
    return Hybrid(net, {"y0": bump, **(others or {})})


def test_a_likelihood_beyond_the_range_of_doubles_is_no_impossibility() -> None:
    """The likeliest class by 1,800 nats is ruled out by its parity; of the others one is likelier by 1,000."""
    case = chain([60.0, 0.0, 75.0])
    answer = query(case, "v0", given={"y0": torch.zeros(2, 1), "v1": ["s0", "s1"]})
    np.testing.assert_allclose(answer["v0"], [[1, 0, 0], [0, 1, 0]], atol=1e-12)
    expected = [math.log(1 / 3) - 0.5 * 60.0**2, math.log(1 / 3)]
    np.testing.assert_allclose(answer.log_evidence, np.array(expected) - 0.5 * math.log(2 * math.pi), rtol=1e-12)


def test_two_densities_that_contradict_each_other_are_weighed() -> None:
    """Each is sure of another class by more than a double's range; their sum decides."""
    other = Bump(("v0",), {"v0": 3}, torch.tensor([0.0, 70.0, 41.0], dtype=torch.float64))
    case = chain([70.0, 0.0, 40.0], others={"y1": other})
    answer = query(case, "v0", given={"y0": torch.zeros(1), "y1": torch.zeros(1)})
    np.testing.assert_allclose(answer["v0"], [0, 0, 1], atol=1e-12)
    log_joint = math.log(1 / 3) - 0.5 * (40.0**2 + 41.0**2) - math.log(2 * math.pi)
    assert answer.log_evidence == pytest.approx(log_joint, rel=1e-12)


class Impossible:
    def log_prob(self, x: Tensor) -> Tensor:
        return torch.full_like(x, -math.inf)


def test_a_density_of_more_classes_is_weighed_with_one_of_fewer() -> None:
    mean = torch.tensor([0.0, 70.0, 41.0], dtype=torch.float64)[:, None].expand(3, 2)
    case = chain([70.0, 0.0, 40.0], others={"y1": Bump(("v0", "v1"), {"v0": 3, "v1": 2}, mean)})
    answer = query(case, "v0", given={"y0": torch.zeros(1), "y1": torch.zeros(1)})
    np.testing.assert_allclose(answer["v0"], [0, 0, 1], atol=1e-12)


def test_evidence_that_can_not_be_is_named() -> None:
    case = chain([0.0, 1.0, 2.0])
    with pytest.raises(ValueError, match="probability zero: v0 = s1, v1 = s0"):
        query(case, "y0", given={"v0": "s1", "v1": "s0"})
    case.densities["y0"].mean = torch.tensor([0.0, math.inf, 2.0], dtype=torch.float64)
    case.densities["y0"].normal = lambda code, others: Impossible() if code["v0"] == 1 else Normal(0.0, 1.0)
    with pytest.raises(ValueError, match="row 1: what is given has probability zero: y0 given its parents"):
        query(case, "v1", given={"v0": ["s0", "s1"], "y0": torch.zeros(2, 1)})
    with pytest.raises(ValueError, match="probability zero: the likelihoods of v0, v1 = s1"):
        query(case, "v0", given={"v1": "s1", "y0": torch.zeros(1)})


# ---- targets that are densities


def test_draws_of_a_density_are_of_the_exact_mixture() -> None:
    case = chain([-4.0, 0.0, 4.0], sd=0.5)
    answer = query(case, "y0", given={"v1": "s0"}, draws=4000)
    assert answer.kind == "estimate" and answer["y0"].dims == ("draw", "y0_dim_0")
    draws = answer["y0"].values[:, 0]
    assert (abs(draws) > 1.5).all()  # never the odd class
    assert (draws > 0).mean() == pytest.approx(0.5, abs=0.04)
    assert abs(draws).mean() == pytest.approx(4, abs=0.04) and draws[draws > 0].std() == pytest.approx(0.5, abs=0.03)
    again = query(case, "y0", given={"v1": "s0"}, draws=4000)
    np.testing.assert_array_equal(draws, again["y0"].values[:, 0])


def test_draws_are_made_row_by_row_and_through_densities_between() -> None:
    """v0 -> y0 -> y1, and y1 reads v1 too: its mean given the class is its own plus half of y0's."""
    tail = Bump(("v1", "y0"), {"v1": 2}, torch.tensor([10.0, 20.0], dtype=torch.float64), 0.1)
    case = chain([-4.0, 0.0, 4.0], sd=0.5, others={"y1": tail})
    answer = query(case, ["y1", "v1"], given={"v0": ["s0", "s1", "s2"]}, draws=500)
    assert answer["y1"].dims == ("row", "draw", "y1_dim_0") and answer["y1"].shape == (3, 500, 1)
    np.testing.assert_allclose(answer["y1"].mean(("draw", "y1_dim_0")), [8, 20, 12], atol=0.06)
    np.testing.assert_allclose(answer["v1"], [[1, 0], [0, 1], [1, 0]], atol=1e-12)
    fixed = query(case, "y1", given={"y0": torch.tensor([[6.0]]), "v1": "s0"}, draws=500)
    assert float(fixed["y1"].mean()) == pytest.approx(13, abs=0.02)


def test_draws_follow_what_another_density_says_of_the_class() -> None:
    """Two densities of one class: y1 seen near a class's mean makes y0 come from that class."""
    other = Bump(("v0",), {"v0": 3}, torch.tensor([0.0, 50.0, 100.0], dtype=torch.float64))
    case = chain([-4.0, 0.0, 4.0], sd=0.5, others={"y1": other})
    answer = query(case, "y0", given={"y1": torch.tensor([[1.0], [99.0]])}, draws=400)
    np.testing.assert_allclose(answer["y0"].mean(("draw", "y0_dim_0")), [-4, 4], atol=0.15)


# ---- what it says of itself, and refusals


def test_an_answer_is_exact_only_if_its_densities_are() -> None:
    case = chain([0.0, 1.0, 2.0], others={"y1": Bump(("v0",), {"v0": 3}, torch.zeros(3), likelihood="lower bound")})
    loose = query(case, "v0", given={"y0": torch.zeros(1), "y1": torch.zeros(1)})
    assert loose.kind == "estimate" and "y1 (lower bound)" in loose.warnings[0]
    assert "likelihood of y0, y1" in loose.method
    assert query(case, "v0", given={"y0": torch.zeros(1)}).kind == "exact"
    assert "v0" in repr(loose)


@pytest.mark.parametrize(
    ("targets", "given", "do", "message"),
    [
        ("v9", {}, {}, "no variable 'v9' to ask for; near"),
        ("v0", {"y9": torch.zeros(1)}, {}, "given: the network has no variable 'y9'; near"),
        ("v0", {"y1": torch.zeros(1)}, {}, "'y1' is given but its parent 'y0', a density, is not"),
        ("y1", {"y1": torch.zeros(1), "y0": torch.zeros(1)}, {}, "'y1' is both a target and known"),
        ("v0", {"y0": torch.zeros(1)}, {"y0": torch.zeros(1)}, "'y0' is both given and set by do"),
        ("v0", {"v0": "s1"}, {}, "'v0' is both a target and given"),
        (("v0", "y0"), {}, {}, "names a density; ask for it alone"),
        ("v0", {"y0": torch.zeros(2, 3)}, {}, r"'y0' has the shape \[2, 3\], but \[1\] or \[N, 1\]"),
        ("v0", {"y0": torch.tensor([[0.0], [math.nan]])}, {}, "'y0' is not finite at row 1"),
        ("v0", {"y0": torch.zeros(3, 1), "v1": ["s0", "s1"]}, {}, "has 3 rows, but|has 2 rows, but"),
        ("v0", {"v1": "s7"}, {}, "'v1' has no state 's7'"),
    ],
)
def test_what_has_no_answer_is_refused(targets, given, do, message: str) -> None:
    case = chain([0.0, 1.0, 2.0], others={"y1": Bump(("y0",), {}, torch.tensor(0.0))})
    with pytest.raises(ValueError, match=message):
        query(case, targets, given=given or None, do=do or None)


def test_a_chain_of_densities_above_an_unseen_one_is_refused_only_where_it_matters() -> None:
    case = chain([0.0, 1.0, 2.0], others={"y1": Bump(("y0",), {}, torch.tensor(0.0))})
    assert query(case, "v0", given={"v1": "s0"}).kind == "exact"
    with pytest.raises(ValueError, match="takes no context"):
        query(case, "v0", context=torch.zeros(1))


# ---- the zoo's own


def test_a_networks_query_is_bayes_rule_on_its_log_prob() -> None:
    torch.manual_seed(0)
    made = HybridNetwork(
        states={"a": 3, "b": 2, "c": 2},
        parents={"b": ["a"], "c": ["a"], "y": ["c", "a"], "z": ["b", "y"]},
        shapes={"y": 2, "z": 1},
        densities={"y": partial(Gaussian, hidden=()), "z": partial(Gaussian, hidden=(4,))},
    ).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x = made.sample(6)
    values = made.values(x)
    answer = query(made, [("b", "a"), "c"], given={"y": values["y"], "z": values["z"], "c": [0, 1, None, None, 1, 0]})
    for row in range(6):
        cells = {}
        for a, b, c in product(range(3), range(2), range(2)):
            codes = {"a": [a], "b": [b], "c": [c], "y": values["y"][row : row + 1], "z": values["z"][row : row + 1]}
            known = [0, 1, None, None, 1, 0][row]
            if known is None or known == c:
                cells[a, b, c] = made.log_prob(made.rows(codes)).exp().item()
        total = sum(cells.values())
        for a, b in product(range(3), range(2)):
            expected = sum(p for (i, j, _), p in cells.items() if (i, j) == (a, b)) / total
            assert float(answer["b", "a"][row].sel(a=a, b=b)) == pytest.approx(expected, abs=1e-12)
        assert float(answer.log_evidence[row]) == pytest.approx(math.log(total), abs=1e-11)
    hidden = x.clone()
    hidden[:, :2] = -1
    hidden[:, made.names.index("c")] = torch.tensor([0, 1, -1, -1, 1, 0])
    hidden[:, made.names.index("a")] = hidden[:, made.names.index("b")] = -1
    np.testing.assert_allclose(answer.log_evidence, made.log_prob(hidden).detach(), atol=1e-11)


def test_asking_leaves_the_callers_randomness_and_the_models_mode_alone() -> None:
    made = HybridNetwork(states={"a": 3}, parents={"y": ["a"]}, shapes={"y": 2}).train()
    torch.manual_seed(4)
    before = torch.random.get_rng_state()
    query(made, "y", draws=10)
    assert query(made, "x", draws=3)["x"].shape == (3, 3)  # whole rows, as of any model
    assert torch.equal(before, torch.random.get_rng_state()) and made.training
