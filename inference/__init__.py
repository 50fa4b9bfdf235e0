"""What can be asked of any Pyro pair, any model with a likelihood and any pgmpy graph."""

from inference.calibration import Calibration, calibration
from inference.compression import compress, decompress
from inference.diagnostics import Diagnosis, diagnose, draw_network
from inference.em import em
from inference.evaluate import evaluate
from inference.exact.sensitivity import Sensitivity, sensitivity
from inference.fit import fit
from inference.likelihood import LogLikelihood, log_likelihood
from inference.mcmc import mcmc
from inference.posterior import Posterior
from inference.query import Answer, query
from inference.results import Alarm, Fit
from inference.sampling.stopping import Ess, RHat
from inference.smc import smc
from inference.structure import PC, TAN, ChowLiu, HillClimb, learn_structure
from inference.to_idata import to_idata
from inference.variational import laplace, pathfinder, variational

__all__ = [
    "PC",
    "TAN",
    "Alarm",
    "Answer",
    "Calibration",
    "ChowLiu",
    "Diagnosis",
    "Ess",
    "Fit",
    "HillClimb",
    "LogLikelihood",
    "Posterior",
    "RHat",
    "Sensitivity",
    "calibration",
    "compress",
    "decompress",
    "diagnose",
    "draw_network",
    "em",
    "evaluate",
    "fit",
    "laplace",
    "learn_structure",
    "log_likelihood",
    "mcmc",
    "pathfinder",
    "query",
    "sensitivity",
    "smc",
    "to_idata",
    "variational",
]
