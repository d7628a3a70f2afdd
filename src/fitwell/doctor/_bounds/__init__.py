"""The theory of generalization as instruments: bounds, choices among hypotheses, selection."""

from ._dimension import growth_function as growth_function
from ._dimension import linear_dichotomies as linear_dichotomies
from ._dimension import vc_bound as vc_bound
from ._dimension import vc_deviation as vc_deviation
from ._dimension import vc_sample_size as vc_sample_size
from ._finite import Chosen as Chosen
from ._finite import ComplexityCurve as ComplexityCurve
from ._finite import choose_hypothesis as choose_hypothesis
from ._finite import complexity_curve as complexity_curve
from ._hoeffding import hoeffding_bound as hoeffding_bound
from ._hoeffding import hoeffding_deviation as hoeffding_deviation
from ._hoeffding import hoeffding_sample_size as hoeffding_sample_size
from ._network import GeneralizationBound as GeneralizationBound
from ._network import generalization_bound as generalization_bound
from ._selection import Selection as Selection
from ._selection import expected_best as expected_best
from ._selection import expected_maximum as expected_maximum
from ._selection import selection as selection
