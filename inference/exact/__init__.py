"""Exact elimination: a graph compiled once, batches of evidence answered on tensors."""

from inference.exact.counterfactual import Independent, Monotone, counterfactual
from inference.exact.engine import Engine
from inference.exact.information import entropy, mutual_information, value_of_observation
from inference.exact.plan import Plan
from inference.exact.results import Draws, Explanation, Joint, Marginals, TooLarge

__all__ = [
    "Draws",
    "Engine",
    "Explanation",
    "Independent",
    "Joint",
    "Marginals",
    "Monotone",
    "Plan",
    "TooLarge",
    "counterfactual",
    "entropy",
    "mutual_information",
    "value_of_observation",
]
