"""What can be asked of any Pyro pair, any model with a likelihood and any pgmpy graph."""

from inference.calibration import Calibration, calibration
from inference.compression import compress, decompress
from inference.diagnostics import (
    Comparison,
    Diagnosis,
    Loo,
    PowerScaling,
    compare,
    diagnose,
    draw_network,
    loo,
    power_scaling,
)
from inference.em import em
from inference.evaluate import evaluate
from inference.exact.sensitivity import Sensitivity, sensitivity
from inference.fit import fit
from inference.from_idata import from_idata
from inference.likelihood import LogLikelihood, log_likelihood
from inference.mcmc import mcmc
from inference.particles import StateSpaceData, forecast_scores, particle_filter, particle_mcmc
from inference.posterior import Posterior
from inference.query import Answer, query
from inference.results import Alarm, Fit
from inference.sampling.stopping import Ess, RHat
from inference.smc import smc
from inference.spread.choice import Choice, best
from inference.spread.history import history
from inference.structure import PC, TAN, ChowLiu, HillClimb, learn_structure
from inference.to_idata import to_idata
from inference.variational import laplace, pathfinder, variational

__all__ = [
    "PC",
    "TAN",
    "Alarm",
    "Answer",
    "Calibration",
    "Choice",
    "ChowLiu",
    "Comparison",
    "Diagnosis",
    "Ess",
    "Fit",
    "HillClimb",
    "LogLikelihood",
    "Loo",
    "Posterior",
    "PowerScaling",
    "RHat",
    "Sensitivity",
    "StateSpaceData",
    "best",
    "calibration",
    "compare",
    "compress",
    "decompress",
    "diagnose",
    "draw_network",
    "em",
    "evaluate",
    "fit",
    "forecast_scores",
    "from_idata",
    "history",
    "laplace",
    "learn_structure",
    "log_likelihood",
    "loo",
    "mcmc",
    "particle_filter",
    "particle_mcmc",
    "pathfinder",
    "power_scaling",
    "query",
    "sensitivity",
    "smc",
    "to_idata",
    "variational",
]
