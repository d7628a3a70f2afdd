"""Metrics: accumulators that are updated batch by batch on the device and computed once."""

from ..core.intervals import wilson_interval as wilson_interval
from ._calibration import Calibration as Calibration
from ._calibration import CalibrationBin as CalibrationBin
from ._calibration import calibration as calibration
from ._classification import Classification as Classification
from ._classification import ClassScore as ClassScore
from ._conformal import Conformal as Conformal
from ._conformal import SetScore as SetScore
from ._conformal import conformal as conformal
from ._conformal import conformal_scores as conformal_scores
from ._conformal import score_sets as score_sets
from ._regression import Regression as Regression
from ._temperature import Temperature as Temperature
from ._temperature import fit_temperature as fit_temperature
