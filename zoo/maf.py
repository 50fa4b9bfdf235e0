"""MAF: a masked autoregressive flow, which scores in one pass."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.base import Shape
from zoo.flows import widths_of
from zoo.masked_maps import MaskedMaps
from zoo.slots import Slot
from zoo.small_tables import Start, TableFlow, soft_affine
from zoo.transforms import Inverse
from zoo.whitening import Whitened


class MAF(TableFlow):
    """A masked autoregressive flow: z_i = x_i exp(s_i) + t_i in a layer, with (t_i, s_i) of x_1..x_(i-1) and c.

    A layer alone is a density of normals, each with its mean and scale from the numbers before it. What it leaves is
    moved on by the next, in the opposite order, and what the last leaves is the base's. The log-scales s are softly
    clamped, and every layer starts at the identity.

    Shapes: x is [N, *event_shape], its numbers in the order of memory; context is [N, *context_shape] and is read by
    every layer. `log_prob` is in nats a row and costs one pass through each network. `sample` goes number by number
    and computes every hidden unit once, which is as much arithmetic in as many steps as a row has numbers.

    On a table of few rows (fewer than 16 for each number of a row), `fit` settles what is left open here: whitened
    rows, scales clamped at 0.5, Student-t's as the base; and, unless told how long to go on, it stops early, with
    noise and weight decay (`zoo.small_tables`).

    Parameters:
        layers: how many masked networks.
        hidden: widths of each; one number stands for two hidden layers of that width.
        clamp: the largest log-scale of one layer, approached smoothly; 3 unless told, or 0.5 on few rows.
        base: any explicit model of event_shape (and context_shape); the standard normal unless told, or standard
            Student-t's on few rows.
        start: what a fit begins from, "identity" or "whitened", the Gaussian with the rows' own covariance; the
            identity unless told, or whitened on few rows.

    Reproducible: digits as logits, dequantised (1,347 to train on, 450 held out), defaults, seed 0, 500 steps on
    batches of 256, the learning rate 1e-3 falling over the last three tenths: 2.25 bits a number held out.

    References:
        Masked Autoregressive Flow for Density Estimation (Papamakarios et al., 2017), https://arxiv.org/abs/1705.07057
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        layers: int = 6,
        hidden: int | Sequence[int] = 128,
        clamp: float | None = None,
        base: Slot | None = None,
        start: Start | None = None,
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape, start=start, base=base)
        widths = widths_of(layers, hidden)
        maps = MaskedMaps(self.event_shape, self.context_shape, layers, widths, soft_affine(clamp, self))
        self.transform = Whitened(Inverse(maps), self.event_shape)
