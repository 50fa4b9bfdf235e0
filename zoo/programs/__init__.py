"""Bayesian models with global parameters, as plain Pyro programs, and the real data they are known by.

    program, data = programs.garch11, programs.data("garch11")      # {"y": [200], "before": [199], "first": []}
    posterior = inference.mcmc(program, data)
    programs.reference("garch11")["alpha0"]                         # [10, 1000], the draws of posteriordb

`POSTERIORS` holds the eight whose reference draws posteriordb has (Magnusson et al., 2025); their sites have the names
and shapes of those draws. Each function's arguments are its data, and its observed site is the argument of that name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zoo.programs.data import data, reference
from zoo.programs.hidden_states import hidden_markov
from zoo.programs.mixtures import gaussian_mixture
from zoo.programs.processes import gaussian_process
from zoo.programs.regression import horseshoe_regression, kidscore_momiq, linear_regression
from zoo.programs.schools import eight_schools, eight_schools_centred
from zoo.programs.series import autoregression, garch11
from zoo.programs.spread import influenza

POSTERIORS: dict[str, Callable[..., Any]] = {
    "eight_schools": eight_schools,
    "kidscore_momiq": kidscore_momiq,
    "autoregression": autoregression,
    "garch11": garch11,
    "gaussian_mixture": gaussian_mixture,
    "hidden_markov": hidden_markov,
    "linear_regression": linear_regression,
    "gaussian_process": gaussian_process,
}

PROGRAMS: dict[str, Callable[..., Any]] = {
    **POSTERIORS,
    "eight_schools_centred": eight_schools_centred,
    "horseshoe_regression": horseshoe_regression,
    "influenza": influenza,
}
"""Every program by its name"""

__all__ = [
    "POSTERIORS",
    "PROGRAMS",
    "autoregression",
    "data",
    "eight_schools",
    "eight_schools_centred",
    "garch11",
    "gaussian_mixture",
    "gaussian_process",
    "hidden_markov",
    "horseshoe_regression",
    "influenza",
    "kidscore_momiq",
    "linear_regression",
    "reference",
]
