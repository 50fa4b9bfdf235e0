"""Stacks of energies: fitted from the bottom up, and the bound on the likelihood of what they make.

What it asks of a model is `inference.protocols.Stack`, and for the bound `Stacked`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from inference.asking import asking, placed
from inference.data import as_rows, check_data
from inference.fit import fit
from inference.likelihood import ImportanceWeighted, LogLikelihood
from inference.objectives import ContrastiveDivergence, Objective
from inference.protocols import Stack, name_of, offers
from inference.results import Fit


def fit_layers(
    model: Any, data: Any, objective: Callable[[], Objective] = ContrastiveDivergence, *, seed: int = 0, **settings: Any
) -> list[Fit]:
    """Fit each layer of a stack to draws of the layer below, from the bottom up; a `Fit` a layer.

    A layer that fits on the one below turned over starts as that, where the model's bound is what it was before.

    Parameters:
        objective: makes the objective of a layer.
        settings: what else `fit` takes, the same for each layer.

    References:
        A Fast Learning Algorithm for Deep Belief Nets (Hinton, Osindero and Teh, 2006),
        https://doi.org/10.1162/neco.2006.18.7.1527
    """
    if not offers(model, Stack):
        raise TypeError(f"{name_of(model)} is no stack of layers: fit_layers asks for layers, upward and begin")
    rows = as_rows(data, model)
    x = placed(model, rows.x)
    check_data(model, x, None, rows.columns)
    fits = []
    for k, layer in enumerate(model.layers):
        with asking(model, seed + k):
            model.begin(k)
            below = model.upward(x, k)
        fits.append(fit(layer, below, objective(), seed=seed + k, **settings))
    return fits


@dataclass(frozen=True)
class StackBound:
    """A stack's lower bound by importance weighting, less log Z of its top: exact, or by AIS, whose error rows share.

    Its kind is "lower bound" where log Z is exact and "estimate" (of a lower bound) where it is not.

    On the Quantitative Analysis of Deep Belief Networks (Salakhutdinov and Murray, 2008),
    https://doi.org/10.1145/1390156.1390266
    """

    draws: int = 100
    chains: int = 512
    temperatures: int = 2000

    def __call__(self, model: Any, x: Tensor, context: Tensor | None, seed: int) -> LogLikelihood:
        bound = ImportanceWeighted(self.draws)(model.unnormalised(), x, context, seed)
        if hasattr(model.top, "log_partition"):
            values = bound.values - model.top.log_partition().to(bound.values)
            return replace(bound, values=values, method=f"{bound.method}, log Z of the top summed")
        from inference.ais import ais

        log_z = ais(model.top, chains=self.chains, temperatures=self.temperatures, seed=seed)
        error = float(log_z.standard_error)
        method = f"a lower bound, {bound.method}, less log Z of the top by AIS with {self.chains} chains"
        values = bound.values - float(log_z.value)
        return replace(bound, values=values, kind="estimate", method=method, shared_error=error)
