"""Learning-rate schedules as pure functions of the step: nothing to save, nothing to resume.

A schedule gives the factor on the base rate for step 0, 1, ... of a run of `total` steps. A length
in it is a number of steps if it is a whole number, and a share of the run if it is a fraction from
0.0 to 1.0, which is rounded up to whole steps. Within `WarmUp` the run is what remains of it.
"""

from ._base import Schedule as Schedule
from ._build import SCHEDULES as SCHEDULES
from ._build import schedule as schedule
from ._cycles import OneCycle as OneCycle
from ._cycles import Restarts as Restarts
from ._cycles import Triangular as Triangular
from ._falling import Constant as Constant
from ._falling import Cosine as Cosine
from ._falling import Exponential as Exponential
from ._falling import Linear as Linear
from ._falling import Polynomial as Polynomial
from ._falling import Step as Step
from ._plateau import Plateau as Plateau
from ._plateau import follow as follow
from ._plateau import watching as watching
from ._scaling import linear_scaling as linear_scaling
from ._scaling import square_root_scaling as square_root_scaling
from ._warm import Noam as Noam
from ._warm import WarmUp as WarmUp
