"""Optimizers and learning-rate schedules. torch's own are used as they are wherever they fit."""

from collections.abc import Callable, Mapping
from typing import Any

from torch.optim import ASGD as ASGD
from torch.optim import Adadelta as Adadelta
from torch.optim import Adafactor as Adafactor
from torch.optim import Adagrad as Adagrad
from torch.optim import Adamax as Adamax
from torch.optim import NAdam as NAdam
from torch.optim import Optimizer as Optimizer
from torch.optim import RAdam as RAdam
from torch.optim import RMSprop as RMSprop

from ._bounded import AdaBound as AdaBound
from ._bounded import AMSBound as AMSBound
from ._build import optimizer as optimizer
from ._composed import Composed as Composed
from ._composed import Prepared as Prepared
from ._groups import decay_groups as decay_groups
from ._groups import layer_groups as layer_groups
from ._hogwild import HogwildSGD as HogwildSGD
from ._kit import TRANSFORMS as TRANSFORMS
from ._kit import Bounded as Bounded
from ._kit import Centralize as Centralize
from ._kit import Chain as Chain
from ._kit import Clip as Clip
from ._kit import ClipNorm as ClipNorm
from ._kit import Decay as Decay
from ._kit import MaxMeanSquare as MaxMeanSquare
from ._kit import Mean as Mean
from ._kit import MeanSquare as MeanSquare
from ._kit import Moment as Moment
from ._kit import Noise as Noise
from ._kit import Ratio as Ratio
from ._kit import Scale as Scale
from ._kit import SignedSquare as SignedSquare
from ._kit import SignOfMean as SignOfMean
from ._kit import SumOfSquares as SumOfSquares
from ._kit import Surprise as Surprise
from ._kit import Trace as Trace
from ._kit import Transform as Transform
from ._kit import init as init
from ._kit import transform as transform
from ._kit import update as update
from ._large_batch import LAMB as LAMB
from ._large_batch import LARS as LARS
from ._lean import SGD as SGD
from ._lean import Adam as Adam
from ._lean import AdamW as AdamW
from ._lion import Lion as Lion
from ._lookahead import Lookahead as Lookahead
from ._lookahead import interpolate as interpolate
from ._muon import Muon as Muon
from ._muon import muon_groups as muon_groups
from ._sam import SAM as SAM
from ._sam import frozen_statistics as frozen_statistics
from ._schedules import SCHEDULES as SCHEDULES
from ._schedules import Constant as Constant
from ._schedules import Cosine as Cosine
from ._schedules import Exponential as Exponential
from ._schedules import Linear as Linear
from ._schedules import Noam as Noam
from ._schedules import OneCycle as OneCycle
from ._schedules import Plateau as Plateau
from ._schedules import Polynomial as Polynomial
from ._schedules import Restarts as Restarts
from ._schedules import Schedule as Schedule
from ._schedules import Step as Step
from ._schedules import Triangular as Triangular
from ._schedules import WarmUp as WarmUp
from ._schedules import follow as follow
from ._schedules import linear_scaling as linear_scaling
from ._schedules import schedule as schedule
from ._schedules import square_root_scaling as square_root_scaling
from ._schedules import watching as watching
from ._sgdw import SGDW as SGDW
from ._swats import SWATS as SWATS
from ._usual import DEFAULTS_BY_MODEL as DEFAULTS_BY_MODEL
from ._usual import UsualOptimizer as UsualOptimizer
from ._usual import usual_optimizer as usual_optimizer
from ._yogi import AdaBelief as AdaBelief
from ._yogi import Yogi as Yogi

OPTIMIZERS: Mapping[str, Callable[..., Any]] = {
    "AdaBelief": AdaBelief,
    "AdaBound": AdaBound,
    "Adadelta": Adadelta,
    "Adafactor": Adafactor,
    "Adagrad": Adagrad,
    "Adam": Adam,
    "Adamax": Adamax,
    "AdamW": AdamW,
    "AMSBound": AMSBound,
    "ASGD": ASGD,
    "Composed": Composed,
    "LAMB": LAMB,
    "LARS": LARS,
    "Lion": Lion,
    "Muon": Muon,
    "NAdam": NAdam,
    "RAdam": RAdam,
    "RMSprop": RMSprop,
    "SGD": SGD,
    "SGDW": SGDW,
    "SWATS": SWATS,
    "Yogi": Yogi,
}

WRAPPERS: Mapping[str, Callable[..., Any]] = {
    "Lookahead": Lookahead,
    "Prepared": Prepared,
    "SAM": SAM,
}
"""Optimizers around another one, which is their first argument, named ``optimizer``."""
