"""A log density as machine code: worth its compilation where chains are long, or a program's loop is."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from inference.program import Program
from inference.sampling.density import LogDensity
from inference.sampling.native import native
from inference.sampling.native_source import NotNative
from inference.sampling.traced import Traced

TRIED = 8
"""Positions at which the compiled density is held to torch's own before it is trusted."""


class CompiledDensity(LogDensity):
    """A log density whose value and slope are one call of machine code for all chains; the rest is as it was."""

    native: Traced | None = None

    def value_and_grad(self, q: Tensor) -> tuple[Tensor, Tensor]:
        if self.native is None:
            return super().value_and_grad(q)
        self.evaluations += 1
        value, slope = self.native(q)
        return value, slope

    def _on(self, program: Program) -> LogDensity:
        other = copy.copy(self)
        vars(other).update(vars(super()._on(program)))
        # codes are places in memory, which only torch checks: others than those compiled for go by torch
        codes = all(torch.equal(a, b) for a, b in zip(program.inputs, self.program.inputs, strict=False) if _codes(a))
        kept = self.native if program.frame == self.program.frame and codes else None
        other.native = None if kept is None or kept.branched else kept.on(program.inputs)
        return other


def compiled(density: LogDensity) -> LogDensity:
    """The density by the machine's C++ compiler, or the same density again where that can't be, with `why_not` said.

    It can't where there is no compiler, on a GPU, in single precision, where an operation has no C++ here, or where a
    chain's numbers are so many that torch is as fast. What is compiled is held to torch's own at a few positions.
    """
    density.why_not = ""
    program = density.program
    if program.precision != torch.float64 or torch.device(program.device or "cpu").type != "cpu":
        density.why_not = "machine code is made for double precision on the CPU"
        return density
    q = torch.linspace(-0.9, 1.1, TRIED * density.dim, dtype=torch.float64).reshape(density.dim, TRIED).T.contiguous()
    made = CompiledDensity(program)
    vars(made).update(vars(density))
    try:
        made.native = Traced(density.alone, q[0].clone(), program.inputs, native)
    except (NotNative, RuntimeError) as error:
        density.why_not = str(error)
        return density
    if not _agree(made.native(q), Traced(density._value_and_slope, q, program.inputs)(q)):
        density.why_not = "the compiled density differs from torch's"
        return density
    return made


def _agree(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> bool:
    pairs = zip(one, other, strict=False)
    return all(torch.allclose(a, b, rtol=1e-7, atol=1e-9, equal_nan=True) for a, b in pairs)


def _codes(value: Tensor) -> bool:
    return not value.dtype.is_floating_point
