"""Whether an inference gives the posteriors it claims: `calibration(model, data, by=...)`."""

from inference.calibration.asking import calibration
from inference.calibration.result import Calibration

__all__ = ["Calibration", "calibration"]
