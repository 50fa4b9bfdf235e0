"""A function of tensors as a flat list of operations: what can be known beforehand is worked out once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from inference.sampling.emitted import emitted, valued
from inference.sampling.recording import CONSTANT, GIVEN, MOVING, record
from inference.sampling.simplified import cleaned


class Traced:
    """`traced(moving)` is `function(moving)`, a tuple of tensors, without Python's and autograd's share of the work.

    `given` are the data: they may be exchanged for others of the same shapes, unless `branched`: then a number was
    read out of them. Shapes, dtypes and the way that control flow went are those of the run that was recorded.
    After the function's own outputs come `checks`: for each decomposition that may fail, zero where it did not.
    """

    def __init__(
        self,
        function: Callable[[Tensor], Sequence[Tensor]],
        moving: Tensor,
        given: Sequence[Tensor],
        written: Callable[..., Any] = emitted,
    ) -> None:
        recording = record(function, moving, given)
        steps = cleaned(recording)
        self.branched = recording.branched
        self.first = tuple(recording.values[ref.at].detach() for ref in recording.outputs)
        self._before = [step for step in steps if step.level == GIVEN]
        self._inputs = [ref.at for ref in recording.inputs[1:]]
        self.steps = [step for step in steps if step.level == MOVING]
        self._make, self._frontier = written(recording, self.steps)
        used = [*self._frontier, *(ref.at for step in self._before for ref in step.refs)]
        self._constants = {at: recording.values[at] for at in used if recording.levels[at] == CONSTANT}
        self._run = self._make(*(recording.values[at] for at in self._frontier))

    def __call__(self, moving: Tensor) -> tuple[Tensor, ...]:
        with torch.no_grad():
            return self._run(moving)

    def on(self, given: Sequence[Tensor]) -> Traced:
        """The same on other data of the same shapes."""
        known = {**self._constants, **dict(zip(self._inputs, given, strict=True))}
        with torch.no_grad():
            for step in self._before:
                made = step.op(*valued(known, step.args), **valued(known, step.kwargs))
                outs = (made,) if step.single else made
                known.update({ref.at: out for ref, out in zip(step.outs, outs, strict=True)})
        other = copy.copy(self)
        other._run = self._make(*(known[at] for at in self._frontier))
        return other
