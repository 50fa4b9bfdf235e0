"""Flows on tables of few rows, which they would otherwise learn by heart and then lose to a mixture of Gaussians.

What makes the difference, in the order of what it is worth: tails of Student's t under the flow, so that a row far
out costs little; whitened rows, from which the flow starts at the identity and so as a Gaussian with the rows' own
covariance; couplings that can scale a number only a little; noise on each batch, weight decay, and an end when rows
held out get no better. `TableFlow` takes all of it where a table is small and nothing else was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from zoo.base import Explicit, Shape
from zoo.distributions import RowDistribution, StandardNormal
from zoo.elementwise import SoftAffine
from zoo.flows import base_of
from zoo.slots import Slot
from zoo.student_t import StandardStudentTs
from zoo.transforms import FlowDistribution
from zoo.whitening import Whitened

FEW, WIDEST = 16, 128
"""Fewer rows than FEW for each number of a row are few; a row of more numbers than WIDEST is no table's."""
DF, CLAMP, TIGHT, NOISE, DECAY, VALIDATION = 5.0, 3.0, 0.5, 0.2, 1.0, 0.2

Start = Literal["identity", "whitened"]


def is_small(rows: int, event_shape: torch.Size) -> bool:
    """Whether so many rows of this shape are a small table."""
    return len(event_shape) == 1 and event_shape[0] <= WIDEST and rows < FEW * event_shape[0]


class Tails(Explicit):
    """Standard normals, until `fatten` makes them Student-t's; without parameters, and the same for every context."""

    df: Tensor

    def __init__(self, event_shape: Shape, *, context_shape: Shape | None = None) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        self.register_buffer("df", torch.tensor(float("inf")))
        self.heavy = False

    def fatten(self, df: float) -> None:
        """Student-t's of so many degrees of freedom from now on."""
        self.df.fill_(df)
        self.heavy = True

    def distribution(self, context: Tensor | None = None) -> RowDistribution:
        kind = StandardStudentTs if self.heavy else StandardNormal
        standard = kind(self.event_shape, self.df)
        return standard if context is None else standard.expand(context.shape[:1])

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        self.heavy = bool(self.df.isfinite())  # looked up once, and not in every step


class TableFlow(Explicit):
    """A flow x = f(z), z from a base, that settles what its caller left open when it is first fitted.

    `initialise(x)`, which `fit` calls with the rows to be fitted to, does on a small table (`is_small`) what was not
    decided by hand: whitened rows, a base of Student-t's, tight scales. On any other data the flow stays as it was
    built. The choice is made once, kept in buffers, and saved with the model. A flow that is a part of another model
    (a VAE's prior, a node of a network) is never asked, but for one that models the reals behind `Supported`.

    A family gives `transform` and calls this constructor before.
    """

    transform: Whitened
    settled: Tensor

    def __init__(
        self, event_shape: Shape, *, context_shape: Shape | None, start: Start | None, base: Slot | None
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape)
        if start not in (None, *get_args(Start)):
            raise ValueError(f"start must be {' or '.join(map(repr, get_args(Start)))}, not {start!r}")
        self.start = start
        self.base = base_of(base or Tails, self)
        self.left_open: list[Callable[[], None]] = []
        if base is None and isinstance(self.base, Tails):
            self.left_open.append(partial(self.base.fatten, DF))
        self.register_buffer("settled", torch.tensor(False))

    def distribution(self, context: Tensor | None = None) -> FlowDistribution:
        return FlowDistribution(self.base.distribution(context), self.transform, context)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Settle, once in a model's life, what was left open, by rows [N, *event_shape] to fit to."""
        if self.settled:
            return
        if not torch.isfinite(x).all():
            raise ValueError(f"{type(self).__name__} takes its start from x, which is not finite")
        self.settled.fill_(True)
        small = is_small(len(x), self.event_shape)
        if self.start == "whitened" or (small and self.start is None):
            self.transform.whitening.initialise(x)
        for tighten in self.left_open if small else ():
            tighten()

    def recipe(self, rows: int) -> dict[str, Any]:
        """How to fit so many rows where the caller doesn't say: keywords of `fit`.

        None unless the table is small, nor where no row of it could be held out.
        """
        if not is_small(rows, self.event_shape) or round(VALIDATION * rows) < 1:
            return {}
        return {
            "steps": 1000,
            "optimizer": decaying,
            "validation": VALIDATION,
            "patience": 6,
            "every": 20,
            "transform": partial(self.transform.whitening.blurred, noise=NOISE),
        }


def decaying(parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """AdamW with a strong pull to zero, which is the Gaussian that the flow started from."""
    return torch.optim.AdamW(parameters, lr=lr, weight_decay=DECAY, fused=True)


def soft_affine(clamp: float | None, flow: TableFlow) -> SoftAffine:
    """Affine maps with this clamp, or with one that the flow settles."""
    if clamp is not None:
        return SoftAffine(clamp)
    map = SoftAffine(CLAMP)
    flow.left_open.append(partial(map.tighten, TIGHT))
    return map
