"""How good samples are, on declared features: distances, and what nearest neighbours tell."""

from inference.quality.classifier import classifier_features
from inference.quality.distances import Distance, frechet_distance, kernel_mmd
from inference.quality.features import VALUES, Features
from inference.quality.neighbours import Fidelity, fidelity

__all__ = [
    "VALUES",
    "Distance",
    "Features",
    "Fidelity",
    "classifier_features",
    "fidelity",
    "frechet_distance",
    "kernel_mmd",
]
