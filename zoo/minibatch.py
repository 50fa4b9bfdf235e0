"""What a critic sees of the other rows of its batch, so that rows that are all alike give themselves away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from zoo.declared import declared


class MinibatchDiscrimination(nn.Module):
    """How near the other rows of the call lie: o_b(i) = mean over j of exp(-|M_b f_i - M_b f_j|_1), j not i.

    The paper's sum is a mean here, so that it does not change with the size of a batch; 0 for a row alone.

    Shapes: features f [N, width] to [N, kernels].

    Parameters:
        kernels: how many numbers o_b each row gets.
        dims: of each kernel's space, where M_b takes the features.

    References:
        Improved Techniques for Training GANs (Salimans et al., 2016), https://arxiv.org/abs/1606.03498
    """

    def __init__(self, width: int, *, kernels: int = 16, dims: int = 8) -> None:
        super().__init__()
        if min(kernels, dims) < 1:
            raise ValueError(f"kernels and dims must be at least 1, not {kernels} and {dims}")
        self.shape, self.outputs = (kernels, dims), kernels
        self.network = nn.Linear(width, kernels * dims, bias=False)

    def forward(self, f: Tensor) -> Tensor:
        m = self.network(f).unflatten(1, self.shape)
        near = (-(m.unsqueeze(1) - m).abs().sum(3)).exp()
        return (near.sum(1) - 1) / max(1, len(f) - 1)


class MinibatchDeviation(nn.Module):
    """The standard deviation of a feature over the rows of the call, the mean of all features: one number a batch.

    Shapes: features [N, width] to [N, 1].

    References:
        Progressive Growing of GANs (Karras et al., 2018), https://arxiv.org/abs/1710.10196
    """

    outputs = 1

    def __init__(self, width: int) -> None:
        super().__init__()

    def forward(self, f: Tensor) -> Tensor:
        # Features that do not vary have a root without a slope: 1e-8 gives them one.
        deviation = (f.var(0, correction=0) + 1e-8).sqrt().mean()
        return deviation.expand(len(f), 1)


MINIBATCHES: Mapping[str, type[nn.Module]] = {
    "discrimination": MinibatchDiscrimination,
    "deviation": MinibatchDeviation,
}
MinibatchSlot = Mapping[str, Any] | str
"""What the place takes: "discrimination", "deviation", or a table {"kind": "discrimination", "kernels": 32}."""


def minibatch_of(written: MinibatchSlot | None, width: int) -> nn.Module | None:
    """What reads the features of a batch together, or None where nothing does."""
    return None if written is None else declared("minibatch", written, MINIBATCHES, given=("width",))(width)
