"""What is known of a network of tables and densities, as evidence that elimination reads."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inference.asking import placed
from inference.exact.engine import Engine
from inference.exact.evidence import MISSING, Evidence, read_evidence
from inference.near import near

NUMBERS = 2**22
"""How many numbers of observed values, over the states of their parents, a density is asked for at a time."""
Scope = tuple[int, ...]


class Case:
    """N rows of what is given and done: discrete variables as the engine reads them, densities as likelihoods.

    log p(y | parents) of an observed density is summed over the densities with the same unknown discrete parents,
    scaled by its greatest over the states that the discrete evidence leaves possible, and exponentiated; the scale
    comes back in the log evidence. Densities with different parents that contradict each other by more than the
    range of a double (700 nats) are taken for impossible, and said to be.

    Parameters:
        model: `inference.protocols.Hybrid`.
        given, do: a value by name; one for all rows, or N.
    """

    def __init__(self, model: Any, given: Mapping[Hashable, Any], do: Mapping[Hashable, Any]) -> None:
        self.model, self.engine = model, Engine(model.discrete)
        self.states = self.engine.states
        self.given = self._values(given, "given")
        self.set = self._values(do, "do")
        for name in self.given:
            if name in self.set:
                raise ValueError(f"{name!r} is both given and set by do; keep one of them")
        self.discrete_do = {v: value for v, value in do.items() if v in self.states}
        states = {v: value for v, value in given.items() if v in self.states}
        self.evidence = read_evidence(self.engine.variables, self.states, states)
        self.done = read_evidence(self.engine.variables, self.states, self.discrete_do, "do")
        self.rows = self._count()
        names = [*states.values(), *self.discrete_do.values()]
        self.batched = self.rows > 1 or any(_has_rows(v) for v in names) or any(self._rowed.values())
        self.seen = {name: model.densities[name].likelihood for name in self.given}
        self._refuse_gaps()

    # ---- reading

    def _values(self, named: Mapping[Hashable, Any], where: str) -> dict[str, Tensor]:
        """The values of densities, [N or 1, *shape]."""
        densities, found = self.model.densities, {}
        self._rowed: dict[str, bool] = getattr(self, "_rowed", {})
        for name, value in named.items():
            if name not in densities:
                if name not in self.states:
                    known = [*self.states, *densities]
                    raise ValueError(f"{where}: the network has no variable {name!r}{near(name, known)}")
                continue
            x, shape = placed(self.model, value), torch.Size(densities[name].event_shape)
            self._rowed[str(name)] = x.shape != shape
            if x.shape == shape:
                x = x[None]
            if x.shape[1:] != shape or not len(x):
                asked = ", ".join(map(str, shape))
                raise ValueError(f"{where}: {name!r} has the shape {list(x.shape)}, but [{asked}] or [N, {asked}] fits")
            if not torch.isfinite(x).all():
                raise ValueError(f"{where}: {name!r} is not finite at row {int((~x.isfinite()).nonzero()[0][0])}")
            found[str(name)] = x
        return found

    def _count(self) -> int:
        counts = {str(name): len(x) for name, x in {**self.given, **self.set}.items()}
        counts |= {"the discrete evidence": self.evidence.rows, "do": self.done.rows}
        rows = max(counts.values())
        for name, count in counts.items():
            if count not in (1, rows):
                raise ValueError(f"{name} has {count} rows, but another part of the evidence {rows}")
        return rows

    def _refuse_gaps(self) -> None:
        """Refuse what has no exact answer: an observed density one of whose parents is a density not observed."""
        for name in self.given:
            for parent in self.model.densities[name].parents:
                if parent in self.model.densities and parent not in self.given and parent not in self.set:
                    raise ValueError(
                        f"{name!r} is given but its parent {parent!r}, a density, is not, and there is no exact sum "
                        f"over what it may be; give {parent!r} too, or leave {name!r} out"
                    )

    # ---- what is known

    @cached_property
    def known(self) -> dict[str, Tensor]:
        """By name, the codes of what is known in every row, and the values of densities; [N, ...]."""
        found: dict[str, Tensor] = {}
        for part in (self.evidence, self.done):
            for v, codes in part.codes.items():
                if not bool((codes == MISSING).any()) and v not in part.likelihoods:
                    found[str(self.engine.variables[v])] = codes.to(self.engine.device).expand(self.rows)
        values = {**self.given, **self.set}
        return found | {name: x.expand(self.rows, *x.shape[1:]) for name, x in values.items()}

    @cached_property
    def observed(self) -> tuple[Evidence, Tensor]:
        """All evidence as the engine reads it, and the nats [N] by which its likelihoods were scaled."""
        place = {v: i for i, v in enumerate(self.engine.variables)}
        scale = torch.zeros(self.rows, dtype=self.engine.dtype, device=self.engine.device)
        seen: dict[Scope, Tensor] = {}
        for name in self.given:
            node = self.model.densities[name]
            scope = tuple(place[p] for p in node.states if p not in self.known)
            found = self._log_prob(name).to(scale)
            if not scope:
                if (found == -torch.inf).any():
                    row = int((found == -torch.inf).nonzero()[0][0])
                    raise ValueError(f"row {row}: what is given has probability zero: {name} given its parents")
                scale = scale + found
            else:
                order = sorted(range(len(scope)), key=lambda i: scope[i])
                found = found.permute(0, *(1 + i for i in order))
                scope = tuple(sorted(scope))
                seen[scope] = seen[scope] + found if scope in seen else found
        evidence = self._with(self.evidence, {}, {})
        likelihoods, joint = dict(evidence.likelihoods), {}
        for scope, found in _nested(seen).items():
            likelihood, greatest = self._scaled(scope, found)
            scale = scale + greatest
            if len(scope) > 1:
                joint[scope] = likelihood
            else:
                likelihoods[scope[0]] = likelihood * likelihoods[scope[0]] if scope[0] in likelihoods else likelihood
        return self._with(evidence, likelihoods, joint), scale

    def _with(self, evidence: Evidence, likelihoods: Mapping[int, Tensor], joint: Mapping[Scope, Tensor]) -> Evidence:
        codes = {v: column.expand(self.rows) for v, column in evidence.codes.items()}
        merged = {v: each.expand(self.rows, -1).to(self.engine.device) for v, each in evidence.likelihoods.items()}
        return replace(
            evidence,
            rows=self.rows,
            codes=codes,
            likelihoods={**merged, **likelihoods},
            joint={**evidence.joint, **joint},
        )

    def _log_prob(self, name: str) -> Tensor:
        """log p(y | parents) of an observed density, [N, *states of unknown discrete parents], in blocks of rows."""
        node = self.model.densities[name]
        given = {p: self.known[p] for p in node.parents if p in self.known}
        free = math.prod(count for p, count in node.states.items() if p not in given)
        step = max(1, NUMBERS // (free * max(1, math.prod(node.event_shape))))
        parts = []
        for start in range(0, self.rows, step):
            rows = slice(start, start + step)
            parts.append(node.log_prob(self.known[name][rows], {p: value[rows] for p, value in given.items()}))
        found = torch.cat(parts)
        if found.isnan().any():
            raise ValueError(
                f"the log-likelihood of {name!r} is not a number at row {int(found.isnan().nonzero()[0][0])}"
            )
        return found

    def _scaled(self, scope: Scope, log_likelihood: Tensor) -> tuple[Tensor, Tensor]:
        """A likelihood over its greatest among possible states, 0 at the others; and the log of that greatest."""
        names = [self.engine.variables[v] for v in scope]
        possible = self.engine.joint(self.evidence, names, self.discrete_do).values > 0
        axes = tuple(range(1, log_likelihood.dim()))
        left = log_likelihood.masked_fill(~possible, -torch.inf)
        # where nothing is left, all is kept, for the engine to say what contradicts what
        left = torch.where(left.amax(axes, keepdim=True) > -torch.inf, left, log_likelihood)
        greatest = left.amax(axes, keepdim=True)
        greatest = torch.where(greatest.isfinite(), greatest, 0.0)
        return (left - greatest).exp(), greatest.flatten()

    # ---- answers

    def log_evidence(self) -> Tensor:
        """log p(given | do) of each row, [N] nats."""
        evidence, scale = self.observed
        return self.engine.log_evidence(evidence, self.discrete_do) + scale

    def marginal(self, name: Hashable) -> Tensor:
        found = self.engine.marginals(self.observed[0], [name], self.discrete_do)
        return found.values[name]

    def joint(self, names: Sequence[Hashable]) -> Tensor:
        return self.engine.joint(self.observed[0], list(names), self.discrete_do).values

    def draws(self, name: str, draws: int) -> Tensor:
        """Draws of a density that is not known, [N, draws, *shape], each with discrete parents of its own."""
        if name in self.known:
            raise ValueError(f"{name!r} is both a target and known; ask for it without giving it")
        chain = self._chain(name)
        needed = dict.fromkeys(p for each in chain for p in self.model.densities[each].states)
        values = {p: value.repeat_interleave(draws, 0) for p, value in self.known.items()}
        values |= self._states([p for p in needed if p not in self.known], draws)
        for each in chain:
            node = self.model.densities[each]
            given = {p: values[p] for p in node.parents}
            values[each] = node.sample(given, self.rows * draws)
        return values[name].unflatten(0, (self.rows, draws))

    def _states(self, names: list[str], draws: int) -> dict[str, Tensor]:
        """Joint draws of discrete variables given the evidence, [N * draws] codes each."""
        if not names:
            self.log_evidence()  # refuses what can't happen
            return {}
        joint = self.joint(names)
        cells = torch.multinomial(joint.flatten(1), draws, replacement=True).flatten()
        codes = np.unravel_index(cells.cpu().numpy(), joint.shape[1:])
        return {name: torch.from_numpy(column).to(cells) for name, column in zip(names, codes, strict=True)}

    def _chain(self, name: str) -> list[str]:
        """A density and the densities above it that are not known, parents first."""
        found = {name}
        for each in reversed(list(self.model.densities)):
            if each in found:
                above = self.model.densities[each].parents
                found |= {p for p in above if p in self.model.densities and p not in self.known}
        return [each for each in self.model.densities if each in found]


def _nested(seen: Mapping[Scope, Tensor]) -> dict[Scope, Tensor]:
    """Log-likelihoods on part of another's variables added to it, where a contradiction does not leave the range."""
    merged: dict[Scope, Tensor] = {}
    for scope in sorted(seen, key=len, reverse=True):
        wider = next((each for each in merged if set(scope) <= set(each)), None)
        if wider is None:
            merged[scope] = seen[scope]
        else:
            shape = [size if v in scope else 1 for v, size in zip(wider, merged[wider].shape[1:], strict=True)]
            merged[wider] = merged[wider] + seen[scope].reshape(-1, *shape)
    return merged


def _has_rows(value: Any) -> bool:
    return not isinstance(value, str) and (getattr(value, "ndim", 0) > 0 or isinstance(value, Sequence))
