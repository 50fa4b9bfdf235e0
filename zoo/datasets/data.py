"""What a data set is: named splits of rows, and views of them that remember the way back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints

from zoo.datasets.spaces import SPACES
from zoo.datasets.views import Binarise, Dequantise, Flatten, Logit, Standardise, Step, Unit, floating
from zoo.tokens import Tokenizer


@dataclass(frozen=True, eq=False)
class Split:
    """Rows x, [N, *event_shape], and their labels y, [N], where the data has labels."""

    x: Tensor
    y: Tensor | None = None

    def __post_init__(self) -> None:
        if self.y is not None and len(self.y) != len(self.x):
            raise ValueError(f"x has {len(self.x)} rows, but y has {len(self.y)} labels")

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        labels = "" if self.y is None else ", labelled"
        return f"Split({len(self)} rows of {list(self.x.shape[1:])}, {self.x.dtype}{labels})"


@dataclass(frozen=True, eq=False)
class Data:
    """A data set: its splits, what its numbers mean, and the changes of variables that led from the raw data.

    A view (`dequantised`, `logit`, `binarised`, `unit`, `standardised`, `flat`) is a new Data whose `steps`
    are recorded, so that `restore` takes points, and `log_volume` and `bits_per_dim` likelihoods, back to the
    raw space. Raw levels and codes are whole numbers (bytes for large images); all else is floats.

    Parameters:
        levels: how many whole-number levels each raw number has (0..levels-1), or None for real numbers.
        threshold: above which a level is 1 in `binarised()`, or None for the middle of the levels.
        value_range: the least and the greatest value that x can have.
        tokenizer: what the codes stand for, for text.
    """

    name: str
    description: str
    train: Split
    test: Split
    validation: Split | None = None
    levels: int | None = None
    threshold: float | None = None
    value_range: tuple[float, float] = (-math.inf, math.inf)
    feature_names: tuple[str, ...] | None = None
    class_names: tuple[str, ...] | None = None
    tokenizer: Tokenizer | None = None
    steps: tuple[Step, ...] = ()

    @property
    def event_shape(self) -> torch.Size:
        """The shape of one row of x."""
        return self.train.x.shape[1:]

    @property
    def splits(self) -> dict[str, Split]:
        """The splits by name: "train", "test" and, where there is one, "validation"."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in named.items() if split is not None}

    @property
    def space(self) -> str:
        """Where x lies: "levels", "codes", "bits", "grid", "unit", "real" (`zoo.datasets.spaces`)."""
        for step in reversed(self.steps):
            if step.gives is not None:
                return step.gives
        return "codes" if self.tokenizer else "levels" if self.levels else "real"

    @property
    def vocabulary(self) -> tuple[str, ...] | None:
        """The text of each code, where the tokenizer has a list of them."""
        return getattr(self.tokenizer, "vocabulary", None)

    @property
    def measure(self) -> str:
        """What a likelihood of x is with respect to: "mass" or "density"."""
        return SPACES[self.space].measure

    # ---- views

    def dequantised(self, seed: int = 0, *, test_seed: int = 999) -> Data:
        """(x + u) / levels in the open unit cube, u uniform; validation noise is drawn by `test_seed - 1`."""
        return self._through(lambda: Dequantise(self.levels or 0), Dequantise, seed, test_seed)

    def logit(self, alpha: float = 0.05) -> Data:
        """logit(alpha + (1 - 2 alpha) v) of a dequantised view v, on the reals."""
        if not 0 <= alpha < 0.5:
            raise ValueError(f"alpha must be at least 0 and less than 0.5, not {alpha}")
        return self._through(lambda: Logit(alpha), Logit)

    def binarised(self, threshold: float | None = None) -> Data:
        """1. where a level is above the threshold, by default the middle one of the data, else 0."""
        above = next(value for value in (threshold, self.threshold, ((self.levels or 1) - 1) / 2) if value is not None)
        return self._through(lambda: Binarise(above), Binarise)

    def unit(self) -> Data:
        """x / (levels - 1), floats from 0 to 1: for pictures and networks, not for densities."""
        return self._through(lambda: Unit(self.levels or 0), Unit)

    def standardised(self) -> Data:
        """Each column less its mean and over its standard deviation, both of the train split."""
        return self._through(lambda: Standardise.of(self.train.x), Standardise)

    def flat(self) -> Data:
        """The event's axes joined to one."""
        return self._through(lambda: Flatten(self.event_shape), Flatten)

    def _through(self, build: Callable[[], Step], kind: type[Step], seed: int = 0, test_seed: int = 0) -> Data:
        if self.space not in kind.takes:
            needed = f"{kind.__name__.lower()} needs {kind.needs}"
            raise ValueError(f"{needed}; this view of {self.name} lies in the space {self.space!r}")
        step = build()

        def turned(split: Split | None, by: int) -> Any:
            return None if split is None else replace(split, x=step.apply(split.x, by))

        return replace(
            self,
            train=turned(self.train, seed),
            test=turned(self.test, test_seed),
            validation=turned(self.validation, test_seed - 1),
            value_range=step.range(self.value_range),
            steps=(*self.steps, step),
        )

    def windows(self, length: int) -> Data:
        """A sequence of single codes cut into rows of `length`, one after the other; the rest is left out."""
        shortest = min(len(split) for split in self.splits.values())
        if self.event_shape or self.steps or not 0 < length <= shortest:
            raise ValueError(
                f"windows cut a raw sequence into rows of 1 to {shortest}, but {self.name} has rows of shape "
                f"{list(self.event_shape)} and length is {length}"
            )

        def cut(split: Split | None) -> Any:
            return split and Split(split.x[: len(split) // length * length].reshape(-1, length))

        return replace(self, train=cut(self.train), test=cut(self.test), validation=cut(self.validation))

    def default_view(self, support: constraints.Constraint) -> Data:
        """The view that a model of this support is trained on, of those below the first that lies in it.

        Raw levels: bits for a boolean support; the levels; bits; dequantised logits; dequantised.
        Tables: standardised; as they are. All else, and a view that was already taken: as it is.
        """
        boolean = getattr(support, "base_constraint", support) is constraints.boolean
        for build in self._candidates(boolean):
            view = build()
            if (view.measure == "mass") == support.is_discrete and bool(support.check(view.train.x).all()):
                return view
        low, high = self.value_range
        raise ValueError(
            f"no view of {self.name} fits a model whose support is {support}: "
            f"its numbers lie in the space {self.space!r}, from {low:g} to {high:g}"
        )

    def _candidates(self, boolean: bool) -> list[Callable[[], Data]]:
        if any(step.gives for step in self.steps):
            return [lambda: self]
        if self.space == "levels":
            ordered = [lambda: self, self.binarised, lambda: self.dequantised().logit(), self.dequantised]
            return [self.binarised, *ordered] if boolean else ordered
        return [self.standardised, lambda: self] if self.feature_names else [lambda: self]

    # ---- the way back

    def restore(self, x: Tensor) -> Tensor:
        """Points of this view as raw values, floats [N, *raw event shape]; bits stay bits."""
        return floating(self._back(x)[0])

    def log_volume(self, x: Tensor) -> Tensor:
        """The nats a row, [N], to add to a log-likelihood at points x of this view for the raw space."""
        return self._back(x)[1]

    def bits_per_dim(self, log_prob: Tensor, x: Tensor) -> Tensor:
        """Bits a dimension in the raw space, [N], from nats a row, [N], at x; see `likelihood_note`."""
        if log_prob.shape != x.shape[:1]:
            given = list(log_prob.shape)
            raise ValueError(f"log_prob must have one value for each of {len(x)} rows, not {given}")
        return -(log_prob + self.log_volume(x)) / (self.event_shape.numel() * math.log(2))

    @property
    def likelihood_note(self) -> str:
        """What a figure of `bits_per_dim` is, in words."""
        return SPACES[self.space].words(self.levels)

    def text(self, codes: Tensor) -> str:
        """Codes, of any shape, as the text that they stand for."""
        if self.tokenizer is None:
            raise ValueError(f"{self.name} holds no text")
        return self.tokenizer.decode(codes.flatten().long().tolist())

    def _back(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.shape[1:] != self.event_shape or not x.dim():
            shape = ", ".join(["N", *map(str, self.event_shape)])
            raise ValueError(f"points of this view of {self.name} have shape [{shape}], not {list(x.shape)}")
        volume = torch.zeros(len(x), dtype=floating(x[:0]).dtype, device=x.device)
        for step in reversed(self.steps):
            x, nats = step.undo(x)
            volume = volume + nats
        return x, volume

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(split)} {name}" for name, split in self.splits.items())
        steps = "".join(f" > {type(step).__name__.lower()}" for step in self.steps)
        shape, where = list(self.event_shape), f"{self.measure} on {self.space}"
        return f"Data({self.name}{steps}: {sizes}, rows of {shape}, {where})"
