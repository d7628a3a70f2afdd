"""Experiments that train again with one thing changed."""

from ._batch_size import BatchSizes as BatchSizes
from ._batch_size import batch_size as batch_size
from ._capacity import Capacity as Capacity
from ._capacity import capacity as capacity
from ._learning_curve import LearningCurve as LearningCurve
from ._learning_curve import learning_curve as learning_curve
from ._learning_rate import LearningRates as LearningRates
from ._learning_rate import learning_rate as learning_rate
from ._power_law import PowerLaw as PowerLaw
from ._power_law import fit_power_law as fit_power_law
from ._regularization import Regularization as Regularization
from ._regularization import regularization as regularization
from ._seed_spread import SeedSpread as SeedSpread
from ._seed_spread import seed_spread as seed_spread
from ._signal_path import SignalPath as SignalPath
from ._signal_path import signal_path as signal_path
from ._twin import Build as Build
from ._twin import Twin as Twin
