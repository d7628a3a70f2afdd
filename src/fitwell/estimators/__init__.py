"""Estimators for scikit-learn: fit, predict and score inside its pipelines and searches."""

from ._supervised import Classifier as Classifier
from ._supervised import Regressor as Regressor
