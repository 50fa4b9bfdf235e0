"""How good samples are, on declared features: distances, tests, what nearest neighbours tell, memory, usefulness."""

from inference.quality.classifier import classifier_features
from inference.quality.distances import Distance, energy_distance, frechet_distance, kernel_mmd, sliced_wasserstein
from inference.quality.estimates import Estimate, Tested, bootstrap
from inference.quality.features import VALUES, Features
from inference.quality.judge import Judgement, judge
from inference.quality.memory import Memorization, memorization
from inference.quality.modes import ModeCoverage, Modes, find_modes, known_modes, mode_coverage
from inference.quality.neighbours import Fidelity, fidelity
from inference.quality.polynomial import kernel_distance
from inference.quality.two_sample import classifier_test, mmd_test
from inference.quality.usefulness import Usefulness, usefulness

__all__ = [
    "VALUES",
    "Distance",
    "Estimate",
    "Features",
    "Fidelity",
    "Judgement",
    "Memorization",
    "ModeCoverage",
    "Modes",
    "Tested",
    "Usefulness",
    "bootstrap",
    "classifier_features",
    "classifier_test",
    "energy_distance",
    "fidelity",
    "find_modes",
    "frechet_distance",
    "judge",
    "kernel_distance",
    "kernel_mmd",
    "known_modes",
    "memorization",
    "mmd_test",
    "mode_coverage",
    "sliced_wasserstein",
    "usefulness",
]
