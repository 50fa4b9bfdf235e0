"""What a fitted model is worth and where not to trust it: `diagnose(fit, data)`; and networks drawn."""

from inference.diagnostics.diagnosis import Diagnosis, diagnose
from inference.diagnostics.drawing import draw_network

__all__ = ["Diagnosis", "diagnose", "draw_network"]
