"""What a fitted model is worth and where not to trust it: `diagnose(fit, data)`."""

from inference.diagnostics.diagnosis import Diagnosis, diagnose

__all__ = ["Diagnosis", "diagnose"]
