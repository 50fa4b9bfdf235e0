"""Exact elimination: a graph compiled once, batches of evidence answered on tensors."""

from inference.exact.engine import Engine, Joint, Marginals, TooLarge
from inference.exact.plan import Plan

__all__ = ["Engine", "Joint", "Marginals", "Plan", "TooLarge"]
