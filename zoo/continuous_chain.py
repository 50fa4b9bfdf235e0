"""Markov chain in continuous time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from zoo.base import Explicit, Shape
from zoo.bridges import Chain, draw, one_hot
from zoo.distributions import RowDistribution
from zoo.long_run import hitting_times, stationary


class Paths(NamedTuple):
    """Whole paths up to `span`: what state is entered, [N, J], and when, [N, J]; -1 and inf after the last jump."""

    states: Tensor
    times: Tensor
    span: float


class ContinuousMarkovChain(Explicit):
    """Markov chain in continuous time, seen at T times: p(x) = p(x_1) prod_i exp((t_i - t_i-1) Q)[x_i-1, x_i].

    Q is the generator: q_ij >= 0 is the rate of jumps from i to j, q_ii = -sum_j q_ij, so the time spent in i is
    exponential with mean -1 / q_ii. Shapes: x is [N, T], codes 0..levels-1, and -1 where the state was not seen, which
    is summed out. Likelihood in nats a row. Fitted by gradients of the exact likelihood (`inference.fit`: the matrix
    exponential is differentiable), or in closed form from whole paths (`count_paths`). It takes no context.

    Parameters:
        levels: how many states there are.
        times: when the T states are seen, increasing numbers in any unit; without it every `interval`, from 0.
        interval: the time between two of them.

    References:
        Markov Chains (Norris, 1997), chapters 2 and 3
        Statistical Inferences for Jump Processes (Billingsley, 1961), for whole paths
    """

    capabilities = Explicit.capabilities | {"cells", "complete"}
    missing_code = -1

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        levels: int,
        times: Sequence[float] | None = None,
        interval: float = 1.0,
    ) -> None:
        if context_shape is not None:
            raise ValueError(f"ContinuousMarkovChain takes no context, but was given context_shape {context_shape}")
        super().__init__(event_shape)
        if len(self.event_shape) != 1:
            raise ValueError(f"a row of ContinuousMarkovChain is T states, [T], not {list(self.event_shape)}")
        if levels < 2:
            raise ValueError(f"levels must be at least 2, not {levels}")
        self.levels = levels
        self.support = constraints.integer_interval(0, levels - 1)
        self._gaps = _gaps(self.event_shape[0], times, interval)
        self.start_logits = nn.Parameter(0.1 * torch.randn(levels))
        # a jump every few intervals or so, whatever the unit of time
        typical = sum(self._gaps) / len(self._gaps) if self._gaps else interval
        off = levels * (levels - 1)
        self.log_rates = nn.Parameter(0.1 * torch.randn(off) - torch.tensor(typical * 2 * (levels - 1)).log())

    def extra_repr(self) -> str:
        return f"{self.levels} states seen {self.event_shape[0]} times"

    def distribution(self, context: Tensor | None = None) -> ContinuousRows:
        self.check(context=context)
        return ContinuousRows(self)

    def check(self, x: Tensor | None = None, context: Tensor | None = None) -> None:
        super().check(x, context)
        if x is None or not x.numel():
            return
        low, high = x.aminmax()
        if low < -1 or high >= self.levels or (x.is_floating_point() and (x != x.long()).any()):
            raise ValueError(
                f"ContinuousMarkovChain models states 0 to {self.levels - 1}, -1 if not seen, but x reaches from "
                f"{low.item():g} to {high.item():g}"
            )

    # ---- the chain

    @property
    def gaps(self) -> Tensor:
        """The times between two looks, [T - 1]."""
        return torch.tensor(self._gaps, dtype=self.dtype, device=self.device)

    @property
    def initial(self) -> Tensor:
        """p(x_1), [levels]."""
        return self.start_logits.softmax(-1)

    @property
    def generator(self) -> Tensor:
        """Q, [levels, levels]; its rows sum to zero."""
        k = self.levels
        rates = torch.cat([self.log_rates.exp().reshape(k - 1, k), self.log_rates.new_zeros(k - 1, 1)], 1)
        # k - 1 rows of k rates and a zero, written out, have the zeros on the diagonal of k rows of k
        square = torch.cat([self.log_rates.new_zeros(1), rates.flatten()]).reshape(k, k)
        return square - torch.diag_embed(square.sum(-1))

    @torch.no_grad()
    def set_generator(self, generator: Tensor) -> None:
        """Take these rates between states; a rate may be 0, and then stays so under gradients."""
        given = torch.as_tensor(generator).to(self.log_rates)
        off = ~torch.eye(self.levels, dtype=torch.bool, device=given.device)
        if given.shape != off.shape or (given[off] < 0).any() or not torch.isfinite(given).all():
            raise ValueError(f"a generator is a matrix [{self.levels}, {self.levels}] of rates of at least 0")
        if (given.sum(-1).abs() > 1e-4 * given.abs().amax().clamp(min=1e-30)).any():
            raise ValueError("each row of a generator sums to zero: q_ii is minus the sum of the rates out of i")
        self.log_rates.copy_(given[off].log())

    def transition(self, time: float | Tensor) -> Tensor:
        """p(state after this time | state), exp(time Q), [*time.shape, levels, levels]."""
        time = torch.as_tensor(time, dtype=self.dtype, device=self.device)
        if (time < 0).any() or not torch.isfinite(time).all():
            raise ValueError(f"time must be finite and at least 0, not {time.tolist()}")
        return torch.linalg.matrix_exp(time[..., None, None] * self.generator).clamp(min=0)

    def _moves(self) -> Tensor:
        """The transitions between the times, [T - 1, levels, levels]: each different gap exponentiated once."""
        different, place = self.gaps.unique(return_inverse=True)
        return self.transition(different)[place]

    @torch.no_grad()
    def stationary(self) -> Tensor:
        """The share of time spent in each state in the long run, [levels]: p Q = 0, float64."""
        return stationary(self.generator.double())

    @torch.no_grad()
    def hitting_times(self, targets: Sequence[int]) -> Tensor:
        """The expected time until a state of `targets` is entered, from each: 0 in one, inf where it may never be.

        With absorbing states for targets it is the time to absorption. [levels], float64.
        """
        if not targets or not all(0 <= t < self.levels for t in targets):
            raise ValueError(f"targets are states, 0 to {self.levels - 1}, not {list(targets)}")
        goal = torch.zeros(self.levels, dtype=torch.bool, device=self.device)
        goal[list(targets)] = True
        return hitting_times(self.generator.double(), goal)

    def log_prob_of(self, codes: Tensor) -> Tensor:
        """log p of rows [N, T], those not seen summed out."""
        moves = self._moves()
        if not (codes < 0).any():
            first = self.start_logits.log_softmax(-1)[codes[:, 0]]
            steps = torch.arange(len(moves), device=codes.device)
            return first + moves[steps, codes[:, :-1], codes[:, 1:]].log().sum(-1)
        state, total = self.initial.expand(len(codes), -1), self.initial.new_zeros(len(codes))
        told = one_hot(codes, codes >= 0, self.levels).to(state)
        for t in range(codes.shape[1]):
            state = (state if t == 0 else state @ moves[t - 1]) * told[:, t]
            norm = state.sum(-1)
            state, total = state / norm.clamp(min=1e-300).unsqueeze(-1), total + norm.log()
        return total

    # ---- bridges

    @torch.no_grad()
    def cells(self, x: Tensor, known: Tensor) -> Tensor:
        """p(x_t | the known states), [N, T, levels], exactly; `known` [N, T] says which of x they are."""
        return self._chain.marginals(self._told(x, known)).to(self.dtype)

    @torch.no_grad()
    def complete(self, x: Tensor, known: Tensor, draws: int = 1) -> Tensor:
        """The unknown states drawn given the known ones, [draws, N, T]."""
        chain = self._chain
        return chain.draws(chain.ahead(self._told(x, known))[0], draws)

    @property
    def _chain(self) -> Chain:
        return Chain(self.initial.double(), self._moves().double())

    def _told(self, x: Tensor, known: Tensor) -> Tensor:
        self.check(torch.where(known, x, torch.zeros_like(x)))
        return one_hot(x, known & (x >= 0), self.levels)

    @torch.no_grad()
    def bridge(self, first: int, last: int, span: float, times: Sequence[float]) -> Tensor:
        """p(state at each of these times | `first` at 0 and `last` at `span`), [len(times), levels]."""
        at = torch.as_tensor(times, dtype=self.dtype, device=self.device)
        if not all(0 <= state < self.levels for state in (first, last)):
            raise ValueError(f"first and last are states, 0 to {self.levels - 1}, not {first} and {last}")
        if at.dim() != 1 or (at < 0).any() or (at > span).any():
            raise ValueError(f"times must lie between 0 and the span, {span:g}")
        both = self.transition(at)[:, first] * self.transition(span - at)[:, :, last]
        total = both.sum(-1, keepdim=True)
        if not (total > 0).all():
            raise ValueError(f"state {last} can't be reached from state {first} in {span:g}")
        return both / total

    # ---- whole paths

    @torch.no_grad()
    def simulate(self, n: int, span: float, *, first: int | None = None) -> Paths:
        """n whole paths up to `span`, from `first` or a drawn state: exponential times, then a jump."""
        if not 0 < span < float("inf"):
            raise ValueError(f"span must be positive and finite, not {span}")
        if first is not None and not 0 <= first < self.levels:
            raise ValueError(f"first is a state, 0 to {self.levels - 1}, not {first}")
        q = self.generator
        leaving = -q.diagonal()
        jumps = (q + torch.diag_embed(leaving)).clamp(min=0)
        start = self.initial if first is None else torch.eye(self.levels, device=self.device)[first]
        state, now = draw(start.expand(n, -1)), torch.zeros(n, dtype=self.dtype, device=self.device)
        states, times = [state], [now]
        while True:
            now = now + torch.empty_like(now).exponential_() / leaving[state]
            alive = now < span
            if not alive.any():
                break
            chances = jumps[state]
            state = torch.where(alive, draw(torch.where(chances.sum(-1, keepdim=True) > 0, chances, 1.0)), state)
            now = torch.where(alive, now, torch.inf)
            states.append(torch.where(alive, state, -1))
            times.append(now)
        return Paths(torch.stack(states, 1), torch.stack(times, 1), span)

    @torch.no_grad()
    def count_paths(self, paths: Paths) -> None:
        """The likeliest rates for whole paths: jumps from i to j over the time spent in i; shares of first states."""
        k, states = self.levels, paths.states
        ends = torch.cat([paths.times[:, 1:], torch.full_like(paths.times[:, :1], torch.inf)], 1).clamp(max=paths.span)
        here = states >= 0
        spent = torch.zeros(k, dtype=torch.float64, device=states.device)
        spent.index_add_(0, states[here], (ends - paths.times)[here].double())
        jump = here[:, 1:]
        pairs = (states[:, :-1] * k + states[:, 1:])[jump].bincount(minlength=k * k).reshape(k, k).double()
        rates = torch.where(spent.unsqueeze(-1) > 0, pairs / spent.clamp(min=1e-300).unsqueeze(-1), 0.0)
        self.set_generator(rates - torch.diag_embed(rates.sum(-1)))
        self.start_logits.copy_(states[:, 0].bincount(minlength=k).double().log())


def _gaps(steps: int, times: Sequence[float] | None, interval: float) -> list[float]:
    if times is None:
        if not 0 < interval < float("inf"):
            raise ValueError(f"interval must be positive, not {interval}")
        return [float(interval)] * (steps - 1)
    if len(times) != steps:
        raise ValueError(f"times has {len(times)} entries, but a row is {steps} states")
    gaps = torch.tensor(list(times), dtype=torch.float64).diff()
    if not (gaps > 0).all() or not torch.isfinite(gaps).all():
        raise ValueError("times must increase from one to the next")
    return gaps.tolist()


class ContinuousRows(RowDistribution):
    """The rows of a Markov chain in continuous time."""

    def __init__(self, model: ContinuousMarkovChain) -> None:
        self._model = model
        super().__init__(torch.Size(), model.event_shape)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(self._model.support, 1)

    def log_prob(self, value: Tensor) -> Tensor:
        found = self._model.log_prob_of(value.reshape(-1, value.shape[-1]).long()).reshape(value.shape[:-1])
        return found.expand(torch.broadcast_shapes(found.shape, self.batch_shape))

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = self._extended_shape(sample_shape)
        path = [draw(self._model.initial.expand(shape[:-1].numel(), -1))]
        for move in self._model._moves():
            path.append(draw(move[path[-1]]))
        return torch.stack(path, 1).reshape(shape)
