"""What a fitted model or a posterior is worth and where not to trust it: `diagnose(...)`; and networks drawn."""

from inference.diagnostics.comparing import Comparison, compare
from inference.diagnostics.diagnosis import Diagnosis, diagnose
from inference.diagnostics.drawing import draw_network
from inference.diagnostics.leave_one_out import Loo, loo
from inference.diagnostics.power_scaling import PowerScaling, power_scaling

__all__ = [
    "Comparison",
    "Diagnosis",
    "Loo",
    "PowerScaling",
    "compare",
    "diagnose",
    "draw_network",
    "loo",
    "power_scaling",
]
