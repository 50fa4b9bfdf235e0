"""mu-law: a waveform in [-1, 1] as a few levels, close together where it is quiet."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def mu_law_encode(waveform: Tensor, levels: int = 256) -> Tensor:
    """The nearest codes 0..levels-1 on the mu-law scale, of the waveform's shape; mu is levels - 1.

    References:
        ITU-T Recommendation G.711: Pulse code modulation of voice frequencies
    """
    mu = _mu(levels)
    if not waveform.is_floating_point():
        raise TypeError(f"a waveform is made of floats from -1 to 1, not {waveform.dtype}")
    if waveform.numel() and not bool((waveform.abs() <= 1).all()):
        worst = waveform.flatten()[waveform.abs().nan_to_num(torch.inf).argmax()]
        raise ValueError(f"a waveform lies between -1 and 1, but this one has the value {float(worst):g}")
    loud = torch.log1p(mu * waveform.abs()) / math.log1p(mu)
    return ((loud.copysign(waveform) + 1) / 2 * mu + 0.5).floor().long()


def mu_law_decode(codes: Tensor, levels: int = 256, *, dtype: torch.dtype | None = None) -> Tensor:
    """The waveform in [-1, 1] that the codes stand for; `mu_law_encode` gives the codes back.

    A number between two codes gives the point between them, so that `codes + 0.5` are a cell's upper edges.
    """
    mu = _mu(levels)
    if codes.numel() and not bool(((codes >= 0) & (codes <= levels - 1)).all()):
        worst = [float(end) for end in codes.aminmax()]
        raise ValueError(f"codes lie between 0 and {levels - 1}, not between {worst[0]:g} and {worst[1]:g}")
    y = 2 * codes.to(dtype or torch.get_default_dtype()) / mu - 1
    return (torch.expm1(y.abs() * math.log1p(mu)) / mu).clamp(max=1).copysign(y)


def _mu(levels: int) -> int:
    if levels < 2:
        raise ValueError(f"levels must be at least 2, not {levels}")
    return levels - 1
