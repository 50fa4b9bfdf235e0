"""Exact answers from a network of tables, for many rows of evidence at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from inference.exact.arena import TorchExecutor
from inference.exact.evidence import MISSING, Evidence, read_evidence
from inference.exact.factors import factors_of
from inference.exact.grouping import groups
from inference.exact.inputs import inputs
from inference.exact.plan import Plan, in_bytes, plan_of
from inference.exact.program import Ask, Program, compile_program
from inference.exact.refusals import refuse_impossible
from inference.exact.results import Draws, Explanation, Joint, Marginals, TooLarge
from inference.exact.tracing import best_of_rows, draws, most_probable
from inference.exact.values import Output, static_values
from inference.near import near

PROGRAMS = 64
"""Compiled questions that an engine keeps."""
EXECUTORS = {True: 16, False: 4}
"""Those of them whose buffers are kept, on a CPU and elsewhere, where a block of rows takes the whole budget."""
BLOCK = 1 << 23
"""Bytes that a block of rows takes on the CPU: as much as its caches hold."""
LANES = 8
"""Rows that the compiled executor works on at a time, at least."""
UNDERFLOW = {torch.float64: -600.0, torch.float32: -60.0}
"""Log evidence, in nats, below which a row is done again with scaled messages."""


class Engine:
    """A network of tables compiled for exact answers.

    Each question (which variables are known, which are asked) is compiled once and kept; every row of evidence
    then runs through the same tensors. The tables are those of the moment the engine was made; `query` sees to it
    that they are up to date. Tables of a directed network have their columns renormalised to sum to
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
        engine, evidence = self.under(given, do)
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
        engine, evidence = self.under(given, do)
        asked = tuple(self.position(v) for v in targets)
        if not asked or len(set(asked)) < len(asked):
            raise ValueError(f"a joint target names different variables, not {tuple(targets)!r}")
        self._refuse_known(asked, evidence.wholly)
        found, log_evidence = engine.run(evidence, (), asked)
        cards = [self.factors.structure.cards[v] for v in asked]
        return Joint(tuple(targets), found.T.reshape(evidence.rows, *cards), log_evidence)

    def log_evidence(self, given: Any = None, do: Any = None, *, impossible: str = "raise") -> Tensor:
        """log P(given | do) of each row, [N] nats; with `impossible="allow"`, -inf for what can't happen."""
        engine, evidence = self.under(given, do)
        return engine.run(evidence, (), (), impossible)[1]

    def most_probable(
        self, given: Any = None, targets: Sequence[Hashable] | None = None, do: Any = None, *, best: int = 1
    ) -> Explanation:
        """The jointly most probable states of the targets; of all variables not known, where none are named.

        With some variables as targets the others are summed out first (MAP). `best` of them, the best first.
        """
        engine, evidence = self.under(given, do)
        known = evidence.wholly
        asked = self._asked(targets, known)
        if best == 1:
            states, logs = most_probable(engine, evidence, asked)
            states, logs = states[:, None], logs[:, None]
        else:
            states, logs = best_of_rows(engine, evidence, asked, best)
        total = engine.run(evidence, (), ())[1] - engine.factors.log_constant
        names = tuple(self.variables[v] for v in asked)
        log_evidence = total + engine.factors.log_constant
        return Explanation(names, states, logs - total[:, None], log_evidence, self.factors.states)

    def sample(
        self, given: Any = None, n: int = 1, targets: Sequence[Hashable] | None = None, do: Any = None, *, seed: int = 0
    ) -> Draws:
        """n independent draws a row from P(targets | given, do), exact: no burn-in, no rejection."""
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ValueError(f"n must be a positive number of draws, not {n!r}")
        engine, evidence = self.under(given, do)
        asked = self._asked(targets, evidence.wholly)
        generator = torch.Generator(self.device).manual_seed(seed)
        states, log_evidence = draws(engine, evidence, asked, n, generator)
        refuse_impossible(engine, evidence, log_evidence)
        names = tuple(self.variables[v] for v in asked)
        return Draws(names, states, log_evidence + engine.factors.log_constant, self.factors.states)

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
            # the compiled one keeps every table for several rows at a time
            large = program.entries * self.dtype.itemsize * LANES > self.budget
            found = (TorchExecutor if large else self.executor)(program, static_values(program, self.tables))
        self._executors[ask] = found
        if len(self._executors) > EXECUTORS[self.device.type == "cpu"]:
            self._executors.popitem(last=False)
        return found

    # ---- running

    def under(self, given: Any, do: Any) -> tuple[Engine, Evidence]:
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
        for rows, ask, part in groups(self, evidence, marginals, joint):
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
            refuse_impossible(self, evidence, log_evidence)
        return found, log_evidence + self.factors.log_constant if self.factors.log_constant else log_evidence

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
        codes, likelihoods = inputs(self, ask, evidence)
        values, log_evidence = self._blocks(ask, codes, likelihoods)
        if not ask.scaled and not float(log_evidence.min()) >= UNDERFLOW[self.dtype]:
            low = (~(log_evidence >= UNDERFLOW[self.dtype])).nonzero()[:, 0]
            again, logs = self._blocks(replace(ask, scaled=True), codes[:, low], likelihoods[:, low])
            values[:, low], log_evidence[low] = again, logs
        return values, log_evidence

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
