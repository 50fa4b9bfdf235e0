"""`evaluate`: models of every kind on one footing, each number with its kind and its error.

| column                | what it is                                                     | for                     |
|-----------------------|----------------------------------------------------------------|-------------------------|
| nats                  | mean held-out log p(x), with its kind and measure              | all but implicit models |
| bits_per_dim          | the same in the raw space, where the data says how to go back  | all but implicit models |
| frechet, mmd          | distances of samples from held-out rows on the named features  | all                     |
| frechet_train         | the distance of the training rows: what a perfect model scores | data with a train split |
| mmd_p                 | how likely so great an mmd is between rows of one distribution | all                     |
| c2st, c2st_p          | how often a classifier tells samples from held-out rows; 0.5   | all                     |
| precision, density    | whether samples look like data, by nearest neighbours          | all                     |
| recall, coverage      | how much of the data they reach                                | all                     |
| modes_reached, modes  | how many modes samples reach, of how many there are            | where modes are told    |
| memory, copies        | how much nearer samples are to training rows than to others    | data with a train split |
| seconds, parameters   | what it took                                                   | fits; models of torch   |
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import pandas as pd
import torch
from torch import Tensor

from inference.asking import asking, placed
from inference.data import as_rows, check_known, lacking
from inference.diagnostics.predictive import draw
from inference.likelihood import LogLikelihood, Method, log_likelihood
from inference.posterior import Posterior
from inference.protocols import has_likelihood, name_of
from inference.quality.distances import frechet_distance
from inference.quality.features import VALUES, Features
from inference.quality.judge import Judgement, judge
from inference.quality.modes import Modes
from inference.results import Fit
from inference.scoreboard import Scoreboard


@runtime_checkable
class View(Protocol):
    """Data that knows its way back to the raw numbers; `test.x` are its held-out rows.

    Optional: `train.x`, `space`. `bits_per_dim(log_prob, x)` gives [N]; `restore(x)` gives raw rows.
    """

    name: str
    test: Any
    measure: Any

    def bits_per_dim(self, log_prob: Tensor, x: Tensor) -> Tensor: ...
    def restore(self, x: Tensor) -> Tensor: ...


def evaluate(
    models: Mapping[str, Any],
    data: Any,
    *,
    context: Any = None,
    methods: Mapping[str, Method] | None = None,
    features: Features = VALUES,
    modes: Modes | None = None,
    samples: int = 1000,
    seed: int = 0,
) -> Scoreboard:
    """Score each model, or each `Fit`, on held-out rows.

    Parameters:
        data: rows for all the models (as `fit` takes them), or a view of a data set, or a mapping from the
            models' names to either, for models that look at the data in different views.
        context: a tensor for all, or a mapping by name, where models are conditional.
        methods: by name, how to ask for the likelihood; the best a model offers unless told.
        features: what samples are compared by.
        modes: those of the data in these features (`known_modes`, `find_modes`), to see which samples reach.
        samples: how many rows each model draws, and how many held-out rows they are compared with at most.
    """
    if not models:
        raise ValueError("there is no model to evaluate")
    scored = {}
    if not isinstance(models, Mapping):
        raise TypeError(f'models must be a mapping of names, such as {{"vae": fit}}, not {type(models).__name__}')
    for name, fit_or_model in models.items():
        if isinstance(fit_or_model, Posterior):
            raise TypeError(
                f"{name!r} is a posterior, whose data are its own: compare(...) holds posteriors to each other by "
                "leave-one-out, forecast_scores(...) to data that were missing"
            )
        asked = _Asked(name, fit_or_model, _for(name, data, models), _context(name, context), seed)
        scored[name] = asked.scores((methods or {}).get(name), features, modes, samples)
    table = pd.DataFrame([score.row for score in scored.values()], index=pd.Index(scored, name="model"))
    return Scoreboard(
        table,
        {name: score.likelihood for name, score in scored.items() if score.likelihood is not None},
        {name: score.rows for name, score in scored.items()},
        {name: score.samples for name, score in scored.items()},
        features.name,
        {name: score.quality for name, score in scored.items()},
    )


@dataclass(frozen=True)
class _Score:
    """What was found out about one model, and from what."""

    row: dict[str, Any]
    likelihood: LogLikelihood | None
    rows: Tensor
    samples: Tensor
    quality: Judgement


class _Asked:
    """One model, the rows it is asked about, and the way back from them."""

    def __init__(self, name: str, fit_or_model: Any, data: Any, context: Tensor | None, seed: int) -> None:
        self.fit = fit_or_model if isinstance(fit_or_model, Fit) else None
        self.model = fit_or_model.model if isinstance(fit_or_model, Fit) else fit_or_model
        self.view = data if isinstance(data, View) else None
        self.seed = seed
        rows = as_rows(data.test.x if isinstance(data, View) else data, self.model)
        given = rows.context if context is None else context
        self.x = placed(self.model, rows.x)
        self.context = None if given is None else placed(self.model, given)
        try:
            check_known(self.model, self.x, self.context, rows.columns)
            self.complete = self.whole(self.x)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name}: {error}") from error

    def scores(self, method: Method | None, features: Features, modes: Modes | None, samples: int) -> _Score:
        likelihood = None
        if has_likelihood(self.model) or method is not None:
            likelihood = log_likelihood(self.model, self.x, context=self.context, method=method, seed=self.seed)
        index, drawn = self.draw(samples)
        real, drawn = self.restored(self.x[index]), self.restored(drawn)
        train = self.training_rows()
        found = judge(drawn, real, train, features=features, modes=modes, seed=self.seed)
        row = {
            "family": name_of(self.model),
            "kind": getattr(self.model, "kind", "pair"),
            "likelihood": "none" if likelihood is None else likelihood.kind,
            "measure": "none" if likelihood is None else likelihood.measure,
            "view": getattr(self.view, "space", "as given"),
            **self.nats(likelihood),
            **found.columns(),
            "frechet_train": self.floor(train, real, features, samples),
            "seconds": self.fit.seconds if self.fit else math.nan,
            "parameters": _parameters(self.model),
        }
        return _Score(row, likelihood, self.x.cpu(), drawn.cpu(), found)

    def nats(self, likelihood: LogLikelihood | None) -> dict[str, float]:
        """Nats a row in the model's own view, and bits a dimension in the raw space."""
        if likelihood is None:
            return dict.fromkeys(("nats", "nats_error", "bits_per_dim", "bits_per_dim_error"), math.nan)
        dims = self.x[0].numel() * math.log(2)
        values = likelihood.values.cpu()
        bits = -values / dims if self.view is None else self.view.bits_per_dim(values, self.x.cpu())
        spread = bits.double().std().item() / math.sqrt(len(bits)) if len(bits) > 1 else math.inf
        return {
            "nats": likelihood.mean,
            "nats_error": likelihood.mean_error,
            "bits_per_dim": bits.double().mean().item(),
            "bits_per_dim_error": math.hypot(spread, likelihood.shared_error / dims),
        }

    def draw(self, samples: int) -> tuple[Tensor, Tensor]:
        """Which held-out rows to compare with, and the model's rows: one for each of them, if conditional."""
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(len(self.complete), generator=generator)[:samples]
        index = self.complete[order].to(self.x.device)
        with asking(self.model, self.seed):
            if self.context is None:
                return index, draw(self.model, samples, None)
            return index, draw(self.model, len(index), self.context[index])

    def whole(self, x: Tensor) -> Tensor:
        """The positions of rows that lack no cell: draws have all theirs, and are compared with these."""
        index = (~lacking(self.model, x)).nonzero()[:, 0].cpu()
        if not len(index):
            raise ValueError("every row lacks a cell, so there is none to compare the model's draws with")
        return index

    def restored(self, x: Tensor) -> Tensor:
        return x if self.view is None else self.view.restore(x.cpu())  # a view holds tensors of the data's own

    def training_rows(self) -> Tensor | None:
        """The training rows that lack no cell, in the raw space, where the view has any."""
        train = getattr(self.view, "train", None)
        return None if train is None else self.restored(train.x[self.whole(train.x)])

    def floor(self, train: Tensor | None, real: Tensor, features: Features, samples: int) -> float:
        """The Frechet distance of training rows, as many as the model drew, from the held-out ones."""
        if train is None:
            return math.nan
        index = torch.randperm(len(train), generator=torch.Generator().manual_seed(self.seed))[:samples]
        return frechet_distance(features(train[index]), features(real)).value


def _for(name: str, data: Any, models: Mapping[str, Any]) -> Any:
    """The data of one model, from data for all or by name."""
    if not isinstance(data, Mapping) or not set(data) & set(models):
        return data
    if name not in data:
        raise ValueError(f"data by name has no rows for the model {name!r}; it has {', '.join(map(repr, data))}")
    return data[name]


def _context(name: str, context: Any) -> Tensor | None:
    return context.get(name) if isinstance(context, Mapping) else context


def _parameters(model: Any) -> int:
    return sum(p.numel() for p in model.parameters()) if isinstance(model, torch.nn.Module) else 0
