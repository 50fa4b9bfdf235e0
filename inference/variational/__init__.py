"""Posteriors by optimisation: guides, Laplace, Pathfinder, each corrected by Pareto-smoothed weights."""

from inference.variational.guides import Flow, FullCovariance, Guide, LowRank, MeanField
from inference.variational.laplace import laplace
from inference.variational.pathfinder import pathfinder
from inference.variational.smoothing import Smoothed, smoothed
from inference.variational.verb import variational

__all__ = [
    "Flow",
    "FullCovariance",
    "Guide",
    "LowRank",
    "MeanField",
    "Smoothed",
    "laplace",
    "pathfinder",
    "smoothed",
    "variational",
]
