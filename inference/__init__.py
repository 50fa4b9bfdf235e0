"""What can be asked of any Pyro pair, any model with a likelihood and any pgmpy graph."""

from inference.compression import compress, decompress
from inference.diagnostics import Diagnosis, diagnose, draw_network
from inference.em import em
from inference.evaluate import evaluate
from inference.exact.sensitivity import Sensitivity, sensitivity
from inference.fit import fit
from inference.likelihood import LogLikelihood, log_likelihood
from inference.posterior import Posterior
from inference.query import Answer, query
from inference.results import Alarm, Fit
from inference.structure import PC, TAN, ChowLiu, HillClimb, learn_structure
from inference.to_idata import to_idata
from inference.variational import laplace, pathfinder, variational

__all__ = [
    "PC",
    "TAN",
    "Alarm",
    "Answer",
    "ChowLiu",
    "Diagnosis",
    "Fit",
    "HillClimb",
    "LogLikelihood",
    "Posterior",
    "Sensitivity",
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
    "pathfinder",
    "query",
    "sensitivity",
    "to_idata",
    "variational",
]
