"""Whether an inference gives the posteriors it claims: `calibration(model, data, by=...)`."""

from inference.calibration.all_at_once import AllAtOnce
from inference.calibration.amortised import Amortised
from inference.calibration.asking import calibration
from inference.calibration.coverage import coverage
from inference.calibration.result import Calibration

__all__ = ["AllAtOnce", "Amortised", "Calibration", "calibration", "coverage"]
