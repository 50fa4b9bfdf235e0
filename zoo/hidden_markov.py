"""Hidden Markov model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.base import Explicit, Shape
from zoo.bridges import Chain
from zoo.choosing import Choose
from zoo.distributions import RowDistribution
from zoo.emissions import CategoricalEmission, DensityEmission, Emission, GaussianEmission
from zoo.hidden_states import best_path, evidence_of, filtered, log_evidence, smooth
from zoo.networks import flat, unflat
from zoo.slots import Slot
from zoo.unrolling import HiddenChain, in_turn
from zoo.verbs import Refusal

_CLOSED = {"em_start", "prepare", "expect", "maximise"}


class HiddenMarkov(Explicit):
    """Hidden Markov model: p(x) = sum_z p(z_1) prod_t p(z_t | z_t-1) prod_t p(x_t | z_t), z summed out exactly.

    Shapes: x is [N, T, *emission shape]; posterior [N, T, states]. Likelihood in nats a row. What is not known of
    x, NaN in numbers and -1 in codes (so too the end of a shorter sequence), is summed out: single numbers of a step
    in the built-in emissions, whole steps in others. So sequences of many lengths are one tensor, each filled up to
    the longest with what is missing; EM counts no moves beyond a sequence's last known step. Fitted by Baum-Welch
    (`inference.em`) with the built-in emissions, by gradients of the exact likelihood (`inference.fit`) with any. It
    takes no context.

    Parameters:
        states: how many hidden states, K.
        levels: x holds codes 0..levels-1, each a categorical variable given the state; without it, x holds
            numbers, each a normal variable given the state.
        emission: instead of those, an explicit model of one step given the state (one-hot, context_shape [K]), or
            a list of K explicit models.
        floor: the least variance that closed-form updates of normal emissions give, in units of x squared.

    References:
        A Maximization Technique Occurring in the Statistical Analysis of Probabilistic Functions of Markov
            Chains (Baum, Petrie, Soules and Weiss, 1970)
        A Tutorial on Hidden Markov Models and Selected Applications in Speech Recognition (Rabiner, 1989)
    """

    capabilities = Explicit.capabilities | {"posterior", "cells", "complete"} | _CLOSED

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        states: int = 4,
        levels: int | None = None,
        emission: Slot | Sequence[Slot] | None = None,
        floor: float = 1e-6,
    ) -> None:
        if context_shape is not None:
            raise ValueError(f"HiddenMarkov takes no context, but was given context_shape {context_shape}")
        super().__init__(event_shape)
        if states < 1:
            raise ValueError(f"states must be at least 1, not {states}")
        if not floor > 0:
            raise ValueError(f"floor must be positive, not {floor}")
        if levels is not None and emission is not None:
            raise ValueError("give levels or emission, not both: each says how a state shows itself")
        self.states = states
        self.start_logits = nn.Parameter(0.1 * torch.randn(states))
        self.move_logits = nn.Parameter(0.1 * torch.randn(states, states))
        self._step = self.event_shape[1:] or torch.Size([1])
        if emission is not None:
            self.emission: Emission = DensityEmission(states, self._step, emission)
        elif levels is not None:
            self.emission = CategoricalEmission(states, self._step.numel(), levels)
            self.levels = levels
            self.__dict__["capabilities"] = self.capabilities | {"unroll"}
        else:
            self.emission = GaussianEmission(states, self._step.numel(), floor)
        self.support = self.emission.support
        self.missing_code = self.emission.missing_code
        if not self.emission.closed:
            # of a model, not of the family: what closed-form steps there are is the emission's affair
            self.__dict__["capabilities"] = self.capabilities - _CLOSED

    def extra_repr(self) -> str:
        return f"{self.states} states, {self.event_shape[0]} steps of {list(self.event_shape[1:])}"

    @property
    def initial(self) -> Tensor:
        """p(z_1), [K]."""
        return self.start_logits.softmax(-1)

    @property
    def transition(self) -> Tensor:
        """p(z_t | z_t-1), [K, K], a row each."""
        return self.move_logits.softmax(-1)

    def distribution(self, context: Tensor | None = None) -> HiddenMarkovRows:
        self.check(context=context)
        return HiddenMarkovRows(self)

    def check(self, x: Tensor | None = None, context: Tensor | None = None) -> None:
        super().check(x, context)
        if x is None or not self.support.is_discrete or not x.numel():
            return
        fine = self.support.check(x) | (x == -1) | x.isnan()
        if not fine.all():
            raise ValueError(
                f"HiddenMarkov was given {x[~fine][0].item():g}, but its codes are within {self.support}, -1 if missing"
            )

    # ---- the chain

    def _seen(self, x: Tensor) -> Tensor:
        """log p(x_t | z_t), [N, T, K]."""
        event = self._step if not self.emission.closed else (self._step.numel(),)
        steps = x.reshape(-1, *event)
        if steps.is_floating_point():
            steps = steps.to(self.dtype)
        return self.emission.log_probs(steps).reshape(*x.shape[:2], self.states)

    def _chain(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.start_logits.log_softmax(-1), self.move_logits.log_softmax(-1), self._seen(x)

    def _checked(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.check(x)
        return self._chain(x)

    @torch.no_grad()
    def posterior(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """p(z_t | x), the smoothed states, [N, T, K]."""
        self.check(x, context)
        return smooth(*self._chain(x))[0].to(self.dtype)

    @torch.no_grad()
    def filter(self, x: Tensor) -> Tensor:
        """p(z_t | x_1, ..., x_t), [N, T, K]."""
        return filtered(*self._checked(x)).to(self.dtype)

    @torch.no_grad()
    def viterbi(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The likeliest states of each row, [N, T], and log p(x, those states), [N]."""
        path, value = best_path(*self._checked(x))
        return path, value.to(self.dtype)

    @torch.no_grad()
    def forecast_states(self, x: Tensor, steps: int) -> Tensor:
        """p(z_T+h | x) for h = 1..steps, [N, steps, K]."""
        if steps < 1:
            raise ValueError(f"steps must be at least 1, not {steps}")
        state, found = self.filter(x)[:, -1], []
        for _ in range(steps):
            state = state @ self.transition
            found.append(state)
        return torch.stack(found, 1)

    @torch.no_grad()
    def forecast(self, x: Tensor, steps: int, *, draws: int = 1) -> Tensor:
        """Draws of the steps after x, [draws, N, steps, *emission shape]."""
        first = self.forecast_states(x, steps)[:, 0].repeat(draws, 1)
        return self._show(self._walk(first, steps)).reshape(draws, len(x), steps, *self.event_shape[1:])

    def forecast_log_prob(self, x: Tensor, future: Tensor) -> Tensor:
        """log p(the steps that follow | x), [N], for a future of any length [N, H, *emission shape]."""
        start, move, seen = self._checked(x)
        if future.dim() != x.dim() or len(future) != len(x) or future.shape[2:] != x.shape[2:]:
            raise ValueError(f"future must be [{len(x)}, H, {list(x.shape[2:])}], but is {list(future.shape)}")
        both = torch.cat([seen, self._seen(future)], 1)
        return log_evidence(start, move, both, None) - log_evidence(start, move, seen, None)

    # ---- number by number

    @torch.no_grad()
    def unroll(
        self, choose: Choose, rows: int, *, context: Tensor | None = None, known: Tensor | None = None
    ) -> Tensor:
        """So many rows of codes, each number what `choose` makes of its logits, z summed out: [rows, *event_shape]."""
        if not isinstance(self.emission, CategoricalEmission):
            raise Refusal("HiddenMarkov makes rows number by number where it was given levels; ask sample")
        start, move = self.start_logits.log_softmax(-1), self.move_logits.log_softmax(-1)
        chain = HiddenChain(start, move, self.emission.logits.log_softmax(-1), rows)
        codes = torch.zeros(rows, self.features, dtype=torch.long, device=self.device)
        return unflat(in_turn(choose, chain.logits, codes, known), self.event_shape)

    def step_log_prob(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """log p(x_i | the numbers before it) of codes of which none is missing, [N, features], without gradients."""
        codes, found = flat(x, self.event_shape).long(), []

        def choose(i: int, logits: Tensor) -> Tensor:
            found.append(logits.log_softmax(-1).gather(-1, codes[:, i : i + 1]))
            return codes[:, i]

        self.unroll(choose, len(codes))
        return torch.cat(found, -1).to(self.dtype)

    def _walk(self, first: Tensor, steps: int) -> Tensor:
        """States drawn from p(z_1), [M, K], on: [M, steps]."""
        drawn = torch.rand(steps, len(first), 1, dtype=first.dtype, device=first.device)
        bounds = self.transition.cumsum(-1)[:, :-1].contiguous()
        state = (drawn[0] > first.cumsum(-1)[:, :-1]).sum(-1)
        path = [state]
        for t in range(1, steps):
            state = (drawn[t] > bounds[state]).sum(-1)
            path.append(state)
        return torch.stack(path, 1)

    def _show(self, path: Tensor) -> Tensor:
        """x drawn given its states [M, T]."""
        return self.emission.sample(path.flatten()).reshape(*path.shape, *self.event_shape[1:])

    # ---- what is missing

    @torch.no_grad()
    def cells(self, x: Tensor, known: Tensor) -> Tensor | None:
        """What is exactly so of each cell given the known ones; None with emissions that have no closed form.

        Of codes p(code), [*x.shape, levels]; of numbers mean and standard deviation, [*x.shape, 2].
        """
        gaps = self._lacking(x, known)
        moments = self.emission.mixed(self.posterior(gaps).reshape(-1, self.states))
        if moments is None:
            return None
        return self.emission.settled(gaps, moments.reshape(*x.shape, moments.shape[-1]))

    @torch.no_grad()
    def complete(self, x: Tensor, known: Tensor, draws: int = 1) -> Tensor:
        """The unknown cells drawn given the known ones, exactly, [draws, *x.shape]: states first, then cells."""
        gaps = self._lacking(x, known)
        self.check(gaps)
        ahead = filtered(*self._chain(gaps))
        chain = Chain(self.initial.double(), self.transition.double().expand(x.shape[1] - 1, -1, -1))
        drawn = self._show(chain.draws(ahead, draws).flatten(0, 1)).reshape(draws, *x.shape)
        return torch.where(known, x.to(drawn.dtype), drawn)

    def _lacking(self, x: Tensor, known: Tensor) -> Tensor:
        """x with the missing code where it is not known."""
        return torch.where(known, x, torch.full_like(x, self.missing_code))

    # ---- Baum-Welch

    @torch.no_grad()
    def em_start(self, x: Tensor, generator: torch.Generator) -> None:
        """Normal emissions from k-means, and the moves between its clusters; codes' tables at random."""
        steps = x.reshape(-1, self._step.numel())
        if not self.emission.closed:
            self.emission.start(steps, generator)
        labels = self.emission.start(steps.to(self.dtype) if steps.is_floating_point() else steps, generator)
        self.start_logits.zero_()
        if labels is None:
            drawn = torch.rand(self.states, self.states, generator=generator, device=generator.device)
            self.move_logits.copy_((drawn + torch.eye(self.states, device=drawn.device)).log().log_softmax(-1))
            return
        labels = labels.reshape(x.shape[:2])
        known = (labels[:, 1:] >= 0) & (labels[:, :-1] >= 0)
        pairs = (labels[:, :-1] * self.states + labels[:, 1:])[known]
        counts = pairs.bincount(minlength=self.states**2).reshape(self.states, -1)
        self.move_logits.copy_((counts.double() + 1).log().log_softmax(-1))

    def prepare(self, x: Tensor) -> Tensor:
        self.check(x)
        return x

    @torch.no_grad()
    def expect(self, prepared: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Expected first states, moves and emissions, and the rows' log-likelihood."""
        lengths = self._lengths(prepared)
        smoothed, moves, evidence = smooth(*self._chain(prepared), lengths=lengths)
        steps = prepared.reshape(-1, self._step.numel())
        emitted = self.emission.statistics(steps, smoothed.reshape(-1, self.states))
        first = smoothed[:, 0] if lengths is None else smoothed[lengths > 0, 0]
        return (first.sum(0), moves, *emitted), evidence.double().sum()

    def _lengths(self, x: Tensor) -> Tensor | None:
        """How many steps each row has until nothing more is known, [N]; None where all have T."""
        known = ~self.emission.missing(x).flatten(2).all(-1) if x.dim() > 2 else ~self.emission.missing(x)
        if known[:, -1].all():
            return None
        return (known * torch.arange(1, x.shape[1] + 1, device=x.device)).amax(1)

    @torch.no_grad()
    def maximise(self, statistics: tuple[Tensor, ...]) -> None:
        first, moves, *emitted = statistics
        for logits, counts in ((self.start_logits, first), (self.move_logits, moves)):
            told = counts.sum(-1, keepdim=True) > 1e-10
            logits.copy_(torch.where(told, counts.log().log_softmax(-1), logits.double()))
        self.emission.maximise(tuple(emitted))


class HiddenMarkovRows(RowDistribution):
    """The rows of a hidden Markov model."""

    def __init__(self, model: HiddenMarkov) -> None:
        self._model = model
        super().__init__(torch.Size(), model.event_shape)

    @property
    def support(self) -> Any:
        return torch.distributions.constraints.independent(self._model.support, len(self.event_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        batch = value.shape[: value.dim() - len(self.event_shape)]
        chain = self._model._chain(value.reshape(-1, *self.event_shape))
        found = log_evidence(*chain) if torch.is_grad_enabled() else evidence_of(*chain)
        return found.reshape(batch).expand(torch.broadcast_shapes(batch, self.batch_shape))

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        shape = self._extended_shape(sample_shape)
        count = shape[: len(shape) - len(self.event_shape)].numel()
        model = self._model
        return model._show(model._walk(model.initial.expand(count, -1), self.event_shape[0])).reshape(shape)
