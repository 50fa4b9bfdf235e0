"""Exact answers from a network of tables, for many rows of evidence at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from inference.exact.arena import TorchExecutor
from inference.exact.evidence import MISSING, Evidence, near, read_evidence
from inference.exact.factors import factors_of
from inference.exact.plan import Plan, in_bytes, plan_of
from inference.exact.program import Ask, Program, compile_program
from inference.exact.tracing import best_of_rows, draws, most_probable
from inference.exact.values import Output, static_values

PROGRAMS = 64
"""Compiled questions that an engine keeps."""
BLOCK = 1 << 23
"""Bytes that a block of rows takes on the CPU: as much as its caches hold."""
UNDERFLOW = {torch.float64: -600.0, torch.float32: -60.0}
"""Log evidence, in nats, below which a row is done again with scaled messages."""
COMPILING = 2.5e-4
"""Seconds that compiling a question takes a variable, and `WORKING` those of a multiply-add: for choosing a plan."""
WORKING = 4e-10


class TooLarge(MemoryError):
    """The tables of an exact answer would not fit in memory."""


@dataclass(frozen=True)
class Marginals:
    """P(v | evidence) for N rows: `values[v]` is [N, states]; `log_evidence` is [N] nats."""

    values: dict[Hashable, Tensor]
    log_evidence: Tensor


@dataclass(frozen=True)
class Joint:
    """P(variables | evidence) for N rows: `values` is [N, *states]; `log_evidence` is [N] nats."""

    variables: tuple[Hashable, ...]
    values: Tensor
    log_evidence: Tensor


@dataclass(frozen=True)
class Explanation:
    """The most probable joint states of some variables, for N rows, the best first.

    `states` are codes [N, K, variables], their log-probability given the evidence `log_probability` [N, K] nats.
    """

    variables: tuple[Hashable, ...]
    states: Tensor
    log_probability: Tensor
    log_evidence: Tensor


@dataclass(frozen=True)
class Draws:
    """Draws of some variables for N rows of evidence: codes [N, draws, variables]."""

    variables: tuple[Hashable, ...]
    states: Tensor
    log_evidence: Tensor


class Engine:
    """A network of tables compiled for exact answers.

    Each question (which variables are known, which are asked) is compiled once and kept; every row of evidence
    then runs through the same tensors. Tables of a directed network have their columns renormalised to sum to
    one. In an undirected network the log evidence is that of the unnormalised product: without evidence, log Z.

    Parameters:
        graph: a pgmpy `DiscreteBayesianNetwork`, `DiscreteMarkovNetwork` or `FactorGraph`, or a `Tabular` model.
        dtype: float64, or float32 (half the time, answers to about 1e-6).
        device: where to compute.
        executor: "torch" anywhere; "compiled" on a CPU, by numba; "auto" takes that where it is installed.
        budget: bytes that tables may take.
    """

    def __init__(
        self,
        graph: Any,
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
        executor: str = "auto",
        budget: int = 1 << 30,
    ) -> None:
        if dtype not in UNDERFLOW:
            raise ValueError(f"dtype must be torch.float64 or torch.float32, not {dtype}")
        self.factors = factors_of(graph)
        self.dtype, self.budget = dtype, budget
        self.device = torch.device(device) if device is not None else self.factors.tables[0].device
        self.executor = executor_class(executor, self.device)
        self.tables = [t.detach().to(self.device, dtype) for t in self.factors.tables]
        self._programs: OrderedDict[Ask, Program] = OrderedDict()
        self._executors: OrderedDict[Ask, Any] = OrderedDict()
        self.done: frozenset[int] = frozenset()  # the variables that an intervention sets
        self._cut: dict[tuple[int, ...], Engine] = {}

    @property
    def variables(self) -> tuple[Hashable, ...]:
        return self.factors.variables

    @property
    def states(self) -> dict[Hashable, list]:
        return {v: list(names) for v, names in self.factors.states.items()}

    def __repr__(self) -> str:
        return f"Engine({len(self.variables)} variables, {self.dtype}, {self.device}, {self.executor.__name__})"

    # ---- questions

    def marginals(self, given: Any = None, targets: Iterable[Hashable] | None = None, do: Any = None) -> Marginals:
        """P(v | given, do) for each target, or for each variable not known in every row.

        `given` and `do`: see `read_evidence`. Raises ValueError where evidence has probability zero.
        """
        engine, evidence = self._under(given, do)
        asked = self._asked(None if targets is None else list(targets), evidence.wholly)
        found, log_evidence = engine.run(evidence, asked, ())
        values = {}
        start = 0
        for v in asked:
            count = self.factors.structure.cards[v]
            values[self.variables[v]] = found[start : start + count].T
            start += count
        return Marginals(values, log_evidence)

    def joint(self, given: Any, targets: Sequence[Hashable], do: Any = None) -> Joint:
        """P(targets | given, do), their axes in the order given."""
        engine, evidence = self._under(given, do)
        asked = tuple(self.position(v) for v in targets)
        if not asked or len(set(asked)) < len(asked):
            raise ValueError(f"a joint target names different variables, not {tuple(targets)!r}")
        self._refuse_known(asked, evidence.wholly)
        found, log_evidence = engine.run(evidence, (), asked)
        cards = [self.factors.structure.cards[v] for v in asked]
        return Joint(tuple(targets), found.T.reshape(evidence.rows, *cards), log_evidence)

    def log_evidence(self, given: Any = None, do: Any = None, *, impossible: str = "raise") -> Tensor:
        """log P(given | do) of each row, [N] nats; with `impossible="allow"`, -inf for what can't happen."""
        engine, evidence = self._under(given, do)
        return engine.run(evidence, (), (), impossible)[1]

    def most_probable(
        self, given: Any = None, targets: Sequence[Hashable] | None = None, do: Any = None, *, best: int = 1
    ) -> Explanation:
        """The jointly most probable states of the targets; of all variables not known, where none are named.

        With some variables as targets the others are summed out first (MAP). `best` of them, the best first.
        """
        engine, evidence = self._under(given, do)
        known = evidence.wholly
        asked = self._asked(targets, known)
        if best == 1:
            states, logs = most_probable(engine, evidence, asked)
            states, logs = states[:, None], logs[:, None]
        else:
            states, logs = best_of_rows(engine, evidence, asked, best)
        total = engine.run(evidence, (), ())[1] - engine.factors.log_constant
        names = tuple(self.variables[v] for v in asked)
        return Explanation(names, states, logs - total[:, None], total + engine.factors.log_constant)

    def sample(
        self, given: Any = None, n: int = 1, targets: Sequence[Hashable] | None = None, do: Any = None, *, seed: int = 0
    ) -> Draws:
        """n independent draws a row from P(targets | given, do), exact: no burn-in, no rejection."""
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ValueError(f"n must be a positive number of draws, not {n!r}")
        engine, evidence = self._under(given, do)
        asked = self._asked(targets, evidence.wholly)
        generator = torch.Generator(self.device).manual_seed(seed)
        states, log_evidence = draws(engine, evidence, asked, n, generator)
        engine._refuse_impossible(evidence, log_evidence)
        return Draws(tuple(self.variables[v] for v in asked), states, log_evidence + engine.factors.log_constant)

    def _asked(self, targets: Sequence[Hashable] | None, known: Collection[int]) -> tuple[int, ...]:
        """Positions of targets; of all that is not known in every row, where none are named."""
        if targets is None:
            return tuple(v for v in range(len(self.variables)) if v not in known)
        asked = tuple(self.position(v) for v in targets)
        self._refuse_known(asked, known)
        return asked

    def plan(self, known: Iterable[Hashable] = (), targets: Iterable[Hashable] | None = None) -> Plan:
        """What answering will cost where these variables are known."""
        hard = tuple(sorted(self.position(v) for v in known))
        asked = range(len(self.variables)) if targets is None else map(self.position, targets)
        program = self.program(Ask(hard, (), tuple(v for v in asked if v not in hard)))
        return plan_of(program, self.dtype.itemsize)

    # ---- compiling

    def program(self, ask: Ask) -> Program:
        """The compiled question, kept; TooLarge if one row's tables would not fit in the budget."""
        found = self._programs.pop(ask, None) or compile_program(self.factors.structure, ask)
        self._programs[ask] = found
        if len(self._programs) > PROGRAMS:
            self._programs.popitem(last=False)
        largest = max(found.order.largest, max((slot.size for slot in found.slots), default=0)) * self.dtype.itemsize
        if largest > self.budget:
            raise TooLarge(
                f"an exact answer needs a table of {in_bytes(largest)}, over the budget of {in_bytes(self.budget)}; "
                "query(..., method=LikelihoodWeighting()) estimates it from draws"
            )
        return found

    def prepared(self, ask: Ask) -> Any:
        """The executor of a question, kept."""
        found = self._executors.pop(ask, None)
        if found is None:
            program = self.program(ask)
            found = self.executor(program, static_values(program, self.tables))
        self._executors[ask] = found
        if len(self._executors) > PROGRAMS:
            self._executors.popitem(last=False)
        return found

    # ---- running

    def _under(self, given: Any, do: Any) -> tuple[Engine, Evidence]:
        """The engine of the graph after an intervention, and the evidence with what is set."""
        evidence = read_evidence(self.variables, self.factors.states, given)
        if not do:
            return self, evidence
        done = read_evidence(self.variables, self.factors.states, do, "do")
        for v in done.known:
            if v in done.likelihoods or bool((done.codes[v] == MISSING).any()):
                raise ValueError(f"do: {self.variables[v]!r} must be set to a state in every row")
            if v in evidence.known:
                raise ValueError(f"{self.variables[v]!r} is both given and set by do; keep one of them")
        engine = self._cut.get(done.known)
        if engine is None:
            cut = self.factors.without_causes(done.known)
            engine = Engine(cut, dtype=self.dtype, device=self.device, budget=self.budget)
            engine.executor, engine.done = self.executor, frozenset(done.known)
            self._cut[done.known] = engine
        return engine, _joined(evidence, done)

    def run(
        self, evidence: Evidence, marginals: tuple[int, ...], joint: tuple[int, ...], impossible: str = "raise"
    ) -> tuple[Tensor, Tensor]:
        """The answers [states, N], those of `joint` or of all `marginals`, and the log evidence [N]."""
        found: Tensor | None = None
        log_evidence = torch.empty(0)
        for rows, ask, part in self._groups(evidence, marginals, joint):
            values, log_part = self._answer(ask, part)
            values = self._ordered(values, ask, part, marginals, joint)
            if rows is None:
                found, log_evidence = values, log_part
                break
            if found is None:
                found = values.new_empty(len(values), evidence.rows)
                log_evidence = log_part.new_empty(evidence.rows)
            found[:, rows], log_evidence[rows] = values, log_part
        assert found is not None
        if impossible == "raise":
            self._refuse_impossible(evidence, log_evidence)
        return found, log_evidence + self.factors.log_constant if self.factors.log_constant else log_evidence

    def _groups(
        self, evidence: Evidence, marginals: tuple[int, ...], joint: tuple[int, ...]
    ) -> Iterable[tuple[Tensor | None, Ask, Evidence]]:
        """Rows that share a program: by pattern of what is missing, or all in one where that costs less."""
        partly = sorted(evidence.partly)
        seen = tuple(sorted(evidence.joint))
        soft = sorted({*evidence.likelihoods, *partly, *(v for scope in seen for v in scope if v in evidence.codes)})
        always = tuple(sorted(v for v in evidence.codes if v not in soft))
        together = Ask(always, tuple(soft), marginals, joint, seen=seen)
        if not partly or seen or not self._worth_grouping(1, evidence.rows, together):
            yield None, together, evidence
            return
        patterns, group = _patterns(torch.stack([evidence.codes[v] == MISSING for v in partly]))
        if not self._worth_grouping(len(patterns), evidence.rows, together):
            yield None, together, evidence
            return
        for i, pattern in enumerate(patterns):
            rows = (group == i).nonzero()[:, 0]
            known = {v for v, absent in zip(partly, pattern.tolist(), strict=True) if not absent}
            part = evidence.take(rows)
            codes = {v: c for v, c in part.codes.items() if v in known or v not in partly}
            part = replace(part, codes=codes)
            hard = tuple(sorted(v for v in codes if v not in evidence.likelihoods))
            free = tuple(v for v in marginals if v not in hard)
            if not set(joint) & set(hard):
                yield rows, Ask(hard, tuple(sorted(part.likelihoods)), free, joint), part
            else:  # some of the joint's variables are known in these rows only
                softened = tuple(sorted({*part.likelihoods, *(v for v in joint if v in hard)}))
                yield rows, Ask(tuple(v for v in hard if v not in joint), softened, (), joint), part

    def _worth_grouping(self, patterns: int, rows: int, together: Ask) -> bool:
        try:
            work = self.program(together).multiply_adds
        except TooLarge:
            return True
        return patterns * len(self.variables) * COMPILING < rows * work * WORKING

    def _ordered(
        self, values: Tensor, ask: Ask, part: Evidence, marginals: tuple[int, ...], joint: tuple[int, ...]
    ) -> Tensor:
        """The program's answers in the order asked; what is known in these rows is certain."""
        cards = self.factors.structure.cards
        program = self.program(ask)
        if joint:
            order = program.joint_order
            whole = values.reshape(*(cards[v] for v in order), -1)
            return whole.permute(*(order.index(v) for v in joint), -1).reshape(values.shape)
        if tuple(program.marginals) == marginals:
            return values
        places, start = {}, 0
        for v in program.marginals:
            places[v] = values[start : start + cards[v]]
            start += cards[v]
        for v in marginals:
            if v not in places:
                codes = part.codes[v].to(self.device)
                places[v] = torch.nn.functional.one_hot(codes, cards[v]).T.to(self.dtype)
        return torch.cat([places[v] for v in marginals]) if marginals else values

    def _answer(self, ask: Ask, evidence: Evidence) -> tuple[Tensor, Tensor]:
        """The program's own answers; rows that come near to underflow done again with scaled messages."""
        codes, likelihoods = self.inputs(ask, evidence)
        values, log_evidence = self._blocks(ask, codes, likelihoods)
        if not ask.scaled and not float(log_evidence.min()) >= UNDERFLOW[self.dtype]:
            low = (~(log_evidence >= UNDERFLOW[self.dtype])).nonzero()[:, 0]
            again, logs = self._blocks(replace(ask, scaled=True), codes[:, low], likelihoods[:, low])
            values[:, low], log_evidence[low] = again, logs
        return values, log_evidence

    def inputs(self, ask: Ask, evidence: Evidence) -> tuple[Tensor, Tensor]:
        """Codes [hard, N] and likelihoods [states of the soft, N]."""
        order = tuple(sorted(evidence.codes))
        codes = evidence.matrix.to(self.device)
        hard = codes if order == ask.hard else codes[[order.index(v) for v in ask.hard]]
        if not ask.soft and not ask.seen:
            return hard, torch.empty(0, evidence.rows, dtype=self.dtype, device=self.device)
        return hard, torch.cat([*self._soft(ask, evidence, order, codes), *self._seen(ask, evidence)])

    def _soft(self, ask: Ask, evidence: Evidence, order: tuple[int, ...], codes: Tensor) -> list[Tensor]:
        """The likelihoods of single variables, [states, N] in all: one at a known code, ones at a missing one."""
        cards = self.factors.structure.cards
        states = torch.tensor([state for v in ask.soft for state in range(cards[v])], device=self.device)[:, None]
        unknown = len(codes)
        rows = [order.index(v) if v in evidence.codes else unknown for v in ask.soft for _ in range(cards[v])]
        if unknown in rows:
            codes = torch.cat([codes, torch.full((1, evidence.rows), MISSING, device=self.device)])
        spread = codes[torch.tensor(rows, dtype=torch.long, device=self.device)]
        likelihoods = ((spread == states) | (spread == MISSING)).to(self.dtype)
        start = 0
        for v in ask.soft:
            if v in evidence.likelihoods:
                likelihoods[start : start + cards[v]] *= evidence.likelihoods[v].T.to(self.device, self.dtype)
            start += cards[v]
        return [likelihoods]

    def _seen(self, ask: Ask, evidence: Evidence) -> list[Tensor]:
        """The joint likelihoods, [states, N] each, their axes as the program has them."""
        parts = []
        for (_, order), scope in zip(self.program(ask).likelihoods[len(ask.soft) :], ask.seen, strict=True):
            part = evidence.joint[scope].to(self.device, self.dtype)
            parts.append(part.permute(*(1 + scope.index(v) for v in order), 0).reshape(-1, evidence.rows))
        return parts

    def _blocks(self, ask: Ask, codes: Tensor, likelihoods: Tensor) -> tuple[Tensor, Tensor]:
        rows = codes.shape[1]
        if not self.program(ask).slots:  # nothing is known and nothing asked
            return likelihoods.new_empty(0, rows), likelihoods.new_zeros(rows)
        executor = self.prepared(ask)
        size = max(1, min(rows, self._block_bytes // max(1, executor.row_bytes)))
        if size >= rows:
            return _answers(executor(codes, likelihoods))
        parts = [
            _answers(executor(codes[:, low : low + size], likelihoods[:, low : low + size]))
            for low in range(0, rows, size)
        ]
        values, logs = zip(*parts, strict=True)
        return torch.cat(values, 1), torch.cat(logs)

    @property
    def _block_bytes(self) -> int:
        return min(self.budget, BLOCK) if self.device.type == "cpu" else self.budget

    # ---- refusals

    def position(self, variable: Hashable) -> int:
        place = self.factors.place
        if variable not in place:
            raise ValueError(f"the network has no variable {variable!r} to ask for{near(variable, place)}")
        return place[variable]

    def _refuse_known(self, asked: Iterable[int], known: Collection[int]) -> None:
        for v in asked:
            if v in known:
                name = self.variables[v]
                raise ValueError(
                    f"{name!r} is both a target and given, so its value is known; ask for it without giving it"
                )

    def _refuse_impossible(self, evidence: Evidence, log_evidence: Tensor) -> None:
        if float(log_evidence.min()) > -torch.inf:
            return
        bad = ~(log_evidence > -torch.inf)
        row = int(bad.nonzero()[0])
        one = evidence.take(torch.tensor([row]))
        told: dict[bool, list[str]] = {True: [], False: []}
        for v in self._conflict(one):
            name = self.variables[v]
            code = int(one.codes[v][0]) if v in one.codes else None
            said = f"{name} = {self.factors.states[name][code]}" if code is not None else f"the likelihoods of {name}"
            told[v in self.done].append(said)
        where = f"row {row}: " if evidence.rows > 1 else ""
        under = f" under do({', '.join(told[True])})" if told[True] else ""
        raise ValueError(f"{where}what is given has probability zero{under}: {', '.join(told[False])}")

    def _conflict(self, one: Evidence) -> list[int]:
        """The fewest variables of one impossible row that can't be together: none of them can be left out."""
        kept = [v for v in one.known if v not in one.codes or int(one.codes[v][0]) != MISSING]
        for v in list(kept):
            fewer = [u for u in kept if u != v]
            part = Evidence(
                1,
                {u: one.codes[u] for u in fewer if u in one.codes},
                {u: one.likelihoods[u] for u in fewer if u in one.likelihoods},
                joint={scope: each for scope, each in one.joint.items() if set(scope) <= set(fewer)},
            )
            if float(self.run(part, (), (), "allow")[1]) == -torch.inf:
                kept = fewer
        return kept


def executor_class(name: str, device: torch.device) -> Any:
    """The executor of this name."""
    if name not in ("auto", "torch", "compiled"):
        raise ValueError(f'executor must be "auto", "torch" or "compiled", not {name!r}')
    if name == "compiled" and device.type != "cpu":
        raise ValueError(f'executor "compiled" runs on the CPU only, not on {device}')
    if name == "torch" or device.type != "cpu" or (name == "auto" and find_spec("numba") is None):
        return TorchExecutor
    from inference.exact.compiled import CompiledExecutor

    return CompiledExecutor


def _patterns(missing: Tensor) -> tuple[Tensor, Tensor]:
    """The different columns of bits [variables, N], as rows, and which of them each column is."""
    # a random weight a variable tells two patterns apart but once in 2^53 times, and then the check says so
    generator = torch.Generator().manual_seed(0)
    weights = torch.randint(1 << 40, (len(missing),), generator=generator).to(missing.device)
    keys = (missing * weights[:, None]).sum(0)
    _, group = keys.unique(return_inverse=True)
    first = torch.zeros(int(group.max()) + 1, dtype=torch.long, device=missing.device)
    first.scatter_(0, group.flip(0), torch.arange(len(group) - 1, -1, -1, device=missing.device))
    patterns = missing[:, first].T
    if not torch.equal(patterns[group].T, missing):
        return missing.T.unique(dim=0, return_inverse=True)
    return patterns, group


def _joined(evidence: Evidence, done: Evidence) -> Evidence:
    rows = max(evidence.rows, done.rows)
    for part, name in ((evidence, "given"), (done, "do")):
        if part.rows not in (1, rows):
            raise ValueError(f"{name} has {part.rows} rows, the other {rows}")
    codes = {v: c.expand(rows) for v, c in {**evidence.codes, **done.codes}.items()}
    likelihoods = {v: each.expand(rows, -1) for v, each in evidence.likelihoods.items()}
    joint = {scope: each.expand(rows, *each.shape[1:]) for scope, each in evidence.joint.items()}
    return Evidence(rows, codes, likelihoods, evidence.index, joint)


def _answers(output: Output) -> tuple[Tensor, Tensor]:
    return (output.marginals if output.joint is None else output.joint), output.log_evidence
