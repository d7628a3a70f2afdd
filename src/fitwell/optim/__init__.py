"""Optimizers and learning-rate schedules. torch's own are used as they are wherever they fit."""

from collections.abc import Callable, Mapping
from typing import Any

from torch.optim import Adagrad as Adagrad
from torch.optim import NAdam as NAdam
from torch.optim import Optimizer as Optimizer
from torch.optim import RAdam as RAdam
from torch.optim import RMSprop as RMSprop

from ._lean import SGD as SGD
from ._lean import Adam as Adam
from ._lean import AdamW as AdamW
from ._lean import decay_groups as decay_groups
from ._schedules import SCHEDULES as SCHEDULES
from ._schedules import Constant as Constant
from ._schedules import Cosine as Cosine
from ._schedules import Linear as Linear
from ._schedules import OneCycle as OneCycle
from ._schedules import Schedule as Schedule
from ._schedules import Step as Step
from ._schedules import WarmUp as WarmUp
from ._schedules import schedule as schedule

OPTIMIZERS: Mapping[str, Callable[..., Any]] = {
    "SGD": SGD,
    "Adagrad": Adagrad,
    "Adam": Adam,
    "AdamW": AdamW,
    "NAdam": NAdam,
    "RAdam": RAdam,
    "RMSprop": RMSprop,
}
