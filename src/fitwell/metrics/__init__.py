"""Metrics: accumulators that are updated batch by batch on the device and computed once."""

from ..core.intervals import wilson_interval as wilson_interval
from ._calibration import Calibration as Calibration
from ._calibration import CalibrationBin as CalibrationBin
from ._calibration import calibration as calibration
from ._classification import Classification as Classification
from ._classification import ClassScore as ClassScore
from ._regression import Regression as Regression
