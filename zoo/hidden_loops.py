"""Sweeps over hidden chains as plain loops, compiled: N T K^2 steps on one core, a row after the other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numba import njit
from torch import Tensor

from zoo.hidden_blocks import TINY


class Loops:
    """What `zoo.hidden_blocks.Blocks` does, on a CPU."""

    def __init__(self, start: Tensor, move: Tensor, seen: Tensor) -> None:
        self.start, self.matrix = (t.detach().double().exp() for t in (start, move))
        seen = seen.detach().double()
        top = seen.amax(-1, keepdim=True)
        top = torch.where(top.isfinite(), top, torch.zeros_like(top))
        self.offset = top.sum((1, 2))
        self.weights = (seen - top).exp_().contiguous()

    def evidence(self) -> tuple[Tensor, Tensor]:
        return self._forward(self.weights.new_empty(len(self.weights), 1, self.weights.shape[-1]))

    def filtered(self) -> tuple[Tensor, Tensor]:
        ahead = torch.empty_like(self.weights)
        return ahead, self._forward(ahead)[1]

    def smoothed(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        ahead, after = torch.empty_like(self.weights), torch.empty_like(self.weights)
        evidence, sure = self._forward(ahead)
        smoothed = torch.empty_like(ahead)
        safe = torch.empty_like(sure)
        _call(_back, self.matrix.mT.contiguous(), self.weights, ahead, smoothed, after, safe)
        return ahead[:, :-1], after[:, 1:], smoothed, evidence, sure & safe

    def _forward(self, ahead: Tensor) -> tuple[Tensor, Tensor]:
        """`ahead` is filled where it has room for all steps."""
        evidence = self.offset.clone()
        sure = torch.empty(len(evidence), dtype=torch.bool)
        _call(_ahead, self.start, self.matrix.contiguous(), self.weights, ahead, evidence, sure)
        return evidence, sure


def _call(loop: Callable[..., None], *tensors: Tensor) -> None:
    loop(*(tensor.numpy() for tensor in tensors), TINY)


@njit(cache=True, nogil=True)
def _ahead(start, matrix, weights, ahead, evidence, sure, tiny):
    """Filter each row; its log-likelihood is added to `evidence`."""
    rows, steps, states = weights.shape
    kept = ahead.shape[1]
    now = np.empty(states)
    for n in range(rows):
        sure[n] = True
        for t in range(steps):
            state = ahead[n, t % kept]
            if t == 0:
                now[:] = start
            else:
                last = ahead[n, (t - 1) % kept]
                now[:] = 0.0
                for i in range(states):
                    share = last[i]
                    for j in range(states):
                        now[j] += share * matrix[i, j]
            norm = 0.0
            for j in range(states):
                now[j] *= weights[n, t, j]
                norm += now[j]
            if not norm >= tiny:
                sure[n] = False
                break
            evidence[n] += np.log(norm)
            scale = 1.0 / norm
            for j in range(states):
                state[j] = now[j] * scale


@njit(cache=True, nogil=True)
def _back(moves, weights, ahead, smoothed, after, sure, tiny):
    """Smooth each filtered row; `moves[j, i]` is p(j | i)."""
    rows, steps, states = weights.shape
    behind = np.empty(states)
    told = np.empty(states)
    for n in range(rows):
        sure[n] = True
        behind[:] = 1.0
        for t in range(steps - 1, -1, -1):
            norm = 0.0
            for k in range(states):
                smoothed[n, t, k] = ahead[n, t, k] * behind[k]
                norm += smoothed[n, t, k]
            if not norm >= tiny:
                sure[n] = False
                break
            scale = 1.0 / norm
            for k in range(states):
                smoothed[n, t, k] *= scale
                told[k] = weights[n, t, k] * behind[k]
            if t == 0:
                break
            behind[:] = 0.0
            for j in range(states):
                share = told[j]
                for i in range(states):
                    behind[i] += share * moves[j, i]
            norm = 0.0
            for i in range(states):
                norm += ahead[n, t - 1, i] * behind[i]
            if not norm >= tiny:
                sure[n] = False
                break
            scale = 1.0 / norm
            for k in range(states):
                after[n, t, k] = told[k] * scale
                behind[k] *= scale
