"""Weights as a whole: averaged, frozen, taken over from an earlier training."""

from ._averages import EMA as EMA
from ._averages import SWA as SWA
from ._averages import Average as Average
from ._averages import AverageTracker as AverageTracker
from ._averages import average as average
from ._averages import average_weights as average_weights
from ._averages import update_batch_norm as update_batch_norm
from ._freezing import Unfreezing as Unfreezing
from ._freezing import freeze as freeze
from ._start import StartWeights as StartWeights
from ._start import load_start_weights as load_start_weights
